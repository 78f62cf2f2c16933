/* test_pod_record.c - placed pods at rest: what they share, what is their own, that nothing is
 * lost. */
#include "scheduler/pod_record.h"

#include "lib/api/pack.h"
#include "lib/base/buf.h"
#include "scheduler/preemption.h"
#include "scheduler/snapshot.h"
#include "scheduler/trim.h"
#include "test/unit/scheduler/cluster.h"

#include <stdio.h>

/* Parts of a pod that differ between pods of one template, and a part of the spec. */
static struct api_object *pod(const char *name, const char *node, const char *more)
{
    static int version;
    AUTO_BUF b = BUF_INIT;
    version++;
    buf_printf(&b,
               "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\",\"uid\":\"uid-%s\","
               "\"resourceVersion\":\"%d\",\"creationTimestamp\":\"2026-01-02T03:04:%02dZ\","
               "\"generation\":1,\"labels\":{\"app\":\"web\"}},"
               "\"spec\":{\"nodeName\":\"%s\",\"priority\":5,\"containers\":[{\"name\":\"c\","
               "\"image\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]%s},"
               "\"status\":{\"startTime\":\"2026-01-02T03:05:%02dZ\"}}",
               name, name, version, version % 60, node, more, version % 60);
    buf_putc(&b, 0);
    return object_from("Pod", (const char *)b.data);
}

static void encode(const struct api_object *o, struct buf *b)
{
    api_pb_encode(o->kind->msg, o->msg, b);
}

static const struct core_v1_pod *msg(const struct api_object *o)
{
    return o->msg;
}

/* Packed and unpacked, a pod is the same to the last byte. */
static void check_round_trip(struct api_packer *packer, struct api_object *o)
{
    AUTO_BUF before = BUF_INIT;
    AUTO_BUF after = BUF_INIT;
    encode(o, &before);
    api_object_pack(packer, o);
    ck_assert_ptr_null(o->msg);
    ck_assert_uint_lt(api_object_packed_bytes(o), 220);
    api_object_unpack(o);
    encode(o, &after);
    ck_assert(str_eq(buf_str(&before), buf_str(&after)));
    api_object_pack(packer, o);
}

/* Pods of one template share a shape, others have theirs; a shape ends with its last pod, and
 * none of it matters to what is read. */
START_TEST(pods_share_shapes)
{
    struct pod_shapes *t = pod_shapes_new();
    struct api_packer *packer = pod_shapes_packer(t);
    struct api_object *pods[] = {
        pod("a", "n1", ""),
        pod("b", "n2", ""),
        pod("c", "", ""),
        pod("other", "n1", ",\"nodeSelector\":{\"disk\":\"ssd\"}"),
    };
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++)
        check_round_trip(packer, pods[i]);
    ck_assert_uint_eq(pod_shapes_count(t), 2);
    api_object_unref(pods[3]);
    ck_assert_uint_eq(pod_shapes_count(t), 1);
    struct pod_record *r = pod_record_of(t, pods[0]);
    for (size_t i = 0; i < 3; i++)
        api_object_unref(pods[i]);
    api_packer_free(packer);
    ck_assert_uint_eq(pod_shapes_count(t), 1);
    struct api_object *o = pod_record_object(r);
    pod_record_unref(r);
    ck_assert_str_eq(str_c(api_object_meta(o)->uid), "uid-a");
    pod_shapes_unref(t); /* The object keeps what it is made of. */
    ck_assert_str_eq(str_c(msg(o)->spec.containers[0].image), "i");
    api_object_unref(o);
}
END_TEST

/* Plugins ask a pod with claims for its name and uid: its shape is its own. */
START_TEST(claims_belong_to_one_pod)
{
    static const char claim[] =
        ",\"volumes\":[{\"name\":\"v\",\"ephemeral\":{\"volumeClaimTemplate\":{\"spec\":{"
        "\"accessModes\":[\"ReadWriteOnce\"]}}}}]";
    struct pod_shapes *t = pod_shapes_new();
    struct api_object *x = pod("x", "n1", claim), *y = pod("y", "n1", claim);
    struct pod_record *rx = pod_record_of(t, x), *ry = pod_record_of(t, y);
    ck_assert_uint_eq(pod_shapes_count(t), 2);
    ck_assert_str_eq(str_c(pod_record_shared(rx)->metadata.name), "x");
    ck_assert_str_eq(str_c(pod_record_shared(ry)->metadata.uid), "uid-y");
    pod_record_unref(rx);
    pod_record_unref(ry);
    api_object_unref(x);
    api_object_unref(y);
    ck_assert_uint_eq(pod_shapes_count(t), 0);
    pod_shapes_unref(t);
}
END_TEST

/* Trimmed, the pods of a DaemonSet or StatefulSet differ no more than others. */
START_TEST(trimmed_pods_are_alike)
{
    struct pod_shapes *t = pod_shapes_new();
    struct pod_record *records[3];
    for (int i = 0; i < 3; i++) {
        char node[16], own[600];
        snprintf(node, sizeof(node), "n%d", i);
        snprintf(
            own, sizeof(own),
            ",\"hostname\":\"h-%d\",\"volumes\":[{\"name\":\"kube-api-access-%d\",\"emptyDir\":"
            "{}}],\"affinity\":{\"nodeAffinity\":{"
            "\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[{"
            "\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":["
            "\"n%d\"]}]}]}}}",
            i, i, i);
        struct api_object *o = pod(node, node, own);
        trim_pod(o);
        records[i] = pod_record_of(t, o);
        api_object_unref(o);
    }
    ck_assert_uint_eq(pod_shapes_count(t), 1);
    for (int i = 0; i < 3; i++)
        pod_record_unref(records[i]);
    pod_shapes_unref(t);
}
END_TEST

/* A pod is assumed as an object, confirmed as a record, counts the same, and is whole again as a
 * victim. */
START_TEST(snapshot_keeps_records)
{
    struct snapshot s;
    snapshot_init(&s);
    struct pod_shapes *t = s.shapes = pod_shapes_new();
    add_node(&s, "{\"metadata\":{\"name\":\"n1\"},\"status\":{\"allocatable\":{\"cpu\":\"1\","
                 "\"memory\":\"1Gi\",\"pods\":\"10\"}}}");
    struct api_object *waits = pod("a", "", ""), *bound = api_object_clone(waits);
    ((struct core_v1_pod *)bound->msg)->spec.node_name = STR("n1");
    snapshot_assume(&s, waits, snapshot_node(&s, STR("n1")));
    const struct pod_info *p = map_get(&s.pods, STR("uid-a"));
    ck_assert_ptr_eq(p->object, waits);
    snapshot_set_pod(&s, bound);
    p = map_get(&s.pods, STR("uid-a"));
    ck_assert_ptr_null(p->object);
    ck_assert(!p->assumed);
    ck_assert_str_eq(str_c(pod_info_name(p)), "a");
    ck_assert_str_eq(str_c(pod_info_uid(p)), "uid-a");
    ck_assert_int_ne(pod_info_start_ns(p), INT64_MAX);
    ck_assert_int_eq(p->node->requested.milli_cpu, 1000);
    api_object_unref(waits);
    api_object_unref(bound);

    struct decision d;
    struct preemption pre;
    decide(&s,
           "{\"metadata\":{\"name\":\"big\",\"uid\":\"big\"},\"spec\":{\"priority\":9,"
           "\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}",
           &d);
    preemption_evaluate(&d.cycle, NULL, 0, &pre);
    ck_assert_uint_eq(pre.victim_count, 1);
    snapshot_remove_pod(&s, STR("uid-a"));
    ck_assert_str_eq(str_c(api_object_meta(pre.victims[0])->uid), "uid-a");
    ck_assert_str_eq(str_c(msg(pre.victims[0])->spec.node_name), "n1");
    ck_assert_str_eq(str_c(api_object_meta(pre.victims[0])->labels[0].value), "web");
    decision_done(&d);
    ck_assert_int_eq(s.nodes[0]->requested.milli_cpu, 0);
    snapshot_done(&s);
    ck_assert_uint_eq(pod_shapes_count(t), 0);
    pod_shapes_unref(t);
}
END_TEST

UNIT_MAIN("scheduler/pod_record", {
    UNIT_TEST(pods_share_shapes);
    UNIT_TEST(claims_belong_to_one_pod);
    UNIT_TEST(trimmed_pods_are_alike);
    UNIT_TEST(snapshot_keeps_records);
})
