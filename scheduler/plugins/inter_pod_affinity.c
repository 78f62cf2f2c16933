/* inter_pod_affinity.c - pods that want to be near to, or away from, other
 * pods; in both directions, since those others may not want this one. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"
#include "lib/client/labels.h"
#include "scheduler/plugins/domain_counts.h"

struct terms {
    const struct core_v1_pod_affinity_term *items;
    size_t count;
};

/* Counts by any number of topology keys. */
struct key_counts {
    struct domain_counts *items;
    size_t count, cap;
};

struct affinity_state {
    struct terms required, required_against; /* Of our pod. */
    struct domain_counts *affinity;          /* Pods matching all our terms; by term. */
    struct domain_counts *anti;              /* Pods matching our anti-affinity terms; by term. */
    struct key_counts existing;              /* Pods whose anti-affinity refuses us. */
    struct key_counts score;
    bool prefers; /* Our pod has preferences of its own. */
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

static void count_key(struct cycle *c, struct key_counts *k, const struct node_info *n,
                      struct str key, int64_t delta)
{
    size_t i = 0;
    while (i < k->count && !str_eqc(key, k->items[i].topology->key))
        i++;
    if (i == k->count) {
        k->items = arena_grow(c->state_arena, k->items, k->count, &k->cap, sizeof(*k->items));
        domain_counts_init(&k->items[k->count++], c->state_arena, c->snapshot, key);
    }
    domain_counts_add(&k->items[i], n, delta);
}

static bool any_nonzero(const struct key_counts *k)
{
    for (size_t i = 0; i < k->count; i++)
        if (k->items[i].nonzero != 0)
            return true;
    return false;
}

static int64_t sum_at(const struct key_counts *k, const struct node_info *n)
{
    int64_t sum = 0;
    for (size_t i = 0; i < k->count; i++)
        sum += domain_counts_at(&k->items[i], n);
    return sum;
}

/* What one pod on a node means for our filter. */
static void count_for_filter(struct cycle *c, struct affinity_state *s, const struct node_info *n,
                             const struct core_v1_pod *p, int64_t delta)
{
    const struct core_v1_pod *mine = c->pod->pod;
    struct terms affinity = s->required, anti = s->required_against, its = required_anti(p);
    if (all_terms_match(c, affinity, mine, p))
        for (size_t i = 0; i < affinity.count; i++)
            domain_counts_add(&s->affinity[i], n, delta);
    for (size_t i = 0; i < anti.count; i++)
        if (term_matches(c, &anti.items[i], mine, p))
            domain_counts_add(&s->anti[i], n, delta);
    for (size_t i = 0; i < its.count; i++)
        if (term_matches(c, &its.items[i], p, mine))
            count_key(c, &s->existing, n, its.items[i].topology_key, delta);
}

static void count_weighted(struct cycle *c, struct key_counts *k, const struct node_info *n,
                           const struct core_v1_weighted_pod_affinity_term *terms, size_t count,
                           const struct core_v1_pod *owner, const struct core_v1_pod *target,
                           int64_t sign)
{
    for (size_t i = 0; i < count; i++)
        if (term_matches(c, &terms[i].pod_affinity_term, owner, target))
            count_key(c, k, n, terms[i].pod_affinity_term.topology_key, sign * terms[i].weight);
}

/* The preferences of owner, seen against target. */
static void count_preferences(struct cycle *c, struct key_counts *k, const struct node_info *n,
                              const struct core_v1_pod *owner, const struct core_v1_pod *target,
                              int64_t sign)
{
    const struct core_v1_affinity *a = owner->spec.affinity;
    if (a == NULL)
        return;
    if (a->pod_affinity != NULL)
        count_weighted(c, k, n,
                       a->pod_affinity->preferred_during_scheduling_ignored_during_execution,
                       a->pod_affinity->preferred_during_scheduling_ignored_during_execution_count,
                       owner, target, sign);
    if (a->pod_anti_affinity != NULL)
        count_weighted(
            c, k, n, a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution,
            a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution_count, owner,
            target, -sign);
}

/* ... and for our score. */
static void count_for_score(struct cycle *c, struct affinity_state *s, const struct node_info *n,
                            const struct core_v1_pod *p, int64_t sign)
{
    const struct core_v1_pod *mine = c->pod->pod;
    struct terms hard = required_affinity(p);
    int64_t weight = c->profile->hard_affinity_weight;
    count_preferences(c, &s->score, n, mine, p, sign);
    if (c->profile->ignores_existing_preferences && !s->prefers)
        return;
    count_preferences(c, &s->score, n, p, mine, sign);
    for (size_t i = 0; weight != 0 && i < hard.count; i++)
        if (term_matches(c, &hard.items[i], p, mine))
            count_key(c, &s->score, n, hard.items[i].topology_key, sign * weight);
}

static void changed(struct cycle *c, const struct node_info *n, const struct core_v1_pod *p,
                    bool add)
{
    struct affinity_state *s = CYCLE_STATE(c, struct affinity_state);
    if (!c->pod->needs->has_affinity && p->spec.affinity == NULL)
        return;
    count_for_filter(c, s, n, p, add ? 1 : -1);
    count_for_score(c, s, n, p, add ? 1 : -1);
}

static bool has_preferences(const struct core_v1_pod *pod)
{
    const struct core_v1_affinity *a = pod->spec.affinity;
    return a != NULL &&
           ((a->pod_affinity != NULL &&
             a->pod_affinity->preferred_during_scheduling_ignored_during_execution_count != 0) ||
            (a->pod_anti_affinity != NULL &&
             a->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution_count !=
                 0));
}

static struct domain_counts *counts_of_terms(struct cycle *c, struct terms terms)
{
    struct domain_counts *d = ARENA_ARRAY(c->state_arena, struct domain_counts, terms.count);
    for (size_t i = 0; i < terms.count; i++)
        domain_counts_init(&d[i], c->state_arena, c->snapshot, terms.items[i].topology_key);
    return d;
}

static enum verdict prefilter(struct cycle *c, struct refusal *r)
{
    (void)r;
    struct affinity_state *s = ARENA_NEW(c->state_arena, struct affinity_state);
    c->state[c->current] = s;
    s->required = required_affinity(c->pod->pod);
    s->required_against = required_anti(c->pod->pod);
    s->prefers = has_preferences(c->pod->pod);
    s->affinity = counts_of_terms(c, s->required);
    s->anti = counts_of_terms(c, s->required_against);
    if (!c->pod->needs->has_affinity && c->snapshot->affinity_pods == 0)
        return FIT;
    for (size_t i = 0; i < c->snapshot->node_count; i++) {
        const struct node_info *n = c->snapshot->nodes[i];
        for (size_t k = 0;
             (c->pod->needs->has_affinity || n->affinity_pods != 0) && k < n->pod_count; k++)
            if (c->pod->needs->has_affinity || n->pods[k]->needs->has_affinity)
                changed(c, n, n->pods[k]->pod, true);
    }
    return FIT;
}

/* Guests come and go during the filters, and may keep us away. */
static unsigned begin(struct cycle *c)
{
    const struct affinity_state *s = CYCLE_STATE(c, struct affinity_state);
    bool filters = s->required.count != 0 || s->required_against.count != 0 ||
                   any_nonzero(&s->existing) || c->snapshot->anti_affinity_guests != 0;
    return (filters ? PLUGIN_FILTERS : 0) | (any_nonzero(&s->score) ? PLUGIN_SCORES : 0);
}

static bool affinity_satisfied(struct cycle *c, const struct affinity_state *s,
                               const struct node_info *n)
{
    const struct core_v1_pod *mine = c->pod->pod;
    bool present = true, any = false;
    for (size_t i = 0; i < s->required.count; i++) {
        int32_t domain = domain_of(&s->affinity[i], n);
        if (domain < 0)
            return false;
        present &= s->affinity[i].counts[domain] > 0;
        any |= s->affinity[i].nonzero != 0;
    }
    /* The first of a group that wants to be together may go anywhere. */
    return present || (!any && all_terms_match(c, s->required, mine, mine));
}

static bool anti_violated(const struct affinity_state *s, const struct node_info *n)
{
    for (size_t i = 0; i < s->required_against.count; i++)
        if (domain_counts_at(&s->anti[i], n) > 0)
            return true;
    return false;
}

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    const struct affinity_state *s = CYCLE_STATE(c, struct affinity_state);
    if (!affinity_satisfied(c, s, n)) {
        refusal_add(r, STR("node(s) didn't match pod affinity rules"));
        return UNRESOLVABLE;
    }
    if (anti_violated(s, n)) {
        refusal_add(r, STR("node(s) didn't match pod anti-affinity rules"));
        return UNFIT;
    }
    if (sum_at(&s->existing, n) > 0) {
        refusal_add(r, STR("node(s) didn't satisfy existing pods anti-affinity rules"));
        return UNFIT;
    }
    return FIT;
}

/* --- score ------------------------------------------------------------------------------------ */

static int64_t score(struct cycle *c, const struct node_info *n)
{
    return sum_at(&CYCLE_STATE(c, struct affinity_state)->score, n);
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
        /* In floating point, as upstream: 29 of 100 comes out as 28. */
        scores[i] = max == min
                        ? 0
                        : (int64_t)(SCORE_MAX * ((double)(scores[i] - min) / (double)(max - min)));
}

const struct plugin plugin_inter_pod_affinity = {
    .name = "InterPodAffinity",
    .scope = SCOPE_CLUSTER,
    .wakes =
        EVENT_NODE_ADD | EVENT_NODE_LABEL | EVENT_POD_ADD | EVENT_POD_DELETE | EVENT_POD_UPDATE,
    .prefilter = prefilter,
    .filter = filter,
    .changed = changed,
    .begin = begin,
    .score = score,
    .normalize = normalize,
    .weight = 2,
};
