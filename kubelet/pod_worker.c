/* pod_worker.c - see pod_worker.h: life and kicks. */
#include "kubelet/pod_certificates.h"
#include "kubelet/pod_worker_internal.h"

#include "kubelet/cri_config.h"
#include "kubelet/isolation/isolation.h"
#include "kubelet/mirror_pods.h"
#include "kubelet/pinning.h"
#include "kubelet/pod_sources.h"
#include "kubelet/policy/policy.h"

#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"
#include "lib/client/client.h"

#include "api/core_v1.h"

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
    worker_step(CONTAINER_OF(d, struct pod_worker, kick));
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
    start_turn_init(&w->turn, NULL);
    map_init(&w->images);
    deferred_init(&w->kick, on_kick);
    uv_timer_init(k->loop, &w->timer);
    w->timer.data = w;
    w->timers_open = 1;
    map_set(&k->workers, str_of(w->uid), w);
    worker_kick(w);
    return w;
}

int64_t worker_object_grace(const struct core_v1_pod *pod)
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
        w->awaits_admission = false;
        w->grace_s = MAX_OF(grace_s, (int64_t)0);
        worker_interrupt_start(w);
        worker_hurry(w); /* A container that was to be restarted may have had longer. */
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
        if (w->life != PM_STOPPED)
            source_set_use(w->sources, w->k->objects, p, w);
        w->sources_ms = 0;
    }
    w->gone = false;
    /* Labels and annotations may be shown in volumes. */
    w->volumes_ms = 0;
    w->status_dirty = true;
    if (p->metadata.deletion_timestamp != NULL) {
        w->delete_wanted = true;
        begin_stop(w, worker_object_grace(p));
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
    int64_t grace = w->origin == POD_FROM_FILE && p != NULL ? worker_object_grace(p)
                                                            : MIN_OF(w->grace_s, (int64_t)1);
    begin_stop(w, grace);
    worker_kick(w);
}

void pod_worker_fail(struct pod_worker *w, const char *reason, const char *message)
{
    if (w->life != PM_RUNNING || w->fail_reason != NULL)
        return;
    w->fail_reason = xstrdup(reason);
    w->fail_message = xstrdup(message);
    begin_stop(w, worker_object_grace(worker_pod(w)));
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
            MIN_OF(worker_object_grace(worker_pod(w)), grace_s));
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

bool pod_worker_is_reclaiming(const struct pod_worker *w)
{
    return w->reclaimed && !w->emptied;
}

bool pod_worker_reclaim(struct pod_worker *w)
{
    if (w->life != PM_STOPPED || w->reclaimed || w->emptied || w->rt == NULL ||
        w->rt->container_count + w->rt->sandbox_count == 0)
        return false;
    w->reclaimed = true;
    worker_kick(w);
    return true;
}

void pod_worker_reject(struct pod_worker *w, const char *reason, const char *message)
{
    AUTO_FREE char *told = xasprintf("Pod was rejected: %s", message);
    log_info("pod %s/%s is not taken: %s", w->namespace_name, w->name, message);
    worker_event(w, NULL, "Warning", reason, "%s", message);
    w->rejected = true;
    pod_worker_fail(w, reason, told);
}

void pod_worker_await_admission(struct pod_worker *w, bool awaits)
{
    w->awaits_admission = awaits;
    worker_kick(w);
}

bool pod_worker_awaits_admission(const struct pod_worker *w)
{
    return w->awaits_admission;
}

bool pod_worker_holds(const struct pod_worker *w)
{
    return w->life != PM_STOPPED && !w->rejected && !w->awaits_admission;
}

void worker_note_image(struct pod_worker *w, const char *id)
{
    map_set(&w->images, str_of(id), w);
}

bool pod_worker_uses_image(const struct pod_worker *w, const char *id)
{
    return w->life != PM_STOPPED && map_has(&w->images, str_of(id));
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
    map_done(&w->images);
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
    worker_leave_turn(w);
    worker_unwatch_all(w);
    for (size_t i = 0; i < w->container_count; i++)
        container_free(w->containers[i]);
    free(w->containers);
    rt_pod_free(w->rt);
    pod_certificates_forget(w->k->certificates, w->uid);
    source_set_free(w->sources);
    volume_set_free(w->volumes);
    arena_free(w->status_arena);
    api_object_unref(w->status_sent);
    api_object_unref(w->asked);
    free(take(w->resize_message));
    free(take(w->awaits));
    api_object_unref(w->object);
    if (!w->k->stopping)
        pinning_pod_gone(w->k->pinning, w->uid);
    kubelet_room(w->k);
    uv_close((uv_handle_t *)&w->timer, on_timer_closed);
}
