/* wire.c - see wire.h. */
#include "apiserver/wire.h"

#include "lib/api/schema.h"
#include "lib/base/buf.h"

#include <inttypes.h>
#include <stdio.h>

static bool take_varint(struct str *rest, uint64_t *ret)
{
    uint64_t v = 0;
    for (size_t i = 0; i < rest->len && i < 10; i++) {
        uint8_t c = (uint8_t)rest->data[i];
        v |= (uint64_t)(c & 0x7f) << (7 * i);
        if ((c & 0x80) == 0) {
            *rest = str_n(rest->data + i + 1, rest->len - i - 1);
            *ret = v;
            return true;
        }
    }
    return false;
}

static bool take_bytes(struct str *rest, uint64_t n, struct str *ret)
{
    if (n > rest->len)
        return false;
    *ret = str_n(rest->data, (size_t)n);
    *rest = str_n(rest->data + n, rest->len - (size_t)n);
    return true;
}

bool wire_next(struct str *rest, struct wire_field *ret)
{
    uint64_t tag, n;
    if (rest->len == 0 || !take_varint(rest, &tag))
        return false;
    *ret = (struct wire_field){.number = (uint32_t)(tag >> 3), .type = (uint32_t)(tag & 7)};
    switch (ret->type) {
    case 0:
        return take_varint(rest, &ret->varint);
    case 1:
        return take_bytes(rest, 8, &ret->bytes);
    case 2:
        return take_varint(rest, &n) && take_bytes(rest, n, &ret->bytes);
    case 5:
        return take_bytes(rest, 4, &ret->bytes);
    default:
        return false;
    }
}

struct str wire_bytes(struct str msg, uint32_t number)
{
    struct str found = STR_NULL;
    struct wire_field f;
    while (wire_next(&msg, &f))
        if (f.number == number && f.type == 2)
            found = f.bytes;
    return found;
}

bool wire_varint(struct str msg, uint32_t number, uint64_t *ret)
{
    bool found = false;
    struct wire_field f;
    while (wire_next(&msg, &f))
        if (f.number == number && f.type == 0) {
            *ret = f.varint;
            found = true;
        }
    return found;
}

size_t wire_labels(struct str object, struct api_str_entry *ret, size_t max)
{
    size_t n = 0;
    struct wire_field f, e;
    struct str meta = wire_bytes(object, WIRE_OBJECT_META);
    while (n < max && wire_next(&meta, &f)) {
        if (f.number != WIRE_META_LABELS || f.type != 2)
            continue;
        struct str entry = f.bytes;
        ret[n] = (struct api_str_entry){STR_NULL, STR_NULL};
        while (wire_next(&entry, &e)) {
            if (e.number == 1 && e.type == 2)
                ret[n].key = e.bytes;
            else if (e.number == 2 && e.type == 2)
                ret[n].value = e.bytes;
        }
        n++;
    }
    return n;
}

static size_t digits(int64_t rev)
{
    size_t n = 1;
    for (; rev >= 10; rev /= 10)
        n++;
    return n;
}

size_t wire_rev_bytes(int64_t rev)
{
    return 4 + digits(rev);
}

void wire_append_rev(struct buf *b, int64_t rev)
{
    size_t n = digits(rev);
    buf_putc(b, (WIRE_OBJECT_META << 3) | 2);
    buf_putc(b, (char)(n + 2));
    buf_putc(b, (WIRE_META_RESOURCE_VERSION << 3) | 2);
    buf_putc(b, (char)n);
    buf_printf(b, "%" PRId64, rev);
}
