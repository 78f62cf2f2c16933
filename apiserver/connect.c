/* connect.c - see connect.h. */
#include "apiserver/connect.h"

#include "api/core_v1.h"
#include "apiserver/authn.h"
#include "apiserver/authz.h"
#include "apiserver/deadline.h"
#include "apiserver/kubelet_pool.h"
#include "apiserver/kubelet_proxy.h"
#include "apiserver/request.h"
#include "apiserver/server_metrics.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/metrics.h"
#include "lib/net/http_server.h"
#include "lib/net/upgrade.h"
#include "lib/net/url.h"

#include <inttypes.h>

#define ANSWER_TIMEOUT_MS 30000u /* For a kubelet, which asks its runtime first. */
#define COMMAND_WORDS_MAX 4096
#define PORTS_MAX 1024

const char *const connect_private_headers[] = {
    "host",    "authorization", "impersonate-*",  "x-remote-*",
    "cookie2", "expect",        "http2-settings", NULL};

/* --- a connection under way --------------------------------------------------------------------
 */

struct connection {
    struct pool_link link;
    struct metric *count; /* Of connections like this one. */
};

static void on_answer(struct http_request *http, int status, void *arg)
{
    struct req *r = http->user;
    UNUSED(arg);
    req_done(r, status);
}

struct str connect_error_text(struct arena *a, const struct error *err)
{
    /* Ours: "GET /path: connect to 10.0.0.1:80: connection refused". */
    struct str all = str_of(error_message(err)), mark = STR("connect to "), where, why;
    ptrdiff_t at = str_find_str(all, mark);
    if (at < 0)
        return arena_str(a, all);
    struct str rest = str_sub(all, (size_t)at + mark.len, all.len);
    ptrdiff_t end = str_find_str(rest, STR(": "));
    if (end < 0)
        return arena_str(a, rest);
    where = str_sub(rest, 0, (size_t)end);
    why = str_sub(rest, (size_t)end + 2, rest.len);
    return arena_printf(a, "dial tcp " STR_FMT ": connect: " STR_FMT, STR_ARG(where), STR_ARG(why));
}

static void on_fail(struct http_request *http, const struct error *err, void *arg)
{
    struct req *r = http->user;
    UNUSED(arg);
    req_status(r, err->code == E_INVALID
                      ? status_bad_request(r->arena, "%s", error_message(err))
                      : status_plain(r->arena, "error dialing backend: " STR_FMT,
                                     STR_ARG(connect_error_text(r->arena, err))));
}

static void on_end(void *arg)
{
    struct connection *c = arg;
    metric_add(c->count, -1);
    list_remove(&c->link.link);
    free(c);
}

static const struct upgrade_events EVENTS = {
    .on_answer = on_answer, .on_fail = on_fail, .on_end = on_end};

void connect_upgrade(struct req *r, struct upgrade_config *config)
{
    struct kubelet_pool *pool = r->thread->kubelets;
    struct error err = {0};
    struct connection *c = xzalloc(sizeof(*c));
    config->loop = &r->thread->loop;
    config->request = r->http;
    config->events = &EVENTS;
    config->arg = c;
    r->long_running = true;
    deadline_end(r);
    req_release_views(r);
    c->count = server_metrics_connection(r);
    int code = upgrade_start(config, &c->link.upgrade, &err);
    if (code != 0) {
        free(c);
        req_status(r, status_from_code(r->arena, code, error_message(&err)));
        return;
    }
    metric_inc(c->count);
    kubelet_pool_add(pool, &c->link);
}

/* --- fields --------------------------------------------------------------------------------------
 */

struct str connect_protocols_without_token(struct arena *a, struct str list)
{
    AUTO_BUF b = BUF_INIT;
    struct str part;
    for (bool more = true; more;) {
        more = str_cut(list, ',', &part, &list);
        part = str_trim(part);
        if (part.len == 0 || str_has_prefix(part, STR(WEBSOCKET_TOKEN_PREFIX)))
            continue;
        if (b.len > 0)
            buf_puts(&b, ", ");
        buf_append_str(&b, part);
    }
    return arena_str(a, buf_str(&b));
}

struct http_header *connect_headers(struct req *r, const char *const *drop, size_t spare,
                                    size_t *ret_count)
{
    size_t all, count = 0;
    struct http_header *h = http_forward_headers(r->http, drop, spare, &all);
    for (size_t i = 0; i < all; i++) {
        h[count] = h[i];
        if (str_eqc(h[i].name, "sec-websocket-protocol"))
            h[count].value = connect_protocols_without_token(r->arena, h[i].value);
        count += h[count].value.len > 0 || h[i].value.len == 0;
    }
    *ret_count = count;
    return h;
}

/* --- what is asked for ---------------------------------------------------------------------------
 */

struct meta_v1_status *connect_admit(struct req *r, const struct kind_ctx *ctx,
                                     const char *options_kind, void *options)
{
    return req_admit(r, ctx, ADMIT_CONNECT,
                     api_kind_by_gvk(STR(""), STR("v1"), str_of(options_kind)), options);
}

static void exec_options(struct req *r, struct core_v1_pod_exec_options *o)
{
    struct str rest = r->http->query, key, value;
    o->container = req_query(r, "container");
    o->stdin = req_query_bool(r, "stdin");
    o->stdout = req_query_bool(r, "stdout");
    o->stderr = req_query_bool(r, "stderr");
    o->tty = req_query_bool(r, "tty");
    o->command = ARENA_ARRAY(r->arena, struct str, COMMAND_WORDS_MAX);
    while (url_query_next(&rest, &key, &value) && o->command_count < COMMAND_WORDS_MAX)
        if (str_eqc(key, "command") &&
            url_unescape_query(r->arena, value, &o->command[o->command_count]) == 0)
            o->command_count++;
}

static void port_options(struct req *r, struct core_v1_pod_port_forward_options *o)
{
    struct str rest = r->http->query, key, value, list, part;
    o->ports = ARENA_ARRAY(r->arena, int32_t, PORTS_MAX);
    while (url_query_next(&rest, &key, &value)) {
        if (!str_eqc(key, "ports") || url_unescape_query(r->arena, value, &list) != 0)
            continue;
        for (bool more = true; more && o->ports_count < PORTS_MAX;) {
            int64_t port;
            more = str_cut(list, ',', &part, &list);
            if (str_to_i64(part, &port) && port > 0 && port < 65536)
                o->ports[o->ports_count++] = (int32_t)port;
        }
    }
}

/* The kubelet's names of the options. */
static void exec_query(const struct core_v1_pod_exec_options *o, struct buf *b)
{
    const struct {
        bool on;
        const char *text;
    } flags[] = {
        {o->stdin, "input=1"}, {o->stdout, "output=1"}, {o->stderr, "error=1"}, {o->tty, "tty=1"}};
    char sep = '?';
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
        if (flags[i].on) {
            buf_printf(b, "%c%s", sep, flags[i].text);
            sep = '&';
        }
    for (size_t i = 0; i < o->command_count; i++) {
        buf_printf(b, "%ccommand=", sep);
        url_escape_query(b, o->command[i]);
        sep = '&';
    }
}

static unsigned channels_of(const struct core_v1_pod_exec_options *o)
{
    return (o->stdin ? CHANNEL_BIT(CHANNEL_STDIN) : 0) |
           (o->stdout ? CHANNEL_BIT(CHANNEL_STDOUT) : 0) |
           (o->stderr && !o->tty ? CHANNEL_BIT(CHANNEL_STDERR) : 0) |
           (o->tty ? CHANNEL_BIT(CHANNEL_RESIZE) : 0) | CHANNEL_BIT(CHANNEL_ERROR);
}

/* Path, options and kind of the connection to the kubelet. */
static struct meta_v1_status *prepare(struct req *r, const struct kind_ctx *ctx,
                                      const struct core_v1_pod *pod, struct buf *target,
                                      struct upgrade_config *c)
{
    struct meta_v1_status *s;
    if (strcmp(r->sub->name, "portforward") == 0) {
        struct core_v1_pod_port_forward_options o = {0};
        port_options(r, &o);
        s = connect_admit(r, ctx, "PodPortForwardOptions", &o);
        c->kind = UPGRADE_PORTS;
        buf_printf(target, "/portForward/" STR_FMT "/" STR_FMT, STR_ARG(pod->metadata.namespace),
                   STR_ARG(pod->metadata.name));
        for (size_t i = 0; i < o.ports_count; i++)
            buf_printf(target, "%cport=%" PRId32, i == 0 ? '?' : '&', o.ports[i]);
        return s;
    }
    /* PodAttachOptions are PodExecOptions without a command. */
    struct core_v1_pod_exec_options o = {0};
    struct core_v1_pod_attach_options a;
    bool exec = strcmp(r->sub->name, "exec") == 0;
    struct str container = STR_NULL;
    exec_options(r, &o);
    if (!exec)
        o.command_count = 0;
    a = (struct core_v1_pod_attach_options){o.container, o.stdin, o.stdout, o.stderr, o.tty};
    s = exec ? connect_admit(r, ctx, "PodExecOptions", &o)
             : connect_admit(r, ctx, "PodAttachOptions", &a);
    if (!exec) {
        o.container = a.container;
        o.stdin = a.stdin;
        o.stdout = a.stdout;
        o.stderr = a.stderr;
        o.tty = a.tty;
    }
    if (s == NULL)
        s = pod_choose_container(r, pod, &container);
    c->kind = UPGRADE_COMMAND;
    c->channels = channels_of(&o);
    buf_printf(target, "/%s/" STR_FMT "/" STR_FMT "/" STR_FMT, r->sub->name,
               STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.name), STR_ARG(container));
    exec_query(&o, target);
    return s;
}

static struct meta_v1_status *connect_to_pod(struct req *r, struct upgrade_config *c)
{
    struct kind_ctx ctx;
    AUTO_BUF target = BUF_INIT;
    struct str endpoint = STR_NULL;
    req_ctx(r, req_view(r), &ctx);
    const struct core_v1_pod *pod = kind_lookup(&ctx, "", "pods", r->info.ns, r->info.name);
    if (pod == NULL)
        return status_not_found(r->arena, r->res->gr, r->info.name);
    struct meta_v1_status *s = prepare(r, &ctx, pod, &target, c);
    if (s == NULL && pod->spec.node_name.len == 0)
        s = status_bad_request(r->arena, "pod " STR_FMT " does not have a host assigned",
                               STR_ARG(r->info.name));
    if (s == NULL)
        s = kubelet_endpoint(r, &ctx, pod->spec.node_name, &endpoint);
    if (s == NULL && !upgrade_wanted(r->http))
        s = status_bad_request(r->arena, "Upgrade request required");
    if (s != NULL)
        return s;
    c->endpoint = str_c(endpoint);
    c->target = str_c(arena_str(r->arena, buf_str(&target)));
    return NULL;
}

static void pod_connect_now(struct req *r)
{
    struct upgrade_config c = {.tls = kubelet_pool_node_tls(r->thread->kubelets),
                               .answer_timeout_ms = ANSWER_TIMEOUT_MS};
    struct meta_v1_status *s = connect_to_pod(r, &c);
    if (s != NULL) {
        if (!req_admit_waits(r, s, pod_connect_now))
            req_status(r, s);
        return;
    }
    c.headers = connect_headers(r, connect_private_headers, 0, &c.header_count);
    connect_upgrade(r, &c);
}

static void may_create(struct req *r)
{
    r->info.verb = "get";
    req_barrier(r, pod_connect_now);
}

void pod_connect(struct req *r)
{
    if (strcmp(r->info.verb, "get") != 0) {
        req_barrier(r, pod_connect_now);
        return;
    }
    /* WebSocket clients upgrade by GET; creating is what they do nevertheless. */
    r->info.verb = "create";
    authz_check_then(r, may_create);
}
