/* topology_merge.c - see topology_merge.h.
 *
 * What is best does not depend on the order in which combinations are looked at, so they need not
 * be enumerated: it is enough to know which sets come out of any of them. Those are gathered
 * resource by resource, which takes (sets so far) x (hints of the next) steps instead of the
 * product over all resources.
 *
 * 1. Preferred sets: M is one if each resource has a preferred hint for M or for any node, and at
 * least one has it for M. When each has one for any node, all nodes are such a set.
 * 2. Other sets: intersections of one hint of each. A set of 1. is among them and is not
 *    told apart: it is only looked for if 1. found none. */
#include "kubelet/topology_merge.h"

#include "lib/base/arena.h"

#include <string.h>

struct topology_resource_hints *topology_hints_add(struct topology_hints *h, const char *resource)
{
    h->items = arena_grow(h->arena, h->items, h->count, &h->cap, sizeof(*h->items));
    struct topology_resource_hints *r = &h->items[h->count++];
    r->resource = resource;
    return r;
}

void topology_hint_add(struct topology_hints *h, struct topology_resource_hints *r, numa_mask nodes,
                       bool preferred)
{
    /* Full at each power of two: no field is needed for the room there is. */
    if ((r->count & (r->count - 1)) == 0) {
        struct topology_hint *more =
            ARENA_ARRAY(h->arena, struct topology_hint, r->count == 0 ? 1 : 2 * r->count);
        if (r->count > 0)
            memcpy(more, r->hints, r->count * sizeof(*more));
        r->hints = more;
    }
    r->hints[r->count++] = (struct topology_hint){.nodes = nodes, .preferred = preferred};
}

/* --- one resource, as the policy sees it ---------------------------------------------------- */

static bool counts(const struct topology_rules *rules, const struct topology_hint *h)
{
    if (rules->policy != TOPOLOGY_SINGLE_NUMA_NODE)
        return true;
    return h->preferred && numa_mask_count(h->nodes) <= 1;
}

static size_t hint_count(const struct topology_resource_hints *r)
{
    return r->any || r->count == 0 ? 1 : r->count;
}

static struct topology_hint hint_at(const struct topology_resource_hints *r, size_t i)
{
    if (r->any || r->count == 0)
        return (struct topology_hint){.preferred = r->any};
    return r->hints[i];
}

/* --- which is better ---------------------------------------------------------------------- */

static int64_t distance_sum(const struct numa_layout *l, numa_mask m)
{
    int64_t sum = 0;
    for (numa_mask x = m; x != 0; x &= x - 1)
        for (numa_mask y = m; y != 0; y &= y - 1)
            sum += l->distance[__builtin_ctzll(x)][__builtin_ctzll(y)];
    return sum;
}

static bool is_fitter(const struct topology_rules *rules, const struct numa_layout *l, numa_mask x,
                      numa_mask y)
{
    bool closest = rules->prefer_closest && rules->policy != TOPOLOGY_SINGLE_NUMA_NODE;
    if (closest && numa_mask_count(x) == numa_mask_count(y)) {
        int64_t x_sum = distance_sum(l, x), y_sum = distance_sum(l, y);
        if (x_sum != y_sum) /* As many nodes: the sums compare as averages do. */
            return x_sum < y_sum;
    }
    return numa_mask_is_narrower(x, y);
}

/* Both are not preferred; wanted: how many nodes are needed by the resource that needs most. */
static bool is_better(const struct topology_rules *rules, const struct numa_layout *l, int wanted,
                      numa_mask x, numa_mask y)
{
    int x_count = numa_mask_count(x), y_count = numa_mask_count(y);
    if (x_count == y_count)
        return is_fitter(rules, l, x, y);
    if (x_count <= wanted && y_count <= wanted)
        return x_count > y_count;
    return x_count < y_count;
}

/* The most of what each resource needs at least. */
static int wanted_count(const struct topology_hints *h)
{
    int most = 0;
    for (size_t i = 0; i < h->count; i++) {
        int least = 0;
        for (size_t k = 0; k < hint_count(&h->items[i]); k++) {
            int n = numa_mask_count(hint_at(&h->items[i], k).nodes);
            if (n > 0 && (least == 0 || n < least))
                least = n;
        }
        most = MAX_OF(most, least);
    }
    return most;
}

/* --- preferred sets ------------------------------------------------------------------------- */

static bool prefers(const struct topology_rules *rules, const struct topology_resource_hints *r,
                    numa_mask m)
{
    for (size_t i = 0; i < hint_count(r); i++) {
        struct topology_hint h = hint_at(r, i);
        if (h.preferred && (h.nodes == 0 || h.nodes == m) && counts(rules, &h))
            return true;
    }
    return false;
}

static bool all_prefer(const struct topology_rules *rules, const struct topology_hints *h,
                       numa_mask m)
{
    for (size_t i = 0; i < h->count; i++)
        if (!prefers(rules, &h->items[i], m))
            return false;
    return true;
}

static numa_mask best_preferred(const struct topology_rules *rules, const struct numa_layout *l,
                                const struct topology_hints *h)
{
    numa_mask best = 0;
    for (size_t i = 0; i < h->count; i++) {
        for (size_t k = 0; k < hint_count(&h->items[i]); k++) {
            struct topology_hint x = hint_at(&h->items[i], k);
            if (x.nodes != 0 && x.preferred && counts(rules, &x) &&
                (best == 0 || is_fitter(rules, l, x.nodes, best)) && all_prefer(rules, h, x.nodes))
                best = x.nodes;
        }
    }
    /* 0 stands for no set, so that only hints for any node match. */
    return best == 0 && all_prefer(rules, h, 0) ? l->nodes : best;
}

/* --- other sets ----------------------------------------------------------------------------- */

/* Nodes that the layout has are numbered anew without gaps, so that a set is an index. */
static size_t index_of(numa_mask nodes, numa_mask m)
{
    size_t index = 0, bit = 0;
    for (numa_mask rest = nodes; rest != 0; rest &= rest - 1, bit++)
        if ((m & rest & -rest) != 0)
            index |= (size_t)1 << bit;
    return index;
}

static numa_mask mask_of(numa_mask nodes, size_t index)
{
    numa_mask m = 0;
    for (numa_mask rest = nodes; rest != 0; rest &= rest - 1, index >>= 1)
        if ((index & 1) != 0)
            m |= rest & -rest;
    return m;
}

/* to: the sets that come out of one in from and one of the hints. */
static void intersect(const struct numa_layout *l, const struct topology_resource_hints *r,
                      const bool *from, bool *to, size_t set_count)
{
    memset(to, 0, set_count * sizeof(*to));
    for (size_t k = 0; k < hint_count(r); k++) {
        struct topology_hint h = hint_at(r, k);
        size_t index = index_of(l->nodes, h.nodes == 0 ? l->nodes : h.nodes);
        for (size_t s = 0; s < set_count; s++)
            if (from[s])
                to[s & index] = true;
    }
}

static numa_mask best_other(const struct topology_rules *rules, const struct numa_layout *l,
                            const struct topology_hints *h)
{
    size_t set_count = (size_t)1 << numa_mask_count(l->nodes);
    bool *from = xzalloc(set_count * sizeof(*from)), *to = xzalloc(set_count * sizeof(*to));
    numa_mask best = 0;
    int wanted = wanted_count(h);
    from[set_count - 1] = true;
    for (size_t i = 0; i < h->count; i++) {
        intersect(l, &h->items[i], from, to, set_count);
        bool *swap = from;
        from = to;
        to = swap;
    }
    for (size_t s = 1; s < set_count; s++) {
        numa_mask m = mask_of(l->nodes, s);
        if (from[s] && (best == 0 || is_better(rules, l, wanted, m, best)))
            best = m;
    }
    free(from);
    free(to);
    return best != 0 ? best : l->nodes;
}

bool topology_merge(const struct topology_rules *rules, const struct numa_layout *l,
                    const struct topology_hints *h, struct topology_hint *ret)
{
    ASSERT(numa_mask_count(l->nodes) <= NUMA_NODES_MAX);
    if (rules->policy == TOPOLOGY_NONE) {
        *ret = (struct topology_hint){.preferred = true};
        return true;
    }
    struct topology_hint best = {.nodes = best_preferred(rules, l, h), .preferred = true};
    if (best.nodes == 0) {
        best.preferred = false;
        /* What is not preferred does not count for one node alone: then nothing is left. */
        best.nodes =
            rules->policy == TOPOLOGY_SINGLE_NUMA_NODE ? l->nodes : best_other(rules, l, h);
    }
    /* All nodes of a machine are as good as any, for one node alone and for others alike. */
    if (best.nodes == l->nodes && rules->policy == TOPOLOGY_SINGLE_NUMA_NODE)
        best.nodes = 0;
    *ret = best;
    return best.preferred || rules->policy == TOPOLOGY_BEST_EFFORT;
}
