/* pod_subs.h - a pod's status and resize subresources. Pure. */
#ifndef APISERVER_KINDS_POD_SUBS_H
#define APISERVER_KINDS_POD_SUBS_H

#include "apiserver/kind.h"

struct core_v1_pod_status;

/* Generations that a report leaves out stay. */
void pod_keep_observed(struct core_v1_pod_status *s, const struct core_v1_pod_status *old);
void pod_validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                         struct field_errors *errs);

/* All but resources comes from the old pod. */
void pod_prepare_resize(const struct kind_ctx *ctx, void *obj, const void *old);
void pod_validate_resize(const struct kind_ctx *ctx, const void *obj, const void *old,
                         struct field_errors *errs);

#endif
