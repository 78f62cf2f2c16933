/* lin.c - linearizability of one register's history (Wing and Gong, with the
 * visited states remembered).
 *
 * Search for an order of the operations that respects real time and in which
 * every result is what a register would have answered. A state is the set of
 * operations already placed and the register's value. An operation without end
 * may have happened at any time after its start, or never. */
#include "sim.h"

#define VISITED_MAX (1u << 23) /* Then the search gives up: the history passes. */

struct search {
    const struct op_record *ops;
    uint32_t count;
    uint64_t *visited; /* Open addressing; 0 is free. */
    uint64_t used, cap;
};

static void grow(struct search *s)
{
    uint64_t cap = s->cap == 0 ? 1u << 12 : 2 * s->cap;
    uint64_t *old = s->visited;
    s->visited = xzalloc(cap * sizeof(s->visited[0]));
    for (uint64_t i = 0; i < s->cap; i++) {
        if (old[i] == 0)
            continue;
        uint64_t j = old[i] & (cap - 1);
        while (s->visited[j] != 0)
            j = (j + 1) & (cap - 1);
        s->visited[j] = old[i];
    }
    s->cap = cap;
    free(old);
}

static bool visit(struct search *s, uint64_t placed, uint64_t value)
{
    uint64_t h = (placed * 0x9e3779b97f4a7c15u) ^ (value * 0xc2b2ae3d27d4eb4fu);
    h ^= h >> 31;
    h |= 1;
    if (s->used >= s->cap / 2)
        grow(s);
    uint64_t mask = s->cap - 1;
    for (uint64_t i = h & mask;; i = (i + 1) & mask) {
        if (s->visited[i] == h)
            return false;
        if (s->visited[i] != 0)
            continue;
        s->visited[i] = h;
        s->used++;
        return true;
    }
}

/* What the register holds after the operation; false: impossible. */
static bool step(const struct op_record *o, uint64_t value, uint64_t *ret)
{
    bool ended = o->end != UINT64_MAX;
    *ret = value;
    switch (o->op.kind) {
    case REG_READ:
        return !ended || o->result == value;
    case REG_WRITE:
        *ret = o->op.value;
        return true;
    case REG_CAS:
        if (value == o->op.expected)
            *ret = o->op.value;
        return !ended || (value == o->op.expected) == (o->result != 0);
    }
    return false;
}

static bool search(struct search *s, uint64_t placed, uint64_t value)
{
    uint64_t first_end = UINT64_MAX;
    bool left = false;
    if (s->used >= VISITED_MAX)
        return true;
    if (!visit(s, placed, value))
        return false;
    for (uint32_t i = 0; i < s->count; i++) {
        if (placed & (1ull << i))
            continue;
        first_end = MIN_OF(first_end, s->ops[i].end);
        left |= s->ops[i].end != UINT64_MAX;
    }
    if (!left)
        return true; /* The rest may never have happened. */
    for (uint32_t i = 0; i < s->count; i++) {
        uint64_t next;
        if ((placed & (1ull << i)) || s->ops[i].start > first_end ||
            !step(&s->ops[i], value, &next))
            continue;
        if (search(s, placed | (1ull << i), next)) /* Depth: HISTORY_MAX. */
            return true;
    }
    return false;
}

bool history_linearizable(const struct op_record *ops, uint32_t count)
{
    struct search s = {.ops = ops, .count = count};
    ASSERT_CMP(count, <=, HISTORY_MAX);
    bool ok = search(&s, 0, 0);
    free(s.visited);
    return ok;
}
