/* test_nodes.c - zones of nodes, and when taints make pods go. */
#include "controllers/controller.h"
#include "controllers/eviction_metrics.h"
#include "controllers/node_zones.h"
#include "controllers/pods.h"
#include "controllers/tainteviction_plan.h"

#include "api/core_v1.h"
#include "lib/base/metrics.h"
#include "test/unit/controllers/objects.h"

#define NS_PER_S 1000000000

static enum zone_state state(size_t ready, size_t lost)
{
    return zone_state_of(&(struct zone_count){ready, lost}, 0.55);
}

/* Two lost nodes are no disruption, three of five are; without any ready one it is full. */
START_TEST(zones_are_judged)
{
    ck_assert_int_eq(state(0, 0), ZONE_NORMAL);
    ck_assert_int_eq(state(1, 2), ZONE_NORMAL);
    ck_assert_int_eq(state(2, 3), ZONE_PARTIAL_DISRUPTION);
    ck_assert_int_eq(state(3, 3), ZONE_NORMAL);
    ck_assert_int_eq(state(0, 1), ZONE_FULL_DISRUPTION);
}
END_TEST

/* Partly disrupted: small zones stand still, large ones slow down. */
START_TEST(zones_have_rates)
{
    const struct manager_options o = {.node_eviction_rate = 0.1,
                                      .secondary_node_eviction_rate = 0.01,
                                      .large_cluster_size_threshold = 50};
    ck_assert(zone_rate(ZONE_NORMAL, 5, &o) == 0.1);
    ck_assert(zone_rate(ZONE_FULL_DISRUPTION, 5, &o) == 0.1);
    ck_assert(zone_rate(ZONE_PARTIAL_DISRUPTION, 50, &o) == 0);
    ck_assert(zone_rate(ZONE_PARTIAL_DISRUPTION, 51, &o) == 0.01);
}
END_TEST

/* A zone is one of its region. */
START_TEST(zones_have_regions)
{
#define NODE(region)                                                                               \
    "{\"metadata\":{\"labels\":{\"topology.kubernetes.io/region\":\"" region                       \
    "\",\"topology.kubernetes.io/zone\":\"a\"}}}"
    AUTO_ARENA *a = arena_new(0);
    ck_assert(!str_eq(zone_name(a, decoded(a, &core_v1_node_msg, NODE("r1"))),
                      zone_name(a, decoded(a, &core_v1_node_msg, NODE("r2")))));
    ck_assert(str_empty(zone_name(a, decoded(a, &core_v1_node_msg, "{}"))));
}
END_TEST

#define TAINTED                                                                                    \
    "{\"spec\":{\"taints\":[{\"key\":\"k\",\"effect\":\"NoExecute\",\"timeAdded\":"                \
    "\"1970-01-01T00:01:40Z\"},{\"key\":\"l\",\"effect\":\"NoExecute\",\"timeAdded\":"             \
    "\"1970-01-01T00:01:40Z\"}]}}"
#define POD(created, tolerations)                                                                  \
    "{\"metadata\":{\"creationTimestamp\":\"" created                                              \
    "\"},\"spec\":{\"tolerations\":[" tolerations "]}}"
#define FOR(key, seconds)                                                                          \
    "{\"key\":\"" key "\",\"operator\":\"Exists\",\"tolerationSeconds\":" seconds "}"

static int64_t eviction_s(const char *pod)
{
    AUTO_ARENA *a = arena_new(0);
    int64_t ns =
        taint_eviction_time(decoded(a, &core_v1_pod_msg, pod),
                            decoded(a, &core_v1_node_msg, TAINTED), (int64_t)500 * NS_PER_S);
    return ns == EVICTION_NEVER ? -1 : ns / NS_PER_S;
}

/* The shortest toleration counts, of any taint without one none does. */
START_TEST(tolerations_end)
{
    ck_assert_int_eq(eviction_s(POD("1970-01-01T00:00:01Z", FOR("k", "60"))), 0);
    ck_assert_int_eq(eviction_s(POD("1970-01-01T00:00:01Z", FOR("k", "60") "," FOR("l", "30"))),
                     130);
    ck_assert_int_eq(eviction_s(POD("1970-01-01T00:00:01Z", "{\"operator\":\"Exists\"}")), -1);
    ck_assert_int_eq(
        eviction_s(POD("1970-01-01T00:00:01Z", FOR("k", "60") ",{\"operator\":\"Exists\"}")), 160);
}
END_TEST

/* A pod that came to a node long tainted has its whole time there. */
START_TEST(tolerations_begin_with_the_pod)
{
    ck_assert_int_eq(eviction_s(POD("1970-01-01T00:07:00Z", FOR("k", "60") "," FOR("l", "60"))),
                     480);
}
END_TEST

/* Of the pods that ended, evicted ones are worth least. */
START_TEST(evicted_pods_go_first)
{
    AUTO_ARENA *a = arena_new(0);
    const struct core_v1_pod *evicted = decoded(
        a, &core_v1_pod_msg,
        "{\"metadata\":{\"name\":\"e\",\"creationTimestamp\":\"2026-01-02T00:00:00Z\"},\"status\":{"
        "\"phase\":\"Failed\",\"reason\":\"Evicted\"}}");
    const struct core_v1_pod *old = decoded(
        a, &core_v1_pod_msg,
        "{\"metadata\":{\"name\":\"o\",\"creationTimestamp\":\"2026-01-01T00:00:00Z\"},\"status\":{"
        "\"phase\":\"Failed\"}}");
    const struct core_v1_pod *newer = decoded(
        a, &core_v1_pod_msg,
        "{\"metadata\":{\"name\":\"n\",\"creationTimestamp\":\"2026-01-03T00:00:00Z\"},\"status\":{"
        "\"phase\":\"Succeeded\"}}");
    ck_assert_int_lt(pod_compare_ended(evicted, old), 0);
    ck_assert_int_lt(pod_compare_ended(old, newer), 0);
    ck_assert_int_gt(pod_compare_ended(newer, evicted), 0);
}
END_TEST

static double counted(const char *name, const char *label, const char *value)
{
    struct metric_family *f =
        metric_gauge(metrics_default(), name, "", (const char *const[]){label, NULL});
    return metric_value(METRIC_OF(f, str_of(value)));
}

/* Zones are told as numbers. */
START_TEST(zones_are_counted)
{
    metrics_zone(STR("r/a"), &(struct zone_count){.ready = 3, .lost = 1});
    ck_assert(counted("node_collector_zone_size", "zone", "r/a") == 4);
    ck_assert(counted("node_collector_zone_health", "zone", "r/a") == 75);
    ck_assert(counted("node_collector_unhealthy_nodes_in_zone", "zone", "r/a") == 1);
    metrics_zone(STR("r/b"), &(struct zone_count){0});
    ck_assert(counted("node_collector_zone_health", "zone", "r/b") == 100);
}
END_TEST

UNIT_MAIN("controllers/nodes", {
    UNIT_TEST(zones_are_judged);
    UNIT_TEST(zones_have_rates);
    UNIT_TEST(zones_have_regions);
    UNIT_TEST(tolerations_end);
    UNIT_TEST(tolerations_begin_with_the_pod);
    UNIT_TEST(evicted_pods_go_first);
    UNIT_TEST(zones_are_counted);
})
