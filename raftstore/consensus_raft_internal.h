/* consensus_raft_internal.h - what the files around libraft's step function share.
 *
 *   consensus_raft.c          life, time, disk, leading, what is asked of it
 *   consensus_raft_convert.c  entries and members as the core wants them
 *   consensus_raft_emit.c     carrying out what a step decided; messages to peers
 *   consensus_raft_receive.c  messages from peers
 *
 * Nothing else includes this header or raft.h. */
#ifndef RAFTSTORE_CONSENSUS_RAFT_INTERNAL_H
#define RAFTSTORE_CONSENSUS_RAFT_INTERNAL_H

#include "raftstore/consensus_internal.h"

#include "lib/base/base.h"

#include <raft.h>

/* Guards poke into the struct and rely on the step function's details. */
_Static_assert(RAFT_VERSION_NUMBER == 2201, "the guards were made for libraft 0.22.1");

struct consensus {
    struct raft raft;
    struct consensus_config config;
    uint64_t now_ms;
    uint64_t commit;     /* Never falls back, unlike the core's. */
    uint64_t saved_term; /* As last given to save_vote. */
    uint64_t saved_vote;
    uint64_t disrupt_term; /* The term that a transfer began here; see fill_vote(). */
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

static inline bool consensus_guarded(const struct consensus *c, enum consensus_guard g)
{
    return (c->config.guards_off & (uint32_t)g) == 0;
}

/* --- consensus_raft_convert.c --- */
/* Aborts when the core ran out of memory or refused what it may not refuse. */
void core_must(int rv);
void *core_malloc(size_t n); /* The core's raft_malloc(); never NULL. */
struct entry *core_new_entry(enum entry_type type, uint64_t index, uint64_t term, size_t size);
int core_role(enum member_role role);
enum raft_entry_type core_type(enum entry_type type);
/* The list as the core sees it; its memory is the core's to free. */
void core_members(const struct members *m, struct raft_configuration *ret);
/* Encodes the payload of an ENTRY_MEMBERS the core's way; raft_free(). */
int core_change(struct str payload, struct raft_buffer *ret, struct error *err);
/* As the core wants them: all in one raft_malloc'ed block that hangs on the first
 * entry's batch. The array is free()d by the caller. NULL: a list of members does
 * not decode. */
struct raft_entry *core_entries(struct entry *const *entries, uint32_t count, struct error *err);

/* --- consensus_raft_emit.c --- */
void consensus_save_vote(struct consensus *c);
/* Carries out what a step decided. */
void consensus_emit(struct consensus *c, struct raft_update *u);

/* --- consensus_raft.c --- */
void consensus_mirror_append(struct consensus *c, uint64_t index, struct str payload);
void consensus_mirror_cut(struct consensus *c, uint64_t index); /* The log is cut at index. */
bool consensus_is_sole_voter(const struct consensus *c);
void consensus_set_time(struct consensus *c, uint64_t now_ms);
/* Steps without following up. libraft's code. */
int consensus_step(struct consensus *c, struct raft_event *ev);
void consensus_report_change(struct consensus *c);
void consensus_follow_up(struct consensus *c);
void consensus_tell_changed(struct consensus *c);

#endif
