/* log.h - the durable log: entries, term and vote, in append-only segments.
 *
 * One thread at a time: store_open() reads it, then the I/O thread owns it.
 * Every call blocks on the disk.
 *
 *   append/set_vote/reset  stage records in memory
 *   sync                   writes them as one batch, one fdatasync
 *
 * Happy path: a batch goes behind the last one in the current segment; a full
 * segment is followed by a new one, made under another name, synced, then renamed.
 * Nothing written is ever changed: a conflicting suffix is cut by appending over
 * it, a prefix by removing whole segments, in whose files later ones are written.
 *
 * Failures: when a write or fdatasync fails the staged records stay, and the
 * next sync tries again in a new segment whose header says that the failed
 * batch does not count - a page the kernel failed to write is never trusted
 * again. After a crash the last batch may be torn: it was never acknowledged
 * and is cut. Anything else that cannot be read is damage, and open refuses. */
#ifndef RAFTSTORE_LOG_H
#define RAFTSTORE_LOG_H

#include "lib/base/buf.h"

struct disk;
struct env;
struct error;
struct log;

struct log_entry {
    uint64_t index;
    uint64_t term;
    uint8_t kind; /* Opaque here: the consensus layer's entry type. */
    const uint8_t *data;
    uint32_t len; /* At most LOG_RECORD_PAYLOAD_MAX. */
};

struct log_config {
    struct disk *disk;
    struct env *env; /* Randomness. NULL: the system's. */
    const char *dir;
    uint64_t cluster_id;    /* For a new log. With an existing one: 0, or must match. */
    uint64_t member_id;     /* As cluster_id. 0: open only what exists. */
    bool joined;            /* For a new log: its member was added to a running cluster. */
    uint64_t segment_bytes; /* 0: 16 MiB. */
    bool no_fsync;          /* Tests and benchmarks only. */
};

struct log_state {
    uint64_t cluster_id;
    uint64_t member_id;
    uint64_t instance; /* Random at creation: tells whether a member still has its data. Not 0. */
    uint64_t term;
    uint64_t vote;        /* 0: nobody. */
    uint64_t boot;        /* How often the log was opened, this time included: durable. */
    uint64_t first_index; /* last_index + 1 when there are no entries. */
    uint64_t last_index;
    uint64_t last_term;
    uint64_t bytes; /* Taken on disk by all segments, without spares. */
    bool joined;    /* As at creation: such a member never founds a cluster. */
};

/* Creates or recovers, and counts this start. E_NOT_FOUND: nothing there and no member_id given.
 * E_CORRUPT: damage, err names file and offset. E_EXISTS: another process has
 * it. E_INVALID: another member's or cluster's, or a newer format. */
int log_open(const struct log_config *config, struct log **ret, struct error *err);
/* Marks what is durable as such. Staged records are dropped. */
void log_close(struct log *l);
/* As a crash would leave it: for tests. */
void log_abandon(struct log *l);

/* What the staged and the durable records make together. */
void log_state(const struct log *l, struct log_state *ret);

/* --- staging --- */
/* Consecutive indexes, the first at most last_index + 1; lower ones cut. */
void log_append(struct log *l, const struct log_entry *entries, uint32_t count);
void log_set_vote(struct log *l, uint64_t term, uint64_t vote);
/* Empties the log, which continues at index + 1: a snapshot took its place. */
void log_reset(struct log *l, uint64_t index, uint64_t term);
size_t log_staged_bytes(const struct log *l);

/* Makes everything staged durable; nothing staged is no I/O. On E_NO_SPACE and
 * E_IO the records stay staged: call again later. */
int log_sync(struct log *l, struct error *err);
/* Notes lazily, without fdatasync, that all batches are durable: lets damage to
 * the last one be told from a torn write. For idle moments. */
void log_mark(struct log *l);

/* Entries up to index are not needed: removes segments that hold no others. Their
 * files stay, as spares for the segments to come. */
void log_trim(struct log *l, uint64_t index);
/* Deletes one spare that is more than an idle log needs. False: there is none. */
bool log_tidy(struct log *l);
/* Deletes all spares: there is little room. False: there are none. */
bool log_tidy_all(struct log *l);

/* --- reading --- */
struct log_read {
    struct buf bytes;          /* What the entries' data points into. */
    struct log_entry *entries; /* Consecutive from the index asked for. */
    uint32_t count;
};
/* Durable entries from index on, at least one, then while they fit bytes_max.
 * E_NOT_FOUND: no such entry (trimmed or not there). */
int log_read(struct log *l, uint64_t index, uint64_t bytes_max, struct log_read *ret,
             struct error *err);
void log_read_done(struct log_read *r);

#endif
