/* feed.c - what the watches bring: pods into queue and snapshot, nodes into the snapshot, and
 * whatever else decisions depend on. */
#include "scheduler/scheduler_internal.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/client/labels.h"
#include "scheduler/owners.h"
#include "scheduler/pod_record.h"
#include "scheduler/trim.h"

static uint64_t now_ms(const struct scheduler *s)
{
    return env_now_ms(s->env);
}

static const struct core_v1_pod *pod_of(const struct api_object *o)
{
    return o->msg;
}

/* --- pods --------------------------------------------------------------------------------------
 */

static bool is_ours(const struct scheduler *s, const struct core_v1_pod *pod)
{
    return sched_config_profile(s->config, pod->spec.scheduler_name) != NULL;
}

static bool is_assumed(const struct scheduler *s, const struct core_v1_pod *pod)
{
    const struct pod_info *p = map_get(&s->snapshot.pods, pod->metadata.uid);
    return p != NULL && p->assumed;
}

/* The queue has an object of its own, which rests whatever the cache does with the other: of a
 * hundred thousand pods that come at once most wait for some seconds. */
static void queue_pod(struct scheduler *s, struct api_object *o)
{
    struct pod_record *r = pod_record_of(s->shapes, o);
    struct api_object *own = pod_record_object(r);
    sched_queue_set(&s->queue, own, now_ms(s));
    api_object_unref(own);
    pod_record_unref(r);
}

static void take_unplaced(struct scheduler *s, struct api_object *o)
{
    const struct core_v1_pod *pod = pod_of(o);
    bool waits =
        is_ours(s, pod) && pod->metadata.deletion_timestamp == NULL && !pod_is_terminal(pod);
    if (!waits) {
        sched_queue_remove(&s->queue, pod->metadata.uid);
        snapshot_unnominate(&s->snapshot, pod->metadata.uid);
        volume_waits_check(s);
        device_waits_check(s);
    } else if (!is_assumed(s, pod)) {
        queue_pod(s, o);
        struct queued_pod *p = sched_queue_find(&s->queue, pod->metadata.uid);
        scheduler_seat_guest(s, p);
        gangs_set_pod(&s->gangs, p, now_ms(s));
        queued_pod_rest(p);
    } else if (sched_queue_find(&s->queue, pod->metadata.uid) != NULL) {
        queue_pod(s, o);
    }
}

/* It has a node: what was kept for it on another one is free. */
static void take_placed(struct scheduler *s, struct api_object *o)
{
    const struct core_v1_pod *pod = pod_of(o);
    const struct queued_pod *p = sched_queue_find(&s->queue, pod->metadata.uid);
    bool elsewhere =
        p != NULL && p->nominated_node != NULL && !str_eqc(pod->spec.node_name, p->nominated_node);
    AUTO_FREE char *kept = elsewhere ? xstrdup(p->nominated_node) : NULL;
    sched_queue_remove(&s->queue, pod->metadata.uid);
    snapshot_set_pod(&s->snapshot, o);
    sched_queue_event(&s->queue, EVENT_POD_ADD, now_ms(s));
    if (kept != NULL)
        scheduler_happened(s, EVENT_POD_DELETE, str_of(kept));
}

static void on_pod_add(struct api_object *o, void *arg)
{
    struct scheduler *s = arg;
    if (str_empty(pod_of(o)->spec.node_name))
        take_unplaced(s, o);
    else
        take_placed(s, o);
    scheduler_wake(s);
}

static bool frees_something(const struct core_v1_pod *old, const struct core_v1_pod *pod)
{
    return pod_is_terminal(pod) && !pod_is_terminal(old);
}

static void on_pod_update(struct api_object *old_object, struct api_object *o, void *arg)
{
    struct scheduler *s = arg;
    const struct core_v1_pod *old = pod_of(old_object), *pod = pod_of(o);
    if (str_empty(pod->spec.node_name)) {
        take_unplaced(s, o);
        scheduler_wake(s);
        return;
    }
    if (str_empty(old->spec.node_name)) {
        take_placed(s, o);
        scheduler_wake(s);
        return;
    }
    bool changed = !labels_equal(old->metadata.labels, old->metadata.labels_count,
                                 pod->metadata.labels, pod->metadata.labels_count) ||
                   old->metadata.generation != pod->metadata.generation || !pods_ask_same(old, pod);
    snapshot_set_pod(&s->snapshot, o);
    if (frees_something(old, pod))
        scheduler_happened(s, EVENT_POD_DELETE, pod->spec.node_name);
    else if (changed)
        scheduler_happened(s, EVENT_POD_UPDATE, pod->spec.node_name);
    scheduler_wake(s);
}

static void on_pod_delete(struct api_object *o, bool final_state_unknown, void *arg)
{
    struct scheduler *s = arg;
    const struct core_v1_pod *pod = pod_of(o);
    UNUSED(final_state_unknown);
    sched_queue_remove(&s->queue, pod->metadata.uid);
    snapshot_unnominate(&s->snapshot, pod->metadata.uid);
    volume_waits_check(s);
    device_waits_check(s);
    snapshot_remove_pod(&s->snapshot, pod->metadata.uid);
    scheduler_happened(s, EVENT_POD_DELETE, pod->spec.node_name);
    scheduler_wake(s);
}

/* --- nodes -------------------------------------------------------------------------------------
 */

static void on_node_add(struct api_object *o, void *arg)
{
    struct scheduler *s = arg;
    snapshot_set_node(&s->snapshot, o);
    scheduler_happened(s, EVENT_NODE_ADD, api_object_meta(o)->name);
    scheduler_wake(s);
}

static bool same_quantities(const struct api_quantity_entry *x, size_t x_count,
                            const struct api_quantity_entry *y, size_t y_count)
{
    bool same = x_count == y_count;
    for (size_t i = 0; same && i < x_count; i++)
        same = str_eq(x[i].key, y[i].key) && str_eq(x[i].value.string, y[i].value.string);
    return same;
}

static uint32_t node_events(const struct core_v1_node *old, const struct core_v1_node *node)
{
    uint32_t events = 0;
    if (!labels_equal(old->metadata.labels, old->metadata.labels_count, node->metadata.labels,
                      node->metadata.labels_count))
        events |= EVENT_NODE_LABEL;
    if (!same_quantities(old->status.allocatable, old->status.allocatable_count,
                         node->status.allocatable, node->status.allocatable_count))
        events |= EVENT_NODE_ALLOCATABLE;
    if (!api_msg_equal(&core_v1_node_spec_msg, &old->spec, &node->spec))
        events |= EVENT_NODE_TAINT;
    return events;
}

static void on_node_update(struct api_object *old, struct api_object *o, void *arg)
{
    struct scheduler *s = arg;
    uint32_t events = node_events(old->msg, o->msg);
    snapshot_set_node(&s->snapshot, o);
    if (events == 0)
        return;
    scheduler_happened(s, events, api_object_meta(o)->name);
    scheduler_wake(s);
}

static void on_node_delete(struct api_object *o, bool final_state_unknown, void *arg)
{
    struct scheduler *s = arg;
    UNUSED(final_state_unknown);
    snapshot_remove_node(&s->snapshot, api_object_meta(o)->name);
}

/* --- everything else -----------------------------------------------------------------------------
 */

static void on_pod_group_add(struct api_object *o, void *arg)
{
    struct scheduler *s = arg;
    gangs_set_group(&s->gangs, o, now_ms(s));
    scheduler_wake(s);
}

static void on_pod_group_update(struct api_object *old, struct api_object *o, void *arg)
{
    UNUSED(old);
    on_pod_group_add(o, arg);
}

static void on_pod_group_delete(struct api_object *o, bool final_state_unknown, void *arg)
{
    struct scheduler *s = arg;
    const struct meta_v1_object_meta *m = api_object_meta(o);
    UNUSED(final_state_unknown);
    gangs_remove_group(&s->gangs, m->namespace, m->name);
    scheduler_wake(s);
}

static void on_namespace_add(struct api_object *o, void *arg)
{
    UNUSED(o);
    ((struct scheduler *)arg)->namespaces_rev++;
}

static void on_namespace_update(struct api_object *old, struct api_object *o, void *arg)
{
    struct scheduler *s = arg;
    const struct meta_v1_object_meta *x = api_object_meta(old), *y = api_object_meta(o);
    s->namespaces_rev += !labels_equal(x->labels, x->labels_count, y->labels, y->labels_count);
}

static void on_synced(void *arg)
{
    scheduler_wake(arg);
}

/* --- watches -----------------------------------------------------------------------------------
 */

/* Extenders are shown pods and nodes whole, unless they know them by name. */
static void (*trim_of(const struct sched_config *c,
                      enum scheduler_informer which))(struct api_object *)
{
    bool pods = false, victims = false, nodes = false;
    for (size_t i = 0; i < c->extender_count; i++) {
        const struct extender_config *e = &c->extenders[i];
        bool sees = e->filter != NULL || e->prioritize != NULL;
        pods |= sees || e->preempt != NULL;
        victims |= e->preempt != NULL && !e->node_cache_capable;
        nodes |= sees && !e->node_cache_capable;
    }
    if (which == INFORM_NODES)
        return nodes ? NULL : trim_node;
    return victims ? NULL : pods ? trim_pod_placed : trim_pod;
}

void scheduler_watch(struct scheduler *s, enum scheduler_informer which, const char *group,
                     const char *version, const char *kind, const char *field_selector,
                     const struct informer_handler *handler)
{
    struct informer_config config = {
        .kind = api_kind_by_gvk(str_of(group), str_of(version), str_of(kind)),
        .field_selector = str_of(field_selector),
    };
    if (which == INFORM_PODS || which == INFORM_NODES) {
        config.trim = trim_of(s->config, which);
        config.compact_bytes = which == INFORM_PODS ? TRIM_POD_BYTES : TRIM_NODE_BYTES;
    }
    config.pack = which == INFORM_PODS;
    config.packer = which == INFORM_PODS ? pod_shapes_packer(s->shapes) : NULL;
    config.optional = which == INFORM_POD_GROUPS;
    struct error err = {0};
    if (informer_new(s->client, &config, &s->informers[which], &err) != 0)
        PANIC("informer of %s: %s", kind, error_message(&err));
    struct informer_handler h = *handler;
    h.on_synced = on_synced;
    h.arg = s;
    informer_add_handler(s->informers[which], &h);
}

void scheduler_watch_all(struct scheduler *s)
{
    static const struct informer_handler pods = {
        .on_add = on_pod_add, .on_update = on_pod_update, .on_delete = on_pod_delete};
    static const struct informer_handler nodes = {
        .on_add = on_node_add, .on_update = on_node_update, .on_delete = on_node_delete};
    static const struct informer_handler namespaces = {.on_add = on_namespace_add,
                                                       .on_update = on_namespace_update};
    static const struct informer_handler groups = {.on_add = on_pod_group_add,
                                                   .on_update = on_pod_group_update,
                                                   .on_delete = on_pod_group_delete};
    static const struct informer_handler none;
    scheduler_watch(s, INFORM_PODS, "", "v1", "Pod", "status.phase!=Succeeded,status.phase!=Failed",
                    &pods);
    scheduler_watch(s, INFORM_NODES, "", "v1", "Node", NULL, &nodes);
    scheduler_watch(s, INFORM_NAMESPACES, "", "v1", "Namespace", NULL, &namespaces);
    scheduler_watch(s, INFORM_BUDGETS, "policy", "v1", "PodDisruptionBudget", NULL, &none);
    scheduler_watch(s, INFORM_POD_GROUPS, "scheduling.x-k8s.io", "v1alpha1", "PodGroup", NULL,
                    &groups);
    volumes_watch(s);
    devices_watch(s);
    for (unsigned i = 0; i < INFORMER_COUNT; i++)
        informer_start(s->informers[i]);
    s->owners = owners_start(s->client, on_synced, s);
}
