/* kv.c - etcdserverpb.KV: Put, DeleteRange and Compact; Range is in range.c, Txn and
 * the way of every write in txn.c. */
#include "raftstore/etcd/range.h"
#include "raftstore/etcd/txn.h"
#include "raftstore/etcd/wire.h"

#include "lib/base/arena.h"

static void reply_put(struct etcd_call *c, const struct etcd_write *w, const struct txn_result *r)
{
    UNUSED(w);
    struct etcd_header h = etcd_header(c->thread, r->rev);
    etcd_call_reply(c, etcd_encode_put(&h, &r->ops[0]));
}

static void reply_delete(struct etcd_call *c, const struct etcd_write *w,
                         const struct txn_result *r)
{
    UNUSED(w);
    struct etcd_header h = etcd_header(c->thread, r->rev);
    etcd_call_reply(c, etcd_encode_delete(&h, &r->ops[0]));
}

typedef const struct etcd_fault *decode_op(struct str message, struct txn_op *ret);

/* A transaction of one operation. */
static void write_one(struct etcd_call *c, struct str message, decode_op *decode,
                      etcd_write_reply *reply)
{
    struct one {
        struct etcd_write write;
        struct txn_op op;
    };
    struct one *one = ARENA_NEW(etcd_call_arena(c), struct one);
    const struct etcd_fault *fault = decode(message, &one->op);
    if (fault == NULL)
        fault = etcd_check_op_shape(&one->op);
    if (fault != NULL) {
        etcd_call_fail(c, fault);
        return;
    }
    one->write.txn = (struct txn){.success = &one->op, .success_count = 1};
    one->write.reply = reply;
    etcd_write(c, &one->write, message.len);
}

static void put(struct etcd_call *c, struct str message)
{
    write_one(c, message, etcd_decode_put, reply_put);
}

static void delete_range(struct etcd_call *c, struct str message)
{
    write_one(c, message, etcd_decode_delete, reply_delete);
}

/* --- compaction --- */

static void on_compacted(int code, int64_t rev, void *arg)
{
    struct etcd_call *c = arg;
    UNUSED(rev);
    if (code != 0) {
        etcd_call_fail_code(c, code);
    } else if (etcd_call_is_open(c)) {
        struct etcd_header h = etcd_header(c->thread, 0);
        etcd_call_reply(c, etcd_encode_numbers(&h, NULL, 0));
    }
    etcd_call_release(c);
}

static bool never_compacted(const struct etcd_call *c)
{
    struct store_view *v = store_view(etcd_thread_store(c->thread));
    bool never = store_view_compacted(v) == 0;
    store_view_unref(v);
    return never;
}

/* `physical` asks to wait until the old versions are out of the database file. There is
 * none here: what is compacted cannot be read any more as soon as this is answered,
 * and its memory is freed in the background. */
static void compact(struct etcd_call *c, struct str message)
{
    int64_t rev;
    bool physical;
    const struct etcd_fault *fault = etcd_decode_compact(message, &rev, &physical);
    if (fault == NULL)
        fault = etcd_check_root(&c->caller);
    if (fault != NULL) {
        etcd_call_fail(c, fault);
        return;
    }
    if (rev == 0 && never_compacted(c)) { /* etcd takes it there, and has nothing to do. */
        on_compacted(0, 0, etcd_call_hold(c));
        return;
    }
    store_compact(etcd_thread_store(c->thread), rev, &c->thread->mailbox, on_compacted,
                  etcd_call_hold(c));
}

static const struct etcd_method METHODS[] = {
    {.path = "/etcdserverpb.KV/Range",
     .flags = ETCD_LEARNER,
     .on_call = etcd_range,
     .on_gone = etcd_range_gone},
    {.path = "/etcdserverpb.KV/Put", .on_call = put},
    {.path = "/etcdserverpb.KV/DeleteRange", .on_call = delete_range},
    {.path = "/etcdserverpb.KV/Txn", .on_call = etcd_txn},
    {.path = "/etcdserverpb.KV/Compact", .on_call = compact},
};
const struct etcd_service etcd_kv_service = {METHODS, ARRAY_SIZE(METHODS)};
