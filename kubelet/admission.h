/* admission.h - whether this node takes a pod that was bound to it. A scheduler may have been too
 * fast or not ours, and spec.nodeName may be written by hand: then two pods must not get the same
 * port, or more than there is.
 *
 * As upstream's kubelet: resources, node selector and affinity, spec.nodeName, host ports, taints
 * of effect NoExecute, by the scheduler's own rules; the pod's operating system. A pod is refused
 * for good: phase Failed. Pure. */
#ifndef KUBELET_ADMISSION_H
#define KUBELET_ADMISSION_H

#include "lib/base/str.h"

struct api_object;
struct arena;
struct map;

struct admission_refusal {
    const char *reason;  /* "OutOfcpu", "NodePorts" ...; static or in the arena. */
    const char *message; /* In the arena. */
};

/* node: the Node object as the API server has it. others: pods that hold what they have been given
 * here. False: refused. Extended resources that the node knows nothing of are not looked at, nor
 * those of managed (keys; may be NULL), which somebody else gives out. */
bool admission_check(struct arena *a, struct api_object *node, struct api_object *pod,
                     struct api_object *const *others, size_t other_count,
                     const struct map *managed, struct admission_refusal *ret);

/* May a pod that is here have new amounts of CPU and memory, beside the others? The reason is
 * "Deferred", or "Infeasible" when not even alone. */
bool admission_fits(struct arena *a, struct api_object *node, struct api_object *pod,
                    struct api_object *const *others, size_t other_count,
                    struct admission_refusal *ret);

#endif
