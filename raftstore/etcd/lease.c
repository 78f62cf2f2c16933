/* lease.c - etcdserverpb.Lease. */
#include "raftstore/etcd/wire.h"

#include "lib/base/arena.h"
#include "lib/net/bytes.h"
#include "raftstore/lease.h"

#define KEEPALIVES_MAX 256              /* On their way, per stream; beyond it the client waits. */
#define PENDING_HIGH ((size_t)64 << 10) /* Of answers it does not take, too. */
#define PENDING_LOW ((size_t)32 << 10)

static void reply_numbers(struct etcd_call *c, const int64_t *numbers, size_t count)
{
    struct etcd_header h = etcd_header(c->thread, 0);
    etcd_call_reply(c, etcd_encode_numbers(&h, numbers, count));
}

static const struct etcd_fault *lease_fault(int code)
{
    if (code == E_NOT_FOUND)
        return &etcd_err_lease_not_found;
    return code == E_EXISTS ? &etcd_err_lease_exists : etcd_fault_of_code(code);
}

/* Two numbers of the request, kept while the store is asked. */
struct lease_call {
    int64_t id, number;
};

static struct lease_call *lease_call_new(struct etcd_call *c, int64_t id, int64_t number)
{
    struct lease_call *l = ARENA_NEW(etcd_call_arena(c), struct lease_call);
    *l = (struct lease_call){id, number};
    c->user = l;
    return l;
}

/* --- grant --- */

static void on_granted(int code, int64_t id, void *arg)
{
    struct etcd_call *c = arg;
    if (code != 0) {
        etcd_call_fail(c, lease_fault(code));
    } else if (etcd_call_is_open(c)) {
        const struct lease_call *l = c->user;
        reply_numbers(c, (const int64_t[]){id, l->number}, 2);
    }
    etcd_call_release(c);
}

static void lease_grant(struct etcd_call *c, struct str message)
{
    int64_t ttl_s, id;
    const struct etcd_fault *fault = etcd_decode_pair(message, &ttl_s, &id);
    if (fault == NULL)
        fault = etcd_check_user(&c->caller);
    if (fault == NULL && ttl_s > LEASE_TTL_MAX_S)
        fault = &etcd_err_lease_ttl_too_large;
    if (fault != NULL) {
        etcd_call_fail(c, fault);
        return;
    }
    ttl_s = MAX_OF(ttl_s, etcd_thread_config(c->thread)->lease_ttl_min_s);
    lease_call_new(c, id, ttl_s);
    store_lease_grant(etcd_thread_store(c->thread), id, ttl_s, &c->thread->mailbox, on_granted,
                      etcd_call_hold(c));
}

/* --- revoke --- */

static void on_revoked(int code, int64_t rev, void *arg)
{
    struct etcd_call *c = arg;
    UNUSED(rev);
    if (code != 0)
        etcd_call_fail(c, lease_fault(code));
    else if (etcd_call_is_open(c))
        reply_numbers(c, NULL, 0);
    etcd_call_release(c);
}

static void revoke_now(struct etcd_call *c, int64_t id)
{
    store_lease_revoke(etcd_thread_store(c->thread), id, &c->thread->mailbox, on_revoked,
                       etcd_call_hold(c));
}

/* Its keys go with it: the caller must be allowed to write them. */
static void on_revoke_keys(int code, const struct store_lease *lease, void *arg)
{
    struct etcd_call *c = arg;
    const struct etcd_fault *fault = code != 0 ? lease_fault(code) : NULL;
    if (fault == NULL && etcd_call_is_open(c))
        fault = etcd_check_lease_keys(&c->caller, AUTH_WRITE, lease->keys, lease->key_count);
    if (fault != NULL)
        etcd_call_fail(c, fault);
    else if (etcd_call_is_open(c))
        revoke_now(c, ((const struct lease_call *)c->user)->id);
    etcd_call_release(c);
}

static void lease_revoke(struct etcd_call *c, struct str message)
{
    int64_t id, unused;
    const struct etcd_fault *fault = etcd_decode_pair(message, &id, &unused);
    if (fault == NULL)
        fault = etcd_check_user(&c->caller);
    if (fault != NULL) {
        etcd_call_fail(c, fault);
        return;
    }
    if (!auth_enabled(c->caller.auth)) {
        revoke_now(c, id);
        return;
    }
    lease_call_new(c, id, 0);
    store_lease_get(etcd_thread_store(c->thread), id, true, &c->thread->mailbox, on_revoke_keys,
                    etcd_call_hold(c));
}

/* --- time to live --- */

/* LeaseTimeToLiveResponse: ID 2, TTL 3, grantedTTL 4, keys 5. */
static struct net_bytes *encode_left(const struct etcd_header *h, const struct store_lease *l)
{
    size_t n =
        etcd_header_size(h) + number_size(l->id) + number_size(l->left_s) + number_size(l->ttl_s);
    for (size_t i = 0; i < l->key_count; i++)
        n += bytes_size(kv_key(l->keys[i]).len);
    struct net_bytes *b = net_bytes_new(n);
    uint8_t *p = etcd_header_put(net_bytes_edit(b), h);
    p = number_put(p, 2, l->id);
    p = number_put(p, 3, l->left_s);
    p = number_put(p, 4, l->ttl_s);
    for (size_t i = 0; i < l->key_count; i++)
        p = bytes_put(p, 5, kv_key(l->keys[i]));
    return b;
}

static void on_left(int code, const struct store_lease *lease, void *arg)
{
    struct etcd_call *c = arg;
    const struct etcd_fault *fault = NULL;
    if (!etcd_call_is_open(c)) {
        etcd_call_release(c);
        return;
    }
    const struct lease_call *l = c->user;
    const struct store_lease unknown = {.id = l->id, .left_s = -1};
    if (code != 0 && code != E_NOT_FOUND)
        fault = lease_fault(code);
    else if (code == 0 && l->number != 0)
        fault = etcd_check_lease_keys(&c->caller, AUTH_READ, lease->keys, lease->key_count);
    if (fault != NULL) {
        etcd_call_fail(c, fault);
    } else {
        struct etcd_header h = etcd_header(c->thread, 0);
        etcd_call_reply(c, encode_left(&h, code == 0 ? lease : &unknown));
    }
    etcd_call_release(c);
}

static void lease_time_to_live(struct etcd_call *c, struct str message)
{
    int64_t id, keys;
    const struct etcd_fault *fault = etcd_decode_pair(message, &id, &keys);
    if (fault == NULL)
        fault = etcd_check_user(&c->caller);
    if (fault != NULL) {
        etcd_call_fail(c, fault);
        return;
    }
    lease_call_new(c, id, keys);
    store_lease_get(etcd_thread_store(c->thread), id, keys != 0, &c->thread->mailbox, on_left,
                    etcd_call_hold(c));
}

/* --- leases --- */

/* LeaseLeasesResponse: leases 2, each LeaseStatus{ID 1}. */
static void on_ids(int code, const int64_t *ids, size_t count, void *arg)
{
    struct etcd_call *c = arg;
    if (code != 0 || !etcd_call_is_open(c)) {
        etcd_call_fail(c, lease_fault(code));
        etcd_call_release(c);
        return;
    }
    struct etcd_header h = etcd_header(c->thread, 0);
    size_t n = etcd_header_size(&h);
    for (size_t i = 0; i < count; i++)
        n += bytes_size(number_size(ids[i]));
    struct net_bytes *b = net_bytes_new(n);
    uint8_t *p = etcd_header_put(net_bytes_edit(b), &h);
    for (size_t i = 0; i < count; i++)
        p = number_put(bytes_head_put(p, 2, number_size(ids[i])), 1, ids[i]);
    etcd_call_reply(c, b);
    etcd_call_release(c);
}

static void lease_list(struct etcd_call *c, struct str message)
{
    UNUSED(message);
    const struct etcd_fault *fault = etcd_check_user(&c->caller);
    if (fault != NULL)
        etcd_call_fail(c, fault);
    else
        store_lease_list(etcd_thread_store(c->thread), &c->thread->mailbox, on_ids,
                         etcd_call_hold(c));
}

/* --- keep-alive streams --- */

struct keepalives {
    struct etcd_call *call; /* Held. */
    unsigned pending;       /* Of the store, or of the client's taking. */
    bool paused, half_closed;
};

struct keepalive {
    struct keepalives *stream;
    int64_t id;
};

/* A stream ends well once the client has sent its last and got every answer. */
static void keepalives_settle(struct keepalives *k)
{
    struct etcd_call *c = k->call;
    if (!etcd_call_is_open(c))
        return;
    if (k->paused && k->pending < KEEPALIVES_MAX / 2 && etcd_call_pending(c) <= PENDING_LOW) {
        k->paused = false;
        grpc_stream_resume(c->stream);
    }
    if (k->half_closed && k->pending == 0)
        etcd_call_finish(c);
}

static void keepalives_release(struct keepalives *k)
{
    struct etcd_call *c = k->call;
    if (k->pending == 0 && !etcd_call_is_open(c)) {
        c->user = NULL;
        free(k);
        etcd_call_release(c);
    }
}

static void on_kept(int code, int64_t ttl_s, void *arg)
{
    struct keepalive *one = arg;
    struct keepalives *k = one->stream;
    struct etcd_call *c = k->call;
    k->pending--;
    if (code != 0 && code != E_NOT_FOUND) {
        etcd_call_fail(c, lease_fault(code));
    } else if (etcd_call_is_open(c)) {
        struct etcd_header h = etcd_header(c->thread, 0);
        const int64_t numbers[] = {one->id, code == 0 ? ttl_s : 0};
        etcd_call_send(c, etcd_encode_numbers(&h, numbers, 2));
    }
    free(one);
    keepalives_settle(k);
    keepalives_release(k);
}

static void keepalive_drained(struct etcd_call *c)
{
    keepalives_settle(c->user);
}

static void keepalive_open(struct etcd_call *c)
{
    struct keepalives *k = xzalloc(sizeof(*k));
    k->call = etcd_call_hold(c);
    c->user = k;
    etcd_call_on_drain(c, PENDING_LOW, keepalive_drained);
}

static void keepalive_end(struct etcd_call *c, const struct etcd_fault *fault)
{
    struct keepalives *k = c->user;
    etcd_call_fail(c, fault);
    keepalives_release(k);
}

static void keepalive_message(struct etcd_call *c, struct str message)
{
    struct keepalives *k = c->user;
    int64_t id, unused;
    const struct etcd_fault *fault = etcd_decode_pair(message, &id, &unused);
    if (fault != NULL) {
        keepalive_end(c, fault);
        return;
    }
    struct keepalive *one = xmalloc(sizeof(*one));
    *one = (struct keepalive){k, id};
    k->pending++;
    if (k->pending >= KEEPALIVES_MAX || etcd_call_pending(c) > PENDING_HIGH) {
        k->paused = true;
        grpc_stream_pause(c->stream);
    }
    store_lease_keepalive(etcd_thread_store(c->thread), id, &c->thread->mailbox, on_kept, one);
}

static void keepalive_half_close(struct etcd_call *c)
{
    struct keepalives *k = c->user;
    k->half_closed = true;
    etcd_call_hold(c);
    keepalives_settle(k);
    keepalives_release(k);
    etcd_call_release(c);
}

static void keepalive_gone(struct etcd_call *c)
{
    if (c->user != NULL)
        keepalives_release(c->user);
}

static const struct etcd_method METHODS[] = {
    {.path = "/etcdserverpb.Lease/LeaseGrant", .on_call = lease_grant},
    {.path = "/etcdserverpb.Lease/LeaseRevoke", .on_call = lease_revoke},
    {.path = "/etcdserverpb.Lease/LeaseTimeToLive", .on_call = lease_time_to_live},
    {.path = "/etcdserverpb.Lease/LeaseLeases", .on_call = lease_list},
    {.path = "/etcdserverpb.Lease/LeaseKeepAlive",
     .on_open = keepalive_open,
     .on_message = keepalive_message,
     .on_half_close = keepalive_half_close,
     .on_gone = keepalive_gone},
};
const struct etcd_service etcd_lease_service = {METHODS, ARRAY_SIZE(METHODS)};
