/* reclaim.h - pods on what others reserve and do not use: the running part; see estimates.h.
 * Loop-confined. */
#ifndef SCHEDULER_RECLAIM_H
#define SCHEDULER_RECLAIM_H

#include <stdbool.h>

struct reclaim;
struct sched_config;
struct scheduler;
struct uv_timer_s;

/* Some profile asks for it. */
bool reclaim_is_on(const struct sched_config *c);
/* Takes over the timer's data; the caller closes it. */
struct reclaim *reclaim_start(struct scheduler *s, struct uv_timer_s *timer);
void reclaim_stop(struct reclaim *r); /* NULL is a no-op. */

#endif
