/* sim_scenarios.c - whole clusters in chosen situations, without chance but for
 * delays: what must not only be safe but also come out well. */
#include "sim.h"
#include "disk_sim.h"

#include "lib/base/error.h"
#include "lib/base/log.h"

#include <inttypes.h>
#include <stdio.h>

#define HOLDS(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            world_fail(w, "line %d: %s", __LINE__, #cond);                                         \
            return;                                                                                \
        }                                                                                          \
    } while (0)

static bool is_leader(const struct node *n)
{
    struct replica_status st;
    if (!n->up)
        return false;
    replica_status(n->replica, &st);
    return st.state == REPLICA_LEADER;
}

static struct node *any_leader(struct world *w, const struct node *but)
{
    for (uint32_t i = 0; i < w->node_count; i++)
        if (&w->nodes[i] != but && is_leader(&w->nodes[i]))
            return &w->nodes[i];
    return NULL;
}

/* Until everybody follows one leader. */
static struct node *settle(struct world *w)
{
    for (uint32_t i = 0; i < 200; i++) {
        struct node *n = cluster_leader(w);
        if (n != NULL && !w->load)
            return n;
        if (n == NULL && w->load && any_leader(w, NULL) != NULL)
            return any_leader(w, NULL);
        cluster_run(w, 50);
    }
    world_fail(w, "nobody leads after 10 s");
    return NULL;
}

static int change(struct world *w, struct node *n, enum replica_change_type type, uint64_t id,
                  const char *address)
{
    w->change_code = 1;
    if (replica_change(n->replica, node_now(n), type, id, address, &w->change_code) != 0)
        return 2;
    node_settle(n);
    for (uint32_t i = 0; i < 200 && w->change_code == 1; i++)
        cluster_run(w, 50);
    return w->change_code;
}

static struct node *add_node(struct world *w, struct node *n)
{
    char address[32];
    uint64_t id = w->next_id++;
    snprintf(address, sizeof(address), "node-%" PRIu64, id);
    node_create(w, w->node_count, id, false);
    node_start(world_node(w, id));
    if (change(w, n, REPLICA_ADD, id, address) != 0)
        world_fail(w, "node %" PRIu64 " could not be added: %d", id, w->change_code);
    return world_node(w, id);
}

static bool is_voter(const struct node *n)
{
    struct replica_status st;
    replica_status(n->replica, &st);
    return st.is_voter;
}

/* Alone: leader at once, first write answered within a few disk writes. */
static void alone(struct world *w)
{
    cluster_found(w, 1);
    HOLDS(is_leader(&w->nodes[0]));
    clients_start(w, 4);
    cluster_run(w, 400);
    HOLDS(w->position_count > 10);
}

/* A leader whose disk hangs hands over; the others go on. */
static void hanging_disk(struct world *w)
{
    cluster_found(w, 3);
    clients_start(w, 6);
    struct node *old = settle(w);
    cluster_run(w, 1000);
    old->disk.slow = 0;
    cluster_run(w, 4 * w->config.election_ms);
    HOLDS(!is_leader(old) && any_leader(w, old) != NULL);
    /* Clients that asked the hanging member wait until their time is up. */
    uint64_t before = w->position_count;
    cluster_run(w, w->config.proposal_timeout_ms + 500);
    HOLDS(w->position_count > before + 5);
}

/* A leader whose disk fails hands over before it stops: no election timeout is lost. */
static void failing_disk(struct world *w)
{
    cluster_found(w, 3);
    struct node *old = settle(w);
    old->disk.failed = true; /* Given up. */
    replica_disk_failed(old->replica, node_now(old), E_IO, "disk failed");
    node_settle(old);
    cluster_run(w, w->config.election_ms / 4);
    HOLDS(any_leader(w, old) != NULL && !old->up);
}

/* A new member far behind gets the snapshot, then the log, then its vote. */
static void join_by_snapshot(struct world *w)
{
    cluster_found(w, 1);
    clients_start(w, 6);
    cluster_run(w, 3000);
    HOLDS(w->nodes[0].disk.durable.snapshot_index > 0);
    struct node *n = add_node(w, &w->nodes[0]);
    cluster_run(w, 3000);
    HOLDS(w->result->snapshots_installed > 0 && is_voter(n));
}

static bool installing(const struct node *n)
{
    return !list_empty(&n->disk.staged) &&
           LIST_ENTRY(n->disk.staged.next, struct disk_write, node)->type == DISK_INSTALL;
}

/* New members one after another, each with a fault at another of the disk's calls of
 * its first install. */
static void fault_while_installing(struct world *w,
                                   void (*fault)(struct sim_disk *d, uint64_t calls))
{
    cluster_found(w, 1);
    clients_start(w, 6);
    cluster_run(w, 2000);
    for (uint32_t call = 0; call < 14 && !world_failed(w); call++) {
        uint64_t id = w->next_id++;
        node_create(w, w->node_count, id, false);
        struct node *n = world_node(w, id);
        node_start(n);
        HOLDS(replica_change(w->nodes[0].replica, node_now(&w->nodes[0]), REPLICA_ADD, id,
                             call % 2 == 0 ? "here" : "there", NULL) == 0);
        node_settle(&w->nodes[0]);
        for (uint32_t i = 0; i < 100000 && !installing(n) && world_step(w); i++)
            continue;
        HOLDS(installing(n));
        fault(n->disk.sim, call);
        cluster_run(w, 4000);
        HOLDS(is_voter(n) && n->machine->commands > 0);
        node_crash(n); /* What was installed is on the disk, not only in its cache. */
        node_start(n);
        HOLDS(change(w, &w->nodes[0], REPLICA_REMOVE, n->id, NULL) == 0);
    }
}

/* The machine stops. */
static void stop_while_installing(struct world *w)
{
    fault_while_installing(w, sim_disk_stop_after);
}

/* One call fails: the install is tried again. */
static void error_while_installing(struct world *w)
{
    fault_while_installing(w, sim_disk_hiccup);
}

/* A member's machine stops at each of the disk's calls in turn: while it follows or
 * leads, and while it starts again. */
static void stop_at_each_call(struct world *w)
{
    cluster_found(w, 3);
    clients_start(w, 6);
    watchers_start(w, 4);
    cluster_run(w, 1000);
    for (uint32_t call = 0; call < 60 && !world_failed(w); call++) {
        struct node *n = &w->nodes[call % 3];
        uint64_t stops = w->result->io_stops;
        sim_disk_stop_after(n->disk.sim, call);
        for (uint32_t i = 0; i < 5000 && w->result->io_stops == stops; i++)
            cluster_run(w, 1);
        HOLDS(w->result->io_stops > stops);
        sim_disk_stop_after(n->disk.sim, call / 2);
        cluster_run(w, 700);
    }
    HOLDS(w->result->io_stops > 60);
}

/* Each of a member's disk calls fails once; then the power goes. */
static void error_at_each_call(struct world *w)
{
    cluster_found(w, 3);
    clients_start(w, 6);
    watchers_start(w, 4);
    cluster_run(w, 1000);
    for (uint32_t call = 1; call < 60 && !world_failed(w); call++) {
        struct node *n = &w->nodes[call % 3];
        sim_disk_hiccup(n->disk.sim, call);
        cluster_run(w, 1000);
        HOLDS(n->up && !n->disk.failed);
        node_crash(n);
        node_start(n);
        cluster_run(w, 400);
    }
}

/* A bit flips in the log: the member refuses to start, and a new one takes its
 * place. What it held is never used. */
static void damaged_log(struct world *w)
{
    cluster_found(w, 3);
    clients_start(w, 4);
    cluster_run(w, 2000);
    struct node *n = &w->nodes[1];
    char path[64];
    uint64_t size;
    node_stop(n);
    snprintf(path, sizeof(path), "data/%s", sim_disk_name(n->disk.sim, "data", 1, &size));
    HOLDS(size > 1000 && sim_disk_rot(n->disk.sim, path, 600, 3));
    n->disk.rotten = true;
    node_start(n);
    HOLDS(!n->up && n->lost && w->result->rotten == 1);
    cluster_run(w, 8000);
    HOLDS(w->rotten == 0 && w->node_count == 4 && is_voter(&w->nodes[3]));
    HOLDS(members_get(replica_members(w->nodes[3].replica), n->id) == NULL);
}

/* A full disk: writes wait, the alarm is raised, and clears when there is room. */
static void full_disk(struct world *w)
{
    cluster_found(w, 1);
    clients_start(w, 4);
    struct node *n = &w->nodes[0];
    cluster_run(w, 1000);
    sim_disk_limit(n->disk.sim, sim_disk_used(n->disk.sim) + 20000);
    cluster_run(w, 3000);
    HOLDS(mvcc_alarms(n->machine->mvcc) != 0);
    sim_disk_limit(n->disk.sim, 0);
    cluster_run(w, 6000);
    HOLDS(mvcc_alarms(n->machine->mvcc) == 0);
    uint64_t before = w->position_count;
    cluster_run(w, 500);
    HOLDS(w->position_count > before);
}

/* Members come and go: one to three, then down to the one that came last. */
static void grow_and_shrink(struct world *w)
{
    cluster_found(w, 1);
    clients_start(w, 4);
    struct node *n = settle(w);
    struct node *b = add_node(w, n);
    cluster_run(w, 2000);
    struct node *c = add_node(w, b);
    cluster_run(w, 2000);
    HOLDS(is_voter(b) && is_voter(c));
    HOLDS(change(w, b, REPLICA_REMOVE, 1, NULL) == 0);
    HOLDS(change(w, c, REPLICA_REMOVE, 2, NULL) == 0);
    cluster_run(w, 2000);
    HOLDS(is_leader(c) && replica_members(c->replica)->count == 1);
    uint64_t before = w->position_count;
    cluster_run(w, 4000); /* Clients stuck at removed nodes give up and come here. */
    HOLDS(w->position_count > before);
}

/* Asked on any member, leadership goes where it should, at once. */
static void transfer(struct world *w)
{
    cluster_found(w, 3);
    clients_start(w, 4);
    settle(w);
    for (uint64_t id = 1; id <= 3; id++) {
        struct node *n = &w->nodes[id % 3];
        w->change_code = 1;
        HOLDS(replica_transfer(n->replica, node_now(n), id, &w->change_code) == 0);
        node_settle(n);
        cluster_run(w, 200);
        HOLDS(w->change_code == 0 && is_leader(world_node(w, id)));
    }
}

/* All crash at once, again and again: nothing acknowledged is lost (checked by the
 * histories), and they come back within two elections. */
static void power_cuts(struct world *w)
{
    cluster_found(w, 3);
    clients_start(w, 8);
    for (uint32_t round = 0; round < 8; round++) {
        cluster_run(w, 1500);
        for (uint32_t i = 0; i < 3; i++)
            node_crash(&w->nodes[i]);
        for (uint32_t i = 0; i < 3; i++)
            node_start(&w->nodes[i]);
        cluster_run(w, 4 * w->config.election_ms);
        HOLDS(any_leader(w, NULL) != NULL);
    }
}

static const struct {
    const char *name;
    void (*run)(struct world *w);
} scenarios[] = {
    {"alone", alone},
    {"hanging disk", hanging_disk},
    {"failing disk", failing_disk},
    {"join by snapshot", join_by_snapshot},
    {"stop while installing", stop_while_installing},
    {"error while installing", error_while_installing},
    {"stop at each disk call", stop_at_each_call},
    {"error at each disk call", error_at_each_call},
    {"damaged log", damaged_log},
    {"full disk", full_disk},
    {"grow and shrink", grow_and_shrink},
    {"transfer", transfer},
    {"power cuts", power_cuts},
};

static bool run(uint32_t i, uint64_t seed, bool verbose, struct sim_result *ret)
{
    struct sim_options o = {.seed = seed, .changes = true, .snapshots = true, .verbose = verbose};
    struct world *w = cluster_new(&o, ret);
    w->config = (struct replica_config){
        .heartbeat_ms = 50,
        .election_ms = 300,
        .proposal_timeout_ms = 3000,
        .snapshot_log_bytes = 10000,
        .trail_bytes = 1000,
        .cache_bytes = 5000,
        .snapshot_chunk_bytes = 1000,
    };
    w->net.delay_min_us = 100;
    w->net.delay_max_us = 2000;
    w->net.fifo = true;
    w->rate_spread = 20;
    scenarios[i].run(w);
    w->load = false;
    if (!world_failed(w))
        cluster_run(w, 4000);
    if (!world_failed(w))
        clients_check(w);
    cluster_free(w);
    return ret->failure[0] == 0;
}

/* sim_scenarios [NAME [SEED]]: one alone, with its log. */
int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : NULL;
    uint64_t one = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
    uint32_t passed = 0, failed = 0;
    log_setup("sim", LOG_ERROR);
    for (uint32_t i = 0; i < ARRAY_SIZE(scenarios); i++)
        for (uint64_t seed = 1; seed <= 5; seed++) {
            struct sim_result r;
            if ((only != NULL && strcmp(only, scenarios[i].name) != 0) || (one != 0 && seed != one))
                continue;
            if (run(i, seed, one != 0, &r)) {
                passed++;
                continue;
            }
            printf("%s, seed %" PRIu64 ": %s\n", scenarios[i].name, seed, r.failure);
            failed++;
        }
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
