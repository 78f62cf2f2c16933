/* reader.h - bounded reading of the store's own encodings.
 *
 * After a field that does not fit, `bad` is set, every further field is zero or
 * empty and nothing more is consumed: check once at the end. */
#ifndef RAFTSTORE_READER_H
#define RAFTSTORE_READER_H

#include "lib/base/str.h"

struct reader {
    const uint8_t *p;
    const uint8_t *end;
    bool bad;
};

static inline struct reader reader_of(struct str bytes)
{
    const uint8_t *p = (const uint8_t *)bytes.data;
    return (struct reader){p, p != NULL ? p + bytes.len : p, false};
}
static inline size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->p);
}
/* All read, and nothing was bad. */
static inline bool reader_complete(const struct reader *r)
{
    return !r->bad && r->p == r->end;
}

static inline uint64_t reader_fail(struct reader *r)
{
    r->bad = true;
    r->p = r->end;
    return 0;
}

static inline uint8_t reader_u8(struct reader *r)
{
    if (r->p == r->end)
        return (uint8_t)reader_fail(r);
    return *r->p++;
}

/* Base-128, as buf_put_varint() writes it. */
static inline uint64_t reader_varint(struct reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && r->p < r->end; shift += 7) {
        uint8_t b = *r->p++;
        if (shift == 63 && b > 1)
            break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            return v;
    }
    return reader_fail(r);
}

/* Signed numbers, small ones of either sign short: see signed_code(). */
static inline int64_t reader_signed(struct reader *r)
{
    uint64_t v = reader_varint(r);
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static inline uint64_t signed_code(int64_t v)
{
    return ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
}

/* A length, at most max, and that many bytes: a view into the input. */
static inline struct str reader_str(struct reader *r, size_t max)
{
    uint64_t n = reader_varint(r);
    if (n > max || n > reader_left(r)) {
        reader_fail(r);
        return STR_NULL;
    }
    struct str s = str_n((const char *)r->p, (size_t)n);
    r->p += n;
    return s;
}

/* A number of things, at most max. */
static inline uint32_t reader_count(struct reader *r, uint32_t max)
{
    uint64_t n = reader_varint(r);
    return n > max ? (uint32_t)reader_fail(r) : (uint32_t)n;
}

#endif
