/* pod_prepare.h - what becomes of a pod's wishes when it is made. Pure. */
#ifndef APISERVER_KINDS_POD_PREPARE_H
#define APISERVER_KINDS_POD_PREPARE_H

#include "apiserver/kind.h"

struct core_v1_app_armor_profile;
struct core_v1_pod;
struct core_v1_pod_spec;
struct quantity;

/* Selectors of affinities and spreading get what matchLabelKeys and
 * mismatchLabelKeys say about the pod's own labels. */
void pod_apply_label_keys(struct arena *a, struct core_v1_pod *p);
/* AppArmor profiles that stand in annotations become fields, with a warning. */
void pod_apply_app_armor(const struct kind_ctx *ctx, struct core_v1_pod *p);
/* Requests of a pod with limits of its own follow from its containers'. */
void pod_default_own_requests(struct arena *a, struct core_v1_pod *p);

/* Projected sources of features that are off go, unless the pod has them already. old: NULL on
 * create. */
void pod_drop_disabled(struct core_v1_pod_spec *s, const struct core_v1_pod_spec *old);

/* What the containers need together at their peak; false: none asks for it. */
bool pod_aggregate(const struct core_v1_pod_spec *s, struct str key, bool limits,
                   struct quantity *ret);

#endif
