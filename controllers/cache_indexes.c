/* cache_indexes.c - see cache_indexes.h. */
#include "controllers/cache_indexes.h"

#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "controllers/resourceclaim_plan.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/client/claims.h"
#include "lib/client/informer.h"

void pod_index_resource_claim(const struct api_object *o, void (*emit)(void *ctx, struct str key),
                              void *ctx)
{
    const struct core_v1_pod *p = o->msg;
    if (p->spec.resource_claims_count == 0)
        return;
    AUTO_ARENA *a = arena_new(512);
    for (size_t i = 0; i < p->spec.resource_claims_count; i++) {
        struct str name;
        bool made;
        if (pod_resource_claim(p, &p->spec.resource_claims[i], &name, &made) == CLAIM_NAMED)
            emit(ctx, informer_key_of(a, p->metadata.namespace, name));
    }
}

static bool has_claims(const struct core_v1_pod *p)
{
    for (size_t i = 0; i < p->spec.volumes_count; i++)
        if (p->spec.volumes[i].volume_source.persistent_volume_claim != NULL ||
            p->spec.volumes[i].volume_source.ephemeral != NULL)
            return true;
    return false;
}

void pod_index_volume_claim(const struct api_object *o, void (*emit)(void *ctx, struct str key),
                            void *ctx)
{
    const struct core_v1_pod *p = o->msg;
    if (!has_claims(p))
        return;
    AUTO_ARENA *a = arena_new(512);
    for (size_t i = 0; i < p->spec.volumes_count; i++) {
        struct str name = pod_claim_name(a, p, &p->spec.volumes[i]);
        if (!str_empty(name))
            emit(ctx, informer_key_of(a, p->metadata.namespace, name));
    }
}

void pod_index_claims_on_node(const struct api_object *o, void (*emit)(void *ctx, struct str key),
                              void *ctx)
{
    const struct core_v1_pod *p = o->msg;
    if (!str_empty(p->spec.node_name) && has_claims(p))
        emit(ctx, p->spec.node_name);
}

void attachment_index_node(const struct api_object *o, void (*emit)(void *ctx, struct str key),
                           void *ctx)
{
    emit(ctx, ((const struct storage_v1_volume_attachment *)o->msg)->spec.node_name);
}
