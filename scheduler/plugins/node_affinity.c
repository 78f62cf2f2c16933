/* node_affinity.c - nodeSelector and node affinity, required and preferred. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"
#include "lib/client/labels.h"

const struct str *node_label(const struct core_v1_node *node, struct str key)
{
    return api_str_map_get(node->metadata.labels, node->metadata.labels_count, key);
}

static bool requirements_match(const struct core_v1_node_selector_term *t,
                               const struct core_v1_node *node)
{
    for (size_t i = 0; i < t->match_expressions_count; i++) {
        const struct core_v1_node_selector_requirement *r = &t->match_expressions[i];
        if (!label_requirement_matches(r->operator, node_label(node, r->key), r->values,
                                       r->values_count))
            return false;
    }
    for (size_t i = 0; i < t->match_fields_count; i++) {
        const struct core_v1_node_selector_requirement *r = &t->match_fields[i];
        const struct str *value = str_eqc(r->key, "metadata.name") ? &node->metadata.name : NULL;
        if (!label_requirement_matches(r->operator, value, r->values, r->values_count))
            return false;
    }
    return true;
}

bool node_selector_term_matches(const struct core_v1_node_selector_term *t,
                                const struct core_v1_node *node)
{
    if (t->match_expressions_count == 0 && t->match_fields_count == 0)
        return false;
    return requirements_match(t, node);
}

bool node_selector_matches(const struct core_v1_node_selector *s, const struct core_v1_node *node)
{
    for (size_t i = 0; i < s->node_selector_terms_count; i++)
        if (node_selector_term_matches(&s->node_selector_terms[i], node))
            return true;
    return false;
}

static const struct core_v1_node_affinity *affinity_of(const struct core_v1_pod_spec *spec)
{
    return spec->affinity != NULL ? spec->affinity->node_affinity : NULL;
}

bool pod_matches_node_affinity(const struct core_v1_pod_spec *spec, const struct core_v1_node *node)
{
    if (!labels_contain(node->metadata.labels, node->metadata.labels_count, spec->node_selector,
                        spec->node_selector_count))
        return false;
    const struct core_v1_node_affinity *a = affinity_of(spec);
    const struct core_v1_node_selector *required =
        a != NULL ? a->required_during_scheduling_ignored_during_execution : NULL;
    return required == NULL || node_selector_matches(required, node);
}

static enum verdict prefilter(struct cycle *c, struct refusal *r)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    const struct core_v1_node_affinity *a = affinity_of(spec);
    (void)r;
    bool required = a != NULL && a->required_during_scheduling_ignored_during_execution != NULL;
    return spec->node_selector_count != 0 || required ? FIT : SKIP;
}

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    if (pod_matches_node_affinity(&c->pod->pod->spec, n->node))
        return FIT;
    refusal_add(r, STR("node(s) didn't match Pod's node affinity/selector"));
    return UNRESOLVABLE;
}

static enum verdict prescore(struct cycle *c)
{
    const struct core_v1_node_affinity *a = affinity_of(&c->pod->pod->spec);
    return a != NULL && a->preferred_during_scheduling_ignored_during_execution_count != 0 ? FIT : SKIP;
}

static int64_t score(struct cycle *c, const struct node_info *n)
{
    const struct core_v1_node_affinity *a = affinity_of(&c->pod->pod->spec);
    int64_t sum = 0;
    for (size_t i = 0; i < a->preferred_during_scheduling_ignored_during_execution_count; i++) {
        const struct core_v1_preferred_scheduling_term *t =
            &a->preferred_during_scheduling_ignored_during_execution[i];
        /* A preference without requirements suits every node. */
        if (t->weight != 0 && requirements_match(&t->preference, n->node))
            sum += t->weight;
    }
    return sum;
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
