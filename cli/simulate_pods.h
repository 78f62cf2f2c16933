/* simulate_pods.h - the pods that a workload's controllers would make. Pure. */
#ifndef CLI_SIMULATE_PODS_H
#define CLI_SIMULATE_PODS_H

#include "lib/base/str.h"

#include <stdint.h>

struct api_object;
struct core_v1_pod_template_spec;
struct error;
struct meta_v1_object_meta;

struct workload {
    struct api_object *object; /* One reference. */
    int64_t replicas;
    const struct core_v1_pod_template_spec *pod_template; /* NULL: it is a pod itself. */
    struct api_object *owner; /* What pods name as their controller; NULL: none. */
};

/* E_INVALID: no kind that makes a number of pods. */
int workload_of(struct api_object *o, struct workload *ret, struct error *err);
/* Its i-th pod; the caller owns the reference. */
struct api_object *workload_pod(const struct workload *w, int64_t i);
void workload_done(struct workload *w);

#endif
