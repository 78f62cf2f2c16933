/* guard.h - the ports of the bridge behind which pods of this node are that are
 * held to something: by a network policy, by what they declare.
 *
 * Tables that judge packets know a pod by its address, and a pod may write any
 * address into a packet: raw sockets are among the capabilities that
 * containers have by default. And on their bridge pods reach each other by what
 * has no address of the cluster: link-local ones of IPv6, which every pod has,
 * multicast, frames that are not IP. So at the port of a held pod passes only
 *
 *   from it: its own addresses, ARP for them, the discovery of neighbours
 *   to it, from other ports: what is for its addresses, ARP, the same discovery
 *
 * in the table "bridge trireme-ports". What the node itself sends is free.
 *
 * Loop-confined. A port is found by the pod's network namespace, whose process
 * the runtime names. Pods whose network is no bridge have none: whoever set up
 * that network keeps addresses true. A pod that is new is also rid of
 * connections that an earlier owner of its address has left in the kernel. */
#ifndef KUBELET_POLICY_GUARD_H
#define KUBELET_POLICY_GUARD_H

#include "lib/base/base.h"

struct buf;
struct error;
struct guard;
struct kubelet;

#define GUARD_TABLE "trireme-ports"
#define GUARD_OWNERS_MAX 2
#define GUARD_IPS_MAX 2

struct guard_pod {
    const char *uid, *sandbox_id;
    const char *const *ips;
    size_t ip_count;
    bool fresh; /* No container has been made in the sandbox yet. */
};

/* The kubelet's; made when it is first asked for. */
struct guard *guard_of(struct kubelet *k);
/* One more who holds pods; its number. The table is first written once each has told what it holds:
 * until then what an earlier run has set stays. */
unsigned guard_join(struct guard *g);
/* All that this owner holds now; copied. */
void guard_hold(struct guard *g, unsigned owner, const struct guard_pod *pods, size_t count);
/* True when the pod is not held, or its port is guarded. Otherwise its worker is kicked once it is.
 */
bool guard_stands(const struct guard *g, const char *uid);
/* Nobody holds pods: removes what an earlier run has left. */
void guard_withdraw(struct kubelet *k);

/* --- its parts ---------------------------------------------------------------------------- */

struct guard_port {
    int index; /* Of the interface. */
    const char *const *ips;
    size_t ip_count;
};

/* The whole table anew, for nft -f; without ports its removal. Pure. */
void guard_text(const struct guard_port *ports, size_t count, struct buf *out);
/* The bridge's port that leads to the eth0 (as CRI has it) of this process's network; 0: it is not
 * behind a bridge. Blocks, and is in that network meanwhile: call from a job. */
int guard_find_port(int64_t pid, int *ret_index, struct error *err);

#endif
