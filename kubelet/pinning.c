/* pinning.c - see pinning.h: managers, admission, questions. Settings are in pinning_config.c,
 * files and updates of containers in pinning_apply.c. */
#include "kubelet/pinning_internal.h"

#include "kubelet/admission.h"
#include "kubelet/pod_worker.h"
#include "kubelet/resources.h"

#include "lib/base/arena.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"

#include "api/core_v1.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct {
    struct metric *requests, *errors, *duration;
    struct metric *cpu_requests, *cpu_errors, *shared_milli, *exclusive;
    struct metric_family *per_numa, *aligned, *not_aligned;
    struct metric *memory_requests, *memory_errors;
} m;

/* --- metrics -------------------------------------------------------------------------------- */

/* Counters are kept by the managers, which know no clock and no registry. */
static void bring_up_to(struct metric *counter, uint64_t value)
{
    double more = (double)value - metric_value(counter);
    if (more > 0)
        metric_add(counter, more);
}

static void on_render(void *arg)
{
    const struct pinning *p = arg;
    const struct topology_counts *t = topology_counts(p->topology);
    const struct cpu_manager_counts *c = cpu_manager_counts(p->cpus);
    struct str scope = topology_is_by_pod(p->topology) ? STR("pod") : STR("container");
    bring_up_to(m.requests, t->requests);
    bring_up_to(m.errors, t->errors);
    bring_up_to(METRIC_OF(m.aligned, scope, STR("numa_node")), t->aligned);
    bring_up_to(METRIC_OF(m.not_aligned, scope, STR("numa_node")), t->not_aligned);
    bring_up_to(m.cpu_requests, c->requests);
    bring_up_to(m.cpu_errors, c->errors);
    bring_up_to(m.memory_requests, memory_manager_counts(p->memory)->requests);
    bring_up_to(m.memory_errors, memory_manager_counts(p->memory)->errors);
    struct cpu_set shared = cpu_manager_shared(p->cpus);
    struct cpu_set own = cpu_set_minus(&p->machine.online, &shared);
    bool is_static = cpu_manager_is_static(p->cpus);
    metric_set(m.shared_milli, is_static ? 1000.0 * cpu_set_count(&shared) : 0);
    metric_set(m.exclusive, is_static ? cpu_set_count(&own) : 0);
    for (numa_mask rest = p->machine.numa.nodes; is_static && rest != 0; rest &= rest - 1) {
        char node[8];
        struct cpu_set here = machine_cpus_of(&p->machine, rest & -rest);
        here = cpu_set_and(&here, &own);
        snprintf(node, sizeof(node), "%d", __builtin_ctzll(rest));
        metric_set(METRIC_OF(m.per_numa, str_of(node)), cpu_set_count(&here));
    }
}

void pinning_add_metrics(struct pinning *p)
{
    static const double bounds[] = {0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100};
    struct metrics *all = metrics_default();
    m.requests = metric_single(metric_counter(
        all, "kubelet_topology_manager_admission_requests_total",
        "The number of admission requests where resources have to be aligned.", NULL));
    m.errors = metric_single(metric_counter(
        all, "kubelet_topology_manager_admission_errors_total",
        "The number of admission request failures where resources could not be aligned.", NULL));
    m.duration =
        metric_single(metric_histogram(all, "kubelet_topology_manager_admission_duration_ms",
                                       "Duration in milliseconds to serve a pod admission request.",
                                       NULL, bounds, ARRAY_SIZE(bounds)));
    m.cpu_requests = metric_single(
        metric_counter(all, "kubelet_cpu_manager_pinning_requests_total",
                       "The number of cpu core allocations which required pinning.", NULL));
    m.cpu_errors = metric_single(
        metric_counter(all, "kubelet_cpu_manager_pinning_errors_total",
                       "The number of cpu core allocations which required pinning failed.", NULL));
    m.memory_requests = metric_single(
        metric_counter(all, "kubelet_memory_manager_pinning_requests_total",
                       "The number of memory pages allocations which required pinning.", NULL));
    m.memory_errors = metric_single(metric_counter(
        all, "kubelet_memory_manager_pinning_errors_total",
        "The number of memory pages allocations which required pinning that failed.", NULL));
    m.shared_milli = metric_single(metric_gauge(
        all, "kubelet_cpu_manager_shared_pool_size_millicores",
        "The size of the shared CPU pool for non-guaranteed QoS pods, in millicores.", NULL));
    m.exclusive = metric_single(
        metric_gauge(all, "kubelet_cpu_manager_exclusive_cpu_allocation_count",
                     "The total number of CPUs exclusively allocated to containers.", NULL));
    m.per_numa = metric_gauge(all, "kubelet_cpu_manager_allocation_per_numa",
                              "Number of CPUs allocated per NUMA node", METRIC_LABELS("numa_node"));
    m.aligned = metric_counter(
        all, "kubelet_container_aligned_compute_resources_count",
        "Cumulative number of aligned compute resources allocated to containers by alignment type.",
        METRIC_LABELS("scope", "boundary"));
    m.not_aligned = metric_counter(
        all, "kubelet_container_aligned_compute_resources_failure_count",
        "Cumulative number of failures to allocate aligned compute resources to containers by "
        "alignment type.",
        METRIC_LABELS("scope", "boundary"));
    metrics_on_render(all, on_render, p);
}

/* --- admission -------------------------------------------------------------------------------- */

bool pinning_admit(struct pinning *p, struct arena *a, const struct core_v1_pod *pod,
                   struct admission_refusal *ret)
{
    if (p == NULL)
        return true;
    uint64_t begin_ns = uv_hrtime();
    bool ok = topology_admit(p->topology, a, pod, ret);
    metric_observe(m.duration, (double)(uv_hrtime() - begin_ns) / 1e6);
    pinning_changed(p);
    return ok;
}

void pinning_pod_gone(struct pinning *p, const char *uid)
{
    if (p == NULL)
        return;
    topology_free_pod(p->topology, str_of(uid));
    pinning_changed(p);
}

/* A copy, if nobody knows such a pod. */
static char *unknown(const struct pinning *p, const char *uid)
{
    return map_get(&p->k->workers, str_of(uid)) == NULL ? xstrdup(uid) : NULL;
}

void pinning_forget_unknown(struct pinning *p)
{
    if (p == NULL)
        return;
    for (bool found = true; found;) {
        const struct cpu_state *c = cpu_manager_state(p->cpus);
        const struct memory_state *s = memory_manager_state(p->memory);
        AUTO_FREE char *uid = NULL;
        for (size_t i = 0; uid == NULL && i < c->count; i++)
            uid = unknown(p, c->items[i].pod);
        for (size_t i = 0; uid == NULL && i < s->count; i++)
            uid = unknown(p, s->items[i].pod);
        found = uid != NULL;
        if (found)
            pinning_pod_gone(p, uid);
    }
}

bool pinning_may_start(const struct pinning *p, const char *uid)
{
    if (p == NULL)
        return true;
    bool cpus = !cpu_manager_has_pod(p->cpus, str_of(uid)) ||
                p->cpu_file.saved == cpu_manager_generation(p->cpus);
    bool memory = !memory_manager_has_pod(p->memory, str_of(uid)) ||
                  p->memory_file.saved == memory_manager_generation(p->memory);
    return cpus && memory;
}

/* --- resize ----------------------------------------------------------------------------------- */

static bool asks_for_other(const struct core_v1_container *x, const struct core_v1_container *y,
                           const char *resource)
{
    int64_t before = 0, after = 0;
    resource_milli(x->resources.requests, x->resources.requests_count, resource, &before);
    resource_milli(y->resources.requests, y->resources.requests_count, resource, &after);
    return before != after;
}

static bool any_asks_for_other(const struct core_v1_pod *x, const struct core_v1_pod *y,
                               const char *resource)
{
    const struct core_v1_pod_spec *a = &x->spec, *b = &y->spec;
    for (size_t i = 0; i < a->containers_count && i < b->containers_count; i++)
        if (asks_for_other(&a->containers[i], &b->containers[i], resource))
            return true;
    for (size_t i = 0; i < a->init_containers_count && i < b->init_containers_count; i++)
        if (asks_for_other(&a->init_containers[i], &b->init_containers[i], resource))
            return true;
    return false;
}

/* Every Guaranteed pod, as upstream: one that shares might otherwise have to be given processors.
 */
bool pinning_may_resize(const struct pinning *p, const struct core_v1_pod *from,
                        const struct core_v1_pod *to, const char **ret_message)
{
    if (p == NULL || pod_qos_class(from) != QOS_GUARANTEED)
        return true;
    if (cpu_manager_is_static(p->cpus) && any_asks_for_other(from, to, "cpu")) {
        *ret_message =
            "Resize is infeasible for Guaranteed Pods alongside CPU Manager policy \"static\"";
        return false;
    }
    if (memory_manager_is_static(p->memory) && any_asks_for_other(from, to, "memory")) {
        *ret_message =
            "Resize is infeasible for Guaranteed Pods alongside Memory Manager policy \"Static\"";
        return false;
    }
    return true;
}

/* --- questions -------------------------------------------------------------------------------- */

void pinning_container(const struct pinning *p, struct arena *a, const struct core_v1_pod *pod,
                       struct str container, struct container_pins *ret)
{
    *ret = (struct container_pins){.cpus = "", .mems = ""};
    if (p == NULL)
        return;
    const struct cpu_set *cpus = cpu_manager_affinity(p->cpus, pod->metadata.uid, container);
    if (cpus != NULL)
        ret->cpus = cpu_set_text(cpus, a);
    numa_mask nodes = memory_manager_nodes(p->memory, pod->metadata.uid, container);
    struct cpu_set mems = {.words = {nodes}};
    ret->mems = cpu_set_text(&mems, a);
    ret->no_quota = cpu_manager_exclusive(p->cpus, pod->metadata.uid, container) != NULL;
}

bool pinning_has_cpus(const struct pinning *p, struct str pod_uid)
{
    return p != NULL && cpu_manager_has_pod(p->cpus, pod_uid);
}

struct topology *pinning_topology(const struct pinning *p)
{
    return p->topology;
}

const struct cpu_manager *pinning_cpus(const struct pinning *p)
{
    return p->cpus;
}

const struct memory_manager *pinning_memory(const struct pinning *p)
{
    return p->memory;
}

const struct machine_topology *pinning_machine(const struct pinning *p)
{
    return &p->machine;
}
