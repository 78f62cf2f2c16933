/* pod_info.h - a pod with what was worked out from it once.
 *
 * Either a whole object (pods that wait, are assumed or guests, and all pods where nobody packs
 * them), or a record (pod_record.h): then `pod` is what it shares with others of its template,
 * and name, uid and start are asked for here. */
#ifndef SCHEDULER_POD_INFO_H
#define SCHEDULER_POD_INFO_H

#include "scheduler/resources.h"

struct api_object;
struct arena;
struct core_v1_pod;
struct meta_v1_time;
struct node_info;
struct pod_record;

/* Of what may be reclaimed. */
struct amounts {
    int64_t milli_cpu, memory;
};

/* See estimates.h. */
struct estimate {
    struct amounts fits; /* As much is kept for the pod. */
    struct amounts need; /* As much it needs now. */
    uint64_t since_ms, sampled_ms;
    struct amounts slack; /* What is reserved and not kept for it, as it counts in its node's. */
    bool known, fresh;
};

/* What follows from a pod's spec. */
struct pod_needs {
    struct resources requests;
    int64_t nonzero_milli_cpu;
    int64_t nonzero_memory;
    bool has_affinity; /* Inter-pod affinity or anti-affinity of any sort. */
    bool has_required_anti_affinity;
    bool reclaims; /* Lives on what others do not use: lib/client/reclaim.h. */
};

struct pod_info {
    /* Without name, uid, node and start where there is a record. */
    const struct core_v1_pod *pod;
    const struct pod_needs *needs; /* The record's, or owned. */
    struct api_object *object;     /* One reference; NULL: there is a record. */
    struct pod_record *record;     /* One reference; NULL: there is an object. */
    struct estimate *estimate;     /* Owned; NULL: nothing is known. */
    struct node_info *node;        /* NULL: in no node. */
    uint64_t expires_ms;           /* Assumed and bound: UINT64_MAX while the binding runs. */
    uint32_t index;                /* In node->pods. */
    bool in_gang; /* Counts among its gang's placed pods: in a node, and not going. */
    bool assumed;
    bool guest; /* In node->guests instead. */
};

void pod_needs_init(struct pod_needs *n, const struct core_v1_pod *pod);
void pod_needs_done(struct pod_needs *n);

/* The object's reference is taken anew. */
struct pod_info *pod_info_new(struct api_object *pod);
/* Takes over the record's reference. */
struct pod_info *pod_info_of_record(struct pod_record *record);
void pod_info_free(struct pod_info *p); /* NULL is a no-op. */
/* The same pod, as it is now: of the two one is NULL. The references are taken over. */
void pod_info_change(struct pod_info *p, struct api_object *object, struct pod_record *record);

struct str pod_info_uid(const struct pod_info *p);
struct str pod_info_name(const struct pod_info *p);
int64_t pod_info_start_ns(const struct pod_info *p); /* INT64_MAX: it has not started. */
/* The whole pod, held by the arena. */
struct api_object *pod_info_object(const struct pod_info *p, struct arena *a);

int32_t pod_priority(const struct core_v1_pod *pod);

#endif
