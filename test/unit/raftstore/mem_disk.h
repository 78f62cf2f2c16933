/* mem_disk.h - a disk in memory that fails, tears and crashes on order.
 *
 * What was written is "cached"; fdatasync makes a file's bytes stable, sync_dir
 * the names. mem_disk_crash() keeps the stable state plus, by the seed, any
 * sectors written since (whole, in part or not at all) and any first few of the
 * renames and deletions since. A failed fdatasync drops the dirty marks without
 * writing, as Linux does: what it should have saved is lost although reads still
 * show it. */
#ifndef TEST_MEM_DISK_H
#define TEST_MEM_DISK_H

#include "lib/base/base.h"
#include "raftstore/disk.h"

#include <errno.h>
#include <string.h>

#define MEM_SECTOR 512
#define MEM_FILES 1024

struct mem_file {
    uint8_t *cache, *stable;
    uint8_t *dirty; /* One flag per sector. */
    size_t cap, cache_size, stable_size;
    bool locked;
};

struct mem_name {
    char path[128];
    struct mem_file *file;
};

struct mem_names {
    struct mem_name items[MEM_FILES];
    size_t count;
};

enum mem_op_type { MEM_OP_ADD, MEM_OP_RENAME, MEM_OP_UNLINK };
struct mem_op {
    enum mem_op_type type;
    char path[128], to[128];
    struct mem_file *file;
};

struct mem_disk {
    struct disk base;
    struct mem_file *files[MEM_FILES * 4];
    size_t file_count;
    struct mem_names live, stable;
    struct mem_op ops[1024]; /* Since the last sync_dir. */
    size_t op_count;
    struct {
        struct mem_file *file;
        bool is_lock;
    } fds[64];
    uint64_t rng;
    /* Faults: the call number fail_at (0 is the first) fails; with persist all
     * from there on. */
    long calls, fail_at;
    int fail_errno;
    bool persist, short_write;
    bool power_off; /* What fails does so because the power goes: a sync is left half done. */
    size_t fdatasyncs;
    int64_t free;
};

static inline uint64_t mem_random(struct mem_disk *d)
{
    d->rng ^= d->rng << 13;
    d->rng ^= d->rng >> 7;
    d->rng ^= d->rng << 17;
    return d->rng;
}

static inline struct mem_disk *mem_of(struct disk *d)
{
    return CONTAINER_OF(d, struct mem_disk, base);
}

static inline int mem_fault(struct mem_disk *d)
{
    long n = d->calls++;
    if (d->fail_at >= 0 && (n == d->fail_at || (d->persist && n > d->fail_at)))
        return -d->fail_errno;
    return 0;
}

static inline struct mem_name *mem_find(struct mem_names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->items[i].path, path) == 0)
            return &names->items[i];
    return NULL;
}

static inline void mem_names_apply(struct mem_names *names, const struct mem_op *op)
{
    struct mem_name *n = mem_find(names, op->path);
    if (op->type == MEM_OP_ADD) {
        ASSERT(n != NULL || names->count < MEM_FILES);
        if (n == NULL)
            n = &names->items[names->count++];
        memcpy(n->path, op->path, sizeof(n->path));
        n->file = op->file;
        return;
    }
    if (n == NULL)
        return;
    struct mem_file *file = n->file;
    *n = names->items[--names->count];
    if (op->type == MEM_OP_RENAME) {
        struct mem_op add = {.type = MEM_OP_ADD, .file = file};
        memcpy(add.path, op->to, sizeof(add.path));
        mem_names_apply(names, &add);
    }
}

static inline void mem_names_change(struct mem_disk *d, enum mem_op_type type, const char *path,
                                    const char *to, struct mem_file *file)
{
    ASSERT(d->op_count < ARRAY_SIZE(d->ops) && strlen(path) < 128 && strlen(to) < 128);
    struct mem_op *op = &d->ops[d->op_count++];
    *op = (struct mem_op){.type = type, .file = file};
    memcpy(op->path, path, strlen(path) + 1);
    memcpy(op->to, to, strlen(to) + 1);
    mem_names_apply(&d->live, op);
}

static inline void mem_grow(struct mem_file *f, size_t size)
{
    size_t cap = (size + MEM_SECTOR - 1) / MEM_SECTOR * MEM_SECTOR;
    if (cap <= f->cap)
        return;
    cap = MAX_OF(cap, f->cap * 2);
    f->cache = xrealloc(f->cache, cap);
    f->stable = xrealloc(f->stable, cap);
    f->dirty = xrealloc(f->dirty, cap / MEM_SECTOR);
    memset(f->cache + f->cap, 0, cap - f->cap);
    memset(f->stable + f->cap, 0, cap - f->cap);
    memset(f->dirty + f->cap / MEM_SECTOR, 0, (cap - f->cap) / MEM_SECTOR);
    f->cap = cap;
}

static inline struct mem_file *mem_new_file(struct mem_disk *d)
{
    ASSERT(d->file_count < ARRAY_SIZE(d->files));
    return d->files[d->file_count++] = xzalloc(sizeof(struct mem_file));
}

static inline int mem_fd(struct mem_disk *d, struct mem_file *f, bool is_lock)
{
    for (int i = 0; i < (int)ARRAY_SIZE(d->fds); i++)
        if (d->fds[i].file == NULL) {
            d->fds[i].file = f;
            d->fds[i].is_lock = is_lock;
            return i;
        }
    PANIC("too many open files");
}

static inline int mem_open(struct disk *base, const char *path, enum disk_open how)
{
    struct mem_disk *d = mem_of(base);
    int rc = mem_fault(d);
    if (rc < 0)
        return rc;
    struct mem_name *n = mem_find(&d->live, path);
    if (how != DISK_CREATE)
        return n == NULL ? -ENOENT : mem_fd(d, n->file, false);
    if (n != NULL) {
        n->file->cache_size = 0;
        memset(n->file->cache, 0, n->file->cap);
        if (n->file->cap > 0)
            memset(n->file->dirty, 1, n->file->cap / MEM_SECTOR);
        return mem_fd(d, n->file, false);
    }
    struct mem_file *f = mem_new_file(d);
    mem_names_change(d, MEM_OP_ADD, path, "", f);
    return mem_fd(d, f, false);
}

static inline int mem_close(struct disk *base, int fd)
{
    struct mem_disk *d = mem_of(base);
    ASSERT(fd >= 0 && d->fds[fd].file != NULL);
    if (d->fds[fd].is_lock)
        d->fds[fd].file->locked = false;
    d->fds[fd].file = NULL;
    return 0;
}

static inline ssize_t mem_pread(struct disk *base, int fd, void *p, size_t n, uint64_t offset)
{
    struct mem_disk *d = mem_of(base);
    int rc = mem_fault(d);
    if (rc < 0)
        return rc;
    struct mem_file *f = d->fds[fd].file;
    if (offset >= f->cache_size)
        return 0;
    n = MIN_OF(n, f->cache_size - (size_t)offset);
    memcpy(p, f->cache + offset, n);
    return (ssize_t)n;
}

static inline ssize_t mem_pwrite(struct disk *base, int fd, const void *p, size_t n,
                                 uint64_t offset)
{
    struct mem_disk *d = mem_of(base);
    int rc = mem_fault(d);
    if (rc < 0 && (!d->short_write || n < 2))
        return rc;
    if (rc < 0)
        n /= 2; /* Then the caller's next try fails or succeeds. */
    struct mem_file *f = d->fds[fd].file;
    mem_grow(f, (size_t)offset + n);
    memcpy(f->cache + offset, p, n);
    f->cache_size = MAX_OF(f->cache_size, (size_t)offset + n);
    for (size_t s = (size_t)offset / MEM_SECTOR; s * MEM_SECTOR < offset + n; s++)
        f->dirty[s] = 1;
    return (ssize_t)n;
}

static inline int mem_fdatasync(struct disk *base, int fd)
{
    struct mem_disk *d = mem_of(base);
    struct mem_file *f = d->fds[fd].file;
    int rc = mem_fault(d);
    d->fdatasyncs++;
    if (rc < 0 && d->power_off)
        return rc;
    for (size_t s = 0; s < f->cap / MEM_SECTOR; s++) {
        if (f->dirty[s] != 0 && rc == 0)
            memcpy(f->stable + s * MEM_SECTOR, f->cache + s * MEM_SECTOR, MEM_SECTOR);
        f->dirty[s] = 0;
    }
    if (rc == 0)
        f->stable_size = f->cache_size;
    return rc;
}

static inline int mem_write_out(struct disk *base, int fd, uint64_t offset, uint64_t n)
{
    struct mem_disk *d = mem_of(base);
    struct mem_file *f = d->fds[fd].file;
    int rc = mem_fault(d);
    if (rc < 0)
        memset(f->dirty + offset / MEM_SECTOR, 0, (size_t)n / MEM_SECTOR);
    return rc;
}

static inline int mem_fallocate(struct disk *base, int fd, uint64_t offset, uint64_t n)
{
    struct mem_disk *d = mem_of(base);
    int rc = mem_fault(d);
    if (rc < 0)
        return rc;
    struct mem_file *f = d->fds[fd].file;
    mem_grow(f, (size_t)(offset + n));
    f->cache_size = MAX_OF(f->cache_size, (size_t)(offset + n));
    return 0;
}

static inline int mem_release(struct disk *base, int fd, uint64_t offset, uint64_t n)
{
    struct mem_disk *d = mem_of(base);
    int rc = mem_fault(d);
    if (rc < 0)
        return rc;
    struct mem_file *f = d->fds[fd].file;
    for (uint64_t at = offset; at < offset + n && at < f->cache_size; at++) {
        f->cache[at] = 0;
        f->dirty[at / MEM_SECTOR] = 1;
    }
    return 0;
}

static inline int64_t mem_size(struct disk *base, int fd)
{
    struct mem_disk *d = mem_of(base);
    int rc = mem_fault(d);
    return rc < 0 ? rc : (int64_t)d->fds[fd].file->cache_size;
}

static inline int mem_rename(struct disk *base, const char *from, const char *to)
{
    struct mem_disk *d = mem_of(base);
    int rc = mem_fault(d);
    if (rc < 0)
        return rc;
    if (mem_find(&d->live, from) == NULL)
        return -ENOENT;
    mem_names_change(d, MEM_OP_RENAME, from, to, NULL);
    return 0;
}

static inline int mem_unlink(struct disk *base, const char *path)
{
    struct mem_disk *d = mem_of(base);
    int rc = mem_fault(d);
    if (rc < 0)
        return rc;
    if (mem_find(&d->live, path) == NULL)
        return -ENOENT;
    mem_names_change(d, MEM_OP_UNLINK, path, "", NULL);
    return 0;
}

static inline int mem_mkdir(struct disk *base, const char *path)
{
    UNUSED(path);
    return mem_fault(mem_of(base));
}

static inline int mem_sync_dir(struct disk *base, const char *path)
{
    UNUSED(path);
    struct mem_disk *d = mem_of(base);
    int rc = mem_fault(d);
    if (rc < 0)
        return rc;
    d->stable = d->live;
    d->op_count = 0;
    return 0;
}

static inline int mem_list(struct disk *base, const char *path, disk_list_cb *cb, void *arg)
{
    struct mem_disk *d = mem_of(base);
    int rc = mem_fault(d);
    size_t len = strlen(path);
    for (size_t i = 0; rc == 0 && i < d->live.count; i++)
        if (strncmp(d->live.items[i].path, path, len) == 0 && d->live.items[i].path[len] == '/')
            cb(d->live.items[i].path + len + 1, arg);
    return rc;
}

static inline int mem_lock(struct disk *base, const char *path)
{
    struct mem_disk *d = mem_of(base);
    int fd = mem_open(base, path, mem_find(&d->live, path) != NULL ? DISK_WRITE : DISK_CREATE);
    if (fd < 0)
        return fd;
    if (d->fds[fd].file->locked) {
        mem_close(base, fd);
        return -EWOULDBLOCK;
    }
    d->fds[fd].file->locked = true;
    d->fds[fd].is_lock = true;
    return fd;
}

static inline int64_t mem_free_bytes(struct disk *base, const char *path)
{
    UNUSED(path);
    return mem_of(base)->free;
}

static inline void mem_disk_init(struct mem_disk *d, uint64_t seed)
{
    static const struct disk_ops ops = {
        .open = mem_open,
        .close = mem_close,
        .pread = mem_pread,
        .pwrite = mem_pwrite,
        .fdatasync = mem_fdatasync,
        .write_out = mem_write_out,
        .fallocate = mem_fallocate,
        .release = mem_release,
        .size = mem_size,
        .rename = mem_rename,
        .unlink = mem_unlink,
        .mkdir = mem_mkdir,
        .sync_dir = mem_sync_dir,
        .list = mem_list,
        .lock = mem_lock,
        .free_bytes = mem_free_bytes,
    };
    memset(d, 0, sizeof(*d));
    d->base.ops = &ops;
    d->rng = seed * 2654435761u + 88172645463325252u;
    d->fail_at = -1;
    d->fail_errno = EIO;
    d->free = INT64_MAX;
}

static inline void mem_disk_done(struct mem_disk *d)
{
    for (size_t i = 0; i < d->file_count; i++) {
        free(d->files[i]->cache);
        free(d->files[i]->stable);
        free(d->files[i]->dirty);
        free(d->files[i]);
    }
    d->file_count = 0;
}

/* The power goes. Open numbers are void; faults end. */
static inline void mem_disk_crash(struct mem_disk *d)
{
    size_t keep = d->op_count > 0 ? (size_t)(mem_random(d) % (d->op_count + 1)) : 0;
    for (size_t i = 0; i < keep; i++)
        mem_names_apply(&d->stable, &d->ops[i]);
    d->live = d->stable;
    d->op_count = 0;
    for (size_t i = 0; i < d->file_count; i++) {
        struct mem_file *f = d->files[i];
        f->locked = false;
        size_t size = mem_random(d) % 2 == 0 ? f->stable_size : f->cache_size;
        for (size_t s = 0; s < f->cap / MEM_SECTOR; s++) {
            uint8_t *stable = f->stable + s * MEM_SECTOR, *cache = f->cache + s * MEM_SECTOR;
            uint64_t dice = mem_random(d) % 8;
            if (f->dirty[s] != 0 && dice < 3)
                memcpy(stable, cache, MEM_SECTOR);
            else if (f->dirty[s] != 0 && dice == 3)
                memcpy(stable, cache, mem_random(d) % MEM_SECTOR);
            f->dirty[s] = 0;
        }
        if (f->cap > 0) {
            memset(f->stable + size, 0, f->cap - size);
            memcpy(f->cache, f->stable, f->cap);
        }
        f->cache_size = f->stable_size = size;
    }
    memset(d->fds, 0, sizeof(d->fds));
    d->fail_at = -1;
    d->persist = d->short_write = d->power_off = false;
}

/* Direct access, to damage what is stored. NULL: no such file. */
static inline struct mem_file *mem_disk_file(struct mem_disk *d, const char *path)
{
    struct mem_name *n = mem_find(&d->live, path);
    return n != NULL ? n->file : NULL;
}

#endif
