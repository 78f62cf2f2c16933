/* fieldset_list.h - the parts of the comparison of objects that its two files
 * share; see fieldset_diff.h. */
#ifndef API_FIELDSET_LIST_H
#define API_FIELDSET_LIST_H

#include "lib/api/field_presence.h"
#include "lib/api/fieldset_diff.h"

struct fieldset_differ {
    struct arena *arena;
    struct error *err;
};

/* Sets and keyed lists, item by item; at least one side has items. */
int fieldset_diff_list(struct fieldset_differ *d, const struct api_field *f, const void *x,
                       const void *y, struct fieldset_diff *out);
int fieldset_diff_value(struct fieldset_differ *d, const struct api_field *f,
                        const struct fieldpath_elem *elem, const void *x, const void *y,
                        struct fieldset_diff *out);
/* Adds what was found at one step and below it. */
void fieldset_diff_add(struct arena *a, struct fieldset_diff *out,
                       const struct fieldpath_elem *elem, enum field_presence px,
                       enum field_presence py, bool modified, const struct fieldset_diff *below);
bool fieldset_same_value(const struct api_field *f, const void *x, const void *y);
/* The lists or maps of two structs. */
bool fieldset_same_items(const struct api_field *f, const void *x, const void *y);

#endif
