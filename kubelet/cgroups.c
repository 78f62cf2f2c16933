/* cgroups.c - see cgroups.h.
 *
 * With the systemd driver the runtime makes the slices through systemd; we
 * only write limits into those that exist. */
#include "kubelet/cgroups.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define CGROUP_MOUNT "/sys/fs/cgroup"
#define CGROUP2_MAGIC 0x63677270

static const char *const controllers[] = {"cpu",     "cpuacct", "cpuset", "memory",
                                          "pids",    "freezer", "blkio",  "hugetlb",
                                          "devices", "systemd", "unified"};

struct cgroups {
    enum cgroup_driver driver;
    char *root; /* "" or "/path" */
    bool v2;
    char *mounts[ARRAY_SIZE(controllers)]; /* v1: NULL where not mounted. */
};

int cgroups_new(enum cgroup_driver driver, const char *root, struct cgroups **ret,
                struct error *err)
{
    struct statfs fs;
    struct cgroups *c = xzalloc(sizeof(*c));
    c->driver = driver;
    c->root = xstrdup(strcmp(root, "/") == 0 ? "" : root);
    if (statfs(CGROUP_MOUNT, &fs) != 0) {
        int rc = error_set_errno(err, E_IO, errno, "%s", CGROUP_MOUNT);
        cgroups_free(c);
        return rc;
    }
    c->v2 = fs.f_type == CGROUP2_MAGIC;
    bool any = c->v2;
    for (size_t i = 0; !c->v2 && i < ARRAY_SIZE(controllers); i++) {
        char *path = xasprintf("%s/%s", CGROUP_MOUNT, controllers[i]);
        AUTO_FREE char *procs = xasprintf("%s/cgroup.procs", path);
        if (file_exists(procs)) {
            c->mounts[i] = path;
            any = true;
        } else {
            free(path);
        }
    }
    if (!any) {
        cgroups_free(c);
        return error_set(err, E_NOT_FOUND, "no cgroup controllers are mounted below %s",
                         CGROUP_MOUNT);
    }
    *ret = c;
    return 0;
}

void cgroups_free(struct cgroups *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(controllers); i++)
        free(c->mounts[i]);
    free(c->root);
    free(c);
}

bool cgroups_is_v2(const struct cgroups *c)
{
    return c->v2;
}

/* --- names ------------------------------------------------------------------- */

/* The path below the mount, for files. qos QOS_GUARANTEED and uid NULL: kubepods itself. */
static char *group_path(const struct cgroups *c, enum qos_class qos, const char *uid)
{
    static const char *const fs_class[] = {"", "/burstable", "/besteffort"};
    static const char *const sd_class[] = {"", "-burstable", "-besteffort"};
    if (c->driver == CGROUP_DRIVER_CGROUPFS)
        return uid == NULL ? xasprintf("%s/kubepods%s", c->root, fs_class[qos])
                           : xasprintf("%s/kubepods%s/pod%s", c->root, fs_class[qos], uid);
    char *class_path = qos == QOS_GUARANTEED ? xasprintf("%s/kubepods.slice", c->root)
                                             : xasprintf("%s/kubepods.slice/kubepods%s.slice",
                                                         c->root, sd_class[qos]);
    if (uid == NULL)
        return class_path;
    AUTO_FREE char *flat = xstrdup(uid);
    for (char *p = flat; *p != '\0'; p++)
        *p = *p == '-' ? '_' : *p;
    char *path = xasprintf("%s/kubepods%s-pod%s.slice", class_path, sd_class[qos], flat);
    free(class_path);
    return path;
}

const char *cgroups_pod_parent(const struct cgroups *c, struct arena *a, enum qos_class qos,
                               const char *uid)
{
    AUTO_FREE char *path = group_path(c, qos, uid);
    /* systemd is told the slice's name alone. */
    const char *name = c->driver == CGROUP_DRIVER_SYSTEMD ? strrchr(path, '/') + 1 : path;
    return arena_strdup(a, name);
}

const char *cgroups_pod_path(const struct cgroups *c, struct arena *a, enum qos_class qos,
                             const char *uid)
{
    AUTO_FREE char *path = group_path(c, qos, uid);
    return arena_strdup(a, path);
}

const char *cgroups_pods_path(const struct cgroups *c, struct arena *a)
{
    return cgroups_pod_path(c, a, QOS_GUARANTEED, NULL);
}

static char *full_path(const struct cgroups *c, size_t controller, const char *group)
{
    return c->v2 ? xasprintf("%s%s", CGROUP_MOUNT, group)
                 : xasprintf("%s%s", c->mounts[controller], group);
}

/* --- values ------------------------------------------------------------------ */

static int write_value(const char *dir, const char *file, const char *value, struct error *err)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : error_set_errno(err, E_IO, errno, "open %s", path);
    ssize_t n = write(fd, value, strlen(value));
    int saved = errno;
    close(fd);
    if (n < 0)
        return error_set_errno(err, E_IO, saved, "write %s to %s", value, path);
    return 0;
}

static int write_number(const char *dir, const char *file, int64_t value, struct error *err)
{
    char text[32];
    snprintf(text, sizeof(text), "%lld", (long long)value);
    return write_value(dir, file, text, err);
}

static bool read_text(const char *dir, const char *file, char *ret, size_t size)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, ret, size - 1);
    close(fd);
    if (n <= 0)
        return false;
    ret[n] = '\0';
    return true;
}

/* A new cpuset cgroup takes no process until it has CPUs and memory nodes. */
static int inherit_cpuset(const char *dir, struct error *err)
{
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
    AUTO_FREE char *parent = xasprintf("%s/..", dir);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(files); i++) {
        char have[4096];
        if (read_text(dir, files[i], have, sizeof(have)) && have[0] != '\n')
            continue;
        if (read_text(parent, files[i], have, sizeof(have)))
            rc = write_value(dir, files[i], have, err);
    }
    return rc;
}

/* Makes each folder of the group, passing controllers on as it goes down. */
static int make_v2(const char *group, struct error *err)
{
    AUTO_FREE char *path = xasprintf("%s%s", CGROUP_MOUNT, group);
    for (char *p = path + strlen(CGROUP_MOUNT);; p++) {
        char c = *p;
        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (mkdir(path, 0755) != 0 && errno != EEXIST)
            return error_set_errno(err, E_IO, errno, "mkdir %s", path);
        if (c == '\0')
            return 0;
        /* Each alone: a missing one must not keep the others away. */
        static const char *const pass[] = {"+cpu",    "+memory", "+pids",
                                           "+cpuset", "+io",     "+hugetlb"};
        for (size_t i = 0; i < ARRAY_SIZE(pass); i++)
            write_value(path, "cgroup.subtree_control", pass[i], NULL);
        *p = c;
    }
}

static int make_v1(const struct cgroups *c, const char *group, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(controllers); i++) {
        if (c->mounts[i] == NULL)
            continue;
        AUTO_FREE char *path = full_path(c, i, group);
        for (char *p = path + strlen(c->mounts[i]) + 1;; p++) {
            char ch = *p;
            if (ch != '/' && ch != '\0')
                continue;
            *p = '\0';
            if (mkdir(path, 0755) != 0 && errno != EEXIST)
                return error_set_errno(err, E_IO, errno, "mkdir %s", path);
            if (strcmp(controllers[i], "cpuset") == 0) {
                int rc = inherit_cpuset(path, err);
                if (rc != 0)
                    return rc;
            }
            *p = ch;
            if (ch == '\0')
                break;
        }
    }
    return 0;
}

static int make_group(const struct cgroups *c, const char *group, struct error *err)
{
    if (c->driver == CGROUP_DRIVER_SYSTEMD)
        return 0;
    return c->v2 ? make_v2(group, err) : make_v1(c, group, err);
}

static int set_limits_v2(const char *group, const struct cgroup_limits *l, struct error *err)
{
    AUTO_FREE char *dir = xasprintf("%s%s", CGROUP_MOUNT, group);
    int rc = write_number(dir, "cpu.weight", cpu_weight_of_shares(l->cpu_shares), err);
    if (rc == 0) {
        AUTO_FREE char *max = l->cpu_quota_us > 0
                                  ? xasprintf("%lld %d", (long long)l->cpu_quota_us, CPU_PERIOD_US)
                                  : xasprintf("max %d", CPU_PERIOD_US);
        rc = write_value(dir, "cpu.max", max, err);
    }
    if (rc == 0)
        rc = l->memory_bytes > 0 ? write_number(dir, "memory.max", l->memory_bytes, err)
                                 : write_value(dir, "memory.max", "max", err);
    if (rc == 0 && l->pids_max > 0)
        rc = write_number(dir, "pids.max", l->pids_max, err);
    return rc == 0 ? hugepage_limits_write(dir, true, &l->hugepages, err) : rc;
}

static int set_limits_v1(const struct cgroups *c, const char *group, const struct cgroup_limits *l,
                         struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(controllers); i++) {
        if (c->mounts[i] == NULL)
            continue;
        AUTO_FREE char *dir = full_path(c, i, group);
        if (strcmp(controllers[i], "cpu") == 0) {
            rc = write_number(dir, "cpu.shares", l->cpu_shares, err);
            if (rc == 0)
                rc = write_number(dir, "cpu.cfs_period_us", CPU_PERIOD_US, err);
            if (rc == 0)
                rc = write_number(dir, "cpu.cfs_quota_us",
                                  l->cpu_quota_us > 0 ? l->cpu_quota_us : -1, err);
        } else if (strcmp(controllers[i], "pids") == 0 && l->pids_max > 0) {
            rc = write_number(dir, "pids.max", l->pids_max, err);
        } else if (strcmp(controllers[i], "hugetlb") == 0) {
            rc = hugepage_limits_write(dir, false, &l->hugepages, err);
        } else if (strcmp(controllers[i], "memory") == 0) {
            rc = write_number(dir, "memory.limit_in_bytes",
                              l->memory_bytes > 0 ? l->memory_bytes : -1, err);
        }
    }
    return rc;
}

static int set_limits(const struct cgroups *c, const char *group, const struct cgroup_limits *l,
                      struct error *err)
{
    return c->v2 ? set_limits_v2(group, l, err) : set_limits_v1(c, group, l, err);
}

/* --- the node's, the pods' ------------------------------------------------------ */

int cgroups_setup_node(const struct cgroups *c, int64_t cpu_milli, int64_t memory_bytes,
                       struct error *err)
{
    static const enum qos_class classes[] = {QOS_GUARANTEED, QOS_BURSTABLE, QOS_BEST_EFFORT};
    for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
        AUTO_FREE char *group = group_path(c, classes[i], NULL);
        int rc = make_group(c, group, err);
        struct cgroup_limits l = {.cpu_shares = CPU_SHARES_MIN};
        if (classes[i] == QOS_GUARANTEED)
            l = (struct cgroup_limits){.cpu_shares = cpu_shares_of_milli(cpu_milli),
                                       .memory_bytes = memory_bytes};
        if (rc == 0)
            rc = set_limits(c, group, &l, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int cgroups_set_burstable_shares(const struct cgroups *c, int64_t shares, struct error *err)
{
    AUTO_FREE char *group = group_path(c, QOS_BURSTABLE, NULL);
    if (c->v2) {
        AUTO_FREE char *dir = full_path(c, 0, group);
        return write_number(dir, "cpu.weight", cpu_weight_of_shares(shares), err);
    }
    for (size_t i = 0; i < ARRAY_SIZE(controllers); i++) {
        if (c->mounts[i] == NULL || strcmp(controllers[i], "cpu") != 0)
            continue;
        AUTO_FREE char *dir = full_path(c, i, group);
        return write_number(dir, "cpu.shares", shares, err);
    }
    return 0;
}

int cgroups_setup_pod(const struct cgroups *c, enum qos_class qos, const char *uid,
                      const struct cgroup_limits *limits, struct error *err)
{
    AUTO_FREE char *group = group_path(c, qos, uid);
    int rc = make_group(c, group, err);
    return rc == 0 ? set_limits(c, group, limits, err) : rc;
}

static void kill_members(const char *dir)
{
    char pids[65536];
    if (!read_text(dir, "cgroup.procs", pids, sizeof(pids)))
        return;
    for (char *p = pids; *p != '\0';) {
        long pid = strtol(p, &p, 10);
        if (pid > 1)
            kill((pid_t)pid, SIGKILL);
        while (*p == '\n')
            p++;
    }
}

/* Innermost first: a cgroup with children cannot be removed. */
static int remove_group(const char *dir, int depth, struct error *err)
{
    DIR *d = depth < 8 ? opendir(dir) : NULL;
    if (d == NULL)
        return errno == ENOENT ? 0 : error_set_errno(err, E_IO, errno, "open %s", dir);
    int rc = 0;
    for (struct dirent *e = readdir(d); rc == 0 && e != NULL; e = readdir(d)) {
        if (e->d_type != DT_DIR || strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        AUTO_FREE char *sub = xasprintf("%s/%s", dir, e->d_name);
        rc = remove_group(sub, depth + 1, err);
    }
    closedir(d);
    if (rc != 0)
        return rc;
    kill_members(dir);
    if (rmdir(dir) != 0 && errno != ENOENT)
        return error_set_errno(err, errno == EBUSY ? E_AGAIN : E_IO, errno, "rmdir %s", dir);
    return 0;
}

int cgroups_remove_pod(const struct cgroups *c, enum qos_class qos, const char *uid,
                       struct error *err)
{
    AUTO_FREE char *group = group_path(c, qos, uid);
    int first = 0;
    for (size_t i = 0; i < (c->v2 ? 1 : ARRAY_SIZE(controllers)); i++) {
        if (!c->v2 && c->mounts[i] == NULL)
            continue;
        AUTO_FREE char *dir = full_path(c, i, group);
        int rc = remove_group(dir, 0, first == 0 ? err : NULL);
        first = first == 0 ? rc : first;
    }
    return first;
}

static void each_pod_below(const char *dir, enum qos_class qos,
                           void (*on_pod)(enum qos_class qos, const char *uid, void *arg),
                           void *arg)
{
    DIR *d = opendir(dir);
    for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d))
        if (e->d_type == DT_DIR && strncmp(e->d_name, "pod", 3) == 0)
            on_pod(qos, e->d_name + 3, arg);
    if (d != NULL)
        closedir(d);
}

void cgroups_each_pod(const struct cgroups *c,
                      void (*on_pod)(enum qos_class qos, const char *uid, void *arg), void *arg)
{
    static const enum qos_class classes[] = {QOS_GUARANTEED, QOS_BURSTABLE, QOS_BEST_EFFORT};
    if (c->driver == CGROUP_DRIVER_SYSTEMD)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
        AUTO_FREE char *group = group_path(c, classes[i], NULL);
        for (size_t k = 0; k < (c->v2 ? 1 : ARRAY_SIZE(controllers)); k++) {
            if (!c->v2 && c->mounts[k] == NULL)
                continue;
            AUTO_FREE char *dir = full_path(c, k, group);
            each_pod_below(dir, classes[i], on_pod, arg);
        }
    }
}
