/* test_json_cache.c - versions apart, bounds, what goes and what stays. */
#include "apiserver/json_cache.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "test/unit/unit.h"

#include <pthread.h>

static const struct api_kind *const PODS = (const struct api_kind *)"pods";
static const struct api_kind *const NODES = (const struct api_kind *)"nodes";

static bool has(struct json_cache *c, const struct api_kind *kind, const char *key, int64_t rev,
                const char *want)
{
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, "[");
    if (!json_cache_append(c, kind, str_of(key), rev, &b)) {
        ck_assert_uint_eq(b.len, 1);
        return false;
    }
    ck_assert_uint_eq(b.len, 1 + strlen(want));
    ck_assert(memcmp(b.data + 1, want, strlen(want)) == 0);
    return true;
}

/* Kind, key and version tell entries apart; the first text put stays. */
START_TEST(identity)
{
    struct json_cache *c = json_cache_new(1 << 20);
    ck_assert(!has(c, PODS, "a", 7, ""));
    json_cache_put(c, PODS, STR("a"), 7, STR("{\"a\":7}"));
    json_cache_put(c, PODS, STR("a"), 7, STR("{\"other\":7}"));
    json_cache_put(c, PODS, STR("b"), 7, STR("{\"b\":7}"));
    ck_assert(has(c, PODS, "a", 7, "{\"a\":7}"));
    ck_assert(has(c, PODS, "b", 7, "{\"b\":7}"));
    ck_assert(!has(c, PODS, "a", 8, ""));
    ck_assert(!has(c, NODES, "a", 7, ""));
    json_cache_free(c);
    json_cache_free(NULL);
}
END_TEST

static void put_many(struct json_cache *c, int64_t from, int64_t count)
{
    char text[1000];
    memset(text, 'x', sizeof(text));
    for (int64_t rev = from; rev < from + count; rev++)
        json_cache_put(c, PODS, STR("key"), rev, str_n(text, sizeof(text)));
}

static size_t count_of(struct json_cache *c, int64_t from, int64_t count)
{
    size_t found = 0;
    for (int64_t rev = from; rev < from + count; rev++) {
        AUTO_BUF b = BUF_INIT;
        found += json_cache_append(c, PODS, STR("key"), rev, &b);
    }
    return found;
}

/* A full cache keeps what is in use, and takes new texts once the old ones are not. */
START_TEST(bounded)
{
    struct json_cache *c = json_cache_new(1 << 20);
    put_many(c, 1, 5000);
    size_t kept = count_of(c, 1, 5000);
    ck_assert_uint_le(json_cache_bytes(c), 1 << 20);
    ck_assert_uint_gt(kept, 900); /* Of 1,040 or so: shards do not fill alike. */
    put_many(c, 5001, 5000);
    ck_assert_uint_eq(count_of(c, 1, 5000), kept);
    ck_assert_uint_le(json_cache_bytes(c), 1 << 20);
    json_cache_sweep(c);
    json_cache_sweep(c);
    put_many(c, 10001, 5000);
    ck_assert_uint_le(json_cache_bytes(c), 1 << 20);
    ck_assert_uint_lt(count_of(c, 1, 10000), kept / 4);
    ck_assert_uint_gt(count_of(c, 10001, 5000), 900);
    json_cache_free(c);
}
END_TEST

/* Without use everything goes; what is used stays. */
START_TEST(idle)
{
    struct json_cache *c = json_cache_new(1 << 20);
    put_many(c, 1, 100);
    for (unsigned i = 0; i < JSON_CACHE_IDLE_SWEEPS; i++) {
        json_cache_sweep(c);
        ck_assert_uint_eq(count_of(c, 1, 10), 10);
    }
    ck_assert_uint_gt(json_cache_bytes(c), 100 * 1000);
    json_cache_sweep(c);
    ck_assert_uint_eq(count_of(c, 11, 90), 0);
    ck_assert_uint_eq(count_of(c, 1, 10), 10);
    for (unsigned i = 0; i <= JSON_CACHE_IDLE_SWEEPS; i++)
        json_cache_sweep(c);
    ck_assert_uint_eq(json_cache_bytes(c), 0);
    put_many(c, 1, 10);
    ck_assert_uint_eq(count_of(c, 1, 10), 10);
    json_cache_free(c);
}
END_TEST

/* Size 0 is no cache. */
START_TEST(none)
{
    struct json_cache *c = json_cache_new(0);
    put_many(c, 1, 10);
    ck_assert_uint_eq(count_of(c, 1, 10), 0);
    json_cache_free(c);
}
END_TEST

static void *worker(void *arg)
{
    for (unsigned round = 0; round < 20; round++) {
        put_many(arg, round * 50, 200);
        count_of(arg, 0, 1000);
        json_cache_sweep(arg);
    }
    return NULL;
}

/* For the sanitizers. */
START_TEST(threads)
{
    struct json_cache *c = json_cache_new(256 << 10);
    pthread_t t[3];
    for (size_t i = 0; i < ARRAY_SIZE(t); i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, worker, c), 0);
    for (size_t i = 0; i < ARRAY_SIZE(t); i++)
        pthread_join(t[i], NULL);
    ck_assert_uint_le(json_cache_bytes(c), 256 << 10);
    json_cache_free(c);
}
END_TEST

UNIT_MAIN("json_cache", {
    UNIT_TEST(identity);
    UNIT_TEST(bounded);
    UNIT_TEST(idle);
    UNIT_TEST(none);
    UNIT_TEST(threads);
})
