/* trigger_times.h - since when the endpoints of a Service are behind the world: the earliest of
 * the changes that were not there at the last look. Pure. */
#ifndef CONTROLLERS_TRIGGER_TIMES_H
#define CONTROLLERS_TRIGGER_TIMES_H

#include "lib/base/str.h"

struct api_object;
struct arena;
struct core_v1_service;
struct trigger_times;

struct trigger_times *trigger_times_new(void);
void trigger_times_free(struct trigger_times *t); /* NULL is a no-op. */
/* A look at the Service of that key and all pods that it selects. Gives the time as annotations
 * have it, in the arena; empty: nothing that is known changed. */
struct str trigger_times_look(struct trigger_times *t, struct arena *a, struct str key,
                              const struct core_v1_service *s, struct api_object *const *pods,
                              size_t pod_count);
void trigger_times_forget(struct trigger_times *t, struct str key);

#endif
