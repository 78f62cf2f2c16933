/* replicaset.c - keeps as many pods as a ReplicaSet asks for.
 *
 * Happy path: count the active pods that belong to the set, create or delete
 * the difference, report the counts. What was asked for and is not yet in the
 * cache stands in the expectations, so that a stale cache never leads to a
 * pod too many. Creations go in batches of 1, 2, 4 ...: when the first one is
 * refused (quota, admission) the rest is not tried. */
#include "controllers/controller.h"
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
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/client/labels.h"

extern const struct controller controller_replicationcontroller;

#define BURST_MAX 500 /* Creations or deletions in one go, as upstream. */

struct work {
    struct api_object *set_object; /* Held by the arena. */
    const struct apps_v1_replica_set *set;
    struct owned_pods pods; /* Those that belong to the set. */
    size_t active_count;
    int32_t to_create;
    int32_t batch;
    int32_t created;
    const char *failure_reason; /* NULL: none. */
    struct str failure;
};

static const struct meta_v1_label_selector *selector_of_set(struct arena *a, const void *msg)
{
    UNUSED(a);
    return ((const struct apps_v1_replica_set *)msg)->spec.selector;
}

static struct meta_v1_label_selector *
selector_of_map(struct arena *a, const struct core_v1_replication_controller *rc)
{
    struct meta_v1_label_selector *s = ARENA_NEW(a, struct meta_v1_label_selector);
    s->match_labels = rc->spec.selector;
    s->match_labels_count = rc->spec.selector_count;
    return s;
}

static const struct meta_v1_label_selector *selector_of_controller(struct arena *a, const void *msg)
{
    return selector_of_map(a, msg);
}

/* ReplicationControllers are run by the same code, seen as ReplicaSets. */
static const struct owned_config replica_set = {
    .group = "apps", .kind = "ReplicaSet", .selector = selector_of_set, .keep_ended = true};
static const struct owned_config replication_controller = {.group = "",
                                                           .kind = "ReplicationController",
                                                           .selector = selector_of_controller,
                                                           .keep_ended = true};

static const struct owned_config *flavor_of(const struct controller_run *r)
{
    return r->controller == &controller_replicationcontroller ? &replication_controller
                                                              : &replica_set;
}

static const struct api_kind *set_kind(const struct controller_run *r)
{
    return api_kind_by_gvk(str_of(flavor_of(r)->group), STR("v1"), str_of(flavor_of(r)->kind));
}

/* The object as a ReplicaSet: itself, or a view of a ReplicationController. */
static const struct apps_v1_replica_set *view_of(struct arena *a, const struct api_object *o)
{
    if (o->kind->msg != &core_v1_replication_controller_msg)
        return o->msg;
    const struct core_v1_replication_controller *rc = o->msg;
    struct apps_v1_replica_set *v = ARENA_NEW(a, struct apps_v1_replica_set);
    v->metadata = rc->metadata;
    v->spec.selector = selector_of_map(a, rc);
    if (rc->spec.template != NULL)
        v->spec.template = *rc->spec.template;
    v->spec.replicas = rc->spec.replicas;
    v->spec.has_replicas = rc->spec.has_replicas;
    v->spec.min_ready_seconds = rc->spec.min_ready_seconds;
    v->status.replicas = rc->status.replicas;
    v->status.fully_labeled_replicas = rc->status.fully_labeled_replicas;
    v->status.ready_replicas = rc->status.ready_replicas;
    v->status.available_replicas = rc->status.available_replicas;
    v->status.observed_generation = rc->status.observed_generation;
    v->status.conditions =
        ARENA_ARRAY(a, struct apps_v1_replica_set_condition, rc->status.conditions_count + 1);
    for (size_t i = 0; i < rc->status.conditions_count; i++) {
        const struct core_v1_replication_controller_condition *x = &rc->status.conditions[i];
        v->status.conditions[v->status.conditions_count++] = (struct apps_v1_replica_set_condition){
            x->type, x->status, x->last_transition_time, x->reason, x->message};
    }
    return v;
}

/* Writes a view's status back into a ReplicationController. */
static void take_status(struct arena *a, const struct apps_v1_replica_set_status *from,
                        struct core_v1_replication_controller_status *to)
{
    *to = (struct core_v1_replication_controller_status){
        .replicas = from->replicas,
        .fully_labeled_replicas = from->fully_labeled_replicas,
        .ready_replicas = from->ready_replicas,
        .available_replicas = from->available_replicas,
        .observed_generation = from->observed_generation,
        .conditions = ARENA_ARRAY(a, struct core_v1_replication_controller_condition,
                                  from->conditions_count + 1),
    };
    for (size_t i = 0; i < from->conditions_count; i++) {
        const struct apps_v1_replica_set_condition *x = &from->conditions[i];
        to->conditions[to->conditions_count++] = (struct core_v1_replication_controller_condition){
            x->type, x->status, x->last_transition_time, x->reason, x->message};
    }
}

static const struct api_kind *pod_kind(void)
{
    return api_kind_by_gvk(STR(""), STR("v1"), STR("Pod"));
}

/* --- which keys a change touches -------------------------------------------------- */

static void touch_set(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    controller_enqueue_object(r, o != NULL ? o : old);
}

static void touch_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    AUTO_ARENA *a = arena_new(256);
    struct api_object *set = owned_touch_pod(r, flavor_of(r), old, o);
    /* Available only some time after ready: look again then. */
    const struct core_v1_pod *p = o != NULL ? o->msg : NULL;
    if (p != NULL && set != NULL && pod_is_ready(p)) {
        const struct apps_v1_replica_set *s = view_of(a, set);
        if (s->spec.min_ready_seconds > 0)
            controller_enqueue_after(r, informer_key(a, set),
                                     (uint64_t)s->spec.min_ready_seconds * 1000 + 1000);
    }
}

static void gather(struct reconcile *c, struct work *w)
{
    w->pods = owned_gather(c, flavor_of(c->run), w->set_object);
    for (size_t i = 0; i < w->pods.count; i++)
        w->active_count += pod_is_active(w->pods.items[i]->msg);
}

/* --- status --------------------------------------------------------------------------- */

static void count_status(const struct reconcile *c, const struct work *w,
                         struct apps_v1_replica_set_status *st)
{
    const struct core_v1_pod_template_spec *t = &w->set->spec.template;
    int64_t now = controller_now_s(c->run);
    st->replicas = st->fully_labeled_replicas = st->ready_replicas = st->available_replicas = 0;
    int32_t terminating = 0;
    for (size_t i = 0; i < w->pods.count; i++) {
        const struct core_v1_pod *p = w->pods.items[i]->msg;
        if (!pod_is_active(p)) {
            terminating += p->metadata.deletion_timestamp != NULL && !pod_is_terminal(p);
            continue;
        }
        st->replicas++;
        st->fully_labeled_replicas += labels_contain(p->metadata.labels, p->metadata.labels_count,
                                                     t->metadata.labels, t->metadata.labels_count);
        st->ready_replicas += pod_is_ready(p);
        st->available_replicas += pod_is_available(p, w->set->spec.min_ready_seconds, now);
    }
    st->has_terminating_replicas = true;
    st->terminating_replicas = terminating;
    st->observed_generation = w->set->metadata.generation;
}

/* Sets or removes the ReplicaFailure condition; the first failure stands until there is none. */
static void set_failure(struct reconcile *c, const struct work *w,
                        struct apps_v1_replica_set_status *st)
{
    size_t kept = 0;
    struct apps_v1_replica_set_condition *list =
        ARENA_ARRAY(c->arena, struct apps_v1_replica_set_condition, st->conditions_count + 1);
    bool same = false;
    for (size_t i = 0; i < st->conditions_count; i++) {
        bool failure = str_eqc(st->conditions[i].type, "ReplicaFailure");
        if (failure && w->failure_reason == NULL)
            continue;
        same |= failure;
        list[kept++] = st->conditions[i];
    }
    if (w->failure_reason != NULL && !same)
        list[kept++] = (struct apps_v1_replica_set_condition){
            .type = STR("ReplicaFailure"),
            .status = STR("True"),
            .last_transition_time = {.seconds = controller_now_s(c->run)},
            .reason = str_of(w->failure_reason),
            .message = w->failure};
    st->conditions = list;
    st->conditions_count = kept;
}

static void report(struct reconcile *c)
{
    struct work *w = c->state;
    struct apps_v1_replica_set_status *st =
        api_msg_clone(c->arena, &apps_v1_replica_set_status_msg, &w->set->status);
    bool is_set = flavor_of(c->run) == &replica_set;
    count_status(c, w, st);
    st->has_terminating_replicas &= is_set;
    st->terminating_replicas = is_set ? st->terminating_replicas : 0;
    set_failure(c, w, st);
    if (!api_msg_equal(&apps_v1_replica_set_status_msg, st, &w->set->status)) {
        void *copy = reconcile_copy(c, w->set_object);
        if (is_set)
            ((struct apps_v1_replica_set *)copy)->status = *st;
        else
            take_status(c->arena, st, &((struct core_v1_replication_controller *)copy)->status);
        reconcile_update(c, set_kind(c->run), copy, "status");
    }
    if (w->set->spec.min_ready_seconds > 0 && st->ready_replicas != st->available_replicas)
        reconcile_again_after(c, (uint64_t)w->set->spec.min_ready_seconds * 1000);
}

/* --- creating -------------------------------------------------------------------------- */

static void create_batch(struct reconcile *c);

static void on_created(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    struct work *w = c->state;
    struct event_object about = event_object_of(w->set_object);
    if (result->code == 0) {
        w->created++;
        event_record(c->run->recorder, &about, EVENT_NORMAL, "SuccessfulCreate",
                     "Created pod: " STR_FMT, STR_ARG(api_object_meta(result->object)->name));
        return;
    }
    owned_creation_failed(c, result);
    if (is_namespace_terminating(result))
        return; /* The set goes with it. */
    event_record(c->run->recorder, &about, EVENT_WARNING, "FailedCreate", "Error creating: %s",
                 result->message);
    w->failure_reason = "FailedCreate";
    w->failure = arena_strc(c->arena, result->message);
    reconcile_fail(c);
}

static void after_batch(struct reconcile *c)
{
    struct work *w = c->state;
    if (w->failure_reason != NULL || w->created < w->batch) {
        /* The rest is not tried: nobody need wait for it. */
        for (int32_t i = 0; i < w->to_create; i++)
            expectations_creation_observed(c->run->expectations, c->key);
        w->to_create = 0;
    }
    if (w->to_create > 0) {
        w->batch *= 2;
        create_batch(c);
    } else {
        report(c);
    }
}

static void create_batch(struct reconcile *c)
{
    struct work *w = c->state;
    int32_t n = MIN_OF(w->batch, w->to_create);
    struct meta_v1_owner_reference owner;
    struct core_v1_pod pod;
    owner_reference_to(set_kind(c->run), &w->set->metadata, &owner);
    pod_from_template(c->arena, &w->set->spec.template, w->set->metadata.namespace,
                      w->set->metadata.name, &owner, &pod);
    w->batch = n;
    w->created = 0;
    w->to_create -= n;
    for (int32_t i = 0; i < n; i++)
        reconcile_call(c,
                       &(struct client_call){.verb = CLIENT_CREATE,
                                             .kind = pod_kind(),
                                             .namespace_name = w->set->metadata.namespace,
                                             .body = &pod},
                       on_created, NULL);
    reconcile_then(c, after_batch);
}

/* --- deleting ---------------------------------------------------------------------------- */

static void on_deleted(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct work *w = c->state;
    const struct meta_v1_object_meta *pod = api_object_meta(arg);
    struct event_object about = event_object_of(w->set_object);
    if (result->code == 0) {
        event_record(c->run->recorder, &about, EVENT_NORMAL, "SuccessfulDelete",
                     "Deleted pod: " STR_FMT, STR_ARG(pod->name));
        return;
    }
    owned_deletion_failed(c, result, pod->uid);
    if (result->code == E_NOT_FOUND)
        return;
    event_record(c->run->recorder, &about, EVENT_WARNING, "FailedDelete", "Error deleting: %s",
                 result->message);
    w->failure_reason = "FailedDelete";
    w->failure = arena_strc(c->arena, result->message);
    reconcile_fail(c);
}

/* Pods of this and related sets: those with the same controller. */
static struct api_object **related_pods(struct reconcile *c, const struct work *w,
                                        size_t *ret_count)
{
    const struct meta_v1_owner_reference *owner = owner_controller(&w->set->metadata);
    size_t set_count = 1, all = 0;
    struct api_object *const *sets = &w->set_object;
    if (owner != NULL && flavor_of(c->run) == &replica_set)
        sets = controller_owned(c->run, "apps", "ReplicaSet", owner->uid, &set_count);
    struct api_object **ret = NULL;
    size_t cap = 0;
    for (size_t i = 0; i < set_count; i++) {
        size_t count = 0;
        struct api_object *const *pods =
            controller_owned(c->run, "", "Pod", api_object_meta(sets[i])->uid, &count);
        for (size_t k = 0; k < count; k++) {
            ret = arena_grow(c->arena, ret, all, &cap, sizeof(struct api_object *));
            ret[all++] = pods[k];
        }
    }
    *ret_count = all;
    return ret;
}

static void delete_pods(struct reconcile *c, struct work *w, size_t count)
{
    struct pod_rank *ranked = ARENA_ARRAY(c->arena, struct pod_rank, w->active_count);
    size_t n = 0;
    for (size_t i = 0; i < w->pods.count; i++) {
        const struct core_v1_pod *p = w->pods.items[i]->msg;
        if (pod_is_active(p))
            ranked[n++] = (struct pod_rank){.object = w->pods.items[i]};
    }
    if (count < n) {
        size_t related_count;
        struct api_object **related = related_pods(c, w, &related_count);
        pod_rank_for_deletion(ranked, n, related, related_count, env_wall_ns(c->run->env));
    }
    for (size_t i = 0; i < count; i++)
        expectations_expect_deletion(c->run->expectations, c->key,
                                     api_object_meta(ranked[i].object)->uid);
    for (size_t i = 0; i < count; i++) {
        const struct meta_v1_object_meta *m = api_object_meta(ranked[i].object);
        reconcile_call(c,
                       &(struct client_call){.verb = CLIENT_DELETE,
                                             .kind = pod_kind(),
                                             .namespace_name = m->namespace,
                                             .name = m->name,
                                             .uid_precondition = m->uid},
                       on_deleted, ranked[i].object);
    }
    reconcile_then(c, report);
}

static void reconcile(struct reconcile *c)
{
    struct api_object *o = informer_get_key(
        controller_informer(c->run, flavor_of(c->run)->group, flavor_of(c->run)->kind), c->key);
    if (o == NULL) {
        expectations_forget(c->run->expectations, c->key);
        return;
    }
    struct work *w = ARENA_NEW(c->arena, struct work);
    c->state = w;
    w->set_object = reconcile_hold(c, o);
    w->set = view_of(c->arena, o);
    bool settled = owned_settled(c);
    gather(c, w);
    if (w->pods.adopting)
        return;
    int64_t wanted = w->set->spec.has_replicas ? w->set->spec.replicas : 1;
    int64_t missing = wanted - (int64_t)w->active_count;
    if (!settled || w->set->metadata.deletion_timestamp != NULL || missing == 0) {
        report(c);
    } else if (missing > 0) {
        w->to_create = (int32_t)MIN_OF(missing, (int64_t)BURST_MAX);
        w->batch = 1;
        expectations_expect_creations(c->run->expectations, c->key, (unsigned)w->to_create);
        create_batch(c);
    } else {
        delete_pods(c, w, (size_t)MIN_OF(-missing, (int64_t)BURST_MAX));
    }
}

static const struct controller_watch watches[] = {
    {"apps", "v1", "ReplicaSet", touch_set},
    {"", "v1", "Pod", touch_pod},
    {0},
};

const struct controller controller_replicaset = {
    .name = "replicaset-controller",
    .watches = watches,
    .reconcile = reconcile,
};

static const struct controller_watch rc_watches[] = {
    {"", "v1", "ReplicationController", touch_set},
    {"", "v1", "Pod", touch_pod},
    {0},
};

const struct controller controller_replicationcontroller = {
    .name = "replication-controller",
    .watches = rc_watches,
    .reconcile = reconcile,
};
