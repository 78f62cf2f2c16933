/* extender_wire.h - what is said to an extender over HTTP and what it answers: the types of
 * k8s.io/kube-scheduler/extender/v1, as JSON. Members are written in Go's spelling
 * ("NodeNames"), and read in any case, as Go reads them. Pure. */
#ifndef SCHEDULER_EXTENDER_WIRE_H
#define SCHEDULER_EXTENDER_WIRE_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct api_object;
struct arena;
struct buf;
struct core_v1_pod;
struct error;
struct node_info;

/* Scores of extenders are 0..10. */
#define EXTENDER_SCORE_MAX 10

/* ExtenderArgs. by_name: the extender knows the nodes; else they are sent whole. */
void extender_write_args(const struct core_v1_pod *pod, struct node_info *const *nodes,
                         size_t count, bool by_name, struct buf *out);

struct extender_failed {
    struct str node, reason;
    bool unresolvable; /* No preemption would help. */
};
struct extender_filtered {
    const struct str *names;
    size_t name_count;
    const struct extender_failed *failed;
    size_t failed_count;
};
/* ExtenderFilterResult. All of ret is in the arena. E_INVALID: no such result; E_UNAVAILABLE: it
 * says that it failed. by_name: where the nodes that passed stand. */
int extender_read_filtered(struct arena *a, struct str body, bool by_name,
                           struct extender_filtered *ret, struct error *err);

struct extender_score {
    struct str node;
    int64_t score;
};
/* HostPriorityList. */
int extender_read_scores(struct arena *a, struct str body, const struct extender_score **ret,
                         size_t *ret_count, struct error *err);

/* Pods to evict from one node. */
struct extender_victims {
    struct str node;
    struct api_object *const *pods;
    size_t count;
    int64_t violations; /* Budgets that would be broken. */
};
/* ExtenderPreemptionArgs. by_name: pods by their uids only. */
void extender_write_preemption(const struct core_v1_pod *pod, const struct extender_victims *v,
                               bool by_name, struct buf *out);
/* Whether the node is still among those of an ExtenderPreemptionResult; then the victims' uids. */
int extender_read_preemption(struct arena *a, struct str body, struct str node, bool *ret_accepted,
                             const struct str **ret_uids, size_t *ret_count, struct error *err);

/* ExtenderBindingArgs, and what an ExtenderBindingResult says. */
void extender_write_binding(const struct core_v1_pod *pod, struct str node, struct buf *out);
int extender_read_binding(struct arena *a, struct str body, struct error *err);

#endif
