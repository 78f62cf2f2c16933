/* framework.c - see framework.h. */
#include "scheduler/framework.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <stdarg.h>
#include <stdio.h>

void refusal_add(struct refusal *r, struct str reason)
{
    if (r->count < REASONS_MAX)
        r->reasons[r->count++] = reason;
}

void refusal_addf(struct cycle *c, struct refusal *r, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    refusal_add(r, arena_strc(c->arena, text));
}

/* --- filter ---------------------------------------------------------------------------------- */

static void run_prefilter(struct cycle *c)
{
    c->pod_refusal = (struct refusal){0};
    for (unsigned i = 0; i < scheduler_plugin_count; i++) {
        const struct plugin *p = scheduler_plugins[i];
        c->current = i;
        c->skip_filter[i] = p->filter == NULL;
        if (p->prefilter == NULL)
            continue;
        enum verdict v = p->prefilter(c, &c->pod_refusal);
        if (v == SKIP) {
            c->skip_filter[i] = true;
        } else if (v != FIT) {
            c->pod_refusal.verdict = v;
            c->pod_refusal.plugin = p;
            c->wakes |= p->wakes;
            return;
        }
    }
}

enum verdict cycle_filter_node(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    *r = (struct refusal){0};
    for (unsigned i = 0; i < scheduler_plugin_count; i++) {
        if (c->skip_filter[i])
            continue;
        c->current = i;
        enum verdict v = scheduler_plugins[i]->filter(c, n, r);
        if (v != FIT) {
            r->verdict = v;
            r->plugin = scheduler_plugins[i];
            return v;
        }
    }
    return FIT;
}

void cycle_filter(struct cycle *c)
{
    size_t count = c->snapshot->node_count;
    c->node_refusals = ARENA_ARRAY(c->arena, struct refusal, count + 1);
    c->fit_count = 0;
    c->wakes = 0;
    run_prefilter(c);
    if (c->pod_refusal.verdict != FIT)
        return;
    for (size_t i = 0; i < count; i++) {
        struct refusal *r = &c->node_refusals[i];
        if (cycle_filter_node(c, c->snapshot->nodes[i], r) == FIT)
            c->fit_count++;
        else
            c->wakes |= r->plugin->wakes;
    }
    if (count == 0)
        c->wakes = EVENT_NODE_ADD;
}

void cycle_pod_changed(struct cycle *c, const struct node_info *n, const struct pod_info *p,
                       bool add)
{
    for (unsigned i = 0; i < scheduler_plugin_count; i++) {
        c->current = i;
        if (!c->skip_filter[i] && scheduler_plugins[i]->changed != NULL)
            scheduler_plugins[i]->changed(c, n, p, add);
    }
}

/* --- score ----------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *seed)
{
    /* splitmix64: the ties of a cycle follow from its seed alone. */
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void add_scores(struct cycle *c, unsigned i, struct node_info *const *nodes, size_t count,
                       int64_t *totals, int64_t *scratch)
{
    const struct plugin *p = scheduler_plugins[i];
    c->current = i;
    if (p->score == NULL || (p->prescore != NULL && p->prescore(c) == SKIP))
        return;
    for (size_t n = 0; n < count; n++)
        scratch[n] = p->score(c, nodes[n]);
    if (p->normalize != NULL)
        p->normalize(c, scratch, count);
    for (size_t n = 0; n < count; n++)
        totals[n] += scratch[n] * p->weight;
}

struct node_info *cycle_select(struct cycle *c)
{
    if (c->fit_count == 0)
        return NULL;
    struct node_info **nodes = ARENA_ARRAY(c->arena, struct node_info *, c->fit_count);
    size_t count = 0;
    for (size_t i = 0; i < c->snapshot->node_count; i++)
        if (c->node_refusals[i].verdict == FIT)
            nodes[count++] = c->snapshot->nodes[i];
    if (count == 1)
        return nodes[0];
    int64_t *totals = ARENA_ARRAY(c->arena, int64_t, count);
    int64_t *scratch = ARENA_ARRAY(c->arena, int64_t, count);
    for (unsigned i = 0; i < scheduler_plugin_count; i++)
        add_scores(c, i, nodes, count, totals, scratch);
    size_t best = 0, ties = 1;
    for (size_t n = 1; n < count; n++) {
        if (totals[n] > totals[best]) {
            best = n;
            ties = 1;
        } else if (totals[n] == totals[best] && next_random(&c->seed) % ++ties == 0) {
            best = n;
        }
    }
    return nodes[best];
}

/* --- texts ----------------------------------------------------------------------------------- */

struct tally {
    struct str reason;
    size_t count;
    struct str text;
};

static int by_text(const void *x, const void *y)
{
    return str_cmp(((const struct tally *)x)->text, ((const struct tally *)y)->text);
}

static void count_reason(struct arena *a, struct tally **tallies, size_t *count, size_t *cap,
                         struct str reason)
{
    for (size_t i = 0; i < *count; i++)
        if (str_eq((*tallies)[i].reason, reason)) {
            (*tallies)[i].count++;
            return;
        }
    *tallies = arena_grow(a, *tallies, *count, cap, sizeof(**tallies));
    (*tallies)[(*count)++] = (struct tally){reason, 1, STR_NULL};
}

struct str refusals_message(struct arena *a, size_t nodes, const struct refusal *refusals,
                            size_t count)
{
    struct tally *tallies = NULL;
    size_t tally_count = 0, cap = 0;
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < count; i++)
        for (unsigned k = 0; refusals[i].verdict != FIT && k < refusals[i].count; k++)
            count_reason(a, &tallies, &tally_count, &cap, refusals[i].reasons[k]);
    for (size_t i = 0; i < tally_count; i++)
        tallies[i].text =
            arena_printf(a, "%zu " STR_FMT, tallies[i].count, STR_ARG(tallies[i].reason));
    if (tally_count != 0)
        qsort(tallies, tally_count, sizeof(*tallies), by_text);
    buf_printf(&b, "0/%zu nodes are available:", nodes);
    for (size_t i = 0; i < tally_count; i++)
        buf_printf(&b, "%s" STR_FMT, i == 0 ? " " : ", ", STR_ARG(tallies[i].text));
    if (tally_count != 0)
        buf_putc(&b, '.');
    return arena_str(a, buf_str(&b));
}

struct str cycle_message(struct cycle *c, struct str post)
{
    size_t nodes = c->snapshot->node_count;
    struct str text;
    if (nodes == 0)
        return STR("no nodes available to schedule pods");
    if (c->pod_refusal.verdict != FIT)
        text = arena_printf(c->arena, "0/%zu nodes are available: " STR_FMT ".", nodes,
                            STR_ARG(c->pod_refusal.reasons[0]));
    else
        text = refusals_message(c->arena, nodes, c->node_refusals, nodes);
    if (str_empty(post))
        return text;
    return arena_printf(c->arena, STR_FMT " " STR_FMT, STR_ARG(text), STR_ARG(post));
}
