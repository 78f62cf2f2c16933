/* disruption.c - keeps the status of PodDisruptionBudgets: how many pods may be
 * evicted now. The eviction subresource counts it down and notes the pod in
 * disruptedPods; we take the note off when the pod is gone, or after two
 * minutes. */
#include "controllers/controller.h"
#include "controllers/pods.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "api/policy_v1.h"
#include "lib/api/codec.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/client/labels.h"

#define DISRUPTED_S 120

static void touch_budget(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    controller_enqueue_object(r, o != NULL ? o : old);
}

static bool covers(const struct policy_v1_pod_disruption_budget *b,
                   const struct meta_v1_object_meta *pod)
{
    return label_selector_matches(b->spec.selector, pod->labels, pod->labels_count);
}

static void touch_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    size_t count;
    struct api_object *const *budgets =
        controller_in_namespace(r, "policy", "PodDisruptionBudget",
                                api_object_meta(o != NULL ? o : old)->namespace, &count);
    for (size_t i = 0; i < count; i++)
        if ((o != NULL && covers(budgets[i]->msg, api_object_meta(o))) ||
            (old != NULL && covers(budgets[i]->msg, api_object_meta(old))))
            controller_enqueue_object(r, budgets[i]);
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

/* --- counting ------------------------------------------------------------------------------- */

struct scale {
    struct str uid;
    int32_t replicas;
};

static struct api_object *find_owner(struct reconcile *c, const char *group, const char *kind,
                                     const struct meta_v1_owner_reference *ref)
{
    struct api_object *o =
        informer_get(controller_informer(c->run, group, kind), c->namespace_name, ref->name);
    return o != NULL && str_eq(api_object_meta(o)->uid, ref->uid) ? o : NULL;
}

/* The scale of what finally controls the pod. False: it has none that we know. */
static bool scale_of(struct reconcile *c, const struct core_v1_pod *pod, struct scale *ret)
{
    const struct meta_v1_owner_reference *ref = owner_controller(&pod->metadata);
    struct api_object *o;
    if (ref == NULL)
        return false;
    if (str_eqc(ref->kind, "ReplicaSet") &&
        (o = find_owner(c, "apps", "ReplicaSet", ref)) != NULL) {
        const struct apps_v1_replica_set *s = o->msg;
        const struct meta_v1_owner_reference *up = owner_controller(&s->metadata);
        struct api_object *d = up != NULL && str_eqc(up->kind, "Deployment")
                                   ? find_owner(c, "apps", "Deployment", up)
                                   : NULL;
        const struct apps_v1_deployment *dep = d != NULL ? d->msg : NULL;
        *ret =
            dep != NULL
                ? (struct scale){dep->metadata.uid, dep->spec.has_replicas ? dep->spec.replicas : 1}
                : (struct scale){s->metadata.uid, s->spec.has_replicas ? s->spec.replicas : 1};
        return true;
    }
    if (str_eqc(ref->kind, "StatefulSet") &&
        (o = find_owner(c, "apps", "StatefulSet", ref)) != NULL) {
        const struct apps_v1_stateful_set *s = o->msg;
        *ret = (struct scale){s->metadata.uid, s->spec.has_replicas ? s->spec.replicas : 1};
        return true;
    }
    return false;
}

/* Pods there should be: by their controllers; pods without one count as they are. */
static int32_t expected_by_scale(struct reconcile *c, struct api_object *const *pods, size_t count)
{
    struct scale *seen = ARENA_ARRAY(c->arena, struct scale, count + 1);
    size_t n = 0;
    int32_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        struct scale s;
        size_t k = 0;
        if (!scale_of(c, pods[i]->msg, &s)) {
            sum++;
            continue;
        }
        while (k < n && !str_eq(seen[k].uid, s.uid))
            k++;
        if (k == n) {
            seen[n++] = s;
            sum += s.replicas;
        }
    }
    return sum;
}

static bool is_percent(const struct intstr_int_or_string *v)
{
    return v->type != 0;
}

/* Rounded up. */
static int32_t scaled(const struct intstr_int_or_string *v, int32_t total)
{
    int64_t percent;
    if (!is_percent(v))
        return v->int_val;
    if (!str_has_suffix(v->str_val, STR("%")) ||
        !str_to_i64(str_sub(v->str_val, 0, v->str_val.len - 1), &percent))
        return 0;
    return (int32_t)(((int64_t)total * percent + 99) / 100);
}

static const struct meta_v1_time_entry *
disrupted(const struct policy_v1_pod_disruption_budget_status *s, struct str name)
{
    for (size_t i = 0; i < s->disrupted_pods_count; i++)
        if (str_eq(s->disrupted_pods[i].key, name))
            return &s->disrupted_pods[i];
    return NULL;
}

/* Keeps the notes of pods that are there and not yet on their way. */
static void refresh_disrupted(struct reconcile *c, struct policy_v1_pod_disruption_budget_status *s,
                              struct api_object *const *pods, size_t count)
{
    int64_t now = controller_now_s(c->run);
    size_t kept = 0;
    for (size_t i = 0; i < s->disrupted_pods_count; i++) {
        struct meta_v1_time_entry e = s->disrupted_pods[i];
        bool waits = false;
        for (size_t k = 0; k < count; k++) {
            const struct meta_v1_object_meta *m = api_object_meta(pods[k]);
            waits |= str_eq(m->name, e.key) && m->deletion_timestamp == NULL;
        }
        int64_t left = e.value.seconds + DISRUPTED_S - now;
        if (!waits || left <= 0)
            continue;
        reconcile_again_after(c, (uint64_t)left * 1000);
        s->disrupted_pods[kept++] = e;
    }
    s->disrupted_pods_count = kept;
}

static void set_condition(struct reconcile *c, struct policy_v1_pod_disruption_budget_status *s,
                          int64_t generation)
{
    bool allowed = s->disruptions_allowed > 0;
    struct meta_v1_condition *x = NULL;
    for (size_t i = 0; i < s->conditions_count; i++)
        if (str_eqc(s->conditions[i].type, "DisruptionAllowed"))
            x = &s->conditions[i];
    if (x == NULL) {
        size_t cap = s->conditions_count;
        s->conditions = arena_grow(c->arena, s->conditions, s->conditions_count, &cap, sizeof(*x));
        x = &s->conditions[s->conditions_count++];
        x->type = STR("DisruptionAllowed");
    }
    struct str status = allowed ? STR("True") : STR("False");
    if (!str_eq(x->status, status))
        x->last_transition_time = (struct meta_v1_time){.seconds = controller_now_s(c->run)};
    x->status = status;
    x->reason = allowed ? STR("SufficientPods") : STR("InsufficientPods");
    x->message = STR_NULL;
    x->observed_generation = generation;
}

static void reconcile(struct reconcile *c)
{
    struct api_object *o =
        informer_get_key(controller_informer(c->run, "policy", "PodDisruptionBudget"), c->key);
    if (o == NULL || api_object_meta(o)->deletion_timestamp != NULL)
        return;
    struct policy_v1_pod_disruption_budget *b = reconcile_copy(c, o);
    struct policy_v1_pod_disruption_budget_status *s = &b->status;
    size_t all, count = 0;
    struct api_object *const *in_ns =
        controller_in_namespace(c->run, "", "Pod", c->namespace_name, &all);
    struct api_object **pods = ARENA_ARRAY(c->arena, struct api_object *, all + 1);
    for (size_t i = 0; i < all; i++)
        if (covers(b, api_object_meta(in_ns[i])) && !pod_is_terminal(in_ns[i]->msg))
            pods[count++] = in_ns[i];
    refresh_disrupted(c, s, pods, count);
    s->current_healthy = 0;
    for (size_t i = 0; i < count; i++)
        s->current_healthy += pod_is_ready(pods[i]->msg) &&
                              api_object_meta(pods[i])->deletion_timestamp == NULL &&
                              disrupted(s, api_object_meta(pods[i])->name) == NULL;
    if (b->spec.max_unavailable != NULL) {
        s->expected_pods = expected_by_scale(c, pods, count);
        s->desired_healthy =
            MAX_OF(s->expected_pods - scaled(b->spec.max_unavailable, s->expected_pods), 0);
    } else if (b->spec.min_available != NULL) {
        s->expected_pods =
            is_percent(b->spec.min_available) ? expected_by_scale(c, pods, count) : (int32_t)count;
        s->desired_healthy = scaled(b->spec.min_available, s->expected_pods);
    }
    s->disruptions_allowed =
        s->expected_pods > 0 ? MAX_OF(s->current_healthy - s->desired_healthy, 0) : 0;
    s->observed_generation = b->metadata.generation;
    set_condition(c, s, b->metadata.generation);
    const struct policy_v1_pod_disruption_budget *before = o->msg;
    if (!api_msg_equal(&policy_v1_pod_disruption_budget_status_msg, s, &before->status))
        reconcile_update(c, o->kind, b, "status");
}

static const struct controller_watch watches[] = {
    {"policy", "v1", "PodDisruptionBudget", touch_budget},
    {"", "v1", "Pod", touch_pod},
    {"apps", "v1", "ReplicaSet", touch_scale},
    {"apps", "v1", "Deployment", touch_scale},
    {"apps", "v1", "StatefulSet", touch_scale},
    {0},
};

const struct controller controller_disruption = {
    .name = "disruption-controller",
    .watches = watches,
    .reconcile = reconcile,
};
