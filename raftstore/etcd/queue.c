/* queue.c - see queue.h. */
#include "raftstore/etcd/queue.h"

#include "lib/base/error.h"
#include "raftstore/etcd/admin.h"

#include <inttypes.h>
#include <stdio.h>

static struct str copy(struct str s)
{
    return str_n(xstrndup(str_c(s), s.len), s.len);
}

static void drop(struct str s)
{
    free((char *)(uintptr_t)s.data);
}

struct str queue_prefix(struct str name)
{
    char *p = xmalloc(name.len + 2);
    if (name.len > 0)
        memcpy(p, name.data, name.len);
    p[name.len] = '/';
    p[name.len + 1] = '\0';
    return str_n(p, name.len + 1);
}

struct str queue_prefix_end(struct str prefix)
{
    struct str end = copy(prefix);
    ((char *)(uintptr_t)end.data)[end.len - 1] = '/' + 1;
    return end;
}

struct txn_op queue_first_op(struct str prefix, struct str end)
{
    return (struct txn_op){.type = OP_RANGE,
                           .key = prefix,
                           .range_end = end,
                           .limit = 1,
                           .sort_target = SORT_CREATE,
                           .sort_order = SORT_ASCEND};
}

/* --- the end --- */

static void queue_free(struct queue *q)
{
    key_wait_stop(&q->own);
    key_wait_stop(&q->before);
    q->call->user = NULL;
    drop(q->prefix);
    drop(q->prefix_end);
    drop(q->key);
    drop(q->value);
    drop(q->before_key);
    free(q);
}

void queue_reply(struct queue *q, const ProtobufCMessage *message)
{
    struct etcd_call *c = etcd_call_hold(q->call);
    etcd_call_reply_proto(c, message);
    queue_free(q);
    etcd_call_release(c);
}

void queue_fail(struct queue *q, const struct etcd_fault *f)
{
    struct etcd_call *c = etcd_call_hold(q->call);
    queue_free(q);
    admin_fail_unknown(c, f);
    etcd_call_release(c);
}

static void on_left(int code, const struct txn_result *r, void *arg)
{
    UNUSED(code); /* Else the lease ends it. */
    UNUSED(r);
    etcd_call_release(arg);
}

/* Takes the key out of the line, unless it is another's by now. A put that is still on
 * its way comes before this. */
static void leave(struct queue *q)
{
    const struct txn_cmp cmp = {.key = q->key,
                                .target = CMP_CREATE,
                                .result = q->rev != 0 ? CMP_EQUAL : CMP_GREATER,
                                .number = q->rev != 0 ? q->rev : q->start_rev};
    const struct txn_op op = {.type = OP_DELETE, .key = q->key};
    const struct txn t = {.cmps = &cmp, .cmp_count = 1, .success = &op, .success_count = 1};
    store_txn(etcd_thread_store(q->call->thread), &t, etcd_thread_mailbox(q->call->thread), on_left,
              etcd_call_hold(q->call));
}

void queue_gone(struct etcd_call *c)
{
    struct queue *q = c->user;
    if (q == NULL)
        return;
    if (q->proposed)
        leave(q);
    queue_free(q);
}

static void write_failed(struct etcd_call *c, struct etcd_write *w, const struct etcd_fault *f)
{
    UNUSED(c);
    struct queue *q = CONTAINER_OF(w, struct queue, write);
    if (f->status == GRPC_UNAVAILABLE) /* It may stand there all the same. */
        leave(q);
    queue_fail(q, f);
}

/* --- entering --- */

static void entered(struct etcd_call *c, const struct etcd_write *w, const struct txn_result *r)
{
    UNUSED(w);
    struct queue *q = c->user;
    q->rev = r->succeeded ? r->rev : kv_create_rev(r->ops[0].kvs[0]);
    q->kind->on_entered(q, r);
}

static void propose(struct queue *q)
{
    char hex[20];
    int n = snprintf(hex, sizeof(hex), q->lease < 0 ? "-%" PRIx64 : "%" PRIx64,
                     q->lease < 0 ? 0 - (uint64_t)q->lease : (uint64_t)q->lease);
    char *key = xmalloc(q->prefix.len + (size_t)n + 1);
    memcpy(key, q->prefix.data, q->prefix.len);
    memcpy(key + q->prefix.len, hex, (size_t)n + 1);
    q->key = str_n(key, q->prefix.len + (size_t)n);
    struct store_view *v = store_view(etcd_thread_store(q->call->thread));
    q->start_rev = store_view_rev(v);
    store_view_unref(v);
    q->cmp = (struct txn_cmp){.key = q->key, .target = CMP_CREATE, .result = CMP_EQUAL};
    q->success[0] =
        (struct txn_op){.type = OP_PUT, .key = q->key, .value = q->value, .lease = q->lease};
    q->failure[0] = (struct txn_op){.type = OP_RANGE, .key = q->key};
    q->success[1] = q->failure[1] = queue_first_op(q->prefix, q->prefix_end);
    q->write.txn = (struct txn){.cmps = &q->cmp,
                                .cmp_count = 1,
                                .success = q->success,
                                .success_count = 2,
                                .failure = q->failure,
                                .failure_count = 2};
    q->write.reply = entered;
    q->write.fail = write_failed;
    q->proposed = true;
    etcd_write(q->call, &q->write, q->key.len + q->value.len);
}

static void lease_granted(int code, int64_t rev, void *arg)
{
    struct etcd_call *c = arg;
    if (etcd_call_is_open(c)) {
        struct queue *q = c->user;
        q->lease = rev;
        if (code < 0)
            queue_fail(q, etcd_fault_of_code(code));
        else
            propose(q);
    }
    etcd_call_release(c);
}

void queue_enter(struct etcd_call *c, const struct queue_kind *kind, struct str name,
                 struct str value, int64_t lease)
{
    const struct etcd_fault *f = etcd_check_user(&c->caller);
    if (f == NULL && name.len > KV_KEY_MAX - 32)
        f = &etcd_err_request_too_large;
    if (f != NULL) {
        admin_fail_unknown(c, f);
        return;
    }
    struct queue *q = xzalloc(sizeof(*q));
    q->kind = kind;
    q->call = c;
    q->prefix = queue_prefix(name);
    q->prefix_end = queue_prefix_end(q->prefix);
    q->value = copy(value);
    q->lease = lease;
    c->user = q;
    if (lease != 0)
        propose(q);
    else
        store_lease_grant(etcd_thread_store(c->thread), 0, QUEUE_LEASE_TTL_S,
                          etcd_thread_mailbox(c->thread), lease_granted, etcd_call_hold(c));
}

/* --- waiting --- */

static bool stands(const struct queue *q, const struct store_view *v)
{
    const struct kv *kv = store_view_get(v, q->key, 0);
    return kv != NULL && kv_create_rev(kv) == q->rev;
}

/* Nobody was before it; is it still there, by now? */
static void settled(struct etcd_call *c, int code)
{
    if (!etcd_call_is_open(c))
        return;
    struct queue *q = c->user;
    if (code < 0) {
        queue_fail(q, etcd_fault_of_code(code));
        return;
    }
    struct store_view *v = store_view(etcd_thread_store(c->thread));
    bool there = stands(q, v);
    int64_t rev = store_view_rev(v);
    store_view_unref(v);
    if (there)
        q->kind->on_first(q, rev);
    else
        queue_fail(q, q->kind->lost);
}

/* The newest key before its own, in *ret (counted); NULL: none. */
static const struct kv *find_before(const struct queue *q)
{
    struct txn_op op = queue_first_op(q->prefix, q->prefix_end);
    op.sort_order = SORT_DESCEND;
    op.max_create_rev = q->rev - 1;
    struct store_view *v = store_view(etcd_thread_store(q->call->thread));
    struct op_result r = {0};
    const struct kv *kv = NULL;
    if (store_view_range(v, &op, &r) == 0) {
        if (r.kv_count > 0)
            kv = kv_ref(r.kvs[0]);
        op_result_done(&r);
    }
    store_view_unref(v);
    return kv;
}

static void before_changed(struct key_wait *w, const struct event *event, int64_t rev);

/* Waits for the one before it. A wait is begun before it is looked again, so that no
 * end is missed. */
static void look(struct queue *q)
{
    for (;;) {
        const struct kv *kv = q->settling ? NULL : find_before(q);
        if (kv == NULL)
            break;
        bool known = q->before.waits != NULL && q->before_rev == kv_create_rev(kv);
        if (!known) {
            key_wait_stop(&q->before);
            drop(q->before_key);
            q->before_key = copy(kv_key(kv));
            q->before_rev = kv_create_rev(kv);
            q->before.key = q->before_key;
            q->before.on_event = before_changed;
            key_wait_start(q->call->thread, &q->before);
        }
        kv_unref(kv);
        if (known)
            return;
    }
    key_wait_stop(&q->before);
    if (!q->settling) {
        q->settling = true;
        etcd_read_barrier(q->call, settled);
    }
}

static void before_changed(struct key_wait *w, const struct event *event, int64_t rev)
{
    UNUSED(rev);
    if (event == NULL || event_type(event) == EVENT_DELETE)
        look(CONTAINER_OF(w, struct queue, before));
}

static void own_changed(struct key_wait *w, const struct event *event, int64_t rev)
{
    struct queue *q = CONTAINER_OF(w, struct queue, own);
    if (event != NULL && (event_type(event) != EVENT_DELETE || rev <= q->rev))
        return;
    struct store_view *v = store_view(etcd_thread_store(q->call->thread));
    bool there = stands(q, v);
    store_view_unref(v);
    if (!there)
        queue_fail(q, q->kind->lost);
}

void queue_wait(struct queue *q)
{
    q->own.key = q->key;
    q->own.on_event = own_changed;
    key_wait_start(q->call->thread, &q->own);
    look(q);
}
