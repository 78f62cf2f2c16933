/* vpa_memory.h - what the controller of VerticalPodAutoscalers remembers of one: the usage of each
 * container of its target's pods, and its saved form, the project's checkpoints.
 *
 * A checkpoint holds one container's histograms. Theirs has no place for the current peaks of
 * memory, which another interval's end would add once more after a restart; they stand in an
 * annotation. Loop-confined. */
#ifndef CONTROLLERS_VPA_MEMORY_H
#define CONTROLLERS_VPA_MEMORY_H

#include "controllers/vpa_estimate.h"
#include "lib/api/vpa.h"
#include "lib/base/map.h"

struct api_object;
struct arena;
struct core_v1_pod;
struct error;
struct json;

/* One container of the target, whatever the pod. */
struct vpa_series {
    struct vpa_aggregate aggregate;
    bool changed; /* Since it was saved. */
};

/* One pod's container. */
struct vpa_pod_usage {
    struct vpa_usage usage;
    int64_t oom_s; /* The last kill that was counted. */
    bool seen;     /* Its pod is there. */
};

struct vpa_memory {
    struct map series; /* Of struct vpa_series, by container. */
    struct map usages; /* Of struct vpa_pod_usage, by "container/uid". */
    struct map tries;  /* Pods' uids that are being resized: int64_t *, since when. */
};

struct vpa_memory *vpa_memory_new(void);
void vpa_memory_free(struct vpa_memory *m); /* NULL is a no-op. */

/* Takes in an answer of metrics.k8s.io (PodMetricsList) and the kills that the pods' statuses tell
 * of. pods: the target's. E_INVALID: no such list; the pods were looked at all the same. */
int vpa_memory_feed(struct vpa_memory *m, const struct vpa_object *v,
                    struct api_object *const *pods, size_t count, struct str metrics,
                    struct error *err);
void vpa_memory_kills(struct vpa_memory *m, const struct vpa_object *v,
                      struct api_object *const *pods, size_t count);
/* Forgets what had no samples for long. Calls gone for each such container. */
void vpa_memory_expire(struct vpa_memory *m, const struct vpa_object *v, int64_t now_s,
                       void (*gone)(struct str container, void *arg), void *arg);

/* --- checkpoints (vpa_checkpoint.c)
 * --------------------------------------------------------------- */
#define VPA_PEAKS_ANNOTATION "trireme.io/memory-peaks"
#define VPA_PEAKS_MAX                                                                              \
    1000 /* Pods whose peaks are saved; of more they are left out of the histogram. */

struct str vpa_checkpoint_name(struct arena *a, struct str autoscaler, struct str container);
/* Status and annotations of a container's checkpoint. */
struct json *vpa_checkpoint_status(struct arena *a, const struct vpa_memory *m,
                                   struct str container, int64_t now_s);
struct json *vpa_checkpoint_annotations(struct arena *a, const struct vpa_memory *m,
                                        struct str container);
/* From a checkpoint object; false: it is of another version, or makes no sense. */
bool vpa_checkpoint_load(struct vpa_memory *m, const struct json *checkpoint);

#endif
