/* replicationcontrollers.c - ReplicationController: the oldest way to keep a
 * number of pods. Its selector is a plain map. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/pod_spec.h"
#include "apiserver/kinds/pod_warnings.h"
#include "apiserver/kinds/workload.h"
#include "apiserver/validate.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/base/arena.h"

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct core_v1_replication_controller *c = obj;
    default_opt_int(&c->spec.has_replicas, &c->spec.replicas, 1);
    if (c->spec.template == NULL)
        return;
    pod_template_defaults(ctx->arena, c->spec.template);
    const struct meta_v1_object_meta *t = &c->spec.template->metadata;
    if (c->spec.selector_count == 0) {
        c->spec.selector = t->labels;
        c->spec.selector_count = t->labels_count;
    }
    if (c->metadata.labels_count == 0) {
        c->metadata.labels = t->labels;
        c->metadata.labels_count = t->labels_count;
    }
}

static struct meta_v1_label_selector
as_selector(const struct core_v1_replication_controller_spec *s)
{
    return (struct meta_v1_label_selector){.match_labels = s->selector,
                                           .match_labels_count = s->selector_count};
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    const struct core_v1_replication_controller_spec *s =
        &((const struct core_v1_replication_controller *)obj)->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec"), *template = PATH(spec, "template");
    validate_non_negative(errs, PATH(spec, "minReadySeconds"), s->min_ready_seconds);
    if (s->selector_count == 0)
        field_required(errs, PATH(spec, "selector"), NULL);
    validate_non_negative(errs, PATH(spec, "replicas"), s->replicas);
    if (s->template == NULL) {
        field_required(errs, template, NULL);
        return;
    }
    struct meta_v1_label_selector selector = as_selector(s);
    validate_template_labels(errs, template, &selector, s->template);
    validate_pod_template(ctx, errs, template, s->template);
    validate_always_restarted(errs, template, s->template, "ReplicationController");
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    const struct core_v1_replication_controller *c = obj;
    const struct workload_warning w = {
        .meta = &c->metadata,
        .old = old != NULL ? &((const struct core_v1_replication_controller *)old)->metadata : NULL,
        .path = PATH(PATH(PATH_ROOT, "spec"), "template"),
        .template = c->spec.template,
        .name_matters = true};
    warn_workload(ctx, &w);
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    UNUSED(old);
    const struct core_v1_replication_controller_status *s =
        &((const struct core_v1_replication_controller *)obj)->status;
    const struct replica_counts counts = {s->replicas, s->fully_labeled_replicas, s->ready_replicas,
                                          s->available_replicas, s->observed_generation};
    validate_replica_counts(errs, &counts);
}

static const struct kind_sub subs[] = {{"status", NULL, validate_status}, {0}};

static struct str get_replicas(struct arena *a, const void *obj)
{
    return arena_printf(a, "%d",
                        ((const struct core_v1_replication_controller *)obj)->status.replicas);
}

static const struct kind_field fields[] = {{"status.replicas", get_replicas}, {0}};

static bool scale_get(struct arena *a, const void *obj, struct kind_scale *ret)
{
    const struct core_v1_replication_controller *c = obj;
    struct meta_v1_label_selector selector = as_selector(&c->spec);
    *ret = (struct kind_scale){c->spec.replicas, c->status.replicas, selector_text(a, &selector)};
    return true;
}

static void scale_set(struct arena *a, void *obj, int32_t replicas)
{
    UNUSED(a);
    struct core_v1_replication_controller *c = obj;
    c->spec.has_replicas = true;
    c->spec.replicas = replicas;
}

static void row(struct table_row *r, const void *obj)
{
    const struct core_v1_replication_controller *c = obj;
    const struct core_v1_pod_template_spec *t = c->spec.template;
    cell_str(r, c->metadata.name);
    cell_int(r, c->spec.replicas);
    cell_int(r, c->status.replicas);
    cell_int(r, c->status.ready_replicas);
    cell_age(r, &c->metadata.creation_timestamp);
    cell_containers(r, t != NULL ? t->spec.containers : NULL,
                    t != NULL ? t->spec.containers_count : 0);
    cell_images(r, t != NULL ? t->spec.containers : NULL, t != NULL ? t->spec.containers_count : 0);
    cell_labels(r, c->spec.selector, c->spec.selector_count);
}

const struct kind_ops kind_replicationcontrollers = {
    .group = "",
    .version = "v1",
    .resource = "replicationcontrollers",
    .flags = KIND_STATUS | KIND_GENERATION | KIND_ORPHAN_DEPENDENTS,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .warn = warn,
    .subs = subs,
    .fields = fields,
    .scale_get = scale_get,
    .scale_set = scale_set,
    .columns = replica_columns,
    .row = row,
};
