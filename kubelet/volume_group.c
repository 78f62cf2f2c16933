/* volume_group.c - fsGroup: gives what is in a volume to a group. Other pods may be writing there
 * meanwhile, so nothing is looked at by a path of more than one name: each entry is opened without
 * following links, and changed through that. */
#include "kubelet/volumes.h"

#include "lib/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define TREE_DEPTH_MAX 256 /* Two descriptors each. */

/* chmod of what an O_PATH descriptor is of; links have no mode. */
static int set_mode(int fd, mode_t mode)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return chmod(path, mode);
}

int volume_set_new_mode(int dir, const char *name, int64_t gid, unsigned mode, struct error *err)
{
    int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, E_IO, errno, "open %s", name);
    int rc = 0;
    if (gid >= 0 && fchownat(fd, "", (uid_t)-1, (gid_t)gid, AT_EMPTY_PATH) != 0)
        rc = error_set_errno(err, E_IO, errno, "chown %s", name);
    if (rc == 0 && set_mode(fd, mode) != 0)
        rc = error_set_errno(err, E_IO, errno, "chmod %s", name);
    close(fd);
    return rc;
}

static int give(int fd, const char *name, gid_t gid, int depth, struct error *err);

static int give_children(DIR *d, gid_t gid, int depth, struct error *err)
{
    int rc = 0;
    for (struct dirent *e = readdir(d); rc == 0 && e != NULL; e = readdir(d)) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        int child = openat(dirfd(d), e->d_name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (child >= 0)
            rc = give(child, e->d_name, gid, depth + 1, err);
        else if (errno != ENOENT) /* Gone meanwhile: not ours to mind. */
            rc = error_set_errno(err, E_IO, errno, "open %s", e->d_name);
    }
    return rc;
}

/* A folder comes after what is in it: one that has the group stands for all below, to
 * OnRootMismatch, also when we were stopped half-way. */
static int give_folder(int fd, const char *name, mode_t mode, gid_t gid, int depth,
                       struct error *err)
{
    if (depth > TREE_DEPTH_MAX)
        return error_set(err, E_TOO_LARGE, "folders nest deeper than %d", TREE_DEPTH_MAX);
    int list = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (list < 0)
        return error_set_errno(err, E_IO, errno, "open %s", name);
    DIR *d = fdopendir(list);
    if (d == NULL) {
        close(list);
        return error_set_errno(err, E_IO, ENOMEM, "open %s", name);
    }
    int rc = give_children(d, gid, depth, err);
    if (rc == 0 && (fchown(list, (uid_t)-1, gid) != 0 || fchmod(list, mode | 02770) != 0))
        rc = error_set_errno(err, E_IO, errno, "chown %s", name);
    closedir(d);
    return rc;
}

/* Closes fd. */
static int give(int fd, const char *name, gid_t gid, int depth, struct error *err)
{
    struct stat st;
    int rc = 0;
    if (fstat(fd, &st) != 0)
        rc = error_set_errno(err, E_IO, errno, "stat %s", name);
    else if (S_ISDIR(st.st_mode))
        rc = give_folder(fd, name, st.st_mode & 07777, gid, depth, err);
    else if (fchownat(fd, "", (uid_t)-1, gid, AT_EMPTY_PATH) != 0 ||
             (!S_ISLNK(st.st_mode) && set_mode(fd, (st.st_mode & 07777) | 0660) != 0))
        rc = error_set_errno(err, E_IO, errno, "chown %s", name);
    close(fd);
    return rc;
}

static bool root_matches(int fd, gid_t gid)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_gid == gid && (st.st_mode & 02770) == 02770;
}

int volume_give_to_group(const struct volume *v, struct error *err)
{
    if (v->gid < 0 || v->read_only || v->block)
        return 0;
    int fd = open(v->path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, E_IO, errno, "open %s", v->path);
    if (v->gid_if_root_differs && root_matches(fd, (gid_t)v->gid)) {
        close(fd);
        return 0;
    }
    int rc = give(fd, ".", (gid_t)v->gid, 0, err);
    return rc == 0 ? 0 : error_prefix(err, "group of %s", v->path);
}
