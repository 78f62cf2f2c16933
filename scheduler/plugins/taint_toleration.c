/* taint_toleration.c - NoSchedule and NoExecute taints keep pods away that do
 * not tolerate them; PreferNoSchedule costs score. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"

/* Numeric operators (Lt, Gt) compare the taint's value with the toleration's. */
static bool value_compares(const struct core_v1_toleration *t, const struct core_v1_taint *taint,
                           bool less)
{
    int64_t have, limit;
    if (!str_to_i64(taint->value, &have) || !str_to_i64(t->value, &limit))
        return false;
    return less ? have < limit : have > limit;
}

bool toleration_tolerates(const struct core_v1_toleration *t, const struct core_v1_taint *taint)
{
    if (!str_empty(t->effect) && !str_eq(t->effect, taint->effect))
        return false;
    if (!str_empty(t->key) && !str_eq(t->key, taint->key))
        return false;
    if (str_empty(t->operator) || str_eqc(t->operator, "Equal"))
        return str_eq(t->value, taint->value);
    if (str_eqc(t->operator, "Lt") || str_eqc(t->operator, "Gt"))
        return value_compares(t, taint, str_eqc(t->operator, "Lt"));
    return str_eqc(t->operator, "Exists");
}

bool spec_tolerates(const struct core_v1_pod_spec *spec, const struct core_v1_taint *taint)
{
    for (size_t i = 0; i < spec->tolerations_count; i++)
        if (toleration_tolerates(&spec->tolerations[i], taint))
            return true;
    return false;
}

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
