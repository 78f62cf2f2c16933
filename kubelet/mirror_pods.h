/* mirror_pods.h - shows static pods to the API's readers.
 *
 * For each static pod of this node there is a pod of the same name in the API
 * that carries the annotation kubernetes.io/config.mirror; it is made here,
 * gets the static pod's status, and goes with it. Deleting it by hand only
 * makes it come back. Level-triggered: compares the two sides on each change. */
#ifndef KUBELET_MIRROR_PODS_H
#define KUBELET_MIRROR_PODS_H

#include "lib/base/base.h"

struct api_object;
struct core_v1_pod;
struct kubelet;
struct mirror_pods;
struct pod_worker;

#define ANNOTATION_MIRROR "kubernetes.io/config.mirror"
#define ANNOTATION_CONFIG_HASH "kubernetes.io/config.hash"

bool pod_is_mirror(const struct core_v1_pod *pod);

struct mirror_pods *mirror_pods_start(struct kubelet *k);
void mirror_pods_stop(struct mirror_pods *m); /* NULL is a no-op. */
/* A static pod came or went, or a mirror pod did. NULL is a no-op. */
void mirror_pods_kick(struct mirror_pods *m);
/* The mirror of a static pod as the API has it; NULL when there is none yet. */
struct api_object *mirror_pod_of(const struct kubelet *k, const struct core_v1_pod *pod);

#endif
