/* envelope.c - the envelope's reading side, and the frames of watch streams. */
#include "lib/api/codec.h"

#include "lib/api/frame.h"
#include "lib/api/pb_wire.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

bool api_envelope_is(struct str bytes)
{
    return bytes.len >= 4 && memcmp(bytes.data, API_ENVELOPE_MAGIC, 4) == 0;
}

static int open_type_meta(struct str wire, struct str *ret_api_version, struct str *ret_kind,
                          struct error *err)
{
    struct pb_cursor c = pb_cursor_of(wire);
    struct pb_item item;
    int r;
    while ((r = pb_next(&c, &item, err)) > 0) {
        if (item.type == PB_BYTES && item.number == 1)
            *ret_api_version = item.bytes;
        else if (item.type == PB_BYTES && item.number == 2)
            *ret_kind = item.bytes;
    }
    return r;
}

int api_envelope_open(struct str bytes, struct str *ret_api_version, struct str *ret_kind,
                      struct str *ret_raw, struct error *err)
{
    if (!api_envelope_is(bytes))
        return error_set(err, E_INVALID,
                         "provided data does not appear to be a protobuf message, expected prefix "
                         "[107 56 115 0]");
    struct pb_cursor c = pb_cursor_of(str_sub(bytes, 4, bytes.len - 4));
    struct pb_item item;
    struct str api_version = STR_NULL, kind = STR_NULL, raw = STR_NULL, encoding = STR_NULL,
               type = STR_NULL;
    int r;
    while ((r = pb_next(&c, &item, err)) > 0) {
        if (item.type != PB_BYTES)
            continue;
        if (item.number == 1 && (r = open_type_meta(item.bytes, &api_version, &kind, err)) != 0)
            return r;
        if (item.number == 2)
            raw = item.bytes;
        else if (item.number == 3)
            encoding = item.bytes;
        else if (item.number == 4)
            type = item.bytes;
    }
    if (r != 0)
        return r;
    if (encoding.len > 0)
        return error_set(err, E_INVALID,
                         "content encoding \"" STR_FMT "\" of an embedded object is not supported",
                         STR_ARG(encoding));
    if (type.len > 0 && !str_eqc(type, "application/vnd.kubernetes.protobuf"))
        return error_set(err, E_INVALID,
                         "content type \"" STR_FMT "\" of an embedded object is not supported",
                         STR_ARG(type));
    *ret_api_version = api_version;
    *ret_kind = kind;
    *ret_raw = raw;
    return 0;
}

/* --- frames ------------------------------------------------------------------------- */

static void put_field(struct buf *out, unsigned number, struct str s)
{
    buf_putc(out, (char)(number << 3 | PB_BYTES));
    buf_put_varint(out, s.len);
    buf_append_str(out, s);
}

static size_t varint_size(uint64_t v)
{
    size_t n = 1;
    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

void api_watch_event_pb(struct str type, struct str envelope, struct buf *out)
{
    put_field(out, 1, type);
    /* RawExtension {raw = 1}. */
    buf_putc(out, 2 << 3 | PB_BYTES);
    buf_put_varint(out, 1 + varint_size(envelope.len) + envelope.len);
    put_field(out, 1, envelope);
}

void api_watch_frame_pb(struct str type, struct str envelope, struct buf *out)
{
    size_t inner = 1 + varint_size(envelope.len) + envelope.len;
    size_t size = 1 + varint_size(type.len) + type.len + 1 + varint_size(inner) + inner;
    buf_put_be32(out, (uint32_t)size);
    api_watch_event_pb(type, envelope, out);
}

void api_watch_frame_json(struct str type, struct str object_json, struct buf *out)
{
    buf_puts(out, "{\"type\":\"");
    buf_append_str(out, type);
    buf_puts(out, "\",\"object\":");
    buf_append_str(out, object_json);
    buf_puts(out, "}\n");
}

int api_watch_event_open(struct str frame, struct str *ret_type, struct str *ret_envelope,
                         struct error *err)
{
    struct pb_cursor c = pb_cursor_of(frame);
    struct pb_item item, inner;
    struct str type = STR_NULL, envelope = STR_NULL;
    int r;
    while ((r = pb_next(&c, &item, err)) > 0) {
        if (item.type != PB_BYTES)
            continue;
        if (item.number == 1) {
            type = item.bytes;
        } else if (item.number == 2) {
            struct pb_cursor raw = pb_cursor_of(item.bytes);
            while ((r = pb_next(&raw, &inner, err)) > 0)
                if (inner.type == PB_BYTES && inner.number == 1)
                    envelope = inner.bytes;
            if (r != 0)
                return r;
        }
    }
    if (r != 0)
        return r;
    *ret_type = type;
    *ret_envelope = envelope;
    return 0;
}

int api_frame_next(struct str bytes, size_t frame_max, size_t *ret_consumed, struct str *ret_frame,
                   struct error *err)
{
    if (bytes.len < 4)
        return E_AGAIN;
    const uint8_t *p = (const uint8_t *)bytes.data;
    size_t size = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    if (size > frame_max)
        return error_set(err, E_TOO_LARGE, "watch frame of %zu bytes, limit %zu", size, frame_max);
    if (bytes.len - 4 < size)
        return E_AGAIN;
    *ret_frame = str_sub(bytes, 4, size);
    *ret_consumed = 4 + size;
    return 0;
}
