/* claim_resize.c - PersistentVolumeClaimResize: claims grow only where their
 * storage class says that their volumes can. */
#include "api/core_v1.h"
#include "api/resource.h"
#include "api/storage_v1.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/kinds/rules.h"
#include "apiserver/registry.h"
#include "lib/api/quantity.h"

static bool grows(const struct core_v1_persistent_volume_claim *c,
                  const struct core_v1_persistent_volume_claim *old)
{
    const struct api_quantity_entry *now = find_quantity(c->spec.resources.requests,
                                                         c->spec.resources.requests_count,
                                                         STR("storage")),
                                    *was = find_quantity(old->spec.resources.requests,
                                                         old->spec.resources.requests_count,
                                                         STR("storage"));
    if (now == NULL || was == NULL)
        return false;
    struct quantity x = quantity_of(&now->value), y = quantity_of(&was->value);
    return quantity_cmp(&x, &y) > 0;
}

static struct str class_of(const struct core_v1_persistent_volume_claim *c)
{
    const struct str *v = api_str_map_get(c->metadata.annotations, c->metadata.annotations_count,
                                          STR("volume.beta.kubernetes.io/storage-class"));
    return v != NULL ? *v : c->spec.storage_class_name;
}

static bool class_allows(const struct admission *adm)
{
    struct str now = class_of(adm->obj), was = class_of(adm->old);
    if (now.len == 0 || !str_eq(now, was))
        return false;
    const struct storage_v1_storage_class *c =
        kind_lookup(adm->ctx, "storage.k8s.io", "storageclasses", STR_NULL, now);
    return c != NULL && c->allow_volume_expansion;
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    if (!admission_is(adm, "", "persistentvolumeclaims") || !grows(adm->obj, adm->old))
        return NULL;
    const struct core_v1_persistent_volume_claim *old = adm->old;
    if (!str_eqc(old->status.phase, "Bound"))
        return status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name,
                                "Only bound persistent volume claims can be expanded");
    if (!class_allows(adm))
        return status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name,
                                "only dynamically provisioned pvc can be resized and the "
                                "storageclass that provisions the pvc must support resize");
    return NULL;
}

const struct admission_plugin admission_claim_resize = {
    .name = "PersistentVolumeClaimResize", .ops = ADMIT_BIT(ADMIT_UPDATE), .validate = validate};
