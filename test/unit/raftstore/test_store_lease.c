/* test_store_lease.c - leases through the store: looking, listing, ending many. */
#include "test/unit/raftstore/store_rig.h"
#include "test/unit/unit.h"

struct seen {
    bool done;
    int code;
    int64_t id, ttl_s, left_s;
    size_t count;
    char keys[64];
    int64_t first, last;
};

static void on_lease(int code, const struct store_lease *l, void *arg)
{
    struct seen *s = arg;
    *s = (struct seen){.done = true, .code = code};
    if (l == NULL)
        return;
    s->id = l->id;
    s->ttl_s = l->ttl_s;
    s->left_s = l->left_s;
    s->count = l->key_count;
    for (size_t i = 0; i < l->key_count && i < sizeof(s->keys) - 1; i++)
        s->keys[i] = kv_key(l->keys[i]).data[0];
}

static void on_ids(int code, const int64_t *ids, size_t count, void *arg)
{
    struct seen *s = arg;
    *s = (struct seen){.done = true, .code = code, .count = count};
    for (size_t i = 1; i < count; i++)
        ck_assert_int_gt(ids[i], ids[i - 1]);
    s->first = count > 0 ? ids[0] : 0;
    s->last = count > 0 ? ids[count - 1] : 0;
}

static struct seen get(struct rig *r, uint32_t i, int64_t id, bool keys)
{
    struct seen s = {0};
    store_lease_get(r->stores[i], id, keys, &r->mb, on_lease, &s);
    ck_assert(rig_wait(r, &s.done, 20000));
    return s;
}

static struct seen list(struct rig *r, uint32_t i)
{
    struct seen s = {0};
    store_lease_list(r->stores[i], &r->mb, on_ids, &s);
    ck_assert(rig_wait(r, &s.done, 20000));
    return s;
}

static struct answer grant(struct rig *r, uint32_t i, int64_t id, int64_t ttl_s)
{
    struct answer a = {0};
    store_lease_grant(r->stores[i], id, ttl_s, &r->mb, rig_on_done, &a);
    ck_assert(rig_wait(r, &a.done, 20000));
    return a;
}

static void put_lease(struct rig *r, uint32_t i, const char *key, int64_t lease)
{
    struct txn_op op = {.type = OP_PUT, .key = str_of(key), .value = STR("v"), .lease = lease};
    struct answer a = {0};
    store_txn(r->stores[i], &(struct txn){.success = &op, .success_count = 1}, &r->mb, rig_on_txn,
              &a);
    ck_assert(rig_wait(r, &a.done, 20000));
    ck_assert_int_eq(a.code, 0);
}

/* Any member tells of a lease: its time, and its keys in order. */
START_TEST(looking)
{
    struct rig r;
    rig_init(&r, 3);
    for (uint32_t i = 0; i < 3; i++)
        rig_start(&r, i);
    rig_must_put(&r, 0, "x", "1");
    ck_assert_int_eq(grant(&r, 0, 70, 100).code, 0);
    ck_assert_int_eq(grant(&r, 1, -7, 5000).code, 0);
    put_lease(&r, 1, "c", 70);
    put_lease(&r, 2, "a", 70);
    put_lease(&r, 0, "b", 70);
    put_lease(&r, 0, "c", 0); /* Taken away again. */
    for (uint32_t i = 0; i < 3; i++) {
        struct seen s = get(&r, i, 70, true);
        ck_assert_int_eq(s.code, 0);
        ck_assert_int_eq(s.ttl_s, 100);
        ck_assert(s.left_s >= 90 && s.left_s <= 100);
        ck_assert_str_eq(s.keys, "ab");
        s = get(&r, i, -7, false);
        ck_assert_int_eq(s.ttl_s, 5000);
        ck_assert_uint_eq(s.count, 0);
        ck_assert_int_eq(get(&r, i, 1, true).code, E_NOT_FOUND);
        s = list(&r, i);
        ck_assert_uint_eq(s.count, 2);
        ck_assert_int_eq(s.first, -7);
        ck_assert_int_eq(s.last, 70);
    }
    rig_done(&r);
}
END_TEST

#define MANY 5000

/* Thousands of leases that fall due together are gone soon, with their keys. */
START_TEST(ending_many)
{
    struct rig r;
    struct answer *all = xzalloc(MANY * sizeof(*all));
    rig_init(&r, 1);
    rig_start(&r, 0);
    rig_must_put(&r, 0, "x", "1");
    for (int i = 0; i < MANY; i++)
        store_lease_grant(r.stores[0], i + 1, 1, &r.mb, rig_on_done, &all[i]);
    for (int i = 0; i < MANY; i++)
        ck_assert(rig_wait(&r, &all[i].done, 20000));
    ck_assert_uint_le(list(&r, 0).count, MANY);
    for (int tries = 0; list(&r, 0).count > 0 && tries < 500; tries++)
        rig_sleep(&r, 10);
    ck_assert_uint_eq(list(&r, 0).count, 0);
    rig_done(&r);
    free(all);
}
END_TEST

UNIT_MAIN("store_lease", UNIT_TEST(looking); UNIT_TEST(ending_many))
