/* local_runtime.c - one containerd per worker namespace, with images but no
 * registry; and the end of a host with all that runs on it. */
#include "cli/local.h"

#include "cli/host.h"
#include "cli/proc.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define START_TIMEOUT_MS 20000
#define MOUNTS_MAX (8u << 20)
#define SANDBOX_ID_LEN 64
/* How long killed processes may take to be gone. */
#define GONE_ROUNDS 100
#define GONE_ROUND_MS 20

static const char *run_dir(struct arena *a, const struct local *l, const char *host)
{
    return arena_printf(a, "%s/%s", local_run_dir(a, l->base_port), host).data;
}

static const char *socket_path(const struct host *h)
{
    return h->runtime_endpoint + strlen("unix://");
}

/* CNI plugins lie in different folders on different systems. */
static const char *cni_bin_dir(void)
{
    static const char *const dirs[] = {"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"};
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        if (file_exists(dirs[i]))
            return dirs[i];
    return dirs[0];
}

/* May this process lower oom_score_adj? Without CAP_SYS_RESOURCE (bit 24) runc
 * cannot, and containerd must not ask it to. */
static bool may_lower_oom_score(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    unsigned long long caps = 0;
    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        if (sscanf(line, "CapEff: %llx", &caps) == 1)
            break;
    if (f != NULL)
        fclose(f);
    return (caps >> 24 & 1) != 0;
}

static int write_config(struct arena *a, const struct local *l, const struct host *h,
                        const char *path, struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    buf_printf(&b, "version = 2\nroot = \"%s/hosts/%s/containerd\"\nstate = \"%s/state\"\n", l->dir,
               h->name, run_dir(a, l, h->name));
    buf_puts(
        &b, "disabled_plugins = [\"io.containerd.internal.v1.opt\", "
            "\"io.containerd.snapshotter.v1.btrfs\", \"io.containerd.snapshotter.v1.zfs\", "
            "\"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.aufs\"]\n");
    buf_printf(&b, "[grpc]\n  address = \"%s\"\n", socket_path(h));
    buf_puts(
        &b, "[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"trireme.local/pause:1\"\n"
            "  stream_server_address = \"127.0.0.1\"\n"
            "  netns_mounts_under_state_dir = true\n");
    if (!may_lower_oom_score())
        buf_puts(&b, "  restrict_oom_score_adj = true\n");
    buf_printf(&b,
               "  [plugins.\"io.containerd.grpc.v1.cri\".cni]\n    bin_dir = \"%s\"\n    conf_dir "
               "= \"%s\"\n",
               cni_bin_dir(), h->cni_conf_dir);
    return file_write_atomic(path, b.data, b.len, 0644, err);
}

int local_runtime_start(struct arena *a, const struct local *l, uint32_t index, struct error *err)
{
    struct host h;
    local_host(a, l, index, &h);
    const char *config = arena_printf(a, "%s/containerd.toml", h.dir).data;
    int rc = file_mkdir_p(run_dir(a, l, h.name), 0755, err);
    if (rc == 0)
        rc = file_mkdir_p(h.dir, 0755, err);
    if (rc == 0)
        rc = file_mkdir_p(h.cni_conf_dir, 0755, err);
    if (rc == 0)
        rc = file_mkdir_p(h.run_dir, 0755, err);
    if (rc == 0)
        rc = file_mkdir_p(h.log_dir, 0755, err);
    if (rc == 0)
        rc = write_config(a, l, &h, config, err);
    if (rc != 0)
        return rc;
    const char *argv[] = {"/usr/bin/containerd", "--config", config, NULL};
    rc = proc_start(
        &(struct proc_config){.argv = argv,
                              .pid_file = arena_printf(a, "%s/containerd.pid", h.run_dir).data,
                              .log_file = arena_printf(a, "%s/containerd.log", h.log_dir).data,
                              .netns = local_netns_path(a, l, h.name)},
        err);
    uint64_t end = env_now_ms(env_system()) + START_TIMEOUT_MS;
    while (rc == 0) {
        if (proc_runf(err, "ctr --address %s version", socket_path(&h)) == 0)
            return 0;
        if (env_now_ms(env_system()) > end)
            return error_set(err, E_TIMEOUT,
                             "containerd of %s does not answer (log: %s/containerd.log)", h.name,
                             h.log_dir);
        proc_sleep_ms(50);
    }
    return rc;
}

/* The script lies beside the sources, or where `make install` puts it. */
static const char *image_script(struct arena *a, const struct local *l)
{
    const char *share = getenv("TRIREME_SHARE");
    const char *places[] = {share != NULL ? arena_printf(a, "%s/images/build.sh", share).data : "",
                            arena_printf(a, "%s/../../deploy/images/build.sh", l->bin_dir).data,
                            arena_printf(a, "%s/../share/trireme/images/build.sh", l->bin_dir).data,
                            "/usr/share/trireme/images/build.sh"};
    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        if (access(places[i], X_OK) == 0)
            return places[i];
    return NULL;
}

int local_images_build(struct arena *a, const struct local *l, struct error *err)
{
    const char *out = arena_printf(a, "%s/images", l->dir).data;
    if (file_exists(arena_printf(a, "%s/busybox.tar", out).data))
        return 0;
    const char *script = image_script(a, l);
    if (script == NULL)
        return error_set(
            err, E_NOT_FOUND,
            "deploy/images/build.sh was not found near %s; it makes the pause and busybox images",
            l->bin_dir);
    return proc_runf(err, "%s %s", script, out);
}

int local_images_import(struct arena *a, const struct local *l, uint32_t index, struct error *err)
{
    struct host h;
    local_host(a, l, index, &h);
    const char *dir = arena_printf(a, "%s/images", l->dir).data;
    DIR *d = opendir(dir);
    if (d == NULL)
        return error_set(err, E_NOT_FOUND, "no images in %s", dir);
    int rc = 0;
    for (struct dirent *e; rc == 0 && (e = readdir(d)) != NULL;)
        if (str_has_suffix(str_of(e->d_name), STR(".tar")))
            rc = proc_runf(err, "ctr --address %s -n k8s.io images import %s/%s", socket_path(&h),
                           dir, e->d_name);
    closedir(d);
    return rc;
}

/* Calls kill on every process of a cgroup and those below it. */
static size_t kill_cgroup(const char *path, int depth)
{
    size_t killed = 0;
    char file[4096];
    snprintf(file, sizeof(file), "%s/cgroup.procs", path);
    FILE *f = fopen(file, "re");
    int pid = 0;
    while (f != NULL && fscanf(f, "%d", &pid) == 1)
        killed += pid > 1 && kill(pid, SIGKILL) == 0;
    if (f != NULL)
        fclose(f);
    DIR *d = depth > 0 ? opendir(path) : NULL;
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        if (e->d_type != DT_DIR || e->d_name[0] == '.')
            continue;
        snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
        killed += kill_cgroup(file, depth - 1);
    }
    if (d != NULL)
        closedir(d);
    return killed;
}

/* Where the host's cgroup is: unified, or one of the v1 controllers. */
static const char *const cgroup_mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/pids",
                                            "/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu",
                                            "/sys/fs/cgroup/systemd"};

static void kill_containers(const struct host *h)
{
    for (int round = 0; round < GONE_ROUNDS; round++) {
        size_t killed = 0;
        for (size_t i = 0; i < ARRAY_SIZE(cgroup_mounts); i++) {
            char path[1024];
            snprintf(path, sizeof(path), "%s%s", cgroup_mounts[i], h->cgroup_root);
            killed += kill_cgroup(path, 8);
        }
        if (killed == 0)
            break;
        proc_sleep_ms(GONE_ROUND_MS);
    }
}

static size_t kill_namespace_once(struct arena *a, const struct local *l, const char *host)
{
    const char *argv[] = {"ip", "netns", "pids", local_netns(a, l, host), NULL};
    AUTO_FREE char *out = NULL;
    if (proc_run(argv, &out, NULL) != 0)
        return 0;
    size_t killed = 0;
    char *save = NULL;
    for (char *w = strtok_r(out, "\n", &save); w != NULL; w = strtok_r(NULL, "\n", &save)) {
        int pid = atoi(w);
        if (pid > 1 && pid != getpid())
            killed += kill(pid, SIGKILL) == 0;
    }
    return killed;
}

/* Everything that runs in the host's namespace, containerd's shims too, and waits until it is gone:
 * what still dies may hold a mount or a cgroup. */
static void kill_namespace(struct arena *a, const struct local *l, const char *host)
{
    for (int round = 0; round < GONE_ROUNDS && kill_namespace_once(a, l, host) != 0; round++)
        proc_sleep_ms(GONE_ROUND_MS);
}

int local_host_may_stop(struct arena *a, const struct local *l, uint32_t index, struct error *err)
{
    struct host h;
    local_host(a, l, index, &h);
    if (!l->loopback && !proc_is_root())
        return error_set(err, E_FORBIDDEN,
                         "%s is a network namespace: to act on it needs root, as `up` did", h.name);
    return host_may_stop(a, &h, err);
}

void local_host_stop(struct arena *a, const struct local *l, uint32_t index, int sig)
{
    struct host h;
    local_host(a, l, index, &h);
    if (sig == SIGKILL && !l->loopback)
        kill_namespace(a, l, h.name);
    host_stop(a, &h, sig);
    if (h.worker) {
        proc_stop(arena_printf(a, "%s/containerd.pid", h.run_dir).data, sig, 5000);
        if (sig == SIGKILL) {
            kill_namespace(a, l, h.name);
            kill_containers(&h);
        }
    }
}

/* Lazily unmounts everything below prefix, deepest first. */
static void unmount_below(struct arena *a, const char *prefix)
{
    AUTO_BUF b = BUF_INIT;
    if (file_read("/proc/self/mounts", MOUNTS_MAX, &b, NULL) != 0)
        return;
    struct str rest = buf_str(&b), line, device, path;
    const char **found = NULL;
    size_t count = 0, cap = 0;
    while (!str_empty(rest)) {
        str_cut(rest, '\n', &line, &rest);
        str_cut(line, ' ', &device, &line);
        str_cut(line, ' ', &path, &line);
        if (!str_has_prefix(path, str_of(prefix)))
            continue;
        found = arena_grow(a, found, count, &cap, sizeof(*found));
        found[count++] = arena_str(a, path).data;
    }
    while (count-- > 0)
        proc_runf(NULL, "umount -l %s", found[count]);
}

/* False while something in it has not died yet. */
static bool remove_cgroup(const char *path, int depth)
{
    DIR *d = depth > 0 ? opendir(path) : NULL;
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char below[4096];
        if (e->d_type != DT_DIR || e->d_name[0] == '.')
            continue;
        snprintf(below, sizeof(below), "%s/%s", path, e->d_name);
        remove_cgroup(below, depth - 1);
    }
    if (d != NULL)
        closedir(d);
    return rmdir(path) == 0 || errno != EBUSY;
}

static bool remove_cgroups(const struct host *h)
{
    char path[1024];
    snprintf(path, sizeof(path), "/sys/fs/cgroup%s", h->cgroup_root);
    bool gone = remove_cgroup(path, 8);
    DIR *d = opendir("/sys/fs/cgroup");
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/sys/fs/cgroup/%s%s", e->d_name, h->cgroup_root);
        gone = remove_cgroup(path, 8) && gone;
    }
    if (d != NULL)
        closedir(d);
    return gone;
}

/* libcni keeps a note on each sandbox until it is torn down, which nobody does
 * for pods that were killed with their host. */
#define CNI_NOTES_DIR "/var/lib/cni/results"

static void forget_sandbox(const char *id)
{
    DIR *d = opendir(CNI_NOTES_DIR);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.' && strstr(e->d_name, id) != NULL)
            unlinkat(dirfd(d), e->d_name, 0);
    if (d != NULL)
        closedir(d);
}

static void forget_sandboxes(struct arena *a, const struct local *l, const struct host *h)
{
    const char *path = arena_printf(a, "%s/hosts/%s/containerd/io.containerd.grpc.v1.cri/sandboxes",
                                    l->dir, h->name)
                           .data;
    DIR *d = opendir(path);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
        if (strlen(e->d_name) == SANDBOX_ID_LEN)
            forget_sandbox(e->d_name);
    if (d != NULL)
        closedir(d);
}

void local_host_clean(struct arena *a, const struct local *l, uint32_t index)
{
    struct host h;
    local_host(a, l, index, &h);
    if (!l->loopback)
        kill_namespace(a, l, h.name); /* Also what no pid file tells of. */
    if (!h.worker)
        return;
    unmount_below(a, arena_printf(a, "%s/hosts/%s/", l->dir, h.name).data);
    unmount_below(a, arena_printf(a, "%s/", run_dir(a, l, h.name)).data);
    forget_sandboxes(a, l, &h);
    file_remove_tree(run_dir(a, l, h.name), NULL);
    for (int round = 0; round < GONE_ROUNDS && !remove_cgroups(&h); round++)
        proc_sleep_ms(GONE_ROUND_MS);
}
