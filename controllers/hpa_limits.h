/* hpa_limits.h - how far a HorizontalPodAutoscaler may go at once: what metrics ask for is
 * stabilised against recent recommendations, bounded by the rate of change, and by the smallest and
 * largest number of replicas. Pure but for the history, which the caller owns. Rules, reasons and
 * messages are those of autoscaling/v2. */
#ifndef CONTROLLERS_HPA_LIMITS_H
#define CONTROLLERS_HPA_LIMITS_H

#include "lib/base/base.h"

struct autoscaling_v2_horizontal_pod_autoscaler_behavior;
struct autoscaling_v2_horizontal_pod_autoscaler_spec;

struct hpa_sample {
    int32_t replicas; /* Recommended, or gained or lost. */
    int64_t at_ms;
};

struct hpa_samples {
    struct hpa_sample *items;
    size_t count, cap;
};

/* What is remembered of one autoscaler; lost with the lease, as upstream's. Zero: nothing yet. */
struct hpa_history {
    struct hpa_samples recommendations, gained, lost;
};

void hpa_history_done(struct hpa_history *h);
/* The first number seen is a recommendation, so that a restart does not scale down at once. */
void hpa_history_start(struct hpa_history *h, int32_t current, int64_t now_ms);
/* The target was scaled. */
void hpa_history_scaled(struct hpa_history *h, int32_t from, int32_t to, int64_t now_ms);

struct hpa_limits {
    int32_t replicas;
    /* Condition AbleToScale. */
    const char *able_reason, *able_message;
    /* Condition ScalingLimited. */
    bool limited;
    const char *limit_reason, *limit_message;
};

/* What becomes of `wanted`, which is remembered as a recommendation. default_window_s: how long
 * lower recommendations wait where spec says nothing. */
struct hpa_limits hpa_limit(struct hpa_history *h,
                            const struct autoscaling_v2_horizontal_pod_autoscaler_spec *spec,
                            int32_t current, int32_t wanted, int64_t default_window_s,
                            int64_t now_ms);

/* spec.minReplicas, or 1. */
int32_t hpa_min_replicas(const struct autoscaling_v2_horizontal_pod_autoscaler_spec *spec);

#endif
