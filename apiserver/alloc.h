/* alloc.h - addresses and ports of Services, claimed in the same transaction
 * as the Service itself.
 *
 * A node port is taken when its bit in the stored range is set; for addresses see service_ips.h.
 * Both are compared in the transaction, so that two servers never hand out the
 * same one, whoever leads. Pure. */
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
/* "30000-32767" into s. E_INVALID. */
int service_ports_parse(struct apiserver *s, struct error *err);

#endif
