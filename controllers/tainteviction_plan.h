/* tainteviction_plan.h - when a pod has to leave its node for the node's NoExecute taints. Pure. */
#ifndef CONTROLLERS_TAINTEVICTION_PLAN_H
#define CONTROLLERS_TAINTEVICTION_PLAN_H

#include <stdint.h>

struct core_v1_node;
struct core_v1_pod;

#define EVICTION_NEVER INT64_MAX

/* In nanoseconds of wall time; 0: at once. Each taint has as long as the first toleration that
 * matches it says, from when both the taint and the pod were there; the shortest counts. */
int64_t taint_eviction_time(const struct core_v1_pod *p, const struct core_v1_node *n,
                            int64_t now_ns);

#endif
