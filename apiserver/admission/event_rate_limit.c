/* event_rate_limit.c - EventRateLimit: no more events than the configuration
 * allows, of the whole server, or for each namespace, user, or source and object. */
#include "api/core_v1.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/registry.h"
#include "apiserver/user.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/list.h"
#include "lib/base/map.h"

#include <pthread.h>

enum { LIMITS_MAX = 4, CACHE_DEFAULT = 4096, CACHE_MAX = 1 << 20, RETRY_S = 1 };
static const char *const type_names[] = {"Server", "Namespace", "User", "SourceAndObject"};

/* A bucket of one key. When there are as many as the cache holds, the one that
 * was used longest ago goes, and its key starts with a full one. */
struct bucket {
    struct list link;
    struct str key; /* Owned. */
    double tokens;
    int64_t at_ns;
};

struct limit {
    int type; /* In type_names. */
    double qps, burst;
    size_t size;
    struct map by_key;
    struct list recent; /* The one used last first. */
};

struct config {
    struct limit limits[LIMITS_MAX];
    size_t count;
    pthread_mutex_t *lock; /* Server threads share the buckets. */
};

static int read_limit(const struct json *j, struct limit *l, struct error *err)
{
    struct str type = json_get_str(j, "type");
    int64_t qps = json_get_int(j, "qps", 0), burst = json_get_int(j, "burst", 0),
            size = json_get_int(j, "cacheSize", 0);
    l->type = -1;
    for (size_t i = 0; i < ARRAY_SIZE(type_names); i++)
        if (str_eqc(type, type_names[i]))
            l->type = (int)i;
    if (l->type < 0)
        return error_set(err, E_INVALID, "type: Unsupported value: \"" STR_FMT "\"", STR_ARG(type));
    if (qps <= 0)
        return error_set(err, E_INVALID, "qps: must be positive");
    if (burst <= 0)
        return error_set(err, E_INVALID, "burst: must be positive");
    if (size < 0 || size > CACHE_MAX)
        return error_set(err, E_INVALID, "cacheSize: must be from 0 to %d", CACHE_MAX);
    l->qps = (double)qps;
    l->burst = (double)burst;
    l->size = l->type == 0 ? 1 : size != 0 ? (size_t)size : CACHE_DEFAULT;
    map_init(&l->by_key);
    list_init(&l->recent);
    return 0;
}

static void free_bucket(struct bucket *b)
{
    list_remove(&b->link);
    free((char *)(uintptr_t)b->key.data);
    free(b);
}

/* With the arena that the configuration is in. */
static void free_buckets(void *arg)
{
    struct config *c = arg;
    for (size_t i = 0; i < c->count; i++) {
        struct limit *l = &c->limits[i];
        while (!list_empty(&l->recent))
            free_bucket(LIST_ENTRY(l->recent.next, struct bucket, link));
        map_done(&l->by_key);
    }
    pthread_mutex_destroy(c->lock);
}

static int configure(struct arena *a, const struct json *j, const void **ret, struct error *err)
{
    struct config *c = ARENA_NEW(a, struct config);
    const struct json *list = json_getc(j, "limits");
    c->lock = ARENA_NEW(a, pthread_mutex_t);
    pthread_mutex_init(c->lock, NULL);
    arena_hold(a, c, free_buckets);
    *ret = c;
    if (j == NULL || list == NULL || list->type != JSON_ARRAY || list->array.count == 0)
        return error_set(err, E_INVALID, "limits: Invalid value: null: must not be empty");
    if (list->array.count > LIMITS_MAX)
        return error_set(err, E_INVALID, "limits: at most one of each type");
    for (; c->count < list->array.count; c->count++) {
        int code = read_limit(list->array.items[c->count], &c->limits[c->count], err);
        if (code != 0)
            return error_prefix(err, "limits[%zu]", c->count);
    }
    return 0;
}

static struct str key_of(const struct admission *adm, int type)
{
    const struct core_v1_event *e = adm->obj;
    const struct core_v1_object_reference *o = &e->involved_object;
    switch (type) {
    case 1:
        return adm->ctx->namespace_;
    case 2:
        return adm->ctx->user->name;
    case 3:
        return arena_printf(
            adm->ctx->arena, STR_FMT STR_FMT STR_FMT STR_FMT STR_FMT STR_FMT STR_FMT,
            STR_ARG(e->source.component), STR_ARG(e->source.host), STR_ARG(o->kind),
            STR_ARG(o->namespace), STR_ARG(o->name), STR_ARG(o->uid), STR_ARG(o->api_version));
    default:
        return STR("");
    }
}

static struct bucket *bucket_of(struct limit *l, struct str key, int64_t now_ns)
{
    struct bucket *b = map_get(&l->by_key, key);
    if (b != NULL) {
        list_remove(&b->link);
        list_push_front(&l->recent, &b->link);
        return b;
    }
    if (l->by_key.count == l->size) {
        b = LIST_ENTRY(l->recent.prev, struct bucket, link);
        map_remove(&l->by_key, b->key);
        free_bucket(b);
    }
    b = xzalloc(sizeof(*b));
    *b = (struct bucket){.key = {xstrndup(key.data != NULL ? key.data : "", key.len), key.len},
                         .tokens = l->burst,
                         .at_ns = now_ns};
    map_set(&l->by_key, b->key, b);
    list_push_front(&l->recent, &b->link);
    return b;
}

static bool take_token(struct limit *l, struct str key, int64_t now_ns)
{
    struct bucket *b = bucket_of(l, key, now_ns);
    b->tokens = MIN_OF(l->burst, b->tokens + (double)MAX_OF(now_ns - b->at_ns, 0) / 1e9 * l->qps);
    b->at_ns = now_ns;
    if (b->tokens < 1)
        return false;
    b->tokens -= 1;
    return true;
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    const struct config *c = adm->config;
    struct meta_v1_status *refused = NULL;
    if (c == NULL || adm->res->storage->msg != &core_v1_event_msg)
        return NULL;
    for (size_t i = 0; i < c->count; i++) {
        struct limit *l = (struct limit *)(uintptr_t)&c->limits[i];
        struct str key = key_of(adm, l->type);
        pthread_mutex_lock(c->lock);
        bool ok = take_token(l, key, adm->ctx->now_ns);
        pthread_mutex_unlock(c->lock);
        if (!ok)
            refused = status_too_many(adm->ctx->arena, RETRY_S,
                                      "limit reached on type %s for key " STR_FMT,
                                      type_names[l->type], STR_ARG(key));
    }
    return refused;
}

const struct admission_plugin admission_event_rate_limit = {.name = "EventRateLimit",
                                                            .off = true,
                                                            .ops = ADMIT_WRITES,
                                                            .validate = validate,
                                                            .configure = configure};
