/* kv.h - keys, versions and events as the store hands them out.
 *
 * Everything here is immutable once made and reference-counted with atomic
 * counts, so any thread may hold it. Semantics are etcd v3's: one revision
 * counter for the whole store, create/mod revision and version per key. */
#ifndef RAFTSTORE_KV_H
#define RAFTSTORE_KV_H

#include "lib/base/str.h"

#include <stdint.h>

/* One version of one key, in a single allocation. */
struct kv {
    _Atomic uint32_t refs;
    int64_t create_rev;
    int64_t mod_rev;
    int64_t version; /* 1 for the first put; 0 marks a tombstone */
    int64_t lease;
    struct str key;
    struct str value; /* NUL-terminated beyond len; empty for a tombstone */
};

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

struct event_batch *event_batch_ref(const struct event_batch *b);
void event_batch_unref(const struct event_batch *b);

#endif
