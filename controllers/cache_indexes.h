/* cache_indexes.h - by what else the manager finds pods, and VolumeAttachments: few have any of
 * these, and whoever looks for them need not look at all others. For struct informer_index; pure.
 */
#ifndef CONTROLLERS_CACHE_INDEXES_H
#define CONTROLLERS_CACHE_INDEXES_H

#include "lib/base/str.h"

struct api_object;

/* "namespace/claim" of each ResourceClaim that a pod names or that was made for it. */
#define POD_INDEX_RESOURCE_CLAIM "resource claim"
void pod_index_resource_claim(const struct api_object *o, void (*emit)(void *ctx, struct str key),
                              void *ctx);
/* "namespace/claim" of each PersistentVolumeClaim, ephemeral ones included. */
#define POD_INDEX_VOLUME_CLAIM "volume claim"
void pod_index_volume_claim(const struct api_object *o, void (*emit)(void *ctx, struct str key),
                            void *ctx);
/* The node of a pod that has such claims. */
#define POD_INDEX_CLAIMS_ON_NODE "claims on node"
void pod_index_claims_on_node(const struct api_object *o, void (*emit)(void *ctx, struct str key),
                              void *ctx);

/* Of VolumeAttachments: their node. */
#define ATTACHMENT_INDEX_NODE "node"
void attachment_index_node(const struct api_object *o, void (*emit)(void *ctx, struct str key),
                           void *ctx);

#endif
