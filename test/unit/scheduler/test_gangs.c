/* test_gangs.c - pod groups: who is held, and that a gang is placed whole or not at all. */
#include "api/policy_v1.h"
#include "scheduler/classes.h"
#include "lib/client/gang_key.h"
#include "scheduler/gang_trial.h"
#include "scheduler/gangs.h"
#include "test/unit/scheduler/cluster.h"

#include <stdio.h>

#define NODES_MAX 6
#define MEMBERS_MAX 12

struct world {
    struct snapshot snapshot;
    struct classes *classes;
    struct arena *arena, *scratch;
    unsigned seed, pods;
};

static void world_init(struct world *w, unsigned seed)
{
    *w = (struct world){.seed = seed, .arena = arena_new(0), .scratch = arena_new(0)};
    snapshot_init(&w->snapshot);
    w->classes = classes_new(&w->snapshot, &no_facts);
}

static void world_done(struct world *w)
{
    classes_free(w->classes);
    snapshot_done(&w->snapshot);
    arena_free(w->arena);
    arena_free(w->scratch);
}

static unsigned pick(struct world *w, unsigned n)
{
    w->seed = w->seed * 1103515245u + 12345u;
    return (w->seed >> 16) % n;
}

static void add_cpu_node(struct world *w, unsigned number, unsigned cpu)
{
    char json[256];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"n%u\"},\"status\":{\"allocatable\":{\"cpu\":\"%um\","
             "\"memory\":\"64Gi\",\"pods\":\"100\"}}}",
             number, cpu);
    add_node(&w->snapshot, json);
}

/* node NULL: it waits. group NULL: in none. */
static struct api_object *make_pod(struct world *w, const char *group, unsigned cpu, int priority,
                                   const char *node)
{
    char json[640], label[128] = "", at[64] = "";
    unsigned n = w->pods++;
    if (group != NULL)
        snprintf(label, sizeof(label), "\"labels\":{\"" GANG_LABEL "\":\"%s\"},", group);
    if (node != NULL)
        snprintf(at, sizeof(at), "\"nodeName\":\"%s\",", node);
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"p%u\",\"namespace\":\"ns\",%s\"uid\":\"u%u\"},\"spec\":{%s"
             "\"priority\":%d,\"containers\":[{\"name\":\"c\",\"image\":\"x\",\"resources\":{"
             "\"requests\":{\"cpu\":\"%um\"}}}]}}",
             n, label, n, at, priority, cpu);
    return object_from("Pod", json);
}

static void put_pod(struct world *w, const char *group, unsigned cpu, int priority,
                    const char *node)
{
    struct api_object *o = make_pod(w, group, cpu, priority, node);
    snapshot_set_pod(&w->snapshot, o);
    api_object_unref(o);
}

/* As many pods of this size as the nodes have room for; those below the priority do not count. */
static size_t capacity(const struct snapshot *s, int64_t cpu, int32_t priority)
{
    size_t sum = 0;
    for (size_t i = 0; i < s->node_count; i++) {
        const struct node_info *n = s->nodes[i];
        int64_t free = n->allocatable.milli_cpu;
        for (size_t k = 0; k < n->pod_count; k++)
            if (pod_priority(n->pods[k]->pod) >= priority)
                free -= n->pods[k]->needs->requests.milli_cpu;
        sum += free > 0 ? (size_t)(free / cpu) : 0;
    }
    return sum;
}

/* What a trial that came to nothing must leave as it was. */
static uint64_t fingerprint(const struct snapshot *s)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < s->node_count; i++) {
        const struct node_info *n = s->nodes[i];
        sum = sum * 31 + (uint64_t)n->requested.milli_cpu;
        sum = sum * 31 + n->pod_count;
        uint64_t pods = 0;
        for (size_t k = 0; k < n->pod_count; k++)
            pods += base_siphash((const uint64_t[2]){1, 2}, n->pods[k]->pod->metadata.uid.data,
                                 n->pods[k]->pod->metadata.uid.len);
        sum = sum * 31 + pods;
    }
    return sum * 31 + s->assumed_count + s->pods.count + snapshot_gang_pods(s, STR("ns/g"));
}

static void run(struct world *w, struct gang_trial *t, struct gang_member *members, size_t count,
                size_t needed, bool preempt)
{
    *t = (struct gang_trial){.snapshot = &w->snapshot,
                             .classes = w->classes,
                             .arena = w->arena,
                             .scratch = w->scratch,
                             .members = members,
                             .count = count,
                             .needed = needed,
                             .preempt = preempt,
                             .seed = pick(w, 1000)};
}

static size_t with_node(const struct gang_trial *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->count; i++)
        n += t->members[i].node != NULL;
    return n;
}

static void fill_at_random(struct world *w, unsigned nodes)
{
    for (unsigned i = 0; i < nodes; i++)
        add_cpu_node(w, i, 1000 + 500 * pick(w, 6));
    for (unsigned i = pick(w, 12); i-- != 0;) {
        char node[8];
        snprintf(node, sizeof(node), "n%u", pick(w, nodes));
        put_pod(w, NULL, 100 * (1 + pick(w, 9)), (int)pick(w, 3) * 10, node);
    }
}

/* No nodes overcommitted by us, and every victim is of lower priority. */
static void check_room(const struct world *w, const struct gang_trial *t)
{
    for (size_t i = 0; i < t->victim_count; i++)
        ck_assert_int_lt(pod_priority(t->victims[i].pod->msg),
                         pod_priority(t->members[0].pod->msg));
    for (size_t i = 0; i < w->snapshot.node_count; i++) {
        const struct node_info *n = w->snapshot.nodes[i];
        if (n->pod_count != 0 && n->pods[n->pod_count - 1]->assumed)
            ck_assert_int_le(n->requested.milli_cpu, n->allocatable.milli_cpu);
    }
}

/* Evicts the victims and asks again: now all fit where they were meant to. */
static void check_evictions(struct world *w, struct gang_trial *t)
{
    struct gang_trial again;
    size_t planned = with_node(t);
    ck_assert_uint_ge(planned, t->needed);
    for (size_t i = 0; i < t->count; i++)
        t->members[i].nominated_node =
            t->members[i].node != NULL ? str_of(t->members[i].node->name) : STR_NULL;
    for (size_t i = 0; i < t->victim_count; i++)
        snapshot_remove_pod(&w->snapshot, api_object_meta(t->victims[i].pod)->uid);
    for (size_t i = 0; i < t->count; i++)
        t->members[i] = (struct gang_member){.pod = t->members[i].pod,
                                             .nominated_node = t->members[i].nominated_node};
    run(w, &again, t->members, t->count, t->needed, false);
    ck_assert(gang_trial_run(&again));
}

/* Random clusters: a gang of equal pods is placed exactly when counting says that there is room for
 * as many as it needs, with evictions when counting without lower pods says so; else nothing at all
 * has changed. */
START_TEST(gangs_are_placed_whole_or_not)
{
    for (unsigned seed = 1; seed <= 600; seed++) {
        struct world w;
        struct gang_member members[MEMBERS_MAX] = {0};
        struct gang_trial t;
        world_init(&w, seed * 7919u);
        fill_at_random(&w, 1 + pick(&w, NODES_MAX));
        size_t count = 1 + pick(&w, MEMBERS_MAX), needed = 1 + pick(&w, (unsigned)count);
        unsigned cpu = 100 * (2 + pick(&w, 10));
        int priority = (int)pick(&w, 3) * 10;
        bool preempt = pick(&w, 2) != 0;
        for (size_t i = 0; i < count; i++)
            members[i].pod = make_pod(&w, "g", cpu, priority, NULL);
        size_t room = capacity(&w.snapshot, cpu, INT32_MIN),
               more = capacity(&w.snapshot, cpu, priority);
        uint64_t before = fingerprint(&w.snapshot);
        run(&w, &t, members, count, needed, preempt);
        bool placed = gang_trial_run(&t);
        ck_assert_msg(placed == (room >= needed), "seed %u: placed %d, room for %zu of %zu", seed,
                      placed, room, needed);
        check_room(&w, &t);
        if (placed) {
            ck_assert_uint_eq(with_node(&t), MIN_OF(room, count));
            ck_assert_uint_eq(snapshot_gang_pods(&w.snapshot, STR("ns/g")), MIN_OF(room, count));
        } else {
            ck_assert_msg(before == fingerprint(&w.snapshot), "seed %u: something is left", seed);
            ck_assert_ptr_nonnull(t.first);
            ck_assert_msg((t.victim_count != 0) == (preempt && more >= needed),
                          "seed %u: %zu victims, room for %zu of %zu", seed, t.victim_count, more,
                          needed);
            if (t.victim_count != 0)
                check_evictions(&w, &t);
        }
        for (size_t i = 0; i < count; i++)
            api_object_unref(members[i].pod);
        world_done(&w);
    }
}
END_TEST

/* Pods of the gang that run already are not evicted for the others, whatever their priority. */
START_TEST(own_pods_are_no_victims)
{
    struct world w;
    struct gang_trial t;
    world_init(&w, 1);
    add_cpu_node(&w, 0, 1000);
    put_pod(&w, "g", 1000, 0, "n0");
    struct gang_member m = {.pod = make_pod(&w, "g", 1000, 100, NULL)};
    run(&w, &t, &m, 1, 1, true);
    ck_assert(!gang_trial_run(&t));
    ck_assert_uint_eq(t.victim_count, 0);
    ck_assert_str_eq(
        gang_trial_message(&t, STR("ns/g")).data,
        "pod group ns/g needs 1 more pod placed at once and there is room for 0: p1: 0/1 nodes are "
        "available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are "
        "available: 1 No preemption victims found for incoming pod.");
    api_object_unref(m.pod);
    world_done(&w);
}
END_TEST

/* A budget that allows one eviction makes the second victim be found elsewhere. */
START_TEST(budgets_count_over_the_whole_gang)
{
    struct world w;
    struct gang_trial t;
    struct api_object *o =
        api_object_new(api_kind_by_gvk(STR("policy"), STR("v1"), STR("PodDisruptionBudget")));
    struct policy_v1_pod_disruption_budget *b = o->msg;
    const char *json =
        "{\"metadata\":{\"namespace\":\"ns\"},\"spec\":{\"selector\":{\"matchLabels\":"
        "{\"" GANG_LABEL "\":\"kept\"}}},\"status\":{\"disruptionsAllowed\":1}}";
    ck_assert_int_eq(
        api_json_decode(o->arena, o->kind->msg, str_of(json), API_LENIENT, NULL, b, NULL), 0);
    const struct policy_v1_pod_disruption_budget *const budgets[] = {b};
    world_init(&w, 1);
    for (unsigned i = 0; i < 3; i++)
        add_cpu_node(&w, i, 1000);
    put_pod(&w, "kept", 1000, 0, "n0");
    put_pod(&w, "kept", 1000, 0, "n1");
    put_pod(&w, NULL, 1000, 5, "n2");
    struct gang_member m[2] = {{.pod = make_pod(&w, "g", 1000, 10, NULL)},
                               {.pod = make_pod(&w, "g", 1000, 10, NULL)}};
    run(&w, &t, m, 2, 2, true);
    t.budgets = budgets;
    t.budget_count = 1;
    ck_assert(!gang_trial_run(&t));
    ck_assert_uint_eq(t.victim_count, 2);
    ck_assert(!pods_share_gang(t.victims[0].pod->msg, t.victims[1].pod->msg));
    ck_assert_int_eq(b->status.disruptions_allowed, 1);
    api_object_unref(m[0].pod);
    api_object_unref(m[1].pod);
    api_object_unref(o);
    world_done(&w);
}
END_TEST

/* minResources counts what is free, what the gang holds itself, and what lower pods hold. */
START_TEST(groups_may_ask_for_resources)
{
    struct world w;
    const struct api_quantity_entry want[] = {
        {.key = STR("cpu"), .value = {.string = STR("2")}},
        {.key = STR("nvidia.com/gpu"), .value = {.string = STR("1")}}};
    struct gang_wish wish = {STR("ns/g"), want, 1, 0};
    world_init(&w, 1);
    add_cpu_node(&w, 0, 1500);
    add_cpu_node(&w, 1, 1000);
    put_pod(&w, NULL, 1000, 5, "n0");
    ck_assert_str_eq(str_c(gang_lacking(w.arena, &w.snapshot, &wish)), "cpu");
    wish.priority = 6;
    ck_assert(str_empty(gang_lacking(w.arena, &w.snapshot, &wish)));
    wish.priority = 0;
    put_pod(&w, "g", 500, 0, "n0");
    ck_assert_str_eq(str_c(gang_lacking(w.arena, &w.snapshot, &wish)), "cpu");
    wish.count = 2;
    ck_assert_str_eq(str_c(gang_lacking(w.arena, &w.snapshot, &wish)), "cpu, nvidia.com/gpu");
    world_done(&w);
}
END_TEST

/* --- who is held --------------------------------------------------------------------------------
 */

struct held {
    struct world w;
    struct sched_queue queue;
    struct gangs gangs;
    uint64_t now_ms;
    unsigned told;
};

static void held_init(struct held *h)
{
    *h = (struct held){.now_ms = 1000};
    world_init(&h->w, 1);
    sched_queue_init(&h->queue);
    gangs_init(&h->gangs, &h->queue, &h->w.snapshot, h->now_ms);
}

static void held_done(struct held *h)
{
    gangs_done(&h->gangs);
    sched_queue_done(&h->queue);
    world_done(&h->w);
}

static void tell(struct gang *x, void *arg)
{
    (void)x;
    ((struct held *)arg)->told++;
}

static struct queued_pod *next(struct held *h)
{
    (void)gangs_settle(&h->gangs, true, h->now_ms, tell, h);
    return sched_queue_pop(&h->queue);
}

static struct queued_pod *queue_pod(struct held *h, const char *group, int priority)
{
    struct api_object *o = make_pod(&h->w, group, 100, priority, NULL);
    sched_queue_set(&h->queue, o, h->now_ms++);
    struct queued_pod *p = sched_queue_find(&h->queue, api_object_meta(o)->uid);
    gangs_set_pod(&h->gangs, p, h->now_ms);
    api_object_unref(o);
    return p;
}

static void set_group(struct held *h, const char *name, unsigned min, unsigned succeeded)
{
    char json[256];
    const struct api_kind *k =
        api_kind_by_gvk(STR("scheduling.x-k8s.io"), STR("v1alpha1"), STR("PodGroup"));
    struct api_object *o = api_object_new(k);
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"namespace\":\"ns\",\"name\":\"%s\"},\"spec\":{\"minMember\":%u},"
             "\"status\":{\"succeeded\":%u}}",
             name, min, succeeded);
    ck_assert_int_eq(
        api_json_decode(o->arena, k->msg, str_of(json), API_STRICT, NULL, o->msg, NULL), 0);
    gangs_set_group(&h->gangs, o, h->now_ms);
    api_object_unref(o);
}

/* Held until the group is there and has enough pods; then the first brings the others, those
 * that wait elsewhere in the queue too; other pods are not held up. */
START_TEST(gangs_wait_for_their_pods)
{
    struct held h;
    held_init(&h);
    struct queued_pod *x = queue_pod(&h, "g", 0), *y = queue_pod(&h, "g", 0);
    ck_assert_ptr_null(next(&h));
    ck_assert_uint_eq(h.queue.counts[QUEUE_GATED], 2);
    set_group(&h, "g", 3, 0);
    ck_assert_ptr_null(next(&h));
    struct queued_pod *single = queue_pod(&h, NULL, 0);
    ck_assert_ptr_eq(next(&h), single);
    sched_queue_placed(&h.queue, single);
    struct queued_pod *z = queue_pod(&h, "g", 0);
    ck_assert_ptr_eq(next(&h), x);
    ck_assert_ptr_nonnull(gangs_of(x));
    ck_assert_uint_eq(gangs_of(x)->needed, 3);
    ck_assert(sched_queue_take(&h.queue, y) && sched_queue_take(&h.queue, z));
    /* None fits: a fourth must not make all of them be tried again at once. */
    gangs_of(x)->queue.due_ms = h.now_ms + 5000;
    sched_queue_park(&h.queue, x, 0, h.now_ms);
    sched_queue_park(&h.queue, y, 0, h.now_ms);
    sched_queue_park(&h.queue, z, 0, h.now_ms);
    (void)queue_pod(&h, "g", 0);
    ck_assert_ptr_null(next(&h));
    ck_assert_uint_eq(h.queue.counts[QUEUE_UNSCHEDULABLE], 3);
    /* Two go: they are too few again. */
    sched_queue_remove(&h.queue, STR("u0"));
    sched_queue_remove(&h.queue, STR("u1"));
    ck_assert_ptr_null(next(&h));
    ck_assert_uint_eq(h.queue.counts[QUEUE_GATED], 2);
    ck_assert_uint_eq(h.told, 0);
    h.now_ms += GANG_TELL_MS;
    ck_assert_ptr_null(next(&h));
    ck_assert_uint_eq(h.told, 1);
    held_done(&h);
}
END_TEST

/* Placed and succeeded pods count; with enough of them each further pod is tried alone. A gang
 * that lost pods goes before others of its priority. */
START_TEST(whole_gangs_take_single_pods)
{
    struct held h;
    held_init(&h);
    add_cpu_node(&h.w, 0, 1000);
    put_pod(&h.w, "g", 100, 0, "n0");
    set_group(&h, "g", 3, 1);
    struct queued_pod *single = queue_pod(&h, NULL, 0);
    struct queued_pod *x = queue_pod(&h, "g", 0);
    ck_assert_ptr_eq(next(&h), x);
    ck_assert_ptr_nonnull(gangs_of(x));
    ck_assert_uint_eq(gangs_of(x)->needed, 1);
    snapshot_assume(&h.w.snapshot, x->object, h.w.snapshot.nodes[0]);
    struct queued_pod *y = queue_pod(&h, "g", 0);
    ck_assert_ptr_eq(next(&h), single);
    ck_assert_ptr_eq(next(&h), y);
    ck_assert_ptr_null(gangs_of(y));
    /* The binding failed: it is missing again. */
    snapshot_forget(&h.w.snapshot, STR("u2"));
    sched_queue_placed(&h.queue, single);
    sched_queue_retry(&h.queue, x, h.now_ms);
    (void)queue_pod(&h, NULL, 0);
    h.now_ms += 60000;
    (void)sched_queue_tick(&h.queue, h.now_ms);
    ck_assert_ptr_eq(next(&h), x);
    held_done(&h);
}
END_TEST

/* A pod that is being deleted is not there for a new gang of the same name. */
START_TEST(going_pods_do_not_count)
{
    struct held h;
    held_init(&h);
    add_cpu_node(&h.w, 0, 1000);
    set_group(&h, "g", 2, 0);
    struct api_object *o = object_from(
        "Pod",
        "{\"metadata\":{\"name\":\"old\",\"namespace\":\"ns\",\"uid\":\"old\",\"labels\":{"
        "\"" GANG_LABEL "\":\"g\"},\"deletionTimestamp\":\"2020-01-01T00:00:00Z\"},\"spec\":{"
        "\"nodeName\":\"n0\",\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}");
    snapshot_set_pod(&h.w.snapshot, o);
    api_object_unref(o);
    (void)queue_pod(&h, "g", 0);
    ck_assert_ptr_null(next(&h));
    held_done(&h);
}
END_TEST

/* Where the API server does not know the kind, the label means nothing - once that is sure. */
START_TEST(unserved_groups_hold_nobody)
{
    struct held h;
    held_init(&h);
    struct queued_pod *x = queue_pod(&h, "g", 0);
    uint64_t again = gangs_settle(&h.gangs, false, h.now_ms, tell, &h);
    ck_assert_uint_eq(h.queue.counts[QUEUE_GATED], 1);
    ck_assert_uint_le(again, h.gangs.started_ms + GANG_UNSERVED_MS);
    h.now_ms = h.gangs.started_ms + GANG_UNSERVED_MS;
    (void)gangs_settle(&h.gangs, false, h.now_ms, tell, &h);
    ck_assert_ptr_eq(sched_queue_pop(&h.queue), x);
    ck_assert_ptr_null(gangs_of(x));
    held_done(&h);
}
END_TEST

/* Gates of its own keep a pod from counting; its group's label may come and go. */
START_TEST(gates_and_labels_change)
{
    struct held h;
    held_init(&h);
    set_group(&h, "g", 2, 0);
    struct queued_pod *x = queue_pod(&h, "g", 0);
    struct api_object *gated = object_from(
        "Pod",
        "{\"metadata\":{\"name\":\"y\",\"namespace\":\"ns\",\"uid\":\"y\",\"labels\":{\"" GANG_LABEL
        "\":\"g\"}},\"spec\":{\"schedulingGates\":[{\"name\":\"a\"}],"
        "\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}");
    sched_queue_set(&h.queue, gated, h.now_ms);
    gangs_set_pod(&h.gangs, sched_queue_find(&h.queue, STR("y")), h.now_ms);
    ck_assert_ptr_null(next(&h));
    struct api_object *free_pod = api_object_clone(gated);
    ((struct core_v1_pod *)free_pod->msg)->spec.scheduling_gates_count = 0;
    sched_queue_set(&h.queue, free_pod, h.now_ms);
    ck_assert_ptr_eq(next(&h), x);
    sched_queue_park(&h.queue, x, 0, h.now_ms);
    struct api_object *loose = api_object_clone(free_pod);
    ((struct core_v1_pod *)loose->msg)->metadata.labels_count = 0;
    sched_queue_set(&h.queue, loose, h.now_ms);
    gangs_set_pod(&h.gangs, sched_queue_find(&h.queue, STR("y")), h.now_ms);
    struct queued_pod *y = next(&h);
    ck_assert_ptr_nonnull(y);
    ck_assert(str_eqc(api_object_meta(y->object)->uid, "y"));
    ck_assert_uint_eq(h.queue.counts[QUEUE_GATED], 1);
    api_object_unref(gated);
    api_object_unref(free_pod);
    api_object_unref(loose);
    held_done(&h);
}
END_TEST

UNIT_MAIN("scheduler/gangs", {
    UNIT_TEST(gangs_are_placed_whole_or_not);
    UNIT_TEST(own_pods_are_no_victims);
    UNIT_TEST(budgets_count_over_the_whole_gang);
    UNIT_TEST(groups_may_ask_for_resources);
    UNIT_TEST(gangs_wait_for_their_pods);
    UNIT_TEST(whole_gangs_take_single_pods);
    UNIT_TEST(going_pods_do_not_count);
    UNIT_TEST(unserved_groups_hold_nobody);
    UNIT_TEST(gates_and_labels_change);
})
