/* node_routes.c - which routes to the other nodes' pods have to change. */
#include "kubelet/node_routes.h"

#include "api/core_v1.h"

#include <stdbool.h>

static bool gateway_of(const struct core_v1_node *node, bool v6, struct net_range *ret)
{
    for (size_t i = 0; i < node->status.addresses_count; i++)
        if (str_eqc(node->status.addresses[i].type, "InternalIP") &&
            net_range_parse_address(node->status.addresses[i].address, ret) && ret->v6 == v6)
            return true;
    return false;
}

size_t node_routes_of(const struct core_v1_node *node, struct node_route ret[2])
{
    const struct str *ranges = node->spec.pod_cidrs;
    size_t n = node->spec.pod_cidrs_count, count = 0;
    if (n == 0) {
        ranges = &node->spec.pod_cidr;
        n = 1;
    }
    for (size_t i = 0; i < n && count < 2; i++) {
        struct node_route *r = &ret[count];
        if (net_range_parse(ranges[i], &r->to) && r->to.prefix != 0 &&
            (count == 0 || ret[0].to.v6 != r->to.v6) && gateway_of(node, r->to.v6, &r->gateway))
            count++;
    }
    return count;
}

void node_routes_diff(const struct node_route *have, size_t have_count,
                      const struct node_route *want, size_t want_count, struct node_route *ret_set,
                      size_t *ret_set_count, struct node_route *ret_remove,
                      size_t *ret_remove_count)
{
    *ret_set_count = *ret_remove_count = 0;
    for (size_t i = 0; i < want_count; i++) {
        bool there = false;
        for (size_t k = 0; k < have_count && !there; k++)
            there = net_range_equal(&have[k].to, &want[i].to) &&
                    net_range_equal(&have[k].gateway, &want[i].gateway);
        if (!there)
            ret_set[(*ret_set_count)++] = want[i];
    }
    for (size_t k = 0; k < have_count; k++) {
        bool wanted = false;
        for (size_t i = 0; i < want_count && !wanted; i++)
            wanted = net_range_equal(&have[k].to, &want[i].to);
        if (!wanted)
            ret_remove[(*ret_remove_count)++] = have[k];
    }
}
