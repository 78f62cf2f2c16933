/* machine.c - a state machine of registers, small enough to check by eye. */
#include "sim.h"

#include "raftstore/wire.h"

struct machine {
    uint64_t *values;
    uint32_t *keys;
    uint32_t count, cap;
    uint64_t commands;
    uint64_t hash;
};

void op_encode(const struct op_request *op, struct buf *out)
{
    buf_putc(out, (char)op->kind);
    buf_put_le32(out, op->key);
    buf_put_le64(out, op->value);
    buf_put_le64(out, op->expected);
    buf_put_le32(out, op->padding);
    memset(buf_reserve(out, op->padding), 'x', op->padding);
    buf_commit(out, op->padding);
}

struct machine *machine_new(void)
{
    return xzalloc(sizeof(struct machine));
}

void machine_free(struct machine *m)
{
    if (m == NULL)
        return;
    free(m->values);
    free(m->keys);
    free(m);
}

static uint64_t *slot(struct machine *m, uint32_t key)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->keys[i] == key)
            return &m->values[i];
    if (m->count == m->cap) {
        m->cap = m->cap == 0 ? 16 : m->cap * 2;
        m->values = xrealloc(m->values, m->cap * sizeof(m->values[0]));
        m->keys = xrealloc(m->keys, m->cap * sizeof(m->keys[0]));
    }
    m->keys[m->count] = key;
    m->values[m->count] = 0;
    return &m->values[m->count++];
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

bool machine_apply(struct machine *m, struct str bytes, bool *ret_ok)
{
    struct wire w = wire_of(bytes);
    uint8_t kind = wire_u8(&w);
    uint32_t key = wire_u32(&w);
    uint64_t value = wire_u64(&w), expected = wire_u64(&w);
    uint32_t padding = wire_u32(&w);
    wire_take(&w, padding);
    if (!wire_end(&w) || kind > OP_CAS)
        return false;
    uint64_t *s = slot(m, key);
    *ret_ok = kind == OP_WRITE || *s == expected;
    if (*ret_ok)
        *s = value;
    m->commands++;
    m->hash = mix(mix(mix(mix(m->hash, kind), key), value), expected);
    return true;
}

uint64_t machine_read(const struct machine *m, uint32_t key)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->keys[i] == key)
            return m->values[i];
    return 0;
}

uint64_t machine_count(const struct machine *m)
{
    return m->commands;
}

uint64_t machine_hash(const struct machine *m)
{
    return m->hash;
}

void machine_save(const struct machine *m, struct buf *out)
{
    buf_put_le64(out, m->commands);
    buf_put_le64(out, m->hash);
    buf_put_le32(out, m->count);
    for (uint32_t i = 0; i < m->count; i++) {
        buf_put_le32(out, m->keys[i]);
        buf_put_le64(out, m->values[i]);
    }
}

struct machine *machine_load(struct str bytes)
{
    struct wire w = wire_of(bytes);
    struct machine *m = machine_new();
    m->commands = wire_u64(&w);
    m->hash = wire_u64(&w);
    uint32_t count = wire_u32(&w);
    for (uint32_t i = 0; i < count && !w.bad; i++) {
        uint32_t key = wire_u32(&w);
        *slot(m, key) = wire_u64(&w);
    }
    if (wire_end(&w))
        return m;
    machine_free(m);
    return NULL;
}
