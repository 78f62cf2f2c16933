/* structural_tree.c - pruning and defaulting; see structural.h. Recursion follows
 * the depth of the tree, which the parser bounds. */
#include "lib/api/structural.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <inttypes.h>
#include <stdlib.h>

/* --- pruning ------------------------------------------------------------------------ */
struct prune {
    struct arena *arena;
    struct api_warnings *unknown; /* NULL: nobody asks. */
    struct buf path;
};

static void prune(struct prune *p, const struct structural *s, struct json *j, bool resource);

static size_t push_name(struct prune *p, struct str name)
{
    size_t len = p->path.len;
    if (p->unknown == NULL)
        return len;
    if (len != 0)
        buf_putc(&p->path, '.');
    buf_append_str(&p->path, name);
    return len;
}

static void report(struct prune *p, struct str name)
{
    struct api_warnings *w = p->unknown;
    if (w == NULL)
        return;
    size_t len = push_name(p, name);
    w->items = arena_grow(p->arena, w->items, w->count, &w->cap, sizeof(*w->items));
    struct str path = buf_str(&p->path);
    w->items[w->count++] = arena_printf(p->arena, "unknown field \"" STR_FMT "\"", STR_ARG(path));
    buf_truncate(&p->path, len);
}

static void prune_items(struct prune *p, const struct structural *items, struct json *j)
{
    for (size_t i = 0; i < j->array.count; i++) {
        size_t len = p->path.len;
        if (p->unknown != NULL)
            buf_printf(&p->path, "[%zu]", i);
        prune(p, items, j->array.items[i], false);
        buf_truncate(&p->path, len);
    }
}

/* The schema of a member, and whether it is known at all. NULL with true: known,
 * but nothing below it is. */
static bool known(const struct structural *s, struct str name, const struct structural **ret)
{
    *ret = structural_member(s, name);
    if (*ret != NULL)
        return true;
    if (s != NULL && s->has_additional && !s->forbids_additional) {
        *ret = s->additional;
        return true;
    }
    return false;
}

static void prune_members(struct prune *p, const struct structural *s, struct json *j,
                          bool resource)
{
    bool keeps = s != NULL && s->preserve_unknown;
    size_t kept = 0;
    for (size_t i = 0; i < j->object.count; i++) {
        struct json_member m = j->object.members[i];
        const struct structural *below;
        if (resource && structural_is_meta(m.key)) {
            j->object.members[kept++] = m;
            continue;
        }
        bool is_known = known(s, m.key, &below);
        if (!is_known && !keeps) {
            report(p, m.key);
            continue;
        }
        if (is_known) {
            size_t len = push_name(p, m.key);
            prune(p, below, m.value, below != NULL && below->embedded);
            buf_truncate(&p->path, len);
        }
        j->object.members[kept++] = m;
    }
    j->object.count = kept;
}

static void prune(struct prune *p, const struct structural *s, struct json *j, bool resource)
{
    if (j->type == JSON_OBJECT)
        prune_members(p, s, j, resource);
    else if (j->type == JSON_ARRAY && (s == NULL || !s->preserve_unknown || s->items != NULL))
        prune_items(p, s != NULL ? s->items : NULL, j);
}

static int by_text(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

void structural_prune(struct arena *a, const struct structural *s, struct json *j, bool root,
                      struct api_warnings *ret_unknown)
{
    struct prune p = {.arena = a, .unknown = ret_unknown, .path = BUF_INIT};
    size_t before = ret_unknown != NULL ? ret_unknown->count : 0;
    prune(&p, s, j, root);
    if (ret_unknown != NULL && ret_unknown->count > before)
        qsort(ret_unknown->items + before, ret_unknown->count - before, sizeof(struct str),
              by_text);
    buf_done(&p.path);
}

/* --- defaults ------------------------------------------------------------------------- */
static bool wants_default(const struct structural *s, const struct json *value)
{
    return s != NULL && s->default_ != NULL &&
           (value == NULL || (value->type == JSON_NULL && !s->nullable));
}

static void fill_in(struct arena *a, const struct structural *s, struct json *j);

static void fill_in_members(struct arena *a, const struct structural *s, struct json *j)
{
    for (size_t i = 0; i < s->member_count; i++) {
        const struct structural_member *m = &s->members[i];
        if (m->schema.default_ != NULL && wants_default(&m->schema, json_get(j, m->name)))
            json_set(a, j, m->name, json_clone(a, m->schema.default_));
    }
    for (size_t i = 0; i < j->object.count; i++) {
        struct json_member *m = &j->object.members[i];
        const struct structural *below = structural_member(s, m->key);
        if (below == NULL) {
            below = s->additional;
            if (wants_default(below, m->value))
                m->value = json_clone(a, below->default_);
        }
        if (below != NULL)
            fill_in(a, below, m->value);
    }
}

static void fill_in(struct arena *a, const struct structural *s, struct json *j)
{
    if (!s->has_default_below)
        return;
    if (j->type == JSON_OBJECT) {
        fill_in_members(a, s, j);
    } else if (j->type == JSON_ARRAY && s->items != NULL) {
        for (size_t i = 0; i < j->array.count; i++) {
            if (wants_default(s->items, j->array.items[i]))
                j->array.items[i] = json_clone(a, s->items->default_);
            fill_in(a, s->items, j->array.items[i]);
        }
    }
}

/* Null where the schema knows a value and does not allow null. */
static void drop_nulls(const struct structural *s, struct json *j)
{
    if (j->type == JSON_ARRAY) {
        for (size_t i = 0; s->items != NULL && i < j->array.count; i++)
            drop_nulls(s->items, j->array.items[i]);
        return;
    }
    if (j->type != JSON_OBJECT)
        return;
    size_t kept = 0;
    for (size_t i = 0; i < j->object.count; i++) {
        struct json_member m = j->object.members[i];
        const struct structural *below = structural_member(s, m.key);
        if (below == NULL)
            below = s->additional;
        if (below != NULL && m.value->type == JSON_NULL && !below->nullable)
            continue;
        if (below != NULL)
            drop_nulls(below, m.value);
        j->object.members[kept++] = m;
    }
    j->object.count = kept;
}

void structural_default(struct arena *a, const struct structural *s, struct json *j)
{
    if (s == NULL)
        return;
    fill_in(a, s, j);
    drop_nulls(s, j);
}
