/* events.c - chunks of batches in a ring, and cursors that hold one chunk each.
 *
 * Happy path: the writer fills the last chunk and raises its count; a cursor
 * compares its position with the count, without a lock. At a chunk's end it looks
 * up the chunk of its next revision under the lock.
 *
 * Going to sleep: the cursor notes what it waits for, arms itself and looks once
 * more; the writer raises last_rev and then looks for armed cursors. In whatever
 * order these meet, one of the two sees the other (both are sequentially
 * consistent).
 *
 * Cutting: the ring gives up its reference of a chunk. A cursor inside keeps the
 * chunk, reads it to its end, and finds in the lookup that it is lost. */
#include "raftstore/events.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/list.h"

#include <pthread.h>
#include <stdatomic.h>

#define BYTES_MAX_DEFAULT (64u << 20)
#define STAGED_KEPT_MAX (256u << 10) /* Bytes of room for what is appended. */
#define AGE_MS_DEFAULT (10u * 60 * 1000)

struct chunk {
    _Atomic uint32_t refs;
    _Atomic uint32_t count; /* Batches that readers may see. */
    _Atomic bool closed;    /* The count stays as it is. */
    int64_t first_rev;
    uint64_t bytes;                     /* Writer. */
    uint64_t newest_ms;                 /* Writer. */
    uint32_t cap;                       /* Of events. */
    uint32_t ends[EVENT_CHUNK_BATCHES]; /* Where the batches end in events. */
    struct event events[];
};

/* A batch that was appended and not published, with its events behind it. */
struct staged {
    uint64_t count;
    struct event events[];
};

struct event_log {
    struct event_log_config config;
    _Atomic int64_t last_rev;
    int64_t compacted; /* Writer. */

    /* Writer: appended, not published. */
    struct buf staged; /* struct staged, one behind the other. */
    int64_t next_rev;

    pthread_mutex_t lock;  /* Guards what follows. */
    struct chunk **chunks; /* A ring: chunks[(head + i) % cap]. */
    size_t head, count, cap;
    struct list cursors;
    uint64_t cursor_count;
    uint64_t bytes;
};

struct event_cursor {
    struct event_log *log;
    struct list link; /* Guarded by the log's lock, as the next two. */
    bool (*wants)(void *arg, const struct event *e); /* NULL: everything. */
    void *wants_arg;
    void (*on_ready)(void *arg);
    void *arg;
    _Atomic bool armed;
    _Atomic int64_t wait_rev; /* What an armed cursor waits for. */
    /* Reader. */
    struct chunk *chunk; /* Holds rev + 1, or NULL. */
    int64_t rev;
    bool lost;
    struct event_batch batch; /* The one returned last. */
};

/* --- chunks --- */

static uint32_t batch_start(const struct chunk *c, uint32_t i)
{
    return i > 0 ? c->ends[i - 1] : 0;
}

static void chunk_unref(struct chunk *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    uint32_t n = atomic_load_explicit(&c->count, memory_order_relaxed);
    events_unref(c->events, batch_start(c, n));
    free(c);
}

static struct chunk *chunk_at(const struct event_log *log, size_t i)
{
    return log->chunks[(log->head + i) % log->cap];
}

/* Locked. */
static struct chunk *chunk_push(struct event_log *log, int64_t first_rev, uint32_t first_count)
{
    if (log->count == log->cap) {
        size_t ring = log->cap > 0 ? log->cap * 2 : 8;
        struct chunk **chunks = xmalloc(ring * sizeof(chunks[0]));
        for (size_t i = 0; i < log->count; i++)
            chunks[i] = chunk_at(log, i);
        free(log->chunks);
        log->chunks = chunks;
        log->head = 0;
        log->cap = ring;
    }
    /* Most batches are of one event. */
    uint32_t cap = MAX_OF(first_count, (uint32_t)EVENT_CHUNK_BATCHES);
    size_t size = sizeof(struct chunk) + cap * sizeof(struct event);
    struct chunk *c = xmalloc(size);
    *c = (struct chunk){.refs = 1, .first_rev = first_rev, .cap = cap};
    c->bytes = alloc_bytes(size);
    log->bytes += c->bytes;
    log->chunks[(log->head + log->count++) % log->cap] = c;
    return c;
}

/* Locked. */
static void chunk_drop_oldest(struct event_log *log)
{
    struct chunk *c = chunk_at(log, 0);
    log->head = (log->head + 1) % log->cap;
    log->count--;
    log->bytes -= c->bytes;
    atomic_store_explicit(&c->closed, true, memory_order_release);
    chunk_unref(c);
}

/* Locked. */
static int64_t first_rev(const struct event_log *log)
{
    return log->count > 0 ? chunk_at(log, 0)->first_rev : atomic_load(&log->last_rev) + 1;
}

/* Locked. The chunk that holds rev, referenced; NULL when it is not there yet. */
static struct chunk *chunk_find(const struct event_log *log, int64_t rev)
{
    if (log->count == 0 || rev > atomic_load(&log->last_rev))
        return NULL;
    size_t low = 0, high = log->count;
    while (high - low > 1) {
        size_t mid = (low + high) / 2;
        if (chunk_at(log, mid)->first_rev <= rev)
            low = mid;
        else
            high = mid;
    }
    struct chunk *c = chunk_at(log, low);
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

/* --- the log --- */

struct event_log *event_log_new(const struct event_log_config *config, int64_t rev)
{
    struct event_log *log = xzalloc(sizeof(*log));
    log->config = *config;
    if (log->config.bytes_max == 0)
        log->config.bytes_max = BYTES_MAX_DEFAULT;
    if (log->config.age_ms == 0)
        log->config.age_ms = AGE_MS_DEFAULT;
    log->last_rev = rev;
    log->next_rev = rev + 1;
    pthread_mutex_init(&log->lock, NULL);
    list_init(&log->cursors);
    return log;
}

/* The batch at *at among the appended ones; *at moves on. */
static const struct staged *next_staged(const struct event_log *log, size_t *at)
{
    const struct staged *st = (const struct staged *)(log->staged.data + *at);
    *at += sizeof(*st) + st->count * sizeof(st->events[0]);
    return st;
}

void event_log_free(struct event_log *log)
{
    if (log == NULL)
        return;
    ASSERT(list_empty(&log->cursors));
    while (log->count > 0)
        chunk_drop_oldest(log);
    for (size_t at = 0; at < log->staged.len;) {
        const struct staged *st = next_staged(log, &at);
        events_unref(st->events, (uint32_t)st->count);
    }
    buf_done(&log->staged);
    free(log->chunks);
    pthread_mutex_destroy(&log->lock);
    free(log);
}

void event_log_append(struct event_log *log, int64_t rev, const struct event *events,
                      uint32_t count)
{
    struct staged head = {.count = count};
    ASSERT_CMP(rev, ==, log->next_rev);
    buf_append(&log->staged, &head, sizeof(head));
    buf_append(&log->staged, events, count * sizeof(events[0]));
    log->next_rev++;
}

static size_t versions_bytes(const struct event *events, uint32_t count)
{
    size_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        n += kv_bytes(events[i].kv);
    return n;
}

/* Locked. Takes over the references. Only the writer adds chunks, so it may read the
 * ring's end itself. */
static void chunk_add(struct event_log *log, int64_t rev, const struct event *events,
                      uint32_t count, uint64_t now_ms)
{
    struct chunk *c = log->count > 0 ? chunk_at(log, log->count - 1) : NULL;
    uint32_t n = c != NULL ? atomic_load_explicit(&c->count, memory_order_relaxed) : 0;
    if (c == NULL || n == EVENT_CHUNK_BATCHES || c->bytes >= EVENT_CHUNK_BYTES ||
        count > c->cap - batch_start(c, n)) {
        if (c != NULL)
            atomic_store_explicit(&c->closed, true, memory_order_release);
        c = chunk_push(log, rev, count);
        n = 0;
    }
    size_t bytes = versions_bytes(events, count);
    c->bytes += bytes;
    log->bytes += bytes;
    c->newest_ms = now_ms;
    memcpy(&c->events[batch_start(c, n)], events, count * sizeof(events[0]));
    c->ends[n] = batch_start(c, n) + count;
    atomic_store_explicit(&c->count, n + 1, memory_order_release);
}

/* Locked. Of the two oldest chunks the first ends where the second begins. */
static bool first_is_compacted(const struct event_log *log)
{
    return log->count > 1 && chunk_at(log, 1)->first_rev <= log->compacted;
}

/* Locked. The last chunk stays: what was just written can be read. */
static void trim(struct event_log *log, uint64_t now_ms)
{
    while (log->count > 1) {
        const struct chunk *c = chunk_at(log, 0);
        uint64_t age = now_ms > c->newest_ms ? now_ms - c->newest_ms : 0;
        bool gone = first_is_compacted(log) && age >= EVENT_COMPACT_MS;
        if (log->bytes <= log->config.bytes_max && age <= log->config.age_ms && !gone)
            return;
        chunk_drop_oldest(log);
    }
}

void event_log_compact(struct event_log *log, int64_t rev)
{
    log->compacted = MAX_OF(log->compacted, rev);
}

bool event_log_trim(struct event_log *log, uint64_t now_ms)
{
    pthread_mutex_lock(&log->lock);
    trim(log, now_ms);
    bool more = first_is_compacted(log);
    pthread_mutex_unlock(&log->lock);
    return more;
}

/* Locked. Is there anything for it in what is being published? */
static bool wants_staged(const struct event_log *log, const struct event_cursor *c)
{
    for (size_t at = 0; at < log->staged.len;) {
        const struct staged *st = next_staged(log, &at);
        for (uint64_t i = 0; i < st->count; i++)
            if (c->wants(c->wants_arg, &st->events[i]))
                return true;
    }
    return false;
}

/* Locked. With all, also those who want nothing of it. */
static void wake(struct event_log *log, bool all)
{
    int64_t last = atomic_load(&log->last_rev);
    int64_t newest_chunk = log->count > 0 ? chunk_at(log, log->count - 1)->first_rev : last + 1;
    LIST_FOREACH (l, &log->cursors) {
        struct event_cursor *c = LIST_ENTRY(l, struct event_cursor, link);
        if (c->on_ready == NULL || !atomic_load(&c->armed) || atomic_load(&c->wait_rev) > last)
            continue;
        if (!all && c->wants != NULL && atomic_load(&c->wait_rev) >= newest_chunk &&
            !wants_staged(log, c))
            continue;
        if (atomic_exchange(&c->armed, false))
            c->on_ready(c->arg);
    }
}

void event_log_publish(struct event_log *log, uint64_t now_ms)
{
    pthread_mutex_lock(&log->lock);
    bool any = log->staged.len > 0;
    int64_t rev = atomic_load(&log->last_rev);
    for (size_t at = 0; at < log->staged.len;) {
        const struct staged *st = next_staged(log, &at);
        chunk_add(log, ++rev, st->events, (uint32_t)st->count, now_ms);
    }
    atomic_store(&log->last_rev, log->next_rev - 1);
    if (any)
        wake(log, false); /* Before the trimming: it looks at the staged events. */
    buf_clear(&log->staged);
    if (log->staged.cap > STAGED_KEPT_MAX)
        buf_done(&log->staged);
    trim(log, now_ms);
    pthread_mutex_unlock(&log->lock);
}

void event_log_reset(struct event_log *log, int64_t rev, struct event_batch *const *batches,
                     size_t count, uint64_t now_ms)
{
    ASSERT_CMP(log->staged.len, ==, 0);
    ASSERT_CMP(rev, >=, atomic_load(&log->last_rev));
    ASSERT(count == 0 || batches[count - 1]->rev == rev);
    pthread_mutex_lock(&log->lock);
    while (log->count > 0)
        chunk_drop_oldest(log);
    for (size_t i = 0; i < count; i++) {
        ASSERT(i == 0 || batches[i]->rev == batches[i - 1]->rev + 1);
        const struct event_batch *b = batches[i];
        for (uint32_t j = 0; j < b->count; j++) {
            kv_ref(b->events[j].kv);
            if (b->events[j].prev != NULL)
                kv_ref(b->events[j].prev);
        }
        chunk_add(log, b->rev, b->events, b->count, now_ms);
    }
    log->next_rev = rev + 1;
    log->compacted = 0; /* What it was given is what may be read. */
    atomic_store(&log->last_rev, rev);
    trim(log, now_ms);
    wake(log, true);
    pthread_mutex_unlock(&log->lock);
}

void event_log_stats(struct event_log *log, struct event_log_stats *ret)
{
    pthread_mutex_lock(&log->lock);
    int64_t last = atomic_load(&log->last_rev);
    *ret = (struct event_log_stats){
        .bytes = log->bytes,
        .cursors = log->cursor_count,
        .first_rev = first_rev(log),
        .last_rev = last,
    };
    pthread_mutex_unlock(&log->lock);
}

/* --- cursors --- */

int event_cursor_new(struct event_log *log, int64_t after_rev, void (*on_ready)(void *arg),
                     void *arg, struct event_cursor **ret)
{
    struct event_cursor *c = xzalloc(sizeof(*c));
    c->log = log;
    c->on_ready = on_ready;
    c->arg = arg;
    c->rev = after_rev;
    c->wait_rev = after_rev + 1;
    c->armed = true;
    pthread_mutex_lock(&log->lock);
    bool gone = after_rev + 1 < first_rev(log);
    if (!gone) {
        c->chunk = chunk_find(log, after_rev + 1);
        list_push_back(&log->cursors, &c->link);
        log->cursor_count++;
    }
    pthread_mutex_unlock(&log->lock);
    if (gone) {
        free(c);
        return E_EXPIRED;
    }
    *ret = c;
    return 0;
}

void event_cursor_filter(struct event_cursor *c, bool (*wants)(void *arg, const struct event *e),
                         void *arg)
{
    pthread_mutex_lock(&c->log->lock);
    c->wants = wants;
    c->wants_arg = arg;
    pthread_mutex_unlock(&c->log->lock);
}

void event_cursor_free(struct event_cursor *c)
{
    if (c == NULL)
        return;
    pthread_mutex_lock(&c->log->lock);
    list_remove(&c->link);
    c->log->cursor_count--;
    pthread_mutex_unlock(&c->log->lock);
    chunk_unref(c->chunk);
    free(c);
}

/* The next batch in the cursor's chunk. *ret_end: there will be none. */
static const struct event_batch *next_in_chunk(struct event_cursor *c, bool *ret_end)
{
    struct chunk *chunk = c->chunk;
    *ret_end = true;
    if (chunk == NULL)
        return NULL;
    /* closed before count: a count read after the mark is the last one. */
    bool closed = atomic_load_explicit(&chunk->closed, memory_order_acquire);
    uint32_t count = atomic_load_explicit(&chunk->count, memory_order_acquire);
    int64_t at = c->rev + 1 - chunk->first_rev;
    *ret_end = closed;
    if (at >= count)
        return NULL;
    c->rev++;
    uint32_t from = batch_start(chunk, (uint32_t)at);
    c->batch = (struct event_batch){c->rev, chunk->ends[at] - from, &chunk->events[from]};
    return &c->batch;
}

static void change_chunk(struct event_cursor *c)
{
    struct chunk *last = c->chunk;
    pthread_mutex_lock(&c->log->lock);
    c->lost = c->rev + 1 < first_rev(c->log);
    c->chunk = c->lost ? NULL : chunk_find(c->log, c->rev + 1);
    pthread_mutex_unlock(&c->log->lock);
    chunk_unref(last);
}

const struct event_batch *event_cursor_next(struct event_cursor *c, bool *ret_lost)
{
    while (!c->lost) {
        bool end;
        const struct event_batch *batch = next_in_chunk(c, &end);
        if (batch != NULL)
            return batch;
        if (end && c->rev + 1 <= atomic_load(&c->log->last_rev)) {
            change_chunk(c);
            continue;
        }
        atomic_store(&c->wait_rev, c->rev + 1);
        atomic_store(&c->armed, true);
        if (c->rev + 1 > atomic_load(&c->log->last_rev))
            return NULL;
        /* Something came between. The writer may have seen the mark already: one
         * call too many then, of a reader that finds nothing. */
        atomic_store(&c->armed, false);
    }
    *ret_lost = true;
    return NULL;
}

int64_t event_cursor_rev(const struct event_cursor *c)
{
    return c->rev;
}
