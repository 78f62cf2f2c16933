/* owners.c - see owners.h. */
#include "scheduler/owners.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/error.h"
#include "lib/client/informer.h"
#include "scheduler/owner_selector.h"
#include "scheduler/trim.h"

enum owner_kind { SERVICES, CONTROLLERS, REPLICA_SETS, STATEFUL_SETS, OWNER_KINDS };

static const struct {
    const char *group, *kind;
    void (*trim)(struct api_object *o);
} kinds[OWNER_KINDS] = {
    [SERVICES] = {"", "Service", trim_service},
    [CONTROLLERS] = {"", "ReplicationController", trim_replication_controller},
    [REPLICA_SETS] = {"apps", "ReplicaSet", trim_replica_set},
    [STATEFUL_SETS] = {"apps", "StatefulSet", trim_stateful_set},
};

struct owners {
    struct informer *informers[OWNER_KINDS];
    uint64_t rev;
    void (*on_synced)(void *arg);
    void *arg;
};

static void on_change(struct api_object *o, void *arg)
{
    UNUSED(o);
    ((struct owners *)arg)->rev++;
}

/* What is left of these objects is their selector. */
static void on_update(struct api_object *old, struct api_object *o, void *arg)
{
    struct owners *w = arg;
    const struct core_v1_service *x = old->msg, *y = o->msg;
    bool service = o->kind == informer_kind(w->informers[SERVICES]);
    if (service ? !api_msg_equal(&core_v1_service_spec_msg, &x->spec, &y->spec)
                : api_object_meta(old)->generation != api_object_meta(o)->generation)
        w->rev++;
}

static void on_delete(struct api_object *o, bool final_state_unknown, void *arg)
{
    UNUSED(final_state_unknown);
    on_change(o, arg);
}

static void on_synced(void *arg)
{
    struct owners *w = arg;
    w->on_synced(w->arg);
}

struct owners *owners_start(struct client *c, void (*synced)(void *arg), void *arg)
{
    struct owners *w = xzalloc(sizeof(*w));
    w->on_synced = synced;
    w->arg = arg;
    for (unsigned i = 0; i < OWNER_KINDS; i++) {
        struct informer_config config = {
            .kind = api_kind_by_gvk(str_of(kinds[i].group), STR("v1"), str_of(kinds[i].kind)),
            .trim = kinds[i].trim,
            .compact_bytes = TRIM_OWNER_BYTES,
        };
        struct informer_handler h = {.on_add = on_change,
                                     .on_update = on_update,
                                     .on_delete = on_delete,
                                     .on_synced = on_synced,
                                     .arg = w};
        struct error err = {0};
        if (informer_new(c, &config, &w->informers[i], &err) != 0)
            PANIC("informer of %s: %s", kinds[i].kind, error_message(&err));
        informer_add_handler(w->informers[i], &h);
        informer_start(w->informers[i]);
    }
    return w;
}

void owners_stop(struct owners *w)
{
    for (unsigned i = 0; w != NULL && i < OWNER_KINDS; i++)
        informer_close(w->informers[i]);
    free(w);
}

bool owners_have_synced(const struct owners *w)
{
    for (unsigned i = 0; i < OWNER_KINDS; i++)
        if (!informer_has_synced(w->informers[i]))
            return false;
    return true;
}

uint64_t owners_rev(const struct owners *w)
{
    return w->rev;
}

/* --- selectors ---------------------------------------------------------------------------------
 */

static const struct api_object *find_controller(const struct owners *w,
                                                const struct core_v1_pod *pod,
                                                const struct meta_v1_owner_reference *r)
{
    for (unsigned i = CONTROLLERS; i < OWNER_KINDS; i++) {
        const struct api_kind *k = informer_kind(w->informers[i]);
        if (str_eqc(r->kind, k->kind) && str_eqc(r->api_version, k->api_version))
            return informer_get(w->informers[i], pod->metadata.namespace, r->name);
    }
    return NULL;
}

void owners_selector(const struct owners *w, struct arena *a, const struct core_v1_pod *pod,
                     struct meta_v1_label_selector *ret)
{
    struct owner_selector g;
    size_t pos = 0;
    const struct api_object *o;
    owner_selector_begin(&g, a, pod, ret);
    while ((o = informer_next(w->informers[SERVICES], &pos)) != NULL)
        owner_selector_add_service(&g, o->msg);
    const struct meta_v1_owner_reference *r = pod_controller(pod);
    o = r != NULL ? find_controller(w, pod, r) : NULL;
    if (o != NULL)
        owner_selector_add_controller(&g, o);
    owner_selector_end(&g);
}
