/* vpa_target.h - what a VerticalPodAutoscaler's targetRef names: its pods' selector, and which pods
 * are really its. From the caches; loop-confined. */
#ifndef CONTROLLERS_VPA_TARGET_H
#define CONTROLLERS_VPA_TARGET_H

#include "controllers/controller.h"
#include "lib/api/vpa.h"

struct api_label_selector;
struct core_v1_pod;

/* Watches that the functions below need. */
#define VPA_TARGET_WATCHES                                                                         \
    {"", "v1", "Pod", NULL}, {"", "v1", "ReplicationController", NULL},                            \
        {"apps", "v1", "Deployment", NULL}, {"apps", "v1", "ReplicaSet", NULL},                    \
        {"apps", "v1", "StatefulSet", NULL}, {"apps", "v1", "DaemonSet", NULL},                    \
        {"batch", "v1", "Job", NULL},                                                              \
    {                                                                                              \
        "batch", "v1", "CronJob", NULL                                                             \
    }

/* Is it one of these kinds? */
bool vpa_target_knows(struct str kind);

enum vpa_found {
    VPA_FOUND,
    VPA_MISSING,
    VPA_OTHER_KIND, /* Only its scale can tell. */
};
/* ret_object: the target. */
enum vpa_found vpa_target_find(struct controller_run *r, struct arena *a, struct str namespace_name,
                               const struct vpa_object *v, struct api_label_selector *ret,
                               struct api_object **ret_object);
/* Is the target among the pod's controllers, theirs and so on? */
bool vpa_target_owns(struct controller_run *r, const struct core_v1_pod *p,
                     const struct vpa_object *v);
/* How many pods the pod's controller wants; -1: it cannot be told, 0: there is none. */
int64_t vpa_target_replicas(struct controller_run *r, const struct core_v1_pod *p);

#endif
