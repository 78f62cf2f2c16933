/* test_shutdown.c - in which order and how long pods end when the node goes down. */
#include "kubelet/shutdown.h"

#include "test/unit/unit.h"

#define SECOND 1000000000ll

/* As upstream's two periods: critical pods go last, within their part. */
START_TEST(test_periods)
{
    struct shutdown_plan p;
    struct error err;
    struct shutdown_config c = {.grace_ns = 30 * SECOND, .critical_ns = 10 * SECOND};
    ck_assert_int_eq(shutdown_plan_init(&p, &c, &err), 0);
    ck_assert_uint_eq(p.count, 2);
    ck_assert_int_eq(p.groups[0].seconds, 20);
    ck_assert_int_eq(p.groups[1].seconds, 10);
    ck_assert_int_eq(shutdown_total_s(&p), 30);
    ck_assert_uint_eq(shutdown_group_of(&p, -5), 0);
    ck_assert_uint_eq(shutdown_group_of(&p, 1999999999), 0);
    ck_assert_uint_eq(shutdown_group_of(&p, 2000000000), 1);
    c = (struct shutdown_config){0};
    ck_assert_int_eq(shutdown_plan_init(&p, &c, &err), 0);
    ck_assert_uint_eq(p.count, 0);
}
END_TEST

START_TEST(test_priorities)
{
    struct shutdown_plan p;
    struct error err;
    const char *items[] = {"10000=20", "0=60", "2000000000=5"};
    struct shutdown_config c = {.by_priority = {items, 3}};
    ck_assert_int_eq(shutdown_plan_init(&p, &c, &err), 0);
    ck_assert_int_eq(p.groups[0].seconds, 60);
    ck_assert_int_eq(p.groups[1].seconds, 20);
    ck_assert_uint_eq(shutdown_group_of(&p, -1), 0);
    ck_assert_uint_eq(shutdown_group_of(&p, 9999), 0);
    ck_assert_uint_eq(shutdown_group_of(&p, 10000), 1);
    ck_assert_uint_eq(shutdown_group_of(&p, 2000001000), 2);
    ck_assert_int_eq(shutdown_total_s(&p), 85);
}
END_TEST

START_TEST(test_refusals)
{
    struct shutdown_plan p;
    struct error err;
    const char *items[] = {"x=20"};
    struct shutdown_config more = {.grace_ns = SECOND, .critical_ns = 2 * SECOND};
    struct shutdown_config less = {.grace_ns = SECOND / 2};
    struct shutdown_config text = {.by_priority = {items, 1}};
    struct shutdown_config both = {.grace_ns = SECOND, .by_priority = {items, 1}};
    ck_assert_int_eq(shutdown_plan_init(&p, &more, &err), E_INVALID);
    ck_assert_int_eq(shutdown_plan_init(&p, &less, &err), E_INVALID);
    ck_assert_int_eq(shutdown_plan_init(&p, &both, &err), E_INVALID);
    ck_assert_int_eq(shutdown_plan_init(&p, &text, &err), E_INVALID);
    ck_assert_str_eq(error_message(&err), "--shutdown-grace-period-by-pod-priority: 'x=20' is not "
                                          "of the form priority=seconds");
}
END_TEST

UNIT_MAIN("kubelet shutdown", {
    UNIT_TEST(test_periods);
    UNIT_TEST(test_priorities);
    UNIT_TEST(test_refusals);
})
