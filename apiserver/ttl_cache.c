/* ttl_cache.c - see ttl_cache.h. */
#include "apiserver/ttl_cache.h"

#include "lib/base/arena.h"
#include "lib/base/list.h"
#include "lib/base/map.h"

#include <pthread.h>

struct entry {
    struct list link;      /* The one used last at the end. */
    struct str key, value; /* Behind the struct. */
    uint64_t until_ms;
};

struct ttl_cache {
    pthread_mutex_t lock;
    struct map map;
    struct list order;
    size_t count_max;
};

struct ttl_cache *ttl_cache_new(size_t count_max)
{
    struct ttl_cache *c = xzalloc(sizeof(*c));
    pthread_mutex_init(&c->lock, NULL);
    map_init(&c->map);
    list_init(&c->order);
    c->count_max = count_max;
    return c;
}

static void drop(struct ttl_cache *c, struct entry *e)
{
    map_remove(&c->map, e->key);
    list_remove(&e->link);
    free(e);
}

static struct entry *oldest(struct ttl_cache *c)
{
    return CONTAINER_OF(c->order.next, struct entry, link);
}

void ttl_cache_free(struct ttl_cache *c)
{
    if (c == NULL)
        return;
    while (!list_empty(&c->order))
        drop(c, oldest(c));
    map_done(&c->map);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

bool ttl_cache_get(struct ttl_cache *c, struct arena *a, struct str key, uint64_t now_ms,
                   struct str *ret)
{
    pthread_mutex_lock(&c->lock);
    struct entry *e = map_get(&c->map, key);
    bool found = e != NULL && e->until_ms > now_ms;
    if (found) {
        *ret = arena_str(a, e->value);
        list_remove(&e->link);
        list_push_back(&c->order, &e->link);
    } else if (e != NULL) {
        drop(c, e);
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

void ttl_cache_set(struct ttl_cache *c, struct str key, struct str value, uint64_t until_ms)
{
    struct entry *e = xzalloc(sizeof(*e) + key.len + value.len + 1);
    char *text = (char *)(e + 1);
    memcpy(text, str_c(key), key.len);
    memcpy(text + key.len, str_c(value), value.len);
    e->key = str_n(text, key.len);
    e->value = str_n(text + key.len, value.len);
    e->until_ms = until_ms;
    pthread_mutex_lock(&c->lock);
    struct entry *old = map_get(&c->map, key);
    if (old != NULL)
        drop(c, old);
    else if (c->map.count >= c->count_max)
        drop(c, oldest(c));
    map_set(&c->map, e->key, e);
    list_push_back(&c->order, &e->link);
    pthread_mutex_unlock(&c->lock);
}

size_t ttl_cache_count(struct ttl_cache *c)
{
    pthread_mutex_lock(&c->lock);
    size_t n = c->map.count;
    pthread_mutex_unlock(&c->lock);
    return n;
}
