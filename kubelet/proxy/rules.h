/* rules.h - Services and EndpointSlices as one nftables ruleset.
 *
 * Pure: objects in, text for `nft -f` out. Looking a Service up costs the same
 * whatever their number: destination address, protocol and port index one
 * verdict map.
 *
 *   prerouting, output -> services -> map service-ips: address . protocol . port -> svc-x
 *                                     map node-ports:  protocol . port           -> ext-x
 *   svc-x: one of its ep-y by chance, or by client address; ep-y: dnat
 *   filter: what has no endpoints is rejected rather than left to time out
 *   postrouting: what is marked leaves with our address */
#ifndef KUBELET_PROXY_RULES_H
#define KUBELET_PROXY_RULES_H

#include "lib/base/base.h"

struct buf;
struct core_v1_service;
struct discovery_v1_endpoint_slice;

struct proxy_service {
    const struct core_v1_service *service;
    const struct discovery_v1_endpoint_slice *const *slices;
    size_t slice_count;
};

struct proxy_inputs {
    const char *node_name;
    const struct proxy_service *services;
    size_t service_count;
    /* The kernel does not show bridged packets to nftables: a pod that reaches
     * another one of its bridge through a Service must come from our address. */
    bool masquerade_bridge;
};

#define PROXY_TABLE "trireme-proxy"
#define PROXY_MARK 0x4000

/* Appends the whole ruleset, IPv4 and IPv6; loading it replaces the old one in
 * one step. */
void proxy_rules(const struct proxy_inputs *in, struct buf *out);
/* Removes everything of ours. */
void proxy_rules_none(struct buf *out);

#endif
