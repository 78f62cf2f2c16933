/* machine.c - the real state machine (raftstore/mvcc.h) used as registers.
 *
 * Around it a count and a hash of all commands in order, so that two members can
 * be compared command by command. */
#include "sim.h"

#include "lib/base/error.h"
#include "raftstore/mvcc.h"
#include "raftstore/mvcc_snapshot.h"
#include "raftstore/wire.h"

#include <stdio.h>

struct machine {
    struct mvcc *mvcc;
    uint64_t commands;
    uint64_t hash;
};

#define KEY_BYTES 16

static struct str key_of(uint32_t key, char ret[KEY_BYTES])
{
    return str_n(ret, (size_t)snprintf(ret, KEY_BYTES, "key-%08x", key));
}

static struct str value_of(uint64_t value, uint8_t ret[8])
{
    for (unsigned i = 0; i < 8; i++)
        ret[i] = (uint8_t)(value >> (8 * i));
    return str_n((const char *)ret, 8);
}

void op_encode(const struct op_request *op, struct buf *out)
{
    char key[KEY_BYTES];
    uint8_t value[8], expected[8];
    AUTO_FREE char *ballast = xzalloc(op->padding + 1);
    struct txn_cmp cmp = {.key = key_of(op->key, key)};
    struct txn_op ops[2] = {
        {.type = OP_PUT, .key = key_of(op->key, key), .value = value_of(op->value, value)},
        {.type = OP_PUT, .key = STR("ballast"), .value = str_n(ballast, op->padding)},
    };
    struct txn t = {.cmps = &cmp, .cmp_count = op->kind == REG_CAS, .success = ops};
    t.success_count = op->padding > 0 ? 2 : 1;
    if (op->expected == 0) { /* Not written yet. */
        cmp.target = CMP_CREATE;
    } else {
        cmp.target = CMP_VALUE;
        cmp.value = value_of(op->expected, expected);
    }
    command_encode_txn(&t, out);
}

static const struct mvcc_config config = {.history_bytes = 1 << 16};

struct machine *machine_new(void)
{
    struct machine *m = xzalloc(sizeof(*m));
    m->mvcc = mvcc_new(&config);
    return m;
}

void machine_free(struct machine *m)
{
    if (m == NULL)
        return;
    mvcc_free(m->mvcc);
    free(m);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

bool machine_apply(struct machine *m, uint64_t index, struct str bytes, bool *ret_ok)
{
    struct mvcc_result res = {0};
    if (mvcc_apply(m->mvcc, index, bytes, 0, &res, NULL) != 0 || res.code != 0 || res.txn == NULL)
        return false;
    *ret_ok = res.txn->succeeded;
    m->commands++;
    for (size_t i = 0; i < bytes.len; i++)
        m->hash = (m->hash ^ (uint8_t)bytes.data[i]) * 0x100000001b3u;
    m->hash = mix(m->hash, (uint64_t)res.rev);
    mvcc_result_done(&res);
    return true;
}

void machine_applied(struct machine *m, uint64_t index)
{
    mvcc_applied(m->mvcc, index);
    mvcc_publish(m->mvcc, 0);
    while (mvcc_work(m->mvcc, 1000))
        continue;
}

uint64_t machine_read(const struct machine *m, uint32_t key)
{
    char name[KEY_BYTES];
    struct mvcc_view *v = mvcc_view(m->mvcc);
    const struct kv *kv = mvcc_view_get(v, key_of(key, name), 0);
    uint64_t value = 0;
    if (kv != NULL) {
        struct wire w = wire_of(kv->value);
        value = wire_u64(&w);
    }
    mvcc_view_unref(v);
    return value;
}

uint64_t machine_count(const struct machine *m)
{
    return m->commands;
}

uint64_t machine_hash(const struct machine *m)
{
    return m->hash;
}

uint64_t machine_content(const struct machine *m)
{
    struct mvcc_hash h;
    struct mvcc_view *v = mvcc_view(m->mvcc);
    ASSERT(mvcc_hash_init(&h, v, 0) == 0);
    while (mvcc_hash_step(&h, 1000))
        continue;
    uint64_t value = mix(h.value, (uint64_t)mvcc_view_rev(v));
    mvcc_view_unref(v);
    return value;
}

void machine_save(struct machine *m, struct buf *out)
{
    uint8_t part[777]; /* Any size will do. */
    size_t n;
    buf_put_le64(out, m->commands);
    buf_put_le64(out, m->hash);
    struct mvcc_snapshot *s = mvcc_snapshot_new(m->mvcc, 0);
    while ((n = mvcc_snapshot_read(s, part, sizeof(part))) > 0)
        buf_append(out, part, n);
    mvcc_snapshot_free(s);
}

bool machine_load(struct machine *m, struct str bytes)
{
    struct wire w = wire_of(bytes);
    uint64_t commands = wire_u64(&w), hash = wire_u64(&w);
    struct mvcc_restore *r = mvcc_restore_new();
    if (w.bad || mvcc_restore_feed(r, str_n((const char *)w.p, w.left), NULL) != 0 ||
        mvcc_restore_finish(r, NULL) != 0) {
        mvcc_restore_free(r);
        return false;
    }
    mvcc_restore_commit(r, m->mvcc, 0);
    mvcc_publish(m->mvcc, 0);
    m->commands = commands;
    m->hash = hash;
    return true;
}
