/* server.c - see server.h: listening, credentials, routes. */
#include "kubelet/server.h"

#include "kubelet/csi.h"

#include "kubelet/certificates.h"
#include "kubelet/isolation/isolation.h"
#include "kubelet/kubelet.h"
#include "kubelet/local_volumes.h"
#include "kubelet/pod_worker.h"
#include "kubelet/probe.h"

#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/api/zpages.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/client/client.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"
#include "lib/net/stream.h"
#include "lib/net/tls.h"
#include "lib/net/url.h"

#include "api/authorization_v1.h"
#include "api/core_v1.h"

#include <stdarg.h>
#include <stdio.h>

#define SEGMENTS_MAX 8
#define CERT_RELOAD_MS 30000u
#define DECISION_MS 60000u /* How long a permission is remembered. */

struct kubelet_server {
    struct kubelet *k;
    struct http_server *http;
    struct http_server *healthz;
    struct tls_context *tls;
    struct tls_reloader *reloader;
    struct map allowed; /* "user verb resource" -> until, in ms. */
};

/* --- helpers ---------------------------------------------------------------------------- */

void server_text(struct http_request *r, int status, const char *fmt, ...)
{
    char text[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    http_response_header(r, "content-type", "text/plain; charset=utf-8");
    http_respond(r, status, arena_printf(r->arena, "%s", text));
}

struct str server_param(const struct http_request *r, const char *name)
{
    struct str v;
    return url_query_get(r->arena, r->query, name, &v) == 0 ? v : STR_NULL;
}

bool server_flag(const struct http_request *r, const char *name)
{
    struct str v = server_param(r, name);
    return str_eqc(v, "1") || str_eqc(v, "true");
}

struct pod_worker *server_find_pod(struct kubelet *k, struct http_request *r,
                                   const struct str *segments, size_t count)
{
    if (count < 2) {
        server_text(r, 400, "Missing podNamespace or podID");
        return NULL;
    }
    struct pod_worker *w = kubelet_find_pod(k, segments[0], segments[1]);
    if (w == NULL)
        server_text(r, 404, "pod does not exist");
    return w;
}

/* --- simple answers ------------------------------------------------------------------------ */

static void respond_buf(struct http_request *r, const char *type, struct buf *b)
{
    struct net_bytes *bytes = net_bytes_steal(b);
    http_respond_typed(r, 200, type, bytes);
    net_bytes_unref(bytes);
}

/* A v1 PodList with the statuses as this node sees them. */
static void serve_pods(struct kubelet *k, struct http_request *r, bool running_only)
{
    AUTO_BUF b = BUF_INIT;
    size_t pos = 0, n = 0;
    void *value;
    buf_puts(&b, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[");
    while (map_next(&k->workers, &pos, NULL, &value)) {
        const struct core_v1_pod *pod = pod_worker_pod(value);
        if (pod == NULL || (running_only && !rt_pod_any_running(pod_worker_runtime(value))))
            continue;
        struct core_v1_pod shown = *pod;
        if (pod_worker_status(value) != NULL)
            shown.status = *pod_worker_status(value);
        if (n++ > 0)
            buf_putc(&b, ',');
        api_json_encode(&core_v1_pod_msg, &shown, STR_NULL, STR_NULL, &b);
    }
    buf_puts(&b, "]}");
    respond_buf(r, "application/json", &b);
}

/* more: whose other figures are told of, too; may be NULL. */
static void serve_registry(struct http_request *r, struct metrics *m, const struct kubelet *more)
{
    AUTO_BUF b = BUF_INIT;
    metrics_render(m, &b);
    if (more != NULL) {
        isolation_metrics(more->isolation, &b);
        csi_stats_write(more->csi, &b);
    }
    respond_buf(r, METRICS_CONTENT_TYPE, &b);
}

static void serve_metrics(struct kubelet *k, struct http_request *r, struct str which)
{
    if (str_empty(which))
        serve_registry(r, metrics_default(), k);
    else if (str_eqc(which, "resource"))
        server_metrics_resource(k, r);
    else if (str_eqc(which, "cadvisor"))
        server_metrics_cadvisor(k, r);
    else if (str_eqc(which, "probes"))
        serve_registry(r, probe_metrics(), NULL);
    else
        server_text(r, 404, "404 page not found");
}

static void serve_zpage(struct kubelet *k, struct http_request *r)
{
    AUTO_BUF b = BUF_INIT;
    const char *type;
    int status = zpages_answer(k->zpages, r->path, http_request_header(r, "accept"),
                               env_wall_ns(k->env), &b, &type);
    struct net_bytes *body = net_bytes_steal(&b);
    http_respond_typed(r, status, type, body);
    net_bytes_unref(body);
}

static void serve_configz(const struct kubelet *k, struct http_request *r)
{
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, k->configz);
    respond_buf(r, "application/json", &b);
}

static void dispatch(struct kubelet *k, struct http_request *r)
{
    struct str segments[SEGMENTS_MAX], rest = str_sub(r->path, 1, r->path.len);
    size_t count = 0;
    for (bool more = true; more && count < SEGMENTS_MAX;) {
        struct str raw;
        more = str_cut(rest, '/', &raw, &rest);
        if (url_unescape_path(r->arena, raw, &segments[count]) != 0) {
            server_text(r, 400, "malformed path");
            return;
        }
        count++;
    }
    struct str first = segments[0];
    bool get = str_eqc(r->method, "GET") || str_eqc(r->method, "HEAD");
    if (str_eqc(first, "containerLogs") && get)
        server_logs(k, r, segments + 1, count - 1);
    else if (str_eqc(first, "exec"))
        server_exec(k, r, segments + 1, count - 1);
    else if (str_eqc(first, "attach"))
        server_attach(k, r, segments + 1, count - 1);
    else if (str_eqc(first, "portForward"))
        server_port_forward(k, r, segments + 1, count - 1);
    else if (str_eqc(first, "localVolumes"))
        server_local_volumes(k, r, segments + 1, count - 1);
    else if (!get)
        server_text(r, 405, "405: Method Not Allowed");
    else if (str_eqc(r->path, "/configz"))
        serve_configz(k, r);
    else if (zpages_has(r->path))
        serve_zpage(k, r);
    else if (str_eqc(first, "pods"))
        serve_pods(k, r, false);
    else if (str_eqc(first, "runningpods"))
        serve_pods(k, r, true);
    else if (str_eqc(first, "edges"))
        isolation_serve_edges(k->isolation, r);
    else if (str_eqc(first, "metrics"))
        serve_metrics(k, r, count > 1 ? segments[1] : STR_NULL);
    else if (str_eqc(first, "stats") && count > 1 && str_eqc(segments[1], "summary"))
        server_stats_summary(k, r);
    else
        server_text(r, 404, "404 page not found");
}

/* --- permission ------------------------------------------------------------------------------- */

struct review {
    struct kubelet_server *s;
    struct http_request *r;
    char *key;
    bool aborted;
};

static bool in_group(const struct tls_peer *p, const char *group)
{
    for (size_t i = 0; i < p->organization_count; i++) {
        if (str_eqc(p->organizations[i], group))
            return true;
    }
    return false;
}

/* What nodes/... subresource a path stands for, as upstream's authorizer says. */
static const char *subresource(struct str path)
{
    static const struct {
        const char *prefix, *name;
    } table[] = {{"/stats", "stats"},     {"/edges", "stats"},   {"/metrics", "metrics"},
                 {"/logs", "log"},        {"/spec", "spec"},     {"/checkpoint", "checkpoint"},
                 {"/statusz", "statusz"}, {"/flagz", "configz"}, {"/configz", "configz"}};
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (str_has_prefix(path, str_of(table[i].prefix)))
            return table[i].name;
    }
    return "proxy";
}

static const char *verb(struct str method)
{
    if (str_eqc(method, "POST"))
        return "create";
    if (str_eqc(method, "PUT"))
        return "update";
    if (str_eqc(method, "PATCH"))
        return "patch";
    return str_eqc(method, "DELETE") ? "delete" : "get";
}

static void forbid(const struct kubelet_server *s, struct http_request *r)
{
    server_text(
        r, 403, "Forbidden (user=" STR_FMT ", verb=%s, resource=nodes, subresource=%s, node=%s)",
        STR_ARG(r->peer->common_name), verb(r->method), subresource(r->path), s->k->node_name);
}

static void on_review(struct client_request *call, const struct client_result *result, void *arg)
{
    struct review *v = arg;
    struct kubelet_server *s = v->s;
    const struct authorization_v1_subject_access_review *answer =
        result->code == 0 && result->object != NULL ? result->object->msg : NULL;
    UNUSED(call);
    if (answer != NULL && answer->status.allowed) {
        uint64_t *until = xmalloc(sizeof(*until));
        *until = kubelet_now_ms(s->k) + DECISION_MS;
        free(map_set(&s->allowed, str_of(v->key), until));
        dispatch(s->k, v->r);
    } else if (answer != NULL) {
        forbid(s, v->r);
    } else {
        server_text(v->r, 500, "Authorization error (user=" STR_FMT "): %s",
                    STR_ARG(v->r->peer->common_name), result->message);
    }
    free(v->key);
    free(v);
}

/* Asks the API server whether the user may do this to this node. */
static void review(struct kubelet_server *s, struct http_request *r)
{
    struct str key = arena_printf(r->arena, STR_FMT " %s %s", STR_ARG(r->peer->common_name),
                                  verb(r->method), subresource(r->path));
    const uint64_t *until = map_get(&s->allowed, key);
    if (until != NULL && *until > kubelet_now_ms(s->k)) {
        dispatch(s->k, r);
        return;
    }
    if (s->k->client == NULL) {
        forbid(s, r);
        return;
    }
    struct authorization_v1_resource_attributes attributes = {
        .verb = str_of(verb(r->method)),
        .version = STR("v1"),
        .resource = STR("nodes"),
        .subresource = str_of(subresource(r->path)),
        .name = str_of(s->k->node_name),
    };
    struct authorization_v1_subject_access_review body = {0};
    body.spec.resource_attributes = &attributes;
    body.spec.user = r->peer->common_name;
    body.spec.groups = (struct str *)(uintptr_t)r->peer->organizations;
    body.spec.groups_count = r->peer->organization_count;
    struct review *v = xzalloc(sizeof(*v));
    *v = (struct review){.s = s, .r = r, .key = xstrndup(key.data, key.len)};
    struct client_call call = {
        .verb = CLIENT_CREATE,
        .kind = api_kind_by_api_version(STR("authorization.k8s.io/v1"), STR("SubjectAccessReview")),
        .body = &body,
        .timeout_ms = 10000,
        .done = on_review,
        .arg = v,
    };
    struct error err;
    if (client_start(s->k->client, &call, NULL, &err) != 0) {
        server_text(r, 500, "%s", error_message(&err));
        free(v->key);
        free(v);
    }
}

static bool is_health(struct str path)
{
    return str_eqc(path, "/healthz") || str_has_prefix(path, STR("/healthz/"));
}

static void on_request(struct http_request *r, void *arg)
{
    struct kubelet_server *s = arg;
    if (is_health(r->path)) {
        http_response_header(r, "content-type", "text/plain; charset=utf-8");
        http_respond(r, 200, STR("ok"));
        return;
    }
    const struct tls_peer *p = r->peer;
    if (p == NULL || !p->verified) {
        if (s->k->config.anonymous_auth)
            dispatch(s->k, r);
        else
            server_text(r, 401, "Unauthorized");
        return;
    }
    /* The API server itself, and administrators. */
    if (in_group(p, "system:masters") || str_eqc(p->common_name, "system:kube-apiserver") ||
        str_eqc(p->common_name, "kube-apiserver-kubelet-client"))
        dispatch(s->k, r);
    else
        review(s, r);
}

/* --- life ---------------------------------------------------------------------------------------
 */

static void on_health_request(struct http_request *r, void *arg)
{
    UNUSED(arg);
    http_response_header(r, "content-type", "text/plain; charset=utf-8");
    if (is_health(r->path))
        http_respond(r, 200, STR("ok"));
    else
        http_respond(r, 404, STR("404 page not found\n"));
}

static int listen_healthz(struct kubelet_server *s, struct error *err)
{
    struct kubelet *k = s->k;
    if (k->config.healthz_port == 0)
        return 0;
    struct http_server_config config = {
        .name = "healthz", .on_request = on_health_request, .arg = s};
    struct net_listen_config where = {
        .address = str_c(arena_printf(k->arena, "127.0.0.1:%d", (int)k->config.healthz_port))};
    int rc = http_server_new(k->loop, &config, &s->healthz, err);
    return rc == 0 ? http_server_listen(s->healthz, &where, err) : rc;
}

int kubelet_server_start(struct kubelet *k, struct kubelet_server **ret, struct error *err)
{
    struct kubelet_server *s = xzalloc(sizeof(*s));
    const char *cert, *key;
    s->k = k;
    map_init(&s->allowed);
    int rc = certificates_serving_files(k, &cert, &key, err);
    if (rc != 0)
        return rc;
    struct tls_config tls = {
        .server = true,
        .cert = {.file = cert},
        .key = {.file = key},
        .ca = {.file = k->config.client_ca_file},
        .client_auth =
            k->config.client_ca_file != NULL ? TLS_CLIENT_AUTH_REQUEST : TLS_CLIENT_AUTH_NONE,
        .alpn = TLS_ALPN_H2 | TLS_ALPN_HTTP1,
    };
    struct http_server_config config = {
        .name = "kubelet",
        .on_request = on_request,
        .arg = s,
    };
    struct net_listen_config where = {
        .address = str_c(url_host_port(k->arena, str_of(k->config.address), (int)k->config.port)),
    };
    rc = tls_context_new(&tls, &s->tls, err);
    where.tls = s->tls;
    if (rc == 0)
        rc = http_server_new(k->loop, &config, &s->http, err);
    if (rc == 0)
        rc = http_server_listen(s->http, &where, err);
    if (rc == 0)
        rc = listen_healthz(s, err);
    if (rc != 0)
        return error_prefix(err, "serving on %s", where.address);
    s->reloader = tls_reloader_start(k->loop, s->tls, CERT_RELOAD_MS);
    k->config.port = http_server_port(s->http);
    log_info("serving on %s port %d", k->config.address, (int)k->config.port);
    *ret = s;
    return 0;
}

void kubelet_server_set_cert(struct kubelet_server *s)
{
    struct error err;
    /* The context reads a fixed name, behind which the new file now stands. */
    if (tls_context_reload(s->tls, NULL, &err) != 0)
        log_error("new serving certificate: %s", error_message(&err));
}

static void on_closed(struct http_server *http, void *arg)
{
    UNUSED(arg);
    http_server_free(http);
}

void kubelet_server_stop(struct kubelet_server *s)
{
    if (s == NULL)
        return;
    tls_reloader_stop(take(s->reloader));
    http_server_shutdown(s->http, 500, on_closed, s);
    if (s->healthz != NULL)
        http_server_shutdown(s->healthz, 0, on_closed, s);
}
