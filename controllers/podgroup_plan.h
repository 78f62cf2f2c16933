/* podgroup_plan.h - the status of a PodGroup, from its pods and from what it was. Pure.
 *
 *   Pending -> PreScheduling -> Scheduling -> Scheduled -> Running -> Finished, Failed
 *                                   Unknown: a whole gang that has lost placed pods
 *
 * Each phase follows from the pods; the names are those of the scheduler-plugins project. */
#ifndef CONTROLLERS_PODGROUP_PLAN_H
#define CONTROLLERS_PODGROUP_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PODGROUP_API "scheduling.x-k8s.io"
#define PODGROUP_DEFINITION "podgroups." PODGROUP_API

struct api_object;
struct arena;
struct buf;
struct meta_v1_time;
struct scheduling_x_v1alpha1_pod_group;
struct scheduling_x_v1alpha1_pod_group_status;

/* pods: its own. now is borrowed by *ret. */
void podgroup_plan_status(struct arena *a, const struct scheduling_x_v1alpha1_pod_group *group,
                          struct api_object *const *pods, size_t count, struct meta_v1_time *now,
                          struct scheduling_x_v1alpha1_pod_group_status *ret);

/* Appends the definition of the kind, as JSON. */
void podgroup_definition(struct buf *b);

#endif
