/* test_eviction.c - thresholds and what they lead to, with readings made up. */
#include "kubelet/config.h"
#include "kubelet/eviction.h"
#include "kubelet/kubelet.h"
#include "kubelet/static_pods.h"
#include "kubelet/usage_view.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"

#include "api/core_v1.h"
#include "test/unit/unit.h"

#define MI (1ll << 20)
#define GI (1ll << 30)

static struct flag_list list_of(const char **items, size_t count)
{
    return (struct flag_list){items, count};
}

static int init_hard(struct eviction *e, const char *threshold, struct error *err)
{
    struct eviction_config c = {.hard = list_of(&threshold, 1), .transition_ns = 300000000000};
    return eviction_init(e, &c, err);
}

/* What upstream does without flags; pods together are watched as the machine is. */
START_TEST(test_defaults)
{
    struct eviction e;
    struct error err;
    struct eviction_config c = {.hard = eviction_hard_default};
    ck_assert_int_eq(eviction_init(&e, &c, &err), 0);
    ck_assert_uint_eq(e.count, 6);
    ck_assert_int_eq(eviction_hard_amount(&e, EVICTION_MEMORY, 8 * GI), 100 * MI);
    ck_assert_int_eq(eviction_hard_amount(&e, EVICTION_ALLOCATABLE, 8 * GI), 100 * MI);
    ck_assert_int_eq(eviction_hard_amount(&e, EVICTION_NODEFS, 1000), 100);
    ck_assert_int_eq(eviction_hard_amount(&e, EVICTION_IMAGEFS, 1000), 150);
    ck_assert_int_eq(eviction_hard_amount(&e, EVICTION_PIDS, 1000), 0);
}
END_TEST

/* 0% and 100% turn a threshold off. */
START_TEST(test_off)
{
    struct eviction e;
    struct error err;
    ck_assert_int_eq(init_hard(&e, "nodefs.available<0%", &err), 0);
    ck_assert_uint_eq(e.count, 0);
    ck_assert_int_eq(init_hard(&e, "nodefs.available<100%", &err), 0);
    ck_assert_uint_eq(e.count, 0);
}
END_TEST

START_TEST(test_refusals)
{
    static const struct {
        const char *flags[2];
        const char *message;
    } cases[] = {
        {{"--eviction-hard=memory<1Gi"}, "--eviction-hard: unsupported eviction signal memory"},
        {{"--eviction-hard=memory.available=1Gi"},
         "--eviction-hard: 'memory.available=1Gi' is not of the form signal<value"},
        {{"--eviction-hard=memory.available<-1Gi"},
         "--eviction-hard: eviction threshold must be positive: -1Gi"},
        {{"--eviction-hard=nodefs.available<150%"},
         "--eviction-hard: eviction percentage threshold must be >= 0% and <= 100%: 150%"},
        {{"--eviction-hard=pid.available<1k,pid.available<2k"},
         "--eviction-hard: found duplicate eviction threshold for signal pid.available"},
        {{"--eviction-soft=memory.available<1Gi"},
         "--eviction-soft-grace-period: grace period must be specified for the soft eviction "
         "threshold memory.available"},
        {{"--eviction-soft=memory.available<1Gi",
          "--eviction-soft-grace-period=memory.available=-1s"},
         "--eviction-soft-grace-period: invalid eviction grace period specified: -1s, must be a "
         "positive value"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct kubelet_config c;
        struct error err = {0};
        char *argv[] = {(char *)(uintptr_t) "kubelet", (char *)(uintptr_t)cases[i].flags[0],
                        (char *)(uintptr_t)cases[i].flags[1], NULL};
        struct flag_set *f = kubelet_flags(&c);
        int rc = flag_set_parse(f, cases[i].flags[1] != NULL ? 3 : 2, argv, &err);
        if (rc == 0)
            rc = kubelet_config_check(&c, &err);
        flag_set_free(f);
        ck_assert_int_eq(rc, E_INVALID);
        ck_assert_str_eq(error_message(&err), cases[i].message);
    }
}
END_TEST

static void read_memory(struct eviction *e, int64_t available, uint64_t now_ms)
{
    struct eviction_reading readings[EVICTION_SIGNALS] = {0};
    readings[EVICTION_MEMORY] = (struct eviction_reading){true, available, 8 * GI};
    eviction_update(e, readings, now_ms);
}

/* A hard threshold acts at once; the condition stays for the transition period. */
START_TEST(test_hard)
{
    struct eviction e;
    struct error err;
    ck_assert_int_eq(init_hard(&e, "memory.available<1Gi", &err), 0);
    read_memory(&e, 2 * GI, 1000);
    ck_assert_ptr_null(eviction_due(&e, 1000));
    ck_assert(!e.conditions[EVICTION_MEMORY_PRESSURE]);
    read_memory(&e, GI - 1, 2000);
    ck_assert_ptr_nonnull(eviction_due(&e, 2000));
    ck_assert(e.conditions[EVICTION_MEMORY_PRESSURE]);
    ck_assert(!e.conditions[EVICTION_DISK_PRESSURE]);
    read_memory(&e, GI, 12000);
    ck_assert_ptr_null(eviction_due(&e, 12000));
    read_memory(&e, GI, 301000);
    ck_assert(e.conditions[EVICTION_MEMORY_PRESSURE]);
    read_memory(&e, GI, 302000);
    ck_assert(!e.conditions[EVICTION_MEMORY_PRESSURE]);
}
END_TEST

/* A soft one must be met without a break; the condition does not wait for that. */
START_TEST(test_soft)
{
    struct eviction e;
    struct error err;
    const char *soft = "memory.available<1Gi", *grace = "memory.available=1m30s";
    struct eviction_config c = {.soft = list_of(&soft, 1), .soft_grace = list_of(&grace, 1)};
    ck_assert_int_eq(eviction_init(&e, &c, &err), 0);
    read_memory(&e, GI / 2, 0);
    ck_assert(e.conditions[EVICTION_MEMORY_PRESSURE]);
    ck_assert_ptr_null(eviction_due(&e, 0));
    read_memory(&e, GI, 60000);
    read_memory(&e, GI / 2, 70000);
    read_memory(&e, GI / 2, 120000);
    ck_assert_ptr_null(eviction_due(&e, 120000));
    read_memory(&e, GI / 2, 160000);
    ck_assert_ptr_nonnull(eviction_due(&e, 160000));
}
END_TEST

/* Once met, the minimum above the threshold is to be won back. What is not read stays as it was. */
START_TEST(test_min_reclaim)
{
    struct eviction e;
    struct error err;
    const char *hard = "memory.available<1Gi", *reclaim = "memory.available=500Mi";
    struct eviction_config c = {.hard = list_of(&hard, 1), .min_reclaim = list_of(&reclaim, 1)};
    struct eviction_reading nothing[EVICTION_SIGNALS] = {0};
    ck_assert_int_eq(eviction_init(&e, &c, &err), 0);
    read_memory(&e, GI + 100 * MI, 0);
    ck_assert_ptr_null(eviction_due(&e, 0));
    read_memory(&e, GI - 1, 1);
    read_memory(&e, GI + 100 * MI, 2);
    ck_assert_ptr_nonnull(eviction_due(&e, 2));
    eviction_update(&e, nothing, 3);
    ck_assert_ptr_nonnull(eviction_due(&e, 3));
    read_memory(&e, GI + 500 * MI, 4);
    ck_assert_ptr_null(eviction_due(&e, 4));
}
END_TEST

/* --- pods ------------------------------------------------------------------------------------ */

struct sample {
    struct api_object *object;
    struct usage_container container;
    struct usage_volume volume;
    struct usage_pod use;
};

/* rest: of the pod's spec, and of its one container. */
static void make(struct sample *s, const char *name, const char *spec, const char *container)
{
    AUTO_ARENA *a = arena_new(0);
    struct error err;
    struct str text = arena_printf(a,
                                   "apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: x}\n"
                                   "spec: {%s containers: [{name: c, image: i%s}]}\n",
                                   name, spec, container);
    ck_assert_msg(static_pod_parse(text, "n", "f", &s->object, &err) == 0, "%s",
                  error_message(&err));
    struct core_v1_pod *pod = (struct core_v1_pod *)(uintptr_t)s->object->msg;
    pod->metadata.annotations_count = 0; /* As if it came from the API. */
    s->container = (struct usage_container){.name = "c"};
    s->use = (struct usage_pod){.containers = &s->container,
                                .container_count = 1,
                                .volumes = &s->volume,
                                .volume_count = 0};
}

static void uses(struct sample *s, int64_t memory, int64_t layer)
{
    s->use.u.has_memory = true;
    s->use.u.working_set_bytes = s->container.u.working_set_bytes = (uint64_t)memory;
    s->container.layer = (struct usage_files){.known = true, .used_bytes = (uint64_t)layer};
}

static struct eviction_pod candidate(const struct sample *s)
{
    return (struct eviction_pod){.pod = s->object->msg, .use = &s->use};
}

/* Above their request first, then the less important, then the one that is furthest above. */
START_TEST(test_rank)
{
    static struct sample s[5];
    make(&s[0], "within", "priority: 1,", ", resources: {requests: {memory: 1Gi}}");
    make(&s[1], "above", "priority: 5,", ", resources: {requests: {memory: 100Mi}}");
    make(&s[2], "furthest", "priority: 5,", "");
    make(&s[3], "important", "priority: 9,", "");
    make(&s[4], "unknown", "priority: 99,", "");
    uses(&s[0], 900 * MI, 0);
    uses(&s[1], 200 * MI, 0);
    uses(&s[2], 150 * MI, 0);
    uses(&s[3], 800 * MI, 0);
    struct eviction_pod pods[5];
    for (size_t i = 0; i < 5; i++)
        pods[i] = candidate(&s[i]);
    pods[4].use = NULL;
    eviction_rank(EVICTION_MEMORY, false, pods, 5);
    static const char *const order[] = {"unknown-n", "furthest-n", "above-n", "important-n",
                                        "within-n"};
    for (size_t i = 0; i < 5; i++)
        ck_assert(str_eqc(pods[i].pod->metadata.name, order[i]));
}
END_TEST

/* A pod on what others reserve goes first, though it is within its request. */
START_TEST(test_rank_reclaiming)
{
    static struct sample s[2];
    make(&s[0], "above", "priority: 0,", "");
    make(&s[1], "batch", "priority: -1,", ", resources: {requests: {memory: 1Gi}}");
    uses(&s[0], 900 * MI, 0);
    uses(&s[1], 100 * MI, 0);
    struct eviction_pod pods[2] = {candidate(&s[0]), candidate(&s[1])};
    struct core_v1_pod *batch = (struct core_v1_pod *)(uintptr_t)pods[1].pod;
    eviction_rank(EVICTION_MEMORY, false, pods, 2);
    ck_assert(str_eqc(pods[0].pod->metadata.name, "above-n"));
    batch->metadata.labels =
        &(struct api_str_entry){.key = STR("trireme.io/reclaim"), .value = STR("true")};
    batch->metadata.labels_count = 1;
    eviction_rank(EVICTION_MEMORY, false, pods, 2);
    ck_assert(str_eqc(pods[0].pod->metadata.name, "batch-n"));
}
END_TEST

/* With a file system of their own, layers are not what fills the node's. */
START_TEST(test_rank_disk)
{
    static struct sample s[2];
    make(&s[0], "layers", "", "");
    make(&s[1], "logs", "", "");
    uses(&s[0], 0, 500 * MI);
    s[1].container.logs = (struct usage_files){.known = true, .used_bytes = 100 * MI};
    struct eviction_pod pods[2] = {candidate(&s[1]), candidate(&s[0])};
    eviction_rank(EVICTION_NODEFS, false, pods, 2);
    ck_assert(str_eqc(pods[0].pod->metadata.name, "layers-n"));
    eviction_rank(EVICTION_NODEFS, true, pods, 2);
    ck_assert(str_eqc(pods[0].pod->metadata.name, "logs-n"));
    eviction_rank(EVICTION_IMAGEFS, true, pods, 2);
    ck_assert(str_eqc(pods[0].pod->metadata.name, "layers-n"));
}
END_TEST

/* Upstream's words, to which tools have got used. */
START_TEST(test_message)
{
    static struct sample s;
    AUTO_ARENA *a = arena_new(0);
    struct eviction e;
    struct error err;
    make(&s, "p", "", ", resources: {requests: {memory: 100Mi}}");
    uses(&s, 300 * MI, 0);
    struct eviction_pod p = candidate(&s);
    struct eviction_reading r = {true, 900 * MI, 8 * GI};
    ck_assert_int_eq(init_hard(&e, "memory.available<1Gi", &err), 0);
    ck_assert_str_eq(eviction_message(a, &e.thresholds[0], &r, &p),
                     "The node was low on resource: memory. Threshold quantity: 1Gi, available: "
                     "900Mi. Container c was using 300Mi, request is 100Mi, has larger consumption "
                     "of memory. ");
    ck_assert_int_eq(eviction_grace_s(&e.thresholds[0], p.pod, 60), 1);
    e.thresholds[0].soft = true;
    ck_assert_int_eq(eviction_grace_s(&e.thresholds[0], p.pod, 10), 10);
    ck_assert_int_eq(eviction_grace_s(&e.thresholds[0], p.pod, -1), 30);
}
END_TEST

START_TEST(test_limits)
{
    static struct sample plain, folder, disk;
    AUTO_ARENA *a = arena_new(0);
    make(&plain, "plain", "", "");
    make(&folder, "folder", "volumes: [{name: v, emptyDir: {sizeLimit: 1Mi}}],", "");
    make(&disk, "disk", "", ", resources: {limits: {ephemeral-storage: 10Mi}}");
    ck_assert(!eviction_has_limits(plain.object->msg));
    ck_assert(eviction_has_limits(folder.object->msg) && eviction_has_limits(disk.object->msg));
    struct eviction_pod p = candidate(&plain), f = candidate(&folder), d = candidate(&disk);
    uses(&plain, 0, GI);
    ck_assert_ptr_null(eviction_over_limit(a, &p));
    folder.use.volume_count = 1;
    folder.volume = (struct usage_volume){
        .name = "v", .ephemeral = true, .files = {.known = true, .used_bytes = MI}};
    ck_assert_ptr_null(eviction_over_limit(a, &f));
    folder.volume.files.used_bytes++;
    ck_assert_str_eq(eviction_over_limit(a, &f),
                     "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ");
    uses(&disk, 0, 11 * MI);
    ck_assert_str_eq(eviction_over_limit(a, &d), "Pod ephemeral local storage usage exceeds the "
                                                 "total limit of containers 10Mi. ");
}
END_TEST

/* Under memory pressure only those stay away that ask for nothing; critical ones always come. */
START_TEST(test_admits)
{
    static struct sample best, burst, critical, tolerant;
    AUTO_ARENA *a = arena_new(0);
    struct eviction e;
    struct error err;
    const char *why = NULL;
    make(&best, "best", "", "");
    make(&burst, "burst", "", ", resources: {requests: {memory: 1Mi}}");
    make(&critical, "critical", "priority: 2000001000,", "");
    make(&tolerant, "tolerant",
         "tolerations: [{key: node.kubernetes.io/memory-pressure, operator: Exists}],", "");
    ck_assert_int_eq(init_hard(&e, "memory.available<1Gi", &err), 0);
    ck_assert(eviction_admits(&e, a, best.object->msg, &why));
    read_memory(&e, 0, 1);
    ck_assert(!eviction_admits(&e, a, best.object->msg, &why));
    ck_assert_str_eq(why, "The node had condition: [MemoryPressure]. ");
    ck_assert(eviction_admits(&e, a, burst.object->msg, &why));
    ck_assert(eviction_admits(&e, a, critical.object->msg, &why));
    ck_assert(eviction_admits(&e, a, tolerant.object->msg, &why));
    e.conditions[EVICTION_PID_PRESSURE] = true;
    ck_assert(!eviction_admits(&e, a, burst.object->msg, &why));
    ck_assert_str_eq(why, "The node had condition: [MemoryPressure PIDPressure]. ");
    ck_assert(eviction_admits(&e, a, critical.object->msg, &why));
}
END_TEST

UNIT_MAIN("kubelet eviction", {
    UNIT_TEST(test_defaults);
    UNIT_TEST(test_off);
    UNIT_TEST(test_refusals);
    UNIT_TEST(test_hard);
    UNIT_TEST(test_soft);
    UNIT_TEST(test_min_reclaim);
    UNIT_TEST(test_rank);
    UNIT_TEST(test_rank_reclaiming);
    UNIT_TEST(test_rank_disk);
    UNIT_TEST(test_message);
    UNIT_TEST(test_limits);
    UNIT_TEST(test_admits);
})
