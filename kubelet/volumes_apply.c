/* volumes_apply.c - the blocking half of volumes.h: folders, mounts, files. */
#include "kubelet/volumes.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MOUNTINFO_BYTES_MAX (16u << 20)

/* --- mounts ------------------------------------------------------------------ */

static bool is_mount_point(const char *path)
{
    struct stat st, up;
    AUTO_FREE char *parent = xasprintf("%s/..", path);
    if (lstat(path, &st) != 0 || stat(parent, &up) != 0)
        return false;
    return st.st_dev != up.st_dev;
}

/* Owner and mode go with the mount: were they given after it, what stops us in between would leave
 * a folder that nobody may write. */
static int mount_tmpfs(const struct volume *v, struct error *err)
{
    char options[128];
    int n = snprintf(options, sizeof(options), "mode=%o", v->gid >= 0 ? 02777u : 0777u);
    if (is_mount_point(v->path))
        return 0;
    if (v->gid >= 0)
        n += snprintf(options + n, sizeof(options) - (size_t)n, ",gid=%lld", (long long)v->gid);
    if (v->tmpfs_bytes > 0)
        snprintf(options + n, sizeof(options) - (size_t)n, ",size=%lld", (long long)v->tmpfs_bytes);
    if (mount("tmpfs", v->path, "tmpfs", 0, options) != 0)
        return error_set_errno(err, E_IO, errno, "mount tmpfs at %s", v->path);
    return 0;
}

static int mount_huge_pages(const struct volume *v, struct error *err)
{
    char options[128];
    int n =
        snprintf(options, sizeof(options), "pagesize=%lld,mode=0777", (long long)v->hugepage_bytes);
    if (is_mount_point(v->path))
        return 0;
    if (v->gid >= 0)
        snprintf(options + n, sizeof(options) - (size_t)n, ",gid=%lld", (long long)v->gid);
    if (mount("nodev", v->path, "hugetlbfs", 0, options) == 0)
        return 0;
    return errno == EINVAL ? error_set(err, E_NOT_IMPLEMENTED,
                                       "this node's kernel has no huge pages of %lld bytes",
                                       (long long)v->hugepage_bytes)
                           : error_set_errno(err, E_IO, errno, "mount hugetlbfs at %s", v->path);
}

/* --- kinds ------------------------------------------------------------------- */

/* Under another name until it is as it must be: no volume has a name with a point. */
static int make_empty_dir(const struct volume *v, struct error *err)
{
    AUTO_FREE char *fresh = xasprintf("%s.new", v->path);
    struct stat st;
    if (lstat(v->path, &st) == 0)
        return 0;
    int rc = file_mkdir_p(fresh, 0755, err);
    if (rc == 0 && v->gid >= 0 && chown(fresh, (uid_t)-1, (gid_t)v->gid) != 0)
        rc = error_set_errno(err, E_IO, errno, "chown %s", fresh);
    if (rc == 0 && chmod(fresh, v->gid >= 0 ? 02777 : 0777) != 0)
        rc = error_set_errno(err, E_IO, errno, "chmod %s", fresh);
    if (rc == 0 && rename(fresh, v->path) != 0)
        rc = error_set_errno(err, E_IO, errno, "rename %s", fresh);
    return rc;
}

static int apply_empty_dir(const struct volume *v, struct error *err)
{
    int rc = make_empty_dir(v, err);
    if (rc == 0 && v->tmpfs)
        rc = mount_tmpfs(v, err);
    if (rc == 0 && v->hugepage_bytes > 0)
        rc = mount_huge_pages(v, err);
    return rc;
}

static int make_file(const char *path, mode_t mode, struct error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
    if (fd < 0)
        return error_set_errno(err, E_IO, errno, "create %s", path);
    close(fd);
    return 0;
}

/* Types and texts as upstream checks them. */
static int apply_host_path(const struct volume *v, struct error *err)
{
    static const struct {
        const char *type;
        mode_t format;
        const char *text;
    } checks[] = {
        {"Directory", S_IFDIR, "is not a directory"},
        {"File", S_IFREG, "is not a file"},
        {"Socket", S_IFSOCK, "is not a socket"},
        {"CharDevice", S_IFCHR, "is not a character device"},
        {"BlockDevice", S_IFBLK, "is not a block device"},
    };
    struct stat st;
    if (v->host_type[0] == '\0')
        return 0;
    bool exists = stat(v->path, &st) == 0;
    if (strcmp(v->host_type, "DirectoryOrCreate") == 0) {
        if (!exists)
            return file_mkdir_p(v->path, 0755, err);
        return S_ISDIR(st.st_mode)
                   ? 0
                   : error_set(err, E_INVALID, "hostPath type check failed: %s is not a directory",
                               v->path);
    }
    if (strcmp(v->host_type, "FileOrCreate") == 0) {
        if (!exists)
            return make_file(v->path, 0644, err);
        return S_ISREG(st.st_mode)
                   ? 0
                   : error_set(err, E_INVALID, "hostPath type check failed: %s is not a file",
                               v->path);
    }
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        if (strcmp(v->host_type, checks[i].type) != 0)
            continue;
        if (exists && (st.st_mode & S_IFMT) == checks[i].format)
            return 0;
        return error_set(err, E_INVALID, "hostPath type check failed: %s %s", v->path,
                         checks[i].text);
    }
    return error_set(err, E_INVALID, "hostPath type check failed: %s is an invalid volume type",
                     v->host_type);
}

static int apply_files(const struct volume *v, struct error *err)
{
    bool changed;
    int rc = file_mkdir_p(v->path, 0755, err);
    if (rc == 0 && v->tmpfs)
        rc = mount_tmpfs(v, err);
    if (rc == 0 && chmod(v->path, v->gid >= 0 ? 02777 : 0777) != 0)
        rc = error_set_errno(err, E_IO, errno, "chmod %s", v->path);
    if (rc == 0 && v->gid >= 0 && chown(v->path, (uid_t)-1, (gid_t)v->gid) != 0)
        rc = error_set_errno(err, E_IO, errno, "chown %s", v->path);
    return rc == 0 ? atomic_writer_write(v->path, &v->payload, &changed, err) : rc;
}

/* The folder of a persistent volume is there before any pod, and outlives it. */
static int apply_local(const struct volume *v, struct error *err)
{
    struct stat st;
    if (stat(v->path, &st) != 0)
        return error_set_errno(err, E_IO, errno, "path \"%s\"", v->path);
    if (v->block)
        return S_ISBLK(st.st_mode)
                   ? 0
                   : error_set(err, E_INVALID, "path \"%s\" is no block device", v->path);
    if (!S_ISDIR(st.st_mode))
        return error_set(err, E_NOT_IMPLEMENTED,
                         "path \"%s\" is no folder: this node makes no file systems on devices",
                         v->path);
    if (file_exists(v->ready_dir))
        return 0;
    int rc = volume_give_to_group(v, err);
    return rc == 0 ? file_mkdir_p(v->ready_dir, 0750, err) : rc;
}

static int apply_one(const struct volume *v, struct error *err)
{
    switch (v->kind) {
    case VOLUME_EMPTY_DIR:
        return apply_empty_dir(v, err);
    case VOLUME_HOST_PATH:
        return apply_host_path(v, err);
    case VOLUME_FILES:
        return apply_files(v, err);
    case VOLUME_LOCAL:
        return apply_local(v, err);
    case VOLUME_CSI:
        return 0; /* Its driver is asked once all of these are there: pod_prepare.c. */
    case VOLUME_IMAGE:
        return 0; /* With the first container that mounts it: pod_image.c. */
    }
    return 0;
}

int volumes_apply(const struct volume_set *s, struct error *err)
{
    static const char *const dirs[] = {"", "/volumes", "/plugins", "/containers"};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(dirs); i++) {
        AUTO_FREE char *path = xasprintf("%s%s", s->pod_dir, dirs[i]);
        rc = file_mkdir_p(path, 0750, err);
    }
    for (size_t i = 0; rc == 0 && i < s->container_count; i++) {
        AUTO_FREE char *path = xasprintf("%s/containers/%s", s->pod_dir, s->containers[i]);
        rc = file_mkdir_p(path, 0750, err);
    }
    if (rc == 0)
        rc = file_mkdir_p(s->log_dir, 0755, err);
    for (size_t i = 0; rc == 0 && i < s->count; i++) {
        rc = apply_one(&s->items[i], err);
        if (rc != 0)
            error_prefix(err, "MountVolume.SetUp failed for volume \"%s\" ", s->items[i].name);
    }
    return rc;
}

/* --- sub-paths --------------------------------------------------------------- */

static int open_beneath(int dir, const char *path, uint64_t flags)
{
    struct open_how how = {.flags = flags, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

/* Makes the folders of path below root, never leaving it. New ones are open to all in an emptyDir,
 * as its root is. */
static int make_beneath(int root, const char *path, const struct volume *v, struct error *err)
{
    unsigned mode = v->gid >= 0 ? 02775u : v->kind == VOLUME_EMPTY_DIR ? 0777u : 0755u;
    AUTO_FREE char *copy = xstrdup(path);
    for (char *p = copy;; p++) {
        char c = *p;
        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        AUTO_FREE char *parent = xstrdup(copy);
        char *slash = strrchr(parent, '/');
        const char *name = slash != NULL ? slash + 1 : parent;
        if (name[0] != '\0') {
            if (slash != NULL)
                *slash = '\0';
            int dir =
                open_beneath(root, slash != NULL ? parent : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
            if (dir < 0)
                return error_set_errno(err, E_IO, errno, "sub-path %s", path);
            int made = mkdirat(dir, name, 0750);
            int saved = errno;
            int rc = made == 0 ? volume_set_new_mode(dir, name, v->gid, mode, err) : 0;
            close(dir);
            if (made != 0 && saved != EEXIST)
                return error_set_errno(err, E_IO, saved, "sub-path %s", path);
            if (rc != 0)
                return rc;
        }
        *p = c;
        if (c == '\0')
            return 0;
    }
}

int volume_bind_sub_path(struct arena *a, const char *pod_dir_path, const struct volume *v,
                         const char *sub_path, const char *container, size_t index,
                         const char **ret, struct error *err)
{
    struct stat st;
    int root = open(v->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return error_set_errno(err, E_IO, errno, "open %s", v->path);
    int rc = 0, fd = open_beneath(root, sub_path, O_PATH | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && v->kind != VOLUME_FILES) {
        rc = make_beneath(root, sub_path, v, err);
        fd = rc == 0 ? open_beneath(root, sub_path, O_PATH | O_CLOEXEC) : -1;
    }
    if (rc == 0 && (fd < 0 || fstat(fd, &st) != 0))
        rc = error_set_errno(err, E_IO, errno, "failed to prepare subPath %s of volume %s",
                             sub_path, v->name);
    close(root);
    if (rc != 0) {
        if (fd >= 0)
            close(fd);
        return rc;
    }
    const char *dir =
        str_c(arena_printf(a, "%s/volume-subpaths/%s/%s", pod_dir_path, v->name, container));
    const char *place = str_c(arena_printf(a, "%s/%zu", dir, index));
    const char *from = str_c(arena_printf(a, "/proc/self/fd/%d", fd));
    rc = file_mkdir_p(dir, 0750, err);
    /* A restarted container binds anew: the volume may have been updated. */
    while (rc == 0 && umount2(place, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
        ;
    if (rc == 0 && S_ISDIR(st.st_mode)) {
        rc = file_mkdir_p(place, 0750, err);
    } else if (rc == 0) {
        rc = make_file(place, 0640, err);
    }
    if (rc == 0 && mount(from, place, NULL, MS_BIND | MS_REC, NULL) != 0)
        rc = error_set_errno(err, E_IO, errno, "bind %s", place);
    close(fd);
    if (rc == 0)
        *ret = place;
    return rc;
}

int volume_read_file(const struct volume *v, const char *path, size_t max, struct buf *ret,
                     struct error *err)
{
    struct stat st;
    char block[4096];
    int root = open(v->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return error_set_errno(err, E_IO, errno, "open %s", v->path);
    /* A pipe must not hold us up. */
    int fd = open_beneath(root, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    int saved = errno, rc = 0;
    close(root);
    if (fd < 0)
        return error_set_errno(err, saved == ENOENT ? E_NOT_FOUND : E_IO, saved, "open %s", path);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        rc = error_set(err, E_INVALID, "%s is not a regular file", path);
    while (rc == 0) {
        ssize_t n = read(fd, block, sizeof(block));
        if (n < 0)
            rc = error_set_errno(err, E_IO, errno, "read %s", path);
        if (n <= 0)
            break;
        buf_append(ret, block, (size_t)n);
        if (ret->len > max)
            rc = error_set(err, E_TOO_LARGE, "%s has more than %zu bytes", path, max);
    }
    close(fd);
    return rc;
}

/* --- removal ------------------------------------------------------------------ */

/* mountinfo writes blanks, tabs, newlines and backslashes as octal. */
static char *unescape_mount(struct str s)
{
    char *out = xmalloc(s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '\\' && i + 3 < s.len) {
            out[n++] = (char)((s.data[i + 1] - '0') * 64 + (s.data[i + 2] - '0') * 8 +
                              (s.data[i + 3] - '0'));
            i += 3;
        } else {
            out[n++] = s.data[i];
        }
    }
    out[n] = '\0';
    return out;
}

/* Unmounts everything below dir, the newest mounts first. */
static int unmount_below(const char *dir, struct error *err)
{
    AUTO_BUF text = BUF_INIT;
    int rc = file_read("/proc/self/mountinfo", MOUNTINFO_BYTES_MAX, &text, err);
    if (rc != 0)
        return rc;
    AUTO_FREE char *prefix = xasprintf("%s/", dir);
    struct str all = buf_str(&text);
    for (size_t end = all.len; end > 0;) {
        size_t start = end - 1;
        while (start > 0 && all.data[start - 1] != '\n')
            start--;
        struct str line = str_sub(all, start, end - start), word = STR_NULL;
        end = start;
        for (int i = 0; i < 5; i++)
            str_cut(line, ' ', &word, &line);
        AUTO_FREE char *path = unescape_mount(word);
        if (strncmp(path, prefix, strlen(prefix)) != 0)
            continue;
        if (umount2(path, UMOUNT_NOFOLLOW) != 0 && umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) != 0)
            return error_set_errno(err, E_IO, errno, "unmount %s", path);
    }
    return 0;
}

int volumes_remove(const char *pod_dir_path, struct error *err)
{
    if (!file_exists(pod_dir_path))
        return 0;
    /* Never delete through a mount that is still there. */
    int rc = unmount_below(pod_dir_path, err);
    return rc == 0 ? file_remove_tree(pod_dir_path, err) : rc;
}
