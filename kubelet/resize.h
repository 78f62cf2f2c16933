/* resize.h - which amounts a pod's containers have while new ones are asked for. Pure.
 *
 *   asked for (spec) -> allocated (it fits on the node) -> applied (the runtime has done it)
 *
 * An agent works with a pod as it is allocated: a copy of the object with those amounts in its
 * spec. Statuses tell both, so that the next agent of the node can go on. */
#ifndef KUBELET_RESIZE_H
#define KUBELET_RESIZE_H

#include "kubelet/resources.h"

struct api_object;
struct core_v1_resource_requirements;

bool resize_same(const struct core_v1_resource_requirements *x,
                 const struct core_v1_resource_requirements *y);
/* Do any containers of one have other amounts than in the other? Both are of one pod. */
bool resize_differs(const struct api_object *x, const struct api_object *y);
/* pod, as a new object, with the containers' amounts of another. */
struct api_object *resize_with_amounts(const struct api_object *pod, const struct api_object *from);
/* The same with what the pod's status tells to be allocated. */
struct api_object *resize_as_told(const struct api_object *pod);
/* What the status tells to be applied to a container; NULL: nothing. */
const struct core_v1_resource_requirements *resize_applied(const struct core_v1_pod *pod,
                                                           struct str container);
/* Must the container be started anew for the change? */
bool resize_restarts(const struct core_v1_container *c,
                     const struct core_v1_resource_requirements *applied);
/* Wide enough for both; a missing limit is the widest. */
void resize_widen(struct cgroup_limits *l, const struct cgroup_limits *other);

#endif
