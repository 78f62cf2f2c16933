/* replica.h - one member of the replicated log: the pure driver around the
 * consensus core.
 *
 * Loop-confined, no clock, no I/O: the owner feeds events in and carries the
 * effects out. It turns proposals into log entries, keeps the log's newest part
 * in memory, moves entries and snapshots between members, confirms reads, and
 * hands committed commands to the state machine in one order, each exactly once.
 *
 *   owner                                   replica
 *     replica_propose/read/receive/...  ->  queues, steps the core
 *     replica_run() once per loop turn  ->  cuts batches, sends, applies
 *     ops->append(seq) ... fdatasync    ->  replica_persisted(seq)
 *
 * Rules for the owner:
 *  - No op may call back into the replica.
 *  - After feeding events, call replica_run() once; when it returns true, again
 *    soon (it bounds its work per call). Arm a timer for replica_deadline() and
 *    call replica_tick() then.
 *  - Disk writes (save_vote, append, install_snapshot, reset_log) form one FIFO with rising
 *    seq. They become durable in that order; several may share one sync.
 *    Report the highest durable one with replica_persisted().
 *  - Messages need no delivery guarantee and may be dropped, doubled and
 *    reordered. Their integrity (and that `from` is who it says) is the
 *    transport's business: mutual TLS. */
#ifndef RAFTSTORE_REPLICA_H
#define RAFTSTORE_REPLICA_H

#include "raftstore/entry.h"

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct error;
struct replica;

/* Longest message given to send() or accepted by replica_receive(). A transport
 * cuts off a peer that announces more. */
#define REPLICA_MESSAGE_MAX (ENTRY_BYTES_MAX + (1u << 20))
/* Longest command accepted by replica_propose(). */
#define REPLICA_COMMAND_MAX (8u << 20)

/* The one small record beside the log. Rewritten whole, atomically. */
struct replica_vote {
    uint64_t term;
    uint64_t voted_for;
};

/* A point of the log that a snapshot stands for. */
struct replica_snapshot {
    uint64_t index;
    uint64_t term;
    /* Opaque: members and the table against double application. Stored with
     * the data and given back on start. At most REPLICA_META_MAX bytes. */
    struct str meta;
};
#define REPLICA_META_MAX (256u << 10)

struct replica_command {
    uint64_t index; /* Of the entry that carries it; several may share one. */
    uint64_t term;
    struct str bytes; /* Borrowed for the call. */
    void *cookie; /* Of replica_propose(), when proposed by this start of this member; else NULL. */
};

enum replica_state { REPLICA_FOLLOWER, REPLICA_CANDIDATE, REPLICA_LEADER };

struct replica_status {
    enum replica_state state;
    uint64_t term;
    uint64_t leader; /* 0: none known. */
    uint64_t commit_index, applied_index, last_index, first_index;
    uint64_t snapshot_index;
    uint64_t log_bytes;   /* Since the last snapshot. */
    uint64_t cache_bytes; /* Entries held in memory. */
    uint64_t proposals;   /* Waiting for their application. */
    uint64_t proposal_bytes;
    uint64_t reads;
    bool is_voter, is_learner;
    bool removed; /* Was a member, is none any more. */
};

struct replica_ops {
    /* --- the disk, in one FIFO of rising seq; see replica_persisted() --- */
    void (*save_vote)(void *arg, uint64_t seq, const struct replica_vote *v);
    /* Cut the log at first_index (drop it and all behind it), then append
     * `count` >= 1 entries; entries[0]->index == first_index. References must be
     * taken to keep them. */
    void (*append)(void *arg, uint64_t seq, uint64_t first_index, struct entry *const *entries,
                   uint32_t count);
    /* The snapshot received as `transfer` replaces state machine and log: make
     * it the current one, drop the whole log (it goes on at index + 1), restore
     * the state machine, then report seq. May take long. No apply meanwhile, and
     * no append is given before it is reported. */
    void (*install_snapshot)(void *arg, uint64_t seq, uint64_t transfer,
                             const struct replica_snapshot *s);

    /* Drop the whole log, which goes on at index + 1: on disk it ended before the
     * current snapshot or contradicted it (a crash during an install). Only
     * inside replica_start(). */
    void (*reset_log)(void *arg, uint64_t seq, uint64_t index, uint64_t term);

    /* --- the disk, outside the FIFO --- */
    /* Entries below first_index are not needed any more. */
    void (*trim)(void *arg, uint64_t first_index);
    /* Read entries [first, last], at most bytes_max bytes of payload but at least
     * one entry; answer with replica_entries_read(token). They are durable and
     * were not trimmed when asked. */
    void (*read_entries)(void *arg, uint64_t token, uint64_t first, uint64_t last,
                         uint32_t bytes_max);

    /* --- snapshots --- */
    /* Take the state machine's root as it is now (every command up to s->index
     * applied, none above), write it aside, answer with replica_snapshot_taken()
     * once it is durable. One at a time. s is borrowed for the call. */
    void (*take_snapshot)(void *arg, const struct replica_snapshot *s);
    /* Sending: read up to bytes_max bytes at offset of the snapshot file for
     * index, whole as stored (data only, without s->meta); answer with
     * replica_snapshot_read(token). The file stays readable until
     * release_snapshot(index), also when a newer one replaces it. */
    void (*read_snapshot)(void *arg, uint64_t token, uint64_t index, uint64_t offset,
                          uint32_t bytes_max);
    void (*release_snapshot)(void *arg, uint64_t index);
    /* Receiving: write bytes at offset into the temporary file of `transfer`
     * (offset 0 creates or empties it; the offsets follow each other without
     * gap); answer with replica_snapshot_written(transfer). With `last` the file
     * is complete: verify its checksums before the answer. */
    void (*write_snapshot)(void *arg, uint64_t transfer, uint64_t offset, struct str bytes,
                           bool last);
    void (*drop_snapshot)(void *arg, uint64_t transfer); /* Not wanted any more. */

    /* --- peers --- */
    /* The content of msg may be taken (buf_steal) or is thrown away. */
    void (*send)(void *arg, uint64_t to, struct buf *msg);
    /* The newest list of members: whom to connect to. Also at start. */
    void (*members_changed)(void *arg, const struct members *m);

    /* --- the state machine and its users --- */
    /* Applies a committed command; with a cookie, answer its proposer. */
    void (*apply)(void *arg, const struct replica_command *c);
    /* Every command up to index was applied; once per run, after the applies. */
    void (*applied)(void *arg, uint64_t index);
    /* The proposal will not be answered by apply. E_UNKNOWN_OUTCOME: it may still
     * be applied later (then without cookie). E_UNAVAILABLE: it surely will not.
     * E_CLOSED as E_UNKNOWN_OUTCOME, from replica_close(). */
    void (*propose_failed)(void *arg, void *cookie, int code);
    /* code 0: everything acknowledged anywhere before replica_read() was called is
     * applied here, up to at least index. Else E_UNAVAILABLE, E_CLOSED. */
    void (*read_done)(void *arg, void *cookie, int code, uint64_t index);
    /* Answers replica_change() and replica_transfer(). */
    void (*change_done)(void *arg, void *cookie, int code);
    /* State, term, leader or own role changed: see replica_status(). */
    void (*changed)(void *arg);
    /* The member cannot go on: stop it. Nothing is called afterwards but by
     * replica_close(). */
    void (*fatal)(void *arg, int code, const char *message);
};

/* What the simulator's drills have a replica do wrongly, to see it caught. */
enum replica_drill {
    REPLICA_DRILL_APPLY_TWICE = 1 << 0,      /* Without the table against double application. */
    REPLICA_DRILL_READ_UNCONFIRMED = 1 << 1, /* A leader answers reads without a round. */
    REPLICA_DRILL_READ_LOCAL = 1 << 2,       /* Whoever does not lead answers from what it has. */
};

/* 0 in a field stands for its default. */
struct replica_config {
    uint64_t id;   /* Not 0. */
    uint32_t seed; /* Random, different on every member. */
    /* Names this start's proposals, so that none is applied twice: not 0 and
     * greater at every start of the member than at all starts before. The owner
     * makes it durable (a counter in a file of its own) before replica_start(). */
    uint64_t boot;
    uint32_t heartbeat_ms;        /* 100 */
    uint32_t election_ms;         /* 1000 */
    uint32_t proposal_timeout_ms; /* 7000: then E_UNKNOWN_OUTCOME or E_UNAVAILABLE. */
    uint32_t disk_stall_ms; /* election_ms: a leader whose oldest write takes longer steps aside. */
    uint64_t snapshot_log_bytes; /* 64 MiB of log between snapshots; more for large states. */
    uint64_t trail_bytes;  /* snapshot_log_bytes / 4: kept behind a snapshot for slow members. */
    uint64_t cache_bytes;  /* 8 MiB of log in memory for members that lag. */
    uint32_t entry_bytes;  /* 1 MiB: a batch is cut beyond. */
    uint32_t append_bytes; /* 1 MiB per append message. */
    uint64_t window_bytes; /* 8 MiB sent to a member and not acknowledged. */
    uint64_t queue_bytes;  /* 64 MiB of proposals waiting; then E_TOO_MANY. */
    uint32_t queue_count;  /* 65536 of them. */
    uint32_t snapshot_chunk_bytes; /* 256 KiB */
    uint32_t guards_off;           /* Drills only; enum consensus_guard. */
    uint32_t drills;               /* Drills only; enum replica_drill. */
    bool manual_promotion;         /* Standbys stay standbys until replica_change(). Tests. */
    const struct replica_ops *ops; /* Borrowed for the replica's life. */
    void *arg;
};

int replica_new(const struct replica_config *config, struct replica **ret, struct error *err);
/* Answers everything pending with E_CLOSED; no op is called afterwards. */
void replica_close(struct replica *r);
void replica_free(struct replica *r); /* Closes first. NULL is a no-op. */

/* --- start: recover, then start once --- */
/* The current snapshot; the state machine is restored from it already. At most
 * once, before any entry. E_CORRUPT when its meta does not decode. */
int replica_recover_snapshot(struct replica *r, const struct replica_snapshot *s,
                             struct error *err);
/* Each entry of the log in order, gap-free and starting at or below snapshot
 * index + 1 (1 without snapshot). Takes its own reference; old ones are dropped
 * again to keep within cache_bytes. */
int replica_recover_entry(struct replica *r, struct entry *e, struct error *err);
/* vote: NULL when the disk is empty. Then initial_members (roles ignored: all
 * vote) found a new cluster, the same list on each of them; NULL or empty waits
 * to be added to a running one. With data on disk initial_members is ignored.
 * A sole voter is leader when this returns, ready to serve once its first write
 * is durable. Any error is fatal to the member. */
int replica_start(struct replica *r, uint64_t now_ms, const struct replica_vote *vote,
                  const struct members *initial_members, struct error *err);

/* --- time and work --- */
/* now_ms of all calls: monotonic milliseconds. */
void replica_tick(struct replica *r, uint64_t now_ms);
uint64_t replica_deadline(const struct replica *r); /* UINT64_MAX: none. */
/* Does what the events made due. True: more work is waiting, call again. */
bool replica_run(struct replica *r, uint64_t now_ms);

/* --- from the disk --- */
void replica_persisted(struct replica *r, uint64_t now_ms, uint64_t seq);
/* entries: borrowed, consecutive from the first asked for; count 0 with code < 0
 * when they cannot be read (fatal unless they were cut or trimmed meanwhile). */
void replica_entries_read(struct replica *r, uint64_t now_ms, uint64_t token, int code,
                          struct entry *const *entries, uint32_t count);
void replica_snapshot_taken(struct replica *r, uint64_t now_ms, uint64_t index, int code);
/* How large the state is, roughly: decides how much log a snapshot is worth. */
void replica_set_state_bytes(struct replica *r, uint64_t bytes);
void replica_snapshot_read(struct replica *r, uint64_t now_ms, uint64_t token, int code,
                           struct str bytes, bool last);
void replica_snapshot_written(struct replica *r, uint64_t now_ms, uint64_t transfer, int code);
/* The log cannot be written any more. A leader hands over, as far as it still
 * can; then, or at once on others, comes fatal(). */
void replica_disk_failed(struct replica *r, uint64_t now_ms, int code, const char *message);

/* --- from peers --- */
/* bytes as given to send() there. Anything malformed is dropped: E_INVALID, and
 * the transport should cut the connection. */
int replica_receive(struct replica *r, uint64_t now_ms, uint64_t from, struct str bytes);

/* The way to the member begins anew: what was sent before and not answered may
 * count as lost. Sooner than by silence. */
void replica_connected(struct replica *r, uint64_t id);

/* --- from users --- */
/* Copies bytes. 0: exactly one answer follows, by apply() or propose_failed(),
 * with cookie (not NULL). E_TOO_LARGE, E_TOO_MANY (queue full: slow down),
 * E_UNAVAILABLE (removed, failed): no answer follows. */
int replica_propose(struct replica *r, uint64_t now_ms, struct str bytes, void *cookie);
/* A linearizable read point; answered by read_done(). */
int replica_read(struct replica *r, uint64_t now_ms, void *cookie);

enum replica_change_type {
    REPLICA_ADD,         /* As standby; the leader promotes it once it has caught up. */
    REPLICA_PROMOTE,     /* A caught-up standby or learner to voter; E_AGAIN while it has not,
                            E_INVALID when it is one. */
    REPLICA_DEMOTE,      /* A voter to standby. */
    REPLICA_REMOVE,      /* A leader hands over first. Not the last voter: E_INVALID. */
    REPLICA_ADD_LEARNER, /* As REPLICA_ADD, but promoted by REPLICA_PROMOTE only. */
    REPLICA_UPDATE,      /* Another address for a member. */
};
/* On any member; answered by change_done() once committed. Waits for its turn
 * while another change is under way. E_EXISTS (id or address), E_NOT_FOUND,
 * E_AGAIN (not caught up), E_INVALID, E_UNAVAILABLE, E_UNKNOWN_OUTCOME. address:
 * for REPLICA_ADD, REPLICA_ADD_LEARNER and REPLICA_UPDATE, different for every member. */
int replica_change(struct replica *r, uint64_t now_ms, enum replica_change_type type, uint64_t id,
                   const char *address, void *cookie);
/* Hands leadership to id; 0: whoever is best. On any member; answered by
 * change_done(). */
int replica_transfer(struct replica *r, uint64_t now_ms, uint64_t id, void *cookie);

/* Nobody waits beyond at_ms any more, who asks from now on included: the member is
 * about to be closed. */
void replica_limit_waits(struct replica *r, uint64_t at_ms);

void replica_status(const struct replica *r, struct replica_status *ret);
const struct members *
replica_members(const struct replica *r); /* Newest; borrowed until the next call. */

#endif
