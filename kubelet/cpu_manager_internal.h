/* cpu_manager_internal.h - what the files of the CPU manager share. */
#ifndef KUBELET_CPU_MANAGER_INTERNAL_H
#define KUBELET_CPU_MANAGER_INTERNAL_H

#include "kubelet/cpu_manager.h"

/* Every online processor is in the shared pool or some container's (of one pod even in several: its
 * init containers' are used again); reserved ones are never a container's own. */
struct cpu_manager {
    struct cpu_manager_config config;
    const struct machine_topology *machine;
    struct cpu_pick_rules rules;
    numa_mask nodes; /* With processors. */
    struct cpu_set reserved;
    struct cpu_state state;
    uint64_t generation;
    struct cpu_manager_counts counts;
};

#endif
