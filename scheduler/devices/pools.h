/* pools.h - ResourceSlices by the pool they belong to, and what of a pool a node
 * reaches. Slices of older generations are left out. Pure. */
#ifndef SCHEDULER_DEVICES_POOLS_H
#define SCHEDULER_DEVICES_POOLS_H

#include "lib/api/quantity.h"
#include "lib/base/str.h"

#include <stdbool.h>

struct arena;
struct core_v1_node;
struct core_v1_node_selector;
struct device_pools;
struct devices;
struct resource_v1_resource_slice;

/* Borrows the slices. */
struct device_pools *device_pools_new(const struct devices *d);
void device_pools_free(struct device_pools *p); /* NULL is a no-op. */

/* One counter of one of a pool's sets. */
struct pool_counter {
    struct str set, name;
    struct quantity left; /* Of what there is, after what devices take that are given away. */
};

/* A pool as one node sees it. */
struct node_pool {
    struct str driver, name;
    bool incomplete;     /* Being updated: nothing of it is to be used. */
    const char *invalid; /* Why; NULL: it is well. In the arena. */
    bool binding;        /* Some device has conditions to wait for. */
    const struct resource_v1_resource_slice **slices; /* With devices for the node, by name. */
    size_t slice_count;
    const struct resource_v1_resource_slice **others; /* With devices elsewhere. */
    size_t other_count;
    struct pool_counter *counters;
    size_t counter_count;
};
/* In the order in which devices are to be tried: by driver and name, those with conditions last. */
size_t device_pools_of_node(const struct device_pools *p, const struct devices *d, struct arena *a,
                            const struct core_v1_node *node, struct node_pool **ret);
/* Whether what is said of a slice or a device means the node. */
bool device_meant_for(const struct core_v1_node *node, bool has_name, struct str name, bool all,
                      const struct core_v1_node_selector *selector);

#endif
