/* devicetainteviction.c - deletes pods whose claims have devices with NoExecute taints, when their
 * tolerations end (device_taints.c). Taints are those that drivers put into ResourceSlices. The key
 * is the pod. */
#include "controllers/controller.h"
#include "controllers/device_taints.h"
#include "controllers/eviction_metrics.h"
#include "controllers/pod_disrupt.h"
#include "controllers/resourceclaim_plan.h"

#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/map.h"

#define GROUP "resource.k8s.io"
#define EVENT_REASON "DeviceTaintManagerEviction"

typedef struct resource_v1_resource_claim claim_t;

/* Something is scheduled for a pod, or may have to be. */
static void touch_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    const struct core_v1_pod *p = (o != NULL ? o : old)->msg;
    if (p->spec.resource_claims_count != 0 && !str_empty(p->spec.node_name))
        controller_enqueue_object(r, o != NULL ? o : old);
}

static void touch_consumers(struct controller_run *r, const claim_t *c)
{
    AUTO_ARENA *a = arena_new(256);
    for (size_t i = 0; i < c->status.reserved_for_count; i++)
        if (str_empty(c->status.reserved_for[i].api_group) &&
            str_eqc(c->status.reserved_for[i].resource, "pods"))
            controller_enqueue(
                r, informer_key_of(a, c->metadata.namespace, c->status.reserved_for[i].name));
}

static void touch_claim(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    if (old != NULL)
        touch_consumers(r, old->msg);
    if (o != NULL)
        touch_consumers(r, o->msg);
}

static bool uses_pool(const claim_t *c, const struct resource_v1_resource_slice *s)
{
    const struct resource_v1_allocation_result *x = c->status.allocation;
    for (size_t i = 0; x != NULL && i < x->devices.results_count; i++)
        if (str_eq(x->devices.results[i].driver, s->spec.driver) &&
            str_eq(x->devices.results[i].pool, s->spec.pool.name))
            return true;
    return false;
}

static bool has_taints(const struct api_object *o)
{
    const struct resource_v1_resource_slice *s = o != NULL ? o->msg : NULL;
    for (size_t i = 0; s != NULL && i < s->spec.devices_count; i++)
        if (s->spec.devices[i].taints_count != 0)
            return true;
    return false;
}

static void touch_slice(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    size_t pos = 0;
    const struct resource_v1_resource_slice *s = (o != NULL ? o : old)->msg;
    if (!has_taints(old) && !has_taints(o))
        return;
    const struct informer *claims = controller_informer(r, GROUP, "ResourceClaim");
    for (struct api_object *c; (c = informer_next(claims, &pos)) != NULL;)
        if (uses_pool(c->msg, s))
            touch_consumers(r, c->msg);
}

/* --- one pod --------------------------------------------------------------------------------- */

static struct api_object **all_slices(struct reconcile *c, size_t *ret_count)
{
    const struct informer *slices = controller_informer(c->run, GROUP, "ResourceSlice");
    struct api_object **list =
        ARENA_ARRAY(c->arena, struct api_object *, informer_count(slices) + 1);
    size_t pos = 0, n = 0;
    for (struct api_object *o; (o = informer_next(slices, &pos)) != NULL;)
        list[n++] = o;
    *ret_count = n;
    return list;
}

static int64_t eviction_time(struct reconcile *c, const struct core_v1_pod *p, int64_t now_ns)
{
    int64_t when = DEVICE_EVICTION_NEVER;
    size_t count;
    struct api_object **slices = all_slices(c, &count);
    for (size_t i = 0; i < p->spec.resource_claims_count; i++) {
        struct str name;
        bool made;
        if (pod_resource_claim(p, &p->spec.resource_claims[i], &name, &made) != CLAIM_NAMED)
            continue;
        struct api_object *o = informer_get(controller_informer(c->run, GROUP, "ResourceClaim"),
                                            p->metadata.namespace, name);
        const claim_t *claim = o != NULL ? o->msg : NULL;
        if (claim == NULL || claim->status.allocation == NULL ||
            (made && !claim_is_for_pod(claim, p)) || !claim_is_reserved_for(claim, p->metadata.uid))
            continue;
        int64_t one = device_eviction_time(claim->status.allocation, slices, count, now_ns);
        when = MIN_OF(when, one);
    }
    return when;
}

static void reconcile(struct reconcile *c)
{
    struct map *waiting = c->run->state;
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "Pod"), c->key);
    const struct core_v1_pod *p = o != NULL ? o->msg : NULL;
    if (p == NULL || p->metadata.deletion_timestamp != NULL || str_empty(p->spec.node_name)) {
        map_remove(waiting, c->key);
        return;
    }
    struct event_object about = event_object_of(o);
    int64_t now_ns = env_wall_ns(c->run->env), when = eviction_time(c, p, now_ns);
    if (when == DEVICE_EVICTION_NEVER) {
        if (map_remove(waiting, c->key) != NULL)
            event_record(c->run->recorder, &about, EVENT_NORMAL, EVENT_REASON,
                         "Cancelling deletion");
    } else if (when <= now_ns) {
        map_remove(waiting, c->key);
        event_record(c->run->recorder, &about, EVENT_NORMAL, EVENT_REASON, "Marking for deletion");
        metrics_pod_evicted(true, (double)(now_ns - when) / 1e9);
        pod_disrupt(c, o, "DeletionByDeviceTaintManager",
                    "Device Taint manager: deleting due to NoExecute taint");
    } else {
        map_set(waiting, c->key, waiting);
        reconcile_again_after(c, (uint64_t)(when - now_ns) / 1000000 + 1);
    }
}

/* The keys of pods that are to go later. */
static void init(struct controller_run *r)
{
    r->state = xzalloc(sizeof(struct map));
    map_init(r->state);
}

static void done(struct controller_run *r)
{
    map_done(r->state);
    free(r->state);
}

static const struct controller_watch watches[] = {
    {"", "v1", "Pod", touch_pod},
    {GROUP, "v1", "ResourceClaim", touch_claim},
    {GROUP, "v1", "ResourceSlice", touch_slice},
    {0},
};

const struct controller controller_devicetainteviction = {
    .name = "device-taint-eviction-controller",
    .watches = watches,
    .init = init,
    .done = done,
    .reconcile = reconcile,
};
