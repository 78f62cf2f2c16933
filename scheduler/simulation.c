/* simulation.c - see simulation.h. */
#include "scheduler/simulation_internal.h"

#include "api/core_v1.h"
#include "api/policy_v1.h"
#include "api/scheduling_v1.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "scheduler/claims.h"
#include "scheduler/classes.h"
#include "scheduler/config.h"
#include "scheduler/devices/devices.h"
#include "scheduler/estimates.h"
#include "scheduler/owner_selector.h"
#include "scheduler/plugins/plugins.h"
#include "scheduler/preemption.h"

#include <stdio.h>

#define KEY_MAX 1024

/* --- objects other than nodes and pods ----------------------------------------------------------
 */

static struct str key_of(char *buffer, const char *kind, struct str ns, struct str name)
{
    int n = snprintf(buffer, KEY_MAX, "%s/" STR_FMT "/" STR_FMT, kind, STR_ARG(ns), STR_ARG(name));
    return str_n(buffer, (size_t)MIN_OF(n, KEY_MAX - 1));
}

struct api_object *simulation_find(const struct simulation *s, const char *kind, struct str ns,
                                   struct str name)
{
    char buffer[KEY_MAX];
    return map_get(&s->objects, key_of(buffer, kind, ns, name));
}

/* The next object of the kind. */
static struct api_object *next_of(const struct simulation *s, const char *kind, size_t *pos)
{
    void *v;
    while (map_next(&s->objects, pos, NULL, &v))
        if (strcmp(((struct api_object *)v)->kind->kind, kind) == 0)
            return v;
    return NULL;
}

static const struct api_str_entry *namespace_labels(void *arg, struct str name, size_t *ret_count)
{
    struct api_object *o = simulation_find(arg, "Namespace", STR_NULL, name);
    *ret_count = o != NULL ? api_object_meta(o)->labels_count : 0;
    return o != NULL ? api_object_meta(o)->labels : NULL;
}

static struct api_object *find_claim(void *arg, struct str ns, struct str name)
{
    return simulation_find(arg, "PersistentVolumeClaim", ns, name);
}

static struct api_object *find_volume(void *arg, struct str name)
{
    return simulation_find(arg, "PersistentVolume", STR_NULL, name);
}

static struct api_object *find_class(void *arg, struct str name)
{
    return simulation_find(arg, "StorageClass", STR_NULL, name);
}

static struct api_object *find_csi_node(void *arg, struct str name)
{
    return simulation_find(arg, "CSINode", STR_NULL, name);
}

static struct api_object *find_csi_driver(void *arg, struct str name)
{
    return simulation_find(arg, "CSIDriver", STR_NULL, name);
}

static struct api_object *next_capacity(void *arg, size_t *pos)
{
    return next_of(arg, "CSIStorageCapacity", pos);
}

static struct api_object *next_volume(void *arg, size_t *pos)
{
    return next_of(arg, "PersistentVolume", pos);
}

static bool volume_taken(void *arg, const struct core_v1_persistent_volume *v)
{
    const struct simulation *s = arg;
    return map_has(&s->taken, v->metadata.name);
}

static void selector_of(void *arg, struct arena *a, const struct core_v1_pod *pod,
                        struct meta_v1_label_selector *ret)
{
    const struct simulation *s = arg;
    struct owner_selector g;
    size_t pos = 0;
    const struct api_object *o;
    owner_selector_begin(&g, a, pod, ret);
    while ((o = next_of(s, "Service", &pos)) != NULL)
        owner_selector_add_service(&g, o->msg);
    const struct meta_v1_owner_reference *r = pod_controller(pod);
    o = r != NULL ? simulation_find(s, str_c(r->kind), pod->metadata.namespace, r->name) : NULL;
    if (o != NULL)
        owner_selector_add_controller(&g, o);
    owner_selector_end(&g);
}

static uint64_t rev(void *arg)
{
    return ((struct simulation *)arg)->rev;
}

/* --- the state ---------------------------------------------------------------------------------
 */

struct simulation *simulation_new(uint64_t seed)
{
    struct simulation *s = xzalloc(sizeof(*s));
    s->seed = seed;
    s->devices = devices_new();
    s->facts = (struct pod_facts){.namespace_labels = namespace_labels,
                                  .claim = find_claim,
                                  .volume = find_volume,
                                  .storage_class = find_class,
                                  .csi_node = find_csi_node,
                                  .csi_driver = find_csi_driver,
                                  .next_capacity = next_capacity,
                                  .next_volume = next_volume,
                                  .volume_taken = volume_taken,
                                  .selector = selector_of,
                                  .devices = s->devices,
                                  .selectors_rev = rev,
                                  .namespaces_rev = rev,
                                  .arg = s};
    snapshot_init(&s->snapshot);
    sched_queue_init(&s->queue);
    map_init(&s->objects);
    map_init(&s->taken);
    s->classes = classes_new(&s->snapshot, &s->facts);
    return s;
}

void simulation_set_config(struct simulation *s, const struct sched_config *c)
{
    s->config = c;
}

const struct profile *simulation_profile(const struct simulation *s, const struct core_v1_pod *pod)
{
    if (s->config == NULL)
        return NULL;
    const struct profile *p = sched_config_profile(s->config, pod->spec.scheduler_name);
    return p != NULL ? p : &s->config->profiles[0];
}

void simulation_free(struct simulation *s)
{
    if (s == NULL)
        return;
    size_t pos = 0;
    void *o;
    classes_free(s->classes);
    while (map_next(&s->objects, &pos, NULL, &o))
        api_object_unref(o);
    map_done(&s->objects);
    map_done(&s->taken);
    devices_free(s->devices);
    sched_queue_done(&s->queue);
    snapshot_done(&s->snapshot);
    free(s);
}

static const struct scheduling_v1_priority_class *priority_class_of(const struct simulation *s,
                                                                    const struct core_v1_pod *pod)
{
    size_t pos = 0;
    const struct api_object *o;
    if (!str_empty(pod->spec.priority_class_name)) {
        o = simulation_find(s, "PriorityClass", STR_NULL, pod->spec.priority_class_name);
        return o != NULL ? o->msg : NULL;
    }
    while ((o = next_of(s, "PriorityClass", &pos)) != NULL)
        if (((const struct scheduling_v1_priority_class *)o->msg)->global_default)
            return o->msg;
    return NULL;
}

static void set_priority(const struct simulation *s, struct core_v1_pod *pod)
{
    const struct scheduling_v1_priority_class *c = priority_class_of(s, pod);
    if (pod->spec.has_priority)
        return;
    pod->spec.has_priority = true;
    if (c != NULL)
        pod->spec.priority = c->value;
    else if (str_eqc(pod->spec.priority_class_name, "system-cluster-critical"))
        pod->spec.priority = 2000000000;
    else if (str_eqc(pod->spec.priority_class_name, "system-node-critical"))
        pod->spec.priority = 2000001000;
    if (c != NULL && c->has_preemption_policy && !pod->spec.has_preemption_policy) {
        pod->spec.has_preemption_policy = true;
        pod->spec.preemption_policy = c->preemption_policy;
    }
}

/* What is limited and not asked for is asked for. */
static void set_requests(struct arena *a, struct core_v1_container *cs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct core_v1_resource_requirements *r = &cs[i].resources;
        size_t cap = 0;
        struct api_quantity_entry *all = NULL;
        size_t n = 0;
        for (size_t k = 0; k < r->requests_count; k++) {
            all = arena_grow(a, all, n, &cap, sizeof(*all));
            all[n++] = r->requests[k];
        }
        for (size_t k = 0; k < r->limits_count; k++) {
            bool asked = false;
            for (size_t m = 0; m < r->requests_count; m++)
                asked |= str_eq(r->requests[m].key, r->limits[k].key);
            if (asked)
                continue;
            all = arena_grow(a, all, n, &cap, sizeof(*all));
            all[n++] = r->limits[k];
        }
        r->requests = all;
        r->requests_count = n;
    }
}

struct api_object *simulation_completed(struct simulation *s, const struct api_object *o)
{
    struct api_object *copy = api_object_clone(o);
    struct core_v1_pod *pod = copy->msg;
    struct arena *a = copy->arena;
    if (str_empty(pod->metadata.namespace))
        pod->metadata.namespace = STR("default");
    if (str_empty(pod->metadata.name))
        pod->metadata.name =
            arena_printf(a, STR_FMT "%u", STR_ARG(pod->metadata.generate_name), ++s->named);
    if (str_empty(pod->metadata.uid))
        pod->metadata.uid = arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(pod->metadata.namespace),
                                         STR_ARG(pod->metadata.name));
    set_priority(s, pod);
    set_requests(a, pod->spec.containers, pod->spec.containers_count);
    set_requests(a, pod->spec.init_containers, pod->spec.init_containers_count);
    return copy;
}

static void add_pod(struct simulation *s, struct api_object *o)
{
    struct api_object *pod = simulation_completed(s, o);
    const struct core_v1_pod *p = pod->msg;
    int64_t since = time_to_ns(&p->metadata.creation_timestamp) / 1000000;
    if (!str_empty(p->spec.node_name))
        snapshot_set_pod(&s->snapshot, pod);
    else if (!pod_is_terminal(p) && p->metadata.deletion_timestamp == NULL)
        sched_queue_set(&s->queue, pod, (uint64_t)MAX_OF(since, (int64_t)0));
    api_object_unref(pod);
}

void simulation_add(struct simulation *s, struct api_object *o)
{
    const struct meta_v1_object_meta *m = api_object_meta(o);
    char buffer[KEY_MAX];
    if (strcmp(o->kind->kind, "Node") == 0) {
        snapshot_set_node(&s->snapshot, o);
    } else if (strcmp(o->kind->kind, "Pod") == 0) {
        add_pod(s, o);
    } else if (m != NULL) {
        struct api_object *copy = api_object_clone(o);
        struct meta_v1_object_meta *own = api_object_meta(copy);
        if (o->kind->namespaced && str_empty(own->namespace))
            own->namespace = STR("default");
        if (simulation_add_device_object(s, copy)) {
            api_object_unref(copy);
            return;
        }
        api_object_unref(
            map_set(&s->objects, key_of(buffer, o->kind->kind, own->namespace, own->name), copy));
        s->rev++;
        s->usage_known |= strcmp(o->kind->kind, "PodMetrics") == 0;
    }
}

size_t simulation_node_count(const struct simulation *s)
{
    return s->snapshot.node_count;
}

struct api_object *simulation_next_pending(struct simulation *s)
{
    struct queued_pod *p = sched_queue_pop(&s->queue);
    if (p == NULL)
        return NULL;
    struct api_object *o = api_object_ref(p->object);
    sched_queue_placed(&s->queue, p);
    return o;
}

/* --- what pods use ------------------------------------------------------------------------------
 */

/* Every estimate is what it would come to in time. */
void simulation_take_usage(struct simulation *s)
{
    static const struct estimate_rules at_once = {.margin_percent = ESTIMATE_MARGIN_PERCENT};
    struct usages u;
    size_t pos = 0;
    const struct api_object *o;
    if (!s->usage_known)
        return;
    usages_init(&u);
    while ((o = next_of(s, "PodMetrics", &pos)) != NULL)
        usages_add_metrics(&u, o->msg);
    (void)estimates_update(&s->snapshot, &u, &at_once, 0);
    usages_done(&u);
    s->usage_known = false;
}

/* --- placing -----------------------------------------------------------------------------------
 */

/* The victim is gone for good: its budgets allow one less. */
static void spend_budgets(struct simulation *s, const struct core_v1_pod *victim)
{
    size_t pos = 0;
    struct api_object *o;
    while ((o = next_of(s, "PodDisruptionBudget", &pos)) != NULL) {
        struct policy_v1_pod_disruption_budget *b =
            o->msg; /* A copy of ours, see simulation_add(). */
        if (preemption_budget_covers(b, victim) && b->status.disruptions_allowed > 0)
            b->status.disruptions_allowed--;
    }
}

void simulation_evict(struct simulation *s, struct api_object *pod, const struct node_info *n,
                      struct simulation_outcome *ret)
{
    ret->victims = xrealloc(ret->victims, (ret->victim_count + 1) * sizeof(*ret->victims));
    ret->victims[ret->victim_count++] =
        (struct simulation_victim){api_object_ref(pod), xstrdup(n->name)};
    spend_budgets(s, pod->msg);
    simulation_give_devices(s, pod);
    snapshot_remove_pod(&s->snapshot,
                        api_object_meta(ret->victims[ret->victim_count - 1].pod)->uid);
}

const struct policy_v1_pod_disruption_budget **
simulation_budgets(const struct simulation *s, struct arena *a, size_t *ret_count)
{
    const struct policy_v1_pod_disruption_budget **budgets =
        ARENA_ARRAY(a, const struct policy_v1_pod_disruption_budget *, s->objects.count + 1);
    size_t count = 0, pos = 0;
    struct api_object *o;
    while ((o = next_of(s, "PodDisruptionBudget", &pos)) != NULL)
        budgets[count++] = o->msg;
    *ret_count = count;
    return budgets;
}

/* Evicts what must go, and decides again; NULL with the message when that does not help. */
static struct node_info *make_room(struct simulation *s, struct class_question *q,
                                   struct cycle **cycle, bool preempt,
                                   struct simulation_outcome *ret)
{
    struct cycle *c = *cycle;
    size_t count;
    const struct policy_v1_pod_disruption_budget **budgets =
        simulation_budgets(s, q->arena, &count);
    struct preemption p = {0};
    if (preempt && c->profile->preempts && c->snapshot->node_count != 0)
        preemption_evaluate(c, budgets, count, &p);
    if (p.node == NULL) {
        ret->message = cycle_message(c, p.message);
        return NULL;
    }
    for (size_t i = 0; i < p.victim_count; i++)
        simulation_evict(s, p.victims[i], p.node, ret);
    q->nominated_node = str_of(p.node->name);
    struct node_info *n = classes_decide(s->classes, q, cycle);
    if (n == NULL)
        ret->message = cycle_message(*cycle, STR_NULL);
    return n;
}

void simulation_take_volumes(struct simulation *s, const struct cycle *c, const struct node_info *n,
                             void *by)
{
    const struct claim_plan *plans;
    size_t count = volume_binding_plan(c, n->node, &plans);
    for (size_t i = 0; i < count; i++)
        if (plans[i].volume != NULL)
            (void)map_set(&s->taken, api_object_meta(plans[i].volume)->name, by);
}

void simulation_place_one(struct simulation *s, struct arena *a, bool preempt,
                          struct simulation_outcome *ret)
{
    simulation_take_usage(s);
    struct pod_info *info = pod_info_new(ret->pod);
    struct class_question q = {
        .pod = info, .arena = a, .seed = s->seed++, .profile = simulation_profile(s, info->pod)};
    struct cycle *c;
    struct node_info *n = classes_decide(s->classes, &q, &c);
    if (n == NULL)
        n = make_room(s, &q, &c, preempt, ret);
    if (n != NULL) {
        ret->node = n->name;
        simulation_take_volumes(s, c, n, s);
        simulation_take_devices(s, c, n, ret->pod);
        snapshot_remove_pod(&s->snapshot, info->pod->metadata.uid);
        snapshot_assume(&s->snapshot, ret->pod, n);
    }
    pod_info_free(info);
}

void simulation_place(struct simulation *s, struct arena *a, struct api_object *pod, bool preempt,
                      struct simulation_outcome *ret)
{
    *ret = (struct simulation_outcome){.pod = simulation_completed(s, pod)};
    simulation_make_claims(s, ret->pod);
    simulation_place_one(s, a, preempt, ret);
}

void simulation_outcome_done(struct simulation_outcome *o)
{
    api_object_unref(o->pod);
    for (size_t i = 0; i < o->victim_count; i++) {
        api_object_unref(o->victims[i].pod);
        free(o->victims[i].node);
    }
    free(o->victims);
    *o = (struct simulation_outcome){0};
}
