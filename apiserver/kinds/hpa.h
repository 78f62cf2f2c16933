/* hpa.h - the parts of HorizontalPodAutoscaler (internal to its files). Pure. */
#ifndef APISERVER_KINDS_HPA_H
#define APISERVER_KINDS_HPA_H

#include "apiserver/kind.h"

struct autoscaling_v2_horizontal_pod_autoscaler;
struct autoscaling_v2_horizontal_pod_autoscaler_spec;

void hpa_defaults(struct arena *a, struct autoscaling_v2_horizontal_pod_autoscaler_spec *s);
void hpa_validate(struct field_errors *errs,
                  const struct autoscaling_v2_horizontal_pod_autoscaler_spec *s);
/* "cpu: 10%/80%, 3/5" of the wanted metrics and their present values. */
struct str hpa_targets(struct arena *a, const struct autoscaling_v2_horizontal_pod_autoscaler *h);

#endif
