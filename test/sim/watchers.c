/* watchers.c - watches on simulated members, held against the committed history.
 *
 * A watcher reads batches of a member's event log, now and then, moves to another
 * member or is moved by a crash, and resumes from the last revision it has seen.
 *
 *   ordered, unique, reliable   each batch is of the revision behind the last one
 *   atomic                      a batch holds all of its revision, as the model has it
 *   resumable                   a new cursor on any member goes on without gap
 *   bookmarkable                a drained cursor's revision is neither behind what
 *                               the member shows nor ahead of what was delivered
 *
 * Being told that history is gone is right only below the compacted revision;
 * then the watcher reads everything at one revision and goes on from there. */
#include "sim.h"

#include "lib/base/error.h"

#include <inttypes.h>

struct watcher {
    struct world *world;
    uint32_t number;
    struct node *node; /* NULL: between members. */
    struct mvcc_cursor *cursor;
    int64_t rev;    /* Everything up to here was delivered. */
    bool by_wakeup; /* Reads only when told that there is something. */
    bool woken;
    uint64_t turn;    /* Counts schedulings: only the newest one is run. */
    uint64_t slow_ms; /* Longest pause between reads. */
    uint32_t batches_max;
};

#define WATCHERS_MAX 12

struct watchers {
    struct watcher items[WATCHERS_MAX];
    uint32_t count;
};

static void turn(struct world *w, void *arg, uint64_t number);

static void schedule(struct watcher *x, uint64_t us)
{
    world_at(x->world, us, turn, x, ++x->turn);
}

/* Runs inside the member's publishing: only posts. */
static void on_ready(void *arg)
{
    struct watcher *x = arg;
    x->woken = true;
    if (x->by_wakeup)
        schedule(x, rng_below(&x->world->rng, 2 * US_PER_MS));
}

static void leave(struct watcher *x)
{
    mvcc_cursor_free(x->cursor);
    x->cursor = NULL;
    x->node = NULL;
    x->woken = false;
}

/* --- what must hold --- */

static bool event_fits(const struct event *e, const struct event *want, int64_t compacted)
{
    bool fits = event_type(e) == event_type(want) && kvs_equal(e->kv, want->kv);
    if (e->prev == NULL || want->prev == NULL) /* Compaction may have taken the one before. */
        return fits && (e->prev == want->prev || (e->prev == NULL && e->kv->mod_rev <= compacted));
    return fits && kvs_equal(e->prev, want->prev);
}

static void check_batch(struct watcher *x, const struct event_batch *b)
{
    struct world *w = x->world;
    const struct event_batch *want = model_events(w->model, b->rev);
    int64_t compacted = mvcc_compacted(x->node->machine->mvcc);
    w->result->watched++;
    if (b->rev != x->rev + 1) {
        world_fail(w, "watcher %u on node %" PRIu64 ": revision %" PRId64 " follows %" PRId64,
                   x->number, x->node->id, b->rev, x->rev);
        return;
    }
    bool same = want != NULL && want->count == b->count;
    for (uint32_t i = 0; same && i < b->count; i++)
        same = event_fits(&b->events[i], &want->events[i], compacted);
    if (!same)
        world_fail(w,
                   "watcher %u on node %" PRIu64 ": revision %" PRId64
                   " has other events than were committed",
                   x->number, x->node->id, b->rev);
    x->rev = b->rev;
}

/* Nothing is left to read: what does the cursor say about itself? */
static void check_drained(struct watcher *x)
{
    struct world *w = x->world;
    struct mvcc_view *v = mvcc_view(x->node->machine->mvcc);
    int64_t shown = mvcc_view_rev(v), said = mvcc_cursor_rev(x->cursor);
    mvcc_view_unref(v);
    if (shown > x->rev)
        world_fail(w,
                   "watcher %u on node %" PRIu64 ": has %" PRId64
                   " and nothing to read, the member shows %" PRId64,
                   x->number, x->node->id, x->rev, shown);
    else if (said != x->rev)
        world_fail(w,
                   "watcher %u on node %" PRIu64 ": bookmark %" PRId64 " after revision %" PRId64,
                   x->number, x->node->id, said, x->rev);
}

/* Asleep, with everything read: then nothing may have come since. */
static void check_not_missed(struct watcher *x)
{
    struct mvcc_view *v = mvcc_view(x->node->machine->mvcc);
    int64_t shown = mvcc_view_rev(v);
    mvcc_view_unref(v);
    if (shown > x->rev)
        world_fail(x->world,
                   "watcher %u on node %" PRIu64 ": sleeps at %" PRId64
                   ", the member shows %" PRId64,
                   x->number, x->node->id, x->rev, shown);
}

/* The whole of a member's state at the revision it shows, as a list without a
 * barrier would give it. Returns the revision. */
static int64_t check_view(struct world *w, struct node *n)
{
    struct mvcc_view *v = mvcc_view(n->machine->mvcc);
    struct txn_op all = {.type = OP_RANGE, .key = STR("\0"), .range_end = STR("\0")};
    struct op_result want;
    struct tree_iter it;
    const struct kv *kv;
    uint32_t i = 0;
    int64_t rev = mvcc_view_rev(v);
    model_range(w->model, &all, rev, &want);
    ASSERT(mvcc_view_iter(v, &it, all.key, all.range_end, 0) == 0);
    for (; (kv = tree_iter_next(&it)) != NULL; i++)
        if (i >= want.kv_count || !kvs_equal(kv, want.kvs[i]))
            break;
    if (kv != NULL || i != want.kv_count)
        world_fail(w,
                   "node %" PRIu64 ": its view of revision %" PRId64 " is not what was committed",
                   n->id, rev);
    op_result_done(&want);
    mvcc_view_unref(v);
    return rev;
}

static void join(struct watcher *x)
{
    struct world *w = x->world;
    struct node *up[NODES_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < w->node_count; i++)
        if (w->nodes[i].up)
            up[count++] = &w->nodes[i];
    if (count == 0)
        return;
    struct node *n = up[rng_below(&w->rng, count)];
    struct mvcc *m = n->machine->mvcc;
    int rc = mvcc_cursor_new(m, x->rev, on_ready, x, &x->cursor, NULL);
    if (rc == E_EXPIRED) {
        if (MAX_OF(x->rev, 1) + 1 >= mvcc_compacted(m))
            world_fail(w,
                       "watcher %u: node %" PRIu64 " has no history after %" PRId64
                       ", compacted is %" PRId64,
                       x->number, n->id, x->rev, mvcc_compacted(m));
        x->rev = MAX_OF(x->rev, check_view(w, n));
        rc = mvcc_cursor_new(m, x->rev, on_ready, x, &x->cursor, NULL);
    }
    if (rc != 0) {
        world_fail(w, "watcher %u cannot resume on node %" PRIu64 ": %d", x->number, n->id, rc);
        return;
    }
    x->node = n;
    x->woken = true;
    w->result->resumed++;
}

/* --- reading --- */

static void read_some(struct watcher *x)
{
    struct world *w = x->world;
    const struct event_batch *b;
    bool lost = false;
    x->woken = false;
    for (uint32_t i = 0; i < x->batches_max; i++) {
        b = mvcc_cursor_next(x->cursor, &lost);
        if (lost) { /* Fell out of the event log: the versions may still serve. */
            leave(x);
            return;
        }
        if (b == NULL) {
            check_drained(x);
            return;
        }
        check_batch(x, b);
        if (world_failed(w))
            return;
    }
    x->woken = true; /* There may be more. */
}

static void turn(struct world *w, void *arg, uint64_t number)
{
    struct watcher *x = arg;
    if (world_failed(w) || number != x->turn)
        return;
    if (x->node != NULL && x->by_wakeup && !x->woken)
        check_not_missed(x);
    uint32_t leaves = x->slow_ms > 1000 ? 200 : 20;
    if (!w->load) { /* In the end all catch up; not at a member that was removed. */
        x->batches_max = UINT32_MAX;
        x->slow_ms = 100;
        leaves = x->rev < model_rev(w->model) ? 300 : 20;
    }
    if (x->node != NULL && rng_chance(&w->rng, leaves))
        leave(x);
    if (x->node == NULL)
        join(x);
    if (x->node != NULL && rng_chance(&w->rng, 10))
        check_view(w, x->node);
    if (x->node != NULL && (x->woken || !x->by_wakeup) && !world_failed(w))
        read_some(x);
    schedule(x, rng_between(&w->rng, 1, x->slow_ms) * US_PER_MS);
}

/* --- life --- */

void watchers_start(struct world *w, uint32_t count)
{
    w->watchers = xzalloc(sizeof(*w->watchers));
    w->watchers->count = MIN_OF(count, (uint32_t)WATCHERS_MAX);
    for (uint32_t i = 0; i < w->watchers->count; i++) {
        struct watcher *x = &w->watchers->items[i];
        *x = (struct watcher){.world = w, .number = i + 1, .rev = 1};
        x->by_wakeup = i % 3 == 2; /* Its turns find it asleep, or awake. */
        /* Some follow closely, some fall far behind. */
        x->slow_ms = rng_chance(&w->rng, 400) ? 4000 : rng_between(&w->rng, 2, 300);
        x->batches_max = rng_chance(&w->rng, 500) ? 1000 : (uint32_t)rng_between(&w->rng, 1, 50);
        schedule(x, rng_below(&w->rng, 100 * US_PER_MS));
    }
}

void watchers_left(struct node *n)
{
    struct watchers *all = n->world->watchers;
    for (uint32_t i = 0; all != NULL && i < all->count; i++) {
        if (all->items[i].node != n)
            continue;
        leave(&all->items[i]);
        schedule(&all->items[i], rng_below(&n->world->rng, 100 * US_PER_MS));
    }
}

/* The drill: whoever watched goes on behind the snapshot, as if nothing had been
 * between. */
void watchers_installed(struct node *n, int64_t before_rev)
{
    struct world *w = n->world;
    if (w->watchers == NULL || !(w->options.breaks & BREAK_WATCH_INSTALL))
        return;
    for (uint32_t i = 0; i < w->watchers->count; i++) {
        struct watcher *x = &w->watchers->items[i];
        if (x->node != n || x->rev < before_rev)
            continue;
        mvcc_cursor_free(x->cursor);
        x->cursor = NULL;
        int64_t to = MAX_OF(x->rev, mvcc_rev(n->machine->mvcc));
        if (mvcc_cursor_new(n->machine->mvcc, to, on_ready, x, &x->cursor, NULL) != 0)
            PANIC("no cursor at the newest revision");
    }
}

bool watchers_done(const struct world *w, int64_t rev)
{
    for (uint32_t i = 0; w->watchers != NULL && i < w->watchers->count; i++)
        if (w->watchers->items[i].rev != rev)
            return false;
    return true;
}

void watchers_free(struct world *w)
{
    for (uint32_t i = 0; w->watchers != NULL && i < w->watchers->count; i++)
        leave(&w->watchers->items[i]);
    free(w->watchers);
    w->watchers = NULL;
}
