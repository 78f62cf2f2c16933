/* volumeexpand.c - says of a claim that wants more than it has who is waited
 * for: volumes grow by their driver's own resizer. */
#include "controllers/controller.h"

#include "api/core_v1.h"
#include "lib/api/quantity.h"
#include "lib/api/scheme.h"
#include "lib/client/claims.h"

static bool wants_more(const struct core_v1_persistent_volume_claim *c)
{
    struct quantity want = claim_request(c), have = {0};
    if (!str_eqc(c->status.phase, "Bound"))
        return false;
    for (size_t i = 0; i < c->status.capacity_count; i++)
        if (str_eqc(c->status.capacity[i].key, "storage"))
            have = quantity_of(&c->status.capacity[i].value);
    return quantity_cmp(&want, &have) > 0;
}

static void touch(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    /* Only a change of what it wants is news. */
    if (o != NULL && wants_more(o->msg) && (old == NULL || !wants_more(old->msg)))
        controller_enqueue_object(r, o);
}

static void reconcile(struct reconcile *c)
{
    struct api_object *o =
        informer_get_key(controller_informer(c->run, "", "PersistentVolumeClaim"), c->key);
    if (o == NULL || !wants_more(o->msg))
        return;
    struct event_object about = event_object_of(o);
    event_record(c->run->recorder, &about, EVENT_NORMAL, "ExternalExpanding",
                 "waiting for an external controller to expand this PVC");
}

static const struct controller_watch watches[] = {
    {"", "v1", "PersistentVolumeClaim", touch},
    {0},
};

const struct controller controller_volumeexpand = {
    .name = "persistentvolume-expander-controller",
    .event_source = "volume_expand",
    .watches = watches,
    .reconcile = reconcile,
};
