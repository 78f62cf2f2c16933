/* managed_fields.h - metadata.managedFields, decoded: who owns which fields.
 *
 * A manager is known by name, operation and subresource, one that updates by
 * its version as well. Pure; everything lives in the arena given. */
#ifndef APISERVER_MANAGED_FIELDS_H
#define APISERVER_MANAGED_FIELDS_H

#include "lib/api/fieldset.h"
#include "lib/base/base.h"

struct arena;
struct error;
struct meta_v1_managed_fields_entry;
struct meta_v1_object_meta;

struct managed_entry {
    struct str manager, api_version, subresource;
    bool applied; /* Operation Apply, else Update. */
    bool has_time;
    int64_t time_s;
    struct fieldset set;
    struct str raw; /* The set as it was stored; empty once it differs. */
};

struct managed {
    struct arena *arena;
    struct managed_entry *items; /* Never two of one manager. */
    size_t count, cap;
};

#define MANAGED_ENTRIES_MAX 4096
/* E_INVALID: too many entries, or with upstream's words one of no known form. */
int managed_decode(struct arena *a, const struct meta_v1_managed_fields_entry *entries,
                   size_t count, struct managed *ret, struct error *err);
/* Sorted as upstream sorts: Apply first, then by time, manager, version, subresource. */
void managed_encode(struct managed *m, struct meta_v1_object_meta *meta);

/* The entry of the same manager, or NULL. */
struct managed_entry *managed_find(const struct managed *m, const struct managed_entry *like);
/* The same, added with an empty set when there is none. */
struct managed_entry *managed_get(struct managed *m, const struct managed_entry *like);
void managed_set(struct managed_entry *e, struct fieldset set);
void managed_remove(struct managed *m, struct managed_entry *e);
/* Leaves at most MANAGED_UPDATERS_MAX entries of updates: the oldest are merged
 * into one per version, "ancient-changes". */
void managed_cap(struct managed *m);
#define MANAGED_UPDATERS_MAX 10

/* A manager in messages: "m1", "upd" with subresource "scale" using apps/v1. */
struct str managed_show(struct arena *a, const struct managed_entry *e);
/* Order of managers in messages: their identifiers as upstream spells them. */
int managed_cmp(const struct managed_entry *x, const struct managed_entry *y);

/* A list that asks for a reset: empty but there, or one empty entry. */
bool managed_is_reset(const struct meta_v1_managed_fields_entry *entries, size_t count);
/* Equal entries, times left aside. */
bool managed_equal_but_times(const struct meta_v1_object_meta *x,
                             const struct meta_v1_object_meta *y);

#endif
