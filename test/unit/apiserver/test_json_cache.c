/* test_json_cache.c - runs and their versions, bounds, what goes and what stays. */
#include "apiserver/json_cache.h"

#include "lib/base/buf.h"
#include "raftstore/kv.h"
#include "test/unit/unit.h"

#include <pthread.h>
#include <stdio.h>

static const struct json_form PODS = {.kind = (const struct api_kind *)"pods"};
static const struct json_form NODES = {.kind = (const struct api_kind *)"nodes"};
static const struct json_form OLD_PODS = {.kind = (const struct api_kind *)"pods", .since_rev = 3};
static const struct json_form ONE_POD = {.kind = (const struct api_kind *)"pods",
                                         .use = JSON_SELECTED};

static const struct json_form TEXT = {.kind = (const struct api_kind *)"pods",
                                      .use = JSON_CONVERTED};

static const struct kv *object(const char *key, int64_t rev, uint32_t sub)
{
    return kv_new(NULL, str_of(key), STR("value"),
                  &(struct kv_numbers){.mod_rev = rev, .create_rev = 1, .version = 2, .sub = sub});
}

/* Text of an object: its key and revision. Counts how often it was asked for. */
static int encode(const struct kv *kv, struct buf *out, void *arg, struct error *err)
{
    UNUSED(err);
    ++*(unsigned *)arg;
    buf_printf(out, "{" STR_FMT " %ld}", STR_ARG(kv_key(kv)), (long)kv->mod_rev);
    return 0;
}

static struct json_run *run_of(const struct json_run *old, const struct kv *const *objects,
                               size_t count, unsigned *encoded)
{
    struct json_run *run;
    ck_assert_int_eq(json_run_new(old, objects, count, encode, encoded, &run, NULL), 0);
    return run;
}

static bool says(const struct json_run *run, size_t len, const char *want)
{
    return len == strlen(want) && memcmp(run->text.data, want, len) == 0;
}

/* A run is the text of its objects, of the first of them too, and of no others. */
START_TEST(runs)
{
    unsigned encoded = 0;
    const struct kv *o[] = {object("/a", 7, 0), object("/b", 9, 0), object("/c", 9, 1)};
    const struct kv *other[] = {o[0], o[2], o[1]};
    struct json_run *run = run_of(NULL, o, 3, &encoded);
    ck_assert_uint_eq(encoded, 3);
    ck_assert(says(run, json_run_match(run, o, 3), ",{/a 7},{/b 9},{/c 9}"));
    ck_assert(says(run, json_run_match(run, o, 2), ",{/a 7},{/b 9}"));
    ck_assert_uint_eq(json_run_match(run, other, 2), 0);
    ck_assert_uint_eq(json_run_match(run, other, 3), 0);
    ck_assert_uint_eq(json_run_match(run, o + 1, 2), 0);
    struct json_run *shorter = run_of(NULL, o, 2, &encoded);
    ck_assert_uint_eq(json_run_match(shorter, o, 3), 0);
    json_run_unref(shorter);
    json_run_unref(run);
    json_run_unref(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(o); i++)
        kv_unref(o[i]);
}
END_TEST

/* Only what is new is written when a run is made from an old one: changed, inserted, removed. */
START_TEST(from_old)
{
    unsigned encoded = 0;
    const struct kv *o[] = {object("/a", 7, 0), object("/b", 8, 0), object("/c", 9, 0),
                            object("/d", 9, 1)};
    const struct kv *b2 = object("/b", 20, 0), *cc = object("/cc", 21, 0);
    const struct kv *now[] = {b2, o[2], cc, o[3]};
    struct json_run *run = run_of(NULL, o, 4, &encoded);
    encoded = 0;
    struct json_run *next = run_of(run, now, 4, &encoded);
    ck_assert_uint_eq(encoded, 2);
    ck_assert(says(next, json_run_match(next, now, 4), ",{/b 20},{/c 9},{/cc 21},{/d 9}"));
    json_run_unref(run);
    json_run_unref(next);
    for (size_t i = 0; i < ARRAY_SIZE(o); i++)
        kv_unref(o[i]);
    kv_unref(b2);
    kv_unref(cc);
}
END_TEST

/* Where runs begin is a matter of keys: at each namespace, and every so many objects. */
START_TEST(boundaries)
{
    unsigned begun = 0;
    char key[64], prev[64] = "/registry/pods/a/x";
    ck_assert(json_run_starts(str_of("/registry/pods/a/x"), str_of("/registry/pods/b/x")));
    ck_assert(json_run_starts(str_of("/registry/pods/a/x"), str_of("/registry/pods/ab/x")));
    ck_assert(json_run_starts(str_of("/registry/pods/ab/x"), str_of("/registry/pods/x")));
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(key, sizeof(key), "/registry/pods/a/web-%08u", i);
        bool starts = json_run_starts(str_of(prev), str_of(key));
        ck_assert_int_eq(starts, json_run_starts(str_of("/registry/pods/a/z"), str_of(key)));
        begun += starts;
        memcpy(prev, key, sizeof(prev));
    }
    ck_assert_uint_gt(begun, 400);
    ck_assert_uint_lt(begun, 900);
    ck_assert(!json_run_starts(str_of("a"), str_of("b")) ||
              !json_run_starts(str_of("a"), str_of("c")));
}
END_TEST

/* Form and first key tell runs apart; the last one put stays. */
START_TEST(identity)
{
    unsigned encoded = 0;
    struct json_cache *c = json_cache_new(1 << 20);
    const struct kv *a7 = object("/a", 7, 0), *a8 = object("/a", 8, 0);
    struct json_run *old = run_of(NULL, &a7, 1, &encoded), *new = run_of(NULL, &a8, 1, &encoded);
    ck_assert_ptr_null(json_cache_get(c, &PODS, STR("/a")));
    json_cache_put(c, &PODS, STR("/a"), old);
    struct json_run *got = json_cache_get(c, &PODS, STR("/a"));
    ck_assert_ptr_eq(got, old);
    ck_assert_ptr_null(json_cache_get(c, &PODS, STR("/b")));
    ck_assert_ptr_null(json_cache_get(c, &NODES, STR("/a")));
    ck_assert_ptr_null(json_cache_get(c, &OLD_PODS, STR("/a")));
    ck_assert_ptr_null(json_cache_get(c, &ONE_POD, STR("/a")));
    size_t bytes = json_cache_bytes(c);
    json_cache_put(c, &PODS, STR("/a"), new);
    ck_assert_uint_eq(json_cache_bytes(c), bytes);
    /* Whoever sends the old one still has it. */
    ck_assert_uint_ne(json_run_match(got, &a7, 1), 0);
    json_run_unref(got);
    got = json_cache_get(c, &PODS, STR("/a"));
    ck_assert_ptr_eq(got, new);
    json_run_unref(got);
    json_run_unref(old);
    json_run_unref(new);
    AUTO_BUF text = BUF_INIT;
    json_cache_put_text(c, &TEXT, STR("/a"), STR("{1}"));
    ck_assert(json_cache_get_text(c, &TEXT, STR("/a"), &text) && str_eqc(buf_str(&text), "{1}"));
    ck_assert(!json_cache_get_text(c, &TEXT, STR("/b"), &text));
    json_cache_free(c);
    json_cache_free(NULL);
    kv_unref(a7);
    kv_unref(a8);
}
END_TEST

static int encode_long(const struct kv *kv, struct buf *out, void *arg, struct error *err)
{
    UNUSED(kv), UNUSED(arg), UNUSED(err);
    memset(buf_reserve(out, 1000), 'x', 1000);
    buf_commit(out, 1000);
    return 0;
}

static void put_many(struct json_cache *c, int64_t from, int64_t count)
{
    char key[32];
    for (int64_t i = from; i < from + count; i++) {
        snprintf(key, sizeof(key), "/%ld", (long)i);
        const struct kv *kv = object(key, i, 0);
        struct json_run *run;
        ck_assert_int_eq(json_run_new(NULL, &kv, 1, encode_long, NULL, &run, NULL), 0);
        json_cache_put(c, &PODS, str_of(key), run);
        json_run_unref(run);
        kv_unref(kv);
    }
}

static size_t count_of(struct json_cache *c, int64_t from, int64_t count)
{
    char key[32];
    size_t found = 0;
    for (int64_t i = from; i < from + count; i++) {
        snprintf(key, sizeof(key), "/%ld", (long)i);
        struct json_run *run = json_cache_get(c, &PODS, str_of(key));
        found += run != NULL;
        json_run_unref(run);
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
    ck_assert_uint_gt(kept, 800); /* Of 930 or so: shards do not fill alike. */
    put_many(c, 5001, 5000);
    ck_assert_uint_eq(count_of(c, 1, 5000), kept);
    ck_assert_uint_le(json_cache_bytes(c), 1 << 20);
    json_cache_sweep(c);
    json_cache_sweep(c);
    put_many(c, 10001, 5000);
    ck_assert_uint_le(json_cache_bytes(c), 1 << 20);
    ck_assert_uint_lt(count_of(c, 1, 10000), kept / 4);
    ck_assert_uint_gt(count_of(c, 10001, 5000), 800);
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
    UNIT_TEST(runs);
    UNIT_TEST(from_old);
    UNIT_TEST(boundaries);
    UNIT_TEST(identity);
    UNIT_TEST(bounded);
    UNIT_TEST(idle);
    UNIT_TEST(none);
    UNIT_TEST(threads);
})
