/* image_gc.h - removes images that nothing uses, when the disk fills up.
 *
 * Above --image-gc-high-threshold percent the images unused for longest go
 * first, until --image-gc-low-threshold is reached. Those unused for longer than
 * --image-maximum-gc-age go anyway; that age is counted anew when the agent starts.
 * The sandbox's own image and pinned ones stay. */
#ifndef KUBELET_IMAGE_GC_H
#define KUBELET_IMAGE_GC_H

#include "lib/base/base.h"

struct image_gc;
struct kubelet;

struct image_gc *image_gc_start(struct kubelet *k);
/* Removes all that are unused (and not too young), whatever the disk's use is; done runs later. One
 * at a time. */
void image_gc_collect(struct image_gc *g, void (*done)(void *arg), void *arg);
void image_gc_stop(struct image_gc *g); /* NULL is a no-op. */

/* --- the pure part --- */
struct image_candidate {
    const char *id;
    int64_t size_bytes;
    uint64_t last_used_ms; /* When a container of it was last seen. */
    uint64_t first_seen_ms;
    bool keep; /* In use, pinned, or the sandbox's. */
};
/* Orders the candidates and returns how many from the front are to go to free
 * this much; those younger than min_age_ms stay. */
size_t image_gc_choose(struct image_candidate *list, size_t count, int64_t free_bytes,
                       uint64_t now_ms, uint64_t min_age_ms);
/* The same for those that nothing has used for max_age_ms, however much room there is. */
size_t image_gc_choose_old(struct image_candidate *list, size_t count, uint64_t now_ms,
                           uint64_t min_age_ms, uint64_t max_age_ms);

#endif
