/* kubelet_pool.h - a server thread's connections to other servers on behalf of
 * clients: node agents, and what pods and services/proxy reach.
 *
 * Loop-confined. HTTP clients are made per node on demand; the one unused for
 * longest makes room. Upgraded connections are known here so that a stopping
 * thread ends them. */
#ifndef APISERVER_KUBELET_POOL_H
#define APISERVER_KUBELET_POOL_H

#include "lib/base/list.h"
#include "lib/base/str.h"

struct error;
struct kind_ctx;
struct kubelet_pool;
struct meta_v1_status;
struct req;
struct server_thread;
struct tls_context;
struct upgrade;

int kubelet_pool_new(struct server_thread *t, struct kubelet_pool **ret, struct error *err);
/* Ends every upgraded connection and call. NULL is a no-op. */
void kubelet_pool_close(struct kubelet_pool *p);

/* A node agent's HTTP client, for one call. */
struct kubelet_client {
    struct http_client *http;
    unsigned calls; /* Taken and not given back. */
    uint64_t used_ms;
};
int kubelet_pool_take(struct kubelet_pool *p, const char *endpoint, struct kubelet_client **ret,
                      struct error *err);
void kubelet_pool_give(struct kubelet_pool *p, struct kubelet_client *c);

/* For connections of their own: with our client certificate to a node agent
 * (NULL without one: plain), and without any to what a proxy reaches by
 * https:, whose certificates nobody knows. */
struct tls_context *kubelet_pool_node_tls(const struct kubelet_pool *p);
struct tls_context *kubelet_pool_any_tls(const struct kubelet_pool *p);

struct pool_link {
    struct list link; /* list_remove() it when the connection is over. */
    struct upgrade *upgrade;
};
void kubelet_pool_add(struct kubelet_pool *p, struct pool_link *l);

/* "host:port" of a node's agent; empty: its address is not known. */
struct arena;
struct core_v1_node;
struct str kubelet_node_endpoint(struct arena *a, const struct core_v1_node *node);
/* The same by name, in the request's arena. */
struct meta_v1_status *kubelet_endpoint(struct req *r, const struct kind_ctx *ctx,
                                        struct str node_name, struct str *ret);

#endif
