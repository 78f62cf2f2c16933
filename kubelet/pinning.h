/* pinning.h - runs the topology, CPU and memory managers in the node agent.
 *
 *   pod is new -> topology.h -> cpu_manager.h, memory_manager.h, device manager
 *   state changed -> file (job) -> containers that wait for it
 *                 -> containers whose processors are others now are updated through the runtime
 *
 * A container with processors or memory of its own is started when the state that says so is on
 * the disk, so that no agent after this one can give them to somebody else. Loop-confined. */
#ifndef KUBELET_PINNING_H
#define KUBELET_PINNING_H

#include "lib/base/error.h"
#include "lib/base/str.h"

struct admission_refusal;
struct arena;
struct core_v1_container;
struct core_v1_pod;
struct cpu_manager;
struct kubelet;
struct kubelet_config;
struct machine_topology;
struct memory_manager;
struct pinning;
struct topology;

/* Names of fields, values and pairs of options; what needs the machine comes with pinning_new(). */
int pinning_check(const struct kubelet_config *c, struct error *err);
/* reservedSystemCPUs count as the processors that are reserved, whatever else is said of them: to
 * be called before capacities are computed. */
int pinning_take_reserved(struct kubelet *k, struct error *err);
/* Reads the machine and the saved states. Blocking. */
int pinning_new(struct kubelet *k, struct pinning **ret, struct error *err);
/* The runtime is up: containers are held to what they have from now on. */
void pinning_start(struct pinning *p);

/* All of these take NULL for an agent without it (tests). */
bool pinning_admit(struct pinning *p, struct arena *a, const struct core_v1_pod *pod,
                   struct admission_refusal *ret);
void pinning_pod_gone(struct pinning *p, const char *uid);
/* All pods that are here have a worker: what others had is taken back. */
void pinning_forget_unknown(struct pinning *p);
/* False: what the pod has is not on the disk yet; its worker is kicked when it is. */
bool pinning_may_start(const struct pinning *p, const char *uid);
/* New amounts for a pod that has some of its own: false says why not, with reason Infeasible. */
bool pinning_may_resize(const struct pinning *p, const struct core_v1_pod *from,
                        const struct core_v1_pod *to, const char **ret_message);

/* What the runtime is told of a new container. */
struct container_pins {
    const char *cpus, *mems; /* "" anywhere; in the arena. */
    bool no_quota;           /* Processors of its own: nothing is throttled. */
};
void pinning_container(const struct pinning *p, struct arena *a, const struct core_v1_pod *pod,
                       struct str container, struct container_pins *ret);
/* The pod has processors of its own: its cgroup has no quota. */
bool pinning_has_cpus(const struct pinning *p, struct str pod_uid);
/* The runtime has made it with these. */
void pinning_created(struct pinning *p, const char *container_id, const char *cpus);

/* For the device manager and the pod resources API. */
struct topology *pinning_topology(const struct pinning *p);
const struct cpu_manager *pinning_cpus(const struct pinning *p);
const struct memory_manager *pinning_memory(const struct pinning *p);
const struct machine_topology *pinning_machine(const struct pinning *p);

#endif
