/* informer_bucket.h - objects filed under one key of an index: an array without
 * order, in which a large one finds an object's place by a table. Pure. */
#ifndef CLIENT_INFORMER_BUCKET_H
#define CLIENT_INFORMER_BUCKET_H

#include "lib/base/base.h"

struct api_object;

struct informer_bucket {
    struct api_object **items; /* Borrowed from the cache. */
    uint32_t count, cap;
    uint32_t *places; /* Hash table: place of an item + 1; 0: free. NULL: the bucket is small. */
    uint32_t place_cap;
};

/* An object that is there already is not put twice. */
void informer_bucket_put(struct informer_bucket *b, struct api_object *o);
void informer_bucket_remove(struct informer_bucket *b, const struct api_object *o);
void informer_bucket_done(struct informer_bucket *b);

#endif
