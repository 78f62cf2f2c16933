/* node_routes.c - which routes to the other nodes' pods have to change. */
#include "kubelet/node_routes.h"

#include <stdbool.h>

static bool same_target(const struct node_route *x, const struct node_route *y)
{
    return x->net == y->net && x->prefix == y->prefix;
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
            there = same_target(&have[k], &want[i]) && have[k].gateway == want[i].gateway;
        if (!there)
            ret_set[(*ret_set_count)++] = want[i];
    }
    for (size_t k = 0; k < have_count; k++) {
        bool wanted = false;
        for (size_t i = 0; i < want_count && !wanted; i++)
            wanted = same_target(&have[k], &want[i]);
        if (!wanted)
            ret_remove[(*ret_remove_count)++] = have[k];
    }
}
