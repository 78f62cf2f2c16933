/* policy.h - enforces NetworkPolicies for the pods of this node.
 *
 * Loop-confined. Watches NetworkPolicies, and once a policy of a pod of this
 * node names pods, those of all nodes, and Namespaces once one selects some;
 * keeps nftables as rules.h says.
 *
 *   informers, pod workers -> policy_rules() (pure) -> what differs -> nft
 *
 * A pod's containers start only once what concerns the pod stands in the
 * kernel. When the API server is away the rules stay; they stay when we end,
 * too, and are replaced only when all pods of the node are known again. */
#ifndef KUBELET_POLICY_POLICY_H
#define KUBELET_POLICY_POLICY_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct api_object;
struct kubelet;
struct policy;
struct rt_sandbox;

struct policy *policy_start(struct kubelet *k);
/* --network-policy=false: removes what an earlier run has left. */
void policy_withdraw(struct kubelet *k);

/* A pod's worker tells what it sees: the pod, NULL for one that only the runtime knows, and its
 * sandbox, NULL when it has none that is usable. True when its containers may start; otherwise its
 * worker is kicked once they may. p may be NULL: nothing is enforced. */
bool policy_pod_seen(struct policy *p, const char *uid, struct api_object *pod,
                     const struct rt_sandbox *sandbox);
/* Nothing is left of the pod. */
void policy_pod_gone(struct policy *p, const char *uid);

#endif
