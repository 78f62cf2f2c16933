/* namespace_lifecycle.c - nothing new in a namespace that is absent or going.
 * The namespaces the system needs cannot be deleted. */
#include "api/core_v1.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"

static struct meta_v1_status *mutate(const struct admission *adm)
{
    const struct kind_ctx *ctx = adm->ctx;
    if (!adm->res->kind->namespaced || adm->op != ADMIT_CREATE)
        return NULL;
    /* Access reviews create no content. */
    if (strcmp(adm->res->kind->group, "authorization.k8s.io") == 0)
        return NULL;
    const struct core_v1_namespace *ns =
        kind_lookup(ctx, "", "namespaces", STR_NULL, ctx->namespace_);
    if (ns == NULL)
        return status_not_found(ctx->arena, (struct group_resource){STR_NULL, STR("namespaces")},
                                ctx->namespace_);
    if (ns->metadata.deletion_timestamp == NULL && !str_eqc(ns->status.phase, "Terminating"))
        return NULL;
    struct meta_v1_status *s = status_forbidden(ctx->arena, adm->res->gr, ctx->name,
                                                "unable to create new content in namespace " STR_FMT
                                                " because it is being terminated",
                                                STR_ARG(ctx->namespace_));
    status_add_cause(ctx->arena, s, "NamespaceTerminating",
                     arena_printf(ctx->arena, "namespace " STR_FMT " is being terminated",
                                  STR_ARG(ctx->namespace_)),
                     STR("metadata.namespace"));
    return s;
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    static const char *const kept[] = {"default", "kube-system", "kube-public"};
    const struct kind_ctx *ctx = adm->ctx;
    if (adm->op != ADMIT_DELETE || !admission_is(adm, "", "namespaces"))
        return NULL;
    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        if (str_eqc(ctx->name, kept[i]))
            return status_forbidden(ctx->arena, adm->res->gr, ctx->name,
                                    "this namespace may not be deleted");
    return NULL;
}

const struct admission_plugin admission_namespace_lifecycle = {
    .name = "NamespaceLifecycle",
    .mutate = mutate,
    .validate = validate,
};
