/* device_hints.c - see device_state.h: from which NUMA nodes a container can have its devices. */
#include "kubelet/device_state.h"

#include "kubelet/resources.h"
#include "lib/base/arena.h"

#include "api/core_v1.h"

struct hint_case {
    const struct device_resource *r;
    struct map must, may; /* Ids. */
    size_t need;
};

static bool any_near(const struct device_resource *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (r->devices[i].nodes != 0)
            return true;
    return false;
}

/* How many devices that may be had are near these nodes; 0 if one that must be used is not. */
static size_t matching(const struct hint_case *x, numa_mask nodes)
{
    size_t n = 0;
    for (size_t i = 0; i < x->r->count; i++) {
        const struct device *d = &x->r->devices[i];
        bool near = (d->nodes & nodes) != 0;
        if (map_has(&x->must, str_of(d->id)) && d->nodes != 0 && !near)
            return 0;
        n += near && (map_has(&x->must, str_of(d->id)) || map_has(&x->may, str_of(d->id)));
    }
    return n;
}

static void add_hints(const struct hint_case *x, numa_mask machine, struct topology_hints *h,
                      struct topology_resource_hints *out)
{
    int fewest = numa_mask_count(machine);
    for (numa_mask m = 0; numa_mask_next(machine, &m);) {
        size_t all = 0;
        for (size_t i = 0; i < x->r->count; i++)
            all += (x->r->devices[i].nodes & m) != 0;
        if (all >= x->need)
            fewest = MIN_OF(fewest, numa_mask_count(m));
    }
    for (numa_mask m = 0; numa_mask_next(machine, &m);)
        if (matching(x, m) >= x->need)
            topology_hint_add(h, out, m, numa_mask_count(m) == fewest);
}

/* The most that containers of the pod use at the same time. */
static int64_t pod_request(const struct core_v1_pod *pod, struct str resource)
{
    int64_t sidecars = 0, most = 0, apps = 0;
    for (size_t i = 0; i < pod->spec.init_containers_count; i++) {
        const struct core_v1_container *c = &pod->spec.init_containers[i];
        int64_t n = device_request(c, resource);
        if (container_is_sidecar(c))
            sidecars += n;
        most = MAX_OF(most, container_is_sidecar(c) ? sidecars : sidecars + n);
    }
    for (size_t i = 0; i < pod->spec.containers_count; i++)
        apps += device_request(&pod->spec.containers[i], resource);
    return MAX_OF(most, sidecars + apps);
}

/* What the container (c NULL: any of the pod) has already. */
static void find_granted(const struct device_state *s, const struct core_v1_pod *pod,
                         const struct core_v1_container *c, struct str resource, struct map *ids)
{
    LIST_FOREACH (it, &s->grants) {
        struct device_grant *g = LIST_ENTRY(it, struct device_grant, link);
        if (!str_eqc(pod->metadata.uid, g->pod_uid) || !str_eqc(resource, g->resource) ||
            (c != NULL && !str_eqc(c->name, g->container)))
            continue;
        for (size_t i = 0; i < g->count; i++)
            map_set(ids, str_of(g->ids[i]), g);
    }
}

static void hint_resource(const struct device_state *s, const struct core_v1_pod *pod,
                          const struct core_v1_container *c, const struct device_resource *r,
                          size_t need, numa_mask machine, struct topology_hints *h)
{
    struct topology_resource_hints *out = topology_hints_add(h, r->name);
    struct hint_case x = {.r = r, .need = need};
    struct map used;
    if (!any_near(r)) {
        out->any = true;
        return;
    }
    map_init(&x.must);
    map_init(&x.may);
    map_init(&used);
    find_granted(s, pod, c, str_of(r->name), &x.must);
    bool has = x.must.count > 0;
    if (!has) {
        device_find_used(s, str_of(r->name), &used);
        if (c != NULL)
            device_find_reusable(s, pod, c, str_of(r->name), &x.must);
        for (size_t i = 0; i < r->count; i++)
            if (r->devices[i].healthy && !map_has(&used, str_of(r->devices[i].id)))
                map_set(&x.may, str_of(r->devices[i].id), &r->devices[i]);
    }
    if (has ? x.must.count == need : x.must.count + x.may.count >= need)
        add_hints(&x, machine, h, out);
    map_done(&used);
    map_done(&x.must);
    map_done(&x.may);
}

void device_hints(const struct device_state *s, const struct core_v1_pod *pod,
                  const struct core_v1_container *c, numa_mask machine, struct topology_hints *h)
{
    size_t pos = 0;
    void *v;
    while (map_next(&s->resources, &pos, NULL, &v)) {
        const struct device_resource *r = v;
        int64_t need =
            c != NULL ? device_request(c, str_of(r->name)) : pod_request(pod, str_of(r->name));
        if (need > 0)
            hint_resource(s, pod, c, r, (size_t)need, machine, h);
    }
}
