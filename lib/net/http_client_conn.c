/* http_client_conn.c - one connection of an HTTP client: opening, deadlines,
 * end. See http_client_internal.h. */
#include "lib/net/http_client_internal.h"

#include "lib/net/stream.h"
#include "lib/net/tls.h"

#include <string.h>

static uint64_t conn_now(const struct client_conn *c)
{
    return uv_now(c->client->loop);
}

void client_conn_enter(struct client_conn *c)
{
    c->busy++;
}

static void conn_free(struct client_conn *c)
{
    struct http_client *client = c->client;
    list_remove(&c->link);
    deferred_cancel(&c->flush);
    if (c->protocol != NULL)
        c->protocol->free(c);
    free(c->authority);
    free(c);
    client_check_closed(client);
}

void client_conn_leave(struct client_conn *c)
{
    ASSERT(c->busy > 0);
    if (--c->busy == 0 && c->gone)
        conn_free(c);
}

void client_conn_wake(struct client_conn *c)
{
    if (!c->gone)
        deferred_post(&c->client->queue, &c->flush);
}

void client_conn_close(struct client_conn *c)
{
    c->closing = true;
    if (c->stream != NULL)
        net_stream_close_soft(c->stream);
}

void client_conn_kill(struct client_conn *c, int code, const char *text)
{
    c->closing = true;
    if (c->stream != NULL)
        net_stream_fail(c->stream, code, text);
}

void client_conn_hand_over(struct client_conn *c)
{
    c->stream = NULL;
    c->closing = true;
    c->gone = true;
}

/* --- calls --- */

bool client_conn_usable(const struct client_conn *c)
{
    return c->open && !c->draining && !c->closing && c->dedicated == NULL &&
           c->protocol->has_room(c);
}

void client_conn_attach(struct client_conn *c, struct http_call *call)
{
    c->client->waiting_count--;
    list_remove(&call->link);
    list_push_back(&c->calls, &call->link);
    c->call_count++;
    c->calls_total++;
    call->conn = c;
    call->state = CALL_ACTIVE;
    call_start_body(call);
    c->protocol->begin(call);
    client_conn_wake(c);
}

static void conn_check_by(struct client_conn *c, uint64_t when_ms);

void client_conn_detach(struct http_call *call)
{
    struct client_conn *c = call->conn;
    list_remove(&call->link);
    c->call_count--;
    c->idle_since_ms = conn_now(c);
    conn_check_by(c, c->idle_since_ms + c->client->config.idle_timeout_ms);
    call->conn = NULL;
    client_conn_wake(c); /* A draining connection may end now. */
    client_dispatch_soon(c->client);
}

/* --- deadlines --- */

static void conn_check_by(struct client_conn *c, uint64_t when_ms)
{
    uint64_t now = conn_now(c);
    if (c->stream == NULL || (c->check_ms != 0 && c->check_ms <= when_ms))
        return;
    c->check_ms = when_ms;
    net_stream_set_timeout(c->stream, when_ms > now ? when_ms - now : 1);
}

/* A silent server is asked whether it is there; one that stays silent is not. */
static void conn_check_alive(struct client_conn *c)
{
    const struct http_client_config *config = &c->client->config;
    uint64_t now = conn_now(c);
    if (c->protocol->ping == NULL)
        return;
    if (c->ping_ms != 0 && now >= c->ping_ms + config->ping_timeout_ms) {
        client_conn_kill(c, E_IO, "the server answers no PING");
    } else if (c->ping_ms == 0 && now >= c->input_ms + config->ping_interval_ms) {
        c->ping_ms = now;
        c->protocol->ping(c);
        client_conn_wake(c);
    }
    conn_check_by(c, c->ping_ms != 0 ? c->ping_ms + config->ping_timeout_ms
                                     : c->input_ms + config->ping_interval_ms);
}

static void conn_on_timeout(struct net_stream *stream, void *arg)
{
    UNUSED(stream);
    struct client_conn *c = arg;
    uint64_t idle_end = c->idle_since_ms + c->client->config.idle_timeout_ms;
    c->check_ms = 0;
    client_conn_enter(c);
    if (c->call_count == 0 && conn_now(c) >= idle_end) {
        c->draining = true;
        client_conn_wake(c);
    } else if (c->call_count == 0) {
        conn_check_by(c, idle_end);
    }
    if (!c->draining || c->call_count > 0)
        conn_check_alive(c);
    client_conn_leave(c);
}

/* --- the stream --- */

/* Within client_conn_enter(). */
static void conn_send(struct client_conn *c)
{
    if (c->stream == NULL || !net_stream_is_open(c->stream) || c->protocol == NULL)
        return;
    deferred_cancel(&c->flush);
    bool useful = c->protocol->flush(c);
    if (c->stream != NULL) {
        net_stream_flush(c->stream);
        if (!useful || (c->draining && c->call_count == 0))
            client_conn_close(c);
    }
}

static void conn_flush(struct client_conn *c)
{
    client_conn_enter(c);
    conn_send(c);
    client_conn_leave(c);
}

static void conn_run_flush(struct deferred *d)
{
    conn_flush(CONTAINER_OF(d, struct client_conn, flush));
}

static void conn_on_writable(struct net_stream *stream, void *arg)
{
    UNUSED(stream);
    conn_flush(arg);
}

/* What is spoken on a connection that has just opened; false: nothing we may. */
static bool conn_choose(struct client_conn *c, bool *ret_h2)
{
    const struct http_client *client = c->client;
    bool alpn_h2 = str_eq(net_stream_alpn(c->stream), STR("h2"));
    bool must_h2 = client->config.protocol == HTTP_CLIENT_H2 && c->dedicated == NULL;
    *ret_h2 = alpn_h2 || (must_h2 && client->config.tls == NULL);
    return !must_h2 || *ret_h2;
}

static void conn_on_open(struct net_stream *stream, void *arg)
{
    UNUSED(stream);
    struct client_conn *c = arg;
    struct http_client *client = c->client;
    bool h2;
    if (!conn_choose(c, &h2)) {
        client_conn_kill(c, E_TLS, "the server does not speak HTTP/2");
        return;
    }
    if (h2 && !client_h2_start(c)) {
        client_conn_kill(c, E_NO_MEMORY, "no memory for an HTTP/2 session");
        return;
    }
    if (!h2)
        client_h1_start(c);
    c->protocol = h2 ? &client_protocol_h2 : &client_protocol_h1;
    c->open = true;
    c->input_ms = c->idle_since_ms = conn_now(c);
    if (c->dedicated == NULL)
        client->spoken = h2 ? HTTP_CLIENT_H2 : HTTP_CLIENT_H1;
    client_conn_opened(client);
    conn_check_by(c, c->idle_since_ms + client->config.idle_timeout_ms);
    if (c->protocol->ping != NULL)
        conn_check_by(c, c->input_ms + client->config.ping_interval_ms);
    if (c->dedicated != NULL)
        client_conn_attach(c, c->dedicated);
    client_conn_wake(c);
    client_dispatch_soon(client);
}

static void conn_on_read(struct net_stream *stream, const uint8_t *data, size_t len, void *arg)
{
    UNUSED(stream);
    struct client_conn *c = arg;
    c->input_ms = conn_now(c);
    c->ping_ms = 0;
    client_conn_enter(c);
    if (!c->closing)
        c->protocol->input(c, data, len);
    conn_send(c);
    client_conn_leave(c);
}

static void conn_on_eof(struct net_stream *stream, void *arg)
{
    UNUSED(stream);
    struct client_conn *c = arg;
    client_conn_enter(c);
    c->draining = true;
    if (!c->closing)
        c->protocol->eof(c);
    client_conn_close(c);
    client_conn_leave(c);
}

/* GET and HEAD may be asked again when a kept connection turned out to be dead. */
static bool conn_may_repeat(const struct client_conn *c, const struct http_call *call)
{
    bool safe = strcmp(call->config.method, "GET") == 0 || strcmp(call->config.method, "HEAD") == 0;
    return !call->sent || (c->protocol == &client_protocol_h1 && c->calls_total > 1 && safe &&
                           call->header_count == 0 && !call->config.upload);
}

static void conn_on_close(struct net_stream *stream, const struct error *err, void *arg)
{
    UNUSED(stream);
    struct client_conn *c = arg;
    struct http_client *client = c->client;
    client_conn_enter(c);
    bool was_open = c->open;
    c->stream = NULL;
    c->gone = c->closing = true;
    while (!list_empty(&c->calls)) {
        struct http_call *call = LIST_ENTRY(c->calls.next, struct http_call, link);
        int code = err->code == E_EOF ? E_CLOSED : err->code;
        const char *text = err->code == E_EOF || err->code == E_CLOSED
                               ? "the connection was closed before the response was complete"
                               : error_message(err);
        if (conn_may_repeat(c, call))
            call_retry(call, code, text);
        else
            call_fail(call, code, text);
    }
    if (!was_open && err->code != E_CANCELED)
        client_conn_failed(client, err);
    client_dispatch_soon(client);
    client_conn_leave(c);
}

static const struct net_stream_handler CONN_HANDLER = {
    .on_open = conn_on_open,
    .on_read = conn_on_read,
    .on_eof = conn_on_eof,
    .on_writable = conn_on_writable,
    .on_timeout = conn_on_timeout,
    .on_close = conn_on_close,
};

static unsigned conn_alpn(const struct http_client *client, const struct http_call *dedicated)
{
    if (dedicated != NULL || client->config.protocol == HTTP_CLIENT_H1)
        return TLS_ALPN_HTTP1;
    return client->config.protocol == HTTP_CLIENT_H2 ? TLS_ALPN_H2 : TLS_ALPN_H2 | TLS_ALPN_HTTP1;
}

int client_conn_start(struct http_client *client, struct http_call *dedicated, struct error *err)
{
    const char *endpoint = client->endpoints[client->endpoint_next];
    struct net_connect_config config = {
        .endpoint = endpoint,
        .tls = client->config.tls,
        .server_name = client->server_name,
        .alpn = conn_alpn(client, dedicated),
        .timeout_ms = client->config.connect_timeout_ms,
    };
    struct client_conn *c = xzalloc(sizeof(*c));
    c->client = client;
    c->dedicated = dedicated;
    list_init(&c->calls);
    list_init(&c->link);
    deferred_init(&c->flush, conn_run_flush);
    int code = net_stream_connect(client->loop, &config, &CONN_HANDLER, c, &c->stream, err);
    if (code < 0) {
        free(c);
        return code;
    }
    bool is_unix = endpoint[0] == '/' || strncmp(endpoint, "unix:", 5) == 0;
    c->authority = xstrdup(is_unix ? "localhost" : endpoint);
    list_push_back(&client->conns, &c->link);
    return 0;
}
