/* resolve.h - where the Service of an APIService leads, and what upstream's
 * checks say of it. Pure: a function of one view. */
#ifndef APISERVER_AGGREGATION_RESOLVE_H
#define APISERVER_AGGREGATION_RESOLVE_H

#include "apiserver/aggregation/apiservice.h"

struct aggregated_service;
struct kind_ctx;

struct aggregated_place {
    struct apiservice_verdict problem; /* status NULL: none was found. */
    struct str endpoint;               /* "host:port"; empty: nowhere to go. */
    size_t choices;                    /* Endpoints among which that one was drawn. */
    uint64_t state;                    /* Another number when what it follows from has changed. */
};

/* Ready endpoints are chosen among at random, so that no node's proxy is needed
 * here; the Service's own address serves when it has none of its own choosing. */
void aggregated_resolve(const struct kind_ctx *ctx, const struct aggregated_service *s,
                        struct aggregated_place *ret);

#endif
