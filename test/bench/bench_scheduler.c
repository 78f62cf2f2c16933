/* bench_scheduler.c - the scheduler's decisions alone, without an API: synthetic
 * clusters, pods of one template, each placed before the next is looked at. The
 * cases are those of kube-scheduler's own performance tests. Prints a table.
 *
 *   bench_scheduler [--scratch] [NODES ...]    default 500 5000 100000; --scratch: without
 *                                              remembering anything between pods */
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "scheduler/classes.h"
#include "scheduler/preemption.h"

#include <stdio.h>
#include <time.h>

#define ZONES 3

struct bench {
    struct snapshot snapshot;
    struct classes *classes;
    struct arena *arena;
    bool scratch;
    uint64_t seed;
    unsigned next_pod;
};

struct bench_case {
    const char *name;
    const char *before, *before_meta; /* Pods that are there; NULL: none. */
    unsigned before_count;            /* For each node, times ten. */
    const char *pod, *pod_meta;
    size_t pods_max; /* At most; and at most so that they fit. */
    bool owned;      /* A controller selects them. */
};

#define ASKS(cpu, memory)                                                                          \
    "\"containers\":[{\"name\":\"c\",\"image\":\"pause:3\",\"resources\":{\"requests\":{\"cpu\":"  \
    "\"" cpu "\",\"memory\":\"" memory "\"}}}]"
#define AFFINITY(kind)                                                                             \
    ",\"affinity\":{\"" kind "\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{"           \
    "\"labelSelector\":{\"matchLabels\":{\"color\":\"green\"}},\"topologyKey\":"                   \
    "\"kubernetes.io/hostname\",\"namespaces\":[\"bench\",\"other\"]}]}}"
#define PREFERS                                                                                    \
    ",\"affinity\":{\"podAntiAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{"   \
    "\"weight\":1,\"podAffinityTerm\":{\"labelSelector\":{\"matchLabels\":{\"color\":\"red\"}},"   \
    "\"topologyKey\":\"kubernetes.io/hostname\"}}]}}"
#define SPREADS(when)                                                                              \
    ",\"topologySpreadConstraints\":[{\"maxSkew\":5,\"topologyKey\":"                              \
    "\"topology.kubernetes.io/zone\",\"whenUnsatisfiable\":\"" when                                \
    "\",\"labelSelector\":{\"matchLabels\":{\"color\":\"blue\"}}}]"

static const struct bench_case cases[] = {
    {"plain", NULL, NULL, 0, ASKS("100m", "500Mi"), "", 100000, false},
    {"of a controller (default spreading)", NULL, NULL, 0, ASKS("100m", "500Mi"),
     ",\"labels\":{\"app\":\"web\"}", 10000, true},
    {"pod anti-affinity", ASKS("100m", "500Mi") AFFINITY("podAntiAffinity"),
     ",\"labels\":{\"color\":\"green\"}", 2, ASKS("100m", "500Mi") AFFINITY("podAntiAffinity"),
     ",\"labels\":{\"color\":\"green\"}", 2000, false},
    {"preferred pod anti-affinity", ASKS("100m", "500Mi"), "", 10, ASKS("100m", "500Mi") PREFERS,
     ",\"labels\":{\"color\":\"red\"}", 5000, false},
    {"topology spread", ASKS("100m", "500Mi"), "", 10,
     ASKS("100m", "500Mi") SPREADS("DoNotSchedule"), ",\"labels\":{\"color\":\"blue\"}", 5000,
     false},
    {"preferred topology spread", ASKS("100m", "500Mi"), "", 10,
     ASKS("100m", "500Mi") SPREADS("ScheduleAnyway"), ",\"labels\":{\"color\":\"blue\"}", 5000,
     false},
    {"preemption", ASKS("900m", "500Mi"), "", 40, "\"priority\":10," ASKS("3000m", "500Mi"), "",
     5000, false},
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct api_object *parsed(const char *kind, const struct buf *b)
{
    const struct api_kind *k = api_kind_by_gvk(STR(""), STR("v1"), str_of(kind));
    struct api_object *o = api_object_new(k);
    struct error err = {0};
    if (api_json_decode(o->arena, k->msg, buf_str(b), API_STRICT, NULL, o->msg, &err) != 0)
        PANIC("%s", error_message(&err));
    return o;
}

static void add_nodes(struct bench *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        AUTO_BUF j = BUF_INIT;
        buf_printf(&j,
                   "{\"metadata\":{\"name\":\"node-%zu\",\"labels\":{\"kubernetes.io/hostname\":"
                   "\"node-%zu\",\"topology.kubernetes.io/zone\":\"zone-%zu\"}},\"status\":{"
                   "\"allocatable\":{\"cpu\":\"4\",\"memory\":\"32Gi\",\"pods\":\"110\"}}}",
                   i, i, i % ZONES);
        struct api_object *o = parsed("Node", &j);
        snapshot_set_node(&b->snapshot, o);
        api_object_unref(o);
    }
}

static struct api_object *new_pod(struct bench *b, const char *spec, const char *meta,
                                  const char *node)
{
    AUTO_BUF j = BUF_INIT;
    unsigned n = b->next_pod++;
    buf_printf(&j,
               "{\"metadata\":{\"namespace\":\"bench\",\"name\":\"pod-%u\",\"uid\":"
               "\"00000000-0000-0000-0000-%012u\"%s},\"spec\":{%s%s%s%s}}",
               n, n, meta, node != NULL ? "\"nodeName\":\"" : "", node != NULL ? node : "",
               node != NULL ? "\"," : "", spec);
    return parsed("Pod", &j);
}

static void add_before(struct bench *b, const struct bench_case *k)
{
    for (size_t i = 0; k->before != NULL && i < b->snapshot.node_count * k->before_count / 10;
         i++) {
        struct node_info *n = b->snapshot.nodes[i % b->snapshot.node_count];
        struct api_object *o = new_pod(b, k->before, k->before_meta, n->name);
        snapshot_set_pod(&b->snapshot, o);
        api_object_unref(o);
    }
}

static const struct api_str_entry *no_labels(void *arg, struct str name, size_t *ret_count)
{
    (void)arg, (void)name;
    *ret_count = 0;
    return NULL;
}

static struct api_object *nothing_named(void *arg, struct str ns, struct str name)
{
    (void)arg, (void)ns, (void)name;
    return NULL;
}

static struct api_object *nothing(void *arg, struct str name)
{
    (void)arg, (void)name;
    return NULL;
}

static void by_app(void *arg, struct arena *a, const struct core_v1_pod *pod,
                   struct meta_v1_label_selector *ret)
{
    (void)arg;
    *ret = (struct meta_v1_label_selector){0};
    ret->match_labels = arena_memdup(a, pod->metadata.labels,
                                     pod->metadata.labels_count * sizeof(struct api_str_entry));
    ret->match_labels_count = pod->metadata.labels_count;
}

static const struct pod_facts facts = {no_labels, nothing_named, nothing, nothing, NULL};
static const struct pod_facts facts_owned = {no_labels, nothing_named, nothing,
                                             nothing,   NULL,          .selector = by_app};

/* --- one pod -----------------------------------------------------------------------------------
 */

static struct node_info *decide(struct bench *b, const struct pod_facts *f,
                                const struct pod_info *info, const char *nominated,
                                struct cycle **ret)
{
    static struct cycle fresh;
    if (!b->scratch) {
        struct class_question q = {info, b->arena, str_of(nominated), b->seed++};
        return classes_decide(b->classes, &q, ret);
    }
    fresh = (struct cycle){
        .arena = b->arena, .snapshot = &b->snapshot, .pod = info, .facts = f, .seed = b->seed++};
    cycle_filter(&fresh);
    *ret = &fresh;
    return cycle_select(&fresh);
}

/* The victims go at once, as if their nodes' agents took no time. */
static struct node_info *make_room(struct bench *b, const struct pod_facts *f,
                                   const struct pod_info *info, struct cycle *c)
{
    struct preemption p;
    preemption_evaluate(c, NULL, 0, &p);
    if (p.node == NULL)
        return NULL;
    snapshot_nominate(&b->snapshot, info->object, str_of(p.node->name));
    for (size_t i = 0; i < p.victim_count; i++)
        snapshot_remove_pod(&b->snapshot, api_object_meta(p.victims[i])->uid);
    return decide(b, f, info, p.node->name, &c);
}

static bool place(struct bench *b, const struct pod_facts *f, struct api_object *pod)
{
    struct pod_info *info = pod_info_new(pod);
    struct cycle *c;
    struct node_info *n = decide(b, f, info, NULL, &c);
    if (n == NULL)
        n = make_room(b, f, info, c);
    if (n != NULL)
        snapshot_assume(&b->snapshot, pod, n);
    pod_info_free(info);
    arena_clear(b->arena);
    return n != NULL;
}

static int by_size(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return a < b ? -1 : a > b;
}

/* As many as fit, and as take some seconds where every pod looks at every node. */
static size_t pods_of(const struct bench *b, const struct bench_case *k, size_t nodes)
{
    bool scans = k->pods_max < 100000;
    size_t most = b->scratch ? 200 : k->pods_max;
    if (scans)
        most = MIN_OF(most, MAX_OF(50000000 / nodes, (size_t)100));
    return MIN_OF(most, scans && !k->owned ? nodes * 8 / 10 : nodes * 30);
}

static void run(const struct bench_case *k, size_t nodes, bool scratch)
{
    struct bench b = {.scratch = scratch, .seed = 1, .arena = arena_new(0)};
    const struct pod_facts *f = k->owned ? &facts_owned : &facts;
    snapshot_init(&b.snapshot);
    b.classes = classes_new(&b.snapshot, f);
    add_nodes(&b, nodes);
    add_before(&b, k);
    size_t count = pods_of(&b, k, nodes), placed = 0;
    struct api_object **pods = xzalloc(count * sizeof(struct api_object *));
    uint64_t *took = xzalloc(count * sizeof(*took));
    for (size_t i = 0; i < count; i++)
        pods[i] = new_pod(&b, k->pod, k->pod_meta, NULL);
    uint64_t from = now_ns();
    for (size_t i = 0; i < count; i++) {
        uint64_t start = now_ns();
        placed += place(&b, f, pods[i]);
        took[i] = now_ns() - start;
    }
    double seconds = (double)(now_ns() - from) / 1e9;
    qsort(took, count, sizeof(*took), by_size);
    printf("| %6zu | %-36s | %6zu | %8.0f | %8.1f | %8.1f | %8.1f |\n", nodes, k->name, placed,
           (double)placed / seconds, (double)took[count / 2] / 1e3,
           (double)took[count * 99 / 100] / 1e3, (double)took[count - 1] / 1e3);
    fflush(stdout);
    for (size_t i = 0; i < count; i++)
        api_object_unref(pods[i]);
    free(pods);
    free(took);
    classes_free(b.classes);
    snapshot_done(&b.snapshot);
    arena_free(b.arena);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {500, 5000, 100000};
    bool scratch = argc > 1 && strcmp(argv[1], "--scratch") == 0;
    int first = scratch ? 2 : 1;
    printf(
        "|  nodes | pods                                 | placed |   pods/s |   p50 us |   p99 us "
        "|   max us |\n|---:|---|---:|---:|---:|---:|---:|\n");
    for (size_t i = 0; i < (argc > first ? (size_t)(argc - first) : ARRAY_SIZE(sizes)); i++)
        for (size_t k = 0; k < ARRAY_SIZE(cases); k++)
            run(&cases[k], argc > first ? strtoull(argv[first + (int)i], NULL, 10) : sizes[i],
                scratch);
    return 0;
}
