/* claims.h - persistent volumes and claims: what the binder, the scheduler and
 * the node agent must read alike. Pure. Rules and texts are upstream's. */
#ifndef CLIENT_CLAIMS_H
#define CLIENT_CLAIMS_H

#include "lib/base/str.h"

#include <stdbool.h>

struct api_object;
struct arena;
struct core_v1_node;
struct core_v1_persistent_volume;
struct core_v1_persistent_volume_claim;
struct core_v1_persistent_volume_spec;
struct core_v1_pod;
struct core_v1_volume;
struct meta_v1_object_meta;
struct quantity;
struct storage_v1_storage_class;

#define ANNOTATION_BIND_COMPLETED "pv.kubernetes.io/bind-completed"
#define ANNOTATION_BOUND_BY_CONTROLLER "pv.kubernetes.io/bound-by-controller"
#define ANNOTATION_PROVISIONED_BY "pv.kubernetes.io/provisioned-by"
#define ANNOTATION_STORAGE_PROVISIONER "volume.kubernetes.io/storage-provisioner"
#define ANNOTATION_STORAGE_PROVISIONER_BETA "volume.beta.kubernetes.io/storage-provisioner"
#define ANNOTATION_SELECTED_NODE "volume.kubernetes.io/selected-node"
#define NO_PROVISIONER "kubernetes.io/no-provisioner"
#define ACCESS_ONE_POD "ReadWriteOncePod"

/* The class by field or old annotation; empty: none. */
struct str claim_class(const struct core_v1_persistent_volume_claim *c);
struct str volume_class(const struct core_v1_persistent_volume *v);
/* Neither a class nor the wish for none is written in it. */
bool claim_wants_default_class(const struct core_v1_persistent_volume_claim *c);
/* volumeBindingMode is WaitForFirstConsumer. */
bool class_waits_for_consumer(const struct storage_v1_storage_class *s);
bool class_is_default(const struct storage_v1_storage_class *s);
bool claim_is_block(const struct core_v1_persistent_volume_claim *c);
bool volume_is_block(const struct core_v1_persistent_volume *v);

struct quantity claim_request(const struct core_v1_persistent_volume_claim *c);
struct quantity volume_capacity(const struct core_v1_persistent_volume *v);

/* The volume's claimRef names this claim: with its uid, or not yet with one. */
bool volume_is_of_claim(const struct core_v1_persistent_volume *v,
                        const struct core_v1_persistent_volume_claim *c);
/* Has all access modes of the claim. */
bool volume_has_modes(const struct core_v1_persistent_volume *v, const struct str *modes,
                      size_t count);
/* Why the volume does not do for the claim; NULL: it does. */
const char *volume_mismatch(const struct core_v1_persistent_volume *v,
                            const struct core_v1_persistent_volume_claim *c);
bool volume_reaches_node(const struct core_v1_persistent_volume *v,
                         const struct core_v1_node *node);

/* How to choose a volume for a claim. */
struct volume_choice {
    /* The volumes: iteration as of informer_next(). */
    struct api_object *(*next)(void *arg, size_t *pos);
    void *arg;
    /* The scheduler's way: reachable from this node. NULL: the binder's. */
    const struct core_v1_node *node;
    /* Without node: only what is reserved for the claim. */
    bool wait;
    /* Volumes not to be taken; NULL: none. */
    bool (*taken)(void *arg, const struct core_v1_persistent_volume *v);
};
/* The one reserved for the claim, else the smallest that does, of those the one
 * with the fewest access modes. NULL: none; also when the reserved one cannot
 * be reached from the node. */
const struct core_v1_persistent_volume *
volume_choose(const struct volume_choice *how, const struct core_v1_persistent_volume_claim *c);

/* The name of the claim behind a volume of the pod; empty: there is none. */
struct str pod_claim_name(struct arena *a, const struct core_v1_pod *pod,
                          const struct core_v1_volume *v);
/* A claim made for a generic ephemeral volume belongs to that pod only. NULL, or what is wrong
 * with it. */
const char *ephemeral_claim_mismatch(struct arena *a, const struct core_v1_pod *pod,
                                     const struct core_v1_volume *v,
                                     const struct core_v1_persistent_volume_claim *c);

/* The name of the VolumeAttachment of a CSI volume on a node. */
struct str attachment_name(struct arena *a, struct str handle, struct str driver, struct str node);
/* "kubernetes.io/csi/<driver>^<handle>": how node.status names a volume. */
struct str csi_unique_name(struct arena *a, struct str handle, struct str driver);

/* Sets or, with value STR_NULL, removes an annotation; the array is made anew. */
void annotation_put(struct arena *a, struct meta_v1_object_meta *m, const char *key,
                    struct str value);
bool finalizer_has(const struct meta_v1_object_meta *m, const char *name);
void finalizer_drop(struct arena *a, struct meta_v1_object_meta *m, const char *name);

#endif
