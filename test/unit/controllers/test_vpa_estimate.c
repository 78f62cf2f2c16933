/* What a vertical autoscaler makes of samples. The expected numbers were reckoned by a script that
 * weighs every sample by itself, 2^((t-T)/24h), and knows nothing of reference times. */
#include "controllers/vpa_estimate.h"

#include "lib/base/base.h"
#include "test/unit/unit.h"

#include <math.h>

#define T0 1700006400 /* A midnight. */
#define DAY (24 * 3600)
#define MB (1024 * 1024)

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fabs(b);
}

/* Buckets begin at 0, 0.01, 0.0205 ... and grow by 5 per cent; the last takes everything above. */
START_TEST(buckets)
{
    static const struct {
        double value;
        size_t bucket;
        double start;
    } cases[] = {
        {0.005, 0, 0},
        {0.5, 25, 0.4772709881798773},
        {1, 36, 0.9583632271943731},
        {64, 118, 63.09469127749716},
        {5000, 175, 1021.109408904865},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t b = vpa_histogram_bucket(0.01, cases[i].value);
        ck_assert_uint_eq(b, cases[i].bucket);
        ck_assert(near(vpa_histogram_start(0.01, b), cases[i].start));
    }
    ck_assert_uint_eq(vpa_histogram_bucket(0.01, -1), 0);
    ck_assert_uint_eq(vpa_histogram_bucket(0.01, (double)NAN), 0);
}
END_TEST

/* A percentile is the end of the bucket that reaches it. */
START_TEST(percentiles)
{
    struct vpa_histogram h;
    vpa_histogram_init(&h, 0.01);
    ck_assert(vpa_histogram_empty(&h));
    ck_assert(vpa_histogram_percentile(&h, 0.9) <= 0);
    for (int i = 0; i < 8; i++)
        vpa_histogram_add(&h, 0.1, 0.1, T0 + 60 * i);
    vpa_histogram_add(&h, 2, 0.1, T0 + 480);
    vpa_histogram_add(&h, 0.5, 0.1, T0 + 540);
    ck_assert(near(vpa_histogram_percentile(&h, 0.5), 0.11026564319570314));
    ck_assert(near(vpa_histogram_percentile(&h, 0.9), 2.093479957150738));
    ck_assert(near(vpa_histogram_percentile(&h, 0.95), 2.093479957150738));
}
END_TEST

/* After three half-lives four samples weigh half of a new one. */
START_TEST(decay)
{
    struct vpa_histogram h;
    vpa_histogram_init(&h, 0.01);
    for (int i = 0; i < 4; i++)
        vpa_histogram_add(&h, 4, 0.1, T0);
    vpa_histogram_add(&h, 0.2, 0.1, T0 + 3 * DAY);
    ck_assert(near(vpa_histogram_percentile(&h, 0.5), 0.21578563588227356));
    ck_assert(near(vpa_histogram_percentile(&h, 0.67), 4.124698514136822));
    ck_assert(near(vpa_histogram_percentile(&h, 0.9), 4.124698514136822));
}
END_TEST

/* The reference moves when a sample is more than 100 half-lives after it, and weights stay right.
 */
START_TEST(reference_moves)
{
    struct vpa_histogram h;
    vpa_histogram_init(&h, 0.01);
    vpa_histogram_add(&h, 4, 0.1, T0 + 100 * DAY);
    ck_assert_int_eq(h.reference_s, T0 + 100 * DAY);
    for (int i = 0; i < 4; i++)
        vpa_histogram_add(&h, 4, 0.1, T0 + 198 * DAY);
    vpa_histogram_add(&h, 0.2, 0.1, T0 + 201 * DAY);
    ck_assert_int_eq(h.reference_s, T0 + 201 * DAY);
    ck_assert(near(vpa_histogram_percentile(&h, 0.5), 0.21578563588227356));
    ck_assert(near(vpa_histogram_percentile(&h, 0.67), 4.124698514136822));
    /* 0.1 now, 4 * 0.1 / 8, and 0.1 / 2^101. */
    ck_assert(fabs(h.total - 0.15) < 1e-12);
}
END_TEST

/* What was subtracted was never there; saving and loading keep percentiles and time. */
START_TEST(saved_and_loaded)
{
    struct vpa_histogram h, again;
    uint32_t weights[VPA_BUCKETS];
    vpa_histogram_init(&h, 1e7);
    vpa_histogram_init(&again, 1e7);
    vpa_histogram_add(&h, 5e8, 1, T0 + 3600);
    vpa_histogram_add(&h, 1e8, 1, T0 + 3600);
    vpa_histogram_add(&h, 9e8, 1, T0 + 7200);
    vpa_histogram_subtract(&h, 9e8, 1, T0 + 7200);
    vpa_histogram_add(&h, 1e8, 1, T0 + DAY);
    vpa_histogram_save(&h, weights);
    ck_assert_uint_eq(weights[vpa_histogram_bucket(1e7, 1e8)], 10000);
    /* 2^(1/24) against 2 + 2^(1/24). */
    ck_assert_uint_eq(weights[vpa_histogram_bucket(1e7, 5e8)], 3398);
    ck_assert_uint_eq(weights[vpa_histogram_bucket(1e7, 9e8)], 0);
    ck_assert(vpa_histogram_load(&again, weights, h.total, h.reference_s));
    ck_assert(near(again.total, h.total));
    for (double share = 0.05; share < 1; share += 0.05)
        ck_assert(
            near(vpa_histogram_percentile(&again, share), vpa_histogram_percentile(&h, share)));
    ck_assert(!vpa_histogram_load(&again, weights, -1, T0));
    ck_assert(!vpa_histogram_load(&again, weights, (double)NAN, T0));
}
END_TEST

static void expect(const struct vpa_amounts *got, int64_t cpu, int64_t memory)
{
    ck_assert_int_eq(got->cpu, cpu);
    ck_assert_int_eq(got->memory, memory);
}

/* Half a day of CPU, a tenth of it high, and one peak of memory. */
START_TEST(estimates)
{
    struct vpa_aggregate a;
    struct vpa_usage u = {0};
    struct vpa_estimate e;
    vpa_aggregate_init(&a);
    for (int i = 0; i < 720; i++)
        ck_assert(vpa_add_cpu(&a, &u, i % 10 == 0 ? 1200 : 250, T0 + 60 * i));
    ck_assert(vpa_add_memory(&a, &u, &vpa_memory_rules_default, 700000000, T0));
    ck_assert(vpa_add_memory(&a, &u, &vpa_memory_rules_default, 600000000, T0 + 60));
    vpa_estimate(&a, &vpa_estimate_config_default, 1, &e);
    expect(&e.target, 296, 813749082);
    expect(&e.lower, 294, 810499324);
    expect(&e.upper, 4167, 2443510803);
}
END_TEST

/* A pod is never recommended less than 25m and 250 MiB, which its containers share. */
START_TEST(minimum)
{
    struct vpa_aggregate a;
    struct vpa_usage u = {0};
    struct vpa_estimate e;
    vpa_aggregate_init(&a);
    for (int i = 0; i <= 1440; i++)
        vpa_add_cpu(&a, &u, 1, T0 + 60 * i);
    vpa_add_memory(&a, &u, &vpa_memory_rules_default, 5000000, T0);
    vpa_estimate(&a, &vpa_estimate_config_default, 2, &e);
    expect(&e.target, 12, 131072000);
    expect(&e.lower, 12, 131072000);
    expect(&e.upper, 22, 131072000);
}
END_TEST

/* One sample says what is used, and nothing about bounds. */
START_TEST(no_confidence)
{
    struct vpa_aggregate a;
    struct vpa_usage u = {0};
    struct vpa_estimate e;
    vpa_aggregate_init(&a);
    ck_assert(vpa_add_cpu(&a, &u, 250, T0));
    ck_assert(!vpa_add_cpu(&a, &u, 900, T0)); /* Seen already. */
    vpa_estimate(&a, &vpa_estimate_config_default, 1, &e);
    expect(&e.target, 296, 262144000);
    expect(&e.lower, 25, 262144000);
    ck_assert_int_eq(e.upper.cpu, VPA_AMOUNT_MAX);
}
END_TEST

/* Within an interval only the peak counts; the next interval has a peak of its own. */
START_TEST(memory_peaks)
{
    const struct vpa_memory_rules *r = &vpa_memory_rules_default;
    struct vpa_aggregate a;
    struct vpa_usage u = {0};
    vpa_aggregate_init(&a);
    vpa_add_memory(&a, &u, r, 100 * MB, T0);
    ck_assert_int_eq(u.window_end_s, T0 + DAY);
    vpa_add_memory(&a, &u, r, 300 * MB, T0 + 60);
    vpa_add_memory(&a, &u, r, 200 * MB, T0 + 120);
    ck_assert(!vpa_add_memory(&a, &u, r, 900 * MB, T0 + 60)); /* Out of order. */
    ck_assert_int_eq(u.peak, 300 * MB);
    ck_assert(near(a.memory.total, 1));
    vpa_add_memory(&a, &u, r, 50 * MB, T0 + 2 * DAY + 5); /* One interval was left out. */
    ck_assert_int_eq(u.window_end_s, T0 + 3 * DAY);
    ck_assert_int_eq(u.peak, 50 * MB);
    ck_assert(near(a.memory.total, 1 + 4));
}
END_TEST

/* A kill for lack of memory counts as 1.2 times the request, or 100 MiB more. */
START_TEST(out_of_memory)
{
    const struct vpa_memory_rules *r = &vpa_memory_rules_default;
    struct vpa_aggregate a;
    struct vpa_usage u = {0};
    struct vpa_estimate e;
    vpa_aggregate_init(&a);
    for (int i = 0; i <= 1440; i++)
        vpa_add_cpu(&a, &u, 1, T0 + 60 * i);
    vpa_add_memory(&a, &u, r, 900 * MB, T0);
    ck_assert(vpa_add_oom(&a, &u, r, 1024 * MB, T0 + 10));
    ck_assert_int_eq(u.oom_peak, 1288490188);
    vpa_estimate(&a, &vpa_estimate_config_default, 1, &e);
    expect(&e.target, 25, 1555165137);
    expect(&e.lower, 25, 1552059466);
    ck_assert_int_eq(e.upper.memory, 3110330274);
    /* Usage below does not lower it; an old kill does not count. */
    vpa_add_memory(&a, &u, r, 950 * MB, T0 + 60);
    ck_assert(near(a.memory.total, 1));
    ck_assert(!vpa_add_oom(&a, &u, r, 4096LL * MB, T0 + 60 - DAY - 1));
    struct vpa_usage small = {0};
    vpa_add_oom(&a, &small, r, 200 * MB, T0 + 70);
    ck_assert_int_eq(small.oom_peak, 300 * MB);
}
END_TEST

UNIT_MAIN("vpa_estimate", {
    UNIT_TEST(buckets);
    UNIT_TEST(percentiles);
    UNIT_TEST(decay);
    UNIT_TEST(reference_moves);
    UNIT_TEST(saved_and_loaded);
    UNIT_TEST(estimates);
    UNIT_TEST(minimum);
    UNIT_TEST(no_confidence);
    UNIT_TEST(memory_peaks);
    UNIT_TEST(out_of_memory);
})
