/* csi_limits.c - see csi_internal.h: how many volumes a driver can have here may change, as when
 * network cards take the same slots. Where its CSIDriver says how often
 * (nodeAllocatableUpdatePeriodSeconds), the driver is asked again, and CSINode told.
 *
 *   CSIDriver -> wait -> NodeGetInfo -> CSIDriver ... */
#include "kubelet/csi_internal.h"

#include "kubelet/kubelet.h"

#include "api/storage_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/log.h"
#include "lib/client/client.h"

#define LOOK_AGAIN_MS 60000u /* Where nothing is asked for: the object may say so later. */
#define PERIOD_MIN_S 10      /* As the API has it. */
#define CALL_TIMEOUT_MS 10000u

static void wait_for_next(struct csi *c);

static void due_in(struct csi_driver *d, uint64_t ms, bool ask)
{
    d->limits_due_ms = kubelet_now_ms(d->csi->k) + ms;
    d->limits_ask = ask;
    wait_for_next(d->csi);
}

static void on_info(const struct plugin_reply *reply, void *arg)
{
    struct csi_driver *d = arg;
    if (csi_driver_answer_is_late(d))
        return;
    const Csi__V1__NodeGetInfoResponse *r = reply->msg;
    if (reply->code != 0) {
        log_warning("CSI driver %s: NodeGetInfo: %s", d->name, reply->message);
    } else if (r->max_volumes_per_node != d->max_volumes) {
        log_info("CSI driver %s: %lld volumes at most, before %lld", d->name,
                 (long long)r->max_volumes_per_node, (long long)d->max_volumes);
        d->max_volumes = r->max_volumes_per_node;
        csi_node_publish(d->csi);
    }
    due_in(d, 0, false);
}

static void on_object(struct client_request *r, const struct client_result *result, void *arg)
{
    struct csi_driver *d = arg;
    UNUSED(r);
    if (csi_driver_answer_is_late(d))
        return;
    const struct storage_v1_csi_driver *o = result->code == 0 ? result->object->msg : NULL;
    if (o == NULL || !o->spec.has_node_allocatable_update_period_seconds)
        due_in(d, LOOK_AGAIN_MS, false);
    else
        due_in(d,
               (uint64_t)MAX_OF(o->spec.node_allocatable_update_period_seconds,
                                (int64_t)PERIOD_MIN_S) *
                   1000,
               true);
}

static void look(struct csi_driver *d)
{
    struct client_call call = {
        .verb = CLIENT_GET,
        .kind = api_kind_by_api_version(STR("storage.k8s.io/v1"), STR("CSIDriver")),
        .name = str_of(d->name),
        .timeout_ms = CALL_TIMEOUT_MS,
        .done = on_object,
        .arg = d};
    struct error err;
    if (client_start(d->csi->k->client, &call, NULL, &err) != 0)
        due_in(d, LOOK_AGAIN_MS, false);
    else
        d->calls++;
}

static void ask(struct csi_driver *d)
{
    Csi__V1__NodeGetInfoRequest q = CSI__V1__NODE_GET_INFO_REQUEST__INIT;
    d->calls++;
    plugin_call(d->client, "/csi.v1.Node/NodeGetInfo", &q,
                &csi__v1__node_get_info_response__descriptor, on_info, d);
}

static void on_timer(uv_timer_t *t)
{
    struct csi *c = t->data;
    uint64_t now_ms = kubelet_now_ms(c->k);
    size_t pos = 0;
    void *v;
    while (map_next(&c->sockets, &pos, NULL, &v)) {
        struct csi_driver *d = v;
        if (d->limits_due_ms == 0 || d->limits_due_ms > now_ms)
            continue;
        d->limits_due_ms = 0;
        if (d->limits_ask)
            ask(d);
        else
            look(d);
    }
    wait_for_next(c);
}

static void wait_for_next(struct csi *c)
{
    uint64_t now_ms = kubelet_now_ms(c->k), next_ms = 0;
    size_t pos = 0;
    void *v;
    while (map_next(&c->sockets, &pos, NULL, &v)) {
        const struct csi_driver *d = v;
        if (d->limits_due_ms != 0 && (next_ms == 0 || d->limits_due_ms < next_ms))
            next_ms = d->limits_due_ms;
    }
    if (next_ms == 0)
        uv_timer_stop(&c->limits_timer);
    else
        uv_timer_start(&c->limits_timer, on_timer, next_ms > now_ms ? next_ms - now_ms : 0, 0);
}

void csi_limits_start(struct csi_driver *d)
{
    if (d->csi->k->client != NULL)
        due_in(d, 0, false);
}
