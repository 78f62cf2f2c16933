/* framework.c - see framework.h. */
#include "scheduler/framework.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"

#include <stdarg.h>
#include <stdio.h>

void refusal_addf(struct cycle *c, struct refusal *r, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    refusal_add(r, arena_strc(c->arena, text));
}

static bool in_scopes(const struct plugin *p, unsigned scopes)
{
    return (scopes & SCOPE_BIT(p->scope)) != 0;
}

#define ENOUGH_MIN 100

size_t profile_enough(const struct profile *p, size_t nodes)
{
    if (p->percentage == 0 || p->percentage >= 100 || nodes < ENOUGH_MIN)
        return 0;
    return MAX_OF(nodes * p->percentage / 100, (size_t)ENOUGH_MIN);
}

/* --- filter ---------------------------------------------------------------------------------- */

/* Plugins of other scopes are left out altogether. */
/* --- times ------------------------------------------------------------------------------------ */

static uint64_t now_ns(const struct cycle *c)
{
    return c->watch != NULL ? c->watch->now_ns() : 0;
}

static void took(const struct cycle *c, const struct plugin *p, const char *point, enum verdict v,
                 uint64_t from_ns)
{
    static const char *const status[] = {[FIT] = "Success",
                                         [SKIP] = "Skip",
                                         [UNFIT] = "Unschedulable",
                                         [UNRESOLVABLE] = "UnschedulableAndUnresolvable"};
    if (c->watch != NULL)
        c->watch->plugin(c, p, point, status[v], c->watch->now_ns() - from_ns);
}

static void prepare(struct cycle *c, unsigned scopes)
{
    if (c->profile == NULL)
        c->profile = profile_default();
    c->pod_refusal = (struct refusal){0};
    c->failure = STR_NULL;
    for (unsigned i = 0; i < scheduler_plugin_count; i++) {
        const struct plugin *p = scheduler_plugins[i];
        c->current = i;
        c->skip_filter[i] = !c->profile->filters[i] || !in_scopes(p, scopes);
        c->skip_score[i] = !c->profile->scores[i] || !in_scopes(p, scopes);
        if (p->prefilter == NULL || (c->skip_filter[i] && c->skip_score[i]))
            continue;
        uint64_t from = now_ns(c);
        enum verdict v = p->prefilter(c, &c->pod_refusal);
        took(c, p, "PreFilter", v, from);
        if (v == SKIP) {
            c->skip_filter[i] = true;
        } else if (v != FIT) {
            c->pod_refusal.verdict = v;
            c->pod_refusal.plugin = p;
            return;
        }
    }
}

void cycle_prepare(struct cycle *c)
{
    prepare(c, SCOPES_ALL);
}

unsigned cycle_begin(struct cycle *c)
{
    unsigned all = 0;
    for (unsigned i = 0; i < scheduler_plugin_count; i++) {
        const struct plugin *p = scheduler_plugins[i];
        if (p->begin == NULL || c->state[i] == NULL)
            continue;
        c->current = i;
        unsigned use = p->begin(c) & (unsigned)((c->profile->filters[i] ? PLUGIN_FILTERS : 0) |
                                                (c->profile->scores[i] ? PLUGIN_SCORES : 0));
        c->skip_filter[i] = (use & PLUGIN_FILTERS) == 0;
        c->skip_score[i] = (use & PLUGIN_SCORES) == 0;
        all |= use;
    }
    return all;
}

void cycle_pod_changed(struct cycle *c, const struct node_info *n, const struct core_v1_pod *p,
                       bool add)
{
    for (unsigned i = 0; i < scheduler_plugin_count; i++) {
        const struct plugin *plugin = scheduler_plugins[i];
        /* State of a plugin that has nothing to do may be gone with an earlier decision. */
        if (plugin->changed == NULL || c->state[i] == NULL ||
            (plugin->scope != SCOPE_CLUSTER && c->skip_filter[i]))
            continue;
        c->current = i;
        plugin->changed(c, n, p, add);
    }
}

static enum verdict run_filters(struct cycle *c, const struct node_info *n, unsigned scopes,
                                struct refusal *r)
{
    bool timed = c->watch != NULL && c->watch->filters++ % FILTERS_PER_TIMED == 0;
    r->verdict = FIT; /* Reasons beyond count are not read. */
    r->plugin = NULL;
    r->count = 0;
    for (unsigned i = 0; i < scheduler_plugin_count; i++) {
        if (c->skip_filter[i] || !in_scopes(scheduler_plugins[i], scopes))
            continue;
        c->current = i;
        uint64_t from = timed ? now_ns(c) : 0;
        enum verdict v = scheduler_plugins[i]->filter(c, n, r);
        if (timed)
            took(c, scheduler_plugins[i], "Filter", v, from);
        if (v != FIT) {
            r->verdict = v;
            r->plugin = scheduler_plugins[i];
            return v;
        }
    }
    return FIT;
}

static bool counts_as_guest(const struct cycle *c, const struct pod_info *g)
{
    return pod_priority(g->pod) >= pod_priority(c->pod->pod) &&
           !str_eq(g->pod->metadata.uid, c->self);
}

/* Guests stand among the node's pods while the filters look. */
static enum verdict filter_with_guests(struct cycle *c, struct node_info *n, unsigned scopes,
                                       struct refusal *r)
{
    size_t seated = 0;
    for (size_t i = 0; i < n->guest_count; i++) {
        struct pod_info *g = n->guests[i];
        if (!counts_as_guest(c, g))
            continue;
        g->node = NULL;
        node_info_add(n, g);
        g->index = (uint32_t)i; /* Stays its place among the guests. */
        cycle_pod_changed(c, n, g->pod, true);
        seated++;
    }
    enum verdict v = run_filters(c, n, scopes, r);
    while (seated-- != 0) {
        struct pod_info *g = node_info_pop(n);
        cycle_pod_changed(c, n, g->pod, false);
        g->node = n;
    }
    return v;
}

enum verdict cycle_filter_node(struct cycle *c, struct node_info *n, unsigned scopes,
                               struct refusal *r)
{
    if (n->guest_count != 0 && filter_with_guests(c, n, scopes, r) != FIT)
        return r->verdict;
    return run_filters(c, n, scopes, r);
}

static void collect_refusal(struct cycle *c, const struct plugin *p)
{
    c->wakes |= p->wakes;
    c->by_node &= p->scope == SCOPE_NODE;
    for (unsigned i = 0; i < scheduler_plugin_count; i++)
        if (scheduler_plugins[i] == p)
            c->refused_by |= 1u << i;
}

void cycle_collect_wakes(struct cycle *c)
{
    c->wakes = c->snapshot->node_count == 0 ? EVENT_NODE_ADD : 0;
    c->refused_by = 0;
    c->by_node = c->pod_refusal.verdict == FIT;
    if (c->pod_refusal.verdict != FIT) {
        collect_refusal(c, c->pod_refusal.plugin);
        return;
    }
    for (size_t i = 1; i < c->refusals.count; i++)
        if (c->refusals.nodes[i] != 0)
            collect_refusal(c, c->refusals.items[i].plugin);
}

bool cycle_node_admits(struct cycle *c, struct node_info *n)
{
    struct refusal r;
    c->self = c->pod->pod->metadata.uid;
    c->state_arena = c->arena;
    prepare(c, SCOPE_BIT(SCOPE_NODE));
    return c->pod_refusal.verdict == FIT &&
           cycle_filter_node(c, n, SCOPE_BIT(SCOPE_NODE), &r) == FIT;
}

void cycle_filter(struct cycle *c)
{
    size_t count = c->snapshot->node_count;
    uint32_t *refused = ARENA_ARRAY(c->arena, uint32_t, count + 1);
    c->fitting = ARENA_ARRAY(c->arena, struct node_info *, count + 1);
    c->fit_count = 0;
    c->node_refusals = refused;
    c->self = c->pod->pod->metadata.uid;
    if (c->state_arena == NULL)
        c->state_arena = c->arena;
    refusals_init(&c->refusals, c->state_arena);
    cycle_prepare(c);
    if (c->pod_refusal.verdict == FIT) {
        c->cluster_steps = cycle_begin(c);
        for (size_t k = 0;
             k < count && (c->enough == 0 || c->fit_count < c->enough) && str_empty(c->failure);
             k++) {
            size_t i = (c->first + k) % count;
            struct refusal r;
            c->visited = k + 1;
            if (cycle_filter_node(c, c->snapshot->nodes[i], SCOPES_ALL, &r) == FIT)
                c->fitting[c->fit_count++] = c->snapshot->nodes[i];
            else
                refused[i] = refusals_index(&c->refusals, c->state_arena, &r);
            c->refusals.nodes[refused[i]]++;
        }
        if (!str_empty(c->failure))
            c->fit_count = 0;
    }
    cycle_collect_wakes(c);
}

/* --- score ----------------------------------------------------------------------------------- */

size_t cycle_random(struct cycle *c, size_t n)
{
    ASSERT_CMP(n, >, 0);
    /* splitmix64: the ties of a cycle follow from its seed alone. */
    uint64_t z = (c->seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (size_t)((z ^ (z >> 31)) % n);
}

static void add_scores(struct cycle *c, unsigned i, int64_t *totals, int64_t *scratch)
{
    const struct plugin *p = scheduler_plugins[i];
    uint64_t from = now_ns(c);
    c->current = i;
    if (c->skip_score[i] || (p->prescore != NULL && p->prescore(c) == SKIP))
        return;
    for (size_t n = 0; n < c->fit_count; n++)
        scratch[n] = p->score(c, c->fitting[n]);
    if (p->normalize != NULL)
        p->normalize(c, scratch, c->fit_count);
    for (size_t n = 0; n < c->fit_count; n++)
        totals[n] += scratch[n] * c->profile->weights[i];
    took(c, p, "Score", FIT, from);
}

void cycle_score(struct cycle *c, unsigned scopes, int64_t *totals)
{
    int64_t *scratch = arena_alloc(c->arena, (c->fit_count + 1) * sizeof(*scratch));
    for (unsigned i = 0; i < scheduler_plugin_count; i++)
        if (in_scopes(scheduler_plugins[i], scopes))
            add_scores(c, i, totals, scratch);
}

size_t cycle_best(struct cycle *c, const int64_t *totals, size_t count)
{
    int64_t max = totals[0];
    size_t ties = 0, i = 0;
    for (size_t n = 1; n < count; n++)
        max = MAX_OF(max, totals[n]);
    for (size_t n = 0; n < count; n++)
        ties += totals[n] == max;
    for (size_t skip = cycle_random(c, ties);; i++)
        if (totals[i] == max && skip-- == 0)
            return i;
}

struct node_info *cycle_select(struct cycle *c)
{
    if (c->fit_count == 0)
        return NULL;
    if (c->fit_count == 1)
        return c->fitting[0];
    int64_t *totals = ARENA_ARRAY(c->arena, int64_t, c->fit_count);
    cycle_score(c, SCOPES_ALL, totals);
    return c->fitting[cycle_best(c, totals, c->fit_count)];
}

/* --- texts ----------------------------------------------------------------------------------- */

struct str cycle_message(struct cycle *c, struct str post)
{
    size_t nodes = c->snapshot->node_count;
    struct str text;
    if (!str_empty(c->failure))
        return c->failure;
    if (nodes == 0)
        return STR("no nodes available to schedule pods");
    if (c->pod_refusal.verdict != FIT)
        text = arena_printf(c->arena, "0/%zu nodes are available: " STR_FMT ".", nodes,
                            STR_ARG(c->pod_refusal.reasons[0]));
    else
        text = refusals_message(c->arena, nodes, &c->refusals);
    if (str_empty(post))
        return text;
    return arena_printf(c->arena, STR_FMT " " STR_FMT, STR_ARG(text), STR_ARG(post));
}
