/* cel_string.c - strings: what the language has, its string extension, and
 * Kubernetes' find and findAll. Positions count code points. */
#include "lib/api/cel/cel_table.h"

#include "lib/base/buf.h"

#include <inttypes.h>

static V text(C *c, const struct buf *b)
{
    return cel_of_str(arena_str(c->arena, buf_str(b)));
}

/* --- tests -------------------------------------------------------------------------------- */
/* Cost of looking for needle anywhere in s. */
static void charge_search(C *c, struct str s, struct str needle)
{
    cel_charge(c, (s.len + 9) / 10 * ((needle.len + 9) / 10));
}

static V contains(C *c, const V *a)
{
    charge_search(c, a[0].string, a[1].string);
    return cel_of_bool(a[1].string.len == 0 || str_find_str(a[0].string, a[1].string) >= 0);
}

static V starts_with(C *c, const V *a)
{
    cel_charge_bytes(c, a[1].string.len);
    return cel_of_bool(str_has_prefix(a[0].string, a[1].string));
}

static V ends_with(C *c, const V *a)
{
    cel_charge_bytes(c, a[1].string.len);
    return cel_of_bool(str_has_suffix(a[0].string, a[1].string));
}

/* --- regular expressions --------------------------------------------------------------------- */
static struct cel_pattern *pattern_of(C *c, const V *a, V *ret_error)
{
    struct str why;
    cel_charge(c, (a[0].string.len / 10 + 1) * (a[1].string.len / 4 + 1));
    if (c->node->pattern != NULL)
        return c->node->pattern;
    struct cel_pattern *p = cel_pattern_new(c->arena, a[1].string, &why);
    if (p == NULL)
        *ret_error = cel_error(c->arena, STR_FMT, STR_ARG(why));
    return p;
}

static V matches(C *c, const V *a)
{
    V error;
    size_t from, to;
    struct cel_pattern *p = pattern_of(c, a, &error);
    return p == NULL ? error : cel_of_bool(cel_pattern_find(p, a[0].string, 0, &from, &to));
}

static V find(C *c, const V *a)
{
    V error;
    size_t from, to;
    struct cel_pattern *p = pattern_of(c, a, &error);
    if (p == NULL)
        return error;
    if (!cel_pattern_find(p, a[0].string, 0, &from, &to))
        return cel_of_str(STR(""));
    return cel_of_str(str_sub(a[0].string, from, to - from));
}

static V find_all(C *c, const V *a)
{
    V error;
    size_t from, to, at = 0;
    struct cel_pattern *p = pattern_of(c, a, &error);
    if (p == NULL)
        return error;
    struct cel_list *l = cel_list_new(c->arena);
    int64_t max = c->function->arg_count == 3 ? a[2].integer : -1;
    while ((max < 0 || (int64_t)l->count < max) && at <= a[0].string.len &&
           cel_pattern_find(p, a[0].string, at, &from, &to)) {
        cel_list_add(c->arena, l, cel_of_str(str_sub(a[0].string, from, to - from)));
        at = to > from ? to : to + 1;
    }
    return cel_of_list(l);
}

/* --- positions
 * ------------------------------------------------------------------------------------ */
static V char_at(C *c, const V *a)
{
    struct str s;
    int64_t i = a[1].integer;
    size_t n = cel_utf8_len(a[0].string);
    if (i < 0 || (uint64_t)i > n)
        return cel_error(c->arena, "index out of range: %" PRId64, i);
    if ((size_t)i == n)
        return cel_of_str(STR(""));
    cel_utf8_slice(a[0].string, (size_t)i, (size_t)i + 1, &s);
    return cel_of_str(s);
}

static V substring(C *c, const V *a)
{
    struct str s;
    size_t n = cel_utf8_len(a[0].string);
    int64_t from = a[1].integer, to = c->function->arg_count == 3 ? a[2].integer : (int64_t)n;
    cel_charge_bytes(c, a[0].string.len);
    if (from < 0 || (uint64_t)from > n)
        return cel_error(c->arena, "index out of range: %" PRId64, from);
    if (to < 0 || (uint64_t)to > n)
        return cel_error(c->arena, "index out of range: %" PRId64, to);
    if (from > to)
        return cel_error(c->arena, "invalid substring range. start: %" PRId64 ", end: %" PRId64,
                         from, to);
    cel_utf8_slice(a[0].string, (size_t)from, (size_t)to, &s);
    return cel_of_str(s);
}

/* The byte where code point i begins; s.len when there are not so many. */
static size_t byte_at(struct str s, int64_t i)
{
    size_t at = 0;
    uint32_t ch;
    for (; i > 0 && at < s.len; i--)
        at += cel_utf8_next(s, at, &ch);
    return at;
}

static V index_of(C *c, const V *a)
{
    struct str s = a[0].string, needle = a[1].string;
    int64_t from = c->function->arg_count == 3 ? a[2].integer : 0;
    charge_search(c, s, needle);
    if (from < 0)
        return cel_error(c->arena, "index out of range: %" PRId64, from);
    if ((uint64_t)from > cel_utf8_len(s))
        return cel_of_int(-1);
    size_t at = byte_at(s, from);
    if (needle.len == 0)
        return cel_of_int(from);
    ptrdiff_t found = str_find_str(str_sub(s, at, s.len - at), needle);
    if (found < 0)
        return cel_of_int(-1);
    return cel_of_int(from + (int64_t)cel_utf8_len(str_sub(s, at, (size_t)found)));
}

static V last_index_of(C *c, const V *a)
{
    struct str s = a[0].string, needle = a[1].string;
    int64_t n = (int64_t)cel_utf8_len(s), from = c->function->arg_count == 3 ? a[2].integer : n;
    charge_search(c, s, needle);
    if (from < 0)
        return cel_error(c->arena, "index out of range: %" PRId64, from);
    if (needle.len > s.len)
        return cel_of_int(-1);
    if (needle.len == 0)
        return cel_of_int(MIN_OF(from, n));
    for (size_t at = MIN_OF(byte_at(s, from), s.len - needle.len) + 1; at-- > 0;)
        if (memcmp(s.data + at, needle.data, needle.len) == 0)
            return cel_of_int((int64_t)cel_utf8_len(str_sub(s, 0, at)));
    return cel_of_int(-1);
}

/* --- changes
 * ----------------------------------------------------------------------------------------- */
static V ascii_case(C *c, const V *a)
{
    bool upper = c->function->name[0] == 'u';
    cel_charge_bytes(c, a[0].string.len);
    struct str s = arena_str(c->arena, a[0].string);
    char *p = (char *)(uintptr_t)s.data;
    for (size_t i = 0; i < s.len; i++) {
        char from = upper ? 'a' : 'A', to = upper ? 'z' : 'Z';
        if (p[i] >= from && p[i] <= to)
            p[i] = (char)(p[i] ^ 0x20);
    }
    return cel_of_str(s);
}

static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

static V trim(C *c, const V *a)
{
    struct str s = a[0].string;
    size_t from = SIZE_MAX, to = 0;
    cel_charge_bytes(c, s.len);
    for (size_t i = 0; i < s.len;) {
        uint32_t ch;
        size_t n = cel_utf8_next(s, i, &ch);
        if (!is_space(ch)) {
            from = MIN_OF(from, i);
            to = i + n;
        }
        i += n;
    }
    return cel_of_str(from == SIZE_MAX ? STR("") : str_sub(s, from, to - from));
}

static V replace(C *c, const V *a)
{
    struct str s = a[0].string, old = a[1].string;
    int64_t left = c->function->arg_count == 4 ? a[3].integer : -1;
    cel_charge_bytes(c, s.len);
    AUTO_BUF b = BUF_INIT;
    size_t at = 0;
    while (left != 0 && at <= s.len) {
        ptrdiff_t found = old.len == 0 ? 0 : str_find_str(str_sub(s, at, s.len - at), old);
        if (found < 0)
            break;
        buf_append_str(&b, str_sub(s, at, (size_t)found));
        buf_append_str(&b, a[2].string);
        at += (size_t)found + old.len;
        if (old.len == 0) { /* Between all code points, and at both ends. */
            uint32_t ch;
            size_t n = at < s.len ? cel_utf8_next(s, at, &ch) : 1;
            buf_append_str(&b, str_sub(s, at, n));
            at += n;
        }
        left -= left > 0;
        if (!cel_charge(c, a[2].string.len / 10))
            break;
    }
    if (at < s.len)
        buf_append_str(&b, str_sub(s, at, s.len - at));
    return text(c, &b);
}

static V split(C *c, const V *a)
{
    struct str s = a[0].string, sep = a[1].string;
    int64_t max = c->function->arg_count == 3 ? a[2].integer : -1;
    cel_charge_bytes(c, s.len);
    struct cel_list *l = cel_list_new(c->arena);
    if (max == 0)
        return cel_of_list(l);
    size_t at = 0;
    while ((max < 0 || (int64_t)l->count + 1 < max) && at < s.len) {
        uint32_t ch;
        ptrdiff_t found = sep.len == 0 ? (ptrdiff_t)cel_utf8_next(s, at, &ch)
                                       : str_find_str(str_sub(s, at, s.len - at), sep);
        if (found < 0 || (sep.len == 0 && at + (size_t)found >= s.len))
            break;
        cel_list_add(c->arena, l, cel_of_str(str_sub(s, at, (size_t)found)));
        at += (size_t)found + sep.len;
    }
    if (sep.len != 0 || at < s.len)
        cel_list_add(c->arena, l, cel_of_str(str_sub(s, at, s.len - at)));
    return cel_of_list(l);
}

static V join(C *c, const V *a)
{
    AUTO_BUF b = BUF_INIT;
    struct str sep = c->function->arg_count == 2 ? a[1].string : STR("");
    for (size_t i = 0, n = cel_size(&a[0]); i < n && c->cost_left >= 0; i++) {
        V v = cel_item(&a[0], i);
        if (v.kind != CEL_STRING)
            return cel_error(c->arena, "no such overload");
        buf_append_str(&b, i != 0 ? sep : STR(""));
        buf_append_str(&b, v.string);
        cel_charge(c, (v.string.len + sep.len) / 10);
    }
    return text(c, &b);
}

static V reverse(C *c, const V *a)
{
    struct str s = a[0].string;
    cel_charge_bytes(c, s.len);
    char *p = arena_alloc(c->arena, s.len + 1);
    size_t end = s.len;
    for (size_t i = 0; i < s.len;) {
        uint32_t ch;
        size_t n = cel_utf8_next(s, i, &ch);
        end -= n;
        memcpy(p + end, s.data + i, n);
        i += n;
    }
    p[s.len] = '\0';
    return cel_of_str(str_n(p, s.len));
}

static V quote(C *c, const V *a)
{
    static const char from[] = "\a\b\f\n\r\t\v\\\"", to[] = "abfnrtv\\\"";
    cel_charge_bytes(c, a[0].string.len);
    AUTO_BUF b = BUF_INIT;
    buf_putc(&b, '"');
    for (size_t i = 0; i < a[0].string.len; i++) {
        char ch = a[0].string.data[i];
        const char *p = ch != '\0' ? strchr(from, ch) : NULL;
        if (p != NULL)
            buf_putc(&b, '\\');
        buf_putc(&b, p != NULL ? to[p - from] : ch);
    }
    buf_putc(&b, '"');
    return text(c, &b);
}

#define S &cel_string
#define I &cel_int

V cel_string_format(C *c, const V *a);

const struct cel_function cel_functions_string[] = {
    M("contains", 2, &cel_bool, contains, S, S),
    M("startsWith", 2, &cel_bool, starts_with, S, S),
    M("endsWith", 2, &cel_bool, ends_with, S, S),
    M("matches", 2, &cel_bool, matches, S, S),
    G("matches", 2, &cel_bool, matches, S, S),
    M("find", 2, S, find, S, S),
    M("findAll", 2, &cel_list_string, find_all, S, S),
    M("findAll", 3, &cel_list_string, find_all, S, S, I),
    M("charAt", 2, S, char_at, S, I),
    M("substring", 2, S, substring, S, I),
    M("substring", 3, S, substring, S, I, I),
    M("indexOf", 2, I, index_of, S, S),
    M("indexOf", 3, I, index_of, S, S, I),
    M("lastIndexOf", 2, I, last_index_of, S, S),
    M("lastIndexOf", 3, I, last_index_of, S, S, I),
    M("lowerAscii", 1, S, ascii_case, S),
    M("upperAscii", 1, S, ascii_case, S),
    M("trim", 1, S, trim, S),
    M("replace", 3, S, replace, S, S, S),
    M("replace", 4, S, replace, S, S, S, I),
    M("split", 2, &cel_list_string, split, S, S),
    M("split", 3, &cel_list_string, split, S, S, I),
    M("join", 1, S, join, &cel_list_string),
    M("join", 2, S, join, &cel_list_string, S),
    M("reverse", 1, S, reverse, S),
    G("strings.quote", 1, S, quote, S),
    M("format", 2, S, cel_string_format, S, &cel_list_dyn),
    {NULL},
};
