/* state.c - see state.h. */
#include "kubelet/policy/state.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

struct policy_state *policy_state_new(void)
{
    struct arena *a = arena_new(0);
    struct policy_state *s = ARENA_NEW(a, struct policy_state);
    s->arena = a;
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

static void write_set(const struct policy_set *s, struct buf *out)
{
    buf_printf(out, "add %s inet " POLICY_TABLE " " STR_FMT " { type %s%s; }\n",
               s->verdicts ? "map" : "set", STR_ARG(s->name), s->type,
               s->verdicts ? " : verdict" : "");
}

static void write_elements(const char *verb, const struct policy_set *s, const struct str *items,
                           size_t count, struct buf *out)
{
    if (count == 0)
        return;
    buf_printf(out, "%s element inet " POLICY_TABLE " " STR_FMT " { ", verb, STR_ARG(s->name));
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s" STR_FMT, i > 0 ? ", " : "", STR_ARG(items[i]));
    buf_puts(out, " }\n");
}

static void write_chain(const struct policy_chain *c, struct buf *out)
{
    struct str rest = c->rules, line;
    buf_printf(out, "add chain inet " POLICY_TABLE " " STR_FMT "\n", STR_ARG(c->name));
    for (bool more = !str_empty(rest); more;) {
        more = str_cut(rest, '\n', &line, &rest);
        if (!str_empty(line))
            buf_printf(out, "add rule inet " POLICY_TABLE " " STR_FMT " " STR_FMT "\n",
                       STR_ARG(c->name), STR_ARG(line));
    }
}

void policy_state_none(struct buf *out)
{
    /* Adding first makes deleting succeed whether it was there or not. */
    buf_puts(out, "add table inet " POLICY_TABLE "\ndelete table inet " POLICY_TABLE "\n");
}

/* What every packet meets: few lookups, whatever the number of policies and pods. Only forwarded
 * packets are looked at: what the node itself sends and gets is always let through. */
static void write_hook(struct buf *out)
{
    static const char *const rules[] = {
        "ct state established,related accept",
        "meta l4proto ipv6-icmp icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, "
        "nd-router-solicit, nd-router-advert } accept",
        /* Through a Service back to itself. */
        "ip saddr . ip daddr @self4 accept",
        "ip6 saddr . ip6 daddr @self6 accept",
        "ip saddr vmap @out4",
        "ip6 saddr vmap @out6",
        "ip daddr vmap @in4",
        "ip6 daddr vmap @in6",
    };
    buf_puts(out, "add chain inet " POLICY_TABLE
                  " forward { type filter hook forward priority -5; policy accept; }\n");
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
        buf_printf(out, "add rule inet " POLICY_TABLE " forward %s\n", rules[i]);
}

static void diff(const struct policy_state *have, const struct policy_state *want, struct buf *out);

void policy_state_write(const struct policy_state *s, struct buf *out)
{
    static const struct policy_state nothing;
    policy_state_none(out);
    buf_puts(out, "add table inet " POLICY_TABLE "\n");
    diff(&nothing, s, out);
    write_hook(out);
}

/* --- differences ---------------------------------------------------------------------- */

/* Splits what has changed of a set into what goes and what comes. */
static void diff_elements(const struct policy_set *have, const struct policy_set *want,
                          struct buf *gone, struct buf *come)
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
    write_elements("delete", have, gone_items, gone_count, gone);
    write_elements("add", want, come_items, come_count, come);
}

/* Sets before the chains that name them, chains before the verdicts that lead to them; and the
 * other way round for what goes. */
static void diff(const struct policy_state *have, const struct policy_state *want, struct buf *out)
{
    AUTO_BUF new_sets = BUF_INIT, new_chains = BUF_INIT, gone = BUF_INIT, come = BUF_INIT;
    AUTO_BUF old_chains = BUF_INIT, old_sets = BUF_INIT;
    for (size_t i = 0, k = 0; i < have->set_count || k < want->set_count;) {
        const struct policy_set *h = i < have->set_count ? &have->sets[i] : NULL;
        const struct policy_set *w = k < want->set_count ? &want->sets[k] : NULL;
        int c = h == NULL ? 1 : w == NULL ? -1 : str_cmp(h->name, w->name);
        if (c < 0) {
            buf_printf(&old_sets, "delete %s inet " POLICY_TABLE " " STR_FMT "\n",
                       h->verdicts ? "map" : "set", STR_ARG(h->name));
        } else if (c > 0) {
            write_set(w, &new_sets);
            write_elements("add", w, w->elements, w->count, &come);
        } else {
            diff_elements(h, w, &gone, &come);
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
                       "flush chain inet " POLICY_TABLE " " STR_FMT
                       "\ndelete chain inet " POLICY_TABLE " " STR_FMT "\n",
                       STR_ARG(h->name), STR_ARG(h->name));
        else if (c > 0)
            write_chain(w, &new_chains);
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
