/* static_pods.h - pods from manifest files in a folder (--pod-manifest-path).
 *
 * They run with or without an API server. A changed file is a new pod: its
 * uid is a hash of what the file says. */
#ifndef KUBELET_STATIC_PODS_H
#define KUBELET_STATIC_PODS_H

#include "lib/base/error.h"
#include "lib/base/str.h"

struct api_object;
struct arena;
struct core_v1_pod;
struct kubelet;
struct static_pods;

/* on_ready: the folder was read once. */
struct static_pods *static_pods_start(struct kubelet *k, const char *path,
                                      void (*on_ready)(struct kubelet *k));
void static_pods_stop(struct static_pods *s); /* NULL is a no-op. */

/* One manifest, YAML or JSON, to a pod of this node with all defaults. The
 * caller owns the reference. Pure. */
int static_pod_parse(struct str text, const char *node_name, const char *path,
                     struct api_object **ret, struct error *err);
/* What the API server would have filled in. */
void pod_set_defaults(struct arena *a, struct core_v1_pod *pod);

#endif
