/* replica_read.c - linearizable reads without writing to the log.
 *
 * The leader notes its commit index, then has a majority of voters confirm that
 * they still know no higher term (a round). Everything acknowledged before the
 * round began is at or below that index: a newer leader would have needed a vote
 * of one of those who confirmed, after they confirmed. No clock is involved.
 * All reads that wait when a round starts share it; members ask the leader once
 * for all of theirs. Who asks says its term, and so confirms the leader for what
 * it asks: where the two of them are a majority, as among three, they need no
 * round. A new leader first commits an entry of its own term: only
 * then does its commit index cover its predecessors'. */
#include "raftstore/replica_internal.h"

#define REMOTES_MAX (MEMBERS_MAX * ROUNDS_MAX)

void read_init(struct replica *r)
{
    list_init(&r->reads_waiting);
    list_init(&r->remotes_waiting);
    list_init(&r->groups);
    list_init(&r->reads_confirmed);
}

int replica_read(struct replica *r, uint64_t now_ms, void *cookie)
{
    ASSERT(!r->in_op);
    if (!r->started || r->closed || r->failed)
        return E_UNAVAILABLE;
    if (r->read_count >= READS_MAX)
        return E_TOO_MANY;
    r->now_ms = MAX_OF(r->now_ms, now_ms);
    struct read_op *op = xmalloc(sizeof(*op));
    *op = (struct read_op){.cookie = cookie,
                           .deadline_ms = r->now_ms + r->config.proposal_timeout_ms};
    list_push_back(&r->reads_waiting, &op->node);
    r->read_count++;
    return 0;
}

static void finish(struct replica *r, struct read_op *op, int code)
{
    list_remove(&op->node);
    r->read_count--;
    R_OP(r, read_done, op->cookie, code, r->applied.index);
    free(op);
}

/* --- groups --- */

static struct read_group *new_group(struct replica *r)
{
    struct read_group *g = xzalloc(sizeof(*g));
    g->id = ++r->next_group;
    g->asked_ms = r->now_ms;
    list_init(&g->ops);
    list_init(&g->remotes);
    list_splice(&g->ops, &r->reads_waiting);
    list_push_back(&r->groups, &g->node);
    r->group_count++;
    return g;
}

static void free_remotes(struct list *l)
{
    struct list *n;
    while ((n = list_pop_front(l)) != NULL)
        free(LIST_ENTRY(n, struct read_remote, node));
}

static void free_group(struct replica *r, struct read_group *g)
{
    ASSERT(list_empty(&g->ops));
    free_remotes(&g->remotes);
    list_remove(&g->node);
    r->group_count--;
    free(g);
}

/* Its reads wait again, before those that came later. */
static void undo_group(struct replica *r, struct read_group *g)
{
    list_splice(&g->ops, &r->reads_waiting);
    list_splice(&r->reads_waiting, &g->ops);
    free_group(r, g);
}

static void reply(struct replica *r, const struct read_remote *rr, uint64_t index)
{
    struct peer_message m = {.type = PEER_READ_REPLY, .read = {rr->boot, rr->id, index}};
    replica_send(r, rr->member, &m);
}

static void confirm(struct replica *r, struct read_group *g, uint64_t index)
{
    LIST_FOREACH (n, &g->ops)
        LIST_ENTRY(n, struct read_op, node)->index = index;
    list_splice(&r->reads_confirmed, &g->ops);
    LIST_FOREACH (n, &g->remotes)
        reply(r, LIST_ENTRY(n, struct read_remote, node), index);
    free_group(r, g);
}

/* --- the leader --- */

static bool has_quorum(const struct replica *r, const struct read_group *g)
{
    const struct members *m = consensus_members(r->consensus);
    uint32_t votes = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->items[i].role != MEMBER_VOTER)
            continue;
        bool yes = m->items[i].id == r->config.id;
        for (uint32_t j = 0; j < g->acked_count; j++)
            yes |= g->acked[j] == m->items[i].id;
        votes += yes;
    }
    return votes > members_voters(m) / 2;
}

static void send_round(struct replica *r, const struct read_group *g)
{
    const struct members *m = consensus_members(r->consensus);
    struct peer_message msg = {.type = PEER_HEARTBEAT, .heartbeat = {r->term, g->id}};
    for (uint32_t i = 0; i < m->count; i++)
        if (m->items[i].role == MEMBER_VOTER && m->items[i].id != r->config.id)
            replica_send(r, m->items[i].id, &msg);
}

/* A member that knew no higher term when it asked: whoever leads in one was elected without its
 * vote until then, and acknowledged nothing before its reads began. */
static void answer_confirmed(struct replica *r)
{
    LIST_FOREACH_SAFE (n, &r->remotes_waiting) {
        struct read_remote *rr = LIST_ENTRY(n, struct read_remote, node);
        struct read_group both = {.acked = {rr->member}, .acked_count = 1};
        if (rr->term != r->term || r->term != consensus_term(r->consensus) || !has_quorum(r, &both))
            continue;
        reply(r, rr, r->commit);
        list_remove(&rr->node);
        free(rr);
    }
}

static void start_round(struct replica *r)
{
    struct read_group *g = new_group(r);
    g->index = r->commit;
    list_splice(&g->remotes, &r->remotes_waiting);
    /* The only voter; or a drill. */
    if (has_quorum(r, g) || (r->config.drills & REPLICA_DRILL_READ_UNCONFIRMED))
        confirm(r, g, g->index);
    else
        send_round(r, g);
}

static void receive_ack(struct replica *r, uint64_t from, uint64_t round)
{
    LIST_FOREACH_SAFE (n, &r->groups) {
        struct read_group *g = LIST_ENTRY(n, struct read_group, node);
        if (g->id > round)
            break; /* It was asked after this answer was given. */
        bool known = false;
        for (uint32_t i = 0; i < g->acked_count; i++)
            known |= g->acked[i] == from;
        if (!known && g->acked_count < MEMBERS_MAX)
            g->acked[g->acked_count++] = from;
        if (has_quorum(r, g))
            confirm(r, g, g->index);
    }
}

static void receive_request(struct replica *r, uint64_t from, const struct peer_message *m)
{
    uint32_t waiting = 0;
    if (!is_leader(r))
        return; /* It asks again. */
    LIST_FOREACH (n, &r->remotes_waiting)
        waiting++;
    if (waiting >= REMOTES_MAX)
        return;
    struct read_remote *rr = xzalloc(sizeof(*rr));
    *rr = (struct read_remote){
        .member = from, .boot = m->read.boot, .id = m->read.id, .term = m->read.index};
    list_push_back(&r->remotes_waiting, &rr->node);
}

/* --- the others --- */

static void ask_leader(struct replica *r)
{
    struct read_group *g = new_group(r);
    if (r->config.drills & REPLICA_DRILL_READ_LOCAL) {
        confirm(r, g, r->applied.index);
        return;
    }
    struct peer_message m = {.type = PEER_READ,
                             .read = {r->config.boot, g->id, consensus_term(r->consensus)}};
    replica_send(r, r->leader, &m);
}

static void receive_reply(struct replica *r, const struct peer_message *m)
{
    if (is_leader(r) || m->read.boot != r->config.boot)
        return;
    LIST_FOREACH_SAFE (n, &r->groups) {
        struct read_group *g = LIST_ENTRY(n, struct read_group, node);
        if (g->id == m->read.id)
            confirm(r, g, m->read.index);
    }
}

/* --- events --- */

void read_run(struct replica *r)
{
    bool reads = !list_empty(&r->reads_waiting);
    if (is_settled_leader(r))
        answer_confirmed(r);
    if (r->group_count >= ROUNDS_MAX)
        return;
    if (is_settled_leader(r) && (reads || !list_empty(&r->remotes_waiting)))
        start_round(r);
    else if (reads && r->state == CONSENSUS_FOLLOWER && r->leader != 0)
        ask_leader(r);
}

void read_complete(struct replica *r)
{
    while (!list_empty(&r->reads_confirmed)) {
        struct read_op *op = LIST_ENTRY(r->reads_confirmed.next, struct read_op, node);
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is freed has left the list. */
        if (op->index > r->applied.index || r->installing_seq != 0)
            return;
        finish(r, op, 0);
    }
}

void read_receive(struct replica *r, uint64_t from, const struct peer_message *m)
{
    struct peer_message ack = {.type = PEER_HEARTBEAT_ACK, .heartbeat = m->heartbeat};
    switch (m->type) {
    case PEER_HEARTBEAT:
        if (m->heartbeat.term == consensus_term(r->consensus) && !is_leader(r))
            replica_send(r, from, &ack);
        break;
    case PEER_HEARTBEAT_ACK:
        if (is_leader(r) && m->heartbeat.term == r->term && r->term == consensus_term(r->consensus))
            receive_ack(r, from, m->heartbeat.round);
        break;
    case PEER_READ:
        receive_request(r, from, m);
        break;
    default:
        receive_reply(r, m);
    }
}

void read_role_changed(struct replica *r)
{
    while (!list_empty(&r->groups)) /* The youngest first: each goes in front. */
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is freed has left the list. */
        undo_group(r, LIST_ENTRY(r->groups.prev, struct read_group, node));
    free_remotes(&r->remotes_waiting);
}

static void expire(struct replica *r, struct list *l)
{
    LIST_FOREACH_SAFE (n, l) {
        struct read_op *op = LIST_ENTRY(n, struct read_op, node);
        if (is_past(r, op->deadline_ms))
            finish(r, op, E_UNAVAILABLE);
    }
}

void read_tick(struct replica *r)
{
    struct read_group *newest = NULL;
    expire(r, &r->reads_waiting);
    expire(r, &r->reads_confirmed);
    LIST_FOREACH_SAFE (n, &r->groups) {
        struct read_group *g = LIST_ENTRY(n, struct read_group, node);
        expire(r, &g->ops);
        if (r->now_ms - g->asked_ms < 2 * (uint64_t)r->config.heartbeat_ms)
            continue;
        if (is_leader(r))
            newest = g;
        else
            undo_group(r, g);
    }
    /* An answer to the newest round also answers the older ones. */
    if (newest != NULL) {
        newest->asked_ms = r->now_ms;
        send_round(r, newest);
    }
}

void read_close(struct replica *r, int code)
{
    read_role_changed(r);
    while (!list_empty(&r->reads_waiting))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is freed has left the list. */
        finish(r, LIST_ENTRY(r->reads_waiting.next, struct read_op, node), code);
    while (!list_empty(&r->reads_confirmed))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is freed has left the list. */
        finish(r, LIST_ENTRY(r->reads_confirmed.next, struct read_op, node), code);
}
