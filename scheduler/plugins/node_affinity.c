/* node_affinity.c - nodeSelector and node affinity, required and preferred. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"

static const struct core_v1_node_affinity *affinity_of(const struct core_v1_pod_spec *spec)
{
    return spec->affinity != NULL ? spec->affinity->node_affinity : NULL;
}

static const struct core_v1_node_selector *added_required(const struct cycle *c)
{
    const struct core_v1_node_affinity *a = c->profile->added_affinity;
    return a != NULL ? a->required_during_scheduling_ignored_during_execution : NULL;
}

static enum verdict prefilter(struct cycle *c, struct refusal *r)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    const struct core_v1_node_affinity *a = affinity_of(spec);
    (void)r;
    bool required = a != NULL && a->required_during_scheduling_ignored_during_execution != NULL;
    return spec->node_selector_count != 0 || required || added_required(c) != NULL ? FIT : SKIP;
}

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    const struct core_v1_node_selector *added = added_required(c);
    if (added != NULL && !node_selector_matches(added, n->node)) {
        refusal_add(r, STR("node(s) didn't match scheduler-enforced node affinity"));
        return UNRESOLVABLE;
    }
    if (pod_matches_node_affinity(&c->pod->pod->spec, n->node))
        return FIT;
    refusal_add(r, STR("node(s) didn't match Pod's node affinity/selector"));
    return UNRESOLVABLE;
}

static bool prefers(const struct core_v1_node_affinity *a)
{
    return a != NULL && a->preferred_during_scheduling_ignored_during_execution_count != 0;
}

static enum verdict prescore(struct cycle *c)
{
    return prefers(affinity_of(&c->pod->pod->spec)) || prefers(c->profile->added_affinity) ? FIT
                                                                                           : SKIP;
}

static int64_t sum_of(const struct core_v1_node_affinity *a, const struct node_info *n)
{
    int64_t sum = 0;
    for (size_t i = 0;
         prefers(a) && i < a->preferred_during_scheduling_ignored_during_execution_count; i++) {
        const struct core_v1_preferred_scheduling_term *t =
            &a->preferred_during_scheduling_ignored_during_execution[i];
        /* A preference without requirements suits every node. */
        if (t->weight != 0 && node_preference_matches(&t->preference, n->node))
            sum += t->weight;
    }
    return sum;
}

static int64_t score(struct cycle *c, const struct node_info *n)
{
    return sum_of(affinity_of(&c->pod->pod->spec), n) + sum_of(c->profile->added_affinity, n);
}

static void normalize(struct cycle *c, int64_t *scores, size_t count)
{
    (void)c;
    scores_normalize(scores, count, false);
}

const struct plugin plugin_node_affinity = {
    .name = "NodeAffinity",
    .wakes = EVENT_NODE_ADD | EVENT_NODE_LABEL,
    .prefilter = prefilter,
    .filter = filter,
    .prescore = prescore,
    .score = score,
    .normalize = normalize,
    .weight = 2,
};
