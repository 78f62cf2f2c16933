/* test_options.c - wrong options in a query: one Status tells all of a kind. */
#include "api/meta_v1.h"
#include "apiserver/body.h"
#include "apiserver/list_options.h"
#include "apiserver/registry.h"
#include "apiserver/request.h"
#include "lib/base/arena.h"
#include "lib/net/http_server.h"
#include "test/unit/unit.h"

struct asked {
    struct http_header header;
    struct http_request http;
    struct req req;
};

static struct req *ask(struct asked *q, struct arena *a, const char *query, const char *type)
{
    *q = (struct asked){.header = {STR("content-type"), str_of(type)},
                        .http = {.query = str_of(query), .headers = &q->header, .header_count = 1},
                        .req = {.http = &q->http,
                                .arena = a,
                                .res = registry_find(STR(""), STR("v1"), STR("configmaps"))}};
    return &q->req;
}

static void expect(const struct meta_v1_status *s, const char *query, const char *message)
{
    if (message == NULL) {
        ck_assert_msg(s == NULL, "%s", query);
        return;
    }
    ck_assert_msg(s != NULL, "%s", query);
    ck_assert_msg(str_eqc(s->message, message), "%s: " STR_FMT, query, STR_ARG(s->message));
}

static void expect_list(const char *query, bool watch, const char *message)
{
    AUTO_ARENA *a = arena_new(0);
    struct asked q;
    struct list_options o;
    expect(list_options_parse(ask(&q, a, query, ""), watch, &o), query, message);
}

#define LIST "ListOptions.meta.k8s.io \"\" is invalid: "
#define MATCH "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden "

START_TEST(lists)
{
    expect_list("", false, NULL);
    expect_list("limit=5&timeoutSeconds=3&watch=FALSE", false, NULL);
    expect_list("limit=x&timeoutSeconds=y", false,
                "strconv.ParseInt: parsing \"y\": invalid syntax");
    expect_list("limit=", false, "strconv.ParseInt: parsing \"\": invalid syntax");
    expect_list("limit=9223372036854775808", false,
                "strconv.ParseInt: parsing \"9223372036854775808\": value out of range");
    expect_list("resourceVersionMatch=No&continue=x&sendInitialEvents=false", false,
                LIST "[" MATCH "unless resourceVersion is provided, " MATCH
                     "when continue is provided, resourceVersionMatch: Unsupported value: \"No\": "
                     "supported values: \"Exact\", \"NotOlderThan\", \"\", sendInitialEvents: "
                     "Forbidden: sendInitialEvents is forbidden for list]");
    expect_list("resourceVersionMatch=Exact&resourceVersion=0", false,
                LIST "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden "
                     "for resourceVersion \"0\"");
}
END_TEST

START_TEST(watches)
{
    expect_list("watch=1", true, NULL);
    expect_list("watch=1&resourceVersion=5&continue=x", true, NULL);
    expect_list("watch=1&continue=x", true, LIST MATCH "when continue is provided");
    expect_list("watch=1&sendInitialEvents=", true,
                LIST "resourceVersionMatch: Forbidden: sendInitialEvents requires setting "
                     "resourceVersionMatch to NotOlderThan");
    expect_list("watch=1&resourceVersionMatch=Exact&continue=x", true,
                LIST "[" MATCH "for watch unless sendInitialEvents is provided, "
                     "resourceVersionMatch: Unsupported value: \"Exact\": supported values: "
                     "\"NotOlderThan\", " MATCH "when continue is provided]");
    expect_list("sendInitialEvents=true", true, /* By the old path. */
                LIST "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list");
}
END_TEST

/* A name in the path and a selector that says something else. */
START_TEST(names)
{
    static const struct {
        const char *query;
        bool good;
    } cases[] = {{"", true},
                 {"fieldSelector=metadata.name%3Dx", true},
                 {"fieldSelector=metadata.name%3Dy", false},
                 {"fieldSelector=metadata.name%21%3Dx", false},
                 {"fieldSelector=metadata.namespace%3Dx", false}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct asked q;
        struct list_options o;
        struct req *r = ask(&q, a, cases[i].query, "");
        r->info.name = STR("x");
        expect(list_options_parse(r, true, &o), cases[i].query,
               cases[i].good ? NULL : "fieldSelector metadata.name doesn't match requested name");
    }
}
END_TEST

START_TEST(writes)
{
    static const struct {
        const char *kind, *type, *query, *message;
    } cases[] = {
        {"CreateOptions", "application/json", "dryRun=All&dryRun=All&fieldValidation=", NULL},
        {"CreateOptions", "application/json",
         "fieldValidation=No&dryRun=All&dryRun=x&fieldManager=a%09b",
         "CreateOptions.meta.k8s.io \"\" is invalid: [fieldManager: Invalid value: \"a\\tb\": "
         "invalid character U+0009 (at position 1), dryRun: Unsupported value: [\"All\",\"x\"]: "
         "supported values: \"All\", fieldValidation: Unsupported value: \"No\": supported values: "
         "\"\", \"Ignore\", \"Strict\", \"Warn\"]"},
        {"PatchOptions", "application/apply-patch+yaml", "fieldValidation=No",
         "PatchOptions.meta.k8s.io \"\" is invalid: [fieldManager: Required value: is required for "
         "apply patch, fieldValidation: Unsupported value: \"No\": supported values: \"\", "
         "\"Ignore\", \"Strict\", \"Warn\"]"},
        {"PatchOptions", "application/merge-patch+json", "force=false&dryRun=",
         "PatchOptions.meta.k8s.io \"\" is invalid: [force: Forbidden: may not be specified for "
         "non-apply patch, dryRun: Unsupported value: [\"\"]: supported values: \"All\"]"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct asked q;
        expect(body_check_options(ask(&q, a, cases[i].query, cases[i].type), cases[i].kind),
               cases[i].query, cases[i].message);
    }
}
END_TEST

START_TEST(deletions)
{
    static const struct {
        const char *query, *message;
    } cases[] = {
        {"gracePeriodSeconds=0&propagationPolicy=Orphan&dryRun=All", NULL},
        {"gracePeriodSeconds=", "strconv.ParseInt: parsing \"\": invalid syntax"},
        {"gracePeriodSeconds=1h&dryRun=x", "strconv.ParseInt: parsing \"1h\": invalid syntax"},
        {"propagationPolicy=",
         "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"\": "
         "supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""},
        {"propagationPolicy=No&orphanDependents=False&dryRun=x",
         "DeleteOptions.meta.k8s.io \"\" is invalid: [propagationPolicy: Invalid value: \"No\": "
         "orphanDependents and deletionPropagation cannot be both set, propagationPolicy: "
         "Unsupported value: \"No\": supported values: \"Foreground\", \"Background\", \"Orphan\", "
         "\"nil\", dryRun: Unsupported value: [\"x\"]: supported values: \"All\"]"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct asked q;
        struct meta_v1_delete_options o = {0};
        expect(body_delete_options(ask(&q, a, cases[i].query, ""), &o), cases[i].query,
               cases[i].message);
    }
}
END_TEST

UNIT_MAIN("options", {
    registry_init();
    UNIT_TEST(lists);
    UNIT_TEST(watches);
    UNIT_TEST(names);
    UNIT_TEST(writes);
    UNIT_TEST(deletions);
})
