/* topology_merge.h - sets of NUMA nodes, hints that name them, and the best one that all providers
 * of resources can agree on. Pure.
 *
 * A hint says: this resource can be had from these NUMA nodes; it is preferred if no smaller set
 * could ever do. One hint of each resource is taken, in every combination; what they have in
 * common is the combination's set. It is preferred if all of its hints are, and all name the same
 * set. Which combination is the best: see topology_merge(). As upstream's topology manager. */
#ifndef KUBELET_TOPOLOGY_MERGE_H
#define KUBELET_TOPOLOGY_MERGE_H

#include "lib/base/base.h"

struct arena;

/* Bit i: NUMA node i. Upstream's masks have 64 bits, too. */
typedef uint64_t numa_mask;
#define NUMA_NODE_MAX 64
/* More nodes than this need the option max-allowable-numa-nodes: all sets of them are looked at. */
#define NUMA_NODES_DEFAULT_MAX 8
/* And more than this are refused: 65,536 sets are enough for one pod. */
#define NUMA_NODES_MAX 16

static inline int numa_mask_count(numa_mask m)
{
    return __builtin_popcountll(m);
}

/* Fewer nodes; of as many, those with lower numbers. */
static inline bool numa_mask_is_narrower(numa_mask x, numa_mask y)
{
    int x_count = numa_mask_count(x), y_count = numa_mask_count(y);
    return x_count != y_count ? x_count < y_count : x < y;
}

/* Runs over all sets of some of the nodes: start with *m 0; false at the end. Each once, in
 * ascending order. */
static inline bool numa_mask_next(numa_mask nodes, numa_mask *m)
{
    *m = (*m - nodes) & nodes;
    return *m != 0;
}

struct topology_hint {
    numa_mask nodes; /* Of the layout; 0: any. */
    bool preferred;
};

/* The hints of one resource. */
struct topology_resource_hints {
    const char *resource; /* Borrowed; for logs. */
    bool any;             /* It does not care: hints are not looked at. */
    struct topology_hint *hints;
    size_t count; /* 0 and not any: it cannot be had. */
};

/* Of all resources of one container or pod, from all providers. */
struct topology_hints {
    struct arena *arena; /* Where they are. */
    struct topology_resource_hints *items;
    size_t count, cap;
};

/* One more resource. It cannot be had until a hint is added, or any is set. Valid until the next.
 */
struct topology_resource_hints *topology_hints_add(struct topology_hints *h, const char *resource);
void topology_hint_add(struct topology_hints *h, struct topology_resource_hints *r, numa_mask nodes,
                       bool preferred);

/* The machine's nodes, and how far they are from each other (10: itself), as firmware tells. */
struct numa_layout {
    numa_mask nodes;
    uint8_t distance[NUMA_NODE_MAX][NUMA_NODE_MAX];
};

enum topology_policy {
    TOPOLOGY_NONE,
    TOPOLOGY_BEST_EFFORT,
    TOPOLOGY_RESTRICTED,
    TOPOLOGY_SINGLE_NUMA_NODE,
};

struct topology_rules {
    enum topology_policy policy;
    bool prefer_closest; /* Of sets of one size, the one whose nodes are closest to each other. */
};

/* The best hint; nodes is 0 where any will do. True: a pod may be taken with it. The layout has at
 * most NUMA_NODES_MAX nodes.
 *
 * Preferred ones come first, then the narrowest. Of those that are not preferred the best has as
 * many nodes as the resource needs that needs the most, else fewer, else more. */
bool topology_merge(const struct topology_rules *rules, const struct numa_layout *layout,
                    const struct topology_hints *hints, struct topology_hint *ret);

#endif
