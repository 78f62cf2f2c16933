/* seam.h - members at the level of consensus.h, driven by hand.
 *
 * For scenarios: every message waits in its sender's box until it is delivered,
 * dropped or kept for later; what is durable is said step by step. */
#ifndef TEST_SIM_SEAM_H
#define TEST_SIM_SEAM_H

#include "lib/base/base.h"
#include "raftstore/consensus.h"

#define SEAM_NODES_MAX 4
#define SEAM_LOG_MAX 256
#define SEAM_BOX_MAX 512

struct seam_message {
    struct consensus_message m;
    uint64_t to;
    struct entry *entries[SEAM_LOG_MAX];
    struct members members; /* CONSENSUS_INSTALL */
};

struct seam_node {
    struct seam *seam;
    uint64_t id;
    bool up;
    struct consensus *c;
    uint32_t guards_off;
    /* The log in memory; [first, durable] of it is also on the disk. */
    uint64_t first;
    uint32_t count;
    struct entry *log[SEAM_LOG_MAX];
    uint64_t durable;
    uint64_t term, vote;
    bool has_snapshot;
    struct consensus_snapshot snapshot;
    uint64_t committed;
    bool installing;
    bool hole; /* An append that does not follow, or that cuts what is committed. */
    struct seam_message *box[SEAM_BOX_MAX];
    uint32_t box_count;
};

struct seam {
    uint64_t now_ms;
    struct seam_node nodes[SEAM_NODES_MAX]; /* Ids 1, 2, ... */
    uint32_t count;
    bool cut[SEAM_NODES_MAX][SEAM_NODES_MAX]; /* seam_run() drops what goes from i to j. */
};

/* `count` members with empty disks; not started. */
void seam_init(struct seam *s, uint32_t count, uint32_t guards_off);
void seam_done(struct seam *s);
struct seam_node *seam_node(struct seam *s, uint64_t id);
/* "1v 2v 3s 4-": ids with v(oter), s(tandby), - (spare). */
struct members seam_members(const char *text);

/* Puts an entry on the disk of a member that is down. */
void seam_store(struct seam_node *n, enum entry_type type, uint64_t term,
                const struct members *members);
void seam_start(struct seam_node *n);
/* Loses what was not durable. */
void seam_crash(struct seam_node *n);
void seam_persist(struct seam_node *n); /* All of the log is durable now. */
/* A snapshot of what is committed, keeping `trailing` entries. */
void seam_snapshot(struct seam_node *n, const struct members *m, uint64_t members_index,
                   uint32_t trailing);

/* The first message of a type from one member to another, taken out of the box;
 * NULL: none. */
struct seam_message *seam_take(struct seam_node *from, uint64_t to,
                               enum consensus_message_type type);
void seam_deliver(struct seam *s, struct seam_node *from,
                  struct seam_message *m); /* And frees it. */
void seam_message_free(struct seam_message *m);
void seam_drop_all(struct seam *s);

/* One command on the leader. 0 or E_*. */
int seam_propose(struct seam_node *n);
int seam_change(struct seam_node *n, const char *members);
/* Everything works for a while: ticks, disks, network but for cut links. */
void seam_run(struct seam *s, uint64_t ms);
struct seam_node *seam_leader(struct seam *s); /* The one of the highest term; NULL: none. */
uint64_t seam_last(const struct seam_node *n);

#endif
