/* json_encode.c - structs to JSON text, as Go's encoder writes the same types. */
#include "lib/api/codec.h"

#include "api/apiextensions_v1.h"
#include "api/intstr.h"
#include "api/meta_v1.h"
#include "api/resource.h"
#include "api/runtime.h"
#include "lib/api/custom.h"
#include "lib/api/json.h"
#include "lib/api/json_text.h"
#include "lib/api/json_write.h"
#include "lib/api/time.h"
#include "lib/api/walk.h"
#include "lib/base/buf.h"

static void encode_message(const struct api_msg *m, const void *base, unsigned depth,
                           struct buf *out);

static void encode_members(const struct api_msg *m, const void *msg, bool first, unsigned depth,
                           struct buf *out);

static void put_null(struct buf *out)
{
    buf_append(out, "null", 4);
}

static void encode_value(const struct api_field *f, const void *at, unsigned depth, struct buf *out)
{
    switch ((enum api_type)f->type) {
    case API_BOOL:
        if (*(const bool *)at)
            buf_append(out, "true", 4);
        else
            buf_append(out, "false", 5);
        return;
    case API_INT32:
        json_put_int(*(const int32_t *)at, out);
        return;
    case API_INT64:
        json_put_int(*(const int64_t *)at, out);
        return;
    case API_DOUBLE:
        json_put_double(*(const double *)at, out);
        return;
    case API_STRING:
        json_write_string(*(const struct str *)at, out);
        return;
    case API_BYTES:
        json_text_bytes(*(const struct str *)at, out);
        return;
    case API_MESSAGE:
        if ((f->flags & API_F_TYPED) != 0) {
            json_text_open_typed(f->msg, out);
            encode_members(f->msg, at, false, depth + 1, out);
        } else {
            encode_message(f->msg, at, depth + 1, out);
        }
        return;
    }
}

static void encode_list(const struct api_field *f, const void *base, unsigned depth,
                        struct buf *out)
{
    const char *items = field_items(base, f);
    size_t n = field_count(base, f);
    if (items == NULL) {
        put_null(out);
        return;
    }
    buf_putc(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_putc(out, ',');
        encode_value(f, items + i * f->elem_size, depth, out);
    }
    buf_putc(out, ']');
}

static void encode_map(const struct api_field *f, const void *base, unsigned depth, struct buf *out)
{
    const char *entry = field_items(base, f);
    size_t n = field_count(base, f);
    if (entry == NULL) {
        put_null(out);
        return;
    }
    buf_putc(out, '{');
    for (size_t i = 0; i < n; i++, entry += f->elem_size) {
        if (i > 0)
            buf_putc(out, ',');
        json_write_string(*(const struct str *)(const void *)entry, out);
        buf_putc(out, ':');
        encode_value(f, entry + f->entry_value_offset, depth, out);
    }
    buf_putc(out, '}');
}

/* What omitempty leaves out. */
static bool is_empty(const struct api_field *f, const void *base)
{
    if (f->label != API_SINGULAR)
        return field_count(base, f) == 0;
    if (field_is_message_pointer(f))
        return field_items(base, f) == NULL;
    if (field_is_scalar_pointer(f))
        return !field_has(base, f);
    return field_scalar_empty(f, field_at_const(base, f));
}

static void encode_field(const struct api_field *f, const void *base, unsigned depth,
                         struct buf *out)
{
    if (f->label == API_REPEATED) {
        encode_list(f, base, depth, out);
    } else if (f->label == API_MAP) {
        encode_map(f, base, depth, out);
    } else if (field_is_message_pointer(f)) {
        const void *p = field_items(base, f);
        if (p == NULL)
            put_null(out);
        else
            encode_message(f->msg, p, depth + 1, out);
    } else if (field_is_scalar_pointer(f) && !field_has(base, f)) {
        put_null(out);
    } else {
        encode_value(f, field_at_const(base, f), depth, out);
    }
}

static void encode_members(const struct api_msg *m, const void *msg, bool first, unsigned depth,
                           struct buf *out)
{
    for (size_t i = 0; i < m->json_count; i++) {
        const struct api_field *f = m->json[i].field;
        const void *base = (const char *)msg + m->json[i].base;
        if ((f->flags & API_F_OMITEMPTY) != 0 && is_empty(f, base))
            continue;
        if ((f->flags & API_F_OMITZERO) != 0 && f->type == API_MESSAGE &&
            f->label == API_SINGULAR && api_msg_is_zero(f->msg, field_at_const(base, f)))
            continue;
        json_text_name(f->json_name, f->json_len, &first, out);
        encode_field(f, base, depth, out);
    }
    buf_putc(out, '}');
}

static void encode_schema(const struct apiextensions_v1_json_schema_props *s, unsigned depth,
                          struct buf *out)
{
    if (s == NULL)
        put_null(out);
    else
        encode_message(&apiextensions_v1_json_schema_props_msg, s, depth + 1, out);
}

static void encode_strings(const struct str *items, size_t n, struct buf *out)
{
    if (items == NULL) {
        put_null(out);
        return;
    }
    buf_putc(out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_putc(out, ',');
        json_write_string(items[i], out);
    }
    buf_putc(out, ']');
}

static void encode_schema_list(const struct apiextensions_v1_json_schema_props_or_array *x,
                               unsigned depth, struct buf *out)
{
    if (x->json_schemas_count == 0) {
        encode_schema(x->schema, depth, out);
        return;
    }
    buf_putc(out, '[');
    for (size_t i = 0; i < x->json_schemas_count; i++) {
        if (i > 0)
            buf_putc(out, ',');
        encode_schema(&x->json_schemas[i], depth, out);
    }
    buf_putc(out, ']');
}

/* Metadata, and the other members by name. */
static void encode_custom(const struct api_custom *x, bool first, unsigned depth, struct buf *out)
{
    json_text_name("metadata", 8, &first, out);
    encode_message(&meta_v1_object_meta_msg, &x->metadata, depth + 1, out);
    if (x->content->object.count == 0) {
        buf_putc(out, '}');
        return;
    }
    size_t at = out->len;
    json_write(x->content, true, out);
    out->data[at] = ','; /* In place of the brace that opens it. */
}

/* True when the message has a form of its own and was written. */
static bool encode_special(const struct api_msg *m, const void *base, unsigned depth,
                           struct buf *out)
{
    switch ((enum api_special)m->special) {
    case API_PLAIN:
        return false;
    case API_TIME:
        json_text_time(base, out);
        return true;
    case API_MICRO_TIME:
        json_text_micro_time(base, out);
        return true;
    case API_DURATION:
        json_text_duration(((const struct meta_v1_duration *)base)->duration, out);
        return true;
    case API_QUANTITY:
        json_text_quantity(((const struct resource_quantity *)base)->string, out);
        return true;
    case API_INT_OR_STRING: {
        const struct intstr_int_or_string *x = base;
        json_text_int_or_string(x->type, x->int_val, x->str_val, out);
        return true;
    }
    case API_FIELDS_V1:
        json_text_raw(((const struct meta_v1_fields_v1 *)base)->raw, JSON_RAW_ONLY, out);
        return true;
    case API_RAW_EXTENSION:
        json_text_raw(((const struct runtime_raw_extension *)base)->raw, depth, out);
        return true;
    case API_UNKNOWN:
        json_text_raw(((const struct runtime_unknown *)base)->raw, depth, out);
        return true;
    case API_JSON:
        json_text_raw(((const struct apiextensions_v1_json *)base)->raw, JSON_RAW_ONLY, out);
        return true;
    case API_SCHEMA_OR_BOOL: {
        const struct apiextensions_v1_json_schema_props_or_bool *x = base;
        if (x->schema != NULL)
            encode_schema(x->schema, depth, out);
        else
            buf_puts(out, x->allows ? "true" : "false");
        return true;
    }
    case API_SCHEMA_OR_ARRAY:
        encode_schema_list(base, depth, out);
        return true;
    case API_SCHEMA_OR_STRING_ARRAY: {
        const struct apiextensions_v1_json_schema_props_or_string_array *x = base;
        if (x->property_count > 0)
            encode_strings(x->property, x->property_count, out);
        else
            encode_schema(x->schema, depth, out);
        return true;
    }
    case API_STRING_LIST: {
        /* One field, items. */
        const struct api_field *f = &m->fields[0];
        encode_strings(field_items(base, f), field_count(base, f), out);
        return true;
    }
    case API_GROUP_VERSION: {
        const struct meta_v1_group_version *x = base;
        buf_putc(out, '"');
        json_put_escaped(x->group, out);
        if (x->group.len > 0)
            buf_putc(out, '/');
        json_put_escaped(x->version, out);
        buf_putc(out, '"');
        return true;
    }
    case API_CUSTOM:
        buf_putc(out, '{');
        encode_custom(base, true, depth, out);
        return true;
    }
    return false;
}

static void encode_message(const struct api_msg *m, const void *base, unsigned depth,
                           struct buf *out)
{
    if (encode_special(m, base, depth, out))
        return;
    buf_putc(out, '{');
    encode_members(m, base, true, depth, out);
}

void api_json_encode(const struct api_msg *m, const void *msg, struct str api_version,
                     struct str kind, struct buf *out)
{
    if (m->special == API_CUSTOM) {
        bool named = json_text_open(api_version, kind, out);
        encode_custom(msg, !named, 0, out);
        return;
    }
    if (encode_special(m, msg, 0, out))
        return;
    bool some = json_text_open(api_version, kind, out);
    encode_members(m, msg, !some, 0, out);
}

struct json *api_json_tree(struct arena *a, const struct api_msg *m, const void *msg,
                           struct str api_version, struct str kind)
{
    AUTO_BUF text = BUF_INIT;
    api_json_encode(m, msg, api_version, kind, &text);
    return json_parse_own(a, buf_str(&text));
}
