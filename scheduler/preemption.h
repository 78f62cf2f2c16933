/* preemption.h - when a pod fits nowhere: on which node would it fit if pods of
 * lower priority went? Pure. */
#ifndef SCHEDULER_PREEMPTION_H
#define SCHEDULER_PREEMPTION_H

#include "scheduler/framework.h"

struct policy_v1_pod_disruption_budget;

struct preemption {
    struct node_info *node;      /* NULL: no candidate. */
    struct api_object **victims; /* In the cycle's arena, which holds them. */
    size_t victim_count;
    int64_t violations;   /* Budgets that their going breaks. */
    bool keep_nomination; /* Room is being made already where it was nominated. */
    struct str message;   /* Without a candidate: what to add to the pod's message. */
};

bool preemption_budget_covers(const struct policy_v1_pod_disruption_budget *b,
                              const struct core_v1_pod *pod);

/* To be called after cycle_filter() or classes_decide() found no node. The cycle's
 * state and the snapshot are as before afterwards. Pods of a class that come one
 * after another try only the nodes that changed, as long as there are no budgets. */
void preemption_evaluate(struct cycle *c,
                         const struct policy_v1_pod_disruption_budget *const *budgets,
                         size_t budget_count, struct preemption *ret);

#endif
