/* field_tree.c - documents to sets and differences; see field_tree.h.
 * Recursion follows the depth of documents, which the parser bounds. */
#include "lib/api/field_tree.h"

#include "lib/api/field_tree_internal.h"
#include "lib/base/arena.h"

#include <stdlib.h>

/* --- values ---------------------------------------------------------------------- */
static bool is_number(const struct json *j)
{
    return j->type == JSON_INT || j->type == JSON_DOUBLE;
}

struct tree_members tree_members(struct arena *a, const struct json *j)
{
    struct tree_members m = {NULL, 0};
    if (j == NULL || j->type != JSON_OBJECT)
        return m;
    m.count = j->object.count;
    m.items = ARENA_ARRAY(a, const struct json_member *, m.count + 1);
    json_sort_members(j, m.items);
    return m;
}

static bool equal_members(const struct json_member *x, const struct json_member *y)
{
    return str_eq(x->key, y->key) && field_tree_equal(x->value, y->value);
}

static bool equal_objects(const struct json *x, const struct json *y)
{
    size_t n = x->object.count, i = 0;
    if (n != y->object.count)
        return false;
    while (i < n && str_eq(x->object.members[i].key, y->object.members[i].key))
        i++;
    if (i == n) { /* Mostly in the same order. */
        for (i = 0; i < n; i++)
            if (!field_tree_equal(x->object.members[i].value, y->object.members[i].value))
                return false;
        return true;
    }
    AUTO_FREE const struct json_member **p = xmalloc(2 * n * sizeof(const struct json_member *));
    const struct json_member **q = p + n;
    json_sort_members(x, p);
    json_sort_members(y, q);
    for (i = 0; i < n; i++)
        if (!equal_members(p[i], q[i]))
            return false;
    return true;
}

bool field_tree_equal(const struct json *x, const struct json *y)
{
    if (is_number(x) && is_number(y))
        return fieldpath_value_cmp(x, y) == 0;
    if (x->type != y->type)
        return false;
    switch (x->type) {
    case JSON_ARRAY:
        if (x->array.count != y->array.count)
            return false;
        for (size_t i = 0; i < x->array.count; i++)
            if (!field_tree_equal(x->array.items[i], y->array.items[i]))
                return false;
        return true;
    case JSON_OBJECT:
        return equal_objects(x, y);
    default:
        return fieldpath_value_cmp(x, y) == 0;
    }
}

bool tree_is_empty(const struct json *j)
{
    if (j == NULL || j->type == JSON_NULL)
        return true;
    return (j->type == JSON_ARRAY && j->array.count == 0) ||
           (j->type == JSON_OBJECT && j->object.count == 0);
}

/* --- items ------------------------------------------------------------------------- */
static int by_elem(const void *x, const void *y)
{
    const struct tree_item *a = x, *b = y;
    int order = fieldpath_elem_cmp(&a->elem, &b->elem);
    return order != 0 ? order : a->at < b->at ? -1 : a->at > b->at;
}

struct tree_item *tree_items(struct arena *a, const struct field_type *list, const struct json *j,
                             bool sorted, size_t *ret_count)
{
    *ret_count = 0;
    if (j == NULL || j->type != JSON_ARRAY)
        return NULL;
    struct tree_item *items = ARENA_ARRAY(a, struct tree_item, j->array.count + 1);
    for (size_t i = 0; i < j->array.count; i++) {
        struct tree_item *item = &items[*ret_count];
        item->value = j->array.items[i];
        item->at = i;
        if (field_type_item(a, list, item->value, &item->elem, NULL) != 0)
            break;
        ++*ret_count;
    }
    if (sorted)
        qsort(items, *ret_count, sizeof(*items), by_elem);
    return items;
}

size_t tree_run(const struct tree_item *items, size_t count)
{
    size_t n = 1;
    while (n < count && fieldpath_elem_cmp(&items[n].elem, &items[0].elem) == 0)
        n++;
    return n;
}

/* --- sets -------------------------------------------------------------------------- */
static struct fieldset set_of(struct arena *a, const struct field_type *t, const struct json *j);

static struct fieldset set_of_list(struct arena *a, const struct field_type *t,
                                   const struct json *j)
{
    struct fieldset out = FIELDSET_EMPTY;
    struct field_type below = field_type_element(t);
    size_t n;
    struct tree_item *items = tree_items(a, t, j, true, &n);
    for (size_t i = 0, same; i < n; i += same) {
        same = tree_run(&items[i], n - i);
        struct field_type own = field_type_of_value(&below, items[i].value, NULL);
        bool deep = same == 1 && !tree_is_leaf(&own);
        fieldset_append(a, &out, &items[i].elem, true,
                        deep ? set_of(a, &own, items[i].value) : FIELDSET_EMPTY);
    }
    return out;
}

static struct fieldset set_of_map(struct arena *a, const struct field_type *t, const struct json *j)
{
    struct fieldset out = FIELDSET_EMPTY;
    struct tree_members members = tree_members(a, j);
    for (size_t i = 0; i < members.count; i++) {
        const struct json_member *m = members.items[i];
        struct fieldpath_elem elem = {.kind = FIELDPATH_NAME, .name = m->key};
        struct field_type below;
        struct fieldset children = FIELDSET_EMPTY;
        if (!field_type_member(t, m->key, &below))
            continue;
        below = field_type_of_value(&below, m->value, NULL);
        bool leaf = tree_is_leaf(&below);
        if (!leaf)
            children = set_of(a, &below, m->value);
        bool member = leaf || tree_is_null(m->value) ||
                      (m->value->type == JSON_OBJECT && m->value->object.count == 0) ||
                      !field_type_declares(t, m->key);
        if (member || children.count != 0)
            fieldset_append(a, &out, &elem, member, children);
    }
    return out;
}

static struct fieldset set_of(struct arena *a, const struct field_type *t, const struct json *j)
{
    if (t->shape == FIELD_SHAPE_LIST)
        return set_of_list(a, t, j);
    return j->type == JSON_OBJECT ? set_of_map(a, t, j) : FIELDSET_EMPTY;
}

struct fieldset field_tree_set(struct arena *a, const struct field_type *t, const struct json *j)
{
    return tree_is_leaf(t) || j == NULL ? FIELDSET_EMPTY : set_of(a, t, j);
}

/* --- differences --------------------------------------------------------------------- */
/* What stands at one step on both sides goes to where it belongs. */
static void diff_value(struct arena *a, const struct field_type *t,
                       const struct fieldpath_elem *elem, const struct json *x,
                       const struct json *y, struct fieldset_diff *out);

static void add_diff(struct arena *a, struct fieldset_diff *out, const struct fieldpath_elem *elem,
                     bool changed, bool removed, const struct fieldset_diff *below)
{
    if (changed || below->changed.count != 0) {
        struct fieldset_item *item = fieldset_add(a, &out->changed, elem);
        item->member |= changed;
        item->children = fieldset_union(a, &item->children, &below->changed);
    }
    if (removed || below->removed.count != 0) {
        struct fieldset_item *item = fieldset_add(a, &out->removed, elem);
        item->member |= removed;
        item->children = fieldset_union(a, &item->children, &below->removed);
    }
}

static const struct fieldset_diff nothing;

static bool same_run(const struct tree_item *x, size_t n, const struct tree_item *y, size_t m)
{
    if (n != m)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!field_tree_equal(x[i].value, y[i].value))
            return false;
    return true;
}

/* One identity, n times before and m times after: repeated items are a unit. */
static void diff_run(struct arena *a, const struct field_type *t, const struct tree_item *x,
                     size_t n, const struct tree_item *y, size_t m, struct fieldset_diff *out)
{
    ASSERT(n == 0 || x != NULL);
    ASSERT(m == 0 || y != NULL);
    ASSERT(n + m != 0);
    const struct fieldpath_elem *elem = n != 0 ? &x->elem : &y->elem;
    if (n <= 1 && m <= 1) {
        diff_value(a, t, elem, n != 0 ? x->value : NULL, m != 0 ? y->value : NULL, out);
    } else if (n >= 2 && m >= 2) {
        if (!same_run(x, n, y, m))
            add_diff(a, out, elem, true, false, &nothing);
    } else if (n >= 2) {
        if (m != 0)
            diff_value(a, t, elem, NULL, y->value, out);
        add_diff(a, out, elem, false, true, &nothing);
    } else {
        if (n != 0)
            diff_value(a, t, elem, x->value, NULL, out);
        add_diff(a, out, elem, true, false, &nothing);
    }
}

static void diff_lists(struct arena *a, const struct field_type *t, const struct json *x,
                       const struct json *y, struct fieldset_diff *out)
{
    struct field_type below = field_type_element(t);
    size_t p_count, q_count;
    struct tree_item *p = tree_items(a, t, x, true, &p_count);
    struct tree_item *q = tree_items(a, t, y, true, &q_count);
    for (size_t i = 0, j = 0; i < p_count || j < q_count;) {
        int order = i == p_count   ? 1
                    : j == q_count ? -1
                                   : fieldpath_elem_cmp(&p[i].elem, &q[j].elem);
        size_t n = order <= 0 ? tree_run(&p[i], p_count - i) : 0;
        size_t m = order >= 0 ? tree_run(&q[j], q_count - j) : 0;
        diff_run(a, &below, n != 0 ? &p[i] : NULL, n, m != 0 ? &q[j] : NULL, m, out);
        i += n;
        j += m;
    }
}

static void diff_member(struct arena *a, const struct field_type *t, struct str key,
                        const struct json *x, const struct json *y, struct fieldset_diff *out)
{
    struct fieldpath_elem elem = {.kind = FIELDPATH_NAME, .name = key};
    struct field_type below;
    if (field_type_member(t, key, &below))
        diff_value(a, &below, &elem, x, y, out);
}

static void diff_maps(struct arena *a, const struct field_type *t, const struct json *x,
                      const struct json *y, struct fieldset_diff *out)
{
    struct tree_members p = tree_members(a, x), q = tree_members(a, y);
    size_t i = 0, j = 0;
    while (i < p.count || j < q.count) {
        const struct json_member *from = i < p.count ? p.items[i] : NULL;
        const struct json_member *to = j < q.count ? q.items[j] : NULL;
        int order = from == NULL ? 1 : to == NULL ? -1 : str_cmp(from->key, to->key);
        const struct json_member *first = order <= 0 ? from : to;
        ASSERT(first != NULL);
        diff_member(a, t, first->key, order <= 0 ? first->value : NULL,
                    order < 0 ? NULL : to->value, out);
        i += order <= 0;
        j += order >= 0;
    }
}

static void diff_value(struct arena *a, const struct field_type *type,
                       const struct fieldpath_elem *elem, const struct json *x,
                       const struct json *y, struct fieldset_diff *out)
{
    struct fieldset_diff below = {0};
    const struct field_type own = field_type_of_value(type, x, y), *t = &own;
    if (tree_is_leaf(t) || (tree_is_empty(x) && tree_is_empty(y))) {
        /* What is empty on both sides is a leaf, too: null and {} differ. */
        bool changed = x == NULL || (y != NULL && !field_tree_equal(x, y));
        add_diff(a, out, elem, changed, y == NULL, &nothing);
        return;
    }
    if (t->shape == FIELD_SHAPE_LIST)
        diff_lists(a, t, x, y, &below);
    else
        diff_maps(a, t, x, y, &below);
    add_diff(a, out, elem, x == NULL, y == NULL, &below);
}

void field_tree_diff(struct arena *a, const struct field_type *t, const struct json *x,
                     const struct json *y, struct fieldset_diff *ret)
{
    *ret = (struct fieldset_diff){0};
    if (!tree_is_leaf(t))
        diff_maps(a, t, x, y, ret);
}
