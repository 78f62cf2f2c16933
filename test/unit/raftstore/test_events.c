/* test_events.c - the event log: order, trimming, waking, readers on threads. */
#include "lib/base/error.h"
#include "raftstore/events.h"
#include "test/unit/raftstore/random.h"
#include "test/unit/unit.h"

#include "lib/base/base.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static struct event_batch *batch(int64_t rev, size_t value_len)
{
    struct event_batch *b = event_batch_new(rev, 1);
    struct kv *kv = kv_new(NULL, STR("key"), (struct str){NULL, value_len},
                           &(struct kv_numbers){.mod_rev = rev, .version = 1});
    memset((char *)(uintptr_t)kv_value(kv).data, 'x', value_len);
    b->events[0] = (struct event){kv, NULL};
    return b;
}

static void append_one(struct event_log *log, struct event_batch *b)
{
    event_log_append(log, b->rev, b->events, b->count);
    free(b); /* Its references went over. */
}

static void append(struct event_log *log, int64_t first, int64_t last, size_t value_len,
                   uint64_t now_ms)
{
    for (int64_t rev = first; rev <= last; rev++)
        append_one(log, batch(rev, value_len));
    event_log_publish(log, now_ms);
}

static void count_ready(void *arg)
{
    ++*(int *)arg;
}

static void expect(struct event_cursor *c, int64_t first, int64_t last)
{
    bool lost = false;
    for (int64_t rev = first; rev <= last; rev++) {
        const struct event_batch *b = event_cursor_next(c, &lost);
        ck_assert_ptr_nonnull(b);
        ck_assert_int_eq(b->rev, rev);
        ck_assert_int_eq(event_cursor_rev(c), rev);
    }
    ck_assert(!lost);
}

static void expect_drained(struct event_cursor *c)
{
    bool lost = false;
    ck_assert_ptr_null(event_cursor_next(c, &lost));
    ck_assert(!lost);
}

/* A cursor gives every batch after its revision, once and in order. */
START_TEST(in_order)
{
    struct event_log *log = event_log_new(&(struct event_log_config){0}, 1);
    struct event_cursor *all, *half, *later;
    ck_assert_int_eq(event_cursor_new(log, 1, NULL, NULL, &all), 0);
    expect_drained(all);
    append(log, 2, 1000, 10, 0);
    expect(all, 2, 1000);
    expect_drained(all);
    ck_assert_int_eq(event_cursor_new(log, 500, NULL, NULL, &half), 0);
    ck_assert_int_eq(event_cursor_new(log, 1100, NULL, NULL, &later), 0);
    append(log, 1001, 1100, 10, 0);
    expect_drained(later);
    append(log, 1101, 1200, 10, 0);
    expect(half, 501, 1200);
    expect(all, 1001, 1200);
    expect(later, 1101, 1200);
    expect_drained(later);
    event_cursor_free(all);
    event_cursor_free(half);
    event_cursor_free(later);
    event_log_free(log);
}
END_TEST

/* What was appended is not seen before it is published. */
START_TEST(not_before_publish)
{
    struct event_log *log = event_log_new(&(struct event_log_config){0}, 1);
    struct event_cursor *c;
    ck_assert_int_eq(event_cursor_new(log, 1, NULL, NULL, &c), 0);
    append_one(log, batch(2, 1));
    expect_drained(c);
    event_log_publish(log, 0);
    expect(c, 2, 2);
    event_cursor_free(c);
    append_one(log, batch(3, 1));
    event_log_free(log);
}
END_TEST

/* One call per sleep, none while the reader has something left to read. */
START_TEST(woken_once)
{
    struct event_log *log = event_log_new(&(struct event_log_config){0}, 1);
    struct event_cursor *c, *future;
    int calls = 0, future_calls = 0;
    ck_assert_int_eq(event_cursor_new(log, 1, count_ready, &calls, &c), 0);
    ck_assert_int_eq(event_cursor_new(log, 4, count_ready, &future_calls, &future), 0);
    append(log, 2, 2, 1, 0);
    append(log, 3, 3, 1, 0);
    ck_assert_int_eq(calls, 1);
    ck_assert_int_eq(future_calls, 0);
    expect(c, 2, 3);
    append(log, 4, 4, 1, 0);
    ck_assert_int_eq(calls, 1);
    expect(c, 4, 4);
    expect_drained(c);
    append(log, 5, 5, 1, 0);
    ck_assert_int_eq(calls, 2);
    ck_assert_int_eq(future_calls, 1);
    event_cursor_free(c);
    event_cursor_free(future);
    append(log, 6, 6, 1, 0);
    ck_assert_int_eq(calls, 2);
    event_log_free(log);
}
END_TEST

static bool wants_none(void *arg, const struct event *e)
{
    UNUSED(arg);
    UNUSED(e);
    return false;
}

static bool wants_even(void *arg, const struct event *e)
{
    ++*(int *)arg;
    return e->kv->mod_rev % 2 == 0;
}

/* A cursor sleeps through batches that it wants nothing of, but not for longer than a chunk; it is
 * given all of them once it looks. A state that was replaced wakes it in any case. */
START_TEST(filtered)
{
    struct event_log *log = event_log_new(&(struct event_log_config){0}, 1);
    struct event_cursor *c;
    int ready = 0, asked = 0;
    ck_assert_int_eq(event_cursor_new(log, 1, count_ready, &ready, &c), 0);
    event_cursor_filter(c, wants_even, &asked);
    expect_drained(c);
    append(log, 2, 2, 10, 0);
    ck_assert_int_eq(ready, 1);
    expect(c, 2, 2);
    expect_drained(c);
    append(log, 3, 3, 10, 0);
    ck_assert_int_eq(ready, 1);
    ck_assert_int_eq(asked, 2);
    append(log, 4, 5, 10, 0); /* One of the two. */
    ck_assert_int_eq(ready, 2);
    append(log, 6, 7, 10, 0); /* Woken already. */
    ck_assert_int_eq(ready, 2);
    expect(c, 3, 7);
    expect_drained(c);
    int64_t rev;
    event_cursor_filter(c, wants_none, NULL);
    rev = 8;
    do /* The first chunk began with revision 2. */
        append(log, rev, rev, 10, 0);
    while (rev++, ready == 2);
    ck_assert_int_eq(ready, 3);
    ck_assert_int_eq(rev - 1, 2 + EVENT_CHUNK_BATCHES);
    expect(c, 8, rev - 1);
    expect_drained(c);
    event_log_reset(log, 1000, NULL, 0, 0);
    ck_assert_int_eq(ready, 4);
    event_cursor_free(c);
    event_log_free(log);
}
END_TEST

/* Cut by bytes: a cursor reads its chunk to the end, then is lost. */
START_TEST(cut_by_bytes)
{
    struct event_log *log = event_log_new(&(struct event_log_config){.bytes_max = 1 << 20}, 1);
    struct event_cursor *slow, *gone;
    struct event_log_stats stats;
    ck_assert_int_eq(event_cursor_new(log, 1, NULL, NULL, &slow), 0);
    append(log, 2, 10, 100, 0);
    expect(slow, 2, 3);
    append(log, 11, 3000, 1000, 0);
    event_log_stats(log, &stats);
    ck_assert_uint_le(stats.bytes, 1 << 20);
    ck_assert_int_gt(stats.first_rev, 1500);
    ck_assert_int_eq(event_cursor_new(log, 1, NULL, NULL, &gone), E_EXPIRED);
    ck_assert_int_eq(event_cursor_new(log, stats.first_rev - 2, NULL, NULL, &gone), E_EXPIRED);
    ck_assert_int_eq(event_cursor_new(log, stats.first_rev - 1, NULL, NULL, &gone), 0);
    expect(gone, stats.first_rev, 3000);
    bool lost = false;
    while (event_cursor_next(slow, &lost) != NULL)
        continue;
    ck_assert(lost);
    ck_assert_int_lt(event_cursor_rev(slow), 600);
    lost = false;
    ck_assert_ptr_null(event_cursor_next(slow, &lost));
    ck_assert(lost);
    event_cursor_free(slow);
    event_cursor_free(gone);
    event_log_free(log);
}
END_TEST

/* Cut by age: whole chunks whose newest batch is too old; the last one stays. */
START_TEST(cut_by_age)
{
    struct event_log *log = event_log_new(&(struct event_log_config){.age_ms = 1000}, 1);
    struct event_log_stats stats;
    append(log, 2, 257, 1, 10000);
    append(log, 258, 513, 1, 10500);
    append(log, 514, 520, 1, 10600);
    event_log_publish(log, 11000);
    event_log_stats(log, &stats);
    ck_assert_int_eq(stats.first_rev, 2);
    event_log_publish(log, 11001);
    event_log_stats(log, &stats);
    ck_assert_int_eq(stats.first_rev, 258);
    event_log_publish(log, 99999);
    event_log_stats(log, &stats);
    ck_assert_int_eq(stats.first_rev, 514);
    event_log_free(log);
}
END_TEST

/* After the state was replaced, cursors inside the known history go on. */
START_TEST(reset)
{
    struct event_log *log = event_log_new(&(struct event_log_config){0}, 1);
    struct event_cursor *behind, *inside, *ahead;
    int calls = 0;
    append(log, 2, 50, 1, 0);
    ck_assert_int_eq(event_cursor_new(log, 1, NULL, NULL, &behind), 0);
    ck_assert_int_eq(event_cursor_new(log, 45, NULL, NULL, &inside), 0);
    ck_assert_int_eq(event_cursor_new(log, 200, count_ready, &calls, &ahead), 0);
    expect(behind, 2, 20);
    struct event_batch *history[61];
    for (int64_t rev = 40; rev <= 100; rev++)
        history[rev - 40] = batch(rev, 1);
    event_log_reset(log, 100, history, ARRAY_SIZE(history), 0);
    for (size_t i = 0; i < ARRAY_SIZE(history); i++)
        event_batch_free(history[i]);
    expect(behind, 21, 50); /* The same chunk of the old state, whole. */
    expect(behind, 51, 100);
    expect(inside, 46, 100);
    append(log, 101, 201, 1, 0);
    ck_assert_int_eq(calls, 1);
    expect(inside, 101, 201);
    expect(ahead, 201, 201);
    event_log_reset(log, 300, NULL, 0, 0);
    bool lost = false;
    ck_assert_ptr_null(event_cursor_next(inside, &lost));
    ck_assert(lost);
    event_cursor_free(behind);
    event_cursor_free(inside);
    event_cursor_free(ahead);
    ck_assert_int_eq(event_cursor_new(log, 299, NULL, NULL, &ahead), E_EXPIRED);
    ck_assert_int_eq(event_cursor_new(log, 300, NULL, NULL, &ahead), 0);
    append(log, 301, 301, 1, 0);
    expect(ahead, 301, 301);
    event_cursor_free(ahead);
    event_log_free(log);
}
END_TEST

/* --- threads --- */

#define LAST_REV 30000

struct reader {
    pthread_t thread;
    struct event_log *log;
    struct event_cursor *cursor;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool ready;
    uint64_t seen, losses;
};

static void on_ready(void *arg)
{
    struct reader *r = arg;
    pthread_mutex_lock(&r->lock);
    r->ready = true;
    pthread_cond_signal(&r->cond);
    pthread_mutex_unlock(&r->lock);
}

static void wait_ready(struct reader *r)
{
    pthread_mutex_lock(&r->lock);
    while (!r->ready)
        pthread_cond_wait(&r->cond, &r->lock);
    r->ready = false;
    pthread_mutex_unlock(&r->lock);
}

/* Starts again at the newest revision, as often as the writer is faster. */
static int64_t restart(struct reader *r)
{
    struct event_log_stats stats;
    event_cursor_free(r->cursor);
    r->losses++;
    do
        event_log_stats(r->log, &stats);
    while (event_cursor_new(r->log, stats.last_rev, on_ready, r, &r->cursor) != 0);
    return stats.last_rev;
}

/* Sleeps whenever drained: a wake-up that is missed hangs the test. */
static void *reader(void *arg)
{
    struct reader *r = arg;
    int64_t rev = 1;
    while (rev < LAST_REV) {
        bool lost = false;
        const struct event_batch *b = event_cursor_next(r->cursor, &lost);
        if (b != NULL) {
            ck_assert_int_eq(b->rev, rev + 1);
            ck_assert_int_eq(b->events[0].kv->mod_rev, rev + 1);
            rev++;
            r->seen++;
        } else if (lost) {
            rev = restart(r);
        } else {
            wait_ready(r);
        }
    }
    event_cursor_free(r->cursor);
    return NULL;
}

START_TEST(readers_on_threads)
{
    struct random rnd = random_seeded(test_seed());
    struct event_log *log = event_log_new(&(struct event_log_config){.bytes_max = 1 << 20}, 1);
    struct reader readers[3] = {0};
    for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
        readers[i].log = log;
        pthread_mutex_init(&readers[i].lock, NULL);
        pthread_cond_init(&readers[i].cond, NULL);
        ck_assert_int_eq(event_cursor_new(log, 1, on_ready, &readers[i], &readers[i].cursor), 0);
        pthread_create(&readers[i].thread, NULL, reader, &readers[i]);
    }
    for (int64_t rev = 2; rev <= LAST_REV;) {
        int64_t last = MIN_OF(rev + (int64_t)random_below(&rnd, 50), (int64_t)LAST_REV);
        append(log, rev, last, 200, 0);
        rev = last + 1;
    }
    for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
        pthread_join(readers[i].thread, NULL);
        ck_assert(readers[i].losses > 0 || readers[i].seen == LAST_REV - 1);
    }
    event_log_free(log);
}
END_TEST

/* The writer publishes just when the reader goes to sleep, over and over: a
 * wake-up lost between the two would stop both. */
#define PINGS 60000

struct pair {
    struct reader reader;
    _Atomic int64_t done; /* The revision read last. */
};

static void pause_for(uint32_t turns)
{
    for (volatile uint32_t n = turns; n > 0; n = n - 1)
        continue;
}

static void *ping_reader(void *arg)
{
    struct pair *p = arg;
    struct random rnd = random_seeded(test_seed() + 1);
    for (int64_t rev = 1; rev < PINGS;) {
        bool lost = false;
        const struct event_batch *b = event_cursor_next(p->reader.cursor, &lost);
        ck_assert(!lost);
        if (b == NULL) {
            wait_ready(&p->reader);
            continue;
        }
        ck_assert_int_eq(b->rev, ++rev);
        atomic_store(&p->done, rev);
        pause_for(random_below(&rnd, 600));
    }
    return NULL;
}

START_TEST(no_lost_wakeup)
{
    struct random rnd = random_seeded(test_seed());
    struct event_log *log = event_log_new(&(struct event_log_config){0}, 1);
    struct pair p = {.reader = {.log = log}, .done = 1};
    pthread_mutex_init(&p.reader.lock, NULL);
    pthread_cond_init(&p.reader.cond, NULL);
    ck_assert_int_eq(event_cursor_new(log, 1, on_ready, &p.reader, &p.reader.cursor), 0);
    pthread_create(&p.reader.thread, NULL, ping_reader, &p);
    for (int64_t rev = 2; rev <= PINGS; rev++) {
        struct event_batch *b = batch(rev, 1);
        for (int turns = 0; atomic_load(&p.done) < rev - 1; turns++) {
            if (turns > 100)
                sched_yield();
        }
        pause_for(random_below(&rnd, 60));
        append_one(log, b);
        event_log_publish(log, 0);
    }
    pthread_join(p.reader.thread, NULL);
    event_cursor_free(p.reader.cursor);
    event_log_free(log);
}
END_TEST

/* Compacted revisions go, but not under a reader that is at work on them. */
START_TEST(cut_by_compaction)
{
    struct event_log *log = event_log_new(&(struct event_log_config){0}, 1);
    struct event_log_stats st;
    append(log, 2, 1000, 10, 0);
    event_log_compact(log, 600);
    ck_assert(event_log_trim(log, EVENT_COMPACT_MS - 1)); /* More is due. */
    event_log_stats(log, &st);
    ck_assert_int_eq(st.first_rev, 2);
    ck_assert(!event_log_trim(log, EVENT_COMPACT_MS));
    event_log_stats(log, &st);
    ck_assert_int_gt(st.first_rev, 2);
    ck_assert_int_le(st.first_rev, 600);
    struct event_cursor *c;
    ck_assert_int_eq(event_cursor_new(log, 1, NULL, NULL, &c), E_EXPIRED);
    ck_assert_int_eq(event_cursor_new(log, 599, NULL, NULL, &c), 0);
    expect(c, 600, 1000);
    event_cursor_free(c);
    event_log_free(log);
}
END_TEST

UNIT_MAIN("events", UNIT_TEST(in_order); UNIT_TEST(not_before_publish); UNIT_TEST(woken_once);
          UNIT_TEST(filtered); UNIT_TEST(cut_by_bytes); UNIT_TEST(cut_by_age);
          UNIT_TEST(cut_by_compaction); UNIT_TEST(reset); UNIT_TEST(readers_on_threads);
          UNIT_TEST(no_lost_wakeup))
