/* list_options.c - see list_options.h. */
#include "apiserver/list_options.h"

#include "apiserver/custom/stored.h"
#include "apiserver/encode.h"
#include "apiserver/request.h"
#include "apiserver/wire.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

static bool known_field(const struct resource *res, struct str label)
{
    for (const struct kind_field *f = res->ops->fields; f != NULL && f->label != NULL; f++)
        if (str_eqc(label, f->label))
            return true;
    return false;
}

static struct meta_v1_status *unknown_field(struct req *r, struct str label)
{
    if (r->res->ops->fields != NULL)
        return status_bad_request(r->arena, "field label not supported: " STR_FMT, STR_ARG(label));
    return status_bad_request(
        r->arena,
        "\"" STR_FMT
        "\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
        STR_ARG(label));
}

static void require(bool *has, struct str *have, struct str value, bool *nothing)
{
    if (*has && !str_eq(*have, value))
        *nothing = true;
    *has = true;
    *have = value;
}

/* Beside a name in the path the selector may only say the same. */
static struct meta_v1_status *check_name(struct req *r, const struct list_options *o)
{
    if (r->info.name.len == 0 || o->fields.count == 0)
        return NULL;
    for (size_t i = 0; i < o->fields.count; i++)
        if (!o->fields.items[i].negated && str_eqc(o->fields.items[i].field, "metadata.name")) {
            if (str_eq(o->fields.items[i].value, r->info.name))
                return NULL;
            break;
        }
    return status_bad_request(r->arena, "fieldSelector metadata.name doesn't match requested name");
}

/* metadata.name and metadata.namespace narrow the range; the others remain. */
static struct meta_v1_status *sort_fields(struct req *r, struct list_options *o)
{
    struct api_field_requirement *rest =
        ARENA_ARRAY(r->arena, struct api_field_requirement, o->fields.count + 1);
    struct api_field_requirement *excluded =
        ARENA_ARRAY(r->arena, struct api_field_requirement, o->fields.count + 1);
    size_t n = 0;
    for (size_t i = 0; i < o->fields.count; i++) {
        const struct api_field_requirement *f = &o->fields.items[i];
        bool name = str_eqc(f->field, "metadata.name"),
             ns = str_eqc(f->field, "metadata.namespace");
        if (!name && !ns && !known_field(r->res, f->field))
            return unknown_field(r, f->field);
        if (!name && !ns)
            rest[n++] = *f;
        else if (f->negated)
            excluded[o->excluded_count++] = *f;
        else if (name)
            require(&o->has_name, &o->name, f->value, &o->nothing);
        else
            require(&o->has_ns, &o->ns, f->value, &o->nothing);
    }
    struct meta_v1_status *s = check_name(r, o);
    if (s != NULL)
        return s;
    o->fields.items = rest;
    o->fields.count = n;
    o->excluded = excluded;
    return NULL;
}

static void check_list(struct req *r, const struct list_options *o, struct str match,
                       struct field_errors *errs)
{
    static const char *const supported[] = {"Exact", "NotOlderThan", "", NULL};
    const struct field_path *p = PATH(PATH_ROOT, "resourceVersionMatch");
    struct str version = req_query(r, "resourceVersion");
    if (match.len != 0 && version.len == 0)
        field_forbidden(errs, p,
                        "resourceVersionMatch is forbidden unless resourceVersion is provided");
    if (match.len != 0 && o->continue_.len != 0)
        field_forbidden(errs, p, "resourceVersionMatch is forbidden when continue is provided");
    if (match.len != 0 && !str_eqc(match, "Exact") && !str_eqc(match, "NotOlderThan"))
        field_not_supported(errs, p, match, supported);
    if (str_eqc(match, "Exact") && str_eqc(version, "0"))
        field_forbidden(errs, p,
                        "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    if (o->has_initial_events)
        field_forbidden(errs, PATH(PATH_ROOT, "sendInitialEvents"),
                        "sendInitialEvents is forbidden for list");
}

static void check_watch(struct req *r, const struct list_options *o, struct str match,
                        struct field_errors *errs)
{
    static const char *const supported[] = {"NotOlderThan", NULL};
    const struct field_path *p = PATH(PATH_ROOT, "resourceVersionMatch");
    struct str version = req_query(r, "resourceVersion");
    bool not_older = str_eqc(match, "NotOlderThan");
    /* Upstream sets both options for who wants everything. */
    if (!o->has_initial_events && match.len == 0 && o->continue_.len != 0 &&
        (version.len == 0 || str_eqc(version, "0")))
        field_forbidden(errs, p, "resourceVersionMatch is forbidden when continue is provided");
    if (o->has_initial_events && !not_older)
        field_forbidden(errs, p,
                        "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    if (match.len == 0)
        return;
    if (!o->has_initial_events)
        field_forbidden(
            errs, p,
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    if (!not_older)
        field_not_supported(errs, p, match, supported);
    if (o->continue_.len != 0)
        field_forbidden(errs, p, "resourceVersionMatch is forbidden when continue is provided");
}

static struct meta_v1_status *parse_version(struct req *r, bool watch, struct list_options *o)
{
    struct str v = req_query(r, "resourceVersion");
    uint64_t n;
    if (v.len == 0)
        return NULL;
    o->has_rv = true;
    if (str_to_u64(v, &n) && n <= INT64_MAX) {
        o->rv = (int64_t)n;
        return NULL;
    }
    struct str why = arena_printf(r->arena,
                                  "resourceVersion: Invalid value: \"" STR_FMT
                                  "\": strconv.ParseUint: parsing \"" STR_FMT "\": invalid syntax",
                                  STR_ARG(v), STR_ARG(v));
    return watch ? status_plain(r->arena, STR_FMT, STR_ARG(why))
                 : status_bad_request(r->arena, "invalid resource version: " STR_FMT, STR_ARG(why));
}

struct meta_v1_status *list_options_parse(struct req *r, bool watch, struct list_options *ret)
{
    struct list_options o = {0};
    struct error err = {0};
    bool has;
    struct meta_v1_status *s = req_query_i64(r, "timeoutSeconds", &has, &o.timeout_s);
    if (s == NULL)
        s = req_query_i64(r, "limit", &has, &o.limit);
    if (s != NULL)
        return s;
    if (api_label_selector_parse(r->arena, req_query(r, "labelSelector"), &o.labels, &err) != 0 ||
        api_field_selector_parse(r->arena, req_query(r, "fieldSelector"), &o.fields, &err) != 0)
        return status_bad_request(r->arena, "%s", error_message(&err));
    o.field_selector = o.fields.count != 0;
    o.continue_ = req_query(r, "continue");
    o.bookmarks = req_query_bool(r, "allowWatchBookmarks");
    o.has_initial_events = req_query_has(r, "sendInitialEvents");
    o.initial_events = o.has_initial_events && req_query_bool(r, "sendInitialEvents");
    struct str match = req_query(r, "resourceVersionMatch");
    o.match = str_eqc(match, "Exact")          ? MATCH_EXACT
              : str_eqc(match, "NotOlderThan") ? MATCH_NOT_OLDER
                                               : MATCH_UNSET;
    struct field_errors errs = {.arena = r->arena};
    if (watch && req_query_bool(r, "watch")) /* The old watch path is judged as a list. */
        check_watch(r, &o, match, &errs);
    else
        check_list(r, &o, match, &errs);
    if (errs.count != 0)
        return status_invalid(r->arena, "meta.k8s.io", "ListOptions", STR(""), &errs);
    s = sort_fields(r, &o);
    if (s == NULL)
        s = parse_version(r, watch, &o);
    if (s != NULL)
        return s;
    /* The old watch path names one object. */
    if (r->info.name.len != 0)
        require(&o.has_name, &o.name, r->info.name, &o.nothing);
    if (r->info.ns.len != 0 && r->res->kind->namespaced)
        require(&o.has_ns, &o.ns, r->info.ns, &o.nothing);
    *ret = o;
    return NULL;
}

static const struct kind_field *field_of(const struct kind_ops *ops, struct str label)
{
    for (const struct kind_field *f = ops->fields; f->label != NULL; f++)
        if (str_eqc(label, f->label))
            return f;
    return NULL;
}

static struct str stored_field(const struct kind_field *f, struct str raw)
{
    for (size_t i = 0; i < ARRAY_SIZE(f->wire) && f->wire[i] != 0; i++)
        raw = wire_bytes(raw, f->wire[i]);
    return raw;
}

static bool fields_match(const struct list_options *o, struct arena *scratch,
                         const struct resource *res, struct str value)
{
    void *msg = NULL;
    struct str raw = STR_NULL;
    bool readable = res->custom == NULL && stored_raw(value, &raw, NULL) == 0;
    for (size_t i = 0; i < o->fields.count; i++) {
        const struct api_field_requirement *q = &o->fields.items[i];
        const struct kind_field *f = field_of(res->ops, q->field);
        struct str have;
        if (f == NULL)
            continue;
        if (readable && f->wire[0] != 0) {
            have = stored_field(f, raw);
        } else {
            if (msg == NULL &&
                stored_decode(scratch, registry_worked_on(res), value, 0, &msg, NULL) != 0)
                return false;
            have = f->get != NULL ? f->get(scratch, msg) : custom_field(scratch, f->path, msg);
        }
        if (str_eq(have, q->value) == q->negated)
            return false;
    }
    return true;
}

bool list_options_match(const struct list_options *o, struct arena *scratch,
                        const struct resource *res, struct str value, struct str ns,
                        struct str name)
{
    struct str raw;
    if (o->nothing || (o->has_name && !str_eq(o->name, name)) ||
        (o->has_ns && res->kind->namespaced && !str_eq(o->ns, ns)))
        return false;
    for (size_t i = 0; i < o->excluded_count; i++)
        if (str_eq(o->excluded[i].value,
                   str_eqc(o->excluded[i].field, "metadata.name") ? name : ns))
            return false;
    if (res->custom != NULL) {
        if (o->labels.count != 0 && !custom_labels_match(&o->labels, res, value))
            return false;
    } else if (o->labels.count != 0 &&
               (stored_raw(value, &raw, NULL) != 0 || !selector_matches_stored(&o->labels, raw))) {
        return false;
    }
    return o->fields.count == 0 || fields_match(o, scratch, res, value);
}

void list_options_range(struct arena *a, const struct list_options *o, const struct resource *res,
                        struct str ns, struct str *ret_from, struct str *ret_end)
{
    struct str from = res->prefix;
    UNUSED(ns);
    if (res->kind->namespaced && o->has_ns)
        from = arena_printf(a, STR_FMT STR_FMT "/", STR_ARG(res->prefix), STR_ARG(o->ns));
    if (o->has_name && (!res->kind->namespaced || o->has_ns)) {
        *ret_from = arena_printf(a, STR_FMT STR_FMT, STR_ARG(from), STR_ARG(o->name));
        *ret_end = str_n(ret_from->data, ret_from->len + 1); /* Its NUL: the next possible key. */
        return;
    }
    *ret_from = from;
    /* '0' is the character behind '/'. */
    *ret_end = arena_printf(a, STR_FMT "0", STR_ARG(str_sub(from, 0, from.len - 1)));
}
