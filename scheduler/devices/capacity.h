/* capacity.h - devices that several claims share: how much of a capacity a request
 * takes, by the policy of the device. Pure. */
#ifndef SCHEDULER_DEVICES_CAPACITY_H
#define SCHEDULER_DEVICES_CAPACITY_H

#include "scheduler/devices/devices.h"

struct resource_v1_capacity_requirements;
struct resource_v1_device;
struct resource_v1_device_capacity_entry;

/* What of the capacity the request takes: what it asks for, rounded up as the policy says,
 * or the default, or all of it. request NULL: nothing is asked for. */
struct quantity capacity_taken(const struct resource_v1_capacity_requirements *request,
                               const struct resource_v1_device_capacity_entry *c);
/* Whether it is left, beside what is used and what this decision gave away already
 * (NULL: nothing), and the policy allows it. False too when something is asked for that
 * the device does not have. */
bool capacity_fits(const struct resource_v1_capacity_requirements *request,
                   const struct resource_v1_device *d, const struct device_use *used,
                   const struct device_use *given);
struct quantity device_share_of(const struct device_use *u, struct str name); /* 0 when absent. */

#endif
