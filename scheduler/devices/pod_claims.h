/* pod_claims.h - the ResourceClaims that a pod names, or that were made for it. Pure. */
#ifndef SCHEDULER_DEVICES_POD_CLAIMS_H
#define SCHEDULER_DEVICES_POD_CLAIMS_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct api_object;
struct arena;
struct core_v1_pod;
struct devices;
struct resource_v1_resource_claim;

#define POD_CLAIMS_MAX 64u /* More than validation lets through. */

/* Into ret (room for POD_CLAIMS_MAX), in the pod's order; those that turned out to be not
 * needed are left out. False: the pod has to wait, *ret_why (in the arena) says for what. */
bool pod_device_claims(const struct devices *d, struct arena *a, const struct core_v1_pod *pod,
                       struct api_object **ret, size_t *ret_count, struct str *ret_why);

bool claim_reserved_for(const struct resource_v1_resource_claim *c, struct str uid);

/* Whether the conditions hold that devices of the claim ask for. */
enum claim_binding {
    CLAIM_BINDING_READY,
    CLAIM_BINDING_WAITS,
    CLAIM_BINDING_FAILED, /* *ret_why: in the arena. */
};
enum claim_binding claim_binding_state(struct arena *a, const struct resource_v1_resource_claim *c,
                                       struct str *ret_why);
bool claim_has_conditions(const struct resource_v1_resource_claim *c);
/* It was allocated longer than that ago, and has conditions. */
bool claim_binding_timed_out(const struct resource_v1_resource_claim *c, uint64_t now_ns,
                             uint64_t timeout_ms);

#endif
