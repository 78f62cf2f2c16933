/* dra_slices.c - ResourceSlices of this node whose driver is gone are removed. */
#include "kubelet/dra_internal.h"

#include "kubelet/csi_internal.h"
#include "kubelet/kubelet.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"
#include "lib/client/client.h"

#define WIPE_DELAY_MS 30000u /* Upstream's: long enough for a driver to be replaced. */
#define RECONCILE_MS 60000u

/* driver NULL: of all. */
static void wipe(struct dra *d, const char *driver)
{
    AUTO_ARENA *a = arena_new(0);
    struct str selector = arena_printf(a, "spec.nodeName=%s", d->k->node_name);
    if (driver != NULL)
        selector = arena_printf(a, STR_FMT ",spec.driver=%s", STR_ARG(selector), driver);
    struct client_call call = {
        .verb = CLIENT_DELETE_COLLECTION,
        .kind = api_kind_by_gvk(STR("resource.k8s.io"), STR("v1"), STR("ResourceSlice")),
        .list = {.field_selector = selector},
        .undecoded = true};
    struct error err = {0};
    if (d->k->client == NULL)
        return;
    log_info("removing the ResourceSlices of %s", driver != NULL ? driver : "this node");
    if (client_start(d->k->client, &call, NULL, &err) != 0)
        log_warning("ResourceSlices: %s", error_message(&err));
}

static void on_timer(uv_timer_t *t)
{
    struct dra *d = t->data;
    uint64_t now = kubelet_now_ms(d->k), next = now + RECONCILE_MS;
    LIST_FOREACH_SAFE (it, &d->gone) {
        struct gone *g = LIST_ENTRY(it, struct gone, link);
        bool back = dra_driver_find(d->k->csi, g->driver) != NULL;
        if (!back && g->due_ms > now) {
            next = MIN_OF(next, g->due_ms);
            continue;
        }
        if (!back)
            wipe(d, g->driver);
        list_remove(it);
        free(g->driver);
        free(g);
    }
    dra_reconcile(d);
    uv_timer_start(&d->timer, on_timer, next - now, 0);
}

void dra_driver_gone(struct dra *d, const char *driver)
{
    struct gone *g = xzalloc(sizeof(*g));
    g->driver = xstrdup(driver);
    g->due_ms = kubelet_now_ms(d->k) + WIPE_DELAY_MS;
    list_push_back(&d->gone, &g->link);
    uv_timer_start(&d->timer, on_timer, WIPE_DELAY_MS, 0);
}

/* None of the drivers can be used before it is registered: no pod is to come for them until then.
 */
void dra_start(struct dra *d)
{
    uv_timer_init(d->k->loop, &d->timer);
    d->timer.data = d;
    wipe(d, NULL);
    uv_timer_start(&d->timer, on_timer, RECONCILE_MS, 0);
}
