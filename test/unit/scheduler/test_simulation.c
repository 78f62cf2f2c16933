/* test_simulation.c - the scheduler's decisions on a state that is given. */
#include "scheduler/simulation.h"
#include "scheduler/config.h"
#include "test/unit/scheduler/cluster.h"

#define NODE(name, cpu)                                                                            \
    "{\"metadata\":{\"name\":\"" name "\",\"labels\":{\"kubernetes.io/hostname\":\"" name          \
    "\"}},\"status\":{\"allocatable\":{\"cpu\":\"" cpu "\",\"memory\":\"4Gi\",\"pods\":\"10\"}}}"
#define POD(name, cpu, more)                                                                       \
    "{\"metadata\":{\"name\":\"" name "\",\"labels\":{\"app\":\"" name "\"}},\"spec\":{" more      \
    "\"containers\":[{\"name\":\"c\",\"image\":\"x\",\"resources\":{\"limits\":{\"cpu\":\"" cpu    \
    "\"}}}]}}"

static void add(struct simulation *s, const char *group, const char *version, const char *kind,
                const char *json)
{
    const struct api_kind *k = api_kind_by_gvk(str_of(group), str_of(version), str_of(kind));
    struct api_object *o = api_object_new(k);
    struct error err = {0};
    int rc = api_json_decode(o->arena, k->msg, str_of(json), API_STRICT, NULL, o->msg, &err);
    ck_assert_msg(rc == 0, "%s", error_message(&err));
    simulation_add(s, o);
    api_object_unref(o);
}

static void place(struct simulation *s, struct arena *a, const char *pod, bool preempt,
                  struct simulation_outcome *ret)
{
    struct api_object *o = object_from("Pod", pod);
    simulation_place(s, a, o, preempt, ret);
    api_object_unref(o);
}

/* Each pod counts for the next, and limits stand for requests that are not given. */
START_TEST(pods_fill_up)
{
    struct arena *a = arena_new(0);
    struct simulation *s = simulation_new(1);
    struct simulation_outcome o;
    add(s, "", "v1", "Node", NODE("n", "2"));
    place(s, a, POD("x", "1500m", ""), true, &o);
    ck_assert_str_eq(o.node, "n");
    simulation_outcome_done(&o);
    place(s, a, POD("y", "1500m", ""), false, &o);
    ck_assert_ptr_null(o.node);
    ck_assert_str_eq(str_c(o.message), "0/1 nodes are available: 1 Insufficient cpu.");
    simulation_outcome_done(&o);
    simulation_free(s);
    arena_free(a);
}
END_TEST

/* Where nobody looks at devices, what a class provides is not there for nothing. */
START_TEST(devices_without_their_plugin)
{
    struct arena *a = arena_new(0);
    struct simulation *s = simulation_new(1);
    struct simulation_outcome o;
    struct sched_config *config;
    struct error err = {0};
    ck_assert_int_eq(sched_config_parse(STR("apiVersion: kubescheduler.config.k8s.io/v1\n"
                                            "kind: KubeSchedulerConfiguration\n"
                                            "profiles: [{plugins: {multiPoint: {disabled: [{name: "
                                            "DynamicResources}]}}}]\n"),
                                        &config, &err),
                     0);
    simulation_set_config(s, config);
    add(s, "", "v1", "Node", NODE("n", "2"));
    add(s, "resource.k8s.io", "v1", "DeviceClass",
        "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"extendedResourceName\":\"example.com/c\"}}");
    place(
        s, a,
        "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\","
        "\"resources\":{\"limits\":{\"example.com/c\":\"1\"}}}]}}",
        false, &o);
    ck_assert_ptr_null(o.node);
    ck_assert_str_eq(str_c(o.message), "0/1 nodes are available: 1 Insufficient example.com/c.");
    simulation_outcome_done(&o);
    simulation_free(s);
    sched_config_free(config);
    arena_free(a);
}
END_TEST

/* By the priority of its class a pod evicts others, which then are gone. */
START_TEST(classes_preempt)
{
    struct arena *a = arena_new(0);
    struct simulation *s = simulation_new(1);
    struct simulation_outcome o;
    add(s, "scheduling.k8s.io", "v1", "PriorityClass",
        "{\"metadata\":{\"name\":\"high\"},\"value\":100}");
    add(s, "", "v1", "Node", NODE("n", "2"));
    add(s, "", "v1", "Pod", POD("low", "1500m", "\"nodeName\":\"n\","));
    place(s, a, POD("x", "1500m", "\"priorityClassName\":\"high\","), true, &o);
    ck_assert_str_eq(o.node, "n");
    ck_assert_uint_eq(o.victim_count, 1);
    ck_assert(str_eqc(api_object_meta(o.victims[0].pod)->name, "low"));
    simulation_outcome_done(&o);
    place(s, a, POD("y", "400m", ""), true, &o);
    ck_assert_str_eq(o.node, "n");
    simulation_outcome_done(&o);
    simulation_free(s);
    arena_free(a);
}
END_TEST

/* A budget allows one eviction; the second goes elsewhere. */
START_TEST(budgets_are_spent)
{
    struct arena *a = arena_new(0);
    struct simulation *s = simulation_new(1);
    struct simulation_outcome o;
    add(s, "policy", "v1", "PodDisruptionBudget",
        "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"cheap\"}"
        "}},"
        "\"status\":{\"disruptionsAllowed\":1,\"currentHealthy\":1,\"desiredHealthy\":1,"
        "\"expectedPods\":1}}");
    add(s, "", "v1", "Node", NODE("n1", "1"));
    add(s, "", "v1", "Node", NODE("n2", "1"));
    add(s, "", "v1", "Node", NODE("n3", "1"));
    add(s, "", "v1", "Pod",
        "{\"metadata\":{\"name\":\"c1\",\"labels\":{\"app\":\"cheap\"}},\"spec\":{"
        "\"nodeName\":\"n1\",\"priority\":1,\"containers\":[{\"name\":\"c\","
        "\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}");
    add(s, "", "v1", "Pod",
        "{\"metadata\":{\"name\":\"c2\",\"labels\":{\"app\":\"cheap\"}},\"spec\":{"
        "\"nodeName\":\"n2\",\"priority\":1,\"containers\":[{\"name\":\"c\","
        "\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}");
    add(s, "", "v1", "Pod", POD("dear", "1", "\"nodeName\":\"n3\",\"priority\":5,"));
    place(s, a, POD("x", "1", "\"priority\":10,"), true, &o);
    ck_assert_uint_eq(o.victim_count, 1);
    ck_assert_str_ne(o.node, "n3");
    simulation_outcome_done(&o);
    place(s, a, POD("y", "1", "\"priority\":10,"), true, &o);
    ck_assert_str_eq(o.node, "n3");
    simulation_outcome_done(&o);
    simulation_free(s);
    arena_free(a);
}
END_TEST

/* What waits comes in the order of the queue; gated pods do not come. */
START_TEST(pending_in_order)
{
    struct simulation *s = simulation_new(1);
    add(s, "", "v1", "Pod", POD("first", "1", ""));
    add(s, "", "v1", "Pod", POD("urgent", "1", "\"priority\":7,"));
    add(s, "", "v1", "Pod", POD("gated", "1", "\"schedulingGates\":[{\"name\":\"g\"}],"));
    struct api_object *o = simulation_next_pending(s);
    ck_assert(str_eqc(api_object_meta(o)->name, "urgent"));
    api_object_unref(o);
    o = simulation_next_pending(s);
    ck_assert(str_eqc(api_object_meta(o)->name, "first"));
    api_object_unref(o);
    ck_assert_ptr_null(simulation_next_pending(s));
    simulation_free(s);
}
END_TEST

#define MEMBER(name, more)                                                                         \
    "{\"metadata\":{\"name\":\"" name "\",\"labels\":{\"scheduling.x-k8s.io/pod-group\":\"g\"}}"   \
    ",\"spec\":{" more                                                                             \
    "\"containers\":[{\"name\":\"c\",\"image\":\"x\",\"resources\":{\"limits\":"                   \
    "{\"cpu\":\"1\"}}}]}}"

/* A pod group's pods find places together, by evicting others if that is enough, or none does. */
START_TEST(gangs_are_placed_together)
{
    struct arena *a = arena_new(0);
    struct simulation *s = simulation_new(1);
    struct simulation_outcome o[3];
    const char *high = MEMBER("x", "\"priority\":100,"), *low = MEMBER("y", "");
    struct api_object *pods[3] = {object_from("Pod", low), object_from("Pod", MEMBER("y2", "")),
                                  object_from("Pod", MEMBER("y3", ""))};
    ck_assert(str_empty(simulation_gang(s, a, pods[0])));
    add(s, "scheduling.x-k8s.io", "v1alpha1", "PodGroup",
        "{\"metadata\":{\"name\":\"g\"},\"spec\":{\"minMember\":3}}");
    add(s, "", "v1", "Node", NODE("n", "2"));
    add(s, "", "v1", "Node", NODE("m", "1500m"));
    ck_assert_str_eq(str_c(simulation_gang(s, a, pods[0])), "default/g");
    simulation_place_gang(s, a, pods, 2, true, o);
    ck_assert_str_eq(str_c(o[1].message), "pod group default/g has 2 of the 3 pods that it needs");
    for (size_t i = 0; i < 2; i++)
        simulation_outcome_done(&o[i]);
    add(s, "", "v1", "Pod", POD("low", "1", "\"nodeName\":\"n\","));
    simulation_place_gang(s, a, pods, 3, true, o);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_ptr_null(o[i].node);
        ck_assert_uint_eq(o[i].victim_count, 0);
        simulation_outcome_done(&o[i]);
        api_object_unref(pods[i]);
    }
    pods[0] = object_from("Pod", high);
    pods[1] = object_from("Pod", MEMBER("x2", "\"priority\":100,"));
    pods[2] = object_from("Pod", MEMBER("x3", "\"priority\":100,"));
    simulation_place_gang(s, a, pods, 3, true, o);
    size_t victims = 0;
    for (size_t i = 0; i < 3; i++) {
        ck_assert_ptr_nonnull(o[i].node);
        victims += o[i].victim_count;
        simulation_outcome_done(&o[i]);
        api_object_unref(pods[i]);
    }
    ck_assert_uint_eq(victims, 1);
    simulation_free(s);
    arena_free(a);
}
END_TEST

static void add_cards(struct simulation *s)
{
    add(s, "resource.k8s.io", "v1", "DeviceClass",
        "{\"metadata\":{\"name\":\"card\"},\"spec\":{\"extendedResourceName\":"
        "\"example.com/card\"}}");
    add(s, "resource.k8s.io", "v1", "ResourceSlice",
        "{\"metadata\":{\"name\":\"m\"},\"spec\":{\"driver\":\"d\",\"nodeName\":\"m\",\"pool\":{"
        "\"name\":\"m\",\"generation\":1,\"resourceSliceCount\":1},\"devices\":[{\"name\":"
        "\"c0\"},{\"name\":\"c1\"}]}}");
    add(s, "resource.k8s.io", "v1", "ResourceClaimTemplate",
        "{\"metadata\":{\"name\":\"t\"},\"spec\":{\"spec\":{\"devices\":{\"requests\":[{\"name\":"
        "\"r\",\"exactly\":{\"deviceClassName\":\"card\",\"allocationMode\":\"ExactCount\","
        "\"count\":1}}]}}}}");
    add(s, "", "v1", "Node", NODE("n", "8"));
    add(s, "", "v1", "Node", NODE("m", "8"));
}

#define CARD(name)                                                                                 \
    "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"   \
    "\"x\",\"resources\":{\"limits\":{\"example.com/card\":\"1\"}}}]}}"

/* Devices are given once, by template and by extended resource, and come free with their pod. */
START_TEST(devices_are_given)
{
    struct arena *a = arena_new(0);
    struct simulation *s = simulation_new(1);
    struct simulation_outcome o, high;
    add_cards(s);
    place(
        s, a,
        POD("x", "1", "\"resourceClaims\":[{\"name\":\"r\",\"resourceClaimTemplateName\":\"t\"}],"),
        false, &o);
    ck_assert_str_eq(o.node, "m");
    simulation_outcome_done(&o);
    place(s, a, CARD("y"), false, &o);
    ck_assert_str_eq(o.node, "m");
    place(s, a, CARD("z"), true, &high);
    ck_assert_ptr_null(high.node);
    ck_assert(str_has_prefix(high.message, STR("0/2 nodes are available: 2 cannot allocate all "
                                               "claims.")));
    simulation_outcome_done(&high);
    place(
        s, a,
        POD("big", "7500m", "\"priority\":9,\"nodeSelector\":{\"kubernetes.io/hostname\":\"m\"},"),
        true, &high);
    ck_assert_str_eq(high.node, "m");
    ck_assert_uint_eq(high.victim_count, 1);
    simulation_outcome_done(&high);
    simulation_outcome_done(&o);
    place(s, a, CARD("z"), false, &o);
    ck_assert_str_eq(o.node, "m");
    simulation_outcome_done(&o);
    simulation_free(s);
    arena_free(a);
}
END_TEST

/* By plugin and number of nodes, the most first, and nothing is placed by asking. */
START_TEST(waiting_is_explained)
{
    struct arena *a = arena_new(0);
    struct simulation *s = simulation_new(1);
    struct simulation_why w;
    add(s, "", "v1", "Node", NODE("n1", "1"));
    add(s, "", "v1", "Node", NODE("n2", "1"));
    add(s, "", "v1", "Node",
        "{\"metadata\":{\"name\":\"n3\"},\"spec\":{\"unschedulable\":true},\"status\":{"
        "\"allocatable\":{\"cpu\":\"8\",\"memory\":\"4Gi\",\"pods\":\"10\"}}}");
    add(s, "", "v1", "Pod", POD("big", "2", ""));
    ck_assert_ptr_null(simulation_pod(s, STR("default"), STR("other")));
    struct api_object *pod = simulation_pod(s, STR("default"), STR("big"));
    ck_assert_ptr_nonnull(pod);
    for (int i = 0; i < 2; i++) {
        simulation_explain(s, a, pod, &w);
        ck_assert_uint_eq(w.nodes, 3);
        ck_assert_uint_eq(w.fitting, 0);
        ck_assert_uint_eq(w.reason_count, 2);
        ck_assert_str_eq(w.reasons[0].plugin, "NodeResourcesFit");
        ck_assert(str_eqc(w.reasons[0].text, "Insufficient cpu"));
        ck_assert_uint_eq(w.reasons[0].nodes, 2);
        ck_assert_str_eq(w.reasons[0].examples[1], "n2");
        ck_assert_ptr_null(w.reasons[0].examples[2]);
        ck_assert_str_eq(w.reasons[1].plugin, "NodeUnschedulable");
        ck_assert(str_find_str(w.preemption, STR("Preemption is not helpful")) >= 0);
    }
    add(s, "", "v1", "Node", NODE("n4", "4"));
    simulation_explain(s, a, pod, &w);
    ck_assert_uint_eq(w.fitting, 1);
    ck_assert_str_eq(w.best, "n4");
    simulation_free(s);
    arena_free(a);
}
END_TEST

UNIT_MAIN("scheduler/simulation", {
    UNIT_TEST(pods_fill_up);
    UNIT_TEST(devices_without_their_plugin);
    UNIT_TEST(classes_preempt);
    UNIT_TEST(budgets_are_spent);
    UNIT_TEST(pending_in_order);
    UNIT_TEST(gangs_are_placed_together);
    UNIT_TEST(devices_are_given);
    UNIT_TEST(waiting_is_explained);
})
