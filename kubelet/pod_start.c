/* pod_start.c - starts one container.
 *
 *   sources -> image there? -> (pull) -> mounts -> create -> start -> postStart
 *
 * Each step may fail; the container then waits with upstream's reason, and is
 * tried again after a back-off. */
#include "kubelet/dra.h"
#include "kubelet/cri_config.h"
#include "kubelet/env_file.h"
#include "kubelet/image_pull.h"
#include "kubelet/job.h"
#include "kubelet/pod_sources.h"
#include "kubelet/pod_worker_internal.h"
#include "kubelet/resources.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/file.h"
#include "lib/base/log.h"

#include "api/core_v1.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define START_SOURCES_AGE_MS 1000u
#define START_RETRY_MS 10000u
#define NODE_HOSTS_BYTES_MAX (1u << 20)

struct start {
    struct pod_worker *w;
    bool can_recursive; /* Read-only mounts: the runtime can. */
    struct pod_container *c;
    struct api_object *object; /* Held: spec and strings come from it. */
    const struct core_v1_container *spec;
    struct arena *arena;
    uint32_t attempt;
    struct str image; /* With its tag. */
    const char *image_ref;
    int64_t image_uid;
    const char *image_user;
    uint64_t pull_start_ms, pull_took_ms;
    struct container_mount *mounts;
    size_t mount_count;
    struct container_device *devices;
    size_t device_count;
    const char *container_id;
    struct image_pull *pull; /* NULL unless pulling. */

    struct env_file *env_files;
    size_t env_file_count;
    /* For the job that makes mounts. */
    struct env_list env;
    const char *pod_dir;
    const char *log_dir;
    const char *term_path; /* Host file of the termination message. */
    const char *hosts;     /* Content; NULL: the node's file with aliases. */
    bool own_hosts;
    int code;
    struct error err;
};

static void start_free(struct start *s)
{
    s->w->start = NULL;
    api_object_unref(s->object);
    arena_free(s->arena);
    free(s);
}

/* Ends the attempt; the container waits for reason and is not tried for wait_ms. */
static void give_up(struct start *s, const char *reason, const char *message, uint64_t wait_ms)
{
    struct pod_container *c = s->c;
    container_set_waiting(c, reason, message);
    c->blocked_until_ms = kubelet_now_ms(s->w->k) + wait_ms;
    struct pod_worker *w = s->w;
    start_free(s);
    worker_op_done(w);
}

static void fail(struct start *s, const char *reason, const char *message)
{
    worker_event(s->w, s->c, "Warning", "Failed", "Error: %s",
                 strcmp(reason, "ErrImagePull") == 0 || strcmp(reason, "ImagePullBackOff") == 0
                     ? reason
                     : message);
    give_up(s, reason, message, START_RETRY_MS);
}

/* --- 6: postStart -------------------------------------------------------------------- */

static void on_hook_killed(const struct cri_reply *reply, void *arg)
{
    struct start *s = arg;
    struct pod_worker *w = s->w;
    UNUSED(reply);
    start_free(s);
    worker_op_done(w);
}

static void on_post_start(enum check_result r, const char *output, void *arg)
{
    struct start *s = arg;
    struct pod_worker *w = s->w;
    s->c->hook = NULL;
    s->c->post_start_pending = false;
    if (r == CHECK_SUCCESS) {
        start_free(s);
        worker_op_done(w);
        return;
    }
    worker_event(w, s->c, "Warning", "FailedPostStartHook", "PostStartHook failed: %s", output);
    worker_event(w, s->c, "Normal", "Killing", "FailedPostStartHook");
    container_set_waiting(s->c, "PostStartHookError", "PostStartHookError");
    CRI(StopContainerRequest) req;
    runtime__v1__stop_container_request__init(&req);
    req.container_id = (char *)(uintptr_t)s->container_id;
    req.timeout = w->life == PM_RUNNING && worker_pod(w)->spec.has_termination_grace_period_seconds
                      ? worker_pod(w)->spec.termination_grace_period_seconds
                      : w->grace_s;
    cri_call(w->k->cri, CRI_STOP_CONTAINER, &req, CRI_TIMEOUT_MS + (uint64_t)req.timeout * 1000,
             on_hook_killed, s);
}

void worker_interrupt_start(struct pod_worker *w)
{
    struct start *s = w->start;
    if (s == NULL)
        return;
    if (s->pull != NULL)
        image_pull_cancel(take(s->pull));
    if (s->c->hook != NULL) {
        check_cancel(take(s->c->hook));
        s->c->post_start_pending = false;
        start_free(s);
        worker_op_done(w);
    }
}

static void run_post_start(struct start *s)
{
    struct check_config c = {
        .container = s->spec,
        .container_id = s->container_id,
        .pod_ip = worker_pod_ip(s->w),
        .done = on_post_start,
        .arg = s,
    };
    check_from_hook(&c, s->spec->lifecycle->post_start);
    s->c->post_start_pending = true;
    s->c->hook = check_start(s->w->k, &c);
}

/* --- 5: create and start ---------------------------------------------------------------- */

static void on_started(const struct cri_reply *reply, void *arg)
{
    struct start *s = arg;
    struct pod_worker *w = s->w;
    start_trace_add(&w->trace, START_START, reply->took_ns);
    if (reply->code != 0) {
        worker_event(w, s->c, "Warning", "Failed", "Error: %s", reply->message);
        log_warning("pod %s/%s: container %s: %s", w->namespace_name, w->name, s->c->name,
                    reply->message);
        give_up(s, "RunContainerError", reply->message, 0);
        return;
    }
    worker_event(w, s->c, "Normal", "Started", "Started container %s", s->c->name);
    container_set_applied(s->c, &s->spec->resources);
    container_set_waiting(s->c, NULL, NULL);
    s->c->blocked_until_ms = 0;
    if (s->spec->lifecycle != NULL && s->spec->lifecycle->post_start != NULL) {
        run_post_start(s);
        return;
    }
    start_free(s);
    worker_op_done(w);
}

static void on_created(const struct cri_reply *reply, void *arg)
{
    struct start *s = arg;
    struct pod_worker *w = s->w;
    start_trace_add(&w->trace, START_CREATE, reply->took_ns);
    if (reply->code != 0) {
        worker_event(w, s->c, "Warning", "Failed", "Error: %s", reply->message);
        log_warning("pod %s/%s: container %s: %s", w->namespace_name, w->name, s->c->name,
                    reply->message);
        give_up(s, "CreateContainerError", reply->message, START_RETRY_MS);
        return;
    }
    const CRI(CreateContainerResponse) *r = reply->msg;
    s->container_id = arena_strdup(s->arena, r->container_id);
    worker_event(w, s->c, "Normal", "Created", "Created container: %s", s->c->name);
    CRI(StartContainerRequest) req;
    runtime__v1__start_container_request__init(&req);
    req.container_id = (char *)(uintptr_t)s->container_id;
    cri_call(w->k->cri, CRI_START_CONTAINER, &req, CRI_TIMEOUT_MS, on_started, s);
}

static const char *target_id(const struct start *s)
{
    const struct core_v1_pod *pod = s->object->msg;
    if (s->c->kind != PM_EPHEMERAL)
        return NULL;
    for (size_t i = 0; i < pod->spec.ephemeral_containers_count; i++) {
        const struct core_v1_ephemeral_container *e = &pod->spec.ephemeral_containers[i];
        if (!str_eqc(e->ephemeral_container_common.name, s->c->name) ||
            str_empty(e->target_container_name))
            continue;
        const struct rt_container *t = rt_pod_find(s->w->rt, e->target_container_name);
        return t != NULL ? t->id : NULL;
    }
    return NULL;
}

static void create(struct start *s)
{
    struct pod_worker *w = s->w;
    const struct rt_sandbox *sandbox = rt_pod_sandbox(w->rt);
    struct error err;
    struct container_inputs in = {
        .pod = s->object->msg,
        .container = s->spec,
        .attempt = s->attempt,
        .hash = s->c->hash,
        .image_ref = s->image_ref,
        .env = &s->env,
        .mounts = s->mounts,
        .mount_count = s->mount_count,
        .devices = s->devices,
        .device_count = s->device_count,
        .target_id = target_id(s),
        .memory_capacity = w->k->memory_capacity,
        .image_uid = s->image_uid,
        .image_user = s->image_user,
        .seccomp_root = str_c(arena_printf(s->arena, "%s/seccomp", w->k->config.root_dir)),
    };
    if (dra_devices(w->k->dra, s->arena, in.pod, s->spec, &in.cdi_devices, &in.cdi_device_count,
                    &err) != 0) {
        fail(s, "CreateContainerConfigError", error_message(&err));
        return;
    }
    CRI(CreateContainerRequest) *r =
        CRI_NEW(s->arena, CreateContainerRequest, create_container_request);
    if (container_config(s->arena, &in, &r->config, &err) != 0) {
        fail(s, "CreateContainerConfigError", error_message(&err));
        return;
    }
    r->pod_sandbox_id = arena_strdup(s->arena, sandbox->id);
    r->sandbox_config = worker_sandbox_config(w, s->arena, sandbox->attempt);
    cri_call(w->k->cri, CRI_CREATE_CONTAINER, r, CRI_TIMEOUT_MS, on_created, s);
}

/* --- 4: mounts ------------------------------------------------------------------------------ */

static void add_mount(struct start *s, const char *container_path, const char *host_path,
                      bool read_only)
{
    s->mounts[s->mount_count++] = (struct container_mount){
        .container_path = container_path, .host_path = host_path, .read_only = read_only};
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
        add_mount(s, "/etc/hosts", path,
                  s->spec->security_context != NULL &&
                      s->spec->security_context->read_only_root_filesystem);
    return rc;
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
    if (!str_empty(m->sub_path_expr))
        sub = env_expand(s->arena, m->sub_path_expr, &s->env, NULL);
    if (!str_empty(sub)) {
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
    if (str_eqc(m->mount_propagation, "Bidirectional"))
        out->propagation = CRI_ENUM(MOUNT_PROPAGATION__PROPAGATION_BIDIRECTIONAL);
    else if (str_eqc(m->mount_propagation, "HostToContainer"))
        out->propagation = CRI_ENUM(MOUNT_PROPAGATION__PROPAGATION_HOST_TO_CONTAINER);
    bool can = s->can_recursive;
    out->recursive_read_only =
        m->read_only && (str_eqc(m->recursive_read_only, "Enabled") ||
                         (can && str_eqc(m->recursive_read_only, "IfPossible")));
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
            add_mount(s, str_c(arena_str(s->arena, s->spec->termination_message_path)),
                      s->term_path, false);
    }
}

static void finish_mounts(void *arg)
{
    struct start *s = arg;
    worker_trace_op(s->w, START_VOLUMES);
    if (s->code != 0)
        fail(s, "CreateContainerConfigError", error_message(&s->err));
    else
        create(s);
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

static void make_mounts(struct start *s);

static void finish_env_files(void *arg)
{
    make_mounts(arg);
}

static void read_env_files(struct start *s)
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
        fail(s, "CreateContainerConfigError", error_message(&s->err));
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
    s->can_recursive = k->support.recursive_read_only; /* Which the loop changes. */
    job_start(k->loop, run_mounts, finish_mounts, s);
}

/* --- 3: pull ---------------------------------------------------------------------------------- */

static struct str image_key(struct start *s)
{
    return arena_printf(s->arena, "%s/" STR_FMT, s->w->uid, STR_ARG(s->image));
}

static void check_image(struct start *s, bool pulled);

static void on_pulled(const struct image_pull_result *r, void *arg)
{
    struct start *s = arg;
    struct pod_worker *w = s->w;
    uint64_t now_ms = kubelet_now_ms(w->k);
    s->pull = NULL;
    start_trace_add(&w->trace, START_PULL, r->took_ns);
    if (r->code == E_CANCELED) {
        give_up(s, "ErrImagePull", "pull canceled", 0);
        return;
    }
    if (r->code != 0) {
        struct str key = image_key(s);
        backoff_next(&w->k->image_backoff, key, now_ms);
        uint64_t wait = backoff_delay_ms(&w->k->image_backoff, key);
        worker_event(w, s->c, "Warning", "Failed", "Failed to pull image \"" STR_FMT "\": %s",
                     STR_ARG(s->spec->image), r->message);
        worker_event(w, s->c, "Warning", "Failed", "Error: ErrImagePull");
        struct str text = arena_printf(s->arena, "failed to pull image \"" STR_FMT "\": %s",
                                       STR_ARG(s->spec->image), r->message);
        /* Shown as ErrImagePull until the next try finds itself backed off. */
        give_up(s, "ErrImagePull", str_c(text), MIN_OF(wait, (uint64_t)3000));
        return;
    }
    s->pull_took_ms = r->took_ns / 1000000;
    s->image_ref = r->image_ref;
    backoff_reset(&w->k->image_backoff, image_key(s));
    check_image(s, true);
}

/* Of the pod's pull secrets, in their order. */
static void find_auths(struct start *s, struct pull_auth_list *ret)
{
    const struct core_v1_pod *pod = s->object->msg;
    for (size_t i = 0; i < pod->spec.image_pull_secrets_count; i++) {
        const void *msg;
        struct str name = pod->spec.image_pull_secrets[i].name;
        if (source_object(s->w->sources, SOURCE_SECRET, name, true, &msg, NULL) != 0 || msg == NULL)
            continue;
        const struct core_v1_secret *secret = msg;
        const struct str *json =
            api_str_map_get(secret->data, secret->data_count, STR(".dockerconfigjson"));
        if (json == NULL)
            json = api_str_map_get(secret->data, secret->data_count, STR(".dockercfg"));
        if (json != NULL)
            pull_auths_add(s->arena, ret, *json, s->image);
    }
}

static void pull(struct start *s)
{
    struct pod_worker *w = s->w;
    struct str key = image_key(s);
    uint64_t now_ms = kubelet_now_ms(w->k);
    struct str text =
        arena_printf(s->arena, "Back-off pulling image \"" STR_FMT "\"", STR_ARG(s->spec->image));
    if (backoff_delay_ms(&w->k->image_backoff, key) > 0 && s->c->wait_reason != NULL &&
        strcmp(s->c->wait_reason, "ErrImagePull") == 0) {
        uint64_t delay = backoff_delay_ms(&w->k->image_backoff, key);
        worker_event(w, s->c, "Normal", "BackOff", "%s", str_c(text));
        worker_event(w, s->c, "Warning", "Failed", "Error: ImagePullBackOff");
        struct str message =
            s->c->wait_message != NULL
                ? arena_printf(s->arena, "%s: ErrImagePull: %s", str_c(text), s->c->wait_message)
                : text;
        give_up(s, "ImagePullBackOff", str_c(message), delay);
        return;
    }
    struct image_pull_config config = {.arena = s->arena,
                                       .image = s->image,
                                       .sandbox_config = worker_sandbox_config(w, s->arena, 0),
                                       .done = on_pulled,
                                       .arg = s};
    find_auths(s, &config.auths);
    s->pull_start_ms = now_ms;
    worker_event(w, s->c, "Normal", "Pulling", "Pulling image \"" STR_FMT "\"",
                 STR_ARG(s->spec->image));
    s->pull = image_pull_start(w->k, &config);
}

/* --- 2: image ------------------------------------------------------------------------------------
 */

static const char *seconds_text(struct arena *a, uint64_t ms)
{
    return ms < 1000 ? str_c(arena_printf(a, "%llums", (unsigned long long)ms))
                     : str_c(arena_printf(a, "%llu.%03llus", (unsigned long long)(ms / 1000),
                                          (unsigned long long)(ms % 1000)));
}

static void set_image(struct start *s, const CRI(Image) * image)
{
    s->image_ref = arena_strdup(s->arena, image->id);
    s->image_uid = image->uid != NULL ? image->uid->value : -1;
    s->image_user = arena_strdup(s->arena, image->username != NULL ? image->username : "");
}

static void on_image_after_pull(const struct cri_reply *reply, void *arg)
{
    struct start *s = arg;
    const CRI(ImageStatusResponse) *r = reply->msg;
    uint64_t took = kubelet_now_ms(s->w->k) - s->pull_start_ms;
    unsigned long long size = 0;
    start_trace_add(&s->w->trace, START_IMAGE, reply->took_ns);
    if (reply->code == 0 && r->image != NULL) {
        set_image(s, r->image);
        size = r->image->size;
    }
    const char *text = seconds_text(s->arena, took),
               *pulled = seconds_text(s->arena, s->pull_took_ms);
    worker_event(s->w, s->c, "Normal", "Pulled",
                 "Successfully pulled image \"" STR_FMT
                 "\" in %s (%s including waiting). Image size: %llu bytes.",
                 STR_ARG(s->spec->image), pulled, text, size);
    read_env_files(s);
}

static void on_image(const struct cri_reply *reply, void *arg)
{
    struct start *s = arg;
    const CRI(ImageStatusResponse) *r = reply->msg;
    start_trace_add(&s->w->trace, START_IMAGE, reply->took_ns);
    if (reply->code != 0) {
        struct str text = arena_printf(s->arena, "Failed to inspect image \"" STR_FMT "\": %s",
                                       STR_ARG(s->spec->image), reply->message);
        worker_event(s->w, s->c, "Warning", "InspectFailed", "%s", str_c(text));
        fail(s, "ImageInspectError", str_c(text));
        return;
    }
    bool present = r->image != NULL && r->image->id != NULL && r->image->id[0] != '\0';
    bool always = str_eqc(s->spec->image_pull_policy, "Always") ||
                  (str_empty(s->spec->image_pull_policy) && image_is_latest(s->image));
    if (present && !always) {
        set_image(s, r->image);
        worker_event(s->w, s->c, "Normal", "Pulled",
                     "Container image \"" STR_FMT "\" already present on machine",
                     STR_ARG(s->spec->image));
        read_env_files(s);
        return;
    }
    if (str_eqc(s->spec->image_pull_policy, "Never")) {
        struct str text = arena_printf(
            s->arena, "Container image \"" STR_FMT "\" is not present with pull policy of Never",
            STR_ARG(s->spec->image));
        worker_event(s->w, s->c, "Warning", "ErrImageNeverPull", "%s", str_c(text));
        worker_event(s->w, s->c, "Warning", "Failed", "Error: ErrImageNeverPull");
        give_up(s, "ErrImageNeverPull", str_c(text), START_RETRY_MS);
        return;
    }
    pull(s);
}

static void check_image(struct start *s, bool pulled)
{
    CRI(ImageStatusRequest) *r = CRI_NEW(s->arena, ImageStatusRequest, image_status_request);
    r->image = CRI_NEW(s->arena, ImageSpec, image_spec);
    r->image->image = pulled ? arena_strdup(s->arena, s->image_ref)
                             : (char *)(uintptr_t)str_c(arena_str(s->arena, s->image));
    cri_call(s->w->k->cri, CRI_IMAGE_STATUS, r, CRI_TIMEOUT_MS,
             pulled ? on_image_after_pull : on_image, s);
}

/* --- 1: sources
 * ------------------------------------------------------------------------------------- */

static void on_sources(struct pod_worker *w, void *arg)
{
    UNUSED(w);
    check_image(arg, false);
}

static uint32_t next_attempt(const struct pod_worker *w, const struct pod_container *c)
{
    const struct rt_container *last = rt_pod_find(w->rt, str_of(c->name));
    if (last != NULL)
        return last->attempt + 1;
    /* The runtime has forgotten: the API may remember. */
    const struct core_v1_pod_status *s = &worker_pod(w)->status;
    for (size_t i = 0; i < s->container_statuses_count; i++) {
        const struct core_v1_container_status *x = &s->container_statuses[i];
        if (str_eqc(x->name, c->name) && !str_empty(x->container_id))
            return (uint32_t)x->restart_count + 1;
    }
    return 0;
}

void worker_start_container(struct pod_worker *w, struct pod_container *c)
{
    struct start *s = xzalloc(sizeof(*s));
    w->start = s;
    s->w = w;
    s->c = c;
    s->object = api_object_ref(w->object);
    s->spec = c->spec;
    s->arena = arena_new(0);
    s->attempt = next_attempt(w, c);
    s->image = image_with_tag(s->arena, c->spec->image);
    s->image_uid = -1;
    s->image_user = "";
    c->probes_failed = false;
    if (s->attempt > 0 && c->kind != PM_EPHEMERAL) {
        AUTO_ARENA *a = arena_new(0);
        struct str key =
            arena_printf(a, "%s/%s/%llx", w->uid, c->name, (unsigned long long)c->hash);
        backoff_next(&w->k->crash_backoff, key, kubelet_now_ms(w->k));
    }
    worker_fetch_sources(w, START_SOURCES_AGE_MS, on_sources, s);
}
