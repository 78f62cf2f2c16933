/* device_ask.c - see device_manager.h: what plugins are asked for the containers of a pod.
 *
 *   reserve what is missing -> for each grant: (GetPreferredAllocation) -> Allocate
 *     -> checkpoint on disk -> (for a start: PreStartContainer)
 *
 * While a plugin answers the pod may go, and its grants with it: they are looked up anew. */
#include "kubelet/device_manager_internal.h"

#include "kubelet/kubelet.h"
#include "kubelet/pod_worker.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/metrics.h"
#include "lib/net/proto.h"

#include "api/core_v1.h"
#include "pb/csi/deviceplugin_v1beta1.pb-c.h"

struct wanted {
    struct str container, resource; /* In the op's arena. */
    bool settle, start;
};

struct device_op {
    struct device_manager *devices;
    struct api_object *pod; /* One reference. */
    struct str uid;
    struct arena *arena;
    struct wanted *wanted;
    size_t count, cap, at;
    bool settled_any;
    uint64_t begin_ns;
    void (*done)(int code, const struct error *err, void *arg);
    void *arg;
};

static void start_next(struct device_op *op);
static void op_end(struct device_op *op, int code, const struct error *err);

/* --- operations ----------------------------------------------------------------------------- */

static void op_end(struct device_op *op, int code, const struct error *err)
{
    void (*done)(int, const struct error *, void *) = op->done;
    void *arg = op->arg;
    struct error kept = {0};
    if (err != NULL)
        kept = *err;
    api_object_unref(op->pod);
    arena_free(op->arena);
    free(op);
    done(code, &kept, arg);
}

/* E_AGAIN is ours: what a plugin says is final. */
static void op_fail(struct device_op *op, int code, const char *text)
{
    struct error err;
    code = code == E_AGAIN ? E_UNAVAILABLE : code;
    error_set(&err, code, "%s", text);
    op_end(op, code, &err);
}

static struct device_grant *grant_at(const struct device_op *op)
{
    const struct wanted *w = &op->wanted[op->at];
    return device_grant_find(&op->devices->state, op->uid, w->container, w->resource);
}

static struct device_plugin *plugin_at(const struct device_op *op)
{
    return map_get(&op->devices->plugins, op->wanted[op->at].resource);
}

/* The plugin, or NULL: the operation has ended. */
static struct device_plugin *need_plugin(struct device_op *op)
{
    struct device_plugin *p = plugin_at(op);
    AUTO_FREE char *text = NULL;
    if (p != NULL)
        return p;
    text = xasprintf("cannot allocate unregistered device " STR_FMT,
                     STR_ARG(op->wanted[op->at].resource));
    op_fail(op, E_UNAVAILABLE, text);
    return NULL;
}

static char **borrow_ids(const struct device_grant *g)
{
    return g->ids;
}

static void on_pre_started(const struct plugin_reply *reply, void *arg)
{
    struct device_op *op = arg;
    if (reply->code != 0) {
        op_fail(op, reply->code, reply->message);
        return;
    }
    op->at++;
    start_next(op);
}

/* op->at runs a second time, over what is to be told of the start. */
static void start_next(struct device_op *op)
{
    for (; op->at < op->count; op->at++) {
        const struct device_grant *g = grant_at(op);
        const struct device_resource *x =
            device_resource_find(&op->devices->state, op->wanted[op->at].resource);
        if (!op->wanted[op->at].start || g == NULL || x == NULL || !x->pre_start)
            continue;
        const struct device_plugin *p = need_plugin(op);
        if (p == NULL)
            return;
        Deviceplugin__V1beta1__PreStartContainerRequest r =
            DEVICEPLUGIN__V1BETA1__PRE_START_CONTAINER_REQUEST__INIT;
        r.devices_ids = borrow_ids(g);
        r.n_devices_ids = g->count;
        plugin_call(p->client, "/v1beta1.DevicePlugin/PreStartContainer", &r,
                    &deviceplugin__v1beta1__pre_start_container_response__descriptor,
                    on_pre_started, op);
        return;
    }
    op_end(op, 0, NULL);
}

static void settle_next(struct device_op *op);

static void observe_duration(const struct device_op *op)
{
    static const double bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
    struct metric_family *f =
        metric_histogram(metrics_default(), "kubelet_device_plugin_alloc_duration_seconds",
                         "Duration in seconds to serve a device plugin Allocation request. Broken "
                         "down by resource name.",
                         METRIC_LABELS("resource_name"), bounds, ARRAY_SIZE(bounds));
    metric_observe(METRIC_OF(f, op->wanted[op->at].resource),
                   (double)(uv_hrtime() - op->begin_ns) / 1e9);
}

static void on_allocated(const struct plugin_reply *reply, void *arg)
{
    struct device_op *op = arg;
    const Deviceplugin__V1beta1__AllocateResponse *r = reply->msg;
    struct device_grant *g = grant_at(op);
    observe_duration(op);
    if (g == NULL) {
        op_fail(op, E_CANCELED, "the pod is gone");
        return;
    }
    if (reply->code != 0) {
        op_fail(op, reply->code, reply->message);
        return;
    }
    if (r->n_container_responses != 1) {
        op_fail(op, E_INVALID, "the device plugin's answer is not for one container");
        return;
    }
    struct str answer = proto_pack_arena(op->arena, &r->container_responses[0]->base);
    struct device_gift gift = {0};
    struct error err;
    if (device_gift_add(op->arena, answer, &gift, &err) != 0) {
        op_fail(op, err.code, error_message(&err));
        return;
    }
    device_grant_settle(g, answer.data, answer.len);
    op->settled_any = true;
    op->at++;
    settle_next(op);
}

static void allocate(struct device_op *op, const struct device_plugin *p,
                     const struct device_grant *g)
{
    Deviceplugin__V1beta1__AllocateRequest r = DEVICEPLUGIN__V1BETA1__ALLOCATE_REQUEST__INIT;
    Deviceplugin__V1beta1__ContainerAllocateRequest c =
        DEVICEPLUGIN__V1BETA1__CONTAINER_ALLOCATE_REQUEST__INIT;
    Deviceplugin__V1beta1__ContainerAllocateRequest *list[] = {&c};
    c.devices_ids = borrow_ids(g);
    c.n_devices_ids = g->count;
    r.container_requests = list;
    r.n_container_requests = 1;
    op->begin_ns = uv_hrtime();
    plugin_call(p->client, "/v1beta1.DevicePlugin/Allocate", &r,
                &deviceplugin__v1beta1__allocate_response__descriptor, on_allocated, op);
}

static void on_preferred(const struct plugin_reply *reply, void *arg)
{
    struct device_op *op = arg;
    const Deviceplugin__V1beta1__PreferredAllocationResponse *r = reply->msg;
    struct device_grant *g = grant_at(op);
    if (g == NULL) {
        op_fail(op, E_CANCELED, "the pod is gone");
        return;
    }
    if (reply->code != 0) {
        op_fail(op, reply->code, reply->message);
        return;
    }
    if (r->n_container_responses > 0)
        device_grant_prefer(&op->devices->state, g, r->container_responses[0]->deviceids,
                            r->container_responses[0]->n_deviceids);
    const struct device_plugin *p = need_plugin(op);
    if (p != NULL)
        allocate(op, p, g);
}

static void ask_preferred(struct device_op *op, const struct device_plugin *p,
                          const struct device_grant *g)
{
    Deviceplugin__V1beta1__PreferredAllocationRequest r =
        DEVICEPLUGIN__V1BETA1__PREFERRED_ALLOCATION_REQUEST__INIT;
    Deviceplugin__V1beta1__ContainerPreferredAllocationRequest c =
        DEVICEPLUGIN__V1BETA1__CONTAINER_PREFERRED_ALLOCATION_REQUEST__INIT;
    Deviceplugin__V1beta1__ContainerPreferredAllocationRequest *list[] = {&c};
    const char **choices;
    device_grant_choices(&op->devices->state, op->arena, g, &choices, &c.n_available_deviceids);
    c.available_deviceids = (char **)(uintptr_t)choices;
    c.must_include_deviceids = borrow_ids(g);
    c.n_must_include_deviceids = g->reused;
    c.allocation_size = (int32_t)g->count;
    r.container_requests = list;
    r.n_container_requests = 1;
    plugin_call(p->client, "/v1beta1.DevicePlugin/GetPreferredAllocation", &r,
                &deviceplugin__v1beta1__preferred_allocation_response__descriptor, on_preferred,
                op);
}

static void on_saved(int code, const struct error *err, void *arg)
{
    struct device_op *op = arg;
    if (code != 0)
        op_end(op, E_AGAIN, err); /* Not for good: disks get room again. */
    else
        start_next(op);
}

static void settle_next(struct device_op *op)
{
    while (op->at < op->count && !op->wanted[op->at].settle)
        op->at++;
    if (op->at == op->count) {
        op->at = 0;
        if (op->settled_any || op->devices->file.failed)
            file_saver_save_then(&op->devices->file, on_saved, op);
        else
            start_next(op);
        return;
    }
    const struct device_grant *g = grant_at(op);
    if (g == NULL) {
        op_fail(op, E_CANCELED, "the pod is gone");
        return;
    }
    const struct device_plugin *p = need_plugin(op);
    if (p == NULL)
        return;
    if (p->prefers && g->reused < g->count)
        ask_preferred(op, p, g);
    else
        allocate(op, p, g);
}

/* --- who asks ------------------------------------------------------------------------------- */

static struct device_op *op_new(struct device_manager *d, struct api_object *pod)
{
    const struct core_v1_pod *p = pod->msg;
    struct device_op *op = xzalloc(sizeof(*op));
    op->devices = d;
    op->pod = api_object_ref(pod);
    op->uid = p->metadata.uid;
    op->arena = arena_new(0);
    return op;
}

static void want(struct device_op *op, const struct core_v1_container *c, bool start)
{
    for (size_t i = 0; i < c->resources.limits_count; i++) {
        struct str resource = c->resources.limits[i].key;
        const struct device_grant *g =
            device_grant_find(&op->devices->state, op->uid, c->name, resource);
        if (g == NULL || (g->settled && !start))
            continue;
        op->wanted = arena_grow(op->arena, op->wanted, op->count, &op->cap, sizeof(*op->wanted));
        op->wanted[op->count++] =
            (struct wanted){c->name, resource, .settle = !g->settled, .start = start};
    }
}

static const struct core_v1_container *container_at(const struct core_v1_pod *pod, size_t i)
{
    size_t n = pod->spec.init_containers_count;
    if (i < n)
        return &pod->spec.init_containers[i];
    return i - n < pod->spec.containers_count ? &pod->spec.containers[i - n] : NULL;
}

/* A resource whose plugin has to be back before the pod is made anew: after a reboot. */
static const char *awaited(const struct device_manager *d, const struct core_v1_pod *pod)
{
    LIST_FOREACH (it, &d->state.grants) {
        const struct device_grant *g = LIST_ENTRY(it, struct device_grant, link);
        if (!str_eqc(pod->metadata.uid, g->pod_uid) || !g->settled)
            continue;
        const struct device_resource *r = device_resource_find(&d->state, str_of(g->resource));
        for (size_t i = 0; i < g->count; i++) {
            const struct device *x = device_find(r, g->ids[i]);
            if (x == NULL || !x->healthy)
                return g->resource;
        }
    }
    return NULL;
}

/* A plugin that may come back. */
static bool any_is_away(const struct device_manager *d, const struct core_v1_pod *pod)
{
    const struct core_v1_container *c;
    for (size_t i = 0; (c = container_at(pod, i)) != NULL; i++)
        for (size_t k = 0; k < c->resources.limits_count; k++) {
            const struct device_resource *r =
                device_resource_find(&d->state, c->resources.limits[k].key);
            if (map_has(&d->removed, c->resources.limits[k].key) || (r != NULL && !r->connected))
                return true;
        }
    return false;
}

/* Without a plugin it would start without the devices that it is to have. */
static bool lacks_removed(const struct device_manager *d, struct arena *a,
                          const struct core_v1_pod *pod, const struct core_v1_container *c,
                          const char **ret_why)
{
    for (size_t i = 0; i < c->resources.limits_count; i++) {
        struct str name = c->resources.limits[i].key;
        if (!map_has(&d->removed, name) ||
            device_grant_find(&d->state, pod->metadata.uid, c->name, name) != NULL)
            continue;
        *ret_why =
            str_c(arena_printf(a, "cannot allocate unregistered device " STR_FMT, STR_ARG(name)));
        return true;
    }
    return false;
}

static bool reserve_missing(struct device_manager *d, struct arena *a,
                            const struct core_v1_pod *pod, const char **ret_why)
{
    const struct core_v1_container *c;
    for (size_t i = 0; (c = container_at(pod, i)) != NULL; i++)
        if (!device_reserve(&d->state, a, pod, c, 0, ret_why) ||
            lacks_removed(d, a, pod, c, ret_why))
            return false;
    return true;
}

void device_manager_prepare(struct device_manager *d, struct api_object *pod, bool running,
                            void (*done)(int code, const struct error *err, void *arg), void *arg)
{
    const struct core_v1_pod *p = pod->msg;
    const struct core_v1_container *c;
    AUTO_ARENA *a = arena_new(0);
    struct error err = {0};
    const char *why = running ? NULL : awaited(d, p);
    if (why != NULL) {
        error_set(&err, E_AGAIN,
                  "the pod's devices of %s are not healthy or their plugin is not registered: it "
                  "starts once they are",
                  why);
    } else if (!running && !reserve_missing(d, a, p, &why)) {
        error_set(&err, any_is_away(d, p) ? E_AGAIN : E_INVALID, "%s", why);
    }
    if (err.code != 0) {
        done(err.code, &err, arg);
        return;
    }
    struct device_op *op = op_new(d, pod);
    op->done = done;
    op->arg = arg;
    for (size_t i = 0; (c = container_at(p, i)) != NULL; i++)
        want(op, c, false);
    settle_next(op);
}

void device_manager_prepare_start(struct device_manager *d, struct api_object *pod,
                                  struct str container,
                                  void (*done)(int code, const struct error *err, void *arg),
                                  void *arg)
{
    const struct core_v1_pod *p = pod->msg;
    const struct core_v1_container *c;
    AUTO_ARENA *a = arena_new(0);
    const char *why;
    struct error err;
    struct device_op *op = op_new(d, pod);
    op->done = done;
    op->arg = arg;
    for (size_t i = 0; (c = container_at(p, i)) != NULL; i++) {
        if (!str_eq(c->name, container))
            continue;
        /* It ran before the checkpoint was lost, or before the resource had a plugin. */
        if (!device_reserve(&d->state, a, p, c, 0, &why)) {
            error_set(&err, E_INVALID, "%s", why);
            op_end(op, err.code, &err);
            return;
        }
        want(op, c, true);
    }
    settle_next(op);
}

void device_manager_wake_pods(struct device_manager *d, const char *resource)
{
    size_t pos = 0;
    void *w;
    while (map_next(&d->k->workers, &pos, NULL, &w)) {
        bool has = false;
        LIST_FOREACH (it, &d->state.grants) {
            const struct device_grant *g = LIST_ENTRY(it, struct device_grant, link);
            has = has || (strcmp(g->resource, resource) == 0 &&
                          strcmp(g->pod_uid, pod_worker_uid(w)) == 0);
        }
        if (!has)
            continue;
        pod_worker_kick(w);
        pod_worker_try_again(w);
    }
}
