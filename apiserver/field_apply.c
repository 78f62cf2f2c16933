/* field_apply.c - server-side apply: merges a configuration, finds conflicts,
 * prunes what its manager gave up; see field_manager.h. */
#include "apiserver/field_manager.h"

#include "api/meta_v1.h"
#include "apiserver/field_filter.h"
#include "apiserver/field_manager_internal.h"
#include "apiserver/registry.h"
#include "lib/api/codec.h"
#include "lib/api/field_tree.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <stdlib.h>

#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"
#define ANNOTATIONS_BYTES_MAX (256u * 1024)

/* A document in one version of its kind. */
struct document {
    struct str api_version;
    struct field_type type;
    const struct json *tree;
};

struct apply {
    const struct field_manager *fm;
    struct managed managed;
    struct document live, config;
    const struct json *merged; /* In the version that the client speaks. */
    bool unchanged;
};

/* --- documents in other versions ----------------------------------------------------- */
/* The kind that a version of the resource has; NULL: there is none. */
static const struct api_kind *kind_of_version(const struct field_manager *fm,
                                              struct str api_version)
{
    if (fm->res == NULL)
        return str_eq(api_version, fm->api_version) ? fm->kind : NULL;
    const struct resource *res = field_manager_version(fm, api_version);
    return res != NULL ? res->kind : NULL;
}

static struct json *tree_of(const struct field_manager *fm, const struct api_kind *kind,
                            const void *msg)
{
    return api_json_tree(fm->arena, kind->msg, msg, str_of(kind->api_version), str_of(kind->kind));
}

/* A document as an object of fm->kind. */
static int object_of(const struct field_manager *fm, const struct document *d, void **ret,
                     struct error *err)
{
    const struct api_kind *kind = kind_of_version(fm, d->api_version);
    ASSERT(kind != NULL);
    void *msg = api_msg_new(fm->arena, kind->msg);
    int code = api_json_decode_tree(fm->arena, kind->msg, d->tree, API_LENIENT, NULL, msg, err);
    if (code != 0)
        return code;
    if (kind != fm->kind)
        msg = registry_to_storage(fm->arena, field_manager_version(fm, d->api_version), fm->kind,
                                  msg);
    *ret = msg;
    return 0;
}

/* An object of fm->kind as a document. False: the version is not served. */
static bool document_of(const struct field_manager *fm, struct str api_version, const void *obj,
                        struct document *ret)
{
    const struct api_kind *kind = kind_of_version(fm, api_version);
    if (kind == NULL)
        return false;
    const void *msg = obj;
    if (kind != fm->kind) {
        const struct api_msg *ignored;
        msg = field_manager_convert(fm, field_manager_version(fm, api_version), obj, &ignored);
    }
    *ret = (struct document){api_version, field_type_of_msg(kind->msg), tree_of(fm, kind, msg)};
    return true;
}

/* 1: converted; 0: there is no such version; negative: it cannot be. */
static int convert(const struct field_manager *fm, const struct document *d, struct str api_version,
                   struct document *ret, struct error *err)
{
    void *obj = NULL;
    if (str_eq(d->api_version, api_version)) {
        *ret = *d;
        return 1;
    }
    if (kind_of_version(fm, api_version) == NULL)
        return 0;
    int code = object_of(fm, d, &obj, err);
    if (code != 0)
        return code;
    return document_of(fm, api_version, obj, ret) ? 1 : 0;
}

/* --- pruning -------------------------------------------------------------------------- */
static struct fieldset named(const struct field_manager *fm, const struct document *d,
                             const struct fieldset *s)
{
    return field_type_name_members(fm->arena, &d->type, s);
}

static struct fieldset set_with_names(const struct field_manager *fm, const struct document *d)
{
    struct fieldset s = field_tree_set(fm->arena, &d->type, d->tree);
    return named(fm, d, &s);
}

static struct document without(const struct field_manager *fm, const struct document *d,
                               const struct fieldset *set)
{
    struct document out = *d;
    out.tree = field_tree_remove(fm->arena, &d->type, d->tree, set);
    return out;
}

/* Puts back what managers of one version own. Both documents change to it. */
static int add_back_owned(const struct apply *ap, struct str version, struct document *merged,
                          struct document *pruned, struct error *err)
{
    const struct field_manager *fm = ap->fm;
    struct arena *a = fm->arena;
    struct fieldset owned = FIELDSET_EMPTY;
    for (size_t i = 0; i < ap->managed.count; i++)
        if (str_eq(ap->managed.items[i].api_version, version))
            owned = fieldset_union(a, &owned, &ap->managed.items[i].set);
    int r = convert(fm, merged, version, merged, err);
    if (r > 0)
        r = convert(fm, pruned, version, pruned, err);
    if (r <= 0)
        return r;
    struct fieldset all = set_with_names(fm, merged), kept = set_with_names(fm, pruned);
    owned = named(fm, merged, &owned);
    kept = fieldset_union(a, &kept, &owned);
    struct fieldset lost = fieldset_difference(a, &all, &kept);
    *pruned = without(fm, merged, &lost);
    return 0;
}

static bool seen_version(const struct managed *m, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (str_eq(m->items[j].api_version, m->items[i].api_version))
            return true;
    return false;
}

/* Removes what the manager applied last time (last), does not apply now, and
 * nobody else owns. */
static int prune(struct apply *ap, const struct managed_entry *last, struct error *err)
{
    const struct field_manager *fm = ap->fm;
    struct arena *a = fm->arena;
    struct document start = {ap->config.api_version, ap->config.type, ap->merged};
    struct document merged = {0}, pruned;
    if (last == NULL || last->set.count == 0)
        return 0;
    int r = convert(fm, &start, last->api_version, &merged, err);
    if (r <= 0)
        return r;
    const struct document at_last = merged;
    struct fieldset last_set = named(fm, &merged, &last->set);
    pruned = without(fm, &merged, &last_set);
    r = add_back_owned(ap, last->api_version, &merged, &pruned, err);
    for (size_t i = 0; r >= 0 && i < ap->managed.count; i++) {
        struct str version = ap->managed.items[i].api_version;
        if (!str_eq(version, last->api_version) && !seen_version(&ap->managed, i))
            r = add_back_owned(ap, version, &merged, &pruned, err);
    }
    /* What nobody owns stays as well, unless this manager gave it up. */
    if (r >= 0)
        r = convert(fm, &pruned, last->api_version, &pruned, err);
    if (r < 0)
        return r;
    struct fieldset all = set_with_names(fm, &at_last), kept = set_with_names(fm, &pruned);
    struct fieldset lost = fieldset_difference(a, &all, &kept);
    lost = fieldset_intersection(a, &lost, &last_set);
    pruned = without(fm, &at_last, &lost);
    r = convert(fm, &pruned, ap->config.api_version, &pruned, err);
    if (r > 0)
        ap->merged = pruned.tree;
    return r < 0 ? r : 0;
}

/* --- merging and conflicts --------------------------------------------------------------- */
static int diff_documents(struct version_diffs *d, struct version_diff *v, struct error *err)
{
    const struct apply *ap = d->arg;
    const struct document merged = {ap->config.api_version, ap->config.type, ap->merged};
    struct document x = {0}, y = {0};
    int r = convert(d->fm, &ap->live, v->api_version, &x, err);
    if (r > 0)
        r = convert(d->fm, &merged, v->api_version, &y, err);
    if (r < 0)
        return r;
    v->missing = r == 0;
    if (r > 0)
        field_tree_diff(d->fm->arena, &x.type, x.tree, y.tree, &v->diff);
    return 0;
}

static int by_manager(const void *x, const void *y)
{
    return managed_cmp(((const struct conflict *)x)->with, ((const struct conflict *)y)->with);
}

/* One try; ap->managed is used up. */
static int merge_config(struct apply *ap, bool force, struct conflicts *ret, struct error *err)
{
    const struct field_manager *fm = ap->fm;
    struct managed_entry like = field_manager_self(fm, true);
    struct version_diffs diffs = {.fm = fm, .find = diff_documents, .arg = ap};
    ap->merged = field_tree_merge(fm->arena, &ap->config.type, ap->live.tree, ap->config.tree);
    const struct managed_entry *before = managed_find(&ap->managed, &like);
    struct managed_entry last = before != NULL ? *before : (struct managed_entry){0};
    struct managed_entry *self = managed_get(&ap->managed, &like);
    struct fieldset set = field_tree_set(fm->arena, &ap->config.type, ap->config.tree);
    managed_set(self, field_filter_reset(fm->arena, fm->res, fm->subresource, &set));
    self->api_version = fm->api_version;
    int code = prune(ap, before != NULL ? &last : NULL, err);
    if (code == 0)
        code = managed_take(&ap->managed, self, &diffs, force, ret, err);
    if (code != 0)
        return code;
    if (ret->count != 0)
        qsort(ret->items, ret->count, sizeof(*ret->items), by_manager);
    ap->unchanged = field_tree_equal(ap->live.tree, ap->merged);
    self = managed_find(&ap->managed, &like);
    if (self == NULL)
        return 0;
    set = field_filter_meta(fm->arena, &self->set);
    managed_set(self, set);
    if (set.count == 0) {
        managed_remove(&ap->managed, self);
    } else if (!ap->unchanged) {
        self->has_time = true;
        self->time_s = fm->now_s;
    }
    return 0;
}

/* --- conflicts as clients read them -------------------------------------------------------- */
struct conflict_text {
    struct arena *arena;
    struct meta_v1_status *status;
    struct str manager;
    struct buf list;
    struct str only;
    size_t count;
};

static void show_conflict(const struct fieldpath_elem *path, size_t len, void *arg)
{
    struct conflict_text *t = arg;
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < len; i++)
        fieldpath_elem_show(&path[i], &b);
    struct str field = arena_str(t->arena, buf_str(&b));
    status_add_cause(t->arena, t->status, "FieldManagerConflict",
                     arena_printf(t->arena, "conflict with " STR_FMT, STR_ARG(t->manager)), field);
    buf_puts(&t->list, "\n- ");
    buf_append_str(&t->list, field);
    t->only = field;
    t->count++;
}

static struct meta_v1_status *conflict_status(struct arena *a, const struct conflicts *c)
{
    struct conflict_text t = {.arena = a, .status = status_new(a, 409, "Conflict", STR_NULL)};
    status_details(a, t.status);
    buf_init(&t.list);
    for (size_t i = 0; i < c->count; i++) {
        t.manager = managed_show(a, c->items[i].with);
        buf_printf(&t.list, "%sconflicts with " STR_FMT ":", i != 0 ? "\n" : "",
                   STR_ARG(t.manager));
        fieldset_each(&c->items[i].set, show_conflict, &t);
    }
    if (t.count == 1)
        t.status->message =
            arena_printf(a, "Apply failed with 1 conflict: conflict with " STR_FMT ": " STR_FMT,
                         STR_ARG(t.manager), STR_ARG(t.only));
    else
        t.status->message = arena_printf(a, "Apply failed with %zu conflicts: " STR_FMT, t.count,
                                         STR_ARG(buf_str(&t.list)));
    buf_done(&t.list);
    return t.status;
}

/* --- from client-side apply ---------------------------------------------------------------- */
/* What kubectl applied on the client's side last and nobody changed since: no
 * conflict when kubectl applies it on the server's. */
static bool allowed_conflicts(const struct apply *ap, const struct meta_v1_object_meta *live,
                              struct fieldset *ret)
{
    struct arena *a = ap->fm->arena;
    const struct str *text =
        api_str_map_get(live->annotations, live->annotations_count, STR(LAST_APPLIED));
    struct json *last;
    struct str faults;
    struct fieldset_diff diff;
    if (text == NULL || text->len == 0 || json_parse(a, *text, &last, NULL) != 0 ||
        !str_eq(json_get_str(last, "apiVersion"), ap->fm->api_version) ||
        field_tree_check(a, &ap->config.type, last, false, &faults) != 0)
        return false;
    *ret = field_tree_set(a, &ap->config.type, last);
    field_tree_diff(a, &ap->config.type, last, ap->live.tree, &diff);
    *ret = fieldset_difference(a, ret, &diff.changed);
    *ret = fieldset_difference(a, ret, &diff.removed);
    return true;
}

/* Takes allowed conflicts away; none left: apply anew, with force. */
static void drop_allowed(struct apply *ap, const struct meta_v1_object_meta *live,
                         struct conflicts *c)
{
    struct fieldset allowed;
    size_t n = 0;
    if (live == NULL || !allowed_conflicts(ap, live, &allowed))
        return;
    for (size_t i = 0; i < c->count; i++) {
        c->items[i].set = fieldset_difference(ap->fm->arena, &c->items[i].set, &allowed);
        if (c->items[i].set.count != 0)
            c->items[n++] = c->items[i];
    }
    c->count = n;
}

/* The configuration in kubectl's annotation, for clients that still go by it. */
static void sync_last_applied(const struct apply *ap, struct meta_v1_object_meta *m)
{
    struct arena *a = ap->fm->arena;
    const struct str *old =
        api_str_map_get(m->annotations, m->annotations_count, STR(LAST_APPLIED));
    if (old == NULL || old->len == 0)
        return;
    struct json *doc = json_clone(a, ap->config.tree);
    struct json *annotations = json_path(doc, "metadata.annotations");
    AUTO_BUF b = BUF_INIT;
    if (annotations != NULL && annotations->type == JSON_OBJECT)
        json_remove(annotations, STR(LAST_APPLIED));
    json_write(doc, true, &b);
    buf_putc(&b, '\n');
    size_t bytes = b.len, n = m->annotations_count, kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!str_eq(m->annotations[i].key, STR(LAST_APPLIED)))
            bytes += m->annotations[i].key.len + m->annotations[i].value.len;
    bytes += sizeof(LAST_APPLIED) - 1;
    struct api_str_entry *e = ARENA_ARRAY(a, struct api_str_entry, n);
    for (size_t i = 0; i < n; i++) {
        bool it = str_eq(m->annotations[i].key, STR(LAST_APPLIED));
        if (it && bytes > ANNOTATIONS_BYTES_MAX)
            continue; /* Too large to be kept. */
        e[kept] = m->annotations[i];
        if (it)
            e[kept].value = arena_str(a, buf_str(&b));
        kept++;
    }
    m->annotations = e;
    m->annotations_count = kept;
}

/* --- the whole ------------------------------------------------------------------------------ */
static struct str gvk_text(struct arena *a, struct str api_version, struct str kind)
{
    const char *slash = str_find(api_version, '/', 0) >= 0 ? "" : "/";
    return arena_printf(a, "%s" STR_FMT ", Kind=" STR_FMT, slash, STR_ARG(api_version),
                        STR_ARG(kind));
}

/* namespace/name; group/version, Kind=kind, of a document. */
static struct str label(struct arena *a, const struct json *doc)
{
    const struct json *meta = json_getc(doc, "metadata");
    return arena_printf(
        a, STR_FMT "/" STR_FMT "; " STR_FMT, STR_ARG(json_get_str(meta, "namespace")),
        STR_ARG(json_get_str(meta, "name")),
        STR_ARG(gvk_text(a, json_get_str(doc, "apiVersion"), json_get_str(doc, "kind"))));
}

static struct meta_v1_status *check_config(const struct apply *ap)
{
    struct arena *a = ap->fm->arena;
    const struct json *doc = ap->config.tree;
    const struct api_kind *kind = kind_of_version(ap->fm, ap->fm->api_version);
    struct str faults;
    if (!str_eqc(json_get_str(doc, "apiVersion"), kind->api_version) ||
        !str_eqc(json_get_str(doc, "kind"), kind->kind))
        return status_bad_request(
            a, "invalid object type: " STR_FMT,
            STR_ARG(gvk_text(a, json_get_str(doc, "apiVersion"), json_get_str(doc, "kind"))));
    const struct json *meta = json_getc(doc, "metadata");
    const struct json *managed = meta != NULL ? json_getc(meta, "managedFields") : NULL;
    if (managed != NULL && managed->type != JSON_NULL)
        return status_bad_request(a, "metadata.managedFields must be nil");
    if (field_tree_check(a, &ap->config.type, doc, false, &faults) != 0)
        return status_plain(a, "failed to create typed patch object (" STR_FMT "): " STR_FMT,
                            STR_ARG(label(a, doc)), STR_ARG(faults));
    if (field_tree_check(a, &ap->live.type, ap->live.tree, true, &faults) != 0)
        return status_plain(a, "failed to create typed live object (" STR_FMT "): " STR_FMT,
                            STR_ARG(label(a, ap->live.tree)), STR_ARG(faults));
    return NULL;
}

/* Managers of an object that nobody applied to before: all that is there
 * belongs to one that stands for the past. */
static int decode_managed(const struct field_manager *fm, const void *live,
                          const struct meta_v1_object_meta *m, struct managed *ret,
                          struct error *err)
{
    *ret = (struct managed){.arena = fm->arena};
    if (m == NULL)
        return 0;
    int code = managed_decode(fm->arena, m->managed_fields, m->managed_fields_count, ret, err);
    if (code != 0)
        return error_prefix(err, "failed to decode managed fields");
    managed_reconcile(fm, ret);
    if (ret->count != 0)
        return 0;
    struct field_manager past = *fm;
    past.manager = STR("before-first-apply");
    code = managed_update(&past, ret, NULL, live, err);
    return code == 0 ? 0 : error_prefix(err, "failed to create manager for existing fields");
}

static struct meta_v1_status *finish(struct apply *ap, const void *live, void **ret)
{
    const struct field_manager *fm = ap->fm;
    struct error err = {0};
    void *obj = NULL;
    if (ap->unchanged) {
        obj = live != NULL ? api_msg_clone(fm->arena, fm->kind->msg, live)
                           : api_msg_new(fm->arena, fm->kind->msg);
    } else {
        struct document merged = {ap->config.api_version, ap->config.type, ap->merged};
        if (object_of(fm, &merged, &obj, &err) != 0)
            return status_plain(fm->arena,
                                "failed to convert new object (" STR_FMT ") to proper version: %s",
                                STR_ARG(label(fm->arena, ap->config.tree)), error_message(&err));
    }
    struct meta_v1_object_meta *m = api_meta_of(fm->kind, obj);
    managed_encode(&ap->managed, m);
    if (str_eqc(fm->manager, "kubectl"))
        sync_last_applied(ap, m);
    *ret = obj;
    return NULL;
}

struct meta_v1_status *field_manager_apply(const struct field_manager *fm, const void *live,
                                           const struct json *config, bool force, void **ret_obj)
{
    struct arena *a = fm->arena;
    struct error err = {0};
    struct conflicts conflicts = {0};
    struct meta_v1_object_meta *m = live != NULL ? api_meta_of(fm->kind, live) : NULL;
    struct apply ap = {.fm = fm};
    /* The document without managedFields: they are kept apart. */
    void *start =
        live != NULL ? api_msg_clone(a, fm->kind->msg, live) : api_msg_new(a, fm->kind->msg);
    api_meta_of(fm->kind, start)->managed_fields_count = 0;
    api_meta_of(fm->kind, start)->managed_fields = NULL;
    bool served = document_of(fm, fm->api_version, start, &ap.live);
    ASSERT(served);
    ap.config = (struct document){fm->api_version, ap.live.type, config};
    struct managed managed;
    if (decode_managed(fm, start, m, &managed, &err) != 0)
        return status_plain(a, "%s", error_message(&err));
    struct meta_v1_status *s = check_config(&ap);
    if (s != NULL)
        return s;
    ap.managed = managed;
    ap.managed.items = arena_memdup(a, managed.items, managed.count * sizeof(*managed.items));
    ap.managed.cap = managed.count;
    int code = merge_config(&ap, force, &conflicts, &err);
    if (code == 0 && conflicts.count != 0 && str_eqc(fm->manager, "kubectl")) {
        drop_allowed(&ap, m, &conflicts);
        if (conflicts.count == 0) {
            ap.managed = managed;
            code = merge_config(&ap, true, &conflicts, &err);
        }
    }
    if (code != 0)
        return status_plain(a, "%s", error_message(&err));
    return conflicts.count != 0 ? conflict_status(a, &conflicts) : finish(&ap, live, ret_obj);
}
