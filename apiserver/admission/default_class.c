/* default_class.c - see default_class.h. Also the two plugins that use it:
 * DefaultStorageClass and DefaultIngressClass. */
#include "apiserver/admission/default_class.h"

#include "api/core_v1.h"
#include "api/networking_v1.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"
#include "raftstore/store.h"

static bool marked(const struct meta_v1_object_meta *m, const char *const *annotations)
{
    for (; *annotations != NULL; annotations++) {
        const struct str *v =
            api_str_map_get(m->annotations, m->annotations_count, str_of(*annotations));
        if (v != NULL && str_eqc(*v, "true"))
            return true;
    }
    return false;
}

struct str default_class(const struct admission *adm, const char *group, const char *resource,
                         const char *const *annotations)
{
    struct arena *a = adm->ctx->arena;
    const struct resource *r = registry_storage(str_of(group), str_of(resource));
    const struct meta_v1_object_meta *best = NULL;
    struct store_iter it;
    const struct kv *kv;
    struct str end =
        arena_printf(a, STR_FMT "0", STR_ARG(str_sub(r->prefix, 0, r->prefix.len - 1)));
    if (adm->ctx->view == NULL || store_iter_init(&it, adm->ctx->view, r->prefix, end, 0) != 0)
        return STR_NULL;
    while ((kv = store_iter_next(&it)) != NULL) {
        void *obj;
        if (stored_decode(a, r, stored_value(kv), 0, &obj, NULL) != 0)
            continue;
        const struct meta_v1_object_meta *m = api_meta_of(r->storage, obj);
        /* Keys come in the order of names. */
        if (marked(m, annotations) &&
            (best == NULL || m->creation_timestamp.seconds > best->creation_timestamp.seconds))
            best = m;
    }
    return best != NULL ? best->name : STR_NULL;
}

static struct meta_v1_status *set_storage_class(const struct admission *adm)
{
    static const char *const annotations[] = {"storageclass.kubernetes.io/is-default-class",
                                              "storageclass.beta.kubernetes.io/is-default-class",
                                              NULL};
    if (!admission_is(adm, "", "persistentvolumeclaims"))
        return NULL;
    struct core_v1_persistent_volume_claim *c = adm->obj;
    if (c->spec.has_storage_class_name ||
        api_str_map_get(c->metadata.annotations, c->metadata.annotations_count,
                        STR("volume.beta.kubernetes.io/storage-class")) != NULL)
        return NULL;
    struct str name = default_class(adm, "storage.k8s.io", "storageclasses", annotations);
    if (name.len != 0) {
        c->spec.storage_class_name = name;
        c->spec.has_storage_class_name = true;
    }
    return NULL;
}

static struct meta_v1_status *set_ingress_class(const struct admission *adm)
{
    static const char *const annotations[] = {"ingressclass.kubernetes.io/is-default-class", NULL};
    if (!admission_is(adm, "networking.k8s.io", "ingresses"))
        return NULL;
    struct networking_v1_ingress *i = adm->obj;
    if (i->spec.has_ingress_class_name ||
        api_str_map_get(i->metadata.annotations, i->metadata.annotations_count,
                        STR("kubernetes.io/ingress.class")) != NULL)
        return NULL;
    struct str name = default_class(adm, "networking.k8s.io", "ingressclasses", annotations);
    if (name.len != 0) {
        i->spec.ingress_class_name = name;
        i->spec.has_ingress_class_name = true;
    }
    return NULL;
}

const struct admission_plugin admission_default_storage_class = {
    .name = "DefaultStorageClass", .ops = ADMIT_BIT(ADMIT_CREATE), .mutate = set_storage_class};
const struct admission_plugin admission_default_ingress_class = {
    .name = "DefaultIngressClass", .ops = ADMIT_BIT(ADMIT_CREATE), .mutate = set_ingress_class};
