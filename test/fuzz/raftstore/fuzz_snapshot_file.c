/* fuzz_snapshot_file.c - a snapshot file with anything in it: never a crash, and
 * what reads to its end is what was written.
 *
 * Input: edits (offset, byte) to a good file; an odd length cuts it. */
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "raftstore/snapshot_file.h"
#include "test/unit/raftstore/mem_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (original == NULL)
        make();
    struct mem_file *f = file();
    memcpy(f->cache, original, original_size);
    f->cache_size = original_size;
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
