/* podgc.c - removes pods that nobody else will: of nodes that are gone, being
 * deleted without ever having had a node, and ended ones beyond a threshold. */
#include "controllers/controller.h"
#include "controllers/eviction_metrics.h"
#include "controllers/pods.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/client/labels.h"

#define QUARANTINE_MS 40000u /* A node missing from the cache may have just come. */

struct podgc {
    struct map missing; /* node name -> since when, as a number */
};

static const struct api_kind *pod_kind(void)
{
    return api_kind_by_gvk(STR(""), STR("v1"), STR("Pod"));
}

static void tick(struct controller_run *r)
{
    controller_enqueue(r, STR("all"));
}

/* --- removing --------------------------------------------------------------------------- */

/* A pod on its way out. */
struct removal {
    struct core_v1_pod *pod;
    const char *reason; /* As metrics have it. */
};

static void on_deleted(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct removal *x = arg;
    if (result->code == 0 || result->code == E_NOT_FOUND) {
        metrics_pod_collected(x->pod->metadata.namespace, x->reason);
        return;
    }
    metrics_pod_not_collected(x->pod->metadata.namespace, x->reason);
    log_warning("podgc: " STR_FMT "/" STR_FMT ": %s", STR_ARG(x->pod->metadata.namespace),
                STR_ARG(x->pod->metadata.name), result->message);
    reconcile_fail(c);
}

static void force_delete(struct reconcile *c, struct removal *x)
{
    const struct core_v1_pod *p = x->pod;
    struct client_call call = {
        .verb = CLIENT_DELETE,
        .kind = pod_kind(),
        .namespace_name = p->metadata.namespace,
        .name = p->metadata.name,
        .uid_precondition = p->metadata.uid,
        .has_grace_period = true,
        .grace_period_s = 0,
    };
    reconcile_call(c, &call, on_deleted, x);
}

static void on_failed_marked(struct reconcile *c, const struct client_result *result, void *arg)
{
    if (result->code == 0)
        force_delete(c, arg);
    else if (result->code != E_NOT_FOUND && result->code != E_CONFLICT)
        reconcile_fail(c); /* Not to be deleted before its end is written down. */
}

/* A pod that still counts as running is marked as failed first, so that its
 * owner sees an end and not a disappearance. message: why it was disrupted; NULL: it was not. */
static void remove_pod(struct reconcile *c, const struct api_object *o, const char *reason,
                       const char *message)
{
    struct core_v1_pod *p = reconcile_copy(c, o);
    struct removal *x = ARENA_NEW(c->arena, struct removal);
    *x = (struct removal){p, reason};
    if (pod_is_terminal(p)) {
        force_delete(c, x);
        return;
    }
    struct str conditions = STR("");
    if (message != NULL) {
        char now[TIME_TEXT_MAX];
        struct meta_v1_time t = time_from_ns(env_wall_ns(c->run->env));
        time_format(&t, now);
        conditions = arena_printf(c->arena,
                                  ",\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":"
                                  "\"True\",\"lastTransitionTime\":\"%s\",\"reason\":"
                                  "\"DeletionByPodGC\",\"message\":\"%s\"}]",
                                  now, message);
    }
    struct client_call call = {
        .verb = CLIENT_PATCH,
        .kind = pod_kind(),
        .namespace_name = p->metadata.namespace,
        .name = p->metadata.name,
        .subresource = "status",
        .patch_type = CLIENT_PATCH_STRATEGIC,
        .raw_body = arena_printf(c->arena,
                                 "{\"metadata\":{\"uid\":\"" STR_FMT
                                 "\"},\"status\":{\"phase\":\"Failed\"" STR_FMT "}}",
                                 STR_ARG(p->metadata.uid), STR_ARG(conditions)),
    };
    reconcile_call(c, &call, on_failed_marked, x);
}

/* --- vanished nodes ----------------------------------------------------------------------- */

static void on_node_checked(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct core_v1_pod *seen = arg;
    if (result->code != E_NOT_FOUND)
        return;
    struct api_object *o = informer_get(controller_informer(c->run, "", "Pod"),
                                        seen->metadata.namespace, seen->metadata.name);
    if (o == NULL || !str_eq(api_object_meta(o)->uid, seen->metadata.uid))
        return;
    log_info("pod " STR_FMT "/" STR_FMT ": its node " STR_FMT " is gone",
             STR_ARG(seen->metadata.namespace), STR_ARG(seen->metadata.name),
             STR_ARG(seen->spec.node_name));
    remove_pod(c, o, "orphaned", "PodGC: node no longer exists");
}

static bool is_quarantined(struct reconcile *c, struct str node)
{
    struct podgc *g = c->run->state;
    uint64_t now = env_now_ms(c->run->env);
    uint64_t since = (uint64_t)(uintptr_t)map_get(&g->missing, node);
    if (since == 0) {
        map_set(&g->missing, node, (void *)(uintptr_t)MAX_OF(now, 1u));
        return true;
    }
    return now - since < QUARANTINE_MS;
}

/* There is no such node, and was none for long enough. */
static bool is_gone(struct reconcile *c, struct str node)
{
    struct podgc *g = c->run->state;
    if (informer_get_key(controller_informer(c->run, "", "Node"), node) == NULL)
        return !is_quarantined(c, node);
    map_remove(&g->missing, node);
    return false;
}

static void check_node_of(struct reconcile *c, struct api_object *o)
{
    const struct core_v1_pod *p = o->msg;
    struct client_call call = {
        .verb = CLIENT_GET,
        .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Node")),
        .name = p->spec.node_name,
    };
    reconcile_call(c, &call, on_node_checked, reconcile_copy(c, o));
}

static bool is_out_of_service(struct reconcile *c, struct str node)
{
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "Node"), node);
    const struct core_v1_node *n = o != NULL ? o->msg : NULL;
    if (n == NULL)
        return false;
    bool tainted = false, ready = false;
    for (size_t i = 0; i < n->spec.taints_count; i++)
        tainted |= str_eqc(n->spec.taints[i].key, "node.kubernetes.io/out-of-service");
    for (size_t i = 0; i < n->status.conditions_count; i++)
        ready |= str_eqc(n->status.conditions[i].type, "Ready") &&
                 str_eqc(n->status.conditions[i].status, "True");
    return tainted && !ready;
}

/* --- ended pods --------------------------------------------------------------------------- */

static int by_order(const void *x, const void *y)
{
    const struct api_object *a = *(struct api_object *const *)x,
                            *b = *(struct api_object *const *)y;
    return pod_compare_ended(a->msg, b->msg);
}

static void trim_terminated(struct reconcile *c, struct api_object **ended, size_t count)
{
    size_t surplus = count - (size_t)controller_options()->terminated_pod_threshold;
    log_info("removing %zu of %zu ended pods", surplus, count);
    qsort(ended, count, sizeof(struct api_object *), by_order);
    for (size_t i = 0; i < surplus; i++)
        remove_pod(c, ended[i], "terminated", NULL);
}

static void look_at_ended(struct reconcile *c, const struct informer *pods)
{
    int64_t threshold = controller_options()->terminated_pod_threshold;
    size_t count = informer_index_count(pods, "ended", STR(""));
    if (threshold <= 0 || count <= (size_t)threshold)
        return;
    struct api_object *const *all = informer_by_index(pods, "ended", STR(""), &count);
    trim_terminated(c, arena_memdup(c->arena, all, count * sizeof(struct api_object *)), count);
}

static void look_at_unscheduled(struct reconcile *c, const struct informer *pods)
{
    AUTO_WALK all = informer_walk_index(pods, "node", STR(""));
    for (struct api_object *p; (p = informer_walk_next(&all)) != NULL;) {
        if (api_object_meta(p)->deletion_timestamp == NULL)
            continue;
        informer_walk_keep(&all);
        remove_pod(c, p, "unscheduled", NULL);
    }
}

/* Pods of nodes that are there and well are not looked at. */
static void look_at_node(struct reconcile *c, const struct informer *pods, struct str node)
{
    bool gone = is_gone(c, node), out = !gone && is_out_of_service(c, node);
    size_t count;
    if (!gone && !out)
        return;
    struct api_object *const *all = informer_by_index(pods, "node", node, &count);
    for (size_t i = 0; i < count; i++) {
        if (gone)
            check_node_of(c, all[i]);
        else if (api_object_meta(all[i])->deletion_timestamp != NULL)
            remove_pod(c, all[i], "out-of-service", NULL);
    }
}

static void reconcile(struct reconcile *c)
{
    const struct informer *pods = controller_informer(c->run, "", "Pod");
    size_t pos = 0;
    struct str node;
    while (informer_index_next(pods, "node", &pos, &node))
        if (!str_empty(node))
            look_at_node(c, pods, node);
    look_at_unscheduled(c, pods);
    look_at_ended(c, pods);
}

static void init(struct controller_run *r)
{
    struct podgc *g = xzalloc(sizeof(*g));
    map_init(&g->missing);
    r->state = g;
}

static void done(struct controller_run *r)
{
    struct podgc *g = r->state;
    map_done(&g->missing);
    free(g);
}

static const struct controller_watch watches[] = {
    {"", "v1", "Pod", NULL},
    {"", "v1", "Node", NULL},
    {0},
};

const struct controller controller_podgc = {
    .name = "pod-garbage-collector-controller",
    .workers = 1,
    .watches = watches,
    .init = init,
    .done = done,
    .reconcile = reconcile,
    .tick_ms = 20000,
    .tick = tick,
};
