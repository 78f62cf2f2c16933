/* conversion.h - custom objects in other versions of their kind, where a webhook
 * has to be asked for them.
 *
 * Reading and writing convert in the midst of code that never waits. So whoever
 * may meet such objects runs that code inside of a struct conversions: what is
 * not known yet is noted and an unconverted object stands in; then the webhook
 * is asked about all of it at once, and the code runs again and finds what was
 * answered:
 *
 *   enter -> code -> leave -> conversions_ask() --false--> the outcome counts
 *     ^                            | true: the outcome is void
 *     +-------- resume() <---------+
 *
 * Answers are found by the whole content of what was asked, so they hold for
 * every object of that content; they are kept for others in the server's JSON
 * cache, and what one request of a thread asks already is not asked by another.
 *
 * Loop-confined. */
#ifndef APISERVER_CUSTOM_CONVERSION_H
#define APISERVER_CUSTOM_CONVERSION_H

#include "lib/base/base.h"

struct api_msg;
struct arena;
struct conversion_state;
struct resource;
struct server_thread;

/* Embedded, all zero but for the thread. */
struct conversions {
    struct server_thread *thread;
    struct conversion_state *state; /* NULL: nothing was to be asked yet. */
};

#define CONVERSION_OBJECTS_MAX 100u     /* In one review. */
#define CONVERSION_BYTES_MAX (1u << 20) /* The same, unless one object is larger. */
#define CONVERSION_CALLS_MAX 8u         /* At a time, of one struct conversions. */
#define CONVERSION_TIMEOUT_MS 30000u    /* As upstream's client has it. */
#define CONVERSION_ROUNDS_MAX 64u       /* Of one struct conversions. */

/* No nesting. leave() does not look at the conversions: they may be gone. */
void conversions_enter(struct conversions *c);
void conversions_leave(void);
/* Has the code since enter() met something that is to be asked first? */
bool conversions_pending(void);

/* True: resume(arg) comes later, once, unless the conversions are dropped. */
bool conversions_ask(struct conversions *c, void (*resume)(void *arg), void *arg);
/* Why something could not be converted, in the arena; NULL: nothing. */
struct meta_v1_status *conversions_failure(const struct conversions *c, struct arena *a);
/* Forgets everything. Calls that are under way end without a word. */
void conversions_drop(struct conversions *c);

/* May an object of this resource need a webhook to be read or written? */
bool conversions_needed(const struct resource *r);

/* obj, whose content is used up, in another version of its kind. In the arena. */
void *custom_convert(struct arena *a, void *obj, const struct api_msg *to);

#endif
