/* eviction_metrics.h - what is counted of pods that have to go and of the nodes they were on, under
 * upstream's names. */
#ifndef CONTROLLERS_EVICTION_METRICS_H
#define CONTROLLERS_EVICTION_METRICS_H

#include "lib/base/str.h"

struct zone_count;

/* A taint's pod was deleted, this long after it was due. */
void metrics_pod_evicted(bool by_device, double late_s);
/* The pod collector's reasons: "terminated", "orphaned", "unscheduled", "out-of-service". */
void metrics_pod_collected(struct str namespace_name, const char *reason);
void metrics_pod_not_collected(struct str namespace_name, const char *reason);
void metrics_zone(struct str zone, const struct zone_count *nodes);
/* A node of the zone got its NoExecute taint. */
void metrics_zone_evicted(struct str zone);

#endif
