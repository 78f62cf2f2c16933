/* statefulset.c - pods with lasting names and volumes. What comes next is
 * decided in statefulset_plan.c. */
#include "controllers/statefulset_claims.h"
#include "controllers/statefulset_plan.h"

#include "controllers/history.h"
#include "controllers/owned.h"
#include "controllers/pods.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/client/labels.h"

#define LABEL_POD_NAME "statefulset.kubernetes.io/pod-name"
#define LABEL_POD_INDEX "apps.kubernetes.io/pod-index"
#define STALE_MS                                                                                   \
    500 /* Until the collector has taken an earlier pod's claims, at the next look.                \
         */

static const struct meta_v1_label_selector *selector_of(struct arena *a, const void *msg)
{
    UNUSED(a);
    return ((const struct apps_v1_stateful_set *)msg)->spec.selector;
}

static const struct owned_config owned = {
    .group = "apps", .kind = "StatefulSet", .selector = selector_of};

static void touch_set(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    controller_enqueue_object(r, o != NULL ? o : old);
}

static void touch_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    owned_touch_pod(r, &owned, old, o);
}

static void touch_revision(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    controller_enqueue_owner(r, o != NULL ? o : old, "StatefulSet");
}

struct work {
    struct api_object *object;
    const struct apps_v1_stateful_set *set;
    struct history history;
    const struct apps_v1_controller_revision *current; /* Of status.currentRevision. */
    struct stateful_plan plan;
    struct owned_pods pods;
};

/* --- pods ------------------------------------------------------------------------------------- */

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct api_str_entry *)x)->key, ((const struct api_str_entry *)y)->key);
}

static void set_labels(struct arena *a, struct core_v1_pod *pod, int32_t ordinal,
                       struct str revision)
{
    const struct api_str_entry ours[] = {
        {STR(LABEL_POD_NAME), pod->metadata.name},
        {STR(LABEL_POD_INDEX), arena_printf(a, "%d", (int)ordinal)},
        {STR(LABEL_REVISION_HASH), revision},
    };
    size_t n = 0, had = pod->metadata.labels_count;
    struct api_str_entry *list = ARENA_ARRAY(a, struct api_str_entry, had + ARRAY_SIZE(ours));
    for (size_t i = 0; i < had; i++) {
        bool taken = false;
        for (size_t k = 0; k < ARRAY_SIZE(ours); k++)
            taken |= str_eq(ours[k].key, pod->metadata.labels[i].key);
        if (!taken)
            list[n++] = pod->metadata.labels[i];
    }
    for (size_t k = 0; k < ARRAY_SIZE(ours); k++)
        list[n++] = ours[k];
    qsort(list, n, sizeof(*list), by_key);
    pod->metadata.labels = list;
    pod->metadata.labels_count = n;
}

static struct str claim_name(struct arena *a, const struct core_v1_persistent_volume_claim *t,
                             struct str pod_name)
{
    return arena_printf(a, STR_FMT "-" STR_FMT, STR_ARG(t->metadata.name), STR_ARG(pod_name));
}

/* The pod's claims stand in for volumes of the same name. */
static void set_volumes(struct arena *a, const struct apps_v1_stateful_set *set,
                        struct core_v1_pod *pod)
{
    size_t claims = set->spec.volume_claim_templates_count, n = 0;
    if (claims == 0)
        return;
    struct core_v1_volume *list =
        ARENA_ARRAY(a, struct core_v1_volume, pod->spec.volumes_count + claims);
    for (size_t i = 0; i < claims; i++) {
        const struct core_v1_persistent_volume_claim *t = &set->spec.volume_claim_templates[i];
        struct core_v1_persistent_volume_claim_volume_source *source =
            ARENA_NEW(a, struct core_v1_persistent_volume_claim_volume_source);
        source->claim_name = claim_name(a, t, pod->metadata.name);
        list[n].name = t->metadata.name;
        list[n++].volume_source.persistent_volume_claim = source;
    }
    for (size_t i = 0; i < pod->spec.volumes_count; i++) {
        bool replaced = false;
        for (size_t k = 0; k < claims; k++)
            replaced |= str_eq(list[k].name, pod->spec.volumes[i].name);
        if (!replaced)
            list[n++] = pod->spec.volumes[i];
    }
    pod->spec.volumes = list;
    pod->spec.volumes_count = n;
}

static bool make_pod(struct reconcile *c, const struct work *w,
                     const struct stateful_creation *what, struct core_v1_pod *ret)
{
    const struct apps_v1_controller_revision *r = what->current ? w->current : w->history.current;
    const struct core_v1_pod_template_spec *t =
        r == w->history.current ? &w->set->spec.template : history_template(c->arena, r);
    struct meta_v1_owner_reference owner;
    if (t == NULL)
        return false;
    owner_reference_to(w->object->kind, &w->set->metadata, &owner);
    pod_from_template(c->arena, t, c->namespace_name, c->name, &owner, ret);
    ret->metadata.generate_name = STR_NULL;
    ret->metadata.name =
        arena_printf(c->arena, STR_FMT "-%d", STR_ARG(c->name), (int)what->ordinal);
    ret->spec.hostname = ret->metadata.name;
    ret->spec.subdomain = w->set->spec.service_name;
    set_labels(c->arena, ret, what->ordinal, r->metadata.name);
    set_volumes(c->arena, w->set, ret);
    return true;
}

static void on_pod_created(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct work *w = c->state;
    const struct core_v1_pod *pod = arg;
    struct event_object about = event_object_of(w->object);
    if (result->code == 0) {
        event_record(c->run->recorder, &about, EVENT_NORMAL, "SuccessfulCreate",
                     "create Pod " STR_FMT " in StatefulSet " STR_FMT " successful",
                     STR_ARG(pod->metadata.name), STR_ARG(c->name));
        return;
    }
    owned_creation_failed(c, result);
    if (is_namespace_terminating(result))
        return;
    if (result->code != E_EXISTS)
        event_record(c->run->recorder, &about, EVENT_WARNING, "FailedCreate",
                     "create Pod " STR_FMT " in StatefulSet " STR_FMT " failed error: %s",
                     STR_ARG(pod->metadata.name), STR_ARG(c->name), result->message);
    reconcile_fail(c);
}

static void create_pod(struct reconcile *c, struct core_v1_pod *pod)
{
    expectations_expect_creations(c->run->expectations, c->key, 1);
    struct client_call call = {
        .verb = CLIENT_CREATE,
        .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
        .namespace_name = c->namespace_name,
        .body = pod,
    };
    reconcile_call(c, &call, on_pod_created, pod);
}

/* --- claims
 * --------------------------------------------------------------------------------------- */

static void on_claim_created(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct work *w = c->state;
    struct event_object about = event_object_of(w->object);
    UNUSED(arg);
    if (result->code == 0 && result->object != NULL)
        event_record(c->run->recorder, &about, EVENT_NORMAL, "SuccessfulCreate",
                     "create Claim " STR_FMT " Pod in StatefulSet " STR_FMT " success",
                     STR_ARG(api_object_meta(result->object)->name), STR_ARG(c->name));
    else if (result->code != E_EXISTS)
        reconcile_fail(c);
}

static struct stateful_claim claim_of(const struct work *w, const struct core_v1_pod *pod)
{
    const struct apps_v1_stateful_set_spec *spec = &w->set->spec;
    int64_t start = spec->ordinals != NULL ? spec->ordinals->start : 0;
    int64_t count = spec->has_replicas ? spec->replicas : 1;
    struct stateful_claim ret = {
        .set = w->set,
        .set_kind = w->object->kind,
        .pod_kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
        .pod = pod,
    };
    if (pod != NULL) {
        int64_t ordinal = stateful_ordinal(w->set->metadata.name, pod->metadata.name);
        ret.beyond = ordinal < start || ordinal >= start + count;
    }
    return ret;
}

/* Before a pod goes, so that what is to go with it does. */
static void fix_claims(struct reconcile *c, const struct work *w, const struct core_v1_pod *pod)
{
    const struct informer *claims = controller_informer(c->run, "", "PersistentVolumeClaim");
    const struct stateful_claim what = claim_of(w, pod);
    if (stateful_ordinal(w->set->metadata.name, pod->metadata.name) < 0)
        return;
    for (size_t i = 0; i < w->set->spec.volume_claim_templates_count; i++) {
        struct api_object *o = informer_get(
            claims, c->namespace_name,
            claim_name(c->arena, &w->set->spec.volume_claim_templates[i], pod->metadata.name));
        if (o == NULL ||
            stateful_claim_is_stale(api_object_meta(o), pod->metadata.name, pod->metadata.uid))
            continue;
        struct core_v1_persistent_volume_claim *copy = reconcile_copy(c, o);
        if (stateful_claim_own(c->arena, &what, &copy->metadata))
            reconcile_update(c, o->kind, copy, NULL);
    }
}

/* Are there claims of an earlier pod of this name, about to go with it? */
static bool has_stale_claims(struct reconcile *c, const struct work *w, struct str pod_name)
{
    const struct informer *claims = controller_informer(c->run, "", "PersistentVolumeClaim");
    for (size_t i = 0; i < w->set->spec.volume_claim_templates_count; i++) {
        struct api_object *o =
            informer_get(claims, c->namespace_name,
                         claim_name(c->arena, &w->set->spec.volume_claim_templates[i], pod_name));
        if (o != NULL && stateful_claim_is_stale(api_object_meta(o), pod_name, STR_NULL))
            return true;
    }
    return false;
}

static void create_claims(struct reconcile *c, const struct work *w, const struct core_v1_pod *pod)
{
    const struct stateful_claim what = claim_of(w, NULL);
    const struct informer *claims = controller_informer(c->run, "", "PersistentVolumeClaim");
    for (size_t i = 0; i < w->set->spec.volume_claim_templates_count; i++) {
        const struct core_v1_persistent_volume_claim *t = &w->set->spec.volume_claim_templates[i];
        struct core_v1_persistent_volume_claim claim = *t;
        claim.metadata.name = claim_name(c->arena, t, pod->metadata.name);
        claim.metadata.namespace = c->namespace_name;
        if (informer_get(claims, c->namespace_name, claim.metadata.name) != NULL)
            continue;
        if (w->set->spec.selector != NULL) {
            claim.metadata.labels = w->set->spec.selector->match_labels;
            claim.metadata.labels_count = w->set->spec.selector->match_labels_count;
        }
        stateful_claim_own(c->arena, &what, &claim.metadata);
        struct client_call call = {
            .verb = CLIENT_CREATE,
            .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("PersistentVolumeClaim")),
            .namespace_name = c->namespace_name,
            .body = &claim,
        };
        reconcile_call(c, &call, on_claim_created, NULL);
    }
}

/* --- reconcile
 * -------------------------------------------------------------------------------------- */

static void report(struct reconcile *c)
{
    const struct work *w = c->state;
    struct apps_v1_stateful_set *copy = reconcile_copy(c, w->object);
    copy->status = *w->plan.status;
    if (w->history.collided) {
        copy->status.has_collision_count = true;
        copy->status.collision_count++;
    }
    if (!api_msg_equal(&apps_v1_stateful_set_status_msg, &copy->status, &w->set->status))
        reconcile_update(c, w->object->kind, copy, "status");
    if (w->plan.again_after_s != 0)
        reconcile_again_after(c, w->plan.again_after_s * 1000);
}

/* Claims first: a pod must not start without them. */
static void after_claims(struct reconcile *c)
{
    struct work *w = c->state;
    for (size_t i = 0; i < w->plan.create_count && !c->failed; i++) {
        struct core_v1_pod *pod = ARENA_NEW(c->arena, struct core_v1_pod);
        if (!make_pod(c, w, &w->plan.create[i], pod))
            continue;
        if (has_stale_claims(c, w, pod->metadata.name))
            reconcile_again_after(c, STALE_MS);
        else
            create_pod(c, pod);
    }
    reconcile_then(c, report);
}

static void on_deleted(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct work *w = c->state;
    const struct core_v1_pod *pod = arg;
    struct event_object about = event_object_of(w->object);
    if (result->code == 0) {
        event_record(c->run->recorder, &about, EVENT_NORMAL, "SuccessfulDelete",
                     "delete Pod " STR_FMT " in StatefulSet " STR_FMT " successful",
                     STR_ARG(pod->metadata.name), STR_ARG(c->name));
        return;
    }
    owned_deletion_failed(c, result, pod->metadata.uid);
    if (result->code != E_NOT_FOUND)
        reconcile_fail(c);
}

/* A pod that ended is made anew under its name. */
static void tell_of_end(struct reconcile *c, const struct work *w, const struct core_v1_pod *pod)
{
    struct event_object about = event_object_of(w->object);
    bool failed = str_eqc(pod->status.phase, "Failed");
    if (!failed && !str_eqc(pod->status.phase, "Succeeded"))
        return;
    event_record(c->run->recorder, &about, failed ? EVENT_WARNING : EVENT_NORMAL,
                 failed ? "RecreatingFailedPod" : "RecreatingTerminatedPod",
                 "StatefulSet " STR_FMT "/" STR_FMT " is recreating %s Pod " STR_FMT,
                 STR_ARG(c->namespace_name), STR_ARG(c->name), failed ? "failed" : "terminated",
                 STR_ARG(pod->metadata.name));
}

static void delete_pods(struct reconcile *c, const struct work *w)
{
    for (size_t i = 0; i < w->plan.remove_count; i++) {
        struct core_v1_pod *pod = w->plan.remove[i];
        tell_of_end(c, w, pod);
        expectations_expect_deletion(c->run->expectations, c->key, pod->metadata.uid);
        struct client_call call = {
            .verb = CLIENT_DELETE,
            .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
            .namespace_name = pod->metadata.namespace,
            .name = pod->metadata.name,
            .uid_precondition = pod->metadata.uid,
        };
        reconcile_call(c, &call, on_deleted, pod);
    }
}

static bool revision_in_use(const struct apps_v1_controller_revision *r, const void *arg)
{
    const struct work *w = arg;
    if (r == w->current)
        return true;
    for (size_t i = 0; i < w->pods.count; i++) {
        const struct str *v = label_get(api_object_meta(w->pods.items[i]), LABEL_REVISION_HASH);
        if (v != NULL && str_eq(*v, r->metadata.name))
            return true;
    }
    return false;
}

/* The revision that status names as current; the present one at first. */
static const struct apps_v1_controller_revision *find_current(const struct work *w)
{
    for (size_t i = 0; i < w->history.count; i++)
        if (str_eq(w->history.items[i]->metadata.name, w->set->status.current_revision))
            return w->history.items[i];
    return w->history.current;
}

/* The claims' owners are right. */
static void act(struct reconcile *c)
{
    struct work *w = c->state;
    if (c->failed) {
        report(c);
        return;
    }
    delete_pods(c, w);
    for (size_t i = 0; i < w->pods.count; i++) {
        const struct core_v1_pod *pod = owned_pod(w->pods.items[i]);
        if (str_eqc(pod->status.phase, "Pending") && !pod_is_going(pod))
            create_claims(c, w, pod); /* One may have been deleted. */
    }
    for (size_t i = 0; i < w->plan.create_count; i++) {
        struct core_v1_pod pod;
        if (make_pod(c, w, &w->plan.create[i], &pod))
            create_claims(c, w, &pod);
    }
    int32_t limit =
        w->set->spec.has_revision_history_limit ? w->set->spec.revision_history_limit : 10;
    history_trim(c, &w->history, limit, revision_in_use, w);
    reconcile_then(c, after_claims);
}

static void manage(struct reconcile *c, struct work *w)
{
    struct core_v1_pod **list = ARENA_ARRAY(c->arena, struct core_v1_pod *, w->pods.count + 1);
    for (size_t i = 0; i < w->pods.count; i++)
        list[i] = owned_pod(w->pods.items[i]);
    w->current = find_current(w);
    struct stateful_input in = {
        .set = w->set,
        .pods = list,
        .pod_count = w->pods.count,
        .current_revision = w->current->metadata.name,
        .update_revision = w->history.current->metadata.name,
        .now_s = controller_now_s(c->run),
    };
    stateful_plan(c->arena, &in, &w->plan);
    if (!owned_settled(c)) {
        report(c);
        return;
    }
    for (size_t i = 0; i < w->pods.count; i++)
        fix_claims(c, w, list[i]);
    reconcile_then(c, act);
}

static void reconcile(struct reconcile *c)
{
    struct api_object *o =
        informer_get_key(controller_informer(c->run, "apps", "StatefulSet"), c->key);
    if (o == NULL) {
        expectations_forget(c->run->expectations, c->key);
        return;
    }
    struct work *w = ARENA_NEW(c->arena, struct work);
    c->state = w;
    w->object = reconcile_hold(c, o);
    w->set = o->msg;
    if (w->set->spec.selector == NULL || label_selector_is_empty(w->set->spec.selector))
        return; /* It would select everything. */
    if (w->set->metadata.deletion_timestamp != NULL)
        return; /* The collector takes what belongs to it. */
    w->pods = owned_gather(c, &owned, o);
    if (w->pods.adopting)
        return;
    struct history_config config = {
        .owner = o,
        .template = &w->set->spec.template,
        .collisions = w->set->status.has_collision_count ? &w->set->status.collision_count : NULL,
    };
    history_sync(c, &config, &w->history);
    if (w->history.current != NULL)
        manage(c, w); /* Else when the new revision is seen. */
}

static const struct controller_watch watches[] = {
    {"apps", "v1", "StatefulSet", touch_set},
    {"", "v1", "Pod", touch_pod},
    {"", "v1", "PersistentVolumeClaim", NULL},
    {"apps", "v1", "ControllerRevision", touch_revision},
    {0},
};

const struct controller controller_statefulset = {
    .name = "statefulset-controller",
    .watches = watches,
    .reconcile = reconcile,
};
