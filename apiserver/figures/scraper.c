/* scraper.c - see scraper.h. */
#include "apiserver/figures/scraper.h"

#include "api/core_v1.h"
#include "apiserver/aggregation/set.h"
#include "apiserver/apiserver.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/figures/board.h"
#include "apiserver/kubelet_pool.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/net/http_client.h"
#include "raftstore/store.h"

#include <stdio.h>
#include <stdlib.h>

#define NODES_PREFIX "/registry/minions/"
#define NODES_END "/registry/minions0"
#define TICK_MS 1000u
#define TICK_MIN_MS 50u
#define NODES_PER_TICK 25u
#define LOOK_MS 5000u   /* Between looks for new nodes. */
#define SPREAD_MS 4u    /* A new leader's first round takes so long for each node. */
#define SECOND_MS 5000u /* From the first sample to the second, which makes the first rates. */
#define CALL_MS 10000u
#define CALLS_MAX 128u
#define PAUSE_SHIFT_MAX 3u /* Of a node that fails: up to eight periods. */

struct target {
    struct figure_scraper *scraper;
    char *name, *endpoint; /* endpoint NULL: not known. */
    int64_t mod_rev;       /* Of the Node. */
    bool seen, gone;
    uint64_t due_ms;
    unsigned failures;
    struct figures *last;
    /* The call under way; NULL: none. */
    struct http_call *call;
    struct kubelet_client *client;
    struct buf text;
    uint64_t started_ms;
    bool too_long;
};

struct figure_scraper {
    struct server_thread *thread;
    uv_timer_t timer;
    uint64_t period_ms, tick_ms, looked_ms;
    struct map targets; /* Node's name -> struct target */
    unsigned calls;
    bool working, closing;
    bool behind; /* More are due than may be asked at once. */
    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* Under metrics-server's names. */
static struct metric_family *requests, *durations;

static void start_due(struct figure_scraper *s);
static void close_if_idle(struct figure_scraper *s);

static uint64_t now_ms(const struct figure_scraper *s)
{
    return env_now_ms(s->thread->server->env);
}

/* --- targets ------------------------------------------------------------------------------- */
static void target_free(struct target *t)
{
    figures_unref(t->last);
    buf_done(&t->text);
    free(t->name);
    free(t->endpoint);
    free(t);
}

static void drop(struct figure_scraper *s, struct target *t)
{
    figure_board_drop(s->thread->server->figures, str_of(t->name));
    map_remove(&s->targets, str_of(t->name));
    t->gone = true;
    if (t->call != NULL)
        http_call_cancel(t->call); /* Its end frees it. */
    else
        target_free(t);
}

static void drop_all(struct figure_scraper *s)
{
    size_t pos = 0;
    void *value;
    while (map_next(&s->targets, &pos, NULL, &value))
        drop(s, value);
}

static void see_node(struct figure_scraper *s, const struct resource *res, const struct kv *kv,
                     struct str name, uint64_t now)
{
    struct target *t = map_get(&s->targets, name);
    if (t == NULL) {
        t = xzalloc(sizeof(*t));
        t->scraper = s;
        t->name = xstrndup(name.data, name.len);
        t->due_ms = now + env_random_below(s->thread->server->env,
                                           MIN_OF(s->period_ms, SPREAD_MS * s->targets.count + 1));
        map_set(&s->targets, name, t);
    }
    t->seen = true;
    if (t->mod_rev == kv->mod_rev)
        return;
    AUTO_ARENA *a = arena_new(0);
    void *node;
    t->mod_rev = kv->mod_rev;
    if (stored_decode(a, res, stored_value(kv), kv->mod_rev, &node, NULL) != 0)
        return;
    struct str endpoint = kubelet_node_endpoint(a, node);
    free(t->endpoint);
    t->endpoint = endpoint.len != 0 ? xstrndup(endpoint.data, endpoint.len) : NULL;
}

static void look(struct figure_scraper *s, uint64_t now)
{
    struct store_view *v = store_view(s->thread->server->store);
    const struct resource *res = registry_storage(STR(""), STR("nodes"));
    struct store_iter it;
    struct str key;
    size_t pos = 0;
    void *value;
    while (map_next(&s->targets, &pos, &key, &value))
        ((struct target *)value)->seen = false;
    if (store_iter_init(&it, v, STR(NODES_PREFIX), STR(NODES_END), 0) == 0)
        for (const struct kv *kv; (kv = store_iter_next(&it)) != NULL;) {
            key = kv_key(kv);
            see_node(s, res, kv, str_sub(key, sizeof(NODES_PREFIX) - 1, key.len), now);
        }
    store_view_unref(v);
    for (pos = 0; map_next(&s->targets, &pos, &key, &value);)
        if (!((struct target *)value)->seen)
            drop(s, value);
    s->looked_ms = now;
    s->tick_ms = MAX_OF(TICK_MS / (1 + s->targets.count / NODES_PER_TICK), TICK_MIN_MS);
}

/* --- calls ----------------------------------------------------------------------------------- */
static void on_data(struct http_call *call, const uint8_t *data, size_t len, void *arg)
{
    struct target *t = arg;
    if (http_call_status(call) != 200 || t->too_long)
        return;
    t->too_long = t->text.len + len > FIGURES_TEXT_MAX;
    if (t->too_long)
        http_call_cancel(call);
    else
        buf_append(&t->text, data, len);
}

static void succeed(struct figure_scraper *s, struct target *t, uint64_t now)
{
    struct figures *f =
        figures_parse(buf_str(&t->text), env_wall_ns(s->thread->server->env) / 1000000,
                      (int64_t)s->period_ms, t->last);
    bool first = t->last == NULL;
    figures_unref(t->last);
    t->last = f;
    t->failures = 0;
    figure_board_put(s->thread->server->figures, str_of(t->name), figures_ref(f), now);
    t->due_ms =
        first ? now + MIN_OF(SECOND_MS, s->period_ms) : MAX_OF(t->started_ms + s->period_ms, now);
}

static void fail(struct figure_scraper *s, struct target *t, uint64_t now, const char *why)
{
    if (t->failures++ == 0)
        log_warning("figures of node %s: %s", t->name, why);
    t->due_ms = now + (s->period_ms << MIN_OF(t->failures - 1, PAUSE_SHIFT_MAX));
    /* What comes after a long silence is compared with nothing. */
    if (t->failures > 3) {
        figures_unref(take(t->last));
        figure_board_drop(s->thread->server->figures, str_of(t->name));
    }
}

static void on_end(struct http_call *call, const struct error *err, void *arg)
{
    LOOP_CALLBACK("figures of a node");
    struct target *t = arg;
    struct figure_scraper *s = t->scraper;
    uint64_t now = now_ms(s);
    int status = err == NULL ? http_call_status(call) : 0;
    char why[32];
    snprintf(why, sizeof(why), "HTTP status %d", status);
    kubelet_pool_give(s->thread->kubelets, t->client);
    t->call = NULL;
    s->calls--;
    metric_inc(METRIC_OF(requests, status == 200 ? STR("true") : STR("false")));
    metric_observe(metric_single(durations), (double)(now - t->started_ms) / 1000);
    if (t->gone)
        target_free(t);
    else if (t->too_long)
        fail(s, t, now, "more text than is read");
    else if (err != NULL)
        fail(s, t, now, error_message(err));
    else if (status != 200)
        fail(s, t, now, why);
    else
        succeed(s, t, now);
    if (!t->gone)
        buf_done(&t->text);
    if (s->closing)
        close_if_idle(s);
    else if (s->behind)
        start_due(s);
}

static void start(struct figure_scraper *s, struct target *t, uint64_t now)
{
    struct error err = {0};
    t->started_ms = now;
    t->due_ms = UINT64_MAX;
    t->too_long = false;
    int code = kubelet_pool_take(s->thread->kubelets, t->endpoint, &t->client, &err);
    if (code == 0) {
        struct http_call_config c = {.target = "/metrics/resource",
                                     .timeout_ms = CALL_MS,
                                     .on_data = on_data,
                                     .on_end = on_end,
                                     .arg = t};
        code = http_call_start(t->client->http, &c, &t->call, &err);
        if (code != 0)
            kubelet_pool_give(s->thread->kubelets, t->client);
    }
    if (code == 0)
        s->calls++;
    else
        fail(s, t, now, error_message(&err));
}

static void start_due(struct figure_scraper *s)
{
    uint64_t now = now_ms(s);
    size_t pos = 0;
    void *value;
    s->behind = false;
    while (map_next(&s->targets, &pos, NULL, &value)) {
        struct target *t = value;
        if (t->call != NULL || t->endpoint == NULL || t->due_ms > now)
            continue;
        s->behind = s->calls >= CALLS_MAX;
        if (s->behind)
            return;
        start(s, t, now);
    }
}

/* --- ticks ----------------------------------------------------------------------------------- */
static bool wanted(const struct figure_scraper *s)
{
    struct store_status st;
    store_status(s->thread->server->store, &st);
    const struct aggregated_service *other = aggregated_set_find(STR("v1beta1.metrics.k8s.io"));
    return st.is_leader && !(other != NULL && other->remote);
}

static void on_tick(uv_timer_t *timer)
{
    LOOP_CALLBACK("scrape nodes");
    struct figure_scraper *s = timer->data;
    uint64_t now = now_ms(s);
    bool was = s->working;
    s->working = wanted(s);
    if (s->working) {
        if (!was || now - s->looked_ms >= LOOK_MS)
            look(s, now);
        start_due(s);
    } else if (was) {
        drop_all(s);
        s->tick_ms = TICK_MS;
    }
    uv_timer_start(timer, on_tick, s->tick_ms, 0);
}

/* --- life --------------------------------------------------------------------------------------
 */
struct figure_scraper *figure_scraper_new(struct server_thread *t)
{
    static const double bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
    int64_t period_ns = t->server->config.metric_resolution_ns;
    if (period_ns <= 0 || kubelet_pool_node_tls(t->kubelets) == NULL ||
        registry_find(STR("metrics.k8s.io"), STR("v1beta1"), STR("nodes")) == NULL)
        return NULL;
    struct figure_scraper *s = xzalloc(sizeof(*s));
    s->thread = t;
    s->period_ms = (uint64_t)period_ns / 1000000;
    s->tick_ms = TICK_MS;
    map_init(&s->targets);
    requests =
        metric_counter(metrics_default(), "metrics_server_kubelet_request_total",
                       "Times that nodes were asked for their figures.", METRIC_LABELS("success"));
    durations =
        metric_histogram(metrics_default(), "metrics_server_kubelet_request_duration_seconds",
                         "How long that took.", NULL, bounds, ARRAY_SIZE(bounds));
    uv_timer_init(&t->loop, &s->timer);
    s->timer.data = s;
    uv_timer_start(&s->timer, on_tick, TICK_MS, 0);
    return s;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct figure_scraper *s = h->data;
    void (*cb)(void *) = s->on_closed;
    void *arg = s->closed_arg;
    map_done(&s->targets);
    free(s);
    cb(arg);
}

static void close_if_idle(struct figure_scraper *s)
{
    if (s->calls == 0 && !uv_is_closing((uv_handle_t *)&s->timer))
        uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

void figure_scraper_close(struct figure_scraper *s, void (*on_closed)(void *arg), void *arg)
{
    if (s == NULL) {
        on_closed(arg);
        return;
    }
    s->closing = true;
    s->on_closed = on_closed;
    s->closed_arg = arg;
    uv_timer_stop(&s->timer);
    drop_all(s);
    close_if_idle(s);
}
