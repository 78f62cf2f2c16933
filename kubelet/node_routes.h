/* node_routes.h - routes to the pods of the other nodes.
 *
 * For nodes on one network: the pods of a node are reached through the node's
 * own address of the same family. Kept current from the Node objects; routes of nodes that are
 * gone are removed, also those left by an earlier run (they carry a routing
 * protocol number of their own). Losing the API server changes nothing.
 * Loop-confined; each change is one short netlink exchange. */
#ifndef KUBELET_NODE_ROUTES_H
#define KUBELET_NODE_ROUTES_H

#include "lib/net/range.h"

#include <stddef.h>

struct core_v1_node;
struct informer;
struct kubelet;
struct node_routes;

/* NULL, with a log line, when the kernel lets us set no routes. */
struct node_routes *node_routes_start(struct kubelet *k);
/* All nodes, as long as n lives; NULL for NULL. */
const struct informer *node_routes_nodes(const struct node_routes *n);
/* What else follows from the ranges of pods is to be looked at again. NULL is a no-op. */
void node_routes_kick(struct node_routes *n);

/* --- the pure part ------------------------------------------------------------ */
struct node_route {
    struct net_range to;
    struct net_range gateway; /* One address. */
};
/* The routes to a node's pods: of each family at most one, and none without an address of it. */
size_t node_routes_of(const struct core_v1_node *node, struct node_route ret[2]);
/* What has to be set and what removed, to get from have to want. The arrays
 * must have room for want_count and have_count entries. */
void node_routes_diff(const struct node_route *have, size_t have_count,
                      const struct node_route *want, size_t want_count, struct node_route *ret_set,
                      size_t *ret_set_count, struct node_route *ret_remove,
                      size_t *ret_remove_count);

#endif
