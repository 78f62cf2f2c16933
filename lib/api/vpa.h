/* vpa.h - VerticalPodAutoscalers of autoscaling.k8s.io: what one says, and what its recommendation
 * means for a pod. Pure; everything lives in the arena given.
 *
 * They are custom objects, so they are read from JSON, which a schema has judged: what is missing
 * or of another type counts as not given. The API server applies recommendations to pods that are
 * made, the controller to those that run; both ask vpa_for_pod(). */
#ifndef API_VPA_H
#define API_VPA_H

#include "lib/api/quantity.h"

#define VPA_GROUP "autoscaling.k8s.io"
#define VPA_UPDATES_ANNOTATION "vpaUpdates"
#define VPA_OBSERVED_ANNOTATION "vpaObservedContainers"

struct arena;
struct api_quantity_entry;
struct core_v1_limit_range;
struct core_v1_pod;
struct json;

enum vpa_resource { VPA_CPU, VPA_MEMORY, VPA_RESOURCES };
extern const char *const vpa_resource_names[VPA_RESOURCES]; /* "cpu", "memory" */

/* Of CPU thousandths, of memory bytes; shown in its format. */
struct vpa_amount {
    int64_t n;
    enum quantity_format format;
    bool given;
};

struct vpa_list {
    struct vpa_amount of[VPA_RESOURCES];
};

enum vpa_mode { VPA_OFF, VPA_INITIAL, VPA_RECREATE, VPA_IN_PLACE_OR_RECREATE, VPA_IN_PLACE };

struct vpa_policy {
    struct str container; /* "*": of all that have none of their own. */
    bool off;
    bool requests_only;
    bool controls[VPA_RESOURCES];
    struct vpa_list min, max;
    double oom_ratio, oom_bytes; /* 0: not given, like the others below. */
    int64_t memory_interval_s;
    int64_t memory_intervals;
};

struct vpa_recommended {
    struct str container;
    struct vpa_list target, lower, upper, uncapped;
};

struct vpa_requirement {
    bool wants[VPA_RESOURCES];
    bool higher; /* The target must be higher than the request; else lower. */
};

struct vpa_object {
    struct str target_version, target_kind, target_name;
    enum vpa_mode mode;
    bool mode_deprecated; /* "Auto" */
    int64_t min_replicas; /* 0: not given. */
    int64_t evict_after_oom_s;
    struct vpa_requirement *requirements;
    size_t requirement_count;
    struct vpa_policy *policies;
    size_t policy_count;
    struct str *recommenders;
    size_t recommender_count;
    struct vpa_recommended *recommended;
    size_t recommended_count;
};

/* content: an object with spec and status. */
void vpa_read(struct arena *a, const struct json *content, struct vpa_object *ret);
/* The container's own policy, or that of all; NULL: none. */
const struct vpa_policy *vpa_policy_of(const struct vpa_object *v, struct str container);
const struct vpa_recommended *vpa_recommended_of(const struct vpa_recommended *list, size_t count,
                                                 struct str container);
/* Within minAllowed and maxAllowed; what is capped is told by the return value. */
enum vpa_capped { VPA_NOT_CAPPED, VPA_CAPPED_TO_MIN, VPA_CAPPED_TO_MAX };
enum vpa_capped vpa_cap(struct vpa_amount *x, const struct vpa_amount *min,
                        const struct vpa_amount *max);

void vpa_list_from(const struct api_quantity_entry *e, size_t count, struct vpa_list *ret);
struct quantity vpa_quantity(enum vpa_resource r, const struct vpa_amount *x);

/* --- for a pod -------------------------------------------------------------------------------- */

/* What the LimitRanges of a namespace ask together. */
struct vpa_range {
    bool given;
    struct vpa_list min, max, usual; /* usual: limits of what names none. */
};
struct vpa_ranges {
    struct vpa_range container, pod;
};
void vpa_ranges_add(struct vpa_ranges *r, const struct core_v1_limit_range *l);

/* What a container of a pod gets. */
struct vpa_container {
    bool recommended;                 /* Whether anything below is given. */
    struct vpa_list requests, limits; /* To be set; what is not given stays as it is. */
    struct vpa_list lower, upper;
    struct str *notes; /* Why requests are not what is recommended: "cpu capped to minAllowed". */
    size_t note_count;
};
/* One for each of the pod's containers, in their order. */
struct vpa_container *vpa_for_pod(struct arena *a, const struct vpa_object *v,
                                  const struct core_v1_pod *p, const struct vpa_ranges *ranges);
/* What the container has, as its status says it or else the spec. */
void vpa_container_has(const struct core_v1_pod *p, size_t container, struct vpa_list *requests,
                       struct vpa_list *limits);

#endif
