/* http_call.c - one call of an HTTP client, whatever the protocol; see
 * http_client.h. */
#include "lib/net/http_client_internal.h"

#include "lib/base/arena.h"
#include "lib/net/bytes.h"
#include "lib/net/stream.h"
#include "lib/net/tls.h"

#include <string.h>
#include <strings.h>

#define CALL_DRAIN_BYTES ((size_t)64 << 10)
#define CALL_ATTEMPTS_MAX 4

/* --- ending --- */

static void call_free(struct http_call *call)
{
    struct http_client *c = call->client;
    list_remove(&call->link);
    deferred_cancel(&call->deliver);
    deferred_cancel(&call->drain);
    if (heap_has(&call->wake))
        heap_remove(&c->wakes, &call->wake);
    http_out_clear(&call->out);
    net_bytes_unref(call->config.body);
    buf_done(&call->held);
    arena_free(call->arena); /* Holds the call, too. */
    client_check_closed(c);
}

static void call_run_end(struct deferred *d)
{
    struct http_call *call = CONTAINER_OF(d, struct http_call, end);
    call->config.on_end(call, call->err.code != 0 ? &call->err : NULL, call->config.arg);
    call_free(call);
}

/* err is set; on_end comes with the next round. */
static void call_end(struct http_call *call)
{
    struct http_client *c = call->client;
    if (call->state == CALL_WAITING)
        c->waiting_count--;
    if (call->conn != NULL)
        client_conn_detach(call);
    if (call->config.upgrade)
        client_forget_dedicated(call);
    call->state = CALL_ENDING;
    list_remove(&call->link);
    list_push_back(&c->ending, &call->link);
    if (heap_has(&call->wake))
        heap_remove(&c->wakes, &call->wake);
    deferred_post(&c->queue, &call->end);
}

void call_fail(struct http_call *call, int code, const char *text)
{
    if (call->state == CALL_ENDING)
        return;
    error_set(&call->err, code, "%s %s: %s", call->config.method, call->config.target, text);
    if (call->conn != NULL)
        call->conn->protocol->forget(call);
    call_end(call);
}

void call_complete(struct http_call *call)
{
    if (call->state != CALL_ACTIVE)
        return;
    call->complete = true;
    if (call->conn != NULL)
        client_conn_detach(call);
    if (!call->paused && call->held.len == 0)
        call_end(call);
    else
        list_push_back(&call->client->ending, &call->link);
}

void call_retry(struct http_call *call, int code, const char *text)
{
    bool repeatable = !call->head_done && !(call->config.upload && call->out_moved) &&
                      call->attempts < CALL_ATTEMPTS_MAX && !call->client->closing;
    if (call->state != CALL_ACTIVE)
        return;
    if (!repeatable) {
        call_fail(call, code, text);
        return;
    }
    struct http_client *c = call->client;
    if (call->conn != NULL)
        client_conn_detach(call);
    call->state = CALL_WAITING;
    call->header_count = call->header_bytes = 0;
    call->stream_id = 0;
    call->data_deferred = false;
    list_push_back(&c->waiting, &call->link);
    c->waiting_count++;
    client_dispatch_soon(c);
}

void http_call_cancel(struct http_call *call)
{
    call_fail(call, E_CANCELED, "canceled");
}

/* --- the request --- */

/* (Re)fills the queue with the given body. */
void call_start_body(struct http_call *call)
{
    call->attempts++;
    if (call->config.upload)
        return;
    http_out_clear(&call->out);
    if (call->config.body != NULL)
        http_out_add(&call->out, call->config.body, 0, call->config.body->len);
    call->write_ended = true;
}

void http_call_write(struct http_call *call, struct net_bytes *b)
{
    ASSERT(call->config.upload && !call->write_ended);
    if (call->state == CALL_ENDING)
        return;
    http_out_add(&call->out, b, 0, b->len);
    call->drain_above = call->drain_above || call->out.bytes > CALL_DRAIN_BYTES;
    if (call->conn != NULL)
        call->conn->protocol->output(call);
}

void http_call_write_end(struct http_call *call)
{
    ASSERT(call->config.upload);
    call->write_ended = true;
    if (call->conn != NULL)
        call->conn->protocol->output(call);
}

size_t http_call_pending(const struct http_call *call)
{
    return call->out.bytes;
}

void call_output_moved(struct http_call *call, size_t n)
{
    http_out_consume(&call->out, n);
    call->out_moved = call->out_moved || n > 0;
    if (!call->drain_above || call->out.bytes > CALL_DRAIN_BYTES)
        return;
    call->drain_above = false;
    if (call->config.on_drain != NULL)
        deferred_post(&call->client->queue, &call->drain);
}

static void call_run_drain(struct deferred *d)
{
    struct http_call *call = CONTAINER_OF(d, struct http_call, drain);
    if (call->state == CALL_ACTIVE && !call->write_ended)
        call->config.on_drain(call, call->config.arg);
}

/* --- the response --- */

static bool call_count_header(struct http_call *call, struct str name, struct str value)
{
    call->header_bytes += name.len + value.len + 32;
    if (call->header_bytes <= call->client->config.header_bytes_max)
        return true;
    call_fail(call, E_TOO_LARGE, "the response header fields are too large");
    return false;
}

void call_add_header(struct http_call *call, struct str name, struct str value)
{
    if (call->state != CALL_ACTIVE || !call_count_header(call, name, value))
        return;
    call->headers = arena_grow(call->arena, call->headers, call->header_count, &call->header_cap,
                               sizeof(*call->headers));
    call->headers[call->header_count++] =
        (struct http_header){arena_str(call->arena, name), arena_str(call->arena, str_trim(value))};
}

void call_add_trailer(struct http_call *call, struct str name, struct str value)
{
    if (call->state != CALL_ACTIVE || !call_count_header(call, name, value))
        return;
    call->trailers = arena_grow(call->arena, call->trailers, call->trailer_count,
                                &call->trailer_cap, sizeof(*call->trailers));
    call->trailers[call->trailer_count++] =
        (struct http_header){arena_str(call->arena, name), arena_str(call->arena, str_trim(value))};
}

static void call_release_peer(void *peer)
{
    tls_peer_unref(peer);
}

void call_head(struct http_call *call, int status, enum http_version version)
{
    if (call->state != CALL_ACTIVE)
        return;
    if (status < 100 || status > 599) {
        call_fail(call, E_INVALID, "the response has no valid status");
        return;
    }
    call->status = status;
    call->version = version;
    call->head_done = true;
    call->header_deadline_ms = 0;
    client_wake_at(call);
    call->peer = net_stream_peer(call->conn->stream);
    if (call->peer != NULL)
        arena_hold(call->arena, tls_peer_ref(call->peer), call_release_peer);
    if (call->config.on_headers != NULL)
        call->config.on_headers(call, call->config.arg);
}

void call_data(struct http_call *call, const uint8_t *data, size_t len)
{
    if (call->state != CALL_ACTIVE)
        return;
    if (call->paused || call->held.len > 0) {
        buf_append(&call->held, data, len); /* At most the window that is not renewed. */
        return;
    }
    if (call->config.on_data != NULL)
        call->config.on_data(call, data, len, call->config.arg);
    if (call->conn != NULL)
        call->conn->protocol->body_used(call, len);
}

void http_call_pause(struct http_call *call)
{
    if (call->paused)
        return;
    call->paused = true;
    if (call->conn != NULL && call->state == CALL_ACTIVE)
        call->conn->protocol->body_flow(call);
}

void http_call_resume(struct http_call *call)
{
    if (!call->paused)
        return;
    call->paused = false;
    if (call->conn != NULL && call->state == CALL_ACTIVE)
        call->conn->protocol->body_flow(call);
    deferred_post(&call->client->queue, &call->deliver);
}

static void call_run_deliver(struct deferred *d)
{
    struct http_call *call = CONTAINER_OF(d, struct http_call, deliver);
    if (call->paused || call->state != CALL_ACTIVE)
        return;
    if (call->config.on_resume != NULL)
        call->config.on_resume(call, call->config.arg);
    if (call->held.len > 0 && !call->paused && call->state == CALL_ACTIVE) {
        AUTO_BUF held = call->held;
        call->held = BUF_INIT;
        if (call->config.on_data != NULL)
            call->config.on_data(call, held.data, held.len, call->config.arg);
        if (call->conn != NULL && call->state == CALL_ACTIVE)
            call->conn->protocol->body_used(call, held.len);
    }
    if (call->complete && !call->paused && call->state == CALL_ACTIVE)
        call_end(call);
}

/* --- starting --- */

static void call_copy_config(struct http_call *call, const struct http_call_config *from)
{
    struct arena *a = call->arena;
    struct http_call_config *to = &call->config;
    *to = *from;
    to->method = from->method != NULL ? arena_strdup(a, from->method) : "GET";
    to->target = arena_strdup(a, from->target);
    to->authority = from->authority != NULL ? arena_strdup(a, from->authority) : NULL;
    struct http_header *headers = ARENA_ARRAY(a, struct http_header, from->header_count);
    to->header_count = 0;
    for (size_t i = 0; i < from->header_count; i++) {
        struct str name = from->headers[i].name, value = from->headers[i].value;
        if (name.len == 4 && strncasecmp(name.data, "host", 4) == 0)
            to->authority = to->authority != NULL ? to->authority : arena_str(a, value).data;
        else if (from->upgrade || !http_header_is_hop(name))
            headers[to->header_count++] =
                (struct http_header){arena_str(a, name), arena_str(a, value)};
    }
    to->headers = headers;
    if (from->body != NULL)
        net_bytes_ref(from->body);
}

/* What would break the request's framing. */
static bool call_is_clean(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.data[i] == '\r' || s.data[i] == '\n' || s.data[i] == '\0')
            return false;
    return true;
}

static int call_check(const struct http_call_config *config, struct error *err)
{
    if (config->on_end == NULL)
        return error_set(err, E_INVALID, "an HTTP call needs on_end");
    if (config->target == NULL || config->target[0] != '/' ||
        strpbrk(config->target, " \r\n\t") != NULL)
        return error_set(err, E_INVALID, "\"%s\" is not a request target",
                         config->target != NULL ? config->target : "");
    if (config->upload && config->body != NULL)
        return error_set(err, E_INVALID, "an HTTP call has a body or uploads one, not both");
    for (size_t i = 0; i < config->header_count; i++)
        if (!http_header_name_valid(config->headers[i].name) ||
            !call_is_clean(config->headers[i].value))
            return error_set(err, E_INVALID, "header field \"" STR_FMT "\" is malformed",
                             STR_ARG(config->headers[i].name));
    return 0;
}

int http_call_start(struct http_client *c, const struct http_call_config *config,
                    struct http_call **ret, struct error *err)
{
    int code = call_check(config, err);
    if (code < 0)
        return code;
    if (c->closing)
        return error_set(err, E_INVALID, "the HTTP client is closed");
    struct arena *a = arena_new(0);
    struct http_call *call = ARENA_NEW(a, struct http_call);
    call->arena = a;
    call->client = c;
    call->state = CALL_WAITING;
    call_copy_config(call, config);
    http_out_init(&call->out);
    deferred_init(&call->deliver, call_run_deliver);
    deferred_init(&call->drain, call_run_drain);
    deferred_init(&call->end, call_run_end);
    uv_update_time(c->loop);
    uint64_t now = uv_now(c->loop);
    call->deadline_ms = config->timeout_ms != 0 ? now + config->timeout_ms : 0;
    call->header_deadline_ms = config->header_timeout_ms != 0 ? now + config->header_timeout_ms : 0;
    list_push_back(&c->waiting, &call->link);
    c->waiting_count++;
    client_wake_at(call);
    client_dispatch_soon(c);
    if (ret != NULL)
        *ret = call;
    return 0;
}

/* --- questions --- */

int http_call_status(const struct http_call *call)
{
    return call->status;
}

enum http_version http_call_version(const struct http_call *call)
{
    return call->version;
}

const struct http_header *http_call_headers(const struct http_call *call, size_t *ret_count)
{
    *ret_count = call->header_count;
    return call->headers;
}

struct str http_call_header(const struct http_call *call, const char *name)
{
    return http_header_find(call->headers, call->header_count, name);
}

const struct http_header *http_call_trailers(const struct http_call *call, size_t *ret_count)
{
    *ret_count = call->trailer_count;
    return call->trailers;
}

struct str http_call_trailer(const struct http_call *call, const char *name)
{
    return http_header_find(call->trailers, call->trailer_count, name);
}

struct tls_peer *http_call_peer(const struct http_call *call)
{
    return call->peer;
}

struct arena *http_call_arena(struct http_call *call)
{
    return call->arena;
}

bool http_call_sent(const struct http_call *call)
{
    return call->sent;
}

uint32_t http_call_reset_code(const struct http_call *call)
{
    return call->reset_code;
}
