/* hpa_replicas.h - how many replicas a metric asks for: the arithmetic of autoscaling/v2. Pure.
 *
 * Values are thousandths (milli) throughout. Pods that tell nothing, are not ready or are on their
 * way out are counted so that they never make things worse: in doubt an autoscaler stays where it
 * is. */
#ifndef CONTROLLERS_HPA_REPLICAS_H
#define CONTROLLERS_HPA_REPLICAS_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct api_object;
struct arena;
struct error;

/* What one pod told. */
struct hpa_pod_metric {
    struct str pod;
    int64_t milli;
    int64_t at_s; /* Wall clock. */
    int64_t window_s;
};

struct hpa_question {
    struct arena *arena;
    struct api_object *const *pods; /* All that the target's selector matches. */
    size_t pod_count;
    const struct hpa_pod_metric *metrics;
    size_t metric_count;
    struct str resource;  /* "cpu", ...; empty: a metric of pods' own. */
    struct str container; /* Empty: the whole pod. */
    int32_t current;
    /* How far the ratio may be from 1 before anything is done. */
    double tolerance_up, tolerance_down;
    int64_t now_s;
    int64_t cpu_initialization_s;
    int64_t initial_readiness_s;
};

struct hpa_answer {
    int32_t replicas;
    int32_t utilization; /* Percent of requests. */
    int64_t average;     /* Milli. */
};

/* Target: percent of the requests. E_INVALID with the text for the condition. */
int hpa_by_utilization(const struct hpa_question *q, int32_t target, struct hpa_answer *ret,
                       struct error *err);
/* Target: an average per pod. */
int hpa_by_average(const struct hpa_question *q, int64_t target_milli, struct hpa_answer *ret,
                   struct error *err);
/* Target: one value for all; ratio is what there is to what should be. */
int hpa_by_ratio(const struct hpa_question *q, double ratio, int32_t *ret, struct error *err);
/* Target: a total shared by the pods that status counts. */
void hpa_by_share(const struct hpa_question *q, int64_t total_milli, int64_t target_milli,
                  int32_t status_replicas, struct hpa_answer *ret);

#endif
