/* tainteviction.c - deletes pods from nodes with NoExecute taints that they do
 * not tolerate, or no longer: tolerationSeconds counts from when the taint was
 * added. The key is the pod. */
#include "controllers/controller.h"
#include "controllers/pods.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/client/placement.h"

static void touch_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    UNUSED(old);
    if (o != NULL && !str_empty(((const struct core_v1_pod *)o->msg)->spec.node_name))
        controller_enqueue_object(r, o);
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
    if (o == NULL || (old != NULL && same_taints(old->msg, o->msg)))
        return;
    size_t count;
    struct api_object *const *pods = informer_by_index(controller_informer(r, "", "Pod"), "node",
                                                       api_object_meta(o)->name, &count);
    for (size_t i = 0; i < count; i++)
        controller_enqueue_object(r, pods[i]);
}

/* What tolerates the taint, and for how long. */
static const struct core_v1_toleration *toleration_for(const struct core_v1_pod *p,
                                                       const struct core_v1_taint *t)
{
    for (size_t i = 0; i < p->spec.tolerations_count; i++)
        if (toleration_tolerates(&p->spec.tolerations[i], t))
            return &p->spec.tolerations[i];
    return NULL;
}

#define NEVER INT64_MAX

/* When the pod is to go, in nanoseconds of wall time: 0 at once, or NEVER. */
static int64_t eviction_time(const struct core_v1_pod *p, const struct core_v1_node *n,
                             int64_t now_ns)
{
    int64_t when = NEVER;
    for (size_t i = 0; i < n->spec.taints_count; i++) {
        const struct core_v1_taint *taint = &n->spec.taints[i];
        if (!str_eqc(taint->effect, "NoExecute"))
            continue;
        const struct core_v1_toleration *t = toleration_for(p, taint);
        if (t == NULL)
            return 0;
        if (!t->has_toleration_seconds)
            continue;
        if (t->toleration_seconds <= 0)
            return 0;
        int64_t since = taint->time_added != NULL ? time_to_ns(taint->time_added) : now_ns;
        int64_t seconds = MIN_OF(t->toleration_seconds, (int64_t)1 << 31);
        when = MIN_OF(when, since + seconds * 1000000000);
    }
    return when;
}

static void on_marked(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct core_v1_pod *pod = arg;
    if (result->code == E_NOT_FOUND || result->code == E_CONFLICT)
        return;
    reconcile_delete(c, api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")), &pod->metadata);
}

static void evict(struct reconcile *c, struct api_object *o)
{
    struct core_v1_pod *pod = reconcile_copy(c, o);
    struct event_object about = event_object_of(o);
    char now[TIME_TEXT_MAX];
    struct meta_v1_time t = time_from_ns(env_wall_ns(c->run->env));
    time_format(&t, now);
    event_record(c->run->recorder, &about, EVENT_NORMAL, "TaintManagerEviction",
                 "Marking for deletion Pod " STR_FMT, STR_ARG(c->key));
    struct client_call call = {
        .verb = CLIENT_PATCH,
        .kind = o->kind,
        .namespace_name = c->namespace_name,
        .name = c->name,
        .subresource = "status",
        .patch_type = CLIENT_PATCH_STRATEGIC,
        .raw_body = arena_printf(
            c->arena,
            "{\"metadata\":{\"uid\":\"" STR_FMT "\"},\"status\":{\"conditions\":[{\"type\":"
            "\"DisruptionTarget\",\"status\":\"True\",\"lastTransitionTime\":\"%s\","
            "\"reason\":\"DeletionByTaintManager\",\"message\":\"Taint manager: "
            "deleting due to NoExecute taint\"}]}}",
            STR_ARG(pod->metadata.uid), now),
    };
    reconcile_call(c, &call, on_marked, pod);
}

static void reconcile(struct reconcile *c)
{
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "Pod"), c->key);
    const struct core_v1_pod *pod = o != NULL ? o->msg : NULL;
    if (pod == NULL || pod->metadata.deletion_timestamp != NULL || pod_is_terminal(pod))
        return;
    struct api_object *node =
        informer_get_key(controller_informer(c->run, "", "Node"), pod->spec.node_name);
    if (node == NULL)
        return;
    int64_t now_ns = env_wall_ns(c->run->env);
    int64_t when = eviction_time(pod, node->msg, now_ns);
    if (when == NEVER)
        return;
    if (when <= now_ns)
        evict(c, o);
    else
        reconcile_again_after(c, (uint64_t)(when - now_ns) / 1000000 + 1);
}

static const struct controller_watch watches[] = {
    {"", "v1", "Pod", touch_pod},
    {"", "v1", "Node", touch_node},
    {0},
};

const struct controller controller_tainteviction = {
    .name = "taint-eviction-controller",
    .watches = watches,
    .reconcile = reconcile,
};
