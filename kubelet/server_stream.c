/* server_stream.c - exec, attach and port-forward: the runtime is asked for a
 * one-time URL of its streaming server, and the client's upgraded connection
 * is joined to it (lib/net/upgrade.h).
 *
 *   client =upgrade= us =CRI=> URL; us =upgrade= runtime; then bytes both ways
 *
 * Runtimes speak SPDY and the older WebSocket protocols themselves; the newer
 * ones (v5.channel.k8s.io, tunnelled SPDY) are translated on the way. */
#include "kubelet/cri.h"
#include "kubelet/kubelet.h"
#include "kubelet/pod_worker.h"
#include "kubelet/server.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/metrics.h"
#include "lib/net/http_server.h"
#include "lib/net/upgrade.h"
#include "lib/net/url.h"

#define CRI_STREAM_TIMEOUT_MS 10000u
#define COMMAND_WORDS_MAX 4096
#define PORTS_MAX 64

/* One request on its way to the runtime. */
struct streaming {
    struct kubelet *k;
    struct http_request *r; /* Until upgraded or answered. */
    struct arena *arena;
    enum upgrade_kind kind;
    unsigned channels;
    struct metric *count;
};

static void streaming_free(struct streaming *s)
{
    metric_add(s->count, -1);
    arena_free(s->arena);
    free(s);
}

static void refuse(struct streaming *s, int status, const char *text)
{
    server_text(s->r, status, "%s", text);
    streaming_free(s);
}

static void on_fail(struct http_request *r, const struct error *err, void *arg)
{
    UNUSED(arg);
    server_text(r, err->code == E_INVALID ? 400 : 500, "%s", error_message(err));
}

static void on_end(void *arg)
{
    streaming_free(arg);
}

static void join(struct streaming *s, const char *url)
{
    static const struct upgrade_events events = {.on_fail = on_fail, .on_end = on_end};
    static const char *const dropped[] = {"host", "authorization", "accept-encoding", "user-agent",
                                          NULL};
    struct url u;
    struct error err;
    if (url_parse(str_of(url), &u, &err) != 0) {
        refuse(s, 500, error_message(&err));
        return;
    }
    struct upgrade_config c = {
        .loop = s->k->loop,
        .request = s->r,
        .kind = s->kind,
        .channels = s->channels,
        .endpoint = str_c(arena_printf(s->arena, STR_FMT ":%u", STR_ARG(u.host), u.port)),
        .target = str_c(u.query.len > 0 ? arena_printf(s->arena, STR_FMT "?" STR_FMT,
                                                       STR_ARG(u.path), STR_ARG(u.query))
                                        : arena_printf(s->arena, STR_FMT, STR_ARG(u.path))),
        .answer_timeout_ms = CRI_STREAM_TIMEOUT_MS,
        .events = &events,
        .arg = s,
    };
    if (str_find(u.host, ':', 0) >= 0)
        c.endpoint = str_c(arena_printf(s->arena, "[" STR_FMT "]:%u", STR_ARG(u.host), u.port));
    c.headers = http_forward_headers(s->r, dropped, 0, &c.header_count);
    if (upgrade_start(&c, NULL, &err) != 0)
        refuse(s, err.code == E_INVALID ? 400 : 500, error_message(&err));
}

/* --- asking the runtime ---------------------------------------------------------------------- */

static void on_url(struct streaming *s, const struct cri_reply *reply, const char *url)
{
    if (reply->code != 0)
        refuse(s, reply->status == GRPC_NOT_FOUND ? 404 : 500, reply->message);
    else
        join(s, url);
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

/* Connections by what they are for. */
static struct metric *count_of(const char *path)
{
    static struct metric_family *f;
    if (f == NULL)
        f = metric_gauge(metrics_default(), "kubelet_http_inflight_requests",
                         "Streaming connections being served.",
                         METRIC_LABELS("long_running", "method", "path", "server_type"));
    return METRIC_OF(f, STR("true"), STR("POST"), str_of(path), STR("readwrite"));
}

static struct streaming *streaming_new(struct kubelet *k, struct http_request *r,
                                       enum upgrade_kind kind, const char *path)
{
    if (!upgrade_wanted(r)) {
        server_text(r, 400, "you must specify a protocol to upgrade to");
        return NULL;
    }
    struct streaming *s = xzalloc(sizeof(*s));
    *s = (struct streaming){
        .k = k, .r = r, .arena = arena_new(0), .kind = kind, .count = count_of(path)};
    metric_inc(s->count);
    return s;
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

/* The options of exec and attach; false once refused. A terminal has one output. */
static bool channels_of(struct http_request *r, bool *tty, unsigned *ret)
{
    *tty = server_flag(r, "tty");
    *ret =
        (server_flag(r, "input") || server_flag(r, "stdin") ? CHANNEL_BIT(CHANNEL_STDIN) : 0) |
        (server_flag(r, "output") || server_flag(r, "stdout") ? CHANNEL_BIT(CHANNEL_STDOUT) : 0) |
        (!*tty && (server_flag(r, "error") || server_flag(r, "stderr"))
             ? CHANNEL_BIT(CHANNEL_STDERR)
             : 0);
    if (*ret == 0)
        server_text(r, 400, "you must specify at least 1 of stdin, stdout, stderr");
    *ret |= *tty ? CHANNEL_BIT(CHANNEL_RESIZE) : 0;
    return *ret != 0 && *ret != CHANNEL_BIT(CHANNEL_RESIZE);
}

void server_exec(struct kubelet *k, struct http_request *r, const struct str *segments,
                 size_t count)
{
    bool tty;
    unsigned channels;
    const struct rt_container *c = find_running(k, r, segments, count);
    if (c == NULL || !channels_of(r, &tty, &channels))
        return;
    struct streaming *s = streaming_new(k, r, UPGRADE_COMMAND, "exec");
    if (s == NULL)
        return;
    CRI(ExecRequest) *q = CRI_NEW(s->arena, ExecRequest, exec_request);
    struct str rest = r->query, key, value;
    s->channels = channels;
    q->container_id = arena_strdup(s->arena, c->id);
    q->cmd = ARENA_ARRAY(s->arena, char *, COMMAND_WORDS_MAX);
    while (url_query_next(&rest, &key, &value) && q->n_cmd < COMMAND_WORDS_MAX) {
        struct str word;
        if (str_eqc(key, "command") && url_unescape_query(s->arena, value, &word) == 0)
            q->cmd[q->n_cmd++] = (char *)(uintptr_t)str_c(arena_str(s->arena, word));
    }
    q->tty = tty;
    q->stdin = (channels & CHANNEL_BIT(CHANNEL_STDIN)) != 0;
    q->stdout = (channels & CHANNEL_BIT(CHANNEL_STDOUT)) != 0;
    q->stderr = (channels & CHANNEL_BIT(CHANNEL_STDERR)) != 0;
    cri_call(k->cri, CRI_EXEC, q, CRI_STREAM_TIMEOUT_MS, on_exec, s);
}

void server_attach(struct kubelet *k, struct http_request *r, const struct str *segments,
                   size_t count)
{
    bool tty;
    unsigned channels;
    const struct rt_container *c = find_running(k, r, segments, count);
    if (c == NULL || !channels_of(r, &tty, &channels))
        return;
    struct streaming *s = streaming_new(k, r, UPGRADE_COMMAND, "attach");
    if (s == NULL)
        return;
    CRI(AttachRequest) *q = CRI_NEW(s->arena, AttachRequest, attach_request);
    s->channels = channels;
    q->container_id = arena_strdup(s->arena, c->id);
    q->tty = tty;
    q->stdin = (channels & CHANNEL_BIT(CHANNEL_STDIN)) != 0;
    q->stdout = (channels & CHANNEL_BIT(CHANNEL_STDOUT)) != 0;
    q->stderr = (channels & CHANNEL_BIT(CHANNEL_STDERR)) != 0;
    cri_call(k->cri, CRI_ATTACH, q, CRI_STREAM_TIMEOUT_MS, on_attach, s);
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
    struct streaming *s = streaming_new(k, r, UPGRADE_PORTS, "portForward");
    if (s == NULL)
        return;
    CRI(PortForwardRequest) *q = CRI_NEW(s->arena, PortForwardRequest, port_forward_request);
    struct str rest = r->query, key, value;
    q->pod_sandbox_id = arena_strdup(s->arena, sandbox->id);
    q->port = ARENA_ARRAY(s->arena, int32_t, PORTS_MAX);
    while (url_query_next(&rest, &key, &value) && q->n_port < PORTS_MAX) {
        int64_t port;
        if (str_eqc(key, "port") && str_to_i64(value, &port) && port > 0 && port < 65536)
            q->port[q->n_port++] = (int32_t)port;
    }
    cri_call(k->cri, CRI_PORT_FORWARD, q, CRI_STREAM_TIMEOUT_MS, on_port_forward, s);
}
