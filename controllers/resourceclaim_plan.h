/* resourceclaim_plan.h - the ResourceClaims of pods: names, and who still needs one. Pure.
 *
 * Rules are those of upstream's resource claim controller (1.36). */
#ifndef CONTROLLERS_RESOURCECLAIM_PLAN_H
#define CONTROLLERS_RESOURCECLAIM_PLAN_H

#include "lib/base/str.h"

struct arena;
struct core_v1_pod;
struct core_v1_pod_resource_claim;
struct resource_v1_resource_claim;

#define CLAIM_FINALIZER "resource.kubernetes.io/delete-protection"
#define CLAIM_OF_POD "resource.kubernetes.io/pod-claim-name"
#define CLAIM_RESERVED_MAX 256

enum claim_name {
    CLAIM_NAMED,   /* The claim exists, or should. */
    CLAIM_NOT_YET, /* To be made from its template. */
    CLAIM_NONE,    /* The pod turned out to need none. */
};

/* The claim behind one of a pod's spec.resourceClaims. *ret_made: it was made for the pod, whose
 * it must be. */
enum claim_name pod_resource_claim(const struct core_v1_pod *p,
                                   const struct core_v1_pod_resource_claim *x, struct str *ret,
                                   bool *ret_made);
/* generateName of a claim made for a pod, within 58 characters. */
struct str claim_generate_name(struct arena *a, struct str pod, struct str claim);
/* A name that the server could have made of generate_name, the same each time for this claim of
 * this pod: who makes the claim again, since it did not learn that it has, finds it. */
struct str claim_made_name(struct arena *a, struct str generate_name, struct str pod_uid,
                           struct str claim);
/* None of its containers runs or ever will. */
bool claim_pod_is_done(const struct core_v1_pod *p);
bool claim_is_for_pod(const struct resource_v1_resource_claim *c, const struct core_v1_pod *p);
bool claim_is_reserved_for(const struct resource_v1_resource_claim *c, struct str uid);

#endif
