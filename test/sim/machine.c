/* machine.c - the real state machine (raftstore/mvcc.h), with a count and a hash of
 * all commands and results in order, so that two members can be compared
 * command by command; and registers as transactions on it. */
#include "sim.h"

#include "lib/base/error.h"
#include "raftstore/auth.h"
#include "raftstore/wire.h"

#include <stdio.h>

#define KEY_BYTES 16

/* Apart from the keys that requests.c plays with. */
static struct str key_of(uint32_t key, char ret[KEY_BYTES])
{
    return str_n(ret, (size_t)snprintf(ret, KEY_BYTES, "a-%08x", key));
}

struct str value_of(uint64_t value, uint8_t ret[VALUE_BYTES])
{
    for (unsigned i = 0; i < VALUE_BYTES; i++)
        ret[i] = (uint8_t)(value >> (8 * i));
    return str_n((const char *)ret, VALUE_BYTES);
}

uint64_t value_number(struct str bytes)
{
    struct wire w = wire_of(bytes);
    return bytes.len == VALUE_BYTES ? wire_u64(&w) : 0;
}

void op_encode(const struct op_request *op, struct buf *out)
{
    char key[KEY_BYTES];
    uint8_t value[VALUE_BYTES], expected[VALUE_BYTES];
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

struct machine *machine_new(const struct mvcc_config *config)
{
    struct machine *m = xzalloc(sizeof(*m));
    m->mvcc = mvcc_new(config);
    return m;
}

void machine_free(struct machine *m)
{
    if (m == NULL)
        return;
    mvcc_free(m->mvcc);
    free(m);
}

/* --- hashes --- */

static uint64_t hash_kv(uint64_t h, const struct kv *kv)
{
    h = mix_bytes(h, kv_key(kv).data, kv_key(kv).len);
    h = mix_bytes(h, kv_value(kv).data, kv_value(kv).len);
    h = mix64(mix64(h, (uint64_t)kv_create_rev(kv)), (uint64_t)kv->mod_rev);
    return mix64(mix64(h, (uint64_t)kv_version(kv)), (uint64_t)kv_lease(kv));
}

static uint64_t hash_txn(uint64_t h, const struct txn_result *r)
{
    h = mix64(mix64(h, (uint64_t)r->code), r->succeeded);
    h = mix64(mix64(h, (uint64_t)r->rev), r->op_count);
    for (uint32_t i = 0; i < r->op_count; i++) {
        const struct op_result *o = &r->ops[i];
        h = mix64(mix64(h, o->type), (uint64_t)o->count);
        h = mix64(mix64(h, o->more), o->kv_count);
        for (uint32_t j = 0; j < o->kv_count; j++)
            h = hash_kv(h, o->kvs[j]);
        if (o->txn != NULL)
            h = hash_txn(h, o->txn);
    }
    return h;
}

uint64_t result_hash(const struct mvcc_result *r)
{
    uint64_t h = mix64((uint64_t)r->code, (uint64_t)r->rev);
    h = mix64(mix64(h, (uint64_t)r->id), (uint64_t)r->ttl_s);
    return r->txn != NULL ? hash_txn(h, r->txn) : h;
}

int machine_apply(struct machine *m, uint64_t index, struct str bytes, uint64_t now_ms,
                  struct mvcc_result *ret)
{
    int rc = mvcc_apply(m->mvcc, index, bytes, now_ms, ret, NULL);
    if (rc != 0)
        return rc;
    m->commands++;
    m->hash = mix64(mix_bytes(m->hash, bytes.data, bytes.len), result_hash(ret));
    return 0;
}

void machine_applied(struct machine *m, uint64_t index, uint64_t now_ms)
{
    mvcc_applied(m->mvcc, index);
    mvcc_publish(m->mvcc, now_ms);
}

uint64_t machine_read(const struct machine *m, uint32_t key)
{
    char name[KEY_BYTES];
    struct mvcc_view *v = mvcc_view(m->mvcc);
    const struct kv *kv = mvcc_view_get(v, key_of(key, name), 0);
    uint64_t value = kv != NULL ? value_number(kv_value(kv)) : 0;
    mvcc_view_unref(v);
    return value;
}

/* Keys and values with their numbers, leases, alarms, users, revisions. */
uint64_t machine_content(const struct machine *m)
{
    struct mvcc_hash h;
    struct mvcc_view *v = mvcc_view(m->mvcc);
    int64_t *ids;
    size_t count;
    ASSERT(mvcc_hash_init(&h, v, 0) == 0);
    while (mvcc_hash_step(&h, 1000))
        continue;
    uint64_t value = mix64(h.value, (uint64_t)mvcc_view_rev(v));
    value = mix64(value, (uint64_t)mvcc_compacted(m->mvcc));
    mvcc_view_unref(v);
    count = mvcc_lease_ids(m->mvcc, &ids);
    for (size_t i = 0; i < count; i++) {
        struct mvcc_lease l;
        ASSERT(mvcc_lease_get(m->mvcc, ids[i], &l));
        value = mix64(mix64(value, (uint64_t)l.id), (uint64_t)l.ttl_s);
        value = mix64(mix64(value, l.renewals), l.keys);
    }
    free(ids);
    const struct mvcc_alarm *alarms = mvcc_alarm_list(m->mvcc, &count);
    for (size_t i = 0; i < count; i++)
        value = mix64(mix64(value, alarms[i].member), alarms[i].alarms);
    return value | 1;
}
