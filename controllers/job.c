/* job.c - runs pods until enough of them have succeeded. What to do is decided
 * in job_plan.c; here it is done: status, then finalizers, then pods. */
#include "controllers/job_plan.h"
#include "controllers/owned.h"
#include "controllers/pods.h"

#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/client/labels.h"
#include "lib/api/json.h"

static const struct meta_v1_label_selector *selector_of(struct arena *a, const void *msg)
{
    UNUSED(a);
    return ((const struct batch_v1_job *)msg)->spec.selector;
}

static const struct owned_config owned = {"batch", "Job", selector_of};

static void touch_job(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    controller_enqueue_object(r, o != NULL ? o : old);
}

static void touch_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    owned_touch_pod(r, &owned, old, o);
}

struct work {
    struct api_object *object;
    const struct batch_v1_job *job;
    struct job_plan plan;
    int32_t created; /* So far, of plan.create. */
    int32_t batch;
    bool failed;
};

/* --- pods ---------------------------------------------------------------------------------------
 */

static void put_annotation(struct reconcile *c, struct core_v1_pod *pod, const char *key,
                           struct str value)
{
    size_t n = pod->metadata.annotations_count, at = 0;
    struct api_str_entry *list = ARENA_ARRAY(c->arena, struct api_str_entry, n + 1);
    while (at < n && str_cmp(pod->metadata.annotations[at].key, str_of(key)) < 0)
        at++;
    if (n != 0) {
        memcpy(list, pod->metadata.annotations, at * sizeof(*list));
        memcpy(list + at + 1, pod->metadata.annotations + at, (n - at) * sizeof(*list));
    }
    list[at] = (struct api_str_entry){str_of(key), value};
    pod->metadata.annotations = list;
    pod->metadata.annotations_count = n + 1;
}

static void put_label(struct reconcile *c, struct core_v1_pod *pod, const char *key,
                      struct str value)
{
    struct core_v1_pod other = {.metadata.annotations = pod->metadata.labels,
                                .metadata.annotations_count = pod->metadata.labels_count};
    put_annotation(c, &other, key, value);
    pod->metadata.labels = other.metadata.annotations;
    pod->metadata.labels_count = other.metadata.annotations_count;
}

/* Every container learns its index. */
static void add_index_env(struct reconcile *c, struct core_v1_container *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t n = list[i].env_count;
        struct core_v1_env_var *env = ARENA_ARRAY(c->arena, struct core_v1_env_var, n + 1);
        if (n != 0)
            memcpy(env, list[i].env, n * sizeof(*env));
        env[n].name = STR("JOB_COMPLETION_INDEX");
        env[n].value_from = ARENA_NEW(c->arena, struct core_v1_env_var_source);
        env[n].value_from->field_ref = ARENA_NEW(c->arena, struct core_v1_object_field_selector);
        env[n].value_from->field_ref->field_path = STR("metadata.annotations['" JOB_INDEX "']");
        list[i].env = env;
        list[i].env_count = n + 1;
    }
}

static void set_index(struct reconcile *c, const struct batch_v1_job *job, struct core_v1_pod *pod,
                      int32_t index)
{
    struct str text = arena_printf(c->arena, "%d", (int)index);
    put_annotation(c, pod, JOB_INDEX, text);
    put_label(c, pod, JOB_INDEX, text);
    pod->metadata.generate_name =
        arena_printf(c->arena, STR_FMT "-%d-", STR_ARG(job->metadata.name), (int)index);
    if (str_empty(pod->spec.hostname))
        pod->spec.hostname =
            arena_printf(c->arena, STR_FMT "-%d", STR_ARG(job->metadata.name), (int)index);
    struct core_v1_pod_spec *spec = api_msg_clone(c->arena, &core_v1_pod_spec_msg, &pod->spec);
    add_index_env(c, spec->containers, spec->containers_count);
    add_index_env(c, spec->init_containers, spec->init_containers_count);
    pod->spec = *spec;
}

static void make_pod(struct reconcile *c, const struct work *w, int32_t nth,
                     struct core_v1_pod *ret)
{
    struct meta_v1_owner_reference owner;
    owner_reference_to(w->object->kind, &w->job->metadata, &owner);
    pod_from_template(c->arena, &w->job->spec.template, w->job->metadata.namespace,
                      w->job->metadata.name, &owner, ret);
    struct str *finalizers = ARENA_ARRAY(c->arena, struct str, ret->metadata.finalizers_count + 1);
    for (size_t i = 0; i < ret->metadata.finalizers_count; i++)
        finalizers[i] = ret->metadata.finalizers[i];
    finalizers[ret->metadata.finalizers_count++] = STR(JOB_FINALIZER);
    ret->metadata.finalizers = finalizers;
    if (job_is_indexed(w->job))
        set_index(c, w->job, ret, w->plan.indexes[nth]);
}

static void on_created(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct work *w = c->state;
    struct event_object about = event_object_of(w->object);
    UNUSED(arg);
    if (result->code == 0 && result->object != NULL) {
        event_record(c->run->recorder, &about, EVENT_NORMAL, "SuccessfulCreate",
                     "Created pod: " STR_FMT, STR_ARG(api_object_meta(result->object)->name));
        return;
    }
    expectations_creation_observed(c->run->expectations, c->key);
    w->failed = true;
    if (is_namespace_terminating(result))
        return;
    event_record(c->run->recorder, &about, EVENT_WARNING, "FailedCreate", "Error creating: %s",
                 result->message);
    reconcile_fail(c);
}

static void create_batch(struct reconcile *c)
{
    struct work *w = c->state;
    if (w->failed || w->created >= w->plan.create) {
        for (int32_t i = w->created; i < w->plan.create; i++)
            expectations_creation_observed(c->run->expectations, c->key);
        return;
    }
    int32_t end = MIN_OF(w->created + w->batch, w->plan.create);
    for (; w->created < end; w->created++) {
        struct core_v1_pod pod;
        make_pod(c, w, w->created, &pod);
        struct client_call call = {
            .verb = CLIENT_CREATE,
            .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
            .namespace_name = c->namespace_name,
            .body = &pod,
        };
        reconcile_call(c, &call, on_created, NULL);
    }
    w->batch *= 2;
    reconcile_then(c, create_batch);
}

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
    expectations_deletion_observed(c->run->expectations, c->key, pod->metadata.uid);
    if (result->code != E_NOT_FOUND)
        reconcile_fail(c);
}

static void delete_pods(struct reconcile *c, const struct work *w)
{
    for (size_t i = 0; i < w->plan.remove_count; i++) {
        const struct core_v1_pod *pod = w->plan.remove[i];
        expectations_expect_deletion(c->run->expectations, c->key, pod->metadata.uid);
        struct client_call call = {
            .verb = CLIENT_DELETE,
            .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
            .namespace_name = pod->metadata.namespace,
            .name = pod->metadata.name,
            .uid_precondition = pod->metadata.uid,
        };
        reconcile_call(c, &call, on_deleted, (void *)(uintptr_t)pod);
    }
}

/* --- finalizers
 * ------------------------------------------------------------------------------------ */

static void on_released(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code != 0 && result->code != E_NOT_FOUND && result->code != E_UNPROCESSABLE)
        reconcile_fail(c);
}

static void release_pods(struct reconcile *c, const struct job_plan *plan)
{
    for (size_t i = 0; i < plan->release_count; i++) {
        const struct meta_v1_object_meta *m = &plan->release[i]->metadata;
        struct client_call call = {
            .verb = CLIENT_PATCH,
            .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
            .namespace_name = m->namespace,
            .name = m->name,
            .patch_type = CLIENT_PATCH_STRATEGIC,
            .raw_body =
                arena_printf(c->arena,
                             "{\"metadata\":{\"uid\":\"" STR_FMT "\",\"$deleteFromPrimitiveList/"
                             "finalizers\":[\"" JOB_FINALIZER "\"]}}",
                             STR_ARG(m->uid)),
        };
        reconcile_call(c, &call, on_released, NULL);
    }
}

/* --- reconcile
 * -------------------------------------------------------------------------------------- */

static void after_status(struct reconcile *c)
{
    struct work *w = c->state;
    if (c->failed)
        return; /* Nothing is released that the status does not know of. */
    if (w->plan.event_reason != NULL) {
        struct event_object about = event_object_of(w->object);
        event_record(c->run->recorder, &about, w->plan.event_type, w->plan.event_reason, "%s",
                     w->plan.event_message);
    }
    release_pods(c, &w->plan);
    delete_pods(c, w);
    if (w->plan.create > 0) {
        expectations_expect_creations(c->run->expectations, c->key, (unsigned)w->plan.create);
        w->batch = 1;
        create_batch(c);
    }
    if (w->plan.again_after_s != 0)
        reconcile_again_after(c, w->plan.again_after_s * 1000);
}

/* The Job is gone: its pods must not be held by our finalizer. */
static void release_orphans(struct reconcile *c)
{
    expectations_forget(c->run->expectations, c->key);
    size_t count;
    struct job_plan plan = {0};
    struct api_object *const *pods =
        controller_in_namespace(c->run, "", "Pod", c->namespace_name, &count);
    plan.release = ARENA_ARRAY(c->arena, const struct core_v1_pod *, count + 1);
    for (size_t i = 0; i < count; i++) {
        const struct core_v1_pod *p = pods[i]->msg;
        const struct meta_v1_owner_reference *ref = owner_controller(&p->metadata);
        bool ours = ref != NULL && str_eqc(ref->kind, "Job") && str_eq(ref->name, c->name);
        for (size_t k = 0; ours && k < p->metadata.finalizers_count; k++)
            if (str_eqc(p->metadata.finalizers[k], JOB_FINALIZER))
                plan.release[plan.release_count++] = reconcile_hold(c, pods[i])->msg;
    }
    release_pods(c, &plan);
}

static void reconcile(struct reconcile *c)
{
    struct api_object *o = informer_get_key(controller_informer(c->run, "batch", "Job"), c->key);
    if (o == NULL) {
        release_orphans(c);
        return;
    }
    struct work *w = ARENA_NEW(c->arena, struct work);
    c->state = w;
    w->object = reconcile_hold(c, o);
    w->job = o->msg;
    if (w->job->spec.has_managed_by &&
        !str_eqc(w->job->spec.managed_by, "kubernetes.io/job-controller"))
        return;
    if (w->job->spec.selector == NULL || label_selector_is_empty(w->job->spec.selector))
        return; /* The API server generates one: without it no pod could be told from others. */
    bool settled = expectations_satisfied(c->run->expectations, c->key);
    struct owned_pods pods = owned_gather(c, &owned, o);
    struct core_v1_pod **list = ARENA_ARRAY(c->arena, struct core_v1_pod *, pods.count + 1);
    for (size_t i = 0; i < pods.count; i++)
        list[i] = owned_pod(pods.items[i]);
    struct job_input in = {w->job, list, pods.count, settled, controller_now_s(c->run)};
    job_plan(c->arena, &in, &w->plan);
    if (!api_msg_equal(&batch_v1_job_status_msg, w->plan.status, &w->job->status)) {
        struct batch_v1_job *copy = reconcile_copy(c, o);
        copy->status = *w->plan.status;
        reconcile_update(c, o->kind, copy, "status");
    }
    reconcile_then(c, after_status);
}

static const struct controller_watch watches[] = {
    {"batch", "v1", "Job", touch_job},
    {"", "v1", "Pod", touch_pod},
    {0},
};

const struct controller controller_job = {
    .name = "job-controller",
    .watches = watches,
    .reconcile = reconcile,
};
