/* fieldset.h - sets of paths to fields: what a manager of an object owns.
 *
 * A set is a tree. An item stands for a step of paths; it is a member when the
 * path that ends in it is in the set, and children hold the paths that go on.
 * Items are sorted (fieldpath.h) and unique, and none is without both.
 *
 * Sets made here are immutable and share memory with what they were made of;
 * all of it is in arenas. Pure, thread-safe. Recursion follows the depth of
 * sets, which the parser bounds by API_DEPTH_MAX and objects by theirs. */
#ifndef API_FIELDSET_H
#define API_FIELDSET_H

#include "lib/api/fieldpath.h"

struct arena;
struct buf;
struct error;

struct fieldset_item;

struct fieldset {
    struct fieldset_item *items;
    uint32_t count, cap;
};

struct fieldset_item {
    struct fieldpath_elem elem;
    struct fieldset children;
    bool member;
};

#define FIELDSET_EMPTY ((struct fieldset){NULL, 0, 0})

static inline bool fieldset_empty(const struct fieldset *s)
{
    return s->count == 0;
}
size_t fieldset_size(const struct fieldset *s); /* Members at all levels. */
bool fieldset_equal(const struct fieldset *x, const struct fieldset *y);
bool fieldset_has(const struct fieldset *s, const struct fieldpath_elem *path, size_t len);
/* The item of one step, or NULL. */
const struct fieldset_item *fieldset_find(const struct fieldset *s,
                                          const struct fieldpath_elem *elem);

struct fieldset fieldset_union(struct arena *a, const struct fieldset *x, const struct fieldset *y);
struct fieldset fieldset_intersection(struct arena *a, const struct fieldset *x,
                                      const struct fieldset *y);
/* Members of x that are not members of y; what stands below a member of y
 * stays. Has x's own items when nothing goes. */
struct fieldset fieldset_difference(struct arena *a, const struct fieldset *x,
                                    const struct fieldset *y);
/* The same without what stands below members of y. */
struct fieldset fieldset_recursive_difference(struct arena *a, const struct fieldset *x,
                                              const struct fieldset *y);
/* Members without children. */
struct fieldset fieldset_leaves(struct arena *a, const struct fieldset *s);

/* --- building: for sets nobody shares yet ---------------------------------------- */
/* The item of a step, added in its place when absent. Cheap in order. */
struct fieldset_item *fieldset_add(struct arena *a, struct fieldset *s,
                                   const struct fieldpath_elem *elem);
/* An item that comes behind all others. */
void fieldset_append(struct arena *a, struct fieldset *s, const struct fieldpath_elem *elem,
                     bool member, struct fieldset children);
void fieldset_insert(struct arena *a, struct fieldset *s, const struct fieldpath_elem *path,
                     size_t len);

/* --- iteration --------------------------------------------------------------------- */
#define FIELDSET_PATH_MAX 512
/* Calls fn for each member: those of a level first, then what is below, as
 * upstream lists conflicts. path is valid during the call. */
void fieldset_each(const struct fieldset *s,
                   void (*fn)(const struct fieldpath_elem *path, size_t len, void *arg), void *arg);

/* --- FieldsV1 ------------------------------------------------------------------------ */
/* E_INVALID on damage. Elements of unknown form are left out. Empty text is {}.
 * The set borrows text. */
int fieldset_parse(struct arena *a, struct str text, struct fieldset *ret, struct error *err);
/* The canonical text, byte for byte as upstream stores it. */
void fieldset_print(const struct fieldset *s, struct buf *out);

#endif
