/* volumeprotection.c - two controllers that hold back, by a finalizer, what is
 * in use: claims while a placed pod mounts them, volumes while they are bound. */
#include "controllers/controller.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/client/claims.h"

#define CLAIM_FINALIZER "kubernetes.io/pvc-protection"
#define VOLUME_FINALIZER "kubernetes.io/pv-protection"

static void touch(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    UNUSED(old);
    if (o != NULL)
        controller_enqueue_object(r, o);
}

static void drop_finalizer(struct reconcile *c, const struct api_object *o, const char *name)
{
    void *copy = reconcile_copy(c, o);
    finalizer_drop(c->arena, api_meta_of(o->kind, copy), name);
    reconcile_update(c, o->kind, copy, NULL);
}

/* For objects made before the finalizer was, or from whom it was taken. */
static void add_finalizer(struct reconcile *c, const struct api_object *o, const char *name)
{
    void *copy = reconcile_copy(c, o);
    struct meta_v1_object_meta *m = api_meta_of(o->kind, copy);
    struct str *all = ARENA_ARRAY(c->arena, struct str, m->finalizers_count + 1);
    for (size_t i = 0; i < m->finalizers_count; i++)
        all[i] = m->finalizers[i];
    all[m->finalizers_count++] = str_of(name);
    m->finalizers = all;
    reconcile_update(c, o->kind, copy, NULL);
}

/* --- claims ---------------------------------------------------------------------------------- */

/* A pod without a node mounts nothing yet, and cannot be placed with a claim that is going. */
static bool holds_claim(struct arena *a, const struct core_v1_pod *pod,
                        const struct core_v1_persistent_volume_claim *claim)
{
    if (str_empty(pod->spec.node_name))
        return false;
    for (size_t i = 0; i < pod->spec.volumes_count; i++) {
        const struct core_v1_volume *v = &pod->spec.volumes[i];
        if (str_eq(pod_claim_name(a, pod, v), claim->metadata.name) &&
            ephemeral_claim_mismatch(a, pod, v, claim) == NULL)
            return true;
    }
    return false;
}

static void touch_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    const struct core_v1_pod *pod = old != NULL ? old->msg : NULL;
    AUTO_ARENA *a = arena_new(512);
    if (o != NULL || pod == NULL)
        return;
    for (size_t i = 0; i < pod->spec.volumes_count; i++) {
        struct str name = pod_claim_name(a, pod, &pod->spec.volumes[i]);
        if (!str_empty(name))
            controller_enqueue(r, informer_key_of(a, pod->metadata.namespace, name));
    }
}

static struct api_object *claim_of(const struct reconcile *c)
{
    return informer_get_key(controller_informer(c->run, "", "PersistentVolumeClaim"), c->key);
}

/* The cache may lack a pod that was just placed: the server is asked before the claim goes. */
static void on_pods(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct api_object *o = claim_of(c);
    UNUSED(arg);
    if (result->code != 0) {
        reconcile_fail(c);
        return;
    }
    if (o == NULL)
        return;
    for (size_t i = 0; i < client_list_count(result->object); i++)
        if (holds_claim(c->arena, client_list_item(result->object, i), o->msg))
            return;
    drop_finalizer(c, o, CLAIM_FINALIZER);
}

static void reconcile_claim(struct reconcile *c)
{
    struct api_object *o = claim_of(c);
    const struct core_v1_persistent_volume_claim *claim = o != NULL ? o->msg : NULL;
    if (claim == NULL)
        return;
    bool held = finalizer_has(&claim->metadata, CLAIM_FINALIZER);
    if (claim->metadata.deletion_timestamp == NULL) {
        if (!held)
            add_finalizer(c, o, CLAIM_FINALIZER);
        return;
    }
    if (!held)
        return;
    AUTO_WALK pods = controller_walk_pods(c->run, c->namespace_name);
    for (struct api_object *p; (p = informer_walk_next(&pods)) != NULL;)
        if (holds_claim(c->arena, p->msg, claim))
            return;
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_LIST,
                                         .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
                                         .namespace_name = c->namespace_name},
                   on_pods, NULL);
}

static const struct controller_watch claim_watches[] = {
    {"", "v1", "PersistentVolumeClaim", touch},
    {"", "v1", "Pod", touch_pod},
    {0},
};

const struct controller controller_claimprotection = {
    .name = "persistentvolumeclaim-protection-controller",
    .watches = claim_watches,
    .reconcile = reconcile_claim,
};

/* --- volumes --------------------------------------------------------------------------------- */

static void reconcile_volume(struct reconcile *c)
{
    struct api_object *o =
        informer_get_key(controller_informer(c->run, "", "PersistentVolume"), c->key);
    const struct core_v1_persistent_volume *v = o != NULL ? o->msg : NULL;
    if (v == NULL)
        return;
    bool held = finalizer_has(&v->metadata, VOLUME_FINALIZER);
    bool going = v->metadata.deletion_timestamp != NULL;
    if (!going && !held)
        add_finalizer(c, o, VOLUME_FINALIZER);
    else if (going && held && !str_eqc(v->status.phase, "Bound"))
        drop_finalizer(c, o, VOLUME_FINALIZER);
}

static const struct controller_watch volume_watches[] = {
    {"", "v1", "PersistentVolume", touch},
    {0},
};

const struct controller controller_volumeprotection = {
    .name = "persistentvolume-protection-controller",
    .watches = volume_watches,
    .reconcile = reconcile_volume,
};
