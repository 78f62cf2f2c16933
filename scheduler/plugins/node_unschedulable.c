/* node_unschedulable.c - cordoned nodes take only pods that tolerate it. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    static const struct core_v1_taint taint = {
        .key = {"node.kubernetes.io/unschedulable", sizeof("node.kubernetes.io/unschedulable") - 1},
        .effect = {"NoSchedule", sizeof("NoSchedule") - 1},
    };
    if (!n->node->spec.unschedulable || spec_tolerates(&c->pod->pod->spec, &taint))
        return FIT;
    refusal_add(r, STR("node(s) were unschedulable"));
    return UNRESOLVABLE;
}

const struct plugin plugin_node_unschedulable = {
    .name = "NodeUnschedulable",
    .wakes = EVENT_NODE_ADD | EVENT_NODE_TAINT,
    .filter = filter,
};
