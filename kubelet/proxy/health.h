/* health.h - tells load balancers whether to send traffic here.
 *
 * On each Service's health check node port: has it ready endpoints on this
 * node (200), or not (503)? On --service-proxy-healthz-port: are rules up to
 * date, and is the node to get traffic at all? Paths, bodies and headers are
 * upstream's (kube-proxy 1.36). Loop-confined. */
#ifndef KUBELET_PROXY_HEALTH_H
#define KUBELET_PROXY_HEALTH_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct kubelet;
struct proxy_health;

struct proxy_health *proxy_health_start(struct kubelet *k);
void proxy_health_stop(struct proxy_health *h); /* NULL is a no-op. */
/* A Service ("namespace/name") has a health check node port, and so many ready endpoints here.
 * port 0: it has none. */
void proxy_health_set(struct proxy_health *h, struct str service, int port, size_t endpoints);
/* Something has changed that the kernel does not hold yet; and: it holds everything. */
void proxy_health_pending(struct proxy_health *h);
void proxy_health_synced(struct proxy_health *h);

#endif
