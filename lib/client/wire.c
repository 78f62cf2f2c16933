/* wire.c - see wire.h. */
#include "lib/client/wire.h"

#include "lib/base/base.h"

struct wire_reader wire_open(struct str message)
{
    const uint8_t *p = (const uint8_t *)message.data;
    return (struct wire_reader){p, message.len != 0 ? p + message.len : p, false};
}

static bool read_varint(struct wire_reader *r, uint64_t *ret)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (r->p == r->end)
            return false;
        uint8_t b = *r->p++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if ((b & 0x80) == 0) {
            *ret = v;
            return true;
        }
    }
    return false;
}

static bool read_fixed(struct wire_reader *r, unsigned size, uint64_t *ret)
{
    if ((size_t)(r->end - r->p) < size)
        return false;
    uint64_t v = 0;
    for (unsigned i = 0; i < size; i++)
        v |= (uint64_t)r->p[i] << (8 * i);
    r->p += size;
    *ret = v;
    return true;
}

static bool read_bytes(struct wire_reader *r, struct str *ret)
{
    uint64_t len;
    if (!read_varint(r, &len) || len > (uint64_t)(r->end - r->p))
        return false;
    *ret = str_n((const char *)r->p, (size_t)len);
    r->p += len;
    return true;
}

static bool read_value(struct wire_reader *r, struct wire_field *f)
{
    switch (f->type) {
    case 0:
        return read_varint(r, &f->value);
    case 1:
        return read_fixed(r, 8, &f->value);
    case 2:
        return read_bytes(r, &f->bytes);
    case 5:
        return read_fixed(r, 4, &f->value);
    default:
        return false;
    }
}

bool wire_next(struct wire_reader *r, struct wire_field *ret)
{
    if (r->damaged || r->p == r->end)
        return false;
    uint64_t tag;
    *ret = (struct wire_field){0};
    bool good = read_varint(r, &tag) && tag >> 3 != 0 && tag >> 3 <= UINT32_MAX;
    if (good) {
        ret->number = (uint32_t)(tag >> 3);
        ret->type = (unsigned)(tag & 7);
        good = read_value(r, ret);
    }
    r->damaged = !good;
    return good;
}

struct str wire_find(struct str message, uint32_t number)
{
    struct wire_reader r = wire_open(message);
    struct wire_field f;
    while (wire_next(&r, &f))
        if (f.number == number && f.type == 2)
            return f.bytes;
    return STR_NULL;
}
