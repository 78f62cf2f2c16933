/* kubelet_proxy.h - what the server fetches from node agents: container logs.
 *
 * One pool per server thread; clients are made per node on demand and closed
 * when idle. Loop-confined. */
#ifndef APISERVER_KUBELET_PROXY_H
#define APISERVER_KUBELET_PROXY_H

struct error;
struct kubelet_pool;
struct req;
struct server_thread;

int kubelet_pool_new(struct server_thread *t, struct kubelet_pool **ret, struct error *err);
void kubelet_pool_close(struct kubelet_pool *p); /* NULL is a no-op. */

/* GET pods/log: answers r with the kubelet's stream. */
void kubelet_pod_log(struct req *r);

#endif
