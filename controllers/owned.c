/* owned.c - see owned.h. */
#include "controllers/owned.h"

#include "api/core_v1.h"
#include "controllers/pods.h"
#include "lib/api/owner.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/client/labels.h"

static void unref_object(void *o)
{
    api_object_unref(o);
}

struct api_object *reconcile_hold(struct reconcile *c, struct api_object *o)
{
    arena_hold(c->arena, api_object_ref(o), unref_object);
    return o;
}

bool is_namespace_terminating(const struct client_result *result)
{
    return result->code == E_FORBIDDEN && result->status != NULL &&
           str_find_str(result->status->message, STR("because it is being terminated")) >= 0;
}

bool owned_settled(struct reconcile *c)
{
    if (expectations_satisfied(c->run->expectations, c->key))
        return true;
    reconcile_again_after(c, expectations_left_ms(c->run->expectations, c->key));
    return false;
}

/* True when what was asked for may have happened: owned_settled() waits for it, for a while. */
static bool is_in_doubt(struct reconcile *c, const struct client_result *result)
{
    if (result->code != E_UNKNOWN_OUTCOME && result->code != E_TIMEOUT)
        return false;
    expectations_doubt(c->run->expectations, c->key);
    return true;
}

void owned_creation_failed(struct reconcile *c, const struct client_result *result)
{
    if (!is_in_doubt(c, result))
        expectations_creation_observed(c->run->expectations, c->key);
}

void owned_deletion_failed(struct reconcile *c, const struct client_result *result, struct str uid)
{
    if (!is_in_doubt(c, result))
        expectations_deletion_observed(c->run->expectations, c->key, uid);
}

static struct api_object *owner_of(struct controller_run *r, const struct owned_config *config,
                                   const struct meta_v1_object_meta *pod)
{
    const struct meta_v1_owner_reference *ref = owner_controller(pod);
    if (ref == NULL || !str_eqc(ref->kind, config->kind))
        return NULL;
    struct api_object *o = informer_get(controller_informer(r, config->group, config->kind),
                                        pod->namespace, ref->name);
    return o != NULL && str_eq(api_object_meta(o)->uid, ref->uid) ? o : NULL;
}

static void touch_selecting(struct arena *a, struct controller_run *r,
                            const struct owned_config *config,
                            const struct meta_v1_object_meta *pod)
{
    size_t count;
    struct api_object *const *owners =
        controller_in_namespace(r, config->group, config->kind, pod->namespace, &count);
    for (size_t i = 0; i < count; i++)
        if (label_selector_matches(config->selector(a, owners[i]->msg), pod->labels,
                                   pod->labels_count))
            controller_enqueue_object(r, owners[i]);
}

struct api_object *owned_touch_pod(struct controller_run *r, const struct owned_config *config,
                                   struct api_object *old, struct api_object *o)
{
    AUTO_ARENA *a = arena_new(256);
    const struct meta_v1_object_meta *m = api_object_meta(o != NULL ? o : old);
    struct api_object *owner = owner_of(r, config, m);
    if (owner != NULL) {
        struct str key = informer_key(a, owner);
        if (old == NULL && m->deletion_timestamp == NULL)
            expectations_creation_observed(r->expectations, key);
        if (o == NULL || m->deletion_timestamp != NULL)
            expectations_deletion_observed(r->expectations, key, m->uid);
        controller_enqueue(r, key);
    } else if (o != NULL && owner_controller(m) == NULL) {
        touch_selecting(a, r, config, m);
    }
    struct api_object *before =
        old != NULL && o != NULL ? owner_of(r, config, api_object_meta(old)) : NULL;
    if (before != NULL && before != owner)
        controller_enqueue_object(r, before);
    return owner;
}

/* The pod is gone, or another of its name: neither is ours to patch. */
static void on_patched(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code != 0 && result->code != E_NOT_FOUND && result->code != E_UNPROCESSABLE)
        reconcile_fail(c);
}

static void patch_owner(struct reconcile *c, const struct api_object *pod, struct str patch)
{
    const struct meta_v1_object_meta *m = api_object_meta(pod);
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_PATCH,
                                         .kind = pod->kind,
                                         .namespace_name = m->namespace,
                                         .name = m->name,
                                         .patch_type = CLIENT_PATCH_STRATEGIC,
                                         .raw_body = patch},
                   on_patched, NULL);
}

static void adopt(struct reconcile *c, const struct owned_config *config,
                  const struct api_object *owner, const struct api_object *pod)
{
    const struct meta_v1_object_meta *m = api_object_meta(owner);
    struct str finalizers = STR("");
    if (config->finalizer != NULL)
        finalizers = arena_printf(c->arena, ",\"finalizers\":[\"%s\"]", config->finalizer);
    patch_owner(
        c, pod,
        arena_printf(c->arena,
                     "{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"%s\",\"kind\":\"%s\","
                     "\"name\":\"" STR_FMT "\",\"uid\":\"" STR_FMT "\",\"controller\":true,"
                     "\"blockOwnerDeletion\":true}],\"uid\":\"" STR_FMT "\"" STR_FMT "}}",
                     owner->kind->api_version, owner->kind->kind, STR_ARG(m->name), STR_ARG(m->uid),
                     STR_ARG(api_object_meta(pod)->uid), STR_ARG(finalizers)));
}

static void release(struct reconcile *c, const struct owned_config *config,
                    const struct api_object *owner, const struct api_object *pod)
{
    struct str finalizers = STR("");
    if (config->finalizer != NULL)
        finalizers = arena_printf(c->arena, ",\"$deleteFromPrimitiveList/finalizers\":[\"%s\"]",
                                  config->finalizer);
    patch_owner(
        c, pod,
        arena_printf(c->arena,
                     "{\"metadata\":{\"ownerReferences\":[{\"$patch\":\"delete\",\"uid\":\"" STR_FMT
                     "\"}],\"uid\":\"" STR_FMT "\"" STR_FMT "}}",
                     STR_ARG(api_object_meta(owner)->uid), STR_ARG(api_object_meta(pod)->uid),
                     STR_ARG(finalizers)));
}

/* What is to be adopted, while the server is asked whether the owner is still there. */
struct adoption {
    const struct owned_config *config;
    struct api_object *owner;
    struct api_object **pods;
    size_t count;
};

static void on_owner(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct adoption *x = arg;
    const struct meta_v1_object_meta *m =
        result->code == 0 ? api_object_meta(result->object) : NULL;
    if (m == NULL || m->deletion_timestamp != NULL ||
        !str_eq(m->uid, api_object_meta(x->owner)->uid)) {
        if (result->code != E_NOT_FOUND)
            reconcile_fail(c);
        return;
    }
    for (size_t i = 0; i < x->count; i++)
        adopt(c, x->config, x->owner, x->pods[i]);
}

static bool adopt_orphans(struct reconcile *c, const struct owned_config *config,
                          const struct meta_v1_label_selector *selector, struct api_object *owner)
{
    size_t count;
    const struct meta_v1_object_meta *om = api_object_meta(owner);
    struct api_object *const *orphans = controller_orphan_pods(c->run, om->namespace, &count);
    struct adoption *x = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct meta_v1_object_meta *m = api_object_meta(orphans[i]);
        bool wanted =
            config->adopt_ended ? m->deletion_timestamp == NULL : pod_is_active(orphans[i]->msg);
        if (!wanted || !label_selector_matches(selector, m->labels, m->labels_count))
            continue;
        if (x == NULL) {
            x = ARENA_NEW(c->arena, struct adoption);
            x->config = config;
            x->owner = reconcile_hold(c, owner);
            x->pods = ARENA_ARRAY(c->arena, struct api_object *, count);
        }
        x->pods[x->count++] = reconcile_hold(c, orphans[i]);
    }
    if (x != NULL)
        reconcile_call(c,
                       &(struct client_call){.verb = CLIENT_GET,
                                             .kind = owner->kind,
                                             .namespace_name = om->namespace,
                                             .name = om->name},
                       on_owner, x);
    return x != NULL;
}

struct owned_pods owned_gather(struct reconcile *c, const struct owned_config *config,
                               struct api_object *owner)
{
    struct owned_pods ret = {0};
    const struct meta_v1_object_meta *om = api_object_meta(owner);
    const struct meta_v1_label_selector *selector = config->selector(c->arena, owner->msg);
    bool dying = om->deletion_timestamp != NULL;
    size_t count;
    struct api_object *const *mine = controller_owned(c->run, "", "Pod", om->uid, &count);
    ret.items = ARENA_ARRAY(c->arena, struct api_object *, count + 1);
    for (size_t i = 0; i < count; i++) {
        const struct meta_v1_object_meta *m = api_object_meta(mine[i]);
        if (label_selector_matches(selector, m->labels, m->labels_count))
            ret.items[ret.count++] = reconcile_hold(c, mine[i]);
        else if (!dying && !(config->keep_ended && pod_is_terminal(mine[i]->msg)))
            release(c, config, owner, mine[i]);
    }
    ret.adopting = !dying && adopt_orphans(c, config, selector, owner);
    return ret;
}
