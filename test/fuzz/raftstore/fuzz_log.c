/* fuzz_log.c - recovery of a damaged log: never a crash, never a wrong entry.
 *
 * A log of three segments is made once; the input is a list of edits to its
 * files (file, offset, length, bytes), so that checksums stay right elsewhere.
 * Whatever opens must hold the entries that were written, each as it was, and
 * all of the segments before the last, which are known to be durable.
 *
 * An input that begins with 'S' is sealed again after its edits, so that what it
 * put into headers and records (lengths, counts, indexes, terms) is believed and
 * gets as far as it can: such a log may hold anything, but what opens can be read
 * from end to end, written to, and opened again. */
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "raftstore/crc32c.h"
#include "raftstore/log.h"
#include "raftstore/log_format.h"
#include "test/unit/raftstore/mem_disk.h"

#include <stdio.h>

#define ENTRIES 24 /* Eight to a segment. */
#define SEGMENTS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

static void fixed_random(struct env *e, void *p, size_t n)
{
    UNUSED(e);
    memset(p, 0x5a, n);
}

static struct env env = {.random = fixed_random};
static struct mem_disk disk;
static uint8_t *original[SEGMENTS];
static size_t original_size[SEGMENTS];
static size_t original_files; /* The disk's, before any input. */

static struct log_config config(void)
{
    return (struct log_config){.disk = &disk.base,
                               .env = &env,
                               .dir = "d",
                               .cluster_id = 1,
                               .member_id = 2,
                               .segment_bytes = 2048};
}

static struct mem_file *segment(uint64_t number)
{
    char name[LOG_NAME_BYTES], path[64];
    log_segment_name(number, name);
    snprintf(path, sizeof(path), "d/%s", name);
    return mem_disk_file(&disk, path);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

/* Makes the checksums of a segment right, as far as its lengths lead. */
static void seal(struct mem_file *f, uint32_t salt)
{
    uint8_t *p = f->cache;
    size_t at = LOG_SEGMENT_HEADER_BYTES, size = f->cache_size;
    if (size < LOG_SEGMENT_HEADER_BYTES)
        return;
    put32(p + at - 4, crc32c(0, p, at - 4));
    uint32_t magic = get32(p + at);
    while (at + LOG_BATCH_HEADER_BYTES <= size && magic != 0 && get32(p + at) == magic) {
        uint8_t *batch = p + at;
        size_t end = at + LOG_BATCH_HEADER_BYTES + get32(batch + 24);
        put32(batch + 4, crc32c(salt, batch + 8, LOG_BATCH_HEADER_BYTES - 8));
        at += LOG_BATCH_HEADER_BYTES;
        end = MIN_OF(end, size);
        while (at + LOG_RECORD_HEADER_BYTES <= end) {
            uint8_t *r = p + at;
            size_t bytes = log_record_bytes(get32(r));
            if (bytes > end - at)
                break;
            put32(r + 4, crc32c(crc32c(salt, r, 4), r + 8, bytes - 8));
            at += bytes;
        }
        at = end;
    }
}

static void fill(uint8_t *p, size_t n, uint64_t index)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(index + i);
}

static void make_log(void)
{
    struct log_config c = config();
    struct log *l = NULL;
    uint8_t bytes[100];
    log_setup("fuzz", (enum log_level)(LOG_ERROR + 1));
    mem_disk_init(&disk, 1);
    ASSERT(log_open(&c, &l, NULL) == 0);
    for (uint64_t i = 1; i <= ENTRIES; i++) {
        fill(bytes, sizeof(bytes), i);
        log_append(l, &(struct log_entry){i, 1, 1, bytes, sizeof(bytes)}, 1);
        if (i % 5 == 0)
            log_set_vote(l, i, i);
        ASSERT(log_sync(l, NULL) == 0);
    }
    log_abandon(l);
    for (uint64_t i = 0; i < SEGMENTS; i++) {
        struct mem_file *f = segment(i + 1);
        ASSERT(f != NULL);
        original_size[i] = f->cache_size;
        original[i] = xmemdup(f->cache, f->cache_size);
    }
    ASSERT(segment(SEGMENTS + 1) == NULL);
    original_files = disk.file_count;
}

static void reset_files(void)
{
    for (uint64_t i = 1; segment(SEGMENTS + i) != NULL; i++) {
        char name[LOG_NAME_BYTES], path[64];
        log_segment_name(SEGMENTS + i, name);
        snprintf(path, sizeof(path), "d/%s", name);
        mem_unlink(&disk.base, path);
    }
    disk.op_count = 0;
    disk.stable = disk.live;
    for (; disk.file_count > original_files; disk.file_count--) {
        struct mem_file *f = disk.files[disk.file_count - 1];
        free(f->cache);
        free(f->stable);
        free(f->dirty);
        free(f);
    }
    for (uint64_t i = 0; i < SEGMENTS; i++) {
        struct mem_file *f = segment(i + 1);
        memcpy(f->cache, original[i], original_size[i]);
        f->cache_size = original_size[i];
    }
}

/* Edits: file, offset (2 bytes), length, then the bytes; file 255 cuts it there. */
static void apply_edits(const uint8_t *p, size_t n)
{
    while (n >= 4) {
        struct mem_file *f = segment(p[0] % SEGMENTS + 1);
        size_t offset = (size_t)(p[1] | p[2] << 8) % f->cache_size, len = p[3] % 32;
        bool cut = p[0] >= 250;
        p += 4;
        n -= 4;
        len = MIN_OF(len, MIN_OF(n, f->cache_size - offset));
        if (cut)
            f->cache_size = MAX_OF(offset, (size_t)1);
        else
            memcpy(f->cache + offset, p, len);
        p += len;
        n -= len;
    }
}

static bool untouched(void)
{
    for (uint64_t i = 0; i < SEGMENTS; i++) {
        struct mem_file *f = segment(i + 1);
        if (f->cache_size != original_size[i] ||
            memcmp(f->cache, original[i], original_size[i]) != 0)
            return false;
    }
    return true;
}

/* Reads all there is. */
static void read_through(struct log *l)
{
    struct log_state s;
    log_state(l, &s);
    for (uint64_t at = s.first_index; at <= s.last_index && at != 0;) {
        struct log_read got;
        if (log_read(l, at, 1000, &got, NULL) < 0)
            return;
        ASSERT(got.count > 0 && got.entries[0].index == at);
        for (uint32_t i = 0; i < got.count; i++)
            ASSERT(got.entries[i].index == at + i);
        at += got.count;
        log_read_done(&got);
    }
}

static void sealed(void)
{
    struct log_config c = config();
    struct log *l = NULL;
    struct log_state s, again;
    for (uint64_t i = 0; i < SEGMENTS; i++)
        seal(segment(i + 1), 0x5a5a5a5a);
    c.cluster_id = 0; /* The header may say anything else. */
    c.member_id = 0;
    if (log_open(&c, &l, NULL) < 0)
        return;
    read_through(l);
    log_state(l, &s);
    if (s.last_index < UINT64_MAX)
        log_append(l, &(struct log_entry){s.last_index + 1, s.last_term, 1, NULL, 0}, 1);
    ASSERT(log_sync(l, NULL) == 0);
    log_state(l, &s);
    log_close(l);
    l = NULL;
    ASSERT(log_open(&c, &l, NULL) == 0);
    log_state(l, &again);
    ASSERT(again.last_index == s.last_index && again.term == s.term && again.vote == s.vote);
    ASSERT(again.boot == s.boot + 1);
    log_abandon(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (original[0] == NULL)
        make_log();
    reset_files();
    if (size > 0 && data[0] == 'S') {
        apply_edits(data + 1, size - 1);
        sealed();
        return 0;
    }
    apply_edits(data, size);
    bool same = untouched();
    struct log_config c = config();
    struct log *l = NULL;
    struct log_state s;
    if (log_open(&c, &l, NULL) < 0) {
        ASSERT(!same);
        return 0;
    }
    log_state(l, &s);
    ASSERT(s.last_index == ENTRIES ||
           (!same && s.last_index >= ENTRIES / SEGMENTS * (SEGMENTS - 1)));
    ASSERT(s.first_index == 1);
    for (uint64_t at = 1; at <= s.last_index;) {
        struct log_read got;
        ASSERT(log_read(l, at, 1000, &got, NULL) == 0);
        for (uint32_t i = 0; i < got.count; i++, at++) {
            uint8_t want[100];
            fill(want, sizeof(want), at);
            ASSERT(got.entries[i].index == at && got.entries[i].len == sizeof(want));
            ASSERT(memcmp(got.entries[i].data, want, sizeof(want)) == 0);
        }
        log_read_done(&got);
    }
    log_abandon(l);
    return 0;
}

/* Nothing; a bit in each file; the tail torn; a file cut short; then sealed ones: a
 * batch's length and count, a record's length, index and type, a header's numbers. */
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const uint8_t seeds[][16] = {
        {0, 0, 0, 0},
        {0, 0x58, 0x02, 1, 0xff},
        {1, 0x08, 0x03, 2, 0, 0},
        {2, 0xb8, 0x05, 8, 0, 0, 0, 0, 0, 0, 0, 0},
        {252, 0x00, 0x06, 0},
        {2, 0x10, 0x00, 4, 9, 9, 9, 9},
        {'S', 0, 0x00, 0x00, 0},
        {'S', 0, 0x18, 0x02, 4, 0xff, 0xff, 0xff, 0x0f},
        {'S', 1, 0x1c, 0x02, 4, 2, 0, 0, 0},
        {'S', 2, 0x28, 0x02, 4, 0xf0, 0xff, 0xff, 0xff},
        {'S', 2, 0x40, 0x02, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        {'S', 1, 0x30, 0x02, 1, 3},
        {'S', 1, 0x30, 0x00, 8, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},
        {'S', 2, 0x10, 0x02, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
    };
    if (i >= ARRAY_SIZE(seeds) || cap < sizeof(seeds[0]))
        return 0;
    memcpy(p, seeds[i], sizeof(seeds[0]));
    return sizeof(seeds[0]);
}
