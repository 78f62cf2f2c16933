/* claims.c - see claims.h. */
#include "scheduler/claims.h"

#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "lib/api/quantity.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/client/claims.h"
#include "lib/client/labels.h"
#include "lib/client/placement.h"
#include "scheduler/framework.h"

enum claim_state claim_state_of(const struct pod_facts *f,
                                const struct core_v1_persistent_volume_claim *claim,
                                const struct storage_v1_storage_class **ret_class)
{
    *ret_class = NULL;
    bool named = !str_empty(claim->spec.volume_name);
    if (named && annotation_get(&claim->metadata, ANNOTATION_BIND_COMPLETED) != NULL)
        return CLAIM_BOUND;
    if (named)
        return CLAIM_UNBOUND; /* The binder is at it. */
    struct str name = claim_class(claim);
    struct api_object *o = str_empty(name) ? NULL : f->storage_class(f->arg, name);
    if (o == NULL || !class_waits_for_consumer(o->msg))
        return CLAIM_UNBOUND;
    *ret_class = o->msg;
    return CLAIM_WAITS;
}

int64_t capacity_limit(const struct storage_v1_csi_storage_capacity *c)
{
    const struct resource_quantity *limit =
        c->maximum_volume_size != NULL ? c->maximum_volume_size : c->capacity;
    if (limit == NULL)
        return -1;
    struct quantity q = quantity_of(limit);
    return quantity_value(&q);
}

/* Only drivers that publish where they have room are held to it. */
static void find_rooms(struct arena *a, const struct pod_facts *f, struct waiting_claim *w)
{
    const struct api_object *o =
        f->csi_driver != NULL ? f->csi_driver(f->arg, w->class->provisioner) : NULL;
    const struct storage_v1_csi_driver *driver = o != NULL ? o->msg : NULL;
    struct quantity request = claim_request(w->claim->msg);
    size_t cap = 0, pos = 0;
    w->needs_room = driver != NULL && driver->spec.has_storage_capacity &&
                    driver->spec.storage_capacity && !quantity_is_zero(&request);
    while (w->needs_room && (o = f->next_capacity(f->arg, &pos)) != NULL) {
        const struct storage_v1_csi_storage_capacity *c = o->msg;
        if (!str_eq(c->storage_class_name, w->class->metadata.name) ||
            capacity_limit(c) < quantity_value(&request))
            continue;
        w->rooms = arena_grow(a, w->rooms, w->room_count, &cap, sizeof(*w->rooms));
        w->rooms[w->room_count++] = c;
    }
}

static void find_candidates(struct arena *a, const struct pod_facts *f, struct waiting_claim *ret)
{
    const struct core_v1_persistent_volume_claim *c = ret->claim->msg;
    size_t cap = 0, pos = 0;
    struct api_object *o;
    while (f->next_volume != NULL && (o = f->next_volume(f->arg, &pos)) != NULL) {
        const struct core_v1_persistent_volume *v = o->msg;
        if (!volume_is_of_claim(v, c) &&
            (v->spec.claim_ref != NULL || volume_mismatch(v, c) != NULL))
            continue;
        ret->candidates =
            arena_grow(a, ret->candidates, ret->candidate_count, &cap, sizeof(struct api_object *));
        ret->candidates[ret->candidate_count++] = o;
    }
}

void waiting_claim_init(struct arena *a, const struct pod_facts *f, struct api_object *claim,
                        const struct storage_v1_storage_class *class, struct waiting_claim *ret)
{
    *ret = (struct waiting_claim){.claim = claim, .class = class};
    find_candidates(a, f, ret);
    find_rooms(a, f, ret);
}

/* --- on one node ----------------------------------------------------------------------------- */

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

struct choosing {
    const struct pod_facts *facts;
    const struct waiting_claim *claim;
    const struct claim_plan *plans; /* Of the claims before this one. */
    size_t plan_count;
};

static struct api_object *next_candidate(void *arg, size_t *pos)
{
    const struct choosing *c = arg;
    return *pos < c->claim->candidate_count ? c->claim->candidates[(*pos)++] : NULL;
}

/* By another claim of the pod, or by a pod placed a moment ago. */
static bool is_taken(void *arg, const struct core_v1_persistent_volume *v)
{
    const struct choosing *c = arg;
    for (size_t i = 0; i < c->plan_count; i++)
        if (c->plans[i].volume != NULL && c->plans[i].volume->msg == v)
            return true;
    return c->facts->volume_taken != NULL && c->facts->volume_taken(c->facts->arg, v);
}

static struct api_object *object_of(const struct waiting_claim *w,
                                    const struct core_v1_persistent_volume *v)
{
    for (size_t i = 0; i < w->candidate_count; i++)
        if (w->candidates[i]->msg == v)
            return w->candidates[i];
    return NULL;
}

static bool can_provision(const struct waiting_claim *w, const struct core_v1_node *node)
{
    const struct str *chosen = annotation_get(api_object_meta(w->claim), ANNOTATION_SELECTED_NODE);
    if (chosen != NULL && !str_eq(*chosen, node->metadata.name))
        return false; /* Its provisioner is at work for another node. */
    return !str_eqc(w->class->provisioner, NO_PROVISIONER) && topology_allows(w->class, node);
}

static bool has_room(const struct waiting_claim *w, const struct core_v1_node *node)
{
    for (size_t i = 0; i < w->room_count; i++)
        if (label_selector_matches(w->rooms[i]->node_topology, node->metadata.labels,
                                   node->metadata.labels_count))
            return true;
    return !w->needs_room;
}

enum claims_verdict claims_plan(const struct pod_facts *f, const struct waiting_claim *claims,
                                size_t count, const struct core_v1_node *node,
                                struct claim_plan *plans)
{
    for (size_t i = 0; i < count; i++) {
        const struct waiting_claim *w = &claims[i];
        struct choosing state = {f, w, plans, i};
        struct volume_choice how = {
            .next = next_candidate, .arg = &state, .node = node, .taken = is_taken};
        bool being_made =
            annotation_get(api_object_meta(w->claim), ANNOTATION_SELECTED_NODE) != NULL;
        const struct core_v1_persistent_volume *v =
            being_made ? NULL : volume_choose(&how, w->claim->msg);
        plans[i] = (struct claim_plan){w->claim, v != NULL ? object_of(w, v) : NULL};
        if (v == NULL && !can_provision(w, node))
            return CLAIMS_NO_VOLUME;
        if (v == NULL && !has_room(w, node))
            return CLAIMS_NO_ROOM;
    }
    return CLAIMS_FIT;
}

size_t pod_bound_volumes(struct arena *a, const struct pod_facts *f, const struct core_v1_pod *pod,
                         const struct core_v1_persistent_volume **ret)
{
    size_t n = 0;
    for (size_t i = 0; i < pod->spec.volumes_count; i++) {
        struct str name = pod_claim_name(a, pod, &pod->spec.volumes[i]);
        const struct api_object *o =
            str_empty(name) ? NULL : f->claim(f->arg, pod->metadata.namespace, name);
        const struct core_v1_persistent_volume_claim *c = o != NULL ? o->msg : NULL;
        const struct api_object *v = c != NULL && !str_empty(c->spec.volume_name)
                                         ? f->volume(f->arg, c->spec.volume_name)
                                         : NULL;
        if (v != NULL)
            ret[n++] = v->msg;
    }
    return n;
}
