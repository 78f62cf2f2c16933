/* pod_mounts.c - what a container finds mounted, and its variables.
 *
 *   files with variables -> variables -> (a job) folders, volumes, /etc/hosts */
#include "kubelet/job.h"
#include "kubelet/pod_sources.h"
#include "kubelet/pod_start_internal.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/file.h"

#include "api/core_v1.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define NODE_HOSTS_BYTES_MAX (1u << 20)

static void add_mount(struct start *s, const char *container_path, const char *host_path,
                      bool read_only)
{
    s->mounts[s->mount_count++] = (struct container_mount){
        .container_path = container_path, .host_path = host_path, .read_only = read_only};
}

/* A file of ours: it has the container's label where there is SELinux. */
static void add_own_mount(struct start *s, const char *container_path, const char *host_path,
                          bool read_only)
{
    add_mount(s, container_path, host_path, read_only);
    s->mounts[s->mount_count - 1].relabel = s->w->k->selinux.enabled;
}

static int make_file(const char *path, struct str content, mode_t mode, struct error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return error_set_errno(err, E_IO, errno, "create %s", path);
    ssize_t n = content.len > 0 ? write(fd, content.data, content.len) : 0;
    int saved = errno;
    bool ok = n == (ssize_t)content.len && fchmod(fd, mode) == 0;
    close(fd);
    return ok ? 0 : error_set_errno(err, E_IO, saved, "write %s", path);
}

static int make_hosts(struct start *s)
{
    const char *path = str_c(arena_printf(s->arena, "%s/etc-hosts", s->pod_dir));
    const char *content = s->hosts;
    if (content == NULL) {
        AUTO_BUF b = BUF_INIT;
        file_read("/etc/hosts", NODE_HOSTS_BYTES_MAX, &b, NULL);
        content = hosts_file_of_node(s->arena, s->object->msg, buf_str(&b));
    }
    int rc = make_file(path, str_of(content), 0644, &s->err);
    if (rc == 0)
        add_own_mount(s, "/etc/hosts", path,
                      s->spec->security_context != NULL &&
                          s->spec->security_context->read_only_root_filesystem);
    return rc;
}

/* On a host with SELinux. Blocking. */
static bool needs_relabel(const struct volume *v)
{
    if (v->labelled || v->label != NULL || v->kind == VOLUME_HOST_PATH)
        return false;
    if (v->kind == VOLUME_LOCAL || v->kind == VOLUME_CSI)
        return !v->read_only && (v->kind == VOLUME_LOCAL || selinux_can_relabel(v->path));
    return true;
}

/* The first container that mounts a volume has its files labelled. */
static void note_labelled(struct start *s)
{
    for (size_t i = 0; i < s->spec->volume_mounts_count; i++)
        for (size_t k = 0; k < s->w->volumes->count; k++)
            if (str_eqc(s->spec->volume_mounts[i].name, s->w->volumes->items[k].name))
                s->w->volumes->items[k].labelled = true;
}

/* One volumeMount, with its sub-path and propagation. */
static int make_mount(struct start *s, size_t index)
{
    const struct core_v1_volume_mount *m = &s->spec->volume_mounts[index];
    const struct volume *v = volume_set_find(s->w->volumes, m->name);
    if (v == NULL)
        return error_set(&s->err, E_NOT_FOUND,
                         "cannot find volume \"" STR_FMT "\" to mount into container \"%s\"",
                         STR_ARG(m->name), s->c->name);
    const char *from = v->path;
    struct str sub = m->sub_path;
    bool by_runtime = v->kind == VOLUME_IMAGE && s->images_by_runtime;
    if (!str_empty(m->sub_path_expr))
        sub = env_expand(s->arena, m->sub_path_expr, &s->env, NULL);
    if (!str_empty(sub) && !by_runtime) {
        int rc = volume_bind_sub_path(s->arena, s->pod_dir, v, str_c(arena_str(s->arena, sub)),
                                      s->c->name, index, &from, &s->err);
        if (rc != 0)
            return rc;
    } else if (v->kind == VOLUME_HOST_PATH && v->host_type[0] == '\0' && !file_exists(from)) {
        /* As upstream: a path without type that is absent becomes a folder. */
        int rc = file_mkdir_p(from, 0755, &s->err);
        if (rc != 0)
            return rc;
    }
    struct str path = m->mount_path;
    if (path.len > 0 && path.data[0] != '/')
        path = arena_printf(s->arena, "/" STR_FMT, STR_ARG(path));
    add_mount(s, str_c(arena_str(s->arena, path)), from, m->read_only || v->read_only);
    struct container_mount *out = &s->mounts[s->mount_count - 1];
    out->relabel = s->w->k->selinux.enabled && !by_runtime && needs_relabel(v);
    if (by_runtime) {
        out->host_path = "";
        out->image_ref = s->volume_refs[index];
        out->image_given = str_c(arena_str(s->arena, v->image));
        out->image_sub_path = str_c(arena_str(s->arena, sub));
    }
    if (str_eqc(m->mount_propagation, "Bidirectional"))
        out->propagation = CRI_ENUM(MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL);
    else if (str_eqc(m->mount_propagation, "HostToContainer"))
        out->propagation = CRI_ENUM(MOUNT_PROPAGATION__PROPAGATION_HOST_TO_CONTAINER);
    bool can = s->can_recursive;
    out->recursive_read_only = mount_is_recursive(m, can);
    if (out->recursive_read_only && !can)
        return error_set(&s->err, E_NOT_IMPLEMENTED,
                         "volume \"" STR_FMT "\" requested recursive read-only mode, but it is not "
                         "supported by the runtime",
                         STR_ARG(m->name));
    return 0;
}

static int find_devices(struct start *s)
{
    s->devices = ARENA_ARRAY(s->arena, struct container_device, s->spec->volume_devices_count);
    for (size_t i = 0; i < s->spec->volume_devices_count; i++) {
        const struct core_v1_volume_device *d = &s->spec->volume_devices[i];
        const struct volume *v = volume_set_find(s->w->volumes, d->name);
        if (v == NULL || !v->block)
            return error_set(&s->err, E_NOT_FOUND,
                             "cannot find volume \"" STR_FMT "\" to map into container \"%s\"",
                             STR_ARG(d->name), s->c->name);
        s->devices[s->device_count++] =
            (struct container_device){.container_path = str_c(arena_str(s->arena, d->device_path)),
                                      .host_path = v->path,
                                      .read_only = v->read_only};
    }
    return 0;
}

static void run_mounts(void *arg)
{
    struct start *s = arg;
    const char *logs = str_c(arena_printf(s->arena, "%s/%s", s->log_dir, s->c->name));
    bool mounts_hosts = false, mounts_term = false;
    s->mounts = ARENA_ARRAY(s->arena, struct container_mount, s->spec->volume_mounts_count + 2);
    s->code = file_mkdir_p(logs, 0755, &s->err);
    if (s->code == 0)
        s->code = find_devices(s);
    if (s->code == 0) /* Ephemeral containers were not there when the pod's folders were made. */
        s->code =
            file_mkdir_p(str_c(arena_printf(s->arena, "%s/containers/%s", s->pod_dir, s->c->name)),
                         0750, &s->err);
    for (size_t i = 0; s->code == 0 && i < s->spec->volume_mounts_count; i++) {
        mounts_hosts = mounts_hosts || str_eqc(s->spec->volume_mounts[i].mount_path, "/etc/hosts");
        mounts_term = mounts_term || str_eq(s->spec->volume_mounts[i].mount_path,
                                            s->spec->termination_message_path);
        s->code = make_mount(s, i);
    }
    if (s->code == 0 && s->own_hosts && !mounts_hosts)
        s->code = make_hosts(s);
    if (s->code == 0 && !str_empty(s->spec->termination_message_path) && !mounts_term) {
        /* World-writable: the container may run as anybody. */
        s->code = make_file(s->term_path, STR_NULL, 0666, &s->err);
        if (s->code == 0)
            add_own_mount(s, str_c(arena_str(s->arena, s->spec->termination_message_path)),
                          s->term_path, false);
    }
}

static void finish_mounts(void *arg)
{
    struct start *s = arg;
    worker_trace_op(s->w, START_VOLUMES);
    if (s->code != 0) {
        start_fail(s, "CreateContainerConfigError", error_message(&s->err));
        return;
    }
    if (s->w->k->selinux.enabled)
        note_labelled(s);
    start_ready_devices(s);
}

static void make_mounts(struct start *s)
{
    struct pod_worker *w = s->w;
    const struct kubelet *k = w->k;
    struct field_context ctx;
    const struct core_v1_service *const *services = NULL;
    const struct core_v1_pod *pod = s->object->msg;
    char random[4], hex[9] = "";
    worker_field_context(w, &ctx);
    ctx.env_files = s->env_files;
    ctx.env_file_count = s->env_file_count;
    bool links = !pod->spec.has_enable_service_links || pod->spec.enable_service_links;
    size_t n = kubelet_services_for(k, s->arena, pod, links, &services);
    if (container_env(s->arena, &ctx, s->spec, w->sources, services, n, &s->env, &s->err) != 0) {
        start_fail(s, "CreateContainerConfigError", error_message(&s->err));
        return;
    }
    env_system_random(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(hex + 2 * i, 3, "%02x", (unsigned char)random[i]);
    s->pod_dir = pod_dir(s->arena, k->config.root_dir, w->uid);
    s->log_dir = pod_log_dir(s->arena, k->config.pod_logs_dir, w->namespace_name, w->name, w->uid);
    s->term_path =
        str_c(arena_printf(s->arena, "%s/containers/%s/%s", s->pod_dir, s->c->name, hex));
    s->hosts = hosts_file_content(s->arena, &ctx);
    s->own_hosts = pod->spec.host_network || s->hosts != NULL;
    w->op_begin_ns = uv_hrtime();
    /* Noted here: the loop changes it. */
    s->can_recursive = worker_handler(w).recursive_read_only;
    job_start(k->loop, run_mounts, finish_mounts, s);
}

/* What variables come from files of volumes: those are read first. */
static void run_env_files(void *arg)
{
    struct start *s = arg;
    for (size_t i = 0; i < s->env_file_count; i++) {
        struct env_file *f = &s->env_files[i];
        const struct volume *v = volume_set_find(s->w->volumes, f->volume);
        AUTO_BUF b = BUF_INIT;
        struct error err;
        f->code = v == NULL ? error_set(&err, E_NOT_FOUND, "no such volume")
                            : volume_read_file(v, str_c(arena_str(s->arena, f->path)),
                                               ENV_FILE_BYTES_MAX, &b, &err);
        if (f->code != 0)
            f->message = arena_strdup(s->arena, error_message(&err));
        else
            f->text = arena_str(s->arena, buf_str(&b));
    }
}

static void finish_env_files(void *arg)
{
    make_mounts(arg);
}

void start_make_mounts(struct start *s)
{
    s->env_files = ARENA_ARRAY(s->arena, struct env_file, s->spec->env_count);
    for (size_t i = 0; i < s->spec->env_count; i++) {
        const struct core_v1_env_var_source *from = s->spec->env[i].value_from;
        if (from != NULL && from->file_key_ref != NULL)
            s->env_files[s->env_file_count++] = (struct env_file){
                .volume = from->file_key_ref->volume_name, .path = from->file_key_ref->path};
    }
    if (s->env_file_count == 0)
        make_mounts(s);
    else
        job_start(s->w->k->loop, run_env_files, finish_env_files, s);
}
