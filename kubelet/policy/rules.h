/* rules.h - NetworkPolicies, pods and namespaces to what is to stand in
 * nftables (state.h).
 *
 * Pure. Pods of this node that a policy selects get an entry in a verdict map
 * and a chain that is left by "return" where something is allowed, and drops
 * what comes to its end. Pods to which the same holds share a chain.
 *
 *   forward: established -> accept
 *            saddr -> map out4: pod of this node -> chain e-x: may it send this?
 *            daddr -> map in4:  pod of this node -> chain i-x: may it get this?
 *   chain:   ip saddr @p4-y tcp dport 80 return; ...; drop
 *
 * Sets b4-y, b6-y: ranges of addresses, where a rule lists several. Sets p4-y, p6-y: the addresses
 * that selectors name, on all nodes; n4-y, n6-y: address, protocol and number of a named port, for
 * egress. */
#ifndef KUBELET_POLICY_RULES_H
#define KUBELET_POLICY_RULES_H

#include "kubelet/policy/keeper.h"
#include "kubelet/policy/state.h"

struct core_v1_namespace;
struct core_v1_pod;
struct networking_v1_network_policy;

struct policy_inputs {
    const struct networking_v1_network_policy *const *policies;
    size_t policy_count;
    const struct core_v1_namespace *const *namespaces;
    size_t namespace_count;
    const struct core_v1_pod *const *pods; /* Of all nodes. */
    size_t pod_count;
    struct policy_local *locals;
    size_t local_count;
    uint64_t seed[2]; /* For names: secret, so that nobody can make two meet. */
};

/* What has been looked up: pods and namespaces that do not matter need not be given. */
struct policy_needs {
    bool pods, namespaces;
};
struct policy_state *policy_rules(const struct policy_inputs *in, struct policy_needs *ret_needs);

/* Has this pod addresses that selectors may name? Not on the host's network, not ended. */
bool policy_pod_counts(const struct core_v1_pod *p);

#endif
