/* volumeattach.c - attaches CSI volumes to the nodes whose pods use them, by
 * VolumeAttachment objects that the drivers' attachers act on, and detaches
 * them when no pod needs them and the node no longer uses them. Keys are node
 * names.
 *
 *   pod placed -> VolumeAttachment -> attached -> node.status.volumesAttached
 *   last pod gone, not in node.status.volumesInUse -> VolumeAttachment deleted */
#include "controllers/controller.h"
#include "controllers/cache_indexes.h"
#include "controllers/owned.h"

#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "lib/api/json.h"
#include "lib/api/pod.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/client/claims.h"

/* Upstream's maxWaitForUnmountDuration: a node that is not ready for so long is not waited for. */
#define UNMOUNT_WAIT_S 360
#define OUT_OF_SERVICE "node.kubernetes.io/out-of-service"

/* --- what changes touch --------------------------------------------------------------------- */

static void enqueue_node(void *ctx, struct str node)
{
    controller_enqueue(ctx, node);
}

static void touch_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    pod_index_claims_on_node(o != NULL ? o : old, enqueue_node, r);
}

static struct str readiness(const struct core_v1_node *n)
{
    for (size_t i = 0; i < n->status.conditions_count; i++)
        if (str_eqc(n->status.conditions[i].type, "Ready"))
            return n->status.conditions[i].status;
    return STR_NULL;
}

static bool is_as_before(const struct core_v1_node *x, const struct core_v1_node *y)
{
    bool same = str_eq(readiness(x), readiness(y)) &&
                api_msg_equal(&core_v1_node_spec_msg, &x->spec, &y->spec) &&
                x->status.volumes_in_use_count == y->status.volumes_in_use_count &&
                x->status.volumes_attached_count == y->status.volumes_attached_count;
    for (size_t i = 0; same && i < x->status.volumes_in_use_count; i++)
        same = str_eq(x->status.volumes_in_use[i], y->status.volumes_in_use[i]);
    for (size_t i = 0; same && i < x->status.volumes_attached_count; i++)
        same = api_msg_equal(&core_v1_attached_volume_msg, &x->status.volumes_attached[i],
                             &y->status.volumes_attached[i]);
    return same;
}

/* Not at what else nodes say of themselves, which they do all the time. */
static void touch_node(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    if (old == NULL || o == NULL || !is_as_before(old->msg, o->msg))
        controller_enqueue(r, api_object_meta(o != NULL ? o : old)->name);
}

static void touch_attachment(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    const struct storage_v1_volume_attachment *a = o != NULL ? o->msg : old->msg;
    controller_enqueue(r, a->spec.node_name);
}

static void touch_users(struct controller_run *r, struct str namespace_name, struct str claim)
{
    AUTO_ARENA *a = arena_new(512);
    AUTO_WALK pods = controller_walk_pods_by(r, POD_INDEX_VOLUME_CLAIM,
                                             informer_key_of(a, namespace_name, claim));
    for (struct api_object *p; (p = informer_walk_next(&pods)) != NULL;)
        touch_pod(r, NULL, p);
}

/* Whoever waits for the claim to be bound. */
static void touch_claim(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    const struct core_v1_persistent_volume_claim *before = old != NULL ? old->msg : NULL,
                                                 *c = o != NULL ? o->msg : NULL;
    if (c == NULL || str_empty(c->spec.volume_name) ||
        (before != NULL && str_eq(before->spec.volume_name, c->spec.volume_name) &&
         str_eq(before->metadata.uid, c->metadata.uid)))
        return;
    touch_users(r, c->metadata.namespace, c->metadata.name);
}

/* It may come after its claim. */
static void touch_volume(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    const struct core_v1_persistent_volume *before = old != NULL ? old->msg : NULL,
                                           *v = o != NULL ? o->msg : NULL;
    const struct core_v1_object_reference *claim = v != NULL ? v->spec.claim_ref : NULL;
    if (claim != NULL &&
        (before == NULL || before->spec.claim_ref == NULL ||
         !api_msg_equal(&core_v1_object_reference_msg, before->spec.claim_ref, claim)))
        touch_users(r, claim->namespace, claim->name);
}

/* Whether volumes of its are attached at all may be another thing now. */
static void touch_driver(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    struct str node;
    UNUSED(old);
    UNUSED(o);
    for (size_t pos = 0; informer_index_next(controller_informer(r, "", "Pod"),
                                             POD_INDEX_CLAIMS_ON_NODE, &pos, &node);)
        controller_enqueue(r, node);
}

/* --- what a node needs ------------------------------------------------------------------------ */

/* One volume that pods of the node use. */
struct wanted {
    const struct core_v1_persistent_volume *volume;
    const struct core_v1_csi_persistent_volume_source *csi;
    struct api_object *pod; /* One of its users. */
    struct str name;        /* Of the attachment. */
};

struct work {
    struct wanted *wanted;
    size_t count, cap;
};

static const struct api_kind *attachment_kind(void)
{
    return api_kind_by_gvk(STR("storage.k8s.io"), STR("v1"), STR("VolumeAttachment"));
}

static bool needs_attaching(struct controller_run *r, struct str driver)
{
    struct api_object *o =
        informer_get(controller_informer(r, "storage.k8s.io", "CSIDriver"), STR_NULL, driver);
    const struct storage_v1_csi_driver *d = o != NULL ? o->msg : NULL;
    return d == NULL || !d->spec.has_attach_required || d->spec.attach_required;
}

static const struct core_v1_persistent_volume *
volume_of(struct reconcile *c, const struct core_v1_pod *pod, const struct core_v1_volume *v)
{
    struct str name = pod_claim_name(c->arena, pod, v);
    struct api_object *o =
        str_empty(name) ? NULL
                        : informer_get(controller_informer(c->run, "", "PersistentVolumeClaim"),
                                       pod->metadata.namespace, name);
    const struct core_v1_persistent_volume_claim *claim = o != NULL ? o->msg : NULL;
    if (claim == NULL || str_empty(claim->spec.volume_name))
        return NULL;
    o = informer_get(controller_informer(c->run, "", "PersistentVolume"), STR_NULL,
                     claim->spec.volume_name);
    const struct core_v1_persistent_volume *pv = o != NULL ? o->msg : NULL;
    bool bound = pv != NULL && pv->spec.claim_ref != NULL &&
                 str_eq(pv->spec.claim_ref->uid, claim->metadata.uid);
    return bound ? pv : NULL;
}

static void want(struct reconcile *c, struct work *w, struct api_object *pod,
                 const struct core_v1_persistent_volume *v)
{
    const struct core_v1_csi_persistent_volume_source *csi = v->spec.persistent_volume_source.csi;
    if (csi == NULL || !needs_attaching(c->run, csi->driver))
        return;
    struct str name = attachment_name(c->arena, csi->volume_handle, csi->driver, c->key);
    for (size_t i = 0; i < w->count; i++)
        if (str_eq(w->wanted[i].name, name))
            return;
    w->wanted = arena_grow(c->arena, w->wanted, w->count, &w->cap, sizeof(*w->wanted));
    w->wanted[w->count++] = (struct wanted){v, csi, pod, name};
}

static void gather(struct reconcile *c, struct work *w)
{
    AUTO_WALK pods = controller_walk_pods_by(c->run, POD_INDEX_CLAIMS_ON_NODE, c->key);
    for (struct api_object *o; (o = informer_walk_next(&pods)) != NULL;) {
        const struct core_v1_pod *pod = o->msg;
        for (size_t k = 0; !pod_is_terminal(pod) && k < pod->spec.volumes_count; k++) {
            const struct core_v1_persistent_volume *v = volume_of(c, pod, &pod->spec.volumes[k]);
            if (v != NULL)
                want(c, w, reconcile_hold(c, o), v);
        }
    }
}

/* --- attaching ----------------------------------------------------------------------------------
 */

static void tell(struct reconcile *c, struct api_object *pod, const char *type, const char *reason,
                 struct str message)
{
    struct event_object about = event_object_of(pod);
    event_record(c->run->recorder, &about, type, reason, STR_FMT, STR_ARG(message));
}

/* A volume for one node only that another node still has. */
static bool held_elsewhere(struct reconcile *c, const struct wanted *w)
{
    for (size_t i = 0; i < w->volume->spec.access_modes_count; i++)
        if (str_eqc(w->volume->spec.access_modes[i], "ReadWriteMany") ||
            str_eqc(w->volume->spec.access_modes[i], "ReadOnlyMany"))
            return false;
    const struct informer *all = controller_informer(c->run, "storage.k8s.io", "VolumeAttachment");
    struct api_object *o;
    for (size_t pos = 0; (o = informer_next(all, &pos)) != NULL;) {
        const struct storage_v1_volume_attachment *a = o->msg;
        if (str_eq(a->spec.source.persistent_volume_name, w->volume->metadata.name) &&
            !str_eq(a->spec.node_name, c->key))
            return true;
    }
    return false;
}

static void attach(struct reconcile *c, const struct wanted *w)
{
    if (held_elsewhere(c, w)) {
        tell(c, w->pod, EVENT_WARNING, "FailedAttachVolume",
             arena_printf(c->arena,
                          "Multi-Attach error for volume \"" STR_FMT "\" Volume is already "
                          "exclusively attached to one node and can't be attached to another",
                          STR_ARG(w->volume->metadata.name)));
        reconcile_fail(c);
        return;
    }
    struct storage_v1_volume_attachment a = {
        .metadata = {.name = w->name},
        .spec = {.attacher = w->csi->driver,
                 .node_name = c->key,
                 .source = {.has_persistent_volume_name = true,
                            .persistent_volume_name = w->volume->metadata.name}},
    };
    reconcile_call(
        c, &(struct client_call){.verb = CLIENT_CREATE, .kind = attachment_kind(), .body = &a},
        NULL, NULL);
}

static void look_at(struct reconcile *c, const struct wanted *w)
{
    struct api_object *o = informer_get(
        controller_informer(c->run, "storage.k8s.io", "VolumeAttachment"), STR_NULL, w->name);
    const struct storage_v1_volume_attachment *a = o != NULL ? o->msg : NULL;
    if (a == NULL) {
        attach(c, w);
    } else if (a->metadata.deletion_timestamp != NULL) {
        return; /* Being detached; attached anew once it is gone. */
    } else if (!a->status.attached && a->status.attach_error != NULL) {
        tell(c, w->pod, EVENT_WARNING, "FailedAttachVolume",
             arena_printf(
                 c->arena, "AttachVolume.Attach failed for volume \"" STR_FMT "\" : " STR_FMT,
                 STR_ARG(w->volume->metadata.name), STR_ARG(a->status.attach_error->message)));
    }
}

/* --- detaching ----------------------------------------------------------------------------------
 */

static bool is_wanted(const struct work *w, struct str name)
{
    for (size_t i = 0; i < w->count; i++)
        if (str_eq(w->wanted[i].name, name))
            return true;
    return false;
}

/* "kubernetes.io/csi/driver^handle" of an attachment; empty when its volume is gone. */
static struct str unique_name(struct reconcile *c, const struct storage_v1_volume_attachment *a)
{
    struct api_object *o = informer_get(controller_informer(c->run, "", "PersistentVolume"),
                                        STR_NULL, a->spec.source.persistent_volume_name);
    const struct core_v1_persistent_volume *v = o != NULL ? o->msg : NULL;
    if (v == NULL || v->spec.persistent_volume_source.csi == NULL)
        return STR_NULL;
    return csi_unique_name(c->arena, v->spec.persistent_volume_source.csi->volume_handle,
                           a->spec.attacher);
}

static bool is_in_use(const struct core_v1_node *node, struct str unique)
{
    for (size_t i = 0; i < node->status.volumes_in_use_count; i++)
        if (str_eq(node->status.volumes_in_use[i], unique))
            return true;
    return false;
}

/* Seconds until a volume in use may be taken from the node all the same; 0: now, -1: not at all. */
static int64_t patience(const struct reconcile *c, const struct core_v1_node *node)
{
    for (size_t i = 0; i < node->spec.taints_count; i++)
        if (str_eqc(node->spec.taints[i].key, OUT_OF_SERVICE))
            return 0;
    for (size_t i = 0; i < node->status.conditions_count; i++) {
        const struct core_v1_node_condition *x = &node->status.conditions[i];
        if (!str_eqc(x->type, "Ready") || str_eqc(x->status, "True"))
            continue;
        int64_t left = x->last_transition_time.seconds + UNMOUNT_WAIT_S - controller_now_s(c->run);
        return MAX_OF(left, (int64_t)0);
    }
    return -1;
}

static void detach(struct reconcile *c, const struct core_v1_node *node,
                   const struct storage_v1_volume_attachment *a)
{
    struct str unique = unique_name(c, a);
    if (node != NULL && !str_empty(unique) && is_in_use(node, unique)) {
        int64_t left = patience(c, node);
        if (left > 0)
            reconcile_again_after(c, (uint64_t)left * 1000);
        if (left != 0)
            return;
    }
    reconcile_delete(c, attachment_kind(), &a->metadata);
}

/* --- node.status.volumesAttached ----------------------------------------------------------------
 */

static int by_name(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static void report(struct reconcile *c, const struct api_object *node_object, struct str *names,
                   size_t count)
{
    const struct core_v1_node *node = node_object->msg;
    bool same = node->status.volumes_attached_count == count;
    if (count > 1)
        qsort(names, count, sizeof(*names), by_name);
    for (size_t i = 0; same && i < count; i++)
        same = str_eq(node->status.volumes_attached[i].name, names[i]);
    if (same)
        return;
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, "{\"status\":{\"volumesAttached\":[");
    for (size_t i = 0; i < count; i++) {
        buf_puts(&b, i > 0 ? ",{\"devicePath\":\"\",\"name\":" : "{\"devicePath\":\"\",\"name\":");
        json_write_string(names[i], &b);
        buf_puts(&b, "}");
    }
    buf_puts(&b, "]}}");
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_PATCH,
                                         .kind = node_object->kind,
                                         .name = c->key,
                                         .subresource = "status",
                                         .patch_type = CLIENT_PATCH_MERGE,
                                         .raw_body = buf_str(&b)},
                   NULL, NULL);
}

static void reconcile(struct reconcile *c)
{
    struct work *w = ARENA_NEW(c->arena, struct work);
    struct api_object *node = informer_get_key(controller_informer(c->run, "", "Node"), c->key);
    size_t count, attached_count = 0;
    struct api_object *const *all =
        informer_by_index(controller_informer(c->run, "storage.k8s.io", "VolumeAttachment"),
                          ATTACHMENT_INDEX_NODE, c->key, &count);
    struct str *attached = ARENA_ARRAY(c->arena, struct str, count + 1);
    if (node != NULL)
        gather(c, w);
    for (size_t i = 0; i < w->count; i++)
        look_at(c, &w->wanted[i]);
    for (size_t i = 0; i < count; i++) {
        const struct storage_v1_volume_attachment *a = all[i]->msg;
        struct str unique;
        if (str_empty(a->spec.source.persistent_volume_name))
            continue;
        if (a->status.attached && !str_empty(unique = unique_name(c, a)))
            attached[attached_count++] = unique;
        if (a->metadata.deletion_timestamp == NULL && !is_wanted(w, a->metadata.name))
            detach(c, node != NULL ? node->msg : NULL, a);
    }
    if (node != NULL)
        report(c, node, attached, attached_count);
}

static void on_attached(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    const struct storage_v1_volume_attachment *a = o != NULL ? o->msg : NULL;
    AUTO_ARENA *arena = arena_new(512);
    touch_attachment(r, old, o);
    if (a == NULL || old == NULL || !a->status.attached ||
        ((const struct storage_v1_volume_attachment *)old->msg)->status.attached)
        return;
    /* Its pods are told. */
    AUTO_WALK pods = controller_walk_pods_by(r, POD_INDEX_CLAIMS_ON_NODE, a->spec.node_name);
    for (struct api_object *p; (p = informer_walk_next(&pods)) != NULL;) {
        const struct core_v1_pod *pod = p->msg;
        for (size_t k = 0; k < pod->spec.volumes_count; k++) {
            struct str name = pod_claim_name(arena, pod, &pod->spec.volumes[k]);
            struct api_object *claim =
                str_empty(name) ? NULL
                                : informer_get(controller_informer(r, "", "PersistentVolumeClaim"),
                                               pod->metadata.namespace, name);
            const struct core_v1_persistent_volume_claim *c = claim != NULL ? claim->msg : NULL;
            if (c == NULL || !str_eq(c->spec.volume_name, a->spec.source.persistent_volume_name))
                continue;
            struct event_object about = event_object_of(p);
            event_record(r->recorder, &about, EVENT_NORMAL, "SuccessfulAttachVolume",
                         "AttachVolume.Attach succeeded for volume \"" STR_FMT "\" ",
                         STR_ARG(c->spec.volume_name));
        }
    }
}

static const struct controller_watch watches[] = {
    {"", "v1", "Pod", touch_pod},
    {"", "v1", "Node", touch_node},
    {"", "v1", "PersistentVolumeClaim", touch_claim},
    {"", "v1", "PersistentVolume", touch_volume},
    {"storage.k8s.io", "v1", "VolumeAttachment", on_attached},
    {"storage.k8s.io", "v1", "CSIDriver", touch_driver},
    {0},
};

const struct controller controller_volumeattach = {
    .name = "persistentvolume-attach-detach-controller",
    .event_source = "attachdetach-controller",
    .watches = watches,
    .reconcile = reconcile,
};
