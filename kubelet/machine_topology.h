/* machine_topology.h - where the machine's processors and memory are: threads of cores, caches,
 * sockets and NUMA nodes, as the kernel tells in sysfs. Blocking reads, once at start. */
#ifndef KUBELET_MACHINE_TOPOLOGY_H
#define KUBELET_MACHINE_TOPOLOGY_H

#include "kubelet/cpu_set.h"
#include "kubelet/topology_merge.h"

struct cpu_place {
    int core;   /* Of the whole machine: the lowest processor of the core. */
    int socket; /* Likewise. */
    int cache;  /* The last level's: likewise. */
    int numa;
};

#define HUGEPAGE_SIZES_MAX 8

/* Memory of a NUMA node. */
struct numa_memory {
    int64_t bytes;
    int64_t hugepages[HUGEPAGE_SIZES_MAX]; /* Count of each size. */
};

struct machine_topology {
    struct cpu_set online;
    struct cpu_place *places; /* By number, for those online; owned. */
    int cpu_count, core_count, socket_count, cache_count;
    struct numa_layout numa; /* Nodes with processors, memory or both. */
    int64_t hugepage_bytes[HUGEPAGE_SIZES_MAX];
    size_t hugepage_size_count; /* In ascending order. */
    struct numa_memory memory[NUMA_NODE_MAX];
};

/* root: "" for this machine; /sys/devices/system below it is read. A kernel without NUMA has one
 * node of number 0, with all memory_bytes. */
int machine_topology_read(const char *root, int64_t memory_bytes, struct machine_topology *ret,
                          struct error *err);
void machine_topology_done(struct machine_topology *t);

/* Processors of these NUMA nodes. */
struct cpu_set machine_cpus_of(const struct machine_topology *t, numa_mask nodes);
/* With the other threads of their cores. */
struct cpu_set machine_with_siblings(const struct machine_topology *t, const struct cpu_set *s);
numa_mask machine_numa_of(const struct machine_topology *t, const struct cpu_set *s);
int machine_cpus_per_core(const struct machine_topology *t); /* At least 1. */

#endif
