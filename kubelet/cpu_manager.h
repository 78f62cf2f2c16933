/* cpu_manager.h - the CPU manager: processors that containers have for themselves, and the pool
 * that all others share. Pure but for what cpu_manager_new() is given; changes are told by a
 * generation.
 *
 * Policy "static": a container of a Guaranteed pod that asks for a whole number of processors gets
 * as many for itself; everybody else runs on the rest (the shared pool), which holds the reserved
 * processors, too (unless strict-cpu-reservation). Policy "none" pins nobody. As upstream's; pods
 * with resources of their own (spec.resources) share, too. */
#ifndef KUBELET_CPU_MANAGER_H
#define KUBELET_CPU_MANAGER_H

#include "kubelet/cpu_pick.h"
#include "kubelet/cpu_state.h"
#include "kubelet/topology.h"

struct core_v1_container;
struct core_v1_pod;
struct cpu_manager;

struct cpu_manager_config {
    bool is_static;
    bool full_cores, distribute_numa, distribute_cores, align_sockets, align_caches,
        strict_reservation;
    struct cpu_set reserved; /* reservedSystemCPUs; empty: as many as reserved_milli needs. */
    int64_t reserved_milli;  /* systemReserved and kubeReserved. */
};

/* policy: "none", "static", NULL; options: "key=value". Errors name field, flag and fix. */
int cpu_manager_config_parse(const char *policy, const struct flag_list *options,
                             struct cpu_manager_config *ret, struct error *err);

/* What fits together, with the machine and the topology manager's policy, too. machine is borrowed
 * as long as it lives. state: the file's text; empty: there is none yet. E_CORRUPT:
 * it is damaged, or of other settings or another machine; E_INVALID: settings. */
int cpu_manager_new(const struct cpu_manager_config *config, const struct machine_topology *machine,
                    enum topology_policy topology, struct str state, struct cpu_manager **ret,
                    struct error *err);
void cpu_manager_free(struct cpu_manager *m); /* NULL is a no-op. */
void cpu_manager_provider(struct cpu_manager *m, struct topology_provider *ret);

/* Goes up with each change of what is to be saved. */
uint64_t cpu_manager_generation(const struct cpu_manager *m);
const struct cpu_state *cpu_manager_state(const struct cpu_manager *m);

bool cpu_manager_is_static(const struct cpu_manager *m);
/* A container's own processors; NULL: it has none. Valid until the next change. */
const struct cpu_set *cpu_manager_exclusive(const struct cpu_manager *m, struct str pod_uid,
                                            struct str container);
/* Where it is to run: its own processors or the shared pool; NULL: anywhere. */
const struct cpu_set *cpu_manager_affinity(const struct cpu_manager *m, struct str pod_uid,
                                           struct str container);
/* Does any container of the pod have its own? */
bool cpu_manager_has_pod(const struct cpu_manager *m, struct str pod_uid);
/* What containers can ever have for themselves; with policy none all processors. For the pod
 * resources API. */
struct cpu_set cpu_manager_allocatable(const struct cpu_manager *m);
/* Not in anybody's hands yet, for metrics. */
struct cpu_set cpu_manager_shared(const struct cpu_manager *m);

struct cpu_manager_counts {
    uint64_t requests, errors;
};
const struct cpu_manager_counts *cpu_manager_counts(const struct cpu_manager *m);

#endif
