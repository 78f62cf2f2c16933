/* node_bulk.c - a member's snapshot thread: snapshots taken, sent, received and
 * installed, in the real files. */
#include "sim.h"
#include "disk_sim.h"

#include "lib/base/error.h"
#include "raftstore/mvcc_snapshot.h"
#include "raftstore/snapshot_file.h"

#include <inttypes.h>

#define PIECE_BYTES 777               /* Any size will do. */
#define TAG_TAKEN (UINT64_C(1) << 63) /* Temporary names apart from those of transfers. */

/* --- taking --- */

struct taking {
    struct node *node;
    uint64_t life;
    uint64_t index, term;
    size_t meta; /* How much of the bytes is description; the rest is data. */
    size_t len;
    uint8_t bytes[];
};

static int write_snapshot(struct node *n, const struct taking *t)
{
    struct snapshot_writer *sw = NULL;
    struct error err = {0};
    int rc = snapshot_writer_new(n->disk.dir, TAG_TAKEN | t->index, &sw, &err);
    for (size_t at = t->meta; rc == 0 && at < t->len; at += PIECE_BYTES)
        rc = snapshot_writer_append(sw, t->bytes + at, MIN_OF(t->len - at, (size_t)PIECE_BYTES),
                                    &err);
    if (rc == 0)
        rc = snapshot_writer_commit(sw, t->index, t->term, str_n((const char *)t->bytes, t->meta),
                                    &err);
    snapshot_writer_free(sw);
    return rc;
}

static void snapshot_taken(struct world *w, void *arg, uint64_t unused)
{
    struct taking *t = arg;
    struct node *n = t->node;
    UNUSED(unused);
    if (n->up && n->life == t->life && w->now_us < n->paused_until_us) {
        world_at_owned(w, n->paused_until_us - w->now_us, snapshot_taken, t);
        return;
    }
    if (n->up && n->life == t->life && !sim_disk_dead(n->disk.sim)) {
        int rc = write_snapshot(n, t);
        if (!sim_disk_dead(n->disk.sim)) {
            if (rc == 0)
                n->disk.durable.snapshot_index = MAX_OF(n->disk.durable.snapshot_index, t->index);
            replica_snapshot_taken(n->replica, node_now(n), t->index, rc);
        }
        node_settle(n);
    }
    free(t);
}

void bulk_take(struct node *n, const struct replica_snapshot *s)
{
    AUTO_BUF data = BUF_INIT;
    uint8_t piece[PIECE_BYTES];
    size_t got;
    buf_append_str(&data, s->meta);
    mvcc_applied(n->machine->mvcc, s->index);
    struct mvcc_snapshot *ms = mvcc_snapshot_new(n->machine->mvcc, node_now(n));
    while ((got = mvcc_snapshot_read(ms, piece, sizeof(piece))) > 0)
        buf_append(&data, piece, got);
    mvcc_snapshot_free(ms);
    struct taking *t = xmalloc(sizeof(*t) + data.len);
    *t = (struct taking){n, n->life, s->index, s->term, s->meta.len, data.len};
    memcpy(t->bytes, data.data, data.len);
    world_at_owned(n->world, rng_between(&n->rng, 500, 40000), snapshot_taken, t);
}

/* --- sending --- */

struct piece {
    struct node *node;
    uint64_t life, token, index, offset;
    uint32_t bytes_max;
    int code;
};

static int read_piece(struct node *n, const struct piece *p, struct buf *out, bool *ret_last)
{
    uint32_t i = 0;
    while (i < SENDING_MAX && n->disk.sending[i].index != p->index)
        i++;
    if (i == SENDING_MAX) {
        for (i = 0; i < SENDING_MAX - 1 && n->disk.sending[i].file != NULL;)
            i++;
        int rc = snapshot_file_open(n->disk.dir, p->index, &n->disk.sending[i].file, NULL);
        if (rc != 0)
            return rc;
        n->disk.sending[i].index = p->index;
    }
    struct snapshot_file *f = n->disk.sending[i].file;
    size_t len = 0;
    int rc =
        snapshot_file_read(f, p->offset, buf_reserve(out, p->bytes_max), p->bytes_max, &len, NULL);
    buf_commit(out, len);
    *ret_last = p->offset + len >= snapshot_file_info(f)->data_bytes;
    return rc;
}

static void snapshot_read(struct world *w, void *arg, uint64_t unused)
{
    struct piece *p = arg;
    struct node *n = p->node;
    UNUSED(w);
    UNUSED(unused);
    if (n->up && n->life == p->life && !sim_disk_dead(n->disk.sim)) {
        AUTO_BUF bytes = BUF_INIT;
        bool last = false;
        int rc = read_piece(n, p, &bytes, &last);
        if (!sim_disk_dead(n->disk.sim))
            replica_snapshot_read(n->replica, node_now(n), p->token, rc, buf_str(&bytes), last);
        node_settle(n);
    }
    free(p);
}

void bulk_read(struct node *n, uint64_t token, uint64_t index, uint64_t offset, uint32_t max)
{
    struct piece *p = xzalloc(sizeof(*p));
    *p = (struct piece){n, n->life, token, index, offset, max, 0};
    world_at_owned(n->world, rng_between(&n->rng, 50, 3000), snapshot_read, p);
}

void bulk_release(struct node *n, uint64_t index)
{
    for (uint32_t i = 0; i < SENDING_MAX; i++) {
        if (n->disk.sending[i].file == NULL || n->disk.sending[i].index != index)
            continue;
        snapshot_file_close(n->disk.sending[i].file);
        n->disk.sending[i].file = NULL;
        n->disk.sending[i].index = 0;
    }
}

/* --- receiving --- */

static void drop_received(struct node *n)
{
    snapshot_writer_free(n->disk.receiving.writer);
    mvcc_restore_free(n->disk.receiving.restore);
    n->disk.receiving.writer = NULL;
    n->disk.receiving.restore = NULL;
    n->disk.receiving.transfer = 0;
}

static void snapshot_written(struct world *w, void *arg, uint64_t unused)
{
    struct piece *p = arg;
    struct node *n = p->node;
    UNUSED(unused);
    UNUSED(w);
    if (n->up && n->life == p->life && !sim_disk_dead(n->disk.sim)) {
        replica_snapshot_written(n->replica, node_now(n), p->token, p->code);
        node_settle(n);
    }
    free(p);
}

static int write_piece(struct node *n, uint64_t transfer, uint64_t offset, struct str bytes,
                       bool last)
{
    struct node_disk *d = &n->disk;
    if (offset == 0) {
        drop_received(n);
        int rc = snapshot_writer_new(d->dir, transfer, &d->receiving.writer, NULL);
        if (rc != 0)
            return rc;
        d->receiving.transfer = transfer;
        d->receiving.restore = mvcc_restore_new();
    }
    if (d->receiving.transfer != transfer)
        return E_INVALID; /* Its beginning could not be written. */
    if (snapshot_writer_bytes(d->receiving.writer) != offset)
        world_fail(n->world,
                   "node %" PRIu64 ": chunk of transfer %" PRIu64 " at %" PRIu64 " does not follow",
                   n->id, transfer, offset);
    int rc = snapshot_writer_append(d->receiving.writer, bytes.data, bytes.len, NULL);
    if (rc == 0)
        rc = mvcc_restore_feed(d->receiving.restore, bytes, NULL);
    if (rc == 0 && last)
        rc = mvcc_restore_finish(d->receiving.restore, NULL);
    return rc;
}

void bulk_write(struct node *n, uint64_t transfer, uint64_t offset, struct str bytes, bool last)
{
    struct piece *p = xzalloc(sizeof(*p));
    *p = (struct piece){n, n->life, transfer, 0, 0, 0, 0};
    p->code = write_piece(n, transfer, offset, bytes, last);
    if (p->code != 0)
        drop_received(n);
    world_at_owned(n->world, 1000, snapshot_written, p); /* All the same: in order. */
}

void bulk_drop(struct node *n, uint64_t transfer)
{
    if (n->disk.receiving.transfer == transfer)
        drop_received(n);
}

/* --- installing --- */

int bulk_commit(struct node *n, const struct disk_write *w)
{
    struct node_disk *d = &n->disk;
    if (d->receiving.transfer != w->transfer || d->receiving.writer == NULL) {
        world_fail(n->world,
                   "node %" PRIu64 ": transfer %" PRIu64 " is installed, %" PRIu64 " was received",
                   n->id, w->transfer, d->receiving.transfer);
        return E_INTERNAL;
    }
    return snapshot_writer_commit(d->receiving.writer, w->index, w->term, buf_str(&w->meta), NULL);
}

/* What the members know of the state at an index is the same for all. */
static void take_over(struct node *n, uint64_t index)
{
    struct world *w = n->world;
    n->machine->commands = index < w->index_cap ? w->indexes[index].commands : 0;
    n->machine->hash = w->positions[n->machine->commands].hash;
    if (index >= w->index_cap || !w->indexes[index].known)
        world_fail(w, "node %" PRIu64 ": snapshot of %" PRIu64 ", which nobody applied", n->id,
                   index);
}

void bulk_installed(struct node *n, const struct disk_write *w)
{
    struct mvcc *m = n->machine->mvcc;
    int64_t before = mvcc_rev(m);
    mvcc_restore_commit(take(n->disk.receiving.restore), m, node_now(n));
    mvcc_publish(m, node_now(n));
    drop_received(n);
    take_over(n, w->index);
    n->world->result->snapshots_installed++;
    watchers_installed(n, before);
    check_applied(n, w->index);
}

/* --- starting and ending --- */

static int load(struct node *n, uint64_t index, struct error *err)
{
    struct snapshot_file *f = NULL;
    struct mvcc_restore *r = mvcc_restore_new();
    uint8_t piece[PIECE_BYTES];
    int rc = snapshot_file_open(n->disk.dir, index, &f, err);
    uint64_t size = rc == 0 ? snapshot_file_info(f)->data_bytes : 0;
    for (uint64_t at = 0; rc == 0 && at < size;) {
        size_t len = 0;
        rc = snapshot_file_read(f, at, piece, sizeof(piece), &len, err);
        if (rc == 0)
            rc = mvcc_restore_feed(r, str_n((char *)piece, len), err);
        at += len;
    }
    if (rc == 0)
        rc = mvcc_restore_finish(r, err);
    if (rc == 0)
        mvcc_restore_commit(take(r), n->machine->mvcc, node_now(n));
    mvcc_restore_free(r);
    if (rc == 0) {
        const struct snapshot_info *info = snapshot_file_info(f);
        struct replica_snapshot s = {info->index, info->term, info->meta};
        rc = replica_recover_snapshot(n->replica, &s, err);
    }
    snapshot_file_close(f);
    return rc;
}

/* As store_open(): the newest that can be read and that the log continues. */
int bulk_recover(struct node *n, uint64_t log_first, uint64_t *ret_index, struct error *err)
{
    struct snapshot_dir_config c = {sim_disk_base(n->disk.sim), "data/snapshots", 1, false};
    uint64_t indexes[SNAPSHOT_KEEP + 2];
    int rc = snapshot_dir_open(&c, &n->disk.dir, err);
    if (rc != 0)
        return rc;
    size_t count = snapshot_dir_list(n->disk.dir, indexes, ARRAY_SIZE(indexes));
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && indexes[i] + 1 < log_first)
            break;
        rc = load(n, indexes[i], err);
        if (rc == 0) {
            mvcc_publish(n->machine->mvcc, node_now(n));
            take_over(n, indexes[i]);
            *ret_index = indexes[i];
            return 0;
        }
        if (rc != E_CORRUPT && rc != E_NOT_FOUND)
            return rc;
    }
    return count > 0 ? E_CORRUPT : 0;
}

void bulk_close(struct node *n)
{
    for (uint32_t i = 0; i < SENDING_MAX; i++)
        bulk_release(n, n->disk.sending[i].index);
    drop_received(n);
    snapshot_dir_close(n->disk.dir);
    n->disk.dir = NULL;
}
