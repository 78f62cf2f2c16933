/* server_stream.c - exec, attach and port-forward: the runtime is asked for a
 * one-time URL of its streaming server, and the client's upgraded connection
 * is joined to it, byte for byte.
 *
 *   client =upgrade= us =CRI=> URL; us =upgrade= runtime; then bytes both ways */
#include "kubelet/cri.h"
#include "kubelet/kubelet.h"
#include "kubelet/pod_worker.h"
#include "kubelet/server.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/net/http_client.h"
#include "lib/net/http_server.h"
#include "lib/net/stream.h"
#include "lib/net/url.h"

#define CRI_STREAM_TIMEOUT_MS 10000u
#define COMMAND_WORDS_MAX 4096
#define PORTS_MAX 64

struct bridge {
    struct kubelet *k;
    struct http_request *r; /* Until upgraded or answered. */
    struct arena *arena;
    struct http_client *http;
    struct net_stream *client, *runtime;
    int open; /* Callbacks owed. */
    bool answered;
};

static void bridge_release(struct bridge *b)
{
    if (b->open > 0)
        return;
    arena_free(b->arena);
    free(b);
}

static void on_http_closed(void *arg)
{
    struct bridge *b = arg;
    b->open--;
    bridge_release(b);
}

/* --- bytes both ways ---------------------------------------------------------------------- */

static struct net_stream *other(const struct bridge *b, const struct net_stream *s)
{
    return s == b->client ? b->runtime : b->client;
}

static void on_read(struct net_stream *s, const uint8_t *data, size_t len, void *arg)
{
    struct bridge *b = arg;
    struct net_stream *to = other(b, s);
    if (to == NULL)
        return;
    net_stream_write(to, data, len);
    if (net_stream_room(to) == 0)
        net_stream_pause(s);
}

static void on_writable(struct net_stream *s, void *arg)
{
    struct bridge *b = arg;
    struct net_stream *from = other(b, s);
    if (from != NULL)
        net_stream_resume(from);
}

static void on_eof(struct net_stream *s, void *arg)
{
    struct bridge *b = arg;
    struct net_stream *to = other(b, s);
    if (to != NULL)
        net_stream_shutdown(to);
}

static void on_close(struct net_stream *s, const struct error *err, void *arg)
{
    struct bridge *b = arg;
    UNUSED(err);
    struct net_stream *to = other(b, s);
    if (s == b->client)
        b->client = NULL;
    else
        b->runtime = NULL;
    if (to != NULL)
        net_stream_close_soft(to);
    if (b->client == NULL && b->runtime == NULL && b->http != NULL)
        http_client_close(take(b->http), on_http_closed, b);
    b->open--;
    bridge_release(b);
}

static const struct net_stream_handler bridge_handler = {
    .on_read = on_read, .on_eof = on_eof, .on_writable = on_writable, .on_close = on_close};

/* --- the runtime's side -------------------------------------------------------------------- */

static void answer_error(struct bridge *b, int status, const char *text)
{
    if (b->answered)
        return;
    b->answered = true;
    server_text(b->r, status, "%s", text);
}

static void on_upgrade(struct http_call *call, struct net_stream *stream, void *arg)
{
    struct bridge *b = arg;
    struct error err;
    size_t n;
    const struct http_header *h = http_call_headers(call, &n);
    b->runtime = stream;
    b->open++;
    net_stream_set_handler(stream, &bridge_handler, b);
    for (size_t i = 0; i < n; i++) {
        if (!str_eqc(h[i].name, "connection") && !str_eqc(h[i].name, "upgrade") &&
            !str_eqc(h[i].name, "date") && !str_eqc(h[i].name, "content-length"))
            http_response_header_str(b->r, h[i].name, h[i].value);
    }
    struct str protocol = http_request_upgrade(b->r);
    AUTO_ARENA *a = arena_new(0);
    struct str shown = http_call_header(call, "upgrade");
    if (str_empty(shown))
        shown = protocol;
    if (http_response_upgrade(b->r, str_c(arena_str(a, shown)), &bridge_handler, b, &b->client,
                              &err) != 0) {
        answer_error(b, 400, error_message(&err));
        net_stream_close(stream);
        return;
    }
    b->answered = true;
    b->open++;
}

static void on_call_end(struct http_call *call, const struct error *err, void *arg)
{
    struct bridge *b = arg;
    if (!b->answered)
        answer_error(b, 502,
                     err != NULL ? error_message(err)
                                 : str_c(arena_printf(b->arena, "the runtime answered %d",
                                                      http_call_status(call))));
    if (b->client == NULL && b->runtime == NULL && b->http != NULL)
        http_client_close(take(b->http), on_http_closed, b);
    b->open--;
    bridge_release(b);
}

/* Headers that make the upgrade, in the client's own words. */
static struct http_header *forward_headers(struct bridge *b, size_t *ret_count)
{
    static const char *const dropped[] = {
        "host",          "connection",      "upgrade",   "content-length", "transfer-encoding",
        "authorization", "accept-encoding", "user-agent"};
    struct http_header *list = ARENA_ARRAY(b->arena, struct http_header, b->r->header_count + 2);
    *ret_count = 0;
    for (size_t i = 0; i < b->r->header_count; i++) {
        bool drop = b->r->headers[i].name.len > 0 && b->r->headers[i].name.data[0] == ':';
        for (size_t k = 0; k < ARRAY_SIZE(dropped) && !drop; k++)
            drop = str_eqc(b->r->headers[i].name, dropped[k]);
        if (!drop)
            list[(*ret_count)++] = b->r->headers[i];
    }
    list[(*ret_count)++] = (struct http_header){STR("connection"), STR("Upgrade")};
    list[(*ret_count)++] = (struct http_header){STR("upgrade"), http_request_upgrade(b->r)};
    return list;
}

static void join(struct bridge *b, const char *url)
{
    struct url u;
    struct error err;
    if (url_parse(str_of(url), &u, &err) != 0) {
        answer_error(b, 500, error_message(&err));
        return;
    }
    const char *endpoint = str_c(arena_str(b->arena, u.authority));
    const char *endpoints[] = {endpoint};
    struct http_client_config config = {
        .endpoints = endpoints, .endpoint_count = 1, .protocol = HTTP_CLIENT_H1};
    if (http_client_new(b->k->loop, &config, &b->http, &err) != 0) {
        answer_error(b, 500, error_message(&err));
        return;
    }
    b->open++;
    struct http_call_config call = {
        .method = str_c(arena_str(b->arena, b->r->method)),
        .target = str_c(u.query.len > 0 ? arena_printf(b->arena, STR_FMT "?" STR_FMT,
                                                       STR_ARG(u.path), STR_ARG(u.query))
                                        : arena_printf(b->arena, STR_FMT, STR_ARG(u.path))),
        .upgrade = true,
        .header_timeout_ms = CRI_STREAM_TIMEOUT_MS,
        .on_end = on_call_end,
        .on_upgrade = on_upgrade,
        .arg = b,
    };
    call.headers = forward_headers(b, &call.header_count);
    if (http_call_start(b->http, &call, NULL, &err) != 0) {
        answer_error(b, 500, error_message(&err));
        http_client_close(take(b->http), on_http_closed, b);
        return;
    }
    b->open++;
}

/* --- asking the runtime ---------------------------------------------------------------------- */

static void on_url(struct bridge *b, const struct cri_reply *reply, const char *url)
{
    if (reply->code != 0)
        answer_error(b, reply->status == GRPC_NOT_FOUND ? 404 : 500, reply->message);
    else
        join(b, url);
    b->open--;
    bridge_release(b);
}

static void on_exec(const struct cri_reply *reply, void *arg)
{
    const CRI(ExecResponse) *r = reply->msg;
    on_url(arg, reply, reply->code == 0 ? r->url : NULL);
}

static void on_attach(const struct cri_reply *reply, void *arg)
{
    const CRI(AttachResponse) *r = reply->msg;
    on_url(arg, reply, reply->code == 0 ? r->url : NULL);
}

static void on_port_forward(const struct cri_reply *reply, void *arg)
{
    const CRI(PortForwardResponse) *r = reply->msg;
    on_url(arg, reply, reply->code == 0 ? r->url : NULL);
}

static struct bridge *bridge_new(struct kubelet *k, struct http_request *r)
{
    if (str_empty(http_request_upgrade(r))) {
        server_text(r, 400, "you must specify a protocol to upgrade to");
        return NULL;
    }
    struct bridge *b = xzalloc(sizeof(*b));
    b->k = k;
    b->r = r;
    b->arena = arena_new(0);
    b->open = 1;
    return b;
}

/* {ns}/{pod}/{container} or {ns}/{pod}/{uid}/{container}; NULL once answered. */
static const struct rt_container *find_running(struct kubelet *k, struct http_request *r,
                                               const struct str *segments, size_t count)
{
    struct pod_worker *w = server_find_pod(k, r, segments, count);
    if (w == NULL)
        return NULL;
    struct str name = count > 3 ? segments[3] : count > 2 ? segments[2] : STR_NULL;
    const struct rt_container *c = rt_pod_find(pod_worker_runtime(w), name);
    if (c == NULL || c->state != RT_RUNNING) {
        server_text(r, c == NULL ? 404 : 400,
                    c == NULL ? "container not found (\"" STR_FMT "\")"
                              : "container \"" STR_FMT "\" is not running",
                    STR_ARG(name));
        return NULL;
    }
    return c;
}

void server_exec(struct kubelet *k, struct http_request *r, const struct str *segments,
                 size_t count)
{
    const struct rt_container *c = find_running(k, r, segments, count);
    struct bridge *b = c != NULL ? bridge_new(k, r) : NULL;
    if (b == NULL)
        return;
    CRI(ExecRequest) *q = CRI_NEW(b->arena, ExecRequest, exec_request);
    struct str rest = r->query, key, value;
    q->container_id = arena_strdup(b->arena, c->id);
    q->cmd = ARENA_ARRAY(b->arena, char *, COMMAND_WORDS_MAX);
    while (url_query_next(&rest, &key, &value) && q->n_cmd < COMMAND_WORDS_MAX) {
        struct str word;
        if (str_eqc(key, "command") && url_unescape_query(b->arena, value, &word) == 0)
            q->cmd[q->n_cmd++] = (char *)(uintptr_t)str_c(arena_str(b->arena, word));
    }
    q->tty = server_flag(r, "tty");
    q->stdin = server_flag(r, "input") || server_flag(r, "stdin");
    q->stdout = server_flag(r, "output") || server_flag(r, "stdout");
    q->stderr = !q->tty && (server_flag(r, "error") || server_flag(r, "stderr"));
    cri_call(k->cri, CRI_EXEC, q, CRI_STREAM_TIMEOUT_MS, on_exec, b);
}

void server_attach(struct kubelet *k, struct http_request *r, const struct str *segments,
                   size_t count)
{
    const struct rt_container *c = find_running(k, r, segments, count);
    struct bridge *b = c != NULL ? bridge_new(k, r) : NULL;
    if (b == NULL)
        return;
    CRI(AttachRequest) *q = CRI_NEW(b->arena, AttachRequest, attach_request);
    q->container_id = arena_strdup(b->arena, c->id);
    q->tty = server_flag(r, "tty");
    q->stdin = server_flag(r, "input") || server_flag(r, "stdin");
    q->stdout = server_flag(r, "output") || server_flag(r, "stdout");
    q->stderr = !q->tty && (server_flag(r, "error") || server_flag(r, "stderr"));
    cri_call(k->cri, CRI_ATTACH, q, CRI_STREAM_TIMEOUT_MS, on_attach, b);
}

void server_port_forward(struct kubelet *k, struct http_request *r, const struct str *segments,
                         size_t count)
{
    struct pod_worker *w = server_find_pod(k, r, segments, count);
    if (w == NULL)
        return;
    const struct rt_sandbox *sandbox = rt_pod_sandbox(pod_worker_runtime(w));
    if (sandbox == NULL || !sandbox->ready) {
        server_text(r, 400, "pod is not running");
        return;
    }
    struct bridge *b = bridge_new(k, r);
    if (b == NULL)
        return;
    CRI(PortForwardRequest) *q = CRI_NEW(b->arena, PortForwardRequest, port_forward_request);
    struct str rest = r->query, key, value;
    q->pod_sandbox_id = arena_strdup(b->arena, sandbox->id);
    q->port = ARENA_ARRAY(b->arena, int32_t, PORTS_MAX);
    while (url_query_next(&rest, &key, &value) && q->n_port < PORTS_MAX) {
        int64_t port;
        if (str_eqc(key, "port") && str_to_i64(value, &port) && port > 0 && port < 65536)
            q->port[q->n_port++] = (int32_t)port;
    }
    cri_call(k->cri, CRI_PORT_FORWARD, q, CRI_STREAM_TIMEOUT_MS, on_port_forward, b);
}
