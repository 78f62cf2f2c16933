/* cluster_state.c - see cluster_state.h. */
#include "cli/cluster_state.h"

#include "cli/objects.h"

#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/client/sync.h"
#include "scheduler/simulation.h"

#define PAGE 500

/* Pods come last: what they ask for is there then. */
static const struct {
    const char *word;
    bool may_lack; /* Not every cluster has the kind. */
} kinds[] = {
    {"nodes", false},
    {"namespaces", false},
    {"persistentvolumeclaims", false},
    {"persistentvolumes", false},
    {"storageclasses", false},
    {"csinodes", false},
    {"poddisruptionbudgets", false},
    {"priorityclasses", false},
    {"services", false},
    {"replicasets.apps", false},
    {"statefulsets.apps", false},
    {"replicationcontrollers", false},
    {"podgroups.scheduling.x-k8s.io", true},
    {"deviceclasses.resource.k8s.io", true},
    {"resourceslices.resource.k8s.io", true},
    {"resourceclaims.resource.k8s.io", true},
    {"resourceclaimtemplates.resource.k8s.io", true},
    {"pods", false},
};

static int add_item(const struct api_object *list, void *item, void *arg)
{
    const struct api_kind *k = NULL;
    size_t count;
    const struct api_kind *const *all = api_kinds(&count);
    for (size_t i = 0; i < count && k == NULL; i++)
        if (all[i]->list_msg == list->kind->msg && all[i]->resource != NULL)
            k = all[i];
    if (k == NULL)
        return E_INVALID;
    struct api_object *o = api_object_new(k);
    o->msg = api_msg_clone(o->arena, k->msg, item);
    simulation_add(arg, o);
    api_object_unref(o);
    return 0;
}

int cluster_state_read(struct arena *a, struct objects *o, struct simulation *s, struct error *err)
{
    int rc = objects_connect(a, o, err);
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(kinds); i++) {
        struct client_call call = {.verb = CLIENT_LIST};
        rc = objects_kind(str_of(kinds[i].word), &call.kind, err);
        if (rc == 0)
            rc = sync_list(o->client, &call, PAGE, add_item, s, err);
        if (rc == E_NOT_FOUND && kinds[i].may_lack)
            rc = 0;
    }
    return rc;
}
