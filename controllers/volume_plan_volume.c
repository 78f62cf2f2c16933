/* volume_plan_volume.c - see volume_plan.h: volumes, which follow their claims
 * and are reclaimed when those are gone. */
#include "controllers/volume_plan.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/client/claims.h"
#include "lib/client/event_recorder.h"
#include "lib/client/labels.h"

struct plan {
    struct arena *a;
    const struct core_v1_persistent_volume *volume;
    struct volume_step *step;
};

static struct core_v1_persistent_volume *change(const struct plan *p, enum volume_write write)
{
    p->step->write = write;
    p->step->msg = arena_memdup(p->a, p->volume, sizeof(*p->volume));
    return p->step->msg;
}

/* False: it is in that phase already. */
static bool set_phase(const struct plan *p, const char *phase, struct str message)
{
    if (str_eqc(p->volume->status.phase, phase))
        return false;
    struct core_v1_persistent_volume *copy = change(p, WRITE_VOLUME_STATUS);
    copy->status = (struct core_v1_persistent_volume_status){
        .phase = str_of(phase),
        .message = message,
        .last_phase_transition_time = p->volume->status.last_phase_transition_time};
    return true;
}

static void fail(const struct plan *p, const char *reason, struct str message)
{
    if (set_phase(p, "Failed", message))
        volume_step_say(p->step, EVENT_WARNING, reason, message);
}

/* Its claim is gone. */
static void reclaim(const struct plan *p)
{
    const struct core_v1_persistent_volume *v = p->volume;
    struct str policy = v->spec.persistent_volume_reclaim_policy;
    bool external = annotation_get(&v->metadata, ANNOTATION_PROVISIONED_BY) != NULL;
    p->step->last = true;
    if (str_eqc(policy, "Recycle"))
        fail(p, "VolumeFailedRecycle", STR("No recycler plugin found for the volume!"));
    else if (str_eqc(policy, "Delete") && !external)
        fail(p, "VolumeFailedDelete",
             arena_printf(p->a,
                          "error getting deleter volume plugin for volume \"" STR_FMT
                          "\": no deletable volume plugin matched",
                          STR_ARG(v->metadata.name)));
}

static void release(const struct plan *p)
{
    bool settled = str_eqc(p->volume->status.phase, "Failed");
    if (!settled && set_phase(p, "Released", STR_NULL))
        return;
    reclaim(p);
}

/* The claim took another volume. */
static void unbind(const struct plan *p)
{
    const struct core_v1_persistent_volume *v = p->volume;
    const struct str *by = annotation_get(&v->metadata, ANNOTATION_PROVISIONED_BY);
    if (by != NULL && str_eqc(v->spec.persistent_volume_reclaim_policy, "Delete")) {
        release(p); /* Made for this claim alone. */
        return;
    }
    struct core_v1_persistent_volume *copy = change(p, WRITE_VOLUME);
    if (annotation_get(&v->metadata, ANNOTATION_BOUND_BY_CONTROLLER) != NULL) {
        copy->spec.claim_ref = NULL;
        annotation_put(p->a, &copy->metadata, ANNOTATION_BOUND_BY_CONTROLLER, STR_NULL);
    } else {
        /* Reserved by its owner, and still. */
        struct core_v1_object_reference *r =
            arena_memdup(p->a, v->spec.claim_ref, sizeof(*v->spec.claim_ref));
        r->uid = r->resource_version = STR_NULL;
        copy->spec.claim_ref = r;
    }
}

static void follow_claim(const struct plan *p, const struct core_v1_persistent_volume_claim *c)
{
    const struct core_v1_persistent_volume *v = p->volume;
    p->step->last = true;
    if (str_eq(c->spec.volume_name, v->metadata.name)) {
        set_phase(p, "Bound", STR_NULL);
    } else if (!str_empty(c->spec.volume_name)) {
        p->step->last = false;
        unbind(p);
    } else if (claim_is_block(c) != volume_is_block(v)) {
        volume_step_say(
            p->step, EVENT_WARNING, "VolumeMismatch",
            arena_printf(p->a,
                         "Cannot bind PersistentVolume to requested PersistentVolumeClaim "
                         "\"" STR_FMT "\" due to incompatible volumeMode.",
                         STR_ARG(c->metadata.name)));
    } else {
        p->step->wake_claim = true; /* Binding is under way, or the owner reserved it. */
    }
}

void volume_plan(struct arena *a, const struct volume_view *view,
                 const struct core_v1_persistent_volume *v, struct volume_step *ret)
{
    const struct core_v1_object_reference *r = v->spec.claim_ref;
    struct plan p = {a, v, ret};
    *ret = (struct volume_step){0};
    if (r == NULL || str_empty(r->uid)) {
        ret->last = true;
        set_phase(&p, "Available", STR_NULL);
        ret->wake_claim = r != NULL;
        return;
    }
    struct api_object *o = view->claim(view->arg, r->namespace, r->name);
    const struct core_v1_persistent_volume_claim *c = o != NULL ? o->msg : NULL;
    bool is_it = c != NULL && str_eq(c->metadata.uid, r->uid);
    if (is_it) {
        follow_claim(&p, c);
    } else if (str_eqc(v->status.phase, "Released")) {
        reclaim(&p);
    } else if (!view->gone_for_sure) {
        ret->write = ASK_CLAIM;
        ret->ask_namespace = r->namespace;
        ret->ask = r->name;
    } else {
        release(&p);
    }
}
