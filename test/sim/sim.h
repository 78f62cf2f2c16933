/* sim.h - a whole cluster of replicas in one thread, on a simulated clock,
 * network and disks, all drawn from one seed.
 *
 * The replica, the consensus behind it and the state machine are the real ones;
 * a node here is what stands around them in a program. Every event is one call
 * into one node, and safety is checked after each.
 *
 *   world.c    clock, event queue, network      node.c     a member and its disk
 *   checks.c   what must hold after every step  clients.c  load, histories
 *   lin.c      linearizability of a history     nemesis.c  faults
 *   machine.c  the state machine                cluster.c  one run from a seed */
#ifndef TEST_SIM_H
#define TEST_SIM_H

#include "lib/base/base.h"
#include "lib/base/buf.h"
#include "lib/base/list.h"
#include "raftstore/consensus.h"
#include "raftstore/replica.h"

#include <stdbool.h>
#include <stdint.h>

#define NODES_MAX 10
#define US_PER_MS 1000

struct world;
struct node;
struct machine;

/* --- random numbers: splitmix64 --- */
struct rng {
    uint64_t state;
};
uint64_t rng_next(struct rng *g);
uint64_t rng_below(struct rng *g, uint64_t below);                /* [0, below) */
uint64_t rng_between(struct rng *g, uint64_t low, uint64_t high); /* [low, high] */
bool rng_chance(struct rng *g, uint32_t per_mille);

/* --- what a run is made of --- */
struct sim_options {
    uint64_t seed;
    uint32_t members; /* 0: drawn from the seed. */
    uint32_t guards_off;
    bool verbose;
    bool changes; /* Changes of members. */
    bool snapshots;
    uint64_t fault_ms; /* How long faults go on; 0: 12 s. */
};

/* The first violation of a run; empty: none. */
struct sim_result {
    char failure[512];
    uint64_t events, commands, reads, elections, snapshots_installed, changes, crashes, unknown,
        ops;
};
/* Runs one cluster from its seed to its end. False: ret->failure says why. */
bool sim_run(const struct sim_options *o, struct sim_result *ret);

/* --- events --- */
typedef void event_fn(struct world *w, void *arg, uint64_t number);
struct world_event {
    uint64_t at_us;
    uint64_t order;
    event_fn *fn;
    void *arg;
    uint64_t number;
};

/* --- the state machine, used as registers --- */
enum op_kind { REG_WRITE, REG_CAS, REG_READ };
struct op_request {
    enum op_kind kind;
    uint32_t key;
    uint64_t value;    /* Written; unique in the run, never 0. */
    uint64_t expected; /* REG_CAS */
    uint32_t padding;  /* Bytes of ballast. */
};
void op_encode(const struct op_request *op, struct buf *out);
struct machine *machine_new(void);
void machine_free(struct machine *m);
/* False: the bytes are not one of ours. *ret_ok: a CAS happened. */
bool machine_apply(struct machine *m, uint64_t index, struct str bytes, bool *ret_ok);
void machine_applied(struct machine *m, uint64_t index);      /* All up to index was; show it. */
uint64_t machine_read(const struct machine *m, uint32_t key); /* 0: never written. */
uint64_t machine_count(const struct machine *m);              /* Commands applied. */
uint64_t machine_hash(const struct machine *m);               /* Over all of them, in order. */
uint64_t machine_content(const struct machine *m);            /* Over what they left behind. */
void machine_save(struct machine *m, struct buf *out);
bool machine_load(struct machine *m, struct str bytes); /* Replaces the state; false: damaged. */

/* --- histories --- */
struct op_record {
    struct op_request op;
    uint64_t start, end; /* Event times, unique; end UINT64_MAX: not known to have ended. */
    uint64_t result;     /* REG_READ: the value. REG_CAS: 1 when it happened. */
};
#define HISTORY_MAX 60 /* Operations of one key. */
/* Wing and Gong's search for one register. */
bool history_linearizable(const struct op_record *ops, uint32_t count);

/* --- disks --- */
enum disk_write_type { DISK_VOTE, DISK_APPEND, DISK_INSTALL, DISK_RESET };
struct disk_write {
    struct list node;
    uint64_t seq;
    enum disk_write_type type;
    struct replica_vote vote;
    uint64_t index, term;
    struct entry **entries;
    uint32_t count;
    uint64_t transfer;
    struct buf meta;
};

#define HELD_MAX 16

struct snapshot_file {
    uint64_t index, term;
    struct buf meta, data;
};

struct received_file {
    uint64_t transfer;
    struct buf data;
};

struct disk_model {
    /* Durable. */
    bool has_vote;
    struct replica_vote vote;
    uint64_t boot;
    struct entry **log; /* log[i] has index first + i. */
    uint64_t first;
    uint32_t count, cap;
    struct snapshot_file *snapshot;
    /* Lost in a crash, but for what had reached the platter. */
    struct list queue;                    /* struct disk_write */
    uint64_t syncing;                     /* Seq of the last write under sync; 0: idle. */
    struct snapshot_file *held[HELD_MAX]; /* Replaced, kept for readers. */
    uint64_t reading[HELD_MAX];           /* Snapshots being read; 0: none. */
    struct received_file received;
    uint32_t slow; /* Factor; 0: hangs. */
    bool failed;   /* Writes fail until the next start. */
};

/* --- a node --- */
struct node {
    struct world *world;
    uint64_t id;
    struct rng rng;
    bool exists, up, stopped; /* stopped: fatal, for ever. */
    uint64_t life;            /* Counts starts; events of earlier lives are void. */
    bool founder;
    struct replica *replica;
    struct machine *machine;
    struct disk_model disk;
    uint64_t timer; /* Counts armings. */
    uint32_t rate_per_mille;
    uint64_t clock_offset_ms;
    uint64_t checked_commit;
    uint64_t last_term;
};

void node_create(struct world *w, uint32_t i, uint64_t id, bool founder);
void node_start(struct node *n);
void node_crash(struct node *n);
void node_destroy(struct node *n);
uint64_t node_now(const struct node *n);
/* After every call into the replica: run it, check it, arm its timer. */
void node_settle(struct node *n);
void node_deliver(struct node *n, uint64_t from, struct str bytes);
void disk_kick(struct node *n); /* After `slow` changed. */
/* Whether the node's durable state holds the entry. */
bool disk_has(const struct disk_model *d, uint64_t index, uint64_t term);

/* --- the network --- */
struct net {
    uint32_t loss, dup; /* Per mille. */
    uint64_t delay_min_us, delay_max_us;
    bool fifo; /* As a connection would be: in order, without doubles. */
    bool blocked[NODES_MAX][NODES_MAX];
    uint64_t last_us[NODES_MAX][NODES_MAX];
};

/* --- clients --- */
struct pending_op {
    struct list node;
    struct world *world;
    uint32_t client;
    uint32_t record;
    struct node *target;
    uint64_t life;
    bool open; /* Not answered. */
};

#define CLIENTS_MAX 16

struct client {
    struct pending_op *op;
};

struct world {
    struct sim_options options;
    struct sim_result *result;
    struct rng rng;
    uint64_t now_us;
    uint64_t order;
    struct world_event *heap;
    size_t heap_count, heap_cap;
    struct node nodes[NODES_MAX];
    uint32_t node_count;
    uint64_t next_id;
    struct net net;
    bool faults; /* The nemesis is at work. */
    bool load;   /* Clients go on. */
    /* Checks. */
    struct {
        uint64_t term;
        uint64_t leader;
    } * leaders;
    uint32_t leader_count;
    uint64_t *committed_term; /* By index. */
    uint64_t committed_count, committed_cap;
    uint64_t *command_hash; /* By count of commands. */
    uint64_t command_count, command_cap;
    /* Clients. */
    struct client clients[CLIENTS_MAX];
    uint32_t client_count;
    struct list pending;
    struct op_record *records;
    uint32_t record_count, record_cap;
    uint64_t next_value;
    uint32_t key_base, key_ops;
    uint64_t op_clock;
    /* Config of all replicas. */
    struct replica_config config;
    uint32_t big_per_mille; /* Large commands. */
    uint32_t spite;         /* Per mille of messages whose sender crashes with writes unsynced. */
    uint32_t rate_spread;   /* Clocks run at 1000 - spread .. 1000 + spread per mille. */
    int change_code;        /* Newest answer to a change; 1: none since it was reset. */
};

bool world_step(struct world *w); /* The next event; false: none is left. */
void world_free(struct world *w);
void world_at(struct world *w, uint64_t delay_us, event_fn *fn, void *arg, uint64_t number);
void world_fail(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool world_failed(const struct world *w);
void world_log(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct node *world_node(struct world *w, uint64_t id);
void net_send(struct world *w, struct node *from, uint64_t to, struct str bytes);
void net_heal(struct world *w);

void check_node(struct node *n);
void check_command(struct node *n);
void checks_done(struct world *w);

/* --- a cluster by hand: what sim_run() is made of --- */
struct world *cluster_new(const struct sim_options *o, struct sim_result *ret);
void cluster_free(struct world *w);
void cluster_found(struct world *w, uint32_t count); /* Members 1 .. count, started. */
void cluster_run(struct world *w, uint64_t ms);
/* The leader whom all members of its list follow with everything applied; NULL. */
struct node *cluster_leader(struct world *w);

void clients_start(struct world *w, uint32_t count);
void clients_done(struct world *w);
void client_applied(struct node *n, void *cookie, bool ok);
void client_failed(struct node *n, void *cookie, int code);
void client_read_done(struct node *n, void *cookie, int code);
bool clients_check(struct world *w);

void nemesis_start(struct world *w);
void nemesis_sent(struct world *w, struct node *n); /* It has just sent something. */

#endif
