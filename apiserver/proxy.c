/* proxy.c - see proxy.h.
 *
 *   GET .../pods/p/proxy/x?q  ->  GET /x?q to the pod, with X-Forwarded-Uri
 *
 * Accept-Encoding is not passed on: links in HTML have to be rewritten, so it
 * must arrive as it is. */
#include "apiserver/proxy.h"

#include "api/core_v1.h"
#include "apiserver/connect.h"
#include "apiserver/flow_control.h"
#include "apiserver/kubelet_pool.h"
#include "apiserver/proxy_rewrite.h"
#include "apiserver/proxy_target.h"
#include "apiserver/request.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/net/bytes.h"
#include "lib/net/http_client.h"
#include "lib/net/http_server.h"
#include "lib/net/upgrade.h"
#include "lib/net/url.h"

#define WINDOW_BYTES (256u << 10)

struct proxy {
    struct req *r;
    struct proxy_route route;
    struct http_call *call; /* NULL once it has ended. */
    struct proxy_view view;
    struct html_rewriter *html; /* NULL: the body passes as it is. */
    bool started;
};

/* --- paths --------------------------------------------------------------------------------- */

/* Where the path behind ".../proxy" begins, in the escaped path; 0: nowhere. */
static size_t rest_offset(struct str path)
{
    /* /api/v1/nodes/N/proxy and /api/v1/namespaces/NS/pods/P/proxy */
    static const size_t depths[] = {5, 7};
    size_t at = 0, depth = 0;
    while (at < path.len) {
        while (at < path.len && path.data[at] == '/')
            at++;
        size_t end = at;
        while (end < path.len && path.data[end] != '/')
            end++;
        depth++;
        for (size_t i = 0; i < ARRAY_SIZE(depths); i++)
            if (depth == depths[i] && str_eqc(str_sub(path, at, end - at), "proxy"))
                return end;
        at = end;
    }
    return 0;
}

bool proxy_streams(const struct http_request *http)
{
    return http->has_body && str_has_prefix(http->path, STR("/api/v1/")) &&
           rest_offset(http->path) != 0;
}

/* --- the answer ----------------------------------------------------------------------------- */

static void on_drain(struct http_request *http, void *arg)
{
    struct proxy *p = arg;
    http_response_on_drain(http, 0, NULL, NULL);
    if (p->call != NULL)
        http_call_resume(p->call);
}

static bool hidden(struct str name)
{
    /* Our own decisions about other origins must not be overruled from within. */
    static const char *const names[] = {
        "date", "access-control-allow-credentials", "access-control-allow-headers",
        "access-control-allow-methods", "access-control-allow-origin"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (str_eqc(name, names[i]))
            return true;
    return http_header_is_hop(name);
}

static void pass_headers(struct proxy *p, const struct http_header *h, size_t count)
{
    struct http_request *http = p->r->http;
    for (size_t i = 0; i < count; i++) {
        if (hidden(h[i].name))
            continue;
        if (str_eqc(h[i].name, "audit-id"))
            continue;
        if (p->route.view != NULL && str_eqc(h[i].name, "location")) {
            AUTO_BUF url = BUF_INIT;
            proxy_rewrite_url(&p->view, h[i].value, &url);
            http_response_header_str(http, h[i].name, buf_str(&url));
        } else {
            http_response_header_str(http, h[i].name, h[i].value);
        }
    }
}

static bool is_html(struct http_call *call)
{
    struct str type, rest;
    str_cut(http_call_header(call, "content-type"), ';', &type, &rest);
    return str_eqc(str_trim(type), "text/html") &&
           str_empty(http_call_header(call, "content-encoding"));
}

static void free_html(void *html)
{
    html_rewriter_free(html);
}

static void on_headers(struct http_call *call, void *arg)
{
    struct proxy *p = arg;
    struct req *r = p->r;
    size_t count;
    const struct http_header *h = http_call_headers(call, &count);
    int64_t length = -1;
    int status = http_call_status(call);
    p->started = true;
    if (p->route.view != NULL && is_html(call) && !str_eqc(r->http->method, "HEAD")) {
        p->html = html_rewriter_new(&p->view);
        arena_hold(r->arena, p->html, free_html);
    } else if (status != 204 && status != 304 &&
               !str_to_i64(http_call_header(call, "content-length"), &length)) {
        length = -1;
    }
    pass_headers(p, h, count);
    http_response_header_str(r->http, STR("Audit-Id"), req_audit_id(r));
    if (str_empty(http_call_header(call, "cache-control")))
        http_response_header(r->http, "Cache-Control", "no-cache, private");
    http_response_start(r->http, status, length);
}

static void on_data(struct http_call *call, const uint8_t *data, size_t len, void *arg)
{
    struct proxy *p = arg;
    struct http_request *http = p->r->http;
    if (p->html != NULL) {
        AUTO_BUF b = BUF_INIT;
        html_rewriter_push(p->html, data, len, &b);
        if (b.len > 0)
            http_response_write_copy(http, b.data, b.len);
    } else {
        http_response_write_copy(http, data, len);
    }
    if (http_response_pending(http) >= WINDOW_BYTES) {
        http_call_pause(call);
        http_response_on_drain(http, WINDOW_BYTES / 2, on_drain, p);
    }
}

static void refuse(struct proxy *p, struct str why)
{
    struct req *r = p->r;
    struct str text = arena_printf(r->arena, "error trying to reach service: " STR_FMT "%s",
                                   STR_ARG(why), p->route.plain_text_errors ? "\n" : "");
    if (p->route.plain_text_errors)
        req_text(r, 503, "text/plain; charset=utf-8", text);
    else
        req_status(r, status_unavailable(r->arena, STR_FMT, STR_ARG(text)));
}

static void on_end(struct http_call *call, const struct error *err, void *arg)
{
    struct proxy *p = arg;
    struct req *r = p->r;
    p->call = NULL;
    r->proxy = NULL;
    p->route.done(p->route.arg);
    if (!p->started) {
        refuse(p, err != NULL ? connect_error_text(r->arena, err) : STR("EOF"));
        return;
    }
    if (p->html != NULL) {
        AUTO_BUF b = BUF_INIT;
        html_rewriter_end(p->html, &b);
        if (b.len > 0)
            http_response_write_copy(r->http, b.data, b.len);
    }
    req_done(r, http_call_status(call));
    if (err != NULL)
        http_response_abort(r->http);
    else
        http_response_end(r->http);
}

static void on_abort(struct http_request *http, void *arg)
{
    struct proxy *p = arg;
    UNUSED(http);
    if (p->call != NULL)
        http_call_cancel(p->call); /* on_end follows and makes the last call. */
}

/* --- the request's body ------------------------------------------------------------------------
 */

static void on_body_data(struct http_request *http, const uint8_t *data, size_t len, void *arg)
{
    struct req *r = http->user;
    struct proxy *p = r->proxy;
    UNUSED(arg);
    if (p == NULL || p->call == NULL)
        return; /* Nobody wants it any more. */
    struct net_bytes *b = net_bytes_copy(data, len);
    http_call_write(p->call, b);
    net_bytes_unref(b);
    if (http_call_pending(p->call) >= WINDOW_BYTES)
        http_request_pause(http);
}

static void on_body_end(struct http_request *http, void *arg)
{
    struct req *r = http->user;
    struct proxy *p = r->proxy;
    UNUSED(arg);
    if (p != NULL && p->call != NULL)
        http_call_write_end(p->call);
}

const struct http_body_handler proxy_body = {.on_data = on_body_data, .on_end = on_body_end};

static void on_upload_drain(struct http_call *call, void *arg)
{
    struct proxy *p = arg;
    UNUSED(call);
    http_request_resume(p->r->http);
}

/* --- passing it on -------------------------------------------------------------------------------
 */

/* The client's address behind those that were there before. */
struct str proxy_forwarded_for(struct req *r)
{
    struct http_request *http = r->http;
    struct str host, before;
    uint16_t port;
    if (url_split_host_port(str_of(http->remote), 1, &host, &port, NULL) != 0)
        host = str_of(http->remote);
    before = http_header_join(r->arena, http->headers, http->header_count, "x-forwarded-for");
    return before.len > 0
               ? arena_printf(r->arena, STR_FMT ", " STR_FMT, STR_ARG(before), STR_ARG(host))
               : arena_str(r->arena, host);
}

static const struct http_header *request_headers(struct req *r, bool upgrade, size_t *ret_count)
{
    static const char *const dropped[] = {"accept-encoding", "x-forwarded-for", "x-forwarded-uri",
                                          NULL};
    const char *drop[24];
    size_t n = 0, count;
    for (size_t i = 0; connect_private_headers[i] != NULL; i++)
        drop[n++] = connect_private_headers[i];
    for (size_t i = upgrade ? 1 : 0; dropped[i] != NULL; i++)
        drop[n++] = dropped[i];
    drop[n] = NULL;
    struct http_header *h = connect_headers(r, drop, 2, &count);
    h[count++] = (struct http_header){STR("x-forwarded-for"), proxy_forwarded_for(r)};
    h[count++] = (struct http_header){STR("x-forwarded-uri"), r->http->path};
    *ret_count = count;
    return h;
}

void proxy_forward(struct req *r, const struct proxy_route *route)
{
    struct error err = {0};
    struct proxy *p = ARENA_NEW(r->arena, struct proxy);
    p->r = r;
    p->route = *route;
    if (route->view != NULL)
        p->view = *route->view;
    r->long_running = true;
    if (strcmp(r->info.verb, "watch") == 0)
        flow_request_finish(r); /* What it costs from here on it costs the other side. */
    req_release_views(r);
    struct http_call_config c = {
        .method = str_c(r->http->method),
        .target = route->target,
        .authority = route->authority,
        .headers = route->headers,
        .header_count = route->header_count,
        .upload = r->streams_body,
        .upload_bytes = r->http->content_length > 0 ? (uint64_t)r->http->content_length : 0,
        .on_headers = on_headers,
        .on_data = on_data,
        .on_drain = on_upload_drain,
        .on_end = on_end,
        .arg = p};
    if (!r->streams_body && r->http->body.len != 0)
        c.body = net_bytes_copy(r->http->body.data, r->http->body.len);
    int code = E_CLOSED;
    if (!r->http->aborted) /* Its body would never end. */
        code = http_call_start(route->http, &c, &p->call, &err);
    net_bytes_unref(c.body);
    if (code != 0) {
        route->done(route->arg);
        refuse(p, arena_strc(r->arena, error_message(&err)));
        return;
    }
    r->proxy = p;
    http_request_on_abort(r->http, on_abort, p);
    if (r->streams_body) {
        http_request_body_patient(r->http);
        http_request_resume(r->http);
    }
}

/* --- pods, services and nodes/proxy
 * ---------------------------------------------------------------
 */

struct own_client {
    struct req *r;
    struct http_client *http;       /* Of this call alone, */
    struct kubelet_client *kubelet; /* or a node agent's. */
};

static void give_client(void *arg)
{
    struct own_client *o = arg;
    if (o->kubelet != NULL)
        kubelet_pool_give(o->r->thread->kubelets, o->kubelet);
    else
        http_client_close(o->http, NULL, NULL);
}

static int open_client(struct own_client *o, const struct proxy_target *t, struct error *err)
{
    struct kubelet_pool *pool = o->r->thread->kubelets;
    const char *endpoint = str_c(t->endpoint);
    if (t->kubelet) {
        int code = kubelet_pool_take(pool, endpoint, &o->kubelet, err);
        o->http = code == 0 ? o->kubelet->http : NULL;
        return code;
    }
    /* Connections of its own, so that nothing is kept for what may never be
     * asked again, and no request waits for another. */
    struct http_client_config c = {.endpoints = &endpoint,
                                   .endpoint_count = 1,
                                   .tls = t->https ? kubelet_pool_any_tls(pool) : NULL,
                                   .protocol = HTTP_CLIENT_H1};
    return http_client_new(&o->r->thread->loop, &c, &o->http, err);
}

static void forward(struct req *r, const struct proxy_target *t, const struct proxy_view *view,
                    const char *target)
{
    struct error err = {0};
    struct own_client *o = ARENA_NEW(r->arena, struct own_client);
    o->r = r;
    if (open_client(o, t, &err) != 0) {
        req_status(r, status_unavailable(r->arena, "error trying to reach service: %s",
                                         error_message(&err)));
        return;
    }
    struct proxy_route route = {.http = o->http,
                                .done = give_client,
                                .arg = o,
                                .view = view,
                                .target = target,
                                .authority = str_c(r->http->authority)};
    route.headers = request_headers(r, false, &route.header_count);
    proxy_forward(r, &route);
}

static void forward_upgrade(struct req *r, const struct proxy_target *t, const char *target)
{
    struct kubelet_pool *pool = r->thread->kubelets;
    struct upgrade_config c = {.kind = UPGRADE_PLAIN,
                               .tls = t->kubelet ? kubelet_pool_node_tls(pool)
                                      : t->https ? kubelet_pool_any_tls(pool)
                                                 : NULL,
                               .endpoint = str_c(t->endpoint),
                               .target = target,
                               .authority = str_c(r->http->authority)};
    c.headers = request_headers(r, true, &c.header_count);
    connect_upgrade(r, &c);
}

/* A relative link in what stands at ".../proxy" would lead beside it. */
static void redirect_to_slash(struct req *r)
{
    struct http_request *http = r->http;
    struct str to = http->query.len > 0 ? arena_printf(r->arena, STR_FMT "/?" STR_FMT,
                                                       STR_ARG(http->path), STR_ARG(http->query))
                                        : arena_printf(r->arena, STR_FMT "/", STR_ARG(http->path));
    http_response_header_str(http, STR("Location"), to);
    req_headers(r, NULL);
    req_done(r, 301);
    http_respond(http, 301, STR(""));
}

static void proxy_now(struct req *r)
{
    struct http_request *http = r->http;
    struct kind_ctx ctx;
    struct proxy_target t;
    size_t at = rest_offset(http->path);
    struct str rest = str_sub(http->path, at, http->path.len);
    struct core_v1_pod_proxy_options options = {.path = rest};
    req_ctx(r, req_view(r), &ctx);
    /* Options of all three have the path alone. */
    const char *kind = str_eqc(r->res->gr.resource, "nodes")      ? "NodeProxyOptions"
                       : str_eqc(r->res->gr.resource, "services") ? "ServiceProxyOptions"
                                                                  : "PodProxyOptions";
    struct meta_v1_status *s = connect_admit(r, &ctx, kind, &options);
    if (s == NULL)
        s = proxy_target_of(r, &ctx, &t);
    if (s != NULL) {
        if (!req_admit_waits(r, s, proxy_now))
            req_status(r, s);
        return;
    }
    bool upgrade = upgrade_wanted(http);
    bool reads = str_eqc(http->method, "GET") || str_eqc(http->method, "HEAD");
    if (rest.len == 0 && reads && !upgrade) {
        redirect_to_slash(r);
        return;
    }
    struct proxy_view view = {.prefix = arena_str(r->arena, str_sub(http->path, 0, at)),
                              .server_host = t.endpoint,
                              .request_host = http->authority};
    const char *target =
        str_c(arena_printf(r->arena, STR_FMT "%s" STR_FMT, STR_ARG(rest.len > 0 ? rest : STR("/")),
                           http->query.len > 0 ? "?" : "", STR_ARG(http->query)));
    if (upgrade)
        forward_upgrade(r, &t, target);
    else
        forward(r, &t, &view, target);
}

void proxy_handle(struct req *r)
{
    req_barrier(r, proxy_now);
}
