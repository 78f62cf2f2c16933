/* endpointslice_plan.h - the slices that one Service should have in one address family. Pure.
 *
 * Endpoints stay in the slice they are in, so that a change touches few slices: what is new goes
 * where something is written anyway, the fullest first, then into one slice that has room for all
 * of it, else into new ones. The rules are those of upstream's reconciler (1.36). */
#ifndef CONTROLLERS_ENDPOINTSLICE_PLAN_H
#define CONTROLLERS_ENDPOINTSLICE_PLAN_H

#include "lib/base/str.h"

struct api_object;
struct arena;
struct backend;
struct discovery_v1_endpoint_slice;

struct slice_input {
    const struct api_object *service;
    bool v6;
    const struct backend *backends; /* Of that family, those that are going too. */
    const struct str *zones;        /* Of each one's node; empty: none. */
    size_t count;
    struct api_object *const *existing; /* Slices of that family with the Service's name. */
    size_t existing_count;
    size_t endpoints_max; /* Of one slice. */
    struct str trigger;   /* When what changes now began to; empty: not known. */
};

/* All in the arena. */
struct slice_plan {
    struct discovery_v1_endpoint_slice **creates, **updates;
    size_t create_count, update_count;
    const struct discovery_v1_endpoint_slice **removes;
    size_t remove_count;
};

void slice_plan(struct arena *a, const struct slice_input *in, struct slice_plan *ret);

#define ENDPOINT_SLICE_MANAGER "endpointslice-controller.k8s.io"

#endif
