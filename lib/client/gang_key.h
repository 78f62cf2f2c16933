/* gang_key.h - which gang a pod belongs to: the PodGroup of scheduling.x-k8s.io/v1alpha1 that its
 * label names, in its namespace. Pure. */
#ifndef CLIENT_GANG_KEY_H
#define CLIENT_GANG_KEY_H

#include "lib/base/str.h"

#include <stdbool.h>

struct core_v1_pod;

#define GANG_LABEL "scheduling.x-k8s.io/pod-group"
#define GANG_KEY_MAX                                                                               \
    384 /* A namespace and a label's value are 63 bytes each at most, seen kindly. */

bool pod_has_gang(const struct core_v1_pod *pod);
/* "namespace/group", in buffer or static; empty: the pod is in no gang. */
struct str gang_key(const struct core_v1_pod *pod, char buffer[GANG_KEY_MAX]);
bool pods_share_gang(const struct core_v1_pod *x, const struct core_v1_pod *y);

#endif
