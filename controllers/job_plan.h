/* job_plan.h - what a Job needs next. Pure.
 *
 * Counting a finished pod exactly once, even if the pod vanishes in between:
 * its uid goes into status.uncountedTerminatedPods, then its tracking
 * finalizer is taken off, then the uid moves into the counter. Each step is
 * seen to be done before the next; a step repeated changes nothing. */
#ifndef CONTROLLERS_JOB_PLAN_H
#define CONTROLLERS_JOB_PLAN_H

#include "lib/base/str.h"

struct arena;
struct batch_v1_job;
struct batch_v1_job_status;
struct core_v1_pod;

#define JOB_FINALIZER "batch.kubernetes.io/job-tracking"
#define JOB_INDEX "batch.kubernetes.io/job-completion-index"

struct job_input {
    const struct batch_v1_job *job;
    struct core_v1_pod *const *pods; /* That belong to it. */
    size_t pod_count;
    bool settled; /* Nothing asked for earlier is outstanding. */
    int64_t now_s;
};

struct job_plan {
    struct batch_v1_job_status *status; /* As it should be. */
    int32_t create;                     /* Pods to create, for these indexes if indexed. */
    int32_t *indexes;
    const struct core_v1_pod **remove; /* Active pods to delete. */
    size_t remove_count;
    const struct core_v1_pod **release; /* Finished pods whose finalizer is to go. */
    size_t release_count;
    uint64_t again_after_s;                                /* 0: only when something changes. */
    const char *event_type, *event_reason, *event_message; /* NULL: none. */
};

void job_plan(struct arena *a, const struct job_input *in, struct job_plan *ret);

bool job_is_finished(const struct batch_v1_job_status *s); /* Complete or Failed. */
bool job_is_indexed(const struct batch_v1_job *j);
/* "1,3-5" as sorted numbers, and back. Malformed parts are skipped; max bounds
 * the numbers. */
int32_t *job_indexes_parse(struct arena *a, struct str text, int32_t max, size_t *ret_count);
struct str job_indexes_format(struct arena *a, const int32_t *indexes, size_t count);
/* Seconds to wait before the next pod: 10 s, doubling with each failure since
 * the last success, at most 10 min. */
int64_t job_backoff_s(int32_t failures);

#endif
