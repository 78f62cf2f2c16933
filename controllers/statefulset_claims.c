/* statefulset_claims.c - see statefulset_claims.h. */
#include "controllers/statefulset_claims.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"

static bool is_ref_to(const struct meta_v1_owner_reference *r, const struct api_kind *kind,
                      struct str name)
{
    return str_eqc(r->kind, kind->kind) && str_eqc(r->api_version, kind->api_version) &&
           str_eq(r->name, name);
}

static bool is_ours(const struct stateful_claim *c, const struct meta_v1_owner_reference *r)
{
    return is_ref_to(r, c->set_kind, c->set->metadata.name) ||
           (c->pod != NULL && is_ref_to(r, c->pod_kind, c->pod->metadata.name));
}

static struct meta_v1_owner_reference ref_to(const struct api_kind *kind,
                                             const struct meta_v1_object_meta *m)
{
    return (struct meta_v1_owner_reference){.api_version = str_of(kind->api_version),
                                            .kind = str_of(kind->kind),
                                            .name = m->name,
                                            .uid = m->uid,
                                            .has_controller = true,
                                            .controller = true,
                                            .has_block_owner_deletion = true,
                                            .block_owner_deletion = true};
}

/* False: nobody. */
static bool wanted_owner(const struct stateful_claim *c, struct meta_v1_owner_reference *ret)
{
    const struct apps_v1_stateful_set_persistent_volume_claim_retention_policy *p =
        c->set->spec.persistent_volume_claim_retention_policy;
    bool when_scaled = p != NULL && str_eqc(p->when_scaled, "Delete");
    bool when_deleted = p != NULL && str_eqc(p->when_deleted, "Delete");
    if (when_scaled && c->beyond && c->pod != NULL)
        *ret = ref_to(c->pod_kind, &c->pod->metadata);
    else if (when_deleted)
        *ret = ref_to(c->set_kind, &c->set->metadata);
    else
        return false;
    return true;
}

static bool same_ref(const struct meta_v1_owner_reference *x,
                     const struct meta_v1_owner_reference *y)
{
    return str_eq(x->uid, y->uid) && x->controller == y->controller;
}

bool stateful_claim_own(struct arena *a, const struct stateful_claim *c,
                        struct meta_v1_object_meta *claim)
{
    size_t count = claim->owner_references_count, n = 0;
    struct meta_v1_owner_reference wanted,
        *list = ARENA_ARRAY(a, struct meta_v1_owner_reference, count + 1);
    bool wants = wanted_owner(c, &wanted), there = false, dropped = false, others = false;
    for (size_t i = 0; i < count; i++) {
        const struct meta_v1_owner_reference *r = &claim->owner_references[i];
        if (!is_ours(c, r)) {
            others |= r->has_controller && r->controller;
            list[n++] = *r;
        } else if (wants && !there && same_ref(r, &wanted)) {
            there = true;
        } else {
            dropped = true;
        }
    }
    wants = wants && !others;
    if (wants)
        list[n++] = wanted;
    claim->owner_references = list;
    claim->owner_references_count = n;
    return dropped || wants != there;
}

bool stateful_claim_is_stale(const struct meta_v1_object_meta *claim, struct str pod_name,
                             struct str pod_uid)
{
    for (size_t i = 0; i < claim->owner_references_count; i++) {
        const struct meta_v1_owner_reference *r = &claim->owner_references[i];
        if (str_eqc(r->kind, "Pod") && str_eqc(r->api_version, "v1") && str_eq(r->name, pod_name) &&
            !str_eq(r->uid, pod_uid))
            return true;
    }
    return false;
}
