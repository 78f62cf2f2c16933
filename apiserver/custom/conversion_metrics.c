/* conversion_metrics.c - see conversion_metrics.h. Thread-safe. */
#include "apiserver/custom/conversion_metrics.h"

#include "apiserver/custom/definition.h"
#include "lib/base/metrics.h"

#include <uv.h>

static struct metric_family *requests, *latency, *conversions;

void conversion_metrics_init(void)
{
    static const double latency_bounds[] = {0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1,
                                            2,     5,    10,   20,   30,  45,  60};
    static const double conversion_bounds[] = {0.001, 0.002, 0.004, 0.008, 0.016,
                                               0.032, 0.064, 0.128, 0.256, 0.512,
                                               1.024, 2.048, 4.096, 8.192, 16.384};
    struct metrics *m = metrics_default();
    requests = metric_counter(
        m, "apiserver_conversion_webhook_request_total",
        "Counter for conversion webhook requests with success/failure and failure error type",
        METRIC_LABELS("result", "failure_type"));
    latency = metric_histogram(
        m, "apiserver_conversion_webhook_duration_seconds", "Conversion webhook request latency",
        METRIC_LABELS("result", "failure_type"), latency_bounds, ARRAY_SIZE(latency_bounds));
    conversions =
        metric_histogram(m, "apiserver_crd_conversion_webhook_duration_seconds",
                         "CRD webhook conversion duration in seconds",
                         METRIC_LABELS("crd_name", "from_version", "to_version", "succeeded"),
                         conversion_bounds, ARRAY_SIZE(conversion_bounds));
}

void conversion_metrics_call(const struct custom_version *from, const struct custom_version *to,
                             uint64_t start_ns, bool good, enum review_fault fault)
{
    static const char *const faults[] = {
        [REVIEW_CALL] = "conversion_webhook_call_failure",
        [REVIEW_MALFORMED] = "conversion_webhook_malformed_response_failure",
        [REVIEW_PARTIAL] = "conversion_webhook_partial_response_failure",
        [REVIEW_INVALID_OBJECT] = "conversion_webhook_invalid_converted_object_failure",
    };
    double took_s = (double)(uv_hrtime() - start_ns) / 1e9;
    struct str result = good ? STR("success") : STR("failure"),
               type = good ? STR("") : str_of(faults[fault]);
    metric_inc(METRIC_OF(requests, result, type));
    metric_observe(METRIC_OF(latency, result, type), took_s);
    metric_observe(METRIC_OF(conversions, to->definition->name, str_of(from->kind.version),
                             str_of(to->kind.version), good ? STR("true") : STR("false")),
                   took_s);
}
