/* consensus.h - the seam between the replica and the Raft core.
 *
 * Pure: events in, effects out through a table of callbacks. No clock, I/O or
 * randomness of its own. consensus_raft*.c fill it with libraft's step function
 * and are the only files that know libraft; every known defect of that core is
 * guarded there. Another core can stand behind the same seam.
 *
 * Effects of one call come in this order: save_vote, append or install, send,
 * committed, changed. None of them may call back into the consensus.
 *
 * What the driver promises:
 *  - writes (save_vote, append, install) become durable in the order given;
 *  - no message leaves before the newest save_vote given before it is durable;
 *  - consensus_persisted() only for entries that are durable and not cut since;
 *  - time never goes backwards. */
#ifndef RAFTSTORE_CONSENSUS_H
#define RAFTSTORE_CONSENSUS_H

#include "raftstore/entry.h"

#include <stdbool.h>
#include <stdint.h>

struct consensus;
struct error;

enum consensus_state { CONSENSUS_FOLLOWER, CONSENSUS_CANDIDATE, CONSENSUS_LEADER };

/* What a snapshot says beside the data: the last entry it covers and the
 * newest committed list of members at that point. */
struct consensus_snapshot {
    uint64_t index;
    uint64_t term;
    struct members members;
    uint64_t members_index;
};

enum consensus_message_type {
    CONSENSUS_APPEND = 1,
    CONSENSUS_APPEND_RESULT,
    CONSENSUS_VOTE,
    CONSENSUS_VOTE_RESULT,
    CONSENSUS_INSTALL, /* Metadata only; the data travels on its own. */
    CONSENSUS_TIMEOUT_NOW,
};

struct consensus_message {
    enum consensus_message_type type;
    uint64_t peer; /* Outgoing: the receiver. Incoming: the sender. */
    uint64_t term;
    union {
        struct {
            uint64_t prev_index, prev_term, commit;
            /* Outgoing: `count` entries from prev_index + 1 on, to be taken
             * from the driver's log. Incoming: entries[0 .. count). */
            uint32_t count;
            struct entry *const *entries;
        } append;
        struct {
            uint64_t rejected; /* 0: accepted. */
            uint64_t last_index;
        } append_result;
        struct {
            uint64_t last_index, last_term;
            bool pre_vote, disrupt_leader;
        } vote;
        struct {
            bool granted, pre_vote;
        } vote_result;
        struct {
            uint64_t index, snapshot_term, members_index;
            const struct members
                *members; /* Incoming only; outgoing: from the driver's snapshot. */
        } install;
        struct {
            uint64_t last_index, last_term;
        } timeout_now;
    };
};

/* Everything is borrowed for the call; take references to keep entries. */
struct consensus_ops {
    void (*save_vote)(void *arg, uint64_t term, uint64_t voted_for);
    /* Cut the log at first_index, then append. */
    void (*append)(void *arg, uint64_t first_index, struct entry *const *entries, uint32_t count);
    /* Replace log and state by the snapshot whose data was received, then call
     * consensus_installed(). Nothing is committed meanwhile. */
    void (*install)(void *arg, const struct consensus_snapshot *s);
    void (*send)(void *arg, const struct consensus_message *m);
    /* Entries up to commit_index may be applied. Rises only. */
    void (*committed)(void *arg, uint64_t commit_index);
    /* State, term, leader or list of members changed: look again. */
    void (*changed)(void *arg);
    /* Not an effect: the term of an entry of the driver's log or of the last one
     * its snapshot covers; 0 when it has neither. */
    uint64_t (*term_at)(void *arg, uint64_t index);
};

/* One bit per defect of the core, numbered as in the comments of
 * consensus_raft*.c. Only drills switch a guard off. */
enum consensus_guard {
    GUARD_STALE_RESULT = 1 << 0,       /* Refusals of old terms carry garbage. */
    GUARD_SOLE_VOTER_TERM = 1 << 1,    /* A sole voter leads again in its old term. */
    GUARD_PREV_BELOW_LOG = 1 << 2,     /* Entries below the log's start are appended at its end. */
    GUARD_INSTALL_TWICE = 1 << 3,      /* An install during an install leaks. */
    GUARD_CHANGE_FIRST = 1 << 4,       /* A change inside a message gets the wrong index. */
    GUARD_CHANGE_ALONE = 1 << 5,       /* A refused mixed submit leaves a hole. */
    GUARD_LATE_REJECTION = 1 << 6,     /* A late rejection silences a follower for good. */
    GUARD_VOTE_NONVOTER = 1 << 7,      /* A voter that does not know it yet refuses its vote. */
    GUARD_FORGET_LEADER = 1 << 8,      /* Non-voters never forget a leader. */
    GUARD_PREVOTE_TERM = 1 << 9,       /* Pre-vote refusals hide the higher term. */
    GUARD_BUSY_TIMER = 1 << 10,        /* The leader's deadline may stay in the past. */
    GUARD_VOTE_RESULT_STATE = 1 << 11, /* Vote results are read in the wrong state. */
    GUARD_CHANGE_COMMITTED = 1 << 12,  /* A second change makes the first one's commit forgotten. */
    GUARD_CHANGE_STEP = 1 << 13, /* Changes are not checked: one member, own-term commit first. */
    GUARD_SHRINK_TO_LEADER = 1 << 14, /* Shrinking away from the leader: two leaders in one term. */
    GUARD_HOLD_DEMOTION =
        1 << 15, /* A member that lost its vote too early neither votes nor asks. */
    GUARD_TRANSFER_EARLY = 1 << 16, /* A transfer fires on the first acknowledgement, and once. */
    GUARD_ALL = (1 << 17) - 1,
};

struct consensus_config {
    uint64_t id;   /* Not 0. */
    uint32_t seed; /* Different on every member. */
    uint32_t election_ms;
    uint32_t heartbeat_ms;
    uint32_t install_ms; /* A snapshot transfer without news for so long counts as failed. */
    uint32_t guards_off; /* GUARD_*; drills only. */
    const struct consensus_ops *ops; /* Borrowed for the life of the consensus. */
    void *arg;
};

/* E_NOT_IMPLEMENTED when the core at run time is not the pinned version. */
int consensus_new(const struct consensus_config *config, struct consensus **ret, struct error *err);
void consensus_free(struct consensus *c); /* NULL is a no-op. */

struct consensus_entry_info {
    uint64_t term;
    enum entry_type type;
    struct str members; /* Payload of an ENTRY_MEMBERS; else empty. */
};

/* What the disk holds. Effects may come at once: a sole voter leads when this
 * returns. Any error is fatal. */
struct consensus_recovered {
    uint64_t term, voted_for;
    const struct consensus_snapshot *snapshot; /* NULL: none. */
    uint64_t first_index; /* Of entries[0]; without entries: snapshot index + 1, or 1. */
    const struct consensus_entry_info *entries;
    uint32_t count;
};
int consensus_start(struct consensus *c, uint64_t now_ms, const struct consensus_recovered *r,
                    struct error *err);

void consensus_tick(struct consensus *c, uint64_t now_ms);
/* When consensus_tick() is due next. */
uint64_t consensus_deadline(const struct consensus *c);
/* A refused or useless message is dropped silently: 0. E_CORRUPT: the logs of
 * two members contradict each other; this member must stop. */
int consensus_receive(struct consensus *c, uint64_t now_ms, const struct consensus_message *m,
                      struct error *err);
/* Every entry up to index is durable. */
void consensus_persisted(struct consensus *c, uint64_t now_ms, uint64_t index);

/* Appends entries; their index and term are set here. E_NOT_LEADER (also while
 * a transfer runs), E_INVALID for an ENTRY_MEMBERS: nothing happened. They come
 * back through append(). */
int consensus_propose(struct consensus *c, uint64_t now_ms, struct entry *const *entries,
                      uint32_t count);
/* Replaces the list of members; `next` differs from the newest list in one
 * member, a new one is no voter yet, and the order of the others is kept.
 * E_NOT_LEADER, E_AGAIN (a change is under way, this leader has not yet committed
 * an entry of its term, or a new voter does not yet have the list), E_INVALID (more than one step;
 * or the leader would lose its own vote: it transfers first). On success *ret_index is where the
 * change stands. */
int consensus_change(struct consensus *c, uint64_t now_ms, const struct members *next,
                     uint64_t *ret_index, struct error *err);
/* A snapshot of the applied state is durable. Its index is in the log; every
 * entry up to it is persisted. The log keeps `trailing` entries up to it. */
void consensus_snapshot_taken(struct consensus *c, uint64_t now_ms,
                              const struct consensus_snapshot *s, uint32_t trailing);
/* The snapshot of the install effect is durable and restored. */
void consensus_installed(struct consensus *c, uint64_t now_ms);
/* Hands leadership to id (0: whoever is best). E_NOT_LEADER, E_NOT_FOUND. */
int consensus_transfer(struct consensus *c, uint64_t now_ms, uint64_t id);

enum consensus_state consensus_state(const struct consensus *c);
uint64_t consensus_term(const struct consensus *c);
uint64_t consensus_leader(const struct consensus *c); /* A hint; 0: none known. */
uint64_t consensus_commit_index(const struct consensus *c);
uint64_t consensus_last_index(const struct consensus *c);
bool consensus_transferring(const struct consensus *c);
bool consensus_installing(const struct consensus *c);
/* The newest list, committed or not. Borrowed until the next call. */
const struct members *consensus_members(const struct consensus *c);
/* Where the newest list stands when it is not committed yet; else 0. */
uint64_t consensus_change_index(const struct consensus *c);
/* Leader only: the last index known to be on the member. 0 otherwise. */
uint64_t consensus_match_index(const struct consensus *c, uint64_t id);
/* Leader only: entries from this index on must not be sent to the member yet
 * (UINT64_MAX: all may). Not even if send() names them; they may when it rises. */
uint64_t consensus_send_limit(const struct consensus *c, uint64_t id);
/* Compares what the seam and the core hold; aborts when they differ. For tests. */
void consensus_check(const struct consensus *c);

#endif
