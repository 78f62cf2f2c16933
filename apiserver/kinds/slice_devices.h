/* slice_devices.h - the devices of a ResourceSlice and the counters they share. Pure. */
#ifndef APISERVER_KINDS_SLICE_DEVICES_H
#define APISERVER_KINDS_SLICE_DEVICES_H

#include <stdbool.h>

struct field_errors;
struct field_path;
struct resource_v1_resource_slice_spec;

/* placed: each device says by itself where it is. old: NULL on create. */
void validate_slice_devices(struct field_errors *errs, const struct field_path *path,
                            const struct resource_v1_resource_slice_spec *s,
                            const struct resource_v1_resource_slice_spec *old, bool placed);
void validate_slice_counters(struct field_errors *errs, const struct field_path *path,
                             const struct resource_v1_resource_slice_spec *s);

#endif
