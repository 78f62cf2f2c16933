/* claims.h - the claims of a pod, for the volume plugin and for binding. */
#ifndef SCHEDULER_CLAIMS_H
#define SCHEDULER_CLAIMS_H

#include "lib/base/str.h"

struct arena;
struct core_v1_persistent_volume_claim;
struct core_v1_pod;
struct core_v1_volume;
struct pod_facts;
struct storage_v1_storage_class;

enum claim_state {
    CLAIM_BOUND,
    CLAIM_WAITS,   /* For its first consumer; *ret_class is set. */
    CLAIM_UNBOUND, /* To be bound by others, any moment. */
};

/* The claim behind a volume of the pod; empty: the volume has none. */
struct str claim_name_of(struct arena *a, const struct core_v1_pod *pod,
                         const struct core_v1_volume *v);
enum claim_state claim_state_of(const struct pod_facts *f,
                                const struct core_v1_persistent_volume_claim *claim,
                                const struct storage_v1_storage_class **ret_class);

#endif
