/* kubelet_pool.c - see kubelet_pool.h. */
#include "apiserver/kubelet_pool.h"

#include "api/core_v1.h"
#include "apiserver/request.h"
#include "lib/base/arena.h"
#include "lib/base/map.h"
#include "lib/net/http_client.h"
#include "lib/net/tls.h"
#include "lib/net/upgrade.h"

#include <inttypes.h>

#define KUBELET_PORT 10250
#define CLIENTS_MAX 16384u    /* The scraper keeps one for each node. */
#define CONNECTIONS_MAX 4096u /* To one node: each followed log holds one. */

struct kubelet_pool {
    struct server_thread *thread;
    struct tls_context *tls; /* NULL: no client certificate configured. */
    struct tls_context *any_tls;
    struct map clients; /* "host:port" -> struct kubelet_client */
    struct list joined;
};

int kubelet_pool_new(struct server_thread *t, struct kubelet_pool **ret, struct error *err)
{
    const struct apiserver_config *c = &t->server->config;
    struct kubelet_pool *p = xzalloc(sizeof(*p));
    struct tls_config any = {.skip_verify = true, .alpn = TLS_ALPN_HTTP1};
    p->thread = t;
    map_init(&p->clients);
    list_init(&p->joined);
    int code = tls_context_new(&any, &p->any_tls, err);
    if (code == 0 && c->kubelet_client_certificate != NULL) {
        struct tls_config tc = {.cert.file = c->kubelet_client_certificate,
                                .key.file = c->kubelet_client_key,
                                .ca.file = c->kubelet_ca_file,
                                .skip_verify = c->kubelet_ca_file == NULL,
                                .alpn = TLS_ALPN_HTTP1};
        code = tls_context_new(&tc, &p->tls, err);
    }
    if (code != 0) {
        kubelet_pool_close(p);
        return code;
    }
    *ret = p;
    return 0;
}

void kubelet_pool_close(struct kubelet_pool *p)
{
    if (p == NULL)
        return;
    size_t pos = 0;
    void *value;
    for (struct list *l; (l = list_pop_front(&p->joined)) != NULL;)
        upgrade_stop(LIST_ENTRY(l, struct pool_link, link)->upgrade);
    while (map_next(&p->clients, &pos, NULL, &value)) {
        struct kubelet_client *c = value;
        http_client_close(c->http, NULL, NULL);
        free(c);
    }
    map_done(&p->clients);
    tls_context_unref(p->tls);
    tls_context_unref(p->any_tls);
    free(p);
}

struct tls_context *kubelet_pool_node_tls(const struct kubelet_pool *p)
{
    return p->tls;
}

struct tls_context *kubelet_pool_any_tls(const struct kubelet_pool *p)
{
    return p->any_tls;
}

void kubelet_pool_add(struct kubelet_pool *p, struct pool_link *l)
{
    list_push_back(&p->joined, &l->link);
}

/* Closes the client that was not needed for longest; false when all are in use. */
static bool make_room(struct kubelet_pool *p)
{
    struct str key, oldest_key = STR_NULL;
    struct kubelet_client *oldest = NULL;
    size_t pos = 0;
    void *value;
    while (map_next(&p->clients, &pos, &key, &value)) {
        struct kubelet_client *c = value;
        if (c->calls == 0 && (oldest == NULL || c->used_ms < oldest->used_ms)) {
            oldest = c;
            oldest_key = key;
        }
    }
    if (oldest == NULL)
        return false;
    map_remove(&p->clients, oldest_key);
    http_client_close(oldest->http, NULL, NULL);
    free(oldest);
    return true;
}

int kubelet_pool_take(struct kubelet_pool *p, const char *endpoint, struct kubelet_client **ret,
                      struct error *err)
{
    struct kubelet_client *k = map_get(&p->clients, str_of(endpoint));
    if (k == NULL) {
        if (p->clients.count >= CLIENTS_MAX && !make_room(p))
            return error_set(err, E_TOO_MANY, "connections to too many nodes");
        struct http_client_config c = {.endpoints = &endpoint,
                                       .endpoint_count = 1,
                                       .tls = p->tls,
                                       .protocol = HTTP_CLIENT_H1,
                                       .connections_max = CONNECTIONS_MAX,
                                       .user_agent = "kube-apiserver"};
        struct http_client *http;
        int code = http_client_new(&p->thread->loop, &c, &http, err);
        if (code != 0)
            return code;
        k = xzalloc(sizeof(*k));
        k->http = http;
        map_set(&p->clients, str_of(endpoint), k);
    }
    k->calls++;
    *ret = k;
    return 0;
}

void kubelet_pool_give(struct kubelet_pool *p, struct kubelet_client *c)
{
    c->calls--;
    c->used_ms = uv_now(&p->thread->loop);
}

/* --- where a node's agent is ---------------------------------------------------------------- */

static struct str node_address(const struct core_v1_node *n)
{
    static const char *const types[] = {"InternalIP", "Hostname", "ExternalIP"};
    for (size_t t = 0; t < ARRAY_SIZE(types); t++)
        for (size_t i = 0; i < n->status.addresses_count; i++)
            if (str_eqc(n->status.addresses[i].type, types[t]))
                return n->status.addresses[i].address;
    return STR_NULL;
}

struct str kubelet_node_endpoint(struct arena *a, const struct core_v1_node *node)
{
    struct str address = node_address(node);
    if (address.len == 0)
        return STR_NULL;
    int32_t port = node->status.daemon_endpoints.kubelet_endpoint.port;
    bool v6 = str_find(address, ':', 0) >= 0;
    return arena_printf(a, v6 ? "[" STR_FMT "]:%" PRId32 : STR_FMT ":%" PRId32, STR_ARG(address),
                        port != 0 ? port : KUBELET_PORT);
}

struct meta_v1_status *kubelet_endpoint(struct req *r, const struct kind_ctx *ctx,
                                        struct str node_name, struct str *ret)
{
    const struct core_v1_node *node = kind_lookup(ctx, "", "nodes", STR_NULL, node_name);
    struct group_resource nodes = {STR(""), STR("nodes")};
    if (node == NULL)
        return status_not_found(r->arena, nodes, node_name);
    *ret = kubelet_node_endpoint(r->arena, node);
    if (ret->len == 0)
        return status_internal(r->arena, "no preferred addresses found; known addresses: []");
    return NULL;
}
