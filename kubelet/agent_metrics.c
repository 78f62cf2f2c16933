/* agent_metrics.c - see agent_metrics.h. */
#include "kubelet/agent_metrics.h"

#include "kubelet/kubelet.h"
#include "kubelet/pod_worker.h"
#include "kubelet/runtime_state.h"

#include "lib/base/map.h"
#include "lib/base/metrics.h"

static struct {
    struct metric *pods, *containers[RT_UNKNOWN + 1];
} m;

static void on_render(void *arg)
{
    const struct kubelet *k = arg;
    size_t pos = 0, pods = 0, containers[RT_UNKNOWN + 1] = {0};
    void *v;
    while (map_next(&k->workers, &pos, NULL, &v)) {
        const struct rt_pod *p = pod_worker_runtime(v);
        if (p == NULL)
            continue;
        const struct rt_sandbox *sandbox = rt_pod_sandbox(p);
        pods += sandbox != NULL && sandbox->ready;
        for (size_t i = 0; i < p->container_count; i++)
            containers[p->containers[i].state]++;
    }
    metric_set(m.pods, (double)pods);
    for (size_t i = 0; i < ARRAY_SIZE(containers); i++)
        metric_set(m.containers[i], (double)containers[i]);
}

void agent_metrics_init(struct kubelet *k)
{
    static const char *const states[] = {[RT_CREATED] = "created",
                                         [RT_RUNNING] = "running",
                                         [RT_EXITED] = "exited",
                                         [RT_UNKNOWN] = "unknown"};
    struct metrics *all = metrics_default();
    struct metric_family *f =
        metric_gauge(all, "kubelet_running_containers", "Number of containers currently running",
                     METRIC_LABELS("container_state"));
    for (size_t i = 0; i < ARRAY_SIZE(states); i++)
        m.containers[i] = METRIC_OF(f, str_of(states[i]));
    m.pods = metric_single(metric_gauge(all, "kubelet_running_pods",
                                        "Number of pods that have a running pod sandbox", NULL));
    metric_set(
        METRIC_OF(metric_gauge(all, "kubelet_node_name", "The node's name. The count is always 1.",
                               METRIC_LABELS("node")),
                  str_of(k->node_name)),
        1);
    metrics_on_render(all, on_render, k);
}
