/* statefulsets.c - StatefulSet: defaults, rules and columns. Most of its spec
 * is fixed at creation, since identities and claims hang on it. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/pod_spec.h"
#include "apiserver/kinds/pod_warnings.h"
#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/volume_sources.h"
#include "apiserver/kinds/workload.h"
#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "api/intstr.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"

static void default_claims(struct apps_v1_stateful_set_spec *s)
{
    for (size_t i = 0; i < s->volume_claim_templates_count; i++) {
        struct core_v1_persistent_volume_claim *c = &s->volume_claim_templates[i];
        default_str(&c->status.phase, STR("Pending"));
        default_opt_str(&c->spec.has_volume_mode, &c->spec.volume_mode, STR("Filesystem"));
    }
}

static void default_strategy(struct arena *a, struct apps_v1_stateful_set_update_strategy *u)
{
    default_str(&u->type, STR("RollingUpdate"));
    if (!str_eqc(u->type, "RollingUpdate"))
        return;
    if (u->rolling_update == NULL)
        u->rolling_update = ARENA_NEW(a, struct apps_v1_rolling_update_stateful_set_strategy);
    u->rolling_update->has_partition = true;
}

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct apps_v1_stateful_set_spec *s = &((struct apps_v1_stateful_set *)obj)->spec;
    pod_template_defaults(ctx->arena, &s->template);
    default_claims(s);
    default_str(&s->pod_management_policy, STR("OrderedReady"));
    default_strategy(ctx->arena, &s->update_strategy);
    if (s->persistent_volume_claim_retention_policy == NULL)
        s->persistent_volume_claim_retention_policy = ARENA_NEW(
            ctx->arena, struct apps_v1_stateful_set_persistent_volume_claim_retention_policy);
    default_str(&s->persistent_volume_claim_retention_policy->when_deleted, STR("Retain"));
    default_str(&s->persistent_volume_claim_retention_policy->when_scaled, STR("Retain"));
    default_opt_int(&s->has_replicas, &s->replicas, 1);
    default_opt_int(&s->has_revision_history_limit, &s->revision_history_limit, 10);
}

static void validate_strategy(struct field_errors *errs, const struct field_path *path,
                              const struct apps_v1_stateful_set_update_strategy *u)
{
    const struct apps_v1_rolling_update_stateful_set_strategy *r = u->rolling_update;
    const struct field_path *rolling = PATH(path, "rollingUpdate");
    if (str_empty(u->type)) {
        field_required(errs, path, NULL);
    } else if (str_eqc(u->type, "OnDelete")) {
        if (r != NULL)
            field_invalid_msg(errs, rolling, &apps_v1_rolling_update_stateful_set_strategy_msg, r,
                              "only allowed for updateStrategy 'RollingUpdate'");
    } else if (str_eqc(u->type, "RollingUpdate")) {
        if (r == NULL)
            return;
        validate_non_negative(errs, PATH(rolling, "partition"), r->partition);
        if (r->max_unavailable == NULL)
            return;
        validate_int_or_percent(errs, PATH(rolling, "maxUnavailable"), r->max_unavailable);
        if (int_or_percent_is_zero(r->max_unavailable))
            field_invalid_int(errs, PATH(rolling, "maxUnavailable"), 0, "cannot be 0");
        validate_percent_max(errs, PATH(rolling, "maxUnavailable"), r->max_unavailable);
    } else {
        field_invalid_msg(errs, path, &apps_v1_stateful_set_update_strategy_msg, u,
                          "must be 'RollingUpdate' or 'OnDelete'");
    }
}

/* The template as its pods will be: with a volume for each claim that it does not name itself. */
static struct core_v1_pod_template_spec with_claims(struct arena *a,
                                                    const struct apps_v1_stateful_set_spec *s)
{
    struct core_v1_pod_template_spec t = s->template;
    size_t own = t.spec.volumes_count;
    struct core_v1_volume *all =
        ARENA_ARRAY(a, struct core_v1_volume, own + s->volume_claim_templates_count);
    for (size_t i = 0; i < own; i++)
        all[i] = t.spec.volumes[i];
    for (size_t i = 0; i < s->volume_claim_templates_count; i++) {
        struct str name = s->volume_claim_templates[i].metadata.name;
        struct core_v1_persistent_volume_claim_volume_source *source =
            ARENA_NEW(a, struct core_v1_persistent_volume_claim_volume_source);
        bool named = false;
        for (size_t k = 0; k < own && !named; k++)
            named = str_eq(all[k].name, name);
        if (named)
            continue;
        source->claim_name = name;
        all[t.spec.volumes_count++] = (struct core_v1_volume){
            .name = name, .volume_source = {.persistent_volume_claim = source}};
    }
    t.spec.volumes = all;
    return t;
}

/* is_new: with what never changes. */
static void validate_spec(const struct kind_ctx *ctx, const struct apps_v1_stateful_set_spec *s,
                          bool is_new, struct field_errors *errs)
{
    static const char *const retention[] = {"Retain", "Delete", NULL};
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    const struct field_path *policy = PATH(spec, "persistentVolumeClaimRetentionPolicy");
    if (str_empty(s->pod_management_policy))
        field_required(errs, PATH(spec, "podManagementPolicy"), NULL);
    else if (!str_eqc(s->pod_management_policy, "OrderedReady") &&
             !str_eqc(s->pod_management_policy, "Parallel"))
        field_invalid(errs, PATH(spec, "podManagementPolicy"), s->pod_management_policy,
                      "must be 'OrderedReady' or 'Parallel'");
    validate_strategy(errs, PATH(spec, "updateStrategy"), &s->update_strategy);
    if (s->persistent_volume_claim_retention_policy != NULL) {
        validate_listed(errs, PATH(policy, "whenDeleted"),
                        s->persistent_volume_claim_retention_policy->when_deleted, retention);
        validate_listed(errs, PATH(policy, "whenScaled"),
                        s->persistent_volume_claim_retention_policy->when_scaled, retention);
    }
    for (size_t i = 0; is_new && i < s->volume_claim_templates_count; i++)
        validate_claim_spec(errs, PATH(PATH_INDEX(PATH(spec, "volumeClaimTemplates"), i), "spec"),
                            &s->volume_claim_templates[i].spec);
    validate_non_negative(errs, PATH(spec, "replicas"), s->replicas);
    validate_non_negative(errs, PATH(spec, "minReadySeconds"), s->min_ready_seconds);
    if (s->ordinals != NULL)
        validate_non_negative(errs, PATH(PATH(spec, "ordinals"), "start"), s->ordinals->start);
    if (is_new && !str_empty(s->service_name))
        validate_form(errs, PATH(spec, "serviceName"), s->service_name, api_check_dns_label);
    validate_workload_selector(ctx, errs, spec, s->selector, "statefulset");
    struct core_v1_pod_template_spec template = with_claims(ctx->arena, s);
    validate_workload_template(ctx, errs, spec, s->selector, &template, "StatefulSet");
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    validate_spec(ctx, &((const struct apps_v1_stateful_set *)obj)->spec, true, errs);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct apps_v1_stateful_set *s = obj, *o = old;
    struct apps_v1_stateful_set_spec fixed = s->spec;
    validate_spec(ctx, &s->spec, false, errs);
    /* With all that may change taken from the old one, nothing may differ. */
    fixed.has_replicas = o->spec.has_replicas;
    fixed.replicas = o->spec.replicas;
    fixed.template = o->spec.template;
    fixed.update_strategy = o->spec.update_strategy;
    fixed.min_ready_seconds = o->spec.min_ready_seconds;
    fixed.ordinals = o->spec.ordinals;
    fixed.has_revision_history_limit = o->spec.has_revision_history_limit;
    fixed.revision_history_limit = o->spec.revision_history_limit;
    fixed.persistent_volume_claim_retention_policy =
        o->spec.persistent_volume_claim_retention_policy;
    if (!api_msg_equal(&apps_v1_stateful_set_spec_msg, &fixed, &o->spec))
        field_forbidden(
            errs, PATH(PATH_ROOT, "spec"),
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
            "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
            "'minReadySeconds' are forbidden");
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    const struct apps_v1_stateful_set *s = obj;
    const struct field_path *spec = PATH(PATH_ROOT, "spec"),
                            *claims = PATH(spec, "volumeClaimTemplates");
    const struct workload_warning w = {
        .meta = &s->metadata,
        .old = old != NULL ? &((const struct apps_v1_stateful_set *)old)->metadata : NULL,
        .path = PATH(spec, "template"),
        .template = &s->spec.template};
    warn_workload(ctx, &w);
    for (size_t i = 0; i < s->spec.volume_claim_templates_count; i++) {
        const struct field_path *at = PATH_INDEX(claims, i);
        /* Upstream's paths differ in creation and update; neither is right. */
        warn_claim_spec(ctx, old == NULL ? at : PATH(at, "Spec"),
                        &s->spec.volume_claim_templates[i].spec);
    }
    if (s->spec.has_revision_history_limit && s->spec.revision_history_limit < 0)
        kind_warn_field(ctx, PATH(spec, "revisionHistoryLimit"),
                        "a negative value retains all historical revisions; a value >= 0 is "
                        "recommended");
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    const struct apps_v1_stateful_set_status *s =
        &((const struct apps_v1_stateful_set *)obj)->status;
    const struct apps_v1_stateful_set_status *o =
        &((const struct apps_v1_stateful_set *)old)->status;
    const struct field_path *path = PATH(PATH_ROOT, "status");
    const struct {
        const char *name;
        int32_t value;
    } parts[] = {{"readyReplicas", s->ready_replicas},
                 {"currentReplicas", s->current_replicas},
                 {"updatedReplicas", s->updated_replicas},
                 {"availableReplicas", s->available_replicas}};
    validate_non_negative(errs, PATH(path, "replicas"), s->replicas);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        validate_non_negative(errs, PATH(path, parts[i].name), parts[i].value);
    validate_non_negative(errs, PATH(path, "observedGeneration"), s->observed_generation);
    if (s->has_collision_count)
        validate_non_negative(errs, PATH(path, "collisionCount"), s->collision_count);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        validate_at_most(errs, parts[i].name, parts[i].value, s->replicas, "status.replicas");
    validate_at_most(errs, "availableReplicas", s->available_replicas, s->ready_replicas,
                     "status.readyReplicas");
    validate_collisions_grow(errs, s->has_collision_count, s->collision_count,
                             o->has_collision_count, o->collision_count);
}

static const struct kind_sub subs[] = {{"status", NULL, validate_status}, {0}};

static bool scale_get(struct arena *a, const void *obj, struct kind_scale *ret)
{
    const struct apps_v1_stateful_set *s = obj;
    *ret = (struct kind_scale){s->spec.replicas, s->status.replicas,
                               selector_text(a, s->spec.selector)};
    return true;
}

static void scale_set(struct arena *a, void *obj, int32_t replicas)
{
    UNUSED(a);
    struct apps_v1_stateful_set *s = obj;
    s->spec.has_replicas = true;
    s->spec.replicas = replicas;
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Ready", "string", "", "Pods that are ready, of those wanted.", 0},
    {"Age", "string", "", "", 0},
    {"Containers", "string", "", "", 1},
    {"Images", "string", "", "", 1},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct apps_v1_stateful_set *s = obj;
    cell_str(r, s->metadata.name);
    cell_printf(r, "%d/%d", s->status.ready_replicas, s->spec.replicas);
    cell_age(r, &s->metadata.creation_timestamp);
    cell_containers(r, s->spec.template.spec.containers, s->spec.template.spec.containers_count);
    cell_images(r, s->spec.template.spec.containers, s->spec.template.spec.containers_count);
}

const struct kind_ops kind_statefulsets = {
    .group = "apps",
    .version = "v1",
    .resource = "statefulsets",
    .flags = KIND_STATUS | KIND_GENERATION,
    .validate_name = name_dns_label,
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
