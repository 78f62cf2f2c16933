/* node_sync.c - see node_sync.h.
 *
 *   register (create, or adopt) -> status every period if it changed
 *                               -> lease every quarter of its duration
 *                               -> own object watched: podCIDR becomes a CNI file
 *
 * Each failure is repeated; nothing here touches pods. */
#include "kubelet/node_sync.h"

#include "kubelet/cni_conf.h"
#include "kubelet/cri.h"
#include "kubelet/csi.h"
#include "kubelet/device_manager.h"
#include "kubelet/eviction_manager.h"
#include "kubelet/job.h"
#include "kubelet/kubelet.h"
#include "kubelet/proxy/proxy.h"
#include "kubelet/mirror_pods.h"
#include "kubelet/node_lease.h"
#include "kubelet/node_object.h"
#include "kubelet/node_routes.h"
#include "kubelet/pleg.h"
#include "kubelet/runtime_health.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/client/client.h"
#include "lib/client/informer.h"

#include "api/core_v1.h"

#include <stdio.h>

#define RETRY_MS 1000u
#define CALL_TIMEOUT_MS 10000u

struct node_sync {
    struct kubelet *k;
    const struct machine *machine;
    const struct runtime_health *health;
    struct informer *informer;
    struct node_lease *lease;
    uv_timer_t register_timer, status_timer;
    bool registered, stopped;
    bool status_busy, status_again, cni_busy;
    uint64_t sent_ms;
    /* Inputs of the status under way. */
    struct arena *arena;
    struct node_image *images;
    size_t image_count;
    struct machine_usage usage;
    char *cni_cidrs; /* For which the CNI file was written. */
    struct buf cni_text;
    struct error cni_err;
    bool cni_written, cni_ours;
};

static void status_start(struct node_sync *n);

static struct node_inputs inputs(const struct node_sync *n)
{
    const struct kubelet *k = n->k;
    const char *problem = runtime_health_problem(n->health);
    if (problem == NULL && !pleg_is_healthy(k->pleg))
        problem = "PLEG is not healthy: the container runtime has not been listed for 3m0s";
    if (shutdown_is_on(k->shutdown))
        problem = "node is shutting down";
    return (struct node_inputs){
        .node_name = k->node_name,
        .machine = n->machine,
        .usage = n->usage,
        .labels = &k->config.node_labels,
        .taints = &k->config.taints,
        .system_reserved = &k->config.system_reserved,
        .kube_reserved = &k->config.kube_reserved,
        .provider_id = k->config.provider_id,
        .max_pods = k->config.max_pods,
        .port = (int32_t)k->config.port,
        .runtime_name = k->runtime_name,
        .runtime_version = k->runtime_version,
        .support = &k->support,
        .problem = problem,
        .network_ready = k->network_ready,
        .eviction = k->eviction != NULL ? eviction_manager_state(k->eviction) : &k->eviction_policy,
        .images = n->images,
        .image_count = n->image_count,
        .now_s = kubelet_wall_s(k),
    };
}

int node_sync_check(struct kubelet *k, const struct machine *m, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct core_v1_node node;
    struct node_inputs in = {
        .node_name = k->node_name,
        .machine = m,
        .eviction = &k->eviction_policy,
        .labels = &k->config.node_labels,
        .taints = &k->config.taints,
        .system_reserved = &k->config.system_reserved,
        .kube_reserved = &k->config.kube_reserved,
    };
    k->pods_memory = node_pods_memory(&in);
    return node_object(a, &in, &node, err);
}

static const struct api_kind *node_kind(void)
{
    return api_kind_by_api_version(STR("v1"), STR("Node"));
}

/* --- registration ---------------------------------------------------------------------- */

static void on_register_timer(uv_timer_t *t);

static void registered(struct node_sync *n)
{
    if (!n->registered)
        informer_start(n->informer);
    n->registered = true;
    status_start(n);
    node_lease_kick(n->lease);
}

static void retry_register(struct node_sync *n, const char *message)
{
    log_warning("register node %s: %s", n->k->node_name, message);
    uv_timer_start(&n->register_timer, on_register_timer, RETRY_MS, 0);
}

static void on_labels_patched(struct client_request *r, const struct client_result *result,
                              void *arg)
{
    struct node_sync *n = arg;
    UNUSED(r);
    if (result->code != 0)
        retry_register(n, result->message);
    else
        registered(n);
}

/* The object was there before us: our labels are put right, the rest is left. */
static void patch_labels(struct node_sync *n)
{
    AUTO_ARENA *a = arena_new(0);
    struct core_v1_node node;
    struct node_inputs in = inputs(n);
    struct error err;
    if (node_object(a, &in, &node, &err) != 0) {
        log_error("%s", error_message(&err));
        return;
    }
    struct json *labels = json_object(a), *meta = json_object(a), *patch = json_object(a);
    for (size_t i = 0; i < node.metadata.labels_count; i++)
        json_set(a, labels, node.metadata.labels[i].key,
                 json_string(a, node.metadata.labels[i].value));
    json_setc(a, meta, "labels", labels);
    json_setc(a, patch, "metadata", meta);
    AUTO_BUF body = BUF_INIT;
    json_write(patch, false, &body);
    struct client_call call = {
        .verb = CLIENT_PATCH,
        .kind = node_kind(),
        .name = str_of(n->k->node_name),
        .patch_type = CLIENT_PATCH_MERGE,
        .raw_body = buf_str(&body),
        .timeout_ms = CALL_TIMEOUT_MS,
        .done = on_labels_patched,
        .arg = n,
    };
    client_start(n->k->client, &call, NULL, NULL);
}

static void on_created(struct client_request *r, const struct client_result *result, void *arg)
{
    struct node_sync *n = arg;
    UNUSED(r);
    if (n->stopped)
        return;
    if (result->code == 0) {
        log_info("node %s is registered", n->k->node_name);
        if (result->object != NULL && n->k->node == NULL)
            n->k->node = api_object_ref(result->object);
        proxy_node_changed(n->k->proxy);
        registered(n);
    } else if (result->code == E_EXISTS) {
        log_info("node %s was registered before", n->k->node_name);
        patch_labels(n);
    } else {
        retry_register(n, result->message);
    }
}

static void on_register_timer(uv_timer_t *t)
{
    struct node_sync *n = t->data;
    AUTO_ARENA *a = arena_new(0);
    struct core_v1_node node;
    struct error err;
    machine_usage(n->k->config.root_dir, &n->usage);
    struct node_inputs in = inputs(n);
    if (node_object(a, &in, &node, &err) != 0) {
        log_error("%s", error_message(&err));
        return;
    }
    struct client_call call = {
        .verb = CLIENT_CREATE,
        .kind = node_kind(),
        .body = &node,
        .timeout_ms = CALL_TIMEOUT_MS,
        .done = on_created,
        .arg = n,
    };
    if (client_start(n->k->client, &call, NULL, &err) != 0)
        retry_register(n, error_message(&err));
}

/* --- status ------------------------------------------------------------------------------ */

static void on_status_timer(uv_timer_t *t)
{
    status_start(t->data);
}

static void status_end(struct node_sync *n, bool sent)
{
    struct kubelet *k = n->k;
    n->status_busy = false;
    arena_free(take(n->arena));
    n->images = NULL;
    n->image_count = 0;
    if (n->stopped)
        return;
    if (sent)
        n->sent_ms = kubelet_now_ms(k);
    uint64_t period = (uint64_t)k->config.node_status_update_ns / 1000000;
    uv_timer_start(&n->status_timer, on_status_timer, n->status_again ? 0 : period, 0);
    n->status_again = false;
}

static void on_status_sent(struct client_request *r, const struct client_result *result, void *arg)
{
    struct node_sync *n = arg;
    UNUSED(r);
    if (result->code != 0)
        log_warning("node status: %s", result->message);
    if (result->code == E_NOT_FOUND && !n->stopped) {
        /* Somebody deleted the Node: register again. */
        uv_timer_start(&n->register_timer, on_register_timer, 0, 0);
    }
    if (result->code == 0 && result->object != NULL && result->object->kind == node_kind()) {
        api_object_unref(n->k->node);
        n->k->node = api_object_ref(result->object);
    }
    status_end(n, result->code == 0);
}

static void keep_allocatable(struct kubelet *k, const struct core_v1_node_status *s)
{
    if (k->allocatable_count > 0)
        return;
    struct core_v1_node_status *copy = api_msg_clone(k->arena, &core_v1_node_status_msg, s);
    k->allocatable = copy->allocatable;
    k->allocatable_count = copy->allocatable_count;
}

static void status_send(struct node_sync *n)
{
    struct kubelet *k = n->k;
    const struct core_v1_node *have = k->node != NULL ? k->node->msg : NULL;
    AUTO_ARENA *a = arena_new(0);
    struct node_inputs in = inputs(n);
    struct core_v1_node_status s;
    struct error err;
    struct device_amount *devices;
    in.volumes_in_use_count = csi_volumes_in_use(k->csi, a, &in.volumes_in_use);
    in.device_count = device_manager_amounts(k->devices, a, &devices);
    in.devices = devices;
    node_status(a, &in, have != NULL ? &have->status : NULL, &s);
    keep_allocatable(k, &s);
    uint64_t report_ms = (uint64_t)k->config.node_status_report_ns / 1000000;
    bool due = n->sent_ms == 0 || kubelet_now_ms(k) - n->sent_ms >= report_ms;
    if (have == NULL || (!due && node_status_same(&have->status, &s))) {
        status_end(n, false);
        return;
    }
    AUTO_BUF body = BUF_INIT;
    json_write(node_status_patch(a, &have->status, &s), false, &body);
    struct client_call call = {
        .verb = CLIENT_PATCH,
        .kind = node_kind(),
        .name = str_of(k->node_name),
        .subresource = "status",
        .patch_type = CLIENT_PATCH_STRATEGIC,
        .raw_body = buf_str(&body),
        .timeout_ms = CALL_TIMEOUT_MS,
        .done = on_status_sent,
        .arg = n,
    };
    if (client_start(k->client, &call, NULL, &err) != 0) {
        log_error("node status: %s", error_message(&err));
        status_end(n, false);
    }
}

static void run_usage(void *arg)
{
    struct node_sync *n = arg;
    machine_usage(n->k->config.root_dir, &n->usage);
}

static void finish_usage(void *arg)
{
    struct node_sync *n = arg;
    if (n->stopped)
        status_end(n, false);
    else
        status_send(n);
}

static void on_images(const struct cri_reply *reply, void *arg)
{
    struct node_sync *n = arg;
    if (reply->code == 0) {
        const CRI(ListImagesResponse) *r = reply->msg;
        n->images = ARENA_ARRAY(n->arena, struct node_image, r->n_images + 1);
        for (size_t i = 0; i < r->n_images; i++) {
            const CRI(Image) *im = r->images[i];
            const char **names =
                ARENA_ARRAY(n->arena, const char *, im->n_repo_digests + im->n_repo_tags + 1);
            size_t count = 0;
            for (size_t x = 0; x < im->n_repo_digests; x++)
                names[count++] = arena_strdup(n->arena, im->repo_digests[x]);
            for (size_t x = 0; x < im->n_repo_tags; x++)
                names[count++] = arena_strdup(n->arena, im->repo_tags[x]);
            if (count == 0)
                continue;
            n->images[n->image_count++] = (struct node_image){names, count, (int64_t)im->size};
        }
    }
    job_start(n->k->loop, run_usage, finish_usage, n);
}

static void status_start(struct node_sync *n)
{
    if (n->status_busy || n->stopped) {
        n->status_again = true;
        return;
    }
    n->status_busy = true;
    n->arena = arena_new(0);
    CRI(ListImagesRequest) r;
    runtime__v1__list_images_request__init(&r);
    cri_call(n->k->cri, CRI_LIST_IMAGES, &r, CALL_TIMEOUT_MS, on_images, n);
}

void node_sync_kick(struct node_sync *n)
{
    if (n != NULL && n->registered)
        status_start(n);
}

/* --- the own object --------------------------------------------------------------------------- */

static void run_cni(void *arg)
{
    struct node_sync *n = arg;
    error_clear(&n->cni_err);
    cni_conf_write(n->k->config.cni_conf_dir, buf_str(&n->cni_text), &n->cni_written, &n->cni_ours,
                   &n->cni_err);
}

static void finish_cni(void *arg)
{
    struct node_sync *n = arg;
    n->cni_busy = false;
    n->k->own_network = n->cni_ours && n->k->routes != NULL;
    node_routes_kick(n->k->routes);
    if (n->cni_err.code != 0)
        log_error("network configuration: %s", error_message(&n->cni_err));
    else if (n->cni_written)
        log_info("network configuration for %s written to %s", n->cni_cidrs,
                 n->k->config.cni_conf_dir);
}

static void apply_pod_cidr(struct node_sync *n, const struct core_v1_node *node)
{
    const char *dir = n->k->config.cni_conf_dir;
    const struct str *cidrs = node->spec.pod_cidrs;
    size_t count = node->spec.pod_cidrs_count;
    if (count == 0 && !str_empty(node->spec.pod_cidr)) {
        cidrs = &node->spec.pod_cidr;
        count = 1;
    }
    if (count == 0 || dir == NULL || dir[0] == '\0' || n->cni_busy)
        return;
    AUTO_BUF text = BUF_INIT;
    for (size_t i = 0; i < count; i++)
        buf_printf(&text, "%s" STR_FMT, i > 0 ? "," : "", STR_ARG(cidrs[i]));
    if (n->cni_cidrs != NULL && str_eqc(buf_str(&text), n->cni_cidrs))
        return;
    free(n->cni_cidrs);
    n->cni_cidrs = buf_steal(&text, NULL);
    buf_clear(&n->cni_text);
    AUTO_FREE char *addresses = xasprintf("%s/cni-addresses", n->k->config.root_dir);
    cni_conf_text(cidrs, count, addresses, n->k->routes == NULL, &n->cni_text);
    n->cni_busy = true;
    job_start(n->k->loop, run_cni, finish_cni, n);
}

static bool same_capacity(const struct core_v1_node *x, const struct core_v1_node *y)
{
    struct core_v1_node_status a = {.capacity = x->status.capacity,
                                    .capacity_count = x->status.capacity_count};
    struct core_v1_node_status b = {.capacity = y->status.capacity,
                                    .capacity_count = y->status.capacity_count};
    return api_msg_equal(&core_v1_node_status_msg, &a, &b);
}

static void on_node(struct api_object *o, struct node_sync *n)
{
    bool first = n->k->node == NULL;
    /* Extended resources that somebody gives the node are there to be asked for. */
    bool changed = first || !same_capacity(n->k->node->msg, o->msg);
    api_object_unref(n->k->node);
    n->k->node = api_object_ref(o);
    apply_pod_cidr(n, o->msg);
    proxy_node_changed(n->k->proxy);
    if (changed)
        status_start(n);
    if (first)
        mirror_pods_kick(n->k->mirrors);
}

static void on_node_add(struct api_object *o, void *arg)
{
    on_node(o, arg);
}

static void on_node_update(struct api_object *old, struct api_object *o, void *arg)
{
    UNUSED(old);
    on_node(o, arg);
}

static void on_node_delete(struct api_object *o, bool unknown, void *arg)
{
    struct node_sync *n = arg;
    UNUSED(o);
    UNUSED(unknown);
    log_warning("node %s was deleted; registering again", n->k->node_name);
    api_object_unref(take(n->k->node));
    uv_timer_start(&n->register_timer, on_register_timer, 0, 0);
}

struct node_sync *node_sync_start(struct kubelet *k, const struct machine *m,
                                  const struct runtime_health *health)
{
    struct node_sync *n = xzalloc(sizeof(*n));
    AUTO_ARENA *a = arena_new(0);
    struct error err;
    n->k = k;
    n->machine = m;
    n->health = health;
    uv_timer_t *timers[] = {&n->register_timer, &n->status_timer};
    for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
        uv_timer_init(k->loop, timers[i]);
        timers[i]->data = n;
    }
    n->lease = node_lease_new(k);
    struct informer_config config = {
        .kind = node_kind(),
        .field_selector = arena_printf(a, "metadata.name=%s", k->node_name),
    };
    struct informer_handler handler = {
        .on_add = on_node_add, .on_update = on_node_update, .on_delete = on_node_delete, .arg = n};
    if (informer_new(k->client, &config, &n->informer, &err) != 0)
        PANIC("node informer: %s", error_message(&err));
    informer_add_handler(n->informer, &handler);
    if (k->config.register_node)
        uv_timer_start(&n->register_timer, on_register_timer, 0, 0);
    else
        registered(n);
    return n;
}

void node_sync_stop(struct node_sync *n)
{
    if (n == NULL)
        return;
    n->stopped = true;
    uv_timer_stop(&n->register_timer);
    uv_timer_stop(&n->status_timer);
    node_lease_stop(n->lease);
    informer_close(n->informer);
}
