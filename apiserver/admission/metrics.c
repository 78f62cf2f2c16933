/* metrics.c - see metrics.h. What every write touches is looked up once. */
#include "apiserver/admission/metrics.h"

#include "apiserver/admission/policy_match.h"
#include "lib/base/metrics.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

enum { OPS = ADMIT_CONNECT + 1, CODE_MAX = 600 };

static const double seconds[] = {0.005, 0.025, 0.1, 0.5, 1.0, 2.5},
                    webhook_seconds[] = {0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10, 25},
                    policy_seconds[] = {0.0000005, 0.001, 0.01, 0.1, 1.0};
static struct metric_family *steps, *controllers, *webhooks, *requests, *rejections, *fail_open,
    *condition_errors, *exclusions, *checks[2], *durations[2], *ps_evaluations, *ps_exemptions,
    *ps_errors;
/* [the whole phase last][validate, admit][operation][rejected] */
static _Atomic(struct metric *) times[ADMISSION_PLUGINS_MAX + 1][2][OPS][2];

static void init_webhooks(struct metrics *m)
{
    webhooks = metric_histogram(
        m, "apiserver_admission_webhook_admission_duration_seconds",
        "Time that webhooks took, by name, type, operation and whether they refused.",
        METRIC_LABELS("name", "type", "operation", "rejected"), webhook_seconds,
        ARRAY_SIZE(webhook_seconds));
    requests =
        metric_counter(m, "apiserver_admission_webhook_request_total",
                       "Questions to webhooks by name, type, operation, HTTP code and outcome.",
                       METRIC_LABELS("name", "type", "operation", "code", "rejected"));
    rejections = metric_counter(
        m, "apiserver_admission_webhook_rejection_count",
        "Refusals because of webhooks by name, type, operation, kind of error and code.",
        METRIC_LABELS("name", "type", "operation", "error_type", "rejection_code"));
    fail_open = metric_counter(m, "apiserver_admission_webhook_fail_open_count",
                               "Failed webhooks that were passed over, by name and type.",
                               METRIC_LABELS("name", "type"));
}

static void init_policies(struct metrics *m)
{
    static const char *const names[2][2] = {
        {"apiserver_validating_admission_policy_check_total",
         "apiserver_validating_admission_policy_check_duration_seconds"},
        {"apiserver_mutating_admission_policy_check_total",
         "apiserver_mutating_admission_policy_check_duration_seconds"}};
    static const char *const labels[] = {"policy", "policy_binding", "error_type",
                                         "enforcement_action", NULL};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        checks[i] = metric_counter(
            m, names[i][0], "Checks of policies by policy, binding, error and action.", labels);
        durations[i] = metric_histogram(m, names[i][1],
                                        "Time of policies by policy, binding, error and action.",
                                        labels, policy_seconds, ARRAY_SIZE(policy_seconds));
    }
    condition_errors =
        metric_counter(m, "apiserver_admission_match_condition_evaluation_errors_total",
                       "Match conditions that could not be evaluated.",
                       METRIC_LABELS("name", "kind", "type", "operation"));
    exclusions = metric_counter(m, "apiserver_admission_match_condition_exclusions_total",
                                "Requests that match conditions excluded.",
                                METRIC_LABELS("name", "kind", "type", "operation"));
}

static void init_pod_security(struct metrics *m)
{
    ps_evaluations =
        metric_counter(m, "pod_security_evaluations_total",
                       "Evaluations of Pod Security that were neither exempt nor ignored.",
                       METRIC_LABELS("decision", "policy_level", "policy_version", "mode",
                                     "request_operation", "resource", "subresource"));
    ps_exemptions = metric_counter(m, "pod_security_exemptions_total",
                                   "Requests that are exempt from Pod Security.",
                                   METRIC_LABELS("request_operation", "resource", "subresource"));
    ps_errors = metric_counter(
        m, "pod_security_errors_total", "Errors that kept Pod Security from its normal evaluation.",
        METRIC_LABELS("fatal", "request_operation", "resource", "subresource"));
}

void admission_metrics_init(void)
{
    struct metrics *m = metrics_default();
    steps = metric_histogram(m, "apiserver_admission_step_admission_duration_seconds",
                             "Time of the phases of admission.",
                             METRIC_LABELS("type", "operation", "rejected"), seconds,
                             ARRAY_SIZE(seconds));
    controllers = metric_histogram(m, "apiserver_admission_controller_admission_duration_seconds",
                                   "Time of admission plugins.",
                                   METRIC_LABELS("name", "type", "operation", "rejected"), seconds,
                                   ARRAY_SIZE(seconds));
    init_webhooks(m);
    init_policies(m);
    init_pod_security(m);
}

static struct str flag(bool b)
{
    return b ? STR("true") : STR("false");
}

static struct str operation(enum admit_op op)
{
    return str_of(policy_operation(op));
}

void admission_metrics_time(size_t plugin, bool mutating, enum admit_op op, bool rejected,
                            uint64_t ns)
{
    bool whole = plugin == SIZE_MAX;
    struct str type = mutating ? STR("admit") : STR("validate");
    if (steps == NULL || (!whole && admission_plugins[plugin]->name == NULL))
        return;
    _Atomic(struct metric *) *slot =
        &times[whole ? ADMISSION_PLUGINS_MAX : plugin][mutating][op][rejected];
    struct metric *m = atomic_load_explicit(slot, memory_order_acquire);
    if (m == NULL) {
        m = whole ? METRIC_OF(steps, type, operation(op), flag(rejected))
                  : METRIC_OF(controllers, str_of(admission_plugins[plugin]->name), type,
                              operation(op), flag(rejected));
        atomic_store_explicit(slot, m, memory_order_release);
    }
    metric_observe(m, (double)ns / 1e9);
}

void admission_metrics_webhook(const struct webhook_metric *w)
{
    char code[16];
    struct str type = str_of(w->type), op = operation(w->op);
    if (webhooks == NULL)
        return;
    snprintf(code, sizeof(code), "%" PRId32, MIN_OF(w->code, CODE_MAX));
    metric_observe(METRIC_OF(webhooks, w->name, type, op, flag(w->rejected)), (double)w->ns / 1e9);
    metric_inc(METRIC_OF(requests, w->name, type, op, str_of(code), flag(w->rejected)));
    if (w->rejected)
        metric_inc(METRIC_OF(rejections, w->name, type, op, str_of(w->error_type),
                             strcmp(w->error_type, "no_error") == 0 ? str_of(code) : STR("0")));
}

void admission_metrics_fail_open(struct str name, const char *type)
{
    if (fail_open != NULL)
        metric_inc(METRIC_OF(fail_open, name, str_of(type)));
}

void admission_metrics_policy(bool mutating, struct str policy, struct str binding,
                              const char *error, const char *action, uint64_t ns)
{
    if (checks[mutating] == NULL)
        return;
    metric_inc(METRIC_OF(checks[mutating], policy, binding, str_of(error), str_of(action)));
    metric_observe(METRIC_OF(durations[mutating], policy, binding, str_of(error), str_of(action)),
                   (double)ns / 1e9);
}

void admission_metrics_condition(struct str name, const char *kind, const char *type,
                                 enum admit_op op, bool error)
{
    struct metric_family *f = error ? condition_errors : exclusions;
    if (f != NULL)
        metric_inc(METRIC_OF(f, name, str_of(kind), str_of(type), operation(op)));
}

/* --- Pod Security -------------------------------------------------------------------------- */
static struct str lower_operation(enum admit_op op)
{
    return op == ADMIT_CREATE ? STR("create") : STR("update");
}

void admission_metrics_pod_security(const char *decision, const char *level, struct str version,
                                    const char *mode, enum admit_op op, const char *resource,
                                    const char *subresource)
{
    if (ps_evaluations != NULL)
        metric_inc(METRIC_OF(ps_evaluations, str_of(decision), str_of(level), version, str_of(mode),
                             lower_operation(op), str_of(resource), str_of(subresource)));
}

void admission_metrics_pod_security_exempt(enum admit_op op, const char *resource,
                                           const char *subresource)
{
    if (ps_exemptions != NULL)
        metric_inc(
            METRIC_OF(ps_exemptions, lower_operation(op), str_of(resource), str_of(subresource)));
}

void admission_metrics_pod_security_error(bool fatal, enum admit_op op, const char *resource,
                                          const char *subresource)
{
    if (ps_errors != NULL)
        metric_inc(METRIC_OF(ps_errors, flag(fatal), lower_operation(op), str_of(resource),
                             str_of(subresource)));
}
