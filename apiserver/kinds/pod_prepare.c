/* pod_prepare.c - see pod_prepare.h. Pure. */
#include "apiserver/kinds/pod_prepare.h"

#include "apiserver/features.h"
#include "apiserver/kinds/rules.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/resource.h"
#include "lib/api/codec.h"
#include "lib/api/quantity.h"
#include "lib/base/arena.h"

/* --- label keys ------------------------------------------------------------------------ */

static void add_requirements(struct arena *a, const struct core_v1_pod *p,
                             struct meta_v1_label_selector *s, const struct str *keys, size_t count,
                             struct str operator)
{
    for (size_t i = 0; i < count; i++) {
        const struct str *value =
            api_str_map_get(p->metadata.labels, p->metadata.labels_count, keys[i]);
        if (value == NULL)
            continue;
        size_t n = s->match_expressions_count;
        struct meta_v1_label_selector_requirement *list =
            ARENA_ARRAY(a, struct meta_v1_label_selector_requirement, n + 1);
        for (size_t k = 0; k < n; k++)
            list[k] = s->match_expressions[k];
        list[n].key = keys[i];
        list[n].operator= operator;
        list[n].values = ARENA_ARRAY(a, struct str, 1);
        list[n].values[0] = *value;
        list[n].values_count = 1;
        s->match_expressions = list;
        s->match_expressions_count = n + 1;
    }
}

static void apply_term(struct arena *a, const struct core_v1_pod *p,
                       struct core_v1_pod_affinity_term *t)
{
    if (t->label_selector == NULL)
        return;
    add_requirements(a, p, t->label_selector, t->match_label_keys, t->match_label_keys_count,
                     STR("In"));
    add_requirements(a, p, t->label_selector, t->mismatch_label_keys, t->mismatch_label_keys_count,
                     STR("NotIn"));
}

static void apply_terms(struct arena *a, const struct core_v1_pod *p,
                        struct core_v1_weighted_pod_affinity_term *preferred,
                        size_t preferred_count, struct core_v1_pod_affinity_term *required,
                        size_t required_count)
{
    for (size_t i = 0; i < preferred_count; i++)
        apply_term(a, p, &preferred[i].pod_affinity_term);
    for (size_t i = 0; i < required_count; i++)
        apply_term(a, p, &required[i]);
}

void pod_apply_label_keys(struct arena *a, struct core_v1_pod *p)
{
    struct core_v1_affinity *affinity = p->spec.affinity;
    if (affinity != NULL && affinity->pod_affinity != NULL) {
        struct core_v1_pod_affinity *x = affinity->pod_affinity;
        apply_terms(a, p, x->preferred_during_scheduling_ignored_during_execution,
                    x->preferred_during_scheduling_ignored_during_execution_count,
                    x->required_during_scheduling_ignored_during_execution,
                    x->required_during_scheduling_ignored_during_execution_count);
    }
    if (affinity != NULL && affinity->pod_anti_affinity != NULL) {
        struct core_v1_pod_anti_affinity *x = affinity->pod_anti_affinity;
        apply_terms(a, p, x->preferred_during_scheduling_ignored_during_execution,
                    x->preferred_during_scheduling_ignored_during_execution_count,
                    x->required_during_scheduling_ignored_during_execution,
                    x->required_during_scheduling_ignored_during_execution_count);
    }
    for (size_t i = 0; i < p->spec.topology_spread_constraints_count; i++) {
        struct core_v1_topology_spread_constraint *c = &p->spec.topology_spread_constraints[i];
        if (c->label_selector != NULL)
            add_requirements(a, p, c->label_selector, c->match_label_keys,
                             c->match_label_keys_count, STR("In"));
    }
}

/* --- AppArmor ----------------------------------------------------------------------------- */

#define LOCALHOST "localhost/"

/* The annotation's text as a field, or NULL when it says nothing valid. */
static struct core_v1_app_armor_profile *profile_of(struct arena *a, struct str text)
{
    struct core_v1_app_armor_profile *p = ARENA_NEW(a, struct core_v1_app_armor_profile);
    if (str_eqc(text, "unconfined")) {
        p->type = STR("Unconfined");
        return p;
    }
    if (str_eqc(text, "runtime/default")) {
        p->type = STR("RuntimeDefault");
        return p;
    }
    if (!str_has_prefix(text, STR(LOCALHOST)))
        return NULL;
    p->type = STR("Localhost");
    p->has_localhost_profile = true;
    p->localhost_profile = str_sub(text, sizeof(LOCALHOST) - 1, text.len);
    bool good = !str_empty(p->localhost_profile) && p->localhost_profile.len <= 4095 &&
                str_trim(p->localhost_profile).len == p->localhost_profile.len;
    return good ? p : NULL;
}

static void apply_armor(const struct kind_ctx *ctx, const struct core_v1_pod *p, struct str name,
                        struct core_v1_security_context **context)
{
    const struct core_v1_app_armor_profile *pods =
        p->spec.security_context != NULL ? p->spec.security_context->app_armor_profile : NULL;
    struct str key = arena_printf(
        ctx->arena, "container.apparmor.security.beta.kubernetes.io/" STR_FMT, STR_ARG(name));
    const struct str *text =
        api_str_map_get(p->metadata.annotations, p->metadata.annotations_count, key);
    if (text == NULL || (*context != NULL && (*context)->app_armor_profile != NULL))
        return;
    struct core_v1_app_armor_profile *profile = profile_of(ctx->arena, *text);
    if (profile != NULL && pods != NULL &&
        api_msg_equal(&core_v1_app_armor_profile_msg, profile, pods))
        return;
    if (profile != NULL) {
        if (*context == NULL)
            *context = ARENA_NEW(ctx->arena, struct core_v1_security_context);
        (*context)->app_armor_profile = profile;
    }
    kind_warn_field(ctx, PATH_KEY(PATH(PATH(PATH_ROOT, "metadata"), "annotations"), key),
                    "deprecated since v1.30; use the \"appArmorProfile\" field instead");
}

void pod_apply_app_armor(const struct kind_ctx *ctx, struct core_v1_pod *p)
{
    struct core_v1_pod_spec *s = &p->spec;
    if (s->os != NULL && str_eqc(s->os->name, "windows"))
        return;
    for (size_t i = 0; i < s->init_containers_count; i++)
        apply_armor(ctx, p, s->init_containers[i].name, &s->init_containers[i].security_context);
    for (size_t i = 0; i < s->containers_count; i++)
        apply_armor(ctx, p, s->containers[i].name, &s->containers[i].security_context);
}

/* --- resources of the pod ------------------------------------------------------------------- */

static void add_to(struct quantity *sum, const struct api_quantity_entry *list, size_t count,
                   struct str key, bool *ret_any)
{
    const struct api_quantity_entry *e = find_quantity(list, count, key);
    if (e == NULL)
        return;
    struct quantity q = quantity_of(&e->value);
    quantity_add(sum, &q);
    *ret_any = true;
}

static bool restarts_always(const struct core_v1_container *c)
{
    return c->has_restart_policy && str_eqc(c->restart_policy, "Always");
}

bool pod_aggregate(const struct core_v1_pod_spec *s, struct str key, bool limits,
                   struct quantity *ret)
{
#define OF(c)                                                                                      \
    limits ? (c).resources.limits : (c).resources.requests,                                        \
        limits ? (c).resources.limits_count : (c).resources.requests_count
    struct quantity running = {0}, sidecars = {0}, peak = {0};
    bool any = false;
    for (size_t i = 0; i < s->containers_count; i++)
        add_to(&running, OF(s->containers[i]), key, &any);
    for (size_t i = 0; i < s->init_containers_count; i++) {
        struct quantity now = sidecars;
        add_to(&now, OF(s->init_containers[i]), key, &any);
        if (restarts_always(&s->init_containers[i]))
            sidecars = now;
        if (quantity_cmp(&now, &peak) > 0)
            peak = now;
    }
#undef OF
    quantity_add(&running, &sidecars);
    *ret = quantity_cmp(&running, &peak) >= 0 ? running : peak;
    return any;
}

static void put(struct arena *a, struct api_quantity_entry **list, size_t *count, struct str key,
                const struct quantity *q)
{
    struct api_quantity_entry *bigger = ARENA_ARRAY(a, struct api_quantity_entry, *count + 1);
    size_t at = 0;
    while (at < *count && str_cmp((*list)[at].key, key) < 0)
        at++;
    for (size_t i = 0; i < *count; i++)
        bigger[i < at ? i : i + 1] = (*list)[i];
    bigger[at].key = key;
    quantity_store(a, q, &bigger[at].value);
    *list = bigger;
    (*count)++;
}

static bool is_pod_level(struct str key)
{
    return str_eqc(key, "cpu") || str_eqc(key, "memory") || is_hugepages(key);
}

/* Calls each() for every resource that some container names. */
static void default_from_containers(struct arena *a, struct core_v1_pod_spec *s, bool limits)
{
    struct core_v1_resource_requirements *r = s->resources;
    for (size_t i = 0; i < s->containers_count + s->init_containers_count; i++) {
        const struct core_v1_container *c = i < s->containers_count
                                                ? &s->containers[i]
                                                : &s->init_containers[i - s->containers_count];
        const struct api_quantity_entry *list =
            limits ? c->resources.limits : c->resources.requests;
        size_t count = limits ? c->resources.limits_count : c->resources.requests_count;
        for (size_t k = 0; k < count; k++) {
            struct quantity sum;
            struct str key = list[k].key;
            /* Of huge pages the limits count, of others the requests. */
            if (!is_pod_level(key) || is_hugepages(key) != limits)
                continue;
            if (find_quantity(limits ? r->limits : r->requests,
                              limits ? r->limits_count : r->requests_count, key) != NULL)
                continue;
            if (!pod_aggregate(s, key, limits, &sum))
                continue;
            if (limits)
                put(a, &r->limits, &r->limits_count, key, &sum);
            else
                put(a, &r->requests, &r->requests_count, key, &sum);
        }
    }
}

void pod_default_own_requests(struct arena *a, struct core_v1_pod *p)
{
    struct core_v1_resource_requirements *r = p->spec.resources;
    if (r == NULL)
        return;
    if (r->limits_count + r->requests_count != 0)
        default_from_containers(a, &p->spec, true);
    if (r->limits_count == 0)
        return;
    default_from_containers(a, &p->spec, false);
    for (size_t i = 0; i < r->limits_count; i++) {
        struct quantity q = quantity_of(&r->limits[i].value);
        if (is_pod_level(r->limits[i].key) &&
            find_quantity(r->requests, r->requests_count, r->limits[i].key) == NULL)
            put(a, &r->requests, &r->requests_count, r->limits[i].key, &q);
    }
}

/* --- features that are off ----------------------------------------------------------------------
 */

static const struct core_v1_projected_volume_source *projected(const struct core_v1_pod_spec *s,
                                                               size_t i)
{
    return s->volumes[i].volume_source.projected;
}

static void find_used(const struct core_v1_pod_spec *s, bool *ret_bundle, bool *ret_certificate)
{
    for (size_t i = 0; i < s->volumes_count; i++)
        for (size_t k = 0; projected(s, i) != NULL && k < projected(s, i)->sources_count; k++) {
            const struct core_v1_volume_projection *p = &projected(s, i)->sources[k];
            *ret_bundle = *ret_bundle || p->cluster_trust_bundle != NULL;
            *ret_certificate = *ret_certificate || p->pod_certificate != NULL;
        }
}

void pod_drop_disabled(struct core_v1_pod_spec *s, const struct core_v1_pod_spec *old)
{
    bool bundle = feature_on(FEATURE_CLUSTER_TRUST_BUNDLE_PROJECTION);
    bool certificate = feature_on(FEATURE_POD_CERTIFICATE_REQUEST);
    if (old != NULL)
        find_used(old, &bundle, &certificate);
    for (size_t i = 0; i < s->volumes_count; i++) {
        struct core_v1_projected_volume_source *v = s->volumes[i].volume_source.projected;
        for (size_t k = 0; v != NULL && k < v->sources_count; k++) {
            if (!bundle)
                v->sources[k].cluster_trust_bundle = NULL;
            if (!certificate)
                v->sources[k].pod_certificate = NULL;
        }
    }
}
