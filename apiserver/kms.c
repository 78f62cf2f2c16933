/* kms.c - see kms.h. Intervals and texts are upstream's. */
#include "apiserver/kms.h"

#include "apiserver/kms_wire.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/list.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/metrics.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc.h"
#include "lib/net/http_client.h"
#include "lib/net/pki.h"
#include "lib/net/seal.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#define HEALTHY_MS 20000u /* Until the status is asked for again, */
#define FAILING_MS 3000u  /* and while it is not good. */
#define WRITE_MS 180000u  /* How long a seed is written with after the last good status. */
#define DOWN_MS 1000u     /* Nobody waits for a plugin that did not answer just now. */
#define SEED_BYTES 32u
#define INFO_BYTES 32u
#define MESSAGE_MAX (64u << 10)
#define SERVICE "/v2.KeyManagementService/"

/* A key that has been unwrapped. */
struct dek {
    enum kms_source type;
    size_t len;
    uint8_t key[];
};

/* Somebody waits for a key; on his stack. */
struct question {
    struct list link;
    const struct kms_wrapped *wrapped;
    struct str cache_key;
    bool done;
    int code;
    struct error err;
};

struct kms {
    char *name, *socket;
    uint64_t timeout_ms;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* Of all that follows, but what is the thread's own. */
    pthread_cond_t news;  /* For the thread: a question, or the end. */
    pthread_cond_t told;  /* An answer, or the first status. */
    bool closing, asked_once;
    struct list questions;
    uint64_t down_until_ms;
    struct map deks; /* By cache key. */
    /* What is written with. */
    struct arena *arena; /* NULL: there has been no seed yet. */
    struct kms_wrapped wrapped;
    const struct dek *seed;
    uint64_t expires_ms;
    int health_code;
    struct error health;
    /* The thread's own. */
    struct http_sync *sync;
    char *version; /* Of the first good status. */
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* "sha256:..." of an id, as it is shown. */
static const char *id_hash(struct arena *a, struct str id)
{
    uint8_t sum[32];
    char text[65];
    if (id.len == 0)
        return "";
    net_sha256(id.data, id.len, sum);
    hex_encode_to(sum, sizeof(sum), text);
    text[64] = '\0';
    return str_c(arena_printf(a, "sha256:%s", text));
}

/* --- metrics --------------------------------------------------------------------------------- */
static void count_id(const struct kms *k, const char *way, struct str id)
{
    static const char *const labels[] = {"key_id_hash", "provider_name", "transformation_type",
                                         NULL};
    AUTO_ARENA *a = arena_new(0);
    metric_inc(METRIC_OF(
        metric_counter(metrics_default(), "apiserver_envelope_encryption_key_id_hash_total",
                       "Objects written and read, by the key of the plugin.", labels),
        str_of(id_hash(a, id)), str_of(k->name), str_of(way)));
}

static void observe(const struct kms *k, const char *method, enum grpc_status status,
                    uint64_t took_ms)
{
    static const char *const labels[] = {"grpc_status_code", "method_name", "provider_name", NULL};
    static const double bounds[] = {0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                    0.5,   1,     2.5,   5,    10,    30,   60};
    AUTO_ARENA *a = arena_new(0);
    metric_observe(
        METRIC_OF(metric_histogram(metrics_default(),
                                   "apiserver_envelope_encryption_kms_operations_latency_seconds",
                                   "Time that the plugin takes to answer.", labels, bounds,
                                   ARRAY_SIZE(bounds)),
                  str_of(grpc_status_text(status)), arena_printf(a, SERVICE "%s", method),
                  str_of(k->name)),
        (double)took_ms / 1000);
}

static void count_invalid(const struct kms *k, const char *why)
{
    static const char *const labels[] = {"error", "provider_name", NULL};
    metric_inc(
        METRIC_OF(metric_counter(metrics_default(),
                                 "apiserver_envelope_encryption_invalid_key_id_from_status_total",
                                 "Key ids of the plugin's status that are none.", labels),
                  str_of(why), str_of(k->name)));
}

/* --- asking: on the thread, without the lock ---------------------------------------------------
 */
static int call(struct kms *k, struct arena *a, const char *method, struct buf *request,
                struct str *ret, struct error *err)
{
    const char *endpoints[] = {k->socket};
    struct http_client_config c = {
        .endpoints = endpoints, .endpoint_count = 1, .protocol = HTTP_CLIENT_H2};
    struct net_bytes *answer = NULL;
    enum grpc_status status = GRPC_UNAVAILABLE;
    uint64_t begun = now_ms();
    int code = k->sync == NULL ? http_sync_new(&c, &k->sync, err) : 0;
    if (code != 0)
        return code;
    struct net_bytes *b = net_bytes_copy(request->data, request->len);
    struct grpc_call_config g = {.method = str_c(arena_printf(a, SERVICE "%s", method)),
                                 .request = b,
                                 .timeout_ms = k->timeout_ms,
                                 .message_max = MESSAGE_MAX};
    code = grpc_sync_call(k->sync, &g, &answer, &status, err);
    net_bytes_unref(b);
    if (request->len != 0)
        OPENSSL_cleanse(request->data, request->len);
    observe(k, method, code == 0 ? GRPC_OK : status, now_ms() - begun);
    if (code != 0) {
        http_sync_free(k->sync); /* The next one begins afresh. */
        k->sync = NULL;
        return code;
    }
    *ret = arena_str(a, str_n((const char *)answer->data, answer->len));
    net_bytes_unref(answer);
    return 0;
}

static struct str new_uid(struct arena *a)
{
    uint8_t r[16];
    char hex[33];
    if (RAND_bytes(r, sizeof(r)) != 1)
        PANIC("no random bytes");
    hex_encode_to(r, sizeof(r), hex);
    return arena_printf(a, "%.8s-%.4s-4%.3s-a%.3s-%.12s", hex, hex + 8, hex + 13, hex + 17,
                        hex + 20);
}

static struct dek *dek_new(enum kms_source type, struct str key)
{
    struct dek *d = xmalloc(sizeof(*d) + key.len);
    d->type = type;
    d->len = key.len;
    memcpy(d->key, str_c(key), key.len);
    return d;
}

static int unwrap(struct kms *k, const struct question *q, struct dek **ret, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    struct str message, plain;
    kms_decrypt_write(q->wrapped, new_uid(a), &b);
    int code = call(k, a, "Decrypt", &b, &message, err);
    if (code == 0)
        code = kms_decrypt_read(message, &plain, err);
    if (code == 0 && (q->wrapped->type == KMS_HKDF_SEED ? plain.len < SEED_BYTES
                                                        : !seal_key_fits(SEAL_AES_GCM, plain.len)))
        code =
            error_set(err, E_INVALID, "invalid seed length %zu used for key generation", plain.len);
    if (code != 0)
        return error_prefix(err, "failed to decrypt DEK, error");
    *ret = dek_new(q->wrapped->type, plain);
    OPENSSL_cleanse((char *)(uintptr_t)message.data, message.len);
    return 0;
}

static void keep_dek(struct kms *k, struct str cache_key, struct dek *d)
{
    if (map_get(&k->deks, cache_key) != NULL) {
        OPENSSL_cleanse(d->key, d->len);
        free(d);
        return;
    }
    map_set(&k->deks, cache_key, d);
}

/* With the lock. */
static void answer(struct kms *k, struct question *q)
{
    struct dek *d = NULL;
    if (map_get(&k->deks, q->cache_key) == NULL) {
        pthread_mutex_unlock(&k->lock);
        q->code = unwrap(k, q, &d, &q->err);
        pthread_mutex_lock(&k->lock);
        if (q->code == E_UNAVAILABLE || q->code == E_TIMEOUT || q->code == E_CLOSED)
            k->down_until_ms = now_ms() + DOWN_MS;
        if (d != NULL)
            keep_dek(k, q->cache_key, d);
    }
    q->done = true;
    pthread_cond_broadcast(&k->told);
}

/* A new seed under the plugin's key. */
static int rotate(struct kms *k, struct str key_id, uint64_t expires_ms, struct error *err)
{
    struct arena *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    uint8_t seed[SEED_BYTES];
    struct str message;
    struct kms_wrapped w;
    if (RAND_bytes(seed, sizeof(seed)) != 1)
        PANIC("no random bytes");
    kms_encrypt_write(str_n((const char *)seed, sizeof(seed)), new_uid(a), &b);
    int code = call(k, a, "Encrypt", &b, &message, err);
    if (code == 0)
        code = kms_encrypt_read(a, message, &w, err);
    if (code == 0 && !str_eq(w.key_id, key_id))
        code = error_set(err, E_INVALID, "its status names the key %s, Encrypt used %s",
                         id_hash(a, key_id), id_hash(a, w.key_id));
    if (code != 0) {
        error_prefix(err, "failed to rotate DEK");
        arena_free(a);
    } else {
        struct str cache_key = kms_cache_key(a, &w);
        struct dek *d = dek_new(KMS_HKDF_SEED, str_n((const char *)seed, sizeof(seed)));
        pthread_mutex_lock(&k->lock);
        keep_dek(k, cache_key, d);
        if (k->arena != NULL)
            arena_free(k->arena);
        k->arena = a;
        k->wrapped = w;
        k->seed = map_get(&k->deks, cache_key);
        k->expires_ms = expires_ms;
        pthread_mutex_unlock(&k->lock);
        log_info("KMS provider %s: a new seed under the key %s", k->name, id_hash(a, w.key_id));
    }
    OPENSSL_cleanse(seed, sizeof(seed));
    return code;
}

static int judge(struct kms *k, const struct kms_status *s, uint64_t expires_ms, struct error *err)
{
    struct error why = {0};
    if (kms_check_key_id(s->key_id, &why) != 0) {
        count_invalid(k, s->key_id.len == 0 ? "empty" : "too_long");
        return error_set(err, E_INVALID, "got invalid KMSv2 KeyID hash: %s", error_message(&why));
    }
    if (!str_eqc(s->healthz, "ok"))
        return error_set(err, E_INVALID, "got unexpected healthz status: " STR_FMT,
                         STR_ARG(s->healthz));
    if (!str_eqc(s->version, "v2") && !str_eqc(s->version, "v2beta1"))
        return error_set(err, E_INVALID, "expected KMSv2 API version v2, got " STR_FMT,
                         STR_ARG(s->version));
    if (k->version == NULL)
        k->version = xstrndup(s->version.data, s->version.len);
    if (!str_eqc(s->version, k->version))
        return error_set(err, E_INVALID,
                         "KMSv2 API version should not change after the initial status response "
                         "version %s, got " STR_FMT,
                         k->version, STR_ARG(s->version));
    pthread_mutex_lock(&k->lock);
    bool same = k->arena != NULL && str_eq(k->wrapped.key_id, s->key_id);
    if (same)
        k->expires_ms = expires_ms;
    pthread_mutex_unlock(&k->lock);
    return same ? 0 : rotate(k, s->key_id, expires_ms, err);
}

static int look(struct kms *k, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    struct str message;
    struct kms_status s;
    uint64_t expires_ms = now_ms() + WRITE_MS;
    int code = call(k, a, "Status", &b, &message, err);
    if (code == 0)
        code = kms_status_read(message, &s, err);
    if (code != 0)
        return error_prefix(err,
                            "failed to perform status section of the healthz check for KMS "
                            "Provider %s, error",
                            k->name);
    code = judge(k, &s, expires_ms, err);
    return code == 0 ? 0 : error_prefix(err, "kmsv2 Provider %s is not healthy, error", k->name);
}

static void *thread_main(void *arg)
{
    struct kms *k = arg;
    uint64_t next_ms = 0;
    pthread_mutex_lock(&k->lock);
    while (!k->closing) {
        struct list *l = list_pop_front(&k->questions);
        uint64_t now = now_ms();
        if (l != NULL) {
            answer(k, LIST_ENTRY(l, struct question, link));
        } else if (now >= next_ms) {
            struct error err = {0};
            pthread_mutex_unlock(&k->lock);
            int code = look(k, &err);
            pthread_mutex_lock(&k->lock);
            if (code != 0 && k->health_code == 0)
                log_error("%s", error_message(&err));
            else if (code == 0 && k->health_code != 0 && k->asked_once)
                log_info("KMS provider %s is well", k->name);
            k->health_code = code;
            k->health = err;
            k->asked_once = true;
            next_ms = now_ms() + (code == 0 ? HEALTHY_MS : FAILING_MS);
            pthread_cond_broadcast(&k->told);
        } else {
            struct timespec t;
            clock_gettime(CLOCK_MONOTONIC, &t);
            uint64_t ns = (uint64_t)t.tv_nsec + (next_ms - now) * 1000000;
            t.tv_sec += (time_t)(ns / 1000000000);
            t.tv_nsec = (long)(ns % 1000000000);
            pthread_cond_timedwait(&k->news, &k->lock, &t);
        }
    }
    for (struct list *l; (l = list_pop_front(&k->questions)) != NULL;) {
        struct question *q = LIST_ENTRY(l, struct question, link);
        q->code = error_set(&q->err, E_CLOSED, "the provider is being replaced");
        q->done = true;
    }
    pthread_cond_broadcast(&k->told);
    pthread_mutex_unlock(&k->lock);
    http_sync_free(k->sync);
    return NULL;
}

/* --- sealing --------------------------------------------------------------------------------- */
/* HKDF-Expand with SHA-256 of as many bytes as one block has. */
static void derive(const struct dek *seed, const uint8_t *info, uint8_t ret[32])
{
    uint8_t block[INFO_BYTES + 1];
    memcpy(block, info, INFO_BYTES);
    block[INFO_BYTES] = 1;
    net_hmac_sha256(str_n((const char *)seed->key, seed->len),
                    str_n((const char *)block, sizeof(block)), ret);
}

int kms_seal(struct kms *k, struct str text, struct str bound, struct buf *out, struct error *err)
{
    AUTO_BUF data = BUF_INIT;
    uint8_t key[32];
    AUTO_ARENA *a = arena_new(0);
    pthread_mutex_lock(&k->lock);
    int code = 0;
    if (k->arena == NULL)
        code = error_set(err, E_INTERNAL, "got unexpected nil transformer");
    else if (now_ms() > k->expires_ms)
        code = error_set(err, E_INTERNAL, "encryptedDEKSource with keyID hash \"%s\" expired",
                         id_hash(a, k->wrapped.key_id));
    if (code == 0) {
        uint8_t *info = buf_reserve(&data, INFO_BYTES);
        if (RAND_bytes(info, INFO_BYTES) != 1)
            PANIC("no random bytes");
        buf_commit(&data, INFO_BYTES);
        derive(k->seed, info, key);
        seal(SEAL_AES_GCM, str_n((const char *)key, sizeof(key)), text, bound, &data);
        kms_object_write(&k->wrapped, buf_str(&data), out);
        count_id(k, "to_storage", k->wrapped.key_id);
    }
    pthread_mutex_unlock(&k->lock);
    OPENSSL_cleanse(key, sizeof(key));
    return code;
}

/* With the lock; the key stays as long as the provider. */
static const struct dek *find_dek(struct kms *k, const struct kms_wrapped *w, struct str cache_key,
                                  struct error *err)
{
    const struct dek *d = map_get(&k->deks, cache_key);
    if (d != NULL)
        return d;
    if (!k->started || k->closing || now_ms() < k->down_until_ms) {
        error_set(err, E_UNAVAILABLE, "failed to decrypt DEK, error: the plugin does not answer");
        return NULL;
    }
    struct question q = {.wrapped = w, .cache_key = cache_key};
    list_push_back(&k->questions, &q.link);
    pthread_cond_signal(&k->news);
    while (!q.done)
        pthread_cond_wait(&k->told, &k->lock);
    if (q.code != 0)
        *err = q.err;
    return map_get(&k->deks, cache_key);
}

int kms_open(struct kms *k, struct str object, struct str bound, struct buf *out, bool *ret_current,
             struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct kms_wrapped w;
    struct str data;
    uint8_t key[32];
    int code = kms_object_read(a, object, &w, &data, err);
    if (code != 0)
        return code;
    struct str cache_key = kms_cache_key(a, &w);
    pthread_mutex_lock(&k->lock);
    const struct dek *d = find_dek(k, &w, cache_key, err);
    *ret_current =
        k->arena != NULL && str_eq(w.key_id, k->wrapped.key_id) && w.type == k->wrapped.type;
    pthread_mutex_unlock(&k->lock);
    if (d == NULL)
        return err->code != 0 ? err->code : E_UNAVAILABLE;
    count_id(k, "from_storage", w.key_id);
    if (d->type == KMS_AES_GCM_KEY)
        return unseal(SEAL_AES_GCM, str_n((const char *)d->key, d->len), data, bound, out, err);
    if (data.len < INFO_BYTES)
        return error_set(err, E_INVALID, "the stored data was shorter than the required size");
    derive(d, (const uint8_t *)data.data, key);
    code = unseal(SEAL_AES_GCM, str_n((const char *)key, sizeof(key)),
                  str_sub(data, INFO_BYTES, data.len), bound, out, err);
    OPENSSL_cleanse(key, sizeof(key));
    return code;
}

int kms_health(struct kms *k, struct error *err)
{
    pthread_mutex_lock(&k->lock);
    int code = k->health_code;
    if (code != 0)
        *err = k->health;
    pthread_mutex_unlock(&k->lock);
    return code;
}

/* --- life ------------------------------------------------------------------------------------ */
struct kms *kms_new(struct str name, struct str socket, uint64_t timeout_ms)
{
    struct kms *k = xzalloc(sizeof(*k));
    pthread_condattr_t monotonic;
    k->name = xstrndup(name.data, name.len);
    k->socket = xstrndup(socket.data, socket.len);
    k->timeout_ms = timeout_ms;
    list_init(&k->questions);
    map_init(&k->deks);
    pthread_mutex_init(&k->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&k->news, &monotonic);
    pthread_cond_init(&k->told, &monotonic);
    pthread_condattr_destroy(&monotonic);
    k->health_code =
        error_set(&k->health, E_UNAVAILABLE, "KMS Provider %s was not asked yet", k->name);
    return k;
}

void kms_start(struct kms *k)
{
    pthread_mutex_lock(&k->lock);
    k->started = true;
    if (pthread_create(&k->thread, NULL, thread_main, k) != 0)
        PANIC("KMS provider %s: no thread", k->name);
    while (!k->asked_once)
        pthread_cond_wait(&k->told, &k->lock);
    if (k->health_code != 0)
        log_error("%s", error_message(&k->health));
    pthread_mutex_unlock(&k->lock);
}

void kms_free(struct kms *k)
{
    size_t pos = 0;
    void *value;
    if (k == NULL)
        return;
    pthread_mutex_lock(&k->lock);
    k->closing = true;
    pthread_cond_broadcast(&k->news);
    pthread_mutex_unlock(&k->lock);
    if (k->started)
        pthread_join(k->thread, NULL);
    while (map_next(&k->deks, &pos, NULL, &value)) {
        struct dek *d = value;
        OPENSSL_cleanse(d->key, d->len);
        free(d);
    }
    map_done(&k->deks);
    if (k->arena != NULL)
        arena_free(k->arena);
    pthread_cond_destroy(&k->told);
    pthread_cond_destroy(&k->news);
    pthread_mutex_destroy(&k->lock);
    free(k->version);
    free(k->name);
    free(k->socket);
    free(k);
}
