/* election.c - v3election: elections that a line of keys stands for, see queue.h.
 * Whose key has the lowest create revision leads, and the key's value is what it
 * proclaims. Observe stands in election_observe.c. */
#include "raftstore/etcd/admin.h"
#include "raftstore/etcd/queue.h"
#include "raftstore/etcd/wire.h"

#include "lib/base/arena.h"
#include "lib/base/error.h"

#include "etcd/v3election.pb-c.h"

static const struct etcd_fault not_leader = {GRPC_UNKNOWN, "election: not leader"};
static const struct etcd_fault no_leader = {GRPC_UNKNOWN, "election: no leader"};
static const struct etcd_fault leader_missing = {GRPC_UNKNOWN, "\"leader\" field must be provided"};

/* --- campaign --- */

static void elected(struct queue *q, int64_t rev)
{
    UNUSED(rev);
    V3electionpb__CampaignResponse response = V3ELECTIONPB__CAMPAIGN_RESPONSE__INIT;
    V3electionpb__LeaderKey leader = V3ELECTIONPB__LEADER_KEY__INIT;
    Etcdserverpb__ResponseHeader header;
    etcd_header_proto(q->call->thread, q->header_rev, &header);
    response.header = &header;
    response.leader = &leader;
    leader.name = admin_bytes(str_n(q->prefix.data, q->prefix.len - 1));
    leader.key = admin_bytes(q->key);
    leader.rev = q->rev;
    leader.lease = q->lease;
    queue_reply(q, &response.base);
}

static void value_changed(struct etcd_call *c, const struct etcd_write *w,
                          const struct txn_result *r)
{
    UNUSED(w);
    struct queue *q = c->user;
    if (r->succeeded)
        queue_wait(q);
    else
        queue_fail(q, &not_leader);
}

/* Its key stood there with another value: that of an earlier campaign. */
static void change_value(struct queue *q)
{
    q->cmp = (struct txn_cmp){
        .key = q->key, .target = CMP_CREATE, .result = CMP_EQUAL, .number = q->rev};
    q->write.txn =
        (struct txn){.cmps = &q->cmp, .cmp_count = 1, .success = q->success, .success_count = 1};
    q->write.reply = value_changed;
    q->write.attempts = 0;
    etcd_write(q->call, &q->write, q->key.len + q->value.len);
}

static void campaign_entered(struct queue *q, const struct txn_result *r)
{
    q->header_rev = r->rev;
    if (!r->succeeded && !str_eq(kv_value(r->ops[0].kvs[0]), q->value))
        change_value(q);
    else
        queue_wait(q);
}

static const struct queue_kind campaign_kind = {campaign_entered, elected,
                                                &etcd_err_lease_not_found};

static void on_campaign(struct etcd_call *c, struct str message)
{
    const V3electionpb__CampaignRequest *m =
        (const void *)etcd_call_unpack(c, &v3electionpb__campaign_request__descriptor, message);
    if (m != NULL)
        queue_enter(c, &campaign_kind, admin_str(m->name), admin_str(m->value), m->lease);
}

/* --- proclaim and resign: writes by whoever holds the leader's key --- */

struct leader_write {
    struct etcd_write write;
    struct txn_cmp cmp;
    struct txn_op op;
    size_t bytes;
};

/* A transaction on the leader's key as it was made, or NULL and the call has ended. */
static struct leader_write *leader_write(struct etcd_call *c, const V3electionpb__LeaderKey *leader)
{
    if (leader == NULL) {
        admin_fail_unknown(c, &leader_missing);
        return NULL;
    }
    struct leader_write *w = ARENA_NEW(etcd_call_arena(c), struct leader_write);
    w->cmp = (struct txn_cmp){.key = admin_str(leader->key),
                              .target = CMP_CREATE,
                              .result = CMP_EQUAL,
                              .number = leader->rev};
    w->op.key = w->cmp.key;
    w->write.txn =
        (struct txn){.cmps = &w->cmp, .cmp_count = 1, .success = &w->op, .success_count = 1};
    return w;
}

static void leader_write_failed(struct etcd_call *c, struct etcd_write *w,
                                const struct etcd_fault *f)
{
    UNUSED(w);
    admin_fail_unknown(c, f);
}

static void leader_write_go(struct etcd_call *c, struct leader_write *w)
{
    const struct etcd_fault *f = etcd_check_op_shape(&w->op);
    w->write.fail = leader_write_failed;
    if (f != NULL)
        admin_fail_unknown(c, f);
    else
        etcd_write(c, &w->write, w->bytes);
}

/* The two answers are alike on the wire. */
static void reply_header(struct etcd_call *c, int64_t rev)
{
    V3electionpb__ProclaimResponse response = V3ELECTIONPB__PROCLAIM_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    etcd_header_proto(c->thread, rev, &header);
    response.header = &header;
    etcd_call_reply_proto(c, &response.base);
}

static void proclaimed(struct etcd_call *c, const struct etcd_write *w, const struct txn_result *r)
{
    UNUSED(w);
    if (r->succeeded)
        reply_header(c, r->rev);
    else
        admin_fail_unknown(c, &not_leader);
}

static void proclaim_leased(int code, int64_t rev, void *arg)
{
    struct etcd_call *c = arg;
    if (code < 0) {
        admin_fail_unknown(c, etcd_fault_of_code(code));
    } else if (etcd_call_is_open(c)) {
        struct leader_write *w = c->user;
        w->op.lease = rev;
        leader_write_go(c, w);
    }
    etcd_call_release(c);
}

static void on_proclaim(struct etcd_call *c, struct str message)
{
    const V3electionpb__ProclaimRequest *m =
        (const void *)etcd_call_unpack(c, &v3electionpb__proclaim_request__descriptor, message);
    struct leader_write *w = m != NULL ? leader_write(c, m->leader) : NULL;
    if (w == NULL)
        return;
    const struct etcd_fault *f = etcd_check_user(&c->caller);
    if (f != NULL) {
        admin_fail_unknown(c, f);
        return;
    }
    w->op.type = OP_PUT;
    w->op.value = admin_str(m->value);
    w->op.lease = m->leader->lease;
    w->bytes = message.len;
    w->write.reply = proclaimed;
    if (w->op.lease != 0) {
        leader_write_go(c, w);
        return;
    }
    c->user = w;
    store_lease_grant(etcd_thread_store(c->thread), 0, QUEUE_LEASE_TTL_S,
                      etcd_thread_mailbox(c->thread), proclaim_leased, etcd_call_hold(c));
}

static void resigned(struct etcd_call *c, const struct etcd_write *w, const struct txn_result *r)
{
    UNUSED(w); /* Who does not lead any more has resigned. */
    reply_header(c, r->rev);
}

static void on_resign(struct etcd_call *c, struct str message)
{
    const V3electionpb__ResignRequest *m =
        (const void *)etcd_call_unpack(c, &v3electionpb__resign_request__descriptor, message);
    struct leader_write *w = m != NULL ? leader_write(c, m->leader) : NULL;
    if (w == NULL)
        return;
    w->op.type = OP_DELETE;
    w->bytes = message.len;
    w->write.reply = resigned;
    leader_write_go(c, w);
}

/* --- leader --- */

void election_fill_kv(const struct kv *kv, Mvccpb__KeyValue *ret)
{
    mvccpb__key_value__init(ret);
    ret->key = admin_bytes(kv_key(kv));
    ret->value = admin_bytes(kv_value(kv));
    ret->create_revision = kv_create_rev(kv);
    ret->mod_revision = kv->mod_rev;
    ret->version = kv_version(kv);
    ret->lease = kv_lease(kv);
}

static void leader_read(struct etcd_call *c, int code)
{
    if (!etcd_call_is_open(c))
        return;
    struct str name = admin_str(((const V3electionpb__LeaderRequest *)c->user)->name);
    struct str prefix = queue_prefix(name), end = queue_prefix_end(prefix);
    struct store_view *v = store_view(etcd_thread_store(c->thread));
    struct txn_op op = queue_first_op(prefix, end);
    struct op_result r = {0};
    const struct etcd_fault *f = code < 0 ? etcd_fault_of_code(code) : etcd_call_identify(c);
    if (f == NULL)
        f = etcd_check_range(&c->caller, AUTH_READ, prefix, end);
    if (f == NULL && (code = store_view_range(v, &op, &r)) < 0)
        f = etcd_fault_of_code(code);
    if (f == NULL && r.kv_count == 0)
        f = &no_leader;
    if (f != NULL) {
        admin_fail_unknown(c, f);
    } else {
        V3electionpb__LeaderResponse response = V3ELECTIONPB__LEADER_RESPONSE__INIT;
        Etcdserverpb__ResponseHeader header;
        Mvccpb__KeyValue kv;
        etcd_header_proto(c->thread, store_view_rev(v), &header);
        election_fill_kv(r.kvs[0], &kv);
        response.header = &header;
        response.kv = &kv;
        etcd_call_reply_proto(c, &response.base);
    }
    op_result_done(&r);
    store_view_unref(v);
    free((char *)(uintptr_t)prefix.data);
    free((char *)(uintptr_t)end.data);
}

static void on_leader(struct etcd_call *c, struct str message)
{
    const V3electionpb__LeaderRequest *m =
        (const void *)etcd_call_unpack(c, &v3electionpb__leader_request__descriptor, message);
    if (m == NULL)
        return;
    c->user = (void *)(uintptr_t)m;
    etcd_read_barrier(c, leader_read);
}

static const struct etcd_method methods[] = {
    {.path = "/v3electionpb.Election/Campaign",
     .flags = ETCD_WAITS,
     .on_call = on_campaign,
     .on_gone = queue_gone},
    {.path = "/v3electionpb.Election/Proclaim", .on_call = on_proclaim},
    {.path = "/v3electionpb.Election/Leader", .on_call = on_leader},
    {.path = "/v3electionpb.Election/Observe",
     .flags = ETCD_WAITS,
     .on_call = election_on_observe,
     .on_gone = election_observe_gone},
    {.path = "/v3electionpb.Election/Resign", .on_call = on_resign},
};
const struct etcd_service etcd_election_service = {methods, ARRAY_SIZE(methods)};
