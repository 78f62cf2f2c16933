/* store.h - the replicated store as the apiserver uses it.
 *
 * The store runs a thread of its own (consensus core, tree writes) and an I/O
 * thread (log). Functions marked [any] may be called from any thread; answers
 * come through the mailbox given with the call, on that mailbox's loop, never
 * inside the call.
 *
 *   server thread --store_txn()--> store thread --log, peers--> applied
 *        ^----------------- mailbox: on_done(result) <-------------'
 *   server thread --store_view()--> an immutable tree root, read in place */
#ifndef RAFTSTORE_STORE_H
#define RAFTSTORE_STORE_H

#include "raftstore/auth.h"
#include "raftstore/kv.h"
#include "raftstore/txn.h"

struct env;
struct error;
struct mailbox;
struct metrics;
struct store;
struct store_view;

struct store_member {
    uint64_t id; /* Never 0, never reused. */
    const char *name;
    const char *address; /* HOST:PORT for peers. */
    /* Filled in by store_members(). */
    bool is_voter;
    bool is_learner; /* Added as a learner and not promoted yet: is not promoted by itself. */
    const char *client_urls; /* Comma list; empty until the member was met. */
};

struct store_config {
    const char *data_dir;
    const char *name;
    const char *listen_address;    /* HOST:PORT for peers, several divided by commas; port 0 picks
                                      one. NULL: single member, no listener. */
    const char *advertise_address; /* NULL: as listen. */
    const char *client_urls; /* Comma list that the other members show for this one; NULL: none. */
    /* Members of a new cluster, this one among them. Ignored when data_dir
     * already holds a member. Empty with join set: wait to be added. */
    const struct store_member *initial_members;
    uint32_t initial_member_count;
    bool join; /* Join a running cluster: its members are given in initial_members. */
    /* PEM files for mutual TLS between members; NULL only for a single member
     * or tests. */
    const char *cert_file, *key_file, *ca_file;
    /* Who is a member, with TLS: normally whose certificate, signed by ca_file, has
     * the organisation TRANSPORT_ORGANIZATION. */
    bool peers_any_organization;   /* Anybody whose certificate ca_file signed, */
    const char *peers_common_name; /* ... and has this common name; NULL: any. */
    bool peers_plain; /* Without certificates: talk without TLS over any network, not only loopback.
                         Whoever reaches the port then is a member. */
    uint32_t heartbeat_ms;       /* 0: 100. */
    uint32_t election_ms;        /* 0: 600. */
    uint64_t history_bytes;      /* Event history kept for watches; 0: 64 MiB. */
    uint64_t history_ms;         /* ... and for how long at least; 0: 10 minutes. */
    uint64_t quota_bytes;        /* Tree memory beyond which writes are refused; 0: 8 GiB. */
    uint64_t snapshot_log_bytes; /* Log bytes between snapshots; 0: 64 MiB. */
    uint64_t verify_ms;   /* The leader has all members compare their states so often; 0: never. */
    bool unsafe_no_fsync; /* Tests and benchmarks only. */
    /* The majority is lost for good: go on alone with what this member has, as
     * the only member. The others must never be started again with their data. */
    bool force_new_cluster;
};

/* Opens the data, starts the threads. Blocks until the log is read, not until
 * there is a leader. */
int store_open(const struct store_config *config, struct store **ret, struct error *err);
/* [any] Before store_close(), for who owes answers until then: whoever waits for the
 * majority, or asks from now on, waits wait_ms at most. */
void store_limit_waits(struct store *s, uint32_t wait_ms);
/* Hands leadership over (no longer than 1.5 election timeouts, nor 5 s), answers what is pending
 * with E_CLOSED, joins threads. Every view and cursor must be gone; the mailboxes given with
 * requests must still be there. NULL is a no-op. */
void store_close(struct store *s);

/* --- writes [any] --- */
/* result is borrowed during the call; on failure (code < 0) it is NULL, or says
 * by its refusal what E_NOT_FOUND and E_CONFLICT are about.
 * E_UNKNOWN_OUTCOME: the write may or may not happen. E_UNAVAILABLE: no
 * leader, nothing happened. E_TOO_LARGE, E_NO_SPACE. */
typedef void store_txn_cb(int code, const struct txn_result *result, void *arg);
void store_txn(struct store *s, const struct txn *t, struct mailbox *mb, store_txn_cb *cb,
               void *arg);
/* Discards history up to rev. */
typedef void store_done_cb(int code, int64_t rev, void *arg);
void store_compact(struct store *s, int64_t rev, struct mailbox *mb, store_done_cb *cb, void *arg);
/* Leases, as etcd's: id 0 lets the store choose; on success rev is the id. */
void store_lease_grant(struct store *s, int64_t id, int64_t ttl_s, struct mailbox *mb,
                       store_done_cb *cb, void *arg);
void store_lease_revoke(struct store *s, int64_t id, struct mailbox *mb, store_done_cb *cb,
                        void *arg);
/* On success rev is the time to live in seconds. */
void store_lease_keepalive(struct store *s, int64_t id, struct mailbox *mb, store_done_cb *cb,
                           void *arg);
/* After a read barrier: what this member knows. keys: also the attached ones. */
struct store_lease {
    int64_t id;
    int64_t ttl_s;                /* As granted. */
    int64_t left_s;               /* Until it expires unless renewed; by this member's clock. */
    const struct kv *const *keys; /* By key; borrowed for the call. */
    size_t key_count;
};
/* lease is NULL on failure: E_NOT_FOUND, E_UNAVAILABLE. */
typedef void store_lease_cb(int code, const struct store_lease *lease, void *arg);
void store_lease_get(struct store *s, int64_t id, bool keys, struct mailbox *mb, store_lease_cb *cb,
                     void *arg);
/* After a read barrier: all ids, rising; borrowed for the call. */
typedef void store_ids_cb(int code, const int64_t *ids, size_t count, void *arg);
void store_lease_list(struct store *s, struct mailbox *mb, store_ids_cb *cb, void *arg);

/* --- reads --- */
/* [any] A linearizable read point: cb gets a revision that the newest view has
 * reached and that includes every write acknowledged before the call. */
void store_read_barrier(struct store *s, struct mailbox *mb, store_done_cb *cb, void *arg);
/* [any] The newest applied state. Never blocks; never NULL. */
struct store_view *store_view(struct store *s);
struct store_view *store_view_ref(struct store_view *v);
void store_view_unref(struct store_view *v);
int64_t store_view_rev(const struct store_view *v);
/* Revisions at or below this one are gone for ranges at an older revision. */
int64_t store_view_compacted(const struct store_view *v);
/* The version of key at rev (0: the view's own); NULL when there is none.
 * Borrowed from the view. */
const struct kv *store_view_get(const struct store_view *v, struct str key, int64_t rev);
/* Iterates [key, range_end) at rev in key order; range_end empty is the one
 * key, "\0" everything from key on. E_EXPIRED below the compacted revision,
 * E_FUTURE_REV above the view's. The iterator borrows the view. */
struct store_iter {
    uint64_t opaque[24];
};
int store_iter_init(struct store_iter *it, const struct store_view *v, struct str key,
                    struct str range_end, int64_t rev);
const struct kv *
store_iter_next(struct store_iter *it); /* Borrowed from the view; NULL at the end. */
/* What OP_RANGE does, on a view: order, limit, filters. *ret is filled as a
 * transaction's result would be; free with op_result_done(). E_EXPIRED,
 * E_FUTURE_REV. */
int store_view_range(const struct store_view *v, const struct txn_op *op, struct op_result *ret);
/* Users, roles and permissions as of the view: borrowed from it. Never NULL. */
const struct auth_state *store_view_auth(const struct store_view *v);
/* A hash over keys, values and their numbers at rev (0: the view's), the same on
 * every member however far compaction got. In steps: store_hash_step() until it
 * returns false. Borrows the view. E_EXPIRED, E_FUTURE_REV. */
struct store_hash {
    uint64_t opaque[56];
    uint32_t value; /* Once done. */
};
int store_hash_init(struct store_hash *h, const struct store_view *v, int64_t rev);
bool store_hash_step(struct store_hash *h, size_t keys);
/* Number of live keys in the range at rev, without visiting the values. */
int64_t store_view_count(const struct store_view *v, struct str key, struct str range_end,
                         int64_t rev);

/* --- events --- */
/* A cursor into the one event log. on_ready runs on mb's loop when there is
 * more to read, once until the cursor was drained. NULL: the reader looks on its own. */
struct store_cursor;
/* [mb's thread] Delivers batches with rev > after_rev. E_EXPIRED when after_rev
 * is older than the history. */
int store_cursor_new(struct store *s, int64_t after_rev, struct mailbox *mb,
                     void (*on_ready)(void *arg), void *arg, struct store_cursor **ret,
                     struct error *err);
/* Changes that it wants none of do not wake it, but for one in 64 or so; they are read all the
 * same, once it looks. wants runs on the store's thread with on_ready's arg, and may look at what
 * does not change or is atomic. When it begins to want more, the reader looks once by itself. */
void store_cursor_filter(struct store_cursor *c, bool (*wants)(void *arg, const struct event *e));
void store_cursor_free(struct store_cursor *c); /* No callback after it. */
/* Next batch in revision order, or NULL once drained. Borrowed until the next
 * call; take a reference to keep it. *ret_lost is set when the cursor fell out
 * of the history: the reader must start again from a view. */
const struct event_batch *store_cursor_next(struct store_cursor *c, bool *ret_lost);
/* Every batch up to this revision has been returned by store_cursor_next. */
int64_t store_cursor_rev(const struct store_cursor *c);

/* --- the cluster [any] --- */
struct store_status {
    uint64_t id, leader_id, term, cluster_id;
    uint64_t log_index, commit_index, applied_index;
    int64_t rev, compacted_rev;
    uint64_t bytes, keys;
    bool is_leader, has_leader, is_voter;
    uint32_t alarms; /* STORE_ALARM_* */
    bool removed;    /* Was a member, is none any more. */
    bool failed; /* Cannot go on (its disk failed, its data is damaged): reads only, restart it. */
    bool is_learner;
    uint64_t bytes_in_use; /* bytes less what compaction has not freed yet. */
};
enum { STORE_ALARM_NO_SPACE = 1, STORE_ALARM_CORRUPT = 2 };
void store_status(struct store *s, struct store_status *ret);
/* Members with alarms, by id; free(). */
struct store_alarm {
    uint64_t member;
    uint32_t alarms; /* STORE_ALARM_* */
};
struct store_alarm *store_alarms(struct store *s, uint32_t *ret_count);
/* Sets or clears alarms of a member (0: this one when setting, every member when
 * clearing). What is set so stays until it is cleared so; of what is cleared, what
 * caused it sets it again if it lasts. */
void store_alarm_change(struct store *s, uint64_t member, uint32_t alarms, bool set,
                        struct mailbox *mb, store_done_cb *cb, void *arg);
/* A change of users, roles or permissions, see auth.h. refusal says why when code
 * is E_INVALID. */
typedef void store_auth_cb(int code, enum auth_refusal refusal, int64_t rev, void *arg);
void store_auth_change(struct store *s, const struct auth_change *c, struct mailbox *mb,
                       store_auth_cb *cb, void *arg);
uint64_t store_id(const struct store *s);
uint64_t store_quota(const struct store *s); /* Bytes; never 0. */
uint16_t store_peer_port(const struct store *s);
/* Copies the member list; free with free(). One allocation. */
struct store_member *store_members(struct store *s, uint32_t *ret_count);
/* Adds as a non-voter, lets it catch up, promotes. cb's rev is the member id. */
void store_member_add(struct store *s, const char *name, const char *address, struct mailbox *mb,
                      store_done_cb *cb, void *arg);
/* Adds as a non-voter that stays one until store_member_promote(). */
void store_member_add_learner(struct store *s, const char *address, struct mailbox *mb,
                              store_done_cb *cb, void *arg);
/* E_AGAIN: has not caught up. E_INVALID: is a voter already. E_NOT_FOUND. */
void store_member_promote(struct store *s, uint64_t id, struct mailbox *mb, store_done_cb *cb,
                          void *arg);
/* Gives the member another peer address. E_NOT_FOUND, E_EXISTS (of another). */
void store_member_update(struct store *s, uint64_t id, const char *address, struct mailbox *mb,
                         store_done_cb *cb, void *arg);
void store_member_remove(struct store *s, uint64_t id, struct mailbox *mb, store_done_cb *cb,
                         void *arg);
void store_transfer_leader(struct store *s, uint64_t id, struct mailbox *mb, store_done_cb *cb,
                           void *arg);

/* --- backup and restore --- */
/* The whole state of one moment as a stream of bytes, with checksums of its own. */
struct store_backup;
/* [any] Of what this member has applied; after a read barrier, of everything
 * acknowledged before that. On success cb owns b. Holds a view: free it before
 * store_close(). */
typedef void store_backup_cb(int code, struct store_backup *b, void *arg);
void store_backup(struct store *s, struct mailbox *mb, store_backup_cb *cb, void *arg);
/* [any one thread] Fills up to cap bytes, compressing as it goes; fewer only at
 * the end, 0 after it. */
size_t store_backup_read(struct store_backup *b, void *p, size_t cap);
int64_t store_backup_rev(const struct store_backup *b);
void store_backup_free(struct store_backup *b); /* NULL is a no-op. */
/* Makes config's data folder, which must hold no member yet, out of a backup:
 * the member of a new cluster, to be opened with the same config. With several
 * initial members, do it on each of them from the same backup. Blocks. E_EXISTS,
 * E_CORRUPT (the backup is damaged or cut short). */
int store_restore(const struct store_config *config, const char *backup_file, struct error *err);

#endif
