/* pod_start.c - starts one container.
 *
 *   sources -> image there? -> (pull) -> mounts -> devices -> create -> start -> postStart
 *
 * Each step may fail; the container then waits with upstream's reason, and is
 * tried again after a back-off. */
#include "kubelet/dra.h"
#include "kubelet/image_pull.h"
#include "kubelet/pod_start_internal.h"
#include "kubelet/resources.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"

#include "api/core_v1.h"

#define START_SOURCES_AGE_MS 1000u

static void start_free(struct start *s)
{
    worker_leave_turn(s->w);
    s->w->start = NULL;
    api_object_unref(s->object);
    arena_free(s->arena);
    free(s);
}

void start_give_up(struct start *s, const char *reason, const char *message, uint64_t wait_ms)
{
    struct pod_container *c = s->c;
    container_set_waiting(c, reason, message);
    c->blocked_until_ms = kubelet_now_ms(s->w->k) + wait_ms;
    struct pod_worker *w = s->w;
    start_free(s);
    worker_op_done(w);
}

void start_fail(struct start *s, const char *reason, const char *message)
{
    worker_event(s->w, s->c, "Warning", "Failed", "Error: %s",
                 strcmp(reason, "ErrImagePull") == 0 || strcmp(reason, "ImagePullBackOff") == 0
                     ? reason
                     : message);
    start_give_up(s, reason, message, START_RETRY_MS);
}

/* --- 3: postStart -------------------------------------------------------------------- */

static void on_hook_killed(struct pod_worker *w, void *arg)
{
    start_free(arg);
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
    worker_kill_started(w, s->c, s->container_id, on_hook_killed, s);
}

void worker_take_turn(struct pod_worker *w, enum start_rank rank,
                      void (*ready)(struct start_turn *t))
{
    const struct core_v1_pod_spec *spec = &worker_pod(w)->spec;
    w->turn.ready = ready;
    start_gate_enter(w->k->starts, &w->turn, rank, spec->has_priority ? spec->priority : 0);
}

void worker_leave_turn(struct pod_worker *w)
{
    start_gate_leave(w->k->starts, &w->turn);
}

void worker_interrupt_start(struct pod_worker *w)
{
    struct start *s = w->start;
    if (w->turn.state == TURN_WAITING) {
        worker_leave_turn(w);
        if (s != NULL)
            start_free(s);
        worker_op_done_same(w);
        return;
    }
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

/* --- 2: create and start -------------------------------------------------------------- */

static void on_started(const struct cri_reply *reply, void *arg)
{
    struct start *s = arg;
    struct pod_worker *w = s->w;
    worker_leave_turn(w);
    start_trace_add(&w->trace, START_START, reply->took_ns);
    if (reply->code != 0) {
        worker_event(w, s->c, "Warning", "Failed", "Error: %s", reply->message);
        log_warning("pod %s/%s: container %s: %s", w->namespace_name, w->name, s->c->name,
                    reply->message);
        start_give_up(s, "RunContainerError", reply->message, 0);
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
        start_give_up(s, "CreateContainerError", reply->message, START_RETRY_MS);
        return;
    }
    const CRI(CreateContainerResponse) *r = reply->msg;
    s->container_id = arena_strdup(s->arena, r->container_id);
    pinning_created(w->k->pinning, s->container_id, s->pins.cpus);
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

static void on_turn(struct start_turn *t)
{
    struct pod_worker *w = CONTAINER_OF(t, struct pod_worker, turn);
    struct start *s = w->start;
    start_trace_add(&w->trace, START_TURN, t->waited_ms * 1000000);
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
        .users = worker_users(w),
        .memory_capacity = w->k->memory_capacity,
        .hugepage_sizes = w->k->hugepage_sizes,
        .hugepage_size_count = w->k->hugepage_size_count,
        .image_uid = s->image_uid,
        .image_user = s->image_user,
        .seccomp_root = str_c(arena_printf(s->arena, "%s/seccomp", w->k->config.root_dir)),
    };
    pinning_container(w->k->pinning, s->arena, in.pod, s->spec->name, &s->pins);
    in.cpus = s->pins.cpus;
    in.mems = s->pins.mems;
    in.no_quota = s->pins.no_quota;
    if (dra_devices(w->k->dra, s->arena, in.pod, s->spec, &in.cdi_devices, &in.cdi_device_count,
                    &err) != 0) {
        start_fail(s, "CreateContainerConfigError", error_message(&err));
        return;
    }
    start_add_devices(s, &in);
    CRI(CreateContainerRequest) *r =
        CRI_NEW(s->arena, CreateContainerRequest, create_container_request);
    if (container_config(s->arena, &in, &r->config, &err) != 0) {
        start_fail(s, "CreateContainerConfigError", error_message(&err));
        return;
    }
    r->pod_sandbox_id = arena_strdup(s->arena, sandbox->id);
    r->sandbox_config = worker_sandbox_config(w, s->arena, sandbox->attempt);
    cri_call(w->k->cri, CRI_CREATE_CONTAINER, r, CRI_TIMEOUT_MS, on_created, s);
}

void start_create(struct start *s)
{
    worker_take_turn(s->w, START_RANK_CONTAINER, on_turn);
}

/* --- 1: sources ------------------------------------------------------------------------- */

static void on_sources(struct pod_worker *w, void *arg)
{
    UNUSED(w);
    start_check_image(arg);
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
