/* allocate.h - finds devices on a node for the claims of a pod that have none yet,
 * by structured parameters: the first solution in the order of pools, slices and
 * devices, as upstream finds it. Pure. */
#ifndef SCHEDULER_DEVICES_ALLOCATE_H
#define SCHEDULER_DEVICES_ALLOCATE_H

#include "lib/base/str.h"

#include <stdbool.h>

struct arena;
struct core_v1_node;
struct devices;
struct resource_v1_allocation_result;
struct resource_v1_resource_claim;

#define DEVICE_RESULTS_MAX 32 /* Of one claim. */
/* Devices that a search on one node looks at before it gives up, and all searches of
 * one decision together. */
#define DEVICE_STEPS_NODE 1000000u
#define DEVICE_STEPS_CYCLE 10000000u

enum allocate_code {
    ALLOCATE_FITS,
    ALLOCATE_NOT,    /* Not on this node: text says why. */
    ALLOCATE_BROKEN, /* A claim, a class or a slice is wrong: no use looking at other nodes. */
};

struct allocate_question {
    struct devices *devices;
    const struct core_v1_node *node;
    const struct resource_v1_resource_claim *const *claims;
    size_t claim_count;
    struct arena *arena; /* Of the answer. */
    size_t *steps_left;  /* Of the decision; spent. */
    uint64_t seed;       /* Ids of shares follow from it. */
};

struct allocate_answer {
    enum allocate_code code;
    struct str text;                               /* In the arena, or static. */
    struct resource_v1_allocation_result *results; /* FITS: one for each claim. */
};

void devices_allocate(const struct allocate_question *q, struct allocate_answer *ret);

#endif
