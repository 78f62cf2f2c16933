/* claims.h - the claims of a pod, for the volume plugins and for binding. */
#ifndef SCHEDULER_CLAIMS_H
#define SCHEDULER_CLAIMS_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct api_object;
struct arena;
struct core_v1_node;
struct core_v1_persistent_volume;
struct core_v1_persistent_volume_claim;
struct core_v1_pod;
struct pod_facts;
struct storage_v1_csi_storage_capacity;
struct storage_v1_storage_class;

enum claim_state {
    CLAIM_BOUND,
    CLAIM_WAITS,   /* For its first consumer; *ret_class is set. */
    CLAIM_UNBOUND, /* To be bound by others, any moment. */
};

enum claim_state claim_state_of(const struct pod_facts *f,
                                const struct core_v1_persistent_volume_claim *claim,
                                const struct storage_v1_storage_class **ret_class);

/* How a claim that waits gets its volume on a node. */
struct claim_plan {
    struct api_object *claim;
    struct api_object *volume; /* To be reserved for it; NULL: one is to be made. */
};

/* A claim that waits, and the volumes that may do for it. */
struct waiting_claim {
    struct api_object *claim;
    const struct storage_v1_storage_class *class;
    struct api_object **candidates;
    size_t candidate_count;
    /* A volume that is made needs room: the driver of its class says where there is some. */
    bool needs_room;
    const struct storage_v1_csi_storage_capacity **rooms; /* Large enough for it. */
    size_t room_count;
};
/* The volumes and the places for new ones that may do for the claim on some node. */
void waiting_claim_init(struct arena *a, const struct pod_facts *f, struct api_object *claim,
                        const struct storage_v1_storage_class *class, struct waiting_claim *ret);
enum claims_verdict {
    CLAIMS_FIT,
    CLAIMS_NO_VOLUME, /* There is none, and none is made for this node. */
    CLAIMS_NO_ROOM,   /* One would be made, but there is no room for it. */
};
/* Finds each claim a volume of its own on the node, or a provisioner that makes one; plans has
 * room for all. */
enum claims_verdict claims_plan(const struct pod_facts *f, const struct waiting_claim *claims,
                                size_t count, const struct core_v1_node *node,
                                struct claim_plan *plans);
/* The size of the largest volume that can be made there; -1: it is not known. */
int64_t capacity_limit(const struct storage_v1_csi_storage_capacity *c);

/* The volume of each bound claim of a pod; room for one per volume of it. Those that are not there
 * are left out. */
size_t pod_bound_volumes(struct arena *a, const struct pod_facts *f, const struct core_v1_pod *pod,
                         const struct core_v1_persistent_volume **ret);

#endif
