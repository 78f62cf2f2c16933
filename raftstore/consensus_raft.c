/* consensus_raft.c - libraft's step function behind the seam of consensus.h.
 *
 * The only files that know libraft are consensus_raft*.c. They use the pure core
 * alone: raft_init() without io and fsm, and raft_step(). The packaged library has
 * its assertions compiled out, so a broken rule would be silent: every known
 * defect is guarded, each guard marked "Guard NAME". Some poke into struct raft,
 * which is why the version is pinned.
 *
 * Happy path of a call: build an event, raft_step(), carry out the update
 * (consensus_emit()), then follow up: report a change that became committed,
 * append the no-op of a new term.
 *
 * The core sees no payload of commands and no addresses: entries are stepped
 * with empty buffers and found again by their position, members are named by
 * their id in decimal. So logs, snapshots and messages owe nothing to libraft.
 */
#include "raftstore/consensus_raft_internal.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <inttypes.h>
#include <stdio.h>

/* Declared by the header, exported only by the static library. */
#pragma weak raft_version_number

#define IN_FLIGHT_MAX (1u << 20) /* Entries; bytes in flight are the driver's business. */
#define TIMEOUT_GAP_MS 2         /* At least between two timeouts; see GUARD_BUSY_TIMER. */

/* --- the mirrored list of members --- */

void consensus_mirror_append(struct consensus *c, uint64_t index, struct str payload)
{
    struct members m = {0};
    if (members_decode(payload, &m, NULL) != 0)
        PANIC("entry %" PRIu64 ": list of members does not decode", index);
    if (c->change_index == 0) {
        members_done(&c->committed);
        c->committed = c->members;
        c->members = (struct members){0};
    }
    members_done(&c->members);
    c->members = m;
    c->change_index = index;
    c->changed = true;
}

/* The log is cut at index. */
void consensus_mirror_cut(struct consensus *c, uint64_t index)
{
    if (c->change_index == 0 || c->change_index < index)
        return;
    members_done(&c->members);
    c->members = c->committed;
    c->committed = (struct members){0};
    c->change_index = 0;
    c->changed = true;
}

static void mirror_set(struct consensus *c, const struct members *m)
{
    members_done(&c->members);
    members_done(&c->committed);
    members_copy(&c->members, m);
    c->change_index = 0;
    c->changed = true;
}

bool consensus_is_sole_voter(const struct consensus *c)
{
    const struct member *self = members_get(&c->members, c->config.id);
    return self != NULL && self->role == MEMBER_VOTER && members_voters(&c->members) == 1;
}

/* --- stepping --- */

/* Steps without following up. */
int consensus_step(struct consensus *c, struct raft_event *ev)
{
    struct raft_update u = {0};
    uint64_t leader = consensus_leader(c);
    ASSERT(!c->stepping);
    ev->time = c->now_ms;
    ev->capacity = UINT16_MAX;
    int rv = raft_step(&c->raft, ev, &u);
    if (rv == 0)
        consensus_emit(c, &u);
    c->changed |= leader != consensus_leader(c);
    return rv;
}

void consensus_tell_changed(struct consensus *c)
{
    if (!c->changed)
        return;
    c->changed = false;
    c->stepping = true;
    c->config.ops->changed(c->config.arg);
    c->stepping = false;
}

static int step_all(struct consensus *c, struct raft_event *ev)
{
    int rv = consensus_step(c, ev);
    if (rv == 0)
        consensus_follow_up(c);
    consensus_tell_changed(c);
    return rv;
}

void consensus_set_time(struct consensus *c, uint64_t now_ms)
{
    ASSERT(!c->stepping);
    /* The core subtracts times: one step back would be a huge wait. */
    c->now_ms = MAX_OF(c->now_ms, now_ms);
}
/* --- follow-ups --- */

/* Tells the core that the newest change is committed: at once, not when it is
 * applied. The core has room for one uncommitted change. A follower that got a
 * second one before it applied the first would, on a cut, fall back to the list
 * before both (see also Guard CHANGE_COMMITTED). */
void consensus_report_change(struct consensus *c)
{
    struct raft_event ev = {.type = RAFT_CONFIGURATION};
    if (c->change_index == 0 || c->change_index > c->commit || c->raft.snapshot.installing)
        return;
    ev.configuration.index = c->change_index;
    core_members(&c->members, &ev.configuration.conf);
    c->change_index = 0;
    members_done(&c->committed);
    c->changed = true;
    core_must(consensus_step(c, &ev));
}

static int submit(struct consensus *c, struct entry *const *entries, uint32_t count,
                  struct error *err)
{
    struct raft_event ev = {.type = RAFT_SUBMIT};
    for (uint32_t i = 0; i < count; i++)
        entries[i]->term = c->raft.current_term; /* The core does not set it. */
    struct raft_entry *list = core_entries(entries, count, err);
    if (list == NULL)
        return E_INVALID;
    void *block = list[0].batch;
    ev.submit.entries = list;
    ev.submit.n = count;
    c->stepped = list;
    c->stepped_entries = entries;
    c->stepped_count = count;
    int rv = consensus_step(c, &ev);
    c->stepped = NULL;
    if (rv != 0)
        raft_free(block);
    free(list);
    if (rv == RAFT_NOMEM)
        core_must(rv);
    return rv == 0 ? 0
                   : error_set(err, rv == RAFT_CANTCHANGE ? E_AGAIN : E_NOT_LEADER, "%s",
                               raft_strerror(rv));
}

/* A leader appends an entry of its term at once: what stands before it commits
 * with it, and reads and changes wait for it. The core does so only when it sees
 * uncommitted entries, and never as a sole voter. */
static void ensure_noop(struct consensus *c)
{
    uint64_t last = consensus_last_index(c);
    if (c->raft.state != RAFT_LEADER || c->raft.leader_state.transferee != 0 ||
        (last != 0 && c->config.ops->term_at(c->config.arg, last) == c->raft.current_term))
        return;
    struct entry *noop = core_new_entry(ENTRY_NOOP, 0, 0, 0);
    submit(c, &noop, 1, NULL);
    entry_unref(noop);
}

void consensus_follow_up(struct consensus *c)
{
    consensus_report_change(c);
    ensure_noop(c);
    consensus_report_change(c);
}

/* --- life --- */

/* The shared library does not tell its version. Its initial values must at least
 * stand where this header's struct has them, from one end to the other. */
static bool is_pinned_version(const struct raft *r, uint64_t id)
{
    if (raft_version_number != NULL && raft_version_number() != RAFT_VERSION_NUMBER)
        return false;
    return r->id == id && r->election_timeout == 1000 && r->heartbeat_timeout == 100 &&
           r->install_snapshot_timeout == 30000 && r->state == RAFT_FOLLOWER && !r->pre_vote &&
           r->max_catch_up_rounds == 10 && r->max_catch_up_round_duration == 5000 &&
           r->max_inflight_entries == 32;
}

int consensus_new(const struct consensus_config *config, struct consensus **ret, struct error *err)
{
    /* raft_init() without io leaves fields unset. */
    struct consensus *c = xzalloc(sizeof(*c));
    char name[24];
    c->config = *config;
    snprintf(name, sizeof(name), "%" PRIu64, config->id);
    core_must(raft_init(&c->raft, NULL, NULL, config->id, name));
    if (!is_pinned_version(&c->raft, config->id)) {
        raft_close(&c->raft, NULL);
        free(c);
        return error_set(err, E_NOT_IMPLEMENTED, "libraft at run time is not version %d",
                         RAFT_VERSION_NUMBER);
    }
    /* The default tracer formats every message, printed or not. */
    c->raft.tracer = NULL;
    /* Before the timeouts are set: they draw from it. */
    raft_seed(&c->raft, config->seed);
    raft_set_pre_vote(&c->raft, true);
    raft_set_election_timeout(&c->raft, config->election_ms);
    raft_set_heartbeat_timeout(&c->raft, config->heartbeat_ms);
    raft_set_install_snapshot_timeout(&c->raft, config->install_ms);
    raft_set_max_inflight_entries(&c->raft, IN_FLIGHT_MAX);
    *ret = c;
    return 0;
}

void consensus_free(struct consensus *c)
{
    if (c == NULL)
        return;
    raft_close(&c->raft, NULL);
    members_done(&c->members);
    members_done(&c->committed);
    members_done(&c->install.members);
    free(c);
}

/* Sets the mirror as the core will find it: the newest change behind the
 * snapshot counts as not committed unless it stands at index 1. */
static int recover_members(struct consensus *c, const struct consensus_recovered *r,
                           struct error *err)
{
    uint64_t known = r->snapshot != NULL ? r->snapshot->members_index : 0;
    if (r->snapshot != NULL)
        mirror_set(c, &r->snapshot->members);
    for (uint32_t i = 0; i < r->count; i++) {
        uint64_t index = r->first_index + i;
        struct members m = {0};
        if (r->entries[i].type != ENTRY_MEMBERS || index <= known)
            continue;
        if (members_decode(r->entries[i].members, &m, err) != 0)
            return error_set(err, E_CORRUPT,
                             "log entry %" PRIu64 ": list of members does not decode", index);
        members_done(&m);
        if (c->change_index != 0) { /* At most one was uncommitted. */
            c->change_index = 0;
            members_done(&c->committed);
        }
        consensus_mirror_append(c, index, r->entries[i].members);
        if (index == 1) {
            c->change_index = 0;
            members_done(&c->committed);
        }
    }
    return 0;
}

static struct raft_entry *recover_entries(const struct consensus_recovered *r)
{
    struct raft_entry *list = xzalloc((r->count + 1) * sizeof(*list));
    for (uint32_t i = 0; i < r->count; i++) {
        list[i].term = r->entries[i].term;
        list[i].type = core_type(r->entries[i].type);
        if (r->entries[i].type == ENTRY_MEMBERS &&
            core_change(r->entries[i].members, &list[i].buf, NULL) != 0)
            PANIC("log entry %" PRIu64 ": list of members", r->first_index + i);
    }
    return list;
}

int consensus_start(struct consensus *c, uint64_t now_ms, const struct consensus_recovered *r,
                    struct error *err)
{
    struct raft_event ev = {.type = RAFT_START};
    struct raft_snapshot_metadata metadata = {0};
    consensus_set_time(c, now_ms);
    if (recover_members(c, r, err) != 0)
        return E_CORRUPT;
    ev.start.term = c->saved_term = r->term;
    ev.start.voted_for = c->saved_vote = r->voted_for;
    /* Guard SOLE_VOTER_TERM. A sole voter makes itself leader without a new term
     * or vote. If it crashed after it had sent an entry but before the entry was
     * durable, it would write another one with the same index and term. */
    if (consensus_is_sole_voter(c) && consensus_guarded(c, GUARD_SOLE_VOTER_TERM)) {
        ev.start.term = c->saved_term = r->term + 1;
        ev.start.voted_for = c->saved_vote = c->config.id;
        c->config.ops->save_vote(c->config.arg, c->saved_term, c->saved_vote);
    }
    if (r->snapshot != NULL) {
        metadata.index = r->snapshot->index;
        metadata.term = r->snapshot->term;
        metadata.configuration_index = r->snapshot->members_index;
        core_members(&r->snapshot->members, &metadata.configuration);
        ev.start.metadata = &metadata;
    }
    struct raft_entry *list = recover_entries(r);
    ev.start.start_index = r->first_index;
    ev.start.entries = list;
    ev.start.n_entries = r->count;
    c->changed = true;
    int rv = consensus_step(c, &ev);
    for (uint32_t i = 0; i < r->count; i++)
        raft_free(list[i].buf.base);
    free(list);
    if (rv != 0)
        return error_set(err, E_CORRUPT, "libraft start: %s", raft_strerror(rv));
    consensus_follow_up(c);
    consensus_tell_changed(c);
    return 0;
}

/* --- time --- */

static void before_timeout(struct consensus *c)
{
    struct raft *r = &c->raft;
    /* Guard SOLE_VOTER_TERM, second half: a follower left as the only voter would
     * also lead in the term it happens to be in, in which another may lead. */
    if (r->state != RAFT_FOLLOWER || !consensus_is_sole_voter(c) ||
        !consensus_guarded(c, GUARD_SOLE_VOTER_TERM) || r->snapshot.installing ||
        r->last_stored < consensus_last_index(c))
        return;
    r->current_term++;
    r->voted_for = r->id;
    c->stepping = true;
    consensus_save_vote(c);
    c->stepping = false;
}

void consensus_tick(struct consensus *c, uint64_t now_ms)
{
    struct raft_event ev = {.type = RAFT_TIMEOUT};
    consensus_set_time(c, now_ms);
    if (c->now_ms < consensus_deadline(c))
        return;
    bool was_follower = c->raft.state == RAFT_FOLLOWER;
    if (was_follower)
        before_timeout(c);
    c->last_timeout_ms = c->now_ms;
    c->timed_out_once = true;
    core_must(consensus_step(c, &ev));
    /* Guard FORGET_LEADER. A follower that may not become candidate (no voter,
     * writes under way) keeps its leader for ever and refuses every vote. */
    if (was_follower && c->raft.state == RAFT_FOLLOWER &&
        c->raft.follower_state.current_leader.id != 0 &&
        consensus_guarded(c, GUARD_FORGET_LEADER)) {
        c->raft.follower_state.current_leader.id = 0;
        c->changed = true;
    }
    consensus_follow_up(c);
    consensus_tell_changed(c);
}

uint64_t consensus_deadline(const struct consensus *c)
{
    uint64_t due = raft_timeout(&c->raft);
    /* Guard BUSY_TIMER. With a spare member that it sends nothing to, a leader's
     * deadline stays in the past: the loop would spin. */
    if (c->timed_out_once && consensus_guarded(c, GUARD_BUSY_TIMER))
        due = MAX_OF(due, c->last_timeout_ms + TIMEOUT_GAP_MS);
    return due;
}
/* --- disk --- */

void consensus_persisted(struct consensus *c, uint64_t now_ms, uint64_t index)
{
    struct raft_event ev = {.type = RAFT_PERSISTED_ENTRIES};
    consensus_set_time(c, now_ms);
    if (c->raft.snapshot.installing || index <= c->raft.last_stored)
        return;
    ASSERT_CMP(index, <=, consensus_last_index(c));
    ev.persisted_entries.index = index;
    core_must(step_all(c, &ev));
}

void consensus_snapshot_taken(struct consensus *c, uint64_t now_ms,
                              const struct consensus_snapshot *s, uint32_t trailing)
{
    struct raft_event ev = {.type = RAFT_SNAPSHOT};
    consensus_set_time(c, now_ms);
    ASSERT(!c->raft.snapshot.installing);
    ASSERT_CMP(s->index, <=, c->raft.last_stored);
    ev.snapshot.metadata.index = s->index;
    ev.snapshot.metadata.term = s->term;
    ev.snapshot.metadata.configuration_index = s->members_index;
    core_members(&s->members, &ev.snapshot.metadata.configuration);
    ev.snapshot.trailing = trailing;
    core_must(step_all(c, &ev));
}

void consensus_installed(struct consensus *c, uint64_t now_ms)
{
    struct raft_event ev = {.type = RAFT_PERSISTED_SNAPSHOT};
    consensus_set_time(c, now_ms);
    ASSERT(c->raft.snapshot.installing);
    ev.persisted_snapshot.metadata.index = c->install.index;
    ev.persisted_snapshot.metadata.term = c->install.term;
    ev.persisted_snapshot.metadata.configuration_index = c->install.members_index;
    core_members(&c->install.members, &ev.persisted_snapshot.metadata.configuration);
    ev.persisted_snapshot.last = true;
    mirror_set(c, &c->install.members);
    core_must(step_all(c, &ev));
}

/* --- leading --- */

int consensus_propose(struct consensus *c, uint64_t now_ms, struct entry *const *entries,
                      uint32_t count)
{
    consensus_set_time(c, now_ms);
    if (c->raft.state != RAFT_LEADER)
        return E_NOT_LEADER;
    /* Guard CHANGE_ALONE. When the core refuses a change in a mixed batch it has
     * already counted the commands before it: a hole in the log. */
    for (uint32_t i = 0; i < count; i++)
        if (entries[i]->type == ENTRY_MEMBERS && consensus_guarded(c, GUARD_CHANGE_ALONE))
            return E_INVALID;
    int rc = submit(c, entries, count, NULL);
    if (rc == 0)
        consensus_follow_up(c);
    consensus_tell_changed(c);
    return rc;
}

/* A member asked for its vote must find itself in its list, whatever its role
 * there: Guard VOTE_NONVOTER can do nothing for one that is not in it. */
static int check_new_voter(struct consensus *c, const struct members *next, struct error *err)
{
    for (uint32_t i = 0; i < next->count; i++) {
        uint64_t id = next->items[i].id;
        const struct member *now = members_get(&c->members, id);
        if (next->items[i].role != MEMBER_VOTER || (now != NULL && now->role == MEMBER_VOTER))
            continue;
        if (now == NULL)
            return error_set(err, E_INVALID, "a new member must come as a standby");
        if (consensus_match_index(c, id) < c->raft.configuration_committed_index)
            return error_set(err, E_AGAIN, "the member does not know yet that it is one");
    }
    return 0;
}

static int check_change(struct consensus *c, const struct members *next, struct error *err)
{
    if (c->raft.state != RAFT_LEADER || c->raft.leader_state.transferee != 0)
        return error_set(err, E_NOT_LEADER, "not the leader");
    if (c->change_index != 0)
        return error_set(err, E_AGAIN, "another change is under way");
    /* Guard CHANGE_STEP. The core checks nothing. The second half: until this
     * leader has committed in its term, a change of an earlier leader may be
     * lurking elsewhere, and the two together are more than one step. */
    if (consensus_guarded(c, GUARD_CHANGE_STEP)) {
        if (c->config.ops->term_at(c->config.arg, c->commit) != c->raft.current_term)
            return error_set(err, E_AGAIN, "the leader is not settled yet");
        int rc = consensus_check_step(&c->members, next, err);
        if (rc != 0)
            return rc;
        rc = check_new_voter(c, next, err);
        if (rc != 0)
            return rc;
    }
    /* Guard SHRINK_TO_LEADER. The core steps down when its own removal commits;
     * the last voter then leads in the same term. */
    if (consensus_guarded(c, GUARD_SHRINK_TO_LEADER))
        return consensus_check_shrink(next, c->config.id, err);
    return 0;
}

int consensus_change(struct consensus *c, uint64_t now_ms, const struct members *next,
                     uint64_t *ret_index, struct error *err)
{
    AUTO_BUF payload = BUF_INIT;
    consensus_set_time(c, now_ms);
    int rc = check_change(c, next, err);
    if (rc != 0)
        return rc;
    members_encode(next, &payload);
    struct entry *e = core_new_entry(ENTRY_MEMBERS, 0, 0, payload.len);
    memcpy(e->data, payload.data, payload.len);
    rc = submit(c, &e, 1, err);
    if (rc == 0) {
        *ret_index = e->index;
        consensus_follow_up(c);
    }
    entry_unref(e);
    consensus_tell_changed(c);
    return rc;
}

int consensus_transfer(struct consensus *c, uint64_t now_ms, uint64_t id)
{
    struct raft_event ev = {.type = RAFT_TRANSFER};
    consensus_set_time(c, now_ms);
    if (c->raft.state != RAFT_LEADER || c->raft.leader_state.transferee != 0)
        return E_NOT_LEADER;
    ev.transfer.server_id = id;
    int rv = step_all(c, &ev);
    if (rv == RAFT_NOMEM)
        core_must(rv);
    return rv == 0 ? 0 : E_NOT_FOUND;
}

/* --- looking --- */

enum consensus_state consensus_state(const struct consensus *c)
{
    return c->raft.state == RAFT_LEADER      ? CONSENSUS_LEADER
           : c->raft.state == RAFT_CANDIDATE ? CONSENSUS_CANDIDATE
                                             : CONSENSUS_FOLLOWER;
}

uint64_t consensus_term(const struct consensus *c)
{
    return c->raft.current_term;
}

uint64_t consensus_leader(const struct consensus *c)
{
    return c->raft.state == RAFT_LEADER     ? c->config.id
           : c->raft.state == RAFT_FOLLOWER ? c->raft.follower_state.current_leader.id
                                            : 0;
}

uint64_t consensus_commit_index(const struct consensus *c)
{
    return c->commit;
}

/* The library has no call for it that works at any time: read the trail. */
uint64_t consensus_last_index(const struct consensus *c)
{
    const struct raft_trail *t = &c->raft.trail;
    if (t->front == t->back)
        return t->snapshot.index;
    return t->records[(t->back + t->size - 1) % t->size].index;
}

bool consensus_transferring(const struct consensus *c)
{
    return raft_transferee(&c->raft) != 0;
}

bool consensus_installing(const struct consensus *c)
{
    return c->raft.snapshot.installing;
}

const struct members *consensus_members(const struct consensus *c)
{
    return &c->members;
}

uint64_t consensus_change_index(const struct consensus *c)
{
    return c->change_index;
}

uint64_t consensus_match_index(const struct consensus *c, uint64_t id)
{
    raft_index index = 0;
    return raft_match_index(&c->raft, id, &index) == 0 ? index : 0;
}

/* Guard HOLD_DEMOTION. A member that has the change which takes its vote, before
 * that change is committed, no longer stands for election, and with the longest
 * log it refuses all others: when the leader is lost then, a cluster that needs
 * it for a majority stands still for ever (two voters: at once). The change does
 * not need this member to commit, so it gets it afterwards. */
uint64_t consensus_send_limit(const struct consensus *c, uint64_t id)
{
    if (c->change_index == 0 || !consensus_guarded(c, GUARD_HOLD_DEMOTION))
        return UINT64_MAX;
    const struct member *before = members_get(&c->committed, id),
                        *now = members_get(&c->members, id);
    bool loses = before != NULL && before->role == MEMBER_VOTER &&
                 (now == NULL || now->role != MEMBER_VOTER);
    return loses ? c->change_index : UINT64_MAX;
}

void consensus_check(const struct consensus *c)
{
    const struct raft_configuration *conf = &c->raft.configuration;
    ASSERT_CMP(conf->n, ==, c->members.count);
    for (unsigned i = 0; i < conf->n; i++) {
        ASSERT_CMP(conf->servers[i].id, ==, c->members.items[i].id);
        ASSERT_CMP(conf->servers[i].role, ==, core_role(c->members.items[i].role));
    }
    if (consensus_guarded(c, GUARD_CHANGE_FIRST) && !c->raft.snapshot.installing)
        ASSERT_CMP(c->raft.configuration_uncommitted_index, ==, c->change_index);
    ASSERT_CMP(c->raft.last_stored, <=, consensus_last_index(c));
}
