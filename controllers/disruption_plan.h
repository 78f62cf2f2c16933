/* disruption_plan.h - the status of a PodDisruptionBudget. Pure.
 *
 * Rules and texts are those of upstream's disruption controller (1.36). */
#ifndef CONTROLLERS_DISRUPTION_PLAN_H
#define CONTROLLERS_DISRUPTION_PLAN_H

#include "lib/base/str.h"

struct api_object;
struct arena;
struct core_v1_pod;
struct policy_v1_pod_disruption_budget;
struct policy_v1_pod_disruption_budget_spec;
struct policy_v1_pod_disruption_budget_status;

#define DISRUPTION_PENDING_S 120 /* So long an evicted pod may take to be deleted. */

struct disruption_input {
    const struct policy_v1_pod_disruption_budget *budget;
    struct api_object *const *pods; /* All that it selects. */
    size_t pod_count;
    int32_t scale; /* Sum of the pods' controllers, if that matters. */
    int64_t now_s;
};

struct disruption_plan {
    struct policy_v1_pod_disruption_budget_status *status;
    struct api_object **kept; /* Pods whose eviction came to nothing. */
    size_t kept_count;
    int64_t again_after_s; /* 0: only when something changes. */
};

/* Does what is wanted depend on how many pods there are to be? */
bool disruption_needs_scale(const struct policy_v1_pod_disruption_budget_spec *s);
void disruption_plan(struct arena *a, const struct disruption_input *in,
                     struct disruption_plan *ret);
/* Nobody knows how many pods there should be: none may be evicted. */
struct policy_v1_pod_disruption_budget_status *
disruption_failed(struct arena *a, const struct policy_v1_pod_disruption_budget *b,
                  struct str message, int64_t now_s);

/* A pod whose disruption was announced and did not come: when that is to be taken back. False:
 * there is nothing to take back. */
bool disruption_is_stale(const struct core_v1_pod *p, int64_t now_s, int64_t *ret_after_s);

#endif
