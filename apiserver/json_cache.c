/* json_cache.c - see json_cache.h. A hash table in shards, each with a lock and a
 * list from what was used last to what was not used for longest. */
#include "apiserver/json_cache.h"

#include "apiserver/encryption.h"
#include "lib/base/base.h"
#include "lib/base/buf.h"
#include "lib/base/list.h"
#include "lib/base/map.h"
#include "raftstore/kv.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

#define SHARDS 16u
#define BUCKETS_FIRST 64u
#define RUN_SHIFT 60u /* One key in sixteen begins a run. */

/* --- runs ------------------------------------------------------------------------------------ */

static size_t parent_len(struct str key)
{
    size_t n = key.len;
    while (n > 0 && key.data[n - 1] != '/')
        n--;
    return n;
}

/* Of the name's end: where names differ. Someone who picks names can make runs longer, up to
 * JSON_RUN_MAX, or shorter, and the cache of his own objects less useful. */
static uint64_t tail_hash(struct str key)
{
    uint64_t tail = 0;
    size_t n = MIN_OF(key.len, sizeof(tail));
    memcpy(&tail, key.data + (key.len - n), n);
    return tail * UINT64_C(0x9e3779b97f4a7c15);
}

bool json_run_starts(struct str prev, struct str key)
{
    size_t n = parent_len(key);
    if (tail_hash(key) >> RUN_SHIFT == 0 || prev.len < n || memcmp(prev.data, key.data, n) != 0)
        return true;
    return memchr(prev.data + n, '/', prev.len - n) != NULL;
}

static bool same_version(const struct json_run_item *item, const struct kv *kv)
{
    return item->rev == kv->mod_rev && item->sub == kv_sub(kv);
}

size_t json_run_match(const struct json_run *run, const struct kv *const *objects, size_t count)
{
    if (count > run->count)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (!same_version(&run->items[i], objects[i]))
            return 0;
    return run->items[count - 1].end;
}

/* The text of one object, from run, whose objects up to *at were passed already. */
static struct str old_text(const struct json_run *run, uint32_t *at, const struct kv *kv)
{
    for (uint32_t i = *at; run != NULL && i < run->count; i++) {
        if (!same_version(&run->items[i], kv))
            continue;
        uint32_t from = i != 0 ? run->items[i - 1].end : 0;
        *at = i + 1;
        return str_n((const char *)run->text.data + from, run->items[i].end - from);
    }
    return STR_NULL;
}

static void run_free(struct net_bytes *b)
{
    free(CONTAINER_OF(b, struct json_run, text));
}

static struct json_run *make_run(const struct json_run_item *items, size_t count, struct str text)
{
    size_t head = sizeof(struct json_run) + count * sizeof(*items);
    struct json_run *run = xmalloc(head + text.len);
    struct json_run_item *to = (struct json_run_item *)(run + 1);
    if (count != 0)
        memcpy(to, items, count * sizeof(*items));
    memcpy((char *)run + head, text.data, text.len);
    net_bytes_init(&run->text, (char *)run + head, text.len, run_free);
    run->count = (uint32_t)count;
    run->items = to;
    return run;
}

int json_run_new(const struct json_run *old, const struct kv *const *objects, size_t count,
                 json_encode_fn encode, void *arg, struct json_run **ret, struct error *err)
{
    struct json_run_item items[JSON_RUN_MAX];
    AUTO_BUF text = BUF_INIT;
    uint32_t at = 0;
    ASSERT(count > 0 && count <= JSON_RUN_MAX);
    buf_reserve(&text, old != NULL ? old->text.len + 1024 : kv_value(objects[0]).len * 2 * count);
    for (size_t i = 0; i < count; i++) {
        struct str known = old_text(old, &at, objects[i]);
        if (known.len != 0) {
            buf_append_str(&text, known);
        } else {
            buf_putc(&text, ',');
            int code = encode(objects[i], &text, arg, err);
            if (code != 0)
                return code;
        }
        ASSERT(text.len <= UINT32_MAX);
        items[i] = (struct json_run_item){
            .rev = objects[i]->mod_rev, .sub = kv_sub(objects[i]), .end = (uint32_t)text.len};
    }
    *ret = make_run(items, count, buf_str(&text));
    return 0;
}

void json_run_unref(struct json_run *run)
{
    if (run != NULL)
        net_bytes_unref(&run->text);
}

/* --- the cache ------------------------------------------------------------------------------- */

struct entry {
    struct list link;   /* In the shard's list. */
    struct entry *next; /* In its bucket. */
    struct json_form form;
    uint64_t hash;
    unsigned used; /* The sweep after which it was asked for last. */
    struct json_run *run;
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

static size_t bytes_of(const struct json_run *run)
{
    return sizeof(struct entry) + sizeof(*run) + run->count * sizeof(struct json_run_item) +
           run->text.len;
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

static struct shard *shard_of(struct json_cache *c, uint64_t hash)
{
    return &c->shards[hash % SHARDS];
}

static struct entry **bucket_of(const struct shard *s, uint64_t hash)
{
    return &s->buckets[(hash / SHARDS) & (s->bucket_count - 1)];
}

/* The hash, whose seed nobody knows, stands for the key; versions are compared by whoever
 * gets the run. */
static struct entry *find(const struct shard *s, const struct json_form *form, uint64_t hash)
{
    if (s->bucket_count == 0)
        return NULL;
    for (struct entry *e = *bucket_of(s, hash); e != NULL; e = e->next)
        if (e->hash == hash && e->form.kind == form->kind && e->form.since_rev == form->since_rev &&
            e->form.use == form->use)
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
    s->bytes -= bytes_of(e->run);
    json_run_unref(e->run);
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

struct json_run *json_cache_get(struct json_cache *c, const struct json_form *form, struct str key)
{
    uint64_t hash = base_siphash(c->seed, key.data, key.len);
    struct shard *s = shard_of(c, hash);
    struct json_run *run = NULL;
    pthread_mutex_lock(&s->lock);
    struct entry *e = find(s, form, hash);
    if (e != NULL) {
        unsigned now = atomic_load_explicit(&c->sweeps, memory_order_relaxed);
        if (e->used != now) {
            e->used = now;
            list_remove(&e->link);
            list_push_front(&s->entries, &e->link);
        }
        run = e->run;
        net_bytes_ref(&run->text);
    }
    pthread_mutex_unlock(&s->lock);
    return run;
}

static void insert(struct shard *s, const struct json_form *form, uint64_t hash,
                   struct json_run *run, unsigned now)
{
    struct entry *e = xmalloc(sizeof(*e));
    *e = (struct entry){.form = *form, .hash = hash, .used = now, .run = run};
    net_bytes_ref(&run->text);
    if (s->count >= s->bucket_count)
        set_buckets(s, s->bucket_count != 0 ? s->bucket_count * 2 : BUCKETS_FIRST);
    struct entry **to = bucket_of(s, hash);
    e->next = *to;
    *to = e;
    list_push_front(&s->entries, &e->link);
    s->count++;
    s->bytes += bytes_of(run);
}

void json_cache_put(struct json_cache *c, const struct json_form *form, struct str key,
                    struct json_run *run)
{
    uint64_t hash = base_siphash(c->seed, key.data, key.len);
    struct shard *s = shard_of(c, hash);
    unsigned now = atomic_load_explicit(&c->sweeps, memory_order_relaxed);
    size_t bytes = bytes_of(run);
    pthread_mutex_lock(&s->lock);
    struct entry *e = find(s, form, hash);
    if (e != NULL)
        drop(s, e);
    if (make_room(c, s, bytes, now))
        insert(s, form, hash, run, now);
    pthread_mutex_unlock(&s->lock);
}

bool json_cache_get_text(struct json_cache *c, const struct json_form *form, struct str key,
                         struct buf *out)
{
    struct json_run *run = json_cache_get(c, form, key);
    if (run != NULL)
        buf_append_str(out, net_bytes_str(&run->text));
    json_run_unref(run);
    return run != NULL;
}

void json_cache_put_text(struct json_cache *c, const struct json_form *form, struct str key,
                         struct str text)
{
    struct json_run *run = make_run(NULL, 0, text);
    json_cache_put(c, form, key, run);
    json_run_unref(run);
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
