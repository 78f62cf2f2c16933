/* kms.h - one KMS v2 plugin: a process beside us that wraps keys, asked over gRPC
 * on a unix socket.
 *
 * A thread asks for its status, and has a seed of ours wrapped whenever its key
 * is another one; each object is encrypted under a key of its own derived from
 * the seed. While the plugin does not answer, writes go on for three minutes and
 * reads for as long as the seeds they need are known. A seed that is not known
 * yet is unwrapped when it is first needed: the caller waits, for the provider's
 * timeout at most. Any thread. */
#ifndef APISERVER_KMS_H
#define APISERVER_KMS_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct buf;
struct error;
struct kms;

/* Copied. socket: "unix:PATH". */
struct kms *kms_new(struct str name, struct str socket, uint64_t timeout_ms);
/* Begins to ask, and waits for the first answer or its failure. */
void kms_start(struct kms *k);
void kms_free(struct kms *k); /* NULL is a no-op. */

/* Appends an EncryptedObject. Fails without a seed that the plugin vouches for. */
int kms_seal(struct kms *k, struct str text, struct str bound, struct buf *out, struct error *err);
/* Appends the text. *ret_current: it would be written under the same key. */
int kms_open(struct kms *k, struct str object, struct str bound, struct buf *out, bool *ret_current,
             struct error *err);
/* What the last question of the plugin's status came to. */
int kms_health(struct kms *k, struct error *err);

#endif
