/* load_wire.c - see load_wire.h. Field numbers: proto/etcd/rpc.proto. */
#include "test/bench/load_wire.h"

#include "lib/base/base.h"

#include <string.h>

#define POOL_BYTES ((size_t)16 << 20)

const char PATH_PUT[] = "/etcdserverpb.KV/Put";
const char PATH_RANGE[] = "/etcdserverpb.KV/Range";
const char PATH_WATCH[] = "/etcdserverpb.Watch/Watch";
const char PATH_SNAPSHOT[] = "/etcdserverpb.Maintenance/Snapshot";

static const char PREFIX[] = "/bench/keys/";
static const char PREFIX_END[] = "/bench/keys0";
static const char DIGITS[] = "0123456789abcdef";

void wire_key(uint8_t ret[KEY_BYTES], uint64_t number)
{
    memcpy(ret, PREFIX, sizeof(PREFIX) - 1);
    for (size_t i = KEY_BYTES; i-- > sizeof(PREFIX) - 1; number /= 10)
        ret[i] = (uint8_t)('0' + number % 10);
}

/* --- values: 8 digits of seed, 16 of time, then a piece of the pool --- */

static uint8_t *pool;

void wire_init(void)
{
    static const char LETTERS[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint64_t x = 0x9e3779b97f4a7c15u;
    pool = xmalloc(POOL_BYTES + VALUE_MAX);
    for (size_t i = 0; i < POOL_BYTES + VALUE_MAX; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        pool[i] = (uint8_t)LETTERS[x >> 40 & 63];
    }
}

static const uint8_t *pool_at(uint32_t seed)
{
    return pool + (seed * UINT64_C(2654435761) % POOL_BYTES);
}

static void put_hex(uint8_t *p, size_t digits, uint64_t v)
{
    for (size_t i = digits; i-- > 0; v >>= 4)
        p[i] = (uint8_t)DIGITS[v & 15];
}

static uint64_t get_hex(const uint8_t *p, size_t digits)
{
    uint64_t v = 0;
    for (size_t i = 0; i < digits; i++)
        v = v << 4 | (uint64_t)(p[i] <= '9' ? p[i] - '0' : p[i] - 'a' + 10);
    return v;
}

void wire_value(uint8_t *ret, size_t len, uint32_t seed, uint64_t now_ns)
{
    put_hex(ret, 8, seed);
    put_hex(ret + 8, 16, now_ns);
    memcpy(ret + 24, pool_at(seed), len - 24);
}

bool wire_value_ok(const uint8_t *p, size_t len)
{
    return len >= VALUE_MIN && len <= VALUE_MAX &&
           memcmp(p + 24, pool_at((uint32_t)get_hex(p, 8)), len - 24) == 0;
}

uint64_t wire_value_time(const uint8_t *p)
{
    return get_hex(p + 8, 16);
}

/* --- out --- */

static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *p++ = (uint8_t)(v | 0x80);
    *p++ = (uint8_t)v;
    return p;
}

static uint8_t *put_bytes(uint8_t *p, uint32_t field, const void *bytes, size_t len)
{
    p = put_varint(p, field << 3 | 2);
    p = put_varint(p, len);
    memcpy(p, bytes, len);
    return p + len;
}

static uint8_t *put_number(uint8_t *p, uint32_t field, uint64_t v)
{
    return put_varint(put_varint(p, field << 3), v);
}

size_t wire_put(uint8_t *ret, uint64_t key, size_t value_len, uint32_t seed, uint64_t now_ns)
{
    uint8_t text[KEY_BYTES];
    wire_key(text, key);
    uint8_t *p = put_bytes(ret, 1, text, KEY_BYTES);
    p = put_varint(p, 2 << 3 | 2);
    p = put_varint(p, value_len);
    wire_value(p, value_len, seed, now_ns);
    return (size_t)(p - ret) + value_len;
}

size_t wire_range(uint8_t *ret, const struct wire_range *r)
{
    uint8_t *p = ret, text[KEY_BYTES];
    wire_key(text, r->key);
    p = r->all ? put_bytes(p, 1, PREFIX, sizeof(PREFIX) - 1) : put_bytes(p, 1, text, KEY_BYTES);
    if (r->all)
        p = put_bytes(p, 2, PREFIX_END, sizeof(PREFIX_END) - 1);
    if (r->limit > 0)
        p = put_number(p, 3, (uint64_t)r->limit);
    if (r->serializable)
        p = put_number(p, 7, 1);
    if (r->count_only)
        p = put_number(p, 9, 1);
    return (size_t)(p - ret);
}

size_t wire_watch(uint8_t *ret)
{
    uint8_t create[64];
    uint8_t *p = put_bytes(create, 1, PREFIX, sizeof(PREFIX) - 1);
    p = put_bytes(p, 2, PREFIX_END, sizeof(PREFIX_END) - 1);
    return (size_t)(put_bytes(ret, 1, create, (size_t)(p - create)) - ret);
}

/* --- in --- */

static bool get_varint(const uint8_t **p, const uint8_t *end, uint64_t *ret)
{
    uint64_t v = 0;
    for (unsigned shift = 0; *p < end && shift < 64; shift += 7) {
        uint8_t b = *(*p)++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            *ret = v;
            return true;
        }
    }
    return false;
}

struct field {
    uint32_t number;
    uint64_t value; /* Or the length of the bytes. */
    const uint8_t *bytes;
};

/* False at the end and for what these messages do not hold; then *p != end. */
static bool next_field(const uint8_t **p, const uint8_t *end, struct field *f)
{
    const uint8_t *start = *p;
    uint64_t tag;
    f->bytes = NULL;
    if (*p == end || !get_varint(p, end, &tag) || !get_varint(p, end, &f->value))
        return false;
    f->number = (uint32_t)(tag >> 3);
    if ((tag & 7) == 0)
        return true;
    if ((tag & 7) != 2 || f->value > (uint64_t)(end - *p)) {
        *p = start;
        return false;
    }
    f->bytes = *p;
    *p += f->value;
    return true;
}

static bool read_header(const struct field *f, struct wire_answer *ret)
{
    const uint8_t *p = f->bytes, *end = p + f->value;
    struct field g;
    while (next_field(&p, end, &g))
        if (g.number == 3)
            ret->rev = (int64_t)g.value;
    return p == end;
}

bool wire_answer(const uint8_t *p, size_t len, struct wire_answer *ret)
{
    const uint8_t *end = p + len;
    struct field f;
    *ret = (struct wire_answer){.body = p};
    while (next_field(&p, end, &f)) {
        if (f.number == 1 && f.bytes != NULL && !read_header(&f, ret))
            return false;
        if (f.number == 4)
            ret->count = (int64_t)f.value;
    }
    return p == end;
}

static void read_kv(const uint8_t *p, const uint8_t *end, struct wire_kv *ret)
{
    struct field f;
    while (next_field(&p, end, &f)) {
        if (f.number == 1) {
            ret->key = f.bytes;
            ret->key_len = f.value;
        } else if (f.number == 3) {
            ret->mod_rev = (int64_t)f.value;
        } else if (f.number == 5) {
            ret->value = f.bytes;
            ret->value_len = f.value;
        }
    }
}

bool wire_next_kv(const uint8_t **p, const uint8_t *end, uint32_t field, struct wire_kv *ret)
{
    struct field f, g;
    *ret = (struct wire_kv){0};
    while (next_field(p, end, &f)) {
        if (f.number != field || f.bytes == NULL)
            continue;
        if (field == 2) {
            read_kv(f.bytes, f.bytes + f.value, ret);
            return true;
        }
        const uint8_t *q = f.bytes, *q_end = q + f.value;
        while (next_field(&q, q_end, &g))
            if (g.number == 2 && g.bytes != NULL)
                read_kv(g.bytes, g.bytes + g.value, ret);
        return true;
    }
    return false;
}

size_t wire_field_size(const uint8_t *p, size_t len)
{
    const uint8_t *start = p, *end = p + len;
    uint64_t tag, value;
    if (!get_varint(&p, end, &tag) || !get_varint(&p, end, &value))
        return 0;
    return (size_t)(p - start) + ((tag & 7) == 2 ? (size_t)value : 0);
}

bool wire_watch_field(const uint8_t *p, size_t len, struct wire_event *ret)
{
    const uint8_t *q = p;
    struct field f;
    if (!next_field(&q, p + len, &f))
        return false;
    ret->field = f.number;
    if (f.number != 11)
        return true;
    return wire_next_kv(&p, p + len, 11, &ret->kv);
}
