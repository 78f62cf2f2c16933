/* job.c - runs pods until enough of them have succeeded. What to do is decided
 * in job_plan.c; here it is done, in an order that a crash may cut anywhere:
 *
 *   create or remove pods -> status -> stop pods, let ended ones go
 *
 * Nothing is decided on a Job older than what was written last: its counters
 * could say less than the pods that are already gone. */
#include "controllers/job_metrics.h"
#include "controllers/job_plan.h"
#include "controllers/job_pods.h"
#include "controllers/owned.h"
#include "controllers/pods.h"

#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/owner.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/map.h"
#include "lib/client/labels.h"

#include <stdlib.h>

#define MANAGER "kubernetes.io/job-controller"

static const struct meta_v1_label_selector *selector_of(struct arena *a, const void *msg)
{
    UNUSED(a);
    return ((const struct batch_v1_job *)msg)->spec.selector;
}

static const struct owned_config owned = {.group = "batch",
                                          .kind = "Job",
                                          .selector = selector_of,
                                          .finalizer = JOB_FINALIZER,
                                          .adopt_ended = true};

/* What is known of a Job beyond the cache. */
struct record {
    struct str uid; /* Of the Job it is about. */
    int64_t written_rv;
    struct job_backoff backoff;
};

struct jobs {
    struct map records; /* By key. */
    struct map
        released; /* Uids of pods that have lost their finalizer before the cache shows it. */
};

struct work {
    struct api_object *object;
    const struct batch_v1_job *job;
    struct job_plan plan;
    size_t tried, created; /* So far, of plan.create. */
    size_t batch;
    bool create_failed, status_failed;
    uint64_t began_ms;
};

static const struct api_kind *pod_kind(void)
{
    return api_kind_by_gvk(STR(""), STR("v1"), STR("Pod"));
}

/* --- what is known ------------------------------------------------------------------------------
 */

static void init(struct controller_run *r)
{
    struct jobs *s = r->state = xzalloc(sizeof(*s));
    map_init(&s->records);
    map_init(&s->released);
}

static void record_free(struct record *x)
{
    if (x != NULL)
        free((void *)(uintptr_t)x->uid.data);
    free(x);
}

static void done(struct controller_run *r)
{
    struct jobs *s = r->state;
    struct str key;
    void *x;
    for (size_t at = 0; map_next(&s->records, &at, &key, &x);)
        record_free(x);
    map_done(&s->records);
    map_done(&s->released);
    free(s);
}

static void forget(struct reconcile *c)
{
    struct jobs *s = c->run->state;
    record_free(map_remove(&s->records, c->key));
}

/* NULL: there is none, or of an earlier Job of this name. */
static struct record *record_of(struct reconcile *c, const struct batch_v1_job *j)
{
    struct jobs *s = c->run->state;
    struct record *x = map_get(&s->records, c->key);
    return x != NULL && str_eq(x->uid, j->metadata.uid) ? x : NULL;
}

static void remember(struct reconcile *c, const struct api_object *written)
{
    struct jobs *s = c->run->state;
    struct work *w = c->state;
    struct record *x = record_of(c, w->job);
    if (x == NULL) {
        x = xzalloc(sizeof(*x));
        x->uid = str_of(xasprintf(STR_FMT, STR_ARG(w->job->metadata.uid)));
        record_free(map_set(&s->records, c->key, x));
    }
    x->backoff = w->plan.backoff;
    if (written != NULL)
        str_to_i64(api_object_meta(written)->resource_version, &x->written_rv);
}

static bool is_stale(struct reconcile *c, const struct batch_v1_job *j)
{
    const struct record *x = record_of(c, j);
    int64_t rv;
    return x != NULL && str_to_i64(j->metadata.resource_version, &rv) && rv < x->written_rv;
}

/* --- events -------------------------------------------------------------------------------------
 */

/* Pods that hold our finalizer without a Job to take it off; told apart from
 * Jobs by the second '/'. */
static void enqueue_orphan(struct controller_run *r, const struct api_object *pod)
{
    AUTO_ARENA *a = arena_new(256);
    const struct meta_v1_object_meta *m = api_object_meta(pod);
    controller_enqueue(
        r, arena_printf(a, STR_FMT "//" STR_FMT, STR_ARG(m->namespace), STR_ARG(m->name)));
}

static bool is_managed_elsewhere(const struct batch_v1_job *j)
{
    return j->spec.has_managed_by && !str_eqc(j->spec.managed_by, MANAGER);
}

static void touch_job(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    bool gone =
        o == NULL || (old != NULL && !str_eq(api_object_meta(o)->uid, api_object_meta(old)->uid));
    size_t count;
    controller_enqueue_object(r, o != NULL ? o : old);
    if (old == NULL && is_managed_elsewhere(o->msg))
        job_metrics_managed_elsewhere(((const struct batch_v1_job *)o->msg)->spec.managed_by);
    if (!gone || old == NULL)
        return;
    struct api_object *const *pods =
        controller_owned(r, "", "Pod", api_object_meta(old)->uid, &count);
    for (size_t i = 0; i < count; i++)
        if (job_pod_is_tracked(pods[i]->msg))
            enqueue_orphan(r, pods[i]);
}

static bool is_held_at_end(const struct api_object *pod)
{
    return pod != NULL && pod_is_terminal(pod->msg) && job_pod_is_tracked(pod->msg);
}

static void touch_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    struct jobs *s = r->state;
    if (is_held_at_end(old) != is_held_at_end(o))
        job_metrics_finalizer(is_held_at_end(o) ? "add" : "delete");
    if (o == NULL || !job_pod_is_tracked(o->msg))
        map_remove(&s->released, api_object_meta(o != NULL ? o : old)->uid);
    if (owned_touch_pod(r, &owned, old, o) == NULL && o != NULL && job_pod_is_tracked(o->msg))
        enqueue_orphan(r, o);
}

/* --- creating -----------------------------------------------------------------------------------
 */

static void on_created(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct work *w = c->state;
    struct event_object about = event_object_of(w->object);
    UNUSED(arg);
    if (result->code == 0 && result->object != NULL) {
        w->created++;
        event_record(c->run->recorder, &about, EVENT_NORMAL, "SuccessfulCreate",
                     "Created pod: " STR_FMT, STR_ARG(api_object_meta(result->object)->name));
        return;
    }
    owned_creation_failed(c, result);
    w->create_failed = true;
    if (is_namespace_terminating(result))
        return;
    event_record(c->run->recorder, &about, EVENT_WARNING, "FailedCreate", "Error creating: %s",
                 result->message);
    reconcile_fail(c);
}

static void write_status(struct reconcile *c);

/* 1, 2, 4 ... at a time, until one fails: a quota, say, is not run into a thousand times. */
static void create_batch(struct reconcile *c)
{
    struct work *w = c->state;
    if (w->create_failed || w->tried >= w->plan.create_count) {
        for (size_t i = w->tried; i < w->plan.create_count; i++)
            expectations_creation_observed(c->run->expectations, c->key);
        job_metrics_created(w->job, &w->plan, w->created, w->tried - w->created);
        write_status(c);
        return;
    }
    struct meta_v1_owner_reference owner;
    owner_reference_to(w->object->kind, &w->job->metadata, &owner);
    size_t end = MIN_OF(w->tried + w->batch, w->plan.create_count);
    for (; w->tried < end; w->tried++) {
        struct core_v1_pod pod;
        job_pod_make(c->arena, w->job, &owner, &w->plan.create[w->tried], &pod);
        reconcile_call(c,
                       &(struct client_call){.verb = CLIENT_CREATE,
                                             .kind = pod_kind(),
                                             .namespace_name = c->namespace_name,
                                             .body = &pod},
                       on_created, NULL);
    }
    w->batch *= 2;
    reconcile_then(c, create_batch);
}

/* --- deleting -----------------------------------------------------------------------------------
 */

static void on_deleted(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct core_v1_pod *pod = arg;
    const struct work *w = c->state;
    struct event_object about = event_object_of(w->object);
    if (result->code == 0) {
        event_record(c->run->recorder, &about, EVENT_NORMAL, "SuccessfulDelete",
                     "Deleted pod: " STR_FMT, STR_ARG(pod->metadata.name));
        return;
    }
    owned_deletion_failed(c, result, pod->metadata.uid);
    if (result->code == E_NOT_FOUND)
        return;
    event_record(c->run->recorder, &about, EVENT_WARNING, "FailedDelete", "Error deleting: %s",
                 result->message);
    reconcile_fail(c);
}

static void delete_pod(struct reconcile *c, const struct core_v1_pod *pod)
{
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_DELETE,
                                         .kind = pod_kind(),
                                         .namespace_name = pod->metadata.namespace,
                                         .name = pod->metadata.name,
                                         .uid_precondition = pod->metadata.uid},
                   on_deleted, (void *)(uintptr_t)pod);
}

/* --- letting go ---------------------------------------------------------------------------------
 */

static void let_go(struct reconcile *c, const struct meta_v1_object_meta *m,
                   void (*done_cb)(struct reconcile *, const struct client_result *, void *),
                   const void *arg)
{
    struct client_call call = {
        .verb = CLIENT_PATCH,
        .kind = pod_kind(),
        .namespace_name = m->namespace,
        .name = m->name,
        .patch_type = CLIENT_PATCH_STRATEGIC,
        .raw_body =
            arena_printf(c->arena,
                         "{\"metadata\":{\"uid\":\"" STR_FMT
                         "\",\"$deleteFromPrimitiveList/finalizers\":[\"" JOB_FINALIZER "\"]}}",
                         STR_ARG(m->uid)),
    };
    reconcile_call(c, &call, done_cb, (void *)(uintptr_t)arg);
}

/* A pod that is gone, or another of that name, has nothing to be let go. */
static bool is_let_go(const struct client_result *result)
{
    return result->code == 0 || result->code == E_NOT_FOUND || result->code == E_UNPROCESSABLE;
}

static void on_released(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct core_v1_pod *pod = arg;
    struct jobs *s = c->run->state;
    if (!is_let_go(result)) {
        reconcile_fail(c);
        return;
    }
    struct api_object *now = informer_get(controller_informer(c->run, "", "Pod"),
                                          pod->metadata.namespace, pod->metadata.name);
    if (now != NULL && str_eq(api_object_meta(now)->uid, pod->metadata.uid) &&
        job_pod_is_tracked(now->msg))
        map_set(&s->released, pod->metadata.uid, s);
}

static void on_freed(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct core_v1_pod *pod = arg;
    if (is_let_go(result)) {
        delete_pod(c, pod);
        return;
    }
    owned_deletion_failed(c, result, pod->metadata.uid);
    reconcile_fail(c);
}

/* Pods too many: they count neither way, so that the finalizer goes first. */
static void remove_pods(struct reconcile *c, const struct job_plan *plan)
{
    for (size_t i = 0; i < plan->remove_count; i++) {
        const struct core_v1_pod *pod = plan->remove[i];
        expectations_expect_deletion(c->run->expectations, c->key, pod->metadata.uid);
        if (job_pod_is_tracked(pod))
            let_go(c, &pod->metadata, on_freed, pod);
        else
            delete_pod(c, pod);
    }
}

/* --- reconcile
 * -------------------------------------------------------------------------------------- */

static void finish(struct reconcile *c)
{
    const struct work *w = c->state;
    job_metrics_synced(w->job, w->plan.action, c->failed,
                       (double)(env_now_ms(c->run->env) - w->began_ms) / 1e3);
    if (w->plan.again_after_s != 0)
        reconcile_again_after(c, w->plan.again_after_s * 1000);
    if (job_is_finished(&w->job->status))
        forget(c);
}

static void release_pods(struct reconcile *c)
{
    const struct work *w = c->state;
    for (size_t i = 0; !c->failed && i < w->plan.release_count; i++)
        let_go(c, &w->plan.release[i]->metadata, on_released, w->plan.release[i]);
    reconcile_then(c, finish);
}

static void after_status(struct reconcile *c)
{
    const struct work *w = c->state;
    struct event_object about = event_object_of(w->object);
    if (w->status_failed) { /* Nothing is released that the status does not know of. */
        finish(c);
        return;
    }
    for (size_t i = 0; i < w->plan.event_count; i++)
        event_record(c->run->recorder, &about, w->plan.events[i].type, w->plan.events[i].reason,
                     "%s", w->plan.events[i].message);
    for (size_t i = 0; i < w->plan.stop_count; i++) {
        expectations_expect_deletion(c->run->expectations, c->key, w->plan.stop[i]->metadata.uid);
        delete_pod(c, w->plan.stop[i]);
    }
    reconcile_then(c, release_pods);
}

static void on_written(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct work *w = c->state;
    UNUSED(arg);
    if (result->code == 0) {
        remember(c, result->object);
        job_metrics_written(c->arena, w->job, &w->plan);
        return;
    }
    w->status_failed = true;
    if (result->code != E_NOT_FOUND)
        reconcile_fail(c);
}

static void write_status(struct reconcile *c)
{
    struct work *w = c->state;
    w->plan.status->active += (int32_t)w->created;
    if (api_msg_equal(&batch_v1_job_status_msg, w->plan.status, &w->job->status)) {
        remember(c, NULL);
    } else {
        struct batch_v1_job *copy = reconcile_copy(c, w->object);
        copy->status = *w->plan.status;
        reconcile_update_seen(c, w->object->kind, copy, "status", on_written, NULL);
    }
    reconcile_then(c, after_status);
}

static void act(struct reconcile *c)
{
    struct work *w = c->state;
    remove_pods(c, &w->plan);
    if (w->plan.create_count == 0) {
        reconcile_then(c, write_status);
        return;
    }
    expectations_expect_creations(c->run->expectations, c->key, (unsigned)w->plan.create_count);
    w->batch = 1;
    create_batch(c);
}

static void make_plan(struct reconcile *c, const struct owned_pods *pods)
{
    struct work *w = c->state;
    const struct jobs *s = c->run->state;
    const struct record *x = record_of(c, w->job);
    struct core_v1_pod **list = ARENA_ARRAY(c->arena, struct core_v1_pod *, pods->count + 1);
    bool *released = ARENA_ARRAY(c->arena, bool, pods->count + 1);
    for (size_t i = 0; i < pods->count; i++) {
        list[i] = owned_pod(pods->items[i]);
        released[i] = map_has(&s->released, list[i]->metadata.uid);
    }
    struct job_input in = {
        .job = w->job,
        .pods = list,
        .pod_count = pods->count,
        .released = released,
        .settled = owned_settled(c),
        .now_s = controller_now_s(c->run),
        .backoff = x != NULL ? &x->backoff : NULL,
    };
    job_plan(c->arena, &in, &w->plan);
}

static void reconcile_job(struct reconcile *c, struct api_object *o)
{
    struct work *w = ARENA_NEW(c->arena, struct work);
    c->state = w;
    w->object = reconcile_hold(c, o);
    w->job = o->msg;
    w->began_ms = env_now_ms(c->run->env);
    if (is_managed_elsewhere(w->job) || is_stale(c, w->job))
        return; /* What was written last is on its way and will bring the key back. */
    if (w->job->spec.selector == NULL || label_selector_is_empty(w->job->spec.selector))
        return; /* The API server generates one: without it no pod could be told from others. */
    struct owned_pods pods = owned_gather(c, &owned, o);
    if (pods.adopting)
        return; /* Those adopted will bring the key back. */
    make_plan(c, &pods);
    act(c);
}

/* --- pods without a Job -------------------------------------------------------------------------
 */

static void on_orphan_released(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (!is_let_go(result))
        reconcile_fail(c);
}

/* The server has the last word: the Job may be newer than the cache. */
static void on_owner(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct core_v1_pod *pod = arg;
    const struct meta_v1_owner_reference *ref = owner_controller(&pod->metadata);
    if (result->code == 0 && str_eq(api_object_meta(result->object)->uid, ref->uid))
        return;
    if (result->code == 0 || result->code == E_NOT_FOUND)
        let_go(c, &pod->metadata, on_orphan_released, NULL);
    else
        reconcile_fail(c);
}

static void reconcile_orphan(struct reconcile *c)
{
    struct informer *jobs = controller_informer(c->run, "batch", "Job");
    struct api_object *o = informer_get(controller_informer(c->run, "", "Pod"), c->namespace_name,
                                        str_sub(c->name, 1, c->name.len));
    if (o == NULL || !job_pod_is_tracked(o->msg))
        return;
    const struct core_v1_pod *pod = reconcile_hold(c, o)->msg;
    const struct meta_v1_owner_reference *ref = owner_controller(&pod->metadata);
    if (ref == NULL) {
        let_go(c, &pod->metadata, on_orphan_released, NULL);
        return;
    }
    struct api_object *job = informer_get(jobs, c->namespace_name, ref->name);
    if (!str_eqc(ref->kind, "Job") || !str_eqc(ref->api_version, "batch/v1") ||
        (job != NULL && str_eq(api_object_meta(job)->uid, ref->uid)))
        return;
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_GET,
                                         .kind = informer_kind(jobs),
                                         .namespace_name = c->namespace_name,
                                         .name = ref->name},
                   on_owner, (void *)(uintptr_t)pod);
}

static void reconcile(struct reconcile *c)
{
    if (str_has_prefix(c->name, STR("/"))) {
        reconcile_orphan(c);
        return;
    }
    struct api_object *o = informer_get_key(controller_informer(c->run, "batch", "Job"), c->key);
    if (o != NULL) {
        reconcile_job(c, o);
        return;
    }
    expectations_forget(c->run->expectations, c->key);
    forget(c);
}

static const struct controller_watch watches[] = {
    {"batch", "v1", "Job", touch_job},
    {"", "v1", "Pod", touch_pod},
    {0},
};

const struct controller controller_job = {
    .name = "job-controller",
    .init = init,
    .done = done,
    .watches = watches,
    .reconcile = reconcile,
};
