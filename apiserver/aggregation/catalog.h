/* catalog.h - all groups and versions that clients can reach here, in the order
 * of discovery: built-in ones, custom ones, and those of other servers. Pure: of
 * the calling thread's sets. */
#ifndef APISERVER_AGGREGATION_CATALOG_H
#define APISERVER_AGGREGATION_CATALOG_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct aggregated_service;
struct arena;

struct catalog_version {
    const char *version;
    int32_t priority;
    const struct aggregated_service *remote; /* NULL: served here. */
};

struct catalog_group {
    const char *name;
    struct catalog_version *versions; /* Preferred first. */
    size_t count, cap;
    int32_t priority;
    struct str first; /* "VERSION.GROUP" of the version that gives the group its place. */
};

/* In the order of /apis; by_name: of equal priority by name, as aggregated
 * discovery has them. */
struct catalog_group *catalog_make(struct arena *a, bool by_name, size_t *ret_count);

#endif
