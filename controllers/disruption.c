/* disruption.c - keeps the status of PodDisruptionBudgets: how many pods may be evicted now, which
 * disruption_plan.c decides. The eviction subresource counts it down and notes the pod in
 * disruptedPods.
 *
 * How many pods there should be, their controllers tell: those of the schema from the caches, all
 * others by their scale subresource. A pod whose announced disruption does not come loses its
 * DisruptionTarget condition; its key is POD_PREFIX and the pod's. */
#include "controllers/controller.h"
#include "controllers/disruption_plan.h"
#include "controllers/kinds.h"
#include "controllers/owned.h"
#include "controllers/pods.h"

#include "api/apps_v1.h"
#include "api/autoscaling_v1.h"
#include "api/core_v1.h"
#include "api/policy_v1.h"
#include "lib/api/codec.h"
#include "lib/api/owner.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/map.h"
#include "lib/client/labels.h"

#define POD_PREFIX "pod:"

/* What controls some of the pods. */
struct owner {
    const struct meta_v1_owner_reference *ref;
    struct str uid; /* Of what counts in the end: a ReplicaSet's Deployment. */
    int32_t replicas;
    bool found;
    struct str error; /* Empty: none. */
    struct client_resource resource;
};

struct work {
    struct api_object *object;
    const struct policy_v1_pod_disruption_budget *budget;
    struct api_object **pods;
    size_t pod_count;
    struct map owners; /* uid of the reference -> struct owner */
    bool unmanaged;    /* Some pod has no controller. */
};

/* --- which keys a change touches ------------------------------------------------------------ */

static void touch_budget(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    controller_enqueue_object(r, o != NULL ? o : old);
}

static bool covers(const struct policy_v1_pod_disruption_budget *b,
                   const struct meta_v1_object_meta *pod)
{
    return label_selector_matches(b->spec.selector, pod->labels, pod->labels_count);
}

static bool same_labels(const struct meta_v1_object_meta *x, const struct meta_v1_object_meta *y)
{
    return x->labels_count == y->labels_count &&
           labels_contain(x->labels, x->labels_count, y->labels, y->labels_count);
}

static void queue_if_stale(struct controller_run *r, const struct api_object *o)
{
    int64_t after_s;
    AUTO_ARENA *a = arena_new(256);
    if (disruption_is_stale(o->msg, controller_now_s(r), &after_s))
        controller_enqueue_after(r,
                                 arena_printf(a, POD_PREFIX STR_FMT, STR_ARG(informer_key(a, o))),
                                 (uint64_t)after_s * 1000);
}

static void touch_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    size_t count, matching = 0;
    const struct meta_v1_object_meta *m = api_object_meta(o != NULL ? o : old);
    struct api_object *const *budgets =
        controller_in_namespace(r, "policy", "PodDisruptionBudget", m->namespace, &count);
    const struct api_object *first = NULL;
    for (size_t i = 0; i < count; i++) {
        bool now = o != NULL && covers(budgets[i]->msg, m);
        if (now && matching++ == 0)
            first = budgets[i];
        if (now || (old != NULL && covers(budgets[i]->msg, api_object_meta(old))))
            controller_enqueue_object(r, budgets[i]);
    }
    if (o == NULL)
        return;
    queue_if_stale(r, o);
    if (matching > 1 && (old == NULL || !same_labels(api_object_meta(old), m))) {
        struct event_object about = event_object_of(o);
        event_record(
            r->recorder, &about, EVENT_WARNING, "MultiplePodDisruptionBudgets",
            "Pod \"" STR_FMT "\"/\"" STR_FMT
            "\" matches multiple PodDisruptionBudgets.  Chose \"" STR_FMT "\" arbitrarily.",
            STR_ARG(m->namespace), STR_ARG(m->name), STR_ARG(api_object_meta(first)->name));
    }
}

/* A change of scale changes what percentages mean. */
static void touch_scale(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    size_t count;
    struct api_object *const *budgets =
        controller_in_namespace(r, "policy", "PodDisruptionBudget",
                                api_object_meta(o != NULL ? o : old)->namespace, &count);
    if (old != NULL && o != NULL &&
        api_object_meta(old)->generation == api_object_meta(o)->generation)
        return;
    for (size_t i = 0; i < count; i++)
        controller_enqueue_object(r, budgets[i]);
}

/* --- controllers and their scale ------------------------------------------------------------- */

static bool refers_to(const struct meta_v1_owner_reference *ref, const char *group,
                      const char *kind)
{
    struct str g, v;
    if (!str_cut(ref->api_version, '/', &g, &v))
        g = STR("");
    /* Deployments and ReplicaSets were in extensions once. */
    return str_eqc(ref->kind, kind) &&
           (str_eqc(g, group) || (strcmp(group, "apps") == 0 && str_eqc(g, "extensions")));
}

static struct api_object *cached(struct reconcile *c, const char *group, const char *kind,
                                 const struct meta_v1_owner_reference *ref)
{
    if (!refers_to(ref, group, kind))
        return NULL;
    struct api_object *o =
        informer_get(controller_informer(c->run, group, kind), c->namespace_name, ref->name);
    return o != NULL && str_eq(api_object_meta(o)->uid, ref->uid) ? o : NULL;
}

static void found(struct owner *x, struct str uid, bool has_replicas, int32_t replicas)
{
    x->uid = uid;
    x->replicas = has_replicas ? replicas : 1;
    x->found = true;
}

/* What the caches know. */
static void look_up(struct reconcile *c, struct owner *x)
{
    struct api_object *o;
    if ((o = cached(c, "", "ReplicationController", x->ref)) != NULL) {
        const struct core_v1_replication_controller *rc = o->msg;
        found(x, rc->metadata.uid, rc->spec.has_replicas, rc->spec.replicas);
    } else if ((o = cached(c, "apps", "ReplicaSet", x->ref)) != NULL) {
        const struct apps_v1_replica_set *s = o->msg;
        const struct meta_v1_owner_reference *up = owner_controller(&s->metadata);
        struct api_object *above = up != NULL ? cached(c, "apps", "Deployment", up) : NULL;
        const struct apps_v1_deployment *d = above != NULL ? above->msg : NULL;
        if (d != NULL)
            found(x, d->metadata.uid, d->spec.has_replicas, d->spec.replicas);
        else
            found(x, s->metadata.uid, s->spec.has_replicas, s->spec.replicas);
    } else if ((o = cached(c, "apps", "StatefulSet", x->ref)) != NULL) {
        const struct apps_v1_stateful_set *s = o->msg;
        found(x, s->metadata.uid, s->spec.has_replicas, s->spec.replicas);
    }
}

static void on_scale(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct owner *x = arg;
    if (result->code == E_NOT_FOUND)
        return;
    if (result->code != 0) {
        x->error = arena_strc(c->arena, result->message);
    } else if (result->object == NULL || strcmp(result->object->kind->kind, "Scale") != 0) {
        x->error = STR("the target's scale is no Scale of autoscaling/v1");
    } else if (str_eq(api_object_meta(result->object)->uid, x->ref->uid)) {
        const struct autoscaling_v1_scale *s = result->object->msg;
        found(x, x->ref->uid, true, s->spec.replicas);
    }
}

/* Asks for the scale of what the caches do not know. False: the key comes back. */
static bool ask_scale(struct reconcile *c, struct owner *x)
{
    struct served_resource r;
    switch (kinds_find(c->run->state, c, x->ref->api_version, x->ref->kind, &r)) {
    case KIND_ASKING:
        return false;
    case KIND_UNKNOWN:
        x->error =
            arena_printf(c->arena, "no matches for kind \"" STR_FMT "\" in version \"" STR_FMT "\"",
                         STR_ARG(x->ref->kind), STR_ARG(x->ref->api_version));
        return true;
    case KIND_FOUND:
        break;
    }
    if (!r.scales) {
        x->error = arena_printf(c->arena, "%s%s%s does not implement the scale subresource",
                                r.resource, r.group[0] != '\0' ? "." : "", r.group);
        return true;
    }
    x->resource = (struct client_resource){r.group, r.version, r.resource, true};
    reconcile_call(
        c,
        &(struct client_call){.verb = CLIENT_GET,
                              .kind = api_kind_by_gvk(STR("autoscaling"), STR("v1"), STR("Scale")),
                              .resource = &x->resource,
                              .namespace_name = c->namespace_name,
                              .name = x->ref->name,
                              .subresource = "scale"},
        on_scale, x);
    return true;
}

static bool find_owners(struct reconcile *c, struct work *w)
{
    bool all_asked = true;
    for (size_t i = 0; i < w->pod_count; i++) {
        const struct meta_v1_owner_reference *ref = owner_controller(api_object_meta(w->pods[i]));
        if (ref == NULL) {
            w->unmanaged = true;
            continue;
        }
        if (map_has(&w->owners, ref->uid))
            continue;
        struct owner *x = ARENA_NEW(c->arena, struct owner);
        x->ref = ref;
        map_set(&w->owners, ref->uid, x);
        look_up(c, x);
        if (!x->found)
            all_asked &= ask_scale(c, x);
    }
    return all_asked;
}

/* The sum over all controllers; false when one is not known. */
static bool sum_scales(struct reconcile *c, const struct work *w, int32_t *ret, struct str *ret_err)
{
    struct map counted;
    map_init(&counted);
    int64_t sum = 0;
    bool known = true;
    for (size_t i = 0; i < w->pod_count && known; i++) {
        const struct meta_v1_object_meta *m = api_object_meta(w->pods[i]);
        const struct meta_v1_owner_reference *ref = owner_controller(m);
        struct owner *x = ref != NULL ? map_get(&w->owners, ref->uid) : NULL;
        if (x == NULL)
            continue;
        known = x->found;
        if (!known)
            *ret_err = !str_empty(x->error)
                           ? x->error
                           : arena_printf(c->arena, "found no controllers for pod \"" STR_FMT "\"",
                                          STR_ARG(m->name));
        else if (map_set(&counted, x->uid, x) == NULL)
            sum += x->replicas;
    }
    map_done(&counted);
    *ret = (int32_t)MIN_OF(sum, (int64_t)INT32_MAX);
    return known;
}

/* --- one budget ---------------------------------------------------------------------------------
 */

/* As Go prints the struct. */
static struct str selector_text(struct arena *a, const struct meta_v1_label_selector *s)
{
    AUTO_BUF b = BUF_INIT;
    buf_printf(&b, "&LabelSelector{MatchLabels:map[string]string{");
    for (size_t i = 0; s != NULL && i < s->match_labels_count; i++)
        buf_printf(&b, STR_FMT ": " STR_FMT ",", STR_ARG(s->match_labels[i].key),
                   STR_ARG(s->match_labels[i].value));
    buf_printf(&b, "},MatchExpressions:[]LabelSelectorRequirement{");
    for (size_t i = 0; s != NULL && i < s->match_expressions_count; i++) {
        const struct meta_v1_label_selector_requirement *x = &s->match_expressions[i];
        buf_printf(&b, "LabelSelectorRequirement{Key:" STR_FMT ",Operator:" STR_FMT ",Values:[",
                   STR_ARG(x->key), STR_ARG(x->operator));
        for (size_t k = 0; k < x->values_count; k++)
            buf_printf(&b, "%s" STR_FMT, k == 0 ? "" : " ", STR_ARG(x->values[k]));
        buf_printf(&b, "],},");
    }
    buf_printf(&b, "},}");
    return arena_str(a, buf_str(&b));
}

static void write_status(struct reconcile *c, const struct work *w,
                         const struct policy_v1_pod_disruption_budget_status *s)
{
    if (api_msg_equal(&policy_v1_pod_disruption_budget_status_msg, s, &w->budget->status))
        return;
    struct policy_v1_pod_disruption_budget *copy = reconcile_copy(c, w->object);
    copy->status = *s;
    reconcile_update(c, w->object->kind, copy, "status");
}

static void tell_kept(struct reconcile *c, const struct disruption_plan *p)
{
    for (size_t i = 0; i < p->kept_count; i++) {
        struct event_object about = event_object_of(p->kept[i]);
        /* Upstream names the namespace twice. */
        event_record(c->run->recorder, &about, EVENT_WARNING, "NotDeleted",
                     "Pod was expected by PDB " STR_FMT "/" STR_FMT " to be deleted but it wasn't",
                     STR_ARG(c->namespace_name), STR_ARG(c->namespace_name));
    }
}

static void conclude(struct reconcile *c)
{
    struct work *w = c->state;
    struct event_object about = event_object_of(w->object);
    struct disruption_input in = {.budget = w->budget,
                                  .pods = w->pods,
                                  .pod_count = w->pod_count,
                                  .now_s = controller_now_s(c->run)};
    struct str why;
    bool known = sum_scales(c, w, &in.scale, &why);
    if (!known) {
        event_record(c->run->recorder, &about, EVENT_WARNING, "CalculateExpectedPodCountFailed",
                     "Failed to calculate the number of expected pods: " STR_FMT, STR_ARG(why));
        write_status(c, w, disruption_failed(c->arena, w->budget, why, in.now_s));
        return;
    }
    if (w->unmanaged)
        event_record(c->run->recorder, &about, EVENT_WARNING, "UnmanagedPods",
                     "Pods selected by this PodDisruptionBudget (selector: " STR_FMT
                     ") were found to be unmanaged. As a result, the status of the PDB cannot be "
                     "calculated correctly, which may result in undefined behavior. To account for "
                     "these pods please set \".spec.minAvailable\" field of the PDB to an integer "
                     "value.",
                     STR_ARG(selector_text(c->arena, w->budget->spec.selector)));
    struct disruption_plan p;
    disruption_plan(c->arena, &in, &p);
    tell_kept(c, &p);
    if (p.again_after_s != 0)
        reconcile_again_after(c, (uint64_t)p.again_after_s * 1000);
    write_status(c, w, p.status);
}

static void gather(struct reconcile *c, struct work *w)
{
    const struct meta_v1_label_selector *selector = w->budget->spec.selector;
    size_t all, labels = selector != NULL ? selector->match_labels_count : 0;
    struct api_object *const *in_ns = controller_labelled_pods(
        c->run, c->namespace_name, labels != 0 ? selector->match_labels : NULL, labels, &all);
    w->pods = ARENA_ARRAY(c->arena, struct api_object *, all + 1);
    for (size_t i = 0; i < all; i++)
        if (covers(w->budget, api_object_meta(in_ns[i])))
            w->pods[w->pod_count++] = reconcile_hold(c, in_ns[i]);
}

static void release_map(void *m)
{
    map_done(m);
}

static void reconcile_budget(struct reconcile *c, struct api_object *o)
{
    struct work *w = ARENA_NEW(c->arena, struct work);
    c->state = w;
    w->object = reconcile_hold(c, o);
    w->budget = o->msg;
    map_init(&w->owners);
    arena_hold(c->arena, &w->owners, release_map);
    gather(c, w);
    if (w->pod_count == 0) {
        struct event_object about = event_object_of(o);
        event_record(c->run->recorder, &about, EVENT_NORMAL, "NoPods", "No matching pods found");
    }
    if (disruption_needs_scale(&w->budget->spec) && !find_owners(c, w))
        return;
    reconcile_then(c, conclude);
}

/* --- disruptions that did not come --------------------------------------------------------------
 */

static void reconcile_pod(struct reconcile *c, struct str key)
{
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "Pod"), key);
    int64_t after_s;
    if (o == NULL || !disruption_is_stale(o->msg, controller_now_s(c->run), &after_s))
        return;
    if (after_s > 0) {
        reconcile_again_after(c, (uint64_t)after_s * 1000);
        return;
    }
    const struct meta_v1_object_meta *m = api_object_meta(o);
    char now[TIME_TEXT_MAX];
    struct meta_v1_time t = time_from_ns(env_wall_ns(c->run->env));
    time_format(&t, now);
    reconcile_call(
        c,
        &(struct client_call){
            .verb = CLIENT_PATCH,
            .kind = o->kind,
            .namespace_name = m->namespace,
            .name = m->name,
            .subresource = "status",
            .patch_type = CLIENT_PATCH_STRATEGIC,
            .raw_body = arena_printf(
                c->arena,
                "{\"metadata\":{\"uid\":\"" STR_FMT "\",\"resourceVersion\":\"" STR_FMT
                "\"},\"status\":{\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":"
                "\"False\",\"reason\":null,\"message\":null,\"lastTransitionTime\":\"%s\"}]}}",
                STR_ARG(m->uid), STR_ARG(m->resource_version), now)},
        NULL, NULL);
}

static void reconcile(struct reconcile *c)
{
    if (str_has_prefix(c->key, STR(POD_PREFIX))) {
        reconcile_pod(c, str_sub(c->key, strlen(POD_PREFIX), c->key.len));
        return;
    }
    struct api_object *o =
        informer_get_key(controller_informer(c->run, "policy", "PodDisruptionBudget"), c->key);
    if (o != NULL)
        reconcile_budget(c, o);
}

/* --- life ---------------------------------------------------------------------------------------
 */

static void init(struct controller_run *r)
{
    r->state = kinds_new(r);
}

static void done(struct controller_run *r)
{
    kinds_free(r->state);
}

static const struct controller_watch watches[] = {
    {"policy", "v1", "PodDisruptionBudget", touch_budget},
    {"", "v1", "Pod", touch_pod},
    {"", "v1", "ReplicationController", touch_scale},
    {"apps", "v1", "ReplicaSet", touch_scale},
    {"apps", "v1", "Deployment", touch_scale},
    {"apps", "v1", "StatefulSet", touch_scale},
    {0},
};

const struct controller controller_disruption = {
    .name = "disruption-controller",
    .event_source = "controllermanager",
    .watches = watches,
    .init = init,
    .done = done,
    .reconcile = reconcile,
};
