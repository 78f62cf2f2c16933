/* kv.h - keys, versions and events as the store hands them out.
 *
 * Everything here is immutable once made and reference-counted with atomic
 * counts, so any thread may hold it. Semantics are etcd v3's: one revision
 * counter for the whole store, create/mod revision and version per key. */
#ifndef RAFTSTORE_KV_H
#define RAFTSTORE_KV_H

#include "lib/base/str.h"

#include <stddef.h>
#include <stdint.h>

/* Longer keys are refused. Bounds what one visit of a key can cost. */
#define KV_KEY_MAX (64u << 10)

/* One version of one key, in a single allocation. */
struct kv {
    _Atomic uint32_t refs;
    uint32_t sub; /* Position among the changes of its revision, from 0. */
    int64_t create_rev;
    int64_t mod_rev;
    int64_t version; /* 1 for the first put; 0 marks a tombstone */
    int64_t lease;
    struct str key;
    struct str value; /* NUL-terminated beyond len; empty for a tombstone */
};

/* A new version with one reference and copies of key and value; the numbers are
 * the caller's to fill in before anybody else sees it. value.data NULL leaves
 * the value's bytes to the caller as well. Aborts when memory is gone: a member
 * that cannot apply what the others apply must not go on. */
struct kv *kv_new(struct str key, struct str value);
struct kv *kv_ref(const struct kv *kv);
void kv_unref(const struct kv *kv); /* NULL is a no-op. */

enum event_type { EVENT_PUT, EVENT_DELETE };

/* A change of one key. kv of a delete is a tombstone with mod_rev set. */
struct event {
    enum event_type type;
    const struct kv *kv;
    const struct kv *prev; /* The version before, NULL if there was none. */
};

/* All changes of one transaction share one revision and stand together. */
struct event_batch {
    _Atomic uint32_t refs;
    int64_t rev;
    uint32_t count;
    struct event events[]; /* In the order of the transaction's operations. */
};

/* What malloc takes for n bytes: a word in front, the sum rounded up to 16. An
 * estimate that depends on n alone, the same on every member. */
static inline size_t alloc_bytes(size_t n)
{
    return (n + sizeof(size_t) + 15) & ~(size_t)15;
}
/* Memory that one version takes, for accounting. Depends on the lengths alone. */
size_t kv_bytes(const struct kv *kv);

/* Room for count events, one reference, count set, the rest zeroed. */
struct event_batch *event_batch_new(int64_t rev, uint32_t count);
/* Memory of the batch with the versions it brings (not those before). */
size_t event_batch_bytes(const struct event_batch *b);
struct event_batch *event_batch_ref(const struct event_batch *b);
void event_batch_unref(const struct event_batch *b); /* NULL is a no-op. */

#endif
