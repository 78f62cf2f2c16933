/* bootstrap_objects.h - what the built-in objects are. Pure. */
#ifndef APISERVER_BOOTSTRAP_OBJECTS_H
#define APISERVER_BOOTSTRAP_OBJECTS_H

#include "apiserver/registry.h"

struct apiserver;
struct buf;
struct meta_v1_object_meta;
struct txn_build;

#define MASTER_LEASES "/registry/masterleases/"

struct builtin {
    const struct resource *res;
    struct str ns, name;
    void *obj;
    struct str cluster_ip; /* To be claimed with it; empty: none. */
};
/* What every new object has. */
void builtin_meta(const struct kind_ctx *ctx, struct meta_v1_object_meta *m, struct str ns,
                  struct str name);
/* The index-th object, in an order in which they can be made. False: no more. */
bool builtin_make(const struct kind_ctx *ctx, size_t index, struct builtin *ret);
/* A namespace as one that somebody creates. */
void builtin_namespace(const struct kind_ctx *ctx, struct str name, struct builtin *ret);
/* Brings kube-system/extension-apiserver-authentication up to date: what other
 * servers put there stays, what is missing of ours is added. Reads files. False:
 * nothing to do. */
bool builtin_authentication(const struct kind_ctx *ctx, struct txn_build *t);
/* Adds the second range of --service-cluster-ip-range to the built-in ServiceCIDR of a cluster that
 * was made with one; says so when it has other ranges. False: nothing to do. */
bool builtin_service_cidr(const struct kind_ctx *ctx, struct txn_build *t);
/* The value of this server's entry below MASTER_LEASES. */
void builtin_master_lease(struct arena *a, const struct apiserver *s, struct buf *out);
/* Brings default/kubernetes' endpoints up to date: the addresses below prefix,
 * or this server alone when prefix is NULL. leave it out when leaving. */
void builtin_endpoints(const struct kind_ctx *ctx, const char *prefix, bool leaving,
                       struct txn_build *t);

#endif
