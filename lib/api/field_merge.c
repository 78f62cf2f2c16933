/* field_merge.c - merging a configuration into a document and pruning it; see
 * field_tree.h. */
#include "lib/api/field_tree.h"

#include "lib/api/field_tree_internal.h"
#include "lib/api/json_edit.h"
#include "lib/base/arena.h"

#include <stdlib.h>

static const struct json null_value = {.type = JSON_NULL};

static struct json *own(const struct json *j)
{
    return (struct json *)(uintptr_t)j; /* Results are read, or copied before they change. */
}

/* NULL: nothing stands here. */
static struct json *merge(struct arena *a, const struct field_type *t, const struct json *x,
                          const struct json *y);

/* --- maps -------------------------------------------------------------------------- */
static struct json *merge_maps(struct arena *a, const struct field_type *t, const struct json *x,
                               const struct json *y)
{
    struct json *out = json_object(a);
    struct json_edit e = json_edit_of(a, out);
    struct field_type below;
    for (size_t i = 0; !tree_is_null(x) && i < x->object.count; i++)
        json_edit_set(&e, x->object.members[i].key, x->object.members[i].value);
    for (size_t i = 0; !tree_is_null(y) && i < y->object.count; i++) {
        const struct json_member *m = &y->object.members[i];
        const struct json *old = json_edit_get(&e, m->key);
        bool both = old != NULL && field_type_member(t, m->key, &below);
        json_edit_set(&e, m->key, both ? merge(a, &below, old, m->value) : m->value);
    }
    json_edit_done(&e);
    return out->object.count != 0 ? out : NULL;
}

/* --- lists --------------------------------------------------------------------------- */
struct side {
    struct tree_item *items;  /* In order. */
    struct tree_item *sorted; /* By identity. */
    size_t count;
    bool *merged; /* config: by place. */
};

static struct side side_of(struct arena *a, const struct field_type *t, const struct json *j)
{
    struct side s;
    s.items = tree_items(a, t, j, false, &s.count);
    s.sorted = tree_items(a, t, j, true, &s.count);
    s.merged = ARENA_ARRAY(a, bool, s.count + 1);
    return s;
}

static const struct tree_item *find(const struct side *s, const struct fieldpath_elem *elem)
{
    size_t low = 0, high = s->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (fieldpath_elem_cmp(elem, &s->sorted[mid].elem) > 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low < s->count && fieldpath_elem_cmp(elem, &s->sorted[low].elem) == 0 ? &s->sorted[low]
                                                                                 : NULL;
}

/* The item's value; null for one that repeats, which is not merged with. */
static const struct json *value_of(const struct side *s, const struct fieldpath_elem *elem)
{
    const struct tree_item *i = find(s, elem);
    if (i == NULL)
        return NULL;
    size_t at = (size_t)(i - s->sorted);
    return tree_run(i, s->count - at) > 1 ? &null_value : i->value;
}

static void put(struct arena *a, const struct field_type *t, const struct json *x,
                const struct json *y, struct json *out)
{
    struct json *v = merge(a, t, x, y);
    if (v != NULL)
        json_append(a, out, v);
}

/* Items of both follow config's order; those of live alone keep their place
 * among the shared ones, as far as that has one.
 *
 *   live  a b c d      config  c x a      result  b c d x a
 *
 * l walks live and r config. An item of live alone is taken at once. A shared
 * one waits in live until config comes to it; those that config has earlier
 * are stepped over, since they come with config. */
static struct json *merge_lists(struct arena *a, const struct field_type *t, const struct json *x,
                                const struct json *y)
{
    struct side live = side_of(a, t, x), config = side_of(a, t, y);
    struct field_type below = field_type_element(t);
    struct json *out = json_array(a);
    size_t l = 0, r = 0, shared = 0; /* shared: config's next item that live has, too. */
    while (shared < config.count && find(&live, &config.items[shared].elem) == NULL)
        shared++;
    while (l < live.count || r < config.count) {
        const struct fieldpath_elem *le = l < live.count ? &live.items[l].elem : NULL;
        const struct tree_item *twin = le != NULL ? find(&config, le) : NULL;
        bool together =
            le != NULL && r < config.count && fieldpath_elem_cmp(le, &config.items[r].elem) == 0;
        if (le != NULL && r < config.count && !together && twin != NULL && shared < config.count &&
            fieldpath_elem_cmp(&config.items[shared].elem, le) != 0) {
            l++;
            continue;
        }
        if (le != NULL && twin == NULL) {
            put(a, &below, live.items[l++].value, NULL, out);
            continue;
        }
        if (le != NULL && !together && config.merged[twin->at])
            l++; /* It came with config. */
        if (r == config.count)
            continue;
        const struct fieldpath_elem *re = &config.items[r].elem;
        config.merged[r] = true;
        put(a, &below, value_of(&live, re), config.items[r].value, out);
        if (together || r == shared)
            for (shared = MAX_OF(shared, r) + 1; shared < config.count; shared++)
                if (find(&live, &config.items[shared].elem) != NULL)
                    break;
        l += together;
        r++;
    }
    return out->array.count != 0 ? out : NULL;
}

static struct json *merge(struct arena *a, const struct field_type *type, const struct json *x,
                          const struct json *y)
{
    const struct field_type own_type = field_type_of_value(type, x, y), *t = &own_type;
    if (tree_is_leaf(t) || (tree_is_empty(x) && tree_is_empty(y)))
        return own(y != NULL ? y : x);
    if (t->shape == FIELD_SHAPE_LIST)
        return merge_lists(a, t, x, y);
    return merge_maps(a, t, x, y);
}

struct json *field_tree_merge(struct arena *a, const struct field_type *t, const struct json *live,
                              const struct json *config)
{
    struct json *out = merge(a, t, live, config);
    return out != NULL ? out : json_object(a);
}

/* --- removal ---------------------------------------------------------------------------- */
static struct json *remove_items(struct arena *a, const struct field_type *t, const struct json *j,
                                 const struct fieldset *set);

static struct json *remove_from_list(struct arena *a, const struct field_type *t,
                                     const struct json *j, const struct fieldset *set)
{
    struct json *out = json_array(a);
    struct field_type below = field_type_element(t);
    size_t n;
    struct tree_item *items = tree_items(a, t, j, false, &n);
    for (size_t i = 0; i < n; i++) {
        const struct fieldset_item *hit = fieldset_find(set, &items[i].elem);
        if (hit != NULL && hit->member)
            continue;
        json_append(a, out,
                    hit != NULL && hit->children.count != 0
                        ? remove_items(a, &below, items[i].value, &hit->children)
                        : own(items[i].value));
    }
    return out->array.count != 0 ? out : own(&null_value);
}

static struct json *remove_from_map(struct arena *a, const struct field_type *t,
                                    const struct json *j, const struct fieldset *set)
{
    struct json *out = json_object(a);
    struct json_edit e = json_edit_of(a, out);
    for (size_t i = 0; i < j->object.count; i++) {
        const struct json_member *m = &j->object.members[i];
        struct fieldpath_elem elem = {.kind = FIELDPATH_NAME, .name = m->key};
        const struct fieldset_item *hit = fieldset_find(set, &elem);
        struct field_type below;
        if (hit != NULL && hit->member)
            continue;
        bool deeper =
            hit != NULL && hit->children.count != 0 && field_type_member(t, m->key, &below);
        json_edit_set(&e, m->key,
                      deeper ? remove_items(a, &below, m->value, &hit->children) : m->value);
    }
    json_edit_done(&e);
    return out->object.count != 0 ? out : own(&null_value);
}

/* Some step of the set goes on below j. */
static struct json *remove_items(struct arena *a, const struct field_type *type,
                                 const struct json *j, const struct fieldset *set)
{
    const struct field_type own_type = field_type_of_value(type, j, NULL), *t = &own_type;
    if (t->shape < FIELD_SHAPE_ANY)
        return own(j);
    if (tree_is_leaf(t) || tree_is_empty(j))
        return own(&null_value); /* Nothing is left of what is one unit. */
    if (t->shape == FIELD_SHAPE_LIST)
        return j->type == JSON_ARRAY ? remove_from_list(a, t, j, set) : own(&null_value);
    return j->type == JSON_OBJECT ? remove_from_map(a, t, j, set) : own(&null_value);
}

struct json *field_tree_remove(struct arena *a, const struct field_type *t, const struct json *j,
                               const struct fieldset *set)
{
    if (set->count == 0)
        return own(j);
    struct json *out = remove_items(a, t, j, set);
    return out->type == JSON_NULL ? json_object(a) : out;
}
