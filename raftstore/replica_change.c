/* replica_change.c - changes of members and leadership transfers.
 *
 * Any member takes a request and asks the leader, again and again until the
 * leader answers or time runs out; requests may be carried out twice without
 * harm, so a lost answer is no problem. The leader changes one member at a time
 * and never takes its own vote away: it hands over first, and the next leader
 * gets the request. Standbys that have caught up are made voters by whoever
 * leads. */
#include "raftstore/replica_internal.h"

#define RESULT_LATER 1 /* Nothing was done yet: to be asked again. */
#define RESULT_DONE 2  /* It is so already. */
#define CAUGHT_UP_ENTRIES 64
#define PROMOTE_AGAIN_MS 1000u
#define ASK_AGAIN_MS 500u /* What it waits for need not take an election. */
#define HEARD_BEATS 3     /* Heartbeats after which silence makes a poor successor. */

void change_init(struct replica *r)
{
    list_init(&r->changes);
}

static void finish(struct replica *r, struct change *c, int code)
{
    list_remove(&c->node);
    r->change_count--;
    R_OP(r, change_done, c->cookie, code);
    free(c->address);
    free(c);
}

static int request(struct replica *r, uint64_t now_ms, uint8_t type, uint64_t target,
                   const char *address, void *cookie)
{
    ASSERT(!r->in_op);
    if (!r->started || r->closed || r->failed)
        return E_UNAVAILABLE;
    if (r->change_count >= CHANGES_MAX)
        return E_TOO_MANY;
    r->now_ms = MAX_OF(r->now_ms, now_ms);
    struct change *c = xzalloc(sizeof(*c));
    *c = (struct change){
        .id = ++r->next_group,
        .type = type,
        .target = target,
        .address = xstrdup(address != NULL ? address : ""),
        .cookie = cookie,
        .deadline_ms = r->now_ms + r->config.proposal_timeout_ms,
        .term = r->term,
        .leader = r->leader,
    };
    list_push_back(&r->changes, &c->node);
    r->change_count++;
    return 0;
}

static bool adds(uint8_t type)
{
    return type == REPLICA_ADD || type == REPLICA_ADD_LEARNER;
}

static bool takes_address(uint8_t type)
{
    return adds(type) || type == REPLICA_UPDATE;
}

int replica_change(struct replica *r, uint64_t now_ms, enum replica_change_type type, uint64_t id,
                   const char *address, void *cookie)
{
    if (id == 0 ||
        (takes_address((uint8_t)type) && (address == NULL || strlen(address) > MEMBER_ADDRESS_MAX)))
        return E_INVALID;
    return request(r, now_ms, (uint8_t)type, id, address, cookie);
}

int replica_transfer(struct replica *r, uint64_t now_ms, uint64_t id, void *cookie)
{
    return request(r, now_ms, PEER_TRANSFER, id, NULL, cookie);
}

/* --- the leader: carrying out --- */

static bool address_of_other(const struct members *now, uint64_t id, const char *address)
{
    for (uint32_t i = 0; i < now->count; i++)
        if (now->items[i].id != id && strcmp(now->items[i].address, address) == 0)
            return true;
    return false;
}

/* Makes the list that the request asks for. 0, RESULT_DONE, or why not. `again`:
 * the request may have been carried out before. */
static int next_members(struct replica *r, uint8_t type, uint64_t id, const char *address,
                        bool again, struct members *ret)
{
    const struct members *now = consensus_members(r->consensus);
    const struct member *m = members_get(now, id);
    if (adds(type)) {
        if (m != NULL)
            return again && strcmp(m->address, address) == 0 ? RESULT_DONE : E_EXISTS;
        if (now->count >= MEMBERS_MAX)
            return E_TOO_MANY;
    } else if (m == NULL) {
        return type == REPLICA_REMOVE && again ? RESULT_DONE : E_NOT_FOUND;
    }
    if (takes_address(type) && address_of_other(now, id, address))
        return E_EXISTS;
    members_copy(ret, now);
    switch (type) {
    case REPLICA_ADD:
        members_add(ret, id, MEMBER_STANDBY, address);
        return 0;
    case REPLICA_ADD_LEARNER:
        members_add(ret, id, MEMBER_LEARNER, address);
        return 0;
    case REPLICA_UPDATE: {
        struct member *moved = members_get(ret, id);
        if (strcmp(moved->address, address) == 0)
            return RESULT_DONE;
        free(moved->address);
        moved->address = xstrdup(address);
        return 0;
    }
    case REPLICA_REMOVE:
        members_remove(ret, id);
        return 0;
    case REPLICA_PROMOTE:
    case REPLICA_DEMOTE: {
        enum member_role role = type == REPLICA_PROMOTE ? MEMBER_VOTER : MEMBER_STANDBY;
        if (m->role == role)
            return type == REPLICA_PROMOTE && !again ? E_INVALID : RESULT_DONE;
        members_get(ret, id)->role = role;
        return 0;
    }
    default:
        return E_INVALID;
    }
}

static bool caught_up(struct replica *r, uint64_t id)
{
    struct peer *p = replica_peer(r, id);
    uint64_t match = consensus_match_index(r->consensus, id);
    return p != NULL && p->heard_ms != 0 && r->now_ms - p->heard_ms < r->config.election_ms &&
           match >= r->tail.first && match >= r->applied.members_index &&
           match + CAUGHT_UP_ENTRIES >= tail_last(&r->tail);
}

/* The voter that has most of the log among those heard of just now: the core would
 * also choose one that died a moment ago. 0: let it choose. */
static uint64_t best_successor(struct replica *r)
{
    const struct members *m = consensus_members(r->consensus);
    uint64_t best = 0, best_match = 0, best_heard = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct peer *p = replica_peer(r, m->items[i].id);
        if (p == NULL || m->items[i].role != MEMBER_VOTER || p->heard_ms == 0 ||
            r->now_ms - p->heard_ms > HEARD_BEATS * (uint64_t)r->config.heartbeat_ms)
            continue;
        uint64_t match = consensus_match_index(r->consensus, p->id);
        if (best != 0 && (match < best_match || (match == best_match && p->heard_ms <= best_heard)))
            continue;
        best = p->id;
        best_match = match;
        best_heard = p->heard_ms;
    }
    return best;
}

/* 0: the entry stands at *ret_index. RESULT_*, or why not. */
static int carry_out(struct replica *r, uint8_t type, uint64_t id, const char *address, bool again,
                     uint64_t *ret_index)
{
    struct members next = {0};
    /* What an unfinished change leads to is not known yet. */
    if (consensus_change_index(r->consensus) != 0 || !is_settled_leader(r))
        return RESULT_LATER;
    int rc = next_members(r, type, id, address, again, &next);
    if (rc == 0 && type == REPLICA_PROMOTE && !caught_up(r, id))
        rc = E_AGAIN;
    if (rc == 0 && members_voters(&next) == 0)
        rc = E_INVALID;
    if (rc == 0 && id == r->config.id && (type == REPLICA_REMOVE || type == REPLICA_DEMOTE)) {
        consensus_transfer(r->consensus, r->now_ms, best_successor(r));
        rc = RESULT_LATER;
    }
    if (rc == 0) {
        rc = consensus_change(r->consensus, r->now_ms, &next, ret_index, NULL);
        if (rc == E_NOT_LEADER)
            rc = RESULT_LATER;
    }
    members_done(&next);
    return rc;
}

/* A transfer is answered by its success: whoever asked sees the new leader. */
static int carry_out_transfer(struct replica *r, uint64_t id)
{
    if (id == r->config.id)
        return RESULT_DONE;
    if (id == 0)
        id = best_successor(r);
    int rc = consensus_transfer(r->consensus, r->now_ms, id);
    return rc == E_NOT_LEADER ? RESULT_LATER : rc == 0 ? RESULT_LATER : rc;
}

static void reply(struct replica *r, uint64_t member, uint64_t boot, uint64_t id, int code)
{
    struct peer_message m = {.type = PEER_CHANGE_REPLY, .change_reply = {boot, id, code}};
    if (member == 0)
        return;
    if (member != r->config.id) {
        replica_send(r, member, &m);
        return;
    }
    LIST_FOREACH_SAFE (n, &r->changes) {
        struct change *c = LIST_ENTRY(n, struct change, node);
        if (c->id == id && boot == r->config.boot)
            finish(r, c, code);
    }
}

/* A request of `member`, this one included, on the leader. */
static void serve(struct replica *r, uint64_t member, uint64_t boot, uint64_t id, uint8_t type,
                  uint64_t target, const char *address, bool again)
{
    uint64_t index = 0;
    if (r->wait.index != 0 && r->wait.member == member && r->wait.boot == boot && r->wait.id == id)
        return; /* Under way. */
    int rc = type == PEER_TRANSFER ? carry_out_transfer(r, target)
                                   : carry_out(r, type, target, address, again, &index);
    if (rc == RESULT_LATER)
        return;
    if (rc == 0)
        r->wait = (struct change_wait){index, r->term, member, boot, id};
    else
        reply(r, member, boot, id, rc == RESULT_DONE ? 0 : rc);
}

void change_applied(struct replica *r, uint64_t index, uint64_t term)
{
    struct change_wait w = r->wait;
    if (w.index == 0 || index < w.index)
        return;
    r->wait = (struct change_wait){0};
    if (index == w.index && term == w.term)
        reply(r, w.member, w.boot, w.id, 0);
}

static void promote(struct replica *r)
{
    const struct members *m = consensus_members(r->consensus);
    if (r->config.manual_promotion || !is_settled_leader(r) || r->now_ms < r->promote_ms ||
        consensus_change_index(r->consensus) != 0 || consensus_transferring(r->consensus))
        return;
    for (uint32_t i = 0; i < m->count; i++) {
        uint64_t index, id = m->items[i].id;
        if (m->items[i].role != MEMBER_STANDBY || !caught_up(r, id))
            continue;
        r->promote_ms = r->now_ms + MIN_OF(r->config.election_ms, PROMOTE_AGAIN_MS);
        carry_out(r, REPLICA_PROMOTE, id, "", false, &index);
        return;
    }
}

/* --- whoever asks --- */

static bool transfer_happened(const struct replica *r, const struct change *c)
{
    if (c->type != PEER_TRANSFER || r->leader == 0 || !c->maybe)
        return false;
    return c->target != 0 ? r->leader == c->target : r->leader != c->leader && r->term > c->term;
}

static void ask(struct replica *r, struct change *c)
{
    bool again = c->maybe;
    c->maybe = true;
    c->retry_ms = r->now_ms + MIN_OF(r->config.election_ms / 2, ASK_AGAIN_MS);
    if (c->leader == 0) {
        c->leader = r->leader;
        c->term = r->term;
    }
    if (is_leader(r)) {
        serve(r, r->config.id, r->config.boot, c->id, c->type, c->target, c->address, again);
        return;
    }
    struct peer_message m = {.type = PEER_CHANGE};
    m.change.boot = r->config.boot;
    m.change.id = c->id;
    m.change.change = c->type;
    m.change.again = again;
    m.change.target = c->target;
    m.change.address = str_of(c->address);
    replica_send(r, r->leader, &m);
}

void change_run(struct replica *r)
{
    if (r->failed)
        return;
    LIST_FOREACH_SAFE (n, &r->changes) {
        struct change *c = LIST_ENTRY(n, struct change, node);
        if (transfer_happened(r, c))
            finish(r, c, 0);
        else if (r->leader != 0 && r->now_ms >= c->retry_ms)
            ask(r, c);
    }
    promote(r);
}

void change_tick(struct replica *r)
{
    LIST_FOREACH_SAFE (n, &r->changes) {
        struct change *c = LIST_ENTRY(n, struct change, node);
        if (!is_past(r, c->deadline_ms))
            continue;
        int code = c->type == PEER_TRANSFER ? E_TIMEOUT
                   : c->maybe               ? E_UNKNOWN_OUTCOME
                                            : E_UNAVAILABLE;
        finish(r, c, code);
    }
}

void change_receive(struct replica *r, uint64_t from, const struct peer_message *m)
{
    if (m->type == PEER_CHANGE) {
        if (!is_leader(r))
            return; /* It asks again. */
        char *address = xstrndup(str_c(m->change.address), m->change.address.len);
        serve(r, from, m->change.boot, m->change.id, m->change.change, m->change.target, address,
              m->change.again);
        free(address);
        return;
    }
    if (m->change_reply.boot == r->config.boot)
        reply(r, r->config.id, r->config.boot, m->change_reply.id, m->change_reply.code);
}

/* What was asked may be lost: ask again at once. */
void change_connected(struct replica *r)
{
    LIST_FOREACH (n, &r->changes)
        LIST_ENTRY(n, struct change, node)->retry_ms = 0;
}

void change_role_changed(struct replica *r)
{
    r->wait = (struct change_wait){0};
    change_connected(r);
}

void change_close(struct replica *r, int code)
{
    while (!list_empty(&r->changes))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is freed has left the list. */
        finish(r, LIST_ENTRY(r->changes.next, struct change, node), code);
}
