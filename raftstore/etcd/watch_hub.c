/* watch_hub.c - feeds: reading the event log and moving watchers; see watch_hub.h.
 * Encoding and sending is in watch_send.c. */
#include "raftstore/etcd/watch_hub_internal.h"

#include "lib/base/log.h"
#include "raftstore/kv.h"
#include "raftstore/store_history.h"

#define ROUND_BYTES ((size_t)256 << 10) /* Encoded in one round of a feed ... */
#define ROUND_EVENTS 2048               /* ... or looked at. */
#define CURSOR_TRIES 3
#define HISTORY_EVENTS 16384 /* In one window ... */
#define HISTORY_KEYS 4096    /* ... and visited for it in one round. */

/* --- feeds --- */

static bool starts_before(const struct heap_node *a, const struct heap_node *b, void *arg)
{
    UNUSED(arg);
    return HEAP_ENTRY(a, struct watcher, by_start)->next_rev <
           HEAP_ENTRY(b, struct watcher, by_start)->next_rev;
}

static void on_feed_ready(void *arg)
{
    LOOP_CALLBACK("etcd watch");
    struct watch_feed *f = arg;
    f->ready = true;
    watch_feed_run(f);
}

/* The cursor, where the event log reaches back to f->rev, or a window of history. */
static int feed_open(struct watch_feed *f)
{
    struct store *store = etcd_thread_store(f->hub->thread);
    int rc = store_cursor_new_recent(store, f->rev, &f->hub->thread->mailbox, on_feed_ready, f,
                                     &f->cursor);
    if (rc != E_EXPIRED)
        return rc;
    struct store_view *v = store_view(store);
    rc = store_history_new(v, f->rev, HISTORY_EVENTS, &f->history);
    store_view_unref(v);
    f->history_built = false;
    return rc;
}

static int feed_new(struct watch_hub *h, int64_t after_rev, struct watch_feed **ret)
{
    struct watch_feed *f = xzalloc(sizeof(*f));
    f->hub = h;
    f->rev = f->sent_rev = after_rev;
    f->ready = true;
    int rc = feed_open(f);
    if (rc != 0) {
        free(f);
        return rc;
    }
    watch_index_init(&f->index);
    heap_init(&f->waiting, starts_before, NULL);
    list_init(&f->dirty);
    list_push_back(&h->feeds, &f->link);
    deferred_post(&h->thread->defer, &h->work);
    *ret = f;
    return 0;
}

static void feed_free(struct watch_feed *f)
{
    ASSERT(f->watchers == 0 && !f->running);
    if (f->hub->head == f)
        f->hub->head = NULL;
    list_remove(&f->link);
    store_cursor_free(f->cursor);
    store_history_free(f->history);
    watch_index_done(&f->index);
    heap_done(&f->waiting);
    free(f);
}

/* The head stays while others are on the way to it. */
static void feed_free_if_empty(struct watch_feed *f)
{
    if (f->watchers > 0 || f->running)
        return;
    if (f->hub->head == f && f->hub->feeds.next != f->hub->feeds.prev)
        return;
    feed_free(f);
}

/* The feed at the newest revision; NULL when the store cannot say (it is closing). */
static struct watch_feed *hub_head(struct watch_hub *h)
{
    for (int i = 0; h->head == NULL && i < CURSOR_TRIES; i++) {
        struct store_view *v = store_view(etcd_thread_store(h->thread));
        int64_t rev = store_view_rev(v);
        store_view_unref(v);
        struct watch_feed *f;
        if (feed_new(h, rev, &f) == 0)
            h->head = f;
    }
    return h->head;
}

/* --- watchers in feeds --- */

static void feed_activate(struct watch_feed *f, struct watcher *w)
{
    w->group = watch_index_get(&f->index, w->key, w->range_end, w->options);
    list_push_back(&w->group->watchers, &w->link);
}

static void feed_add(struct watch_feed *f, struct watcher *w)
{
    ASSERT(w->feed == NULL && f->rev == f->sent_rev && w->next_rev > f->rev);
    w->feed = f;
    if (f->watchers++ == 0)
        f->stream = w->stream;
    else if (f->stream != w->stream)
        f->stream = NULL;
    if (w->next_rev > f->rev + 1)
        heap_push(&f->waiting, &w->by_start);
    else
        feed_activate(f, w);
}

static void feed_remove(struct watch_feed *f, struct watcher *w)
{
    ASSERT(w->feed == f);
    if (w->group != NULL) {
        list_remove(&w->link);
        /* While its events are being sent the group stays. */
        if (list_empty(&w->group->watchers) && w->group->slice_count == 0)
            watch_index_remove(&f->index, w->group);
        w->group = NULL;
    } else {
        heap_remove(&f->waiting, &w->by_start);
    }
    w->feed = NULL;
    f->watchers--;
}

/* Those whose revision comes with the next batch. What was found so far is not theirs. */
static void feed_wake(struct watch_feed *f, int64_t rev)
{
    struct heap_node *n;
    while ((n = heap_peek(&f->waiting)) != NULL) {
        struct watcher *w = HEAP_ENTRY(n, struct watcher, by_start);
        if (w->next_rev > rev)
            return;
        watch_feed_flush(f);
        heap_remove(&f->waiting, n);
        feed_activate(f, w);
    }
}

/* A feed of the past that has not gone by the watcher's revision, the nearest one. */
static struct watch_feed *past_feed(struct watch_hub *h, int64_t next_rev)
{
    struct watch_feed *best = NULL;
    LIST_FOREACH (it, &h->feeds) {
        struct watch_feed *f = LIST_ENTRY(it, struct watch_feed, link);
        if (f != h->head && !f->paused && f->rev < next_rev && (best == NULL || f->rev > best->rev))
            best = f;
    }
    return best;
}

static int64_t compacted_rev(struct watch_hub *h)
{
    struct store_view *v = store_view(etcd_thread_store(h->thread));
    int64_t rev = store_view_compacted(v);
    store_view_unref(v);
    return rev;
}

void watcher_start(struct watcher *w)
{
    struct watch_hub *h = w->stream->hub;
    struct watch_feed *head = hub_head(h);
    struct watch_feed *f = head;
    if (w->stream->stalled || head == NULL)
        return;
    int64_t compacted = compacted_rev(h);
    if (w->next_rev <= head->rev && w->next_rev < compacted) {
        watch_on_compacted(w, compacted);
        return;
    }
    if (w->next_rev <= head->rev)
        f = past_feed(h, w->next_rev);
    if (f == NULL) {
        int rc = feed_new(h, MAX_OF(w->next_rev - 1, 0), &f);
        if (rc != 0) {
            /* So far back, or so much, that the history cannot be told. */
            watch_on_compacted(w, MAX_OF(compacted_rev(h), w->next_rev));
            return;
        }
    }
    w->next_rev = MAX_OF(w->next_rev, f->sent_rev + 1);
    feed_add(f, w);
}

void watcher_stop(struct watcher *w)
{
    struct watch_feed *f = w->feed;
    if (f == NULL)
        return;
    feed_remove(f, w);
    feed_free_if_empty(f);
}

bool watcher_is_synced(const struct watcher *w)
{
    return w->feed != NULL && w->feed == w->stream->hub->head && w->next_rev <= w->feed->rev + 1;
}

int64_t watch_feed_rev(const struct watch_feed *f)
{
    return f->sent_rev;
}

/* --- streams that do not read --- */

static void count_slow(struct watch_hub *h, bool more)
{
    h->slow_streams = more ? h->slow_streams + 1 : h->slow_streams - 1;
    atomic_store_explicit(&h->thread->stat_slow, h->slow_streams, memory_order_relaxed);
}

/* Of one stream only, and so it waits with it. The head never does. */
bool watch_feed_is_private(const struct watch_feed *f)
{
    return f->stream != NULL && f != f->hub->head;
}

static void detach_stalling(struct watch_hub *h)
{
    for (struct list *l; (l = list_pop_front(&h->stalling)) != NULL;) {
        struct watch_stream *s = LIST_ENTRY(l, struct watch_stream, stall_link);
        s->stalling = false;
        LIST_FOREACH (it, &s->watchers) {
            struct watcher *w = LIST_ENTRY(it, struct watcher, in_stream);
            struct watch_feed *f = w->feed;
            if (f != NULL && watch_feed_is_private(f))
                f->paused = true;
            if (f == NULL || f->paused)
                continue;
            if (w->group != NULL && !w->missed)
                w->next_rev = f->sent_rev + 1;
            w->missed = false;
            feed_remove(f, w);
            feed_free_if_empty(f);
        }
        count_slow(h, true);
    }
}

void watch_stream_stall(struct watch_stream *s)
{
    if (s->stalled)
        return;
    s->stalled = s->stalling = true;
    list_push_back(&s->hub->stalling, &s->stall_link);
}

void watch_stream_unstall(struct watch_stream *s)
{
    if (!s->stalled || s->stalling)
        return;
    s->stalled = false;
    count_slow(s->hub, false);
    LIST_FOREACH_SAFE (it, &s->watchers) {
        struct watcher *w = LIST_ENTRY(it, struct watcher, in_stream);
        if (w->feed == NULL) {
            watcher_start(w);
        } else if (w->feed->paused) {
            w->feed->paused = false;
            w->feed->ready = true;
        }
    }
    deferred_post(&s->hub->thread->defer, &s->hub->work);
}

/* --- running --- */

/* Takes every watcher out, each knowing what it wants next. Returned: how many, in
 * *ret, which is to be freed. */
static size_t feed_empty(struct watch_feed *f, struct watcher ***ret)
{
    struct watcher **list = xmalloc((f->watchers + 1) * sizeof(struct watcher *));
    size_t count = 0, pos = 0;
    void *group;
    struct heap_node *n;
    while ((n = heap_peek(&f->waiting)) != NULL) {
        list[count] = HEAP_ENTRY(n, struct watcher, by_start);
        feed_remove(f, list[count++]);
    }
    while (map_next(&f->index.groups, &pos, NULL, &group)) {
        /* The group goes with its last watcher. */
        struct list *watchers = &((struct watch_group *)group)->watchers;
        for (bool last = false; !last;) {
            struct watcher *w = LIST_ENTRY(watchers->next, struct watcher, link);
            last = watchers->next == watchers->prev;
            w->next_rev = f->sent_rev + 1;
            feed_remove(f, w);
            list[count++] = w;
        }
    }
    ASSERT(f->watchers == 0);
    *ret = list;
    return count;
}

/* Its cursor fell out of the history: every watcher starts anew where it was. */
static void feed_lost(struct watch_feed *f)
{
    AUTO_FREE struct watcher **list = NULL;
    size_t count = feed_empty(f, &list);
    if (f->hub->head == f)
        f->hub->head = NULL;
    for (size_t i = 0; i < count; i++)
        watcher_start(list[i]);
}

/* Gives every watcher to the head, which stands at the same revision. */
static void feed_merge(struct watch_feed *f)
{
    AUTO_FREE struct watcher **list = NULL;
    size_t count = feed_empty(f, &list);
    for (size_t i = 0; i < count; i++)
        feed_add(f->hub->head, list[i]);
    for (size_t i = 0; i < count; i++)
        watch_on_synced(list[i]->stream);
}

enum feed_result { FEED_DRAINED, FEED_MORE, FEED_LOST };

/* The window is used up: the event log from here, or another one. */
static enum feed_result feed_reopen(struct watch_feed *f)
{
    f->rev = MAX_OF(f->rev, store_history_rev(f->history));
    store_history_free(f->history);
    f->history = NULL;
    watch_feed_flush(f);
    return feed_open(f) == 0 ? FEED_MORE : FEED_LOST;
}

/* A batch, NULL for none: *ret says why. */
static const struct event_batch *feed_next(struct watch_feed *f, enum feed_result *ret)
{
    const struct event_batch *b = NULL;
    bool lost = false;
    *ret = FEED_MORE;
    if (f->history == NULL) {
        b = store_cursor_next(f->cursor, &lost);
        if (b == NULL && !lost)
            f->rev = MAX_OF(f->rev, store_cursor_rev(f->cursor));
        if (b == NULL)
            *ret = lost ? FEED_LOST : FEED_DRAINED;
        return b;
    }
    if (!f->history_built) {
        f->history_built = !store_history_step(f->history, HISTORY_KEYS);
        f->round_events = ROUND_EVENTS; /* Enough for a round. */
        return NULL;
    }
    b = store_history_next(f->history);
    if (b == NULL)
        *ret = feed_reopen(f);
    return b;
}

/* One batch, or the end of what is there. */
static enum feed_result feed_step(struct watch_feed *f)
{
    enum feed_result result;
    const struct event_batch *b = feed_next(f, &result);
    if (b == NULL) {
        if (result == FEED_DRAINED)
            f->ready = false;
        return result;
    }
    feed_wake(f, b->rev);
    f->rev = b->rev;
    for (uint32_t i = 0; i < b->count; i++)
        watch_feed_dispatch(f, &b->events[i]);
    f->round_events += b->count;
    return FEED_MORE;
}

/* Reads until the budget is used up, nothing is left or, for a feed of the past, the
 * head is reached. */
static enum feed_result feed_read(struct watch_feed *f)
{
    struct watch_hub *h = f->hub;
    f->round_events = f->round_bytes = 0;
    while (f->round_events < ROUND_EVENTS && f->round_bytes < ROUND_BYTES) {
        if (h->head != f && h->head != NULL && f->rev >= h->head->rev)
            return FEED_DRAINED;
        enum feed_result result = feed_step(f);
        if (result != FEED_MORE)
            return result;
    }
    return FEED_MORE;
}

static void feed_reached_head(struct watch_feed *f)
{
    struct watch_hub *h = f->hub;
    struct watch_feed *head = hub_head(h);
    f->ready = false; /* Its cursor wakes it when there is more. */
    if (head == NULL || f->rev < head->rev)
        return;
    if (head->rev < f->rev)
        watch_feed_run(head);
    if (f->paused) /* Its stream filled up: it stays, and goes on with it. */
        return;
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): a head that was freed is not there any more. */
    if (h->head != NULL && h->head->rev == f->rev) {
        feed_merge(f);
    } else {
        f->ready = true;
        deferred_post(&h->thread->defer, &h->work);
    }
}

void watch_feed_run(struct watch_feed *f)
{
    struct watch_hub *h = f->hub;
    if (f->running || f->paused)
        return;
    f->running = true;
    enum feed_result result = feed_read(f);
    watch_feed_flush(f);
    /* First: who missed this round knows what it wants next, and must not be moved on. */
    detach_stalling(h);
    if (result == FEED_LOST) {
        feed_lost(f);
    } else if (result == FEED_MORE) {
        f->ready = true;
        deferred_post(&h->thread->defer, &h->work);
    } else if (f != h->head) {
        feed_reached_head(f);
    }
    f->running = false;
    feed_free_if_empty(f);
}

/* The rest of what is ready, a round of each feed. */
static void run_work(struct deferred *d)
{
    LOOP_CALLBACK("etcd watch");
    struct watch_hub *h = CONTAINER_OF(d, struct watch_hub, work);
    uint64_t turn = ++h->turn;
    for (bool again = true; again;) {
        again = false;
        LIST_FOREACH (it, &h->feeds) {
            struct watch_feed *f = LIST_ENTRY(it, struct watch_feed, link);
            /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is freed has left the list. */
            if (f->turn == turn || !f->ready || f->paused)
                continue;
            f->turn = turn;
            watch_feed_run(f); /* May edit the list: begin again. */
            again = true;
            break;
        }
    }
    if (h->head != NULL)
        feed_free_if_empty(h->head);
}

int64_t watch_hub_catch_up(struct watch_hub *h)
{
    struct watch_feed *head = hub_head(h);
    if (head == NULL)
        return 0;
    int64_t before;
    do {
        before = head->rev;
        watch_feed_run(head);
        if (h->head != head)
            return h->head != NULL ? h->head->rev : before;
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it is the head still, so it is there. */
    } while (head->rev != before && head->ready);
    return head->rev;
}

/* --- the hub --- */

struct watch_hub *etcd_watch_hub_new(struct etcd_thread *t)
{
    struct watch_hub *h = xzalloc(sizeof(*h));
    h->thread = t;
    h->progress_at_ms = UINT64_MAX;
    list_init(&h->feeds);
    list_init(&h->streams);
    list_init(&h->stalling);
    deferred_init(&h->work, run_work);
    return h;
}

void etcd_watch_hub_stop(struct watch_hub *h)
{
    ASSERT(list_empty(&h->streams));
    deferred_cancel(&h->work);
    LIST_FOREACH_SAFE (it, &h->feeds)
        feed_free(LIST_ENTRY(it, struct watch_feed, link));
}

void etcd_watch_hub_free(struct watch_hub *h)
{
    if (h == NULL)
        return;
    ASSERT(list_empty(&h->feeds) && list_empty(&h->streams));
    watch_send_done(h);
    free(h);
}

void watch_stream_add(struct watch_hub *h, struct watch_stream *s)
{
    s->hub = h;
    list_push_back(&h->streams, &s->link);
}

void watch_stream_remove(struct watch_stream *s)
{
    if (s->stalling)
        list_remove(&s->stall_link);
    else if (s->stalled)
        count_slow(s->hub, false);
    list_remove(&s->link);
}

/* --- progress --- */

uint64_t etcd_watch_hub_deadline(const struct watch_hub *h)
{
    return h->progress_at_ms;
}

void watch_hub_progress_soon(struct watch_hub *h, uint64_t at_ms)
{
    h->progress_at_ms = MIN_OF(h->progress_at_ms, at_ms);
    etcd_thread_arm(h->thread);
}

void etcd_watch_hub_tick(struct watch_hub *h, uint64_t now_ms)
{
    if (now_ms < h->progress_at_ms)
        return;
    h->progress_at_ms = UINT64_MAX;
    LIST_FOREACH (it, &h->streams) {
        struct watch_stream *s = LIST_ENTRY(it, struct watch_stream, link);
        if (s->progress_at_ms <= now_ms)
            watch_on_progress_due(s);
        h->progress_at_ms = MIN_OF(h->progress_at_ms, s->progress_at_ms);
    }
}
