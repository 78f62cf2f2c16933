/* json_transcode.c - JSON straight from wire bytes, without building structs:
 * what lists and watches answer with.
 *
 * A message is indexed in one pass (where each field's first and last
 * occurrence stand), then written in the order of Go's declarations. Since a
 * repeated embedded message merges, a message is a list of segments; nearly
 * always there is one. */
#include "lib/api/codec.h"

#include "api/meta_v1.h"
#include "lib/api/json.h"
#include "lib/api/json_text.h"
#include "lib/api/json_write.h"
#include "lib/api/pb_wire.h"
#include "lib/api/quantity.h"
#include "lib/api/schema.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

enum { FIELDS_MAX = 128 };

/* Which fields of a message the wire has; only their slots are filled. */
struct present {
    uint64_t bits[FIELDS_MAX / 64];
};

/* What the wire says of one field. Lengths have 32 bits and stand apart from
 * their pointers on purpose: a pair moved as one 16-byte word right after it was
 * written as two stalls the processor, which cost a third of the time here. */
struct slot {
    const uint8_t *first; /* The first occurrence's tag ... */
    const char *data;     /* Of the last one: bytes ... */
    uint64_t value;       /* ... or a number. */
    uint32_t len;
    uint32_t segment; /* ... and the segment it stands in. */
    uint32_t count;
};

struct entry {
    struct str key;
    struct str value; /* The last one; for messages all, in order of the wire. */
    bool present;
    size_t index;
};

struct slots;

struct transcoder {
    struct buf *out;
    struct error *err;
    struct slots *slots;   /* A stack: each message takes as many as it has fields. */
    struct arena *scratch; /* Made when first needed. */
};

/* The message at hand: its pieces on the wire. */
struct source {
    const struct str *segments;
    size_t count;
};

static int put_message(struct transcoder *t, const struct api_msg *m, struct source src,
                       unsigned depth);
static int put_typed(struct transcoder *t, const struct api_msg *m, struct str wire,
                     unsigned depth);

static struct arena *scratch(struct transcoder *t)
{
    if (t->scratch == NULL)
        t->scratch = arena_new(0);
    return t->scratch;
}

/* A piece of the stack; pieces stay where they are and are kept for later. */
struct slots {
    struct slots *below;
    struct slots *above;
    size_t used;
    struct slot items[4 * FIELDS_MAX];
};

/* Slots for n fields, not cleared. */
static struct slot *push_slots(struct transcoder *t, size_t n)
{
    struct slots *s = t->slots;
    if (s == NULL || s->used + n > ARRAY_SIZE(s->items)) {
        struct slots *next = s != NULL ? s->above : NULL;
        if (next == NULL) {
            next = xmalloc(sizeof(*next));
            next->below = s;
            next->above = NULL;
            if (s != NULL)
                s->above = next;
        }
        next->used = 0;
        t->slots = s = next;
    }
    s->used += n;
    return s->items + s->used - n;
}

static void pop_slots(struct transcoder *t, size_t n)
{
    t->slots->used -= n;
    if (t->slots->used == 0 && t->slots->below != NULL)
        t->slots = t->slots->below;
}

static void free_slots(struct slots *s)
{
    while (s != NULL && s->above != NULL)
        s = s->above;
    for (struct slots *below; s != NULL; s = below) {
        below = s->below;
        free(s);
    }
}

static int wrong_type(struct transcoder *t, const struct api_field *f, uint32_t type)
{
    return error_set(t->err, E_INVALID, "proto: wrong wireType = %u for field %s", type, f->name);
}

/* Numbers of a list behind one tag; without any it is as if the tag were not there. */
static bool is_packed(const struct api_field *f, const struct pb_item *item)
{
    return f->label == API_REPEATED && f->type < API_STRING && item->type == PB_BYTES;
}

static int index_fields(struct transcoder *t, const struct api_msg *m, struct source src,
                        struct slot *slots, struct present *present)
{
    for (size_t s = 0; s < src.count; s++) {
        struct pb_cursor c = pb_cursor_of(src.segments[s]);
        const uint8_t *tag = c.p;
        struct pb_item item;
        int r;
        for (; (r = pb_next(&c, &item, t->err)) > 0; tag = c.p) {
            const struct api_field *f = api_field_by_number(m, item.number);
            if (f == NULL)
                continue;
            uint32_t want = f->type == API_DOUBLE   ? PB_FIXED64
                            : f->type >= API_STRING ? PB_BYTES
                                                    : PB_VARINT;
            bool packed = is_packed(f, &item);
            if (f->label == API_MAP)
                want = PB_BYTES;
            if (item.type != want && !packed)
                return wrong_type(t, f, item.type);
            if (packed && item.bytes.len == 0)
                continue;
            size_t index = (size_t)(f - m->fields);
            struct slot *slot = &slots[index];
            uint64_t bit = UINT64_C(1) << (index % 64);
            if ((present->bits[index / 64] & bit) == 0) {
                present->bits[index / 64] |= bit;
                *slot = (struct slot){.first = tag, .segment = (uint32_t)s};
            }
            slot->count++;
            slot->value = item.type == PB_BYTES ? 0 : item.value;
            slot->data = item.type == PB_BYTES ? item.bytes.data : NULL;
            slot->len = item.type == PB_BYTES ? (uint32_t)item.bytes.len : 0;
        }
        if (r != 0)
            return r;
    }
    return 0;
}

/* Walks the occurrences of one field. */
struct occurrences {
    struct source src;
    const struct api_field *field;
    uint32_t left;
    size_t segment;
    struct pb_cursor c;
};

static struct occurrences occurrences_of(struct source src, const struct api_field *f,
                                         const struct slot *slot)
{
    struct occurrences o = {.src = src, .field = f, .left = slot->count, .segment = slot->segment};
    if (slot->count > 0) {
        o.c = pb_cursor_of(src.segments[slot->segment]);
        o.c.p = slot->first;
    }
    return o;
}

/* The wire was checked by index_fields(). */
static bool next_occurrence(struct occurrences *o, struct pb_item *ret)
{
    if (o->left == 0)
        return false;
    for (;;) {
        if (pb_next(&o->c, ret, NULL) <= 0) {
            o->c = pb_cursor_of(o->src.segments[++o->segment]);
            continue;
        }
        if (ret->number != o->field->number || (is_packed(o->field, ret) && ret->bytes.len == 0))
            continue;
        o->left--;
        return true;
    }
}

/* --- messages with a form of their own -------------------------------------------- */

static int decode_seconds(struct transcoder *t, struct source src, int64_t *ret_seconds,
                          int32_t *ret_nanos, bool *ret_any)
{
    for (size_t s = 0; s < src.count; s++) {
        struct pb_cursor c = pb_cursor_of(src.segments[s]);
        struct pb_item item;
        int r;
        while ((r = pb_next(&c, &item, t->err)) > 0) {
            if (item.type == PB_VARINT && item.number == 1)
                *ret_seconds = (int64_t)item.value;
            else if (item.type == PB_VARINT && item.number == 2)
                *ret_nanos = (int32_t)(uint32_t)item.value;
        }
        if (r != 0)
            return r;
        *ret_any = *ret_any || src.segments[s].len > 0;
    }
    return 0;
}

static int put_time(struct transcoder *t, bool micro, struct source src)
{
    int64_t seconds = 0;
    int32_t nanos = 0;
    bool any = false;
    int r = decode_seconds(t, src, &seconds, &nanos, &any);
    if (r != 0)
        return r;
    if (micro) {
        nanos -= nanos % 1000;
        json_text_micro_time(
            &(struct meta_v1_micro_time){seconds, nanos, any && seconds == 0 && nanos == 0},
            t->out);
    } else {
        json_text_time(&(struct meta_v1_time){seconds, 0, any && seconds == 0}, t->out);
    }
    return 0;
}

static int put_quantity(struct transcoder *t, struct source src)
{
    struct str text = STR("0"), canonical;
    for (size_t s = 0; s < src.count; s++) {
        struct pb_cursor c = pb_cursor_of(src.segments[s]);
        struct pb_item item;
        int r;
        while ((r = pb_next(&c, &item, t->err)) > 0)
            if (item.number == 1)
                text = item.type == PB_BYTES ? item.bytes : STR_NULL;
        if (r != 0)
            return r;
    }
    int r = quantity_canonical(scratch(t), text, &canonical, t->err);
    if (r == 0)
        json_write_string(canonical, t->out);
    return r;
}

/* The rare ones go through a struct. */
static int put_decoded(struct transcoder *t, const struct api_msg *m, struct source src)
{
    struct arena *a = scratch(t);
    void *msg = api_msg_new(a, m);
    for (size_t s = 0; s < src.count; s++) {
        int r = api_pb_decode(a, m, src.segments[s], msg, t->err);
        if (r != 0)
            return r;
    }
    api_json_encode(m, msg, STR_NULL, STR_NULL, t->out);
    return 0;
}

/* Messages of one bytes field with raw JSON in it. */
static int put_raw(struct transcoder *t, const struct api_msg *m, struct source src, unsigned depth)
{
    const struct api_field *f = NULL;
    for (size_t i = 0; i < m->field_count; i++)
        if (m->fields[i].type == API_BYTES)
            f = &m->fields[i];
    ASSERT(f != NULL);
    struct str raw = STR_NULL;
    for (size_t s = 0; s < src.count; s++) {
        struct pb_cursor c = pb_cursor_of(src.segments[s]);
        struct pb_item item;
        int r;
        while ((r = pb_next(&c, &item, t->err)) > 0) {
            if (item.number != f->number)
                continue;
            if (item.type != PB_BYTES)
                return wrong_type(t, f, item.type);
            raw = item.bytes;
        }
        if (r != 0)
            return r;
    }
    bool object = m->special == API_RAW_EXTENSION || m->special == API_UNKNOWN;
    json_text_raw(raw, object ? depth : JSON_RAW_ONLY, t->out);
    return 0;
}

/* 1: not special. */
static int put_special(struct transcoder *t, const struct api_msg *m, struct source src,
                       unsigned depth)
{
    switch ((enum api_special)m->special) {
    case API_PLAIN:
        return 1;
    case API_TIME:
    case API_MICRO_TIME:
        return put_time(t, m->special == API_MICRO_TIME, src);
    case API_QUANTITY:
        return put_quantity(t, src);
    case API_FIELDS_V1:
    case API_RAW_EXTENSION:
    case API_UNKNOWN:
    case API_JSON:
        return put_raw(t, m, src, depth);
    case API_DURATION:
    case API_INT_OR_STRING:
    case API_SCHEMA_OR_BOOL:
    case API_SCHEMA_OR_ARRAY:
    case API_SCHEMA_OR_STRING_ARRAY:
    case API_STRING_LIST:
    case API_GROUP_VERSION:
    case API_CUSTOM:
        return put_decoded(t, m, src);
    }
    return 1;
}

/* --- values ------------------------------------------------------------------------ */

static int put_value(struct transcoder *t, const struct api_field *f, uint64_t value,
                     struct str bytes, unsigned depth)
{
    double number;
    switch ((enum api_type)f->type) {
    case API_BOOL:
        buf_puts(t->out, value != 0 ? "true" : "false");
        return 0;
    case API_INT32:
        json_put_int((int32_t)(uint32_t)value, t->out);
        return 0;
    case API_INT64:
        json_put_int((int64_t)value, t->out);
        return 0;
    case API_DOUBLE:
        memcpy(&number, &value, sizeof(number));
        json_put_double(number, t->out);
        return 0;
    case API_STRING:
        json_write_string(bytes, t->out);
        return 0;
    case API_BYTES:
        json_text_bytes(bytes, t->out);
        return 0;
    case API_MESSAGE:
        if ((f->flags & API_F_TYPED) != 0)
            return put_typed(t, f->msg, bytes, depth + 1);
        return put_message(t, f->msg, (struct source){&bytes, 1}, depth + 1);
    }
    return 0;
}

static int put_packed(struct transcoder *t, const struct api_field *f, struct str bytes,
                      bool *first)
{
    struct pb_cursor c = pb_cursor_of(bytes);
    while (c.p < c.end) {
        uint64_t value;
        if (f->type == API_DOUBLE && c.end - c.p >= 8) {
            memcpy(&value, c.p, 8);
            c.p += 8;
        } else if (f->type == API_DOUBLE || !pb_varint(&c, &value)) {
            return error_set(t->err, E_INVALID, "unexpected EOF");
        }
        if (!*first)
            buf_putc(t->out, ',');
        *first = false;
        put_value(t, f, value, STR_NULL, 0);
    }
    return 0;
}

static int put_list(struct transcoder *t, const struct api_field *f, struct source src,
                    const struct slot *slot, unsigned depth)
{
    struct occurrences o = occurrences_of(src, f, slot);
    struct pb_item item;
    bool first = true;
    int r = 0;
    buf_putc(t->out, '[');
    while (r == 0 && next_occurrence(&o, &item)) {
        if (is_packed(f, &item)) {
            r = put_packed(t, f, item.bytes, &first);
            continue;
        }
        if (!first)
            buf_putc(t->out, ',');
        first = false;
        r = put_value(t, f, item.value, item.bytes, depth);
    }
    buf_putc(t->out, ']');
    return r;
}

static int compare_entries(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;
    int order = str_cmp(a->key, b->key);
    return order != 0 ? order : a->index < b->index ? -1 : 1;
}

static int read_entry(struct transcoder *t, const struct api_field *f, struct str wire,
                      struct entry *ret)
{
    struct pb_cursor c = pb_cursor_of(wire);
    struct pb_item item;
    int r;
    *ret = (struct entry){.value = {"", 0}};
    while ((r = pb_next(&c, &item, t->err)) > 0) {
        if (item.number != 1 && item.number != 2)
            continue;
        if (item.type != PB_BYTES)
            return wrong_type(t, f, item.type);
        *(item.number == 1 ? &ret->key : &ret->value) = item.bytes;
    }
    return r;
}

static int put_map(struct transcoder *t, const struct api_field *f, struct source src,
                   const struct slot *slot, unsigned depth)
{
    struct occurrences o = occurrences_of(src, f, slot);
    struct pb_item item;
    struct entry *entries = arena_alloc(scratch(t), slot->count * sizeof(*entries));
    size_t n = 0;
    bool sorted = true;
    while (next_occurrence(&o, &item)) {
        int r = read_entry(t, f, item.bytes, &entries[n]);
        if (r != 0)
            return r;
        entries[n].index = n;
        sorted = sorted && (n == 0 || str_cmp(entries[n - 1].key, entries[n].key) < 0);
        n++;
    }
    if (!sorted)
        qsort(entries, n, sizeof(*entries), compare_entries);
    bool first = true;
    buf_putc(t->out, '{');
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && str_eq(entries[i].key, entries[i + 1].key))
            continue; /* The last of equal keys counts. */
        if (!first)
            buf_putc(t->out, ',');
        first = false;
        json_write_string(entries[i].key, t->out);
        buf_putc(t->out, ':');
        int r = put_value(t, f, 0, entries[i].value, depth);
        if (r != 0)
            return r;
    }
    buf_putc(t->out, '}');
    return 0;
}

/* All occurrences of an embedded message, as one source. */
static struct source embedded(struct transcoder *t, const struct api_field *f, struct source src,
                              const struct slot *slot, struct str *one)
{
    if (slot->count <= 1) {
        *one = str_n(slot->data, slot->len);
        return (struct source){one, slot->count};
    }
    struct str *all = ARENA_ARRAY(scratch(t), struct str, slot->count);
    struct occurrences o = occurrences_of(src, f, slot);
    struct pb_item item;
    for (size_t i = 0; next_occurrence(&o, &item); i++)
        all[i] = item.bytes;
    return (struct source){all, slot->count};
}

/* Whether a Time's segments hold the zero time: what omitzero asks. */
static bool is_zero_message(const struct api_msg *m, struct source src)
{
    if (m->special != API_TIME && m->special != API_MICRO_TIME)
        return src.count == 0;
    for (size_t i = 0; i < src.count; i++)
        if (src.segments[i].len > 0)
            return false;
    return true;
}

static bool leave_out(const struct api_field *f, const struct slot *slot)
{
    if (f->label != API_SINGULAR || (f->flags & API_F_POINTER) != 0)
        return slot->count == 0;
    if (f->type == API_MESSAGE)
        return false;
    return slot->value == 0 && slot->len == 0;
}

static int put_members(struct transcoder *t, const struct api_msg *m, struct source src,
                       bool *first, unsigned depth);

static int put_field(struct transcoder *t, const struct api_field *f, struct source src,
                     const struct slot *slot, bool *first, unsigned depth)
{
    struct str one = STR_NULL;
    struct source inner = {&one, 0};
    if (f->type == API_MESSAGE && f->label == API_SINGULAR)
        inner = embedded(t, f, src, slot, &one);
    if ((f->flags & API_F_INLINE) != 0)
        return put_members(t, f->msg, inner, first, depth + 1);
    if ((f->flags & API_F_HIDDEN) != 0 || ((f->flags & API_F_OMITEMPTY) != 0 && leave_out(f, slot)))
        return 0;
    if ((f->flags & API_F_OMITZERO) != 0 && f->type == API_MESSAGE &&
        is_zero_message(f->msg, inner))
        return 0;
    json_text_name(f->json_name, f->json_len, first, t->out);
    bool nullable =
        f->label != API_SINGULAR || (f->flags & API_F_POINTER) != 0 || f->type == API_BYTES;
    if (nullable && slot->count == 0) {
        buf_append(t->out, "null", 4);
        return 0;
    }
    if (f->label == API_REPEATED)
        return put_list(t, f, src, slot, depth);
    if (f->label == API_MAP)
        return put_map(t, f, src, slot, depth);
    if (f->type == API_MESSAGE)
        return put_message(t, f->msg, inner, depth + 1);
    return put_value(t, f, slot->value, str_n(slot->data, slot->len), depth);
}

static int put_members(struct transcoder *t, const struct api_msg *m, struct source src,
                       bool *first, unsigned depth)
{
    if (depth > API_DEPTH_MAX)
        return error_set(t->err, E_INVALID, "object nested too deeply");
    static const struct slot absent = {0};
    struct slot *slots = push_slots(t, m->field_count);
    struct present present = {{0}};
    ASSERT_CMP(m->field_count, <=, FIELDS_MAX);
    int r = index_fields(t, m, src, slots, &present);
    for (size_t i = 0; r == 0 && i < m->field_count; i++) {
        size_t index = m->declared[i];
        bool there = (present.bits[index / 64] >> (index % 64) & 1) != 0;
        r = put_field(t, &m->fields[index], src, there ? &slots[index] : &absent, first, depth);
    }
    pop_slots(t, m->field_count);
    return r;
}

static int put_typed(struct transcoder *t, const struct api_msg *m, struct str wire, unsigned depth)
{
    bool first = false;
    json_text_open_typed(m, t->out);
    int r = put_members(t, m, (struct source){&wire, 1}, &first, depth);
    buf_putc(t->out, '}');
    return r;
}

static int put_message(struct transcoder *t, const struct api_msg *m, struct source src,
                       unsigned depth)
{
    int r = put_special(t, m, src, depth);
    if (r != 1)
        return r;
    bool first = true;
    buf_putc(t->out, '{');
    r = put_members(t, m, src, &first, depth);
    buf_putc(t->out, '}');
    return r;
}

int json_transcode(const struct api_msg *m, struct str wire, struct str api_version,
                   struct str kind, unsigned depth, struct buf *out, struct error *err)
{
    struct transcoder t = {.out = out, .err = err};
    if (wire.len > UINT32_MAX)
        return error_set(err, E_TOO_LARGE, "object of %zu bytes", wire.len);
    size_t mark = out->len;
    struct source src = {&wire, 1};
    int r = put_special(&t, m, src, depth);
    if (r == 1) {
        bool first = !json_text_open(api_version, kind, out);
        r = put_members(&t, m, src, &first, depth);
        buf_putc(out, '}');
    }
    if (r != 0)
        buf_truncate(out, mark);
    free_slots(t.slots);
    arena_free(t.scratch);
    return r;
}

int api_json_from_pb(const struct api_msg *m, struct str wire, struct str api_version,
                     struct str kind, struct buf *out, struct error *err)
{
    return json_transcode(m, wire, api_version, kind, 0, out, err);
}
