/* events.h - the one log of changes, and cursors that read it.
 *
 * One writer (the store thread) appends a batch per revision and publishes;
 * readers on any thread move cursors. Revisions in the log follow each other
 * without gaps. Reading is lock-free but for one short lock every
 * EVENT_CHUNK_BATCHES batches.
 *
 *   append, append ... publish -> count rises -> on_ready() once per sleeping cursor
 *
 * The log is cut at the old end by bytes and by age, chunk by chunk. A cursor
 * that stood there keeps its own chunk until it moves, then learns it is lost:
 * it never holds up the log, and holds at most one chunk of memory. */
#ifndef RAFTSTORE_EVENTS_H
#define RAFTSTORE_EVENTS_H

#include "raftstore/kv.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENT_CHUNK_BATCHES 256
#define EVENT_CHUNK_BYTES (256u << 10) /* A chunk is closed beyond. */

struct event_cursor;
struct event_log;

struct event_log_config {
    uint64_t bytes_max; /* Old chunks go beyond; 0: 64 MiB. */
    uint64_t age_ms;    /* ... and when their newest batch is older; 0: 10 minutes. */
};

struct event_log *event_log_new(const struct event_log_config *config, int64_t rev);
/* Every cursor must be gone. NULL is a no-op. */
void event_log_free(struct event_log *log);

/* [writer] Takes over the references in the events. rev is the last one plus 1. Not
 * seen by readers before event_log_publish(). */
void event_log_append(struct event_log *log, int64_t rev, const struct event *events,
                      uint32_t count);
/* [writer] Shows what was appended, trims, and wakes cursors. Publish the view
 * of the same revisions first: who sees an event must find it in the view. */
void event_log_publish(struct event_log *log, uint64_t now_ms);
/* [writer] The state was replaced by one at rev, not below the newest so far;
 * batches, borrowed and gap-free up to rev, are the history known of it (count
 * may be 0; nothing may be appended and unpublished). Cursors whose
 * position lies in it go on, others are lost; all are woken. */
void event_log_reset(struct event_log *log, int64_t rev, struct event_batch *const *batches,
                     size_t count, uint64_t now_ms);

/* [writer] Revisions below rev were compacted: their events go as well, once they
 * are a moment old, so that a reader at work does not lose its place. */
void event_log_compact(struct event_log *log, int64_t rev);
/* [writer] Cuts what is due to go, also while nothing is published. True: more is
 * going to be due by itself within the next EVENT_COMPACT_MS. */
bool event_log_trim(struct event_log *log, uint64_t now_ms);
#define EVENT_COMPACT_MS 3000

struct event_log_stats {
    uint64_t bytes;
    uint64_t cursors;
    int64_t first_rev; /* Oldest revision kept; last_rev + 1 when there is none. */
    int64_t last_rev;  /* Newest published. */
};
void event_log_stats(struct event_log *log, struct event_log_stats *ret); /* [any] */

/* --- cursors: [any], but each on one thread at a time --- */
/* Delivers batches with rev > after_rev, which may lie in the future. What is
 * there already is not announced: read until NULL first. From then on on_ready is
 * called once when there is something to read, and again only after
 * event_cursor_next() returned NULL anew. It runs on the writer's thread, inside
 * event_log_publish() and under a lock: it may only post a mail. NULL: no waking.
 * E_EXPIRED: revisions after after_rev are gone. */
int event_cursor_new(struct event_log *log, int64_t after_rev, void (*on_ready)(void *arg),
                     void *arg, struct event_cursor **ret);
/* From now on batches without an event that it wants do not wake the cursor, but for the first of
 * a chunk: so what it sleeps through is never cut. Reading gives them all the same. wants runs
 * where on_ready() does. */
void event_cursor_filter(struct event_cursor *c, bool (*wants)(void *arg, const struct event *e),
                         void *arg);
/* No on_ready() runs once it returned. NULL is a no-op. */
void event_cursor_free(struct event_cursor *c);
/* The next batch in order, or NULL once drained. Borrowed until the next call.
 * *ret_lost (never cleared): the log was cut beyond the cursor; NULL from then on. */
const struct event_batch *event_cursor_next(struct event_cursor *c, bool *ret_lost);
/* Every batch up to this revision was returned. */
int64_t event_cursor_rev(const struct event_cursor *c);

#endif
