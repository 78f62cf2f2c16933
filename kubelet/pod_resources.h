/* pod_resources.h - the pod resources API (v1): programs of this machine ask which devices, claims,
 * processors and memory containers have, and what there is at all.
 *
 *   pod_resources.c        the answers, from the managers' state
 *   pod_resources_serve.c  <root>/pod-resources/kubelet.sock, not more often than upstream
 *
 * Loop-confined. */
#ifndef KUBELET_POD_RESOURCES_H
#define KUBELET_POD_RESOURCES_H

#include "lib/base/error.h"
#include "lib/base/str.h"

#include "pb/csi/podresources_v1.pb-c.h"

struct arena;
struct kubelet;

/* Messages are in a.
 * Of all pods that hold something here. */
void pod_resources_list(const struct kubelet *k, struct arena *a,
                        Podresources__V1__ListPodResourcesResponse *ret);
/* NULL: there is no such pod. */
Podresources__V1__PodResources *pod_resources_get(const struct kubelet *k, struct arena *a,
                                                  struct str namespace_name, struct str name);
/* What can be given out, whoever has it. */
void pod_resources_allocatable(const struct kubelet *k, struct arena *a,
                               Podresources__V1__AllocatableResourcesResponse *ret);

/* Blocking. */
int pod_resources_start(struct kubelet *k, struct error *err);

#endif
