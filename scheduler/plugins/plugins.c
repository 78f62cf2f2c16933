/* plugins.c - the table of plugins: one line registers one. Filters run in this
 * order, as upstream's default profile has it; a node's first refusal counts. */
#include "scheduler/plugins/plugins.h"

#include "lib/base/base.h"

const struct plugin *const scheduler_plugins[] = {
    &plugin_node_unschedulable,  &plugin_node_name,           &plugin_taint_toleration,
    &plugin_node_affinity,       &plugin_node_ports,          &plugin_node_resources_fit,
    &plugin_volume_restrictions, &plugin_volume_limits,       &plugin_volume_binding,
    &plugin_volume_zone,         &plugin_topology_spread,     &plugin_inter_pod_affinity,
    &plugin_dynamic_resources,   &plugin_balanced_allocation, &plugin_image_locality,
};
const size_t scheduler_plugin_count = ARRAY_SIZE(scheduler_plugins);
static_assert(ARRAY_SIZE(scheduler_plugins) <= PLUGINS_MAX, "raise PLUGINS_MAX");

void scores_normalize(int64_t *scores, size_t count, bool reverse)
{
    int64_t max = 0;
    for (size_t i = 0; i < count; i++)
        max = MAX_OF(max, scores[i]);
    for (size_t i = 0; i < count; i++) {
        if (max == 0) {
            scores[i] = reverse ? SCORE_MAX : scores[i];
            continue;
        }
        scores[i] = scores[i] * SCORE_MAX / max;
        if (reverse)
            scores[i] = SCORE_MAX - scores[i];
    }
}
