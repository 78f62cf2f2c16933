/* vpa_estimate.h - from samples of what a container used to what it should ask for.
 *
 * CPU is millicores, memory bytes, times are seconds since the epoch. Numbers and rules are the
 * autoscaler project's. Pure.
 *
 *   sample -> vpa_usage (one pod's container) -> vpa_aggregate (a target's container) -> estimate
 */
#ifndef CONTROLLERS_VPA_ESTIMATE_H
#define CONTROLLERS_VPA_ESTIMATE_H

#include "controllers/vpa_histogram.h"

#define VPA_AMOUNT_MAX 100000000000000 /* Of either resource. */
#define VPA_MEMORY_INTERVAL_S (24 * 3600)
#define VPA_MEMORY_INTERVALS 8 /* What had no samples for so many is forgotten. */
#define VPA_OOM_RATIO 1.2
#define VPA_OOM_BYTES (100.0 * 1024 * 1024)

/* What is known of one container of a target, over all its pods. */
struct vpa_aggregate {
    struct vpa_histogram cpu;    /* Cores. */
    struct vpa_histogram memory; /* Bytes; one peak for each pod and interval. */
    int64_t first_s, last_s;     /* CPU samples; 0: none. */
    int64_t count;               /* Of CPU samples. */
};

/* One pod's container within the current interval. */
struct vpa_usage {
    int64_t cpu_s, memory_s; /* Last samples; 0: none. */
    int64_t window_end_s;    /* Of the current interval of memory; 0: none yet. */
    int64_t peak, oom_peak;  /* Of memory in it. */
};

/* How the peaks of memory are taken; of the container's policy, or the defaults. */
struct vpa_memory_rules {
    int64_t interval_s;
    double oom_ratio;
    double oom_bytes;
};
extern const struct vpa_memory_rules vpa_memory_rules_default;

void vpa_aggregate_init(struct vpa_aggregate *a);
/* False: not newer than what was seen of the container. */
bool vpa_add_cpu(struct vpa_aggregate *a, struct vpa_usage *u, int64_t millicores, int64_t at_s);
bool vpa_add_memory(struct vpa_aggregate *a, struct vpa_usage *u, const struct vpa_memory_rules *r,
                    int64_t bytes, int64_t at_s);
/* The container was killed for lack of memory while it asked for requested bytes. */
bool vpa_add_oom(struct vpa_aggregate *a, struct vpa_usage *u, const struct vpa_memory_rules *r,
                 int64_t requested, int64_t at_s);

struct vpa_amounts {
    int64_t cpu, memory;
};

struct vpa_estimate {
    struct vpa_amounts target, lower, upper;
};

struct vpa_estimate_config {
    double margin;                                 /* Added to usage, as a share of it. */
    double target_share, lower_share, upper_share; /* Percentiles, 0 to 1. */
    double pod_min_millicores, pod_min_mb; /* Of a pod; its containers share them equally. */
    int64_t confidence_s;                  /* History of which the bounds are one target wide. */
};
extern const struct vpa_estimate_config vpa_estimate_config_default;

/* containers: how many of the target have an estimate. */
void vpa_estimate(const struct vpa_aggregate *a, const struct vpa_estimate_config *c,
                  size_t containers, struct vpa_estimate *ret);

#endif
