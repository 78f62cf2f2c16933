/* encryption.h - objects encrypted in the store, as --encryption-provider-config
 * says: a file that names for resources how they are written and read.
 *
 *   k8s:enc:PROVIDER:v1:KEY:bytes
 *
 * is what stands in the store, in its log and its snapshots; upstream reads it,
 * and we read upstream's. Objects are opened when they are first looked at, and
 * stay so beside the stored ones, as long as these. Any thread. */
#ifndef APISERVER_ENCRYPTION_H
#define APISERVER_ENCRYPTION_H

#include "lib/base/base.h"
#include "raftstore/kv.h"

#include <stdatomic.h>

struct arena;
struct encryption;
struct error;

/* An EncryptionConfiguration of apiserver.config.k8s.io/v1. E_INVALID. */
int encryption_parse(struct str text, struct encryption **ret, struct error *err);
void encryption_free(struct encryption *e); /* NULL is a no-op. */
/* Before it is used: KMS providers begin to be asked; waits for their first answers. */
void encryption_start(struct encryption *e);
/* e counts from now on; it is taken over. NULL: nothing is encrypted any more. */
void encryption_use(struct encryption *e);

/* What is written for value; in a, or value itself. An error: it must not be written. */
int encryption_seal(struct arena *a, struct str key, struct str value, struct str *ret,
                    struct error *err);
/* The health of the KMS providers in use; *ret_any: are there any? */
int encryption_health(bool *ret_any, struct error *err);

#define ENCRYPTION_PREFIX "k8s:enc:"
static inline bool encryption_is_sealed(struct str value)
{
    return value.len >= sizeof(ENCRYPTION_PREFIX) - 1 &&
           memcmp(value.data, ENCRYPTION_PREFIX, sizeof(ENCRYPTION_PREFIX) - 1) == 0;
}
/* E_INTERNAL when value is sealed still: it could not be opened. */
int encryption_check(struct str value, struct error *err);

/* What is plain is refused for some resources: identity is not among their providers. */
extern atomic_bool encryption_plain_refused;
struct str encryption_open(const struct kv *kv);
/* The object as it was written, valid as long as kv; as it stands when it cannot be opened. */
static inline struct str stored_value(const struct kv *kv)
{
    struct str v = kv_value(kv);
    return encryption_is_sealed(v) ||
                   atomic_load_explicit(&encryption_plain_refused, memory_order_relaxed)
               ? encryption_open(kv)
               : v;
}
/* It would be written in another way now. */
bool encryption_is_stale(const struct kv *kv);
/* Objects that are held opened. */
size_t encryption_open_count(void);

#endif
