/* job_scan.c - what a Job's pods say. See job_plan_internal.h. */
#include "controllers/job_plan_internal.h"

#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "controllers/job_pods.h"
#include "controllers/pods.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"

#include <stdlib.h>

bool job_tracks(const struct job_planner *p, size_t i)
{
    bool released = p->in->released != NULL && p->in->released[i];
    return !released && job_pod_is_tracked(p->in->pods[i]);
}

bool job_index_is_valid(const struct job_planner *p, int32_t index)
{
    return index >= 0 && index < p->completions;
}

/* --- pods that ended ------------------------------------------------------------------------ */

static void load_uncounted(struct job_planner *p)
{
    struct batch_v1_uncounted_terminated_pods *u = p->st->uncounted_terminated_pods;
    if (u == NULL)
        u = p->st->uncounted_terminated_pods =
            ARENA_NEW(p->a, struct batch_v1_uncounted_terminated_pods);
    map_init(&p->uncounted);
    for (size_t i = 0; i < u->succeeded_count; i++)
        map_set(&p->uncounted, u->succeeded[i], p);
    for (size_t i = 0; i < u->failed_count; i++)
        map_set(&p->uncounted, u->failed[i], p);
}

/* Is it something that the status does not know of? */
static bool is_news(const struct job_planner *p, size_t i)
{
    const struct core_v1_pod *pod = p->in->pods[i];
    return job_tracks(p, i) && !map_has(&p->uncounted, pod->metadata.uid) &&
           (!p->indexed || job_index_is_valid(p, job_pod_index(pod)));
}

static bool counts(const struct job_planner *p, const struct core_v1_pod *pod)
{
    return job_failure_action(p->a, p->job->spec.pod_failure_policy, pod, NULL) != JOB_IGNORE;
}

/* Failures after the last success. Pods that are not news tell about the past
 * when nothing else does: after a restart. */
static void scan_backoff(struct job_planner *p)
{
    struct job_backoff *b = &p->plan->backoff;
    bool known = p->in->backoff != NULL;
    int64_t success_s = INT64_MIN;
    *b = known ? *p->in->backoff : (struct job_backoff){0};
    for (size_t i = 0; i < p->in->pod_count; i++)
        if (job_pod_succeeded(p->in->pods[i]) && (!known || is_news(p, i)))
            success_s = MAX_OF(success_s, job_pod_finished_s(p->in->pods[i]));
    if (success_s != INT64_MIN)
        *b = (struct job_backoff){0};
    for (size_t i = 0; i < p->in->pod_count; i++) {
        const struct core_v1_pod *pod = p->in->pods[i];
        if (!job_pod_failed(p->job, pod) || (known && !is_news(p, i)))
            continue;
        int64_t end_s = job_pod_finished_s(pod);
        if (end_s <= success_s)
            continue;
        b->failures += b->failures < INT32_MAX;
        b->last_failure_s = MAX_OF(b->last_failure_s, end_s);
    }
}

static void scan_totals(struct job_planner *p)
{
    const struct batch_v1_uncounted_terminated_pods *u = p->st->uncounted_terminated_pods;
    p->succeeded = p->st->succeeded + (int64_t)u->succeeded_count;
    p->failed = p->st->failed + (int64_t)u->failed_count;
    for (size_t i = 0; i < p->in->pod_count; i++) {
        const struct core_v1_pod *pod = p->in->pods[i];
        if (!is_news(p, i))
            continue;
        p->succeeded += job_pod_succeeded(pod);
        p->failed += job_pod_failed(p->job, pod) && counts(p, pod);
    }
}

/* --- pods that run ---------------------------------------------------------------------------- */

static void scan_active(struct job_planner *p)
{
    struct batch_v1_job_status *s = p->st;
    s->active = s->ready = s->terminating = 0;
    s->has_ready = s->has_terminating = true;
    p->active = ARENA_ARRAY(p->a, const struct core_v1_pod *, p->in->pod_count + 1);
    for (size_t i = 0; i < p->in->pod_count; i++) {
        const struct core_v1_pod *pod = p->in->pods[i];
        s->terminating += job_pod_is_terminating(pod);
        if (!pod_is_active(pod))
            continue;
        p->active[p->active_count++] = pod;
        s->active++;
        s->ready += pod_is_ready(pod);
    }
}

/* --- indexes ------------------------------------------------------------------------------------
 */

static bool index_is_lost(const struct job_planner *p, const struct core_v1_pod *pod)
{
    if (!job_pod_failed(p->job, pod))
        return false;
    enum job_action action = job_failure_action(p->a, p->job->spec.pod_failure_policy, pod, NULL);
    return action == JOB_FAIL_INDEX ||
           (action != JOB_IGNORE && job_pod_failures(pod) >= p->job->spec.backoff_limit_per_index);
}

static void scan_indexes(struct job_planner *p)
{
    int32_t *done = ARENA_ARRAY(p->a, int32_t, p->in->pod_count + 1);
    int32_t *lost = ARENA_ARRAY(p->a, int32_t, p->in->pod_count + 1);
    size_t done_count = 0, lost_count = 0;
    for (size_t i = 0; i < p->in->pod_count; i++) {
        const struct core_v1_pod *pod = p->in->pods[i];
        int32_t index = job_pod_index(pod);
        if (!job_tracks(p, i) || !job_index_is_valid(p, index))
            continue;
        if (job_pod_succeeded(pod))
            done[done_count++] = index;
        else if (p->per_index && index_is_lost(p, pod))
            lost[lost_count++] = index;
    }
    p->before = job_indexes_parse(p->a, p->st->completed_indexes, p->completions);
    p->done = job_indexes_union(p->a, p->before, job_indexes_of(p->a, done, done_count));
    p->lost =
        job_indexes_union(p->a, job_indexes_parse(p->a, p->st->failed_indexes, p->completions),
                          job_indexes_of(p->a, lost, lost_count));
    p->succeeded = job_indexes_total(p->done);
}

#define BY(x, y)                                                                                   \
    do {                                                                                           \
        if ((x) != (y))                                                                            \
            return (x) < (y) ? -1 : 1;                                                             \
    } while (0)

static int64_t all_failures(const struct core_v1_pod *pod)
{
    return (int64_t)job_pod_failures(pod) + job_pod_ignored(pod);
}

static int by_index_and_failures(const void *x, const void *y)
{
    const struct core_v1_pod *a = *(const struct core_v1_pod *const *)x,
                             *b = *(const struct core_v1_pod *const *)y;
    BY(job_pod_index(a), job_pod_index(b));
    BY(all_failures(a), all_failures(b));
    BY(job_pod_finished_s(a), job_pod_finished_s(b));
    return str_cmp(a->metadata.uid, b->metadata.uid);
}

static void scan_held(struct job_planner *p)
{
    int32_t *active = ARENA_ARRAY(p->a, int32_t, p->active_count + 1);
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < p->active_count; i++)
        active[i] = job_pod_index(p->active[i]);
    struct job_indexes taken = job_indexes_union(p->a, job_indexes_union(p->a, p->done, p->lost),
                                                 job_indexes_of(p->a, active, p->active_count));
    p->held = ARENA_ARRAY(p->a, const struct core_v1_pod *, p->in->pod_count + 1);
    for (size_t i = 0; i < p->in->pod_count; i++) {
        int32_t index = job_pod_index(p->in->pods[i]);
        if (job_tracks(p, i) && job_pod_failed(p->job, p->in->pods[i]) &&
            job_index_is_valid(p, index) && !job_indexes_has(taken, index))
            p->held[n++] = p->in->pods[i];
    }
    if (n > 1)
        qsort(p->held, n, sizeof(*p->held), by_index_and_failures);
    for (size_t i = 0; i < n; i++)
        if (i + 1 == n || job_pod_index(p->held[i]) != job_pod_index(p->held[i + 1]))
            p->held[kept++] = p->held[i];
    p->held_count = kept;
}

const struct core_v1_pod *job_held(const struct job_planner *p, int32_t index)
{
    size_t low = 0, high = p->held_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (job_pod_index(p->held[middle]) < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low < p->held_count && job_pod_index(p->held[low]) == index ? p->held[low] : NULL;
}

void job_scan(struct job_planner *p)
{
    load_uncounted(p);
    scan_active(p);
    scan_backoff(p);
    scan_totals(p);
    if (p->indexed)
        scan_indexes(p);
    if (p->per_index)
        scan_held(p);
}
