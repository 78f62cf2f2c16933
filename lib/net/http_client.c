/* http_client.c - connections to one service: which calls go where, what
 * happens when none can be had; see http_client.h. */
#include "lib/net/http_client_internal.h"

#include "lib/base/env.h"
#include "lib/net/stream.h"
#include "lib/net/tls.h"

#include <string.h>

static const struct http_client_config CONFIG_DEFAULT = {
    .connections_max = 16,
    .connect_timeout_ms = 10000,
    .idle_timeout_ms = 90000,
    .ping_interval_ms = 30000,
    .ping_timeout_ms = 15000,
    .backoff_min_ms = 50,
    .backoff_max_ms = 5000,
    .connect_rounds = 1,
    .header_bytes_max = 1 << 20,
};

#define DEFAULT_IF_ZERO(config, field)                                                             \
    ((config)->field = (config)->field != 0 ? (config)->field : CONFIG_DEFAULT.field)

static void client_config_fill(struct http_client_config *c)
{
    DEFAULT_IF_ZERO(c, connections_max);
    DEFAULT_IF_ZERO(c, connect_timeout_ms);
    DEFAULT_IF_ZERO(c, idle_timeout_ms);
    DEFAULT_IF_ZERO(c, ping_interval_ms);
    DEFAULT_IF_ZERO(c, ping_timeout_ms);
    DEFAULT_IF_ZERO(c, backoff_min_ms);
    DEFAULT_IF_ZERO(c, backoff_max_ms);
    DEFAULT_IF_ZERO(c, connect_rounds);
    DEFAULT_IF_ZERO(c, header_bytes_max);
}

/* --- deadlines of calls: one timer for the nearest --- */

static bool client_wakes_before(const struct heap_node *a, const struct heap_node *b, void *arg)
{
    UNUSED(arg);
    return HEAP_ENTRY(a, const struct http_call, wake)->wake_ms <
           HEAP_ENTRY(b, const struct http_call, wake)->wake_ms;
}

static void client_on_wake(uv_timer_t *timer);

static void client_arm_wake_timer(struct http_client *c)
{
    const struct heap_node *first = heap_peek(&c->wakes);
    if (c->closed)
        return;
    if (first == NULL) {
        uv_timer_stop(&c->wake_timer);
        return;
    }
    uint64_t when = HEAP_ENTRY(first, const struct http_call, wake)->wake_ms, now = uv_now(c->loop);
    uv_timer_start(&c->wake_timer, client_on_wake, when > now ? when - now : 0, 0);
}

void client_wake_at(struct http_call *call)
{
    struct http_client *c = call->client;
    uint64_t a = call->deadline_ms, b = call->header_deadline_ms;
    uint64_t when = a == 0 ? b : b == 0 ? a : MIN_OF(a, b);
    if (heap_has(&call->wake))
        heap_remove(&c->wakes, &call->wake);
    call->wake_ms = when;
    if (when != 0)
        heap_push(&c->wakes, &call->wake);
    client_arm_wake_timer(c);
}

static void client_on_wake(uv_timer_t *timer)
{
    struct http_client *c = CONTAINER_OF(timer, struct http_client, wake_timer);
    for (struct heap_node *n; (n = heap_peek(&c->wakes)) != NULL;) {
        struct http_call *call = HEAP_ENTRY(n, struct http_call, wake);
        if (call->wake_ms > uv_now(c->loop))
            break;
        call_fail(call, E_TIMEOUT,
                  call->head_done ? "timed out while reading the response"
                  : call->sent    ? "timed out waiting for the response"
                                  : "timed out waiting for a connection");
    }
    client_arm_wake_timer(c);
}

/* --- endpoints --- */

static void client_free_endpoints(struct http_client *c)
{
    for (size_t i = 0; i < c->endpoint_count; i++)
        free(c->endpoints[i]);
    free(c->endpoints);
}

int http_client_set_endpoints(struct http_client *c, const char *const *endpoints, size_t count,
                              struct error *err)
{
    if (count == 0)
        return error_set(err, E_INVALID, "an HTTP client needs an endpoint");
    char **copy = xmalloc(count * sizeof(*copy));
    for (size_t i = 0; i < count; i++)
        copy[i] = xstrdup(endpoints[i]);
    client_free_endpoints(c);
    c->endpoints = copy;
    c->endpoint_count = count;
    c->endpoint_next = 0;
    http_client_reconnect(c);
    return 0;
}

void http_client_reconnect(struct http_client *c)
{
    LIST_FOREACH (it, &c->conns) {
        struct client_conn *conn = LIST_ENTRY(it, struct client_conn, link);
        conn->draining = true;
        client_conn_wake(conn);
    }
}

/* --- dispatch --- */

void client_dispatch_soon(struct http_client *c)
{
    deferred_post(&c->queue, &c->dispatch);
}

static struct client_conn *client_find_conn(struct http_client *c)
{
    ASSERT(c->conns.next != NULL);
    LIST_FOREACH (it, &c->conns) {
        struct client_conn *conn = LIST_ENTRY(it, struct client_conn, link);
        if (client_conn_usable(conn))
            return conn;
    }
    return NULL;
}

static size_t client_count_conns(const struct http_client *c, bool connecting_only)
{
    size_t count = 0;
    LIST_FOREACH (it, &c->conns) {
        const struct client_conn *conn = LIST_ENTRY(it, struct client_conn, link);
        if (conn->dedicated == NULL && !conn->closing && !conn->draining &&
            (!connecting_only || !conn->open))
            count++;
    }
    return count;
}

static bool client_has_dedicated(const struct http_client *c, const struct http_call *call)
{
    LIST_FOREACH (it, &c->conns)
        if (LIST_ENTRY(it, struct client_conn, link)->dedicated == call)
            return true;
    return false;
}

/* Whether another shared connection is worth opening for `wanting` calls. */
static bool client_wants_conn(const struct http_client *c, size_t wanting)
{
    size_t connecting = client_count_conns(c, true), all = client_count_conns(c, false);
    bool h1 = c->config.protocol == HTTP_CLIENT_H1 || c->spoken == HTTP_CLIENT_H1;
    if (wanting == 0 || all >= c->config.connections_max)
        return false;
    /* Until it is known to be HTTP/1.1, one connection may serve all. */
    return h1 ? connecting < wanting : connecting == 0;
}

static void client_on_retry(uv_timer_t *timer)
{
    client_dispatch_soon(CONTAINER_OF(timer, struct http_client, retry_timer));
}

/* False: not now. The retry timer sees to it that it is asked again. */
static bool client_may_connect(struct http_client *c)
{
    uint64_t now = uv_now(c->loop);
    if (now >= c->not_before_ms)
        return true;
    uv_timer_start(&c->retry_timer, client_on_retry, c->not_before_ms - now, 0);
    return false;
}

/* False: it failed at once, and the list of waiting calls may have changed. */
static bool client_connect(struct http_client *c, struct http_call *dedicated)
{
    struct error err = {0};
    if (client_conn_start(c, dedicated, &err) == 0)
        return true;
    client_conn_failed(c, &err);
    return false;
}

static void client_run_dispatch(struct deferred *d)
{
    struct http_client *c = CONTAINER_OF(d, struct http_client, dispatch);
    size_t wanting = 0;
    LIST_FOREACH_SAFE (it, &c->waiting) {
        struct http_call *call = LIST_ENTRY(it, struct http_call, link);
        struct client_conn *conn = call->config.upgrade ? NULL : client_find_conn(c);
        if (conn != NULL)
            client_conn_attach(conn, call);
        else if (!call->config.upgrade)
            wanting++;
        else if (!client_has_dedicated(c, call) && client_may_connect(c) &&
                 !client_connect(c, call))
            return;
    }
    while (client_wants_conn(c, wanting) && client_may_connect(c))
        if (!client_connect(c, NULL))
            return;
}

void client_forget_dedicated(struct http_call *call)
{
    LIST_FOREACH (it, &call->client->conns) {
        struct client_conn *conn = LIST_ENTRY(it, struct client_conn, link);
        if (conn->dedicated != call)
            continue;
        conn->dedicated = NULL;
        conn->draining = true;
        if (conn->open)
            client_conn_wake(conn);
        else
            client_conn_kill(conn, E_CANCELED, "canceled");
    }
}

/* --- success and failure of connections --- */

void client_conn_opened(struct http_client *c)
{
    c->failures = 0;
    c->rounds = 0;
    c->backoff_ms = c->config.backoff_min_ms;
    c->not_before_ms = 0;
}

static void client_fail_waiting(struct http_client *c)
{
    struct list all;
    list_init(&all);
    list_splice(&all, &c->waiting);
    while (!list_empty(&all)) {
        struct http_call *call = LIST_ENTRY(all.next, struct http_call, link);
        int code = c->last_err.code == E_TLS ? E_TLS : E_UNAVAILABLE;
        call_fail(call, code, error_message(&c->last_err));
    }
}

void client_conn_failed(struct http_client *c, const struct error *err)
{
    if (c->closing)
        return;
    c->last_err = *err;
    c->endpoint_next = (c->endpoint_next + 1) % c->endpoint_count;
    if (++c->failures % c->endpoint_count == 0) {
        /* Full jitter over the upper half, so that many clients spread out. */
        uint64_t wait = c->backoff_ms / 2 + env_random_below(env_system(), c->backoff_ms / 2 + 1);
        c->not_before_ms = uv_now(c->loop) + wait;
        c->backoff_ms = MIN_OF(c->backoff_ms * 2, c->config.backoff_max_ms);
        if (++c->rounds >= c->config.connect_rounds) {
            c->rounds = 0;
            client_fail_waiting(c);
        }
    }
    client_dispatch_soon(c);
}

/* --- life --- */

int http_client_new(struct uv_loop_s *loop, const struct http_client_config *config,
                    struct http_client **ret, struct error *err)
{
    if (config->endpoint_count == 0)
        return error_set(err, E_INVALID, "an HTTP client needs an endpoint");
    struct http_client *c = xzalloc(sizeof(*c));
    c->loop = loop;
    c->config = *config;
    client_config_fill(&c->config);
    if (config->tls != NULL)
        tls_context_ref(config->tls);
    c->server_name = config->server_name != NULL ? xstrdup(config->server_name) : NULL;
    c->user_agent = config->user_agent != NULL ? xstrdup(config->user_agent) : NULL;
    c->backoff_ms = c->config.backoff_min_ms;
    c->spoken = config->tls == NULL && config->protocol == HTTP_CLIENT_AUTO ? HTTP_CLIENT_H1
                                                                            : config->protocol;
    list_init(&c->conns);
    list_init(&c->waiting);
    list_init(&c->ending);
    heap_init(&c->wakes, client_wakes_before, NULL);
    uv_timer_init(loop, &c->wake_timer);
    uv_timer_init(loop, &c->retry_timer);
    defer_queue_init(&c->queue, loop);
    c->handles = 3;
    deferred_init(&c->dispatch, client_run_dispatch);
    http_client_set_endpoints(c, config->endpoints, config->endpoint_count, NULL);
    *ret = c;
    return 0;
}

static void client_handle_gone(struct http_client *c)
{
    if (--c->handles > 0)
        return;
    void (*on_closed)(void *arg) = c->on_closed;
    void *arg = c->closed_arg;
    client_free_endpoints(c);
    heap_done(&c->wakes);
    tls_context_unref(c->config.tls);
    free(c->server_name);
    free(c->user_agent);
    free(c);
    if (on_closed != NULL)
        on_closed(arg);
}

static void client_wake_timer_closed(uv_handle_t *handle)
{
    client_handle_gone(CONTAINER_OF((uv_timer_t *)handle, struct http_client, wake_timer));
}

static void client_retry_timer_closed(uv_handle_t *handle)
{
    client_handle_gone(CONTAINER_OF((uv_timer_t *)handle, struct http_client, retry_timer));
}

static void client_queue_closed(struct defer_queue *q)
{
    client_handle_gone(CONTAINER_OF(q, struct http_client, queue));
}

void client_check_closed(struct http_client *c)
{
    if (!c->closing || c->closed || !list_empty(&c->conns) || !list_empty(&c->waiting) ||
        !list_empty(&c->ending))
        return;
    c->closed = true;
    uv_close((uv_handle_t *)&c->wake_timer, client_wake_timer_closed);
    uv_close((uv_handle_t *)&c->retry_timer, client_retry_timer_closed);
    defer_queue_close(&c->queue, client_queue_closed);
}

void http_client_close(struct http_client *c, void (*on_closed)(void *arg), void *arg)
{
    if (c->closing)
        return;
    c->closing = true;
    c->on_closed = on_closed;
    c->closed_arg = arg;
    error_set(&c->last_err, E_CANCELED, "the client is closed");
    while (!list_empty(&c->waiting))
        http_call_cancel(LIST_ENTRY(c->waiting.next, struct http_call, link));
    LIST_FOREACH_SAFE (it, &c->conns) {
        struct client_conn *conn = LIST_ENTRY(it, struct client_conn, link);
        while (!list_empty(&conn->calls))
            http_call_cancel(LIST_ENTRY(conn->calls.next, struct http_call, link));
        conn->draining = true;
        if (conn->open)
            client_conn_wake(conn);
        else
            client_conn_kill(conn, E_CANCELED, "canceled");
    }
    /* Complete but paused ones. */
    LIST_FOREACH_SAFE (it, &c->ending) {
        struct http_call *call = LIST_ENTRY(it, struct http_call, link);
        if (call->state != CALL_ENDING)
            http_call_cancel(call);
    }
    client_check_closed(c);
}
