/* pod_stop.c - takes containers and pods down, and removes their traces.
 *
 *   stop: all but sidecars at once -> sidecars, last one first -> sandboxes */
#include "kubelet/csi.h"
#include "kubelet/dra.h"
#include "kubelet/image_volume.h"
#include "kubelet/job.h"
#include "kubelet/pod_worker_internal.h"
#include "kubelet/resources.h"
#include "kubelet/user_namespaces.h"

#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/file.h"
#include "lib/base/log.h"

#include "api/core_v1.h"

#include <stdio.h>
#include <unistd.h>

/* --- one container --------------------------------------------------------------------- */

static void on_one_killed(struct pod_worker *w, void *arg)
{
    UNUSED(arg);
    worker_op_done(w);
}

static const char *kill_text(enum pm_reason why)
{
    switch (why) {
    case PM_WHY_CHANGED:
        return "definition changed";
    case PM_WHY_RESIZED:
        return "resize requires restart";
    case PM_WHY_LIVENESS:
        return "failed liveness probe";
    case PM_WHY_STARTUP:
        return "failed startup probe";
    default:
        return "is in unknown state";
    }
}

void worker_kill_container(struct pod_worker *w, struct pod_container *c, enum pm_reason why,
                           bool restarts)
{
    const struct rt_container *seen = rt_pod_find(w->rt, str_of(c->name));
    const struct core_v1_pod *pod = worker_pod(w);
    int64_t grace_s = pod->spec.has_termination_grace_period_seconds
                          ? pod->spec.termination_grace_period_seconds
                          : 30;
    const struct core_v1_probe *probe = why == PM_WHY_LIVENESS  ? c->spec->liveness_probe
                                        : why == PM_WHY_STARTUP ? c->spec->startup_probe
                                                                : NULL;
    if (probe != NULL && probe->has_termination_grace_period_seconds)
        grace_s = probe->termination_grace_period_seconds;
    worker_event(w, c, "Normal", "Killing", "Container %s %s%s", c->name, kill_text(why),
                 restarts ? ", will be restarted" : "");
    container_stop_probes(c);
    worker_kill_begin(w, seen, c, grace_s, on_one_killed, NULL);
}

/* --- the whole pod ------------------------------------------------------------------------ */

struct stop {
    struct pod_worker *w;
    bool for_good;
    size_t open;
    size_t sidecar; /* Containers below this index may hold sidecars still to be stopped. */
    size_t sandbox;
    uint64_t start_ms;
};

static void next_sandbox(struct stop *s);

static void on_sandbox_stopped(const struct cri_reply *reply, void *arg)
{
    struct stop *s = arg;
    struct pod_worker *w = s->w;
    if (reply->code != 0 && reply->status != GRPC_NOT_FOUND && reply->code != E_CANCELED)
        log_warning("pod %s/%s: stop sandbox: %s", w->namespace_name, w->name, reply->message);
    s->sandbox++;
    next_sandbox(s);
}

static void next_sandbox(struct stop *s)
{
    struct pod_worker *w = s->w;
    while (s->sandbox < w->rt->sandbox_count && !w->rt->sandboxes[s->sandbox].ready)
        s->sandbox++;
    if (s->sandbox == w->rt->sandbox_count) {
        free(s);
        worker_op_done(w);
        return;
    }
    CRI(StopPodSandboxRequest) r;
    runtime__v1__stop_pod_sandbox_request__init(&r);
    r.pod_sandbox_id = (char *)(uintptr_t)w->rt->sandboxes[s->sandbox].id;
    cri_call(w->k->cri, CRI_STOP_POD_SANDBOX, &r, CRI_SANDBOX_TIMEOUT_MS, on_sandbox_stopped, s);
}

static bool is_live(const struct rt_container *c)
{
    return c != NULL && c->state != RT_EXITED;
}

static void next_sidecar(struct stop *s);

static void on_sidecar_stopped(struct pod_worker *w, void *arg)
{
    UNUSED(w);
    next_sidecar(arg);
}

/* Sidecars serve the containers that came after them: they go in reverse. */
static void next_sidecar(struct stop *s)
{
    struct pod_worker *w = s->w;
    while (s->sidecar > 0) {
        struct pod_container *c = w->containers[--s->sidecar];
        const struct rt_container *seen = rt_pod_find(w->rt, str_of(c->name));
        if (c->kind != PM_SIDECAR || !is_live(seen))
            continue;
        int64_t used = (int64_t)((kubelet_now_ms(w->k) - s->start_ms) / 1000);
        int64_t left = w->grace_s == 0 ? 0 : MAX_OF(w->grace_s - used, (int64_t)KILL_GRACE_MIN_S);
        worker_event(w, c, "Normal", "Killing", "Stopping container %s", c->name);
        worker_kill_begin(w, seen, c, left, on_sidecar_stopped, s);
        return;
    }
    next_sandbox(s);
}

static void on_main_stopped(struct pod_worker *w, void *arg)
{
    struct stop *s = arg;
    UNUSED(w);
    if (--s->open == 0)
        next_sidecar(s);
}

void worker_stop_all(struct pod_worker *w, bool for_good)
{
    struct stop *s = xzalloc(sizeof(*s));
    *s = (struct stop){.w = w,
                       .for_good = for_good,
                       .open = 1,
                       .sidecar = w->container_count,
                       .start_ms = kubelet_now_ms(w->k)};
    for (size_t i = 0; i < w->container_count; i++) {
        container_stop_probes(w->containers[i]);
        check_cancel(take(w->containers[i]->hook));
    }
    for (size_t i = 0; i < w->rt->container_count; i++) {
        const struct rt_container *seen = &w->rt->containers[i];
        struct pod_container *c = worker_container(w, str_of(seen->name));
        if (!is_live(seen) ||
            (c != NULL && c->kind == PM_SIDECAR && rt_pod_find(w->rt, str_of(c->name)) == seen))
            continue;
        worker_event(w, c, "Normal", "Killing", "Stopping container %s", seen->name);
        s->open++;
        worker_kill_begin(w, seen, c, w->grace_s, on_main_stopped, s);
    }
    on_main_stopped(w, s);
}

/* --- traces ---------------------------------------------------------------------------------- */

#define CLEAN_RETRY_MIN_MS 100u
#define CLEAN_RETRY_MAX_MS 60000u
#define CLEAN_QUIET_FAILURES 4u /* A process may take a moment to go: not worth a line. */

void worker_clean_failed(struct pod_worker *w, const char *why)
{
    uint64_t wait = (uint64_t)CLEAN_RETRY_MIN_MS << MIN_OF(w->clean_failures, 10u);
    if (w->clean_failures == CLEAN_QUIET_FAILURES)
        log_warning("pod %s/%s: clean-up fails and is tried again: %s", w->namespace_name, w->name,
                    why);
    w->clean_failures++;
    w->prepare_blocked_until_ms = kubelet_now_ms(w->k) + MIN_OF(wait, (uint64_t)CLEAN_RETRY_MAX_MS);
}

struct cleaning {
    struct pod_worker *w;
    char *dir; /* The pod's folder, or its logs. */
    bool cgroup;
    bool orphan; /* Its class is not known. */
    enum qos_class qos;
    int code;
    struct error err;
    void (*done)(struct pod_worker *w);
};

/* Of the worker only what never changes: the pod may get a new object meanwhile. */
static void run_cleaning(void *arg)
{
    struct cleaning *c = arg;
    c->code = volumes_remove(c->dir, &c->err);
    if (!c->cgroup || c->w->k->cgroups == NULL)
        return;
    if (!c->orphan) {
        int rc =
            cgroups_remove_pod(c->w->k->cgroups, c->qos, c->w->uid, c->code == 0 ? &c->err : NULL);
        c->code = c->code == 0 ? rc : c->code;
        return;
    }
    for (int q = QOS_GUARANTEED; q <= QOS_BEST_EFFORT; q++)
        cgroups_remove_pod(c->w->k->cgroups, (enum qos_class)q, c->w->uid, NULL);
}

static void finish_cleanup(void *arg)
{
    struct cleaning *c = arg;
    struct pod_worker *w = c->w;
    if (c->code == 0) {
        w->cleaned = true;
        user_namespaces_release(w->k->user_namespaces, w->uid);
        w->volumes_ready = false;
    } else {
        worker_clean_failed(w, error_message(&c->err));
    }
    free(c->dir);
    free(c);
    worker_op_done_same(w);
}

static void on_images_released(int code, const struct error *err, void *arg)
{
    struct cleaning *c = arg;
    c->code = code;
    if (code == 0) {
        job_start(c->w->k->loop, run_cleaning, finish_cleanup, c);
        return;
    }
    c->err = *err;
    finish_cleanup(c);
}

/* What drivers mounted is theirs to unmount; only then may the folders go. */
static void on_unmounted(int code, const struct error *err, void *arg)
{
    struct cleaning *c = arg;
    if (code == 0) {
        image_volumes_release(c->w->k, c->dir, c->w->uid, on_images_released, c);
        return;
    }
    c->code = code;
    c->err = *err;
    finish_cleanup(c);
}

static void on_unprepared(int code, const struct error *err, void *arg)
{
    struct cleaning *c = arg;
    if (code == 0) {
        csi_unmount_pod(c->w->k->csi, worker_pod(c->w), c->dir, on_unmounted, c);
        return;
    }
    c->code = code;
    c->err = *err;
    finish_cleanup(c);
}

void worker_cleanup(struct pod_worker *w)
{
    AUTO_ARENA *a = arena_new(0);
    struct cleaning *c = xzalloc(sizeof(*c));
    *c = (struct cleaning){.w = w, .cgroup = true};
    c->dir = xstrdup(pod_dir(a, w->k->config.root_dir, w->uid));
    c->orphan = worker_pod(w) == NULL;
    c->qos = c->orphan ? QOS_BEST_EFFORT : pod_qos_class(worker_pod(w));
    dra_unprepare(w->k->dra, str_of(w->uid), on_unprepared, c);
}

/* --- removal from the runtime ------------------------------------------------------------------
 */

struct removal {
    struct pod_worker *w;
    size_t sandbox, container;
    bool failed;
    void (*done)(struct pod_worker *w);
};

static void next_removal(struct removal *r);

static void finish_logs(void *arg)
{
    struct cleaning *c = arg;
    struct pod_worker *w = c->w;
    void (*done)(struct pod_worker *) = c->done;
    free(c->dir);
    free(c);
    w->busy = false;
    done(w);
}

static void remove_logs(struct pod_worker *w, void (*done)(struct pod_worker *w))
{
    AUTO_ARENA *a = arena_new(0);
    struct cleaning *c = xzalloc(sizeof(*c));
    *c = (struct cleaning){.w = w, .done = done};
    c->dir = xstrdup(pod_log_dir(a, w->k->config.pod_logs_dir, w->namespace_name, w->name, w->uid));
    job_start(w->k->loop, run_cleaning, finish_logs, c);
}

static void on_removed(const struct cri_reply *reply, void *arg)
{
    struct removal *r = arg;
    if (reply->code != 0 && reply->status != GRPC_NOT_FOUND && !r->failed) {
        r->failed = true;
        worker_clean_failed(r->w, reply->message);
    }
    next_removal(r);
}

static void next_removal(struct removal *r)
{
    struct pod_worker *w = r->w;
    const struct rt_pod *rt = w->rt;
    if (!r->failed && r->container < rt->container_count) {
        CRI(RemoveContainerRequest) req;
        runtime__v1__remove_container_request__init(&req);
        req.container_id = (char *)(uintptr_t)rt->containers[r->container++].id;
        cri_call(w->k->cri, CRI_REMOVE_CONTAINER, &req, CRI_TIMEOUT_MS, on_removed, r);
        return;
    }
    if (!r->failed && r->sandbox < rt->sandbox_count) {
        CRI(RemovePodSandboxRequest) req;
        runtime__v1__remove_pod_sandbox_request__init(&req);
        req.pod_sandbox_id = (char *)(uintptr_t)rt->sandboxes[r->sandbox++].id;
        cri_call(w->k->cri, CRI_REMOVE_POD_SANDBOX, &req, CRI_SANDBOX_TIMEOUT_MS, on_removed, r);
        return;
    }
    bool failed = r->failed;
    void (*done)(struct pod_worker *) = r->done;
    free(r);
    if (failed) {
        w->cleaned = false; /* Comes back here after the wait. */
        worker_op_done(w);
        return;
    }
    remove_logs(w, done);
}

void worker_remove_runtime(struct pod_worker *w, void (*done)(struct pod_worker *w))
{
    struct removal *r = xzalloc(sizeof(*r));
    *r = (struct removal){.w = w, .done = done};
    next_removal(r);
}

/* --- dead instances ------------------------------------------------------------------------------
 */

struct burial {
    struct pod_worker *w;
    char *log_path;
};

static void run_burial(void *arg)
{
    struct burial *b = arg;
    if (b->log_path[0] != '\0')
        unlink(b->log_path);
}

static void finish_burial(void *arg)
{
    struct burial *b = arg;
    struct pod_worker *w = b->w;
    free(b->log_path);
    free(b);
    worker_op_done(w);
}

static void on_buried(const struct cri_reply *reply, void *arg)
{
    struct burial *b = arg;
    if (reply->code != 0)
        b->log_path[0] = '\0';
    job_start(b->w->k->loop, run_burial, finish_burial, b);
}

static bool has_containers(const struct rt_pod *rt, const char *sandbox_id)
{
    for (size_t i = 0; i < rt->container_count; i++) {
        if (strcmp(rt->containers[i].sandbox_id, sandbox_id) == 0)
            return true;
    }
    return false;
}

bool worker_collect_dead(struct pod_worker *w)
{
    const struct rt_pod *rt = w->rt;
    for (size_t i = 0; i < rt->container_count; i++) {
        const struct rt_container *c = &rt->containers[i];
        /* The newest counts, and one before it: `kubectl logs --previous`. */
        const struct rt_container *second = rt_pod_find_nth(rt, str_of(c->name), 1);
        if (c->state != RT_EXITED || second == NULL || c->created_ns >= second->created_ns)
            continue;
        struct burial *b = xzalloc(sizeof(*b));
        *b = (struct burial){.w = w, .log_path = xstrdup(c->log_path)};
        CRI(RemoveContainerRequest) r;
        runtime__v1__remove_container_request__init(&r);
        r.container_id = (char *)(uintptr_t)c->id;
        w->busy = true;
        cri_call(w->k->cri, CRI_REMOVE_CONTAINER, &r, CRI_TIMEOUT_MS, on_buried, b);
        return true;
    }
    for (size_t i = 1; i < rt->sandbox_count; i++) {
        if (rt->sandboxes[i].ready || has_containers(rt, rt->sandboxes[i].id))
            continue;
        struct burial *b = xzalloc(sizeof(*b));
        *b = (struct burial){.w = w, .log_path = xstrdup("")};
        CRI(RemovePodSandboxRequest) r;
        runtime__v1__remove_pod_sandbox_request__init(&r);
        r.pod_sandbox_id = (char *)(uintptr_t)rt->sandboxes[i].id;
        w->busy = true;
        cri_call(w->k->cri, CRI_REMOVE_POD_SANDBOX, &r, CRI_SANDBOX_TIMEOUT_MS, on_buried, b);
        return true;
    }
    return false;
}
