/* replicasets.c - ReplicaSet: defaults, rules and columns. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/pod_spec.h"
#include "apiserver/kinds/pod_warnings.h"
#include "apiserver/kinds/workload.h"
#include "apiserver/validate.h"
#include "api/apps_v1.h"
#include "lib/base/arena.h"

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct apps_v1_replica_set_spec *s = &((struct apps_v1_replica_set *)obj)->spec;
    pod_template_defaults(ctx->arena, &s->template);
    default_opt_int(&s->has_replicas, &s->replicas, 1);
}

static void validate_spec(const struct kind_ctx *ctx, const struct apps_v1_replica_set_spec *s,
                          struct field_errors *errs)
{
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    validate_non_negative(errs, PATH(spec, "replicas"), s->replicas);
    validate_non_negative(errs, PATH(spec, "minReadySeconds"), s->min_ready_seconds);
    /* Upstream calls it so. */
    validate_workload_selector(ctx, errs, spec, s->selector, "deployment");
    validate_workload_template(ctx, errs, spec, s->selector, &s->template, "ReplicaSet");
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    validate_spec(ctx, &((const struct apps_v1_replica_set *)obj)->spec, errs);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct apps_v1_replica_set *s = obj, *o = old;
    validate_spec(ctx, &s->spec, errs);
    validate_immutable_selector(errs, s->spec.selector, o->spec.selector);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    const struct apps_v1_replica_set *s = obj;
    const struct workload_warning w = {
        .meta = &s->metadata,
        .old = old != NULL ? &((const struct apps_v1_replica_set *)old)->metadata : NULL,
        .path = PATH(PATH(PATH_ROOT, "spec"), "template"),
        .template = &s->spec.template,
        .name_matters = true};
    warn_workload(ctx, &w);
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    UNUSED(old);
    const struct apps_v1_replica_set_status *s = &((const struct apps_v1_replica_set *)obj)->status;
    const struct replica_counts counts = {s->replicas, s->fully_labeled_replicas, s->ready_replicas,
                                          s->available_replicas, s->observed_generation};
    validate_replica_counts(errs, &counts);
}

static const struct kind_sub subs[] = {{"status", NULL, validate_status}, {0}};

static struct str get_replicas(struct arena *a, const void *obj)
{
    return arena_printf(a, "%d", ((const struct apps_v1_replica_set *)obj)->status.replicas);
}

static const struct kind_field fields[] = {{"status.replicas", get_replicas}, {0}};

static bool scale_get(struct arena *a, const void *obj, struct kind_scale *ret)
{
    const struct apps_v1_replica_set *s = obj;
    *ret = (struct kind_scale){s->spec.replicas, s->status.replicas,
                               selector_text(a, s->spec.selector)};
    return true;
}

static void scale_set(struct arena *a, void *obj, int32_t replicas)
{
    UNUSED(a);
    struct apps_v1_replica_set *s = obj;
    s->spec.has_replicas = true;
    s->spec.replicas = replicas;
}

static void row(struct table_row *r, const void *obj)
{
    const struct apps_v1_replica_set *s = obj;
    cell_str(r, s->metadata.name);
    cell_int(r, s->spec.replicas);
    cell_int(r, s->status.replicas);
    cell_int(r, s->status.ready_replicas);
    cell_age(r, &s->metadata.creation_timestamp);
    cell_containers(r, s->spec.template.spec.containers, s->spec.template.spec.containers_count);
    cell_images(r, s->spec.template.spec.containers, s->spec.template.spec.containers_count);
    cell_selector(r, s->spec.selector);
}

const struct kind_ops kind_replicasets = {
    .group = "apps",
    .version = "v1",
    .resource = "replicasets",
    .flags = KIND_STATUS | KIND_GENERATION,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .subs = subs,
    .fields = fields,
    .scale_get = scale_get,
    .scale_set = scale_set,
    .columns = replica_columns,
    .row = row,
};
