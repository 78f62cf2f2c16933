/* sim.h - a whole cluster of replicas in one thread, on a simulated clock,
 * network and disks, all drawn from one seed.
 *
 * The replica, the consensus behind it, the state machine, the log and the
 * snapshot files are the real ones; a node here is what stands around them in a
 * program. Every event is one call into one node, and safety is checked after each.
 *
 *   world.c     clock, event queue, network      node.c      a member's life
 *   checks.c    what must hold after every step  node_disk.c its log thread
 *   model.c     what each command must answer    node_bulk.c its snapshot thread
 *   clients.c   load, histories of registers     node_ops.c  the replica's effects
 *   requests.c  transactions, leases, ranges     chores.c    what it does by itself
 *   watchers.c  watches and their guarantees     machine.c   the state machine
 *   nemesis.c   faults; nemesis_disk.c rot       disk_sim.c  the disk itself
 *   lin.c       linearizability of a history     cluster.c   one run from a seed */
#ifndef TEST_SIM_H
#define TEST_SIM_H

#include "lib/base/base.h"
#include "lib/base/buf.h"
#include "lib/base/list.h"
#include "raftstore/consensus.h"
#include "raftstore/mvcc.h"
#include "raftstore/replica.h"

#include <stdbool.h>
#include <stdint.h>

#define NODES_MAX 32
#define US_PER_MS 1000

struct client;
struct log;
struct machine;
struct model;
struct mvcc_restore;
struct node;
struct pending_op;
struct sim_disk;
struct snapshot_dir;
struct snapshot_file;
struct snapshot_writer;
struct watchers;
struct world;

/* --- random numbers: splitmix64 --- */
struct rng {
    uint64_t state;
};
uint64_t rng_next(struct rng *g);
uint64_t rng_below(struct rng *g, uint64_t below);                /* [0, below) */
uint64_t rng_between(struct rng *g, uint64_t low, uint64_t high); /* [low, high] */
bool rng_chance(struct rng *g, uint32_t per_mille);
uint64_t mix64(uint64_t h, uint64_t v); /* A step of a hash. */
uint64_t mix_bytes(uint64_t h, const void *p, size_t n);

/* --- what a run is made of --- */
/* What a drill does wrongly around the replica, one bit each. */
enum sim_break {
    BREAK_ACK_BEFORE_SYNC = 1 << 0, /* Entries count as durable when they were handed over. */
    BREAK_VOTE_UNSAVED = 1 << 1,    /* Term and vote are never written. */
    BREAK_WATCH_INSTALL = 1 << 2,   /* Watches skip what an installed snapshot brought. */
    BREAK_LEASE_LOCAL = 1 << 3,     /* Leases end by the member's clock, without the log. */
    BREAK_DAMAGE_IGNORED = 1 << 4,  /* A member with a damaged log begins anew under its old id. */
    BREAK_APPLY_TWICE = 1 << 5,     /* The replica's REPLICA_DRILL_*, in their order. */
    BREAK_READ_UNCONFIRMED = 1 << 6,
    BREAK_READ_LOCAL = 1 << 7,
    BREAK_REPLICA_SHIFT = 5,
};

struct sim_options {
    uint64_t seed;
    uint32_t members; /* 0: drawn from the seed. */
    uint32_t guards_off;
    uint32_t breaks; /* enum sim_break */
    bool verbose;
    bool changes; /* Changes of members. */
    bool snapshots;
    uint64_t fault_ms; /* How long faults go on; 0: 12 s. */
};

/* The first violation of a run; empty: none. */
struct sim_result {
    char failure[512];
    uint64_t trace; /* Of all events and messages in their order. */
    uint64_t events, commands, reads, elections, snapshots_installed, changes, crashes, unknown,
        ops, watched, resumed, rotten, full, io_stops, expired, txns;
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
    bool owned; /* arg is freed with the event if that never happens. */
};

/* --- the state machine --- */
enum op_kind { REG_WRITE, REG_CAS, REG_READ };
struct op_request {
    enum op_kind kind;
    uint32_t key;
    uint64_t value;    /* Written; unique in the run, never 0. */
    uint64_t expected; /* REG_CAS */
    uint32_t padding;  /* Bytes of ballast. */
};
#define VALUE_BYTES 8
struct str value_of(uint64_t value, uint8_t ret[VALUE_BYTES]);
/* 0: not one of ours. */
uint64_t value_number(struct str bytes);
void op_encode(const struct op_request *op, struct buf *out);

struct machine {
    struct mvcc *mvcc;
    uint64_t commands; /* Applied. */
    uint64_t hash;     /* Over all of them and their results, in order. */
};
struct machine *machine_new(const struct mvcc_config *config);
void machine_free(struct machine *m);
/* 0, or the error of a command that cannot be applied. ret: mvcc_result_done(). */
int machine_apply(struct machine *m, uint64_t index, struct str bytes, uint64_t now_ms,
                  struct mvcc_result *ret);
void machine_applied(struct machine *m, uint64_t index, uint64_t now_ms); /* Show it. */
uint64_t machine_read(const struct machine *m, uint32_t key);             /* 0: never written. */
uint64_t machine_content(const struct machine *m); /* Over what the commands left behind. */
uint64_t result_hash(const struct mvcc_result *r);

/* --- the model: what each command must answer --- */
struct model *model_new(struct world *w);
void model_free(struct model *m);
/* Applies the next command and says what its result must be; mvcc_result_done(). */
void model_apply(struct model *m, uint64_t index, struct str bytes, struct mvcc_result *ret);
int64_t model_rev(const struct model *m);
int64_t model_compacted(const struct model *m);
uint32_t model_lease_count(const struct model *m);
/* What a range outside a transaction must give at rev. */
void model_range(const struct model *m, const struct txn_op *op, int64_t rev,
                 struct op_result *ret);
const struct event_batch *model_events(const struct model *m, int64_t rev); /* NULL: none. */
/* Some lease, live or not; 0: there was none. */
int64_t model_some_lease(const struct model *m, uint64_t dice);
/* Numbers the results apart from each other; empty: they are the same. */
bool results_differ(const struct mvcc_result *a, const struct mvcc_result *b, struct buf *why);
bool op_results_differ(const struct op_result *a, const struct op_result *b, struct buf *why);
bool kvs_equal(const struct kv *a, const struct kv *b);

/* --- histories --- */
struct op_record {
    struct op_request op;
    uint64_t start, end; /* Event times, unique; end UINT64_MAX: not known to have ended. */
    uint64_t result;     /* REG_READ: the value. REG_CAS: 1 when it happened. */
};
#define HISTORY_MAX 60 /* Operations of one key. */
/* Wing and Gong's search for one register. */
bool history_linearizable(const struct op_record *ops, uint32_t count);

/* --- a member's disk and the threads that serve it --- */
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
    bool committed; /* DISK_INSTALL: the file has its name, the log is not emptied yet. */
};

/* What was reported to be durable: whatever happens must keep it. */
struct durable {
    struct replica_vote vote;
    uint64_t first; /* terms[i] is that of entry first + i. */
    uint64_t *terms;
    uint32_t count, cap;
    uint64_t snapshot_index;
    /* Was on its way when the member crashed: may be there too. */
    uint64_t lost_low; /* Lowest entry; UINT64_MAX: none. */
    bool lost_reset;
    struct replica_vote lost_vote;
    uint64_t lost_snapshot;
};

#define SENDING_MAX 16

struct node_disk {
    struct sim_disk *sim;
    struct log *log; /* NULL: the member is down. */
    struct snapshot_dir *dir;
    struct list queue;  /* struct disk_write, as the replica gave them. */
    struct list staged; /* Those the log has in memory. */
    uint64_t syncing;   /* Seq of the last staged; 0: idle. */
    uint64_t failing_since_us;
    uint64_t mark;                  /* Counts writes, to find idle moments. */
    uint64_t tail_at, tail_segment; /* Where the newest batch stands: damage there is a torn
                                     * write, as long as nothing follows. */
    bool tail_marked;
    uint32_t slow; /* Factor; 0: hangs. */
    bool failed;   /* Was given up until the next start. */
    bool rotten;   /* Some bit was flipped: it may refuse to start. */
    bool low_space;
    struct durable durable;
    struct {
        uint64_t index;
        struct snapshot_file *file;
    } sending[SENDING_MAX];
    struct {
        uint64_t transfer; /* 0: none. */
        struct snapshot_writer *writer;
        struct mvcc_restore *restore;
    } receiving;
};

/* --- a node --- */
struct node {
    struct world *world;
    uint64_t id;
    struct rng rng;
    bool exists, up;
    bool lost;     /* Its data is damaged: it refuses to start and is to be replaced. */
    uint64_t life; /* Counts starts; events of earlier lives are void. */
    bool founder;
    struct replica *replica;
    struct machine *machine;
    struct node_disk disk;
    uint64_t timer; /* Counts armings. */
    /* The clock: reads base_ms at base_us, runs at rate / 1000. */
    uint64_t base_ms, base_us;
    uint32_t rate_per_mille;
    uint64_t paused_until_us; /* The process stands still. */
    uint64_t checked_commit;
    uint64_t last_term;
    struct {
        bool was_leader, alarming, compacting;
        uint64_t lease_retry_ms, alarm_retry_ms, squeeze_retry_ms;
    } chores;
};

/* node.c */
void node_create(struct world *w, uint32_t i, uint64_t id, bool founder);
void node_start(struct node *n);
void node_crash(struct node *n);
void node_stop(struct node *n); /* In order: everything written is marked as such. */
void node_destroy(struct node *n);
uint64_t node_now(const struct node *n);
void node_clock_jump(struct node *n, uint64_t ms);
/* After every call into the replica: run it, check it, arm its timer. */
void node_settle(struct node *n);
void node_deliver(struct node *n, uint64_t from, struct str bytes);
/* Puts the event off while the process stands still; true: it was. */
bool node_paused(struct node *n, event_fn *fn, void *arg, uint64_t number);

/* node_disk.c */
struct disk_write *disk_queue(struct node *n, uint64_t seq, enum disk_write_type type);
void disk_write_free(struct disk_write *w);
void disk_kick(struct node *n); /* After something was queued or `slow` changed. */
void disk_trim(struct node *n, uint64_t first_index);
void disk_read(struct node *n, uint64_t token, uint64_t first, uint64_t last, uint32_t bytes_max);
void disk_stop(struct node *n); /* In order. */
void disk_lose(struct node *n); /* The crash: some writes may get through. */
bool disk_unsynced(const struct node *n, bool votes);
bool disk_has(const struct node_disk *d, uint64_t index, uint64_t term); /* Durably. */
struct entry *entry_copy(const void *data, uint32_t len, uint8_t kind, uint64_t index,
                         uint64_t term);
void durable_done(struct durable *d);
/* After a start: takes over what the log says, which must hold what was durable. */
void durable_check(struct node *n, uint64_t first, uint64_t count, const uint64_t *terms,
                   const struct replica_vote *vote, uint64_t snapshot_index);

/* node_bulk.c */
void bulk_take(struct node *n, const struct replica_snapshot *s);
void bulk_read(struct node *n, uint64_t token, uint64_t index, uint64_t offset, uint32_t max);
void bulk_release(struct node *n, uint64_t index);
void bulk_write(struct node *n, uint64_t transfer, uint64_t offset, struct str bytes, bool last);
void bulk_drop(struct node *n, uint64_t transfer);
void bulk_close(struct node *n);
/* 0 or E_*; the state machine is restored by bulk_installed(). */
int bulk_commit(struct node *n, const struct disk_write *w);
void bulk_installed(struct node *n, const struct disk_write *w);
/* Restores the machine from the newest snapshot that can be used. */
int bulk_recover(struct node *n, uint64_t log_first, uint64_t *ret_index, struct error *err);

/* node_ops.c */
extern const struct replica_ops node_ops;

/* chores.c */
void chores_run(struct node *n);
uint64_t chores_deadline(const struct node *n);
void chores_changed(struct node *n); /* State or leader changed. */
/* A command of the member's own. */
int node_propose(struct node *n, const struct command *c);

/* --- the network --- */
struct net {
    uint32_t loss, dup; /* Per mille. */
    uint32_t straggle;  /* Per mille that come seconds late. */
    uint64_t delay_min_us, delay_max_us;
    bool fifo; /* As a connection would be: in order, without doubles. */
    bool blocked[NODES_MAX][NODES_MAX];
    uint64_t last_us[NODES_MAX][NODES_MAX];
};

/* --- what is known of every command, in the one order of all --- */
struct position {
    uint64_t hash; /* Of all results up to here. */
    int64_t rev, compacted;
};
/* What is known of every log index that was applied. */
struct index_info {
    uint64_t commands; /* Applied up to here. */
    uint64_t content;  /* 0: nobody looked. */
    bool known;
};
/* A unique value and what became of it. */
struct token {
    uint64_t position; /* Of the command that wrote it; 0: none. */
    bool dead;         /* Its command was said never to happen. */
};

/* --- clients --- */
#define CLIENTS_MAX 16
#define OLD_REV_STEP 64

struct pending_op {
    struct list node;
    struct world *world;
    uint32_t client; /* CLIENTS_MAX: a member's own. */
    bool is_register;
    uint32_t record;         /* Registers: in world.records. */
    struct request *request; /* Others. */
    struct node *target;
    uint64_t life;
    uint64_t floor; /* Newest position acknowledged to anybody when it began. */
    uint64_t first_token, last_token;
    uint8_t chore; /* 0: a client's. */
};

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
    struct model *model;
    struct position *positions; /* By count of commands. */
    uint64_t position_count, position_cap;
    struct index_info *indexes;
    uint64_t index_cap;
    struct token *tokens;
    uint64_t token_count, token_cap; /* The newest one given out. */
    uint64_t acked;                  /* Newest position that anybody knows of. */
    uint64_t rev_hash[256];          /* Of every OLD_REV_STEP-th revision; 0: unknown. */
    uint32_t content_every;          /* Applied indexes between looks at the content. */
    /* Clients. */
    struct client clients[CLIENTS_MAX];
    uint32_t client_count;
    struct list pending;
    struct op_record *records;
    uint32_t record_count, record_cap;
    uint32_t key_base, key_ops;
    uint64_t op_clock;
    uint32_t register_per_mille; /* The others are requests.c's. */
    uint32_t request_keys;
    int64_t next_lease;
    struct watchers *watchers;
    /* Config of all replicas. */
    struct replica_config config;
    struct mvcc_config mvcc_config;
    uint64_t segment_bytes;
    uint32_t big_per_mille; /* Large commands. */
    uint32_t spite;         /* Per mille of messages whose sender crashes with writes unsynced. */
    uint32_t rate_spread;   /* Clocks run at 1000 - spread .. 1000 + spread per mille. */
    bool jumps;             /* Clocks jump. */
    bool restless;          /* Few founders, many changes. */
    bool rots;              /* Bits flip; then nobody is removed but for that. */
    int change_code;        /* The answer to the change that has it as cookie; 1: none yet. */
    uint64_t rotten;        /* The member that is being replaced; 0: none. */
};

/* world.c */
void world_seed_system(uint64_t seed); /* What the system's randomness gives from now on. */
bool world_step(struct world *w);      /* The next event; false: none is left. */
void world_free(struct world *w);
void world_at(struct world *w, uint64_t delay_us, event_fn *fn, void *arg, uint64_t number);
void world_fail(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool world_failed(const struct world *w);
void world_log(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct node *world_node(struct world *w, uint64_t id);
/* Carries a free()d argument: events that are never run give it back. */
void world_at_owned(struct world *w, uint64_t delay_us, event_fn *fn, void *owned);
void net_send(struct world *w, struct node *from, uint64_t to, struct str bytes);
void net_heal(struct world *w);

/* checks.c */
void check_node(struct node *n);
void check_command(struct node *n, uint64_t index, struct str bytes, const struct mvcc_result *r);
void check_applied(struct node *n, uint64_t index);
/* The next unique value. */
uint64_t token_new(struct world *w);
/* The newest command, at this position, writes it. */
void token_written(struct world *w, uint64_t token);
void checks_done(struct world *w);
bool node_is_leader(const struct node *n);

/* --- a cluster by hand: what sim_run() is made of --- */
struct world *cluster_new(const struct sim_options *o, struct sim_result *ret);
void cluster_free(struct world *w);
void cluster_found(struct world *w, uint32_t count); /* Members 1 .. count, started. */
void cluster_run(struct world *w, uint64_t ms);
/* The leader whom all members of its list follow with everything applied; NULL. */
struct node *cluster_leader(struct world *w);

/* clients.c */
void clients_start(struct world *w, uint32_t count);
void clients_done(struct world *w);
void client_applied(struct node *n, void *cookie, const struct mvcc_result *r);
void client_failed(struct node *n, void *cookie, int code);
void client_read_done(struct node *n, void *cookie, int code);
bool clients_check(struct world *w);
/* The operation is over, and its client goes on. */
void client_close(struct pending_op *p);

/* requests.c: what clients ask for besides registers */
struct request;
/* Begins one; E_* when the member refuses it at once. */
int request_start(struct pending_op *p, struct node *n);
void request_applied(struct node *n, struct pending_op *p, const struct mvcc_result *r);
void request_read(struct node *n, struct pending_op *p);
/* True: it goes on, elsewhere or later. */
bool request_failed(struct pending_op *p, int code);
void request_free(struct request *r);

/* watchers.c */
void watchers_start(struct world *w, uint32_t count);
void watchers_left(struct node *n);                          /* The member goes down. */
void watchers_installed(struct node *n, int64_t before_rev); /* For the drill. */
bool watchers_done(const struct world *w, int64_t rev);      /* All have seen everything. */
void watchers_free(struct world *w);

/* nemesis.c */
void nemesis_start(struct world *w);
void nemesis_sent(struct world *w, struct node *n); /* It has just sent something. */
void nemesis_restart(struct world *w, struct node *n, uint64_t ms);
/* nemesis_disk.c */
void nemesis_rot(struct world *w);
void nemesis_full_disk(struct world *w);
void nemesis_replace(struct world *w, struct node *n); /* A member whose data is damaged. */

#endif
