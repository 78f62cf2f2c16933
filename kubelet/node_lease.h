/* node_lease.h - the Lease that says that this node is alive, renewed each quarter of its life. */
#ifndef KUBELET_NODE_LEASE_H
#define KUBELET_NODE_LEASE_H

struct kubelet;
struct node_lease;

/* Lives as long as the program. Does nothing until it is kicked. */
struct node_lease *node_lease_new(struct kubelet *k);
/* Renews it now, and goes on doing so. */
void node_lease_kick(struct node_lease *n);
void node_lease_stop(struct node_lease *n);

#endif
