/* disk.c - the system's disk, and helpers over any disk. */
#include "raftstore/disk.h"

#include "lib/base/error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int sys_open(struct disk *d, const char *path, enum disk_open how)
{
    UNUSED(d);
    static const int flags[] = {O_RDONLY, O_RDWR, O_RDWR | O_CREAT | O_TRUNC};
    int fd;
    do {
        fd = open(path, flags[how] | O_CLOEXEC, 0600);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static int sys_close(struct disk *d, int fd)
{
    UNUSED(d);
    /* On Linux the number is gone even when close reports EINTR. */
    return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

static ssize_t sys_pread(struct disk *d, int fd, void *p, size_t n, uint64_t offset)
{
    UNUSED(d);
    ssize_t got;
    do {
        got = pread(fd, p, n, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

static ssize_t sys_pwrite(struct disk *d, int fd, const void *p, size_t n, uint64_t offset)
{
    UNUSED(d);
    ssize_t put;
    do {
        put = pwrite(fd, p, n, (off_t)offset);
    } while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : put;
}

static int sys_fdatasync(struct disk *d, int fd)
{
    UNUSED(d);
    return fdatasync(fd) < 0 ? -errno : 0;
}

static int sys_write_out(struct disk *d, int fd, uint64_t offset, uint64_t n)
{
    UNUSED(d);
    unsigned how = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    int rc = sync_file_range(fd, (off_t)offset, (off_t)n, how) < 0 ? -errno : 0;
    /* Some file systems cannot. */
    return rc == -ENOSYS || rc == -EOPNOTSUPP || rc == -ESPIPE || rc == -EINVAL ? 0 : rc;
}

static int sys_fallocate(struct disk *d, int fd, uint64_t offset, uint64_t n)
{
    UNUSED(d);
    int rc;
    do {
        rc = fallocate(fd, 0, (off_t)offset, (off_t)n);
    } while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

static int sys_release(struct disk *d, int fd, uint64_t offset, uint64_t n)
{
    UNUSED(d);
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    return fallocate(fd, mode, (off_t)offset, (off_t)n) < 0 ? -errno : 0;
}

static int64_t sys_size(struct disk *d, int fd)
{
    UNUSED(d);
    struct stat st;
    return fstat(fd, &st) < 0 ? -errno : (int64_t)st.st_size;
}

static int sys_rename(struct disk *d, const char *from, const char *to)
{
    UNUSED(d);
    return rename(from, to) < 0 ? -errno : 0;
}

static int sys_unlink(struct disk *d, const char *path)
{
    UNUSED(d);
    return unlink(path) < 0 ? -errno : 0;
}

static int sys_sync_dir(struct disk *d, const char *path);

/* One folder, durable in its parent. */
static int make_dir(struct disk *d, const char *path)
{
    if (mkdir(path, 0700) < 0)
        return errno == EEXIST ? 0 : -errno;
    const char *slash = strrchr(path, '/');
    AUTO_FREE char *parent =
        slash == NULL ? xstrdup(".") : xstrndup(path, MAX_OF((size_t)(slash - path), (size_t)1));
    return sys_sync_dir(d, parent);
}

static int sys_mkdir(struct disk *d, const char *path)
{
    AUTO_FREE char *part = xstrdup(path);
    for (char *slash = part + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        int rc = make_dir(d, part);
        if (rc < 0)
            return rc;
        *slash = '/';
    }
    return make_dir(d, part);
}

static int sys_sync_dir(struct disk *d, const char *path)
{
    UNUSED(d);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = fsync(fd) < 0 ? -errno : 0;
    close(fd);
    return rc;
}

static int sys_list(struct disk *d, const char *path, disk_list_cb *cb, void *arg)
{
    UNUSED(d);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return -errno;
    struct dirent *entry;
    while (errno = 0, (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            cb(entry->d_name, arg);
    int rc = -errno;
    closedir(dir);
    return rc;
}

static int sys_lock(struct disk *d, const char *path)
{
    UNUSED(d);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    return fd;
}

static int64_t sys_free_bytes(struct disk *d, const char *path)
{
    UNUSED(d);
    struct statvfs st;
    if (statvfs(path, &st) < 0)
        return -errno;
    return (int64_t)MIN_OF((uint64_t)st.f_bavail * st.f_frsize, (uint64_t)INT64_MAX);
}

struct disk *disk_system(void)
{
    static const struct disk_ops ops = {
        .open = sys_open,
        .close = sys_close,
        .pread = sys_pread,
        .pwrite = sys_pwrite,
        .fdatasync = sys_fdatasync,
        .write_out = sys_write_out,
        .fallocate = sys_fallocate,
        .release = sys_release,
        .size = sys_size,
        .rename = sys_rename,
        .unlink = sys_unlink,
        .mkdir = sys_mkdir,
        .sync_dir = sys_sync_dir,
        .list = sys_list,
        .lock = sys_lock,
        .free_bytes = sys_free_bytes,
    };
    static struct disk system_disk = {&ops};
    return &system_disk;
}

int disk_pwrite_all(struct disk *d, int fd, const void *p, size_t n, uint64_t offset)
{
    const uint8_t *at = p;
    while (n > 0) {
        ssize_t put = d->ops->pwrite(d, fd, at, n, offset);
        if (put < 0)
            return (int)put;
        if (put == 0)
            return -EIO; /* A disk that takes nothing and says nothing. */
        at += put;
        n -= (size_t)put;
        offset += (uint64_t)put;
    }
    return 0;
}

ssize_t disk_pread_full(struct disk *d, int fd, void *p, size_t n, uint64_t offset)
{
    uint8_t *at = p;
    size_t done = 0;
    while (done < n) {
        ssize_t got = d->ops->pread(d, fd, at + done, n - done, offset + done);
        if (got < 0)
            return got;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

int disk_error(int rc)
{
    return rc == -ENOSPC || rc == -EDQUOT ? E_NO_SPACE : E_IO;
}
