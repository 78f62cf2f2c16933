/* http_response.c - answering a request, whatever the protocol; see
 * http_server.h. */
#include "lib/net/http_server_internal.h"

#include "lib/base/arena.h"
#include "lib/base/log.h"
#include "lib/net/bytes.h"
#include "lib/net/stream.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#define GZIP_MIN_BYTES ((size_t)128 << 10) /* As kube-apiserver. */
#define GZIP_LEVEL 1

static struct http_header serving_copy_header(struct arena *a, struct str name, struct str value)
{
    char *lower = arena_alloc(a, name.len + 1);
    for (size_t i = 0; i < name.len; i++)
        lower[i] = name.data[i] >= 'A' && name.data[i] <= 'Z' ? (char)(name.data[i] - 'A' + 'a')
                                                              : name.data[i];
    lower[name.len] = '\0';
    char *text = arena_alloc(a, value.len + 1);
    /* Whatever a value is made of, it cannot end the line. */
    for (size_t i = 0; i < value.len; i++)
        text[i] = value.data[i] == '\r' || value.data[i] == '\n' || value.data[i] == '\0'
                      ? ' '
                      : value.data[i];
    text[value.len] = '\0';
    return (struct http_header){str_n(lower, name.len), str_n(text, value.len)};
}

static bool http_name_is(struct str name, const char *what)
{
    return name.len == strlen(what) && strncasecmp(name.data, what, name.len) == 0;
}

static void serving_add_out_header(struct serving *x, struct http_header header)
{
    x->out_headers = arena_grow(x->r.arena, x->out_headers, x->out_header_count, &x->out_header_cap,
                                sizeof(*x->out_headers));
    x->out_headers[x->out_header_count++] = header;
}

static void serving_add_trailer(struct serving *x, struct http_header header)
{
    ASSERT(!x->ended);
    x->trailers = arena_grow(x->r.arena, x->trailers, x->trailer_count, &x->trailer_cap,
                             sizeof(*x->trailers));
    x->trailers[x->trailer_count++] = header;
}

void http_response_header_fixed(struct http_request *r, struct str name, struct str value)
{
    if (!serving_of(r)->started)
        serving_add_out_header(serving_of(r), (struct http_header){name, value});
}

void http_response_trailer_fixed(struct http_request *r, struct str name, struct str value)
{
    serving_add_trailer(serving_of(r), (struct http_header){name, value});
}

void http_response_header_str(struct http_request *r, struct str name, struct str value)
{
    struct serving *x = serving_of(r);
    if (http_name_is(name, "connection") && http_name_is(value, "close"))
        x->close_after = true;
    if (x->started || !http_header_name_valid(name) || http_header_is_hop(name) ||
        http_name_is(name, "date"))
        return;
    serving_add_out_header(x, serving_copy_header(r->arena, name, value));
}

void http_response_header(struct http_request *r, const char *name, const char *value)
{
    http_response_header_str(r, str_of(name), str_of(value));
}

void http_response_trailer(struct http_request *r, const char *name, const char *value)
{
    serving_add_trailer(serving_of(r), serving_copy_header(r->arena, str_of(name), str_of(value)));
}

bool http_response_started(const struct http_request *r)
{
    return serving_of(r)->started;
}

void http_response_start(struct http_request *r, int status, int64_t content_length)
{
    struct serving *x = serving_of(r);
    ASSERT(!x->started && x->owner == SERVING_HANDLER);
    x->started = true;
    x->status = status;
    x->out_length = content_length;
    if (x->conn != NULL)
        x->conn->protocol->output(x);
}

bool http_request_wants_messages(const struct http_request *r)
{
    return str_eqc(http_request_upgrade(r), "websocket");
}

int http_request_check_messages(const struct http_request *r, struct error *err)
{
    /* The parser takes the field of HTTP/1.1 only. */
    if (!http_request_wants_messages(r) || !str_eqc(r->method, "GET") || r->has_body)
        return error_set(err, E_INVALID, "the request asks for no WebSocket");
    if (!str_eqc(http_request_header(r, "sec-websocket-version"), "13"))
        return error_set(err, E_INVALID, "Sec-WebSocket-Version: only 13 is known");
    if (str_empty(http_request_header(r, "sec-websocket-key")))
        return error_set(err, E_INVALID, "Sec-WebSocket-Key: a key is wanted");
    return 0;
}

void http_response_start_messages(struct http_request *r, enum ws_opcode opcode,
                                  const char *subprotocol)
{
    struct serving *x = serving_of(r);
    char accept[WS_ACCEPT_LEN + 1];
    ASSERT(x->owner == SERVING_HANDLER && !x->started);
    ws_accept(http_request_header(r, "sec-websocket-key"), accept);
    http_response_header(r, "sec-websocket-accept", accept);
    if (subprotocol != NULL)
        http_response_header(r, "sec-websocket-protocol", subprotocol);
    x->messages = true;
    x->opcode = opcode;
    http_response_start(r, 101, -1);
}

/* A message begins: the bytes that follow are its only frame. */
static void begin_message(struct serving *x, size_t len)
{
    uint8_t head[WS_HEADER_MAX];
    http_out_add_copy(&x->out, head, ws_head(x->opcode, len, head));
}

/* Output was queued. */
static void serving_wrote(struct serving *x, size_t before, size_t len)
{
    x->out_total += len;
    if (before == 0)
        x->output_ms = serving_now(x);
    if (x->out.bytes > x->drain_low)
        x->drain_above = true;
    http_conn_check_by(x->conn, x->output_ms + x->r.server->config.limits.write_timeout_ms);
    x->conn->protocol->output(x);
}

void http_response_write_part(struct http_request *r, struct net_bytes *b, size_t from, size_t len)
{
    struct serving *x = serving_of(r);
    ASSERT(x->started && !x->ended);
    if (x->conn == NULL || (len == 0 && !x->messages))
        return;
    size_t before = x->out.bytes;
    if (x->messages)
        begin_message(x, len);
    if (len != 0)
        http_out_add(&x->out, b, from, len);
    serving_wrote(x, before, len);
}

void http_response_write(struct http_request *r, struct net_bytes *b)
{
    http_response_write_part(r, b, 0, b->len);
}

void http_response_write_copy(struct http_request *r, const void *data, size_t len)
{
    struct serving *x = serving_of(r);
    ASSERT(x->started && !x->ended);
    if (x->conn == NULL || (len == 0 && !x->messages))
        return;
    size_t before = x->out.bytes;
    if (x->messages)
        begin_message(x, len);
    if (len != 0)
        http_out_add_copy(&x->out, data, len);
    serving_wrote(x, before, len);
}

size_t http_response_pending(const struct http_request *r)
{
    return serving_of(r)->out.bytes;
}

size_t http_response_connection_pending(const struct http_request *r)
{
    const struct http_conn *c = serving_of(r)->conn;
    return c != NULL ? c->out_bytes : 0;
}

void http_response_on_drain(struct http_request *r, size_t low_bytes,
                            void (*cb)(struct http_request *r, void *arg), void *arg)
{
    struct serving *x = serving_of(r);
    x->on_drain = cb;
    x->drain_arg = arg;
    x->drain_low = low_bytes;
    x->drain_above = x->out.bytes > low_bytes;
}

void serving_output_moved(struct serving *x)
{
    x->output_ms = serving_now(x);
    if (!x->drain_above || x->out.bytes > x->drain_low)
        return;
    x->drain_above = false;
    if (x->on_drain != NULL)
        deferred_post(&x->r.server->queue, &x->drain);
}

void serving_run_drain(struct deferred *d)
{
    struct serving *x = CONTAINER_OF(d, struct serving, drain);
    if (x->owner != SERVING_HANDLER || x->on_drain == NULL || x->drain_above)
        return;
    serving_enter(x);
    x->on_drain(&x->r, x->drain_arg);
    serving_leave(x);
}

/* --- holds --- */

struct http_hold {
    struct list link;
    struct serving *x; /* NULL: gone. */
};

struct http_hold *http_response_hold(struct http_request *r)
{
    struct serving *x = serving_of(r);
    struct http_hold *h = xzalloc(sizeof(*h));
    h->x = x;
    list_push_back(&x->holds, &h->link);
    return h;
}

void http_hold_release(struct http_hold *h)
{
    struct serving *x = h->x;
    list_remove(&h->link);
    free(h);
    if (x != NULL && x->conn != NULL && x->started && list_empty(&x->holds))
        x->conn->protocol->output(x);
}

void serving_drop_holds(struct serving *x)
{
    for (struct list *l; (l = list_pop_front(&x->holds)) != NULL;)
        LIST_ENTRY(l, struct http_hold, link)->x = NULL;
}

/* 1xx, 204 and 304 have no body, nor does anything HEAD asks for. */
static bool serving_has_body(const struct serving *x, int status)
{
    return status >= 200 && status != 204 && status != 304 && !str_eq(x->r.method, STR("HEAD"));
}

void http_response_end(struct http_request *r)
{
    struct serving *x = serving_of(r);
    ASSERT(x->started);
    /* An answer to HEAD may tell the length of what it does not bring. */
    bool whole = x->out_total == (uint64_t)x->out_length ||
                 (x->out_total == 0 && !serving_has_body(x, x->status));
    if (x->conn != NULL && x->out_length >= 0 && !whole) {
        log_error("response to %s %s: %" PRIu64 " bytes written, %" PRId64 " declared",
                  r->method.data, r->path.data, x->out_total, x->out_length);
        http_response_abort(r);
        return;
    }
    serving_last_call(x);
}

void http_response_abort(struct http_request *r)
{
    struct serving *x = serving_of(r);
    serving_enter(x);
    x->aborted_by_us = true;
    if (x->conn != NULL)
        x->conn->protocol->abort(x);
    serving_last_call(x);
    serving_leave(x);
}

void http_respond(struct http_request *r, int status, struct str body)
{
    struct serving *x = serving_of(r);
    http_response_start(r, status, (int64_t)body.len);
    x->out_total = body.len;
    if (serving_has_body(x, status) && body.len > 0 && x->conn != NULL) {
        /* The arena lives until the response is sent: its bytes need no copy,
         * just a counted block to stand for them. */
        struct net_bytes *b = arena_alloc(r->arena, sizeof(*b));
        net_bytes_init(b, body.data, body.len, NULL);
        http_out_add(&x->out, b, 0, body.len);
        x->output_ms = serving_now(x);
    }
    serving_last_call(x);
}

void http_respond_bytes(struct http_request *r, int status, struct net_bytes *body)
{
    struct serving *x = serving_of(r);
    http_response_start(r, status, (int64_t)body->len);
    x->out_total = body->len;
    if (serving_has_body(x, status) && x->conn != NULL) {
        http_out_add(&x->out, body, 0, body->len);
        x->output_ms = serving_now(x);
    }
    serving_last_call(x);
}

void http_respond_typed(struct http_request *r, int status, const char *content_type,
                        struct net_bytes *body)
{
    http_response_header(r, "content-type", content_type);
    struct net_bytes *packed = NULL;
    if (body->len >= GZIP_MIN_BYTES && http_accepts_gzip(http_request_header(r, "accept-encoding")))
        packed = http_gzip(body->data, body->len, GZIP_LEVEL);
    if (packed != NULL) {
        http_response_header(r, "content-encoding", "gzip");
        http_response_header(r, "vary", "Accept-Encoding");
    }
    http_respond_bytes(r, status, packed != NULL ? packed : body);
    net_bytes_unref(packed);
}

int http_response_upgrade(struct http_request *r, const char *protocol,
                          const struct net_stream_handler *handler, void *handler_arg,
                          struct net_stream **ret, struct error *err)
{
    struct serving *x = serving_of(r);
    ASSERT(x->owner == SERVING_HANDLER && !x->started);
    if (x->conn == NULL)
        return error_set(err, E_INVALID, "the client is gone");
    if (str_empty(http_request_upgrade(r)) || (x->r.has_body && !x->body_done))
        return error_set(err, E_INVALID, "the request asks for no upgrade");
    serving_enter(x);
    int code = http_h1_upgrade(x, protocol, handler, handler_arg, ret, err);
    if (code == 0)
        serving_last_call(x);
    serving_leave(x);
    return code;
}
