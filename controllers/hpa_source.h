/* hpa_source.h - one metric of a HorizontalPodAutoscaler: which API knows it, and how many replicas
 * its answer asks for. */
#ifndef CONTROLLERS_HPA_SOURCE_H
#define CONTROLLERS_HPA_SOURCE_H

#include "api/autoscaling_v2.h"
#include "controllers/hpa_replicas.h"

struct client_result;

/* The autoscaler's target as the sources see it. */
struct hpa_target {
    struct str namespace_name;
    struct str selector; /* Of its pods, as text. */
    int32_t spec_replicas, status_replicas;
};

struct hpa_source {
    const struct autoscaling_v2_metric_spec *spec;
    /* Filled by hpa_source_answer(). */
    bool failed;
    int32_t replicas;
    struct str name;  /* "cpu resource utilization (percentage of request)" */
    struct str error; /* failed: for people. */
    struct autoscaling_v2_metric_status status;
};

/* Path and query of the request that s needs. resource: plural name and group of the described
 * object
 * ("deployments.apps"), for object metrics. E_INVALID. */
int hpa_source_path(struct arena *a, const struct hpa_source *s, const struct hpa_target *t,
                    struct str resource, bool namespaced, struct str *ret, struct error *err);
/* q: everything but metrics, resource and container. */
void hpa_source_answer(struct hpa_source *s, const struct hpa_target *t,
                       const struct hpa_question *q, const struct client_result *result);
/* Why the request could not even be sent. */
void hpa_source_fail(struct arena *a, struct hpa_source *s, const char *why);
/* Reason of condition and event: FailedGetResourceMetric, ... */
const char *hpa_source_reason(const struct hpa_source *s);

#endif
