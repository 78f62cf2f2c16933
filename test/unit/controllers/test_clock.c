/* test_clock.c - jumps of the wall clock, and delays after them. */
#include "controllers/clock.h"
#include "lib/base/env.h"
#include "lib/client/work_queue.h"
#include "test/unit/unit.h"

#include <stddef.h>
#include <uv.h>

#define S 1000000000LL

START_TEST(jumps_are_told_from_slewing)
{
    struct clock_pair p = {.steady_ms = 5000, .wall_ns = 1000 * S};
    ck_assert_int_eq(clock_jump(&p, 6000, 1001 * S), 0);
    /* A second that came late is late on both clocks. */
    ck_assert_int_eq(clock_jump(&p, 16000, 1011 * S), 0);
    /* Slewing, however long, is none: each step counts by itself. */
    for (int i = 1; i <= 100; i++)
        ck_assert_int_eq(clock_jump(&p, 16000 + (uint64_t)i * 1000, 1011 * S + i * (S + S / 2)), 0);
    ck_assert_int_eq(clock_jump(&p, 117000, p.wall_ns + 3601 * S), 3600 * S);
    ck_assert_int_eq(clock_jump(&p, 118000, p.wall_ns + S), 0);
    ck_assert_int_eq(clock_jump(&p, 119000, p.wall_ns - 59 * S), -60 * S);
    ck_assert_int_eq(clock_jump(&p, 120000, p.wall_ns + S), 0);
}
END_TEST

/* --- on a loop, with clocks that the test moves -------------------------------------------------
 */

struct world {
    uv_loop_t loop;
    struct env env;
    uint64_t now_ms;
    int64_t wall_ns, jumped_ns;
    struct work_queue *queue;
    struct clock_watch *watch;
    unsigned processed;
};

static struct world *world_of(struct env *e)
{
    return (struct world *)((char *)e - offsetof(struct world, env));
}

static uint64_t now_ms(struct env *e)
{
    return world_of(e)->now_ms;
}

static int64_t wall_ns(struct env *e)
{
    return world_of(e)->wall_ns;
}

static void on_process(struct work_queue *q, struct str key, void *arg)
{
    struct world *w = arg;
    w->processed++;
    work_queue_done(q, key);
    if (w->processed == 2) {
        work_queue_close(q);
        clock_watch_close(w->watch);
    }
}

static void on_jump(int64_t by_ns, void *arg)
{
    struct world *w = arg;
    w->jumped_ns = by_ns;
    work_queue_hasten(w->queue);
}

/* What was to wait an hour comes at once after a jump. The watch's second is the only real time. */
START_TEST(delays_end_with_a_jump)
{
    struct world w = {.env = {.now_ms = now_ms, .wall_ns = wall_ns}, .wall_ns = 1000 * S};
    uv_loop_init(&w.loop);
    w.queue = work_queue_new(
        &w.loop, &(struct work_queue_config){.env = &w.env, .process = on_process, .arg = &w});
    w.watch = clock_watch_start(&w.loop, &w.env, on_jump, &w);
    work_queue_add_after(w.queue, STR("a"), 3600000);
    work_queue_add_after(w.queue, STR("b"), 7200000);
    w.wall_ns += 2 * S;
    uv_run(&w.loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(w.processed, 2);
    ck_assert_int_eq(w.jumped_ns, 2 * S);
    ck_assert_int_eq(uv_loop_close(&w.loop), 0);
}
END_TEST

UNIT_MAIN("controllers/clock", {
    UNIT_TEST(jumps_are_told_from_slewing);
    UNIT_TEST(delays_end_with_a_jump);
})
