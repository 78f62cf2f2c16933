/* client.c - the life of a call: rate limit, tries, answer.
 *
 *             bucket empty                    connection refused, lost read,
 *   start ----------------> WAITING <-------- 429/5xx with Retry-After
 *     |                        | due                        |
 *     +----------------> SENT (http call) ------------------+
 *                              | answer, or nothing more to try
 *                              v
 *                            done() */
#include "lib/client/client.h"

#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/client/client_internal.h"
#include "lib/client/client_metrics.h"
#include "lib/client/kubeconfig.h"
#include "lib/client/transport.h"
#include "lib/net/bytes.h"

#include <string.h>

struct client_request {
    struct list link;
    struct heap_node waiting;
    struct client *client;
    struct arena *arena;
    struct client_message message;
    const struct api_kind *kind;
    bool decode;
    bool cancelled;
    bool too_large;
    struct transport *transport;
    struct http_call *http; /* NULL: waiting. */
    uint64_t due_ms;
    uint64_t deadline_ms; /* UINT64_MAX: none */
    uint64_t sent_ms;     /* The present try. */
    unsigned tries;
    unsigned connect_tries;
    struct buf body;
    void (*on_data)(struct client_request *r, struct str piece, void *arg);
    void (*done)(struct client_request *r, const struct client_result *result, void *arg);
    void *arg;
};

static void send_request(struct client_request *r);
static void on_timer(uv_timer_t *timer);

/* --- waiting ----------------------------------------------------------------------- */

static bool due_before(const struct heap_node *a, const struct heap_node *b, void *arg)
{
    UNUSED(arg);
    return HEAP_ENTRY(a, const struct client_request, waiting)->due_ms <
           HEAP_ENTRY(b, const struct client_request, waiting)->due_ms;
}

static void arm_timer(struct client *c)
{
    struct heap_node *n = heap_peek(&c->waiting);
    if (n == NULL || c->closing) {
        uv_timer_stop(&c->timer);
        return;
    }
    uint64_t due = HEAP_ENTRY(n, struct client_request, waiting)->due_ms;
    uint64_t now = env_now_ms(c->env);
    uv_update_time(c->loop);
    uv_timer_start(&c->timer, on_timer, due > now ? due - now : 0, 0);
}

static void wait_until(struct client_request *r, uint64_t due_ms)
{
    r->due_ms = due_ms;
    heap_push(&r->client->waiting, &r->waiting);
    arm_timer(r->client);
}

static void on_timer(uv_timer_t *timer)
{
    struct client *c = timer->data;
    for (;;) {
        struct heap_node *n = heap_peek(&c->waiting);
        if (n == NULL || HEAP_ENTRY(n, struct client_request, waiting)->due_ms > env_now_ms(c->env))
            break;
        heap_remove(&c->waiting, n);
        send_request(HEAP_ENTRY(n, struct client_request, waiting));
    }
    arm_timer(c);
}

/* --- ends -------------------------------------------------------------------------- */

static void request_free(struct client_request *r)
{
    struct client *c = r->client;
    if (heap_has(&r->waiting))
        heap_remove(&c->waiting, &r->waiting);
    list_remove(&r->link);
    net_bytes_unref(r->message.body);
    buf_done(&r->body);
    arena_free(r->arena);
    free(r);
}

static void finish(struct client_request *r, const struct client_result *result)
{
    if (!r->cancelled && r->done != NULL)
        r->done(r, result, r->arg);
    struct client *c = r->client;
    request_free(r);
    client_maybe_free(c);
}

static void finish_error(struct client_request *r, const struct error *err)
{
    struct client_result result = {.code = err->code, .message = error_message(err)};
    /* Whether a write took effect is unknown once any of it was sent. */
    bool maybe_done = !r->message.is_read && r->http != NULL && http_call_sent(r->http) &&
                      (err->code == E_CLOSED || err->code == E_IO || err->code == E_TIMEOUT);
    if (maybe_done)
        result.code = E_UNKNOWN_OUTCOME;
    finish(r, &result);
}

/* --- tries ------------------------------------------------------------------------- */

/* Waits for another try; false when there is to be none. */
static bool try_again(struct client_request *r, uint64_t delay_ms, unsigned *tries,
                      unsigned tries_max)
{
    uint64_t now = env_now_ms(r->client->env);
    if (r->client->closing || ++*tries >= tries_max || now + delay_ms >= r->deadline_ms)
        return false;
    client_metrics_add_retry(r->client->metrics, r->message.method, http_call_status(r->http));
    buf_clear(&r->body);
    r->http = NULL;
    wait_until(r, now + delay_ms);
    return true;
}

static uint64_t connect_delay_ms(struct client_request *r)
{
    uint64_t base = 100u << r->connect_tries;
    return base / 2 + env_random_below(r->client->env, base);
}

static bool may_repeat_after(const struct client_request *r, const struct error *err)
{
    bool untouched = !http_call_sent(r->http);
    switch (err->code) {
    case E_UNAVAILABLE:
    case E_CLOSED:
    case E_IO:
        /* Pieces already handed out cannot be taken back. */
        return untouched || (r->message.is_read && r->on_data == NULL);
    default:
        return false;
    }
}

static uint64_t retry_after_ms(const struct http_call *call)
{
    uint64_t seconds;
    int status = http_call_status(call);
    if (status != 429 && status < 500)
        return 0;
    if (!str_to_u64(http_call_header(call, "retry-after"), &seconds))
        return 0;
    return seconds == 0 ? 100 : MIN_OF(seconds, (uint64_t)3600) * 1000;
}

static void on_http_data(struct http_call *call, const uint8_t *data, size_t len, void *arg)
{
    struct client_request *r = arg;
    int status = http_call_status(call);
    struct str piece = str_n((const char *)data, len);
    if (r->cancelled || r->too_large)
        return;
    if (r->on_data != NULL && status >= 200 && status <= 299) {
        r->on_data(r, piece, r->arg);
    } else if (r->body.len + len > CLIENT_BODY_MAX) {
        r->too_large = true;
        http_call_cancel(call);
    } else {
        buf_append(&r->body, data, len);
    }
}

static void answer(struct client_request *r, struct http_call *call)
{
    struct client_result result = {0};
    uint64_t delay_ms = retry_after_ms(call);
    if (delay_ms != 0 && try_again(r, delay_ms, &r->tries, CLIENT_TRIES_MAX))
        return;
    buf_putc(&r->body, '\0'); /* Text users may take it as a C string. */
    struct str body = str_n((const char *)r->body.data, r->body.len - 1);
    client_decode_answer(r->arena, r->kind, r->decode, http_call_status(call),
                         http_call_header(call, "content-type"), body, &result);
    if (result.retry_after_s == 0)
        result.retry_after_s = (uint32_t)((delay_ms + 999) / 1000);
    finish(r, &result);
}

static void count_try(const struct client_request *r, const struct http_call *call,
                      const struct error *err)
{
    struct client *c = r->client;
    client_metrics_add(c->metrics, &(struct client_try){
                                       .method = r->message.method,
                                       .status = err == NULL ? http_call_status(call) : 0,
                                       .took_ms = env_now_ms(c->env) - r->sent_ms,
                                       .sent = r->message.body != NULL ? r->message.body->len : 0,
                                       .received = r->body.len,
                                   });
}

static void on_http_end(struct http_call *call, const struct error *err, void *arg)
{
    struct client_request *r = arg;
    struct transport *t = r->transport;
    if (!r->cancelled)
        count_try(r, call, err);
    if (r->cancelled) {
        finish(r, NULL);
    } else if (r->too_large) {
        struct error large;
        error_set(&large, E_TOO_LARGE, "the answer is larger than %u bytes", CLIENT_BODY_MAX);
        finish_error(r, &large);
    } else if (err == NULL) {
        answer(r, call);
    } else if (!may_repeat_after(r, err) ||
               !try_again(r, connect_delay_ms(r), &r->connect_tries, CLIENT_CONNECT_TRIES_MAX)) {
        finish_error(r, err);
    }
    client_http_ended(t);
}

static void send_request(struct client_request *r)
{
    struct client *c = r->client;
    uint64_t now = env_now_ms(c->env), timeout_ms = 0;
    struct error err = {0};
    if (r->deadline_ms != UINT64_MAX)
        timeout_ms = r->deadline_ms > now ? r->deadline_ms - now : 1;
    r->sent_ms = now;
    int rc = client_http_start(c, &r->message, timeout_ms, 0, NULL, on_http_data, on_http_end, r,
                               &r->transport, &r->http, &err);
    if (rc != 0)
        finish_error(r, &err);
}

/* --- start and cancel ---------------------------------------------------------------- */

/* How long a new call is to wait for its place in the rate. */
static uint64_t bucket_delay_ms(struct client *c, uint64_t now)
{
    if (c->qps <= 0)
        return 0;
    double elapsed_s = (double)(now - c->tokens_at_ms) / 1000.0;
    c->tokens = MIN_OF(c->tokens + elapsed_s * c->qps, c->burst) - 1;
    c->tokens_at_ms = now;
    return c->tokens >= 0 ? 0 : (uint64_t)(-c->tokens / c->qps * 1000.0);
}

static struct client_request *request_new(struct client *c, uint32_t timeout_ms)
{
    struct client_request *r = xzalloc(sizeof(*r));
    r->client = c;
    r->arena = arena_new(1024);
    list_init(&r->link);
    uint64_t now = env_now_ms(c->env);
    uint32_t t = timeout_ms != 0 ? timeout_ms : CLIENT_TIMEOUT_MS_DEFAULT;
    r->deadline_ms = t == UINT32_MAX ? UINT64_MAX : now + t;
    return r;
}

static int request_start(struct client_request *r, struct client_request **ret, struct error *err)
{
    struct client *c = r->client;
    uint64_t now = env_now_ms(c->env), delay_ms = bucket_delay_ms(c, now);
    list_push_back(&c->requests, &r->link);
    r->sent_ms = now;
    if (c->qps > 0)
        client_metrics_add_wait(c->metrics, r->message.method, delay_ms);
    if (delay_ms != 0) {
        wait_until(r, now + delay_ms);
    } else {
        uint64_t timeout_ms = r->deadline_ms == UINT64_MAX ? 0 : r->deadline_ms - now;
        int rc = client_http_start(c, &r->message, timeout_ms, 0, NULL, on_http_data, on_http_end,
                                   r, &r->transport, &r->http, err);
        if (rc != 0) {
            request_free(r);
            return rc;
        }
    }
    if (ret != NULL)
        *ret = r;
    return 0;
}

int client_start(struct client *c, const struct client_call *call, struct client_request **ret,
                 struct error *err)
{
    if (c->closing)
        return error_set(err, E_CLOSED, "the client is closing");
    struct client_request *r = request_new(c, call->timeout_ms);
    int rc = client_encode_call(r->arena, c->prefix, call, &r->message, err);
    if (rc != 0) {
        request_free(r);
        return rc;
    }
    r->kind = call->kind;
    r->decode = !call->undecoded;
    r->done = call->done;
    r->arg = call->arg;
    return request_start(r, ret, err);
}

int client_raw_start(struct client *c, const struct client_raw *raw, struct client_request **ret,
                     struct error *err)
{
    if (c->closing)
        return error_set(err, E_CLOSED, "the client is closing");
    struct client_request *r = request_new(c, raw->timeout_ms);
    const char *method = raw->method != NULL ? raw->method : "GET";
    r->message = (struct client_message){
        .method = arena_strdup(r->arena, method),
        .target = arena_printf(r->arena, "%s" STR_FMT, c->prefix, STR_ARG(raw->path)).data,
        .content_type =
            raw->content_type != NULL ? arena_strdup(r->arena, raw->content_type) : NULL,
        .accept = arena_strdup(r->arena, raw->accept != NULL ? raw->accept : "application/json"),
        .body = !str_empty(raw->body) ? net_bytes_copy(raw->body.data, raw->body.len) : NULL,
        .is_read = strcmp(method, "GET") == 0,
    };
    r->on_data = raw->on_data;
    r->done = raw->done;
    r->arg = raw->arg;
    return request_start(r, ret, err);
}

void client_cancel(struct client_request *r)
{
    r->cancelled = true;
    if (heap_has(&r->waiting)) {
        request_free(r);
        return;
    }
    http_call_cancel(r->http);
}

/* --- the client ---------------------------------------------------------------------- */

static void init_handles(struct client *c)
{
    uv_timer_init(c->loop, &c->timer);
    uv_timer_init(c->loop, &c->reload_timer);
    c->timer.data = c->reload_timer.data = c;
    uv_unref((uv_handle_t *)&c->reload_timer); /* Waiting for files keeps no loop alive. */
    c->handles_open = 2;
}

int client_new(struct uv_loop_s *loop, struct kubeconfig *config,
               const struct client_options *options, struct client **ret, struct error *err)
{
    static const struct client_options none;
    options = options != NULL ? options : &none;
    struct client *c = xzalloc(sizeof(*c));
    c->loop = loop;
    c->env = options->env != NULL ? options->env : env_system();
    c->config = config;
    c->user_agent = xstrdup(options->user_agent != NULL ? options->user_agent : "trireme");
    c->qps = options->qps;
    c->burst = c->tokens = options->burst != 0 ? options->burst : 1;
    c->tokens_at_ms = env_now_ms(c->env);
    list_init(&c->transports);
    list_init(&c->requests);
    list_init(&c->watches);
    heap_init(&c->waiting, due_before, NULL);
    int rc = transport_open(c, config, err);
    if (rc != 0) {
        kubeconfig_free(config);
        heap_done(&c->waiting);
        free(c->user_agent);
        free(c);
        return rc;
    }
    c->metrics = client_metrics_new(config->servers[0]);
    init_handles(c);
    transport_set_authorization(c);
    transport_watch_files(c);
    *ret = c;
    return 0;
}

void client_maybe_free(struct client *c)
{
    if (!c->closing || c->handles_open != 0 || c->reloading || !list_empty(&c->transports) ||
        !list_empty(&c->requests) || !list_empty(&c->watches))
        return;
    void (*on_closed)(void *) = c->on_closed;
    void *arg = c->on_closed_arg;
    kubeconfig_free(c->config);
    heap_done(&c->waiting);
    client_metrics_free(c->metrics);
    free(c->user_agent);
    free(c->prefix);
    free(c->authorization);
    free(c);
    if (on_closed != NULL)
        on_closed(arg);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct client *c = h->data;
    c->handles_open--;
    client_maybe_free(c);
}

void client_close(struct client *c, void (*on_closed)(void *arg), void *arg)
{
    if (c == NULL)
        return;
    ASSERT(!c->closing);
    c->closing = true;
    c->on_closed = on_closed;
    c->on_closed_arg = arg;
    LIST_FOREACH_SAFE (it, &c->requests) {
        client_cancel(LIST_ENTRY(it, struct client_request, link));
    }
    LIST_FOREACH_SAFE (it, &c->watches) {
        client_watch_abandon(it);
    }
    transport_retire(c->transport);
    uv_close((uv_handle_t *)&c->timer, on_handle_closed);
    uv_close((uv_handle_t *)&c->reload_timer, on_handle_closed);
}

struct uv_loop_s *client_loop(const struct client *c)
{
    return c->loop;
}

struct env *client_env(const struct client *c)
{
    return c->env;
}

const struct kubeconfig *client_config(const struct client *c)
{
    return c->config;
}

int client_set_config(struct client *c, struct kubeconfig *config, struct error *err)
{
    int rc = transport_open(c, config, err);
    if (rc != 0) {
        kubeconfig_free(config);
        return rc;
    }
    kubeconfig_free(c->config);
    c->config = config;
    transport_set_authorization(c);
    transport_watch_files(c);
    return 0;
}
