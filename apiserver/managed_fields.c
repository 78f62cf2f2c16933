/* managed_fields.c - see managed_fields.h. */
#include "apiserver/managed_fields.h"

#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <stdlib.h>

#define ANCIENT_MANAGER "ancient-changes"

/* --- entries --------------------------------------------------------------------- */
static bool same_manager(const struct managed_entry *x, const struct managed_entry *y)
{
    return x->applied == y->applied && str_eq(x->manager, y->manager) &&
           str_eq(x->subresource, y->subresource) &&
           (x->applied || str_eq(x->api_version, y->api_version));
}

struct managed_entry *managed_find(const struct managed *m, const struct managed_entry *like)
{
    for (size_t i = 0; i < m->count; i++)
        if (same_manager(&m->items[i], like))
            return &m->items[i];
    return NULL;
}

struct managed_entry *managed_get(struct managed *m, const struct managed_entry *like)
{
    struct managed_entry *e = managed_find(m, like);
    if (e != NULL)
        return e;
    m->items = arena_grow(m->arena, m->items, m->count, &m->cap, sizeof(*m->items));
    e = &m->items[m->count++];
    *e = *like;
    e->set = FIELDSET_EMPTY;
    e->raw = STR_NULL;
    return e;
}

void managed_set(struct managed_entry *e, struct fieldset set)
{
    e->set = set;
    e->raw = STR_NULL;
}

void managed_remove(struct managed *m, struct managed_entry *e)
{
    size_t at = (size_t)(e - m->items);
    memmove(e, e + 1, (m->count - at - 1) * sizeof(*e));
    m->count--;
}

/* --- decoding --------------------------------------------------------------------- */
static int decode_entry(struct arena *a, const struct meta_v1_managed_fields_entry *from, size_t i,
                        struct managed_entry *ret, struct error *err)
{
    *ret = (struct managed_entry){
        .manager = from->manager,
        .api_version = from->api_version,
        .subresource = from->subresource,
        .applied = str_eqc(from->operation, "Apply"),
    };
    if (!ret->applied && !str_eqc(from->operation, "Update"))
        return error_set(err, E_INVALID, "operation must be `Apply` or `Update`");
    if (from->api_version.len == 0)
        return error_set(err, E_INVALID, "apiVersion must not be empty");
    if (from->fields_type.len == 0)
        return error_set(err, E_INVALID, "missing fieldsType in managed fields entry %zu", i);
    if (!str_eqc(from->fields_type, "FieldsV1"))
        return error_set(err, E_INVALID,
                         "invalid fieldsType \"" STR_FMT "\" in managed fields entry %zu",
                         STR_ARG(from->fields_type), i);
    if (from->time != NULL) {
        ret->has_time = true;
        ret->time_s = from->time->seconds;
    }
    if (from->fields_v1 != NULL)
        ret->raw = from->fields_v1->raw;
    int code = fieldset_parse(a, ret->raw, &ret->set, err);
    if (code != 0)
        error_prefix(err, "error decoding set");
    return code;
}

int managed_decode(struct arena *a, const struct meta_v1_managed_fields_entry *entries,
                   size_t count, struct managed *ret, struct error *err)
{
    *ret = (struct managed){.arena = a};
    if (count > MANAGED_ENTRIES_MAX)
        return error_set(err, E_INVALID, "%zu managed fields entries, at most %d are read", count,
                         MANAGED_ENTRIES_MAX);
    for (size_t i = 0; i < count; i++) {
        struct managed_entry e;
        int code = decode_entry(a, &entries[i], i, &e, err);
        if (code != 0)
            return code;
        *managed_get(ret, &e) = e; /* Of repeated managers the last one wins. */
    }
    return 0;
}

/* --- encoding --------------------------------------------------------------------- */
static int cmp_i64(int64_t x, int64_t y)
{
    return x < y ? -1 : x > y;
}

static int by_time(const void *x, const void *y)
{
    const struct managed_entry *a = x, *b = y;
    int order = (int)b->applied - (int)a->applied;
    if (order == 0)
        order = cmp_i64(a->time_s, b->time_s);
    if (order == 0)
        order = str_cmp(a->manager, b->manager);
    if (order == 0)
        order = str_cmp(a->api_version, b->api_version);
    return order != 0 ? order : str_cmp(a->subresource, b->subresource);
}

static struct meta_v1_fields_v1 *encode_set(struct arena *a, const struct managed_entry *e)
{
    struct meta_v1_fields_v1 *f = ARENA_NEW(a, struct meta_v1_fields_v1);
    f->raw = e->raw;
    if (f->raw.len == 0) {
        AUTO_BUF b = BUF_INIT;
        fieldset_print(&e->set, &b);
        f->raw = arena_str(a, buf_str(&b));
    }
    return f;
}

void managed_encode(struct managed *m, struct meta_v1_object_meta *meta)
{
    meta->managed_fields = NULL;
    meta->managed_fields_count = 0;
    if (m->count == 0)
        return;
    qsort(m->items, m->count, sizeof(*m->items), by_time);
    struct meta_v1_managed_fields_entry *out =
        ARENA_ARRAY(m->arena, struct meta_v1_managed_fields_entry, m->count);
    for (size_t i = 0; i < m->count; i++) {
        const struct managed_entry *e = &m->items[i];
        out[i] = (struct meta_v1_managed_fields_entry){
            .manager = e->manager,
            .operation = e->applied ? STR("Apply") : STR("Update"),
            .api_version = e->api_version,
            .fields_type = STR("FieldsV1"),
            .fields_v1 = encode_set(m->arena, e),
            .subresource = e->subresource,
        };
        if (e->has_time) {
            out[i].time = ARENA_NEW(m->arena, struct meta_v1_time);
            out[i].time->seconds = e->time_s;
            out[i].time->epoch = e->time_s == 0;
        }
    }
    meta->managed_fields = out;
    meta->managed_fields_count = m->count;
}

/* --- the cap ------------------------------------------------------------------------ */
static struct managed_entry ancient(struct str api_version)
{
    return (struct managed_entry){.manager = STR(ANCIENT_MANAGER), .api_version = api_version};
}

static size_t count_updaters(const struct managed *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++)
        n += !m->items[i].applied;
    return n;
}

static int oldest_first(const void *x, const void *y)
{
    const struct managed_entry *a = x, *b = y;
    int order = cmp_i64(a->time_s, b->time_s);
    return order != 0 ? order : managed_cmp(a, b);
}

/* The first of the older updates in the same version, which this one joins. */
static const struct managed_entry *first_of_version(const struct managed_entry *sorted, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (str_eq(sorted[j].api_version, sorted[i].api_version))
            return &sorted[j];
    return NULL;
}

void managed_cap(struct managed *m)
{
    size_t n = count_updaters(m), filled = 0;
    if (n <= MANAGED_UPDATERS_MAX)
        return;
    struct managed_entry *sorted = ARENA_ARRAY(m->arena, struct managed_entry, n);
    for (size_t i = 0; i < m->count; i++)
        if (!m->items[i].applied)
            sorted[filled++] = m->items[i];
    qsort(sorted, n, sizeof(*sorted), oldest_first);
    for (size_t i = 0, left = n; i < n && left > MANAGED_UPDATERS_MAX; i++) {
        const struct managed_entry *first = first_of_version(sorted, i);
        if (first == NULL)
            continue;
        struct managed_entry bucket = ancient(sorted[i].api_version);
        struct managed_entry *to = managed_find(m, &bucket);
        if (to == NULL) {
            /* The oldest of its version becomes the bucket. */
            to = managed_find(m, first);
            ASSERT(to != NULL);
            to->manager = bucket.manager;
            to->subresource = STR_NULL;
        }
        if (same_manager(&sorted[i], &bucket))
            continue;
        managed_set(to, fieldset_union(m->arena, &sorted[i].set, &to->set));
        to->has_time = sorted[i].has_time;
        to->time_s = sorted[i].time_s;
        managed_remove(m, managed_find(m, &sorted[i]));
        left--;
    }
}

/* --- messages ------------------------------------------------------------------------ */
struct str managed_show(struct arena *a, const struct managed_entry *e)
{
    AUTO_BUF b = BUF_INIT;
    struct json name = {.type = JSON_STRING, .string = e->manager};
    struct fieldpath_elem quoted = {.kind = FIELDPATH_VALUE, .value = &name};
    fieldpath_elem_show(&quoted, &b); /* [="name"] */
    struct str shown = str_sub(buf_str(&b), 2, b.len - 3);
    struct str sub = e->subresource.len != 0 ? arena_printf(a, " with subresource \"" STR_FMT "\"",
                                                            STR_ARG(e->subresource))
                                             : STR_NULL;
    if (e->applied)
        return arena_printf(a, STR_FMT STR_FMT, STR_ARG(shown), STR_ARG(sub));
    return arena_printf(a, STR_FMT STR_FMT " using " STR_FMT, STR_ARG(shown), STR_ARG(sub),
                        STR_ARG(e->api_version));
}

/* Identifiers are JSON objects: manager, operation, apiVersion, subresource. */
int managed_cmp(const struct managed_entry *x, const struct managed_entry *y)
{
    int order = str_cmp(x->manager, y->manager);
    if (order == 0)
        order = (int)y->applied - (int)x->applied;
    if (order == 0 && !x->applied)
        order = str_cmp(x->api_version, y->api_version);
    return order != 0 ? order : str_cmp(x->subresource, y->subresource);
}

/* --- lists as they come ----------------------------------------------------------------- */
bool managed_is_reset(const struct meta_v1_managed_fields_entry *entries, size_t count)
{
    if (count == 0)
        return entries != NULL;
    return count == 1 && api_msg_is_zero(&meta_v1_managed_fields_entry_msg, &entries[0]);
}

static bool equal_entries(const struct meta_v1_managed_fields_entry *x,
                          const struct meta_v1_managed_fields_entry *y)
{
    struct str fx = x->fields_v1 != NULL ? x->fields_v1->raw : STR_NULL;
    struct str fy = y->fields_v1 != NULL ? y->fields_v1->raw : STR_NULL;
    return str_eq(x->manager, y->manager) && str_eq(x->operation, y->operation) &&
           str_eq(x->api_version, y->api_version) && str_eq(x->subresource, y->subresource) &&
           str_eq(x->fields_type, y->fields_type) && str_eq(fx, fy);
}

bool managed_equal_but_times(const struct meta_v1_object_meta *x,
                             const struct meta_v1_object_meta *y)
{
    if (x->managed_fields_count != y->managed_fields_count)
        return false;
    for (size_t i = 0; i < x->managed_fields_count; i++)
        if (!equal_entries(&x->managed_fields[i], &y->managed_fields[i]))
            return false;
    return true;
}
