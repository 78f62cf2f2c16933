/* work_queue.h - keys waiting to be reconciled, each at most once.
 *
 * Loop-confined. A key added while it waits is not added again; one added
 * while it is processed runs again afterwards, never twice at the same time.
 * Several logical workers share the loop: as many keys are in process as
 * config.workers allows, each from process() to work_queue_done().
 *
 *   add, add_after, add_rate_limited -> waiting -> process() -> work_queue_done() */
#ifndef CLIENT_WORK_QUEUE_H
#define CLIENT_WORK_QUEUE_H

#include "lib/base/str.h"

struct env;
struct uv_loop_s;
struct work_queue;

struct work_queue_config {
    const char *name;       /* For metrics (workqueue_*{name=...}), copied; NULL: none. */
    unsigned workers;       /* 0: 1 */
    uint32_t base_delay_ms; /* First retry; doubles with each. 0: 5 */
    uint32_t max_delay_ms;  /* 0: 1000 s */
    double qps;             /* All rate-limited adds together; 0: 10 */
    unsigned burst;         /* 0: 100 */
    struct env *env;        /* NULL: env_system() */
    /* Begins the work on key (borrowed until it is done). Must lead to exactly one
     * work_queue_done() with the same key, inside the call or later. */
    void (*process)(struct work_queue *q, struct str key, void *arg);
    void *arg;
};

struct work_queue *work_queue_new(struct uv_loop_s *loop, const struct work_queue_config *config);
/* No process() runs any more, and no call may follow: cancel work under way
 * first. May be called inside process(). NULL is a no-op. */
void work_queue_close(struct work_queue *q);
/* Holds keys back (collecting them) until resumed: while not the leader, or
 * before caches are filled. A new queue runs. */
void work_queue_pause(struct work_queue *q);
void work_queue_resume(struct work_queue *q);

void work_queue_add(struct work_queue *q, struct str key);
/* Behind all that is added otherwise (one in ten taken is of these while both wait): for the
 * backlog after a start, so that it does not hold up what users do meanwhile. */
void work_queue_add_low(struct work_queue *q, struct str key);
/* The earliest of several delays counts. */
void work_queue_add_after(struct work_queue *q, struct str key, uint64_t delay_ms);
/* What is delayed is due now, as backlog: for delays that turned out wrong, as after a jump of the
 * clock. */
void work_queue_hasten(struct work_queue *q);
/* After the key's own exponential delay and the bucket's. */
void work_queue_add_rate_limited(struct work_queue *q, struct str key);
void work_queue_forget(struct work_queue *q,
                       struct str key); /* The next delay is the first again. */
unsigned work_queue_requeues(const struct work_queue *q, struct str key);
void work_queue_done(struct work_queue *q, struct str key);
size_t work_queue_len(const struct work_queue *q);  /* Waiting now; without delayed ones. */
size_t work_queue_busy(const struct work_queue *q); /* In process. */

#endif
