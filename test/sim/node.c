/* node.c - a member: the real replica, a simulated disk, a clock that drifts.
 *
 * The disk takes writes in order. A sync makes durable what was queued when it
 * began; a crash keeps a random prefix of what was not synced, the last append
 * of it possibly torn. */
#include "sim.h"

#include "lib/base/error.h"

#include <inttypes.h>
#include <stdio.h>

uint64_t node_now(const struct node *n)
{
    return n->clock_offset_ms + n->world->now_us / 1000 * n->rate_per_mille / 1000;
}

/* --- the durable state --- */

static uint64_t log_last(const struct disk_model *d)
{
    return d->first + d->count - 1;
}

static void log_cut(struct disk_model *d, uint64_t index)
{
    while (d->count > 0 && log_last(d) >= index)
        entry_unref(d->log[--d->count]);
}

static void log_trim(struct disk_model *d, uint64_t first)
{
    uint32_t n = 0;
    while (n < d->count && d->first + n < first)
        entry_unref(d->log[n++]);
    if (n == 0)
        return;
    memmove(d->log, d->log + n, (d->count - n) * sizeof(d->log[0]));
    d->count -= n;
    d->first += n;
}

static void log_append(struct node *n, struct entry *e)
{
    struct disk_model *d = &n->disk;
    if (d->count == 0 && d->first != e->index && d->first == 0)
        d->first = e->index;
    if (e->index != log_last(d) + 1) {
        world_fail(n->world, "node %" PRIu64 ": entry %" PRIu64 " written behind %" PRIu64, n->id,
                   e->index, log_last(d));
        return;
    }
    if (d->count == d->cap) {
        d->cap = d->cap == 0 ? 64 : d->cap * 2;
        d->log = xrealloc(d->log, d->cap * sizeof(d->log[0]));
    }
    d->log[d->count++] = entry_ref(e);
}

bool disk_has(const struct disk_model *d, uint64_t index, uint64_t term)
{
    if (d->snapshot != NULL && d->snapshot->index >= index)
        return true;
    return d->count > 0 && index >= d->first && index <= log_last(d) &&
           d->log[index - d->first]->term == term;
}

static void file_free(struct snapshot_file *f)
{
    if (f == NULL)
        return;
    buf_done(&f->meta);
    buf_done(&f->data);
    free(f);
}

/* The current snapshot gives way; whoever reads it may go on. */
static void set_snapshot(struct disk_model *d, struct snapshot_file *f)
{
    struct snapshot_file *old = d->snapshot;
    d->snapshot = f;
    for (uint32_t i = 0; i < HELD_MAX && old != NULL; i++) {
        if (d->reading[i] != old->index)
            continue;
        for (uint32_t j = 0; j < HELD_MAX; j++) {
            if (d->held[j] != NULL)
                continue;
            d->held[j] = old;
            return;
        }
    }
    file_free(old);
}

static struct snapshot_file *find_snapshot(struct disk_model *d, uint64_t index)
{
    if (d->snapshot != NULL && d->snapshot->index == index)
        return d->snapshot;
    for (uint32_t i = 0; i < HELD_MAX; i++)
        if (d->held[i] != NULL && d->held[i]->index == index)
            return d->held[i];
    return NULL;
}

static void install_snapshot(struct node *n, const struct disk_write *w)
{
    struct snapshot_file *f = xzalloc(sizeof(*f));
    f->index = w->index;
    f->term = w->term;
    buf_append_str(&f->meta, buf_str(&w->meta));
    f->data = n->disk.received.data;
    n->disk.received = (struct received_file){0};
    set_snapshot(&n->disk, f);
}

static void reset_log(struct disk_model *d, uint64_t index)
{
    log_cut(d, d->first);
    d->first = index + 1;
}

static void make_durable(struct node *n, const struct disk_write *w, uint32_t entries)
{
    struct disk_model *d = &n->disk;
    switch (w->type) {
    case DISK_VOTE:
        d->has_vote = true;
        d->vote = w->vote;
        break;
    case DISK_APPEND:
        log_cut(d, w->index);
        for (uint32_t i = 0; i < entries; i++)
            log_append(n, w->entries[i]);
        break;
    case DISK_INSTALL:
        install_snapshot(n, w);
        if (entries > 0) /* Else: a crash between the two steps. */
            reset_log(d, w->index);
        break;
    case DISK_RESET:
        reset_log(d, w->index);
        break;
    }
}

static void write_free(struct disk_write *w)
{
    for (uint32_t i = 0; i < w->count; i++)
        entry_unref(w->entries[i]);
    free(w->entries);
    buf_done(&w->meta);
    free(w);
}

static void restore_machine(struct node *n)
{
    struct snapshot_file *f = n->disk.snapshot;
    if (f != NULL && !machine_load(n->machine, buf_str(&f->data)))
        PANIC("snapshot %" PRIu64 " of node %" PRIu64 " is damaged", f->index, n->id);
}

static void sync_done(struct world *w, void *arg, uint64_t life)
{
    struct node *n = arg;
    struct disk_model *d = &n->disk;
    UNUSED(w);
    if (!n->up || n->life != life || d->failed)
        return;
    uint64_t seq = d->syncing;
    while (!list_empty(&d->queue)) {
        struct disk_write *dw = LIST_ENTRY(d->queue.next, struct disk_write, node);
        if (dw->seq > seq)
            break;
        list_remove(&dw->node);
        make_durable(n, dw, UINT32_MAX > dw->count ? dw->count + (dw->type == DISK_INSTALL) : 0);
        if (dw->type == DISK_INSTALL) {
            restore_machine(n);
            n->world->result->snapshots_installed++;
        }
        write_free(dw);
    }
    d->syncing = 0;
    replica_persisted(n->replica, node_now(n), seq);
    disk_kick(n);
    node_settle(n);
}

void disk_kick(struct node *n)
{
    struct disk_model *d = &n->disk;
    if (d->syncing != 0 || list_empty(&d->queue) || d->slow == 0 || d->failed)
        return;
    d->syncing = LIST_ENTRY(d->queue.prev, struct disk_write, node)->seq;
    world_at(n->world, rng_between(&n->rng, 50, 2000) * d->slow, sync_done, n, n->life);
}

static struct disk_write *queue_write(struct node *n, uint64_t seq, enum disk_write_type type)
{
    struct disk_write *w = xzalloc(sizeof(*w));
    w->seq = seq;
    w->type = type;
    list_push_back(&n->disk.queue, &w->node);
    return w;
}

/* --- ops: the disk --- */

static void on_save_vote(void *arg, uint64_t seq, const struct replica_vote *v)
{
    queue_write(arg, seq, DISK_VOTE)->vote = *v;
    disk_kick(arg);
}

static void on_append(void *arg, uint64_t seq, uint64_t first_index, struct entry *const *entries,
                      uint32_t count)
{
    struct disk_write *w = queue_write(arg, seq, DISK_APPEND);
    w->index = first_index;
    w->entries = xmalloc(count * sizeof(w->entries[0]));
    w->count = count;
    for (uint32_t i = 0; i < count; i++)
        w->entries[i] = entry_ref(entries[i]);
    disk_kick(arg);
}

static void on_install(void *arg, uint64_t seq, uint64_t transfer, const struct replica_snapshot *s)
{
    struct node *n = arg;
    struct disk_write *w = queue_write(n, seq, DISK_INSTALL);
    if (transfer != n->disk.received.transfer)
        world_fail(n->world,
                   "node %" PRIu64 ": transfer %" PRIu64 " installed, %" PRIu64 " received", n->id,
                   transfer, n->disk.received.transfer);
    w->index = s->index;
    w->term = s->term;
    w->transfer = transfer;
    buf_append_str(&w->meta, s->meta);
    disk_kick(n);
}

static void on_reset_log(void *arg, uint64_t seq, uint64_t index, uint64_t term)
{
    struct disk_write *w = queue_write(arg, seq, DISK_RESET);
    w->index = index;
    w->term = term;
    disk_kick(arg);
}

static void on_trim(void *arg, uint64_t first_index)
{
    struct node *n = arg;
    if (n->disk.snapshot == NULL || first_index > n->disk.snapshot->index + 1)
        world_fail(n->world, "node %" PRIu64 ": log trimmed to %" PRIu64 " beyond its snapshot",
                   n->id, first_index);
    log_trim(&n->disk, first_index);
}

struct reading {
    struct node *node;
    uint64_t life, token, index, last, offset;
    uint32_t bytes_max;
};

static void entries_read(struct world *w, void *arg, uint64_t unused)
{
    struct reading *rd = arg;
    struct node *n = rd->node;
    struct disk_model *d = &n->disk;
    UNUSED(unused);
    if (n->up && n->life == rd->life) {
        uint32_t count = 0;
        uint64_t bytes = 0;
        bool there = d->count > 0 && rd->index >= d->first && rd->index <= log_last(d);
        struct entry **at = there ? d->log + (rd->index - d->first) : NULL;
        while (there && rd->index + count <= MIN_OF(rd->last, log_last(d)) &&
               (count == 0 || bytes + at[count]->size <= rd->bytes_max))
            bytes += at[count++]->size;
        replica_entries_read(n->replica, node_now(n), rd->token, there ? 0 : E_NOT_FOUND, at,
                             count);
        node_settle(n);
    }
    UNUSED(w);
    free(rd);
}

static void on_read_entries(void *arg, uint64_t token, uint64_t first, uint64_t last,
                            uint32_t bytes_max)
{
    struct node *n = arg;
    struct reading *rd = xzalloc(sizeof(*rd));
    *rd = (struct reading){n, n->life, token, first, last, 0, bytes_max};
    world_at(n->world, rng_between(&n->rng, 50, 3000), entries_read, rd, 0);
}

/* --- ops: snapshots --- */

struct taking {
    struct node *node;
    uint64_t life;
    struct snapshot_file *file;
};

static void snapshot_taken(struct world *w, void *arg, uint64_t unused)
{
    struct taking *t = arg;
    struct node *n = t->node;
    UNUSED(unused);
    UNUSED(w);
    if (n->up && n->life == t->life) {
        uint64_t index = t->file->index;
        /* One that was installed meanwhile is newer. */
        if (n->disk.snapshot == NULL || n->disk.snapshot->index < index) {
            set_snapshot(&n->disk, t->file);
            t->file = NULL;
        }
        replica_snapshot_taken(n->replica, node_now(n), index, t->file == NULL ? 0 : E_CANCELED);
        node_settle(n);
    }
    file_free(t->file);
    free(t);
}

static void on_take_snapshot(void *arg, const struct replica_snapshot *s)
{
    struct node *n = arg;
    struct taking *t = xzalloc(sizeof(*t));
    *t = (struct taking){n, n->life, xzalloc(sizeof(struct snapshot_file))};
    t->file->index = s->index;
    t->file->term = s->term;
    buf_append_str(&t->file->meta, s->meta);
    machine_save(n->machine, &t->file->data);
    world_at(n->world, rng_between(&n->rng, 500, 40000), snapshot_taken, t, 0);
}

static void snapshot_read(struct world *w, void *arg, uint64_t unused)
{
    struct reading *rd = arg;
    struct node *n = rd->node;
    UNUSED(unused);
    UNUSED(w);
    if (n->up && n->life == rd->life) {
        struct snapshot_file *f = find_snapshot(&n->disk, rd->index);
        struct str bytes =
            f != NULL ? str_sub(buf_str(&f->data), rd->offset, rd->bytes_max) : STR_NULL;
        bool last = f != NULL && rd->offset + bytes.len >= f->data.len;
        replica_snapshot_read(n->replica, node_now(n), rd->token, f != NULL ? 0 : E_NOT_FOUND,
                              bytes, last);
        node_settle(n);
    }
    free(rd);
}

static void on_read_snapshot(void *arg, uint64_t token, uint64_t index, uint64_t offset,
                             uint32_t bytes_max)
{
    struct node *n = arg;
    struct reading *rd = xzalloc(sizeof(*rd));
    uint32_t i = 0;
    while (i < HELD_MAX && n->disk.reading[i] != index)
        i++;
    for (uint32_t j = 0; i == HELD_MAX && j < HELD_MAX; j++)
        if (n->disk.reading[j] == 0)
            n->disk.reading[i = j] = index;
    *rd = (struct reading){n, n->life, token, index, 0, offset, bytes_max};
    world_at(n->world, rng_between(&n->rng, 50, 3000), snapshot_read, rd, 0);
}

static void on_release_snapshot(void *arg, uint64_t index)
{
    struct node *n = arg;
    for (uint32_t i = 0; i < HELD_MAX; i++) {
        if (n->disk.reading[i] == index)
            n->disk.reading[i] = 0;
        if (n->disk.held[i] != NULL && n->disk.held[i]->index == index) {
            file_free(n->disk.held[i]);
            n->disk.held[i] = NULL;
        }
    }
}

static void snapshot_written(struct world *w, void *arg, uint64_t unused)
{
    struct reading *rd = arg;
    struct node *n = rd->node;
    UNUSED(unused);
    UNUSED(w);
    if (n->up && n->life == rd->life) {
        replica_snapshot_written(n->replica, node_now(n), rd->token, 0);
        node_settle(n);
    }
    free(rd);
}

static void on_write_snapshot(void *arg, uint64_t transfer, uint64_t offset, struct str bytes,
                              bool last)
{
    struct node *n = arg;
    struct received_file *f = &n->disk.received;
    struct reading *rd = xzalloc(sizeof(*rd));
    UNUSED(last);
    if (offset == 0) {
        buf_clear(&f->data);
        f->transfer = transfer;
    }
    if (f->transfer != transfer || f->data.len != offset)
        world_fail(n->world,
                   "node %" PRIu64 ": chunk of transfer %" PRIu64 " at %" PRIu64 " does not follow",
                   n->id, transfer, offset);
    buf_append_str(&f->data, bytes);
    *rd = (struct reading){n, n->life, transfer, 0, 0, 0, 0};
    world_at(n->world, 1000, snapshot_written, rd, 0); /* All the same: in order. */
}

static void on_drop_snapshot(void *arg, uint64_t transfer)
{
    struct node *n = arg;
    if (n->disk.received.transfer != transfer)
        return;
    buf_done(&n->disk.received.data);
    n->disk.received.transfer = 0;
}

/* --- ops: the rest --- */

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

static void on_apply(void *arg, const struct replica_command *c)
{
    struct node *n = arg;
    bool ok = false;
    if (!machine_apply(n->machine, c->index, c->bytes, &ok)) {
        world_fail(n->world, "node %" PRIu64 ": command of entry %" PRIu64 " is damaged", n->id,
                   c->index);
        return;
    }
    check_command(n);
    n->world->result->commands++;
    if (c->cookie != NULL)
        client_applied(n, c->cookie, ok);
}

static void on_applied(void *arg, uint64_t index)
{
    struct node *n = arg;
    machine_applied(n->machine, index);
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
    UNUSED(cookie);
    n->world->result->changes += code == 0;
    n->world->change_code = code;
    world_log(n->world, "node %" PRIu64 ": change done: %d", n->id, code);
}

static void on_changed(void *arg)
{
    UNUSED(arg);
}

static void crash_later(struct world *w, void *arg, uint64_t life)
{
    struct node *n = arg;
    UNUSED(w);
    if (n->up && n->life == life)
        node_crash(n);
}

static void on_fatal(void *arg, int code, const char *message)
{
    struct node *n = arg;
    if (!n->disk.failed)
        world_fail(n->world, "node %" PRIu64 " stops: %s (%d)", n->id, message, code);
    world_at(n->world, 0, crash_later, n, n->life);
}

static const struct replica_ops node_ops = {
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

/* --- life --- */

static void tick(struct world *w, void *arg, uint64_t timer)
{
    struct node *n = arg;
    UNUSED(w);
    if (!n->up || n->timer != timer)
        return;
    replica_tick(n->replica, node_now(n));
    node_settle(n);
}

void node_settle(struct node *n)
{
    uint32_t rounds = 0;
    while (replica_run(n->replica, node_now(n)))
        if (++rounds > 1000) {
            world_fail(n->world, "node %" PRIu64 ": replica_run() does not come to rest", n->id);
            return;
        }
    check_node(n);
    uint64_t due = replica_deadline(n->replica), now = node_now(n);
    if (due == UINT64_MAX)
        return;
    uint64_t wait_ms = due > now ? due - now : 0;
    world_at(n->world, wait_ms * 1000 * 1000 / n->rate_per_mille + 1000, tick, n, ++n->timer);
}

void node_deliver(struct node *n, uint64_t from, struct str bytes)
{
    if (replica_receive(n->replica, node_now(n), from, bytes) != 0)
        world_fail(n->world, "node %" PRIu64 ": a message of %" PRIu64 " does not decode", n->id,
                   from);
    node_settle(n);
}

void node_create(struct world *w, uint32_t i, uint64_t id, bool founder)
{
    struct node *n = &w->nodes[i];
    *n = (struct node){.world = w, .id = id, .exists = true, .founder = founder};
    n->rng.state = rng_next(&w->rng);
    n->rate_per_mille =
        (uint32_t)rng_between(&w->rng, 1000 - w->rate_spread, 1000 + w->rate_spread);
    n->clock_offset_ms = rng_below(&w->rng, 1000000);
    list_init(&n->disk.queue);
    n->disk.slow = 1;
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

static int recover(struct node *n, struct error *err)
{
    struct disk_model *d = &n->disk;
    if (d->snapshot != NULL) {
        struct replica_snapshot s = {d->snapshot->index, d->snapshot->term,
                                     buf_str(&d->snapshot->meta)};
        int rc = replica_recover_snapshot(n->replica, &s, err);
        if (rc != 0)
            return rc;
    }
    for (uint32_t i = 0; i < d->count; i++) {
        /* As read from a disk: an entry of its own. */
        struct entry *e =
            entry_new(d->log[i]->type, d->log[i]->index, d->log[i]->term, d->log[i]->size);
        memcpy(e->data, d->log[i]->data, e->size);
        int rc = replica_recover_entry(n->replica, e, err);
        entry_unref(e);
        if (rc != 0)
            return rc;
    }
    struct members m;
    founders(n->world, &m);
    int rc = replica_start(n->replica, node_now(n), d->has_vote ? &d->vote : NULL,
                           n->founder ? &m : NULL, err);
    members_done(&m);
    return rc;
}

void node_start(struct node *n)
{
    struct replica_config c = n->world->config;
    struct error err = {0};
    c.id = n->id;
    c.seed = (uint32_t)rng_next(&n->rng) | 1;
    c.boot = ++n->disk.boot;
    c.guards_off = n->world->options.guards_off;
    c.ops = &node_ops;
    c.arg = n;
    n->up = true;
    n->life++;
    n->disk.failed = false;
    machine_free(n->machine);
    n->machine = machine_new();
    restore_machine(n);
    n->checked_commit = 0;
    world_log(n->world, "node %" PRIu64 " starts: log %" PRIu64 "..%" PRIu64 ", snapshot %" PRIu64,
              n->id, n->disk.first, log_last(&n->disk),
              n->disk.snapshot != NULL ? n->disk.snapshot->index : 0);
    int rc = replica_new(&c, &n->replica, &err);
    if (rc == 0)
        rc = recover(n, &err);
    if (rc != 0) {
        world_fail(n->world, "node %" PRIu64 " does not start: %s", n->id, error_message(&err));
        return;
    }
    node_settle(n);
}

/* What was not synced: a random prefix reached the platter. */
static void lose_writes(struct node *n)
{
    struct disk_model *d = &n->disk;
    bool lost = false;
    while (!list_empty(&d->queue)) {
        struct disk_write *w = LIST_ENTRY(list_pop_front(&d->queue), struct disk_write, node);
        if (!lost && rng_chance(&n->rng, 500)) {
            uint32_t whole = w->type == DISK_INSTALL ? 1 : w->count;
            uint32_t part =
                rng_chance(&n->rng, 300) ? (uint32_t)rng_below(&n->rng, whole + 1) : whole;
            lost = part < whole;
            if (w->type != DISK_INSTALL || n->disk.received.transfer == w->transfer)
                make_durable(n, w, part);
        } else {
            lost = true;
        }
        write_free(w);
    }
    d->syncing = 0;
    buf_done(&d->received.data);
    d->received.transfer = 0;
    for (uint32_t i = 0; i < HELD_MAX; i++) {
        file_free(d->held[i]);
        d->held[i] = NULL;
        d->reading[i] = 0;
    }
}

void node_crash(struct node *n)
{
    world_log(n->world, "node %" PRIu64 " crashes", n->id);
    n->up = false;
    replica_free(n->replica);
    n->replica = NULL;
    lose_writes(n);
    n->world->result->crashes++;
}

void node_destroy(struct node *n)
{
    replica_free(n->replica);
    machine_free(n->machine);
    if (n->exists) {
        while (!list_empty(&n->disk.queue))
            write_free(LIST_ENTRY(list_pop_front(&n->disk.queue), struct disk_write, node));
        lose_writes(n);
    }
    log_cut(&n->disk, n->disk.first);
    free(n->disk.log);
    file_free(n->disk.snapshot);
}
