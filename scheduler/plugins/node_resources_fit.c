/* node_resources_fit.c - what the pod asks for must be free; by default less loaded
 * nodes score higher (LeastAllocated over CPU and memory). */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"
#include "scheduler/devices/extended.h"

#include <math.h>

static bool lacks(int64_t want, int64_t capacity, int64_t used)
{
    int64_t left;
    if (__builtin_sub_overflow(capacity, used, &left))
        left = used > 0 ? INT64_MIN : INT64_MAX;
    return want > 0 && want > left;
}

/* An extender or nobody looks after it. */
static bool is_ignored(const struct profile *p, const char *name)
{
    const char *slash = strchr(name, '/');
    for (size_t i = 0; i < p->ignored_resource_count; i++)
        if (strcmp(p->ignored_resources[i], name) == 0)
            return true;
    for (size_t i = 0; slash != NULL && i < p->ignored_group_count; i++)
        if (str_eqc(str_n(name, (size_t)(slash - name)), p->ignored_groups[i]))
            return true;
    return false;
}

static bool sees_devices(const struct profile *p)
{
    for (size_t i = 0; i < scheduler_plugin_count; i++)
        if (scheduler_plugins[i] == &plugin_dynamic_resources)
            return p->filters[i];
    return false;
}

/* Devices stand for it there: DynamicResources sees whether there are enough, where it is on. */
static bool is_elsewhere(const struct cycle *c, const struct resources *have, const char *name)
{
    return is_ignored(c->profile, name) ||
           (sees_devices(c->profile) && extended_is_device(c->facts->devices, have, name));
}

/* More than the whole node has: removing pods will not help. */
static bool exceeds(const struct cycle *c, const struct resources *want,
                    const struct resources *have)
{
    if (want->milli_cpu > have->milli_cpu || want->memory > have->memory ||
        want->ephemeral_storage > have->ephemeral_storage)
        return true;
    for (size_t i = 0; i < want->scalar_count; i++)
        if (want->scalars[i].amount > resources_scalar(have, want->scalars[i].name) &&
            !is_elsewhere(c, have, want->scalars[i].name))
            return true;
    return false;
}

/* What counts as used, of what is asked for. A reclaiming pod finds free what others reserve and
 * will not need. The others may have all that no other of theirs reserves; but as long as
 * reclaiming pods are there, together they get no more than there is. */
static int64_t counts(const struct cycle *c, int64_t requested, int64_t reclaiming, int64_t slack)
{
    int64_t expected, others;
    if (!c->profile->reclaims || __builtin_sub_overflow(requested, slack, &expected) ||
        __builtin_sub_overflow(requested, reclaiming, &others))
        return requested;
    if (c->pod->needs->reclaims)
        return expected;
    return reclaiming != 0 ? MAX_OF(others, expected) : others;
}

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    const struct resources *want = &c->pod->needs->requests, *have = &n->allocatable,
                           *used = &n->requested;
    int64_t milli_cpu = counts(c, used->milli_cpu, n->reclaiming.milli_cpu, n->slack.milli_cpu);
    int64_t memory = counts(c, used->memory, n->reclaiming.memory, n->slack.memory);
    if ((int64_t)n->pod_count + 1 > have->pods)
        refusal_add(r, STR("Too many pods"));
    if (lacks(want->milli_cpu, have->milli_cpu, milli_cpu))
        refusal_add(r, STR("Insufficient cpu"));
    if (lacks(want->memory, have->memory, memory))
        refusal_add(r, STR("Insufficient memory"));
    if (lacks(want->ephemeral_storage, have->ephemeral_storage, used->ephemeral_storage))
        refusal_add(r, STR("Insufficient ephemeral-storage"));
    for (size_t i = 0; i < want->scalar_count; i++) {
        const char *name = want->scalars[i].name;
        if (lacks(want->scalars[i].amount, resources_scalar(have, name),
                  resources_scalar(used, name)) &&
            !is_elsewhere(c, have, name))
            refusal_addf(c, r, "Insufficient %s", name);
    }
    if (r->count == 0)
        return FIT;
    return exceeds(c, want, have) ? UNRESOLVABLE : UNFIT;
}

/* --- score ------------------------------------------------------------------------------------ */

/* part * SCORE_MAX / whole, also where the product does not fit. */
static int64_t share_of(int64_t part, int64_t whole)
{
    int64_t scaled;
    if (__builtin_mul_overflow(part, SCORE_MAX, &scaled))
        return part / (whole / SCORE_MAX);
    return scaled / whole;
}

/* On the line between the two points around the utilisation. */
static int64_t on_shape(const struct profile *p, int64_t utilization)
{
    for (size_t i = 0; i < p->shape_count; i++) {
        const struct shape_point *x = &p->shape[i];
        if (utilization > x->utilization)
            continue;
        if (i == 0)
            return x->score;
        const struct shape_point *from = x - 1;
        return from->score + (x->score - from->score) * (utilization - from->utilization) /
                                 (x->utilization - from->utilization);
    }
    return p->shape_count != 0 ? p->shape[p->shape_count - 1].score : 0;
}

static int64_t score_of(const struct profile *p, int64_t used, int64_t capacity)
{
    bool over = used > capacity;
    switch (p->fit) {
    case FIT_LEAST_ALLOCATED:
        return over ? 0 : share_of(capacity - used, capacity);
    case FIT_MOST_ALLOCATED:
        return share_of(over ? capacity : used, capacity);
    case FIT_REQUESTED_TO_CAPACITY:
        return on_shape(p, over ? 100 : share_of(used, capacity));
    }
    return 0;
}

/* Sums that have wrapped are as good as endless. */
static int64_t sum_of(int64_t used, int64_t mine)
{
    int64_t sum;
    return used < 0 || __builtin_add_overflow(used, mine, &sum) ? INT64_MAX : sum;
}

/* The pod's own and what is used, of any resource; CPU and memory as if something was asked. */
static void amounts_of(const struct cycle *c, const struct node_info *n, const char *name,
                       int64_t *ret_used, int64_t *ret_capacity)
{
    const struct resources *have = &n->allocatable, *used = &n->requested,
                           *want = &c->pod->needs->requests;
    if (strcmp(name, "cpu") == 0) {
        *ret_capacity = have->milli_cpu;
        *ret_used = sum_of(n->nonzero_milli_cpu, c->pod->needs->nonzero_milli_cpu);
    } else if (strcmp(name, "memory") == 0) {
        *ret_capacity = have->memory;
        *ret_used = sum_of(n->nonzero_memory, c->pod->needs->nonzero_memory);
    } else if (strcmp(name, "ephemeral-storage") == 0) {
        *ret_capacity = have->ephemeral_storage;
        *ret_used = sum_of(used->ephemeral_storage, want->ephemeral_storage);
    } else {
        int64_t mine = resources_scalar(want, name);
        /* What the pod does not ask for does not count. */
        *ret_capacity = mine != 0 ? resources_scalar(have, name) : 0;
        *ret_used = sum_of(resources_scalar(used, name), mine);
    }
}

static int64_t score(struct cycle *c, const struct node_info *n)
{
    const struct profile *p = c->profile;
    int64_t sum = 0, weights = 0;
    for (size_t i = 0; i < p->fit_resource_count; i++) {
        const struct resource_weight *r = &p->fit_resources[i];
        int64_t used, capacity;
        amounts_of(c, n, r->name, &used, &capacity);
        if (capacity <= 0)
            continue; /* A resource that the node does not have has no weight. */
        int64_t one = score_of(p, used, capacity);
        if (p->fit == FIT_REQUESTED_TO_CAPACITY && one <= 0)
            continue;
        sum += one * r->weight;
        weights += r->weight;
    }
    if (weights == 0)
        return 0;
    if (p->fit == FIT_REQUESTED_TO_CAPACITY)
        return (int64_t)round((double)sum / (double)weights);
    return sum / weights;
}

const struct plugin plugin_node_resources_fit = {
    .name = "NodeResourcesFit",
    .wakes =
        EVENT_NODE_ADD | EVENT_NODE_ALLOCATABLE | EVENT_POD_DELETE | EVENT_POD_UPDATE | EVENT_CLASS,
    .filter = filter,
    .score = score,
    .weight = 1,
};
