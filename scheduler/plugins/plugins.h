/* plugins.h - every plugin's table entry, and what several of them share. */
#ifndef SCHEDULER_PLUGINS_H
#define SCHEDULER_PLUGINS_H

#include "lib/client/placement.h"
#include "scheduler/framework.h"

extern const struct plugin plugin_node_unschedulable;
extern const struct plugin plugin_node_name;
extern const struct plugin plugin_taint_toleration;
extern const struct plugin plugin_node_affinity;
extern const struct plugin plugin_node_ports;
extern const struct plugin plugin_node_resources_fit;
extern const struct plugin plugin_volume_binding;
extern const struct plugin plugin_volume_limits;
extern const struct plugin plugin_volume_restrictions;
extern const struct plugin plugin_volume_zone;
extern const struct plugin plugin_topology_spread;
extern const struct plugin plugin_inter_pod_affinity;
extern const struct plugin plugin_dynamic_resources;
extern const struct plugin plugin_balanced_allocation;
extern const struct plugin plugin_image_locality;

/* What the pod's claims that wait need on a node that fits; an array of the cycle. */
struct claim_plan;
struct resource_v1_allocation_result;
struct resource_v1_resource_claim;
size_t volume_binding_plan(const struct cycle *c, const struct core_v1_node *node,
                           const struct claim_plan **ret);

/* What the pod's ResourceClaims need on a node that fits, borrowed from the cycle; ret has
 * room for POD_CLAIMS_MAX + 1. */
struct device_plan {
    struct api_object *claim;                          /* NULL: extended is to be created. */
    const struct resource_v1_resource_claim *extended; /* For extended resources: comes last. */
    const struct resource_v1_allocation_result *allocation; /* NULL: it has one already. */
};
size_t dynamic_resources_plan(const struct cycle *c, const struct node_info *n,
                              struct device_plan *ret);
/* When no node fits: an allocated claim that nobody uses and that keeps the pod from some
 * node. NULL: none. *ret_any: the plugin had claims to look at. */
struct api_object *dynamic_resources_idle_claim(const struct cycle *c, bool *ret_any);

/* The claim that an earlier attempt made for the pod's extended resources, and that keeps it
 * from every node; NULL: none. */
struct api_object *dynamic_resources_stale_claim(const struct cycle *c);

/* Changes with the number of nodes that have the pod's images. */
uint64_t image_locality_rev(const struct cycle *c);

/* Scales so that the highest becomes SCORE_MAX; reverse: the lowest raw score
 * becomes the best. */
void scores_normalize(int64_t *scores, size_t count, bool reverse);

#endif
