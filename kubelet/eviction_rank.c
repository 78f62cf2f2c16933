/* eviction_rank.c - see eviction.h: which pods go first, and what they are told. */
#include "kubelet/eviction.h"

#include "kubelet/resources.h"
#include "kubelet/usage_view.h"

#include "lib/api/quantity.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/client/reclaim.h"

#include "api/core_v1.h"

#include <stdlib.h>

#define CRITICAL_PRIORITY 2000000000
#define HARD_GRACE_S 1

enum part {
    LAYERS = 1,
    REST = 2
}; /* Of a pod's use of disks: its containers' layers; volumes, logs. */

static const struct api_quantity_entry *requests_of(const struct core_v1_container *c,
                                                    size_t *ret_count)
{
    *ret_count = c->resources.requests_count;
    return c->resources.requests;
}

static int64_t container_amount(const struct core_v1_container *c, const char *resource, bool limit)
{
    int64_t v = 0;
    size_t n = c->resources.limits_count;
    const struct api_quantity_entry *list = c->resources.limits;
    if (!limit)
        list = requests_of(c, &n);
    resource_value(list, n, resource, &v);
    return v;
}

/* App containers and sidecars together, or the largest init container. */
static int64_t pod_amount(const struct core_v1_pod *pod, const char *resource, bool limit)
{
    int64_t sum = 0, init = 0, v;
    for (size_t i = 0; i < pod->spec.init_containers_count; i++) {
        const struct core_v1_container *c = &pod->spec.init_containers[i];
        v = container_amount(c, resource, limit);
        if (container_is_sidecar(c))
            sum += v;
        else
            init = MAX_OF(init, v + sum);
    }
    for (size_t i = 0; i < pod->spec.containers_count; i++)
        sum += container_amount(&pod->spec.containers[i], resource, limit);
    sum = MAX_OF(sum, init);
    if (pod->spec.resources != NULL) {
        const struct core_v1_resource_requirements *r = pod->spec.resources;
        if (limit)
            resource_value(r->limits, r->limits_count, resource, &sum);
        else
            resource_value(r->requests, r->requests_count, resource, &sum);
    }
    return sum;
}

static int64_t files_use(const struct usage_files *f, bool inodes)
{
    return f->known ? (int64_t)(inodes ? f->inodes_used : f->used_bytes) : 0;
}

static int64_t container_disk(const struct usage_container *c, unsigned parts, bool inodes)
{
    return ((parts & LAYERS) != 0 ? files_use(&c->layer, inodes) : 0) +
           ((parts & REST) != 0 ? files_use(&c->logs, inodes) : 0);
}

static int64_t pod_disk(const struct usage_pod *p, unsigned parts, bool inodes)
{
    int64_t sum = 0;
    for (size_t i = 0; i < p->container_count; i++)
        sum += container_disk(&p->containers[i], parts, inodes);
    for (size_t i = 0; (parts & REST) != 0 && i < p->volume_count; i++)
        sum += p->volumes[i].ephemeral ? files_use(&p->volumes[i].files, inodes) : 0;
    return sum;
}

/* --- ranks ----------------------------------------------------------------------------------- */

struct rank {
    struct eviction_pod pod;
    bool known, exceeds;
    int32_t priority;
    int64_t above; /* Use less request. */
};

static int64_t use_of(enum eviction_signal s, bool own_imagefs, const struct usage_pod *p)
{
    switch (s) {
    case EVICTION_MEMORY:
    case EVICTION_ALLOCATABLE:
        return (int64_t)p->u.working_set_bytes;
    case EVICTION_PIDS:
        return (int64_t)p->u.processes;
    case EVICTION_NODEFS:
    case EVICTION_NODEFS_INODES:
        return pod_disk(p, own_imagefs ? REST : LAYERS | REST, s == EVICTION_NODEFS_INODES);
    default:
        return pod_disk(p, own_imagefs ? LAYERS : LAYERS | REST,
                        s == EVICTION_IMAGEFS_INODES || s == EVICTION_CONTAINERFS_INODES);
    }
}

static bool is_known(enum eviction_signal s, const struct usage_pod *p)
{
    if (p == NULL)
        return false;
    return (s != EVICTION_MEMORY && s != EVICTION_ALLOCATABLE) || p->u.has_memory;
}

/* What the pod may use before it goes ahead of others. Processes are not asked for: priority alone
 * comes first. The memory of a reclaiming pod is somebody else's. */
static int64_t entitled_to(enum eviction_signal s, const struct core_v1_pod *pod)
{
    bool memory = s == EVICTION_MEMORY || s == EVICTION_ALLOCATABLE;
    if (s == EVICTION_PIDS || (memory && pod_reclaims(pod)))
        return 0;
    return pod_amount(pod, eviction_resource_name(s), false);
}

static int by_rank(const void *x, const void *y)
{
    const struct rank *a = x, *b = y;
    if (a->known != b->known)
        return a->known ? 1 : -1;
    if (a->exceeds != b->exceeds)
        return a->exceeds ? -1 : 1;
    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    return (a->above < b->above) - (a->above > b->above);
}

void eviction_rank(enum eviction_signal s, bool own_imagefs, struct eviction_pod *pods,
                   size_t count)
{
    AUTO_ARENA *a = arena_new(0);
    struct rank *list = ARENA_ARRAY(a, struct rank, count + 1);
    for (size_t i = 0; i < count; i++) {
        const struct core_v1_pod *pod = pods[i].pod;
        struct rank *r = &list[i];
        *r = (struct rank){.pod = pods[i], .known = is_known(s, pods[i].use)};
        r->priority = pod->spec.has_priority ? pod->spec.priority : 0;
        if (!r->known)
            continue;
        int64_t use = use_of(s, own_imagefs, pods[i].use);
        r->above = use - entitled_to(s, pod);
        r->exceeds = s != EVICTION_PIDS && r->above > 0;
    }
    qsort(list, count, sizeof(*list), by_rank);
    for (size_t i = 0; i < count; i++)
        pods[i] = list[i].pod;
}

bool eviction_is_critical(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->metadata.annotations_count; i++) {
        const struct api_str_entry *e = &pod->metadata.annotations[i];
        if (str_eqc(e->key, "kubernetes.io/config.mirror") ||
            (str_eqc(e->key, "kubernetes.io/config.source") && !str_eqc(e->value, "api")))
            return true;
    }
    return pod->spec.has_priority && pod->spec.priority >= CRITICAL_PRIORITY;
}

int64_t eviction_grace_s(const struct eviction_threshold *t, const struct core_v1_pod *pod,
                         int64_t max_pod_grace_s)
{
    if (!t->soft)
        return HARD_GRACE_S;
    int64_t own = pod->spec.has_termination_grace_period_seconds
                      ? pod->spec.termination_grace_period_seconds
                      : 30;
    return max_pod_grace_s < 0 ? own : MIN_OF(own, max_pod_grace_s);
}

/* --- texts ---------------------------------------------------------------------------------------
 */

static const char *amount_text(struct arena *a, int64_t v, bool binary)
{
    struct quantity q = quantity_from_int(v, binary ? QUANTITY_BINARY_SI : QUANTITY_DECIMAL_SI);
    return str_c(quantity_str(a, &q));
}

static const struct core_v1_container *spec_of(const struct core_v1_pod *pod, const char *name)
{
    for (size_t i = 0; i < pod->spec.containers_count; i++)
        if (str_eqc(pod->spec.containers[i].name, name))
            return &pod->spec.containers[i];
    for (size_t i = 0; i < pod->spec.init_containers_count; i++)
        if (str_eqc(pod->spec.init_containers[i].name, name))
            return &pod->spec.init_containers[i];
    return NULL;
}

const char *eviction_message(struct arena *a, const struct eviction_threshold *t,
                             const struct eviction_reading *reading, const struct eviction_pod *p)
{
    const char *resource = eviction_resource_name(t->signal);
    bool memory = strcmp(resource, "memory") == 0,
         disk = strcmp(resource, "ephemeral-storage") == 0;
    AUTO_BUF b = BUF_INIT;
    buf_printf(&b, "The node was low on resource: %s. ", resource);
    if (reading->known)
        buf_printf(
            &b, "Threshold quantity: %s, available: %s. ",
            amount_text(a, eviction_amount_of(&t->amount, reading->capacity), memory || disk),
            amount_text(a, reading->available, memory || disk));
    for (size_t i = 0; p->use != NULL && (memory || disk) && i < p->use->container_count; i++) {
        const struct usage_container *c = &p->use->containers[i];
        const struct core_v1_container *spec = spec_of(p->pod, c->name);
        if (spec == NULL)
            continue;
        int64_t request = container_amount(spec, resource, false);
        int64_t use =
            memory ? (int64_t)c->u.working_set_bytes : container_disk(c, LAYERS | REST, false);
        if (use > request)
            buf_printf(&b,
                       "Container %s was using %s, request is %s, has larger consumption of %s. ",
                       c->name, amount_text(a, use, true), amount_text(a, request, true), resource);
    }
    return str_c(arena_str(a, buf_str(&b)));
}

/* --- limits of local storage -------------------------------------------------------------------
 */

static int64_t size_limit(const struct core_v1_volume *v)
{
    if (v->volume_source.empty_dir == NULL || v->volume_source.empty_dir->size_limit == NULL)
        return 0;
    struct quantity q = quantity_of(v->volume_source.empty_dir->size_limit);
    return quantity_value(&q);
}

bool eviction_has_limits(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->spec.volumes_count; i++)
        if (size_limit(&pod->spec.volumes[i]) > 0)
            return true;
    return pod_amount(pod, "ephemeral-storage", true) > 0;
}

static const char *over_volume(struct arena *a, const struct eviction_pod *p)
{
    for (size_t i = 0; i < p->pod->spec.volumes_count; i++) {
        const struct core_v1_volume *v = &p->pod->spec.volumes[i];
        int64_t limit = size_limit(v);
        for (size_t k = 0; limit > 0 && k < p->use->volume_count; k++)
            if (str_eqc(v->name, p->use->volumes[k].name) &&
                files_use(&p->use->volumes[k].files, false) > limit)
                return str_c(arena_printf(
                    a, "Usage of EmptyDir volume \"" STR_FMT "\" exceeds the limit \"%s\". ",
                    STR_ARG(v->name), amount_text(a, limit, true)));
    }
    return NULL;
}

static const char *over_container(struct arena *a, const struct eviction_pod *p)
{
    for (size_t i = 0; i < p->use->container_count; i++) {
        const struct usage_container *c = &p->use->containers[i];
        const struct core_v1_container *spec = spec_of(p->pod, c->name);
        int64_t limit = spec != NULL ? container_amount(spec, "ephemeral-storage", true) : 0;
        if (limit > 0 && container_disk(c, LAYERS | REST, false) > limit)
            return str_c(
                arena_printf(a, "Container %s exceeded its local ephemeral storage limit \"%s\". ",
                             c->name, amount_text(a, limit, true)));
    }
    return NULL;
}

const char *eviction_over_limit(struct arena *a, const struct eviction_pod *p)
{
    if (p->use == NULL)
        return NULL;
    const char *message = over_volume(a, p);
    if (message != NULL)
        return message;
    int64_t limit = pod_amount(p->pod, "ephemeral-storage", true);
    if (limit > 0 && pod_disk(p->use, LAYERS | REST, false) > limit)
        return str_c(arena_printf(
            a, "Pod ephemeral local storage usage exceeds the total limit of containers %s. ",
            amount_text(a, limit, true)));
    return over_container(a, p);
}
