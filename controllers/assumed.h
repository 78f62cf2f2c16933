/* assumed.h - what the API answered to our own writes, until the cache shows
 * it: so that a decision never rests on a state older than our last write. */
#ifndef CONTROLLERS_ASSUMED_H
#define CONTROLLERS_ASSUMED_H

#include "lib/base/map.h"

struct api_object;
struct informer;

struct assumed {
    struct map newer; /* "namespace/name" -> struct api_object, one reference. */
    const struct informer *cache;
};

void assumed_init(struct assumed *s, const struct informer *cache);
void assumed_done(struct assumed *s);
/* After an update (never a creation): keeps a reference. */
void assumed_put(struct assumed *s, struct api_object *o);
/* The newer of both; NULL when the cache has none. Borrowed until the loop runs on. */
struct api_object *assumed_get(struct assumed *s, struct str key);
/* Iteration over all, the newer of both; start with *pos = 0. */
struct api_object *assumed_next(struct assumed *s, size_t *pos);

#endif
