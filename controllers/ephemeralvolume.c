/* ephemeralvolume.c - makes the claims of pods' generic ephemeral volumes. A
 * claim belongs to its pod and goes with it. */
#include "controllers/controller.h"

#include "api/core_v1.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/client/claims.h"

static void touch_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    UNUSED(old);
    const struct core_v1_pod *pod = o != NULL ? o->msg : NULL;
    for (size_t i = 0; pod != NULL && i < pod->spec.volumes_count; i++)
        if (pod->spec.volumes[i].volume_source.ephemeral != NULL) {
            controller_enqueue_object(r, o);
            return;
        }
}

/* A deleted claim of a pod that goes on is made anew. */
static void touch_claim(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    if (o == NULL)
        controller_enqueue_owner(r, old, "Pod");
}

static const struct api_kind *claim_kind(void)
{
    return api_kind_by_gvk(STR(""), STR("v1"), STR("PersistentVolumeClaim"));
}

static void report(struct reconcile *c, struct api_object *pod, struct str volume, const char *why)
{
    struct event_object about = event_object_of(pod);
    event_record(c->run->recorder, &about, EVENT_WARNING, "FailedBinding",
                 "ephemeral volume " STR_FMT ": %s", STR_ARG(volume), why);
    reconcile_fail(c);
}

static void on_created(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct api_object *pod = informer_get_key(controller_informer(c->run, "", "Pod"), c->key);
    const struct str *volume = arg;
    if (result->code == 0 || pod == NULL)
        return;
    if (result->code == E_EXISTS)
        reconcile_fail(c); /* The cache will show whose it is. */
    else
        report(c, pod, *volume, result->message);
}

static void create_claim(struct reconcile *c, struct api_object *pod,
                         const struct core_v1_volume *v, struct str name)
{
    const struct core_v1_persistent_volume_claim_template *t =
        v->volume_source.ephemeral->volume_claim_template;
    struct meta_v1_owner_reference owner;
    owner_reference_to(pod->kind, api_object_meta(pod), &owner);
    struct core_v1_persistent_volume_claim claim = {
        .metadata = {.name = name,
                     .namespace = c->namespace_name,
                     .labels = t->metadata.labels,
                     .labels_count = t->metadata.labels_count,
                     .annotations = t->metadata.annotations,
                     .annotations_count = t->metadata.annotations_count,
                     .owner_references = &owner,
                     .owner_references_count = 1},
        .spec = t->spec,
    };
    struct str *volume = ARENA_NEW(c->arena, struct str);
    *volume = arena_str(c->arena, v->name);
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_CREATE,
                                         .kind = claim_kind(),
                                         .namespace_name = c->namespace_name,
                                         .body = &claim},
                   on_created, volume);
}

static void reconcile(struct reconcile *c)
{
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "Pod"), c->key);
    const struct core_v1_pod *pod = o != NULL ? o->msg : NULL;
    const struct informer *claims = controller_informer(c->run, "", "PersistentVolumeClaim");
    if (pod == NULL || pod->metadata.deletion_timestamp != NULL || pod_is_terminal(pod))
        return;
    for (size_t i = 0; i < pod->spec.volumes_count; i++) {
        const struct core_v1_volume *v = &pod->spec.volumes[i];
        if (v->volume_source.ephemeral == NULL ||
            v->volume_source.ephemeral->volume_claim_template == NULL)
            continue;
        struct str name = pod_claim_name(c->arena, pod, v);
        struct api_object *there = informer_get(claims, c->namespace_name, name);
        const char *why =
            there != NULL ? ephemeral_claim_mismatch(c->arena, pod, v, there->msg) : NULL;
        if (there == NULL)
            create_claim(c, o, v, name);
        else if (why != NULL)
            report(c, o, v->name, why);
    }
}

static const struct controller_watch watches[] = {
    {"", "v1", "Pod", touch_pod},
    {"", "v1", "PersistentVolumeClaim", touch_claim},
    {0},
};

const struct controller controller_ephemeralvolume = {
    .name = "ephemeral-volume-controller",
    .event_source = "ephemeral_volume",
    .watches = watches,
    .reconcile = reconcile,
};
