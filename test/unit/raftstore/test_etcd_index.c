/* test_etcd_index.c - finding watchers by key, and sorting in slices. */
#include "raftstore/etcd/sliced_sort.h"
#include "raftstore/etcd/watch_index.h"
#include "lib/base/base.h"
#include "raftstore/txn.h"
#include "test/unit/raftstore/random.h"
#include "test/unit/unit.h"

#define GROUPS 400

static struct watch_group *groups[GROUPS];
static unsigned hits[GROUPS];

static void on_found(struct watch_group *g, void *arg)
{
    UNUSED(arg);
    for (size_t i = 0; i < GROUPS; i++)
        hits[i] += groups[i] == g;
}

/* Two letters, or one, or none for the end of a range. */
static struct str random_key(struct random *r, char *buf, unsigned min)
{
    size_t len = min + random_below(r, 3 - min);
    for (size_t i = 0; i < len; i++)
        buf[i] = (char)('a' + random_below(r, 5));
    return str_n(buf, len);
}

static void check_key(const struct watch_index *ix, struct str key)
{
    memset(hits, 0, sizeof(hits));
    watch_index_find(ix, key, on_found, NULL);
    for (size_t i = 0; i < GROUPS; i++) {
        bool want = groups[i] != NULL && range_has(groups[i]->key, groups[i]->range_end, key);
        ck_assert_uint_eq(hits[i], want);
    }
}

/* Whatever was added and removed, a key finds exactly the groups it lies in. */
START_TEST(test_finding)
{
    struct random r = random_seeded(test_seed());
    struct watch_index ix;
    watch_index_init(&ix);
    for (int step = 0; step < 6000; step++) {
        size_t i = random_below(&r, GROUPS);
        if (groups[i] != NULL) {
            watch_index_remove(&ix, groups[i]);
            groups[i] = NULL;
        } else {
            char key[2], end[2];
            struct str from = random_key(&r, key, 1);
            struct str to = random_below(&r, 8) == 0 ? str_n("\0", 1) : random_key(&r, end, 0);
            struct watch_group *g = watch_index_get(&ix, from, to, random_below(&r, 8));
            bool known = false;
            for (size_t j = 0; j < GROUPS; j++)
                known |= groups[j] == g;
            if (!known)
                groups[i] = g;
        }
        watch_index_check(&ix);
        if (step % 10 == 0) {
            char key[2];
            check_key(&ix, random_key(&r, key, 1));
        }
    }
    for (size_t i = 0; i < GROUPS; i++)
        if (groups[i] != NULL)
            watch_index_remove(&ix, groups[i]);
    watch_index_done(&ix);
}
END_TEST

/* The same range with the same options is one group; other options make another. */
START_TEST(test_identity)
{
    struct watch_index ix;
    watch_index_init(&ix);
    struct watch_group *a = watch_index_get(&ix, STR("k"), STR(""), 0);
    struct watch_group *b = watch_index_get(&ix, STR("k"), STR(""), WATCH_PREV_KV);
    struct watch_group *c = watch_index_get(&ix, STR("k"), STR("z"), 0);
    ck_assert_ptr_eq(watch_index_get(&ix, STR("k"), STR(""), 0), a);
    ck_assert(a != b && a != c && b != c);
    watch_index_remove(&ix, a);
    ck_assert_ptr_eq(watch_index_get(&ix, STR("k"), STR(""), WATCH_PREV_KV), b);
    watch_index_remove(&ix, b);
    watch_index_remove(&ix, c);
    watch_index_done(&ix);
}
END_TEST

/* Sorted in small steps, any length comes out in order and complete. */
START_TEST(test_sliced_sort)
{
    static const size_t LENGTHS[] = {0, 1, 2, 511, 512, 513, 1024, 5000, 20000};
    struct random r = random_seeded(test_seed());
    for (size_t l = 0; l < ARRAY_SIZE(LENGTHS); l++) {
        size_t n = LENGTHS[l], steps = 0;
        const struct kv **items = xmalloc((n + 1) * sizeof(items[0]));
        const struct kv **spare = xmalloc((n + 1) * sizeof(items[0]));
        for (size_t i = 0; i < n; i++) {
            char key[32];
            snprintf(key, sizeof(key), "%08zu", i);
            int64_t rev = (int64_t)random_below(&r, (uint32_t)n);
            items[i] = kv_new(NULL, str_of(key), STR(""), &(struct kv_numbers){.mod_rev = rev});
        }
        struct sliced_sort s;
        sliced_sort_init(&s, items, spare, n, SORT_MOD, l % 2 == 0);
        while (sliced_sort_step(&s, 100))
            ck_assert_uint_lt(++steps, 100000);
        for (size_t i = 1; i < n; i++) {
            const struct kv *a = s.items[i - 1], *b = s.items[i];
            int64_t order = l % 2 == 0 ? b->mod_rev - a->mod_rev : a->mod_rev - b->mod_rev;
            ck_assert(order < 0 || (order == 0 && str_cmp(kv_key(a), kv_key(b)) < 0));
        }
        for (size_t i = 0; i < n; i++)
            kv_unref(s.items[i]);
        free(items);
        free(spare);
    }
}
END_TEST

UNIT_MAIN("etcd_index", {
    UNIT_TEST(test_finding);
    UNIT_TEST(test_identity);
    UNIT_TEST(test_sliced_sort);
})
