/* simulation_why.c - why a pod waits, by plugin and number of nodes: see simulation.h. */
#include "scheduler/simulation_internal.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "scheduler/config.h"
#include "scheduler/preemption.h"

#include <stdlib.h>

struct listing {
    struct arena *arena;
    struct simulation_why *why;
    size_t cap;
};

static struct simulation_reason *reason_of(struct listing *l, const char *plugin, struct str text)
{
    struct simulation_why *w = l->why;
    for (size_t i = 0; i < w->reason_count; i++)
        if (strcmp(w->reasons[i].plugin, plugin) == 0 && str_eq(w->reasons[i].text, text))
            return &w->reasons[i];
    w->reasons = arena_grow(l->arena, w->reasons, w->reason_count, &l->cap, sizeof(*w->reasons));
    struct simulation_reason *r = &w->reasons[w->reason_count++];
    *r = (struct simulation_reason){.plugin = plugin, .text = arena_str(l->arena, text)};
    return r;
}

static void note(struct listing *l, const struct refusal *r, const char *node)
{
    for (unsigned i = 0; i < r->count; i++) {
        struct simulation_reason *x =
            reason_of(l, r->plugin != NULL ? r->plugin->name : "", r->reasons[i]);
        if (node == NULL)
            continue;
        if (x->nodes < ARRAY_SIZE(x->examples))
            x->examples[x->nodes] = node;
        x->nodes++;
    }
}

static int by_nodes(const void *x, const void *y)
{
    const struct simulation_reason *a = x, *b = y;
    if (a->nodes != b->nodes)
        return a->nodes < b->nodes ? 1 : -1;
    int by = strcmp(a->plugin, b->plugin);
    return by != 0 ? by : str_cmp(a->text, b->text);
}

static void list_reasons(const struct cycle *c, struct arena *a, struct simulation_why *ret)
{
    struct listing l = {.arena = a, .why = ret};
    if (c->pod_refusal.verdict == UNFIT || c->pod_refusal.verdict == UNRESOLVABLE) {
        note(&l, &c->pod_refusal, NULL);
        return;
    }
    for (size_t i = 0; c->node_refusals != NULL && i < c->snapshot->node_count; i++)
        if (c->node_refusals[i] != REFUSAL_NONE)
            note(&l, cycle_refusal(c, i), c->snapshot->nodes[i]->name);
    if (ret->reason_count != 0)
        qsort(ret->reasons, ret->reason_count, sizeof(*ret->reasons), by_nodes);
}

static struct str ask_preemption(struct simulation *s, struct cycle *c)
{
    size_t count;
    const struct policy_v1_pod_disruption_budget **budgets =
        simulation_budgets(s, c->arena, &count);
    struct preemption p = {0};
    if (!c->profile->preempts || c->snapshot->node_count == 0)
        return STR_NULL;
    preemption_evaluate(c, budgets, count, &p);
    if (p.node == NULL)
        return p.message;
    return arena_printf(c->arena, "%zu pods would be evicted from %s", p.victim_count,
                        p.node->name);
}

void simulation_explain(struct simulation *s, struct arena *a, struct api_object *o,
                        struct simulation_why *ret)
{
    struct api_object *pod = simulation_completed(s, o);
    simulation_make_claims(s, pod);
    simulation_take_usage(s);
    struct pod_info *info = pod_info_new(pod);
    struct cycle c = {.arena = a,
                      .state_arena = a,
                      .snapshot = &s->snapshot,
                      .pod = info,
                      .self = info->pod->metadata.uid,
                      .facts = &s->facts,
                      .profile = simulation_profile(s, info->pod),
                      .seed = s->seed};
    *ret = (struct simulation_why){.nodes = s->snapshot.node_count};
    cycle_filter(&c);
    ret->fitting = c.fit_count;
    ret->failure = c.failure;
    list_reasons(&c, a, ret);
    if (c.fit_count != 0)
        ret->best = cycle_select(&c)->name;
    else if (str_empty(c.failure))
        ret->preemption = arena_str(a, ask_preemption(s, &c));
    pod_info_free(info);
    api_object_unref(pod);
}

struct api_object *simulation_pod(const struct simulation *s, struct str ns, struct str name)
{
    size_t pos = 0;
    void *v;
    while (map_next(&s->queue.by_uid, &pos, NULL, &v)) {
        struct api_object *o = ((const struct queued_pod *)v)->object;
        const struct meta_v1_object_meta *m = api_object_meta(o);
        if (str_eq(m->namespace, ns) && str_eq(m->name, name))
            return o;
    }
    return NULL;
}
