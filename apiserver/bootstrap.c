/* bootstrap.c - see bootstrap.h.
 *
 * Each server keeps /registry/masterleases/ADDRESS alive under a lease of the
 * store; the addresses found there are the endpoints of default/kubernetes. A
 * server that dies drops out when its lease ends, one that stops takes its own
 * entry away. */
#include "apiserver/bootstrap.h"

#include "apiserver/bootstrap_objects.h"
#include "apiserver/encode.h"
#include "apiserver/field_manager.h"
#include "apiserver/flow_objects.h"
#include "apiserver/identity.h"
#include "apiserver/rbac_bootstrap.h"
#include "apiserver/service_ips.h"
#include "apiserver/write.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/log.h"
#include "raftstore/store.h"

#include <inttypes.h>

#define RETRY_MS 100u
#define REFRESH_MS 10000u
#define LEASE_TTL_S 30

enum step {
    STEP_OBJECTS,
    STEP_POLICY,
    STEP_RANGES,
    STEP_TRUST,
    STEP_LEASE,
    STEP_REGISTER,
    STEP_ENDPOINTS,
    STEP_FLOW,
    STEP_IDENTITY,
    STEP_IDLE,
    STEP_LEAVE,
    STEP_DONE
};

struct bootstrap {
    struct apiserver *server;
    struct mailbox *mailbox;
    uv_timer_t timer;
    enum step step;
    size_t object; /* Next built-in object. */
    int64_t lease;
    bool pending; /* A call to the store is under way. */
    bool stopping;
    void (*on_stopped)(void *arg);
    void *stopped_arg;
};

static void run(struct bootstrap *b);

static void on_timer(uv_timer_t *t)
{
    struct bootstrap *b = t->data;
    if (b->step == STEP_IDLE)
        b->step = STEP_LEASE;
    run(b);
}

static void later(struct bootstrap *b, uint64_t ms)
{
    uv_timer_start(&b->timer, on_timer, ms, 0);
}

static void on_closed(uv_handle_t *h)
{
    struct bootstrap *b = h->data;
    void (*cb)(void *) = b->on_stopped;
    void *arg = b->stopped_arg;
    free(b);
    if (cb != NULL)
        cb(arg);
}

static void go(struct bootstrap *b, enum step next)
{
    b->step = b->stopping ? (next == STEP_DONE ? STEP_DONE : STEP_LEAVE) : next;
    run(b);
}

/* --- a transaction of one of the steps -------------------------------------------------------- */
static void on_txn(int code, const struct txn_result *result, void *arg)
{
    struct bootstrap *b = arg;
    b->pending = false;
    if (b->step == STEP_LEAVE) {
        go(b, STEP_DONE);
        return;
    }
    if (b->stopping) {
        go(b, STEP_LEAVE);
        return;
    }
    if (code != 0) {
        later(b, RETRY_MS);
        return;
    }
    switch (b->step) {
    case STEP_OBJECTS:
        b->object++; /* Made, or found made by another server. */
        run(b);
        return;
    case STEP_POLICY:
    case STEP_RANGES:
    case STEP_TRUST:
        run(b); /* Until nothing is missing. */
        return;
    case STEP_REGISTER:
        go(b, STEP_ENDPOINTS);
        return;
    case STEP_IDENTITY:
        go(b, STEP_IDLE);
        return;
    default:
        if (result->succeeded)
            go(b, STEP_FLOW); /* Until nothing is out of date. */
        else
            later(b, RETRY_MS); /* Someone else changed it: look again. */
    }
}

static void commit(struct bootstrap *b, const struct txn_build *t)
{
    struct txn txn;
    txn_build_run(t, &txn);
    b->pending = true;
    store_txn(b->server->store, &txn, b->mailbox, on_txn, b);
}

static void make_ctx(struct bootstrap *b, struct arena *a, const struct store_view *v,
                     struct kind_ctx *ret)
{
    *ret = (struct kind_ctx){.arena = a,
                             .view = v,
                             .server = b->server,
                             .env = b->server->env,
                             .now_ns = env_wall_ns(b->server->env),
                             .subresource = ""};
}

/* --- steps
 * ---------------------------------------------------------------------------------------- */
static void step_objects(struct bootstrap *b)
{
    AUTO_ARENA *a = arena_new(0);
    struct store_view *v = store_view(b->server->store);
    struct kind_ctx ctx;
    struct builtin o;
    make_ctx(b, a, v, &ctx);
    bool more;
    while ((more = builtin_make(&ctx, b->object, &o))) {
        struct str key = registry_key(a, o.res, o.ns, o.name);
        if (store_view_get(v, key, 0) == NULL) {
            struct txn_build t = {.arena = a};
            AUTO_BUF value = BUF_INIT;
            field_manager_system(&ctx, o.res, NULL, o.obj);
            stored_encode(o.res, o.obj, &value);
            txn_build_expect(&t, key, 0);
            txn_build_put(&t, key, buf_str(&value));
            if (o.cluster_ip.len != 0)
                service_ips_claim(&ctx, o.obj, o.cluster_ip, &t);
            commit(b, &t);
            break;
        }
        b->object++;
    }
    store_view_unref(v);
    if (!more)
        go(b, STEP_POLICY);
}

static void step_policy(struct bootstrap *b)
{
    AUTO_ARENA *a = arena_new(0);
    struct store_view *v = store_view(b->server->store);
    struct kind_ctx ctx;
    struct txn_build t = {.arena = a};
    make_ctx(b, a, v, &ctx);
    bool missing = rbac_bootstrap_plan(&ctx, &t);
    if (missing)
        commit(b, &t);
    store_view_unref(v);
    if (!missing)
        go(b, STEP_RANGES);
}

/* A cluster of one family may have been given the second one. */
static void step_ranges(struct bootstrap *b)
{
    AUTO_ARENA *a = arena_new(0);
    struct store_view *v = store_view(b->server->store);
    struct kind_ctx ctx;
    struct txn_build t = {.arena = a};
    make_ctx(b, a, v, &ctx);
    bool outdated = builtin_service_cidr(&ctx, &t);
    if (outdated)
        commit(b, &t);
    store_view_unref(v);
    if (!outdated)
        go(b, STEP_TRUST);
}

/* Whose certificates extension API servers are to believe: this server's may be new. */
static void step_trust(struct bootstrap *b)
{
    AUTO_ARENA *a = arena_new(0);
    struct store_view *v = store_view(b->server->store);
    struct kind_ctx ctx;
    struct txn_build t = {.arena = a};
    make_ctx(b, a, v, &ctx);
    bool outdated = builtin_authentication(&ctx, &t);
    if (outdated)
        commit(b, &t);
    store_view_unref(v);
    if (!outdated)
        go(b, STEP_LEASE);
}

static bool alone(const struct bootstrap *b)
{
    uint32_t n = 0;
    free(store_members(b->server->store, &n));
    return n <= 1;
}

static void on_lease(int code, int64_t id, void *arg)
{
    struct bootstrap *b = arg;
    b->pending = false;
    if (b->stopping) {
        go(b, STEP_LEAVE);
        return;
    }
    if (code != 0) {
        later(b, RETRY_MS);
        return;
    }
    b->lease = id;
    go(b, STEP_REGISTER);
}

static void step_lease(struct bootstrap *b)
{
    if (alone(b)) {
        /* Nobody else looks: no write every few seconds. */
        b->lease = 0;
        go(b, STEP_ENDPOINTS);
        return;
    }
    b->pending = true;
    store_lease_grant(b->server->store, 0, LEASE_TTL_S, b->mailbox, on_lease, b);
}

static struct str own_key(struct bootstrap *b, struct arena *a)
{
    return arena_printf(a, MASTER_LEASES "%s", b->server->address);
}

static void step_register(struct bootstrap *b)
{
    AUTO_ARENA *a = arena_new(0);
    struct txn_build t = {.arena = a};
    AUTO_BUF value = BUF_INIT;
    builtin_master_lease(a, b->server, &value);
    txn_build_put(&t, own_key(b, a), buf_str(&value));
    t.ops[0].lease = b->lease;
    commit(b, &t);
}

/* Endpoints and EndpointSlice of default/kubernetes, if they are not yet so. */
static void step_endpoints(struct bootstrap *b)
{
    AUTO_ARENA *a = arena_new(0);
    struct store_view *v = store_view(b->server->store);
    struct kind_ctx ctx;
    struct txn_build t = {.arena = a};
    make_ctx(b, a, v, &ctx);
    builtin_endpoints(&ctx, alone(b) || b->stopping ? NULL : MASTER_LEASES, b->stopping, &t);
    bool nothing = t.op_count == 0;
    if (!nothing)
        commit(b, &t);
    store_view_unref(v);
    if (nothing)
        go(b, STEP_FLOW);
}

/* Conditions of flow schemas: a level may have come or gone. What every cluster must have is made
 * again when it was deleted. */
static void step_flow(struct bootstrap *b)
{
    AUTO_ARENA *a = arena_new(0);
    struct store_view *v = store_view(b->server->store);
    struct kind_ctx ctx;
    struct txn_build t = {.arena = a};
    make_ctx(b, a, v, &ctx);
    bool missing = flow_mandatory_missing(&ctx);
    bool outdated = !missing && flow_conditions_plan(&ctx, &t);
    if (outdated)
        commit(b, &t);
    store_view_unref(v);
    if (missing)
        b->object = 0;
    if (!outdated)
        go(b, missing ? STEP_OBJECTS : STEP_IDENTITY);
}

/* Whoever is not ready has more urgent things to write. */
static void step_identity(struct bootstrap *b)
{
    AUTO_ARENA *a = arena_new(0);
    struct store_view *v = store_view(b->server->store);
    struct kind_ctx ctx;
    struct txn_build t = {.arena = a};
    make_ctx(b, a, v, &ctx);
    bool due = atomic_load(&b->server->ready) && identity_plan(&ctx, &t);
    if (due)
        commit(b, &t);
    store_view_unref(v);
    if (!due)
        go(b, STEP_IDLE);
}

static void step_idle(struct bootstrap *b)
{
    if (!atomic_exchange(&b->server->ready, true)) {
        log_info("ready after %" PRIu64 " ms", env_now_ms(b->server->env) - b->server->started_ms);
        go(b, STEP_IDENTITY);
        return;
    }
    later(b, REFRESH_MS);
}

static void step_leave(struct bootstrap *b)
{
    AUTO_ARENA *a = arena_new(0);
    struct txn_build t = {.arena = a};
    if (b->lease == 0 || alone(b)) {
        go(b, STEP_DONE);
        return;
    }
    txn_build_delete(&t, own_key(b, a));
    commit(b, &t);
}

static void run(struct bootstrap *b)
{
    switch (b->step) {
    case STEP_OBJECTS:
        step_objects(b);
        return;
    case STEP_POLICY:
        step_policy(b);
        return;
    case STEP_RANGES:
        step_ranges(b);
        return;
    case STEP_TRUST:
        step_trust(b);
        return;
    case STEP_LEASE:
        step_lease(b);
        return;
    case STEP_REGISTER:
        step_register(b);
        return;
    case STEP_ENDPOINTS:
        step_endpoints(b);
        return;
    case STEP_FLOW:
        step_flow(b);
        return;
    case STEP_IDENTITY:
        step_identity(b);
        return;
    case STEP_IDLE:
        step_idle(b);
        return;
    case STEP_LEAVE:
        step_leave(b);
        return;
    case STEP_DONE:
        uv_timer_stop(&b->timer);
        uv_close((uv_handle_t *)&b->timer, on_closed);
        return;
    }
}

void bootstrap_flow_changed(struct bootstrap *b)
{
    if (b->step == STEP_IDLE && !b->stopping)
        go(b, STEP_FLOW);
}

struct bootstrap *bootstrap_start(struct apiserver *s, struct uv_loop_s *loop, struct mailbox *mb)
{
    struct bootstrap *b = xzalloc(sizeof(*b));
    b->server = s;
    b->mailbox = mb;
    uv_timer_init(loop, &b->timer);
    b->timer.data = b;
    later(b, 0);
    return b;
}

void bootstrap_stop(struct bootstrap *b, void (*on_stopped)(void *arg), void *arg)
{
    b->stopping = true;
    b->on_stopped = on_stopped;
    b->stopped_arg = arg;
    uv_timer_stop(&b->timer);
    if (!b->pending)
        go(b, STEP_LEAVE);
}
