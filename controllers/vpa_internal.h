/* vpa_internal.h - the controller of VerticalPodAutoscalers between its files.
 *
 *   vpa.c         rounds: definitions, the list of autoscalers, checkpoints that nobody needs
 *   vpa_look.c    one autoscaler: target, usage, status, checkpoints
 *   vpa_update.c  its pods: resizing and evicting them */
#ifndef CONTROLLERS_VPA_INTERNAL_H
#define CONTROLLERS_VPA_INTERNAL_H

#include "controllers/controller.h"
#include "controllers/kinds.h"
#include "controllers/vpa_memory.h"

/* One autoscaler. */
struct vpa_entry {
    struct vpa_memory *memory;
    struct arena *arena;     /* Of object; NULL: only a checkpoint is known. */
    struct json *object;     /* As it was listed last. */
    char *written, *version; /* The status last written, and the object's version then. */
    bool listed;
    bool silent; /* Its metrics could not be had the last time. */
};

struct vpa_state {
    struct map entries; /* By "namespace/name". */
    struct kinds *kinds;
    bool loaded;         /* Checkpoints were read. */
    int64_t collected_s; /* When those that nobody needs were last removed. */
};

/* One look at one autoscaler; reconcile.state. */
struct vpa_look {
    struct vpa_entry *entry; /* May be gone after a call: vpa_look_entry(). */
    struct json *object;     /* A copy. */
    struct json *status;
    struct vpa_object v;
    struct str selector; /* As text. */
    struct str unsupported;
    struct api_object **pods; /* That the selector matches. */
    size_t pod_count;
    struct str metrics; /* The answer. */
    struct str scale_error;
};

extern const struct client_resource vpa_autoscalers, vpa_checkpoints;

struct vpa_entry *vpa_entry_of(struct vpa_state *s,
                               struct str key); /* Made when it is not there. */
void vpa_look(struct reconcile *c);
/* Takes the steps that are due, by the look's recommendation. */
void vpa_update(struct reconcile *c);

#endif
