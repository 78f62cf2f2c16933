/* taint_toleration.c - NoSchedule and NoExecute taints keep pods away that do
 * not tolerate them; PreferNoSchedule costs score. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    const struct core_v1_node_spec *node = &n->node->spec;
    for (size_t i = 0; i < node->taints_count; i++) {
        const struct core_v1_taint *taint = &node->taints[i];
        bool hard = str_eqc(taint->effect, "NoSchedule") || str_eqc(taint->effect, "NoExecute");
        if (!hard || spec_tolerates(&c->pod->pod->spec, taint))
            continue;
        refusal_add(r, STR("node(s) had untolerated taint(s)"));
        return UNRESOLVABLE;
    }
    return FIT;
}

static int64_t score(struct cycle *c, const struct node_info *n)
{
    int64_t intolerable = 0;
    for (size_t i = 0; i < n->node->spec.taints_count; i++) {
        const struct core_v1_taint *taint = &n->node->spec.taints[i];
        if (str_eqc(taint->effect, "PreferNoSchedule") &&
            !spec_tolerates(&c->pod->pod->spec, taint))
            intolerable++;
    }
    return intolerable;
}

static void normalize(struct cycle *c, int64_t *scores, size_t count)
{
    (void)c;
    scores_normalize(scores, count, true);
}

const struct plugin plugin_taint_toleration = {
    .name = "TaintToleration",
    .wakes = EVENT_NODE_ADD | EVENT_NODE_TAINT,
    .filter = filter,
    .score = score,
    .normalize = normalize,
    .weight = 3,
};
