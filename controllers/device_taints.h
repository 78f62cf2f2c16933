/* device_taints.h - when what uses allocated devices has to go, for their NoExecute taints. Pure.
 */
#ifndef CONTROLLERS_DEVICE_TAINTS_H
#define CONTROLLERS_DEVICE_TAINTS_H

#include "lib/base/str.h"

struct api_object;
struct resource_v1_allocation_result;

#define DEVICE_EVICTION_NEVER INT64_MAX

/* In nanoseconds of wall time: of all taints of all the devices that are not tolerated for ever,
 * the earliest end. Of a pool's slices those of its newest generation count. */
int64_t device_eviction_time(const struct resource_v1_allocation_result *allocation,
                             struct api_object *const *slices, size_t slice_count, int64_t now_ns);

#endif
