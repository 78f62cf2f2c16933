/* webhook_client.c - see webhook_client.h. */
#include "apiserver/webhook_client.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/map.h"
#include "lib/net/bytes.h"
#include "lib/net/http_client.h"
#include "lib/net/tls.h"

#include <uv.h>

#define CLIENTS_MAX 256u
#define CONNECTIONS_MAX 64u

struct client {
    struct http_client *http;
    unsigned calls; /* Running. */
    uint64_t used_ms;
};

struct webhook_pool {
    struct uv_loop_s *loop;
    struct map clients; /* What target_key() gives -> struct client */
};

struct call {
    struct webhook_pool *pool; /* Not looked at once the client is closed. */
    struct client *client;
    struct arena *arena;
    struct buf body;
    bool too_large;
    struct webhook_answer *ret;
    void (*done)(void *arg);
    void *arg;
    uv_timer_t timer; /* Of calls that could not start: done comes later all the same. */
};

struct webhook_pool *webhook_pool_new(struct uv_loop_s *loop)
{
    struct webhook_pool *p = xzalloc(sizeof(*p));
    p->loop = loop;
    map_init(&p->clients);
    return p;
}

static void client_free(struct client *c)
{
    http_client_close(c->http, NULL, NULL);
    free(c);
}

void webhook_pool_close(struct webhook_pool *p)
{
    size_t pos = 0;
    void *value;
    if (p == NULL)
        return;
    /* Calls end from the loop, with their client's memory: nothing of it is
     * looked at then, since closing is told by the code. */
    while (map_next(&p->clients, &pos, NULL, &value)) {
        struct client *c = value;
        http_client_close(c->http, NULL, NULL);
        c->http = NULL;
        if (c->calls == 0)
            free(c);
    }
    map_done(&p->clients);
    free(p);
}

static void make_room(struct webhook_pool *p)
{
    struct str key, oldest_key = STR_NULL;
    struct client *oldest = NULL;
    size_t pos = 0;
    void *value;
    while (map_next(&p->clients, &pos, &key, &value)) {
        struct client *c = value;
        if (c->calls == 0 && (oldest == NULL || c->used_ms < oldest->used_ms)) {
            oldest = c;
            oldest_key = key;
        }
    }
    if (oldest == NULL)
        return; /* All in use: one more. */
    map_remove(&p->clients, oldest_key);
    client_free(oldest);
}

static struct str target_key(struct arena *a, const struct webhook_target *t)
{
    return arena_printf(a, "%s%s\n" STR_FMT "\n" STR_FMT "\n" STR_FMT "\n" STR_FMT "\n" STR_FMT,
                        t->plain ? "http" : "https", t->insecure ? "?" : "", STR_ARG(t->endpoint),
                        STR_ARG(t->server_name), STR_ARG(t->ca_bundle), STR_ARG(t->cert),
                        STR_ARG(t->key));
}

static int find_client(struct webhook_pool *p, struct arena *a, const struct webhook_target *t,
                       struct client **ret, struct error *err)
{
    struct str key = target_key(a, t);
    struct tls_context *tls = NULL;
    struct tls_config tc = {.ca.pem = t->ca_bundle,
                            .cert.pem = t->cert,
                            .key.pem = t->key,
                            .skip_verify = t->insecure,
                            .alpn = TLS_ALPN_H2 | TLS_ALPN_HTTP1};
    *ret = map_get(&p->clients, key);
    if (*ret != NULL)
        return 0;
    int code = t->plain ? 0 : tls_context_new(&tc, &tls, err);
    if (code != 0)
        return code;
    const char *endpoint = arena_str(a, t->endpoint).data;
    struct http_client_config c = {.endpoints = &endpoint,
                                   .endpoint_count = 1,
                                   .tls = tls,
                                   .server_name = arena_str(a, t->server_name).data,
                                   .connections_max = CONNECTIONS_MAX,
                                   .user_agent = "kube-apiserver-admission"};
    struct http_client *http;
    code = http_client_new(p->loop, &c, &http, err);
    tls_context_unref(tls);
    if (code != 0)
        return code;
    if (p->clients.count >= CLIENTS_MAX)
        make_room(p);
    *ret = xzalloc(sizeof(**ret));
    (*ret)->http = http;
    map_set(&p->clients, key, *ret);
    return 0;
}

static void finish(struct call *c)
{
    void (*done)(void *arg) = c->done;
    void *arg = c->arg;
    buf_done(&c->body);
    free(c);
    done(arg);
}

static void on_data(struct http_call *http, const uint8_t *data, size_t len, void *arg)
{
    struct call *c = arg;
    if (c->body.len + len > WEBHOOK_ANSWER_BYTES_MAX) {
        c->too_large = true;
        http_call_cancel(http);
        return;
    }
    buf_append(&c->body, data, len);
}

static void on_end(struct http_call *http, const struct error *err, void *arg)
{
    struct call *c = arg;
    struct client *k = c->client;
    k->calls--;
    if (k->http == NULL) { /* The pool is closed. */
        if (k->calls == 0)
            free(k);
    } else {
        k->used_ms = uv_now(c->pool->loop);
    }
    if (c->too_large)
        *c->ret =
            (struct webhook_answer){.code = E_TOO_LARGE, .body = STR("response is too large")};
    else if (err != NULL)
        *c->ret = (struct webhook_answer){.code = err->code,
                                          .body = arena_strc(c->arena, error_message(err))};
    else
        *c->ret = (struct webhook_answer){.status = http_call_status(http),
                                          .body = arena_str(c->arena, buf_str(&c->body))};
    finish(c);
}

static void on_timer_closed(uv_handle_t *h)
{
    finish(CONTAINER_OF(h, struct call, timer));
}

static void on_timer(uv_timer_t *t)
{
    uv_close((uv_handle_t *)t, on_timer_closed);
}

/* The callback must not run inside the call that registered it. */
static void fail_later(struct webhook_pool *p, struct call *c, const struct error *err)
{
    *c->ret = (struct webhook_answer){.code = err->code,
                                      .body = arena_strc(c->arena, error_message(err))};
    uv_timer_init(p->loop, &c->timer);
    uv_timer_start(&c->timer, on_timer, 0, 0);
}

void webhook_call(struct webhook_pool *p, struct arena *a, const struct webhook_target *target,
                  const char *method, struct net_bytes *body, uint64_t timeout_ms,
                  struct webhook_answer *ret, void (*done)(void *arg), void *arg)
{
    struct http_header headers[3] = {
        {.name = {"accept", 6}, .value = {"application/json, */*", 21}}};
    size_t header_count = 1;
    struct error err = {0};
    struct call *c = xzalloc(sizeof(*c));
    if (body != NULL)
        headers[header_count++] =
            (struct http_header){.name = STR("content-type"), .value = STR("application/json")};
    if (target->authorization.len != 0)
        headers[header_count++] =
            (struct http_header){.name = STR("authorization"), .value = target->authorization};
    c->pool = p;
    c->arena = a;
    c->ret = ret;
    c->done = done;
    c->arg = arg;
    int code = find_client(p, a, target, &c->client, &err);
    if (code == 0) {
        struct http_call_config call = {
            .method = method,
            .target = arena_str(a, target->path).data,
            .authority =
                arena_str(a, target->authority.len != 0 ? target->authority : target->server_name)
                    .data,
            .headers = headers,
            .header_count = header_count,
            .body = body,
            .timeout_ms = timeout_ms,
            .on_data = on_data,
            .on_end = on_end,
            .arg = c};
        code = http_call_start(c->client->http, &call, NULL, &err);
        if (code == 0)
            c->client->calls++;
    }
    net_bytes_unref(body);
    if (code != 0)
        fail_later(p, c, &err);
}

void webhook_post(struct webhook_pool *p, struct arena *a, const struct webhook_target *target,
                  struct net_bytes *body, uint64_t timeout_ms, struct webhook_answer *ret,
                  void (*done)(void *arg), void *arg)
{
    webhook_call(p, a, target, "POST", body, timeout_ms, ret, done, arg);
}
