/* pb_decode.c - wire bytes into structs, by the tables.
 *
 * Memory: all strings of an object share one block of the wire's size (a
 * string's tag and length leave room for its NUL), a list gets one array of
 * the right size, found by counting ahead. What damaged or hostile input can
 * make this cost is limited by struct decoder's budget. */
#include "lib/api/codec.h"

#include "api/meta_v1.h"
#include "api/resource.h"
#include "lib/api/pb_wire.h"
#include "lib/api/quantity.h"
#include "lib/api/walk.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

/* Two wire bytes can make an element of several hundred: real objects need
 * five to ten times their wire size. */
enum { BUDGET_BASE = 4 * 1024 * 1024, BUDGET_FACTOR = 32 };

struct decoder {
    struct arena *arena;
    struct error *err;
    char *pool;
    char *pool_end;
    size_t budget; /* Bytes of structs and arrays that may still be made. */
};

static int decode_message(struct decoder *d, const struct api_msg *m, struct str wire, void *base,
                          unsigned depth);

static int take_budget(struct decoder *d, size_t size, size_t count)
{
    size_t bytes;
    if (__builtin_mul_overflow(size, count, &bytes) || bytes > d->budget)
        return error_set(d->err, E_TOO_LARGE, "object needs too much memory for its size");
    d->budget -= bytes;
    return 0;
}

static struct str copy_string(struct decoder *d, struct str s)
{
    if (s.len == 0)
        return (struct str){"", 0};
    ASSERT_CMP(d->pool_end - d->pool, >, s.len);
    char *p = d->pool;
    memcpy(p, s.data, s.len);
    p[s.len] = '\0';
    d->pool += s.len + 1;
    return str_n(p, s.len);
}

static int wrong_type(struct decoder *d, const struct api_field *f, const struct pb_item *item)
{
    return error_set(d->err, E_INVALID, "proto: wrong wireType = %u for field %s", item->type,
                     f->name);
}

/* --- messages with a shape of their own ----------------------------------------- */

static int decode_timestamp(struct decoder *d, struct str wire, int64_t *ret_seconds,
                            int32_t *ret_nanos)
{
    struct pb_cursor c = pb_cursor_of(wire);
    struct pb_item item;
    int r;
    while ((r = pb_next(&c, &item, d->err)) > 0) {
        if (item.type != PB_VARINT)
            continue;
        if (item.number == 1)
            *ret_seconds = (int64_t)item.value;
        else if (item.number == 2)
            *ret_nanos = (int32_t)(uint32_t)item.value;
    }
    return r;
}

static int decode_time(struct decoder *d, struct str wire, struct meta_v1_time *t)
{
    if (wire.len == 0)
        return 0;
    int32_t nanos = 0; /* Upstream drops them, since JSON has whole seconds. */
    int r = decode_timestamp(d, wire, &t->seconds, &nanos);
    t->epoch = t->seconds == 0;
    return r;
}

static int decode_micro_time(struct decoder *d, struct str wire, struct meta_v1_micro_time *t)
{
    if (wire.len == 0)
        return 0;
    int r = decode_timestamp(d, wire, &t->seconds, &t->nanos);
    t->nanos -= t->nanos % 1000;
    t->epoch = t->seconds == 0 && t->nanos == 0;
    return r;
}

static int decode_quantity(struct decoder *d, struct str wire, struct resource_quantity *q)
{
    struct pb_cursor c = pb_cursor_of(wire);
    struct pb_item item;
    int r;
    while ((r = pb_next(&c, &item, d->err)) > 0) {
        if (item.number != 1)
            continue;
        if (item.type != PB_BYTES)
            return error_set(d->err, E_INVALID, "proto: wrong wireType = %u for field String_",
                             item.type);
        struct str text = copy_string(d, item.bytes);
        if ((r = quantity_canonical(d->arena, text, &q->string, d->err)) != 0)
            return r;
    }
    return r;
}

/* --- values ----------------------------------------------------------------------- */

/* One value of the field's type into memory at `at`. */
static int decode_value(struct decoder *d, const struct api_field *f, const struct pb_item *item,
                        void *at, unsigned depth)
{
    uint32_t want = f->type == API_DOUBLE   ? PB_FIXED64
                    : f->type >= API_STRING ? PB_BYTES
                                            : PB_VARINT;
    if (item->type != want)
        return wrong_type(d, f, item);
    switch ((enum api_type)f->type) {
    case API_BOOL:
        *(bool *)at = item->value != 0;
        return 0;
    case API_INT32:
        *(int32_t *)at = (int32_t)(uint32_t)item->value;
        return 0;
    case API_INT64:
        *(int64_t *)at = (int64_t)item->value;
        return 0;
    case API_DOUBLE:
        memcpy(at, &item->value, sizeof(double));
        return 0;
    case API_STRING:
    case API_BYTES:
        *(struct str *)at = copy_string(d, item->bytes);
        return 0;
    case API_MESSAGE:
        return decode_message(d, f->msg, item->bytes, at, depth + 1);
    }
    return 0;
}

/* Occurrences of the field from this one on: elements to make room for. */
static size_t count_ahead(const struct pb_cursor *after, const struct api_field *f,
                          const struct pb_item *first)
{
    struct pb_cursor c = *after;
    struct pb_item item = *first;
    size_t n = 0;
    do {
        if (item.number != f->number)
            continue;
        if (item.type == PB_BYTES && f->type < API_STRING) /* Packed: at most one per byte. */
            n += f->type == API_DOUBLE ? item.bytes.len / 8 : item.bytes.len;
        else
            n++;
    } while (pb_next(&c, &item, NULL) > 0);
    return n;
}

/* Makes room for all elements that this occurrence of the message brings,
 * behind those that an earlier one brought. */
static int make_room(struct decoder *d, const struct api_field *f, const struct pb_cursor *after,
                     const struct pb_item *first, void *base)
{
    size_t have = field_count(base, f), more = count_ahead(after, f, first);
    int r = take_budget(d, f->elem_size, have + more);
    if (r != 0)
        return r;
    char *items = arena_array(d->arena, f->elem_size, have + more);
    if (have > 0)
        memcpy(items, field_items(base, f), have * f->elem_size);
    field_set_items(base, f, items);
    return 0;
}

static int decode_packed(struct decoder *d, const struct api_field *f, const struct pb_item *item,
                         void *base)
{
    struct pb_cursor c = pb_cursor_of(item->bytes);
    while (c.p < c.end) {
        struct pb_item element = {.number = item->number,
                                  .type = f->type == API_DOUBLE ? PB_FIXED64 : PB_VARINT};
        if (f->type == API_DOUBLE && c.end - c.p >= 8) {
            memcpy(&element.value, c.p, 8);
            c.p += 8;
        } else if (f->type == API_DOUBLE || !pb_varint(&c, &element.value)) {
            return error_set(d->err, E_INVALID, "unexpected EOF");
        }
        size_t n = field_count(base, f);
        decode_value(d, f, &element, (char *)field_items(base, f) + n * f->elem_size, 0);
        field_set_count(base, f, n + 1);
    }
    return 0;
}

static int decode_repeated(struct decoder *d, const struct api_field *f, const struct pb_item *item,
                           void *base, unsigned depth)
{
    if (f->type < API_STRING && item->type == PB_BYTES)
        return decode_packed(d, f, item, base);
    size_t n = field_count(base, f);
    int r = decode_value(d, f, item, (char *)field_items(base, f) + n * f->elem_size, depth);
    if (r == 0)
        field_set_count(base, f, n + 1);
    return r;
}

/* Appends one entry; *sorted is cleared when the order of keys is broken. */
static int decode_entry(struct decoder *d, const struct api_field *f, const struct pb_item *item,
                        void *base, unsigned depth, bool *sorted)
{
    if (item->type != PB_BYTES)
        return wrong_type(d, f, item);
    size_t n = field_count(base, f);
    char *entry = (char *)field_items(base, f) + n * f->elem_size;
    struct str *key = (struct str *)(void *)entry;
    struct str *value = (struct str *)(void *)(entry + f->entry_value_offset);
    *key = (struct str){"", 0};
    if (f->type != API_MESSAGE)
        *value = (struct str){"", 0};
    struct pb_cursor c = pb_cursor_of(item->bytes);
    struct pb_item part;
    int r;
    while ((r = pb_next(&c, &part, d->err)) > 0) {
        if (part.number == 1 || part.number == 2) {
            if (part.type != PB_BYTES)
                return wrong_type(d, f, &part);
            if (part.number == 1)
                *key = copy_string(d, part.bytes);
            else if (f->type != API_MESSAGE)
                *value = copy_string(d, part.bytes);
            else if ((r = decode_message(d, f->msg, part.bytes, value, depth + 1)) != 0)
                return r;
        }
    }
    if (r != 0)
        return r;
    if (n > 0 && str_cmp(*(const struct str *)(const void *)(entry - f->elem_size), *key) >= 0)
        *sorted = false;
    field_set_count(base, f, n + 1);
    return 0;
}

static int compare_keys(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

/* Stable: of equal keys the one that came last stays. */
static int sort_entries(struct decoder *d, const struct api_field *f, void *base)
{
    size_t n = field_count(base, f), size = f->elem_size, kept = 0;
    char *items = field_items(base, f);
    /* qsort is not stable, so the positions are sorted along with the keys. */
    struct slot {
        struct str key;
        size_t index;
    };
    int r = take_budget(d, sizeof(struct slot) + size, n);
    if (r != 0)
        return r;
    struct slot *order = arena_array(d->arena, sizeof(*order), n);
    char *sorted = arena_array(d->arena, size, n);
    for (size_t i = 0; i < n; i++)
        order[i] = (struct slot){*(const struct str *)(const void *)(items + i * size), i};
    qsort(order, n, sizeof(*order), compare_keys);
    for (size_t i = 0; i < n;) {
        size_t last = order[i].index, j = i + 1;
        for (; j < n && str_eq(order[j].key, order[i].key); j++)
            last = MAX_OF(last, order[j].index);
        memcpy(sorted + kept++ * size, items + last * size, size);
        i = j;
    }
    field_set_items(base, f, sorted);
    field_set_count(base, f, kept);
    return 0;
}

static int decode_singular(struct decoder *d, const struct api_field *f, const struct pb_item *item,
                           void *base, unsigned depth)
{
    if (!field_is_message_pointer(f)) {
        if (field_is_scalar_pointer(f))
            field_set_has(base, f, true);
        return decode_value(d, f, item, field_at(base, f), depth);
    }
    void *p = field_items(base, f);
    if (p == NULL) {
        int r = take_budget(d, f->msg->size, 1);
        if (r != 0)
            return r;
        p = api_msg_new(d->arena, f->msg);
        field_set_items(base, f, p);
    }
    return decode_value(d, f, item, p, depth);
}

/* --- messages --------------------------------------------------------------------- */

enum { FIELDS_MAX = 128 };

static int decode_fields(struct decoder *d, const struct api_msg *m, struct str wire, void *base,
                         unsigned depth)
{
    struct pb_cursor c = pb_cursor_of(wire);
    struct pb_item item;
    /* One bit per field: room was made in this occurrence; keys out of order. */
    uint64_t roomy[FIELDS_MAX / 64] = {0}, unsorted[FIELDS_MAX / 64] = {0};
    bool any_unsorted = false;
    int r;
    ASSERT_CMP(m->field_count, <=, FIELDS_MAX);
    while ((r = pb_next(&c, &item, d->err)) > 0) {
        const struct api_field *f = api_field_by_number(m, item.number);
        if (f == NULL)
            continue;
        if (f->label == API_SINGULAR) {
            if ((r = decode_singular(d, f, &item, base, depth)) != 0)
                return r;
            continue;
        }
        if (f->type < API_STRING && item.type == PB_BYTES && item.bytes.len == 0)
            continue; /* Packed, and nothing in it. */
        size_t index = (size_t)(f - m->fields);
        uint64_t bit = UINT64_C(1) << (index % 64);
        if ((roomy[index / 64] & bit) == 0) {
            if ((r = make_room(d, f, &c, &item, base)) != 0)
                return r;
            roomy[index / 64] |= bit;
        }
        bool sorted = true;
        if (f->label == API_MAP)
            r = decode_entry(d, f, &item, base, depth, &sorted);
        else
            r = decode_repeated(d, f, &item, base, depth);
        if (r != 0)
            return r;
        if (!sorted) {
            unsorted[index / 64] |= bit;
            any_unsorted = true;
        }
    }
    if (r != 0 || !any_unsorted)
        return r;
    for (size_t i = 0; i < m->field_count; i++)
        if ((unsorted[i / 64] >> (i % 64) & 1) != 0 &&
            (r = sort_entries(d, &m->fields[i], base)) != 0)
            return r;
    return 0;
}

static int decode_message(struct decoder *d, const struct api_msg *m, struct str wire, void *base,
                          unsigned depth)
{
    if (depth > API_DEPTH_MAX)
        return error_set(d->err, E_INVALID, "object nested too deeply");
    switch (m->special) {
    case API_TIME:
        return decode_time(d, wire, base);
    case API_MICRO_TIME:
        return decode_micro_time(d, wire, base);
    case API_QUANTITY:
        return decode_quantity(d, wire, base);
    default:
        return decode_fields(d, m, wire, base, depth);
    }
}

int api_pb_decode(struct arena *a, const struct api_msg *m, struct str wire, void *msg,
                  struct error *err)
{
    struct decoder d = {.arena = a, .err = err};
    if (wire.len == 0)
        return 0;
    d.budget = BUDGET_BASE + BUDGET_FACTOR * wire.len;
    d.pool = arena_alloc(a, wire.len);
    d.pool_end = d.pool + wire.len;
    return decode_message(&d, m, wire, msg, 0);
}
