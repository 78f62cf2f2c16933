/* refusals.c - see refusals.h. */
#include "scheduler/refusals.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <stdlib.h>

void refusal_add(struct refusal *r, struct str reason)
{
    if (r->count < REASONS_MAX)
        r->reasons[r->count++] = reason;
}

static uint32_t append(struct refusals *t, struct arena *a, const struct refusal *r)
{
    t->items = arena_grow(a, t->items, t->count, &t->cap, sizeof(*t->items));
    t->nodes = arena_grow(a, t->nodes, t->count, &t->nodes_cap, sizeof(*t->nodes));
    t->items[t->count] = *r;
    for (unsigned i = 0; i < r->count; i++)
        t->items[t->count].reasons[i] = arena_str(a, r->reasons[i]);
    t->nodes[t->count] = 0;
    return (uint32_t)t->count++;
}

void refusals_init(struct refusals *t, struct arena *a)
{
    static const struct refusal fits = {.verdict = FIT};
    *t = (struct refusals){0};
    (void)append(t, a, &fits);
}

static bool is_same(const struct refusal *x, const struct refusal *y)
{
    bool same = x->verdict == y->verdict && x->plugin == y->plugin && x->count == y->count;
    for (unsigned i = 0; same && i < x->count; i++)
        same = str_eq(x->reasons[i], y->reasons[i]);
    return same;
}

uint32_t refusals_index(struct refusals *t, struct arena *a, const struct refusal *r)
{
    for (size_t i = 0; i < t->count; i++)
        if (is_same(&t->items[i], r))
            return (uint32_t)i;
    return append(t, a, r);
}

void refusals_clear_counts(struct refusals *t)
{
    for (size_t i = 0; i < t->count; i++)
        t->nodes[i] = 0;
}

/* --- text ------------------------------------------------------------------------------------- */

struct tally {
    struct str reason;
    size_t count;
    struct str text;
};

static int by_text(const void *x, const void *y)
{
    return str_cmp(((const struct tally *)x)->text, ((const struct tally *)y)->text);
}

static void count_reason(struct tally *tallies, size_t *count, struct str reason, size_t nodes)
{
    for (size_t i = 0; i < *count; i++)
        if (str_eq(tallies[i].reason, reason)) {
            tallies[i].count += nodes;
            return;
        }
    tallies[(*count)++] = (struct tally){reason, nodes, STR_NULL};
}

struct str refusals_message(struct arena *a, size_t nodes, const struct refusals *t)
{
    struct tally *tallies = ARENA_ARRAY(a, struct tally, t->count * REASONS_MAX + 1);
    size_t count = 0;
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 1; i < t->count; i++)
        for (unsigned k = 0; t->nodes[i] != 0 && k < t->items[i].count; k++)
            count_reason(tallies, &count, t->items[i].reasons[k], t->nodes[i]);
    for (size_t i = 0; i < count; i++)
        tallies[i].text =
            arena_printf(a, "%zu " STR_FMT, tallies[i].count, STR_ARG(tallies[i].reason));
    if (count != 0)
        qsort(tallies, count, sizeof(*tallies), by_text);
    buf_printf(&b, "0/%zu nodes are available:", nodes);
    for (size_t i = 0; i < count; i++)
        buf_printf(&b, "%s" STR_FMT, i == 0 ? " " : ", ", STR_ARG(tallies[i].text));
    if (count != 0)
        buf_putc(&b, '.');
    return arena_str(a, buf_str(&b));
}
