/* fuzz_snapshot_file.c - a snapshot file with anything in it: never a crash, and
 * what reads to its end is what was written.
 *
 * Input: edits (offset, byte) to a good file; an odd length cuts it. One that
 * begins with 'S' edits header (first byte 0) or footer (1), which are sealed
 * again, so that their lengths and counts are believed. */
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "raftstore/crc32c.h"
#include "raftstore/snapshot_file.h"
#include "test/unit/raftstore/mem_disk.h"

#define EDGE 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

static struct mem_disk disk;
static struct snapshot_dir *dir;
static uint8_t *original;
static size_t original_size;

static struct mem_file *file(void)
{
    return mem_disk_file(&disk, "s/snap-0000000000000007.snap");
}

static void make(void)
{
    struct snapshot_dir_config config = {.disk = &disk.base, .dir = "s", .cluster_id = 3};
    struct snapshot_writer *w = NULL;
    log_setup("fuzz", (enum log_level)(LOG_ERROR + 1));
    mem_disk_init(&disk, 1);
    ASSERT(snapshot_dir_open(&config, &dir, NULL) == 0);
    ASSERT(snapshot_writer_new(dir, 1, &w, NULL) == 0);
    ASSERT(snapshot_writer_append(w, "some data of a snapshot", 23, NULL) == 0);
    ASSERT(snapshot_writer_commit(w, 7, 2, STR("meta"), NULL) == 0);
    snapshot_writer_free(w);
    original_size = file()->cache_size;
    original = xmemdup(file()->cache, original_size);
}

static void sealed(struct mem_file *f, const uint8_t *data, size_t size)
{
    uint8_t *edges[] = {f->cache, f->cache + original_size - EDGE};
    for (size_t i = 0; i + 3 <= size; i += 3)
        edges[data[i] % 2][data[i + 1] % (EDGE - 4)] = data[i + 2];
    for (size_t i = 0; i < 2; i++) {
        uint32_t crc = crc32c(0, edges[i], EDGE - 4);
        for (size_t k = 0; k < 4; k++)
            edges[i][EDGE - 4 + k] = (uint8_t)(crc >> (8 * k));
    }
    struct snapshot_file *s = NULL;
    if (snapshot_file_open(dir, 7, &s, NULL) < 0)
        return;
    uint8_t got[64];
    size_t len = 0;
    for (uint64_t at = 0; at < snapshot_file_info(s)->data_bytes && at < 4096; at += len)
        if (snapshot_file_read(s, at, got, 7, &len, NULL) < 0 || len == 0)
            break;
    snapshot_file_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (original == NULL)
        make();
    struct mem_file *f = file();
    memcpy(f->cache, original, original_size);
    f->cache_size = original_size;
    if (size > 0 && data[0] == 'S') {
        sealed(f, data + 1, size - 1);
        return 0;
    }
    for (size_t i = 0; i + 3 <= size; i += 3)
        f->cache[(size_t)(data[i] | data[i + 1] << 8) % original_size] = data[i + 2];
    if (size % 3 == 1)
        f->cache_size = (size_t)data[size - 1] * 5 % original_size;
    struct snapshot_file *s = NULL;
    if (snapshot_file_open(dir, 7, &s, NULL) < 0)
        return 0;
    uint8_t got[64];
    size_t len = 0;
    if (snapshot_file_read(s, 0, got, sizeof(got), &len, NULL) == 0) {
        ASSERT(len == 23 && memcmp(got, "some data of a snapshot", 23) == 0);
        ASSERT(str_eqc(snapshot_file_info(s)->meta, "meta") && snapshot_file_info(s)->term == 2);
    }
    snapshot_file_close(s);
    return 0;
}

/* Untouched; cut; then the footer's data bytes, meta bytes, index and term, each very large. */
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const uint8_t seeds[][13] = {
        {0, 0, 'T'},
        {9, 0, 0, 3},
        {'S', 0, 8, 1},
        {'S', 1, 40, 24, 1, 48, 3},
        {'S', 1, 47, 0xff, 1, 46, 0xff, 1, 40, 0xff},
        {'S', 1, 51, 0xff, 1, 50, 0xff, 1, 48, 0xff},
        {'S', 1, 24, 0xff, 1, 31, 0xff, 1, 39, 0xff},
    };
    if (i >= ARRAY_SIZE(seeds) || cap < sizeof(seeds[0]))
        return 0;
    memcpy(p, seeds[i], sizeof(seeds[0]));
    return sizeof(seeds[0]);
}
