/* test_loop.c - deferred work and the watch over slow callbacks. */
#include "lib/base/loop.h"

#include "test/unit/unit.h"

static int runs;
static struct defer_queue queue;
static struct deferred first, second;

static void count_run(struct deferred *d)
{
    runs++;
    if (d == &first && runs < 3)
        deferred_post(&queue, d);
}

/* A job runs once however often it was posted, may post itself again, and not after cancelling. */
START_TEST(deferred_runs_later)
{
    uv_loop_t loop;
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    defer_queue_init(&queue, &loop);
    deferred_init(&first, count_run);
    deferred_init(&second, count_run);
    deferred_post(&queue, &first);
    deferred_post(&queue, &first);
    deferred_post(&queue, &second);
    deferred_cancel(&second);
    ck_assert_int_eq(runs, 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(runs, 3);
    deferred_post(&queue, &second);
    defer_queue_close(&queue, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(runs, 3);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

/* A span that began long ago counts as slow; a fresh one does not. */
START_TEST(slow_callbacks_count)
{
    uint64_t before = loop_slow_count();
    {
        LOOP_CALLBACK("quick");
    }
    ck_assert_uint_eq(loop_slow_count(), before);
    struct loop_span span = {"slow", uv_hrtime() - 2 * LOOP_SLOW_NS};
    loop_span_end(&span);
    ck_assert_uint_eq(loop_slow_count(), before + 1);
}
END_TEST

UNIT_MAIN("loop", UNIT_TEST(deferred_runs_later); UNIT_TEST(slow_callbacks_count))
