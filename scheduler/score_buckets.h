/* score_buckets.h - nodes by score: the best is found, and any node moved, at once.
 * Pure. */
#ifndef SCHEDULER_SCORE_BUCKETS_H
#define SCHEDULER_SCORE_BUCKETS_H

#include "lib/base/base.h"

struct score_bucket {
    uint32_t *nodes;
    size_t count, cap;
};

struct score_buckets {
    struct score_bucket *items; /* By score. */
    size_t count;
    size_t top;     /* No bucket above this has nodes. */
    size_t *places; /* By node: index in its bucket. */
    size_t nodes;   /* In all buckets. */
};

/* Scores are 0 .. score_max; node numbers are below node_count. */
void score_buckets_init(struct score_buckets *b, size_t score_max, size_t node_count);
void score_buckets_done(struct score_buckets *b); /* Of zeroed ones too. */
void score_buckets_add(struct score_buckets *b, uint32_t node, size_t score);
void score_buckets_remove(struct score_buckets *b, uint32_t node, size_t score);
/* The nodes with the highest score; NULL when there are none. */
const struct score_bucket *score_buckets_best(struct score_buckets *b);

#endif
