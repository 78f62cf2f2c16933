/* node.c - a member's life: its clock, starting from what its disk holds, running
 * the real replica, stopping, crashing. */
#include "sim.h"
#include "disk_sim.h"

#include "lib/base/env.h"
#include "lib/base/error.h"
#include "raftstore/log.h"

#include <inttypes.h>
#include <stdio.h>

/* --- the clock --- */

uint64_t node_now(const struct node *n)
{
    return n->base_ms + (n->world->now_us - n->base_us) * n->rate_per_mille / 1000000;
}

void node_clock_jump(struct node *n, uint64_t ms)
{
    n->base_ms = node_now(n) + ms;
    n->base_us = n->world->now_us;
    world_log(n->world, "node %" PRIu64 ": the clock jumps by %" PRIu64 " ms", n->id, ms);
    if (n->up)
        node_settle(n);
}

bool node_paused(struct node *n, event_fn *fn, void *arg, uint64_t number)
{
    if (!n->up || n->world->now_us >= n->paused_until_us)
        return false;
    world_at(n->world, n->paused_until_us - n->world->now_us, fn, arg, number);
    return true;
}

/* --- running --- */

static void tick(struct world *w, void *arg, uint64_t timer)
{
    struct node *n = arg;
    UNUSED(w);
    if (!n->up || n->timer != timer || node_paused(n, tick, n, timer))
        return;
    if (node_now(n) >= replica_deadline(n->replica))
        replica_tick(n->replica, node_now(n));
    node_settle(n);
}

static void arm_timer(struct node *n)
{
    uint64_t due = MIN_OF(replica_deadline(n->replica), chores_deadline(n)), now = node_now(n);
    n->timer++;
    if (due == UINT64_MAX)
        return;
    uint64_t ms = due > now ? due - now : 0;
    world_at(n->world, ms * 1000 * 1000 / n->rate_per_mille + 1000, tick, n, n->timer);
}

static void crash_later(struct world *w, void *arg, uint64_t life)
{
    struct node *n = arg;
    if (!n->up || n->life != life)
        return;
    w->result->io_stops++;
    node_crash(n);
    nemesis_restart(w, n, rng_between(&w->rng, 1, 300));
}

void node_settle(struct node *n)
{
    struct world *w = n->world;
    if (!n->up || world_failed(w))
        return;
    if (sim_disk_dead(n->disk.sim)) { /* The machine stopped inside some call. */
        world_at(w, 0, crash_later, n, n->life);
        return;
    }
    bool more;
    do {
        more = replica_run(n->replica, node_now(n));
        chores_run(n);
    } while (more && !world_failed(w));
    mvcc_work(n->machine->mvcc, 100);
    check_node(n);
    if (n->up)
        arm_timer(n);
}

void node_deliver(struct node *n, uint64_t from, struct str bytes)
{
    int rc = replica_receive(n->replica, node_now(n), from, bytes);
    if (rc != 0)
        world_fail(n->world, "node %" PRIu64 " refuses a message of node %" PRIu64 ": %d", n->id,
                   from, rc);
    node_settle(n);
}

/* --- starting --- */

void node_create(struct world *w, uint32_t i, uint64_t id, bool founder)
{
    struct node *n = &w->nodes[i];
    *n = (struct node){.world = w, .id = id, .exists = true, .founder = founder};
    n->rng.state = rng_next(&w->rng);
    n->rate_per_mille =
        (uint32_t)rng_between(&w->rng, 1000 - w->rate_spread, 1000 + w->rate_spread);
    n->base_ms = rng_below(&w->rng, 1000000);
    n->base_us = w->now_us;
    n->disk.sim = sim_disk_new(&n->rng);
    list_init(&n->disk.queue);
    list_init(&n->disk.staged);
    n->disk.slow = 1;
    n->disk.durable.first = 1;
    n->disk.durable.lost_low = UINT64_MAX;
    w->node_count = MAX_OF(w->node_count, i + 1);
}

static void founders(struct world *w, struct members *ret)
{
    *ret = (struct members){0};
    for (uint32_t i = 0; i < w->node_count; i++) {
        char address[32];
        snprintf(address, sizeof(address), "node-%" PRIu64, w->nodes[i].id);
        if (w->nodes[i].founder)
            members_add(ret, w->nodes[i].id, MEMBER_VOTER, address);
    }
}

struct sim_env {
    struct env base;
    struct rng *rng;
};

static void env_random(struct env *e, void *p, size_t len)
{
    uint8_t *at = p;
    while (len-- > 0)
        *at++ = (uint8_t)rng_next(CONTAINER_OF(e, struct sim_env, base)->rng);
}

static int open_log(struct node *n, struct log_state *ret, struct error *err)
{
    struct sim_env env = {{.random = env_random}, &n->rng};
    struct log_config c = {
        .disk = sim_disk_base(n->disk.sim),
        .env = &env.base,
        .dir = "data",
        .cluster_id = 1,
        .member_id = n->id,
        .joined = !n->founder,
        .segment_bytes = n->world->segment_bytes,
    };
    int rc = log_open(&c, &n->disk.log, err);
    if (rc == 0)
        log_state(n->disk.log, ret);
    return rc;
}

static int load_snapshot(struct node *n, uint64_t log_first, uint64_t *ret_index, struct error *err)
{
    *ret_index = 0;
    int rc = bulk_recover(n, log_first, ret_index, err);
    if (rc == 0 && *ret_index == 0 && log_first > 1)
        rc = error_set(err, E_CORRUPT, "the log begins at %" PRIu64 " without a snapshot",
                       log_first);
    return rc;
}

static int load_entries(struct node *n, const struct log_state *st, uint64_t *terms,
                        struct error *err)
{
    int rc = 0;
    for (uint64_t at = st->first_index; rc == 0 && at <= st->last_index;) {
        struct log_read got;
        rc = log_read(n->disk.log, at, 1 << 20, &got, err);
        for (uint32_t i = 0; rc == 0 && i < got.count; i++) {
            const struct log_entry *le = &got.entries[i];
            struct entry *e = entry_copy(le->data, le->len, le->kind, le->index, le->term);
            terms[le->index - st->first_index] = le->term;
            rc = replica_recover_entry(n->replica, e, err);
            entry_unref(e);
        }
        if (rc != 0)
            break;
        at += got.count;
        log_read_done(&got);
    }
    return rc;
}

static int recover(struct node *n, struct error *err)
{
    struct log_state st;
    uint64_t snapshot_index = 0;
    struct replica_config c = n->world->config;
    int rc = open_log(n, &st, err);
    if (rc != 0)
        return rc;
    c.id = n->id;
    c.seed = (uint32_t)rng_next(&n->rng) | 1;
    c.boot = st.boot;
    c.guards_off = n->world->options.guards_off;
    c.drills = n->world->options.breaks >> BREAK_REPLICA_SHIFT;
    c.ops = &node_ops;
    c.arg = n;
    rc = replica_new(&c, &n->replica, err);
    if (rc == 0)
        rc = load_snapshot(n, st.first_index, &snapshot_index, err);
    if (rc != 0)
        return rc;
    uint64_t count = st.last_index + 1 - st.first_index;
    AUTO_FREE uint64_t *terms = xzalloc((count + 1) * sizeof(terms[0]));
    rc = load_entries(n, &st, terms, err);
    if (rc != 0)
        return rc;
    struct replica_vote vote = {st.term, st.vote};
    durable_check(n, st.first_index, count, terms, &vote, snapshot_index);
    if (world_failed(n->world))
        return 0;
    bool fresh = st.term == 0 && st.vote == 0;
    struct members m = {0};
    if (n->founder && fresh)
        founders(n->world, &m);
    rc = replica_start(n->replica, node_now(n), fresh ? NULL : &vote, &m, err);
    members_done(&m);
    return rc;
}

/* What had been opened goes; the disk is as a crash leaves it. */
static void shut_down(struct node *n)
{
    n->up = false;
    watchers_left(n);
    replica_free(n->replica);
    n->replica = NULL;
    bulk_close(n);
    log_abandon(n->disk.log);
    n->disk.log = NULL;
    machine_free(n->machine);
    n->machine = NULL;
    memset(&n->chores, 0, sizeof(n->chores));
}

/* Refusing is right when the disk is damaged, and nothing else may keep it down
 * for long. */
static void start_failed(struct node *n, int rc, const char *why)
{
    struct world *w = n->world;
    bool dead = sim_disk_dead(n->disk.sim);
    sim_disk_stop(n->disk.sim);
    shut_down(n);
    sim_disk_crash(n->disk.sim);
    world_log(w, "node %" PRIu64 " does not start: %s", n->id, why);
    if (rc == E_CORRUPT && n->disk.rotten && !dead && (w->options.breaks & BREAK_DAMAGE_IGNORED)) {
        /* The drill: what is damaged is thrown away, the member goes on. */
        sim_disk_free(n->disk.sim);
        n->disk.sim = sim_disk_new(&n->rng);
        nemesis_restart(w, n, 1);
        return;
    }
    if (rc == E_CORRUPT && n->disk.rotten && !dead) {
        n->lost = true;
        w->result->rotten++;
        nemesis_replace(w, n);
        return;
    }
    if (!dead && rc != E_NO_SPACE && rc != E_IO) {
        world_fail(w, "node %" PRIu64 " does not start: %s", n->id, why);
        return;
    }
    w->result->io_stops += dead;
    nemesis_restart(w, n, rng_between(&w->rng, 1, 300));
}

void node_start(struct node *n)
{
    struct world *w = n->world;
    struct error err = {0};
    n->up = true;
    n->life++;
    n->disk.failed = n->disk.low_space = n->disk.tail_marked = false;
    n->disk.failing_since_us = 0;
    n->paused_until_us = 0;
    n->machine = machine_new(&w->mvcc_config);
    n->checked_commit = 0;
    if (w->faults && rng_chance(&n->rng, 60))
        sim_disk_stop_after(n->disk.sim, rng_below(&n->rng, 30));
    int rc = recover(n, &err);
    if (rc != 0 || sim_disk_dead(n->disk.sim)) {
        start_failed(n, rc != 0 ? rc : E_IO, error_message(&err));
        return;
    }
    world_log(w, "node %" PRIu64 " starts: log %" PRIu64 "..%" PRIu64 ", snapshot %" PRIu64, n->id,
              n->disk.durable.first, n->disk.durable.first + n->disk.durable.count - 1,
              n->disk.durable.snapshot_index);
    node_settle(n);
}

/* --- stopping --- */

void node_crash(struct node *n)
{
    world_log(n->world, "node %" PRIu64 " crashes", n->id);
    /* Clients get their answers first: they may ask elsewhere, not here. */
    n->up = false;
    replica_free(n->replica);
    n->replica = NULL;
    disk_lose(n);
    sim_disk_stop(n->disk.sim);
    shut_down(n);
    sim_disk_crash(n->disk.sim);
    n->world->result->crashes++;
}

void node_stop(struct node *n)
{
    world_log(n->world, "node %" PRIu64 " stops", n->id);
    n->up = false;
    replica_free(n->replica);
    n->replica = NULL;
    bulk_close(n);
    disk_stop(n);
    disk_lose(n); /* Only the queue is left. */
    shut_down(n);
    sim_disk_crash(n->disk.sim);
}

void node_destroy(struct node *n)
{
    if (!n->exists)
        return;
    if (n->replica != NULL) {
        n->up = false;
        replica_free(n->replica);
        n->replica = NULL;
    }
    sim_disk_stop(n->disk.sim);
    shut_down(n);
    disk_lose(n);
    sim_disk_free(n->disk.sim);
    durable_done(&n->disk.durable);
}
