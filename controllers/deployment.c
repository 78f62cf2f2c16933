/* deployment.c - carries out the steps that deployment_plan.c decides. */
#include "controllers/controller.h"
#include "controllers/deployment_plan.h"
#include "controllers/pods.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/codec.h"
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

static void unref_object(void *o)
{
    api_object_unref(o);
}

static void adopt(struct reconcile *c, const struct apps_v1_deployment *d,
                  const struct meta_v1_object_meta *set)
{
    struct str patch = arena_printf(
        c->arena,
        "{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"apps/"
        "v1\",\"kind\":\"Deployment\",\"name\":\"" STR_FMT "\",\"uid\":\"" STR_FMT
        "\",\"controller\":true,\"blockOwnerDeletion\":true}],\"uid\":\"" STR_FMT "\"}}",
        STR_ARG(d->metadata.name), STR_ARG(d->metadata.uid), STR_ARG(set->uid));
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_PATCH,
                                         .kind = set_kind(),
                                         .namespace_name = set->namespace,
                                         .name = set->name,
                                         .patch_type = CLIENT_PATCH_STRATEGIC,
                                         .raw_body = patch},
                   NULL, NULL);
}

/* The deployment's sets; those without owner that it selects are adopted and
 * count from the next round. */
static size_t gather(struct reconcile *c, struct work *w, const struct apps_v1_replica_set ***ret)
{
    size_t count = 0, kept = 0;
    struct api_object *const *all =
        controller_in_namespace(c->run, "apps", "ReplicaSet", w->d->metadata.namespace, &count);
    *ret = ARENA_ARRAY(c->arena, const struct apps_v1_replica_set *, count);
    for (size_t i = 0; i < count; i++) {
        const struct apps_v1_replica_set *s = all[i]->msg;
        const struct meta_v1_owner_reference *ref = owner_controller(&s->metadata);
        bool selected = label_selector_matches(w->d->spec.selector, s->metadata.labels,
                                               s->metadata.labels_count);
        if (ref != NULL && str_eq(ref->uid, w->d->metadata.uid) && selected) {
            arena_hold(c->arena, api_object_ref(all[i]), unref_object);
            (*ret)[kept++] = s;
        } else if (ref == NULL && selected && w->d->metadata.deletion_timestamp == NULL &&
                   s->metadata.deletion_timestamp == NULL) {
            adopt(c, w->d, &s->metadata);
        }
    }
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
    } else if (s->before == NULL && result->code != E_CONFLICT) {
        struct event_object about = event_object_of(w->object);
        event_record(c->run->recorder, &about, EVENT_WARNING, "ReplicaSetCreateError",
                     "Failed to create new replica set \"" STR_FMT "\": %s",
                     STR_ARG(s->after->metadata.name), result->message);
    }
    reconcile_fail(c);
}

static void report(struct reconcile *c)
{
    struct work *w = c->state;
    struct apps_v1_deployment_status *st = w->plan.status;
    if (w->collided) {
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
    w->revised = api_object_ref(result->object);
    arena_hold(c->arena, w->revised, unref_object);
}

static void reconcile(struct reconcile *c)
{
    struct api_object *o =
        informer_get_key(controller_informer(c->run, "apps", "Deployment"), c->key);
    if (o == NULL)
        return;
    struct work *w = ARENA_NEW(c->arena, struct work);
    c->state = w;
    w->object = api_object_ref(o);
    arena_hold(c->arena, o, unref_object);
    w->d = o->msg;
    const struct apps_v1_replica_set **sets = NULL;
    struct plan_input in = {.deployment = w->d, .now_s = controller_now_s(c->run)};
    in.set_count = gather(c, w, &sets);
    in.sets = sets;
    in.old_pods_exist = old_pods_exist(c, w->d, sets, in.set_count);
    deployment_plan(c->arena, &in, &w->plan);
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
