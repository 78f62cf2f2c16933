/* state.c - see state.h. */
#include "kubelet/policy/state.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

struct policy_state *policy_state_new(const struct policy_table *table)
{
    struct arena *a = arena_new(0);
    struct policy_state *s = ARENA_NEW(a, struct policy_state);
    s->arena = a;
    s->table = table;
    return s;
}

void policy_state_free(struct policy_state *s)
{
    if (s != NULL)
        arena_free(s->arena);
}

struct policy_set *policy_state_set(struct policy_state *s, struct str name, const char *type,
                                    bool *ret_new)
{
    *ret_new = false;
    for (size_t i = 0; i < s->set_count; i++)
        if (str_eq(s->sets[i].name, name))
            return &s->sets[i];
    *ret_new = true;
    s->sets = arena_grow(s->arena, s->sets, s->set_count, &s->set_cap, sizeof(*s->sets));
    struct policy_set *set = &s->sets[s->set_count++];
    *set = (struct policy_set){.name = arena_str(s->arena, name), .type = type};
    return set;
}

void policy_set_add(struct policy_state *s, struct policy_set *set, struct str text)
{
    set->elements =
        arena_grow(s->arena, set->elements, set->count, &set->cap, sizeof(*set->elements));
    set->elements[set->count++] = arena_str(s->arena, text);
}

void policy_state_add_chain(struct policy_state *s, struct str name, struct str rules)
{
    for (size_t i = 0; i < s->chain_count; i++)
        if (str_eq(s->chains[i].name, name))
            return;
    s->chains = arena_grow(s->arena, s->chains, s->chain_count, &s->chain_cap, sizeof(*s->chains));
    s->chains[s->chain_count++] =
        (struct policy_chain){arena_str(s->arena, name), arena_str(s->arena, rules)};
}

static int by_text(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static int by_set_name(const void *x, const void *y)
{
    return str_cmp(((const struct policy_set *)x)->name, ((const struct policy_set *)y)->name);
}

static int by_chain_name(const void *x, const void *y)
{
    return str_cmp(((const struct policy_chain *)x)->name, ((const struct policy_chain *)y)->name);
}

void policy_state_sort(struct policy_state *s)
{
    for (size_t i = 0; i < s->set_count; i++) {
        struct policy_set *set = &s->sets[i];
        size_t kept = 0;
        if (set->count > 0)
            qsort(set->elements, set->count, sizeof(*set->elements), by_text);
        for (size_t k = 0; k < set->count; k++)
            if (kept == 0 || !str_eq(set->elements[kept - 1], set->elements[k]))
                set->elements[kept++] = set->elements[k];
        set->count = kept;
    }
    if (s->set_count > 0)
        qsort(s->sets, s->set_count, sizeof(*s->sets), by_set_name);
    if (s->chain_count > 0)
        qsort(s->chains, s->chain_count, sizeof(*s->chains), by_chain_name);
}

/* --- text ---------------------------------------------------------------------------- */

static void write_set(const char *table, const struct policy_set *s, struct buf *out)
{
    if (s->kind == POLICY_COUNTER)
        buf_printf(out, "add counter inet %s " STR_FMT "\n", table, STR_ARG(s->name));
    else
        buf_printf(out, "add %s inet %s " STR_FMT " { type %s%s; }\n",
                   s->kind == POLICY_VERDICTS ? "map" : "set", table, STR_ARG(s->name), s->type,
                   s->kind == POLICY_VERDICTS ? " : verdict" : "");
}

static void delete_set(const char *table, const struct policy_set *s, struct buf *out)
{
    static const char *const words[] = {"set", "map", "counter"};
    buf_printf(out, "delete %s inet %s " STR_FMT "\n", words[s->kind], table, STR_ARG(s->name));
}

static void write_elements(const char *table, const char *verb, const struct policy_set *s,
                           const struct str *items, size_t count, struct buf *out)
{
    if (count == 0)
        return;
    buf_printf(out, "%s element inet %s " STR_FMT " { ", verb, table, STR_ARG(s->name));
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s" STR_FMT, i > 0 ? ", " : "", STR_ARG(items[i]));
    buf_puts(out, " }\n");
}

static void write_chain(const char *table, const struct policy_chain *c, struct buf *out)
{
    struct str rest = c->rules, line;
    buf_printf(out, "add chain inet %s " STR_FMT "\n", table, STR_ARG(c->name));
    for (bool more = !str_empty(rest); more;) {
        more = str_cut(rest, '\n', &line, &rest);
        if (!str_empty(line))
            buf_printf(out, "add rule inet %s " STR_FMT " " STR_FMT "\n", table, STR_ARG(c->name),
                       STR_ARG(line));
    }
}

void policy_state_none(const struct policy_table *table, struct buf *out)
{
    /* Adding first makes deleting succeed whether it was there or not. */
    buf_printf(out, "add table inet %s\ndelete table inet %s\n", table->name, table->name);
}

static void diff(const struct policy_state *have, const struct policy_state *want, struct buf *out);

void policy_state_write(const struct policy_state *s, struct buf *out)
{
    static const struct policy_state nothing;
    policy_state_none(s->table, out);
    buf_printf(out, "add table inet %s\n", s->table->name);
    diff(&nothing, s, out);
    s->table->write_hooks(out);
}

/* --- differences ---------------------------------------------------------------------- */

/* Splits what has changed of a set into what goes and what comes. */
static void diff_elements(const char *table, const struct policy_set *have,
                          const struct policy_set *want, struct buf *gone, struct buf *come)
{
    AUTO_ARENA *a = arena_new(0);
    size_t i = 0, k = 0, gone_count = 0, come_count = 0;
    struct str *gone_items = ARENA_ARRAY(a, struct str, have->count + 1);
    struct str *come_items = ARENA_ARRAY(a, struct str, want->count + 1);
    while (i < have->count || k < want->count) {
        int c = i == have->count   ? 1
                : k == want->count ? -1
                                   : str_cmp(have->elements[i], want->elements[k]);
        if (c < 0)
            gone_items[gone_count++] = have->elements[i];
        else if (c > 0)
            come_items[come_count++] = want->elements[k];
        i += c <= 0;
        k += c >= 0;
    }
    write_elements(table, "delete", have, gone_items, gone_count, gone);
    write_elements(table, "add", want, come_items, come_count, come);
}

/* Sets before the chains that name them, chains before the verdicts that lead to them; and the
 * other way round for what goes. */
static void diff(const struct policy_state *have, const struct policy_state *want, struct buf *out)
{
    AUTO_BUF new_sets = BUF_INIT, new_chains = BUF_INIT, gone = BUF_INIT, come = BUF_INIT;
    AUTO_BUF old_chains = BUF_INIT, old_sets = BUF_INIT;
    const char *table = want->table->name;
    for (size_t i = 0, k = 0; i < have->set_count || k < want->set_count;) {
        const struct policy_set *h = i < have->set_count ? &have->sets[i] : NULL;
        const struct policy_set *w = k < want->set_count ? &want->sets[k] : NULL;
        int c = h == NULL ? 1 : w == NULL ? -1 : str_cmp(h->name, w->name);
        if (c < 0) {
            delete_set(table, h, &old_sets);
        } else if (c > 0) {
            write_set(table, w, &new_sets);
            write_elements(table, "add", w, w->elements, w->count, &come);
        } else {
            diff_elements(table, h, w, &gone, &come);
        }
        i += c <= 0;
        k += c >= 0;
    }
    for (size_t i = 0, k = 0; i < have->chain_count || k < want->chain_count;) {
        const struct policy_chain *h = i < have->chain_count ? &have->chains[i] : NULL;
        const struct policy_chain *w = k < want->chain_count ? &want->chains[k] : NULL;
        int c = h == NULL ? 1 : w == NULL ? -1 : str_cmp(h->name, w->name);
        if (c < 0)
            buf_printf(&old_chains,
                       "flush chain inet %s " STR_FMT "\ndelete chain inet %s " STR_FMT "\n", table,
                       STR_ARG(h->name), table, STR_ARG(h->name));
        else if (c > 0)
            write_chain(table, w, &new_chains);
        i += c <= 0;
        k += c >= 0;
    }
    const struct buf *const order[] = {&new_sets, &new_chains, &gone,
                                       &come,     &old_chains, &old_sets};
    for (size_t i = 0; i < ARRAY_SIZE(order); i++)
        buf_append_str(out, buf_str(order[i]));
}

void policy_state_diff(const struct policy_state *have, const struct policy_state *want,
                       struct buf *out)
{
    diff(have, want, out);
}
