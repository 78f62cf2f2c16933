/* deny_external_ips.c - DenyServiceExternalIPs: no Service takes addresses of its
 * own choice; those that have some keep them. */
#include "api/core_v1.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/registry.h"

static bool listed(const struct core_v1_service *s, struct str ip)
{
    for (size_t i = 0; i < s->spec.external_ips_count; i++)
        if (str_eq(s->spec.external_ips[i], ip))
            return true;
    return false;
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    if (!admission_is(adm, "", "services"))
        return NULL;
    const struct core_v1_service *s = adm->obj, *old = adm->old;
    for (size_t i = 0; i < s->spec.external_ips_count; i++)
        if (old == NULL || !listed(old, s->spec.external_ips[i]))
            return status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name,
                                    "Use of external IPs is denied by admission control.");
    return NULL;
}

const struct admission_plugin admission_deny_external_ips = {
    .name = "DenyServiceExternalIPs", .off = true, .ops = ADMIT_WRITES, .validate = validate};
