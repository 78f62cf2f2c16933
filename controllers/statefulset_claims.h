/* statefulset_claims.h - whom a StatefulSet's volume claims belong to, by
 * spec.persistentVolumeClaimRetentionPolicy. Pure.
 *
 *   whenDeleted Delete                 the set: they go with it
 *   whenScaled Delete, pod beyond end  the pod: they go with it
 *   otherwise                          nobody: they stay */
#ifndef CONTROLLERS_STATEFULSET_CLAIMS_H
#define CONTROLLERS_STATEFULSET_CLAIMS_H

#include "lib/base/str.h"

struct api_kind;
struct apps_v1_stateful_set;
struct arena;
struct core_v1_pod;
struct meta_v1_object_meta;

struct stateful_claim {
    const struct apps_v1_stateful_set *set;
    const struct api_kind *set_kind, *pod_kind;
    const struct core_v1_pod *pod; /* Whose claim it is; NULL: to be made. */
    bool beyond;                   /* The pod's ordinal is not of the set any more. */
};

/* Puts the owners right that are the set's and the pod's; others stay, and where
 * another controls the claim it is left to that. True: something changed. */
bool stateful_claim_own(struct arena *a, const struct stateful_claim *c,
                        struct meta_v1_object_meta *claim);
/* Does it belong to an earlier pod of this name, and will go with that? */
bool stateful_claim_is_stale(const struct meta_v1_object_meta *claim, struct str pod_name,
                             struct str pod_uid);

#endif
