/* balanced_allocation.c - prefers nodes whose resources, by default CPU and
 * memory, are used to like shares. For two resources the standard deviation of their
 * shares is half of the difference. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"

#include <math.h>

#define RESOURCES_MAX 16

/* Adds a resource's share, if the node has it. */
static void add_share(double *shares, size_t *count, double used, int64_t capacity)
{
    if (capacity <= 0 || *count == RESOURCES_MAX)
        return;
    double f = used / (double)capacity;
    shares[(*count)++] = f > 1 ? 1 : f < 0 ? 0 : f;
}

static double deviation(const double *shares, size_t count)
{
    double mean = 0, sum = 0;
    if (count < 2)
        return 0;
    if (count == 2)
        return fabs(shares[0] - shares[1]) / 2;
    for (size_t i = 0; i < count; i++)
        mean += shares[i] / (double)count;
    for (size_t i = 0; i < count; i++)
        sum += (shares[i] - mean) * (shares[i] - mean);
    return sqrt(sum / (double)count);
}

/* With so many times what the pod asks for. */
static double balance(const struct cycle *c, const struct node_info *n, double times)
{
    const struct resources *have = &n->allocatable, *used = &n->requested,
                           *want = &c->pod->needs->requests;
    double shares[RESOURCES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < c->profile->balanced_count; i++) {
        const char *name = c->profile->balanced[i];
        int64_t mine = resources_scalar(want, name);
        if (strcmp(name, "cpu") == 0)
            add_share(shares, &count, (double)used->milli_cpu + times * (double)want->milli_cpu,
                      have->milli_cpu);
        else if (strcmp(name, "memory") == 0)
            add_share(shares, &count, (double)used->memory + times * (double)want->memory,
                      have->memory);
        else if (strcmp(name, "ephemeral-storage") == 0)
            add_share(shares, &count,
                      (double)used->ephemeral_storage + times * (double)want->ephemeral_storage,
                      have->ephemeral_storage);
        else if (mine != 0)
            add_share(shares, &count, (double)resources_scalar(used, name) + times * (double)mine,
                      resources_scalar(have, name));
    }
    return 1 - deviation(shares, count);
}

static enum verdict prescore(struct cycle *c)
{
    const struct resources *want = &c->pod->needs->requests;
    /* A pod that asks for nothing changes no balance. */
    return want->milli_cpu != 0 || want->memory != 0 || want->scalar_count != 0 ? FIT : SKIP;
}

/* How the pod changes the balance: 50 is "not at all", more is better. */
static int64_t score(struct cycle *c, const struct node_info *n)
{
    double before = balance(c, n, 0), after = balance(c, n, 1);
    return (int64_t)((after + (1 + after - before) / 2) * SCORE_MAX / 2);
}

const struct plugin plugin_balanced_allocation = {
    .name = "NodeResourcesBalancedAllocation",
    .prescore = prescore,
    .score = score,
    .weight = 1,
};
