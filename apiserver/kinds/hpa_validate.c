/* hpa_validate.c - the rules of an autoscaler: metrics, targets, behaviour. Pure. */
#include "apiserver/kinds/hpa.h"

#include "apiserver/kinds/rules.h"
#include "api/autoscaling_v2.h"
#include "api/meta_v1.h"
#include "api/resource.h"
#include "lib/api/quantity.h"

#define WINDOW_MAX_S 3600
#define PERIOD_MAX_S 1800

static void check_reference(struct field_errors *errs, const struct field_path *path,
                            const struct autoscaling_v2_cross_version_object_reference *r)
{
    if (str_empty(r->kind))
        field_required(errs, PATH(path, "kind"), NULL);
    else
        name_path_segment(errs, PATH(path, "kind"), r->kind, false);
    if (str_empty(r->name))
        field_required(errs, PATH(path, "name"), NULL);
    else
        name_path_segment(errs, PATH(path, "name"), r->name, false);
}

/* --- metrics ---------------------------------------------------------------------------------- */

static bool has_positive(struct field_errors *errs, const struct field_path *path,
                         const struct resource_quantity *q)
{
    if (q == NULL)
        return false;
    struct quantity v = quantity_of(q);
    if (quantity_sign(&v) != 1)
        field_invalid(errs, path, quantity_shown(q), "must be positive");
    return true;
}

static void check_target(struct field_errors *errs, const struct field_path *path,
                         const struct autoscaling_v2_metric_target *t)
{
    static const char *const types[] = {"AverageValue", "Utilization", "Value", NULL};
    if (str_empty(t->type))
        field_required(errs, PATH(path, "type"), "must specify a metric target type");
    else
        validate_listed(errs, PATH(path, "type"), t->type, types);
    has_positive(errs, PATH(path, "value"), t->value);
    has_positive(errs, PATH(path, "averageValue"), t->average_value);
    if (t->has_average_utilization && t->average_utilization < 1)
        field_invalid_int(errs, PATH(path, "averageUtilization"), t->average_utilization,
                          "must be greater than 0");
}

static void check_identifier(struct field_errors *errs, const struct field_path *path,
                             const struct autoscaling_v2_metric_identifier *m)
{
    if (str_empty(m->name))
        field_required(errs, PATH(path, "name"), "must specify a metric name");
    else
        name_path_segment(errs, PATH(path, "name"), m->name, false);
    validate_label_selector(errs, PATH(path, "selector"), m->selector);
}

/* Of a value per object: exactly one of the two. */
static void check_values(struct field_errors *errs, const struct field_path *target,
                         const struct autoscaling_v2_metric_target *t)
{
    if (t->value == NULL && t->average_value == NULL)
        field_required(errs, PATH(target, "averageValue"),
                       "must set either a target value for metric or a per-pod target");
    if (t->value != NULL && t->average_value != NULL)
        field_forbidden(errs, PATH(target, "value"),
                        "may not set both a target value for metric and a per-pod target");
}

static void check_resource(struct field_errors *errs, const struct field_path *path,
                           struct str name, const struct autoscaling_v2_metric_target *t)
{
    const struct field_path *target = PATH(path, "target");
    if (str_empty(name))
        field_required(errs, PATH(path, "name"), "must specify a resource name");
    check_target(errs, target, t);
    if (!t->has_average_utilization && t->average_value == NULL)
        field_required(errs, PATH(target, "averageUtilization"),
                       "must set either a target raw value or a target utilization");
    if (t->has_average_utilization && t->average_value != NULL)
        field_forbidden(errs, PATH(target, "averageValue"),
                        "may not set both a target raw value and a target utilization");
    if (t->value != NULL)
        field_forbidden(errs, PATH(target, "value"),
                        "value may not be set for resource metrics, use averageValue instead");
}

static void check_source(struct field_errors *errs, const struct field_path *at,
                         const struct autoscaling_v2_metric_spec *m)
{
    if (m->object != NULL) {
        const struct field_path *p = PATH(at, "object");
        check_reference(errs, PATH(p, "describedObject"), &m->object->described_object);
        check_identifier(errs, PATH(p, "metric"), &m->object->metric);
        check_target(errs, PATH(p, "target"), &m->object->target);
        check_values(errs, PATH(p, "target"), &m->object->target);
    }
    if (m->external != NULL) {
        const struct field_path *p = PATH(at, "external");
        check_identifier(errs, PATH(p, "metric"), &m->external->metric);
        check_target(errs, PATH(p, "target"), &m->external->target);
        check_values(errs, PATH(p, "target"), &m->external->target);
    }
    if (m->pods != NULL) {
        const struct field_path *p = PATH(at, "pods");
        check_identifier(errs, PATH(p, "metric"), &m->pods->metric);
        check_target(errs, PATH(p, "target"), &m->pods->target);
        if (m->pods->target.average_value == NULL)
            field_required(errs, PATH(PATH(p, "target"), "averageValue"),
                           "must specify a positive target averageValue");
    }
    if (m->resource != NULL)
        check_resource(errs, PATH(at, "resource"), m->resource->name, &m->resource->target);
    if (m->container_resource != NULL) {
        const struct field_path *p = PATH(at, "containerResource");
        if (str_empty(m->container_resource->container))
            field_required(errs, PATH(p, "container"), "must specify a container");
        check_resource(errs, p, m->container_resource->name, &m->container_resource->target);
    }
}

static void check_metric(struct field_errors *errs, const struct field_path *at,
                         const struct autoscaling_v2_metric_spec *m)
{
    static const char *const types[] = {"ContainerResource", "External", "Object", "Pods",
                                        "Resource",          NULL};
    const struct {
        const char *type, *field;
        bool given;
    } sources[] = {{"Object", "object", m->object != NULL},
                   {"External", "external", m->external != NULL},
                   {"Pods", "pods", m->pods != NULL},
                   {"Resource", "resource", m->resource != NULL},
                   {"ContainerResource", "containerResource", m->container_resource != NULL}};
    const char *expected = NULL;
    if (str_empty(m->type))
        field_required(errs, PATH(at, "type"), "must specify a metric source type");
    else
        validate_listed(errs, PATH(at, "type"), m->type, types);
    check_source(errs, at, m);
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
        if (str_eqc(m->type, sources[i].type)) {
            expected = sources[i].field;
            if (!sources[i].given)
                field_required(errs, PATH(at, expected),
                               "must populate information for the given metric source");
        }
    if (expected == NULL) {
        validate_listed(errs, PATH(at, "type"), m->type, types);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
        if (sources[i].given && !str_eqc(m->type, sources[i].type))
            field_forbidden(errs, PATH(at, sources[i].field),
                            "must populate the given metric source only");
}

static void check_metrics(struct field_errors *errs, const struct field_path *path,
                          const struct autoscaling_v2_horizontal_pod_autoscaler_spec *s)
{
    bool from_outside = false;
    for (size_t i = 0; i < s->metrics_count; i++) {
        check_metric(errs, PATH_INDEX(path, i), &s->metrics[i]);
        from_outside = from_outside || str_eqc(s->metrics[i].type, "Object") ||
                       str_eqc(s->metrics[i].type, "External");
    }
    if (s->has_min_replicas && s->min_replicas == 0 && !from_outside)
        field_forbidden(errs, path,
                        "must specify at least one Object or External metric to support scaling to "
                        "zero replicas");
}

/* --- behaviour -------------------------------------------------------------------------------- */

static void check_policy(struct field_errors *errs, const struct field_path *at,
                         const struct autoscaling_v2_hpa_scaling_policy *p)
{
    static const char *const types[] = {"Percent", "Pods", NULL};
    validate_listed(errs, PATH(at, "type"), p->type, types);
    if (p->value <= 0)
        field_invalid_int(errs, PATH(at, "value"), p->value, "must be greater than zero");
    if (p->period_seconds <= 0)
        field_invalid_int(errs, PATH(at, "periodSeconds"), p->period_seconds,
                          "must be greater than zero");
    if (p->period_seconds > PERIOD_MAX_S)
        field_invalid_int(errs, PATH(at, "periodSeconds"), p->period_seconds,
                          "must be less than or equal to %d", PERIOD_MAX_S);
}

static void check_rules(struct field_errors *errs, const struct field_path *path,
                        const struct autoscaling_v2_hpa_scaling_rules *r)
{
    static const char *const selects[] = {"Disabled", "Max", "Min", NULL};
    const struct field_path *policies = PATH(path, "policies"),
                            *window = PATH(path, "stabilizationWindowSeconds");
    if (r == NULL)
        return;
    if (r->has_stabilization_window_seconds) {
        validate_non_negative(errs, window, r->stabilization_window_seconds);
        if (r->stabilization_window_seconds > WINDOW_MAX_S)
            field_invalid_int(errs, window, r->stabilization_window_seconds,
                              "must be less than or equal to %d", WINDOW_MAX_S);
    }
    if (r->has_select_policy)
        validate_listed(errs, PATH(path, "selectPolicy"), r->select_policy, selects);
    if (r->policies_count == 0)
        field_required(errs, policies, "must specify at least one Policy");
    for (size_t i = 0; i < r->policies_count; i++)
        check_policy(errs, PATH_INDEX(policies, i), &r->policies[i]);
    if (r->tolerance != NULL)
        validate_non_negative_quantity(errs, PATH(path, "tolerance"), r->tolerance);
}

void hpa_validate(struct field_errors *errs,
                  const struct autoscaling_v2_horizontal_pod_autoscaler_spec *s)
{
    const struct field_path *spec = PATH(PATH_ROOT, "spec"), *target = PATH(spec, "scaleTargetRef");
    struct str group, version;
    if (s->has_min_replicas && s->min_replicas < 1)
        field_invalid_int(errs, PATH(spec, "minReplicas"), s->min_replicas,
                          "must be greater than or equal to 1");
    if (s->max_replicas < 1)
        field_required(errs, PATH(spec, "maxReplicas"), "must be set and greater than 0");
    if (s->has_min_replicas && s->max_replicas < s->min_replicas)
        field_invalid_int(errs, PATH(spec, "maxReplicas"), s->max_replicas,
                          "must be greater than or equal to `minReplicas`");
    check_reference(errs, target, &s->scale_target_ref);
    bool grouped = str_cut(s->scale_target_ref.api_version, '/', &group, &version);
    bool core = str_eqc(s->scale_target_ref.kind, "ReplicationController") ||
                str_eqc(s->scale_target_ref.api_version, "v1");
    if (!grouped && !core)
        field_invalid(errs, PATH(target, "apiVersion"), s->scale_target_ref.api_version,
                      "apiVersion must specify API group");
    check_metrics(errs, PATH(spec, "metrics"), s);
    if (s->behavior == NULL)
        return;
    check_rules(errs, PATH(PATH(spec, "behavior"), "scaleUp"), s->behavior->scale_up);
    check_rules(errs, PATH(PATH(spec, "behavior"), "scaleDown"), s->behavior->scale_down);
}
