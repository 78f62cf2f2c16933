/* cel_device.h - expressions that select devices: those of DeviceClasses and
 * ResourceClaims, which see one variable.
 *
 *   device.driver, device.allowMultipleAllocations,
 *   device.attributes["domain"].id, device.capacity["domain"].id
 *
 * Ids without a domain stand under that of the driver. A domain that no
 * attribute has is an empty map; an id that is not there is an error. */
#ifndef API_CEL_CEL_DEVICE_H
#define API_CEL_CEL_DEVICE_H

#include "lib/api/cel/cel.h"

struct resource_v1_device;

#define CEL_DEVICE_COST_MAX 1000000 /* Of one evaluation, and as it is estimated beforehand. */
#define CEL_DEVICE_TEXT_MAX (10u * 1024)

/* Fails too when it is neither bool nor dyn; *ret_error is upstream's whole text. */
int cel_device_compile(struct arena *a, struct str text, struct cel_program **ret,
                       struct str *ret_error);
/* As cel_program_cost(). */
uint64_t cel_device_cost(const struct cel_program *p);
/* Everything made is in a. False with *ret_error: it could not be said. */
bool cel_device_matches(const struct cel_program *p, struct arena *a, struct str driver,
                        const struct resource_v1_device *d, bool *ret, struct str *ret_error);

#endif
