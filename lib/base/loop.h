/* loop.h - small helpers around libuv's loop. Loop-confined, except the slow
 * callback count, which is atomic. */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include "lib/base/base.h"
#include "lib/base/error.h"
#include "lib/base/list.h"

#include <uv.h>

/* An E_* code for a negative libuv result. */
int loop_error_code(int uv_code);
/* Sets err to "what: text of uv_code" and returns its E_* code. */
int loop_error_set(struct error *err, int uv_code, const char *what);

/* Work put off to the end of the loop's current round: flushing, completing.
 * One handle serves any number of jobs. */
struct defer_queue;
struct deferred {
    struct list link;
    struct defer_queue *queue; /* While queued. */
    void (*run)(struct deferred *d);
};
struct defer_queue {
    uv_idle_t idle;
    struct list jobs;
    void (*on_closed)(struct defer_queue *q);
};
void defer_queue_init(struct defer_queue *q, uv_loop_t *loop);
/* Drops what is queued; memory may go in on_closed. */
void defer_queue_close(struct defer_queue *q, void (*on_closed)(struct defer_queue *q));
void deferred_init(struct deferred *d, void (*run)(struct deferred *d));
void deferred_post(struct defer_queue *q, struct deferred *d); /* Again while queued: no-op. */
void deferred_cancel(struct deferred *d);                      /* Not queued: no-op. */

/* Names a callback and logs it when it holds the loop for over 10 ms:
 *     LOOP_CALLBACK("list pods"); */
struct loop_span {
    const char *name;
    uint64_t start_ns;
};
#define LOOP_SLOW_NS UINT64_C(10000000)
static inline struct loop_span loop_span_begin(const char *name)
{
    return (struct loop_span){name, uv_hrtime()};
}
void loop_span_end(struct loop_span *s);
#define LOOP_CALLBACK(name)                                                                        \
    __attribute__((cleanup(loop_span_end), unused)) struct loop_span loop_span_ =                  \
        loop_span_begin(name)
uint64_t loop_slow_count(void); /* Slow callbacks of this process so far. */

#endif
