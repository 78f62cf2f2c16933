/* resources.h - amounts of resources: what pods ask for and nodes have.
 *
 * CPU counts in thousandths, everything else in whole units. Pure. */
#ifndef SCHEDULER_RESOURCES_H
#define SCHEDULER_RESOURCES_H

#include "lib/base/str.h"

struct api_quantity_entry;
struct core_v1_pod;

/* Extended resources, hugepages: by name, sorted. */
struct scalar_resource {
    char *name;
    int64_t amount;
};

struct resources {
    int64_t milli_cpu;
    int64_t memory;
    int64_t ephemeral_storage;
    int64_t pods; /* Of nodes: how many may run. */
    struct scalar_resource *scalars;
    size_t scalar_count;
};

void resources_done(struct resources *r);
/* Takes every entry of a ResourceList. */
void resources_from_list(struct resources *r, const struct api_quantity_entry *e, size_t count);
void resources_add(struct resources *r, const struct resources *x);
void resources_sub(struct resources *r, const struct resources *x);
void resources_max(struct resources *r, const struct resources *x);  /* Each the larger. */
void resources_copy(struct resources *r, const struct resources *x); /* r is uninitialised. */
bool resources_equal(const struct resources *x, const struct resources *y);
int64_t resources_scalar(const struct resources *r, const char *name); /* 0 when absent. */

/* What the pod asks for: the larger of its containers together and of each init
 * container beside the sidecars started before it; pod-level requests where
 * given; overhead on top. nonzero: containers that ask for no CPU or memory
 * count as 100m and 200Mi, for spreading load by score. */
void pod_requests(const struct core_v1_pod *pod, bool nonzero, struct resources *ret);
/* Do the containers of both ask for the same? One's requests change when it is resized. */
bool pods_ask_same(const struct core_v1_pod *x, const struct core_v1_pod *y);

#endif
