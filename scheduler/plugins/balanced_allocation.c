/* balanced_allocation.c - prefers nodes whose CPU and memory are used to a like
 * share. For two resources the standard deviation of their shares is half of
 * the difference. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"

#include <math.h>

static double share(int64_t used, int64_t capacity)
{
    if (capacity <= 0)
        return 1;
    double f = (double)used / (double)capacity;
    return f > 1 ? 1 : f;
}

static double balance(int64_t cpu, int64_t memory, const struct node_info *n)
{
    double d = fabs(share(cpu, n->allocatable.milli_cpu) - share(memory, n->allocatable.memory));
    return 1 - d / 2;
}

static enum verdict prescore(struct cycle *c)
{
    /* A pod that asks for nothing changes no balance. */
    return c->pod->requests.milli_cpu != 0 || c->pod->requests.memory != 0 ? FIT : SKIP;
}

/* How the pod changes the balance: 50 is "not at all", more is better. */
static int64_t score(struct cycle *c, const struct node_info *n)
{
    const struct resources *used = &n->requested, *want = &c->pod->requests;
    double before = balance(used->milli_cpu, used->memory, n);
    double after = balance(used->milli_cpu + want->milli_cpu, used->memory + want->memory, n);
    return (int64_t)((after + (1 + after - before) / 2) * SCORE_MAX / 2);
}

const struct plugin plugin_balanced_allocation = {
    .name = "NodeResourcesBalancedAllocation",
    .prescore = prescore,
    .score = score,
    .weight = 1,
};
