/* ask.h - questions that a request has for programs elsewhere: webhooks that
 * authenticate or authorize, issuers whose keys are needed.
 *
 * What decides is a plain function that never waits. When it needs an answer
 * that is not there it notes the question and gives up with "wait"; whoever
 * drives the request has the questions asked and begins the step again:
 *
 *   step --asks_find(): noted, "wait"--> asks_run() --answers--> step, which
 *   finds the answers and goes on
 *
 * Loop-confined, as the request is; everything lives in its arena. */
#ifndef APISERVER_ASK_H
#define APISERVER_ASK_H

#include "apiserver/webhook_client.h"
#include "lib/base/base.h"

struct ask;
struct asks;
struct uv_loop_s;

/* Who asks, and how. */
struct ask_config {
    const void *who;
    struct str key; /* Tells its questions apart. */
    struct webhook_target target;
    const char *method;
    struct str body; /* Empty: none. */
    uint64_t timeout_ms;
    unsigned tries;   /* Of those that failed in a way that may pass; 0: one. */
    bool any_failure; /* May pass. */
    uint64_t backoff_ms;
    void *held; /* A reference, given back by unhold() when the request is gone. */
    void (*unhold)(void *held);
};

struct asks *asks_new(struct arena *a);
/* The answer; NULL: there is none yet. */
const struct webhook_answer *asks_find(struct asks *s, const void *who, struct str key);
/* A question for asks_run(). Its target must live as long as the request. */
void asks_note(struct asks *s, const struct ask_config *config);
/* Is anything noted that was not asked yet? */
bool asks_waiting(const struct asks *s);
/* Asks what is noted, all at once; resume(arg) comes later, once. *pool may
 * become NULL meanwhile: what is not answered then has failed. */
void asks_run(struct asks *s, struct uv_loop_s *loop, struct webhook_pool **pool,
              void (*resume)(void *arg), void *arg);
/* Milliseconds that the answer took. */
uint64_t asks_took_ms(const struct asks *s, const void *who, struct str key);

#endif
