/* http_client_h2.c - HTTP/2 connections of a client, on nghttp2. As on the
 * server's side, nghttp2's send function runs only from the flush. */
#include "lib/net/http_client_internal.h"

#include "lib/base/arena.h"
#include "lib/net/bytes.h"
#include "lib/net/stream.h"

#include <nghttp2/nghttp2.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define H2_STREAM_WINDOW (1u << 20)
#define H2_CONNECTION_WINDOW (16u << 20)

struct client_h2 {
    struct client_conn *conn;
    nghttp2_session *session;
    bool failed;
};

static struct http_call *h2_call(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

/* --- sending --- */

static ssize_t h2_on_send(nghttp2_session *session, const uint8_t *data, size_t len, int flags,
                          void *arg)
{
    UNUSED(session);
    UNUSED(flags);
    struct client_h2 *h = arg;
    if (net_stream_room(h->conn->stream) == 0)
        return NGHTTP2_ERR_WOULDBLOCK;
    net_stream_write(h->conn->stream, data, len);
    return (ssize_t)len;
}

static ssize_t h2_on_read(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t len,
                          uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    UNUSED(buf);
    UNUSED(source);
    UNUSED(arg);
    struct http_call *call = h2_call(session, stream_id);
    if (call == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t n = MIN_OF(len, call->out.bytes);
    if (n == 0 && !call->write_ended) {
        call->data_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n == call->out.bytes && call->write_ended)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static int h2_on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                           size_t len, nghttp2_data_source *source, void *arg)
{
    UNUSED(source);
    struct client_h2 *h = arg;
    struct net_stream *stream = h->conn->stream;
    struct http_call *call = h2_call(session, frame->hd.stream_id);
    if (call == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (net_stream_room(stream) == 0)
        return NGHTTP2_ERR_WOULDBLOCK;
    net_stream_write(stream, head, 9);
    while (len > 0) {
        const uint8_t *data;
        size_t n = MIN_OF(http_out_peek(&call->out, &data), len);
        net_stream_write(stream, data, n);
        call_output_moved(call, n);
        len -= n;
    }
    return 0;
}

static nghttp2_nv h2_nv(struct str name, struct str value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)str_c(name), (uint8_t *)(uintptr_t)str_c(value),
                        name.len, value.len, NGHTTP2_NV_FLAG_NONE};
}

static struct str h2_lower(struct arena *a, struct str s)
{
    char *lower = arena_memdup(a, str_c(s), s.len + 1);
    for (size_t i = 0; i < s.len; i++)
        if (lower[i] >= 'A' && lower[i] <= 'Z')
            lower[i] = (char)(lower[i] - 'A' + 'a');
    return str_n(lower, s.len);
}

static void h2_begin(struct http_call *call)
{
    struct client_conn *c = call->conn;
    const struct http_call_config *config = &call->config;
    struct arena *a = call->arena;
    nghttp2_nv *nv = ARENA_ARRAY(a, nghttp2_nv, config->header_count + 6);
    size_t count = 0;
    bool has_agent = false;
    nv[count++] = h2_nv(STR(":method"), str_of(config->method));
    nv[count++] = h2_nv(STR(":scheme"), c->client->config.tls != NULL ? STR("https") : STR("http"));
    nv[count++] = h2_nv(STR(":authority"),
                        str_of(config->authority != NULL ? config->authority : c->authority));
    nv[count++] = h2_nv(STR(":path"), str_of(config->target));
    for (size_t i = 0; i < config->header_count; i++) {
        struct str name = h2_lower(a, config->headers[i].name);
        has_agent = has_agent || str_eq(name, STR("user-agent"));
        nv[count++] = h2_nv(name, config->headers[i].value);
    }
    if (!has_agent && c->client->user_agent != NULL)
        nv[count++] = h2_nv(STR("user-agent"), str_of(c->client->user_agent));
    if (config->body != NULL)
        nv[count++] = h2_nv(STR("content-length"), arena_printf(a, "%zu", config->body->len));
    else if (config->upload && config->upload_bytes > 0)
        nv[count++] =
            h2_nv(STR("content-length"), arena_printf(a, "%" PRIu64, config->upload_bytes));
    bool has_body = config->upload || call->out.bytes > 0;
    nghttp2_data_provider provider = {.read_callback = h2_on_read};
    call->stream_id = nghttp2_submit_request(c->p.h2->session, NULL, nv, count,
                                             has_body ? &provider : NULL, call);
    if (call->stream_id < 0) {
        /* No stream numbers left, or GOAWAY has just come. */
        c->draining = true;
        call_retry(call, E_UNAVAILABLE, nghttp2_strerror(call->stream_id));
        return;
    }
}

static void h2_output(struct http_call *call)
{
    if (call->data_deferred) {
        call->data_deferred = false;
        nghttp2_session_resume_data(call->conn->p.h2->session, call->stream_id);
    }
    client_conn_wake(call->conn);
}

static bool h2_flush(struct client_conn *c)
{
    struct client_h2 *h = c->p.h2;
    if (nghttp2_session_send(h->session) != 0 || h->failed)
        return false;
    if (nghttp2_session_want_write(h->session) != 0)
        return true;
    return nghttp2_session_want_read(h->session) != 0;
}

static int h2_on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    UNUSED(arg);
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    struct http_call *call = h2_call(session, frame->hd.stream_id);
    if (call != NULL)
        call->sent = true;
    return 0;
}

/* --- receiving --- */

static int h2_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                        size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                        void *arg)
{
    UNUSED(flags);
    UNUSED(arg);
    struct http_call *call = h2_call(session, frame->hd.stream_id);
    if (call == NULL || frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    struct str n = str_n((const char *)name, name_len);
    struct str v = str_n((const char *)value, value_len);
    int64_t status;
    if (call->head_done)
        call_add_trailer(call, n, v);
    else if (!str_eq(n, STR(":status")))
        call_add_header(call, n, v);
    else if (str_to_i64(v, &status))
        call->status = (int)status;
    return 0;
}

static void h2_on_head(struct http_call *call)
{
    if (call->head_done)
        return;
    if (call->status >= 100 && call->status < 200)
        call->header_count = 0;
    else
        call_head(call, call->status, HTTP_2);
}

static int h2_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct client_h2 *h = arg;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        h->conn->draining = true;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct http_call *call = h2_call(session, frame->hd.stream_id);
    if (call == NULL)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS)
        h2_on_head(call);
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0 || call->state != CALL_ACTIVE)
        return 0;
    /* The response is complete, whatever becomes of our side of the stream. */
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, NULL);
    if (!call->write_ended || call->out.bytes > 0)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_NO_ERROR);
    call_complete(call);
    return 0;
}

static int h2_on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                      const uint8_t *data, size_t len, void *arg)
{
    UNUSED(flags);
    UNUSED(arg);
    struct http_call *call = h2_call(session, stream_id);
    if (call == NULL || call->state != CALL_ACTIVE) {
        nghttp2_session_consume(session, stream_id, len);
        return 0;
    }
    call_data(call, data, len);
    /* Forgotten meanwhile: the connection's window still wants these bytes back. */
    if (call->state != CALL_ACTIVE)
        nghttp2_session_consume_connection(session, len);
    return 0;
}

static int h2_on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                              void *arg)
{
    UNUSED(arg);
    struct http_call *call = h2_call(session, stream_id);
    if (call == NULL)
        return 0;
    nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    char text[64];
    snprintf(text, sizeof(text), "stream reset by the server: %s",
             nghttp2_http2_strerror(error_code));
    call->reset_code = error_code;
    if (call->held.len > 0)
        nghttp2_session_consume_connection(session, call->held.len);
    if (error_code == NGHTTP2_REFUSED_STREAM)
        call_retry(call, E_UNAVAILABLE, text);
    else
        call_fail(call, E_CLOSED, text);
    return 0;
}

static void h2_input(struct client_conn *c, const uint8_t *data, size_t len)
{
    struct client_h2 *h = c->p.h2;
    if (!h->failed && nghttp2_session_mem_recv(h->session, data, len) < 0) {
        h->failed = true;
        c->draining = true;
    }
}

static void h2_eof(struct client_conn *c)
{
    UNUSED(c);
}

/* --- calls that end early, windows, PING --- */

static void h2_forget(struct http_call *call)
{
    nghttp2_session *session = call->conn->p.h2->session;
    struct http_call *known = h2_call(session, call->stream_id);
    if (known != NULL && known != call)
        return;
    /* Before the request is sent there is no stream to ask, but nghttp2 keeps the pointer
     * for the time when there is one. Failure: the stream has been closed. */
    if (nghttp2_session_set_stream_user_data(session, call->stream_id, NULL) != 0)
        return;
    if (call->held.len > 0)
        nghttp2_session_consume_connection(session, call->held.len);
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, call->stream_id, NGHTTP2_CANCEL);
    client_conn_wake(call->conn);
}

static void h2_body_used(struct http_call *call, size_t n)
{
    nghttp2_session_consume(call->conn->p.h2->session, call->stream_id, n);
    client_conn_wake(call->conn);
}

static void h2_body_flow(struct http_call *call)
{
    UNUSED(call); /* Held bytes are not given back to the window: that is all it takes. */
}

static void h2_ping(struct client_conn *c)
{
    nghttp2_submit_ping(c->p.h2->session, NGHTTP2_FLAG_NONE, NULL);
}

static bool h2_has_room(const struct client_conn *c)
{
    nghttp2_session *session = c->p.h2->session;
    uint32_t max =
        nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return !c->p.h2->failed && c->call_count < max &&
           nghttp2_session_check_request_allowed(session) != 0;
}

/* --- life --- */

static nghttp2_session *h2_session_new(struct client_h2 *h)
{
    nghttp2_session_callbacks *cb;
    nghttp2_option *option;
    nghttp2_session *session = NULL;
    if (nghttp2_session_callbacks_new(&cb) != 0)
        return NULL;
    if (nghttp2_option_new(&option) != 0) {
        nghttp2_session_callbacks_del(cb);
        return NULL;
    }
    nghttp2_session_callbacks_set_on_header_callback(cb, h2_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, h2_on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, h2_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, h2_on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, h2_on_frame_sent);
    nghttp2_session_callbacks_set_send_callback(cb, h2_on_send);
    nghttp2_session_callbacks_set_send_data_callback(cb, h2_on_send_data);
    nghttp2_option_set_no_auto_window_update(option, 1);
    int rc = nghttp2_session_client_new2(&session, cb, h, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    return rc == 0 ? session : NULL;
}

bool client_h2_start(struct client_conn *c)
{
    struct client_h2 *h = xzalloc(sizeof(*h));
    h->conn = c;
    h->session = h2_session_new(h);
    if (h->session == NULL) {
        free(h);
        return false;
    }
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
         (uint32_t)MIN_OF(c->client->config.header_bytes_max, (size_t)UINT32_MAX)},
    };
    nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings));
    nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, H2_CONNECTION_WINDOW);
    c->p.h2 = h;
    return true;
}

static void h2_free(struct client_conn *c)
{
    struct client_h2 *h = c->p.h2;
    nghttp2_session_del(h->session);
    free(h);
}

const struct client_protocol client_protocol_h2 = {
    .begin = h2_begin,
    .output = h2_output,
    .forget = h2_forget,
    .body_used = h2_body_used,
    .body_flow = h2_body_flow,
    .flush = h2_flush,
    .input = h2_input,
    .eof = h2_eof,
    .ping = h2_ping,
    .has_room = h2_has_room,
    .free = h2_free,
};
