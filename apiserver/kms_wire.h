/* kms_wire.h - the messages of a KMS v2 plugin (k8s.io/kms, package v2) and the
 * EncryptedObject that stands in the store behind "k8s:enc:kms:v2:NAME:". Pure;
 * everything read is bounded as upstream bounds it.
 *
 *   annotations: the entries of map<string, bytes> as they stand on the wire */
#ifndef APISERVER_KMS_WIRE_H
#define APISERVER_KMS_WIRE_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct buf;
struct error;

enum kms_source { KMS_AES_GCM_KEY, KMS_HKDF_SEED };

/* What a key is wrapped in: how it is stored, and what the plugin needs to unwrap it. */
struct kms_wrapped {
    enum kms_source type;
    struct str key_id, source;
    struct str *annotations;
    size_t annotation_count;
};

/* EncryptedObject. Reading: pieces of object; the list is in a. E_INVALID. */
int kms_object_read(struct arena *a, struct str object, struct kms_wrapped *ret,
                    struct str *ret_data, struct error *err);
void kms_object_write(const struct kms_wrapped *w, struct str data, struct buf *out);
/* The same bytes for what a plugin unwraps alike, whatever the order of its annotations. */
struct str kms_cache_key(struct arena *a, const struct kms_wrapped *w);

struct kms_status {
    struct str version, healthz, key_id;
};
int kms_status_read(struct str message, struct kms_status *ret, struct error *err);
void kms_encrypt_write(struct str plain, struct str uid, struct buf *out);
/* Of a seed. */
int kms_encrypt_read(struct arena *a, struct str message, struct kms_wrapped *ret,
                     struct error *err);
void kms_decrypt_write(const struct kms_wrapped *w, struct str uid, struct buf *out);
int kms_decrypt_read(struct str message, struct str *ret_plain, struct error *err);
int kms_check_key_id(struct str key_id, struct error *err);

#endif
