/* json.c - see json.h; RFC 8259. */
#include "raftstore/etcd/json.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <math.h>

struct reading {
    struct arena *arena;
    const char *p, *end;
    unsigned depth;
    const char *why; /* Set once it failed. */
};

static bool fail(struct reading *r, const char *why)
{
    if (r->why == NULL)
        r->why = why;
    return false;
}

static void skip_space(struct reading *r)
{
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
        r->p++;
}

/* The next character after white space, or NUL. Not consumed. */
static char peek(struct reading *r)
{
    skip_space(r);
    return r->p < r->end ? *r->p : '\0';
}

static bool expect(struct reading *r, char c)
{
    if (peek(r) != c)
        return fail(r, "a delimiter is missing");
    r->p++;
    return true;
}

/* --- strings --- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex4(struct reading *r, uint32_t *ret)
{
    uint32_t v = 0;
    if (r->end - r->p < 4)
        return fail(r, "an escape is cut short");
    for (int i = 0; i < 4; i++) {
        int d = hex_digit(*r->p++);
        if (d < 0)
            return fail(r, "an escape is not hexadecimal");
        v = v << 4 | (uint32_t)d;
    }
    *ret = v;
    return true;
}

static char *put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *out++ = (char)(0xe0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    } else {
        *out++ = (char)(0xf0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 0x3f));
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
        *out++ = (char)(0x80 | (c & 0x3f));
    }
    return out;
}

/* Behind "\u". A surrogate without its partner is U+FFFD, as in Go. */
static bool read_unicode(struct reading *r, char **out)
{
    uint32_t c, low;
    if (!read_hex4(r, &c))
        return false;
    if (c >= 0xd800 && c < 0xdc00 && r->end - r->p >= 6 && r->p[0] == '\\' && r->p[1] == 'u') {
        const char *back = r->p;
        r->p += 2;
        if (!read_hex4(r, &low))
            return false;
        if (low >= 0xdc00 && low < 0xe000)
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        else
            r->p = back;
    }
    *out = put_utf8(*out, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
    return true;
}

static bool read_escape(struct reading *r, char **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->p == r->end)
        return fail(r, "a string does not end");
    char c = *r->p++;
    if (c == 'u')
        return read_unicode(r, out);
    const char *at = c != '\0' ? strchr(from, c) : NULL;
    if (at == NULL)
        return fail(r, "an unknown escape");
    *(*out)++ = to[at - from];
    return true;
}

/* Behind the opening quote: the place of the closing one, NULL if there is none. */
static const char *find_close(const struct reading *r, bool *ret_escapes)
{
    const char *close = memchr(r->p, '"', (size_t)(r->end - r->p));
    *ret_escapes = close != NULL && memchr(r->p, '\\', (size_t)(close - r->p)) != NULL;
    if (!*ret_escapes)
        return close;
    for (close = r->p; close < r->end && *close != '"';)
        close += *close == '\\' && close + 1 < r->end ? 2 : 1;
    return close < r->end ? close : NULL;
}

/* Large strings are base64, so the whole is looked at in few steps per byte. */
static bool has_control(const char *p, size_t n)
{
    unsigned found = 0;
    for (size_t i = 0; i < n; i++)
        found |= (unsigned char)p[i] < 0x20;
    return found != 0;
}

static bool is_ascii(struct str s)
{
    unsigned char all = 0;
    for (size_t i = 0; i < s.len; i++)
        all |= (unsigned char)s.data[i];
    return all < 0x80;
}

static bool unescape(struct reading *r, const char *close, struct str *ret)
{
    /* No escape decodes to more bytes than it takes. */
    char *room = arena_alloc(r->arena, (size_t)(close - r->p) + 1), *out = room;
    while (r->p < close) {
        char c = *r->p++;
        if (c != '\\')
            *out++ = c;
        else if (!read_escape(r, &out))
            return false;
    }
    *out = '\0';
    *ret = str_n(room, (size_t)(out - room));
    return true;
}

static bool read_string(struct reading *r, struct str *ret)
{
    bool escapes;
    if (!expect(r, '"'))
        return false;
    const char *close = find_close(r, &escapes);
    if (close == NULL)
        return fail(r, "a string does not end");
    if (has_control(r->p, (size_t)(close - r->p)))
        return fail(r, "a control character stands in a string");
    if (!escapes)
        *ret = arena_str(r->arena, str_n(r->p, (size_t)(close - r->p)));
    else if (!unescape(r, close, ret))
        return false;
    r->p = close + 1;
    return is_ascii(*ret) || str_is_utf8(*ret) || fail(r, "a string is not UTF-8");
}

/* --- the other values --- */

static bool read_number(struct reading *r, struct str *ret)
{
    const char *from = r->p;
    if (r->p < r->end && *r->p == '-')
        r->p++;
    const char *digits = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
        r->p++;
    if (r->p == digits || (*digits == '0' && r->p - digits > 1))
        return fail(r, "not a value");
    if (r->p < r->end && *r->p == '.') {
        const char *fraction = ++r->p;
        while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
            r->p++;
        if (r->p == fraction)
            return fail(r, "a number has no digits behind its point");
    }
    if (r->p < r->end && (*r->p | 0x20) == 'e') {
        r->p++;
        if (r->p < r->end && (*r->p == '+' || *r->p == '-'))
            r->p++;
        const char *exponent = r->p;
        while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
            r->p++;
        if (r->p == exponent)
            return fail(r, "a number has an empty exponent");
    }
    *ret = str_n(from, (size_t)(r->p - from));
    return true;
}

static bool read_word(struct reading *r, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0)
        return fail(r, "not a value");
    r->p += n;
    return true;
}

static bool read_value(struct reading *r, struct json_value *ret);

/* Array and object: `name: value` or `value`, until close. */
static bool read_items(struct reading *r, struct json_value *v, char close)
{
    struct json_value *items = NULL;
    struct str *names = NULL;
    size_t items_cap = 0, names_cap = 0, count = 0;
    r->p++;
    if (++r->depth > JSON_DEPTH_MAX)
        return fail(r, "nested too deep");
    while (peek(r) != close) {
        if (count > 0 && !expect(r, ','))
            return false;
        items = arena_grow(r->arena, items, count, &items_cap, sizeof(*items));
        if (close == '}') {
            names = arena_grow(r->arena, names, count, &names_cap, sizeof(*names));
            if (!read_string(r, &names[count]) || !expect(r, ':'))
                return false;
        }
        if (!read_value(r, &items[count]))
            return false;
        count++;
    }
    r->p++;
    r->depth--;
    v->items = items;
    v->names = names;
    v->count = count;
    return true;
}

/* Recurses to JSON_DEPTH_MAX. */
static bool read_value(struct reading *r, struct json_value *ret)
{
    struct json_value v = {0};
    bool good;
    switch (peek(r)) {
    case '{':
        v.type = JSON_OBJECT;
        good = read_items(r, &v, '}');
        break;
    case '[':
        v.type = JSON_ARRAY;
        good = read_items(r, &v, ']');
        break;
    case '"':
        v.type = JSON_STRING;
        good = read_string(r, &v.text);
        break;
    case 't':
        v.type = JSON_BOOL;
        v.boolean = true;
        good = read_word(r, "true");
        break;
    case 'f':
        v.type = JSON_BOOL;
        good = read_word(r, "false");
        break;
    case 'n':
        good = read_word(r, "null");
        break;
    default:
        v.type = JSON_NUMBER;
        good = read_number(r, &v.text);
        break;
    }
    *ret = v;
    return good;
}

int json_read_next(struct arena *a, struct str *text, struct json_value *ret, struct error *err)
{
    struct reading r = {.arena = a, .p = str_c(*text), .end = str_c(*text) + text->len};
    struct json_value v;
    if (!read_value(&r, &v))
        return error_set(err, E_INVALID, "JSON at byte %zu: %s", (size_t)(r.p - str_c(*text)),
                         r.why);
    skip_space(&r);
    *text = str_n(r.p, (size_t)(r.end - r.p));
    *ret = v;
    return 0;
}

int json_read(struct arena *a, struct str text, struct json_value *ret, struct error *err)
{
    struct str rest = text;
    struct json_value v;
    int rc = json_read_next(a, &rest, &v, err);
    if (rc < 0)
        return rc;
    if (!str_empty(rest))
        return error_set(err, E_INVALID, "JSON at byte %zu: more than one value",
                         text.len - rest.len);
    *ret = v;
    return 0;
}

const struct json_value *json_member(const struct json_value *v, const char *name)
{
    for (size_t i = v->type == JSON_OBJECT ? v->count : 0; i-- > 0;) {
        if (str_eqc(v->names[i], name))
            return &v->items[i];
    }
    return NULL;
}

bool json_to_i64(struct str number, int64_t *ret)
{
    if (str_to_i64(number, ret))
        return true;
    if (number.len == 0 || number.len > 40)
        return false;
    char text[41];
    memcpy(text, number.data, number.len);
    text[number.len] = '\0';
    char *end;
    double d = strtod(text, &end);
    /* 2^63 is the first that does not fit. */
    if (*end != '\0' || !(d >= -9223372036854775808.0 && d < 9223372036854775808.0) ||
        trunc(d) != d)
        return false;
    *ret = (int64_t)d;
    return true;
}

/* Bytes of the UTF-8 character at p, 0 if it is none. */
static size_t utf8_bytes(const char *p, size_t left)
{
    unsigned char c = (unsigned char)*p;
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    return n <= left && str_is_utf8(str_n(p, n)) ? n : 0;
}

void json_put_string(struct buf *out, struct str s)
{
    buf_putc(out, '"');
    for (size_t i = 0; i < s.len;) {
        unsigned char c = (unsigned char)s.data[i];
        if (c == '"' || c == '\\') {
            buf_putc(out, '\\');
            buf_putc(out, (char)c);
            i++;
        } else if (c < 0x20) {
            buf_printf(out, "\\u%04x", c);
            i++;
        } else {
            size_t n = utf8_bytes(s.data + i, s.len - i);
            if (n > 0)
                buf_append(out, s.data + i, n);
            else
                buf_puts(out, "\xef\xbf\xbd");
            i += n > 0 ? n : 1;
        }
    }
    buf_putc(out, '"');
}
