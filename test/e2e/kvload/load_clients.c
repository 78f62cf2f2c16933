/* load_clients.c - writers, readers and users of leases: one operation after another,
 * each noted in the history with what came of it. */
#include "test/e2e/kvload/load_internal.h"

#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc.h"
#include "lib/net/http_client.h"
#include "test/e2e/kvload/wire.h"

#include <inttypes.h>

#define CALL_MS 3000
/* For a lease that nobody renews to be ended: each change of leaders begins its time anew. */
#define LEASE_LATE_S 120

/* --- operations ------------------------------------------------------------------------ */

static void client_next(uv_timer_t *timer);

static void client_wait(struct client *c, uint64_t ms)
{
    uv_timer_start(&c->timer, client_next, ms, 0);
}

static uint64_t pause_ms(struct load *l)
{
    if (l->config.rate == 0)
        return 0;
    uint64_t each = UINT64_C(1000) * (l->config.writers + l->config.readers) / l->config.rate;
    return each / 2 + below(l, (uint32_t)each + 1);
}

static void record(struct load *l, uint64_t id)
{
    const struct op *o = history_op(l->h, id);
    if (l->record == NULL || o->kind > OP_COUNTER)
        return;
    fprintf(l->record,
            "%" PRIu64 " kind %d key %u rev %" PRId64 " %s from %" PRId64 " to %" PRId64 "\n", id,
            (int)o->kind, o->key, o->rev,
            o->outcome == OUTCOME_DONE      ? "acknowledged"
            : o->outcome == OUTCOME_REFUSED ? "refused"
                                            : "unknown",
            o->start_us, o->end_us);
}

static void acknowledged(struct load *l, int64_t now)
{
    if (l->last_ack_us != 0)
        l->longest_gap_us = MAX_OF(l->longest_gap_us, now - l->last_ack_us);
    l->last_ack_us = now;
    l->acked++;
}

/* A call that ended well. */
static void op_done(struct client *c, struct op *o)
{
    struct load *l = c->l;
    const struct wire_answer *a = &c->answer;
    o->outcome = OUTCOME_DONE;
    o->rev = a->rev;
    o->won = a->succeeded;
    for (size_t i = 0; i < a->kv_count; i++) {
        o->seen = history_digest(o->seen, &a->kvs[i]);
        if (a->kvs[i].key < o->key || a->kvs[i].key >= o->key + MAX_OF(o->keys, 1u))
            history_violation(l->h, "an answer holds key %u, which was not asked for",
                              a->kvs[i].key);
    }
    if (a->wrong != NULL)
        history_violation(l->h, "operation %" PRIu64 ": %s", c->op, a->wrong);
    l->max_rev = MAX_OF(l->max_rev, o->kind == OP_READ_STALE ? 0 : a->rev);
    switch (o->kind) {
    case OP_PAIR:
        if (!a->succeeded || a->kv_count != 1 || a->kvs[0].op != c->op || a->kvs[0].mod != a->rev)
            history_violation(l->h, "pair %" PRIu64 " does not read what it wrote", c->op);
        break;
    case OP_DELETE_MARK:
        if (!a->succeeded)
            history_violation(l->h, "delete %" PRIu64 " without conditions did not succeed", c->op);
        break;
    case OP_COUNTER:
        c->counters[o->key % HISTORY_SLOTS] =
            a->succeeded ? a->rev : (a->kv_count > 0 ? a->kvs[0].mod : 0);
        break;
    default:
        break;
    }
    if (o->kind <= OP_COUNTER)
        acknowledged(l, o->end_us);
    else
        l->reads++;
}

static bool is_definite(enum grpc_status s)
{
    return s == GRPC_RESOURCE_EXHAUSTED || s == GRPC_NOT_FOUND || s == GRPC_INVALID_ARGUMENT ||
           s == GRPC_FAILED_PRECONDITION || s == GRPC_OUT_OF_RANGE || s == GRPC_UNIMPLEMENTED;
}

static void on_op_message(struct grpc_call *call, struct str message, void *arg)
{
    struct client *c = arg;
    const struct op *o = history_op(c->l->h, c->op);
    struct arena *a = grpc_call_arena(call);
    int rc = 0;
    c->answered = true;
    if (c->role == COMPACTOR)
        return;
    if (c->role == LEASER && c->step != LEASE_PUT) {
        if (c->step == LEASE_GRANT)
            rc = wire_lease_grant_answer(a, message, &c->lease_id, &c->ttl_s);
        else if (c->step == LEASE_KEEP)
            rc = wire_lease_keepalive_answer(a, message, &c->ttl_s);
        if (rc < 0)
            history_violation(c->l->h, "an answer about a lease that cannot be read");
        return;
    }
    if (o->kind >= OP_READ)
        rc = wire_range_answer(a, message, &c->answer);
    else if (o->kind == OP_SINGLE)
        rc = wire_put_answer(a, message, &c->answer);
    else
        rc = wire_txn_answer(a, message, &c->answer);
    if (rc < 0)
        c->answer.wrong = "an answer that cannot be read";
}

/* --- leases: what follows an answer --- */

static void leaser_kept(struct client *c)
{
    struct load *l = c->l;
    struct lease *lease = history_lease(l->h, c->lease);
    if (c->ttl_s > 0) {
        lease->renewed_us = c->called_us;
        client_wait(c, (uint64_t)lease->ttl_us / 3000);
        return;
    }
    if (now_us() < lease->renewed_us + lease->ttl_us)
        history_violation(l->h, "LEASE: number %u is said to be gone before its time", c->lease);
    c->renewals = 0;
    client_wait(c, 0);
}

static void leaser_end(struct client *c, enum grpc_status status)
{
    bool good = status == GRPC_OK && c->answered;
    switch (c->step) {
    case LEASE_GRANT:
        if (good) {
            c->lease = history_lease_new(c->l->h, c->ttl_s * 1000000, c->called_us);
            c->renewals = below(c->l, 5);
            c->step = LEASE_PUT;
        }
        break;
    case LEASE_KEEP:
        if (good) {
            leaser_kept(c);
            return;
        }
        break;
    case LEASE_REVOKE:
        if (status == GRPC_OK || status == GRPC_NOT_FOUND)
            c->step = LEASE_WAIT;
        break;
    default:
        break;
    }
    client_wait(c, good ? 0 : RETRY_MS);
}

/* The put under the lease has ended, however. */
static void leaser_put_end(struct client *c, const struct op *o)
{
    c->step = o->outcome == OUTCOME_REFUSED ? LEASE_GRANT : LEASE_KEEP;
    client_wait(c, RETRY_MS);
}

static void on_op_end(struct grpc_call *call, enum grpc_status status, struct str text, void *arg)
{
    UNUSED(call);
    struct client *c = arg;
    struct load *l = c->l;
    c->busy = false;
    c->failed = status != GRPC_OK;
    if (c->failed && l->phase != DONE)
        note_error(l, status, text);
    if (c->role == COMPACTOR) {
        client_wait(c, 2000);
        return;
    }
    if (c->role == LEASER && c->step != LEASE_PUT) {
        leaser_end(c, status);
        return;
    }
    struct op *o = history_op(l->h, c->op);
    o->end_us = now_us();
    if (status == GRPC_OK && c->answered) {
        op_done(c, o);
        c->finished = c->role == CLOSER;
    } else {
        o->outcome = is_definite(status) ? OUTCOME_REFUSED : OUTCOME_UNKNOWN;
        if (o->kind <= OP_COUNTER) {
            l->refused += o->outcome == OUTCOME_REFUSED;
            l->unknown += o->outcome == OUTCOME_UNKNOWN;
        }
        if (o->kind == OP_COUNTER) /* Somebody may have won. */
            c->counters[o->key % HISTORY_SLOTS] = -1;
    }
    record(l, c->op);
    if (c->role == LEASER)
        leaser_put_end(c, o);
    else
        client_wait(c, c->failed ? RETRY_MS : pause_ms(l));
}

static void call_method(struct client *c, const char *method, struct net_bytes *request)
{
    struct load *l = c->l;
    struct grpc_call_config config = {
        .method = method,
        .request = request,
        .timeout_ms = CALL_MS,
        .on_message = on_op_message,
        .on_end = on_op_end,
        .arg = c,
    };
    if (c->failed && c->role != CLOSER)
        c->endpoint = (c->endpoint + 1) % (uint32_t)l->config.endpoint_count;
    if (c->failed && c->http != NULL) {
        http_client_close(c->http, NULL, NULL);
        c->http = NULL;
    }
    if (c->http == NULL)
        c->http = connect_to(l, c->endpoint);
    c->busy = true;
    c->answered = false;
    c->answer = (struct wire_answer){0};
    struct error err = {0};
    if (grpc_call_start(c->http, &config, NULL, &err) < 0)
        PANIC("cannot call: %s", error_message(&err));
    net_bytes_unref(request);
}

static size_t value_bytes(struct load *l)
{
    if (below(l, 100) < l->config.big_percent)
        return (16u << 10) + below(l, 48u << 10);
    return l->config.value_bytes + below(l, l->config.value_bytes / 2 + 1);
}

static void write_something(struct client *c)
{
    struct load *l = c->l;
    uint32_t dice = below(l, 100), group = c->number * HISTORY_SLOTS;
    enum op_kind kind = dice < 55   ? OP_SINGLE
                        : dice < 70 ? OP_PAIR
                        : dice < 80 ? OP_DELETE_MARK
                                    : OP_COUNTER;
    uint64_t id = history_op_new(l->h, kind, now_us());
    struct op *o = history_op(l->h, id);
    c->op = id;
    size_t bytes = value_bytes(l);
    switch (kind) {
    case OP_SINGLE:
        o->key = group + 3 + below(l, HISTORY_SLOTS - 3);
        call_method(c, "/etcdserverpb.KV/Put", wire_put(o->key, id, bytes));
        return;
    case OP_PAIR:
        o->key = group;
        call_method(c, "/etcdserverpb.KV/Txn", wire_pair(group, id, bytes));
        return;
    case OP_DELETE_MARK:
        o->key = group + 3 + below(l, HISTORY_SLOTS - 3);
        call_method(c, "/etcdserverpb.KV/Txn", wire_delete_mark(o->key, group + 2, id, bytes));
        return;
    default: {
        uint32_t slot = below(l, 4);
        o->key = l->config.writers * HISTORY_SLOTS + slot;
        o->expect = MAX_OF(c->counters[slot], (int64_t)0);
        call_method(c, "/etcdserverpb.KV/Txn", wire_counter(o->key, o->expect, id, bytes));
        return;
    }
    }
}

static void read_something(struct client *c)
{
    struct load *l = c->l;
    uint32_t dice = below(l, 100), group = below(l, l->config.writers + 2) * HISTORY_SLOTS;
    enum op_kind kind = dice < 60 ? OP_READ : dice < 80 ? OP_READ_STALE : OP_READ_PAST;
    c->op = history_op_new(l->h, kind, now_us());
    struct op *o = history_op(l->h, c->op);
    bool one = below(l, 3) == 0;
    o->key = one ? group + below(l, HISTORY_SLOTS) : group;
    o->keys = one ? 1 : HISTORY_SLOTS;
    if (kind == OP_READ_PAST) {
        int64_t oldest = MAX_OF(l->compacted, history_rev(l->h) - 300) + 1;
        int64_t newest = MAX_OF(history_rev(l->h), (int64_t)1);
        o->at =
            newest <= oldest ? newest : oldest + (int64_t)below(l, (uint32_t)(newest - oldest + 1));
    }
    call_method(c, "/etcdserverpb.KV/Range",
                wire_range(o->key, o->keys, kind == OP_READ_STALE, o->at));
}

static void leaser_wait(struct client *c)
{
    struct load *l = c->l;
    const struct op *o = history_op(l->h, c->op);
    bool known = o->outcome != OUTCOME_DONE || history_rev(l->h) >= o->rev;
    bool late = now_us() > c->until_us;
    if (known && history_leased_gone(l->h, c->op))
        c->step = LEASE_GRANT;
    else if (late)
        history_violation(l->h, "LEASE: the keys of number %u are still there after %d s", c->lease,
                          LEASE_LATE_S);
    if (late)
        c->step = LEASE_GRANT;
    client_wait(c, 100);
}

static void use_lease(struct client *c)
{
    struct load *l = c->l;
    c->called_us = now_us();
    switch (c->step) {
    case LEASE_GRANT:
        call_method(c, "/etcdserverpb.Lease/LeaseGrant", wire_lease_grant(2 + below(l, 3)));
        return;
    case LEASE_PUT: {
        c->op = history_op_new(l->h, OP_LEASED, now_us());
        struct op *o = history_op(l->h, c->op);
        o->key = (l->config.writers + 1) * HISTORY_SLOTS + c->number * 2;
        o->lease = c->lease;
        call_method(c, "/etcdserverpb.KV/Txn", wire_leased(o->key, c->lease_id, c->op, 40));
        return;
    }
    case LEASE_KEEP:
        if (c->renewals > 0) {
            c->renewals--;
            call_method(c, "/etcdserverpb.Lease/LeaseKeepAlive", wire_lease_keepalive(c->lease_id));
            return;
        }
        c->step = below(l, 10) < 3 ? LEASE_REVOKE : LEASE_WAIT;
        c->until_us = now_us() + LEASE_LATE_S * INT64_C(1000000);
        client_wait(c, 0);
        return;
    case LEASE_REVOKE:
        history_lease(l->h, c->lease)->revoking = true;
        call_method(c, "/etcdserverpb.Lease/LeaseRevoke", wire_lease_revoke(c->lease_id));
        return;
    case LEASE_WAIT:
        leaser_wait(c);
        return;
    }
}

/* At the end: everything that an endpoint holds. */
static void read_all(struct client *c)
{
    struct load *l = c->l;
    c->op = history_op_new(l->h, OP_READ, now_us());
    struct op *o = history_op(l->h, c->op);
    o->keys = l->keys;
    call_method(c, "/etcdserverpb.KV/Range", wire_range(0, l->keys, false, 0));
}

static void compact(struct client *c)
{
    struct load *l = c->l;
    int64_t rev = l->max_rev - l->config.keep_revs;
    if (l->config.keep_revs == 0 || rev <= l->compacted + 50) {
        client_wait(c, 1000);
        return;
    }
    l->compacted = rev;
    history_compacted(l->h, rev);
    call_method(c, "/etcdserverpb.KV/Compact", wire_compact(rev));
}

static void client_next(uv_timer_t *timer)
{
    struct client *c = CONTAINER_OF(timer, struct client, timer);
    struct load *l = c->l;
    if (c->role == CLOSER) {
        if (l->phase == FINAL && !c->finished)
            read_all(c);
        else if (l->phase < FINAL)
            client_wait(c, 100);
        return;
    }
    if (l->phase != RUNNING)
        return;
    if (c->role == WRITER)
        write_something(c);
    else if (c->role == READER)
        read_something(c);
    else if (c->role == LEASER)
        use_lease(c);
    else
        compact(c);
}

void client_init(struct load *l, enum role role, uint32_t number)
{
    struct client *c = &l->clients[l->client_count++];
    c->l = l;
    c->role = role;
    c->number = number;
    c->endpoint = number % (uint32_t)l->config.endpoint_count;
    uv_timer_init(&l->loop, &c->timer);
    client_wait(c, 1 + below(l, 50));
}

void client_done(struct client *c)
{
    if (c->http != NULL)
        http_client_close(c->http, NULL, NULL);
    uv_close((uv_handle_t *)&c->timer, NULL);
}
