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
struct sched_config;
struct scheduler;

#define SCHEDULER_NAME "default-scheduler"

/* config is borrowed. */
struct scheduler *scheduler_start(struct client *c, const struct sched_config *config);
/* Drops calls under way; frees itself later. */
void scheduler_stop(struct scheduler *s);

#endif
