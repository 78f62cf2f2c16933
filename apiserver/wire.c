/* wire.c - see wire.h. */
#include "apiserver/wire.h"

#include "lib/api/pb_wire.h"
#include "lib/api/schema.h"
#include "lib/base/buf.h"

struct str wire_bytes(struct str msg, uint32_t number)
{
    struct str found = STR_NULL;
    struct pb_cursor c = pb_cursor_of(msg);
    struct pb_item f;
    while (pb_next(&c, &f, NULL) > 0)
        if (f.number == number && f.type == PB_BYTES)
            found = f.bytes;
    return found;
}

static struct api_str_entry label_of(struct str entry)
{
    struct api_str_entry label = {STR_NULL, STR_NULL};
    struct pb_cursor c = pb_cursor_of(entry);
    struct pb_item f;
    while (pb_next(&c, &f, NULL) > 0) {
        if (f.number == 1 && f.type == PB_BYTES)
            label.key = f.bytes;
        else if (f.number == 2 && f.type == PB_BYTES)
            label.value = f.bytes;
    }
    return label;
}

size_t wire_labels(struct str object, struct api_str_entry *ret, size_t max)
{
    size_t n = 0;
    struct pb_cursor meta = pb_cursor_of(wire_bytes(object, WIRE_OBJECT_META));
    struct pb_item f;
    while (n < max && pb_next(&meta, &f, NULL) > 0)
        if (f.number == WIRE_META_LABELS && f.type == PB_BYTES)
            ret[n++] = label_of(f.bytes);
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
    uint8_t *p = buf_reserve(b, 4 + n);
    p[0] = (WIRE_OBJECT_META << 3) | 2;
    p[1] = (uint8_t)(n + 2);
    p[2] = (WIRE_META_RESOURCE_VERSION << 3) | 2;
    p[3] = (uint8_t)n;
    for (size_t i = 3 + n; i > 3; i--, rev /= 10)
        p[i] = (uint8_t)('0' + rev % 10);
    buf_commit(b, 4 + n);
}

void wire_without(struct str msg, uint32_t number, struct buf *out)
{
    struct pb_cursor c = pb_cursor_of(msg);
    struct pb_item f;
    for (const uint8_t *from = c.p; pb_next(&c, &f, NULL) > 0; from = c.p)
        if (f.number != number)
            buf_append(out, from, (size_t)(c.p - from));
}

void wire_put_bytes(uint32_t number, struct str bytes, struct buf *out)
{
    buf_put_varint(out, (uint64_t)number << 3 | PB_BYTES);
    buf_put_varint(out, bytes.len);
    buf_append_str(out, bytes);
}
