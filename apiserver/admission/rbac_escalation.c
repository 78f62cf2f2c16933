/* rbac_escalation.c - nobody grants what he does not hold: a role may say only
 * what its writer may do, a binding may refer only to such roles; unless the
 * writer holds the verb escalate on roles, or bind on the role. */
#include "apiserver/admission/plugins.h"

#include "api/meta_v1.h"
#include "api/rbac_v1.h"
#include "apiserver/apiserver.h"
#include "apiserver/authz.h"
#include "apiserver/kinds/rbac.h"
#include "apiserver/rbac_rules.h"
#include "apiserver/registry.h"
#include "apiserver/user.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

static bool may(const struct admission *adm, const char *verb, struct str group,
                const char *resource, struct str name)
{
    struct str reason;
    struct authz_attributes at = {.user = adm->ctx->user,
                                  .asks = adm->ctx->asks,
                                  .verb = verb,
                                  .resource_request = true,
                                  .group = group,
                                  .version = STR("v1"),
                                  .resource = str_of(resource),
                                  .name = name,
                                  .ns = adm->ctx->namespace_};
    return authz_decide(adm->ctx->server->authz, adm->ctx->arena, &at, false, &reason) ==
           AUTHZ_ALLOW;
}

/* --- what the writer lacks ------------------------------------------------------------------ */
static int compare(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

/* NULL text: nothing is lacking. */
static struct str lacking(const struct admission *adm, const struct rbac_v1_policy_rule *wanted,
                          size_t count)
{
    struct arena *a = adm->ctx->arena;
    const struct user *u = adm->ctx->user;
    struct rbac_v1_policy_rule *held, *missing;
    struct str errors;
    size_t held_count =
        authz_rules_of(adm->ctx->server->authz, a, u, adm->ctx->namespace_, &held, &errors);
    size_t n = rbac_rules_missing(a, held, held_count, wanted, count, &missing);
    if (n == 0)
        return STR_NULL;
    AUTO_BUF b = BUF_INIT;
    buf_printf(&b, "user \"" STR_FMT "\" (groups=[", STR_ARG(u->name));
    for (size_t i = 0; i < u->group_count; i++)
        buf_printf(&b, "%s\"" STR_FMT "\"", i != 0 ? " " : "", STR_ARG(u->groups[i]));
    buf_puts(&b, "]) is attempting to grant RBAC permissions not currently held:\n");
    struct str *texts = ARENA_ARRAY(a, struct str, n);
    for (size_t i = 0; i < n; i++)
        texts[i] = rbac_rule_text(a, &missing[i]);
    qsort(texts, n, sizeof(*texts), compare);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || !str_eq(texts[i], texts[i - 1]))
            buf_printf(&b, "%s" STR_FMT, i != 0 ? "\n" : "", STR_ARG(texts[i]));
    if (errors.len != 0)
        buf_printf(&b,
                   errors.data[0] == '[' ? "; resolution errors: " STR_FMT
                                         : "; resolution errors: [" STR_FMT "]",
                   STR_ARG(errors));
    return arena_str(a, buf_str(&b));
}

static struct meta_v1_status *check_held(const struct admission *adm,
                                         const struct rbac_v1_policy_rule *rules, size_t count)
{
    struct str text = lacking(adm, rules, count);
    return text.len == 0 ? NULL
                         : status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name, STR_FMT,
                                            STR_ARG(text));
}

/* --- roles -------------------------------------------------------------------------------------
 */
static bool aggregates(const struct rbac_v1_cluster_role *r)
{
    return r != NULL && r->aggregation_rule != NULL &&
           r->aggregation_rule->cluster_role_selectors_count != 0;
}

/* Such a role gathers anything. */
static struct meta_v1_status *check_aggregation(const struct admission *adm)
{
    struct str any = STR("*");
    struct rbac_v1_policy_rule all[] = {
        {.verbs = &any,
         .verbs_count = 1,
         .api_groups = &any,
         .api_groups_count = 1,
         .resources = &any,
         .resources_count = 1},
        {.verbs = &any, .verbs_count = 1, .non_resource_urls = &any, .non_resource_urls_count = 1}};
    if (!(aggregates(adm->obj) || aggregates(adm->old)) ||
        lacking(adm, all, ARRAY_SIZE(all)).len == 0)
        return NULL;
    return status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name,
                            "must have cluster-admin privileges to use the aggregationRule");
}

static struct meta_v1_status *check_role(const struct admission *adm, bool cluster)
{
    const struct rbac_v1_role *role = adm->obj; /* ClusterRole begins alike. */
    if (may(adm, "escalate", STR(RBAC_GROUP), cluster ? "clusterroles" : "roles",
            adm->op == ADMIT_CREATE ? STR_NULL : adm->ctx->name))
        return NULL;
    struct meta_v1_status *s = check_held(adm, role->rules, role->rules_count);
    return s == NULL && cluster ? check_aggregation(adm) : s;
}

/* --- bindings ------------------------------------------------------------------------------------
 */
static struct meta_v1_status *check_binding(const struct admission *adm)
{
    const struct rbac_v1_role_binding *b = adm->obj; /* As ClusterRoleBinding. */
    const struct rbac_v1_role_ref *ref = &b->role_ref;
    bool cluster = str_eqc(ref->kind, "ClusterRole");
    struct rbac_v1_policy_rule *rules;
    size_t count;
    if (!cluster && !str_eqc(ref->kind, "Role"))
        return NULL; /* Validation tells. */
    if (may(adm, "bind", ref->api_group, cluster ? "clusterroles" : "roles", ref->name))
        return NULL;
    if (!authz_role_rules(adm->ctx->server->authz, adm->ctx->arena, adm->ctx->namespace_, ref,
                          &rules, &count))
        return status_not_found(
            adm->ctx->arena,
            (struct group_resource){STR(RBAC_GROUP), cluster ? STR("clusterrole") : STR("role")},
            ref->name);
    return check_held(adm, rules, count);
}

/* --- when
 * --------------------------------------------------------------------------------------------- */
/* Only what the garbage collector changes, so that it can let go of anything. */
static bool only_collected(const struct admission *adm)
{
    struct arena *a = adm->ctx->arena;
    const struct api_msg *msg = adm->res->storage->msg;
    if (adm->old == NULL)
        return false;
    void *x = api_msg_clone(a, msg, adm->obj), *y = api_msg_clone(a, msg, adm->old);
    struct meta_v1_object_meta *metas[] = {api_meta_of(adm->res->storage, x),
                                           api_meta_of(adm->res->storage, y)};
    for (size_t i = 0; i < ARRAY_SIZE(metas); i++) {
        metas[i]->owner_references_count = metas[i]->finalizers_count = 0;
        metas[i]->managed_fields_count = 0;
        metas[i]->resource_version = STR_NULL;
        metas[i]->generation = 0;
    }
    api_msg_drop_empty(msg, x);
    api_msg_drop_empty(msg, y);
    return api_msg_equal(msg, x, y);
}

static struct meta_v1_status *mutate(const struct admission *adm)
{
    if (strcmp(adm->res->kind->group, RBAC_GROUP) != 0 || adm->ctx->server == NULL ||
        (adm->op != ADMIT_CREATE && adm->op != ADMIT_UPDATE) ||
        user_in_group(adm->ctx->user, GROUP_MASTERS) || only_collected(adm))
        return NULL;
    const char *resource = adm->res->kind->resource;
    if (strcmp(resource, "clusterroles") == 0 || strcmp(resource, "roles") == 0)
        return check_role(adm, resource[0] == 'c');
    return check_binding(adm);
}

const struct admission_plugin admission_rbac_escalation = {
    .name = NULL, /* No plugin upstream either: it cannot be switched off. */
    .ops = ADMIT_WRITES,
    .mutate = mutate,
};
