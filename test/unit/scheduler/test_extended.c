/* test_extended.c - extended resources that a DeviceClass provides: which they are, on which
 * nodes they are devices, and the claim and the status that follow. */
#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "lib/base/buf.h"
#include "scheduler/devices/devices.h"
#include "scheduler/devices/extended.h"
#include "scheduler/resources.h"
#include "test/unit/scheduler/cluster.h"

#define PREFIX "deviceclass.resource.kubernetes.io/"

static struct api_object *parse(const char *group, const char *kind, const char *json)
{
    const struct api_kind *k = api_kind_by_gvk(str_of(group), STR("v1"), str_of(kind));
    struct api_object *o = api_object_new(k);
    struct error err = {0};
    int rc = api_json_decode(o->arena, k->msg, str_of(json), API_STRICT, NULL, o->msg, &err);
    ck_assert_msg(rc == 0, "%s: %s", json, error_message(&err));
    return o;
}

static struct devices *classes(void)
{
    static const char *const all[] = {
        "{\"metadata\":{\"name\":\"gpu\"},\"spec\":{\"extendedResourceName\":\"example.com/gpu\"}}",
        "{\"metadata\":{\"name\":\"nic\"},\"spec\":{}}"};
    struct devices *d = devices_new();
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        struct api_object *o = parse("resource.k8s.io", "DeviceClass", all[i]);
        devices_set_class(d, o);
        api_object_unref(o);
    }
    return d;
}

/* Two containers and one before them; the requests' keys are sorted as objects have them. */
#define POD                                                                                        \
    "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"uid\":\"u\"},\"spec\":{"                 \
    "\"initContainers\":[{\"name\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"1\","              \
    "\"example.com/gpu\":\"1\"}}}],"                                                               \
    "\"containers\":[{\"name\":\"a\",\"resources\":{\"requests\":{\"" PREFIX "nic\":\"2\","        \
    "\"example.com/gpu\":\"3\",\"example.com/other\":\"1\"}}},"                                    \
    "{\"name\":\"b\",\"resources\":{\"requests\":{\"cpu\":\"1\",\"example.com/gpu\":\"0\"}}}]}}"

static struct str claim_text(struct arena *a, const struct resource_v1_resource_claim *c)
{
    struct str s = STR("");
    for (size_t i = 0; i < c->spec.devices.requests_count; i++) {
        const struct resource_v1_device_request *r = &c->spec.devices.requests[i];
        s = arena_printf(a, STR_FMT "%s" STR_FMT "=" STR_FMT ":%lld", STR_ARG(s), i != 0 ? " " : "",
                         STR_ARG(r->name), STR_ARG(r->exactly->device_class_name),
                         (long long)r->exactly->count);
    }
    return s;
}

static const char *on_node(const struct devices *d, const struct core_v1_pod *pod,
                           const char *allocatable, struct arena *a)
{
    struct api_object *o = parse(
        "", "Node",
        str_c(arena_printf(a, "{\"metadata\":{\"name\":\"n\"},\"status\":{\"allocatable\":{%s}}}",
                           allocatable)));
    const struct core_v1_node *node = o->msg;
    struct resources want = {0}, have = {0};
    pod_requests(pod, false, &want);
    resources_from_list(&have, node->status.allocatable, node->status.allocatable_count);
    uint64_t bits = extended_on_node(extended_by_class(d, &want), &want, &have);
    struct str text =
        bits != 0 ? claim_text(a, extended_claim(d, a, pod, &want, bits)) : STR("nothing");
    resources_done(&want);
    resources_done(&have);
    api_object_unref(o);
    return str_c(arena_str(a, text));
}

/* What the node advertises is its device plugin's; the rest is asked of drivers, one request for
 * each container and resource, named by their places. */
START_TEST(claims)
{
    AUTO_ARENA *a = arena_new(0);
    struct devices *d = classes();
    struct api_object *o = parse("", "Pod", POD);
    ck_assert_str_eq(on_node(d, o->msg, "\"cpu\":\"8\"", a),
                     "container-0-request-1=gpu:1 container-1-request-0=nic:2 "
                     "container-1-request-1=gpu:3");
    ck_assert_str_eq(on_node(d, o->msg, "\"example.com/gpu\":\"4\"", a),
                     "container-1-request-0=nic:2");
    ck_assert_str_eq(on_node(d, o->msg, "\"example.com/gpu\":\"0\",\"" PREFIX "nic\":\"1\"", a),
                     "container-0-request-1=gpu:1 container-1-request-1=gpu:3");
    ck_assert_str_eq(on_node(d, o->msg, "\"example.com/gpu\":\"4\",\"" PREFIX "nic\":\"1\"", a),
                     "nothing");
    api_object_unref(o);
    devices_free(d);
}
END_TEST

/* Without a class of that name, and without classes at all, they are a device plugin's. */
START_TEST(unknown)
{
    struct devices *d = classes();
    struct api_object *o = parse("", "Pod",
                                 "{\"spec\":{\"containers\":[{\"name\":\"a\",\"resources\":{"
                                 "\"requests\":{\"" PREFIX "absent\":\"1\",\"example.com/other\":"
                                 "\"1\",\"hugepages-2Mi\":\"2Mi\"}}}]}}");
    struct resources want = {0}, have = {0};
    pod_requests(o->msg, false, &want);
    ck_assert_uint_eq(want.scalar_count, 3);
    ck_assert_uint_eq(extended_by_class(d, &want), 0);
    ck_assert_uint_eq(extended_by_class(NULL, &want), 0);
    ck_assert(!extended_is_device(d, &have, "example.com/other"));
    ck_assert(!extended_is_device(NULL, &have, "example.com/gpu"));
    ck_assert(extended_is_device(d, &have, "example.com/gpu"));
    ck_assert(extended_is_device(d, &have, PREFIX "nic"));
    resources_done(&want);
    api_object_unref(o);
    devices_free(d);
}
END_TEST

/* The claim is its pod's and marked; the status names each request's container and resource. */
START_TEST(status)
{
    AUTO_ARENA *a = arena_new(0);
    struct devices *d = classes();
    struct api_object *o = parse("", "Pod", POD);
    struct core_v1_pod_extended_resource_claim_status s;
    struct resources want = {0};
    pod_requests(o->msg, false, &want);
    struct resource_v1_resource_claim *c =
        extended_claim(d, a, o->msg, &want, extended_by_class(d, &want));
    ck_assert(str_eqc(c->metadata.generate_name, "p-extended-resources-"));
    ck_assert(str_eqc(c->metadata.namespace, "ns"));
    ck_assert(
        str_eqc(c->metadata.annotations[0].key, "resource.kubernetes.io/extended-resource-claim"));
    ck_assert(str_eqc(c->metadata.owner_references[0].uid, "u"));
    ck_assert(c->metadata.owner_references[0].controller);
    c->metadata.name = STR("p-extended-resources-x");
    extended_claim_status(a, o->msg, c, &s);
    ck_assert(str_eqc(s.resource_claim_name, "p-extended-resources-x"));
    ck_assert_uint_eq(s.request_mappings_count, 3);
    ck_assert(str_eqc(s.request_mappings[0].container_name, "i"));
    ck_assert(str_eqc(s.request_mappings[0].resource_name, "example.com/gpu"));
    ck_assert(str_eqc(s.request_mappings[0].request_name, "container-0-request-1"));
    ck_assert(str_eqc(s.request_mappings[1].resource_name, PREFIX "nic"));
    ck_assert(str_eqc(s.request_mappings[2].container_name, "a"));
    resources_done(&want);
    api_object_unref(o);
    devices_free(d);
}
END_TEST

/* A scheduler that finds the pod's claim of an earlier attempt waits until it is gone. */
START_TEST(left_over)
{
    struct devices *d = classes();
    struct api_object *pod = parse("", "Pod", POD);
    ck_assert_ptr_null(devices_extended_claim(d, pod->msg));
    struct api_object *o =
        parse("resource.k8s.io", "ResourceClaim",
              "{\"metadata\":{\"name\":\"c\",\"namespace\":\"ns\",\"uid\":\"x\",\"annotations\":{"
              "\"" EXTENDED_CLAIM_ANNOTATION "\":\"true\"},\"ownerReferences\":[{\"apiVersion\":"
              "\"v1\",\"kind\":\"Pod\",\"name\":\"p\",\"uid\":\"u\",\"controller\":true}]}}");
    devices_set_claim(d, o);
    ck_assert_ptr_eq(devices_extended_claim(d, pod->msg), o);
    ck_assert_int_eq(devices_remove_claim(d, o), CLAIM_NEWS_FREED);
    ck_assert_ptr_null(devices_extended_claim(d, pod->msg));
    api_object_unref(o);
    api_object_unref(pod);
    devices_free(d);
}
END_TEST

/* Whoever may write a claim may mark it, take the mark off and name any pod. */
START_TEST(marks_that_change)
{
#define MARKED(ns, kind, version, mark)                                                            \
    "{\"metadata\":{\"name\":\"c\",\"namespace\":\"" ns                                            \
    "\",\"uid\":\"x\",\"resourceVersion\":\"" version                                              \
    "\",\"annotations\":{\"" EXTENDED_CLAIM_ANNOTATION "\":\"" mark                                \
    "\"},\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"" kind                             \
    "\",\"name\":\"p\",\"uid\":\"u\",\"controller\":true}]}}"
    static const struct {
        const char *json;
        bool counts;
    } steps[] = {
        {MARKED("ns", "Pod", "1", "true"), true},     {MARKED("ns", "Pod", "2", "no"), false},
        {MARKED("ns", "Pod", "3", "true"), true},     {MARKED("ns", "Job", "4", "true"), false},
        {MARKED("other", "Pod", "5", "true"), false},
    };
    struct devices *d = classes();
    struct api_object *pod = parse("", "Pod", POD);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct api_object *o = parse("resource.k8s.io", "ResourceClaim", steps[i].json);
        devices_set_claim(d, o);
        struct api_object *found = devices_extended_claim(d, pod->msg);
        ck_assert_msg(found == (steps[i].counts ? o : NULL), "step %zu", i);
        api_object_unref(o); /* What the table still lends lives on in it alone. */
    }
    ck_assert_ptr_null(devices_extended_claim(d, pod->msg));
    api_object_unref(pod);
    devices_free(d);
}
END_TEST

UNIT_MAIN("extended", {
    UNIT_TEST(claims);
    UNIT_TEST(unknown);
    UNIT_TEST(status);
    UNIT_TEST(left_over);
    UNIT_TEST(marks_that_change);
})
