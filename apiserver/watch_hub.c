/* watch_hub.c - see watch_internal.h: the hub.
 *
 * An event is looked up by resource and then only offered to those who could want it: the ones of
 * all namespaces, of its namespace, of its name, and (pods) of its node. A live watcher that lets
 * too many bytes pile up is cut off. */
#include "apiserver/watch_internal.h"

#include "apiserver/aggregation/keeper.h"
#include "apiserver/custom/keeper.h"
#include "apiserver/custom/set.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/server_metrics.h"
#include "apiserver/wire.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/net/http_server.h"
#include "raftstore/store.h"

#define BUDGET_BYTES (16u << 20) /* A live watcher behind by more is cut off. */
#define TICK_MS 250u
#define BOOKMARK_BEFORE_END_MS 2000u

uint64_t watch_hub_now_ms(const struct watch_hub *h)
{
    return env_now_ms(h->thread->server->env);
}

/* --- places -------------------------------------------------------------------------------- */

static struct str place_key(struct watcher *w)
{
    struct arena *a = w->r->arena;
    struct str node = node_pods_selected(w->form.res, &w->o);
    bool namespaced = w->form.res->kind->namespaced;
    if (watcher_is_of_one(w))
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

void watch_hub_place(struct watcher *w)
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

/* --- events to watchers --------------------------------------------------------------------- */

static void offer_list(struct list *l, const struct event *e, struct str ns, struct str name,
                       int64_t rev, struct frame_cache *cache, int64_t now_ns)
{
    LIST_FOREACH_SAFE (it, l) {
        struct watcher *w = LIST_ENTRY(it, struct watcher, place);
        watcher_offer(w, e, ns, name, rev, cache, now_ns);
        if (http_response_pending(w->r->http) > BUDGET_BYTES)
            watcher_cut_off(w);
    }
}

static void offer_bucket(struct hub_resource *hr, struct str key, const struct event *e,
                         struct str ns, struct str name, int64_t rev, struct frame_cache *cache,
                         int64_t now_ns)
{
    struct watch_bucket *b = hr->count != 0 ? map_get(&hr->buckets, key) : NULL;
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
        watcher_offer(w, e, ns, name, rev, cache, now_ns);
        if (http_response_pending(w->r->http) > BUDGET_BYTES)
            watcher_cut_off(w);
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
        watcher_end_with(w, status_gone_rv(w->r->arena, w->after_rev, store_cursor_rev(h->cursor)));
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
            watcher_end(w);
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
        if (uv_hrtime() - start > WATCH_SLICE_NS) {
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
    uint64_t now = watch_hub_now_ms(h);
    LIST_FOREACH_SAFE (it, &h->watchers) {
        struct watcher *w = LIST_ENTRY(it, struct watcher, link);
        if (now >= w->deadline_ms) {
            watcher_end(w);
            continue;
        }
        bool before_end =
            w->deadline_ms - now <= BOOKMARK_BEFORE_END_MS && w->deadline_ms != UINT64_MAX;
        if (is_up_to_date(w) && w->o.bookmarks && (now >= w->bookmark_ms || before_end)) {
            int64_t rev = store_cursor_rev(w->state == WATCHER_LIVE ? h->cursor : w->cursor);
            if (rev > w->after_rev)
                watcher_send_bookmark(w, rev, false);
            /* One is enough before the end. */
            w->bookmark_ms = before_end ? UINT64_MAX : now + WATCH_BOOKMARK_MS;
            if (before_end)
                w->after_rev = MAX_OF(w->after_rev, rev);
        }
    }
}

void watch_hub_add(struct watcher *w)
{
    struct watch_hub *h = w->hub;
    list_push_back(&h->watchers, &w->link);
    if (h->count++ == 0) {
        atomic_store(&h->watched, true);
        deferred_post(&h->thread->defer, &h->again); /* What the cursor slept through. */
        uv_timer_start(&h->tick, on_tick, TICK_MS, TICK_MS);
    }
    server_metrics_watchers(w->r, 1);
}

void watch_hub_remove(struct watcher *w)
{
    struct watch_hub *h = w->hub;
    if (w->state == WATCHER_LIVE)
        unplace(w);
    list_remove(&w->link);
    server_metrics_watchers(w->r, -1);
    if (--h->count == 0) {
        atomic_store(&h->watched, false);
        uv_timer_stop(&h->tick);
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
        watcher_end(LIST_ENTRY(it, struct watcher, link));
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
