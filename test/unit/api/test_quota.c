/* What objects use of a quota. */
#include "lib/api/quota.h"

#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

static struct arena *arena; /* Of the running test. */

static void *decode(const char *kind, const char *json)
{
    bool core = strcmp(kind, "ResourceClaim") != 0;
    const struct api_kind *k =
        api_kind_by_gvk(core ? STR("") : STR("resource.k8s.io"), STR("v1"), str_of(kind));
    struct error err = {0};
    void *msg = arena_zalloc(arena, k->msg->size);
    if (api_json_decode(arena, k->msg, str_of(json), API_LENIENT, NULL, msg, &err) != 0)
        ck_abort_msg("%s", error_message(&err));
    return msg;
}

static const char *amount(const struct resource_list *l, const char *name)
{
    const struct quantity *q = resource_list_get(l, str_of(name));
    return q != NULL ? str_c(quantity_str(arena, q)) : "none";
}

static const char POD[] =
    "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"overhead\":{\"cpu\":\"50m\"},\"containers\":["
    "{\"name\":\"a\",\"resources\":{\"requests\":{\"cpu\":\"100m\",\"x.io/gpu\":\"1\"},"
    "\"limits\":{\"cpu\":\"200m\",\"x.io/gpu\":\"1\"}}},"
    "{\"name\":\"b\",\"resources\":{\"requests\":{\"cpu\":\"200m\",\"memory\":\"1Gi\"}}}],"
    "\"initContainers\":[{\"name\":\"s\",\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{"
    "\"cpu\":\"10m\"}}},{\"name\":\"i\",\"resources\":{\"requests\":{\"memory\":\"3Gi\"}}}]},"
    "\"status\":{\"phase\":\"Running\",\"qosClass\":\"Burstable\"}}";

/* Containers together, sidecars, the largest init container, and the overhead. */
START_TEST(pod_amounts)
{
    struct resource_list l = {.arena = arena};
    quota_usage("", "pods", decode("Pod", POD), 0, NULL, &l);
    ck_assert_str_eq(amount(&l, "pods"), "1");
    ck_assert_str_eq(amount(&l, "count/pods"), "1");
    ck_assert_str_eq(amount(&l, "cpu"), "360m");
    ck_assert_str_eq(amount(&l, "requests.cpu"), "360m");
    ck_assert_str_eq(amount(&l, "limits.cpu"), "250m");
    ck_assert_str_eq(amount(&l, "requests.memory"), "3Gi");
    ck_assert_str_eq(amount(&l, "limits.memory"), "none");
    ck_assert_str_eq(amount(&l, "requests.x.io/gpu"), "1");
    ck_assert_str_eq(amount(&l, "x.io/gpu"), "none");
}
END_TEST

/* A pod that has ended, or should have, is only an object. */
START_TEST(pod_over)
{
    struct resource_list l = {.arena = arena};
    struct core_v1_pod *p = decode("Pod", POD);
    p->status.phase = STR("Succeeded");
    quota_usage("", "pods", p, 0, NULL, &l);
    ck_assert_str_eq(amount(&l, "count/pods"), "1");
    ck_assert_str_eq(amount(&l, "pods"), "none");
    p = decode("Pod", POD);
    p->metadata.deletion_timestamp = ARENA_NEW(arena, struct meta_v1_time);
    p->metadata.deletion_timestamp->seconds = 100;
    p->metadata.has_deletion_grace_period_seconds = true;
    p->metadata.deletion_grace_period_seconds = 30;
    l = (struct resource_list){.arena = arena};
    quota_usage("", "pods", p, 130, NULL, &l);
    ck_assert_str_eq(amount(&l, "pods"), "1");
    l = (struct resource_list){.arena = arena};
    quota_usage("", "pods", p, 131, NULL, &l);
    ck_assert_str_eq(amount(&l, "pods"), "none");
}
END_TEST

/* Claims count by storage class too. */
START_TEST(claim_amounts)
{
    struct resource_list l = {.arena = arena};
    quota_usage("", "persistentvolumeclaims",
                decode("PersistentVolumeClaim",
                       "{\"spec\":{\"storageClassName\":\"fast\",\"resources\":{\"requests\":{"
                       "\"storage\":\"2Gi\"}}},\"status\":{\"allocatedResources\":{\"storage\":"
                       "\"3Gi\"}}}"),
                0, NULL, &l);
    ck_assert_str_eq(amount(&l, "persistentvolumeclaims"), "1");
    ck_assert_str_eq(amount(&l, "requests.storage"), "3Gi");
    ck_assert_str_eq(amount(&l, "fast.storageclass.storage.k8s.io/requests.storage"), "3Gi");
    ck_assert_str_eq(amount(&l, "fast.storageclass.storage.k8s.io/persistentvolumeclaims"), "1");
}
END_TEST

/* Node ports: all of a NodePort service, of a balancer as far as it has them. */
START_TEST(service_amounts)
{
    struct resource_list l = {.arena = arena};
    quota_usage("", "services",
                decode("Service", "{\"spec\":{\"type\":\"LoadBalancer\","
                                  "\"allocateLoadBalancerNodePorts\":false,\"ports\":[{\"port\":1},"
                                  "{\"port\":2,\"nodePort\":30000}]}}"),
                0, NULL, &l);
    ck_assert_str_eq(amount(&l, "services.loadbalancers"), "1");
    ck_assert_str_eq(amount(&l, "services.nodeports"), "1");
    ck_assert_str_eq(amount(&l, "services"), "1");
}
END_TEST

static bool applies(const char *quota, const char *pod)
{
    return quota_applies(decode("ResourceQuota", quota), "", "pods", decode("Pod", pod));
}

/* Scopes and selectors choose pods; what has no scopes is never chosen by one. */
START_TEST(scopes)
{
    ck_assert(applies("{\"spec\":{\"scopes\":[\"NotBestEffort\",\"NotTerminating\"]}}", POD));
    ck_assert(!applies("{\"spec\":{\"scopes\":[\"BestEffort\"]}}", POD));
    ck_assert(!applies("{\"spec\":{\"scopes\":[\"Terminating\"]}}", POD));
    ck_assert(!applies("{\"spec\":{\"scopes\":[\"PriorityClass\"]}}", POD));
    static const char in[] = "{\"spec\":{\"scopeSelector\":{\"matchExpressions\":[{\"scopeName\":"
                             "\"PriorityClass\",\"operator\":\"In\",\"values\":[\"high\"]}]}}}";
    static const char not_in[] =
        "{\"spec\":{\"scopeSelector\":{\"matchExpressions\":[{\"scopeName\":"
        "\"PriorityClass\",\"operator\":\"NotIn\",\"values\":[\"high\"]}]}}}";
    static const char high[] = "{\"spec\":{\"priorityClassName\":\"high\"}}";
    ck_assert(applies(in, high));
    ck_assert(!applies(in, POD));
    ck_assert(!applies(not_in, high));
    ck_assert(applies(not_in, POD));
    ck_assert(!quota_applies(decode("ResourceQuota", in), "", "configmaps", NULL));
    ck_assert(quota_applies(decode("ResourceQuota", "{}"), "", "configmaps", NULL));
}
END_TEST

/* Devices by their class: those that are asked for, all there may be, the worst of alternatives. */
START_TEST(device_amounts)
{
#define CLASS(name) name ".deviceclass.resource.k8s.io/devices"
    const struct api_kind *k =
        api_kind_by_gvk(STR("resource.k8s.io"), STR("v1"), STR("ResourceClaim"));
    struct error err = {0};
    struct resource_list l = {.arena = arena};
    void *claim = arena_zalloc(arena, k->msg->size);
    static const char json[] =
        "{\"spec\":{\"devices\":{\"requests\":[{\"name\":\"a\",\"exactly\":{\"deviceClassName\":"
        "\"gpu\",\"allocationMode\":\"ExactCount\",\"count\":2}},{\"name\":\"b\",\"exactly\":{"
        "\"deviceClassName\":\"nic\",\"allocationMode\":\"All\"}},{\"name\":\"c\","
        "\"firstAvailable\":[{\"name\":\"x\",\"deviceClassName\":\"gpu\",\"count\":1},{\"name\":"
        "\"y\",\"deviceClassName\":\"gpu\",\"count\":4},{\"name\":\"z\",\"deviceClassName\":"
        "\"fpga\",\"count\":1}]}]}}}";
    if (api_json_decode(arena, k->msg, STR(json), API_LENIENT, NULL, claim, &err) != 0)
        ck_abort_msg("%s", error_message(&err));
    quota_usage("resource.k8s.io", "resourceclaims", claim, 0, NULL, &l);
    ck_assert_str_eq(amount(&l, CLASS("gpu")), "6");
    ck_assert_str_eq(amount(&l, CLASS("nic")), "32");
    ck_assert_str_eq(amount(&l, CLASS("fpga")), "1");
    ck_assert_str_eq(amount(&l, "count/resourceclaims.resource.k8s.io"), "1");
    ck_assert(quota_counts(arena, STR(CLASS("gpu")), "resource.k8s.io", "resourceclaims"));
    ck_assert(!quota_counts(arena, STR(CLASS("gpu")), "", "pods"));
}
END_TEST

static struct core_v1_pod *asking; /* NULL: there is no pod. */
static const struct resource_v1_resource_claim *others[2];

static struct str extended_name(void *arg, struct str class)
{
    (void)arg;
    return str_eqc(class, "gpu") ? STR("example.com/gpu") : STR_NULL;
}

static const struct core_v1_pod *find_pod(void *arg, struct str ns, struct str name)
{
    (void)arg;
    (void)ns;
    return asking != NULL && str_eq(asking->metadata.name, name) ? asking : NULL;
}

static void each_claim(void *arg, struct str ns, struct str pod_uid,
                       void (*each)(const struct resource_v1_resource_claim *c, void *each_arg),
                       void *each_arg)
{
    (void)arg;
    (void)ns;
    (void)pod_uid;
    for (size_t i = 0; i < ARRAY_SIZE(others) && others[i] != NULL; i++)
        each(others[i], each_arg);
}

static const char *claim_uses(const char *claim, const char *name)
{
    static const struct quota_lookup lookup = {extended_name, find_pod, each_claim, NULL};
    struct resource_list l = {.arena = arena};
    quota_usage("resource.k8s.io", "resourceclaims", decode("ResourceClaim", claim), 0, &lookup,
                &l);
    return resource_list_get(&l, str_of(name)) != NULL ? amount(&l, name) : "none";
}

/* Devices count by the extended names of their class, but not twice: those of a pod count with it.
 */
START_TEST(extended_names)
{
#define REQUESTS(n)                                                                                \
    "\"spec\":{\"devices\":{\"requests\":[{\"name\":\"a\",\"exactly\":{\"deviceClassName\":"       \
    "\"gpu\","                                                                                     \
    "\"allocationMode\":\"ExactCount\",\"count\":" #n "}}]}}}"
#define EXTENDED(name, n)                                                                          \
    "{\"metadata\":{\"name\":\"" name                                                              \
    "\",\"namespace\":\"n\",\"annotations\":{\"resource.kubernetes.io/"                            \
    "extended-resource-claim\":\"true\"},\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":"    \
    "\"Pod\","                                                                                     \
    "\"name\":\"p\",\"uid\":\"u\",\"controller\":true}]}," REQUESTS(n)
#define BY_NAME "requests.example.com/gpu"
#define BY_CLASS "requests.deviceclass.resource.kubernetes.io/gpu"
    ck_assert_str_eq(
        claim_uses("{\"metadata\":{\"name\":\"c\",\"namespace\":\"n\"}," REQUESTS(2), BY_NAME),
        "2");
    ck_assert_str_eq(
        claim_uses("{\"metadata\":{\"name\":\"c\",\"namespace\":\"n\"}," REQUESTS(2), BY_CLASS),
        "2");
    ck_assert_str_eq(claim_uses(EXTENDED("c", 2), BY_NAME), "2"); /* There is no such pod. */
    asking = decode("Pod", "{\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\"},"
                           "\"spec\":{\"containers\":[{\"name\":\"c\","
                           "\"resources\":{\"requests\":{\"example.com/gpu\":\"2\"}}}]}}");
    ck_assert_str_eq(claim_uses(EXTENDED("c", 2), BY_NAME), "none");
    ck_assert_str_eq(claim_uses(EXTENDED("c", 5), BY_NAME), "3"); /* More than the pod asks for. */
    ck_assert_str_eq(claim_uses(EXTENDED("c", 2), BY_CLASS), "2");
    ck_assert_str_eq(claim_uses(EXTENDED("c", 2), CLASS("gpu")), "2");
    /* Any number of claims may say that they are the pod's: one of them is. */
    others[0] = decode("ResourceClaim", EXTENDED("b", 2));
    ck_assert_str_eq(claim_uses(EXTENDED("c", 2), BY_NAME), "2");
    ck_assert_str_eq(claim_uses(EXTENDED("a", 2), BY_NAME), "none");
    asking->status.extended_resource_claim_status =
        arena_zalloc(arena, sizeof(*asking->status.extended_resource_claim_status));
    asking->status.extended_resource_claim_status->resource_claim_name = STR("c");
    ck_assert_str_eq(claim_uses(EXTENDED("c", 2), BY_NAME), "none");
    ck_assert_str_eq(claim_uses(EXTENDED("a", 2), BY_NAME), "2");
    asking->metadata.uid = STR("another");
    ck_assert_str_eq(claim_uses(EXTENDED("c", 2), BY_NAME), "2");
    ck_assert(quota_counts(arena, STR(BY_NAME), "resource.k8s.io", "resourceclaims"));
    ck_assert(!quota_counts(arena, STR("requests.cpu"), "resource.k8s.io", "resourceclaims"));
    asking = NULL;
    others[0] = NULL;
}
END_TEST

/* Which names a resource can ever use. */
START_TEST(names)
{
    ck_assert(quota_counts(arena, STR("count/deployments.apps"), "apps", "deployments"));
    ck_assert(!quota_counts(arena, STR("count/deployments.apps"), "", "deployments"));
    ck_assert(quota_counts(arena, STR("requests.cpu"), "", "pods"));
    ck_assert(!quota_counts(arena, STR("requests.storage"), "", "pods"));
    ck_assert(quota_counts(arena, STR("requests.storage"), "", "persistentvolumeclaims"));
    ck_assert(quota_counts(arena, STR("services.nodeports"), "", "services"));
    ck_assert(quota_counts(arena, STR("configmaps"), "", "configmaps"));
}
END_TEST

static void setup(void)
{
    arena = arena_new(0);
}

static void teardown(void)
{
    arena_free(arena);
}

UNIT_MAIN("quota", {
    tcase_add_checked_fixture(tc, setup, teardown);
    UNIT_TEST(pod_amounts);
    UNIT_TEST(device_amounts);
    UNIT_TEST(extended_names);
    UNIT_TEST(pod_over);
    UNIT_TEST(claim_amounts);
    UNIT_TEST(service_amounts);
    UNIT_TEST(scopes);
    UNIT_TEST(names);
})
