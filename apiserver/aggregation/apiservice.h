/* apiservice.h - what an APIService object says, and how its condition is
 * written. Pure.
 *
 * An APIService says who serves one group version: this server itself (local,
 * without spec.service), or a server behind a Service, to which requests are
 * passed on. */
#ifndef APISERVER_AGGREGATION_APISERVICE_H
#define APISERVER_AGGREGATION_APISERVICE_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct apiregistration_v1_api_service;
struct arena;

#define APISERVICE_GROUP "apiregistration.k8s.io"
#define APISERVICE_PREFIX "/registry/apiregistration.k8s.io/apiservices/"
#define APISERVICE_PORT 443

/* What is known of a service's availability. */
struct apiservice_verdict {
    const char *status; /* "True", "False", "Unknown" */
    const char *reason;
    struct str message;
};

/* Of every local one. */
struct apiservice_verdict apiservice_local(void);
/* Sets the condition Available; its time changes with the status only. True:
 * it differs. */
bool apiservice_set_available(struct arena *a, struct apiregistration_v1_api_service *s,
                              const struct apiservice_verdict *v, int64_t now_s);
bool apiservice_is_available(const struct apiregistration_v1_api_service *s);

/* v2 before v1 before v1beta2 before v1beta1 before v1alpha1 before anything
 * else by name: < 0 when x stands first. */
int apiservice_compare_versions(const char *x, const char *y);

#endif
