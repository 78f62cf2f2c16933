/* str.h - a string with its length: what API objects hold.
 *
 * A str does not own its bytes. Those made by arenas and codecs are followed
 * by a NUL that len does not count, so `data` works as a C string where a NUL
 * inside cannot matter. {NULL, 0} is the empty string. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *data;
    size_t len;
};

#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})
#define STR_NULL ((struct str){NULL, 0})
/* For printf's "%.*s": printf(STR_FMT, STR_ARG(s)). */
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).len, ((s).data != NULL ? (s).data : "")

static inline struct str str_of(const char *c)
{
    return (struct str){c, c != NULL ? strlen(c) : 0};
}
static inline struct str str_n(const char *data, size_t len)
{
    return (struct str){data, len};
}
/* The bytes as a C string; never NULL. Only for strs that end with a NUL. */
static inline const char *str_c(struct str s)
{
    return s.data != NULL ? s.data : "";
}
static inline bool str_empty(struct str s)
{
    return s.len == 0;
}
static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
static inline bool str_eqc(struct str a, const char *b)
{
    return str_eq(a, str_of(b));
}
static inline bool str_has_prefix(struct str s, struct str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}
static inline bool str_has_suffix(struct str s, struct str suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 || memcmp(s.data + s.len - suffix.len, suffix.data, suffix.len) == 0);
}
/* Byte order, shorter first among equals: the order of map keys and lists. */
int str_cmp(struct str a, struct str b);
/* Index of the first c at or after from, or -1. */
ptrdiff_t str_find(struct str s, char c, size_t from);
/* Position of the first occurrence of needle, or -1. */
ptrdiff_t str_find_str(struct str s, struct str needle);
/* Cuts at the first sep: *ret_head gets what stands before it, *ret_tail what
 * follows. False, with head = s and tail empty, when there is no sep. */
bool str_cut(struct str s, char sep, struct str *ret_head, struct str *ret_tail);
struct str str_sub(struct str s, size_t from, size_t len); /* Clamped to s. */
struct str str_trim(struct str s); /* Without ASCII white space at the ends. */
/* Whole-string decimal; false on junk, overflow or emptiness. */
bool str_to_i64(struct str s, int64_t *ret);
bool str_to_u64(struct str s, uint64_t *ret);
bool str_is_utf8(struct str s);

#endif
