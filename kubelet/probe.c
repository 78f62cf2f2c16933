/* probe.c - see probe.h. */
#include "kubelet/probe.h"

#include "kubelet/kubelet.h"

#include "lib/api/scheme.h"
#include "lib/base/env.h"
#include "lib/base/metrics.h"

#include "api/core_v1.h"

const char *probe_kind_name(enum probe_kind k)
{
    static const char *const names[] = {"Startup", "Liveness", "Readiness"};
    return names[k];
}

void probe_core_init(struct probe_core *p, enum probe_kind kind, const struct core_v1_probe *spec)
{
    *p = (struct probe_core){
        .kind = kind,
        .success_threshold = MAX_OF(spec->success_threshold, 1),
        .failure_threshold = spec->failure_threshold > 0 ? spec->failure_threshold : 3,
        .ok = kind == PROBE_LIVENESS,
    };
}

bool probe_core_result(struct probe_core *p, enum check_result r)
{
    /* An error says nothing about the container. */
    if (r == CHECK_ERROR)
        return false;
    p->run = p->run > 0 && p->last == r ? p->run + 1 : 1;
    p->last = r;
    if (p->run < (r == CHECK_SUCCESS ? p->success_threshold : p->failure_threshold))
        return false;
    bool ok = r == CHECK_SUCCESS;
    bool failed = !ok && p->kind != PROBE_READINESS;
    bool changed = ok != p->ok || failed != p->failed;
    p->ok = ok;
    p->failed = failed;
    p->decided = true;
    return changed;
}

/* --- metrics: upstream's names, on a page of their own --------------------------------------- */
static const char *const result_names[] = {
    [CHECK_SUCCESS] = "successful", [CHECK_FAILURE] = "failed", [CHECK_ERROR] = "unknown"};

struct metrics *probe_metrics(void)
{
    static struct metrics *registry;
    if (registry == NULL)
        registry = metrics_new();
    return registry;
}

static struct metric_family *totals(void)
{
    return metric_counter(
        probe_metrics(), "prober_probe_total", "Probes of containers by their result.",
        METRIC_LABELS("probe_type", "result", "container", "pod", "namespace", "pod_uid"));
}

static struct metric_family *durations(void)
{
    static const double bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
    return metric_histogram(
        probe_metrics(), "prober_probe_duration_seconds", "How long probes of containers took.",
        METRIC_LABELS("probe_type", "container", "pod", "namespace"), bounds, ARRAY_SIZE(bounds));
}

struct probe {
    struct kubelet *kubelet;
    struct probe_config config;
    struct probe_core core;
    char *container_id, *pod_ip;
    uv_timer_t timer;
    struct check *check;
    uint64_t check_start_ms;
};

#define RESULT_LABELS(p, m, result)                                                                \
    (const struct str[])                                                                           \
    {                                                                                              \
        str_of(probe_kind_name((p)->config.kind)), str_of(result), (p)->config.container->name,    \
            (m)->name, (m)->namespace, (m)->uid                                                    \
    }
#define DURATION_LABELS(p, m)                                                                      \
    (const struct str[])                                                                           \
    {                                                                                              \
        str_of(probe_kind_name((p)->config.kind)), (p)->config.container->name, (m)->name,         \
            (m)->namespace                                                                         \
    }

static const struct meta_v1_object_meta *pod_meta(const struct probe *p)
{
    return &((const struct core_v1_pod *)p->config.object->msg)->metadata;
}

static void count(const struct probe *p, enum check_result r)
{
    const struct meta_v1_object_meta *m = pod_meta(p);
    uint64_t took_ms = kubelet_now_ms(p->kubelet) - p->check_start_ms;
    metric_inc(metric_of(totals(), RESULT_LABELS(p, m, result_names[r])));
    metric_observe(metric_of(durations(), DURATION_LABELS(p, m)), (double)took_ms / 1000);
}

static void forget_counts(const struct probe *p)
{
    const struct meta_v1_object_meta *m = pod_meta(p);
    for (size_t i = 0; i < ARRAY_SIZE(result_names); i++)
        metric_remove(totals(), RESULT_LABELS(p, m, result_names[i]));
    metric_remove(durations(), DURATION_LABELS(p, m));
}

static void on_check(enum check_result r, const char *output, void *arg)
{
    struct probe *p = arg;
    p->check = NULL;
    count(p, r);
    if (r != CHECK_SUCCESS)
        p->config.on_failure(p->config.kind, r, output, p->config.arg);
    if (probe_core_result(&p->core, r))
        p->config.on_change(p->config.arg);
}

static void on_tick(uv_timer_t *t)
{
    struct probe *p = t->data;
    const struct core_v1_probe *spec = p->config.spec;
    int64_t age_s = (env_wall_ns(p->kubelet->env) - p->config.started_ns) / 1000000000;
    /* One that has condemned its container rests until there is a new one, as
     * does a startup probe that has passed. */
    if (p->check != NULL || p->core.failed || (p->config.kind == PROBE_STARTUP && p->core.ok) ||
        age_s < spec->initial_delay_seconds || !p->config.may_run(p->config.kind, p->config.arg))
        return;
    struct check_config c = {
        .container = p->config.container,
        .container_id = p->container_id,
        .pod_ip = p->pod_ip,
        .timeout_ms = (uint64_t)MAX_OF(spec->timeout_seconds, 1) * 1000,
        .done = on_check,
        .arg = p,
    };
    check_from_probe(&c, &spec->handler);
    p->check_start_ms = kubelet_now_ms(p->kubelet);
    p->check = check_start(p->kubelet, &c);
}

struct probe *probe_start(struct kubelet *k, const struct probe_config *config)
{
    struct probe *p = xzalloc(sizeof(*p));
    p->kubelet = k;
    p->config = *config;
    p->container_id = xstrdup(config->container_id);
    p->pod_ip = xstrdup(config->pod_ip);
    api_object_ref(config->object);
    probe_core_init(&p->core, config->kind, config->spec);
    uint64_t period_ms =
        (uint64_t)(config->spec->period_seconds > 0 ? config->spec->period_seconds : 10) * 1000;
    uint64_t delay_ms = (uint64_t)MAX_OF(config->spec->initial_delay_seconds, 0) * 1000;
    int64_t age_ms = (env_wall_ns(k->env) - config->started_ns) / 1000000;
    uint64_t first = age_ms < 0                         ? delay_ms
                     : (uint64_t)age_ms < delay_ms      ? delay_ms - (uint64_t)age_ms
                     : (uint64_t)age_ms > 2 * period_ms ? env_random_below(k->env, period_ms)
                                                        : 0;
    uv_timer_init(k->loop, &p->timer);
    p->timer.data = p;
    uv_timer_start(&p->timer, on_tick, first, period_ms);
    return p;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct probe *p = h->data;
    api_object_unref(p->config.object);
    free(p->container_id);
    free(p->pod_ip);
    free(p);
}

void probe_stop(struct probe *p)
{
    if (p == NULL)
        return;
    check_cancel(take(p->check));
    forget_counts(p);
    uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}

bool probe_ok(const struct probe *p)
{
    return p == NULL || p->core.ok;
}

bool probe_failed(const struct probe *p)
{
    return p != NULL && p->core.failed;
}

void probe_assume_ok(struct probe *p)
{
    if (p != NULL && !p->core.decided)
        p->core.ok = true;
}
