/* podgroup.c - pod groups (gangs): keeps their status, and sees to it that the API server knows
 * the kind. Keys are "namespace/name" of groups, and "definition".
 *
 * The definition is created where none of its name is; one that is there is never touched. */
#include "controllers/controller.h"
#include "controllers/podgroup_plan.h"

#include "api/core_v1.h"
#include "api/scheduling_x_v1alpha1.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/client/gang_key.h"

#define GROUP PODGROUP_API
#define DEFINITION_KEY "definition"

static void touch_group(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    UNUSED(old);
    if (o != NULL)
        controller_enqueue_object(r, o);
}

static void touch_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    char buffer[GANG_KEY_MAX];
    struct str key = old != NULL ? gang_key(old->msg, buffer) : STR_NULL;
    if (!str_empty(key))
        controller_enqueue(r, key);
    key = o != NULL ? gang_key(o->msg, buffer) : STR_NULL;
    if (!str_empty(key))
        controller_enqueue(r, key);
}

static void init(struct controller_run *r)
{
    controller_enqueue(r, STR(DEFINITION_KEY));
}

/* --- the definition ------------------------------------------------------------------------------
 */

static void on_created(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code == 0)
        log_info("defined " PODGROUP_DEFINITION);
    else if (result->code != E_EXISTS && result->code != E_CONFLICT)
        reconcile_fail(c);
}

static void on_definition(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code == 0)
        return;
    if (result->code != E_NOT_FOUND) {
        reconcile_fail(c);
        return;
    }
    AUTO_BUF definition = BUF_INIT;
    podgroup_definition(&definition);
    reconcile_call(
        c,
        &(struct client_call){.verb = CLIENT_CREATE,
                              .kind = api_kind_by_gvk(STR("apiextensions.k8s.io"), STR("v1"),
                                                      STR("CustomResourceDefinition")),
                              .raw_body = buf_str(&definition),
                              .undecoded = true},
        on_created, NULL);
}

static void ensure_definition(struct reconcile *c)
{
    reconcile_call(
        c,
        &(struct client_call){.verb = CLIENT_GET,
                              .kind = api_kind_by_gvk(STR("apiextensions.k8s.io"), STR("v1"),
                                                      STR("CustomResourceDefinition")),
                              .name = STR(PODGROUP_DEFINITION),
                              .undecoded = true},
        on_definition, NULL);
}

/* --- status
 * --------------------------------------------------------------------------------------- */

static void put_text(struct buf *b, const char *name, struct str value)
{
    buf_printf(b, ",\"%s\":", name);
    if (str_empty(value))
        buf_puts(b, "null");
    else
        json_write_string(value, b);
}

static void write_status(struct reconcile *c, const struct scheduling_x_v1alpha1_pod_group *group,
                         const struct scheduling_x_v1alpha1_pod_group_status *s)
{
    AUTO_BUF b = BUF_INIT;
    char since[TIME_TEXT_MAX] = "";
    if (s->schedule_start_time != NULL)
        time_format(s->schedule_start_time, since);
    buf_puts(&b, "{\"metadata\":{\"uid\":");
    json_write_string(group->metadata.uid, &b);
    buf_printf(&b, "},\"status\":{\"scheduled\":%d,\"running\":%d,\"succeeded\":%d,\"failed\":%d",
               s->scheduled, s->running, s->succeeded, s->failed);
    put_text(&b, "phase", s->phase);
    put_text(&b, "occupiedBy", s->occupied_by);
    put_text(&b, "scheduleStartTime", str_of(since));
    buf_puts(&b, "}}");
    reconcile_call(
        c,
        &(struct client_call){.verb = CLIENT_PATCH,
                              .kind = api_kind_by_gvk(STR(GROUP), STR("v1alpha1"), STR("PodGroup")),
                              .namespace_name = c->namespace_name,
                              .name = c->name,
                              .subresource = "status",
                              .patch_type = CLIENT_PATCH_MERGE,
                              .raw_body = buf_str(&b),
                              .undecoded = true},
        NULL, NULL);
}

static void reconcile(struct reconcile *c)
{
    if (str_eqc(c->key, DEFINITION_KEY)) {
        ensure_definition(c);
        return;
    }
    struct api_object *o = informer_get_key(controller_informer(c->run, GROUP, "PodGroup"), c->key);
    if (o == NULL)
        return;
    const struct scheduling_x_v1alpha1_pod_group *group = o->msg;
    struct scheduling_x_v1alpha1_pod_group_status status;
    struct meta_v1_time now = time_from_ns(env_wall_ns(c->run->env));
    size_t count;
    struct api_object *const *pods =
        informer_by_index(controller_informer(c->run, "", "Pod"), "gang", c->key, &count);
    podgroup_plan_status(c->arena, group, pods, count, &now, &status);
    if (!api_msg_equal(&scheduling_x_v1alpha1_pod_group_status_msg, &status, &group->status))
        write_status(c, group, &status);
}

static const struct controller_watch watches[] = {
    {GROUP, "v1alpha1", "PodGroup", touch_group},
    {"", "v1", "Pod", touch_pod},
    {0},
};

const struct controller controller_podgroup = {
    .name = "podgroup-controller",
    .watches = watches,
    .init = init,
    .reconcile = reconcile,
};
