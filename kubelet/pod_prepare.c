/* pod_prepare.c - what a pod needs before it can run, and keeps needing:
 * ConfigMaps, Secrets and tokens from the API, volumes on disk, its cgroup. */
#include "kubelet/csi.h"
#include "kubelet/device_manager.h"
#include "kubelet/dra.h"
#include "kubelet/job.h"
#include "kubelet/pinning.h"
#include "kubelet/object_store.h"
#include "kubelet/pod_certificates.h"
#include "kubelet/pod_sources.h"
#include "kubelet/pod_worker_internal.h"
#include "kubelet/resources.h"
#include "kubelet/trust_bundles.h"
#include "kubelet/user_namespaces.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/client/client.h"

#include "api/authentication_v1.h"
#include "api/core_v1.h"

#define SOURCES_AGE_MAX_MS 30000u
#define FETCH_ROUNDS_MAX 4u

/* --- context ----------------------------------------------------------------------- */

const char *worker_pod_ip(const struct pod_worker *w)
{
    const struct rt_sandbox *s = rt_pod_sandbox(w->rt);
    if (worker_pod(w) != NULL && worker_pod(w)->spec.host_network)
        return w->k->host_ip_count > 0 ? w->k->host_ips[0] : "127.0.0.1";
    return s != NULL && s->ip_count > 0 ? s->ips[0] : "";
}

void worker_field_context(const struct pod_worker *w, struct field_context *ret)
{
    const struct kubelet *k = w->k;
    const struct rt_sandbox *s = rt_pod_sandbox(w->rt);
    *ret = (struct field_context){
        .pod = worker_pod(w),
        .node_name = k->node_name,
        .cluster_domain = k->config.cluster_domain,
        .host_ips = k->host_ips,
        .host_ip_count = k->host_ip_count,
        .allocatable = k->allocatable,
        .allocatable_count = k->allocatable_count,
    };
    if (worker_pod(w)->spec.host_network) {
        ret->pod_ips = k->host_ips;
        ret->pod_ip_count = k->host_ip_count;
    } else if (s != NULL) {
        ret->pod_ips = s->ips;
        ret->pod_ip_count = s->ip_count;
    }
}

/* --- sources ------------------------------------------------------------------------ */

struct fetch {
    struct pod_worker *w;
    uint64_t set_id; /* Of the set at the start: a new spec brings a new one. */
    size_t open;
    unsigned rounds;
    void (*done)(struct pod_worker *w, void *arg);
    void *arg;
};

struct fetch_one {
    struct fetch *fetch;
    size_t index;
    struct object_read read; /* Of what the store holds. */
};

static bool fetch_start(struct fetch *f, size_t index);

/* What the answers lead to is fetched next: claims name volumes, those their drivers. */
static void fetch_more(struct fetch *f)
{
    struct source_set *set = f->w->sources;
    size_t from = set->count;
    if (f->rounds++ >= FETCH_ROUNDS_MAX ||
        !source_set_follow(set, worker_pod(f->w), f->w->k->node_name))
        return;
    for (size_t i = 0; i < set->count; i++)
        if ((i >= from || set->items[i].stale) && fetch_start(f, i))
            f->open++;
}

static void fetch_end(struct fetch *f)
{
    if (--f->open > 0)
        return;
    struct pod_worker *w = f->w;
    if (w->sources != NULL && w->sources->id == f->set_id && w->k->client != NULL) {
        f->open++;
        fetch_more(f);
        if (--f->open > 0)
            return;
        w->sources_ms = kubelet_now_ms(w->k);
    }
    f->done(w, f->arg);
    free(f);
}

static void on_fetched(struct client_request *r, const struct client_result *result, void *arg)
{
    struct fetch_one *one = arg;
    struct fetch *f = one->fetch;
    UNUSED(r);
    /* The pod's spec may have changed meanwhile, and its set with it. */
    if (f->w->sources != NULL && f->w->sources->id == f->set_id) {
        struct source *s = &f->w->sources->items[one->index];
        s->stale = false;
        uint64_t now_ms = kubelet_now_ms(f->w->k);
        if (result->code == 0 && result->object != NULL) {
            api_object_unref(s->object);
            s->object = api_object_ref(result->object);
            s->code = 0;
            free(take(s->message));
            s->fetched_ms = now_ms;
            if (s->kind == SOURCE_TOKEN)
                s->refresh_ms = now_ms + source_token_use_ms(s->object, s->expiration_s,
                                                             kubelet_wall_s(f->w->k));
        } else {
            /* What we have stays in use while the server is away. */
            if (result->code == E_NOT_FOUND && s->kind != SOURCE_TOKEN)
                api_object_unref(take(s->object));
            s->code = result->code != 0 ? result->code : E_INTERNAL;
            free(s->message);
            s->message = xstrdup(result->message);
        }
    }
    free(one);
    fetch_end(f);
}

/* --- of the store --- */

static void take_held(struct pod_worker *w, struct source *s)
{
    const struct held_object *o = s->use->of;
    struct api_object *before = s->object;
    s->object = o->object != NULL ? api_object_ref(o->object) : NULL;
    api_object_unref(before);
    s->code = o->code;
    free(s->message);
    s->message = o->code != 0 ? xstrdup(o->message) : NULL;
    s->fetched_ms = kubelet_now_ms(w->k);
}

static void on_held_read(struct object_read *r)
{
    struct fetch_one *one = CONTAINER_OF(r, struct fetch_one, read);
    struct fetch *f = one->fetch;
    if (f->w->sources != NULL && f->w->sources->id == f->set_id &&
        f->w->sources->items[one->index].use != NULL)
        take_held(f->w, &f->w->sources->items[one->index]);
    free(one);
    fetch_end(f);
}

/* True when an answer is waited for. */
static bool fetch_held(struct fetch *f, size_t index)
{
    struct pod_worker *w = f->w;
    struct source *s = &w->sources->items[index];
    if (object_store_look(s->use, object_store_ttl_ms(w->k), kubelet_now_ms(w->k))) {
        take_held(w, s);
        return false;
    }
    struct fetch_one *one = xzalloc(sizeof(*one));
    one->fetch = f;
    one->index = index;
    object_store_read(s->use, &one->read, on_held_read);
    return true;
}

/* --- of the API --- */

/* What a source other than a token is called in the API. */
static void name_object(const struct source *s, struct client_call *call)
{
    static const struct {
        const char *api_version, *kind;
        bool namespaced;
    } table[] = {
        [SOURCE_CONFIG_MAP] = {"v1", "ConfigMap", true},
        [SOURCE_SECRET] = {"v1", "Secret", true},
        [SOURCE_CLAIM] = {"v1", "PersistentVolumeClaim", true},
        [SOURCE_RUNTIME_CLASS] = {"node.k8s.io/v1", "RuntimeClass", false},
        [SOURCE_VOLUME] = {"v1", "PersistentVolume", false},
        [SOURCE_CSI_DRIVER] = {"storage.k8s.io/v1", "CSIDriver", false},
        [SOURCE_ATTACHMENT] = {"storage.k8s.io/v1", "VolumeAttachment", false},
        [SOURCE_CSI_SECRET] = {"v1", "Secret", true},
    };
    call->kind =
        api_kind_by_api_version(str_of(table[s->kind].api_version), str_of(table[s->kind].kind));
    if (!table[s->kind].namespaced)
        call->namespace_name = STR_NULL;
    if (s->kind == SOURCE_CSI_SECRET)
        str_cut(s->name, '/', &call->namespace_name, &call->name);
}

/* True when a call is under way. */
static bool fetch_start(struct fetch *f, size_t index)
{
    struct pod_worker *w = f->w;
    const struct core_v1_pod *pod = worker_pod(w);
    struct source *s = &w->sources->items[index];
    if (s->use != NULL)
        return fetch_held(f, index);
    struct fetch_one *one = xzalloc(sizeof(*one));
    one->fetch = f;
    one->index = index;
    struct client_call call = {.verb = CLIENT_GET,
                               .namespace_name = pod->metadata.namespace,
                               .name = s->name,
                               .timeout_ms = 10000,
                               .done = on_fetched,
                               .arg = one};
    struct authentication_v1_token_request body = {0};
    struct authentication_v1_bound_object_reference ref = {.kind = STR("Pod"),
                                                           .api_version = STR("v1"),
                                                           .name = pod->metadata.name,
                                                           .uid = pod->metadata.uid};
    if (s->kind == SOURCE_TOKEN) {
        body.spec.has_expiration_seconds = true;
        body.spec.expiration_seconds = s->expiration_s;
        body.spec.bound_object_ref = &ref;
        body.spec.audiences = &s->name;
        body.spec.audiences_count = str_empty(s->name) ? 0 : 1;
        call.verb = CLIENT_CREATE;
        call.kind = api_kind_by_api_version(STR("v1"), STR("ServiceAccount"));
        call.name = str_empty(pod->spec.service_account_name) ? STR("default")
                                                              : pod->spec.service_account_name;
        call.subresource = "token";
        call.body_kind =
            api_kind_by_api_version(STR("authentication.k8s.io/v1"), STR("TokenRequest"));
        call.body = &body;
    } else {
        name_object(s, &call);
    }
    struct error err;
    if (client_start(w->k->client, &call, NULL, &err) != 0) {
        s->code = err.code;
        free(s->message);
        s->message = xstrdup(error_message(&err));
        free(one);
        return false;
    }
    return true;
}

/* Found, but not yet as it must be. */
static bool waits_for_change(const struct source *s)
{
    return (s->kind == SOURCE_CLAIM || s->kind == SOURCE_ATTACHMENT) && !source_is_settled(s) &&
           !s->may_grow;
}

void worker_fetch_sources(struct pod_worker *w, uint64_t max_age_ms,
                          void (*done)(struct pod_worker *w, void *arg), void *arg)
{
    uint64_t now_ms = kubelet_now_ms(w->k);
    struct source_set *set = w->sources;
    bool fresh = w->sources_ms != 0 && now_ms - w->sources_ms <= max_age_ms;
    struct fetch *f = xzalloc(sizeof(*f));
    *f = (struct fetch){
        .w = w, .set_id = set != NULL ? set->id : 0, .open = 1, .done = done, .arg = arg};
    for (size_t i = 0; set != NULL && w->k->client != NULL && i < set->count; i++) {
        struct source *s = &set->items[i];
        if (s->use == NULL && s->object != NULL &&
            (s->kind == SOURCE_TOKEN ? now_ms < s->refresh_ms : fresh) && !waits_for_change(s))
            continue;
        if (source_is_settled(s))
            continue;
        if (fetch_start(f, i))
            f->open++;
    }
    fetch_end(f);
}

/* --- volumes and cgroup -------------------------------------------------------------- */

struct preparation {
    struct pod_worker *w;
    size_t next; /* Of the CSI volumes. */
    struct volume_set *plan;
    const struct cgroups *cgroups;
    enum qos_class qos;
    struct cgroup_limits limits;
    uint32_t first_user, user_count; /* 0: those of the machine. */
    int code;
    const char *reason; /* Of the event when it fails; NULL: it was told. */
    struct error err;
    void (*done)(struct pod_worker *w, int code);
};

static void run_preparation(void *arg)
{
    struct preparation *p = arg;
    if (p->cgroups != NULL)
        p->code = cgroups_setup_pod(p->cgroups, p->qos, p->w->uid, &p->limits, &p->err);
    if (p->code == 0)
        p->code = volumes_apply(p->plan, &p->err);
    if (p->code == 0 && p->first_user != 0)
        p->code = user_namespaces_write(p->plan->pod_dir, p->first_user, p->user_count, &p->err);
}

static void report_failure(struct pod_worker *w, const struct error *err, const char *reason)
{
    if (err->code == E_AGAIN && strcmp(reason, "FailedMount") == 0)
        return; /* Others are at work: it is only a matter of time. */
    bool same = w->prepare_error != NULL && strcmp(w->prepare_error, error_message(err)) == 0;
    free(w->prepare_error);
    w->prepare_error = xstrdup(error_message(err));
    /* Tries come fast at first: events only for each doubling of their number. */
    if (!same || (w->prepare_failures & (w->prepare_failures - 1)) == 0)
        worker_event(w, NULL, "Warning", reason, "%s", error_message(err));
    if (!same)
        log_warning("pod %s/%s: %s", w->namespace_name, w->name, error_message(err));
}

static void finish_preparation(void *arg)
{
    struct preparation *p = arg;
    struct pod_worker *w = p->w;
    if (p->code == 0) {
        volume_set_inherit(p->plan, w->volumes);
        volume_set_free(w->volumes);
        w->volumes = take(p->plan);
        free(take(w->prepare_error));
    } else {
        if (p->reason != NULL)
            report_failure(w, &p->err, p->reason);
    }
    volume_set_free(p->plan);
    void (*done)(struct pod_worker *, int) = p->done;
    int code = p->code;
    free(p);
    done(w, code);
}

/* --- CSI volumes, one after the other --- */

static void mount_next(struct preparation *p);

static void run_group(void *arg)
{
    struct preparation *p = arg;
    p->code = volume_give_to_group(&p->plan->items[p->next], &p->err);
}

static void after_mount(void *arg)
{
    struct preparation *p = arg;
    if (p->code != 0) {
        error_prefix(&p->err, "MountVolume.SetUp failed for volume \"%s\" ",
                     p->plan->items[p->next].name);
        finish_preparation(p);
        return;
    }
    p->next++;
    mount_next(p);
}

static void on_csi_mounted(int code, const struct error *err, void *arg)
{
    struct preparation *p = arg;
    p->code = code;
    if (code != 0)
        p->err = *err;
    const struct csi_mount *m = p->plan->items[p->next].csi;
    if (m->grown != NULL)
        p->w->sources_ms = 0; /* The claim that we have is an old one now. */
    if (code == 0 && m->group_allowed && !csi_gives_to_group(p->w->k->csi, m->driver) &&
        (!p->w->volumes_ready || m->republish))
        job_start(p->w->k->loop, run_group, after_mount, p);
    else
        after_mount(p);
}

/* Once mounted a volume stays so: drivers are not asked each minute, but those that want to be, and
 * those of volumes that have grown. */
static void mount_next(struct preparation *p)
{
    const struct volume_set *s = p->plan;
    bool there = p->w->volumes_ready;
    while (p->next < s->count && (s->items[p->next].kind != VOLUME_CSI ||
                                  (there && !csi_mount_is_due(s->items[p->next].csi))))
        p->next++;
    if (p->next == s->count)
        finish_preparation(p);
    else
        csi_mount(p->w->k->csi, s->items[p->next].csi, there, on_csi_mounted, p);
}

static void after_apply(void *arg)
{
    struct preparation *p = arg;
    if (p->code != 0)
        finish_preparation(p);
    else
        mount_next(p);
}

static void unref_object(void *o)
{
    api_object_unref(o);
}

/* The plan borrows strings from the pod and its sources. */
static void hold_objects(const struct pod_worker *w, struct arena *a)
{
    arena_hold(a, api_object_ref(w->object), unref_object);
    for (size_t i = 0; w->sources != NULL && i < w->sources->count; i++) {
        if (w->sources->items[i].object != NULL)
            arena_hold(a, api_object_ref(w->sources->items[i].object), unref_object);
    }
}

static int read_trust(void *worker, const struct core_v1_cluster_trust_bundle_projection *p,
                      struct arena *a, struct str *ret, struct error *err)
{
    const struct pod_worker *w = worker;
    return trust_bundles_read(w->k->trust_bundles, p, a, ret, err);
}

static int read_certificate(void *worker, struct str volume, size_t index,
                            const struct core_v1_pod_certificate_projection *p, struct arena *a,
                            struct str *ret_key, struct str *ret_chain, struct error *err)
{
    struct pod_worker *w = worker;
    return pod_certificates_read(w->k->certificates, w, volume, index, p, a, ret_key, ret_chain,
                                 err);
}

static void on_devices(int code, const struct error *err, void *arg)
{
    struct preparation *p = arg;
    struct pod_worker *w = p->w;
    if (code != 0) {
        p->code = code;
        p->err = *err;
        p->reason = "FailedPrepareDynamicResources";
        error_prefix(&p->err, "Failed to prepare dynamic resources");
        finish_preparation(p);
        return;
    }
    const struct kubelet *k = w->k;
    struct field_context ctx;
    struct volume_credentials credentials = {
        .trust = read_trust, .certificate = read_certificate, .arg = w};
    struct volume_config config = {.root_dir = k->config.root_dir,
                                   .pod_logs_dir = k->config.pod_logs_dir,
                                   .selinux = &k->selinux,
                                   .credentials = &credentials};
    worker_field_context(w, &ctx);
    p->code = volume_plan(&config, &ctx, w->sources, &p->plan, &p->err);
    if (p->code != 0) {
        finish_preparation(p);
        return;
    }
    hold_objects(w, p->plan->arena);
    if (ctx.pod->spec.has_host_users && !ctx.pod->spec.host_users) {
        p->user_count = user_namespaces_length(k->user_namespaces);
        p->code = user_namespaces_take(k->user_namespaces, w->uid, &p->first_user, &p->err);
        if (p->code != 0) {
            finish_preparation(p);
            return;
        }
    }
    p->cgroups = k->cgroups;
    p->qos = pod_qos_class(ctx.pod);
    pod_cgroup_limits(ctx.pod, &p->limits);
    if (pinning_has_cpus(k->pinning, ctx.pod->metadata.uid))
        p->limits.cpu_quota_us = 0; /* It would throttle processors that nobody else may use. */
    worker_widen_limits(w, &p->limits);
    p->limits.pids_max = MAX_OF(k->config.pod_pids_max, (int64_t)0);
    job_start(k->loop, run_preparation, after_apply, p);
}

static void on_plugin_devices(int code, const struct error *err, void *arg)
{
    struct preparation *p = arg;
    struct pod_worker *w = p->w;
    if (code == 0) {
        dra_prepare(w->k->dra, w->object, on_devices, p);
        return;
    }
    p->code = code;
    p->err = *err;
    p->reason = code == E_AGAIN ? "FailedPrepareDevices" : NULL;
    if (code != E_AGAIN && w->life == PM_RUNNING) {
        AUTO_FREE char *text =
            xasprintf("Allocate failed due to %s, which is unexpected", error_message(err));
        pod_worker_reject(w, "UnexpectedAdmissionError", text);
    }
    finish_preparation(p);
}

static void on_sources(struct pod_worker *w, void *arg)
{
    device_manager_prepare(w->k->devices, w->object, rt_pod_any_running(w->rt), on_plugin_devices,
                           arg);
}

void worker_prepare(struct pod_worker *w, void (*done)(struct pod_worker *w, int code))
{
    struct preparation *p = xzalloc(sizeof(*p));
    p->w = w;
    p->done = done;
    p->reason = "FailedMount";
    w->op_begin_ns = uv_hrtime();
    worker_fetch_sources(w, SOURCES_AGE_MAX_MS, on_sources, p);
}

const struct volume_set *pod_worker_volumes(const struct pod_worker *w)
{
    return w->volumes_ready && !w->cleaned ? w->volumes : NULL;
}

bool pod_worker_mounts(const struct pod_worker *w, const char *path)
{
    size_t len = strlen(path);
    for (size_t i = 0; w->volumes != NULL && !w->cleaned && i < w->volumes->count; i++) {
        const char *p = w->volumes->items[i].path;
        if (p != NULL && strncmp(p, path, len) == 0 && (p[len] == '\0' || p[len] == '/'))
            return true;
    }
    return false;
}

/* Volumes follow; containers that could not start for want of it are tried again. */
void pod_worker_object_changed(void *worker)
{
    struct pod_worker *w = worker;
    w->volumes_ms = 0;
    w->prepare_blocked_until_ms = 0;
    for (size_t i = 0; i < w->container_count; i++) {
        struct pod_container *c = w->containers[i];
        if (c->wait_reason != NULL && strcmp(c->wait_reason, "CreateContainerConfigError") == 0)
            c->blocked_until_ms = 0;
    }
    worker_kick(w);
}

void pod_worker_try_again(struct pod_worker *w)
{
    if (w->prepare_failures == 0 && w->clean_failures == 0)
        return;
    w->prepare_blocked_until_ms = 0;
    worker_kick(w);
}
