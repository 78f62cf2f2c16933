/* disk.h - the file operations of log and snapshots, as a table, so that a test
 * can stand in a disk that fails, fills up, tears writes and crashes.
 *
 * All calls block: only the I/O thread and store_open() make them. Results are
 * 0 or a count, else a negative errno (-EIO). */
#ifndef RAFTSTORE_DISK_H
#define RAFTSTORE_DISK_H

#include "lib/base/base.h"

#include <sys/types.h>

struct disk;

enum disk_open { DISK_READ, DISK_WRITE, DISK_CREATE /* Truncates what is there. */ };

typedef void disk_list_cb(const char *name, void *arg);

struct disk_ops {
    int (*open)(struct disk *d, const char *path, enum disk_open how); /* A file number >= 0. */
    int (*close)(struct disk *d, int fd);
    ssize_t (*pread)(struct disk *d, int fd, void *p, size_t n, uint64_t offset);
    ssize_t (*pwrite)(struct disk *d, int fd, const void *p, size_t n, uint64_t offset);
    int (*fdatasync)(struct disk *d, int fd);
    /* Has these bytes written and waits, so that a later fdatasync has less to do. Makes
     * nothing durable; when it fails, so has the sync. NULL where unknown. */
    int (*write_out)(struct disk *d, int fd, uint64_t offset, uint64_t n);
    /* Reserves room; the file reads as zeros there. -EOPNOTSUPP where unknown. */
    int (*fallocate)(struct disk *d, int fd, uint64_t offset, uint64_t n);
    /* Gives back the room of a part of the file, which then reads as zeros; the
     * size stays. NULL where unknown. */
    int (*release)(struct disk *d, int fd, uint64_t offset, uint64_t n);
    int64_t (*size)(struct disk *d, int fd);
    int (*rename)(struct disk *d, const char *from, const char *to);
    int (*unlink)(struct disk *d, const char *path);
    int (*mkdir)(struct disk *d, const char *path); /* With its parents; 0 when it exists. */
    int (*sync_dir)(struct disk *d, const char *path);
    int (*list)(struct disk *d, const char *path, disk_list_cb *cb, void *arg);
    /* Takes the file as a lock against other processes and opens it, creating
     * it if need be; -EWOULDBLOCK when another holds it. Released by close. */
    int (*lock)(struct disk *d, const char *path);
    int64_t (*free_bytes)(struct disk *d, const char *path); /* What this user may still write. */
};

struct disk {
    const struct disk_ops *ops;
};

/* The real one. Thread-safe, never freed. */
struct disk *disk_system(void);

/* All n bytes or an error. */
int disk_pwrite_all(struct disk *d, int fd, const void *p, size_t n, uint64_t offset);
/* Fewer than n bytes only at the end of the file. */
ssize_t disk_pread_full(struct disk *d, int fd, void *p, size_t n, uint64_t offset);
/* The E_* that a negative errno stands for: E_NO_SPACE or E_IO. */
int disk_error(int rc);

#endif
