/* watch.c - see watch_internal.h: one watcher, from its request to live, and its end. */
#include "apiserver/watch_internal.h"

#include "apiserver/encryption.h"
#include "apiserver/flow_control.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"
#include "raftstore/store.h"
#include "raftstore/store_history.h"

#define WINDOW_BYTES (256u << 10) /* Others wait for the socket at this much. */
#define HISTORY_EVENTS 8192u      /* In one portion, and */
#define HISTORY_KEYS 1024u        /* looked at for it between looks at the clock. */
#define LOG_EVENTS_MAX 256        /* A watcher of one object looks through so many for its own. */

bool watcher_is_of_one(const struct watcher *w)
{
    return w->o.has_name && (w->o.has_ns || !w->form.res->kind->namespaced);
}

/* --- ends --------------------------------------------------------------------------------------
 */
static void detach(struct watcher *w)
{
    watch_hub_remove(w);
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
}

void watcher_end(struct watcher *w)
{
    struct req *r = w->r;
    detach(w);
    req_done(r, 200);
    http_response_end(r->http);
}

void watcher_cut_off(struct watcher *w)
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

void watcher_end_with(struct watcher *w, struct meta_v1_status *s)
{
    write_frame(w, frame_error(&w->form, s));
    watcher_end(w);
}

static void on_abort(struct http_request *http, void *arg)
{
    UNUSED(http);
    watcher_end(arg);
}

/* --- delivery
 * -------------------------------------------------------------------------------------- */
void watcher_send_frame(struct watcher *w, struct net_bytes *b)
{
    if (b == NULL)
        return;
    write_frame(w, b);
    w->columns_sent = true;
    w->bookmark_ms = watch_hub_now_ms(w->hub) + WATCH_BOOKMARK_MS;
}

void watcher_send_bookmark(struct watcher *w, int64_t rev, bool initial_end)
{
    watcher_send_frame(w, frame_bookmark(&w->form, rev, initial_end, !w->columns_sent));
}

bool watcher_matches(struct watcher *w, const struct kv *kv, struct str ns, struct str name)
{
    AUTO_ARENA *a = w->o.fields.count != 0 || w->converts ? arena_new(0) : NULL;
    return list_options_match(&w->o, a, w->form.res, stored_value(kv), ns, name);
}

/* What a change means to one watcher; NULL: nothing. */
static const char *judge(struct watcher *w, const struct event *e, struct str ns, struct str name,
                         const struct kv **ret_shown)
{
    bool was = e->prev != NULL && kv_version(e->prev) != 0 && watcher_matches(w, e->prev, ns, name);
    bool is = event_type(e) == EVENT_PUT && watcher_matches(w, e->kv, ns, name);
    if (!was && !is)
        return NULL;
    *ret_shown = is ? e->kv : e->prev;
    return is ? (was ? "MODIFIED" : "ADDED") : "DELETED";
}

/* NULL: the watcher is not told. */
struct net_bytes *watcher_frame_of(struct watcher *w, const struct event *e, struct str ns,
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

void watcher_offer(struct watcher *w, const struct event *e, struct str ns, struct str name,
                   int64_t rev, struct frame_cache *cache, int64_t now_ns)
{
    watcher_send_frame(w, watcher_frame_of(w, e, ns, name, rev, cache, now_ns));
}

/* --- a watcher's way to LIVE
 * --------------------------------------------------------------------------- */
static void go_live(struct watcher *w)
{
    w->after_rev = MAX_OF(w->after_rev, store_cursor_rev(w->cursor));
    store_cursor_free(w->cursor);
    w->cursor = NULL;
    w->state = WATCHER_LIVE;
    watch_hub_place(w);
    flow_request_finish(w->r); /* From here on it costs those who write. */
}

static void on_drain(struct http_request *http, void *arg)
{
    http_response_on_drain(http, 0, NULL, NULL);
    watcher_advance(arg);
}

/* True when the step has to wait: for the socket or for its next turn. */
bool watcher_must_wait(struct watcher *w, uint64_t start)
{
    if (http_response_pending(w->r->http) >= WINDOW_BYTES) {
        http_response_on_drain(w->r->http, WINDOW_BYTES / 2, on_drain, w);
        return true;
    }
    if (uv_hrtime() - start > WATCH_SLICE_NS) {
        deferred_post(&w->hub->thread->defer, &w->again);
        return true;
    }
    return false;
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
        if (registry_by_key(kv_key(kv), &ns, &name) != NULL && watcher_matches(w, kv, ns, name)) {
            bool columns = w->form.accept.transform == AS_TABLE && !w->columns_sent;
            watcher_send_frame(w, frame_object(NULL, &w->form, "ADDED", stored_value(kv),
                                               kv->mod_rev, columns, w->r->now_ns));
        }
        if (watcher_must_wait(w, start))
            return false;
    }
    if (w->end_bookmark)
        watcher_send_bookmark(w, w->after_rev, true);
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
                watcher_offer(w, &b->events[i], ns, name, b->rev, NULL, w->r->now_ns);
        }
        if (watcher_must_wait(w, start))
            return false;
    }
    if (!is_lost)
        return true;
    watcher_end_with(w,
                     status_gone_rv(w->r->arena, w->after_rev, store_cursor_rev(w->hub->cursor)));
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
                watcher_offer(w, &b->events[i], ns, name, b->rev, NULL, w->r->now_ns);
        }
        if (watcher_must_wait(w, start))
            return false;
    }
    return true;
}

/* True: this part of the history is sent. */
static bool step_history(struct watcher *w, uint64_t start)
{
    bool is_lost = false;
    while (store_history_step(w->history, HISTORY_KEYS))
        if (watcher_must_wait(w, start))
            return false;
    if (w->converts ? !watcher_send_events_converted(w, start, &is_lost) : !send_history(w, start))
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
    /* Otherwise watcher_advance() reads until drained and then goes live. */
    if (w->converts && !w->asking)
        watcher_advance(w);
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
    if (watcher_is_of_one(w) && newest - after > LOG_EVENTS_MAX)
        code = start_history(w, v);
    if (code == E_EXPIRED)
        code = store_cursor_new_recent(r->server->store, after, &r->thread->mailbox, on_own_events,
                                       w, &w->cursor);
    if (code == E_EXPIRED)
        code = start_history(w, v);
    store_view_unref(v);
    if (code != 0) {
        watcher_end_with(w, code == E_EXPIRED
                                ? status_gone_rv(r->arena, w->after_rev, newest)
                                : status_from_code(r->arena, code, error_message(&err)));
        return;
    }
    if (w->converts && w->state == WATCHER_CATCH_UP)
        flow_request_finish(r); /* It never goes live. */
    watcher_advance(w);
}

void watcher_advance(struct watcher *w)
{
    LOOP_CALLBACK("watch: catch up");
    uint64_t start = uv_hrtime();
    if (w->asking)
        return; /* From the socket, while the webhook has yet to answer. */
    if (w->state == WATCHER_INITIAL) {
        if (w->converts ? watcher_step_initial_converted(w, start) : step_initial(w, start))
            start_cursor(w);
        return;
    }
    if (w->state == WATCHER_HISTORY) {
        if (step_history(w, start))
            start_cursor(w);
        return;
    }
    if (w->state == WATCHER_CATCH_UP && w->converts) {
        watcher_step_events_converted(w, start);
        return;
    }
    if (w->state == WATCHER_CATCH_UP && step_catch_up(w, start))
        go_live(w);
}

static void again(struct deferred *d)
{
    watcher_advance(CONTAINER_OF(d, struct watcher, again));
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
    watch_hub_add(w);
    http_request_on_abort(r->http, on_abort, w);
    if (!initial) {
        start_cursor(w);
        return;
    }
    if (w->pods.kvs != NULL) {
        watcher_advance(w);
        return;
    }
    list_options_range(r->arena, &w->o, r->res, r->info.ns, &from, &end_key);
    w->it = xzalloc(sizeof(*w->it));
    if (store_iter_init(w->it, v, from, end_key, 0) != 0)
        watcher_end_with(w, status_gone_rv(r->arena, w->after_rev, w->after_rev));
    else
        watcher_advance(w);
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
    w->bookmark_ms = env_now_ms(r->server->env) + WATCH_BOOKMARK_MS;
    r->http->user = w;
    struct store_view *v = req_view(r);
    /* Without a version the state must be the newest; with one, any that has it. */
    if (w->o.has_rv && w->o.rv <= store_view_rev(v))
        start(r);
    else
        req_barrier(r, start);
}
