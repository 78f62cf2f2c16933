/* fuzz_log.c - recovery of a damaged log: never a crash, never a wrong entry.
 *
 * A log of three segments is made once; the input is a list of edits to its
 * files (file, offset, length, bytes), so that checksums stay right elsewhere.
 * Whatever opens must hold the entries that were written, each as it was, and
 * all of the segments before the last, which are known to be durable. */
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (original[0] == NULL)
        make_log();
    reset_files();
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

/* Nothing; a bit in each file; the tail torn; a file cut short. */
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const uint8_t seeds[][16] = {
        {0, 0, 0, 0},
        {0, 0x58, 0x02, 1, 0xff},
        {1, 0x08, 0x03, 2, 0, 0},
        {2, 0xb8, 0x05, 8, 0, 0, 0, 0, 0, 0, 0, 0},
        {252, 0x00, 0x06, 0},
        {2, 0x10, 0x00, 4, 9, 9, 9, 9},
    };
    if (i >= ARRAY_SIZE(seeds) || cap < sizeof(seeds[0]))
        return 0;
    memcpy(p, seeds[i], sizeof(seeds[0]));
    return sizeof(seeds[0]);
}
