/* alloc.h - addresses and ports of Services, claimed in the same transaction
 * as the Service itself.
 *
 * An address is taken when its IPAddress object exists, a node port when its
 * bit in the stored range is set. Both are compared in the transaction, so that
 * two servers never hand out the same one, whoever leads. Pure. */
#ifndef APISERVER_ALLOC_H
#define APISERVER_ALLOC_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct apiserver;
struct arena;
struct core_v1_service;
struct error;
struct field_errors;
struct kind_ctx;
struct txn_build;

/* kind_ops.allocate of services. Also fills in clusterIPs, ipFamilies and
 * ipFamilyPolicy. */
int service_allocate(const struct kind_ctx *ctx, void *obj, const void *old, struct txn_build *t,
                     struct field_errors *errs, struct error *err);
/* The claim of one address for a Service: for the built-in one. */
void service_claim_ip(const struct kind_ctx *ctx, const struct core_v1_service *s, struct str ip,
                      struct txn_build *t);

/* "10.96.0.0/16" and "30000-32767" into s. E_INVALID. */
int service_ranges_parse(struct apiserver *s, struct error *err);
/* The n-th address of the range, as text. */
struct str service_range_ip(struct arena *a, const struct apiserver *s, uint32_t n);

#endif
