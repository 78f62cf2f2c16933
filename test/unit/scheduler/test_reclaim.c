/* test_reclaim.c - pods on what others reserve and do not use. */
#include "lib/client/reclaim.h"
#include "scheduler/config.h"
#include "scheduler/estimates.h"
#include "scheduler/preemption.h"
#include "scheduler/simulation.h"
#include "test/unit/scheduler/cluster.h"

#include <stdio.h>

#define MINUTE 60000u
#define GIB ((int64_t)1 << 30)

struct world {
    struct snapshot snapshot;
    struct profile profile;
    struct arena *arena;
    uint64_t now_ms;
    unsigned pods, seed;
};

static void world_init(struct world *w)
{
    *w = (struct world){.arena = arena_new(0), .now_ms = 1000000, .seed = 1};
    snapshot_init(&w->snapshot);
    profile_init(&w->profile, "default-scheduler");
    w->profile.reclaims = true;
}

static void world_done(struct world *w)
{
    snapshot_done(&w->snapshot);
    arena_free(w->arena);
}

static unsigned pick(struct world *w, unsigned n)
{
    w->seed = w->seed * 1103515245u + 12345u;
    return (w->seed >> 16) % n;
}

static void put_node(struct world *w, const char *name, unsigned cpu)
{
    char json[256];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"%s\"},\"status\":{\"allocatable\":{\"cpu\":\"%um\","
             "\"memory\":\"64Gi\",\"pods\":\"100\"}}}",
             name, cpu);
    add_node(&w->snapshot, json);
}

/* node NULL: it waits. more: further members of metadata. */
static struct api_object *make_pod(const char *name, unsigned cpu, bool reclaims, const char *node,
                                   const char *more)
{
    char json[640], at[64] = "";
    if (node != NULL)
        snprintf(at, sizeof(at), "\"nodeName\":\"%s\",", node);
    snprintf(
        json, sizeof(json),
        "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"ns\",\"uid\":\"%s\"%s,\"labels\":{\""
        "trireme.io/reclaim\":\"true\"}},\"spec\":{%s\"priority\":%d,\"containers\":[{\"name\":"
        "\"c\",\"image\":\"x\",\"resources\":{\"requests\":{\"cpu\":\"%um\",\"memory\":\"1Gi\"}"
        "}}]}}",
        name, name, more, at, reclaims ? -10 : 0, cpu);
    return object_from("Pod", json);
}

static void put_pod(struct world *w, const char *name, unsigned cpu, bool reclaims,
                    const char *node)
{
    struct api_object *o = make_pod(name, cpu, reclaims, node, "");
    snapshot_set_pod(&w->snapshot, o);
    api_object_unref(o);
}

/* Does a pod fit the node? */
static bool fits(struct world *w, const char *node, unsigned cpu, bool reclaims)
{
    struct api_object *o = make_pod("asking", cpu, reclaims, NULL, "");
    struct pod_info *info = pod_info_new(o);
    struct cycle c = {.arena = w->arena,
                      .snapshot = &w->snapshot,
                      .pod = info,
                      .facts = &no_facts,
                      .profile = &w->profile};
    cycle_filter(&c);
    bool fit = false;
    for (size_t i = 0; i < c.fit_count; i++)
        fit |= strcmp(c.fitting[i]->name, node) == 0;
    pod_info_free(info);
    api_object_unref(o);
    return fit;
}

struct use {
    const char *name;
    int64_t milli_cpu;
};

static bool tell(struct world *w, const struct use *uses, size_t count)
{
    struct usages u;
    usages_init(&u);
    for (size_t i = 0; i < count; i++)
        usages_add(&u, STR("ns"), str_of(uses[i].name),
                   &(struct amounts){uses[i].milli_cpu, GIB / 2});
    const struct estimate_rules rules = ESTIMATE_RULES_DEFAULT;
    bool more = estimates_update(&w->snapshot, &u, &rules, w->now_ms);
    usages_done(&u);
    return more;
}

static int64_t kept_for(const struct world *w, const char *name)
{
    const struct pod_info *p = map_get(&w->snapshot.pods, str_of(name));
    ck_assert_ptr_nonnull(p);
    return p->needs->requests.milli_cpu - (p->estimate != NULL ? p->estimate->slack.milli_cpu : 0);
}

/* What is reserved at first; then down by half every five minutes, up at once; back without news.
 */
START_TEST(estimates_follow_usage)
{
    struct world w;
    struct use u = {"p", 400};
    world_init(&w);
    put_node(&w, "n", 4000);
    put_pod(&w, "p", 2000, false, "n");
    ck_assert(!tell(&w, &u, 1));
    for (unsigned i = 0; i < 4; i++) {
        w.now_ms += MINUTE;
        (void)tell(&w, &u, 1);
        ck_assert_int_eq(kept_for(&w, "p"), 2000);
    }
    w.now_ms += MINUTE;
    for (unsigned i = 0; i < 5; i++, w.now_ms += MINUTE)
        (void)tell(&w, &u, 1);
    ck_assert_int_ge(kept_for(&w, "p"), 1200); /* 500 and half of 1500: one half-life. */
    ck_assert_int_le(kept_for(&w, "p"), 1300);
    for (unsigned i = 0; i < 60; i++, w.now_ms += MINUTE)
        (void)tell(&w, &u, 1);
    ck_assert_int_le(kept_for(&w, "p"), 540);
    ck_assert_int_ge(kept_for(&w, "p"), 500);
    u.milli_cpu = 1000;
    (void)tell(&w, &u, 1);
    ck_assert_int_eq(kept_for(&w, "p"), 1250);
    u.milli_cpu = 3000; /* More than it reserves. */
    (void)tell(&w, &u, 1);
    ck_assert_int_eq(kept_for(&w, "p"), 3000);
    w.now_ms += 2 * MINUTE;
    (void)tell(&w, NULL, 0);
    ck_assert_int_eq(kept_for(&w, "p"), 3000);
    w.now_ms += 2 * MINUTE;
    (void)tell(&w, NULL, 0);
    ck_assert_int_eq(kept_for(&w, "p"), 2000);
    world_done(&w);
}
END_TEST

static void settle(struct world *w, const struct use *uses, size_t count)
{
    for (unsigned i = 0; i < 120; i++, w->now_ms += MINUTE)
        (void)tell(w, uses, count);
}

/* Reclaiming pods take what is not used; the others see the node as if they were not there, as
 * long as all together get no more than there is. Off, nothing is different from ever. */
START_TEST(unused_room_is_taken)
{
    struct world w;
    struct use u = {"p", 800};
    world_init(&w);
    put_node(&w, "n", 4000);
    put_pod(&w, "p", 3000, false, "n");
    ck_assert(!fits(&w, "n", 1500, true));
    settle(&w, &u, 1); /* 1000 and a little are kept for p. */
    ck_assert(fits(&w, "n", 2900, true));
    ck_assert(!fits(&w, "n", 3100, true));
    ck_assert(!fits(&w, "n", 1500, false));
    put_pod(&w, "r", 2000, true, "n");
    ck_assert(fits(&w, "n", 900, true));
    ck_assert(!fits(&w, "n", 1100, true));
    ck_assert(fits(&w, "n", 900, false));
    ck_assert(!fits(&w, "n", 1001, false)); /* 3000 are reserved. */
    w.profile.reclaims = false;
    ck_assert(!fits(&w, "n", 900, true));
    ck_assert(!fits(&w, "n", 900, false));
    world_done(&w);
}
END_TEST

/* The label alone does not do: priority must be negative. */
START_TEST(only_low_pods_reclaim)
{
    struct api_object *high = make_pod("x", 1, false, NULL, ""),
                      *low = make_pod("y", 1, true, NULL, "");
    ck_assert(!pod_reclaims(high->msg));
    ck_assert(pod_reclaims(low->msg));
    ((struct core_v1_pod *)low->msg)->metadata.labels_count = 0;
    ck_assert(!pod_reclaims(low->msg));
    api_object_unref(high);
    api_object_unref(low);
}
END_TEST

/* A pod that needs what it may have evicts reclaiming pods, no more than it takes. */
START_TEST(pods_with_reservations_preempt)
{
    struct world w;
    struct use u = {"p", 800};
    world_init(&w);
    put_node(&w, "n", 4000);
    put_pod(&w, "p", 2000, false, "n");
    settle(&w, &u, 1);
    put_pod(&w, "r1", 1400, true, "n");
    put_pod(&w, "r2", 1400, true, "n");
    struct api_object *o = make_pod("new", 1000, false, NULL, "");
    struct pod_info *info = pod_info_new(o);
    struct cycle c = {.arena = w.arena,
                      .snapshot = &w.snapshot,
                      .pod = info,
                      .facts = &no_facts,
                      .profile = &w.profile};
    struct preemption p;
    cycle_filter(&c);
    ck_assert_uint_eq(c.fit_count, 0);
    preemption_evaluate(&c, NULL, 0, &p);
    ck_assert_ptr_nonnull(p.node);
    ck_assert_uint_eq(p.victim_count, 1);
    pod_info_free(info);
    api_object_unref(o);
    world_done(&w);
}
END_TEST

static size_t to_evict(struct world *w, struct reclaimed **ret)
{
    return estimates_to_evict(w->arena, &w->snapshot, w->now_ms, ret);
}

/* When the others need more, the youngest goes, as many as are needed; who goes already counts. A
 * scheduler that knows nothing yet evicts nobody, nor does one that hears nothing any more. */
START_TEST(rising_needs_evict)
{
    struct world w;
    struct use u[] = {{"p", 800}, {"q", 100}};
    struct reclaimed *all;
    world_init(&w);
    put_node(&w, "n", 4000);
    put_pod(&w, "p", 3000, false, "n");
    put_pod(&w, "q", 1000, false, "n");
    put_pod(&w, "r1", 1000, true, "n");
    struct api_object *o = make_pod("r2", 1000, true, "n", "");
    ((struct core_v1_pod *)o->msg)->status.start_time = ARENA_NEW(o->arena, struct meta_v1_time);
    ((struct core_v1_pod *)o->msg)->status.start_time->seconds = 100;
    snapshot_set_pod(&w.snapshot, o);
    api_object_unref(o);
    ck_assert_uint_eq(to_evict(&w, &all), 0);
    (void)tell(&w, u, 2);
    ck_assert_uint_eq(to_evict(&w, &all), 0);
    u[0].milli_cpu = 2000; /* 2500 and 125, beside 2000. */
    (void)tell(&w, u, 2);
    ck_assert_uint_eq(to_evict(&w, &all), 1);
    ck_assert(str_eqc(api_object_meta(all[0].pod)->name, "r1"));
    o = make_pod("r1", 1000, true, "n", ",\"deletionTimestamp\":\"2020-01-01T00:00:00Z\"");
    snapshot_set_pod(&w.snapshot, o);
    api_object_unref(o);
    ck_assert_uint_eq(to_evict(&w, &all), 0);
    u[0].milli_cpu = 2900;
    (void)tell(&w, u, 2);
    ck_assert_uint_eq(to_evict(&w, &all), 1);
    w.now_ms += 4 * MINUTE;
    (void)tell(&w, NULL, 0);
    ck_assert_uint_eq(to_evict(&w, &all), 0);
    world_done(&w);
}
END_TEST

/* Random nodes, pods and usage: nobody's reservations are promised twice, and together with the
 * reclaiming pods no more is expected than there is. */
START_TEST(promises_hold)
{
    for (unsigned seed = 1; seed <= 60; seed++) {
        struct world w;
        struct use uses[64];
        char names[64][8];
        size_t count = 0;
        world_init(&w);
        w.seed = seed * 7919u;
        put_node(&w, "n", 8000);
        for (unsigned i = 0; i < 64; i++) {
            bool reclaims = pick(&w, 2) != 0;
            unsigned cpu = 100 * (1 + pick(&w, 20));
            snprintf(names[count], sizeof(names[count]), "p%u", i);
            if (fits(&w, "n", cpu, reclaims)) {
                put_pod(&w, names[count], cpu, reclaims, "n");
                uses[count] = (struct use){names[count], 1 + pick(&w, cpu * 8 / 10)};
                count++;
            }
            w.now_ms += MINUTE;
            (void)tell(&w, uses, count);
            const struct node_info *n = w.snapshot.nodes[0];
            ck_assert_int_le(n->requested.milli_cpu - n->reclaiming.milli_cpu, 8000);
            struct reclaimed *all;
            size_t gone = to_evict(&w, &all);
            ck_assert_uint_eq(gone, 0); /* Usage has not risen. */
        }
        const struct node_info *n = w.snapshot.nodes[0];
        ck_assert_int_gt(n->reclaiming.milli_cpu, 0);
        world_done(&w);
    }
}
END_TEST

#define CONFIG                                                                                     \
    "{\"apiVersion\":\"kubescheduler.config.k8s.io/v1\",\"kind\":\"KubeSchedulerConfiguration\","  \
    "\"profiles\":[{\"pluginConfig\":[{\"name\":\"NodeResourcesFit\",\"args\":{\"reclaim\":{"      \
    "\"marginPercent\":25}}}"                                                                      \
    "]}"                                                                                           \
    "]}"

static void add_json(struct simulation *s, const char *group, const char *version, const char *kind,
                     const char *json)
{
    const struct api_kind *k = api_kind_by_gvk(str_of(group), str_of(version), str_of(kind));
    struct api_object *o = api_object_new(k);
    ck_assert_int_eq(
        api_json_decode(o->arena, k->msg, str_of(json), API_STRICT, NULL, o->msg, NULL), 0);
    simulation_add(s, o);
    api_object_unref(o);
}

static size_t batch_pods_that_fit(const struct sched_config *config)
{
    struct arena *a = arena_new(0);
    struct simulation *s = simulation_new(1);
    char json[512];
    size_t placed = 0;
    simulation_set_config(s, config);
    for (unsigned i = 0; i < 10; i++) {
        snprintf(json, sizeof(json),
                 "{\"metadata\":{\"name\":\"n%u\"},\"status\":{\"allocatable\":{\"cpu\":\"8\","
                 "\"memory\":\"64Gi\",\"pods\":\"100\"}}}",
                 i);
        add_json(s, "", "v1", "Node", json);
        snprintf(
            json, sizeof(json),
            "{\"metadata\":{\"name\":\"web%u\",\"namespace\":\"ns\"},\"spec\":{\"nodeName\":"
            "\"n%u\",\"containers\":[{\"name\":\"c\",\"image\":\"x\",\"resources\":{\"requests\":{"
            "\"cpu\":\"7\"}}}]}}",
            i, i);
        add_json(s, "", "v1", "Pod", json);
        snprintf(
            json, sizeof(json),
            "{\"metadata\":{\"name\":\"web%u\",\"namespace\":\"ns\"},\"timestamp\":null,\"window\":"
            "\"30s\",\"containers\":[{\"name\":\"c\",\"usage\":{\"cpu\":\"1600m\"}}]}",
            i);
        add_json(s, "metrics.k8s.io", "v1beta1", "PodMetrics", json);
    }
    for (bool more = true; more;) {
        struct simulation_outcome o;
        char name[16];
        snprintf(name, sizeof(name), "b%zu", placed);
        struct api_object *pod = make_pod(name, 1000, true, NULL, "");
        simulation_place(s, a, pod, false, &o);
        more = o.node != NULL;
        placed += more;
        simulation_outcome_done(&o);
        api_object_unref(pod);
    }
    simulation_free(s);
    arena_free(a);
    return placed;
}

/* Ten nodes of 8 CPUs, 7 reserved and 1.6 used: one batch pod fits on each, or six. */
START_TEST(simulations_reclaim)
{
    struct sched_config *config = NULL, *plain = sched_config_default();
    struct error err = {0};
    int rc = sched_config_parse(STR(CONFIG), &config, &err);
    ck_assert_msg(rc == 0, "%s", error_message(&err));
    ck_assert_uint_eq(batch_pods_that_fit(plain), 10);
    ck_assert_uint_eq(batch_pods_that_fit(config), 60);
    sched_config_free(plain);
    sched_config_free(config);
}
END_TEST

UNIT_MAIN("scheduler/reclaim", {
    UNIT_TEST(estimates_follow_usage);
    UNIT_TEST(unused_room_is_taken);
    UNIT_TEST(only_low_pods_reclaim);
    UNIT_TEST(pods_with_reservations_preempt);
    UNIT_TEST(rising_needs_evict);
    UNIT_TEST(promises_hold);
    UNIT_TEST(simulations_reclaim);
})
