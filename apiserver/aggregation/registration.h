/* registration.h - the APIServices of what this server serves itself: one for
 * each built-in group version, made when the server starts, and one for each of
 * custom resources, kept for as long as it is served.
 *
 * The label kube-aggregator.kubernetes.io/automanaged says so: "onstart" or
 * "true". Without it an APIService is somebody else's and is left alone. Pure. */
#ifndef APISERVER_AGGREGATION_REGISTRATION_H
#define APISERVER_AGGREGATION_REGISTRATION_H

#include "lib/base/map.h"
#include "lib/base/str.h"

struct apiregistration_v1_api_service;
struct kind_ctx;
struct kv;
struct resource;
struct txn_build;

/* Upstream's numbers for a built-in group version; false: it is none. */
bool registration_priorities(struct str group, struct str version, int32_t *ret_group,
                             int32_t *ret_version);
#define REGISTRATION_CUSTOM_GROUP_PRIORITY 1000
#define REGISTRATION_CUSTOM_VERSION_PRIORITY 100

/* One server's memory of what it has registered. */
struct registration {
    struct map synced;   /* Names that have been as wanted once. */
    struct map at_start; /* Names that were there before us. */
    bool started;
};
void registration_init(struct registration *r);
void registration_done(struct registration *r);

/* What is in the store. */
struct registration_look {
    const struct resource *res; /* apiservices */
    const struct kv *const *kvs;
    const struct apiregistration_v1_api_service *const *all;
    size_t count;
};
/* Adds what is to be done to the transaction of ctx->arena; false: nothing. */
bool registration_plan(struct registration *r, const struct kind_ctx *ctx,
                       const struct registration_look *look, struct txn_build *t);

#endif
