/* device_wait.c - between the choice of a node and the binding: what the pod's
 * ResourceClaims were given is written, claim by claim, and the pod waits for
 * conditions that its devices ask for.
 *
 *   prepare: pending in s->devices, other pods see it as taken
 *   bind: for each claim  finalizer -> status (allocation, reservedFor) -> next
 *         that of extended resources: create -> the same -> noted in the pod's status
 *         then conditions true -> action_bind()
 *   a conflict reads the claim anew; anything else gives all back and tries again */
#include "scheduler/scheduler_internal.h"

#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "scheduler/devices/devices.h"
#include "scheduler/devices/pod_claims.h"
#include "scheduler/plugins/plugins.h"
#include "scheduler/sched_metrics.h"

#define CONFLICTS_MAX 5

enum step { STEP_FINALIZER, STEP_STATUS, STEP_READ, STEP_CREATE, STEP_NOTE };

struct waiting {
    struct api_object *claim; /* As known last; one reference. NULL: to be created. */
    const struct resource_v1_allocation_result *allocation; /* In the wait's arena; NULL. */
    /* For extended resources of the pod, in the arena; NULL: an ordinary claim. */
    const struct resource_v1_resource_claim *extended;
    bool noted; /* In the pod's status. */
};

struct device_wait {
    struct list link; /* In scheduler.device_waits. */
    struct scheduler *scheduler;
    struct queued_pod *pod; /* In its cycle until we are done. */
    char *node;
    struct arena *arena;
    struct waiting *claims;
    size_t count, at; /* at: the one being written. */
    enum step step;
    unsigned conflicts;
    struct client_request *request;
    bool writing; /* Else: prepared, or waiting for conditions. */
    bool ready_wanted;
};

static const struct core_v1_pod *pod_of(const struct device_wait *w)
{
    return w->pod->object->msg;
}

static const struct resource_v1_resource_claim *claim_of(const struct waiting *x)
{
    return x->claim != NULL ? x->claim->msg : x->extended;
}

/* What its devices are kept under until they stand in the claim. */
static struct str pending_uid(const struct waiting *x)
{
    return x->extended != NULL ? x->extended->metadata.uid : api_object_meta(x->claim)->uid;
}

static void wait_free(struct device_wait *w)
{
    list_remove(&w->link);
    if (w->request != NULL)
        client_cancel(w->request);
    for (size_t i = 0; i < w->count; i++)
        api_object_unref(w->claims[i].claim);
    arena_free(w->arena);
    free(w->node);
    free(w);
}

void device_waits_cancel(struct scheduler *s)
{
    LIST_FOREACH_SAFE (it, &s->device_waits)
        wait_free(LIST_ENTRY(it, struct device_wait, link));
}

static struct device_wait *wait_of(const struct scheduler *s, const struct queued_pod *p)
{
    LIST_FOREACH (it, &s->device_waits) {
        struct device_wait *w = LIST_ENTRY(it, struct device_wait, link);
        if (w->pod == p)
            return w;
    }
    return NULL;
}

void device_wait_prepare(struct scheduler *s, const struct cycle *c, struct queued_pod *p,
                         const struct node_info *n)
{
    struct device_plan plans[POD_CLAIMS_MAX + 1];
    size_t count = dynamic_resources_plan(c, n, plans);
    if (count == 0)
        return;
    struct device_wait *w = xzalloc(sizeof(*w));
    *w = (struct device_wait){.scheduler = s, .pod = p, .count = count};
    w->node = xstrdup(n->name);
    w->arena = arena_new(0);
    w->claims = ARENA_ARRAY(w->arena, struct waiting, count);
    list_push_back(&s->device_waits, &w->link);
    for (size_t i = 0; i < count; i++) {
        struct waiting *x = &w->claims[i];
        if (plans[i].claim != NULL)
            x->claim = api_object_ref(plans[i].claim);
        if (plans[i].extended != NULL)
            x->extended =
                api_msg_clone(w->arena, &resource_v1_resource_claim_msg, plans[i].extended);
        if (plans[i].allocation == NULL)
            continue;
        x->allocation =
            api_msg_clone(w->arena, &resource_v1_allocation_result_msg, plans[i].allocation);
        devices_pend(s->devices, pending_uid(x), x->allocation);
    }
}

/* --- giving back -------------------------------------------------------------------------------
 */

void device_wait_forget(struct scheduler *s, const struct queued_pod *p)
{
    struct device_wait *w = wait_of(s, p);
    for (size_t i = 0; w != NULL && i < w->count; i++)
        if (w->claims[i].allocation != NULL)
            devices_unpend(s->devices, pending_uid(&w->claims[i]));
    if (w != NULL)
        wait_free(w);
}

/* The claim that was made for extended resources; it may not have come by the watch yet. */
static void remove_made(struct scheduler *s, const struct device_wait *w,
                        const struct core_v1_pod *pod)
{
    struct api_object *made = devices_extended_claim(s->devices, pod);
    for (size_t i = 0; w != NULL && i < w->count; i++)
        if (w->claims[i].extended != NULL && w->claims[i].claim != NULL)
            made = w->claims[i].claim;
    if (made != NULL)
        extended_claim_remove(s, made);
}

void device_wait_undo(struct scheduler *s, const struct queued_pod *p)
{
    const struct core_v1_pod *pod = p->object->msg;
    remove_made(s, wait_of(s, p), pod);
    device_wait_forget(s, p);
    if (pod->spec.resource_claims_count == 0)
        return;
    AUTO_ARENA *a = arena_new(0);
    struct api_object *claims[POD_CLAIMS_MAX];
    size_t count;
    struct str why;
    pod_device_claims(s->devices, a, pod, claims, &count, &why);
    for (size_t i = 0; i < count; i++)
        if (claim_reserved_for(claims[i]->msg, pod->metadata.uid))
            claim_release(s, claims[i], pod->metadata.uid);
    sched_queue_event(&s->queue, EVENT_CLAIM, env_now_ms(s->env));
}

static void give_up(struct device_wait *w, const char *why)
{
    struct scheduler *s = w->scheduler;
    struct queued_pod *p = w->pod;
    const struct core_v1_pod *pod = pod_of(w);
    struct event_object about = event_object_of(p->object);
    snapshot_forget(&s->snapshot, pod->metadata.uid);
    log_info("devices of " STR_FMT "/" STR_FMT " on %s: %s", STR_ARG(pod->metadata.namespace),
             STR_ARG(pod->metadata.name), w->node, why);
    event_record_action(s->recorder, &about, EVENT_WARNING, "FailedScheduling", "Scheduling",
                        "running PreBind plugin \"DynamicResources\": %s", why);
    device_wait_undo(s, p); /* w is gone. */
    sched_queue_retry(&s->queue, p, env_now_ms(s->env));
    sched_queue_event(&s->queue, EVENT_POD_DELETE, env_now_ms(s->env));
    scheduler_wake(s);
}

/* The pod was deleted while it waited. */
static void drop(struct device_wait *w)
{
    struct scheduler *s = w->scheduler;
    struct queued_pod *p = w->pod;
    snapshot_forget(&s->snapshot, pod_of(w)->metadata.uid);
    device_wait_undo(s, p);
    sched_queue_placed(&s->queue, p);
    sched_queue_event(&s->queue, EVENT_POD_DELETE, env_now_ms(s->env));
}

/* --- writing -----------------------------------------------------------------------------------
 */

static void advance(struct device_wait *w);

static void fail_step(struct device_wait *w, const char *why)
{
    static const char *const what[] = {"add finalizer to", "add reservation to", "get updated"};
    const struct waiting *x = &w->claims[w->at];
    const struct meta_v1_object_meta *m = &claim_of(x)->metadata;
    AUTO_ARENA *a = arena_new(0);
    if (w->step == STEP_CREATE)
        give_up(w,
                arena_printf(a, "create claim for extended resources " STR_FMT "/" STR_FMT ": %s",
                             STR_ARG(m->namespace), STR_ARG(m->name), why)
                    .data);
    else if (w->step == STEP_NOTE)
        give_up(
            w, arena_printf(a, "update pod " STR_FMT "/" STR_FMT " ExtendedResourceClaimStatus: %s",
                            STR_ARG(m->namespace), STR_ARG(pod_of(w)->metadata.name), why)
                   .data);
    else
        give_up(w, arena_printf(a, "%s claim " STR_FMT "/" STR_FMT ": %s",
                                w->step == STEP_STATUS && x->allocation != NULL
                                    ? "add allocation and reservation to"
                                    : what[w->step],
                                STR_ARG(m->namespace), STR_ARG(m->name), why)
                       .data);
}

/* The claim at hand is as it is to be. */
static void next_claim(struct device_wait *w)
{
    w->at++;
    w->conflicts = 0;
    w->step = STEP_FINALIZER;
    advance(w);
}

static void on_noted(struct client_request *r, const struct client_result *result, void *arg)
{
    struct device_wait *w = arg;
    UNUSED(r);
    w->request = NULL;
    if (result->code != 0) {
        fail_step(w, result->message);
        return;
    }
    w->claims[w->at].noted = true;
    next_claim(w);
}

static void on_answer(struct client_request *r, const struct client_result *result, void *arg)
{
    struct device_wait *w = arg;
    struct scheduler *s = w->scheduler;
    struct waiting *x = &w->claims[w->at];
    UNUSED(r);
    w->request = NULL;
    if (result->code == E_CONFLICT && w->step != STEP_READ && w->step != STEP_CREATE &&
        ++w->conflicts < CONFLICTS_MAX) {
        w->step = STEP_READ;
        advance(w);
        return;
    }
    if (w->step == STEP_CREATE)
        sched_metrics_claim(result->code == 0 && result->object != NULL);
    if (result->code != 0 || result->object == NULL) {
        fail_step(w, result->message);
        return;
    }
    struct api_object *old = x->claim;
    x->claim = api_object_ref(result->object);
    if (old != NULL)
        api_object_unref(old);
    if (w->step == STEP_STATUS) {
        devices_set_claim(s->devices, x->claim);
        devices_unpend(s->devices, pending_uid(x));
        if (x->extended == NULL) {
            next_claim(w);
            return;
        }
    }
    w->step = STEP_FINALIZER;
    advance(w);
}

static bool has_finalizer(const struct meta_v1_object_meta *m)
{
    for (size_t i = 0; i < m->finalizers_count; i++)
        if (str_eqc(m->finalizers[i], DEVICE_CLAIM_FINALIZER))
            return true;
    return false;
}

static void add_finalizer(struct arena *a, struct meta_v1_object_meta *m)
{
    struct str *all = ARENA_ARRAY(a, struct str, m->finalizers_count + 1);
    if (m->finalizers_count != 0)
        memcpy(all, m->finalizers, m->finalizers_count * sizeof(*all));
    all[m->finalizers_count++] = STR(DEVICE_CLAIM_FINALIZER);
    m->finalizers = all;
}

/* Allocation, when it was made, and the pod that uses it. */
static void fill_status(struct arena *a, const struct device_wait *w, const struct waiting *x,
                        struct resource_v1_resource_claim *c)
{
    const struct core_v1_pod *pod = pod_of(w);
    struct resource_v1_resource_claim_status *s = &c->status;
    struct resource_v1_allocation_result *r = ARENA_NEW(a, struct resource_v1_allocation_result);
    struct resource_v1_resource_claim_consumer_reference *users = ARENA_ARRAY(
        a, struct resource_v1_resource_claim_consumer_reference, s->reserved_for_count + 1);
    *r = x->allocation != NULL ? *x->allocation : *s->allocation;
    if (r->allocation_timestamp == NULL) {
        r->allocation_timestamp = ARENA_NEW(a, struct meta_v1_time);
        *r->allocation_timestamp = time_from_ns(env_wall_ns(w->scheduler->env));
    }
    s->allocation = r;
    if (s->reserved_for_count != 0)
        memcpy(users, s->reserved_for, s->reserved_for_count * sizeof(*users));
    users[s->reserved_for_count++] = (struct resource_v1_resource_claim_consumer_reference){
        .resource = STR("pods"), .name = pod->metadata.name, .uid = pod->metadata.uid};
    s->reserved_for = users;
}

static void send_step(struct device_wait *w, enum step step)
{
    AUTO_ARENA *a = arena_new(0);
    const struct waiting *x = &w->claims[w->at];
    struct resource_v1_resource_claim c = *claim_of(x);
    struct client_call call = {.verb = step == STEP_READ ? CLIENT_GET : CLIENT_UPDATE,
                               .namespace_name = c.metadata.namespace,
                               .name = c.metadata.name,
                               .done = on_answer,
                               .arg = w};
    struct error err = {0};
    w->step = step;
    if (step == STEP_CREATE || step == STEP_NOTE) {
        int rc = step == STEP_CREATE
                     ? extended_claim_create(w->scheduler, &c, on_answer, w, &w->request, &err)
                     : extended_claim_note(w->scheduler, w->pod->object, &c, on_noted, w,
                                           &w->request, &err);
        if (rc != 0)
            give_up(w, error_message(&err));
        return;
    }
    call.kind = x->claim->kind;
    if (step == STEP_FINALIZER)
        add_finalizer(a, &c.metadata);
    if (step == STEP_STATUS) {
        fill_status(a, w, x, &c);
        call.subresource = "status";
    }
    if (step != STEP_READ)
        call.body = &c;
    if (client_start(w->scheduler->client, &call, &w->request, &err) != 0)
        give_up(w, error_message(&err));
}

/* The claim at hand can no longer be what was planned. */
static bool overtaken(struct device_wait *w, const struct waiting *x)
{
    const struct resource_v1_resource_claim *c = claim_of(x);
    const char *what = c->metadata.deletion_timestamp != NULL ? "got deleted in the meantime"
                       : x->allocation != NULL && c->status.allocation != NULL
                           ? "got allocated elsewhere in the meantime"
                       : x->allocation == NULL && c->status.allocation == NULL
                           ? "got deallocated in the meantime"
                           : NULL;
    if (what == NULL)
        return false;
    AUTO_ARENA *a = arena_new(0);
    give_up(w, arena_printf(a, "claim " STR_FMT "/" STR_FMT " %s", STR_ARG(c->metadata.namespace),
                            STR_ARG(c->metadata.name), what)
                   .data);
    return true;
}

static void finish(struct device_wait *w)
{
    struct scheduler *s = w->scheduler;
    struct queued_pod *p = w->pod;
    const struct node_info *n = snapshot_node(&s->snapshot, str_of(w->node));
    if (n == NULL) {
        give_up(w, "the node is gone");
        return;
    }
    wait_free(w);
    action_bind(s, p, n);
}

static void check(struct device_wait *w);

static void written(struct device_wait *w)
{
    struct event_object about = event_object_of(w->pod->object);
    w->writing = false;
    for (size_t i = 0; i < w->count && !w->ready_wanted; i++)
        w->ready_wanted = claim_has_conditions(claim_of(&w->claims[i]));
    if (!w->ready_wanted) {
        finish(w);
        return;
    }
    event_record_action(w->scheduler->recorder, &about, EVENT_NORMAL, "BindingConditionsPending",
                        "Scheduling", "waiting for binding conditions for device on node %s",
                        w->node);
    check(w);
}

static void advance(struct device_wait *w)
{
    struct str uid = pod_of(w)->metadata.uid;
    if (w->step == STEP_READ) {
        send_step(w, STEP_READ);
        return;
    }
    while (w->at < w->count && claim_of(&w->claims[w->at])->status.allocation != NULL &&
           w->claims[w->at].allocation == NULL &&
           claim_reserved_for(claim_of(&w->claims[w->at]), uid))
        w->at++;
    if (w->at == w->count) {
        written(w);
        return;
    }
    const struct waiting *x = &w->claims[w->at];
    if (x->claim == NULL) {
        send_step(w, STEP_CREATE);
        return;
    }
    /* Written once: what is left is to tell the node. */
    if (x->extended != NULL && claim_reserved_for(claim_of(x), uid)) {
        send_step(w, STEP_NOTE);
        return;
    }
    if (overtaken(w, x))
        return;
    bool bare = x->allocation != NULL && !has_finalizer(&claim_of(x)->metadata);
    send_step(w, bare ? STEP_FINALIZER : STEP_STATUS);
}

void device_wait_bind(struct scheduler *s, struct queued_pod *p, const struct node_info *n)
{
    struct device_wait *w = wait_of(s, p);
    if (w == NULL) {
        action_bind(s, p, n);
        return;
    }
    w->writing = true;
    advance(w);
}

/* --- waiting -----------------------------------------------------------------------------------
 */

static void check(struct device_wait *w)
{
    struct scheduler *s = w->scheduler;
    AUTO_ARENA *a = arena_new(0);
    const struct profile *profile = sched_config_profile(s->config, pod_of(w)->spec.scheduler_name);
    uint64_t timeout_ms = profile != NULL ? profile->device_timeout_ms : DEVICE_TIMEOUT_MS;
    for (size_t i = 0; i < w->count; i++) {
        const struct meta_v1_object_meta *m = api_object_meta(w->claims[i].claim);
        const struct api_object *o = devices_claim(s->devices, m->namespace, m->name);
        struct str why = STR_NULL;
        if (o == NULL || !str_eq(api_object_meta(o)->uid, m->uid)) {
            give_up(w, "the claim is gone");
            return;
        }
        enum claim_binding state = claim_binding_state(a, o->msg, &why);
        if (state == CLAIM_BINDING_READY)
            continue;
        if (state == CLAIM_BINDING_WAITS &&
            claim_binding_timed_out(o->msg, (uint64_t)env_wall_ns(s->env), timeout_ms))
            why = arena_printf(a, "claim " STR_FMT " binding timeout", STR_ARG(m->name));
        if (!str_empty(why))
            give_up(w, why.data);
        return;
    }
    finish(w);
}

void device_waits_check(struct scheduler *s)
{
    LIST_FOREACH_SAFE (it, &s->device_waits) {
        struct device_wait *w = LIST_ENTRY(it, struct device_wait, link);
        if (w->pod->deleted && (w->writing || w->ready_wanted))
            drop(w);
        else if (w->ready_wanted && !w->writing)
            check(w);
    }
}
