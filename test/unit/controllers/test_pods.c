/* test_pods.c - which pod goes first. */
#include "controllers/pods.h"

#include "api/core_v1.h"
#include "test/unit/controllers/objects.h"

#include <stdio.h>

#define NOW_S 1000000000 /* 2001-09-09T01:46:40Z */

static struct api_object *pod(const char *json)
{
    struct api_object *o = api_object_new(api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")));
    o->msg = decoded(o->arena, &core_v1_pod_msg, json);
    return o;
}

#define POD(meta, spec, status)                                                                    \
    "{\"metadata\":{" meta "},\"spec\":{" spec "},\"status\":{\"phase\":\"Running\"" status "}}"
#define READY_SINCE(time)                                                                          \
    ",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"lastTransitionTime\":\"" time "\"" \
    "}]"

/* 0 when the first goes first, else 1. */
static int first_of(const char *x, const char *y, const char *related)
{
    struct api_object *all[3] = {pod(x), pod(y), related != NULL ? pod(related) : NULL};
    struct pod_rank ranked[2] = {{.object = all[0]}, {.object = all[1]}};
    pod_rank_for_deletion(ranked, 2, all, related != NULL ? 3 : 2, (int64_t)NOW_S * 1000000000);
    int ret = ranked[0].object == all[0] ? 0 : 1;
    for (size_t i = 0; i < 3; i++)
        api_object_unref(all[i]);
    return ret;
}

/* A pod that shares its node with related ones goes before one that has a node to itself. */
START_TEST(siblings_go_first)
{
    ck_assert_int_eq(first_of(POD("\"name\":\"a\"", "\"nodeName\":\"m\"", ""),
                              POD("\"name\":\"b\"", "\"nodeName\":\"n\"", ""),
                              POD("\"name\":\"c\"", "\"nodeName\":\"n\"", "")),
                     1);
    /* Deletion costs count for more. */
    ck_assert_int_eq(first_of(POD("\"name\":\"a\",\"annotations\":{\"controller.kubernetes.io/"
                                  "pod-deletion-cost\":\"-1\"}",
                                  "\"nodeName\":\"m\"", ""),
                              POD("\"name\":\"b\"", "\"nodeName\":\"n\"", ""),
                              POD("\"name\":\"c\"", "\"nodeName\":\"n\"", "")),
                     0);
}
END_TEST

/* Ages within one power of two are the same: the uid decides, not who is newer. */
START_TEST(ages_count_by_their_power)
{
    const char *newer = POD("\"name\":\"a\",\"uid\":\"9\"", "\"nodeName\":\"m\"",
                            READY_SINCE("2001-09-09T00:46:40Z"));
    const char *older = POD("\"name\":\"b\",\"uid\":\"1\"", "\"nodeName\":\"n\"",
                            READY_SINCE("2001-09-09T00:40:00Z"));
    const char *ancient = POD("\"name\":\"c\",\"uid\":\"0\"", "\"nodeName\":\"n\"",
                              READY_SINCE("2001-09-01T00:40:00Z"));
    ck_assert_int_eq(first_of(newer, older, NULL), 1);
    ck_assert_int_eq(first_of(newer, ancient, NULL), 0);
    const char *made = POD("\"name\":\"a\",\"uid\":\"9\",\"creationTimestamp\":"
                           "\"2001-09-09T00:46:40Z\"",
                           "\"nodeName\":\"m\"", "");
    const char *before = POD("\"name\":\"b\",\"uid\":\"1\",\"creationTimestamp\":"
                             "\"2001-09-09T00:40:00Z\"",
                             "\"nodeName\":\"n\"", "");
    ck_assert_int_eq(first_of(made, before, NULL), 1);
}
END_TEST

/* Between pods whose containers restarted as often, sidecars decide. */
START_TEST(sidecars_restarts_count)
{
#define SIDECAR                                                                                    \
    "\"nodeName\":\"m\",\"initContainers\":[{\"name\":\"s\",\"restartPolicy\":\"Always\"}]"
#define RESTARTS(n) ",\"initContainerStatuses\":[{\"name\":\"s\",\"restartCount\":" n "}]"
    ck_assert_int_eq(first_of(POD("\"name\":\"a\"", SIDECAR, RESTARTS("1")),
                              POD("\"name\":\"b\"", SIDECAR, RESTARTS("2")), NULL),
                     1);
    /* Init containers that end are not counted. */
    ck_assert_int_eq(
        first_of(POD("\"name\":\"a\"", "\"nodeName\":\"m\",\"initContainers\":[{\"name\":\"s\"}]",
                     RESTARTS("1")),
                 POD("\"name\":\"b\"", "\"nodeName\":\"m\",\"initContainers\":[{\"name\":\"s\"}]",
                     RESTARTS("2")),
                 NULL),
        0);
}
END_TEST

UNIT_MAIN("controllers/pods", {
    UNIT_TEST(siblings_go_first);
    UNIT_TEST(ages_count_by_their_power);
    UNIT_TEST(sidecars_restarts_count);
})
