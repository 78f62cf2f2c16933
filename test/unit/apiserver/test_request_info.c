/* test_request_info.c - what methods and paths ask for. */
#include "apiserver/request_info.h"

#include "lib/base/arena.h"
#include "test/unit/unit.h"

static struct request_info parse(struct arena *a, const char *method, const char *path,
                                 const char *query)
{
    struct request_info r;
    ck_assert_int_eq(request_info_parse(a, str_of(method), str_of(path), str_of(query), &r), 0);
    return r;
}

#define ck_str(s, c) ck_assert_msg(str_eqc((s), (c)), "%.*s is not %s", STR_ARG(s), (c))

/* Verbs follow from method, name and the watch parameter. */
START_TEST(verbs)
{
    static const struct {
        const char *method, *path, *query, *verb;
    } cases[] = {
        {"GET", "/api/v1/namespaces/n/pods", "", "list"},
        {"GET", "/api/v1/namespaces/n/pods", "watch=true", "watch"},
        {"GET", "/api/v1/namespaces/n/pods", "watch=false", "list"},
        {"GET", "/api/v1/namespaces/n/pods/p", "watch=true", "get"},
        {"GET", "/api/v1/watch/namespaces/n/pods", "", "watch"},
        {"POST", "/api/v1/namespaces/n/pods", "", "create"},
        {"PUT", "/api/v1/namespaces/n/pods/p", "", "update"},
        {"PATCH", "/api/v1/namespaces/n/pods/p", "", "patch"},
        {"DELETE", "/api/v1/namespaces/n/pods/p", "", "delete"},
        {"DELETE", "/api/v1/namespaces/n/pods", "", "deletecollection"},
        {"OPTIONS", "/api/v1/pods", "", "options"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct request_info r = parse(a, cases[i].method, cases[i].path, cases[i].query);
        ck_assert_str_eq(r.verb, cases[i].verb);
        ck_assert(r.is_resource);
        ck_str(r.resource, "pods");
    }
}
END_TEST

/* Group, version, namespace, name, subresource and what is behind it. */
START_TEST(parts)
{
    AUTO_ARENA *a = arena_new(0);
    struct request_info r = parse(a, "GET", "/apis/apps/v1/namespaces/n/deployments/d/scale", "");
    ck_str(r.group, "apps");
    ck_str(r.version, "v1");
    ck_str(r.ns, "n");
    ck_str(r.resource, "deployments");
    ck_str(r.name, "d");
    ck_str(r.subresource, "scale");
    r = parse(a, "GET", "/api/v1/namespaces/n/services/s/proxy/a/b", "");
    ck_str(r.subresource, "proxy");
    ck_str(r.rest, "a/b");
    r = parse(a, "GET", "/api/v1/nodes/x", "");
    ck_str(r.ns, "");
    ck_str(r.name, "x");
}
END_TEST

/* A namespace is an object of its own; status and finalize are its parts. */
START_TEST(namespaces)
{
    AUTO_ARENA *a = arena_new(0);
    struct request_info r = parse(a, "GET", "/api/v1/namespaces/n", "");
    ck_str(r.resource, "namespaces");
    ck_str(r.name, "n");
    ck_str(r.ns, "n");
    r = parse(a, "PUT", "/api/v1/namespaces/n/finalize", "");
    ck_str(r.resource, "namespaces");
    ck_str(r.subresource, "finalize");
    r = parse(a, "GET", "/api/v1/namespaces", "");
    ck_assert_str_eq(r.verb, "list");
}
END_TEST

/* Lists of one name are authorised as that name. */
START_TEST(selected_name)
{
    AUTO_ARENA *a = arena_new(0);
    struct request_info r =
        parse(a, "GET", "/api/v1/namespaces/n/secrets", "fieldSelector=metadata.name%3Dx");
    ck_str(r.selected_name, "x");
    ck_str(r.name, "");
    ck_str(r.field_selector, "metadata.name=x");
    r = parse(a, "DELETE", "/api/v1/namespaces/n/secrets", "fieldSelector=a%3Db");
    ck_str(r.field_selector, "a=b");
    r = parse(a, "GET", "/api/v1/namespaces/n/secrets/x", "fieldSelector=a%3Db");
    ck_str(r.field_selector, "");
}
END_TEST

/* Other paths are no resources; malformed escapes are refused. */
START_TEST(others)
{
    AUTO_ARENA *a = arena_new(0);
    struct request_info r = parse(a, "GET", "/healthz", "");
    ck_assert(!r.is_resource && !r.has_group_version);
    r = parse(a, "GET", "/apis/apps/v1", "");
    ck_assert(!r.is_resource && r.has_group_version);
    ck_assert_str_eq(r.verb, "get");
    r = parse(a, "GET", "/api/v1", "");
    ck_assert_str_eq(r.verb, "get");
    r = parse(a, "GET", "/", "");
    ck_assert(!r.is_resource);
    ck_assert_int_ne(request_info_parse(a, STR("GET"), STR("/api/v1/%zz"), STR(""), &r), 0);
}
END_TEST

/* In Go's words. */
START_TEST(durations)
{
    static const struct {
        const char *text, *message;
    } cases[] = {{"10s", NULL},
                 {"1m30s", NULL},
                 {"5", "time: missing unit in duration \"5\""},
                 {"5x", "time: unknown unit \"x\" in duration \"5x\""},
                 {"1m5d", "time: unknown unit \"d\" in duration \"1m5d\""},
                 {"soon", "time: invalid duration \"soon\""},
                 {".s", "time: invalid duration \".s\""}};
    AUTO_ARENA *a = arena_new(0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *why = request_duration_error(a, str_of(cases[i].text));
        if (cases[i].message == NULL)
            ck_assert_ptr_null(why);
        else
            ck_assert_str_eq(why, cases[i].message);
    }
}
END_TEST

UNIT_MAIN("request_info", {
    UNIT_TEST(durations);
    UNIT_TEST(verbs);
    UNIT_TEST(parts);
    UNIT_TEST(namespaces);
    UNIT_TEST(selected_name);
    UNIT_TEST(others);
})
