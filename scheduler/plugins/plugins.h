/* plugins.h - every plugin's table entry, and what several of them share. */
#ifndef SCHEDULER_PLUGINS_H
#define SCHEDULER_PLUGINS_H

#include "scheduler/framework.h"

struct core_v1_node_selector;
struct core_v1_node_selector_term;
struct core_v1_pod_spec;
struct core_v1_taint;
struct core_v1_toleration;

extern const struct plugin plugin_node_unschedulable;
extern const struct plugin plugin_node_name;
extern const struct plugin plugin_taint_toleration;
extern const struct plugin plugin_node_affinity;
extern const struct plugin plugin_node_ports;
extern const struct plugin plugin_node_resources_fit;
extern const struct plugin plugin_volume_binding;
extern const struct plugin plugin_topology_spread;
extern const struct plugin plugin_inter_pod_affinity;
extern const struct plugin plugin_balanced_allocation;
extern const struct plugin plugin_image_locality;
extern const struct plugin plugin_default_spread;

/* Terms are alternatives; one without requirements matches nothing. */
bool node_selector_matches(const struct core_v1_node_selector *s, const struct core_v1_node *node);
bool node_selector_term_matches(const struct core_v1_node_selector_term *t,
                                const struct core_v1_node *node);
bool toleration_tolerates(const struct core_v1_toleration *t, const struct core_v1_taint *taint);
bool spec_tolerates(const struct core_v1_pod_spec *spec, const struct core_v1_taint *taint);
/* nodeSelector and required node affinity together. */
bool pod_matches_node_affinity(const struct core_v1_pod_spec *spec, const struct core_v1_node *node);
/* The value of a node's label; NULL when absent. */
const struct str *node_label(const struct core_v1_node *node, struct str key);

/* Scales so that the highest becomes SCORE_MAX; reverse: the lowest raw score
 * becomes the best. */
void scores_normalize(int64_t *scores, size_t count, bool reverse);

#endif
