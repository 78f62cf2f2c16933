/* grpc_client.c - calls; see grpc.h. */
#include "lib/net/grpc_internal.h"

#include "lib/base/arena.h"
#include "lib/net/bytes.h"
#include "lib/net/http_client.h"
#include "lib/net/http_sync_internal.h"

#include <string.h>

struct grpc_call {
    struct grpc_call_config config;
    struct http_call *http;
    struct grpc_reader reader;
    enum grpc_status failed; /* Found here; wins over what the transport says. */
    const char *failed_text;
    bool canceled;
    bool paused;
    struct buf held; /* Bytes behind the message after which it was paused. */
};

/* --- the end --- */

/* HTTP/2's error codes, as the gRPC specification maps them. */
static enum grpc_status grpc_status_of_reset(uint32_t code)
{
    switch (code) {
    case 0x7: /* REFUSED_STREAM */
        return GRPC_UNAVAILABLE;
    case 0x8: /* CANCEL */
        return GRPC_CANCELLED;
    case 0xb: /* ENHANCE_YOUR_CALM */
        return GRPC_RESOURCE_EXHAUSTED;
    case 0xc: /* INADEQUATE_SECURITY */
        return GRPC_PERMISSION_DENIED;
    default:
        return GRPC_INTERNAL;
    }
}

/* Of answers that are not gRPC's: a proxy's, say. */
static enum grpc_status grpc_status_of_http(int status)
{
    switch (status) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

static enum grpc_status grpc_status_of_failure(const struct grpc_call *call,
                                               const struct error *err)
{
    uint32_t reset = http_call_reset_code(call->http);
    if (reset != 0)
        return grpc_status_of_reset(reset);
    if (err->code == E_TIMEOUT)
        return GRPC_DEADLINE_EXCEEDED;
    return err->code == E_CANCELED ? GRPC_CANCELLED : GRPC_UNAVAILABLE;
}

/* The status of a response that ended well as far as HTTP is concerned. */
static enum grpc_status grpc_read_status(const struct grpc_call *call, struct str *ret_message)
{
    struct arena *a = http_call_arena(call->http);
    struct str status = http_call_trailer(call->http, "grpc-status");
    struct str message = http_call_trailer(call->http, "grpc-message");
    if (status.data == NULL) {
        /* "Trailers-only": no message, so the only head is the trailer. */
        status = http_call_header(call->http, "grpc-status");
        message = http_call_header(call->http, "grpc-message");
    }
    uint64_t number;
    if (!str_to_u64(status, &number)) {
        int http = http_call_status(call->http);
        *ret_message =
            arena_printf(a, "the server answered HTTP status %d without a grpc-status", http);
        return http == 200 ? GRPC_INTERNAL : grpc_status_of_http(http);
    }
    *ret_message = grpc_message_decode(a, message);
    return number <= GRPC_UNAUTHENTICATED ? (enum grpc_status)number : GRPC_UNKNOWN;
}

static void grpc_on_end(struct http_call *http, const struct error *err, void *arg)
{
    struct grpc_call *call = arg;
    struct str message = STR("");
    enum grpc_status status;
    call->http = http;
    if (call->failed != GRPC_OK) {
        status = call->failed;
        message = str_of(call->failed_text);
    } else if (err != NULL) {
        status = grpc_status_of_failure(call, err);
        message = str_of(error_message(err));
    } else {
        status = grpc_read_status(call, &message);
        if (status == GRPC_OK && !grpc_reader_is_empty(&call->reader)) {
            status = GRPC_INTERNAL;
            message = STR("the response ends within a message");
        }
    }
    call->config.on_end(call, status, message, call->config.arg);
    grpc_reader_done(&call->reader);
    buf_done(&call->held);
    free(call);
}

static void grpc_fail(struct grpc_call *call, enum grpc_status status, const char *text)
{
    if (call->failed != GRPC_OK || call->canceled)
        return;
    call->failed = status;
    call->failed_text = text;
    http_call_cancel(call->http);
}

/* --- receiving --- */

static void grpc_receive(struct grpc_call *call, struct str data)
{
    struct str message;
    while (call->failed == GRPC_OK && !call->canceled && !call->paused) {
        switch (grpc_reader_next(&call->reader, &data, &message)) {
        case GRPC_READ_MORE:
            return;
        case GRPC_READ_TOO_LARGE:
            grpc_fail(call, GRPC_RESOURCE_EXHAUSTED,
                      "the received message is larger than the limit");
            return;
        case GRPC_READ_MALFORMED:
            grpc_fail(call, GRPC_INTERNAL, "the received message is compressed");
            return;
        case GRPC_READ_MESSAGE:
            if (call->config.on_message != NULL)
                call->config.on_message(call, message, call->config.arg);
            break;
        }
    }
    buf_append_str(&call->held, data);
}

static void grpc_on_data(struct http_call *http, const uint8_t *bytes, size_t len, void *arg)
{
    struct grpc_call *call = arg;
    if (http_call_status(http) == 200) /* Else it is some error page. */
        grpc_receive(call, str_n((const char *)bytes, len));
}

static void grpc_on_resume(struct http_call *http, void *arg)
{
    UNUSED(http);
    struct grpc_call *call = arg;
    if (call->held.len == 0)
        return;
    AUTO_BUF held = call->held;
    call->held = BUF_INIT;
    grpc_receive(call, buf_str(&held));
}

static void grpc_on_drain(struct http_call *http, void *arg)
{
    UNUSED(http);
    struct grpc_call *call = arg;
    if (call->config.on_drain != NULL)
        call->config.on_drain(call, call->config.arg);
}

/* --- sending --- */

static struct net_bytes *grpc_frame(const struct net_bytes *message)
{
    struct net_bytes *framed = net_bytes_new(GRPC_PREFIX_BYTES + message->len);
    uint8_t *p = net_bytes_edit(framed);
    grpc_prefix(p, message->len);
    if (message->len > 0)
        memcpy(p + GRPC_PREFIX_BYTES, message->data, message->len);
    return framed;
}

void grpc_call_send(struct grpc_call *call, struct net_bytes *message)
{
    uint8_t prefix[GRPC_PREFIX_BYTES];
    grpc_prefix(prefix, message->len);
    if (message->len < 4096) {
        struct net_bytes *framed = grpc_frame(message);
        http_call_write(call->http, framed);
        net_bytes_unref(framed);
        return;
    }
    struct net_bytes *head = net_bytes_copy(prefix, sizeof(prefix));
    http_call_write(call->http, head);
    net_bytes_unref(head);
    http_call_write(call->http, message);
}

void grpc_call_send_end(struct grpc_call *call)
{
    http_call_write_end(call->http);
}

size_t grpc_call_pending(const struct grpc_call *call)
{
    return http_call_pending(call->http);
}

void grpc_call_cancel(struct grpc_call *call)
{
    call->canceled = true;
    http_call_cancel(call->http);
}

void grpc_call_pause(struct grpc_call *call)
{
    call->paused = true;
    http_call_pause(call->http);
}

void grpc_call_resume(struct grpc_call *call)
{
    call->paused = false;
    http_call_resume(call->http);
}

struct arena *grpc_call_arena(struct grpc_call *call)
{
    return http_call_arena(call->http);
}

struct str grpc_call_header(const struct grpc_call *call, const char *name)
{
    return http_call_header(call->http, name);
}

struct str grpc_call_trailer(const struct grpc_call *call, const char *name)
{
    return http_call_trailer(call->http, name);
}

int grpc_call_start(struct http_client *c, const struct grpc_call_config *config,
                    struct grpc_call **ret, struct error *err)
{
    if (config->on_end == NULL || config->method == NULL || config->method[0] != '/')
        return error_set(err, E_INVALID, "a gRPC call needs on_end and a method with a slash");
    if (config->request == NULL && !config->client_streaming)
        return error_set(err, E_INVALID, "a unary gRPC call needs a request");
    AUTO_ARENA *a = arena_new(0);
    struct http_header *headers = ARENA_ARRAY(a, struct http_header, config->metadata_count + 3);
    size_t count = 0;
    headers[count++] = (struct http_header){STR("content-type"), STR("application/grpc")};
    headers[count++] = (struct http_header){STR("te"), STR("trailers")};
    char timeout[16];
    if (config->timeout_ms != 0) {
        grpc_timeout_print(config->timeout_ms, timeout);
        headers[count++] = (struct http_header){STR("grpc-timeout"), str_of(timeout)};
    }
    for (size_t i = 0; i < config->metadata_count; i++)
        headers[count++] = config->metadata[i];
    struct grpc_call *call = xzalloc(sizeof(*call));
    call->config = *config;
    grpc_reader_init(&call->reader,
                     config->message_max != 0 ? config->message_max : GRPC_MESSAGE_MAX_DEFAULT);
    struct net_bytes *body =
        config->request != NULL && !config->client_streaming ? grpc_frame(config->request) : NULL;
    struct http_call_config http = {
        .method = "POST",
        .target = config->method,
        .headers = headers,
        .header_count = count,
        .body = body,
        .upload = config->client_streaming,
        .timeout_ms = config->timeout_ms,
        .on_data = grpc_on_data,
        .on_resume = grpc_on_resume,
        .on_drain = grpc_on_drain,
        .on_end = grpc_on_end,
        .arg = call,
    };
    int code = http_call_start(c, &http, &call->http, err);
    net_bytes_unref(body);
    if (code < 0) {
        grpc_reader_done(&call->reader);
        free(call);
        return code;
    }
    if (config->client_streaming && config->request != NULL)
        grpc_call_send(call, config->request);
    if (ret != NULL)
        *ret = call;
    return 0;
}

/* --- blocking --- */

struct grpc_sync {
    struct net_bytes *response;
    enum grpc_status status;
    struct error *err;
    int code;
    bool done;
};

static void grpc_sync_on_message(struct grpc_call *call, struct str message, void *arg)
{
    UNUSED(call);
    struct grpc_sync *s = arg;
    net_bytes_unref(s->response);
    s->response = net_bytes_copy(message.data, message.len);
}

static void grpc_sync_on_end(struct grpc_call *call, enum grpc_status status, struct str message,
                             void *arg)
{
    UNUSED(call);
    struct grpc_sync *s = arg;
    s->done = true;
    s->status = status;
    s->code = grpc_status_to_error(status);
    if (s->code == 0 && s->response == NULL) {
        s->status = GRPC_INTERNAL;
        s->code = error_set(s->err, E_INTERNAL, "the response holds no message");
    } else if (s->code != 0) {
        error_set(s->err, s->code, "rpc error: code = %s desc = " STR_FMT, grpc_status_text(status),
                  STR_ARG(message));
    }
}

int grpc_sync_call(struct http_sync *sync, const struct grpc_call_config *config,
                   struct net_bytes **ret, enum grpc_status *ret_status, struct error *err)
{
    struct grpc_sync s = {.err = err};
    struct grpc_call_config own = *config;
    own.client_streaming = false;
    own.on_message = grpc_sync_on_message;
    own.on_drain = NULL;
    own.on_end = grpc_sync_on_end;
    own.arg = &s;
    int code = grpc_call_start(sync->client, &own, NULL, err);
    if (code < 0)
        return code;
    while (!s.done)
        uv_run(&sync->loop, UV_RUN_ONCE);
    if (ret_status != NULL)
        *ret_status = s.status;
    if (s.code == 0)
        *ret = s.response;
    else
        net_bytes_unref(s.response);
    return s.code;
}

int grpc_socket_client_new(struct uv_loop_s *loop, const char *socket, const char *user_agent,
                           struct http_client **ret, struct error *err)
{
    const char *endpoints[] = {socket};
    struct http_client_config config = {
        .endpoints = endpoints,
        .endpoint_count = 1,
        .protocol = HTTP_CLIENT_H2,
        .user_agent = user_agent,
        .backoff_max_ms = 1000,
        .idle_timeout_ms = 3600 * 1000,
    };
    return http_client_new(loop, &config, ret, err);
}
