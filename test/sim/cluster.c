/* cluster.c - one run: build, trouble, healing, final checks. */
#include "sim.h"
#include "disk_sim.h"

#include <inttypes.h>
#include <stdio.h>

#define HEAL_MS 30000     /* After the last fault everything must be well within this, */
#define HEAL_LOAD_MS 5000 /* ... and load goes on for so long. */

static void draw_config(struct world *w)
{
    struct replica_config *c = &w->config;
    struct rng *g = &w->rng;
    *c = (struct replica_config){
        .heartbeat_ms = 50,
        .election_ms = (uint32_t)rng_between(g, 150, 500),
        .proposal_timeout_ms = 3000,
        .snapshot_log_bytes = w->options.snapshots ? rng_between(g, 1000, 20000) : UINT64_MAX / 8,
        .trail_bytes = rng_between(g, 1, 3000),
        .cache_bytes = rng_between(g, 200, 20000),
        .entry_bytes = (uint32_t)rng_between(g, 50, 4000),
        .append_bytes = (uint32_t)rng_between(g, 50, 4000),
        .window_bytes = rng_between(g, 100, 20000),
        .queue_bytes = rng_between(g, 5000, 100000),
        .snapshot_chunk_bytes = (uint32_t)rng_between(g, 200, 4000),
    };
    w->mvcc_config = (struct mvcc_config){
        .history_bytes = rng_chance(g, 500) ? rng_between(g, 2000, 100000) : 0,
        .history_ms = rng_chance(g, 300) ? rng_between(g, 500, 10000) : 0,
        .quota_bytes = rng_chance(g, 100) ? rng_between(g, 100000, 400000) : 0,
    };
    w->segment_bytes = rng_between(g, 4096, 65536);
    w->rate_spread = rng_chance(g, 300) ? 600 : 30;
    w->big_per_mille = rng_chance(g, 300) ? 200 : 10;
    w->register_per_mille = rng_chance(g, 200) ? 1000 : rng_chance(g, 200) ? 0 : 400;
    w->request_keys = (uint32_t)rng_between(g, 2, 30);
    w->content_every = rng_chance(g, 100) ? 1 : 16;
}

void cluster_found(struct world *w, uint32_t count)
{
    w->next_id = 1;
    for (uint32_t i = 0; i < count; i++)
        node_create(w, i, w->next_id++, true);
    for (uint32_t i = 0; i < count; i++)
        node_start(&w->nodes[i]);
}

static void build(struct world *w)
{
    static const uint32_t sizes[] = {3, 3, 3, 5, 5, 7, 3, 5, 1, 2, 4};
    uint32_t drawn = sizes[rng_below(&w->rng, ARRAY_SIZE(sizes))];
    w->restless = w->options.changes && rng_chance(&w->rng, 200);
    if (w->restless)
        drawn = (uint32_t)rng_between(&w->rng, 1, 3);
    cluster_found(w, w->options.members != 0 ? w->options.members : drawn);
    clients_start(w, (uint32_t)rng_between(&w->rng, 2, CLIENTS_MAX));
    watchers_start(w, (uint32_t)rng_between(&w->rng, 2, 10));
    nemesis_start(w);
}

void cluster_run(struct world *w, uint64_t ms)
{
    uint64_t end = w->now_us + ms * US_PER_MS;
    while (w->now_us < end && !world_failed(w) && world_step(w))
        continue;
}

static void heal(struct world *w)
{
    world_log(w, "--- healing ---");
    w->faults = false;
    net_heal(w);
    w->net.loss = w->net.dup = w->net.straggle = 0;
    w->net.delay_min_us = 100;
    w->net.delay_max_us = 2000;
    for (uint32_t i = 0; i < w->node_count; i++) {
        struct node *n = &w->nodes[i];
        n->disk.slow = 1;
        n->paused_until_us = 0;
        /* Clocks that run several times apart keep followers from waiting long enough. */
        n->base_ms = node_now(n);
        n->base_us = w->now_us;
        n->rate_per_mille = 1000;
        sim_disk_heal(n->disk.sim);
        if (n->up && n->disk.failed)
            node_crash(n);
        if (n->up)
            disk_kick(n);
        else if (!world_failed(w) && !n->lost)
            node_start(n);
    }
}

/* The leader that all members of its list follow with everything applied. */
struct node *cluster_leader(struct world *w)
{
    for (uint32_t i = 0; i < w->node_count; i++) {
        struct replica_status st, other;
        struct node *n = &w->nodes[i];
        if (!n->up)
            continue;
        replica_status(n->replica, &st);
        const struct members *m = replica_members(n->replica);
        bool all = st.state == REPLICA_LEADER && st.applied_index == st.last_index;
        for (uint32_t j = 0; all && j < m->count; j++) {
            const struct node *peer = world_node(w, m->items[j].id);
            all = peer->up;
            if (!all)
                break;
            replica_status(peer->replica, &other);
            all = other.term == st.term && other.applied_index == st.applied_index &&
                  other.leader == n->id;
        }
        if (all)
            return n;
    }
    return NULL;
}

static void explain(struct world *w)
{
    for (uint32_t i = 0; i < w->node_count; i++) {
        struct replica_status st;
        const struct node *n = &w->nodes[i];
        if (!n->up)
            continue;
        replica_status(n->replica, &st);
        const struct members *m = replica_members(n->replica);
        world_log(w,
                  "node %" PRIu64 ": state %d term %" PRIu64 " leader %" PRIu64 " log %" PRIu64
                  "..%" PRIu64 " commit %" PRIu64 " applied %" PRIu64 " snapshot %" PRIu64
                  " voter %d",
                  n->id, (int)st.state, st.term, st.leader, st.first_index, st.last_index,
                  st.commit_index, st.applied_index, st.snapshot_index, st.is_voter);
        for (uint32_t j = 0; j < m->count; j++)
            world_log(w, "    member %" PRIu64 " role %d", m->items[j].id, (int)m->items[j].role);
    }
}

/* Waits for the answer to a change or transfer. */
static bool change_answered(struct world *w, const char *what, uint64_t id)
{
    for (uint32_t i = 0; i < 100 && w->change_code == 1 && !world_failed(w); i++)
        cluster_run(w, 100);
    if (w->change_code != 0)
        world_fail(w, "%s on node %" PRIu64 " after healing: %d", what, id, w->change_code);
    return w->change_code == 0;
}

/* Every voter can lead, and every leader can change the members. */
static void check_leaders(struct world *w)
{
    struct node *leader = cluster_leader(w);
    uint64_t ids[MEMBERS_MAX];
    uint32_t count = 0;
    if (world_failed(w) || leader == NULL)
        return;
    const struct members *m = replica_members(leader->replica);
    for (uint32_t i = 0; i < m->count; i++)
        if (m->items[i].role == MEMBER_VOTER)
            ids[count++] = m->items[i].id;
    for (uint32_t i = 0; i < count && !world_failed(w); i++) {
        struct node *n = world_node(w, ids[i]);
        w->change_code = 1;
        replica_transfer(n->replica, node_now(n), n->id, &w->change_code);
        node_settle(n);
        if (!change_answered(w, "a transfer", n->id))
            return;
        w->change_code = 1;
        replica_change(n->replica, node_now(n), REPLICA_ADD, 1000 + i,
                       i % 2 == 0 ? "new-a" : "new-b", &w->change_code);
        node_settle(n);
        if (!change_answered(w, "adding a member", n->id))
            return;
        w->change_code = 1;
        replica_change(n->replica, node_now(n), REPLICA_REMOVE, 1000 + i, NULL, &w->change_code);
        node_settle(n);
        if (!change_answered(w, "removing a member", n->id))
            return;
    }
}

/* A member's own requests go on for ever when it was removed without hearing of it. */
static bool clients_wait(const struct world *w)
{
    LIST_FOREACH (it, &w->pending)
        if (LIST_ENTRY(it, struct pending_op, node)->chore == 0)
            return true;
    return false;
}

static void check_healed(struct world *w)
{
    struct node *leader = NULL;
    cluster_run(w, HEAL_LOAD_MS);
    w->load = false; /* The answers still come. */
    for (uint32_t i = 0; i < (HEAL_MS - HEAL_LOAD_MS) / 100 && !world_failed(w); i++) {
        cluster_run(w, 100);
        leader = cluster_leader(w);
        if (leader != NULL && !clients_wait(w))
            break;
    }
    if (world_failed(w))
        return;
    if (leader == NULL || clients_wait(w)) {
        explain(w);
        world_fail(w, leader == NULL ? "not all members caught up after healing"
                                     : "an operation was not answered after healing");
        return;
    }
    const struct members *m = replica_members(leader->replica);
    for (uint32_t i = 0; i < m->count; i++) {
        const struct node *n = world_node(w, m->items[i].id);
        if (n->machine->hash != leader->machine->hash ||
            machine_content(n->machine) != machine_content(leader->machine) ||
            n->machine->commands != leader->machine->commands)
            world_fail(w, "node %" PRIu64 " ends in another state than the leader", n->id);
    }
    if (leader->machine->commands != w->position_count)
        world_fail(w, "%" PRIu64 " commands were applied, the leader has %" PRIu64,
                   w->position_count, leader->machine->commands);
}

/* Without load every lease ends, every alarm clears, and every watcher has seen
 * everything. */
static void check_quiet(struct world *w)
{
    struct node *leader = NULL;
    for (uint32_t i = 0; i < HEAL_MS / 100 && !world_failed(w); i++) {
        cluster_run(w, 100);
        leader = cluster_leader(w);
        if (leader != NULL && model_lease_count(w->model) == 0 &&
            watchers_done(w, model_rev(w->model)) &&
            (mvcc_alarms(leader->machine->mvcc) == 0 || w->mvcc_config.quota_bytes != 0))
            return;
    }
    if (world_failed(w))
        return;
    if (leader == NULL)
        world_fail(w, "nobody leads without load");
    else if (model_lease_count(w->model) != 0)
        world_fail(w, "%u leases never end", model_lease_count(w->model));
    else if (!watchers_done(w, model_rev(w->model)))
        world_fail(w, "some watcher never sees revision %" PRId64, model_rev(w->model));
    else
        world_fail(w, "an alarm goes on although there is room");
}

struct world *cluster_new(const struct sim_options *o, struct sim_result *ret)
{
    struct world *w = xzalloc(sizeof(*w));
    *ret = (struct sim_result){0};
    w->options = *o;
    w->result = ret;
    w->rng.state = o->seed;
    world_seed_system(~o->seed);
    list_init(&w->pending);
    w->model = model_new(w);
    w->position_cap = 256;
    w->positions = xzalloc(w->position_cap * sizeof(w->positions[0]));
    w->positions[0].rev = 1;
    w->content_every = 16;
    w->segment_bytes = 16384;
    w->register_per_mille = 500;
    w->request_keys = 10;
    w->next_lease = 1000;
    return w;
}

void cluster_free(struct world *w)
{
    w->load = false;
    watchers_free(w);
    for (uint32_t i = 0; i < w->node_count; i++)
        node_destroy(&w->nodes[i]);
    clients_done(w);
    model_free(w->model);
    checks_done(w);
    world_free(w);
    free(w);
}

bool sim_run(const struct sim_options *o, struct sim_result *ret)
{
    struct world *w = cluster_new(o, ret);
    draw_config(w);
    build(w);
    cluster_run(w, o->fault_ms != 0 ? o->fault_ms : 12000);
    if (!world_failed(w))
        heal(w);
    if (!world_failed(w))
        check_healed(w);
    if (!world_failed(w))
        clients_check(w);
    if (!world_failed(w))
        check_quiet(w);
    if (!world_failed(w))
        check_leaders(w);
    cluster_free(w);
    return ret->failure[0] == 0;
}
