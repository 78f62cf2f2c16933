/* json_lex.c - see json_lex.h. */
#include "lib/api/json_lex.h"

#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#include <stdio.h>

void json_lex_init(struct json_lex *l, struct arena *a, struct str text, struct error *err)
{
    *l = (struct json_lex){
        .start = text.data, .p = text.data, .end = text.data + text.len, .arena = a, .err = err};
    if (text.data == NULL)
        l->start = l->p = l->end = "";
}

int json_lex_fail(struct json_lex *l, const char *context)
{
    if (l->p >= l->end)
        return error_set(l->err, E_INVALID, "unexpected end of JSON input");
    unsigned char c = (unsigned char)*l->p;
    char text[16];
    /* Go takes the byte for a code point and quotes it. */
    if (c == '\'')
        snprintf(text, sizeof(text), "'\\''");
    else if (c == '\\')
        snprintf(text, sizeof(text), "'\\\\'");
    else if (c >= '\a' && c <= '\r')
        snprintf(text, sizeof(text), "'\\%c'", "abtnvfr"[c - '\a']);
    else if (c < 0x20 || c == 0x7f)
        snprintf(text, sizeof(text), "'\\x%02x'", c);
    else if (c < 0x80)
        snprintf(text, sizeof(text), "'%c'", c);
    else if (c < 0xa1 || c == 0xad)
        snprintf(text, sizeof(text), "'\\u%04x'", c);
    else
        snprintf(text, sizeof(text), "'%c%c'", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
    return error_set(l->err, E_INVALID, "invalid character %s %s", text, context);
}

struct str json_lex_copy(struct json_lex *l, struct str s)
{
    if (s.len == 0)
        return (struct str){"", 0};
    /* A string's quotes in the text leave room for its NUL. */
    if (l->pool == NULL) {
        size_t size = (size_t)(l->end - l->start);
        l->pool = arena_alloc(l->arena, size);
        l->pool_end = l->pool + size;
    }
    if ((size_t)(l->pool_end - l->pool) <= s.len)
        return arena_str(l->arena, s);
    char *copy = l->pool;
    memcpy(copy, s.data, s.len);
    copy[s.len] = '\0';
    l->pool += s.len + 1;
    return str_n(copy, s.len);
}

static int hex_value(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hexadecimal digits at p; negative on damage. */
static int hex4(struct json_lex *l)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        int h = l->p < l->end ? hex_value((unsigned char)*l->p) : -1;
        if (h < 0) {
            json_lex_fail(l, "in \\u hexadecimal character escape");
            return -1;
        }
        v = v * 16 + h;
        l->p++;
    }
    return v;
}

static char *put_utf8(char *out, unsigned c)
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

enum { REPLACEMENT = 0xfffd };

/* The code point of an escape behind its 'u'; surrogates are paired, lone
 * ones become the replacement character. Negative on damage. */
static int unicode_escape(struct json_lex *l)
{
    int c = hex4(l);
    if (c < 0xd800 || c > 0xdfff)
        return c;
    if (c < 0xdc00 && l->end - l->p >= 2 && l->p[0] == '\\' && l->p[1] == 'u') {
        const char *before = l->p;
        l->p += 2;
        int low = hex4(l);
        if (low < 0)
            return low;
        if (low >= 0xdc00 && low <= 0xdfff)
            return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        l->p = before; /* An escape of its own. */
    }
    return REPLACEMENT;
}

/* Length of the UTF-8 sequence at p, 0 when it is none. */
static size_t utf8_length(const char *p, const char *end)
{
    unsigned char c = (unsigned char)*p;
    size_t n = c < 0x80                ? 1
               : c >= 0xc2 && c < 0xe0 ? 2
               : c >= 0xe0 && c < 0xf0 ? 3
               : c >= 0xf0 && c < 0xf5 ? 4
                                       : 0;
    if (n == 0 || (size_t)(end - p) < n)
        return 0;
    return str_is_utf8(str_n(p, n)) ? n : 0;
}

/* Checks a string and finds its end (the closing quote); *ret_out is the most
 * that it can be unescaped to. */
static int measure_string(struct json_lex *l, const char **ret_close, size_t *ret_out)
{
    const char *p = l->p;
    size_t out = 0;
    while (p < l->end && *p != '"') {
        if ((unsigned char)*p < 0x20) {
            l->p = p;
            return json_lex_fail(l, "in string literal");
        }
        if (*p == '\\') {
            p++;
            if (p < l->end && (*p == '\0' || strchr("\"\\/bfnrtu", *p) == NULL)) {
                l->p = p;
                return json_lex_fail(l, "in string escape code");
            }
            for (int i = 0; p < l->end && *p == 'u' && i < 4; i++) {
                const char *digit = p + 1 + i;
                if (digit >= l->end || hex_value((unsigned char)*digit) < 0) {
                    l->p = digit < l->end ? digit : l->end;
                    return json_lex_fail(l, "in \\u hexadecimal character escape");
                }
            }
        }
        if (p < l->end)
            p++;
        out += 3; /* An invalid byte becomes a replacement character. */
    }
    if (p >= l->end) {
        l->p = l->end;
        return json_lex_fail(l, "in string literal");
    }
    *ret_close = p;
    *ret_out = out;
    return 0;
}

/* The general way: escapes and bytes that are no UTF-8. p stands behind the
 * opening quote. */
static int unescape(struct json_lex *l, struct str *ret)
{
    const char *close;
    size_t cap;
    int r = measure_string(l, &close, &cap);
    if (r != 0)
        return r;
    char *start = arena_alloc(l->arena, cap + 1), *out = start;
    while (l->p < close) {
        size_t n = utf8_length(l->p, close);
        if (*l->p == '\\') {
            char c = l->p[1];
            l->p += 2;
            if (c == 'u') {
                int code = unicode_escape(l);
                if (code < 0)
                    return E_INVALID;
                out = put_utf8(out, (unsigned)code);
            } else {
                static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
                *out++ = to[strchr(from, c) - from];
            }
        } else if (n == 0) {
            out = put_utf8(out, REPLACEMENT);
            l->p++;
        } else {
            memcpy(out, l->p, n);
            out += n;
            l->p += n;
        }
    }
    *out = '\0';
    l->p = close + 1;
    *ret = str_n(start, (size_t)(out - start));
    return 0;
}

/* Scans to the closing quote; false when escapes or damage need the long way. */
static bool plain_string(const struct json_lex *l, const char **ret_close)
{
    const char *p = l->p;
    bool ascii = true;
    for (; p < l->end && *p != '"'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '\\' || c < 0x20)
            return false;
        ascii = ascii && c < 0x80;
    }
    if (p >= l->end || (!ascii && !str_is_utf8(str_n(l->p, (size_t)(p - l->p)))))
        return false;
    *ret_close = p;
    return true;
}

int json_lex_string(struct json_lex *l, struct str *ret)
{
    const char *close;
    l->p++;
    if (!plain_string(l, &close))
        return unescape(l, ret);
    *ret = json_lex_copy(l, str_n(l->p, (size_t)(close - l->p)));
    l->p = close + 1;
    return 0;
}

static bool at_digit(const struct json_lex *l)
{
    return l->p < l->end && *l->p >= '0' && *l->p <= '9';
}

static int skip_digits(struct json_lex *l, const char *context)
{
    if (!at_digit(l))
        return json_lex_fail(l, context);
    while (at_digit(l))
        l->p++;
    return 0;
}

int json_lex_number(struct json_lex *l, struct str *ret)
{
    const char *start = l->p;
    int r = 0;
    if (*l->p == '-')
        l->p++;
    if (l->p < l->end && *l->p == '0')
        l->p++;
    else
        r = skip_digits(l, "in numeric literal");
    if (r == 0 && l->p < l->end && *l->p == '.') {
        l->p++;
        r = skip_digits(l, "after decimal point in numeric literal");
    }
    if (r == 0 && l->p < l->end && (*l->p == 'e' || *l->p == 'E')) {
        l->p++;
        if (l->p < l->end && (*l->p == '+' || *l->p == '-'))
            l->p++;
        r = skip_digits(l, "in exponent of numeric literal");
    }
    if (r == 0)
        *ret = str_n(start, (size_t)(l->p - start));
    return r;
}

int json_lex_literal(struct json_lex *l, const char *word)
{
    for (const char *w = word; *w != '\0'; w++, l->p++) {
        if (l->p >= l->end || *l->p != *w) {
            char context[48];
            snprintf(context, sizeof(context), "in literal %s (expecting '%c')", word, *w);
            return json_lex_fail(l, context);
        }
    }
    return 0;
}

int json_lex_next(struct json_lex *l, char close, bool first)
{
    int c = json_lex_peek(l);
    if (c == close) {
        l->p++;
        return 0;
    }
    if (!first) {
        if (c != ',')
            return json_lex_fail(l, close == '}' ? "after object key:value pair"
                                                 : "after array element");
        l->p++;
        c = json_lex_peek(l);
    }
    if (close == '}' && c != '"')
        return json_lex_fail(l, "looking for beginning of object key string");
    return 1;
}

static int colon(struct json_lex *l)
{
    if (json_lex_peek(l) != ':')
        return json_lex_fail(l, "after object key");
    l->p++;
    return 0;
}

int json_lex_key(struct json_lex *l, struct str *ret)
{
    int r = json_lex_string(l, ret);
    return r != 0 ? r : colon(l);
}

int json_lex_key_view(struct json_lex *l, struct str *ret)
{
    const char *close;
    int r = 0;
    l->p++;
    if (plain_string(l, &close)) {
        *ret = str_n(l->p, (size_t)(close - l->p));
        l->p = close + 1;
    } else {
        r = unescape(l, ret);
    }
    return r != 0 ? r : colon(l);
}

static int skip_string(struct json_lex *l)
{
    const char *close = l->p;
    size_t cap;
    l->p++;
    int r = measure_string(l, &close, &cap);
    if (r == 0)
        l->p = close + 1;
    return r;
}

int json_lex_skip(struct json_lex *l, unsigned depth, struct str *ret)
{
    if (depth > API_DEPTH_MAX)
        return error_set(l->err, E_INVALID, "exceeded max depth");
    int c = json_lex_peek(l), r = 0;
    const char *start = l->p;
    struct str ignored;
    switch (c) {
    case '{':
    case '[':
        l->p++;
        for (bool first = true; (r = json_lex_next(l, c == '{' ? '}' : ']', first)) > 0;
             first = false) {
            if (c == '{') {
                if ((r = skip_string(l)) != 0)
                    return r;
                if ((r = colon(l)) != 0)
                    return r;
            }
            if ((r = json_lex_skip(l, depth + 1, &ignored)) != 0)
                return r;
        }
        break;
    case '"':
        r = skip_string(l);
        break;
    case 't':
        r = json_lex_literal(l, "true");
        break;
    case 'f':
        r = json_lex_literal(l, "false");
        break;
    case 'n':
        r = json_lex_literal(l, "null");
        break;
    default:
        if (c != '-' && !(c >= '0' && c <= '9'))
            return json_lex_fail(l, "looking for beginning of value");
        r = json_lex_number(l, &ignored);
    }
    if (r == 0)
        *ret = str_n(start, (size_t)(l->p - start));
    return r;
}

int json_lex_end(struct json_lex *l)
{
    if (json_lex_peek(l) < 0)
        return 0;
    return json_lex_fail(l, "after top-level value");
}
