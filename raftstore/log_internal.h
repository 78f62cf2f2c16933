/* log_internal.h - what log.c and log_recover.c share. */
#ifndef RAFTSTORE_LOG_INTERNAL_H
#define RAFTSTORE_LOG_INTERNAL_H

#include "raftstore/failpoint.h"
#include "raftstore/log.h"
#include "raftstore/log_format.h"

#define LOG_SEGMENT_BYTES_DEFAULT (16u << 20)
#define LOG_LOCK_NAME "LOCK"
#define LOG_TMP_NAME "log.tmp"

struct log_segment {
    uint64_t number;
    uint64_t bytes; /* Room taken on disk. */
    uint64_t end;   /* Where its last batch ends. */
    uint32_t salt;
    bool reused; /* Bytes of a former life lie behind the last batch. */
};

/* From this batch on, entries with an index of at least `index` are found. The
 * list rises in both index and position; an entry between two marks belongs to
 * the lower one. Sparse: about one per LOG_FIND_BYTES. */
struct log_find {
    uint64_t index;
    uint64_t segment;
    uint64_t offset;
};
#define LOG_FIND_BYTES (32u << 10)

struct log {
    struct disk *disk;
    char *dir;
    uint64_t segment_bytes;
    bool no_fsync;
    int lock_fd;

    uint64_t cluster_id;
    uint64_t member_id;
    uint64_t instance;
    uint32_t salt; /* Of the segments that were made as new files. */
    bool joined;

    /* Log state with what is staged; `saved` is the part that is durable. */
    struct log_position {
        uint64_t term;
        uint64_t vote;
        uint64_t boot;
        uint64_t last_index;
        uint64_t last_term;
    } now, saved;

    struct log_segment *segments; /* Ascending, without gaps; the last is written to. */
    size_t segment_count;         /* Never 0 once open. */
    size_t segment_cap;
    struct log_spares {
        uint64_t *numbers;
        size_t count, cap;
        size_t settled; /* The first so many have their names for good. */
    } spares;
    struct log_find *finds;
    size_t find_count;
    size_t find_cap;

    int fd;         /* The last segment, -1 before the first. */
    bool must_roll; /* The last segment's tail cannot be trusted: go to a new one. */
    uint64_t seq;   /* Of the next batch. */
    uint64_t durable_seq;

    struct buf staged; /* A batch: room for its header, then records. Empty: none. */
    uint32_t staged_records;
    uint32_t staged_salt; /* Their checksums'. */
    struct log_effect {
        bool reset;
        uint64_t low; /* Lowest entry index since the reset, or UINT64_MAX. */
    } effect;
};

static inline struct log_segment *log_last(struct log *l)
{
    return &l->segments[l->segment_count - 1];
}
char *log_path(const struct log *l, const char *name);
char *log_segment_path(const struct log *l, uint64_t number);
void log_segment_push(struct log *l, const struct log_segment *s);
int log_sync_fd(struct log *l, enum failpoint f, int fd);
/* Starts segment number `last + 1`, with room for a batch of `need` bytes. */
int log_roll(struct log *l, size_t need, struct error *err);
/* Notes where the entries of a batch that was written are found. */
void log_find_note(struct log *l, const struct log_effect *effect, uint64_t before_last,
                   uint64_t segment, uint64_t offset);
/* Accounts a record in position and effect. False: it contradicts the position. */
bool log_record_account(const struct log_record *r, struct log_position *pos,
                        struct log_effect *effect);

/* --- log_spare.c --- */
#define LOG_SPARES_MAX 256
/* Those of an earlier process. */
void log_spares_find(struct log *l);
/* Gives a segment that is not needed another name, or deletes it. */
int log_spare_retire(struct log *l, const struct log_segment *s);
void log_spares_settle(struct log *l); /* Behind the last retire. */
/* A file number open for writing, and where the file lies; it is a spare no more.
 * -ENOENT: none is left. */
int log_spare_take(struct log *l, char **ret_path);
/* Deletes all but `keep`. Returns how many. */
size_t log_spares_drop(struct log *l, size_t keep);

/* Reads the segments that exist. E_NOT_FOUND when there are none. */
int log_recover(struct log *l, struct error *err);

#endif
