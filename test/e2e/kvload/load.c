/* load.c - see load.h.
 *
 *   RUNNING --SIGTERM or time--> DRAINING --all idle--> FINAL --each endpoint
 *   has given its whole state--> WATCHING --watchers have it all--> check */
#include "test/e2e/kvload/load.h"

#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc.h"
#include "lib/net/http_client.h"
#include "test/e2e/kvload/history.h"
#include "test/e2e/kvload/wire.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#define CALL_MS 3000
#define RETRY_MS 50
#define TICK_MS 250
#define STALL_US 5000000  /* A watcher that hears nothing while others do moves on. */
#define FINAL_US 60000000 /* For the end to be reached. */
#define WATCHES 3         /* Per stream: everything, a group, a key. */
#define ERRORS_MAX 32
#define LEASERS 4
/* For a lease that nobody renews to be ended: each change of leaders begins its time anew. */
#define LEASE_LATE_S 120

enum phase { RUNNING, DRAINING, FINAL, WATCHING, DONE };
enum role { WRITER, READER, LEASER, COMPACTOR, CLOSER };
/* A leaser grants, puts two keys under the lease, renews it a few times, revokes it or
 * lets it end, waits until the keys are gone, and begins again. */
enum lease_step { LEASE_GRANT, LEASE_PUT, LEASE_KEEP, LEASE_REVOKE, LEASE_WAIT };

/* One that sends one operation after another. */
struct client {
    struct load *l;
    enum role role;
    uint32_t number;
    uint32_t endpoint;
    struct http_client *http;
    uv_timer_t timer;
    bool busy, failed, finished;
    uint64_t op;
    struct wire_answer answer;
    bool answered;
    int64_t counters[HISTORY_SLOTS]; /* Last known revisions of the shared keys. */
    /* LEASER */
    enum lease_step step;
    int64_t lease_id, ttl_s, called_us, until_us;
    uint32_t lease, renewals;
};

struct watcher {
    struct load *l;
    uint32_t number, endpoint;
    struct http_client *http;
    struct grpc_call *call;
    uv_timer_t timer;
    struct watch_log *logs[WATCHES];
    uint32_t first[WATCHES], count[WATCHES];
    int64_t heard_us;
    int64_t begun_rev; /* Where the present stream's watch of everything began. */
    uint64_t answers;  /* On the present stream. */
    bool waiting;
};

struct load {
    struct load_config config;
    uv_loop_t loop;
    uv_timer_t tick;
    uv_signal_t signals[2];
    struct history *h;
    enum phase phase;
    struct client *clients;
    size_t client_count;
    struct watcher *watchers;
    uint64_t random;
    int64_t start_us, phase_us;
    int64_t last_ack_us, longest_gap_us;
    uint64_t acked, unknown, refused, reads;
    int64_t max_rev, compacted;
    uint32_t keys;
    FILE *record;
    struct {
        int status;
        char text[120];
        uint64_t count;
    } errors[ERRORS_MAX];
    char last_error[160];
};

static int64_t now_us(void)
{
    return (int64_t)(uv_hrtime() / 1000);
}

static uint64_t next_random(struct load *l)
{
    l->random ^= l->random >> 12;
    l->random ^= l->random << 25;
    l->random ^= l->random >> 27;
    return (l->random * UINT64_C(0x2545f4914f6cdd1d)) >> 11;
}

static uint32_t below(struct load *l, uint32_t n)
{
    return n == 0 ? 0 : (uint32_t)(next_random(l) % n);
}

/* Without what differs from endpoint to endpoint. */
static struct str error_kind(struct str text)
{
    for (size_t i = text.len; i >= 2; i--)
        if (text.data[i - 2] == ':' && text.data[i - 1] == ' ' && memchr(text.data, '/', text.len))
            return str_n(text.data + i, text.len - i);
    return text;
}

static void note_error(struct load *l, enum grpc_status status, struct str text)
{
    snprintf(l->last_error, sizeof(l->last_error), "%s: " STR_FMT, grpc_status_text(status),
             (int)MIN_OF(text.len, (size_t)120), text.data != NULL ? text.data : "");
    text = error_kind(text);
    size_t i = 0;
    while (i < ERRORS_MAX - 1 && l->errors[i].count > 0 &&
           !(l->errors[i].status == (int)status &&
             strncmp(l->errors[i].text, text.data != NULL ? text.data : "",
                     MIN_OF(text.len, sizeof(l->errors[i].text) - 1)) == 0))
        i++;
    l->errors[i].status = (int)status;
    l->errors[i].count++;
    snprintf(l->errors[i].text, sizeof(l->errors[i].text), STR_FMT,
             (int)MIN_OF(text.len, (size_t)119), text.data != NULL ? text.data : "");
}

static struct http_client *connect_to(struct load *l, uint32_t endpoint)
{
    struct http_client_config config = {
        .endpoints = &l->config.endpoints[endpoint],
        .endpoint_count = 1,
        .protocol = HTTP_CLIENT_H2,
        .connect_timeout_ms = 1000,
        .ping_interval_ms = 2000,
        .ping_timeout_ms = 1000,
    };
    struct http_client *c = NULL;
    struct error err = {0};
    if (http_client_new(&l->loop, &config, &c, &err) < 0)
        PANIC("%s: %s", l->config.endpoints[endpoint], error_message(&err));
    return c;
}

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

/* --- watchers --------------------------------------------------------------------------- */

static void watcher_connect(uv_timer_t *timer);

static void watcher_wait(struct watcher *w)
{
    if (w->waiting || w->l->phase == DONE)
        return;
    w->waiting = true;
    uv_timer_start(&w->timer, watcher_connect, RETRY_MS + below(w->l, RETRY_MS), 0);
}

static void on_watch_message(struct grpc_call *call, struct str message, void *arg)
{
    struct watcher *w = arg;
    struct load *l = w->l;
    struct wire_watch a;
    uint64_t before = history_violations(l->h);
    w->heard_us = now_us();
    w->answers++;
    if (wire_watch_answer(grpc_call_arena(call), message, &a) < 0) {
        history_violation(l->h, "watcher %u got an answer that cannot be read", w->number);
        return;
    }
    if (a.wrong != NULL)
        history_violation(l->h, "watcher %u: %s", w->number, a.wrong);
    bool known = a.id >= 1 && a.id <= WATCHES;
    if (a.canceled) {
        if (known && a.compact_rev > 0)
            watch_log_lost(w->logs[a.id - 1], a.compact_rev);
        note_error(l, GRPC_CANCELLED, str_of(a.reason));
        grpc_call_cancel(call);
        return;
    }
    if (a.created)
        return;
    for (size_t i = 0; i < a.count; i++)
        a.events[i].at_us = w->heard_us;
    if (a.count > 0 && known)
        watch_log_add(w->logs[a.id - 1], a.events, a.count);
    else if (a.count > 0)
        history_violation(l->h, "watcher %u got events of watch %" PRId64, w->number, a.id);
    else
        for (int i = 0; i < WATCHES; i++)
            if (!known || a.id == i + 1)
                watch_log_progress(w->logs[i], a.rev);
    if (history_violations(l->h) > before)
        printf("    from %s: answer %" PRIu64 " of its stream, begun at %" PRId64
               ", header %" PRId64 ", %zu events from %" PRId64 " on, watch %" PRId64 "\n",
               l->config.endpoints[w->endpoint], w->answers, w->begun_rev, a.rev, a.count,
               a.count > 0 ? a.events[0].kv.mod : 0, a.id);
}

static void on_watch_end(struct grpc_call *call, enum grpc_status status, struct str text,
                         void *arg)
{
    UNUSED(call);
    struct watcher *w = arg;
    w->call = NULL;
    if (w->l->phase == DONE)
        return;
    if (status != GRPC_CANCELLED)
        note_error(w->l, status, text);
    watcher_wait(w);
}

static void watcher_connect(uv_timer_t *timer)
{
    struct watcher *w = CONTAINER_OF(timer, struct watcher, timer);
    struct load *l = w->l;
    w->waiting = false;
    if (w->http != NULL) {
        http_client_close(w->http, NULL, NULL);
        w->endpoint = (w->endpoint + 1) % (uint32_t)l->config.endpoint_count;
    }
    w->http = connect_to(l, w->endpoint);
    /* The server ends the stream when its member has no leader. */
    static const struct http_header metadata[] = {{STR("hasleader"), STR("true")}};
    struct grpc_call_config config = {
        .method = "/etcdserverpb.Watch/Watch",
        .metadata = metadata,
        .metadata_count = 1,
        .client_streaming = true,
        .on_message = on_watch_message,
        .on_end = on_watch_end,
        .arg = w,
    };
    struct error err = {0};
    w->heard_us = now_us();
    w->answers = 0;
    w->begun_rev = watch_log_next(w->logs[0]);
    if (grpc_call_start(w->http, &config, &w->call, &err) < 0)
        PANIC("cannot watch: %s", error_message(&err));
    for (int i = 0; i < WATCHES; i++) {
        struct net_bytes *b =
            wire_watch_create(w->first[i], w->count[i], watch_log_next(w->logs[i]), i + 1);
        grpc_call_send(w->call, b);
        net_bytes_unref(b);
    }
}

static void watcher_init(struct load *l, uint32_t number)
{
    struct watcher *w = &l->watchers[number];
    w->l = l;
    w->number = number;
    w->endpoint = number % (uint32_t)l->config.endpoint_count;
    w->count[0] = l->keys;
    w->first[1] = (l->config.writers + 2 - number % 3) % (l->config.writers + 2) * HISTORY_SLOTS;
    w->count[1] = HISTORY_SLOTS;
    w->first[2] = l->config.writers * HISTORY_SLOTS;
    w->count[2] = 1;
    for (int i = 0; i < WATCHES; i++) {
        char name[48];
        snprintf(name, sizeof(name), "watcher %u of %s", number,
                 i == 0   ? "everything"
                 : i == 1 ? "a group"
                          : "a key");
        w->logs[i] = history_watch(l->h, name, w->first[i], w->count[i]);
    }
    uv_timer_init(&l->loop, &w->timer);
    watcher_wait(w);
}

static void check_stalls(struct load *l)
{
    for (uint32_t i = 0; i < l->config.watchers; i++) {
        struct watcher *w = &l->watchers[i];
        if (w->call != NULL && now_us() - w->heard_us > STALL_US &&
            watch_log_next(w->logs[0]) <= MAX_OF(history_rev(l->h), l->max_rev)) {
            w->heard_us = now_us();
            grpc_call_cancel(w->call);
        }
    }
}

/* --- the course of it ---------------------------------------------------------------------- */

static void set_phase(struct load *l, enum phase phase)
{
    l->phase = phase;
    l->phase_us = now_us();
}

static bool clients_idle(const struct load *l)
{
    for (size_t i = 0; i < l->client_count; i++)
        if (l->clients[i].busy)
            return false;
    return true;
}

static bool closers_finished(struct load *l, bool say)
{
    bool all = true;
    for (size_t i = 0; i < l->client_count; i++) {
        const struct client *c = &l->clients[i];
        if (c->role != CLOSER || c->finished)
            continue;
        all = false;
        if (say)
            history_violation(l->h, "%s does not give its state at the end: %s",
                              l->config.endpoints[c->endpoint], l->last_error);
    }
    return all;
}

static bool watchers_finished(struct load *l, bool say)
{
    bool all = true;
    for (uint32_t i = 0; i < l->config.watchers; i++) {
        struct watcher *w = &l->watchers[i];
        for (int k = 0; k < WATCHES; k++) {
            if (watch_log_next(w->logs[k]) > l->max_rev)
                continue;
            all = false;
            if (say && k == 0)
                history_violation(
                    l->h, "watcher %u stands at revision %" PRId64 " of %" PRId64 " at the end", i,
                    watch_log_next(w->logs[k]) - 1, l->max_rev);
            if (say)
                watch_log_end(w->logs[k]);
        }
        if (w->call != NULL && !say) {
            struct net_bytes *b = wire_watch_progress();
            grpc_call_send(w->call, b);
            net_bytes_unref(b);
        }
    }
    return all;
}

static void close_timer(uv_timer_t *t)
{
    uv_close((uv_handle_t *)t, NULL);
}

static void finish(struct load *l)
{
    set_phase(l, DONE);
    for (size_t i = 0; i < l->client_count; i++) {
        if (l->clients[i].http != NULL)
            http_client_close(l->clients[i].http, NULL, NULL);
        close_timer(&l->clients[i].timer);
    }
    for (uint32_t i = 0; i < l->config.watchers; i++) {
        if (l->watchers[i].http != NULL)
            http_client_close(l->watchers[i].http, NULL, NULL);
        close_timer(&l->watchers[i].timer);
    }
    close_timer(&l->tick);
    for (size_t i = 0; i < ARRAY_SIZE(l->signals); i++)
        uv_close((uv_handle_t *)&l->signals[i], NULL);
}

static void write_status(struct load *l)
{
    static const char *const phases[] = {"running", "draining", "final", "watching", "done"};
    if (l->record != NULL)
        fflush(l->record);
    if (l->config.status_file == NULL)
        return;
    AUTO_FREE char *tmp = xasprintf("%s.tmp", l->config.status_file);
    FILE *f = fopen(tmp, "w");
    if (f == NULL)
        return;
    int64_t behind = 0;
    for (uint32_t i = 0; i < l->config.watchers; i++)
        behind = MAX_OF(behind, history_rev(l->h) + 1 - watch_log_next(l->watchers[i].logs[0]));
    for (char *p = l->last_error; *p != '\0'; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ')
            *p = ' ';
    fprintf(
        f,
        "{\"phase\":\"%s\",\"acked\":%" PRIu64 ",\"unknown\":%" PRIu64 ",\"refused\":%" PRIu64
        ",\"reads\":%" PRIu64 ",\"rev\":%" PRId64 ",\"watched_rev\":%" PRId64 ",\"behind\":%" PRId64
        ",\"silent_ms\":%" PRId64 ",\"violations\":%" PRIu64 ",\"last_error\":\"%s\"}\n",
        phases[l->phase], l->acked, l->unknown, l->refused, l->reads, l->max_rev, history_rev(l->h),
        behind, l->last_ack_us != 0 ? (now_us() - l->last_ack_us) / 1000 : -1,
        history_violations(l->h), l->last_error);
    if (fclose(f) == 0)
        rename(tmp, l->config.status_file);
}

static void on_tick(uv_timer_t *t)
{
    struct load *l = CONTAINER_OF(t, struct load, tick);
    bool late = now_us() - l->phase_us > FINAL_US;
    check_stalls(l);
    if (l->phase == RUNNING && l->config.seconds > 0 &&
        now_us() - l->start_us > (int64_t)l->config.seconds * 1000000)
        set_phase(l, DRAINING);
    if (l->phase == DRAINING && clients_idle(l))
        set_phase(l, FINAL);
    else if (l->phase == FINAL && (closers_finished(l, false) || late)) {
        closers_finished(l, true);
        set_phase(l, WATCHING);
    } else if (l->phase == WATCHING && (watchers_finished(l, false) || late)) {
        watchers_finished(l, true);
        finish(l);
    }
    write_status(l);
}

static void on_signal(uv_signal_t *s, int number)
{
    UNUSED(number);
    struct load *l = s->data;
    if (l->phase == RUNNING)
        set_phase(l, DRAINING);
}

/* The revision before anything is done; waits for an endpoint that answers. */
static int64_t first_revision(const struct load_config *config, struct error *err)
{
    for (uint32_t tries = 0; tries < 300; tries++) {
        struct http_client_config http = {
            .endpoints = config->endpoints,
            .endpoint_count = config->endpoint_count,
            .protocol = HTTP_CLIENT_H2,
            .connect_timeout_ms = 1000,
        };
        struct http_sync *s = NULL;
        if (http_sync_new(&http, &s, err) < 0)
            return -1;
        struct net_bytes *request = wire_range(0, 1, false, 0), *reply = NULL;
        struct grpc_call_config call = {
            .method = "/etcdserverpb.KV/Range", .request = request, .timeout_ms = 2000};
        AUTO_ARENA *a = arena_new(0);
        struct wire_answer answer = {0};
        error_clear(err);
        int rc = grpc_sync_call(s, &call, &reply, NULL, err);
        if (rc == 0)
            rc = wire_range_answer(a, net_bytes_str(reply), &answer);
        net_bytes_unref(request);
        net_bytes_unref(reply);
        http_sync_free(s);
        if (rc == 0 && answer.kv_count > 0) {
            error_set(err, E_EXISTS, "the store holds keys of an earlier run");
            return -1;
        }
        if (rc == 0 && answer.rev > 0)
            return answer.rev;
        uv_sleep(100);
    }
    return -1;
}

static void client_init(struct load *l, enum role role, uint32_t number)
{
    struct client *c = &l->clients[l->client_count++];
    c->l = l;
    c->role = role;
    c->number = number;
    c->endpoint = number % (uint32_t)l->config.endpoint_count;
    uv_timer_init(&l->loop, &c->timer);
    client_wait(c, 1 + below(l, 50));
}

static void report(struct load *l)
{
    struct history_counts n;
    history_counts(l->h, &n);
    printf("%" PRIu64 " writes acknowledged, %" PRIu64 " unknown (%" PRIu64 " happened), %" PRIu64
           " refused, %" PRIu64 " reads, %" PRIu64
           " revisions and events watched, longest pause %.2f s\n",
           n.done, n.unknown, n.unknown_found, n.refused, n.reads, n.watched,
           (double)l->longest_gap_us / 1e6);
    for (size_t i = 0; i < ERRORS_MAX && l->errors[i].count > 0; i++)
        printf("  %" PRIu64 " times %s: %s\n", l->errors[i].count,
               grpc_status_text((enum grpc_status)l->errors[i].status), l->errors[i].text);
    printf("%" PRIu64 " violations\n", history_violations(l->h));
}

int load_run(const struct load_config *config, struct error *err)
{
    int64_t base = first_revision(config, err);
    if (base < 0)
        return err->code;
    struct load *l = xzalloc(sizeof(*l));
    l->config = *config;
    l->random = config->seed * 2 + 1;
    l->keys = history_keys(config->writers);
    l->h = history_new(config->writers, base);
    l->max_rev = l->compacted = base;
    l->record = config->record_file != NULL ? fopen(config->record_file, "w") : NULL;
    uv_loop_init(&l->loop);
    set_phase(l, RUNNING);
    l->start_us = now_us();
    uint32_t endpoints = (uint32_t)config->endpoint_count;
    l->clients = xzalloc((config->writers + config->readers + LEASERS + 1 + endpoints) *
                         sizeof(*l->clients));
    l->watchers = xzalloc((config->watchers + 1) * sizeof(*l->watchers));
    for (uint32_t i = 0; i < config->writers; i++)
        client_init(l, WRITER, i);
    for (uint32_t i = 0; i < config->readers; i++)
        client_init(l, READER, i);
    for (uint32_t i = 0; i < LEASERS; i++)
        client_init(l, LEASER, i);
    client_init(l, COMPACTOR, 0);
    for (uint32_t i = 0; i < endpoints; i++)
        client_init(l, CLOSER, i);
    for (uint32_t i = 0; i < config->watchers; i++)
        watcher_init(l, i);
    uv_timer_init(&l->loop, &l->tick);
    uv_timer_start(&l->tick, on_tick, TICK_MS, TICK_MS);
    static const int numbers[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < ARRAY_SIZE(l->signals); i++) {
        uv_signal_init(&l->loop, &l->signals[i]);
        l->signals[i].data = l;
        uv_signal_start(&l->signals[i], on_signal, numbers[i]);
    }
    uv_run(&l->loop, UV_RUN_DEFAULT);
    uv_loop_close(&l->loop);
    history_check(l->h);
    report(l);
    int rc = history_violations(l->h) > 0;
    if (l->record != NULL)
        fclose(l->record);
    history_free(l->h);
    free(l->clients);
    free(l->watchers);
    free(l);
    return rc;
}
