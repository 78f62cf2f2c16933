/* dra_watch.c - see dra.h: the health of devices, as their drivers tell it on a stream
 * (DRAResourceHealth/NodeWatchResources), and what containers' statuses say of it.
 *
 *   registered -> stream -> cache -> pods that have the device look at their status
 *   stream ends -> what it said is forgotten -> again in five seconds, unless the driver has no
 * such service
 *
 * Source of intervals and names: upstream, KEP-4680. */
#include "kubelet/dra_internal.h"

#include "kubelet/csi_internal.h"
#include "kubelet/kubelet.h"
#include "kubelet/pod_worker.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"
#include "pb/csi/dra_health_v1alpha1.pb-c.h"

#define METHOD "/v1alpha1.DRAResourceHealth/NodeWatchResources"
#define AGAIN_MS 5000u

/* --- pods ------------------------------------------------------------------------------------ */

/* Pods with a device of the driver; pool NULL: any. */
static void wake_pods(const struct dra *d, const char *driver, const char *pool, const char *device)
{
    size_t pos = 0;
    void *v;
    while (map_next(&d->state.claims, &pos, NULL, &v)) {
        const struct dra_claim *c = v;
        const struct dra_driver *from = dra_claim_driver(c, driver);
        bool has = false;
        for (size_t i = 0; from != NULL && i < from->device_count; i++)
            has = has || pool == NULL ||
                  (strcmp(from->devices[i].pool, pool) == 0 &&
                   strcmp(from->devices[i].device, device) == 0);
        for (size_t i = 0; has && i < c->pod_count; i++) {
            struct pod_worker *w = map_get(&d->k->workers, str_of(c->pods[i]));
            if (w != NULL)
                pod_worker_kick(w);
        }
    }
}

static void on_lapse(uv_timer_t *t)
{
    struct dra *d = t->data;
    size_t pos = 0;
    void *v;
    while (map_next(&d->k->csi->sockets, &pos, NULL, &v)) {
        const struct csi_driver *driver = v;
        if (driver->ready && driver->dra_version != NULL)
            wake_pods(d, driver->name, NULL, NULL);
    }
    dra_health_schedule(d);
}

void dra_health_schedule(struct dra *d)
{
    uint64_t now = kubelet_now_ms(d->k), next = dra_health_next_ms(&d->health, now);
    if (next == 0)
        uv_timer_stop(&d->health_timer);
    else
        uv_timer_start(&d->health_timer, on_lapse, next - now, 0);
}

/* --- streams --------------------------------------------------------------------------------- */

static void on_message(const void *msg, void *arg)
{
    const DraHealth__V1alpha1__NodeWatchResourcesResponse *r = msg;
    struct csi_driver *driver = arg;
    struct dra *d = driver->csi->k->dra;
    for (size_t i = 0; i < r->n_devices && !driver->gone; i++) {
        const DraHealth__V1alpha1__DeviceHealth *x = r->devices[i];
        if (x->device == NULL)
            continue;
        struct dra_health_said said = {
            .driver = driver->name,
            .pool = x->device->pool_name,
            .device = x->device->device_name,
            .state = x->health == DRA_HEALTH__V1ALPHA1__HEALTH_STATUS__HEALTHY ? DRA_HEALTHY
                     : x->health == DRA_HEALTH__V1ALPHA1__HEALTH_STATUS__UNHEALTHY
                         ? DRA_UNHEALTHY
                         : DRA_HEALTH_UNKNOWN,
            .timeout_s = x->health_check_timeout_seconds,
            .message = x->message};
        if (dra_health_set(&d->health, &said, kubelet_now_ms(d->k)))
            wake_pods(d, driver->name, said.pool, said.device);
    }
    dra_health_schedule(d);
}

static void on_again(uv_timer_t *t)
{
    struct csi_driver *driver = t->data;
    dra_watch_start(driver);
}

static void on_end(const struct plugin_reply *reply, void *arg)
{
    struct csi_driver *driver = arg;
    struct dra *d = driver->csi->k->dra;
    const bool none = reply->code == E_NOT_IMPLEMENTED;
    const struct csi_driver *now = dra_driver_find(driver->csi, driver->name);
    if (now == NULL || now == driver) { /* Else another one speaks for it by now. */
        dra_health_forget(&d->health, driver->name);
        wake_pods(d, driver->name, NULL, NULL);
    }
    if (csi_driver_answer_is_late(driver))
        return;
    plugin_client_close(take(driver->health));
    if (none) {
        log_info("DRA driver %s tells no health of its devices", driver->name);
        return;
    }
    log_info("DRA driver %s: the health of its devices: %s", driver->name,
             reply->code != 0 ? reply->message : "it ended its stream");
    uv_timer_start(driver->health_timer, on_again, AGAIN_MS, 0);
}

void dra_watch_start(struct csi_driver *driver)
{
    DraHealth__V1alpha1__NodeWatchResourcesRequest r =
        DRA_HEALTH__V1ALPHA1__NODE_WATCH_RESOURCES_REQUEST__INIT;
    struct plugin_watch_config config = {
        .method = METHOD,
        .request = &r,
        .response = &dra_health__v1alpha1__node_watch_resources_response__descriptor,
        .on_message = on_message,
        .on_end = on_end,
        .arg = driver};
    struct error err;
    if (!driver->csi->k->config.gates.resource_health_status)
        return;
    if (driver->health_timer == NULL) {
        driver->health_timer = xzalloc(sizeof(*driver->health_timer));
        uv_timer_init(driver->csi->k->loop, driver->health_timer);
        driver->health_timer->data = driver;
    }
    if (plugin_client_new(driver->csi->k->loop, driver->endpoint, &driver->health, &err) != 0) {
        log_warning("DRA driver %s: %s", driver->name, error_message(&err));
        return;
    }
    driver->calls++;
    plugin_watch(driver->health, &config);
}

static void on_timer_closed(uv_handle_t *h)
{
    free(h);
}

void dra_watch_stop(struct csi_driver *driver)
{
    if (driver->health_timer != NULL)
        uv_close((uv_handle_t *)take(driver->health_timer), on_timer_closed);
    plugin_client_close(take(driver->health));
}

/* --- statuses -------------------------------------------------------------------------------- */

static struct core_v1_resource_health health_of(const struct dra *d, struct arena *a,
                                                const char *driver, const struct dra_device *x)
{
    static const char *const names[] = {
        [DRA_HEALTH_UNKNOWN] = "Unknown", [DRA_HEALTHY] = "Healthy", [DRA_UNHEALTHY] = "Unhealthy"};
    const char *message;
    enum dra_health_state state =
        dra_health_get(&d->health, driver, x->pool, x->device, kubelet_now_ms(d->k), &message);
    struct core_v1_resource_health h = {.health = str_of(names[state])};
    h.resource_id = x->cdi_count > 0 ? arena_strc(a, x->cdi[0])
                                     : arena_printf(a, "%s/%s/%s", driver, x->pool, x->device);
    h.has_message = message[0] != '\0' && d->k->config.gates.resource_health_message;
    if (h.has_message)
        h.message = arena_strc(a, message);
    return h;
}

size_t dra_status(const struct dra *d, struct arena *a, const struct core_v1_pod *pod,
                  const struct core_v1_container *c, struct core_v1_resource_status **ret)
{
    size_t count = 0;
    *ret = ARENA_ARRAY(a, struct core_v1_resource_status, c->resources.claims_count + 1);
    for (size_t i = 0; i < c->resources.claims_count; i++) {
        const struct core_v1_resource_claim *want = &c->resources.claims[i];
        const struct dra_claim *claim = dra_claim_named(d, pod, want->name);
        struct core_v1_resource_status *s = &(*ret)[count];
        size_t cap = 0;
        for (size_t k = 0; claim != NULL && k < claim->driver_count; k++) {
            const struct dra_driver *from = &claim->drivers[k];
            for (size_t n = 0; n < from->device_count; n++) {
                if (!dra_device_goes_with(&from->devices[n], want->request))
                    continue;
                s->resources =
                    arena_grow(a, s->resources, s->resources_count, &cap, sizeof(*s->resources));
                s->resources[s->resources_count++] = health_of(d, a, from->name, &from->devices[n]);
            }
        }
        if (s->resources_count == 0)
            continue;
        s->name = str_empty(want->request)
                      ? arena_printf(a, "claim:" STR_FMT, STR_ARG(want->name))
                      : arena_printf(a, "claim:" STR_FMT "/" STR_FMT, STR_ARG(want->name),
                                     STR_ARG(want->request));
        count++;
    }
    return count;
}
