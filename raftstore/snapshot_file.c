/* snapshot_file.c - see snapshot_file.h. */
#include "raftstore/snapshot_file.h"

#include "lib/base/error.h"
#include "lib/base/list.h"
#include "lib/base/log.h"
#include "raftstore/crc32c.h"
#include "raftstore/disk.h"
#include "raftstore/failpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SNAPSHOT_VERSION 1
#define EDGE_BYTES 512 /* Header and footer, each. */
#define EDGES_BYTES UINT64_C(1024)
#define SYNC_EVERY_BYTES (8u << 20)
#define WRITE_OUT_BYTES (1u << 20) /* So much waits to be written at most. */
#define NAME_BYTES 32
#define TIDY_BYTES (UINT64_C(4) << 20)
#define COPY_BYTES (UINT64_C(64) << 10)

static const char head_magic[8] = {'T', 'R', 'I', 'R', 'S', 'N', 'P', '\n'};
static const char foot_magic[8] = {'T', 'R', 'I', 'R', 'S', 'N', 'E', '\n'};

struct snapshot_dir {
    struct disk *disk;
    char *dir;
    uint64_t cluster_id;
    bool no_fsync;
    bool in_parts;
    uint64_t *indexes; /* Descending. */
    size_t count;
    size_t cap;
    struct list files; /* Open for reading. */
    char *going;       /* A deleted one that is given back, NULL: none. */
    uint64_t going_bytes;
};

struct snapshot_file {
    struct snapshot_dir *d;
    struct list node; /* In the folder's list. */
    uint64_t index;
    int fd;
    char *path;
    struct snapshot_info info;
    char *meta;
    uint32_t data_crc;
    uint32_t crc; /* Of the data up to crc_offset. */
    uint64_t crc_offset;
};

struct snapshot_writer {
    struct snapshot_dir *d;
    int fd;
    char *tmp;
    uint64_t bytes;
    uint64_t unsynced;
    uint64_t unwritten; /* Of those, what the system may still hold. */
    uint32_t crc;
    bool renamed;    /* The file has its final name, durable or not. */
    bool distrusted; /* A sync failed: the kernel may believe pages clean that are not on disk. */
};

/* Header: magic, version, spare, cluster. Footer: the same, then these. */
enum {
    AT_VERSION = 8,
    AT_CLUSTER = 16,
    AT_INDEX = 24,
    AT_TERM = 32,
    AT_DATA_BYTES = 40,
    AT_META_BYTES = 48,
    AT_DATA_CRC = 52,
    AT_META_CRC = 56,
    AT_CRC = EDGE_BYTES - 4,
};

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

static void edge_fill(uint8_t p[EDGE_BYTES], const char magic[8], uint64_t cluster_id)
{
    memset(p, 0, EDGE_BYTES);
    memcpy(p, magic, 8);
    put32(p + AT_VERSION, SNAPSHOT_VERSION);
    put64(p + AT_CLUSTER, cluster_id);
}

static void edge_seal(uint8_t p[EDGE_BYTES])
{
    put32(p + AT_CRC, crc32c(0, p, AT_CRC));
}

/* NULL, or what is wrong with it. */
static const char *edge_check(const uint8_t p[EDGE_BYTES], const char magic[8], uint64_t cluster_id)
{
    if (memcmp(p, magic, 8) != 0 || get32(p + AT_CRC) != crc32c(0, p, AT_CRC))
        return "its header or footer is damaged";
    if (get32(p + AT_VERSION) != SNAPSHOT_VERSION)
        return "its format version is not known to this program";
    if (get64(p + AT_CLUSTER) != cluster_id)
        return "it belongs to another cluster";
    return NULL;
}

static void file_name(uint64_t index, char ret[NAME_BYTES])
{
    snprintf(ret, NAME_BYTES, "snap-%016" PRIx64 ".snap", index);
}

static char *dir_path(const struct snapshot_dir *d, const char *name)
{
    return xasprintf("%s/%s", d->dir, name);
}

/* --- the folder --------------------------------------------------------------- */

static void note(struct snapshot_dir *d, uint64_t index)
{
    if (d->count == d->cap) {
        d->cap = MAX_OF(d->cap * 2, (size_t)8);
        d->indexes = xrealloc(d->indexes, d->cap * sizeof(*d->indexes));
    }
    size_t at = 0;
    while (at < d->count && d->indexes[at] > index)
        at++;
    if (at < d->count && d->indexes[at] == index)
        return;
    memmove(d->indexes + at + 1, d->indexes + at, (d->count - at) * sizeof(*d->indexes));
    d->indexes[at] = index;
    d->count++;
}

static void on_name(const char *name, void *arg)
{
    struct snapshot_dir *d = arg;
    char again[NAME_BYTES];
    uint64_t index;
    size_t len = strlen(name);
    if (len > 4 && strcmp(name + len - 4, ".tmp") == 0) {
        AUTO_FREE char *path = dir_path(d, name);
        (void)d->disk->ops->unlink(d->disk, path);
        return;
    }
    if (sscanf(name, "snap-%16" SCNx64 ".snap", &index) != 1)
        return;
    file_name(index, again);
    if (strcmp(name, again) == 0)
        note(d, index);
}

static void finish_going(struct snapshot_dir *d)
{
    if (d->going != NULL)
        (void)d->disk->ops->unlink(d->disk, d->going); /* Else the next start does it. */
    free(take(d->going));
}

int snapshot_dir_open(const struct snapshot_dir_config *config, struct snapshot_dir **ret,
                      struct error *err)
{
    struct snapshot_dir *d = xzalloc(sizeof(*d));
    d->disk = config->disk;
    d->dir = xstrdup(config->dir);
    d->cluster_id = config->cluster_id;
    d->no_fsync = config->no_fsync;
    d->in_parts = config->in_parts;
    list_init(&d->files);
    int rc = d->disk->ops->mkdir(d->disk, d->dir);
    if (rc == 0)
        rc = d->disk->ops->list(d->disk, d->dir, on_name, d);
    if (rc < 0) {
        error_set_errno(err, disk_error(rc), -rc, "cannot open the snapshot folder %s", d->dir);
        snapshot_dir_close(d);
        return disk_error(rc);
    }
    *ret = d;
    return 0;
}

void snapshot_dir_close(struct snapshot_dir *d)
{
    if (d == NULL)
        return;
    finish_going(d);
    free(d->indexes);
    free(d->dir);
    free(d);
}

size_t snapshot_dir_list(const struct snapshot_dir *d, uint64_t *ret, size_t max)
{
    size_t n = MIN_OF(max, d->count);
    if (n > 0)
        memcpy(ret, d->indexes, n * sizeof(*ret));
    return n;
}

static bool is_open(const struct snapshot_dir *d, uint64_t index)
{
    LIST_FOREACH (it, &d->files)
        if (LIST_ENTRY(it, struct snapshot_file, node)->index == index)
            return true;
    return false;
}

/* Under a name that a start deletes. */
static int begin_going(struct snapshot_dir *d, const char *path, uint64_t index)
{
    finish_going(d);
    AUTO_FREE char *tmp = xasprintf("%s/%016" PRIx64 "-old.tmp", d->dir, index);
    int rc = d->disk->ops->rename(d->disk, path, tmp);
    if (rc < 0)
        return rc;
    int fd = d->disk->ops->open(d->disk, tmp, DISK_READ);
    int64_t size = fd < 0 ? fd : d->disk->ops->size(d->disk, fd);
    if (fd >= 0)
        d->disk->ops->close(d->disk, fd);
    d->going_bytes = size > 0 ? (uint64_t)size : 0;
    d->going = take(tmp);
    /* Before anything goes: in a crash the old name must not come back to a file with holes. */
    rc = d->no_fsync ? 0 : d->disk->ops->sync_dir(d->disk, d->dir);
    if (rc < 0)
        finish_going(d);
    return 0;
}

bool snapshot_dir_tidy(struct snapshot_dir *d)
{
    if (d->going == NULL)
        return false;
    uint64_t n = MIN_OF(d->going_bytes, TIDY_BYTES);
    int fd = n > 0 ? d->disk->ops->open(d->disk, d->going, DISK_WRITE) : -1;
    int rc = fd < 0 ? fd : d->disk->ops->release(d->disk, fd, d->going_bytes - n, n);
    if (fd >= 0)
        d->disk->ops->close(d->disk, fd);
    if (rc == 0)
        d->going_bytes -= n;
    if (rc < 0 || d->going_bytes == 0)
        finish_going(d);
    return d->going != NULL;
}

static void prune(struct snapshot_dir *d)
{
    while (d->count > SNAPSHOT_KEEP) {
        char name[NAME_BYTES];
        file_name(d->indexes[d->count - 1], name);
        AUTO_FREE char *path = dir_path(d, name);
        int rc = failpoint(FP_SNAPSHOT_PRUNE);
        uint64_t index = d->indexes[d->count - 1];
        if (rc == 0 && d->in_parts && d->disk->ops->release != NULL && !is_open(d, index))
            rc = begin_going(d, path, index);
        else if (rc == 0)
            rc = d->disk->ops->unlink(d->disk, path);
        if (rc < 0 && rc != -ENOENT) {
            log_warning("cannot delete the old snapshot %s: %s", path, strerror(-rc));
            return;
        }
        d->count--;
    }
}

/* --- reading ------------------------------------------------------------------ */

static int corrupt(const struct snapshot_file *f, const char *what, struct error *err)
{
    return error_set(err, E_CORRUPT, "the snapshot %s cannot be used: %s", f->path, what);
}

static int read_exact(struct snapshot_file *f, uint64_t offset, void *p, size_t n,
                      struct error *err)
{
    ssize_t got = failpoint(FP_SNAPSHOT_READ);
    if (got == 0)
        got = disk_pread_full(f->d->disk, f->fd, p, n, offset);
    if (got < 0)
        return error_set_errno(err, E_IO, (int)-got, "cannot read %s", f->path);
    return (size_t)got == n ? 0 : corrupt(f, "it is cut short", err);
}

static int read_edges(struct snapshot_file *f, uint64_t index, struct error *err)
{
    uint8_t head[EDGE_BYTES] = {0}, foot[EDGE_BYTES] = {0};
    int64_t size = f->d->disk->ops->size(f->d->disk, f->fd);
    if (size < 0)
        return error_set_errno(err, E_IO, (int)-size, "cannot stat %s", f->path);
    if (size < (int64_t)EDGES_BYTES)
        return corrupt(f, "it is cut short", err);
    int rc = read_exact(f, 0, head, EDGE_BYTES, err);
    if (rc == 0)
        rc = read_exact(f, (uint64_t)size - EDGE_BYTES, foot, EDGE_BYTES, err);
    if (rc < 0)
        return rc;
    const char *wrong = edge_check(head, head_magic, f->d->cluster_id);
    if (wrong == NULL)
        wrong = edge_check(foot, foot_magic, f->d->cluster_id);
    if (wrong != NULL)
        return corrupt(f, wrong, err);
    uint32_t meta_bytes = get32(foot + AT_META_BYTES);
    f->info = (struct snapshot_info){
        .index = get64(foot + AT_INDEX),
        .term = get64(foot + AT_TERM),
        .data_bytes = get64(foot + AT_DATA_BYTES),
    };
    f->data_crc = get32(foot + AT_DATA_CRC);
    if (f->info.index != index || meta_bytes > SNAPSHOT_META_MAX ||
        f->info.data_bytes != (uint64_t)size - EDGES_BYTES - meta_bytes)
        return corrupt(f, "its size or name does not fit its footer", err);
    f->meta = xmalloc((size_t)meta_bytes + 1);
    f->info.meta = str_n(f->meta, meta_bytes);
    rc = read_exact(f, EDGE_BYTES + f->info.data_bytes, f->meta, meta_bytes, err);
    if (rc == 0 && crc32c(0, f->meta, meta_bytes) != get32(foot + AT_META_CRC))
        rc = corrupt(f, "its metadata is damaged", err);
    return rc;
}

int snapshot_file_open(struct snapshot_dir *d, uint64_t index, struct snapshot_file **ret,
                       struct error *err)
{
    char name[NAME_BYTES];
    file_name(index, name);
    struct snapshot_file *f = xzalloc(sizeof(*f));
    f->d = d;
    f->index = index;
    list_push_back(&d->files, &f->node);
    f->path = dir_path(d, name);
    f->fd = d->disk->ops->open(d->disk, f->path, DISK_READ);
    int rc;
    if (f->fd < 0)
        rc = error_set_errno(err, f->fd == -ENOENT ? E_NOT_FOUND : E_IO, -f->fd, "cannot open %s",
                             f->path);
    else
        rc = read_edges(f, index, err);
    if (rc < 0) {
        snapshot_file_close(f);
        return rc;
    }
    *ret = f;
    return 0;
}

void snapshot_file_close(struct snapshot_file *f)
{
    if (f == NULL)
        return;
    if (f->fd >= 0)
        f->d->disk->ops->close(f->d->disk, f->fd);
    list_remove(&f->node);
    free(f->meta);
    free(f->path);
    free(f);
}

const char *snapshot_file_path(const struct snapshot_file *f)
{
    return f->path;
}

const struct snapshot_info *snapshot_file_info(const struct snapshot_file *f)
{
    return &f->info;
}

int snapshot_file_read(struct snapshot_file *f, uint64_t offset, void *p, size_t n, size_t *ret_len,
                       struct error *err)
{
    uint64_t left = offset < f->info.data_bytes ? f->info.data_bytes - offset : 0;
    n = (size_t)MIN_OF((uint64_t)n, left);
    int rc = read_exact(f, EDGE_BYTES + offset, p, n, err);
    if (rc < 0)
        return rc;
    if (offset == 0)
        f->crc = 0, f->crc_offset = 0;
    if (offset == f->crc_offset) {
        f->crc = crc32c(f->crc, p, n);
        f->crc_offset += n;
        if (f->crc_offset == f->info.data_bytes && f->crc != f->data_crc)
            return corrupt(f, "its data is damaged", err);
    }
    *ret_len = n;
    return 0;
}

/* --- writing ------------------------------------------------------------------ */

static int write_failed(const struct snapshot_writer *w, int rc, struct error *err)
{
    return error_set_errno(err, disk_error(rc), -rc, "cannot write the snapshot %s", w->tmp);
}

int snapshot_writer_new(struct snapshot_dir *d, uint64_t tag, struct snapshot_writer **ret,
                        struct error *err)
{
    struct snapshot_writer *w = xzalloc(sizeof(*w));
    w->d = d;
    w->tmp = xasprintf("%s/%016" PRIx64 ".tmp", d->dir, tag);
    w->fd = failpoint(FP_SNAPSHOT_CREATE);
    if (w->fd == 0)
        w->fd = d->disk->ops->open(d->disk, w->tmp, DISK_CREATE);
    uint8_t head[EDGE_BYTES];
    edge_fill(head, head_magic, d->cluster_id);
    edge_seal(head);
    int rc = w->fd < 0
                 ? w->fd
                 : failpoint_pwrite_all(FP_SNAPSHOT_WRITE, d->disk, w->fd, head, EDGE_BYTES, 0);
    if (rc < 0) {
        rc = write_failed(w, rc, err);
        snapshot_writer_free(w);
        return rc;
    }
    *ret = w;
    return 0;
}

static int writer_sync(struct snapshot_writer *w)
{
    w->unsynced = w->unwritten = 0;
    int rc = failpoint(FP_SNAPSHOT_SYNC);
    if (rc == 0 && !w->d->no_fsync)
        rc = w->d->disk->ops->fdatasync(w->d->disk, w->fd);
    w->distrusted |= rc < 0;
    return rc;
}

/* A log on the same disk syncs meanwhile, and its sync waits for what is under way. */
static int writer_write_out(struct snapshot_writer *w)
{
    struct disk *disk = w->d->disk;
    uint64_t n = w->unwritten;
    w->unwritten = 0;
    if (disk->ops->write_out == NULL || w->d->no_fsync)
        return 0;
    int rc = failpoint(FP_SNAPSHOT_WRITE_OUT);
    if (rc == 0)
        rc = disk->ops->write_out(disk, w->fd, EDGE_BYTES + w->bytes - n, n);
    w->distrusted |= rc < 0;
    return rc;
}

/* Header and data into another file, as long as they can still be read. */
static int copy_data(struct snapshot_writer *w, int to)
{
    struct disk *disk = w->d->disk;
    uint64_t end = EDGE_BYTES + w->bytes;
    uint32_t crc = 0;
    AUTO_FREE uint8_t *piece = xmalloc(COPY_BYTES);
    for (uint64_t at = 0; at < end;) {
        size_t n = (size_t)MIN_OF(end - at, at == 0 ? (uint64_t)EDGE_BYTES : COPY_BYTES);
        ssize_t got = disk_pread_full(disk, w->fd, piece, n, at);
        if (got != (ssize_t)n)
            return got < 0 ? (int)got : -EIO;
        if (at > 0)
            crc = crc32c(crc, piece, n);
        int rc = failpoint_pwrite_all(FP_SNAPSHOT_WRITE, disk, to, piece, n, at);
        if (rc < 0)
            return rc;
        at += n;
    }
    return crc == w->crc ? 0 : -EIO;
}

/* After a failed sync no page of the file is relied on: a new one takes its place. */
static int start_afresh(struct snapshot_writer *w)
{
    struct disk *disk = w->d->disk;
    AUTO_FREE char *tmp =
        xasprintf("%.*s-again.tmp", (int)(strlen(w->tmp) - strlen(".tmp")), w->tmp);
    int fd = disk->ops->open(disk, tmp, DISK_CREATE);
    int rc = fd < 0 ? fd : copy_data(w, fd);
    if (rc < 0) {
        if (fd >= 0)
            disk->ops->close(disk, fd);
        (void)disk->ops->unlink(disk, tmp);
        return rc;
    }
    disk->ops->close(disk, w->fd);
    (void)disk->ops->unlink(disk, w->tmp);
    free(w->tmp);
    w->tmp = take(tmp);
    w->fd = fd;
    w->distrusted = false;
    return 0;
}

int snapshot_writer_append(struct snapshot_writer *w, const void *p, size_t n, struct error *err)
{
    int rc =
        failpoint_pwrite_all(FP_SNAPSHOT_WRITE, w->d->disk, w->fd, p, n, EDGE_BYTES + w->bytes);
    if (rc == 0) {
        w->crc = crc32c(w->crc, p, n);
        w->bytes += n;
        w->unsynced += n;
        w->unwritten += n;
    }
    if (rc == 0 && w->unwritten >= WRITE_OUT_BYTES)
        rc = writer_write_out(w);
    if (rc == 0 && w->unsynced >= SYNC_EVERY_BYTES)
        rc = writer_sync(w);
    return rc < 0 ? write_failed(w, rc, err) : 0;
}

uint64_t snapshot_writer_bytes(const struct snapshot_writer *w)
{
    return w->bytes;
}

/* What follows the data; then all of it is on disk. */
static int write_end(struct snapshot_writer *w, struct str meta, const uint8_t foot[EDGE_BYTES])
{
    struct disk *disk = w->d->disk;
    uint64_t at = EDGE_BYTES + w->bytes;
    int rc = w->distrusted ? start_afresh(w) : 0;
    if (rc == 0)
        rc = disk_pwrite_all(disk, w->fd, meta.data, meta.len, at);
    if (rc == 0)
        rc = failpoint_pwrite_all(FP_SNAPSHOT_FOOTER, disk, w->fd, foot, EDGE_BYTES, at + meta.len);
    return rc == 0 ? writer_sync(w) : rc;
}

int snapshot_writer_commit(struct snapshot_writer *w, uint64_t index, uint64_t term,
                           struct str meta, struct error *err)
{
    ASSERT(meta.len <= SNAPSHOT_META_MAX);
    struct snapshot_dir *d = w->d;
    char name[NAME_BYTES];
    file_name(index, name);
    AUTO_FREE char *path = dir_path(d, name);
    uint8_t foot[EDGE_BYTES];
    edge_fill(foot, foot_magic, d->cluster_id);
    put64(foot + AT_INDEX, index);
    put64(foot + AT_TERM, term);
    put64(foot + AT_DATA_BYTES, w->bytes);
    put32(foot + AT_META_BYTES, (uint32_t)meta.len);
    put32(foot + AT_DATA_CRC, w->crc);
    put32(foot + AT_META_CRC, crc32c(0, meta.data, meta.len));
    edge_seal(foot);
    int rc = w->renamed ? 0 : write_end(w, meta, foot);
    if (rc == 0 && !w->renamed)
        rc = failpoint(FP_SNAPSHOT_RENAME);
    if (rc == 0 && !w->renamed)
        rc = d->disk->ops->rename(d->disk, w->tmp, path);
    if (rc == 0) {
        w->renamed = true;
        rc = failpoint(FP_SNAPSHOT_DIRSYNC);
        if (rc == 0 && !d->no_fsync)
            rc = d->disk->ops->sync_dir(d->disk, d->dir);
    }
    if (rc < 0)
        return write_failed(w, rc, err);
    note(d, index);
    prune(d);
    return 0;
}

void snapshot_writer_free(struct snapshot_writer *w)
{
    if (w == NULL)
        return;
    if (w->fd >= 0) {
        w->d->disk->ops->close(w->d->disk, w->fd);
        if (!w->renamed)
            (void)w->d->disk->ops->unlink(w->d->disk, w->tmp);
    }
    free(w->tmp);
    free(w);
}
