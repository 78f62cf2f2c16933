/* owner_references.c - OwnerReferencesPermissionEnforcement: who makes an object
 * go with another must be allowed to delete it, and who holds up the other's
 * deletion must be allowed to do that. */
#include "api/meta_v1.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/apiserver.h"
#include "apiserver/authz.h"
#include "apiserver/registry.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"

static bool same_owners(const struct meta_v1_object_meta *m, const struct meta_v1_object_meta *old)
{
    size_t count = old != NULL ? old->owner_references_count : 0;
    if (m->owner_references_count != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!api_msg_equal(&meta_v1_owner_reference_msg, &m->owner_references[i],
                           &old->owner_references[i]))
            return false;
    return true;
}

static bool may(const struct admission *adm, const struct authz_attributes *at,
                struct str *ret_reason)
{
    *ret_reason = STR("");
    return authz_decide(adm->ctx->server->authz, adm->ctx->arena, at, true, ret_reason) ==
           AUTHZ_ALLOW;
}

static bool was_blocking(const struct meta_v1_object_meta *old, struct str uid)
{
    for (size_t i = 0; old != NULL && i < old->owner_references_count; i++)
        if (str_eq(old->owner_references[i].uid, uid))
            return old->owner_references[i].block_owner_deletion;
    return false;
}

static struct meta_v1_status *check_blocking(const struct admission *adm,
                                             const struct meta_v1_owner_reference *o)
{
    struct arena *a = adm->ctx->arena;
    const struct api_kind *k = api_kind_by_api_version(o->api_version, o->kind);
    struct str reason;
    if (k == NULL || k->resource == NULL)
        return status_forbidden(
            a, adm->res->gr, adm->ctx->name,
            "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for "
            "APIVersion " STR_FMT " Kind " STR_FMT ": no matches for kind \"" STR_FMT
            "\" in version \"" STR_FMT "\"",
            STR_ARG(o->api_version), STR_ARG(o->kind), STR_ARG(o->kind), STR_ARG(o->api_version));
    struct authz_attributes at = {.user = adm->ctx->user,
                                  .asks = adm->ctx->asks,
                                  .verb = "update",
                                  .resource_request = true,
                                  .group = str_of(k->group),
                                  .version = str_of(k->version),
                                  .resource = str_of(k->resource),
                                  .subresource = STR("finalizers"),
                                  .ns = k->namespaced ? adm->ctx->namespace_ : STR_NULL,
                                  .name = o->name};
    if (may(adm, &at, &reason))
        return NULL;
    return status_forbidden(a, adm->res->gr, adm->ctx->name,
                            "cannot set blockOwnerDeletion if an ownerReference refers to a "
                            "resource you can't set finalizers on: " STR_FMT ", <nil>",
                            STR_ARG(reason));
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    struct str reason;
    const struct meta_v1_object_meta *m, *old = NULL;
    if (adm->ctx->server == NULL || adm->kind != NULL ||
        adm->res->storage->meta_offset == UINT32_MAX ||
        (admission_is_any(adm, "", "pods") && strcmp(adm->subresource, "status") == 0))
        return NULL;
    m = api_meta_of(adm->res->storage, adm->obj);
    if (adm->old != NULL)
        old = api_meta_of(adm->res->storage, (void *)(uintptr_t)adm->old);
    if (same_owners(m, old))
        return NULL;
    struct authz_attributes at = {.user = adm->ctx->user,
                                  .asks = adm->ctx->asks,
                                  .verb = "delete",
                                  .resource_request = true,
                                  .group = adm->res->gr.group,
                                  .version = str_of(adm->res->kind->version),
                                  .resource = adm->res->gr.resource,
                                  .subresource = str_of(adm->subresource),
                                  .ns = adm->ctx->namespace_,
                                  .name = adm->ctx->name};
    if (!may(adm, &at, &reason))
        return status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name,
                                "cannot set an ownerRef on a resource you can't delete: " STR_FMT
                                ", <nil>",
                                STR_ARG(reason));
    for (size_t i = 0; i < m->owner_references_count; i++) {
        const struct meta_v1_owner_reference *o = &m->owner_references[i];
        if (!o->block_owner_deletion || was_blocking(old, o->uid))
            continue;
        struct meta_v1_status *s = check_blocking(adm, o);
        if (s != NULL)
            return s;
    }
    return NULL;
}

const struct admission_plugin admission_owner_references = {
    .name = "OwnerReferencesPermissionEnforcement",
    .off = true,
    .ops = ADMIT_WRITES,
    .validate = validate};
