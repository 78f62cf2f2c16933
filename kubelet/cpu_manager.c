/* cpu_manager.c - see cpu_manager.h: what containers ask for, get and give back. Configuration is
 * in cpu_manager_config.c. */
#include "kubelet/cpu_manager_internal.h"

#include "kubelet/admission.h"
#include "kubelet/resources.h"

#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"

#include <string.h>

/* --- what is asked for ---------------------------------------------------------------------- */

/* 0: it shares. */
static int64_t wanted(const struct cpu_manager *m, const struct core_v1_pod *pod,
                      const struct core_v1_container *c)
{
    const struct core_v1_resource_requirements *r = &c->resources, *all = pod->spec.resources;
    int64_t milli;
    if (!m->config.is_static || pod_qos_class(pod) != QOS_GUARANTEED)
        return 0;
    if (all != NULL && (all->requests_count > 0 || all->limits_count > 0))
        return 0;
    if (!resource_milli(r->requests, r->requests_count, "cpu", &milli) &&
        !resource_milli(r->limits, r->limits_count, "cpu", &milli))
        return 0;
    return milli > 0 && milli % 1000 == 0 ? milli / 1000 : 0;
}

/* Init containers run one after another, sidecars and the others at once. */
static int64_t wanted_by_pod(const struct cpu_manager *m, const struct core_v1_pod *pod)
{
    const struct core_v1_pod_spec *s = &pod->spec;
    int64_t init = 0, sidecars = 0, apps = 0;
    for (size_t i = 0; i < s->init_containers_count; i++) {
        int64_t n = wanted(m, pod, &s->init_containers[i]);
        if (container_is_sidecar(&s->init_containers[i]))
            sidecars += n;
        else
            init = MAX_OF(init, sidecars + n);
    }
    for (size_t i = 0; i < s->containers_count; i++)
        apps += wanted(m, pod, &s->containers[i]);
    return MAX_OF(init, sidecars + apps);
}

/* --- what is free ----------------------------------------------------------------------------- */

static struct cpu_set available(const struct cpu_manager *m)
{
    return cpu_set_minus(&m->state.shared, &m->reserved);
}

static bool is_init(const struct core_v1_pod *pod, struct str name, bool *ret_sidecar)
{
    for (size_t i = 0; i < pod->spec.init_containers_count; i++) {
        const struct core_v1_container *c = &pod->spec.init_containers[i];
        *ret_sidecar = container_is_sidecar(c);
        if (str_eq(c->name, name))
            return true;
    }
    return false;
}

/* Processors of the pod's init containers that none that runs beside the others has: they have
 * ended when those start. Told by the state, so that it is the same after a restart. */
static struct cpu_set reusable(const struct cpu_manager *m, const struct core_v1_pod *pod)
{
    struct cpu_set of_init = {0}, of_others = {0};
    for (size_t i = 0; i < m->state.count; i++) {
        const struct cpu_assignment *x = &m->state.items[i];
        bool sidecar;
        if (!str_eqc(pod->metadata.uid, x->pod))
            continue;
        struct cpu_set *to =
            is_init(pod, str_of(x->container), &sidecar) && !sidecar ? &of_init : &of_others;
        *to = cpu_set_or(to, &x->cpus);
    }
    return cpu_set_minus(&of_init, &of_others);
}

/* --- hints --------------------------------------------------------------------------------------
 */

static int sockets_of(const struct cpu_manager *m, numa_mask nodes)
{
    struct cpu_set cpus = machine_cpus_of(m->machine, nodes), seen = {0};
    CPU_SET_FOREACH(cpu, &cpus)
    {
        cpu_set_add(&seen, m->machine->places[cpu].socket);
    }
    return cpu_set_count(&seen);
}

/* With align-by-socket as few sockets do as the smallest set of nodes needs. */
static bool is_socket_aligned(const struct cpu_manager *m, numa_mask nodes, int least)
{
    int per_socket = numa_mask_count(m->nodes) / MAX_OF(m->machine->socket_count, 1);
    return per_socket > 0 && sockets_of(m, nodes) == (least + per_socket - 1) / per_socket;
}

/* free: may be taken; must: belong to it, so that every hint has their nodes. */
static void add_hints(const struct cpu_manager *m, struct topology_hints *h,
                      const struct cpu_set *free_cpus, const struct cpu_set *must, int64_t want)
{
    struct topology_resource_hints *r = topology_hints_add(h, "cpu");
    numa_mask must_nodes = machine_numa_of(m->machine, must), nodes = 0;
    int least = numa_mask_count(m->nodes);
    struct cpu_set all = cpu_set_or(free_cpus, must);
    while (numa_mask_next(m->nodes, &nodes)) {
        struct cpu_set here = machine_cpus_of(m->machine, nodes);
        if (cpu_set_count(&here) >= want)
            least = MIN_OF(least, numa_mask_count(nodes));
        struct cpu_set usable = cpu_set_and(&here, &all);
        if ((must_nodes & ~nodes) == 0 && cpu_set_count(&usable) >= want)
            topology_hint_add(h, r, nodes, false);
    }
    for (size_t i = 0; i < r->count; i++)
        r->hints[i].preferred =
            numa_mask_count(r->hints[i].nodes) == least ||
            (m->config.align_sockets && is_socket_aligned(m, r->hints[i].nodes, least));
}

static void container_hints(void *arg, const struct core_v1_pod *pod,
                            const struct core_v1_container *c, struct topology_hints *h)
{
    const struct cpu_manager *m = arg;
    const struct cpu_set *has = cpu_state_find(&m->state, pod->metadata.uid, c->name);
    const struct cpu_set none = {0};
    int64_t want = wanted(m, pod, c);
    if (want == 0)
        return;
    if (has != NULL && cpu_set_count(has) != want) {
        topology_hints_add(h, "cpu"); /* It cannot be had: as upstream. */
        return;
    }
    struct cpu_set free_cpus = available(m), reuse = reusable(m, pod);
    add_hints(m, h, has != NULL ? has : &free_cpus, has != NULL ? &none : &reuse, want);
}

static void pod_hints(void *arg, const struct core_v1_pod *pod, struct topology_hints *h)
{
    const struct cpu_manager *m = arg;
    const struct cpu_set none = {0};
    int64_t want = wanted_by_pod(m, pod);
    struct cpu_set has = {0};
    if (want == 0)
        return;
    for (size_t i = 0; i < m->state.count; i++)
        if (str_eqc(pod->metadata.uid, m->state.items[i].pod))
            has = cpu_set_or(&has, &m->state.items[i].cpus);
    if (!cpu_set_is_empty(&has) && cpu_set_count(&has) != want) {
        topology_hints_add(h, "cpu");
        return;
    }
    struct cpu_set free_cpus = available(m);
    add_hints(m, h, cpu_set_is_empty(&has) ? &free_cpus : &has, &none, want);
}

/* --- giving and taking
 * ---------------------------------------------------------------------------- */

static bool refuse_smt(struct arena *a, struct admission_refusal *ret, int64_t want, int per_core,
                       const struct cpu_set *physical)
{
    ret->reason = "SMTAlignmentError";
    struct str text =
        physical == NULL
            ? arena_printf(a,
                           "SMT Alignment Error: requested %lld cpus not multiple cpus per core = "
                           "%d",
                           (long long)want, per_core)
            : arena_printf(a,
                           "SMT Alignment Error: not enough free physical CPUs: available "
                           "physical CPUs = %d, requested CPUs = %lld, CPUs per core = %d",
                           cpu_set_count(physical), (long long)want, per_core);
    ret->message = str_c(text);
    return false;
}

/* Threads of reserved cores do not count: whoever has such a core would share it. */
static struct cpu_set physical(const struct cpu_manager *m, const struct cpu_set *reuse)
{
    struct cpu_set taken = machine_with_siblings(m->machine, &m->reserved);
    struct cpu_set s = cpu_set_or(&m->state.shared, reuse);
    return cpu_set_minus(&s, &taken);
}

static struct cpu_set aligned_to(const struct cpu_manager *m, numa_mask nodes)
{
    struct cpu_set here = machine_cpus_of(m->machine, nodes), sockets = {0}, all = {0};
    if (!m->config.align_sockets)
        return here;
    CPU_SET_FOREACH(cpu, &here)
    {
        cpu_set_add(&sockets, m->machine->places[cpu].socket);
    }
    CPU_SET_FOREACH(cpu, &m->machine->online)
    {
        if (cpu_set_has(&sockets, m->machine->places[cpu].socket))
            cpu_set_add(&all, cpu);
    }
    return all;
}

/* Of these nodes first, then of the others. */
static bool pick(const struct cpu_manager *m, const struct cpu_set *from, int want, numa_mask nodes,
                 struct cpu_set *ret)
{
    struct cpu_set first = {0}, rest;
    if (nodes != 0) {
        struct cpu_set near_cpus = aligned_to(m, nodes);
        near_cpus = cpu_set_and(&near_cpus, from);
        int count = cpu_set_count(&near_cpus);
        if (!cpu_pick(m->machine, &m->rules, &near_cpus, MIN_OF(count, want), &first))
            return false;
    }
    struct cpu_set others = cpu_set_minus(from, &first);
    if (!cpu_pick(m->machine, &m->rules, &others, want - cpu_set_count(&first), &rest))
        return false;
    *ret = cpu_set_or(&first, &rest);
    return true;
}

static bool give(struct cpu_manager *m, struct arena *a, const struct core_v1_pod *pod,
                 const struct core_v1_container *c, int64_t want, numa_mask nodes,
                 struct admission_refusal *ret)
{
    struct cpu_set reuse = reusable(m, pod), from = available(m), cpus;
    int per_core = machine_cpus_per_core(m->machine);
    from = cpu_set_or(&from, &reuse);
    if (m->config.full_cores) {
        struct cpu_set whole = physical(m, &reuse);
        if (want % per_core != 0)
            return refuse_smt(a, ret, want, per_core, NULL);
        if (want > cpu_set_count(&whole))
            return refuse_smt(a, ret, want, per_core, &whole);
        from = cpu_set_and(&from, &whole);
    }
    if (want > CPU_MAX || !pick(m, &from, (int)want, nodes, &cpus)) {
        ret->message = str_c(arena_printf(
            a, "not enough cpus available to satisfy request: requested=%lld, available=%d",
            (long long)want, cpu_set_count(&from)));
        return false;
    }
    m->state.shared = cpu_set_minus(&m->state.shared, &cpus);
    cpu_state_set(&m->state, pod->metadata.uid, c->name, &cpus);
    m->generation++;
    log_info("pod " STR_FMT "/" STR_FMT " container " STR_FMT " has CPUs %s for itself; shared: %s",
             STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.name), STR_ARG(c->name),
             cpu_set_text(&cpus, a), cpu_set_text(&m->state.shared, a));
    return true;
}

static bool allocate(void *arg, struct arena *a, const struct core_v1_pod *pod,
                     const struct core_v1_container *c, const struct topology_hint *hint,
                     struct admission_refusal *ret)
{
    struct cpu_manager *m = arg;
    int64_t want = wanted(m, pod, c);
    if (want == 0 || cpu_state_find(&m->state, pod->metadata.uid, c->name) != NULL)
        return true;
    m->counts.requests++;
    if (give(m, a, pod, c, want, hint->nodes, ret))
        return true;
    m->counts.errors++;
    return false;
}

static void free_pod(void *arg, struct str uid)
{
    struct cpu_manager *m = arg;
    bool any = false;
    for (size_t i = m->state.count; i-- > 0;) {
        if (!str_eqc(uid, m->state.items[i].pod))
            continue;
        m->state.shared = cpu_set_or(&m->state.shared, &m->state.items[i].cpus);
        cpu_state_remove(&m->state, i);
        any = true;
    }
    if (!any)
        return;
    AUTO_ARENA *a = arena_new(0);
    m->generation++;
    log_info("pod with uid " STR_FMT " has given its CPUs back; shared: %s", STR_ARG(uid),
             cpu_set_text(&m->state.shared, a));
}

void cpu_manager_provider(struct cpu_manager *m, struct topology_provider *ret)
{
    *ret = (struct topology_provider){.name = "cpu",
                                      .arg = m,
                                      .container_hints = container_hints,
                                      .pod_hints = pod_hints,
                                      .allocate = allocate,
                                      .free_pod = free_pod};
}

/* --- questions -----------------------------------------------------------------------------------
 */

uint64_t cpu_manager_generation(const struct cpu_manager *m)
{
    return m->generation;
}

const struct cpu_state *cpu_manager_state(const struct cpu_manager *m)
{
    return &m->state;
}

bool cpu_manager_is_static(const struct cpu_manager *m)
{
    return m->config.is_static;
}

const struct cpu_set *cpu_manager_exclusive(const struct cpu_manager *m, struct str pod_uid,
                                            struct str container)
{
    return cpu_state_find(&m->state, pod_uid, container);
}

const struct cpu_set *cpu_manager_affinity(const struct cpu_manager *m, struct str pod_uid,
                                           struct str container)
{
    const struct cpu_set *own = cpu_state_find(&m->state, pod_uid, container);
    if (own != NULL || !m->config.is_static)
        return own;
    /* Nothing shared is left: upstream leaves such a container where it was. */
    return cpu_set_is_empty(&m->state.shared) ? NULL : &m->state.shared;
}

bool cpu_manager_has_pod(const struct cpu_manager *m, struct str pod_uid)
{
    for (size_t i = 0; i < m->state.count; i++)
        if (str_eqc(pod_uid, m->state.items[i].pod))
            return true;
    return false;
}

struct cpu_set cpu_manager_allocatable(const struct cpu_manager *m)
{
    return m->config.is_static ? cpu_set_minus(&m->machine->online, &m->reserved)
                               : m->machine->online;
}

struct cpu_set cpu_manager_shared(const struct cpu_manager *m)
{
    return m->state.shared;
}

const struct cpu_manager_counts *cpu_manager_counts(const struct cpu_manager *m)
{
    return &m->counts;
}
