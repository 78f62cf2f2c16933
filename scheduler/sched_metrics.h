/* sched_metrics.h - what the scheduler counts and times, under upstream's names. Those that
 * are states are read when they are asked for. Loop-confined. */
#ifndef SCHEDULER_SCHED_METRICS_H
#define SCHEDULER_SCHED_METRICS_H

#include "lib/base/str.h"

struct sched_queue;
struct snapshot;

/* Of these from now on; NULL, NULL before they go. */
void sched_metrics_watch(const struct sched_queue *q, const struct snapshot *s);
/* result: "scheduled", "unschedulable", "error". seconds: deciding and binding. */
void sched_metrics_attempt(struct str profile, const char *result, double seconds);
void sched_metrics_decided(double seconds);
/* A pod was bound: after so many attempts, so long after it was first seen. */
void sched_metrics_placed(unsigned attempts, double seconds);
void sched_metrics_preempted(size_t victims);
/* point: "PostFilter", "Bind", ...; status: "Success", "Unschedulable", "Error". */
void sched_metrics_point(struct str profile, const char *point, const char *status, double seconds);
/* A binding was refused since another scheduler, or somebody, was faster. */
void sched_metrics_conflict(void);

#endif
