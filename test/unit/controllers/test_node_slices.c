/* test_node_slices.c - nodes' ranges of pod addresses, cut out of the cluster's. */
#include "controllers/controller.h"
#include "controllers/node_slices.h"

#include "lib/base/arena.h"
#include "lib/base/error.h"

#include "test/unit/unit.h"

static struct manager_options options(const char *cidr, int64_t both, int64_t v4, int64_t v6)
{
    return (struct manager_options){.cluster_cidr = cidr,
                                    .node_cidr_mask = both,
                                    .node_cidr_mask_v4 = v4,
                                    .node_cidr_mask_v6 = v6};
}

static const char *refused(struct arena *a, struct manager_options o)
{
    struct node_slices s[2];
    struct error err = {0};
    unsigned count = 0;
    ck_assert_int_eq(node_slices_parse(&o, s, &count, &err), E_INVALID);
    return arena_strdup(a, error_message(&err));
}

/* Slices go out in order, of each family; what nodes have is left out, whatever its size. */
START_TEST(hands_out)
{
    AUTO_ARENA *a = arena_new(0);
    struct manager_options o = options("fd00:244::/48,10.244.0.0/16", 0, 0, 0);
    struct node_slices s[2];
    struct str got;
    unsigned count = 0;
    ck_assert_int_eq(node_slices_parse(&o, s, &count, NULL), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert(node_slices_free(&s[0], a, &got));
    ck_assert_str_eq(str_c(got), "fd00:244::/64");
    for (unsigned i = 0; i < 2; i++) {
        node_slices_mark(&s[i], STR("fd00:244::/63"));
        node_slices_mark(&s[i], STR("10.244.0.128/25"));
        node_slices_mark(&s[i], STR("nonsense"));
    }
    ck_assert(node_slices_free(&s[0], a, &got));
    ck_assert_str_eq(str_c(got), "fd00:244:0:2::/64");
    ck_assert(node_slices_free(&s[1], a, &got));
    ck_assert_str_eq(str_c(got), "10.244.1.0/24");
    node_slices_clear(&s[1]);
    ck_assert(node_slices_free(&s[1], a, &got));
    ck_assert_str_eq(str_c(got), "10.244.0.0/24");
    for (unsigned i = 0; i < 2; i++)
        node_slices_done(&s[i]);
}
END_TEST

/* The last slice is given, then none. */
START_TEST(runs_out)
{
    AUTO_ARENA *a = arena_new(0);
    struct manager_options o = options("fd00:244::/62", 63, 0, 0);
    struct node_slices s[2];
    struct str got;
    unsigned count = 0, given = 0;
    ck_assert_int_eq(node_slices_parse(&o, s, &count, NULL), 0);
    while (node_slices_free(&s[0], a, &got)) {
        node_slices_mark(&s[0], got);
        given++;
    }
    ck_assert_uint_eq(given, 2);
    node_slices_done(&s[0]);
}
END_TEST

/* Each refusal names the flag and what would be right. */
START_TEST(refuses)
{
    AUTO_ARENA *a = arena_new(0);
    ck_assert_str_eq(refused(a, options("10.0.0.0/8,10.1.0.0/16", 0, 0, 0)),
                     "--cluster-cidr: 10.0.0.0/8,10.1.0.0/16 is neither a range nor two, with a "
                     "comma, of different IP families");
    ck_assert_str_eq(refused(a, options("10.0.0.0/8,fd00::/48", 24, 0, 0)),
                     "usage of --node-cidr-mask-size is not allowed with dual-stack clusters: give "
                     "--node-cidr-mask-size-ipv4 and --node-cidr-mask-size-ipv6");
    ck_assert_str_eq(refused(a, options("10.0.0.0/8,fd00::/48", 0, 0, 127)),
                     "--node-cidr-mask-size-ipv6: 127 is not within 8 and 126");
    ck_assert_str_eq(refused(a, options("10.0.0.0/26", 0, 0, 0)),
                     "--cluster-cidr 10.0.0.0/26: a range of /26 cannot be cut into ranges of /24 "
                     "(--node-cidr-mask-size-ipv4)");
}
END_TEST

UNIT_MAIN("node_slices", {
    UNIT_TEST(hands_out);
    UNIT_TEST(runs_out);
    UNIT_TEST(refuses);
})
