/* test_framework.c - filters, scores and the texts of refusals. */
#include "scheduler/trim.h"
#include "test/unit/scheduler/cluster.h"

#define NODE(name, cpu, extra)                                                                     \
    "{\"metadata\":{\"name\":\"" name "\",\"labels\":{\"kubernetes.io/hostname\":\"" name          \
    "\",\"zone\":\"z-" name "\"}},\"spec\":{" extra "},\"status\":{\"allocatable\":"               \
    "{\"cpu\":\"" cpu "\",\"memory\":\"4Gi\",\"pods\":\"110\"}}}"
#define POD(name, spec)                                                                            \
    "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"default\",\"uid\":\"u-" name             \
    "\",\"labels\":{\"app\":\"web\"}},\"spec\":{" spec "}}"
#define ASKS(cpu)                                                                                  \
    "\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"" cpu "\"}}}]"

/* Each node's first refusal is counted, and the counts are sorted as text. */
START_TEST(message_counts_reasons)
{
    struct snapshot s;
    struct decision d;
    snapshot_init(&s);
    add_node(&s, NODE("a", "1", ""));
    add_node(&s, NODE("b", "4",
                      "\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]"));
    add_node(&s, NODE("c", "4", "\"unschedulable\":true"));
    decide(&s, POD("p", ASKS("2")), &d);
    ck_assert_ptr_null(d.node);
    ck_assert_message(d, STR_NULL,
                      "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated "
                      "taint(s), 1 node(s) were unschedulable.");
    decision_done(&d);
    snapshot_done(&s);
}
END_TEST

/* Without nodes the text is another one. */
START_TEST(message_without_nodes)
{
    struct snapshot s;
    struct decision d;
    snapshot_init(&s);
    decide(&s, POD("p", ASKS("2")), &d);
    ck_assert_message(d, STR_NULL, "no nodes available to schedule pods");
    decision_done(&d);
    snapshot_done(&s);
}
END_TEST

/* A pod's selector must match the node's labels. */
START_TEST(node_selector_filters)
{
    struct snapshot s;
    struct decision d;
    snapshot_init(&s);
    add_node(&s, NODE("a", "4", ""));
    add_node(&s, NODE("b", "4", ""));
    decide(&s, POD("p", ASKS("1") ",\"nodeSelector\":{\"kubernetes.io/hostname\":\"b\"}"), &d);
    ck_assert_ptr_nonnull(d.node);
    ck_assert_str_eq(d.node->name, "b");
    decision_done(&d);
    decide(&s, POD("p", ASKS("1") ",\"nodeSelector\":{\"none\":\"here\"}"), &d);
    ck_assert_message(d, STR("no new claims"),
                      "0/2 nodes are available: 2 node(s) didn't match Pod's node "
                      "affinity/selector. no new claims");
    decision_done(&d);
    snapshot_done(&s);
}
END_TEST

/* Tolerations open tainted nodes; PreferNoSchedule only costs score. */
START_TEST(taints_and_tolerations)
{
    struct snapshot s;
    struct decision d;
    snapshot_init(&s);
    add_node(&s, NODE("a", "4", "\"taints\":[{\"key\":\"k\",\"effect\":\"NoExecute\"}]"));
    decide(&s, POD("p", ASKS("1") ",\"tolerations\":[{\"key\":\"k\",\"operator\":\"Exists\"}]"),
           &d);
    ck_assert_ptr_nonnull(d.node);
    decision_done(&d);
    add_node(&s, NODE("b", "4", "\"taints\":[{\"key\":\"x\",\"effect\":\"PreferNoSchedule\"}]"));
    decide(&s, POD("p", ASKS("1")), &d);
    ck_assert_ptr_nonnull(d.node);
    ck_assert_str_eq(d.node->name, "b");
    decision_done(&d);
    snapshot_done(&s);
}
END_TEST

/* Host ports collide per protocol and address; "any" collides with all. */
START_TEST(host_ports)
{
#define PORT(ip, port, proto)                                                                      \
    "\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":1,\"hostPort\":" port           \
    ",\"hostIP\":\"" ip "\",\"protocol\":\"" proto "\"}]}]"
    struct snapshot s;
    struct decision d;
    snapshot_init(&s);
    add_node(&s, NODE("a", "4", ""));
    add_pod(&s, POD("old", "\"nodeName\":\"a\"," PORT("127.0.0.1", "80", "TCP")));
    decide(&s, POD("p", PORT("", "80", "TCP")), &d);
    ck_assert_message(d, STR_NULL,
                      "0/1 nodes are available: 1 node(s) didn't have free ports for the requested "
                      "pod ports.");
    decision_done(&d);
    decide(&s, POD("p", PORT("127.0.0.2", "80", "TCP")), &d);
    ck_assert_ptr_nonnull(d.node);
    decision_done(&d);
    decide(&s, POD("p", PORT("", "80", "UDP")), &d);
    ck_assert_ptr_nonnull(d.node);
    decision_done(&d);
    snapshot_done(&s);
}
END_TEST

/* Less loaded nodes win. */
START_TEST(spreads_load)
{
    struct snapshot s;
    struct decision d;
    snapshot_init(&s);
    add_node(&s, NODE("a", "4", ""));
    add_node(&s, NODE("b", "4", ""));
    add_pod(&s, POD("busy", "\"nodeName\":\"a\"," ASKS("3")));
    decide(&s, POD("p", ASKS("500m")), &d);
    ck_assert_str_eq(d.node->name, "b");
    decision_done(&d);
    snapshot_done(&s);
}
END_TEST

/* maxSkew 1 over hostnames: the second pod must go to the other node. */
START_TEST(topology_spread_hard)
{
#define SPREAD                                                                                     \
    ",\"topologySpreadConstraints\":[{\"maxSkew\":1,\"topologyKey\":\"zone\","                     \
    "\"whenUnsatisfiable\":\"DoNotSchedule\",\"labelSelector\":{\"matchLabels\":{\"app\":\"web\"}" \
    "}}]"
    struct snapshot s;
    struct decision d;
    snapshot_init(&s);
    add_node(&s, NODE("a", "4", ""));
    add_node(&s, NODE("b", "1", ""));
    add_pod(&s, POD("one", "\"nodeName\":\"a\"," ASKS("100m")));
    decide(&s, POD("p", ASKS("100m") SPREAD), &d);
    ck_assert_str_eq(d.node->name, "b");
    decision_done(&d);
    decide(&s, POD("p", ASKS("2") SPREAD), &d);
    ck_assert_message(d, STR_NULL,
                      "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod "
                      "topology spread constraints.");
    decision_done(&d);
    snapshot_done(&s);
}
END_TEST

/* Anti-affinity works in both directions; the first of a group may go anywhere. */
START_TEST(inter_pod_affinity)
{
#define AFFINITY(sort, app)                                                                        \
    ",\"affinity\":{\"" sort "\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{"           \
    "\"topologyKey\":\"zone\",\"labelSelector\":{\"matchLabels\":{\"app\":\"" app "\"}}}]}}"
    struct snapshot s;
    struct decision d;
    snapshot_init(&s);
    add_node(&s, NODE("a", "4", ""));
    decide(&s, POD("p", ASKS("1") AFFINITY("podAffinity", "web")), &d);
    ck_assert_ptr_nonnull(d.node); /* Alone, and of its own group. */
    decision_done(&d);
    decide(&s, POD("p", ASKS("1") AFFINITY("podAffinity", "db")), &d);
    ck_assert_message(d, STR_NULL,
                      "0/1 nodes are available: 1 node(s) didn't match pod affinity rules.");
    decision_done(&d);
    add_pod(&s, POD("old", "\"nodeName\":\"a\"," ASKS("1") AFFINITY("podAntiAffinity", "web")));
    decide(&s, POD("p", ASKS("1")), &d);
    ck_assert_message(d, STR_NULL,
                      "0/1 nodes are available: 1 node(s) didn't satisfy existing pods "
                      "anti-affinity rules.");
    decision_done(&d);
    decide(&s, POD("p", ASKS("1") AFFINITY("podAntiAffinity", "web")), &d);
    ck_assert_message(d, STR_NULL,
                      "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.");
    decision_done(&d);
    snapshot_done(&s);
}
END_TEST

/* A claim that is not there refuses the pod as a whole. */
START_TEST(missing_claim)
{
    struct snapshot s;
    struct decision d;
    snapshot_init(&s);
    add_node(&s, NODE("a", "4", ""));
    decide(&s,
           POD("p", ASKS("1") ",\"volumes\":[{\"name\":\"v\",\"persistentVolumeClaim\":"
                              "{\"claimName\":\"data\"}}]"),
           &d);
    ck_assert_ptr_null(d.node);
    ck_assert_message(d, STR_NULL,
                      "0/1 nodes are available: persistentvolumeclaim \"data\" not found.");
    decision_done(&d);
    snapshot_done(&s);
}
END_TEST

/* Init containers, sidecars, overhead and pod-level requests all count. */
START_TEST(requests_of_pods)
{
    struct resources r;
    struct api_object *o =
        object_from("Pod", "{\"spec\":{\"overhead\":{\"cpu\":\"10m\"},\"initContainers\":["
                           "{\"name\":\"side\",\"restartPolicy\":\"Always\",\"resources\":{"
                           "\"requests\":{\"cpu\":\"100m\"}}},"
                           "{\"name\":\"init\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}],"
                           "\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":"
                           "\"300m\",\"x.io/gpu\":\"2\"}}}]}}");
    pod_requests(o->msg, false, &r);
    ck_assert_int_eq(r.milli_cpu, 1110); /* max(300+100, 1000+100) + 10 */
    ck_assert_int_eq(resources_scalar(&r, "x.io/gpu"), 2);
    resources_done(&r);
    api_object_unref(o);
    o = object_from("Pod",
                    "{\"spec\":{\"resources\":{\"requests\":{\"cpu\":\"2\"}},\"containers\":["
                    "{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"300m\"}}}]}}");
    pod_requests(o->msg, false, &r);
    ck_assert_int_eq(r.milli_cpu, 2000);
    resources_done(&r);
    api_object_unref(o);
}
END_TEST

/* A hint is the filters of single nodes, and knows who refused. */
START_TEST(hints_ask_the_filters)
{
    AUTO_ARENA *a = arena_new(0);
    struct snapshot s;
    snapshot_init(&s);
#define HINT_NODE(name, cpu, more)                                                                 \
    "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{" more                                        \
    "},\"status\":{\"allocatable\":{\"cpu\":\"" cpu "\",\"memory\":\"4Gi\",\"pods\":\"10\"}}}"
    add_node(&s, HINT_NODE("small", "1", ""));
    add_node(&s, HINT_NODE("big", "8", ""));
    add_node(&s, HINT_NODE("closed", "8", "\"unschedulable\":true"));
    struct api_object *o = object_from(
        "Pod",
        "{\"metadata\":{\"name\":\"p\",\"uid\":\"1\"},\"spec\":{\"containers\":[{\"name\":\"c\","
        "\"resources\":{\"requests\":{\"cpu\":\"2\"}}}]}}");
    struct pod_info *pod = pod_info_new(o);
    static const char *const admits[] = {"small", "big", "closed"};
    for (size_t i = 0; i < 3; i++) {
        struct cycle c = {.arena = a, .snapshot = &s, .pod = pod, .facts = &no_facts};
        ck_assert_int_eq(cycle_node_admits(&c, snapshot_node(&s, str_of(admits[i]))), i == 1);
    }
    snapshot_remove_node(&s, STR("big"));
    struct cycle c = {.arena = a, .snapshot = &s, .pod = pod, .facts = &no_facts};
    cycle_filter(&c);
    ck_assert_uint_eq(c.fit_count, 0);
    ck_assert(c.by_node);
    for (unsigned i = 0; i < scheduler_plugin_count; i++) {
        const char *name = scheduler_plugins[i]->name;
        bool refuses =
            strcmp(name, "NodeResourcesFit") == 0 || strcmp(name, "NodeUnschedulable") == 0;
        ck_assert_msg(((c.refused_by >> i) & 1) == refuses, "%s", name);
    }
    pod_info_free(pod);
    api_object_unref(o);
    snapshot_done(&s);
}
END_TEST

/* A pod that is resized counts with the more of what it asks for and what it has, by resource; with
 * what it has when the rest is never to be. */
START_TEST(requests_of_resized_pods)
{
    static const struct {
        const char *reason;
        int64_t milli_cpu, memory;
    } cases[] = {{"Deferred", 3000, 200}, {"Infeasible", 1000, 200}, {"", 3000, 200}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct resources r;
        struct api_object *o = object_from(
            "Pod", arena_printf(a,
                                "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{"
                                "\"requests\":{\"cpu\":\"3\",\"memory\":\"100\"}}}]},"
                                "\"status\":{\"conditions\":[{\"type\":\"PodResizePending\","
                                "\"status\":\"True\",\"reason\":\"%s\"}],"
                                "\"containerStatuses\":[{\"name\":\"c\",\"allocatedResources\":{"
                                "\"cpu\":\"1\",\"memory\":\"50\"},\"resources\":{\"requests\":{"
                                "\"cpu\":\"500m\",\"memory\":\"200\"}}}]}}",
                                cases[i].reason)
                       .data);
        trim_pod(o);
        pod_requests(o->msg, false, &r);
        ck_assert_int_eq(r.milli_cpu, cases[i].milli_cpu);
        ck_assert_int_eq(r.memory, cases[i].memory);
        resources_done(&r);
        api_object_unref(o);
    }
}
END_TEST

UNIT_MAIN("scheduler/framework", {
    UNIT_TEST(requests_of_resized_pods);
    UNIT_TEST(hints_ask_the_filters);
    UNIT_TEST(message_counts_reasons);
    UNIT_TEST(message_without_nodes);
    UNIT_TEST(node_selector_filters);
    UNIT_TEST(taints_and_tolerations);
    UNIT_TEST(host_ports);
    UNIT_TEST(spreads_load);
    UNIT_TEST(topology_spread_hard);
    UNIT_TEST(inter_pod_affinity);
    UNIT_TEST(missing_claim);
    UNIT_TEST(requests_of_pods);
})
