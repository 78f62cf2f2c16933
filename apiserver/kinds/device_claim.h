/* device_claim.h - what ResourceClaims and their templates share. Pure. */
#ifndef APISERVER_KINDS_DEVICE_CLAIM_H
#define APISERVER_KINDS_DEVICE_CLAIM_H

#include "apiserver/field_error.h"

struct resource_v1_device_claim;

void default_device_claim(struct resource_v1_device_claim *c);
void validate_device_claim(struct field_errors *errs, const struct field_path *path,
                           const struct resource_v1_device_claim *c);

#endif
