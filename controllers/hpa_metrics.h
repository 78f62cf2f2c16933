/* hpa_metrics.h - reads what the metrics APIs answer: metrics.k8s.io/v1beta1,
 * custom.metrics.k8s.io/v1beta2 and external.metrics.k8s.io/v1beta1. Pure. E_INVALID for what is no
 * such answer. */
#ifndef CONTROLLERS_HPA_METRICS_H
#define CONTROLLERS_HPA_METRICS_H

#include "controllers/hpa_replicas.h"

struct hpa_metrics {
    struct hpa_pod_metric *items;
    size_t count;
};

/* PodMetricsList: a resource of one container, or (container empty) of all. Pods without it are
 * left out. */
int hpa_metrics_resource(struct arena *a, struct str json, struct str resource,
                         struct str container, struct hpa_metrics *ret, struct error *err);
/* MetricValueList about pods. */
int hpa_metrics_pods(struct arena *a, struct str json, struct hpa_metrics *ret, struct error *err);
/* MetricValueList about one object: its value. */
int hpa_metrics_object(struct arena *a, struct str json, int64_t *ret_milli, struct error *err);
/* ExternalMetricValueList: the sum. */
int hpa_metrics_external(struct arena *a, struct str json, int64_t *ret_milli, struct error *err);

#endif
