/* csi_folders.c - see csi.h: what stands on disk about CSI volumes. */
#include "kubelet/csi.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

#define DATA_FILE "vol_data.json"
#define DATA_BYTES_MAX (64u << 10)

static int write_data(const char *dir, const struct csi_mount *m, struct error *err)
{
    AUTO_FREE char *path = xasprintf("%s/" DATA_FILE, dir);
    AUTO_ARENA *a = arena_new(256);
    AUTO_BUF b = BUF_INIT;
    struct csi_data there;
    if (csi_data_read(a, dir, &there, NULL) == 0) /* A damaged one is written anew. */
        return 0;
    buf_puts(&b, "{\"driverName\":");
    json_write_string(str_of(m->driver), &b);
    buf_puts(&b, ",\"volumeHandle\":");
    json_write_string(str_of(m->handle), &b);
    buf_puts(&b, ",\"specVolID\":");
    json_write_string(str_of(m->pv_name), &b);
    if (m->ephemeral)
        buf_puts(&b, ",\"volumeLifecycleMode\":\"Ephemeral\"");
    if (m->label != NULL) {
        buf_puts(&b, ",\"seLinuxMountContext\":");
        json_write_string(str_of(m->label), &b);
    }
    buf_puts(&b, "}");
    return file_write_atomic(path, buf_str(&b).data, buf_str(&b).len, 0600, err);
}

int csi_make_dirs(const struct csi_mount *m, struct error *err)
{
    int rc = m->ephemeral ? 0 : file_mkdir_p(m->stage, 0750, err);
    if (rc == 0 && !m->ephemeral)
        rc = write_data(m->stage_root, m, err);
    if (rc == 0)
        rc = file_mkdir_p(m->pod_volume, 0750, err);
    return rc == 0 ? write_data(m->pod_volume, m, err) : rc;
}

int csi_data_read(struct arena *a, const char *dir, struct csi_data *ret, struct error *err)
{
    AUTO_FREE char *path = xasprintf("%s/" DATA_FILE, dir);
    AUTO_BUF b = BUF_INIT;
    struct json *j = NULL;
    int rc = file_read(path, DATA_BYTES_MAX, &b, err);
    if (rc == 0)
        rc = json_parse(a, arena_str(a, buf_str(&b)), &j, err);
    if (rc != 0) {
        error_prefix(err, "%s", path);
        return rc; /* Also where nobody wants to know why. */
    }
    ret->driver = str_c(arena_str(a, json_get_str(j, "driverName")));
    ret->handle = str_c(arena_str(a, json_get_str(j, "volumeHandle")));
    ret->pv_name = str_c(arena_str(a, json_get_str(j, "specVolID")));
    ret->ephemeral = str_eqc(json_get_str(j, "volumeLifecycleMode"), "Ephemeral");
    if (ret->driver[0] == '\0' || ret->handle[0] == '\0')
        return error_set(err, E_CORRUPT, "%s: driverName or volumeHandle is missing", path);
    return 0;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

int csi_find_volumes(struct arena *a, const char *pod_dir, struct csi_found **ret,
                     size_t *ret_count, struct error *err)
{
    AUTO_FREE char *path = xasprintf("%s/volumes/kubernetes.io~csi", pod_dir);
    size_t cap = 0;
    *ret = NULL;
    *ret_count = 0;
    DIR *d = opendir(path);
    if (d == NULL)
        return errno == ENOENT ? 0 : error_set_errno(err, E_IO, errno, "open %s", path);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        struct csi_found f = {0};
        if (is_dots(e->d_name))
            continue;
        f.dir = str_c(arena_printf(a, "%s/%s", path, e->d_name));
        f.name = arena_strdup(a, e->d_name);
        int rc = csi_data_read(a, f.dir, &f.data, NULL);
        if (rc == E_NOT_FOUND)
            continue; /* Nothing was asked of a driver yet. */
        f.damaged = rc != 0;
        *ret = arena_grow(a, *ret, *ret_count, &cap, sizeof(f));
        (*ret)[(*ret_count)++] = f;
    }
    closedir(d);
    return 0;
}

int csi_find_all(struct arena *a, const char *root_dir, struct csi_found **ret, size_t *ret_count,
                 struct error *err)
{
    AUTO_FREE char *pods = xasprintf("%s/pods", root_dir);
    size_t cap = 0;
    int rc = 0;
    *ret = NULL;
    *ret_count = 0;
    DIR *d = opendir(pods);
    if (d == NULL)
        return errno == ENOENT ? 0 : error_set_errno(err, E_IO, errno, "open %s", pods);
    for (struct dirent *e = readdir(d); rc == 0 && e != NULL; e = readdir(d)) {
        struct csi_found *f;
        size_t count = 0;
        if (is_dots(e->d_name))
            continue;
        const char *pod = str_c(arena_printf(a, "%s/%s", pods, e->d_name));
        rc = csi_find_volumes(a, pod, &f, &count, err);
        for (size_t i = 0; i < count; i++) {
            if (f[i].damaged)
                csi_find_lost(a, root_dir, &f[i]);
            *ret = arena_grow(a, *ret, *ret_count, &cap, sizeof(**ret));
            (*ret)[(*ret_count)++] = f[i];
        }
    }
    closedir(d);
    return rc;
}

/* What one driver has staged: whatever can be read. */
static void add_stages(struct arena *a, const char *driver_dir, struct csi_found **ret,
                       size_t *ret_count, size_t *cap)
{
    DIR *d = opendir(driver_dir);
    for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
        struct csi_found f = {0};
        if (is_dots(e->d_name))
            continue;
        f.dir = str_c(arena_printf(a, "%s/%s", driver_dir, e->d_name));
        f.name = arena_strdup(a, e->d_name);
        int rc = csi_data_read(a, f.dir, &f.data, NULL);
        if (rc == E_NOT_FOUND)
            continue; /* Nothing was asked of a driver yet, or all is undone. */
        f.damaged = rc != 0;
        *ret = arena_grow(a, *ret, *ret_count, cap, sizeof(f));
        (*ret)[(*ret_count)++] = f;
    }
    if (d != NULL)
        closedir(d);
}

/* <root>/plugins/kubernetes.io/csi/<driver>/<hash> */
int csi_find_stages(struct arena *a, const char *root_dir, struct csi_found **ret,
                    size_t *ret_count, struct error *err)
{
    AUTO_FREE char *path = xasprintf("%s/plugins/kubernetes.io/csi", root_dir);
    size_t cap = 0;
    *ret = NULL;
    *ret_count = 0;
    DIR *d = opendir(path);
    if (d == NULL)
        return errno == ENOENT ? 0 : error_set_errno(err, E_IO, errno, "open %s", path);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        AUTO_FREE char *driver_dir = xasprintf("%s/%s", path, e->d_name);
        if (!is_dots(e->d_name))
            add_stages(a, driver_dir, ret, ret_count, &cap);
    }
    closedir(d);
    return 0;
}

bool csi_find_lost(struct arena *a, const char *root_dir, struct csi_found *f)
{
    struct csi_found *stages;
    size_t count;
    if (csi_find_stages(a, root_dir, &stages, &count, NULL) != 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (stages[i].damaged || strcmp(stages[i].data.pv_name, f->name) != 0)
            continue;
        f->data = stages[i].data;
        f->damaged = false;
        return true;
    }
    return false;
}

/* A pod's volume is of this stage. What a damaged one is of is told by the name of its folder,
 * which the stage knows; a stage that upstream's agent left does not, and may be meant. */
static bool is_of_stage(const struct csi_found *f, const struct csi_data *stage)
{
    if (f->damaged)
        return stage->pv_name[0] == '\0' || strcmp(stage->pv_name, f->name) == 0;
    return strcmp(f->data.driver, stage->driver) == 0 && strcmp(f->data.handle, stage->handle) == 0;
}

static bool is_among(const struct csi_found *f, size_t count, const struct csi_data *stage)
{
    for (size_t i = 0; i < count; i++)
        if (is_of_stage(&f[i], stage))
            return true;
    return false;
}

int csi_find_unused_stages(struct arena *a, const char *root_dir, struct csi_found **ret,
                           size_t *ret_count, struct error *err)
{
    struct csi_found *used, *all;
    size_t used_count, count, left = 0;
    int rc = csi_find_all(a, root_dir, &used, &used_count, err);
    if (rc == 0)
        rc = csi_find_stages(a, root_dir, &all, &count, err);
    if (rc != 0)
        return rc; /* When in doubt all are used. */
    for (size_t i = 0; i < count; i++)
        if (!all[i].damaged && !is_among(used, used_count, &all[i].data))
            all[left++] = all[i];
    *ret = all;
    *ret_count = left;
    return 0;
}

bool csi_is_used(const char *root_dir, const char *driver, const char *handle)
{
    AUTO_ARENA *a = arena_new(0);
    struct csi_found *f;
    struct csi_data stage;
    size_t count;
    if (csi_find_all(a, root_dir, &f, &count, NULL) != 0)
        return true; /* When in doubt it is. */
    if (csi_data_read(a, csi_stage_root(a, root_dir, driver, handle), &stage, NULL) != 0)
        stage = (struct csi_data){.driver = driver, .handle = handle, .pv_name = ""};
    return is_among(f, count, &stage);
}

/* A folder, or the file of a raw block volume, that drivers may have removed themselves; never a
 * folder with something in it. */
static int remove_place(const char *dir, const char *name, struct error *err)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
    if (rmdir(path) != 0 && errno != ENOENT &&
        (errno != ENOTDIR || (unlink(path) != 0 && errno != ENOENT)))
        return error_set_errno(err, E_IO, errno, "remove %s", path);
    return 0;
}

static int remove_with_data(const char *dir, const char *place, struct error *err)
{
    AUTO_FREE char *data = xasprintf("%s/" DATA_FILE, dir);
    int rc = remove_place(dir, place, err);
    if (rc == 0)
        rc = file_remove(data, err);
    if (rc == 0 && rmdir(dir) != 0 && errno != ENOENT)
        rc = error_set_errno(err, E_IO, errno, "rmdir %s", dir);
    return rc;
}

int csi_remove_volume(const char *dir, struct error *err)
{
    return remove_with_data(dir, "mount", err);
}

int csi_remove_stage(const char *stage_root, struct error *err)
{
    return remove_with_data(stage_root, "globalmount", err);
}
