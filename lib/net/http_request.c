/* http_request.c - the life of one request, whatever the protocol: head, body,
 * end. See http_server.h for the rules handlers live by. */
#include "lib/net/http_server_internal.h"

#include "lib/base/arena.h"
#include "lib/net/stream.h"
#include "lib/net/tls.h"

#include <string.h>

/* --- birth and death --- */

static void serving_run_resume(struct deferred *d);

static void serving_release_peer(void *peer)
{
    tls_peer_unref(peer);
}

struct serving *serving_new(struct http_conn *c)
{
    struct http_server *s = c->server;
    struct arena *a = s->spare_count > 0 ? s->spare[--s->spare_count] : arena_new(0);
    struct serving *x = ARENA_NEW(a, struct serving);
    x->r.arena = a;
    x->r.server = s;
    x->r.content_length = -1;
    x->r.is_tls = net_stream_is_tls(c->stream);
    x->r.remote = arena_strdup(a, net_stream_remote(c->stream));
    x->r.local = arena_strdup(a, net_stream_local(c->stream));
    x->r.peer = net_stream_peer(c->stream);
    if (x->r.peer != NULL)
        arena_hold(a, tls_peer_ref(x->r.peer), serving_release_peer);
    x->conn = c;
    x->body_max = s->config.limits.body_bytes_max;
    x->out_length = -1;
    x->input_ms = x->output_ms = serving_now(x);
    http_out_init(&x->out);
    x->out.total = &c->out_bytes;
    deferred_init(&x->resume, serving_run_resume);
    deferred_init(&x->drain, serving_run_drain);
    list_init(&x->due);
    list_init(&x->holds);
    list_push_back(&c->servings, &x->link);
    c->serving_count++;
    s->stats.requests++;
    s->stats.requests_total++;
    return x;
}

/* Keeps some for further requests, except where a sanitizer watches who still uses them. */
static void serving_free_arena(struct http_server *s, struct arena *a)
{
#ifndef __SANITIZE_ADDRESS__
    if (s->spare_count < HTTP_SPARE_MAX) {
        arena_clear(a);
        s->spare[s->spare_count++] = a;
        return;
    }
#endif
    UNUSED(s);
    arena_free(a);
}

/* Frees x once nobody refers to it. */
static void serving_settle(struct serving *x)
{
    if (x->busy > 0 || x->conn != NULL || x->owner == SERVING_HANDLER)
        return;
    struct http_server *s = x->r.server;
    deferred_cancel(&x->resume);
    deferred_cancel(&x->drain);
    list_remove(&x->link);
    serving_drop_holds(x);
    buf_done(&x->body);
    buf_done(&x->held);
    http_out_clear(&x->out);
    s->stats.requests--;
    serving_free_arena(s, x->r.arena);
    http_server_check_closed(s);
}

void serving_enter(struct serving *x)
{
    x->busy++;
}

void serving_leave(struct serving *x)
{
    x->busy--;
    serving_settle(x);
}

void serving_detach(struct serving *x, bool finished)
{
    struct http_conn *c = x->conn;
    serving_enter(x);
    list_remove(&x->link);
    list_remove(&x->due);
    c->serving_count--;
    c->idle_since_ms = http_conn_now(c);
    http_conn_check_by(c, c->idle_since_ms + c->server->config.limits.idle_timeout_ms);
    x->conn = NULL;
    x->r.aborted = !finished;
    http_out_clear(&x->out);
    x->out.total = NULL;
    deferred_cancel(&x->drain);
    deferred_cancel(&x->resume);
    if (x->owner == SERVING_HANDLER) {
        list_push_back(&c->server->orphans, &x->link);
        if (!finished && x->on_abort != NULL)
            x->on_abort(&x->r, x->abort_arg);
    }
    serving_leave(x);
}

/* One that stands where x stands on its connection, to be answered. */
static struct serving *serving_stand_in(struct serving *x)
{
    struct serving *y = serving_new(x->conn);
    y->r.method = arena_str(y->r.arena, x->r.method);
    y->r.path = arena_str(y->r.arena, x->r.path);
    y->r.version = x->r.version;
    y->r.content_length = x->r.content_length;
    y->r.has_body = x->r.has_body;
    y->owner = SERVING_HANDLER;
    y->head_told = y->body_told = true;
    y->body_done = x->body_done;
    y->discard_body = true;
    y->paused = x->paused; /* Its last call lets go. */
    y->close_after = x->close_after;
    if (x->held.len > 0)
        x->conn->protocol->body_used(x, x->held.len);
    buf_done(&x->held);
    x->conn->protocol->replace(x, y);
    return y;
}

void http_request_give_up(struct http_request *r, int status, const struct http_header *headers,
                          size_t header_count, struct str body)
{
    struct serving *x = serving_of(r);
    ASSERT(x->owner == SERVING_HANDLER);
    if (x->conn == NULL)
        return;
    if (x->started) {
        x->aborted_by_us = true;
        x->conn->protocol->abort(x);
        return;
    }
    struct serving *y = serving_stand_in(x);
    for (size_t i = 0; i < header_count; i++)
        http_response_header_str(&y->r, headers[i].name, headers[i].value);
    http_respond(&y->r, status, arena_str(y->r.arena, body));
    serving_detach(x, false);
}

/* The handler has made its last call. */
void serving_last_call(struct serving *x)
{
    ASSERT(x->owner == SERVING_HANDLER);
    x->owner = SERVING_NOBODY;
    x->ended = true;
    x->on_abort = NULL;
    x->on_drain = NULL;
    x->discard_body = true;
    /* What is held back will not be asked for any more. */
    if (x->conn != NULL && x->held.len > 0)
        x->conn->protocol->body_used(x, x->held.len);
    buf_done(&x->held);
    bool was_paused = x->paused;
    x->paused = false;
    if (x->conn != NULL && was_paused)
        x->conn->protocol->body_flow(x);
    if (x->conn != NULL)
        x->conn->protocol->output(x);
    serving_settle(x);
}

/* --- the head --- */

void serving_add_header(struct serving *x, struct str name, struct str value)
{
    const struct http_server_limits *limits = &x->r.server->config.limits;
    x->header_bytes += name.len + value.len + 4;
    if (x->header_bytes > limits->header_bytes_max ||
        x->r.header_count >= limits->header_count_max) {
        x->reject_status = 431;
        return;
    }
    x->headers =
        arena_grow(x->r.arena, x->headers, x->r.header_count, &x->header_cap, sizeof(*x->headers));
    x->headers[x->r.header_count++] =
        (struct http_header){arena_str(x->r.arena, name), arena_str(x->r.arena, str_trim(value))};
    x->r.headers = x->headers;
}

void serving_set_target(struct serving *x, struct str target)
{
    ptrdiff_t scheme =
        target.len > 0 && target.data[0] != '/' ? str_find_str(target, STR("://")) : -1;
    if (scheme > 0) {
        /* Absolute form, as proxies get it. */
        ptrdiff_t slash = str_find(target, '/', (size_t)scheme + 3);
        target = slash > 0 ? str_sub(target, (size_t)slash, target.len) : STR("/");
    }
    x->r.target = arena_str(x->r.arena, target);
    struct str path, query;
    str_cut(x->r.target, '?', &path, &query);
    x->r.path = arena_str(x->r.arena, path);
    x->r.query = arena_str(x->r.arena, query);
    if (str_empty(path) || (path.data[0] != '/' && !str_eq(path, STR("*"))))
        x->reject_status = 400;
}

static void serving_call_request(struct serving *x)
{
    const struct http_server_config *config = &x->r.server->config;
    LOOP_CALLBACK(config->name);
    x->owner = SERVING_HANDLER;
    x->r.body = buf_str(&x->body);
    x->body_told = true;
    serving_enter(x);
    config->on_request(&x->r, config->arg);
    serving_leave(x);
}

static const char *serving_reject_text(int status)
{
    switch (status) {
    case 431:
        return "the request header fields are too large";
    case 413:
        return "the request body is too large";
    case 417:
        return "the expectation cannot be met";
    default:
        return "the request is malformed";
    }
}

void serving_head_done(struct serving *x)
{
    const struct http_server_config *config = &x->r.server->config;
    if (x->reject_status != 0) {
        x->head_told = true;
        serving_reject(x, x->reject_status, serving_reject_text(x->reject_status));
        return;
    }
    if (str_empty(x->r.authority))
        x->r.authority = http_request_header(&x->r, "host");
    serving_enter(x);
    if (config->on_headers != NULL) {
        x->owner = SERVING_HANDLER;
        config->on_headers(&x->r, config->arg);
    }
    x->head_told = true;
    if (x->owner == SERVING_NOBODY) {
        serving_leave(x);
        return;
    }
    if (x->body_handler == NULL) {
        x->owner = SERVING_LAYER;
        if (x->r.content_length >= 0 && (uint64_t)x->r.content_length > x->body_max)
            serving_reject(x, 413, serving_reject_text(413));
    }
    if (x->conn != NULL && serving_wants_body(x)) {
        x->input_ms = serving_now(x);
        http_conn_check_by(x->conn, x->input_ms + config->limits.body_timeout_ms);
    }
    serving_leave(x);
}

/* --- the body --- */

bool serving_wants_body(const struct serving *x)
{
    return x->head_told && x->r.has_body && !x->body_done && !x->paused && !x->discard_body;
}

static void serving_tell_body_end(struct serving *x)
{
    if (!x->body_done || x->body_told || x->paused || x->held.len > 0 ||
        x->owner == SERVING_NOBODY || !x->head_told)
        return;
    x->body_told = true;
    if (x->body_handler == NULL) {
        serving_call_request(x);
        return;
    }
    serving_enter(x);
    if (x->body_handler->on_end != NULL)
        x->body_handler->on_end(&x->r, x->body_arg);
    serving_leave(x);
}

void serving_body_data(struct serving *x, const uint8_t *data, size_t len)
{
    x->input_ms = serving_now(x);
    if (x->discard_body || x->owner == SERVING_NOBODY) {
        x->conn->protocol->body_used(x, len);
    } else if (x->body_handler == NULL) {
        x->conn->protocol->body_used(x, len);
        if (len > x->body_max - MIN_OF(x->body.len, x->body_max))
            serving_reject(x, 413, serving_reject_text(413));
        else
            buf_append(&x->body, data, len);
    } else if (x->paused || x->held.len > 0) {
        buf_append(&x->held, data, len); /* At most the window that body_used() has not renewed. */
    } else {
        serving_enter(x);
        x->body_handler->on_data(&x->r, data, len, x->body_arg);
        if (x->conn != NULL)
            x->conn->protocol->body_used(x, len);
        serving_leave(x);
    }
}

void serving_body_done(struct serving *x)
{
    x->body_done = true;
    serving_tell_body_end(x);
}

void http_request_set_body_max(struct http_request *r, size_t body_bytes_max)
{
    serving_of(r)->body_max = body_bytes_max;
}

void http_request_stream_body(struct http_request *r, const struct http_body_handler *handler,
                              void *arg)
{
    struct serving *x = serving_of(r);
    ASSERT(!x->head_told);
    x->body_handler = handler;
    x->body_arg = arg;
}

void http_request_body_patient(struct http_request *r)
{
    serving_of(r)->body_patient = true;
}

void http_request_pause(struct http_request *r)
{
    struct serving *x = serving_of(r);
    if (x->paused || x->body_handler == NULL)
        return;
    x->paused = true;
    if (x->conn != NULL && !x->body_done)
        x->conn->protocol->body_flow(x);
}

void http_request_resume(struct http_request *r)
{
    struct serving *x = serving_of(r);
    if (!x->paused)
        return;
    x->paused = false;
    x->input_ms = serving_now(x);
    if (x->conn == NULL)
        return;
    if (!x->body_done) {
        x->conn->protocol->body_flow(x);
        http_conn_check_by(x->conn, x->input_ms + r->server->config.limits.body_timeout_ms);
    }
    deferred_post(&r->server->queue, &x->resume);
}

static void serving_run_resume(struct deferred *d)
{
    struct serving *x = CONTAINER_OF(d, struct serving, resume);
    if (x->paused || x->owner != SERVING_HANDLER || x->conn == NULL)
        return;
    serving_enter(x);
    if (x->body_handler->on_resume != NULL)
        x->body_handler->on_resume(&x->r, x->body_arg);
    if (x->held.len > 0 && !x->paused && x->owner == SERVING_HANDLER && x->conn != NULL) {
        AUTO_BUF held = x->held;
        x->held = BUF_INIT;
        x->body_handler->on_data(&x->r, held.data, held.len, x->body_arg);
        if (x->conn != NULL)
            x->conn->protocol->body_used(x, held.len);
    }
    if (x->conn != NULL)
        serving_tell_body_end(x);
    serving_leave(x);
}

/* --- other questions and wishes --- */

struct str http_request_header(const struct http_request *r, const char *name)
{
    return http_header_find(r->headers, r->header_count, name);
}

void http_request_on_abort(struct http_request *r, void (*cb)(struct http_request *r, void *arg),
                           void *arg)
{
    struct serving *x = serving_of(r);
    x->on_abort = cb;
    x->abort_arg = arg;
}

struct str http_request_upgrade(const struct http_request *r)
{
    if (r->version != HTTP_1_1 ||
        !http_header_has_token(r->headers, r->header_count, "connection", "upgrade"))
        return STR_NULL;
    struct str first, rest;
    str_cut(http_request_header(r, "upgrade"), ',', &first, &rest);
    first = str_trim(first);
    char *lower = arena_memdup(r->arena, str_c(first), first.len + 1);
    for (size_t i = 0; i < first.len; i++)
        if (lower[i] >= 'A' && lower[i] <= 'Z')
            lower[i] = (char)(lower[i] - 'A' + 'a');
    lower[first.len] = '\0';
    return str_n(lower, first.len);
}

/* --- errors of this layer --- */

void serving_error_body(struct http_server *s, struct http_request *r, int status, const char *text,
                        struct buf *b, const char **ret_content_type)
{
    s->stats.errors_total++;
    *ret_content_type = "text/plain; charset=utf-8";
    if (s->config.on_error_body != NULL) {
        s->config.on_error_body(r, status, text, b, ret_content_type, s->config.arg);
        return;
    }
    buf_printf(b, "%d %s: %s\n", status, http_status_text(status), text);
}

void serving_reject(struct serving *x, int status, const char *text)
{
    if (x->conn == NULL)
        return;
    if (x->owner != SERVING_LAYER) {
        /* The handler's word stands, or it has begun to speak: just cut. */
        if (!x->ended)
            x->conn->protocol->abort(x);
        return;
    }
    AUTO_BUF body = BUF_INIT;
    const char *content_type;
    serving_enter(x);
    serving_error_body(x->r.server, &x->r, status, text, &body, &content_type);
    x->owner = SERVING_HANDLER;
    x->body_told = true;
    http_response_header(&x->r, "content-type", content_type);
    http_respond(&x->r, status, arena_str(x->r.arena, buf_str(&body)));
    serving_leave(x);
}
