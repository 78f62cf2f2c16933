/* sched_metrics.c - see sched_metrics.h. */
#include "scheduler/sched_metrics.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/metrics.h"
#include "scheduler/framework.h"
#include "scheduler/queue.h"
#include "scheduler/snapshot.h"

#include <stdio.h>

static const double seconds_from_1ms[] = {0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128,
                                          0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384};
static const double seconds_from_10ms[] = {0.01,   0.02,   0.04,   0.08,    0.16,    0.32,   0.64,
                                           1.28,   2.56,   5.12,   10.24,   20.48,   40.96,  81.92,
                                           163.84, 327.68, 655.36, 1310.72, 2621.44, 5242.88};
static const double seconds_from_100us[] = {0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032,
                                            0.0064, 0.0128, 0.0256, 0.0512, 0.1024, 0.2048};
static const double seconds_from_10us[] = {0.00001,
                                           0.000015,
                                           0.0000225,
                                           0.00003375,
                                           0.000050625,
                                           7.59375e-05,
                                           0.00011390625,
                                           0.000170859375,
                                           0.0002562890625,
                                           0.00038443359375,
                                           0.000576650390625,
                                           0.0008649755859375,
                                           0.00129746337890625,
                                           0.001946195068359375,
                                           0.0029192926025390625,
                                           0.004378938903808593,
                                           0.006568408355712890,
                                           0.009852612533569335,
                                           0.014778918800354002,
                                           0.022168378200531003};
static const double seconds_of_hints[] = {0.00001, 0.00002, 0.00004, 0.00008, 0.00016, 0.00032,
                                          0.00064, 0.00128, 0.00256, 0.00512, 0.01024, 0.02048};
static const double counts_16[] = {1, 2, 4, 8, 16};
static const double counts_64[] = {1, 2, 4, 8, 16, 32, 64};

static struct {
    bool made;
    struct metric_family *attempts, *attempt_seconds, *points, *sli, *pending, *cache;
    struct metric_family *incoming, *unschedulable, *plugins, *hints, *claims;
    struct map unschedulable_shown; /* A series' pointer -> the series. */
    struct metric *algorithm, *pod_attempts, *preemptions, *victims, *conflicts;
    const struct sched_queue *queue;
    const struct snapshot *snapshot;
    uint64_t incoming_shown[QUEUE_PLACES][QUEUE_CAUSES];
} m;

static const char *const place_names[QUEUE_PLACES] = {[QUEUE_ACTIVE] = "active",
                                                      [QUEUE_BACKOFF] = "backoff",
                                                      [QUEUE_UNSCHEDULABLE] = "unschedulable",
                                                      [QUEUE_GATED] = "gated"};

static void show_queue(const struct sched_queue *q)
{
    for (unsigned p = 0; p < QUEUE_PLACES; p++) {
        if (place_names[p] == NULL)
            continue;
        metric_set(METRIC_OF(m.pending, str_of(place_names[p])),
                   q != NULL ? (double)q->counts[p] : 0);
        for (unsigned c = 0; q != NULL && c < QUEUE_CAUSES; c++) {
            uint64_t more = q->incoming[p][c] - m.incoming_shown[p][c];
            if (more == 0)
                continue;
            metric_add(METRIC_OF(m.incoming, str_of(sched_queue_cause(c)), str_of(place_names[p])),
                       (double)more);
            m.incoming_shown[p][c] = q->incoming[p][c];
        }
    }
}

/* Of all series shown before, those without pods now stay, with 0. */
static void show_unschedulable(const struct sched_queue *q)
{
    size_t pos = 0;
    void *series;
    while (map_next(&m.unschedulable_shown, &pos, NULL, &series))
        metric_set(series, 0);
    if (q == NULL)
        return;
    LIST_FOREACH (it, &q->unschedulable) {
        const struct queued_pod *p = LIST_ENTRY(it, struct queued_pod, link);
        struct str profile =
            ((const struct core_v1_pod *)queued_pod_object(p)->msg)->spec.scheduler_name;
        for (unsigned i = 0; i < scheduler_plugin_count; i++) {
            if ((p->refused_by & 1u << i) == 0)
                continue;
            struct metric *one =
                METRIC_OF(m.unschedulable, str_of(scheduler_plugins[i]->name), profile);
            map_set(&m.unschedulable_shown, str_n((const char *)&one, sizeof(one)), one);
            metric_add(one, 1);
        }
    }
}

static void on_render(void *arg)
{
    UNUSED(arg);
    const struct snapshot *s = m.snapshot;
    show_queue(m.queue);
    show_unschedulable(m.queue);
    metric_set(METRIC_OF(m.cache, STR("nodes")), s != NULL ? (double)s->node_count : 0);
    metric_set(METRIC_OF(m.cache, STR("pods")), s != NULL ? (double)s->pods.count : 0);
    metric_set(METRIC_OF(m.cache, STR("assumed_pods")), s != NULL ? (double)s->assumed_count : 0);
}

static void make(void)
{
    struct metrics *d = metrics_default();
    if (m.made)
        return;
    m.made = true;
    m.attempts =
        metric_counter(d, "scheduler_schedule_attempts_total",
                       "Attempts to schedule pods, by result.", METRIC_LABELS("profile", "result"));
    m.attempt_seconds = metric_histogram(d, "scheduler_scheduling_attempt_duration_seconds",
                                         "Time of an attempt: deciding, and binding.",
                                         METRIC_LABELS("profile", "result"), seconds_from_1ms,
                                         ARRAY_SIZE(seconds_from_1ms));
    m.algorithm = metric_single(
        metric_histogram(d, "scheduler_scheduling_algorithm_duration_seconds", "Time of deciding.",
                         NULL, seconds_from_1ms, ARRAY_SIZE(seconds_from_1ms)));
    m.points = metric_histogram(d, "scheduler_framework_extension_point_duration_seconds",
                                "Time of all plugins of an extension point.",
                                METRIC_LABELS("extension_point", "profile", "status"),
                                seconds_from_100us, ARRAY_SIZE(seconds_from_100us));
    m.plugins = metric_histogram(d, "scheduler_plugin_execution_duration_seconds",
                                 "Duration for running a plugin at a specific extension point.",
                                 METRIC_LABELS("plugin", "extension_point", "status"),
                                 seconds_from_10us, ARRAY_SIZE(seconds_from_10us));
    m.hints = metric_histogram(d, "scheduler_queueing_hint_execution_duration_seconds",
                               "Latency for running a queueing hint function of a plugin.",
                               METRIC_LABELS("plugin", "event", "hint"), seconds_of_hints,
                               ARRAY_SIZE(seconds_of_hints));
    m.claims = metric_counter(d, "scheduler_resourceclaim_creates_total",
                              "Number of ResourceClaims creation requests within scheduler.",
                              METRIC_LABELS("status"));
    m.sli = metric_histogram(d, "scheduler_pod_scheduling_sli_duration_seconds",
                             "Time from a pod's coming into the queue until it was bound.",
                             METRIC_LABELS("attempts"), seconds_from_10ms,
                             ARRAY_SIZE(seconds_from_10ms));
    m.pod_attempts = metric_single(metric_histogram(d, "scheduler_pod_scheduling_attempts",
                                                    "Attempts until a pod was bound.", NULL,
                                                    counts_16, ARRAY_SIZE(counts_16)));
    m.preemptions =
        metric_single(metric_counter(d, "scheduler_preemption_attempts_total",
                                     "Attempts at preemption that found victims.", NULL));
    m.victims = metric_single(metric_histogram(d, "scheduler_preemption_victims",
                                               "Victims of one preemption.", NULL, counts_64,
                                               ARRAY_SIZE(counts_64)));
    m.pending = metric_gauge(d, "scheduler_pending_pods", "Pods that wait, by queue.",
                             METRIC_LABELS("queue"));
    m.incoming = metric_counter(d, "scheduler_queue_incoming_pods_total",
                                "Pods that came into a queue, by event and queue.",
                                METRIC_LABELS("event", "queue"));
    map_init(&m.unschedulable_shown);
    m.unschedulable = metric_gauge(
        d, "scheduler_unschedulable_pods",
        "The number of unschedulable pods broken down by plugin name. A pod will increment the "
        "gauge for all plugins that caused it to not schedule and so this metric have meaning only "
        "when broken down by plugin.",
        METRIC_LABELS("plugin", "profile"));
    m.cache = metric_gauge(d, "scheduler_scheduler_cache_size",
                           "Nodes, pods and assumed pods known.", METRIC_LABELS("type"));
    m.conflicts = metric_single(
        metric_counter(d, "trireme_scheduler_binding_conflicts_total",
                       "Bindings refused since the pod had changed or had a node.", NULL));
    metrics_on_render(d, on_render, NULL);
}

void sched_metrics_watch(const struct sched_queue *q, const struct snapshot *s)
{
    make();
    m.queue = q;
    m.snapshot = s;
    memset(m.incoming_shown, 0, sizeof(m.incoming_shown));
}

void sched_metrics_attempt(struct str profile, const char *result, double seconds)
{
    make();
    metric_inc(METRIC_OF(m.attempts, profile, str_of(result)));
    metric_observe(METRIC_OF(m.attempt_seconds, profile, str_of(result)), seconds);
}

void sched_metrics_decided(double seconds)
{
    make();
    metric_observe(m.algorithm, seconds);
}

void sched_metrics_placed(unsigned attempts, double seconds)
{
    char label[16];
    make();
    snprintf(label, sizeof(label), "%u%s", MIN_OF(attempts, 16u), attempts > 15 ? "+" : "");
    metric_observe(m.pod_attempts, attempts);
    metric_observe(METRIC_OF(m.sli, str_of(label)), seconds);
}

void sched_metrics_preempted(size_t victims)
{
    make();
    metric_inc(m.preemptions);
    metric_observe(m.victims, (double)victims);
}

void sched_metrics_point(struct str profile, const char *point, const char *status, double seconds)
{
    make();
    metric_observe(METRIC_OF(m.points, str_of(point), profile, str_of(status)), seconds);
}

void sched_metrics_plugin(const struct cycle *c, const struct plugin *p, const char *point,
                          const char *status, uint64_t took_ns)
{
    UNUSED(c);
    make();
    metric_observe(METRIC_OF(m.plugins, str_of(p->name), str_of(point), str_of(status)),
                   (double)took_ns / 1e9);
}

void sched_metrics_of_point(const struct cycle *c, const char *point, bool fits, uint64_t took_ns)
{
    const struct core_v1_pod *pod = c->pod->pod;
    sched_metrics_point(pod->spec.scheduler_name, point, fits ? "Success" : "Unschedulable",
                        (double)took_ns / 1e9);
}

void sched_metrics_hint(unsigned refused_by, const char *event, const char *hint, double seconds)
{
    unsigned i = 0;
    make();
    while (i + 1 < scheduler_plugin_count && (refused_by & 1u << i) == 0)
        i++;
    metric_observe(
        METRIC_OF(m.hints, str_of(scheduler_plugins[i]->name), str_of(event), str_of(hint)),
        seconds);
}

void sched_metrics_claim(bool made)
{
    make();
    metric_inc(METRIC_OF(m.claims, str_of(made ? "success" : "failure")));
}

void sched_metrics_conflict(void)
{
    make();
    metric_inc(m.conflicts);
}
