/* test_base.c - strings, arenas, buffers, maps, lists and errors. */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/list.h"
#include "lib/base/map.h"
#include "test/unit/unit.h"

#include <stdio.h>
#include <string.h>

/* Cutting at a separator splits at the first one and keeps the rest whole. */
START_TEST(str_cut_at_first)
{
    struct str head, tail;
    ck_assert(str_cut(STR("a=b=c"), '=', &head, &tail));
    ck_assert(str_eqc(head, "a"));
    ck_assert(str_eqc(tail, "b=c"));
    ck_assert(!str_cut(STR("abc"), '=', &head, &tail));
    ck_assert(str_eqc(head, "abc"));
    ck_assert(str_empty(tail));
}
END_TEST

/* Numbers must use the whole string and fit. */
START_TEST(str_numbers)
{
    int64_t i = 0;
    uint64_t u = 0;
    ck_assert(str_to_i64(STR("-9223372036854775808"), &i) && i == INT64_MIN);
    ck_assert(str_to_i64(STR("9223372036854775807"), &i) && i == INT64_MAX);
    ck_assert(!str_to_i64(STR("9223372036854775808"), &i));
    ck_assert(str_to_u64(STR("18446744073709551615"), &u) && u == UINT64_MAX);
    ck_assert(!str_to_u64(STR("18446744073709551616"), &u));
    ck_assert(!str_to_u64(STR(""), &u));
    ck_assert(!str_to_u64(STR("1x"), &u));
    ck_assert(!str_to_i64(STR("-"), &i));
}
END_TEST

/* Only well-formed UTF-8 passes: no overlong forms, surrogates or stray bytes. */
START_TEST(str_utf8)
{
    ck_assert(str_is_utf8(STR("plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x9a\xa2")));
    ck_assert(!str_is_utf8(STR("\xc0\xaf")));
    ck_assert(!str_is_utf8(STR("\xe0\x80\xaf")));
    ck_assert(!str_is_utf8(STR("\xed\xa0\x80")));
    ck_assert(!str_is_utf8(STR("\xf4\x90\x80\x80")));
    ck_assert(!str_is_utf8(STR("a\xe2\x82")));
    ck_assert(!str_is_utf8(STR("\x80")));
}
END_TEST

/* Every allocation is aligned, distinct and keeps its content, whatever sizes come. */
START_TEST(arena_keeps_content)
{
    struct arena *a = arena_new(64);
    unsigned char *p[500];
    for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
        size_t size = (i * 37) % 3000 + 1;
        p[i] = arena_alloc(a, size);
        ck_assert_uint_eq((uintptr_t)p[i] % 16, 0);
        memset(p[i], (int)(i & 0xff), size);
    }
    for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
        size_t size = (i * 37) % 3000 + 1;
        for (size_t k = 0; k < size; k++)
            ck_assert_uint_eq(p[i][k], i & 0xff);
    }
    arena_free(a);
}
END_TEST

static int released[3];
static int release_order;

static void release(void *obj)
{
    *(int *)obj = ++release_order;
}

/* Holds run once each when the arena goes, newest first. */
START_TEST(arena_releases_holds)
{
    struct arena *a = arena_new(0);
    for (size_t i = 0; i < 3; i++)
        arena_hold(a, &released[i], release);
    arena_free(a);
    ck_assert_int_eq(released[2], 1);
    ck_assert_int_eq(released[1], 2);
    ck_assert_int_eq(released[0], 3);
}
END_TEST

/* Cleared, an arena has released its holds and is as good as new. */
START_TEST(arena_starts_again)
{
    struct arena *a = arena_new(0);
    size_t bytes = arena_bytes(a);
    for (int round = 0; round < 3; round++) {
        int done = 0;
        release_order = 0;
        for (size_t i = 0; i < 100; i++)
            memset(arena_alloc(a, i * 100 + 1), 'x', i * 100 + 1);
        arena_hold(a, &done, release);
        arena_clear(a);
        ck_assert_int_eq(done, 1);
        ck_assert_uint_eq(arena_bytes(a), bytes);
    }
    arena_free(a);
}
END_TEST

/* Appending and consuming in turn never loses or repeats a byte. */
START_TEST(buf_is_a_queue)
{
    AUTO_BUF b = BUF_INIT;
    unsigned next_in = 0, next_out = 0;
    for (unsigned round = 0; round < 2000; round++) {
        for (unsigned i = 0; i < round % 17; i++)
            buf_putc(&b, (char)(next_in++ & 0x7f));
        unsigned n = (unsigned)MIN_OF(b.len, (size_t)(round % 13));
        for (unsigned i = 0; i < n; i++)
            ck_assert_uint_eq(b.data[i], next_out++ & 0x7f);
        buf_consume(&b, n);
    }
    ck_assert_uint_eq(b.len, next_in - next_out);
    size_t len = 0;
    AUTO_FREE char *text = buf_steal(&b, &len);
    ck_assert_uint_eq(len, next_in - next_out);
    ck_assert_int_eq(text[len], 0);
    ck_assert_ptr_null(b.data);
}
END_TEST

/* Varints are protobuf's, up to the longest one. */
START_TEST(buf_varint)
{
    AUTO_BUF b = BUF_INIT;
    buf_put_varint(&b, 300);
    ck_assert_uint_eq(b.len, 2);
    ck_assert_uint_eq(b.data[0], 0xac);
    ck_assert_uint_eq(b.data[1], 0x02);
    buf_clear(&b);
    buf_put_varint(&b, UINT64_MAX);
    ck_assert_uint_eq(b.len, 10);
    ck_assert_uint_eq(b.data[9], 1);
}
END_TEST

/* A map agrees with a plain array under random sets and removals. */
START_TEST(map_agrees_with_model)
{
    enum { KEYS = 300 };
    static int values[KEYS];
    bool there[KEYS] = {false};
    struct map m;
    map_init(&m);
    uint32_t seed = 12345;
    size_t count = 0;
    for (int step = 0; step < 20000; step++) {
        seed = seed * 1664525u + 1013904223u;
        size_t k = (seed >> 8) % KEYS;
        char key[16];
        snprintf(key, sizeof(key), "key-%zu", k);
        if ((seed >> 4 & 1) != 0) {
            ck_assert_ptr_eq(map_set(&m, str_of(key), &values[k]), there[k] ? &values[k] : NULL);
            count += !there[k];
            there[k] = true;
        } else {
            ck_assert_ptr_eq(map_remove(&m, str_of(key)), there[k] ? &values[k] : NULL);
            count -= there[k];
            there[k] = false;
        }
        ck_assert_uint_eq(m.count, count);
        ck_assert_int_eq(map_has(&m, str_of(key)), there[k]);
    }
    size_t pos = 0, seen = 0;
    struct str key;
    void *value = NULL;
    while (map_next(&m, &pos, &key, &value)) {
        seen++;
        ck_assert(there[(int *)value - values]);
    }
    ck_assert_uint_eq(seen, count);
    map_done(&m);
}
END_TEST

/* SipHash-2-4 gives the value published with the algorithm (key 00..0f, input 00..0e). */
START_TEST(siphash_vector)
{
    uint8_t key[16], in[15];
    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)i;
    uint64_t seed[2];
    memcpy(seed, key, sizeof(seed));
    ck_assert(base_siphash(seed, in, sizeof(in)) == 0xa129ca6149be45e5u);
}
END_TEST

/* Splicing keeps order and empties the source; removing twice is harmless. */
START_TEST(list_splice_keeps_order)
{
    struct list a, b, n[4];
    list_init(&a);
    list_init(&b);
    list_push_back(&a, &n[0]);
    list_push_back(&b, &n[1]);
    list_push_back(&b, &n[2]);
    list_push_front(&a, &n[3]);
    list_splice(&a, &b);
    ck_assert(list_empty(&b));
    struct list *want[] = {&n[3], &n[0], &n[1], &n[2]};
    size_t i = 0;
    LIST_FOREACH (it, &a)
        ck_assert_ptr_eq(it, want[i++]);
    ck_assert_uint_eq(i, 4);
    list_remove(&n[0]);
    list_remove(&n[0]);
    ck_assert_ptr_eq(list_pop_front(&a), &n[3]);
    ck_assert_ptr_eq(list_pop_front(&a), &n[1]);
    ck_assert_ptr_eq(list_pop_front(&a), &n[2]);
    ck_assert_ptr_null(list_pop_front(&a));
}
END_TEST

/* A prefix goes in front; what does not fit is cut and stays a C string. */
START_TEST(error_prefix_and_cut)
{
    struct error err = {0};
    ck_assert_int_eq(error_set(&err, E_NOT_FOUND, "pods \"%s\" not found", "x"), E_NOT_FOUND);
    ck_assert_int_eq(error_prefix(&err, "get"), E_NOT_FOUND);
    /* Who does not want to know why is told that it failed. */
    ck_assert_int_eq(error_prefix(NULL, "get"), E_INTERNAL);
    ck_assert_str_eq(error_message(&err), "get: pods \"x\" not found");
    char big[3000];
    memset(big, 'y', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    error_set(&err, E_INVALID, "%s", big);
    error_prefix(&err, "head");
    ck_assert_uint_eq(strlen(err.message), ERROR_MESSAGE_MAX - 1);
    ck_assert(strncmp(err.message, "head: yyy", 9) == 0);
    ck_assert_int_eq(error_http_status(E_CONFLICT), 409);
    ck_assert_str_eq(error_reason(E_EXISTS), "AlreadyExists");
}
END_TEST

/* UUIDs have the version and variant bits of RFC 4122, version 4. */
START_TEST(uuid_form)
{
    char a[37], b[37];
    env_uuid(env_system(), a);
    env_uuid(env_system(), b);
    ck_assert_uint_eq(strlen(a), 36);
    ck_assert_int_eq(a[14], '4');
    ck_assert_ptr_nonnull(strchr("89ab", a[19]));
    ck_assert_str_ne(a, b);
}
END_TEST

UNIT_MAIN("base", {
    UNIT_TEST(str_cut_at_first);
    UNIT_TEST(str_numbers);
    UNIT_TEST(str_utf8);
    UNIT_TEST(arena_keeps_content);
    UNIT_TEST(arena_releases_holds);
    UNIT_TEST(arena_starts_again);
    UNIT_TEST(buf_is_a_queue);
    UNIT_TEST(buf_varint);
    UNIT_TEST(map_agrees_with_model);
    UNIT_TEST(siphash_vector);
    UNIT_TEST(list_splice_keeps_order);
    UNIT_TEST(error_prefix_and_cut);
    UNIT_TEST(uuid_form);
})
