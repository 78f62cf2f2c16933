/* hpa.c - HorizontalPodAutoscaler: every --horizontal-pod-autoscaler-sync-period asks the metrics
 * APIs how busy a target's pods are, and sets its scale.
 *
 *   target's scale -> metrics, all at once -> replicas (hpa_replicas) -> limits (hpa_limits) ->
 * scale, status */
#include "controllers/controller.h"
#include "controllers/hpa_limits.h"
#include "controllers/hpa_source.h"
#include "controllers/kinds.h"

#include "api/autoscaling_v1.h"
#include "api/autoscaling_v2.h"
#include "lib/api/codec.h"
#include "lib/api/quantity.h"
#include "lib/api/scheme.h"
#include "lib/api/selector.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/map.h"

#include <stdlib.h>

#define NS_PER_S 1000000000

typedef struct autoscaling_v2_horizontal_pod_autoscaler hpa_object;

/* What is remembered of one autoscaler between looks. */
struct memory {
    struct hpa_history history;
    char *selector; /* Of its target's pods, as last seen; NULL: never. */
};

struct state {
    struct map memories; /* By key. */
    struct kinds *kinds;
};

/* One look at one autoscaler. */
struct look {
    const struct api_kind *kind;
    const hpa_object *before; /* As it was read. */
    hpa_object *hpa;          /* Its status is what is to be written. */
    struct memory *memory;
    struct event_object about;
    struct hpa_target target;
    struct client_resource resource; /* Of the target. */
    struct autoscaling_v1_scale *scale;
    struct str scale_error;
    struct api_label_selector selector;
    struct hpa_source *sources;
    int32_t desired;
    const char *reason; /* Of a change of scale. */
    struct str update_error;
};

static int64_t now_ms(const struct reconcile *c)
{
    return (int64_t)env_now_ms(c->run->env);
}

/* --- state ------------------------------------------------------------------------------- */
static void init(struct controller_run *r)
{
    struct state *s = xzalloc(sizeof(*s));
    map_init(&s->memories);
    s->kinds = kinds_new(r);
    r->state = s;
}

static void forget(struct memory *m)
{
    if (m == NULL)
        return;
    hpa_history_done(&m->history);
    free(m->selector);
    free(m);
}

static void done(struct controller_run *r)
{
    struct state *s = r->state;
    struct str key;
    void *m;
    size_t pos = 0;
    while (map_next(&s->memories, &pos, &key, &m))
        forget(m);
    map_done(&s->memories);
    kinds_free(s->kinds);
    free(s);
}

static void touch(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    /* Changes of status are our own. */
    if (old == NULL || o == NULL ||
        !api_msg_equal(&autoscaling_v2_horizontal_pod_autoscaler_spec_msg,
                       &((const hpa_object *)old->msg)->spec, &((const hpa_object *)o->msg)->spec))
        controller_enqueue_object(r, o != NULL ? o : old);
}

/* --- conditions and status ------------------------------------------------------------------ */
static void set_condition(struct reconcile *c, const char *type, bool status, const char *reason,
                          struct str message)
{
    struct look *l = c->state;
    struct autoscaling_v2_horizontal_pod_autoscaler_status *s = &l->hpa->status;
    struct autoscaling_v2_horizontal_pod_autoscaler_condition *x = NULL;
    for (size_t i = 0; i < s->conditions_count; i++)
        if (str_eqc(s->conditions[i].type, type))
            x = &s->conditions[i];
    if (x == NULL) {
        size_t cap = s->conditions_count;
        s->conditions = arena_grow(c->arena, s->conditions, s->conditions_count, &cap, sizeof(*x));
        x = &s->conditions[s->conditions_count++];
        *x = (struct autoscaling_v2_horizontal_pod_autoscaler_condition){.type = str_of(type)};
    }
    struct str text = status ? STR("True") : STR("False");
    if (!str_eq(x->status, text))
        x->last_transition_time = (struct meta_v1_time){.seconds = controller_now_s(c->run)};
    x->status = text;
    x->reason = str_of(reason);
    x->message = message;
}

static void write_status(struct reconcile *c)
{
    struct look *l = c->state;
    struct autoscaling_v2_horizontal_pod_autoscaler_status *s = &l->hpa->status;
    s->has_observed_generation = true;
    s->observed_generation = l->hpa->metadata.generation;
    if (!api_msg_equal(&autoscaling_v2_horizontal_pod_autoscaler_status_msg, s, &l->before->status))
        reconcile_update(c, l->kind, l->hpa, "status");
}

static void warn(struct reconcile *c, const char *reason, struct str message)
{
    struct look *l = c->state;
    event_record(c->run->recorder, &l->about, EVENT_WARNING, reason, STR_FMT, STR_ARG(message));
}

static void no_scale(struct reconcile *c, struct str why)
{
    warn(c, "FailedGetScale", why);
    set_condition(
        c, "AbleToScale", false, "FailedGetScale",
        arena_printf(c->arena,
                     "the HPA controller was unable to get the target's current scale: " STR_FMT,
                     STR_ARG(why)));
    write_status(c);
}

/* --- finishing -----------------------------------------------------------------------------------
 */
static void finish(struct reconcile *c)
{
    struct look *l = c->state;
    struct autoscaling_v2_horizontal_pod_autoscaler_status *s = &l->hpa->status;
    s->current_replicas = l->target.spec_replicas;
    s->desired_replicas = l->desired;
    write_status(c);
}

static void on_scaled(struct reconcile *c)
{
    struct look *l = c->state;
    int32_t from = l->target.spec_replicas;
    if (l->update_error.len != 0) {
        event_record(c->run->recorder, &l->about, EVENT_WARNING, "FailedRescale",
                     "New size: %d; reason: %s; error: " STR_FMT, l->desired, l->reason,
                     STR_ARG(l->update_error));
        set_condition(
            c, "AbleToScale", false, "FailedUpdateScale",
            arena_printf(c->arena,
                         "the HPA controller was unable to update the target scale: " STR_FMT,
                         STR_ARG(l->update_error)));
        l->hpa->status.current_replicas = from;
        write_status(c);
        return;
    }
    set_condition(c, "AbleToScale", true, "SucceededRescale",
                  arena_printf(c->arena,
                               "the HPA controller was able to update the target scale to %d",
                               l->desired));
    event_record(c->run->recorder, &l->about, EVENT_NORMAL, "SuccessfulRescale",
                 "New size: %d; reason: %s", l->desired, l->reason);
    hpa_history_scaled(&l->memory->history, from, l->desired, now_ms(c));
    l->hpa->status.last_scale_time = ARENA_NEW(c->arena, struct meta_v1_time);
    l->hpa->status.last_scale_time->seconds = controller_now_s(c->run);
    finish(c);
}

static void on_scale_updated(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct look *l = c->state;
    UNUSED(arg);
    if (result->code != 0)
        l->update_error = arena_printf(c->arena, "%s", result->message);
}

static void set_scale(struct reconcile *c)
{
    struct look *l = c->state;
    l->scale->spec.replicas = l->desired;
    reconcile_call(
        c,
        &(struct client_call){.verb = CLIENT_UPDATE,
                              .kind = api_kind_by_gvk(STR("autoscaling"), STR("v1"), STR("Scale")),
                              .resource = &l->resource,
                              .namespace_name = c->namespace_name,
                              .name = l->hpa->spec.scale_target_ref.name,
                              .subresource = "scale",
                              .body = l->scale},
        on_scale_updated, NULL);
    reconcile_then(c, on_scaled);
}

/* --- metrics -------------------------------------------------------------------------------------
 */
/* The metric that wants most decides; false: they tell too little, and conditions say so. */
static bool weigh(struct reconcile *c, int32_t *ret, struct str *ret_name)
{
    struct look *l = c->state;
    size_t n = l->hpa->spec.metrics_count, failed = 0;
    const struct hpa_source *bad = NULL, *best = NULL;
    struct autoscaling_v2_horizontal_pod_autoscaler_status *s = &l->hpa->status;
    s->current_metrics = ARENA_ARRAY(c->arena, struct autoscaling_v2_metric_status, n + 1);
    s->current_metrics_count = n;
    for (size_t i = 0; i < n; i++) {
        const struct hpa_source *x = &l->sources[i];
        s->current_metrics[i] = x->status;
        if (x->failed) {
            failed++;
            bad = bad != NULL ? bad : x;
            warn(c, hpa_source_reason(x), x->error);
        } else if (best == NULL || x->replicas > best->replicas) {
            best = x;
        }
    }
    /* With metrics missing it is safe to grow, not to shrink. */
    if (best == NULL || (bad != NULL && best->replicas < l->target.spec_replicas)) {
        struct str why = bad != NULL ? bad->error : STR("no metrics are named");
        set_condition(c, "ScalingActive", false,
                      bad != NULL ? hpa_source_reason(bad) : "InvalidMetricSourceType",
                      arena_printf(c->arena,
                                   "the HPA was unable to compute the replica count: " STR_FMT,
                                   STR_ARG(why)));
        warn(c, "FailedComputeMetricsReplicas",
             arena_printf(c->arena,
                          "invalid metrics (%zu invalid out of %zu), first error is: " STR_FMT,
                          failed, n, STR_ARG(why)));
        return false;
    }
    set_condition(
        c, "ScalingActive", true, "ValidMetricFound",
        arena_printf(c->arena,
                     "the HPA was able to successfully calculate a replica count from " STR_FMT,
                     STR_ARG(best->name)));
    *ret = best->replicas;
    *ret_name = best->name;
    return true;
}

static void on_metrics(struct reconcile *c)
{
    struct look *l = c->state;
    int32_t wanted, current = l->target.spec_replicas;
    struct str name;
    if (!weigh(c, &wanted, &name)) {
        l->hpa->status.current_replicas = current;
        write_status(c);
        return;
    }
    struct hpa_limits limits =
        hpa_limit(&l->memory->history, &l->hpa->spec, current, wanted,
                  controller_options()->hpa_downscale_window_ns / NS_PER_S, now_ms(c));
    set_condition(c, "AbleToScale", true, limits.able_reason, str_of(limits.able_message));
    set_condition(c, "ScalingLimited", limits.limited, limits.limit_reason,
                  str_of(limits.limit_message));
    l->desired = limits.replicas;
    l->reason = wanted > current
                    ? arena_printf(c->arena, STR_FMT " above target", STR_ARG(name)).data
                    : "All metrics below target";
    if (l->desired != current)
        set_scale(c);
    else
        finish(c);
}

static double tolerance_of(const struct autoscaling_v2_hpa_scaling_rules *r)
{
    if (r == NULL || r->tolerance == NULL)
        return controller_options()->hpa_tolerance;
    struct quantity q = quantity_of(r->tolerance);
    return quantity_to_double(&q);
}

/* The target's pods, as the cache has them now. */
static struct api_object **pods_of(struct reconcile *c, size_t *ret_count)
{
    struct look *l = c->state;
    size_t n = 0, cap = 0;
    struct api_object **found = NULL;
    AUTO_WALK pods = controller_walk_pods(c->run, c->namespace_name);
    for (struct api_object *p; (p = informer_walk_next(&pods)) != NULL;) {
        const struct meta_v1_object_meta *m = api_object_meta(p);
        if (!api_label_selector_matches(&l->selector, m->labels, m->labels_count))
            continue;
        informer_walk_keep(&pods);
        found = arena_grow(c->arena, found, n, &cap, sizeof(struct api_object *));
        found[n++] = p;
    }
    *ret_count = n;
    return found;
}

static void on_metric(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct look *l = c->state;
    const struct autoscaling_v2_horizontal_pod_autoscaler_behavior *b = l->hpa->spec.behavior;
    struct hpa_question q = {
        .arena = c->arena,
        .tolerance_up = tolerance_of(b != NULL ? b->scale_up : NULL),
        .tolerance_down = tolerance_of(b != NULL ? b->scale_down : NULL),
        .now_s = controller_now_s(c->run),
        .cpu_initialization_s = controller_options()->hpa_cpu_initialization_ns / NS_PER_S,
        .initial_readiness_s = controller_options()->hpa_initial_readiness_ns / NS_PER_S,
    };
    q.pods = pods_of(c, &q.pod_count);
    hpa_source_answer(arg, &l->target, &q, result);
}

static void ask_metric(struct reconcile *c, struct hpa_source *s)
{
    struct look *l = c->state;
    struct served_resource described = {.group = "", .resource = "", .namespaced = true};
    struct error err = {0};
    struct str path;
    if (s->spec->object != NULL &&
        kinds_find(((struct state *)c->run->state)->kinds, c,
                   s->spec->object->described_object.api_version,
                   s->spec->object->described_object.kind, &described) != KIND_FOUND) {
        hpa_source_fail(
            c->arena, s,
            arena_printf(c->arena, "no matches for kind \"" STR_FMT "\" in version \"" STR_FMT "\"",
                         STR_ARG(s->spec->object->described_object.kind),
                         STR_ARG(s->spec->object->described_object.api_version))
                .data);
        return;
    }
    struct str resource = arena_printf(c->arena, "%s%s%s", described.resource,
                                       described.group[0] != '\0' ? "." : "", described.group);
    if (hpa_source_path(c->arena, s, &l->target, resource, described.namespaced, &path, &err) != 0)
        hpa_source_fail(c->arena, s, error_message(&err));
    else
        reconcile_get(c, path, on_metric, s);
}

static bool selects_any(const struct api_label_selector *s, struct api_object *const *pods,
                        size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct meta_v1_object_meta *m = api_object_meta(pods[i]);
        if (api_label_selector_matches(s, m->labels, m->labels_count))
            return true;
    }
    return false;
}

/* False: another autoscaler's target has some of the pods too. */
static bool has_pods_alone(struct reconcile *c)
{
    struct look *l = c->state;
    struct state *s = c->run->state;
    size_t n, pos = 0;
    struct str key, namespace_name, name;
    void *value;
    AUTO_BUF others = BUF_INIT;
    struct api_object **pods = pods_of(c, &n);
    while (map_next(&s->memories, &pos, &key, &value)) {
        const struct memory *other = value;
        struct api_label_selector theirs;
        informer_split_key(key, &namespace_name, &name);
        if (other != l->memory && other->selector != NULL &&
            str_eq(namespace_name, c->namespace_name) &&
            api_label_selector_parse(c->arena, str_of(other->selector), &theirs, NULL) == 0 &&
            selects_any(&theirs, pods, n))
            buf_printf(&others, " " STR_FMT, STR_ARG(key));
    }
    if (others.len == 0)
        return true;
    struct str message = arena_printf(
        c->arena,
        "pods by selector " STR_FMT " are controlled by multiple HPAs: [" STR_FMT STR_FMT "]",
        STR_ARG(l->target.selector), STR_ARG(c->key), STR_ARG(buf_str(&others)));
    warn(c, "AmbiguousSelector", message);
    set_condition(c, "ScalingActive", false, "AmbiguousSelector", message);
    return false;
}

static void ask_metrics(struct reconcile *c)
{
    struct look *l = c->state;
    struct error err = {0};
    l->hpa->status.current_replicas = l->target.spec_replicas;
    if (l->target.selector.len == 0) {
        warn(c, "SelectorRequired", STR("selector is required"));
        set_condition(c, "ScalingActive", false, "InvalidSelector",
                      STR("the HPA target's scale is missing a selector"));
        write_status(c);
        return;
    }
    if (api_label_selector_parse(c->arena, l->target.selector, &l->selector, &err) != 0) {
        struct str message = arena_printf(
            c->arena, "couldn't convert selector into a corresponding internal selector object: %s",
            error_message(&err));
        warn(c, "InvalidSelector", message);
        set_condition(c, "ScalingActive", false, "InvalidSelector", message);
        write_status(c);
        return;
    }
    free(l->memory->selector);
    l->memory->selector = xstrdup(str_c(arena_str(c->arena, l->target.selector)));
    if (!has_pods_alone(c)) {
        write_status(c);
        return;
    }
    l->sources = ARENA_ARRAY(c->arena, struct hpa_source, l->hpa->spec.metrics_count + 1);
    for (size_t i = 0; i < l->hpa->spec.metrics_count; i++) {
        l->sources[i].spec = &l->hpa->spec.metrics[i];
        ask_metric(c, &l->sources[i]);
    }
    reconcile_then(c, on_metrics);
}

/* --- the target's scale
 * --------------------------------------------------------------------------- */
static void on_scale(struct reconcile *c)
{
    struct look *l = c->state;
    if (l->scale == NULL) {
        no_scale(c, l->scale_error);
        return;
    }
    set_condition(c, "AbleToScale", true, "SucceededGetScale",
                  STR("the HPA controller was able to get the target's current scale"));
    int32_t current = l->scale->spec.replicas, min = hpa_min_replicas(&l->hpa->spec),
            max = l->hpa->spec.max_replicas;
    l->target = (struct hpa_target){c->namespace_name, l->scale->status.selector, current,
                                    l->scale->status.replicas};
    hpa_history_start(&l->memory->history, current, now_ms(c));
    l->desired = current;
    if (current == 0 && min != 0) {
        set_condition(c, "ScalingActive", false, "ScalingDisabled",
                      STR("scaling is disabled since the replica count of the target is zero"));
        finish(c);
    } else if (current > max) {
        l->reason = "Current number of replicas above Spec.MaxReplicas";
        l->desired = max;
        set_scale(c);
    } else if (current < min) {
        l->reason = "Current number of replicas below Spec.MinReplicas";
        l->desired = min;
        set_scale(c);
    } else {
        ask_metrics(c);
    }
}

static void on_scale_read(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct look *l = c->state;
    UNUSED(arg);
    if (result->code != 0)
        l->scale_error = arena_printf(c->arena, "%s", result->message);
    else if (result->object == NULL || !str_eqc(STR("Scale"), result->object->kind->kind))
        l->scale_error = STR("the target's scale is no Scale of autoscaling/v1");
    else
        l->scale = api_msg_clone(c->arena, result->object->kind->msg, result->object->msg);
}

static struct memory *memory_of(struct state *s, struct str key)
{
    struct memory *m = map_get(&s->memories, key);
    if (m == NULL) {
        m = xzalloc(sizeof(*m));
        map_set(&s->memories, key, m);
    }
    return m;
}

static void reconcile(struct reconcile *c)
{
    struct state *s = c->run->state;
    struct api_object *o = informer_get_key(
        controller_informer(c->run, "autoscaling", "HorizontalPodAutoscaler"), c->key);
    if (o == NULL || api_object_meta(o)->deletion_timestamp != NULL) {
        forget(map_remove(&s->memories, c->key));
        return;
    }
    struct look *l = ARENA_NEW(c->arena, struct look);
    c->state = l;
    l->kind = o->kind;
    l->before = reconcile_copy(c, o);
    l->hpa = reconcile_copy(c, o);
    l->about = event_object_from(l->kind, l->before);
    l->memory = memory_of(s, c->key);
    const struct autoscaling_v2_cross_version_object_reference *ref =
        &l->hpa->spec.scale_target_ref;
    struct served_resource target;
    reconcile_again_after(c, (uint64_t)(controller_options()->hpa_sync_ns / 1000000));
    switch (kinds_find(s->kinds, c, ref->api_version, ref->kind, &target)) {
    case KIND_ASKING:
        return;
    case KIND_UNKNOWN: {
        struct str group, version;
        if (!str_cut(ref->api_version, '/', &group, &version))
            group = STR_NULL;
        no_scale(c, arena_printf(c->arena,
                                 "no matches for kind \"" STR_FMT "\" in group \"" STR_FMT "\"",
                                 STR_ARG(ref->kind), STR_ARG(group)));
        return;
    }
    case KIND_FOUND:
        break;
    }
    l->resource = (struct client_resource){target.group, target.version, target.resource, true};
    reconcile_call(
        c,
        &(struct client_call){.verb = CLIENT_GET,
                              .kind = api_kind_by_gvk(STR("autoscaling"), STR("v1"), STR("Scale")),
                              .resource = &l->resource,
                              .namespace_name = c->namespace_name,
                              .name = ref->name,
                              .subresource = "scale"},
        on_scale_read, NULL);
    reconcile_then(c, on_scale);
}

static const struct controller_watch watches[] = {
    {"autoscaling", "v2", "HorizontalPodAutoscaler", touch},
    {"", "v1", "Pod", NULL},
    {0},
};

const struct controller controller_hpa = {
    .name = "horizontal-pod-autoscaler-controller",
    .watches = watches,
    .init = init,
    .done = done,
    .reconcile = reconcile,
};
