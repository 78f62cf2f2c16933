/* consensus.c - the part of the seam that does not depend on the core: which
 * changes of the list of members are safe. */
#include "raftstore/consensus_internal.h"

#include "lib/base/base.h"
#include "lib/base/error.h"

static bool member_eq(const struct member *a, const struct member *b)
{
    return a->id == b->id && a->role == b->role && strcmp(a->address, b->address) == 0;
}

/* Counts the members that differ, and whether the common ones keep their order. */
static uint32_t count_steps(const struct members *now, const struct members *next, bool *ret_order)
{
    uint32_t steps = 0, j = 0;
    *ret_order = true;
    for (uint32_t i = 0; i < now->count; i++) {
        const struct member *other = members_get(next, now->items[i].id);
        if (other == NULL) {
            steps++;
            continue;
        }
        steps += !member_eq(&now->items[i], other);
        *ret_order &= j < next->count && next->items[j].id == now->items[i].id;
        j++;
    }
    return steps + (next->count - MIN_OF(j, next->count));
}

int consensus_check_step(const struct members *now, const struct members *next, struct error *err)
{
    bool order = true;
    uint32_t steps = count_steps(now, next, &order);
    if (next->count > MEMBERS_MAX)
        return error_set(err, E_INVALID, "more than %d members", MEMBERS_MAX);
    if (members_voters(next) == 0)
        return error_set(err, E_INVALID, "no voter would be left");
    /* Majorities of two lists are sure to share a member only while the lists
     * differ in one. */
    if (steps != 1)
        return error_set(err, E_INVALID, "one member at a time: %u differ", steps);
    /* The core carries its per-member state over by position when the count
     * stays the same. */
    if (!order)
        return error_set(err, E_INVALID, "members must keep their order");
    return 0;
}

int consensus_check_shrink(const struct members *next, uint64_t leader, struct error *err)
{
    const struct member *self = members_get(next, leader);
    if (self == NULL || self->role != MEMBER_VOTER)
        return error_set(err, E_INVALID, "the leader must hand over before it loses its vote");
    return 0;
}
