/* test_compactor.c - automatic compaction by time and by revisions, in made-up time. */
#include "raftstore/compactor.h"

#include "test/unit/unit.h"

#define HOUR UINT64_C(3600000)

static struct compactor c;

/* By time: what is older than the retention goes, nothing younger. */
START_TEST(keeps_the_retention)
{
    uint64_t retention = 600000, compacted_at = 0;
    compactor_init(&c, true, (int64_t)retention, 0);
    int64_t compacted = 0;
    for (uint64_t now = 0; now < 10 * retention; now += 1000) {
        int64_t rev = (int64_t)(now / 1000) + 1; /* One each second. */
        int64_t to = compactor_look(&c, now, rev, true);
        if (to == 0)
            continue;
        ck_assert_int_gt(to, compacted);
        ck_assert_uint_ge(now - (uint64_t)(to - 1) * 1000, retention);
        ck_assert_uint_le(now - (uint64_t)(to - 1) * 1000, retention + retention / 5);
        if (compacted != 0)
            ck_assert_uint_le(now - compacted_at, retention + retention / 5);
        compacted = to;
        compacted_at = now;
    }
    ck_assert_int_gt(compacted, 0);
}
END_TEST

/* A retention of days is compacted every hour and does not need a sample for each look. */
START_TEST(long_retentions)
{
    uint64_t retention = 24 * 30 * HOUR;
    int64_t compacted = 0;
    compactor_init(&c, true, (int64_t)retention, 0);
    for (uint64_t now = 0; now < 3 * retention; now += 60000) {
        int64_t to = compactor_look(&c, now, (int64_t)(now / 60000) + 1, true);
        if (to != 0) {
            ck_assert_uint_ge(now - (uint64_t)(to - 1) * 60000, retention);
            compacted = to;
        }
    }
    ck_assert_int_gt(compacted, (int64_t)(2 * retention / 60000) - 600);
}
END_TEST

/* Nothing written: nothing to compact again. */
START_TEST(idle_stores)
{
    int times = 0;
    compactor_init(&c, true, 600000, 0);
    for (uint64_t now = 0; now < 24 * HOUR; now += 10000)
        times += compactor_look(&c, now, 50, true) != 0;
    ck_assert_int_eq(times, 1);
}
END_TEST

START_TEST(revisions)
{
    compactor_init(&c, false, 1000, 0);
    ck_assert_int_eq(compactor_look(&c, 1000, 5000, true), 0);
    ck_assert_int_eq(compactor_look(&c, 300000, 900, true), 0);
    ck_assert_int_eq(compactor_look(&c, 600000, 5000, true), 4000);
    ck_assert_int_eq(compactor_look(&c, 900000, 5000, true), 0);
    ck_assert_int_eq(compactor_look(&c, 1200000, 5001, true), 4001);
    ck_assert_int_eq(compactor_look(&c, 1500000, 6000, true), 5000);
    compactor_failed(&c);
    ck_assert_int_eq(compactor_look(&c, 1800000, 6000, true), 5000);
}
END_TEST

/* Only the leader compacts; a new one knows what was written when. */
START_TEST(followers_keep_count)
{
    compactor_init(&c, true, 600000, 0);
    for (uint64_t now = 0; now < 1200000; now += 10000)
        ck_assert_int_eq(compactor_look(&c, now, (int64_t)now / 10000 + 1, false), 0);
    ck_assert_int_gt(compactor_look(&c, 1260000, 200, true), 50);
}
END_TEST

UNIT_MAIN("compactor", {
    UNIT_TEST(keeps_the_retention);
    UNIT_TEST(long_retentions);
    UNIT_TEST(idle_stores);
    UNIT_TEST(revisions);
    UNIT_TEST(followers_keep_count);
})
