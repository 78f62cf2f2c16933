/* pod_worker.c - see pod_worker.h: life, kicks and the step.
 *
 *   kick -> step: busy? wait : stale? observe : pm_next -> act -> op_done -> kick */
#include "kubelet/pod_worker_internal.h"

#include "kubelet/cri_config.h"
#include "kubelet/isolation/isolation.h"
#include "kubelet/mirror_pods.h"
#include "kubelet/pod_sources.h"
#include "kubelet/pod_status.h"
#include "kubelet/pod_support.h"
#include "kubelet/policy/policy.h"
#include "kubelet/resources.h"

#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/client/client.h"

#include "api/core_v1.h"

#define PREPARE_RETRY_MIN_MS 100u
#define PREPARE_MISSING_MAX_MS 2000u
#define PREPARE_RETRY_MAX_MS 120000u /* As upstream's back-off of volume operations. */

static void step(struct pod_worker *w);

const struct core_v1_pod *worker_pod(const struct pod_worker *w)
{
    return w->object != NULL ? w->object->msg : NULL;
}

const char *pod_worker_uid(const struct pod_worker *w)
{
    return w->uid;
}

const struct core_v1_pod *pod_worker_pod(const struct pod_worker *w)
{
    return worker_pod(w);
}

struct api_object *pod_worker_object(const struct pod_worker *w)
{
    return w->object;
}

const struct rt_pod *pod_worker_runtime(const struct pod_worker *w)
{
    return w->rt;
}

const struct core_v1_pod_status *pod_worker_status(const struct pod_worker *w)
{
    return w->status;
}

bool pod_worker_needs_polling(const struct pod_worker *w)
{
    return w->needs_polling;
}

bool pod_worker_is_finished(const struct pod_worker *w)
{
    return w->life == PM_STOPPED;
}

enum pod_origin pod_worker_origin(const struct pod_worker *w)
{
    return w->origin;
}

bool pod_worker_is_gone(const struct pod_worker *w)
{
    return w->gone;
}

void pod_worker_mirror_changed(struct pod_worker *w)
{
    w->status_dirty = true;
    worker_send_status(w);
}

/* --- kicks --------------------------------------------------------------------- */

static void on_kick(struct deferred *d)
{
    step(CONTAINER_OF(d, struct pod_worker, kick));
}

void worker_kick(struct pod_worker *w)
{
    if (!w->freeing)
        deferred_post(&w->k->deferred, &w->kick);
}

void pod_worker_kick(struct pod_worker *w)
{
    worker_kick(w);
}

void worker_op_done(struct pod_worker *w)
{
    w->rt_stale = true;
    worker_op_done_same(w);
}

void worker_op_done_same(struct pod_worker *w)
{
    w->busy = false;
    worker_kick(w);
}

static void on_timer(uv_timer_t *t)
{
    struct pod_worker *w = t->data;
    if (w->observe_due_ms != 0 && kubelet_now_ms(w->k) >= w->observe_due_ms) {
        w->observe_due_ms = 0;
        w->rt_stale = true;
    }
    worker_send_status(w);
    worker_kick(w);
}

void worker_wake_in(struct pod_worker *w, uint64_t ms)
{
    if (!uv_is_active((uv_handle_t *)&w->timer) || uv_timer_get_due_in(&w->timer) > ms)
        uv_timer_start(&w->timer, on_timer, ms, 0);
}

void worker_observe_in(struct pod_worker *w, uint64_t ms)
{
    w->observe_due_ms = kubelet_now_ms(w->k) + ms;
    worker_wake_in(w, ms);
}

void pod_worker_observe(struct pod_worker *w)
{
    w->rt_stale = true;
    worker_kick(w);
}

/* --- containers ------------------------------------------------------------------ */

void container_set_waiting(struct pod_container *c, const char *reason, const char *message)
{
    free(c->wait_reason);
    free(c->wait_message);
    c->wait_reason = reason != NULL ? xstrdup(reason) : NULL;
    c->wait_message = message != NULL ? xstrdup(message) : NULL;
}

static void container_free(struct pod_container *c)
{
    container_stop_probes(c);
    check_cancel(take(c->hook));
    container_set_waiting(c, NULL, NULL);
    arena_free(c->applied_arena);
    free(c->resize_error);
    free(c->resize_killed);
    free(c->field_path);
    free(c->instance);
    free(c->name);
    free(c);
}

struct pod_container *worker_container(const struct pod_worker *w, struct str name)
{
    for (size_t i = 0; i < w->container_count; i++) {
        if (str_eqc(name, w->containers[i]->name))
            return w->containers[i];
    }
    return NULL;
}

/* The wanted containers of the pod: kept by name, so that what is known of an
 * old one carries over to the new spec. */
static void add_container(struct pod_worker *w, struct pod_container **old, size_t old_count,
                          const struct core_v1_container *spec, enum pm_kind kind, const char *path)
{
    struct pod_container *c = NULL;
    for (size_t i = 0; i < old_count && c == NULL; i++) {
        if (old[i] != NULL && str_eqc(spec->name, old[i]->name))
            c = take(old[i]);
    }
    if (c == NULL) {
        c = xzalloc(sizeof(*c));
        c->worker = w;
        c->name = xstrndup(spec->name.data, spec->name.len);
        c->field_path = xasprintf("%s{%s}", path, c->name);
        c->probe_grace_s = -1;
    }
    c->spec = spec;
    c->kind = kind;
    c->hash = container_hash(spec);
    w->containers[w->container_count++] = c;
}

static void set_containers(struct pod_worker *w)
{
    const struct core_v1_pod_spec *spec = &worker_pod(w)->spec;
    struct pod_container **old = w->containers;
    size_t old_count = w->container_count;
    size_t n =
        spec->init_containers_count + spec->containers_count + spec->ephemeral_containers_count;
    w->containers = xzalloc((n + 1) * sizeof(*w->containers));
    w->container_count = 0;
    for (size_t i = 0; i < spec->init_containers_count; i++)
        add_container(w, old, old_count, &spec->init_containers[i],
                      container_is_sidecar(&spec->init_containers[i]) ? PM_SIDECAR : PM_INIT,
                      "spec.initContainers");
    for (size_t i = 0; i < spec->containers_count; i++)
        add_container(w, old, old_count, &spec->containers[i], PM_APP, "spec.containers");
    /* The fields in common are laid out as a container's. */
    static_assert(sizeof(struct core_v1_ephemeral_container_common) ==
                          sizeof(struct core_v1_container) &&
                      offsetof(struct core_v1_ephemeral_container_common, tty) ==
                          offsetof(struct core_v1_container, tty),
                  "ephemeral containers must look like containers");
    for (size_t i = 0; i < spec->ephemeral_containers_count; i++) {
        add_container(w, old, old_count,
                      (const struct core_v1_container *)&spec->ephemeral_containers[i]
                          .ephemeral_container_common,
                      PM_EPHEMERAL, "spec.ephemeralContainers");
    }
    for (size_t i = 0; i < old_count; i++) {
        if (old[i] != NULL)
            container_free(old[i]);
    }
    free(old);
}

/* --- life ------------------------------------------------------------------------ */

static struct pod_worker *worker_new(struct kubelet *k, const char *uid, const char *name,
                                     const char *namespace_name)
{
    struct pod_worker *w = xzalloc(sizeof(*w));
    w->k = k;
    w->uid = xstrdup(uid);
    w->name = xstrdup(name);
    w->namespace_name = xstrdup(namespace_name);
    w->rt_stale = true;
    w->grace_s = 30;
    start_trace_begin(&w->trace, uv_hrtime());
    list_init(&w->exit_watches);
    list_init(&w->kills);
    deferred_init(&w->kick, on_kick);
    uv_timer_init(k->loop, &w->timer);
    w->timer.data = w;
    w->timers_open = 1;
    map_set(&k->workers, str_of(w->uid), w);
    worker_kick(w);
    return w;
}

/* How long stopping may take, by the object as it is now. */
static int64_t object_grace(const struct core_v1_pod *pod)
{
    if (pod->metadata.deletion_timestamp != NULL && pod->metadata.has_deletion_grace_period_seconds)
        return pod->metadata.deletion_grace_period_seconds;
    return pod->spec.has_termination_grace_period_seconds
               ? pod->spec.termination_grace_period_seconds
               : 30;
}

static void begin_stop(struct pod_worker *w, int64_t grace_s)
{
    if (w->life == PM_RUNNING) {
        w->life = PM_STOPPING;
        w->grace_s = MAX_OF(grace_s, (int64_t)0);
        worker_interrupt_start(w);
    } else if (w->life == PM_STOPPING && grace_s < w->grace_s) {
        w->grace_s = MAX_OF(grace_s, (int64_t)0);
        worker_hurry(w);
    }
    worker_kick(w);
}

void pod_worker_set(struct pod_worker *w, struct api_object *pod)
{
    struct api_object *old = w->object;
    bool same_spec = old != NULL && ((const struct core_v1_pod *)old->msg)->metadata.generation ==
                                        ((const struct core_v1_pod *)pod->msg)->metadata.generation;
    w->object = worker_take_resize(w, pod);
    const struct core_v1_pod *p = worker_pod(w);
    set_containers(w);
    api_object_unref(old);
    if (!same_spec || w->sources == NULL) {
        struct source_set *before = w->sources;
        w->sources = source_set_new(p);
        source_set_take(w->sources, before);
        source_set_free(before);
        w->sources_ms = 0;
    }
    w->gone = false;
    /* Labels and annotations may be shown in volumes. */
    w->volumes_ms = 0;
    w->status_dirty = true;
    if (p->metadata.deletion_timestamp != NULL) {
        w->delete_wanted = true;
        begin_stop(w, object_grace(p));
    } else if (old == NULL && pod_phase_is_final(p->status.phase)) {
        /* It ended before we were started. */
        begin_stop(w, 1);
    }
    worker_kick(w);
}

void worker_set_allocated(struct pod_worker *w, struct api_object *pod)
{
    struct api_object *old = w->object;
    w->object = pod;
    set_containers(w);
    api_object_unref(old);
    w->status_dirty = true;
    worker_kick(w);
}

void pod_worker_room(struct pod_worker *w)
{
    if (w->asked != NULL)
        worker_kick(w);
}

struct pod_worker *pod_worker_new(struct kubelet *k, struct api_object *pod, enum pod_origin origin)
{
    const struct core_v1_pod *p = pod->msg;
    AUTO_FREE char *uid = xstrndup(p->metadata.uid.data, p->metadata.uid.len);
    AUTO_FREE char *name = xstrndup(p->metadata.name.data, p->metadata.name.len);
    AUTO_FREE char *ns = xstrndup(p->metadata.namespace.data, p->metadata.namespace.len);
    struct pod_worker *w = worker_new(k, uid, name, ns);
    w->origin = origin;
    w->trace.over = p->status.start_time != NULL; /* Not the first agent to see it. */
    pod_worker_set(w, pod);
    return w;
}

struct pod_worker *pod_worker_new_orphan(struct kubelet *k, const char *uid, const char *name,
                                         const char *namespace_name)
{
    struct pod_worker *w = worker_new(k, uid, name, namespace_name);
    w->gone = true;
    w->life = PM_STOPPING;
    w->grace_s = 1;
    log_info("pod %s/%s (%s) is still here but wanted no more", namespace_name, name, uid);
    return w;
}

void pod_worker_gone(struct pod_worker *w)
{
    const struct core_v1_pod *p = worker_pod(w);
    w->gone = true;
    /* Deleted by force: the API has not waited, nor do we for long. */
    int64_t grace =
        w->origin == POD_FROM_FILE && p != NULL ? object_grace(p) : MIN_OF(w->grace_s, (int64_t)1);
    begin_stop(w, grace);
    worker_kick(w);
}

void pod_worker_fail(struct pod_worker *w, const char *reason, const char *message)
{
    if (w->life != PM_RUNNING || w->fail_reason != NULL)
        return;
    w->fail_reason = xstrdup(reason);
    w->fail_message = xstrdup(message);
    begin_stop(w, object_grace(worker_pod(w)));
}

static void disrupt(struct pod_worker *w, const char *reason, const char *message, int64_t grace_s)
{
    w->disrupted = true;
    w->fail_reason = xstrdup(reason);
    w->fail_message = xstrdup(message);
    w->status_dirty = true;
    begin_stop(w, grace_s);
}

void pod_worker_evict(struct pod_worker *w, int64_t grace_s, const char *message)
{
    if (!pod_worker_can_be_evicted(w))
        return;
    worker_event(w, NULL, "Warning", "Evicted", "%s", message);
    w->evicted = true;
    disrupt(w, "Evicted", message, grace_s);
}

void pod_worker_terminate(struct pod_worker *w, int64_t grace_s)
{
    if (!pod_worker_can_be_evicted(w)) {
        begin_stop(w, MIN_OF(w->grace_s, grace_s));
        return;
    }
    disrupt(w, "Terminated", "Pod was terminated in response to imminent node shutdown.",
            MIN_OF(object_grace(worker_pod(w)), grace_s));
}

bool pod_worker_is_told(const struct pod_worker *w)
{
    return w->k->client == NULL || (!w->status_dirty && w->status_call == NULL);
}

bool pod_worker_can_be_evicted(const struct pod_worker *w)
{
    return w->object != NULL && w->life == PM_RUNNING && w->fail_reason == NULL && !w->gone;
}

bool pod_worker_is_clean(const struct pod_worker *w)
{
    return w->life == PM_STOPPED && w->cleaned && (!w->evicted || w->emptied);
}

void pod_worker_reject(struct pod_worker *w, const char *reason, const char *message)
{
    AUTO_FREE char *told = xasprintf("Pod was rejected: %s", message);
    log_info("pod %s/%s is not taken: %s", w->namespace_name, w->name, message);
    worker_event(w, NULL, "Warning", reason, "%s", message);
    w->rejected = true;
    pod_worker_fail(w, reason, told);
}

bool pod_worker_holds(const struct pod_worker *w)
{
    return w->life != PM_STOPPED && !w->rejected;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct pod_worker *w = h->data;
    free(w->uid);
    free(w->name);
    free(w->namespace_name);
    free(w->fail_reason);
    free(w->fail_message);
    free(w->prepare_error);
    free(w);
}

void pod_worker_abandon(struct pod_worker *w)
{
    if (w->freeing)
        return;
    w->freeing = true;
    deferred_cancel(&w->kick);
    map_remove(&w->k->workers, str_of(w->uid));
    policy_pod_gone(w->k->policy, w->uid);
    isolation_pod_gone(w->k->isolation, w->uid);
    mirror_pods_kick(w->k->mirrors);
    worker_forget_calls(w);
    worker_unwatch_all(w);
    for (size_t i = 0; i < w->container_count; i++)
        container_free(w->containers[i]);
    free(w->containers);
    rt_pod_free(w->rt);
    source_set_free(w->sources);
    volume_set_free(w->volumes);
    arena_free(w->status_arena);
    api_object_unref(w->status_sent);
    api_object_unref(w->asked);
    free(take(w->resize_message));
    free(take(w->awaits));
    api_object_unref(w->object);
    kubelet_room(w->k);
    uv_close((uv_handle_t *)&w->timer, on_timer_closed);
}

/* --- the step -------------------------------------------------------------------- */

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

/* It was evicted for what it used: its layers and logs go. */
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
    if (w->evicted && !w->emptied) {
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
        if (!w->may_start || w->awaits != NULL)
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
            w->grace_s = worker_pod(w) != NULL ? object_grace(worker_pod(w)) : 30;
        }
        w->busy = true;
        worker_stop_all(w, true);
        return;
    case PM_FINISH:
        w->life = PM_STOPPED;
        w->status_dirty = true;
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

static void step(struct pod_worker *w)
{
    if (w->busy || w->freeing || w->k->stopping)
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
