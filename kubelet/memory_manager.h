/* memory_manager.h - the memory manager: which NUMA nodes a container's memory and huge pages come
 * from. Pure; changes are told by a generation.
 *
 * Policy "Static": each container of a Guaranteed pod is promised its memory on one NUMA node, or
 * on a group of nodes if it needs more than one has; a node is used either alone or in one group,
 * never both at a time. Everybody else may use memory of all nodes. Policy "None" promises nothing.
 * As upstream's; pods with resources of their own (spec.resources) are left alone. */
#ifndef KUBELET_MEMORY_MANAGER_H
#define KUBELET_MEMORY_MANAGER_H

#include "kubelet/memory_state.h"
#include "kubelet/topology.h"

struct core_v1_container;
struct core_v1_pod;
struct memory_manager;

/* One of --reserved-memory: kept for the system on this node. */
struct memory_reservation {
    int64_t node;
    const char *type; /* "memory", "hugepages-2Mi" */
    int64_t bytes;
};

struct memory_manager_config {
    bool is_static;
    const struct memory_reservation *reservations;
    size_t reservation_count;
};

/* policy: "None", "Static", NULL. reserved: "0:memory=1Gi,hugepages-2Mi=4Mi", several also divided
 * by semicolons. What ret points at is in the arena. */
int memory_manager_config_parse(const char *policy, const struct flag_list *reserved,
                                struct arena *a, struct memory_manager_config *ret,
                                struct error *err);

/* What the machine has, nothing of it taken or reserved. */
void memory_machine_of(const struct machine_topology *t, struct memory_machine *ret);

/* machine is copied. held_back: bytes of each of its types that the node's allocatable amounts
 * leave out: what is reserved by node must be as much. state: the file's text; empty: there is none
 * yet. E_CORRUPT: it cannot be gone on with; E_INVALID: settings. */
int memory_manager_new(const struct memory_manager_config *config,
                       const struct memory_machine *machine, const int64_t *held_back,
                       struct str state, struct memory_manager **ret, struct error *err);
void memory_manager_free(struct memory_manager *m); /* NULL is a no-op. */
void memory_manager_provider(struct memory_manager *m, struct topology_provider *ret);

uint64_t memory_manager_generation(const struct memory_manager *m);
void memory_manager_write(const struct memory_manager *m, struct buf *out);
const struct memory_state *memory_manager_state(const struct memory_manager *m);
/* The machine as it is now, for the pod resources API: allocatable amounts by node and type. */
const struct memory_machine *memory_manager_machine(const struct memory_manager *m);
bool memory_manager_is_static(const struct memory_manager *m);
/* What a container has; NULL: nothing of its own. Valid until the next change. */
const struct memory_assignment *memory_manager_blocks(const struct memory_manager *m,
                                                      struct str pod_uid, struct str container);
/* NUMA nodes of all of its blocks; 0: any. */
numa_mask memory_manager_nodes(const struct memory_manager *m, struct str pod_uid,
                               struct str container);
bool memory_manager_has_pod(const struct memory_manager *m, struct str pod_uid);

struct memory_manager_counts {
    uint64_t requests, errors;
};
const struct memory_manager_counts *memory_manager_counts(const struct memory_manager *m);

#endif
