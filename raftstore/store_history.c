/* store_history.c - see store_history.h. */
#include "raftstore/store_history.h"

#include "lib/base/error.h"
#include "raftstore/mvcc.h"

struct store_history {
    struct store_view *view; /* NULL once built. */
    struct tree_iter it;
    int64_t after_rev, rev;
    size_t events_max;
    /* Changes found; pointers are the view's. Once there are twice as many as wanted, the
     * newer ones are dropped, and bound is the newest revision that is still complete. */
    struct event *items;
    size_t count, cap;
    int64_t bound; /* INT64_MAX: nothing was dropped. */
    struct kv_list versions;
    struct event_batch **batches;
    size_t batch_count, at;
};

int store_history_new(struct store_view *v, int64_t after_rev, size_t events_max,
                      struct store_history **ret)
{
    return store_history_new_range(v, STR_NULL, STR_NULL, after_rev, events_max, ret);
}

int store_history_new_range(struct store_view *v, struct str key, struct str range_end,
                            int64_t after_rev, size_t events_max, struct store_history **ret)
{
    struct tree_root root = mvcc_view_root((const struct mvcc_view *)v);
    int64_t compacted = store_view_compacted(v);
    after_rev = MAX_OF(after_rev, 1); /* The first write made revision 2. */
    if (after_rev + 1 < compacted)
        return E_EXPIRED;
    struct store_history *h = xzalloc(sizeof(*h));
    h->view = store_view_ref(v);
    h->after_rev = after_rev;
    h->rev = MAX_OF(after_rev, store_view_rev(v));
    h->events_max = events_max;
    h->bound = INT64_MAX;
    if (range_end.len != 0)
        tree_iter_range_versions(&h->it, root, key, range_end, after_rev);
    else
        tree_iter_versions(&h->it, root, after_rev);
    *ret = h;
    return 0;
}

void store_history_free(struct store_history *h)
{
    if (h == NULL)
        return;
    store_view_unref(h->view);
    kv_list_done(&h->versions);
    for (size_t i = 0; i < h->batch_count; i++)
        event_batch_free(h->batches[i]);
    free(h->batches);
    free(h->items);
    free(h);
}

static int by_revision(const void *a, const void *b)
{
    const struct kv *x = ((const struct event *)a)->kv, *y = ((const struct event *)b)->kv;
    if (x->mod_rev != y->mod_rev)
        return x->mod_rev < y->mod_rev ? -1 : 1;
    return (kv_sub(x) > kv_sub(y)) - (kv_sub(x) < kv_sub(y));
}

static void swap(struct event *a, struct event *b)
{
    struct event t = *a;
    *a = *b;
    *b = t;
}

/* Hoare's selection: afterwards the k-th oldest change (from 0) stands at k, no newer one
 * before it, no older one behind it. */
static void select_oldest(struct event *items, size_t count, size_t k)
{
    ptrdiff_t lo = 0, hi = (ptrdiff_t)count - 1, at = (ptrdiff_t)k;
    while (lo < hi) {
        int64_t pivot = items[lo + (hi - lo) / 2].kv->mod_rev;
        ptrdiff_t i = lo, j = hi;
        while (i <= j) {
            while (items[i].kv->mod_rev < pivot)
                i++;
            while (items[j].kv->mod_rev > pivot)
                j--;
            if (i <= j)
                swap(&items[i++], &items[j--]);
        }
        /* Up to j at most the pivot, from i on at least; between them the pivot itself. */
        if (at <= j)
            hi = j;
        else if (at >= i)
            lo = i;
        else
            return;
    }
}

/* Keeps the oldest events_max changes, and all of their last revision. */
static void drop_newer(struct store_history *h)
{
    size_t kept = 0;
    if (h->count <= h->events_max)
        return;
    select_oldest(h->items, h->count, h->events_max - 1);
    h->bound = h->items[h->events_max - 1].kv->mod_rev;
    for (size_t i = 0; i < h->count; i++) {
        if (h->items[i].kv->mod_rev <= h->bound)
            h->items[kept++] = h->items[i];
    }
    h->count = kept;
}

static void add(struct store_history *h, const struct kv *kv, const struct kv *prev)
{
    if (kv->mod_rev > h->bound)
        return;
    if (h->count == h->cap && h->count >= 2 * h->events_max)
        drop_newer(h);
    if (h->count == h->cap) { /* Also when one revision alone has so many. */
        h->cap = h->cap > 0 ? h->cap * 2 : 256;
        h->items = xrealloc(h->items, h->cap * sizeof(h->items[0]));
    }
    bool had = prev != NULL && kv_live(prev);
    h->items[h->count++] = (struct event){kv, had ? prev : NULL};
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

/* Everything was visited: what was kept, in order, by revision. */
static void finish(struct store_history *h)
{
    drop_newer(h);
    if (h->bound != INT64_MAX)
        h->rev = h->bound;
    if (h->count > 0)
        qsort(h->items, h->count, sizeof(h->items[0]), by_revision);
    h->batches = xmalloc((h->count + 1) * sizeof(struct event_batch *));
    for (size_t from = 0, to; from < h->count; from = to) {
        for (to = from; to < h->count && h->items[to].kv->mod_rev == h->items[from].kv->mod_rev;)
            to++;
        h->batches[h->batch_count++] = make_batch(&h->items[from], to - from);
    }
    free(take(h->items));
    kv_list_done(&h->versions);
    h->versions = (struct kv_list){0};
    h->count = h->cap = 0;
    store_view_unref(take(h->view));
}

bool store_history_step(struct store_history *h, size_t keys)
{
    const struct kv *prev;
    if (h->view == NULL)
        return false;
    for (size_t visited = 0; visited < keys;) {
        h->versions.count = 0;
        if (!tree_iter_next_versions(&h->it, &h->versions, &prev)) {
            finish(h);
            return false;
        }
        for (size_t i = 0; i < h->versions.count; prev = h->versions.items[i++])
            add(h, h->versions.items[i], prev);
        visited += MAX_OF(h->versions.count, (size_t)1);
    }
    return true;
}

const struct event_batch *store_history_next(struct store_history *h)
{
    ASSERT(h->view == NULL);
    if (h->at > 0 && h->at <= h->batch_count) {
        event_batch_free(h->batches[h->at - 1]);
        h->batches[h->at - 1] = NULL;
    }
    if (h->at >= h->batch_count) {
        h->at = h->batch_count + 1;
        return NULL;
    }
    return h->batches[h->at++];
}

int64_t store_history_rev(const struct store_history *h)
{
    return h->rev;
}
