/* sched_metrics.h - what the scheduler counts and times, under upstream's names. Those that
 * are states are read when they are asked for. Loop-confined. */
#ifndef SCHEDULER_SCHED_METRICS_H
#define SCHEDULER_SCHED_METRICS_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

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
/* For struct cycle_watch: one plugin at one point of a decision that is sampled. */
struct cycle;
struct plugin;
void sched_metrics_plugin(const struct cycle *c, const struct plugin *p, const char *point,
                          const char *status, uint64_t took_ns);
void sched_metrics_of_point(const struct cycle *c, const char *point, bool fits, uint64_t took_ns);
/* Of pods and nodes alike, one of so many is timed: as upstream's 10 %. */
#define DECISIONS_PER_TIMED 10u
#define HINTS_PER_TIMED 10u
/* Whether an event may help a pod that waits was asked: hint "Queue" or "QueueSkip". plugin: the
 * first of those that refused it. */
void sched_metrics_hint(unsigned refused_by, const char *event, const char *hint, double seconds);
/* A claim for extended resources was to be made. */
void sched_metrics_claim(bool made);
/* A binding was refused since another scheduler, or somebody, was faster. */
void sched_metrics_conflict(void);

#endif
