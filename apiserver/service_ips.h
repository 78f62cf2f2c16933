/* service_ips.h - the families of Services, and an address of each, claimed in
 * the same transaction as the Service itself.
 *
 * An address is taken when its IPAddress object exists. Which families there are, and which of them
 * is the default, --service-cluster-ip-range says; addresses come from its ranges and from those of
 * further ServiceCIDRs that are ready. Pure. */
#ifndef APISERVER_SERVICE_IPS_H
#define APISERVER_SERVICE_IPS_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct apiserver;
struct arena;
struct core_v1_service;
struct error;
struct field_errors;
struct kind_ctx;
struct txn_build;

/* "10.96.0.0/16", "10.96.0.0/16,fd00:96::/108" or the other way round, into s. E_INVALID. */
int service_ips_parse(struct apiserver *s, struct error *err);
/* The ranges in their canonical form; at most two. */
size_t service_ips_ranges(struct arena *a, const struct apiserver *s, struct str ret[2]);
/* "IPv4" or "IPv6": the family of the first range. */
struct str service_ips_default_family(const struct apiserver *s);
/* The first address of the first range: that of the built-in Service. */
struct str service_ips_first(struct arena *a, const struct apiserver *s);

/* ipFamilyPolicy and ipFamilies as the cluster has them. s: not NULL; old: NULL on create. */
void service_ips_families(const struct kind_ctx *ctx, struct core_v1_service *s,
                          const struct core_v1_service *old, struct field_errors *errs);
/* clusterIP and clusterIPs: what is missing is allocated, what old had and s has not is released.
 * s is NULL on delete. */
void service_ips_allocate(const struct kind_ctx *ctx, struct core_v1_service *s,
                          const struct core_v1_service *old, struct txn_build *t,
                          struct field_errors *errs);
/* The claim of one address for a Service: for the built-in one. */
void service_ips_claim(const struct kind_ctx *ctx, const struct core_v1_service *s, struct str ip,
                       struct txn_build *t);

#endif
