/* extended.h - extended resources that a DeviceClass provides: a pod asks for them as
 * for those of device plugins, and gets devices by a claim that the scheduler makes.
 *
 * Which of the resources are to be devices depends on the node: what it advertises
 * (allocatable above zero) comes from its device plugin. Pure. */
#ifndef SCHEDULER_DEVICES_EXTENDED_H
#define SCHEDULER_DEVICES_EXTENDED_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct core_v1_pod;
struct core_v1_pod_extended_resource_claim_status;
struct devices;
struct resource_v1_resource_claim;
struct resources;

#define EXTENDED_MAX 64u /* Scalar resources of a pod that are looked at. */

/* A name that no object can have: the claim is not in the API yet. */
#define EXTENDED_CLAIM_NAME "<extended-resources>"

/* Which of the wanted scalars (bits by index) a class provides; d NULL: none. */
uint64_t extended_by_class(const struct devices *d, const struct resources *want);
/* Of those, which have to be devices on a node that has this. */
uint64_t extended_on_node(uint64_t by_class, const struct resources *want,
                          const struct resources *have);
/* Whether one resource does: by class, and not advertised by the node. */
bool extended_is_device(const struct devices *d, const struct resources *have, const char *name);

/* The claim for these resources of the pod, as it will be created; its uid (made of
 * the pod's) is for devices_pend() alone. In the arena, with names borrowed from pod and want. */
struct resource_v1_resource_claim *extended_claim(const struct devices *d, struct arena *a,
                                                  const struct core_v1_pod *pod,
                                                  const struct resources *want, uint64_t devices);
/* What the pod's status is to say: which request of the claim is which container's. */
void extended_claim_status(struct arena *a, const struct core_v1_pod *pod,
                           const struct resource_v1_resource_claim *claim,
                           struct core_v1_pod_extended_resource_claim_status *ret);

#endif
