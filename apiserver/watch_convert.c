/* watch_convert.c - see watch_internal.h: where a webhook may have to convert what is seen, a
 * watcher waits for it as it waits for its socket, and for nobody else. */
#include "apiserver/watch_internal.h"

#include "apiserver/custom/stored.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "lib/base/arena.h"
#include "lib/net/bytes.h"
#include "raftstore/store.h"
#include "raftstore/store_history.h"

static void on_converted(void *arg)
{
    struct watcher *w = arg;
    w->asking = false;
    watcher_advance(w);
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
    watcher_end_with(w, s);
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
    if (registry_by_key(kv_key(kv), &ns, &name) != NULL && watcher_matches(w, kv, ns, name))
        *ret = frame_object(NULL, &w->form, "ADDED", stored_value(kv), kv->mod_rev, columns,
                            w->r->now_ns);
}

/* As step_initial(). All of a batch is asked about at once, then sent. */
bool watcher_step_initial_converted(struct watcher *w, uint64_t start)
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
            watcher_send_frame(w, frame);
        }
        if (watcher_must_wait(w, start))
            return false;
    }
    if (w->end_bookmark)
        watcher_send_bookmark(w, w->after_rev, true);
    return true;
}

static const struct event_batch *next_events(struct watcher *w, bool *ret_lost)
{
    return w->state == WATCHER_HISTORY ? store_history_next(w->history)
                                       : store_cursor_next(w->cursor, ret_lost);
}

/* True: all that there is now is sent. */
bool watcher_send_events_converted(struct watcher *w, uint64_t start, bool *ret_lost)
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
            frame = watcher_frame_of(w, e, ns, name, w->batch->rev, NULL, w->r->now_ns);
            conversions_leave();
            if (!is_converted(w)) {
                net_bytes_unref(frame);
                return false;
            }
            conversions_drop(&w->conversions);
            watcher_send_frame(w, frame);
        }
        w->batch = NULL;
        if (watcher_must_wait(w, start))
            return false;
    }
}

/* As step_catch_up(), but it stays at its own cursor. */
void watcher_step_events_converted(struct watcher *w, uint64_t start)
{
    bool is_lost = false;
    if (watcher_send_events_converted(w, start, &is_lost) && is_lost)
        watcher_end_with(
            w, status_gone_rv(w->r->arena, w->after_rev, store_cursor_rev(w->hub->cursor)));
}
