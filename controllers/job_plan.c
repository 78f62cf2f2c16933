/* job_plan.c - see job_plan.h and job_plan_internal.h. */
#include "controllers/job_plan_internal.h"

#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "controllers/job_pods.h"
#include "controllers/pods.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"

#include <stdlib.h>

#define PODS_AT_ONCE_MAX 500 /* Made or removed in one go. */
#define BACKOFF_BASE_S 10
#define BACKOFF_MAX_S 600
#define BACKOFF_LIMIT 6

/* --- conditions and events
 * -------------------------------------------------------------------------------- */

static struct batch_v1_job_condition *find_condition(const struct batch_v1_job_status *s,
                                                     const char *type)
{
    for (size_t i = 0; i < s->conditions_count; i++)
        if (str_eqc(s->conditions[i].type, type))
            return &s->conditions[i];
    return NULL;
}

static struct batch_v1_job_condition *true_condition(const struct batch_v1_job_status *s,
                                                     const char *type)
{
    struct batch_v1_job_condition *c = find_condition(s, type);
    return c != NULL && str_eqc(c->status, "True") ? c : NULL;
}

bool job_is_finished(const struct batch_v1_job_status *s)
{
    return true_condition(s, "Complete") != NULL || true_condition(s, "Failed") != NULL;
}

/* True when that changes something. What never was true need not be told to be false. */
static bool set_condition(struct job_planner *p, const char *type, bool on, struct str reason,
                          struct str message)
{
    struct batch_v1_job_status *s = p->st;
    struct batch_v1_job_condition *c = find_condition(s, type);
    struct str status = on ? STR("True") : STR("False");
    if (c == NULL && !on)
        return false;
    if (c != NULL && str_eq(c->status, status) && str_eq(c->reason, reason) &&
        str_eq(c->message, message))
        return false;
    if (c == NULL) {
        size_t cap = s->conditions_count;
        s->conditions = arena_grow(p->a, s->conditions, s->conditions_count, &cap, sizeof(*c));
        c = &s->conditions[s->conditions_count++];
    }
    *c = (struct batch_v1_job_condition){
        .type = str_of(type),
        .status = status,
        .reason = reason,
        .message = message,
        .last_probe_time = {.seconds = p->in->now_s},
        .last_transition_time = {.seconds = p->in->now_s},
    };
    return true;
}

static void add_event(struct job_planner *p, const char *type, const char *reason,
                      const char *message)
{
    ASSERT(p->plan->event_count < ARRAY_SIZE(p->plan->events));
    p->plan->events[p->plan->event_count++] = (struct job_event){type, reason, message};
}

static struct meta_v1_time *now(const struct job_planner *p)
{
    struct meta_v1_time *t = ARENA_NEW(p->a, struct meta_v1_time);
    t->seconds = p->in->now_s;
    return t;
}

static void look_again(struct job_planner *p, int64_t after_s)
{
    uint64_t s = (uint64_t)MAX_OF(after_s, (int64_t)1);
    p->plan->again_after_s = p->plan->again_after_s != 0 ? MIN_OF(p->plan->again_after_s, s) : s;
}

/* --- has it failed or succeeded?
 * -------------------------------------------------------------------------------- */

/* restartPolicy OnFailure: restarts within pods count against the limit too. */
static bool restarted_too_often(const struct job_planner *p, int32_t limit)
{
    int64_t n = 0;
    if (!str_eqc(p->job->spec.template.spec.restart_policy, "OnFailure"))
        return false;
    for (size_t i = 0; i < p->in->pod_count; i++) {
        const struct core_v1_pod_status *s = &p->in->pods[i]->status;
        if (!str_eqc(s->phase, "Running") && !str_eqc(s->phase, "Pending"))
            continue;
        for (size_t k = 0; k < s->container_statuses_count; k++)
            n += s->container_statuses[k].restart_count;
        for (size_t k = 0; k < s->init_container_statuses_count; k++)
            n += s->init_container_statuses[k].restart_count;
    }
    return limit == 0 ? n > 0 : n >= limit;
}

static bool is_past_deadline(struct job_planner *p)
{
    const struct batch_v1_job_spec *spec = &p->job->spec;
    if (!spec->has_active_deadline_seconds || p->st->start_time == NULL || spec->suspend)
        return false;
    int64_t left = p->st->start_time->seconds + spec->active_deadline_seconds - p->in->now_s;
    if (left > 0)
        look_again(p, left);
    return left <= 0;
}

static bool policy_fails_job(struct job_planner *p, struct str *ret_message)
{
    const struct batch_v1_pod_failure_policy *policy = p->job->spec.pod_failure_policy;
    for (size_t i = 0; policy != NULL && i < p->in->pod_count; i++)
        if (job_pod_failed(p->job, p->in->pods[i]) &&
            job_failure_action(p->a, policy, p->in->pods[i], ret_message) == JOB_FAIL_JOB)
            return true;
    return false;
}

static int32_t backoff_limit(const struct job_planner *p)
{
    if (p->job->spec.has_backoff_limit)
        return p->job->spec.backoff_limit;
    return p->per_index ? INT32_MAX : BACKOFF_LIMIT;
}

/* Why the Job has failed; NULL: it has not. */
static const char *failure_reason(struct job_planner *p, struct str *ret_message)
{
    int64_t lost = job_indexes_total(p->lost);
    if (policy_fails_job(p, ret_message))
        return "PodFailurePolicy";
    if (p->failed > backoff_limit(p) || restarted_too_often(p, backoff_limit(p))) {
        *ret_message = STR("Job has reached the specified backoff limit");
        return "BackoffLimitExceeded";
    }
    if (is_past_deadline(p)) {
        *ret_message = STR("Job was active longer than specified deadline");
        return "DeadlineExceeded";
    }
    if (!p->per_index)
        return NULL;
    if (p->job->spec.has_max_failed_indexes && lost > p->job->spec.max_failed_indexes) {
        *ret_message = STR("Job has exceeded the specified maximal number of failed indexes");
        return "MaxFailedIndexesExceeded";
    }
    if (lost > 0 && lost + p->succeeded >= p->completions) {
        *ret_message = STR("Job has failed indexes");
        return "FailedIndexes";
    }
    return NULL;
}

/* What was said earlier holds. Nothing is said while pods may be on their way
 * that the cache does not show. */
static enum job_verdict judge(struct job_planner *p)
{
    struct str message = STR_NULL;
    if (true_condition(p->st, "SuccessCriteriaMet") != NULL)
        return JOB_SUCCEEDING;
    if (true_condition(p->st, "FailureTarget") != NULL)
        return JOB_FAILING;
    const char *reason = failure_reason(p, &message);
    if (reason != NULL) {
        if (p->in->settled)
            set_condition(p, "FailureTarget", true, str_of(reason), message);
        return JOB_FAILING;
    }
    if (p->indexed &&
        job_success_met(p->a, p->job->spec.success_policy, p->completions, p->done, &message)) {
        if (p->in->settled)
            set_condition(p, "SuccessCriteriaMet", true, STR("SuccessPolicy"), message);
        return JOB_SUCCEEDING;
    }
    return JOB_OPEN;
}

/* A work queue is done when one worker has succeeded and the others have ended. */
static bool is_complete(const struct job_planner *p)
{
    if (p->st->active + (int64_t)p->plan->create_count != 0)
        return false;
    return p->completions >= 0 ? p->succeeded >= p->completions : p->succeeded > 0;
}

/* --- pods to make and to remove ------------------------------------------------------------------
 */

int64_t job_backoff_s(int64_t failures)
{
    int64_t s = BACKOFF_BASE_S;
    if (failures <= 0)
        return 0;
    for (int64_t i = 1; i < failures && s < BACKOFF_MAX_S; i++)
        s *= 2;
    return MIN_OF(s, (int64_t)BACKOFF_MAX_S);
}

static int64_t still_to_wait_s(const struct job_planner *p, int64_t failures, int64_t last_s)
{
    int64_t whole_s = job_backoff_s(failures), left_s = last_s + whole_s - p->in->now_s;
    /* A failure that is still to come happened before a clock was set back: how long ago
     * nobody knows, and waiting for its time could take for ever. */
    return failures == 0 || left_s < 0 || left_s > whole_s ? 0 : left_s;
}

static int by_index_then_worth(const void *x, const void *y)
{
    const struct core_v1_pod *a = *(const struct core_v1_pod *const *)x,
                             *b = *(const struct core_v1_pod *const *)y;
    int32_t i = job_pod_index(a), k = job_pod_index(b);
    return i != k ? (i > k) - (i < k) : pod_compare_for_deletion(a, b);
}

static int by_worth(const void *x, const void *y)
{
    return pod_compare_for_deletion(*(const struct core_v1_pod *const *)x,
                                    *(const struct core_v1_pod *const *)y);
}

/* Of an Indexed Job, all but the best of each index, and those without a valid
 * one; moved to plan.remove. */
static void remove_repeated(struct job_planner *p)
{
    size_t n = p->active_count, kept = 0;
    if (n > 1)
        qsort(p->active, n, sizeof(*p->active), by_index_then_worth);
    for (size_t i = 0; i < n; i++) {
        int32_t index = job_pod_index(p->active[i]);
        bool last = i + 1 == n || job_pod_index(p->active[i + 1]) != index;
        if (last && job_index_is_valid(p, index))
            p->active[kept++] = p->active[i];
        else
            p->plan->remove[p->plan->remove_count++] = p->active[i];
    }
    p->active_count = kept;
}

/* At least so many go, those that have come least far first. */
static void remove_active(struct job_planner *p, int64_t at_least)
{
    if (p->indexed)
        remove_repeated(p);
    if (at_least > (int64_t)p->plan->remove_count && p->active_count > 1)
        qsort(p->active, p->active_count, sizeof(*p->active), by_worth);
    for (size_t i = 0; i < p->active_count && (int64_t)p->plan->remove_count < at_least; i++)
        p->plan->remove[p->plan->remove_count++] = p->active[i];
    if (!p->job->spec.suspend)
        p->plan->remove_count = MIN_OF(p->plan->remove_count, (size_t)PODS_AT_ONCE_MAX);
}

/* The status tells of pods as they will be when they are asked to go. */
static void expect_gone(struct job_planner *p, const struct core_v1_pod *const *pods, size_t count)
{
    for (size_t i = 0; i < count; i++)
        p->st->ready -= pod_is_ready(pods[i]);
    p->st->active -= (int32_t)count;
    p->st->terminating += (int32_t)count;
}

static int64_t wanted_active(const struct job_planner *p)
{
    if (p->job->spec.suspend)
        return 0;
    if (p->completions < 0) /* Work queue: no new workers once one has succeeded. */
        return p->succeeded > 0 ? p->st->active : p->parallelism;
    return MIN_OF((int64_t)p->parallelism, MAX_OF(p->completions - p->succeeded, 0));
}

/* The lowest indexes that nothing is said of and that no pod runs for. */
static size_t pending_indexes(const struct job_planner *p, size_t want, int32_t *ret)
{
    int32_t *taken = ARENA_ARRAY(p->a, int32_t, p->in->pod_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < p->in->pod_count; i++) {
        const struct core_v1_pod *pod = p->in->pods[i];
        bool blocks = pod_is_active(pod) || (job_awaits_end(p->job) && job_pod_is_terminating(pod));
        if (blocks && job_pod_index(pod) >= 0)
            taken[n++] = job_pod_index(pod);
    }
    struct job_indexes set = job_indexes_union(p->a, p->done, job_indexes_of(p->a, taken, n));
    return job_indexes_missing(job_indexes_union(p->a, set, p->lost), p->completions, want, ret);
}

/* The new pod of an index takes over what the index has behind it. */
static struct job_creation successor(const struct job_planner *p, int32_t index)
{
    const struct core_v1_pod *before = p->per_index ? job_held(p, index) : NULL;
    struct job_creation x = {.index = index};
    if (before == NULL)
        return x;
    bool ignored =
        job_failure_action(p->a, p->job->spec.pod_failure_policy, before, NULL) == JOB_IGNORE;
    x.failures = job_pod_failures(before) + !ignored;
    x.ignored = job_pod_ignored(before) + ignored;
    return x;
}

/* With limits per index every index waits for itself. */
static int64_t index_waits_s(const struct job_planner *p, int32_t index)
{
    const struct core_v1_pod *before = p->per_index ? job_held(p, index) : NULL;
    if (before == NULL)
        return 0;
    return still_to_wait_s(p, (int64_t)job_pod_failures(before) + job_pod_ignored(before) + 1,
                           job_pod_finished_s(before));
}

static void create_pods(struct job_planner *p, size_t count)
{
    int32_t *indexes = ARENA_ARRAY(p->a, int32_t, count + 1);
    p->plan->create = ARENA_ARRAY(p->a, struct job_creation, count + 1);
    if (p->indexed)
        count = pending_indexes(p, count, indexes);
    for (size_t i = 0; i < count; i++) {
        int64_t wait_s = p->indexed ? index_waits_s(p, indexes[i]) : 0;
        if (wait_s > 0)
            look_again(p, wait_s);
        else
            p->plan->create[p->plan->create_count++] =
                p->indexed ? successor(p, indexes[i]) : (struct job_creation){.index = -1};
    }
}

static void manage_pods(struct job_planner *p)
{
    int64_t want = wanted_active(p);
    p->plan->action = "tracking";
    remove_active(p, p->st->active - want);
    if (p->plan->remove_count != 0 || p->job->spec.suspend) {
        p->plan->action = "pods_deleted";
        expect_gone(p, p->plan->remove, p->plan->remove_count);
        return; /* Makes none in the same step. */
    }
    int64_t missing = want - p->st->active - (job_awaits_end(p->job) ? p->st->terminating : 0);
    if (missing <= 0)
        return;
    p->plan->action = "pods_created";
    int64_t wait_s = p->per_index ? 0
                                  : still_to_wait_s(p, p->plan->backoff.failures,
                                                    p->plan->backoff.last_failure_s);
    if (wait_s > 0)
        look_again(p, wait_s);
    else
        create_pods(p, (size_t)MIN_OF(missing, (int64_t)PODS_AT_ONCE_MAX));
}

/* --- all of it ---------------------------------------------------------------------------------
 */

static void suspend_or_resume(struct job_planner *p)
{
    if (p->job->spec.suspend) {
        if (set_condition(p, "Suspended", true, STR("JobSuspended"), STR("Job suspended")))
            add_event(p, "Normal", "Suspended", "Job suspended");
        p->st->start_time = NULL;
    } else if (set_condition(p, "Suspended", false, STR("JobResumed"), STR("Job resumed"))) {
        /* The deadline counts anew: a suspended Job has no start, so plan_open() has set one. What
         * an earlier step of this resumption has written must stay, since nobody may change it. */
        add_event(p, "Normal", "Resumed", "Job resumed");
    }
}

static void go_on(struct job_planner *p)
{
    bool manage = p->in->settled && p->job->metadata.deletion_timestamp == NULL;
    if (manage)
        manage_pods(p);
    if (is_complete(p)) {
        p->verdict = JOB_SUCCEEDING;
        set_condition(p, "SuccessCriteriaMet", true, STR("CompletionsReached"),
                      STR("Reached expected number of succeeded pods"));
    } else if (manage) {
        suspend_or_resume(p);
    }
}

static void stop_all(struct job_planner *p)
{
    p->plan->stop = p->active;
    p->plan->stop_count = p->active_count;
    expect_gone(p, p->active, p->active_count);
    if (!p->in->settled)
        p->verdict = JOB_OPEN; /* There may be more of them. */
}

/* Target reached or missed, all pods counted and ended: that is the end. */
static void conclude(struct job_planner *p)
{
    const struct batch_v1_uncounted_terminated_pods *u = p->st->uncounted_terminated_pods;
    bool failed = p->verdict == JOB_FAILING;
    if (p->verdict == JOB_OPEN || u->succeeded_count != 0 || u->failed_count != 0 ||
        p->plan->release_count != 0 || p->st->terminating > 0)
        return;
    const struct batch_v1_job_condition target =
        *find_condition(p->st, failed ? "FailureTarget" : "SuccessCriteriaMet");
    set_condition(p, failed ? "Failed" : "Complete", true, target.reason, target.message);
    p->plan->finished = failed ? "failed" : "succeeded";
    p->plan->finish_reason = failed ? target.reason : STR_NULL;
    if (failed) {
        add_event(p, "Warning", str_c(target.reason), str_c(target.message));
        return;
    }
    p->st->completion_time = now(p);
    if (p->completions >= 0 && p->st->succeeded > p->completions)
        add_event(p, "Warning", "TooManySucceededPods",
                  "Too many succeeded pods running after completion count reached");
    add_event(p, "Normal", "Completed", "Job completed");
}

/* Only what is left over. */
static void tidy_up(struct job_planner *p)
{
    for (size_t i = 0; i < p->in->pod_count; i++)
        if (job_tracks(p, i) && !pod_is_active(p->in->pods[i]))
            p->plan->release[p->plan->release_count++] = p->in->pods[i];
}

static void plan_open(struct job_planner *p)
{
    job_scan(p);
    if (p->st->start_time == NULL && !p->job->spec.suspend)
        p->st->start_time = now(p);
    p->verdict = judge(p);
    if (p->verdict == JOB_OPEN)
        go_on(p);
    else
        stop_all(p);
    job_track(p);
    conclude(p);
    map_done(&p->uncounted);
}

void job_plan(struct arena *a, const struct job_input *in, struct job_plan *ret)
{
    const struct batch_v1_job_spec *spec = &in->job->spec;
    *ret = (struct job_plan){.action = "reconciling"};
    ret->status = api_msg_clone(a, &batch_v1_job_status_msg, &in->job->status);
    ret->remove = ARENA_ARRAY(a, const struct core_v1_pod *, in->pod_count + 1);
    ret->release = ARENA_ARRAY(a, const struct core_v1_pod *, in->pod_count + 1);
    struct job_planner p = {
        .a = a,
        .in = in,
        .job = in->job,
        .plan = ret,
        .st = ret->status,
        .indexed = job_is_indexed(in->job),
        .per_index = job_is_per_index(in->job),
        .completions = spec->has_completions ? spec->completions : -1,
        .parallelism = spec->has_parallelism ? spec->parallelism : 1,
    };
    if (job_is_finished(p.st))
        tidy_up(&p);
    else
        plan_open(&p);
}
