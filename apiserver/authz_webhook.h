/* authz_webhook.h - an authorizer elsewhere: a SubjectAccessReview is sent to it
 * for what is not known from before.
 *
 * Any thread; counted, since questions of requests outlive a change of the
 * configuration. Decisions are kept for a while, as many as fit. */
#ifndef APISERVER_AUTHZ_WEBHOOK_H
#define APISERVER_AUTHZ_WEBHOOK_H

#include "apiserver/authz.h"

struct authz_webhook;
struct hook;

/* When the webhook is asked: all must hold. */
struct authz_condition {
    struct str expression;
    struct cel_program *program;
};

struct authz_webhook_config {
    struct str name;
    int64_t timeout_ms;
    int64_t allowed_ttl_ms, refused_ttl_ms; /* 0: not kept. */
    bool v1beta1;                           /* The form of the review; else v1. */
    bool deny_on_error;                     /* failurePolicy: Deny; else NoOpinion. */
    struct str *conditions;                 /* matchConditions, checked before. */
    size_t condition_count;
};

/* Takes the reference to hook, also on failure. Everything else is copied. */
struct authz_webhook *authz_webhook_new(const struct authz_webhook_config *config,
                                        struct hook *hook);
struct authz_webhook *authz_webhook_ref(struct authz_webhook *w);
void authz_webhook_unref(struct authz_webhook *w); /* NULL is a no-op. */

/* Does an expression compile to a bool? Else *ret_error, in a. */
bool authz_webhook_check_condition(struct arena *a, struct str expression, struct str *ret_error);

/* AUTHZ_WAIT: the question is noted in at->asks. *ret_error: what failed. */
enum authz_decision authz_webhook_decide(struct authz_webhook *w, struct arena *a,
                                         const struct authz_attributes *at, struct str *ret_reason,
                                         struct str *ret_error);

#endif
