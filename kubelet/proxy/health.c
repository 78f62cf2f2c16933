/* health.c - see health.h. */
#include "kubelet/proxy/health.h"

#include "kubelet/kubelet.h"

#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/net/http_server.h"
#include "lib/net/stream.h"

#include "api/core_v1.h"

/* A change that has not reached the kernel for so long makes us unhealthy: upstream's twice the
 * longest time between two of its runs, by default. */
#define LATE_MS 60000u
#define AUTOSCALER_TAINT "ToBeDeletedByClusterAutoscaler"

/* A Service's health check node port. */
struct checked {
    struct proxy_health *h;
    char *namespace_name, *name;
    int port;
    size_t endpoints;
    struct http_server *http; /* NULL: the port could not be had. */
};

struct proxy_health {
    struct kubelet *k;
    struct map checked; /* "namespace/name" -> struct checked */
    struct http_server *http;
    int64_t synced_ns;   /* Wall clock; 0: never. */
    uint64_t pending_ms; /* Since when something waits; 0: nothing does. */
};

static bool is_current(const struct proxy_health *h)
{
    return h->synced_ns != 0 &&
           (h->pending_ms == 0 || kubelet_now_ms(h->k) - h->pending_ms < LATE_MS);
}

/* The node goes on to serve what is there, but is to get nothing new. */
static bool is_eligible(const struct proxy_health *h)
{
    const struct core_v1_node *n = h->k->node != NULL ? h->k->node->msg : NULL;
    if (n == NULL)
        return true;
    for (size_t i = 0; i < n->spec.taints_count; i++)
        if (str_eqc(n->spec.taints[i].key, AUTOSCALER_TAINT))
            return false;
    return n->metadata.deletion_timestamp == NULL;
}

static void json_headers(struct http_request *r)
{
    http_response_header(r, "content-type", "application/json");
    http_response_header(r, "x-content-type-options", "nosniff");
}

static void on_closed(struct http_server *http, void *arg)
{
    UNUSED(arg);
    http_server_free(http);
}

static int listen_on(struct proxy_health *h, int port, const struct http_server_config *config,
                     struct http_server **ret, struct error *err)
{
    char address[32];
    snprintf(address, sizeof(address), ":%d", port);
    struct net_listen_config where = {.address = address};
    int rc = http_server_new(h->k->loop, config, ret, err);
    if (rc != 0)
        return rc;
    rc = http_server_listen(*ret, &where, err);
    if (rc != 0)
        http_server_shutdown(take(*ret), 0, on_closed, NULL);
    return rc;
}

/* --- a Service's port ---------------------------------------------------------------------------
 */

static void on_service_request(struct http_request *r, void *arg)
{
    const struct checked *c = arg;
    char weight[24];
    AUTO_BUF body = BUF_INIT;
    bool healthy = is_current(c->h);
    json_headers(r);
    snprintf(weight, sizeof(weight), "%zu", c->endpoints);
    http_response_header(r, "x-load-balancing-endpoint-weight", weight);
    buf_printf(&body,
               "{\n\t\"service\": {\n\t\t\"namespace\": \"%s\",\n\t\t\"name\": \"%s\"\n\t},\n"
               "\t\"localEndpoints\": %zu,\n\t\"serviceProxyHealthy\": %s\n}",
               c->namespace_name, c->name, c->endpoints, healthy ? "true" : "false");
    http_respond(r, c->endpoints > 0 && healthy ? 200 : 503, arena_str(r->arena, buf_str(&body)));
}

static void on_service_closed(struct http_server *http, void *arg)
{
    struct checked *c = arg;
    http_server_free(http);
    free(c->namespace_name);
    free(c->name);
    free(c);
}

static void remove_checked(struct proxy_health *h, struct str service, struct checked *c)
{
    map_remove(&h->checked, service);
    if (c->http != NULL)
        http_server_shutdown(c->http, 0, on_service_closed, c);
    else
        on_service_closed(NULL, c);
}

static struct checked *add_checked(struct proxy_health *h, struct str service, int port)
{
    struct error err;
    struct str namespace_name, name;
    struct checked *c = xzalloc(sizeof(*c));
    str_cut(service, '/', &namespace_name, &name);
    c->h = h;
    c->port = port;
    c->namespace_name = xasprintf(STR_FMT, STR_ARG(namespace_name));
    c->name = xasprintf(STR_FMT, STR_ARG(name));
    struct http_server_config config = {
        .name = "service-health", .on_request = on_service_request, .arg = c};
    if (listen_on(h, port, &config, &c->http, &err) != 0) {
        c->http = NULL;
        log_error("Service " STR_FMT ": health check node port %d: %s", STR_ARG(service), port,
                  error_message(&err));
    }
    map_set(&h->checked, service, c);
    return c;
}

void proxy_health_set(struct proxy_health *h, struct str service, int port, size_t endpoints)
{
    struct checked *c = map_get(&h->checked, service);
    if (c != NULL && c->port != port) {
        remove_checked(h, service, c);
        c = NULL;
    }
    if (port <= 0)
        return;
    if (c == NULL)
        c = add_checked(h, service, port);
    c->endpoints = endpoints;
}

/* --- our own -------------------------------------------------------------------------------------
 */

static void write_time(int64_t ns, struct buf *b)
{
    char text[TIME_TEXT_MAX];
    struct meta_v1_micro_time t = micro_time_from_ns(ns);
    micro_time_format(&t, text);
    buf_puts(b, text);
}

static void on_request(struct http_request *r, void *arg)
{
    const struct proxy_health *h = arg;
    bool ready = str_eqc(r->path, "/healthz"), live = str_eqc(r->path, "/livez");
    if (!ready && !live) {
        http_respond(r, 404, STR("404 page not found\n"));
        return;
    }
    AUTO_BUF body = BUF_INIT;
    bool current = is_current(h), eligible = is_eligible(h);
    int64_t now_ns = env_wall_ns(h->k->env);
    json_headers(r);
    buf_puts(&body, "{\"lastUpdated\": \"");
    write_time(current && h->pending_ms == 0 ? now_ns : h->synced_ns, &body);
    buf_puts(&body, "\",\"currentTime\": \"");
    write_time(now_ns, &body);
    buf_puts(&body, "\"");
    if (ready)
        buf_printf(&body, ", \"nodeEligible\": %s", eligible ? "true" : "false");
    buf_puts(&body, "}");
    http_respond(r, current && (eligible || live) ? 200 : 503, arena_str(r->arena, buf_str(&body)));
}

void proxy_health_pending(struct proxy_health *h)
{
    if (h->pending_ms == 0)
        h->pending_ms = kubelet_now_ms(h->k);
}

void proxy_health_synced(struct proxy_health *h)
{
    h->pending_ms = 0;
    h->synced_ns = env_wall_ns(h->k->env);
}

struct proxy_health *proxy_health_start(struct kubelet *k)
{
    struct error err;
    struct proxy_health *h = xzalloc(sizeof(*h));
    h->k = k;
    map_init(&h->checked);
    struct http_server_config config = {
        .name = "service-proxy-health", .on_request = on_request, .arg = h};
    if (k->config.proxy_healthz_port != 0 &&
        listen_on(h, (int)k->config.proxy_healthz_port, &config, &h->http, &err) != 0) {
        h->http = NULL;
        log_error("--service-proxy-healthz-port: %s", error_message(&err));
    }
    return h;
}

void proxy_health_stop(struct proxy_health *h)
{
    if (h == NULL)
        return;
    if (h->http != NULL)
        http_server_shutdown(take(h->http), 0, on_closed, NULL);
    struct str service;
    void *c;
    for (size_t pos = 0; map_next(&h->checked, &pos, &service, &c);)
        remove_checked(h, service, c);
}
