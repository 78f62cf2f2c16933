/* How seats are shared among levels, lent and borrowed; Retry-After; weighed histograms; seats
 * of requests. */
#include "apiserver/flow_estimate.h"
#include "apiserver/flow_share.h"
#include "apiserver/request_info.h"
#include "lib/base/str.h"
#include "test/unit/unit.h"

/* The levels that every server has, with upstream's default total of 600. */
enum { EXEMPT, CATCH_ALL, SYSTEM, NODE_HIGH, LEADER, HIGH, LOW, DEFAULT, LEVELS };
static struct flow_share levels[LEVELS];
static struct flow_share *all[LEVELS];

static void make_levels(void)
{
    static const int32_t shares[LEVELS][2] = {{0, 0},  {5, 0},   {30, 33},  {40, 25},
                                              {10, 0}, {40, 50}, {100, 90}, {20, 50}};
    for (int i = 0; i < LEVELS; i++) {
        levels[i] = (struct flow_share){.shares = shares[i][0],
                                        .lendable_percent = shares[i][1],
                                        .borrowing_percent = -1,
                                        .current = -1};
        all[i] = &levels[i];
    }
    levels[EXEMPT].exempt = true;
}

static void want(int level, double seats)
{
    struct flow_demand_result seen = {.seconds = 10, .average = seats, .max = seats};
    flow_share_note(&levels[level], &seen);
}

/* Upstream's figures for the built-in levels. */
START_TEST(nominal_limits)
{
    static const int32_t nominal[LEVELS] = {0, 13, 74, 98, 25, 98, 245, 49};
    static const int32_t min[LEVELS] = {0, 13, 50, 73, 25, 49, 24, 24};
    make_levels();
    ck_assert_int_eq(flow_share_nominal(all, LEVELS, 600), 602);
    for (int i = 0; i < LEVELS; i++) {
        ck_assert_int_eq(levels[i].nominal, nominal[i]);
        ck_assert_int_eq(levels[i].min, min[i]);
        ck_assert_int_eq(levels[i].max, nominal[i] + 600);
    }
    ck_assert_int_eq(levels[LOW].current, 245 - 221 / 2);
}
END_TEST

/* A busy level borrows what the others may lend; each keeps its minimum. */
START_TEST(busy_levels_borrow)
{
    make_levels();
    int64_t sum = flow_share_nominal(all, LEVELS, 600);
    for (int i = 0; i < LEVELS; i++)
        want(i, i == LOW ? 1000 : 0);
    flow_share_adjust(all, LEVELS, sum);
    int64_t given = 0;
    for (int i = 0; i < LEVELS; i++) {
        ck_assert_int_ge(levels[i].current, levels[i].min);
        given += levels[i].current;
    }
    ck_assert_int_ge(levels[LOW].current, 602 - 13 - 50 - 73 - 25 - 49 - 24 - 2);
    ck_assert_int_le(llabs(given - 602), 4);
    /* When another wakes up it has at least its nominal limit at the next adjustment. */
    want(HIGH, 400);
    want(LOW, 1000);
    flow_share_adjust(all, LEVELS, sum);
    ck_assert_int_ge(levels[HIGH].current, 98);
    ck_assert_int_ge(levels[LOW].current, 245);
}
END_TEST

/* A level without a lower part to lend, or that may not borrow, keeps to its limits. */
START_TEST(borrowing_is_limited)
{
    make_levels();
    levels[LOW].borrowing_percent = 10;
    int64_t sum = flow_share_nominal(all, LEVELS, 600);
    ck_assert_int_eq(levels[LOW].max, 245 + 25);
    want(LOW, 1000);
    flow_share_adjust(all, LEVELS, sum);
    ck_assert_int_eq(levels[LOW].current, 270);
}
END_TEST

/* Exempt requests are not limited, but what they use is not there for others. */
START_TEST(exempt_use_counts)
{
    make_levels();
    int64_t sum = flow_share_nominal(all, LEVELS, 600);
    want(EXEMPT, 500);
    for (int i = 1; i < LEVELS; i++)
        want(i, 500);
    flow_share_adjust(all, LEVELS, sum);
    ck_assert_int_eq(levels[EXEMPT].current, 500);
    for (int i = 1; i < LEVELS; i++) /* 102 are left, less than the sum of the minimums. */
        ck_assert_int_eq(levels[i].current, levels[i].min);
    want(EXEMPT, 200);
    flow_share_adjust(all, LEVELS, sum);
    int64_t given = 0;
    for (int i = 1; i < LEVELS; i++) {
        ck_assert_int_ge(levels[i].current, levels[i].min);
        ck_assert_int_le(levels[i].current, levels[i].nominal);
        given += levels[i].current;
    }
    ck_assert_int_le(llabs(given - 402), 5);
}
END_TEST

/* Smoothed demand rises at once and is forgotten slowly: half in some five minutes. */
START_TEST(demand_is_smoothed)
{
    make_levels();
    want(LOW, 100);
    ck_assert_double_eq_tol(levels[LOW].smoothed, 100, 1e-9);
    for (int i = 0; i < 30; i++)
        want(LOW, 0);
    ck_assert_double_eq_tol(levels[LOW].smoothed, 50, 2);
    struct flow_demand_result nothing = {.seconds = 0, .max = 7};
    double before = levels[LOW].smoothed;
    flow_share_note(&levels[LOW], &nothing);
    ck_assert_double_eq(levels[LOW].smoothed, before);
}
END_TEST

/* Each gets the same fraction of its target unless a bound holds it. */
START_TEST(splitting)
{
    const double target[] = {10, 20, 40, 5}, lower[] = {0, 15, 0, 0}, upper[] = {100, 100, 20, 100};
    double out[4], sum = 0;
    double f = flow_share_split(target, lower, upper, 4, 44, out);
    for (int i = 0; i < 4; i++)
        sum += out[i];
    ck_assert_double_eq_tol(sum, 44, 1e-6);
    ck_assert_double_eq_tol(out[0], f * 10, 1e-6);
    ck_assert_double_eq_tol(out[1], 15, 1e-6);
    ck_assert_double_eq_tol(out[2], 20, 1e-6);
    ck_assert_double_eq_tol(out[3], f * 5, 1e-6);
}
END_TEST

/* Retry-After doubles while many are dropped, up to 32 s, and falls by one when few are. */
START_TEST(retry_after)
{
    struct flow_retry r;
    int64_t now = 1000000, seen = 1;
    flow_retry_init(&r);
    ck_assert_int_eq(flow_retry_drop(&r, now), 1);
    for (int s = 0; s < 200; s++, now++)
        for (int i = 0; i < 10; i++) {
            int64_t after = flow_retry_drop(&r, now);
            ck_assert_msg(after == seen || after == seen * 2, "%lld after %lld", (long long)after,
                          (long long)seen);
            seen = after;
        }
    ck_assert_int_eq(seen, 32);
    for (int s = 0; s < 40; s++) {
        now += 10;
        seen = flow_retry_drop(&r, now);
    }
    ck_assert_int_le(seen, 2);
}
END_TEST

/* A histogram of a ratio, weighed by time. */
START_TEST(timing_histogram)
{
    struct flow_timing t;
    flow_timing_init(&t, flow_bounds_seats, ARRAY_SIZE(flow_bounds_seats));
    flow_timing_set_denominator(&t, 10);
    flow_timing_elapse(&t, 100);
    flow_timing_set(&t, 5);
    flow_timing_elapse(&t, 30);
    flow_timing_set(&t, 20);
    flow_timing_elapse(&t, 7);
    ck_assert_uint_eq(t.ns[0], 100);
    ck_assert_uint_eq(t.ns[5], 30);
    ck_assert_uint_eq(t.ns[ARRAY_SIZE(flow_bounds_seats)], 7);
    ck_assert_double_eq_tol(t.sum, 0.5 * 30 + 2 * 7, 1e-9);
}
END_TEST

/* Seats of lists by bytes, of writes by watches. */
START_TEST(seats_of_requests)
{
    ck_assert_uint_eq(flow_list_seats(0, 0, 0), 1);
    ck_assert_uint_eq(flow_list_seats(1, 1500000, 0), 10);
    ck_assert_uint_eq(flow_list_seats(100, 2000, 0), 2);
    ck_assert_uint_eq(flow_list_seats(INT64_MAX, INT32_MAX, 0), 10);
    ck_assert_uint_eq(flow_list_seats(100000, 2000, 4), 4);
    struct flow_work w = flow_write_work(9, 0);
    ck_assert(w.seats == 1 && w.final_seats == 0 && w.extra_ns == 0);
    w = flow_write_work(45, 0);
    ck_assert(w.seats == 1 && w.final_seats == 5 && w.extra_ns == 5000000);
    w = flow_write_work(1000, 0); /* As much work, narrower and longer. */
    ck_assert(w.seats == 1 && w.final_seats == 10 && w.extra_ns == 50000000);
}
END_TEST

static struct request_info of(const char *resource, const char *ns, const char *name,
                              const char *fields)
{
    return (struct request_info){.is_resource = true,
                                 .resource = str_of(resource),
                                 .ns = str_of(ns),
                                 .name = str_of(name),
                                 .field_selector = str_of(fields)};
}

/* A write concerns the watches of everything, of its namespace and of its object. */
START_TEST(watches_are_counted)
{
    struct flow_watches w;
    flow_watches_init(&w);
    struct request_info everything = of("pods", "", "", ""), space = of("pods", "a", "", ""),
                        one = of("pods", "a", "x", ""), other = of("pods", "b", "", ""),
                        node = of("pods", "", "", "spec.nodeName=n1"),
                        unbound = of("pods", "", "", "spec.nodeName=,status.phase!=Failed");
    const struct request_info *open[] = {&everything, &space, &one, &other, &node, &unbound};
    for (size_t i = 0; i < ARRAY_SIZE(open); i++)
        flow_watches_add(&w, open[i], 1);
    ck_assert_uint_eq(flow_watches_count(&w, &one), 4);
    ck_assert_uint_eq(flow_watches_count(&w, &space), 3);
    ck_assert_uint_eq(flow_watches_count(&w, &other), 3);
    struct request_info services = of("services", "a", "x", "");
    ck_assert_uint_eq(flow_watches_count(&w, &services), 0);
    for (size_t i = 0; i < ARRAY_SIZE(open); i++)
        flow_watches_add(&w, open[i], -1);
    ck_assert_uint_eq(flow_watches_count(&w, &one), 0);
    ck_assert_uint_eq(w.counts.count, 0);
    flow_watches_done(&w);
}
END_TEST

UNIT_MAIN("flow_share", {
    UNIT_TEST(nominal_limits);
    UNIT_TEST(busy_levels_borrow);
    UNIT_TEST(borrowing_is_limited);
    UNIT_TEST(exempt_use_counts);
    UNIT_TEST(demand_is_smoothed);
    UNIT_TEST(splitting);
    UNIT_TEST(retry_after);
    UNIT_TEST(timing_histogram);
    UNIT_TEST(seats_of_requests);
    UNIT_TEST(watches_are_counted);
})
