/* taint_nodes_by_condition.c - a new node takes no pods until the node
 * controller has seen it ready. */
#include "api/core_v1.h"
#include "apiserver/admission/plugins.h"
#include "lib/base/arena.h"

static struct meta_v1_status *mutate(const struct admission *adm)
{
    if (adm->op != ADMIT_CREATE || !admission_is(adm, "", "nodes"))
        return NULL;
    struct core_v1_node_spec *s = &((struct core_v1_node *)adm->obj)->spec;
    for (size_t i = 0; i < s->taints_count; i++)
        if (str_eqc(s->taints[i].key, "node.kubernetes.io/not-ready") &&
            str_eqc(s->taints[i].effect, "NoSchedule"))
            return NULL;
    struct core_v1_taint *t =
        ARENA_ARRAY(adm->ctx->arena, struct core_v1_taint, s->taints_count + 1);
    if (s->taints_count != 0)
        memcpy(t, s->taints, s->taints_count * sizeof(*t));
    t[s->taints_count].key = STR("node.kubernetes.io/not-ready");
    t[s->taints_count++].effect = STR("NoSchedule");
    s->taints = t;
    return NULL;
}

const struct admission_plugin admission_taint_nodes_by_condition = {
    .name = "TaintNodesByCondition",
    .ops = ADMIT_BIT(ADMIT_CREATE),
    .mutate = mutate,
};
