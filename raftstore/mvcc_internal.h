/* mvcc_internal.h - the state machine's own struct, shared by mvcc*.c. */
#ifndef RAFTSTORE_MVCC_INTERNAL_H
#define RAFTSTORE_MVCC_INTERNAL_H

#include "lib/base/buf.h"
#include "lib/base/list.h"
#include "raftstore/events.h"
#include "raftstore/lease.h"
#include "raftstore/mvcc.h"

#include <pthread.h>

struct arena;

#define ALARM_MEMBERS_MAX 1024
/* Revisions of history that a restore puts into the event log at most. */
#define RESTORE_HISTORY_MAX 65536

struct mvcc_view {
    _Atomic uint32_t refs;
    struct tree_view *tree;
    int64_t rev;
    int64_t compacted;
    uint64_t applied;
    struct auth_state *auth;
};

/* What the commands make: the same on every member. */
struct mvcc_state {
    struct tree *tree;
    int64_t rev;
    int64_t compacted;
    uint64_t applied;
    struct leases leases;
    struct buf config;         /* COMMAND_CONFIG's record. */
    struct mvcc_alarm *alarms; /* By rising member id; none is 0. */
    size_t alarm_count;
    struct auth_state *auth;
};

/* A replaced tree on its way out. */
struct zombie {
    struct list link;
    struct tree *tree;
};

struct mvcc {
    struct mvcc_config options;
    struct mvcc_state s;
    struct tree_trim trim;
    bool trimming;
    bool history_due; /* Events of compacted revisions are still to go. */
    bool changed;     /* Since the last view. */
    struct list zombies;
    struct event_log *log;
    struct arena *arena; /* Of the command being applied. */
    /* Its changes. */
    struct event *events;
    size_t event_count, event_cap;
    /* The newest COMMAND_VERIFY that nobody took yet. */
    bool verify;
    int64_t verify_rev;
    uint64_t verify_hash;

    pthread_mutex_t view_lock; /* Guards `current` and the taking of its references. */
    struct mvcc_view *current;
};

void mvcc_state_init(struct mvcc_state *s);
void mvcc_state_done(struct mvcc_state *s); /* Not the tree. */
void mvcc_state_set_alarms(struct mvcc_state *s, uint64_t member, uint32_t alarms);

/* Takes over the content of *next; `history` leads up to its revision. */
void mvcc_replace_state(struct mvcc *m, const struct mvcc_state *next,
                        struct event_batch *const *history, size_t history_count, uint64_t now_ms);

/* --- writing within one command (mvcc.c) --- */
/* The revision that this command's changes get. */
static inline int64_t mvcc_write_rev(const struct mvcc *m)
{
    return m->s.rev + 1;
}
/* The newest live version, this command's changes included. */
const struct kv *mvcc_current_kv(const struct mvcc *m, struct str key);
void mvcc_put(struct mvcc *m, struct str key, struct str value, int64_t lease);
/* kv is current. */
void mvcc_delete(struct mvcc *m, const struct kv *kv);
/* Ends a command: its changes become one revision and one batch of events. */
void mvcc_end_write(struct mvcc *m);

/* --- mvcc_range.c --- */
/* What OP_RANGE finds in root; op->rev was checked. *ret is overwritten. */
void mvcc_range(struct tree_root root, const struct txn_op *op, struct op_result *ret);

/* --- mvcc_txn.c --- */
/* NULL result: nobody waits. Returns the code of the result. */
int mvcc_apply_txn(struct mvcc *m, const struct txn *t, struct txn_result **ret);

/* --- mvcc_history.c --- */
int history_build(struct tree_root root, int64_t compacted, int64_t after_rev, size_t events_max,
                  struct event_batch ***ret, size_t *ret_count);
void history_free(struct event_batch **batches, size_t count);

#endif
