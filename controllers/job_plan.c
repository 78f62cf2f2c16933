/* job_plan.c - see job_plan.h. */
#include "controllers/job_plan.h"

#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "controllers/pods.h"
#include "lib/api/codec.h"
#include "lib/api/pod.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"
#include "lib/base/buf.h"
#include "lib/client/labels.h"

#define UNCOUNTED_MAX 500
#define CREATE_MAX 500
#define BACKOFF_BASE_S 10
#define BACKOFF_MAX_S 600

struct planner {
    struct arena *a;
    const struct job_input *in;
    struct job_plan *plan;
    struct batch_v1_job_status *st;
    int32_t completions; /* -1: a work queue. */
    int32_t parallelism;
    size_t new_failures;
    int64_t last_failure_s;
    int32_t failures_since_success;
    bool *index_done; /* Indexed: succeeded. */
    bool *index_active;
    bool fail_job; /* By the pod failure policy. */
    struct str fail_message;
};

bool job_is_indexed(const struct batch_v1_job *j)
{
    return j->spec.has_completion_mode && str_eqc(j->spec.completion_mode, "Indexed");
}

static struct batch_v1_job_condition *find_condition(const struct batch_v1_job_status *s,
                                                     const char *type)
{
    for (size_t i = 0; i < s->conditions_count; i++)
        if (str_eqc(s->conditions[i].type, type) && str_eqc(s->conditions[i].status, "True"))
            return &s->conditions[i];
    return NULL;
}

bool job_is_finished(const struct batch_v1_job_status *s)
{
    return find_condition(s, "Complete") != NULL || find_condition(s, "Failed") != NULL;
}

/* --- indexes ------------------------------------------------------------------------------ */

static bool parse_number(struct str s, int32_t max, int32_t *ret)
{
    int64_t v;
    if (!str_to_i64(s, &v) || v < 0 || v >= max)
        return false;
    *ret = (int32_t)v;
    return true;
}

int32_t *job_indexes_parse(struct arena *a, struct str text, int32_t max, size_t *ret_count)
{
    int32_t *list = ARENA_ARRAY(a, int32_t, (size_t)MAX_OF(max, 0) + 1);
    struct str part, rest = text;
    size_t count = 0;
    int32_t last = -1;
    while (!str_empty(rest)) {
        struct str from_text, to_text;
        int32_t from, to;
        str_cut(rest, ',', &part, &rest);
        bool range = str_cut(part, '-', &from_text, &to_text);
        if (!parse_number(from_text, max, &from) || from <= last)
            continue;
        to = from;
        if (range && !parse_number(to_text, max, &to))
            continue;
        for (int32_t i = from; i <= to; i++)
            list[count++] = i;
        last = MAX_OF(to, from);
    }
    *ret_count = count;
    return list;
}

struct str job_indexes_format(struct arena *a, const int32_t *indexes, size_t count)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < count;) {
        size_t end = i;
        while (end + 1 < count && indexes[end + 1] == indexes[end] + 1)
            end++;
        if (b.len != 0)
            buf_putc(&b, ',');
        /* Two neighbours are a list, three a range. */
        if (end == i)
            buf_printf(&b, "%d", (int)indexes[i]);
        else
            buf_printf(&b, "%d%c%d", (int)indexes[i], end == i + 1 ? ',' : '-', (int)indexes[end]);
        i = end + 1;
    }
    return arena_str(a, buf_str(&b));
}

static bool index_of(const struct planner *p, const struct core_v1_pod *pod, int32_t *ret)
{
    const struct str *text = annotation_get(&pod->metadata, JOB_INDEX);
    return text != NULL && parse_number(*text, p->completions, ret);
}

/* --- pods ----------------------------------------------------------------------------------- */

static bool has_finalizer(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->metadata.finalizers_count; i++)
        if (str_eqc(pod->metadata.finalizers[i], JOB_FINALIZER))
            return true;
    return false;
}

static bool succeeded(const struct core_v1_pod *pod)
{
    return str_eqc(pod->status.phase, "Succeeded");
}

/* Ended, or going without having ended: upstream counts both as failed, the
 * latter only once it has (podReplacementPolicy Failed). */
static bool failed(const struct planner *p, const struct core_v1_pod *pod)
{
    bool when_failed = p->in->job->spec.has_pod_replacement_policy &&
                       str_eqc(p->in->job->spec.pod_replacement_policy, "Failed");
    if (str_eqc(pod->status.phase, "Failed"))
        return true;
    return pod->metadata.deletion_timestamp != NULL && !succeeded(pod) && !when_failed &&
           p->in->job->spec.pod_failure_policy == NULL;
}

static bool contains(const struct str *list, size_t count, struct str uid)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(list[i], uid))
            return true;
    return false;
}

static int64_t finish_time_s(const struct planner *p, const struct core_v1_pod *pod)
{
    int64_t latest = 0;
    for (size_t i = 0; i < pod->status.container_statuses_count; i++) {
        const struct core_v1_container_state_terminated *t =
            pod->status.container_statuses[i].state.terminated;
        if (t != NULL)
            latest = MAX_OF(latest, t->finished_at.seconds);
    }
    const struct core_v1_pod_condition *ready = pod_condition(pod, "Ready");
    if (latest == 0 && ready != NULL)
        latest = ready->last_transition_time.seconds;
    return latest != 0 ? latest : p->in->now_s;
}

/* --- the pod failure policy ---------------------------------------------------------------- */

static bool exit_codes_match(const struct batch_v1_pod_failure_policy_on_exit_codes_requirement *r,
                             const struct core_v1_container_status *s, size_t count,
                             int32_t *ret_code, struct str *ret_container)
{
    for (size_t i = 0; i < count; i++) {
        const struct core_v1_container_state_terminated *t = s[i].state.terminated;
        if (t == NULL || t->exit_code == 0 ||
            (r->has_container_name && !str_eq(r->container_name, s[i].name)))
            continue;
        bool in = false;
        for (size_t k = 0; k < r->values_count; k++)
            in |= r->values[k] == t->exit_code;
        if (in == str_eqc(r->operator, "In")) {
            *ret_code = t->exit_code;
            *ret_container = s[i].name;
            return true;
        }
    }
    return false;
}

static bool conditions_match(const struct batch_v1_pod_failure_policy_rule *r,
                             const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < r->on_pod_conditions_count; i++) {
        const struct core_v1_pod_condition *c =
            pod_condition(pod, str_c(r->on_pod_conditions[i].type));
        struct str want = str_empty(r->on_pod_conditions[i].status)
                              ? STR("True")
                              : r->on_pod_conditions[i].status;
        if (c != NULL && str_eq(c->status, want))
            return true;
    }
    return false;
}

/* Does the failure count? May decide that the whole Job fails. */
static bool failure_counts(struct planner *p, const struct core_v1_pod *pod)
{
    const struct batch_v1_pod_failure_policy *policy = p->in->job->spec.pod_failure_policy;
    for (size_t i = 0; policy != NULL && i < policy->rules_count; i++) {
        const struct batch_v1_pod_failure_policy_rule *r = &policy->rules[i];
        int32_t code = 0;
        struct str container = STR_NULL;
        bool codes =
            r->on_exit_codes != NULL &&
            (exit_codes_match(r->on_exit_codes, pod->status.container_statuses,
                              pod->status.container_statuses_count, &code, &container) ||
             exit_codes_match(r->on_exit_codes, pod->status.init_container_statuses,
                              pod->status.init_container_statuses_count, &code, &container));
        if (!codes && !conditions_match(r, pod))
            continue;
        if (str_eqc(r->action, "Ignore"))
            return false;
        if (str_eqc(r->action, "FailJob")) {
            p->fail_job = true;
            p->fail_message =
                codes ? arena_printf(p->a,
                                     "Container " STR_FMT " for pod " STR_FMT "/" STR_FMT
                                     " failed with exit code %d matching FailJob rule at index %zu",
                                     STR_ARG(container), STR_ARG(pod->metadata.namespace),
                                     STR_ARG(pod->metadata.name), (int)code, i)
                      : arena_printf(p->a,
                                     "Pod " STR_FMT "/" STR_FMT " has condition matching FailJob "
                                     "rule at index %zu",
                                     STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.name),
                                     i);
        }
        return true;
    }
    return true;
}

/* --- counting -------------------------------------------------------------------------------- */

static const struct core_v1_pod *pod_by_uid(const struct planner *p, struct str uid)
{
    for (size_t i = 0; i < p->in->pod_count; i++)
        if (str_eq(p->in->pods[i]->metadata.uid, uid))
            return p->in->pods[i];
    return NULL;
}

static struct batch_v1_uncounted_terminated_pods *uncounted_of(struct planner *p)
{
    if (p->st->uncounted_terminated_pods == NULL)
        p->st->uncounted_terminated_pods =
            ARENA_NEW(p->a, struct batch_v1_uncounted_terminated_pods);
    return p->st->uncounted_terminated_pods;
}

/* Uids whose pod has lost its finalizer (or is gone) move into the counter. */
static void settle(struct planner *p, struct str *uids, size_t *count, int32_t *counter,
                   bool counted)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        const struct core_v1_pod *pod = pod_by_uid(p, uids[i]);
        if (pod != NULL && has_finalizer(pod))
            uids[kept++] = uids[i];
        else if (counted)
            ++*counter;
    }
    *count = kept;
}

static void note_uncounted(struct planner *p, struct str **list, size_t *count, struct str uid)
{
    size_t cap = *count;
    *list = arena_grow(p->a, *list, *count, &cap, sizeof(**list));
    (*list)[(*count)++] = uid;
}

static void release(struct planner *p, const struct core_v1_pod *pod)
{
    p->plan->release[p->plan->release_count++] = pod;
}

static void count_finished(struct planner *p)
{
    struct batch_v1_uncounted_terminated_pods *u = uncounted_of(p);
    bool indexed = job_is_indexed(p->in->job);
    settle(p, u->succeeded, &u->succeeded_count, &p->st->succeeded, !indexed);
    settle(p, u->failed, &u->failed_count, &p->st->failed, true);
    for (size_t i = 0; i < p->in->pod_count; i++) {
        const struct core_v1_pod *pod = p->in->pods[i];
        int32_t index;
        bool good = succeeded(pod), bad = failed(p, pod);
        bool known = contains(u->succeeded, u->succeeded_count, pod->metadata.uid) ||
                     contains(u->failed, u->failed_count, pod->metadata.uid);
        if (!has_finalizer(pod) || !(good || bad))
            continue;
        if (known) {
            release(p, pod); /* The status says so already. */
            continue;
        }
        if (u->succeeded_count + u->failed_count >= UNCOUNTED_MAX)
            continue;
        if (good && indexed) {
            if (index_of(p, pod, &index))
                p->index_done[index] = true;
            note_uncounted(p, &u->succeeded, &u->succeeded_count, pod->metadata.uid);
        } else if (good) {
            note_uncounted(p, &u->succeeded, &u->succeeded_count, pod->metadata.uid);
        } else if (!failure_counts(p, pod)) {
            release(p, pod); /* Ignored: no trace of it. */
        } else {
            note_uncounted(p, &u->failed, &u->failed_count, pod->metadata.uid);
            p->new_failures++;
        }
    }
}

static void load_indexes(struct planner *p)
{
    size_t count;
    p->index_done = ARENA_ARRAY(p->a, bool, (size_t)MAX_OF(p->completions, 0) + 1);
    p->index_active = ARENA_ARRAY(p->a, bool, (size_t)MAX_OF(p->completions, 0) + 1);
    if (!job_is_indexed(p->in->job))
        return;
    const int32_t *done = job_indexes_parse(p->a, p->st->completed_indexes, p->completions, &count);
    for (size_t i = 0; i < count; i++)
        p->index_done[done[i]] = true;
}

static void store_indexes(struct planner *p)
{
    if (!job_is_indexed(p->in->job))
        return;
    int32_t *list = ARENA_ARRAY(p->a, int32_t, (size_t)MAX_OF(p->completions, 0) + 1);
    size_t count = 0;
    for (int32_t i = 0; i < p->completions; i++)
        if (p->index_done[i])
            list[count++] = i;
    p->st->completed_indexes = job_indexes_format(p->a, list, count);
    p->st->succeeded = (int32_t)count;
}

static bool is_active(const struct planner *p, const struct core_v1_pod *pod)
{
    (void)p;
    return pod_is_active(pod);
}

static void count_active(struct planner *p)
{
    p->st->active = p->st->ready = p->st->terminating = 0;
    p->st->has_ready = p->st->has_terminating = true;
    for (size_t i = 0; i < p->in->pod_count; i++) {
        const struct core_v1_pod *pod = p->in->pods[i];
        int32_t index;
        if (is_active(p, pod)) {
            p->st->active++;
            p->st->ready += pod_is_ready(pod);
            if (index_of(p, pod, &index))
                p->index_active[index] = true;
        } else if (pod->metadata.deletion_timestamp != NULL && !pod_is_terminal(pod)) {
            p->st->terminating++;
        }
        if (failed(p, pod))
            p->last_failure_s = MAX_OF(p->last_failure_s, finish_time_s(p, pod));
    }
}

/* --- conditions --------------------------------------------------------------------------------
 */

static void set_condition(struct planner *p, const char *type, bool on, const char *reason,
                          struct str message)
{
    struct batch_v1_job_status *s = p->st;
    struct batch_v1_job_condition *c = NULL;
    for (size_t i = 0; i < s->conditions_count; i++)
        if (str_eqc(s->conditions[i].type, type))
            c = &s->conditions[i];
    struct str status = on ? STR("True") : STR("False");
    if (c != NULL && str_eq(c->status, status) && str_eqc(c->reason, reason))
        return;
    if (c == NULL) {
        size_t cap = s->conditions_count;
        s->conditions = arena_grow(p->a, s->conditions, s->conditions_count, &cap, sizeof(*c));
        c = &s->conditions[s->conditions_count++];
    }
    *c = (struct batch_v1_job_condition){
        .type = str_of(type),
        .status = status,
        .reason = str_of(reason),
        .message = message,
        .last_probe_time = {.seconds = p->in->now_s},
        .last_transition_time = {.seconds = p->in->now_s},
    };
}

static void set_event(struct planner *p, const char *type, const char *reason, const char *message)
{
    p->plan->event_type = type;
    p->plan->event_reason = reason;
    p->plan->event_message = message;
}

static int32_t all_failed(const struct planner *p)
{
    return p->st->failed + (int32_t)p->st->uncounted_terminated_pods->failed_count;
}

static int32_t all_succeeded(const struct planner *p)
{
    return job_is_indexed(p->in->job)
               ? p->st->succeeded
               : p->st->succeeded + (int32_t)p->st->uncounted_terminated_pods->succeeded_count;
}

/* restartPolicy OnFailure: restarts within pods count against the limit too. */
static int64_t restarts(const struct planner *p)
{
    int64_t n = 0;
    if (!str_eqc(p->in->job->spec.template.spec.restart_policy, "OnFailure"))
        return 0;
    for (size_t i = 0; i < p->in->pod_count; i++) {
        const struct core_v1_pod *pod = p->in->pods[i];
        if (!str_eqc(pod->status.phase, "Running") && !str_eqc(pod->status.phase, "Pending"))
            continue;
        for (size_t k = 0; k < pod->status.container_statuses_count; k++)
            n += pod->status.container_statuses[k].restart_count;
        for (size_t k = 0; k < pod->status.init_container_statuses_count; k++)
            n += pod->status.init_container_statuses[k].restart_count;
    }
    return n;
}

static bool is_past_deadline(struct planner *p)
{
    const struct batch_v1_job_spec *spec = &p->in->job->spec;
    if (!spec->has_active_deadline_seconds || p->st->start_time == NULL || spec->suspend)
        return false;
    int64_t left = p->st->start_time->seconds + spec->active_deadline_seconds - p->in->now_s;
    if (left > 0)
        p->plan->again_after_s = (uint64_t)left;
    return left <= 0;
}

static bool is_complete(const struct planner *p)
{
    if (p->completions >= 0)
        return all_succeeded(p) >= p->completions;
    /* A work queue is done when one worker succeeded and the others ended. */
    return all_succeeded(p) > 0 && p->st->active == 0 && p->st->terminating == 0;
}

/* Why the Job has failed; NULL: it has not. */
static const char *failure_reason(struct planner *p, struct str *ret_message)
{
    const struct batch_v1_job_spec *spec = &p->in->job->spec;
    int32_t limit = spec->has_backoff_limit ? spec->backoff_limit : 6;
    if (p->fail_job) {
        *ret_message = p->fail_message;
        return "PodFailurePolicy";
    }
    if (is_past_deadline(p)) {
        *ret_message = STR("Job was active longer than specified deadline");
        return "DeadlineExceeded";
    }
    if (all_failed(p) > limit || (restarts(p) > limit)) {
        *ret_message = STR("Job has reached the specified backoff limit");
        return "BackoffLimitExceeded";
    }
    return NULL;
}

static bool is_settled(const struct planner *p)
{
    const struct batch_v1_uncounted_terminated_pods *u = p->st->uncounted_terminated_pods;
    return u->succeeded_count == 0 && u->failed_count == 0 && p->plan->release_count == 0 &&
           p->st->active == 0 && p->st->terminating == 0;
}

/* Target reached or missed: said first, and finally once all pods have ended. */
static void conclude(struct planner *p)
{
    struct batch_v1_job_condition *target = find_condition(p->st, "FailureTarget");
    if (target != NULL && is_settled(p)) {
        set_condition(p, "Failed", true, str_c(target->reason), target->message);
        set_event(p, "Warning", str_c(target->reason), str_c(target->message));
        return;
    }
    target = find_condition(p->st, "SuccessCriteriaMet");
    if (target != NULL && is_settled(p)) {
        set_condition(p, "Complete", true, str_c(target->reason), target->message);
        p->st->completion_time = ARENA_NEW(p->a, struct meta_v1_time);
        p->st->completion_time->seconds = p->in->now_s;
        set_event(p, "Normal", "Completed", "Job completed");
    }
}

static bool judge(struct planner *p)
{
    struct str message;
    bool decided = find_condition(p->st, "FailureTarget") != NULL ||
                   find_condition(p->st, "SuccessCriteriaMet") != NULL;
    if (!decided) {
        const char *reason = failure_reason(p, &message);
        if (reason != NULL)
            set_condition(p, "FailureTarget", true, reason, message);
        else if (is_complete(p))
            set_condition(p, "SuccessCriteriaMet", true, "CompletionsReached",
                          STR("Reached expected number of succeeded pods"));
        decided = reason != NULL || is_complete(p);
    }
    if (decided)
        conclude(p);
    return decided;
}

/* --- pods to make and to remove ------------------------------------------------------------------
 */

static void remove_active(struct planner *p, size_t count)
{
    /* Not ready ones first. */
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < p->in->pod_count && p->plan->remove_count < count; i++)
            if (is_active(p, p->in->pods[i]) && pod_is_ready(p->in->pods[i]) == (pass == 1))
                p->plan->remove[p->plan->remove_count++] = p->in->pods[i];
}

int64_t job_backoff_s(int32_t failures)
{
    int64_t s = BACKOFF_BASE_S;
    if (failures <= 0)
        return 0;
    for (int32_t i = 1; i < failures && s < BACKOFF_MAX_S; i++)
        s *= 2;
    return MIN_OF(s, (int64_t)BACKOFF_MAX_S);
}

static int32_t wanted_active(const struct planner *p)
{
    if (p->completions < 0) /* Work queue: no new workers once one has succeeded. */
        return all_succeeded(p) > 0 ? p->st->active : p->parallelism;
    return MIN_OF(p->parallelism, MAX_OF(p->completions - all_succeeded(p), 0));
}

static void choose_indexes(struct planner *p)
{
    p->plan->indexes = ARENA_ARRAY(p->a, int32_t, (size_t)p->plan->create + 1);
    int32_t n = 0;
    for (int32_t i = 0; i < p->completions && n < p->plan->create; i++)
        if (!p->index_done[i] && !p->index_active[i])
            p->plan->indexes[n++] = i;
    p->plan->create = n;
}

static void manage_pods(struct planner *p)
{
    if (!p->in->settled)
        return;
    int32_t active = p->st->active, want = p->in->job->spec.suspend ? 0 : wanted_active(p);
    if (active > want) {
        remove_active(p, (size_t)(active - want));
        return;
    }
    bool when_failed = p->in->job->spec.pod_failure_policy != NULL ||
                       (p->in->job->spec.has_pod_replacement_policy &&
                        str_eqc(p->in->job->spec.pod_replacement_policy, "Failed"));
    int32_t missing = want - active - (when_failed ? p->st->terminating : 0);
    if (missing <= 0)
        return;
    int64_t due = p->last_failure_s + job_backoff_s(all_failed(p));
    if (p->last_failure_s != 0 && due > p->in->now_s) {
        uint64_t wait = (uint64_t)(due - p->in->now_s);
        p->plan->again_after_s =
            p->plan->again_after_s != 0 ? MIN_OF(p->plan->again_after_s, wait) : wait;
        return;
    }
    p->plan->create = MIN_OF(missing, CREATE_MAX);
    if (job_is_indexed(p->in->job))
        choose_indexes(p);
}

static void suspend_or_resume(struct planner *p)
{
    bool suspend = p->in->job->spec.suspend, was = find_condition(p->st, "Suspended") != NULL;
    if (suspend && !was) {
        set_condition(p, "Suspended", true, "JobSuspended", STR("Job suspended"));
        set_event(p, "Normal", "Suspended", "Job suspended");
    } else if (!suspend && was) {
        set_condition(p, "Suspended", false, "JobResumed", STR("Job resumed"));
        set_event(p, "Normal", "Resumed", "Job resumed");
        p->st->start_time = NULL;
    }
    if (suspend)
        p->st->start_time = NULL;
    if (!suspend && p->st->start_time == NULL) {
        p->st->start_time = ARENA_NEW(p->a, struct meta_v1_time);
        p->st->start_time->seconds = p->in->now_s;
    }
}

void job_plan(struct arena *a, const struct job_input *in, struct job_plan *ret)
{
    const struct batch_v1_job_spec *spec = &in->job->spec;
    *ret = (struct job_plan){0};
    ret->status = api_msg_clone(a, &batch_v1_job_status_msg, &in->job->status);
    ret->remove = ARENA_ARRAY(a, const struct core_v1_pod *, in->pod_count + 1);
    ret->release = ARENA_ARRAY(a, const struct core_v1_pod *, in->pod_count + 1);
    struct planner p = {
        .a = a,
        .in = in,
        .plan = ret,
        .st = ret->status,
        .completions = spec->has_completions ? spec->completions : -1,
        .parallelism = spec->has_parallelism ? spec->parallelism : 1,
    };
    load_indexes(&p);
    if (job_is_finished(p.st)) { /* Only what is left over. */
        for (size_t i = 0; i < in->pod_count; i++)
            if (has_finalizer(in->pods[i]) && !pod_is_active(in->pods[i]))
                release(&p, in->pods[i]);
        return;
    }
    count_finished(&p);
    store_indexes(&p);
    count_active(&p);
    if (in->job->metadata.deletion_timestamp != NULL)
        return;
    suspend_or_resume(&p);
    if (judge(&p)) {
        if (in->settled)
            remove_active(&p, in->pod_count);
    } else {
        manage_pods(&p);
    }
}
