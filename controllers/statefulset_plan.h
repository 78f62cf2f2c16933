/* statefulset_plan.h - which of a StatefulSet's pods to create and to delete
 * next. Pure.
 *
 * Slots are the ordinals from spec.ordinals.start on. With OrderedReady pods
 * come up one after the other, each when all before it are available, and go
 * from the highest down, one at a time; with Parallel all at once. Updates
 * delete old pods from the highest ordinal down to the partition, the next one
 * when the one before is available again. */
#ifndef CONTROLLERS_STATEFULSET_PLAN_H
#define CONTROLLERS_STATEFULSET_PLAN_H

#include "lib/base/str.h"

struct apps_v1_stateful_set;
struct apps_v1_stateful_set_status;
struct arena;
struct core_v1_pod;

struct stateful_input {
    const struct apps_v1_stateful_set *set;
    struct core_v1_pod *const *pods; /* That belong to it, in any order. */
    size_t pod_count;
    struct str current_revision; /* Names. */
    struct str update_revision;
    int64_t now_s;
};

struct stateful_creation {
    int32_t ordinal;
    bool current; /* From the current revision; else from the update revision. */
};

struct stateful_plan {
    struct stateful_creation *create;
    size_t create_count;
    struct core_v1_pod **remove;
    size_t remove_count;
    struct apps_v1_stateful_set_status *status; /* As it should be. */
    uint64_t again_after_s; /* minReadySeconds run; 0: only when something changes. */
};

void stateful_plan(struct arena *a, const struct stateful_input *in, struct stateful_plan *ret);
/* The ordinal in a pod's name; -1: it is not "<set>-<number>". */
int32_t stateful_ordinal(struct str set_name, struct str pod_name);

#endif
