/* device_claim.h - what ResourceClaims and their templates share. Pure. */
#ifndef APISERVER_KINDS_DEVICE_CLAIM_H
#define APISERVER_KINDS_DEVICE_CLAIM_H

#include "apiserver/field_error.h"

struct kind_ctx;
struct resource_v1_device_claim;

void default_device_claim(struct resource_v1_device_claim *c);
void validate_device_claim(struct field_errors *errs, const struct field_path *path,
                           const struct resource_v1_device_claim *c);
/* Names of requests of the claim, "request" or "request/alternative". */
void check_device_request_ref(struct field_errors *errs, const struct field_path *path,
                              const struct resource_v1_device_claim *c, struct str name);
void check_device_request_refs(struct field_errors *errs, const struct field_path *path,
                               const struct resource_v1_device_claim *c, const struct str *names,
                               size_t count);
/* Access for administrators is for namespaces that say so. */
void check_admin_namespace(const struct kind_ctx *ctx, struct field_errors *errs,
                           const struct field_path *path);
void check_admin_requests(const struct kind_ctx *ctx, struct field_errors *errs,
                          const struct resource_v1_device_claim *c);

#endif
