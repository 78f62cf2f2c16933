/* localpath.c - provisions volumes that are folders on the node a pod was
 * placed on, for StorageClasses with provisioner trireme.io/local-path. The
 * node agent there makes and removes the folders when asked through the API
 * server's proxy; docs/storage.md has the whole.
 *
 * Keys are "namespace/name" for claims and "name" for volumes. Both ways are
 * safe to repeat: a folder is named after its volume, the volume after the
 * claim's uid. */
#include "controllers/controller.h"

#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/client/claims.h"
#include "lib/client/labels.h"

#define PROVISIONER "trireme.io/local-path"
#define NODE "trireme.io/local-path-node"
#define FINALIZER "external-provisioner.volume.kubernetes.io/finalizer"
#define HOSTNAME "kubernetes.io/hostname"
#define ANSWER_BYTES_MAX 4096

static bool is_ours(const struct core_v1_persistent_volume *v)
{
    const struct str *by = annotation_get(&v->metadata, ANNOTATION_PROVISIONED_BY);
    return by != NULL && str_eqc(*by, PROVISIONER) &&
           v->spec.persistent_volume_source.local != NULL;
}

/* Bound elsewhere, or somebody else's. */
static bool wants_volume(const struct core_v1_persistent_volume_claim *c)
{
    const struct str *by = annotation_get(&c->metadata, ANNOTATION_STORAGE_PROVISIONER);
    return by != NULL && str_eqc(*by, PROVISIONER) && str_empty(c->spec.volume_name) &&
           c->metadata.deletion_timestamp == NULL;
}

static void touch_claim(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    UNUSED(old);
    if (o != NULL && wants_volume(o->msg))
        controller_enqueue_object(r, o);
}

static void touch_volume(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    UNUSED(old);
    if (o != NULL && is_ours(o->msg))
        controller_enqueue_object(r, o);
}

static struct str folder_path(struct arena *a, struct str node, struct str volume)
{
    return arena_printf(a, "/api/v1/nodes/" STR_FMT "/proxy/localVolumes/" STR_FMT, STR_ARG(node),
                        STR_ARG(volume));
}

/* --- making --------------------------------------------------------------------------------- */

struct making {
    struct api_object *claim; /* Held by the arena. */
    const struct storage_v1_storage_class *class;
    struct str node, hostname, volume;
};

static void unref_object(void *o)
{
    api_object_unref(o);
}

static void fail(struct reconcile *c, const char *why)
{
    const struct making *m = c->state;
    struct event_object about = event_object_of(m->claim);
    event_record(c->run->recorder, &about, EVENT_WARNING, "ProvisioningFailed",
                 "failed to provision volume with StorageClass \"" STR_FMT "\": %s",
                 STR_ARG(m->class->metadata.name), why);
}

static void on_created(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct making *m = c->state;
    UNUSED(arg);
    if (result->code == E_EXISTS)
        return;
    if (result->code != 0) {
        fail(c, result->message);
        reconcile_fail(c);
        return;
    }
    struct event_object about = event_object_of(m->claim);
    event_record(c->run->recorder, &about, EVENT_NORMAL, "ProvisioningSucceeded",
                 "Successfully provisioned volume " STR_FMT, STR_ARG(m->volume));
}

static struct core_v1_volume_node_affinity *only_on(struct arena *a, const struct str *hostname)
{
    struct core_v1_node_selector_requirement *e =
        ARENA_NEW(a, struct core_v1_node_selector_requirement);
    struct core_v1_node_selector_term *t = ARENA_NEW(a, struct core_v1_node_selector_term);
    struct core_v1_node_selector *s = ARENA_NEW(a, struct core_v1_node_selector);
    struct core_v1_volume_node_affinity *affinity =
        ARENA_NEW(a, struct core_v1_volume_node_affinity);
    *e = (struct core_v1_node_selector_requirement){
        .key = STR(HOSTNAME),
        .operator= STR("In"),
        .values = arena_memdup(a, hostname, sizeof(*hostname)),
        .values_count = 1};
    t->match_expressions = e;
    t->match_expressions_count = 1;
    s->node_selector_terms = t;
    s->node_selector_terms_count = 1;
    affinity->required = s;
    return affinity;
}

static void create_volume(struct reconcile *c, struct str path)
{
    const struct making *m = c->state;
    const struct core_v1_persistent_volume_claim *claim = m->claim->msg;
    struct arena *a = c->arena;
    struct str finalizers[] = {STR(FINALIZER)};
    struct core_v1_local_volume_source local = {.path = path};
    struct core_v1_object_reference ref = {.kind = STR("PersistentVolumeClaim"),
                                           .api_version = STR("v1"),
                                           .namespace = claim->metadata.namespace,
                                           .name = claim->metadata.name,
                                           .uid = claim->metadata.uid,
                                           .resource_version = claim->metadata.resource_version};
    struct core_v1_persistent_volume v = {
        .metadata = {.name = m->volume, .finalizers = finalizers, .finalizers_count = 1},
        .spec = {.capacity = claim->spec.resources.requests,
                 .capacity_count = claim->spec.resources.requests_count,
                 .persistent_volume_source = {.local = &local},
                 .access_modes = claim->spec.access_modes,
                 .access_modes_count = claim->spec.access_modes_count,
                 .claim_ref = &ref,
                 .persistent_volume_reclaim_policy =
                     m->class->has_reclaim_policy ? m->class->reclaim_policy : STR("Delete"),
                 .storage_class_name = m->class->metadata.name,
                 .mount_options = m->class->mount_options,
                 .mount_options_count = m->class->mount_options_count,
                 .has_volume_mode = true,
                 .volume_mode = STR("Filesystem"),
                 .node_affinity = only_on(a, &m->hostname)},
    };
    annotation_put(a, &v.metadata, ANNOTATION_PROVISIONED_BY, STR(PROVISIONER));
    annotation_put(a, &v.metadata, NODE, m->node);
    reconcile_call(
        c,
        &(struct client_call){.verb = CLIENT_CREATE,
                              .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("PersistentVolume")),
                              .body = &v},
        on_created, NULL);
}

static void on_folder(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct json *j = NULL;
    UNUSED(arg);
    if (result->code != 0) {
        fail(c, result->message);
        reconcile_fail(c);
        return;
    }
    struct error err = {0};
    if (result->body.len > ANSWER_BYTES_MAX ||
        json_parse(c->arena, arena_str(c->arena, result->body), &j, &err) != 0 ||
        str_empty(json_get_str(j, "path"))) {
        fail(c, "the node agent's answer names no folder");
        reconcile_fail(c);
        return;
    }
    create_volume(c, json_get_str(j, "path"));
}

/* Why such a claim cannot be served; NULL: it can. */
static const char *refusal(const struct core_v1_persistent_volume_claim *claim)
{
    for (size_t i = 0; i < claim->spec.access_modes_count; i++)
        if (!str_eqc(claim->spec.access_modes[i], "ReadWriteOnce") &&
            !str_eqc(claim->spec.access_modes[i], ACCESS_ONE_POD))
            return "a folder of one node has ReadWriteOnce and ReadWriteOncePod access only";
    if (claim_is_block(claim))
        return "volumeMode Block is not supported";
    if (claim->spec.selector != NULL)
        return "claim.spec.selector is not supported";
    if (claim->spec.data_source != NULL || claim->spec.data_source_ref != NULL)
        return "claim.spec.dataSource is not supported";
    if (annotation_get(&claim->metadata, ANNOTATION_SELECTED_NODE) == NULL)
        return "no node was chosen: volumeBindingMode must be WaitForFirstConsumer";
    return NULL;
}

/* The node went before its folder was made: the scheduler is to choose again. */
static void give_back(struct reconcile *c)
{
    const struct making *m = c->state;
    fail(c, str_c(arena_printf(c->arena, "node \"" STR_FMT "\" not found", STR_ARG(m->node))));
    struct core_v1_persistent_volume_claim *copy = reconcile_copy(c, m->claim);
    annotation_put(c->arena, &copy->metadata, ANNOTATION_SELECTED_NODE, STR_NULL);
    reconcile_update(c, m->claim->kind, copy, NULL);
}

static void make(struct reconcile *c)
{
    struct api_object *o =
        informer_get_key(controller_informer(c->run, "", "PersistentVolumeClaim"), c->key);
    const struct core_v1_persistent_volume_claim *claim = o != NULL ? o->msg : NULL;
    if (claim == NULL || !wants_volume(claim))
        return;
    struct api_object *class =
        informer_get(controller_informer(c->run, "storage.k8s.io", "StorageClass"), STR_NULL,
                     claim_class(claim));
    struct making *m = ARENA_NEW(c->arena, struct making);
    if (class == NULL)
        return; /* The binder says so. */
    m->claim = api_object_ref(o);
    m->class = class->msg;
    arena_hold(c->arena, o, unref_object);
    arena_hold(c->arena, api_object_ref(class), unref_object);
    c->state = m;
    if (!str_eqc(m->class->provisioner, PROVISIONER))
        return;
    const char *why = refusal(claim);
    if (why != NULL) {
        fail(c, why);
        return;
    }
    m->volume = arena_printf(c->arena, "pvc-" STR_FMT, STR_ARG(claim->metadata.uid));
    if (informer_get(controller_informer(c->run, "", "PersistentVolume"), STR_NULL, m->volume) !=
        NULL)
        return;
    m->node = *annotation_get(&claim->metadata, ANNOTATION_SELECTED_NODE);
    const struct api_object *node =
        informer_get(controller_informer(c->run, "", "Node"), STR_NULL, m->node);
    if (node == NULL) {
        give_back(c);
        return;
    }
    const struct str *hostname = label_get(api_object_meta(node), HOSTNAME);
    m->hostname = arena_str(c->arena, hostname != NULL ? *hostname : m->node);
    struct event_object about = event_object_of(o);
    event_record(c->run->recorder, &about, EVENT_NORMAL, "Provisioning",
                 "External provisioner is provisioning volume for claim \"" STR_FMT "\"",
                 STR_ARG(c->key));
    reconcile_raw(c, "POST", folder_path(c->arena, m->node, m->volume), on_folder, NULL);
}

/* --- removing ---------------------------------------------------------------------------------
 */

static struct api_object *volume_of(const struct reconcile *c)
{
    return informer_get_key(controller_informer(c->run, "", "PersistentVolume"), c->key);
}

/* The folder is gone, or not ours to remove: so may the volume. */
static void let_go(struct reconcile *c)
{
    struct api_object *o = volume_of(c);
    const struct core_v1_persistent_volume *v = o != NULL ? o->msg : NULL;
    if (v == NULL)
        return;
    if (finalizer_has(&v->metadata, FINALIZER)) {
        struct core_v1_persistent_volume *copy = reconcile_copy(c, o);
        finalizer_drop(c->arena, &copy->metadata, FINALIZER);
        reconcile_update(c, o->kind, copy, NULL);
    }
    if (v->metadata.deletion_timestamp == NULL)
        reconcile_delete(c, o->kind, &v->metadata);
}

static void on_removed(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct api_object *o = volume_of(c);
    UNUSED(arg);
    if (result->code == 0) {
        let_go(c);
        return;
    }
    if (o != NULL) {
        struct event_object about = event_object_of(o);
        event_record(c->run->recorder, &about, EVENT_WARNING, "VolumeFailedDelete", "%s",
                     result->message);
    }
    reconcile_fail(c);
}

static void on_node(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code == E_NOT_FOUND) {
        log_warning("volume " STR_FMT ": its node is gone, and what it held with it",
                    STR_ARG(c->key));
        let_go(c);
    } else {
        reconcile_fail(c);
    }
}

/* Only a folder whose claim is gone is removed, however the volume is to go. */
static void reclaim(struct reconcile *c)
{
    struct api_object *o = volume_of(c);
    const struct core_v1_persistent_volume *v = o != NULL ? o->msg : NULL;
    if (v == NULL || !is_ours(v) || !finalizer_has(&v->metadata, FINALIZER))
        return;
    bool going = v->metadata.deletion_timestamp != NULL;
    bool released = str_eqc(v->status.phase, "Released");
    bool delete = str_eqc(v->spec.persistent_volume_reclaim_policy, "Delete");
    const struct str *node = annotation_get(&v->metadata, NODE);
    if (going && (!delete || node == NULL) && !str_eqc(v->status.phase, "Bound")) {
        let_go(c);
        return;
    }
    if (!released || !delete || node == NULL)
        return;
    if (informer_get(controller_informer(c->run, "", "Node"), STR_NULL, *node) != NULL)
        reconcile_raw(c, "DELETE", folder_path(c->arena, *node, v->metadata.name), on_removed,
                      NULL);
    else
        reconcile_call(
            c,
            &(struct client_call){.verb = CLIENT_GET,
                                  .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Node")),
                                  .name = *node},
            on_node, NULL);
}

static void reconcile(struct reconcile *c)
{
    if (str_empty(c->namespace_name))
        reclaim(c);
    else
        make(c);
}

static const struct controller_watch watches[] = {
    {"", "v1", "PersistentVolumeClaim", touch_claim},
    {"", "v1", "PersistentVolume", touch_volume},
    {"storage.k8s.io", "v1", "StorageClass", NULL},
    {"", "v1", "Node", NULL},
    {0},
};

const struct controller controller_localpath = {
    .name = "local-path-provisioner-controller",
    .event_source = "trireme.io/local-path",
    .watches = watches,
    .reconcile = reconcile,
};
