/* eviction_manager.h - watches what this node has left, and acts: see eviction.h.
 *
 *   every 10 s: readings -> conditions, told by the node's status
 *               -> pods above their limits of local storage go
 *               -> a threshold is due: unused images go, then one pod, then it looks again
 *
 * Loop-confined. Nothing is polled faster while all is well. */
#ifndef KUBELET_EVICTION_MANAGER_H
#define KUBELET_EVICTION_MANAGER_H

#include "kubelet/eviction.h"

struct eviction_manager;
struct image_gc;
struct kubelet;

/* policy is copied. on_change: a condition came or went. */
struct eviction_manager *eviction_manager_start(struct kubelet *k, const struct eviction *policy,
                                                struct image_gc *images,
                                                void (*on_change)(struct kubelet *k));
void eviction_manager_stop(struct eviction_manager *m); /* NULL is a no-op. */
/* As of the last look. */
const struct eviction *eviction_manager_state(const struct eviction_manager *m);

#endif
