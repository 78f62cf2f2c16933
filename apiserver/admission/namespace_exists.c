/* namespace_exists.c - NamespaceExists: whatever is done in a namespace, it must
 * be there. NamespaceLifecycle asks that of what is new alone. */
#include "apiserver/admission/plugins.h"
#include "apiserver/registry.h"

static struct meta_v1_status *validate(const struct admission *adm)
{
    const struct kind_ctx *ctx = adm->ctx;
    if (!adm->res->kind->namespaced || adm->op == ADMIT_CONNECT ||
        kind_lookup(ctx, "", "namespaces", STR_NULL, ctx->namespace_) != NULL)
        return NULL;
    return status_not_found(ctx->arena, (struct group_resource){STR_NULL, STR("namespaces")},
                            ctx->namespace_);
}

const struct admission_plugin admission_namespace_exists = {
    .name = "NamespaceExists", .off = true, .validate = validate};
