/* mvcc.h - the state machine behind the log: revisions, leases, compaction.
 *
 * Pure and deterministic: the same commands in the same order give the same
 * state and results on every member. No clock, I/O or randomness: now_ms is a
 * local monotonic time that decides only when leases fall due here and how long
 * history is kept, never what a command does.
 *
 * One writer thread (the store thread). [any] marks what other threads may call.
 *
 *   mvcc_apply() ... mvcc_applied(index) ... mvcc_publish() -> views, cursors
 *   mvcc_work(budget): compaction, reclaiming - whenever there is time */
#ifndef RAFTSTORE_MVCC_H
#define RAFTSTORE_MVCC_H

#include "raftstore/auth.h"
#include "raftstore/command.h"
#include "raftstore/tree.h"

struct error;
struct event_batch;
struct mvcc;
struct mvcc_cursor;
struct mvcc_view;

struct mvcc_config {
    uint64_t history_bytes; /* 0: 64 MiB. */
    uint64_t history_ms;    /* 0: 10 minutes. */
    uint64_t quota_bytes;   /* 0: 8 GiB. */
};

/* An empty store: revision 1, nothing applied. */
struct mvcc *mvcc_new(const struct mvcc_config *config);
/* Every view, cursor and snapshot must be gone. NULL is a no-op. */
void mvcc_free(struct mvcc *m);

/* --- commands --- */
struct mvcc_result {
    int code;               /* 0 or E_*, the same on every member. */
    int64_t rev;            /* The store's revision afterwards. */
    int64_t id;             /* Leases: the id. */
    int64_t ttl_s;          /* Leases: what was granted. */
    enum auth_refusal auth; /* COMMAND_AUTH: why the code is E_INVALID. */
    struct txn_result *txn; /* Of a transaction, also of a refused one (code inside). */
};
void mvcc_result_done(struct mvcc_result *r);

/* Applies one command of the log entry at index. An index at or below
 * mvcc_applied_index() was applied before: nothing happens, *ret is zeroed with
 * code E_EXISTS. ret NULL: nobody waits, no result is built. Results:
 *   0; E_INVALID (fails txn_check, change of users refused); E_NOT_FOUND (lease;
 *   or ignore_value without a key); E_EXISTS (lease granted twice); E_EXPIRED, E_FUTURE_REV (a
 * range or compaction at a revision that is gone or to come); E_CONFLICT (the lease to expire was
 * renewed; auth_rev is old); E_NO_SPACE, E_CORRUPT (an alarm is set). Returns 0 whatever the
 * result; or, without applying, E_INVALID for bytes that do not decode and E_NOT_IMPLEMENTED for a
 * command of a newer version: then this member must stop. */
int mvcc_apply(struct mvcc *m, uint64_t index, struct str command, uint64_t now_ms,
               struct mvcc_result *ret, struct error *err);
/* Every command of the entries up to index was applied. Rises only. */
void mvcc_applied(struct mvcc *m, uint64_t index);
/* Makes what was applied visible: view first, then events. Cheap when nothing
 * changed. Call after each run of applies. */
void mvcc_publish(struct mvcc *m, uint64_t now_ms);
/* Drops events of compacted revisions. True: more will be due within
 * EVENT_COMPACT_MS. */
bool mvcc_trim_history(struct mvcc *m, uint64_t now_ms);
/* Compaction and reclaiming, about `budget` versions' worth: a microsecond each at
 * most. Once mvcc_trim_history() has nothing left to drop, also moving together what
 * compaction left scattered. True: there is more to do now. */
bool mvcc_work(struct mvcc *m, size_t budget);

uint64_t mvcc_applied_index(const struct mvcc *m);
int64_t mvcc_rev(const struct mvcc *m);
int64_t mvcc_compacted(const struct mvcc *m);
/* The opaque record of COMMAND_CONFIG; borrowed until the next apply. */
struct str mvcc_config_record(const struct mvcc *m);

/* The newest COMMAND_VERIFY applied since the last call; false: none. The state
 * at rev is to be compared by who has the time, see store_verify.c. */
bool mvcc_take_verify(struct mvcc *m, int64_t *ret_rev, uint64_t *ret_hash);

/* --- alarms and space --- */
/* All members' alarms together. */
uint32_t mvcc_alarms(const struct mvcc *m);
uint32_t mvcc_member_alarms(const struct mvcc *m, uint64_t member);
/* Of these, what a client raised: stays until a client clears it. */
uint32_t mvcc_held_alarms(const struct mvcc *m, uint64_t member);
#define MVCC_ALARMS 0xffffu /* STORE_ALARM_* are among these. */
#define MVCC_ALARMS_HELD_SHIFT 16
struct mvcc_alarm {
    uint64_t member;
    uint32_t alarms; /* In force, and shifted those that are held. */
};
/* Members with alarms, by rising id. Borrowed until the next apply. */
const struct mvcc_alarm *mvcc_alarm_list(const struct mvcc *m, size_t *ret_count);
/* What this member's STORE_ALARM_NO_SPACE should be: set when the tree exceeds
 * the quota, and until it is below nine tenths of it again. Whoever finds it
 * different from mvcc_member_alarms() proposes a COMMAND_ALARM. */
bool mvcc_wants_no_space(const struct mvcc *m, uint64_t member);

struct mvcc_stats {
    uint64_t tree_bytes; /* Counts against the quota. */
    uint64_t dead_bytes; /* Held by old views or waiting for mvcc_work(). */
    uint64_t lost_bytes; /* Holes between versions. */
    uint64_t history_bytes;
    uint64_t keys, versions, leases, views, cursors;
    int64_t history_first_rev;
};
void mvcc_stats(const struct mvcc *m, struct mvcc_stats *ret);

/* --- leases: deadlines are local, expiry goes through the log --- */
/* Leases due at now_ms, at most max: propose COMMAND_LEASE_EXPIRE for each (the
 * leader only; again while they stay in the list). */
struct mvcc_lease {
    int64_t id;
    int64_t ttl_s;
    uint64_t renewals;
    uint64_t deadline_ms;
    uint64_t keys;
};
size_t mvcc_leases_due(const struct mvcc *m, uint64_t now_ms, struct mvcc_lease *ret, size_t max);
uint64_t mvcc_lease_deadline(const struct mvcc *m); /* The earliest; UINT64_MAX: none. */
/* A new leader gives every lease its whole ttl again. */
void mvcc_leases_extend(struct mvcc *m, uint64_t now_ms);
bool mvcc_lease_get(const struct mvcc *m, int64_t id, struct mvcc_lease *ret);
/* Ids in rising order; free(*ret_ids). */
size_t mvcc_lease_ids(const struct mvcc *m, int64_t **ret_ids);
/* Current versions attached to the lease, in any order, with references; free with
 * kv_unref() each and free(*ret). */
size_t mvcc_lease_keys(struct mvcc *m, int64_t id, const struct kv ***ret);

/* --- views [any] --- */
/* The newest published state. Never NULL, O(1). */
struct mvcc_view *mvcc_view(struct mvcc *m);
struct mvcc_view *mvcc_view_ref(struct mvcc_view *v);
void mvcc_view_unref(struct mvcc_view *v); /* NULL is a no-op. */
int64_t mvcc_view_rev(const struct mvcc_view *v);
int64_t mvcc_view_compacted(const struct mvcc_view *v);
uint64_t mvcc_view_applied(const struct mvcc_view *v);
/* rev 0: the view's. 0, E_EXPIRED below the compacted revision, E_FUTURE_REV. */
int mvcc_view_check_rev(const struct mvcc_view *v, int64_t rev);
/* As the store_view_* functions; a rev that mvcc_view_check_rev() refuses finds
 * nothing. tree_iter_next() goes on with the iterator. */
const struct kv *mvcc_view_get(const struct mvcc_view *v, struct str key, int64_t rev);
int64_t mvcc_view_count(const struct mvcc_view *v, struct str key, struct str range_end,
                        int64_t rev);
int mvcc_view_iter(const struct mvcc_view *v, struct tree_iter *it, struct str key,
                   struct str range_end, int64_t rev);
struct tree_root mvcc_view_root(const struct mvcc_view *v);
/* Users and roles; borrowed from the view. */
const struct auth_state *mvcc_view_auth(const struct mvcc_view *v);
/* As store_view_range(). */
int mvcc_view_range(const struct mvcc_view *v, const struct txn_op *op, struct op_result *ret);

/* --- hash [any]: what members compare --- */
/* Over every live key and value at rev with its numbers; independent of how far
 * compaction got. rev must pass mvcc_view_check_rev(). The hash borrows the view. */
struct mvcc_hash {
    struct tree_iter it;
    uint64_t value;
    uint64_t keys;
};
int mvcc_hash_init(struct mvcc_hash *h, const struct mvcc_view *v, int64_t rev);
/* True: more to do. The hash is h->value once it returns false. */
bool mvcc_hash_step(struct mvcc_hash *h, size_t keys);

/* --- events: cursors [any, each on one thread at a time] --- */
/* As event_cursor_*; where the event log no longer reaches after_rev, the
 * versions in the tree serve instead. E_EXPIRED when after_rev + 1 lies below the
 * compacted revision as well (or there are more than MVCC_HISTORY_EVENTS_MAX
 * events). A put at the compacted revision itself may come without prev. */
#define MVCC_HISTORY_EVENTS_MAX (1u << 20)
int mvcc_cursor_new(struct mvcc *m, int64_t after_rev, void (*on_ready)(void *arg), void *arg,
                    struct mvcc_cursor **ret, struct error *err);
/* Only of what the event log holds, at no cost: else E_EXPIRED. */
int mvcc_cursor_new_recent(struct mvcc *m, int64_t after_rev, void (*on_ready)(void *arg),
                           void *arg, struct mvcc_cursor **ret);
void mvcc_cursor_filter(struct mvcc_cursor *c, bool (*wants)(void *arg, const struct event *e),
                        void *arg);
void mvcc_cursor_free(struct mvcc_cursor *c); /* NULL is a no-op. */
const struct event_batch *mvcc_cursor_next(struct mvcc_cursor *c, bool *ret_lost);
int64_t mvcc_cursor_rev(const struct mvcc_cursor *c);

/* The batches of revisions (after_rev, view's rev] from the version chains, in
 * order. *ret is malloc'ed, with one reference each. E_EXPIRED as above. */
int mvcc_history(const struct mvcc_view *v, int64_t after_rev, size_t events_max,
                 struct event_batch ***ret, size_t *ret_count);

#endif
