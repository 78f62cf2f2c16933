/* resources.c - see resources.h. */
#include "scheduler/resources.h"

#include "api/core_v1.h"
#include "lib/api/quantity.h"
#include "lib/base/base.h"

#define NONZERO_MILLI_CPU 100
#define NONZERO_MEMORY (200ll * 1024 * 1024)

void resources_done(struct resources *r)
{
    for (size_t i = 0; i < r->scalar_count; i++)
        free(r->scalars[i].name);
    free(r->scalars);
    *r = (struct resources){0};
}

/* The scalar of that name, made with 0 in its sorted place when absent. */
static int64_t *scalar_at(struct resources *r, struct str name)
{
    size_t i = 0;
    while (i < r->scalar_count && str_cmp(str_of(r->scalars[i].name), name) < 0)
        i++;
    if (i < r->scalar_count && str_eqc(name, r->scalars[i].name))
        return &r->scalars[i].amount;
    r->scalars = xrealloc(r->scalars, (r->scalar_count + 1) * sizeof(*r->scalars));
    memmove(&r->scalars[i + 1], &r->scalars[i], (r->scalar_count - i) * sizeof(*r->scalars));
    r->scalars[i] = (struct scalar_resource){xstrndup(name.data, name.len), 0};
    r->scalar_count++;
    return &r->scalars[i].amount;
}

static int64_t saturating_add(int64_t x, int64_t y)
{
    int64_t sum;
    if (__builtin_add_overflow(x, y, &sum))
        return x > 0 ? INT64_MAX : INT64_MIN;
    return sum;
}

void resources_from_list(struct resources *r, const struct api_quantity_entry *e, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct quantity q = quantity_of(&e[i].value);
        if (str_eqc(e[i].key, "cpu"))
            r->milli_cpu = quantity_milli_value(&q);
        else if (str_eqc(e[i].key, "memory"))
            r->memory = quantity_value(&q);
        else if (str_eqc(e[i].key, "ephemeral-storage"))
            r->ephemeral_storage = quantity_value(&q);
        else if (str_eqc(e[i].key, "pods"))
            r->pods = quantity_value(&q);
        else
            *scalar_at(r, e[i].key) = quantity_value(&q);
    }
}

void resources_add(struct resources *r, const struct resources *x)
{
    r->milli_cpu = saturating_add(r->milli_cpu, x->milli_cpu);
    r->memory = saturating_add(r->memory, x->memory);
    r->ephemeral_storage = saturating_add(r->ephemeral_storage, x->ephemeral_storage);
    for (size_t i = 0; i < x->scalar_count; i++) {
        int64_t *mine = scalar_at(r, str_of(x->scalars[i].name));
        *mine = saturating_add(*mine, x->scalars[i].amount);
    }
}

void resources_sub(struct resources *r, const struct resources *x)
{
    (void)__builtin_sub_overflow(r->milli_cpu, x->milli_cpu, &r->milli_cpu);
    (void)__builtin_sub_overflow(r->memory, x->memory, &r->memory);
    (void)__builtin_sub_overflow(r->ephemeral_storage, x->ephemeral_storage, &r->ephemeral_storage);
    for (size_t i = 0; i < x->scalar_count; i++)
        *scalar_at(r, str_of(x->scalars[i].name)) -= x->scalars[i].amount;
}

void resources_max(struct resources *r, const struct resources *x)
{
    r->milli_cpu = MAX_OF(r->milli_cpu, x->milli_cpu);
    r->memory = MAX_OF(r->memory, x->memory);
    r->ephemeral_storage = MAX_OF(r->ephemeral_storage, x->ephemeral_storage);
    for (size_t i = 0; i < x->scalar_count; i++) {
        int64_t *mine = scalar_at(r, str_of(x->scalars[i].name));
        *mine = MAX_OF(*mine, x->scalars[i].amount);
    }
}

void resources_copy(struct resources *r, const struct resources *x)
{
    *r = (struct resources){0};
    resources_add(r, x);
    r->pods = x->pods;
}

bool resources_equal(const struct resources *x, const struct resources *y)
{
    bool same = x->milli_cpu == y->milli_cpu && x->memory == y->memory &&
                x->ephemeral_storage == y->ephemeral_storage && x->pods == y->pods &&
                x->scalar_count == y->scalar_count;
    for (size_t i = 0; same && i < x->scalar_count; i++)
        same = x->scalars[i].amount == y->scalars[i].amount &&
               strcmp(x->scalars[i].name, y->scalars[i].name) == 0;
    return same;
}

int64_t resources_scalar(const struct resources *r, const char *name)
{
    for (size_t i = 0; i < r->scalar_count; i++)
        if (strcmp(r->scalars[i].name, name) == 0)
            return r->scalars[i].amount;
    return 0;
}

static bool asks_for(const struct core_v1_resource_requirements *rr, const char *name)
{
    for (size_t i = 0; i < rr->requests_count; i++)
        if (str_eqc(rr->requests[i].key, name))
            return true;
    return false;
}

static struct resources container_requests(const struct core_v1_container *c, bool nonzero)
{
    struct resources r = {0};
    resources_from_list(&r, c->resources.requests, c->resources.requests_count);
    if (nonzero && !asks_for(&c->resources, "cpu"))
        r.milli_cpu = NONZERO_MILLI_CPU;
    if (nonzero && !asks_for(&c->resources, "memory"))
        r.memory = NONZERO_MEMORY;
    return r;
}

static bool is_sidecar(const struct core_v1_container *c)
{
    return c->has_restart_policy && str_eqc(c->restart_policy, "Always");
}

/* Init containers run one by one, each beside the sidecars before it. */
static void add_init_containers(const struct core_v1_pod_spec *spec, bool nonzero,
                                struct resources *total)
{
    struct resources sidecars = {0}, peak = {0};
    for (size_t i = 0; i < spec->init_containers_count; i++) {
        const struct core_v1_container *c = &spec->init_containers[i];
        struct resources r = container_requests(c, nonzero);
        if (is_sidecar(c)) {
            resources_add(&sidecars, &r);
            resources_max(&peak, &sidecars);
        } else {
            resources_add(&r, &sidecars);
            resources_max(&peak, &r);
        }
        resources_done(&r);
    }
    resources_add(total, &sidecars);
    resources_max(total, &peak);
    resources_done(&sidecars);
    resources_done(&peak);
}

/* Pod-level requests stand for the containers' where they are given. */
static void override_by_pod_level(const struct core_v1_resource_requirements *rr,
                                  struct resources *total)
{
    struct resources r = {0};
    resources_from_list(&r, rr->requests, rr->requests_count);
    if (asks_for(rr, "cpu"))
        total->milli_cpu = r.milli_cpu;
    if (asks_for(rr, "memory"))
        total->memory = r.memory;
    for (size_t i = 0; i < r.scalar_count; i++)
        *scalar_at(total, str_of(r.scalars[i].name)) = r.scalars[i].amount;
    resources_done(&r);
}

void pod_requests(const struct core_v1_pod *pod, bool nonzero, struct resources *ret)
{
    const struct core_v1_pod_spec *spec = &pod->spec;
    *ret = (struct resources){0};
    for (size_t i = 0; i < spec->containers_count; i++) {
        struct resources r = container_requests(&spec->containers[i], nonzero);
        resources_add(ret, &r);
        resources_done(&r);
    }
    add_init_containers(spec, nonzero, ret);
    if (spec->resources != NULL)
        override_by_pod_level(spec->resources, ret);
    struct resources overhead = {0};
    resources_from_list(&overhead, spec->overhead, spec->overhead_count);
    resources_add(ret, &overhead);
    resources_done(&overhead);
}

static bool asks_same(const struct core_v1_container *x, const struct core_v1_container *y)
{
    const struct core_v1_resource_requirements *a = &x->resources, *b = &y->resources;
    bool same = a->requests_count == b->requests_count;
    for (size_t i = 0; same && i < a->requests_count; i++)
        same = str_eq(a->requests[i].key, b->requests[i].key) &&
               str_eq(a->requests[i].value.string, b->requests[i].value.string);
    return same;
}

bool pods_ask_same(const struct core_v1_pod *x, const struct core_v1_pod *y)
{
    const struct core_v1_pod_spec *a = &x->spec, *b = &y->spec;
    bool same = a->containers_count == b->containers_count &&
                a->init_containers_count == b->init_containers_count;
    for (size_t i = 0; same && i < a->containers_count; i++)
        same = asks_same(&a->containers[i], &b->containers[i]);
    for (size_t i = 0; same && i < a->init_containers_count; i++)
        same = asks_same(&a->init_containers[i], &b->init_containers[i]);
    return same;
}
