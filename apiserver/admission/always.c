/* always.c - AlwaysAdmit and AlwaysDeny: for tests of a configuration. */
#include "apiserver/admission/plugins.h"
#include "apiserver/registry.h"

static struct meta_v1_status *admit(const struct admission *adm)
{
    UNUSED(adm);
    return NULL;
}

static struct meta_v1_status *deny(const struct admission *adm)
{
    return status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name,
                            "admission control is denying all modifications");
}

const struct admission_plugin admission_always_admit = {
    .name = "AlwaysAdmit", .off = true, .mutate = admit, .validate = admit};
const struct admission_plugin admission_always_deny = {
    .name = "AlwaysDeny", .off = true, .mutate = deny, .validate = deny};
