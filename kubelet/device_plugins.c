/* device_plugins.c - see device_manager.h: plugins register, are asked what they can do, and tell
 * their devices for as long as they live.
 *
 *   Register -> GetDevicePluginOptions -> ListAndWatch ... its end -> gone, for five minutes
 *
 * Who registers for a resource that another plugin has takes its place once it answers. */
#include "kubelet/device_manager_internal.h"

#include "kubelet/kubelet.h"

#include "lib/base/arena.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc.h"
#include "lib/net/http_server.h"
#include "lib/net/proto.h"
#include "lib/net/stream.h"

#include "pb/csi/deviceplugin_v1beta1.pb-c.h"

#define VERSION "v1beta1"
#define REACH_RETRY_MS 500u
#define REACH_TRIES 20u /* Upstream waits 10 s for a plugin to serve. */
#define GONE_GRACE_MS (5 * 60 * 1000u)
#define RESOURCE_NAME_MAX 253

static void schedule(struct device_manager *d);
static void ask_options(struct device_plugin *p);

static struct metric_family *registrations(void)
{
    return metric_counter(metrics_default(), "kubelet_device_plugin_registration_total",
                          "Cumulative number of device plugin registrations. Broken down by "
                          "resource name.",
                          METRIC_LABELS("resource_name"));
}

/* --- life of one ---------------------------------------------------------------------------- */

static void plugin_release(struct device_plugin *p)
{
    if (!p->closed || p->calls > 0)
        return;
    free(p->resource);
    free(p->endpoint);
    free(p);
}

/* It is in no map any more. Its calls end, and it with them. */
static void plugin_close(struct device_plugin *p)
{
    if (p->closed)
        return;
    p->closed = true;
    p->calls++; /* Closing may end calls at once. */
    plugin_client_close(take(p->client));
    p->calls--;
    plugin_release(p);
}

void device_plugins_mark_gone(struct device_manager *d, struct str resource)
{
    struct device_gone *g = xzalloc(sizeof(*g));
    g->due_ms = kubelet_now_ms(d->k) + GONE_GRACE_MS;
    free(map_set(&d->gone, resource, g));
}

static void amounts_changed(struct device_manager *d, const char *resource)
{
    file_saver_save(&d->file);
    if (d->changed != NULL)
        d->changed(d->k);
    device_manager_wake_pods(d, resource);
}

static bool is_current(const struct device_plugin *p)
{
    return map_get(&p->devices->plugins, str_of(p->resource)) == p;
}

static void lose(struct device_plugin *p, const char *why)
{
    struct device_manager *d = p->devices;
    struct device_resource *r = device_resource_find(&d->state, str_of(p->resource));
    log_info("device plugin %s is gone: %s", p->resource, why);
    map_remove(&d->plugins, str_of(p->resource));
    if (r != NULL)
        device_resource_lose(r);
    device_plugins_mark_gone(d, str_of(p->resource));
    amounts_changed(d, p->resource);
    plugin_close(p);
    schedule(d);
}

/* --- its devices ---------------------------------------------------------------------------- */

static numa_mask nodes_of(const Deviceplugin__V1beta1__Device *x)
{
    numa_mask m = 0;
    for (size_t i = 0; x->topology != NULL && i < x->topology->n_nodes; i++) {
        int64_t id = x->topology->nodes[i]->id;
        if (id >= 0 && id < NUMA_NODE_MAX)
            m |= (numa_mask)1 << id;
    }
    return m;
}

static void on_devices(const void *msg, void *arg)
{
    const Deviceplugin__V1beta1__ListAndWatchResponse *m = msg;
    struct device_plugin *p = arg;
    struct device_manager *d = p->devices;
    if (p->closed || !is_current(p))
        return;
    AUTO_ARENA *a = arena_new(0);
    struct device_seen *list = ARENA_ARRAY(a, struct device_seen, m->n_devices + 1);
    size_t count = 0, healthy = 0;
    for (size_t i = 0; i < m->n_devices; i++) {
        const Deviceplugin__V1beta1__Device *x = m->devices[i];
        if (x->id[0] == '\0') {
            log_warning("device plugin %s: a device without ID is left out", p->resource);
            continue;
        }
        list[count++] = (struct device_seen){x->id, strcmp(x->health, "Healthy") == 0, nodes_of(x)};
        healthy += list[count - 1].healthy;
    }
    log_info("device plugin %s has %zu devices, %zu of them healthy", p->resource, count, healthy);
    device_resource_set(device_resource_add(&d->state, str_of(p->resource)), list, count);
    amounts_changed(d, p->resource);
}

static void on_watch_end(const struct plugin_reply *reply, void *arg)
{
    struct device_plugin *p = arg;
    p->calls--;
    if (!p->closed && is_current(p))
        lose(p, reply->code != 0 ? reply->message : "it ended its list of devices");
    else
        plugin_release(p);
}

static void start_watch(struct device_plugin *p)
{
    struct device_manager *d = p->devices;
    Deviceplugin__V1beta1__Empty r = DEVICEPLUGIN__V1BETA1__EMPTY__INIT;
    struct plugin_watch_config config = {
        .method = "/v1beta1.DevicePlugin/ListAndWatch",
        .request = &r,
        .response = &deviceplugin__v1beta1__list_and_watch_response__descriptor,
        .on_message = on_devices,
        .on_end = on_watch_end,
        .arg = p};
    map_remove(&d->newcomers, str_of(p->resource));
    free(map_remove(&d->gone, str_of(p->resource)));
    map_remove(&d->removed, str_of(p->resource));
    struct device_plugin *old = map_set(&d->plugins, str_of(p->resource), p);
    if (old != NULL)
        plugin_close(old);
    struct device_resource *x = device_resource_add(&d->state, str_of(p->resource));
    x->connected = true;
    x->pre_start = p->pre_start;
    log_info("device plugin %s is registered", p->resource);
    p->calls++;
    plugin_watch(p->client, &config);
}

/* --- reaching it ---------------------------------------------------------------------------- */

static void give_up(struct device_plugin *p, const char *why)
{
    log_warning("device plugin %s at %s: %s", p->resource, p->endpoint, why);
    map_remove(&p->devices->newcomers, str_of(p->resource));
    plugin_close(p);
}

static void on_options(const struct plugin_reply *reply, void *arg)
{
    struct device_plugin *p = arg;
    p->calls--;
    if (p->closed) {
        plugin_release(p);
        return;
    }
    if (reply->code == 0) {
        const Deviceplugin__V1beta1__DevicePluginOptions *o = reply->msg;
        p->pre_start = o->pre_start_required;
        p->prefers = o->get_preferred_allocation_available;
    } else if (reply->code == E_UNAVAILABLE && ++p->tries < REACH_TRIES) {
        p->retry_ms = kubelet_now_ms(p->devices->k) + REACH_RETRY_MS;
        schedule(p->devices);
        return;
    } else if (reply->code != E_NOT_IMPLEMENTED) { /* Then what it said at registration counts. */
        give_up(p, reply->message);
        return;
    }
    start_watch(p);
}

static void ask_options(struct device_plugin *p)
{
    Deviceplugin__V1beta1__Empty r = DEVICEPLUGIN__V1BETA1__EMPTY__INIT;
    p->retry_ms = 0;
    p->calls++;
    plugin_call(p->client, "/v1beta1.DevicePlugin/GetDevicePluginOptions", &r,
                &deviceplugin__v1beta1__device_plugin_options__descriptor, on_options, p);
}

static bool is_word(struct str s, const char *also, size_t max)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        bool inner = i > 0 && i + 1 < s.len && c != '\0' && strchr(also, c) != NULL;
        if (!plain && !inner)
            return false;
    }
    return s.len > 0 && s.len <= max;
}

/* An extended resource: a qualified name of a domain that is not Kubernetes' own. */
static bool name_is_valid(struct str name)
{
    struct str domain, rest;
    return str_cut(name, '/', &domain, &rest) && !str_has_prefix(name, STR("requests.")) &&
           str_find_str(name, STR("kubernetes.io/")) < 0 &&
           is_word(domain, "-.", RESOURCE_NAME_MAX - strlen("requests.")) &&
           is_word(rest, "-._", 63);
}

static int check(const struct device_registration *r, struct error *err)
{
    bool known = false;
    for (size_t i = 0; i < r->version_count; i++)
        known = known || strcmp(r->versions[i], VERSION) == 0;
    if (!known)
        return error_set(err, E_INVALID,
                         "requested API version \"%s\" is not supported by kubelet. Supported "
                         "version is [\"" VERSION "\"]",
                         r->version_count > 0 ? r->versions[0] : "");
    if (!name_is_valid(r->resource))
        return error_set(err, E_INVALID, "the ResourceName \"" STR_FMT "\" is invalid",
                         STR_ARG(r->resource));
    return 0;
}

int device_manager_register(struct device_manager *d, const struct device_registration *r,
                            struct error *err)
{
    struct plugin_client *client;
    int rc = check(r, err);
    if (rc == 0)
        rc = plugin_client_new(d->k->loop, r->endpoint, &client, err);
    if (rc != 0) {
        log_warning("device plugin " STR_FMT ": %s", STR_ARG(r->resource), error_message(err));
        return rc;
    }
    metric_add(METRIC_OF(registrations(), r->resource), 1);
    struct device_plugin *p = xzalloc(sizeof(*p));
    p->devices = d;
    p->resource = xasprintf(STR_FMT, STR_ARG(r->resource));
    p->endpoint = xstrdup(r->endpoint);
    p->client = client;
    p->pre_start = r->pre_start;
    p->prefers = r->prefers;
    struct device_plugin *earlier = map_set(&d->newcomers, r->resource, p);
    if (earlier != NULL)
        plugin_close(earlier);
    ask_options(p);
    return 0;
}

void device_manager_unregister(struct device_manager *d, struct str resource, const char *endpoint)
{
    struct device_plugin *p = map_get(&d->plugins, resource);
    struct device_plugin *n = map_get(&d->newcomers, resource);
    if (n != NULL && strcmp(n->endpoint, endpoint) == 0)
        give_up(n, "its socket in plugins_registry went");
    if (p != NULL && strcmp(p->endpoint, endpoint) == 0)
        lose(p, "its socket in plugins_registry went");
}

/* --- time ----------------------------------------------------------------------------------- */

static void expire(struct device_manager *d, struct str resource)
{
    struct device_resource *r = device_resource_find(&d->state, resource);
    AUTO_FREE char *name = xasprintf(STR_FMT, STR_ARG(resource));
    log_info("device plugin %s has not come back: its devices are none", name);
    free(map_remove(&d->gone, str_of(name)));
    if (r != NULL)
        device_resource_remove(&d->state, r);
    map_set(&d->removed, str_of(name), d);
    amounts_changed(d, name);
}

static void on_timer(uv_timer_t *t)
{
    struct device_manager *d = t->data;
    uint64_t now_ms = kubelet_now_ms(d->k);
    struct str key;
    void *v;
    for (size_t pos = 0; map_next(&d->newcomers, &pos, NULL, &v);) {
        struct device_plugin *p = v;
        if (p->retry_ms != 0 && p->retry_ms <= now_ms)
            ask_options(p);
    }
    for (size_t pos = 0; map_next(&d->gone, &pos, &key, &v);) {
        if (((struct device_gone *)v)->due_ms > now_ms)
            continue;
        expire(d, key);
        pos = 0;
    }
    schedule(d);
}

static void schedule(struct device_manager *d)
{
    uint64_t now_ms = kubelet_now_ms(d->k), due_ms = UINT64_MAX;
    void *v;
    if (!d->started)
        return;
    for (size_t pos = 0; map_next(&d->newcomers, &pos, NULL, &v);)
        if (((struct device_plugin *)v)->retry_ms != 0)
            due_ms = MIN_OF(due_ms, ((struct device_plugin *)v)->retry_ms);
    for (size_t pos = 0; map_next(&d->gone, &pos, NULL, &v);)
        due_ms = MIN_OF(due_ms, ((struct device_gone *)v)->due_ms);
    if (due_ms != UINT64_MAX)
        uv_timer_start(&d->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0);
}

/* --- the Registration service --------------------------------------------------------------- */

static bool is_file_name(const char *s)
{
    return s[0] != '\0' && strchr(s, '/') == NULL && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

static void on_register(struct grpc_stream *s, struct str message, void *arg)
{
    struct device_manager *d = arg;
    struct arena *a = grpc_stream_arena(s);
    struct error err;
    ProtobufCMessage *m;
    if (proto_unpack(a, &deviceplugin__v1beta1__register_request__descriptor, message, &m, &err) !=
        0) {
        grpc_stream_finish(s, GRPC_INVALID_ARGUMENT, error_message(&err));
        return;
    }
    const Deviceplugin__V1beta1__RegisterRequest *q = (const void *)m;
    if (!is_file_name(q->endpoint)) {
        grpc_stream_finish(s, GRPC_INVALID_ARGUMENT,
                           "endpoint: it must be the name of a socket beside kubelet.sock");
        return;
    }
    const char *version = q->version;
    struct device_registration r = {
        .resource = str_of(q->resource_name),
        .endpoint = str_c(arena_printf(a, "%s/%s", d->folder, q->endpoint)),
        .versions = &version,
        .version_count = 1,
        .pre_start = q->options != NULL && q->options->pre_start_required,
        .prefers = q->options != NULL && q->options->get_preferred_allocation_available};
    if (device_manager_register(d, &r, &err) != 0) {
        grpc_stream_finish(s, GRPC_UNKNOWN, error_message(&err));
        return;
    }
    Deviceplugin__V1beta1__Empty out = DEVICEPLUGIN__V1BETA1__EMPTY__INIT;
    struct net_bytes *b = proto_pack(&out.base);
    grpc_stream_reply(s, b);
    net_bytes_unref(b);
}

static void on_headers(struct http_request *r, void *arg)
{
    struct device_manager *d = arg;
    grpc_server_handle(d->methods, r);
}

/* All requests are gRPC. */
static void on_request(struct http_request *r, void *arg)
{
    UNUSED(arg);
    http_respond(r, 404, STR_NULL);
}

int device_plugins_start(struct device_manager *d, struct error *err)
{
    struct http_server_config config = {
        .name = "device-plugins", .on_headers = on_headers, .on_request = on_request, .arg = d};
    struct grpc_method method = {
        .path = "/v1beta1.Registration/Register", .on_unary = on_register, .arg = d};
    AUTO_FREE char *socket = xasprintf("%s/kubelet.sock", d->folder);
    struct net_listen_config where = {.address = socket};
    uv_timer_init(d->k->loop, &d->timer);
    d->timer.data = d;
    d->started = true;
    schedule(d);
    d->methods = grpc_server_new();
    grpc_server_add(d->methods, &method);
    int rc = http_server_new(d->k->loop, &config, &d->server, err);
    if (rc == 0)
        rc = http_server_listen(d->server, &where, err);
    return rc;
}
