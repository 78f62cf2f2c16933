/* kv_heap.c - regions of versions.
 *
 * A region begins at a multiple of its size, so that a version leads to it. `held`
 * counts the bytes of the versions alive in it, and PIN for whoever else needs it
 * mapped: the heap as long as it is open, the owner while it empties it. Who takes
 * the last of that away gives the region up, on whatever thread that is; the lock
 * is taken there and by the owner about once per region.
 *
 * A region that was retired may still be held by a few versions that an event, a
 * view or a result keeps. Of those regions only the pages that hold such versions
 * are kept; it is never walked again, since the headers in between are gone.
 *
 * With the address sanitizer, what is released is poisoned, and so are eight bytes
 * behind each version; only the walk over a region looks at released ones. */
#include "raftstore/kv_heap.h"

#include "lib/base/base.h"
#include "lib/base/list.h"
#include "raftstore/kv.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define WATCHED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WATCHED 1
#endif
#endif

#ifdef WATCHED
#include <sanitizer/asan_interface.h>
#define FENCE 8
#define SPARE_MAX 0 /* So that an address is not used again soon. */
#else
#define ASAN_POISON_MEMORY_REGION(p, n) (UNUSED(p), UNUSED(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) (UNUSED(p), UNUSED(n))
#define FENCE 0
#define SPARE_MAX 4
#endif

#define PIN (1u << 24)
#define SPARSE(held) ((held) < KV_REGION_BYTES / 4 * 3)
#define SHARED_MAX (KV_REGION_BYTES / 8)
#define LOOKED_AT_MAX 8              /* Regions per kv_heap_pick(): walked perhaps. */
#define LOST_MIN (UINT64_C(2) << 20) /* Less room lost is not worth a pass. */

struct kv_region {
    _Atomic uint32_t held;
    uint32_t used; /* Bytes from the region's start on; stays once it is closed. */
    bool retired;  /* Owner. */
    bool dropped;  /* Owner: its unused pages were given back. */
    struct kv_heap *heap;
    struct list link; /* Locked. */
};
static_assert(sizeof(struct kv_region) % 8 == 0, "the first version is aligned");
static_assert(KV_REGION_BYTES < PIN, "bytes and pins are told apart");

struct kv_heap {
    struct kv_region *open; /* Owner; NULL: none. */
    _Atomic uint64_t live;
    void *hint;         /* Owner: where the next region would fit well. */
    uint64_t pass_left; /* Owner: regions to look at; 0: no pass. */
    uint64_t calm;      /* Owner: room lost at the end of the last pass. */

    pthread_mutex_t lock; /* Guards what follows. */
    struct list regions;  /* But the open one. */
    uint64_t region_count;
    struct kv_region *spare[SPARE_MAX + 1];
    unsigned spare_count;
    bool ended; /* The owner gave it up. */
};

/* --- regions from the system --- */

static void *map_pages(void *hint, size_t size)
{
    void *p = mmap(hint, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        PANIC("no memory for %zu bytes of versions", size);
    return p;
}

/* At a multiple of the size; mostly next to the last one, so that the system has few
 * ranges to keep. */
static void *map_region(void *hint)
{
    size_t size = KV_REGION_BYTES;
    char *p = map_pages(hint, size);
    if ((uintptr_t)p % size == 0)
        return p;
    munmap(p, size);
    p = map_pages(NULL, 2 * size);
    size_t before = (size - (uintptr_t)p % size) % size;
    if (before > 0)
        munmap(p, before);
    munmap(p + before + size, size - before);
    return p + before;
}

static void unmap_region(void *r)
{
    ASAN_UNPOISON_MEMORY_REGION(r, KV_REGION_BYTES);
    munmap(r, KV_REGION_BYTES);
}

static void heap_destroy(struct kv_heap *h)
{
    for (unsigned i = 0; i < h->spare_count; i++)
        unmap_region(h->spare[i]);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

/* Nothing in it is held any more. */
static void region_end(struct kv_region *r)
{
    struct kv_heap *h = r->heap;
    pthread_mutex_lock(&h->lock);
    list_remove(&r->link);
    h->region_count--;
    bool last = h->ended && h->region_count == 0;
    bool keep = !h->ended && !r->dropped && h->spare_count + 1 <= SPARE_MAX;
    if (keep)
        h->spare[h->spare_count++] = r;
    pthread_mutex_unlock(&h->lock);
    if (!keep)
        unmap_region(r);
    if (last)
        heap_destroy(h);
}

static void region_put(struct kv_region *r, uint32_t n)
{
    if (atomic_fetch_sub_explicit(&r->held, n, memory_order_acq_rel) == n)
        region_end(r);
}

static void region_open(struct kv_heap *h)
{
    pthread_mutex_lock(&h->lock);
    struct kv_region *r = h->spare_count > 0 ? h->spare[--h->spare_count] : NULL;
    h->region_count++;
    pthread_mutex_unlock(&h->lock);
    if (r == NULL)
        r = map_region(h->hint);
    h->hint = (char *)r - KV_REGION_BYTES;
    *r = (struct kv_region){.held = PIN, .used = sizeof(*r), .heap = h};
    list_init(&r->link);
    ASAN_POISON_MEMORY_REGION(r + 1, KV_REGION_BYTES - sizeof(*r));
    h->open = r;
}

static void region_close(struct kv_heap *h)
{
    struct kv_region *r = take(h->open);
    pthread_mutex_lock(&h->lock);
    list_push_back(&h->regions, &r->link);
    pthread_mutex_unlock(&h->lock);
    region_put(r, PIN);
}

/* --- the heap --- */

struct kv_heap *kv_heap_new(void)
{
    struct kv_heap *h = xzalloc(sizeof(*h));
    pthread_mutex_init(&h->lock, NULL);
    list_init(&h->regions);
    return h;
}

void kv_heap_free(struct kv_heap *h)
{
    if (h == NULL)
        return;
    if (h->open != NULL)
        region_close(h);
    pthread_mutex_lock(&h->lock);
    h->ended = true;
    bool last = h->region_count == 0;
    pthread_mutex_unlock(&h->lock);
    if (last)
        heap_destroy(h);
}

void *kv_heap_alloc(struct kv_heap *h, size_t size)
{
    if (size > KV_HEAP_BYTES_MAX)
        return NULL;
    if (h->open != NULL && h->open->used + size + FENCE > KV_REGION_BYTES)
        region_close(h);
    if (h->open == NULL)
        region_open(h);
    struct kv_region *r = h->open;
    void *p = (char *)r + r->used;
    ASAN_UNPOISON_MEMORY_REGION(p, size);
    r->used += (uint32_t)size + FENCE;
    atomic_fetch_add_explicit(&r->held, (uint32_t)size, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->live, size, memory_order_relaxed);
    return p;
}

static struct kv_region *region_of(const void *p)
{
    return (struct kv_region *)((uintptr_t)p & ~(uintptr_t)(KV_REGION_BYTES - 1));
}

void kv_heap_release(void *p, size_t size)
{
    struct kv_region *r = region_of(p);
    atomic_fetch_sub_explicit(&r->heap->live, size, memory_order_relaxed);
    ASAN_POISON_MEMORY_REGION(p, size);
    region_put(r, (uint32_t)size);
}

void kv_heap_stats(struct kv_heap *h, struct kv_heap_stats *ret)
{
    pthread_mutex_lock(&h->lock);
    ret->regions = h->region_count;
    pthread_mutex_unlock(&h->lock);
    ret->bytes = ret->regions * KV_REGION_BYTES;
    ret->live = atomic_load_explicit(&h->live, memory_order_relaxed);
}

/* --- the walk over a region --- */

/* Released versions are poisoned, their headers still there. */
#ifdef WATCHED
__attribute__((no_sanitize("address"), noinline))
#endif
static uint32_t
peek(const struct kv *kv, size_t *ret_size)
{
    size_t bytes =
        offsetof(struct kv, bytes) + kv->numbers_len + kv->key_len + 1 + (size_t)kv->value_len + 1;
    *ret_size = kv_heap_round(MAX_OF(bytes, sizeof(*kv)));
    return __atomic_load_n((const uint32_t *)&kv->refs, __ATOMIC_ACQUIRE);
}

static const struct kv *region_next(const struct kv_region *r, size_t *at, uint32_t *ret_refs,
                                    size_t *ret_size)
{
    if (*at == 0)
        *at = sizeof(*r);
    while (*at < r->used) {
        const struct kv *kv = (const struct kv *)((const char *)r + *at);
        *ret_refs = peek(kv, ret_size);
        *at += *ret_size + FENCE;
        if (*ret_refs > 0)
            return kv;
    }
    return NULL;
}

const struct kv *kv_region_next(const struct kv_region *r, size_t *at)
{
    uint32_t refs;
    size_t size;
    for (;;) {
        struct kv *kv = (struct kv *)(uintptr_t)region_next(r, at, &refs, &size);
        if (kv == NULL)
            return NULL;
        /* Another thread may be about to release the last one. */
        while (refs > 0 &&
               !atomic_compare_exchange_weak_explicit(&kv->refs, &refs, refs + 1,
                                                      memory_order_acquire, memory_order_relaxed))
            continue;
        if (refs > 0)
            return kv;
    }
}

/* --- emptying --- */

static uint64_t room_lost(struct kv_heap *h, uint64_t *ret_live)
{
    struct kv_heap_stats s;
    kv_heap_stats(h, &s);
    *ret_live = s.live;
    return s.bytes > s.live ? s.bytes - s.live : 0;
}

bool kv_heap_sparse(struct kv_heap *h)
{
    uint64_t live, lost = room_lost(h, &live);
    if (h->pass_left > 0)
        return true;
    h->calm = MIN_OF(h->calm, lost);
    if (lost < LOST_MIN + live / 8 || lost < h->calm + live / 16)
        return false;
    /* Twice: the second time for what is left of those emptied the first time. */
    h->pass_left = 2 * (lost + live) / KV_REGION_BYTES;
    return true;
}

void kv_heap_look_again(struct kv_heap *h)
{
    h->calm = 0;
}

/* Copies of versions that others hold as well would come on top. */
static bool mostly_ours(const struct kv_region *r)
{
    size_t at = 0, size, shared = 0;
    uint32_t refs;
    while (region_next(r, &at, &refs, &size) != NULL)
        shared += refs > 1 ? size : 0;
    return shared <= SHARED_MAX;
}

static void drop_pages(char *r, size_t from, size_t to)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    from = (from + page - 1) / page * page;
    to = to / page * page;
    if (from < to)
        madvise(r + from, to - from, MADV_DONTNEED);
}

/* Gives back the pages between the versions that are left. */
static void region_drop(struct kv_region *r)
{
    size_t at = 0, size, kept = sizeof(*r);
    uint32_t refs;
    const struct kv *kv;
    r->dropped = true;
    while ((kv = region_next(r, &at, &refs, &size)) != NULL) {
        drop_pages((char *)r, kept, at - size - FENCE);
        kept = at;
    }
    drop_pages((char *)r, kept, KV_REGION_BYTES);
}

/* The first of the list, moved to its end and pinned; NULL: it is about to go. */
static struct kv_region *next_region(struct kv_heap *h)
{
    struct kv_region *r = NULL;
    pthread_mutex_lock(&h->lock);
    if (!list_empty(&h->regions)) {
        r = LIST_ENTRY(h->regions.next, struct kv_region, link);
        list_remove(&r->link);
        list_push_back(&h->regions, &r->link);
        uint32_t held = atomic_load_explicit(&r->held, memory_order_relaxed);
        while (held > 0 &&
               !atomic_compare_exchange_weak_explicit(&r->held, &held, held + PIN,
                                                      memory_order_acquire, memory_order_relaxed))
            continue;
        r = held > 0 ? r : NULL;
    }
    pthread_mutex_unlock(&h->lock);
    return r;
}

struct kv_region *kv_heap_pick(struct kv_heap *h, bool *ret_more)
{
    for (unsigned n = 0; n < LOOKED_AT_MAX && h->pass_left > 0; n++, h->pass_left--) {
        struct kv_region *r = next_region(h);
        if (r == NULL)
            continue;
        uint32_t held = atomic_load_explicit(&r->held, memory_order_relaxed) - PIN;
        if (!r->retired && SPARSE(held) && mostly_ours(r)) {
            h->pass_left--;
            *ret_more = true;
            return r;
        }
        if (r->retired && !r->dropped)
            region_drop(r);
        region_put(r, PIN);
    }
    *ret_more = h->pass_left > 0;
    if (h->pass_left == 0) {
        uint64_t live;
        h->calm = room_lost(h, &live);
    }
    return NULL;
}

void kv_region_retire(struct kv_region *r)
{
    r->retired = true;
    region_put(r, PIN);
}
