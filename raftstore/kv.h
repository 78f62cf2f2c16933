/* kv.h - keys, versions and events as the store hands them out.
 *
 * Everything here is immutable once made and reference-counted with atomic
 * counts, so any thread may hold it. Semantics are etcd v3's: one revision
 * counter for the whole store, create/mod revision and version per key. */
#ifndef RAFTSTORE_KV_H
#define RAFTSTORE_KV_H

#include "lib/base/str.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longer keys are refused. Bounds what one visit of a key can cost. */
#define KV_KEY_MAX (64u << 10)

struct kv_heap;

/* One version of one key, in a single allocation. Small, since a member keeps them
 * all: what most versions have alike is left out (see struct kv_numbers), lengths
 * take no more than they need. Read it through the functions below. */
struct kv {
    _Atomic uint32_t refs;
    uint32_t value_len;
    int64_t mod_rev;
    uint32_t key_len : 17;
    uint32_t numbers_len : 6; /* Bytes; 0: those of a key's first version, or all 0. */
    uint32_t live : 1;        /* No tombstone. */
    uint32_t in_heap : 1;     /* Else malloc'ed. */
    char bytes[];             /* Numbers, key, NUL, value, NUL. */
};
static_assert(offsetof(struct kv, bytes) == 20, "no room between header and bytes");
static_assert(KV_KEY_MAX < 1u << 17, "key_len must fit");

struct kv_numbers {
    int64_t mod_rev;
    int64_t create_rev;
    int64_t version; /* 1 for the first put; 0 marks a tombstone */
    int64_t lease;
    uint32_t sub; /* Position among the changes of its revision, from 0. */
};

/* A new version with one reference and copies of key and value. value.data NULL
 * leaves the value's bytes to the caller. In the heap, if one is given and the
 * version suits it: see kv_heap.h. Aborts when memory is gone: a member that cannot
 * apply what the others apply must not go on. */
struct kv *kv_new(struct kv_heap *heap, struct str key, struct str value,
                  const struct kv_numbers *n);
/* The same version once more, in the heap. */
struct kv *kv_copy(struct kv_heap *heap, const struct kv *kv);
struct kv *kv_ref(const struct kv *kv);
void kv_unref(const struct kv *kv); /* NULL is a no-op. */
/* hook is called for every version whose last reference goes, before it is freed, on
 * any thread. One for the whole program: who keeps things beside versions. */
void kv_on_gone(void (*hook)(const struct kv *kv));

static inline struct str kv_key(const struct kv *kv)
{
    return str_n(kv->bytes + kv->numbers_len, kv->key_len);
}
/* NUL-terminated beyond len, as the key is; empty for a tombstone. */
static inline struct str kv_value(const struct kv *kv)
{
    return str_n(kv->bytes + kv->numbers_len + kv->key_len + 1, kv->value_len);
}
static inline bool kv_live(const struct kv *kv)
{
    return kv->live;
}
struct kv_numbers kv_stored_numbers(const struct kv *kv); /* numbers_len is not 0. */
static inline struct kv_numbers kv_numbers(const struct kv *kv)
{
    if (kv->numbers_len != 0)
        return kv_stored_numbers(kv);
    return (struct kv_numbers){
        .mod_rev = kv->mod_rev, .create_rev = kv->live ? kv->mod_rev : 0, .version = kv->live};
}
static inline int64_t kv_create_rev(const struct kv *kv)
{
    return kv_numbers(kv).create_rev;
}
static inline int64_t kv_version(const struct kv *kv)
{
    return kv_numbers(kv).version;
}
static inline int64_t kv_lease(const struct kv *kv)
{
    return kv_numbers(kv).lease;
}
static inline uint32_t kv_sub(const struct kv *kv)
{
    return kv_numbers(kv).sub;
}

enum event_type { EVENT_PUT, EVENT_DELETE };

/* A change of one key. kv of a delete is a tombstone with mod_rev set. */
struct event {
    const struct kv *kv;
    const struct kv *prev; /* The version before, NULL if there was none. */
};
static inline enum event_type event_type(const struct event *e)
{
    return kv_live(e->kv) ? EVENT_PUT : EVENT_DELETE;
}

/* All changes of one transaction share one revision and stand together. */
struct event_batch {
    int64_t rev;
    uint32_t count;
    struct event *events; /* In the order of the transaction's operations. */
};

/* What malloc takes for n bytes: a word in front, the sum rounded up to 16. An
 * estimate that depends on n alone, the same on every member. */
static inline size_t alloc_bytes(size_t n)
{
    return (n + sizeof(size_t) + 15) & ~(size_t)15;
}
/* Memory that one version takes, for accounting: of its content alone. */
size_t kv_bytes(const struct kv *kv);

/* Room for count events, in one allocation with the batch, zeroed. */
struct event_batch *event_batch_new(int64_t rev, uint32_t count);
/* With its references. NULL is a no-op. */
void event_batch_free(struct event_batch *b);
void events_unref(const struct event *events, uint32_t count);

#endif
