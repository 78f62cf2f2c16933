/* test_resize.c - amounts that a pod asks for, is allocated, and has. */
#include "kubelet/resize.h"

#include "api/core_v1.h"
#include "test/unit/scheduler/cluster.h"

#define RESOURCES(request, limit)                                                                  \
    "{\"requests\":{\"cpu\":\"" request "\"},\"limits\":{\"cpu\":\"" limit "\"}}"
#define POD(resources, status)                                                                     \
    "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},\"spec\":{\"containers\":[{\"name\":\"c\","      \
    "\"resources\":" resources "},{\"name\":\"d\"}]},\"status\":{" status "}}"

static const struct core_v1_container *first(const struct api_object *o)
{
    return &((const struct core_v1_pod *)o->msg)->spec.containers[0];
}

static void expect(const struct core_v1_resource_requirements *r, int64_t request, int64_t limit)
{
    int64_t got = -1;
    resource_milli(r->requests, r->requests_count, "cpu", &got);
    ck_assert_int_eq(got, request);
    got = -1;
    resource_milli(r->limits, r->limits_count, "cpu", &got);
    ck_assert_int_eq(got, limit);
}

/* An object with other amounts is told from one that differs in other things, and takes them over.
 */
START_TEST(amounts)
{
    struct api_object *x = object_from("Pod", POD(RESOURCES("1", "2"), "")),
                      *same =
                          object_from("Pod", POD(RESOURCES("1000m", "2"), "\"phase\":\"Running\"")),
                      *other = object_from("Pod", POD(RESOURCES("1", "3"), "")),
                      *none = object_from("Pod", POD("{\"requests\":{\"cpu\":\"1\"}}", ""));
    ck_assert(!resize_differs(x, same));
    ck_assert(resize_differs(x, other) && resize_differs(other, x));
    ck_assert(resize_differs(x, none) && resize_differs(none, x));
    struct api_object *mixed = resize_with_amounts(same, other);
    expect(&first(mixed)->resources, 1000, 3000);
    expect(&first(same)->resources, 1000, 2000);
    ck_assert(str_eqc(((const struct core_v1_pod *)mixed->msg)->status.phase, "Running"));
    api_object_unref(mixed);
    api_object_unref(x);
    api_object_unref(same);
    api_object_unref(other);
    api_object_unref(none);
}
END_TEST

/* After a restart the status tells what was allocated and applied. */
START_TEST(told_by_status)
{
    struct api_object *o = object_from(
        "Pod", POD(RESOURCES("4", "8"),
                   "\"containerStatuses\":[{\"name\":\"c\",\"allocatedResources\":{\"cpu\":\"2\"},"
                   "\"resources\":" RESOURCES("1", "3") "},{\"name\":\"d\"}]"));
    struct api_object *told = resize_as_told(o);
    expect(&first(told)->resources, 2000, 3000);
    ck_assert(resize_differs(o, told));
    expect(resize_applied(o->msg, STR("c")), 1000, 3000);
    ck_assert_ptr_null(resize_applied(o->msg, STR("d")));
    ck_assert_ptr_null(resize_applied(o->msg, STR("e")));
    api_object_unref(told);
    api_object_unref(o);
    /* A status without amounts says nothing. */
    o = object_from("Pod", POD(RESOURCES("4", "8"), "\"containerStatuses\":[{\"name\":\"c\"}]"));
    told = resize_as_told(o);
    ck_assert(!resize_differs(o, told));
    api_object_unref(told);
    api_object_unref(o);
}
END_TEST

/* Only a change of the resource that the policy names restarts. */
START_TEST(restarts)
{
    struct api_object *was = object_from("Pod", POD(RESOURCES("1", "2"), "")),
                      *is = object_from("Pod", POD(RESOURCES("1", "3"), ""));
    struct core_v1_container c = *first(is);
    struct core_v1_container_resize_policy policy[2] = {{STR("cpu"), STR("NotRequired")},
                                                        {STR("memory"), STR("RestartContainer")}};
    ck_assert(!resize_restarts(&c, &first(was)->resources));
    c.resize_policy = policy;
    c.resize_policy_count = 2;
    ck_assert(!resize_restarts(&c, &first(was)->resources));
    policy[0].restart_policy = STR("RestartContainer");
    ck_assert(resize_restarts(&c, &first(was)->resources));
    ck_assert(!resize_restarts(&c, &c.resources));
    api_object_unref(was);
    api_object_unref(is);
}
END_TEST

/* While containers change the pod has room for what they had and what they get. */
START_TEST(widened)
{
    struct cgroup_limits l = {100, 20000, 64}, more = {50, 30000, 32}, open = {200, 0, 0};
    resize_widen(&l, &more);
    ck_assert_int_eq(l.cpu_shares, 100);
    ck_assert_int_eq(l.cpu_quota_us, 30000);
    ck_assert_int_eq(l.memory_bytes, 64);
    resize_widen(&l, &open);
    ck_assert_int_eq(l.cpu_shares, 200);
    ck_assert_int_eq(l.cpu_quota_us, 0);
    ck_assert_int_eq(l.memory_bytes, 0);
}
END_TEST

UNIT_MAIN("kubelet/resize", {
    UNIT_TEST(amounts);
    UNIT_TEST(told_by_status);
    UNIT_TEST(restarts);
    UNIT_TEST(widened);
})
