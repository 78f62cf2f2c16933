/* http_client_h1.c - HTTP/1.1 connections of a client: one call at a time. */
#include "lib/net/http_client_internal.h"

#include "lib/net/http1_parser.h"
#include "lib/net/stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define H1_CHUNK_MAX ((size_t)64 << 10)

struct client_h1 {
    struct client_conn *conn;
    struct http1_parser *parser;
    struct http_call *call; /* NULL: idle, or the call was forgotten. */
    struct buf field, value;
    bool has_field;
    bool chunked; /* The request's body is. */
    bool ended;   /* The request is in the stream whole. */
    bool interim; /* The head just read is a 1xx. */
    bool keep_alive;
    bool in_body; /* Fields from here on are trailers. */
    bool broken;  /* The connection cannot be used after this call. */
    struct net_stream *handed_over;
};

/* --- sending --- */

static void h1_put_header(struct buf *b, struct str name, struct str value)
{
    buf_append_str(b, name);
    buf_puts(b, ": ");
    buf_append_str(b, value);
    buf_puts(b, "\r\n");
}

static bool h1_name_is(struct str name, const char *what)
{
    return name.len == strlen(what) && strncasecmp(name.data, what, name.len) == 0;
}

static void h1_begin(struct http_call *call)
{
    struct client_conn *c = call->conn;
    struct client_h1 *h = c->p.h1;
    const struct http_call_config *config = &call->config;
    AUTO_BUF b = BUF_INIT;
    bool has_agent = false;
    h->call = call;
    h->chunked = config->upload && config->upload_bytes == 0;
    h->ended = h->in_body = h->interim = false;
    buf_printf(&b, "%s %s HTTP/1.1\r\nhost: %s\r\n", config->method, config->target,
               config->authority != NULL ? config->authority : c->authority);
    for (size_t i = 0; i < config->header_count; i++) {
        h1_put_header(&b, config->headers[i].name, config->headers[i].value);
        has_agent = has_agent || h1_name_is(config->headers[i].name, "user-agent");
    }
    if (!has_agent && c->client->user_agent != NULL)
        h1_put_header(&b, STR("user-agent"), str_of(c->client->user_agent));
    bool may_have_body = strcmp(config->method, "GET") != 0 && strcmp(config->method, "HEAD") != 0;
    if (h->chunked)
        buf_puts(&b, "transfer-encoding: chunked\r\n");
    else if (config->upload)
        buf_printf(&b, "content-length: %" PRIu64 "\r\n", config->upload_bytes);
    else if (call->out.bytes > 0 || may_have_body)
        buf_printf(&b, "content-length: %zu\r\n", call->out.bytes);
    buf_puts(&b, "\r\n");
    net_stream_write(c->stream, b.data, b.len);
    call->sent = true;
}

static bool h1_flush(struct client_conn *c)
{
    struct client_h1 *h = c->p.h1;
    struct http_call *call = h->call;
    if (call == NULL)
        return !h->broken;
    const uint8_t *data;
    size_t len;
    for (size_t room;
         (room = net_stream_room(c->stream)) > 0 && (len = http_out_peek(&call->out, &data)) > 0;) {
        len = MIN_OF(MIN_OF(len, room), H1_CHUNK_MAX);
        char line[24];
        if (h->chunked)
            net_stream_write(c->stream, line, (size_t)snprintf(line, sizeof(line), "%zx\r\n", len));
        net_stream_write(c->stream, data, len);
        if (h->chunked)
            net_stream_write(c->stream, "\r\n", 2);
        call_output_moved(call, len);
    }
    if (call->write_ended && call->out.bytes == 0 && !h->ended) {
        h->ended = true;
        if (h->chunked)
            net_stream_write(c->stream, "0\r\n\r\n", 5);
    }
    return true;
}

/* --- receiving --- */

static void h1_store_field(struct client_h1 *h)
{
    if (!h->has_field)
        return;
    h->has_field = false;
    for (size_t i = 0; i < h->field.len; i++)
        if (h->field.data[i] >= 'A' && h->field.data[i] <= 'Z')
            h->field.data[i] = (uint8_t)(h->field.data[i] - 'A' + 'a');
    if (h->call != NULL && h->in_body)
        call_add_trailer(h->call, buf_str(&h->field), buf_str(&h->value));
    else if (h->call != NULL)
        call_add_header(h->call, buf_str(&h->field), buf_str(&h->value));
    buf_clear(&h->field);
    buf_clear(&h->value);
}

/* One field may not outgrow what all may hold together. */
static int h1_check_size(const struct client_h1 *h)
{
    return h->field.len + h->value.len > h->conn->client->config.header_bytes_max ? -1 : 0;
}

static int h1_on_target(void *arg, const char *p, size_t n)
{
    UNUSED(arg);
    UNUSED(p);
    UNUSED(n);
    return -1;
}

static int h1_on_field(void *arg, const char *p, size_t n)
{
    struct client_h1 *h = arg;
    h1_store_field(h);
    buf_append(&h->field, p, n);
    return h1_check_size(h);
}

static int h1_on_value(void *arg, const char *p, size_t n)
{
    struct client_h1 *h = arg;
    h->has_field = true;
    buf_append(&h->value, p, n);
    return h1_check_size(h);
}

static int h1_on_head(void *arg, const struct http1_head *head)
{
    struct client_h1 *h = arg;
    struct http_call *call = h->call;
    h1_store_field(h);
    h->interim = head->status >= 100 && head->status < 200 && head->status != 101;
    if (call == NULL)
        return -1;
    if (h->interim) {
        call->header_count = 0;
        return 0;
    }
    h->keep_alive = head->keep_alive;
    h->in_body = true;
    call_head(call, head->status, head->minor >= 1 ? HTTP_1_1 : HTTP_1_0);
    if (head->status == 101 && (!call->config.upgrade || call->config.on_upgrade == NULL))
        return -1;
    bool no_body =
        head->status == 204 || head->status == 304 || strcmp(call->config.method, "HEAD") == 0;
    return no_body ? HTTP1_NO_BODY : 0;
}

static int h1_on_body(void *arg, const char *p, size_t n)
{
    struct client_h1 *h = arg;
    if (h->call != NULL)
        call_data(h->call, (const uint8_t *)p, n);
    return h->call == NULL ? -1 : 0;
}

/* The stream goes to whoever asked for the upgrade. */
static void h1_hand_over(struct client_h1 *h)
{
    struct client_conn *c = h->conn;
    struct http_call *call = h->call;
    h->handed_over = c->stream;
    h->call = NULL;
    net_stream_set_timeout(c->stream, 0);
    client_conn_hand_over(c);
    call->config.on_upgrade(call, h->handed_over, call->config.arg);
    call_complete(call);
}

static int h1_on_complete(void *arg)
{
    struct client_h1 *h = arg;
    struct http_call *call = h->call;
    if (h->interim || call == NULL)
        return 0;
    h1_store_field(h);
    buf_done(&h->field);
    buf_done(&h->value);
    http1_parser_pause(h->parser);
    if (call->status == 101) {
        h1_hand_over(h);
        return 0;
    }
    h->broken = !h->keep_alive || !h->ended;
    h->call = NULL;
    h->in_body = false;
    if (call->paused)
        net_stream_resume(h->conn->stream); /* What is held back is the call's, not ours. */
    call_complete(call);
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

static void h1_fail(struct client_h1 *h, const char *text)
{
    h->broken = true;
    h->conn->draining = true;
    if (h->call != NULL)
        call_fail(h->call, E_INVALID, text);
    client_conn_kill(h->conn, E_INVALID, text);
}

static void h1_input(struct client_conn *c, const uint8_t *data, size_t len)
{
    struct client_h1 *h = c->p.h1;
    if (h->call == NULL) {
        /* Nothing was asked: whatever this is, the connection is spoilt. */
        h->broken = true;
        client_conn_kill(c, E_INVALID, "the server sent an answer to no question");
        return;
    }
    size_t used = 0;
    enum http1_result result = http1_parser_feed(h->parser, data, len, &used);
    if (h->handed_over != NULL) {
        if (used < len)
            net_stream_unread(h->handed_over, data + used, len - used);
        return;
    }
    if (result == HTTP1_PAUSED || result == HTTP1_UPGRADE) {
        http1_parser_resume(h->parser);
        if (used < len)
            h->broken = true;
    } else if (result == HTTP1_STOPPED && h->call != NULL) {
        h1_fail(h, "the response is not acceptable");
    } else if (result == HTTP1_ERROR) {
        h1_fail(h, http1_parser_error(h->parser));
    }
    if (h->broken)
        c->draining = true;
}

static void h1_eof(struct client_conn *c)
{
    struct client_h1 *h = c->p.h1;
    h->broken = true;
    if (h->call != NULL && h->in_body)
        http1_parser_finish(h->parser); /* Completes a body without a length. */
}

static void h1_output(struct http_call *call)
{
    client_conn_wake(call->conn);
}

static void h1_forget(struct http_call *call)
{
    struct client_conn *c = call->conn;
    c->p.h1->call = NULL;
    c->p.h1->broken = true;
    c->draining = true;
    client_conn_kill(c, E_CANCELED, "canceled");
}

static void h1_body_used(struct http_call *call, size_t n)
{
    UNUSED(call);
    UNUSED(n);
}

static void h1_body_flow(struct http_call *call)
{
    if (call->conn->stream == NULL)
        return;
    if (call->paused)
        net_stream_pause(call->conn->stream);
    else
        net_stream_resume(call->conn->stream);
}

static bool h1_has_room(const struct client_conn *c)
{
    return c->call_count == 0 && c->p.h1->call == NULL && !c->p.h1->broken;
}

void client_h1_start(struct client_conn *c)
{
    struct client_h1 *h = xzalloc(sizeof(*h));
    h->conn = c;
    h->parser = http1_parser_new(false, &H1_CALLBACKS, h);
    c->p.h1 = h;
}

static void h1_free(struct client_conn *c)
{
    struct client_h1 *h = c->p.h1;
    http1_parser_free(h->parser);
    buf_done(&h->field);
    buf_done(&h->value);
    free(h);
}

const struct client_protocol client_protocol_h1 = {
    .begin = h1_begin,
    .output = h1_output,
    .forget = h1_forget,
    .body_used = h1_body_used,
    .body_flow = h1_body_flow,
    .flush = h1_flush,
    .input = h1_input,
    .eof = h1_eof,
    .ping = NULL,
    .has_room = h1_has_room,
    .free = h1_free,
};
