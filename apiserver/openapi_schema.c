/* openapi_schema.c - the definition of one message, from its table.
 *
 * Members stand in the order of names, as upstream's do. The two versions
 * differ: v3 states defaults, and a reference that has something beside it is
 * wrapped in allOf, since a $ref's neighbours do not count there. */
#include "apiserver/openapi_defs.h"

#include "api/meta_v1.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <stdio.h>

/* An object being written. */
struct object {
    struct buf *out;
    bool any;
};

static struct object object_open(struct buf *out)
{
    buf_putc(out, '{');
    return (struct object){out, false};
}
static void object_key(struct object *o, const char *key)
{
    buf_printf(o->out, "%s\"%s\":", o->any ? "," : "", key);
    o->any = true;
}
static void object_raw(struct object *o, const char *key, const char *json)
{
    object_key(o, key);
    buf_puts(o->out, json);
}
static void object_text(struct object *o, const char *key, const char *text)
{
    object_key(o, key);
    json_write_string(str_of(text), o->out);
}
static void object_close(struct object *o)
{
    buf_putc(o->out, '}');
}

/* A separated list as an array of strings. */
static void put_strings(struct buf *out, const char *list, char separator)
{
    struct str rest = str_of(list), part;
    bool more = true, first = true;
    buf_putc(out, '[');
    while (more) {
        more = str_cut(rest, separator, &part, &rest);
        buf_puts(out, first ? "" : ",");
        json_write_string(part, out);
        first = false;
    }
    buf_putc(out, ']');
}

/* --- the type of one value ------------------------------------------------------------------- */
static const char *type_of(const struct api_field *f)
{
    switch ((enum api_type)f->type) {
    case API_BOOL:
        return "boolean";
    case API_INT32:
    case API_INT64:
        return "integer";
    case API_DOUBLE:
        return "number";
    case API_STRING:
    case API_BYTES:
        return "string";
    case API_MESSAGE:
        break;
    }
    PANIC("%s has no simple type", f->name);
}

static const char *format_of(const struct api_field *f)
{
    switch ((enum api_type)f->type) {
    case API_INT32:
        return "int32";
    case API_INT64:
        return "int64";
    case API_DOUBLE:
        return "double";
    case API_BYTES:
        return "byte";
    case API_STRING:
        return f->format;
    default:
        return NULL;
    }
}

/* What Go's zero value is in JSON; NULL where upstream states no default:
 * types with JSON forms of their own, slices, maps. */
static const char *zero_of(const struct api_field *f)
{
    switch ((enum api_type)f->type) {
    case API_BOOL:
        return "false";
    case API_INT32:
    case API_INT64:
    case API_DOUBLE:
        return "0";
    case API_STRING:
        return "\"\"";
    case API_MESSAGE:
        return f->msg->special == API_PLAIN ? "{}" : NULL;
    case API_BYTES:
        break;
    }
    return NULL;
}

static const char *default_of(const struct openapi_defs *d, const struct api_field *f)
{
    if (d->version == OPENAPI_V2)
        return NULL;
    if (f->default_json != NULL)
        return f->default_json;
    if ((f->flags & API_F_POINTER) != 0 || f->label != API_SINGULAR)
        return NULL;
    if (f->type != API_MESSAGE && (f->flags & API_F_OMITEMPTY) != 0)
        return NULL;
    return zero_of(f);
}

static void put_ref(struct object *o, const struct openapi_defs *d, struct str name)
{
    object_key(o, "$ref");
    buf_printf(o->out, "\"%s" STR_FMT "\"", openapi_ref_prefix(d->version), STR_ARG(name));
}

/* A reference that members follow. */
static void put_ref_first(struct object *o, const struct openapi_defs *d, struct str name)
{
    if (d->version == OPENAPI_V2) {
        put_ref(o, d, name);
        return;
    }
    object_key(o, "allOf");
    buf_putc(o->out, '[');
    struct object inner = object_open(o->out);
    put_ref(&inner, d, name);
    object_close(&inner);
    buf_putc(o->out, ']');
}

/* A message that is a bare list of strings. */
static void put_string_list(struct object *o, const struct openapi_defs *d)
{
    object_raw(o, "items",
               d->version == OPENAPI_V3 ? "{\"default\":\"\",\"type\":\"string\"}"
                                        : "{\"type\":\"string\"}");
    object_text(o, "type", "array");
}

static bool is_string_list(const struct api_field *f)
{
    return f->type == API_MESSAGE && f->msg->special == API_STRING_LIST;
}

/* Type, format and values of what is no message. */
static void put_simple(struct object *o, const struct api_field *f)
{
    /* The values of meta/v1's Condition.status are stated for custom resources alone. */
    bool hidden = f == api_field_by_json(&meta_v1_condition_msg, STR("status"));
    if (f->enum_values != NULL && !hidden) {
        object_key(o, "enum");
        put_strings(o->out, f->enum_values, '|');
    }
    if (format_of(f) != NULL)
        object_text(o, "format", format_of(f));
    object_text(o, "type", type_of(f));
}

/* An element of a list or a value of a map. */
static void put_element(struct openapi_defs *d, const struct api_field *f, struct buf *out)
{
    struct object o = object_open(out);
    const char *zero = d->version == OPENAPI_V3 ? zero_of(f) : NULL;
    if (is_string_list(f)) {
        put_string_list(&o, d);
    } else if (f->type == API_MESSAGE) {
        struct str name = openapi_defs_message(d, f->msg);
        if (zero == NULL)
            put_ref(&o, d, name);
        else
            put_ref_first(&o, d, name);
        if (zero != NULL)
            object_raw(&o, "default", zero);
    } else {
        if (zero != NULL)
            object_raw(&o, "default", zero);
        put_simple(&o, f);
    }
    object_close(&o);
}

/* --- members --------------------------------------------------------------------------------- */
/* Of a reference: lists and maps have theirs beside a type. */
static bool has_extensions(const struct api_field *f)
{
    return (f->flags & (API_F_MAP_GRANULAR | API_F_PATCH_MERGE | API_F_PATCH_RETAIN_KEYS |
                        API_F_PATCH_REPLACE)) != 0 ||
           ((f->flags & API_F_MAP_ATOMIC) != 0 && f->msg->struct_atomic == 0);
}

static void put_extensions(struct object *o, const struct api_field *f)
{
    if (f->list_map_keys != NULL) {
        object_key(o, "x-kubernetes-list-map-keys");
        put_strings(o->out, f->list_map_keys, ',');
    }
    const char *list = (f->flags & API_F_LIST_MAP) != 0      ? "map"
                       : (f->flags & API_F_LIST_SET) != 0    ? "set"
                       : (f->flags & API_F_LIST_ATOMIC) != 0 ? "atomic"
                                                             : NULL;
    if (list != NULL)
        object_text(o, "x-kubernetes-list-type", list);
    /* A struct that is a unit by itself says so in its own definition. */
    bool own = f->msg == NULL || f->msg->struct_atomic == 0 || f->label != API_SINGULAR;
    if (own && (f->flags & API_F_MAP_ATOMIC) != 0)
        object_text(o, "x-kubernetes-map-type", "atomic");
    else if ((f->flags & API_F_MAP_GRANULAR) != 0)
        object_text(o, "x-kubernetes-map-type", "granular");
    if (f->patch_merge_key != NULL)
        object_text(o, "x-kubernetes-patch-merge-key", f->patch_merge_key);
    const uint32_t patch =
        f->flags & (API_F_PATCH_MERGE | API_F_PATCH_RETAIN_KEYS | API_F_PATCH_REPLACE);
    if (patch == (API_F_PATCH_MERGE | API_F_PATCH_RETAIN_KEYS))
        object_text(o, "x-kubernetes-patch-strategy", "merge,retainKeys");
    else if (patch != 0)
        object_text(o, "x-kubernetes-patch-strategy",
                    patch == API_F_PATCH_MERGE         ? "merge"
                    : patch == API_F_PATCH_RETAIN_KEYS ? "retainKeys"
                                                       : "replace");
}

/* Descriptions that hold for every kind. */
static const char *description_of(const struct api_field *f)
{
    const char *text = api_description(f->description);
    if (text == NULL && f->msg != NULL && f->label == API_SINGULAR) {
        if (strcmp(f->msg->name, "ObjectMeta") == 0)
            text = OPENAPI_METADATA_TEXT;
        else if (strcmp(f->msg->name, "ListMeta") == 0)
            text = OPENAPI_LIST_METADATA_TEXT;
    }
    return text;
}

static void put_member(struct openapi_defs *d, const struct api_field *f, struct buf *out)
{
    struct object o = object_open(out);
    const char *text = description_of(f), *fallback = default_of(d, f);
    bool ref = f->type == API_MESSAGE && f->label == API_SINGULAR && !is_string_list(f);
    if (f->label == API_MAP) {
        object_key(&o, "additionalProperties");
        put_element(d, f, out);
    }
    if (ref) {
        struct str name = openapi_defs_message(d, f->msg);
        if (text == NULL && fallback == NULL && !has_extensions(f))
            put_ref(&o, d, name);
        else
            put_ref_first(&o, d, name);
    }
    if (fallback != NULL)
        object_raw(&o, "default", fallback);
    if (text != NULL)
        object_text(&o, "description", text);
    if (f->label == API_SINGULAR && f->type != API_MESSAGE) {
        put_simple(&o, f);
    } else if (f->label == API_SINGULAR && is_string_list(f)) {
        put_string_list(&o, d);
    } else if (f->label == API_REPEATED) {
        object_key(&o, "items");
        put_element(d, f, out);
        object_text(&o, "type", "array");
    } else if (f->label == API_MAP)
        object_text(&o, "type", "object");
    put_extensions(&o, f);
    object_close(&o);
}

static void put_type_meta(struct object *o, const char *key, const char *text)
{
    object_key(o, key);
    struct object inner = object_open(o->out);
    object_text(&inner, "description", text);
    object_text(&inner, "type", "string");
    object_close(&inner);
}

static void put_properties(struct openapi_defs *d, const struct api_msg *m, struct object *o)
{
    bool typed = m->is_kind != 0 && m->shape != API_SHAPE_NO_TYPEMETA;
    bool api_version = typed, kind = typed; /* Still to be written. */
    if (m->json_count == 0 && !typed)
        return;
    object_key(o, "properties");
    struct object members = object_open(o->out);
    for (size_t i = 0; i <= m->json_count; i++) {
        const struct api_field *f = i < m->json_count ? m->json[m->json_by_name[i]].field : NULL;
        if (api_version && (f == NULL || strcmp(f->json_name, "apiVersion") > 0)) {
            put_type_meta(&members, "apiVersion", OPENAPI_API_VERSION_TEXT);
            api_version = false;
        }
        if (kind && (f == NULL || strcmp(f->json_name, "kind") > 0)) {
            put_type_meta(&members, "kind", OPENAPI_KIND_TEXT);
            kind = false;
        }
        if (f == NULL)
            break;
        object_key(&members, f->json_name);
        put_member(d, f, o->out);
    }
    object_close(&members);
}

static void put_required(const struct api_msg *m, struct object *o)
{
    bool any = false;
    for (size_t i = 0; i < m->json_count; i++) {
        const struct api_field *f = m->json[i].field;
        if ((f->flags & API_F_REQUIRED) == 0)
            continue;
        if (!any)
            object_key(o, "required");
        buf_printf(o->out, "%s\"%s\"", any ? "," : "[", f->json_name);
        any = true;
    }
    if (any)
        buf_putc(o->out, ']');
}

/* --- the message ----------------------------------------------------------------------------- */
static int by_group_version(const void *x, const void *y)
{
    const struct api_kind *a = *(const struct api_kind *const *)x,
                          *b = *(const struct api_kind *const *)y;
    int c = strcmp(a->group, b->group);
    return c != 0 ? c : strcmp(a->version, b->version);
}

static void put_gvk(struct buf *out, bool *any, const char *group, const char *kind,
                    const char *version)
{
    buf_printf(out, "%s{\"group\":\"%s\",\"kind\":\"%s\",\"version\":\"%s\"}", *any ? "," : "[",
               group, kind, version);
    *any = true;
}

/* Kinds of ours alone are custom resources to the server. */
static bool is_upstream(const struct api_kind *k)
{
    return strncmp(k->msg->full_name, "k8s.io.", 7) == 0;
}

/* The kinds of meta/v1 are part of every group version. */
static void put_every_group(const struct openapi_defs *d, const struct api_msg *m, struct buf *out)
{
    size_t count;
    bool any = false;
    const struct api_kind *const *kinds = api_kinds(&count);
    const struct api_kind **sorted = ARENA_ARRAY(d->arena, const struct api_kind *, count);
    memcpy(sorted, kinds, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), by_group_version);
    for (size_t i = 0; i < count; i++)
        if ((i == 0 || by_group_version(&sorted[i - 1], &sorted[i]) != 0) &&
            strcmp(sorted[i]->group, m->group) != 0 && is_upstream(sorted[i]))
            put_gvk(out, &any, sorted[i]->group, m->name, sorted[i]->version);
}

static void put_message_extensions(const struct openapi_defs *d, const struct api_msg *m,
                                   struct object *o)
{
    bool any = false;
    if (m->is_kind != 0) {
        object_key(o, "x-kubernetes-group-version-kind");
        if (strcmp(m->group, "meta.k8s.io") == 0)
            put_every_group(d, m, o->out);
        else
            put_gvk(o->out, &any, m->group, m->name, m->version);
        buf_putc(o->out, ']');
    }
    if (m->struct_atomic != 0)
        object_text(o, "x-kubernetes-map-type", "atomic");
    if (m->union_by == NULL)
        return;
    object_key(o, "x-kubernetes-unions");
    buf_putc(o->out, '[');
    struct object u = object_open(o->out);
    if (m->union_by[0] != '\0')
        object_text(&u, "discriminator", m->union_by);
    object_key(&u, "fields-to-discriminateBy");
    struct object fields = object_open(o->out);
    for (size_t i = 0; i < m->json_count; i++) {
        const char *name = m->json[m->json_by_name[i]].field->json_name;
        if (strcmp(name, m->union_by) == 0)
            continue;
        object_key(&fields, name);
        buf_printf(o->out, "\"%c%s\"", name[0] - 'a' + 'A', name + 1);
    }
    object_close(&fields);
    object_close(&u);
    buf_putc(o->out, ']');
}

/* The messages whose JSON is no object of their fields. */
static void put_special(const struct openapi_defs *d, const struct api_msg *m, struct object *o)
{
    bool v3 = d->version == OPENAPI_V3;
    switch ((enum api_special)m->special) {
    case API_TIME:
    case API_MICRO_TIME:
        object_text(o, "format", "date-time");
        object_text(o, "type", "string");
        break;
    case API_DURATION:
    case API_GROUP_VERSION:
        object_text(o, "type", "string");
        break;
    case API_QUANTITY:
        if (v3)
            object_raw(o, "oneOf", "[{\"type\":\"string\"},{\"type\":\"number\"}]");
        else
            object_text(o, "type", "string");
        break;
    case API_INT_OR_STRING:
        object_text(o, "format", "int-or-string");
        if (v3)
            object_raw(o, "oneOf", "[{\"type\":\"integer\"},{\"type\":\"string\"}]");
        else
            object_text(o, "type", "string");
        break;
    case API_FIELDS_V1:
    case API_RAW_EXTENSION:
    case API_UNKNOWN:
        object_text(o, "type", "object");
        break;
    default: /* Any JSON at all. */
        break;
    }
}

void openapi_schema_message(struct openapi_defs *d, const struct api_msg *m, struct buf *out)
{
    struct object o = object_open(out);
    const char *text = api_description(m->description);
    size_t len = strlen(m->name);
    if (text != NULL)
        object_text(&o, "description", text);
    else if (m->shape == API_SHAPE_LIST && len > 4) {
        char list[128];
        snprintf(list, sizeof(list), "A list of %.*s objects.", (int)(len - 4), m->name);
        object_text(&o, "description", list);
    }
    if (m->special != API_PLAIN) {
        put_special(d, m, &o);
    } else {
        put_properties(d, m, &o);
        put_required(m, &o);
        object_text(&o, "type", "object");
        put_message_extensions(d, m, &o);
    }
    object_close(&o);
}
