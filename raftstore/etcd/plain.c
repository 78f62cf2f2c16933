/* plain.c - /version and /metrics over plain HTTP, as etcd answers them. */
#include "raftstore/etcd/server_private.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/metrics.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"

static bool only_get(struct http_request *r)
{
    if (str_eq(r->method, STR("GET")) || str_eq(r->method, STR("HEAD")))
        return true;
    http_response_header(r, "allow", "GET");
    http_response_header(r, "content-type", "text/plain; charset=utf-8");
    http_respond(r, 405, STR("Method Not Allowed\n"));
    return false;
}

static void serve_version(struct etcd_thread *t, struct http_request *r)
{
    if (!only_get(r))
        return;
    http_response_header(r, "content-type", "application/json");
    http_respond(r, 200,
                 arena_printf(r->arena, "{\"etcdserver\":\"%s\",\"etcdcluster\":\"%s\"}",
                              etcd_thread_config(t)->version, ETCD_CLUSTER_VERSION));
}

static void serve_metrics(struct etcd_thread *t, struct http_request *r)
{
    if (!only_get(r))
        return;
    AUTO_BUF text = BUF_INIT;
    metrics_render(etcd_thread_config(t)->metrics, &text);
    struct net_bytes *b = net_bytes_steal(&text);
    http_respond_typed(r, 200, METRICS_CONTENT_TYPE, b);
    net_bytes_unref(b);
}

static const struct etcd_route ROUTES[] = {
    {"/version", false, serve_version},
    {"/metrics", true, serve_metrics},
};
const struct etcd_route_list etcd_plain_routes = {ROUTES, ARRAY_SIZE(ROUTES)};
