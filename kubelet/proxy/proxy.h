/* proxy.h - routes Services on this node: watches Services and EndpointSlices
 * and keeps nftables as rules.h says.
 *
 * Changes are gathered for a moment and loaded by nft(8) in one transaction.
 * When the API server is away the rules stay; they stay when we end, too. */
#ifndef KUBELET_PROXY_PROXY_H
#define KUBELET_PROXY_PROXY_H

struct informer;
struct kubelet;
struct proxy;

/* The kubelet's own informers of all Services and of their EndpointSlices, indexed by "service";
 * handlers are added. */
struct proxy *proxy_start(struct kubelet *k, struct informer *services, struct informer *slices);
/* k->node is another one: its addresses, its pods' ranges or its zone may be. NULL is a no-op. */
void proxy_node_changed(struct proxy *p);
void proxy_stop(struct proxy *p); /* NULL is a no-op. */

#endif
