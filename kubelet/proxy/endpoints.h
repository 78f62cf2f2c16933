/* endpoints.h - which endpoints of a Service's port this node uses.
 *
 * Pure. The rules are upstream's (kube-proxy 1.36): ready endpoints; where
 * there are none, those that still serve while they are terminating; hints, which count only
 * where every ready endpoint has one and one of them names this node or zone. */
#ifndef KUBELET_PROXY_ENDPOINTS_H
#define KUBELET_PROXY_ENDPOINTS_H

#include "kubelet/proxy/elements.h"

struct arena;
struct core_v1_service;
struct core_v1_service_port;
struct discovery_v1_endpoint_slice;

struct proxy_service {
    const struct core_v1_service *service;
    const struct discovery_v1_endpoint_slice *const *slices;
    size_t slice_count;
};

struct proxy_node {
    const char *name;
    struct str zone; /* Empty: unknown. */
};

struct proxy_endpoint {
    uint8_t address[16]; /* As many bytes as the family has. */
    uint16_t port;
    bool local; /* On this node. */
};

struct proxy_endpoints {
    struct proxy_endpoint *items; /* In the arena, sorted by address and port. */
    size_t count;
};

struct proxy_choice {
    struct proxy_endpoints inside;   /* For cluster addresses: internalTrafficPolicy. */
    struct proxy_endpoints outside;  /* For the others: externalTrafficPolicy. */
    struct proxy_endpoints shortcut; /* For the others, from this node and its pods. */
    bool any;                        /* There is one on some node. */
};

void proxy_choose(struct arena *a, const struct proxy_node *node, const struct proxy_service *s,
                  const struct core_v1_service_port *port, enum proxy_family family,
                  struct proxy_choice *ret);

/* Ready endpoints of all ports of a Service on this node, each address counted once: what a
 * health check node port tells. */
size_t proxy_count_local(struct arena *a, const struct proxy_node *node,
                         const struct proxy_service *s);

/* False: it is no address of that family. */
bool proxy_parse_address(struct str s, enum proxy_family family, uint8_t ret[16]);
/* IPPROTO_TCP for "" and what is unknown. */
uint8_t proxy_protocol(struct str s);

#endif
