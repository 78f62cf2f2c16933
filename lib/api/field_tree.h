/* field_tree.h - JSON documents as server-side apply works on them: checked by
 * type, turned into sets of fields, compared, merged and pruned.
 *
 * Documents given are left as they are; results share memory with them and
 * live in the arena. Pure, thread-safe. NULL is a value that is not there. */
#ifndef API_FIELD_TREE_H
#define API_FIELD_TREE_H

#include "lib/api/field_type.h"
#include "lib/api/fieldset_diff.h"

struct error;

/* Whether a document fits its type: 0, or E_INVALID and upstream's words for
 * all that does not, in *ret_faults. Repeated items of keyed lists and sets are
 * a fault unless allowed. */
int field_tree_check(struct arena *a, const struct field_type *t, const struct json *j,
                     bool allow_duplicates, struct str *ret_faults);

/* Every leaf and item. The document has been checked. */
struct fieldset field_tree_set(struct arena *a, const struct field_type *t, const struct json *j);

/* From x to y; both have been checked. */
void field_tree_diff(struct arena *a, const struct field_type *t, const struct json *x,
                     const struct json *y, struct fieldset_diff *ret);

/* live with what config says: leaves are replaced, maps and keyed lists merged
 * with the order of config where it has one. */
struct json *field_tree_merge(struct arena *a, const struct field_type *t, const struct json *live,
                              const struct json *config);

/* Without the members and items that the set names; what becomes empty is null. */
struct json *field_tree_remove(struct arena *a, const struct field_type *t, const struct json *j,
                               const struct fieldset *set);

/* As upstream compares values: 1 and 1.0 are equal, members in any order. */
bool field_tree_equal(const struct json *x, const struct json *y);

#endif
