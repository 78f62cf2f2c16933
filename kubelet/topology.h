/* topology.h - the topology manager: what a container gets of CPUs, memory and devices comes from
 * NUMA nodes that are close to each other, or the pod is not taken.
 *
 *   providers' hints -> topology_merge.h -> one hint -> providers allocate by it
 *
 * Scope "container": each container for itself. Scope "pod": one hint for all of them together.
 * With policy none nobody is asked for hints, and providers allocate as they like.
 *
 * Providers are the CPU manager, the memory manager and the device manager. Loop-confined, but
 * without I/O: what providers save to files is their own. */
#ifndef KUBELET_TOPOLOGY_H
#define KUBELET_TOPOLOGY_H

#include "kubelet/topology_merge.h"

#include "lib/base/error.h"
#include "lib/base/flags.h"
#include "lib/base/str.h"

struct admission_refusal;
struct core_v1_container;
struct core_v1_pod;
struct topology;

struct topology_config {
    struct topology_rules rules;
    bool by_pod;            /* Scope "pod". */
    int64_t max_numa_nodes; /* Machines with more are refused, unless the policy is none. */
};

/* As the flags give them; options are "key=value". NULL is the default. The error names field, flag
 * and what is right. */
int topology_config_parse(const char *policy, const char *scope, const struct flag_list *options,
                          struct topology_config *ret, struct error *err);
const char *topology_policy_name(enum topology_policy p);

/* Somebody who hands out something of the machine. Every function may be NULL but allocate and
 * free_pod. */
struct topology_provider {
    const char *name; /* For logs. */
    void *arg;
    /* Adds hints for each resource that the container (pod: all its containers together) asks for.
     * What it already has makes the only hint, so that asking again changes nothing. */
    void (*container_hints)(void *arg, const struct core_v1_pod *pod,
                            const struct core_v1_container *c, struct topology_hints *h);
    void (*pod_hints)(void *arg, const struct core_v1_pod *pod, struct topology_hints *h);
    /* Gives the container what it asks for, from these nodes first; if they do not suffice from
     * others, too, which the policy has then allowed. Init containers come first, in the order of
     * the spec. What it already has stays. False: ret says why; a reason of NULL is upstream's
     * UnexpectedAdmissionError, and the message becomes a part of its text. */
    bool (*allocate)(void *arg, struct arena *a, const struct core_v1_pod *pod,
                     const struct core_v1_container *c, const struct topology_hint *hint,
                     struct admission_refusal *ret);
    /* Nothing of the pod runs any more, or it was not taken: takes everything back. Also for pods
     * that never had anything. */
    void (*free_pod)(void *arg, struct str pod_uid);
};

/* E_INVALID: the machine has more NUMA nodes than the policy can work with. layout is copied. */
int topology_new(const struct topology_config *config, const struct numa_layout *layout,
                 struct topology **ret, struct error *err);
void topology_free(struct topology *t); /* NULL is a no-op. */
/* p is copied. Providers are asked in the order in which they were added. */
void topology_add_provider(struct topology *t, const struct topology_provider *p);
const struct numa_layout *topology_layout(const struct topology *t);
enum topology_policy topology_policy(const struct topology *t);

/* Takes the pod or refuses it: then nothing of it is held by any provider, and ret has upstream's
 * reason (TopologyAffinityError, UnexpectedAdmissionError, ...) and message, which may be in the
 * arena. For a pod that was taken before, also by an earlier agent, what it has stays. */
bool topology_admit(struct topology *t, struct arena *a, const struct core_v1_pod *pod,
                    struct admission_refusal *ret);
/* Tells all providers. */
void topology_free_pod(struct topology *t, struct str pod_uid);

/* For metrics. */
struct topology_counts {
    uint64_t requests, errors;
    /* With single-numa-node: containers (or pods) whose resources are all of one node, or could not
     * be. */
    uint64_t aligned, not_aligned;
};
const struct topology_counts *topology_counts(const struct topology *t);
bool topology_is_by_pod(const struct topology *t);

#endif
