/* job_pods.h - the pods of a Job: their index, whether and when they ended, and
 * how new ones are made. Pure. */
#ifndef CONTROLLERS_JOB_PODS_H
#define CONTROLLERS_JOB_PODS_H

#include "lib/base/str.h"

struct arena;
struct batch_v1_job;
struct core_v1_pod;
struct meta_v1_owner_reference;

#define JOB_FINALIZER "batch.kubernetes.io/job-tracking"
#define JOB_INDEX "batch.kubernetes.io/job-completion-index"
#define JOB_INDEX_FAILURES "batch.kubernetes.io/job-index-failure-count"
#define JOB_INDEX_IGNORED "batch.kubernetes.io/job-index-ignored-failure-count"

bool job_is_indexed(const struct batch_v1_job *j);
/* Failures are counted index by index. */
bool job_is_per_index(const struct batch_v1_job *j);
/* Pods are replaced once they have ended, not when they are asked to go. */
bool job_awaits_end(const struct batch_v1_job *j);

int32_t job_pod_index(const struct core_v1_pod *pod);   /* -1: none that can be read. */
bool job_pod_is_tracked(const struct core_v1_pod *pod); /* Has the Job's finalizer. */
bool job_pod_succeeded(const struct core_v1_pod *pod);
/* Ended badly; or is going, unless the Job waits for its end. */
bool job_pod_failed(const struct batch_v1_job *j, const struct core_v1_pod *pod);
/* Asked to go and not yet ended. */
bool job_pod_is_terminating(const struct core_v1_pod *pod);
/* When its last container ended; else since when it is not ready, was asked to
 * go, or exists. */
int64_t job_pod_finished_s(const struct core_v1_pod *pod);
/* Failures of its index before it: those that count, and those ignored. */
int32_t job_pod_failures(const struct core_v1_pod *pod);
int32_t job_pod_ignored(const struct core_v1_pod *pod);

struct job_creation {
    int32_t index; /* -1: the Job has none. */
    int32_t failures, ignored;
};
void job_pod_make(struct arena *a, const struct batch_v1_job *j,
                  const struct meta_v1_owner_reference *owner, const struct job_creation *what,
                  struct core_v1_pod *ret);

#endif
