/* tail.h - the replica's index of the log: every entry's term and size, and the
 * entries themselves as far back as memory allows.
 *
 * Pure, not thread-safe. Indexes first .. last stand on disk (or are on their
 * way); the payloads of cached .. last are in memory, older ones are read back. */
#ifndef RAFTSTORE_TAIL_H
#define RAFTSTORE_TAIL_H

#include "raftstore/entry.h"

#include <stdbool.h>
#include <stdint.h>

struct tail_slot;

struct tail {
    struct tail_slot *slots; /* A ring. */
    size_t cap, head, count;
    uint64_t first;       /* Index of the oldest slot; last + 1 when empty. */
    uint64_t cached;      /* Oldest entry in memory; last + 1 when none is. */
    uint64_t cache_bytes; /* Of the entries in memory. */
    uint64_t bytes;       /* Of all entries. */
    uint64_t base_index;  /* The snapshot's: its term is known too. */
    uint64_t base_term;
};

void tail_init(struct tail *t); /* Empty, continuing at index 1. */
void tail_done(struct tail *t);
/* Empty, continuing behind a snapshot. */
void tail_reset(struct tail *t, uint64_t index, uint64_t term);
static inline uint64_t tail_last(const struct tail *t)
{
    return t->first + t->count - 1;
}
/* Takes its own reference. e->index is last + 1, except in an empty tail without
 * base, whose first entry says where it starts. */
void tail_append(struct tail *t, struct entry *e);
/* Drops index and all behind it. */
void tail_cut(struct tail *t, uint64_t index);
/* Drops everything below index. */
void tail_trim(struct tail *t, uint64_t index);
/* Lets go of payloads, oldest first and none above `limit`, down to max_bytes. */
void tail_evict(struct tail *t, uint64_t max_bytes, uint64_t limit);
void tail_set_base(struct tail *t, uint64_t index, uint64_t term);

bool tail_has(const struct tail *t, uint64_t index);
/* 0 for an index that is neither in the tail nor the base. */
uint64_t tail_term(const struct tail *t, uint64_t index);
uint32_t tail_size(const struct tail *t, uint64_t index);        /* index is in the tail. */
enum entry_type tail_type(const struct tail *t, uint64_t index); /* index is in the tail. */
struct entry *tail_get(const struct tail *t, uint64_t index); /* Borrowed; NULL: not in memory. */

#endif
