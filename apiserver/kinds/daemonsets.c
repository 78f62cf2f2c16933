/* daemonsets.c - DaemonSet: defaults, rules and columns. A counter of template
 * changes lives on in an annotation, as old clients read it. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/pod_spec.h"
#include "apiserver/kinds/pod_warnings.h"
#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/string_map.h"
#include "apiserver/kinds/workload.h"
#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "api/intstr.h"
#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"

#define TEMPLATE_GENERATION "deprecated.daemonset.template.generation"

static int64_t template_generation(const struct meta_v1_object_meta *m)
{
    int64_t n = 0;
    const struct str *text =
        api_str_map_get(m->annotations, m->annotations_count, STR(TEMPLATE_GENERATION));
    return text != NULL && str_to_i64(*text, &n) ? n : 0;
}

static void set_template_generation(struct arena *a, struct meta_v1_object_meta *m, int64_t n)
{
    string_map_set(a, &m->annotations, &m->annotations_count, STR(TEMPLATE_GENERATION),
                   arena_printf(a, "%lld", (long long)n));
}

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct meta_v1_object_meta *m = &((struct apps_v1_daemon_set *)obj)->metadata;
    struct apps_v1_daemon_set_spec *s = &((struct apps_v1_daemon_set *)obj)->spec;
    struct apps_v1_daemon_set_update_strategy *u = &s->update_strategy;
    /* Always there, so that whoever writes owns it. */
    set_template_generation(ctx->arena, m, template_generation(m));
    pod_template_defaults(ctx->arena, &s->template);
    default_str(&u->type, STR("RollingUpdate"));
    if (str_eqc(u->type, "RollingUpdate")) {
        if (u->rolling_update == NULL)
            u->rolling_update = ARENA_NEW(ctx->arena, struct apps_v1_rolling_update_daemon_set);
        if (u->rolling_update->max_unavailable == NULL) {
            u->rolling_update->max_unavailable = ARENA_NEW(ctx->arena, struct intstr_int_or_string);
            u->rolling_update->max_unavailable->int_val = 1;
        }
        if (u->rolling_update->max_surge == NULL)
            u->rolling_update->max_surge = ARENA_NEW(ctx->arena, struct intstr_int_or_string);
    }
    default_opt_int(&s->has_revision_history_limit, &s->revision_history_limit, 10);
}

static void prepare_create(const struct kind_ctx *ctx, void *obj)
{
    struct apps_v1_daemon_set *d = obj;
    if (template_generation(&d->metadata) < 1)
        set_template_generation(ctx->arena, &d->metadata, 1);
}

static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    struct apps_v1_daemon_set *d = obj;
    const struct apps_v1_daemon_set *o = old;
    int64_t n = template_generation(&o->metadata);
    if (!api_msg_equal(&core_v1_pod_template_spec_msg, &d->spec.template, &o->spec.template))
        n++;
    if (n > 0)
        set_template_generation(ctx->arena, &d->metadata, n);
}

static void validate_rolling(struct field_errors *errs, const struct field_path *path,
                             const struct apps_v1_rolling_update_daemon_set *r)
{
    const struct field_path *down = PATH(path, "maxUnavailable"), *up = PATH(path, "maxSurge");
    bool has_down = !int_or_percent_is_zero(r->max_unavailable),
         has_up = !int_or_percent_is_zero(r->max_surge);
    validate_int_or_percent(errs, down, r->max_unavailable);
    validate_int_or_percent(errs, up, r->max_surge);
    validate_percent_max(errs, down, r->max_unavailable);
    validate_percent_max(errs, up, r->max_surge);
    if (has_down && has_up)
        field_invalid_msg(errs, up, &intstr_int_or_string_msg, r->max_surge,
                          "may not be set when maxUnavailable is non-zero");
    else if (!has_down && !has_up)
        field_required(errs, down, "cannot be 0 when maxSurge is 0");
}

static void validate_strategy(struct field_errors *errs, const struct field_path *path,
                              const struct apps_v1_daemon_set_update_strategy *u)
{
    static const char *const types[] = {"RollingUpdate", "OnDelete", NULL};
    if (str_eqc(u->type, "OnDelete"))
        return;
    if (!str_eqc(u->type, "RollingUpdate"))
        field_not_supported_raw(
            errs, path, field_value_render(errs->arena, &apps_v1_daemon_set_update_strategy_msg, u),
            types);
    else if (u->rolling_update == NULL)
        field_required(errs, PATH(path, "rollingUpdate"), NULL);
    else
        validate_rolling(errs, PATH(path, "rollingUpdate"), u->rolling_update);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    const struct apps_v1_daemon_set_spec *s = &((const struct apps_v1_daemon_set *)obj)->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec"), *template = PATH(spec, "template");
    const struct field_path *selector = PATH(spec, "selector");
    if (s->selector == NULL)
        field_required(errs, selector, NULL);
    validate_label_selector(errs, selector, s->selector);
    validate_template_labels(errs, template, s->selector, &s->template);
    if (s->selector != NULL && s->selector->match_labels_count == 0 &&
        s->selector->match_expressions_count == 0)
        field_invalid_msg(errs, selector, &meta_v1_label_selector_msg, s->selector,
                          "empty selector is invalid for daemonset");
    validate_pod_template(ctx, errs, template, &s->template);
    validate_always_restarted(errs, template, &s->template, "DaemonSet");
    validate_non_negative(errs, PATH(spec, "minReadySeconds"), s->min_ready_seconds);
    validate_strategy(errs, PATH(spec, "updateStrategy"), &s->update_strategy);
    if (s->has_revision_history_limit)
        validate_non_negative(errs, PATH(spec, "revisionHistoryLimit"), s->revision_history_limit);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct apps_v1_daemon_set *d = obj, *o = old;
    validate_immutable_selector(errs, d->spec.selector, o->spec.selector);
    validate_create(ctx, obj, errs);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    const struct apps_v1_daemon_set *d = obj;
    const struct workload_warning w = {
        .meta = &d->metadata,
        .old = old != NULL ? &((const struct apps_v1_daemon_set *)old)->metadata : NULL,
        .path = PATH(PATH(PATH_ROOT, "spec"), "template"),
        .template = &d->spec.template,
        .name_matters = false};
    warn_workload(ctx, &w);
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    const struct apps_v1_daemon_set_status *s = &((const struct apps_v1_daemon_set *)obj)->status;
    const struct apps_v1_daemon_set_status *o = &((const struct apps_v1_daemon_set *)old)->status;
    const struct field_path *path = PATH(PATH_ROOT, "status");
    validate_non_negative(errs, PATH(path, "currentNumberScheduled"), s->current_number_scheduled);
    validate_non_negative(errs, PATH(path, "numberMisscheduled"), s->number_misscheduled);
    validate_non_negative(errs, PATH(path, "desiredNumberScheduled"), s->desired_number_scheduled);
    validate_non_negative(errs, PATH(path, "numberReady"), s->number_ready);
    validate_non_negative(errs, PATH(path, "observedGeneration"), s->observed_generation);
    validate_non_negative(errs, PATH(path, "updatedNumberScheduled"), s->updated_number_scheduled);
    validate_non_negative(errs, PATH(path, "numberAvailable"), s->number_available);
    validate_non_negative(errs, PATH(path, "numberUnavailable"), s->number_unavailable);
    validate_collisions_grow(errs, s->has_collision_count, s->collision_count,
                             o->has_collision_count, o->collision_count);
}

static const struct kind_sub subs[] = {{"status", NULL, validate_status}, {0}};

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Desired", "integer", "", "Nodes that should run the pod.", 0},
    {"Current", "integer", "", "Nodes that run it.", 0},
    {"Ready", "integer", "", "Nodes where it is ready.", 0},
    {"Up-to-date", "integer", "", "Nodes with a pod of the newest template.", 0},
    {"Available", "integer", "", "Nodes where it is available.", 0},
    {"Node Selector", "string", "", "Labels that nodes must have.", 0},
    {"Age", "string", "", "", 0},
    {"Containers", "string", "", "", 1},
    {"Images", "string", "", "", 1},
    {"Selector", "string", "", "", 1},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct apps_v1_daemon_set *d = obj;
    const struct core_v1_pod_spec *p = &d->spec.template.spec;
    cell_str(r, d->metadata.name);
    cell_int(r, d->status.desired_number_scheduled);
    cell_int(r, d->status.current_number_scheduled);
    cell_int(r, d->status.number_ready);
    cell_int(r, d->status.updated_number_scheduled);
    cell_int(r, d->status.number_available);
    cell_labels(r, p->node_selector, p->node_selector_count);
    cell_age(r, &d->metadata.creation_timestamp);
    cell_containers(r, p->containers, p->containers_count);
    cell_images(r, p->containers, p->containers_count);
    cell_selector(r, d->spec.selector);
}

const struct kind_ops kind_daemonsets = {
    .group = "apps",
    .version = "v1",
    .resource = "daemonsets",
    .flags = KIND_STATUS | KIND_GENERATION,
    .default_ = set_defaults,
    .prepare_create = prepare_create,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .subs = subs,
    .columns = columns,
    .row = row,
};
