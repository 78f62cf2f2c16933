/* owner_selector.h - the requirements by which Services and a controller select a
 * pod, added up. Pure. */
#ifndef SCHEDULER_OWNER_SELECTOR_H
#define SCHEDULER_OWNER_SELECTOR_H

#include <stdbool.h>
#include <stddef.h>

struct api_object;
struct arena;
struct core_v1_pod;
struct core_v1_service;
struct meta_v1_label_selector;
struct meta_v1_owner_reference;

struct owner_selector {
    struct arena *arena;
    const struct core_v1_pod *pod;
    struct meta_v1_label_selector *ret;
    size_t labels_cap, expressions_cap;
};

/* ret is emptied; all of it, strings too, is in the arena in the end. */
void owner_selector_begin(struct owner_selector *g, struct arena *a, const struct core_v1_pod *pod,
                          struct meta_v1_label_selector *ret);
/* Counts if it selects the pod. */
void owner_selector_add_service(struct owner_selector *g, const struct core_v1_service *s);
/* A ReplicationController, ReplicaSet or StatefulSet; others do not count. */
void owner_selector_add_controller(struct owner_selector *g, const struct api_object *o);
void owner_selector_end(struct owner_selector *g);

/* The pod's controller; NULL: none. */
const struct meta_v1_owner_reference *pod_controller(const struct core_v1_pod *pod);

#endif
