/* pb_wire.h - reading protobuf's wire format: tags, varints, lengths. Nothing
 * here trusts its input. */
#ifndef API_PB_WIRE_H
#define API_PB_WIRE_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct error;

enum pb_type { PB_VARINT, PB_FIXED64, PB_BYTES, PB_GROUP_START, PB_GROUP_END, PB_FIXED32 };

struct pb_cursor {
    const uint8_t *p;
    const uint8_t *end;
};

/* One field as it stands on the wire. */
struct pb_item {
    uint32_t number;
    uint32_t type;    /* enum pb_type */
    uint64_t value;   /* Varints and fixed numbers. */
    struct str bytes; /* PB_BYTES: a view. */
};

static inline struct pb_cursor pb_cursor_of(struct str wire)
{
    const uint8_t *p = (const uint8_t *)wire.data;
    return (struct pb_cursor){p, p + wire.len};
}

/* A varint of up to ten bytes; false when it is cut off or too long. */
bool pb_varint_slow(struct pb_cursor *c, uint64_t *ret);
static inline bool pb_varint(struct pb_cursor *c, uint64_t *ret)
{
    if (c->p < c->end && *c->p < 0x80) {
        *ret = *c->p++;
        return true;
    }
    return pb_varint_slow(c, ret);
}

/* The next field; groups are skipped as wholes. 1: *ret is filled, 0: the end,
 * negative: damage. */
int pb_next_slow(struct pb_cursor *c, struct pb_item *ret, struct error *err);
static inline int pb_next(struct pb_cursor *c, struct pb_item *ret, struct error *err)
{
    const uint8_t *p = c->p;
    size_t left = (size_t)(c->end - p);
    /* Nearly all tags, lengths and numbers take one byte. */
    if (left >= 2 && p[0] >= 8 && ((p[0] | p[1]) & 0x80) == 0) {
        ret->number = p[0] >> 3;
        ret->type = p[0] & 7;
        if (ret->type == PB_BYTES && p[1] <= left - 2) {
            ret->bytes = str_n((const char *)p + 2, p[1]);
            c->p = p + 2 + p[1];
            return 1;
        }
        if (ret->type == PB_VARINT) {
            ret->value = p[1];
            c->p = p + 2;
            return 1;
        }
    }
    return left == 0 ? 0 : pb_next_slow(c, ret, err);
}

#endif
