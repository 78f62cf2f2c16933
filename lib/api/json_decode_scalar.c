/* json_decode_scalar.c - numbers, strings and bytes of typed JSON. */
#include "lib/api/json_decode.h"

#include "lib/base/arena.h"

#include <math.h>
#include <stdio.h>

/* A number that its type cannot hold. */
static void wrong_number(struct json_decoder *d, const struct json_frame *frame, struct str text,
                         const char *go_type)
{
    char value[64];
    snprintf(value, sizeof(value), "number " STR_FMT, STR_ARG(text));
    json_decode_wrong_value(d, frame, value, go_type);
}

int json_decode_int(struct json_decoder *d, const struct json_frame *frame, int bits, int64_t *ret)
{
    const char *go_type = bits == 32 ? "int32" : "int64";
    int c = json_lex_peek(&d->lex), r;
    if (c != '-' && !(c >= '0' && c <= '9')) {
        r = json_decode_mismatch(d, frame, go_type);
        return r != 0 ? r : 1;
    }
    struct str text;
    int64_t v;
    if ((r = json_lex_number(&d->lex, &text)) != 0)
        return r;
    if (!str_to_i64(text, &v) || (bits == 32 && (v < INT32_MIN || v > INT32_MAX))) {
        wrong_number(d, frame, text, go_type);
        return 1;
    }
    *ret = v;
    return 0;
}

int json_decode_bool(struct json_decoder *d, const struct json_frame *frame, bool *ret)
{
    int c = json_lex_peek(&d->lex);
    if (c != 't' && c != 'f')
        return json_decode_mismatch(d, frame, "bool");
    *ret = c == 't';
    return json_lex_literal(&d->lex, c == 't' ? "true" : "false");
}

int json_decode_double(struct json_decoder *d, const struct json_frame *frame, double *ret)
{
    int c = json_lex_peek(&d->lex);
    if (c != '-' && !(c >= '0' && c <= '9'))
        return json_decode_mismatch(d, frame, "float64");
    struct str text;
    int r = json_lex_number(&d->lex, &text);
    if (r != 0)
        return r;
    /* The text goes on behind the number, which strtod() takes no part of. */
    char copy[64];
    if (text.len < sizeof(copy)) {
        memcpy(copy, text.data, text.len);
        copy[text.len] = '\0';
        *ret = strtod(copy, NULL);
    } else {
        *ret = strtod(str_c(arena_str(d->lex.arena, text)), NULL);
    }
    if (!isfinite(*ret)) {
        *ret = 0;
        wrong_number(d, frame, text, "float64");
    }
    return 0;
}

int json_decode_string(struct json_decoder *d, const struct json_frame *frame, struct str *ret)
{
    if (json_lex_peek(&d->lex) != '"')
        return json_decode_mismatch(d, frame, "string");
    return json_lex_string(&d->lex, ret);
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Go's standard decoding: line breaks are skipped, padding is due, and spare
 * bits do not matter. The offset of the offending byte, or -1 when all is well. */
static ptrdiff_t decode_base64(struct str s, char *out, size_t *ret_len)
{
    size_t len = 0, i = 0;
    for (;;) {
        unsigned group[4], n = 0;
        size_t padding = 0;
        for (; n < 4 && i < s.len; i++) {
            if (s.data[i] == '\n' || s.data[i] == '\r')
                continue;
            if (s.data[i] == '=') {
                if (n < 2)
                    return (ptrdiff_t)i;
                padding++;
                group[n++] = 0;
            } else {
                int v = base64_digit(s.data[i]);
                if (v < 0 || padding > 0)
                    return (ptrdiff_t)i;
                group[n++] = (unsigned)v;
            }
        }
        if (n == 0)
            break;
        if (n < 4)
            return (ptrdiff_t)i;
        out[len++] = (char)(group[0] << 2 | group[1] >> 4);
        if (padding < 2)
            out[len++] = (char)(group[1] << 4 | group[2] >> 2);
        if (padding < 1)
            out[len++] = (char)(group[2] << 6 | group[3]);
        if (padding > 0) {
            for (; i < s.len; i++) /* Nothing may follow the padding. */
                if (s.data[i] != '\n' && s.data[i] != '\r')
                    return (ptrdiff_t)i;
            break;
        }
    }
    *ret_len = len;
    return -1;
}

int json_decode_bytes(struct json_decoder *d, const struct json_frame *frame, struct str *ret)
{
    struct str text;
    if (json_lex_peek(&d->lex) != '"')
        return json_decode_mismatch(d, frame, "[]uint8");
    int r = json_lex_string(&d->lex, &text);
    if (r != 0)
        return r;
    char *out = arena_alloc(d->lex.arena, text.len / 4 * 3 + 4);
    size_t len = 0;
    ptrdiff_t bad = decode_base64(text, out, &len);
    if (bad >= 0)
        return json_decode_wrong(d, "illegal base64 data at input byte %td", bad);
    out[len] = '\0';
    *ret = str_n(out, len);
    return 0;
}
