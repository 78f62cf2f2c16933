/* test_range.c - ranges of addresses of both families. */
#include "lib/net/range.h"

#include "lib/base/base.h"

#include "test/unit/unit.h"

static struct net_range range(const char *text)
{
    struct net_range r;
    ck_assert_msg(net_range_parse(str_of(text), &r), "%s", text);
    return r;
}

/* What stands behind the prefix is dropped; what is no range is refused. */
START_TEST(parses)
{
    static const char *const bad[] = {"",           "10.0.0.0",  "10.0.0.0/33",
                                      "fd00::/129", "10.0.0/8",  "fd00::1::/64",
                                      "x/8",        "10.0.0.0/", "10.0.0.0/-1"};
    char text[NET_RANGE_TEXT_MAX];
    struct net_range r = range("10.1.2.3/20");
    net_range_text(&r, text);
    ck_assert_str_eq(text, "10.1.0.0/20");
    r = range("fd00:1:2:3:4::5/63");
    net_range_text(&r, text);
    ck_assert_str_eq(text, "fd00:1:2:2::/63");
    ck_assert(net_range_parse_address(STR("fd00::5"), &r) && r.prefix == 128);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_msg(!net_range_parse(str_of(bad[i]), &r), "%s", bad[i]);
}
END_TEST

/* One range, or two of different families. */
START_TEST(parses_pairs)
{
    struct net_range r[2];
    ck_assert_uint_eq(net_range_parse_pair(STR("10.0.0.0/8"), r), 1);
    ck_assert_uint_eq(net_range_parse_pair(STR("fd00::/64, 10.0.0.0/8"), r), 2);
    ck_assert(r[0].v6 && !r[1].v6);
    ck_assert_uint_eq(net_range_parse_pair(STR("10.0.0.0/8,11.0.0.0/8"), r), 0);
    ck_assert_uint_eq(net_range_parse_pair(STR("10.0.0.0/8,"), r), 0);
    ck_assert_uint_eq(net_range_parse_pair(STR("10.0.0.0/8,fd00::/64,fd01::/64"), r), 0);
}
END_TEST

/* Containing goes by bits, within a family. */
START_TEST(contains)
{
    struct net_range ten = range("10.0.0.0/9"), all6 = range("::/0"), x;
    ck_assert(net_range_parse_address(STR("10.127.255.255"), &x) && net_range_contains(&ten, &x));
    ck_assert(net_range_parse_address(STR("10.128.0.0"), &x) && !net_range_contains(&ten, &x));
    ck_assert(!net_range_contains(&all6, &x));
    x = range("10.0.0.0/8");
    ck_assert(!net_range_contains(&ten, &x));
    ck_assert(net_range_contains(&x, &ten));
}
END_TEST

/* A range is cut into ranges, and they are found again by what overlaps them. */
START_TEST(cuts)
{
    struct net_range six = range("fd00:244::/48"), four = range("10.244.0.0/16"), x;
    char text[NET_RANGE_TEXT_MAX];
    uint64_t first, last;
    x = net_range_nth(&six, 64, 0x1234);
    net_range_text(&x, text);
    ck_assert_str_eq(text, "fd00:244:0:1234::/64");
    ck_assert(net_range_overlap(&six, 64, &x, &first, &last));
    ck_assert_uint_eq(first, 0x1234);
    ck_assert_uint_eq(last, 0x1234);
    x = range("10.244.4.0/22");
    ck_assert(net_range_overlap(&four, 24, &x, &first, &last));
    ck_assert_uint_eq(first, 4);
    ck_assert_uint_eq(last, 7);
    x = range("10.244.3.128/25");
    ck_assert(net_range_overlap(&four, 24, &x, &first, &last));
    ck_assert_uint_eq(first, 3);
    ck_assert_uint_eq(last, 3);
    x = range("10.0.0.0/8");
    ck_assert(net_range_overlap(&four, 24, &x, &first, &last));
    ck_assert_uint_eq(last, 255);
    x = range("10.245.0.0/24");
    ck_assert(!net_range_overlap(&four, 24, &x, &first, &last));
    ck_assert(!net_range_overlap(&four, 24, &six, &first, &last));
}
END_TEST

UNIT_MAIN("range", {
    UNIT_TEST(parses);
    UNIT_TEST(parses_pairs);
    UNIT_TEST(contains);
    UNIT_TEST(cuts);
})
