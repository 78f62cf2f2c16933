/* policy_match.c - rules, selectors and equivalent versions; see policy_match.h. */
#include "apiserver/admission/policy_match.h"

#include "api/admissionregistration_v1.h"
#include "api/core_v1.h"
#include "apiserver/custom/definition.h"
#include "apiserver/defaults.h"
#include "apiserver/registry.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/selector.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#define GROUP "admissionregistration.k8s.io"

bool policy_exempt(const struct admission *adm)
{
    return strcmp(adm->res->kind->group, GROUP) == 0;
}

const char *policy_operation(enum admit_op op)
{
    switch (op) {
    case ADMIT_CREATE:
        return "CREATE";
    case ADMIT_UPDATE:
        return "UPDATE";
    case ADMIT_DELETE:
        return "DELETE";
    case ADMIT_CONNECT:
        break;
    }
    return "CONNECT";
}

static int32_t code_of(struct str reason)
{
    return str_eqc(reason, "Forbidden")               ? 403
           : str_eqc(reason, "Unauthorized")          ? 401
           : str_eqc(reason, "RequestEntityTooLarge") ? 413
                                                      : 422;
}

struct meta_v1_status *policy_denied(const struct admission *adm, struct str text,
                                     struct str reason)
{
    struct arena *a = adm->ctx->arena;
    struct meta_v1_status *s =
        status_forbidden(a, adm->res->gr, policy_object_name(adm), STR_FMT, STR_ARG(text));
    s->reason = reason;
    s->code = code_of(reason);
    status_add_cause(a, s, "", text, STR_NULL);
    return s;
}

/* --- rules ------------------------------------------------------------------------------- */
static bool listed(const struct str *items, size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++)
        if (str_eqc(items[i], "*") || str_eqc(items[i], what))
            return true;
    return false;
}

/* "pods", "pods/status", "pods/ *", "* /status", "*", "* / *" (without the spaces). */
static bool resource_matches(struct str rule, const char *resource, const char *sub)
{
    struct str head, tail;
    bool slash = str_cut(rule, '/', &head, &tail);
    bool sub_ok = slash ? str_eqc(tail, "*") || str_eqc(tail, sub) : sub[0] == '\0';
    return sub_ok && (str_eqc(head, "*") || str_eqc(head, resource));
}

static bool scope_matches(const struct admission *adm,
                          const struct admissionregistration_v1_rule *r)
{
    if (!r->has_scope || str_eqc(r->scope, "*"))
        return true;
    return str_eqc(r->scope, adm->res->kind->namespaced ? "Namespaced" : "Cluster");
}

/* All but group and version. */
static bool any_version_matches(const struct admission *adm,
                                const struct admissionregistration_v1_rule_with_operations *rules,
                                size_t count, const struct resource *as)
{
    for (size_t i = 0; i < count; i++) {
        const struct admissionregistration_v1_rule_with_operations *r = &rules[i];
        if (!listed(r->operations, r->operations_count, policy_operation(adm->op)) ||
            !scope_matches(adm, &r->rule))
            continue;
        for (size_t k = 0; k < r->rule.resources_count; k++)
            if (resource_matches(r->rule.resources[k], as->kind->resource, adm->subresource))
                return true;
    }
    return false;
}

static bool rule_matches(const struct admission *adm,
                         const struct admissionregistration_v1_rule_with_operations *r,
                         const struct resource *as)
{
    if (!listed(r->operations, r->operations_count, policy_operation(adm->op)) ||
        !listed(r->rule.api_groups, r->rule.api_groups_count, as->kind->group) ||
        !listed(r->rule.api_versions, r->rule.api_versions_count, as->kind->version) ||
        !scope_matches(adm, &r->rule))
        return false;
    for (size_t i = 0; i < r->rule.resources_count; i++)
        if (resource_matches(r->rule.resources[i], as->kind->resource, adm->subresource))
            return true;
    return false;
}

/* The resource as the client named it. */
static const struct resource *requested(const struct admission *adm)
{
    const struct api_kind *k = adm->ctx->request_kind;
    const struct resource *r = NULL;
    if (k != NULL && k->resource != NULL)
        r = registry_find(str_of(k->group), str_of(k->version), str_of(k->resource));
    return r != NULL && r->primary == adm->res->primary ? r : adm->res;
}

/* The other served versions of a custom kind. */
static bool custom_match(const struct admission *adm,
                         const struct admissionregistration_v1_rule_with_operations *rules,
                         size_t count, const struct resource *asked, const struct resource **ret_as)
{
    const struct custom_definition *d =
        adm->res->custom != NULL ? adm->res->custom->definition : NULL;
    for (size_t k = 0; d != NULL && k < d->count; k++) {
        const struct resource *r = &d->versions[k].res;
        for (size_t i = 0; d->versions[k].served && r != asked && i < count; i++)
            if (rule_matches(adm, &rules[i], r)) {
                *ret_as = r;
                return true;
            }
    }
    return false;
}

bool policy_rules_match(const struct admission *adm,
                        const struct admissionregistration_v1_rule_with_operations *rules,
                        size_t count, bool exact, const struct resource **ret_as)
{
    const struct resource *asked = requested(adm);
    for (size_t i = 0; i < count; i++)
        if (rule_matches(adm, &rules[i], asked)) {
            *ret_as = asked;
            return true;
        }
    /* Versions of one resource have its name. */
    if (exact || !any_version_matches(adm, rules, count, asked))
        return false;
    for (size_t k = 0; k < registry_count(); k++) {
        const struct resource *r = registry_at(k);
        if (r == asked || r->primary != adm->res->primary)
            continue;
        for (size_t i = 0; i < count; i++)
            if (rule_matches(adm, &rules[i], r)) {
                *ret_as = r;
                return true;
            }
    }
    return !exact && custom_match(adm, rules, count, asked, ret_as);
}

/* --- selectors ------------------------------------------------------------------------------ */
static bool selects(struct arena *a, const struct meta_v1_label_selector *s,
                    const struct meta_v1_object_meta *m)
{
    struct api_label_selector parsed;
    return m != NULL && api_label_selector_from(a, s, &parsed, NULL) == 0 &&
           api_label_selector_matches(&parsed, m->labels, m->labels_count);
}

static bool is_empty(const struct meta_v1_label_selector *s)
{
    return s == NULL || (s->match_labels_count == 0 && s->match_expressions_count == 0);
}

static const struct meta_v1_object_meta *meta_of(const struct admission *adm, const void *obj)
{
    const struct api_kind *k = adm->kind != NULL ? adm->kind : adm->res->storage;
    if (obj == NULL || k->meta_offset == UINT32_MAX)
        return NULL;
    return (const void *)((const char *)obj + k->meta_offset);
}

static bool namespace_selected(const struct admission *adm, const struct meta_v1_label_selector *s,
                               struct meta_v1_status **ret_refused)
{
    const struct kind_ctx *ctx = adm->ctx;
    if (is_empty(s))
        return true;
    if (admission_is(adm, "", "namespaces")) {
        const void *obj = adm->obj != NULL ? adm->obj : adm->old;
        return selects(ctx->arena, s, meta_of(adm, obj));
    }
    if (!adm->res->kind->namespaced || ctx->namespace_.len == 0)
        return true;
    const struct core_v1_namespace *ns =
        kind_lookup(ctx, "", "namespaces", STR_NULL, ctx->namespace_);
    if (ns == NULL) {
        *ret_refused = status_not_found(
            ctx->arena, (struct group_resource){STR(""), STR("namespaces")}, ctx->namespace_);
        return false;
    }
    return selects(ctx->arena, s, &ns->metadata);
}

bool policy_selectors_match(const struct admission *adm,
                            const struct meta_v1_label_selector *namespaces,
                            const struct meta_v1_label_selector *objects,
                            struct meta_v1_status **ret_refused)
{
    struct arena *a = adm->ctx->arena;
    *ret_refused = NULL;
    if (!namespace_selected(adm, namespaces, ret_refused))
        return false;
    return is_empty(objects) || selects(a, objects, meta_of(adm, adm->obj)) ||
           selects(a, objects, meta_of(adm, adm->old));
}

/* --- policies --------------------------------------------------------------------------------- */
static bool named_match(const struct admission *adm,
                        const struct admissionregistration_v1_named_rule_with_operations *rules,
                        size_t count, bool exact, const struct resource **ret_as)
{
    struct str name = policy_object_name(adm);
    for (size_t i = 0; i < count; i++) {
        bool named = rules[i].resource_names_count == 0;
        for (size_t k = 0; k < rules[i].resource_names_count; k++)
            named |= str_eq(rules[i].resource_names[k], name);
        if (named && policy_rules_match(adm, &rules[i].rule_with_operations, 1, exact, ret_as))
            return true;
    }
    return false;
}

bool policy_matches(const struct admission *adm,
                    const struct admissionregistration_v1_match_resources *m,
                    const struct resource **ret_as, struct meta_v1_status **ret_refused)
{
    const struct resource *excluded;
    *ret_refused = NULL;
    if (m == NULL)
        return true;
    bool exact = m->has_match_policy && str_eqc(m->match_policy, "Exact");
    if (!policy_selectors_match(adm, m->namespace_selector, m->object_selector, ret_refused))
        return false;
    if (named_match(adm, m->exclude_resource_rules, m->exclude_resource_rules_count, exact,
                    &excluded))
        return false;
    return m->resource_rules_count == 0 ||
           named_match(adm, m->resource_rules, m->resource_rules_count, exact, ret_as);
}

/* --- objects ------------------------------------------------------------------------------------
 */
const struct api_kind *policy_kind(const struct admission *adm, const struct resource *as)
{
    return adm->kind != NULL ? adm->kind : as->kind;
}

struct json *policy_object_json(const struct admission *adm, const struct resource *as,
                                const void *obj)
{
    struct arena *a = adm->ctx->arena;
    const struct api_kind *k = policy_kind(adm, as);
    if (obj == NULL)
        return NULL;
    void *served = (void *)(uintptr_t)obj;
    if (adm->kind == NULL && as->kind != adm->res->storage)
        served = registry_from_storage(a, as, api_msg_clone(a, adm->res->storage->msg, obj));
    return api_json_tree(a, k->msg, served, str_of(k->api_version), str_of(k->kind));
}

struct meta_v1_status *policy_replace_object(const struct admission *adm, const struct resource *as,
                                             const struct json *tree)
{
    struct arena *a = adm->ctx->arena;
    const struct api_kind *k = policy_kind(adm, as);
    struct error err = {0};
    void *obj = api_msg_new(a, k->msg);
    if (api_json_decode_tree(a, k->msg, tree, API_LENIENT, NULL, obj, &err) != 0)
        return status_internal(a, "%s", error_message(&err));
    if (adm->kind != NULL) {
        memcpy(adm->obj, obj, k->msg->size);
        return NULL;
    }
    const struct api_msg *msg = adm->res->storage->msg;
    if (as->kind != adm->res->storage)
        obj = registry_to_storage(a, as, adm->res->storage, obj);
    memcpy(adm->obj, obj, msg->size);
    defaults_apply(a, msg, adm->obj);
    if (adm->res->ops->default_ != NULL)
        adm->res->ops->default_(adm->ctx, adm->obj);
    return NULL;
}

struct str policy_object_name(const struct admission *adm)
{
    const struct meta_v1_object_meta *m = meta_of(adm, adm->obj);
    return adm->ctx->name.len != 0 || m == NULL ? adm->ctx->name : m->name;
}
