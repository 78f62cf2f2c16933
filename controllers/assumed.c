/* assumed.c - see assumed.h. */
#include "controllers/assumed.h"

#include "api/meta_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/client/informer.h"

void assumed_init(struct assumed *s, const struct informer *cache)
{
    s->cache = cache;
    map_init(&s->newer);
}

void assumed_done(struct assumed *s)
{
    size_t pos = 0;
    void *o;
    while (map_next(&s->newer, &pos, NULL, &o))
        api_object_unref(o);
    map_done(&s->newer);
}

void assumed_put(struct assumed *s, struct api_object *o)
{
    AUTO_ARENA *a = arena_new(256);
    api_object_unref(map_set(&s->newer, informer_key(a, o), api_object_ref(o)));
}

static uint64_t version_of(const struct api_object *o)
{
    uint64_t rv = 0;
    str_to_u64(api_object_meta(o)->resource_version, &rv);
    return rv;
}

static struct api_object *newer(struct assumed *s, struct str key, struct api_object *cached)
{
    struct api_object *mine = map_get(&s->newer, key);
    if (mine == NULL)
        return cached;
    if (cached != NULL && version_of(cached) < version_of(mine) &&
        str_eq(api_object_meta(cached)->uid, api_object_meta(mine)->uid))
        return mine;
    api_object_unref(map_remove(&s->newer, key));
    return cached;
}

struct api_object *assumed_get(struct assumed *s, struct str key)
{
    return newer(s, key, informer_get_key(s->cache, key));
}

struct api_object *assumed_next(struct assumed *s, size_t *pos)
{
    struct api_object *o = informer_next(s->cache, pos);
    if (o == NULL || s->newer.count == 0)
        return o;
    AUTO_ARENA *a = arena_new(256);
    return newer(s, informer_key(a, o), o);
}
