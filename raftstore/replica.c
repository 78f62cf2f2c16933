/* replica.c - the driver around the consensus core: events in, effects out.
 *
 * Happy path of a write on the leader: replica_propose() queues, replica_run()
 * cuts a batch and gives it to the core, whose append() effect puts it into the
 * tail and on its way to the disk while its send() effects are under way to the
 * members. When the disk and a majority have it, the core says committed(), and
 * the next replica_run() applies it. */
#include "raftstore/replica_internal.h"

#include <stdarg.h>
#include <stdio.h>

#define CACHE_SPARE_BYTES (512u << 10)
#define DEFAULT(field, value) c->field = c->field != 0 ? c->field : (value)

/* Messages that wait for the vote to be durable, at most. */
#define HELD_MAX 1024

struct held_message {
    struct list node;
    uint64_t to;
    struct buf bytes;
};

/* --- small services --- */

void replica_fatal(struct replica *r, int code, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    if (r->failed)
        return;
    r->failed = true;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    bool nested = r->in_op;
    R_OP(r, fatal, code, text);
    r->in_op = nested;
}

uint64_t replica_token(struct replica *r)
{
    return ++r->token;
}

struct peer *replica_peer(struct replica *r, uint64_t id)
{
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (r->peers[i]->id == id)
            return r->peers[i];
    return NULL;
}

struct write *replica_write(struct replica *r, enum write_type type)
{
    struct write *w = xzalloc(sizeof(*w));
    w->type = type;
    w->seq = ++r->seq;
    w->since_ms = r->now_ms;
    list_push_back(&r->writes, &w->node);
    return w;
}

static void drop_held(struct replica *r, struct held_message *h)
{
    buf_done(&h->bytes);
    free(h);
    r->held_count--;
}

/* Nothing leaves before the newest term and vote are durable: a member that
 * forgot what it promised could promise twice. */
static void send_or_hold(struct replica *r, uint64_t to, struct buf *bytes)
{
    ASSERT_CMP(bytes->len, <=, REPLICA_MESSAGE_MAX);
    if (r->done_seq >= r->vote_seq) {
        R_OP(r, send, to, bytes);
        buf_done(bytes);
        return;
    }
    /* A disk may hang for hours. Any message may be lost, old ones most of all. */
    if (r->held_count == HELD_MAX)
        drop_held(r, LIST_ENTRY(list_pop_front(&r->held), struct held_message, node));
    struct held_message *h = xmalloc(sizeof(*h));
    h->to = to;
    h->bytes = *bytes;
    *bytes = BUF_INIT;
    list_push_back(&r->held, &h->node);
    r->held_count++;
}

void replica_send(struct replica *r, uint64_t to, const struct peer_message *m)
{
    struct buf out = BUF_INIT;
    peer_message_encode(m, &out);
    send_or_hold(r, to, &out);
}

void replica_send_now(struct replica *r, uint64_t to, const struct peer_message *m)
{
    struct buf out = BUF_INIT;
    peer_message_encode(m, &out);
    R_OP(r, send, to, &out);
    buf_done(&out);
}

static void flush_held(struct replica *r)
{
    struct list *n;
    if (r->done_seq < r->vote_seq)
        return;
    while ((n = list_pop_front(&r->held)) != NULL) {
        struct held_message *h = LIST_ENTRY(n, struct held_message, node);
        R_OP(r, send, h->to, &h->bytes);
        drop_held(r, h);
    }
}

/* --- the consensus' effects --- */

void replica_save_vote(struct replica *r, uint64_t term, uint64_t voted_for)
{
    struct replica_vote v = {term, voted_for};
    r->vote_seq = replica_write(r, WRITE_VOTE)->seq;
    R_OP(r, save_vote, r->vote_seq, &v);
}

/* Writes under way no longer speak for what is cut at index. */
static void forget_writes(struct replica *r, uint64_t index)
{
    LIST_FOREACH (n, &r->writes) {
        struct write *w = LIST_ENTRY(n, struct write, node);
        w->last_index = MIN_OF(w->last_index, index - 1);
    }
    r->persisted = MIN_OF(r->persisted, index - 1);
}

void replica_append(struct replica *r, uint64_t first_index, struct entry *const *entries,
                    uint32_t count)
{
    ASSERT_CMP(first_index, >, r->commit);
    forget_writes(r, first_index);
    tail_cut(&r->tail, first_index);
    for (uint32_t i = 0; i < count; i++)
        tail_append(&r->tail, entries[i]);
    struct write *w = replica_write(r, WRITE_APPEND);
    w->last_index = first_index + count - 1;
    r->appends_pending++;
    R_OP(r, append, w->seq, first_index, entries, count);
}

static void on_install(void *arg, const struct consensus_snapshot *s)
{
    struct replica *r = arg;
    struct replica_snapshot rs = {s->index, s->term, r->install_snapshot->meta};
    forget_writes(r, 1);
    tail_reset(&r->tail, s->index, s->term);
    apply_drop_ahead(r);
    r->installing_seq = replica_write(r, WRITE_INSTALL)->seq;
    r->install_emitted = true;
    R_OP(r, install_snapshot, r->installing_seq, r->rx.local, &rs);
}

static void sync_peers(struct replica *r);

static void on_send(void *arg, const struct consensus_message *m)
{
    struct replica *r = arg;
    struct peer *p = replica_peer(r, m->peer);
    struct peer_message pm = {.type = (uint8_t)m->type};
    if (p == NULL) {
        sync_peers(r); /* The step that added the member also writes to it. */
        p = replica_peer(r, m->peer);
    }
    if (m->type == CONSENSUS_APPEND) {
        if (p != NULL)
            send_append(r, p, m);
        return;
    }
    if (m->type == CONSENSUS_INSTALL) {
        if (p != NULL)
            transfer_start(r, p);
        return;
    }
    pm.core.msg = *m;
    replica_send(r, m->peer, &pm);
}

static void on_committed(void *arg, uint64_t commit_index)
{
    struct replica *r = arg;
    ASSERT_CMP(commit_index, >=, r->commit);
    r->commit = commit_index;
}

static void on_changed(void *arg)
{
    struct replica *r = arg;
    r->look_again = true;
}

static uint64_t on_term_at(void *arg, uint64_t index)
{
    struct replica *r = arg;
    return tail_term(&r->tail, index);
}

static void on_save_vote(void *arg, uint64_t term, uint64_t voted_for)
{
    replica_save_vote(arg, term, voted_for);
}

static void on_append(void *arg, uint64_t first_index, struct entry *const *entries, uint32_t count)
{
    replica_append(arg, first_index, entries, count);
}

static const struct consensus_ops core_ops = {
    .save_vote = on_save_vote,
    .append = on_append,
    .install = on_install,
    .send = on_send,
    .committed = on_committed,
    .changed = on_changed,
    .term_at = on_term_at,
};

/* --- role and members --- */

static void peer_free(struct replica *r, struct peer *p)
{
    transfer_stop(r, p);
    free(p);
}

static bool members_eq(const struct members *a, const struct members *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (a->items[i].id != b->items[i].id || a->items[i].role != b->items[i].role ||
            strcmp(a->items[i].address, b->items[i].address) != 0)
            return false;
    return true;
}

static void sync_peers(struct replica *r)
{
    const struct members *m = consensus_members(r->consensus);
    for (uint32_t i = 0; i < r->peer_count;) {
        if (members_get(m, r->peers[i]->id) != NULL) {
            i++;
            continue;
        }
        peer_free(r, r->peers[i]);
        r->peers[i] = r->peers[--r->peer_count];
    }
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->items[i].id == r->config.id || replica_peer(r, m->items[i].id) != NULL)
            continue;
        struct peer *p = xzalloc(sizeof(*p));
        p->id = m->items[i].id;
        r->peers[r->peer_count++] = p;
    }
}

static void look_at_members(struct replica *r)
{
    const struct members *m = consensus_members(r->consensus);
    sync_peers(r);
    r->was_member |= members_get(m, r->config.id) != NULL;
    if (members_eq(m, &r->told))
        return;
    members_done(&r->told);
    members_copy(&r->told, m);
    R_OP(r, members_changed, &r->told);
}

static void role_changed(struct replica *r)
{
    for (uint32_t i = 0; i < r->peer_count; i++) {
        if (!is_leader(r) || r->peers[i]->term != r->term)
            send_reset(r->peers[i]);
        if (!is_leader(r))
            transfer_stop(r, r->peers[i]);
    }
    propose_role_changed(r);
    read_role_changed(r);
    change_role_changed(r);
}

/* Follows up what the consensus reported with changed(). */
void replica_look(struct replica *r)
{
    if (!r->look_again)
        return;
    r->look_again = false;
    enum consensus_state state = consensus_state(r->consensus);
    uint64_t term = consensus_term(r->consensus), leader = consensus_leader(r->consensus);
    look_at_members(r);
    r->status_dirty = true;
    for (uint32_t i = 0; i < r->peer_count && state == CONSENSUS_LEADER; i++)
        send_resume(r, r->peers[i]);
    if (state == r->state && term == r->term && leader == r->leader)
        return;
    r->state = state;
    r->term = term;
    r->leader = leader;
    role_changed(r);
    if (r->fatal_at_ms != 0 && !is_leader(r))
        replica_fatal(r, r->fatal_code, "%s", r->fatal_text);
}

/* --- life --- */

static void set_defaults(struct replica_config *c)
{
    DEFAULT(heartbeat_ms, 100);
    DEFAULT(election_ms, 1000);
    DEFAULT(proposal_timeout_ms, 7000);
    DEFAULT(disk_stall_ms, c->election_ms);
    DEFAULT(snapshot_log_bytes, 64u << 20);
    DEFAULT(trail_bytes, c->snapshot_log_bytes / 4);
    DEFAULT(cache_bytes, 8u << 20);
    DEFAULT(entry_bytes, 1u << 20);
    DEFAULT(append_bytes, 1u << 20);
    DEFAULT(window_bytes, 8u << 20);
    DEFAULT(queue_bytes, 64u << 20);
    DEFAULT(queue_count, 65536);
    DEFAULT(snapshot_chunk_bytes, 256u << 10);
    /* Sums of these with one command of the largest size fit an entry. */
    c->entry_bytes = MIN_OF(c->entry_bytes, 4u << 20);
    c->append_bytes = MIN_OF(c->append_bytes, 4u << 20);
    c->snapshot_chunk_bytes = MIN_OF(c->snapshot_chunk_bytes, 4u << 20);
}

int replica_new(const struct replica_config *config, struct replica **ret, struct error *err)
{
    if (config->id == 0 || config->boot == 0)
        return error_set(err, E_INVALID, "replica: id and boot must not be 0");
    struct replica *r = xzalloc(sizeof(*r));
    r->config = *config;
    set_defaults(&r->config);
    r->waits_end_ms = UINT64_MAX;
    struct consensus_config cc = {
        .id = config->id,
        .seed = config->seed,
        .election_ms = r->config.election_ms,
        .heartbeat_ms = r->config.heartbeat_ms,
        .install_ms = 30 * r->config.election_ms,
        .guards_off = config->guards_off,
        .ops = &core_ops,
        .arg = r,
    };
    int rc = consensus_new(&cc, &r->consensus, err);
    if (rc != 0) {
        free(r);
        return rc;
    }
    r->ops = config->ops;
    r->arg = config->arg;
    tail_init(&r->tail);
    list_init(&r->writes);
    list_init(&r->held);
    propose_init(r);
    read_init(r);
    change_init(r);
    /* Names that no message of an earlier start carries. */
    r->next_transfer = r->next_group = config->boot << 24;
    *ret = r;
    return 0;
}

void replica_close(struct replica *r)
{
    if (r->closed)
        return;
    r->closed = true;
    propose_close(r, E_CLOSED);
    read_close(r, E_CLOSED);
    change_close(r, E_CLOSED);
}

static void free_lists(struct replica *r)
{
    struct list *n;
    while ((n = list_pop_front(&r->writes)) != NULL)
        free(LIST_ENTRY(n, struct write, node));
    while ((n = list_pop_front(&r->held)) != NULL) {
        struct held_message *h = LIST_ENTRY(n, struct held_message, node);
        buf_done(&h->bytes);
        free(h);
    }
}

void replica_free(struct replica *r)
{
    if (r == NULL)
        return;
    replica_close(r);
    for (uint32_t i = 0; i < r->peer_count; i++) {
        snapshot_ref_drop(r->peers[i]->tx.snapshot);
        free(r->peers[i]);
    }
    free_lists(r);
    start_free_recovered(r);
    apply_drop_ahead(r);
    applied_done(&r->applied);
    applied_done(&r->install_applied);
    snapshot_ref_drop(r->snapshot);
    snapshot_ref_drop(r->taking);
    snapshot_ref_drop(r->install_snapshot);
    members_done(&r->snapshot_members);
    members_done(&r->taking_members);
    members_done(&r->told);
    tail_done(&r->tail);
    consensus_free(r->consensus);
    free(r);
}

/* --- time and work --- */

static bool usable(struct replica *r, uint64_t now_ms)
{
    ASSERT(!r->in_op);
    r->now_ms = MAX_OF(r->now_ms, now_ms);
    return r->started && !r->closed && !r->failed;
}

/* A leader whose disk hangs holds everybody up: hand over. */
static void check_disk(struct replica *r)
{
    bool others = members_voters(consensus_members(r->consensus)) > 1;
    if (r->fatal_at_ms != 0 && r->now_ms >= r->fatal_at_ms) {
        replica_fatal(r, r->fatal_code, "%s", r->fatal_text);
        return;
    }
    if (list_empty(&r->writes) || !is_leader(r) || !others || r->now_ms < r->retry_transfer_ms)
        return;
    struct write *oldest = LIST_ENTRY(r->writes.next, struct write, node);
    if (r->now_ms - oldest->since_ms < r->config.disk_stall_ms)
        return;
    consensus_transfer(r->consensus, r->now_ms, 0);
    r->retry_transfer_ms = r->now_ms + 2 * r->config.election_ms;
}

void replica_tick(struct replica *r, uint64_t now_ms)
{
    if (!usable(r, now_ms))
        return;
    r->last_tick_ms = r->now_ms;
    consensus_tick(r->consensus, r->now_ms);
    replica_look(r);
    check_disk(r);
    propose_tick(r);
    read_tick(r);
    change_tick(r);
    for (uint32_t i = 0; i < r->peer_count; i++)
        transfer_tick(r, r->peers[i]);
    replica_look(r);
}

static bool has_standby(const struct members *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->items[i].role == MEMBER_STANDBY)
            return true;
    return false;
}

static bool needs_housekeeping(const struct replica *r)
{
    return r->proposal_count > 0 || r->read_count > 0 || r->group_count > 0 ||
           r->change_count > 0 || !list_empty(&r->writes) || r->fatal_at_ms != 0 ||
           transfer_active(r) || (is_leader(r) && has_standby(&r->told));
}

void replica_limit_waits(struct replica *r, uint64_t at_ms)
{
    r->waits_end_ms = at_ms;
}

uint64_t replica_deadline(const struct replica *r)
{
    if (!r->started || r->closed || r->failed)
        return UINT64_MAX;
    /* A leader without others has nobody to beat to: it sleeps until asked. */
    bool alone = is_leader(r) && r->told.count == 1;
    uint64_t due = alone ? UINT64_MAX : consensus_deadline(r->consensus);
    return needs_housekeeping(r) ? MIN_OF(due, r->last_tick_ms + r->config.heartbeat_ms) : due;
}

/* What every member has is needed in memory by none: a little of it stays, for
 * the leader to come. What one lacks stays longer; then the disk has it. */
static void evict(struct replica *r)
{
    uint64_t done = MIN_OF(r->applied.index, r->persisted), everywhere = done;
    for (uint32_t i = 0; is_leader(r) && i < r->peer_count; i++) {
        uint64_t match = consensus_match_index(r->consensus, r->peers[i]->id);
        everywhere = MIN_OF(everywhere, match);
    }
    tail_evict(&r->tail, MIN_OF(r->config.cache_bytes, (uint64_t)CACHE_SPARE_BYTES), everywhere);
    tail_evict(&r->tail, r->config.cache_bytes, done);
}

bool replica_run(struct replica *r, uint64_t now_ms)
{
    if (!usable(r, now_ms))
        return false;
    replica_look(r);
    propose_run(r);
    read_run(r);
    bool more = apply_run(r);
    if (r->failed)
        return false;
    read_complete(r);
    apply_maybe_snapshot(r);
    change_run(r);
    replica_look(r);
    for (uint32_t i = 0; is_leader(r) && i < r->peer_count; i++)
        send_commit(r, r->peers[i]);
    evict(r);
    if (r->status_dirty && !r->failed) {
        r->status_dirty = false;
        R_OP(r, changed);
    }
    return more && !r->failed;
}

/* --- from the disk --- */

static void write_done(struct replica *r, struct write *w)
{
    switch (w->type) {
    case WRITE_APPEND:
        r->appends_pending--;
        r->persisted = MAX_OF(r->persisted, w->last_index);
        break;
    case WRITE_INSTALL:
        transfer_installed(r);
        break;
    case WRITE_VOTE:
    case WRITE_RESET:
        break;
    }
}

void replica_persisted(struct replica *r, uint64_t now_ms, uint64_t seq)
{
    if (!usable(r, now_ms))
        return;
    ASSERT_CMP(seq, <=, r->seq);
    uint64_t before = r->persisted;
    r->done_seq = MAX_OF(r->done_seq, seq);
    flush_held(r);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is freed has left the list. */
    while (!list_empty(&r->writes) && LIST_ENTRY(r->writes.next, struct write, node)->seq <= seq) {
        struct write *w = LIST_ENTRY(list_pop_front(&r->writes), struct write, node);
        write_done(r, w);
        free(w);
    }
    if (r->persisted > before && r->installing_seq == 0)
        consensus_persisted(r->consensus, r->now_ms, r->persisted);
    replica_look(r);
    apply_finish_snapshot(r);
}

void replica_entries_read(struct replica *r, uint64_t now_ms, uint64_t token, int code,
                          struct entry *const *entries, uint32_t count)
{
    if (!usable(r, now_ms) || token == 0)
        return;
    if (code != 0)
        count = 0;
    if (token == r->apply_token) {
        r->apply_token = 0;
        if (code != 0)
            replica_fatal(r, code, "log entry %" PRIu64 " cannot be read back",
                          r->applied.index + 1);
        else
            apply_entries_read(r, entries, count);
        return;
    }
    for (uint32_t i = 0; i < r->peer_count; i++) {
        if (r->peers[i]->token != token)
            continue;
        r->peers[i]->token = 0;
        send_entries_read(r, r->peers[i], entries, count);
    }
}

void replica_disk_failed(struct replica *r, uint64_t now_ms, int code, const char *message)
{
    if (!usable(r, now_ms) || r->fatal_at_ms != 0)
        return;
    r->fatal_code = code;
    snprintf(r->fatal_text, sizeof(r->fatal_text), "%s", message);
    if (!is_leader(r) || consensus_transfer(r->consensus, r->now_ms, 0) != 0) {
        replica_fatal(r, code, "%s", message);
        return;
    }
    r->fatal_at_ms = r->now_ms + 2 * r->config.election_ms;
    replica_look(r);
}

/* --- from peers --- */

static void receive_core(struct replica *r, uint64_t from, struct peer_message *pm)
{
    struct consensus_message *m = &pm->core.msg;
    struct error err = {0};
    m->peer = from;
    if (m->type == CONSENSUS_INSTALL) {
        transfer_install(r, from, pm);
        return;
    }
    r->rejecting = m->type == CONSENSUS_APPEND_RESULT && m->append_result.rejected != 0;
    int rc = consensus_receive(r->consensus, r->now_ms, m, &err);
    r->rejecting = false;
    if (rc != 0) {
        replica_fatal(r, rc, "%s", error_message(&err));
        return;
    }
    struct peer *p = replica_peer(r, from);
    if (m->type == CONSENSUS_APPEND_RESULT && m->append_result.rejected == 0 && p != NULL &&
        consensus_state(r->consensus) == CONSENSUS_LEADER &&
        m->term == consensus_term(r->consensus)) {
        send_acked(r, p, m->append_result.last_index);
        transfer_acked(r, p, consensus_match_index(r->consensus, from));
    }
}

int replica_receive(struct replica *r, uint64_t now_ms, uint64_t from, struct str bytes)
{
    struct peer_message m;
    if (!usable(r, now_ms))
        return 0;
    int rc = peer_message_decode(bytes, &m, NULL);
    if (rc != 0)
        return rc;
    struct peer *p = replica_peer(r, from);
    if (p != NULL)
        p->heard_ms = r->now_ms;
    switch (m.type) {
    case PEER_FORWARD:
    case PEER_REFUSED:
        propose_receive(r, from, &m);
        break;
    case PEER_HEARTBEAT:
    case PEER_HEARTBEAT_ACK:
    case PEER_READ:
    case PEER_READ_REPLY:
        read_receive(r, from, &m);
        break;
    case PEER_CHANGE:
    case PEER_CHANGE_REPLY:
        change_receive(r, from, &m);
        break;
    case PEER_CHUNK:
    case PEER_CHUNK_ACK:
        transfer_receive(r, from, &m);
        break;
    default:
        receive_core(r, from, &m);
    }
    peer_message_done(&m);
    if (!r->failed)
        replica_look(r);
    return 0;
}

void replica_connected(struct replica *r, uint64_t id)
{
    struct peer *p = r->started && !r->closed ? replica_peer(r, id) : NULL;
    if (p == NULL)
        return;
    send_reset(p);
    if (id == r->leader) {
        propose_connected(r);
        change_connected(r);
    }
}

/* --- looking --- */

void replica_status(const struct replica *r, struct replica_status *ret)
{
    const struct members *m = consensus_members(r->consensus);
    const struct member *self = members_get(m, r->config.id);
    *ret = (struct replica_status){
        .state = r->state == CONSENSUS_LEADER      ? REPLICA_LEADER
                 : r->state == CONSENSUS_CANDIDATE ? REPLICA_CANDIDATE
                                                   : REPLICA_FOLLOWER,
        .term = r->term,
        .leader = r->leader,
        .commit_index = r->commit,
        .applied_index = r->applied.index,
        .last_index = tail_last(&r->tail),
        .first_index = r->tail.first,
        .snapshot_index = r->snapshot != NULL ? r->snapshot->index : 0,
        .log_bytes = r->bytes_since,
        .cache_bytes = r->tail.cache_bytes,
        .proposals = r->proposal_count,
        .proposal_bytes = r->proposal_bytes,
        .reads = r->read_count,
        .is_voter = self != NULL && self->role == MEMBER_VOTER,
        .is_learner = self != NULL && self->role == MEMBER_LEARNER,
        .removed = r->was_member && self == NULL,
    };
}

const struct members *replica_members(const struct replica *r)
{
    return consensus_members(r->consensus);
}
