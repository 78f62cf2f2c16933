/* test_mvcc_snapshot.c - a state as a stream and back; damage of every kind. */
#include "raftstore/mvcc_snapshot.h"

#include "raftstore/mvcc_snapshot_internal.h"
#include "raftstore/store.h"
#include "test/unit/raftstore/mvcc_driver.h"
#include "test/unit/raftstore/random.h"
#include "test/unit/unit.h"

#include <pthread.h>

static void add_users(struct mvcc *m)
{
    static const struct auth_change changes[] = {
        {.type = AUTH_ROLE_ADD, .role = {"writer", 6}},
        {.type = AUTH_USER_ADD, .user = {"anna", 4}, .password_hash = {"$2a$hash", 8}},
        {.type = AUTH_USER_GRANT, .user = {"anna", 4}, .role = {"writer", 6}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        AUTO_BUF b = BUF_INIT;
        auth_change_encode(&changes[i], &b);
        struct command c = {.type = COMMAND_AUTH, .config = buf_str(&b)};
        ck_assert_int_eq(drive_code(m, &c, 0), 0);
    }
}

/* A state with all there is: old versions, tombstones, leases, alarms, users, records. */
static struct mvcc *sample(struct random *r, int steps)
{
    struct mvcc *m = mvcc_new(&(struct mvcc_config){0});
    struct command alarm = {.type = COMMAND_ALARM, .member = 9, .alarms = 4};
    drive_code(m, &(struct command){.type = COMMAND_CONFIG, .config = STR("members")}, 0);
    drive_code(m, &alarm, 0);
    add_users(m);
    for (int64_t id = 1; id <= 5; id++)
        drive_code(m, &(struct command){.type = COMMAND_LEASE_GRANT, .id = id, .ttl_s = 60}, 0);
    drive_code(m, &(struct command){.type = COMMAND_LEASE_KEEPALIVE, .id = 3}, 0);
    for (int i = 0; i < steps; i++) {
        char key[64], value[200];
        snprintf(key, sizeof(key), "/registry/pods/default/pod-%u", random_below(r, 400));
        snprintf(value, sizeof(value), "value %llu of some length", (long long)random_u64(r));
        if (random_below(r, 4) == 0)
            drive_delete(m, key);
        else if (random_below(r, 10) == 0)
            drive_put_lease(m, key, 1 + random_below(r, 5));
        else
            drive_put(m, key, value);
        if (random_below(r, 300) == 0)
            drive_compact(m, mvcc_rev(m) - random_below(r, 100));
        mvcc_work(m, random_below(r, 10));
    }
    drive_code(m, &(struct command){.type = COMMAND_LEASE_REVOKE, .id = 2}, 0);
    return m;
}

static void read_all(struct mvcc_snapshot *s, size_t step, struct buf *out)
{
    for (;;) {
        uint8_t *p = buf_reserve(out, step);
        size_t n = mvcc_snapshot_read(s, p, step);
        buf_commit(out, n);
        if (n < step)
            break;
    }
    ck_assert_uint_eq(mvcc_snapshot_read(s, buf_reserve(out, 1), 1), 0);
    ck_assert_uint_eq(mvcc_snapshot_bytes(s), out->len);
}

static void snapshot_of(struct mvcc *m, size_t step, struct buf *out)
{
    struct mvcc_snapshot *s = mvcc_snapshot_new(m, 0);
    ck_assert_uint_eq(mvcc_snapshot_index(s), mvcc_applied_index(m));
    ck_assert_int_eq(mvcc_snapshot_rev(s), mvcc_rev(m));
    read_all(s, step, out);
    mvcc_snapshot_free(s);
}

/* 0, or the code of the first call that failed. */
static int feed(struct mvcc_restore *r, struct str bytes, size_t step, struct error *err)
{
    while (bytes.len > 0) {
        size_t n = MIN_OF(step, bytes.len);
        int rc = mvcc_restore_feed(r, str_sub(bytes, 0, n), err);
        if (rc != 0)
            return rc;
        bytes = str_sub(bytes, n, bytes.len - n);
    }
    return mvcc_restore_finish(r, err);
}

static void restore_into(struct mvcc *m, struct str bytes, size_t step)
{
    struct mvcc_restore *r = mvcc_restore_new();
    struct error err = {0};
    int rc = feed(r, bytes, step, &err);
    ck_assert_msg(rc == 0, "%s", error_message(&err));
    mvcc_restore_commit(r, m, 0);
}

static void expect_same(struct mvcc *a, struct mvcc *b)
{
    ck_assert_int_eq(mvcc_rev(a), mvcc_rev(b));
    ck_assert_int_eq(mvcc_compacted(a), mvcc_compacted(b));
    ck_assert_uint_eq(mvcc_applied_index(a), mvcc_applied_index(b));
    ck_assert(str_eq(mvcc_config_record(a), mvcc_config_record(b)));
    ck_assert_uint_eq(mvcc_alarms(a), mvcc_alarms(b));
    AUTO_BUF users_a = BUF_INIT, users_b = BUF_INIT;
    auth_state_encode(a->s.auth, &users_a);
    auth_state_encode(b->s.auth, &users_b);
    ck_assert(str_eq(buf_str(&users_a), buf_str(&users_b)));
    for (int64_t rev = MAX_OF(mvcc_compacted(a), 1); rev <= mvcc_rev(a); rev += 5)
        ck_assert_uint_eq(drive_hash(a, rev), drive_hash(b, rev));
    for (int64_t id = 1; id <= 5; id++) {
        struct mvcc_lease x = {0}, y = {0};
        ck_assert_int_eq(mvcc_lease_get(a, id, &x), mvcc_lease_get(b, id, &y));
        ck_assert_int_eq(x.ttl_s, y.ttl_s);
        ck_assert_uint_eq(x.renewals, y.renewals);
        ck_assert_uint_eq(x.keys, y.keys);
    }
}

/* Restored, a state is the same and goes on the same way. */
START_TEST(round_trip)
{
    static const size_t steps[] = {1, 17, 4096, 1 << 20};
    struct random r = random_seeded(test_seed());
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct mvcc *a = sample(&r, 3000), *b = mvcc_new(&(struct mvcc_config){0});
        AUTO_BUF bytes = BUF_INIT, again = BUF_INIT;
        snapshot_of(a, steps[i], &bytes);
        restore_into(b, buf_str(&bytes), steps[i]);
        expect_same(a, b);
        drive_check(b);
        snapshot_of(b, 999, &again);
        ck_assert(str_eq(buf_str(&bytes), buf_str(&again)));
        for (int k = 0; k < 50; k++) {
            char key[64];
            snprintf(key, sizeof(key), "/registry/pods/default/pod-%u", random_below(&r, 400));
            ck_assert_int_eq(drive_delete(a, key), drive_delete(b, key));
            ck_assert_int_eq(drive_put_lease(a, key, 1), drive_put_lease(b, key, 1));
        }
        drive_compact(a, mvcc_rev(a));
        drive_compact(b, mvcc_rev(b));
        drive_work(a);
        drive_work(b);
        expect_same(a, b);
        drive_check(b);
        mvcc_free(a);
        mvcc_free(b);
    }
}
END_TEST

/* An empty state, and one whose last change was compacted away. */
START_TEST(corners)
{
    struct mvcc *a = mvcc_new(&(struct mvcc_config){0}), *b = mvcc_new(&(struct mvcc_config){0});
    for (int round = 0; round < 2; round++) {
        AUTO_BUF bytes = BUF_INIT;
        snapshot_of(a, 100, &bytes);
        restore_into(b, buf_str(&bytes), 100);
        expect_same(a, b);
        drive_put(b, "x", "y");
        ck_assert_int_eq(mvcc_rev(b), mvcc_rev(a) + 1);
        mvcc_free(b);
        b = mvcc_new(&(struct mvcc_config){0});
        drive_put(a, "a", "b");
        drive_delete(a, "a");
        drive_put(a, "b", "b");
        drive_delete(a, "b");
        drive_compact(a, 5);
        drive_work(a);
    }
    mvcc_free(a);
    mvcc_free(b);
}
END_TEST

/* A value as long as they get, incompressible, beside small ones. */
START_TEST(large_value)
{
    struct random r = random_seeded(test_seed());
    size_t len = 3 << 20;
    char *value = xmalloc(len);
    for (size_t i = 0; i < len; i++)
        value[i] = (char)random_u64(&r);
    struct mvcc *a = mvcc_new(&(struct mvcc_config){0}), *b = mvcc_new(&(struct mvcc_config){0});
    drive_put(a, "a", "small");
    drive_op(a, (struct txn_op){.type = OP_PUT, .key = STR("b"), .value = str_n(value, len)});
    drive_put(a, "c", "small");
    AUTO_BUF bytes = BUF_INIT;
    snapshot_of(a, 65536, &bytes);
    restore_into(b, buf_str(&bytes), 65536);
    expect_same(a, b);
    free(value);
    mvcc_free(a);
    mvcc_free(b);
}
END_TEST

/* Writes, deletes and compaction go on while the stream is read. */
START_TEST(writes_meanwhile)
{
    struct random r = random_seeded(test_seed());
    struct mvcc *a = sample(&r, 3000), *b = mvcc_new(&(struct mvcc_config){0});
    uint64_t hash = drive_hash(a, 0), index = mvcc_applied_index(a);
    int64_t rev = mvcc_rev(a);
    struct mvcc_snapshot *s = mvcc_snapshot_new(a, 0);
    AUTO_BUF bytes = BUF_INIT;
    size_t n;
    do {
        n = mvcc_snapshot_read(s, buf_reserve(&bytes, 500), 500);
        buf_commit(&bytes, n);
        char key[64];
        snprintf(key, sizeof(key), "/registry/pods/default/pod-%u", random_below(&r, 400));
        drive_put(a, key, "new");
        snprintf(key, sizeof(key), "/registry/pods/default/pod-%u", random_below(&r, 400));
        drive_delete(a, key);
        drive_compact(a, mvcc_rev(a));
        drive_work(a);
    } while (n > 0);
    mvcc_snapshot_free(s);
    restore_into(b, buf_str(&bytes), 12345);
    ck_assert_uint_eq(drive_hash(b, 0), hash);
    ck_assert_int_eq(mvcc_rev(b), rev);
    ck_assert_uint_eq(mvcc_applied_index(b), index);
    mvcc_free(a);
    mvcc_free(b);
}
END_TEST

/* --- watches over a restore --- */

static void expect_next(struct mvcc_cursor *c, int64_t first, int64_t last)
{
    bool lost = false;
    for (int64_t rev = first; rev <= last; rev++) {
        const struct event_batch *b = mvcc_cursor_next(c, &lost);
        ck_assert_ptr_nonnull(b);
        ck_assert_int_eq(b->rev, rev);
    }
    ck_assert_ptr_null(mvcc_cursor_next(c, &lost));
    ck_assert(!lost);
}

/* After a restart a watch resumes from any revision that is not compacted. */
START_TEST(watch_resumes)
{
    struct mvcc *a = mvcc_new(&(struct mvcc_config){0}), *b = mvcc_new(&(struct mvcc_config){0});
    for (int i = 0; i < 100; i++)
        i % 3 == 2 ? drive_delete(a, "a") : drive_put(a, "a", "v");
    drive_compact(a, 40);
    AUTO_BUF bytes = BUF_INIT;
    snapshot_of(a, 4096, &bytes);
    restore_into(b, buf_str(&bytes), 4096);
    struct mvcc_cursor *c;
    ck_assert_int_eq(mvcc_cursor_new(b, 38, NULL, NULL, &c, NULL), E_EXPIRED);
    ck_assert_int_eq(mvcc_cursor_new(b, 39, NULL, NULL, &c, NULL), 0);
    expect_next(c, 40, mvcc_rev(b));
    drive_put(b, "b", "v");
    expect_next(c, mvcc_rev(b), mvcc_rev(b));
    mvcc_cursor_free(c);
    mvcc_free(a);
    mvcc_free(b);
}
END_TEST

/* A member that fell behind gets a snapshot: its cursors go on without a gap;
 * one that is too far behind is lost; old views stay as they were. */
START_TEST(install_over_running)
{
    struct mvcc *a = mvcc_new(&(struct mvcc_config){0}), *b = mvcc_new(&(struct mvcc_config){0});
    for (int i = 0; i < 50; i++) {
        drive_put(a, "a", "v");
        drive_put(b, "a", "v");
    }
    struct mvcc_cursor *c, *behind;
    ck_assert_int_eq(mvcc_cursor_new(b, 30, NULL, NULL, &c, NULL), 0);
    ck_assert_int_eq(mvcc_cursor_new(b, 1, NULL, NULL, &behind, NULL), 0);
    expect_next(c, 31, 51);
    struct mvcc_view *old = mvcc_view(b);
    for (int i = 0; i < 100; i++)
        drive_put(a, "a", "w");
    drive_compact(a, 45);
    AUTO_BUF bytes = BUF_INIT;
    snapshot_of(a, 4096, &bytes);
    restore_into(b, buf_str(&bytes), 4096);
    expect_next(c, 52, 151);
    expect_next(behind, 2, 151); /* Its chunk reaches into the new history. */
    ck_assert_str_eq(kv_value(mvcc_view_get(old, STR("a"), 0)).data, "v");
    struct mvcc_stats stats;
    drive_work(b);
    mvcc_stats(b, &stats);
    ck_assert_uint_gt(stats.dead_bytes, 0);
    mvcc_view_unref(old);
    drive_work(b);
    mvcc_stats(b, &stats);
    ck_assert_uint_eq(stats.dead_bytes, 0);

    for (int i = 0; i < 100; i++)
        drive_put(a, "a", "w");
    drive_compact(a, mvcc_rev(a));
    buf_clear(&bytes);
    snapshot_of(a, 4096, &bytes);
    restore_into(b, buf_str(&bytes), 4096);
    bool lost = false;
    ck_assert_ptr_null(mvcc_cursor_next(c, &lost));
    ck_assert(lost);
    mvcc_cursor_free(c);
    mvcc_cursor_free(behind);
    mvcc_free(a);
    mvcc_free(b);
}
END_TEST

/* --- damage --- */

static int restore_code(struct str bytes)
{
    struct mvcc_restore *r = mvcc_restore_new();
    struct error err = {0};
    int rc = feed(r, bytes, SIZE_MAX, &err);
    mvcc_restore_free(r);
    return rc;
}

/* Any flipped bit, cut end or added byte is noticed. */
START_TEST(damage)
{
    struct random r = random_seeded(test_seed());
    struct mvcc *m = sample(&r, 300);
    AUTO_BUF bytes = BUF_INIT;
    snapshot_of(m, 4096, &bytes);
    ck_assert_int_eq(restore_code(buf_str(&bytes)), 0);
    for (int i = 0; i < 2000; i++) {
        size_t at = random_below(&r, (uint32_t)bytes.len);
        uint8_t bit = (uint8_t)(1u << random_below(&r, 8));
        bytes.data[at] ^= bit;
        ck_assert_int_eq(restore_code(buf_str(&bytes)), E_CORRUPT);
        bytes.data[at] ^= bit;
    }
    for (size_t cut = 0; cut < bytes.len; cut += 1 + random_below(&r, 40))
        ck_assert_int_eq(restore_code(str_sub(buf_str(&bytes), 0, cut)), E_CORRUPT);
    buf_putc(&bytes, 'x');
    ck_assert_int_eq(restore_code(buf_str(&bytes)), E_CORRUPT);
    mvcc_free(m);
}
END_TEST

static size_t chunk_len(const uint8_t *p)
{
    uint32_t n;
    memcpy(&n, p + 4, sizeof(n));
    return SNAPSHOT_CHUNK_HEAD + n;
}

/* Whole chunks, each sound, must not be missing, double or in another order. */
START_TEST(chunk_order)
{
    struct mvcc *m = mvcc_new(&(struct mvcc_config){0});
    char value[30000], key[16];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof(key), "%d", i);
        drive_put(m, key, value);
    }
    AUTO_BUF bytes = BUF_INIT, other = BUF_INIT;
    snapshot_of(m, 4096, &bytes);
    size_t head = chunk_len(bytes.data), one = chunk_len(bytes.data + head);
    size_t two = chunk_len(bytes.data + head + one);
    const uint8_t *p1 = bytes.data + head, *p2 = p1 + one, *rest = p2 + two;
    size_t rest_len = bytes.len - head - one - two;
    ck_assert_uint_gt(rest_len, 0);

    buf_append(&other, bytes.data, head);
    buf_append(&other, p2, two);
    buf_append(&other, p1, one);
    buf_append(&other, rest, rest_len);
    ck_assert_int_eq(restore_code(buf_str(&other)), E_CORRUPT);
    buf_clear(&other);
    buf_append(&other, bytes.data, head);
    buf_append(&other, p1, one);
    buf_append(&other, rest, rest_len);
    ck_assert_int_eq(restore_code(buf_str(&other)), E_CORRUPT);
    buf_clear(&other);
    buf_append(&other, bytes.data, head + one);
    buf_append(&other, p1, bytes.len - head);
    ck_assert_int_eq(restore_code(buf_str(&other)), E_CORRUPT);
    mvcc_free(m);
}
END_TEST

/* Verifying finds the same damage and keeps nothing. */
START_TEST(verify)
{
    struct random r = random_seeded(test_seed());
    struct mvcc *m = sample(&r, 1000);
    AUTO_BUF bytes = BUF_INIT;
    snapshot_of(m, 4096, &bytes);
    struct mvcc_restore *v = mvcc_verify_new();
    ck_assert_int_eq(feed(v, buf_str(&bytes), 1000, NULL), 0);
    ck_assert_uint_eq(mvcc_restore_index(v), mvcc_applied_index(m));
    ck_assert_int_eq(mvcc_restore_rev(v), mvcc_rev(m));
    mvcc_restore_free(v);
    bytes.data[bytes.len / 2] ^= 1;
    v = mvcc_verify_new();
    ck_assert_int_eq(feed(v, buf_str(&bytes), 1000, NULL), E_CORRUPT);
    ck_assert_int_eq(mvcc_restore_feed(v, STR("x"), NULL), E_CORRUPT);
    mvcc_restore_free(v);
    mvcc_free(m);
}
END_TEST

/* --- threads: the stream is read on another one --- */

static void *read_on_thread(void *arg)
{
    struct buf *out = xzalloc(sizeof(*out));
    read_all(arg, 1000, out);
    mvcc_snapshot_free(arg);
    return out;
}

START_TEST(reader_on_thread)
{
    struct random r = random_seeded(test_seed());
    struct mvcc *a = sample(&r, 3000), *b = mvcc_new(&(struct mvcc_config){0});
    uint64_t hash = drive_hash(a, 0);
    pthread_t thread;
    pthread_create(&thread, NULL, read_on_thread, mvcc_snapshot_new(a, 0));
    for (int i = 0; i < 1000; i++) {
        char key[64];
        snprintf(key, sizeof(key), "/registry/pods/default/pod-%u", random_below(&r, 400));
        drive_put(a, key, "new");
        if (i % 100 == 0)
            drive_compact(a, mvcc_rev(a));
        mvcc_work(a, 20);
    }
    void *out;
    pthread_join(thread, &out);
    restore_into(b, buf_str(out), 1 << 16);
    ck_assert_uint_eq(drive_hash(b, 0), hash);
    buf_done(out);
    free(out);
    mvcc_free(a);
    mvcc_free(b);
}
END_TEST

UNIT_MAIN("mvcc_snapshot", UNIT_TEST(round_trip); UNIT_TEST(corners); UNIT_TEST(large_value);
          UNIT_TEST(writes_meanwhile); UNIT_TEST(watch_resumes); UNIT_TEST(install_over_running);
          UNIT_TEST(damage); UNIT_TEST(chunk_order); UNIT_TEST(verify); UNIT_TEST(reader_on_thread))
