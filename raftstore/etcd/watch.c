/* watch.c - etcdserverpb.Watch: streams of many watchers, their requests and what is
 * said to them beside events. */
#include "raftstore/etcd/watch_hub.h"
#include "raftstore/etcd/server_private.h"
#include "raftstore/etcd/wire.h"

#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/net/bytes.h"

#include <stdio.h>
#include <string.h>

#define WATCHERS_MAX 250000              /* Of one stream, */
#define KEY_BYTES_MAX ((size_t)64 << 20) /* ... and their keys together. */
#define INVALID_ID (-1)                  /* Of no watcher, and of all. */

/* --- what is said --- */

/* A WatchResponse without events. */
struct notice {
    int64_t rev, watch_id, compact_rev;
    bool created, canceled;
    struct str reason;
};

static void say(struct watch_stream *s, const struct notice *n)
{
    if (!etcd_call_is_open(s->call))
        return;
    struct etcd_header h = etcd_header(s->call->thread, n->rev);
    h.rev = n->rev;
    size_t size = etcd_header_size(&h) + number_size(n->watch_id) + number_size(n->created) +
                  number_size(n->canceled) + number_size(n->compact_rev) +
                  (n->reason.len > 0 ? bytes_size(n->reason.len) : 0);
    struct net_bytes *b = net_bytes_new(size);
    uint8_t *p = etcd_header_put(net_bytes_edit(b), &h);
    p = number_put(p, 2, n->watch_id);
    p = number_put(p, 3, n->created);
    p = number_put(p, 4, n->canceled);
    p = number_put(p, 5, n->compact_rev);
    if (n->reason.len > 0)
        bytes_put(p, 6, n->reason);
    etcd_call_send(s->call, b);
}

/* What the stream's revision is at the moment: of the events told, or the store's. */
static int64_t store_rev(const struct watch_stream *s)
{
    struct store_view *v = store_view(etcd_thread_store(s->call->thread));
    int64_t rev = store_view_rev(v);
    store_view_unref(v);
    return rev;
}

/* --- watchers --- */

static struct str id_key(const int64_t *id)
{
    return str_n((const char *)id, sizeof(*id));
}

static void count_watchers(const struct watch_stream *s, int change)
{
    struct etcd_thread *t = s->call->thread;
    if (change > 0)
        atomic_fetch_add(&t->stat_watchers, 1);
    else
        atomic_fetch_sub(&t->stat_watchers, 1);
}

static void watcher_free(struct watcher *w)
{
    struct watch_stream *s = w->stream;
    watcher_stop(w);
    map_remove(&s->by_id, id_key(&w->id));
    list_remove(&w->in_stream);
    s->key_bytes -= w->key.len + w->range_end.len;
    count_watchers(s, -1);
    free(w->memory);
    free(w);
}

static struct watcher *watcher_new(struct watch_stream *s, int64_t id,
                                   const struct etcd_watch_request *r)
{
    struct watcher *w = xzalloc(sizeof(*w));
    w->stream = s;
    w->id = id;
    w->memory = xmalloc(r->key.len + r->range_end.len + 1);
    memcpy(w->memory, r->key.data, r->key.len);
    if (r->range_end.len > 0)
        memcpy(w->memory + r->key.len, r->range_end.data, r->range_end.len);
    w->key = str_n(w->memory, r->key.len);
    w->range_end = str_n(w->memory + r->key.len, r->range_end.len);
    w->options = (r->no_put ? WATCH_NO_PUT : 0u) | (r->no_delete ? WATCH_NO_DELETE : 0u) |
                 (r->prev_kv ? WATCH_PREV_KV : 0u);
    w->fragment = r->fragment;
    w->progress = r->progress_notify;
    w->quiet = true;
    list_init(&w->link);
    list_push_back(&s->watchers, &w->in_stream);
    map_set(&s->by_id, id_key(&w->id), w);
    s->key_bytes += w->key.len + w->range_end.len;
    count_watchers(s, 1);
    return w;
}

void watch_on_compacted(struct watcher *w, int64_t compact_rev)
{
    struct watch_stream *s = w->stream;
    const struct notice n = {.watch_id = w->id, .canceled = true, .compact_rev = compact_rev};
    say(s, &n);
    watcher_free(w);
}

/* --- creating --- */

/* The identifier to take, or why not. */
static const char *choose_id(struct watch_stream *s, const struct etcd_watch_request *r,
                             int64_t *ret)
{
    bool endless = r->range_end.len == 1 && r->range_end.data[0] == '\0';
    if (!str_empty(r->range_end) && !endless && str_cmp(r->key, r->range_end) >= 0)
        return "mvcc: watcher range is empty";
    if (s->by_id.count >= WATCHERS_MAX || s->key_bytes > KEY_BYTES_MAX)
        return "etcdserver: too many watchers on one stream";
    *ret = r->watch_id;
    if (*ret == 0) {
        while (map_has(&s->by_id, id_key(&s->next_id)))
            s->next_id++;
        *ret = s->next_id++;
    } else if (map_has(&s->by_id, id_key(ret))) {
        return "mvcc: duplicate watch ID provided on the WatchStream";
    }
    return NULL;
}

static void refuse(struct watch_stream *s, struct str reason)
{
    const struct notice n = {.rev = store_rev(s),
                             .watch_id = INVALID_ID,
                             .created = true,
                             .canceled = true,
                             .reason = reason};
    say(s, &n);
}

static bool permitted(struct watch_stream *s, const struct etcd_watch_request *r)
{
    const struct etcd_fault *fault = etcd_call_identify(s->call);
    if (fault == NULL)
        fault = etcd_check_range(&s->call->caller, AUTH_READ, r->key, r->range_end);
    if (fault == NULL)
        return true;
    refuse(s, arena_printf(etcd_call_arena(s->call), "rpc error: code = %s desc = %s",
                           grpc_status_text(fault->status), fault->text));
    return false;
}

static void schedule_progress(struct watch_stream *s)
{
    if (s->progress_at_ms != UINT64_MAX)
        return;
    /* Up to a tenth later, so that streams do not all speak at once. */
    uint64_t every = etcd_thread_config(s->call->thread)->watch_progress_ms;
    uint64_t jitter = every >= 10 ? env_random_below(env_system(), every / 10) : 0;
    s->progress_at_ms = etcd_thread_now(s->call->thread) + every + jitter;
    watch_hub_progress_soon(s->hub, s->progress_at_ms);
}

static void create(struct watch_stream *s, struct etcd_watch_request *r)
{
    if (str_empty(r->key))
        r->key = str_n("\0", 1);
    if (!permitted(s, r))
        return;
    int64_t id;
    const char *reason = choose_id(s, r, &id);
    if (reason != NULL) {
        refuse(s, str_of(reason));
        return;
    }
    int64_t rev = store_rev(s);
    struct watcher *w = watcher_new(s, id, r);
    w->next_rev = r->start_rev == 0 ? rev + 1 : MAX_OF(r->start_rev, 1);
    const struct notice n = {.rev = rev, .watch_id = id, .created = true};
    say(s, &n);
    if (w->progress)
        schedule_progress(s);
    watcher_start(w);
}

static void cancel(struct watch_stream *s, int64_t id)
{
    struct watcher *w = map_get(&s->by_id, id_key(&id));
    if (w == NULL)
        return;
    watcher_free(w);
    const struct notice n = {.rev = store_rev(s), .watch_id = id, .canceled = true};
    say(s, &n);
}

/* --- progress --- */

enum sync_state { SYNCED, BEHIND, AHEAD };

/* AHEAD: a watcher waits for a revision to come, so there is nothing to tell for now. */
static enum sync_state sync_state(const struct watch_stream *s)
{
    enum sync_state state = SYNCED;
    LIST_FOREACH (it, &s->watchers) {
        const struct watcher *w = LIST_ENTRY(it, struct watcher, in_stream);
        if (watcher_is_synced(w))
            continue;
        if (w->feed != NULL && w->group == NULL && w->next_rev > store_rev(s) + 1)
            return AHEAD;
        state = BEHIND;
    }
    return state;
}

/* Tells the revision up to which everything was told, to all watchers of the stream. */
static void tell_progress(struct watch_stream *s)
{
    if (list_empty(&s->watchers))
        return;
    int64_t rev = watch_hub_catch_up(s->hub);
    enum sync_state state = sync_state(s);
    s->progress_wanted = state == BEHIND;
    if (state != SYNCED)
        return;
    const struct notice n = {.rev = rev, .watch_id = INVALID_ID};
    say(s, &n);
}

void watch_on_synced(struct watch_stream *s)
{
    if (!s->progress_wanted || sync_state(s) != SYNCED)
        return;
    s->progress_wanted = false;
    struct watcher *first = LIST_ENTRY(s->watchers.next, struct watcher, in_stream);
    const struct notice n = {.rev = watch_feed_rev(first->feed), .watch_id = INVALID_ID};
    say(s, &n);
}

void watch_on_progress_due(struct watch_stream *s)
{
    s->progress_at_ms = UINT64_MAX;
    LIST_FOREACH (it, &s->watchers) {
        struct watcher *w = LIST_ENTRY(it, struct watcher, in_stream);
        if (!w->progress)
            continue;
        schedule_progress(s);
        if (w->quiet && watcher_is_synced(w)) {
            const struct notice n = {.rev = watch_feed_rev(w->feed), .watch_id = w->id};
            say(s, &n);
        }
        w->quiet = true;
    }
}

/* --- streams --- */

static void stream_free(struct watch_stream *s)
{
    struct etcd_call *c = s->call;
    LIST_FOREACH_SAFE (it, &s->watchers)
        watcher_free(LIST_ENTRY(it, struct watcher, in_stream));
    watch_stream_remove(s);
    atomic_fetch_sub(&c->thread->stat_watch_streams, 1);
    map_done(&s->by_id);
    free(s);
    c->user = NULL;
    etcd_call_release(c);
}

static void on_drain(struct etcd_call *c)
{
    LOOP_CALLBACK("etcd watch drain");
    struct watch_stream *s = c->user;
    if (s == NULL)
        return;
    if (s->paused) {
        s->paused = false;
        grpc_stream_resume(c->stream);
    }
    watch_stream_unstall(s);
}

static void watch_open(struct etcd_call *c)
{
    struct watch_stream *s = xzalloc(sizeof(*s));
    s->call = etcd_call_hold(c);
    s->progress_at_ms = UINT64_MAX;
    list_init(&s->watchers);
    list_init(&s->stall_link);
    map_init(&s->by_id);
    watch_stream_add(c->thread->hub, s);
    atomic_fetch_add(&c->thread->stat_watch_streams, 1);
    c->user = s;
    etcd_call_on_drain(c, WATCH_PENDING_LOW, on_drain);
}

static void watch_message(struct etcd_call *c, struct str message)
{
    struct watch_stream *s = c->user;
    struct etcd_watch_request r;
    const struct etcd_fault *fault = etcd_decode_watch(message, &r);
    if (fault != NULL) {
        etcd_call_fail(c, fault);
        stream_free(s);
        return;
    }
    switch (r.type) {
    case WATCH_CREATE:
        create(s, &r);
        break;
    case WATCH_CANCEL:
        cancel(s, r.watch_id);
        break;
    case WATCH_PROGRESS:
        tell_progress(s);
        break;
    case WATCH_NOTHING:
        break;
    }
    /* Who does not read answers is not asked for more requests. */
    if (etcd_call_is_open(c) && etcd_call_pending(c) > WATCH_PENDING_HIGH && !s->paused) {
        s->paused = true;
        grpc_stream_pause(c->stream);
    }
}

static void watch_gone(struct etcd_call *c)
{
    if (c->user != NULL)
        stream_free(c->user);
}

/* The client may say no more and still listen: half a close ends nothing. */
static const struct etcd_method METHODS[] = {
    {.path = "/etcdserverpb.Watch/Watch",
     .on_open = watch_open,
     .on_message = watch_message,
     .on_gone = watch_gone},
};
const struct etcd_service etcd_watch_service = {METHODS, ARRAY_SIZE(METHODS)};
