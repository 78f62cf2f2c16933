/* test_node_routes.c - routes to other nodes' pods follow the nodes, in both families. */
#include "kubelet/cni_conf.h"
#include "kubelet/machine.h"
#include "kubelet/masquerade.h"
#include "kubelet/node_routes.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include "api/core_v1.h"

#include "test/unit/unit.h"

static struct node_route route(const char *to, const char *gateway)
{
    struct node_route r;
    ck_assert(net_range_parse(str_of(to), &r.to));
    ck_assert(net_range_parse_address(str_of(gateway), &r.gateway));
    return r;
}

#define A route("10.244.0.0/24", "10.0.0.1")
#define A6 route("fd00:244::/64", "fd00::1")
#define B route("10.244.1.0/24", "10.0.0.2")

/* What is missing is set, what is there stays untouched. */
START_TEST(sets_what_is_missing)
{
    struct node_route have[] = {A}, want[] = {A, B, A6}, set[3], gone[1];
    size_t n = 0, m = 0;
    node_routes_diff(have, 1, want, 3, set, &n, gone, &m);
    ck_assert_uint_eq(n, 2);
    ck_assert(net_range_equal(&set[0].to, &want[1].to));
    ck_assert(net_range_equal(&set[1].to, &want[2].to));
    ck_assert_uint_eq(m, 0);
}
END_TEST

/* A node that left takes its routes with it. */
START_TEST(removes_what_is_gone)
{
    struct node_route have[] = {A, B, A6}, want[] = {B}, set[1], gone[3];
    size_t n = 0, m = 0;
    node_routes_diff(have, 3, want, 1, set, &n, gone, &m);
    ck_assert_uint_eq(n, 0);
    ck_assert_uint_eq(m, 2);
    ck_assert(net_range_equal(&gone[0].to, &have[0].to));
    ck_assert(net_range_equal(&gone[1].to, &have[2].to));
}
END_TEST

/* A node with a new address: its route is replaced, never removed in between. */
START_TEST(replaces_a_moved_gateway)
{
    struct node_route have[] = {A}, moved[] = {route("10.244.0.0/24", "10.0.0.9")}, set[1], gone[1];
    size_t n = 0, m = 0;
    node_routes_diff(have, 1, moved, 1, set, &n, gone, &m);
    ck_assert_uint_eq(n, 1);
    ck_assert(net_range_equal(&set[0].gateway, &moved[0].gateway));
    ck_assert_uint_eq(m, 0);
}
END_TEST

/* Each of a node's ranges is reached through its address of the same family; one without such an
 * address is not. */
START_TEST(goes_by_family)
{
    struct str ranges[] = {STR("fd00:244:0:1::/64"), STR("10.244.1.0/24")};
    struct core_v1_node_address addresses[] = {{STR("Hostname"), STR("a")},
                                               {STR("InternalIP"), STR("10.0.0.2")},
                                               {STR("InternalIP"), STR("fd00::2")}};
    struct core_v1_node node = {
        .spec = {.pod_cidr = ranges[0], .pod_cidrs = ranges, .pod_cidrs_count = ARRAY_SIZE(ranges)},
        .status = {.addresses = addresses, .addresses_count = ARRAY_SIZE(addresses)}};
    struct node_route r[2], six = route("fd00:244:0:1::/64", "fd00::2"), four = B;
    ck_assert_uint_eq(node_routes_of(&node, r), 2);
    ck_assert(net_range_equal(&r[0].to, &six.to) && net_range_equal(&r[0].gateway, &six.gateway));
    ck_assert(net_range_equal(&r[1].to, &four.to) && net_range_equal(&r[1].gateway, &four.gateway));
    node.status.addresses_count = 2;
    ck_assert_uint_eq(node_routes_of(&node, r), 1);
    ck_assert(!r[0].to.v6);
    node.spec.pod_cidrs_count = 0; /* As before there were lists. */
    node.spec.pod_cidr = STR("10.244.1.0/24");
    ck_assert_uint_eq(node_routes_of(&node, r), 1);
    ck_assert(net_range_equal(&r[0].to, &four.to));
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

static bool network_has(const char *ranges, const char *part)
{
    struct str list[2];
    AUTO_BUF b = BUF_INIT;
    size_t n = str_cut(str_of(ranges), ',', &list[0], &list[1]) ? 2 : 1;
    cni_conf_text(list, n, "/d", false, &b);
    return str_find_str(buf_str(&b), str_of(part)) >= 0;
}

/* Pods get an address of each range, and a default route of those families alone. */
START_TEST(network_of_the_ranges)
{
    ck_assert(network_has("10.1.0.0/24,fd00::/64",
                          "[[{\"subnet\": \"10.1.0.0/24\"}], [{\"subnet\": \"fd00::/64\"}]]"));
    ck_assert(
        network_has("10.1.0.0/24,fd00::/64", "[{\"dst\": \"0.0.0.0/0\"}, {\"dst\": \"::/0\"}]"));
    ck_assert(network_has("fd00::/64", "[{\"dst\": \"::/0\"}]"));
    ck_assert(network_has("10.1.0.0/24", "[{\"dst\": \"0.0.0.0/0\"}]"));
}
END_TEST

static const char *node_ip(struct arena *a, const char *flag)
{
    struct machine m;
    struct error err = {0};
    if (machine_read(a, flag, &m, &err) != 0)
        return arena_strdup(a, error_message(&err));
    return m.ip_count == 2 ? str_c(arena_printf(a, "%s %s", m.ips[0], m.ips[1])) : m.ips[0];
}

/* --node-ip: one address, or one of each family, the first of which counts. */
START_TEST(node_addresses)
{
    AUTO_ARENA *a = arena_new(0);
    ck_assert_str_eq(node_ip(a, "192.0.2.1"), "192.0.2.1");
    ck_assert_str_eq(node_ip(a, "192.0.2.1, fd00::1"), "192.0.2.1 fd00::1");
    ck_assert_str_eq(node_ip(a, "fd00::1,192.0.2.1"), "fd00::1 192.0.2.1");
    ck_assert_str_eq(node_ip(a, "fd00::1,fd00::2"),
                     "--node-ip: must contain either a single IP or a dual-stack pair of IPs, one "
                     "of each family; 'fd00::2' is one too many");
    ck_assert_str_eq(node_ip(a, "node"), "--node-ip: 'node' is not an IP address");
}
END_TEST

UNIT_MAIN("node_routes", {
    UNIT_TEST(masquerades_what_leaves);
    UNIT_TEST(sets_what_is_missing);
    UNIT_TEST(removes_what_is_gone);
    UNIT_TEST(replaces_a_moved_gateway);
    UNIT_TEST(goes_by_family);
    UNIT_TEST(network_of_the_ranges);
    UNIT_TEST(node_addresses);
})
