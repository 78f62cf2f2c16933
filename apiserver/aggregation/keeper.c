/* keeper.c - see keeper.h. One transaction at a time; after each, everything is
 * looked at again.
 *
 *   look: register -> for each remote one: resolve -> no place: condition
 *                                               \-> probe -> condition
 *
 * A probe is due when what the place follows from has changed, 30 s after a
 * good one, and after growing pauses while it fails. */
#include "apiserver/aggregation/keeper.h"

#include "api/apiregistration_v1.h"
#include "apiserver/aggregation/apiservice.h"
#include "apiserver/aggregation/clients.h"
#include "apiserver/aggregation/documents.h"
#include "apiserver/aggregation/probe.h"
#include "apiserver/aggregation/registration.h"
#include "apiserver/aggregation/resolve.h"
#include "apiserver/aggregation/set.h"
#include "apiserver/apiserver.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/field_manager.h"
#include "apiserver/write.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/metrics.h"
#include "lib/net/tls.h"
#include "raftstore/store.h"

#include <stdlib.h>

#define RETRY_MS 200u
#define GATHER_MS 20u /* Changes of Services come in swarms. */
#define PROBE_PERIOD_MS 30000u
#define PROBE_RETRY_MIN_MS 250u
#define PROBE_RETRY_MAX_MS 30000u
#define PROBE_TRIES_MAX 5
#define TLS_RELOAD_MS 60000u

typedef struct apiregistration_v1_api_service service_t;

/* What is known of one that another server serves. */
struct remote {
    struct aggregated_keeper *keeper;
    char *name;
    uint64_t backend; /* Whose certificate files are looked after. */
    struct tls_reloader *reloader;
    struct probe *probe; /* NULL: none is under way. */
    uint64_t state;      /* What the last probe was made for. */
    bool probed, good;
    char *problem; /* Of the last probe. */
    unsigned failures;
    size_t tries; /* Further endpoints to try before the service counts as failing. */
    uint64_t due_ms;
    bool seen; /* In this look. */
};

struct aggregated_keeper {
    struct server_thread *thread;
    uv_timer_t timer;
    bool pending; /* A transaction is under way. */
    bool closing;
    unsigned probes; /* Under way. */
    struct registration registration;
    struct map remotes; /* Name -> struct remote */
    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* One look at the store. */
struct look {
    struct aggregated_keeper *keeper;
    struct kind_ctx ctx;
    const struct resource *res; /* apiservices */
    const struct kv **kvs;
    const service_t **all;
    size_t count, cap, kv_cap;
    struct txn_build txn;
    uint64_t now_ms, due_ms; /* When to look again at the latest. */
};

/* Of remote ones, under upstream's names. */
static struct metric_family *unavailable, *unavailable_total;

static void run(struct aggregated_keeper *k);
static void close_if_idle(struct aggregated_keeper *k);

static void on_timer(uv_timer_t *t)
{
    run(t->data);
}

static uint64_t now_ms(const struct aggregated_keeper *k)
{
    return env_now_ms(k->thread->server->env);
}

/* --- remotes ------------------------------------------------------------------------------ */
static struct remote *remote_of(struct aggregated_keeper *k, const struct aggregated_service *s)
{
    struct remote *r = map_get(&k->remotes, s->name);
    if (r == NULL) {
        r = xzalloc(sizeof(*r));
        r->keeper = k;
        r->name = xstrndup(s->name.data, s->name.len);
        map_set(&k->remotes, s->name, r);
    }
    if (r->backend == s->backend->id)
        return r;
    r->backend = s->backend->id;
    tls_reloader_stop(r->reloader);
    r->reloader =
        s->backend->tls != NULL && k->thread->server->config.proxy_client_cert_file != NULL
            ? tls_reloader_start(&k->thread->loop, s->backend->tls, TLS_RELOAD_MS)
            : NULL;
    return r;
}

static void remote_free(struct remote *r)
{
    tls_reloader_stop(r->reloader);
    free(r->problem);
    free(r->name);
    free(r);
}

/* Those that are gone; a probe under way is waited for. */
static void sweep(struct aggregated_keeper *k)
{
    struct str key;
    size_t pos = 0;
    void *value;
    while (map_next(&k->remotes, &pos, &key, &value)) {
        struct remote *r = value;
        if (r->seen)
            continue;
        if (r->probe != NULL) {
            probe_cancel(r->probe);
            continue;
        }
        aggregated_documents_drop(str_of(r->name));
        metric_remove(unavailable, &(struct str){r->name, strlen(r->name)});
        map_remove(&k->remotes, str_of(r->name));
        remote_free(r);
        pos = 0; /* The table may have moved. */
    }
}

static void on_probe(void *arg, bool canceled, struct str problem)
{
    struct remote *r = arg;
    struct aggregated_keeper *k = r->keeper;
    r->probe = NULL;
    k->probes--;
    if (k->closing) {
        close_if_idle(k);
        return;
    }
    if (canceled) {
        r->state = 0;
    } else if (problem.len != 0 && r->tries > 0) {
        r->tries--;
        r->due_ms = 0;
    } else {
        free(r->problem);
        r->problem = xstrndup(problem.data != NULL ? problem.data : "", problem.len);
        r->good = problem.len == 0;
        r->probed = true;
        r->failures = r->good ? 0 : r->failures + 1;
        uint64_t pause = PROBE_RETRY_MIN_MS << MIN_OF(r->failures, 10u);
        r->due_ms = now_ms(k) + (r->good ? PROBE_PERIOD_MS : MIN_OF(pause, PROBE_RETRY_MAX_MS));
    }
    run(k);
}

static void start_probe(struct look *l, struct remote *r, struct aggregated_service *s,
                        const struct aggregated_place *place)
{
    struct aggregated_keeper *k = l->keeper;
    struct probe_config c = {.loop = &k->thread->loop,
                             .clients = k->thread->aggregated,
                             .service = s,
                             .endpoint = str_c(place->endpoint),
                             .done = on_probe,
                             .arg = r};
    if (r->state != place->state)
        r->failures = 0;
    if (r->due_ms != 0 || r->state != place->state)
        r->tries = MIN_OF(place->choices, (size_t)PROBE_TRIES_MAX) - (place->choices > 0);
    r->state = place->state;
    r->due_ms = UINT64_MAX;
    k->probes++;
    r->probe = probe_start(&c);
}

/* False: not known yet. */
static bool judge(struct look *l, struct aggregated_service *s, struct apiservice_verdict *ret)
{
    struct aggregated_place place;
    struct remote *r = remote_of(l->keeper, s);
    r->seen = true;
    aggregated_resolve(&l->ctx, s, &place);
    if (place.problem.status != NULL) {
        *ret = place.problem;
        r->probed = false;
        r->state = 0;
        aggregated_documents_stale(s->name);
        return true;
    }
    if (place.endpoint.len == 0) {
        *ret = (struct apiservice_verdict){
            "False", "FailedDiscoveryCheck",
            arena_printf(l->ctx.arena, "no endpoints available for service \"" STR_FMT "\"",
                         STR_ARG(s->service_name))};
        r->probed = false;
        aggregated_documents_stale(s->name);
        return true;
    }
    bool changed = r->state != place.state;
    if (r->probe == NULL && (changed || l->now_ms >= r->due_ms))
        start_probe(l, r, s, &place);
    l->due_ms = MIN_OF(l->due_ms, r->due_ms);
    if (!r->probed || changed)
        return false;
    *ret = r->good ? (struct apiservice_verdict){"True", "Passed", STR("all checks passed")}
                   : (struct apiservice_verdict){"False", "FailedDiscoveryCheck",
                                                 arena_strc(l->ctx.arena, r->problem)};
    return true;
}

/* --- conditions ----------------------------------------------------------------------------- */
static void put_condition(struct look *l, size_t at, service_t *s)
{
    struct arena *a = l->ctx.arena;
    const struct kv *kv = l->kvs[at];
    AUTO_BUF b = BUF_INIT;
    struct field_manager fm = {.arena = a,
                               .res = l->res,
                               .kind = l->res->storage,
                               .api_version = str_of(l->res->kind->api_version),
                               .subresource = "status",
                               .manager = STR("kube-apiserver"),
                               .now_s = l->ctx.now_ns / 1000000000};
    struct str key = arena_str(a, kv_key(kv));
    field_manager_update(&fm, l->all[at], s);
    s->metadata.resource_version = STR_NULL;
    stored_encode(l->res, s, &b);
    txn_build_expect(&l->txn, key, kv->mod_rev);
    txn_build_put(&l->txn, key, arena_str(a, buf_str(&b)));
}

static void look_at_conditions(struct look *l)
{
    for (size_t i = 0; i < l->count; i++) {
        const service_t *old = l->all[i];
        struct aggregated_service *s = aggregated_set_find(old->metadata.name);
        struct apiservice_verdict v = apiservice_local();
        if (s == NULL || s->mod_rev != l->kvs[i]->mod_rev || (s->remote && !judge(l, s, &v)))
            continue;
        if (s->remote)
            metric_set(METRIC_OF(unavailable, s->name), strcmp(v.status, "True") != 0);
        if (!s->remote && old->spec.service != NULL)
            continue; /* Of a group that cannot be handed over. */
        service_t *copy = api_msg_clone(l->ctx.arena, l->res->storage->msg, old);
        if (!apiservice_set_available(l->ctx.arena, copy, &v, l->ctx.now_ns / 1000000000))
            continue;
        if (s->remote && strcmp(v.status, "True") != 0)
            metric_inc(METRIC_OF(unavailable_total, s->name, str_of(v.reason)));
        put_condition(l, i, copy);
    }
}

/* --- looking ---------------------------------------------------------------------------------- */
static void read_services(struct look *l)
{
    static const char end[] = "/registry/apiregistration.k8s.io/apiservices0";
    struct arena *a = l->ctx.arena;
    struct store_iter it;
    void *msg;
    if (store_iter_init(&it, l->ctx.view, STR(APISERVICE_PREFIX), STR(end), 0) != 0)
        return;
    for (const struct kv *kv; (kv = store_iter_next(&it)) != NULL;) {
        if (stored_decode(a, l->res, stored_value(kv), kv->mod_rev, &msg, NULL) != 0)
            continue;
        l->kvs = arena_grow(a, (void *)l->kvs, l->count, &l->kv_cap, sizeof(*l->kvs));
        l->all = arena_grow(a, (void *)l->all, l->count, &l->cap, sizeof(*l->all));
        l->kvs[l->count] = kv;
        l->all[l->count++] = msg;
    }
}

static void on_txn(int code, const struct txn_result *result, void *arg)
{
    struct aggregated_keeper *k = arg;
    k->pending = false;
    if (k->closing)
        close_if_idle(k);
    else if (code != 0 || !result->succeeded) /* Somebody else was first: a look will show. */
        uv_timer_start(&k->timer, on_timer, code != 0 ? RETRY_MS : GATHER_MS, 0);
    else
        run(k);
}

static void commit(struct look *l)
{
    struct aggregated_keeper *k = l->keeper;
    struct txn txn;
    k->pending = true;
    txn_build_run(&l->txn, &txn);
    store_txn(k->thread->server->store, &txn, &k->thread->mailbox, on_txn, k);
}

static void mark_unseen(struct aggregated_keeper *k)
{
    size_t pos = 0;
    void *value;
    while (map_next(&k->remotes, &pos, NULL, &value))
        ((struct remote *)value)->seen = false;
}

static void run(struct aggregated_keeper *k)
{
    if (k->pending || k->closing)
        return;
    AUTO_ARENA *a = arena_new(0);
    struct apiserver *s = k->thread->server;
    struct store_view *view = store_view(s->store);
    struct look l = {.keeper = k,
                     .ctx = {.arena = a,
                             .view = view,
                             .server = s,
                             .env = s->env,
                             .now_ns = env_wall_ns(s->env),
                             .subresource = ""},
                     .res = registry_storage(STR(APISERVICE_GROUP), STR("apiservices")),
                     .txn = {.arena = a},
                     .now_ms = now_ms(k),
                     .due_ms = UINT64_MAX};
    uv_timer_stop(&k->timer);
    (void)aggregated_set_sync(s, view);
    read_services(&l);
    struct registration_look look = {l.res, l.kvs, l.all, l.count};
    if (!registration_plan(&k->registration, &l.ctx, &look, &l.txn)) {
        atomic_store(&s->registered, true);
        mark_unseen(k);
        look_at_conditions(&l);
        sweep(k);
    }
    if (l.txn.op_count != 0)
        commit(&l);
    else if (l.due_ms != UINT64_MAX)
        uv_timer_start(&k->timer, on_timer, l.due_ms > l.now_ms ? l.due_ms - l.now_ms : 0, 0);
    store_view_unref(view);
}

void aggregated_sync(struct server_thread *t)
{
    struct store_view *v = store_view(t->server->store);
    (void)aggregated_set_sync(t->server, v);
    store_view_unref(v);
    if (t->aggregated_keeper != NULL)
        run(t->aggregated_keeper);
}

static bool is_of_backend(struct str key)
{
    return str_has_prefix(key, STR("/registry/services/specs/")) ||
           str_has_prefix(key, STR("/registry/endpointslices/"));
}

bool aggregated_wants(struct str key)
{
    return str_has_prefix(key, STR(APISERVICE_PREFIX)) || is_of_backend(key);
}

void aggregated_notice(struct server_thread *t, struct str key)
{
    struct aggregated_keeper *k = t->aggregated_keeper;
    if (str_has_prefix(key, STR(APISERVICE_PREFIX)))
        aggregated_sync(t);
    else if (k != NULL && k->remotes.count != 0 && !k->pending && !k->closing &&
             is_of_backend(key) &&
             (!uv_is_active((uv_handle_t *)&k->timer) ||
              uv_timer_get_due_in(&k->timer) > GATHER_MS))
        uv_timer_start(&k->timer, on_timer, GATHER_MS, 0);
}

/* --- life --------------------------------------------------------------------------------------
 */
struct aggregated_keeper *aggregated_keeper_new(struct server_thread *t)
{
    struct aggregated_keeper *k = xzalloc(sizeof(*k));
    k->thread = t;
    unavailable =
        metric_gauge(metrics_default(), "aggregator_unavailable_apiservice",
                     "Aggregated API services that cannot be used now.", METRIC_LABELS("name"));
    unavailable_total = metric_counter(metrics_default(), "aggregator_unavailable_apiservice_total",
                                       "Times that they became so, or for another reason.",
                                       METRIC_LABELS("name", "reason"));
    map_init(&k->remotes);
    registration_init(&k->registration);
    uv_timer_init(&t->loop, &k->timer);
    k->timer.data = k;
    uv_timer_start(&k->timer, on_timer, 0, 0);
    return k;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct aggregated_keeper *k = h->data;
    void (*cb)(void *) = k->on_closed;
    void *arg = k->closed_arg;
    size_t pos = 0;
    void *value;
    while (map_next(&k->remotes, &pos, NULL, &value))
        remote_free(value);
    map_done(&k->remotes);
    registration_done(&k->registration);
    free(k);
    cb(arg);
}

static void close_if_idle(struct aggregated_keeper *k)
{
    if (!k->pending && k->probes == 0 && !uv_is_closing((uv_handle_t *)&k->timer))
        uv_close((uv_handle_t *)&k->timer, on_timer_closed);
}

void aggregated_keeper_close(struct aggregated_keeper *k, void (*on_closed)(void *arg), void *arg)
{
    size_t pos = 0;
    void *value;
    k->closing = true;
    k->on_closed = on_closed;
    k->closed_arg = arg;
    uv_timer_stop(&k->timer);
    while (map_next(&k->remotes, &pos, NULL, &value))
        if (((struct remote *)value)->probe != NULL)
            probe_cancel(((struct remote *)value)->probe);
    close_if_idle(k);
}
