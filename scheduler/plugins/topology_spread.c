/* topology_spread.c - spec.topologySpreadConstraints: DoNotSchedule ones filter,
 * ScheduleAnyway ones score. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"
#include "lib/client/labels.h"
#include "scheduler/plugins/topology_counts.h"

#include <math.h>

struct spread_state {
    struct topology_counts *counts; /* Group: index of the constraint. */
    bool any_hard, any_soft;
};

static const struct core_v1_topology_spread_constraint *constraint(const struct cycle *c, size_t i)
{
    return &c->pod->pod->spec.topology_spread_constraints[i];
}

static size_t constraint_count(const struct cycle *c)
{
    return c->pod->pod->spec.topology_spread_constraints_count;
}

static bool is_hard(const struct core_v1_topology_spread_constraint *t)
{
    return str_eqc(t->when_unsatisfiable, "DoNotSchedule");
}

/* Selector and matchLabelKeys, in the pod's own namespace. */
static bool selects(const struct cycle *c, const struct core_v1_topology_spread_constraint *t,
                    const struct core_v1_pod *pod)
{
    const struct core_v1_pod *mine = c->pod->pod;
    if (!str_eq(pod->metadata.namespace, mine->metadata.namespace) ||
        !label_selector_matches(t->label_selector, pod->metadata.labels,
                                pod->metadata.labels_count))
        return false;
    for (size_t i = 0; i < t->match_label_keys_count; i++) {
        const struct str *want = api_str_map_get(mine->metadata.labels, mine->metadata.labels_count,
                                                 t->match_label_keys[i]);
        const struct str *have = api_str_map_get(pod->metadata.labels, pod->metadata.labels_count,
                                                 t->match_label_keys[i]);
        if (want != NULL && (have == NULL || !str_eq(*want, *have)))
            return false;
    }
    return true;
}

static bool tolerates_all(const struct cycle *c, const struct core_v1_node *node)
{
    for (size_t i = 0; i < node->spec.taints_count; i++) {
        const struct core_v1_taint *t = &node->spec.taints[i];
        if (!str_eqc(t->effect, "PreferNoSchedule") && !spec_tolerates(&c->pod->pod->spec, t))
            return false;
    }
    return true;
}

/* Does the node count as one of the constraint's domains? */
static bool is_eligible(const struct cycle *c, const struct core_v1_topology_spread_constraint *t,
                        const struct core_v1_node *node)
{
    bool honor_affinity = !t->has_node_affinity_policy || str_eqc(t->node_affinity_policy, "Honor");
    bool honor_taints = t->has_node_taints_policy && str_eqc(t->node_taints_policy, "Honor");
    if (honor_affinity && !pod_matches_node_affinity(&c->pod->pod->spec, node))
        return false;
    return !honor_taints || tolerates_all(c, node);
}

/* Nodes must have the keys of all constraints of the same sort. */
static bool has_all_keys(const struct cycle *c, const struct core_v1_node *node, bool hard)
{
    for (size_t i = 0; i < constraint_count(c); i++) {
        const struct core_v1_topology_spread_constraint *t = constraint(c, i);
        if (is_hard(t) == hard && node_label(node, t->topology_key) == NULL)
            return false;
    }
    return true;
}

static int64_t matching_on(const struct cycle *c,
                           const struct core_v1_topology_spread_constraint *t,
                           const struct node_info *n)
{
    int64_t count = 0;
    for (size_t k = 0; k < n->pod_count; k++)
        if (n->pods[k]->pod->metadata.deletion_timestamp == NULL && selects(c, t, n->pods[k]->pod))
            count++;
    return count;
}

static void count_node(struct cycle *c, struct spread_state *s, const struct node_info *n)
{
    for (size_t i = 0; i < constraint_count(c); i++) {
        const struct core_v1_topology_spread_constraint *t = constraint(c, i);
        if (!has_all_keys(c, n->node, is_hard(t)) || !is_eligible(c, t, n->node))
            continue;
        topology_counts_add(s->counts, (unsigned)i, t->topology_key,
                            *node_label(n->node, t->topology_key), matching_on(c, t, n));
    }
}

static enum verdict prefilter(struct cycle *c, struct refusal *r)
{
    (void)r;
    if (constraint_count(c) == 0)
        return SKIP;
    struct spread_state *s = ARENA_NEW(c->arena, struct spread_state);
    c->state[c->current] = s;
    for (size_t i = 0; i < constraint_count(c); i++) {
        s->any_hard |= is_hard(constraint(c, i));
        s->any_soft |= !is_hard(constraint(c, i));
    }
    s->counts = topology_counts_new(c->arena);
    for (size_t i = 0; i < c->snapshot->node_count; i++)
        count_node(c, s, c->snapshot->nodes[i]);
    return s->any_hard ? FIT : SKIP;
}

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    const struct spread_state *s = CYCLE_STATE(c, struct spread_state);
    for (size_t i = 0; i < constraint_count(c); i++) {
        const struct core_v1_topology_spread_constraint *t = constraint(c, i);
        if (!is_hard(t))
            continue;
        const struct str *value = node_label(n->node, t->topology_key);
        if (value == NULL) {
            refusal_add(r, STR("node(s) didn't match pod topology spread constraints (missing "
                               "required label)"));
            return UNRESOLVABLE;
        }
        size_t domains;
        int64_t min = topology_counts_min(s->counts, (unsigned)i, &domains);
        if (t->has_min_domains && domains < (size_t)t->min_domains)
            min = 0;
        int64_t here = topology_counts_get(s->counts, (unsigned)i, t->topology_key, *value);
        int64_t self = selects(c, t, c->pod->pod) ? 1 : 0;
        if (here + self - min > t->max_skew) {
            refusal_add(r, STR("node(s) didn't match pod topology spread constraints"));
            return UNFIT;
        }
    }
    return FIT;
}

static void changed(struct cycle *c, const struct node_info *n, const struct pod_info *p, bool add)
{
    struct spread_state *s = CYCLE_STATE(c, struct spread_state);
    for (size_t i = 0; i < constraint_count(c); i++) {
        const struct core_v1_topology_spread_constraint *t = constraint(c, i);
        const struct str *value = node_label(n->node, t->topology_key);
        if (value != NULL && p->pod->metadata.deletion_timestamp == NULL && selects(c, t, p->pod) &&
            is_eligible(c, t, n->node))
            topology_counts_add(s->counts, (unsigned)i, t->topology_key, *value, add ? 1 : -1);
    }
}

static enum verdict prescore(struct cycle *c)
{
    const struct spread_state *s = CYCLE_STATE(c, struct spread_state);
    return s != NULL && s->any_soft ? FIT : SKIP;
}

#define MISSING_KEY (-1)

/* Pods already in the node's domains; many small domains weigh more. */
static int64_t score(struct cycle *c, const struct node_info *n)
{
    const struct spread_state *s = CYCLE_STATE(c, struct spread_state);
    double sum = 0;
    for (size_t i = 0; i < constraint_count(c); i++) {
        const struct core_v1_topology_spread_constraint *t = constraint(c, i);
        if (is_hard(t))
            continue;
        const struct str *value = node_label(n->node, t->topology_key);
        if (value == NULL)
            return MISSING_KEY;
        size_t domains;
        (void)topology_counts_min(s->counts, (unsigned)i, &domains);
        double weight = log((double)domains + 2);
        int64_t here = topology_counts_get(s->counts, (unsigned)i, t->topology_key, *value);
        sum += (double)here * weight + (double)(t->max_skew - 1);
    }
    return (int64_t)lround(sum);
}

static void normalize(struct cycle *c, int64_t *scores, size_t count)
{
    int64_t min = INT64_MAX, max = 0;
    (void)c;
    for (size_t i = 0; i < count; i++) {
        if (scores[i] == MISSING_KEY)
            continue;
        min = scores[i] < min ? scores[i] : min;
        max = scores[i] > max ? scores[i] : max;
    }
    for (size_t i = 0; i < count; i++) {
        if (scores[i] == MISSING_KEY)
            scores[i] = 0;
        else
            scores[i] = max == 0 ? SCORE_MAX : SCORE_MAX * (max + min - scores[i]) / max;
    }
}

const struct plugin plugin_topology_spread = {
    .name = "PodTopologySpread",
    .wakes = EVENT_NODE_ADD | EVENT_NODE_LABEL | EVENT_NODE_TAINT | EVENT_POD_ADD |
             EVENT_POD_DELETE | EVENT_POD_UPDATE,
    .prefilter = prefilter,
    .filter = filter,
    .changed = changed,
    .prescore = prescore,
    .score = score,
    .normalize = normalize,
    .weight = 2,
};
