/* plain.c - /health, /version and /metrics over plain HTTP, as etcd answers them. */
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
    http_respond(r, 405, STR("Method Not Allowed\n"));
    return false;
}

/* A member without a leader, or with an alarm, is not healthy. */
static void serve_health(struct etcd_thread *t, struct http_request *r)
{
    if (!only_get(r))
        return;
    struct store_status s;
    store_status(etcd_thread_store(t), &s);
    const char *reason = NULL;
    bool serializable = str_find_str(r->query, STR("serializable=true")) >= 0;
    if ((s.alarms & STORE_ALARM_NO_SPACE) != 0 &&
        str_find_str(r->query, STR("exclude=NOSPACE")) < 0)
        reason = "ALARM NOSPACE";
    else if ((s.alarms & STORE_ALARM_CORRUPT) != 0 &&
             str_find_str(r->query, STR("exclude=CORRUPT")) < 0)
        reason = "ALARM CORRUPT";
    else if (s.failed)
        reason = "STORE FAILED";
    else if (!s.has_leader && !serializable)
        reason = "RAFT NO LEADER";
    http_response_header(r, "content-type", "application/json");
    http_respond(r, reason == NULL ? 200 : 503,
                 arena_printf(r->arena, "{\"health\":\"%s\",\"reason\":\"%s\"}",
                              reason == NULL ? "true" : "false", reason == NULL ? "" : reason));
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
    {"/health", true, serve_health},
    {"/version", false, serve_version},
    {"/metrics", true, serve_metrics},
};
const struct etcd_route_list etcd_plain_routes = {ROUTES, ARRAY_SIZE(ROUTES)};
