/* watch_hub.h - fans the events of the store out to the watchers of one thread.
 *
 * Loop-confined. A feed is a cursor and an index of watchers that stand where it does:
 * one at the head of the event log, others for watchers that start in the past or
 * have fallen behind. A feed that reaches the head gives its watchers to the head's.
 *
 *   watch_add -> head (future ones wait there) <--merge-- feed of the past
 *                  |                                          ^
 *                  v  stream does not read                    | it reads again
 *               events ... -----------------> stalled --------/
 *
 * An event is encoded once per thread (once more for those who want the value
 * before) into a block that all messages refer to, or copy from while small. A stream
 * that does not read is never waited for and holds a bounded amount: its watchers
 * leave their feeds and come back where they were. */
#ifndef RAFTSTORE_ETCD_WATCH_HUB_H
#define RAFTSTORE_ETCD_WATCH_HUB_H

#include "raftstore/etcd/server_internal.h"
#include "raftstore/etcd/watch_index.h"

struct watch_feed;
struct watch_stream;

/* Of one stream beyond which its watchers leave their feeds, and come back. */
#define WATCH_PENDING_HIGH ((size_t)512 << 10)
#define WATCH_PENDING_LOW ((size_t)128 << 10)

struct watcher {
    struct list link;          /* In its group, when active. */
    struct heap_node by_start; /* In its feed's heap, while it waits for next_rev. */
    struct watch_stream *stream;
    struct watch_feed *feed;   /* NULL: stalled. */
    struct watch_group *group; /* NULL: not active. */
    int64_t id;
    int64_t next_rev; /* While not active: the first revision it wants. */
    char *memory;
    struct str key, range_end;
    unsigned options; /* WATCH_* */
    bool fragment, progress;
    bool quiet;  /* Nothing was sent since the last progress notification. */
    bool missed; /* The events of this round, for its stream was stalled. */
    struct list in_stream;
};

struct watch_stream {
    struct etcd_call *call; /* Held. */
    struct watch_hub *hub;
    struct list link; /* In the hub. */
    struct list watchers;
    struct map by_id;
    size_t key_bytes; /* Of all its watchers. */
    int64_t next_id;
    bool stalled;
    bool stalling;          /* Since this round: its watchers are to leave. */
    struct list stall_link; /* In the hub's list, then. */
    bool paused;            /* Its requests wait. */
    bool progress_wanted;   /* Once all its watchers are synced. */
    uint64_t progress_at_ms;
};

void watch_stream_add(struct watch_hub *h, struct watch_stream *s);
void watch_stream_remove(struct watch_stream *s); /* Without watchers. */
/* The stream reads again: its watchers go on. */
void watch_stream_unstall(struct watch_stream *s);

/* w->next_rev is set and its stream knows it. It may be canceled later (compaction):
 * watch_on_compacted() of watch.c. */
void watcher_start(struct watcher *w);
void watcher_stop(struct watcher *w); /* Not freed. */

/* Delivers what is there. The revision up to which synced watchers were told all. */
int64_t watch_hub_catch_up(struct watch_hub *h);
/* At the head, and not waiting for a revision to come. */
bool watcher_is_synced(const struct watcher *w);
int64_t watch_feed_rev(const struct watch_feed *f);
void watch_hub_progress_soon(struct watch_hub *h, uint64_t at_ms);

/* watch.c: the watcher ends, its revisions are gone up to compact_rev. Frees it. */
void watch_on_compacted(struct watcher *w, int64_t compact_rev);
/* watch.c: a stream's watchers may be synced now. */
void watch_on_synced(struct watch_stream *s);
void watch_on_progress_due(struct watch_stream *s);

#endif
