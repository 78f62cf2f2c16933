/* http_server_h2.c - HTTP/2 connections of a server, on nghttp2.
 *
 * nghttp2 frames, orders and accounts; requests and bodies are ours. Its send
 * function runs only from h2_flush(), so that no nghttp2 callback re-enters
 * it. DATA payloads go from the shared blocks straight into the stream. */
#include "lib/net/http_server_internal.h"

#include "lib/base/arena.h"
#include "lib/net/stream.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <strings.h>

/* CVE-2024-27316: a header block may not be cut into endless pieces. */
#define H2_CONTINUATIONS_MAX 128
/* CVE-2023-44487, "rapid reset": how often a client may take back requests. */
#define H2_RESETS_BURST 1000
#define H2_RESETS_PER_S 33
/* RFC 9113, 8.1 lets a server reset a stream whose body it no longer wants; some
 * clients then lose the response, so they get the time to stop by themselves. */
#define H2_LATE_BODY_MAX (1u << 20)
#define H2_HEAD 9u /* Of a frame. */
/* A large DATA frame with its head is one TLS record, encrypted where it stands. */
#define H2_RECORD (HTTP_FRAME_BYTES + H2_HEAD)
#define H2_RECORD_MIN ((size_t)8 << 10)

struct http_h2 {
    struct http_conn *conn;
    nghttp2_session *session;
    struct list due; /* Servings with news for h2_flush(). */
    unsigned continuations;
    double reset_tokens;
    uint64_t reset_ms;
    bool going_away; /* GOAWAY is submitted. */
    bool failed;     /* The session is of no more use than to say goodbye. */
};

static struct serving *h2_serving(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

/* --- receiving --- */

static int h2_on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *arg)
{
    UNUSED(session);
    struct http_h2 *h = arg;
    if (hd->type != NGHTTP2_CONTINUATION)
        h->continuations = 0;
    else if (++h->continuations > H2_CONTINUATIONS_MAX)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return 0;
}

static int h2_on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http_h2 *h = arg;
    struct http_conn *c = h->conn;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct serving *x = serving_new(c);
    x->stream_id = frame->hd.stream_id;
    x->r.version = HTTP_2;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, x);
    http_conn_check_by(c, http_conn_now(c) + c->server->config.limits.header_timeout_ms);
    return 0;
}

static void h2_pseudo_header(struct serving *x, struct str name, struct str value)
{
    x->header_bytes += name.len + value.len + 32; /* RFC 9113's reckoning. */
    if (x->header_bytes > x->r.server->config.limits.header_bytes_max)
        x->reject_status = 431;
    else if (str_eq(name, STR(":method")))
        x->r.method = arena_str(x->r.arena, value);
    else if (str_eq(name, STR(":path")))
        serving_set_target(x, value);
    else if (str_eq(name, STR(":authority")))
        x->r.authority = arena_str(x->r.arena, value);
}

static int h2_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                        size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                        void *arg)
{
    UNUSED(flags);
    UNUSED(arg);
    struct serving *x = h2_serving(session, frame->hd.stream_id);
    struct str n = str_n((const char *)name, name_len);
    struct str v = str_n((const char *)value, value_len);
    if (x == NULL || frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    if (x->head_told) { /* Trailers are judged and dropped. */
        h2_rules_trailer(&x->rules, n, v);
        return 0;
    }
    h2_rules_field(&x->rules, n, v);
    if (x->rules.malformed)
        return 0;
    if (name_len > 0 && name[0] == ':')
        h2_pseudo_header(x, n, v);
    else
        serving_add_header(x, n, v);
    return 0;
}

/* The request is malformed: its handler, if it has one, sees the client go. */
static void h2_refuse(struct http_h2 *h, struct serving *x)
{
    x->refused = true;
    nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, x->stream_id, NGHTTP2_PROTOCOL_ERROR);
}

static void h2_head_done(struct http_h2 *h, struct serving *x, bool end)
{
    int32_t id = x->stream_id;
    if (!h2_rules_head(&x->rules) || (end && !h2_rules_end(&x->rules))) {
        x->head_told = true;
        h2_refuse(h, x);
        return;
    }
    int64_t length;
    if (str_to_i64(http_request_header(&x->r, "content-length"), &length) && length >= 0)
        x->r.content_length = length;
    else if (end)
        x->r.content_length = 0;
    x->r.has_body = !end;
    struct str expect = http_request_header(&x->r, "expect");
    bool expects = expect.len == 12 && strncasecmp(expect.data, "100-continue", 12) == 0;
    serving_head_done(x);
    if (h2_serving(h->session, id) != x)
        return;
    if (expects && serving_wants_body(x)) {
        static const nghttp2_nv CONTINUE[] = {
            {(uint8_t *)":status", (uint8_t *)"100", 7, 3, NGHTTP2_NV_FLAG_NONE}};
        nghttp2_submit_headers(h->session, NGHTTP2_FLAG_NONE, id, NULL, CONTINUE, 1, NULL);
    }
    if (end)
        serving_body_done(x);
}

static int h2_count_reset(struct http_h2 *h)
{
    uint64_t now = http_conn_now(h->conn);
    h->reset_tokens += (double)(now - h->reset_ms) / 1000 * H2_RESETS_PER_S;
    h->reset_tokens = MIN_OF(h->reset_tokens, (double)H2_RESETS_BURST);
    h->reset_ms = now;
    if (h->reset_tokens >= 1) {
        h->reset_tokens -= 1;
        return 0;
    }
    return nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

static int h2_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    struct http_h2 *h = arg;
    bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_RST_STREAM)
        return h2_count_reset(h);
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct serving *x = h2_serving(session, frame->hd.stream_id);
    if (x == NULL || x->refused)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        h2_head_done(h, x, end);
    else if (frame->hd.type == NGHTTP2_HEADERS && !end)
        h2_refuse(h, x); /* Trailers that end nothing. */
    else if (end && !h2_rules_end(&x->rules))
        h2_refuse(h, x);
    else if (end)
        serving_body_done(x);
    return 0;
}

static void h2_abort(struct serving *x);

static int h2_on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                      const uint8_t *data, size_t len, void *arg)
{
    UNUSED(flags);
    struct http_h2 *h = arg;
    struct serving *x = h2_serving(session, stream_id);
    if (x == NULL || x->refused) {
        nghttp2_session_consume(session, stream_id, len);
        return 0;
    }
    if (!h2_rules_data(&x->rules, len)) {
        nghttp2_session_consume(session, stream_id, len);
        h2_refuse(h, x);
        return 0;
    }
    serving_body_data(x, data, len);
    if (x->end_sent) {
        x->late_bytes += len;
        if (x->late_bytes > H2_LATE_BODY_MAX)
            h2_abort(x);
    }
    return 0;
}

static int h2_on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                              void *arg)
{
    UNUSED(arg);
    struct serving *x = h2_serving(session, stream_id);
    if (x == NULL)
        return 0;
    nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    /* Unused body bytes must not shrink the connection's window for ever. */
    if (x->held.len > 0)
        nghttp2_session_consume_connection(session, x->held.len);
    serving_detach(x,
                   error_code == NGHTTP2_NO_ERROR && x->ended && x->out.bytes == 0 && x->head_sent);
    return 0;
}

static void h2_input(struct http_conn *c, const uint8_t *data, size_t len)
{
    struct http_h2 *h = c->p.h2;
    if (h->failed)
        return;
    ssize_t used = nghttp2_session_mem_recv(h->session, data, len);
    if (used < 0)
        h->failed = true;
}

static void h2_eof(struct http_conn *c)
{
    http_conn_close(c);
}

/* --- sending --- */

static ssize_t h2_on_send(nghttp2_session *session, const uint8_t *data, size_t len, int flags,
                          void *arg)
{
    UNUSED(session);
    UNUSED(flags);
    struct http_h2 *h = arg;
    if (net_stream_room(h->conn->stream) == 0)
        return NGHTTP2_ERR_WOULDBLOCK;
    net_stream_write(h->conn->stream, data, len);
    return (ssize_t)len;
}

/* How much of the queue the next DATA frame takes, and whether it is the last. */
static ssize_t h2_on_read(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t len,
                          uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    UNUSED(buf);
    UNUSED(source);
    UNUSED(arg);
    struct serving *x = h2_serving(session, stream_id);
    if (x == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    size_t n = MIN_OF(len, x->out.bytes);
    if (net_stream_is_tls(x->conn->stream)) {
        size_t together = http_out_private(&x->out);
        n = MIN_OF(n, H2_RECORD - H2_HEAD);
        n = together > 0 ? MIN_OF(n, together) : n;
    }
    if ((n == 0 && !x->ended) || !list_empty(&x->holds)) {
        x->data_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n < x->out.bytes || !x->ended)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (x->trailer_count > 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_nv *nv = ARENA_ARRAY(x->r.arena, nghttp2_nv, x->trailer_count);
        for (size_t i = 0; i < x->trailer_count; i++) {
            const struct http_header *t = &x->trailers[i];
            nv[i] = (nghttp2_nv){(uint8_t *)(uintptr_t)t->name.data,
                                 (uint8_t *)(uintptr_t)t->value.data, t->name.len, t->value.len,
                                 NGHTTP2_NV_FLAG_NONE};
        }
        nghttp2_submit_trailer(session, stream_id, nv, x->trailer_count);
    }
    return (ssize_t)n;
}

static void h2_send_record(struct serving *x, const uint8_t *head, size_t len)
{
    static _Thread_local uint8_t record[H2_RECORD];
    const uint8_t *whole = http_out_frame(&x->out, head, H2_HEAD, len);
    if (whole != NULL) {
        net_stream_write(x->conn->stream, whole, H2_HEAD + len);
        http_out_consume(&x->out, len);
        return;
    }
    memcpy(record, head, H2_HEAD);
    http_out_move(&x->out, record + H2_HEAD, len);
    net_stream_write(x->conn->stream, record, H2_HEAD + len);
}

static int h2_on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                           size_t len, nghttp2_data_source *source, void *arg)
{
    UNUSED(source);
    struct http_h2 *h = arg;
    struct net_stream *stream = h->conn->stream;
    struct serving *x = h2_serving(session, frame->hd.stream_id);
    if (x == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (net_stream_room(stream) == 0)
        return NGHTTP2_ERR_WOULDBLOCK;
    if (net_stream_is_tls(stream) && len >= H2_RECORD_MIN) {
        h2_send_record(x, head, len);
    } else {
        net_stream_write(stream, head, H2_HEAD);
        while (len > 0)
            len -= http_out_pass(&x->out, stream, len);
    }
    serving_output_moved(x);
    return 0;
}

static int h2_on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
    UNUSED(arg);
    if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
        return 0;
    struct serving *x = h2_serving(session, frame->hd.stream_id);
    if (x != NULL && !x->body_done) {
        x->end_sent = true;
        x->input_ms = http_conn_now(x->conn);
        http_conn_check_by(x->conn, x->input_ms + x->r.server->config.limits.body_timeout_ms);
    }
    return 0;
}

static nghttp2_nv h2_nv(const char *name, struct str value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value.data, strlen(name),
                        value.len, NGHTTP2_NV_FLAG_NONE};
}

static void h2_submit_head(struct http_h2 *h, struct serving *x)
{
    struct arena *a = x->r.arena;
    bool no_body =
        x->status < 200 || x->status == 204 || x->status == 304 || str_eq(x->r.method, STR("HEAD"));
    if (no_body) {
        http_out_clear(&x->out);
        if (!x->ended)
            return; /* END_STREAM belongs to the head: wait until the handler is done. */
    }
    nghttp2_nv *nv = ARENA_ARRAY(a, nghttp2_nv, x->out_header_count + 3);
    size_t count = 0;
    nv[count++] =
        h2_nv(":status", x->status == 200 ? STR("200") : arena_printf(a, "%d", x->status));
    for (size_t i = 0; i < x->out_header_count; i++)
        nv[count++] = h2_nv(x->out_headers[i].name.data, x->out_headers[i].value);
    if (x->out_length >= 0 && x->status >= 200 && x->status != 204)
        nv[count++] = h2_nv("content-length", arena_printf(a, "%lld", (long long)x->out_length));
    nv[count++] = h2_nv("date", str_of(http_server_date(x->r.server)));
    bool empty = no_body || (x->ended && x->out.bytes == 0 && x->trailer_count == 0);
    nghttp2_data_provider provider = {.read_callback = h2_on_read};
    x->head_sent = true;
    if (nghttp2_submit_response(h->session, x->stream_id, nv, count, empty ? NULL : &provider) != 0)
        nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, x->stream_id,
                                  NGHTTP2_INTERNAL_ERROR);
}

static void h2_go_away(struct http_h2 *h)
{
    if (h->going_away)
        return;
    h->going_away = true;
    nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR,
                          NULL, 0);
}

static bool h2_flush(struct http_conn *c)
{
    struct http_h2 *h = c->p.h2;
    for (struct list *l; (l = list_pop_front(&h->due)) != NULL;) {
        struct serving *x = LIST_ENTRY(l, struct serving, due);
        if (!x->started || x->aborted_by_us || !list_empty(&x->holds))
            continue;
        if (!x->head_sent) {
            h2_submit_head(h, x);
        } else if (x->data_deferred) {
            x->data_deferred = false;
            nghttp2_session_resume_data(h->session, x->stream_id);
        }
    }
    if (c->going_away)
        h2_go_away(h);
    if (nghttp2_session_send(h->session) != 0)
        return false;
    if (h->failed)
        return false;
    if (nghttp2_session_want_write(h->session) != 0)
        return true;
    return nghttp2_session_want_read(h->session) != 0 && !(h->going_away && c->serving_count == 0);
}

static void h2_output(struct serving *x)
{
    if (list_empty(&x->due))
        list_push_back(&x->conn->p.h2->due, &x->due);
    http_conn_wake(x->conn);
}

static void h2_abort(struct serving *x)
{
    nghttp2_submit_rst_stream(x->conn->p.h2->session, NGHTTP2_FLAG_NONE, x->stream_id,
                              x->end_sent ? NGHTTP2_NO_ERROR : NGHTTP2_INTERNAL_ERROR);
    http_conn_wake(x->conn);
}

static void h2_replace(struct serving *x, struct serving *y)
{
    y->stream_id = x->stream_id;
    y->rules = x->rules;
    nghttp2_session_set_stream_user_data(x->conn->p.h2->session, x->stream_id, y);
}

static void h2_body_used(struct serving *x, size_t n)
{
    nghttp2_session_consume(x->conn->p.h2->session, x->stream_id, n);
    http_conn_wake(x->conn);
}

static void h2_body_flow(struct serving *x)
{
    UNUSED(x); /* Held bytes are not given back to the window: that is all it takes. */
}

/* --- life --- */

static nghttp2_session *h2_session_new(struct http_h2 *h)
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
    nghttp2_session_callbacks_set_on_begin_frame_callback(cb, h2_on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, h2_on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, h2_on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, h2_on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, h2_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, h2_on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, h2_on_frame_sent);
    nghttp2_session_callbacks_set_send_callback(cb, h2_on_send);
    nghttp2_session_callbacks_set_send_data_callback(cb, h2_on_send_data);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_no_http_messaging(option, 1); /* See http_h2_rules.h. */
    int rc = nghttp2_session_server_new2(&session, cb, h, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    return rc == 0 ? session : NULL;
}

bool http_h2_start(struct http_conn *c)
{
    const struct http_server_limits *limits = &c->server->config.limits;
    struct http_h2 *h = xzalloc(sizeof(*h));
    h->conn = c;
    list_init(&h->due);
    h->reset_tokens = H2_RESETS_BURST;
    h->reset_ms = http_conn_now(c);
    h->session = h2_session_new(h);
    if (h->session == NULL) {
        free(h);
        return false;
    }
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits->streams_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits->stream_window},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
         (uint32_t)MIN_OF(limits->header_bytes_max, (size_t)UINT32_MAX)},
    };
    nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings));
    nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0,
                                          (int32_t)limits->connection_window);
    c->p.h2 = h;
    return true;
}

static void h2_free(struct http_conn *c)
{
    struct http_h2 *h = c->p.h2;
    nghttp2_session_del(h->session);
    free(h);
}

const struct http_protocol http_protocol_h2 = {
    .output = h2_output,
    .abort = h2_abort,
    .replace = h2_replace,
    .body_used = h2_body_used,
    .body_flow = h2_body_flow,
    .flush = h2_flush,
    .input = h2_input,
    .eof = h2_eof,
    .free = h2_free,
};
