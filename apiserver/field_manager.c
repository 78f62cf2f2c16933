/* field_manager.c - ownership of fields on writes that are not applied; see
 * field_manager.h. */
#include "apiserver/field_manager.h"

#include "api/meta_v1.h"
#include "apiserver/field_filter.h"
#include "apiserver/field_manager_internal.h"
#include "apiserver/request.h"
#include "lib/api/codec.h"
#include "lib/api/field_tree.h"
#include "lib/api/field_type.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/net/http_server.h"

#define MANAGER_BYTES_MAX 128u

/* --- who writes -------------------------------------------------------------------- */
/* What stands before the first slash, without characters that cannot be printed. */
static struct str manager_of_agent(struct arena *a, struct str agent)
{
    struct str head, rest;
    str_cut(agent, '/', &head, &rest);
    char *out = arena_alloc(a, head.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < head.len; i++)
        if ((unsigned char)head.data[i] >= ' ' && head.data[i] != 0x7f)
            out[n++] = head.data[i];
    if (n > MANAGER_BYTES_MAX) {
        n = MANAGER_BYTES_MAX;
        while (n > 0 && ((unsigned char)out[n] & 0xc0) == 0x80)
            n--; /* Never half a character. */
    }
    out[n] = '\0';
    return str_n(out, n);
}

struct field_manager field_manager_of(const struct req *r, const struct api_kind *kind,
                                      int64_t now_ns)
{
    struct str name = req_query(r, "fieldManager");
    if (name.len == 0)
        name = manager_of_agent(r->arena, http_request_header(r->http, "user-agent"));
    return (struct field_manager){
        .arena = r->arena,
        .res = r->res,
        .kind = kind,
        .api_version = str_of(r->res->kind->api_version),
        .subresource = r->sub != NULL ? r->sub->name : "",
        .manager = name.len != 0 ? name : STR("unknown"),
        .now_s = now_ns / 1000000000,
    };
}

struct managed_entry field_manager_self(const struct field_manager *fm, bool applied)
{
    return (struct managed_entry){
        .manager = fm->manager,
        .api_version = fm->api_version,
        .subresource = str_of(fm->subresource),
        .applied = applied,
    };
}

/* --- versions ------------------------------------------------------------------------ */
const struct resource *field_manager_version(const struct field_manager *fm, struct str api_version)
{
    struct str group, version;
    if (!str_cut(api_version, '/', &group, &version)) {
        version = api_version;
        group = STR("");
    }
    return registry_find(group, version, str_of(fm->res->kind->resource));
}

const void *field_manager_convert(const struct field_manager *fm, const struct resource *to,
                                  const void *obj, const struct api_msg **ret_msg)
{
    *ret_msg = to->kind->msg;
    if (to->kind == fm->kind)
        return obj;
    return registry_from_storage(fm->arena, to, api_msg_clone(fm->arena, fm->kind->msg, obj));
}

int version_diffs_get(struct version_diffs *d, struct str api_version, struct version_diff **ret,
                      struct error *err)
{
    struct arena *a = d->fm->arena;
    for (size_t i = 0; i < d->count; i++)
        if (str_eq(d->items[i].api_version, api_version)) {
            *ret = &d->items[i];
            return 0;
        }
    d->items = arena_grow(a, d->items, d->count, &d->cap, sizeof(*d->items));
    struct version_diff *v = &d->items[d->count];
    *v = (struct version_diff){.api_version = api_version};
    int code = d->find(d, v, err);
    if (code != 0)
        return code;
    struct fieldset_diff *diff = &v->diff;
    diff->changed = field_filter_reset(a, d->fm->res, d->fm->subresource, &diff->changed);
    diff->removed = field_filter_reset(a, d->fm->res, d->fm->subresource, &diff->removed);
    d->count++;
    *ret = v;
    return 0;
}

/* --- taking fields from others --------------------------------------------------------- */
static void add_conflict(struct managed *m, struct conflicts *c, const struct managed_entry *e,
                         struct fieldset set)
{
    c->items = arena_grow(m->arena, c->items, c->count, &c->cap, sizeof(*c->items));
    c->items[c->count++] = (struct conflict){arena_memdup(m->arena, e, sizeof(*e)), set};
}

static void lose(struct managed *m, struct managed_entry *e, const struct fieldset_diff *diff)
{
    struct fieldset left = fieldset_difference(m->arena, &e->set, &diff->changed);
    left = fieldset_difference(m->arena, &left, &diff->removed);
    if (left.items != e->set.items)
        managed_set(e, left);
}

int managed_take(struct managed *m, const struct managed_entry *self, struct version_diffs *d,
                 bool force, struct conflicts *ret, struct error *err)
{
    struct version_diff *v;
    for (size_t i = 0; i < m->count; i++) {
        struct managed_entry *e = &m->items[i];
        if (e == self)
            continue;
        int code = version_diffs_get(d, e->api_version, &v, err);
        if (code != 0)
            return code;
        if (v->missing || force)
            continue;
        struct fieldset both = fieldset_intersection(m->arena, &e->set, &v->diff.changed);
        if (both.count != 0)
            add_conflict(m, ret, e, both);
    }
    if (ret->count != 0)
        return 0;
    const struct managed_entry own = self != NULL ? *self : (struct managed_entry){0};
    for (size_t i = m->count; i-- > 0;) {
        struct managed_entry *e = &m->items[i];
        if (self == NULL || managed_cmp(e, &own) != 0) {
            int code = version_diffs_get(d, e->api_version, &v, err);
            if (code != 0)
                return code;
            if (v->missing)
                e->set = FIELDSET_EMPTY;
            else
                lose(m, e, &v->diff);
        }
        if (e->set.count == 0)
            managed_remove(m, e);
    }
    return 0;
}

/* --- updates ------------------------------------------------------------------------------ */
struct two_objects {
    const void *live, *obj; /* Of fm->kind; live NULL: an empty one. */
};

static int diff_objects(struct version_diffs *d, struct version_diff *v, struct error *err)
{
    const struct field_manager *fm = d->fm;
    const struct two_objects *o = d->arg;
    const struct api_msg *msg = fm->kind->msg;
    const void *x = o->live != NULL ? o->live : api_msg_new(fm->arena, msg), *y = o->obj;
    if (fm->res != NULL) {
        const struct resource *to = field_manager_version(fm, v->api_version);
        if (to == NULL) {
            v->missing = true;
            return 0;
        }
        x = field_manager_convert(fm, to, x, &msg);
        y = field_manager_convert(fm, to, y, &msg);
    }
    if (msg->special == API_CUSTOM) {
        struct field_type t = field_type_of_msg(msg);
        field_tree_diff(fm->arena, &t, api_json_tree(fm->arena, msg, x, STR_NULL, STR_NULL),
                        api_json_tree(fm->arena, msg, y, STR_NULL, STR_NULL), &v->diff);
        return 0;
    }
    return fieldset_diff_msg(fm->arena, msg, x, y, &v->diff, err);
}

/* The fields of a new entry; its time says when the manager last changed some. */
static void own(const struct field_manager *fm, struct managed *m, const struct fieldset *changed)
{
    struct fieldset set = field_filter_meta(fm->arena, changed);
    struct managed_entry self = field_manager_self(fm, false);
    if (set.count == 0)
        return;
    struct managed_entry *e = managed_get(m, &self);
    managed_set(e, fieldset_union(fm->arena, &set, &e->set));
    e->has_time = true;
    e->time_s = fm->now_s;
}

static int update(const struct field_manager *fm, struct managed *m, struct version_diffs *diffs,
                  struct error *err)
{
    struct conflicts conflicts = {0};
    struct version_diff *v;
    int code = version_diffs_get(diffs, fm->api_version, &v, err);
    if (code != 0)
        return code;
    struct fieldset changed = v->diff.changed; /* v moves when versions are added. */
    code = managed_take(m, NULL, diffs, true, &conflicts, err);
    if (code != 0)
        return code;
    own(fm, m, &changed);
    managed_cap(m);
    return 0;
}

int managed_update(const struct field_manager *fm, struct managed *m, const void *live,
                   const void *obj, struct error *err)
{
    struct two_objects objects = {live, obj};
    struct version_diffs diffs = {.fm = fm, .find = diff_objects, .arg = &objects};
    return update(fm, m, &diffs, err);
}

void managed_reconcile(const struct field_manager *fm, struct managed *m)
{
    for (size_t i = 0; i < m->count; i++) {
        struct managed_entry *e = &m->items[i];
        const struct resource *res =
            fm->res != NULL ? field_manager_version(fm, e->api_version) : NULL;
        const struct api_kind *kind = res != NULL ? res->kind : fm->kind;
        struct field_type t = field_type_of_msg(kind->msg);
        struct fieldset set = field_type_reconcile(fm->arena, &t, &e->set);
        if (set.items != e->set.items)
            managed_set(e, set);
    }
}

static bool same_times(const struct meta_v1_object_meta *x, const struct meta_v1_object_meta *y)
{
    for (size_t i = 0; i < x->managed_fields_count; i++) {
        const struct meta_v1_time *a = x->managed_fields[i].time, *b = y->managed_fields[i].time;
        if ((a == NULL) != (b == NULL) || (a != NULL && a->seconds != b->seconds))
            return false;
    }
    return true;
}

/* The list to go on from is the one that is stored: the client sent none, or
 * the same. */
static bool goes_on(const struct field_manager *fm, const struct meta_v1_object_meta *live,
                    const struct meta_v1_object_meta *m)
{
    if (live == NULL)
        return false;
    if (fm->subresource[0] != '\0' || (m->managed_fields_count == 0 && m->managed_fields == NULL))
        return true;
    return managed_equal_but_times(live, m) && same_times(live, m);
}

/* The list to go on from: the client's own, if it knows of such things, else
 * the one that is stored. What cannot be read counts for nothing. */
static void decode(const struct field_manager *fm, const struct meta_v1_object_meta *live,
                   const struct meta_v1_object_meta *m, struct managed *ret)
{
    *ret = (struct managed){.arena = fm->arena};
    if (!goes_on(fm, live, m) && fm->subresource[0] == '\0') {
        if (managed_is_reset(m->managed_fields, m->managed_fields_count))
            return;
        if (managed_decode(fm->arena, m->managed_fields, m->managed_fields_count, ret, NULL) == 0 &&
            ret->count != 0) {
            for (size_t i = 0; i < ret->count; i++)
                ret->items[i].raw = STR_NULL; /* In whatever order it came. */
            return;
        }
    }
    *ret = (struct managed){.arena = fm->arena};
    if (live != NULL &&
        managed_decode(fm->arena, live->managed_fields, live->managed_fields_count, ret, NULL) != 0)
        *ret = (struct managed){.arena = fm->arena};
}

void field_manager_update(const struct field_manager *fm, const void *live, void *obj)
{
    struct meta_v1_object_meta *m = api_meta_of(fm->kind, obj);
    const struct meta_v1_object_meta *old = live != NULL ? api_meta_of(fm->kind, live) : NULL;
    struct two_objects objects = {live, obj};
    struct version_diffs diffs = {.fm = fm, .find = diff_objects, .arg = &objects};
    struct version_diff *v;
    struct managed managed;
    struct meta_v1_object_meta sent = *m;
    bool stored = goes_on(fm, old, m);
    m->managed_fields = old != NULL ? old->managed_fields : NULL;
    m->managed_fields_count = old != NULL ? old->managed_fields_count : 0;
    if (version_diffs_get(&diffs, fm->api_version, &v, NULL) != 0)
        return; /* An item without its keys: the kind's rules will refuse it. */
    if (stored && v->diff.changed.count == 0 && v->diff.removed.count == 0)
        return;
    decode(fm, old, &sent, &managed);
    if (managed.count != 0 || live == NULL) {
        managed_reconcile(fm, &managed);
        if (update(fm, &managed, &diffs, NULL) == 0)
            managed_encode(&managed, m);
    } else {
        /* Objects without managers, from before there were any or by a client's
         * wish, stay so until someone applies. */
        m->managed_fields = NULL;
        m->managed_fields_count = 0;
    }
}

void field_manager_create(const struct req *r, const struct api_kind *kind, void *msg)
{
    struct field_manager fm = field_manager_of(r, kind, r->now_ns);
    fm.res = NULL;
    fm.api_version = str_of(kind->api_version);
    field_manager_update(&fm, NULL, msg);
}

void field_manager_system(const struct kind_ctx *ctx, const struct resource *res, const void *live,
                          void *obj)
{
    bool flow = strcmp(res->kind->group, "flowcontrol.apiserver.k8s.io") == 0;
    struct field_manager fm = {
        .arena = ctx->arena,
        .res = res,
        .kind = res->storage,
        .api_version = str_of(res->kind->api_version),
        .subresource = "",
        .manager =
            flow ? STR("api-priority-and-fairness-config-producer-v1") : STR("kube-apiserver"),
        .now_s = ctx->now_ns / 1000000000,
    };
    field_manager_update(&fm, live, obj);
}

/* --- times ------------------------------------------------------------------------------- */
void field_manager_keep_times(const struct api_kind *kind, const void *live, void *obj)
{
    const struct meta_v1_object_meta *old = api_meta_of(kind, live);
    struct meta_v1_object_meta *m = api_meta_of(kind, obj);
    if (m->managed_fields_count == 0 || !managed_equal_but_times(old, m) || same_times(old, m))
        return;
    struct meta_v1_managed_fields_entry *mine = m->managed_fields;
    m->managed_fields = old->managed_fields;
    if (!api_msg_equal(kind->msg, live, obj))
        m->managed_fields = mine;
}
