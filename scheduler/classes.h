/* classes.h - equal pods are decided once: a class holds, for all pods that no
 * plugin can tell apart, each node's verdict and score, and follows the
 * snapshot's changes node by node. What a decision costs is then the nodes that
 * changed since the last of its class; where plugins weigh all nodes against each
 * other, one look at each node's numbers.
 *
 * The decisions are those of cycle_filter() and cycle_select(): ties alone may
 * fall otherwise. Pods with volume claims are worked out each by itself.
 *
 *   pod -> key -> class: follow changes -> buckets by score, or a scan -> node
 *
 * Pure. Memory is bounded: classes not used for longest are dropped. */
#ifndef SCHEDULER_CLASSES_H
#define SCHEDULER_CLASSES_H

#include "scheduler/framework.h"

struct classes;

/* Borrows both. */
struct classes *classes_new(struct snapshot *s, const struct pod_facts *facts);
void classes_free(struct classes *l); /* NULL is a no-op. */

struct class_question {
    const struct pod_info *pod; /* Borrowed as long as the answer is used. */
    struct arena *arena;        /* Likewise. */
    struct str nominated_node;  /* Preemption made room there: taken if the pod fits. */
    uint64_t seed;
    const struct profile *profile; /* NULL: the default one. Lives as long as the classes. */
    struct cycle_watch *watch;     /* NULL: its steps are not timed. */
};
/* The node, NULL when none fits: then *ret says why. *ret is good until the next call, or
 * until the snapshot changes, and stays in place for preemption_evaluate(). */
struct node_info *classes_decide(struct classes *l, const struct class_question *q,
                                 struct cycle **ret);
size_t classes_count(const struct classes *l);

#endif
