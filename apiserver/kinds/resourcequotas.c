/* resourcequotas.c - ResourceQuota: how much a namespace may have in all. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

static bool is_quota_resource(struct str name)
{
    return is_standard_resource(name) && !str_eqc(name, "storage");
}

/* Where such names may stand at all. */
static void check_name(struct field_errors *errs, const struct field_path *at, struct str name)
{
    validate_resource_name(errs, at, name);
    if (str_find(name, '/', 0) < 0 && !is_quota_resource(name))
        field_invalid(errs, at, name, "must be a standard resource for quota");
}

static void check_quantities(struct field_errors *errs, const struct field_path *path,
                             const struct api_quantity_entry *e, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct field_path *at = PATH_KEY(path, e[i].key);
        check_name(errs, at, e[i].key);
        validate_quantity_value(errs, at, e[i].key, &e[i].value);
    }
}

/* --- scopes ------------------------------------------------------------------------------------
 */

static const char *const scope_names[] = {"Terminating",
                                          "NotTerminating",
                                          "BestEffort",
                                          "NotBestEffort",
                                          "PriorityClass",
                                          "CrossNamespacePodAffinity",
                                          "VolumeAttributesClass",
                                          NULL};

static bool scope_fits(struct str scope, struct str resource)
{
    static const char *const pod_parts[] = {"pods",          "cpu",        "memory",
                                            "requests.cpu",  "limits.cpu", "requests.memory",
                                            "limits.memory", NULL};
    static const char *const claims[] = {"persistentvolumeclaims", "requests.storage", NULL};
    if (str_eqc(scope, "BestEffort"))
        return str_eqc(resource, "pods");
    if (str_eqc(scope, "VolumeAttributesClass"))
        return is_listed(resource, claims);
    return is_listed(resource, pod_parts);
}

/* Upstream shows spec.scopes, also where the selector's scopes conflict. */
static void check_conflicts(struct field_errors *errs, const struct field_path *path,
                            const struct core_v1_resource_quota_spec *s, const struct str *list,
                            size_t count)
{
    static const char *const pairs[][2] = {{"BestEffort", "NotBestEffort"},
                                           {"Terminating", "NotTerminating"}};
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
        if (list_has(list, count, pairs[i][0]) && list_has(list, count, pairs[i][1]))
            field_invalid_raw(
                errs, path,
                field_member_render(errs->arena, &core_v1_resource_quota_spec_msg, s, "scopes"),
                "conflicting scopes");
}

static void check_scopes(struct field_errors *errs, const struct field_path *spec,
                         const struct core_v1_resource_quota_spec *s)
{
    const struct field_path *path = PATH(spec, "scopes");
    struct str shown = field_strings_render(errs->arena, s->scopes, s->scopes_count);
    for (size_t i = 0; i < s->scopes_count; i++) {
        if (!is_listed(s->scopes[i], scope_names)) {
            field_invalid_raw(errs, path, shown, "unsupported scope");
            continue;
        }
        for (size_t h = 0; h < s->hard_count; h++)
            if (!scope_fits(s->scopes[i], s->hard[h].key) && is_quota_resource(s->hard[h].key))
                field_invalid_raw(errs, path, shown, "unsupported scope applied to resource");
    }
    check_conflicts(errs, path, s, s->scopes, s->scopes_count);
}

static void check_selector(struct field_errors *errs, const struct field_path *spec,
                           const struct core_v1_resource_quota_spec *s)
{
    static const char *const operators[] = {"In", "NotIn", "Exists", "DoesNotExist", NULL};
    const struct core_v1_scope_selector *q = s->scope_selector;
    const struct field_path *list = PATH(PATH(spec, "scopeSelector"), "matchExpressions");
    struct str *scopes = ARENA_ARRAY(errs->arena, struct str, q->match_expressions_count + 1);
    for (size_t i = 0; i < q->match_expressions_count; i++) {
        const struct core_v1_scoped_resource_selector_requirement *r = &q->match_expressions[i];
        scopes[i] = r->scope_name;
        bool valued = str_eqc(r->scope_name, "PriorityClass") ||
                      str_eqc(r->scope_name, "VolumeAttributesClass");
        bool in = str_eqc(r->operator, "In") || str_eqc(r->operator, "NotIn");
        if (!is_listed(r->scope_name, scope_names))
            field_invalid(errs, PATH(list, "scopeName"), r->scope_name, "unsupported scope");
        for (size_t h = 0; h < s->hard_count && is_listed(r->scope_name, scope_names); h++)
            if (!scope_fits(r->scope_name, s->hard[h].key) && is_quota_resource(s->hard[h].key))
                field_invalid_msg(errs, list, &core_v1_scope_selector_msg, q,
                                  "unsupported scope applied to resource");
        if (!valued && is_listed(r->scope_name, scope_names) && !str_eqc(r->operator, "Exists"))
            field_invalid(
                errs, PATH(list, "operator"), r->operator,
                "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
                "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
                "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity");
        if (!is_listed(r->operator, operators))
            field_invalid(errs, PATH(list, "operator"), r->operator,
                          "not a valid selector operator");
        else if (in && r->values_count == 0)
            field_required(
                errs, PATH(list, "values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
        else if (!in && r->values_count != 0)
            field_invalid_raw(errs, PATH(list, "values"),
                              field_strings_render(errs->arena, r->values, r->values_count),
                              "must be no value when `operator` is 'Exist' or 'DoesNotExist' for "
                              "scope selector");
    }
    check_conflicts(errs, list, s, scopes, q->match_expressions_count);
}

/* --- the object ----------------------------------------------------------------------------------
 */

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct core_v1_resource_quota *q = obj;
    const struct field_path *spec = PATH(PATH_ROOT, "spec"), *status = PATH(PATH_ROOT, "status");
    check_quantities(errs, PATH(spec, "hard"), q->spec.hard, q->spec.hard_count);
    if (q->spec.scopes_count != 0)
        check_scopes(errs, spec, &q->spec);
    if (q->spec.scope_selector != NULL)
        check_selector(errs, spec, &q->spec);
    check_quantities(errs, PATH(status, "hard"), q->status.hard, q->status.hard_count);
    check_quantities(errs, PATH(status, "used"), q->status.used, q->status.used_count);
}

/* What a quota is about never changes: usage is counted by it. */
static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct core_v1_resource_quota *q = obj, *o = old;
    bool same = q->spec.scopes_count == o->spec.scopes_count;
    validate_create(ctx, obj, errs);
    for (size_t i = 0; i < q->spec.scopes_count; i++)
        same = same && list_has(o->spec.scopes, o->spec.scopes_count,
                                str_c(arena_str(ctx->arena, q->spec.scopes[i])));
    if (!same)
        field_invalid_raw(errs, PATH(PATH(PATH_ROOT, "spec"), "scopes"),
                          field_strings_render(errs->arena, q->spec.scopes, q->spec.scopes_count),
                          "field is immutable");
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    UNUSED(old);
    const struct core_v1_resource_quota_status *s =
        &((const struct core_v1_resource_quota *)obj)->status;
    const struct field_path *status = PATH(PATH_ROOT, "status");
    check_quantities(errs, PATH(status, "hard"), s->hard, s->hard_count);
    check_quantities(errs, PATH(status, "used"), s->used, s->used_count);
}

static const struct kind_sub subs[] = {{"status", NULL, validate_status}, {0}};

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Request", "string", "", "Used and allowed, of all but limits.", 0},
    {"Limit", "string", "", "Used and allowed, of limits.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void cell_usage(struct table_row *r, const struct core_v1_resource_quota *q, bool limits)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < q->status.hard_count; i++) {
        const struct api_quantity_entry *h = &q->status.hard[i];
        if (str_has_prefix(h->key, STR("limits")) != limits)
            continue;
        const struct api_quantity_entry *u =
            find_quantity(q->status.used, q->status.used_count, h->key);
        buf_printf(&b, "%s" STR_FMT ": " STR_FMT "/" STR_FMT, b.len == 0 ? "" : ", ",
                   STR_ARG(h->key), STR_ARG(u != NULL ? quantity_shown(&u->value) : STR("0")),
                   STR_ARG(quantity_shown(&h->value)));
    }
    cell_str(r, arena_str(row_arena(r), buf_str(&b)));
}

static void row(struct table_row *r, const void *obj)
{
    const struct core_v1_resource_quota *q = obj;
    cell_str(r, q->metadata.name);
    cell_usage(r, q, false);
    cell_usage(r, q, true);
    cell_age(r, &q->metadata.creation_timestamp);
}

const struct kind_ops kind_resourcequotas = {
    .group = "",
    .version = "v1",
    .resource = "resourcequotas",
    .flags = KIND_STATUS | KIND_RETURN_DELETED,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .subs = subs,
    .columns = columns,
    .row = row,
};
