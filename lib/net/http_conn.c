/* http_conn.c - one connection to an HTTP server: which protocol it speaks,
 * its deadlines, its end. See http_server_internal.h. */
#include "lib/net/http_server_internal.h"

#include "lib/net/stream.h"

#include <string.h>

/* RFC 9113, 3.4: what an HTTP/2 client sends first. */
static const char PREFACE[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define PREFACE_LEN (sizeof(PREFACE) - 1)

uint64_t http_conn_now(const struct http_conn *c)
{
    return uv_now(c->server->loop);
}

void http_conn_enter(struct http_conn *c)
{
    c->busy++;
}

static void http_conn_free(struct http_conn *c)
{
    struct http_server *s = c->server;
    list_remove(&c->link);
    deferred_cancel(&c->flush);
    if (c->protocol != NULL)
        c->protocol->free(c);
    buf_done(&c->first);
    s->stats.connections--;
    free(c);
    http_server_check_closed(s);
}

void http_conn_leave(struct http_conn *c)
{
    ASSERT(c->busy > 0);
    if (--c->busy == 0 && c->gone)
        http_conn_free(c);
}

/* --- closing --- */

void http_conn_close(struct http_conn *c)
{
    c->closing = true;
    if (c->stream != NULL)
        net_stream_close_soft(c->stream);
}

void http_conn_kill(struct http_conn *c)
{
    c->closing = true;
    if (c->stream != NULL)
        net_stream_close(c->stream);
}

static void http_conn_drop_servings(struct http_conn *c)
{
    struct list all;
    list_init(&all);
    list_splice(&all, &c->servings);
    while (!list_empty(&all))
        serving_detach(LIST_ENTRY(all.next, struct serving, link), false);
}

void http_conn_detach_stream(struct http_conn *c)
{
    c->stream = NULL;
    c->gone = true;
}

static void http_conn_on_close(struct net_stream *stream, const struct error *err, void *arg)
{
    UNUSED(stream);
    UNUSED(err);
    struct http_conn *c = arg;
    http_conn_enter(c);
    http_conn_detach_stream(c);
    http_conn_drop_servings(c);
    http_conn_leave(c);
}

/* --- output --- */

void http_conn_wake(struct http_conn *c)
{
    if (!c->gone)
        deferred_post(&c->server->queue, &c->flush);
}

/* Within http_conn_enter(). */
static void http_conn_send(struct http_conn *c)
{
    if (c->stream == NULL || !net_stream_is_open(c->stream))
        return;
    deferred_cancel(&c->flush);
    bool useful = c->protocol == NULL ? !c->going_away : c->protocol->flush(c);
    if (c->stream != NULL) {
        net_stream_flush(c->stream);
        if (!useful)
            http_conn_close(c);
        else if (net_stream_pending(c->stream) > 0)
            http_conn_check_by(c, http_conn_now(c) + c->server->config.limits.write_timeout_ms);
    }
}

static void http_conn_flush(struct http_conn *c)
{
    http_conn_enter(c);
    http_conn_send(c);
    http_conn_leave(c);
}

static void http_conn_run_flush(struct deferred *d)
{
    http_conn_flush(CONTAINER_OF(d, struct http_conn, flush));
}

static void http_conn_on_writable(struct net_stream *stream, void *arg)
{
    UNUSED(stream);
    http_conn_flush(arg);
}

/* --- input --- */

static void http_conn_use(struct http_conn *c, bool h2)
{
    if (!h2) {
        http_h1_start(c);
        c->protocol = &http_protocol_h1;
    } else if (http_h2_start(c)) {
        c->protocol = &http_protocol_h2;
    } else {
        http_conn_kill(c);
    }
}

static void http_conn_on_open(struct net_stream *stream, void *arg)
{
    struct http_conn *c = arg;
    c->idle_since_ms = c->sent_ms = http_conn_now(c);
    http_conn_enter(c);
    if (net_stream_is_tls(stream))
        http_conn_use(c, str_eq(net_stream_alpn(stream), STR("h2")));
    http_conn_check_by(c, c->idle_since_ms + c->server->config.limits.header_timeout_ms);
    if (c->protocol == &http_protocol_h2 || c->going_away)
        http_conn_wake(c);
    http_conn_leave(c);
}

/* Plain connections: the first bytes tell. */
static void http_conn_detect(struct http_conn *c, const uint8_t *data, size_t len)
{
    buf_append(&c->first, data, len);
    size_t n = MIN_OF(c->first.len, PREFACE_LEN);
    bool maybe_h2 = memcmp(c->first.data, PREFACE, n) == 0;
    if (maybe_h2 && n < PREFACE_LEN)
        return;
    http_conn_use(c, maybe_h2);
    AUTO_BUF first = c->first;
    c->first = BUF_INIT;
    if (c->protocol != NULL)
        c->protocol->input(c, first.data, first.len);
}

static void http_conn_on_read(struct net_stream *stream, const uint8_t *data, size_t len, void *arg)
{
    UNUSED(stream);
    struct http_conn *c = arg;
    if (c->closing)
        return;
    http_conn_enter(c);
    if (c->protocol == NULL)
        http_conn_detect(c, data, len);
    else
        c->protocol->input(c, data, len);
    http_conn_send(c); /* Now rather than later: what was answered at once leaves at once. */
    http_conn_leave(c);
}

static void http_conn_on_eof(struct net_stream *stream, void *arg)
{
    UNUSED(stream);
    struct http_conn *c = arg;
    http_conn_enter(c);
    if (c->protocol != NULL)
        c->protocol->eof(c);
    else
        http_conn_close(c);
    http_conn_leave(c);
}

/* --- deadlines ---
 *
 * One timer per connection, armed for the nearest deadline or earlier. When it
 * fires everything is looked at afresh, so events need not touch it. */

void http_conn_check_by(struct http_conn *c, uint64_t when_ms)
{
    uint64_t now = http_conn_now(c);
    if (c->stream == NULL || (c->check_ms != 0 && c->check_ms <= when_ms))
        return;
    c->check_ms = when_ms;
    net_stream_set_timeout(c->stream, when_ms > now ? when_ms - now : 1);
}

/* True if the deadline has passed; else sees to it that it is looked at again. */
static bool http_conn_expired(struct http_conn *c, uint64_t since_ms, uint64_t limit_ms)
{
    if (http_conn_now(c) >= since_ms + limit_ms)
        return true;
    http_conn_check_by(c, since_ms + limit_ms);
    return false;
}

static void http_conn_check_serving(struct serving *x)
{
    struct http_conn *c = x->conn;
    const struct http_server_limits *limits = &c->server->config.limits;
    if (!x->head_told && http_conn_expired(c, x->input_ms, limits->header_timeout_ms)) {
        http_conn_kill(c);
        return;
    }
    if (serving_wants_body(x) && !x->body_patient &&
        http_conn_expired(c, x->input_ms, limits->body_timeout_ms)) {
        serving_reject(x, 408, "the request body did not arrive in time");
        return;
    }
    if (x->end_sent && http_conn_expired(c, x->input_ms, limits->body_timeout_ms))
        c->protocol->abort(x);
    if (x->out.bytes > 0 && http_conn_expired(c, x->output_ms, limits->write_timeout_ms))
        c->protocol->abort(x);
}

static bool http_conn_output_stuck(struct http_conn *c)
{
    uint64_t sent = net_stream_sent(c->stream);
    if (sent != c->sent_bytes || net_stream_pending(c->stream) == 0) {
        c->sent_bytes = sent;
        c->sent_ms = http_conn_now(c);
    }
    if (net_stream_pending(c->stream) == 0)
        return false;
    return http_conn_expired(c, c->sent_ms, c->server->config.limits.write_timeout_ms);
}

static void http_conn_on_timeout(struct net_stream *stream, void *arg)
{
    UNUSED(stream);
    struct http_conn *c = arg;
    const struct http_server_limits *limits = &c->server->config.limits;
    c->check_ms = 0;
    http_conn_enter(c);
    if (http_conn_output_stuck(c)) {
        http_conn_kill(c);
    } else if (c->protocol == NULL) {
        if (http_conn_expired(c, c->idle_since_ms, limits->header_timeout_ms))
            http_conn_kill(c);
    } else if (c->head_since_ms != 0) {
        if (http_conn_expired(c, c->head_since_ms, limits->header_timeout_ms))
            http_conn_close(c);
    } else if (c->serving_count == 0 &&
               http_conn_expired(c, c->idle_since_ms, limits->idle_timeout_ms)) {
        c->going_away = true;
        http_conn_wake(c);
    }
    LIST_FOREACH_SAFE (it, &c->servings)
        http_conn_check_serving(LIST_ENTRY(it, struct serving, link));
    http_conn_leave(c);
}

const struct net_stream_handler http_conn_handler = {
    .on_open = http_conn_on_open,
    .on_read = http_conn_on_read,
    .on_eof = http_conn_on_eof,
    .on_writable = http_conn_on_writable,
    .on_timeout = http_conn_on_timeout,
    .on_close = http_conn_on_close,
};

struct http_conn *http_conn_new(struct http_server *s, struct net_stream *stream)
{
    struct http_conn *c = xzalloc(sizeof(*c));
    c->server = s;
    c->stream = stream;
    c->going_away = s->stopping;
    list_init(&c->servings);
    deferred_init(&c->flush, http_conn_run_flush);
    list_push_back(&s->conns, &c->link);
    s->stats.connections++;
    s->stats.connections_total++;
    return c;
}
