/* batch.h - many commands in one log entry, each with the name of its proposal.
 *
 * Pure. A proposal is named (origin, boot, seq): the member, its start, a rising
 * number. Commands of one origin with consecutive numbers share a run's header:
 *
 *   batch: run | run | ...
 *   run:   origin boot first_seq (varints) count (4 bytes) | length bytes | ...
 *
 * Batches may simply be put behind each other. */
#ifndef RAFTSTORE_BATCH_H
#define RAFTSTORE_BATCH_H

#include "raftstore/wire.h"

#include <stdint.h>

struct batch_command {
    uint64_t origin, boot, seq; /* None is 0. */
    struct str bytes;           /* Borrowed from the batch. */
};

struct batch_writer {
    struct buf *out;
    uint64_t origin, boot, next_seq;
    size_t count_at; /* Where the open run's count stands in out. */
    uint32_t count;  /* Of the open run; 0: none is open. */
};

void batch_begin(struct batch_writer *w, struct buf *out); /* Appends to out. */
void batch_add(struct batch_writer *w, const struct batch_command *c);

struct batch_reader {
    struct wire w;
    uint64_t origin, boot, seq;
    uint32_t left; /* Commands left in the run. */
};

void batch_open(struct batch_reader *r, struct str bytes);
/* False at the end, and when the bytes are no batch: then batch_failed(). */
bool batch_next(struct batch_reader *r, struct batch_command *ret);
static inline bool batch_failed(const struct batch_reader *r)
{
    return r->w.bad;
}
/* Reads it all. Every origin must be `origin` unless that is 0. */
bool batch_valid(struct str bytes, uint64_t origin, uint32_t *ret_count);

#endif
