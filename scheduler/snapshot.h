/* snapshot.h - the scheduler's picture of the cluster: nodes side by side, each
 * with the pods on it and the sums that plugins ask for.
 *
 * Kept up to date pod by pod. A pod that was given a node but whose binding
 * has not come back through the watch yet is assumed: it counts like any other
 * until it is confirmed, forgotten (the binding failed) or expires. Pure: the
 * clock comes in as an argument. */
#ifndef SCHEDULER_SNAPSHOT_H
#define SCHEDULER_SNAPSHOT_H

#include "lib/base/map.h"
#include "scheduler/resources.h"

struct api_object;
struct core_v1_node;
struct core_v1_pod;

/* A pod with what was worked out from it once. */
struct pod_info {
    struct api_object *object; /* One reference. */
    const struct core_v1_pod *pod;
    struct resources requests;
    int64_t nonzero_milli_cpu;
    int64_t nonzero_memory;
    bool has_affinity; /* Inter-pod affinity or anti-affinity of any sort. */
    bool has_required_anti_affinity;
    struct node_info *node; /* NULL: in no node. */
    size_t index;           /* In node->pods. */
    bool assumed;
    uint64_t expires_ms; /* Assumed and bound: UINT64_MAX while the binding runs. */
};

struct node_info {
    struct api_object
        *object; /* One reference; NULL: pods came before their node, or outlive it. */
    const struct core_v1_node *node;
    char *name;
    size_t index; /* In snapshot.nodes; SIZE_MAX: no node object. */
    struct resources allocatable;
    struct resources requested;
    int64_t nonzero_milli_cpu;
    int64_t nonzero_memory;
    struct pod_info **pods;
    size_t pod_count, pod_cap;
    size_t affinity_pods; /* Of them, those with has_affinity. */
};

struct snapshot {
    struct node_info **nodes; /* Those with a node object. */
    size_t node_count, node_cap;
    struct map by_name;        /* -> struct node_info */
    struct map pods;           /* uid -> struct pod_info, in a node */
    size_t anti_affinity_pods; /* With has_required_anti_affinity. */
};

void snapshot_init(struct snapshot *s);
void snapshot_done(struct snapshot *s);

/* The object's reference is taken anew. */
struct pod_info *pod_info_new(struct api_object *pod);
void pod_info_free(struct pod_info *p); /* NULL is a no-op. */
int32_t pod_priority(const struct core_v1_pod *pod);

void snapshot_set_node(struct snapshot *s, struct api_object *node);
void snapshot_remove_node(struct snapshot *s, struct str name);
struct node_info *snapshot_node(const struct snapshot *s, struct str name); /* NULL when absent. */

/* A pod with spec.nodeName seen by the watch: added, updated or confirmed. */
void snapshot_set_pod(struct snapshot *s, struct api_object *pod);
void snapshot_remove_pod(struct snapshot *s, struct str uid);
/* Puts the pod on the node before the API server knows. */
void snapshot_assume(struct snapshot *s, struct api_object *pod, struct node_info *node);
/* The binding succeeded: unless the watch confirms it by then, it is dropped. */
void snapshot_bound(struct snapshot *s, struct str uid, uint64_t expires_ms);
/* The binding failed. */
void snapshot_forget(struct snapshot *s, struct str uid);
/* Drops what was due; returns how many. */
size_t snapshot_expire(struct snapshot *s, uint64_t now_ms);

/* Moves a pod in and out of a node's sums: preemption tries nodes without some
 * of their pods and puts them back. */
void node_info_add(struct node_info *n, struct pod_info *p);
void node_info_remove(struct node_info *n, struct pod_info *p);

#endif
