/* log_format.h - the bytes of a log segment. Pure: no I/O.
 *
 *   segment: header (512 bytes) | batch | batch | ... | zeros
 *   batch:   header (40 bytes)  | record | record | ...     aligned to 8
 *   record:  header (32 bytes)  | payload | padding to 8
 *
 * All integers are little-endian. A batch is what one fdatasync makes durable.
 * Batches carry consecutive sequence numbers, and each says up to which number
 * everything was durable when it was made. That tells a torn tail from damage:
 * a batch that cannot be read was never acknowledged unless a later header says
 * that it was durable.
 *
 * Checksums start from the segment's salt. Values come from users, so without it a
 * value could hold bytes that pass for a batch. In version 1 it is the log's own,
 * drawn at random. A segment of version 2 lies in a file that held an older one,
 * whose bytes stand behind the last batch instead of zeros: its number is added to
 * the log's salt, so that none of them, in whatever mixture a torn write leaves,
 * has a right checksum. What needs no version 2 is written in version 1. */
#ifndef RAFTSTORE_LOG_FORMAT_H
#define RAFTSTORE_LOG_FORMAT_H

#include "lib/base/base.h"

struct buf;
struct error;

#define LOG_FORMAT_VERSION 2
#define LOG_SEGMENT_HEADER_BYTES 512
#define LOG_BATCH_HEADER_BYTES 40
#define LOG_RECORD_HEADER_BYTES 32
#define LOG_ALIGN 8
#define LOG_RECORD_PAYLOAD_MAX (64u << 20)
#define LOG_BATCH_BODY_MAX (256u << 20)

enum log_record_type {
    LOG_ENTRY = 1, /* term, index, kind, payload. An index at or below the last one cuts the log
                      there first. */
    LOG_VOTE,      /* term, index = who got the vote, 0 for nobody. */
    LOG_RESET, /* The log is empty and continues behind (term, index): a snapshot took its place. */
    LOG_MARK,  /* Nothing: the batch is there for its durable_seq. */
    LOG_BOOT,  /* index = how often the log was opened. */
};

/* The state of the log where a segment starts, so that older ones can go. */
struct log_segment_header {
    uint64_t cluster_id;
    uint64_t member_id;
    uint64_t instance;   /* Random, of this log alone: a member that lost its data shows another. */
    uint64_t number;     /* 1, 2, ...: as in the file's name. */
    uint64_t first_seq;  /* Batches of earlier segments from this number on do not count. */
    uint64_t prev_index; /* The entry before the segment's first. */
    uint64_t prev_term;
    uint64_t term; /* Term and vote in force. */
    uint64_t vote;
    uint64_t boot;  /* How often the log was opened. */
    uint64_t bytes; /* The file is at least so long; 0: the disk cannot reserve room. */
    uint32_t salt;  /* The log's, whatever the segment's version. */
    bool joined;
    bool reused; /* Version 2. */
};

struct log_batch_header {
    uint64_t seq;
    uint64_t durable_seq; /* Batches up to this one were durable. */
    uint32_t body_bytes;  /* A multiple of 8. */
    uint32_t record_count;
};

struct log_record {
    enum log_record_type type;
    uint8_t kind; /* The entry's type, not this layer's business. */
    uint64_t term;
    uint64_t index;
    const uint8_t *data; /* Borrowed from the batch. */
    uint32_t len;
};

/* What the checksums of its batches and records start from. */
static inline uint32_t log_segment_salt(const struct log_segment_header *h)
{
    return h->reused ? h->salt + (uint32_t)h->number : h->salt;
}

static inline size_t log_align(size_t n)
{
    return (n + LOG_ALIGN - 1) & ~(size_t)(LOG_ALIGN - 1);
}
/* Bytes a record takes inside a batch. */
static inline size_t log_record_bytes(size_t payload)
{
    return LOG_RECORD_HEADER_BYTES + log_align(payload);
}

void log_segment_header_encode(const struct log_segment_header *h,
                               uint8_t ret[LOG_SEGMENT_HEADER_BYTES]);
/* E_CORRUPT, or E_INVALID for a version this program does not know. */
int log_segment_header_decode(const uint8_t p[LOG_SEGMENT_HEADER_BYTES],
                              struct log_segment_header *ret, struct error *err);

void log_batch_header_encode(const struct log_batch_header *h, uint32_t salt,
                             uint8_t ret[LOG_BATCH_HEADER_BYTES]);
/* False: these bytes are no header under this salt. */
bool log_batch_header_decode(const uint8_t p[LOG_BATCH_HEADER_BYTES], uint32_t salt,
                             struct log_batch_header *ret);

void log_record_encode(const struct log_record *r, uint32_t salt, struct buf *out);
/* Gives records that were encoded another salt. */
void log_records_reseal(uint8_t *body, size_t n, uint32_t salt);
/* Reads the record at *pos of a body of n bytes and moves *pos behind it.
 * False when it is damaged or does not fit. */
bool log_record_decode(const uint8_t *body, size_t n, size_t *pos, uint32_t salt,
                       struct log_record *ret);

/* "log-0000000000000001.seg"; 25 bytes with the NUL. */
#define LOG_NAME_BYTES 32
void log_segment_name(uint64_t number, char ret[LOG_NAME_BYTES]);
bool log_segment_name_parse(const char *name, uint64_t *ret_number);

#endif
