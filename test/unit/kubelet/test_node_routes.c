/* test_node_routes.c - routes to other nodes' pods follow the nodes. */
#include "kubelet/masquerade.h"
#include "kubelet/node_routes.h"

#include "lib/base/buf.h"

#include "test/unit/unit.h"

static const struct node_route a = {0x0af40000, 24, 0x0a000001}, b = {0x0af40100, 24, 0x0a000002};

/* What is missing is set, what is there stays untouched. */
START_TEST(sets_what_is_missing)
{
    struct node_route want[] = {a, b}, set[2], gone[1];
    size_t n = 0, m = 0;
    node_routes_diff(&a, 1, want, 2, set, &n, gone, &m);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(set[0].net, b.net);
    ck_assert_uint_eq(m, 0);
}
END_TEST

/* A node that left takes its route with it. */
START_TEST(removes_what_is_gone)
{
    struct node_route have[] = {a, b}, set[1], gone[2];
    size_t n = 0, m = 0;
    node_routes_diff(have, 2, &b, 1, set, &n, gone, &m);
    ck_assert_uint_eq(n, 0);
    ck_assert_uint_eq(m, 1);
    ck_assert_uint_eq(gone[0].net, a.net);
}
END_TEST

/* A node with a new address: its route is replaced, never removed in between. */
START_TEST(replaces_a_moved_gateway)
{
    struct node_route moved = a, set[1], gone[1];
    size_t n = 0, m = 0;
    moved.gateway = 0x0a000009;
    node_routes_diff(&a, 1, &moved, 1, set, &n, gone, &m);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(set[0].gateway, moved.gateway);
    ck_assert_uint_eq(m, 0);
}
END_TEST

/* What this node's pods send to no other pod is masqueraded, family by family; what is no range is
 * left out. */
START_TEST(masquerades_what_leaves)
{
    const struct str own[] = {STR("10.244.1.0/24"), STR("fd00:1::/64")};
    const struct str all[] = {STR("10.244.0.0/24"), STR("10.244.1.0/24"), STR("fd00:1::/64"),
                              STR("1.2.3.4/24; flush ruleset")};
    AUTO_BUF text_buf = BUF_INIT;
    masquerade_rules(own, 2, all, 4, &text_buf);
    AUTO_FREE char *text = buf_steal(&text_buf, NULL);
    ck_assert_ptr_nonnull(strstr(text, "elements = { 10.244.0.0/24, 10.244.1.0/24 }"));
    ck_assert_ptr_nonnull(strstr(text, "elements = { fd00:1::/64 }"));
    ck_assert_ptr_nonnull(strstr(text, "ip saddr 10.244.1.0/24 ip daddr != @pods4"));
    ck_assert_ptr_nonnull(strstr(text, "ip6 saddr fd00:1::/64 ip6 daddr != @pods6"));
    ck_assert_ptr_null(strstr(text, "flush ruleset"));
}
END_TEST

UNIT_MAIN("node_routes", {
    UNIT_TEST(masquerades_what_leaves);
    UNIT_TEST(sets_what_is_missing);
    UNIT_TEST(removes_what_is_gone);
    UNIT_TEST(replaces_a_moved_gateway);
})
