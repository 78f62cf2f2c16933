/* actions.c - what the scheduler writes: bindings, conditions, evictions. Each
 * is one call that nobody waits for. */
#include "scheduler/scheduler_internal.h"

#include "api/core_v1.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "scheduler/extender_wire.h"
#include "scheduler/sched_metrics.h"

#define CONFIRM_MS (30u * 1000) /* A bound pod the watch has not shown by then is dropped. */
#define ASK_AGAIN_MS 1000u      /* Between two questions whether a pod was bound. */

struct action {
    struct list link;
    struct scheduler *scheduler;
    struct client_request *request;
    struct extender_call *call; /* Of a binding that an extender does. */
    struct queued_pod *pod;     /* Of a binding: in its cycle until we are done. */
    struct api_object *object;  /* One reference. */
    uint64_t start_ns;          /* Of a binding. */
    bool binds;                 /* It was begun. */
    char *node;
    /* Of a binding whose outcome is asked for: why it was not plain, and when to ask again. */
    int failure;
    char *failure_message;
    uint64_t ask_ms;
};

static struct action *action_new(struct scheduler *s, struct api_object *object)
{
    struct action *a = xzalloc(sizeof(*a));
    a->scheduler = s;
    a->object = api_object_ref(object);
    list_push_back(&s->actions, &a->link);
    return a;
}

static void action_free(struct action *a)
{
    a->scheduler->binding_count -= a->binds;
    list_remove(&a->link);
    api_object_unref(a->object);
    free(a->node);
    free(a->failure_message);
    free(a);
}

void actions_cancel(struct scheduler *s)
{
    list_splice(&s->actions, &s->late_bindings);
    list_splice(&s->actions, &s->unclear_bindings);
    LIST_FOREACH_SAFE (it, &s->actions) {
        struct action *a = LIST_ENTRY(it, struct action, link);
        if (a->request != NULL)
            client_cancel(a->request);
        if (a->call != NULL)
            extender_cancel(a->call);
        action_free(a);
    }
}

static const struct core_v1_pod *pod_of(const struct action *a)
{
    return a->object->msg;
}

static void on_written(struct client_request *r, const struct client_result *result, void *arg)
{
    struct action *a = arg;
    UNUSED(r);
    const struct meta_v1_object_meta *m = api_object_meta(a->object);
    if (result->code != 0 && result->code != E_NOT_FOUND && result->code != E_CONFLICT)
        log_warning("cannot update %s " STR_FMT "/" STR_FMT ": %s", a->object->kind->kind,
                    STR_ARG(m->namespace), STR_ARG(m->name), result->message);
    action_free(a);
}

static void start(struct action *a, struct client_call *call)
{
    call->kind = a->object->kind;
    call->namespace_name = api_object_meta(a->object)->namespace;
    call->name = api_object_meta(a->object)->name;
    call->arg = a;
    struct error err = {0};
    if (client_start(a->scheduler->client, call, &a->request, &err) == 0)
        return;
    /* A malformed call is our bug; treat it as a failed one all the same. */
    struct client_result failed = {.code = err.code, .message = error_message(&err)};
    call->done(NULL, &failed, a);
}

/* --- binding --------------------------------------------------------------------------------- */

static void count_attempt(const struct action *a, const char *result)
{
    struct scheduler *s = a->scheduler;
    uint64_t now_ns = uv_hrtime();
    struct str profile = pod_of(a)->spec.scheduler_name;
    sched_metrics_attempt(profile, result, (double)(now_ns - a->pod->attempt_ns) / 1e9);
    sched_metrics_point(profile, "Bind", strcmp(result, "error") == 0 ? "Error" : "Success",
                        (double)(now_ns - a->start_ns) / 1e9);
    if (strcmp(result, "scheduled") == 0)
        sched_metrics_placed(a->pod->attempts,
                             (double)(env_now_ms(s->env) - a->pod->queued_ms) / 1e3);
}

static void binding_failed(struct action *a, const struct client_result *result)
{
    struct scheduler *s = a->scheduler;
    const struct core_v1_pod *pod = pod_of(a);
    snapshot_forget(&s->snapshot, pod->metadata.uid);
    device_wait_undo(s, a->pod);
    count_attempt(a, "error");
    if (result->code == E_CONFLICT)
        sched_metrics_conflict();
    log_info("binding " STR_FMT "/" STR_FMT " to %s failed: %s", STR_ARG(pod->metadata.namespace),
             STR_ARG(pod->metadata.name), a->node, result->message);
    if (result->code == E_NOT_FOUND) {
        sched_queue_placed(&s->queue, a->pod); /* Deleted meanwhile. */
    } else {
        struct event_object about = event_object_of(a->object);
        event_record_action(s->recorder, &about, EVENT_WARNING, "FailedScheduling", "Scheduling",
                            "binding rejected: %s", result->message);
        sched_queue_retry(&s->queue, a->pod, env_now_ms(s->env));
        struct queued_pod *p = sched_queue_find(&s->queue, pod->metadata.uid);
        if (p != NULL)
            scheduler_seat_guest(s, p);
    }
    /* What it had been given is free again. */
    sched_queue_event(&s->queue, EVENT_POD_DELETE, env_now_ms(s->env));
}

static void binding_done(struct action *a)
{
    struct scheduler *s = a->scheduler;
    const struct core_v1_pod *pod = pod_of(a);
    struct event_object about = event_object_of(a->object);
    event_record_action(s->recorder, &about, EVENT_NORMAL, "Scheduled", "Binding",
                        "Successfully assigned " STR_FMT "/" STR_FMT " to %s",
                        STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.name), a->node);
    count_attempt(a, "scheduled");
    snapshot_bound(&s->snapshot, pod->metadata.uid, env_now_ms(s->env) + CONFIRM_MS);
    sched_queue_placed(&s->queue, a->pod);
}

/* Somebody else gave the pod a node, as a rule another one: what its claims hold is in use there.
 */
static void binding_lost(struct action *a, struct str node)
{
    struct scheduler *s = a->scheduler;
    const struct core_v1_pod *pod = pod_of(a);
    log_info("binding " STR_FMT "/" STR_FMT " to %s: it was bound to " STR_FMT,
             STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.name), a->node, STR_ARG(node));
    snapshot_forget(&s->snapshot, pod->metadata.uid);
    device_wait_forget(s, a->pod);
    count_attempt(a, "error");
    sched_metrics_conflict();
    sched_queue_placed(&s->queue, a->pod);
    sched_queue_event(&s->queue, EVENT_POD_DELETE, env_now_ms(s->env));
}

static void settled(struct action *a)
{
    struct scheduler *s = a->scheduler;
    action_free(a);
    scheduler_wake(s);
}

/* --- bindings that may have happened --- */

static void on_asked(struct client_request *r, const struct client_result *result, void *arg)
{
    struct action *a = arg;
    struct scheduler *s = a->scheduler;
    UNUSED(r);
    a->request = NULL;
    if (result->code != 0 && result->code != E_NOT_FOUND) {
        a->ask_ms = env_now_ms(s->env) + ASK_AGAIN_MS;
        list_remove(&a->link);
        list_push_back(&s->unclear_bindings, &a->link);
        scheduler_wake(s);
        return;
    }
    const struct core_v1_pod *pod = result->code == 0 ? result->object->msg : NULL;
    if (pod == NULL || !str_eq(pod->metadata.uid, pod_of(a)->metadata.uid)) {
        struct client_result gone = {.code = E_NOT_FOUND, .message = "the pod is gone"};
        binding_failed(a, &gone);
    } else if (str_empty(pod->spec.node_name)) {
        struct client_result failed = {.code = a->failure, .message = a->failure_message};
        binding_failed(a, &failed);
    } else if (str_eqc(pod->spec.node_name, a->node) && a->failure != E_CONFLICT) {
        binding_done(a);
    } else {
        binding_lost(a, pod->spec.node_name);
    }
    settled(a);
}

static void ask(struct action *a)
{
    struct client_call call = {.verb = CLIENT_GET, .done = on_asked};
    start(a, &call);
}

uint64_t actions_ask_unclear(struct scheduler *s)
{
    uint64_t now_ms = env_now_ms(s->env);
    while (!list_empty(&s->unclear_bindings)) { /* The oldest first. */
        struct action *a = LIST_ENTRY(s->unclear_bindings.next, struct action, link);
        if (a->ask_ms > now_ms)
            return a->ask_ms;
        list_remove(&a->link);
        list_push_back(&s->actions, &a->link);
        ask(a);
    }
    return UINT64_MAX;
}

/* After any failure but a missing pod it may be bound all the same: the answer was lost, or an
 * earlier call of ours is what this one conflicts with. Undoing would take a running pod's claims
 * away, so the pod itself is asked. */
static void settle_binding(struct action *a, const struct client_result *result)
{
    a->request = NULL;
    if (result->code != 0 && result->code != E_NOT_FOUND) {
        a->failure = result->code;
        a->failure_message = xstrdup(result->message);
        ask(a);
        return;
    }
    if (result->code == 0)
        binding_done(a);
    else
        binding_failed(a, result);
    settled(a);
}

static void on_bound(struct client_request *r, const struct client_result *result, void *arg)
{
    UNUSED(r);
    settle_binding(arg, result);
}

static void on_extender_bound(const struct error *err, struct str body, void *arg)
{
    struct action *a = arg;
    AUTO_ARENA *memory = arena_new(0);
    struct error own = {0};
    struct client_result result = {.message = ""};
    a->call = NULL;
    if (err == NULL && extender_read_binding(memory, body, &own) != 0)
        err = &own;
    if (err != NULL) {
        result.code = E_UNAVAILABLE;
        result.message = error_message(err);
    }
    settle_binding(a, &result);
}

/* False: nobody binds for us. */
static bool bind_by_extender(struct action *a)
{
    struct extenders *all = a->scheduler->extenders;
    const struct extender_config *e = extenders_binder(all, pod_of(a));
    AUTO_BUF body = BUF_INIT;
    if (e == NULL)
        return false;
    extender_write_binding(pod_of(a), str_of(a->node), &body);
    a->call = extender_post(all, e, e->bind, buf_str(&body), on_extender_bound, a);
    return true;
}

static void begin_binding(struct action *a)
{
    const struct core_v1_pod *pod = pod_of(a);
    struct core_v1_binding binding = {
        .metadata = {.name = pod->metadata.name,
                     .namespace = pod->metadata.namespace,
                     .uid = pod->metadata.uid},
        .target = {.kind = STR("Node"), .name = str_of(a->node)},
    };
    a->start_ns = uv_hrtime();
    a->scheduler->binding_count++;
    a->binds = true;
    if (bind_by_extender(a))
        return;
    struct client_call call = {
        .verb = CLIENT_CREATE,
        .subresource = "binding",
        .body_kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Binding")),
        .body = &binding,
        .undecoded = true,
        .done = on_bound,
    };
    start(a, &call);
}

void action_bind(struct scheduler *s, struct queued_pod *p, const struct node_info *n)
{
    struct action *a = action_new(s, p->object);
    a->pod = p;
    a->node = xstrdup(n->name);
    if (s->binding_count < BINDINGS_MAX) {
        begin_binding(a);
        return;
    }
    list_remove(&a->link);
    list_push_back(&s->late_bindings, &a->link);
}

void actions_bind_late(struct scheduler *s)
{
    while (s->binding_count < BINDINGS_MAX && !list_empty(&s->late_bindings)) {
        struct list *n = list_pop_front(&s->late_bindings);
        list_push_back(&s->actions, n);
        begin_binding(LIST_ENTRY(n, struct action, link));
    }
}

/* --- conditions ------------------------------------------------------------------------------ */

static const struct core_v1_pod_condition *scheduled_condition(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->status.conditions_count; i++)
        if (str_eqc(pod->status.conditions[i].type, "PodScheduled"))
            return &pod->status.conditions[i];
    return NULL;
}

static void put_member(struct buf *b, const char *name, struct str value)
{
    buf_printf(b, ",\"%s\":", name);
    json_write_string(value, b);
}

bool action_set_unschedulable(struct scheduler *s, const struct queued_pod *p, struct str reason,
                              struct str message)
{
    const struct core_v1_pod *pod = queued_pod_object(p)->msg;
    const struct core_v1_pod_condition *old = scheduled_condition(pod);
    struct str nominated = str_of(p->nominated_node);
    bool same_node = str_eq(nominated, pod->status.nominated_node_name);
    bool same = old != NULL && str_eqc(old->status, "False") && str_eq(old->reason, reason) &&
                str_eq(old->message, message);
    if (same && same_node)
        return false;
    struct meta_v1_time now = time_from_ns(env_wall_ns(s->env));
    if (old != NULL && str_eqc(old->status, "False") && !time_is_zero(&old->last_transition_time))
        now = old->last_transition_time;
    char since[TIME_TEXT_MAX];
    time_format(&now, since);
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, "{\"metadata\":{\"uid\":");
    json_write_string(pod->metadata.uid, &b);
    buf_puts(&b, "},\"status\":{\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\"");
    put_member(&b, "lastTransitionTime", str_of(since));
    put_member(&b, "reason", reason);
    put_member(&b, "message", message);
    buf_printf(&b, ",\"observedGeneration\":%lld}]", (long long)pod->metadata.generation);
    if (!same_node)
        put_member(&b, "nominatedNodeName", nominated);
    buf_puts(&b, "}}");
    struct client_call call = {
        .verb = CLIENT_PATCH,
        .subresource = "status",
        .patch_type = CLIENT_PATCH_STRATEGIC,
        .raw_body = buf_str(&b),
        .undecoded = true,
        .done = on_written,
    };
    start(action_new(s, p->object), &call);
    return !same;
}

/* --- preemption ------------------------------------------------------------------------------ */

static void on_disruption_written(struct client_request *r, const struct client_result *result,
                                  void *arg)
{
    struct action *a = arg;
    UNUSED(r);
    if (result->code == E_NOT_FOUND) {
        action_free(a);
        return;
    }
    struct client_call call = {
        .verb = CLIENT_DELETE,
        .uid_precondition = pod_of(a)->metadata.uid,
        .undecoded = true,
        .done = on_written,
    };
    start(a, &call);
}

/* False: it is going already. why: of the condition; needs no escapes. */
static bool start_evicting(struct scheduler *s, struct api_object *victim, struct str why)
{
    if (api_object_meta(victim)->deletion_timestamp != NULL)
        return false;
    struct meta_v1_time now = time_from_ns(env_wall_ns(s->env));
    char since[TIME_TEXT_MAX];
    time_format(&now, since);
    AUTO_BUF b = BUF_INIT;
    buf_printf(&b,
               "{\"status\":{\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\","
               "\"lastTransitionTime\":\"%s\",\"reason\":\"PreemptionByScheduler\",\"message\":"
               "\"" STR_FMT "\"}]}}",
               since, STR_ARG(why));
    struct client_call call = {
        .verb = CLIENT_PATCH,
        .subresource = "status",
        .patch_type = CLIENT_PATCH_STRATEGIC,
        .raw_body = buf_str(&b),
        .undecoded = true,
        .done = on_disruption_written,
    };
    start(action_new(s, victim), &call);
    return true;
}

void action_evict(struct scheduler *s, const struct queued_pod *preemptor,
                  struct api_object *victim, const char *node)
{
    const struct core_v1_pod *pod = preemptor->object->msg;
    AUTO_BUF why = BUF_INIT;
    buf_printf(&why, STR_FMT ": preempting to accommodate a higher priority pod",
               STR_ARG(pod->spec.scheduler_name));
    if (!start_evicting(s, victim, buf_str(&why)))
        return;
    struct event_object about = event_object_of(victim);
    event_record_action(s->recorder, &about, EVENT_NORMAL, "Preempted", "Preempting",
                        "Preempted by pod " STR_FMT " on node %s", STR_ARG(pod->metadata.uid),
                        node);
}

void action_evict_reclaimer(struct scheduler *s, struct api_object *victim, const char *node)
{
    if (!start_evicting(s, victim, STR("what it had reclaimed is needed by pods that reserved it")))
        return;
    struct event_object about = event_object_of(victim);
    event_record_action(s->recorder, &about, EVENT_NORMAL, "Reclaimed", "Evicting",
                        "What it had reclaimed on node %s is needed by pods that reserved it",
                        node);
}
