/* vpa.c - VerticalPodAutoscaler: every --vertical-pod-autoscaler-sync-period looks at what the pods
 * of each autoscaler's target use, says what they should ask for, and sees to it.
 *
 * The kinds are custom ones, so there is no informer: each round lists them. A round is the key
 * "round", each autoscaler one of its own. */
#include "controllers/vpa_definitions.h"
#include "controllers/vpa_internal.h"
#include "controllers/vpa_target.h"

#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"

#include <stdlib.h>

#define ROUND "round"
#define COLLECT_S 600        /* Between two looks at checkpoints that nobody needs. */
#define DEFINED_AGAIN_MS 500 /* Until a new definition is served. */

const struct client_resource vpa_autoscalers = {VPA_GROUP, "v1", "verticalpodautoscalers", true},
                             vpa_checkpoints = {VPA_GROUP, "v1", "verticalpodautoscalercheckpoints",
                                                true};

/* --- entries ------------------------------------------------------------------------------ */
struct vpa_entry *vpa_entry_of(struct vpa_state *s, struct str key)
{
    struct vpa_entry *e = map_get(&s->entries, key);
    if (e == NULL) {
        e = xzalloc(sizeof(*e));
        e->memory = vpa_memory_new();
        map_set(&s->entries, key, e);
    }
    return e;
}

static void entry_free(struct vpa_entry *e)
{
    if (e == NULL)
        return;
    vpa_memory_free(e->memory);
    arena_free(e->arena);
    free(e->written);
    free(e->version);
    free(e);
}

static void init(struct controller_run *r)
{
    struct vpa_state *s = xzalloc(sizeof(*s));
    map_init(&s->entries);
    s->kinds = kinds_new(r);
    r->state = s;
    controller_enqueue(r, STR(ROUND));
}

static void done(struct controller_run *r)
{
    struct vpa_state *s = r->state;
    struct str key;
    void *e;
    size_t pos = 0;
    while (map_next(&s->entries, &pos, &key, &e))
        entry_free(e);
    map_done(&s->entries);
    kinds_free(s->kinds);
    free(s);
}

/* --- definitions --------------------------------------------------------------------------- */
static void on_defined(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct vpa_definition *d = arg;
    if (result->code == 0)
        log_info("%s: %s is defined", c->run->controller->name, d->name);
    else if (result->code != E_EXISTS)
        log_warning("%s: %s cannot be defined: %s", c->run->controller->name, d->name,
                    result->message);
}

/* What is there stays as it is. */
static void define(struct reconcile *c)
{
    const struct api_kind *kind =
        api_kind_by_gvk(STR("apiextensions.k8s.io"), STR("v1"), STR("CustomResourceDefinition"));
    for (size_t i = 0; i < VPA_DEFINITIONS; i++)
        reconcile_call(c,
                       &(struct client_call){.verb = CLIENT_CREATE,
                                             .kind = kind,
                                             .raw_body = str_of(vpa_definitions[i].json)},
                       on_defined, (void *)(uintptr_t)&vpa_definitions[i]);
    reconcile_again_after(c, DEFINED_AGAIN_MS);
}

/* --- lists ------------------------------------------------------------------------------------ */
struct round {
    struct json *autoscalers, *checkpoints; /* Arrays; NULL: not read. */
    bool absent;
};

static struct str name_of(const struct json *object)
{
    return json_get_str(json_getc(object, "metadata"), "name");
}

static struct str namespace_of(const struct json *object)
{
    return json_get_str(json_getc(object, "metadata"), "namespace");
}

static struct str key_of(struct arena *a, const struct json *object, struct str name)
{
    return arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(namespace_of(object)), STR_ARG(name));
}

static void on_list(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct round *r = c->state;
    struct json *root = NULL;
    struct json **ret = arg;
    if (result->code == E_NOT_FOUND) {
        r->absent = true;
    } else if (result->code != 0 ||
               json_parse(c->arena, arena_str(c->arena, result->body), &root, NULL) != 0) {
        log_warning("%s: cannot list: %s", c->run->controller->name, result->message);
        reconcile_fail(c);
    } else {
        *ret = json_getc(root, "items");
        if (*ret == NULL || (*ret)->type != JSON_ARRAY)
            *ret = json_array(c->arena);
    }
}

static void list(struct reconcile *c, const struct client_resource *resource, struct json **ret)
{
    reconcile_call(c, &(struct client_call){.verb = CLIENT_LIST, .resource = resource}, on_list,
                   ret);
}

/* --- checkpoints -------------------------------------------------------------------------------
 */
static struct str owner_key(struct arena *a, const struct json *checkpoint)
{
    return key_of(a, checkpoint, json_get_str(json_getc(checkpoint, "spec"), "vpaObjectName"));
}

static void load(struct reconcile *c, const struct json *checkpoints)
{
    struct vpa_state *s = c->run->state;
    for (size_t i = 0; i < checkpoints->array.count; i++) {
        const struct json *x = checkpoints->array.items[i];
        struct str key = owner_key(c->arena, x);
        if (map_has(&s->entries, key) && !vpa_checkpoint_load(vpa_entry_of(s, key)->memory, x))
            log_warning("%s: checkpoint " STR_FMT "/" STR_FMT " cannot be read",
                        c->run->controller->name, STR_ARG(namespace_of(x)), STR_ARG(name_of(x)));
    }
    s->loaded = true;
}

/* Removes those whose autoscaler is gone. */
static void collect(struct reconcile *c, const struct json *checkpoints)
{
    struct vpa_state *s = c->run->state;
    for (size_t i = 0; i < checkpoints->array.count; i++) {
        const struct json *x = checkpoints->array.items[i];
        if (!map_has(&s->entries, owner_key(c->arena, x)))
            reconcile_call(c,
                           &(struct client_call){.verb = CLIENT_DELETE,
                                                 .resource = &vpa_checkpoints,
                                                 .namespace_name = namespace_of(x),
                                                 .name = name_of(x),
                                                 .uid_precondition =
                                                     json_get_str(json_getc(x, "metadata"), "uid")},
                           NULL, NULL);
    }
    s->collected_s = controller_now_s(c->run);
}

/* --- a round -------------------------------------------------------------------------------------
 */
static void remember(struct vpa_state *s, struct str key, const struct json *object)
{
    struct vpa_entry *e = vpa_entry_of(s, key);
    arena_free(e->arena);
    e->arena = arena_new(0);
    e->object = json_clone(e->arena, object);
    e->listed = true;
}

static void forget_unlisted(struct vpa_state *s)
{
    struct str key;
    void *value;
    size_t pos = 0;
    while (map_next(&s->entries, &pos, &key, &value)) {
        struct vpa_entry *e = value;
        if (!e->listed)
            entry_free(map_remove(&s->entries, key));
        else
            e->listed = false;
    }
}

static void have_lists(struct reconcile *c)
{
    struct vpa_state *s = c->run->state;
    struct round *r = c->state;
    struct str key;
    void *e;
    size_t pos = 0;
    if (r->absent) {
        define(c);
        return;
    }
    if (c->failed || r->autoscalers == NULL)
        return;
    for (size_t i = 0; i < r->autoscalers->array.count; i++) {
        const struct json *x = r->autoscalers->array.items[i];
        remember(s, key_of(c->arena, x, name_of(x)), x);
    }
    forget_unlisted(s);
    if (r->checkpoints != NULL && !s->loaded)
        load(c, r->checkpoints);
    if (r->checkpoints != NULL)
        collect(c, r->checkpoints);
    while (map_next(&s->entries, &pos, &key, &e))
        controller_enqueue(c->run, key);
}

static void round_of(struct reconcile *c)
{
    struct vpa_state *s = c->run->state;
    struct round *r = c->state = ARENA_NEW(c->arena, struct round);
    reconcile_again_after(c, (uint64_t)(controller_options()->vpa_sync_ns / 1000000));
    list(c, &vpa_autoscalers, &r->autoscalers);
    if (!s->loaded || controller_now_s(c->run) >= s->collected_s + COLLECT_S)
        list(c, &vpa_checkpoints, &r->checkpoints);
    reconcile_then(c, have_lists);
}

static void reconcile(struct reconcile *c)
{
    if (c->namespace_name.len == 0)
        round_of(c);
    else
        vpa_look(c);
}

static const struct controller_watch watches[] = {
    VPA_TARGET_WATCHES,
    {"", "v1", "LimitRange", NULL},
    {0},
};

const struct controller controller_vpa = {
    .name = "vertical-pod-autoscaler-controller",
    .event_source = "vpa-updater",
    .watches = watches,
    .init = init,
    .done = done,
    .reconcile = reconcile,
};
