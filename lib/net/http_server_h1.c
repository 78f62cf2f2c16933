/* http_server_h1.c - HTTP/1.x connections of a server.
 *
 * One request at a time: bytes of the next wait in `rest` until the response
 * of the one before is written (pipelining, correct but not concurrent). */
#include "lib/net/http_server_internal.h"

#include "lib/net/http1_parser.h"
#include "lib/net/stream.h"

#include <inttypes.h>
#include <strings.h>

#define H1_REST_MAX ((size_t)64 << 10) /* Beyond, reading stops. */
#define H1_CHUNK_MAX ((size_t)64 << 10)

struct http_h1 {
    struct http_conn *conn;
    struct http1_parser *parser;
    struct serving *x; /* The request being received or answered. */
    struct buf target, field, value;
    bool has_field;    /* field and value hold a header that is not stored yet. */
    size_t head_bytes; /* Of this message, trailers too. */
    int refuse_status; /* Why a callback stopped the parser. */
    struct buf rest;
    bool complete;  /* x has arrived whole. */
    bool upgrading; /* And what follows may be another protocol. */
    bool keep_alive;
    bool chunked;                   /* The response is. */
    bool no_body;                   /* The response has none. */
    bool end_written;               /* The response is in the stream. */
    bool failed;                    /* Malformed input: nothing more is read. */
    struct ws_parser ws;            /* What the client of a response in messages says. */
    int close_code;                 /* It wants to end, or must: said behind what is queued. */
    bool rest_full;                 /* Reading stopped because of H1_REST_MAX. */
    struct net_stream *handed_over; /* After an upgrade. */
};

/* --- receiving --- */

static int h1_count_head(struct http_h1 *h, size_t n)
{
    h->head_bytes += n;
    if (h->head_bytes <= h->conn->server->config.limits.header_bytes_max)
        return 0;
    h->refuse_status = 431;
    return -1;
}

static int h1_on_target(void *arg, const char *p, size_t n)
{
    struct http_h1 *h = arg;
    buf_append(&h->target, p, n);
    return h1_count_head(h, n);
}

static void h1_lower(struct buf *b)
{
    for (size_t i = 0; i < b->len; i++)
        if (b->data[i] >= 'A' && b->data[i] <= 'Z')
            b->data[i] = (uint8_t)(b->data[i] - 'A' + 'a');
}

/* Stores the header whose value has ended. Trailers are read and dropped. */
static void h1_store_field(struct http_h1 *h)
{
    if (!h->has_field)
        return;
    h->has_field = false;
    if (h->x != NULL && !h->x->head_told) {
        h1_lower(&h->field);
        serving_add_header(h->x, buf_str(&h->field), buf_str(&h->value));
    }
    buf_clear(&h->field);
    buf_clear(&h->value);
}

static int h1_on_field(void *arg, const char *p, size_t n)
{
    struct http_h1 *h = arg;
    if (h->x == NULL && h->handed_over == NULL)
        h->x = serving_new(h->conn);
    h1_store_field(h);
    buf_append(&h->field, p, n);
    return h1_count_head(h, n);
}

static int h1_on_value(void *arg, const char *p, size_t n)
{
    struct http_h1 *h = arg;
    h->has_field = true;
    buf_append(&h->value, p, n);
    return h1_count_head(h, n + 4);
}

/* What the parser leaves to us. */
static void h1_judge_head(struct serving *x, const struct http1_head *head)
{
    size_t hosts = 0;
    for (size_t i = 0; i < x->r.header_count; i++)
        hosts += str_eq(x->headers[i].name, STR("host"));
    if (hosts > 1 || (hosts == 0 && head->minor >= 1))
        x->reject_status = 400;
    struct str coding = http_request_header(&x->r, "transfer-encoding");
    if (coding.data != NULL && (coding.len != 7 || strncasecmp(coding.data, "chunked", 7) != 0))
        x->reject_status = 501;
    struct str expect = http_request_header(&x->r, "expect");
    if (expect.data != NULL &&
        (expect.len != 12 || strncasecmp(expect.data, "100-continue", 12) != 0))
        x->reject_status = 417;
}

static int h1_on_head(void *arg, const struct http1_head *head)
{
    struct http_h1 *h = arg;
    struct http_conn *c = h->conn;
    if (h->x == NULL) /* A request without any field. */
        h->x = serving_new(c);
    h1_store_field(h);
    struct serving *x = h->x;
    c->head_since_ms = 0;
    x->r.method = head->method;
    x->r.version = head->minor >= 1 ? HTTP_1_1 : HTTP_1_0;
    x->r.content_length = head->content_length;
    x->r.has_body = head->chunked || head->content_length > 0;
    h->keep_alive = head->keep_alive;
    h->upgrading = head->upgrade;
    h->chunked = h->no_body = h->end_written = false;
    if (x->reject_status == 0)
        h1_judge_head(x, head);
    serving_set_target(x, buf_str(&h->target));
    buf_clear(&h->target);
    bool expects = x->r.version == HTTP_1_1 && http_request_header(&x->r, "expect").data != NULL;
    if (x->reject_status != 0)
        h->keep_alive = false;
    serving_head_done(x);
    if (h->handed_over == NULL && expects && serving_wants_body(x) && c->stream != NULL) {
        static const char CONTINUE[] = "HTTP/1.1 100 Continue\r\n\r\n";
        net_stream_write(c->stream, CONTINUE, sizeof(CONTINUE) - 1);
    }
    return 0;
}

static int h1_on_body(void *arg, const char *p, size_t n)
{
    struct http_h1 *h = arg;
    if (h->x != NULL)
        serving_body_data(h->x, (const uint8_t *)p, n);
    return 0;
}

static int h1_on_complete(void *arg)
{
    struct http_h1 *h = arg;
    h->has_field = false;
    buf_done(&h->field);
    buf_done(&h->value);
    buf_done(&h->target);
    h->complete = true;
    http1_parser_pause(h->parser);
    if (h->x != NULL)
        serving_body_done(h->x);
    return 0;
}

static const struct http1_parser_callbacks H1_CALLBACKS = {
    .on_target = h1_on_target,
    .on_field = h1_on_field,
    .on_value = h1_on_value,
    .on_head = h1_on_head,
    .on_body = h1_on_body,
    .on_complete = h1_on_complete,
};

/* Answers input that is no request, or no tolerable one, and closes. */
static void h1_refuse(struct http_h1 *h, int status, const char *text)
{
    struct http_conn *c = h->conn;
    h->failed = true;
    h->keep_alive = false;
    if (h->x != NULL && h->x->head_told) {
        /* Malformed within the body. */
        serving_reject(h->x, status, text);
        return;
    }
    AUTO_BUF body = BUF_INIT;
    AUTO_BUF head = BUF_INIT;
    const char *content_type;
    serving_error_body(c->server, NULL, status, text, &body, &content_type);
    buf_printf(&head,
               "HTTP/1.1 %d %s\r\ndate: %s\r\ncontent-type: %s\r\ncontent-length: %zu\r\n"
               "connection: close\r\n\r\n",
               status, http_status_text(status), http_server_date(c->server), content_type,
               body.len);
    net_stream_write(c->stream, head.data, head.len);
    net_stream_write(c->stream, body.data, body.len);
    http_conn_close(c);
}

static void h1_keep_rest(struct http_h1 *h, const uint8_t *data, size_t len)
{
    buf_append(&h->rest, data, len);
    if (h->rest.len <= H1_REST_MAX || h->rest_full || h->conn->stream == NULL)
        return;
    h->rest_full = true;
    net_stream_pause(h->conn->stream);
}

static void h1_parse(struct http_h1 *h, const uint8_t *data, size_t len)
{
    struct http_conn *c = h->conn;
    size_t used = 0;
    if (h->x == NULL && c->head_since_ms == 0 && len > 0) {
        c->head_since_ms = http_conn_now(c);
        h->head_bytes = 0;
        http_conn_check_by(c, c->head_since_ms + c->server->config.limits.header_timeout_ms);
    }
    enum http1_result result = http1_parser_feed(h->parser, data, len, &used);
    if (h->handed_over != NULL) {
        if (used < len)
            net_stream_unread(h->handed_over, data + used, len - used);
        return;
    }
    switch (result) {
    case HTTP1_MORE:
        break;
    case HTTP1_PAUSED:
    case HTTP1_UPGRADE:
        http1_parser_resume(h->parser);
        h1_keep_rest(h, data + used, len - used);
        break;
    case HTTP1_STOPPED:
        h1_refuse(h, h->refuse_status, "the request header fields are too large");
        break;
    case HTTP1_ERROR:
        h1_refuse(h, 400, http1_parser_error(h->parser));
        break;
    }
}

/* --- messages ---
 *
 * Frames stand in the response's queue whole, so that what is said in between is one more piece of
 * that queue. */

#define H1_PONGS_MAX ((size_t)256 << 10) /* With more waiting, pings get no answers. */

static void h1_write_close(struct http_h1 *h, int code)
{
    uint8_t frame[WS_HEADER_MAX + 2];
    size_t head = ws_head(WS_CLOSE, 2, frame);
    frame[head] = (uint8_t)(code >> 8);
    frame[head + 1] = (uint8_t)code;
    net_stream_write(h->conn->stream, frame, head + 2);
}

static void h1_ws_data(void *arg, const uint8_t *data, size_t len, bool first, bool last)
{
    UNUSED(arg);
    UNUSED(data);
    UNUSED(len);
    UNUSED(first);
    UNUSED(last);
}

static void h1_ws_ping(void *arg, const uint8_t *data, size_t len)
{
    struct http_h1 *h = arg;
    uint8_t head[WS_HEADER_MAX];
    if (h->x->ended || h->x->out.bytes >= H1_PONGS_MAX)
        return;
    http_out_add_copy(&h->x->out, head, ws_head(WS_PONG, len, head));
    http_out_add_copy(&h->x->out, data, len);
    http_conn_wake(h->conn);
}

static void h1_ws_close(void *arg, int code)
{
    struct http_h1 *h = arg;
    UNUSED(code);
    h->close_code = WS_CLOSE_NORMAL;
}

/* The client's side; its end, or nonsense, is that of the connection. */
static void h1_listen(struct http_h1 *h, const uint8_t *data, size_t len)
{
    static const struct ws_events events = {
        .on_data = h1_ws_data, .on_ping = h1_ws_ping, .on_close = h1_ws_close};
    struct error err = {0};
    if (h->x == NULL || h->close_code != 0)
        return;
    if (ws_parser_feed(&h->ws, data, len, &events, h, &err) != 0)
        h->close_code = WS_CLOSE_PROTOCOL;
    if (h->close_code != 0)
        http_conn_wake(h->conn);
}

static void h1_input(struct http_conn *c, const uint8_t *data, size_t len)
{
    struct http_h1 *h = c->p.h1;
    if (h->failed)
        return;
    if (h->x != NULL && h->x->messages && h->rest.len == 0)
        h1_listen(h, data, len);
    else if (h->complete || h->rest.len > 0)
        h1_keep_rest(h, data, len);
    else
        h1_parse(h, data, len);
}

static void h1_eof(struct http_conn *c)
{
    struct http_h1 *h = c->p.h1;
    /* A client may end its direction as soon as it has asked; one that leaves
     * while the handler works or a body is due has gone. */
    if (h->x != NULL && h->complete && h->x->owner == SERVING_NOBODY) {
        h->keep_alive = false;
        http_conn_wake(c);
        return;
    }
    http_conn_close(c);
}

/* --- answering --- */

static void h1_write_fields(const struct serving *x, struct buf *b)
{
    for (size_t i = 0; i < x->out_header_count; i++) {
        buf_append_str(b, x->out_headers[i].name);
        buf_puts(b, ": ");
        buf_append_str(b, x->out_headers[i].value);
        buf_puts(b, "\r\n");
    }
}

static void h1_write_head(struct http_h1 *h, struct serving *x)
{
    struct http_conn *c = h->conn;
    AUTO_BUF b = BUF_INIT;
    if (x->messages) {
        h->keep_alive = false; /* It ends with the response. */
        h->no_body = h->chunked = false;
        buf_puts(&b, "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n"
                     "upgrade: websocket\r\n");
        h1_write_fields(x, &b);
        buf_puts(&b, "\r\n");
        net_stream_write(c->stream, b.data, b.len);
        x->head_sent = true;
        return;
    }
    h->no_body =
        x->status < 200 || x->status == 204 || x->status == 304 || str_eq(x->r.method, STR("HEAD"));
    h->chunked = !h->no_body && x->out_length < 0 && x->r.version == HTTP_1_1;
    if (!h->no_body && x->out_length < 0 && !h->chunked)
        h->keep_alive = false; /* The end of the connection ends the body. */
    if (!h->complete || c->going_away || h->failed || x->close_after)
        h->keep_alive = false; /* Nobody knows how long the rest of the body is. */
    buf_printf(&b, "HTTP/1.1 %d %s\r\n", x->status, http_status_text(x->status));
    h1_write_fields(x, &b);
    buf_printf(&b, "date: %s\r\n", http_server_date(c->server));
    if (h->chunked)
        buf_puts(&b, "transfer-encoding: chunked\r\n");
    else if (x->out_length >= 0 && x->status >= 200 && x->status != 204)
        buf_printf(&b, "content-length: %" PRId64 "\r\n", x->out_length);
    if (!h->keep_alive)
        buf_puts(&b, "connection: close\r\n");
    else if (x->r.version == HTTP_1_0)
        buf_puts(&b, "connection: keep-alive\r\n");
    buf_puts(&b, "\r\n");
    net_stream_write(c->stream, b.data, b.len);
    x->head_sent = true;
}

static void h1_write_end(struct http_h1 *h, struct serving *x)
{
    AUTO_BUF b = BUF_INIT;
    h->end_written = true;
    if (x->messages)
        h1_write_close(h, WS_CLOSE_NORMAL);
    if (!h->chunked)
        return;
    buf_puts(&b, "0\r\n");
    for (size_t i = 0; i < x->trailer_count; i++) {
        buf_append_str(&b, x->trailers[i].name);
        buf_puts(&b, ": ");
        buf_append_str(&b, x->trailers[i].value);
        buf_puts(&b, "\r\n");
    }
    buf_puts(&b, "\r\n");
    net_stream_write(h->conn->stream, b.data, b.len);
}

/* Moves queued output into the stream while there is room. */
static void h1_pump(struct http_h1 *h, struct serving *x)
{
    struct net_stream *stream = h->conn->stream;
    const uint8_t *data;
    size_t len;
    bool moved = false;
    if (h->no_body && x->out.bytes > 0) {
        http_out_clear(&x->out);
        moved = true;
    }
    for (size_t room;
         (room = net_stream_room(stream)) > 0 && (len = http_out_peek(&x->out, &data)) > 0;
         moved = true) {
        len = MIN_OF(MIN_OF(len, room), H1_CHUNK_MAX);
        char line[24];
        if (h->chunked)
            net_stream_write(stream, line, (size_t)snprintf(line, sizeof(line), "%zx\r\n", len));
        http_out_pass(&x->out, stream, len);
        if (h->chunked)
            net_stream_write(stream, "\r\n", 2);
    }
    if (moved)
        serving_output_moved(x);
    if (x->ended && x->out.bytes == 0 && !h->end_written)
        h1_write_end(h, x);
}

/* The response is written. Returns false if the connection ends with it. */
static bool h1_finish(struct http_h1 *h)
{
    struct http_conn *c = h->conn;
    bool keep = h->keep_alive && h->complete && !c->going_away;
    struct serving *x = h->x;
    h->x = NULL;
    h->complete = false;
    serving_detach(x, true);
    if (!keep)
        return false;
    if (h->rest.len > 0) {
        AUTO_BUF rest = h->rest;
        h->rest = BUF_INIT;
        h1_parse(h, rest.data, rest.len);
    }
    if (h->rest_full && h->rest.len <= H1_REST_MAX && c->stream != NULL) {
        h->rest_full = false;
        net_stream_resume(c->stream);
    }
    return true;
}

static bool h1_flush(struct http_conn *c)
{
    struct http_h1 *h = c->p.h1;
    struct serving *x = h->x;
    if (x != NULL && x->started && list_empty(&x->holds)) {
        if (!x->head_sent)
            h1_write_head(h, x);
        if (x->messages && h->rest.len > 0) {
            AUTO_BUF rest = h->rest;
            h->rest = BUF_INIT;
            h1_listen(h, rest.data, rest.len);
        }
        h1_pump(h, x);
        if (h->end_written)
            return h1_finish(h);
        if (h->close_code != 0 && x->out.bytes == 0 && !h->failed) {
            h1_write_close(h, h->close_code);
            h->failed = true;
            return false;
        }
    }
    return !(c->going_away && h->x == NULL);
}

static void h1_output(struct serving *x)
{
    http_conn_wake(x->conn);
}

static void h1_abort(struct serving *x)
{
    http_conn_kill(x->conn);
}

static void h1_replace(struct serving *x, struct serving *y)
{
    x->conn->p.h1->x = y;
}

static void h1_body_used(struct serving *x, size_t n)
{
    UNUSED(x);
    UNUSED(n);
}

static void h1_body_flow(struct serving *x)
{
    struct http_conn *c = x->conn;
    if (c->stream == NULL || c->p.h1->complete)
        return;
    if (x->paused)
        net_stream_pause(c->stream);
    else
        net_stream_resume(c->stream);
}

/* --- upgrade --- */

int http_h1_upgrade(struct serving *x, const char *protocol,
                    const struct net_stream_handler *handler, void *arg, struct net_stream **ret,
                    struct error *err)
{
    struct http_conn *c = x->conn;
    if (c->protocol != &http_protocol_h1)
        return error_set(err, E_INVALID, "only HTTP/1.1 connections can be upgraded");
    struct http_h1 *h = c->p.h1;
    struct net_stream *stream = c->stream;
    if (!h->upgrading || stream == NULL || !net_stream_is_open(stream) || c->closing)
        return error_set(err, E_INVALID, "the connection cannot be upgraded");
    AUTO_BUF b = BUF_INIT;
    buf_printf(&b, "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: %s\r\n",
               protocol);
    h1_write_fields(x, &b);
    buf_puts(&b, "\r\n");
    net_stream_write(stream, b.data, b.len);
    net_stream_set_timeout(stream, 0);
    net_stream_set_handler(stream, handler, arg);
    if (h->rest.len > 0)
        net_stream_unread(stream, h->rest.data, h->rest.len);
    net_stream_resume(stream);
    http_conn_enter(c);
    h->x = NULL;
    h->handed_over = stream;
    x->started = true;
    serving_detach(x, true);
    http_conn_detach_stream(c);
    http_conn_leave(c);
    *ret = stream;
    return 0;
}

/* --- life --- */

void http_h1_start(struct http_conn *c)
{
    struct http_h1 *h = xzalloc(sizeof(*h));
    h->conn = c;
    h->parser = http1_parser_new(true, &H1_CALLBACKS, h);
    c->p.h1 = h;
}

static void h1_free(struct http_conn *c)
{
    struct http_h1 *h = c->p.h1;
    http1_parser_free(h->parser);
    buf_done(&h->target);
    buf_done(&h->field);
    buf_done(&h->value);
    buf_done(&h->rest);
    free(h);
}

const struct http_protocol http_protocol_h1 = {
    .output = h1_output,
    .abort = h1_abort,
    .replace = h1_replace,
    .body_used = h1_body_used,
    .body_flow = h1_body_flow,
    .flush = h1_flush,
    .input = h1_input,
    .eof = h1_eof,
    .free = h1_free,
};
