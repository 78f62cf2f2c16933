/* node_zones.c - see node_zones.h. */
#include "controllers/node_zones.h"

#include "api/core_v1.h"
#include "controllers/controller.h"
#include "lib/base/arena.h"
#include "lib/client/labels.h"

struct str zone_name(struct arena *a, const struct core_v1_node *n)
{
    const struct str *region = label_get(&n->metadata, "topology.kubernetes.io/region"),
                     *zone = label_get(&n->metadata, "topology.kubernetes.io/zone");
    if (region == NULL && zone == NULL)
        return STR_NULL;
    /* Zones of one name in two regions are two. */
    return arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(region != NULL ? *region : STR("")),
                        STR_ARG(zone != NULL ? *zone : STR("")));
}

enum zone_state zone_state_of(const struct zone_count *n, double unhealthy_threshold)
{
    if (n->ready == 0 && n->lost != 0)
        return ZONE_FULL_DISRUPTION;
    bool partly =
        n->lost > 2 && (double)n->lost / (double)(n->ready + n->lost) >= unhealthy_threshold;
    return partly ? ZONE_PARTIAL_DISRUPTION : ZONE_NORMAL;
}

double zone_rate(enum zone_state state, size_t node_count, const struct manager_options *o)
{
    if (state != ZONE_PARTIAL_DISRUPTION)
        return o->node_eviction_rate;
    return (int64_t)node_count > o->large_cluster_size_threshold ? o->secondary_node_eviction_rate
                                                                 : 0;
}
