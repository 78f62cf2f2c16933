/* http_server.c - the server itself: listeners, limits, shutdown; see
 * http_server.h. */
#include "lib/net/http_server_internal.h"

#include "lib/base/arena.h"
#include "lib/base/log.h"
#include "lib/net/stream.h"

#include <string.h>
#include <time.h>

static const struct http_server_limits LIMITS_DEFAULT = {
    .header_bytes_max = 1 << 20,
    .header_count_max = 256,
    .body_bytes_max = 3 << 20,
    .streams_max = 250,
    .connections_max = 0,
    .header_timeout_ms = 32000,
    .idle_timeout_ms = 150000,
    .body_timeout_ms = 60000,
    .write_timeout_ms = 120000,
    .stream_window = 256 << 10,
    .connection_window = 1 << 20,
};

#define DEFAULT_IF_ZERO(limits, field)                                                             \
    ((limits)->field = (limits)->field != 0 ? (limits)->field : LIMITS_DEFAULT.field)

static void http_limits_fill(struct http_server_limits *l)
{
    DEFAULT_IF_ZERO(l, header_bytes_max);
    DEFAULT_IF_ZERO(l, header_count_max);
    DEFAULT_IF_ZERO(l, body_bytes_max);
    DEFAULT_IF_ZERO(l, streams_max);
    DEFAULT_IF_ZERO(l, header_timeout_ms);
    DEFAULT_IF_ZERO(l, idle_timeout_ms);
    DEFAULT_IF_ZERO(l, body_timeout_ms);
    DEFAULT_IF_ZERO(l, write_timeout_ms);
    DEFAULT_IF_ZERO(l, stream_window);
    DEFAULT_IF_ZERO(l, connection_window);
}

int http_server_new(struct uv_loop_s *loop, const struct http_server_config *config,
                    struct http_server **ret, struct error *err)
{
    if (config->on_request == NULL)
        return error_set(err, E_INVALID, "an HTTP server needs on_request");
    struct http_server *s = xzalloc(sizeof(*s));
    s->loop = loop;
    s->config = *config;
    if (s->config.name == NULL)
        s->config.name = "http";
    http_limits_fill(&s->config.limits);
    list_init(&s->conns);
    list_init(&s->orphans);
    defer_queue_init(&s->queue, loop);
    uv_timer_init(loop, &s->timer);
    s->handles = 2;
    *ret = s;
    return 0;
}

static void http_server_on_accept(struct net_listener *l, struct net_stream *stream,
                                  const struct net_stream_handler **ret_handler, void **ret_arg,
                                  void *arg)
{
    UNUSED(l);
    *ret_handler = &http_conn_handler;
    *ret_arg = http_conn_new(arg, stream);
}

int http_server_listen(struct http_server *s, const struct net_listen_config *config,
                       struct error *err)
{
    struct net_listen_config own = *config;
    own.on_accept = http_server_on_accept;
    own.arg = s;
    if (own.connections_max == 0)
        own.connections_max = s->config.limits.connections_max;
    struct net_listener *l;
    int code = net_listener_new(s->loop, &own, &l, err);
    if (code < 0)
        return code;
    if (s->listener_count == s->listener_cap) {
        s->listener_cap = s->listener_cap == 0 ? 4 : s->listener_cap * 2;
        s->listeners = xrealloc(s->listeners, s->listener_cap * sizeof(struct net_listener *));
    }
    s->listeners[s->listener_count++] = l;
    s->listeners_open++;
    return 0;
}

int http_server_port(const struct http_server *s)
{
    for (size_t i = 0; i < s->listener_count; i++)
        if (net_listener_port(s->listeners[i]) != 0)
            return net_listener_port(s->listeners[i]);
    return 0;
}

int http_server_port_at(const struct http_server *s, size_t i)
{
    return i < s->listener_count ? net_listener_port(s->listeners[i]) : 0;
}

void http_server_get_stats(const struct http_server *s, struct http_server_stats *ret)
{
    *ret = s->stats;
}

const char *http_server_date(struct http_server *s)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (s->date_s != now.tv_sec) {
        struct tm tm;
        s->date_s = now.tv_sec;
        gmtime_r(&now.tv_sec, &tm);
        strftime(s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
    }
    return s->date;
}

/* --- shutdown --- */

static void http_server_handle_gone(struct http_server *s)
{
    if (--s->handles == 0 && s->on_closed != NULL)
        s->on_closed(s, s->closed_arg);
}

static void http_server_queue_closed(struct defer_queue *q)
{
    http_server_handle_gone(CONTAINER_OF(q, struct http_server, queue));
}

static void http_server_timer_closed(uv_handle_t *handle)
{
    http_server_handle_gone(CONTAINER_OF((uv_timer_t *)handle, struct http_server, timer));
}

void http_server_check_closed(struct http_server *s)
{
    if (!s->stopping || s->closing || s->listeners_open > 0 || !list_empty(&s->conns) ||
        !list_empty(&s->orphans))
        return;
    s->closing = true;
    defer_queue_close(&s->queue, http_server_queue_closed);
    uv_close((uv_handle_t *)&s->timer, http_server_timer_closed);
}

static void http_server_listener_closed(void *arg)
{
    struct http_server *s = arg;
    s->listeners_open--;
    http_server_check_closed(s);
}

/* Closing a stream only queues work, so the list does not change under us. */
static void http_server_on_deadline(uv_timer_t *timer)
{
    struct http_server *s = CONTAINER_OF(timer, struct http_server, timer);
    LIST_FOREACH_SAFE (it, &s->conns)
        http_conn_kill(LIST_ENTRY(it, struct http_conn, link));
    http_server_check_closed(s);
}

void http_server_shutdown(struct http_server *s, uint64_t deadline_ms,
                          void (*on_closed)(struct http_server *s, void *arg), void *arg)
{
    if (s->closing)
        return;
    uv_update_time(s->loop);
    uv_timer_start(&s->timer, http_server_on_deadline, deadline_ms, 0);
    if (s->stopping)
        return;
    s->stopping = true;
    s->on_closed = on_closed;
    s->closed_arg = arg;
    for (size_t i = 0; i < s->listener_count; i++)
        net_listener_close(s->listeners[i], http_server_listener_closed, s);
    LIST_FOREACH_SAFE (it, &s->conns) {
        struct http_conn *c = LIST_ENTRY(it, struct http_conn, link);
        c->going_away = true;
        http_conn_wake(c);
    }
    http_server_check_closed(s); /* Nothing may have been open. */
}

void http_request_go_away(struct http_request *r)
{
    struct serving *x = CONTAINER_OF(r, struct serving, r);
    if (x->conn == NULL || r->version != HTTP_2)
        return;
    x->conn->going_away = true;
    http_conn_wake(x->conn);
}

void http_server_free(struct http_server *s)
{
    if (s == NULL)
        return;
    ASSERT(s->handles == 0);
    while (s->spare_count > 0)
        arena_free(s->spare[--s->spare_count]);
    free(s->listeners);
    free(s);
}
