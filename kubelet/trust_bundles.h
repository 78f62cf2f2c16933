/* trust_bundles.h - the ClusterTrustBundles of the cluster, watched from the first pod on that
 * projects one. Loop-confined. */
#ifndef KUBELET_TRUST_BUNDLES_H
#define KUBELET_TRUST_BUNDLES_H

#include "lib/base/str.h"

struct arena;
struct core_v1_cluster_trust_bundle_projection;
struct error;
struct kubelet;
struct trust_bundles;

/* Lives as long as the program. */
struct trust_bundles *trust_bundles_new(struct kubelet *k);
/* What a projection's file holds, in a. E_AGAIN: they are not known yet; the pods that want them
 * are woken when they are, and at each change (pod_worker_object_changed()). E_NOT_FOUND. */
int trust_bundles_read(struct trust_bundles *t,
                       const struct core_v1_cluster_trust_bundle_projection *p, struct arena *a,
                       struct str *ret, struct error *err);

#endif
