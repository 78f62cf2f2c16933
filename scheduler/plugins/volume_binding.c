/* volume_binding.c - a pod's claims must exist, and their volumes be reachable
 * from the node. A claim that waits for its first consumer needs a free volume
 * there or a provisioner that makes one, and room for it if its driver tells of that; volume_wait.c
 * then reserves or orders it, and places the pod once the claim is bound. Texts are upstream's. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/client/claims.h"
#include "scheduler/claims.h"

/* The pod's claims, resolved once per cycle. */
struct volume_state {
    const struct core_v1_persistent_volume **bound;
    size_t bound_count;
    bool missing; /* A claim is bound to a volume that is not there. */
    struct waiting_claim *waiting;
    size_t waiting_count;
    struct claim_plan *plans; /* Scratch. */
};

static enum verdict refuse_claim(struct cycle *c, struct refusal *r, struct str name,
                                 const char *what)
{
    refusal_addf(c, r, "persistentvolumeclaim \"" STR_FMT "\" %s", STR_ARG(name), what);
    return UNRESOLVABLE;
}

static enum verdict refuse_missing(struct cycle *c, struct refusal *r, struct str name,
                                   const struct core_v1_volume *v)
{
    if (v->volume_source.ephemeral == NULL)
        return refuse_claim(c, r, name, "not found");
    refusal_addf(c, r,
                 "waiting for ephemeral volume controller to create the persistentvolumeclaim "
                 "\"" STR_FMT "\"",
                 STR_ARG(name));
    return UNRESOLVABLE;
}

static void take_bound(struct cycle *c, struct volume_state *s, struct str volume)
{
    struct api_object *v = c->facts->volume(c->facts->arg, volume);
    if (v != NULL)
        s->bound[s->bound_count++] = v->msg;
    else
        s->missing = true;
}

static enum verdict take_claim(struct cycle *c, struct volume_state *s,
                               const struct core_v1_volume *volume, struct str name,
                               struct refusal *r)
{
    const struct pod_facts *f = c->facts;
    struct api_object *o = f->claim(f->arg, c->pod->pod->metadata.namespace, name);
    const struct core_v1_persistent_volume_claim *claim = o != NULL ? o->msg : NULL;
    if (claim == NULL)
        return refuse_missing(c, r, name, volume);
    if (claim->metadata.deletion_timestamp != NULL)
        return refuse_claim(c, r, name, "is being deleted");
    if (str_eqc(claim->status.phase, "Lost")) {
        refusal_addf(c, r,
                     "persistentvolumeclaim \"" STR_FMT
                     "\" bound to non-existent persistentvolume \"" STR_FMT "\"",
                     STR_ARG(name), STR_ARG(claim->spec.volume_name));
        return UNRESOLVABLE;
    }
    const char *why = ephemeral_claim_mismatch(c->arena, c->pod->pod, volume, claim);
    if (why != NULL) {
        refusal_add(r, str_of(why));
        return UNRESOLVABLE;
    }
    const struct storage_v1_storage_class *class;
    switch (claim_state_of(f, claim, &class)) {
    case CLAIM_WAITS:
        waiting_claim_init(c->arena, f, o, class, &s->waiting[s->waiting_count++]);
        return FIT;
    case CLAIM_BOUND:
        take_bound(c, s, claim->spec.volume_name);
        return FIT;
    case CLAIM_UNBOUND:
        break;
    }
    refusal_add(r, STR("pod has unbound immediate PersistentVolumeClaims"));
    return UNRESOLVABLE;
}

static enum verdict prefilter(struct cycle *c, struct refusal *r)
{
    const struct core_v1_pod *pod = c->pod->pod;
    size_t max = pod->spec.volumes_count;
    bool any = false;
    for (size_t i = 0; i < max && !any; i++)
        any = !str_empty(pod_claim_name(c->arena, pod, &pod->spec.volumes[i]));
    if (!any)
        return SKIP;
    struct volume_state *s = ARENA_NEW(c->arena, struct volume_state);
    s->bound = ARENA_ARRAY(c->arena, const struct core_v1_persistent_volume *, max);
    s->waiting = ARENA_ARRAY(c->arena, struct waiting_claim, max);
    s->plans = ARENA_ARRAY(c->arena, struct claim_plan, max);
    c->state[c->current] = s;
    for (size_t i = 0; i < max; i++) {
        struct str name = pod_claim_name(c->arena, pod, &pod->spec.volumes[i]);
        enum verdict v = str_empty(name) ? FIT : take_claim(c, s, &pod->spec.volumes[i], name, r);
        if (v != FIT)
            return v;
    }
    return FIT;
}

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    const struct volume_state *s = CYCLE_STATE(c, struct volume_state);
    if (s->missing)
        refusal_add(r, STR("node(s) unavailable due to one or more pvc(s) bound to non-existent "
                           "pv(s)"));
    bool reaches = true;
    for (size_t i = 0; i < s->bound_count && reaches; i++)
        reaches = volume_reaches_node(s->bound[i], n->node);
    if (!reaches)
        refusal_add(r, STR("node(s) didn't match PersistentVolume's node affinity"));
    enum claims_verdict found =
        claims_plan(c->facts, s->waiting, s->waiting_count, n->node, s->plans);
    if (found == CLAIMS_NO_VOLUME)
        refusal_add(r, STR("node(s) didn't find available persistent volumes to bind"));
    if (found == CLAIMS_NO_ROOM)
        refusal_add(r, STR("node(s) did not have enough free storage"));
    return reaches && found == CLAIMS_FIT && !s->missing ? FIT : UNRESOLVABLE;
}

const struct plugin plugin_volume_binding = {
    .name = "VolumeBinding",
    .scope = SCOPE_OUTSIDE,
    .wakes = EVENT_NODE_ADD | EVENT_NODE_LABEL | EVENT_VOLUME,
    .prefilter = prefilter,
    .filter = filter,
};

size_t volume_binding_plan(const struct cycle *c, const struct core_v1_node *node,
                           const struct claim_plan **ret)
{
    for (unsigned i = 0; i < scheduler_plugin_count; i++) {
        if (scheduler_plugins[i] != &plugin_volume_binding)
            continue;
        const struct volume_state *s = c->state[i];
        if (s == NULL ||
            claims_plan(c->facts, s->waiting, s->waiting_count, node, s->plans) != CLAIMS_FIT)
            return 0;
        *ret = s->plans;
        return s->waiting_count;
    }
    return 0;
}
