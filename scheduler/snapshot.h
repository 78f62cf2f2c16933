/* snapshot.h - the scheduler's picture of the cluster: nodes side by side, each
 * with the pods on it and the sums that plugins ask for.
 *
 * Kept up to date pod by pod. A pod that was given a node but whose binding
 * has not come back through the watch yet is assumed: it counts like any other
 * until it is confirmed, forgotten (the binding failed) or expires. A guest is a
 * pod that preemption made room for on a node: it waits in the queue, and stands
 * beside the node's pods, in no sums.
 *
 * Placed pods can be kept as records (pod_record.h): the snapshot of a large cluster is
 * mostly them.
 *
 * What happened is kept for a while as numbered changes, so that those who
 * worked something out from all nodes (classes.h) can follow instead of working
 * it out again. Pure: the clock comes in as an argument. */
#ifndef SCHEDULER_SNAPSHOT_H
#define SCHEDULER_SNAPSHOT_H

#include "lib/base/map.h"
#include "scheduler/pod_info.h"

struct api_object;
struct core_v1_node;
struct core_v1_pod;
struct pod_shapes;

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
    struct amounts reclaiming; /* Of requested, what reclaiming pods ask for. */
    struct amounts slack;      /* Of the others', what they may take. */
    struct pod_info **pods;
    size_t pod_count, pod_cap;
    size_t affinity_pods; /* Of them, those with has_affinity. */
    struct pod_info **guests;
    size_t guest_count, guest_cap;
    uint32_t version; /* Of all the above. */
};

/* A pod came to a node or left it, or only the node itself changed. */
struct change {
    const struct core_v1_pod *pod; /* NULL: the node. As pod_info.pod, kept by one of these: */
    struct api_object *object;     /* One reference, or NULL. */
    struct pod_record *record;     /* One reference, or NULL. */
    size_t node;                   /* Index in snapshot.nodes. */
    bool add;
};
#define CHANGES_MAX 1024u /* A power of two. */

/* Who has the image. */
struct image_state {
    size_t nodes;
};

/* The values of one label over all nodes, numbered. */
struct topology {
    char *key;
    int32_t *domains; /* By index in snapshot.nodes; -1: the node has no such label. */
    size_t count;
    uint64_t structure; /* Of the snapshot, when this was made. */
};

struct snapshot {
    struct node_info **nodes; /* Those with a node object. */
    size_t node_count, node_cap;
    struct map by_name;        /* -> struct node_info */
    struct map pods;           /* uid -> struct pod_info, in a node */
    struct map guests;         /* uid -> struct pod_info, a guest */
    size_t assumed_count;      /* Of pods. */
    size_t affinity_pods;      /* With has_affinity. */
    size_t anti_affinity_pods; /* With has_required_anti_affinity. */
    size_t anti_affinity_guests;
    struct map gangs;      /* "namespace/group" -> size_t, pods of the gang in nodes */
    uint64_t gangs_rev;    /* Rises with every change of the above. */
    struct map topologies; /* key -> struct topology */
    struct map images;     /* name -> struct image_state */
    uint64_t images_rev;   /* Rises with every change of the above. */
    /* Rises when nodes come, go or move, or change labels or spec: indexes and what
     * was worked out from labels hold no longer, and no change tells of it. */
    uint64_t structure;
    struct change *changes; /* The last CHANGES_MAX. */
    uint64_t change_count;  /* Number of the next one. */
    /* Borrowed; NULL: none. With it, what snapshot_set_pod() is given is kept as records. */
    struct pod_shapes *shapes;
};

void snapshot_init(struct snapshot *s);
void snapshot_done(struct snapshot *s);

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
/* The pod waits for room on the node: replaces its earlier nomination. Nothing
 * when the node is not there; ends when the pod or the node goes. */
void snapshot_nominate(struct snapshot *s, struct api_object *pod, struct str node);
void snapshot_unnominate(struct snapshot *s, struct str uid);
/* Takes the pod off its node as if it was gone, for a trial; put it back before anything else
 * is done with it. NULL: it is in no node. */
struct pod_info *snapshot_lift(struct snapshot *s, struct str uid);
void snapshot_put_back(struct snapshot *s, struct pod_info *p, struct node_info *n);
/* Pods of the gang, "namespace/group", that have a node and are not being deleted. */
size_t snapshot_gang_pods(const struct snapshot *s, struct str key);
/* Drops what was due; returns how many. */
size_t snapshot_expire(struct snapshot *s, uint64_t now_ms);

/* Lives as long as the snapshot; domains hold until s->structure changes. */
const struct topology *snapshot_topology(struct snapshot *s, struct str key);
/* The pods' slacks were set, and come to this. */
void snapshot_set_slack(struct snapshot *s, struct node_info *n, const struct amounts *slack);
/* How many nodes have an image of exactly this name. */
size_t snapshot_image_nodes(const struct snapshot *s, struct str name);
/* The change of that number, of the last CHANGES_MAX. */
static inline const struct change *snapshot_change(const struct snapshot *s, uint64_t number)
{
    return &s->changes[number & (CHANGES_MAX - 1)];
}

/* Moves a pod in and out of a node's sums: preemption tries nodes without some
 * of their pods and puts them back. */
void node_info_add(struct node_info *n, struct pod_info *p);
void node_info_remove(struct node_info *n, struct pod_info *p);
/* Removes the one added last, whose index may have been overwritten. */
struct pod_info *node_info_pop(struct node_info *n);

#endif
