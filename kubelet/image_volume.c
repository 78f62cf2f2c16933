/* image_volume.c - see image_volume.h.
 *
 *   mounted? -> which snapshotter (verbose status) -> view of the image's last layer -> mount
 *   names of the pod's -> unmount -> views removed, one by one */
#include "kubelet/image_volume.h"

#include "kubelet/cri.h"
#include "kubelet/job.h"
#include "kubelet/kubelet.h"
#include "kubelet/plugin_rpc.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"

#include "pb/containerd/snapshots_v1.pb-c.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define SNAPSHOTS(name) Containerd__Services__Snapshots__V1__##name
#define SERVICE "/containerd.services.snapshots.v1.Snapshots/"
#define DATA_BYTES_MAX 4096 /* A page is what mount(2) reads. */
#define CHECK_TIMEOUT_MS 10000u

bool image_volumes_by_runtime(const char *runtime_name, const char *version)
{
    int major = 0, minor = 0;
    if (runtime_name == NULL || strcmp(runtime_name, "containerd") != 0)
        return true;
    if (version[0] == 'v')
        version++;
    return sscanf(version, "%d.%d", &major, &minor) == 2 &&
           (major > 2 || (major == 2 && minor > 0));
}

int image_volume_options(char *const *options, size_t count, unsigned long *ret_flags,
                         char *ret_data, size_t data_bytes, struct error *err)
{
    static const struct {
        const char *name;
        unsigned long flag;
    } flags[] = {{"ro", MS_RDONLY},     {"rbind", MS_BIND | MS_REC}, {"bind", MS_BIND},
                 {"nosuid", MS_NOSUID}, {"nodev", MS_NODEV},         {"noexec", MS_NOEXEC}};
    AUTO_BUF data = BUF_INIT;
    unsigned long all = 0;
    for (size_t i = 0; i < count; i++) {
        size_t f = 0;
        while (f < ARRAY_SIZE(flags) && strcmp(options[i], flags[f].name) != 0)
            f++;
        if (f < ARRAY_SIZE(flags))
            all |= flags[f].flag;
        else if (strchr(options[i], '=') != NULL || strcmp(options[i], "userxattr") == 0)
            buf_printf(&data, "%s%s", data.len > 0 ? "," : "", options[i]);
        else
            return error_set(err, E_INVALID, "mount option %s is not known", options[i]);
    }
    if (data.len >= data_bytes)
        return error_set(err, E_TOO_LARGE, "the image has too many layers to be mounted");
    if (data.len > 0)
        memcpy(ret_data, data.data, data.len);
    ret_data[data.len] = '\0';
    *ret_flags = all;
    return 0;
}

/* --- containerd's snapshots ---------------------------------------------------------------- */

static struct plugin_client *containerd(struct kubelet *k)
{
    const char *endpoint = k->config.runtime_endpoint;
    struct error err;
    if (k->containerd != NULL)
        return k->containerd;
    if (strncmp(endpoint, "unix://", 7) == 0)
        endpoint += 7;
    if (plugin_client_new(k->loop, endpoint, &k->containerd, &err) != 0)
        PANIC("%s", error_message(&err)); /* The CRI's client took the same path. */
    plugin_client_set_metadata(k->containerd, "containerd-namespace", "k8s.io");
    return k->containerd;
}

static char *key_of(struct arena *a, const char *uid, const char *name)
{
    return arena_strdup(a, str_c(arena_printf(a, "trireme-volume-%s-%s", uid, name)));
}

/* The verbose status tells it: {"config": "{... containerd: {snapshotter: overlayfs}}"}. */
static char *snapshotter_of(struct arena *a, const CRI(StatusResponse) * r)
{
    const char *config = cri_map_get(r->info, r->n_info, "config");
    struct json *j = NULL;
    struct str name = STR_NULL;
    if (config != NULL && json_parse(a, str_of(config), &j, NULL) == 0)
        name = json_get_str(json_getc(j, "containerd"), "snapshotter");
    return arena_strdup(a, str_empty(name) ? "overlayfs" : str_c(arena_str(a, name)));
}

static void ask_status(struct kubelet *k, void (*done)(const struct cri_reply *reply, void *arg),
                       void *arg)
{
    CRI(StatusRequest) q;
    runtime__v1__status_request__init(&q);
    q.verbose = true;
    cri_call(k->cri, CRI_STATUS, &q, CHECK_TIMEOUT_MS, done, arg);
}

/* --- mounting ------------------------------------------------------------------------------ */

struct mounting {
    struct kubelet *k;
    struct arena *arena;
    struct image_volume_config config;
    char *chain_id, *snapshotter, *key;
    SNAPSHOTS(Mount) * *mounts;
    size_t mount_count;
    bool mounted;
    struct error err;
};

static void mounting_end(struct mounting *m)
{
    if (m->err.code != 0)
        error_prefix(&m->err, "MountVolume.SetUp failed for volume \"%s\" ", m->config.name);
    m->config.done(&m->err, m->config.arg);
    arena_free(m->arena);
    free(m);
}

/* An image of one layer is a bind mount, perhaps of the very file system that the pod's folder is
 * on: devices tell nothing of it. */
static bool is_mounted(const char *path)
{
    struct statx st;
    if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &st) != 0)
        return false;
    return (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

static void run_mount(void *arg)
{
    struct mounting *m = arg;
    char data[DATA_BYTES_MAX];
    unsigned long flags;
    for (size_t i = 0; m->err.code == 0 && i < m->mount_count; i++) {
        const SNAPSHOTS(Mount) *x = m->mounts[i];
        if (image_volume_options(x->options, x->n_options, &flags, data, sizeof(data), &m->err) !=
            0)
            return;
        const char *more = data[0] != '\0' ? data : NULL;
        if (mount(x->source, m->config.path, x->type, flags, more) != 0 ||
            /* A bind takes its flags in a second step. */
            ((flags & MS_BIND) != 0 &&
             mount(NULL, m->config.path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOEXEC,
                   NULL) != 0))
            error_set_errno(&m->err, E_IO, errno, "mount image at %s", m->config.path);
    }
}

static void finish_mount(void *arg)
{
    mounting_end(arg);
}

static void copy_mounts(struct mounting *m, SNAPSHOTS(Mount) *const *list, size_t count)
{
    m->mounts = ARENA_ARRAY(m->arena, SNAPSHOTS(Mount) *, count + 1);
    for (size_t i = 0; i < count; i++) {
        SNAPSHOTS(Mount) *x = arena_zalloc(m->arena, sizeof(*x));
        containerd__services__snapshots__v1__mount__init(x);
        x->type = arena_strdup(m->arena, list[i]->type);
        x->source = arena_strdup(m->arena, list[i]->source);
        x->options = ARENA_ARRAY(m->arena, char *, list[i]->n_options + 3);
        for (size_t k = 0; k < list[i]->n_options; k++)
            x->options[x->n_options++] = arena_strdup(m->arena, list[i]->options[k]);
        /* As the volume type has it, whatever the snapshotter says. */
        x->options[x->n_options++] = arena_strdup(m->arena, "ro");
        x->options[x->n_options++] = arena_strdup(m->arena, "noexec");
        m->mounts[m->mount_count++] = x;
    }
    job_start(m->k->loop, run_mount, finish_mount, m);
}

static void on_mounts(const struct plugin_reply *reply, void *arg)
{
    struct mounting *m = arg;
    const SNAPSHOTS(MountsResponse) *r = reply->msg;
    if (reply->code != 0) {
        error_set(&m->err, reply->code, "%s", reply->message);
        mounting_end(m);
        return;
    }
    copy_mounts(m, r->mounts, r->n_mounts);
}

static void on_view(const struct plugin_reply *reply, void *arg)
{
    struct mounting *m = arg;
    const SNAPSHOTS(ViewSnapshotResponse) *r = reply->msg;
    if (reply->code == 0) {
        copy_mounts(m, r->mounts, r->n_mounts);
        return;
    }
    if (reply->code != E_EXISTS) {
        error_set(&m->err, reply->code, "%s", reply->message);
        mounting_end(m);
        return;
    }
    SNAPSHOTS(MountsRequest) q;
    containerd__services__snapshots__v1__mounts_request__init(&q);
    q.snapshotter = m->snapshotter;
    q.key = m->key;
    plugin_call(containerd(m->k), SERVICE "Mounts", &q,
                &containerd__services__snapshots__v1__mounts_response__descriptor, on_mounts, m);
}

static void on_mount_status(const struct cri_reply *reply, void *arg)
{
    struct mounting *m = arg;
    if (reply->code != 0) {
        error_set(&m->err, reply->code, "%s", reply->message);
        mounting_end(m);
        return;
    }
    m->snapshotter = snapshotter_of(m->arena, reply->msg);
    SNAPSHOTS(ViewSnapshotRequest) q;
    SNAPSHOTS(ViewSnapshotRequest__LabelsEntry) label, *labels[] = {&label};
    containerd__services__snapshots__v1__view_snapshot_request__init(&q);
    containerd__services__snapshots__v1__view_snapshot_request__labels_entry__init(&label);
    /* Nobody's garbage until it is removed. */
    label.key = (char *)(uintptr_t) "containerd.io/gc.root";
    label.value = (char *)(uintptr_t) "trireme-kubelet";
    q.snapshotter = m->snapshotter;
    q.key = m->key;
    q.parent = m->chain_id;
    q.labels = labels;
    q.n_labels = 1;
    plugin_call(containerd(m->k), SERVICE "View", &q,
                &containerd__services__snapshots__v1__view_snapshot_response__descriptor, on_view,
                m);
}

static void run_check(void *arg)
{
    struct mounting *m = arg;
    m->mounted = is_mounted(m->config.path);
    if (!m->mounted)
        file_mkdir_p(m->config.path, 0755, &m->err);
}

static void finish_check(void *arg)
{
    struct mounting *m = arg;
    struct json *j = NULL;
    if (m->mounted || m->err.code != 0) {
        mounting_end(m);
        return;
    }
    if (m->config.info != NULL && json_parse(m->arena, str_of(m->config.info), &j, NULL) == 0)
        m->chain_id =
            arena_strdup(m->arena, str_c(arena_str(m->arena, json_get_str(j, "chainID"))));
    if (m->chain_id == NULL || m->chain_id[0] == '\0') {
        error_set(&m->err, E_NOT_IMPLEMENTED,
                  "this node's container runtime neither mounts images (containerd does since 2.1) "
                  "nor tells their layers");
        mounting_end(m);
        return;
    }
    ask_status(m->k, on_mount_status, m);
}

void image_volume_mount(struct kubelet *k, const struct image_volume_config *config)
{
    struct mounting *m = xzalloc(sizeof(*m));
    m->k = k;
    m->arena = arena_new(0);
    m->config = *config;
    m->config.name = arena_strdup(m->arena, config->name);
    m->config.path = arena_strdup(m->arena, config->path);
    m->config.info = config->info != NULL ? arena_strdup(m->arena, config->info) : NULL;
    m->key = key_of(m->arena, config->uid, config->name);
    job_start(k->loop, run_check, finish_check, m);
}

/* --- releasing ----------------------------------------------------------------------------- */

struct release {
    struct kubelet *k;
    struct arena *arena;
    const char *dir, *uid;
    char *snapshotter;
    const char **names;
    size_t count, cap, next;
    struct error err;
    void (*done)(int code, const struct error *err, void *arg);
    void *arg;
};

static void release_end(struct release *r)
{
    r->done(r->err.code, &r->err, r->arg);
    arena_free(r->arena);
    free(r);
}

static void remove_next(struct release *r);

static void on_view_removed(const struct plugin_reply *reply, void *arg)
{
    struct release *r = arg;
    if (reply->code != 0 && reply->code != E_NOT_FOUND) {
        error_set(&r->err, reply->code, "image volume %s: %s", r->names[r->next], reply->message);
        release_end(r);
        return;
    }
    r->next++;
    remove_next(r);
}

static void remove_next(struct release *r)
{
    if (r->next == r->count) {
        release_end(r);
        return;
    }
    SNAPSHOTS(RemoveSnapshotRequest) q;
    containerd__services__snapshots__v1__remove_snapshot_request__init(&q);
    q.snapshotter = r->snapshotter;
    q.key = key_of(r->arena, r->uid, r->names[r->next]);
    plugin_call(containerd(r->k), SERVICE "Remove", &q,
                &containerd__services__snapshots__v1__remove_snapshot_response__descriptor,
                on_view_removed, r);
}

static void on_release_status(const struct cri_reply *reply, void *arg)
{
    struct release *r = arg;
    if (reply->code != 0) {
        error_set(&r->err, reply->code, "%s", reply->message);
        release_end(r);
        return;
    }
    r->snapshotter = snapshotter_of(r->arena, reply->msg);
    remove_next(r);
}

static void run_unmount(void *arg)
{
    struct release *r = arg;
    DIR *d = opendir(r->dir);
    if (d == NULL)
        return;
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        r->names = arena_grow(r->arena, r->names, r->count, &r->cap, sizeof(*r->names));
        r->names[r->count] = arena_strdup(r->arena, e->d_name);
        const char *path = str_c(arena_printf(r->arena, "%s/%s", r->dir, r->names[r->count++]));
        while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
            ;
    }
    closedir(d);
}

static void finish_unmount(void *arg)
{
    struct release *r = arg;
    if (r->count == 0)
        release_end(r);
    else
        ask_status(r->k, on_release_status, r);
}

void image_volumes_release(struct kubelet *k, const char *pod_dir, const char *uid,
                           void (*done)(int code, const struct error *err, void *arg), void *arg)
{
    struct release *r = xzalloc(sizeof(*r));
    r->k = k;
    r->arena = arena_new(0);
    r->dir = str_c(arena_printf(r->arena, "%s/" IMAGE_VOLUMES_DIR, pod_dir));
    r->uid = arena_strdup(r->arena, uid);
    r->done = done;
    r->arg = arg;
    job_start(k->loop, run_unmount, finish_unmount, r);
}
