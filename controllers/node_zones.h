/* node_zones.h - how much of a zone's nodes is lost, and how fast they may be emptied. Pure.
 *
 * Rules are those of upstream's node lifecycle controller (1.36). */
#ifndef CONTROLLERS_NODE_ZONES_H
#define CONTROLLERS_NODE_ZONES_H

#include "lib/base/str.h"

struct arena;
struct core_v1_node;
struct manager_options;

#define LABEL_EXCLUDE_DISRUPTION "node.kubernetes.io/exclude-disruption"

struct zone_count {
    size_t ready, lost;
};

enum zone_state { ZONE_NORMAL, ZONE_PARTIAL_DISRUPTION, ZONE_FULL_DISRUPTION };

/* Region and zone together; in the arena. Empty: the node has neither. */
struct str zone_name(struct arena *a, const struct core_v1_node *n);
enum zone_state zone_state_of(const struct zone_count *n, double unhealthy_threshold);
/* NoExecute taints per second while other zones have ready nodes. */
double zone_rate(enum zone_state state, size_t node_count, const struct manager_options *o);

#endif
