/* Tests of apiserver/rbac_policy.c: the built-in roles, and how stored ones are
 * brought up to date. */
#include "apiserver/rbac_policy.h"

#include "api/meta_v1.h"
#include "api/rbac_v1.h"
#include "apiserver/kinds/kinds.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "test/unit/unit.h"

static struct arena *arena;

static void setup(void)
{
    registry_init();
    arena = arena_new(0);
}

static void teardown(void)
{
    arena_free(arena);
}

static struct policy_object find(const char *resource, const char *name)
{
    struct policy_object o;
    for (size_t i = 0; policy_make(arena, i, &o); i++)
        if (strcmp(o.res->kind->resource, resource) == 0 && str_eqc(o.name, name))
            return o;
    ck_abort_msg("no %s %s", resource, name);
}

/* Every object is valid, and there once; every binding's role exists. */
START_TEST(objects)
{
    struct policy_object o, other;
    for (size_t i = 0; policy_make(arena, i, &o); i++) {
        struct field_errors errs = {.arena = arena};
        struct kind_ctx ctx = {.arena = arena, .ops = o.res->ops, .kind = o.res->storage};
        o.res->ops->validate_create(&ctx, o.obj, &errs);
        ck_assert_msg(errs.count == 0, "%s", str_c(o.name));
        for (size_t j = 0; j < i && policy_make(arena, j, &other); j++)
            ck_assert_msg(other.res != o.res || !str_eq(other.name, o.name) ||
                              !str_eq(other.ns, o.ns),
                          "%s twice", str_c(o.name));
        if (strcmp(o.res->kind->resource, "clusterrolebindings") == 0)
            find("clusterroles",
                 str_c(((const struct rbac_v1_cluster_role_binding *)o.obj)->role_ref.name));
        if (strcmp(o.res->kind->resource, "rolebindings") == 0)
            find("roles", str_c(((const struct rbac_v1_role_binding *)o.obj)->role_ref.name));
    }
}
END_TEST

/* What is as it was made lacks nothing. */
START_TEST(unchanged)
{
    struct policy_object o;
    bool replace;
    for (size_t i = 0; policy_make(arena, i, &o); i++)
        ck_assert_msg(!policy_reconcile(arena, &o, api_msg_clone(arena, o.res->storage->msg, o.obj),
                                        &replace),
                      "%s", str_c(o.name));
}
END_TEST

/* Rules that are missing come back; those that were added stay. */
START_TEST(role_rules)
{
    struct policy_object o = find("clusterroles", "system:basic-user");
    const struct rbac_v1_cluster_role *want = o.obj;
    struct rbac_v1_cluster_role *have = api_msg_clone(arena, &rbac_v1_cluster_role_msg, o.obj);
    struct policy_object other = find("clusterroles", "system:kube-dns");
    bool replace;
    have->rules[1] = ((const struct rbac_v1_cluster_role *)other.obj)->rules[0];
    have->metadata.labels_count = 0;
    ck_assert(policy_reconcile(arena, &o, have, &replace) && !replace);
    ck_assert_uint_eq(have->rules_count, 3);
    ck_assert(api_msg_equal(&rbac_v1_policy_rule_msg, &have->rules[2], &want->rules[1]));
    ck_assert_uint_eq(have->metadata.labels_count, 1);
    ck_assert(!policy_reconcile(arena, &o, have, &replace));
}
END_TEST

/* Subjects come back; another role means another binding; "false" means hands off. */
START_TEST(bindings)
{
    struct policy_object o = find("clusterrolebindings", "system:public-info-viewer");
    struct rbac_v1_cluster_role_binding *have =
        api_msg_clone(arena, &rbac_v1_cluster_role_binding_msg, o.obj);
    bool replace;
    have->subjects_count = 1;
    ck_assert(policy_reconcile(arena, &o, have, &replace) && !replace);
    ck_assert_uint_eq(have->subjects_count, 2);
    have->role_ref.name = STR("view");
    ck_assert(policy_reconcile(arena, &o, have, &replace) && replace);
    have->metadata.annotations->value = STR("false");
    ck_assert(!policy_reconcile(arena, &o, have, &replace));
}
END_TEST

UNIT_MAIN("rbac_policy", {
    tcase_add_checked_fixture(tc, setup, teardown);
    UNIT_TEST(objects);
    UNIT_TEST(unchanged);
    UNIT_TEST(role_rules);
    UNIT_TEST(bindings);
})
