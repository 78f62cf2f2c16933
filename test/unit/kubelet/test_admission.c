/* test_admission.c - which pods a node takes. */
#include "kubelet/admission.h"

#include "test/unit/scheduler/cluster.h"

#define NODE                                                                                       \
    "{\"metadata\":{\"name\":\"n\",\"labels\":{\"disk\":\"ssd\"}},\"spec\":{\"taints\":[{\"key\":" \
    "\"out\",\"effect\":\"NoExecute\"},{\"key\":\"new\",\"effect\":\"NoSchedule\"}]},"             \
    "\"status\":{\"allocatable\":{\"cpu\":\"2\",\"memory\":\"1Gi\",\"ephemeral-storage\":\"1Gi\"," \
    "\"pods\":\"3\",\"hugepages-2Mi\":\"0\",\"example.com/gpu\":\"1\"}}}"
#define POD(uid, spec)                                                                             \
    "{\"metadata\":{\"name\":\"" uid "\",\"uid\":\"" uid "\",\"namespace\":\"d\"},\"spec\":{"      \
    "\"nodeName\":\"n\"," spec "}}"
#define TOLERATES "\"tolerations\":[{\"key\":\"out\"}]"
#define ASKS(requests)                                                                             \
    TOLERATES ",\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{" requests "}}}]"
#define OPENS(ports) TOLERATES ",\"containers\":[{\"name\":\"c\",\"ports\":[" ports "]}]"

static const char *const TAKEN[] = {
    POD("a", ASKS("\"cpu\":\"1500m\",\"memory\":\"512Mi\",\"example.com/gpu\":\"1\"")),
    POD("b", OPENS("{\"containerPort\":80,\"hostPort\":8080,\"hostIP\":\"10.0.0.1\"}")),
};

START_TEST(taken_or_refused)
{
    static const struct {
        const char *pod, *reason, *message;
    } CASES[] = {
        {POD("p", ASKS("\"cpu\":\"500m\",\"memory\":\"512Mi\"")), NULL, NULL},
        {POD("p", ASKS("\"cpu\":\"501m\"")), "OutOfcpu",
         "Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000"},
        {POD("p", ASKS("\"memory\":\"513Mi\"")), "OutOfmemory",
         "Node didn't have enough resource: memory, requested: 537919488, used: 536870912, "
         "capacity: 1073741824"},
        {POD("p", ASKS("\"ephemeral-storage\":\"2Gi\"")), "OutOfephemeral-storage",
         "Node didn't have enough resource: ephemeral-storage, requested: 2147483648, used: 0, "
         "capacity: 1073741824"},
        {POD("p", ASKS("\"example.com/gpu\":\"1\"")), "OutOfexample.com/gpu",
         "Node didn't have enough resource: example.com/gpu, requested: 1, used: 1, capacity: 1"},
        {POD("p", ASKS("\"example.com/other\":\"1\"")), NULL, NULL},
        {POD("p", ASKS("\"hugepages-2Mi\":\"2Mi\"")), "OutOfhugepages-2Mi",
         "Node didn't have enough resource: hugepages-2Mi, requested: 2097152, used: 0, "
         "capacity: 0"},
        {POD("p", "\"nodeSelector\":{\"disk\":\"hdd\"}," ASKS("")), "NodeAffinity",
         "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"},
        {POD("p", "\"nodeSelector\":{\"disk\":\"ssd\"}," ASKS("")), NULL, NULL},
        {POD("p", OPENS("{\"containerPort\":1,\"hostPort\":8080}")), "NodePorts",
         "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"},
        {POD("p", OPENS("{\"containerPort\":1,\"hostPort\":8080,\"hostIP\":\"10.0.0.2\"}")), NULL,
         NULL},
        {POD("p", OPENS("{\"containerPort\":1,\"hostPort\":8080,\"protocol\":\"UDP\"}")), NULL,
         NULL},
        {"{\"metadata\":{\"name\":\"p\",\"uid\":\"p\"},\"spec\":{\"nodeName\":\"m\"," ASKS("") "}}",
         "NodeName", "Predicate NodeName failed: node(s) didn't match the requested node name"},
        {POD("p", "\"containers\":[{\"name\":\"c\"}]"), "TaintToleration",
         "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"},
        {POD("p", "\"os\":{\"name\":\"windows\"}," ASKS("")), "PodOSNotSupported",
         "Failed to admit pod as the OS field doesn't match node OS"},
    };
    AUTO_ARENA *a = arena_new(0);
    struct api_object *node = object_from("Node", NODE), *others[3];
    for (size_t i = 0; i < ARRAY_SIZE(TAKEN); i++)
        others[i] = object_from("Pod", TAKEN[i]);
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        struct api_object *pod = object_from("Pod", CASES[i].pod);
        struct admission_refusal why = {0};
        bool taken = admission_check(a, node, pod, others, ARRAY_SIZE(TAKEN), NULL, &why);
        ck_assert_msg(taken == (CASES[i].reason == NULL), "%s: %s", CASES[i].pod, why.message);
        if (!taken) {
            ck_assert_str_eq(why.reason, CASES[i].reason);
            ck_assert_str_eq(why.message, CASES[i].message);
        }
        api_object_unref(pod);
    }
    struct admission_refusal why = {0};
    struct api_object *pod = object_from("Pod", CASES[0].pod);
    others[2] = object_from("Pod", POD("c", ASKS("")));
    ck_assert(!admission_check(a, node, pod, others, 3, NULL, &why));
    ck_assert_str_eq(why.reason, "OutOfpods");
    ck_assert_str_eq(why.message,
                     "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3");
    api_object_unref(pod);
    for (size_t i = 0; i < 3; i++)
        api_object_unref(others[i]);
    api_object_unref(node);
}
END_TEST

/* New amounts fit beside the others, do not now, or never will. Ports, taints and labels were
 * looked at when the pod came. */
START_TEST(resized)
{
    static const struct {
        const char *pod, *reason, *message;
    } CASES[] = {
        {POD("p", ASKS("\"cpu\":\"500m\"")), NULL, NULL},
        {POD("p", "\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":1,"
                  "\"hostPort\":8080}]}]"),
         NULL, NULL},
        {POD("p", ASKS("\"cpu\":\"600m\"")), "Deferred",
         "Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000"},
        {POD("p", ASKS("\"cpu\":\"100m\",\"memory\":\"1Gi\"")), "Deferred",
         "Node didn't have enough resource: memory, requested: 1073741824, used: 536870912, "
         "capacity: 1073741824"},
        {POD("p", ASKS("\"cpu\":\"3\"")), "Infeasible",
         "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000"},
    };
    struct api_object *node = object_from("Node", NODE),
                      *others[2] = {object_from("Pod", TAKEN[0]), object_from("Pod", TAKEN[1])};
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct admission_refusal why = {0};
        struct api_object *pod = object_from("Pod", CASES[i].pod);
        bool fits = admission_fits(a, node, pod, others, 2, &why);
        ck_assert_int_eq(fits, CASES[i].reason == NULL);
        if (!fits) {
            ck_assert_str_eq(why.reason, CASES[i].reason);
            ck_assert_str_eq(why.message, CASES[i].message);
        }
        api_object_unref(pod);
    }
    api_object_unref(others[0]);
    api_object_unref(others[1]);
    api_object_unref(node);
}
END_TEST

#define RECLAIMING(uid, cpu)                                                                       \
    "{\"metadata\":{\"name\":\"" uid "\",\"uid\":\"" uid "\",\"namespace\":\"d\",\"labels\":{\""   \
    "trireme.io/reclaim\":\"true\"}},\"spec\":{\"nodeName\":\"n\",\"priority\":-1," ASKS(          \
        "\"cpu\":\"" cpu "\"") "}}"

/* Pods that reclaim are taken beyond what is free, for the scheduler has looked at usage; the
 * others do not see them. */
START_TEST(reclaiming_pods_take_nothing)
{
    AUTO_ARENA *a = arena_new(0);
    struct admission_refusal why = {0};
    struct api_object *node = object_from("Node", NODE),
                      *others[] = {object_from("Pod", TAKEN[0]),
                                   object_from("Pod", RECLAIMING("r", "1500m"))},
                      *more = object_from("Pod", RECLAIMING("s", "1800m")),
                      *huge = object_from("Pod", RECLAIMING("t", "2001m")),
                      *plain = object_from("Pod", POD("p", ASKS("\"cpu\":\"500m\""))),
                      *large = object_from("Pod", POD("q", ASKS("\"cpu\":\"501m\"")));
    ck_assert(admission_check(a, node, more, others, 2, NULL, &why));
    ck_assert(admission_check(a, node, plain, others, 2, NULL, &why));
    ck_assert(!admission_check(a, node, large, others, 2, NULL, &why));
    ck_assert(!admission_check(a, node, huge, others, 2, NULL, &why));
    ck_assert_str_eq(why.reason, "OutOfcpu");
    struct api_object *all[] = {node, others[0], others[1], more, huge, plain, large};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        api_object_unref(all[i]);
}
END_TEST

UNIT_MAIN("admission", {
    UNIT_TEST(taken_or_refused);
    UNIT_TEST(resized);
    UNIT_TEST(reclaiming_pods_take_nothing);
})
