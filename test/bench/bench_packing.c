/* bench_packing.c - how many nodes does a mix of pods need? The smallest cluster into which
 * all of them go, one after another as they come, by the scheduler's own decisions and
 * by best fit. Mixes as papers on Borg describe its cells: many small pods, a long tail,
 * CPU and memory loosely related. Prints a table.
 *
 *   bench_packing [PODS [SEEDS]]      default 3000 pods, 3 mixes of each sort */
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "scheduler/classes.h"

#include <math.h>
#include <stdio.h>

#define NODE_CPU 32000     /* Thousandths. */
#define NODE_MEMORY 131072 /* Mi */
#define NODE_PODS 1000

struct ask {
    int cpu, memory;
};

/* Of a mix: shares of sorts of pods, with medians and widths of lognormal sizes. */
struct sort {
    double share, cpu, cpu_width, memory, memory_width;
};
struct mix {
    const char *name;
    struct sort sorts[3];
};

static const struct mix mixes[] = {
    {"services and batch, long tails",
     {{0.35, 400, 1.1, 1500, 1.2}, {0.60, 150, 1.2, 400, 1.3}, {0.05, 6000, 0.5, 16000, 0.8}}},
    {"small pods only", {{1, 150, 0.8, 300, 0.9}, {0}, {0}}},
    {"large pods, some small", {{0.3, 9000, 0.4, 30000, 0.5}, {0.7, 300, 1, 900, 1}, {0}}},
    {"much memory beside much CPU",
     {{0.3, 300, 0.9, 12000, 0.8}, {0.3, 4000, 0.8, 1500, 0.8}, {0.4, 200, 1, 500, 1}}},
};

static uint64_t state;

static double uniform(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return ((double)(state >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(void)
{
    return sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform());
}

static int size_of(double median, double width, double z, int max)
{
    double v = median * exp(width * z);
    return v < 10 ? 10 : v > max ? max : (int)v;
}

static void draw(const struct mix *m, uint64_t seed, struct ask *asks, size_t count)
{
    state = seed * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < count; i++) {
        double u = uniform(), z = normal(), own = normal();
        const struct sort *s = m->sorts;
        while (u > s->share && s < &m->sorts[2] && s[1].share > 0) {
            u -= s->share;
            s++;
        }
        asks[i].cpu = size_of(s->cpu, s->cpu_width, z, NODE_CPU / 2);
        asks[i].memory = size_of(s->memory, s->memory_width, 0.4 * z + 0.92 * own, NODE_MEMORY / 2);
    }
}

/* --- best fit -----------------------------------------------------------------------------------
 */

static int larger_first(const void *x, const void *y)
{
    const struct ask *a = x, *b = y;
    double p = fmax((double)a->cpu / NODE_CPU, (double)a->memory / NODE_MEMORY);
    double q = fmax((double)b->cpu / NODE_CPU, (double)b->memory / NODE_MEMORY);
    return p > q ? -1 : p < q;
}

/* Each into the node that it leaves the least room in; a new node when none has any. */
static size_t best_fit(const struct ask *asks, size_t count)
{
    struct ask *left = xzalloc(count * sizeof(*left));
    size_t nodes = 0;
    for (size_t i = 0; i < count; i++) {
        size_t best = nodes;
        double best_room = 1e9;
        for (size_t n = 0; n < nodes; n++) {
            if (left[n].cpu < asks[i].cpu || left[n].memory < asks[i].memory)
                continue;
            double room = (double)(left[n].cpu - asks[i].cpu) / NODE_CPU +
                          (double)(left[n].memory - asks[i].memory) / NODE_MEMORY;
            if (room < best_room) {
                best = n;
                best_room = room;
            }
        }
        if (best == nodes)
            left[nodes++] = (struct ask){NODE_CPU, NODE_MEMORY};
        left[best].cpu -= asks[i].cpu;
        left[best].memory -= asks[i].memory;
    }
    free(left);
    return nodes;
}

static size_t least_possible(const struct ask *asks, size_t count)
{
    double cpu = 0, memory = 0;
    for (size_t i = 0; i < count; i++) {
        cpu += asks[i].cpu;
        memory += asks[i].memory;
    }
    return (size_t)ceil(fmax(cpu / NODE_CPU, memory / NODE_MEMORY));
}

/* --- the scheduler ------------------------------------------------------------------------------
 */

static struct api_object *parsed(const char *kind, const struct buf *b)
{
    const struct api_kind *k = api_kind_by_gvk(STR(""), STR("v1"), str_of(kind));
    struct api_object *o = api_object_new(k);
    struct error err = {0};
    if (api_json_decode(o->arena, k->msg, buf_str(b), API_STRICT, NULL, o->msg, &err) != 0)
        PANIC("%s", error_message(&err));
    return o;
}

static struct api_object *make_pod(const struct ask *a, size_t i)
{
    AUTO_BUF b = BUF_INIT;
    buf_printf(&b,
               "{\"metadata\":{\"name\":\"p\",\"namespace\":\"x\",\"uid\":\"%zu\"},\"spec\":{"
               "\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"%dm\","
               "\"memory\":\"%dMi\"}}}]}}",
               i, a->cpu, a->memory);
    return parsed("Pod", &b);
}

static const struct api_str_entry *no_labels(void *arg, struct str name, size_t *ret_count)
{
    (void)arg, (void)name;
    *ret_count = 0;
    return NULL;
}

static const struct pod_facts facts = {.namespace_labels = no_labels};

static bool all_fit(struct api_object *const *pods, size_t count, size_t nodes,
                    const struct profile *profile)
{
    struct snapshot s;
    struct arena *a = arena_new(0);
    snapshot_init(&s);
    for (size_t i = 0; i < nodes; i++) {
        AUTO_BUF b = BUF_INIT;
        buf_printf(&b,
                   "{\"metadata\":{\"name\":\"n%zu\"},\"status\":{\"allocatable\":{\"cpu\":\"%dm\","
                   "\"memory\":\"%dMi\",\"pods\":\"%d\"}}}",
                   i, NODE_CPU, NODE_MEMORY, NODE_PODS);
        struct api_object *o = parsed("Node", &b);
        snapshot_set_node(&s, o);
        api_object_unref(o);
    }
    struct classes *l = classes_new(&s, &facts);
    bool fit = true;
    for (size_t i = 0; fit && i < count; i++) {
        struct pod_info *info = pod_info_new(pods[i]);
        struct class_question q = {.pod = info, .arena = a, .seed = i, .profile = profile};
        struct cycle *c;
        struct node_info *n = classes_decide(l, &q, &c);
        fit = n != NULL;
        if (fit)
            snapshot_assume(&s, pods[i], n);
        pod_info_free(info);
        arena_clear(a);
    }
    classes_free(l);
    snapshot_done(&s);
    arena_free(a);
    return fit;
}

/* What fits into n is taken to fit into more. */
static size_t nodes_needed(struct api_object *const *pods, size_t count, size_t least,
                           const struct profile *profile)
{
    size_t low = least, high = least;
    while (!all_fit(pods, count, high, profile)) {
        low = high + 1;
        high += high / 8 + 1;
    }
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (all_fit(pods, count, middle, profile))
            high = middle;
        else
            low = middle + 1;
    }
    return high;
}

static unsigned plugin(const char *name)
{
    unsigned i = 0;
    while (strcmp(scheduler_plugins[i]->name, name) != 0)
        i++;
    return i;
}

int main(int argc, char **argv)
{
    size_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 3000;
    uint64_t seeds = argc > 2 ? strtoull(argv[2], NULL, 10) : 3;
    static struct profile packing, shaped;
    static const struct shape_point shape[] = {{0, 0}, {100, 100}};
    profile_init(&packing, "packing");
    packing.fit = FIT_MOST_ALLOCATED;
    packing.scores[plugin("NodeResourcesBalancedAllocation")] = false;
    profile_init(&shaped, "shaped");
    shaped.fit = FIT_REQUESTED_TO_CAPACITY;
    shaped.shape = shape;
    shaped.shape_count = ARRAY_SIZE(shape);
    printf("| mix | at least | best fit, largest first | best fit | default profile | "
           "MostAllocated | RequestedToCapacityRatio + balance "
           "|\n|---|---:|---:|---:|---:|---:|---:|\n");
    for (size_t m = 0; m < ARRAY_SIZE(mixes); m++) {
        double sums[6] = {0};
        for (uint64_t seed = 1; seed <= seeds; seed++) {
            struct ask *asks = xzalloc(count * sizeof(*asks));
            struct api_object **pods = xzalloc(count * sizeof(struct api_object *));
            draw(&mixes[m], seed, asks, count);
            for (size_t i = 0; i < count; i++)
                pods[i] = make_pod(&asks[i], i);
            size_t least = least_possible(asks, count);
            sums[0] += (double)least;
            sums[2] += (double)best_fit(asks, count);
            sums[3] += (double)nodes_needed(pods, count, least, profile_default());
            sums[4] += (double)nodes_needed(pods, count, least, &packing);
            sums[5] += (double)nodes_needed(pods, count, least, &shaped);
            qsort(asks, count, sizeof(*asks), larger_first);
            sums[1] += (double)best_fit(asks, count);
            for (size_t i = 0; i < count; i++)
                api_object_unref(pods[i]);
            free(pods);
            free(asks);
        }
        printf("| %s |", mixes[m].name);
        for (size_t i = 0; i < ARRAY_SIZE(sums); i++)
            printf(" %.1f |", sums[i] / (double)seeds);
        printf("\n");
        fflush(stdout);
    }
    return 0;
}
