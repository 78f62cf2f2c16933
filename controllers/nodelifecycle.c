/* nodelifecycle.c - notices nodes that fall silent, and says so by conditions
 * and taints.
 *
 * A node lives as long as its lease in kube-node-lease or its status changes.
 * After --node-monitor-grace-period of silence its conditions become Unknown,
 * its pods not ready, and it is tainted: NoSchedule at once, NoExecute at
 * --node-eviction-rate per zone. A zone in which most nodes are lost slows
 * down or stops: then the network is the likelier culprit; when no zone has a
 * ready node left, NoExecute taints are even taken off. Silence is measured
 * with our own clock from when a change was seen; nothing is declared lost
 * within the first grace period after we begin. */
#include "controllers/controller.h"
#include "controllers/eviction_metrics.h"
#include "controllers/node_zones.h"
#include "controllers/pods.h"

#include "api/coordination_v1.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/client/labels.h"

#define LEASE_NAMESPACE "kube-node-lease"
#define NS_PER_MS 1000000
#define TAINT_NOT_READY "node.kubernetes.io/not-ready"
#define TAINT_UNREACHABLE "node.kubernetes.io/unreachable"

struct health {
    uint64_t seen_ms; /* Last sign of life. */
    char *lease_rv;
    char *heartbeat; /* Status' heartbeat times, joined. */
};

struct zone {
    struct zone_count nodes;
    enum zone_state state;
    double tokens;
    uint64_t tokens_at_ms;
    double rate; /* NoExecute taints per second now. */
};

struct lifecycle {
    struct map healths; /* node name -> struct health */
    struct map zones;   /* zone name -> struct zone */
    struct event_recorder *recorder;
    bool all_disrupted; /* No zone has a ready node: nothing is evicted, no pod has to go. */
};

static const struct api_kind *node_kind(void)
{
    return api_kind_by_gvk(STR(""), STR("v1"), STR("Node"));
}

static const struct api_kind *pod_kind(void)
{
    return api_kind_by_gvk(STR(""), STR("v1"), STR("Pod"));
}

static const struct core_v1_node_condition *condition_of(const struct core_v1_node *n,
                                                         const char *type)
{
    for (size_t i = 0; i < n->status.conditions_count; i++)
        if (str_eqc(n->status.conditions[i].type, type))
            return &n->status.conditions[i];
    return NULL;
}

static bool is_ready(const struct core_v1_node *n)
{
    const struct core_v1_node_condition *c = condition_of(n, "Ready");
    return c != NULL && str_eqc(c->status, "True");
}

/* --- signs of life -------------------------------------------------------------------- */

static struct health *health_of(struct controller_run *r, struct str name)
{
    struct lifecycle *l = r->state;
    struct health *h = map_get(&l->healths, name);
    if (h == NULL) {
        h = xzalloc(sizeof(*h));
        h->seen_ms = env_now_ms(r->env);
        h->lease_rv = xstrdup("");
        h->heartbeat = xstrdup("");
        map_set(&l->healths, name, h);
    }
    return h;
}

static void health_free(struct health *h)
{
    if (h == NULL)
        return;
    free(h->lease_rv);
    free(h->heartbeat);
    free(h);
}

static void note_life(struct controller_run *r, struct health *h, char **mark, struct str value)
{
    if (str_eqc(value, *mark))
        return;
    free(*mark);
    *mark = xstrndup(str_c(value), value.len);
    h->seen_ms = env_now_ms(r->env);
}

/* Our own writes change conditions but never heartbeat times. */
static void note_status(struct controller_run *r, const struct core_v1_node *n)
{
    AUTO_ARENA *a = arena_new(512);
    struct str all = STR_NULL;
    for (size_t i = 0; i < n->status.conditions_count; i++)
        all = arena_printf(a, STR_FMT "%lld,", STR_ARG(all),
                           (long long)n->status.conditions[i].last_heartbeat_time.seconds);
    struct health *h = health_of(r, n->metadata.name);
    note_life(r, h, &h->heartbeat, all);
}

static void touch_node(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    struct lifecycle *l = r->state;
    struct event_object about = event_object_of(o != NULL ? o : old);
    if (o == NULL) {
        health_free(map_remove(&l->healths, api_object_meta(old)->name));
        event_record(l->recorder, &about, EVENT_NORMAL, "RemovingNode",
                     "Node " STR_FMT " event: Removing Node " STR_FMT " from Controller",
                     STR_ARG(about.name), STR_ARG(about.name));
        return;
    }
    if (!map_has(&l->healths, api_object_meta(o)->name))
        event_record(l->recorder, &about, EVENT_NORMAL, "RegisteredNode",
                     "Node " STR_FMT " event: Registered Node " STR_FMT " in Controller",
                     STR_ARG(about.name), STR_ARG(about.name));
    note_status(r, o->msg);
    controller_enqueue_object(r, o);
}

static void touch_lease(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    UNUSED(old);
    if (o == NULL || !str_eqc(api_object_meta(o)->namespace, LEASE_NAMESPACE))
        return;
    const struct meta_v1_object_meta *m = api_object_meta(o);
    struct health *h = map_get(&((struct lifecycle *)r->state)->healths, m->name);
    if (h != NULL)
        note_life(r, h, &h->lease_rv, m->resource_version);
}

/* --- zones ------------------------------------------------------------------------------ */

static struct zone *zone_of(struct controller_run *r, const struct core_v1_node *n)
{
    struct lifecycle *l = r->state;
    AUTO_ARENA *a = arena_new(256);
    struct str name = zone_name(a, n);
    struct zone *z = map_get(&l->zones, name);
    if (z == NULL) {
        z = xzalloc(sizeof(*z));
        z->tokens = 1;
        z->tokens_at_ms = env_now_ms(r->env);
        map_set(&l->zones, name, z);
    }
    return z;
}

static void count_nodes(struct controller_run *r)
{
    struct lifecycle *l = r->state;
    const struct informer *nodes = controller_informer(r, "", "Node");
    size_t pos = 0;
    void *v;
    while (map_next(&l->zones, &pos, NULL, &v))
        ((struct zone *)v)->nodes = (struct zone_count){0};
    struct api_object *o;
    pos = 0;
    while ((o = informer_next(nodes, &pos)) != NULL) {
        if (label_get(api_object_meta(o), LABEL_EXCLUDE_DISRUPTION) != NULL)
            continue;
        struct zone_count *n = &zone_of(r, o->msg)->nodes;
        if (is_ready(o->msg))
            n->ready++;
        else
            n->lost++;
    }
}

/* After everything was lost, every node has its time anew to show up. */
static void forgive_silence(struct controller_run *r)
{
    struct lifecycle *l = r->state;
    size_t pos = 0;
    void *v;
    log_info("nodes are back: leaving master disruption mode");
    while (map_next(&l->healths, &pos, NULL, &v))
        ((struct health *)v)->seen_ms = env_now_ms(r->env);
}

/* Counts nodes per zone and sets the zones' rates. */
static void judge_zones(struct controller_run *r)
{
    struct lifecycle *l = r->state;
    const struct manager_options *o = controller_options();
    bool all_disrupted = true, any = false;
    size_t pos = 0;
    void *v;
    count_nodes(r);
    while (map_next(&l->zones, &pos, NULL, &v)) {
        struct zone *z = v;
        z->state = zone_state_of(&z->nodes, o->unhealthy_zone_threshold);
        if (z->nodes.ready + z->nodes.lost == 0)
            continue;
        any = true;
        all_disrupted &= z->state == ZONE_FULL_DISRUPTION;
    }
    all_disrupted &= any;
    if (all_disrupted && !l->all_disrupted)
        log_warning("no zone has a ready node: nothing is evicted");
    else if (!all_disrupted && l->all_disrupted)
        forgive_silence(r);
    l->all_disrupted = all_disrupted;
    struct str name;
    pos = 0;
    while (map_next(&l->zones, &pos, &name, &v)) {
        struct zone *z = v;
        metrics_zone(name, &z->nodes);
        z->rate = all_disrupted ? 0 : zone_rate(z->state, z->nodes.ready + z->nodes.lost, o);
    }
}

/* May one more node of the zone be emptied now? */
static bool take_token(struct controller_run *r, struct zone *z)
{
    uint64_t now = env_now_ms(r->env);
    z->tokens += (double)(now - z->tokens_at_ms) / 1000.0 * z->rate;
    z->tokens = MIN_OF(z->tokens, 1.0);
    z->tokens_at_ms = now;
    if (z->rate <= 0 || z->tokens < 1)
        return false;
    z->tokens -= 1;
    return true;
}

static void tick(struct controller_run *r)
{
    judge_zones(r);
    const struct informer *nodes = controller_informer(r, "", "Node");
    size_t pos = 0;
    struct api_object *o;
    while ((o = informer_next(nodes, &pos)) != NULL)
        controller_enqueue_object(r, o);
}

/* --- taints ------------------------------------------------------------------------------ */

static bool same_taint(const struct core_v1_taint *x, const char *key, const char *effect)
{
    return str_eqc(x->key, key) && str_eqc(x->effect, effect);
}

static bool has_taint(const struct core_v1_node *n, const char *key, const char *effect)
{
    for (size_t i = 0; i < n->spec.taints_count; i++)
        if (same_taint(&n->spec.taints[i], key, effect))
            return true;
    return false;
}

/* Adds or removes a taint of the copy; true when that changed anything. */
static bool set_taint(struct reconcile *c, struct core_v1_node *n, const char *key,
                      const char *effect, bool on)
{
    if (has_taint(n, key, effect) == on)
        return false;
    struct core_v1_taint *list =
        ARENA_ARRAY(c->arena, struct core_v1_taint, n->spec.taints_count + 1);
    size_t kept = 0;
    for (size_t i = 0; i < n->spec.taints_count; i++)
        if (!same_taint(&n->spec.taints[i], key, effect))
            list[kept++] = n->spec.taints[i];
    if (on) {
        struct meta_v1_time now = time_from_ns(env_wall_ns(c->run->env));
        list[kept++] = (struct core_v1_taint){
            .key = str_of(key),
            .effect = str_of(effect),
            .time_added = arena_memdup(c->arena, &now, sizeof(now)),
        };
    }
    n->spec.taints = list;
    n->spec.taints_count = kept;
    return true;
}

static bool condition_is(const struct core_v1_node *n, const char *type, const char *status)
{
    const struct core_v1_node_condition *c = condition_of(n, type);
    return c != NULL && str_eqc(c->status, status);
}

static bool set_schedule_taints(struct reconcile *c, struct core_v1_node *n)
{
    static const struct {
        const char *condition, *status, *key;
    } rules[] = {
        {"Ready", "False", TAINT_NOT_READY},
        {"Ready", "Unknown", TAINT_UNREACHABLE},
        {"MemoryPressure", "True", "node.kubernetes.io/memory-pressure"},
        {"DiskPressure", "True", "node.kubernetes.io/disk-pressure"},
        {"PIDPressure", "True", "node.kubernetes.io/pid-pressure"},
        {"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"},
    };
    bool changed = false;
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
        changed |= set_taint(c, n, rules[i].key, "NoSchedule",
                             condition_is(n, rules[i].condition, rules[i].status));
    changed |=
        set_taint(c, n, "node.kubernetes.io/unschedulable", "NoSchedule", n->spec.unschedulable);
    return changed;
}

static bool set_execute_taints(struct reconcile *c, struct core_v1_node *n)
{
    const struct lifecycle *l = c->run->state;
    bool not_ready = !l->all_disrupted && condition_is(n, "Ready", "False");
    bool unreachable = !l->all_disrupted && condition_is(n, "Ready", "Unknown");
    bool tainted =
        has_taint(n, TAINT_NOT_READY, "NoExecute") || has_taint(n, TAINT_UNREACHABLE, "NoExecute");
    /* From one to the other costs nothing: its pods are being evicted already. */
    if ((not_ready || unreachable) && !tainted) {
        if (!take_token(c->run, zone_of(c->run, n)))
            return false;
        metrics_zone_evicted(zone_name(c->arena, n));
    }
    bool changed = set_taint(c, n, TAINT_NOT_READY, "NoExecute", not_ready);
    changed |= set_taint(c, n, TAINT_UNREACHABLE, "NoExecute", unreachable);
    return changed;
}

/* --- silence ------------------------------------------------------------------------------ */

static bool is_silent(struct reconcile *c, const struct core_v1_node *n)
{
    const struct manager_options *o = controller_options();
    /* Who never told anything may still be starting. */
    bool never = condition_of(n, "Ready") == NULL;
    uint64_t grace_ms =
        (uint64_t)(never ? o->node_startup_grace_ns : o->node_monitor_grace_ns) / NS_PER_MS;
    return env_now_ms(c->run->env) - health_of(c->run, c->name)->seen_ms > grace_ms;
}

/* Turns the four conditions the kubelet keeps to Unknown; true when that is new. */
static bool set_unknown(struct reconcile *c, struct core_v1_node *n)
{
    static const char *const types[] = {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"};
    struct meta_v1_time now = time_from_ns(env_wall_ns(c->run->env));
    bool changed = false;
    struct core_v1_node_condition *list = ARENA_ARRAY(
        c->arena, struct core_v1_node_condition, n->status.conditions_count + ARRAY_SIZE(types));
    if (n->status.conditions_count != 0)
        memcpy(list, n->status.conditions, n->status.conditions_count * sizeof(*list));
    n->status.conditions = list;
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        struct core_v1_node_condition *x =
            (struct core_v1_node_condition *)condition_of(n, types[i]);
        if (x != NULL && str_eqc(x->status, "Unknown"))
            continue;
        changed = true;
        if (x == NULL) {
            list[n->status.conditions_count++] = (struct core_v1_node_condition){
                .type = str_of(types[i]),
                .status = STR("Unknown"),
                .reason = STR("NodeStatusNeverUpdated"),
                .message = STR("Kubelet never posted node status."),
                .last_heartbeat_time = n->metadata.creation_timestamp,
                .last_transition_time = now,
            };
            continue;
        }
        x->status = STR("Unknown");
        x->reason = STR("NodeStatusUnknown");
        x->message = STR("Kubelet stopped posting node status.");
        x->last_transition_time = now;
    }
    return changed;
}

/* The cache lacks parts of a node's status (manager.c): conditions alone are sent, if nobody wrote
 * meanwhile. */
static void write_conditions(struct reconcile *c, const struct core_v1_node *n)
{
    AUTO_BUF list = BUF_INIT;
    for (size_t i = 0; i < n->status.conditions_count; i++) {
        if (i != 0)
            buf_puts(&list, ",");
        api_json_encode(&core_v1_node_condition_msg, &n->status.conditions[i], STR_NULL, STR_NULL,
                        &list);
    }
    struct client_call call = {
        .verb = CLIENT_PATCH,
        .kind = node_kind(),
        .name = n->metadata.name,
        .subresource = "status",
        .patch_type = CLIENT_PATCH_STRATEGIC,
        .raw_body =
            arena_printf(c->arena,
                         "{\"metadata\":{\"uid\":\"" STR_FMT "\",\"resourceVersion\":\"" STR_FMT
                         "\"},\"status\":{\"conditions\":[" STR_FMT "]}}",
                         STR_ARG(n->metadata.uid), STR_ARG(n->metadata.resource_version),
                         STR_ARG(buf_str(&list))),
    };
    reconcile_call(c, &call, NULL, NULL);
}

static void mark_pod_not_ready(struct reconcile *c, struct api_object *o)
{
    struct lifecycle *l = c->run->state;
    const struct core_v1_pod *pod = o->msg;
    if (!pod_is_ready(pod))
        return;
    char now[TIME_TEXT_MAX];
    struct meta_v1_time t = time_from_ns(env_wall_ns(c->run->env));
    time_format(&t, now);
    struct client_call call = {
        .verb = CLIENT_PATCH,
        .kind = pod_kind(),
        .namespace_name = pod->metadata.namespace,
        .name = pod->metadata.name,
        .subresource = "status",
        .patch_type = CLIENT_PATCH_STRATEGIC,
        .raw_body = arena_printf(c->arena,
                                 "{\"metadata\":{\"uid\":\"" STR_FMT
                                 "\"},\"status\":{\"conditions\":[{\"type\":"
                                 "\"Ready\",\"status\":\"False\",\"lastTransitionTime\":\"%s\"}]}}",
                                 STR_ARG(pod->metadata.uid), now),
    };
    reconcile_call(c, &call, NULL, NULL);
    struct event_object about = event_object_of(o);
    event_record(l->recorder, &about, EVENT_WARNING, "NodeNotReady", "Node is not ready");
}

static void mark_pods_not_ready(struct reconcile *c)
{
    size_t count;
    struct api_object *const *pods =
        informer_by_index(controller_informer(c->run, "", "Pod"), "node", c->name, &count);
    for (size_t i = 0; i < count; i++)
        mark_pod_not_ready(c, pods[i]);
}

static void reconcile(struct reconcile *c)
{
    struct lifecycle *l = c->run->state;
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "Node"), c->key);
    if (o == NULL)
        return;
    struct core_v1_node *n = reconcile_copy(c, o);
    if (is_silent(c, n) && set_unknown(c, n)) {
        struct event_object about = event_object_of(o);
        log_info("node " STR_FMT " is silent; its status is unknown now", STR_ARG(c->name));
        if (is_ready(o->msg))
            event_record(l->recorder, &about, EVENT_NORMAL, "NodeNotReady",
                         "Node " STR_FMT " status is now: NodeNotReady", STR_ARG(c->name));
        write_conditions(c, n);
        return; /* The taints follow when the cache shows the conditions. */
    }
    if (!is_ready(n))
        mark_pods_not_ready(c);
    bool changed = set_schedule_taints(c, n);
    changed |= set_execute_taints(c, n);
    if (changed)
        reconcile_update(c, node_kind(), n, NULL);
}

/* --- life ---------------------------------------------------------------------------------- */

static void init(struct controller_run *r)
{
    struct lifecycle *l = xzalloc(sizeof(*l));
    map_init(&l->healths);
    map_init(&l->zones);
    l->recorder = event_recorder_new(r->client, "node-controller", NULL);
    r->state = l;
}

static void done(struct controller_run *r)
{
    struct lifecycle *l = r->state;
    size_t pos = 0;
    void *v;
    while (map_next(&l->healths, &pos, NULL, &v))
        health_free(v);
    pos = 0;
    while (map_next(&l->zones, &pos, NULL, &v))
        free(v);
    map_done(&l->healths);
    map_done(&l->zones);
    event_recorder_close(l->recorder);
    free(l);
}

static uint32_t monitor_period_ms(void)
{
    return (uint32_t)MAX_OF(controller_options()->node_monitor_period_ns / NS_PER_MS, (int64_t)1);
}

static const struct controller_watch watches[] = {
    {"", "v1", "Node", touch_node},
    {"coordination.k8s.io", "v1", "Lease", touch_lease},
    {"", "v1", "Pod", NULL},
    {0},
};

const struct controller controller_nodelifecycle = {
    .name = "node-lifecycle-controller",
    .watches = watches,
    .init = init,
    .done = done,
    .reconcile = reconcile,
    .tick_period_ms = monitor_period_ms,
    .tick = tick,
};
