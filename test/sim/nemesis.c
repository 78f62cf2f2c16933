/* nemesis.c - faults: crashes anywhere, pauses, partitions, slow and hanging and
 * failing disks, bad networks, clocks that jump, changes of members, transfers of
 * leadership. Damaged and full disks are nemesis_disk.c's. */
#include "sim.h"
#include "disk_sim.h"

#include <inttypes.h>
#include <stdio.h>

static struct node *random_node(struct world *w, bool up)
{
    for (uint32_t tries = 0; tries < 20; tries++) {
        struct node *n = &w->nodes[rng_below(&w->rng, w->node_count)];
        if (n->exists && n->up == up && !n->lost)
            return n;
    }
    return NULL;
}

/* The place of a node, rather that of a leader. */
static uint32_t pick_victim(struct world *w)
{
    uint32_t any = (uint32_t)rng_below(&w->rng, w->node_count);
    for (uint32_t i = 0; i < w->node_count && rng_chance(&w->rng, 700); i++) {
        uint32_t j = (any + i) % w->node_count;
        if (w->nodes[j].up && node_is_leader(&w->nodes[j]))
            return j;
    }
    return any;
}

static void restart(struct world *w, void *arg, uint64_t unused)
{
    struct node *n = arg;
    UNUSED(unused);
    if (!n->up && !n->lost && !world_failed(w))
        node_start(n);
}

void nemesis_restart(struct world *w, struct node *n, uint64_t ms)
{
    world_at(w, ms * US_PER_MS, restart, n, 0);
}

static void crash(struct world *w)
{
    struct node *n = random_node(w, true);
    if (n == NULL)
        return;
    node_crash(n);
    nemesis_restart(w, n, rng_between(&w->rng, 1, rng_chance(&w->rng, 300) ? 4000 : 300));
}

/* At one of the disk's next calls, whatever it is for. */
static void crash_in_io(struct world *w)
{
    struct node *n = random_node(w, true);
    if (n != NULL)
        sim_disk_stop_after(n->disk.sim, rng_below(&w->rng, 60));
}

/* The process stands still, as a stopped or migrated one: nothing is lost, all
 * of it is late. */
static void pause_node(struct world *w)
{
    struct node *n = &w->nodes[pick_victim(w)];
    uint64_t ms = rng_between(&w->rng, 50, rng_chance(&w->rng, 300) ? 6000 : 800);
    if (!n->up)
        return;
    world_log(w, "node %" PRIu64 " stands still for %" PRIu64 " ms", n->id, ms);
    n->paused_until_us = w->now_us + ms * US_PER_MS;
}

static void jump(struct world *w)
{
    struct node *n = random_node(w, true);
    if (n != NULL && w->jumps)
        node_clock_jump(n, rng_between(&w->rng, 10, rng_chance(&w->rng, 200) ? 60000 : 2000));
}

static void crash_now(struct world *w, void *arg, uint64_t life)
{
    struct node *n = arg;
    if (!n->up || n->life != life || world_failed(w))
        return;
    node_crash(n);
    nemesis_restart(w, n, rng_between(&w->rng, 1, 200));
}

/* Whatever a message says must not depend on what a crash can take back. */
void nemesis_sent(struct world *w, struct node *n)
{
    if (!w->faults || w->spite == 0 || !disk_unsynced(n, false))
        return;
    if (rng_chance(&w->rng, disk_unsynced(n, true) ? 300 : w->spite))
        world_at(w, 0, crash_now, n, n->life);
}

static void crash_all(struct world *w)
{
    for (uint32_t i = 0; i < w->node_count; i++) {
        struct node *n = &w->nodes[i];
        if (!n->up)
            continue;
        node_crash(n);
        nemesis_restart(w, n, rng_between(&w->rng, 1, 500));
    }
}

static void heal(struct world *w, void *arg, uint64_t unused)
{
    UNUSED(arg);
    UNUSED(unused);
    net_heal(w);
}

static void partition(struct world *w)
{
    uint64_t kind = rng_below(&w->rng, 5);
    uint32_t one = pick_victim(w);
    uint64_t side = rng_next(&w->rng);
    world_log(w, "partition %" PRIu64, kind);
    for (uint32_t i = 0; i < w->node_count; i++)
        for (uint32_t j = 0; j < w->node_count; j++) {
            bool cut = kind == 0   ? (i == one) != (j == one)               /* Alone. */
                       : kind == 1 ? ((side >> i) & 1) != ((side >> j) & 1) /* Two halves. */
                       : kind == 2 ? i == one && i != j                     /* Heard by nobody. */
                       : kind == 3 ? j == one && i != j                     /* Deaf. */
                                   : rng_chance(&w->rng, 300);              /* Single links. */
            w->net.blocked[i][j] |= cut;
        }
    world_at(w, rng_between(&w->rng, 100, 4000) * US_PER_MS, heal, NULL, 0);
}

static void recover_disk(struct world *w, void *arg, uint64_t unused)
{
    struct node *n = arg;
    UNUSED(w);
    UNUSED(unused);
    n->disk.slow = 1;
    if (n->up)
        disk_kick(n);
}

static void slow_disk(struct world *w)
{
    struct node *n = random_node(w, true);
    if (n == NULL)
        return;
    n->disk.slow = rng_chance(&w->rng, 300) ? 0 : (uint32_t)rng_between(&w->rng, 5, 200);
    world_log(w, "node %" PRIu64 ": disk %u times slower", n->id, n->disk.slow);
    world_at(w, rng_between(&w->rng, 100, 3000) * US_PER_MS, recover_disk, n, 0);
}

static void repair(struct world *w, void *arg, uint64_t unused)
{
    struct node *n = arg;
    UNUSED(w);
    UNUSED(unused);
    sim_disk_fail(n->disk.sim, false);
}

/* Once, or for a while: then the log's thread tries again, and gives up after
 * some seconds. */
static void fail_disk(struct world *w)
{
    struct node *n = random_node(w, true);
    if (n == NULL || n->disk.failed)
        return;
    if (rng_chance(&w->rng, 500)) {
        sim_disk_hiccup(n->disk.sim, rng_between(&w->rng, 1, 20));
        return;
    }
    world_log(w, "node %" PRIu64 ": disk fails", n->id);
    sim_disk_fail(n->disk.sim, true);
    world_at(w, rng_between(&w->rng, 100, 5000) * US_PER_MS, repair, n, 0);
}

static void draw_network(struct world *w)
{
    struct net *net = &w->net;
    net->loss = rng_chance(&w->rng, 500) ? (uint32_t)rng_below(&w->rng, 150) : 0;
    net->dup = (uint32_t)rng_below(&w->rng, 80);
    net->straggle = rng_chance(&w->rng, w->restless ? 700 : 300) ? 60 : 5;
    net->delay_min_us = 100;
    net->delay_max_us =
        rng_chance(&w->rng, 300) ? rng_between(&w->rng, 1, 200) * US_PER_MS : 3 * US_PER_MS;
}

static void transfer(struct world *w)
{
    struct node *n = random_node(w, true), *to = random_node(w, true);
    if (n == NULL || to == NULL)
        return;
    replica_transfer(n->replica, node_now(n), rng_chance(&w->rng, 500) ? to->id : 0, NULL);
    node_settle(n);
}

/* In the middle of a change its member is cut off, or the leader falls, or both. */
static void disturb(struct world *w, void *arg, uint64_t unused)
{
    const struct node *target = arg;
    UNUSED(unused);
    if (!w->faults || world_failed(w))
        return;
    uint64_t kind = rng_below(&w->rng, 3);
    for (uint32_t i = 0; i < w->node_count && kind != 0; i++)
        w->net.blocked[i][target - w->nodes] |= &w->nodes[i] != target;
    if (kind != 0)
        world_at(w, rng_between(&w->rng, 20, 1500) * US_PER_MS, heal, NULL, 0);
    for (uint32_t i = 0; i < w->node_count && kind != 1; i++) {
        struct node *n = &w->nodes[i];
        if (n->up && node_is_leader(n))
            world_at(w, rng_below(&w->rng, 20 * US_PER_MS), crash_now, n, n->life);
    }
}

static void change(struct world *w)
{
    struct node *n = random_node(w, true);
    char address[32];
    if (n == NULL || !w->options.changes)
        return;
    const struct members *m = replica_members(n->replica);
    uint64_t kind = rng_below(&w->rng, 6);
    if (kind < 2 && w->node_count < NODES_MAX - 4 && m->count < 7) {
        uint64_t id = w->next_id++;
        snprintf(address, sizeof(address), "node-%" PRIu64, id);
        node_create(w, w->node_count, id, false);
        world_log(w, "add node %" PRIu64, id);
        replica_change(n->replica, node_now(n),
                       rng_chance(&w->rng, 300) ? REPLICA_ADD_LEARNER : REPLICA_ADD, id, address,
                       NULL);
        node_settle(n);
        node_start(world_node(w, id));
        if (w->restless && rng_chance(&w->rng, 500))
            world_at(w, rng_below(&w->rng, 200 * US_PER_MS), disturb, world_node(w, id), 0);
        return;
    }
    if (m->count == 0 || w->rots) /* No majority may go with a damaged disk. */
        return;
    uint64_t id = m->items[rng_below(&w->rng, m->count)].id;
    enum replica_change_type type = kind == 3   ? REPLICA_DEMOTE
                                    : kind == 4 ? REPLICA_PROMOTE
                                    : kind == 5 ? REPLICA_UPDATE
                                                : REPLICA_REMOVE;
    if (type == REPLICA_REMOVE && m->count < 3 && rng_chance(&w->rng, 700))
        return;
    world_log(w, "change %d of node %" PRIu64, (int)type, id);
    snprintf(address, sizeof(address), "moved-%" PRIu64, w->now_us);
    replica_change(n->replica, node_now(n), type, id, type == REPLICA_UPDATE ? address : NULL,
                   NULL);
    node_settle(n);
    if (w->restless && rng_chance(&w->rng, 500))
        world_at(w, rng_below(&w->rng, 20 * US_PER_MS), disturb, world_node(w, id), 0);
}

struct fault {
    uint32_t below; /* Of a hundred. */
    void (*strike)(struct world *w);
};

static const struct fault faults[] = {
    {14, crash},       {24, crash_in_io}, {26, crash_all},    {31, pause_node},
    {47, partition},   {55, slow_disk},   {58, fail_disk},    {61, nemesis_full_disk},
    {63, nemesis_rot}, {66, jump},        {75, draw_network}, {83, transfer},
    {100, change},
};

/* A small cluster whose members come and go while its leaders fall. */
static const struct fault restless_faults[] = {
    {42, change},    {62, crash},     {66, crash_in_io},   {80, transfer},
    {92, partition}, {96, slow_disk}, {100, draw_network},
};

static void strike(struct world *w, void *arg, uint64_t unused)
{
    UNUSED(arg);
    UNUSED(unused);
    if (!w->faults || world_failed(w))
        return;
    const struct fault *f = w->restless ? restless_faults : faults;
    for (uint64_t kind = rng_below(&w->rng, 100); kind >= f->below;)
        f++;
    f->strike(w);
    uint64_t pause = rng_between(&w->rng, 10, w->restless ? 400 : 1200);
    world_at(w, pause * US_PER_MS, strike, NULL, 0);
}

void nemesis_start(struct world *w)
{
    w->faults = true;
    w->spite = rng_chance(&w->rng, 300) ? (uint32_t)rng_between(&w->rng, 1, 20) : 0;
    draw_network(w);
    w->net.fifo = rng_chance(&w->rng, 300);
    w->jumps = rng_chance(&w->rng, 300);
    w->rots = rng_chance(&w->rng, 400);
    world_at(w, rng_between(&w->rng, 500, 2000) * US_PER_MS, strike, NULL, 0);
}
