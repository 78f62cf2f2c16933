/* deployment_plan.h - what a Deployment's ReplicaSets should be next. Pure.
 *
 * Input: the Deployment, its ReplicaSets, the time. Output: one step - the new
 * ReplicaSet to create, new sizes, annotations and old sets to remove, and the
 * status as it should be reported. Steps follow one another as their effects
 * are seen, so a step never assumes that the one before it succeeded.
 *
 * Rules and texts are those of upstream's deployment controller (1.36). */
#ifndef CONTROLLERS_DEPLOYMENT_PLAN_H
#define CONTROLLERS_DEPLOYMENT_PLAN_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct apps_v1_deployment;
struct apps_v1_deployment_status;
struct apps_v1_replica_set;
struct arena;
struct core_v1_pod_template_spec;

#define DEPLOYMENT_REVISION "deployment.kubernetes.io/revision"
#define DEPLOYMENT_REVISION_HISTORY "deployment.kubernetes.io/revision-history"
#define DEPLOYMENT_DESIRED "deployment.kubernetes.io/desired-replicas"
#define DEPLOYMENT_MAX "deployment.kubernetes.io/max-replicas"
#define POD_TEMPLATE_HASH "pod-template-hash"

struct plan_input {
    const struct apps_v1_deployment *deployment;
    const struct apps_v1_replica_set *const *sets; /* Owned by the deployment. */
    size_t set_count;
    bool old_pods_exist; /* Recreate: pods of old sets that have not ended. */
    int64_t now_s;
};

/* One ReplicaSet to write. */
struct plan_set {
    const struct apps_v1_replica_set *before; /* NULL: to be created. */
    struct apps_v1_replica_set *after;        /* In the arena. */
    int32_t from, to;                         /* Size; equal when only metadata changes. */
};

struct plan {
    struct plan_set *writes;
    size_t write_count;
    const struct apps_v1_replica_set **removals; /* Old sets beyond the history limit. */
    size_t removal_count;
    const struct apps_v1_replica_set *new_set; /* NULL until it exists. */
    struct apps_v1_deployment
        *deployment; /* To be written (revision annotation); NULL: as it is. */
    /* A rollback was asked for: then deployment is all there is to write. */
    const char *rollback_reason; /* Of its event; NULL: none. */
    struct str rollback_message;
    struct apps_v1_deployment_status *status; /* NULL beside a rollback. */
    uint64_t again_after_s;                   /* 0: only when something changes. */
};

void deployment_plan(struct arena *a, const struct plan_input *in, struct plan *ret);

/* Parts that tests look at. */
/* Same template but for the pod-template-hash label. */
bool deployment_template_equal(const struct core_v1_pod_template_spec *x,
                               const struct core_v1_pod_template_spec *y);
/* Hash of the template and the collision count, in characters fit for names. */
struct str deployment_template_hash(struct arena *a, const struct core_v1_pod_template_spec *t,
                                    bool has_collisions, int32_t collisions);
/* maxSurge and maxUnavailable in pods. */
void deployment_fenceposts(const struct apps_v1_deployment *d, int32_t *ret_surge,
                           int32_t *ret_unavailable);

#endif
