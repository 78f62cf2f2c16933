/* wire.h - reading little-endian fields from untrusted bytes.
 *
 * The first read beyond the end sets `bad`; every later read gives zero. So a
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
/* n bytes in place, or NULL. */
static inline const uint8_t *wire_take(struct wire *w, size_t n)
{
    if (w->bad || n > w->left) {
        w->bad = true;
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
        w->bad = true;
    return v == 1;
}
static inline uint64_t wire_varint(struct wire *w)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        const uint8_t *p = wire_take(w, 1);
        if (p == NULL)
            return 0;
        if (shift == 63 && *p > 1)
            break;
        v |= (uint64_t)(*p & 0x7f) << shift;
        if ((*p & 0x80) == 0)
            return v;
    }
    w->bad = true;
    return 0;
}
/* Length and bytes, in place; more than max is bad. */
static inline struct str wire_str(struct wire *w, size_t max)
{
    uint64_t n = wire_varint(w);
    if (n > max)
        w->bad = true;
    const uint8_t *p = wire_take(w, w->bad ? 0 : (size_t)n);
    return p == NULL ? STR_NULL : str_n((const char *)p, (size_t)n);
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

#endif
