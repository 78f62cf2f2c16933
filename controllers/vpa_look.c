/* vpa_look.c - one autoscaler; see vpa_internal.h.
 *
 *   target -> selector -> pods -> their metrics -> recommendation -> status, checkpoints -> pods */
#include "controllers/owned.h"
#include "controllers/vpa_internal.h"
#include "controllers/vpa_status.h"
#include "controllers/vpa_target.h"

#include "api/autoscaling_v1.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/json.h"
#include "lib/api/owner.h"
#include "lib/api/scheme.h"
#include "lib/api/selector.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/net/url.h"

#include <stdlib.h>

#define RECOMMENDER "default"

/* Recommendations are ours unless another recommender is named. */
static bool is_ours(const struct vpa_object *v)
{
    bool ours = v->recommender_count == 0;
    for (size_t i = 0; i < v->recommender_count; i++)
        ours |= str_eqc(v->recommenders[i], RECOMMENDER);
    return ours;
}

/* NULL: the autoscaler went meanwhile. */
static struct vpa_entry *entry(struct reconcile *c)
{
    return map_get(&((struct vpa_state *)c->run->state)->entries, c->key);
}

/* --- status ------------------------------------------------------------------------------- */
static void on_status(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct vpa_entry *e = entry(c);
    struct json *j;
    if (result->code == E_NOT_FOUND)
        return; /* It has just been deleted. */
    if (result->code != 0) {
        log_warning("%s " STR_FMT ": cannot write the status: %s", c->run->controller->name,
                    STR_ARG(c->key), result->message);
        reconcile_fail(c);
    } else if (e != NULL && json_parse(c->arena, result->body, &j, NULL) == 0) {
        free(e->written);
        free(e->version);
        e->written = xstrdup(arg);
        e->version = xstrdup(
            str_c(arena_str(c->arena, json_get_str(json_getc(j, "metadata"), "resourceVersion"))));
    }
}

/* A definition of a user's may drop a field: what was written once is not written again. */
static bool is_written(const struct vpa_look *l, const struct vpa_entry *e, const char *text)
{
    return e->written != NULL && strcmp(e->written, text) == 0 &&
           str_eqc(json_get_str(json_getc(l->object, "metadata"), "resourceVersion"), e->version);
}

static void write_status(struct reconcile *c, struct vpa_entry *e, struct json *recommendation,
                         struct json *conditions)
{
    struct vpa_look *l = c->state;
    struct json *status = json_object(c->arena);
    AUTO_BUF text = BUF_INIT;
    if (recommendation != NULL)
        json_setc(c->arena, status, "recommendation", recommendation);
    json_setc(c->arena, status, "conditions", conditions);
    json_setc(c->arena, status, "observedGeneration",
              json_int(c->arena, json_get_int(json_getc(l->object, "metadata"), "generation", 0)));
    json_write(status, false, &text);
    char *copy = arena_strdup(c->arena, str_c(arena_str(c->arena, buf_str(&text))));
    if ((l->status != NULL && json_equal(l->status, status)) || is_written(l, e, copy))
        return;
    reconcile_call(c,
                   &(struct client_call){
                       .verb = CLIENT_PATCH,
                       .resource = &vpa_autoscalers,
                       .namespace_name = c->namespace_name,
                       .name = c->name,
                       .subresource = "status",
                       .patch_type = CLIENT_PATCH_JSON,
                       .raw_body = arena_printf(
                           c->arena, "[{\"op\":\"add\",\"path\":\"/status\",\"value\":%s}]", copy)},
                   on_status, copy);
}

/* --- checkpoints ---------------------------------------------------------------------------- */
static void put_checkpoint(struct reconcile *c, struct str container, enum client_verb verb);

static void on_saved(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct vpa_entry *e = entry(c);
    struct str *container = arg;
    if (e == NULL)
        return;
    struct vpa_series *s = map_get(&e->memory->series, *container);
    if (result->code == E_NOT_FOUND && s != NULL && s->changed) {
        s->changed = false; /* Once. */
        put_checkpoint(c, *container, CLIENT_CREATE);
    } else if (result->code != 0 && s != NULL) {
        s->changed = true;
        log_warning("%s " STR_FMT ": cannot save what is known of " STR_FMT ": %s",
                    c->run->controller->name, STR_ARG(c->key), STR_ARG(*container),
                    result->message);
    } else if (s != NULL) {
        s->changed = false;
    }
}

static void put_checkpoint(struct reconcile *c, struct str container, enum client_verb verb)
{
    struct arena *a = c->arena;
    struct vpa_memory *m = entry(c)->memory;
    AUTO_BUF body = BUF_INIT;
    AUTO_BUF status = BUF_INIT;
    AUTO_BUF annotations = BUF_INIT;
    struct str name = vpa_checkpoint_name(a, c->name, container);
    json_write(vpa_checkpoint_status(a, m, container, controller_now_s(c->run)), false, &status);
    json_write(vpa_checkpoint_annotations(a, m, container), false, &annotations);
    if (verb == CLIENT_CREATE)
        buf_printf(&body,
                   "{\"apiVersion\":\"" VPA_GROUP "/v1\",\"kind\":"
                   "\"VerticalPodAutoscalerCheckpoint\",\"metadata\":{\"name\":\"" STR_FMT
                   "\",\"annotations\":" STR_FMT "},\"spec\":{\"vpaObjectName\":\"" STR_FMT
                   "\",\"containerName\":\"" STR_FMT "\"},\"status\":" STR_FMT "}",
                   STR_ARG(name), STR_ARG(buf_str(&annotations)), STR_ARG(c->name),
                   STR_ARG(container), STR_ARG(buf_str(&status)));
    else
        buf_printf(&body,
                   "[{\"op\":\"add\",\"path\":\"/metadata/annotations\",\"value\":" STR_FMT "},"
                   "{\"op\":\"add\",\"path\":\"/status\",\"value\":" STR_FMT "}]",
                   STR_ARG(buf_str(&annotations)), STR_ARG(buf_str(&status)));
    struct str *arg = ARENA_NEW(a, struct str);
    *arg = container;
    reconcile_call(c,
                   &(struct client_call){.verb = verb,
                                         .resource = &vpa_checkpoints,
                                         .namespace_name = c->namespace_name,
                                         .name = verb == CLIENT_CREATE ? STR_NULL : name,
                                         .patch_type = CLIENT_PATCH_JSON,
                                         .raw_body = buf_str(&body)},
                   on_saved, arg);
}

static void save(struct reconcile *c, struct vpa_entry *e)
{
    struct str container;
    void *value;
    size_t pos = 0;
    while (map_next(&e->memory->series, &pos, &container, &value))
        if (((struct vpa_series *)value)->changed)
            put_checkpoint(c, arena_str(c->arena, container), CLIENT_PATCH);
}

static void drop_checkpoint(struct str container, void *arg)
{
    struct reconcile *c = arg;
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_DELETE,
                                         .resource = &vpa_checkpoints,
                                         .namespace_name = c->namespace_name,
                                         .name = vpa_checkpoint_name(c->arena, c->name, container)},
                   NULL, NULL);
}

/* --- what comes of it ----------------------------------------------------------------------- */
static void conclude(struct reconcile *c)
{
    struct vpa_look *l = c->state;
    struct vpa_entry *e = entry(c);
    struct vpa_conditions conditions;
    if (e == NULL)
        return;
    if (!is_ours(&l->v)) {
        vpa_update(c);
        return;
    }
    vpa_memory_expire(e->memory, &l->v, controller_now_s(c->run), drop_checkpoint, c);
    l->v.recommended = vpa_recommend(c->arena, e->memory, &l->v, &l->v.recommended_count);
    vpa_conditions_init(&conditions, c->arena, l->status, controller_now_s(c->run));
    vpa_condition_remove(&conditions, "ConfigDeprecated");
    if (l->unsupported.len != 0)
        vpa_condition_set(&conditions, "ConfigUnsupported", true, "", str_c(l->unsupported));
    else
        vpa_condition_remove(&conditions, "ConfigUnsupported");
    bool any = l->v.recommended_count != 0, matched = l->pod_count != 0;
    const char *reason = matched ? "" : "NoPodsMatched",
               *message = matched ? "" : "No pods match this VPA object";
    if (matched)
        vpa_condition_remove(&conditions, "NoPodsMatched");
    else
        vpa_condition_set(&conditions, "NoPodsMatched", true, reason, message);
    vpa_condition_set(&conditions, "RecommendationProvided", any, any ? "" : reason,
                      any ? "" : message);
    write_status(c, e, vpa_recommendation_json(c->arena, l->v.recommended, l->v.recommended_count),
                 conditions.list);
    save(c, e);
    if (l->unsupported.len == 0)
        vpa_update(c);
}

static void unsupported(struct reconcile *c, struct str why)
{
    ((struct vpa_look *)c->state)->unsupported = why;
    conclude(c);
}

/* --- usage -------------------------------------------------------------------------------------
 */
static void on_metrics(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct vpa_look *l = c->state;
    struct vpa_entry *e = entry(c);
    struct error err = {0};
    UNUSED(arg);
    if (e == NULL)
        return;
    int code = result->code;
    if (code != 0)
        error_set(&err, code, "%s", result->message);
    else
        code = vpa_memory_feed(e->memory, &l->v, l->pods, l->pod_count, result->body, &err);
    if (code != 0 && !e->silent)
        log_warning("%s " STR_FMT ": no metrics: %s", c->run->controller->name, STR_ARG(c->key),
                    error_message(&err));
    e->silent = code != 0;
}

static void find_pods(struct reconcile *c, const struct api_label_selector *selector)
{
    struct vpa_look *l = c->state;
    size_t cap = 0;
    AUTO_WALK pods = controller_walk_pods(c->run, c->namespace_name);
    for (struct api_object *p; (p = informer_walk_next(&pods)) != NULL;) {
        const struct meta_v1_object_meta *m = api_object_meta(p);
        if (!api_label_selector_matches(selector, m->labels, m->labels_count))
            continue;
        l->pods = arena_grow(c->arena, l->pods, l->pod_count, &cap, sizeof(struct api_object *));
        l->pods[l->pod_count++] = reconcile_hold(c, p);
    }
}

static void have_selector(struct reconcile *c, const struct api_label_selector *selector)
{
    struct vpa_look *l = c->state;
    struct vpa_entry *e = entry(c);
    if (e == NULL)
        return;
    find_pods(c, selector);
    vpa_memory_kills(e->memory, &l->v, l->pods, l->pod_count);
    if (l->pod_count != 0 && is_ours(&l->v)) {
        AUTO_BUF path = BUF_INIT;
        buf_printf(&path, "/apis/metrics.k8s.io/v1beta1/namespaces/" STR_FMT "/pods?labelSelector=",
                   STR_ARG(c->namespace_name));
        url_escape_query(&path, api_label_selector_text(c->arena, selector));
        reconcile_get(c, arena_str(c->arena, buf_str(&path)), on_metrics, NULL);
    }
    reconcile_then(c, conclude);
}

/* --- the target ----------------------------------------------------------------------------------
 */
static void no_target(struct reconcile *c, struct str why)
{
    unsupported(c, arena_printf(c->arena, "Cannot read targetRef. Reason: " STR_FMT, STR_ARG(why)));
}

static void unhandled(struct reconcile *c, struct str why)
{
    const struct vpa_object *v = &((struct vpa_look *)c->state)->v;
    no_target(c, arena_printf(c->arena,
                              "unhandled targetRef " STR_FMT " / " STR_FMT " / " STR_FMT
                              ", last error " STR_FMT,
                              STR_ARG(v->target_version), STR_ARG(v->target_kind),
                              STR_ARG(v->target_name), STR_ARG(why)));
}

static void on_scale(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct vpa_look *l = c->state;
    UNUSED(arg);
    if (result->code != 0)
        l->scale_error = arena_printf(c->arena, "%s", result->message);
    else if (result->object != NULL && str_eqc(STR("Scale"), result->object->kind->kind))
        l->selector = arena_str(
            c->arena, ((const struct autoscaling_v1_scale *)result->object->msg)->status.selector);
}

static void have_scale(struct reconcile *c)
{
    struct vpa_look *l = c->state;
    struct api_label_selector selector;
    if (l->scale_error.len != 0)
        unhandled(c, l->scale_error);
    else if (l->selector.len == 0 ||
             api_label_selector_parse(c->arena, l->selector, &selector, NULL) != 0)
        unhandled(c, arena_printf(c->arena,
                                  "resource " STR_FMT "/" STR_FMT
                                  " has an empty selector for scale sub-resource",
                                  STR_ARG(c->namespace_name), STR_ARG(l->v.target_name)));
    else
        have_selector(c, &selector);
}

static void ask_scale(struct reconcile *c)
{
    struct vpa_look *l = c->state;
    struct vpa_state *s = c->run->state;
    struct served_resource target;
    switch (kinds_find(s->kinds, c, l->v.target_version, l->v.target_kind, &target)) {
    case KIND_ASKING:
        return;
    case KIND_UNKNOWN:
        unhandled(c, arena_printf(c->arena,
                                  "no matches for kind \"" STR_FMT "\" in version \"" STR_FMT "\"",
                                  STR_ARG(l->v.target_kind), STR_ARG(l->v.target_version)));
        return;
    case KIND_FOUND:
        break;
    }
    struct client_resource *resource = ARENA_NEW(c->arena, struct client_resource);
    *resource = (struct client_resource){target.group, target.version, target.resource, true};
    reconcile_call(
        c,
        &(struct client_call){.verb = CLIENT_GET,
                              .kind = api_kind_by_gvk(STR("autoscaling"), STR("v1"), STR("Scale")),
                              .resource = resource,
                              .namespace_name = c->namespace_name,
                              .name = l->v.target_name,
                              .subresource = "scale"},
        on_scale, NULL);
    reconcile_then(c, have_scale);
}

/* A target that another controller runs would be changed back by it. */
static enum kind_found find_parent(struct reconcile *c, const struct api_object *target)
{
    struct vpa_state *s = c->run->state;
    const struct meta_v1_owner_reference *o = owner_controller(api_object_meta(target));
    struct served_resource parent;
    if (o == NULL)
        return KIND_UNKNOWN;
    if (vpa_target_knows(o->kind))
        return KIND_FOUND;
    enum kind_found found = kinds_find(s->kinds, c, o->api_version, o->kind, &parent);
    return found == KIND_FOUND && !parent.scales ? KIND_UNKNOWN : found;
}

static void have_target(struct reconcile *c, const struct api_object *target,
                        const struct api_label_selector *selector)
{
    const struct vpa_object *v = &((struct vpa_look *)c->state)->v;
    switch (find_parent(c, target)) {
    case KIND_ASKING:
        return;
    case KIND_FOUND:
        unsupported(c, arena_printf(c->arena,
                                    "The target " STR_FMT "." STR_FMT "/" STR_FMT
                                    " has a parent controller but it should point to a topmost "
                                    "well-known or scalable controller",
                                    STR_ARG(v->target_version), STR_ARG(v->target_kind),
                                    STR_ARG(v->target_name)));
        return;
    case KIND_UNKNOWN:
        have_selector(c, selector);
    }
}

void vpa_look(struct reconcile *c)
{
    struct vpa_entry *e = entry(c);
    struct api_label_selector selector;
    struct api_object *target;
    if (e == NULL || e->object == NULL)
        return;
    struct vpa_look *l = c->state = ARENA_NEW(c->arena, struct vpa_look);
    l->object = json_clone(c->arena, e->object);
    l->status = json_getc(l->object, "status");
    vpa_read(c->arena, l->object, &l->v);
    if (l->v.target_kind.len == 0) {
        no_target(c, STR("targetRef not defined. If this is a v1beta1 object, switch to v1"));
        return;
    }
    switch (vpa_target_find(c->run, c->arena, c->namespace_name, &l->v, &selector, &target)) {
    case VPA_FOUND:
        have_target(c, target, &selector);
        break;
    case VPA_MISSING:
        no_target(c, arena_printf(c->arena, STR_FMT " " STR_FMT "/" STR_FMT " does not exist",
                                  STR_ARG(l->v.target_kind), STR_ARG(c->namespace_name),
                                  STR_ARG(l->v.target_name)));
        break;
    case VPA_OTHER_KIND:
        ask_scale(c);
    }
}
