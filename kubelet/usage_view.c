/* usage_view.c - see usage_view.h: who is there, asking the runtime, rates. The job is in
 * usage_measure.c. */
#include "kubelet/usage_view.h"

#include "kubelet/csi.h"

#include "kubelet/cri.h"
#include "kubelet/job.h"
#include "kubelet/kubelet.h"
#include "kubelet/pod_worker.h"
#include "kubelet/runtime_state.h"
#include "kubelet/usage_measure.h"
#include "kubelet/volumes.h"

#include "lib/base/arena.h"
#include "lib/base/list.h"

#include "api/core_v1.h"

#include <stdlib.h>

#define RATE_MIN_NS 10000000000

struct usage_asker {
    struct list link;
    unsigned parts;
    void (*done)(const struct usage_view *v, void *arg);
    void *arg;
};

/* CPU time at an earlier look. */
struct sample {
    int64_t time_ns;
    uint64_t cpu_ns;
    struct usage_rate rate; /* Between the two before. */
    bool seen;
};

struct usage_watch {
    struct kubelet *k;
    struct list waiting, served; /* Askers: of the next look, of this one. */
    bool busy;
    struct usage_view *view; /* Being made. */
    struct map samples;      /* Container id, pod uid or "" -> struct sample */
    struct usage_measure measure;
};

static void next_look(struct usage_watch *w);

/* --- who is there ------------------------------------------------------------------------ */
static int by_name(const void *x, const void *y)
{
    const struct usage_pod *p = x, *q = y;
    int c = strcmp(p->namespace_name, q->namespace_name);
    return c != 0 ? c : strcmp(p->name, q->name);
}

static const struct core_v1_container *spec_of(const struct core_v1_pod *pod, const char *name)
{
    for (size_t i = 0; i < pod->spec.containers_count; i++)
        if (str_eqc(pod->spec.containers[i].name, name))
            return &pod->spec.containers[i];
    for (size_t i = 0; i < pod->spec.init_containers_count; i++)
        if (str_eqc(pod->spec.init_containers[i].name, name))
            return &pod->spec.init_containers[i];
    return NULL;
}

static void add_container(struct arena *a, struct usage_pod *p, const struct core_v1_pod *pod,
                          const struct rt_container *seen)
{
    struct usage_container *c = &p->containers[p->container_count++];
    struct cgroup_limits limits = {0};
    const struct core_v1_container *spec = spec_of(pod, seen->name);
    if (spec != NULL)
        container_cgroup_limits(spec, &limits);
    *c = (struct usage_container){
        .name = arena_strdup(a, seen->name),
        .id = arena_strdup(a, seen->id),
        .image = arena_strdup(a, seen->image != NULL ? seen->image : ""),
        .pid = seen->pid,
        .started_ns = seen->started_ns,
        .cpu_shares = limits.cpu_shares,
        .cpu_quota_us = limits.cpu_quota_us,
    };
}

static void add_volumes(struct arena *a, struct usage_pod *p, const struct core_v1_pod *pod,
                        const struct csi *csi)
{
    p->volumes = ARENA_ARRAY(a, struct usage_volume, pod->spec.volumes_count + 1);
    for (size_t i = 0; i < pod->spec.volumes_count; i++) {
        const struct core_v1_volume *v = &pod->spec.volumes[i];
        struct usage_volume *out = &p->volumes[p->volume_count];
        if (v->volume_source.host_path != NULL)
            continue;
        out->name = arena_strdup(a, str_c(arena_str(a, v->name)));
        if (v->volume_source.persistent_volume_claim != NULL)
            out->claim = str_c(arena_str(a, v->volume_source.persistent_volume_claim->claim_name));
        else if (v->volume_source.ephemeral != NULL)
            out->claim = str_c(arena_printf(a, "%s-" STR_FMT, p->name, STR_ARG(v->name)));
        out->ephemeral =
            v->volume_source.config_map != NULL ||
            (v->volume_source.empty_dir != NULL && str_empty(v->volume_source.empty_dir->medium));
        out->of_driver =
            csi_stats_of(csi, p->uid, out->name, &out->files) || v->volume_source.csi != NULL;
        p->volume_count++;
    }
}

static void add_pod(struct usage_watch *w, struct usage_view *v, const struct core_v1_pod *pod,
                    const struct rt_pod *rt, const struct core_v1_pod_status *status)
{
    struct arena *a = v->arena;
    struct kubelet *k = w->k;
    struct usage_pod *p = &v->pods[v->pod_count++];
    p->name = str_c(arena_str(a, pod->metadata.name));
    p->namespace_name = str_c(arena_str(a, pod->metadata.namespace));
    p->uid = arena_strdup(a, rt->uid);
    p->qos = pod_qos_class(pod);
    p->host_network = pod->spec.host_network;
    if (status != NULL && status->start_time != NULL)
        p->started_s = status->start_time->seconds;
    if (k->cgroups != NULL)
        p->group = cgroups_pod_path(k->cgroups, a, p->qos, p->uid);
    p->dir = pod_dir(a, k->config.root_dir, p->uid);
    p->log_dir = pod_log_dir(a, k->config.pod_logs_dir, p->namespace_name, p->name, p->uid);
    p->containers = ARENA_ARRAY(a, struct usage_container, rt->container_count + 1);
    for (size_t i = 0; i < rt->container_count; i++)
        if (rt->containers[i].state == RT_RUNNING)
            add_container(a, p, pod, &rt->containers[i]);
    if ((v->parts & USAGE_DISKS) != 0)
        add_volumes(a, p, pod, k->csi);
}

/* True: some container can be found by the runtime only. */
static bool gather(struct usage_watch *w, struct usage_view *v)
{
    size_t pos = 0;
    void *value;
    bool blind = false;
    v->pods = ARENA_ARRAY(v->arena, struct usage_pod, w->k->workers.count + 1);
    while (map_next(&w->k->workers, &pos, NULL, &value)) {
        const struct core_v1_pod *pod = pod_worker_pod(value);
        const struct rt_pod *rt = pod_worker_runtime(value);
        if (pod == NULL || rt == NULL || !rt_pod_any_running(rt))
            continue;
        add_pod(w, v, pod, rt, pod_worker_status(value));
    }
    qsort(v->pods, v->pod_count, sizeof(*v->pods), by_name);
    for (size_t i = 0; i < v->pod_count; i++)
        for (size_t j = 0; j < v->pods[i].container_count; j++)
            blind |= v->pods[i].containers[j].pid == 0;
    return blind;
}

/* --- what the runtime knows ------------------------------------------------------------------ */
static uint64_t value_of(const CRI(UInt64Value) * v)
{
    return v != NULL ? v->value : 0;
}

static void take_figures(struct usage_container *c, const CRI(ContainerStats) * s)
{
    if (s->writable_layer != NULL && s->writable_layer->timestamp != 0) /* 0: not looked at yet. */
        c->layer = (struct usage_files){.known = true,
                                        .time_ns = s->writable_layer->timestamp,
                                        .used_bytes = value_of(s->writable_layer->used_bytes),
                                        .inodes_used = value_of(s->writable_layer->inodes_used)};
    if (c->pid != 0) /* Its cgroup is read, later. */
        return;
    c->u =
        (struct usage){.memory_limit_bytes = USAGE_UNLIMITED, .swap_limit_bytes = USAGE_UNLIMITED};
    if (s->cpu != NULL && s->cpu->usage_core_nano_seconds != NULL) {
        c->u.has_cpu = true;
        c->u.time_ns = s->cpu->timestamp;
        c->u.cpu_ns = s->cpu->usage_core_nano_seconds->value;
    }
    if (s->memory != NULL && s->memory->working_set_bytes != NULL) {
        c->u.has_memory = true;
        c->u.working_set_bytes = s->memory->working_set_bytes->value;
        c->u.memory_bytes = value_of(s->memory->usage_bytes);
        c->u.rss_bytes = value_of(s->memory->rss_bytes);
        c->u.page_faults = value_of(s->memory->page_faults);
        c->u.major_page_faults = value_of(s->memory->major_page_faults);
        c->u.time_ns = c->u.time_ns != 0 ? c->u.time_ns : s->memory->timestamp;
    }
    if (s->swap != NULL && s->swap->swap_usage_bytes != NULL) {
        c->u.has_swap = true;
        c->u.swap_bytes = s->swap->swap_usage_bytes->value;
        if (s->swap->swap_available_bytes != NULL)
            c->u.swap_limit_bytes = c->u.swap_bytes + s->swap->swap_available_bytes->value;
    }
}

static void run_measure(void *arg)
{
    struct usage_watch *w = arg;
    usage_measure_view(&w->measure, w->view);
}

static void on_measured(void *arg);

static void measure(struct usage_watch *w)
{
    job_start(w->k->loop, run_measure, on_measured, w);
}

static void on_images(const struct cri_reply *reply, void *arg)
{
    struct usage_watch *w = arg;
    const CRI(ImageFsInfoResponse) *r = reply->msg;
    struct usage_view *v = w->view;
    if (reply->code == 0 && r->n_image_filesystems != 0) {
        const CRI(FilesystemUsage) *f = r->image_filesystems[0];
        v->images = (struct usage_files){.known = true,
                                         .time_ns = f->timestamp,
                                         .used_bytes = value_of(f->used_bytes),
                                         .inodes_used = value_of(f->inodes_used)};
        if (f->fs_id != NULL)
            v->image_mount = arena_strdup(v->arena, f->fs_id->mountpoint);
    }
    measure(w);
}

static void on_stats(const struct cri_reply *reply, void *arg)
{
    struct usage_watch *w = arg;
    struct usage_view *v = w->view;
    const CRI(ListContainerStatsResponse) *r = reply->msg;
    if (reply->code != 0) {
        v->problem = arena_strdup(v->arena, reply->message);
        measure(w);
        return;
    }
    struct map by_id;
    map_init(&by_id);
    for (size_t i = 0; i < r->n_stats; i++)
        if (r->stats[i]->attributes != NULL)
            map_set(&by_id, str_of(r->stats[i]->attributes->id), r->stats[i]);
    for (size_t i = 0; i < v->pod_count; i++)
        for (size_t j = 0; j < v->pods[i].container_count; j++) {
            const CRI(ContainerStats) *s = map_get(&by_id, str_of(v->pods[i].containers[j].id));
            if (s != NULL)
                take_figures(&v->pods[i].containers[j], s);
        }
    map_done(&by_id);
    CRI(ImageFsInfoRequest) q;
    runtime__v1__image_fs_info_request__init(&q);
    cri_call(w->k->cri, CRI_IMAGE_FS_INFO, &q, CRI_TIMEOUT_MS, on_images, w);
}

/* --- rates ---------------------------------------------------------------------------------------
 */
static struct usage_rate rate(struct usage_watch *w, const char *key, const struct usage *u,
                              int64_t started_ns)
{
    struct sample *s = map_get(&w->samples, str_of(key));
    if (!u->has_cpu)
        return (struct usage_rate){0};
    if (s == NULL) { /* The mean of its whole life will do. */
        s = xzalloc(sizeof(*s));
        s->time_ns = started_ns;
        map_set(&w->samples, str_of(key), s);
    }
    s->seen = true;
    bool again = u->cpu_ns < s->cpu_ns;
    if (s->time_ns != 0 && !again && u->time_ns - s->time_ns >= RATE_MIN_NS) {
        double seconds = (double)(u->time_ns - s->time_ns) / 1e9;
        s->rate = (struct usage_rate){true, (uint64_t)((double)(u->cpu_ns - s->cpu_ns) / seconds)};
    }
    if (s->time_ns == 0 || again || u->time_ns - s->time_ns >= RATE_MIN_NS) {
        s->time_ns = u->time_ns;
        s->cpu_ns = u->cpu_ns;
    }
    return s->rate;
}

static void forget_gone(struct usage_watch *w)
{
    struct str key;
    size_t pos = 0;
    void *value;
    while (map_next(&w->samples, &pos, &key, &value)) {
        struct sample *s = value;
        if (!s->seen) {
            map_remove(&w->samples, key);
            free(s);
            continue;
        }
        s->seen = false;
    }
}

static void set_rates(struct usage_watch *w, struct usage_view *v)
{
    v->node_rate = rate(w, "", &v->node, 0);
    for (size_t i = 0; i < v->pod_count; i++) {
        struct usage_pod *p = &v->pods[i];
        p->rate = rate(w, p->uid, &p->u, p->started_s * 1000000000);
        for (size_t j = 0; j < p->container_count; j++)
            p->containers[j].rate =
                rate(w, p->containers[j].id, &p->containers[j].u, p->containers[j].started_ns);
    }
    forget_gone(w);
}

/* --- looking
 * --------------------------------------------------------------------------------------
 */
static void on_measured(void *arg)
{
    struct usage_watch *w = arg;
    struct usage_view *v = take(w->view);
    struct list askers;
    set_rates(w, v);
    list_init(&askers);
    list_splice(&askers, &w->served);
    w->busy = false;
    for (struct list *l; (l = list_pop_front(&askers)) != NULL;) {
        struct usage_asker *q = LIST_ENTRY(l, struct usage_asker, link);
        q->done(v, q->arg);
        free(q);
    }
    arena_free(v->arena);
    next_look(w);
}

static void next_look(struct usage_watch *w)
{
    if (w->busy || list_empty(&w->waiting))
        return;
    struct arena *a = arena_new(0);
    struct usage_view *v = ARENA_NEW(a, struct usage_view);
    v->arena = a;
    w->busy = true;
    w->view = v;
    list_splice(&w->served, &w->waiting);
    for (struct list *l = w->served.next; l != &w->served; l = l->next)
        v->parts |= LIST_ENTRY(l, struct usage_asker, link)->parts;
    bool blind = gather(w, v);
    if (!blind && (v->parts & USAGE_RUNTIME) == 0) {
        measure(w);
        return;
    }
    CRI(ListContainerStatsRequest) q;
    runtime__v1__list_container_stats_request__init(&q);
    cri_call(w->k->cri, CRI_LIST_CONTAINER_STATS, &q, CRI_TIMEOUT_MS, on_stats, w);
}

void usage_look(struct usage_watch *w, unsigned parts,
                void (*done)(const struct usage_view *v, void *arg), void *arg)
{
    struct usage_asker *q = xzalloc(sizeof(*q));
    q->parts = parts;
    q->done = done;
    q->arg = arg;
    list_push_back(&w->waiting, &q->link);
    next_look(w);
}

struct usage_watch *usage_watch_new(struct kubelet *k)
{
    struct usage_watch *w = xzalloc(sizeof(*w));
    w->k = k;
    list_init(&w->waiting);
    list_init(&w->served);
    map_init(&w->samples);
    usage_measure_init(&w->measure, k->config.root_dir,
                       k->cgroups != NULL ? cgroups_pods_path(k->cgroups, k->arena) : NULL);
    return w;
}
