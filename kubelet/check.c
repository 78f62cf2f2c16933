/* check.c - see check.h.
 *
 * Whatever the kind, a check ends exactly once: finish() takes the outcome,
 * releases what is open and calls back from the loop's end of round. */
#include "kubelet/check.h"

#include "kubelet/cri.h"
#include "kubelet/kubelet.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc.h"
#include "lib/net/http_client.h"
#include "lib/net/stream.h"
#include "lib/net/tls.h"
#include "lib/net/url.h"

#include "api/core_v1.h"
#include "api/intstr.h"

#define OUTPUT_BYTES_MAX 10240 /* Of a probe, as upstream keeps. */

struct check {
    struct kubelet *kubelet;
    struct arena *arena;
    void (*done)(enum check_result result, const char *output,
                 void *arg); /* NULL: cancelled or called. */
    void *arg;
    bool is_hook;
    enum check_result result;
    const char *output;
    bool finished;

    struct cri_call *exec;
    struct http_client *http;
    struct http_call *http_call;
    struct grpc_call *grpc_call;
    bool grpc_serving;
    int grpc_state;
    struct net_stream *tcp;
    uv_timer_t timer;
    bool has_timer;
    const char *url;
    struct buf body;
    int open; /* Callbacks that are still owed by something below us. */
};

static void release(struct check *c)
{
    if (c->open > 0)
        return;
    buf_done(&c->body);
    arena_free(c->arena);
    free(c);
}

static void on_timer_closed(uv_handle_t *h)
{
    struct check *c = h->data;
    c->open--;
    release(c);
}

static void on_http_closed(void *arg)
{
    struct check *c = arg;
    c->open--;
    release(c);
}

/* Closes what is open; the memory goes with the last callback. */
static void shut(struct check *c)
{
    if (c->has_timer) {
        c->has_timer = false;
        uv_close((uv_handle_t *)&c->timer, on_timer_closed);
    }
    if (c->exec != NULL)
        cri_call_cancel(take(c->exec));
    if (c->tcp != NULL)
        net_stream_close(take(c->tcp));
    if (c->http != NULL)
        http_client_close(take(c->http), on_http_closed, c);
}

static void finish(struct check *c, enum check_result result, const char *output)
{
    if (c->finished)
        return;
    c->finished = true;
    void (*done)(enum check_result, const char *, void *) = c->done;
    c->done = NULL;
    c->open++;
    if (done != NULL)
        done(result, output, c->arg);
    shut(c);
    c->open--;
    release(c);
}

void check_cancel(struct check *c)
{
    if (c == NULL || c->finished)
        return;
    c->done = NULL;
    finish(c, CHECK_ERROR, "");
}

/* --- timer: sleeps, and failures to start, which are reported later ------------- */

static void on_timer(uv_timer_t *t)
{
    struct check *c = t->data;
    finish(c, c->result, c->output);
}

static void finish_later(struct check *c, uint64_t ms, enum check_result result, const char *output)
{
    c->result = result;
    c->output = output;
    c->has_timer = true;
    c->open++;
    uv_timer_init(c->kubelet->loop, &c->timer);
    c->timer.data = c;
    uv_timer_start(&c->timer, on_timer, ms, 0);
}

/* --- exec ------------------------------------------------------------------------ */

static void on_exec(const struct cri_reply *reply, void *arg)
{
    struct check *c = arg;
    c->exec = NULL;
    c->open--;
    if (c->finished) {
        release(c);
        return;
    }
    if (reply->code != 0) {
        /* A command that ran out of time failed; one that could not run is an error. */
        bool timed_out = reply->status == GRPC_DEADLINE_EXCEEDED;
        const char *text = timed_out ? "command timed out" : reply->message;
        finish(c, timed_out ? CHECK_FAILURE : CHECK_ERROR, arena_strdup(c->arena, text));
        return;
    }
    const CRI(ExecSyncResponse) *r = reply->msg;
    size_t out = MIN_OF(r->stdout.len, (size_t)OUTPUT_BYTES_MAX);
    size_t err = MIN_OF(r->stderr.len, OUTPUT_BYTES_MAX - out);
    struct str text = arena_printf(c->arena, "%.*s%.*s", (int)out, (const char *)r->stdout.data,
                                   (int)err, (const char *)r->stderr.data);
    if (r->exit_code != 0 && text.len == 0)
        text = arena_printf(c->arena, "command exited with %d", r->exit_code);
    finish(c, r->exit_code == 0 ? CHECK_SUCCESS : CHECK_FAILURE, str_c(text));
}

static void start_exec(struct check *c, const struct check_config *config)
{
    CRI(ExecSyncRequest) *r = CRI_NEW(c->arena, ExecSyncRequest, exec_sync_request);
    r->container_id = arena_strdup(c->arena, config->container_id);
    r->cmd = ARENA_ARRAY(c->arena, char *, config->exec->command_count + 1);
    for (size_t i = 0; i < config->exec->command_count; i++)
        r->cmd[r->n_cmd++] =
            (char *)(uintptr_t)str_c(arena_str(c->arena, config->exec->command[i]));
    r->timeout = (int64_t)((config->timeout_ms + 999) / 1000);
    c->open++;
    c->exec = cri_call(c->kubelet->cri, CRI_EXEC_SYNC, r,
                       config->timeout_ms > 0 ? config->timeout_ms + 2000 : 0, on_exec, c);
}

/* --- TCP ------------------------------------------------------------------------- */

static void on_tcp_open(struct net_stream *s, void *arg)
{
    struct check *c = arg;
    UNUSED(s);
    c->result = CHECK_SUCCESS;
    c->output = "";
    net_stream_close(s);
}

static void on_tcp_close(struct net_stream *s, const struct error *err, void *arg)
{
    struct check *c = arg;
    UNUSED(s);
    c->tcp = NULL;
    c->open--;
    if (c->finished)
        release(c);
    else if (c->output != NULL)
        finish(c, c->result, c->output);
    else
        finish(c, CHECK_FAILURE,
               str_c(arena_printf(c->arena, "dial tcp %s: %s", c->url, error_message(err))));
}

static const struct net_stream_handler tcp_handler = {.on_open = on_tcp_open,
                                                      .on_close = on_tcp_close};

static const char *host_port(struct arena *a, const char *host, int port)
{
    return str_c(url_host_port(a, str_of(host), port));
}

static void start_tcp(struct check *c, const struct check_config *config)
{
    const struct core_v1_tcp_socket_action *t = config->tcp_socket;
    int port = check_resolve_port(config->container, &t->port);
    const char *host = str_empty(t->host) ? config->pod_ip : str_c(arena_str(c->arena, t->host));
    struct error err;
    if (port == 0) {
        finish_later(c, 0, CHECK_ERROR, "port is not valid or not a port of the container");
        return;
    }
    c->url = host_port(c->arena, host, port);
    struct net_connect_config net = {.endpoint = c->url, .timeout_ms = config->timeout_ms};
    if (net_stream_connect(c->kubelet->loop, &net, &tcp_handler, c, &c->tcp, &err) != 0) {
        finish_later(c, 0, CHECK_ERROR, arena_strdup(c->arena, error_message(&err)));
        return;
    }
    c->open++;
}

/* --- HTTP ------------------------------------------------------------------------- */

static void on_http_data(struct http_call *call, const uint8_t *data, size_t len, void *arg)
{
    struct check *c = arg;
    UNUSED(call);
    if (c->body.len < OUTPUT_BYTES_MAX)
        buf_append(&c->body, data, MIN_OF(len, OUTPUT_BYTES_MAX - c->body.len));
}

static void on_http_end(struct http_call *call, const struct error *err, void *arg)
{
    struct check *c = arg;
    c->http_call = NULL;
    c->open--;
    if (c->finished) {
        release(c);
        return;
    }
    if (err != NULL) {
        const char *why =
            err->code == E_TIMEOUT
                ? "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
                : error_message(err);
        finish(c, CHECK_FAILURE, str_c(arena_printf(c->arena, "Get \"%s\": %s", c->url, why)));
        return;
    }
    int status = http_call_status(call);
    if (status >= 200 && status < 400)
        finish(c, CHECK_SUCCESS, str_c(arena_str(c->arena, buf_str(&c->body))));
    else
        finish(c, CHECK_FAILURE,
               str_c(arena_printf(c->arena, "HTTP probe failed with statuscode: %d", status)));
}

static int open_http(struct check *c, const char *endpoint, bool tls,
                     enum http_client_protocol protocol, uint64_t timeout_ms, struct error *err)
{
    struct tls_context *context = NULL;
    struct tls_config tls_config = {.skip_verify = true, .alpn = TLS_ALPN_H2 | TLS_ALPN_HTTP1};
    if (tls) {
        int rc = tls_context_new(&tls_config, &context, err);
        if (rc != 0)
            return rc;
    }
    const char *endpoints[] = {endpoint};
    struct http_client_config config = {
        .endpoints = endpoints,
        .endpoint_count = 1,
        .tls = context,
        .protocol = protocol,
        .connect_timeout_ms = timeout_ms,
        .user_agent = c->is_hook ? "kube-lifecycle/1.36" : "kube-probe/1.36",
    };
    int rc = http_client_new(c->kubelet->loop, &config, &c->http, err);
    tls_context_unref(context);
    if (rc == 0)
        c->open++; /* For on_http_closed. */
    return rc;
}

/* Headers of the action; a Host header becomes the authority. */
static struct http_header *http_headers(struct check *c, const struct core_v1_http_get_action *g,
                                        size_t *ret_count, const char **ret_authority)
{
    struct http_header *list = ARENA_ARRAY(c->arena, struct http_header, g->http_headers_count + 1);
    bool accept = false;
    *ret_count = 0;
    for (size_t i = 0; i < g->http_headers_count; i++) {
        struct str name = arena_str(c->arena, g->http_headers[i].name);
        struct str value = arena_str(c->arena, g->http_headers[i].value);
        if (strcasecmp(str_c(name), "host") == 0) {
            *ret_authority = str_c(value);
            continue;
        }
        accept = accept || strcasecmp(str_c(name), "accept") == 0;
        list[(*ret_count)++] = (struct http_header){name, value};
    }
    if (!accept)
        list[(*ret_count)++] = (struct http_header){STR("accept"), STR("*/*")};
    return list;
}

static void start_http(struct check *c, const struct check_config *config)
{
    const struct core_v1_http_get_action *g = config->http_get;
    int port = check_resolve_port(config->container, &g->port);
    const char *host = str_empty(g->host) ? config->pod_ip : str_c(arena_str(c->arena, g->host));
    bool tls = str_eqc(g->scheme, "HTTPS");
    struct error err;
    if (port == 0) {
        finish_later(c, 0, CHECK_ERROR, "port is not valid or not a port of the container");
        return;
    }
    const char *endpoint = host_port(c->arena, host, port);
    const char *target =
        str_c(arena_printf(c->arena, "%s" STR_FMT,
                           g->path.len > 0 && g->path.data[0] == '/' ? "" : "/", STR_ARG(g->path)));
    c->url = str_c(arena_printf(c->arena, "%s://%s%s", tls ? "https" : "http", endpoint, target));
    if (open_http(c, endpoint, tls, HTTP_CLIENT_AUTO, config->timeout_ms, &err) != 0) {
        finish_later(c, 0, CHECK_ERROR, arena_strdup(c->arena, error_message(&err)));
        return;
    }
    struct http_call_config call = {
        .target = target,
        .timeout_ms = config->timeout_ms,
        .on_data = on_http_data,
        .on_end = on_http_end,
        .arg = c,
    };
    call.headers = http_headers(c, g, &call.header_count, &call.authority);
    if (http_call_start(c->http, &call, &c->http_call, &err) != 0) {
        finish_later(c, 0, CHECK_ERROR, arena_strdup(c->arena, error_message(&err)));
        return;
    }
    c->open++;
}

/* --- gRPC health ----------------------------------------------------------------- */

static void on_grpc_message(struct grpc_call *call, struct str message, void *arg)
{
    struct check *c = arg;
    UNUSED(call);
    /* HealthCheckResponse: field 1, varint; 1 is SERVING. */
    c->grpc_state = message.len >= 2 && message.data[0] == 0x08 ? message.data[1] : 0;
}

static void on_grpc_end(struct grpc_call *call, enum grpc_status status, struct str message,
                        void *arg)
{
    struct check *c = arg;
    UNUSED(call);
    c->grpc_call = NULL;
    c->open--;
    if (c->finished) {
        release(c);
        return;
    }
    if (status == GRPC_OK && c->grpc_state == 1)
        finish(c, CHECK_SUCCESS, "service healthy");
    else if (status == GRPC_OK)
        finish(c, CHECK_FAILURE,
               str_c(arena_printf(c->arena, "service unhealthy (responded with \"%s\")",
                                  c->grpc_state == 2   ? "NOT_SERVING"
                                  : c->grpc_state == 3 ? "SERVICE_UNKNOWN"
                                                       : "UNKNOWN")));
    else if (status == GRPC_UNIMPLEMENTED)
        finish(c, CHECK_FAILURE,
               "error: this server does not implement the grpc health protocol "
               "(grpc.health.v1.Health)");
    else
        finish(c, CHECK_FAILURE,
               str_c(arena_printf(c->arena, "error: health rpc probe failed: %s: " STR_FMT,
                                  grpc_status_text(status), STR_ARG(message))));
}

static void start_grpc(struct check *c, const struct check_config *config)
{
    struct error err;
    const char *endpoint = host_port(c->arena, config->pod_ip, config->grpc->port);
    AUTO_BUF b = BUF_INIT;
    if (config->grpc->service.len > 0) { /* HealthCheckRequest: field 1, string. */
        buf_putc(&b, 0x0a);
        buf_put_varint(&b, config->grpc->service.len);
        buf_append_str(&b, config->grpc->service);
    }
    if (open_http(c, endpoint, false, HTTP_CLIENT_H2, config->timeout_ms, &err) != 0) {
        finish_later(c, 0, CHECK_ERROR, arena_strdup(c->arena, error_message(&err)));
        return;
    }
    struct net_bytes *request = net_bytes_copy(b.data, b.len);
    struct grpc_call_config call = {
        .method = "/grpc.health.v1.Health/Check",
        .request = request,
        .timeout_ms = config->timeout_ms,
        .on_message = on_grpc_message,
        .on_end = on_grpc_end,
        .arg = c,
    };
    int rc = grpc_call_start(c->http, &call, &c->grpc_call, &err);
    net_bytes_unref(request);
    if (rc != 0)
        finish_later(c, 0, CHECK_ERROR, arena_strdup(c->arena, error_message(&err)));
    else
        c->open++;
}

/* --- all ------------------------------------------------------------------------- */

int check_resolve_port(const struct core_v1_container *c, const struct intstr_int_or_string *port)
{
    int64_t n;
    if (port->type == 0)
        return port->int_val > 0 && port->int_val < 65536 ? port->int_val : 0;
    for (size_t i = 0; c != NULL && i < c->ports_count; i++) {
        if (str_eq(c->ports[i].name, port->str_val))
            return c->ports[i].container_port;
    }
    return str_to_i64(port->str_val, &n) && n > 0 && n < 65536 ? (int)n : 0;
}

void check_from_probe(struct check_config *c, const struct core_v1_probe_handler *h)
{
    c->exec = h->exec;
    c->http_get = h->http_get;
    c->tcp_socket = h->tcp_socket;
    c->grpc = h->grpc;
}

void check_from_hook(struct check_config *c, const struct core_v1_lifecycle_handler *h)
{
    c->exec = h->exec;
    c->http_get = h->http_get;
    c->sleep = h->sleep;
    c->is_hook = true;
}

struct check *check_start(struct kubelet *k, const struct check_config *config)
{
    struct check *c = xzalloc(sizeof(*c));
    c->kubelet = k;
    c->arena = arena_new(0);
    c->done = config->done;
    c->arg = config->arg;
    c->is_hook = config->is_hook;
    if (config->exec != NULL)
        start_exec(c, config);
    else if (config->http_get != NULL)
        start_http(c, config);
    else if (config->tcp_socket != NULL)
        start_tcp(c, config);
    else if (config->grpc != NULL)
        start_grpc(c, config);
    else if (config->sleep != NULL)
        finish_later(c, (uint64_t)MAX_OF(config->sleep->seconds, (int64_t)0) * 1000, CHECK_SUCCESS,
                     "");
    else
        /* tcpSocket is in the API of hooks for old manifests alone: upstream fails it, too. */
        finish_later(c, 0, CHECK_ERROR,
                     c->is_hook ? "invalid handler: hooks are exec, httpGet or sleep"
                                : "missing handler");
    return c;
}
