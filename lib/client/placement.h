/* placement.h - may a pod be on a node? What scheduler, controllers and kubelet
 * share: node selectors, affinity, taints and tolerations. Pure. */
#ifndef CLIENT_PLACEMENT_H
#define CLIENT_PLACEMENT_H

#include "lib/base/str.h"

struct core_v1_node;
struct core_v1_node_selector;
struct core_v1_node_selector_term;
struct core_v1_pod_spec;
struct core_v1_taint;
struct core_v1_toleration;

/* The value of a node's label; NULL when absent. */
const struct str *node_label(const struct core_v1_node *node, struct str key);
/* Terms are alternatives; one without requirements matches nothing. */
bool node_selector_matches(const struct core_v1_node_selector *s, const struct core_v1_node *node);
bool node_selector_term_matches(const struct core_v1_node_selector_term *t,
                                const struct core_v1_node *node);
/* The same, but one without requirements matches every node: preferences. */
bool node_preference_matches(const struct core_v1_node_selector_term *t,
                             const struct core_v1_node *node);
/* nodeSelector and required node affinity together. */
bool pod_matches_node_affinity(const struct core_v1_pod_spec *spec,
                               const struct core_v1_node *node);
bool toleration_tolerates(const struct core_v1_toleration *t, const struct core_v1_taint *taint);
bool spec_tolerates(const struct core_v1_pod_spec *spec, const struct core_v1_taint *taint);

#endif
