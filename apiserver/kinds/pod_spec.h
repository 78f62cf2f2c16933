/* pod_spec.h - what pods and pod templates share: defaults, validation, QoS.
 * Pure; memory comes from the request's arena. */
#ifndef APISERVER_KINDS_POD_SPEC_H
#define APISERVER_KINDS_POD_SPEC_H

#include "apiserver/kind.h"

struct core_v1_container;
struct core_v1_pod;
struct core_v1_pod_spec;
struct core_v1_pod_template_spec;

void pod_spec_defaults(struct arena *a, struct core_v1_pod_spec *s);
/* Templates leave out what only a pod gets (requests from limits, service links). */
void pod_template_defaults(struct arena *a, struct core_v1_pod_template_spec *t);
/* Requests that are not given are the limits. */
void pod_spec_default_requests(struct arena *a, struct core_v1_pod_spec *s);

enum { /* Where a spec stands. */
       POD_SPEC_TEMPLATE = 1 << 0,
       POD_SPEC_CREATE = 1 << 1,
};
void validate_pod_spec(const struct kind_ctx *ctx, struct field_errors *errs,
                       const struct field_path *path, const struct core_v1_pod_spec *s,
                       unsigned flags);
/* Of pods alone: no white space around images. */
void validate_pod_images(struct field_errors *errs, const struct field_path *path,
                         const struct core_v1_pod_spec *s);
/* Metadata and spec of a template. */
void validate_pod_template(const struct kind_ctx *ctx, struct field_errors *errs,
                           const struct field_path *path,
                           const struct core_v1_pod_template_spec *t);
/* "Guaranteed", "Burstable" or "BestEffort". */
struct str pod_qos_class(const struct core_v1_pod_spec *s);

/* Container names and images as table cells. */
void cell_containers(struct table_row *r, const struct core_v1_container *c, size_t count);
void cell_images(struct table_row *r, const struct core_v1_container *c, size_t count);

#endif
