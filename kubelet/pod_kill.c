/* pod_kill.c - ends single containers.
 *
 *   preStop (within the grace) -> StopContainer with what is left of it */
#include "kubelet/pod_worker_internal.h"

#include "lib/base/log.h"

#include "api/core_v1.h"

/* One container being stopped. */
struct kill {
    struct list link; /* In the worker's kills. */
    struct pod_worker *w;
    char *id;
    struct check *pre_stop;
    int64_t grace_s;
    uint64_t start_ms;
    int open; /* Calls that have not come back. */
    void (*done)(struct pod_worker *w, void *arg);
    void *arg;
};

static void kill_release(struct kill *k)
{
    if (k->open > 0 || k->pre_stop != NULL)
        return;
    list_remove(&k->link);
    void (*done)(struct pod_worker *, void *) = k->done;
    struct pod_worker *w = k->w;
    void *arg = k->arg;
    free(k->id);
    free(k);
    done(w, arg);
}

static void on_stopped(const struct cri_reply *reply, void *arg)
{
    struct kill *k = arg;
    k->open--;
    if (reply->code != 0 && reply->status != GRPC_NOT_FOUND && reply->code != E_CANCELED) {
        log_warning("pod %s/%s: stop container %s: %s", k->w->namespace_name, k->w->name, k->id,
                    reply->message);
        worker_event(k->w, NULL, "Warning", "FailedKillPod", "error killing pod: %s",
                     reply->message);
    }
    kill_release(k);
}

static void stop_call(struct kill *k, int64_t grace_s)
{
    CRI(StopContainerRequest) r;
    runtime__v1__stop_container_request__init(&r);
    r.container_id = k->id;
    r.timeout = grace_s;
    k->open++;
    cri_call(k->w->k->cri, CRI_STOP_CONTAINER, &r, CRI_TIMEOUT_MS + (uint64_t)grace_s * 1000,
             on_stopped, k);
}

static int64_t grace_left(const struct kill *k)
{
    int64_t used = (int64_t)((kubelet_now_ms(k->w->k) - k->start_ms) / 1000);
    /* Zero stays zero: the caller wants it dead now. */
    if (k->grace_s == 0)
        return 0;
    return MAX_OF(k->grace_s - used, (int64_t)MIN_OF(k->grace_s, (int64_t)KILL_GRACE_MIN_S));
}

static void on_pre_stop(enum check_result r, const char *output, void *arg)
{
    struct kill *k = arg;
    k->pre_stop = NULL;
    if (r != CHECK_SUCCESS)
        worker_event(k->w, NULL, "Warning", "FailedPreStopHook", "PreStopHook failed: %s", output);
    stop_call(k, grace_left(k));
}

void worker_kill_begin(struct pod_worker *w, const struct rt_container *c,
                       const struct pod_container *spec, int64_t grace_s,
                       void (*done)(struct pod_worker *w, void *arg), void *arg)
{
    struct kill *k = xzalloc(sizeof(*k));
    *k = (struct kill){
        .w = w, .grace_s = grace_s, .start_ms = kubelet_now_ms(w->k), .done = done, .arg = arg};
    k->id = xstrdup(c->id);
    list_push_back(&w->kills, &k->link);
    if (c->state == RT_CREATED) {
        /* Nothing runs in it; stopping would leave it as it is. */
        CRI(RemoveContainerRequest) r;
        runtime__v1__remove_container_request__init(&r);
        r.container_id = k->id;
        k->open++;
        cri_call(w->k->cri, CRI_REMOVE_CONTAINER, &r, CRI_TIMEOUT_MS, on_stopped, k);
        return;
    }
    const struct core_v1_lifecycle *life = spec != NULL ? spec->spec->lifecycle : NULL;
    if (life == NULL || life->pre_stop == NULL || grace_s == 0 || c->state != RT_RUNNING) {
        stop_call(k, grace_s);
        return;
    }
    struct check_config config = {
        .container = spec->spec,
        .container_id = c->id,
        .pod_ip = worker_pod_ip(w),
        .timeout_ms = (uint64_t)grace_s * 1000,
        .done = on_pre_stop,
        .arg = k,
    };
    check_from_hook(&config, life->pre_stop);
    /* A hook may not take longer than the grace, whatever it is. */
    struct core_v1_sleep_action sleep;
    if (config.sleep != NULL) {
        sleep = (struct core_v1_sleep_action){.seconds = MIN_OF(config.sleep->seconds, grace_s)};
        config.sleep = &sleep;
    }
    k->pre_stop = check_start(w->k, &config);
}

/* Those that end soon enough anyway are left alone. */
void worker_hurry(struct pod_worker *w)
{
    struct list now;
    list_init(&now);
    list_splice(&now, &w->kills);
    LIST_FOREACH_SAFE (it, &now) {
        struct kill *k = LIST_ENTRY(it, struct kill, link);
        uint64_t used_ms = kubelet_now_ms(w->k) - k->start_ms;
        list_remove(&k->link);
        list_push_back(&w->kills, &k->link);
        if ((uint64_t)k->grace_s * 1000 <= used_ms + (uint64_t)w->grace_s * 1000)
            continue;
        k->grace_s = w->grace_s;
        k->start_ms = kubelet_now_ms(w->k);
        check_cancel(take(k->pre_stop));
        stop_call(k, w->grace_s);
    }
}

void worker_kill_started(struct pod_worker *w, struct pod_container *c, const char *id,
                         void (*done)(struct pod_worker *w, void *arg), void *arg)
{
    const struct core_v1_pod *pod = worker_pod(w);
    const struct rt_container running = {.id = id, .state = RT_RUNNING};
    int64_t grace_s = w->life != PM_RUNNING ? w->grace_s
                      : pod->spec.has_termination_grace_period_seconds
                          ? pod->spec.termination_grace_period_seconds
                          : 30;
    worker_kill_begin(w, &running, c, grace_s, done, arg);
}
