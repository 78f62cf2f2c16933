/* deployment_status.h - counts and conditions of a Deployment. Pure. */
#ifndef CONTROLLERS_DEPLOYMENT_STATUS_H
#define CONTROLLERS_DEPLOYMENT_STATUS_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct apps_v1_deployment;
struct apps_v1_deployment_status;
struct apps_v1_replica_set;
struct arena;

struct status_input {
    const struct apps_v1_deployment *deployment;
    const struct apps_v1_replica_set *new_set; /* NULL: none yet. */
    const struct apps_v1_replica_set *created; /* About to be created; NULL: none. */
    const struct apps_v1_replica_set *const *sets;
    size_t set_count;
    int32_t max_unavailable;
    bool estimates; /* A rollout may be under way: its progress and failures are told. */
    int64_t now_s;
};

/* In the arena. *ret_again_after_s: when the progress deadline passes; 0: never. */
struct apps_v1_deployment_status *deployment_status(struct arena *a, const struct status_input *in,
                                                    uint64_t *ret_again_after_s);
/* The same for a set that could not be made: the status as it was, but for that. */
struct apps_v1_deployment_status *deployment_status_not_created(struct arena *a,
                                                                const struct apps_v1_deployment *d,
                                                                struct str message, int64_t now_s);
/* All pods are of the new template and available. */
bool deployment_is_complete(const struct apps_v1_deployment *d,
                            const struct apps_v1_deployment_status *s);

#endif
