/* runtime_health.h - is the container runtime there, and its network?
 *
 * Asks Version until it answers, then Status at intervals. */
#ifndef KUBELET_RUNTIME_HEALTH_H
#define KUBELET_RUNTIME_HEALTH_H

#include "lib/base/base.h"

struct kubelet;
struct runtime_health;

/* on_up: the runtime answered for the first time. on_change: readiness of
 * runtime or network changed. Both may be NULL. */
struct runtime_health *runtime_health_start(struct kubelet *k, void (*on_up)(struct kubelet *k),
                                            void (*on_change)(struct kubelet *k));
void runtime_health_stop(struct runtime_health *h); /* NULL is a no-op. */
/* Why the node is not ready, as the Ready condition's message; NULL: it is. */
const char *runtime_health_problem(const struct runtime_health *h);

#endif
