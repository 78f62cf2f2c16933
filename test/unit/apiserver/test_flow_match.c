/* Which FlowSchema takes a request: subjects, resources, paths; and the built-in ones. */
#include "apiserver/flow_match.h"

#include "api/flowcontrol_v1.h"
#include "apiserver/bootstrap_objects.h"
#include "apiserver/flow_objects.h"
#include "apiserver/kind.h"
#include "apiserver/registry.h"
#include "apiserver/request_info.h"
#include "apiserver/user.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

static struct arena *a;

static const struct flowcontrol_v1_flow_schema_spec *spec_of(const char *json)
{
    struct error err = {0};
    struct flowcontrol_v1_flow_schema_spec *s =
        ARENA_NEW(a, struct flowcontrol_v1_flow_schema_spec);
    int code = api_json_decode(a, &flowcontrol_v1_flow_schema_spec_msg, str_of(json), API_STRICT,
                               NULL, s, &err);
    ck_assert_msg(code == 0, "%s", error_message(&err));
    return s;
}

static struct request_info info_of(const char *method, const char *target)
{
    struct request_info i;
    struct str path, query;
    str_cut(str_of(target), '?', &path, &query);
    ck_assert_int_eq(request_info_parse(a, str_of(method), path, query, &i), 0);
    return i;
}

static bool matches(const char *rule, const struct user *u, const char *method, const char *target)
{
    struct request_info i = info_of(method, target);
    return flow_match(spec_of(arena_strdup(a, arena_printf(a, "{\"rules\":[%s]}", rule).data)), u,
                      &i);
}

static const struct str system_groups[] = {{"system:authenticated", 20}, {"devs", 4}};
static const struct user jane = {.name = {"jane", 4}, .groups = system_groups, .group_count = 2};
static const struct user account = {.name = {"system:serviceaccount:shop:cart", 31}};

#define PODS                                                                                       \
    "\"resourceRules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"],"         \
    "\"namespaces\":[\"*\"]}]"
#define SUBJECT(s) "{\"subjects\":[" s "]," PODS "}"

/* Users, groups and service accounts, by name or by '*'. */
START_TEST(subjects)
{
    static const struct {
        const char *rule;
        bool jane, account;
    } cases[] = {
        {SUBJECT("{\"kind\":\"User\",\"user\":{\"name\":\"jane\"}}"), true, false},
        {SUBJECT("{\"kind\":\"User\",\"user\":{\"name\":\"*\"}}"), true, true},
        {SUBJECT("{\"kind\":\"Group\",\"group\":{\"name\":\"devs\"}}"), true, false},
        {SUBJECT("{\"kind\":\"Group\",\"group\":{\"name\":\"dev\"}}"), false, false},
        {SUBJECT("{\"kind\":\"Group\",\"group\":{\"name\":\"*\"}}"), true, true},
        {SUBJECT("{\"kind\":\"ServiceAccount\",\"serviceAccount\":{\"namespace\":\"shop\","
                 "\"name\":\"cart\"}}"),
         false, true},
        {SUBJECT("{\"kind\":\"ServiceAccount\",\"serviceAccount\":{\"namespace\":\"shop\","
                 "\"name\":\"*\"}}"),
         false, true},
        {SUBJECT("{\"kind\":\"ServiceAccount\",\"serviceAccount\":{\"namespace\":\"sho\","
                 "\"name\":\"*\"}}"),
         false, false},
        {SUBJECT("{\"kind\":\"ServiceAccount\",\"serviceAccount\":{\"namespace\":\"shop\","
                 "\"name\":\"car\"}}"),
         false, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *target = "/api/v1/namespaces/x/pods";
        ck_assert_msg(matches(cases[i].rule, &jane, "GET", target) == cases[i].jane, "%zu", i);
        ck_assert_msg(matches(cases[i].rule, &account, "GET", target) == cases[i].account, "%zu",
                      i);
    }
}
END_TEST

#define EVERYBODY "\"subjects\":[{\"kind\":\"Group\",\"group\":{\"name\":\"*\"}}]"
#define RESOURCE(verbs, groups, resources, namespaces, more)                                       \
    "{" EVERYBODY ",\"resourceRules\":[{\"verbs\":[" verbs "],\"apiGroups\":[" groups              \
    "],\"resources\":[" resources "],\"namespaces\":[" namespaces "]" more "}]}"

/* Verbs, groups, resources with subresources, namespaces and the cluster scope. */
START_TEST(resources)
{
    static const struct {
        const char *rule, *method, *target;
        bool matches;
    } cases[] = {
        {RESOURCE("\"list\"", "\"\"", "\"pods\"", "\"*\"", ""), "GET", "/api/v1/namespaces/x/pods",
         true},
        {RESOURCE("\"list\"", "\"\"", "\"pods\"", "\"*\"", ""), "GET", "/api/v1/pods", false},
        {RESOURCE("\"list\"", "\"\"", "\"pods\"", "\"*\"", ",\"clusterScope\":true"), "GET",
         "/api/v1/pods", true},
        {RESOURCE("\"list\"", "\"\"", "\"pods\"", "\"*\"", ",\"clusterScope\":true"), "GET",
         "/api/v1/pods?watch=1", false},
        {RESOURCE("\"*\"", "\"\"", "\"pods\"", "\"a\",\"b\"", ""), "GET",
         "/api/v1/namespaces/b/pods/x", true},
        {RESOURCE("\"*\"", "\"\"", "\"pods\"", "\"a\",\"b\"", ""), "GET",
         "/api/v1/namespaces/c/pods/x", false},
        {RESOURCE("\"*\"", "\"\"", "\"pods\"", "\"*\"", ""), "PUT",
         "/api/v1/namespaces/c/pods/x/status", false},
        {RESOURCE("\"*\"", "\"\"", "\"pods/status\"", "\"*\"", ""), "PUT",
         "/api/v1/namespaces/c/pods/x/status", true},
        {RESOURCE("\"*\"", "\"\"", "\"pods/status\"", "\"*\"", ""), "PUT",
         "/api/v1/namespaces/c/pods/x", false},
        {RESOURCE("\"*\"", "\"apps\"", "\"*\"", "\"*\"", ""), "GET",
         "/apis/apps/v1/namespaces/c/deployments", true},
        {RESOURCE("\"*\"", "\"apps\"", "\"*\"", "\"*\"", ""), "GET", "/api/v1/namespaces/c/pods",
         false},
        {RESOURCE("\"*\"", "\"*\"", "\"*\"", "\"*\"", ",\"clusterScope\":true"), "GET", "/version",
         false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ck_assert_msg(matches(cases[i].rule, &jane, cases[i].method, cases[i].target) ==
                          cases[i].matches,
                      "%zu", i);
}
END_TEST

#define URLS(verbs, urls)                                                                          \
    "{" EVERYBODY ",\"nonResourceRules\":[{\"verbs\":[" verbs "],\"nonResourceURLs\":[" urls "]}]" \
    "}"

/* Paths, what is below them, and verbs in lower case. */
START_TEST(paths)
{
    static const struct {
        const char *rule, *method, *target;
        bool matches;
    } cases[] = {
        {URLS("\"get\"", "\"/healthz\""), "GET", "/healthz", true},
        {URLS("\"get\"", "\"/healthz\""), "GET", "/healthz/ping", true},
        {URLS("\"get\"", "\"/healthz\""), "GET", "/healthzz", false},
        {URLS("\"get\"", "\"/healthz\""), "POST", "/healthz", false},
        {URLS("\"*\"", "\"/healthz/*\""), "POST", "/healthz/ping", true},
        {URLS("\"*\"", "\"/healthz/*\""), "POST", "/healthz", false},
        {URLS("\"*\"", "\"*\""), "PUT", "/anything", true},
        {URLS("\"*\"", "\"*\""), "GET", "/api/v1/nodes", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ck_assert_msg(matches(cases[i].rule, &jane, cases[i].method, cases[i].target) ==
                          cases[i].matches,
                      "%zu", i);
}
END_TEST

/* The built-in schemas, in order of precedence: who goes where. */
static const char *schema_for(const struct user *u, const char *method, const char *target)
{
    struct kind_ctx ctx = {.arena = a, .env = env_system(), .subresource = ""};
    struct request_info info = info_of(method, target);
    struct builtin b;
    for (size_t i = 0; flow_builtin_make(&ctx, i, &b); i++) { /* They are made in that order. */
        if (strcmp(b.res->storage->kind, "FlowSchema") != 0)
            continue;
        const struct flowcontrol_v1_flow_schema *f = b.obj;
        if (flow_match(&f->spec, u, &info))
            return arena_strdup(a, b.name.data);
    }
    return "none";
}

START_TEST(built_in_schemas)
{
#define GROUPS(...)                                                                                \
    .groups = (const struct str[]){__VA_ARGS__},                                                   \
    .group_count = sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str)
    const struct user admin = {.name = STR("admin"),
                               GROUPS(STR("system:masters"), STR("system:authenticated"))};
    const struct user node = {.name = STR("system:node:n1"),
                              GROUPS(STR("system:nodes"), STR("system:authenticated"))};
    const struct user manager = {.name = STR("system:kube-controller-manager"),
                                 GROUPS(STR("system:authenticated"))};
    const struct user app = {.name = STR("system:serviceaccount:shop:cart"),
                             GROUPS(STR("system:serviceaccounts"), STR("system:authenticated"))};
    const struct user addon = {.name = STR("system:serviceaccount:kube-system:dns"),
                               GROUPS(STR("system:serviceaccounts"), STR("system:authenticated"))};
    const struct user nobody = {.name = STR("system:anonymous"),
                                GROUPS(STR("system:unauthenticated"))};
    const struct user odd = {.name = STR("odd")};
    const char *lease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x";
    const char *pods = "/api/v1/namespaces/x/pods";
    const struct {
        const struct user *user;
        const char *method, *target, *schema;
    } cases[] = {
        {&admin, "GET", pods, "exempt"},
        {&node, "PUT", lease, "system-node-high"},
        {&node, "PATCH", "/api/v1/nodes/n1/status", "system-node-high"},
        {&node, "GET", pods, "system-nodes"},
        {&node, "GET", "/healthz", "probes"},
        {&manager, "PUT", lease, "system-leader-election"},
        {&manager, "GET", pods, "kube-controller-manager"},
        {&manager, "PUT", "/api/v1/namespaces/x/endpoints/y", "kube-controller-manager"},
        {&addon, "PUT", lease, "system-leader-election"},
        {&addon, "GET", pods, "kube-system-service-accounts"},
        {&app, "PUT", lease, "service-accounts"},
        {&app, "GET", pods, "service-accounts"},
        {&jane, "GET", pods, "global-default"},
        {&nobody, "GET", "/livez/ping", "probes"},
        {&nobody, "GET", "/version", "global-default"},
        {&odd, "GET", pods, "none"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ck_assert_str_eq(schema_for(cases[i].user, cases[i].method, cases[i].target),
                         cases[i].schema);
}
END_TEST

/* Flows of a schema are told apart by user, by namespace, or not at all. */
START_TEST(distinguishers)
{
    struct request_info i = info_of("GET", "/api/v1/namespaces/x/pods");
    ck_assert(str_eqc(
        flow_distinguisher(spec_of("{\"distinguisherMethod\":{\"type\":\"ByUser\"}}"), &jane, &i),
        "jane"));
    ck_assert(
        str_eqc(flow_distinguisher(spec_of("{\"distinguisherMethod\":{\"type\":\"ByNamespace\"}}"),
                                   &jane, &i),
                "x"));
    ck_assert_uint_eq(flow_distinguisher(spec_of("{}"), &jane, &i).len, 0);
}
END_TEST

UNIT_MAIN("flow_match", {
    registry_init();
    a = arena_new(0);
    UNIT_TEST(subjects);
    UNIT_TEST(resources);
    UNIT_TEST(paths);
    UNIT_TEST(built_in_schemas);
    UNIT_TEST(distinguishers);
})
