/* mvcc_history.c - events from the version chains, and cursors that begin there.
 *
 * A chain holds every version above the compacted revision with the one before,
 * which is all that an event says. So a watch can go on after a restart, and
 * from further back than the event log reaches. */
#include "lib/base/error.h"
#include "raftstore/mvcc_internal.h"

/* --- building batches --- */

struct event_list {
    struct event *items;
    size_t count, cap;
};

static void list_add(struct event_list *l, const struct kv *kv, const struct kv *prev)
{
    if (l->count == l->cap) {
        l->cap = l->cap > 0 ? l->cap * 2 : 256;
        l->items = xrealloc(l->items, l->cap * sizeof(l->items[0]));
    }
    bool had = prev != NULL && kv_live(prev);
    l->items[l->count++] = (struct event){kv, had ? prev : NULL};
}

static int collect(struct tree_root root, int64_t after_rev, size_t max, struct event_list *ret)
{
    struct tree_iter it;
    struct kv_list versions = {0};
    const struct kv *prev;
    tree_iter_versions(&it, root, after_rev);
    while (ret->count <= max && tree_iter_next_versions(&it, &versions, &prev)) {
        for (size_t i = 0; i < versions.count; prev = versions.items[i++])
            list_add(ret, versions.items[i], prev);
        versions.count = 0;
    }
    kv_list_done(&versions);
    return ret->count > max ? E_EXPIRED : 0;
}

static int by_revision(const void *a, const void *b)
{
    const struct kv *x = ((const struct event *)a)->kv, *y = ((const struct event *)b)->kv;
    if (x->mod_rev != y->mod_rev)
        return x->mod_rev < y->mod_rev ? -1 : 1;
    return (kv_sub(x) > kv_sub(y)) - (kv_sub(x) < kv_sub(y));
}

static struct event_batch *make_batch(const struct event *events, size_t count)
{
    struct event_batch *b = event_batch_new(events[0].kv->mod_rev, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        b->events[i] = events[i];
        kv_ref(events[i].kv);
        if (events[i].prev != NULL)
            kv_ref(events[i].prev);
    }
    return b;
}

/* Groups sorted events by revision. E_CORRUPT when one is missing between
 * after_rev and rev. */
static int make_batches(const struct event_list *l, int64_t after_rev, int64_t rev,
                        struct event_batch **ret, size_t *ret_count)
{
    size_t n = 0;
    for (size_t from = 0, to; from < l->count; from = to) {
        int64_t at = l->items[from].kv->mod_rev;
        for (to = from; to < l->count && l->items[to].kv->mod_rev == at;)
            to++;
        *ret_count = n;
        if (at != after_rev + 1 + (int64_t)n)
            return E_CORRUPT;
        ret[n++] = make_batch(&l->items[from], to - from);
    }
    *ret_count = n;
    return after_rev + (int64_t)n == rev ? 0 : E_CORRUPT;
}

int history_build(struct tree_root root, int64_t compacted, int64_t after_rev, size_t events_max,
                  struct event_batch ***ret, size_t *ret_count)
{
    after_rev = MAX_OF(after_rev, 1); /* The first write made revision 2. */
    if (after_rev + 1 < compacted)
        return E_EXPIRED;
    struct event_list events = {0};
    struct event_batch **batches = NULL;
    size_t count = 0;
    int rc = 0;
    if (after_rev < root.rev)
        rc = collect(root, after_rev, events_max, &events);
    if (rc == 0 && events.count > 0) {
        qsort(events.items, events.count, sizeof(events.items[0]), by_revision);
        batches = xmalloc(events.count * sizeof(batches[0]));
        rc = make_batches(&events, after_rev, root.rev, batches, &count);
    } else if (rc == 0 && after_rev < root.rev) {
        rc = E_CORRUPT;
    }
    free(events.items);
    if (rc != 0) {
        history_free(batches, count);
        return rc;
    }
    *ret = batches;
    *ret_count = count;
    return 0;
}

void history_free(struct event_batch **batches, size_t count)
{
    for (size_t i = 0; i < count; i++)
        event_batch_free(batches[i]);
    free(batches);
}

int mvcc_history(const struct mvcc_view *v, int64_t after_rev, size_t events_max,
                 struct event_batch ***ret, size_t *ret_count)
{
    return history_build(tree_view_root(v->tree), v->compacted, after_rev, events_max, ret,
                         ret_count);
}

/* --- cursors --- */

struct mvcc_cursor {
    struct event_batch **history; /* Delivered first. */
    size_t count, at;
    struct event_cursor *live;
};

/* What the log no longer holds, from a view; then the log from there. */
static int start_from_view(struct mvcc *m, int64_t after_rev, void (*on_ready)(void *arg),
                           void *arg, struct mvcc_cursor *c)
{
    struct mvcc_view *v = mvcc_view(m);
    int rc = mvcc_history(v, after_rev, MVCC_HISTORY_EVENTS_MAX, &c->history, &c->count);
    if (rc == 0)
        rc = event_cursor_new(m->log, v->rev, on_ready, arg, &c->live);
    mvcc_view_unref(v);
    return rc;
}

/* Building history takes time; a log that is cut faster than that wins. */
#define CURSOR_TRIES 3

int mvcc_cursor_new(struct mvcc *m, int64_t after_rev, void (*on_ready)(void *arg), void *arg,
                    struct mvcc_cursor **ret, struct error *err)
{
    struct mvcc_cursor *c = xzalloc(sizeof(*c));
    int rc = event_cursor_new(m->log, after_rev, on_ready, arg, &c->live);
    for (int i = 0; rc == E_EXPIRED && i < CURSOR_TRIES; i++) {
        history_free(take(c->history), c->count);
        c->count = 0;
        rc = start_from_view(m, after_rev, on_ready, arg, c);
    }
    if (rc != 0) {
        error_set(err, rc, "no history of what came after revision %lld", (long long)after_rev);
        mvcc_cursor_free(c);
        return rc;
    }
    *ret = c;
    return 0;
}

int mvcc_cursor_new_recent(struct mvcc *m, int64_t after_rev, void (*on_ready)(void *arg),
                           void *arg, struct mvcc_cursor **ret)
{
    struct mvcc_cursor *c = xzalloc(sizeof(*c));
    int rc = event_cursor_new(m->log, after_rev, on_ready, arg, &c->live);
    if (rc == 0)
        *ret = c;
    else
        free(c);
    return rc;
}

void mvcc_cursor_filter(struct mvcc_cursor *c, bool (*wants)(void *arg, const struct event *e),
                        void *arg)
{
    event_cursor_filter(c->live, wants, arg);
}

void mvcc_cursor_free(struct mvcc_cursor *c)
{
    if (c == NULL)
        return;
    history_free(c->history, c->count);
    event_cursor_free(c->live);
    free(c);
}

const struct event_batch *mvcc_cursor_next(struct mvcc_cursor *c, bool *ret_lost)
{
    if (c->at < c->count) {
        /* The one before was borrowed until now. */
        if (c->at > 0)
            event_batch_free(take(c->history[c->at - 1]));
        return c->history[c->at++];
    }
    if (c->count > 0) {
        history_free(c->history, c->count);
        c->history = NULL;
        c->at = c->count = 0;
    }
    return event_cursor_next(c->live, ret_lost);
}

int64_t mvcc_cursor_rev(const struct mvcc_cursor *c)
{
    if (c->count == 0)
        return event_cursor_rev(c->live);
    return c->at > 0 ? c->history[c->at - 1]->rev : c->history[0]->rev - 1;
}
