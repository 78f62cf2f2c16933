/* csi_plugins.c - see csi.h: who registers. Each socket in plugins_registry is
 * asked who it is; a CSI driver is then asked what it can do, and told that it
 * is known. Drivers of dynamic resources (dra.h) and device plugins (device_manager.h) are known at
 * once. A socket that goes takes its driver with it.
 *
 *   scan -> GetInfo -> NodeGetInfo -> NodeGetCapabilities -> CSINode
 *        -> NotifyRegistrationStatus */
#include "kubelet/csi_internal.h"

#include "kubelet/device_manager.h"
#include "kubelet/dra.h"
#include "kubelet/job.h"
#include "kubelet/kubelet.h"
#include "kubelet/pod_worker.h"

#include "lib/base/arena.h"
#include "lib/base/file.h"
#include "lib/base/log.h"

#include "pb/csi/pluginregistration_v1.pb-c.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#define SCAN_SOON_MS 100u
#define SCAN_RETRY_MS 2000u
#define SCAN_SELDOM_MS 60000u /* Should a change not have been told. */
#define SOCKETS_MAX 256

struct csi_scan {
    struct csi *csi;
    const char *dir;
    char *names[SOCKETS_MAX];
    uint64_t inodes[SOCKETS_MAX];
    size_t count;
};

static void scan_in(struct csi *c, uint64_t ms);

/* --- drivers --------------------------------------------------------------------------------- */

static void driver_free(struct csi_driver *d)
{
    plugin_client_close(d->registry);
    plugin_client_close(d->client);
    for (size_t i = 0; i < d->topology_count; i++) {
        free(d->topology_keys[i]);
        free(d->topology_values[i]);
    }
    free(d->topology_keys);
    free(d->topology_values);
    free(d->node_id);
    free(d->endpoint);
    free(d->name);
    free(d->socket);
    free(d);
}

/* Its calls, if any, hold it a little longer. */
static void driver_gone(struct csi_driver *d)
{
    if (d->ready)
        log_info("%s driver %s is gone", d->dra_version != NULL ? "DRA" : "CSI", d->name);
    if (d->ready && d->dra_version != NULL)
        dra_driver_gone(d->csi->k->dra, d->name);
    else if (d->ready)
        csi_node_publish(d->csi);
    if (d->of_devices)
        device_manager_unregister(d->csi->k->devices, str_of(d->name), d->endpoint);
    d->ready = false;
    d->gone = true;
    d->calls++; /* Until all that can end has ended. */
    dra_watch_stop(d);
    csi_driver_answer_is_late(d);
}

bool csi_driver_answer_is_late(struct csi_driver *d)
{
    d->calls--;
    if (d->gone && d->calls == 0)
        driver_free(d);
    else if (!d->gone)
        return false;
    return true;
}

static void on_notified(const struct plugin_reply *reply, void *arg)
{
    struct csi_driver *d = arg;
    UNUSED(reply);
    csi_driver_answer_is_late(d);
}

static void notify(struct csi_driver *d, const char *error)
{
    Pluginregistration__RegistrationStatus r = PLUGINREGISTRATION__REGISTRATION_STATUS__INIT;
    r.plugin_registered = error == NULL;
    if (error != NULL)
        r.error = (char *)(uintptr_t)error;
    d->calls++;
    plugin_call(d->registry, "/pluginregistration.Registration/NotifyRegistrationStatus", &r,
                &pluginregistration__registration_status_response__descriptor, on_notified, d);
}

static void fail(struct csi_driver *d, const char *what, const char *why)
{
    log_warning("plugin %s: %s: %s", d->socket, what, why);
    if (d->name != NULL)
        notify(d, why); /* It is there, and can hear it. */
    d->retry_ms = kubelet_now_ms(d->csi->k) + SCAN_RETRY_MS;
    scan_in(d->csi, SCAN_RETRY_MS);
}

/* Some may have waited for the driver. */
static void wake_pods(const struct kubelet *k)
{
    size_t pos = 0;
    void *w;
    while (map_next(&k->workers, &pos, NULL, &w))
        pod_worker_try_again(w);
}

static bool can(const Csi__V1__NodeGetCapabilitiesResponse *r,
                Csi__V1__NodeServiceCapability__RPC__Type what)
{
    for (size_t i = 0; i < r->n_capabilities; i++)
        if (r->capabilities[i]->type_case == CSI__V1__NODE_SERVICE_CAPABILITY__TYPE_RPC &&
            r->capabilities[i]->rpc->type == what)
            return true;
    return false;
}

static void on_capabilities(const struct plugin_reply *reply, void *arg)
{
    struct csi_driver *d = arg;
    if (csi_driver_answer_is_late(d))
        return;
    if (reply->code != 0) {
        fail(d, "NodeGetCapabilities", reply->message);
        return;
    }
    const Csi__V1__NodeGetCapabilitiesResponse *r = reply->msg;
    d->stages = can(r, CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__STAGE_UNSTAGE_VOLUME);
    d->stats = can(r, CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__GET_VOLUME_STATS);
    d->condition = can(r, CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__VOLUME_CONDITION);
    d->expands = can(r, CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__EXPAND_VOLUME);
    d->mount_group = can(r, CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__VOLUME_MOUNT_GROUP);
    d->multi_writer = can(r, CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__SINGLE_NODE_MULTI_WRITER);
    d->ready = true;
    log_info("CSI driver %s is registered, node id %s", d->name, d->node_id);
    csi_node_publish(d->csi);
    notify(d, NULL);
    csi_limits_start(d);
    csi_sweep_soon(d->csi);
    wake_pods(d->csi->k);
}

static void on_node_info(const struct plugin_reply *reply, void *arg)
{
    struct csi_driver *d = arg;
    if (csi_driver_answer_is_late(d))
        return;
    const Csi__V1__NodeGetInfoResponse *r = reply->msg;
    if (reply->code != 0 || r->node_id[0] == '\0') {
        fail(d, "NodeGetInfo", reply->code != 0 ? reply->message : "it names no node id");
        return;
    }
    free(d->node_id);
    d->node_id = xstrdup(r->node_id);
    d->max_volumes = r->max_volumes_per_node;
    const Csi__V1__Topology *t = r->accessible_topology;
    if (t != NULL && d->topology_count == 0) {
        d->topology_keys = xzalloc((t->n_segments + 1) * sizeof(char *));
        d->topology_values = xzalloc((t->n_segments + 1) * sizeof(char *));
        for (size_t i = 0; i < t->n_segments; i++) {
            d->topology_keys[i] = xstrdup(t->segments[i]->key);
            d->topology_values[i] = xstrdup(t->segments[i]->value);
            d->topology_count++;
        }
    }
    Csi__V1__NodeGetCapabilitiesRequest q = CSI__V1__NODE_GET_CAPABILITIES_REQUEST__INIT;
    d->calls++;
    plugin_call(d->client, "/csi.v1.Node/NodeGetCapabilities", &q,
                &csi__v1__node_get_capabilities_response__descriptor, on_capabilities, d);
}

static bool name_is_valid(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') ||
              (name[i] >= '0' && name[i] <= '9') || name[i] == '-' || name[i] == '.' ||
              name[i] == '_'))
            return false;
    return n > 0 && n <= 63 && name[0] != '.';
}

/* The newest that both know; NULL: none. Before 1.33 drivers named version numbers alone. */
static const char *dra_version(const Pluginregistration__PluginInfo *r)
{
    static const char *const known[] = {"v1.DRAPlugin", "v1beta1.DRAPlugin"};
    static const char *const names[] = {"v1", "v1beta1"};
    for (size_t k = 0; k < ARRAY_SIZE(known); k++)
        for (size_t i = 0; i < r->n_supported_versions; i++)
            if (strcmp(r->supported_versions[i], known[k]) == 0)
                return names[k];
    return NULL;
}

/* From now on it is the device manager's, until its socket here goes. */
static void add_device_plugin(struct csi_driver *d, const Pluginregistration__PluginInfo *r)
{
    struct error err;
    struct device_registration x = {.resource = str_of(r->name),
                                    .endpoint = r->endpoint,
                                    .versions = (const char *const *)r->supported_versions,
                                    .version_count = r->n_supported_versions};
    free(d->name);
    free(d->endpoint);
    d->name = xstrdup(r->name);
    d->endpoint = xstrdup(r->endpoint);
    if (device_manager_register(d->csi->k->devices, &x, &err) != 0) {
        fail(d, "GetInfo", error_message(&err));
        return;
    }
    d->of_devices = true;
    notify(d, NULL);
}

static void on_info(const struct plugin_reply *reply, void *arg)
{
    struct csi_driver *d = arg;
    struct error err;
    if (csi_driver_answer_is_late(d))
        return;
    const Pluginregistration__PluginInfo *r = reply->msg;
    if (reply->code != 0) {
        fail(d, "GetInfo", reply->message);
        return;
    }
    if (strcmp(r->type, "DevicePlugin") == 0) {
        add_device_plugin(d, r);
        return;
    }
    bool dra = strcmp(r->type, "DRAPlugin") == 0;
    if (!dra && strcmp(r->type, "CSIPlugin") != 0) {
        log_info("plugin %s is of type %s, which has no use here", d->socket, r->type);
        return;
    }
    d->dra_version = dra ? dra_version(r) : NULL;
    if (dra && d->dra_version == NULL) {
        fail(d, "GetInfo", "it supports none of the versions v1.DRAPlugin, v1beta1.DRAPlugin");
        return;
    }
    if (!name_is_valid(r->name) ||
        (dra ? dra_driver_find(d->csi, r->name) : csi_driver_find(d->csi, r->name)) != NULL) {
        fail(d, "GetInfo", "its name is malformed or taken");
        return;
    }
    free(d->name);
    d->name = xstrdup(r->name);
    plugin_client_close(d->client);
    d->client = NULL;
    if (plugin_client_new(d->csi->k->loop, r->endpoint, &d->client, &err) != 0) {
        fail(d, "endpoint", error_message(&err));
        return;
    }
    if (dra) {
        d->ready = true;
        free(d->endpoint);
        d->endpoint = xstrdup(r->endpoint);
        log_info("DRA driver %s is registered", d->name);
        notify(d, NULL);
        dra_watch_start(d);
        wake_pods(d->csi->k);
        return;
    }
    Csi__V1__NodeGetInfoRequest q = CSI__V1__NODE_GET_INFO_REQUEST__INIT;
    d->calls++;
    plugin_call(d->client, "/csi.v1.Node/NodeGetInfo", &q,
                &csi__v1__node_get_info_response__descriptor, on_node_info, d);
}

static void ask(struct csi_driver *d)
{
    struct error err;
    AUTO_FREE char *path = xasprintf("%s/%s", d->csi->registry_dir, d->socket);
    d->retry_ms = 0;
    if (d->registry == NULL && plugin_client_new(d->csi->k->loop, path, &d->registry, &err) != 0) {
        log_warning("plugin %s: %s", d->socket, error_message(&err));
        return;
    }
    Pluginregistration__InfoRequest r = PLUGINREGISTRATION__INFO_REQUEST__INIT;
    d->calls++;
    plugin_call(d->registry, "/pluginregistration.Registration/GetInfo", &r,
                &pluginregistration__plugin_info__descriptor, on_info, d);
}

/* --- sockets ------------------------------------------------------------------------------------
 */

static void run_scan(void *arg)
{
    struct csi_scan *s = arg;
    DIR *d = opendir(s->dir);
    struct stat st;
    for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL && s->count < SOCKETS_MAX;
         e = readdir(d)) {
        AUTO_FREE char *path = xasprintf("%s/%s", s->dir, e->d_name);
        if (e->d_name[0] != '.' && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
            /* Numbers of files are soon used again: the time goes with it. */
            s->inodes[s->count] = (uint64_t)st.st_ino ^ ((uint64_t)st.st_ctim.tv_sec << 32) ^
                                  ((uint64_t)st.st_ctim.tv_nsec << 8);
            s->names[s->count++] = xstrdup(e->d_name);
        }
    }
    if (d != NULL)
        closedir(d);
}

/* The same socket, not one that a restarted plugin made in its place. */
static bool is_among(const struct csi_scan *s, const struct csi_driver *d)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(d->socket, s->names[i]) == 0)
            return s->inodes[i] == d->inode;
    return false;
}

static void drop_missing(struct csi *c, const struct csi_scan *s)
{
    struct str key;
    void *v;
    for (size_t pos = 0; map_next(&c->sockets, &pos, &key, &v);) {
        if (is_among(s, v))
            continue;
        map_remove(&c->sockets, key);
        driver_gone(v);
        pos = 0;
    }
}

static void on_scanned(void *arg)
{
    struct csi_scan *s = arg;
    struct csi *c = s->csi;
    uint64_t now_ms = kubelet_now_ms(c->k);
    drop_missing(c, s);
    for (size_t i = 0; i < s->count; i++) {
        struct csi_driver *d = map_get(&c->sockets, str_of(s->names[i]));
        if (d == NULL) {
            d = xzalloc(sizeof(*d));
            d->csi = c;
            d->socket = xstrdup(s->names[i]);
            d->inode = s->inodes[i];
            map_set(&c->sockets, str_of(d->socket), d);
            ask(d);
        } else if (!d->ready && d->retry_ms != 0 && d->retry_ms <= now_ms && d->calls == 0) {
            ask(d);
        }
        free(s->names[i]);
    }
    free(s);
    c->scanning = false;
    if (c->scan_again)
        scan_in(c, SCAN_SOON_MS);
    else if (!uv_is_active((uv_handle_t *)&c->timer))
        scan_in(c, SCAN_SELDOM_MS);
    c->scan_again = false;
}

static void on_timer(uv_timer_t *t)
{
    struct csi *c = t->data;
    if (c->scanning) {
        c->scan_again = true;
        return;
    }
    struct csi_scan *s = xzalloc(sizeof(*s));
    s->csi = c;
    s->dir = c->registry_dir;
    c->scanning = true;
    job_start(c->k->loop, run_scan, on_scanned, s);
}

static void scan_in(struct csi *c, uint64_t ms)
{
    if (!uv_is_active((uv_handle_t *)&c->timer) || uv_timer_get_due_in(&c->timer) > ms)
        uv_timer_start(&c->timer, on_timer, ms, 0);
}

static void on_change(uv_fs_event_t *watch, const char *name, int events, int status)
{
    UNUSED(name), UNUSED(events), UNUSED(status);
    scan_in(watch->data, SCAN_SOON_MS);
}

int csi_start(struct csi *c, struct error *err)
{
    c->registry_dir = xasprintf("%s/plugins_registry", c->k->config.root_dir);
    int rc = file_mkdir_p(c->registry_dir, 0750, err);
    if (rc != 0)
        return rc;
    uv_timer_init(c->k->loop, &c->timer);
    uv_timer_init(c->k->loop, &c->publish_timer);
    uv_timer_init(c->k->loop, &c->limits_timer);
    uv_fs_event_init(c->k->loop, &c->watch);
    c->timer.data = c->publish_timer.data = c->limits_timer.data = c->watch.data = c;
    int uv = uv_fs_event_start(&c->watch, on_change, c->registry_dir, 0);
    if (uv != 0)
        log_warning("cannot watch %s, it is looked at every minute: %s", c->registry_dir,
                    uv_strerror(uv));
    csi_stats_start(c);
    uv_timer_init(c->k->loop, &c->sweep_timer);
    c->sweep_timer.data = c;
    csi_node_publish(c);
    scan_in(c, 0);
    return 0;
}
