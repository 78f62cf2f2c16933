/* eviction_manager.c - see eviction_manager.h.
 *
 *   timer -> usage_look -> job: file systems, pids -> update -> limits? -> due?
 *     -> (what has ended, images) -> pod
 */
#include "kubelet/eviction_manager.h"

#include "kubelet/image_gc.h"
#include "kubelet/job.h"
#include "kubelet/kubelet.h"
#include "kubelet/machine.h"
#include "kubelet/pod_worker.h"
#include "kubelet/usage_view.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/client/event_recorder.h"

#include "api/core_v1.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define PERIOD_MS 10000u
#define AGAIN_MS 1000u        /* After a pod went: was it enough? */
#define CLEANUP_MAX_MS 30000u /* How long the last pod is waited for. */
#define LIMIT_GRACE_S 1

struct eviction_manager {
    struct kubelet *k;
    struct eviction state;
    struct image_gc *images;
    void (*on_change)(struct kubelet *k);
    uv_timer_t timer;
    bool busy, stopped;
    char *image_mount; /* Once the runtime told. */
    bool own_imagefs;
    char *going; /* The uid of the pod that was evicted last. */
    uint64_t going_ms;
    uint64_t reclaimed_ms; /* When pods that have ended were last told to give up what they hold. */
    struct metric_family *evictions;
    /* Of the look under way. */
    struct arena *arena;
    struct eviction_reading readings[EVICTION_SIGNALS];
    struct eviction_pod *pods;
    size_t pod_count;
    unsigned parts; /* Of usage_view.h: what it looked at. */
    bool images_cleaned;
    struct machine_usage usage;
};

const struct eviction *eviction_manager_state(const struct eviction_manager *m)
{
    return &m->state;
}

static void on_timer(uv_timer_t *t);

static void end(struct eviction_manager *m, uint64_t next_ms)
{
    m->busy = false;
    arena_free(take(m->arena));
    m->pods = NULL;
    m->pod_count = 0;
    if (!m->stopped)
        uv_timer_start(&m->timer, on_timer, next_ms, 0);
}

/* --- acting --------------------------------------------------------------------------------- */

static void evict(struct eviction_manager *m, const struct eviction_pod *p, int64_t grace_s,
                  const char *message, const char *signal)
{
    const struct core_v1_pod *pod = p->pod;
    struct pod_worker *w = map_get(&m->k->workers, pod->metadata.uid);
    if (w == NULL) /* Gone while we were reading. */
        return;
    log_info("pod " STR_FMT "/" STR_FMT " is evicted (%s): %s", STR_ARG(pod->metadata.namespace),
             STR_ARG(pod->metadata.name), signal, message);
    free(m->going);
    m->going = xstrdup(pod_worker_uid(w));
    m->going_ms = kubelet_now_ms(m->k);
    metric_inc(METRIC_OF(m->evictions, str_of(signal)));
    pod_worker_evict(w, grace_s, message);
}

/* Pods above limits of their own go, all of them at once. */
static bool enforce_limits(struct eviction_manager *m)
{
    bool any = false;
    for (size_t i = 0; i < m->pod_count; i++) {
        const struct eviction_pod *p = &m->pods[i];
        const char *message = eviction_over_limit(m->arena, p);
        if (message == NULL || eviction_is_critical(p->pod))
            continue;
        evict(m, p, LIMIT_GRACE_S, message, "localstorage");
        any = true;
    }
    return any;
}

static void evict_one(struct eviction_manager *m, const struct eviction_threshold *t)
{
    eviction_rank(t->signal, m->own_imagefs, m->pods, m->pod_count);
    for (size_t i = 0; i < m->pod_count; i++) {
        const struct eviction_pod *p = &m->pods[i];
        if (eviction_is_critical(p->pod))
            continue;
        evict(m, p, eviction_grace_s(t, p->pod, m->k->config.eviction.max_pod_grace_s),
              eviction_message(m->arena, t, &m->readings[t->signal], p),
              eviction_signal_name(t->signal));
        end(m, AGAIN_MS);
        return;
    }
    log_warning("%s is below its threshold, and no pod is left to evict",
                eviction_signal_name(t->signal));
    end(m, PERIOD_MS);
}

static bool is_disk(enum eviction_signal s)
{
    return s >= EVICTION_NODEFS && s <= EVICTION_CONTAINERFS_INODES;
}

static unsigned parts_for(enum eviction_signal s)
{
    return is_disk(s) ? USAGE_DISKS | USAGE_RUNTIME : s == EVICTION_PIDS ? USAGE_ALL : 0;
}

static void look(struct eviction_manager *m, unsigned parts);
static void read_disks(struct eviction_manager *m);
static void decide(struct eviction_manager *m);

static void on_images_removed(void *arg)
{
    struct eviction_manager *m = arg;
    m->images_cleaned = true;
    if (m->stopped)
        end(m, PERIOD_MS);
    else
        read_disks(m);
}

static void tell_attempt(struct eviction_manager *m, const struct eviction_threshold *t)
{
    const struct kubelet *k = m->k;
    log_warning("%s: %lld of %lld left: below the %s threshold", eviction_signal_name(t->signal),
                (long long)m->readings[t->signal].available,
                (long long)m->readings[t->signal].capacity, t->soft ? "soft" : "hard");
    if (k->events == NULL || k->node == NULL)
        return;
    struct event_object about = event_object_of(k->node);
    event_record(k->events, &about, "Warning", "EvictionThresholdMet", "Attempting to reclaim %s",
                 eviction_resource_name(t->signal));
}

static void note_conditions(struct eviction_manager *m, const bool *before)
{
    static const char *const events[][2] = {
        {"NodeHasSufficientMemory", "NodeHasInsufficientMemory"},
        {"NodeHasNoDiskPressure", "NodeHasDiskPressure"},
        {"NodeHasSufficientPID", "NodeHasInsufficientPID"}};
    const struct kubelet *k = m->k;
    bool changed = false;
    for (int c = 0; c < EVICTION_CONDITIONS; c++) {
        bool now = m->state.conditions[c];
        if (now == before[c])
            continue;
        changed = true;
        log_info("node condition %s is %s", eviction_condition_name((enum eviction_condition)c),
                 now ? "true" : "false");
        if (k->events == NULL || k->node == NULL)
            continue;
        struct event_object about = event_object_of(k->node);
        event_record(k->events, &about, "Normal", events[c][now], "Node %s status is now: %s",
                     k->node_name, events[c][now]);
    }
    if (changed)
        m->on_change(m->k);
}

/* The last pod that went still holds what it had. */
static bool waits_for_last(struct eviction_manager *m, uint64_t now_ms)
{
    if (m->going == NULL)
        return false;
    struct pod_worker *w = map_get(&m->k->workers, str_of(m->going));
    if (w != NULL && !pod_worker_is_clean(w) && now_ms - m->going_ms < CLEANUP_MAX_MS)
        return true;
    free(take(m->going));
    return false;
}

/* What is left of pods that have ended goes before anything that is of use. */
static bool reclaims(struct eviction_manager *m, uint64_t now_ms)
{
    size_t pos = 0, asked = 0, open = 0;
    void *value;
    while (map_next(&m->k->workers, &pos, NULL, &value)) {
        asked += pod_worker_reclaim(value);
        open += pod_worker_is_reclaiming(value);
    }
    if (asked > 0) {
        log_info("short of disk: what is left of %zu pods that have ended is removed", asked);
        m->reclaimed_ms = now_ms;
    }
    return open > 0 && now_ms - m->reclaimed_ms < CLEANUP_MAX_MS;
}

static void decide(struct eviction_manager *m)
{
    uint64_t now_ms = kubelet_now_ms(m->k);
    bool before[EVICTION_CONDITIONS];
    memcpy(before, m->state.conditions, sizeof(before));
    eviction_update(&m->state, m->readings, now_ms);
    note_conditions(m, before);
    if (!m->images_cleaned && enforce_limits(m)) {
        end(m, PERIOD_MS);
        return;
    }
    const struct eviction_threshold *t = eviction_due(&m->state, now_ms);
    if (t == NULL) {
        end(m, PERIOD_MS);
        return;
    }
    if ((parts_for(t->signal) & ~m->parts) != 0) {
        look(m, m->parts | parts_for(t->signal)); /* Who uses it? */
        return;
    }
    if (waits_for_last(m, now_ms)) {
        end(m, AGAIN_MS);
        return;
    }
    if (!m->images_cleaned)
        tell_attempt(m, t);
    if (is_disk(t->signal) && !m->images_cleaned && reclaims(m, now_ms))
        end(m, AGAIN_MS);
    else if (is_disk(t->signal) && !m->images_cleaned)
        image_gc_collect(m->images, on_images_removed, m);
    else
        evict_one(m, t);
}

/* --- reading ------------------------------------------------------------------------------------
 */

static void set_reading(struct eviction_reading *r, int64_t available, int64_t capacity)
{
    *r = (struct eviction_reading){capacity > 0, available, capacity};
}

static void read_fs(struct eviction_manager *m, const char *path, enum eviction_signal bytes,
                    enum eviction_signal inodes)
{
    struct statvfs fs;
    if (statvfs(path, &fs) != 0)
        return;
    set_reading(&m->readings[bytes], (int64_t)fs.f_bavail * (int64_t)fs.f_frsize,
                (int64_t)fs.f_blocks * (int64_t)fs.f_frsize);
    /* Some file systems make inodes as they go, and tell of none. */
    set_reading(&m->readings[inodes], (int64_t)fs.f_favail, (int64_t)fs.f_files);
}

static void run_disks(void *arg)
{
    struct eviction_manager *m = arg;
    struct stat a, b;
    const char *root = m->k->config.root_dir;
    read_fs(m, root, EVICTION_NODEFS, EVICTION_NODEFS_INODES);
    if (m->image_mount != NULL) {
        read_fs(m, m->image_mount, EVICTION_IMAGEFS, EVICTION_IMAGEFS_INODES);
        read_fs(m, m->image_mount, EVICTION_CONTAINERFS, EVICTION_CONTAINERFS_INODES);
        m->own_imagefs =
            stat(root, &a) == 0 && stat(m->image_mount, &b) == 0 && a.st_dev != b.st_dev;
    }
    machine_usage(root, &m->usage);
    set_reading(&m->readings[EVICTION_PIDS], m->usage.pids_max - m->usage.pids_used,
                m->usage.pids_max);
}

static void after_disks(void *arg)
{
    struct eviction_manager *m = arg;
    if (m->stopped)
        end(m, PERIOD_MS);
    else
        decide(m);
}

static void read_disks(struct eviction_manager *m)
{
    job_start(m->k->loop, run_disks, after_disks, m);
}

static const struct usage_pod *copy_use(struct arena *a, const struct usage_view *v,
                                        const char *uid)
{
    for (size_t i = 0; i < v->pod_count; i++) {
        const struct usage_pod *p = &v->pods[i];
        if (strcmp(p->uid, uid) != 0)
            continue;
        struct usage_pod *out = arena_memdup(a, p, sizeof(*p));
        out->containers =
            arena_memdup(a, p->containers, p->container_count * sizeof(*p->containers));
        for (size_t k = 0; k < p->container_count; k++)
            out->containers[k].name = arena_strdup(a, p->containers[k].name);
        out->volumes = arena_memdup(a, p->volumes, p->volume_count * sizeof(*p->volumes));
        for (size_t k = 0; k < p->volume_count; k++)
            out->volumes[k].name = arena_strdup(a, p->volumes[k].name);
        return out;
    }
    return NULL;
}

static void unref_object(void *o)
{
    api_object_unref(o);
}

/* Those that run, or are about to: the API's object is held until the look has ended. */
static void take_pods(struct eviction_manager *m, const struct usage_view *v)
{
    size_t pos = 0;
    void *w;
    m->pods = ARENA_ARRAY(m->arena, struct eviction_pod, m->k->workers.count + 1);
    while (map_next(&m->k->workers, &pos, NULL, &w)) {
        struct api_object *o = pod_worker_object(w);
        if (o == NULL || !pod_worker_can_be_evicted(w))
            continue;
        arena_hold(m->arena, api_object_ref(o), unref_object);
        m->pods[m->pod_count++] =
            (struct eviction_pod){.pod = o->msg, .use = copy_use(m->arena, v, pod_worker_uid(w))};
    }
}

static void on_view(const struct usage_view *v, void *arg)
{
    struct eviction_manager *m = arg;
    const struct kubelet *k = m->k;
    if (m->stopped) {
        end(m, PERIOD_MS);
        return;
    }
    memset(m->readings, 0, sizeof(m->readings));
    if (v->node.has_memory)
        set_reading(&m->readings[EVICTION_MEMORY],
                    k->memory_capacity - (int64_t)v->node.working_set_bytes, k->memory_capacity);
    if (v->pods_total.has_memory && k->pods_memory > 0)
        set_reading(&m->readings[EVICTION_ALLOCATABLE],
                    k->pods_memory - (int64_t)v->pods_total.working_set_bytes, k->pods_memory);
    if (m->image_mount == NULL && v->image_mount != NULL)
        m->image_mount = xstrdup(v->image_mount);
    take_pods(m, v);
    read_disks(m);
}

static void look(struct eviction_manager *m, unsigned parts)
{
    m->parts = parts;
    m->pod_count = 0;
    usage_look(m->k->usage, parts, on_view, m);
}

/* Folders are walked only where somebody is to be measured by them. */
static unsigned wanted_parts(const struct eviction_manager *m)
{
    unsigned parts = m->image_mount == NULL ? USAGE_RUNTIME : 0;
    size_t pos = 0;
    void *w;
    while ((parts & USAGE_DISKS) == 0 && map_next(&m->k->workers, &pos, NULL, &w))
        if (pod_worker_pod(w) != NULL && eviction_has_limits(pod_worker_pod(w)))
            parts |= USAGE_DISKS | USAGE_RUNTIME;
    return parts;
}

static void on_timer(uv_timer_t *t)
{
    struct eviction_manager *m = t->data;
    if (m->busy)
        return;
    m->busy = true;
    m->images_cleaned = false;
    m->arena = arena_new(0);
    look(m, wanted_parts(m));
}

struct eviction_manager *eviction_manager_start(struct kubelet *k, const struct eviction *policy,
                                                struct image_gc *images,
                                                void (*on_change)(struct kubelet *k))
{
    struct eviction_manager *m = xzalloc(sizeof(*m));
    m->k = k;
    m->state = *policy;
    m->images = images;
    m->on_change = on_change;
    m->evictions = metric_counter(metrics_default(), "kubelet_evictions",
                                  "Cumulative number of pod evictions by eviction signal",
                                  METRIC_LABELS("eviction_signal"));
    uv_timer_init(k->loop, &m->timer);
    m->timer.data = m;
    uv_timer_start(&m->timer, on_timer, 0, 0);
    return m;
}

void eviction_manager_stop(struct eviction_manager *m)
{
    if (m == NULL)
        return;
    m->stopped = true;
    uv_timer_stop(&m->timer);
}
