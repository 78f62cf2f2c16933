/* test_snapshot_file.c - snapshots on disk: whole or not there. */
#include "raftstore/snapshot_file.h"

#include "lib/base/error.h"
#include "raftstore/failpoint.h"
#include "test/unit/raftstore/mem_disk.h"
#include "test/unit/unit.h"

#include <inttypes.h>

static struct snapshot_dir *open_dir(struct mem_disk *disk, uint64_t cluster_id)
{
    struct snapshot_dir_config config = {
        .disk = &disk->base, .dir = "snap", .cluster_id = cluster_id};
    struct snapshot_dir *d = NULL;
    return snapshot_dir_open(&config, &d, NULL) == 0 ? d : NULL;
}

static void pattern(uint8_t *p, size_t n, uint64_t index)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(index * 31 + i);
}

static int write_one(struct snapshot_dir *d, uint64_t index, struct error *err)
{
    struct snapshot_writer *w = NULL;
    int rc = snapshot_writer_new(d, index, &w, err);
    uint8_t piece[3000];
    pattern(piece, sizeof(piece), index);
    for (size_t i = 0; rc == 0 && i < 3; i++)
        rc = snapshot_writer_append(w, piece + i * 1000, 1000, err);
    if (rc == 0)
        rc = snapshot_writer_commit(w, index, 4, STR("members"), err);
    snapshot_writer_free(w);
    return rc;
}

static int read_one(struct snapshot_dir *d, uint64_t index, struct error *err)
{
    struct snapshot_file *f = NULL;
    int rc = snapshot_file_open(d, index, &f, err);
    if (rc < 0)
        return rc;
    const struct snapshot_info *info = snapshot_file_info(f);
    ck_assert_uint_eq(info->index, index);
    ck_assert_uint_eq(info->term, 4);
    ck_assert(str_eqc(info->meta, "members"));
    ck_assert_uint_eq(info->data_bytes, 3000);
    uint8_t got[3000], want[3000];
    pattern(want, sizeof(want), index);
    size_t len = 1;
    for (uint64_t at = 0; rc == 0 && len > 0; at += len)
        rc = snapshot_file_read(f, at, got + at, at < 3000 ? 700 : 0, &len, err);
    if (rc == 0)
        ck_assert_mem_eq(got, want, sizeof(want));
    snapshot_file_close(f);
    return rc;
}

/* Written once, read after a crash; the newest two are kept. */
START_TEST(write_read_prune)
{
    struct mem_disk *disk = xmalloc(sizeof(*disk));
    mem_disk_init(disk, 1);
    struct snapshot_dir *d = open_dir(disk, 9);
    for (uint64_t i = 10; i <= 50; i += 10)
        ck_assert_int_eq(write_one(d, i, NULL), 0);
    uint64_t got[4];
    ck_assert_uint_eq(snapshot_dir_list(d, got, 4), 2);
    ck_assert_uint_eq(got[0], 50);
    ck_assert_uint_eq(got[1], 40);
    snapshot_dir_close(d);
    mem_disk_crash(disk);
    d = open_dir(disk, 9);
    ck_assert_uint_ge(snapshot_dir_list(d, got, 4), 2);
    ck_assert_uint_eq(got[0], 50);
    ck_assert_int_eq(read_one(d, 50, NULL), 0);
    ck_assert_int_eq(read_one(d, 40, NULL), 0);
    ck_assert_int_eq(read_one(d, 51, NULL), E_NOT_FOUND);
    snapshot_dir_close(d);
    /* Another cluster's files are refused. */
    d = open_dir(disk, 8);
    ck_assert_int_eq(read_one(d, 50, NULL), E_CORRUPT);
    snapshot_dir_close(d);
    mem_disk_done(disk);
    free(disk);
}
END_TEST

/* A file that is being read outlives the newer ones that push it out. */
START_TEST(read_while_pruned)
{
    struct mem_disk *disk = xmalloc(sizeof(*disk));
    mem_disk_init(disk, 1);
    struct snapshot_dir *d = open_dir(disk, 9);
    ck_assert_int_eq(write_one(d, 1, NULL), 0);
    struct snapshot_file *f = NULL;
    ck_assert_int_eq(snapshot_file_open(d, 1, &f, NULL), 0);
    for (uint64_t i = 2; i < 6; i++)
        ck_assert_int_eq(write_one(d, i, NULL), 0);
    uint8_t got[3000];
    size_t len = 0;
    ck_assert_int_eq(snapshot_file_read(f, 2900, got, sizeof(got), &len, NULL), 0);
    ck_assert_uint_eq(len, 100);
    snapshot_file_close(f);
    snapshot_dir_close(d);
    mem_disk_done(disk);
    free(disk);
}
END_TEST

/* A flipped bit anywhere is found. */
START_TEST(damage)
{
    struct mem_disk *disk = xmalloc(sizeof(*disk));
    mem_disk_init(disk, 1);
    struct snapshot_dir *d = open_dir(disk, 9);
    ck_assert_int_eq(write_one(d, 1, NULL), 0);
    struct mem_file *f = mem_disk_file(disk, "snap/snap-0000000000000001.snap");
    for (size_t at = 0; at < f->cache_size; at++) {
        f->cache[at] ^= 4;
        struct error err = {0};
        ck_assert_msg(read_one(d, 1, &err) == E_CORRUPT, "byte %zu passed", at);
        f->cache[at] ^= 4;
    }
    f->cache_size -= 1;
    ck_assert_int_eq(read_one(d, 1, NULL), E_CORRUPT);
    snapshot_dir_close(d);
    mem_disk_done(disk);
    free(disk);
}
END_TEST

/* Whatever fails: after a crash every listed snapshot is whole, and one whose
 * commit succeeded is there. */
START_TEST(faults)
{
    int errnos[] = {EIO, ENOSPC};
    for (size_t variant = 0; variant < 16; variant++) {
        bool whole = false;
        for (long n = 0; !whole; n++) {
            ck_assert_int_lt(n, 500);
            struct mem_disk *disk = xmalloc(sizeof(*disk));
            mem_disk_init(disk, (uint64_t)n + 1);
            disk->fail_at = n;
            disk->fail_errno = errnos[variant & 1];
            disk->persist = (variant & 2) != 0;
            disk->short_write = (variant & 4) != 0;
            uint64_t done = 0;
            struct snapshot_dir_config config = {
                .disk = &disk->base, .dir = "snap", .cluster_id = 9, .in_parts = variant >= 8};
            struct snapshot_dir *d = NULL;
            (void)snapshot_dir_open(&config, &d, NULL);
            for (uint64_t i = 1; d != NULL && i <= 4; i++) {
                if (write_one(d, i, NULL) == 0)
                    done = i;
                (void)snapshot_dir_tidy(d);
            }
            whole = done == 4 && disk->calls <= n;
            snapshot_dir_close(d);
            mem_disk_crash(disk);
            d = open_dir(disk, 9);
            ck_assert_ptr_nonnull(d);
            uint64_t got[16];
            size_t count = snapshot_dir_list(d, got, 16);
            for (size_t i = 0; i < count; i++)
                ck_assert_int_eq(read_one(d, got[i], NULL), 0);
            ck_assert(done == 0 || (count > 0 && got[0] >= done));
            snapshot_dir_close(d);
            mem_disk_done(disk);
            free(disk);
        }
    }
}
END_TEST

/* Data that could not be written out on the way is not relied on: the commit writes
 * all of it again. */
START_TEST(write_out_fails)
{
    static const char *const points[] = {"snapshot.write.out=eio@1", ""};
    enum { BYTES = (2 << 20) + 100 };
    uint8_t *data = xmalloc(BYTES), *got = xmalloc(BYTES);
    pattern(data, BYTES, 7);
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        struct mem_disk *disk = xmalloc(sizeof(*disk));
        mem_disk_init(disk, 1);
        struct snapshot_dir *d = open_dir(disk, 9);
        struct snapshot_writer *w = NULL;
        ck_assert_int_eq(snapshot_writer_new(d, 7, &w, NULL), 0);
        ck_assert_int_eq(failpoint_set(points[i], NULL), 0);
        if (points[i][0] == '\0')
            disk->fail_at = disk->calls + 1; /* Behind the write. */
        ck_assert_int_eq(snapshot_writer_append(w, data, 1 << 20, NULL), E_IO);
        ck_assert_int_eq(snapshot_writer_append(w, data + (1 << 20), BYTES - (1 << 20), NULL), 0);
        ck_assert_uint_ge(failpoint_hits(FP_SNAPSHOT_WRITE_OUT), 2);
        ck_assert_int_eq(failpoint_set(NULL, NULL), 0);
        ck_assert_int_eq(snapshot_writer_commit(w, 7, 4, STR("members"), NULL), 0);
        snapshot_writer_free(w);
        snapshot_dir_close(d);
        mem_disk_crash(disk);
        d = open_dir(disk, 9);
        struct snapshot_file *f = NULL;
        size_t len = 0;
        ck_assert_int_eq(snapshot_file_open(d, 7, &f, NULL), 0);
        ck_assert_int_eq(snapshot_file_read(f, 0, got, BYTES, &len, NULL), 0);
        ck_assert_uint_eq(len, BYTES);
        ck_assert_mem_eq(got, data, BYTES);
        snapshot_file_close(f);
        snapshot_dir_close(d);
        mem_disk_done(disk);
        free(disk);
    }
    free(data);
    free(got);
}
END_TEST

/* What is pushed out goes part by part, unless somebody reads it; a crash meanwhile
 * leaves nothing of it. */
START_TEST(deleted_in_parts)
{
    enum { BYTES = (9 << 20) + 100 };
    struct mem_disk *disk = xmalloc(sizeof(*disk));
    mem_disk_init(disk, 1);
    struct snapshot_dir_config config = {
        .disk = &disk->base, .dir = "snap", .cluster_id = 9, .in_parts = true};
    struct snapshot_dir *d = NULL;
    ck_assert_int_eq(snapshot_dir_open(&config, &d, NULL), 0);
    uint8_t *data = xmalloc(BYTES);
    pattern(data, BYTES, 1);
    struct snapshot_writer *w = NULL;
    ck_assert_int_eq(snapshot_writer_new(d, 1, &w, NULL), 0);
    ck_assert_int_eq(snapshot_writer_append(w, data, BYTES, NULL), 0);
    ck_assert_int_eq(snapshot_writer_commit(w, 1, 4, STR("members"), NULL), 0);
    snapshot_writer_free(w);
    ck_assert(!snapshot_dir_tidy(d));
    ck_assert_int_eq(write_one(d, 2, NULL), 0);
    ck_assert_int_eq(write_one(d, 3, NULL), 0);
    ck_assert_int_eq(read_one(d, 1, NULL), E_NOT_FOUND);
    const char *old = "snap/0000000000000001-old.tmp";
    struct mem_file *file = mem_disk_file(disk, old);
    ck_assert_ptr_nonnull(file);
    ck_assert(snapshot_dir_tidy(d));
    ck_assert_mem_eq(file->cache + 1024, data + 512, 1 << 20);
    ck_assert_uint_eq(file->cache[file->cache_size - (2 << 20)], 0);
    ck_assert(snapshot_dir_tidy(d));
    ck_assert(!snapshot_dir_tidy(d));
    ck_assert_ptr_null(mem_disk_file(disk, old));
    /* One that is read goes at once, and stays whole for its reader. */
    struct snapshot_file *f = NULL;
    uint8_t got[3000], want[3000];
    size_t len = 0;
    ck_assert_int_eq(snapshot_file_open(d, 2, &f, NULL), 0);
    ck_assert_int_eq(write_one(d, 4, NULL), 0);
    ck_assert(!snapshot_dir_tidy(d));
    ck_assert_int_eq(snapshot_file_read(f, 0, got, sizeof(got), &len, NULL), 0);
    pattern(want, sizeof(want), 2);
    ck_assert_mem_eq(got, want, sizeof(want));
    snapshot_file_close(f);
    /* The next one that goes, the folder's end and a start finish what was begun. */
    ck_assert_int_eq(write_one(d, 5, NULL), 0);
    ck_assert_ptr_nonnull(mem_disk_file(disk, "snap/0000000000000003-old.tmp"));
    ck_assert_int_eq(write_one(d, 6, NULL), 0);
    ck_assert_ptr_null(mem_disk_file(disk, "snap/0000000000000003-old.tmp"));
    mem_disk_crash(disk);
    struct snapshot_dir *again = open_dir(disk, 9);
    ck_assert_ptr_null(mem_disk_file(disk, "snap/0000000000000004-old.tmp"));
    ck_assert_int_eq(read_one(again, 6, NULL), 0);
    snapshot_dir_close(again);
    snapshot_dir_close(d);
    mem_disk_done(disk);
    free(disk);
    free(data);
}
END_TEST

UNIT_MAIN("snapshot_file", {
    UNIT_TEST(write_read_prune);
    UNIT_TEST(read_while_pruned);
    UNIT_TEST(damage);
    UNIT_TEST(faults);
    UNIT_TEST(write_out_fails);
    UNIT_TEST(deleted_in_parts);
})
