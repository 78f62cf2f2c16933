/* vpa_update.c - resizes or evicts the pods that vpa_plan() names. */
#include "controllers/vpa_internal.h"
#include "controllers/vpa_plan.h"
#include "controllers/vpa_status.h"
#include "controllers/vpa_target.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/json.h"
#include "lib/api/owner.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/log.h"

#include <stdlib.h>

#define RESIZED_ANNOTATION "vpaInPlaceUpdated"
#define EVICTION_TIMEOUT_MS 5000 /* A budget that refuses is asked again in the next round. */

/* --- events ------------------------------------------------------------------------------- */
static void tell_pod(struct reconcile *c, const struct core_v1_pod *p, const char *reason,
                     const char *text)
{
    struct event_object about =
        event_object_from(api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")), p);
    event_record(c->run->recorder, &about, EVENT_NORMAL, reason, "%s", text);
}

static void tell_autoscaler(struct reconcile *c, const char *reason, struct str text)
{
    const struct json *m = json_getc(((struct vpa_look *)c->state)->object, "metadata");
    struct event_object about = {.api_version = STR(VPA_GROUP "/v1"),
                                 .kind = STR("VerticalPodAutoscaler"),
                                 .namespace_name = c->namespace_name,
                                 .name = c->name,
                                 .uid = json_get_str(m, "uid"),
                                 .resource_version = json_get_str(m, "resourceVersion")};
    event_record(c->run->recorder, &about, EVENT_NORMAL, reason, STR_FMT, STR_ARG(text));
}

/* --- eviction -------------------------------------------------------------------------------- */
static void on_evicted(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct core_v1_pod *p = arg;
    if (result->code == E_NOT_FOUND || result->code == E_CONFLICT)
        return; /* It is gone, or another has its name. */
    if (result->code != 0) {
        log_info("%s " STR_FMT ": pod " STR_FMT " stays: %s", c->run->controller->name,
                 STR_ARG(c->key), STR_ARG(p->metadata.name), result->message);
        return;
    }
    tell_pod(c, p, "EvictedByVPA",
             "Pod was evicted by VPA Updater to apply resource recommendation.");
    tell_autoscaler(c, "EvictedPod",
                    arena_printf(c->arena,
                                 "VPA Updater evicted Pod " STR_FMT
                                 " to apply resource recommendation.",
                                 STR_ARG(p->metadata.name)));
}

static void evict(struct reconcile *c, const struct core_v1_pod *p)
{
    reconcile_call(
        c,
        &(struct client_call){
            .verb = CLIENT_CREATE,
            .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
            .namespace_name = c->namespace_name,
            .name = p->metadata.name,
            .subresource = "eviction",
            .timeout_ms = EVICTION_TIMEOUT_MS,
            .raw_body = arena_printf(
                c->arena,
                "{\"apiVersion\":\"policy/"
                "v1\",\"kind\":\"Eviction\",\"metadata\":{\"name\":\"" STR_FMT
                "\",\"namespace\":\"" STR_FMT
                "\"},\"deleteOptions\":{\"preconditions\":{\"uid\":\"" STR_FMT "\"}}}",
                STR_ARG(p->metadata.name), STR_ARG(c->namespace_name), STR_ARG(p->metadata.uid))},
        on_evicted, (void *)(uintptr_t)p);
}

/* --- resizing -------------------------------------------------------------------------------- */
static void on_annotated(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct core_v1_pod *p = arg;
    if (result->code != 0 && result->code != E_NOT_FOUND)
        log_info("%s: pod " STR_FMT "/" STR_FMT " cannot be annotated: %s",
                 c->run->controller->name, STR_ARG(p->metadata.namespace),
                 STR_ARG(p->metadata.name), result->message);
}

static void annotate(struct reconcile *c, const struct core_v1_pod *p)
{
    reconcile_call(
        c,
        &(struct client_call){.verb = CLIENT_PATCH,
                              .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
                              .namespace_name = c->namespace_name,
                              .name = p->metadata.name,
                              .patch_type = CLIENT_PATCH_MERGE,
                              .raw_body = arena_printf(c->arena,
                                                       "{\"metadata\":{\"uid\":\"" STR_FMT
                                                       "\",\"annotations\":{\"" RESIZED_ANNOTATION
                                                       "\":\"true\"}}}",
                                                       STR_ARG(p->metadata.uid))},
        on_annotated, (void *)(uintptr_t)p);
}

static void on_resized(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct core_v1_pod *p = arg;
    const struct vpa_look *l = c->state;
    if (result->code == 0) {
        tell_pod(c, p, "InPlaceResizedByVPA", "Pod was resized in place by VPA Updater.");
        annotate(c, p);
        return;
    }
    if (result->code == E_NOT_FOUND || result->code == E_CONFLICT)
        return;
    log_info("%s " STR_FMT ": pod " STR_FMT " cannot be resized: %s", c->run->controller->name,
             STR_ARG(c->key), STR_ARG(p->metadata.name), result->message);
    bool refused = result->http_status >= 400 && result->http_status < 500;
    if (refused && l->v.mode == VPA_IN_PLACE_OR_RECREATE)
        evict(c, p);
}

static struct str resize_patch(struct arena *a, const struct vpa_pod *p)
{
    struct json *root = json_object(a), *spec = json_object(a), *list = json_array(a),
                *meta = json_object(a);
    AUTO_BUF text = BUF_INIT;
    for (size_t i = 0; i < p->pod->spec.containers_count; i++) {
        struct json *c = json_object(a), *resources = json_object(a);
        if (!p->containers[i].recommended)
            continue;
        json_setc(a, resources, "requests", vpa_list_json(a, &p->containers[i].requests));
        json_setc(a, resources, "limits", vpa_list_json(a, &p->containers[i].limits));
        json_setc(a, c, "name", json_string(a, p->pod->spec.containers[i].name));
        json_setc(a, c, "resources", resources);
        json_append(a, list, c);
    }
    json_setc(a, meta, "uid", json_string(a, p->pod->metadata.uid));
    json_setc(a, spec, "containers", list);
    json_setc(a, root, "metadata", meta);
    json_setc(a, root, "spec", spec);
    json_write(root, false, &text);
    return arena_str(a, buf_str(&text));
}

static void resize(struct reconcile *c, const struct vpa_pod *p)
{
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_PATCH,
                                         .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
                                         .namespace_name = c->namespace_name,
                                         .name = p->pod->metadata.name,
                                         .subresource = "resize",
                                         .patch_type = CLIENT_PATCH_STRATEGIC,
                                         .raw_body = resize_patch(c->arena, p)},
                   on_resized, (void *)(uintptr_t)p->pod);
}

/* --- what the plan needs -----------------------------------------------------------------------
 */

/* Of several autoscalers with one target the oldest acts. */
static bool is_stronger(const struct json *x, const struct json *y)
{
    const struct json *a = json_getc(x, "metadata"), *b = json_getc(y, "metadata");
    int c = str_cmp(json_get_str(a, "creationTimestamp"), json_get_str(b, "creationTimestamp"));
    return c != 0 ? c < 0 : str_cmp(json_get_str(a, "name"), json_get_str(b, "name")) < 0;
}

static bool acts(const struct json *object)
{
    struct str mode = json_get_str(json_path(object, "spec.updatePolicy"), "updateMode");
    return !str_eqc(mode, "Off") && !str_eqc(mode, "Initial");
}

static bool is_strongest(struct reconcile *c)
{
    const struct vpa_look *l = c->state;
    struct vpa_state *s = c->run->state;
    struct str key, namespace_name, name;
    void *value;
    size_t pos = 0;
    while (map_next(&s->entries, &pos, &key, &value)) {
        const struct json *other = ((const struct vpa_entry *)value)->object;
        const struct json *target = json_path(other, "spec.targetRef");
        informer_split_key(key, &namespace_name, &name);
        if (other != NULL && !str_eq(key, c->key) && str_eq(namespace_name, c->namespace_name) &&
            str_eq(json_get_str(target, "kind"), l->v.target_kind) &&
            str_eq(json_get_str(target, "name"), l->v.target_name) && acts(other) &&
            is_stronger(other, l->object))
            return false;
    }
    return true;
}

static void read_ranges(struct reconcile *c, struct vpa_ranges *ret)
{
    size_t n;
    struct api_object *const *ranges =
        controller_in_namespace(c->run, "", "LimitRange", c->namespace_name, &n);
    for (size_t i = 0; i < n; i++)
        vpa_ranges_add(ret, ranges[i]->msg);
}

/* Since when the pod is being resized, as seen here. */
static int64_t resizing_since(struct vpa_memory *m, const struct core_v1_pod *p, int64_t now_s)
{
    int64_t *since = map_get(&m->tries, p->metadata.uid);
    if (!vpa_is_resizing(p)) {
        free(map_remove(&m->tries, p->metadata.uid));
        return 0;
    }
    if (since == NULL) {
        since = xzalloc(sizeof(*since));
        *since = now_s;
        map_set(&m->tries, p->metadata.uid, since);
    }
    return *since;
}

static void forget_tries(struct vpa_memory *m, const struct vpa_pod *pods, size_t count)
{
    struct str uid;
    void *value;
    size_t pos = 0;
    while (map_next(&m->tries, &pos, &uid, &value)) {
        bool there = false;
        for (size_t i = 0; i < count && !there; i++)
            there = str_eq(pods[i].pod->metadata.uid, uid);
        if (!there)
            free(map_remove(&m->tries, uid));
    }
}

struct groups {
    struct vpa_group *items;
    struct str *owners; /* uids */
    size_t count;
};

static size_t group_of(struct reconcile *c, struct groups *g, const struct core_v1_pod *p)
{
    const struct meta_v1_owner_reference *o = owner_controller(&p->metadata);
    size_t i = 0;
    while (i < g->count && !str_eq(g->owners[i], o->uid))
        i++;
    if (i == g->count) {
        g->owners[i] = o->uid;
        g->items[i].configured = vpa_target_replicas(c->run, p);
        g->count++;
    }
    return i;
}

static size_t gather(struct reconcile *c, struct vpa_memory *m, struct vpa_pod *pods,
                     struct groups *groups)
{
    struct vpa_look *l = c->state;
    struct vpa_ranges ranges = {0};
    int64_t now_s = controller_now_s(c->run);
    size_t n = 0;
    read_ranges(c, &ranges);
    for (size_t i = 0; i < l->pod_count; i++) {
        const struct core_v1_pod *p = l->pods[i]->msg;
        if (p->spec.node_name.len == 0 || pod_is_terminal(p) ||
            p->metadata.deletion_timestamp != NULL || !vpa_target_owns(c->run, p, &l->v))
            continue;
        pods[n++] = (struct vpa_pod){.pod = p,
                                     .containers = vpa_for_pod(c->arena, &l->v, p, &ranges),
                                     .group = group_of(c, groups, p),
                                     .resizing_since_s = resizing_since(m, p, now_s)};
    }
    forget_tries(m, pods, n);
    return n;
}

void vpa_update(struct reconcile *c)
{
    struct vpa_look *l = c->state;
    struct vpa_state *s = c->run->state;
    const struct manager_options *o = controller_options();
    if (l->v.mode == VPA_OFF || l->v.mode == VPA_INITIAL || l->v.recommended_count == 0 ||
        !is_strongest(c))
        return;
    struct groups groups = {ARENA_ARRAY(c->arena, struct vpa_group, l->pod_count + 1),
                            ARENA_ARRAY(c->arena, struct str, l->pod_count + 1), 0};
    struct vpa_pod *pods = ARENA_ARRAY(c->arena, struct vpa_pod, l->pod_count + 1);
    struct vpa_step *steps = ARENA_ARRAY(c->arena, struct vpa_step, l->pod_count + 1);
    struct vpa_plan_config config = {VPA_PLAN_DEFAULTS, .autoscaler = &l->v,
                                     .now_s = controller_now_s(c->run)};
    config.min_replicas = o->vpa_min_replicas;
    config.tolerance = o->vpa_eviction_tolerance;
    size_t n = gather(c, vpa_entry_of(s, c->key)->memory, pods, &groups);
    n = vpa_plan(c->arena, &config, pods, n, groups.items, groups.count, steps);
    for (size_t i = 0; i < n; i++) {
        if (steps[i].way == VPA_BY_RESIZE)
            resize(c, &pods[steps[i].pod]);
        else
            evict(c, pods[steps[i].pod].pod);
    }
}
