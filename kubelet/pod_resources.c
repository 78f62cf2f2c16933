/* pod_resources.c - see pod_resources.h: the answers. As upstream each device is an entry of its
 * own, and of init containers sidecars alone are named. */
#include "kubelet/pod_resources.h"

#include "kubelet/cpu_manager.h"
#include "kubelet/device_manager.h"
#include "kubelet/dra.h"
#include "kubelet/dra_state.h"
#include "kubelet/kubelet.h"
#include "kubelet/memory_manager.h"
#include "kubelet/pinning.h"
#include "kubelet/pod_worker.h"
#include "kubelet/resources.h"

#include "lib/base/arena.h"
#include "lib/base/log.h"

#include "api/core_v1.h"
#include "pb/csi/podresources_v1.pb-c.h"

typedef Podresources__V1__ContainerDevices container_devices; /* NOLINT: an alias, once. */

static char *text(struct arena *a, struct str s)
{
    return (char *)(uintptr_t)str_c(arena_str(a, s));
}

static Podresources__V1__TopologyInfo *topology_of(struct arena *a, numa_mask nodes)
{
    Podresources__V1__TopologyInfo *t = ARENA_NEW(a, Podresources__V1__TopologyInfo);
    if (nodes == 0)
        return NULL;
    podresources__v1__topology_info__init(t);
    t->nodes = ARENA_ARRAY(a, Podresources__V1__NUMANode *, NUMA_NODE_MAX);
    for (int i = 0; i < NUMA_NODE_MAX; i++) {
        if ((nodes >> i & 1) == 0)
            continue;
        Podresources__V1__NUMANode *n = ARENA_NEW(a, Podresources__V1__NUMANode);
        podresources__v1__numanode__init(n);
        n->id = i;
        t->nodes[t->n_nodes++] = n;
    }
    return t;
}

static container_devices *device_entry(struct arena *a, const char *resource, const char *id,
                                       numa_mask nodes)
{
    container_devices *d = ARENA_NEW(a, container_devices);
    podresources__v1__container_devices__init(d);
    d->resource_name = arena_strdup(a, resource);
    d->device_ids = ARENA_ARRAY(a, char *, 1);
    d->device_ids[0] = arena_strdup(a, id);
    d->n_device_ids = 1;
    d->topology = topology_of(a, nodes);
    return d;
}

static size_t devices_of(const struct kubelet *k, struct arena *a, struct str uid,
                         struct str container, container_devices ***ret)
{
    const struct device_state *s = device_manager_state(k->devices);
    size_t count = 0, cap = 0;
    LIST_FOREACH (it, &s->grants) {
        const struct device_grant *g = LIST_ENTRY(it, struct device_grant, link);
        if (!g->settled || !str_eqc(uid, g->pod_uid) || !str_eqc(container, g->container))
            continue;
        for (size_t i = 0; i < g->count; i++) {
            *ret = arena_grow(a, (void *)*ret, count, &cap, sizeof(**ret));
            (*ret)[count++] = device_entry(a, g->resource, g->ids[i], g->nodes[i]);
        }
    }
    return count;
}

static size_t cpu_ids(struct arena *a, const struct cpu_set *set, int64_t **ret)
{
    size_t count = 0;
    *ret = ARENA_ARRAY(a, int64_t, (size_t)cpu_set_count(set) + 1);
    CPU_SET_FOREACH(cpu, set)
    (*ret)[count++] = cpu;
    return count;
}

static Podresources__V1__ContainerMemory *memory_entry(struct arena *a, const char *type,
                                                       int64_t bytes, numa_mask nodes)
{
    Podresources__V1__ContainerMemory *m = ARENA_NEW(a, Podresources__V1__ContainerMemory);
    podresources__v1__container_memory__init(m);
    m->memory_type = arena_strdup(a, type);
    m->size = (uint64_t)bytes;
    m->topology = topology_of(a, nodes);
    return m;
}

static size_t memory_of(const struct kubelet *k, struct arena *a, struct str uid,
                        struct str container, Podresources__V1__ContainerMemory ***ret)
{
    const struct memory_manager *m = pinning_memory(k->pinning);
    const struct memory_machine *machine = memory_manager_machine(m);
    const struct memory_assignment *has = memory_manager_blocks(m, uid, container);
    if (has == NULL)
        return 0;
    *ret = ARENA_ARRAY(a, Podresources__V1__ContainerMemory *, has->count + 1);
    for (size_t i = 0; i < has->count; i++)
        (*ret)[i] = memory_entry(a, machine->types[has->blocks[i].type], has->blocks[i].bytes,
                                 has->blocks[i].nodes);
    return has->count;
}

/* --- claims --------------------------------------------------------------------------------- */

static Podresources__V1__ClaimResource *claim_resource(struct arena *a, const char *driver,
                                                       const struct dra_device *d)
{
    Podresources__V1__ClaimResource *r = ARENA_NEW(a, Podresources__V1__ClaimResource);
    podresources__v1__claim_resource__init(r);
    r->driver_name = arena_strdup(a, driver);
    r->pool_name = arena_strdup(a, d->pool);
    r->device_name = arena_strdup(a, d->device);
    if (d->share != NULL)
        r->share_id = arena_strdup(a, d->share);
    r->cdi_devices = ARENA_ARRAY(a, Podresources__V1__CDIDevice *, d->cdi_count + 1);
    for (size_t i = 0; i < d->cdi_count; i++) {
        Podresources__V1__CDIDevice *c = ARENA_NEW(a, Podresources__V1__CDIDevice);
        podresources__v1__cdidevice__init(c);
        c->name = arena_strdup(a, d->cdi[i]);
        r->cdi_devices[r->n_cdi_devices++] = c;
    }
    return r;
}

static Podresources__V1__DynamicResource *dynamic_resource(struct arena *a,
                                                           const struct dra_claim *c)
{
    Podresources__V1__DynamicResource *r = ARENA_NEW(a, Podresources__V1__DynamicResource);
    podresources__v1__dynamic_resource__init(r);
    size_t count = 0;
    for (size_t i = 0; i < c->driver_count; i++)
        count += c->drivers[i].device_count;
    r->claim_name = arena_strdup(a, c->name);
    r->claim_namespace = arena_strdup(a, c->namespace_name);
    r->claim_resources = ARENA_ARRAY(a, Podresources__V1__ClaimResource *, count + 1);
    for (size_t i = 0; i < c->driver_count; i++)
        for (size_t k = 0; k < c->drivers[i].device_count; k++)
            r->claim_resources[r->n_claim_resources++] =
                claim_resource(a, c->drivers[i].name, &c->drivers[i].devices[k]);
    return r;
}

/* One that is not prepared yet has nothing. */
static void add_claims(const struct kubelet *k, struct arena *a, const struct core_v1_pod *pod,
                       const struct core_v1_container *c, Podresources__V1__ContainerResources *ret)
{
    struct dra_use *uses;
    size_t count;
    if (dra_uses(k->dra, a, pod, c, &uses, &count, NULL) != 0)
        return;
    ret->dynamic_resources = ARENA_ARRAY(a, Podresources__V1__DynamicResource *, count + 1);
    for (size_t i = 0; i < count; i++) {
        bool again = false;
        for (size_t m = 0; m < i && !again; m++)
            again = uses[m].claim == uses[i].claim;
        if (!again)
            ret->dynamic_resources[ret->n_dynamic_resources++] = dynamic_resource(a, uses[i].claim);
    }
}

/* --- pods ----------------------------------------------------------------------------------- */

static Podresources__V1__ContainerResources *container_resources(const struct kubelet *k,
                                                                 struct arena *a,
                                                                 const struct core_v1_pod *pod,
                                                                 const struct core_v1_container *c)
{
    Podresources__V1__ContainerResources *r = ARENA_NEW(a, Podresources__V1__ContainerResources);
    podresources__v1__container_resources__init(r);
    r->name = text(a, c->name);
    r->n_devices = devices_of(k, a, pod->metadata.uid, c->name, &r->devices);
    const struct cpu_set *cpus =
        cpu_manager_exclusive(pinning_cpus(k->pinning), pod->metadata.uid, c->name);
    if (cpus != NULL)
        r->n_cpu_ids = cpu_ids(a, cpus, &r->cpu_ids);
    r->n_memory = memory_of(k, a, pod->metadata.uid, c->name, &r->memory);
    add_claims(k, a, pod, c, r);
    return r;
}

static Podresources__V1__PodResources *pod_resources_of(const struct kubelet *k, struct arena *a,
                                                        const struct core_v1_pod *pod)
{
    Podresources__V1__PodResources *r = ARENA_NEW(a, Podresources__V1__PodResources);
    const struct core_v1_pod_spec *s = &pod->spec;
    podresources__v1__pod_resources__init(r);
    r->name = text(a, pod->metadata.name);
    r->namespace_ = text(a, pod->metadata.namespace);
    r->containers = ARENA_ARRAY(a, Podresources__V1__ContainerResources *,
                                s->init_containers_count + s->containers_count + 1);
    for (size_t i = 0; i < s->init_containers_count; i++)
        if (container_is_sidecar(&s->init_containers[i]))
            r->containers[r->n_containers++] =
                container_resources(k, a, pod, &s->init_containers[i]);
    for (size_t i = 0; i < s->containers_count; i++)
        r->containers[r->n_containers++] = container_resources(k, a, pod, &s->containers[i]);
    return r;
}

void pod_resources_list(const struct kubelet *k, struct arena *a,
                        Podresources__V1__ListPodResourcesResponse *ret)
{
    size_t pos = 0;
    void *w;
    ret->pod_resources = ARENA_ARRAY(a, Podresources__V1__PodResources *, k->workers.count + 1);
    while (map_next(&k->workers, &pos, NULL, &w))
        if (pod_worker_pod(w) != NULL && pod_worker_holds(w))
            ret->pod_resources[ret->n_pod_resources++] = pod_resources_of(k, a, pod_worker_pod(w));
}

Podresources__V1__PodResources *pod_resources_get(const struct kubelet *k, struct arena *a,
                                                  struct str namespace_name, struct str name)
{
    const struct pod_worker *w = kubelet_find_pod(k, namespace_name, name);
    return w != NULL && pod_worker_holds(w) ? pod_resources_of(k, a, pod_worker_pod(w)) : NULL;
}

/* --- what there is -------------------------------------------------------------------------- */

/* With policy None nobody is promised any. */
static void add_memory(const struct kubelet *k, struct arena *a,
                       Podresources__V1__AllocatableResourcesResponse *ret)
{
    const struct memory_manager *m = pinning_memory(k->pinning);
    const struct memory_machine *machine = memory_manager_machine(m);
    if (!memory_manager_is_static(m))
        return;
    ret->memory = ARENA_ARRAY(a, Podresources__V1__ContainerMemory *,
                              NUMA_NODE_MAX * machine->type_count + 1);
    for (int i = 0; i < NUMA_NODE_MAX; i++)
        for (size_t t = 0; (machine->nodes >> i & 1) != 0 && t < machine->type_count; t++)
            if (machine->node[i].tables[t].allocatable > 0)
                ret->memory[ret->n_memory++] =
                    memory_entry(a, machine->types[t], machine->node[i].tables[t].allocatable,
                                 (numa_mask)1 << i);
}

void pod_resources_allocatable(const struct kubelet *k, struct arena *a,
                               Podresources__V1__AllocatableResourcesResponse *ret)
{
    const struct device_state *s = device_manager_state(k->devices);
    struct cpu_set cpus = cpu_manager_allocatable(pinning_cpus(k->pinning));
    size_t pos = 0, cap = 0;
    void *v;
    while (map_next(&s->resources, &pos, NULL, &v)) {
        const struct device_resource *r = v;
        for (size_t i = 0; i < r->count; i++) {
            if (!r->devices[i].healthy)
                continue;
            ret->devices =
                arena_grow(a, (void *)ret->devices, ret->n_devices, &cap, sizeof(*ret->devices));
            ret->devices[ret->n_devices++] =
                device_entry(a, r->name, r->devices[i].id, r->devices[i].nodes);
        }
    }
    ret->n_cpu_ids = cpu_ids(a, &cpus, &ret->cpu_ids);
    add_memory(k, a, ret);
}
