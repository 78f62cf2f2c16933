/* vpa_plan.h - which pods of a VerticalPodAutoscaler's target get their new amounts now, and how.
 *
 * A pod whose requests are outside the recommended bounds, or far from the target for long, is
 * resized in place or evicted, so that its successor starts with the target. Of the pods of one
 * controller only so many may be away at once. Order, thresholds and budgets are those of the
 * autoscaler project's updater. Pure. */
#ifndef CONTROLLERS_VPA_PLAN_H
#define CONTROLLERS_VPA_PLAN_H

#include "lib/api/vpa.h"

struct core_v1_pod;

/* The pods of one controller. */
struct vpa_group {
    int64_t configured; /* How many it wants; -1: as many as there are, 0: none are touched. */
};

struct vpa_pod {
    const struct core_v1_pod *pod;
    const struct vpa_container *containers; /* vpa_for_pod() */
    size_t group;
    int64_t resizing_since_s; /* When it was first seen with a resize under way; 0: now. */
};

enum vpa_way { VPA_BY_RESIZE, VPA_BY_EVICTION };

struct vpa_step {
    size_t pod; /* Index. */
    enum vpa_way way;
};

struct vpa_plan_config {
    const struct vpa_object *autoscaler;
    int64_t now_s;
    int64_t min_replicas; /* Where the autoscaler names none. */
    double tolerance;     /* Share of a group that may be away. */
    double threshold;     /* Change that is worth it, as a share of the request. */
    int64_t lifetime_s;   /* How long a pod within the bounds is left alone. */
    int64_t oom_s;        /* A kill for lack of memory so soon after a start is answered at once. */
    int64_t deferred_s;   /* How long a deferred resize is waited for, */
    int64_t in_progress_s; /* and one that the node carries out. */
};
#define VPA_PLAN_DEFAULTS                                                                          \
    .min_replicas = 2, .tolerance = 0.5, .threshold = 0.1, .lifetime_s = 12 * 3600, .oom_s = 600,  \
    .deferred_s = 300, .in_progress_s = 3600

/* steps has room for all pods; the number of steps, in the order in which they are to be taken. */
size_t vpa_plan(struct arena *a, const struct vpa_plan_config *c, const struct vpa_pod *pods,
                size_t count, const struct vpa_group *groups, size_t group_count,
                struct vpa_step *steps);

/* Is a resize of the pod under way, or waiting? */
bool vpa_is_resizing(const struct core_v1_pod *p);

#endif
