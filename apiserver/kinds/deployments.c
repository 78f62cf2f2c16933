/* deployments.c - Deployment: defaults, rules and columns. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/pod_spec.h"
#include "apiserver/kinds/pod_warnings.h"
#include "apiserver/kinds/workload.h"
#include "apiserver/validate.h"
#include "api/apps_v1.h"
#include "api/intstr.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct apps_v1_deployment_spec *s = &((struct apps_v1_deployment *)obj)->spec;
    pod_template_defaults(ctx->arena, &s->template);
    default_opt_int(&s->has_replicas, &s->replicas, 1);
    default_str(&s->strategy.type, STR("RollingUpdate"));
    if (str_eqc(s->strategy.type, "RollingUpdate")) {
        if (s->strategy.rolling_update == NULL)
            s->strategy.rolling_update =
                ARENA_NEW(ctx->arena, struct apps_v1_rolling_update_deployment);
        struct apps_v1_rolling_update_deployment *r = s->strategy.rolling_update;
        if (r->max_unavailable == NULL)
            r->max_unavailable = int_or_string_percent(ctx->arena, "25%");
        if (r->max_surge == NULL)
            r->max_surge = int_or_string_percent(ctx->arena, "25%");
    }
    default_opt_int(&s->has_revision_history_limit, &s->revision_history_limit, 10);
    default_opt_int(&s->has_progress_deadline_seconds, &s->progress_deadline_seconds, 600);
}

static void validate_strategy(const struct kind_ctx *ctx, struct field_errors *errs,
                              const struct field_path *path,
                              const struct apps_v1_deployment_strategy *s)
{
    static const char *const types[] = {"Recreate", "RollingUpdate", NULL};
    const struct field_path *rolling = PATH(path, "rollingUpdate");
    if (str_eqc(s->type, "Recreate")) {
        if (s->rolling_update != NULL)
            field_forbidden(errs, rolling,
                            "may not be specified when strategy `type` is 'Recreate'");
    } else if (str_eqc(s->type, "RollingUpdate")) {
        if (s->rolling_update == NULL) {
            field_required(errs, rolling, "this should be defaulted and never be nil");
            return;
        }
        const struct intstr_int_or_string *down = s->rolling_update->max_unavailable,
                                          *up = s->rolling_update->max_surge;
        validate_int_or_percent(errs, PATH(rolling, "maxUnavailable"), down);
        validate_int_or_percent(errs, PATH(rolling, "maxSurge"), up);
        if (int_or_percent_is_zero(down) && int_or_percent_is_zero(up))
            field_invalid_int(errs, PATH(rolling, "maxUnavailable"), 0,
                              "may not be 0 when `maxSurge` is 0");
        validate_percent_max(errs, PATH(rolling, "maxUnavailable"), down);
    } else {
        field_not_supported_raw(
            errs, path, field_value_render(ctx->arena, &apps_v1_deployment_strategy_msg, s), types);
    }
}

static void validate_spec(const struct kind_ctx *ctx, const struct apps_v1_deployment_spec *s,
                          struct field_errors *errs)
{
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    validate_non_negative(errs, PATH(spec, "replicas"), s->replicas);
    validate_workload_selector(ctx, errs, spec, s->selector, "deployment");
    validate_workload_template(ctx, errs, spec, s->selector, &s->template, "ReplicaSet");
    validate_strategy(ctx, errs, PATH(spec, "strategy"), &s->strategy);
    validate_non_negative(errs, PATH(spec, "minReadySeconds"), s->min_ready_seconds);
    if (s->has_revision_history_limit)
        validate_non_negative(errs, PATH(spec, "revisionHistoryLimit"), s->revision_history_limit);
    if (s->has_progress_deadline_seconds) {
        validate_non_negative(errs, PATH(spec, "progressDeadlineSeconds"),
                              s->progress_deadline_seconds);
        if (s->progress_deadline_seconds <= s->min_ready_seconds)
            field_invalid_int(errs, PATH(spec, "progressDeadlineSeconds"),
                              s->progress_deadline_seconds, "must be greater than minReadySeconds");
    }
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    validate_spec(ctx, &((const struct apps_v1_deployment *)obj)->spec, errs);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct apps_v1_deployment *d = obj, *o = old;
    validate_spec(ctx, &d->spec, errs);
    validate_immutable_selector(errs, d->spec.selector, o->spec.selector);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    const struct apps_v1_deployment *d = obj;
    const struct workload_warning w = {
        .meta = &d->metadata,
        .old = old != NULL ? &((const struct apps_v1_deployment *)old)->metadata : NULL,
        .path = PATH(PATH(PATH_ROOT, "spec"), "template"),
        .template = &d->spec.template,
        .name_matters = true};
    warn_workload(ctx, &w);
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    const struct apps_v1_deployment_status *s = &((const struct apps_v1_deployment *)obj)->status;
    const struct apps_v1_deployment_status *o = &((const struct apps_v1_deployment *)old)->status;
    const struct field_path *path = PATH(PATH_ROOT, "status");
    validate_non_negative(errs, PATH(path, "observedGeneration"), s->observed_generation);
    validate_non_negative(errs, PATH(path, "replicas"), s->replicas);
    validate_non_negative(errs, PATH(path, "updatedReplicas"), s->updated_replicas);
    validate_non_negative(errs, PATH(path, "readyReplicas"), s->ready_replicas);
    validate_non_negative(errs, PATH(path, "availableReplicas"), s->available_replicas);
    validate_non_negative(errs, PATH(path, "unavailableReplicas"), s->unavailable_replicas);
    if (s->has_terminating_replicas)
        validate_non_negative(errs, PATH(path, "terminatingReplicas"), s->terminating_replicas);
    if (s->has_collision_count)
        validate_non_negative(errs, PATH(path, "collisionCount"), s->collision_count);
    validate_at_most(errs, "updatedReplicas", s->updated_replicas, s->replicas, "status.replicas");
    validate_at_most(errs, "readyReplicas", s->ready_replicas, s->replicas, "status.replicas");
    validate_at_most(errs, "availableReplicas", s->available_replicas, s->replicas,
                     "status.replicas");
    validate_at_most(errs, "availableReplicas", s->available_replicas, s->ready_replicas,
                     "readyReplicas");
    validate_collisions_grow(errs, s->has_collision_count, s->collision_count,
                             o->has_collision_count, o->collision_count);
}

/* Who reports how it goes has no say about labels. */
static void prepare_status(const struct kind_ctx *ctx, void *obj, const void *old)
{
    struct apps_v1_deployment *d = obj;
    const struct apps_v1_deployment *o = old;
    UNUSED(ctx);
    d->spec = o->spec;
    d->metadata.labels = o->metadata.labels;
    d->metadata.labels_count = o->metadata.labels_count;
}

static const struct kind_sub subs[] = {{"status", prepare_status, validate_status}, {0}};

static bool scale_get(struct arena *a, const void *obj, struct kind_scale *ret)
{
    const struct apps_v1_deployment *d = obj;
    *ret = (struct kind_scale){d->spec.replicas, d->status.replicas,
                               selector_text(a, d->spec.selector)};
    return true;
}

static void scale_set(struct arena *a, void *obj, int32_t replicas)
{
    UNUSED(a);
    struct apps_v1_deployment *d = obj;
    d->spec.has_replicas = true;
    d->spec.replicas = replicas;
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Ready", "string", "", "Pods that are ready, of those wanted.", 0},
    {"Up-to-date", "string", "", "Pods of the newest template.", 0},
    {"Available", "string", "", "Pods that are available.", 0},
    {"Age", "string", "", "", 0},
    {"Containers", "string", "", "", 1},
    {"Images", "string", "", "", 1},
    {"Selector", "string", "", "", 1},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct apps_v1_deployment *d = obj;
    cell_str(r, d->metadata.name);
    cell_printf(r, "%d/%d", d->status.ready_replicas, d->spec.replicas);
    cell_int(r, d->status.updated_replicas);
    cell_int(r, d->status.available_replicas);
    cell_age(r, &d->metadata.creation_timestamp);
    cell_containers(r, d->spec.template.spec.containers, d->spec.template.spec.containers_count);
    cell_images(r, d->spec.template.spec.containers, d->spec.template.spec.containers_count);
    cell_selector(r, d->spec.selector);
}

const struct kind_ops kind_deployments = {
    .group = "apps",
    .version = "v1",
    .resource = "deployments",
    .flags = KIND_STATUS | KIND_GENERATION,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .subs = subs,
    .scale_get = scale_get,
    .scale_set = scale_set,
    .columns = columns,
    .row = row,
};
