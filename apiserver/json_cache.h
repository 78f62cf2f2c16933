/* json_cache.h - the JSON of stored objects, made once for all who list them.
 *
 * One entry per version of an object, as an item of a list. Bounded: when it is
 * full, what was not asked for lately makes room, and nothing else does, so that
 * lists larger than the cache still find a part of it. Entries that nobody asks
 * for go after a minute.
 *
 * Thread-safe; a call takes one of several locks for the time of a copy. */
#ifndef APISERVER_JSON_CACHE_H
#define APISERVER_JSON_CACHE_H

#include "lib/base/str.h"

#include <stdbool.h>

struct api_kind;
struct buf;
struct json_cache;

#define JSON_CACHE_SWEEP_MS 5000u /* How often json_cache_sweep() is to be called. */
#define JSON_CACHE_IDLE_SWEEPS 12u

struct json_cache *json_cache_new(size_t bytes_max);
void json_cache_free(struct json_cache *c); /* NULL is a no-op. */

/* Appends the text of the version rev of the object under key, served as kind.
 * False: not known. */
bool json_cache_append(struct json_cache *c, const struct api_kind *kind, struct str key,
                       int64_t rev, struct buf *out);
/* Copies text, if there is room. */
void json_cache_put(struct json_cache *c, const struct api_kind *kind, struct str key, int64_t rev,
                    struct str text);
/* Drops what was not asked for in the last JSON_CACHE_IDLE_SWEEPS sweeps. */
void json_cache_sweep(struct json_cache *c);
size_t json_cache_bytes(struct json_cache *c);

#endif
