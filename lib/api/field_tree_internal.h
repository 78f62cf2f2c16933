/* field_tree_internal.h - what the files of field_tree.h share. */
#ifndef API_FIELD_TREE_INTERNAL_H
#define API_FIELD_TREE_INTERNAL_H

#include "lib/api/field_tree.h"

/* An item of a list with an identity, and its place. */
struct tree_item {
    struct fieldpath_elem elem;
    const struct json *value;
    size_t at;
};
/* The items of a list (NULL or null: none), up to the first without identity,
 * which checked lists have not: in their own order, or by identity and place. */
struct tree_item *tree_items(struct arena *a, const struct field_type *list, const struct json *j,
                             bool sorted, size_t *ret_count);
/* How many of the sorted items from the first on are the same one. */
size_t tree_run(const struct tree_item *items, size_t count);

static inline bool tree_is_null(const struct json *j)
{
    return j == NULL || j->type == JSON_NULL;
}
/* The members of an object (NULL or null: none) by name. */
struct tree_members {
    const struct json_member **items;
    size_t count;
};
struct tree_members tree_members(struct arena *a, const struct json *j);

/* Null, not there, or without anything in it. */
bool tree_is_empty(const struct json *j);
/* The value is handled as one: scalars and what is atomic. */
static inline bool tree_is_leaf(const struct field_type *t)
{
    return t->shape < FIELD_SHAPE_LIST || t->atomic;
}

#endif
