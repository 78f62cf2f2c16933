/* test_store_verify.c - alarms: set, listed, cleared; the comparison of members. */
#include "test/unit/raftstore/store_rig.h"
#include "test/unit/unit.h"

static uint32_t alarms_of(struct rig *r, uint32_t i, uint64_t member)
{
    uint32_t count, found = 0;
    AUTO_FREE struct store_alarm *list = store_alarms(r->stores[i], &count);
    for (uint32_t k = 0; k < count; k++)
        if (list[k].member == member)
            found = list[k].alarms;
    return found;
}

static bool alarm_becomes(struct rig *r, uint32_t i, uint64_t member, uint32_t want)
{
    for (int tries = 0; alarms_of(r, i, member) != want && tries < 1000; tries++)
        rig_sleep(r, 10);
    return alarms_of(r, i, member) == want;
}

static int change(struct rig *r, uint32_t i, uint64_t member, uint32_t alarms, bool set)
{
    struct answer a = {0};
    store_alarm_change(r->stores[i], member, alarms, set, &r->mb, rig_on_done, &a);
    ck_assert(rig_wait(r, &a.done, 20000));
    return a.code;
}

/* Everybody sees an alarm and whose it is; it stops writes until it is cleared. */
START_TEST(alarms)
{
    struct rig r;
    rig_init(&r, 3);
    for (uint32_t i = 0; i < 3; i++)
        rig_start(&r, i);
    rig_must_put(&r, 0, "a", "1");
    ck_assert_int_eq(change(&r, 1, 0, STORE_ALARM_CORRUPT, true), 0);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert(alarm_becomes(&r, i, 2, STORE_ALARM_CORRUPT));
    ck_assert_int_eq(rig_put(&r, 0, "a", "2").code, E_CORRUPT);
    ck_assert_int_eq(change(&r, 2, 0, STORE_ALARM_CORRUPT, false), 0);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert(alarm_becomes(&r, i, 2, 0));
    ck_assert_int_eq(rig_put(&r, 0, "a", "2").code, 0);
    rig_done(&r);
}
END_TEST

/* Changes a stored value behind the store's back, and TSan's, as bad memory would. */
__attribute__((no_sanitize("thread"))) static void flip(struct store *s, const char *key)
{
    struct store_view *v = store_view(s);
    const struct kv *kv = store_view_get(v, str_of(key), 0);
    ck_assert_ptr_nonnull(kv);
    ((char *)(uintptr_t)kv_value(kv).data)[0] ^= 1;
    store_view_unref(v);
}

/* A flipped bit in one member is found, and found to be mended. */
START_TEST(flipped_value)
{
    struct rig r;
    rig_init(&r, 3);
    r.config.verify_ms = 100;
    for (uint32_t i = 0; i < 3; i++)
        rig_start(&r, i);
    for (int i = 0; i < 2000; i++) {
        char key[16];
        struct answer a;
        snprintf(key, sizeof(key), "k%d", i);
        rig_put_start(&r, 0, key, "value", &a);
        if (!rig_wait(&r, &a.done, 20000) || a.code != 0)
            rig_must_put(&r, 0, key, "value");
    }
    ck_assert(rig_caught_up(&r, 10000));
    rig_sleep(&r, 500); /* Several comparisons, all of which agree. */
    for (uint64_t id = 1; id <= 3; id++)
        ck_assert_uint_eq(alarms_of(&r, 0, id), 0);
    uint32_t bad = (uint32_t)(rig_leader(&r) + 1) % 3;
    flip(r.stores[bad], "k1234");
    ck_assert(alarm_becomes(&r, bad, bad + 1, STORE_ALARM_CORRUPT));
    ck_assert_int_eq(rig_put(&r, 0, "x", "1").code, E_CORRUPT);
    flip(r.stores[bad], "k1234");
    ck_assert(alarm_becomes(&r, bad, bad + 1, 0));
    rig_must_put(&r, 0, "x", "1");
    rig_done(&r);
}
END_TEST

/* The alarm of a member goes with it. */
START_TEST(removed_member)
{
    struct rig r;
    rig_init(&r, 3);
    for (uint32_t i = 0; i < 3; i++)
        rig_start(&r, i);
    rig_must_put(&r, 0, "a", "1");
    uint32_t gone = (uint32_t)(rig_leader(&r) + 1) % 3, stays = (gone + 1) % 3;
    ck_assert_int_eq(change(&r, gone, 0, STORE_ALARM_CORRUPT, true), 0);
    struct answer a = {0};
    store_member_remove(r.stores[stays], gone + 1, &r.mb, rig_on_done, &a);
    ck_assert(rig_wait(&r, &a.done, 20000));
    ck_assert_int_eq(a.code, 0);
    ck_assert(alarm_becomes(&r, stays, gone + 1, 0));
    rig_must_put(&r, stays, "a", "2");
    rig_done(&r);
}
END_TEST

/* The public hash is the same on every member, at any revision that all keep. */
START_TEST(hashes)
{
    struct rig r;
    uint32_t value[3];
    rig_init(&r, 3);
    for (uint32_t i = 0; i < 3; i++)
        rig_start(&r, i);
    rig_must_put(&r, 0, "a", "1");
    int64_t rev = rig_must_put(&r, 1, "b", "2");
    rig_must_put(&r, 2, "a", "3");
    ck_assert(rig_caught_up(&r, 10000));
    for (uint32_t i = 0; i < 3; i++) {
        struct store_view *v = store_view(r.stores[i]);
        struct store_hash h;
        ck_assert_int_eq(store_hash_init(&h, v, rev), 0);
        while (store_hash_step(&h, 1))
            continue;
        value[i] = h.value;
        ck_assert_int_eq(store_hash_init(&h, v, 1000), E_FUTURE_REV);
        store_view_unref(v);
    }
    ck_assert_uint_eq(value[0], value[1]);
    ck_assert_uint_eq(value[0], value[2]);
    rig_done(&r);
}
END_TEST

UNIT_MAIN("store_verify", UNIT_TEST(alarms); UNIT_TEST(flipped_value); UNIT_TEST(removed_member);
          UNIT_TEST(hashes))
