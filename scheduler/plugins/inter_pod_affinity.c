/* inter_pod_affinity.c - pods that want to be near to, or away from, other
 * pods; in both directions, since those others may not want this one. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"
#include "lib/client/labels.h"
#include "scheduler/plugins/topology_counts.h"

#define HARD_AFFINITY_WEIGHT 1 /* Score for satisfying another pod's required affinity. */

struct terms {
    const struct core_v1_pod_affinity_term *items;
    size_t count;
};

struct affinity_state {
    struct topology_counts *affinity; /* Pods matching all our affinity terms; group: term. */
    struct topology_counts *anti;     /* Pods matching our anti-affinity terms; group: term. */
    struct topology_counts *existing; /* Pods whose anti-affinity refuses us; group 0. */
    struct topology_counts *score;    /* Group 0. */
};

static struct terms required_affinity(const struct core_v1_pod *pod)
{
    const struct core_v1_affinity *a = pod->spec.affinity;
    if (a == NULL || a->pod_affinity == NULL)
        return (struct terms){0};
    return (struct terms){
        a->pod_affinity->required_during_scheduling_ignored_during_execution,
        a->pod_affinity->required_during_scheduling_ignored_during_execution_count};
}

static struct terms required_anti(const struct core_v1_pod *pod)
{
    const struct core_v1_affinity *a = pod->spec.affinity;
    if (a == NULL || a->pod_anti_affinity == NULL)
        return (struct terms){0};
    return (struct terms){
        a->pod_anti_affinity->required_during_scheduling_ignored_during_execution,
        a->pod_anti_affinity->required_during_scheduling_ignored_during_execution_count};
}

static const struct str *own_label(const struct core_v1_pod *pod, struct str key)
{
    return api_str_map_get(pod->metadata.labels, pod->metadata.labels_count, key);
}

/* namespaces and namespaceSelector add up; without both, the owner's own. */
static bool namespace_matches(const struct cycle *c, const struct core_v1_pod_affinity_term *t,
                              const struct core_v1_pod *owner, struct str ns)
{
    if (t->namespaces_count == 0 && t->namespace_selector == NULL)
        return str_eq(ns, owner->metadata.namespace);
    for (size_t i = 0; i < t->namespaces_count; i++)
        if (str_eq(t->namespaces[i], ns))
            return true;
    if (t->namespace_selector == NULL)
        return false;
    size_t count = 0;
    const struct api_str_entry *labels = c->facts->namespace_labels(c->facts->arg, ns, &count);
    return label_selector_matches(t->namespace_selector, labels, count);
}

/* Is `target` one of the pods that the term of `owner` speaks of? */
static bool term_matches(const struct cycle *c, const struct core_v1_pod_affinity_term *t,
                         const struct core_v1_pod *owner, const struct core_v1_pod *target)
{
    if (!namespace_matches(c, t, owner, target->metadata.namespace) ||
        !label_selector_matches(t->label_selector, target->metadata.labels,
                                target->metadata.labels_count))
        return false;
    for (size_t i = 0; i < t->match_label_keys_count; i++) {
        const struct str *mine = own_label(owner, t->match_label_keys[i]);
        const struct str *its = own_label(target, t->match_label_keys[i]);
        if (mine != NULL && (its == NULL || !str_eq(*mine, *its)))
            return false;
    }
    for (size_t i = 0; i < t->mismatch_label_keys_count; i++) {
        const struct str *mine = own_label(owner, t->mismatch_label_keys[i]);
        const struct str *its = own_label(target, t->mismatch_label_keys[i]);
        if (mine != NULL && its != NULL && str_eq(*mine, *its))
            return false;
    }
    return true;
}

static bool all_terms_match(const struct cycle *c, struct terms terms,
                            const struct core_v1_pod *owner, const struct core_v1_pod *target)
{
    for (size_t i = 0; i < terms.count; i++)
        if (!term_matches(c, &terms.items[i], owner, target))
            return false;
    return terms.count != 0;
}

static void count_domain(struct topology_counts *t, unsigned group, const struct node_info *n,
                         struct str key, int64_t delta)
{
    const struct str *value = node_label(n->node, key);
    if (value != NULL)
        topology_counts_add(t, group, key, *value, delta);
}

/* What one pod on a node means for our filter. */
static void count_pod(struct cycle *c, struct affinity_state *s, const struct node_info *n,
                      const struct pod_info *p, int64_t delta)
{
    const struct core_v1_pod *mine = c->pod->pod;
    struct terms affinity = required_affinity(mine), anti = required_anti(mine);
    if (all_terms_match(c, affinity, mine, p->pod))
        for (size_t i = 0; i < affinity.count; i++)
            count_domain(s->affinity, (unsigned)i, n, affinity.items[i].topology_key, delta);
    for (size_t i = 0; i < anti.count; i++)
        if (term_matches(c, &anti.items[i], mine, p->pod))
            count_domain(s->anti, (unsigned)i, n, anti.items[i].topology_key, delta);
    if (!p->has_required_anti_affinity)
        return;
    struct terms its = required_anti(p->pod);
    for (size_t i = 0; i < its.count; i++)
        if (term_matches(c, &its.items[i], p->pod, mine))
            count_domain(s->existing, 0, n, its.items[i].topology_key, delta);
}

static struct affinity_state *state_of(struct cycle *c)
{
    struct affinity_state *s = CYCLE_STATE(c, struct affinity_state);
    if (s == NULL) {
        s = ARENA_NEW(c->arena, struct affinity_state);
        c->state[c->current] = s;
    }
    return s;
}

static enum verdict prefilter(struct cycle *c, struct refusal *r)
{
    (void)r;
    const struct core_v1_pod *mine = c->pod->pod;
    bool has_terms = required_affinity(mine).count != 0 || required_anti(mine).count != 0;
    if (!has_terms && c->snapshot->anti_affinity_pods == 0)
        return SKIP;
    struct affinity_state *s = state_of(c);
    s->affinity = topology_counts_new(c->arena);
    s->anti = topology_counts_new(c->arena);
    s->existing = topology_counts_new(c->arena);
    for (size_t i = 0; i < c->snapshot->node_count; i++) {
        const struct node_info *n = c->snapshot->nodes[i];
        for (size_t k = 0; k < n->pod_count; k++)
            if (has_terms || n->pods[k]->has_required_anti_affinity)
                count_pod(c, s, n, n->pods[k], 1);
    }
    return FIT;
}

static bool affinity_satisfied(struct cycle *c, const struct affinity_state *s,
                               const struct node_info *n)
{
    const struct core_v1_pod *mine = c->pod->pod;
    struct terms terms = required_affinity(mine);
    bool present = true;
    for (size_t i = 0; i < terms.count; i++) {
        const struct str *value = node_label(n->node, terms.items[i].topology_key);
        if (value == NULL)
            return false;
        if (topology_counts_get(s->affinity, (unsigned)i, terms.items[i].topology_key, *value) <= 0)
            present = false;
    }
    /* The first of a group that wants to be together may go anywhere. */
    return present || (!topology_counts_any(s->affinity) && all_terms_match(c, terms, mine, mine));
}

static bool anti_violated(struct cycle *c, const struct affinity_state *s,
                          const struct node_info *n)
{
    struct terms terms = required_anti(c->pod->pod);
    for (size_t i = 0; i < terms.count; i++) {
        const struct str *value = node_label(n->node, terms.items[i].topology_key);
        if (value != NULL &&
            topology_counts_get(s->anti, (unsigned)i, terms.items[i].topology_key, *value) > 0)
            return true;
    }
    return false;
}

static bool existing_violated(const struct affinity_state *s, const struct node_info *n)
{
    if (s->existing->by_domain.count == 0)
        return false;
    for (size_t i = 0; i < n->node->metadata.labels_count; i++) {
        const struct api_str_entry *l = &n->node->metadata.labels[i];
        if (topology_counts_get(s->existing, 0, l->key, l->value) > 0)
            return true;
    }
    return false;
}

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    const struct affinity_state *s = CYCLE_STATE(c, struct affinity_state);
    if (!affinity_satisfied(c, s, n)) {
        refusal_add(r, STR("node(s) didn't match pod affinity rules"));
        return UNRESOLVABLE;
    }
    if (anti_violated(c, s, n)) {
        refusal_add(r, STR("node(s) didn't match pod anti-affinity rules"));
        return UNFIT;
    }
    if (existing_violated(s, n)) {
        refusal_add(r, STR("node(s) didn't satisfy existing pods anti-affinity rules"));
        return UNFIT;
    }
    return FIT;
}

static void changed(struct cycle *c, const struct node_info *n, const struct pod_info *p, bool add)
{
    count_pod(c, CYCLE_STATE(c, struct affinity_state), n, p, add ? 1 : -1);
}

/* --- score ------------------------------------------------------------------------------------ */

static void score_weighted(struct cycle *c, struct topology_counts *t, const struct node_info *n,
                           const struct core_v1_weighted_pod_affinity_term *terms, size_t count,
                           const struct core_v1_pod *owner, const struct core_v1_pod *target,
                           int sign)
{
    for (size_t i = 0; i < count; i++)
        if (term_matches(c, &terms[i].pod_affinity_term, owner, target))
            count_domain(t, 0, n, terms[i].pod_affinity_term.topology_key, sign * terms[i].weight);
}

/* The preferences of owner, seen against target. */
static void score_preferences(struct cycle *c, struct topology_counts *t, const struct node_info *n,
                              const struct core_v1_pod *owner, const struct core_v1_pod *target)
{
    const struct core_v1_affinity *a = owner->spec.affinity;
    if (a == NULL)
        return;
    if (a->pod_affinity != NULL)
        score_weighted(c, t, n,
                       a->pod_affinity->preferred_during_scheduling_ignored_during_execution,
                       a->pod_affinity->preferred_during_scheduling_ignored_during_execution_count,
                       owner, target, 1);
    if (a->pod_anti_affinity != NULL)
        score_weighted(
            c, t, n, a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution,
            a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution_count, owner,
            target, -1);
}

static enum verdict prescore(struct cycle *c)
{
    const struct core_v1_pod *mine = c->pod->pod;
    struct topology_counts *t = topology_counts_new(c->arena);
    for (size_t i = 0; i < c->snapshot->node_count; i++) {
        const struct node_info *n = c->snapshot->nodes[i];
        if (n->affinity_pods == 0 && !c->pod->has_affinity)
            continue;
        for (size_t k = 0; k < n->pod_count; k++) {
            const struct core_v1_pod *other = n->pods[k]->pod;
            score_preferences(c, t, n, mine, other);
            score_preferences(c, t, n, other, mine);
            struct terms hard = required_affinity(other);
            for (size_t h = 0; h < hard.count; h++)
                if (term_matches(c, &hard.items[h], other, mine))
                    count_domain(t, 0, n, hard.items[h].topology_key, HARD_AFFINITY_WEIGHT);
        }
    }
    if (t->by_domain.count == 0)
        return SKIP;
    state_of(c)->score = t;
    return FIT;
}

static int64_t score(struct cycle *c, const struct node_info *n)
{
    const struct affinity_state *s = CYCLE_STATE(c, struct affinity_state);
    int64_t sum = 0;
    for (size_t i = 0; i < n->node->metadata.labels_count; i++) {
        const struct api_str_entry *l = &n->node->metadata.labels[i];
        sum += topology_counts_get(s->score, 0, l->key, l->value);
    }
    return sum;
}

static void normalize(struct cycle *c, int64_t *scores, size_t count)
{
    int64_t min = INT64_MAX, max = INT64_MIN;
    (void)c;
    for (size_t i = 0; i < count; i++) {
        min = scores[i] < min ? scores[i] : min;
        max = scores[i] > max ? scores[i] : max;
    }
    for (size_t i = 0; i < count; i++)
        scores[i] = max == min ? 0 : SCORE_MAX * (scores[i] - min) / (max - min);
}

const struct plugin plugin_inter_pod_affinity = {
    .name = "InterPodAffinity",
    .wakes =
        EVENT_NODE_ADD | EVENT_NODE_LABEL | EVENT_POD_ADD | EVENT_POD_DELETE | EVENT_POD_UPDATE,
    .prefilter = prefilter,
    .filter = filter,
    .changed = changed,
    .prescore = prescore,
    .score = score,
    .normalize = normalize,
    .weight = 2,
};
