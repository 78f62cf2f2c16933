/* test_pace.c - how fast a snapshot is written beside the log. */
#include "raftstore/pace.h"

#include "test/unit/unit.h"

/* With an idle log so many bytes a millisecond, and never a long wait at once. */
START_TEST(steady)
{
    struct pace p = {.start_ms = 1000, .start_log_bytes = 5};
    ck_assert_uint_eq(pace_wait_ms(&p, 1000, 5, 0), 0);
    ck_assert_uint_eq(pace_wait_ms(&p, 1000, 5, 3 * PACE_BYTES_PER_MS), 3);
    ck_assert_uint_eq(pace_wait_ms(&p, 1002, 5, 3 * PACE_BYTES_PER_MS), 1);
    ck_assert_uint_eq(pace_wait_ms(&p, 1003, 5, 3 * PACE_BYTES_PER_MS), 0);
    ck_assert_uint_eq(pace_wait_ms(&p, 1000, 5, 1000 * PACE_BYTES_PER_MS), PACE_LOOK_MS);
    uint64_t now = 1000, done = 0, total = UINT64_C(1) << 30;
    while (done < total) {
        uint64_t wait = pace_wait_ms(&p, now, 5, done);
        now += wait;
        done += wait == 0 ? 1 << 20 : 0;
    }
    ck_assert_uint_ge(now - 1000, 16300);
    ck_assert_uint_le(now - 1000, 16500);
}
END_TEST

/* However fast the log grows: the snapshot is done before the next one is due, which
 * is after half its size of log. */
START_TEST(keeps_up)
{
    const uint64_t total = UINT64_C(8) << 30;
    for (uint64_t log_per_ms = 1 << 10; log_per_ms <= 1 << 30; log_per_ms *= 4) {
        struct pace p = {.start_ms = 0};
        uint64_t now = 0, done = 0;
        while (done < total) {
            now += pace_wait_ms(&p, now, now * log_per_ms, done);
            if (pace_wait_ms(&p, now, now * log_per_ms, done) > 0)
                continue;
            done += 1 << 20;
        }
        /* A look may come late. */
        ck_assert_uint_le(now * log_per_ms, total / 2 + PACE_LOOK_MS * log_per_ms);
    }
}
END_TEST

UNIT_MAIN("pace", {
    UNIT_TEST(steady);
    UNIT_TEST(keeps_up);
})
