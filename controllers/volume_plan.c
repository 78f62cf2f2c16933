/* volume_plan.c - see volume_plan.h: claims. volume_plan_volume.c has volumes. */
#include "controllers/volume_plan.h"

#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "lib/api/quantity.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/client/claims.h"
#include "lib/client/event_recorder.h"
#include "lib/client/labels.h"

#define IN_TREE "kubernetes.io/"

/* What one planning needs. */
struct plan {
    struct arena *a;
    const struct volume_view *view;
    const struct core_v1_persistent_volume_claim *claim;
    struct volume_step *step;
};

void volume_step_say(struct volume_step *s, const char *type, const char *reason,
                     struct str message)
{
    s->event_type = type;
    s->reason = reason;
    s->message = message;
}

static struct core_v1_persistent_volume_claim *change_claim(const struct plan *p,
                                                            enum volume_write write)
{
    struct core_v1_persistent_volume_claim *copy = arena_memdup(p->a, p->claim, sizeof(*p->claim));
    p->step->write = write;
    p->step->msg = copy;
    return copy;
}

/* Pending or Lost: nothing of a volume is known. */
static void set_phase(const struct plan *p, const char *phase)
{
    const struct core_v1_persistent_volume_claim_status *s = &p->claim->status;
    p->step->last = true;
    if (str_eqc(s->phase, phase) && s->access_modes_count == 0 && s->capacity_count == 0)
        return;
    struct core_v1_persistent_volume_claim *copy = change_claim(p, WRITE_CLAIM_STATUS);
    copy->status.phase = str_of(phase);
    copy->status.access_modes_count = 0;
    copy->status.capacity_count = 0;
}

static void lose(const struct plan *p, const char *reason, const char *message)
{
    if (!str_eqc(p->claim->status.phase, "Lost"))
        volume_step_say(p->step, EVENT_WARNING, reason, str_of(message));
    set_phase(p, "Lost");
}

/* --- bringing the two together ------------------------------------------------------------- */

static struct core_v1_object_reference *
reference_to(struct arena *a, const struct core_v1_persistent_volume_claim *c)
{
    struct core_v1_object_reference *r = ARENA_NEW(a, struct core_v1_object_reference);
    *r = (struct core_v1_object_reference){.kind = STR("PersistentVolumeClaim"),
                                           .api_version = STR("v1"),
                                           .namespace = c->metadata.namespace,
                                           .name = c->metadata.name,
                                           .uid = c->metadata.uid,
                                           .resource_version = c->metadata.resource_version};
    return r;
}

/* The claimRef, with the uid. False: it is as it should be. */
static bool bind_volume(const struct plan *p, const struct core_v1_persistent_volume *v)
{
    const struct core_v1_object_reference *r = v->spec.claim_ref;
    if (r != NULL && str_eq(r->uid, p->claim->metadata.uid) && volume_is_of_claim(v, p->claim))
        return false;
    struct core_v1_persistent_volume *copy = arena_memdup(p->a, v, sizeof(*v));
    bool reserved = volume_is_of_claim(v, p->claim);
    copy->spec.claim_ref = reference_to(p->a, p->claim);
    if (!reserved)
        annotation_put(p->a, &copy->metadata, ANNOTATION_BOUND_BY_CONTROLLER, STR("yes"));
    p->step->write = WRITE_VOLUME;
    p->step->msg = copy;
    return true;
}

static bool set_bound(const struct plan *p, const struct core_v1_persistent_volume *v)
{
    if (str_eqc(v->status.phase, "Bound"))
        return false;
    struct core_v1_persistent_volume *copy = arena_memdup(p->a, v, sizeof(*v));
    copy->status = (struct core_v1_persistent_volume_status){
        .phase = STR("Bound"), .last_phase_transition_time = v->status.last_phase_transition_time};
    p->step->write = WRITE_VOLUME_STATUS;
    p->step->msg = copy;
    return true;
}

static bool bind_claim(const struct plan *p, const struct core_v1_persistent_volume *v)
{
    const struct core_v1_persistent_volume_claim *c = p->claim;
    bool named = str_eq(c->spec.volume_name, v->metadata.name);
    bool complete = annotation_get(&c->metadata, ANNOTATION_BIND_COMPLETED) != NULL;
    if (named && complete)
        return false;
    struct core_v1_persistent_volume_claim *copy = change_claim(p, WRITE_CLAIM);
    if (!named) {
        copy->spec.volume_name = v->metadata.name;
        annotation_put(p->a, &copy->metadata, ANNOTATION_BOUND_BY_CONTROLLER, STR("yes"));
    }
    annotation_put(p->a, &copy->metadata, ANNOTATION_BIND_COMPLETED, STR("yes"));
    return true;
}

static bool same_modes(const struct core_v1_persistent_volume_claim_status *s,
                       const struct core_v1_persistent_volume *v)
{
    bool same = s->access_modes_count == v->spec.access_modes_count;
    for (size_t i = 0; same && i < s->access_modes_count; i++)
        same = str_eq(s->access_modes[i], v->spec.access_modes[i]);
    return same;
}

static void set_claim_bound(const struct plan *p, const struct core_v1_persistent_volume *v)
{
    const struct core_v1_persistent_volume_claim_status *s = &p->claim->status;
    bool bound = str_eqc(s->phase, "Bound"), modes = same_modes(s, v);
    bool attributes =
        s->has_current_volume_attributes_class_name == v->spec.has_volume_attributes_class_name &&
        str_eq(s->current_volume_attributes_class_name, v->spec.volume_attributes_class_name);
    p->step->last = true;
    if (bound && modes && attributes)
        return;
    struct core_v1_persistent_volume_claim *copy = change_claim(p, WRITE_CLAIM_STATUS);
    copy->status.phase = STR("Bound");
    copy->status.access_modes = v->spec.access_modes;
    copy->status.access_modes_count = v->spec.access_modes_count;
    if (!bound) {
        /* Later on the two may differ: a file system grows after its device. */
        copy->status.capacity = v->spec.capacity;
        copy->status.capacity_count = v->spec.capacity_count;
        copy->status.has_current_volume_attributes_class_name =
            v->spec.has_volume_attributes_class_name;
        copy->status.current_volume_attributes_class_name = v->spec.volume_attributes_class_name;
    } else if (modes) {
        /* Only attributes differ, which whoever modifies the volume reports. */
        p->step->write = WRITE_NOTHING;
    }
}

static void bind(const struct plan *p, const struct core_v1_persistent_volume *v)
{
    if (!bind_volume(p, v) && !set_bound(p, v) && !bind_claim(p, v))
        set_claim_bound(p, v);
}

/* --- claims without a volume ----------------------------------------------------------------- */

/* The newest of those marked as default, by name among equals; NULL: none. */
static const struct storage_v1_storage_class *default_class(const struct volume_view *view)
{
    const struct storage_v1_storage_class *best = NULL;
    struct api_object *o;
    for (size_t pos = 0; (o = view->next_class(view->arg, &pos)) != NULL;) {
        const struct storage_v1_storage_class *s = o->msg;
        if (!class_is_default(s))
            continue;
        int64_t age = best == NULL ? 1
                                   : s->metadata.creation_timestamp.seconds -
                                         best->metadata.creation_timestamp.seconds;
        if (age > 0 || (age == 0 && str_cmp(s->metadata.name, best->metadata.name) < 0))
            best = s;
    }
    return best;
}

static bool assign_default_class(const struct plan *p)
{
    const struct storage_v1_storage_class *s =
        claim_wants_default_class(p->claim) ? default_class(p->view) : NULL;
    if (s == NULL)
        return false;
    struct core_v1_persistent_volume_claim *copy = change_claim(p, WRITE_CLAIM);
    copy->spec.storage_class_name = s->metadata.name;
    copy->spec.has_storage_class_name = true;
    return true;
}

static void wait_for_consumer(const struct plan *p)
{
    struct str pod = p->view->waiting_pod(p->view->arg, p->claim);
    if (str_empty(pod))
        volume_step_say(p->step, EVENT_NORMAL, "WaitForFirstConsumer",
                        STR("waiting for first consumer to be created before binding"));
    else
        volume_step_say(
            p->step, EVENT_NORMAL, "WaitForPodScheduled",
            arena_printf(p->a, "waiting for pod " STR_FMT " to be scheduled", STR_ARG(pod)));
    set_phase(p, "Pending");
}

static bool has_annotation(const struct core_v1_persistent_volume_claim *c, const char *key,
                           struct str value)
{
    const struct str *v = annotation_get(&c->metadata, key);
    return v != NULL && str_eq(*v, value);
}

/* Tells the provisioner, which runs elsewhere, that it is its turn. */
static void provision(const struct plan *p, const struct storage_v1_storage_class *s)
{
    const struct core_v1_persistent_volume_claim *c = p->claim;
    struct str name = claim_class(c);
    p->step->last = true;
    if (s == NULL) {
        volume_step_say(p->step, EVENT_WARNING, "ProvisioningFailed",
                        arena_printf(p->a, "storageclass.storage.k8s.io \"" STR_FMT "\" not found",
                                     STR_ARG(name)));
        return;
    }
    if (str_has_prefix(s->provisioner, STR(IN_TREE))) {
        volume_step_say(
            p->step, EVENT_WARNING, "ProvisioningFailed",
            arena_printf(p->a, "no volume plugin matched name: " STR_FMT, STR_ARG(s->provisioner)));
        return;
    }
    volume_step_say(
        p->step, EVENT_NORMAL, "ExternalProvisioning",
        arena_printf(
            p->a,
            "Waiting for a volume to be created either by the external provisioner '" STR_FMT
            "' or manually by the system administrator. If volume creation is delayed, "
            "please verify that the provisioner is running and correctly registered.",
            STR_ARG(s->provisioner)));
    if (has_annotation(c, ANNOTATION_STORAGE_PROVISIONER, s->provisioner) &&
        has_annotation(c, ANNOTATION_STORAGE_PROVISIONER_BETA, s->provisioner))
        return;
    struct core_v1_persistent_volume_claim *copy = change_claim(p, WRITE_CLAIM);
    annotation_put(p->a, &copy->metadata, ANNOTATION_STORAGE_PROVISIONER_BETA, s->provisioner);
    annotation_put(p->a, &copy->metadata, ANNOTATION_STORAGE_PROVISIONER, s->provisioner);
}

static void find_volume(const struct plan *p)
{
    const struct volume_view *view = p->view;
    const struct core_v1_persistent_volume_claim *c = p->claim;
    struct str name = claim_class(c);
    struct api_object *o = str_empty(name) ? NULL : view->class(view->arg, name);
    const struct storage_v1_storage_class *class = o != NULL ? o->msg : NULL;
    bool node_chosen = annotation_get(&c->metadata, ANNOTATION_SELECTED_NODE) != NULL;
    bool wait = class_waits_for_consumer(class) && !node_chosen;
    struct volume_choice how = {.next = view->next_volume, .arg = view->arg, .wait = wait};
    const struct core_v1_persistent_volume *v = volume_choose(&how, c);
    if (v != NULL) {
        bind(p, v);
    } else if (assign_default_class(p)) {
        return;
    } else if (wait) {
        wait_for_consumer(p);
    } else if (!str_empty(name)) {
        provision(p, class);
    } else {
        volume_step_say(
            p->step, EVENT_NORMAL, "FailedBinding",
            STR("no persistent volumes available for this claim and no storage class is set"));
        set_phase(p, "Pending");
    }
}

/* The user, or a bind that was cut short, named the volume. */
static void take_named_volume(const struct plan *p)
{
    const struct core_v1_persistent_volume_claim *c = p->claim;
    struct api_object *o = p->view->volume(p->view->arg, c->spec.volume_name);
    const struct core_v1_persistent_volume *v = o != NULL ? o->msg : NULL;
    if (v == NULL) {
        set_phase(p, "Pending");
    } else if (v->spec.claim_ref == NULL) {
        const char *why = volume_mismatch(v, c);
        if (why == NULL) {
            bind(p, v);
            return;
        }
        volume_step_say(p->step, EVENT_WARNING, "VolumeMismatch",
                        arena_printf(p->a, "Cannot bind to requested volume \"" STR_FMT "\": %s",
                                     STR_ARG(v->metadata.name), why));
        set_phase(p, "Pending");
    } else if (volume_is_of_claim(v, c)) {
        bind(p, v);
    } else {
        const struct core_v1_object_reference *r = v->spec.claim_ref;
        volume_step_say(p->step, EVENT_WARNING, "FailedBinding",
                        arena_printf(p->a,
                                     "volume \"" STR_FMT "\" already bound to a different claim "
                                     "\"" STR_FMT "/" STR_FMT "\".",
                                     STR_ARG(v->metadata.name), STR_ARG(r->namespace),
                                     STR_ARG(r->name)));
        set_phase(p, "Pending");
    }
}

static void keep_bound(const struct plan *p)
{
    const struct core_v1_persistent_volume_claim *c = p->claim;
    if (str_empty(c->spec.volume_name)) {
        lose(p, "ClaimLost",
             "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
        return;
    }
    struct api_object *o = p->view->volume(p->view->arg, c->spec.volume_name);
    const struct core_v1_persistent_volume *v = o != NULL ? o->msg : NULL;
    if (v == NULL && !p->view->gone_for_sure) {
        p->step->write = ASK_VOLUME;
        p->step->ask = c->spec.volume_name;
    } else if (v == NULL) {
        lose(p, "ClaimLost",
             "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
    } else if (v->spec.claim_ref == NULL || str_eq(v->spec.claim_ref->uid, c->metadata.uid)) {
        bind(p, v);
    } else {
        lose(p, "ClaimMisbound",
             "Two claims are bound to the same volume, this one is bound incorrectly");
    }
}

void claim_plan(struct arena *a, const struct volume_view *view,
                const struct core_v1_persistent_volume_claim *c, struct volume_step *ret)
{
    struct plan p = {a, view, c, ret};
    *ret = (struct volume_step){0};
    if (annotation_get(&c->metadata, ANNOTATION_BIND_COMPLETED) != NULL)
        keep_bound(&p);
    else if (c->metadata.deletion_timestamp != NULL)
        ret->last = true; /* It gets no volume any more. */
    else if (str_empty(c->spec.volume_name))
        find_volume(&p);
    else
        take_named_volume(&p);
}
