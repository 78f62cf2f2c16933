/* kv_heap.h - where the versions of one tree lie: one behind the other, in regions.
 *
 * malloc takes 16 bytes more per version than it has, and what compaction frees
 * among versions that stay is lost until others of that size come. Here a version
 * takes its own length; a region is given back to the system as a whole, once the
 * last version in it goes. Regions with few versions left are emptied by moving
 * those (tree_tidy() puts copies into the tree), which is possible since what moves
 * is immutable and readers keep the old one as long as they look at it.
 *
 * One thread, the owner, allocates and tidies; [any] thread releases. Versions may
 * outlive the heap. Large ones, and those that are known to be held by more than
 * the tree, are malloc'ed instead.
 *
 *   alloc ... alloc | region full: closed ... release, release | empty: unmapped
 *                                  \- few left: pick, copies made, retire -/ */
#ifndef RAFTSTORE_KV_HEAP_H
#define RAFTSTORE_KV_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kv;
struct kv_heap;
struct kv_region;

#define KV_REGION_BYTES (256u << 10)
#define KV_HEAP_BYTES_MAX (KV_REGION_BYTES / 16) /* Larger ones are left to malloc. */

static inline size_t kv_heap_round(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

struct kv_heap *kv_heap_new(void);
/* What is alive stays so until it is released. NULL is a no-op. */
void kv_heap_free(struct kv_heap *h);

/* size is a kv_heap_round()ed one. NULL: too large. */
void *kv_heap_alloc(struct kv_heap *h, size_t size);
/* [any] p came from kv_heap_alloc() with that size. */
void kv_heap_release(void *p, size_t size);

struct kv_heap_stats {
    uint64_t bytes; /* Of regions. */
    uint64_t live;  /* Of versions in them. */
    uint64_t regions;
};
void kv_heap_stats(struct kv_heap *h, struct kv_heap_stats *ret); /* [any] */

/* --- emptying sparse regions --- */
/* There is so much room lost that a pass over the regions pays. Begins one. */
bool kv_heap_sparse(struct kv_heap *h);
/* Things changed that a finished pass could do nothing about: look again. */
void kv_heap_look_again(struct kv_heap *h);
/* The next region of the pass to be emptied, kept mapped until kv_region_retire().
 * NULL, *ret_more: not among those looked at now, call again; else the pass is over. */
struct kv_region *kv_heap_pick(struct kv_heap *h, bool *ret_more);
/* The next version in it that is alive, from *at (0 at first) on, with a reference;
 * NULL at the end. */
const struct kv *kv_region_next(const struct kv_region *r, size_t *at);
/* All that could be moved was. Goes as soon as what is left in it is released; until
 * then it keeps no more pages than that needs. */
void kv_region_retire(struct kv_region *r);

#endif
