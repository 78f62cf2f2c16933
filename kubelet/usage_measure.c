/* usage_measure.c - see usage_measure.h. */
#include "kubelet/usage_measure.h"

#include "kubelet/usage_view.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
#define PROC_BYTES_MAX 65536u
#define TREE_ENTRIES_MAX 200000u
#define FOLDER_NS 60000000000  /* How long what was walked stays true, */
#define FORGET_NS 600000000000 /* and how long it is kept when nobody asks. */

struct folder {
    int64_t time_ns;
    uint64_t bytes, inodes;
};

void usage_measure_init(struct usage_measure *m, const char *root_dir, const char *pods_group)
{
    *m = (struct usage_measure){
        .root = usage_root_find(CGROUP_ROOT), .root_dir = root_dir, .pods_group = pods_group};
    map_init(&m->folders);
}

/* --- processes ------------------------------------------------------------------------------- */
static struct str read_proc(struct arena *a, int64_t pid, const char *name)
{
    AUTO_BUF b = BUF_INIT;
    char path[64];
    if (pid != 0)
        snprintf(path, sizeof(path), "/proc/%lld/%s", (long long)pid, name);
    else
        snprintf(path, sizeof(path), "/proc/%s", name);
    if (file_read(path, PROC_BYTES_MAX, &b, NULL) != 0)
        return STR_NULL;
    return arena_str(a, buf_str(&b));
}

static void measure_container(struct usage_measure *m, struct usage_view *v,
                              struct usage_container *c)
{
    if (c->pid == 0)
        return;
    c->group = usage_group_of(v->arena, &m->root, read_proc(v->arena, c->pid, "cgroup"), c->id);
    if (c->group != NULL)
        usage_read_group(&m->root, c->group, (v->parts & USAGE_ALL) != 0, &c->u);
}

/* Where pods have no cgroup of their own. */
static void add_up(struct usage_pod *p)
{
    struct usage *u = &p->u;
    for (size_t i = 0; i < p->container_count; i++) {
        const struct usage *c = &p->containers[i].u;
        u->time_ns = MAX_OF(u->time_ns, c->time_ns);
        u->has_cpu |= c->has_cpu;
        u->has_memory |= c->has_memory;
        u->has_swap |= c->has_swap;
        u->cpu_ns += c->cpu_ns;
        u->memory_bytes += c->memory_bytes;
        u->working_set_bytes += c->working_set_bytes;
        u->rss_bytes += c->rss_bytes;
        u->swap_bytes += c->swap_bytes;
        u->page_faults += c->page_faults;
        u->major_page_faults += c->major_page_faults;
        u->processes += c->processes;
        u->has_pids |= c->has_pids;
    }
}

static void measure_network(struct usage_view *v, struct usage_pod *p)
{
    for (size_t i = 0; i < p->container_count && !p->host_network; i++)
        if (p->containers[i].pid != 0) {
            p->interfaces =
                usage_parse_net_dev(v->arena, read_proc(v->arena, p->containers[i].pid, "net/dev"),
                                    &p->interface_count);
            return;
        }
}

/* --- folders ------------------------------------------------------------------------------------
 */
static void measure_fs(const char *path, int64_t now_ns, struct usage_files *f)
{
    struct statvfs fs;
    if (statvfs(path, &fs) != 0)
        return;
    uint64_t unit = fs.f_frsize;
    f->known = f->has_capacity = true;
    f->time_ns = f->time_ns != 0 ? f->time_ns : now_ns;
    f->capacity_bytes = fs.f_blocks * unit;
    f->available_bytes = fs.f_bavail * unit;
    f->inodes = fs.f_files;
    f->inodes_free = fs.f_ffree;
}

static void use_all_of_fs(const char *path, int64_t now_ns, struct usage_files *f)
{
    struct statvfs fs;
    measure_fs(path, now_ns, f);
    if (!f->known || statvfs(path, &fs) != 0)
        return;
    f->used_bytes = (fs.f_blocks - fs.f_bfree) * fs.f_frsize;
    f->inodes_used = fs.f_files - fs.f_ffree;
}

static void measure_folder(struct usage_measure *m, const char *path, int64_t now_ns,
                           struct usage_files *f)
{
    struct folder *known = map_get(&m->folders, str_of(path));
    uint64_t bytes, inodes;
    if (known == NULL || now_ns - known->time_ns >= FOLDER_NS || now_ns < known->time_ns) {
        if (!usage_read_tree(path, TREE_ENTRIES_MAX, &bytes, &inodes))
            return;
        if (known == NULL) {
            known = xzalloc(sizeof(*known));
            map_set(&m->folders, str_of(path), known);
        }
        *known = (struct folder){now_ns, bytes, inodes};
    }
    f->known = true;
    f->time_ns = known->time_ns;
    f->used_bytes = known->bytes;
    f->inodes_used = known->inodes;
}

static void forget_folders(struct usage_measure *m, int64_t now_ns)
{
    struct str key;
    size_t pos = 0;
    void *value;
    while (map_next(&m->folders, &pos, &key, &value)) {
        const struct folder *f = value;
        if (now_ns - f->time_ns < FORGET_NS)
            continue;
        map_remove(&m->folders, key);
        free(value);
    }
}

/* A volume that is mounted is measured by its file system, a folder by walking it. CSI drivers'
 * volumes are one folder deeper. */
static void measure_volume(struct usage_measure *m, const char *path, int64_t now_ns,
                           struct usage_volume *volume)
{
    struct stat own, above;
    AUTO_FREE char *parent = xasprintf("%s/..", path);
    AUTO_FREE char *mount = xasprintf("%s/mount", path);
    if (stat(path, &own) != 0 || stat(parent, &above) != 0)
        return;
    struct stat inner;
    if (own.st_dev == above.st_dev && stat(mount, &inner) == 0 && inner.st_dev != own.st_dev)
        use_all_of_fs(mount, now_ns, &volume->files);
    else if (own.st_dev != above.st_dev)
        use_all_of_fs(path, now_ns, &volume->files);
    else {
        measure_fs(path, now_ns, &volume->files);
        measure_folder(m, path, now_ns, &volume->files);
    }
}

/* <pod>/volumes/<plugin>/<volume> */
static void measure_volumes(struct usage_measure *m, struct usage_pod *p, int64_t now_ns)
{
    AUTO_FREE char *all = xasprintf("%s/volumes", p->dir);
    DIR *d = p->volume_count != 0 ? opendir(all) : NULL;
    for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
        if (e->d_name[0] == '.')
            continue;
        for (size_t i = 0; i < p->volume_count; i++) {
            AUTO_FREE char *path = xasprintf("%s/%s/%s", all, e->d_name, p->volumes[i].name);
            if (!p->volumes[i].files.known && !p->volumes[i].of_driver)
                measure_volume(m, path, now_ns, &p->volumes[i]);
        }
    }
    if (d != NULL)
        closedir(d);
}

static void measure_disks(struct usage_measure *m, struct usage_view *v)
{
    int64_t now_ns = v->node.time_ns;
    use_all_of_fs(m->root_dir, now_ns, &v->root);
    if (v->image_mount != NULL)
        measure_fs(v->image_mount, now_ns, &v->images);
    for (size_t i = 0; i < v->pod_count; i++) {
        struct usage_pod *p = &v->pods[i];
        measure_volumes(m, p, now_ns);
        for (size_t j = 0; j < p->container_count; j++) {
            AUTO_FREE char *logs = xasprintf("%s/%s", p->log_dir, p->containers[j].name);
            measure_folder(m, logs, now_ns, &p->containers[j].logs);
        }
    }
    forget_folders(m, now_ns);
}

/* --- all
 * ------------------------------------------------------------------------------------------
 */
void usage_measure_view(struct usage_measure *m, struct usage_view *v)
{
    bool all = (v->parts & USAGE_ALL) != 0;
    usage_read_machine(&m->root, "/proc", &v->node);
    if (m->pods_group != NULL)
        usage_read_group(&m->root, m->pods_group, false, &v->pods_total);
    for (size_t i = 0; i < v->pod_count; i++) {
        struct usage_pod *p = &v->pods[i];
        for (size_t j = 0; j < p->container_count; j++)
            measure_container(m, v, &p->containers[j]);
        if (p->group != NULL)
            usage_read_group(&m->root, p->group, all, &p->u);
        if (!p->u.has_cpu && !p->u.has_memory)
            add_up(p);
        if (all)
            measure_network(v, p);
    }
    if (all) {
        v->interfaces =
            usage_parse_net_dev(v->arena, read_proc(v->arena, 0, "net/dev"), &v->interface_count);
        v->default_interface =
            usage_default_interface(v->arena, read_proc(v->arena, 0, "net/route"));
    }
    if ((v->parts & USAGE_DISKS) != 0)
        measure_disks(m, v);
}
