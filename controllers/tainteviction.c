/* tainteviction.c - deletes pods from nodes with NoExecute taints that they do
 * not tolerate, or no longer; tainteviction_plan.c says when. The key is the pod. */
#include "controllers/controller.h"
#include "controllers/eviction_metrics.h"
#include "controllers/pod_disrupt.h"
#include "controllers/tainteviction_plan.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/map.h"

static bool evicts(const struct core_v1_node *n)
{
    for (size_t i = 0; n != NULL && i < n->spec.taints_count; i++)
        if (str_eqc(n->spec.taints[i].effect, "NoExecute"))
            return true;
    return false;
}

/* Most nodes have no such taint, and their pods nothing to be told here: a node that gets one, or
 * comes with one, brings its pods. */
static void touch_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    AUTO_ARENA *a = arena_new(256);
    const struct api_object *any = o != NULL ? o : old;
    const struct core_v1_pod *pod = any->msg;
    struct str key = informer_key(a, any);
    if (str_empty(pod->spec.node_name))
        return;
    struct api_object *node =
        informer_get_key(controller_informer(r, "", "Node"), pod->spec.node_name);
    if (map_has(r->state, key) || (node != NULL && evicts(node->msg)))
        controller_enqueue(r, key);
}

static bool same_taints(const struct core_v1_node *x, const struct core_v1_node *y)
{
    bool same = x->spec.taints_count == y->spec.taints_count;
    for (size_t i = 0; same && i < x->spec.taints_count; i++)
        same = api_msg_equal(&core_v1_taint_msg, &x->spec.taints[i], &y->spec.taints[i]);
    return same;
}

static void touch_node(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    const struct core_v1_node *before = old != NULL ? old->msg : NULL;
    if (o == NULL || (before != NULL && same_taints(before, o->msg)) ||
        (!evicts(before) && !evicts(o->msg)))
        return;
    size_t count;
    struct api_object *const *pods = informer_by_index(controller_informer(r, "", "Pod"), "node",
                                                       api_object_meta(o)->name, &count);
    for (size_t i = 0; i < count; i++)
        controller_enqueue_object(r, pods[i]);
}

/* The pod stays after all. */
static void cancel(struct reconcile *c, const struct api_object *o)
{
    if (map_remove(c->run->state, c->key) == NULL || o == NULL)
        return;
    struct event_object about = event_object_of(o);
    event_record(c->run->recorder, &about, EVENT_NORMAL, "TaintManagerEviction",
                 "Cancelling deletion of Pod " STR_FMT, STR_ARG(c->key));
}

static void reconcile(struct reconcile *c)
{
    struct map *waiting = c->run->state;
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "Pod"), c->key);
    const struct core_v1_pod *pod = o != NULL ? o->msg : NULL;
    if (pod == NULL || pod->metadata.deletion_timestamp != NULL) {
        cancel(c, NULL);
        return;
    }
    struct api_object *node =
        informer_get_key(controller_informer(c->run, "", "Node"), pod->spec.node_name);
    if (node == NULL)
        return;
    int64_t now_ns = env_wall_ns(c->run->env);
    int64_t when = taint_eviction_time(pod, node->msg, now_ns);
    if (when == EVICTION_NEVER) {
        cancel(c, o);
    } else if (when <= now_ns) {
        struct event_object about = event_object_of(o);
        map_remove(waiting, c->key);
        event_record(c->run->recorder, &about, EVENT_NORMAL, "TaintManagerEviction",
                     "Marking for deletion Pod " STR_FMT, STR_ARG(c->key));
        metrics_pod_evicted(false, when != 0 ? (double)(now_ns - when) / 1e9 : 0);
        pod_disrupt(c, o, "DeletionByTaintManager",
                    "Taint manager: deleting due to NoExecute taint");
    } else {
        map_set(waiting, c->key, waiting);
        reconcile_again_after(c, (uint64_t)(when - now_ns) / 1000000 + 1);
    }
}

/* The keys of pods that are to go later. */
static void init(struct controller_run *r)
{
    r->state = xzalloc(sizeof(struct map));
    map_init(r->state);
}

static void done(struct controller_run *r)
{
    map_done(r->state);
    free(r->state);
}

static const struct controller_watch watches[] = {
    {"", "v1", "Pod", touch_pod},
    {"", "v1", "Node", touch_node},
    {0},
};

const struct controller controller_tainteviction = {
    .name = "taint-eviction-controller",
    .watches = watches,
    .init = init,
    .done = done,
    .reconcile = reconcile,
};
