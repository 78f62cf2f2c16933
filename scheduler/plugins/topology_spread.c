/* topology_spread.c - spec.topologySpreadConstraints: DoNotSchedule ones filter,
 * ScheduleAnyway ones score. Pods without any that a Service or controller selects
 * spread over nodes and zones all the same (upstream's system defaults). */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"
#include "lib/client/labels.h"
#include "scheduler/plugins/domain_counts.h"

#include <math.h>

#define HOSTNAME_LABEL "kubernetes.io/hostname"
#define ZONE_LABEL "topology.kubernetes.io/zone"

struct spread {
    const struct core_v1_topology_spread_constraint *spec;
    const struct meta_v1_label_selector *selector;
    bool hard, per_node; /* per_node: its domains are the nodes. */
    bool self;           /* It selects our pod. */
    bool *counted;       /* By node: its pods count in sums. */
    bool *known;         /* By domain: some node is counted. */
    size_t known_count;
    struct domain_counts sums;
    int64_t *on_node; /* By node, counted or not; NULL unless per_node. */
    int64_t min;      /* Of known domains, unless it is stale. */
    bool min_stale;
    double weight;  /* Of the score. */
    uint64_t *seen; /* By domain: the last score that met it. */
};

struct spread_state {
    struct spread *items;
    size_t count;
    bool hard, soft;
    bool all_keys;  /* Nodes without one of the keys are left out of the score. */
    bool *left_out; /* By node. */
    uint64_t scores;
};

static const struct core_v1_topology_spread_constraint system_defaults[] = {
    {.max_skew = 3,
     .topology_key = {HOSTNAME_LABEL, sizeof(HOSTNAME_LABEL) - 1},
     .when_unsatisfiable = {"ScheduleAnyway", sizeof("ScheduleAnyway") - 1}},
    {.max_skew = 5,
     .topology_key = {ZONE_LABEL, sizeof(ZONE_LABEL) - 1},
     .when_unsatisfiable = {"ScheduleAnyway", sizeof("ScheduleAnyway") - 1}},
};

/* Selector and matchLabelKeys, in the pod's own namespace. */
static bool selects(const struct cycle *c, const struct spread *t, const struct core_v1_pod *pod)
{
    const struct core_v1_pod *mine = c->pod->pod;
    if (!str_eq(pod->metadata.namespace, mine->metadata.namespace) ||
        !label_selector_matches(t->selector, pod->metadata.labels, pod->metadata.labels_count))
        return false;
    for (size_t i = 0; i < t->spec->match_label_keys_count; i++) {
        const struct str *want = api_str_map_get(mine->metadata.labels, mine->metadata.labels_count,
                                                 t->spec->match_label_keys[i]);
        const struct str *have = api_str_map_get(pod->metadata.labels, pod->metadata.labels_count,
                                                 t->spec->match_label_keys[i]);
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
static bool has_all_keys(const struct spread_state *s, const struct node_info *n, bool hard)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].hard == hard && domain_of(&s->items[i].sums, n) < 0)
            return false;
    return true;
}

static bool is_counted_pod(const struct core_v1_pod *pod)
{
    return pod->metadata.deletion_timestamp == NULL;
}

static void add_pods(struct spread *t, const struct node_info *n, int64_t delta)
{
    int32_t domain = domain_of(&t->sums, n);
    if (t->on_node != NULL)
        t->on_node[n->index] += delta;
    if (domain < 0 || !t->counted[n->index])
        return;
    bool was_min = !t->min_stale && t->sums.counts[domain] == t->min;
    domain_counts_add(&t->sums, n, delta);
    if (delta < 0)
        t->min = MIN_OF(t->min, t->sums.counts[domain]);
    else if (was_min && delta > 0)
        t->min_stale = true;
}

static void changed(struct cycle *c, const struct node_info *n, const struct core_v1_pod *p,
                    bool add)
{
    struct spread_state *s = CYCLE_STATE(c, struct spread_state);
    for (size_t i = 0; i < s->count; i++)
        if (is_counted_pod(p) && selects(c, &s->items[i], p))
            add_pods(&s->items[i], n, add ? 1 : -1);
}

static void count_node(struct cycle *c, struct spread_state *s, struct spread *t,
                       const struct node_info *n)
{
    int32_t domain = domain_of(&t->sums, n);
    int64_t here = 0;
    bool keys = (!t->hard && !s->all_keys) || has_all_keys(s, n, t->hard);
    t->counted[n->index] = keys && domain >= 0 && is_eligible(c, t->spec, n->node);
    if (t->counted[n->index] && !t->known[domain]) {
        t->known[domain] = true;
        t->known_count++;
    }
    if (!t->counted[n->index] && t->on_node == NULL)
        return;
    for (size_t i = 0; i < n->pod_count; i++)
        here += is_counted_pod(n->pods[i]->pod) && selects(c, t, n->pods[i]->pod);
    if (here != 0)
        add_pods(t, n, here);
}

static void constraint_init(struct cycle *c, struct spread_state *s, struct spread *t)
{
    size_t nodes = c->snapshot->node_count + 1;
    t->hard = str_eqc(t->spec->when_unsatisfiable, "DoNotSchedule");
    t->per_node = str_eqc(t->spec->topology_key, HOSTNAME_LABEL);
    t->self = selects(c, t, c->pod->pod);
    t->min_stale = true;
    domain_counts_init(&t->sums, c->state_arena, c->snapshot, t->spec->topology_key);
    t->counted = ARENA_ARRAY(c->state_arena, bool, nodes);
    t->known = ARENA_ARRAY(c->state_arena, bool, t->sums.topology->count + 1);
    t->seen = ARENA_ARRAY(c->state_arena, uint64_t, t->sums.topology->count + 1);
    if (t->per_node && !t->hard)
        t->on_node = ARENA_ARRAY(c->state_arena, int64_t, nodes);
    s->hard |= t->hard;
    s->soft |= !t->hard;
}

/* The pod's own constraints, or the defaults with the selector of who owns it. */
static void choose_constraints(struct cycle *c, struct spread_state *s)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    const struct core_v1_topology_spread_constraint *list = spec->topology_spread_constraints;
    struct meta_v1_label_selector *owner = NULL;
    s->count = spec->topology_spread_constraints_count;
    s->all_keys = s->count != 0;
    if (s->count == 0 && c->facts->selector != NULL) {
        owner = ARENA_NEW(c->state_arena, struct meta_v1_label_selector);
        c->facts->selector(c->facts->arg, c->state_arena, c->pod->pod, owner);
        list = c->profile->system_spread ? system_defaults : c->profile->spread;
        s->count =
            c->profile->system_spread ? ARRAY_SIZE(system_defaults) : c->profile->spread_count;
        if (label_selector_is_empty(owner))
            s->count = 0;
        s->all_keys = !c->profile->system_spread;
    }
    s->items = ARENA_ARRAY(c->state_arena, struct spread, s->count);
    for (size_t i = 0; i < s->count; i++) {
        s->items[i].spec = &list[i];
        s->items[i].selector = owner != NULL ? owner : list[i].label_selector;
    }
}

static enum verdict prefilter(struct cycle *c, struct refusal *r)
{
    (void)r;
    struct spread_state *s = ARENA_NEW(c->state_arena, struct spread_state);
    c->state[c->current] = s;
    choose_constraints(c, s);
    for (size_t i = 0; i < s->count; i++)
        constraint_init(c, s, &s->items[i]);
    for (size_t i = 0; i < s->count; i++)
        for (size_t n = 0; n < c->snapshot->node_count; n++)
            count_node(c, s, &s->items[i], c->snapshot->nodes[n]);
    s->left_out = ARENA_ARRAY(c->state_arena, bool, c->snapshot->node_count + 1);
    for (size_t n = 0; s->all_keys && n < c->snapshot->node_count; n++)
        s->left_out[n] = !has_all_keys(s, c->snapshot->nodes[n], false);
    return FIT;
}

static unsigned begin(struct cycle *c)
{
    const struct spread_state *s = CYCLE_STATE(c, struct spread_state);
    return (s->hard ? PLUGIN_FILTERS : 0) | (s->soft ? PLUGIN_SCORES : 0);
}

static int64_t global_min(struct spread *t)
{
    if (t->spec->has_min_domains && t->known_count < (size_t)t->spec->min_domains)
        return 0;
    if (!t->min_stale)
        return t->min;
    t->min = t->known_count != 0 ? INT64_MAX : 0;
    for (size_t i = 0; i < t->sums.topology->count; i++)
        if (t->known[i])
            t->min = MIN_OF(t->min, t->sums.counts[i]);
    t->min_stale = false;
    return t->min;
}

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    struct spread_state *s = CYCLE_STATE(c, struct spread_state);
    for (size_t i = 0; i < s->count; i++) {
        struct spread *t = &s->items[i];
        if (!t->hard)
            continue;
        int32_t domain = domain_of(&t->sums, n);
        if (domain < 0) {
            refusal_add(r, STR("node(s) didn't match pod topology spread constraints (missing "
                               "required label)"));
            return UNRESOLVABLE;
        }
        if (t->sums.counts[domain] + t->self - global_min(t) > t->spec->max_skew) {
            refusal_add(r, STR("node(s) didn't match pod topology spread constraints"));
            return UNFIT;
        }
    }
    return FIT;
}

/* --- score ------------------------------------------------------------------------------------ */

#define MISSING_KEY (-1)

static bool is_left_out(const struct spread_state *s, const struct node_info *n)
{
    return s->left_out[n->index];
}

/* How many domains the fitting nodes are in; those without the label make one. */
static size_t domains_of_fitting(struct cycle *c, struct spread_state *s, struct spread *t)
{
    size_t count = 0, without = 0;
    for (size_t i = 0; i < c->fit_count; i++) {
        const struct node_info *n = c->fitting[i];
        int32_t domain = domain_of(&t->sums, n);
        if (is_left_out(s, n))
            continue;
        if (t->per_node) {
            count++;
        } else if (domain < 0) {
            without = 1;
        } else if (t->seen[domain] != s->scores) {
            t->seen[domain] = s->scores;
            count++;
        }
    }
    return count + without;
}

static enum verdict prescore(struct cycle *c)
{
    struct spread_state *s = CYCLE_STATE(c, struct spread_state);
    s->scores++;
    for (size_t i = 0; i < s->count; i++)
        if (!s->items[i].hard) /* Many small domains weigh more. */
            s->items[i].weight = log((double)domains_of_fitting(c, s, &s->items[i]) + 2);
    return FIT;
}

/* Pods already in the node's domains. */
static int64_t score(struct cycle *c, const struct node_info *n)
{
    const struct spread_state *s = CYCLE_STATE(c, struct spread_state);
    double sum = 0;
    if (is_left_out(s, n))
        return MISSING_KEY;
    for (size_t i = 0; i < s->count; i++) {
        const struct spread *t = &s->items[i];
        int32_t domain = domain_of(&t->sums, n);
        if (t->hard || domain < 0)
            continue;
        int64_t here = t->per_node ? t->on_node[n->index] : t->sums.counts[domain];
        sum += (double)here * t->weight + (double)(t->spec->max_skew - 1);
    }
    return (int64_t)round(sum);
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
    .scope = SCOPE_CLUSTER,
    .wakes = EVENT_NODE_ADD | EVENT_NODE_LABEL | EVENT_NODE_TAINT | EVENT_POD_ADD |
             EVENT_POD_DELETE | EVENT_POD_UPDATE,
    .prefilter = prefilter,
    .begin = begin,
    .filter = filter,
    .changed = changed,
    .prescore = prescore,
    .score = score,
    .normalize = normalize,
    .weight = 2,
};
