/* resourceclaim_plan.c - see resourceclaim_plan.h. */
#include "controllers/resourceclaim_plan.h"

#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "controllers/controller.h"
#include "controllers/pods.h"
#include "lib/api/owner.h"
#include "lib/api/pod.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"
#include "lib/base/map.h"

#define BASE_MAX 57 /* A hyphen and five characters make it 63. */

enum claim_name pod_resource_claim(const struct core_v1_pod *p,
                                   const struct core_v1_pod_resource_claim *x, struct str *ret,
                                   bool *ret_made)
{
    *ret_made = false;
    if (x->has_resource_claim_name) {
        *ret = x->resource_claim_name;
        return CLAIM_NAMED;
    }
    if (!x->has_resource_claim_template_name)
        return CLAIM_NONE;
    for (size_t i = 0; i < p->status.resource_claim_statuses_count; i++) {
        const struct core_v1_pod_resource_claim_status *s = &p->status.resource_claim_statuses[i];
        if (!str_eq(s->name, x->name))
            continue;
        *ret = s->resource_claim_name;
        *ret_made = true;
        return s->has_resource_claim_name ? CLAIM_NAMED : CLAIM_NONE;
    }
    return CLAIM_NOT_YET;
}

struct str claim_generate_name(struct arena *a, struct str pod, struct str claim)
{
    struct str whole = arena_printf(a, STR_FMT "-" STR_FMT "-", STR_ARG(pod), STR_ARG(claim));
    if (whole.len <= BASE_MAX)
        return whole;
    /* Both are cut in proportion, so that each is still to be seen. */
    struct str p = str_sub(pod, 0, pod.len * BASE_MAX / whole.len);
    struct str c = str_sub(claim, 0, claim.len * BASE_MAX / whole.len);
    return arena_printf(a, STR_FMT "-" STR_FMT "-", STR_ARG(p), STR_ARG(c));
}

struct str claim_made_name(struct arena *a, struct str generate_name, struct str pod_uid,
                           struct str claim)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    static const uint64_t seed[2] = {0x636c61696d206f66, 0x206120706f640000};
    struct str whole = arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(pod_uid), STR_ARG(claim));
    uint64_t h = base_siphash(seed, whole.data, whole.len);
    char suffix[6] = "";
    for (size_t i = 0; i < sizeof(suffix) - 1; i++, h /= sizeof(alphabet) - 1)
        suffix[i] = alphabet[h % (sizeof(alphabet) - 1)];
    return arena_printf(a, STR_FMT "%s", STR_ARG(generate_name), suffix);
}

bool claim_pod_is_done(const struct core_v1_pod *p)
{
    return pod_is_terminal(p) || (pod_is_going(p) && str_empty(p->spec.node_name));
}

bool claim_is_for_pod(const struct resource_v1_resource_claim *c, const struct core_v1_pod *p)
{
    const struct meta_v1_owner_reference *ref = owner_controller(&c->metadata);
    return ref != NULL && str_eqc(ref->kind, "Pod") && str_eq(ref->uid, p->metadata.uid);
}

bool claim_is_reserved_for(const struct resource_v1_resource_claim *c, struct str uid)
{
    for (size_t i = 0; i < c->status.reserved_for_count; i++)
        if (str_eq(c->status.reserved_for[i].uid, uid))
            return true;
    return false;
}
