/* node_sync.h - registers this machine as a Node, keeps its status and its
 * Lease fresh, and watches what others write into the object. */
#ifndef KUBELET_NODE_SYNC_H
#define KUBELET_NODE_SYNC_H

#include "lib/base/error.h"

struct kubelet;
struct machine;
struct node_sync;
struct runtime_health;

struct node_sync *node_sync_start(struct kubelet *k, const struct machine *m,
                                  const struct runtime_health *health);
void node_sync_stop(struct node_sync *n); /* NULL is a no-op. */
/* The status may have changed: send it soon. */
void node_sync_kick(struct node_sync *n);
/* Checks labels and taints of the flags before anything is started. */
int node_sync_check(struct kubelet *k, const struct machine *m, struct error *err);

#endif
