/* job_plan.h - what a Job needs next. Pure.
 *
 * Counting a finished pod exactly once, even if the pod vanishes in between:
 * its uid goes into status.uncountedTerminatedPods, then its tracking
 * finalizer is taken off, then the uid moves into the counter. Each step is
 * seen to be done before the next; a step repeated changes nothing.
 *
 *   create, remove -> status -> release, stop */
#ifndef CONTROLLERS_JOB_PLAN_H
#define CONTROLLERS_JOB_PLAN_H

#include "controllers/job_policy.h"

struct arena;
struct batch_v1_job;
struct batch_v1_job_status;
struct core_v1_pod;
struct job_creation;

/* Failures since the last success, and the time of the last. */
struct job_backoff {
    int32_t failures;
    int64_t last_failure_s;
};

struct job_input {
    const struct batch_v1_job *job;
    struct core_v1_pod *const *pods; /* That belong to it. */
    size_t pod_count;
    const bool *released; /* Pods that have lost their finalizer, whatever they show; NULL: none. */
    bool settled;         /* Nothing asked for earlier is outstanding. */
    int64_t now_s;
    const struct job_backoff *backoff; /* NULL: not known; made up from the pods that are left. */
};

struct job_event {
    const char *type, *reason, *message;
};

struct job_plan {
    struct batch_v1_job_status
        *status;                /* As it should be, but for active: created ones add to it. */
    struct job_backoff backoff; /* Holds once the status is written. */
    struct job_creation *create;
    size_t create_count;
    /* Active pods that are too many: finalizer off, deleted, never counted. */
    const struct core_v1_pod **remove;
    size_t remove_count;
    /* Active pods of a Job that is decided: deleted, then counted. */
    const struct core_v1_pod **stop;
    size_t stop_count;
    const struct core_v1_pod **release; /* Pods whose finalizer is to go. */
    size_t release_count;
    uint64_t again_after_s;     /* 0: only when something changes. */
    struct job_event events[2]; /* Once the status is written; without type: none. */
    size_t event_count;
    /* For metrics. */
    const char *action;   /* "reconciling", "tracking", "pods_created", "pods_deleted" */
    const char *finished; /* "succeeded" or "failed" when that is decided now; else NULL. */
    struct str finish_reason;
    size_t policy_actions[JOB_FAIL_JOB + 1]; /* Failures newly counted, by what the policy says. */
};

void job_plan(struct arena *a, const struct job_input *in, struct job_plan *ret);

bool job_is_finished(const struct batch_v1_job_status *s); /* Complete or Failed. */
/* Seconds to wait before the next pod: 10 s, doubling with each failure since
 * the last success, at most 10 min. */
int64_t job_backoff_s(int64_t failures);

#endif
