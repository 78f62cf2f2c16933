/* volume_wait.c - between the choice of a node and the binding: what the pod's
 * claims still need is written, and the pod keeps its place on the node until
 * the binder and the provisioners have done their part.
 *
 *   plan -> reserve volumes, order new ones -> claims bound -> device_wait_bind()
 *                                          \-> failed, 10 min over -> again */
#include "scheduler/scheduler_internal.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/client/claims.h"
#include "lib/client/labels.h"
#include "scheduler/claims.h"
#include "scheduler/plugins/plugins.h"

struct volume_write {
    struct list link; /* In wait.writes. */
    struct volume_wait *wait;
    struct client_request *request;
};

struct awaited {
    struct claim_plan plan; /* Until it is written: one reference each. */
    char *claim;            /* Name, in the pod's namespace. */
    char *uid;              /* Of the claim. */
    char *volume;           /* Reserved for it; NULL: one is being made. */
    bool ordered;           /* The node was seen in the claim. */
};

struct volume_wait {
    struct list link; /* In scheduler.volume_waits. */
    struct scheduler *scheduler;
    struct queued_pod *pod; /* In its cycle until we are done. */
    char *node;
    struct awaited *claims;
    size_t count;
    struct list writes;
    char *failure; /* Of a write. */
    bool held;     /* Nothing is written yet. */
    uint64_t due_ms;
};

static const struct core_v1_pod *pod_of(const struct volume_wait *w)
{
    return w->pod->object->msg;
}

static void wait_free(struct volume_wait *w)
{
    list_remove(&w->link);
    for (struct list *n; (n = list_pop_front(&w->writes)) != NULL;) {
        struct volume_write *v = LIST_ENTRY(n, struct volume_write, link);
        client_cancel(v->request);
        free(v);
    }
    for (size_t i = 0; i < w->count; i++) {
        api_object_unref(w->claims[i].plan.claim);
        api_object_unref(w->claims[i].plan.volume);
        free(w->claims[i].claim);
        free(w->claims[i].uid);
        free(w->claims[i].volume);
    }
    free(w->claims);
    free(w->failure);
    free(w->node);
    free(w);
}

void volume_waits_cancel(struct scheduler *s)
{
    LIST_FOREACH_SAFE (it, &s->volume_waits)
        wait_free(LIST_ENTRY(it, struct volume_wait, link));
}

bool volume_wait_holds(const struct scheduler *s, struct str volume)
{
    LIST_FOREACH (it, &s->volume_waits) {
        const struct volume_wait *w = LIST_ENTRY(it, struct volume_wait, link);
        for (size_t i = 0; i < w->count; i++)
            if (w->claims[i].volume != NULL && str_eqc(volume, w->claims[i].volume))
                return true;
    }
    return false;
}

/* --- writes ----------------------------------------------------------------------------------- */

static void on_written(struct client_request *r, const struct client_result *result, void *arg)
{
    struct volume_write *v = arg;
    struct volume_wait *w = v->wait;
    struct scheduler *s = w->scheduler;
    UNUSED(r);
    list_remove(&v->link);
    free(v);
    if (result->code != 0 && w->failure == NULL)
        w->failure = xstrdup(result->message);
    volume_waits_check(s);
    scheduler_wake(s);
}

static void write_object(struct volume_wait *w, const struct api_object *o, const void *msg)
{
    const struct meta_v1_object_meta *m = api_object_meta(o);
    struct volume_write *v = xzalloc(sizeof(*v));
    struct client_call call = {.verb = CLIENT_UPDATE,
                               .kind = o->kind,
                               .namespace_name = m->namespace,
                               .name = m->name,
                               .body = msg,
                               .undecoded = true,
                               .done = on_written,
                               .arg = v};
    struct error err = {0};
    v->wait = w;
    if (client_start(w->scheduler->client, &call, &v->request, &err) == 0) {
        list_push_back(&w->writes, &v->link);
        return;
    }
    free(v);
    if (w->failure == NULL)
        w->failure = xstrdup(error_message(&err));
}

static void reserve(struct volume_wait *w, const struct claim_plan *p)
{
    AUTO_ARENA *a = arena_new(0);
    const struct core_v1_persistent_volume_claim *c = p->claim->msg;
    struct core_v1_persistent_volume v = *(const struct core_v1_persistent_volume *)p->volume->msg;
    struct core_v1_object_reference ref = {.kind = STR("PersistentVolumeClaim"),
                                           .api_version = STR("v1"),
                                           .namespace = c->metadata.namespace,
                                           .name = c->metadata.name,
                                           .uid = c->metadata.uid,
                                           .resource_version = c->metadata.resource_version};
    if (v.spec.claim_ref != NULL && str_eq(v.spec.claim_ref->uid, c->metadata.uid))
        return;
    if (!volume_is_of_claim(&v, c))
        annotation_put(a, &v.metadata, ANNOTATION_BOUND_BY_CONTROLLER, STR("yes"));
    v.spec.claim_ref = &ref;
    write_object(w, p->volume, &v);
}

static void order(struct volume_wait *w, const struct claim_plan *p)
{
    AUTO_ARENA *a = arena_new(0);
    struct core_v1_persistent_volume_claim c =
        *(const struct core_v1_persistent_volume_claim *)p->claim->msg;
    const struct str *chosen = annotation_get(&c.metadata, ANNOTATION_SELECTED_NODE);
    if (chosen != NULL && str_eqc(*chosen, w->node))
        return;
    annotation_put(a, &c.metadata, ANNOTATION_SELECTED_NODE, str_of(w->node));
    write_object(w, p->claim, &c);
}

static char *copy(struct str s)
{
    return xstrndup(s.data, s.len);
}

struct volume_wait *volume_wait_hold(struct scheduler *s, const struct cycle *c,
                                     struct queued_pod *p, const struct node_info *n)
{
    const struct claim_plan *plans;
    size_t count = volume_binding_plan(c, n->node, &plans);
    if (count == 0)
        return NULL;
    struct volume_wait *w = xzalloc(sizeof(*w));
    *w = (struct volume_wait){.scheduler = s, .pod = p, .count = count, .held = true};
    w->node = xstrdup(n->name);
    w->claims = xzalloc(count * sizeof(*w->claims));
    list_init(&w->writes);
    list_push_back(&s->volume_waits, &w->link);
    for (size_t i = 0; i < count; i++) {
        const struct meta_v1_object_meta *m = api_object_meta(plans[i].claim);
        w->claims[i].claim = copy(m->name);
        w->claims[i].uid = copy(m->uid);
        w->claims[i].plan.claim = api_object_ref(plans[i].claim);
        if (plans[i].volume == NULL)
            continue;
        w->claims[i].plan.volume = api_object_ref(plans[i].volume);
        w->claims[i].volume = copy(api_object_meta(plans[i].volume)->name);
    }
    return w;
}

void volume_wait_start(struct volume_wait *w)
{
    w->held = false;
    w->due_ms = env_now_ms(w->scheduler->env) + w->scheduler->config->bind_timeout_ms;
    for (size_t i = 0; i < w->count; i++) {
        struct claim_plan *plan = &w->claims[i].plan;
        if (plan->volume != NULL)
            reserve(w, plan);
        else
            order(w, plan);
        api_object_unref(plan->claim);
        api_object_unref(plan->volume);
        *plan = (struct claim_plan){0};
    }
}

void volume_wait_drop(struct volume_wait *w)
{
    ASSERT(w->held);
    wait_free(w);
}

/* --- waiting ---------------------------------------------------------------------------------- */

enum progress { PROGRESS_WAITS, PROGRESS_DONE, PROGRESS_FAILED };

/* *why: set when it failed, static. */
static enum progress look_at(struct volume_wait *w, struct awaited *x, const char **why)
{
    const struct pod_facts *f = &w->scheduler->facts;
    const struct api_object *o = f->claim(f->arg, pod_of(w)->metadata.namespace, str_of(x->claim));
    const struct core_v1_persistent_volume_claim *c = o != NULL ? o->msg : NULL;
    const struct core_v1_node *node = NULL;
    struct node_info *n = snapshot_node(&w->scheduler->snapshot, str_of(w->node));
    *why = "the claim is gone";
    if (c == NULL || !str_eqc(c->metadata.uid, x->uid))
        return PROGRESS_FAILED;
    *why = "the node is gone";
    if (n == NULL)
        return PROGRESS_FAILED;
    node = n->node;
    if (!str_empty(c->spec.volume_name) &&
        annotation_get(&c->metadata, ANNOTATION_BIND_COMPLETED) != NULL) {
        const struct api_object *v = f->volume(f->arg, c->spec.volume_name);
        *why = "the claim was bound to a volume that the node does not reach";
        if (v != NULL && !volume_reaches_node(v->msg, node))
            return PROGRESS_FAILED;
        return v != NULL ? PROGRESS_DONE : PROGRESS_WAITS;
    }
    if (x->volume != NULL)
        return PROGRESS_WAITS;
    const struct str *chosen = annotation_get(&c->metadata, ANNOTATION_SELECTED_NODE);
    bool ours = chosen != NULL && str_eqc(*chosen, w->node);
    *why = "provisioning failed for the selected node";
    if (x->ordered && !ours)
        return PROGRESS_FAILED; /* The provisioner gave it back. */
    x->ordered = ours;
    return PROGRESS_WAITS;
}

static void give_up(struct volume_wait *w, const char *why)
{
    struct scheduler *s = w->scheduler;
    struct queued_pod *p = w->pod;
    const struct core_v1_pod *pod = pod_of(w);
    struct event_object about = event_object_of(p->object);
    snapshot_forget(&s->snapshot, pod->metadata.uid);
    device_wait_undo(s, p);
    log_info("volumes of " STR_FMT "/" STR_FMT " for %s: %s", STR_ARG(pod->metadata.namespace),
             STR_ARG(pod->metadata.name), w->node, why);
    event_record_action(s->recorder, &about, EVENT_WARNING, "FailedScheduling", "Scheduling",
                        "running PreBind plugin \"VolumeBinding\": binding volumes: %s", why);
    wait_free(w);
    sched_queue_retry(&s->queue, p, env_now_ms(s->env));
    sched_queue_event(&s->queue, EVENT_POD_DELETE, env_now_ms(s->env));
}

/* The pod was deleted while it waited. */
static void drop(struct volume_wait *w)
{
    struct scheduler *s = w->scheduler;
    struct queued_pod *p = w->pod;
    snapshot_forget(&s->snapshot, pod_of(w)->metadata.uid);
    device_wait_undo(s, p);
    wait_free(w);
    sched_queue_placed(&s->queue, p);
    sched_queue_event(&s->queue, EVENT_POD_DELETE, env_now_ms(s->env));
}

static void check(struct volume_wait *w)
{
    struct scheduler *s = w->scheduler;
    const char *why = NULL;
    size_t done = 0;
    if (w->held)
        return;
    if (w->pod->deleted) {
        drop(w);
        return;
    }
    if (w->failure != NULL) {
        AUTO_FREE char *text = take(w->failure);
        give_up(w, text);
        return;
    }
    for (size_t i = 0; i < w->count; i++) {
        enum progress p = look_at(w, &w->claims[i], &why);
        if (p == PROGRESS_FAILED) {
            give_up(w, why);
            return;
        }
        done += p == PROGRESS_DONE;
    }
    if (done == w->count) {
        struct queued_pod *p = w->pod;
        const struct node_info *n = snapshot_node(&s->snapshot, str_of(w->node));
        wait_free(w);
        device_wait_bind(s, p, n);
    } else if (env_now_ms(s->env) >= w->due_ms) {
        give_up(w, "context deadline exceeded");
    }
}

void volume_waits_check(struct scheduler *s)
{
    LIST_FOREACH_SAFE (it, &s->volume_waits)
        check(LIST_ENTRY(it, struct volume_wait, link));
}
