/* storage_object_in_use.c - volumes and claims go only when nobody uses them:
 * a finalizer holds them, which the protection controllers take away. */
#include "apiserver/admission/plugins.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"

static struct meta_v1_status *mutate(const struct admission *adm)
{
    const char *finalizer =
        admission_is(adm, "", "persistentvolumeclaims") ? "kubernetes.io/pvc-protection"
        : admission_is(adm, "", "persistentvolumes")    ? "kubernetes.io/pv-protection"
                                                        : NULL;
    if (finalizer == NULL || adm->op != ADMIT_CREATE)
        return NULL;
    struct meta_v1_object_meta *m = api_meta_of(adm->res->storage, adm->obj);
    struct str *f = ARENA_ARRAY(adm->ctx->arena, struct str, m->finalizers_count + 1);
    for (size_t i = 0; i < m->finalizers_count; i++) {
        if (str_eqc(m->finalizers[i], finalizer))
            return NULL;
        f[i] = m->finalizers[i];
    }
    f[m->finalizers_count++] = str_of(finalizer);
    m->finalizers = f;
    return NULL;
}

const struct admission_plugin admission_storage_object_in_use = {
    .name = "StorageObjectInUseProtection",
    .ops = ADMIT_BIT(ADMIT_CREATE),
    .mutate = mutate,
};
