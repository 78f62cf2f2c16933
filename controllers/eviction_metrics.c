/* eviction_metrics.c - see eviction_metrics.h. */
#include "controllers/eviction_metrics.h"

#include "controllers/node_zones.h"
#include "lib/base/base.h"
#include "lib/base/metrics.h"

static const double late_bounds[] = {0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 30, 60, 120, 180, 240};

void metrics_pod_evicted(bool by_device, double late_s)
{
    struct metrics *m = metrics_default();
    struct metric_family *total =
        by_device ? metric_counter(m, "device_taint_eviction_controller_pod_deletions_total",
                                   "Pods deleted for taints of their devices.", NULL)
                  : metric_counter(m, "taint_eviction_controller_pod_deletions_total",
                                   "Pods deleted for taints of their nodes.", NULL);
    struct metric_family *late =
        by_device ? metric_histogram(
                        m, "device_taint_eviction_controller_pod_deletion_duration_seconds",
                        "Time from when a pod had to go for a taint of a device to its deletion.",
                        NULL, late_bounds, ARRAY_SIZE(late_bounds))
                  : metric_histogram(
                        m, "taint_eviction_controller_pod_deletion_duration_seconds",
                        "Time from when a pod had to go for a taint of its node to its deletion.",
                        NULL, late_bounds, ARRAY_SIZE(late_bounds));
    metric_inc(metric_single(total));
    metric_observe(metric_single(late), MAX_OF(late_s, 0.0));
}

void metrics_pod_collected(struct str namespace_name, const char *reason)
{
    metric_inc(
        METRIC_OF(metric_counter(metrics_default(), "pod_gc_collector_force_delete_pods_total",
                                 "Pods that the collector deleted by force.",
                                 METRIC_LABELS("namespace", "reason")),
                  namespace_name, str_of(reason)));
}

void metrics_pod_not_collected(struct str namespace_name, const char *reason)
{
    metric_inc(METRIC_OF(metric_counter(metrics_default(),
                                        "pod_gc_collector_force_delete_pod_errors_total",
                                        "Pods that the collector could not delete.",
                                        METRIC_LABELS("namespace", "reason")),
                         namespace_name, str_of(reason)));
}

static struct metric *zone_gauge(const char *name, const char *help, struct str zone)
{
    return METRIC_OF(metric_gauge(metrics_default(), name, help, METRIC_LABELS("zone")), zone);
}

void metrics_zone(struct str zone, const struct zone_count *nodes)
{
    size_t all = nodes->ready + nodes->lost;
    metric_set(zone_gauge("node_collector_zone_size", "Nodes of a zone.", zone), (double)all);
    metric_set(zone_gauge("node_collector_zone_health", "Ready nodes of a zone, per cent.", zone),
               all != 0 ? 100.0 * (double)nodes->ready / (double)all : 100.0);
    metric_set(
        zone_gauge("node_collector_unhealthy_nodes_in_zone", "Nodes of a zone not ready.", zone),
        (double)nodes->lost);
}

void metrics_zone_evicted(struct str zone)
{
    metric_inc(METRIC_OF(metric_counter(metrics_default(), "node_collector_evictions_total",
                                        "Nodes whose pods had to go.", METRIC_LABELS("zone")),
                         zone));
}
