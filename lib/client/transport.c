/* transport.c - connections of the client: TLS and addresses from the
 * kubeconfig, and the credentials' files looked at again while running. */
#include "lib/client/client_internal.h"

#include "lib/base/arena.h"
#include "lib/base/encode.h"
#include "lib/base/log.h"
#include "lib/client/kubeconfig.h"
#include "lib/client/transport.h"
#include "lib/net/bytes.h"
#include "lib/net/tls.h"
#include "lib/net/url.h"

#include <string.h>

static struct tls_source source_of(const struct kubeconfig_data *d)
{
    if (d->file != NULL)
        return (struct tls_source){.file = d->file};
    return (struct tls_source){.pem = d->data};
}

static int make_tls(const struct kubeconfig *k, struct tls_context **ret, struct error *err)
{
    struct tls_config config = {
        .cert = source_of(&k->cert),
        .key = source_of(&k->key),
        .ca = source_of(&k->ca),
        .alpn = TLS_ALPN_H2 | TLS_ALPN_HTTP1,
        .skip_verify = k->insecure_skip_tls_verify,
    };
    return tls_context_new(&config, ret, err);
}

struct endpoints {
    const char *items[KUBECONFIG_SERVERS_MAX];
    size_t count;
    bool tls;
    struct str path; /* Of the first server. */
};

/* "https://[::1]:6443/x" -> "[::1]:6443". */
static int parse_servers(struct arena *a, const struct kubeconfig *k, struct endpoints *ret,
                         struct error *err)
{
    *ret = (struct endpoints){0};
    if (k->server_count == 0)
        return error_set(err, E_INVALID, "kubeconfig names no server");
    for (size_t i = 0; i < k->server_count; i++) {
        struct url u;
        int rc = url_parse(str_of(k->servers[i]), &u, err);
        if (rc != 0) {
            error_prefix(err, "server \"%s\"", k->servers[i]);
            return rc;
        }
        bool tls = str_eqc(u.scheme, "https");
        if (!tls && !str_eqc(u.scheme, "http"))
            return error_set(err, E_INVALID, "server \"%s\": the scheme must be https or http",
                             k->servers[i]);
        if (i != 0 && tls != ret->tls)
            return error_set(err, E_INVALID, "servers must be all https or all http");
        ret->tls = tls;
        if (i == 0)
            ret->path = u.path;
        bool v6 = str_find(u.host, ':', 0) >= 0;
        ret->items[ret->count++] = arena_printf(a, v6 ? "[" STR_FMT "]:%u" : STR_FMT ":%u",
                                                STR_ARG(u.host), (unsigned)u.port)
                                       .data;
    }
    return 0;
}

static char *prefix_of(struct str path)
{
    while (path.len != 0 && path.data[path.len - 1] == '/')
        path.len--;
    return xstrndup(str_empty(path) ? "" : path.data, path.len);
}

int transport_open(struct client *c, struct kubeconfig *k, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct endpoints e;
    int rc = parse_servers(a, k, &e, err);
    if (rc != 0)
        return rc;
    struct tls_context *tls = NULL;
    if (e.tls && (rc = make_tls(k, &tls, err)) != 0)
        return rc;
    struct http_client_config config = {
        .endpoints = e.items,
        .endpoint_count = e.count,
        .tls = tls,
        .server_name = k->tls_server_name,
        .user_agent = c->user_agent,
    };
    struct http_client *http;
    rc = http_client_new(c->loop, &config, &http, err);
    if (rc != 0) {
        tls_context_unref(tls);
        return rc;
    }
    struct transport *t = xzalloc(sizeof(*t));
    t->client = c;
    t->http = http;
    t->tls = tls;
    if (c->transport != NULL)
        transport_retire(c->transport);
    list_push_back(&c->transports, &t->link);
    c->transport = t;
    free(c->prefix);
    c->prefix = prefix_of(e.path);
    return 0;
}

static void on_http_closed(void *arg)
{
    struct transport *t = arg;
    struct client *c = t->client;
    list_remove(&t->link);
    tls_context_unref(t->tls);
    free(t);
    client_maybe_free(c);
}

static void close_when_idle(struct transport *t)
{
    if (!t->retired || t->calls != 0 || t->closing)
        return;
    t->closing = true;
    http_client_close(t->http, on_http_closed, t);
}

void transport_retire(struct transport *t)
{
    t->retired = true;
    if (t->client->transport == t)
        t->client->transport = NULL;
    close_when_idle(t);
}

void client_http_ended(struct transport *t)
{
    ASSERT_CMP(t->calls, >, 0);
    t->calls--;
    close_when_idle(t);
}

static struct http_header header(const char *name, const char *value)
{
    return (struct http_header){str_of(name), str_of(value)};
}

#define HEADERS_MAX 24

static size_t put_headers(const struct client *c, const struct client_message *m,
                          struct http_header *h)
{
    const struct kubeconfig *k = c->config;
    size_t n = 0;
    h[n++] = header("accept", m->accept);
    if (m->content_type != NULL)
        h[n++] = header("content-type", m->content_type);
    if (c->authorization != NULL)
        h[n++] = header("authorization", c->authorization);
    if (k->impersonate_user != NULL)
        h[n++] = header("impersonate-user", k->impersonate_user);
    for (size_t i = 0; k->impersonate_groups != NULL && k->impersonate_groups[i] != NULL; i++)
        if (n < HEADERS_MAX)
            h[n++] = header("impersonate-group", k->impersonate_groups[i]);
    return n;
}

int client_http_start(struct client *c, const struct client_message *m, uint64_t timeout_ms,
                      uint64_t header_timeout_ms, void (*on_headers)(struct http_call *, void *),
                      void (*on_data)(struct http_call *, const uint8_t *, size_t, void *),
                      void (*on_end)(struct http_call *, const struct error *, void *), void *arg,
                      struct transport **ret_transport, struct http_call **ret, struct error *err)
{
    struct http_header headers[HEADERS_MAX];
    struct http_call_config config = {
        .method = m->method,
        .target = m->target,
        .headers = headers,
        .header_count = put_headers(c, m, headers),
        .body = m->body,
        .timeout_ms = timeout_ms,
        .header_timeout_ms = header_timeout_ms,
        .on_headers = on_headers,
        .on_data = on_data,
        .on_end = on_end,
        .arg = arg,
    };
    int rc = http_call_start(c->transport->http, &config, ret, err);
    if (rc != 0)
        return rc;
    c->transport->calls++;
    *ret_transport = c->transport;
    return 0;
}

/* --- credentials ------------------------------------------------------------------ */

void transport_set_authorization(struct client *c)
{
    const struct kubeconfig *k = c->config;
    free(c->authorization);
    c->authorization = NULL;
    struct str token = str_trim(k->token.data);
    if (!str_empty(token)) {
        c->authorization = xasprintf("Bearer " STR_FMT, STR_ARG(token));
    } else if (k->username != NULL) {
        AUTO_BUF b = BUF_INIT;
        AUTO_FREE char *pair =
            xasprintf("%s:%s", k->username, k->password != NULL ? k->password : "");
        buf_puts(&b, "Basic ");
        base64_encode(BASE64_STD, pair, strlen(pair), &b);
        c->authorization = buf_steal(&b, NULL);
    }
}

/* Reading happens on a worker thread, on copies; the loop takes the result. */
struct reload {
    uv_work_t work;
    struct client *client;
    struct tls_context *tls;
    struct kubeconfig_data token;
    bool tls_changed;
    bool token_changed;
    struct error err;
};

static void reload_run(uv_work_t *work)
{
    struct reload *r = work->data;
    struct str before = r->token.data;
    if (r->tls != NULL && tls_context_reload(r->tls, &r->tls_changed, &r->err) != 0)
        return;
    if (r->token.file == NULL)
        return;
    AUTO_FREE char *file = take(r->token.file);
    AUTO_FREE char *old = xstrndup(str_c(before), before.len);
    if (kubeconfig_set_file(&r->token, file, &r->err) == 0)
        r->token_changed = !str_eqc(r->token.data, old);
}

static void reload_done(uv_work_t *work, int status)
{
    struct reload *r = work->data;
    struct client *c = r->client;
    UNUSED(status);
    c->reloading = false;
    if (r->err.code != 0 && !c->closing)
        log_warning("credentials not reloaded: %s", error_message(&r->err));
    if (r->tls_changed && !c->closing && c->transport != NULL && c->transport->tls == r->tls)
        http_client_reconnect(c->transport->http);
    if (r->token_changed && !c->closing && c->config->token.file != NULL) {
        kubeconfig_set_data(&c->config->token, r->token.data);
        c->config->token.file = xstrdup(r->token.file);
        transport_set_authorization(c);
    }
    tls_context_unref(r->tls);
    kubeconfig_set_data(&r->token, STR_NULL);
    free(r);
    client_maybe_free(c);
}

static bool has_files(const struct kubeconfig *k)
{
    return k->ca.file != NULL || k->cert.file != NULL || k->key.file != NULL ||
           k->token.file != NULL;
}

static void on_reload_timer(uv_timer_t *timer)
{
    struct client *c = timer->data;
    if (c->reloading || c->transport == NULL || !has_files(c->config))
        return;
    struct reload *r = xzalloc(sizeof(*r));
    r->work.data = r;
    r->client = c;
    r->tls = c->transport->tls != NULL ? tls_context_ref(c->transport->tls) : NULL;
    if (c->config->token.file != NULL) {
        kubeconfig_set_data(&r->token, c->config->token.data);
        r->token.file = xstrdup(c->config->token.file);
    }
    c->reloading = true;
    if (uv_queue_work(c->loop, &r->work, reload_run, reload_done) != 0)
        reload_done(&r->work, 0);
}

void transport_watch_files(struct client *c)
{
    if (has_files(c->config))
        uv_timer_start(&c->reload_timer, on_reload_timer, CLIENT_RELOAD_MS, CLIENT_RELOAD_MS);
    else
        uv_timer_stop(&c->reload_timer);
}
