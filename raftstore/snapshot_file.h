/* snapshot_file.h - snapshots on disk: written aside, verified, the newest two kept.
 *
 * One thread at a time: store_open() loads, then the bulk I/O thread owns the
 * folder. Every call blocks on the disk.
 *
 *   file: header (512 bytes) | data | meta | footer (512 bytes)
 *
 * Index, term and lengths stand in the footer, since a snapshot received from a
 * peer learns them last. A file gets its final name only when it is whole and
 * synced, so one that cannot be read is damaged, never half-written. */
#ifndef RAFTSTORE_SNAPSHOT_FILE_H
#define RAFTSTORE_SNAPSHOT_FILE_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct disk;
struct error;
struct snapshot_dir;
struct snapshot_file;
struct snapshot_writer;

#define SNAPSHOT_KEEP 2
#define SNAPSHOT_META_MAX (1u << 20)

struct snapshot_dir_config {
    struct disk *disk;
    const char *dir;
    uint64_t cluster_id; /* Of the files written, and of those read. */
    bool no_fsync;       /* Tests and benchmarks only. */
    bool in_parts;       /* What is deleted goes by snapshot_dir_tidy(). */
};

/* Makes the folder, deletes what a crash left half-written. */
int snapshot_dir_open(const struct snapshot_dir_config *config, struct snapshot_dir **ret,
                      struct error *err);
/* Files and writers must be gone. NULL is a no-op. */
void snapshot_dir_close(struct snapshot_dir *d);
/* Indexes of the snapshots there, newest first. Returns how many were filled in. */
size_t snapshot_dir_list(const struct snapshot_dir *d, uint64_t *ret, size_t max);

/* Where the file system discards what is given back, deleting hundreds of MiB holds
 * up all other writes: a part of a deleted snapshot goes at each call. False: nothing
 * is left; else call again in SNAPSHOT_TIDY_MS. */
#define SNAPSHOT_TIDY_MS 50
bool snapshot_dir_tidy(struct snapshot_dir *d);

/* --- reading --- */
struct snapshot_info {
    uint64_t index;
    uint64_t term;
    uint64_t data_bytes;
    struct str meta; /* Owned by the file. */
};
/* Verifies header, footer and meta. The file stays readable until closed, also
 * when newer ones push it out. E_NOT_FOUND, E_CORRUPT, E_IO. */
int snapshot_file_open(struct snapshot_dir *d, uint64_t index, struct snapshot_file **ret,
                       struct error *err);
void snapshot_file_close(struct snapshot_file *f); /* NULL is a no-op. */
const char *snapshot_file_path(const struct snapshot_file *f);
const struct snapshot_info *snapshot_file_info(const struct snapshot_file *f);
/* Reads data at offset: *ret_len is min(n, what is left). Once everything was
 * read in order, the data's checksum is compared: E_CORRUPT. */
int snapshot_file_read(struct snapshot_file *f, uint64_t offset, void *p, size_t n, size_t *ret_len,
                       struct error *err);

/* --- writing --- */
/* tag: names the temporary file; one writer per tag. */
int snapshot_writer_new(struct snapshot_dir *d, uint64_t tag, struct snapshot_writer **ret,
                        struct error *err);
/* Appends data. Syncs every few MiB, so that the last sync is not a long one. */
int snapshot_writer_append(struct snapshot_writer *w, const void *p, size_t n, struct error *err);
uint64_t snapshot_writer_bytes(const struct snapshot_writer *w);
/* Syncs, gives the file its name and deletes all but the newest SNAPSHOT_KEEP.
 * On success the snapshot is durable. The writer is still to be freed. After
 * E_NO_SPACE and E_IO it may be called again, with the same arguments. */
int snapshot_writer_commit(struct snapshot_writer *w, uint64_t index, uint64_t term,
                           struct str meta, struct error *err);
/* Deletes the temporary file if it was not committed. NULL is a no-op. */
void snapshot_writer_free(struct snapshot_writer *w);

#endif
