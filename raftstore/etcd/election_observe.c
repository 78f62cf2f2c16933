/* election_observe.c - v3election's Observe: what whoever leads proclaims, in order.
 *
 *   nobody leads: wait for a put under the prefix --> send it, wait for its key
 *   somebody: send every put of the key; when it goes, look for the next leader
 *
 * A client that reads too slowly misses values, never the newest one. */
#include "raftstore/etcd/admin.h"
#include "raftstore/etcd/queue.h"

#include "lib/base/error.h"

#include "etcd/v3election.pb-c.h"

#define PENDING_MAX (1u << 20) /* Bytes that wait for the client. */
#define PENDING_LOW (128u << 10)

struct observer {
    struct etcd_call *call;  /* Not held. */
    struct str prefix, end;  /* Owned. */
    const struct kv *leader; /* The last that was sent, counted; NULL: nobody leads. */
    int64_t sent_rev;        /* mod_rev of the last that was sent. */
    struct key_wait wait;
    bool behind; /* The client is: look again once it has caught up. */
};

static void observer_free(struct observer *o)
{
    key_wait_stop(&o->wait);
    o->call->user = NULL;
    kv_unref(o->leader);
    free((char *)(uintptr_t)o->prefix.data);
    free((char *)(uintptr_t)o->end.data);
    free(o);
}

void election_observe_gone(struct etcd_call *c)
{
    if (c->user != NULL)
        observer_free(c->user);
}

static void send_leader(struct observer *o, const struct kv *kv, int64_t rev)
{
    V3electionpb__LeaderResponse response = V3ELECTIONPB__LEADER_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    Mvccpb__KeyValue m;
    etcd_header_proto(o->call->thread, rev, &header);
    election_fill_kv(kv, &m);
    response.header = &header;
    response.kv = &m;
    o->sent_rev = kv->mod_rev;
    etcd_call_send_proto(o->call, &response.base);
}

static bool same_key(const struct kv *a, const struct kv *b)
{
    return a == b || (a != NULL && b != NULL && str_eq(kv_key(a), kv_key(b)));
}

static void on_event(struct key_wait *w, const struct event *event, int64_t rev);

/* Waits for changes of the leader's key, or of any while nobody leads. */
static void wait_for(struct observer *o, const struct kv *leader)
{
    bool same = o->wait.waits != NULL && o->leader == leader;
    if (same)
        return;
    key_wait_stop(&o->wait);
    if (!same_key(o->leader, leader))
        o->sent_rev = 0; /* Its value may be older than what another proclaimed. */
    kv_unref(o->leader);
    o->leader = leader != NULL ? kv_ref(leader) : NULL;
    o->wait.prefix = leader == NULL;
    o->wait.key = leader != NULL ? kv_key(o->leader) : o->prefix;
    o->wait.on_event = on_event;
    key_wait_start(o->call->thread, &o->wait);
}

/* Who leads now, by the newest view; counted. */
static const struct kv *find_leader(struct observer *o, int64_t *ret_rev)
{
    struct txn_op op = queue_first_op(o->prefix, o->end);
    struct store_view *v = store_view(etcd_thread_store(o->call->thread));
    struct op_result r = {0};
    const struct kv *kv = NULL;
    if (store_view_range(v, &op, &r) == 0) {
        kv = r.kv_count > 0 ? kv_ref(r.kvs[0]) : NULL;
        op_result_done(&r);
    }
    *ret_rev = store_view_rev(v);
    store_view_unref(v);
    return kv;
}

/* Sends the newest leader unless it was sent. The wait is begun before the view is
 * looked at for the last time. */
static void look(struct observer *o)
{
    for (;;) {
        int64_t rev;
        const struct kv *kv = find_leader(o, &rev);
        if (o->wait.waits != NULL && same_key(kv, o->leader)) {
            if (kv != NULL && kv->mod_rev > o->sent_rev)
                send_leader(o, kv, rev);
            kv_unref(kv);
            return;
        }
        wait_for(o, kv);
        kv_unref(kv);
    }
}

static void drained(struct etcd_call *c)
{
    struct observer *o = c->user;
    if (o == NULL || !o->behind)
        return;
    o->behind = false;
    look(o);
}

static void on_event(struct key_wait *w, const struct event *event, int64_t rev)
{
    struct observer *o = CONTAINER_OF(w, struct observer, wait);
    if (etcd_call_pending(o->call) > PENDING_MAX)
        o->behind = true;
    if (o->behind)
        return;
    if (event == NULL || event_type(event) == EVENT_DELETE || o->leader == NULL)
        look(o);
    else if (event->kv->mod_rev > o->sent_rev)
        send_leader(o, event->kv, rev);
}

static void begin(struct etcd_call *c, int code)
{
    if (!etcd_call_is_open(c))
        return;
    struct observer *o = c->user;
    const struct etcd_fault *f = code < 0 ? etcd_fault_of_code(code) : etcd_call_identify(c);
    if (f == NULL)
        f = etcd_check_range(&c->caller, AUTH_READ, o->prefix, o->end);
    if (f != NULL) {
        observer_free(o);
        admin_fail_unknown(c, f);
        return;
    }
    etcd_call_on_drain(c, PENDING_LOW, drained);
    look(o);
}

void election_on_observe(struct etcd_call *c, struct str message)
{
    const V3electionpb__LeaderRequest *m =
        (const void *)etcd_call_unpack(c, &v3electionpb__leader_request__descriptor, message);
    if (m == NULL)
        return;
    struct observer *o = xzalloc(sizeof(*o));
    o->call = c;
    o->prefix = queue_prefix(admin_str(m->name));
    o->end = queue_prefix_end(o->prefix);
    c->user = o;
    etcd_read_barrier(c, begin);
}
