/* fieldset_list.c - comparing lists whose items have an identity: sets by
 * value, keyed lists by their keys. Repeated items are one unit. */
#include "lib/api/fieldset_list.h"

#include "lib/base/arena.h"
#include "lib/base/error.h"

#include <stdlib.h>

enum { KEYS_MAX = 8 };

struct entry {
    struct fieldpath_elem elem;
    const char *at;
};

struct entries {
    struct entry *items;
    size_t count;
};

static void scalar_json(const struct api_field *f, const void *at, struct json *ret)
{
    switch ((enum api_type)f->type) {
    case API_BOOL:
        *ret = (struct json){.type = JSON_BOOL, .boolean = *(const bool *)at};
        return;
    case API_INT32:
        *ret = (struct json){.type = JSON_INT, .integer = *(const int32_t *)at};
        return;
    case API_INT64:
        *ret = (struct json){.type = JSON_INT, .integer = *(const int64_t *)at};
        return;
    case API_DOUBLE:
        *ret = (struct json){.type = JSON_DOUBLE};
        ret->number.value = *(const double *)at;
        return;
    case API_STRING:
    case API_BYTES:
        *ret = (struct json){.type = JSON_STRING, .string = *(const struct str *)at};
        return;
    case API_MESSAGE:
        *ret = (struct json){.type = JSON_NULL};
        return;
    }
}

/* --- keys -------------------------------------------------------------------------- */
struct keys {
    const struct api_json_member *members[KEYS_MAX]; /* By name. */
    size_t count;
};

static void find_keys(const struct api_field *f, struct keys *ret)
{
    struct str rest = str_of(f->list_map_keys), name;
    ret->count = 0;
    while (rest.len != 0) {
        str_cut(rest, ',', &name, &rest);
        const struct api_json_member *m = api_member_by_json(f->msg, name);
        ASSERT(m != NULL);
        ASSERT(ret->count < KEYS_MAX);
        size_t i = ret->count++;
        for (; i > 0 && strcmp(ret->members[i - 1]->field->json_name, m->field->json_name) > 0; i--)
            ret->members[i] = ret->members[i - 1];
        ret->members[i] = m;
    }
}

/* False: the key is left out and has no default. */
static int key_value(struct fieldset_differ *d, const struct api_json_member *m, const char *at,
                     struct json *ret)
{
    const void *base = at + m->base;
    switch (field_presence(m->field, base)) {
    case FIELD_PRESENT:
        scalar_json(m->field, field_at_const(base, m->field), ret);
        return 1;
    case FIELD_NULL:
        *ret = (struct json){.type = JSON_NULL};
        return 1;
    case FIELD_ABSENT:
        break;
    }
    struct json *parsed;
    if (m->field->default_json == NULL ||
        json_parse(d->arena, str_of(m->field->default_json), &parsed, d->err) != 0)
        return 0;
    *ret = *parsed;
    return 1;
}

static int keyed_entries(struct fieldset_differ *d, const struct api_field *f, const char *items,
                         struct entries *ret)
{
    struct keys keys;
    find_keys(f, &keys);
    struct fieldpath_key *k = arena_alloc(d->arena, ret->count * keys.count * sizeof(*k));
    struct json *values = arena_alloc(d->arena, ret->count * keys.count * sizeof(*values));
    for (size_t i = 0; i < ret->count; i++) {
        struct entry *e = &ret->items[i];
        e->at = items + i * f->elem_size;
        e->elem = (struct fieldpath_elem){.kind = FIELDPATH_KEY};
        e->elem.key.items = k;
        for (size_t j = 0; j < keys.count; j++) {
            const struct api_field *field = keys.members[j]->field;
            if (!key_value(d, keys.members[j], e->at, values))
                continue;
            *k++ = (struct fieldpath_key){{field->json_name, field->json_len}, values++};
            e->elem.key.count++;
        }
        if (e->elem.key.count == 0)
            return error_set(d->err, E_INVALID, "element %zu of %s has none of the keys %s", i,
                             f->json_name, f->list_map_keys);
    }
    return 0;
}

static void set_entries(struct fieldset_differ *d, const struct api_field *f, const char *items,
                        struct entries *ret)
{
    struct json *values = arena_alloc(d->arena, ret->count * sizeof(*values));
    for (size_t i = 0; i < ret->count; i++) {
        struct entry *e = &ret->items[i];
        e->at = items + i * f->elem_size;
        scalar_json(f, e->at, &values[i]);
        e->elem = (struct fieldpath_elem){.kind = FIELDPATH_VALUE, .value = &values[i]};
    }
}

/* --- order -------------------------------------------------------------------------- */
/* Equal items keep their order: they stand side by side in one array. */
static int by_elem(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;
    int order = fieldpath_elem_cmp(&a->elem, &b->elem);
    return order != 0 ? order : a->at < b->at ? -1 : a->at > b->at;
}

static int collect(struct fieldset_differ *d, const struct api_field *f, const void *base,
                   struct entries *ret)
{
    *ret = (struct entries){NULL, base != NULL ? field_count(base, f) : 0};
    if (ret->count == 0)
        return 0;
    const char *items = field_items(base, f);
    ret->items = arena_alloc(d->arena, ret->count * sizeof(*ret->items));
    if ((f->flags & API_F_LIST_MAP) != 0) {
        int code = keyed_entries(d, f, items, ret);
        if (code != 0)
            return code;
    } else {
        set_entries(d, f, items, ret);
    }
    for (size_t i = 1; i < ret->count; i++)
        if (by_elem(&ret->items[i - 1], &ret->items[i]) > 0) {
            qsort(ret->items, ret->count, sizeof(*ret->items), by_elem);
            break;
        }
    return 0;
}

/* How many entries from the first on are the same item. */
static size_t run(const struct entry *e, size_t count)
{
    size_t n = 1;
    while (n < count && fieldpath_elem_cmp(&e[n].elem, &e[0].elem) == 0)
        n++;
    return n;
}

static bool same_run(const struct api_field *f, const struct entry *x, size_t n,
                     const struct entry *y, size_t m)
{
    if (n != m)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!fieldset_same_value(f, x[i].at, y[i].at))
            return false;
    return true;
}

/* One identity: n items before, m after. */
static int diff_run(struct fieldset_differ *d, const struct api_field *f, const struct entry *x,
                    size_t n, const struct entry *y, size_t m, struct fieldset_diff *out)
{
    static const struct fieldset_diff nothing;
    ASSERT(n == 0 || x != NULL);
    ASSERT(m == 0 || y != NULL);
    ASSERT(n + m != 0);
    const struct fieldpath_elem *elem = n != 0 ? &x->elem : &y->elem;
    if (n <= 1 && m <= 1)
        return fieldset_diff_value(d, f, elem, n != 0 ? x->at : NULL, m != 0 ? y->at : NULL, out);
    if (n >= 2 && m >= 2) {
        if (!same_run(f, x, n, y, m))
            fieldset_diff_add(d->arena, out, elem, FIELD_PRESENT, FIELD_PRESENT, true, &nothing);
        return 0;
    }
    /* Repetition began or ended: the mark goes one way, the single item the other. */
    struct fieldset_diff single = {0};
    int code = 0;
    if (n >= 2 && m != 0)
        code = fieldset_diff_value(d, f, elem, NULL, y->at, &single);
    else if (m >= 2 && n != 0)
        code = fieldset_diff_value(d, f, elem, x->at, NULL, &single);
    if (code != 0)
        return code;
    struct fieldset_item *item =
        fieldset_add(d->arena, n >= 2 ? &single.removed : &single.changed, elem);
    item->member = true;
    out->changed = fieldset_union(d->arena, &out->changed, &single.changed);
    out->removed = fieldset_union(d->arena, &out->removed, &single.removed);
    return 0;
}

int fieldset_diff_list(struct fieldset_differ *d, const struct api_field *f, const void *x,
                       const void *y, struct fieldset_diff *out)
{
    struct entries p, q;
    if (x != NULL && y != NULL && fieldset_same_items(f, x, y))
        return 0;
    int code = collect(d, f, x, &p);
    if (code == 0)
        code = collect(d, f, y, &q);
    for (size_t i = 0, j = 0; code == 0 && (i < p.count || j < q.count);) {
        int order = i == p.count   ? 1
                    : j == q.count ? -1
                                   : fieldpath_elem_cmp(&p.items[i].elem, &q.items[j].elem);
        size_t n = order <= 0 ? run(&p.items[i], p.count - i) : 0;
        size_t m = order >= 0 ? run(&q.items[j], q.count - j) : 0;
        code = diff_run(d, f, n != 0 ? &p.items[i] : NULL, n, m != 0 ? &q.items[j] : NULL, m, out);
        i += n;
        j += m;
    }
    return code;
}
