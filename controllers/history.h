/* history.h - ControllerRevisions: the templates that a DaemonSet or
 * StatefulSet has had, newest last. */
#ifndef CONTROLLERS_HISTORY_H
#define CONTROLLERS_HISTORY_H

#include "controllers/controller.h"

struct apps_v1_controller_revision;
struct core_v1_pod_template_spec;

#define LABEL_REVISION_HASH "controller-revision-hash"
#define LABEL_HISTORY_HASH "controller.kubernetes.io/hash"

struct history_config {
    const struct api_object *owner;
    const struct core_v1_pod_template_spec *template;
    const struct meta_v1_label_selector *selector;
    const int32_t *collisions; /* status.collisionCount; NULL: none. */
    int32_t limit;             /* Old ones to keep. */
};

struct history {
    const struct apps_v1_controller_revision **items; /* By rising revision. In the arena. */
    size_t count;
    /* The one of the present template; NULL while it is being written: come
     * back when it is seen. */
    const struct apps_v1_controller_revision *current;
    bool collided; /* Its name is taken by another template: raise collisionCount. */
};

/* Finds the owner's revisions; creates the present template's, or makes it the
 * newest when an older one is the same (a rollback). */
void history_sync(struct reconcile *c, const struct history_config *config, struct history *ret);
/* Deletes the oldest beyond the limit, but none that `in_use` says pods have. */
void history_trim(struct reconcile *c, const struct history *h, int32_t limit,
                  bool (*in_use)(const struct apps_v1_controller_revision *r, const void *arg),
                  const void *arg);
/* The hash that pods of this revision carry (DaemonSets). */
struct str history_hash(const struct apps_v1_controller_revision *r);
/* The template of a revision, in the arena; NULL: damaged. */
struct core_v1_pod_template_spec *history_template(struct arena *a,
                                                   const struct apps_v1_controller_revision *r);

#endif
