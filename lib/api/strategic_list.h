/* strategic_list.h - the list half of strategic merge patches. */
#ifndef API_STRATEGIC_LIST_H
#define API_STRATEGIC_LIST_H

#include "lib/base/str.h"

struct api_msg;
struct arena;
struct error;
struct json;

struct strategic {
    struct arena *arena;
    struct error *err;
};

/* strategic.c: merges patch into object, which it changes; patch is used up. m
 * is the object's type, NULL where the schema says nothing. *ret is object or
 * what replaces it. */
int strategic_merge_map(struct strategic *s, const struct api_msg *m, struct json *object,
                        struct json *patch, unsigned depth, struct json **ret);

/* strategic_list.c */
struct strategic_list {
    const struct api_msg *m; /* Of the elements; NULL for scalars. */
    struct str merge_key;    /* Empty for scalars. */
    bool deletes;            /* The patch lists scalars to delete. */
};
int strategic_merge_list(struct strategic *s, const struct strategic_list *type, struct json *list,
                         struct json *patch, unsigned depth, struct json **ret);
/* Puts the elements of list that `order` names in its order, between the others. `before`
 * is the list as it was. */
int strategic_order_list(struct strategic *s, struct str merge_key, struct json *list,
                         const struct json *order, const struct json *before, struct json **ret);
/* The elements of a patch must stand in the order that $setElementOrder gives. */
int strategic_check_order(struct strategic *s, struct str merge_key, const struct json *patch,
                          const struct json *order);
/* The value without directives, or NULL when it is one itself. */
struct json *strategic_without_directives(struct strategic *s, struct json *value);
int strategic_no_merge_key(struct strategic *s, const struct json *map, struct str merge_key);
int strategic_bad_type(struct strategic *s, const struct json *map, const struct json *directive);
int strategic_wrong_kind(struct strategic *s, const char *expected, const struct json *found);

#define STRATEGIC_DIRECTIVE "$patch"

#endif
