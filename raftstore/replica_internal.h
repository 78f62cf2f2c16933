/* replica_internal.h - the state shared by the files of the replica.
 *
 *   replica.c           life, events, the consensus' effects, run()
 *   replica_start.c     from what the disk holds to a running member
 *   replica_propose.c   proposals: queue, batches, forwarding
 *   replica_apply.c     applying, the table against double application, snapshots taken
 *   replica_read.c      confirmed reads
 *   replica_send.c      the log's way to a member, with a window in bytes
 *   replica_transfer.c  snapshots' way to a member, and from one
 *   replica_change.c    changes of members, leadership transfer */
#ifndef RAFTSTORE_REPLICA_INTERNAL_H
#define RAFTSTORE_REPLICA_INTERNAL_H

#include "lib/base/base.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/list.h"
#include "raftstore/batch.h"
#include "raftstore/consensus.h"
#include "raftstore/peer_message.h"
#include "raftstore/replica.h"
#include "raftstore/tail.h"

#include <inttypes.h>

#define SENT_MAX 256       /* Append messages on their way to one member. */
#define CHUNKS_MAX 4       /* Snapshot chunks on their way to one member. */
#define CHUNK_QUEUE_MAX 16 /* Received chunks on their way to the disk. */
#define ROUNDS_MAX 8       /* Read rounds, or read requests to the leader, at a time. */
#define CHANGES_MAX 32     /* Requests for changes waiting here. */
#define READS_MAX 65536

/* A snapshot's description, shared by transfers that outlive it. */
struct snapshot_ref {
    uint32_t refs;
    uint64_t index, term;
    struct str meta;
    uint8_t bytes[];
};

/* What the table against double application knows about a member. */
struct origin {
    uint64_t id;
    uint64_t boot, seq; /* Of its last command that was applied or skipped. */
};

/* The replicated state that is the replica's own, not the state machine's. */
struct applied {
    uint64_t index, term;
    struct members members; /* Of the newest ENTRY_MEMBERS applied. */
    uint64_t members_index;
    struct origin origins[MEMBERS_MAX]; /* One for each of members, same order. */
};

struct proposal {
    struct list node;
    uint64_t seq;
    uint64_t deadline_ms;
    void *cookie;
    bool maybe; /* Handed to some leader's log: may be there under this seq. */
    uint32_t size;
    uint8_t data[];
};

/* Commands forwarded by a member, waiting for a place in the log. */
struct forwarded {
    struct list node;
    uint32_t size;
    uint8_t data[];
};

struct read_op {
    struct list node;
    void *cookie;
    uint64_t deadline_ms;
    uint64_t index; /* Once confirmed. */
};

/* A member that waits for a read index from this leader. */
struct read_remote {
    struct list node;
    uint64_t member, boot, id;
    uint64_t term; /* That the member was in when it asked; 0: it did not say. */
};

/* Reads that are confirmed together: by a round of this leader, or by one
 * request to the leader. */
struct read_group {
    struct list node;
    uint64_t id;    /* Of the round or the request. */
    uint64_t index; /* Leader: the commit index when the round started. */
    uint64_t asked_ms;
    struct list ops;
    struct list remotes;
    uint64_t acked[MEMBERS_MAX];
    uint32_t acked_count;
};

enum write_type { WRITE_VOTE, WRITE_APPEND, WRITE_INSTALL, WRITE_RESET };

struct write {
    struct list node;
    enum write_type type;
    uint64_t seq;
    uint64_t last_index; /* WRITE_APPEND: what of it was not cut since. */
    uint64_t since_ms;
};

/* The snapshot on its way to a member. */
struct tx {
    struct snapshot_ref *snapshot; /* NULL: none. */
    uint64_t id;
    uint64_t attempt;     /* The member's newest; it rises when it has to begin again. */
    uint64_t acked, sent; /* Offsets. */
    uint32_t chunks;      /* On their way. */
    uint64_t token;       /* Of the read under way; 0: none. */
    bool sent_last;
    bool gap;  /* The member missed something: it acknowledged the same again. */
    bool done; /* The member has it all; INSTALL goes out. */
    uint64_t progress_ms, install_ms;
};

struct peer {
    uint64_t id;
    uint64_t heard_ms; /* 0: never. */
    /* The log: [next, end) is to be sent; next - 1 has prev_term. */
    uint64_t next, end, prev_term;
    uint64_t term;                /* For which the range holds. */
    uint64_t commit, told_commit; /* For the next message; in the last one. */
    bool probing;                 /* One message until the first acknowledgement. */
    uint64_t token;               /* Of the read under way; 0: none. */
    struct {
        uint64_t last;
        uint32_t bytes;
        uint64_t first;
        uint64_t at_ms;
    } sent[SENT_MAX];
    uint32_t sent_head, sent_count;
    uint64_t sent_bytes;
    struct tx tx;
};

/* The snapshot that comes in. */
struct rx {
    uint64_t local; /* Its name for the disk; 0: none. */
    uint64_t from, id;
    uint64_t index, term;
    uint64_t received; /* Offset up to which chunks were given to the disk. */
    uint64_t written;
    bool last, done;
    uint64_t ends[CHUNK_QUEUE_MAX];
    uint32_t ends_head, ends_count;
};

enum change_state {
    CHANGE_WAITING, /* To be asked, or asked again at retry_ms. */
    CHANGE_ASKED,   /* The leader was asked; or, on the leader, the entry stands. */
};

struct change {
    struct list node;
    uint64_t id;
    uint8_t type; /* enum replica_change_type or PEER_TRANSFER. */
    uint64_t target;
    char *address;
    void *cookie;
    uint64_t deadline_ms, retry_ms;
    bool maybe; /* Asked at least once. */
    enum change_state state;
    uint64_t leader, term; /* PEER_TRANSFER: whom to get away from, and its term. */
};

/* The leader's side of the one change under way. */
struct change_wait {
    uint64_t index; /* 0: none. */
    uint64_t term;
    uint64_t member, boot, id; /* Who asked; member 0: nobody (a promotion). */
};

struct replica {
    struct replica_config config;
    const struct replica_ops *ops;
    void *arg;
    struct consensus *consensus;
    uint64_t now_ms, last_tick_ms;
    uint64_t waits_end_ms; /* Of replica_limit_waits(). */
    bool started, closed, failed;
    bool in_op; /* An owner's op runs: it must not call back. */

    /* Role as last looked at. */
    enum consensus_state state;
    uint64_t term, leader;
    bool look_again; /* The consensus said that something changed. */
    bool status_dirty;
    bool was_member;
    struct members told; /* As last given to members_changed(). */
    /* Until the start: the log's lists of members, which the core wants to see. */
    struct entry **recovered;
    uint32_t recovered_count;

    /* Disk. */
    struct tail tail;
    struct list writes; /* struct write, in order of seq. */
    uint64_t seq, done_seq, vote_seq;
    uint64_t persisted; /* Entries up to here are durable and stand in the tail. */
    uint32_t appends_pending;
    struct list held; /* struct held_message: leave once the vote is durable. */
    uint32_t held_count;
    uint64_t token;
    uint64_t retry_transfer_ms;
    uint64_t fatal_at_ms; /* Disk failure: when to give up handing over. */
    int fatal_code;
    char fatal_text[160];

    /* Applying. */
    uint64_t commit;
    struct applied applied;
    uint64_t apply_token;       /* Of the read under way; 0: none. */
    struct entry **apply_ahead; /* Entries read back, from applied.index + 1 on. */
    uint32_t apply_ahead_count, apply_ahead_at;
    struct snapshot_ref *snapshot; /* The current one; NULL: none. */
    struct members snapshot_members;
    uint64_t snapshot_members_index;
    struct snapshot_ref *taking; /* Being written; NULL: none. */
    struct members taking_members;
    uint64_t taking_members_index;
    bool taken;           /* Durable; waits for its entries to be durable too. */
    uint64_t bytes_since; /* Log bytes applied since the last snapshot. */
    uint64_t state_bytes;
    uint64_t entries_since;

    /* Proposals: all seqs in `sent` are below all in `queued`. */
    uint64_t next_seq;
    struct list queued, sent;
    uint64_t queued_bytes, sent_bytes;
    uint32_t proposal_count;
    uint64_t proposal_bytes;
    uint64_t forward_pause_ms; /* The leader refused: not before. */
    uint64_t progress_ms;      /* When one of ours was last applied or sent first. */
    struct list forwarded;
    uint64_t forwarded_bytes;
    uint64_t expire_ms; /* When timeouts are looked at next. */

    /* Reads. */
    struct list reads_waiting; /* Without round or request. */
    struct list remotes_waiting;
    struct list groups; /* Rounds or requests, oldest first. */
    uint32_t group_count;
    struct list reads_confirmed; /* Wait for their index to be applied. */
    uint32_t read_count;
    uint64_t next_group;

    /* Peers. */
    struct peer *peers[MEMBERS_MAX];
    uint32_t peer_count;
    bool rejecting; /* A rejection is being received: senders start afresh. */
    struct rx rx;
    uint64_t next_transfer;
    uint64_t installing_seq; /* 0: no install under way. */
    struct applied install_applied;
    struct snapshot_ref *install_snapshot;
    bool install_emitted;

    /* Changes. */
    struct list changes; /* struct change, oldest first. */
    uint32_t change_count;
    struct change_wait wait;
    uint64_t promote_ms; /* Not before. */
};

/* Brackets an owner's op: R_OP(r, apply, &command). */
#define R_OP(r, op, ...)                                                                           \
    do {                                                                                           \
        (r)->in_op = true;                                                                         \
        (r)->ops->op((r)->arg __VA_OPT__(, ) __VA_ARGS__);                                         \
        (r)->in_op = false;                                                                        \
    } while (0)

/* Has somebody waited long enough? */
static inline bool is_past(const struct replica *r, uint64_t deadline_ms)
{
    return r->now_ms >= MIN_OF(deadline_ms, r->waits_end_ms);
}
static inline bool is_leader(const struct replica *r)
{
    return r->state == CONSENSUS_LEADER;
}
/* A leader that may serve: it knows what was committed before its term. */
static inline bool is_settled_leader(const struct replica *r)
{
    return is_leader(r) && tail_term(&r->tail, r->commit) == r->term;
}

/* replica.c */
void replica_fatal(struct replica *r, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
void replica_send(struct replica *r, uint64_t to, const struct peer_message *m);
/* For what promises nothing: not held until term and vote are durable. */
void replica_send_now(struct replica *r, uint64_t to, const struct peer_message *m);
struct peer *replica_peer(struct replica *r, uint64_t id); /* NULL: no member. */
struct write *replica_write(struct replica *r,
                            enum write_type type); /* Enters the FIFO, with its seq. */
uint64_t replica_token(struct replica *r);
void replica_look(struct replica *r); /* Follows up what the consensus said with changed(). */
void replica_save_vote(struct replica *r, uint64_t term, uint64_t voted_for);
void replica_append(struct replica *r, uint64_t first_index, struct entry *const *entries,
                    uint32_t count);

/* replica_start.c */
void start_free_recovered(struct replica *r);

/* replica_propose.c */
void propose_init(struct replica *r);
void propose_role_changed(struct replica *r);
void propose_connected(struct replica *r); /* To the leader, anew. */
void propose_run(struct replica *r);
void propose_tick(struct replica *r);
/* The command (this member, this start, seq) was reached. Returns the cookie of
 * its proposal, NULL when nobody waits; moves proposals that were passed over
 * to the queue's end. */
void *propose_reached(struct replica *r, uint64_t seq);
/* A snapshot covers all up to seq; whether they were applied is not known. */
void propose_covered(struct replica *r, uint64_t seq);
void propose_receive(struct replica *r, uint64_t from, const struct peer_message *m);
void propose_close(struct replica *r, int code);

/* replica_apply.c */
bool apply_run(struct replica *r); /* True: more is waiting. */
void apply_entries_read(struct replica *r, struct entry *const *entries, uint32_t count);
void apply_drop_ahead(struct replica *r);
void apply_maybe_snapshot(struct replica *r);
void apply_finish_snapshot(struct replica *r);
void applied_done(struct applied *a);
void applied_encode(const struct applied *a, struct buf *out);
int applied_decode(struct str meta, uint64_t index, uint64_t term, struct applied *ret,
                   struct error *err);
struct snapshot_ref *snapshot_ref_new(uint64_t index, uint64_t term, struct str meta);
struct snapshot_ref *snapshot_ref_take(struct snapshot_ref *s);
void snapshot_ref_drop(struct snapshot_ref *s);
void replica_set_snapshot(struct replica *r, struct snapshot_ref *s, const struct members *m,
                          uint64_t members_index);

/* replica_read.c */
void read_init(struct replica *r);
void read_role_changed(struct replica *r);
void read_run(struct replica *r);
void read_complete(struct replica *r);
void read_tick(struct replica *r);
void read_receive(struct replica *r, uint64_t from, const struct peer_message *m);
void read_close(struct replica *r, int code);

/* replica_send.c */
void send_append(struct replica *r, struct peer *p, const struct consensus_message *m);
void send_commit(struct replica *r, struct peer *p);
void send_acked(struct replica *r, struct peer *p, uint64_t last_index);
void send_entries_read(struct replica *r, struct peer *p, struct entry *const *entries,
                       uint32_t count);
void send_resume(struct replica *r, struct peer *p);
void send_reset(struct peer *p);

/* replica_transfer.c */
void transfer_start(struct replica *r, struct peer *p);
void transfer_stop(struct replica *r, struct peer *p);
void transfer_tick(struct replica *r, struct peer *p);
void transfer_acked(struct replica *r, struct peer *p, uint64_t match_index);
void transfer_receive(struct replica *r, uint64_t from, const struct peer_message *m);
void transfer_install(struct replica *r, uint64_t from, struct peer_message *m);
void transfer_installed(struct replica *r);
bool transfer_active(const struct replica *r);
void transfer_drop_rx(struct replica *r);

/* replica_change.c */
void change_init(struct replica *r);
void change_role_changed(struct replica *r);
void change_connected(struct replica *r);
void change_run(struct replica *r);
void change_applied(struct replica *r, uint64_t index, uint64_t term);
void change_tick(struct replica *r);
void change_receive(struct replica *r, uint64_t from, const struct peer_message *m);
void change_close(struct replica *r, int code);

#endif
