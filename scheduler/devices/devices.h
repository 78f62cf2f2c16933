/* devices.h - dynamic resources as the scheduler sees them: ResourceClaims,
 * ResourceSlices and DeviceClasses, and which devices are given away.
 *
 * A claim that a decision gave devices to is pending until it is written: its
 * devices count as taken, and no other pod may use it meanwhile. Fed by watches
 * (or a simulation); pure. Objects are shared by reference. */
#ifndef SCHEDULER_DEVICES_DEVICES_H
#define SCHEDULER_DEVICES_DEVICES_H

#include "lib/api/device_names.h"
#include "lib/api/quantity.h"
#include "lib/base/str.h"

#include <stdbool.h>

struct api_object;
struct arena;
struct cel_program;
struct core_v1_pod;
struct device_pools;
struct devices;
struct resource_v1_allocation_result;
struct resource_v1_resource_claim;

#define DEVICE_CLAIM_FINALIZER "resource.kubernetes.io/delete-protection"

struct devices *devices_new(void);
void devices_free(struct devices *d); /* NULL is a no-op. */

/* What a claim's new state means for pods that wait. */
enum claim_news {
    CLAIM_NEWS_NONE,
    CLAIM_NEWS_OWN,   /* Pods that use it may be decided now. */
    CLAIM_NEWS_FREED, /* Devices came free. */
};
/* An older version than the one that is known changes nothing. */
enum claim_news devices_set_claim(struct devices *d, struct api_object *claim);
enum claim_news devices_remove_claim(struct devices *d, const struct api_object *claim);
void devices_set_slice(struct devices *d, struct api_object *slice);
void devices_remove_slice(struct devices *d, const struct api_object *slice);
void devices_set_class(struct devices *d, struct api_object *class);
void devices_remove_class(struct devices *d, const struct api_object *class);

/* Borrowed; NULL when absent. */
struct api_object *devices_claim(const struct devices *d, struct str ns, struct str name);
/* The one made for the pod's extended resources. */
struct api_object *devices_extended_claim(const struct devices *d, const struct core_v1_pod *pod);
struct api_object *devices_class(const struct devices *d, struct str name);
/* The class that provides an extended resource, by its own name for it or the implicit one. */
struct api_object *devices_class_of_resource(const struct devices *d, struct str resource);
/* Of slices, in no order; start with *pos = 0. */
struct api_object *devices_next_slice(const struct devices *d, size_t *pos);
/* All slices by pools; good until slices change. */
const struct device_pools *devices_pools(struct devices *d);

/* Gives the claim of that uid the allocation (copied), until it is taken back: once
 * it was written, or never will be. */
void devices_pend(struct devices *d, struct str uid, const struct resource_v1_allocation_result *a);
bool devices_is_pending(const struct devices *d, struct str uid);
void devices_unpend(struct devices *d, struct str uid); /* Unknown uids are fine. */

/* How a device is taken. */
struct device_share {
    struct str name; /* Of a capacity. */
    struct quantity amount;
};
struct device_use {
    size_t whole;                /* Claims that have it for themselves. */
    size_t shared;               /* Results that have a share of it, */
    struct device_share *shares; /* and of what, together. */
    size_t share_count, share_cap;
};
/* In the arena: "driver/pool/device". */
struct str device_key(struct arena *a, struct str driver, struct str pool, struct str name);
const struct device_use *devices_use(const struct devices *d, struct str key); /* NULL: free. */

/* The compiled expression; kept for later calls, some hundred of them. NULL: *ret_error
 * says why, in a. */
const struct cel_program *devices_program(struct devices *d, struct arena *a, struct str text,
                                          struct str *ret_error);

#endif
