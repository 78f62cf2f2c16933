/* volumebinder.c - binds claims to volumes and releases volumes whose claims
 * are gone; volume_plan.h decides, this file writes. Keys are "namespace/name"
 * for claims and "name" for volumes. One key at a time: two claims never take
 * the same volume. */
#include "controllers/assumed.h"
#include "controllers/controller.h"
#include "controllers/volume_plan.h"

#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/client/claims.h"
#include "lib/client/labels.h"

#define STEPS_MAX 16      /* Writes for one key in one go: more means that two decisions fight. */
#define CACHE_WAIT_MS 500 /* The caches are soon as new as the server. */
#define RESYNC_MS 60000

struct state {
    struct assumed claims, volumes;
    struct map unbound; /* Keys of claims without a volume; values are no objects. */
};

/* One key under way. */
struct work {
    unsigned steps;
    bool gone_for_sure;
    struct volume_step step;
};

/* --- what changes touch --------------------------------------------------------------------- */

static void touch_unbound(struct controller_run *r, const struct str *class)
{
    struct state *s = r->state;
    size_t pos = 0;
    struct str key;
    while (map_next(&s->unbound, &pos, &key, NULL)) {
        const struct api_object *o = assumed_get(&s->claims, key);
        if (o != NULL && (class == NULL || str_eq(claim_class(o->msg), *class)))
            controller_enqueue(r, key);
    }
}

static void touch_claim(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    struct state *s = r->state;
    AUTO_ARENA *a = arena_new(256);
    struct str key = informer_key(a, o != NULL ? o : old);
    const struct core_v1_persistent_volume_claim *c = o != NULL ? o->msg : old->msg;
    if (o != NULL && str_empty(c->spec.volume_name))
        map_set(&s->unbound, key, s);
    else
        map_remove(&s->unbound, key);
    controller_enqueue(r, key);
    if (!str_empty(c->spec.volume_name))
        controller_enqueue(r, c->spec.volume_name);
}

static void touch_volume(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    UNUSED(old);
    const struct core_v1_persistent_volume *v = o != NULL ? o->msg : old->msg;
    const struct core_v1_object_reference *ref = v->spec.claim_ref;
    AUTO_ARENA *a = arena_new(256);
    if (o != NULL)
        controller_enqueue(r, v->metadata.name);
    if (ref != NULL) {
        controller_enqueue(r, informer_key_of(a, ref->namespace, ref->name));
    } else if (o != NULL && str_eqc(v->status.phase, "Available")) {
        struct str class = volume_class(v);
        touch_unbound(r, &class);
    }
}

static void touch_class(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    UNUSED(old);
    if (o != NULL)
        touch_unbound(r, NULL);
}

/* --- the view ----------------------------------------------------------------------------------
 */

static struct api_object *find_volume(void *arg, struct str name)
{
    struct controller_run *r = arg;
    return assumed_get(&((struct state *)r->state)->volumes, name);
}

static struct api_object *find_claim(void *arg, struct str namespace_name, struct str name)
{
    struct controller_run *r = arg;
    AUTO_ARENA *a = arena_new(256);
    return assumed_get(&((struct state *)r->state)->claims,
                       informer_key_of(a, namespace_name, name));
}

static struct api_object *find_class(void *arg, struct str name)
{
    return informer_get(controller_informer(arg, "storage.k8s.io", "StorageClass"), STR_NULL, name);
}

static struct api_object *next_volume(void *arg, size_t *pos)
{
    struct controller_run *r = arg;
    return assumed_next(&((struct state *)r->state)->volumes, pos);
}

static struct api_object *next_class(void *arg, size_t *pos)
{
    return informer_next(controller_informer(arg, "storage.k8s.io", "StorageClass"), pos);
}

static bool uses_claim(const struct core_v1_pod *pod, struct str claim)
{
    AUTO_ARENA *a = arena_new(256);
    for (size_t i = 0; i < pod->spec.volumes_count; i++)
        if (str_eq(pod_claim_name(a, pod, &pod->spec.volumes[i]), claim))
            return true;
    return false;
}

static struct str waiting_pod(void *arg, const struct core_v1_persistent_volume_claim *c)
{
    AUTO_WALK pods = controller_walk_pods(arg, c->metadata.namespace);
    for (struct api_object *p; (p = informer_walk_next(&pods)) != NULL;) {
        const struct core_v1_pod *pod = p->msg;
        if (!str_empty(pod->spec.node_name) || !uses_claim(pod, c->metadata.name))
            continue;
        informer_walk_keep(&pods);
        return pod->metadata.name;
    }
    return STR_NULL;
}

/* --- steps -------------------------------------------------------------------------------------
 */

static void next_step(struct reconcile *c);

static bool is_claim(const struct reconcile *c)
{
    return !str_empty(c->namespace_name);
}

static void tell(struct reconcile *c, const struct api_object *o)
{
    const struct work *w = c->state;
    if (w->step.event_type == NULL)
        return;
    struct event_object about = event_object_of(o);
    event_record(c->run->recorder, &about, w->step.event_type, w->step.reason, STR_FMT,
                 STR_ARG(w->step.message));
}

static void on_written(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct state *s = c->run->state;
    struct work *w = c->state;
    UNUSED(arg);
    if (result->code != 0) {
        if (result->code != E_CONFLICT && result->code != E_NOT_FOUND)
            log_warning("%s " STR_FMT ": %s", c->run->controller->name, STR_ARG(c->key),
                        result->message);
        /* Its end comes as a change; anything else is tried again. */
        if (result->code != E_NOT_FOUND)
            reconcile_fail(c);
        return;
    }
    bool claim = w->step.write == WRITE_CLAIM || w->step.write == WRITE_CLAIM_STATUS;
    assumed_put(claim ? &s->claims : &s->volumes, result->object);
    tell(c, result->object);
    if (!w->step.last && ++w->steps < STEPS_MAX)
        next_step(c);
}

static void write_step(struct reconcile *c, const struct volume_step *step)
{
    bool claim = step->write == WRITE_CLAIM || step->write == WRITE_CLAIM_STATUS;
    bool status = step->write == WRITE_CLAIM_STATUS || step->write == WRITE_VOLUME_STATUS;
    const struct api_kind *kind = api_kind_by_gvk(
        STR(""), STR("v1"), claim ? STR("PersistentVolumeClaim") : STR("PersistentVolume"));
    const struct meta_v1_object_meta *m = api_meta_of(kind, step->msg);
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_UPDATE,
                                         .kind = kind,
                                         .namespace_name = m->namespace,
                                         .name = m->name,
                                         .subresource = status ? "status" : NULL,
                                         .body = step->msg},
                   on_written, NULL);
}

/* Does the server have what the caches lack? */
static void on_asked(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct work *w = c->state;
    UNUSED(arg);
    bool other = false;
    if (result->code == 0 && w->step.write == ASK_CLAIM) {
        const struct api_object *v = find_volume(c->run, c->key);
        const struct core_v1_object_reference *ref =
            v != NULL ? ((const struct core_v1_persistent_volume *)v->msg)->spec.claim_ref : NULL;
        other = ref != NULL && !str_eq(api_object_meta(result->object)->uid, ref->uid);
    }
    if (result->code == E_NOT_FOUND || other) {
        w->gone_for_sure = true;
        next_step(c);
    } else if (result->code == 0) {
        reconcile_again_after(c, CACHE_WAIT_MS);
    } else {
        reconcile_fail(c);
    }
}

static void ask(struct reconcile *c, const struct volume_step *step)
{
    struct str kind =
        step->write == ASK_CLAIM ? STR("PersistentVolumeClaim") : STR("PersistentVolume");
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_GET,
                                         .kind = api_kind_by_gvk(STR(""), STR("v1"), kind),
                                         .namespace_name = step->ask_namespace,
                                         .name = step->ask},
                   on_asked, NULL);
}

static void wake_claim(struct reconcile *c, const struct core_v1_persistent_volume *v)
{
    const struct core_v1_object_reference *r = v->spec.claim_ref;
    const struct api_object *o = r != NULL ? find_claim(c->run, r->namespace, r->name) : NULL;
    if (o != NULL && volume_is_of_claim(v, o->msg))
        controller_enqueue_object(c->run, o);
}

static void next_step(struct reconcile *c)
{
    struct state *s = c->run->state;
    struct work *w = c->state;
    struct volume_view view = {.volume = find_volume,
                               .claim = find_claim,
                               .class = find_class,
                               .next_volume = next_volume,
                               .next_class = next_class,
                               .waiting_pod = waiting_pod,
                               .arg = c->run,
                               .gone_for_sure = w->gone_for_sure};
    struct api_object *o = assumed_get(is_claim(c) ? &s->claims : &s->volumes, c->key);
    if (o == NULL)
        return;
    if (is_claim(c))
        claim_plan(c->arena, &view, o->msg, &w->step);
    else
        volume_plan(c->arena, &view, o->msg, &w->step);
    if (w->step.wake_claim)
        wake_claim(c, o->msg);
    switch (w->step.write) {
    case WRITE_NOTHING:
        tell(c, o);
        break;
    case ASK_CLAIM:
    case ASK_VOLUME:
        ask(c, &w->step);
        break;
    default:
        write_step(c, &w->step);
    }
}

static void reconcile(struct reconcile *c)
{
    c->state = ARENA_NEW(c->arena, struct work);
    next_step(c);
}

/* --- life --------------------------------------------------------------------------------------
 */

/* Claims that wait are told about now and then, as upstream does. */
static void tick(struct controller_run *r)
{
    touch_unbound(r, NULL);
}

static void init(struct controller_run *r)
{
    struct state *s = xzalloc(sizeof(*s));
    map_init(&s->unbound);
    assumed_init(&s->claims, controller_informer(r, "", "PersistentVolumeClaim"));
    assumed_init(&s->volumes, controller_informer(r, "", "PersistentVolume"));
    r->state = s;
}

static void done(struct controller_run *r)
{
    struct state *s = r->state;
    assumed_done(&s->claims);
    assumed_done(&s->volumes);
    map_done(&s->unbound);
    free(s);
}

static const struct controller_watch watches[] = {
    {"", "v1", "PersistentVolumeClaim", touch_claim},
    {"", "v1", "PersistentVolume", touch_volume},
    {"storage.k8s.io", "v1", "StorageClass", touch_class},
    {"", "v1", "Pod", NULL},
    {0},
};

const struct controller controller_volumebinder = {
    .name = "persistentvolume-binder-controller",
    .event_source = "persistentvolume-controller",
    .workers = 1,
    .watches = watches,
    .init = init,
    .done = done,
    .reconcile = reconcile,
    .tick_ms = RESYNC_MS,
    .tick = tick,
};
