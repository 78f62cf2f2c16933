/* json_text.c - see json_text.h. */
#include "lib/api/json_text.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/json_lex.h"
#include "lib/api/json_write.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/flags.h"

void json_text_bytes(struct str s, struct buf *out)
{
    if (s.data == NULL) {
        buf_puts(out, "null");
        return;
    }
    buf_putc(out, '"');
    base64_encode(BASE64_STD, s.data, s.len, out);
    buf_putc(out, '"');
}

static void put_quoted(const char *text, size_t len, struct buf *out)
{
    uint8_t *p = buf_reserve(out, len + 2);
    p[0] = '"';
    memcpy(p + 1, text, len);
    p[len + 1] = '"';
    buf_commit(out, len + 2);
}

void json_text_time(const struct meta_v1_time *t, struct buf *out)
{
    char text[TIME_TEXT_MAX];
    size_t len = time_format(t, text);
    if (len == 0)
        buf_append(out, "null", 4);
    else
        put_quoted(text, len, out);
}

void json_text_micro_time(const struct meta_v1_micro_time *t, struct buf *out)
{
    char text[TIME_TEXT_MAX];
    size_t len = micro_time_format(t, text);
    if (len == 0)
        buf_append(out, "null", 4);
    else
        put_quoted(text, len, out);
}

void json_text_duration(int64_t ns, struct buf *out)
{
    buf_putc(out, '"');
    duration_print(ns, out);
    buf_putc(out, '"');
}

void json_text_quantity(struct str canonical, struct buf *out)
{
    if (canonical.len == 0)
        buf_append(out, "\"0\"", 3);
    else
        json_write_string(canonical, out);
}

void json_text_int_or_string(int64_t type, int32_t number, struct str text, struct buf *out)
{
    if (type == 1)
        json_write_string(text, out);
    else
        json_put_int(number, out);
}

static bool put_envelope(struct str raw, unsigned depth, struct buf *out)
{
    struct str api_version, kind, inner;
    if (api_envelope_open(raw, &api_version, &kind, &inner, NULL) != 0)
        return false;
    const struct api_kind *k = api_kind_by_api_version(api_version, kind);
    return k != NULL && json_transcode(k->msg, inner, api_version, kind, depth + 1, out, NULL) == 0;
}

/* Bytes that stand in a string as they are: no escape, and nothing that Go escapes. */
static bool is_plain_byte(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&';
}

/* Behind the closing quote of the string that p stands behind the opening quote of; NULL:
 * not a plain one. */
static const uint8_t *skip_plain_string(const uint8_t *p, const uint8_t *end)
{
    for (;;) {
        while (p < end && is_plain_byte(*p))
            p++;
        if (p == end || *p != '\\')
            return p < end && *p == '"' ? p + 1 : NULL;
        if (end - p < 2 || (p[1] != '"' && p[1] != '\\' && p[1] != '/'))
            return NULL;
        p += 2;
    }
}

/* Objects of objects in compact form, as FieldsV1 are: fit to be copied, which saves two
 * slower walks in what is most of the raw JSON there is. False says nothing. */
static bool is_compact_fields(struct str raw)
{
    const uint8_t *p = (const uint8_t *)raw.data, *end = p + raw.len;
    unsigned depth = 0;
    for (bool open = true; p < end;) {
        if (open && *p++ != '{')
            return false;
        depth += open;
        if (depth > API_DEPTH_MAX || p == end)
            return false;
        if (*p == '}') {
            open = false;
            p++;
            if (--depth == 0)
                return p == end;
            continue;
        }
        if (!open && *p++ != ',')
            return false;
        if (p == end || *p != '"' || (p = skip_plain_string(p + 1, end)) == NULL || p == end ||
            *p++ != ':')
            return false;
        open = true;
    }
    return false;
}

void json_text_raw(struct str raw, unsigned depth, struct buf *out)
{
    if (is_compact_fields(raw)) {
        buf_append_str(out, raw);
        return;
    }
    size_t mark = out->len;
    if (depth != JSON_RAW_ONLY && api_envelope_is(raw)) {
        if (put_envelope(raw, depth, out))
            return;
        buf_truncate(out, mark);
        buf_append(out, "null", 4);
        return;
    }
    struct json_lex l;
    struct str value;
    json_lex_init(&l, NULL, raw, NULL);
    if (raw.len == 0 || json_lex_skip(&l, 0, &value) != 0 || json_lex_end(&l) != 0)
        buf_append(out, "null", 4);
    else
        json_put_compact(value, out);
}

bool json_text_open(struct str api_version, struct str kind, struct buf *out)
{
    bool first = true;
    buf_putc(out, '{');
    if (kind.len > 0) {
        json_text_name("kind", 4, &first, out);
        json_write_string(kind, out);
    }
    if (api_version.len > 0) {
        json_text_name("apiVersion", 10, &first, out);
        json_write_string(api_version, out);
    }
    return !first;
}

void json_text_open_typed(const struct api_msg *m, struct buf *out)
{
    AUTO_BUF version = BUF_INIT;
    if (m->group != NULL && m->group[0] != '\0')
        buf_printf(&version, "%s/", m->group);
    buf_puts(&version, m->version);
    json_text_open(buf_str(&version), str_of(m->name), out);
}

void json_text_name(const char *name, size_t len, bool *first, struct buf *out)
{
    uint8_t *p = buf_reserve(out, len + 4), *start = p;
    if (!*first)
        *p++ = ',';
    *first = false;
    *p++ = '"';
    memcpy(p, name, len); /* Names in the tables need no escaping. */
    p += len;
    *p++ = '"';
    *p++ = ':';
    buf_commit(out, (size_t)(p - start));
}
