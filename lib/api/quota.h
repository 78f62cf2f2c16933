/* quota.h - what objects use of a ResourceQuota.
 *
 * The apiserver charges it when objects are written, the controller counts it
 * anew when they go: both must count alike. Objects are of the storage version,
 * named by group and resource. Pure. */
#ifndef API_QUOTA_H
#define API_QUOTA_H

#include "lib/api/resource_list.h"

struct core_v1_pod;
struct core_v1_resource_quota;
struct resource_v1_resource_claim;

/* What the usage of a ResourceClaim depends on beside itself: its devices count by the extended
 * resources of their DeviceClass as well, but those that a pod asked for by such names count with
 * the pod. */
struct quota_lookup {
    /* spec.extendedResourceName of the class; empty: it has none. */
    struct str (*extended_name)(void *arg, struct str device_class);
    const struct core_v1_pod *(*pod)(void *arg, struct str ns, struct str name); /* NULL: none. */
    /* Calls each() for the claims of the namespace that a pod of this uid controls, and maybe for
     * others. */
    void (*claims)(void *arg, struct str ns, struct str pod_uid,
                   void (*each)(const struct resource_v1_resource_claim *c, void *each_arg),
                   void *each_arg);
    void *arg;
};

/* Adds what obj uses, by the names that stand in a quota: the thing itself
 * ("pods", "count/deployments.apps") and what it asks for. obj may be NULL for
 * resources of which nothing but the number counts. lookup: NULL where it is no ResourceClaim. */
void quota_usage(const char *group, const char *resource, const void *obj, int64_t now_s,
                 const struct quota_lookup *lookup, struct resource_list *ret);
/* Is the object among those that the quota's scopes and scope selector choose? */
bool quota_applies(const struct core_v1_resource_quota *q, const char *group, const char *resource,
                   const void *obj);
/* Could an object of that resource ever use what name stands for? */
bool quota_counts(struct arena *a, struct str name, const char *group, const char *resource);

#endif
