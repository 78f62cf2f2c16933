/* json_write.c - tree to text, and the string escaping all JSON output shares. */
#include "lib/api/json_write.h"

#include "lib/api/json.h"
#include "lib/base/buf.h"

#include <math.h>
#include <stdio.h>

/* 1 where Go's encoder, with its HTML escaping on as in every Kubernetes
 * program, does not copy the byte: controls, quote, backslash, < > &. Bytes
 * from 0x80 on need a look at their sequence. */
static const uint8_t special_byte[256] = {
    [0 ... 0x1f] = 1, ['"'] = 1, ['\\'] = 1, ['<'] = 1, ['>'] = 1, ['&'] = 1, [0x80 ... 0xff] = 1,
};

static uint8_t *put_escape(uint8_t *out, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    *out++ = '\\';
    switch (c) {
    case '"':
    case '\\':
        *out++ = c;
        return out;
    case '\b':
        *out++ = 'b';
        return out;
    case '\f':
        *out++ = 'f';
        return out;
    case '\n':
        *out++ = 'n';
        return out;
    case '\r':
        *out++ = 'r';
        return out;
    case '\t':
        *out++ = 't';
        return out;
    default:
        memcpy(out, "u00", 3);
        out[3] = (uint8_t)hex[c >> 4];
        out[4] = (uint8_t)hex[c & 15];
        return out + 5;
    }
}

static size_t sequence_length(const uint8_t *p, size_t left)
{
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
    return n != 0 && n <= left && str_is_utf8(str_n((const char *)p, n)) ? n : 0;
}

void json_put_escaped(struct str s, struct buf *out)
{
    const uint8_t *p = (const uint8_t *)s.data, *end = p + s.len;
    while (p < end) {
        const uint8_t *from = p;
        while (p < end && !special_byte[*p])
            p++;
        buf_append(out, from, (size_t)(p - from));
        if (p == end)
            return;
        uint8_t *room = buf_reserve(out, 8), *to = room;
        size_t n = *p >= 0x80 ? sequence_length(p, (size_t)(end - p)) : 1;
        if (*p < 0x80) {
            to = put_escape(to, *p);
        } else if (n == 0) {
            memcpy(to, "\\ufffd", 6);
            to += 6;
            n = 1;
        } else if (n == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] & 0xfe) == 0xa8) {
            /* Line and paragraph separator, which JavaScript takes for line ends. */
            memcpy(to, p[2] == 0xa8 ? "\\u2028" : "\\u2029", 6);
            to += 6;
        } else {
            memcpy(to, p, n);
            to += n;
        }
        p += n;
        buf_commit(out, (size_t)(to - room));
    }
}

void json_write_string(struct str s, struct buf *out)
{
    uint8_t *p = buf_reserve(out, s.len + 2);
    p[0] = '"';
    size_t i = 0;
    for (; i < s.len && !special_byte[(uint8_t)s.data[i]]; i++)
        p[i + 1] = (uint8_t)s.data[i];
    if (i == s.len) {
        p[i + 1] = '"';
        buf_commit(out, s.len + 2);
        return;
    }
    buf_commit(out, i + 1);
    json_put_escaped(str_sub(s, i, s.len - i), out);
    buf_putc(out, '"');
}

void json_put_int(int64_t v, struct buf *out)
{
    char digits[20];
    size_t n = 0;
    uint64_t u = v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v;
    do {
        digits[n++] = (char)('0' + u % 10);
        u /= 10;
    } while (u > 0);
    uint8_t *p = buf_reserve(out, n + 1);
    size_t len = 0;
    if (v < 0)
        p[len++] = '-';
    while (n > 0)
        p[len++] = (uint8_t)digits[--n];
    buf_commit(out, len);
}

/* The shortest digits that read back as v, as "d.ddde+xx". */
static void shortest(double v, char *ret, size_t size)
{
    int precision = 0;
    do
        snprintf(ret, size, "%.*e", precision, v);
    while (strtod(ret, NULL) != v && ++precision <= 17);
}

/* Digits with the point where the exponent puts it, and no exponent. */
static void put_positional(const char *scientific, struct buf *out)
{
    char digits[32];
    size_t n = 0;
    if (*scientific == '-')
        buf_putc(out, *scientific++);
    for (; *scientific != 'e'; scientific++)
        if (*scientific != '.')
            digits[n++] = *scientific;
    int point = atoi(scientific + 1) + 1; /* Digits in front of the point. */
    if (point <= 0)
        buf_puts(out, "0.");
    for (int i = point; i < 0; i++)
        buf_putc(out, '0');
    for (int i = 0; i < MAX_OF((int)n, point); i++) {
        if (i == point && point > 0)
            buf_putc(out, '.');
        buf_putc(out, i < (int)n ? digits[i] : '0');
    }
}

void json_put_double(double v, struct buf *out)
{
    if (!isfinite(v)) { /* Go refuses these; no decoder of ours lets one in. */
        buf_puts(out, "null");
        return;
    }
    char text[40];
    double size = fabs(v);
    shortest(v, text, sizeof(text));
    if (size == 0 || (size >= 1e-6 && size < 1e21)) {
        put_positional(text, out);
        return;
    }
    /* The exponent without its leading zero: 1e-7. */
    char *e = strchr(text, 'e');
    if (e[2] == '0')
        memmove(e + 2, e + 3, strlen(e + 3) + 1);
    buf_puts(out, text);
}

static int compare_members(const void *x, const void *y)
{
    const struct json_member *a = *(const struct json_member *const *)x,
                             *b = *(const struct json_member *const *)y;
    return str_cmp(a->key, b->key);
}

void json_sort_members(const struct json *j, const struct json_member **ret)
{
    bool sorted = true;
    for (size_t i = 0; i < j->object.count; i++) {
        ret[i] = &j->object.members[i];
        sorted = sorted && (i == 0 || str_cmp(ret[i - 1]->key, ret[i]->key) < 0);
    }
    if (!sorted)
        qsort(ret, j->object.count, sizeof(const struct json_member *), compare_members);
}

struct writer {
    struct buf *out;
    bool sort;
    bool pretty;
    unsigned indent;
};

static void write_value(const struct writer *w, const struct json *j, unsigned depth);

static void new_line(const struct writer *w, unsigned depth)
{
    if (!w->pretty)
        return;
    size_t spaces = (size_t)depth * w->indent;
    uint8_t *p = buf_reserve(w->out, spaces + 1);
    p[0] = '\n';
    memset(p + 1, ' ', spaces);
    buf_commit(w->out, spaces + 1);
}

static void write_member(const struct writer *w, const struct json_member *m, unsigned depth)
{
    json_write_string(m->key, w->out);
    buf_puts(w->out, w->pretty ? ": " : ":");
    write_value(w, m->value, depth);
}

static void write_object(const struct writer *w, const struct json *j, unsigned depth)
{
    size_t n = j->object.count;
    if (n == 0) {
        buf_puts(w->out, "{}");
        return;
    }
    const struct json_member **order = xmalloc(n * sizeof(*order));
    if (w->sort)
        json_sort_members(j, order);
    for (size_t i = 0; i < n && !w->sort; i++)
        order[i] = &j->object.members[i];
    buf_putc(w->out, '{');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_putc(w->out, ',');
        new_line(w, depth + 1);
        write_member(w, order[i], depth + 1);
    }
    new_line(w, depth);
    buf_putc(w->out, '}');
    free(order);
}

static void write_array(const struct writer *w, const struct json *j, unsigned depth)
{
    if (j->array.count == 0) {
        buf_puts(w->out, "[]");
        return;
    }
    buf_putc(w->out, '[');
    for (size_t i = 0; i < j->array.count; i++) {
        if (i > 0)
            buf_putc(w->out, ',');
        new_line(w, depth + 1);
        write_value(w, j->array.items[i], depth + 1);
    }
    new_line(w, depth);
    buf_putc(w->out, ']');
}

static void write_value(const struct writer *w, const struct json *j, unsigned depth)
{
    switch (j->type) {
    case JSON_NULL:
        buf_puts(w->out, "null");
        break;
    case JSON_BOOL:
        buf_puts(w->out, j->boolean ? "true" : "false");
        break;
    case JSON_INT:
        json_put_int(j->integer, w->out);
        break;
    case JSON_DOUBLE:
        json_put_double(j->number.value, w->out);
        break;
    case JSON_STRING:
        json_write_string(j->string, w->out);
        break;
    case JSON_ARRAY:
        write_array(w, j, depth);
        break;
    case JSON_OBJECT:
        write_object(w, j, depth);
        break;
    }
}

void json_write(const struct json *j, bool sort_keys, struct buf *out)
{
    const struct writer w = {out, sort_keys, false, 0};
    write_value(&w, j, 0);
}

void json_write_indent(const struct json *j, bool sort_keys, unsigned indent, struct buf *out)
{
    const struct writer w = {out, sort_keys, true, indent};
    write_value(&w, j, 0);
}

/* Go's %v of a decoded document: map[a:1 b:[x y]], keys sorted, <nil> for null. */
void json_write_go(const struct json *j, struct buf *out)
{
    switch (j->type) {
    case JSON_NULL:
        buf_puts(out, "<nil>");
        break;
    case JSON_BOOL:
        buf_puts(out, j->boolean ? "true" : "false");
        break;
    case JSON_INT:
        json_put_int(j->integer, out);
        break;
    case JSON_DOUBLE:
        buf_printf(out, "%g", j->number.value);
        break;
    case JSON_STRING:
        buf_append_str(out, j->string);
        break;
    case JSON_ARRAY:
        buf_putc(out, '[');
        for (size_t i = 0; i < j->array.count; i++) {
            if (i > 0)
                buf_putc(out, ' ');
            json_write_go(j->array.items[i], out);
        }
        buf_putc(out, ']');
        break;
    case JSON_OBJECT: {
        size_t n = j->object.count;
        const struct json_member **order = xmalloc((n + 1) * sizeof(*order));
        json_sort_members(j, order);
        buf_puts(out, "map[");
        for (size_t i = 0; i < n; i++) {
            if (i > 0)
                buf_putc(out, ' ');
            buf_append_str(out, order[i]->key);
            buf_putc(out, ':');
            json_write_go(order[i]->value, out);
        }
        buf_putc(out, ']');
        free(order);
        break;
    }
    }
}

/* --- raw JSON ---------------------------------------------------------------------- */

/* White space outside strings goes, as Go compacts what a MarshalJSON returns;
 * inside them only the HTML characters and separators are escaped. */
void json_put_compact(struct str raw, struct buf *out)
{
    const uint8_t *p = (const uint8_t *)raw.data, *end = p + raw.len;
    bool in_string = false;
    uint8_t *room = buf_reserve(out, raw.len);
    size_t len = 0;
    for (; p < end; p++) {
        bool separator = *p == 0xe2 && end - p >= 3 && p[1] == 0x80 && (p[2] & 0xfe) == 0xa8;
        if (*p == '<' || *p == '>' || *p == '&' || separator) {
            buf_commit(out, len);
            if (separator) {
                buf_puts(out, p[2] == 0xa8 ? "\\u2028" : "\\u2029");
                p += 2;
            } else {
                uint8_t *to = buf_reserve(out, 8);
                buf_commit(out, (size_t)(put_escape(to, *p) - to));
            }
            room = buf_reserve(out, (size_t)(end - p));
            len = 0;
            continue;
        }
        if (in_string && *p == '\\' && end - p >= 2) {
            room[len++] = *p++;
        } else if (*p == '"') {
            in_string = !in_string;
        } else if (!in_string && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) {
            continue;
        }
        room[len++] = *p;
    }
    buf_commit(out, len);
}
