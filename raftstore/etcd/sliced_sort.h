/* sliced_sort.h - sorting a long list of versions in slices, so that no slice holds a
 * loop for more than a moment: runs of RUN are sorted, then merged, pass by pass. */
#ifndef RAFTSTORE_ETCD_SLICED_SORT_H
#define RAFTSTORE_ETCD_SLICED_SORT_H

#include "raftstore/txn.h"

struct sliced_sort {
    const struct kv **items, **spare; /* Owned by the caller, count entries each. */
    size_t count;
    enum sort_target target;
    bool descend;
    /* Progress. */
    size_t width;             /* Length of sorted runs; 0: they are being made. */
    size_t begin;             /* Of the pair of runs being merged. */
    size_t left, right, done; /* Positions in it; done counts from begin. */
};

void sliced_sort_init(struct sliced_sort *s, const struct kv **items, const struct kv **spare,
                      size_t count, enum sort_target target, bool descend);
/* About budget comparisons. True: call again. The result is in s->items, which may
 * have changed places with s->spare. */
bool sliced_sort_step(struct sliced_sort *s, size_t budget);

#endif
