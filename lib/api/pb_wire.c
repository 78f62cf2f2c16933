/* pb_wire.c - see pb_wire.h. */
#include "lib/api/pb_wire.h"

#include "lib/api/codec.h"
#include "lib/base/error.h"

bool pb_varint_slow(struct pb_cursor *c, uint64_t *ret)
{
    uint64_t v = 0;
    const uint8_t *p = c->p;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (p >= c->end)
            return false;
        uint8_t byte = *p++;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            c->p = p;
            *ret = v;
            return true;
        }
    }
    return false;
}

static int cut_off(struct error *err)
{
    return error_set(err, E_INVALID, "unexpected EOF");
}

static int read_payload(struct pb_cursor *c, struct pb_item *ret, struct error *err)
{
    uint64_t n;
    switch (ret->type) {
    case PB_VARINT:
        return pb_varint(c, &ret->value) ? 0 : cut_off(err);
    case PB_FIXED64:
    case PB_FIXED32:
        n = ret->type == PB_FIXED64 ? 8 : 4;
        if ((uint64_t)(c->end - c->p) < n)
            return cut_off(err);
        ret->value = 0;
        for (unsigned i = 0; i < n; i++)
            ret->value |= (uint64_t)c->p[i] << (8 * i);
        c->p += n;
        return 0;
    case PB_BYTES:
        if (!pb_varint(c, &n) || n > (uint64_t)(c->end - c->p))
            return cut_off(err);
        ret->bytes = str_n((const char *)c->p, (size_t)n);
        c->p += n;
        return 0;
    default:
        return error_set(err, E_INVALID, "proto: illegal wireType %u", ret->type);
    }
}

static int read_tag(struct pb_cursor *c, struct pb_item *ret, struct error *err)
{
    uint64_t tag;
    if (!pb_varint(c, &tag))
        return cut_off(err);
    ret->type = (uint32_t)tag & 7;
    if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return error_set(err, E_INVALID, "proto: illegal tag %lld (wire type %u)",
                         (long long)(tag >> 3), ret->type);
    ret->number = (uint32_t)(tag >> 3);
    return 0;
}

static int skip_group(struct pb_cursor *c, struct error *err)
{
    for (unsigned depth = 1; depth > 0;) {
        struct pb_item inner = {0};
        if (c->p >= c->end)
            return cut_off(err);
        int r = read_tag(c, &inner, err);
        if (r != 0)
            return r;
        if (inner.type == PB_GROUP_START) {
            if (++depth > API_DEPTH_MAX)
                return error_set(err, E_INVALID, "proto: groups nested too deeply");
        } else if (inner.type == PB_GROUP_END) {
            depth--;
        } else if ((r = read_payload(c, &inner, err)) != 0) {
            return r;
        }
    }
    return 0;
}

int pb_next_slow(struct pb_cursor *c, struct pb_item *ret, struct error *err)
{
    while (c->p < c->end) {
        int r = read_tag(c, ret, err);
        if (r != 0)
            return r;
        if (ret->type == PB_GROUP_END)
            return error_set(err, E_INVALID, "proto: wiretype end group for non-group");
        if (ret->type != PB_GROUP_START) {
            r = read_payload(c, ret, err);
            return r != 0 ? r : 1;
        }
        if ((r = skip_group(c, err)) != 0)
            return r;
    }
    return 0;
}
