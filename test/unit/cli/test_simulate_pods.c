/* test_simulate_pods.c - which pods a workload stands for. */
#include "cli/simulate_pods.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

static struct api_object *parsed(const char *group, const char *kind, const char *json)
{
    const struct api_kind *k = api_kind_by_gvk(str_of(group), STR("v1"), str_of(kind));
    struct api_object *o = api_object_new(k);
    struct error err = {0};
    int rc = api_json_decode(o->arena, k->msg, str_of(json), API_STRICT, NULL, o->msg, &err);
    ck_assert_msg(rc == 0, "%s", error_message(&err));
    return o;
}

/* A Deployment's pods belong to a ReplicaSet with its selector. */
START_TEST(deployment)
{
    struct error err = {0};
    struct workload w;
    struct api_object *d =
        parsed("apps", "Deployment",
               "{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\"},\"spec\":{\"replicas\":3,"
               "\"selector\":{\"matchLabels\":{\"app\":\"web\"}},\"template\":{\"metadata\":{"
               "\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[{\"name\":\"c\"}]}}}}");
    ck_assert_int_eq(workload_of(d, &w, &err), 0);
    api_object_unref(d);
    ck_assert_int_eq(w.replicas, 3);
    struct api_object *o = workload_pod(&w, 2);
    const struct core_v1_pod *pod = o->msg;
    ck_assert_str_eq(pod->metadata.name.data, "web-2");
    ck_assert_str_eq(pod->metadata.namespace.data, "shop");
    ck_assert_uint_eq(pod->spec.containers_count, 1);
    ck_assert_uint_eq(pod->metadata.owner_references_count, 1);
    ck_assert_str_eq(pod->metadata.owner_references[0].kind.data, "ReplicaSet");
    ck_assert_ptr_nonnull(w.owner);
    api_object_unref(o);
    workload_done(&w);
}
END_TEST

/* A pod is asked about as if it had no node; copies have names of their own. */
START_TEST(pod)
{
    struct error err = {0};
    struct workload w;
    struct api_object *p = parsed(
        "", "Pod", "{\"metadata\":{\"name\":\"p\",\"uid\":\"u\"},\"spec\":{\"nodeName\":\"n\"}}");
    ck_assert_int_eq(workload_of(p, &w, &err), 0);
    api_object_unref(p);
    struct api_object *o = workload_pod(&w, 0);
    ck_assert(str_empty(((struct core_v1_pod *)o->msg)->spec.node_name));
    api_object_unref(o);
    o = workload_pod(&w, 4);
    ck_assert_str_eq(api_object_meta(o)->name.data, "p-4");
    ck_assert(str_empty(api_object_meta(o)->uid));
    api_object_unref(o);
    workload_done(&w);
}
END_TEST

/* What makes no pods is refused. */
START_TEST(others)
{
    struct error err = {0};
    struct workload w;
    struct api_object *s = parsed("", "Service", "{\"metadata\":{\"name\":\"s\"}}");
    ck_assert_int_ne(workload_of(s, &w, &err), 0);
    ck_assert_str_eq(error_message(&err), "no pods are made of kind \"Service\"");
    api_object_unref(s);
}
END_TEST

UNIT_MAIN("cli/simulate_pods", {
    UNIT_TEST(deployment);
    UNIT_TEST(pod);
    UNIT_TEST(others);
})
