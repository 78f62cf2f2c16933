/* job_plan_internal.h - what the three steps of planning a Job share:
 *
 *   job_scan()  what the pods are, and what that adds to the status
 *   (job_plan.c) has the Job succeeded or failed? which pods to make or remove?
 *   job_track() which ended pods to count, and which to let go */
#ifndef CONTROLLERS_JOB_PLAN_INTERNAL_H
#define CONTROLLERS_JOB_PLAN_INTERNAL_H

#include "controllers/job_plan.h"
#include "lib/base/map.h"

enum job_verdict { JOB_OPEN, JOB_FAILING, JOB_SUCCEEDING };

struct job_planner {
    struct arena *a;
    const struct job_input *in;
    const struct batch_v1_job *job;
    struct job_plan *plan;
    struct batch_v1_job_status *st;
    bool indexed, per_index;
    int32_t completions; /* -1: a work queue. */
    int32_t parallelism;
    enum job_verdict verdict;
    /* Filled by job_scan(). */
    struct map uncounted;                  /* Uids in the status. */
    struct job_indexes before, done, lost; /* Succeeded by the status, and now; failed. */
    const struct core_v1_pod **active;
    size_t active_count;
    int64_t succeeded, failed; /* With what is not in the status yet. */
    /* The last failed pods of indexes without another one, by index: kept until
     * there is one, which takes over the count of failures. */
    const struct core_v1_pod **held;
    size_t held_count;
};

void job_scan(struct job_planner *p);
void job_track(struct job_planner *p);

/* Is pod i still to be let go? */
bool job_tracks(const struct job_planner *p, size_t i);
bool job_index_is_valid(const struct job_planner *p, int32_t index);
const struct core_v1_pod *job_held(const struct job_planner *p, int32_t index); /* NULL: none. */

#endif
