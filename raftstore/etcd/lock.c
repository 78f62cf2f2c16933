/* lock.c - v3lock: locks that a line of keys stands for, see queue.h. */
#include "raftstore/etcd/admin.h"
#include "raftstore/etcd/queue.h"
#include "raftstore/etcd/wire.h"

#include "lib/base/arena.h"

#include "etcd/v3lock.pb-c.h"

static const struct etcd_fault session_expired = {GRPC_UNKNOWN, "mutex: session is expired"};

static void locked(struct queue *q, int64_t rev)
{
    V3lockpb__LockResponse response = V3LOCKPB__LOCK_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    etcd_header_proto(q->call->thread, rev, &header);
    response.header = &header;
    response.key = admin_bytes(q->key);
    queue_reply(q, &response.base);
}

static void lock_entered(struct queue *q, const struct txn_result *r)
{
    const struct op_result *first = &r->ops[1];
    if (first->kv_count == 0 || kv_create_rev(first->kvs[0]) == q->rev)
        locked(q, r->rev);
    else
        queue_wait(q);
}

static const struct queue_kind lock_kind = {lock_entered, locked, &session_expired};

static void on_lock(struct etcd_call *c, struct str message)
{
    const V3lockpb__LockRequest *m =
        (const void *)etcd_call_unpack(c, &v3lockpb__lock_request__descriptor, message);
    if (m != NULL)
        queue_enter(c, &lock_kind, admin_str(m->name), STR_NULL, m->lease);
}

void admin_fail_unknown(struct etcd_call *c, const struct etcd_fault *f)
{
    etcd_call_fail_text(c, GRPC_UNKNOWN, f->text);
}

/* --- unlock: the key goes --- */

struct unlock {
    struct etcd_write write;
    struct txn_op op;
};

static void unlocked(struct etcd_call *c, const struct etcd_write *w, const struct txn_result *r)
{
    UNUSED(w);
    V3lockpb__UnlockResponse response = V3LOCKPB__UNLOCK_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    etcd_header_proto(c->thread, r->rev, &header);
    response.header = &header;
    etcd_call_reply_proto(c, &response.base);
}

static void unlock_failed(struct etcd_call *c, struct etcd_write *w, const struct etcd_fault *f)
{
    UNUSED(w);
    admin_fail_unknown(c, f);
}

static void on_unlock(struct etcd_call *c, struct str message)
{
    const V3lockpb__UnlockRequest *m =
        (const void *)etcd_call_unpack(c, &v3lockpb__unlock_request__descriptor, message);
    if (m == NULL)
        return;
    struct unlock *u = ARENA_NEW(etcd_call_arena(c), struct unlock);
    u->op = (struct txn_op){.type = OP_DELETE, .key = admin_str(m->key)};
    const struct etcd_fault *f = etcd_check_op_shape(&u->op);
    if (f != NULL) {
        admin_fail_unknown(c, f);
        return;
    }
    u->write.txn = (struct txn){.success = &u->op, .success_count = 1};
    u->write.reply = unlocked;
    u->write.fail = unlock_failed;
    etcd_write(c, &u->write, message.len);
}

static const struct etcd_method methods[] = {
    {.path = "/v3lockpb.Lock/Lock", .flags = ETCD_WAITS, .on_call = on_lock, .on_gone = queue_gone},
    {.path = "/v3lockpb.Lock/Unlock", .on_call = on_unlock},
};
const struct etcd_service etcd_lock_service = {methods, ARRAY_SIZE(methods)};
