/* volume_watch.c - what the watches say about claims, volumes and where there is room for new
 * ones: for the plugins to read, and which pods it wakes. */
#include "scheduler/scheduler_internal.h"

#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/env.h"
#include "scheduler/claims.h"

/* --- what happens -------------------------------------------------------------------------------
 */

static void on_volume_add(struct api_object *o, void *arg)
{
    struct scheduler *s = arg;
    UNUSED(o);
    sched_queue_event(&s->queue, EVENT_VOLUME, env_now_ms(s->env));
    volume_waits_check(s);
    scheduler_wake(s);
}

static void on_volume_delete(struct api_object *o, bool final_state_unknown, void *arg)
{
    struct scheduler *s = arg;
    UNUSED(o);
    UNUSED(final_state_unknown);
    volume_waits_check(s);
    scheduler_wake(s);
}

static void on_volume_update(struct api_object *old, struct api_object *o, void *arg)
{
    UNUSED(old);
    on_volume_add(o, arg);
}

/* Drivers publish capacities again and again: only more room may help. */
static void on_capacity_update(struct api_object *old, struct api_object *o, void *arg)
{
    if (capacity_limit(o->msg) > capacity_limit(old->msg))
        on_volume_add(o, arg);
}

static bool tells_capacity(const struct api_object *o)
{
    const struct storage_v1_csi_driver *d = o->msg;
    return d->spec.has_storage_capacity && d->spec.storage_capacity;
}

static void on_driver_update(struct api_object *old, struct api_object *o, void *arg)
{
    if (tells_capacity(old) && !tells_capacity(o))
        on_volume_add(o, arg);
}

static void on_driver_delete(struct api_object *o, bool final_state_unknown, void *arg)
{
    UNUSED(final_state_unknown);
    if (tells_capacity(o))
        on_volume_add(o, arg);
}

/* --- facts --------------------------------------------------------------------------------------
 */

static struct api_object *find_claim(void *arg, struct str namespace_name, struct str name)
{
    const struct scheduler *s = arg;
    return informer_get(s->informers[INFORM_CLAIMS], namespace_name, name);
}

static struct api_object *find(const struct scheduler *s, enum scheduler_informer which,
                               struct str name)
{
    return informer_get(s->informers[which], STR_NULL, name);
}

static struct api_object *find_volume(void *arg, struct str name)
{
    return find(arg, INFORM_VOLUMES, name);
}

static struct api_object *find_class(void *arg, struct str name)
{
    return find(arg, INFORM_CLASSES, name);
}

static struct api_object *find_csi_node(void *arg, struct str name)
{
    return find(arg, INFORM_CSI_NODES, name);
}

static struct api_object *find_csi_driver(void *arg, struct str name)
{
    return find(arg, INFORM_CSI_DRIVERS, name);
}

static struct api_object *next_volume(void *arg, size_t *pos)
{
    const struct scheduler *s = arg;
    return informer_next(s->informers[INFORM_VOLUMES], pos);
}

static struct api_object *next_capacity(void *arg, size_t *pos)
{
    const struct scheduler *s = arg;
    return informer_next(s->informers[INFORM_CAPACITIES], pos);
}

static bool volume_taken(void *arg, const struct core_v1_persistent_volume *v)
{
    return volume_wait_holds(arg, v->metadata.name);
}

void volumes_watch(struct scheduler *s)
{
    static const struct informer_handler volumes = {
        .on_add = on_volume_add, .on_update = on_volume_update, .on_delete = on_volume_delete};
    static const struct informer_handler drivers = {.on_update = on_driver_update,
                                                    .on_delete = on_driver_delete};
    static const struct informer_handler capacities = {.on_add = on_volume_add,
                                                       .on_update = on_capacity_update};
    static const char storage[] = "storage.k8s.io";
    scheduler_watch(s, INFORM_CLAIMS, "", "v1", "PersistentVolumeClaim", NULL, &volumes);
    scheduler_watch(s, INFORM_VOLUMES, "", "v1", "PersistentVolume", NULL, &volumes);
    scheduler_watch(s, INFORM_CLASSES, storage, "v1", "StorageClass", NULL, &volumes);
    scheduler_watch(s, INFORM_CSI_NODES, storage, "v1", "CSINode", NULL, &volumes);
    scheduler_watch(s, INFORM_CSI_DRIVERS, storage, "v1", "CSIDriver", NULL, &drivers);
    scheduler_watch(s, INFORM_CAPACITIES, storage, "v1", "CSIStorageCapacity", NULL, &capacities);
    s->facts.claim = find_claim;
    s->facts.volume = find_volume;
    s->facts.storage_class = find_class;
    s->facts.csi_node = find_csi_node;
    s->facts.csi_driver = find_csi_driver;
    s->facts.next_volume = next_volume;
    s->facts.next_capacity = next_capacity;
    s->facts.volume_taken = volume_taken;
}
