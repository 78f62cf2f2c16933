/* job_metrics.h - what the Job controller counts, by upstream's names. */
#ifndef CONTROLLERS_JOB_METRICS_H
#define CONTROLLERS_JOB_METRICS_H

#include "lib/base/str.h"

struct arena;
struct batch_v1_job;
struct batch_v1_job_status;
struct job_plan;

/* A reconciliation is over: failed, or not. */
void job_metrics_synced(const struct batch_v1_job *j, const char *action, bool failed,
                        double seconds);
/* plan's status was written over that of j. */
void job_metrics_written(struct arena *a, const struct batch_v1_job *j,
                         const struct job_plan *plan);
void job_metrics_created(const struct batch_v1_job *j, const struct job_plan *plan,
                         size_t succeeded, size_t failed);
/* An ended pod got ("add") or lost ("delete") its finalizer. */
void job_metrics_finalizer(const char *event);
void job_metrics_managed_elsewhere(struct str controller);

#endif
