/* pod_resize.c - new amounts of CPU and memory for a pod that runs; see resize.h.
 *
 *   asked for -> does it fit? -> the pod's cgroup made wide enough -> each container -> the pod's
 *   cgroup as it is to be
 *
 * What does not fit now is looked at again when a pod ends, and now and then. */
#include "kubelet/admission.h"
#include "kubelet/job.h"
#include "kubelet/pinning.h"
#include "kubelet/pod_worker_internal.h"
#include "kubelet/resize.h"
#include "kubelet/usage.h"

#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"

#include "api/core_v1.h"
#include "api/resource.h"

#include <inttypes.h>

#define LOOK_AGAIN_MS 10000u /* At a resize that waits or failed. */
#define CGROUP_ROOT "/sys/fs/cgroup"
#define CGROUP_TEXT_MAX 65536

/* --- what is allocated ---------------------------------------------------------------------- */
struct api_object *worker_take_resize(struct pod_worker *w, struct api_object *pod)
{
    const struct core_v1_pod *p = pod->msg;
    struct api_object *told = NULL, *ret;
    const struct api_object *has = w->object;
    if (w->origin == POD_FROM_API && has == NULL && p->status.start_time != NULL)
        has = told = resize_as_told(pod);
    api_object_unref(take(w->asked));
    if (w->origin == POD_FROM_API && has != NULL && resize_differs(pod, has)) {
        w->asked = api_object_ref(pod);
        ret = resize_with_amounts(pod, has);
    } else {
        w->resize_reason = NULL;
        ret = api_object_ref(pod);
    }
    api_object_unref(told);
    return ret;
}

void worker_decide_resize(struct pod_worker *w)
{
    AUTO_ARENA *a = arena_new(0);
    struct admission_refusal why = {0};
    if (w->asked == NULL || w->life != PM_RUNNING)
        return;
    /* Not before everything that is here is known. */
    if (w->k->node == NULL || !w->k->sources_ready) {
        w->resize_reason = "Deferred";
        if (w->resize_message == NULL)
            w->resize_message = xstrdup("the node agent has just started");
        worker_wake_in(w, 500);
        return;
    }
    bool may = pinning_may_resize(w->k->pinning, worker_pod(w), w->asked->msg, &why.message);
    if (!may)
        why.reason = "Infeasible";
    if (!may || !kubelet_fits(w->k, w, w->asked, a, &why)) {
        bool same = w->resize_message != NULL && strcmp(w->resize_message, why.message) == 0;
        w->resize_reason = strcmp(why.reason, "Deferred") == 0 ? "Deferred" : "Infeasible";
        if (!same)
            log_info("pod %s/%s is not resized yet: %s", w->namespace_name, w->name, why.message);
        free(w->resize_message);
        w->resize_message = xstrdup(why.message);
        worker_wake_in(w, LOOK_AGAIN_MS);
        return;
    }
    w->resize_reason = NULL;
    free(take(w->resize_message));
    worker_set_allocated(w, take(w->asked));
}

/* --- what is applied -------------------------------------------------------------------------- */
void container_set_applied(struct pod_container *c, const struct core_v1_resource_requirements *r)
{
    struct arena *a = arena_new(512);
    c->applied = api_msg_clone(a, &core_v1_resource_requirements_msg, r);
    arena_free(c->applied_arena);
    c->applied_arena = a;
    free(take(c->resize_error));
}

static bool is_resizable(const struct pod_worker *w, const struct pod_container *c)
{
    const struct rt_container *seen = rt_pod_find(w->rt, str_of(c->name));
    return (c->kind == PM_APP || c->kind == PM_SIDECAR) && seen != NULL &&
           seen->state == RT_RUNNING;
}

/* Of a container that an earlier agent started its status tells. */
static void find_applied(struct pod_worker *w, struct pod_container *c)
{
    const struct core_v1_resource_requirements *told =
        resize_applied(worker_pod(w), str_of(c->name));
    if (c->applied == NULL && is_resizable(w, c))
        container_set_applied(c, told != NULL ? told : &c->spec->resources);
}

static bool is_due(const struct pod_worker *w, const struct pod_container *c)
{
    return is_resizable(w, c) && c->applied != NULL &&
           !resize_same(c->applied, &c->spec->resources);
}

bool worker_is_resizing(const struct pod_worker *w, const char **ret_error)
{
    bool any = false;
    *ret_error = NULL;
    for (size_t i = 0; i < w->container_count; i++) {
        const struct pod_container *c = w->containers[i];
        any |= is_due(w, c);
        if (is_due(w, c) && *ret_error == NULL)
            *ret_error = c->resize_error;
    }
    return any;
}

void worker_widen_limits(const struct pod_worker *w, struct cgroup_limits *l)
{
    struct api_object *o;
    struct cgroup_limits before;
    const char *error;
    if (!worker_is_resizing(w, &error))
        return;
    o = api_object_clone(w->object);
    struct core_v1_pod *p = o->msg;
    for (size_t i = 0; i < p->spec.containers_count; i++) {
        const struct pod_container *c = worker_container(w, p->spec.containers[i].name);
        if (c != NULL && c->applied != NULL)
            p->spec.containers[i].resources = *c->applied;
    }
    pod_cgroup_limits(p, &before);
    resize_widen(l, &before);
    api_object_unref(o);
}

/* --- one container -----------------------------------------------------------------------------
 */
struct apply {
    struct pod_worker *w;
    struct arena *arena;
    struct api_object *object; /* Whose amounts are applied. */
    const struct core_v1_container *spec;
    const char *name, *id;
    int64_t pid;
    struct cgroup_limits limits;
    bool shrinks;  /* Memory. */
    uint64_t used; /* Of memory; 0: not known. */
};

static void apply_end(struct apply *x, const char *error)
{
    struct pod_worker *w = x->w;
    struct pod_container *c = worker_container(w, str_of(x->name));
    if (c != NULL && error == NULL) {
        container_set_applied(c, &x->spec->resources);
    } else if (c != NULL) {
        if (c->resize_error == NULL || strcmp(c->resize_error, error) != 0)
            log_warning("pod %s/%s: container %s cannot be resized: %s", w->namespace_name, w->name,
                        x->name, error);
        char *text = xstrdup(error);
        free(c->resize_error);
        c->resize_error = text;
        c->resize_blocked_until_ms = kubelet_now_ms(w->k) + LOOK_AGAIN_MS;
    }
    api_object_unref(x->object);
    arena_free(x->arena);
    worker_op_done(w);
}

static void on_updated(const struct cri_reply *reply, void *arg)
{
    apply_end(arg, reply->code != 0 ? reply->message : NULL);
}

/* Reads how much memory the container uses: the kernel would kill it to get below that. */
static void run_look(void *arg)
{
    struct apply *x = arg;
    AUTO_BUF text = BUF_INIT;
    struct usage_root root = usage_root_find(CGROUP_ROOT);
    struct usage u = {0};
    if (!x->shrinks || x->pid == 0)
        return;
    const char *path = arena_printf(x->arena, "/proc/%" PRId64 "/cgroup", x->pid).data;
    if (file_read(path, CGROUP_TEXT_MAX, &text, NULL) != 0)
        return;
    const char *group = usage_group_of(x->arena, &root, buf_str(&text), x->id);
    if (group != NULL)
        usage_read_group(&root, group, false, &u);
    x->used = u.has_memory ? u.working_set_bytes : 0;
}

static void after_look(void *arg)
{
    struct apply *x = arg;
    if (x->shrinks && x->limits.memory_bytes != 0 && x->used >= (uint64_t)x->limits.memory_bytes) {
        apply_end(x, arena_printf(x->arena,
                                  "attempting to set container \"%s\" memory limit (%" PRId64
                                  ") below current usage (%" PRIu64 ")",
                                  x->name, x->limits.memory_bytes, x->used)
                         .data);
        return;
    }
    CRI(UpdateContainerResourcesRequest) *req =
        CRI_NEW(x->arena, UpdateContainerResourcesRequest, update_container_resources_request);
    CRI(LinuxContainerResources) *r =
        CRI_NEW(x->arena, LinuxContainerResources, linux_container_resources);
    r->cpu_period = CPU_PERIOD_US;
    r->cpu_shares = x->limits.cpu_shares;
    r->cpu_quota = x->limits.cpu_quota_us;
    r->memory_limit_in_bytes = x->limits.memory_bytes;
    req->container_id = (char *)(uintptr_t)x->id;
    req->linux = r;
    cri_call(x->w->k->cri, CRI_UPDATE_CONTAINER_RESOURCES, req, CRI_TIMEOUT_MS, on_updated, x);
}

static void apply(struct pod_worker *w, struct pod_container *c)
{
    const struct rt_container *seen = rt_pod_find(w->rt, str_of(c->name));
    struct core_v1_container before = {.resources = *c->applied};
    struct cgroup_limits old;
    struct arena *a = arena_new(0);
    struct apply *x = ARENA_NEW(a, struct apply);
    *x = (struct apply){.w = w,
                        .arena = a,
                        .object = api_object_ref(w->object),
                        .spec = c->spec,
                        .name = arena_strdup(a, c->name),
                        .id = arena_strdup(a, seen->id),
                        .pid = seen->pid};
    container_cgroup_limits(c->spec, &x->limits);
    container_cgroup_limits(&before, &old);
    x->shrinks = x->limits.memory_bytes != 0 &&
                 (old.memory_bytes == 0 || x->limits.memory_bytes < old.memory_bytes);
    job_start(w->k->loop, run_look, after_look, x);
}

static void restart(struct pod_worker *w, struct pod_container *c)
{
    const struct rt_container *seen = rt_pod_find(w->rt, str_of(c->name));
    free(c->resize_killed);
    c->resize_killed = xstrdup(seen->id);
    worker_kill_container(w, c, PM_WHY_RESIZED, true);
}

enum resize_step worker_resize_step(struct pod_worker *w)
{
    const char *error;
    uint64_t now_ms = kubelet_now_ms(w->k);
    for (size_t i = 0; i < w->container_count; i++)
        find_applied(w, w->containers[i]);
    bool due = worker_is_resizing(w, &error);
    if (due != w->resize_widened) {
        w->resize_widened = due;
        return RESIZE_PREPARE;
    }
    for (size_t i = 0; i < w->container_count; i++) {
        struct pod_container *c = w->containers[i];
        if (!is_due(w, c))
            continue;
        if (c->resize_blocked_until_ms > now_ms) {
            worker_wake_in(w, c->resize_blocked_until_ms - now_ms);
            continue;
        }
        if (resize_restarts(c->spec, c->applied))
            restart(w, c);
        else
            apply(w, c);
        return RESIZE_STARTED;
    }
    return RESIZE_NOTHING;
}
