/* json_cache.c - see json_cache.h. A hash table in shards, each with a lock and a
 * list from what was used last to what was not used for longest. */
#include "apiserver/json_cache.h"

#include "lib/base/base.h"
#include "lib/base/buf.h"
#include "lib/base/list.h"
#include "lib/base/map.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

#define SHARDS 16u
#define BUCKETS_FIRST 64u

struct entry {
    struct list link;   /* In the shard's list. */
    struct entry *next; /* In its bucket. */
    const struct api_kind *kind;
    uint64_t hash;
    int64_t rev;
    unsigned used; /* The sweep after which it was asked for last. */
    uint32_t len;
    char text[];
};

struct shard {
    pthread_mutex_t lock;
    struct list entries;
    struct entry **buckets;
    size_t bucket_count, count, bytes;
};

struct json_cache {
    size_t shard_bytes;
    uint64_t seed[2];
    atomic_uint sweeps;
    struct shard shards[SHARDS];
};

static size_t bytes_of(const struct entry *e)
{
    return sizeof(*e) + e->len;
}

struct json_cache *json_cache_new(size_t bytes_max)
{
    struct json_cache *c = xzalloc(sizeof(*c));
    c->shard_bytes = bytes_max / SHARDS;
    /* Keys come from outside. */
    if (getrandom(c->seed, sizeof(c->seed), 0) != (ssize_t)sizeof(c->seed))
        PANIC("no random numbers");
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&c->shards[i].lock, NULL);
        list_init(&c->shards[i].entries);
    }
    return c;
}

/* The revision is unique to a transaction, and the hash, whose seed nobody knows, tells
 * the keys of one transaction apart. */
static uint64_t hash_of(const struct json_cache *c, struct str key, int64_t rev)
{
    return base_siphash(c->seed, key.data, key.len) ^ (uint64_t)rev * UINT64_C(0x9e3779b97f4a7c15);
}

static struct shard *shard_of(struct json_cache *c, uint64_t hash)
{
    return &c->shards[hash % SHARDS];
}

static struct entry **bucket_of(const struct shard *s, uint64_t hash)
{
    return &s->buckets[(hash / SHARDS) & (s->bucket_count - 1)];
}

static struct entry *find(const struct shard *s, const struct api_kind *kind, uint64_t hash,
                          int64_t rev)
{
    if (s->bucket_count == 0)
        return NULL;
    for (struct entry *e = *bucket_of(s, hash); e != NULL; e = e->next)
        if (e->hash == hash && e->rev == rev && e->kind == kind)
            return e;
    return NULL;
}

static void drop(struct shard *s, struct entry *e)
{
    struct entry **at = bucket_of(s, e->hash);
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    list_remove(&e->link);
    s->count--;
    s->bytes -= bytes_of(e);
    free(e);
}

static void set_buckets(struct shard *s, size_t count)
{
    struct entry **old = s->buckets;
    size_t old_count = s->bucket_count;
    s->buckets = count != 0 ? xzalloc(count * sizeof(struct entry *)) : NULL;
    s->bucket_count = count;
    for (size_t i = 0; i < old_count; i++)
        for (struct entry *e = old[i], *next; e != NULL; e = next) {
            struct entry **to = bucket_of(s, e->hash);
            next = e->next;
            e->next = *to;
            *to = e;
        }
    free(old);
}

/* Room for so many bytes, at the cost of what was not asked for since the sweep before last. */
static bool make_room(struct json_cache *c, struct shard *s, size_t bytes, unsigned now)
{
    while (s->bytes + bytes > c->shard_bytes) {
        if (list_empty(&s->entries))
            return false;
        struct entry *last = LIST_ENTRY(s->entries.prev, struct entry, link);
        if (now - last->used < 2)
            return false;
        drop(s, last);
    }
    return true;
}

bool json_cache_append(struct json_cache *c, const struct api_kind *kind, struct str key,
                       int64_t rev, struct buf *out)
{
    uint64_t hash = hash_of(c, key, rev);
    struct shard *s = shard_of(c, hash);
    pthread_mutex_lock(&s->lock);
    struct entry *e = find(s, kind, hash, rev);
    if (e != NULL) {
        unsigned now = atomic_load_explicit(&c->sweeps, memory_order_relaxed);
        if (e->used != now) {
            e->used = now;
            list_remove(&e->link);
            list_push_front(&s->entries, &e->link);
        }
        buf_append(out, e->text, e->len);
    }
    pthread_mutex_unlock(&s->lock);
    return e != NULL;
}

void json_cache_put(struct json_cache *c, const struct api_kind *kind, struct str key, int64_t rev,
                    struct str text)
{
    uint64_t hash = hash_of(c, key, rev);
    struct shard *s = shard_of(c, hash);
    unsigned now = atomic_load_explicit(&c->sweeps, memory_order_relaxed);
    if (text.len > UINT32_MAX)
        return;
    pthread_mutex_lock(&s->lock);
    if (find(s, kind, hash, rev) == NULL && make_room(c, s, sizeof(struct entry) + text.len, now)) {
        struct entry *e = xmalloc(sizeof(*e) + text.len);
        *e = (struct entry){
            .kind = kind, .hash = hash, .rev = rev, .used = now, .len = (uint32_t)text.len};
        memcpy(e->text, text.data, text.len);
        if (s->count >= s->bucket_count)
            set_buckets(s, s->bucket_count != 0 ? s->bucket_count * 2 : BUCKETS_FIRST);
        struct entry **to = bucket_of(s, hash);
        e->next = *to;
        *to = e;
        list_push_front(&s->entries, &e->link);
        s->count++;
        s->bytes += bytes_of(e);
    }
    pthread_mutex_unlock(&s->lock);
}

void json_cache_sweep(struct json_cache *c)
{
    unsigned now = atomic_fetch_add(&c->sweeps, 1) + 1;
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *s = &c->shards[i];
        pthread_mutex_lock(&s->lock);
        while (!list_empty(&s->entries)) {
            struct entry *last = LIST_ENTRY(s->entries.prev, struct entry, link);
            if (now - last->used <= JSON_CACHE_IDLE_SWEEPS)
                break;
            drop(s, last);
        }
        if (s->count == 0 && s->bucket_count != 0)
            set_buckets(s, 0);
        pthread_mutex_unlock(&s->lock);
    }
}

size_t json_cache_bytes(struct json_cache *c)
{
    size_t bytes = 0;
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&c->shards[i].lock);
        bytes += c->shards[i].bytes;
        pthread_mutex_unlock(&c->shards[i].lock);
    }
    return bytes;
}

void json_cache_free(struct json_cache *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        while (!list_empty(&c->shards[i].entries))
            drop(&c->shards[i], LIST_ENTRY(c->shards[i].entries.next, struct entry, link));
        free(c->shards[i].buckets);
        pthread_mutex_destroy(&c->shards[i].lock);
    }
    free(c);
}
