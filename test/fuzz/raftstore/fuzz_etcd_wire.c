/* fuzz_etcd_wire.c - arbitrary bytes as etcd's frequent requests. Where protobuf-c takes a
 * message, ours must, and see the same; what it refuses may be refused or taken. */
#include "lib/base/arena.h"
#include "lib/base/base.h"
#include "lib/base/buf.h"
#include "lib/net/proto.h"
#include "raftstore/etcd/wire.h"

#include "etcd/rpc.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

static bool same(struct str a, ProtobufCBinaryData b)
{
    return str_eq(a, str_n((const char *)b.data, b.len));
}

static void *unpack(struct arena *a, const ProtobufCMessageDescriptor *d, struct str message)
{
    ProtobufCMessage *m = NULL;
    return proto_unpack(a, d, message, &m, NULL) == 0 ? m : NULL;
}

static void try_range(struct arena *a, struct str message)
{
    struct txn_op op;
    bool serializable;
    const struct etcd_fault *fault = etcd_decode_range(message, &op, &serializable);
    const Etcdserverpb__RangeRequest *m =
        unpack(a, &etcdserverpb__range_request__descriptor, message);
    if (fault == NULL)
        etcd_check_op_shape(&op);
    if (fault != NULL || m == NULL)
        return;
    ASSERT(same(op.key, m->key) && same(op.range_end, m->range_end));
    ASSERT_CMP(op.limit, ==, MAX_OF(m->limit, 0));
    ASSERT_CMP(op.min_create_rev, ==, m->min_create_revision);
    ASSERT_CMP(serializable, ==, m->serializable != 0);
}

static void try_put(struct arena *a, struct str message)
{
    struct txn_op op;
    const struct etcd_fault *fault = etcd_decode_put(message, &op);
    const Etcdserverpb__PutRequest *m = unpack(a, &etcdserverpb__put_request__descriptor, message);
    if (fault != NULL || m == NULL)
        return;
    ASSERT(same(op.key, m->key) && same(op.value, m->value));
    ASSERT_CMP(op.lease, ==, m->lease);
    ASSERT_CMP(op.ignore_value, ==, m->ignore_value != 0);
}

static void try_txn(struct arena *a, struct str message)
{
    struct txn t;
    bool serializable;
    if (etcd_decode_txn(a, message, &t, &serializable) != NULL)
        return;
    etcd_check_txn_shape(&t, 128);
    txn_check(&t, NULL);
    const Etcdserverpb__TxnRequest *m = unpack(a, &etcdserverpb__txn_request__descriptor, message);
    if (m == NULL)
        return;
    ASSERT_CMP(t.cmp_count, ==, m->n_compare);
    ASSERT_CMP(t.success_count, ==, m->n_success);
    ASSERT_CMP(t.failure_count, ==, m->n_failure);
}

static void try_watch(struct arena *a, struct str message)
{
    struct etcd_watch_request r;
    if (etcd_decode_watch(message, &r) != NULL)
        return;
    const Etcdserverpb__WatchRequest *m =
        unpack(a, &etcdserverpb__watch_request__descriptor, message);
    if (m == NULL)
        return;
    ASSERT_CMP(r.type, ==, m->request_union_case);
    if (r.type == WATCH_CANCEL)
        ASSERT_CMP(r.watch_id, ==, m->cancel_request->watch_id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_ARENA *a = arena_new(0);
    struct str message = str_n((const char *)data, size);
    struct txn_op op;
    int64_t one, two;
    try_range(a, message);
    try_put(a, message);
    try_txn(a, message);
    try_watch(a, message);
    etcd_decode_delete(message, &op);
    etcd_decode_pair(message, &one, &two);
    return 0;
}

static const struct seed {
    const char *bytes;
    size_t len;
} SEEDS[] = {
#define SEED(s)                                                                                    \
    {                                                                                              \
        s, sizeof(s) - 1                                                                           \
    }
    /* Range: key, range_end, limit, revision, order, target, flags, bounds. */
    SEED("\x0a\x01k\x12\x01l\x18\x05\x20\x07\x28\x01\x30\x03\x38\x01\x40\x01\x50\x02\x60\x03"),
    /* Put: key, value, lease, flags. */
    SEED("\x0a\x01k\x12\x05value\x18\x2a\x20\x01\x28\x00\x30\x01"),
    /* Txn: a compare of each kind, a put, a nested transaction with a range. */
    SEED("\x0a\x09\x08\x00\x10\x00\x1a\x01k\x20\x01"
         "\x0a\x0b\x10\x03\x1a\x01k\x3a\x01v\x82\x04\x01\x00"
         "\x12\x08\x12\x06\x0a\x01k\x12\x01v"
         "\x1a\x09\x22\x07\x12\x05\x0a\x03\x0a\x01k"),
    /* Watch: create with packed and plain filters, cancel, progress. */
    SEED("\x0a\x13\x0a\x01k\x12\x01l\x18\x09\x20\x01\x28\x00\x2a\x01\x01\x30\x01\x38\x04\x40\x01"),
    SEED("\x12\x02\x08\x07"),
    SEED("\x1a\x00"),
    /* Unknown fields of every wire type, a group among them. */
    SEED("\xf8\x01\x07\xf9\x01"
         "12345678\xfa\x01\x02xy\xfb\x01\x08\x01\xfc\x01\xfd\x01"
         "1234"),
#undef SEED
};

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    if (i >= ARRAY_SIZE(SEEDS) || SEEDS[i].len > cap)
        return 0;
    memcpy(p, SEEDS[i].bytes, SEEDS[i].len);
    return SEEDS[i].len;
}
