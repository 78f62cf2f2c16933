/* checks.c - what must hold after every step.
 *
 *  - one leader per term;
 *  - what is committed at an index has one term, on every node;
 *  - what is committed is durable on a majority of the voters;
 *  - all nodes apply the same commands in the same order, with the results that the
 *    model gives, and have the same content at the same index;
 *  - no command happens twice, and none that was said not to;
 *  - what the seam and the core hold agrees. */
#include "sim.h"

#include "raftstore/replica_internal.h"

#include <inttypes.h>

bool node_is_leader(const struct node *n)
{
    struct replica_status st;
    replica_status(n->replica, &st);
    return st.state == REPLICA_LEADER;
}

/* --- consensus --- */

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
    n->last_term = n->disk.durable.vote.term;
}

/* --- commands --- */

static void grow_positions(struct world *w, uint64_t count)
{
    if (count < w->position_cap)
        return;
    w->position_cap = MAX_OF(256, 2 * w->position_cap);
    w->positions = xrealloc(w->positions, w->position_cap * sizeof(w->positions[0]));
}

/* The first node to apply a command decides, with the model, what it did. */
static void check_first(struct node *n, uint64_t index, struct str bytes,
                        const struct mvcc_result *r)
{
    struct world *w = n->world;
    struct mvcc_result want = {0};
    AUTO_BUF why = BUF_INIT;
    grow_positions(w, ++w->position_count);
    model_apply(w->model, index, bytes, &want);
    w->positions[w->position_count] = (struct position){
        .hash = n->machine->hash,
        .rev = model_rev(w->model),
        .compacted = model_compacted(w->model),
    };
    if (results_differ(&want, r, &why))
        world_fail(w,
                   "node %" PRIu64 ": command %" PRIu64 " answers otherwise than the model: %.*s",
                   n->id, w->position_count, STR_ARG(buf_str(&why)));
    mvcc_result_done(&want);
}

void check_command(struct node *n, uint64_t index, struct str bytes, const struct mvcc_result *r)
{
    struct world *w = n->world;
    uint64_t count = n->machine->commands;
    if (world_failed(w))
        return;
    if (count == w->position_count + 1)
        check_first(n, index, bytes, r);
    else if (count > w->position_count)
        world_fail(w, "node %" PRIu64 " applies command %" PRIu64 ", the newest known is %" PRIu64,
                   n->id, count, w->position_count);
    else if (w->positions[count].hash != n->machine->hash)
        world_fail(w,
                   "node %" PRIu64 ": command %" PRIu64
                   " is another one than on other nodes, or did something else",
                   n->id, count);
}

static struct index_info *index_info(struct world *w, uint64_t index)
{
    if (index >= w->index_cap) {
        uint64_t cap = MAX_OF(index + 1, 2 * w->index_cap);
        w->indexes = xrealloc(w->indexes, cap * sizeof(w->indexes[0]));
        memset(w->indexes + w->index_cap, 0, (cap - w->index_cap) * sizeof(w->indexes[0]));
        w->index_cap = cap;
    }
    return &w->indexes[index];
}

/* A hash at an older revision is the same wherever and whenever it is made, however
 * far compaction and other writes got. */
static void check_old_rev(struct node *n)
{
    struct world *w = n->world;
    struct mvcc_view *v = mvcc_view(n->machine->mvcc);
    struct mvcc_hash h;
    int64_t rev = mvcc_view_rev(v) / OLD_REV_STEP * OLD_REV_STEP;
    size_t i = (size_t)(rev / OLD_REV_STEP);
    if (rev > 0 && i < ARRAY_SIZE(w->rev_hash) && mvcc_hash_init(&h, v, rev) == 0) {
        while (mvcc_hash_step(&h, 100))
            continue;
        if (w->rev_hash[i] == 0)
            w->rev_hash[i] = h.value;
        else if (w->rev_hash[i] != h.value)
            world_fail(w, "node %" PRIu64 ": another hash of revision %" PRId64 " than elsewhere",
                       n->id, rev);
    }
    mvcc_view_unref(v);
}

void check_applied(struct node *n, uint64_t index)
{
    struct world *w = n->world;
    struct index_info *info = index_info(w, index);
    if (world_failed(w))
        return;
    if (info->known && info->commands != n->machine->commands)
        world_fail(
            w, "node %" PRIu64 ": %" PRIu64 " commands up to entry %" PRIu64 ", elsewhere %" PRIu64,
            n->id, n->machine->commands, index, info->commands);
    info->known = true;
    info->commands = n->machine->commands;
    if (index % w->content_every != 0)
        return;
    check_old_rev(n);
    uint64_t content = machine_content(n->machine);
    if (info->content == 0)
        info->content = content;
    else if (info->content != content)
        world_fail(w, "node %" PRIu64 ": another content at entry %" PRIu64 " than elsewhere",
                   n->id, index);
}

/* --- unique values --- */

uint64_t token_new(struct world *w)
{
    if (++w->token_count >= w->token_cap) {
        uint64_t cap = MAX_OF(1024, 2 * w->token_cap);
        w->tokens = xrealloc(w->tokens, cap * sizeof(w->tokens[0]));
        memset(w->tokens + w->token_cap, 0, (cap - w->token_cap) * sizeof(w->tokens[0]));
        w->token_cap = cap;
    }
    return w->token_count;
}

void token_written(struct world *w, uint64_t token)
{
    if (token == 0 || token > w->token_count)
        return;
    struct token *t = &w->tokens[token];
    if (t->position != 0 && t->position != w->position_count)
        world_fail(w, "a command happened twice, as number %" PRIu64 " and %" PRIu64, t->position,
                   w->position_count);
    if (t->dead)
        world_fail(w,
                   "a command happened of which it was said that it would not, as number %" PRIu64,
                   w->position_count);
    t->position = w->position_count;
}

void checks_done(struct world *w)
{
    free(w->leaders);
    free(w->committed_term);
    free(w->positions);
    free(w->indexes);
    free(w->tokens);
}
