/* Tests of apiserver/rbac.c and rbac_rules.c: what rules allow, who holds them,
 * and what a set of rules lacks of another. */
#include "apiserver/rbac.h"

#include "api/rbac_v1.h"
#include "apiserver/authz.h"
#include "apiserver/rbac_rules.h"
#include "apiserver/user.h"
#include "lib/base/arena.h"
#include "test/unit/unit.h"

static struct arena *arena;

static void setup(void)
{
    arena = arena_new(0);
}

static void teardown(void)
{
    arena_free(arena);
}

static struct str *list(struct arena *a, const char *commas, size_t *count)
{
    struct str *items = NULL, rest = str_of(commas), part;
    size_t cap = 0;
    *count = 0;
    for (bool more = commas != NULL; more;) {
        more = str_cut(rest, ',', &part, &rest);
        items = arena_grow(a, items, *count, &cap, sizeof(*items));
        items[(*count)++] = part;
    }
    return items;
}

static struct rbac_v1_policy_rule rule_in(struct arena *a, const char *verbs, const char *groups,
                                          const char *resources, const char *names)
{
    struct rbac_v1_policy_rule r = {0};
    r.verbs = list(a, verbs, &r.verbs_count);
    r.api_groups = list(a, groups, &r.api_groups_count);
    r.resources = list(a, resources, &r.resources_count);
    r.resource_names = list(a, names, &r.resource_names_count);
    return r;
}

static struct rbac_v1_policy_rule rule(const char *verbs, const char *groups, const char *resources,
                                       const char *names)
{
    return rule_in(arena, verbs, groups, resources, names);
}

static bool allows(struct rbac_v1_policy_rule r, const char *verb, const char *group,
                   const char *resource, const char *sub, const char *name)
{
    struct user u = {.name = STR("u")};
    struct authz_attributes at = {.user = &u,
                                  .verb = verb,
                                  .resource_request = true,
                                  .group = str_of(group),
                                  .resource = str_of(resource),
                                  .subresource = str_of(sub),
                                  .name = str_of(name)};
    return rbac_rules_allow(&r, 1, &at);
}

/* A rule allows the verbs, groups and resources it lists, and no others. */
START_TEST(rule_lists)
{
    struct rbac_v1_policy_rule r = rule("get,list", ",apps", "pods,deployments", NULL);
    ck_assert(allows(r, "get", "", "pods", "", "x"));
    ck_assert(allows(r, "list", "apps", "deployments", "", ""));
    ck_assert(!allows(r, "watch", "", "pods", "", ""));
    ck_assert(!allows(r, "get", "batch", "pods", "", ""));
    ck_assert(!allows(r, "get", "", "secrets", "", ""));
    ck_assert(!allows(r, "get", "", "pods", "log", "x"));
}
END_TEST

/* "*" stands for everything; "*" of resources for subresources as well. */
START_TEST(rule_stars)
{
    ck_assert(allows(rule("*", "*", "*", NULL), "anything", "any.group", "things", "sub", "n"));
    ck_assert(!allows(rule("*", "", "*", NULL), "get", "apps", "deployments", "", ""));
    ck_assert(!allows(rule("get", "*", "*", NULL), "list", "", "pods", "", ""));
}
END_TEST

/* A subresource is granted by its own name or by the form of any resource's. */
START_TEST(rule_subresources)
{
    ck_assert(allows(rule("get", "", "pods/log", NULL), "get", "", "pods", "log", "x"));
    ck_assert(!allows(rule("get", "", "pods/log", NULL), "get", "", "pods", "", "x"));
    ck_assert(
        allows(rule("get", "*", "*/scale", NULL), "get", "apps", "deployments", "scale", "x"));
    ck_assert(
        !allows(rule("get", "*", "*/scale", NULL), "get", "apps", "deployments", "status", "x"));
    ck_assert(!allows(rule("get", "*", "*/scale", NULL), "get", "apps", "deployments", "", "x"));
}
END_TEST

/* Names narrow a rule to them; a request without a name is none of them. */
START_TEST(rule_names)
{
    struct rbac_v1_policy_rule r = rule("get,list", "", "configmaps", "a,b");
    ck_assert(allows(r, "get", "", "configmaps", "", "b"));
    ck_assert(!allows(r, "get", "", "configmaps", "", "c"));
    ck_assert(!allows(r, "list", "", "configmaps", "", ""));
}
END_TEST

static bool allows_path(const char *urls, const char *verb, const char *path)
{
    struct user u = {.name = STR("u")};
    struct rbac_v1_policy_rule r = {0};
    struct authz_attributes at = {.user = &u, .verb = verb, .path = str_of(path)};
    r.verbs = list(arena, "get", &r.verbs_count);
    r.non_resource_urls = list(arena, urls, &r.non_resource_urls_count);
    return rbac_rules_allow(&r, 1, &at);
}

/* Paths are exact, or everything below a prefix that ends in "*". */
START_TEST(rule_paths)
{
    ck_assert(allows_path("/healthz", "get", "/healthz"));
    ck_assert(!allows_path("/healthz", "get", "/healthz/etcd"));
    ck_assert(!allows_path("/healthz", "post", "/healthz"));
    ck_assert(allows_path("/api/*", "get", "/api/v1"));
    ck_assert(!allows_path("/api/*", "get", "/apis"));
    ck_assert(allows_path("/a*", "get", "/apis"));
    ck_assert(allows_path("*", "get", "/anything"));
}
END_TEST

/* A name too long for any rule is refused, not cut. */
START_TEST(rule_long_name)
{
    char name[400];
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    ck_assert(!allows(rule("*", "*", "*", NULL), "get", "", name, "log", ""));
}
END_TEST

/* --- who holds rules ---------------------------------------------------------------------- */
static void add_role(struct rbac *r, const char *ns, const char *name, const char *verbs,
                     const char *resources)
{
    struct arena *own = arena_new(0);
    struct rbac_v1_policy_rule *rules = ARENA_NEW(own, struct rbac_v1_policy_rule);
    *rules = rule_in(own, verbs, "", resources, NULL);
    rbac_set_role(r, str_of(ns), str_of(name), rules, 1, own);
}

static void bind(struct rbac *r, const char *ns, const char *name, const char *role_kind,
                 const char *role, const char *kind, const char *subject)
{
    struct arena *own = arena_new(0);
    struct rbac_v1_role_ref *ref = ARENA_NEW(own, struct rbac_v1_role_ref);
    struct rbac_v1_subject *s = ARENA_NEW(own, struct rbac_v1_subject);
    struct str head, tail;
    ref->kind = str_of(role_kind);
    ref->name = str_of(role);
    s->kind = str_of(kind);
    s->name = str_of(subject);
    if (strcmp(kind, "ServiceAccount") == 0 && str_cut(s->name, '/', &head, &tail)) {
        s->namespace = head;
        s->name = tail;
    }
    rbac_set_binding(r, str_of(ns), str_of(name), ref, s, 1, own);
}

static struct str reason;

static bool may(const struct rbac *r, const char *name, const char *group, const char *verb,
                const char *ns, const char *resource)
{
    struct str g = str_of(group);
    struct user u = {.name = str_of(name), .groups = &g, .group_count = group != NULL};
    struct authz_attributes at = {.user = &u,
                                  .verb = verb,
                                  .resource_request = true,
                                  .resource = str_of(resource),
                                  .ns = str_of(ns)};
    return rbac_allows(r, arena, &at, true, &reason);
}

/* A ClusterRoleBinding holds everywhere, a RoleBinding in its namespace. */
START_TEST(index_scopes)
{
    struct rbac *r = rbac_new();
    add_role(r, "", "reader", "get", "pods");
    bind(r, "", "all", "ClusterRole", "reader", "User", "ann");
    bind(r, "team", "some", "ClusterRole", "reader", "Group", "devs");
    ck_assert(may(r, "ann", NULL, "get", "", "pods"));
    ck_assert(may(r, "ann", NULL, "get", "any", "pods"));
    ck_assert_str_eq(str_c(reason),
                     "RBAC: allowed by ClusterRoleBinding \"all\" of ClusterRole \"reader\" to "
                     "User \"ann\"");
    ck_assert(may(r, "bob", "devs", "get", "team", "pods"));
    ck_assert_str_eq(str_c(reason), "RBAC: allowed by RoleBinding \"some/team\" of ClusterRole "
                                    "\"reader\" to Group \"devs\"");
    ck_assert(!may(r, "bob", "devs", "get", "other", "pods"));
    ck_assert(!may(r, "bob", "devs", "get", "", "pods"));
    ck_assert(!may(r, "devs", "ann", "get", "", "pods"));
    rbac_free(r);
}
END_TEST

/* A service account is the user of its name; without a namespace it is the
 * binding's own. */
START_TEST(index_accounts)
{
    struct rbac *r = rbac_new();
    add_role(r, "team", "reader", "get", "pods");
    bind(r, "team", "here", "Role", "reader", "ServiceAccount", "bot");
    bind(r, "team", "there", "Role", "reader", "ServiceAccount", "other/bot");
    ck_assert(may(r, "system:serviceaccount:team:bot", NULL, "get", "team", "pods"));
    ck_assert_str_eq(str_c(reason), "RBAC: allowed by RoleBinding \"here/team\" of Role "
                                    "\"reader\" to ServiceAccount \"bot/team\"");
    ck_assert(may(r, "system:serviceaccount:other:bot", NULL, "get", "team", "pods"));
    ck_assert(!may(r, "system:serviceaccount:third:bot", NULL, "get", "team", "pods"));
    ck_assert(!may(r, "bot", NULL, "get", "team", "pods"));
    rbac_free(r);
}
END_TEST

/* A role that is bound before it is there is told of, and holds once it is made. */
START_TEST(index_missing_role)
{
    struct rbac *r = rbac_new();
    bind(r, "", "b", "ClusterRole", "late", "User", "ann");
    ck_assert(!may(r, "ann", NULL, "get", "", "pods"));
    ck_assert_str_eq(str_c(reason),
                     "RBAC: clusterrole.rbac.authorization.k8s.io \"late\" not found");
    bind(r, "n", "c", "Role", "later", "User", "ann");
    ck_assert(!may(r, "ann", NULL, "get", "n", "pods"));
    ck_assert_str_eq(str_c(reason),
                     "RBAC: [clusterrole.rbac.authorization.k8s.io \"late\" not found, "
                     "role.rbac.authorization.k8s.io \"later\" not found]");
    add_role(r, "", "late", "get", "pods");
    ck_assert(may(r, "ann", NULL, "get", "", "pods"));
    rbac_remove_role(r, STR(""), STR("late"));
    ck_assert(!may(r, "ann", NULL, "get", "", "pods"));
    rbac_free(r);
}
END_TEST

/* What is changed or taken away no longer holds; the rest stays. */
START_TEST(index_changes)
{
    struct rbac *r = rbac_new();
    add_role(r, "", "reader", "get", "pods");
    bind(r, "a", "b", "ClusterRole", "reader", "User", "ann");
    bind(r, "b", "b", "ClusterRole", "reader", "User", "ann");
    bind(r, "", "b", "ClusterRole", "reader", "User", "bob");
    ck_assert(may(r, "ann", NULL, "get", "a", "pods") && may(r, "ann", NULL, "get", "b", "pods"));
    bind(r, "a", "b", "ClusterRole", "reader", "User", "cat"); /* In place of ann's. */
    ck_assert(!may(r, "ann", NULL, "get", "a", "pods") && may(r, "ann", NULL, "get", "b", "pods"));
    ck_assert(may(r, "cat", NULL, "get", "a", "pods"));
    rbac_remove_binding(r, STR("b"), STR("b"));
    ck_assert(!may(r, "ann", NULL, "get", "b", "pods"));
    rbac_remove_binding(r, STR("b"), STR("b"));
    add_role(r, "", "reader", "list", "pods");
    ck_assert(!may(r, "bob", NULL, "get", "", "pods") && may(r, "bob", NULL, "list", "", "pods"));
    rbac_free(r);
}
END_TEST

/* --- what is lacking ------------------------------------------------------------------------ */
static const char *lacking(const struct rbac_v1_policy_rule *held, size_t count,
                           struct rbac_v1_policy_rule wanted)
{
    struct rbac_v1_policy_rule *missing;
    struct str text = STR("");
    size_t n = rbac_rules_missing(arena, held, count, &wanted, 1, &missing);
    for (size_t i = 0; i < n; i++)
        text = arena_printf(arena, STR_FMT STR_FMT, STR_ARG(text),
                            STR_ARG(rbac_rule_text(arena, &missing[i])));
    return str_c(text);
}

/* What several rules hold together is held; the rest is told by resource. */
START_TEST(missing_parts)
{
    struct rbac_v1_policy_rule held[] = {rule("get,list", "", "pods", NULL),
                                         rule("*", "apps", "*", NULL),
                                         rule("get", "", "secrets", "a")};
    ck_assert_str_eq(lacking(held, 3, rule("get,list", "", "pods", NULL)), "");
    ck_assert_str_eq(lacking(held, 3, rule("get", "", "pods", "x")), "");
    ck_assert_str_eq(lacking(held, 3, rule("delete", "apps", "deployments/scale", NULL)), "");
    ck_assert_str_eq(lacking(held, 3, rule("get,watch,delete", "", "pods", NULL)),
                     "{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"watch\" \"delete\"]}");
    ck_assert_str_eq(lacking(held, 3, rule("get", "", "secrets", NULL)),
                     "{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}");
    ck_assert_str_eq(lacking(held, 3, rule("get", "", "secrets", "a,b")),
                     "{APIGroups:[\"\"], Resources:[\"secrets\"], ResourceNames:[\"b\"], "
                     "Verbs:[\"get\"]}");
    ck_assert_str_eq(lacking(held, 3, rule("*", "*", "*", NULL)),
                     "{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}");
}
END_TEST

/* A rule of more parts than are looked at is not taken for held. */
START_TEST(missing_too_many)
{
    struct rbac_v1_policy_rule held = rule("*", "*", "*", NULL),
                               wanted = rule("get", "", "a", NULL), *missing;
    wanted.verbs_count = wanted.resources_count = wanted.api_groups_count = 50;
    wanted.verbs = wanted.resources = wanted.api_groups = ARENA_ARRAY(arena, struct str, 50);
    for (size_t i = 0; i < 50; i++)
        wanted.verbs[i] = STR("x");
    ck_assert_uint_ne(rbac_rules_missing(arena, &held, 1, &wanted, 1, &missing), 0);
}
END_TEST

UNIT_MAIN("rbac", {
    tcase_add_checked_fixture(tc, setup, teardown);
    UNIT_TEST(rule_lists);
    UNIT_TEST(rule_stars);
    UNIT_TEST(rule_subresources);
    UNIT_TEST(rule_names);
    UNIT_TEST(rule_paths);
    UNIT_TEST(rule_long_name);
    UNIT_TEST(index_scopes);
    UNIT_TEST(index_accounts);
    UNIT_TEST(index_missing_role);
    UNIT_TEST(index_changes);
    UNIT_TEST(missing_parts);
    UNIT_TEST(missing_too_many);
})
