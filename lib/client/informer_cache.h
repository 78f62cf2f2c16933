/* informer_cache.h - the pure part of an informer: objects by key, indexes, and
 * what a new state or event changes. Changes come out through a callback, after
 * the cache has taken them over. */
#ifndef CLIENT_INFORMER_CACHE_H
#define CLIENT_INFORMER_CACHE_H

#include "lib/base/map.h"
#include "lib/client/informer.h"
#include "lib/client/informer_hot.h"

enum informer_change {
    INFORMER_ADD,
    INFORMER_UPDATE,
    INFORMER_DELETE,         /* Seen to go. */
    INFORMER_DELETE_UNKNOWN, /* Found gone. */
};

struct informer_cache {
    struct map objects; /* key -> struct api_object, one reference each. */
    struct informer_index indexes[INFORMER_INDEXES_MAX];
    struct map filed[INFORMER_INDEXES_MAX]; /* index key -> struct informer_bucket */
    unsigned index_count;
    struct map incoming;      /* A new state being read: key -> object. */
    struct informer_hot *hot; /* NULL: objects are never packed. */
    /* old: the state before, NULL for an add; o: the new one, NULL for deletes. Borrowed. */
    void (*on_change)(enum informer_change change, struct api_object *old, struct api_object *o,
                      void *arg);
    void *arg;
};

void informer_cache_init(struct informer_cache *c, const struct informer_index *indexes,
                         void (*on_change)(enum informer_change, struct api_object *,
                                           struct api_object *, void *),
                         void *arg);
void informer_cache_done(struct informer_cache *c);

/* Both take over the reference. An object of another uid under the same key is
 * a delete (unknown) and an add. An unchanged version is no change. */
void informer_cache_put(struct informer_cache *c, struct api_object *o);
void informer_cache_delete(struct informer_cache *c, struct api_object *last_state);

/* A complete new state: begin, add each object, remove what went meanwhile
 * (both take over the reference), then commit, which works out and reports the
 * differences; or abandon. */
void informer_cache_replace_begin(struct informer_cache *c);
void informer_cache_replace_add(struct informer_cache *c, struct api_object *o);
void informer_cache_replace_remove(struct informer_cache *c, struct api_object *o);
void informer_cache_replace_commit(struct informer_cache *c);
void informer_cache_replace_abandon(struct informer_cache *c);

/* Objects that nobody looks at are packed from now on. on_crowded: cool is to be
 * called soon, from where no borrowed object is in use. Before anything is cached. The packer
 * is owned from now on; NULL: one that compresses. */
void informer_cache_pack(struct informer_cache *c, struct api_packer *packer,
                         void (*on_crowded)(void *arg), void *arg);
/* Packs what is too much, a slice of it (informer_hot.h). */
enum hot_state informer_cache_cool(struct informer_cache *c);

struct api_object *informer_cache_get(const struct informer_cache *c, struct str key);
struct api_object *informer_cache_next(const struct informer_cache *c, size_t *pos);
/* index key -> struct informer_bucket */
const struct map *informer_cache_index(const struct informer_cache *c, const char *index);
size_t informer_cache_index_count(const struct informer_cache *c, const char *index,
                                  struct str key);
struct informer_walk informer_cache_walk(const struct informer_cache *c, const char *index,
                                         struct str key);
struct api_object *const *informer_cache_by_index(const struct informer_cache *c, const char *index,
                                                  struct str key, size_t *ret_count);

#endif
