/* history_check.c - could it have been so? See history.h. */
#include "test/e2e/kvload/history_internal.h"

#include <inttypes.h>
#include <string.h>

/* --- the state at any revision --------------------------------------------------------- */

/* Versions of one key: indexes of its events, rising. */
struct versions {
    size_t *items;
    size_t count, cap;
};

struct states {
    struct history *h;
    struct versions *keys;
};

static struct states states_new(struct history *h)
{
    struct states s = {h, xzalloc(h->keys * sizeof(*s.keys))};
    for (size_t i = 0; i < h->events.count; i++) {
        uint32_t key = h->events.items[i].kv.key;
        if (key >= h->keys)
            continue;
        struct versions *v = &s.keys[key];
        if (v->count == v->cap) {
            v->cap = MAX_OF(v->cap * 2, (size_t)64);
            v->items = xrealloc(v->items, v->cap * sizeof(*v->items));
        }
        v->items[v->count++] = i;
    }
    return s;
}

static void states_done(struct states *s)
{
    for (uint32_t i = 0; i < s->h->keys; i++)
        free(s->keys[i].items);
    free(s->keys);
}

/* The key at rev; NULL when it does not exist. */
static const struct seen_kv *state_at(const struct states *s, uint32_t key, int64_t rev)
{
    const struct versions *v = &s->keys[key];
    size_t low = 0, high = v->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (s->h->events.items[v->items[mid]].kv.mod <= rev)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == 0)
        return NULL;
    const struct seen_event *e = &s->h->events.items[v->items[low - 1]];
    return e->deleted ? NULL : &e->kv;
}

static uint64_t digest_at(const struct states *s, uint32_t first, uint32_t count, int64_t rev)
{
    uint64_t digest = 0;
    for (uint32_t k = first; k < first + count && k < s->h->keys; k++) {
        const struct seen_kv *kv = state_at(s, k, rev);
        if (kv != NULL)
            digest = history_digest(digest, kv);
    }
    return digest;
}

uint64_t history_state_digest(struct history *h, int64_t rev, uint32_t first, uint32_t count)
{
    struct states s = states_new(h);
    uint64_t digest = digest_at(&s, first, count, rev);
    states_done(&s);
    return digest;
}

/* --- checks -------------------------------------------------------------------------------- */

static const char *op_text(const struct op *o)
{
    static const char *const names[] = {"put",     "delete", "pair",       "leased pair",
                                        "counter", "read",   "stale read", "past read"};
    return names[o->kind];
}

/* Which operation made the events of one revision; NULL: said already. */
static struct op *find_writer(struct history *h, const struct seen_event *events, size_t count,
                              uint64_t *ret_id)
{
    for (size_t i = 0; i < count; i++) {
        if (events[i].deleted)
            continue;
        struct op *o = history_op(h, events[i].kv.op);
        if (o == NULL || events[i].kv.op == 0 || !op_is_write(o)) {
            history_violation(h, "revision %" PRId64 " holds a value that nobody wrote",
                              events[i].kv.mod);
            return NULL;
        }
        *ret_id = events[i].kv.op;
        return o;
    }
    history_violation(h, "revision %" PRId64 " holds only deletions; nobody deletes alone",
                      events->kv.mod);
    return NULL;
}

/* Does the revision hold exactly what the operation asks for? */
static bool whole(const struct states *s, const struct op *o, uint64_t id,
                  const struct seen_event *events, size_t count)
{
    uint32_t puts[2] = {o->key, 0}, put_count = 1, group = o->key / HISTORY_SLOTS * HISTORY_SLOTS;
    bool deletes = false;
    if (o->kind == OP_PAIR || o->kind == OP_LEASED) {
        puts[0] = o->key;
        puts[1] = o->key + 1;
        put_count = 2;
    } else if (o->kind == OP_DELETE_MARK) {
        puts[0] = group + 2;
        deletes = state_at(s, o->key, events->kv.mod - 1) != NULL;
    }
    if (count != put_count + deletes)
        return false;
    uint32_t got = 0, deleted = 0;
    for (size_t i = 0; i < count; i++) {
        const struct seen_event *e = &events[i];
        deleted += e->deleted && deletes && e->kv.key == o->key;
        for (uint32_t k = 0; k < put_count; k++)
            got += !e->deleted && e->kv.key == puts[k] && e->kv.op == id;
    }
    return got == put_count && deleted == deletes;
}

static void check_numbers(struct history *h, const struct states *s, const struct seen_event *e)
{
    if (e->kv.key >= h->keys) {
        history_violation(h, "revision %" PRId64 " holds a key of nobody", e->kv.mod);
        return;
    }
    const struct seen_kv *before = state_at(s, e->kv.key, e->kv.mod - 1);
    if (!e->deleted && (e->kv.version != (before != NULL ? before->version + 1 : 1) ||
                        e->kv.create != (before != NULL ? before->create : e->kv.mod)))
        history_violation(h,
                          "key %u at revision %" PRId64 " has version %" PRId64
                          " and was created at %" PRId64 ", the history says otherwise",
                          e->kv.key, e->kv.mod, e->kv.version, e->kv.create);
    if (e->has_prev && (before == NULL || e->prev_mod != before->mod || e->prev_op != before->op))
        history_violation(h, "key %u at revision %" PRId64 " came with a wrong previous value",
                          e->kv.key, e->kv.mod);
    if (!e->has_prev && before != NULL && e->kv.mod - 1 > h->compacted)
        history_violation(h, "key %u at revision %" PRId64 " came without its previous value",
                          e->kv.key, e->kv.mod);
}

/* Which lease the key has just before rev; 0: none. */
static uint32_t lease_before(const struct states *s, uint32_t key, int64_t rev)
{
    const struct seen_kv *kv = state_at(s, key, rev - 1);
    const struct op *o = kv != NULL ? history_op(s->h, kv->op) : NULL;
    return o != NULL ? o->lease : 0;
}

/* A revision of deletions only: is it the end of a lease, whole and in time? */
static bool check_lease_end(struct history *h, const struct states *s,
                            const struct seen_event *events, size_t count)
{
    int64_t rev = events->kv.mod;
    for (size_t i = 0; i < count; i++)
        if (!events[i].deleted || events[i].kv.key < h->leased || events[i].kv.key >= h->keys)
            return false;
    uint32_t number = lease_before(s, events->kv.key, rev);
    const struct lease *l = history_lease(h, number);
    size_t attached = 0;
    for (uint32_t k = h->leased; k < h->keys; k++)
        attached += lease_before(s, k, rev) == number;
    for (size_t i = 0; i < count; i++)
        if (l == NULL || lease_before(s, events[i].kv.key, rev) != number || attached != count) {
            history_violation(h, "revision %" PRId64 " deletes other keys than those of a lease",
                              rev);
            return true;
        }
    if (!l->revoking && events->at_us < l->renewed_us + l->ttl_us)
        history_violation(h,
                          "LEASE: number %u of %" PRId64 " ms ended at revision %" PRId64
                          ", seen %" PRId64 " ms after it was renewed",
                          number, l->ttl_us / 1000, rev, (events->at_us - l->renewed_us) / 1000);
    return true;
}

static void check_revisions(struct history *h, const struct states *s)
{
    for (size_t i = 0; i < h->rev_count; i++) {
        size_t from = h->starts[i], to = i + 1 < h->rev_count ? h->starts[i + 1] : h->events.count;
        const struct seen_event *events = &h->events.items[from];
        uint64_t id = 0;
        for (size_t k = from; k < to; k++)
            check_numbers(h, s, &h->events.items[k]);
        if (check_lease_end(h, s, events, to - from))
            continue;
        struct op *o = find_writer(h, events, to - from, &id);
        if (o == NULL)
            continue;
        int64_t rev = events->kv.mod;
        if (o->found != 0)
            history_violation(h, "%s %" PRIu64 " happened twice: at %" PRId64 " and %" PRId64,
                              op_text(o), id, o->found, rev);
        o->found = rev;
        if (o->outcome == OUTCOME_REFUSED)
            history_violation(h, "%s %" PRIu64 " was refused, but happened at %" PRId64, op_text(o),
                              id, rev);
        if (o->outcome == OUTCOME_DONE && o->rev != rev)
            history_violation(h,
                              "%s %" PRIu64 " was acknowledged at %" PRId64 ", but is at %" PRId64,
                              op_text(o), id, o->rev, rev);
        if (!whole(s, o, id, events, to - from))
            history_violation(
                h, "%s %" PRIu64 " at revision %" PRId64 " is not whole or not alone: %zu events",
                op_text(o), id, rev, to - from);
        const struct seen_kv *before = o->kind == OP_COUNTER ? state_at(s, o->key, rev - 1) : NULL;
        if (o->kind == OP_COUNTER && (before != NULL ? before->mod : 0) != o->expect)
            history_violation(h,
                              "counter %" PRIu64 " won at %" PRId64
                              " against another revision than it asked for",
                              id, rev);
        h->unknown_found += o->outcome == OUTCOME_UNKNOWN;
    }
}

static void check_op(struct history *h, const struct states *s, uint64_t id)
{
    const struct op *o = &h->ops[id];
    if (o->outcome != OUTCOME_DONE)
        return;
    if (o->rev > history_rev(h)) {
        history_violation(h,
                          "%s %" PRIu64 " has revision %" PRId64 ", no watcher got beyond %" PRId64,
                          op_text(o), id, o->rev, history_rev(h));
        return;
    }
    bool lost = o->kind == OP_COUNTER && !o->won;
    if (op_is_write(o) && !lost) {
        if (o->found == 0)
            history_violation(h,
                              "LOST: %s %" PRIu64 " of key %u was acknowledged at revision %" PRId64
                              " and is not in the history",
                              op_text(o), id, o->key, o->rev);
        return;
    }
    if (lost) {
        const struct seen_kv *now = state_at(s, o->key, o->rev);
        uint64_t want = now != NULL ? history_digest(0, now) : 0;
        if ((now != NULL ? now->mod : 0) == o->expect || want != o->seen)
            history_violation(h, "counter %" PRIu64 " lost at %" PRId64 ", but should have won", id,
                              o->rev);
        return;
    }
    int64_t at = o->kind == OP_READ_PAST ? o->at : o->rev;
    if (at >= h->base && digest_at(s, o->key, o->keys, at) != o->seen)
        history_violation(
            h, "%s %" PRIu64 " of %u keys from %u at revision %" PRId64 " is not what was written",
            op_text(o), id, o->keys, o->key, at);
}

struct span {
    int64_t us, rev;
    uint64_t id;
};

static int by_time(const void *a, const void *b)
{
    int64_t x = ((const struct span *)a)->us, y = ((const struct span *)b)->us;
    return x < y ? -1 : x > y;
}

/* An operation that began after another had ended must not stand before it. */
static void check_real_time(struct history *h)
{
    struct span *begins = xmalloc(h->op_count * sizeof(*begins)),
                *ends = xmalloc(h->op_count * sizeof(*ends));
    size_t count = 0;
    for (uint64_t id = 1; id < h->op_count; id++) {
        const struct op *o = &h->ops[id];
        if (o->outcome != OUTCOME_DONE || o->kind == OP_READ_STALE || o->kind == OP_READ_PAST)
            continue;
        begins[count] = (struct span){o->start_us, o->rev, id};
        ends[count++] = (struct span){o->end_us, o->rev, id};
    }
    qsort(begins, count, sizeof(*begins), by_time);
    qsort(ends, count, sizeof(*ends), by_time);
    struct span newest = {0};
    for (size_t i = 0, e = 0; i < count; i++) {
        for (; e < count && ends[e].us < begins[i].us; e++)
            if (ends[e].rev > newest.rev)
                newest = ends[e];
        const struct op *o = &h->ops[begins[i].id];
        bool wrote = op_is_write(o) && (o->kind != OP_COUNTER || o->won);
        if (begins[i].rev < newest.rev + (wrote ? 1 : 0))
            history_violation(h,
                              "STALE: %s %" PRIu64 " began after %s %" PRIu64
                              " of revision %" PRId64 " had ended, but has revision %" PRId64,
                              op_text(o), begins[i].id, op_text(&h->ops[newest.id]), newest.id,
                              newest.rev, begins[i].rev);
    }
    free(begins);
    free(ends);
}

/* Watches of a part against the whole. */
static void check_watch(struct history *h, const struct watch_log *w)
{
    size_t at = 0;
    for (size_t i = 0; i < h->events.count; i++) {
        const struct seen_event *e = &h->events.items[i];
        if (e->kv.key < w->first || e->kv.key >= w->first + w->count || e->kv.mod < w->from ||
            e->kv.mod >= w->next)
            continue;
        if (at == w->events.count || !same_event(&w->events.items[at], e)) {
            history_violation(h, "%s did not see the event of key %u at revision %" PRId64, w->name,
                              e->kv.key, e->kv.mod);
            return;
        }
        at++;
    }
    if (at < w->events.count)
        history_violation(h,
                          "%s saw an event of key %u at revision %" PRId64 " that others did not",
                          w->name, w->events.items[at].kv.key, w->events.items[at].kv.mod);
}

void history_check(struct history *h)
{
    struct states s = states_new(h);
    check_revisions(h, &s);
    for (uint64_t id = 1; id < h->op_count; id++)
        check_op(h, &s, id);
    check_real_time(h);
    for (const struct watch_log *w = h->watches; w != NULL; w = w->next_log)
        if (!w->all)
            check_watch(h, w);
    states_done(&s);
}
