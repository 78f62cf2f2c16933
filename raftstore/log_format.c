/* log_format.c - see log_format.h. */
#include "raftstore/log_format.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/crc32c.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char segment_magic[8] = {'T', 'R', 'I', 'R', 'L', 'O', 'G', '\n'};
#define BATCH_MAGIC 0x48435442u /* "BTCH" */

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static void put64(uint8_t *p, uint64_t v)
{
    put32(p, (uint32_t)v);
    put32(p + 4, (uint32_t)(v >> 32));
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const uint8_t *p)
{
    return get32(p) | (uint64_t)get32(p + 4) << 32;
}

/* Offsets inside the segment header; the checksum covers all 508 bytes before it. */
enum {
    SEG_VERSION = 8,
    SEG_SALT = 12,
    SEG_CLUSTER = 16,
    SEG_MEMBER = 24,
    SEG_NUMBER = 32,
    SEG_FIRST_SEQ = 40,
    SEG_PREV_INDEX = 48,
    SEG_PREV_TERM = 56,
    SEG_TERM = 64,
    SEG_VOTE = 72,
    SEG_BOOT = 80,
    SEG_INSTANCE = 88,
    SEG_JOINED = 96,
    SEG_BYTES = 104,
    SEG_CRC = LOG_SEGMENT_HEADER_BYTES - 4,
};

void log_segment_header_encode(const struct log_segment_header *h,
                               uint8_t ret[LOG_SEGMENT_HEADER_BYTES])
{
    memset(ret, 0, LOG_SEGMENT_HEADER_BYTES);
    memcpy(ret, segment_magic, sizeof(segment_magic));
    put32(ret + SEG_VERSION, h->reused ? 2 : 1);
    put32(ret + SEG_SALT, h->salt);
    put64(ret + SEG_CLUSTER, h->cluster_id);
    put64(ret + SEG_MEMBER, h->member_id);
    put64(ret + SEG_NUMBER, h->number);
    put64(ret + SEG_FIRST_SEQ, h->first_seq);
    put64(ret + SEG_PREV_INDEX, h->prev_index);
    put64(ret + SEG_PREV_TERM, h->prev_term);
    put64(ret + SEG_TERM, h->term);
    put64(ret + SEG_VOTE, h->vote);
    put64(ret + SEG_BOOT, h->boot);
    put64(ret + SEG_INSTANCE, h->instance);
    ret[SEG_JOINED] = h->joined ? 1 : 0;
    put64(ret + SEG_BYTES, h->bytes);
    put32(ret + SEG_CRC, crc32c(0, ret, SEG_CRC));
}

int log_segment_header_decode(const uint8_t p[LOG_SEGMENT_HEADER_BYTES],
                              struct log_segment_header *ret, struct error *err)
{
    if (memcmp(p, segment_magic, sizeof(segment_magic)) != 0)
        return error_set(err, E_CORRUPT, "this is no log segment: its first bytes are wrong");
    if (crc32c(0, p, SEG_CRC) != get32(p + SEG_CRC))
        return error_set(err, E_CORRUPT, "the segment header's checksum is wrong");
    uint32_t version = get32(p + SEG_VERSION);
    if (version < 1 || version > LOG_FORMAT_VERSION)
        return error_set(err, E_INVALID,
                         "log format version %" PRIu32 ", this program reads versions 1 to %d",
                         version, LOG_FORMAT_VERSION);
    *ret = (struct log_segment_header){
        .cluster_id = get64(p + SEG_CLUSTER),
        .member_id = get64(p + SEG_MEMBER),
        .number = get64(p + SEG_NUMBER),
        .first_seq = get64(p + SEG_FIRST_SEQ),
        .prev_index = get64(p + SEG_PREV_INDEX),
        .prev_term = get64(p + SEG_PREV_TERM),
        .term = get64(p + SEG_TERM),
        .vote = get64(p + SEG_VOTE),
        .boot = get64(p + SEG_BOOT),
        .instance = get64(p + SEG_INSTANCE),
        .salt = get32(p + SEG_SALT),
        .joined = p[SEG_JOINED] != 0,
        .bytes = get64(p + SEG_BYTES),
        .reused = version >= 2,
    };
    return 0;
}

/* Batch header: magic, crc of what follows, seq, durable_seq, body, count, 8 spare. */
void log_batch_header_encode(const struct log_batch_header *h, uint32_t salt,
                             uint8_t ret[LOG_BATCH_HEADER_BYTES])
{
    memset(ret, 0, LOG_BATCH_HEADER_BYTES);
    put32(ret, BATCH_MAGIC);
    put64(ret + 8, h->seq);
    put64(ret + 16, h->durable_seq);
    put32(ret + 24, h->body_bytes);
    put32(ret + 28, h->record_count);
    put32(ret + 4, crc32c(salt, ret + 8, LOG_BATCH_HEADER_BYTES - 8));
}

bool log_batch_header_decode(const uint8_t p[LOG_BATCH_HEADER_BYTES], uint32_t salt,
                             struct log_batch_header *ret)
{
    if (get32(p) != BATCH_MAGIC || get32(p + 4) != crc32c(salt, p + 8, LOG_BATCH_HEADER_BYTES - 8))
        return false;
    *ret = (struct log_batch_header){
        .seq = get64(p + 8),
        .durable_seq = get64(p + 16),
        .body_bytes = get32(p + 24),
        .record_count = get32(p + 28),
    };
    return ret->body_bytes <= LOG_BATCH_BODY_MAX && ret->body_bytes % LOG_ALIGN == 0;
}

static void record_seal(uint8_t *p, size_t bytes, uint32_t salt)
{
    uint32_t crc = crc32c(salt, p, 4);
    put32(p + 4, crc32c(crc, p + 8, bytes - 8));
}

/* Record header: length, crc of all the rest with payload and padding, type, kind, 6 spare, term,
 * index. */
void log_record_encode(const struct log_record *r, uint32_t salt, struct buf *out)
{
    ASSERT(r->len <= LOG_RECORD_PAYLOAD_MAX);
    size_t bytes = log_record_bytes(r->len);
    uint8_t *p = buf_reserve(out, bytes);
    memset(p, 0, LOG_RECORD_HEADER_BYTES);
    put32(p, r->len);
    p[8] = (uint8_t)r->type;
    p[9] = r->kind;
    put64(p + 16, r->term);
    put64(p + 24, r->index);
    if (r->len > 0)
        memcpy(p + LOG_RECORD_HEADER_BYTES, r->data, r->len);
    memset(p + LOG_RECORD_HEADER_BYTES + r->len, 0, log_align(r->len) - r->len);
    record_seal(p, bytes, salt);
    buf_commit(out, bytes);
}

void log_records_reseal(uint8_t *body, size_t n, uint32_t salt)
{
    for (size_t at = 0; at < n;) {
        size_t bytes = log_record_bytes(get32(body + at));
        ASSERT(bytes <= n - at);
        record_seal(body + at, bytes, salt);
        at += bytes;
    }
}

bool log_record_decode(const uint8_t *body, size_t n, size_t *pos, uint32_t salt,
                       struct log_record *ret)
{
    if (*pos > n || n - *pos < LOG_RECORD_HEADER_BYTES)
        return false;
    const uint8_t *p = body + *pos;
    uint32_t len = get32(p);
    if (len > LOG_RECORD_PAYLOAD_MAX || log_record_bytes(len) > n - *pos)
        return false;
    uint32_t crc = crc32c(salt, p, 4);
    if (get32(p + 4) != crc32c(crc, p + 8, log_record_bytes(len) - 8))
        return false;
    if (p[8] < LOG_ENTRY || p[8] > LOG_BOOT)
        return false;
    *ret = (struct log_record){
        .type = (enum log_record_type)p[8],
        .kind = p[9],
        .term = get64(p + 16),
        .index = get64(p + 24),
        .data = p + LOG_RECORD_HEADER_BYTES,
        .len = len,
    };
    *pos += log_record_bytes(len);
    return true;
}

void log_segment_name(uint64_t number, char ret[LOG_NAME_BYTES])
{
    snprintf(ret, LOG_NAME_BYTES, "log-%016" PRIx64 ".seg", number);
}

bool log_segment_name_parse(const char *name, uint64_t *ret_number)
{
    char again[LOG_NAME_BYTES];
    uint64_t number;
    if (strlen(name) != 24 || sscanf(name, "log-%16" SCNx64 ".seg", &number) != 1)
        return false;
    log_segment_name(number, again);
    if (strcmp(name, again) != 0)
        return false;
    *ret_number = number;
    return true;
}
