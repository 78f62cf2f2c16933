/* node_resources_fit.c - what the pod asks for must be free; less loaded nodes
 * score higher (LeastAllocated over CPU and memory). */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"

static bool lacks(int64_t want, int64_t capacity, int64_t used)
{
    return want > 0 && want > capacity - used;
}

/* More than the whole node has: removing pods will not help. */
static bool exceeds(const struct resources *want, const struct resources *have)
{
    if (want->milli_cpu > have->milli_cpu || want->memory > have->memory ||
        want->ephemeral_storage > have->ephemeral_storage)
        return true;
    for (size_t i = 0; i < want->scalar_count; i++)
        if (want->scalars[i].amount > resources_scalar(have, want->scalars[i].name))
            return true;
    return false;
}

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    const struct resources *want = &c->pod->requests, *have = &n->allocatable,
                           *used = &n->requested;
    if ((int64_t)n->pod_count + 1 > have->pods)
        refusal_add(r, STR("Too many pods"));
    if (lacks(want->milli_cpu, have->milli_cpu, used->milli_cpu))
        refusal_add(r, STR("Insufficient cpu"));
    if (lacks(want->memory, have->memory, used->memory))
        refusal_add(r, STR("Insufficient memory"));
    if (lacks(want->ephemeral_storage, have->ephemeral_storage, used->ephemeral_storage))
        refusal_add(r, STR("Insufficient ephemeral-storage"));
    for (size_t i = 0; i < want->scalar_count; i++) {
        const char *name = want->scalars[i].name;
        if (lacks(want->scalars[i].amount, resources_scalar(have, name),
                  resources_scalar(used, name)))
            refusal_addf(c, r, "Insufficient %s", name);
    }
    if (r->count == 0)
        return FIT;
    return exceeds(want, have) ? UNRESOLVABLE : UNFIT;
}

static int64_t least_allocated(int64_t used, int64_t capacity)
{
    int64_t scaled;
    if (capacity <= 0 || used > capacity)
        return 0;
    if (__builtin_mul_overflow(capacity - used, SCORE_MAX, &scaled))
        return (capacity - used) / (capacity / SCORE_MAX);
    return scaled / capacity;
}

static int64_t score(struct cycle *c, const struct node_info *n)
{
    int64_t cpu =
        least_allocated(n->nonzero_milli_cpu + c->pod->nonzero_milli_cpu, n->allocatable.milli_cpu);
    int64_t memory =
        least_allocated(n->nonzero_memory + c->pod->nonzero_memory, n->allocatable.memory);
    /* A resource that the node does not have has no weight. */
    int64_t weights = (n->allocatable.milli_cpu != 0) + (n->allocatable.memory != 0);
    return weights != 0 ? (cpu + memory) / weights : 0;
}

const struct plugin plugin_node_resources_fit = {
    .name = "NodeResourcesFit",
    .wakes = EVENT_NODE_ADD | EVENT_NODE_ALLOCATABLE | EVENT_POD_DELETE | EVENT_POD_UPDATE,
    .filter = filter,
    .score = score,
    .weight = 1,
};
