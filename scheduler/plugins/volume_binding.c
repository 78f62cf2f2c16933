/* volume_binding.c - a pod's claims must exist, and their volumes be reachable
 * from the node. A claim that waits for its first consumer fits anywhere its
 * class allows; the scheduler then tells the provisioner which node it chose
 * (scheduler.c) and places the pod once the claim is bound. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "scheduler/claims.h"

#define NO_PROVISIONER "kubernetes.io/no-provisioner"

struct str claim_name_of(struct arena *a, const struct core_v1_pod *pod,
                         const struct core_v1_volume *v)
{
    if (v->volume_source.persistent_volume_claim != NULL)
        return v->volume_source.persistent_volume_claim->claim_name;
    if (v->volume_source.ephemeral != NULL)
        return arena_printf(a, STR_FMT "-" STR_FMT, STR_ARG(pod->metadata.name), STR_ARG(v->name));
    return STR_NULL;
}

enum claim_state claim_state_of(const struct pod_facts *f,
                                const struct core_v1_persistent_volume_claim *claim,
                                const struct storage_v1_storage_class **ret_class)
{
    *ret_class = NULL;
    if (!str_empty(claim->spec.volume_name) && str_eqc(claim->status.phase, "Bound"))
        return CLAIM_BOUND;
    if (claim->spec.has_storage_class_name && !str_empty(claim->spec.storage_class_name)) {
        struct api_object *o = f->storage_class(f->arg, claim->spec.storage_class_name);
        const struct storage_v1_storage_class *sc = o != NULL ? o->msg : NULL;
        if (sc != NULL && str_eqc(sc->volume_binding_mode, "WaitForFirstConsumer")) {
            *ret_class = sc;
            return CLAIM_WAITS;
        }
    }
    return CLAIM_UNBOUND;
}

static enum verdict refuse_claim(struct cycle *c, struct refusal *r, struct str name,
                                 const char *what)
{
    refusal_addf(c, r, "persistentvolumeclaim \"" STR_FMT "\" %s", STR_ARG(name), what);
    return UNRESOLVABLE;
}

/* The pod's claims, resolved once per cycle. */
struct volume_state {
    const struct core_v1_persistent_volume **bound;
    size_t bound_count;
    const struct storage_v1_storage_class **waiting;
    size_t waiting_count;
};

static enum verdict take_claim(struct cycle *c, struct volume_state *s, struct str name,
                               struct refusal *r)
{
    const struct pod_facts *f = c->facts;
    struct api_object *o = f->claim(f->arg, c->pod->pod->metadata.namespace, name);
    if (o == NULL)
        return refuse_claim(c, r, name, "not found");
    const struct core_v1_persistent_volume_claim *claim = o->msg;
    if (claim->metadata.deletion_timestamp != NULL)
        return refuse_claim(c, r, name, "is being deleted");
    const struct storage_v1_storage_class *class;
    enum claim_state state = claim_state_of(f, claim, &class);
    if (state == CLAIM_WAITS) {
        s->waiting[s->waiting_count++] = class;
    } else if (state == CLAIM_UNBOUND) {
        refusal_add(r, STR("pod has unbound immediate PersistentVolumeClaims"));
        return UNRESOLVABLE;
    } else {
        struct api_object *v = f->volume(f->arg, claim->spec.volume_name);
        if (v == NULL) {
            refusal_addf(c, r,
                         "persistentvolumeclaim \"" STR_FMT "\" bound to non-existent "
                         "persistentvolume \"" STR_FMT "\"",
                         STR_ARG(name), STR_ARG(claim->spec.volume_name));
            return UNRESOLVABLE;
        }
        s->bound[s->bound_count++] = v->msg;
    }
    return FIT;
}

static enum verdict prefilter(struct cycle *c, struct refusal *r)
{
    const struct core_v1_pod *pod = c->pod->pod;
    size_t max = pod->spec.volumes_count;
    struct volume_state *s = ARENA_NEW(c->arena, struct volume_state);
    s->bound = ARENA_ARRAY(c->arena, const struct core_v1_persistent_volume *, max + 1);
    s->waiting = ARENA_ARRAY(c->arena, const struct storage_v1_storage_class *, max + 1);
    c->state[c->current] = s;
    for (size_t i = 0; i < max; i++) {
        struct str name = claim_name_of(c->arena, pod, &pod->spec.volumes[i]);
        if (str_empty(name))
            continue;
        enum verdict v = take_claim(c, s, name, r);
        if (v != FIT)
            return v;
    }
    return s->bound_count + s->waiting_count != 0 ? FIT : SKIP;
}

static bool topology_allows(const struct storage_v1_storage_class *class,
                            const struct core_v1_node *node)
{
    for (size_t i = 0; i < class->allowed_topologies_count; i++) {
        const struct core_v1_topology_selector_term *t = &class->allowed_topologies[i];
        bool all = true;
        for (size_t k = 0; k < t->match_label_expressions_count; k++) {
            const struct core_v1_topology_selector_label_requirement *e =
                &t->match_label_expressions[k];
            const struct str *have = node_label(node, e->key);
            bool in = false;
            for (size_t v = 0; have != NULL && v < e->values_count; v++)
                in |= str_eq(*have, e->values[v]);
            all &= in;
        }
        if (all)
            return true;
    }
    return class->allowed_topologies_count == 0;
}

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    const struct volume_state *s = CYCLE_STATE(c, struct volume_state);
    for (size_t i = 0; i < s->bound_count; i++) {
        const struct core_v1_volume_node_affinity *a = s->bound[i]->spec.node_affinity;
        if (a != NULL && a->required != NULL && !node_selector_matches(a->required, n->node)) {
            refusal_add(r, STR("node(s) had volume node affinity conflict"));
            return UNRESOLVABLE;
        }
    }
    for (size_t i = 0; i < s->waiting_count; i++)
        if (str_eqc(s->waiting[i]->provisioner, NO_PROVISIONER) ||
            !topology_allows(s->waiting[i], n->node)) {
            refusal_add(r, STR("node(s) didn't find available persistent volumes to bind"));
            return UNRESOLVABLE;
        }
    return FIT;
}

const struct plugin plugin_volume_binding = {
    .name = "VolumeBinding",
    .wakes = EVENT_NODE_ADD | EVENT_NODE_LABEL | EVENT_VOLUME,
    .prefilter = prefilter,
    .filter = filter,
};
