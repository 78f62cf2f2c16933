/* test_cron.c - schedules: what they mean and what is wrong with them. */
#include "lib/api/cron.h"

#include "lib/base/error.h"
#include "test/unit/unit.h"

static int64_t next(const char *text, int64_t after, const char *zone)
{
    struct cron c;
    struct error err = {0};
    ck_assert_msg(cron_parse(str_of(text), &c, &err) == 0, "%s", err.message);
    return cron_next(&c, after, zone);
}

START_TEST(next_time)
{
    int64_t t = 1767225600; /* 2026-01-01T00:00:00Z, a Thursday */
    ck_assert_int_eq(next("* * * * *", t, NULL), t + 60);
    ck_assert_int_eq(next("*/15 * * * *", t + 1, NULL), t + 900);
    ck_assert_int_eq(next("30 8 * * mon-fri", t, NULL), t + 8 * 3600 + 1800);
    ck_assert_int_eq(next("0 0 * * 0", t, NULL), t + 3 * 86400);
    ck_assert_int_eq(next("0 0 13 * 5", t, NULL), t + 86400);  /* Either the 13th or a Friday. */
    ck_assert_int_eq(next("0 0 29 2 *", t, NULL), 1835395200); /* 2028 */
    ck_assert_int_eq(next("@hourly", t, NULL), t + 3600);
    ck_assert_int_eq(next("@every 90s", t, NULL), t + 90);
    ck_assert_int_eq(next("@every 1ms", t, NULL), t + 1); /* Seconds at the least. */
    ck_assert_int_eq(next("0 0 30 2 *", t, NULL), 0);
    ck_assert_int_eq(next(", * * * *", t, NULL), 0);
    ck_assert_int_eq(next("1, * * * *", t, NULL), t + 60);
    ck_assert_int_eq(next("7/99999 * * * *", t, NULL), t + 420);
    ck_assert_int_eq(next("0 9 * * *", t, "EST5"), t + 14 * 3600);
}
END_TEST

/* The latest time that is due, however many were missed and however uneven they are. */
START_TEST(latest)
{
    static const struct {
        const char *schedule;
        int64_t after, now, latest, missed;
    } cases[] = {
        {"*/10 * * * *", 0, 599, 0, 0},
        {"*/10 * * * *", 0, 600, 600, 1},
        {"*/10 * * * *", 0, 1300, 1200, 2},
        {"* * * * *", 0, 864000, 864000, 14400},
        {"0,1 0 * * *", 86399, 129600, 86460, 721}, /* Counted by the first distance. */
        {"@every 90s", 10, 400, 370, 4},
        {"0 0 30 2 *", 0, 864000, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cron c;
        int64_t missed;
        ck_assert_int_eq(cron_parse(str_of(cases[i].schedule), &c, NULL), 0);
        ck_assert_int_eq(cron_latest(&c, cases[i].after, cases[i].now, NULL, &missed),
                         cases[i].latest);
        ck_assert_int_eq(missed, cases[i].missed);
    }
    ck_assert(cron_zone_exists(STR("UTC")));
    ck_assert(!cron_zone_exists(STR("../etc/passwd")));
}
END_TEST

START_TEST(nonsense)
{
    static const char *const bad[] = {"",           "* * * *",   "* * * * * *", "60 * * * *",
                                      "* 24 * * *", "* * 0 * *", "5-1 * * * *", "*/0 * * * *",
                                      "x * * * *",  "@never"};
    struct cron c;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_msg(cron_parse(str_of(bad[i]), &c, NULL) == E_INVALID, "%s", bad[i]);
}
END_TEST

/* Schedules are refused in the words of upstream's parser. */
START_TEST(schedules)
{
    static const struct {
        const char *schedule, *fault;
    } cases[] = {
        {"*/5 0-3,7 1 jan-MAR ?", NULL},
        {"@hourly", NULL},
        {"@every 1h30m", NULL},
        {"@never", "unrecognized descriptor: @never"},
        {"@every x", "failed to parse duration @every x: time: invalid duration \"x\""},
        {"* * *", "expected exactly 5 fields, found 3: [* * *]"},
        {"61 * * * *", "end of range (61) above maximum (59): 61"},
        {"* * 0 * *", "beginning of range (0) below minimum (1): 0"},
        {"5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"},
        {"*/0 * * * *", "step of range should be a positive number: */0"},
        {"1-2-3 * * * *", "too many hyphens: 1-2-3"},
        {"*/1/2 * * * *", "too many slashes: */1/2"},
        {"x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cron c;
        struct error err = {0};
        int rc = cron_parse(str_of(cases[i].schedule), &c, &err);
        ck_assert_int_eq(rc, cases[i].fault == NULL ? 0 : E_INVALID);
        ck_assert_str_eq(err.message, cases[i].fault == NULL ? "" : cases[i].fault);
    }
}
END_TEST

UNIT_MAIN("cron", {
    UNIT_TEST(next_time);
    UNIT_TEST(latest);
    UNIT_TEST(nonsense);
    UNIT_TEST(schedules);
})
