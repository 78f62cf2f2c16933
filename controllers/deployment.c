/* deployment.c - carries out the steps that deployment_plan.c decides. */
#include "controllers/controller.h"
#include "controllers/deployment_plan.h"
#include "controllers/deployment_status.h"
#include "controllers/owned.h"
#include "controllers/pods.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/api/owner.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/client/labels.h"

struct work {
    struct api_object *object; /* Held by the arena, as all objects here. */
    const struct apps_v1_deployment *d;
    struct plan plan;
    struct api_object *revised; /* As the server has it after its revision was written, or NULL. */
    bool collided;
    bool hopeless;               /* The namespace is going. */
    struct str not_created;      /* Why the new set could not be made. */
    struct api_object **orphans; /* To be adopted. */
    size_t orphan_count;
};

static const struct api_kind *deployment_kind(void)
{
    return api_kind_by_gvk(STR("apps"), STR("v1"), STR("Deployment"));
}

static const struct api_kind *set_kind(void)
{
    return api_kind_by_gvk(STR("apps"), STR("v1"), STR("ReplicaSet"));
}

/* --- which keys a change touches --------------------------------------------------- */

static void touch_deployment(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    controller_enqueue_object(r, o != NULL ? o : old);
}

static void touch_set(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    if (old != NULL)
        controller_enqueue_owner(r, old, "Deployment");
    if (o == NULL)
        return;
    controller_enqueue_owner(r, o, "Deployment");
    const struct meta_v1_object_meta *m = api_object_meta(o);
    if (owner_controller(m) != NULL)
        return;
    size_t count = 0;
    struct api_object *const *all =
        controller_in_namespace(r, "apps", "Deployment", m->namespace, &count);
    for (size_t i = 0; i < count; i++) {
        const struct apps_v1_deployment *d = all[i]->msg;
        if (label_selector_matches(d->spec.selector, m->labels, m->labels_count))
            controller_enqueue_object(r, all[i]);
    }
}

/* Recreate waits for the last old pod to be gone. */
static void touch_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    const struct meta_v1_object_meta *m = api_object_meta(o != NULL ? o : old);
    const struct core_v1_pod *p = (o != NULL ? o : old)->msg;
    if (o != NULL && !pod_is_terminal(p))
        return;
    const struct meta_v1_owner_reference *ref = owner_controller(m);
    if (ref == NULL || !str_eqc(ref->kind, "ReplicaSet"))
        return;
    struct api_object *set =
        informer_get(controller_informer(r, "apps", "ReplicaSet"), m->namespace, ref->name);
    if (set != NULL)
        controller_enqueue_owner(r, set, "Deployment");
}

/* --- acting ----------------------------------------------------------------------------- */

/* The set is gone, or another of its name: neither is ours to patch. */
static void on_patched(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code != 0 && result->code != E_NOT_FOUND && result->code != E_UNPROCESSABLE)
        reconcile_fail(c);
}

static void patch_set(struct reconcile *c, const struct meta_v1_object_meta *set, struct str patch)
{
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_PATCH,
                                         .kind = set_kind(),
                                         .namespace_name = set->namespace,
                                         .name = set->name,
                                         .patch_type = CLIENT_PATCH_STRATEGIC,
                                         .raw_body = patch},
                   on_patched, NULL);
}

static void adopt(struct reconcile *c, const struct apps_v1_deployment *d,
                  const struct meta_v1_object_meta *set)
{
    patch_set(c, set,
              arena_printf(c->arena,
                           "{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"apps/"
                           "v1\",\"kind\":\"Deployment\",\"name\":\"" STR_FMT
                           "\",\"uid\":\"" STR_FMT
                           "\",\"controller\":true,\"blockOwnerDeletion\":true}],\"uid\":"
                           "\"" STR_FMT "\"}}",
                           STR_ARG(d->metadata.name), STR_ARG(d->metadata.uid), STR_ARG(set->uid)));
}

static void release(struct reconcile *c, const struct apps_v1_deployment *d,
                    const struct meta_v1_object_meta *set)
{
    patch_set(c, set,
              arena_printf(c->arena,
                           "{\"metadata\":{\"ownerReferences\":[{\"$patch\":\"delete\",\"uid\":"
                           "\"" STR_FMT "\"}],\"uid\":\"" STR_FMT "\"}}",
                           STR_ARG(d->metadata.uid), STR_ARG(set->uid)));
}

/* Nothing is adopted for a deployment that is gone, whatever the cache says. */
static void on_still_there(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct work *w = arg;
    const struct meta_v1_object_meta *m =
        result->code == 0 ? api_object_meta(result->object) : NULL;
    if (m == NULL || m->deletion_timestamp != NULL || !str_eq(m->uid, w->d->metadata.uid)) {
        if (result->code != E_NOT_FOUND)
            reconcile_fail(c);
        return;
    }
    for (size_t i = 0; i < w->orphan_count; i++)
        adopt(c, w->d, api_object_meta(w->orphans[i]));
}

/* The deployment's sets. Those without owner that it selects are adopted and count from the next
 * round; those that it does not select any more are let go. */
static size_t gather(struct reconcile *c, struct work *w, const struct apps_v1_replica_set ***ret)
{
    size_t count = 0, kept = 0;
    const struct meta_v1_object_meta *dm = &w->d->metadata;
    bool dying = dm->deletion_timestamp != NULL;
    struct api_object *const *all =
        controller_in_namespace(c->run, "apps", "ReplicaSet", dm->namespace, &count);
    *ret = ARENA_ARRAY(c->arena, const struct apps_v1_replica_set *, count);
    w->orphans = ARENA_ARRAY(c->arena, struct api_object *, count);
    for (size_t i = 0; i < count; i++) {
        const struct apps_v1_replica_set *s = all[i]->msg;
        const struct meta_v1_owner_reference *ref = owner_controller(&s->metadata);
        if (ref != NULL && !str_eq(ref->uid, dm->uid))
            continue;
        bool selected = label_selector_matches(w->d->spec.selector, s->metadata.labels,
                                               s->metadata.labels_count);
        if (ref != NULL && selected)
            (*ret)[kept++] = reconcile_hold(c, all[i])->msg;
        else if (ref != NULL && !dying)
            release(c, w->d, &s->metadata);
        else if (ref == NULL && selected && !dying && s->metadata.deletion_timestamp == NULL)
            w->orphans[w->orphan_count++] = reconcile_hold(c, all[i]);
    }
    if (w->orphan_count != 0)
        reconcile_call(c,
                       &(struct client_call){.verb = CLIENT_GET,
                                             .kind = deployment_kind(),
                                             .namespace_name = dm->namespace,
                                             .name = dm->name},
                       on_still_there, w);
    return kept;
}

static bool old_pods_exist(struct reconcile *c, const struct apps_v1_deployment *d,
                           const struct apps_v1_replica_set *const *sets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (deployment_template_equal(&sets[i]->spec.template, &d->spec.template))
            continue;
        size_t pods = 0;
        struct api_object *const *list =
            controller_owned(c->run, "", "Pod", sets[i]->metadata.uid, &pods);
        for (size_t k = 0; k < pods; k++)
            if (!pod_is_terminal(list[k]->msg))
                return true;
    }
    return false;
}

static void record_scaling(struct reconcile *c, const struct work *w, const struct plan_set *s)
{
    struct event_object about = event_object_of(w->object);
    if (s->from == s->to)
        return;
    event_record(c->run->recorder, &about, EVENT_NORMAL, "ScalingReplicaSet",
                 "Scaled %s replica set " STR_FMT " from %d to %d", s->to > s->from ? "up" : "down",
                 STR_ARG(s->after->metadata.name), s->from, s->to);
}

static void on_written(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct work *w = c->state;
    const struct plan_set *s = arg;
    if (result->code == 0) {
        record_scaling(c, w, s);
        return;
    }
    if (s->before == NULL && result->code == E_EXISTS) {
        /* Somebody else's set has our name, unless it is ours and the cache is
         * behind: then the next round finds it. */
        struct api_object *there =
            informer_get(controller_informer(c->run, "apps", "ReplicaSet"),
                         s->after->metadata.namespace, s->after->metadata.name);
        if (there == NULL) {
            reconcile_fail(c);
            return;
        }
        const struct apps_v1_replica_set *t = there->msg;
        const struct meta_v1_owner_reference *ref = owner_controller(&t->metadata);
        bool ours = ref != NULL && str_eq(ref->uid, w->d->metadata.uid) &&
                    deployment_template_equal(&t->spec.template, &w->d->spec.template);
        w->collided = !ours;
    } else if (s->before == NULL && is_namespace_terminating(result)) {
        w->hopeless = true;
    } else if (s->before == NULL) {
        struct event_object about = event_object_of(w->object);
        w->not_created =
            arena_printf(c->arena, "Failed to create new replica set \"" STR_FMT "\": %s",
                         STR_ARG(s->after->metadata.name), result->message);
        event_record(c->run->recorder, &about, EVENT_WARNING, "ReplicaSetCreateError", STR_FMT,
                     STR_ARG(w->not_created));
    }
    reconcile_fail(c);
}

static void report(struct reconcile *c)
{
    struct work *w = c->state;
    struct apps_v1_deployment_status *st = w->plan.status;
    if (w->hopeless)
        return;
    if (!str_empty(w->not_created)) {
        st =
            deployment_status_not_created(c->arena, w->d, w->not_created, controller_now_s(c->run));
    } else if (w->collided) {
        *st = w->d->status;
        st->collision_count =
            w->d->status.has_collision_count ? w->d->status.collision_count + 1 : 1;
        st->has_collision_count = true;
    }
    if (!api_msg_equal(&apps_v1_deployment_status_msg, st, &w->d->status)) {
        struct apps_v1_deployment *copy =
            reconcile_copy(c, w->revised != NULL ? w->revised : w->object);
        copy->status = *st;
        reconcile_update(c, deployment_kind(), copy, "status");
    }
    for (size_t i = 0; i < w->plan.removal_count; i++)
        reconcile_delete(c, set_kind(), &w->plan.removals[i]->metadata);
    if (w->plan.again_after_s != 0)
        reconcile_again_after(c, w->plan.again_after_s * 1000);
}

static void write_sets(struct reconcile *c)
{
    struct work *w = c->state;
    for (size_t i = 0; i < w->plan.write_count; i++) {
        struct plan_set *s = &w->plan.writes[i];
        reconcile_call(
            c,
            &(struct client_call){.verb = s->before == NULL ? CLIENT_CREATE : CLIENT_UPDATE,
                                  .kind = set_kind(),
                                  .namespace_name = s->after->metadata.namespace,
                                  .name = s->before == NULL ? STR_NULL : s->after->metadata.name,
                                  .body = s->after},
            on_written, s);
    }
    reconcile_then(c, report);
}

static void on_revised(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct work *w = c->state;
    UNUSED(arg);
    if (result->code != 0 || result->object == NULL) {
        reconcile_fail(c);
        return;
    }
    w->revised = reconcile_hold(c, result->object);
}

static void on_rolled_back(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct work *w = c->state;
    UNUSED(arg);
    if (result->code != 0) {
        reconcile_fail(c);
        return;
    }
    struct event_object about = event_object_of(w->object);
    bool done = strcmp(w->plan.rollback_reason, "DeploymentRollback") == 0;
    event_record(c->run->recorder, &about, done ? EVENT_NORMAL : EVENT_WARNING,
                 w->plan.rollback_reason, STR_FMT, STR_ARG(w->plan.rollback_message));
}

static void reconcile(struct reconcile *c)
{
    struct api_object *o =
        informer_get_key(controller_informer(c->run, "apps", "Deployment"), c->key);
    if (o == NULL)
        return;
    struct work *w = ARENA_NEW(c->arena, struct work);
    c->state = w;
    w->object = reconcile_hold(c, o);
    w->d = o->msg;
    const struct apps_v1_replica_set **sets = NULL;
    struct plan_input in = {.deployment = w->d, .now_s = controller_now_s(c->run)};
    in.set_count = gather(c, w, &sets);
    in.sets = sets;
    in.old_pods_exist = old_pods_exist(c, w->d, sets, in.set_count);
    deployment_plan(c->arena, &in, &w->plan);
    if (w->plan.rollback_reason != NULL) {
        reconcile_update_seen(c, deployment_kind(), w->plan.deployment, NULL, on_rolled_back, NULL);
        return;
    }
    if (w->plan.deployment != NULL)
        reconcile_update_seen(c, deployment_kind(), w->plan.deployment, NULL, on_revised, NULL);
    reconcile_then(c, write_sets);
}

static const struct controller_watch watches[] = {
    {"apps", "v1", "Deployment", touch_deployment},
    {"apps", "v1", "ReplicaSet", touch_set},
    {"", "v1", "Pod", touch_pod},
    {0},
};

const struct controller controller_deployment = {
    .name = "deployment-controller",
    .watches = watches,
    .reconcile = reconcile,
};
