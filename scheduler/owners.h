/* owners.h - by what do Services and controllers select a pod? For the spreading of
 * pods that state no constraints of their own. Loop-confined. */
#ifndef SCHEDULER_OWNERS_H
#define SCHEDULER_OWNERS_H

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct client;
struct core_v1_pod;
struct meta_v1_label_selector;
struct owners;

/* on_synced: once for each of its informers. */
struct owners *owners_start(struct client *c, void (*on_synced)(void *arg), void *arg);
void owners_stop(struct owners *o); /* Frees; NULL is a no-op. */
bool owners_have_synced(const struct owners *o);
/* The requirements of all Services that select the pod and of its controller together;
 * empty when there are none. In the arena, strings too. */
void owners_selector(const struct owners *o, struct arena *a, const struct core_v1_pod *pod,
                     struct meta_v1_label_selector *ret);
/* Rises when any answer may have changed. */
uint64_t owners_rev(const struct owners *o);

#endif
