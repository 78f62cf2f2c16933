/* volume_plan.h - the next step that brings claims and volumes together. Pure.
 *
 * Binding is four writes, each seen to be done before the next, in an order
 * that a crash between any two of them does not hurt:
 *
 *   volume.spec.claimRef -> volume Bound -> claim.spec.volumeName -> claim Bound
 *
 * A claim counts as bound once pv.kubernetes.io/bind-completed is on it: from
 * then on a missing volume means lost data and is never replaced. Rules and
 * texts are those of upstream's persistent volume controller (1.36). */
#ifndef CONTROLLERS_VOLUME_PLAN_H
#define CONTROLLERS_VOLUME_PLAN_H

#include "lib/base/str.h"

struct api_object;
struct arena;
struct core_v1_persistent_volume;
struct core_v1_persistent_volume_claim;

/* What the caches show. */
struct volume_view {
    struct api_object *(*volume)(void *arg, struct str name);
    struct api_object *(*claim)(void *arg, struct str namespace_name, struct str name);
    struct api_object *(*class)(void *arg, struct str name);
    /* Iterations as of informer_next(). */
    struct api_object *(*next_volume)(void *arg, size_t *pos);
    struct api_object *(*next_class)(void *arg, size_t *pos);
    /* The name of a pod that uses the claim and waits for a node; empty: none. */
    struct str (*waiting_pod)(void *arg, const struct core_v1_persistent_volume_claim *c);
    void *arg;
    bool gone_for_sure; /* The server itself said that what the caches lack is not there. */
};

enum volume_write {
    WRITE_NOTHING,
    WRITE_CLAIM,
    WRITE_CLAIM_STATUS,
    WRITE_VOLUME,
    WRITE_VOLUME_STATUS,
    ASK_VOLUME, /* Is it really not there? Then the step is planned again. */
    ASK_CLAIM,
};

struct volume_step {
    enum volume_write write;
    void *msg;                     /* The claim or volume to write, shares strings with the old. */
    struct str ask_namespace, ask; /* Name to ask for. */
    bool last;                     /* Nothing follows the write. */
    bool wake_claim;               /* The claim of this volume's claimRef wants a look. */
    const char *event_type, *reason; /* NULL: no event. After the write, about the object itself. */
    struct str message;
};

void volume_step_say(struct volume_step *s, const char *type, const char *reason,
                     struct str message);

/* Both are called again with the new state after each write but the last. */
void claim_plan(struct arena *a, const struct volume_view *view,
                const struct core_v1_persistent_volume_claim *c, struct volume_step *ret);
void volume_plan(struct arena *a, const struct volume_view *view,
                 const struct core_v1_persistent_volume *v, struct volume_step *ret);

#endif
