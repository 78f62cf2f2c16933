/* pod_probes.c - keeps the probes of a pod's containers in step with what runs. */
#include "kubelet/pod_worker_internal.h"

#include "api/core_v1.h"

void container_stop_probes(struct pod_container *c)
{
    for (size_t i = 0; i < ARRAY_SIZE(c->probes); i++)
        probe_stop(take(c->probes[i]));
    free(take(c->instance));
}

bool container_started(const struct pod_container *c)
{
    return !c->post_start_pending && probe_ok(c->probes[PROBE_STARTUP]);
}

bool container_ready(const struct pod_container *c)
{
    return container_started(c) && probe_ok(c->probes[PROBE_READINESS]);
}

/* Liveness and readiness wait for the container to have started. */
static bool may_run(enum probe_kind kind, void *arg)
{
    const struct pod_container *c = arg;
    if (c->worker->life != PM_RUNNING && kind != PROBE_READINESS)
        return false;
    return kind == PROBE_STARTUP || container_started(c);
}

static void on_change(void *arg)
{
    struct pod_container *c = arg;
    worker_kick(c->worker);
}

static void on_failure(enum probe_kind kind, enum check_result r, const char *output, void *arg)
{
    struct pod_container *c = arg;
    if (r == CHECK_ERROR)
        worker_event(c->worker, c, "Warning", "Unhealthy",
                     "%s probe errored and resulted in unknown state: %s", probe_kind_name(kind),
                     output);
    else
        worker_event(c->worker, c, "Warning", "Unhealthy", "%s probe failed: %s",
                     probe_kind_name(kind), output);
}

static bool was_ready(const struct pod_container *c, const struct rt_container *seen)
{
    const struct core_v1_pod_status *s = &worker_pod(c->worker)->status;
    for (size_t i = 0; i < s->container_statuses_count; i++) {
        const struct core_v1_container_status *x = &s->container_statuses[i];
        if (str_eqc(x->name, c->name) && str_has_suffix(x->container_id, str_of(seen->id)))
            return x->ready;
    }
    return false;
}

static void start_probes(struct pod_container *c, const struct rt_container *seen)
{
    const struct core_v1_probe *specs[] = {c->spec->startup_probe, c->spec->liveness_probe,
                                           c->spec->readiness_probe};
    c->instance = xstrdup(seen->id);
    bool ready = was_ready(c, seen);
    for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
        if (specs[i] == NULL)
            continue;
        struct probe_config config = {
            .kind = (enum probe_kind)i,
            .spec = specs[i],
            .container = c->spec,
            .object = c->worker->object,
            .container_id = seen->id,
            .pod_ip = worker_pod_ip(c->worker),
            .started_ns = seen->started_ns,
            .may_run = may_run,
            .on_change = on_change,
            .on_failure = on_failure,
            .arg = c,
        };
        c->probes[i] = probe_start(c->worker->k, &config);
        /* Adopted after a restart of ours: what was ready stays ready. */
        if (ready)
            probe_assume_ok(c->probes[i]);
    }
}

void worker_sync_probes(struct pod_worker *w)
{
    for (size_t i = 0; i < w->container_count; i++) {
        struct pod_container *c = w->containers[i];
        const struct rt_container *seen = rt_pod_find(w->rt, str_of(c->name));
        bool up = seen != NULL && seen->state == RT_RUNNING;
        if (c->instance != NULL && (!up || strcmp(c->instance, seen->id) != 0))
            container_stop_probes(c);
        if (up && c->instance == NULL && c->kind != PM_EPHEMERAL && (c->kind != PM_INIT) &&
            w->life == PM_RUNNING)
            start_probes(c, seen);
    }
}
