/* fieldpath.h - the steps of a path to a field, as managedFields names them
 * (structured-merge-diff's path elements).
 *
 *   f:name          a member of a struct or map
 *   k:{"port":80}   the item of a keyed list with these keys, sorted by name
 *   v:"x"           the item of a set with this value
 *   i:0             an item by its place
 *
 * Elements are values that borrow what they point at, mostly from an arena.
 * Pure, thread-safe. */
#ifndef API_FIELDPATH_H
#define API_FIELDPATH_H

#include "lib/api/json.h"
#include "lib/base/str.h"

struct arena;
struct buf;
struct error;

enum fieldpath_kind { FIELDPATH_NAME, FIELDPATH_KEY, FIELDPATH_VALUE, FIELDPATH_INDEX };

struct fieldpath_key {
    struct str name;
    const struct json *value;
};

struct fieldpath_elem {
    enum fieldpath_kind kind;
    union {
        struct str name;
        struct {
            const struct fieldpath_key *items; /* By name. */
            size_t count;
        } key;
        const struct json *value;
        int64_t index;
    };
};

/* The order that upstream prints in: names, keys, values, indexes. */
int fieldpath_elem_cmp(const struct fieldpath_elem *x, const struct fieldpath_elem *y);
/* The order among JSON values: numbers, strings, booleans, lists, maps, null. */
int fieldpath_value_cmp(const struct json *x, const struct json *y);
/* Sorts keys by name; for an element under construction. */
void fieldpath_sort_keys(struct fieldpath_key *keys, size_t count);

/* "f:spec" and so on. 1: read; 0: a form that a later version may know, to be
 * left out; negative: damaged. The element borrows text. */
int fieldpath_elem_parse(struct arena *a, struct str text, struct fieldpath_elem *ret,
                         struct error *err);
/* The same text, as the content of a JSON string. scratch is emptied and used. */
void fieldpath_elem_print(const struct fieldpath_elem *e, struct buf *scratch, struct buf *out);
/* As messages show it: .spec, [name="c"], [="x"], [0]. */
void fieldpath_elem_show(const struct fieldpath_elem *e, struct buf *out);

#endif
