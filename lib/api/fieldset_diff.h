/* fieldset_diff.h - which fields of an object a write changed.
 *
 * Compares two objects of one type as upstream's typed comparison does: structs
 * and maps member by member, keyed lists and sets item by item, everything
 * atomic as a whole. Pure, thread-safe; results live in the arena. */
#ifndef API_FIELDSET_DIFF_H
#define API_FIELDSET_DIFF_H

#include "lib/api/fieldset.h"

struct api_msg;
struct error;

struct fieldset_diff {
    struct fieldset changed; /* Added, or of another value. */
    struct fieldset removed;
};

/* x, y: structs of m. E_INVALID: an item of a keyed list has none of its keys. */
int fieldset_diff_msg(struct arena *a, const struct api_msg *m, const void *x, const void *y,
                      struct fieldset_diff *ret, struct error *err);

#endif
