/* edges.h - what the kernel has counted, told as edges between workloads and what they reach. Pure.
 *
 *   {"node": "n1", "since": "2006-01-02T15:04:05Z", "workloads": [
 *     {"namespace": "shop", "name": "Deployment/web", "mode": "declared", "pods": 2,
 *      "edges": [{"to": "shop/db", "connections": 7}],
 *      "refused": 3,
 *      "attempts": [{"to": "shop/cache:6379/tcp", "count": 3, "last": "2006-01-02T15:04:05Z"}]}]}
 *
 * mode "audit": nothing is refused, and attempts went through. */
#ifndef KUBELET_ISOLATION_EDGES_H
#define KUBELET_ISOLATION_EDGES_H

#include "kubelet/isolation/rules.h"

struct arena;
struct buf;
struct error;

struct edges_inputs {
    const char *node;
    int64_t since_s, now_s;            /* Unix time. */
    const struct isolation_plan *plan; /* NULL: no pod is concerned. */
    struct str listed; /* What nft -j says to the edges_commands: one JSON document on each line. */
    /* The name of who was asked for at an address: "namespace/name" or "namespace/name:port" of a
     * Service, in a; empty when it is none. port is the one behind the translation. */
    struct str (*name_of)(void *arg, struct arena *a, struct str ip, struct str protocol, int port);
    void *arg;
};

/* For nft -j, one by one (1.0.6 does not find the first of two sets that one script lists); ended
 * by NULL. */
extern const char *const edges_commands[];
/* ret_metrics: the counts alone, in Prometheus' text format. E_INVALID: listed is not what nft
 * prints. */
int edges_write(const struct edges_inputs *in, struct buf *out, struct buf *ret_metrics,
                struct error *err);

#endif
