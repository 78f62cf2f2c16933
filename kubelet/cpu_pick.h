/* cpu_pick.h - which of the free processors a container gets. Pure.
 *
 * Packed (the default): whole NUMA nodes or sockets while it needs as many, then whole last-level
 * caches if asked for, then whole cores, then single threads; each time from where the fewest are
 * free, so that what is large stays whole. Distributed: as evenly as can be over as few NUMA
 * nodes as can hold it. The order is upstream's (its options of the static policy). */
#ifndef KUBELET_CPU_PICK_H
#define KUBELET_CPU_PICK_H

#include "kubelet/machine_topology.h"

struct cpu_pick_rules {
    bool distribute_numa;  /* distribute-cpus-across-numa */
    bool distribute_cores; /* distribute-cpus-across-cores: one thread of each core first. */
    bool align_caches;     /* prefer-align-cpus-by-uncorecache */
    int group; /* Processors that stay together when distributed: 1, or those of a core. */
};

/* False: not as many are free; *ret is left alone. A count of 0 is the empty set. */
bool cpu_pick(const struct machine_topology *t, const struct cpu_pick_rules *rules,
              const struct cpu_set *available, int count, struct cpu_set *ret);

#endif
