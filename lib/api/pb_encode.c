/* pb_encode.c - structs to wire bytes, byte for byte as upstream's generated
 * marshaller. Like that one it writes backwards: lengths are then known when
 * they are due, and one pass suffices. */
#include "lib/api/codec.h"

#include "api/meta_v1.h"
#include "api/resource.h"
#include "lib/api/pb_wire.h"
#include "lib/api/time.h"
#include "lib/api/walk.h"
#include "lib/base/buf.h"

struct encoder {
    uint8_t *start; /* Of the room. */
    uint8_t *p;     /* Of what is written: [p, end). */
    uint8_t *end;
    bool owned; /* start is malloc'ed. */
};

static void encode_message(struct encoder *e, const struct api_msg *m, const void *base);

static void make_room(struct encoder *e, size_t n)
{
    size_t used = (size_t)(e->end - e->p), cap = (size_t)(e->end - e->start);
    size_t want = MAX_OF(cap * 2, used + n);
    uint8_t *bigger = xmalloc(want);
    memcpy(bigger + want - used, e->p, used);
    if (e->owned)
        free(e->start);
    *e = (struct encoder){bigger, bigger + want - used, bigger + want, true};
}

static inline uint8_t *claim(struct encoder *e, size_t n)
{
    if (__builtin_expect((size_t)(e->p - e->start) < n, 0))
        make_room(e, n);
    e->p -= n;
    return e->p;
}

static inline void put_varint(struct encoder *e, uint64_t v)
{
    if (v < 0x80) {
        *claim(e, 1) = (uint8_t)v;
        return;
    }
    uint8_t bytes[10];
    size_t n = 0;
    do {
        bytes[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    } while (v != 0);
    bytes[n - 1] &= 0x7f;
    memcpy(claim(e, n), bytes, n);
}

static inline void put_tag(struct encoder *e, uint32_t number, enum pb_type type)
{
    put_varint(e, (uint64_t)number << 3 | type);
}

static inline void put_bytes(struct encoder *e, uint32_t number, struct str s)
{
    uint8_t *p = claim(e, s.len);
    if (s.len > 0)
        memcpy(p, s.data, s.len);
    put_varint(e, s.len);
    put_tag(e, number, PB_BYTES);
}

/* The length of what was written since `mark` (bytes before the end), and a tag. */
static void close_length(struct encoder *e, uint32_t number, size_t mark)
{
    put_varint(e, (size_t)(e->end - e->p) - mark);
    put_tag(e, number, PB_BYTES);
}

static size_t mark_of(const struct encoder *e)
{
    return (size_t)(e->end - e->p);
}

static void put_timestamp(struct encoder *e, int64_t seconds, int32_t nanos)
{
    put_varint(e, (uint64_t)(int64_t)nanos);
    put_tag(e, 2, PB_VARINT);
    put_varint(e, (uint64_t)seconds);
    put_tag(e, 1, PB_VARINT);
}

static void encode_value(struct encoder *e, const struct api_field *f, const void *at)
{
    switch ((enum api_type)f->type) {
    case API_BOOL:
        put_varint(e, *(const bool *)at ? 1 : 0);
        put_tag(e, f->number, PB_VARINT);
        return;
    case API_INT32:
        put_varint(e, (uint64_t)(int64_t) * (const int32_t *)at);
        put_tag(e, f->number, PB_VARINT);
        return;
    case API_INT64:
        put_varint(e, (uint64_t) * (const int64_t *)at);
        put_tag(e, f->number, PB_VARINT);
        return;
    case API_DOUBLE:
        memcpy(claim(e, 8), at, 8);
        put_tag(e, f->number, PB_FIXED64);
        return;
    case API_STRING:
    case API_BYTES:
        put_bytes(e, f->number, *(const struct str *)at);
        return;
    case API_MESSAGE: {
        size_t mark = mark_of(e);
        encode_message(e, f->msg, at);
        close_length(e, f->number, mark);
        return;
    }
    }
}

static void encode_map(struct encoder *e, const struct api_field *f, const void *base)
{
    const char *items = field_items(base, f);
    for (size_t i = field_count(base, f); i > 0; i--) {
        const char *entry = items + (i - 1) * f->elem_size;
        const struct str *value = (const struct str *)(const void *)(entry + f->entry_value_offset);
        size_t mark = mark_of(e);
        if (f->type == API_MESSAGE) {
            size_t inner = mark_of(e);
            encode_message(e, f->msg, value);
            close_length(e, 2, inner);
        } else if (f->type == API_STRING || value->data != NULL) {
            put_bytes(e, 2, *value);
        }
        put_bytes(e, 1, *(const struct str *)(const void *)entry);
        close_length(e, f->number, mark);
    }
}

static void encode_field(struct encoder *e, const struct api_field *f, const void *base)
{
    if (f->label == API_MAP) {
        encode_map(e, f, base);
    } else if (f->label == API_REPEATED) {
        const char *items = field_items(base, f);
        for (size_t i = field_count(base, f); i > 0; i--)
            encode_value(e, f, items + (i - 1) * f->elem_size);
    } else if (field_is_message_pointer(f)) {
        const void *p = field_items(base, f);
        if (p != NULL)
            encode_value(e, f, p);
    } else if (field_is_scalar_pointer(f)) {
        if (field_has(base, f))
            encode_value(e, f, field_at_const(base, f));
    } else if (f->type == API_BYTES) {
        if (((const struct str *)field_at_const(base, f))->data != NULL)
            encode_value(e, f, field_at_const(base, f));
    } else {
        encode_value(e, f, field_at_const(base, f));
    }
}

static void encode_message(struct encoder *e, const struct api_msg *m, const void *base)
{
    if (m->special == API_TIME) {
        const struct meta_v1_time *t = base;
        if (!time_is_zero(t))
            put_timestamp(e, t->seconds, 0);
        return;
    }
    if (m->special == API_MICRO_TIME) {
        const struct meta_v1_micro_time *t = base;
        if (!micro_time_is_zero(t))
            put_timestamp(e, t->seconds, t->nanos - t->nanos % 1000);
        return;
    }
    if (m->special == API_QUANTITY) {
        const struct resource_quantity *q = base;
        put_bytes(e, 1, q->string.len > 0 ? q->string : STR("0"));
        return;
    }
    for (size_t i = m->field_count; i > 0; i--)
        encode_field(e, &m->fields[i - 1], base);
}

static void finish(struct encoder *e, struct buf *out)
{
    buf_append(out, e->p, (size_t)(e->end - e->p));
    if (e->owned)
        free(e->start);
}

enum { STACK_ROOM = 8192 };

void api_pb_encode(const struct api_msg *m, const void *msg, struct buf *out)
{
    uint8_t room[STACK_ROOM];
    struct encoder e = {room, room + STACK_ROOM, room + STACK_ROOM, false};
    encode_message(&e, m, msg);
    finish(&e, out);
}

/* --- the envelope ------------------------------------------------------------------- */

static void put_envelope_tail(struct encoder *e)
{
    put_bytes(e, 4, STR_NULL); /* contentType */
    put_bytes(e, 3, STR_NULL); /* contentEncoding */
}

static void put_envelope_head(struct encoder *e, struct str api_version, struct str kind)
{
    size_t mark = mark_of(e);
    put_bytes(e, 2, kind);
    put_bytes(e, 1, api_version);
    close_length(e, 1, mark);
    memcpy(claim(e, 4), API_ENVELOPE_MAGIC, 4);
}

void api_envelope_encode(const struct api_msg *m, const void *msg, struct str api_version,
                         struct str kind, struct buf *out)
{
    uint8_t room[STACK_ROOM];
    struct encoder e = {room, room + STACK_ROOM, room + STACK_ROOM, false};
    put_envelope_tail(&e);
    size_t mark = mark_of(&e);
    encode_message(&e, m, msg);
    close_length(&e, 2, mark);
    put_envelope_head(&e, api_version, kind);
    finish(&e, out);
}

void api_envelope_write(struct str api_version, struct str kind, struct str raw, struct buf *out)
{
    uint8_t room[STACK_ROOM];
    struct encoder e = {room, room + STACK_ROOM, room + STACK_ROOM, false};
    put_varint(&e, raw.len);
    put_tag(&e, 2, PB_BYTES);
    put_envelope_head(&e, api_version, kind);
    finish(&e, out);
    buf_append_str(out, raw);
    static const uint8_t tail[] = {3 << 3 | PB_BYTES, 0, 4 << 3 | PB_BYTES, 0};
    buf_append(out, tail, sizeof(tail));
}
