/* consensus_raft.c - libraft's step function behind the seam of consensus.h.
 *
 * Length: no other file may include raft.h.
 *
 * The only file that knows libraft. It uses the pure core alone: raft_init()
 * without io and fsm, and raft_step(). The packaged library has its assertions
 * compiled out, so a broken rule would be silent: every known defect is guarded
 * here, each guard marked "Guard NAME". Some poke into struct raft, which
 * is why the version is pinned.
 *
 * Happy path of a call: build an event, raft_step(), carry out the update
 * (emit()), then follow up: report a change that became committed, append the
 * no-op of a new term.
 *
 * The core sees no payload of commands and no addresses: entries are stepped
 * with empty buffers and found again by their position, members are named by
 * their id in decimal. So logs, snapshots and messages owe nothing to libraft.
 */
#include "raftstore/consensus_internal.h"

#include "lib/base/base.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <inttypes.h>
#include <raft.h>
#include <stdio.h>

/* Guards poke into the struct and rely on the step function's details. */
_Static_assert(RAFT_VERSION_NUMBER == 2201, "the guards were made for libraft 0.22.1");
/* Declared by the header, exported only by the static library. */
#pragma weak raft_version_number

#define IN_FLIGHT_MAX (1u << 20) /* Entries; bytes in flight are the driver's business. */
#define TIMEOUT_GAP_MS 2         /* At least between two timeouts; see GUARD_BUSY_TIMER. */

struct consensus {
    struct raft raft;
    struct consensus_config config;
    uint64_t now_ms;
    uint64_t commit;     /* Never falls back, unlike the core's. */
    uint64_t saved_term; /* As last given to save_vote. */
    uint64_t saved_vote;
    uint64_t last_timeout_ms;
    bool timed_out_once;
    bool stepping; /* Ops must not call back. */
    bool refusing; /* The message being received is of an older term. */
    bool changed;  /* Something was reported that `changed` stands for. */
    /* The newest list with its addresses; the core holds ids and roles. While it
     * is not committed, change_index says where it stands and `committed` what
     * comes back if it is cut. */
    struct members members;
    struct members committed;
    uint64_t change_index;
    struct consensus_snapshot install; /* Valid while the core installs. */
    /* What the running step may append: entries[i] was stepped as raft[i]. */
    const struct raft_entry *stepped;
    struct entry *const *stepped_entries;
    uint32_t stepped_count;
};

static void follow_up(struct consensus *c);

static bool guard(const struct consensus *c, enum consensus_guard g)
{
    return (c->config.guards_off & (uint32_t)g) == 0;
}

/* --- conversions --- */

static int core_role(enum member_role role)
{
    switch (role) {
    case MEMBER_VOTER:
        return RAFT_VOTER;
    case MEMBER_STANDBY:
    case MEMBER_LEARNER:
        return RAFT_STANDBY;
    case MEMBER_SPARE:
        break;
    }
    return RAFT_SPARE;
}

static void must(int rv)
{
    if (rv != 0)
        PANIC("libraft: %s", raft_strerror(rv));
}

static struct entry *must_entry(enum entry_type type, uint64_t index, uint64_t term, size_t size)
{
    struct entry *e = entry_new(type, index, term, (uint32_t)size);
    if (e == NULL)
        PANIC("out of memory: %zu bytes", size);
    return e;
}

/* The list as the core sees it; its memory is the core's to free. */
static void core_members(const struct members *m, struct raft_configuration *ret)
{
    raft_configuration_init(ret);
    for (uint32_t i = 0; i < m->count; i++) {
        char name[24];
        snprintf(name, sizeof(name), "%" PRIu64, m->items[i].id);
        must(raft_configuration_add(ret, m->items[i].id, name, core_role(m->items[i].role)));
    }
}

static void *core_malloc(size_t n)
{
    void *p = raft_malloc(n);
    if (p == NULL)
        PANIC("out of memory: %zu bytes", n);
    return p;
}

/* Encodes the payload of an ENTRY_MEMBERS the core's way. */
static int core_change(struct str payload, struct raft_buffer *ret, struct error *err)
{
    struct members m = {0};
    struct raft_configuration conf;
    if (members_decode(payload, &m, err) != 0)
        return E_INVALID;
    if (m.count == 0)
        return error_set(err, E_INVALID, "list of members: empty");
    core_members(&m, &conf);
    must(raft_configuration_encode(&conf, ret));
    raft_configuration_close(&conf);
    members_done(&m);
    return 0;
}

static enum raft_entry_type core_type(enum entry_type type)
{
    return type == ENTRY_COMMANDS ? RAFT_COMMAND : type == ENTRY_NOOP ? RAFT_BARRIER : RAFT_CHANGE;
}

/* Entries as the core wants them: all in one raft_malloc'ed block that hangs on
 * the first entry's batch. Changes stand in that block, commands are empty. */
static struct raft_entry *core_entries(struct entry *const *entries, uint32_t count,
                                       struct error *err)
{
    struct raft_entry *list = xmalloc(count * sizeof(*list));
    size_t bytes = 8;
    for (uint32_t i = 0; i < count; i++) {
        list[i] =
            (struct raft_entry){.term = entries[i]->term, .type = core_type(entries[i]->type)};
        if (entries[i]->type != ENTRY_MEMBERS)
            continue;
        if (core_change(entry_str(entries[i]), &list[i].buf, err) != 0) {
            for (uint32_t j = 0; j < i; j++)
                raft_free(list[j].buf.base);
            free(list);
            return NULL;
        }
        bytes += list[i].buf.len;
    }
    char *block = core_malloc(bytes), *at = block + 8;
    for (uint32_t i = 0; i < count; i++) {
        list[i].batch = block;
        if (list[i].buf.base == NULL) {
            list[i].buf.base = block;
            continue;
        }
        memcpy(at, list[i].buf.base, list[i].buf.len);
        raft_free(list[i].buf.base);
        list[i].buf.base = at;
        at += list[i].buf.len;
    }
    return list;
}

/* --- the mirrored list of members --- */

static void mirror_append(struct consensus *c, uint64_t index, struct str payload)
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
static void mirror_cut(struct consensus *c, uint64_t index)
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

static bool is_sole_voter(const struct consensus *c)
{
    const struct member *self = members_get(&c->members, c->config.id);
    return self != NULL && self->role == MEMBER_VOTER && members_voters(&c->members) == 1;
}

/* --- carrying out an update --- */

static void save_vote(struct consensus *c)
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
        noop = must_entry(ENTRY_NOOP, first, c->raft.barrier.term, 0);
        entries = &noop;
    }
    mirror_cut(c, first);
    for (uint32_t i = 0; i < u->entries.n; i++) {
        if (entries != &noop) {
            entries[i]->index = first + i;
            entries[i]->term = u->entries.batch[i].term;
        }
        if (entries[i]->type == ENTRY_MEMBERS)
            mirror_append(c, first + i, entry_str(entries[i]));
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
    if (c->refusing && guard(c, GUARD_STALE_RESULT)) {
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
    if (r->pre_vote && !r->vote_granted && guard(c, GUARD_PREVOTE_TERM))
        m->term = MAX_OF(m->term, (uint64_t)c->raft.current_term);
}

static void fill_vote(const struct raft_request_vote *r, struct consensus_message *m)
{
    m->type = CONSENSUS_VOTE;
    m->term = r->term;
    m->vote.last_index = r->last_log_index;
    m->vote.last_term = r->last_log_term;
    m->vote.pre_vote = r->pre_vote;
    m->vote.disrupt_leader = r->disrupt_leader;
}

/* Guard TRANSFER_EARLY. The core sends this with the first acknowledgement after
 * the transfer began, whatever that covers, and never again. A member that does
 * not have everything yet ignores it, and the leader takes no proposals until the
 * transfer times out. Let it fire again until the member has everything. */
static bool is_early_timeout_now(struct consensus *c, const struct raft_message *m)
{
    if (m->type != RAFT_TIMEOUT_NOW || c->raft.state != RAFT_LEADER ||
        !guard(c, GUARD_TRANSFER_EARLY) ||
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
        fill_vote(&in->request_vote, &m);
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

static void emit(struct consensus *c, struct raft_update *u)
{
    const struct consensus_ops *ops = c->config.ops;
    c->stepping = true;
    if (u->flags & ((RAFT_UPDATE_CURRENT_TERM) | (RAFT_UPDATE_VOTED_FOR)))
        save_vote(c);
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

/* Steps without following up. */
static int step(struct consensus *c, struct raft_event *ev)
{
    struct raft_update u = {0};
    uint64_t leader = consensus_leader(c);
    ASSERT(!c->stepping);
    ev->time = c->now_ms;
    ev->capacity = UINT16_MAX;
    int rv = raft_step(&c->raft, ev, &u);
    if (rv == 0)
        emit(c, &u);
    c->changed |= leader != consensus_leader(c);
    return rv;
}

static void tell_changed(struct consensus *c)
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
    int rv = step(c, ev);
    if (rv == 0)
        follow_up(c);
    tell_changed(c);
    return rv;
}

static void set_time(struct consensus *c, uint64_t now_ms)
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
static void report_change(struct consensus *c)
{
    struct raft_event ev = {.type = RAFT_CONFIGURATION};
    if (c->change_index == 0 || c->change_index > c->commit || c->raft.snapshot.installing)
        return;
    ev.configuration.index = c->change_index;
    core_members(&c->members, &ev.configuration.conf);
    c->change_index = 0;
    members_done(&c->committed);
    c->changed = true;
    must(step(c, &ev));
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
    int rv = step(c, &ev);
    c->stepped = NULL;
    if (rv != 0)
        raft_free(block);
    free(list);
    if (rv == RAFT_NOMEM)
        must(rv);
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
    struct entry *noop = must_entry(ENTRY_NOOP, 0, 0, 0);
    submit(c, &noop, 1, NULL);
    entry_unref(noop);
}

static void follow_up(struct consensus *c)
{
    report_change(c);
    ensure_noop(c);
    report_change(c);
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
    must(raft_init(&c->raft, NULL, NULL, config->id, name));
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
        mirror_append(c, index, r->entries[i].members);
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
    set_time(c, now_ms);
    if (recover_members(c, r, err) != 0)
        return E_CORRUPT;
    ev.start.term = c->saved_term = r->term;
    ev.start.voted_for = c->saved_vote = r->voted_for;
    /* Guard SOLE_VOTER_TERM. A sole voter makes itself leader without a new term
     * or vote. If it crashed after it had sent an entry but before the entry was
     * durable, it would write another one with the same index and term. */
    if (is_sole_voter(c) && guard(c, GUARD_SOLE_VOTER_TERM)) {
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
    int rv = step(c, &ev);
    for (uint32_t i = 0; i < r->count; i++)
        raft_free(list[i].buf.base);
    free(list);
    if (rv != 0)
        return error_set(err, E_CORRUPT, "libraft start: %s", raft_strerror(rv));
    follow_up(c);
    tell_changed(c);
    return 0;
}

/* --- time --- */

static void before_timeout(struct consensus *c)
{
    struct raft *r = &c->raft;
    /* Guard SOLE_VOTER_TERM, second half: a follower left as the only voter would
     * also lead in the term it happens to be in, in which another may lead. */
    if (r->state != RAFT_FOLLOWER || !is_sole_voter(c) || !guard(c, GUARD_SOLE_VOTER_TERM) ||
        r->snapshot.installing || r->last_stored < consensus_last_index(c))
        return;
    r->current_term++;
    r->voted_for = r->id;
    c->stepping = true;
    save_vote(c);
    c->stepping = false;
}

void consensus_tick(struct consensus *c, uint64_t now_ms)
{
    struct raft_event ev = {.type = RAFT_TIMEOUT};
    set_time(c, now_ms);
    if (c->now_ms < consensus_deadline(c))
        return;
    bool was_follower = c->raft.state == RAFT_FOLLOWER;
    if (was_follower)
        before_timeout(c);
    c->last_timeout_ms = c->now_ms;
    c->timed_out_once = true;
    must(step(c, &ev));
    /* Guard FORGET_LEADER. A follower that may not become candidate (no voter,
     * writes under way) keeps its leader for ever and refuses every vote. */
    if (was_follower && c->raft.state == RAFT_FOLLOWER &&
        c->raft.follower_state.current_leader.id != 0 && guard(c, GUARD_FORGET_LEADER)) {
        c->raft.follower_state.current_leader.id = 0;
        c->changed = true;
    }
    follow_up(c);
    tell_changed(c);
}

uint64_t consensus_deadline(const struct consensus *c)
{
    uint64_t due = raft_timeout(&c->raft);
    /* Guard BUSY_TIMER. With a spare member that it sends nothing to, a leader's
     * deadline stays in the past: the loop would spin. */
    if (c->timed_out_once && guard(c, GUARD_BUSY_TIMER))
        due = MAX_OF(due, c->last_timeout_ms + TIMEOUT_GAP_MS);
    return due;
}

/* --- messages from peers --- */

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
    return step(c, &ev);
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
    report_change(c);
    if (rv == RAFT_NOMEM)
        must(rv);
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
    if (!guard(c, GUARD_CHANGE_FIRST))
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
    if (own_term != 0 && guard(c, GUARD_PREV_BELOW_LOG)) {
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
            c->change_index <= prev && guard(c, GUARD_CHANGE_COMMITTED)) {
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
        guard(c, GUARD_LATE_REJECTION))
        return;
    rm.append_entries_result.version = 1;
    rm.append_entries_result.term = m->term;
    rm.append_entries_result.rejected = m->append_result.rejected;
    rm.append_entries_result.last_log_index = m->append_result.last_index;
    must(receive_raw(c, &rm));
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
    if (self != NULL && guard(c, GUARD_VOTE_NONVOTER)) {
        role = self->role;
        self->role = RAFT_VOTER;
    }
    must(receive_raw(c, &rm));
    if (self != NULL && guard(c, GUARD_VOTE_NONVOTER))
        self->role = role;
}

static void receive_vote_result(struct consensus *c, const struct consensus_message *m)
{
    struct raft_message rm = {.type = RAFT_REQUEST_VOTE_RESULT, .server_id = m->peer};
    /* Guard VOTE_RESULT_STATE. The core looks at candidate state before it asks
     * whether it is candidate: a late answer could depose a leader. */
    if (c->raft.state != RAFT_CANDIDATE && guard(c, GUARD_VOTE_RESULT_STATE))
        return;
    rm.request_vote_result.version = 2;
    rm.request_vote_result.term = m->term;
    rm.request_vote_result.vote_granted = m->vote_result.granted;
    rm.request_vote_result.pre_vote = m->vote_result.pre_vote;
    must(receive_raw(c, &rm));
}

static void receive_install(struct consensus *c, const struct consensus_message *m)
{
    struct raft_message rm = {.type = RAFT_INSTALL_SNAPSHOT, .server_id = m->peer};
    /* Guard INSTALL_TWICE. During an install the core neither uses nor frees it. */
    if (c->raft.snapshot.installing && guard(c, GUARD_INSTALL_TWICE))
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
    must(receive_raw(c, &rm));
}

static void receive_timeout_now(struct consensus *c, const struct consensus_message *m)
{
    struct raft_message rm = {.type = RAFT_TIMEOUT_NOW, .server_id = m->peer};
    /* A sole voter elects itself with its own timer, see before_timeout(). */
    if (is_sole_voter(c))
        return;
    rm.timeout_now.version = 1;
    rm.timeout_now.term = m->term;
    rm.timeout_now.last_log_index = m->timeout_now.last_index;
    rm.timeout_now.last_log_term = m->timeout_now.last_term;
    must(receive_raw(c, &rm));
}

int consensus_receive(struct consensus *c, uint64_t now_ms, const struct consensus_message *m,
                      struct error *err)
{
    int rc = 0;
    set_time(c, now_ms);
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
        follow_up(c);
    tell_changed(c);
    return rc;
}

/* --- disk --- */

void consensus_persisted(struct consensus *c, uint64_t now_ms, uint64_t index)
{
    struct raft_event ev = {.type = RAFT_PERSISTED_ENTRIES};
    set_time(c, now_ms);
    if (c->raft.snapshot.installing || index <= c->raft.last_stored)
        return;
    ASSERT_CMP(index, <=, consensus_last_index(c));
    ev.persisted_entries.index = index;
    must(step_all(c, &ev));
}

void consensus_snapshot_taken(struct consensus *c, uint64_t now_ms,
                              const struct consensus_snapshot *s, uint32_t trailing)
{
    struct raft_event ev = {.type = RAFT_SNAPSHOT};
    set_time(c, now_ms);
    ASSERT(!c->raft.snapshot.installing);
    ASSERT_CMP(s->index, <=, c->raft.last_stored);
    ev.snapshot.metadata.index = s->index;
    ev.snapshot.metadata.term = s->term;
    ev.snapshot.metadata.configuration_index = s->members_index;
    core_members(&s->members, &ev.snapshot.metadata.configuration);
    ev.snapshot.trailing = trailing;
    must(step_all(c, &ev));
}

void consensus_installed(struct consensus *c, uint64_t now_ms)
{
    struct raft_event ev = {.type = RAFT_PERSISTED_SNAPSHOT};
    set_time(c, now_ms);
    ASSERT(c->raft.snapshot.installing);
    ev.persisted_snapshot.metadata.index = c->install.index;
    ev.persisted_snapshot.metadata.term = c->install.term;
    ev.persisted_snapshot.metadata.configuration_index = c->install.members_index;
    core_members(&c->install.members, &ev.persisted_snapshot.metadata.configuration);
    ev.persisted_snapshot.last = true;
    mirror_set(c, &c->install.members);
    must(step_all(c, &ev));
}

/* --- leading --- */

int consensus_propose(struct consensus *c, uint64_t now_ms, struct entry *const *entries,
                      uint32_t count)
{
    set_time(c, now_ms);
    if (c->raft.state != RAFT_LEADER)
        return E_NOT_LEADER;
    /* Guard CHANGE_ALONE. When the core refuses a change in a mixed batch it has
     * already counted the commands before it: a hole in the log. */
    for (uint32_t i = 0; i < count; i++)
        if (entries[i]->type == ENTRY_MEMBERS && guard(c, GUARD_CHANGE_ALONE))
            return E_INVALID;
    int rc = submit(c, entries, count, NULL);
    if (rc == 0)
        follow_up(c);
    tell_changed(c);
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
    if (guard(c, GUARD_CHANGE_STEP)) {
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
    if (guard(c, GUARD_SHRINK_TO_LEADER))
        return consensus_check_shrink(next, c->config.id, err);
    return 0;
}

int consensus_change(struct consensus *c, uint64_t now_ms, const struct members *next,
                     uint64_t *ret_index, struct error *err)
{
    AUTO_BUF payload = BUF_INIT;
    set_time(c, now_ms);
    int rc = check_change(c, next, err);
    if (rc != 0)
        return rc;
    members_encode(next, &payload);
    struct entry *e = must_entry(ENTRY_MEMBERS, 0, 0, payload.len);
    memcpy(e->data, payload.data, payload.len);
    rc = submit(c, &e, 1, err);
    if (rc == 0) {
        *ret_index = e->index;
        follow_up(c);
    }
    entry_unref(e);
    tell_changed(c);
    return rc;
}

int consensus_transfer(struct consensus *c, uint64_t now_ms, uint64_t id)
{
    struct raft_event ev = {.type = RAFT_TRANSFER};
    set_time(c, now_ms);
    if (c->raft.state != RAFT_LEADER || c->raft.leader_state.transferee != 0)
        return E_NOT_LEADER;
    ev.transfer.server_id = id;
    int rv = step_all(c, &ev);
    if (rv == RAFT_NOMEM)
        must(rv);
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
    if (c->change_index == 0 || !guard(c, GUARD_HOLD_DEMOTION))
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
    if (guard(c, GUARD_CHANGE_FIRST) && !c->raft.snapshot.installing)
        ASSERT_CMP(c->raft.configuration_uncommitted_index, ==, c->change_index);
    ASSERT_CMP(c->raft.last_stored, <=, consensus_last_index(c));
}
