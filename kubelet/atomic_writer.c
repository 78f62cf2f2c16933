/* atomic_writer.c - see atomic_writer.h. */
#include "kubelet/atomic_writer.h"

#include "lib/base/buf.h"
#include "lib/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DATA_LINK "..data"
#define DATA_LINK_NEW "..data_tmp"

bool payload_path_valid(struct str path)
{
    if (path.len == 0 || path.len > 4096 || path.data[0] == '/' ||
        memchr(path.data, '\0', path.len))
        return false;
    struct str rest = path, part;
    bool more = true;
    /* The first name must not collide with our own. */
    if (str_has_prefix(path, STR("..")))
        return false;
    while (more) {
        more = str_cut(rest, '/', &part, &rest);
        if (part.len == 0 || part.len > NAME_MAX || str_eqc(part, "..") || str_eqc(part, "."))
            return false;
    }
    return true;
}

static bool file_is(const char *path, const struct payload_file *f)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || (size_t)st.st_size != f->data.len)
        return false;
    AUTO_BUF b = BUF_INIT;
    return file_read(path, f->data.len + 1, &b, NULL) == 0 && str_eq(buf_str(&b), f->data);
}

/* Counts the regular files below a folder; payloads are shallow by nature. */
static size_t count_files(const char *path, int depth)
{
    size_t n = 0;
    DIR *d = depth < 32 ? opendir(path) : NULL;
    if (d == NULL)
        return 0;
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        AUTO_FREE char *sub = xasprintf("%s/%s", path, e->d_name);
        struct stat st;
        if (lstat(sub, &st) == 0)
            n += S_ISDIR(st.st_mode) ? count_files(sub, depth + 1) : 1;
    }
    closedir(d);
    return n;
}

static struct str top_name(const char *path)
{
    struct str head, tail;
    str_cut(str_of(path), '/', &head, &tail);
    return head;
}

/* Who was stopped after ..data was switched has left names without links. */
static bool links_are_there(const char *dir, const struct payload *p)
{
    struct stat st;
    for (size_t i = 0; i < p->count; i++) {
        AUTO_FREE char *link = xasprintf("%s/" STR_FMT, dir, STR_ARG(top_name(p->files[i].path)));
        if (lstat(link, &st) != 0)
            return false;
    }
    return true;
}

static bool unchanged(const char *dir, const struct payload *p)
{
    AUTO_FREE char *data = xasprintf("%s/%s", dir, DATA_LINK);
    struct stat st;
    if (stat(data, &st) != 0 || count_files(data, 0) != p->count || !links_are_there(dir, p))
        return false;
    for (size_t i = 0; i < p->count; i++) {
        AUTO_FREE char *path = xasprintf("%s/%s", data, p->files[i].path);
        if (!file_is(path, &p->files[i]))
            return false;
    }
    return true;
}

static int make_parents(const char *root, const char *rel, int64_t gid, struct error *err)
{
    AUTO_FREE char *path = xasprintf("%s/%s", root, rel);
    for (char *slash = strchr(path + strlen(root) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return error_set_errno(err, E_IO, errno, "mkdir %s", path);
        if (chmod(path, 0755) != 0 || (gid >= 0 && chown(path, (uid_t)-1, (gid_t)gid) != 0))
            return error_set_errno(err, E_IO, errno, "chown %s", path);
        *slash = '/';
    }
    return 0;
}

static int write_file(const char *root, const struct payload *p, const struct payload_file *f,
                      struct error *err)
{
    int rc = make_parents(root, f->path, p->gid, err);
    if (rc != 0)
        return rc;
    AUTO_FREE char *path = xasprintf("%s/%s", root, f->path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, E_IO, errno, "open %s", path);
    for (size_t done = 0; rc == 0 && done < f->data.len;) {
        ssize_t n = write(fd, f->data.data + done, f->data.len - done);
        if (n < 0 && errno != EINTR)
            rc = error_set_errno(err, errno == ENOSPC ? E_NO_SPACE : E_IO, errno, "write %s", path);
        done += n > 0 ? (size_t)n : 0;
    }
    int mode = p->gid >= 0 ? f->mode | 0440 : f->mode;
    if (rc == 0 && (f->uid >= 0 || p->gid >= 0) &&
        fchown(fd, f->uid >= 0 ? (uid_t)f->uid : (uid_t)-1,
               p->gid >= 0 ? (gid_t)p->gid : (gid_t)-1) != 0)
        rc = error_set_errno(err, E_IO, errno, "chown %s", path);
    if (rc == 0 && fchmod(fd, (mode_t)mode & 07777) != 0)
        rc = error_set_errno(err, E_IO, errno, "chmod %s", path);
    close(fd);
    return rc;
}

/* A new folder for this version; its name says when, for people. */
static int make_version(const char *dir, char *ret, size_t size, struct error *err)
{
    struct timespec now;
    struct tm tm;
    for (int tries = 0; tries < 100; tries++) {
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &tm);
        char stamp[32];
        strftime(stamp, sizeof(stamp), "%Y_%m_%d_%H_%M_%S", &tm);
        snprintf(ret, size, "..%s.%09ld", stamp, now.tv_nsec);
        AUTO_FREE char *path = xasprintf("%s/%s", dir, ret);
        if (mkdir(path, 0755) == 0) {
            if (chmod(path, 0755) != 0)
                return error_set_errno(err, E_IO, errno, "chmod %s", path);
            return 0;
        }
        if (errno != EEXIST)
            return error_set_errno(err, E_IO, errno, "mkdir %s", path);
    }
    return error_set(err, E_IO, "%s: no free name for a new version", dir);
}

static int switch_data(const char *dir, const char *version, struct error *err)
{
    AUTO_FREE char *fresh = xasprintf("%s/%s", dir, DATA_LINK_NEW);
    AUTO_FREE char *data = xasprintf("%s/%s", dir, DATA_LINK);
    if (unlink(fresh) != 0 && errno != ENOENT)
        return error_set_errno(err, E_IO, errno, "unlink %s", fresh);
    if (symlink(version, fresh) != 0)
        return error_set_errno(err, E_IO, errno, "symlink %s", fresh);
    if (rename(fresh, data) != 0)
        return error_set_errno(err, E_IO, errno, "rename %s", data);
    return 0;
}

static int make_links(const char *dir, const struct payload *p, struct error *err)
{
    for (size_t i = 0; i < p->count; i++) {
        struct str top = top_name(p->files[i].path);
        AUTO_FREE char *link = xasprintf("%s/" STR_FMT, dir, STR_ARG(top));
        AUTO_FREE char *target = xasprintf("%s/" STR_FMT, DATA_LINK, STR_ARG(top));
        if (symlink(target, link) != 0 && errno != EEXIST)
            return error_set_errno(err, E_IO, errno, "symlink %s", link);
    }
    return 0;
}

/* Drops links to names that are gone, and versions other than the live one. */
static void sweep(const char *dir, const struct payload *p, const char *live)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return;
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        AUTO_FREE char *path = xasprintf("%s/%s", dir, e->d_name);
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            strcmp(e->d_name, DATA_LINK) == 0 || strcmp(e->d_name, live) == 0 ||
            lstat(path, &st) != 0)
            continue;
        if (S_ISDIR(st.st_mode) && strncmp(e->d_name, "..", 2) == 0) {
            file_remove_tree(path, NULL);
        } else if (S_ISLNK(st.st_mode)) {
            bool wanted = false;
            for (size_t i = 0; i < p->count && !wanted; i++)
                wanted = str_eqc(top_name(p->files[i].path), e->d_name);
            if (!wanted)
                unlink(path);
        }
    }
    closedir(d);
}

int atomic_writer_write(const char *dir, const struct payload *p, bool *ret_changed,
                        struct error *err)
{
    char version[64];
    for (size_t i = 0; i < p->count; i++) {
        if (!payload_path_valid(str_of(p->files[i].path)))
            return error_set(err, E_INVALID, "invalid path: %s", p->files[i].path);
    }
    if (ret_changed != NULL)
        *ret_changed = false;
    if (unchanged(dir, p))
        return 0;
    int rc = make_version(dir, version, sizeof(version), err);
    if (rc != 0)
        return rc;
    AUTO_FREE char *root = xasprintf("%s/%s", dir, version);
    if (p->gid >= 0 && chown(root, (uid_t)-1, (gid_t)p->gid) != 0)
        rc = error_set_errno(err, E_IO, errno, "chown %s", root);
    for (size_t i = 0; rc == 0 && i < p->count; i++)
        rc = write_file(root, p, &p->files[i], err);
    if (rc == 0)
        rc = switch_data(dir, version, err);
    if (rc != 0) {
        file_remove_tree(root, NULL);
        return rc;
    }
    rc = make_links(dir, p, err);
    if (rc != 0)
        return rc;
    sweep(dir, p, version);
    if (ret_changed != NULL)
        *ret_changed = true;
    return 0;
}
