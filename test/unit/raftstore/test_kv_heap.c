/* test_kv_heap.c - how versions are laid out, and the regions that they lie in. */
#include "raftstore/kv_heap.h"
#include "lib/base/error.h"
#include "raftstore/tree.h"
#include "test/unit/raftstore/random.h"
#include "test/unit/unit.h"

#include <pthread.h>

static uint64_t regions(struct kv_heap *h)
{
    struct kv_heap_stats s;
    kv_heap_stats(h, &s);
    return s.regions;
}

static uint64_t live(struct kv_heap *h)
{
    struct kv_heap_stats s;
    kv_heap_stats(h, &s);
    return s.live;
}

static struct kv *make(struct kv_heap *h, int64_t rev, size_t value_len)
{
    char key[32];
    snprintf(key, sizeof(key), "key-%08lld", (long long)rev);
    struct kv *kv = kv_new(h, str_of(key), (struct str){NULL, value_len},
                           &(struct kv_numbers){rev, rev, 1, 0, 0});
    memset((char *)(uintptr_t)kv_value(kv).data, (int)(rev & 0xff), value_len);
    return kv;
}

/* --- layout --- */

static void same_numbers(struct kv_numbers a, struct kv_numbers b)
{
    ck_assert_int_eq(a.mod_rev, b.mod_rev);
    ck_assert_int_eq(a.create_rev, b.create_rev);
    ck_assert_int_eq(a.version, b.version);
    ck_assert_int_eq(a.lease, b.lease);
    ck_assert_uint_eq(a.sub, b.sub);
}

/* Whatever the numbers are, they come out as they went in, and so do key and value. */
START_TEST(all_numbers)
{
    const struct kv_numbers all[] = {
        {5, 5, 1, 0, 0},
        {5, 0, 0, 0, 0},
        {5, 0, 0, 0, 7},
        {5, 4, 2, 0, 0},
        {5, 5, 1, 0, 300},
        {INT64_MAX, 2, INT64_MAX, INT64_MAX, UINT32_MAX},
        {2, INT64_MAX, 1, INT64_MIN, 1},
        {INT64_MAX, INT64_MIN, -1, -1, UINT32_MAX},
        {1, 0, 1, 0, 0},
    };
    struct kv_heap *h = kv_heap_new();
    for (size_t i = 0; i < ARRAY_SIZE(all) * 2; i++) {
        const struct kv_numbers *n = &all[i / 2];
        struct kv *kv = kv_new(i % 2 ? h : NULL, STR("a key"), STR("some value"), n);
        same_numbers(kv_numbers(kv), *n);
        ck_assert_int_eq(kv_live(kv), n->version != 0);
        ck_assert_str_eq(kv_key(kv).data, "a key");
        ck_assert_str_eq(kv_value(kv).data, "some value");
        ck_assert_uint_eq(kv_value(kv).len, 10);
        struct kv *copy = kv_copy(h, kv);
        same_numbers(kv_numbers(copy), *n);
        ck_assert(str_eq(kv_key(copy), kv_key(kv)) && str_eq(kv_value(copy), kv_value(kv)));
        ck_assert_uint_eq(kv_bytes(copy), kv_bytes(kv));
        kv_unref(kv);
        ck_assert_str_eq(kv_value(copy).data, "some value");
        kv_unref(copy);
    }
    ck_assert_uint_eq(live(h), 0);
    kv_heap_free(h);
}
END_TEST

/* The longest key, an empty one, and values beyond what a region takes. */
START_TEST(all_lengths)
{
    struct kv_heap *h = kv_heap_new();
    char *key = xmalloc(KV_KEY_MAX);
    memset(key, 'k', KV_KEY_MAX);
    const size_t keys[] = {0, 1, 7, 8, KV_KEY_MAX - 1, KV_KEY_MAX};
    const size_t values[] = {0, 1, 15, 1024, KV_HEAP_BYTES_MAX, KV_REGION_BYTES, 3 << 20};
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(values); j++) {
            struct kv *kv = kv_new(h, str_n(key, keys[i]), (struct str){NULL, values[j]},
                                   &(struct kv_numbers){9, 9, 1, 0, 0});
            memset((char *)(uintptr_t)kv_value(kv).data, 'v', values[j]);
            ck_assert_uint_eq(kv_key(kv).len, keys[i]);
            ck_assert_uint_eq(kv_value(kv).len, values[j]);
            ck_assert(str_eq(kv_key(kv), str_n(key, keys[i])));
            ck_assert_int_eq(kv_key(kv).data[keys[i]], 0);
            ck_assert_int_eq(kv_value(kv).data[values[j]], 0);
            kv_unref(kv);
        }
    }
    ck_assert_uint_eq(live(h), 0);
    free(key);
    kv_heap_free(h);
}
END_TEST

/* --- regions --- */

/* A full region goes back once the last version in it is released, in any order;
 * the one that is open stays. */
START_TEST(empty_region_goes)
{
    enum { COUNT = 4000 };
    struct random r = random_seeded(test_seed());
    struct kv_heap *h = kv_heap_new();
    struct kv **all = xmalloc(COUNT * sizeof(all[0]));
    for (size_t i = 0; i < COUNT; i++)
        all[i] = make(h, (int64_t)i + 2, 1000);
    ck_assert_uint_ge(regions(h), COUNT * 1000 / KV_REGION_BYTES);
    for (size_t left = COUNT; left > 0; left--) {
        size_t i = random_below(&r, (uint32_t)left);
        ck_assert_int_eq(kv_value(all[i]).data[999], (char)(all[i]->mod_rev & 0xff));
        kv_unref(all[i]);
        all[i] = all[left - 1];
    }
    ck_assert_uint_eq(live(h), 0);
    ck_assert_uint_le(regions(h), 1);
    free(all);
    kv_heap_free(h);
}
END_TEST

/* Versions outlive the heap that they were made in. */
START_TEST(outlives_heap)
{
    struct kv_heap *h = kv_heap_new();
    struct kv *first = make(h, 2, 1000), *last = first;
    for (int64_t rev = 3; rev < 1000; rev++) {
        if (last != first)
            kv_unref(last);
        last = make(h, rev, 1000);
    }
    kv_heap_free(h);
    ck_assert_int_eq(kv_value(first).data[999], 2);
    ck_assert_int_eq(kv_value(last).data[999], (char)(999 & 0xff));
    kv_unref(first);
    kv_unref(last);
}
END_TEST

/* A pass picks regions that are mostly empty, hands out what is alive in them, and
 * nothing else. */
START_TEST(pass_finds_sparse)
{
    enum { COUNT = 8000, KEEP = 10 };
    struct kv_heap *h = kv_heap_new();
    struct kv **all = xmalloc(COUNT * sizeof(all[0]));
    for (size_t i = 0; i < COUNT; i++)
        all[i] = make(h, (int64_t)i + 2, 1000);
    ck_assert(!kv_heap_sparse(h)); /* Nothing is lost. */
    for (size_t i = 0; i < COUNT; i++)
        if (i % KEEP != 0)
            kv_unref(take(all[i]));
    uint64_t before = regions(h);
    ck_assert(kv_heap_sparse(h));
    bool more = true;
    while (more) {
        struct kv_region *region = kv_heap_pick(h, &more);
        if (region == NULL)
            continue;
        const struct kv *kv;
        for (size_t at = 0; (kv = kv_region_next(region, &at)) != NULL; kv_unref(kv)) {
            size_t i = (size_t)kv->mod_rev - 2;
            ck_assert_ptr_eq(kv, all[i]);
            all[i] = kv_copy(h, kv);
            kv_unref(kv);
        }
        kv_region_retire(region);
    }
    for (size_t i = 0; i < COUNT; i += KEEP)
        ck_assert_int_eq(kv_value(all[i]).data[999], (char)((i + 2) & 0xff));
    ck_assert_uint_lt(regions(h), before / (KEEP / 2));
    for (size_t i = 0; i < COUNT; i += KEEP)
        kv_unref(all[i]);
    free(all);
    kv_heap_free(h);
}
END_TEST

/* What others hold in a region that was retired stays readable, also after the pages
 * around it were given back. */
START_TEST(retired_region_keeps_what_is_held)
{
    enum { COUNT = 8000, KEEP = 100 };
    struct kv_heap *h = kv_heap_new();
    struct kv **all = xmalloc(COUNT * sizeof(all[0]));
    for (size_t i = 0; i < COUNT; i++)
        all[i] = make(h, (int64_t)i + 2, 1000);
    for (size_t i = 0; i < COUNT; i++)
        if (i % KEEP != 0)
            kv_unref(take(all[i]));
    bool more = kv_heap_sparse(h);
    ck_assert(more);
    while (more) { /* The second round of the pass drops the pages. */
        struct kv_region *region = kv_heap_pick(h, &more);
        if (region != NULL)
            kv_region_retire(region);
    }
    for (size_t i = 0; i < COUNT; i += KEEP) {
        for (size_t j = 0; j < 1000; j++)
            ck_assert_int_eq(kv_value(all[i]).data[j], (char)((i + 2) & 0xff));
        kv_unref(all[i]);
    }
    ck_assert_uint_eq(live(h), 0);
    ck_assert_uint_le(regions(h), 1);
    free(all);
    kv_heap_free(h);
}
END_TEST

struct releaser {
    pthread_t thread;
    struct kv **all;
    size_t from, count, step;
};

static void *release(void *arg)
{
    struct releaser *r = arg;
    for (size_t i = r->from; i < r->count; i += r->step) {
        ck_assert_int_eq(kv_value(r->all[i]).data[99], (char)(r->all[i]->mod_rev & 0xff));
        kv_unref(r->all[i]);
    }
    return NULL;
}

/* Other threads release while the owner allocates and walks over regions. */
START_TEST(released_by_threads)
{
    enum { COUNT = 30000, THREADS = 3 };
    struct kv_heap *h = kv_heap_new();
    struct kv **all = xmalloc(COUNT * sizeof(all[0]));
    for (size_t i = 0; i < COUNT; i++)
        all[i] = make(h, (int64_t)i + 2, 100);
    struct releaser r[THREADS];
    for (size_t t = 0; t < THREADS; t++) {
        r[t] = (struct releaser){.all = all, .from = t, .count = COUNT, .step = THREADS};
        pthread_create(&r[t].thread, NULL, release, &r[t]);
    }
    size_t walked = 0;
    for (int round = 0; round < 200; round++) {
        kv_unref(make(h, round, 2000));
        bool more = kv_heap_sparse(h);
        struct kv_region *region = more ? kv_heap_pick(h, &more) : NULL;
        if (region == NULL)
            continue;
        const struct kv *kv;
        for (size_t at = 0; (kv = kv_region_next(region, &at)) != NULL; walked++) {
            ck_assert_int_eq(kv_value(kv).data[0], (char)(kv->mod_rev & 0xff));
            kv_unref(kv);
        }
        kv_region_retire(region);
    }
    for (size_t t = 0; t < THREADS; t++)
        pthread_join(r[t].thread, NULL);
    ck_assert_uint_eq(live(h), 0);
    ck_assert_uint_le(regions(h), 1);
    free(all);
    kv_heap_free(h);
}
END_TEST

/* --- moving in a tree --- */

struct moving {
    struct tree *t;
    int64_t rev;
    uint32_t keys;
};

static void put(struct moving *m, uint32_t key)
{
    char name[32], value[600];
    snprintf(name, sizeof(name), "key-%06u", (unsigned)key);
    memset(value, (int)('a' + key % 26), sizeof(value));
    const struct kv *prev = tree_get(tree_working(m->t), str_of(name), 0);
    m->rev++;
    struct kv_numbers n = {.mod_rev = m->rev,
                           .create_rev = prev != NULL ? kv_create_rev(prev) : m->rev,
                           .version = prev != NULL ? kv_version(prev) + 1 : 1};
    tree_put(m->t, kv_new(tree_heap(m->t), str_of(name), str_n(value, sizeof(value)), &n));
}

static void expect_all(struct moving *m, struct tree_root root)
{
    struct tree_iter it;
    tree_iter_init(&it, root, str_n("\0", 1), str_n("\0", 1), 0);
    for (uint32_t i = 0; i < m->keys; i++) {
        const struct kv *kv = tree_iter_next(&it);
        ck_assert_ptr_nonnull(kv);
        ck_assert_uint_eq((unsigned long)strtoul(kv_key(kv).data + 4, NULL, 10), i);
        ck_assert_int_eq(kv_value(kv).data[599], (char)('a' + i % 26));
    }
    ck_assert_ptr_null(tree_iter_next(&it));
}

/* Half of all versions went, here and there: afterwards little more is taken than what
 * is left needs, readers of an old view still find theirs, and the tree is sound. */
START_TEST(tidy_moves_together)
{
    struct random r = random_seeded(test_seed());
    struct moving m = {.t = tree_new(), .rev = 1, .keys = 8000};
    struct error err = {0};
    for (uint32_t i = 0; i < m.keys; i++)
        put(&m, i);
    tree_view_unref(tree_publish(m.t));
    for (uint32_t i = 0; i < m.keys; i++)
        put(&m, random_below(&r, m.keys));
    tree_view_unref(tree_publish(m.t));
    struct tree_trim trim = {.rev = m.rev};
    while (tree_trim(m.t, &trim, 100))
        continue;
    struct tree_view *v = tree_publish(m.t);
    while (tree_reclaim(m.t, 1000))
        continue;
    struct kv_heap_stats before, after;
    struct tree_stats stats;
    kv_heap_stats(tree_heap(m.t), &before);
    ck_assert_uint_gt(before.bytes, before.live / 4 * 5);
    bool moved, any = false, more = true;
    for (int slice = 0; more; slice++) {
        more = tree_tidy(m.t, 100, &moved);
        any |= moved;
        if (slice == 3)
            expect_all(&m, tree_view_root(v));
        if (slice == 3)
            tree_view_unref(take(v));
        if (slice % 10 == 0)
            put(&m, random_below(&r, m.keys)); /* Writes come between. */
        ck_assert_msg(tree_check(m.t, &err) == 0, "%s", error_message(&err));
        tree_view_unref(tree_publish(m.t));
        while (tree_reclaim(m.t, 1000))
            continue;
    }
    tree_view_unref(v);
    ck_assert(any);
    expect_all(&m, tree_working(m.t));
    kv_heap_stats(tree_heap(m.t), &after);
    tree_stats(m.t, &stats);
    ck_assert_uint_lt(after.bytes, before.bytes);
    ck_assert_uint_le(after.bytes, after.live / 8 * 10 + (3u << 20));
    ck_assert_uint_eq(stats.lost_bytes, after.bytes - after.live);
    tree_free(m.t);
}
END_TEST

UNIT_MAIN("kv_heap", UNIT_TEST(all_numbers); UNIT_TEST(all_lengths); UNIT_TEST(empty_region_goes);
          UNIT_TEST(outlives_heap); UNIT_TEST(pass_finds_sparse);
          UNIT_TEST(retired_region_keeps_what_is_held); UNIT_TEST(released_by_threads);
          UNIT_TEST(tidy_moves_together))
