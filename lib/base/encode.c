/* encode.c - see encode.h. */
#include "lib/base/encode.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"

static const char ALPHABET_STD[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char ALPHABET_URL[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char HEX[] = "0123456789abcdef";

static bool base64_is_url(enum base64_form form)
{
    return form == BASE64_URL || form == BASE64_RAW_URL;
}

static bool base64_is_raw(enum base64_form form)
{
    return form == BASE64_RAW_STD || form == BASE64_RAW_URL;
}

size_t base64_len(enum base64_form form, size_t n)
{
    size_t rest = n % 3;
    size_t tail = rest == 0 ? 0 : base64_is_raw(form) ? rest + 1 : 4;
    return n / 3 * 4 + tail;
}

void base64_encode_to(enum base64_form form, const void *p, size_t n, char *ret)
{
    const char *alphabet = base64_is_url(form) ? ALPHABET_URL : ALPHABET_STD;
    const uint8_t *in = p;
    for (; n >= 3; n -= 3, in += 3) {
        uint32_t v = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        *ret++ = alphabet[v >> 18];
        *ret++ = alphabet[v >> 12 & 63];
        *ret++ = alphabet[v >> 6 & 63];
        *ret++ = alphabet[v & 63];
    }
    if (n == 0)
        return;
    uint32_t v = (uint32_t)in[0] << 16 | (n == 2 ? (uint32_t)in[1] << 8 : 0);
    *ret++ = alphabet[v >> 18];
    *ret++ = alphabet[v >> 12 & 63];
    if (n == 2)
        *ret++ = alphabet[v >> 6 & 63];
    if (base64_is_raw(form))
        return;
    if (n == 1)
        *ret++ = '=';
    *ret = '=';
}

void base64_encode(enum base64_form form, const void *p, size_t n, struct buf *b)
{
    size_t len = base64_len(form, n);
    base64_encode_to(form, p, n, (char *)buf_reserve(b, len));
    buf_commit(b, len);
}

/* 0..63, or -1. */
static int base64_value(bool is_url, char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (is_url ? '-' : '+'))
        return 62;
    if (c == (is_url ? '_' : '/'))
        return 63;
    return -1;
}

/* Decodes the characters of s that stand for bits; *ret_pads counts the '='
 * behind them. Returns the number of characters used, or -1. */
static ptrdiff_t base64_decode_digits(bool is_url, struct str s, uint8_t *out, size_t *ret_len,
                                      size_t *ret_pads)
{
    uint32_t bits = 0;
    size_t digits = 0, len = 0, pads = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (c == '\n' || c == '\r')
            continue;
        if (c == '=') {
            pads++;
            continue;
        }
        int v = base64_value(is_url, c);
        if (v < 0 || pads > 0)
            return -1;
        bits = bits << 6 | (uint32_t)v;
        if (++digits % 4 == 0) {
            out[len++] = (uint8_t)(bits >> 16);
            out[len++] = (uint8_t)(bits >> 8);
            out[len++] = (uint8_t)bits;
            bits = 0;
        }
    }
    size_t rest = digits % 4;
    if (rest == 1 || (rest == 2 && (bits & 15) != 0) || (rest == 3 && (bits & 3) != 0))
        return -1;
    if (rest == 2)
        out[len++] = (uint8_t)(bits >> 4);
    if (rest == 3) {
        out[len++] = (uint8_t)(bits >> 10);
        out[len++] = (uint8_t)(bits >> 2);
    }
    *ret_len = len;
    *ret_pads = pads;
    return (ptrdiff_t)digits;
}

int base64_decode(enum base64_form form, struct str s, struct buf *b)
{
    size_t len = 0, pads = 0;
    uint8_t *out = buf_reserve(b, s.len / 4 * 3 + 3);
    ptrdiff_t digits = base64_decode_digits(base64_is_url(form), s, out, &len, &pads);
    if (digits < 0)
        return E_INVALID;
    size_t want = base64_is_raw(form) || digits % 4 == 0 ? 0 : 4 - (size_t)digits % 4;
    if (pads != want)
        return E_INVALID;
    buf_commit(b, len);
    return 0;
}

void hex_encode_to(const void *p, size_t n, char *ret)
{
    const uint8_t *in = p;
    for (size_t i = 0; i < n; i++) {
        *ret++ = HEX[in[i] >> 4];
        *ret++ = HEX[in[i] & 15];
    }
}

void hex_encode(const void *p, size_t n, struct buf *b)
{
    hex_encode_to(p, n, (char *)buf_reserve(b, 2 * n));
    buf_commit(b, 2 * n);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int hex_decode(struct str s, struct buf *b)
{
    if (s.len % 2 != 0)
        return E_INVALID;
    uint8_t *out = buf_reserve(b, s.len / 2);
    for (size_t i = 0; i < s.len; i += 2) {
        int high = hex_value(s.data[i]), low = hex_value(s.data[i + 1]);
        if (high < 0 || low < 0)
            return E_INVALID;
        out[i / 2] = (uint8_t)(high << 4 | low);
    }
    buf_commit(b, s.len / 2);
    return 0;
}
