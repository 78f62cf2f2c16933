/* watch_internal.h - what the files of watches share.
 *
 *   watch_hub.c      the hub: events of the log to those who could want them
 *   watch.c          one watcher: from its request to live, and its end
 *   watch_convert.c  watchers of kinds that webhooks convert
 *
 *   INITIAL --state of a view sent--> CATCH_UP --own cursor drained--> LIVE
 *      (rv unset or 0)                (rv given: starts here)        (fed by the hub)
 *                                          ^
 *                              HISTORY ----+ (rv older than the event log, or one object among
 *                                             many changes: what changed in the watched range,
 *                                             some at a time, from the store)
 *
 * The hub has one cursor for all live watchers of the thread. Until a watcher is live it reads the
 * log by a cursor of its own and at its own pace. Loop-confined. */
#ifndef APISERVER_WATCH_INTERNAL_H
#define APISERVER_WATCH_INTERNAL_H

#include "apiserver/custom/conversion.h"
#include "apiserver/list_options.h"
#include "apiserver/messages.h"
#include "apiserver/node_pods.h"
#include "apiserver/request.h"
#include "apiserver/watch.h"
#include "apiserver/watch_frame.h"
#include "lib/base/list.h"
#include "lib/base/map.h"

#define WATCH_SLICE_NS (2u * 1000u * 1000u) /* Of work, before others of the loop have a turn. */
#define WATCH_BOOKMARK_MS 60000u

struct event;
struct event_batch;
struct kv;
struct net_bytes;
struct store_cursor;
struct store_history;
struct store_iter;
struct store_view;

struct watch_bucket {
    struct list watchers;
};

struct hub_resource {
    struct list all;    /* Watchers without a narrower place. */
    struct map buckets; /* "n"NS, "o"NS/NAME, "p"NODE -> struct watch_bucket */
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
    bool stopping;
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
    struct watch_bucket *bucket; /* NULL: in the resource's list of all. */
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

/* --- watch_hub.c */
uint64_t watch_hub_now_ms(const struct watch_hub *h);
/* Of all watchers, whatever their state. */
void watch_hub_add(struct watcher *w);
void watch_hub_remove(struct watcher *w);
/* It is live from here on: the hub offers it what comes. */
void watch_hub_place(struct watcher *w);

/* --- watch.c */
/* A single object is watched, by its name. */
bool watcher_is_of_one(const struct watcher *w);
bool watcher_matches(struct watcher *w, const struct kv *kv, struct str ns, struct str name);
/* What the event is to this watcher; NULL: nothing, it is not told. */
struct net_bytes *watcher_frame_of(struct watcher *w, const struct event *e, struct str ns,
                                   struct str name, int64_t rev, struct frame_cache *cache,
                                   int64_t now_ns);
/* Takes b over; NULL is ignored. */
void watcher_send_frame(struct watcher *w, struct net_bytes *b);
void watcher_offer(struct watcher *w, const struct event *e, struct str ns, struct str name,
                   int64_t rev, struct frame_cache *cache, int64_t now_ns);
void watcher_send_bookmark(struct watcher *w, int64_t rev, bool initial_end);
/* True when the step that began at start (uv_hrtime()) has to wait: for the socket or for its next
 * turn. watcher_advance() comes then. */
bool watcher_must_wait(struct watcher *w, uint64_t start);
void watcher_advance(struct watcher *w);
/* Each ends it, and w is gone: in order, with an error, for being too slow. */
void watcher_end(struct watcher *w);
void watcher_end_with(struct watcher *w, struct meta_v1_status *s);
void watcher_cut_off(struct watcher *w);

/* --- watch_convert.c: a watcher that waits for webhooks never goes live. */
/* The steps of INITIAL, of events (of HISTORY too), and of CATCH_UP. True: all that there is now
 * is sent; false: it comes again later, or the watch has ended. */
bool watcher_step_initial_converted(struct watcher *w, uint64_t start);
bool watcher_send_events_converted(struct watcher *w, uint64_t start, bool *ret_lost);
void watcher_step_events_converted(struct watcher *w, uint64_t start);

#endif
