/* horizontalpodautoscalers.c - HorizontalPodAutoscaler: as many pods as metrics
 * ask for. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/hpa.h"
#include "apiserver/kinds/rules.h"
#include "api/autoscaling_v2.h"
#include "api/meta_v1.h"
#include "api/resource.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define METRICS_SHOWN_MAX 2u

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    hpa_defaults(ctx->arena, &((struct autoscaling_v2_horizontal_pod_autoscaler *)obj)->spec);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    hpa_validate(errs, &((const struct autoscaling_v2_horizontal_pod_autoscaler *)obj)->spec);
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    UNUSED(old);
    const struct autoscaling_v2_horizontal_pod_autoscaler_status *s =
        &((const struct autoscaling_v2_horizontal_pod_autoscaler *)obj)->status;
    const struct field_path *path = PATH(PATH_ROOT, "status");
    validate_non_negative(errs, PATH(path, "currentReplicas"), s->current_replicas);
    validate_non_negative(errs, PATH(path, "desiredReplicas"), s->desired_replicas);
}

static const struct kind_sub subs[] = {{"status", NULL, validate_status}, {0}};

/* --- table
 * ---------------------------------------------------------------------------------------- */

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Reference", "string", "", "What is scaled.", 0},
    {"Targets", "string", "", "Metrics as they are and as they should be.", 0},
    {"MinPods", "string", "", "", 0},
    {"MaxPods", "string", "", "", 0},
    {"Replicas", "string", "", "", 0},
    {"Age", "string", "", "", 0},
    {0},
};

/* Present values of the i-th metric, NULL when unknown. */
static const struct autoscaling_v2_metric_value_status *
present(const struct autoscaling_v2_horizontal_pod_autoscaler *h, size_t i)
{
    if (i >= h->status.current_metrics_count)
        return NULL;
    const struct autoscaling_v2_metric_status *m = &h->status.current_metrics[i];
    return m->resource != NULL             ? &m->resource->current
           : m->container_resource != NULL ? &m->container_resource->current
           : m->pods != NULL               ? &m->pods->current
           : m->object != NULL             ? &m->object->current
           : m->external != NULL           ? &m->external->current
                                           : NULL;
}

static const struct autoscaling_v2_metric_target *wanted(const struct autoscaling_v2_metric_spec *m,
                                                         struct str *ret_name)
{
    *ret_name = STR_NULL;
    if (m->resource != NULL) {
        *ret_name = m->resource->name;
        return &m->resource->target;
    }
    if (m->container_resource != NULL) {
        *ret_name = m->container_resource->name;
        return &m->container_resource->target;
    }
    return m->pods != NULL       ? &m->pods->target
           : m->object != NULL   ? &m->object->target
           : m->external != NULL ? &m->external->target
                                 : NULL;
}

static void put_metric(const struct autoscaling_v2_horizontal_pod_autoscaler *h, size_t i,
                       struct buf *out)
{
    struct str name;
    const struct autoscaling_v2_metric_target *t = wanted(&h->spec.metrics[i], &name);
    const struct autoscaling_v2_metric_value_status *now = present(h, i);
    if (t == NULL) {
        buf_puts(out, "<unknown type>");
        return;
    }
    if (!str_empty(name))
        buf_printf(out, STR_FMT ": ", STR_ARG(name));
    if (t->has_average_utilization) {
        if (now != NULL && now->has_average_utilization)
            buf_printf(out, "%d%%", now->average_utilization);
        else
            buf_puts(out, "<unknown>");
        buf_printf(out, "/%d%%", t->average_utilization);
        return;
    }
    const struct resource_quantity *want = t->average_value != NULL ? t->average_value : t->value;
    const struct resource_quantity *is = now == NULL                ? NULL
                                         : t->average_value != NULL ? now->average_value
                                                                    : now->value;
    buf_append_str(out, is != NULL ? quantity_shown(is) : STR("<unknown>"));
    buf_printf(out, "/" STR_FMT "%s", STR_ARG(want != NULL ? quantity_shown(want) : STR("<auto>")),
               t->average_value != NULL && str_empty(name) ? " (avg)" : "");
}

struct str hpa_targets(struct arena *a, const struct autoscaling_v2_horizontal_pod_autoscaler *h)
{
    AUTO_BUF b = BUF_INIT;
    if (h->spec.metrics_count == 0)
        return STR("<none>");
    for (size_t i = 0; i < MIN_OF(h->spec.metrics_count, (size_t)METRICS_SHOWN_MAX); i++) {
        buf_puts(&b, i == 0 ? "" : ", ");
        put_metric(h, i, &b);
    }
    if (h->spec.metrics_count > METRICS_SHOWN_MAX)
        buf_printf(&b, " + %zu more...", h->spec.metrics_count - METRICS_SHOWN_MAX);
    return arena_str(a, buf_str(&b));
}

static void row(struct table_row *r, const void *obj)
{
    const struct autoscaling_v2_horizontal_pod_autoscaler *h = obj;
    cell_str(r, h->metadata.name);
    cell_printf(r, STR_FMT "/" STR_FMT, STR_ARG(h->spec.scale_target_ref.kind),
                STR_ARG(h->spec.scale_target_ref.name));
    cell_str(r, hpa_targets(row_arena(r), h));
    if (h->spec.has_min_replicas)
        cell_printf(r, "%d", h->spec.min_replicas);
    else
        cell_strc(r, "<unset>");
    cell_int(r, h->spec.max_replicas);
    cell_int(r, h->status.current_replicas);
    cell_age(r, &h->metadata.creation_timestamp);
}

const struct kind_ops kind_horizontalpodautoscalers = {
    .group = "autoscaling",
    .version = "v2",
    .resource = "horizontalpodautoscalers",
    .flags = KIND_STATUS,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .subs = subs,
    .columns = columns,
    .row = row,
};
