/* consensus_raft_receive.c - messages from peers, bounded and guarded before libraft
 * sees them. */
#include "raftstore/consensus_raft_internal.h"

#include "lib/base/error.h"

#include <inttypes.h>
#include <stdio.h>

static bool entries_valid(const struct consensus_message *m)
{
    uint64_t term = m->append.prev_term;
    if ((m->append.prev_index == 0) != (m->append.prev_term == 0) || term > m->term)
        return false;
    for (uint32_t i = 0; i < m->append.count; i++) {
        const struct entry *e = m->append.entries[i];
        if (e->term == 0 || e->term < term || e->term > m->term ||
            e->index != m->append.prev_index + 1 + i)
            return false;
        term = e->term;
    }
    return true;
}

static int receive_raw(struct consensus *c, struct raft_message *rm)
{
    struct raft_event ev = {.type = RAFT_RECEIVE};
    char name[24];
    snprintf(name, sizeof(name), "%llu", rm->server_id);
    rm->server_address = name;
    ev.receive.message = rm;
    return consensus_step(c, &ev);
}

/* Steps entries[0 .. count) behind prev as one message. */
static int receive_part(struct consensus *c, const struct consensus_message *m, uint64_t prev_index,
                        uint64_t prev_term, struct entry *const *entries, uint32_t count,
                        struct error *err)
{
    struct raft_message rm = {.type = RAFT_APPEND_ENTRIES, .server_id = m->peer};
    rm.append_entries.version = 1;
    rm.append_entries.term = m->term;
    rm.append_entries.prev_log_index = prev_index;
    rm.append_entries.prev_log_term = prev_term;
    rm.append_entries.leader_commit = m->append.commit;
    struct raft_entry *list = NULL;
    if (count > 0) {
        list = core_entries(entries, count, err);
        if (list == NULL)
            return 0; /* A list of members that does not decode: drop. */
        rm.append_entries.entries = list;
        rm.append_entries.n_entries = count;
        c->stepped = list;
        c->stepped_entries = entries;
        c->stepped_count = count;
    }
    int rv = receive_raw(c, &rm);
    c->stepped = NULL;
    free(list);
    consensus_report_change(c);
    if (rv == RAFT_NOMEM)
        core_must(rv);
    return rv == 0 ? 0
                   : error_set(err, E_CORRUPT,
                               "the leader %" PRIu64
                               " contradicts a committed entry at or above %" PRIu64,
                               m->peer, prev_index);
}

/* How many of the entries go into one message: up to the next change. */
static uint32_t part_length(const struct consensus *c, struct entry *const *entries, uint32_t count)
{
    uint32_t n = MIN_OF(count, 1);
    /* Guard CHANGE_FIRST. For any change in a message the core notes the index
     * of the message's first new entry: the change would never count as
     * committed, nor be rolled back. So each change opens a message. */
    if (!consensus_guarded(c, GUARD_CHANGE_FIRST))
        return count;
    while (n < count && entries[n]->type != ENTRY_MEMBERS)
        n++;
    return n;
}

static int receive_append(struct consensus *c, const struct consensus_message *m, struct error *err)
{
    uint64_t prev = m->append.prev_index, prev_term = m->append.prev_term;
    struct entry *const *entries = m->append.entries;
    uint32_t count = m->append.count;
    if (!entries_valid(m))
        return 0;
    /* Guard PREV_BELOW_LOG. With prev 0, the core takes entries at face value
     * and appends them at its log's end even if that log starts later. And an
     * old message can pull the commit index back. What is committed here is in
     * the leader's log too, so skip to there; but never drop the message: the
     * leader may be probing exactly here. */
    uint64_t own_term = m->term >= c->raft.current_term && prev < c->commit
                            ? c->config.ops->term_at(c->config.arg, c->commit)
                            : 0;
    if (own_term != 0 && consensus_guarded(c, GUARD_PREV_BELOW_LOG)) {
        uint32_t skip = (uint32_t)MIN_OF((uint64_t)count, c->commit - prev);
        prev = c->commit;
        prev_term = own_term;
        entries += skip;
        count -= skip;
    }
    do {
        /* Guard CHANGE_COMMITTED. The core forgets an uncommitted change when the
         * next one arrives, even if this very message says that the first is
         * committed. Let it hear that first. */
        if (count > 0 && entries[0]->type == ENTRY_MEMBERS && c->change_index != 0 &&
            c->change_index <= prev && consensus_guarded(c, GUARD_CHANGE_COMMITTED)) {
            int rc = receive_part(c, m, prev, prev_term, NULL, 0, err);
            if (rc != 0)
                return rc;
        }
        uint32_t n = part_length(c, entries, count);
        int rc = receive_part(c, m, prev, prev_term, entries, n, err);
        if (rc != 0)
            return rc;
        if (n > 0) {
            prev = entries[n - 1]->index;
            prev_term = entries[n - 1]->term;
        }
        entries += n;
        count -= n;
    } while (count > 0);
    return 0;
}

static void receive_append_result(struct consensus *c, const struct consensus_message *m)
{
    struct raft_message rm = {.type = RAFT_APPEND_ENTRIES_RESULT, .server_id = m->peer};
    /* Guard LATE_REJECTION. A late rejection at or below what the member has
     * acknowledged turns the core's window around: it sends nothing more. */
    if (c->raft.state == RAFT_LEADER && m->term == c->raft.current_term &&
        m->append_result.rejected != 0 &&
        m->append_result.rejected <= consensus_match_index(c, m->peer) &&
        consensus_guarded(c, GUARD_LATE_REJECTION))
        return;
    rm.append_entries_result.version = 1;
    rm.append_entries_result.term = m->term;
    rm.append_entries_result.rejected = m->append_result.rejected;
    rm.append_entries_result.last_log_index = m->append_result.last_index;
    core_must(receive_raw(c, &rm));
}

static void receive_vote(struct consensus *c, const struct consensus_message *m)
{
    struct raft_message rm = {.type = RAFT_REQUEST_VOTE, .server_id = m->peer};
    struct raft_server *self = NULL;
    int role = RAFT_VOTER;
    rm.request_vote.version = 2;
    rm.request_vote.term = m->term;
    rm.request_vote.candidate_id = m->peer;
    rm.request_vote.last_log_index = m->vote.last_index;
    rm.request_vote.last_log_term = m->vote.last_term;
    rm.request_vote.disrupt_leader = m->vote.disrupt_leader;
    rm.request_vote.pre_vote = m->vote.pre_vote;
    /* Guard VOTE_NONVOTER. Whoever asks counts us among its voters; the entry
     * that made us one may not have come here yet. Refusing would halt a cluster
     * that needs this vote. Let the core see a voter while it answers. */
    for (unsigned i = 0; i < c->raft.configuration.n; i++)
        if (c->raft.configuration.servers[i].id == c->config.id)
            self = &c->raft.configuration.servers[i];
    if (self != NULL && consensus_guarded(c, GUARD_VOTE_NONVOTER)) {
        role = self->role;
        self->role = RAFT_VOTER;
    }
    core_must(receive_raw(c, &rm));
    if (self != NULL && consensus_guarded(c, GUARD_VOTE_NONVOTER))
        self->role = role;
}

static void receive_vote_result(struct consensus *c, const struct consensus_message *m)
{
    struct raft_message rm = {.type = RAFT_REQUEST_VOTE_RESULT, .server_id = m->peer};
    /* Guard VOTE_RESULT_STATE. The core looks at candidate state before it asks
     * whether it is candidate: a late answer could depose a leader. */
    if (c->raft.state != RAFT_CANDIDATE && consensus_guarded(c, GUARD_VOTE_RESULT_STATE))
        return;
    rm.request_vote_result.version = 2;
    rm.request_vote_result.term = m->term;
    rm.request_vote_result.vote_granted = m->vote_result.granted;
    rm.request_vote_result.pre_vote = m->vote_result.pre_vote;
    core_must(receive_raw(c, &rm));
}

static void receive_install(struct consensus *c, const struct consensus_message *m)
{
    struct raft_message rm = {.type = RAFT_INSTALL_SNAPSHOT, .server_id = m->peer};
    /* Guard INSTALL_TWICE. During an install the core neither uses nor frees it. */
    if (c->raft.snapshot.installing && consensus_guarded(c, GUARD_INSTALL_TWICE))
        return;
    if (m->install.index == 0 || m->install.snapshot_term == 0 ||
        m->install.snapshot_term > m->term || m->install.members->count == 0)
        return;
    if (!c->raft.snapshot.installing) {
        members_done(&c->install.members);
        c->install.index = m->install.index;
        c->install.term = m->install.snapshot_term;
        c->install.members_index = m->install.members_index;
        members_copy(&c->install.members, m->install.members);
    }
    rm.install_snapshot.version = 1;
    rm.install_snapshot.term = m->term;
    rm.install_snapshot.last_index = m->install.index;
    rm.install_snapshot.last_term = m->install.snapshot_term;
    rm.install_snapshot.conf_index = m->install.members_index;
    core_members(m->install.members, &rm.install_snapshot.conf);
    rm.install_snapshot.data.base = core_malloc(8);
    rm.install_snapshot.data.len = 8;
    core_must(receive_raw(c, &rm));
}

static void receive_timeout_now(struct consensus *c, const struct consensus_message *m)
{
    struct raft_message rm = {.type = RAFT_TIMEOUT_NOW, .server_id = m->peer};
    /* A sole voter elects itself with its own timer, see before_timeout(). */
    if (consensus_is_sole_voter(c))
        return;
    if (m->term >= c->raft.current_term)
        c->disrupt_term = m->term + 1;
    rm.timeout_now.version = 1;
    rm.timeout_now.term = m->term;
    rm.timeout_now.last_log_index = m->timeout_now.last_index;
    rm.timeout_now.last_log_term = m->timeout_now.last_term;
    core_must(receive_raw(c, &rm));
}

int consensus_receive(struct consensus *c, uint64_t now_ms, const struct consensus_message *m,
                      struct error *err)
{
    int rc = 0;
    consensus_set_time(c, now_ms);
    if (m->peer == 0 || m->peer == c->config.id || m->term == 0)
        return 0;
    bool from_leader = m->type == CONSENSUS_APPEND || m->type == CONSENSUS_INSTALL;
    if (from_leader && c->raft.state == RAFT_LEADER && m->term == c->raft.current_term)
        return error_set(err, E_CORRUPT,
                         "two leaders in term %" PRIu64 ": this member and %" PRIu64, m->term,
                         m->peer);
    c->refusing = m->term < c->raft.current_term;
    switch (m->type) {
    case CONSENSUS_APPEND:
        rc = receive_append(c, m, err);
        break;
    case CONSENSUS_APPEND_RESULT:
        receive_append_result(c, m);
        break;
    case CONSENSUS_VOTE:
        receive_vote(c, m);
        break;
    case CONSENSUS_VOTE_RESULT:
        receive_vote_result(c, m);
        break;
    case CONSENSUS_INSTALL:
        receive_install(c, m);
        break;
    case CONSENSUS_TIMEOUT_NOW:
        receive_timeout_now(c, m);
        break;
    }
    c->refusing = false;
    if (rc == 0)
        consensus_follow_up(c);
    consensus_tell_changed(c);
    return rc;
}
