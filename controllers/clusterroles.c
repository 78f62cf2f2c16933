/* clusterroles.c - fills ClusterRoles that aggregate others (admin, edit, view)
 * with the rules of those their selectors match. */
#include "controllers/controller.h"

#include "api/rbac_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/client/labels.h"

static void touch(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    const struct informer *roles =
        controller_informer(r, "rbac.authorization.k8s.io", "ClusterRole");
    size_t pos = 0;
    struct api_object *x;
    UNUSED(old), UNUSED(o);
    while ((x = informer_next(roles, &pos)) != NULL)
        if (((const struct rbac_v1_cluster_role *)x->msg)->aggregation_rule != NULL)
            controller_enqueue_object(r, x);
}

static bool selects(const struct rbac_v1_aggregation_rule *a, const struct meta_v1_object_meta *m)
{
    for (size_t i = 0; i < a->cluster_role_selectors_count; i++)
        if (label_selector_matches(&a->cluster_role_selectors[i], m->labels, m->labels_count))
            return true;
    return false;
}

static int by_name(const void *x, const void *y)
{
    return str_cmp(api_object_meta(*(struct api_object *const *)x)->name,
                   api_object_meta(*(struct api_object *const *)y)->name);
}

static void add_rules(struct reconcile *c, struct rbac_v1_cluster_role *role, size_t *cap,
                      const struct rbac_v1_cluster_role *from)
{
    for (size_t i = 0; i < from->rules_count; i++) {
        bool known = false;
        for (size_t k = 0; k < role->rules_count && !known; k++)
            known = api_msg_equal(&rbac_v1_policy_rule_msg, &role->rules[k], &from->rules[i]);
        if (known)
            continue;
        role->rules =
            arena_grow(c->arena, role->rules, role->rules_count, cap, sizeof(*role->rules));
        role->rules[role->rules_count++] = from->rules[i];
    }
}

static void reconcile(struct reconcile *c)
{
    const struct informer *roles =
        controller_informer(c->run, "rbac.authorization.k8s.io", "ClusterRole");
    struct api_object *o = informer_get_key(roles, c->key);
    const struct rbac_v1_cluster_role *role = o != NULL ? o->msg : NULL;
    if (role == NULL || role->aggregation_rule == NULL || role->metadata.deletion_timestamp != NULL)
        return;
    struct api_object **list =
        ARENA_ARRAY(c->arena, struct api_object *, informer_count(roles) + 1);
    size_t count = 0, pos = 0, cap = 0;
    struct api_object *x;
    while ((x = informer_next(roles, &pos)) != NULL)
        if (x != o && selects(role->aggregation_rule, api_object_meta(x)))
            list[count++] = x;
    if (count == 0)
        return; /* Rather the rules it has than none: nothing is there to take them from. */
    qsort(list, count, sizeof(*list), by_name);
    struct rbac_v1_cluster_role *copy = reconcile_copy(c, o);
    copy->rules = NULL;
    copy->rules_count = 0;
    for (size_t i = 0; i < count; i++)
        add_rules(c, copy, &cap, list[i]->msg);
    if (!api_msg_equal(&rbac_v1_cluster_role_msg, copy, role))
        reconcile_update(c, o->kind, copy, NULL);
}

static const struct controller_watch watches[] = {
    {"rbac.authorization.k8s.io", "v1", "ClusterRole", touch},
    {0},
};

const struct controller controller_clusterroles = {
    .name = "clusterrole-aggregation-controller",
    .workers = 1,
    .watches = watches,
    .reconcile = reconcile,
};
