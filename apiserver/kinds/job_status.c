/* job_status.c - what a Job's status may say, and how it may change. What did
 * not change is not judged again, as upstream has it. Pure. */
#include "apiserver/kinds/job_status.h"

#include "apiserver/kinds/job_indexes.h"
#include "apiserver/kinds/rules.h"
#include "api/batch_v1.h"
#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

enum { COMPLETE, FAILED, FAILURE_TARGET, SUCCESS_MET, CONDITION_KINDS };

static const char *const conditions[] = {"Complete", "Failed", "FailureTarget",
                                         "SuccessCriteriaMet"};

struct judged {
    struct field_errors *errs;
    const struct field_path *path, *conditions;
    const struct batch_v1_job *job;
    const struct batch_v1_job_status *s, *old;
    bool is[CONDITION_KINDS], was[CONDITION_KINDS];
    bool finished, turned; /* turned: finished differs. */
};

static bool is_true(const struct batch_v1_job_status *s, const char *type)
{
    for (size_t i = 0; i < s->conditions_count; i++)
        if (str_eqc(s->conditions[i].type, type) && str_eqc(s->conditions[i].status, "True"))
            return true;
    return false;
}

static bool time_eq(const struct meta_v1_time *x, const struct meta_v1_time *y)
{
    return x == NULL || y == NULL ? x == y : x->seconds == y->seconds && x->nanos == y->nanos;
}

static void wrong_conditions(struct judged *j, const char *why)
{
    field_invalid_raw(j->errs, j->conditions, STR_NULL, "%s", why);
}

static void wrong_completion(struct judged *j, const char *why)
{
    AUTO_BUF b = BUF_INIT;
    api_json_encode(&meta_v1_time_msg, j->s->completion_time, STR_NULL, STR_NULL, &b);
    field_invalid_raw(j->errs, PATH(j->path, "completionTime"), buf_str(&b), "%s", why);
}

static void check_uids(struct judged *j)
{
    const struct batch_v1_uncounted_terminated_pods *u = j->s->uncounted_terminated_pods;
    const struct field_path *path = PATH(j->path, "uncountedTerminatedPods");
    if (u == NULL)
        return;
    for (size_t i = 0; i < u->succeeded_count + u->failed_count; i++) {
        bool ok = i < u->succeeded_count, seen = false;
        size_t n = ok ? i : i - u->succeeded_count;
        struct str uid = ok ? u->succeeded[n] : u->failed[n];
        const struct field_path *at = PATH_INDEX(PATH(path, ok ? "succeeded" : "failed"), n);
        for (size_t k = 0; k < i && !seen; k++)
            seen = str_eq(uid, k < u->succeeded_count ? u->succeeded[k]
                                                      : u->failed[k - u->succeeded_count]);
        if (uid.len == 0)
            field_invalid(j->errs, at, uid, "must not be empty");
        else if (seen)
            field_duplicate(j->errs, at, uid);
    }
}

static bool changed(const struct judged *j, int condition)
{
    return j->is[condition] != j->was[condition];
}

static void check_times(struct judged *j)
{
    const struct batch_v1_job_status *s = j->s, *old = j->old;
    bool completion = !time_eq(s->completion_time, old->completion_time);
    bool both = s->start_time != NULL && s->completion_time != NULL;
    if (changed(j, COMPLETE) || completion) {
        if (s->completion_time != NULL && !j->is[COMPLETE])
            wrong_completion(j,
                             "cannot set completionTime when there is no Complete=True condition");
        if (s->completion_time == NULL && j->is[COMPLETE])
            field_required(j->errs, PATH(j->path, "completionTime"),
                           "completionTime is required for Complete jobs");
    }
    if ((completion || !time_eq(s->start_time, old->start_time)) && both &&
        s->completion_time->seconds < s->start_time->seconds)
        wrong_completion(j, "completionTime cannot be set before startTime");
}

static void check_finished(struct judged *j)
{
    const struct batch_v1_job_status *s = j->s, *old = j->old;
    const struct batch_v1_uncounted_terminated_pods *u = s->uncounted_terminated_pods,
                                                    *ou = old->uncounted_terminated_pods;
    const struct batch_v1_job_spec *spec = &j->job->spec;
    /* Upstream asks it of suspended ones with completions, too, whose end may come late. */
    bool may_lack_start = spec->suspend;
    if (!j->finished)
        return;
    if ((j->turned || s->active != old->active) && s->active > 0)
        field_invalid_int(j->errs, PATH(j->path, "active"), s->active,
                          "active>0 is invalid for finished job");
    if ((j->turned || !time_eq(s->start_time, old->start_time)) && s->start_time == NULL &&
        !may_lack_start)
        field_required(j->errs, PATH(j->path, "startTime"),
                       "startTime is required for finished job");
    bool same = u == ou || (u != NULL && ou != NULL &&
                            api_msg_equal(&batch_v1_uncounted_terminated_pods_msg, u, ou));
    if ((j->turned || !same) && u != NULL && u->succeeded_count + u->failed_count != 0)
        field_invalid_msg(j->errs, PATH(j->path, "uncountedTerminatedPods"),
                          &batch_v1_uncounted_terminated_pods_msg, u,
                          "uncountedTerminatedPods needs to be empty for finished job");
}

static void check_indexes(struct judged *j)
{
    const struct batch_v1_job_status *s = j->s, *old = j->old;
    const struct batch_v1_job_spec *spec = &j->job->spec;
    const struct field_path *done = PATH(j->path, "completedIndexes"),
                            *failed = PATH(j->path, "failedIndexes");
    bool done_new = !str_eq(s->completed_indexes, old->completed_indexes);
    bool failed_new = s->has_failed_indexes != old->has_failed_indexes ||
                      !str_eq(s->failed_indexes, old->failed_indexes);
    bool per_index = spec->has_backoff_limit_per_index;
    int32_t total;
    struct str why = STR_NULL;
    if (done_new && spec->has_completions)
        why = job_indexes_fault(j->errs->arena, s->completed_indexes, spec->completions, &total);
    if (why.len != 0)
        field_invalid(j->errs, done, s->completed_indexes,
                      "error parsing completedIndexes: " STR_FMT, STR_ARG(why));
    why = STR_NULL;
    if (failed_new && spec->has_completions && per_index && s->has_failed_indexes)
        why = job_indexes_fault(j->errs->arena, s->failed_indexes, spec->completions, &total);
    if (why.len != 0)
        field_invalid(j->errs, failed, s->failed_indexes, "error parsing failedIndexes: " STR_FMT,
                      STR_ARG(why));
    if (done_new && s->completed_indexes.len != 0 && !str_eqc(spec->completion_mode, "Indexed"))
        field_invalid(j->errs, done, s->completed_indexes,
                      "cannot set non-empty completedIndexes when non-indexed completion mode");
    if (failed_new && !per_index && s->has_failed_indexes)
        field_invalid(j->errs, failed, s->failed_indexes,
                      "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
}

static void check_conditions(struct judged *j)
{
    if (j->is[SUCCESS_MET] && j->is[FAILED])
        wrong_conditions(j, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
    if (j->is[SUCCESS_MET] && j->is[FAILURE_TARGET])
        wrong_conditions(j, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
    if (j->job->spec.success_policy != NULL && !j->is[SUCCESS_MET] && j->is[COMPLETE])
        wrong_conditions(j, "cannot set Complete=True for Job with SuccessPolicy unless "
                            "SuccessCriteriaMet=True");
}

static void check_change(struct judged *j)
{
    const struct batch_v1_job_status *s = j->s, *old = j->old;
    const struct batch_v1_job_spec *spec = &j->job->spec;
    static const int terminal[] = {FAILED, COMPLETE, FAILURE_TARGET};
    for (size_t i = 0; i < ARRAY_SIZE(terminal); i++)
        if (j->was[terminal[i]] && !j->is[terminal[i]])
            field_invalid_raw(j->errs, j->conditions, STR_NULL,
                              "cannot disable the terminal %s=True condition",
                              conditions[terminal[i]]);
    if (s->failed < old->failed)
        field_invalid_int(j->errs, PATH(j->path, "failed"), s->failed,
                          "cannot decrease the failed counter");
    bool elastic = spec->has_completions == spec->has_parallelism &&
                   (!spec->has_completions || spec->completions == spec->parallelism);
    if (s->succeeded < old->succeeded && !elastic)
        field_invalid_int(j->errs, PATH(j->path, "succeeded"), s->succeeded,
                          "cannot decrease the succeeded counter");
    if (s->completion_time != NULL && old->completion_time != NULL &&
        !time_eq(s->completion_time, old->completion_time))
        wrong_completion(j, "completionTime cannot be mutated");
    if (old->start_time != NULL && !time_eq(s->start_time, old->start_time) && !spec->suspend)
        field_required(j->errs, PATH(j->path, "startTime"),
                       "startTime cannot be removed for unsuspended job");
    if (j->was[SUCCESS_MET] && !j->is[SUCCESS_MET])
        wrong_conditions(j, "cannot disable the SuccessCriteriaMet=True condition");
    if (j->was[COMPLETE] && !j->was[SUCCESS_MET] && j->is[SUCCESS_MET])
        wrong_conditions(
            j, "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
}

void job_status_check(const struct batch_v1_job *job, const struct batch_v1_job *old,
                      struct field_errors *errs)
{
    const struct batch_v1_job_status *s = &job->status;
    const struct field_path *path = PATH(PATH_ROOT, "status");
    struct judged j = {.errs = errs,
                       .path = path,
                       .conditions = PATH(path, "conditions"),
                       .job = job,
                       .s = s,
                       .old = &old->status};
    for (int i = 0; i < CONDITION_KINDS; i++) {
        j.is[i] = is_true(j.s, conditions[i]);
        j.was[i] = is_true(j.old, conditions[i]);
    }
    j.finished = j.is[COMPLETE] || j.is[FAILED];
    j.turned = j.finished != (j.was[COMPLETE] || j.was[FAILED]);
    validate_non_negative(errs, PATH(path, "active"), s->active);
    validate_non_negative(errs, PATH(path, "succeeded"), s->succeeded);
    validate_non_negative(errs, PATH(path, "failed"), s->failed);
    if (s->has_ready)
        validate_non_negative(errs, PATH(path, "ready"), s->ready);
    if (s->has_terminating)
        validate_non_negative(errs, PATH(path, "terminating"), s->terminating);
    check_uids(&j);
    if ((changed(&j, COMPLETE) || changed(&j, FAILED)) && j.is[COMPLETE] && j.is[FAILED])
        wrong_conditions(&j, "cannot set Complete=True and Failed=true conditions");
    if ((changed(&j, COMPLETE) || changed(&j, FAILURE_TARGET)) && j.is[COMPLETE] &&
        j.is[FAILURE_TARGET])
        wrong_conditions(&j, "cannot set Complete=True and FailureTarget=true conditions");
    check_times(&j);
    if ((changed(&j, FAILED) || changed(&j, FAILURE_TARGET)) && j.is[FAILED] &&
        !j.is[FAILURE_TARGET])
        wrong_conditions(
            &j, "cannot set Failed=True condition without the FailureTarget=true condition");
    if ((changed(&j, COMPLETE) || changed(&j, SUCCESS_MET)) && j.is[COMPLETE] && !j.is[SUCCESS_MET])
        wrong_conditions(
            &j, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
    check_finished(&j);
    check_indexes(&j);
    if (j.finished && s->has_terminating && s->terminating > 0 &&
        (j.turned || !old->status.has_terminating || s->terminating != old->status.terminating))
        field_invalid_int(errs, PATH(path, "terminating"), s->terminating,
                          "terminating>0 is invalid for finished job");
    if (s->has_ready && s->ready > s->active &&
        (!old->status.has_ready || s->ready != old->status.ready ||
         s->active != old->status.active))
        field_invalid_int(errs, PATH(path, "ready"), s->ready,
                          "cannot set more ready pods than active");
    check_conditions(&j);
    check_change(&j);
}
