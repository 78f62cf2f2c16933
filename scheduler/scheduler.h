/* scheduler.h - the running scheduler: watches the cluster, decides pod by pod
 * (framework.h), and carries the decisions out without waiting for them.
 *
 * Loop-confined.
 *
 *   informers -> queue, snapshot -> cycle -> assume -> binding -> confirmed by the watch
 *                                        \-> condition, event, preemption */
#ifndef SCHEDULER_SCHEDULER_H
#define SCHEDULER_SCHEDULER_H

struct client;
struct scheduler;

#define SCHEDULER_NAME "default-scheduler"

struct scheduler *scheduler_start(struct client *c);
/* Drops calls under way; frees itself later. */
void scheduler_stop(struct scheduler *s);

#endif
