/* checks.c - what must hold after every step.
 *
 *  - one leader per term;
 *  - what is committed at an index has one term, on every node;
 *  - what is committed is durable on a majority of the voters;
 *  - all nodes apply the same commands in the same order;
 *  - what the seam and the core hold agrees. */
#include "sim.h"

#include "raftstore/replica_internal.h"

#include <inttypes.h>

static void check_leader(struct node *n, const struct replica_status *st)
{
    struct world *w = n->world;
    if (st->state != REPLICA_LEADER)
        return;
    for (uint32_t i = w->leader_count; i-- > 0;) {
        if (w->leaders[i].term != st->term)
            continue;
        if (w->leaders[i].leader != n->id)
            world_fail(w, "two leaders in term %" PRIu64 ": %" PRIu64 " and %" PRIu64, st->term,
                       w->leaders[i].leader, n->id);
        return;
    }
    w->leaders = xrealloc(w->leaders, (w->leader_count + 1) * sizeof(w->leaders[0]));
    w->leaders[w->leader_count].term = st->term;
    w->leaders[w->leader_count++].leader = n->id;
    w->result->elections++;
    world_log(w, "node %" PRIu64 " leads term %" PRIu64, n->id, st->term);
}

static bool durable_on_majority(struct world *w, const struct members *m, uint64_t index,
                                uint64_t term)
{
    uint32_t have = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        struct node *other = world_node(w, m->items[i].id);
        if (m->items[i].role == MEMBER_VOTER && other != NULL &&
            disk_has(&other->disk, index, term))
            have++;
    }
    return have > members_voters(m) / 2;
}

/* The leader counted in the list it had then: the newest, or the one before when
 * it has begun a change since. */
static void check_durable(struct node *n, uint64_t index, uint64_t term)
{
    if (!durable_on_majority(n->world, replica_members(n->replica), index, term) &&
        !durable_on_majority(n->world, &n->replica->applied.members, index, term))
        world_fail(n->world,
                   "node %" PRIu64 " commits %" PRIu64 " of term %" PRIu64
                   ", which no majority has",
                   n->id, index, term);
}

static uint64_t *committed_at(struct world *w, uint64_t index)
{
    if (index >= w->committed_cap) {
        uint64_t cap = MAX_OF(index + 1, 2 * w->committed_cap);
        w->committed_term = xrealloc(w->committed_term, cap * sizeof(w->committed_term[0]));
        memset(w->committed_term + w->committed_cap, 0,
               (cap - w->committed_cap) * sizeof(w->committed_term[0]));
        w->committed_cap = cap;
    }
    w->committed_count = MAX_OF(w->committed_count, index);
    return &w->committed_term[index];
}

static void check_committed(struct node *n, const struct replica_status *st)
{
    struct world *w = n->world;
    for (uint64_t i = n->checked_commit + 1; i <= st->commit_index; i++) {
        uint64_t term = tail_term(&n->replica->tail, i);
        uint64_t *known = committed_at(w, i);
        if (term == 0)
            continue; /* Below the snapshot. */
        if (*known == 0) {
            *known = term;
            /* The founders' first entry is committed by definition. */
            if (i > 1 && st->state == REPLICA_LEADER)
                check_durable(n, i, term);
        }
        if (*known != term)
            world_fail(w,
                       "entry %" PRIu64 " is committed with term %" PRIu64 " and, on node %" PRIu64
                       ", %" PRIu64,
                       i, *known, n->id, term);
    }
    n->checked_commit = MAX_OF(n->checked_commit, st->commit_index);
}

void check_node(struct node *n)
{
    struct replica_status st;
    if (world_failed(n->world))
        return;
    replica_status(n->replica, &st);
    check_leader(n, &st);
    check_committed(n, &st);
    consensus_check(n->replica->consensus);
    if (st.term < n->last_term)
        world_fail(n->world, "node %" PRIu64 ": term %" PRIu64 " after %" PRIu64, n->id, st.term,
                   n->last_term);
    /* Terms that were never durable may be forgotten in a crash. */
    n->last_term = n->disk.has_vote ? n->disk.vote.term : 0;
}

/* The machine has just applied its newest command. */
void check_command(struct node *n)
{
    struct world *w = n->world;
    uint64_t count = machine_count(n->machine), hash = machine_hash(n->machine);
    if (count > w->command_count) {
        if (count != w->command_count + 1) {
            world_fail(w,
                       "node %" PRIu64 " applies command %" PRIu64 ", the newest known is %" PRIu64,
                       n->id, count, w->command_count);
            return;
        }
        if (count >= w->command_cap) {
            w->command_cap = MAX_OF(256, 2 * w->command_cap);
            w->command_hash =
                xrealloc(w->command_hash, w->command_cap * sizeof(w->command_hash[0]));
        }
        w->command_hash[count] = hash;
        w->command_count = count;
    } else if (w->command_hash[count] != hash) {
        world_fail(w, "node %" PRIu64 ": command %" PRIu64 " is another one than on other nodes",
                   n->id, count);
    }
}

void checks_done(struct world *w)
{
    free(w->leaders);
    free(w->committed_term);
    free(w->command_hash);
}
