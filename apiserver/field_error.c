/* field_error.c - see field_error.h. Pure. */
#include "apiserver/field_error.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/schema.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#define PATH_DEPTH_MAX 64
#define VALUE_DEPTH_MAX 32

void field_path_write(const struct field_path *p, struct buf *out)
{
    const struct field_path *steps[PATH_DEPTH_MAX];
    size_t n = 0;
    for (; p != NULL && n < PATH_DEPTH_MAX; p = p->parent)
        steps[n++] = p;
    if (n == 0)
        buf_puts(out, "<nil>");
    size_t start = out->len;
    while (n > 0) {
        const struct field_path *s = steps[--n];
        if (s->name != NULL) {
            if (out->len != start)
                buf_putc(out, '.');
            buf_puts(out, s->name);
        } else if (s->index >= 0) {
            buf_printf(out, "[%" PRId64 "]", s->index);
        } else {
            buf_putc(out, '[');
            buf_append_str(out, s->key);
            buf_putc(out, ']');
        }
    }
}

const char *field_error_reason(enum field_error_type type)
{
    static const char *const reasons[] = {
        [FIELD_NOT_FOUND] = "FieldValueNotFound",
        [FIELD_REQUIRED] = "FieldValueRequired",
        [FIELD_DUPLICATE] = "FieldValueDuplicate",
        [FIELD_INVALID] = "FieldValueInvalid",
        [FIELD_NOT_SUPPORTED] = "FieldValueNotSupported",
        [FIELD_FORBIDDEN] = "FieldValueForbidden",
        [FIELD_TOO_LONG] = "FieldValueTooLong",
        [FIELD_TOO_MANY] = "FieldValueTooMany",
        [FIELD_INTERNAL] = "InternalError",
        [FIELD_TYPE_INVALID] = "FieldValueTypeInvalid",
    };
    return reasons[type];
}

static const char *type_text(enum field_error_type type)
{
    static const char *const texts[] = {
        [FIELD_NOT_FOUND] = "Not found",
        [FIELD_REQUIRED] = "Required value",
        [FIELD_DUPLICATE] = "Duplicate value",
        [FIELD_INVALID] = "Invalid value",
        [FIELD_NOT_SUPPORTED] = "Unsupported value",
        [FIELD_FORBIDDEN] = "Forbidden",
        [FIELD_TOO_LONG] = "Too long",
        [FIELD_TOO_MANY] = "Too many",
        [FIELD_INTERNAL] = "Internal error",
        [FIELD_TYPE_INVALID] = "Invalid value",
    };
    return texts[type];
}

/* value is the rendered value or NULL_STR for none; why may be NULL. */
static void add(struct field_errors *l, enum field_error_type type, const struct field_path *p,
                struct str value, const char *why, va_list ap)
{
    if (l->count >= FIELD_ERRORS_MAX)
        return;
    AUTO_BUF path = BUF_INIT;
    AUTO_BUF text = BUF_INIT;
    field_path_write(p, &path);
    buf_puts(&text, type_text(type));
    if (value.data != NULL) {
        buf_puts(&text, ": ");
        buf_append_str(&text, value);
    }
    if (why != NULL) {
        char small[512];
        va_list again;
        va_copy(again, ap);
        int n = vsnprintf(small, sizeof(small), why, ap);
        if (n > 0) {
            buf_puts(&text, ": ");
            if ((size_t)n < sizeof(small)) {
                buf_append(&text, small, (size_t)n);
            } else {
                vsnprintf((char *)buf_reserve(&text, (size_t)n + 1), (size_t)n + 1, why, again);
                buf_commit(&text, (size_t)n);
            }
        }
        va_end(again);
    }
    l->items = arena_grow(l->arena, l->items, l->count, &l->cap, sizeof(*l->items));
    l->items[l->count++] = (struct field_error){type, arena_str(l->arena, buf_str(&path)),
                                                arena_str(l->arena, buf_str(&text))};
}

static void addf(struct field_errors *l, enum field_error_type type, const struct field_path *p,
                 struct str value, const char *why, ...) PRINTF_LIKE(5, 6);
static void addf(struct field_errors *l, enum field_error_type type, const struct field_path *p,
                 struct str value, const char *why, ...)
{
    va_list ap;
    va_start(ap, why);
    add(l, type, p, value, why, ap);
    va_end(ap);
}

/* Go's %q form: printable text, also beyond ASCII, stands as it is. */
static void quote(struct str s, struct buf *b)
{
    static const char named[] = "abtnvfr"; /* \\a is 7, \\r is 13. */
    bool utf8 = str_is_utf8(s);
    buf_putc(b, '"');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c == '"' || c == '\\')
            buf_printf(b, "\\%c", c);
        else if (c >= 7 && c <= 13)
            buf_printf(b, "\\%c", named[c == 11 ? 4 : c == 12 ? 5 : c == 13 ? 6 : c - 7]);
        else if (c < ' ' || c == 0x7f || (c >= 0x80 && !utf8))
            buf_printf(b, "\\x%02x", c);
        else
            buf_putc(b, (char)c);
    }
    buf_putc(b, '"');
}

static struct str quoted(struct arena *a, struct str s)
{
    AUTO_BUF b = BUF_INIT;
    quote(s, &b);
    return arena_str(a, buf_str(&b));
}

#define ADD_VA(type, value)                                                                        \
    do {                                                                                           \
        va_list ap;                                                                                \
        va_start(ap, why);                                                                         \
        add(l, (type), p, (value), why, ap);                                                       \
        va_end(ap);                                                                                \
    } while (0)

void field_required(struct field_errors *l, const struct field_path *p, const char *why, ...)
{
    ADD_VA(FIELD_REQUIRED, STR_NULL);
}

void field_forbidden(struct field_errors *l, const struct field_path *p, const char *why, ...)
{
    ADD_VA(FIELD_FORBIDDEN, STR_NULL);
}

void field_internal(struct field_errors *l, const struct field_path *p, const char *why, ...)
{
    ADD_VA(FIELD_INTERNAL, STR_NULL);
}

void field_invalid(struct field_errors *l, const struct field_path *p, struct str value,
                   const char *why, ...)
{
    ADD_VA(FIELD_INVALID, quoted(l->arena, value));
}

void field_invalid_int(struct field_errors *l, const struct field_path *p, int64_t value,
                       const char *why, ...)
{
    ADD_VA(FIELD_INVALID, arena_printf(l->arena, "%" PRId64, value));
}

void field_invalid_bool(struct field_errors *l, const struct field_path *p, bool value,
                        const char *why, ...)
{
    ADD_VA(FIELD_INVALID, value ? STR("true") : STR("false"));
}

void field_invalid_raw(struct field_errors *l, const struct field_path *p, struct str rendered,
                       const char *why, ...)
{
    ADD_VA(FIELD_INVALID, rendered);
}

void field_invalid_msg(struct field_errors *l, const struct field_path *p, const struct api_msg *m,
                       const void *msg, const char *why, ...)
{
    ADD_VA(FIELD_INVALID, msg != NULL ? field_value_render(l->arena, m, msg) : STR("null"));
}

void field_type_invalid(struct field_errors *l, const struct field_path *p, struct str value,
                        const char *why, ...)
{
    ADD_VA(FIELD_TYPE_INVALID, quoted(l->arena, value));
}

void field_duplicate(struct field_errors *l, const struct field_path *p, struct str value)
{
    addf(l, FIELD_DUPLICATE, p, quoted(l->arena, value), NULL);
}

void field_duplicate_int(struct field_errors *l, const struct field_path *p, int64_t value)
{
    addf(l, FIELD_DUPLICATE, p, arena_printf(l->arena, "%" PRId64, value), NULL);
}

void field_duplicate_raw(struct field_errors *l, const struct field_path *p, struct str rendered)
{
    addf(l, FIELD_DUPLICATE, p, rendered, NULL);
}

void field_not_found(struct field_errors *l, const struct field_path *p, struct str value)
{
    addf(l, FIELD_NOT_FOUND, p, quoted(l->arena, value), NULL);
}

void field_not_supported_raw(struct field_errors *l, const struct field_path *p,
                             struct str rendered, const char *const *supported)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; supported[i] != NULL; i++) {
        buf_puts(&b, i == 0 ? "supported values: " : ", ");
        quote(str_of(supported[i]), &b);
    }
    if (b.len == 0)
        addf(l, FIELD_NOT_SUPPORTED, p, rendered, NULL);
    else
        addf(l, FIELD_NOT_SUPPORTED, p, rendered, STR_FMT, STR_ARG(buf_str(&b)));
}

void field_not_supported(struct field_errors *l, const struct field_path *p, struct str value,
                         const char *const *supported)
{
    field_not_supported_raw(l, p, quoted(l->arena, value), supported);
}

void field_too_long(struct field_errors *l, const struct field_path *p, int64_t bytes_max)
{
    addf(l, FIELD_TOO_LONG, p, STR_NULL, "may not be more than %" PRId64 " bytes", bytes_max);
}

void field_too_many(struct field_errors *l, const struct field_path *p, int64_t actual, int64_t max)
{
    addf(l, FIELD_TOO_MANY, p, arena_printf(l->arena, "%" PRId64, actual),
         "must have at most %" PRId64 " item%s", max, max == 1 ? "" : "s");
}

/* --- values in their internal form ------------------------------------------- */
static void render_msg(struct arena *a, const struct api_msg *m, const void *msg, unsigned depth,
                       struct buf *out);

static void render_value(struct arena *a, const struct api_field *f, const void *v, unsigned depth,
                         struct buf *out)
{
    switch ((enum api_type)f->type) {
    case API_BOOL:
        buf_puts(out, *(const bool *)v ? "true" : "false");
        return;
    case API_INT32:
        buf_printf(out, "%" PRId32, *(const int32_t *)v);
        return;
    case API_INT64:
        buf_printf(out, "%" PRId64, *(const int64_t *)v);
        return;
    case API_DOUBLE:
        buf_printf(out, "%.17g", *(const double *)v);
        return;
    case API_STRING:
        json_write_string(*(const struct str *)v, out);
        return;
    case API_BYTES:
        buf_putc(out, '"');
        base64_encode(BASE64_STD, ((const struct str *)v)->data, ((const struct str *)v)->len, out);
        buf_putc(out, '"');
        return;
    case API_MESSAGE:
        render_msg(a, f->msg, v, depth, out);
        return;
    }
}

static void render_list(struct arena *a, const struct api_field *f, const char *base,
                        unsigned depth, struct buf *out)
{
    const char *items = *(const char *const *)(const void *)(base + f->offset);
    size_t count = *(const size_t *)(const void *)(base + f->has_offset);
    bool is_map = f->label == API_MAP;
    if (count == 0) {
        buf_puts(out, "null");
        return;
    }
    buf_putc(out, is_map ? '{' : '[');
    for (size_t i = 0; i < count; i++) {
        const char *e = items + i * f->elem_size;
        if (i != 0)
            buf_putc(out, ',');
        if (is_map) {
            json_write_string(*(const struct str *)(const void *)e, out);
            buf_putc(out, ':');
            e += f->entry_value_offset;
        }
        render_value(a, f, e, depth, out);
    }
    buf_putc(out, is_map ? '}' : ']');
}

static void render_field(struct arena *a, const struct api_field *f, const char *base,
                         unsigned depth, struct buf *out)
{
    if (f->label != API_SINGULAR) {
        render_list(a, f, base, depth, out);
        return;
    }
    const void *v = base + f->offset;
    if ((f->flags & API_F_POINTER) != 0) {
        if (f->type == API_MESSAGE) {
            v = *(const void *const *)v;
            if (v == NULL) {
                buf_puts(out, "null");
                return;
            }
        } else if (!*(const bool *)(const void *)(base + f->has_offset)) {
            buf_puts(out, "null");
            return;
        }
    }
    render_value(a, f, v, depth, out);
}

/* Go writes the initials of these words large; of others the first letter. */
static void write_go_name(const char *name, struct buf *out)
{
    static const char *const words[] = {
        "API",   "AWS", "CIDR", "CSI", "DNS", "FC", "FS",  "GCE", "GRPC", "HTTP", "IP",  "IQN",
        "ISCSI", "NFS", "OS",   "PD",  "RBD", "SE", "SSL", "TCP", "TLS",  "TTY",  "UID", "URI"};
    size_t n = 1;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        size_t len = strlen(words[i]);
        char next = strlen(name) >= len ? name[len] : 'a';
        if (strncasecmp(name, words[i], len) == 0 &&
            (next == '\0' || isupper((unsigned char)next)) && len > n)
            n = len;
    }
    buf_putc(out, '"');
    for (size_t i = 0; name[i] != '\0'; i++)
        buf_putc(out, i < n ? (char)toupper((unsigned char)name[i]) : name[i]);
    buf_puts(out, "\":");
}

static void render_msg(struct arena *a, const struct api_msg *m, const void *msg, unsigned depth,
                       struct buf *out)
{
    bool meta = strncmp(m->full_name, "k8s.io.apimachinery.", 20) == 0;
    if (m->special != API_PLAIN || meta || depth >= VALUE_DEPTH_MAX) {
        api_json_encode(m, msg, STR_NULL, STR_NULL, out);
        return;
    }
    buf_putc(out, '{');
    bool first = true;
    for (uint16_t i = 0; i < m->field_count; i++) {
        const struct api_field *f = &m->fields[m->declared[i]];
        if (f->json_name == NULL && (f->flags & API_F_INLINE) == 0)
            continue;
        if (!first)
            buf_putc(out, ',');
        first = false;
        write_go_name(f->json_name != NULL ? f->json_name : f->name, out);
        render_field(a, f, msg, depth + 1, out);
    }
    buf_putc(out, '}');
}

struct str field_value_render(struct arena *a, const struct api_msg *m, const void *msg)
{
    AUTO_BUF b = BUF_INIT;
    render_msg(a, m, msg, 0, &b);
    return arena_str(a, buf_str(&b));
}

struct str field_member_render(struct arena *a, const struct api_msg *m, const void *msg,
                               const char *member)
{
    AUTO_BUF b = BUF_INIT;
    const struct api_field *f = api_field_by_json(m, str_of(member));
    ASSERT(f != NULL);
    render_field(a, f, msg, 0, &b);
    return arena_str(a, buf_str(&b));
}

void field_errors_append(struct field_errors *l, const struct field_errors *more)
{
    for (size_t i = 0; i < more->count && l->count < FIELD_ERRORS_MAX; i++) {
        l->items = arena_grow(l->arena, l->items, l->count, &l->cap, sizeof(*l->items));
        l->items[l->count++] = more->items[i];
    }
}

struct str field_strings_render(struct arena *a, const struct str *list, size_t count)
{
    AUTO_BUF b = BUF_INIT;
    buf_putc(&b, '[');
    for (size_t i = 0; i < count; i++) {
        buf_puts(&b, i == 0 ? "" : ",");
        json_write_string(list[i], &b);
    }
    buf_putc(&b, ']');
    return arena_str(a, buf_str(&b));
}

struct str field_errors_text(struct arena *a, const struct field_errors *l)
{
    AUTO_BUF b = BUF_INIT;
    size_t shown = 0;
    for (size_t i = 0; i < l->count; i++) {
        const struct field_error *e = &l->items[i];
        bool seen = false;
        for (size_t j = 0; j < i && !seen; j++)
            seen = str_eq(l->items[j].path, e->path) && str_eq(l->items[j].message, e->message);
        if (seen)
            continue;
        if (shown++ != 0)
            buf_puts(&b, ", ");
        buf_append_str(&b, e->path);
        buf_puts(&b, ": ");
        buf_append_str(&b, e->message);
    }
    return shown == 1 ? arena_str(a, buf_str(&b))
                      : arena_printf(a, "[" STR_FMT "]", STR_ARG(buf_str(&b)));
}
