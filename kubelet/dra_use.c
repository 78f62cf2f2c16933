/* dra_use.c - see dra.h: which claims of a pod a container uses, by the names that its spec has,
 * and what the runtime is to give to it for them. */
#include "kubelet/dra_internal.h"

#include "api/core_v1.h"
#include "lib/api/quantity.h"
#include "lib/base/arena.h"

/* The claim behind an entry of the pod. 0: *ret is empty when none is needed. */
int dra_claim_name(const struct core_v1_pod *pod, const struct core_v1_pod_resource_claim *x,
                   struct str *ret, struct error *err)
{
    *ret = x->resource_claim_name;
    if (x->has_resource_claim_name)
        return 0;
    for (size_t i = 0; i < pod->status.resource_claim_statuses_count; i++) {
        const struct core_v1_pod_resource_claim_status *s = &pod->status.resource_claim_statuses[i];
        if (!str_eq(s->name, x->name))
            continue;
        *ret = s->has_resource_claim_name ? s->resource_claim_name : STR_NULL;
        return 0;
    }
    return error_set(err, E_AGAIN, "pod \"" STR_FMT "/" STR_FMT "\": ResourceClaim not created yet",
                     STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.name));
}

const struct dra_claim *dra_claim_named(const struct dra *d, const struct core_v1_pod *pod,
                                        struct str name)
{
    struct str real = STR_NULL;
    for (size_t i = 0; i < pod->spec.resource_claims_count; i++)
        if (str_eq(pod->spec.resource_claims[i].name, name) &&
            dra_claim_name(pod, &pod->spec.resource_claims[i], &real, NULL) == 0 &&
            !str_empty(real))
            return dra_state_find(&d->state, pod->metadata.namespace, real);
    return NULL;
}

static int find_prepared(const struct dra *d, const struct core_v1_pod *pod, struct str name,
                         const struct dra_claim **ret, struct error *err)
{
    *ret = dra_state_find(&d->state, pod->metadata.namespace, name);
    if (*ret != NULL)
        return 0;
    return error_set(err, E_NOT_FOUND,
                     "internal error: unable to get claim info for ResourceClaim " STR_FMT
                     " in namespace " STR_FMT,
                     STR_ARG(name), STR_ARG(pod->metadata.namespace));
}

static bool asks_for(const struct core_v1_container *c, struct str resource)
{
    for (size_t i = 0; i < c->resources.requests_count; i++) {
        struct quantity q = quantity_of(&c->resources.requests[i].value);
        if (str_eq(c->resources.requests[i].key, resource))
            return !quantity_is_zero(&q);
    }
    return false;
}

struct use_list {
    struct arena *arena;
    struct dra_use *items;
    size_t count, cap;
};

static int add_use(const struct dra *d, const struct core_v1_pod *pod, struct str claim,
                   struct str request, struct use_list *l, struct error *err)
{
    const struct dra_claim *x;
    int rc = find_prepared(d, pod, claim, &x, err);
    if (rc != 0)
        return rc;
    l->items = arena_grow(l->arena, l->items, l->count, &l->cap, sizeof(*l->items));
    l->items[l->count++] = (struct dra_use){x, request};
    return 0;
}

/* What stands for extended resources of the container, as the scheduler noted it. */
static int add_extended(const struct dra *d, const struct core_v1_pod *pod,
                        const struct core_v1_container *c, struct use_list *l, struct error *err)
{
    const struct core_v1_pod_extended_resource_claim_status *s =
        pod->status.extended_resource_claim_status;
    for (size_t i = 0; s != NULL && i < s->request_mappings_count; i++) {
        const struct core_v1_container_extended_resource_request *m = &s->request_mappings[i];
        if (!str_eq(m->container_name, c->name) || !asks_for(c, m->resource_name))
            continue;
        int rc = add_use(d, pod, s->resource_claim_name, m->request_name, l, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int dra_uses(const struct dra *d, struct arena *a, const struct core_v1_pod *pod,
             const struct core_v1_container *c, struct dra_use **ret, size_t *ret_count,
             struct error *err)
{
    struct use_list l = {.arena = a};
    int rc = 0;
    for (size_t i = 0; i < c->resources.claims_count; i++) {
        const struct core_v1_resource_claim *want = &c->resources.claims[i];
        for (size_t k = 0; k < pod->spec.resource_claims_count; k++) {
            struct str name = STR_NULL;
            if (!str_eq(pod->spec.resource_claims[k].name, want->name))
                continue;
            rc = dra_claim_name(pod, &pod->spec.resource_claims[k], &name, err);
            if (rc == 0 && !str_empty(name))
                rc = add_use(d, pod, name, want->request, &l, err);
            if (rc != 0)
                return rc;
        }
    }
    rc = add_extended(d, pod, c, &l, err);
    if (rc != 0)
        return rc;
    *ret = l.items;
    *ret_count = l.count;
    return 0;
}

int dra_devices(const struct dra *d, struct arena *a, const struct core_v1_pod *pod,
                const struct core_v1_container *c, const char *const **ret, size_t *ret_count,
                struct error *err)
{
    const char **list = NULL;
    struct dra_use *uses;
    size_t count, cap = 0;
    int rc = dra_uses(d, a, pod, c, &uses, &count, err);
    if (rc != 0)
        return rc;
    *ret_count = 0;
    for (size_t i = 0; i < count; i++)
        dra_claim_cdi(uses[i].claim, a, uses[i].request, &list, ret_count, &cap);
    *ret = list;
    return 0;
}
