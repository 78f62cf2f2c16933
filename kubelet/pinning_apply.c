/* pinning_apply.c - writes the managers' states, and has the runtime move containers whose
 * processors are others than when it made them: when the shared pool changes, and after a restart
 * of the agent, which does not know where they are. */
#include "kubelet/pinning_internal.h"

#include "kubelet/cri.h"
#include "kubelet/job.h"
#include "kubelet/pod_worker.h"
#include "kubelet/runtime_state.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"

#include "api/core_v1.h"

#include <string.h>

#define FILE_MODE 0600
#define UPDATES_MAX 4u /* At once: each is a process of the runtime's. */
#define ROUNDS_UNSEEN_MAX 3u

/* --- files --------------------------------------------------------------------------------------
 */

struct save {
    struct pinning_file *file;
    struct buf text;
    uint64_t generation;
    int code;
    struct error err;
};

static void save_start(struct pinning_file *f);

static void run_save(void *arg)
{
    struct save *s = arg;
    s->code = file_write_atomic(s->file->path, s->text.data, s->text.len, FILE_MODE, &s->err);
}

static void kick_workers(struct pinning *p)
{
    size_t pos = 0;
    void *w;
    while (map_next(&p->k->workers, &pos, NULL, &w))
        pod_worker_kick(w);
}

static void on_saved(void *arg)
{
    struct save *s = arg;
    struct pinning_file *f = s->file;
    f->saving = false;
    f->failed = s->code != 0;
    if (f->failed)
        log_error("the state of the %s manager is not saved, pods that need it wait: %s",
                  f->manager, error_message(&s->err));
    else
        f->saved = s->generation;
    if (!f->failed)
        save_start(f);
    if (f->saved == f->generation(f->pinning))
        kick_workers(f->pinning);
    buf_done(&s->text);
    free(s);
}

static void save_start(struct pinning_file *f)
{
    if (f->saving || f->saved == f->generation(f->pinning))
        return;
    struct save *s = xzalloc(sizeof(*s));
    s->file = f;
    s->generation = f->generation(f->pinning);
    f->write(f->pinning, &s->text);
    f->saving = true;
    job_start(f->pinning->k->loop, run_save, on_saved, s);
}

int pinning_save_now(struct pinning_file *f, struct error *err)
{
    AUTO_BUF text = BUF_INIT;
    f->write(f->pinning, &text);
    int rc = file_write_atomic(f->path, text.data, text.len, FILE_MODE, err);
    if (rc == 0)
        f->saved = f->generation(f->pinning);
    return rc;
}

/* --- containers ---------------------------------------------------------------------------------
 */

struct given {
    char *cpus;
    bool updating;
    unsigned unseen; /* Rounds. */
};

struct update {
    struct pinning *p;
    struct arena *arena;
    const char *id, *cpus, *who;
};

static struct given *given_of(struct pinning *p, const char *id)
{
    struct given *g = map_get(&p->given, str_of(id));
    if (g == NULL) {
        g = xzalloc(sizeof(*g));
        map_set(&p->given, str_of(id), g);
    }
    return g;
}

static void set_given(struct given *g, const char *cpus)
{
    char *text = xstrdup(cpus);
    free(g->cpus);
    g->cpus = text;
}

static void on_updated(const struct cri_reply *reply, void *arg)
{
    struct update *u = arg;
    struct pinning *p = u->p;
    struct given *g = map_get(&p->given, str_of(u->id));
    p->updates--;
    if (reply->code != 0) {
        /* It may have ended meanwhile; else the next round tries again. */
        log_warning("%s cannot be moved to CPUs %s: %s", u->who, u->cpus, reply->message);
    } else {
        log_debug("%s runs on CPUs %s", u->who, u->cpus);
        if (g != NULL)
            set_given(g, u->cpus);
    }
    if (g != NULL)
        g->updating = false;
    arena_free(u->arena);
    if (reply->code == 0)
        deferred_post(&p->k->deferred, &p->look);
}

static void update(struct pinning *p, struct given *g, const struct core_v1_pod *pod,
                   const struct rt_container *c, const char *cpus)
{
    struct arena *a = arena_new(0);
    struct update *u = ARENA_NEW(a, struct update);
    *u = (struct update){.p = p,
                         .arena = a,
                         .id = arena_strdup(a, c->id),
                         .cpus = arena_strdup(a, cpus),
                         .who = str_c(arena_printf(a, "pod " STR_FMT "/" STR_FMT ": container %s",
                                                   STR_ARG(pod->metadata.namespace),
                                                   STR_ARG(pod->metadata.name), c->name))};
    CRI(UpdateContainerResourcesRequest) *r =
        CRI_NEW(a, UpdateContainerResourcesRequest, update_container_resources_request);
    r->container_id = (char *)(uintptr_t)u->id;
    r->linux = CRI_NEW(a, LinuxContainerResources, linux_container_resources);
    r->linux->cpuset_cpus = (char *)(uintptr_t)u->cpus;
    g->updating = true;
    p->updates++;
    cri_call(p->k->cri, CRI_UPDATE_CONTAINER_RESOURCES, r, CRI_TIMEOUT_MS, on_updated, u);
}

static void look_at(struct pinning *p, struct arena *a, const struct pod_worker *w)
{
    const struct rt_pod *rt = pod_worker_runtime(w);
    const struct core_v1_pod *pod = pod_worker_pod(w);
    if (rt == NULL || pod == NULL || pod_worker_is_finished(w))
        return;
    for (size_t i = 0; i < rt->container_count; i++) {
        const struct rt_container *c = &rt->containers[i];
        struct container_pins pins;
        if (c->state != RT_RUNNING)
            continue;
        struct given *g = given_of(p, c->id);
        g->unseen = 0;
        pinning_container(p, a, pod, str_of(c->name), &pins);
        bool same = g->cpus != NULL && strcmp(g->cpus, pins.cpus) == 0;
        if (!same && pins.cpus[0] != '\0' && !g->updating && p->updates < UPDATES_MAX)
            update(p, g, pod, c, pins.cpus);
    }
}

static void forget_ended(struct pinning *p)
{
    size_t pos = 0;
    struct str id;
    void *value;
    while (map_next(&p->given, &pos, &id, &value)) {
        struct given *g = value;
        if (g->updating || g->unseen++ < ROUNDS_UNSEEN_MAX)
            continue;
        map_remove(&p->given, id);
        free(g->cpus);
        free(g);
    }
}

static void look(struct pinning *p)
{
    AUTO_ARENA *a = arena_new(0);
    size_t pos = 0;
    void *w;
    if (!p->started || p->k->stopping || !cpu_manager_is_static(p->cpus))
        return;
    while (map_next(&p->k->workers, &pos, NULL, &w))
        look_at(p, a, w);
}

static void on_look(struct deferred *d)
{
    look(CONTAINER_OF(d, struct pinning, look));
}

static void on_timer(uv_timer_t *t)
{
    struct pinning *p = t->data;
    save_start(&p->cpu_file);
    save_start(&p->memory_file);
    look(p);
    forget_ended(p);
}

void pinning_changed(struct pinning *p)
{
    save_start(&p->cpu_file);
    save_start(&p->memory_file);
    if (p->started)
        deferred_post(&p->k->deferred, &p->look);
}

void pinning_created(struct pinning *p, const char *container_id, const char *cpus)
{
    if (p != NULL && cpu_manager_is_static(p->cpus))
        set_given(given_of(p, container_id), cpus);
}

void pinning_init_apply(struct pinning *p)
{
    map_init(&p->given);
    deferred_init(&p->look, on_look);
    uv_timer_init(p->k->loop, &p->timer);
    p->timer.data = p;
}

void pinning_start(struct pinning *p)
{
    uint64_t period_ms = (uint64_t)p->k->config.cpu_manager_reconcile_ns / 1000000;
    p->started = true;
    if (cpu_manager_is_static(p->cpus) || memory_manager_is_static(p->memory))
        uv_timer_start(&p->timer, on_timer, period_ms, period_ms);
}
