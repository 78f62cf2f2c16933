/* nemesis_disk.c - disks that fill up, and bits that flip: the member must refuse to
 * start, and be replaced by a new one. */
#include "sim.h"
#include "disk_sim.h"

#include "lib/base/error.h"
#include "raftstore/log_format.h"

#include <inttypes.h>
#include <stdio.h>

/* --- full disks --- */

static void make_room(struct world *w, void *arg, uint64_t unused)
{
    struct node *n = arg;
    UNUSED(w);
    UNUSED(unused);
    sim_disk_limit(n->disk.sim, 0);
}

void nemesis_full_disk(struct world *w)
{
    struct node *n = &w->nodes[rng_below(&w->rng, w->node_count)];
    if (!n->up)
        return;
    uint64_t left = rng_below(&w->rng, 100000);
    world_log(w, "node %" PRIu64 ": %" PRIu64 " bytes of disk are left", n->id, left);
    sim_disk_limit(n->disk.sim, sim_disk_used(n->disk.sim) + left);
    w->result->full++;
    world_at(w, rng_between(&w->rng, 300, 4000) * US_PER_MS, make_room, n, 0);
}

/* --- replacing --- */

static void replace_turn(struct world *w, void *arg, uint64_t id);

static struct node *some_up(struct world *w)
{
    for (uint32_t tries = 0; tries < 50; tries++) {
        struct node *n = &w->nodes[rng_below(&w->rng, w->node_count)];
        if (n->up && replica_members(n->replica)->count > 0)
            return n;
    }
    return NULL;
}

/* Asks for the removal until it is done, then for a new member. */
static void replace_turn(struct world *w, void *arg, uint64_t id)
{
    struct node *n = some_up(w);
    UNUSED(arg);
    if (world_failed(w) || w->rotten != id)
        return;
    world_at(w, 500 * US_PER_MS, replace_turn, NULL, id);
    if (n == NULL)
        return;
    bool gone = false; /* In the eyes of the leader: who was removed may not know. */
    for (uint32_t i = 0; i < w->node_count; i++)
        if (w->nodes[i].up && node_is_leader(&w->nodes[i]))
            gone = members_get(replica_members(w->nodes[i].replica), id) == NULL;
    if (!gone) {
        replica_change(n->replica, node_now(n), REPLICA_REMOVE, id, NULL, NULL);
        node_settle(n);
        return;
    }
    world_log(w, "node %" PRIu64 ", whose data was damaged, is gone", id);
    w->rotten = 0;
    if (w->node_count == NODES_MAX || replica_members(n->replica)->count > 7)
        return;
    char address[32];
    uint64_t fresh = w->next_id++;
    snprintf(address, sizeof(address), "node-%" PRIu64, fresh);
    node_create(w, w->node_count, fresh, false);
    replica_change(n->replica, node_now(n), REPLICA_ADD, fresh, address, NULL);
    node_settle(n);
    if (!world_failed(w))
        node_start(world_node(w, fresh));
}

void nemesis_replace(struct world *w, struct node *n)
{
    w->rotten = n->id;
    world_at(w, 100 * US_PER_MS, replace_turn, NULL, n->id);
}

/* --- bit rot --- */

/* Somewhere in what is durable beyond doubt. The newest batch is left alone while
 * nothing stands behind it: damage there is what a torn write looks like. */
static bool flip_somewhere(struct node *n)
{
    struct node_disk *d = &n->disk;
    bool snapshots = rng_chance(&n->rng, 300) && sim_disk_count(d->sim, "data/snapshots") > 0;
    const char *dir = snapshots ? "data/snapshots" : "data";
    uint32_t files = sim_disk_count(d->sim, dir);
    uint64_t size = 0, number = 0;
    if (files == 0)
        return false;
    const char *name = sim_disk_name(d->sim, dir, (uint32_t)rng_below(&n->rng, files), &size);
    if (size == 0 || (!snapshots && !log_segment_name_parse(name, &number)))
        return false;
    bool newest = !snapshots && number >= d->tail_segment;
    if (newest && (number > d->tail_segment || !d->tail_marked))
        size = MIN_OF(size, number > d->tail_segment ? 0 : d->tail_at);
    if (size == 0)
        return false;
    char path[64];
    uint64_t at = rng_below(&n->rng, size);
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    world_log(n->world, "node %" PRIu64 ": a bit flips in %s at %" PRIu64, n->id, path, at);
    return sim_disk_rot(d->sim, path, at, (uint32_t)rng_below(&n->rng, 8));
}

/* One member at a time, and only where the others are enough without it. */
void nemesis_rot(struct world *w)
{
    struct node *n = &w->nodes[rng_below(&w->rng, w->node_count)];
    if (!n->up || !w->rots || w->rotten != 0 || w->node_count + 4 > NODES_MAX ||
        !w->options.changes)
        return;
    const struct members *m = replica_members(n->replica);
    if (members_voters(m) < 3 || members_get(m, n->id) == NULL)
        return;
    if (rng_chance(&n->rng, 500))
        node_stop(n);
    else
        node_crash(n);
    for (uint32_t tries = 0; tries < 10 && !n->disk.rotten; tries++)
        n->disk.rotten = flip_somewhere(n);
    if (n->disk.rotten)
        w->rotten = n->id;
    nemesis_restart(w, n, rng_between(&w->rng, 1, 500));
}
