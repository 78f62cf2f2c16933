/* preemption.c - see preemption.h.
 *
 * For each node that was refused for a reason pods can cause: take all pods of
 * lower priority off; if the pod then fits, put them back one by one, the most
 * important first, as long as it still fits. Those that cannot go back are the
 * node's victims. The best node has, in this order: the fewest budgets violated, the
 * least important victim at the top, the smallest sum of priorities, the
 * fewest victims, the youngest most important victim. */
#include "scheduler/preemption.h"

#include "api/core_v1.h"
#include "api/policy_v1.h"
#include "lib/base/arena.h"
#include "lib/client/labels.h"
#include "lib/client/gang_key.h"

#define NOT_HELPFUL "Preemption is not helpful for scheduling"
#define NO_VICTIMS "No preemption victims found for incoming pod"
#define NO_CLAIMS "no new claims to deallocate" /* What dynamic resources say first. */

struct candidate {
    struct node_info *node;
    struct pod_info **victims; /* NULL: not kept, try_node() finds them again. */
    size_t count;
    size_t violations;
    int32_t top_priority;
    int64_t priority_sum;
    int64_t top_start_ns; /* Earliest start among victims of the top priority. */
};

/* What try_node() found, by node, of pods alike. */
struct preemption_cache {
    struct kept {
        bool tried, possible;
        uint32_t version;
        struct candidate candidate;
    } * nodes;
};

struct trial {
    struct cycle *cycle;
    const struct policy_v1_pod_disruption_budget *const *budgets;
    size_t budget_count;
    int32_t *allowed; /* Per budget, while victims are chosen. */
    bool in_gang;     /* The pod's: its other pods are no victims. */
};

/* More important first: higher priority, then started earlier. */
static int by_importance(const void *x, const void *y)
{
    const struct pod_info *a = *(struct pod_info *const *)x, *b = *(struct pod_info *const *)y;
    int32_t pa = pod_priority(a->pod), pb = pod_priority(b->pod);
    if (pa != pb)
        return pa > pb ? -1 : 1;
    int64_t sa = pod_info_start_ns(a), sb = pod_info_start_ns(b);
    return sa < sb ? -1 : sa > sb;
}

static void take_off(struct trial *t, struct node_info *n, struct pod_info *p)
{
    node_info_remove(n, p);
    cycle_pod_changed(t->cycle, n, p->pod, false);
}

static void put_back(struct trial *t, struct node_info *n, struct pod_info *p)
{
    node_info_add(n, p);
    cycle_pod_changed(t->cycle, n, p->pod, true);
}

bool preemption_budget_covers(const struct policy_v1_pod_disruption_budget *b,
                              const struct core_v1_pod *pod)
{
    return str_eq(b->metadata.namespace, pod->metadata.namespace) && b->spec.selector != NULL &&
           !label_selector_is_empty(b->spec.selector) &&
           label_selector_matches(b->spec.selector, pod->metadata.labels,
                                  pod->metadata.labels_count);
}

/* Would its end violate a budget? Counts against all that cover it. */
static bool violates(struct trial *t, const struct pod_info *p)
{
    bool bad = false;
    for (size_t i = 0; i < t->budget_count; i++)
        if (preemption_budget_covers(t->budgets[i], p->pod) && --t->allowed[i] < 0)
            bad = true;
    return bad;
}

static void reset_budgets(struct trial *t)
{
    for (size_t i = 0; i < t->budget_count; i++)
        t->allowed[i] = t->budgets[i]->status.disruptions_allowed;
}

/* Tries to spare p; else it is a victim. True when spared. */
static bool reprieve(struct trial *t, struct candidate *cand, struct pod_info *p)
{
    struct refusal r;
    put_back(t, cand->node, p);
    if (cycle_filter_node(t->cycle, cand->node, SCOPES_ALL, &r) == FIT)
        return true;
    take_off(t, cand->node, p);
    cand->victims[cand->count++] = p;
    return false;
}

static void sum_up(struct candidate *c)
{
    c->top_priority = INT32_MIN;
    c->top_start_ns = INT64_MAX;
    for (size_t i = 0; i < c->count; i++) {
        int32_t priority = pod_priority(c->victims[i]->pod);
        /* Shifted so that fewer victims never sum up to more. */
        c->priority_sum += (int64_t)priority + (int64_t)INT32_MAX + 1;
        if (priority > c->top_priority) {
            c->top_priority = priority;
            c->top_start_ns = INT64_MAX;
        }
        if (priority == c->top_priority)
            c->top_start_ns = MIN_OF(c->top_start_ns, pod_info_start_ns(c->victims[i]));
    }
}

static bool may_go(const struct trial *t, const struct pod_info *p)
{
    const struct core_v1_pod *pod = t->cycle->pod->pod;
    return pod_priority(p->pod) < pod_priority(pod) &&
           !(t->in_gang && pods_share_gang(p->pod, pod));
}

/* Fills cand and returns true if the pod fits on n without some lower pods. */
static bool try_node(struct trial *t, struct node_info *n, struct candidate *cand)
{
    struct arena *a = t->cycle->arena;
    struct pod_info **lower = ARENA_ARRAY(a, struct pod_info *, n->pod_count + 1);
    bool *violating = ARENA_ARRAY(a, bool, n->pod_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < n->pod_count; i++)
        if (may_go(t, n->pods[i]))
            lower[count++] = n->pods[i];
    if (count == 0)
        return false;
    *cand = (struct candidate){.node = n, .victims = ARENA_ARRAY(a, struct pod_info *, count)};
    for (size_t i = 0; i < count; i++)
        take_off(t, n, lower[i]);
    struct refusal r;
    bool fits = cycle_filter_node(t->cycle, n, SCOPES_ALL, &r) == FIT;
    if (fits) {
        qsort(lower, count, sizeof(struct pod_info *), by_importance);
        reset_budgets(t);
        for (size_t i = 0; i < count; i++)
            violating[i] = violates(t, lower[i]);
        for (size_t i = 0; i < count; i++)
            if (violating[i] && !reprieve(t, cand, lower[i]))
                cand->violations++;
        for (size_t i = 0; i < count; i++)
            if (!violating[i])
                reprieve(t, cand, lower[i]);
        sum_up(cand);
    }
    for (size_t i = 0; i < count; i++)
        if (lower[i]->node == NULL)
            put_back(t, n, lower[i]);
    return fits && cand->count != 0;
}

static bool is_better(const struct candidate *x, const struct candidate *y)
{
    if (x->violations != y->violations)
        return x->violations < y->violations;
    if (x->top_priority != y->top_priority)
        return x->top_priority < y->top_priority;
    if (x->priority_sum != y->priority_sum)
        return x->priority_sum < y->priority_sum;
    if (x->count != y->count)
        return x->count < y->count;
    return x->top_start_ns > y->top_start_ns;
}

static bool may_preempt(const struct core_v1_pod *pod)
{
    return !(pod->spec.has_preemption_policy && str_eqc(pod->spec.preemption_policy, "Never"));
}

/* Victims of an earlier round are still going. */
static bool victims_are_going(struct cycle *c)
{
    const struct core_v1_pod *pod = c->pod->pod;
    if (str_empty(pod->status.nominated_node_name))
        return false;
    const struct node_info *n = snapshot_node(c->snapshot, pod->status.nominated_node_name);
    if (n == NULL || cycle_refusal(c, n->index)->verdict == UNRESOLVABLE)
        return false;
    for (size_t i = 0; i < n->pod_count; i++)
        if (pod_priority(n->pods[i]->pod) < pod_priority(pod) &&
            n->pods[i]->pod->metadata.deletion_timestamp != NULL)
            return true;
    return false;
}

/* As try_node(); the victims are left out where an earlier trial is remembered. */
static bool try_or_remember(struct trial *t, struct preemption_cache *cache, struct node_info *n,
                            struct candidate *cand)
{
    struct kept *k = cache != NULL ? &cache->nodes[n->index] : NULL;
    if (k == NULL)
        return try_node(t, n, cand);
    if (!k->tried || k->version != n->version) {
        k->possible = try_node(t, n, cand);
        k->tried = true;
        k->version = n->version;
        k->candidate = *cand;
        k->candidate.victims = NULL;
    }
    *cand = k->candidate;
    return k->possible;
}

/* Only where a node's trial depends on the node alone. */
static struct preemption_cache *cache_of(struct cycle *c, size_t budget_count)
{
    if (!c->kept || budget_count != 0 || (c->cluster_steps & PLUGIN_FILTERS) != 0)
        return NULL;
    if (c->preemption_cache == NULL) {
        c->preemption_cache = ARENA_NEW(c->state_arena, struct preemption_cache);
        c->preemption_cache->nodes =
            ARENA_ARRAY(c->state_arena, struct kept, c->snapshot->node_count);
    }
    return c->preemption_cache;
}

static struct str say(struct cycle *c, struct str what)
{
    return arena_printf(c->arena, "%s, preemption: " STR_FMT,
                        c->claims_note != NULL ? c->claims_note : NO_CLAIMS, STR_ARG(what));
}

static struct str explain(struct cycle *c, size_t hopeless, size_t spared)
{
    struct refusals table;
    struct refusal no_help = {.verdict = UNRESOLVABLE}, no_victims = {.verdict = UNFIT};
    refusal_add(&no_help, STR(NOT_HELPFUL));
    refusal_add(&no_victims, STR(NO_VICTIMS));
    refusals_init(&table, c->arena);
    uint32_t first = refusals_index(&table, c->arena, &no_help);
    uint32_t second = refusals_index(&table, c->arena, &no_victims);
    table.nodes[first] = hopeless;
    table.nodes[second] = spared;
    struct str why = refusals_message(c->arena, c->snapshot->node_count, &table);
    return say(c, why);
}

static void answer(struct trial *t, struct candidate *best, struct preemption *ret)
{
    bool again = best->victims != NULL || try_node(t, best->node, best);
    ASSERT(again);
    ret->node = best->node;
    ret->victims = ARENA_ARRAY(t->cycle->arena, struct api_object *, best->count);
    ret->victim_count = best->count;
    ret->violations = (int64_t)best->violations;
    for (size_t i = 0; i < best->count; i++)
        ret->victims[i] = pod_info_object(best->victims[i], t->cycle->arena);
}

void preemption_evaluate(struct cycle *c,
                         const struct policy_v1_pod_disruption_budget *const *budgets,
                         size_t budget_count, struct preemption *ret)
{
    size_t nodes = c->snapshot->node_count;
    *ret = (struct preemption){0};
    if (!may_preempt(c->pod->pod)) {
        ret->message = say(c, STR("not eligible due to preemptionPolicy=Never."));
        return;
    }
    /* Refused before any node was looked at: no node can help. */
    bool whole = c->pod_refusal.verdict != FIT;
    if (!whole && victims_are_going(c)) {
        ret->keep_nomination = true;
        ret->message = say(c, STR("not eligible due to a terminating pod on the nominated node."));
        return;
    }
    struct trial t = {.cycle = c,
                      .budgets = budgets,
                      .budget_count = budget_count,
                      .allowed = ARENA_ARRAY(c->arena, int32_t, budget_count + 1),
                      .in_gang = pod_has_gang(c->pod->pod)};
    struct preemption_cache *cache = whole ? NULL : cache_of(c, budget_count);
    struct candidate best = {0}, cand;
    size_t hopeless = 0, spared = 0;
    for (size_t i = 0; i < nodes; i++) {
        if (whole || cycle_refusal(c, i)->verdict != UNFIT)
            hopeless++;
        else if (!try_or_remember(&t, cache, c->snapshot->nodes[i], &cand))
            spared++;
        else if (best.node == NULL || is_better(&cand, &best))
            best = cand;
    }
    if (best.node == NULL)
        ret->message = explain(c, hopeless, spared);
    else
        answer(&t, &best, ret);
}
