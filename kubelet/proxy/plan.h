/* plan.h - a Service and its EndpointSlices as elements of the maps of table.h.
 *
 * Pure: what a Service gives depends on nothing but itself and the node, so that a
 * change computes one Service anew. */
#ifndef KUBELET_PROXY_PLAN_H
#define KUBELET_PROXY_PLAN_H

#include "kubelet/proxy/endpoints.h"

struct proxy_plan_config {
    struct proxy_node node;
    /* Where node ports are served: addresses of this node. Borrowed. */
    const uint8_t (*node_addresses[PROXY_FAMILY_COUNT])[16];
    size_t node_address_counts[PROXY_FAMILY_COUNT];
};

struct proxy_plan {
    struct buf *elements; /* Packed, see elements.h; appended to. */
    size_t count_max;     /* The largest number of endpoints of a frontend. */
    int64_t learn_s;      /* The timeout of its affinity, 0: none. */
};

/* Whether it has addresses that we route at all. */
bool proxy_is_routed(const struct core_v1_service *s);
void proxy_plan(const struct proxy_plan_config *c, const struct proxy_service *s,
                struct proxy_plan *ret);

#endif
