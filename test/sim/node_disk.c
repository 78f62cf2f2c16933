/* node_disk.c - a member's log thread: takes the replica's writes in order, stages
 * them, syncs the real log, answers; and what of it is known to be durable.
 *
 * A sync takes simulated time; at its end the log's calls to the disk happen at
 * once. A crash may let any part of what was not synced through. */
#include "sim.h"
#include "disk_sim.h"

#include "lib/base/error.h"
#include "raftstore/log_internal.h"

#include <inttypes.h>

#define RETRY_US (500 * US_PER_MS)
#define GIVE_UP_US (2000 * US_PER_MS)
#define MARK_US (1000 * US_PER_MS)
#define RESERVE_BYTES (48u << 10) /* Less room than this raises the alarm. */

struct entry *entry_copy(const void *data, uint32_t len, uint8_t kind, uint64_t index,
                         uint64_t term)
{
    struct entry *e = entry_new((enum entry_type)kind, index, term, len);
    if (len > 0)
        memcpy(e->data, data, len);
    return e;
}

/* --- what is durable --- */

void durable_done(struct durable *d)
{
    free(d->terms);
}

static uint64_t durable_last(const struct durable *d)
{
    return d->first + d->count - 1;
}

static void durable_reset(struct durable *d, uint64_t index)
{
    d->first = index + 1;
    d->count = 0;
}

static void durable_append(struct node *n, const struct entry *e)
{
    struct durable *d = &n->disk.durable;
    if (e->index <= durable_last(d))
        d->count = e->index > d->first ? (uint32_t)(e->index - d->first) : 0;
    if (d->count == 0 && e->index < d->first)
        d->first = e->index;
    if (e->index != durable_last(d) + 1) {
        world_fail(n->world, "node %" PRIu64 ": entry %" PRIu64 " written behind %" PRIu64, n->id,
                   e->index, durable_last(d));
        return;
    }
    if (d->count == d->cap) {
        d->cap = d->cap == 0 ? 64 : d->cap * 2;
        d->terms = xrealloc(d->terms, d->cap * sizeof(d->terms[0]));
    }
    d->terms[d->count++] = e->term;
}

static void durable_trim(struct durable *d, uint64_t first)
{
    uint32_t gone = (uint32_t)(first > d->first ? MIN_OF(first - d->first, (uint64_t)d->count) : 0);
    memmove(d->terms, d->terms + gone, (d->count - gone) * sizeof(d->terms[0]));
    d->count -= gone;
    d->first += gone;
}

bool disk_has(const struct node_disk *disk, uint64_t index, uint64_t term)
{
    const struct durable *d = &disk->durable;
    if (d->snapshot_index >= index)
        return true;
    return d->count > 0 && index >= d->first && index <= durable_last(d) &&
           d->terms[index - d->first] == term;
}

static void note_durable(struct node *n, const struct disk_write *w)
{
    struct durable *d = &n->disk.durable;
    switch (w->type) {
    case DISK_VOTE:
        d->vote = w->vote;
        break;
    case DISK_APPEND:
        for (uint32_t i = 0; i < w->count; i++)
            durable_append(n, w->entries[i]);
        break;
    case DISK_INSTALL:
        d->snapshot_index = MAX_OF(d->snapshot_index, w->index);
        durable_reset(d, w->index);
        break;
    case DISK_RESET:
        durable_reset(d, w->index);
        break;
    }
}

static void note_lost(struct durable *d, const struct disk_write *w)
{
    if (w->type == DISK_VOTE)
        d->lost_vote = w->vote;
    else if (w->type == DISK_APPEND)
        d->lost_low = MIN_OF(d->lost_low, w->index);
    else
        d->lost_reset = true;
}

static bool votes_equal(const struct replica_vote *a, const struct replica_vote *b)
{
    return a->term == b->term && a->voted_for == b->voted_for;
}

void durable_check(struct node *n, uint64_t first, uint64_t count, const uint64_t *terms,
                   const struct replica_vote *vote, uint64_t snapshot_index)
{
    struct durable *d = &n->disk.durable;
    struct world *w = n->world;
    if (vote->term < d->vote.term ||
        (vote->term == d->vote.term && d->vote.voted_for != 0 && !votes_equal(vote, &d->vote) &&
         !votes_equal(vote, &d->lost_vote)))
        world_fail(w,
                   "node %" PRIu64 ": vote %" PRIu64 " of term %" PRIu64 " was durable, %" PRIu64
                   " of term %" PRIu64 " is left",
                   n->id, d->vote.voted_for, d->vote.term, vote->voted_for, vote->term);
    if (snapshot_index < d->snapshot_index && !n->disk.rotten)
        world_fail(w, "node %" PRIu64 ": snapshot %" PRIu64 " was durable, %" PRIu64 " is left",
                   n->id, d->snapshot_index, snapshot_index);
    for (uint64_t i = d->first; i <= durable_last(d) && !d->lost_reset; i++) {
        bool there = i >= first && i < first + count && terms[i - first] == d->terms[i - d->first];
        if (there || i >= d->lost_low || i <= snapshot_index)
            continue;
        world_fail(w,
                   "node %" PRIu64 ": entry %" PRIu64 " of term %" PRIu64
                   " was durable and is not there any more",
                   n->id, i, d->terms[i - d->first]);
        return;
    }
    free(d->terms);
    *d = (struct durable){.vote = *vote,
                          .first = first,
                          .count = (uint32_t)count,
                          .cap = (uint32_t)count,
                          .terms = xmemdup(terms, (count + 1) * sizeof(terms[0])),
                          .snapshot_index = MAX_OF(snapshot_index, d->snapshot_index),
                          .lost_low = UINT64_MAX};
}

/* --- the queue --- */

struct disk_write *disk_queue(struct node *n, uint64_t seq, enum disk_write_type type)
{
    struct disk_write *w = xzalloc(sizeof(*w));
    w->seq = seq;
    w->type = type;
    list_push_back(&n->disk.queue, &w->node);
    return w;
}

void disk_write_free(struct disk_write *w)
{
    for (uint32_t i = 0; i < w->count; i++)
        entry_unref(w->entries[i]);
    free(w->entries);
    buf_done(&w->meta);
    free(w);
}

static struct disk_write *first_of(struct list *l)
{
    return list_empty(l) ? NULL : LIST_ENTRY(l->next, struct disk_write, node);
}

static void stage_one(struct node *n, struct disk_write *w)
{
    struct log *l = n->disk.log;
    switch (w->type) {
    case DISK_VOTE:
        if (!(n->world->options.breaks & BREAK_VOTE_UNSAVED))
            log_set_vote(l, w->vote.term, w->vote.voted_for);
        break;
    case DISK_APPEND:
        for (uint32_t i = 0; i < w->count; i++) {
            const struct entry *e = w->entries[i];
            log_append(l,
                       &(struct log_entry){.index = e->index,
                                           .term = e->term,
                                           .kind = (uint8_t)e->type,
                                           .data = e->data,
                                           .len = e->size},
                       1);
        }
        break;
    case DISK_RESET:
        log_reset(l, w->index, w->term);
        break;
    case DISK_INSTALL: /* The log is emptied once the file has its name. */
        break;
    }
}

/* An install goes alone. */
static void stage(struct node *n)
{
    struct node_disk *d = &n->disk;
    struct disk_write *w;
    while ((w = first_of(&d->queue)) != NULL) {
        if (w->type == DISK_INSTALL && !list_empty(&d->staged))
            break;
        list_remove(&w->node);
        list_push_back(&d->staged, &w->node);
        d->syncing = w->seq;
        stage_one(n, w);
        if (w->type == DISK_INSTALL)
            break;
    }
}

/* --- syncing --- */

/* What is staged reaches the disk, an install in its steps. */
static int write_staged(struct node *n, struct error *err)
{
    struct node_disk *d = &n->disk;
    struct disk_write *w = first_of(&d->staged);
    if (w != NULL && w->type == DISK_INSTALL && !w->committed) {
        int rc = bulk_commit(n, w);
        if (rc != 0)
            return rc;
        w->committed = true;
        n->disk.durable.lost_snapshot = w->index;
        log_reset(d->log, w->index, w->term);
        log_trim(d->log, w->index);
    }
    uint64_t segment = d->log->segment_count > 0 ? log_last(d->log)->number : 0;
    uint64_t end = d->log->segment_count > 0 ? log_last(d->log)->end : 0;
    bool wrote = log_staged_bytes(d->log) > 0;
    int rc = log_sync(d->log, err);
    if (rc == 0 && wrote) {
        bool same = log_last(d->log)->number == segment;
        d->tail_segment = log_last(d->log)->number;
        d->tail_at = same ? end : LOG_SEGMENT_HEADER_BYTES;
        d->tail_marked = false;
    }
    return rc;
}

static void mark_idle(struct world *w, void *arg, uint64_t mark)
{
    struct node *n = arg;
    UNUSED(w);
    if (!n->up || n->disk.mark != mark || n->disk.failed || node_paused(n, mark_idle, n, mark))
        return;
    log_mark(n->disk.log); /* Not synced: a crash may take it back. */
    node_settle(n);
}

void disk_stop(struct node *n)
{
    struct log *l = n->disk.log;
    log_mark(l);
    n->disk.tail_marked = l->seq > l->durable_seq + 1; /* Else it had no room. */
    log_close(l);
    n->disk.log = NULL;
}

static void check_space(struct node *n)
{
    struct disk *base = sim_disk_base(n->disk.sim);
    int64_t left = base->ops->free_bytes(base, "data");
    uint64_t want = RESERVE_BYTES + (n->disk.low_space ? RESERVE_BYTES / 4 : 0);
    n->disk.low_space = left >= 0 && (uint64_t)left < want;
}

/* Looks again while nothing is written, as the log thread does. */
static void watch_space(struct world *w, void *arg, uint64_t mark)
{
    struct node *n = arg;
    if (!n->up || n->disk.mark != mark || n->disk.failed || node_paused(n, watch_space, n, mark))
        return;
    check_space(n);
    if (n->disk.low_space)
        world_at(w, MARK_US, watch_space, n, mark);
    else
        node_settle(n);
}

static void sync_done(struct world *w, void *arg, uint64_t life);

static void sync_failed(struct node *n, int rc, const char *why)
{
    struct node_disk *d = &n->disk;
    struct world *w = n->world;
    if (d->failing_since_us == 0)
        d->failing_since_us = w->now_us;
    if (rc == E_NO_SPACE)
        d->low_space = true;
    if (rc != E_NO_SPACE && w->now_us - d->failing_since_us >= GIVE_UP_US) {
        world_log(w, "node %" PRIu64 ": the disk fails: %s", n->id, why);
        d->failed = true;
        replica_disk_failed(n->replica, node_now(n), rc, why);
    } else {
        world_at(w, RETRY_US, sync_done, n, n->life);
    }
    node_settle(n);
}

/* Everything staged is durable. */
static void staged_done(struct node *n)
{
    struct node_disk *d = &n->disk;
    struct disk_write *w;
    while ((w = first_of(&d->staged)) != NULL) {
        list_remove(&w->node);
        note_durable(n, w);
        if (w->type == DISK_INSTALL)
            bulk_installed(n, w);
        disk_write_free(w);
    }
}

static void sync_done(struct world *w, void *arg, uint64_t life)
{
    struct node *n = arg;
    struct node_disk *d = &n->disk;
    struct error err = {0};
    if (!n->up || n->life != life || d->failed || node_paused(n, sync_done, n, life))
        return;
    int rc = write_staged(n, &err);
    if (rc == E_IO && !sim_disk_dead(d->sim)) /* Once more at once, in a new segment. */
        rc = write_staged(n, &err);
    if (sim_disk_dead(d->sim)) {
        node_settle(n);
        return;
    }
    if (rc != 0) {
        sync_failed(n, rc, error_message(&err));
        return;
    }
    d->failing_since_us = 0;
    uint64_t seq = d->syncing;
    d->syncing = 0;
    staged_done(n);
    check_space(n);
    replica_persisted(n->replica, node_now(n), seq);
    world_at(w, MARK_US, mark_idle, n, ++d->mark);
    if (d->low_space)
        world_at(w, MARK_US, watch_space, n, d->mark);
    disk_kick(n);
    node_settle(n);
}

static void acknowledge_early(struct world *w, void *arg, uint64_t life)
{
    struct node *n = arg;
    struct disk_write *last =
        list_empty(&n->disk.queue) ? NULL : LIST_ENTRY(n->disk.queue.prev, struct disk_write, node);
    UNUSED(w);
    if (!n->up || n->life != life)
        return;
    uint64_t seq = last != NULL ? last->seq : n->disk.syncing;
    LIST_FOREACH (it, &n->disk.queue)
        if (LIST_ENTRY(it, struct disk_write, node)->type == DISK_INSTALL)
            return;
    if (seq != 0)
        replica_persisted(n->replica, node_now(n), seq);
    node_settle(n);
}

void disk_kick(struct node *n)
{
    struct node_disk *d = &n->disk;
    if (n->world->options.breaks & BREAK_ACK_BEFORE_SYNC)
        world_at(n->world, 10, acknowledge_early, n, n->life);
    if (d->syncing != 0 || list_empty(&d->queue) || d->slow == 0 || d->failed)
        return;
    stage(n);
    world_at(n->world, rng_between(&n->rng, 50, 2000) * d->slow, sync_done, n, n->life);
}

bool disk_unsynced(const struct node *n, bool votes)
{
    const struct list *lists[] = {&n->disk.staged, &n->disk.queue};
    for (uint32_t i = 0; i < ARRAY_SIZE(lists); i++)
        LIST_FOREACH (it, lists[i])
            if (!votes || LIST_ENTRY(it, struct disk_write, node)->type == DISK_VOTE)
                return true;
    return false;
}

/* --- the crash --- */

static void lose(struct node *n, struct list *l)
{
    struct disk_write *w;
    while ((w = first_of(l)) != NULL) {
        list_remove(&w->node);
        note_lost(&n->disk.durable, w);
        disk_write_free(w);
    }
}

/* The log thread may have been anywhere: in the sync under way, or in the one
 * behind it. Nobody was told how far it came. */
void disk_lose(struct node *n)
{
    struct node_disk *d = &n->disk;
    bool writes = d->log != NULL && !sim_disk_dead(d->sim) && !list_empty(&d->queue);
    writes |= d->log != NULL && !sim_disk_dead(d->sim) && d->syncing != 0;
    if (writes && !d->failed && rng_chance(&n->rng, 600)) {
        sim_disk_stop_after(d->sim, rng_below(&n->rng, 10));
        if (d->syncing == 0)
            stage(n);
        int rc = write_staged(n, NULL);
        struct disk_write *w = first_of(&d->staged);
        if (rc == 0 && (w == NULL || w->type != DISK_INSTALL)) {
            lose(n, &d->staged);
            stage(n);
            (void)write_staged(n, NULL);
        }
    }
    lose(n, &d->staged);
    lose(n, &d->queue);
    d->syncing = 0;
    d->mark++;
}

/* --- trimming and reading --- */

void disk_trim(struct node *n, uint64_t first_index)
{
    if (first_index > n->disk.durable.snapshot_index + 1)
        world_fail(n->world, "node %" PRIu64 ": log trimmed to %" PRIu64 " beyond its snapshot",
                   n->id, first_index);
    log_trim(n->disk.log, first_index - 1);
    durable_trim(&n->disk.durable, first_index);
}

struct reading {
    struct node *node;
    uint64_t life, token, index, last;
    uint32_t bytes_max;
};

static void entries_read(struct world *w, void *arg, uint64_t unused)
{
    struct reading *rd = arg;
    struct node *n = rd->node;
    UNUSED(w);
    UNUSED(unused);
    if (n->up && n->life == rd->life && !sim_disk_dead(n->disk.sim)) {
        struct log_read got = {0};
        struct entry **entries = NULL;
        uint32_t count = 0;
        int rc = log_read(n->disk.log, rd->index, rd->bytes_max, &got, NULL);
        if (rc == 0) {
            uint64_t want = rd->last - rd->index + 1;
            entries = xzalloc((got.count + 1) * sizeof(entries[0]));
            for (; count < got.count && count < want; count++) {
                const struct log_entry *e = &got.entries[count];
                entries[count] = entry_copy(e->data, e->len, e->kind, e->index, e->term);
            }
            log_read_done(&got);
        }
        if (!sim_disk_dead(n->disk.sim))
            replica_entries_read(n->replica, node_now(n), rd->token, rc, entries, count);
        for (uint32_t i = 0; i < count; i++)
            entry_unref(entries[i]);
        free(entries);
        node_settle(n);
    }
    free(rd);
}

void disk_read(struct node *n, uint64_t token, uint64_t first, uint64_t last, uint32_t bytes_max)
{
    struct reading *rd = xzalloc(sizeof(*rd));
    *rd = (struct reading){n, n->life, token, first, last, bytes_max};
    world_at_owned(n->world, rng_between(&n->rng, 50, 3000), entries_read, rd);
}
