/* vpa_status.h - the status of a VerticalPodAutoscaler: recommendation and conditions. Pure. */
#ifndef CONTROLLERS_VPA_STATUS_H
#define CONTROLLERS_VPA_STATUS_H

#include "controllers/vpa_memory.h"

/* What is recommended now, by container name. */
struct vpa_recommended *vpa_recommend(struct arena *a, const struct vpa_memory *m,
                                      const struct vpa_object *v, size_t *ret_count);
/* Amounts by the resources' names. */
struct json *vpa_list_json(struct arena *a, const struct vpa_list *l);
/* status.recommendation */
struct json *vpa_recommendation_json(struct arena *a, const struct vpa_recommended *list,
                                     size_t count);

/* The conditions as they are to be: those of status, changed by what follows, by type. */
struct vpa_conditions {
    struct arena *arena;
    int64_t now_s;
    struct json *list; /* An array. */
};
void vpa_conditions_init(struct vpa_conditions *c, struct arena *a, const struct json *status,
                         int64_t now_s);
/* reason and message may be "". */
void vpa_condition_set(struct vpa_conditions *c, const char *type, bool value, const char *reason,
                       const char *message);
void vpa_condition_remove(struct vpa_conditions *c, const char *type);

#endif
