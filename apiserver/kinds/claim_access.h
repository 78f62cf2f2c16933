/* claim_access.h - who may change what in a ResourceClaim's status.
 *
 * Beside the right to write resourceclaims/status one must hold, as Kubernetes
 * 1.36 asks (DRAResourceClaimGranularStatusAuthorization):
 *   - for allocation and reservedFor: the request's verb on
 *     resourceclaims/binding, in the whole cluster;
 *   - for the devices of a driver: on resourceclaims/driver of the claim's
 *     namespace, with the driver as the name, either arbitrary-node:<verb>, or
 *     associated-node:<verb> for a service account whose token is bound to the
 *     one node that the claim was allocated for. */
#ifndef APISERVER_KINDS_CLAIM_ACCESS_H
#define APISERVER_KINDS_CLAIM_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/str.h"

struct arena;
struct field_errors;
struct kind_ctx;
struct resource_v1_allocation_result;
struct resource_v1_allocated_device_status;
struct resource_v1_resource_claim;

/* Adds what the one who asks may not do. Questions for webhooks are noted in
 * ctx->asks: whoever calls looks there before the errors count. Without
 * ctx->server (tests of kinds alone) everything is allowed. */
void check_claim_access(const struct kind_ctx *ctx, struct field_errors *errs,
                        const struct resource_v1_resource_claim *c,
                        const struct resource_v1_resource_claim *old);

/* Drivers that have a device added, changed or removed, sorted, each once; of arena a. */
size_t claim_changed_drivers(struct arena *a, const struct resource_v1_resource_claim *c,
                             const struct resource_v1_resource_claim *old, struct str **ret);
/* The node whose devices were given, if the allocation says just that; else empty. */
struct str claim_only_node(const struct resource_v1_allocation_result *a);
/* Are they about one device? */
bool same_claim_device(const struct resource_v1_allocated_device_status *x,
                       const struct resource_v1_allocated_device_status *y);

#endif
