/* job_track.c - counts a Job's ended pods and lets them go. See job_plan_internal.h. */
#include "controllers/job_plan_internal.h"

#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "controllers/job_pods.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"

#include <stdlib.h>
#include <string.h>

/* Uids noted in the status at a time: it must stay below some 20 KB. */
#define UNCOUNTED_MAX 500

/* Uids whose pod has lost its finalizer (or is gone) move into the counter. */
static void settle(const struct map *tracked, struct str *uids, size_t *count, int32_t *counter)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        if (map_has(tracked, uids[i]))
            uids[kept++] = uids[i];
        else
            ++*counter;
    }
    *count = kept;
}

static void settle_uncounted(struct job_planner *p)
{
    struct batch_v1_uncounted_terminated_pods *u = p->st->uncounted_terminated_pods;
    struct map tracked;
    map_init(&tracked);
    for (size_t i = 0; i < p->in->pod_count; i++)
        if (job_tracks(p, i))
            map_set(&tracked, p->in->pods[i]->metadata.uid, p);
    settle(&tracked, u->succeeded, &u->succeeded_count, &p->st->succeeded);
    settle(&tracked, u->failed, &u->failed_count, &p->st->failed);
    map_done(&tracked);
}

static void note(struct job_planner *p, struct str **list, size_t *count, struct str uid)
{
    size_t cap = *count;
    *list = arena_grow(p->a, *list, *count, &cap, sizeof(**list));
    (*list)[(*count)++] = uid;
}

static bool may_go(const struct job_planner *p, const struct core_v1_pod *pod)
{
    if (p->job->metadata.deletion_timestamp != NULL || p->verdict != JOB_OPEN ||
        job_pod_succeeded(pod))
        return true;
    return job_pod_failed(p->job, pod) && !(p->per_index && job_held(p, job_pod_index(pod)) == pod);
}

static void count_failure(struct job_planner *p, const struct core_v1_pod *pod)
{
    struct batch_v1_uncounted_terminated_pods *u = p->st->uncounted_terminated_pods;
    enum job_action action = job_failure_action(p->a, p->job->spec.pod_failure_policy, pod, NULL);
    p->plan->policy_actions[action]++;
    if (action != JOB_IGNORE)
        note(p, &u->failed, &u->failed_count, pod->metadata.uid);
}

/* Indexes are counted by their number: their pods' uids need no note. */
static void count_pod(struct job_planner *p, const struct core_v1_pod *pod, int32_t *new_done,
                      size_t *new_done_count)
{
    struct batch_v1_uncounted_terminated_pods *u = p->st->uncounted_terminated_pods;
    int32_t index = job_pod_index(pod);
    bool known = map_has(&p->uncounted, pod->metadata.uid);
    bool placed = !p->indexed || job_index_is_valid(p, index);
    if (known || !placed)
        return;
    if (job_pod_succeeded(pod) && p->indexed && !job_indexes_has(p->before, index))
        new_done[(*new_done_count)++] = index;
    else if (job_pod_succeeded(pod) && !p->indexed)
        note(p, &u->succeeded, &u->succeeded_count, pod->metadata.uid);
    else if (!job_pod_succeeded(pod) && (job_pod_failed(p->job, pod) || p->verdict == JOB_FAILING))
        count_failure(p, pod); /* Of a failed Job, all that did not succeed have failed. */
}

static int by_index(const void *x, const void *y)
{
    int32_t a = job_pod_index(*(const struct core_v1_pod *const *)x),
            b = job_pod_index(*(const struct core_v1_pod *const *)y);
    return (a > b) - (a < b);
}

/* Pods that still have the finalizer; of an Indexed Job in order, so that a cut
 * leaves few runs in the status. */
static const struct core_v1_pod **tracked_pods(const struct job_planner *p, size_t *ret_count)
{
    const struct core_v1_pod **list =
        ARENA_ARRAY(p->a, const struct core_v1_pod *, p->in->pod_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < p->in->pod_count; i++)
        if (job_tracks(p, i))
            list[n++] = p->in->pods[i];
    if (p->indexed && n > 1)
        qsort(list, n, sizeof(*list), by_index);
    *ret_count = n;
    return list;
}

static void store_indexes(struct job_planner *p, int32_t *new_done, size_t count)
{
    struct job_indexes done =
        job_indexes_union(p->a, p->before, job_indexes_of(p->a, new_done, count));
    p->st->completed_indexes = job_indexes_format(p->a, done);
    p->st->succeeded = (int32_t)job_indexes_total(done);
    p->st->has_failed_indexes = p->per_index;
    p->st->failed_indexes = p->per_index ? job_indexes_format(p->a, p->lost) : STR_NULL;
}

void job_track(struct job_planner *p)
{
    struct batch_v1_uncounted_terminated_pods *u = p->st->uncounted_terminated_pods;
    int32_t *new_done = ARENA_ARRAY(p->a, int32_t, p->in->pod_count + 1);
    size_t new_done_count = 0, count;
    const struct core_v1_pod **list = tracked_pods(p, &count);
    settle_uncounted(p);
    for (size_t i = 0; i < count; i++) {
        if (new_done_count + u->succeeded_count + u->failed_count >= UNCOUNTED_MAX)
            break; /* The others' turn comes when these are counted. */
        if (!may_go(p, list[i]))
            continue;
        count_pod(p, list[i], new_done, &new_done_count);
        p->plan->release[p->plan->release_count++] = list[i];
    }
    if (p->indexed)
        store_indexes(p, new_done, new_done_count);
}
