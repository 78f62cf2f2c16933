/* disk_sim.c - see disk_sim.h. */
#include "disk_sim.h"
#include "sim.h"

#include <errno.h>
#include <string.h>

#define SECTOR 512
#define FDS_MAX 64

struct file {
    struct list node;
    uint8_t *cache, *stable;
    uint8_t *dirty; /* One flag per sector. */
    size_t cap, cache_size, stable_size;
    uint32_t users; /* Names and open numbers. */
    bool locked;
};

struct name {
    char *path;
    struct file *file;
};

struct names {
    struct name *items;
    uint32_t count, cap;
};

/* A name that came (from NULL), went (to NULL) or changed, since the last sync_dir. */
struct change {
    char *from, *to;
    struct file *file;
};

struct sim_disk {
    struct disk base;
    struct rng *rng;
    struct list files;
    struct names live, stable;
    struct change *changes;
    uint32_t change_count, change_cap;
    struct {
        struct file *file;
        bool is_lock;
    } fds[FDS_MAX];
    uint64_t used, limit;
    bool counting; /* Down to the stop. */
    uint64_t calls_left, hiccup_in;
    bool dead, failing;
};

static struct sim_disk *of(struct disk *d)
{
    return CONTAINER_OF(d, struct sim_disk, base);
}

/* --- files --- */

static struct file *file_new(struct sim_disk *d)
{
    struct file *f = xzalloc(sizeof(*f));
    list_push_back(&d->files, &f->node);
    return f;
}

static void file_drop(struct sim_disk *d, struct file *f)
{
    if (--f->users > 0)
        return;
    d->used -= f->cap;
    list_remove(&f->node);
    free(f->cache);
    free(f->stable);
    free(f->dirty);
    free(f);
}

static int file_grow(struct sim_disk *d, struct file *f, size_t size)
{
    size_t cap = (size + SECTOR - 1) / SECTOR * SECTOR;
    if (cap <= f->cap)
        return 0;
    if (d->limit != 0 && d->used + cap - f->cap > d->limit)
        return -ENOSPC;
    d->used += cap - f->cap;
    f->cache = xrealloc(f->cache, cap);
    f->stable = xrealloc(f->stable, cap);
    f->dirty = xrealloc(f->dirty, cap / SECTOR);
    memset(f->cache + f->cap, 0, cap - f->cap);
    memset(f->stable + f->cap, 0, cap - f->cap);
    memset(f->dirty + f->cap / SECTOR, 0, (cap - f->cap) / SECTOR);
    f->cap = cap;
    return 0;
}

/* --- names --- */

static struct name *find(const struct names *n, const char *path)
{
    for (uint32_t i = 0; i < n->count; i++)
        if (strcmp(n->items[i].path, path) == 0)
            return &n->items[i];
    return NULL;
}

static void names_add(struct sim_disk *d, struct names *n, const char *path, struct file *f)
{
    struct name *old = find(n, path);
    f->users++;
    if (old != NULL) {
        file_drop(d, old->file);
        old->file = f;
        return;
    }
    if (n->count == n->cap) {
        n->cap = n->cap == 0 ? 16 : 2 * n->cap;
        n->items = xrealloc(n->items, n->cap * sizeof(n->items[0]));
    }
    n->items[n->count++] = (struct name){xstrdup(path), f};
}

static void names_remove(struct sim_disk *d, struct names *n, const char *path)
{
    struct name *old = find(n, path);
    if (old == NULL)
        return;
    free(old->path);
    file_drop(d, old->file);
    /* The order stays: what a folder lists must not depend on chance. */
    memmove(old, old + 1, (size_t)(n->items + --n->count - old) * sizeof(*old));
}

static void names_apply(struct sim_disk *d, struct names *n, const struct change *c)
{
    if (c->to != NULL)
        names_add(d, n, c->to, c->file);
    if (c->from != NULL)
        names_remove(d, n, c->from);
}

static void names_done(struct sim_disk *d, struct names *n)
{
    while (n->count > 0)
        names_remove(d, n, n->items[n->count - 1].path);
    free(n->items);
    *n = (struct names){0};
}

static void names_change(struct sim_disk *d, const char *from, const char *to, struct file *f)
{
    if (d->change_count == d->change_cap) {
        d->change_cap = d->change_cap == 0 ? 16 : 2 * d->change_cap;
        d->changes = xrealloc(d->changes, d->change_cap * sizeof(d->changes[0]));
    }
    struct change *c = &d->changes[d->change_count++];
    *c = (struct change){from != NULL ? xstrdup(from) : NULL, to != NULL ? xstrdup(to) : NULL, f};
    f->users++;
    names_apply(d, &d->live, c);
}

/* The first `keep` changes become stable, the others never were. */
static void settle_names(struct sim_disk *d, uint32_t keep)
{
    for (uint32_t i = 0; i < d->change_count; i++) {
        struct change *c = &d->changes[i];
        if (i < keep)
            names_apply(d, &d->stable, c);
        free(c->from);
        free(c->to);
        file_drop(d, c->file);
    }
    d->change_count = 0;
}

/* --- the table --- */

/* Whether the machine still runs; every call is a place where it may stop. */
static bool step(struct sim_disk *d)
{
    if (d->counting && d->calls_left-- == 0)
        d->dead = true;
    if (d->dead)
        d->counting = false;
    return !d->dead;
}

/* A call that fails once, for no reason that lasts. */
static bool hiccup(struct sim_disk *d)
{
    return d->hiccup_in > 0 && --d->hiccup_in == 0;
}

static bool writable(struct sim_disk *d)
{
    return step(d) && !d->failing && !hiccup(d);
}

static int number_for(struct sim_disk *d, struct file *f, bool is_lock)
{
    for (int i = 0; i < FDS_MAX; i++) {
        if (d->fds[i].file != NULL)
            continue;
        d->fds[i].file = f;
        d->fds[i].is_lock = is_lock;
        f->users++;
        return i;
    }
    PANIC("too many open files");
}

static int op_open(struct disk *base, const char *path, enum disk_open how)
{
    struct sim_disk *d = of(base);
    if (!step(d))
        return -EIO;
    struct name *n = find(&d->live, path);
    if (how != DISK_CREATE)
        return n == NULL ? -ENOENT : number_for(d, n->file, false);
    if (d->failing)
        return -EIO;
    if (n != NULL && n->file->cap > 0) {
        n->file->cache_size = 0;
        memset(n->file->cache, 0, n->file->cap);
        memset(n->file->dirty, 1, n->file->cap / SECTOR);
    }
    if (n == NULL) {
        struct file *f = file_new(d);
        names_change(d, NULL, path, f);
        return number_for(d, f, false);
    }
    return number_for(d, n->file, false);
}

static int op_close(struct disk *base, int fd)
{
    struct sim_disk *d = of(base);
    struct file *f = d->fds[fd].file;
    ASSERT(f != NULL);
    if (d->fds[fd].is_lock)
        f->locked = false;
    d->fds[fd].file = NULL;
    file_drop(d, f);
    return 0;
}

static ssize_t op_pread(struct disk *base, int fd, void *p, size_t n, uint64_t offset)
{
    struct sim_disk *d = of(base);
    if (!step(d))
        return -EIO;
    struct file *f = d->fds[fd].file;
    if (offset >= f->cache_size)
        return 0;
    n = MIN_OF(n, f->cache_size - (size_t)offset);
    memcpy(p, f->cache + offset, n);
    return (ssize_t)n;
}

static ssize_t op_pwrite(struct disk *base, int fd, const void *p, size_t n, uint64_t offset)
{
    struct sim_disk *d = of(base);
    struct file *f = d->fds[fd].file;
    if (d->dead || d->failing || hiccup(d))
        return -EIO;
    bool alive = step(d);
    size_t part = alive ? n : (size_t)rng_below(d->rng, n + 1); /* Stopped in its middle. */
    int rc = file_grow(d, f, (size_t)offset + part);
    if (rc < 0)
        return rc;
    if (part > 0) {
        memcpy(f->cache + offset, p, part);
        f->cache_size = MAX_OF(f->cache_size, (size_t)offset + part);
        for (size_t s = (size_t)offset / SECTOR; s * SECTOR < offset + part; s++)
            f->dirty[s] = 1;
    }
    return alive ? (ssize_t)n : -EIO;
}

static void make_stable(struct file *f)
{
    for (size_t s = 0; s < f->cap / SECTOR; s++) {
        if (f->dirty[s] != 0)
            memcpy(f->stable + s * SECTOR, f->cache + s * SECTOR, SECTOR);
        f->dirty[s] = 0;
    }
    f->stable_size = f->cache_size;
}

static int op_fdatasync(struct disk *base, int fd)
{
    struct sim_disk *d = of(base);
    struct file *f = d->fds[fd].file;
    if (!step(d))
        return -EIO;
    if (!d->failing && !hiccup(d)) {
        make_stable(f);
        return 0;
    }
    /* As Linux does: the pages count as clean, although nothing was saved. */
    if (f->cap > 0)
        memset(f->dirty, 0, f->cap / SECTOR);
    return -EIO;
}

static int op_write_out(struct disk *base, int fd, uint64_t offset, uint64_t n)
{
    struct sim_disk *d = of(base);
    struct file *f = d->fds[fd].file;
    if (!step(d))
        return -EIO;
    if (!d->failing && !hiccup(d))
        return 0; /* A crash may still lose it. */
    memset(f->dirty + offset / SECTOR, 0, (size_t)n / SECTOR);
    return -EIO;
}

static int op_fallocate(struct disk *base, int fd, uint64_t offset, uint64_t n)
{
    struct sim_disk *d = of(base);
    struct file *f = d->fds[fd].file;
    if (!writable(d))
        return -EIO;
    int rc = file_grow(d, f, (size_t)(offset + n));
    if (rc == 0)
        f->cache_size = MAX_OF(f->cache_size, (size_t)(offset + n));
    return rc;
}

static int64_t op_size(struct disk *base, int fd)
{
    struct sim_disk *d = of(base);
    return step(d) ? (int64_t)d->fds[fd].file->cache_size : -EIO;
}

static int op_rename(struct disk *base, const char *from, const char *to)
{
    struct sim_disk *d = of(base);
    if (!writable(d))
        return -EIO;
    struct name *n = find(&d->live, from);
    if (n == NULL)
        return -ENOENT;
    names_change(d, from, to, n->file);
    return 0;
}

static int op_unlink(struct disk *base, const char *path)
{
    struct sim_disk *d = of(base);
    if (!writable(d))
        return -EIO;
    struct name *n = find(&d->live, path);
    if (n == NULL)
        return -ENOENT;
    names_change(d, path, NULL, n->file);
    return 0;
}

static int op_mkdir(struct disk *base, const char *path)
{
    UNUSED(path);
    return step(of(base)) ? 0 : -EIO;
}

static int op_sync_dir(struct disk *base, const char *path)
{
    struct sim_disk *d = of(base);
    UNUSED(path); /* One journal for all folders. */
    if (!writable(d))
        return -EIO;
    settle_names(d, d->change_count);
    return 0;
}

/* The name of a file right below dir; NULL: not there. */
static const char *below(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    if (strncmp(path, dir, len) != 0 || path[len] != '/' || strchr(path + len + 1, '/') != NULL)
        return NULL;
    return path + len + 1;
}

static int op_list(struct disk *base, const char *path, disk_list_cb *cb, void *arg)
{
    struct sim_disk *d = of(base);
    if (!step(d))
        return -EIO;
    uint32_t count = 0;
    char **names = xzalloc((d->live.count + 1) * sizeof(names[0]));
    for (uint32_t i = 0; i < d->live.count; i++) {
        const char *name = below(d->live.items[i].path, path);
        if (name != NULL)
            names[count++] = xstrdup(name);
    }
    for (uint32_t i = 0; i < count; i++) { /* They may be deleted meanwhile. */
        cb(names[i], arg);
        free(names[i]);
    }
    free(names);
    return 0;
}

static int op_lock(struct disk *base, const char *path)
{
    struct sim_disk *d = of(base);
    int fd = op_open(base, path, find(&d->live, path) != NULL ? DISK_WRITE : DISK_CREATE);
    if (fd < 0)
        return fd;
    if (d->fds[fd].file->locked) {
        op_close(base, fd);
        return -EWOULDBLOCK;
    }
    d->fds[fd].file->locked = true;
    d->fds[fd].is_lock = true;
    return fd;
}

static int64_t op_free_bytes(struct disk *base, const char *path)
{
    struct sim_disk *d = of(base);
    UNUSED(path);
    if (d->limit == 0)
        return INT64_MAX;
    return d->used < d->limit ? (int64_t)(d->limit - d->used) : 0;
}

static const struct disk_ops ops = {
    .open = op_open,
    .close = op_close,
    .pread = op_pread,
    .pwrite = op_pwrite,
    .fdatasync = op_fdatasync,
    .write_out = op_write_out,
    .fallocate = op_fallocate,
    .size = op_size,
    .rename = op_rename,
    .unlink = op_unlink,
    .mkdir = op_mkdir,
    .sync_dir = op_sync_dir,
    .list = op_list,
    .lock = op_lock,
    .free_bytes = op_free_bytes,
};

/* --- life --- */

struct sim_disk *sim_disk_new(struct rng *rng)
{
    struct sim_disk *d = xzalloc(sizeof(*d));
    d->base.ops = &ops;
    d->rng = rng;
    list_init(&d->files);
    return d;
}

static void close_all(struct sim_disk *d)
{
    for (int i = 0; i < FDS_MAX; i++)
        if (d->fds[i].file != NULL)
            op_close(&d->base, i);
}

void sim_disk_free(struct sim_disk *d)
{
    if (d == NULL)
        return;
    close_all(d);
    settle_names(d, 0);
    names_done(d, &d->live);
    names_done(d, &d->stable);
    ASSERT(list_empty(&d->files));
    free(d->changes);
    free(d);
}

struct disk *sim_disk_base(struct sim_disk *d)
{
    return &d->base;
}

static void crash_file(struct sim_disk *d, struct file *f)
{
    size_t size = rng_chance(d->rng, 500) ? f->stable_size : f->cache_size;
    /* Often all or nothing, else sector by sector. */
    uint64_t mode = rng_below(d->rng, 3);
    for (size_t s = 0; s < f->cap / SECTOR; s++) {
        uint8_t *stable = f->stable + s * SECTOR, *cache = f->cache + s * SECTOR;
        if (f->dirty[s] == 0)
            continue;
        f->dirty[s] = 0;
        uint64_t dice = mode == 0 ? 0 : mode == 1 ? 7 : rng_below(d->rng, 8);
        if (dice < 4)
            memcpy(stable, cache, SECTOR);
        else if (dice == 4)
            memcpy(stable, cache, (size_t)rng_below(d->rng, SECTOR));
    }
    if (f->cap > 0) {
        memset(f->stable + size, 0, f->cap - size);
        memcpy(f->cache, f->stable, f->cap);
    }
    f->cache_size = f->stable_size = size;
    f->locked = false;
}

void sim_disk_crash(struct sim_disk *d)
{
    close_all(d);
    settle_names(d, d->change_count > 0 ? (uint32_t)rng_below(d->rng, d->change_count + 1) : 0);
    struct names was = d->live;
    d->live = (struct names){0};
    for (uint32_t i = 0; i < d->stable.count; i++)
        names_add(d, &d->live, d->stable.items[i].path, d->stable.items[i].file);
    names_done(d, &was);
    LIST_FOREACH (it, &d->files)
        crash_file(d, LIST_ENTRY(it, struct file, node));
    d->counting = d->dead = d->failing = false;
    d->hiccup_in = 0;
}

/* --- faults --- */

void sim_disk_stop_after(struct sim_disk *d, uint64_t calls)
{
    d->counting = true;
    d->calls_left = calls;
}

void sim_disk_stop(struct sim_disk *d)
{
    d->dead = true;
    d->counting = false;
}

void sim_disk_hiccup(struct sim_disk *d, uint64_t calls)
{
    d->hiccup_in = calls;
}

bool sim_disk_dead(const struct sim_disk *d)
{
    return d->dead;
}

void sim_disk_fail(struct sim_disk *d, bool failing)
{
    d->failing = failing;
}

void sim_disk_heal(struct sim_disk *d)
{
    d->counting = d->failing = false;
    d->hiccup_in = d->limit = 0;
}

void sim_disk_limit(struct sim_disk *d, uint64_t bytes)
{
    d->limit = bytes;
}

uint64_t sim_disk_used(const struct sim_disk *d)
{
    return d->used;
}

bool sim_disk_rot(struct sim_disk *d, const char *path, uint64_t offset, uint32_t bit)
{
    struct name *n = find(&d->live, path);
    if (n == NULL || offset >= n->file->cache_size)
        return false;
    n->file->cache[offset] ^= (uint8_t)(1u << (bit % 8));
    n->file->stable[offset] ^= (uint8_t)(1u << (bit % 8));
    return true;
}

const char *sim_disk_name(const struct sim_disk *d, const char *dir, uint32_t i, uint64_t *ret_size)
{
    for (uint32_t j = 0; j < d->live.count; j++) {
        const char *name = below(d->live.items[j].path, dir);
        if (name == NULL || i-- > 0)
            continue;
        if (ret_size != NULL)
            *ret_size = d->live.items[j].file->cache_size;
        return name;
    }
    return NULL;
}

uint32_t sim_disk_count(const struct sim_disk *d, const char *dir)
{
    uint32_t n = 0;
    while (sim_disk_name(d, dir, n, NULL) != NULL)
        n++;
    return n;
}
