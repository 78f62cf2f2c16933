/* volume_limits.c - a CSI driver says, in the node's CSINode, how many of its
 * volumes a node can hold. A volume that several pods share counts once. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "scheduler/claims.h"

struct limit_state {
    const struct core_v1_persistent_volume **mine; /* CSI volumes of the pod. */
    size_t count;
};

static const struct core_v1_csi_persistent_volume_source *
csi_of(const struct core_v1_persistent_volume *v)
{
    return v->spec.persistent_volume_source.csi;
}

static size_t csi_volumes(struct cycle *c, const struct core_v1_pod *pod,
                          const struct core_v1_persistent_volume ***ret)
{
    *ret = ARENA_ARRAY(c->arena, const struct core_v1_persistent_volume *, pod->spec.volumes_count);
    size_t all = pod_bound_volumes(c->arena, c->facts, pod, *ret), n = 0;
    for (size_t i = 0; i < all; i++)
        if (csi_of((*ret)[i]) != NULL)
            (*ret)[n++] = (*ret)[i];
    return n;
}

static enum verdict prefilter(struct cycle *c, struct refusal *r)
{
    (void)r;
    struct limit_state *s = ARENA_NEW(c->arena, struct limit_state);
    s->count = csi_volumes(c, c->pod->pod, &s->mine);
    c->state[c->current] = s;
    return s->count != 0 && c->facts->csi_node != NULL ? FIT : SKIP;
}

/* Adds the volume unless it, or one of another driver, is there. */
static void add(const struct core_v1_persistent_volume **list, size_t *count, struct str driver,
                const struct core_v1_persistent_volume *v)
{
    if (!str_eq(csi_of(v)->driver, driver))
        return;
    for (size_t i = 0; i < *count; i++)
        if (str_eq(csi_of(list[i])->volume_handle, csi_of(v)->volume_handle))
            return;
    list[(*count)++] = v;
}

static size_t count_with(struct cycle *c, const struct node_info *n, const struct limit_state *s,
                         struct str driver, bool *ret_new)
{
    size_t max = s->count, count = 0;
    for (size_t i = 0; i < n->pod_count; i++)
        max += n->pods[i]->pod->spec.volumes_count;
    const struct core_v1_persistent_volume **list =
        ARENA_ARRAY(c->arena, const struct core_v1_persistent_volume *, max);
    for (size_t i = 0; i < n->pod_count; i++) {
        const struct core_v1_persistent_volume **theirs;
        size_t k = csi_volumes(c, n->pods[i]->pod, &theirs);
        while (k > 0)
            add(list, &count, driver, theirs[--k]);
    }
    size_t before = count;
    for (size_t i = 0; i < s->count; i++)
        add(list, &count, driver, s->mine[i]);
    *ret_new = count != before;
    return count;
}

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    const struct limit_state *s = CYCLE_STATE(c, struct limit_state);
    struct api_object *o = c->facts->csi_node(c->facts->arg, n->node->metadata.name);
    const struct storage_v1_csi_node *csi = o != NULL ? o->msg : NULL;
    for (size_t i = 0; csi != NULL && i < csi->spec.drivers_count; i++) {
        const struct storage_v1_csi_node_driver *d = &csi->spec.drivers[i];
        if (d->allocatable == NULL || !d->allocatable->has_count)
            continue;
        bool adds;
        size_t count = count_with(c, n, s, d->name, &adds);
        if (adds && count > (size_t)MAX_OF(d->allocatable->count, 0)) {
            refusal_add(r, STR("node(s) exceed max volume count"));
            return UNFIT;
        }
    }
    return FIT;
}

const struct plugin plugin_volume_limits = {
    .name = "NodeVolumeLimits",
    .scope = SCOPE_OUTSIDE,
    .wakes = EVENT_NODE_ADD | EVENT_POD_DELETE | EVENT_VOLUME,
    .prefilter = prefilter,
    .filter = filter,
};
