/* rules.h - what pods of this node declare to depend on, to what is to stand in
 * nftables (policy/state.h).
 *
 * Pure. A pod that is held to its declaration has its address in a verdict map,
 * which leads to a chain that it shares with the pods of its workload that
 * declare the same:
 *
 *   forward, input: established -> accept
 *                   saddr -> map out4 -> chain w-x
 *   chain: to the cluster's DNS -> accept
 *          asked for an address of a declared Service -> counter, accept
 *          daddr . protocol . port in @e4-y: one of its endpoints -> counter, accept
 *          declared range, internet -> counter, accept
 *          note in @refused4; counter; reject (audit: accept)
 *
 * Counters c-...: one for each workload and entry, r-...: what a workload was refused. */
#ifndef KUBELET_ISOLATION_RULES_H
#define KUBELET_ISOLATION_RULES_H

#include "kubelet/policy/keeper.h"
#include "kubelet/policy/state.h"
#include "lib/base/map.h"

struct core_v1_namespace;
struct core_v1_pod;
struct core_v1_service;
struct dependency;
struct discovery_v1_endpoint_slice;

#define ISOLATION_TABLE "trireme-isolation"
#define ISOLATION_REFUSED_MAX 4096 /* Elements of each of the sets refused4 and refused6. */
#define ISOLATION_REFUSED_S 3600   /* How long one is remembered after its last packet. */
extern const struct policy_table isolation_table;

/* A Service that a pod of this node declares, with its slices. */
struct isolation_service {
    const struct core_v1_service *service; /* NULL: it is not there. */
    const struct discovery_v1_endpoint_slice *const *slices;
    size_t slice_count;
};

enum isolation_mode { ISOLATION_OPEN, ISOLATION_AUDIT, ISOLATION_DECLARED };
/* By a Namespace's label; one that is not understood closes. n NULL: open. */
enum isolation_mode isolation_mode_of(const struct core_v1_namespace *n);

struct isolation_inputs {
    struct policy_local *locals;
    size_t local_count;
    const struct map *namespaces;   /* name -> core_v1_namespace */
    const struct map *services;     /* "namespace/name" -> isolation_service */
    const char *const *cluster_dns; /* Addresses that answer every pod on port 53. */
    size_t cluster_dns_count;
    const char *const *node_dns; /* The same for pods with dnsPolicy Default. */
    size_t node_dns_count;
    const struct str *cluster_ranges; /* Of nodes and pods: no "internet". CIDR or address. */
    size_t cluster_range_count;
    uint64_t seed[2]; /* For names. */
};

struct isolation_edge {
    struct str counter;
    struct str to; /* "namespace/name:port" of a Service, else the entry. */
};

/* Pods of one controller on this node. */
struct isolation_workload {
    struct str namespace_, name; /* "Deployment/web" */
    bool enforced;               /* Else audited alone. */
    struct str refused;          /* Counter. */
    struct isolation_edge *edges;
    size_t edge_count, edge_cap;
    struct str *ips;
    size_t ip_count, ip_cap;
    size_t pod_count;
};

struct isolation_plan {
    struct isolation_workload *workloads;
    size_t count, cap;
    bool needs_cluster; /* Somebody declares "internet": cluster_ranges matter. */
};

/* The state's owner_data is the struct isolation_plan, in the same arena. */
struct policy_state *isolation_rules(const struct isolation_inputs *in);
const struct isolation_plan *isolation_plan_of(const struct policy_state *s); /* NULL for NULL. */

/* "Deployment/web" of a pod of its ReplicaSet web-5c7b; "Pod/name" without a controller. */
struct str isolation_workload_name(struct arena *a, const struct core_v1_pod *pod);
/* "namespace/name" of a Service that a pod of namespace own depends on. */
struct str isolation_service_key(struct arena *a, struct str own, const struct dependency *d);
/* Has each port that is asked for an endpoint that is ready? */
bool isolation_is_ready(const struct isolation_service *s, const struct dependency *d);

#endif
