/* str.c - comparing, cutting and parsing counted strings. */
#include "lib/base/str.h"

#include "lib/base/base.h"

int str_cmp(struct str a, struct str b)
{
    size_t n = MIN_OF(a.len, b.len);
    int c = n != 0 ? memcmp(a.data, b.data, n) : 0;
    if (c != 0)
        return c;
    return a.len < b.len ? -1 : a.len > b.len;
}

ptrdiff_t str_find(struct str s, char c, size_t from)
{
    if (from >= s.len)
        return -1;
    const char *p = memchr(s.data + from, c, s.len - from);
    return p != NULL ? p - s.data : -1;
}

ptrdiff_t str_find_str(struct str s, struct str needle)
{
    if (needle.len == 0)
        return 0;
    if (s.len < needle.len)
        return -1;
    const char *p = memmem(s.data, s.len, needle.data, needle.len);
    return p != NULL ? p - s.data : -1;
}

bool str_cut(struct str s, char sep, struct str *ret_head, struct str *ret_tail)
{
    ptrdiff_t at = str_find(s, sep, 0);
    if (at < 0) {
        *ret_head = s;
        *ret_tail = STR_NULL;
        return false;
    }
    struct str whole = s;
    *ret_head = str_n(whole.data, (size_t)at);
    *ret_tail = str_n(whole.data + at + 1, whole.len - (size_t)at - 1);
    return true;
}

struct str str_sub(struct str s, size_t from, size_t len)
{
    if (from >= s.len)
        return STR_NULL;
    return str_n(s.data + from, MIN_OF(len, s.len - from));
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

struct str str_trim(struct str s)
{
    while (s.len > 0 && is_space(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && is_space(s.data[s.len - 1]))
        s.len--;
    return s;
}

bool str_to_u64(struct str s, uint64_t *ret)
{
    uint64_t v = 0;
    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9')
            return false;
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.data[i] - '0'), &v))
            return false;
    }
    *ret = v;
    return true;
}

bool str_to_i64(struct str s, int64_t *ret)
{
    bool negative = s.len > 0 && s.data[0] == '-';
    if (s.len > 0 && (s.data[0] == '-' || s.data[0] == '+'))
        s = str_n(s.data + 1, s.len - 1);
    uint64_t u = 0;
    if (!str_to_u64(s, &u) || u > (uint64_t)INT64_MAX + negative)
        return false;
    *ret = negative ? (int64_t)(0 - u) : (int64_t)u;
    return true;
}

/* Length of the well-formed UTF-8 sequence at p (RFC 3629), or 0. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf && left >= 2 && (p[1] & 0xc0) == 0x80)
        return 2;
    if (p[0] >= 0xe0 && p[0] <= 0xef && left >= 3 && (p[1] & 0xc0) == 0x80 &&
        (p[2] & 0xc0) == 0x80) {
        bool overlong = p[0] == 0xe0 && p[1] < 0xa0;
        bool surrogate = p[0] == 0xed && p[1] >= 0xa0;
        return overlong || surrogate ? 0 : 3;
    }
    if (p[0] >= 0xf0 && p[0] <= 0xf4 && left >= 4 && (p[1] & 0xc0) == 0x80 &&
        (p[2] & 0xc0) == 0x80 && (p[3] & 0xc0) == 0x80) {
        bool overlong = p[0] == 0xf0 && p[1] < 0x90;
        bool beyond = p[0] == 0xf4 && p[1] >= 0x90;
        return overlong || beyond ? 0 : 4;
    }
    return 0;
}

bool str_is_utf8(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.data;
    for (size_t i = 0; i < s.len;) {
        size_t n = utf8_sequence(p + i, s.len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}
