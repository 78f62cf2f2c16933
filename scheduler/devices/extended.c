/* extended.c - see extended.h. Names of requests are upstream's, by which container and
 * which of its resources they stand for: container-<i>-request-<k>. */
#include "scheduler/devices/extended.h"

#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "lib/api/quantity.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "scheduler/devices/devices.h"
#include "scheduler/resources.h"

#include <stdlib.h>

uint64_t extended_by_class(const struct devices *d, const struct resources *want)
{
    uint64_t bits = 0;
    for (size_t i = 0; d != NULL && i < want->scalar_count && i < EXTENDED_MAX; i++)
        if (want->scalars[i].amount != 0 &&
            devices_class_of_resource(d, str_of(want->scalars[i].name)) != NULL)
            bits |= UINT64_C(1) << i;
    return bits;
}

uint64_t extended_on_node(uint64_t by_class, const struct resources *want,
                          const struct resources *have)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < want->scalar_count && i < EXTENDED_MAX; i++)
        if ((by_class >> i & 1) != 0 && resources_scalar(have, want->scalars[i].name) == 0)
            bits |= UINT64_C(1) << i;
    return bits;
}

bool extended_is_device(const struct devices *d, const struct resources *have, const char *name)
{
    return d != NULL && resources_scalar(have, name) == 0 &&
           devices_class_of_resource(d, str_of(name)) != NULL;
}

/* --- containers and their resources -------------------------------------------------------------
 */

struct visit {
    struct arena *arena;
    void (*fn)(void *arg, const struct core_v1_container *c, struct str resource,
               const struct quantity *amount, struct str request);
    void *arg;
};

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct api_quantity_entry *)x)->key,
                   ((const struct api_quantity_entry *)y)->key);
}

static void visit_container(const struct visit *v, const struct core_v1_container *c, size_t at)
{
    size_t n = c->resources.requests_count;
    struct api_quantity_entry *sorted = ARENA_ARRAY(v->arena, struct api_quantity_entry, n + 1);
    for (size_t i = 0; i < n; i++)
        sorted[i] = c->resources.requests[i];
    qsort(sorted, n, sizeof(*sorted), by_key);
    for (size_t i = 0; i < n; i++) {
        struct quantity q = quantity_of(&sorted[i].value);
        if (!quantity_is_zero(&q))
            v->fn(v->arg, c, sorted[i].key, &q,
                  arena_printf(v->arena, "container-%zu-request-%zu", at, i));
    }
}

/* Init containers come first, then the others. */
static void visit_requests(const struct visit *v, const struct core_v1_pod_spec *s)
{
    for (size_t i = 0; i < s->init_containers_count; i++)
        visit_container(v, &s->init_containers[i], i);
    for (size_t i = 0; i < s->containers_count; i++)
        visit_container(v, &s->containers[i], s->init_containers_count + i);
}

/* --- the claim ----------------------------------------------------------------------------------
 */

struct gather {
    const struct devices *devices;
    struct arena *arena;
    const struct resources *want;
    uint64_t bits;
    struct resource_v1_device_request *list;
    size_t count, cap;
};

static bool is_wanted(const struct gather *g, struct str resource)
{
    for (size_t i = 0; i < g->want->scalar_count && i < EXTENDED_MAX; i++)
        if (str_eqc(resource, g->want->scalars[i].name))
            return (g->bits >> i & 1) != 0;
    return false;
}

static void add_request(void *arg, const struct core_v1_container *c, struct str resource,
                        const struct quantity *amount, struct str request)
{
    struct gather *g = arg;
    UNUSED(c);
    if (!is_wanted(g, resource))
        return;
    const struct api_object *class = devices_class_of_resource(g->devices, resource);
    struct resource_v1_exact_device_request *x =
        ARENA_NEW(g->arena, struct resource_v1_exact_device_request);
    x->device_class_name = api_object_meta(class)->name;
    x->allocation_mode = STR("ExactCount");
    x->count = quantity_value(amount);
    g->list = arena_grow(g->arena, g->list, g->count, &g->cap, sizeof(*g->list));
    g->list[g->count++] = (struct resource_v1_device_request){.name = request, .exactly = x};
}

static int by_name(const void *x, const void *y)
{
    return str_cmp(((const struct resource_v1_device_request *)x)->name,
                   ((const struct resource_v1_device_request *)y)->name);
}

struct resource_v1_resource_claim *extended_claim(const struct devices *d, struct arena *a,
                                                  const struct core_v1_pod *pod,
                                                  const struct resources *want, uint64_t devices)
{
    struct gather g = {.devices = d, .arena = a, .want = want, .bits = devices};
    const struct visit v = {a, add_request, &g};
    struct resource_v1_resource_claim *c = ARENA_NEW(a, struct resource_v1_resource_claim);
    struct meta_v1_owner_reference *owner = ARENA_NEW(a, struct meta_v1_owner_reference);
    struct api_str_entry *mark = ARENA_NEW(a, struct api_str_entry);
    visit_requests(&v, &pod->spec);
    if (g.count != 0)
        qsort(g.list, g.count, sizeof(*g.list), by_name);
    *mark = (struct api_str_entry){STR(EXTENDED_CLAIM_ANNOTATION), STR("true")};
    *owner = (struct meta_v1_owner_reference){.api_version = STR("v1"),
                                              .kind = STR("Pod"),
                                              .name = pod->metadata.name,
                                              .uid = pod->metadata.uid,
                                              .has_controller = true,
                                              .controller = true};
    c->metadata.name = STR(EXTENDED_CLAIM_NAME);
    c->metadata.namespace = pod->metadata.namespace;
    c->metadata.generate_name =
        arena_printf(a, STR_FMT "-extended-resources-", STR_ARG(pod->metadata.name));
    c->metadata.uid = arena_printf(a, "extended-resources/" STR_FMT, STR_ARG(pod->metadata.uid));
    c->metadata.annotations = mark;
    c->metadata.annotations_count = 1;
    c->metadata.owner_references = owner;
    c->metadata.owner_references_count = 1;
    c->spec.devices.requests = g.list;
    c->spec.devices.requests_count = g.count;
    return c;
}

/* --- the pod's status ---------------------------------------------------------------------------
 */

struct mapping {
    struct arena *arena;
    const struct resource_v1_resource_claim *claim;
    struct core_v1_pod_extended_resource_claim_status *ret;
    size_t cap;
};

static void add_mapping(void *arg, const struct core_v1_container *c, struct str resource,
                        const struct quantity *amount, struct str request)
{
    struct mapping *m = arg;
    struct core_v1_pod_extended_resource_claim_status *s = m->ret;
    UNUSED(amount);
    for (size_t i = 0; i < m->claim->spec.devices.requests_count; i++) {
        if (!str_eq(m->claim->spec.devices.requests[i].name, request))
            continue;
        s->request_mappings = arena_grow(m->arena, s->request_mappings, s->request_mappings_count,
                                         &m->cap, sizeof(*s->request_mappings));
        s->request_mappings[s->request_mappings_count++] =
            (struct core_v1_container_extended_resource_request){
                .container_name = c->name, .resource_name = resource, .request_name = request};
    }
}

void extended_claim_status(struct arena *a, const struct core_v1_pod *pod,
                           const struct resource_v1_resource_claim *claim,
                           struct core_v1_pod_extended_resource_claim_status *ret)
{
    struct mapping m = {.arena = a, .claim = claim, .ret = ret};
    const struct visit v = {a, add_mapping, &m};
    *ret = (struct core_v1_pod_extended_resource_claim_status){.resource_claim_name =
                                                                   claim->metadata.name};
    visit_requests(&v, &pod->spec);
}
