/* kv.c - counted references to versions and event batches. */
#include "raftstore/kv.h"

#include "lib/base/base.h"

#include <stdatomic.h>

struct kv *kv_new(struct str key, struct str value)
{
    ASSERT(key.len <= KV_KEY_MAX);
    struct kv *kv = xmalloc(sizeof(*kv) + key.len + 1 + value.len + 1);
    char *k = (char *)(kv + 1);
    char *v = k + key.len + 1;
    if (key.len > 0)
        memcpy(k, key.data, key.len);
    k[key.len] = '\0';
    if (value.data != NULL)
        memcpy(v, value.data, value.len);
    v[value.len] = '\0';
    *kv = (struct kv){.refs = 1, .key = str_n(k, key.len), .value = str_n(v, value.len)};
    return kv;
}

struct kv *kv_ref(const struct kv *kv)
{
    struct kv *mutable = (struct kv *)(uintptr_t)kv;
    atomic_fetch_add_explicit(&mutable->refs, 1, memory_order_relaxed);
    return mutable;
}

void kv_unref(const struct kv *kv)
{
    if (kv == NULL)
        return;
    struct kv *mutable = (struct kv *)(uintptr_t)kv;
    if (atomic_fetch_sub_explicit(&mutable->refs, 1, memory_order_acq_rel) == 1)
        free(mutable);
}

size_t kv_bytes(const struct kv *kv)
{
    return alloc_bytes(sizeof(*kv) + kv->key.len + kv->value.len + 2);
}

struct event_batch *event_batch_new(int64_t rev, uint32_t count)
{
    struct event_batch *b = xzalloc(sizeof(*b) + count * sizeof(b->events[0]));
    b->refs = 1;
    b->rev = rev;
    b->count = count;
    return b;
}

size_t event_batch_bytes(const struct event_batch *b)
{
    size_t n = alloc_bytes(sizeof(*b) + b->count * sizeof(b->events[0]));
    for (uint32_t i = 0; i < b->count; i++)
        n += kv_bytes(b->events[i].kv);
    return n;
}

struct event_batch *event_batch_ref(const struct event_batch *b)
{
    struct event_batch *mutable = (struct event_batch *)(uintptr_t)b;
    atomic_fetch_add_explicit(&mutable->refs, 1, memory_order_relaxed);
    return mutable;
}

void event_batch_unref(const struct event_batch *b)
{
    if (b == NULL)
        return;
    struct event_batch *mutable = (struct event_batch *)(uintptr_t)b;
    if (atomic_fetch_sub_explicit(&mutable->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < mutable->count; i++) {
        kv_unref(mutable->events[i].kv);
        kv_unref(mutable->events[i].prev);
    }
    free(mutable);
}
