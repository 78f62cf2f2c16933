/* fieldset_diff.c - see fieldset_diff.h. On the path of every write: members
 * are walked in the order of their names, so that sets grow at their ends. */
#include "lib/api/fieldset_diff.h"

#include "api/apiextensions_v1.h"
#include "api/meta_v1.h"
#include "api/runtime.h"
#include "lib/api/field_presence.h"
#include "lib/api/fieldset_list.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

/* --- presence ------------------------------------------------------------------ */
static bool is_null_message(const struct api_msg *m, const void *at)
{
    switch ((enum api_special)m->special) {
    case API_TIME:
        return time_is_zero(at);
    case API_MICRO_TIME:
        return micro_time_is_zero(at);
    case API_RAW_EXTENSION:
        return ((const struct runtime_raw_extension *)at)->raw.len == 0;
    case API_JSON:
        return ((const struct apiextensions_v1_json *)at)->raw.len == 0;
    case API_FIELDS_V1:
        return ((const struct meta_v1_fields_v1 *)at)->raw.len == 0;
    default:
        return false;
    }
}

enum field_presence field_presence_slow(const struct api_field *f, const void *base)
{
    const void *at = field_at_const(base, f);
    if ((f->flags & API_F_POINTER) != 0) {
        at = field_items(base, f);
        if (at == NULL)
            return (f->flags & API_F_OMITEMPTY) != 0 ? FIELD_ABSENT : FIELD_NULL;
    } else if ((f->flags & API_F_OMITZERO) != 0 && api_msg_is_zero(f->msg, at)) {
        return FIELD_ABSENT;
    }
    return f->msg->special != API_PLAIN && is_null_message(f->msg, at) ? FIELD_NULL : FIELD_PRESENT;
}

/* --- equality of JSON forms ------------------------------------------------------- */
static bool same_msg(const struct api_msg *m, const void *x, const void *y);

static bool same_value(const struct api_field *f, const void *x, const void *y)
{
    return f->type == API_MESSAGE ? same_msg(f->msg, x, y) : field_scalar_equal(f, x, y);
}

bool fieldset_same_items(const struct api_field *f, const void *x, const void *y)
{
    size_t n = field_count(x, f);
    const char *p = field_items(x, f), *q = field_items(y, f);
    if (n != field_count(y, f))
        return false;
    if (p == q)
        return true;
    for (size_t i = 0; i < n; i++, p += f->elem_size, q += f->elem_size) {
        size_t at = 0;
        if (f->label == API_MAP) {
            if (!str_eq(*(const struct str *)(const void *)p, *(const struct str *)(const void *)q))
                return false;
            at = f->entry_value_offset;
        }
        if (!same_value(f, p + at, q + at))
            return false;
    }
    return true;
}

/* Both are present. */
static bool same_field(const struct api_field *f, const void *x, const void *y)
{
    ASSERT(x != NULL);
    ASSERT(y != NULL);
    if (f->label != API_SINGULAR)
        return fieldset_same_items(f, x, y);
    if (field_is_message_pointer(f))
        return same_msg(f->msg, field_items(x, f), field_items(y, f));
    return same_value(f, field_at_const(x, f), field_at_const(y, f));
}

static bool same_msg(const struct api_msg *m, const void *x, const void *y)
{
    if (x == y)
        return true;
    if (m->special != API_PLAIN)
        return m->special == API_QUANTITY
                   ? same_value(&m->fields[0], field_at_const(x, &m->fields[0]),
                                field_at_const(y, &m->fields[0]))
                   : api_msg_equal(m, x, y);
    for (size_t i = 0; i < m->json_count; i++) {
        const struct api_field *f = m->json[i].field;
        const void *p = (const char *)x + m->json[i].base, *q = (const char *)y + m->json[i].base;
        enum field_presence presence = field_presence(f, p);
        if (presence != field_presence(f, q) || (presence == FIELD_PRESENT && !same_field(f, p, q)))
            return false;
    }
    return true;
}

bool fieldset_same_value(const struct api_field *f, const void *x, const void *y)
{
    return same_value(f, x, y);
}

/* --- differences -------------------------------------------------------------------- */
static bool is_atomic_struct(const struct api_field *f)
{
    if (f->msg->special != API_PLAIN)
        return true;
    if (f->label == API_SINGULAR && (f->flags & API_F_MAP_GRANULAR) != 0)
        return false; /* The field's own mark overrides its type's. */
    return f->msg->struct_atomic ||
           (f->label == API_SINGULAR && (f->flags & API_F_MAP_ATOMIC) != 0);
}

static bool is_leaf(const struct api_field *f)
{
    switch ((enum api_label)f->label) {
    case API_REPEATED:
        return (f->flags & (API_F_LIST_MAP | API_F_LIST_SET)) == 0;
    case API_MAP:
        return (f->flags & API_F_MAP_ATOMIC) != 0;
    case API_SINGULAR:
        break;
    }
    return f->type != API_MESSAGE || is_atomic_struct(f);
}

void fieldset_diff_add(struct arena *a, struct fieldset_diff *out,
                       const struct fieldpath_elem *elem, enum field_presence px,
                       enum field_presence py, bool modified, const struct fieldset_diff *below)
{
    bool changed = modified || px == FIELD_ABSENT, removed = py == FIELD_ABSENT;
    if (changed || below->changed.count != 0)
        fieldset_append(a, &out->changed, elem, changed, below->changed);
    if (removed || below->removed.count != 0)
        fieldset_append(a, &out->removed, elem, removed, below->removed);
}

/* x, y: structs or NULL. *ret_any: a member stands in one of them. */
static int diff_members(struct fieldset_differ *d, const struct api_msg *m, const void *x,
                        const void *y, struct fieldset_diff *out, bool *ret_any);

/* One value: of a map's entry, a list's item or a struct's plain field. NULL: none. */
int fieldset_diff_value(struct fieldset_differ *d, const struct api_field *f,
                        const struct fieldpath_elem *elem, const void *x, const void *y,
                        struct fieldset_diff *out)
{
    static const struct fieldset_diff nothing;
    enum field_presence px = x != NULL ? FIELD_PRESENT : FIELD_ABSENT,
                        py = y != NULL ? FIELD_PRESENT : FIELD_ABSENT;
    if (f->type != API_MESSAGE || is_atomic_struct(f)) {
        bool modified = x != NULL && y != NULL && !same_value(f, x, y);
        if (px != py || modified)
            fieldset_diff_add(d->arena, out, elem, px, py, modified, &nothing);
        return 0;
    }
    struct fieldset_diff below = {0};
    bool any = false;
    int code = diff_members(d, f->msg, x, y, &below, &any);
    if (code == 0)
        fieldset_diff_add(d->arena, out, elem, px, py, false, &below);
    return code;
}

/* An entry of a map begins with its key. */
static const struct str *key_of(const char *entry)
{
    return (const struct str *)(const void *)entry;
}

static int diff_map(struct fieldset_differ *d, const struct api_field *f, const void *x,
                    const void *y, struct fieldset_diff *out)
{
    size_t n = x != NULL ? field_count(x, f) : 0, m = y != NULL ? field_count(y, f) : 0;
    const char *p = n != 0 ? field_items(x, f) : NULL, *q = m != 0 ? field_items(y, f) : NULL;
    size_t i = 0, j = 0;
    if (p == q && n == m)
        return 0;
    while (i < n || j < m) {
        const char *k = i < n ? p + i * f->elem_size : NULL;
        const char *l = j < m ? q + j * f->elem_size : NULL;
        int order = k == NULL ? 1 : l == NULL ? -1 : str_cmp(*key_of(k), *key_of(l));
        struct fieldpath_elem elem = {.kind = FIELDPATH_NAME, .name = *key_of(order <= 0 ? k : l)};
        const char *from = order <= 0 ? k + f->entry_value_offset : NULL;
        const char *to = order >= 0 ? l + f->entry_value_offset : NULL;
        int code = fieldset_diff_value(d, f, &elem, from, to, out);
        if (code != 0)
            return code;
        i += order <= 0;
        j += order >= 0;
    }
    return 0;
}

static const void *message_at(const struct api_field *f, const void *base,
                              enum field_presence presence)
{
    if (base == NULL || presence != FIELD_PRESENT)
        return NULL;
    return field_is_message_pointer(f) ? field_items(base, f) : field_at_const(base, f);
}

/* Present on at least one side. */
static int diff_field(struct fieldset_differ *d, const struct api_field *f, const void *x,
                      const void *y, enum field_presence px, enum field_presence py,
                      struct fieldset_diff *out)
{
    struct fieldpath_elem elem = {.kind = FIELDPATH_NAME, .name = {f->json_name, f->json_len}};
    struct fieldset_diff below = {0};
    bool any, both = px == FIELD_PRESENT && py == FIELD_PRESENT;
    int code = 0;
    if (is_leaf(f)) {
        bool modified = px != py || (both && !same_field(f, x, y));
        if (modified)
            fieldset_diff_add(d->arena, out, &elem, px, py, py != FIELD_ABSENT, &below);
        return 0;
    }
    if (f->label == API_SINGULAR) {
        const void *p, *q;
        p = message_at(f, x, px);
        q = message_at(f, y, py);
        any = false;
        code = diff_members(d, f->msg, p, q, &below, &any);
    } else {
        any = (x != NULL && field_count(x, f) != 0) || (y != NULL && field_count(y, f) != 0);
        if (any && f->label == API_MAP)
            code = diff_map(d, f, x, y, &below);
        else if (any)
            code = fieldset_diff_list(d, f, x, y, &below);
    }
    /* Empty on both sides is a leaf: null and {} differ. */
    if (code == 0)
        fieldset_diff_add(d->arena, out, &elem, px, py, !any && px != py && py != FIELD_ABSENT,
                          &below);
    return code;
}

static int diff_members(struct fieldset_differ *d, const struct api_msg *m, const void *x,
                        const void *y, struct fieldset_diff *out, bool *ret_any)
{
    if (x == y)
        return 0;
    for (size_t i = 0; i < m->json_count; i++) {
        const struct api_json_member *member = &m->json[m->json_by_name[i]];
        const struct api_field *f = member->field;
        const void *p = x != NULL ? (const char *)x + member->base : NULL;
        const void *q = y != NULL ? (const char *)y + member->base : NULL;
        enum field_presence px = field_presence(f, p), py = field_presence(f, q);
        if (px == FIELD_ABSENT && py == FIELD_ABSENT)
            continue;
        *ret_any = true;
        int code = diff_field(d, f, p, q, px, py, out);
        if (code != 0)
            return code;
    }
    return 0;
}

int fieldset_diff_msg(struct arena *a, const struct api_msg *m, const void *x, const void *y,
                      struct fieldset_diff *ret, struct error *err)
{
    struct fieldset_differ d = {.arena = a, .err = err};
    bool any = false;
    *ret = (struct fieldset_diff){0};
    return diff_members(&d, m, x, y, ret, &any);
}
