/* cpu_pick.c - see cpu_pick.h.
 *
 * Distributing takes k = 1, 2, ... NUMA nodes until k of them can give equal shares. What is left
 * of the machine is most even if the k with the most free processors are taken, and what cannot be
 * divided comes from those that then still have the most: so neither choice needs a search. */
#include "kubelet/cpu_pick.h"

#include <string.h>

enum level { LEVEL_CORE, LEVEL_CACHE, LEVEL_SOCKET, LEVEL_NUMA };

struct picker {
    const struct machine_topology *t;
    const struct cpu_pick_rules *rules;
    struct cpu_set free, taken;
    int need;
};

static int group_id(const struct picker *p, enum level level, int cpu)
{
    const struct cpu_place *at = &p->t->places[cpu];
    switch (level) {
    case LEVEL_CORE:
        return at->core;
    case LEVEL_CACHE:
        return at->cache;
    case LEVEL_SOCKET:
        return at->socket;
    case LEVEL_NUMA:
        break;
    }
    return at->numa;
}

static struct cpu_set group_cpus(const struct picker *p, enum level level, int id,
                                 const struct cpu_set *of)
{
    struct cpu_set s = {0};
    CPU_SET_FOREACH(cpu, of)
    {
        if (group_id(p, level, cpu) == id)
            cpu_set_add(&s, cpu);
    }
    return s;
}

static void take_cpus(struct picker *p, const struct cpu_set *s)
{
    p->taken = cpu_set_or(&p->taken, s);
    p->free = cpu_set_minus(&p->free, s);
    p->need -= cpu_set_count(s);
}

/* --- groups in order: the fewest free processors first, then by number -------------------------
 */

struct group {
    int id, free;
};

static int compare_groups(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    if (x->free != y->free)
        return x->free < y->free ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Those with a free processor among these; owned by the caller. */
static struct group *sorted_groups(const struct picker *p, enum level level,
                                   const struct cpu_set *among, size_t *ret_count)
{
    int *at = xzalloc(CPU_MAX * sizeof(*at)); /* By id: index + 1. */
    struct cpu_set s = cpu_set_and(&p->free, among);
    struct group *list = xzalloc(((size_t)cpu_set_count(&s) + 1) * sizeof(*list));
    size_t count = 0;
    CPU_SET_FOREACH(cpu, &s)
    {
        int id = group_id(p, level, cpu);
        if (at[id] == 0) {
            list[count].id = id;
            at[id] = (int)++count;
        }
        list[at[id] - 1].free++;
    }
    free(at);
    qsort(list, count, sizeof(*list), compare_groups);
    *ret_count = count;
    return list;
}

/* Takes groups of which nothing is used yet, while it needs as many. */
static void take_whole(struct picker *p, enum level level, const struct cpu_set *among)
{
    size_t count;
    struct group *list = sorted_groups(p, level, among, &count);
    for (size_t i = 0; i < count && p->need > 0; i++) {
        struct cpu_set all = group_cpus(p, level, list[i].id, &p->t->online);
        if (cpu_set_count(&all) <= p->need && cpu_set_contains(&p->free, &all))
            take_cpus(p, &all);
    }
    free(list);
}

/* --- the two levels above caches: which contains which depends on the machine -------------------
 */

static enum level outer_level(const struct picker *p)
{
    struct cpu_set online = p->t->online;
    int nodes = numa_mask_count(machine_numa_of(p->t, &online));
    return p->t->socket_count >= nodes ? LEVEL_NUMA : LEVEL_SOCKET;
}

/* Calls back with the free processors of each part: of the outer level in order, of the inner
 * within each. */
static void each_part(struct picker *p, void (*fn)(struct picker *p, const struct cpu_set *part))
{
    enum level outer = outer_level(p), inner = outer == LEVEL_NUMA ? LEVEL_SOCKET : LEVEL_NUMA;
    size_t outer_count, inner_count;
    struct cpu_set all = p->free;
    struct group *o = sorted_groups(p, outer, &all, &outer_count);
    for (size_t i = 0; i < outer_count && p->need > 0; i++) {
        struct cpu_set of_outer = group_cpus(p, outer, o[i].id, &all);
        struct group *n = sorted_groups(p, inner, &of_outer, &inner_count);
        for (size_t k = 0; k < inner_count && p->need > 0; k++) {
            struct cpu_set part = group_cpus(p, inner, n[k].id, &of_outer);
            fn(p, &part);
        }
        free(n);
    }
    free(o);
}

static void take_inner(struct picker *p, const struct cpu_set *part)
{
    take_whole(p, outer_level(p) == LEVEL_NUMA ? LEVEL_SOCKET : LEVEL_NUMA, part);
}

static void take_cores(struct picker *p, const struct cpu_set *part)
{
    take_whole(p, LEVEL_CORE, part);
}

/* The cores with the fewest free threads first. */
static void take_threads(struct picker *p, const struct cpu_set *part)
{
    size_t count;
    struct group *list = sorted_groups(p, LEVEL_CORE, part, &count);
    for (size_t i = 0; i < count && p->need > 0; i++) {
        struct cpu_set core = group_cpus(p, LEVEL_CORE, list[i].id, part);
        for (int cpu = cpu_set_next(&core, 0); cpu >= 0 && p->need > 0;
             cpu = cpu_set_next(&core, cpu + 1)) {
            struct cpu_set one = {0};
            cpu_set_add(&one, cpu);
            take_cpus(p, &one);
        }
    }
    free(list);
}

/* One thread of each core, then the next of each. */
static void take_spread(struct picker *p, const struct cpu_set *part)
{
    struct cpu_set rest = cpu_set_and(&p->free, part);
    while (p->need > 0 && !cpu_set_is_empty(&rest)) {
        struct cpu_set round = {0}, cores = {0};
        for (int cpu = cpu_set_next(&rest, 0); cpu >= 0; cpu = cpu_set_next(&rest, cpu + 1)) {
            int core = group_id(p, LEVEL_CORE, cpu);
            if (cpu_set_has(&cores, core) || cpu_set_count(&round) == p->need)
                continue;
            cpu_set_add(&cores, core);
            cpu_set_add(&round, cpu);
        }
        take_cpus(p, &round);
        rest = cpu_set_minus(&rest, &round);
    }
}

/* What is left is taken from one cache if one has as much, the smallest such: in whole cores while
 * there are. */
static void take_of_cache(struct picker *p)
{
    size_t count;
    struct cpu_set all = p->free;
    struct group *list = sorted_groups(p, LEVEL_CACHE, &all, &count);
    for (size_t i = 0; i < count && p->need > 0; i++) {
        if (list[i].free < p->need)
            continue;
        struct cpu_set part = group_cpus(p, LEVEL_CACHE, list[i].id, &all);
        take_whole(p, LEVEL_CORE, &part);
        take_threads(p, &part);
    }
    free(list);
}

static void pick_packed(struct picker *p)
{
    struct cpu_set all = p->free;
    take_whole(p, outer_level(p), &all);
    each_part(p, take_inner);
    if (p->rules->align_caches) {
        take_whole(p, LEVEL_CACHE, &p->t->online);
        take_of_cache(p);
    }
    if (!p->rules->distribute_cores)
        each_part(p, take_cores);
    each_part(p, p->rules->distribute_cores ? take_spread : take_threads);
}

/* --- distributed --------------------------------------------------------------------------------
 */

static int compare_most_free(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    if (x->free != y->free)
        return x->free > y->free ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool can_share(const struct group *nodes, size_t k, int share, int count, int group)
{
    int groups = 0;
    for (size_t i = 0; i < k; i++) {
        if (nodes[i].free < share)
            return false;
        groups += nodes[i].free / group;
    }
    return groups * group >= count;
}

/* How many of each node: equal shares, then one group each of those that have most left. */
static void share_out(struct group *nodes, size_t k, int share, int count, int group, int *ret)
{
    for (size_t i = 0; i < k; i++) {
        ret[i] = share;
        nodes[i].free -= share;
    }
    for (int rest = count - share * (int)k; rest > 0; rest -= group) {
        size_t best = 0;
        for (size_t i = 1; i < k; i++)
            if (nodes[i].free > nodes[best].free)
                best = i;
        ret[best] += group;
        nodes[best].free -= group;
    }
}

static bool pick_distributed(struct picker *p)
{
    size_t node_count;
    int group = p->rules->group, count = p->need;
    if (count % group != 0)
        return false;
    struct cpu_set all = p->free;
    struct group *nodes = sorted_groups(p, LEVEL_NUMA, &all, &node_count);
    qsort(nodes, node_count, sizeof(*nodes), compare_most_free);
    int amounts[NUMA_NODE_MAX];
    size_t k = 1;
    for (; k <= node_count; k++)
        if (can_share(nodes, k, count / (int)k / group * group, count, group))
            break;
    bool ok = k <= node_count;
    if (ok)
        share_out(nodes, k, count / (int)k / group * group, count, group, amounts);
    for (size_t i = 0; ok && i < k; i++) {
        struct picker of_node = *p;
        of_node.free = group_cpus(p, LEVEL_NUMA, nodes[i].id, &all);
        of_node.taken = (struct cpu_set){0};
        of_node.need = amounts[i];
        pick_packed(&of_node);
        take_cpus(p, &of_node.taken);
    }
    free(nodes);
    return ok;
}

bool cpu_pick(const struct machine_topology *t, const struct cpu_pick_rules *rules,
              const struct cpu_set *available, int count, struct cpu_set *ret)
{
    struct picker p = {.t = t, .rules = rules, .free = *available, .need = count};
    if (cpu_set_count(available) < count)
        return false;
    if (count > 0 && (!rules->distribute_numa || !pick_distributed(&p)))
        pick_packed(&p);
    ASSERT_CMP(p.need, ==, 0);
    *ret = p.taken;
    return true;
}
