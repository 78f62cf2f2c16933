/* owned.h - pods of a controller object: which belong to it by reference and
 * selector, adopting and releasing those where the two differ. */
#ifndef CONTROLLERS_OWNED_H
#define CONTROLLERS_OWNED_H

#include "controllers/controller.h"
#include "lib/api/scheme.h"

struct core_v1_pod;
struct meta_v1_label_selector;

/* How to find what a pod may belong to. */
struct owned_config {
    const char *group, *kind; /* Of the owner; watched. */
    const struct meta_v1_label_selector *(*selector)(struct arena *a, const void *msg);
    const char *finalizer; /* Put on what is adopted, taken off what is released; NULL: none. */
    bool adopt_ended;      /* Pods that have ended, too. */
    bool keep_ended;       /* Those are not released, whatever their labels. */
};

/* For the touch() of a Pod watch: queues the owner, tells the expectations, and
 * queues whoever may want an orphan. Returns the owner; NULL: none. */
struct api_object *owned_touch_pod(struct controller_run *r, const struct owned_config *config,
                                   struct api_object *old, struct api_object *o);

struct owned_pods {
    struct api_object **items; /* Held by the reconciliation's arena. */
    size_t count;
    bool adopting; /* More are on their way: wait for them rather than make others. */
};
/* Pods that belong to owner; adopts and releases on the way (unless it is being
 * deleted, which the server is asked about before a pod is adopted). Adopted
 * ones count from when the cache shows them, which brings the owner's key back. */
struct owned_pods owned_gather(struct reconcile *c, const struct owned_config *config,
                               struct api_object *owner);
static inline struct core_v1_pod *owned_pod(const struct api_object *o)
{
    return o->msg;
}

/* Is all that was asked for seen? If not, the key comes back when that is given
 * up on, even if nothing changes. */
bool owned_settled(struct reconcile *c);

/* For answers to what the key's expectations await: a refusal is not awaited any
 * more; what may have happened still is, for a while. */
void owned_creation_failed(struct reconcile *c, const struct client_result *result);
void owned_deletion_failed(struct reconcile *c, const struct client_result *result, struct str uid);

/* The namespace is going: failing to create there is no failure. */
bool is_namespace_terminating(const struct client_result *result);

/* Keeps the object as long as the reconciliation. */
struct api_object *reconcile_hold(struct reconcile *c, struct api_object *o);

#endif
