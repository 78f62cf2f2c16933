/* profile.h - which plugins decide about a pod, how much each weighs, and their
 * arguments: spec.schedulerName names a pod's profile. Made from the configuration
 * file (config.h), constant afterwards. */
#ifndef SCHEDULER_PROFILE_H
#define SCHEDULER_PROFILE_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct core_v1_node_affinity;
struct core_v1_topology_spread_constraint;

#define PLUGINS_MAX 24
#define DEVICE_TIMEOUT_MS (10u * 60 * 1000) /* Upstream's bindingTimeout. */

struct resource_weight {
    const char *name;
    int64_t weight;
};

/* Of a curve over utilisation in per cent; scores are 0..SCORE_MAX. */
struct shape_point {
    int64_t utilization, score;
};

enum fit_strategy { FIT_LEAST_ALLOCATED, FIT_MOST_ALLOCATED, FIT_REQUESTED_TO_CAPACITY };

struct profile {
    const char *name;
    bool filters[PLUGINS_MAX]; /* By index in scheduler_plugins. */
    bool scores[PLUGINS_MAX];
    int64_t weights[PLUGINS_MAX];
    bool preempts;
    /* How many of the fitting nodes are enough to score, in per cent; 0 and 100: all. */
    unsigned percentage;

    /* NodeResourcesFit */
    enum fit_strategy fit;
    const struct resource_weight *fit_resources;
    size_t fit_resource_count;
    const struct shape_point *shape;
    size_t shape_count;
    const char *const *ignored_resources, *const *ignored_groups;
    size_t ignored_resource_count, ignored_group_count;
    bool reclaims; /* What is reserved and not used is there for reclaiming pods. */
    /* NodeResourcesBalancedAllocation */
    const char *const *balanced;
    size_t balanced_count;
    /* InterPodAffinity */
    int64_t hard_affinity_weight;
    bool ignores_existing_preferences;
    /* PodTopologySpread: constraints of pods that have none. system_spread: upstream's. */
    const struct core_v1_topology_spread_constraint *spread;
    size_t spread_count;
    bool system_spread;
    uint64_t device_timeout_ms; /* DynamicResources: of waiting for devices to be ready. */
    /* NodeAffinity: added to every pod's; NULL: none. */
    const struct core_v1_node_affinity *added_affinity;
};

/* Upstream's default profile, under the name "default-scheduler". */
const struct profile *profile_default(void);
void profile_init(struct profile *p, const char *name); /* As the default one. */

#endif
