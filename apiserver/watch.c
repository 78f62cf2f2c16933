/* watch.c - watches; see watch.h.
 *
 * Length: one machine of states, all of whose steps share the watcher's private state.
 *
 *   INITIAL --state of a view sent--> CATCH_UP --own cursor drained--> LIVE
 *      (rv unset or 0)                (rv given: starts here)        (fed by the hub)
 *                                          ^
 *                              HISTORY ----+ (rv older than the event log, or one object among
 *                                             many changes: what changed in the watched range,
 *                                             some at a time, from the store)
 *
 * The hub has one cursor for all live watchers of the thread. An event is
 * looked up by resource and then only offered to those who could want it: the
 * ones of all namespaces, of its namespace, of its name, and (pods) of its
 * node. Until a watcher is live it reads the log by a cursor of its own and at
 * its own pace. A live one that lets too many bytes pile up is cut off.
 *
 * Where a webhook may have to convert what is seen, a watcher never goes live:
 * it waits for the webhook as it waits for its socket, and for nobody else. */
#include "apiserver/watch.h"

#include "apiserver/aggregation/keeper.h"
#include "apiserver/custom/conversion.h"
#include "apiserver/custom/keeper.h"
#include "apiserver/custom/set.h"
#include "apiserver/custom/stored.h"
#include "apiserver/encryption.h"
#include "apiserver/flow_control.h"
#include "apiserver/list_options.h"
#include "apiserver/messages.h"
#include "apiserver/node_pods.h"
#include "apiserver/request.h"
#include "apiserver/server_metrics.h"
#include "apiserver/watch_frame.h"
#include "apiserver/wire.h"
#include "apiserver/encode.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/list.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"
#include "raftstore/store.h"
#include "raftstore/store_history.h"

#include <inttypes.h>

#define BUDGET_BYTES (16u << 20)  /* A live watcher behind by more is cut off. */
#define WINDOW_BYTES (256u << 10) /* Others wait for the socket at this much. */
#define SLICE_NS (2u * 1000u * 1000u)
#define TICK_MS 250u
#define HISTORY_EVENTS 8192u /* In one portion, and */
#define HISTORY_KEYS 1024u   /* looked at for it between looks at the clock. */
#define LOG_EVENTS_MAX 256   /* A watcher of one object looks through so many for its own. */
#define BOOKMARK_MS 60000u
#define BOOKMARK_BEFORE_END_MS 2000u

struct bucket {
    struct list watchers;
};

struct hub_resource {
    struct list all;    /* Watchers without a narrower place. */
    struct map buckets; /* "n"NS, "o"NS/NAME, "p"NODE -> struct bucket */
    size_t count;
};

struct watch_hub {
    struct server_thread *thread;
    struct store_cursor *cursor;
    struct hub_resource **resources; /* By index of the primary resource; NULL: nobody watches. */
    size_t resource_cap;
    struct list watchers; /* All, whatever their state. */
    size_t count;
    atomic_bool watched; /* count is not 0; the store's thread asks. */
    uv_timer_t tick;
    bool ticking, stopping;
    struct deferred again;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

enum watcher_state { WATCHER_INITIAL, WATCHER_HISTORY, WATCHER_CATCH_UP, WATCHER_LIVE };

struct watcher {
    struct list link;  /* In hub->watchers. */
    struct list place; /* In a bucket once live. */
    struct watch_hub *hub;
    struct req *r;
    enum watcher_state state;
    struct watch_form form;
    struct list_options o;
    struct bucket *bucket; /* NULL: in the resource's list of all. */
    struct str bucket_key;
    int64_t after_rev; /* Deliver what is newer. */
    bool columns_sent;
    struct messages messages;
    bool end_bookmark; /* Owed behind the initial events. */
    uint64_t deadline_ms, bookmark_ms;
    /* INITIAL */
    struct store_view *view;
    struct store_iter *it; /* Gone once it is at its end. */
    struct arena *scratch;
    int64_t wanted_rev;    /* The pods of a node are asked for at this or later; 0: they are not. */
    struct node_pods pods; /* Instead of it, in scratch; kvs NULL: not so. */
    size_t pod_at;
    /* HISTORY */
    struct store_history *history;
    /* CATCH_UP */
    struct store_cursor *cursor;
    struct deferred again;
    /* Of kinds that webhooks convert. */
    bool converts, asking;
    struct conversions conversions;
    const struct kv **kvs; /* INITIAL: CONVERSION_OBJECTS_MAX, not sent yet. */
    size_t kv_at, kv_count;
    const struct event_batch *batch; /* CATCH_UP: being sent, from event_at on. */
    uint32_t event_at;
};

static void advance(struct watcher *w);

static uint64_t now_ms(const struct watch_hub *h)
{
    return env_now_ms(h->thread->server->env);
}

/* --- places -------------------------------------------------------------------------------- */
static bool one_object(const struct watcher *w)
{
    return w->o.has_name && (w->o.has_ns || !w->form.res->kind->namespaced);
}

static struct str place_key(struct watcher *w)
{
    struct arena *a = w->r->arena;
    struct str node = node_pods_selected(w->form.res, &w->o);
    bool namespaced = w->form.res->kind->namespaced;
    if (one_object(w))
        return arena_printf(a, "o" STR_FMT "/" STR_FMT, STR_ARG(namespaced ? w->o.ns : STR("")),
                            STR_ARG(w->o.name));
    if (node.len != 0)
        return arena_printf(a, "p" STR_FMT, STR_ARG(node));
    if (w->o.has_ns && namespaced)
        return arena_printf(a, "n" STR_FMT, STR_ARG(w->o.ns));
    return STR_NULL;
}

/* Custom kinds come with indexes of their own, at any time. */
static struct hub_resource *hub_resource(struct watch_hub *h, uint32_t index)
{
    if (index >= h->resource_cap) {
        size_t cap = MAX_OF((size_t)index + 1, h->resource_cap * 2);
        h->resources = xrealloc((void *)h->resources, cap * sizeof(*h->resources));
        memset((void *)(h->resources + h->resource_cap), 0,
               (cap - h->resource_cap) * sizeof(*h->resources));
        h->resource_cap = cap;
    }
    if (h->resources[index] == NULL)
        h->resources[index] = xzalloc(sizeof(*h->resources[index]));
    return h->resources[index];
}

static void place(struct watcher *w)
{
    struct hub_resource *hr = hub_resource(w->hub, w->form.res->primary->index);
    if (hr->count++ == 0) {
        list_init(&hr->all);
        map_init(&hr->buckets);
    }
    w->bucket_key = place_key(w);
    if (w->bucket_key.len == 0) {
        list_push_back(&hr->all, &w->place);
        return;
    }
    w->bucket = map_get(&hr->buckets, w->bucket_key);
    if (w->bucket == NULL) {
        w->bucket = xzalloc(sizeof(*w->bucket));
        list_init(&w->bucket->watchers);
        map_set(&hr->buckets, w->bucket_key, w->bucket);
    }
    list_push_back(&w->bucket->watchers, &w->place);
}

static void unplace(struct watcher *w)
{
    struct hub_resource *hr = hub_resource(w->hub, w->form.res->primary->index);
    list_remove(&w->place);
    if (w->bucket != NULL && list_empty(&w->bucket->watchers)) {
        map_remove(&hr->buckets, w->bucket_key);
        free(w->bucket);
    }
    w->bucket = NULL;
    if (--hr->count == 0)
        map_done(&hr->buckets);
}

/* --- ends --------------------------------------------------------------------------------------
 */
static void detach(struct watcher *w)
{
    if (w->state == WATCHER_LIVE)
        unplace(w);
    list_remove(&w->link);
    store_view_unref(w->view);
    w->view = NULL;
    deferred_cancel(&w->again);
    store_cursor_free(w->cursor);
    w->cursor = NULL;
    store_history_free(w->history);
    w->history = NULL;
    conversions_drop(&w->conversions);
    arena_free(w->scratch);
    w->scratch = NULL;
    free(take(w->it));
    w->hub->count--;
    if (w->hub->count == 0)
        atomic_store(&w->hub->watched, false);
    server_metrics_watchers(w->r, -1);
    if (w->hub->count == 0 && w->hub->ticking) {
        uv_timer_stop(&w->hub->tick);
        w->hub->ticking = false;
    }
}

static void end(struct watcher *w)
{
    struct req *r = w->r;
    detach(w);
    req_done(r, 200);
    http_response_end(r->http);
}

static void cut_off(struct watcher *w)
{
    struct req *r = w->r;
    log_info("watch of %s by " STR_FMT " cut off: %zu bytes behind", w->form.res->kind->resource,
             STR_ARG(r->user->name), http_response_pending(r->http));
    detach(w);
    req_done(r, 200);
    http_response_abort(r->http);
}

/* Frames of protobuf say their length in front, where messages know it. */
static void write_frame(struct watcher *w, struct net_bytes *b)
{
    size_t skip =
        w->messages.wanted && w->form.accept.media == MEDIA_PROTOBUF ? FRAME_LENGTH_BYTES : 0;
    http_response_write_part(w->r->http, b, skip, b->len - skip);
    net_bytes_unref(b);
}

static void end_with(struct watcher *w, struct meta_v1_status *s)
{
    write_frame(w, frame_error(&w->form, s));
    end(w);
}

static void on_abort(struct http_request *http, void *arg)
{
    UNUSED(http);
    end(arg);
}

/* --- delivery
 * -------------------------------------------------------------------------------------- */
static void send_frame(struct watcher *w, struct net_bytes *b)
{
    if (b == NULL)
        return;
    write_frame(w, b);
    w->columns_sent = true;
    w->bookmark_ms = now_ms(w->hub) + BOOKMARK_MS;
}

static void send_bookmark(struct watcher *w, int64_t rev, bool initial_end)
{
    send_frame(w, frame_bookmark(&w->form, rev, initial_end, !w->columns_sent));
}

static bool matches(struct watcher *w, const struct kv *kv, struct str ns, struct str name)
{
    AUTO_ARENA *a = w->o.fields.count != 0 || w->converts ? arena_new(0) : NULL;
    return list_options_match(&w->o, a, w->form.res, stored_value(kv), ns, name);
}

/* What a change means to one watcher; NULL: nothing. */
static const char *judge(struct watcher *w, const struct event *e, struct str ns, struct str name,
                         const struct kv **ret_shown)
{
    bool was = e->prev != NULL && kv_version(e->prev) != 0 && matches(w, e->prev, ns, name);
    bool is = event_type(e) == EVENT_PUT && matches(w, e->kv, ns, name);
    if (!was && !is)
        return NULL;
    *ret_shown = is ? e->kv : e->prev;
    return is ? (was ? "MODIFIED" : "ADDED") : "DELETED";
}

/* NULL: the watcher is not told. */
static struct net_bytes *frame_of(struct watcher *w, const struct event *e, struct str ns,
                                  struct str name, int64_t rev, struct frame_cache *cache,
                                  int64_t now_ns)
{
    const struct kv *shown;
    if (rev <= w->after_rev)
        return NULL;
    const char *type = judge(w, e, ns, name, &shown);
    if (type == NULL)
        return NULL;
    bool columns = w->form.accept.transform == AS_TABLE && !w->columns_sent;
    return frame_object(cache, &w->form, type, stored_value(shown), rev, columns, now_ns);
}

static void offer(struct watcher *w, const struct event *e, struct str ns, struct str name,
                  int64_t rev, struct frame_cache *cache, int64_t now_ns)
{
    send_frame(w, frame_of(w, e, ns, name, rev, cache, now_ns));
}

static void offer_list(struct list *l, const struct event *e, struct str ns, struct str name,
                       int64_t rev, struct frame_cache *cache, int64_t now_ns)
{
    LIST_FOREACH_SAFE (it, l) {
        struct watcher *w = LIST_ENTRY(it, struct watcher, place);
        offer(w, e, ns, name, rev, cache, now_ns);
        if (http_response_pending(w->r->http) > BUDGET_BYTES)
            cut_off(w);
    }
}

static void offer_bucket(struct hub_resource *hr, struct str key, const struct event *e,
                         struct str ns, struct str name, int64_t rev, struct frame_cache *cache,
                         int64_t now_ns)
{
    struct bucket *b = hr->count != 0 ? map_get(&hr->buckets, key) : NULL;
    if (b == NULL)
        return;
    /* The bucket goes with its last watcher, which may be cut off here. */
    struct list stay;
    list_init(&stay);
    list_push_front(&b->watchers, &stay);
    LIST_FOREACH_SAFE (it, &b->watchers) {
        if (it == &stay)
            continue;
        struct watcher *w = LIST_ENTRY(it, struct watcher, place);
        offer(w, e, ns, name, rev, cache, now_ns);
        if (http_response_pending(w->r->http) > BUDGET_BYTES)
            cut_off(w);
    }
    list_remove(&stay);
    if (list_empty(&b->watchers)) {
        if (hr->count != 0)
            map_remove(&hr->buckets, key);
        free(b);
    }
}

static struct str pod_node(const struct kv *kv)
{
    struct str raw;
    if (kv == NULL || !kv_live(kv) || stored_raw(stored_value(kv), &raw, NULL) != 0)
        return STR_NULL;
    return wire_bytes(wire_bytes(raw, 2), 10); /* spec.nodeName */
}

static void bucket_name(struct buf *b, char form, struct str x, struct str y)
{
    buf_clear(b);
    buf_putc(b, form);
    buf_append_str(b, x);
    if (form == 'o') {
        buf_putc(b, '/');
        buf_append_str(b, y);
    }
}

static void dispatch(struct watch_hub *h, const struct event *e, int64_t rev, int64_t now_ns)
{
    struct str ns, name;
    const struct resource *res = registry_by_key(kv_key(e->kv), &ns, &name);
    if (res == NULL || res->index >= h->resource_cap || h->resources[res->index] == NULL ||
        h->resources[res->index]->count == 0)
        return;
    struct hub_resource *hr = h->resources[res->index];
    struct frame_cache cache = {.count = 0};
    AUTO_BUF key = BUF_INIT;
    offer_list(&hr->all, e, ns, name, rev, &cache, now_ns);
    if (hr->count != 0 && hr->buckets.count != 0) {
        bucket_name(&key, 'n', ns, STR_NULL);
        offer_bucket(hr, buf_str(&key), e, ns, name, rev, &cache, now_ns);
        bucket_name(&key, 'o', ns, name);
        offer_bucket(hr, buf_str(&key), e, ns, name, rev, &cache, now_ns);
        if (strcmp(res->kind->resource, "pods") == 0) {
            struct str node = pod_node(e->kv), old = pod_node(e->prev);
            bucket_name(&key, 'p', node, STR_NULL);
            if (node.len != 0)
                offer_bucket(hr, buf_str(&key), e, ns, name, rev, &cache, now_ns);
            bucket_name(&key, 'p', old, STR_NULL);
            if (old.len != 0 && !str_eq(old, node))
                offer_bucket(hr, buf_str(&key), e, ns, name, rev, &cache, now_ns);
        }
    }
    frame_cache_clear(&cache);
}

/* --- the hub
 * -------------------------------------------------------------------------------------------- */
static int open_cursor(struct watch_hub *h, struct error *err);

static void lost(struct watch_hub *h)
{
    struct error err = {0};
    if (h->count != 0)
        log_warning("the watch hub fell out of the event history; its watches end");
    LIST_FOREACH_SAFE (it, &h->watchers) {
        struct watcher *w = LIST_ENTRY(it, struct watcher, link);
        end_with(w, status_gone_rv(w->r->arena, w->after_rev, store_cursor_rev(h->cursor)));
    }
    store_cursor_free(h->cursor);
    h->cursor = NULL;
    if (open_cursor(h, &err) != 0)
        PANIC("no event cursor: %s", error_message(&err));
}

/* A watch ends when its kind is no longer served as it was: the client comes
 * again and finds the new form, or that it is gone. */
static void end_stale(struct watch_hub *h)
{
    LIST_FOREACH_SAFE (it, &h->watchers) {
        struct watcher *w = LIST_ENTRY(it, struct watcher, link);
        const struct api_kind *k = w->form.res->kind;
        if (w->form.res->custom != NULL &&
            registry_find(str_of(k->group), str_of(k->version), str_of(k->resource)) != w->form.res)
            end(w);
    }
}

void watch_hub_customs_changed(struct watch_hub *h)
{
    custom_keeper_sync(h->thread);
    aggregated_sync(h->thread);
    end_stale(h);
}

static void drain(struct watch_hub *h)
{
    LOOP_CALLBACK("watch hub");
    uint64_t start = uv_hrtime();
    int64_t now_ns = env_wall_ns(h->thread->server->env);
    const struct event_batch *b;
    bool is_lost = false;
    while ((b = store_cursor_next(h->cursor, &is_lost)) != NULL) {
        for (uint32_t i = 0; i < b->count; i++) {
            if (h->count != 0)
                dispatch(h, &b->events[i], b->rev, now_ns);
            if (str_has_prefix(kv_key(b->events[i].kv), STR(CUSTOM_DEFINITIONS)))
                watch_hub_customs_changed(h);
            else
                aggregated_notice(h->thread, kv_key(b->events[i].kv));
        }
        if (uv_hrtime() - start > SLICE_NS) {
            deferred_post(&h->thread->defer, &h->again);
            return;
        }
    }
    if (is_lost) {
        lost(h);
        watch_hub_customs_changed(h);
    }
}

static void on_events(void *arg)
{
    struct watch_hub *h = arg;
    drain(h);
}

static void hub_again(struct deferred *d)
{
    drain(CONTAINER_OF(d, struct watch_hub, again));
}

/* On the store's thread. */
static bool hub_wants(void *arg, const struct event *e)
{
    struct watch_hub *h = arg;
    return atomic_load(&h->watched) || str_has_prefix(kv_key(e->kv), STR(CUSTOM_DEFINITIONS)) ||
           aggregated_wants(kv_key(e->kv));
}

static int open_cursor(struct watch_hub *h, struct error *err)
{
    struct store *s = h->thread->server->store;
    struct store_view *v = store_view(s);
    int64_t rev = store_view_rev(v);
    store_view_unref(v);
    int code = store_cursor_new(s, rev, &h->thread->mailbox, on_events, h, &h->cursor, err);
    if (code == 0)
        store_cursor_filter(h->cursor, hub_wants);
    return code;
}

/* All that its cursor has read is sent. */
static bool is_up_to_date(const struct watcher *w)
{
    return w->state == WATCHER_LIVE ||
           (w->converts && w->state == WATCHER_CATCH_UP && w->batch == NULL);
}

static void on_tick(uv_timer_t *t)
{
    struct watch_hub *h = t->data;
    uint64_t now = now_ms(h);
    LIST_FOREACH_SAFE (it, &h->watchers) {
        struct watcher *w = LIST_ENTRY(it, struct watcher, link);
        if (now >= w->deadline_ms) {
            end(w);
            continue;
        }
        bool before_end =
            w->deadline_ms - now <= BOOKMARK_BEFORE_END_MS && w->deadline_ms != UINT64_MAX;
        if (is_up_to_date(w) && w->o.bookmarks && (now >= w->bookmark_ms || before_end)) {
            int64_t rev = store_cursor_rev(w->state == WATCHER_LIVE ? h->cursor : w->cursor);
            if (rev > w->after_rev)
                send_bookmark(w, rev, false);
            /* One is enough before the end. */
            w->bookmark_ms = before_end ? UINT64_MAX : now + BOOKMARK_MS;
            if (before_end)
                w->after_rev = MAX_OF(w->after_rev, rev);
        }
    }
}

int watch_hub_new(struct server_thread *t, struct watch_hub **ret, struct error *err)
{
    struct watch_hub *h = xzalloc(sizeof(*h));
    h->thread = t;
    list_init(&h->watchers);
    deferred_init(&h->again, hub_again);
    int code = open_cursor(h, err);
    if (code != 0) {
        free(h);
        return code;
    }
    uv_timer_init(&t->loop, &h->tick);
    h->tick.data = h;
    *ret = h;
    return 0;
}

void watch_hub_stop(struct watch_hub *h)
{
    h->stopping = true;
    LIST_FOREACH_SAFE (it, &h->watchers) {
        end(LIST_ENTRY(it, struct watcher, link));
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct watch_hub *h = handle->data;
    void (*cb)(void *) = h->on_closed;
    void *arg = h->closed_arg;
    for (size_t i = 0; i < h->resource_cap; i++)
        free(h->resources[i]);
    free((void *)h->resources);
    free(h);
    if (cb != NULL)
        cb(arg);
}

void watch_hub_close(struct watch_hub *h, void (*on_closed)(void *arg), void *arg)
{
    ASSERT(list_empty(&h->watchers));
    h->on_closed = on_closed;
    h->closed_arg = arg;
    deferred_cancel(&h->again);
    store_cursor_free(h->cursor);
    uv_close((uv_handle_t *)&h->tick, on_timer_closed);
}

/* --- a watcher's way to LIVE
 * --------------------------------------------------------------------------- */
static void go_live(struct watcher *w)
{
    w->after_rev = MAX_OF(w->after_rev, store_cursor_rev(w->cursor));
    store_cursor_free(w->cursor);
    w->cursor = NULL;
    w->state = WATCHER_LIVE;
    place(w);
    flow_request_finish(w->r); /* From here on it costs those who write. */
}

static void on_drain(struct http_request *http, void *arg)
{
    http_response_on_drain(http, 0, NULL, NULL);
    advance(arg);
}

/* True when the step has to wait: for the socket or for its next turn. */
static bool must_wait(struct watcher *w, uint64_t start)
{
    if (http_response_pending(w->r->http) >= WINDOW_BYTES) {
        http_response_on_drain(w->r->http, WINDOW_BYTES / 2, on_drain, w);
        return true;
    }
    if (uv_hrtime() - start > SLICE_NS) {
        deferred_post(&w->hub->thread->defer, &w->again);
        return true;
    }
    return false;
}

/* --- watchers that webhooks convert for -------------------------------------------------- */
static void on_converted(void *arg)
{
    struct watcher *w = arg;
    w->asking = false;
    advance(w);
}

/* True: what was looked at inside of the conversions counts. False: it is to be
 * done again later, or the watch has ended. */
static bool is_converted(struct watcher *w)
{
    if (conversions_ask(&w->conversions, on_converted, w)) {
        w->asking = true;
        return false;
    }
    struct meta_v1_status *s = conversions_failure(&w->conversions, w->r->arena);
    if (s == NULL)
        return true;
    end_with(w, s);
    return false;
}

static bool next_batch(struct watcher *w)
{
    struct str ns, name;
    const struct kv *kv;
    w->kv_at = w->kv_count = 0;
    conversions_drop(&w->conversions);
    while (w->kv_count < CONVERSION_OBJECTS_MAX && (kv = store_iter_next(w->it)) != NULL)
        if (registry_by_key(kv_key(kv), &ns, &name) != NULL)
            w->kvs[w->kv_count++] = kv;
    return w->kv_count != 0;
}

static void send_initial(struct watcher *w, const struct kv *kv, struct net_bytes **ret)
{
    struct str ns, name;
    bool columns = w->form.accept.transform == AS_TABLE && !w->columns_sent;
    if (registry_by_key(kv_key(kv), &ns, &name) != NULL && matches(w, kv, ns, name))
        *ret = frame_object(NULL, &w->form, "ADDED", stored_value(kv), kv->mod_rev, columns,
                            w->r->now_ns);
}

/* As step_initial(). All of a batch is asked about at once, then sent. */
static bool step_initial_converted(struct watcher *w, uint64_t start)
{
    while (w->kv_at < w->kv_count || next_batch(w)) {
        conversions_enter(&w->conversions);
        for (size_t i = w->kv_at; w->kv_at == 0 && i < w->kv_count; i++) {
            AUTO_ARENA *a = arena_new(0);
            void *ignored;
            if (custom_stored_converts(w->form.res, stored_value(w->kvs[i])))
                (void)stored_decode(a, w->form.res, stored_value(w->kvs[i]), 0, &ignored, NULL);
        }
        conversions_leave();
        if (!is_converted(w))
            return false;
        while (w->kv_at < w->kv_count) {
            struct net_bytes *frame = NULL;
            conversions_enter(&w->conversions);
            send_initial(w, w->kvs[w->kv_at++], &frame);
            conversions_leave();
            send_frame(w, frame);
        }
        if (must_wait(w, start))
            return false;
    }
    if (w->end_bookmark)
        send_bookmark(w, w->after_rev, true);
    return true;
}

static const struct event_batch *next_events(struct watcher *w, bool *ret_lost)
{
    return w->state == WATCHER_HISTORY ? store_history_next(w->history)
                                       : store_cursor_next(w->cursor, ret_lost);
}

/* True: all that there is now is sent. */
static bool send_events_converted(struct watcher *w, uint64_t start, bool *ret_lost)
{
    struct str ns, name;
    for (;;) {
        if (w->batch == NULL) {
            w->batch = next_events(w, ret_lost);
            w->event_at = 0;
        }
        if (w->batch == NULL)
            return true;
        for (; w->event_at < w->batch->count; w->event_at++) {
            const struct event *e = &w->batch->events[w->event_at];
            struct net_bytes *frame = NULL;
            if (registry_by_key(kv_key(e->kv), &ns, &name) != w->form.res->primary)
                continue;
            conversions_enter(&w->conversions);
            frame = frame_of(w, e, ns, name, w->batch->rev, NULL, w->r->now_ns);
            conversions_leave();
            if (!is_converted(w)) {
                net_bytes_unref(frame);
                return false;
            }
            conversions_drop(&w->conversions);
            send_frame(w, frame);
        }
        w->batch = NULL;
        if (must_wait(w, start))
            return false;
    }
}

/* As step_catch_up(), but it stays at its own cursor. */
static void step_events_converted(struct watcher *w, uint64_t start)
{
    bool is_lost = false;
    if (send_events_converted(w, start, &is_lost) && is_lost)
        end_with(w, status_gone_rv(w->r->arena, w->after_rev, store_cursor_rev(w->hub->cursor)));
}

static const struct kv *next_initial(struct watcher *w)
{
    if (w->pods.kvs == NULL)
        return store_iter_next(w->it);
    return w->pod_at < w->pods.count ? w->pods.kvs[w->pod_at++] : NULL;
}

static bool step_initial(struct watcher *w, uint64_t start)
{
    struct str ns, name;
    const struct kv *kv;
    while ((kv = next_initial(w)) != NULL) {
        if (registry_by_key(kv_key(kv), &ns, &name) != NULL && matches(w, kv, ns, name)) {
            bool columns = w->form.accept.transform == AS_TABLE && !w->columns_sent;
            send_frame(w, frame_object(NULL, &w->form, "ADDED", stored_value(kv), kv->mod_rev,
                                       columns, w->r->now_ns));
        }
        if (must_wait(w, start))
            return false;
    }
    if (w->end_bookmark)
        send_bookmark(w, w->after_rev, true);
    return true;
}

static bool step_catch_up(struct watcher *w, uint64_t start)
{
    const struct event_batch *b;
    bool is_lost = false;
    struct str ns, name;
    while ((b = store_cursor_next(w->cursor, &is_lost)) != NULL) {
        for (uint32_t i = 0; i < b->count; i++) {
            const struct resource *res = registry_by_key(kv_key(b->events[i].kv), &ns, &name);
            if (res == w->form.res->primary)
                offer(w, &b->events[i], ns, name, b->rev, NULL, w->r->now_ns);
        }
        if (must_wait(w, start))
            return false;
    }
    if (!is_lost)
        return true;
    end_with(w, status_gone_rv(w->r->arena, w->after_rev, store_cursor_rev(w->hub->cursor)));
    return false;
}

static bool send_history(struct watcher *w, uint64_t start)
{
    const struct event_batch *b;
    struct str ns, name;
    while ((b = store_history_next(w->history)) != NULL) {
        for (uint32_t i = 0; i < b->count; i++) {
            const struct resource *res = registry_by_key(kv_key(b->events[i].kv), &ns, &name);
            if (res == w->form.res->primary)
                offer(w, &b->events[i], ns, name, b->rev, NULL, w->r->now_ns);
        }
        if (must_wait(w, start))
            return false;
    }
    return true;
}

/* True: this part of the history is sent. */
static bool step_history(struct watcher *w, uint64_t start)
{
    bool is_lost = false;
    while (store_history_step(w->history, HISTORY_KEYS))
        if (must_wait(w, start))
            return false;
    if (w->converts ? !send_events_converted(w, start, &is_lost) : !send_history(w, start))
        return false;
    w->after_rev = MAX_OF(w->after_rev, store_history_rev(w->history));
    store_history_free(w->history);
    w->history = NULL;
    return true;
}

/* Where the event log does not reach back, or would be a detour. */
static int start_history(struct watcher *w, struct store_view *v)
{
    struct str from, end;
    list_options_range(w->r->arena, &w->o, w->form.res, w->r->info.ns, &from, &end);
    int code = store_history_new_range(v, from, end, w->after_rev, HISTORY_EVENTS, &w->history);
    if (code == 0)
        w->state = WATCHER_HISTORY;
    return code;
}

static void on_own_events(void *arg)
{
    struct watcher *w = arg;
    /* Otherwise advance() reads until drained and then goes live. */
    if (w->converts && !w->asking)
        advance(w);
}

static void start_cursor(struct watcher *w)
{
    struct req *r = w->r;
    struct error err = {0};
    struct store_view *v = store_view(r->server->store);
    int64_t newest = store_view_rev(v), after = MIN_OF(w->after_rev, newest);
    /* A watch may last for hours: it must not keep old state alive. */
    store_view_unref(w->view);
    w->view = NULL;
    free(take(w->it));
    arena_free(w->scratch);
    w->scratch = NULL;
    w->pods.kvs = NULL;
    w->state = WATCHER_CATCH_UP;
    int code = E_EXPIRED;
    /* The store finds the changes of one object by its key; the log tells them among all others. */
    if (one_object(w) && newest - after > LOG_EVENTS_MAX)
        code = start_history(w, v);
    if (code == E_EXPIRED)
        code = store_cursor_new_recent(r->server->store, after, &r->thread->mailbox, on_own_events,
                                       w, &w->cursor);
    if (code == E_EXPIRED)
        code = start_history(w, v);
    store_view_unref(v);
    if (code != 0) {
        end_with(w, code == E_EXPIRED ? status_gone_rv(r->arena, w->after_rev, newest)
                                      : status_from_code(r->arena, code, error_message(&err)));
        return;
    }
    if (w->converts && w->state == WATCHER_CATCH_UP)
        flow_request_finish(r); /* It never goes live. */
    advance(w);
}

static void advance(struct watcher *w)
{
    LOOP_CALLBACK("watch: catch up");
    uint64_t start = uv_hrtime();
    if (w->asking)
        return; /* From the socket, while the webhook has yet to answer. */
    if (w->state == WATCHER_INITIAL) {
        if (w->converts ? step_initial_converted(w, start) : step_initial(w, start))
            start_cursor(w);
        return;
    }
    if (w->state == WATCHER_HISTORY) {
        if (step_history(w, start))
            start_cursor(w);
        return;
    }
    if (w->state == WATCHER_CATCH_UP && w->converts) {
        step_events_converted(w, start);
        return;
    }
    if (w->state == WATCHER_CATCH_UP && step_catch_up(w, start))
        go_live(w);
}

static void again(struct deferred *d)
{
    advance(CONTAINER_OF(d, struct watcher, again));
}

static void start(struct req *r);

static void start_again(void *arg)
{
    start(((struct watcher *)arg)->r);
}

/* False: start() comes again. The state at its beginning is that of one node's pods, where only
 * those are watched. */
static bool find_pods(struct watcher *w, const struct store_view *v)
{
    struct str node = node_pods_selected(w->form.res, &w->o);
    if (node.len == 0)
        return true;
    if (w->wanted_rev == 0)
        w->wanted_rev = store_view_rev(v);
    if (w->scratch == NULL)
        w->scratch = arena_new(0);
    return node_pods_find(w->r, w->scratch, v, node, w->wanted_rev, start_again, w, &w->pods) !=
           NODE_PODS_LATER;
}

static void start(struct req *r)
{
    struct watcher *w = r->http->user;
    struct watch_hub *h = w->hub;
    struct str from, end_key;
    bool initial = w->o.has_initial_events ? w->o.initial_events : !w->o.has_rv || w->o.rv == 0;
    req_release_views(r);
    struct store_view *v = store_view(r->server->store);
    if (initial && w->o.has_rv && w->o.rv > store_view_rev(v)) {
        req_status(r, status_rv_too_large(r->arena, w->o.rv, store_view_rev(v)));
        store_view_unref(v);
        return;
    }
    if (initial && !find_pods(w, v)) {
        store_view_unref(v);
        return;
    }
    w->after_rev = w->pods.kvs != NULL       ? w->pods.rev
                   : initial || !w->o.has_rv ? store_view_rev(v)
                                             : w->o.rv;
    w->end_bookmark = initial && w->o.bookmarks;
    w->view = v;
    w->state = WATCHER_INITIAL;
    r->long_running = true;
    req_headers(r,
                w->form.accept.media == MEDIA_PROTOBUF ? TYPE_PROTOBUF ";stream=watch" : TYPE_JSON);
    messages_start(r, &w->messages, 200);
    list_push_back(&h->watchers, &w->link);
    if (h->count++ == 0) {
        atomic_store(&h->watched, true);
        deferred_post(&h->thread->defer, &h->again); /* What the cursor slept through. */
    }
    server_metrics_watchers(r, 1);
    http_request_on_abort(r->http, on_abort, w);
    if (!h->ticking) {
        h->ticking = true;
        uv_timer_start(&h->tick, on_tick, TICK_MS, TICK_MS);
    }
    if (!initial) {
        start_cursor(w);
        return;
    }
    if (w->pods.kvs != NULL) {
        advance(w);
        return;
    }
    list_options_range(r->arena, &w->o, r->res, r->info.ns, &from, &end_key);
    w->it = xzalloc(sizeof(*w->it));
    if (store_iter_init(w->it, v, from, end_key, 0) != 0)
        end_with(w, status_gone_rv(r->arena, w->after_rev, w->after_rev));
    else
        advance(w);
}

static uint64_t deadline(struct req *r, int64_t asked_s)
{
    if (asked_s > 0)
        return env_now_ms(r->server->env) + (uint64_t)MIN_OF(asked_s, 365 * 86400) * 1000;
    /* So that not all clients come back at once. */
    uint64_t min_ms = (uint64_t)MAX_OF(r->server->config.min_request_timeout_s, 1) * 1000;
    return env_now_ms(r->server->env) + min_ms + env_random_below(r->server->env, min_ms);
}

void watch_handle(struct req *r)
{
    struct watcher *w = ARENA_NEW(r->arena, struct watcher);
    struct watch_hub *h = r->thread->hub;
    w->r = r;
    w->hub = h;
    w->form = (struct watch_form){.res = r->res, .accept = r->accept};
    w->converts = conversions_needed(r->res);
    w->conversions.thread = r->thread;
    /* Others stay within the request's first memory: there may be tens of thousands of them. */
    if (w->converts)
        w->kvs = ARENA_ARRAY(r->arena, const struct kv *, CONVERSION_OBJECTS_MAX);
    list_init(&w->link);
    list_init(&w->place);
    deferred_init(&w->again, again);
    struct meta_v1_status *s = list_options_parse(r, true, &w->o);
    if (s == NULL && r->accept.media == MEDIA_YAML)
        s = status_new(r->arena, 406, "NotAcceptable",
                       STR("only the following media types are accepted: " TYPE_JSON
                           ";stream=watch, " TYPE_PROTOBUF ";stream=watch"));
    if (s == NULL && !table_include_parse(req_query(r, "includeObject"), &w->form.include))
        s = status_bad_request(r->arena, "invalid includeObject");
    if (s == NULL)
        s = messages_for_watch(r, r->accept.media != MEDIA_PROTOBUF, &w->messages);
    if (s == NULL && h->stopping)
        s = status_unavailable(r->arena, "the server is shutting down");
    if (s != NULL) {
        req_status(r, s);
        return;
    }
    if (w->form.accept.transform == AS_PARTIAL_LIST)
        w->form.accept.transform = AS_PARTIAL;
    w->form.accept.pretty = false;
    w->deadline_ms = deadline(r, w->o.timeout_s);
    w->bookmark_ms = env_now_ms(r->server->env) + BOOKMARK_MS;
    r->http->user = w;
    struct store_view *v = req_view(r);
    /* Without a version the state must be the newest; with one, any that has it. */
    if (w->o.has_rv && w->o.rv <= store_view_rev(v))
        start(r);
    else
        req_barrier(r, start);
}
