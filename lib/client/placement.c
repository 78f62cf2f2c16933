/* placement.c - see placement.h. */
#include "lib/client/placement.h"

#include "api/core_v1.h"
#include "lib/client/labels.h"

const struct str *node_label(const struct core_v1_node *node, struct str key)
{
    return api_str_map_get(node->metadata.labels, node->metadata.labels_count, key);
}

bool node_preference_matches(const struct core_v1_node_selector_term *t,
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
    return node_preference_matches(t, node);
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
