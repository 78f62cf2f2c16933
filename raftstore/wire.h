/* wire.h - the store's own encodings: bounded reading of untrusted bytes, and what writes them.
 *
 * The first read beyond the end sets `bad`; every later read gives zero or an empty string. So a
 * decoder reads all its fields and checks once. */
#ifndef RAFTSTORE_WIRE_H
#define RAFTSTORE_WIRE_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

struct wire {
    const uint8_t *p;
    size_t left;
    bool bad;
};

static inline struct wire wire_of(struct str bytes)
{
    return (struct wire){(const uint8_t *)bytes.data, bytes.len, false};
}
static inline size_t wire_left(const struct wire *w)
{
    return w->left;
}
/* For what reads well and makes no sense. */
static inline uint64_t wire_fail(struct wire *w)
{
    w->bad = true;
    w->left = 0;
    return 0;
}
/* n bytes in place, or NULL. */
static inline const uint8_t *wire_take(struct wire *w, size_t n)
{
    if (w->bad || n > w->left) {
        wire_fail(w);
        return NULL;
    }
    const uint8_t *p = w->p;
    w->p += n;
    w->left -= n;
    return p;
}
static inline uint64_t wire_le(struct wire *w, unsigned n)
{
    const uint8_t *p = wire_take(w, n);
    uint64_t v = 0;
    for (unsigned i = 0; p != NULL && i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}
static inline uint8_t wire_u8(struct wire *w)
{
    return (uint8_t)wire_le(w, 1);
}
static inline uint32_t wire_u32(struct wire *w)
{
    return (uint32_t)wire_le(w, 4);
}
static inline uint64_t wire_u64(struct wire *w)
{
    return wire_le(w, 8);
}
/* A boolean: any byte but 0 and 1 is bad. */
static inline bool wire_bool(struct wire *w)
{
    uint8_t v = wire_u8(w);
    if (v > 1)
        wire_fail(w);
    return v == 1;
}
/* Base-128, as buf_put_varint() writes it. */
static inline uint64_t wire_varint(struct wire *w)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && w->left > 0 && !w->bad; shift += 7) {
        uint8_t b = *w->p++;
        w->left--;
        if (shift == 63 && b > 1)
            break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            return v;
    }
    return wire_fail(w);
}
/* Signed numbers, small ones of either sign short: see wire_put_signed(). */
static inline int64_t wire_signed(struct wire *w)
{
    uint64_t v = wire_varint(w);
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}
/* A number of things; more than max is bad. */
static inline uint32_t wire_count(struct wire *w, uint32_t max)
{
    uint64_t n = wire_varint(w);
    return n > max ? (uint32_t)wire_fail(w) : (uint32_t)n;
}
/* Length and bytes, in place; more than max is bad. */
static inline struct str wire_str(struct wire *w, size_t max)
{
    uint64_t n = wire_varint(w);
    const uint8_t *p = n > max ? NULL : wire_take(w, (size_t)n);
    if (n > max)
        wire_fail(w);
    return p == NULL ? STR_NULL : str_n((const char *)p, (size_t)n);
}
/* What is left, in place; more than max is bad. */
static inline struct str wire_rest(struct wire *w, size_t max)
{
    size_t n = w->left;
    if (n > max)
        wire_fail(w);
    const uint8_t *p = wire_take(w, n);
    return p == NULL ? STR_NULL : str_n((const char *)p, n);
}
/* All was read and nothing is left. */
static inline bool wire_end(const struct wire *w)
{
    return !w->bad && w->left == 0;
}

static inline void wire_put_str(struct buf *out, struct str s)
{
    buf_put_varint(out, s.len);
    buf_append_str(out, s);
}
static inline void wire_put_signed(struct buf *out, int64_t v)
{
    buf_put_varint(out, ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0));
}

#endif
