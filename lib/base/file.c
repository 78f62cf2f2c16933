/* file.c - see file.h. */
#include "lib/base/file.h"

#include "lib/base/buf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void file_close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define AUTO_FD __attribute__((cleanup(file_close_fd))) int

static int file_error(struct error *err, const char *verb, const char *path)
{
    int code = errno == ENOENT                      ? E_NOT_FOUND
               : errno == EACCES || errno == EPERM  ? E_FORBIDDEN
               : errno == ENOSPC || errno == EDQUOT ? E_NO_SPACE
                                                    : E_IO;
    return error_set_errno(err, code, errno, "%s %s", verb, path);
}

int file_read(const char *path, size_t max, struct buf *b, struct error *err)
{
    AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return file_error(err, "open", path);
    size_t start = b->len;
    for (;;) {
        uint8_t *out = buf_reserve(b, 16384);
        ssize_t n = read(fd, out, 16384);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            buf_truncate(b, start);
            return file_error(err, "read", path);
        }
        if (n == 0)
            return 0;
        buf_commit(b, (size_t)n);
        if (b->len - start > max) {
            buf_truncate(b, start);
            return error_set(err, E_TOO_LARGE, "%s is larger than %zu bytes", path, max);
        }
    }
}

static int file_write_all(int fd, const void *p, size_t n)
{
    const char *from = p;
    while (n > 0) {
        ssize_t done = write(fd, from, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        from += done;
        n -= (size_t)done;
    }
    return 0;
}

/* The folder of path, "." if it has none. malloc'ed. */
static char *file_dir_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

int file_write_atomic(const char *path, const void *p, size_t n, mode_t mode, struct error *err)
{
    AUTO_FREE char *temp = xasprintf("%s.tmp.XXXXXX", path);
    AUTO_FREE char *dir = file_dir_of(path);
    AUTO_FD fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        return file_error(err, "create", temp);
    /* rename() publishes the name only once the bytes are on the disk. */
    if (fchmod(fd, mode) < 0 || file_write_all(fd, p, n) < 0 || fsync(fd) < 0) {
        int code = file_error(err, "write", temp);
        unlink(temp);
        return code;
    }
    if (rename(temp, path) < 0) {
        int code = file_error(err, "rename to", path);
        unlink(temp);
        return code;
    }
    return file_sync_dir(dir, err);
}

int file_mkdir_p(const char *path, mode_t mode, struct error *err)
{
    AUTO_FREE char *copy = xstrdup(path);
    for (char *p = copy; *p != '\0';) {
        char *slash = strchr(p + 1, '/');
        if (slash != NULL)
            *slash = '\0';
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return file_error(err, "create folder", copy);
        if (slash == NULL)
            break;
        *slash = '/';
        p = slash;
    }
    struct stat st;
    if (stat(path, &st) < 0)
        return file_error(err, "create folder", path);
    if (!S_ISDIR(st.st_mode))
        return error_set(err, E_EXISTS, "%s exists and is not a folder", path);
    return 0;
}

int file_sync_dir(const char *path, struct error *err)
{
    AUTO_FD fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return file_error(err, "sync folder", path);
    return 0;
}

int file_remove(const char *path, struct error *err)
{
    if (unlink(path) < 0 && errno != ENOENT)
        return file_error(err, "remove", path);
    return 0;
}

/* Removes entries of the folder open at fd until one is a folder itself, whose
 * name goes to `name`. Returns 1 then, 0 when the folder is empty, or -1. */
static int file_empty_until_dir(int fd, char name[NAME_MAX + 1])
{
    int copy = dup(fd);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (dir == NULL) {
        file_close_fd(&copy);
        return -1;
    }
    rewinddir(dir);
    int result = 0;
    for (struct dirent *e; result == 0 && (errno = 0, e = readdir(dir)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, e->d_name, 0) == 0 || errno == ENOENT)
            continue;
        if (errno != EISDIR && errno != EPERM)
            result = -1;
        else if (unlinkat(fd, e->d_name, AT_REMOVEDIR) == 0)
            continue;
        else if (errno == ENOTEMPTY || errno == EEXIST)
            result = 1;
        else
            result = -1;
        if (result == 1)
            snprintf(name, NAME_MAX + 1, "%s", e->d_name);
    }
    if (result == 0 && errno != 0)
        result = -1;
    int saved = errno;
    closedir(dir);
    errno = saved;
    return result;
}

/* Descends with a file descriptor, never through a link, and climbs again by
 * "..", so that depth costs neither stack nor descriptors. */
int file_remove_tree(const char *path, struct error *err)
{
    if (unlink(path) == 0 || errno == ENOENT)
        return 0;
    AUTO_FD fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return file_error(err, "remove", path);
    size_t depth = 0;
    for (;;) {
        char name[NAME_MAX + 1];
        int found = file_empty_until_dir(fd, name);
        if (found < 0)
            return file_error(err, "remove below", path);
        if (found == 0 && depth == 0)
            break;
        int next =
            openat(fd, found == 1 ? name : "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0)
            return file_error(err, "remove below", path);
        close(fd);
        fd = next;
        if (found == 1)
            depth++;
        else
            depth--;
    }
    if (rmdir(path) < 0)
        return file_error(err, "remove", path);
    return 0;
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}
