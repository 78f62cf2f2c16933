/* node_ops.c - the replica's effects, carried out. */
#include "sim.h"
#include "disk_sim.h"

#include "lib/base/error.h"

#include <inttypes.h>

/* --- the disk --- */

static void on_save_vote(void *arg, uint64_t seq, const struct replica_vote *v)
{
    disk_queue(arg, seq, DISK_VOTE)->vote = *v;
    disk_kick(arg);
}

static void on_append(void *arg, uint64_t seq, uint64_t first_index, struct entry *const *entries,
                      uint32_t count)
{
    struct disk_write *w = disk_queue(arg, seq, DISK_APPEND);
    w->index = first_index;
    w->entries = xmalloc(count * sizeof(w->entries[0]));
    w->count = count;
    for (uint32_t i = 0; i < count; i++)
        w->entries[i] = entry_ref(entries[i]);
    disk_kick(arg);
}

static void on_install(void *arg, uint64_t seq, uint64_t transfer, const struct replica_snapshot *s)
{
    struct disk_write *w = disk_queue(arg, seq, DISK_INSTALL);
    w->index = s->index;
    w->term = s->term;
    w->transfer = transfer;
    buf_append_str(&w->meta, s->meta);
    disk_kick(arg);
}

static void on_reset_log(void *arg, uint64_t seq, uint64_t index, uint64_t term)
{
    struct disk_write *w = disk_queue(arg, seq, DISK_RESET);
    w->index = index;
    w->term = term;
    disk_kick(arg);
}

static void on_trim(void *arg, uint64_t first_index)
{
    disk_trim(arg, first_index);
}

static void on_read_entries(void *arg, uint64_t token, uint64_t first, uint64_t last,
                            uint32_t bytes_max)
{
    disk_read(arg, token, first, last, bytes_max);
}

static void on_take_snapshot(void *arg, const struct replica_snapshot *s)
{
    bulk_take(arg, s);
}

static void on_read_snapshot(void *arg, uint64_t token, uint64_t index, uint64_t offset,
                             uint32_t bytes_max)
{
    bulk_read(arg, token, index, offset, bytes_max);
}

static void on_release_snapshot(void *arg, uint64_t index)
{
    bulk_release(arg, index);
}

static void on_write_snapshot(void *arg, uint64_t transfer, uint64_t offset, struct str bytes,
                              bool last)
{
    bulk_write(arg, transfer, offset, bytes, last);
}

static void on_drop_snapshot(void *arg, uint64_t transfer)
{
    bulk_drop(arg, transfer);
}

/* --- peers --- */

static void on_send(void *arg, uint64_t to, struct buf *msg)
{
    struct node *n = arg;
    net_send(n->world, n, to, buf_str(msg));
}

static void on_members_changed(void *arg, const struct members *m)
{
    UNUSED(arg);
    UNUSED(m);
}

/* --- the state machine and its users --- */

static void on_apply(void *arg, const struct replica_command *c)
{
    struct node *n = arg;
    struct mvcc_result res = {0};
    int rc = machine_apply(n->machine, c->index, c->bytes, node_now(n), &res);
    if (rc != 0) {
        world_fail(n->world, "node %" PRIu64 ": command of entry %" PRIu64 " does not apply: %d",
                   n->id, c->index, rc);
        return;
    }
    check_command(n, c->index, c->bytes, &res);
    n->world->result->commands++;
    if (c->cookie != NULL)
        client_applied(n, c->cookie, &res);
    mvcc_result_done(&res);
}

static void on_applied(void *arg, uint64_t index)
{
    struct node *n = arg;
    machine_applied(n->machine, index, node_now(n));
    check_applied(n, index);
}

static void on_propose_failed(void *arg, void *cookie, int code)
{
    client_failed(arg, cookie, code);
}

static void on_read_done(void *arg, void *cookie, int code, uint64_t index)
{
    UNUSED(index);
    client_read_done(arg, cookie, code);
}

static void on_change_done(void *arg, void *cookie, int code)
{
    struct node *n = arg;
    int *wanted = cookie; /* NULL: nobody waits for it. */
    n->world->result->changes += code == 0;
    if (wanted != NULL)
        *wanted = code;
    world_log(n->world, "node %" PRIu64 ": change done: %d", n->id, code);
}

static void on_changed(void *arg)
{
    chores_changed(arg);
}

static void end_failed(struct world *w, void *arg, uint64_t life)
{
    struct node *n = arg;
    if (!n->up || n->life != life)
        return;
    node_crash(n);
    nemesis_restart(w, n, rng_between(&w->rng, 100, 3000));
}

/* Right when the disk gave up, or when its bytes are damaged. */
static void on_fatal(void *arg, int code, const char *message)
{
    struct node *n = arg;
    world_log(n->world, "node %" PRIu64 " stops: %s (%d)", n->id, message, code);
    if (!n->disk.failed && !n->disk.rotten && !sim_disk_dead(n->disk.sim))
        world_fail(n->world, "node %" PRIu64 " stops: %s (%d)", n->id, message, code);
    world_at(n->world, 0, end_failed, n, n->life);
}

const struct replica_ops node_ops = {
    .save_vote = on_save_vote,
    .append = on_append,
    .install_snapshot = on_install,
    .reset_log = on_reset_log,
    .trim = on_trim,
    .read_entries = on_read_entries,
    .take_snapshot = on_take_snapshot,
    .read_snapshot = on_read_snapshot,
    .release_snapshot = on_release_snapshot,
    .write_snapshot = on_write_snapshot,
    .drop_snapshot = on_drop_snapshot,
    .send = on_send,
    .members_changed = on_members_changed,
    .apply = on_apply,
    .applied = on_applied,
    .propose_failed = on_propose_failed,
    .read_done = on_read_done,
    .change_done = on_change_done,
    .changed = on_changed,
    .fatal = on_fatal,
};
