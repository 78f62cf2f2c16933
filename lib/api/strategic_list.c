/* strategic_list.c - merging lists by key or as sets, and their order.
 *
 * An element is known by its merge key's value, or is its own key if it is a
 * scalar. Elements the patch names come in the patch's order; the others keep
 * theirs, and stand in front of the next element that they stood in front of. */
#include "lib/api/strategic_list.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/map.h"

static struct str go_text(const struct json *j, struct buf *b)
{
    buf_clear(b);
    json_write_go(j, b);
    return buf_str(b);
}

int strategic_no_merge_key(struct strategic *s, const struct json *map, struct str merge_key)
{
    AUTO_BUF b = BUF_INIT;
    struct str text = go_text(map, &b);
    return error_set(s->err, E_INTERNAL,
                     "map: " STR_FMT " does not contain declared merge key: " STR_FMT,
                     STR_ARG(text), STR_ARG(merge_key));
}

int strategic_bad_type(struct strategic *s, const struct json *map, const struct json *directive)
{
    AUTO_BUF b = BUF_INIT, d = BUF_INIT;
    struct str text = go_text(map, &b), name = go_text(directive, &d);
    return error_set(s->err, E_INTERNAL, "unknown patch type: " STR_FMT " in map: " STR_FMT,
                     STR_ARG(name), STR_ARG(text));
}

static const char *go_type(const struct json *j)
{
    switch (j->type) {
    case JSON_NULL:
        return "%!s(<nil>)";
    case JSON_BOOL:
        return "bool";
    case JSON_INT:
        return "int64";
    case JSON_DOUBLE:
        return "float64";
    case JSON_STRING:
        return "string";
    case JSON_ARRAY:
        return "[]interface {}";
    case JSON_OBJECT:
        return "map[string]interface {}";
    }
    return "";
}

int strategic_wrong_kind(struct strategic *s, const char *expected, const struct json *found)
{
    return error_set(s->err, E_INTERNAL, "expected a %s, but received a %s", expected,
                     go_type(found));
}

/* --- elements by key --------------------------------------------------------------------- */

/* What an element is known by; NULL when it has no such member. */
static const struct json *key_of(const struct json *element, struct str merge_key)
{
    return merge_key.len == 0 ? element : json_get(element, merge_key);
}

/* Positions of a list's elements, the first of each key. */
struct positions {
    struct map map;
    struct buf text;
    struct str merge_key;
};

static struct str key_text(struct positions *x, const struct json *key)
{
    buf_clear(&x->text);
    json_write(key, true, &x->text);
    return buf_str(&x->text);
}

static void positions_add(struct positions *x, const struct json *element, size_t index)
{
    const struct json *key = key_of(element, x->merge_key);
    if (key == NULL)
        return;
    struct str text = key_text(x, key);
    if (!map_has(&x->map, text))
        map_set(&x->map, text, (void *)(index + 1));
}

static void positions_init(struct positions *x, const struct json *list, struct str merge_key)
{
    map_init(&x->map);
    buf_init(&x->text);
    x->merge_key = merge_key;
    for (size_t i = 0; list != NULL && i < list->array.count; i++)
        positions_add(x, list->array.items[i], i);
}

static void positions_done(struct positions *x)
{
    map_done(&x->map);
    buf_done(&x->text);
}

/* SIZE_MAX when the list has no such element. */
static size_t position_of(struct positions *x, const struct json *element)
{
    const struct json *key = key_of(element, x->merge_key);
    return key == NULL ? SIZE_MAX : (size_t)(uintptr_t)map_get(&x->map, key_text(x, key)) - 1;
}

/* --- checks ------------------------------------------------------------------------------- */

static const struct json *first_of(const struct json *list)
{
    return list->array.count > 0 ? list->array.items[0] : NULL;
}

/* All elements of both lists have one type, and that is not a list. There is one
 * at least. */
static int check_elements(struct strategic *s, const struct json *x, const struct json *y)
{
    const struct json *first = first_of(x->array.count > 0 ? x : y);
    ASSERT(first != NULL);
    if (first->type == JSON_ARRAY)
        return error_set(s->err, E_UNPROCESSABLE, "lists of lists are not supported");
    const struct json *const lists[] = {x, y};
    for (size_t k = 0; k < ARRAY_SIZE(lists); k++) {
        for (size_t i = 0; i < lists[k]->array.count; i++) {
            if (lists[k]->array.items[i]->type == first->type)
                continue;
            AUTO_BUF a = BUF_INIT, b = BUF_INIT;
            struct str left = go_text(x, &a), right = go_text(y, &b);
            return error_set(s->err, E_INTERNAL,
                             "list element types are not identical: [" STR_FMT " " STR_FMT "]",
                             STR_ARG(left), STR_ARG(right));
        }
    }
    return 0;
}

int strategic_check_order(struct strategic *s, struct str merge_key, const struct json *patch,
                          const struct json *order)
{
    size_t at = 0, i = 0;
    if (patch == NULL || patch->array.count == 0 || order->array.count == 0)
        return 0;
    for (; i < patch->array.count; i++) {
        const struct json *element = patch->array.items[i];
        if (merge_key.len > 0 && element->type != JSON_OBJECT)
            return strategic_wrong_kind(s, "map[string]interface {}", element);
        if (merge_key.len > 0 && json_getc(element, STRATEGIC_DIRECTIVE) != NULL)
            continue;
        const struct json *key = key_of(element, merge_key);
        if (key == NULL)
            return strategic_no_merge_key(s, element, merge_key);
        for (;; at++) {
            if (at == order->array.count) {
                AUTO_BUF a = BUF_INIT, b = BUF_INIT;
                struct str list = go_text(patch, &a), wanted = go_text(order, &b);
                return error_set(s->err, E_INTERNAL,
                                 "The order in patch list:\n" STR_FMT
                                 "\n doesn't match $setElementOrder list:\n" STR_FMT "\n",
                                 STR_ARG(list), STR_ARG(wanted));
            }
            const struct json *other = order->array.items[at];
            if (merge_key.len > 0 && other->type != JSON_OBJECT)
                return strategic_wrong_kind(s, "map[string]interface {}", other);
            const struct json *wanted = key_of(other, merge_key);
            if (wanted == NULL)
                return strategic_no_merge_key(s, other, merge_key);
            if (json_equal(key, wanted))
                break;
        }
        at++;
    }
    return 0;
}

/* --- order --------------------------------------------------------------------------------- */

struct ranked {
    struct json *element;
    size_t rank;   /* In the order that rules its part. */
    size_t before; /* In the list as it was; SIZE_MAX if it is new. */
    size_t index;
};

static int compare_ranked(const void *x, const void *y)
{
    const struct ranked *a = x, *b = y;
    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

/* Both parts are sorted. An element of `rest` goes in front of the next named
 * one that it stood in front of before. */
static struct json *interleave(struct strategic *s, const struct ranked *named, size_t n,
                               const struct ranked *rest, size_t m)
{
    struct json *out = json_array(s->arena);
    size_t i = 0, j = 0;
    while (i < m || j < n) {
        bool take_rest = j == n;
        if (i < m && j < n && rest[i].before != SIZE_MAX && named[j].before != SIZE_MAX)
            take_rest = rest[i].before < named[j].before;
        json_append(s->arena, out, take_rest ? rest[i++].element : named[j++].element);
    }
    return out;
}

int strategic_order_list(struct strategic *s, struct str merge_key, struct json *list,
                         const struct json *order, const struct json *before, struct json **ret)
{
    size_t count = list->array.count, n = 0, m = 0;
    struct positions wanted, old;
    int r = 0;
    positions_init(&wanted, order, merge_key);
    positions_init(&old, before, merge_key);
    struct ranked *named = xmalloc((count + 1) * sizeof(*named)),
                  *rest = xmalloc((count + 1) * sizeof(*rest));
    for (size_t i = 0; r == 0 && i < count; i++) {
        struct json *element = list->array.items[i];
        if (merge_key.len > 0 && element->type != JSON_OBJECT)
            r = strategic_wrong_kind(s, "map[string]interface {}", element);
        else if (key_of(element, merge_key) == NULL)
            r = strategic_no_merge_key(s, element, merge_key);
        size_t rank = position_of(&wanted, element), place = position_of(&old, element);
        if (rank != SIZE_MAX)
            named[n++] = (struct ranked){element, rank, place, i};
        else
            rest[m++] = (struct ranked){element, place, place, i};
    }
    if (r == 0) {
        qsort(named, n, sizeof(*named), compare_ranked);
        qsort(rest, m, sizeof(*rest), compare_ranked);
        *ret = interleave(s, named, n, rest, m);
    }
    free(named);
    free(rest);
    positions_done(&wanted);
    positions_done(&old);
    return r;
}

/* --- merging -------------------------------------------------------------------------------- */

/* The elements of list that `drop` does not name. */
static struct json *without(struct strategic *s, const struct json *list, const struct json *drop)
{
    struct json *out = json_array(s->arena);
    struct positions dropped;
    positions_init(&dropped, drop, STR_NULL);
    for (size_t i = 0; i < list->array.count; i++)
        if (position_of(&dropped, list->array.items[i]) == SIZE_MAX)
            json_append(s->arena, out, list->array.items[i]);
    positions_done(&dropped);
    return out;
}

static struct json *merge_scalars(struct strategic *s, const struct json *list,
                                  const struct json *patch)
{
    struct json *out = json_array(s->arena);
    struct positions seen;
    positions_init(&seen, NULL, STR_NULL);
    const struct json *const lists[] = {list, patch};
    for (size_t k = 0; k < ARRAY_SIZE(lists); k++) {
        for (size_t i = 0; i < lists[k]->array.count; i++) {
            struct json *element = lists[k]->array.items[i];
            if (position_of(&seen, element) != SIZE_MAX)
                continue;
            positions_add(&seen, element, out->array.count);
            json_append(s->arena, out, element);
        }
    }
    positions_done(&seen);
    return out;
}

/* Carries out the $patch elements: what they delete leaves *list, they leave
 * *patch. {"$patch": "replace"} leaves the rest of the patch alone. */
static int apply_directives(struct strategic *s, struct str merge_key, struct json **list,
                            struct json **patch)
{
    struct json *plain = json_array(s->arena), *deleted = json_array(s->arena);
    bool replace = false;
    for (size_t i = 0; i < (*patch)->array.count; i++) {
        struct json *element = (*patch)->array.items[i];
        const struct json *directive = json_getc(element, STRATEGIC_DIRECTIVE);
        struct str name =
            directive != NULL && directive->type == JSON_STRING ? directive->string : STR_NULL;
        if (directive == NULL) {
            json_append(s->arena, plain, element);
        } else if (str_eqc(name, "delete")) {
            if (json_get(element, merge_key) == NULL)
                return strategic_no_merge_key(s, element, merge_key);
            json_append(s->arena, deleted, element);
        } else if (str_eqc(name, "replace")) {
            replace = true;
        } else if (str_eqc(name, "merge")) {
            return error_set(s->err, E_INTERNAL,
                             "merging lists cannot yet be specified in the patch");
        } else {
            return strategic_bad_type(s, element, directive);
        }
    }
    if (replace) {
        *list = plain;
        *patch = json_array(s->arena);
        return 0;
    }
    if (deleted->array.count > 0) {
        struct json *kept = json_array(s->arena);
        struct positions gone;
        positions_init(&gone, deleted, merge_key);
        for (size_t i = 0; i < (*list)->array.count; i++)
            if (position_of(&gone, (*list)->array.items[i]) == SIZE_MAX)
                json_append(s->arena, kept, (*list)->array.items[i]);
        positions_done(&gone);
        *list = kept;
    }
    *patch = plain;
    return 0;
}

static int merge_maps(struct strategic *s, const struct strategic_list *type,
                      const struct json *list, const struct json *patch, unsigned depth,
                      struct json **ret)
{
    struct json *out = json_array(s->arena);
    struct positions at;
    int r = 0;
    for (size_t i = 0; i < list->array.count; i++)
        json_append(s->arena, out, list->array.items[i]);
    positions_init(&at, list, type->merge_key);
    for (size_t i = 0; r == 0 && i < patch->array.count; i++) {
        struct json *element = patch->array.items[i];
        if (json_get(element, type->merge_key) == NULL) {
            r = strategic_no_merge_key(s, element, type->merge_key);
            break;
        }
        size_t k = position_of(&at, element);
        if (k == SIZE_MAX) {
            positions_add(&at, element, out->array.count);
            json_append(s->arena, out, element);
        } else {
            r = strategic_merge_map(s, type->m, out->array.items[k], element, depth + 1,
                                    &out->array.items[k]);
        }
    }
    positions_done(&at);
    *ret = out;
    return r;
}

int strategic_merge_list(struct strategic *s, const struct strategic_list *type, struct json *list,
                         struct json *patch, unsigned depth, struct json **ret)
{
    if (list->array.count == 0 && patch->array.count == 0) {
        *ret = list;
        return 0;
    }
    int r = check_elements(s, list, patch);
    if (r != 0)
        return r;
    struct json *merged;
    struct str merge_key = type->merge_key;
    if (first_of(list->array.count > 0 ? list : patch)->type != JSON_OBJECT) {
        if (type->deletes) {
            *ret = without(s, list, patch);
            return 0;
        }
        merge_key = STR_NULL;
        merged = merge_scalars(s, list, patch);
    } else {
        if (merge_key.len == 0)
            return error_set(s->err, E_INTERNAL, "cannot merge lists without merge key for struct");
        if ((r = apply_directives(s, merge_key, &list, &patch)) != 0 ||
            (r = merge_maps(s, type, list, patch, depth, &merged)) != 0)
            return r;
    }
    return strategic_order_list(s, merge_key, merged, patch, list, ret);
}

struct json *strategic_without_directives(struct strategic *s, struct json *value)
{
    if (value->type == JSON_OBJECT) {
        if (json_getc(value, STRATEGIC_DIRECTIVE) != NULL)
            return NULL;
        size_t kept = 0;
        for (size_t i = 0; i < value->object.count; i++) {
            struct json_member m = value->object.members[i];
            m.value = strategic_without_directives(s, m.value);
            if (m.value != NULL)
                value->object.members[kept++] = m;
        }
        value->object.count = kept;
    } else if (value->type == JSON_ARRAY) {
        size_t kept = 0;
        for (size_t i = 0; i < value->array.count; i++) {
            struct json *element = strategic_without_directives(s, value->array.items[i]);
            if (element != NULL)
                value->array.items[kept++] = element;
        }
        value->array.count = kept;
    }
    return value;
}
