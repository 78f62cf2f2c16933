/* watch_hub_internal.h - what watch_hub.c and watch_send.c share. */
#ifndef RAFTSTORE_ETCD_WATCH_HUB_INTERNAL_H
#define RAFTSTORE_ETCD_WATCH_HUB_INTERNAL_H

#include "raftstore/etcd/server_private.h"
#include "raftstore/etcd/watch_hub.h"

struct event;

/* Reads the event log by a cursor; from before that, windows of history first. */
struct watch_feed {
    struct watch_hub *hub;
    struct list link;
    struct store_cursor *cursor;   /* NULL: history. */
    struct store_history *history; /* NULL: cursor. */
    bool history_built;
    struct watch_stream *stream; /* Whose watchers alone it has had; NULL: of several. */
    bool paused;                 /* That stream does not read. */
    struct watch_index index;
    struct heap waiting; /* Watchers for revisions to come. */
    size_t watchers;     /* Active and waiting. */
    int64_t rev;         /* Read so far. */
    int64_t sent_rev;    /* And sent: the same between rounds. */
    bool ready;          /* There may be more to read. */
    bool running;
    uint64_t turn;
    /* This round. */
    size_t round_events, round_bytes;
    struct list dirty; /* Groups with slices. */
};

struct watch_hub {
    struct etcd_thread *thread;
    struct watch_feed *head; /* NULL while nobody watches. */
    struct list feeds;       /* With the head. */
    struct list streams;
    struct list stalling;
    struct deferred work;
    uint64_t turn;
    uint64_t progress_at_ms;
    size_t slow_streams;
    /* Blocks of the feed that is running: encoded events. The last one is being filled. */
    struct net_bytes **blocks;
    size_t block_count, block_cap, block_used;
};

void watch_feed_run(struct watch_feed *f);
/* Encodes the event for the groups that want it. */
void watch_feed_dispatch(struct watch_feed *f, const struct event *e);
/* Sends what was dispatched. May stall streams. */
void watch_feed_flush(struct watch_feed *f);
bool watch_feed_is_private(const struct watch_feed *f);
void watch_stream_stall(struct watch_stream *s);
void watch_send_done(struct watch_hub *h);

#endif
