/* pod_step.c - what a pod worker does when it is kicked.
 *
 *   kick -> step: busy? wait : stale? observe : pm_next -> act -> op_done -> kick */
#include "kubelet/isolation/isolation.h"
#include "kubelet/pinning.h"
#include "kubelet/pod_certificates.h"
#include "kubelet/pod_sources.h"
#include "kubelet/pod_support.h"
#include "kubelet/pod_worker_internal.h"
#include "kubelet/policy/policy.h"

#include "lib/api/pod.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"

#include "api/core_v1.h"

#define PREPARE_RETRY_MIN_MS 100u
#define PREPARE_MISSING_MAX_MS 2000u
#define PREPARE_RETRY_MAX_MS 120000u /* As upstream's back-off of volume operations. */

static uint64_t left(uint64_t until_ms, uint64_t now_ms)
{
    return until_ms > now_ms ? until_ms - now_ms : 0;
}

static struct str crash_key(struct arena *a, const struct pod_container *c)
{
    return arena_printf(a, "%s/%s/%llx", c->worker->uid, c->name, (unsigned long long)c->hash);
}

/* How long a container that ended has to wait, by its crash-loop back-off. */
static uint64_t crash_wait(struct pod_worker *w, struct arena *a, struct pod_container *c,
                           const struct rt_container *seen, bool restarts)
{
    if (seen == NULL || seen->state != RT_EXITED || !restarts || c->kind == PM_EPHEMERAL)
        return 0;
    uint64_t now_ms = kubelet_now_ms(w->k);
    int64_t ago_ms = (env_wall_ns(w->k->env) - seen->finished_ns) / 1000000;
    uint64_t ended_ms =
        ago_ms > 0 && (uint64_t)ago_ms < now_ms ? now_ms - (uint64_t)ago_ms : now_ms;
    return backoff_wait_ms(&w->k->crash_backoff, crash_key(a, c), ended_ms, now_ms);
}

static enum pm_state machine_state(enum rt_state s)
{
    static const enum pm_state map[] = {PM_CREATED, PM_UP, PM_EXITED, PM_UNKNOWN};
    return map[s];
}

static void note_crash_loop(struct pod_worker *w, struct arena *a, struct pod_container *c)
{
    uint64_t delay_s = backoff_delay_ms(&w->k->crash_backoff, crash_key(a, c)) / 1000;
    bool fresh = c->wait_reason == NULL || strcmp(c->wait_reason, "CrashLoopBackOff") != 0;
    const char *delay =
        delay_s >= 60 ? str_c(arena_printf(a, "%dm%ds", (int)(delay_s / 60), (int)(delay_s % 60)))
                      : str_c(arena_printf(a, "%ds", (int)delay_s));
    struct str text = arena_printf(a, "back-off %s restarting failed container=%s pod=%s_%s(%s)",
                                   delay, c->name, w->name, w->namespace_name, w->uid);
    container_set_waiting(c, "CrashLoopBackOff", str_c(text));
    if (fresh)
        worker_event(w, c, "Warning", "BackOff",
                     "Back-off restarting failed container %s in pod %s_%s(%s)", c->name, w->name,
                     w->namespace_name, w->uid);
}

static void fill_container(struct pod_worker *w, struct arena *a, const struct pm_pod *p,
                           struct pod_container *c, struct pm_container *m)
{
    const struct rt_sandbox *sandbox = rt_pod_sandbox(w->rt);
    const struct rt_container *seen = rt_pod_find(w->rt, str_of(c->name));
    uint64_t now_ms = kubelet_now_ms(w->k);
    *m = (struct pm_container){.kind = c->kind, .hash = c->hash};
    m->blocked_ms = left(c->blocked_until_ms, now_ms);
    if (seen == NULL)
        return;
    m->state = machine_state(seen->state);
    m->in_sandbox = sandbox != NULL && strcmp(sandbox->id, seen->sandbox_id) == 0;
    m->seen_hash = seen->hash;
    m->exit_code = seen->exit_code;
    m->started = container_started(c);
    m->startup_failed = probe_failed(c->probes[PROBE_STARTUP]);
    m->liveness_failed = probe_failed(c->probes[PROBE_LIVENESS]);
    if (m->state == PM_EXITED && c->kind != PM_EPHEMERAL && c->kind != PM_SIDECAR)
        m->exit_decided = container_exit_decides(c->spec, m->exit_code, &m->exit_restarts);
    bool restarts = m->state == PM_EXITED && pm_restarts(p, m);
    bool resized = m->state == PM_EXITED && c->resize_killed != NULL &&
                   strcmp(c->resize_killed, seen->id) == 0;
    if (resized)
        m->exit_decided = m->exit_restarts = true;
    uint64_t crash_ms = resized ? 0 : crash_wait(w, a, c, seen, restarts);
    if (crash_ms > m->blocked_ms)
        m->blocked_ms = crash_ms;
    if (crash_ms > 0 && w->life == PM_RUNNING)
        note_crash_loop(w, a, c);
    else if (seen->state == RT_RUNNING)
        container_set_waiting(c, NULL, NULL);
}

static enum pm_restart restart_policy(const struct core_v1_pod *pod)
{
    if (str_eqc(pod->spec.restart_policy, "Never"))
        return PM_RESTART_NEVER;
    return str_eqc(pod->spec.restart_policy, "OnFailure") ? PM_RESTART_ON_FAILURE
                                                          : PM_RESTART_ALWAYS;
}

static bool sandbox_usable(const struct pod_worker *w)
{
    const struct rt_sandbox *s = rt_pod_sandbox(w->rt);
    const struct core_v1_pod *pod = worker_pod(w);
    if (s == NULL || !s->ready || pod == NULL)
        return false;
    for (size_t i = 1; i < w->rt->sandbox_count; i++) {
        if (w->rt->sandboxes[i].ready)
            return false; /* Two at once: start over. */
    }
    return s->host_network == pod->spec.host_network && (s->host_network || s->ip_count > 0);
}

static void fill_machine(struct pod_worker *w, struct arena *a, struct pm_pod *p)
{
    const struct core_v1_pod *pod = worker_pod(w);
    uint64_t now_ms = kubelet_now_ms(w->k);
    *p = (struct pm_pod){
        .restart = pod != NULL ? restart_policy(pod) : PM_RESTART_NEVER,
        .life = w->life,
        .volumes_ready = w->volumes_ready,
        .has_sandbox = w->rt->sandbox_count > 0,
        .sandbox_ready = sandbox_usable(w),
        .sandbox_stopped = true,
        .sandbox_before = w->rt->sandbox_count > 0,
        .sandbox_blocked_ms = left(w->sandbox_blocked_until_ms, now_ms),
        .container_count = w->container_count,
    };
    for (size_t i = 0; i < w->rt->sandbox_count; i++)
        p->sandbox_stopped = p->sandbox_stopped && !w->rt->sandboxes[i].ready;
    p->containers = ARENA_ARRAY(a, struct pm_container, w->container_count + 1);
    for (size_t i = 0; i < w->container_count; i++)
        fill_container(w, a, p, w->containers[i], &p->containers[i]);
    /* An orphan, or a container that the spec does not name: running is running. */
    if (pod == NULL && rt_pod_any_running(w->rt))
        p->sandbox_stopped = false;
    if (pod == NULL)
        p->has_sandbox = w->rt->sandbox_count > 0 || w->rt->container_count > 0;
}

static void check_deadline(struct pod_worker *w)
{
    const struct core_v1_pod *pod = worker_pod(w);
    if (pod == NULL || w->life != PM_RUNNING || !pod->spec.has_active_deadline_seconds ||
        w->status == NULL || w->status->start_time == NULL)
        return;
    int64_t due = w->status->start_time->seconds + pod->spec.active_deadline_seconds;
    int64_t now = kubelet_wall_s(w->k);
    if (now < due) {
        worker_wake_in(w, (uint64_t)(due - now) * 1000);
        return;
    }
    worker_event(w, NULL, "Normal", "DeadlineExceeded",
                 "Pod was active on the node longer than the specified deadline");
    pod_worker_fail(w, "DeadlineExceeded",
                    "Pod was active on the node longer than the specified deadline");
}

void worker_trace_op(struct pod_worker *w, enum start_part part)
{
    start_trace_add(&w->trace, part, uv_hrtime() - w->op_begin_ns);
}

static void on_prepared(struct pod_worker *w, int code)
{
    w->busy = false;
    worker_trace_op(w, START_VOLUMES);
    if (code == 0) {
        w->volumes_ready = true;
        w->volumes_ms = kubelet_now_ms(w->k);
        w->prepare_failures = 0;
    } else {
        /* What the API lacks may come any moment (a new namespace's root
         * certificate); what the node lacks needs somebody to help. */
        uint64_t wait = (uint64_t)PREPARE_RETRY_MIN_MS << MIN_OF(w->prepare_failures, 10u);
        uint64_t max =
            code == E_NOT_FOUND || code == E_AGAIN ? PREPARE_MISSING_MAX_MS : PREPARE_RETRY_MAX_MS;
        w->prepare_failures++;
        w->prepare_blocked_until_ms = kubelet_now_ms(w->k) + MIN_OF(wait, max);
        w->volumes_ms = kubelet_now_ms(w->k);
    }
    worker_kick(w);
}

/* Evicted for what it used, or ended on a node that is short: its layers and logs go. */
static void on_emptied(struct pod_worker *w)
{
    w->emptied = true;
    worker_op_done(w);
}

/* What stands at the end: report, clean up, delete, forget. */
static void stopped_step(struct pod_worker *w)
{
    if (!w->cleaned) {
        uint64_t now_ms = kubelet_now_ms(w->k);
        if (w->prepare_blocked_until_ms > now_ms) {
            worker_wake_in(w, w->prepare_blocked_until_ms - now_ms);
            return;
        }
        w->busy = true;
        worker_cleanup(w);
        return;
    }
    if (w->gone) {
        w->busy = true;
        worker_remove_runtime(w, pod_worker_abandon);
        return;
    }
    if ((w->evicted || w->reclaimed) && !w->emptied) {
        w->busy = true;
        worker_remove_runtime(w, on_emptied);
        return;
    }
    if (w->delete_wanted && !w->delete_done && w->status_call == NULL && !w->status_dirty)
        worker_delete_from_api(w);
}

static void act(struct pod_worker *w, const struct pm_action *a)
{
    uint64_t now_ms = kubelet_now_ms(w->k);
    switch (a->type) {
    case PM_NOTHING:
        if (a->wait_ms > 0)
            worker_wake_in(w, a->wait_ms);
        return;
    case PM_PREPARE:
        if (w->prepare_blocked_until_ms > now_ms) {
            worker_wake_in(w, w->prepare_blocked_until_ms - now_ms);
            return;
        }
        w->busy = true;
        worker_prepare(w, on_prepared);
        return;
    case PM_RESET:
        w->busy = true;
        if (w->rt->sandbox_count > 0)
            worker_event(w, NULL, "Normal", "SandboxChanged",
                         "Pod sandbox changed, it will be killed and re-created.");
        worker_stop_all(w, false);
        return;
    case PM_CREATE_SANDBOX:
        w->busy = true;
        worker_create_sandbox(w);
        return;
    case PM_START:
        if (!w->may_start || w->awaits != NULL || !pinning_may_start(w->k->pinning, w->uid))
            return; /* Kicked when its rules stand, and when what it waits for changes. */
        w->busy = true;
        worker_start_container(w, w->containers[a->index]);
        return;
    case PM_KILL:
        w->busy = true;
        worker_kill_container(w, w->containers[a->index], a->reason, a->restarts);
        return;
    case PM_STOP:
        if (w->life == PM_RUNNING) {
            w->life = PM_STOPPING;
            w->grace_s = worker_pod(w) != NULL ? worker_object_grace(worker_pod(w)) : 30;
        }
        w->busy = true;
        worker_stop_all(w, true);
        return;
    case PM_FINISH:
        w->life = PM_STOPPED;
        w->status_dirty = true;
        source_set_unuse(w->sources);
        pod_certificates_forget(w->k->certificates, w->uid);
        pinning_pod_gone(w->k->pinning, w->uid);
        kubelet_room(w->k);
        worker_kick(w);
        return;
    }
}

/* Before its first container a pod may wait for what it depends on. Static pods do not: they run
 * without API servers, which alone know Services. */
static void await_dependencies(struct pod_worker *w)
{
    bool may_wait = w->object != NULL && w->origin == POD_FROM_API && w->life == PM_RUNNING &&
                    w->rt->container_count == 0;
    char *now = may_wait ? isolation_awaits(w->k->isolation, w->uid, worker_pod(w)) : NULL;
    if (now != NULL && (w->awaits == NULL || strcmp(now, w->awaits) != 0))
        worker_event(w, NULL, "Normal", "WaitingForDependencies", "Not started: %s", now);
    else if (now == NULL && w->awaits != NULL && may_wait)
        worker_event(w, NULL, "Normal", "DependenciesReady",
                     "All Services that are waited for have ready endpoints");
    for (size_t i = 0; i < w->container_count && (now != NULL || w->awaits != NULL); i++)
        container_set_waiting(w->containers[i], now != NULL ? "WaitingForDependencies" : NULL, now);
    free(w->awaits);
    w->awaits = now;
}

void worker_step(struct pod_worker *w)
{
    if (w->busy || w->freeing || w->k->stopping || w->awaits_admission)
        return;
    if (w->rt_stale || w->rt == NULL) {
        w->busy = true;
        worker_observe_start(w);
        return;
    }
    const struct rt_sandbox *sandbox = rt_pod_sandbox(w->rt);
    bool judged = policy_pod_seen(w->k->policy, w->uid, w->object, sandbox);
    judged = isolation_pod_seen(w->k->isolation, w->uid, w->object, sandbox) && judged;
    w->may_start = judged || w->origin == POD_FROM_FILE;
    await_dependencies(w);
    worker_sync_probes(w);
    check_deadline(w);
    worker_decide_resize(w);
    AUTO_ARENA *a = arena_new(0);
    struct pm_pod p;
    fill_machine(w, a, &p);
    struct pm_action action = pm_next(&p);
    worker_report(w);
    if (w->life == PM_STOPPED) {
        stopped_step(w);
        return;
    }
    uint64_t now_ms = kubelet_now_ms(w->k);
    if (action.type == PM_NOTHING && w->life == PM_RUNNING && w->volumes_ready) {
        enum resize_step resize = worker_resize_step(w);
        if (resize != RESIZE_NOTHING) {
            w->busy = true;
            if (resize == RESIZE_PREPARE)
                worker_prepare(w, on_prepared);
            return;
        }
    }
    if (action.type == PM_NOTHING && w->life == PM_RUNNING) {
        /* Quiet: a good time to bring ConfigMaps, tokens and labels up to date. */
        if (w->volumes_ready && now_ms - w->volumes_ms >= VOLUME_REFRESH_MS) {
            w->volumes_ms = now_ms;
            w->busy = true;
            worker_prepare(w, on_prepared);
            return;
        }
        if (worker_collect_dead(w))
            return;
        worker_wake_in(w, POD_RESYNC_MS);
    }
    act(w, &action);
}
