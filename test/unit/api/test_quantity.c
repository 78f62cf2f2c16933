/* test_quantity.c - quantities, times and ages. Expected texts are what
 * upstream's parser and printer give. */
#include "test/unit/unit.h"

#include "api/meta_v1.h"
#include "api/resource.h"
#include "lib/api/quantity.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

/* The stored form: rewritten only where upstream rewrites. */
START_TEST(test_canonical)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"0", "0"},
        {"0Gi", "0"},
        {"-0", "0"},
        {"1", "1"},
        {"100m", "100m"},
        {"0.5", "500m"},
        {"1.5", "1500m"},
        {"1000m", "1"},
        {"1000", "1k"},
        {"1500", "1500"},
        {"100k", "100k"},
        {"1000k", "1M"},
        {"1024Ki", "1Mi"},
        {"1Gi", "1Gi"},
        {"512Mi", "512Mi"},
        {"1025Mi", "1025Mi"},
        {"1.5Gi", "1536Mi"},
        {"0.1Ki", "102400m"},
        {"100Ki", "100Ki"},
        {"1e3", "1e3"},
        {"1E3", "1E3"},
        {"12e6", "12e6"},
        {"1e4", "10e3"},
        {"1.500", "1.500"},
        {"+5", "+5"},
        {"05", "05"},
        {"-1Gi", "-1Gi"},
        {"-0.5", "-500m"},
        {"1n", "1n"},
        {"0.1n", "1n"},
        {"1e-12", "1e-9"},
        {"0.000000001", "1n"},
        {"1u", "1u"},
        {"3T", "3T"},
        {"5P", "5P"},
        {"7E", "7E"},
        {"9Ei", "9223372036854775807"},
        {".5", "500m"},
        {"5.", "5."},
        {"123456789012345678901", "123456789012345678901"},
        {"1048576", "1048576"},
        {"2Ki", "2Ki"},
        {"1023", "1023"},
        {"4096Mi", "4Gi"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct str got;
        struct error err = {0};
        int r = quantity_canonical(a, str_of(cases[i].text), &got, &err);
        ck_assert_msg(r == 0, "%s: %s", cases[i].text, err.message);
        ck_assert_msg(str_eqc(got, cases[i].want), "%s: got " STR_FMT, cases[i].text, STR_ARG(got));
        /* A canonical text means the same number. */
        struct quantity x, y;
        ck_assert_int_eq(quantity_parse(str_of(cases[i].text), &x, NULL), 0);
        ck_assert_int_eq(quantity_parse(got, &y, NULL), 0);
        ck_assert_int_eq(quantity_cmp(&x, &y), 0);
    }
}
END_TEST

/* Bad texts, in the three ways that upstream tells apart. */
START_TEST(test_quantity_errors)
{
    static const char wrong[] = "quantities must match the regular expression "
                                "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", wrong},
        {"1 Gi", wrong},
        {"abc", wrong},
        {"1,5", wrong},
        {"1xi", wrong},
        {"1Gib", wrong},
        {"1gi", wrong},
        {"1KiKi", "unable to parse quantity's suffix"},
        {"1mm", "unable to parse quantity's suffix"},
        {"1e", "unable to parse quantity's suffix"},
        {"1m5", "unable to parse quantity's suffix"},
        {"1111111111111111111111111111111111111111", "unable to parse numeric part of quantity"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct quantity q;
        struct error err = {0};
        ck_assert_msg(quantity_parse(str_of(cases[i].text), &q, &err) == E_INVALID, "%s",
                      cases[i].text);
        ck_assert_str_eq(err.message, cases[i].message);
    }
}
END_TEST

static struct quantity q(const char *text)
{
    struct quantity v;
    ck_assert_int_eq(quantity_parse(str_of(text), &v, NULL), 0);
    return v;
}

/* Sums keep their format, take over one when they were zero, and round up. */
START_TEST(test_arithmetic)
{
    AUTO_ARENA *a = arena_new(0);
    struct quantity x = q("1Gi"), y = q("512Mi");
    quantity_add(&x, &y);
    ck_assert_str_eq(str_c(quantity_str(a, &x)), "1536Mi");
    quantity_sub(&x, &y);
    quantity_sub(&x, &y);
    quantity_sub(&x, &y);
    ck_assert(quantity_is_zero(&x));
    ck_assert_str_eq(str_c(quantity_str(a, &x)), "0");
    x = q("0");
    quantity_add(&x, &y);
    ck_assert_str_eq(str_c(quantity_str(a, &x)), "512Mi");
    x = q("100m");
    y = q("2");
    quantity_add(&x, &y);
    ck_assert_int_eq(quantity_milli_value(&x), 2100);
    ck_assert_int_eq(quantity_value(&x), 3);
    quantity_neg(&x);
    ck_assert_int_eq(quantity_value(&x), -3);
    ck_assert_int_eq(quantity_sign(&x), -1);

    x = q("1e30");
    ck_assert_int_eq(quantity_value(&x), INT64_MAX);
    y = q("1n");
    quantity_add(&x, &y);
    ck_assert_int_eq(quantity_cmp(&x, &(struct quantity){1, 30, QUANTITY_DECIMAL_SI}), 1);
    ck_assert_double_eq_tol(quantity_to_double(&x), 1e30, 1e15);

    x = quantity_from_milli(1500, QUANTITY_DECIMAL_SI);
    ck_assert_str_eq(str_c(quantity_str(a, &x)), "1500m");
    x = quantity_from_int(2048, QUANTITY_BINARY_SI);
    ck_assert_str_eq(str_c(quantity_str(a, &x)), "2Ki");
    x = quantity_from_int(INT64_MIN, QUANTITY_DECIMAL_SI);
    ck_assert_int_eq(quantity_value(&x), INT64_MIN);
    struct resource_quantity r;
    quantity_store(a, &x, &r);
    x = quantity_of(&r);
    ck_assert_int_eq(quantity_value(&x), INT64_MIN);
    r.string = STR_NULL;
    x = quantity_of(&r);
    ck_assert(quantity_is_zero(&x));
}
END_TEST

/* Comparison over all scales. */
START_TEST(test_compare)
{
    static const char *const rising[] = {"-1e40", "-1Gi", "-1",  "-1n",  "0",   "1n",
                                         "999u",  "1m",   "0.9", "1",    "1.1", "1023",
                                         "1Ki",   "1M",   "1Mi", "1e20", "1e40"};
    for (size_t i = 0; i < ARRAY_SIZE(rising); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(rising); k++) {
            struct quantity x = q(rising[i]), y = q(rising[k]);
            ck_assert_msg(quantity_cmp(&x, &y) == (i > k) - (i < k), "%s %s", rising[i], rising[k]);
        }
    }
}
END_TEST

/* RFC 3339 with offsets and fractions, there and back. */
START_TEST(test_times)
{
    static const struct {
        const char *text;
        int64_t seconds;
        const char *printed;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z"},
        {"2008-01-01T01:01:01Z", 1199149261, "2008-01-01T01:01:01Z"},
        {"2000-02-29T23:59:59+01:30", 951863399, "2000-02-29T22:29:59Z"},
        {"2024-12-31T23:30:00-01:00", 1735691400, "2025-01-01T00:30:00Z"},
        {"2024-01-01T00:00:00.999Z", 1704067200, "2024-01-01T00:00:00Z"},
        {"1969-12-31T23:59:59Z", -1, "1969-12-31T23:59:59Z"},
        {"9999-12-31T23:59:59Z", 253402300799, "9999-12-31T23:59:59Z"},
        {"2024-01-01T1:02:03Z", 1704070923, "2024-01-01T01:02:03Z"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct meta_v1_time t = {0};
        struct error err = {0};
        char text[TIME_TEXT_MAX];
        ck_assert_msg(time_parse(str_of(cases[i].text), &t, &err) == 0, "%s", err.message);
        ck_assert_int_eq(t.seconds, cases[i].seconds);
        ck_assert(!time_is_zero(&t));
        ck_assert_uint_eq(time_format(&t, text), strlen(cases[i].printed));
        ck_assert_str_eq(text, cases[i].printed);
    }
    struct meta_v1_time zero;
    char text[TIME_TEXT_MAX];
    ck_assert_int_eq(time_parse(STR("0001-01-01T00:00:00Z"), &zero, NULL), 0);
    ck_assert(time_is_zero(&zero));
    ck_assert_uint_eq(time_format(&zero, text), 0);
    struct meta_v1_micro_time m;
    ck_assert_int_eq(micro_time_parse(STR("2024-01-01T00:00:00.000001Z"), &m, NULL), 0);
    micro_time_format(&m, text);
    ck_assert_str_eq(text, "2024-01-01T00:00:00.000001Z");
    struct meta_v1_time epoch = time_from_ns(999), before = time_from_ns(-1);
    ck_assert(!time_is_zero(&epoch) && epoch.seconds == 0);
    ck_assert_int_eq(before.seconds, -1);
    ck_assert_int_eq(time_cmp(&zero, &before), -1);
    ck_assert_int_eq(time_cmp(&epoch, &before), 1);
    m = micro_time_from_ns(1704067200123456789);
    ck_assert_int_eq(micro_time_to_ns(&m), 1704067200123456000);
}
END_TEST

START_TEST(test_time_errors)
{
#define SECONDS_LAYOUT "2006-01-02T15:04:05Z07:00"
#define MICRO_LAYOUT "2006-01-02T15:04:05.000000Z07:00"
    static const struct {
        const char *text, *message;
        bool micro;
    } cases[] = {
        {"yesterday",
         "parsing time \"yesterday\" as \"" MICRO_LAYOUT
         "\": cannot parse \"yesterday\" as \"2006\"",
         true},
        {"2024-01-01T00:00:00.5Z",
         "parsing time \"2024-01-01T00:00:00.5Z\" as \"" MICRO_LAYOUT
         "\": cannot parse \".5Z\" as \".000000\"",
         true},
        {"2024-01-01T00:00:00Z",
         "parsing time \"2024-01-01T00:00:00Z\" as \"" MICRO_LAYOUT
         "\": cannot parse \"Z\" as \".000000\"",
         true},
        {"", "parsing time \"\" as \"" SECONDS_LAYOUT "\": cannot parse \"\" as \"2006\"", false},
        {"2024-13-01T00:00:00Z", "parsing time \"2024-13-01T00:00:00Z\": month out of range",
         false},
        {"2023-02-29T00:00:00Z", "parsing time \"2023-02-29T00:00:00Z\": day out of range", false},
        {"2024-01-01T24:00:00Z", "parsing time \"2024-01-01T24:00:00Z\": hour out of range", false},
        {"2024-01-01 00:00:00Z",
         "parsing time \"2024-01-01 00:00:00Z\" as \"" SECONDS_LAYOUT
         "\": cannot parse \" 00:00:00Z\" as \"T\"",
         false},
        {"2024-01-01T00:00:00",
         "parsing time \"2024-01-01T00:00:00\" as \"" SECONDS_LAYOUT
         "\": cannot parse \"\" as \"Z07:00\"",
         false},
        {"2024-01-01T00:00:00Zx", "parsing time \"2024-01-01T00:00:00Zx\": extra text: \"x\"",
         false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct meta_v1_time t;
        struct meta_v1_micro_time m;
        struct error err = {0};
        int r = cases[i].micro ? micro_time_parse(str_of(cases[i].text), &m, &err)
                               : time_parse(str_of(cases[i].text), &t, &err);
        ck_assert_int_eq(r, E_INVALID);
        ck_assert_str_eq(err.message, cases[i].message);
    }
}
END_TEST

START_TEST(test_ages)
{
    static const struct {
        int64_t seconds;
        const char *want;
    } cases[] = {
        {-5, "<invalid>"},  {-1, "0s"},         {0, "0s"},      {119, "119s"},
        {120, "2m"},        {185, "3m5s"},      {600, "10m"},   {10799, "179m"},
        {10800, "3h"},      {10860, "3h1m"},    {28800, "8h"},  {172799, "47h"},
        {172800, "2d"},     {183600, "2d3h"},   {691200, "8d"}, {63072000, "2y"},
        {63158400, "2y1d"}, {315360000, "10y"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[AGE_TEXT_MAX];
        age_format(cases[i].seconds, text);
        ck_assert_str_eq(text, cases[i].want);
    }
}
END_TEST

UNIT_MAIN("quantity", {
    UNIT_TEST(test_canonical);
    UNIT_TEST(test_quantity_errors);
    UNIT_TEST(test_arithmetic);
    UNIT_TEST(test_compare);
    UNIT_TEST(test_times);
    UNIT_TEST(test_time_errors);
    UNIT_TEST(test_ages);
})
