/* device_watch.c - what the watches say about dynamic resources, and which pods that wakes. */
#include "scheduler/scheduler_internal.h"

#include "lib/base/env.h"
#include "scheduler/devices/devices.h"

static void wake(struct scheduler *s, uint32_t event)
{
    sched_queue_recheck(&s->queue, event);
    sched_queue_event(&s->queue, event, env_now_ms(s->env));
    scheduler_wake(s);
}

static void on_claim_add(struct api_object *o, void *arg)
{
    struct scheduler *s = arg;
    enum claim_news news = devices_set_claim(s->devices, o);
    device_waits_check(s);
    if (news != CLAIM_NEWS_NONE)
        wake(s, EVENT_CLAIM);
}

static void on_claim_update(struct api_object *old, struct api_object *o, void *arg)
{
    UNUSED(old);
    on_claim_add(o, arg);
}

static void on_claim_delete(struct api_object *o, bool final_state_unknown, void *arg)
{
    struct scheduler *s = arg;
    UNUSED(final_state_unknown);
    enum claim_news news = devices_remove_claim(s->devices, o);
    device_waits_check(s);
    if (news == CLAIM_NEWS_FREED)
        wake(s, EVENT_CLAIM);
}

static void on_slice_add(struct api_object *o, void *arg)
{
    struct scheduler *s = arg;
    devices_set_slice(s->devices, o);
    wake(s, EVENT_DEVICES);
}

static void on_slice_update(struct api_object *old, struct api_object *o, void *arg)
{
    UNUSED(old);
    on_slice_add(o, arg);
}

static void on_slice_delete(struct api_object *o, bool final_state_unknown, void *arg)
{
    struct scheduler *s = arg;
    UNUSED(final_state_unknown);
    devices_remove_slice(s->devices, o);
}

static void on_class_add(struct api_object *o, void *arg)
{
    struct scheduler *s = arg;
    devices_set_class(s->devices, o);
    wake(s, EVENT_CLASS);
}

static void on_class_update(struct api_object *old, struct api_object *o, void *arg)
{
    UNUSED(old);
    on_class_add(o, arg);
}

static void on_class_delete(struct api_object *o, bool final_state_unknown, void *arg)
{
    struct scheduler *s = arg;
    UNUSED(final_state_unknown);
    devices_remove_class(s->devices, o);
}

void devices_watch(struct scheduler *s)
{
    static const struct informer_handler claims = {
        .on_add = on_claim_add, .on_update = on_claim_update, .on_delete = on_claim_delete};
    static const struct informer_handler slices = {
        .on_add = on_slice_add, .on_update = on_slice_update, .on_delete = on_slice_delete};
    static const struct informer_handler classes = {
        .on_add = on_class_add, .on_update = on_class_update, .on_delete = on_class_delete};
    scheduler_watch(s, INFORM_RESOURCE_CLAIMS, "resource.k8s.io", "v1", "ResourceClaim", NULL,
                    &claims);
    scheduler_watch(s, INFORM_SLICES, "resource.k8s.io", "v1", "ResourceSlice", NULL, &slices);
    scheduler_watch(s, INFORM_DEVICE_CLASSES, "resource.k8s.io", "v1", "DeviceClass", NULL,
                    &classes);
}
