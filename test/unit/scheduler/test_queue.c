/* test_queue.c - order, backoff and waking of waiting pods; assumed pods. */
#include "scheduler/queue.h"
#include "lib/api/pack.h"
#include "scheduler/pod_record.h"
#include "test/unit/scheduler/cluster.h"

#include <stdio.h>

static void put(struct sched_queue *q, const char *json, uint64_t now_ms)
{
    struct api_object *o = object_from("Pod", json);
    sched_queue_set(q, o, now_ms);
    api_object_unref(o);
}

static const char *name_of(const struct queued_pod *p)
{
    return ((const struct core_v1_pod *)p->object->msg)->metadata.name.data;
}

/* Higher priority first, then the one that waits longer. */
START_TEST(order)
{
    struct sched_queue q;
    sched_queue_init(&q);
    put(&q, "{\"metadata\":{\"name\":\"old\",\"uid\":\"1\"}}", 1);
    put(&q, "{\"metadata\":{\"name\":\"new\",\"uid\":\"2\"}}", 2);
    put(&q, "{\"metadata\":{\"name\":\"top\",\"uid\":\"3\"},\"spec\":{\"priority\":9}}", 3);
    ck_assert_str_eq(name_of(sched_queue_pop(&q)), "top");
    ck_assert_str_eq(name_of(sched_queue_pop(&q)), "old");
    ck_assert_str_eq(name_of(sched_queue_pop(&q)), "new");
    ck_assert_ptr_null(sched_queue_pop(&q));
    sched_queue_done(&q);
}
END_TEST

/* A packed pod rests until its first attempt, and is whole whenever it is asked for. */
START_TEST(rests_until_tried)
{
    struct sched_queue q;
    struct pod_shapes *t = pod_shapes_new();
    sched_queue_init(&q);
    for (int i = 0; i < 3; i++) {
        char json[64];
        snprintf(json, sizeof(json), "{\"metadata\":{\"name\":\"p%d\",\"uid\":\"u%d\"}}", i, i);
        struct api_object *o = object_from("Pod", json);
        pod_record_unref(pod_record_of(t, o));
        sched_queue_set(&q, o, (uint64_t)i);
        struct queued_pod *p = sched_queue_find(&q, api_object_meta(o)->uid);
        queued_pod_rest(p); /* Somebody else holds it. */
        ck_assert_ptr_nonnull(p->object->msg);
        api_object_unref(o);
        queued_pod_rest(p);
        ck_assert_ptr_null(p->object->msg);
    }
    sched_queue_remove(&q, STR("u1"));
    ck_assert(!queued_pod_is_gated(sched_queue_find(&q, STR("u2"))));
    struct queued_pod *p = sched_queue_pop(&q);
    ck_assert_str_eq(name_of(p), "p0");
    queued_pod_rest(p); /* In its cycle it does not. */
    ck_assert_ptr_nonnull(p->object->msg);
    ck_assert_str_eq(name_of(sched_queue_pop(&q)), "p2");
    ck_assert_ptr_null(sched_queue_pop(&q));
    sched_queue_done(&q);
    ck_assert_uint_eq(pod_shapes_count(t), 0);
    pod_shapes_unref(t);
}
END_TEST

/* Only an event that its plugins care for wakes a parked pod, after 1 s. */
START_TEST(wakes_on_events)
{
    struct sched_queue q;
    sched_queue_init(&q);
    put(&q, "{\"metadata\":{\"name\":\"p\",\"uid\":\"1\"}}", 0);
    struct queued_pod *p = sched_queue_pop(&q);
    sched_queue_park(&q, p, EVENT_NODE_ADD, 100);
    sched_queue_event(&q, EVENT_POD_DELETE, 200);
    ck_assert_int_eq(p->place, QUEUE_UNSCHEDULABLE);
    sched_queue_event(&q, EVENT_NODE_ADD, 300);
    ck_assert_int_eq(p->place, QUEUE_BACKOFF);
    ck_assert_uint_eq(sched_queue_tick(&q, 300), 1100);
    sched_queue_tick(&q, 1100);
    ck_assert_ptr_eq(sched_queue_pop(&q), p);
    sched_queue_done(&q);
}
END_TEST

struct hinted {
    unsigned asked;
    bool answer;
};

static bool answer(const struct queued_pod *p, void *arg)
{
    struct hinted *h = arg;
    (void)p;
    h->asked++;
    return h->answer;
}

/* Of pods alike one is asked about; those that depend on more than single nodes come without. */
START_TEST(hints_at_nodes)
{
    struct sched_queue q;
    struct hinted h = {0};
    struct queued_pod *p[4];
    sched_queue_init(&q);
    for (int i = 0; i < 4; i++) {
        char text[64];
        snprintf(text, sizeof(text), "{\"metadata\":{\"name\":\"p\",\"uid\":\"%d\"}}", i);
        put(&q, text, (uint64_t)i);
        p[i] = sched_queue_pop(&q);
        p[i]->by_node = i != 3;
        p[i]->alike = i == 2 ? 0 : 7;
        sched_queue_park(&q, p[i], EVENT_NODE_ADD, 100);
    }
    sched_queue_event_at(&q, EVENT_POD_DELETE, 200, answer, &h);
    ck_assert_uint_eq(h.asked, 0);
    sched_queue_event_at(&q, EVENT_NODE_ADD, 200, answer, &h);
    ck_assert_uint_eq(h.asked, 2);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(p[i]->place, QUEUE_UNSCHEDULABLE);
    ck_assert_int_eq(p[3]->place, QUEUE_BACKOFF);
    h.answer = true;
    sched_queue_event_at(&q, EVENT_NODE_ADD, 300, answer, &h);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(p[i]->place, QUEUE_BACKOFF);
    /* What an attempt found out is forgotten with the next. */
    sched_queue_tick(&q, 5000);
    ck_assert(!sched_queue_pop(&q)->by_node);
    sched_queue_done(&q);
}
END_TEST

/* A change of its own labels, be it of a value alone, may let a pod fit; what is the same does not.
 */
START_TEST(own_labels_wake)
{
    struct sched_queue q;
    sched_queue_init(&q);
    put(&q, "{\"metadata\":{\"name\":\"p\",\"uid\":\"1\",\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}",
        0);
    struct queued_pod *p = sched_queue_pop(&q);
    sched_queue_park(&q, p, EVENT_NODE_ADD, 100);
    put(&q, "{\"metadata\":{\"name\":\"p\",\"uid\":\"1\",\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}",
        200);
    ck_assert_int_eq(p->place, QUEUE_UNSCHEDULABLE);
    put(&q, "{\"metadata\":{\"name\":\"p\",\"uid\":\"1\",\"labels\":{\"a\":\"1\",\"b\":\"3\"}}}",
        300);
    ck_assert_int_eq(p->place, QUEUE_BACKOFF);
    sched_queue_done(&q);
}
END_TEST

/* An event during the cycle is not lost. */
START_TEST(event_during_cycle)
{
    struct sched_queue q;
    sched_queue_init(&q);
    put(&q, "{\"metadata\":{\"name\":\"p\",\"uid\":\"1\"}}", 0);
    struct queued_pod *p = sched_queue_pop(&q);
    sched_queue_event(&q, EVENT_NODE_ADD, 10);
    sched_queue_park(&q, p, EVENT_NODE_ADD, 20);
    ck_assert_int_eq(p->place, QUEUE_BACKOFF);
    sched_queue_done(&q);
}
END_TEST

/* The backoff doubles up to 10 s; parked pods are tried again after 5 min. */
START_TEST(backoff_and_flush)
{
    struct sched_queue q;
    sched_queue_init(&q);
    put(&q, "{\"metadata\":{\"name\":\"p\",\"uid\":\"1\"}}", 0);
    uint64_t now = 0, expect[] = {1000, 2000, 4000, 8000, 10000, 10000};
    for (size_t i = 0; i < ARRAY_SIZE(expect); i++) {
        struct queued_pod *p = sched_queue_pop(&q);
        ck_assert_ptr_nonnull(p);
        sched_queue_retry(&q, p, now);
        ck_assert_uint_eq(sched_queue_tick(&q, now), now + expect[i]);
        now += expect[i];
        sched_queue_tick(&q, now);
    }
    struct queued_pod *p = sched_queue_pop(&q);
    sched_queue_park(&q, p, EVENT_NODE_ADD, now);
    ck_assert_uint_eq(sched_queue_tick(&q, now), now + QUEUE_FLUSH_MS);
    sched_queue_tick(&q, now + QUEUE_FLUSH_MS);
    ck_assert_ptr_eq(sched_queue_pop(&q), p);
    sched_queue_done(&q);
}
END_TEST

/* Gated pods wait for the gates to go; deleted ones vanish, also mid-cycle. */
START_TEST(gates_and_deletion)
{
    struct sched_queue q;
    sched_queue_init(&q);
    put(&q,
        "{\"metadata\":{\"name\":\"p\",\"uid\":\"1\"},\"spec\":{\"schedulingGates\":[{\"name\":"
        "\"g\"}]}}",
        0);
    ck_assert_ptr_null(sched_queue_pop(&q));
    put(&q, "{\"metadata\":{\"name\":\"p\",\"uid\":\"1\"},\"spec\":{}}", 1);
    struct queued_pod *p = sched_queue_pop(&q);
    ck_assert_ptr_nonnull(p);
    sched_queue_remove(&q, STR("1"));
    sched_queue_park(&q, p, EVENT_ALL, 2);
    ck_assert_ptr_null(sched_queue_find(&q, STR("1")));
    sched_queue_done(&q);
}
END_TEST

/* An assumed pod counts at once, is confirmed by the watch, or expires. */
START_TEST(assumed_pods)
{
    struct snapshot s;
    snapshot_init(&s);
    add_node(&s, "{\"metadata\":{\"name\":\"a\"}}");
    struct api_object *o = object_from(
        "Pod",
        "{\"metadata\":{\"name\":\"p\",\"uid\":\"1\"},\"spec\":{\"nodeName\":\"a\",\"containers\":"
        "[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}");
    snapshot_assume(&s, o, snapshot_node(&s, STR("a")));
    ck_assert_int_eq(snapshot_node(&s, STR("a"))->requested.milli_cpu, 1000);
    snapshot_bound(&s, STR("1"), 50);
    ck_assert_uint_eq(snapshot_expire(&s, 49), 0);
    ck_assert_uint_eq(snapshot_expire(&s, 50), 1);
    ck_assert_int_eq(snapshot_node(&s, STR("a"))->requested.milli_cpu, 0);
    snapshot_assume(&s, o, snapshot_node(&s, STR("a")));
    snapshot_set_pod(&s, o);
    ck_assert_uint_eq(snapshot_expire(&s, UINT64_MAX - 1), 0);
    snapshot_forget(&s, STR("1")); /* Confirmed: stays. */
    ck_assert_int_eq(snapshot_node(&s, STR("a"))->requested.milli_cpu, 1000);
    snapshot_remove_node(&s, STR("a"));
    ck_assert_ptr_null(snapshot_node(&s, STR("a")));
    snapshot_remove_pod(&s, STR("1"));
    ck_assert_uint_eq(s.by_name.count, 0);
    api_object_unref(o);
    snapshot_done(&s);
}
END_TEST

/* Every place knows how many are in it, and by what they came. */
START_TEST(places_are_counted)
{
    struct sched_queue q;
    sched_queue_init(&q);
    struct api_object *o = object_from(
        "Pod", "{\"metadata\":{\"name\":\"p\",\"namespace\":\"x\",\"uid\":\"u\"},\"spec\":{}}");
    sched_queue_set(&q, o, 1000);
    ck_assert_uint_eq(q.counts[QUEUE_ACTIVE], 1);
    ck_assert_uint_eq(q.incoming[QUEUE_ACTIVE][CAUSE_POD_ADD], 1);
    struct queued_pod *p = sched_queue_pop(&q);
    ck_assert_uint_eq(q.counts[QUEUE_ACTIVE], 0);
    sched_queue_park(&q, p, EVENT_NODE_ADD, 1000);
    ck_assert_uint_eq(q.counts[QUEUE_UNSCHEDULABLE], 1);
    sched_queue_event(&q, EVENT_NODE_ADD, 1100);
    ck_assert_uint_eq(q.counts[QUEUE_UNSCHEDULABLE], 0);
    ck_assert_uint_eq(q.counts[QUEUE_BACKOFF], 1);
    ck_assert_str_eq(sched_queue_cause(0), "NodeAdd");
    ck_assert_uint_eq(q.incoming[QUEUE_BACKOFF][0], 1);
    (void)sched_queue_tick(&q, 5000);
    ck_assert_uint_eq(q.counts[QUEUE_ACTIVE], 1);
    ck_assert_uint_eq(q.incoming[QUEUE_ACTIVE][CAUSE_BACKOFF_OVER], 1);
    sched_queue_remove(&q, STR("u"));
    for (unsigned i = 0; i < QUEUE_PLACES; i++)
        ck_assert_uint_eq(q.counts[i], 0);
    api_object_unref(o);
    sched_queue_done(&q);
}
END_TEST

UNIT_MAIN("scheduler/queue", {
    UNIT_TEST(places_are_counted);
    UNIT_TEST(order);
    UNIT_TEST(wakes_on_events);
    UNIT_TEST(hints_at_nodes);
    UNIT_TEST(own_labels_wake);
    UNIT_TEST(event_during_cycle);
    UNIT_TEST(backoff_and_flush);
    UNIT_TEST(gates_and_deletion);
    UNIT_TEST(assumed_pods);
    UNIT_TEST(rests_until_tried);
})
