/* wire.c - see wire.h. */
#include "test/e2e/kvload/wire.h"

#include "lib/base/arena.h"
#include "lib/net/bytes.h"
#include "lib/net/proto.h"

#include "etcd/rpc.pb-c.h"

#include <string.h>

static ProtobufCBinaryData binary(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

static struct net_bytes *pack(const ProtobufCMessage *m)
{
    return proto_pack(m);
}

/* --- requests -------------------------------------------------------------------- */

struct put {
    char key[HISTORY_KEY_BYTES];
    char *value;
    Etcdserverpb__PutRequest put;
    Etcdserverpb__RequestOp op;
};

static void put_init(struct put *p, uint32_t key, uint64_t id, size_t bytes)
{
    bytes = MAX_OF(bytes, (size_t)HISTORY_VALUE_MIN);
    history_key(key, p->key);
    p->value = xmalloc(bytes);
    history_value(id, bytes, p->value);
    etcdserverpb__put_request__init(&p->put);
    p->put.key = binary(p->key);
    p->put.value = (ProtobufCBinaryData){bytes, (uint8_t *)p->value};
    etcdserverpb__request_op__init(&p->op);
    p->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    p->op.request_put = &p->put;
}

struct range {
    char key[HISTORY_KEY_BYTES], end[HISTORY_KEY_BYTES];
    Etcdserverpb__RangeRequest range;
    Etcdserverpb__RequestOp op;
};

static void range_init(struct range *r, uint32_t first, uint32_t count)
{
    history_key(first, r->key);
    history_key(first + count, r->end);
    etcdserverpb__range_request__init(&r->range);
    r->range.key = binary(r->key);
    if (count > 1)
        r->range.range_end = binary(r->end);
    etcdserverpb__request_op__init(&r->op);
    r->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    r->op.request_range = &r->range;
}

struct net_bytes *wire_range(uint32_t first, uint32_t count, bool stale, int64_t rev)
{
    struct range r;
    range_init(&r, first, count);
    r.range.serializable = stale;
    r.range.revision = rev;
    return pack(&r.range.base);
}

struct net_bytes *wire_put(uint32_t key, uint64_t id, size_t value_bytes)
{
    struct put p;
    put_init(&p, key, id, value_bytes);
    struct net_bytes *b = pack(&p.put.base);
    free(p.value);
    return b;
}

struct net_bytes *wire_delete_mark(uint32_t key, uint32_t mark, uint64_t id, size_t value_bytes)
{
    struct put p;
    char name[HISTORY_KEY_BYTES];
    put_init(&p, mark, id, value_bytes);
    history_key(key, name);
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT, *ops[] = {&op, &p.op};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    del.key = binary(name);
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op.request_delete_range = &del;
    txn.success = ops;
    txn.n_success = 2;
    struct net_bytes *b = pack(&txn.base);
    free(p.value);
    return b;
}

struct net_bytes *wire_pair(uint32_t key, uint64_t id, size_t value_bytes)
{
    struct put p, q;
    struct range r;
    put_init(&p, key, id, value_bytes);
    put_init(&q, key + 1, id, value_bytes);
    range_init(&r, key, 1);
    Etcdserverpb__RequestOp *ops[] = {&p.op, &q.op, &r.op};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.success = ops;
    txn.n_success = 3;
    struct net_bytes *b = pack(&txn.base);
    free(p.value);
    free(q.value);
    return b;
}

struct net_bytes *wire_counter(uint32_t key, int64_t expect, uint64_t id, size_t value_bytes)
{
    struct put p;
    struct range r;
    put_init(&p, key, id, value_bytes);
    range_init(&r, key, 1);
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT, *compares[] = {&compare};
    Etcdserverpb__RequestOp *won[] = {&p.op}, *lost[] = {&r.op};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compare.key = binary(p.key);
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.mod_revision = expect;
    txn.compare = compares;
    txn.n_compare = 1;
    txn.success = won;
    txn.n_success = 1;
    txn.failure = lost;
    txn.n_failure = 1;
    struct net_bytes *b = pack(&txn.base);
    free(p.value);
    return b;
}

struct net_bytes *wire_leased(uint32_t key, int64_t lease, uint64_t id, size_t value_bytes)
{
    struct put p, q;
    put_init(&p, key, id, value_bytes);
    put_init(&q, key + 1, id, value_bytes);
    p.put.lease = q.put.lease = lease;
    Etcdserverpb__RequestOp *ops[] = {&p.op, &q.op};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.success = ops;
    txn.n_success = 2;
    struct net_bytes *b = pack(&txn.base);
    free(p.value);
    free(q.value);
    return b;
}

struct net_bytes *wire_lease_grant(int64_t ttl_s)
{
    Etcdserverpb__LeaseGrantRequest r = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    r.ttl = ttl_s;
    return pack(&r.base);
}

struct net_bytes *wire_lease_keepalive(int64_t lease)
{
    Etcdserverpb__LeaseKeepAliveRequest r = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    r.id = lease;
    return pack(&r.base);
}

struct net_bytes *wire_lease_revoke(int64_t lease)
{
    Etcdserverpb__LeaseRevokeRequest r = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    r.id = lease;
    return pack(&r.base);
}

struct net_bytes *wire_compact(int64_t rev)
{
    Etcdserverpb__CompactionRequest c = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    c.revision = rev;
    return pack(&c.base);
}

struct net_bytes *wire_watch_create(uint32_t first, uint32_t count, int64_t rev, int64_t id)
{
    struct range r;
    range_init(&r, first, count);
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchRequest w = ETCDSERVERPB__WATCH_REQUEST__INIT;
    create.key = r.range.key;
    create.range_end = r.range.range_end;
    create.start_revision = rev;
    create.prev_kv = true;
    create.progress_notify = true;
    create.watch_id = id;
    w.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    w.create_request = &create;
    return pack(&w.base);
}

struct net_bytes *wire_watch_progress(void)
{
    Etcdserverpb__WatchProgressRequest progress = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
    Etcdserverpb__WatchRequest w = ETCDSERVERPB__WATCH_REQUEST__INIT;
    w.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    w.progress_request = &progress;
    return pack(&w.base);
}

/* --- answers ------------------------------------------------------------------------ */

static const char *kv_of(const Mvccpb__KeyValue *m, bool value, struct seen_kv *ret)
{
    *ret = (struct seen_kv){
        .mod = m->mod_revision, .create = m->create_revision, .version = m->version};
    if (!history_key_parse(str_n((const char *)m->key.data, m->key.len), &ret->key))
        return "a key that is none of ours";
    if (value && !history_value_parse(str_n((const char *)m->value.data, m->value.len), &ret->op))
        return "a value that nobody can have written";
    return NULL;
}

static void head_of(const Etcdserverpb__ResponseHeader *h, struct wire_answer *ret)
{
    if (h == NULL) {
        ret->wrong = "an answer without a header";
        return;
    }
    ret->member = h->member_id;
    ret->term = h->raft_term;
    ret->rev = h->revision;
    if (h->revision <= 0)
        ret->wrong = "a header without a revision";
}

static void range_of(struct arena *a, const Etcdserverpb__RangeResponse *m, struct wire_answer *ret)
{
    ret->kvs = ARENA_ARRAY(a, struct seen_kv, m->n_kvs + 1);
    ret->count = m->count;
    for (size_t i = 0; i < m->n_kvs; i++) {
        const char *wrong = kv_of(m->kvs[i], true, &ret->kvs[ret->kv_count++]);
        ret->wrong = wrong != NULL ? wrong : ret->wrong;
        if (i > 0 && ret->kvs[i].key <= ret->kvs[i - 1].key)
            ret->wrong = "a range out of order";
    }
    if (m->count != (int64_t)m->n_kvs || m->more)
        ret->wrong = "a range whose count is not that of its keys";
}

int wire_range_answer(struct arena *a, struct str bytes, struct wire_answer *ret)
{
    ProtobufCMessage *m;
    int rc = proto_unpack(a, &etcdserverpb__range_response__descriptor, bytes, &m, NULL);
    *ret = (struct wire_answer){0};
    if (rc < 0)
        return rc;
    const Etcdserverpb__RangeResponse *r = (const Etcdserverpb__RangeResponse *)m;
    head_of(r->header, ret);
    range_of(a, r, ret);
    return 0;
}

int wire_put_answer(struct arena *a, struct str bytes, struct wire_answer *ret)
{
    ProtobufCMessage *m;
    int rc = proto_unpack(a, &etcdserverpb__put_response__descriptor, bytes, &m, NULL);
    *ret = (struct wire_answer){0};
    if (rc < 0)
        return rc;
    head_of(((const Etcdserverpb__PutResponse *)m)->header, ret);
    return 0;
}

int wire_txn_answer(struct arena *a, struct str bytes, struct wire_answer *ret)
{
    ProtobufCMessage *m;
    int rc = proto_unpack(a, &etcdserverpb__txn_response__descriptor, bytes, &m, NULL);
    *ret = (struct wire_answer){0};
    if (rc < 0)
        return rc;
    const Etcdserverpb__TxnResponse *t = (const Etcdserverpb__TxnResponse *)m;
    head_of(t->header, ret);
    ret->succeeded = t->succeeded;
    for (size_t i = 0; i < t->n_responses; i++)
        if (t->responses[i]->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
            range_of(a, t->responses[i]->response_range, ret);
    return 0;
}

int wire_lease_grant_answer(struct arena *a, struct str bytes, int64_t *ret_id, int64_t *ret_ttl_s)
{
    ProtobufCMessage *m;
    int rc = proto_unpack(a, &etcdserverpb__lease_grant_response__descriptor, bytes, &m, NULL);
    if (rc < 0)
        return rc;
    *ret_id = ((const Etcdserverpb__LeaseGrantResponse *)m)->id;
    *ret_ttl_s = ((const Etcdserverpb__LeaseGrantResponse *)m)->ttl;
    return 0;
}

int wire_lease_keepalive_answer(struct arena *a, struct str bytes, int64_t *ret_ttl_s)
{
    ProtobufCMessage *m;
    int rc = proto_unpack(a, &etcdserverpb__lease_keep_alive_response__descriptor, bytes, &m, NULL);
    if (rc < 0)
        return rc;
    *ret_ttl_s = ((const Etcdserverpb__LeaseKeepAliveResponse *)m)->ttl;
    return 0;
}

static const char *event_of(const Mvccpb__Event *m, struct seen_event *ret)
{
    if (m->kv == NULL)
        return "an event without a key";
    ret->deleted = m->type == MVCCPB__EVENT__EVENT_TYPE__DELETE;
    const char *wrong = kv_of(m->kv, !ret->deleted, &ret->kv);
    struct seen_kv prev = {0};
    if (wrong == NULL && m->prev_kv != NULL) {
        wrong = kv_of(m->prev_kv, true, &prev);
        ret->has_prev = true;
        ret->prev_mod = prev.mod;
        ret->prev_op = prev.op;
        if (prev.key != ret->kv.key)
            wrong = "an event with another key's previous value";
    }
    return wrong;
}

int wire_watch_answer(struct arena *a, struct str bytes, struct wire_watch *ret)
{
    ProtobufCMessage *m;
    int rc = proto_unpack(a, &etcdserverpb__watch_response__descriptor, bytes, &m, NULL);
    *ret = (struct wire_watch){0};
    if (rc < 0)
        return rc;
    const Etcdserverpb__WatchResponse *w = (const Etcdserverpb__WatchResponse *)m;
    ret->rev = w->header != NULL ? w->header->revision : 0;
    ret->id = w->watch_id;
    ret->created = w->created;
    ret->canceled = w->canceled;
    ret->compact_rev = w->compact_revision;
    ret->reason = w->cancel_reason;
    ret->events = ARENA_ARRAY(a, struct seen_event, w->n_events + 1);
    for (size_t i = 0; i < w->n_events; i++) {
        const char *wrong = event_of(w->events[i], &ret->events[ret->count++]);
        ret->wrong = wrong != NULL ? wrong : ret->wrong;
    }
    return 0;
}
