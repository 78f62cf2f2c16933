/* pods.h - questions about pods that several controllers ask. Pure. */
#ifndef CONTROLLERS_PODS_H
#define CONTROLLERS_PODS_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct api_object;
struct arena;
struct core_v1_pod;
struct core_v1_pod_condition;
struct core_v1_pod_template_spec;
struct meta_v1_owner_reference;

/* Being deleted. */
bool pod_is_going(const struct core_v1_pod *p);
/* Neither ended nor being deleted. */
bool pod_is_active(const struct core_v1_pod *p);
const struct core_v1_pod_condition *pod_condition(const struct core_v1_pod *p, const char *type);
bool pod_is_ready(const struct core_v1_pod *p);
/* Ready for at least min_ready_s. */
bool pod_is_available(const struct core_v1_pod *p, int32_t min_ready_s, int64_t now_s);

/* A pod from a template, owned by owner; strings are shared with the template. */
void pod_from_template(struct arena *a, const struct core_v1_pod_template_spec *t,
                       struct str namespace_name, struct str owner_name,
                       const struct meta_v1_owner_reference *owner, struct core_v1_pod *ret);

/* Negative: p goes before q, when neither deletion cost nor siblings matter. */
int pod_compare_for_deletion(const struct core_v1_pod *p, const struct core_v1_pod *q);

/* Of pods that have ended: evicted ones first, then the older. */
int pod_compare_ended(const struct core_v1_pod *p, const struct core_v1_pod *q);

/* Sorts pods so that those to be deleted first come first, by upstream's
 * order: unassigned, then by phase, not ready, lower deletion cost, more
 * siblings on the node, ready for less time, more restarts, newer. Times count by
 * their power of two. */
struct pod_rank {
    struct api_object *object;
    /* Set by the ranking. */
    uint32_t siblings; /* Active related pods on the same node. */
    int64_t cost;
    int64_t now_ns;
};
void pod_rank_for_deletion(struct pod_rank *pods, size_t count, struct api_object *const *related,
                           size_t related_count, int64_t now_ns);

#endif
