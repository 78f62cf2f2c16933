/* kv.c - versions, how they are laid out, and counted references to them; batches of
 * events. */
#include "raftstore/kv.h"

#include "lib/base/base.h"
#include "raftstore/kv_heap.h"

#include <stdatomic.h>

/* --- numbers: four varints, or none where they are those of most versions --- */

#define NUMBERS_MAX 35 /* Three of ten bytes, one of five. */

static char *put_number(char *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (char)(v | 0x80);
        v >>= 7;
    }
    *p++ = (char)v;
    return p;
}

static uint64_t get_number(const char **p)
{
    uint64_t v = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = (uint8_t) * (*p)++;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return v;
    }
}

/* Revisions are kept as distances, negative numbers wrap: any value is kept. */
static size_t encode_numbers(const struct kv_numbers *n, char *out)
{
    bool live = n->version != 0;
    if (n->create_rev == (live ? n->mod_rev : 0) && n->version == live && n->lease == 0 &&
        n->sub == 0)
        return 0;
    char *p = put_number(out, (uint64_t)n->mod_rev - (uint64_t)n->create_rev);
    p = put_number(p, (uint64_t)n->version);
    p = put_number(p, (uint64_t)n->lease);
    p = put_number(p, n->sub);
    return (size_t)(p - out);
}

struct kv_numbers kv_stored_numbers(const struct kv *kv)
{
    struct kv_numbers n = {.mod_rev = kv->mod_rev};
    const char *p = kv->bytes;
    n.create_rev = (int64_t)((uint64_t)kv->mod_rev - get_number(&p));
    n.version = (int64_t)get_number(&p);
    n.lease = (int64_t)get_number(&p);
    n.sub = (uint32_t)get_number(&p);
    return n;
}

/* --- life --- */

static size_t kv_size(const struct kv *kv)
{
    size_t n = offsetof(struct kv, bytes) + kv->numbers_len + kv->key_len + 1 + kv->value_len + 1;
    return MAX_OF(n, sizeof(*kv));
}

size_t kv_bytes(const struct kv *kv)
{
    return kv_heap_round(kv_size(kv));
}

static struct kv *allocate(struct kv_heap *heap, size_t size)
{
    struct kv *kv = heap != NULL ? kv_heap_alloc(heap, kv_heap_round(size)) : NULL;
    bool in_heap = kv != NULL;
    if (!in_heap)
        kv = xmalloc(size);
    kv->in_heap = in_heap;
    return kv;
}

struct kv *kv_new(struct kv_heap *heap, struct str key, struct str value,
                  const struct kv_numbers *n)
{
    char numbers[NUMBERS_MAX];
    ASSERT(key.len <= KV_KEY_MAX && value.len <= UINT32_MAX);
    struct kv head = {.value_len = (uint32_t)value.len,
                      .mod_rev = n->mod_rev,
                      .key_len = (uint32_t)key.len & 0x1ffff,
                      .numbers_len = encode_numbers(n, numbers) & 0x3f,
                      .live = n->version != 0};
    /* Those under a lease are held by it too, and go with it: they cannot be moved. */
    struct kv *kv = allocate(n->lease == 0 ? heap : NULL, kv_size(&head));
    head.in_heap = kv->in_heap;
    memcpy(kv, &head, offsetof(struct kv, bytes));
    atomic_init(&kv->refs, 1);
    memcpy(kv->bytes, numbers, head.numbers_len);
    char *k = kv->bytes + head.numbers_len, *v = k + key.len + 1;
    if (key.len > 0)
        memcpy(k, key.data, key.len);
    k[key.len] = '\0';
    if (value.data != NULL)
        memcpy(v, value.data, value.len);
    v[value.len] = '\0';
    return kv;
}

struct kv *kv_copy(struct kv_heap *heap, const struct kv *kv)
{
    struct kv *copy = allocate(heap, kv_size(kv));
    bool in_heap = copy->in_heap;
    copy->value_len = kv->value_len;
    copy->mod_rev = kv->mod_rev;
    copy->key_len = kv->key_len;
    copy->numbers_len = kv->numbers_len;
    copy->live = kv->live;
    copy->in_heap = in_heap;
    atomic_init(&copy->refs, 1);
    memcpy(copy->bytes, kv->bytes, kv_size(kv) - offsetof(struct kv, bytes));
    return copy;
}

struct kv *kv_ref(const struct kv *kv)
{
    struct kv *mutable = (struct kv *)(uintptr_t)kv;
    atomic_fetch_add_explicit(&mutable->refs, 1, memory_order_relaxed);
    return mutable;
}

static void (*_Atomic gone_hook)(const struct kv *kv);

void kv_on_gone(void (*hook)(const struct kv *kv))
{
    atomic_store_explicit(&gone_hook, hook, memory_order_release);
}

void kv_unref(const struct kv *kv)
{
    if (kv == NULL)
        return;
    struct kv *mutable = (struct kv *)(uintptr_t)kv;
    if (atomic_fetch_sub_explicit(&mutable->refs, 1, memory_order_acq_rel) != 1)
        return;
    void (*hook)(const struct kv *) = atomic_load_explicit(&gone_hook, memory_order_acquire);
    if (hook != NULL)
        hook(kv);
    if (mutable->in_heap)
        kv_heap_release(mutable, kv_bytes(mutable));
    else
        free(mutable);
}

struct event_batch *event_batch_new(int64_t rev, uint32_t count)
{
    struct event_batch *b = xzalloc(sizeof(*b) + count * sizeof(b->events[0]));
    *b = (struct event_batch){.rev = rev, .count = count, .events = (struct event *)(b + 1)};
    return b;
}

void event_batch_free(struct event_batch *b)
{
    if (b == NULL)
        return;
    events_unref(b->events, b->count);
    free(b);
}

void events_unref(const struct event *events, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        kv_unref(events[i].kv);
        kv_unref(events[i].prev);
    }
}
