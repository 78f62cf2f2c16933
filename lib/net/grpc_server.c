/* grpc_server.c - gRPC on an HTTP server; see grpc.h. */
#include "lib/net/grpc_internal.h"

#include "lib/base/arena.h"
#include "lib/base/map.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server_internal.h"

#include <string.h>

#define GRPC_CONTENT_TYPE "application/grpc"

struct grpc_server {
    struct map methods; /* Path to struct grpc_method, owned. */
    size_t buffered;    /* Bytes of requests that streams hold. */
    size_t buffer_max;  /* 0: no limit. */
};

struct grpc_stream {
    struct grpc_server *server;
    size_t buffered; /* Counted in the server's. */
    struct http_request *request;
    const struct grpc_method *method;
    const struct grpc_sink *sink; /* NULL: the answer is gRPC. */
    struct buf sinking;           /* The message for it that is not complete. */
    bool sink_full;               /* A message is larger than it takes. */
    struct grpc_reader reader;
    bool receiving; /* In the loop over messages: pause and finish stop it. */
    bool paused;
    bool finished;
    bool half_closed; /* The client's direction has ended... */
    bool told_half_close;
    size_t part_bytes; /* Of the message that is being sent, still to come. */
    struct buf held;   /* Bytes behind the message after which it was paused. */
    struct str unary;
    bool has_unary;
    void *user;
    void (*on_cancel)(struct grpc_stream *s, void *arg);
    void *cancel_arg;
    void (*on_drain)(struct grpc_stream *s, void *arg);
    void *drain_arg;
};

/* --- answering --- */

static struct str grpc_status_number(enum grpc_status status)
{
    static const char *const NUMBERS[] = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                          "9", "10", "11", "12", "13", "14", "15", "16"};
    ASSERT((size_t)status < ARRAY_SIZE(NUMBERS));
    return str_of(NUMBERS[status]);
}

static void grpc_stream_start(struct grpc_stream *s)
{
    if (http_response_started(s->request))
        return;
    http_response_header_fixed(s->request, STR("content-type"), STR(GRPC_CONTENT_TYPE));
    http_response_start(s->request, 200, -1);
}

/* Bytes of a message for the sink, which gets it once it is complete. */
static void grpc_sink_part(struct grpc_stream *s, const void *data, size_t len)
{
    if (len > 0 && !s->sink_full)
        buf_append(&s->sinking, data, len);
    if (s->part_bytes > 0 || s->sink_full)
        return;
    s->sink->on_message(s->request, &s->sinking, s->sink->arg);
    buf_clear(&s->sinking);
}

void grpc_stream_begin(struct grpc_stream *s, size_t len)
{
    ASSERT(!s->finished && s->part_bytes == 0);
    uint8_t prefix[GRPC_PREFIX_BYTES];
    s->part_bytes = len;
    if (s->sink != NULL) {
        s->sink_full |= len > s->sink->message_max;
        if (!s->sink_full) /* At once: growing would copy it again and again. */
            buf_reserve(&s->sinking, len);
        grpc_sink_part(s, NULL, 0);
        return;
    }
    grpc_stream_start(s);
    grpc_prefix(prefix, len);
    http_response_write_copy(s->request, prefix, sizeof(prefix));
}

void grpc_stream_part(struct grpc_stream *s, struct net_bytes *b, size_t from, size_t len)
{
    ASSERT(!s->finished && len <= s->part_bytes);
    s->part_bytes -= len;
    if (s->sink == NULL)
        http_response_write_part(s->request, b, from, len);
    else if (len > 0)
        grpc_sink_part(s, b->data + from, len);
}

void grpc_stream_part_copy(struct grpc_stream *s, const void *data, size_t len)
{
    ASSERT(!s->finished && len <= s->part_bytes);
    s->part_bytes -= len;
    if (s->sink == NULL)
        http_response_write_copy(s->request, data, len);
    else if (len > 0)
        grpc_sink_part(s, data, len);
}

void grpc_stream_send(struct grpc_stream *s, struct net_bytes *message)
{
    grpc_stream_begin(s, message->len);
    grpc_stream_part(s, message, 0, message->len);
}

void grpc_stream_send_copy(struct grpc_stream *s, const void *data, size_t len)
{
    grpc_stream_begin(s, len);
    grpc_stream_part_copy(s, data, len);
}

static void grpc_stream_count(struct grpc_stream *s, size_t bytes)
{
    s->server->buffered += bytes;
    s->server->buffered -= s->buffered;
    s->buffered = bytes;
}

static void grpc_stream_drop(struct grpc_stream *s)
{
    grpc_stream_count(s, 0);
    grpc_reader_done(&s->reader);
    buf_done(&s->held);
    buf_done(&s->sinking);
}

void grpc_stream_trailer(struct grpc_stream *s, const char *name, const char *value)
{
    if (s->sink == NULL)
        http_response_trailer(s->request, name, value);
}

void grpc_stream_finish(struct grpc_stream *s, enum grpc_status status, const char *message)
{
    ASSERT(!s->finished);
    s->finished = true;
    if (s->sink != NULL) {
        const struct grpc_sink *sink = s->sink;
        struct http_request *answered = s->request;
        if (!s->receiving)
            grpc_stream_drop(s);
        http_request_on_abort(answered, NULL, NULL);
        http_response_on_drain(answered, 0, NULL, NULL);
        if (s->sink_full && status == GRPC_OK)
            sink->on_finish(answered, GRPC_RESOURCE_EXHAUSTED,
                            "grpc: received message larger than max", sink->arg);
        else
            sink->on_finish(answered, s->part_bytes > 0 ? GRPC_INTERNAL : status, message,
                            sink->arg);
        return;
    }
    if (s->part_bytes > 0) { /* Half a message: nothing but a reset can say so. */
        struct http_request *cut = s->request;
        if (!s->receiving)
            grpc_stream_drop(s);
        http_response_abort(cut);
        return;
    }
    grpc_stream_start(s);
    http_response_trailer_fixed(s->request, STR("grpc-status"), grpc_status_number(status));
    if (message != NULL && message[0] != '\0') {
        AUTO_BUF encoded = BUF_INIT;
        grpc_message_encode(&encoded, message);
        buf_putc(&encoded, '\0');
        http_response_trailer(s->request, "grpc-message", (const char *)encoded.data);
    }
    struct http_request *request = s->request;
    if (!s->receiving)
        grpc_stream_drop(s);
    http_response_end(request);
}

void grpc_stream_reply(struct grpc_stream *s, struct net_bytes *message)
{
    grpc_stream_send(s, message);
    grpc_stream_finish(s, GRPC_OK, NULL);
}

/* --- receiving --- */

static void grpc_stream_half_close(struct grpc_stream *s)
{
    if (!s->half_closed || s->told_half_close || s->paused || s->held.len > 0 || s->finished)
        return;
    s->told_half_close = true;
    if (!grpc_reader_is_empty(&s->reader)) {
        grpc_stream_finish(s, GRPC_INTERNAL, "the request ends within a message");
    } else if (s->method->on_unary != NULL) {
        if (s->has_unary)
            s->method->on_unary(s, s->unary, s->method->arg);
        else
            grpc_stream_finish(s, GRPC_INTERNAL, "the request holds no message");
    } else if (s->method->on_half_close != NULL) {
        s->method->on_half_close(s, s->method->arg);
    }
}

static void grpc_stream_message(struct grpc_stream *s, struct str message)
{
    if (s->method->on_unary == NULL) {
        if (s->method->on_message != NULL)
            s->method->on_message(s, message, s->method->arg);
    } else if (s->has_unary) {
        grpc_stream_finish(s, GRPC_INTERNAL, "the request holds more than one message");
    } else {
        s->has_unary = true;
        s->unary = arena_str(s->request->arena, message);
    }
}

/* In grpc-go's words, which clients look for. */
static void grpc_stream_too_large(struct grpc_stream *s)
{
    AUTO_FREE char *text = xasprintf("grpc: received message larger than max (%zu vs. %zu)",
                                     s->reader.announced, s->method->message_max);
    grpc_stream_finish(s, GRPC_RESOURCE_EXHAUSTED, text);
}

/* Takes messages until the bytes, or the handler's patience, end. */
static void grpc_stream_receive(struct grpc_stream *s, struct str data)
{
    struct str message;
    enum grpc_read_result result = GRPC_READ_MESSAGE;
    s->receiving = true;
    while (result == GRPC_READ_MESSAGE && !s->paused && !s->finished) {
        result = grpc_reader_next(&s->reader, &data, &message);
        if (result == GRPC_READ_MESSAGE)
            grpc_stream_message(s, message);
        else if (result == GRPC_READ_TOO_LARGE)
            grpc_stream_too_large(s);
        else if (result == GRPC_READ_MALFORMED)
            grpc_stream_finish(s, GRPC_UNIMPLEMENTED, "the received message is compressed");
    }
    s->receiving = false;
    if (s->finished) {
        grpc_stream_drop(s);
        return;
    }
    buf_append_str(&s->held, data);
    grpc_stream_count(s, s->reader.partial.len + s->held.len + s->unary.len);
    if (s->server->buffer_max > 0 && s->server->buffered > s->server->buffer_max &&
        !s->told_half_close)
        grpc_stream_finish(s, GRPC_RESOURCE_EXHAUSTED, "the server holds too many requests");
}

static void grpc_on_data(struct http_request *r, const uint8_t *data, size_t len, void *arg)
{
    UNUSED(r);
    struct grpc_stream *s = arg;
    if (s->finished)
        return;
    if (s->held.len == 0) {
        grpc_stream_receive(s, str_n((const char *)data, len));
        return;
    }
    AUTO_BUF all = s->held;
    s->held = BUF_INIT;
    buf_append(&all, data, len);
    grpc_stream_receive(s, buf_str(&all));
}

static void grpc_on_body_end(struct http_request *r, void *arg)
{
    struct grpc_stream *s = arg;
    s->half_closed = true;
    if (s->finished)
        return;
    if (s->held.len > 0)
        grpc_on_data(r, NULL, 0, s);
    if (!s->finished)
        grpc_stream_half_close(s);
}

static void grpc_on_resume(struct http_request *r, void *arg)
{
    struct grpc_stream *s = arg;
    if (!s->finished && s->held.len > 0)
        grpc_on_data(r, NULL, 0, s);
    if (!s->finished)
        grpc_stream_half_close(s); /* If the end came while bytes were held. */
}

static const struct http_body_handler GRPC_BODY = {
    .on_data = grpc_on_data,
    .on_end = grpc_on_body_end,
    .on_resume = grpc_on_resume,
};

/* The messages of a call with a sink lie in `held`, each with its prefix. */
static void grpc_sink_receive(struct grpc_stream *s)
{
    struct serving *x = CONTAINER_OF(s->request, struct serving, r);
    struct buf all = s->held;
    s->held = BUF_INIT;
    serving_enter(x); /* The stream lies in the request's arena. */
    if (all.len > 0)
        grpc_stream_receive(s, buf_str(&all));
    if (!s->finished)
        grpc_stream_half_close(s);
    serving_leave(x);
    buf_done(&all);
}

void grpc_stream_pause(struct grpc_stream *s)
{
    s->paused = true;
    if (s->sink == NULL)
        http_request_pause(s->request);
}

void grpc_stream_resume(struct grpc_stream *s)
{
    if (!s->paused)
        return;
    s->paused = false;
    if (s->sink == NULL)
        http_request_resume(s->request);
    else if (!s->receiving)
        grpc_sink_receive(s);
}

/* --- the end that the client makes --- */

static void grpc_on_abort(struct http_request *r, void *arg)
{
    UNUSED(r);
    struct grpc_stream *s = arg;
    if (s->on_cancel != NULL) {
        s->on_cancel(s, s->cancel_arg);
        return;
    }
    /* A unary request that has not arrived is not the handler's yet. */
    if (s->method->on_unary != NULL && !s->told_half_close)
        grpc_stream_finish(s, GRPC_CANCELLED, NULL);
}

void grpc_stream_on_cancel(struct grpc_stream *s, void (*cb)(struct grpc_stream *s, void *arg),
                           void *arg)
{
    s->on_cancel = cb;
    s->cancel_arg = arg;
}

static void grpc_drained(struct http_request *r, void *arg)
{
    UNUSED(r);
    struct grpc_stream *s = arg;
    if (s->on_drain != NULL)
        s->on_drain(s, s->drain_arg);
}

void grpc_stream_on_drain(struct grpc_stream *s, size_t low_bytes,
                          void (*cb)(struct grpc_stream *s, void *arg), void *arg)
{
    s->on_drain = cb;
    s->drain_arg = arg;
    http_response_on_drain(s->request, low_bytes, grpc_drained, s);
}

/* --- questions --- */

size_t grpc_stream_pending(const struct grpc_stream *s)
{
    return http_response_pending(s->request);
}

struct http_request *grpc_stream_request(struct grpc_stream *s)
{
    return s->request;
}

struct arena *grpc_stream_arena(struct grpc_stream *s)
{
    return s->request->arena;
}

uint64_t grpc_stream_timeout_ms(const struct grpc_stream *s)
{
    return grpc_timeout_parse(http_request_header(s->request, "grpc-timeout"));
}

void grpc_stream_set_user(struct grpc_stream *s, void *user)
{
    s->user = user;
}

void *grpc_stream_user(const struct grpc_stream *s)
{
    return s->user;
}

/* --- the server --- */

struct grpc_server *grpc_server_new(void)
{
    struct grpc_server *s = xzalloc(sizeof(*s));
    map_init(&s->methods);
    return s;
}

void grpc_server_free(struct grpc_server *s)
{
    if (s == NULL)
        return;
    size_t pos = 0;
    void *method;
    while (map_next(&s->methods, &pos, NULL, &method))
        free(method);
    map_done(&s->methods);
    free(s);
}

void grpc_server_set_buffer_max(struct grpc_server *s, size_t bytes)
{
    s->buffer_max = bytes;
}

void grpc_server_add(struct grpc_server *s, const struct grpc_method *method)
{
    ASSERT((method->on_unary != NULL) != (method->on_open != NULL));
    struct grpc_method *copy = xmemdup(method, sizeof(*method));
    if (copy->message_max == 0)
        copy->message_max = GRPC_MESSAGE_MAX_DEFAULT;
    free(map_set(&s->methods, str_of(method->path), copy));
}

static void grpc_health_check(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(message);
    UNUSED(arg);
    /* HealthCheckResponse{status = SERVING}: field 1, varint 1. */
    static const uint8_t SERVING[] = {0x08, 0x01};
    struct net_bytes *b = net_bytes_copy(SERVING, sizeof(SERVING));
    grpc_stream_reply(s, b);
    net_bytes_unref(b);
}

void grpc_server_add_health(struct grpc_server *s)
{
    static const struct grpc_method CHECK = {
        .path = "/grpc.health.v1.Health/Check",
        .on_unary = grpc_health_check,
    };
    grpc_server_add(s, &CHECK);
}

bool grpc_is_request(const struct http_request *r)
{
    struct str type = http_request_header(r, "content-type");
    struct str rest = str_sub(type, sizeof(GRPC_CONTENT_TYPE) - 1, type.len);
    return str_has_prefix(type, STR(GRPC_CONTENT_TYPE)) &&
           (str_empty(rest) || rest.data[0] == '+' || rest.data[0] == ';');
}

/* An answer without a message: the status stands in the head. */
static void grpc_refuse(struct http_request *r, enum grpc_status status, const char *text)
{
    AUTO_BUF encoded = BUF_INIT;
    grpc_message_encode(&encoded, text);
    buf_putc(&encoded, '\0');
    http_response_header_fixed(r, STR("content-type"), STR(GRPC_CONTENT_TYPE));
    http_response_header_fixed(r, STR("grpc-status"), grpc_status_number(status));
    http_response_header(r, "grpc-message", (const char *)encoded.data);
    http_response_start(r, 200, -1);
    http_response_end(r);
}

/* "/service/method" that is not there, in grpc-go's words. */
static void grpc_refuse_unknown(const struct grpc_server *server, struct http_request *r)
{
    size_t slash = r->path.len;
    while (slash > 0 && r->path.data[slash - 1] != '/')
        slash--;
    struct str prefix = str_sub(r->path, 0, slash), path; /* "/service/" */
    struct str service = str_sub(r->path, 1, slash > 2 ? slash - 2 : 0);
    struct str method = str_sub(r->path, slash, r->path.len);
    struct str text = arena_printf(r->arena, "unknown service " STR_FMT, STR_ARG(service));
    if (str_empty(service))
        text = arena_printf(r->arena, "malformed method name: \"" STR_FMT "\"", STR_ARG(r->path));
    for (size_t pos = 0; !str_empty(service) && map_next(&server->methods, &pos, &path, NULL);) {
        if (!str_has_prefix(path, prefix))
            continue;
        text = arena_printf(r->arena, "unknown method " STR_FMT " for service " STR_FMT,
                            STR_ARG(method), STR_ARG(service));
        break;
    }
    grpc_refuse(r, GRPC_UNIMPLEMENTED, text.data);
}

void grpc_server_handle(struct grpc_server *server, struct http_request *r)
{
    const struct grpc_method *method = map_get(&server->methods, r->path);
    struct str encoding = http_request_header(r, "grpc-encoding");
    if (!str_eq(r->method, STR("POST")) || r->version != HTTP_2) {
        grpc_refuse(r, GRPC_INTERNAL, "gRPC takes POST over HTTP/2");
        return;
    }
    if (method == NULL) {
        grpc_refuse_unknown(server, r);
        return;
    }
    if (!str_empty(encoding) && !str_eq(encoding, STR("identity"))) {
        grpc_refuse(r, GRPC_UNIMPLEMENTED, "compressed messages are not supported");
        return;
    }
    struct grpc_stream *s = ARENA_NEW(r->arena, struct grpc_stream);
    s->server = server;
    s->request = r;
    s->method = method;
    grpc_reader_init(&s->reader, method->message_max);
    http_request_on_abort(r, grpc_on_abort, s);
    http_request_stream_body(r, &GRPC_BODY, s);
    if (method->on_open == NULL)
        return;
    http_request_body_patient(r);
    method->on_open(s, method->arg);
}

void grpc_server_call(struct grpc_server *server, struct http_request *r, struct str path,
                      const struct str *messages, size_t count, const struct grpc_sink *sink)
{
    const struct grpc_method *method = map_get(&server->methods, path);
    if (method == NULL) {
        sink->on_finish(r, GRPC_UNIMPLEMENTED, "unknown method", sink->arg);
        return;
    }
    struct grpc_stream *s = ARENA_NEW(r->arena, struct grpc_stream);
    s->server = server;
    s->request = r;
    s->method = method;
    s->sink = sink;
    s->half_closed = true;
    grpc_reader_init(&s->reader, method->message_max);
    for (size_t i = 0; i < count; i++) {
        uint8_t prefix[GRPC_PREFIX_BYTES];
        grpc_prefix(prefix, messages[i].len);
        buf_append(&s->held, prefix, sizeof(prefix));
        buf_append_str(&s->held, messages[i]);
    }
    http_request_on_abort(r, grpc_on_abort, s);
    if (method->on_open != NULL) {
        s->receiving = true; /* Pausing is minded below. */
        method->on_open(s, method->arg);
        s->receiving = false;
        if (s->finished) {
            grpc_stream_drop(s);
            return;
        }
    }
    if (!s->paused)
        grpc_sink_receive(s);
}
