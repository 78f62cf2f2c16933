/* compactor.h - when to discard history by itself: etcd's --auto-compaction.
 *
 * Pure: asked now and then for the revision to compact to. By time: what was
 * written longer ago than the retention, compacted once per retention (at least every
 * hour), at a tenth of that accurate (or a 500th of a retention of days).
 * By revisions: all but the newest ones, every five minutes. Only the leader
 * compacts; the others keep count, in case they lead one day. */
#ifndef RAFTSTORE_COMPACTOR_H
#define RAFTSTORE_COMPACTOR_H

#include <stdbool.h>
#include <stdint.h>

#define COMPACTOR_SAMPLES 1024

struct compactor {
    bool by_time; /* Else by revisions. */
    int64_t retention;
    uint64_t look_ms;    /* Between two looks. */
    uint64_t compact_ms; /* Between two compactions. */
    uint64_t due_ms;     /* The next look, */
    uint64_t compact_due_ms;
    struct compactor_sample {
        uint64_t at_ms;
        int64_t rev;
    } samples[COMPACTOR_SAMPLES]; /* Oldest first. */
    uint32_t count;
    int64_t compacted; /* Asked for last. */
};

/* retention: milliseconds or revisions, above 0. */
void compactor_init(struct compactor *c, bool by_time, int64_t retention, uint64_t now_ms);
/* Looks when it is time to: call at due_ms or any time. The revision to compact to,
 * or 0. A compaction that failed is asked for again at the next look after
 * compactor_failed(). */
int64_t compactor_look(struct compactor *c, uint64_t now_ms, int64_t rev, bool is_leader);
void compactor_failed(struct compactor *c);

#endif
