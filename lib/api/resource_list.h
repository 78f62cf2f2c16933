/* resource_list.h - amounts by resource name, for sums over objects.
 *
 * Sorted by name; everything lives in the arena. Names are copied. Pure. */
#ifndef API_RESOURCE_LIST_H
#define API_RESOURCE_LIST_H

#include "lib/api/quantity.h"

struct api_quantity_entry;
struct arena;
struct core_v1_pod_spec;

struct resource_amount {
    struct str name;
    struct quantity q;
};

struct resource_list {
    struct arena *arena;
    struct resource_amount *items;
    size_t count, cap;
};

/* NULL: not listed. */
const struct quantity *resource_list_get(const struct resource_list *l, struct str name);
/* A name that is not listed yet starts with q itself. */
void resource_list_add(struct resource_list *l, struct str name, struct quantity q);
void resource_list_max(struct resource_list *l, struct str name, struct quantity q);
void resource_list_add_all(struct resource_list *l, const struct resource_list *other);
void resource_list_max_all(struct resource_list *l, const struct resource_list *other);
void resource_list_add_entries(struct resource_list *l, const struct api_quantity_entry *e,
                               size_t count);
/* The form that objects hold. */
struct api_quantity_entry *resource_list_entries(const struct resource_list *l, size_t *ret_count);

/* What a pod asks for or may use at most: the larger of its containers together
 * and of each init container beside the sidecars started before it; pod-level
 * amounts where given. overhead: with the runtime's own, on limits only where
 * there are any. */
void pod_total(const struct core_v1_pod_spec *s, bool limits, bool overhead,
               struct resource_list *ret);

#endif
