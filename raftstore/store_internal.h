/* store_internal.h - what the files of the store share.
 *
 *   store.c           the public functions, requests and their answers
 *   store_open.c      identity, recovery, opening and closing
 *   store_uv.c        the store thread: its loop, one round of work, the timer
 *   store_ops.c       the replica's effects on state machine, disk and peers
 *   store_log.c       the log thread: appends, syncs, reads
 *   store_snapshot.c  the bulk thread: snapshots out, in and aside
 *   store_chores.c    what the store asks of itself: compaction, alarms, leases
 *   store_members.c   names and data instances of the members
 *   store_view.c      views, iterators, cursors
 *   store_memory.c    giving memory back
 *   store_verify.c    comparing the members' states
 *   store_restore.c   a data folder out of a backup; going on alone
 *
 * Threads: fields are the store thread's unless marked otherwise. */
#ifndef RAFTSTORE_STORE_INTERNAL_H
#define RAFTSTORE_STORE_INTERNAL_H

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/loop.h"
#include "lib/base/mailbox.h"
#include "raftstore/mvcc.h"
#include "raftstore/replica.h"
#include "raftstore/store.h"
#include "raftstore/store_hooks.h"
#include "raftstore/transport.h"
#include "raftstore/worker.h"

#include <stdatomic.h>

struct disk;
struct log;
struct metric;
struct mvcc_restore;
struct snapshot_dir;

/* --- requests: from any thread, answered on the asker's loop ------------------- */

enum request_type {
    REQUEST_COMMAND, /* bytes */
    REQUEST_READ,
    REQUEST_CHANGE, /* change, id, address */
    REQUEST_TRANSFER,
    REQUEST_CLOSE,
    REQUEST_KILL,
    REQUEST_BLOCK,
    REQUEST_LIMIT, /* id: milliseconds */
    REQUEST_BACKUP,
    REQUEST_LEASE, /* id, flag: with its keys */
    REQUEST_LEASES,
};

/* What a command's answer calls `rev`. */
enum request_rev { REQUEST_REV, REQUEST_ID, REQUEST_TTL };

struct request {
    struct mail mail; /* To the store thread, then back. */
    struct list node; /* In store.answers. */
    struct store *s;
    enum request_type type;
    enum request_rev rev_is;
    struct mailbox *reply_to; /* NULL: `internal` is called on the store thread. */
    store_txn_cb *on_txn;
    store_done_cb *on_done;
    store_backup_cb *on_backup;
    store_lease_cb *on_lease;
    store_ids_cb *on_ids;
    store_auth_cb *on_auth;
    struct mvcc_snapshot *backup;
    void (*internal)(struct store *s, const struct request *r);
    void *arg;
    struct buf bytes;
    enum replica_change_type change;
    uint64_t id;
    char *address;
    bool flag;
    int code;
    int64_t rev;
    struct mvcc_result result;
    struct store_lease lease;
    const struct kv **kvs; /* The lease's keys, with references. */
    int64_t *ids;
    size_t id_count;
};

/* --- the log thread -------------------------------------------------------------- */

struct log_io {
    struct log *log; /* Log thread. */
    uint64_t staged_seq;
    struct list waiting;       /* Jobs to answer once what is staged is durable. */
    uint64_t failing_since_ms; /* 0: the disk works. */
    bool failed;
    bool wrote, marked;
    uint64_t wrote_ms, checked_ms;
    bool low;
    char failure[256];
    /* To the store thread, coalesced. */
    struct mail mail;
    atomic_bool posted;
    atomic_uint_fast64_t done_seq;
    atomic_bool low_space;
    atomic_int fatal_code;
    atomic_uint_fast64_t syncs, written_bytes;
};

/* --- the bulk thread ----------------------------------------------------------------- */

struct bulk_io {
    struct snapshot_dir *dir; /* Bulk thread. */
    struct list readers;
    struct list receivers;
    uint64_t tidy_at_ms;
    struct bulk_job *taking; /* The snapshot that is written, in slices. */
};

/* --- the store --------------------------------------------------------------------- */

struct member_record {
    uint64_t id;
    uint64_t instance; /* 0: not seen yet. */
    uint16_t format;   /* Newest format of commands it understands; 0: not known. */
    char name[TRANSPORT_NAME_MAX + 1];
    char client_urls[TRANSPORT_URLS_MAX + 1];
};

/* Of the last comparison with the leader's state. */
enum verdict { VERDICT_NONE, VERDICT_SAME, VERDICT_DIFFERENT };

struct sample {
    uint64_t at_ms;
    int64_t rev;
};
#define SAMPLES_MAX 16

struct store_metrics {
    struct metric *has_leader, *is_leader, *leader_changes, *committed, *applied, *pending, *failed;
    struct metric *fsync, *write_bytes, *snapshots, *db_size, *storage_size, *db_in_use, *keys,
        *rev, *compact_rev, *quota;
    struct metric *read_failures, *slow_reads, *slow_applies, *late_heartbeats, *commit;
};

struct store {
    /* Constant after store_open(). */
    struct env *env;
    struct disk *disk;
    char *data_dir, *name, *client_urls;
    uint32_t heartbeat_ms, election_ms;
    uint64_t history_ms, quota_bytes, snapshot_log_bytes, verify_ms;
    struct store_hooks hooks;
    bool no_fsync, join;
    uint16_t own_format; /* Of commands, as told to the others. */
    uint64_t disk_reserve_bytes;
    atomic_uint_fast64_t id, cluster_id; /* Set once; later than opening only by adoption. */
    uint64_t instance;
    uint16_t port;
    char *address;

    uv_loop_t loop;
    pthread_t thread;
    bool thread_started;
    struct mailbox mailbox;
    struct defer_queue defer;
    struct deferred round;
    uv_timer_t timer;
    uint64_t timer_at_ms; /* 0: not armed. */
    struct worker log_worker, bulk_worker;
    struct log_io log_io;
    struct bulk_io bulk_io;

    struct mvcc *mvcc;       /* Views and cursors of it are taken on any thread. */
    struct replica *replica; /* NULL while waiting to be added. */
    struct transport *transport;
    struct list log_queue;  /* Work for the log thread, given to it at the end of a round. */
    struct list answers;    /* Given out at the end of a round, behind the publishing. */
    struct members members; /* The newest list. */

    uint64_t install_seq; /* Of the snapshot install under way; 0: none. */
    bool adopting;
    bool was_leader;
    uint64_t last_leader;
    bool failed;             /* The member cannot go on. */
    bool told_removed;       /* By the leader. */
    uint64_t apply_since_ns; /* The batch being applied; 0: none. */
    int apply_code;          /* A committed command could not be applied. */
    bool closing, closed;
    uint64_t close_at_ms;
    atomic_bool killed;

    /* Chores. */
    struct sample samples[SAMPLES_MAX];
    uint32_t sample_count;
    bool compacting, alarming, recording;
    uint32_t expiring; /* Leases whose end was proposed and not answered. */
    uint64_t squeeze_retry_ms, alarm_retry_ms, lease_retry_ms, record_retry_ms;
    /* Memory. */
    uint64_t work_at_ms, work_wait_ms; /* When views that hold the dead are looked at again. */
    int64_t history_rev;               /* Up to which events were cut. */
    uint64_t history_at_ms;            /* When more of them go; 0: none. */
    bool trim_wanted, trimming;        /* malloc is asked for what it holds free. */
    uint64_t trim_at_ms;
    uint64_t held_bytes; /* The most since it was asked last. */
    bool low_space;
    struct member_record seen[MEMBERS_MAX]; /* Whom we met. */
    uint32_t seen_count;
    struct buf published;                  /* The members' record that other threads know. */
    bool record_dirty;                     /* What it should say may have changed. */
    uint16_t format;                       /* Of commands that every member understands. */
    bool verifying;                        /* A hash is being made. */
    enum verdict verdict, alarmed_verdict; /* Until the alarm says so; what it was told to say. */
    uint64_t verify_at_ms;

    struct store_metrics metrics;

    /* Shared with all threads. */
    pthread_mutex_t lock;
    struct store_status status;    /* Guarded by lock, */
    struct member_record *records; /* ... as is the list of members with roles. */
    struct member *listed;
    uint32_t listed_count;
    struct mvcc_alarm *alarms;
    size_t alarm_count;
};

/* store.c */
void request_finish(struct request *r, int code); /* To be answered at the end of the round. */
void store_answer_all(struct store *s);
/* A command of our own; done is called when it was applied or failed. */
void store_propose_internal(struct store *s, const struct command *c,
                            void (*done)(struct store *s, const struct request *r));

/* store_uv.c */
int store_loop_init(struct store *s, struct error *err);
void store_loop_start(struct store *s);
void store_kick(struct store *s); /* A round of work soon. */
void store_on_request(struct mail *m);
uint64_t store_now(const struct store *s);
void store_update_status(struct store *s);

/* store_open.c */
/* Makes the replica; vote and founders as for replica_start(). */
int store_make_replica(struct store *s, uint64_t boot, struct error *err);
struct store *store_new(const struct store_config *c, const struct store_hooks *hooks);
/* The members that found the cluster (none given: none, the address is not known
 * yet), this member's id, and the cluster's: the same on each of them. */
int store_founders(struct store *s, const struct store_config *c, struct members *ret,
                   uint64_t *ret_id, uint64_t *ret_cluster, struct error *err);
int store_log_open(struct store *s, const char *dir, uint64_t cluster_id, uint64_t member_id,
                   bool joined, struct log **ret, struct error *err);
int store_snapshots_open(struct store *s, uint64_t cluster_id, struct snapshot_dir **ret,
                         struct error *err);
void store_free(struct store *s);

/* store_ops.c */
extern const struct replica_ops store_replica_ops;
extern const struct transport_ops store_transport_ops;
void store_set_peers(struct store *s);

/* store_log.c */
void store_log_start(struct store *s, struct log *log);
void store_log_stop(struct store *s);
void store_log_vote(struct store *s, uint64_t seq, uint64_t term, uint64_t vote);
void store_log_append(struct store *s, uint64_t seq, struct entry *const *entries, uint32_t count);
void store_log_reset(struct store *s, uint64_t seq, uint64_t index, uint64_t term);
void store_log_trim(struct store *s, uint64_t first_index);
void store_log_read(struct store *s, uint64_t token, uint64_t first, uint64_t last,
                    uint32_t bytes_max);
/* [bulk] Empties the log for a snapshot that is durable; then done on the store thread. */
void store_log_install(struct store *s, uint64_t index, uint64_t term, void (*done)(void *arg),
                       void *arg);
/* [any worker] The disk does not serve the store any more. */
void store_disk_failed(struct store *s, int code, const char *message);
/* Creates the log of a member that was just told who it is. */
void store_adopt(struct store *s, uint64_t cluster_id, uint64_t id);
struct entry *store_entry_of(uint64_t index, uint64_t term, uint8_t kind, const void *data,
                             uint32_t len);

/* store_snapshot.c */
void store_bulk_start(struct store *s, struct snapshot_dir *dir);
void store_bulk_stop(struct store *s);
void store_snapshot_take(struct store *s, const struct replica_snapshot *snapshot);
void store_snapshot_read(struct store *s, uint64_t token, uint64_t index, uint64_t offset,
                         uint32_t bytes_max);
void store_snapshot_release(struct store *s, uint64_t index);
void store_snapshot_write(struct store *s, uint64_t transfer, uint64_t offset, struct str bytes,
                          bool last);
void store_snapshot_drop(struct store *s, uint64_t transfer);
void store_snapshot_install(struct store *s, uint64_t seq, uint64_t transfer,
                            const struct replica_snapshot *snapshot);

/* store_chores.c */
void store_chores(struct store *s, uint64_t now_ms);
uint64_t store_chores_deadline(const struct store *s, uint64_t now_ms);
void store_became_leader(struct store *s, uint64_t now_ms);
void store_metrics_init(struct store *s);
void store_metrics_update(struct store *s, const struct replica_status *rs,
                          const struct mvcc_stats *ms);

/* store_memory.c */
/* True: more can be given back now. */
bool store_give_back_memory(struct store *s, uint64_t now_ms);
uint64_t store_memory_deadline(const struct store *s);

/* store_verify.c */
void store_verify_chore(struct store *s, uint64_t now_ms);
uint64_t store_verify_deadline(const struct store *s);

/* store_restore.c */
/* Makes this member the only one, by an entry at the end of its log. */
int store_force_alone(struct log *log, const char *address, struct error *err);

/* store_members.c */
/* What a member says of itself when it is met. */
struct member_greeting {
    uint64_t id, instance;
    uint16_t format;
    struct str name, client_urls;
};
/* Notes whom we met. OK, or LOST_DATA when its data is not what the record says. */
enum transport_status store_member_met(struct store *s, const struct member_greeting *g);
void store_members_chore(struct store *s, uint64_t now_ms);
uint32_t store_member_records(const struct store *s, struct member_record *ret, uint32_t max);
void store_publish_members(struct store *s);

#endif
