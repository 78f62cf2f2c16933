/* job_spec.c - see job_spec.h. Pure. */
#include "apiserver/kinds/job_indexes.h"
#include "apiserver/kinds/job_spec.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/pod_spec.h"
#include "apiserver/kinds/pod_warnings.h"
#include "apiserver/kinds/rules.h"
#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define FAILED_INDEXES_MAX 100000
#define SUCCEEDED_INDEXES_BYTES_MAX (64 * 1024)
#define INDEXED_PARALLELISM_MAX 100000
#define FAILURE_RULES_MAX 20u
#define TRACKED_COMPLETIONS_MAX 100000
#define TRACKED_PARALLELISM_MAX 10000
#define EXIT_CODES_MAX 255u
#define CONDITIONS_MAX 20u

static void non_negative(struct field_errors *errs, const struct field_path *path, const char *name,
                         bool has, int64_t value)
{
    if (has)
        validate_non_negative(errs, PATH(path, name), value);
}

/* --- failure and success ------------------------------------------------------------------- */

static bool has_container(const struct core_v1_pod_spec *p, struct str name)
{
    for (size_t i = 0; i < p->containers_count; i++)
        if (str_eq(p->containers[i].name, name))
            return true;
    for (size_t i = 0; i < p->init_containers_count; i++)
        if (str_eq(p->init_containers[i].name, name))
            return true;
    return false;
}

static struct str numbers_shown(struct arena *a, const int32_t *list, size_t count)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < count; i++)
        buf_printf(&b, "%c%d", i == 0 ? '[' : ',', list[i]);
    return arena_printf(a, STR_FMT "]", STR_ARG(buf_str(&b)));
}

void default_failure_policy(struct batch_v1_job_spec *s)
{
    struct batch_v1_pod_failure_policy *p = s->pod_failure_policy;
    for (size_t i = 0; p != NULL && i < p->rules_count; i++)
        for (size_t c = 0; c < p->rules[i].on_pod_conditions_count; c++)
            default_str(&p->rules[i].on_pod_conditions[c].status, STR("True"));
}

static void check_exit_codes(struct field_errors *errs, const struct field_path *path,
                             const struct core_v1_pod_spec *p,
                             const struct batch_v1_pod_failure_policy_on_exit_codes_requirement *e)
{
    static const char *const operators[] = {"In", "NotIn", NULL};
    const struct field_path *values = PATH(path, "values");
    if (str_empty(e->operator))
        field_required(errs, PATH(path, "operator"), "valid values: [\"In\" \"NotIn\"]");
    else
        validate_listed(errs, PATH(path, "operator"), e->operator, operators);
    if (e->has_container_name && !has_container(p, e->container_name))
        field_invalid(errs, PATH(path, "containerName"), e->container_name,
                      "must be one of the container or initContainer names in the pod template");
    if (e->values_count == 0)
        field_invalid_raw(errs, values, STR("null"), "at least one value is required");
    else if (e->values_count > EXIT_CODES_MAX)
        field_too_many(errs, values, (int64_t)e->values_count, EXIT_CODES_MAX);
    bool ordered = true;
    for (size_t i = 0; i < e->values_count; i++) {
        if (str_eqc(e->operator, "In") && e->values[i] == 0)
            field_invalid_int(errs, PATH_INDEX(values, i), 0, "must not be 0 for the In operator");
        for (size_t j = 0; j < i; j++)
            if (e->values[j] == e->values[i]) {
                field_duplicate_int(errs, PATH_INDEX(values, i), e->values[i]);
                break;
            }
        ordered = ordered && (i == 0 || e->values[i - 1] <= e->values[i]);
    }
    if (!ordered)
        field_invalid_raw(errs, values, numbers_shown(errs->arena, e->values, e->values_count),
                          "must be ordered");
}

static void check_failure_policy(struct field_errors *errs, const struct field_path *path,
                                 const struct batch_v1_job_spec *s)
{
    static const char *const actions[] = {"Count", "FailIndex", "FailJob", "Ignore", NULL};
    static const char *const statuses[] = {"False", "True", "Unknown", NULL};
    const struct batch_v1_pod_failure_policy *p = s->pod_failure_policy;
    const struct field_path *rules = PATH(path, "rules");
    if (p->rules_count > FAILURE_RULES_MAX)
        field_too_many(errs, rules, (int64_t)p->rules_count, FAILURE_RULES_MAX);
    for (size_t i = 0; i < p->rules_count; i++) {
        const struct batch_v1_pod_failure_policy_rule *r = &p->rules[i];
        const struct field_path *at = PATH_INDEX(rules, i),
                                *conditions = PATH(at, "onPodConditions");
        if (str_empty(r->action))
            field_required(errs, PATH(at, "action"),
                           "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
        else if (str_eqc(r->action, "FailIndex") && !s->has_backoff_limit_per_index)
            field_invalid(errs, PATH(at, "action"), r->action,
                          "requires the backoffLimitPerIndex to be set");
        else
            validate_listed(errs, PATH(at, "action"), r->action, actions);
        if (r->on_exit_codes != NULL)
            check_exit_codes(errs, PATH(at, "onExitCodes"), &s->template.spec, r->on_exit_codes);
        if (r->on_pod_conditions_count > CONDITIONS_MAX)
            field_too_many(errs, conditions, (int64_t)r->on_pod_conditions_count, CONDITIONS_MAX);
        for (size_t c = 0; c < r->on_pod_conditions_count; c++) {
            const struct batch_v1_pod_failure_policy_on_pod_conditions_pattern *o =
                &r->on_pod_conditions[c];
            validate_qualified_name(errs, PATH(PATH_INDEX(conditions, c), "type"), o->type);
            validate_listed(errs, PATH(PATH_INDEX(conditions, c), "status"), o->status, statuses);
        }
        if (r->on_exit_codes != NULL && r->on_pod_conditions_count != 0)
            field_invalid_raw(errs, at, STR_NULL,
                              "specifying both OnExitCodes and OnPodConditions is not supported");
        if (r->on_exit_codes == NULL && r->on_pod_conditions_count == 0)
            field_invalid_raw(errs, at, STR_NULL,
                              "specifying one of OnExitCodes and OnPodConditions is required");
    }
}

static void check_success_policy(struct field_errors *errs, const struct field_path *path,
                                 const struct batch_v1_job_spec *s)
{
    const struct batch_v1_success_policy *p = s->success_policy;
    const struct field_path *rules = PATH(path, "rules");
    if (p->rules_count == 0)
        field_required(errs, rules,
                       "at least one rules must be specified when the successPolicy is specified");
    if (p->rules_count > FAILURE_RULES_MAX)
        field_too_many(errs, rules, (int64_t)p->rules_count, FAILURE_RULES_MAX);
    for (size_t i = 0; i < p->rules_count; i++) {
        const struct batch_v1_success_policy_rule *r = &p->rules[i];
        const struct field_path *at = PATH_INDEX(rules, i);
        if (!r->has_succeeded_count && !r->has_succeeded_indexes)
            field_required(errs, at,
                           "at least one of succeededCount or succeededIndexes must be specified");
        int32_t total = 0;
        if (r->has_succeeded_indexes) {
            if (r->succeeded_indexes.len > SUCCEEDED_INDEXES_BYTES_MAX)
                field_too_long(errs, PATH(at, "succeededIndexes"), SUCCEEDED_INDEXES_BYTES_MAX);
            struct str why =
                job_indexes_fault(errs->arena, r->succeeded_indexes, s->completions, &total);
            if (why.len != 0)
                field_invalid(errs, PATH(at, "succeededIndexes"), r->succeeded_indexes,
                              "error parsing succeededIndexes: " STR_FMT, STR_ARG(why));
        }
        non_negative(errs, at, "succeededCount", r->has_succeeded_count, r->succeeded_count);
        if (r->has_succeeded_count && r->succeeded_count > s->completions)
            field_invalid_int(
                errs, PATH(at, "succeededCount"), r->succeeded_count,
                "must be less than or equal to %d (the number of specified completions)",
                s->completions);
        if (r->has_succeeded_count && r->has_succeeded_indexes && r->succeeded_count > total)
            field_invalid_int(errs, PATH(at, "succeededCount"), r->succeeded_count,
                              "must be less than or equal to %d (the number of indexes in the "
                              "specified succeededIndexes field)",
                              total);
    }
}

/* --- the spec --------------------------------------------------------------------------------- */

/* How many indexes may fail, and how many Pods there may be when there are many. */
static void check_failed_indexes(struct field_errors *errs, const struct field_path *path,
                                 const struct batch_v1_job_spec *s)
{
    const struct field_path *failed = PATH(path, "maxFailedIndexes");
    if (s->has_max_failed_indexes && s->has_completions && s->max_failed_indexes > s->completions)
        field_invalid_int(errs, failed, s->max_failed_indexes,
                          "must be less than or equal to completions");
    if (s->has_max_failed_indexes && s->max_failed_indexes > FAILED_INDEXES_MAX)
        field_invalid_int(errs, failed, s->max_failed_indexes, "must be less than or equal to %d",
                          FAILED_INDEXES_MAX);
    if (!s->has_completions || s->completions <= TRACKED_COMPLETIONS_MAX ||
        !s->has_backoff_limit_per_index)
        return;
    if (!s->has_max_failed_indexes)
        field_required(errs, failed, "must be specified when completions is above %d",
                       TRACKED_COMPLETIONS_MAX);
    if (s->has_parallelism && s->parallelism > TRACKED_PARALLELISM_MAX)
        field_invalid_int(errs, PATH(path, "parallelism"), s->parallelism,
                          "must be less than or equal to %d when completions are above %d and used "
                          "with backoff limit per index",
                          TRACKED_PARALLELISM_MAX, TRACKED_COMPLETIONS_MAX);
    if (s->has_max_failed_indexes && s->max_failed_indexes > TRACKED_PARALLELISM_MAX)
        field_invalid_int(errs, failed, s->max_failed_indexes,
                          "must be less than or equal to %d when completions are above %d and used "
                          "with backoff limit per index",
                          TRACKED_PARALLELISM_MAX, TRACKED_COMPLETIONS_MAX);
}

static void check_completion_mode(struct field_errors *errs, const struct field_path *path,
                                  const struct batch_v1_job_spec *s)
{
    static const char *const modes[] = {"NonIndexed", "Indexed", NULL};
    if (s->has_completion_mode && !is_listed(s->completion_mode, modes))
        field_not_supported(errs, PATH(path, "completionMode"), s->completion_mode, modes);
    if (s->has_completion_mode && str_eqc(s->completion_mode, "Indexed")) {
        if (!s->has_completions)
            field_required(errs, PATH(path, "completions"), "when completion mode is Indexed");
        if (s->has_parallelism && s->parallelism > INDEXED_PARALLELISM_MAX)
            field_invalid_int(errs, PATH(path, "parallelism"), s->parallelism,
                              "must be less than or equal to %d when completion mode is Indexed",
                              INDEXED_PARALLELISM_MAX);
        check_failed_indexes(errs, path, s);
    }
    bool plain = !s->has_completion_mode || str_eqc(s->completion_mode, "NonIndexed");
    if (plain && s->has_backoff_limit_per_index)
        field_invalid_int(errs, PATH(path, "backoffLimitPerIndex"), s->backoff_limit_per_index,
                          "requires indexed completion mode");
    if (plain && s->has_max_failed_indexes)
        field_invalid_int(errs, PATH(path, "maxFailedIndexes"), s->max_failed_indexes,
                          "requires indexed completion mode");
}

static void check_managed_by(struct field_errors *errs, const struct field_path *path, struct str s)
{
    validate_domain_prefixed_path(errs, path, s);
    if (s.len > 63)
        field_too_long(errs, path, 63);
}

static void check_restart_policy(struct field_errors *errs, const struct field_path *path,
                                 const struct batch_v1_job_spec *s)
{
    static const char *const policies[] = {"OnFailure", "Never", NULL};
    struct str policy = s->template.spec.restart_policy;
    if (str_empty(policy) || str_eqc(policy, "Always"))
        field_required(errs, path, "valid values: \"OnFailure\", \"Never\"");
    else if (!is_listed(policy, policies))
        field_not_supported(errs, path, policy, policies);
    else if (s->pod_failure_policy != NULL && !str_eqc(policy, "Never"))
        field_invalid(errs, path, policy,
                      "only \"Never\" is supported when podFailurePolicy is specified");
}

void warn_job_spec(const struct kind_ctx *ctx, const struct field_path *path,
                   const struct batch_v1_job_spec *s)
{
    if (s->has_completion_mode && str_eqc(s->completion_mode, "Indexed") &&
        s->completions > TRACKED_COMPLETIONS_MAX && s->parallelism > TRACKED_PARALLELISM_MAX)
        kind_warn_field(
            ctx, path,
            "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism "
            "higher than 10^4, Kubernetes might not be able to track completedIndexes when a big "
            "number of indexes fail");
    warn_pod(ctx, PATH(path, "template"), &s->template.spec, &s->template.metadata);
}

void validate_job_spec(const struct kind_ctx *ctx, struct field_errors *errs,
                       const struct field_path *path, const struct batch_v1_job_spec *s)
{
    static const char *const replacement[] = {"Failed", "TerminatingOrFailed", NULL};
    static const char *const only_failed[] = {"Failed", NULL};
    non_negative(errs, path, "parallelism", s->has_parallelism, s->parallelism);
    non_negative(errs, path, "completions", s->has_completions, s->completions);
    non_negative(errs, path, "activeDeadlineSeconds", s->has_active_deadline_seconds,
                 s->active_deadline_seconds);
    non_negative(errs, path, "backoffLimit", s->has_backoff_limit, s->backoff_limit);
    non_negative(errs, path, "ttlSecondsAfterFinished", s->has_ttl_seconds_after_finished,
                 s->ttl_seconds_after_finished);
    non_negative(errs, path, "backoffLimitPerIndex", s->has_backoff_limit_per_index,
                 s->backoff_limit_per_index);
    non_negative(errs, path, "maxFailedIndexes", s->has_max_failed_indexes, s->max_failed_indexes);
    if (s->has_max_failed_indexes && !s->has_backoff_limit_per_index)
        field_required(errs, PATH(path, "backoffLimitPerIndex"),
                       "when maxFailedIndexes is specified");
    if (s->has_managed_by)
        check_managed_by(errs, PATH(path, "managedBy"), s->managed_by);
    check_completion_mode(errs, path, s);
    if (s->pod_failure_policy != NULL)
        check_failure_policy(errs, PATH(path, "podFailurePolicy"), s);
    if (s->success_policy != NULL) {
        if (!str_eqc(s->completion_mode, "Indexed"))
            field_invalid_msg(errs, PATH(path, "successPolicy"), &batch_v1_success_policy_msg,
                              s->success_policy, "requires indexed completion mode");
        else
            check_success_policy(errs, PATH(path, "successPolicy"), s);
    }
    if (s->has_pod_replacement_policy)
        validate_listed(errs, PATH(path, "podReplacementPolicy"), s->pod_replacement_policy,
                        s->pod_failure_policy != NULL ? only_failed : replacement);
    validate_pod_template(ctx, errs, PATH(path, "template"), &s->template);
    check_restart_policy(errs, PATH(PATH(PATH(path, "template"), "spec"), "restartPolicy"), s);
}
