/* poddisruptionbudgets.c - PodDisruptionBudget: how many pods may be gone at once. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/workload.h"
#include "api/intstr.h"
#include "api/meta_v1.h"
#include "api/policy_v1.h"
#include "lib/base/arena.h"

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    static const char *const policies[] = {"AlwaysAllow", "IfHealthyBudget", NULL};
    const struct policy_v1_pod_disruption_budget_spec *s =
        &((const struct policy_v1_pod_disruption_budget *)obj)->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    if (s->min_available != NULL && s->max_unavailable != NULL)
        field_invalid_msg(errs, spec, &policy_v1_pod_disruption_budget_spec_msg, s,
                          "minAvailable and maxUnavailable cannot be both set");
    validate_int_or_percent(errs, PATH(spec, "minAvailable"), s->min_available);
    validate_percent_max(errs, PATH(spec, "minAvailable"), s->min_available);
    validate_int_or_percent(errs, PATH(spec, "maxUnavailable"), s->max_unavailable);
    validate_percent_max(errs, PATH(spec, "maxUnavailable"), s->max_unavailable);
    validate_label_selector(errs, PATH(spec, "selector"), s->selector);
    if (s->has_unhealthy_pod_eviction_policy)
        validate_listed(errs, PATH(spec, "unhealthyPodEvictionPolicy"),
                        s->unhealthy_pod_eviction_policy, policies);
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    UNUSED(old);
    const struct policy_v1_pod_disruption_budget_status *s =
        &((const struct policy_v1_pod_disruption_budget *)obj)->status;
    const struct field_path *path = PATH(PATH_ROOT, "status");
    validate_conditions(errs, PATH(path, "conditions"), s->conditions, s->conditions_count);
    validate_non_negative(errs, PATH(path, "disruptionsAllowed"), s->disruptions_allowed);
    validate_non_negative(errs, PATH(path, "currentHealthy"), s->current_healthy);
    validate_non_negative(errs, PATH(path, "desiredHealthy"), s->desired_healthy);
    validate_non_negative(errs, PATH(path, "expectedPods"), s->expected_pods);
}

static const struct kind_sub subs[] = {{"status", NULL, validate_status}, {0}};

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Min Available", "string", "", "Pods that must stay.", 0},
    {"Max Unavailable", "string", "", "Pods that may be gone.", 0},
    {"Allowed Disruptions", "integer", "", "Pods that may go now.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void cell_int_or_string(struct table_row *r, const struct intstr_int_or_string *v)
{
    if (v == NULL)
        cell_strc(r, "N/A");
    else if (v->type == 0)
        cell_printf(r, "%d", v->int_val);
    else
        cell_str(r, v->str_val);
}

static void row(struct table_row *r, const void *obj)
{
    const struct policy_v1_pod_disruption_budget *b = obj;
    cell_str(r, b->metadata.name);
    cell_int_or_string(r, b->spec.min_available);
    cell_int_or_string(r, b->spec.max_unavailable);
    cell_int(r, b->status.disruptions_allowed);
    cell_age(r, &b->metadata.creation_timestamp);
}

const struct kind_ops kind_poddisruptionbudgets = {
    .group = "policy",
    .version = "v1",
    .resource = "poddisruptionbudgets",
    .flags = KIND_STATUS | KIND_GENERATION | KIND_NO_UNCONDITIONAL_UPDATE,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .subs = subs,
    .columns = columns,
    .row = row,
};
