/* consensus_raft_emit.c - carrying out what a step of libraft decided. */
#include "raftstore/consensus_raft_internal.h"

void consensus_save_vote(struct consensus *c)
{
    uint64_t term = c->raft.current_term, vote = c->raft.voted_for;
    if (term == c->saved_term && vote == c->saved_vote)
        return;
    ASSERT_CMP(term, >=, c->saved_term);
    c->changed |= term != c->saved_term;
    c->saved_term = term;
    c->saved_vote = vote;
    c->config.ops->save_vote(c->config.arg, term, vote);
}

static void emit_append(struct consensus *c, const struct raft_update *u)
{
    uint64_t first = u->entries.index;
    struct entry *noop = NULL, *const * entries;
    if (c->stepped != NULL && u->entries.batch >= c->stepped &&
        u->entries.batch < c->stepped + c->stepped_count) {
        /* Without its own assertions the core may hand out more than it was given. */
        ASSERT_CMP(u->entries.batch - c->stepped + u->entries.n, <=, c->stepped_count);
        entries = c->stepped_entries + (u->entries.batch - c->stepped);
    } else {
        ASSERT(u->entries.batch == &c->raft.barrier && u->entries.n == 1);
        noop = core_new_entry(ENTRY_NOOP, first, c->raft.barrier.term, 0);
        entries = &noop;
    }
    consensus_mirror_cut(c, first);
    for (uint32_t i = 0; i < u->entries.n; i++) {
        if (entries != &noop) {
            entries[i]->index = first + i;
            entries[i]->term = u->entries.batch[i].term;
        }
        if (entries[i]->type == ENTRY_MEMBERS)
            consensus_mirror_append(c, first + i, entry_str(entries[i]));
    }
    raft_free(u->entries.batch[0].batch);
    c->config.ops->append(c->config.arg, first, entries, u->entries.n);
    entry_unref(noop);
}

static void emit_install(struct consensus *c, struct raft_update *u)
{
    /* The core counts on getting this list back, see consensus_installed(). */
    raft_configuration_close(&u->snapshot.metadata.configuration);
    raft_free(u->snapshot.chunk.base);
    c->config.ops->install(c->config.arg, &c->install);
}

static void fill_result(struct consensus *c, const struct raft_append_entries_result *r,
                        struct consensus_message *m)
{
    m->type = CONSENSUS_APPEND_RESULT;
    m->term = r->term;
    m->append_result.rejected = r->rejected;
    m->append_result.last_index = r->last_log_index;
    /* Guard STALE_RESULT. Refusing a message of an older term, the core leaves
     * last_log_index uninitialised and, for a snapshot or prev 0, even says
     * "accepted". Should the sender lead again in this term it would believe
     * that and commit what nobody has. Say "rejected" at an index that makes the
     * leader probe at most. */
    if (c->refusing && consensus_guarded(c, GUARD_STALE_RESULT)) {
        m->append_result.rejected = UINT64_MAX;
        m->append_result.last_index = 0;
    }
}

static void fill_vote_result(struct consensus *c, const struct raft_request_vote_result *r,
                             struct consensus_message *m)
{
    m->type = CONSENSUS_VOTE_RESULT;
    m->term = r->term;
    m->vote_result.granted = r->vote_granted;
    m->vote_result.pre_vote = r->pre_vote;
    /* Guard PREVOTE_TERM. A refused pre-vote carries the asker's term, so the
     * asker never learns ours: a long log with a low term and a short one with
     * a high term refuse each other for ever. */
    if (r->pre_vote && !r->vote_granted && consensus_guarded(c, GUARD_PREVOTE_TERM))
        m->term = MAX_OF(m->term, (uint64_t)c->raft.current_term);
}

/* A transfer lets its target unseat the leader, once. The core goes on asking for that in
 * every later election: a member that was removed and does not know would stop the others
 * for ever. */
static void fill_vote(const struct consensus *c, const struct raft_request_vote *r,
                      struct consensus_message *m)
{
    m->type = CONSENSUS_VOTE;
    m->term = r->term;
    m->vote.last_index = r->last_log_index;
    m->vote.last_term = r->last_log_term;
    m->vote.pre_vote = r->pre_vote;
    m->vote.disrupt_leader = r->disrupt_leader && r->term == c->disrupt_term;
}

/* Guard TRANSFER_EARLY. The core sends this with the first acknowledgement after
 * the transfer began, whatever that covers, and never again. A member that does
 * not have everything yet ignores it, and the leader takes no proposals until the
 * transfer times out. Let it fire again until the member has everything. */
static bool is_early_timeout_now(struct consensus *c, const struct raft_message *m)
{
    if (m->type != RAFT_TIMEOUT_NOW || c->raft.state != RAFT_LEADER ||
        !consensus_guarded(c, GUARD_TRANSFER_EARLY) ||
        consensus_match_index(c, m->server_id) >= m->timeout_now.last_log_index)
        return false;
    c->raft.leader_state.transferring = false;
    return true;
}

static void emit_message(struct consensus *c, const struct raft_message *in)
{
    struct consensus_message m = {.peer = in->server_id};
    if (is_early_timeout_now(c, in))
        return;
    /* A follower that forgot its leader (Guard FORGET_LEADER) answers nobody. */
    if (in->server_id == 0)
        return;
    switch (in->type) {
    case RAFT_APPEND_ENTRIES:
        m.type = CONSENSUS_APPEND;
        m.term = in->append_entries.term;
        m.append.prev_index = in->append_entries.prev_log_index;
        m.append.prev_term = in->append_entries.prev_log_term;
        m.append.commit = in->append_entries.leader_commit;
        m.append.count = in->append_entries.n_entries;
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        fill_result(c, &in->append_entries_result, &m);
        break;
    case RAFT_REQUEST_VOTE:
        fill_vote(c, &in->request_vote, &m);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        fill_vote_result(c, &in->request_vote_result, &m);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        m.type = CONSENSUS_INSTALL;
        m.term = in->install_snapshot.term;
        m.install.index = in->install_snapshot.last_index;
        m.install.snapshot_term = in->install_snapshot.last_term;
        m.install.members_index = in->install_snapshot.conf_index;
        break;
    case RAFT_TIMEOUT_NOW:
        m.type = CONSENSUS_TIMEOUT_NOW;
        m.term = in->timeout_now.term;
        m.timeout_now.last_index = in->timeout_now.last_log_index;
        m.timeout_now.last_term = in->timeout_now.last_log_term;
        break;
    default:
        PANIC("libraft sent a message of type %d", (int)in->type);
    }
    c->config.ops->send(c->config.arg, &m);
}

void consensus_emit(struct consensus *c, struct raft_update *u)
{
    const struct consensus_ops *ops = c->config.ops;
    c->stepping = true;
    if (u->flags & ((RAFT_UPDATE_CURRENT_TERM) | (RAFT_UPDATE_VOTED_FOR)))
        consensus_save_vote(c);
    if (u->flags & (RAFT_UPDATE_ENTRIES))
        emit_append(c, u);
    if (u->flags & (RAFT_UPDATE_SNAPSHOT))
        emit_install(c, u);
    if (u->flags & (RAFT_UPDATE_MESSAGES))
        for (unsigned i = 0; i < u->messages.n; i++)
            emit_message(c, &u->messages.batch[i]);
    /* The core's commit index also moves during an install, when the entries
     * are gone, and without Guard PREV_BELOW_LOG it can fall back. */
    if (!c->raft.snapshot.installing && c->raft.commit_index > c->commit) {
        c->commit = c->raft.commit_index;
        ops->committed(c->config.arg, c->commit);
    }
    c->changed |= (u->flags & (RAFT_UPDATE_STATE)) != 0;
    c->stepping = false;
}
