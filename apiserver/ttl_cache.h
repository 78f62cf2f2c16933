/* ttl_cache.h - texts by keys, each for a while; when it is full the one that
 * was not looked at for longest goes. Any thread. */
#ifndef APISERVER_TTL_CACHE_H
#define APISERVER_TTL_CACHE_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct ttl_cache;

struct ttl_cache *ttl_cache_new(size_t count_max);
void ttl_cache_free(struct ttl_cache *c); /* NULL is a no-op. */
/* A copy in a; false: there is none any more. */
bool ttl_cache_get(struct ttl_cache *c, struct arena *a, struct str key, uint64_t now_ms,
                   struct str *ret);
void ttl_cache_set(struct ttl_cache *c, struct str key, struct str value, uint64_t until_ms);
size_t ttl_cache_count(struct ttl_cache *c);

#endif
