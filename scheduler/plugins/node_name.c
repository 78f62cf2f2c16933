/* node_name.c - a pod that names its node runs there or nowhere. Such pods
 * reach the scheduler only in preemption's trials: the name means "placed". */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    struct str want = c->pod->pod->spec.node_name;
    if (str_empty(want) || str_eqc(want, n->name))
        return FIT;
    refusal_add(r, STR("node(s) didn't match the requested node name"));
    return UNRESOLVABLE;
}

const struct plugin plugin_node_name = {
    .name = "NodeName",
    .wakes = EVENT_NODE_ADD,
    .filter = filter,
};
