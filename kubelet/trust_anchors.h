/* trust_anchors.h - from ClusterTrustBundles to the one file that a pod reads. Pure. */
#ifndef KUBELET_TRUST_ANCHORS_H
#define KUBELET_TRUST_ANCHORS_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct api_object;
struct arena;
struct core_v1_cluster_trust_bundle_projection;
struct error;

#define TRUST_SEED_BYTES 16

/* Which of the bundles a projection asks for: by name, or by signer and labels. */
bool trust_bundle_is_for(const struct api_object *bundle,
                         const struct core_v1_cluster_trust_bundle_projection *p);

/* Every certificate of the bundles once, without anything between the blocks, in an order that
 * depends on the seed alone: nobody is to count on one, and a file is not to change for nothing.
 * None of the bundles and not optional: E_NOT_FOUND in upstream's words. *ret is in a. */
int trust_anchors_merge(struct arena *a, const struct core_v1_cluster_trust_bundle_projection *p,
                        struct api_object *const *bundles, size_t count,
                        const uint8_t seed[TRUST_SEED_BYTES], struct str *ret, struct error *err);

#endif
