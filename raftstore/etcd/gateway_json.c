/* gateway_json.c - see gateway_json.h. Depth is bounded by the JSON reader, and for
 * writing by what our own services answer. */
#include "raftstore/etcd/gateway_json.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/error.h"
#include "raftstore/etcd/json.h"

#include <inttypes.h>

/* --- writing --- */

static size_t type_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return 4;
    }
}

/* Numbers of 64 bits are strings: JavaScript's are not wide enough. */
static void write_value(const ProtobufCFieldDescriptor *f, const void *at, struct buf *out)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        buf_printf(out, "\"%" PRId64 "\"", *(const int64_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        buf_printf(out, "\"%" PRIu64 "\"", *(const uint64_t *)at);
        break;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        buf_printf(out, "%" PRId32, *(const int32_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        buf_printf(out, "%" PRIu32, *(const uint32_t *)at);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        buf_puts(out, *(const protobuf_c_boolean *)at ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM: {
        int number = *(const int *)at;
        const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(f->descriptor, number);
        if (v != NULL)
            buf_printf(out, "\"%s\"", v->name);
        else
            buf_printf(out, "%d", number);
        break;
    }
    case PROTOBUF_C_TYPE_STRING:
        json_put_string(out, str_of(*(char *const *)at));
        break;
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *b = at;
        buf_putc(out, '"');
        base64_encode(BASE64_STD, b->data, b->len, out);
        buf_putc(out, '"');
        break;
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        gateway_write(*(ProtobufCMessage *const *)at, out);
        break;
    default: /* etcd's messages have no floating point numbers. */
        buf_puts(out, "null");
        break;
    }
}

static bool is_default(const ProtobufCFieldDescriptor *f, const void *at)
{
    static const char zero[8];
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        return *(char *const *)at == NULL || **(char *const *)at == '\0';
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)at)->len == 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(void *const *)at == NULL;
    default:
        return memcmp(at, zero, type_size(f->type)) == 0;
    }
}

static bool is_shown(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, const void *at)
{
    const char *base = (const char *)m;
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)(const void *)(base + f->quantifier_offset) > 0;
    if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
        return *(const uint32_t *)(const void *)(base + f->quantifier_offset) == f->id;
    return !is_default(f, at);
}

void gateway_write(const ProtobufCMessage *m, struct buf *out)
{
    const ProtobufCMessageDescriptor *d = m->descriptor;
    bool first = true;
    buf_putc(out, '{');
    for (unsigned i = 0; i < d->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &d->fields[i];
        const char *at = (const char *)m + f->offset;
        if (!is_shown(m, f, at))
            continue;
        buf_printf(out, first ? "\"%s\":" : ",\"%s\":", f->name);
        first = false;
        if (f->label != PROTOBUF_C_LABEL_REPEATED) {
            write_value(f, at, out);
            continue;
        }
        size_t count = *(const size_t *)(const void *)((const char *)m + f->quantifier_offset);
        const char *items = *(char *const *)(const void *)at;
        for (size_t k = 0; k < count; k++) {
            buf_putc(out, k == 0 ? '[' : ',');
            write_value(f, items + k * type_size(f->type), out);
        }
        buf_putc(out, ']');
    }
    buf_putc(out, '}');
}

/* --- reading --- */

/* "create_request" as it is, or as "createRequest". */
static bool name_fits(const char *field, struct str given)
{
    if (str_eqc(given, field))
        return true;
    size_t i = 0;
    for (const char *p = field; *p != '\0'; p++, i++) {
        char c = *p;
        if (c == '_' && p[1] != '\0') {
            c = *++p;
            if (c >= 'a' && c <= 'z')
                c = (char)(c - 'a' + 'A');
        }
        if (i >= given.len || given.data[i] != c)
            return false;
    }
    return i == given.len;
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *d,
                                                  struct str name)
{
    for (unsigned i = 0; i < d->n_fields; i++) {
        if (name_fits(d->fields[i].name, name))
            return &d->fields[i];
    }
    return NULL;
}

static int bad(const ProtobufCFieldDescriptor *f, const char *want, struct error *err)
{
    return error_set(err, E_INVALID, "field %s must be %s", f->name, want);
}

static int read_bytes(struct arena *a, const ProtobufCFieldDescriptor *f,
                      const struct json_value *v, ProtobufCBinaryData *ret, struct error *err)
{
    static const enum base64_form forms[] = {BASE64_STD, BASE64_URL, BASE64_RAW_STD,
                                             BASE64_RAW_URL};
    AUTO_BUF b = BUF_INIT;
    if (v->type != JSON_STRING)
        return bad(f, "bytes in base64", err);
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        if (base64_decode(forms[i], v->text, &b) == 0) {
            *ret = (ProtobufCBinaryData){b.len, b.len > 0 ? arena_memdup(a, b.data, b.len) : NULL};
            return 0;
        }
    }
    return bad(f, "bytes in base64", err);
}

/* As Go calls the type: "etcdserverpb.RangeRequest_SortOrder". */
static int unknown_value(const ProtobufCEnumDescriptor *d, struct str value, struct error *err)
{
    AUTO_BUF name = BUF_INIT;
    size_t package = strlen(d->package_name);
    for (const char *p = d->name; *p != '\0'; p++)
        buf_putc(&name, *p == '.' && (size_t)(p - d->name) > package ? '_' : *p);
    return error_set(err, E_INVALID, "unknown value \"" STR_FMT "\" for enum " STR_FMT,
                     STR_ARG(value), STR_ARG(buf_str(&name)));
}

static int read_enum(const ProtobufCFieldDescriptor *f, const struct json_value *v, int *ret,
                     struct error *err)
{
    const ProtobufCEnumDescriptor *d = f->descriptor;
    int64_t number;
    if (v->type == JSON_STRING) {
        const ProtobufCEnumValue *e =
            protobuf_c_enum_descriptor_get_value_by_name(d, str_c(v->text));
        if (e == NULL)
            return unknown_value(d, v->text, err);
        *ret = e->value;
        return 0;
    }
    if (v->type != JSON_NUMBER || !json_to_i64(v->text, &number) || number < INT32_MIN ||
        number > INT32_MAX)
        return bad(f, "the name or the number of a value", err);
    *ret = (int)number;
    return 0;
}

/* Signed numbers, and unsigned ones below 2^63. */
static bool read_integer(const struct json_value *v, int64_t *ret)
{
    return (v->type == JSON_NUMBER || v->type == JSON_STRING) && json_to_i64(v->text, ret);
}

static int read_number(const ProtobufCFieldDescriptor *f, const struct json_value *v, void *at,
                       struct error *err)
{
    int64_t n = 0;
    uint64_t u;
    bool good = read_integer(v, &n);
    switch (f->type) {
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        if (!good && (v->type == JSON_NUMBER || v->type == JSON_STRING) &&
            str_to_u64(v->text, &u)) {
            *(uint64_t *)at = u;
            return 0;
        }
        if (!good || n < 0)
            return bad(f, "a number from 0 to 2^64 - 1", err);
        *(uint64_t *)at = (uint64_t)n;
        return 0;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        if (!good || n < 0 || n > UINT32_MAX)
            return bad(f, "a number from 0 to 2^32 - 1", err);
        *(uint32_t *)at = (uint32_t)n;
        return 0;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        if (!good || n < INT32_MIN || n > INT32_MAX)
            return bad(f, "a number of 32 bits", err);
        *(int32_t *)at = (int32_t)n;
        return 0;
    default:
        if (!good)
            return bad(f, "a number of 64 bits", err);
        *(int64_t *)at = n;
        return 0;
    }
}

static int read_value(struct arena *a, const ProtobufCFieldDescriptor *f,
                      const struct json_value *v, void *at, struct error *err)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_BOOL:
        if (v->type != JSON_BOOL)
            return bad(f, "true or false", err);
        *(protobuf_c_boolean *)at = v->boolean;
        return 0;
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(f, v, at, err);
    case PROTOBUF_C_TYPE_STRING:
        if (v->type != JSON_STRING || str_find(v->text, '\0', 0) >= 0)
            return bad(f, "a string", err);
        *(char **)at = (char *)(uintptr_t)str_c(v->text);
        return 0;
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(a, f, v, at, err);
    case PROTOBUF_C_TYPE_MESSAGE:
        return gateway_read(a, f->descriptor, v, at, err);
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return bad(f, "left out", err);
    default:
        return read_number(f, v, at, err);
    }
}

static int read_list(struct arena *a, const ProtobufCFieldDescriptor *f, const struct json_value *v,
                     ProtobufCMessage *m, struct error *err)
{
    if (v->type != JSON_ARRAY)
        return bad(f, "a list", err);
    size_t size = type_size(f->type);
    char *items = arena_array(a, size, v->count + 1);
    for (size_t i = 0; i < v->count; i++) {
        int rc = read_value(a, f, &v->items[i], items + i * size, err);
        if (rc < 0)
            return rc;
    }
    char *base = (char *)m;
    *(size_t *)(void *)(base + f->quantifier_offset) = v->count;
    *(char **)(void *)(base + f->offset) = items;
    return 0;
}

int gateway_read(struct arena *a, const ProtobufCMessageDescriptor *d, const struct json_value *v,
                 ProtobufCMessage **ret, struct error *err)
{
    if (v->type != JSON_OBJECT)
        return error_set(err, E_INVALID, "%s must be an object", d->name);
    ProtobufCMessage *m = arena_zalloc(a, d->sizeof_message);
    d->message_init(m);
    for (size_t i = 0; i < v->count; i++) {
        const ProtobufCFieldDescriptor *f = find_field(d, v->names[i]);
        if (f == NULL || v->items[i].type == JSON_NULL)
            continue;
        char *base = (char *)m;
        int rc = f->label == PROTOBUF_C_LABEL_REPEATED
                     ? read_list(a, f, &v->items[i], m, err)
                     : read_value(a, f, &v->items[i], base + f->offset, err);
        if (rc < 0)
            return rc;
        if ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
            *(uint32_t *)(void *)(base + f->quantifier_offset) = f->id;
    }
    *ret = m;
    return 0;
}
