/* test_range.c - order, filters, limit and count of ranges; refusals of transactions;
 * alarms and users in the state. The expected answers were seen from etcd 3.4. */
#include "raftstore/store.h"
#include "test/unit/raftstore/mvcc_driver.h"
#include "test/unit/unit.h"

/* a: created at 2, changed at 5 and 7; b at 3; c at 4, changed at 6; d at 8. */
static struct mvcc *sample(void)
{
    static const char *const puts[][2] = {{"a", "5"}, {"b", "9"}, {"c", "1"}, {"a", "7"},
                                          {"c", "3"}, {"a", "2"}, {"d", "2"}};
    struct mvcc *m = mvcc_new(&(struct mvcc_config){0});
    for (size_t i = 0; i < ARRAY_SIZE(puts); i++)
        ck_assert_int_eq(drive_put(m, puts[i][0], puts[i][1]), 0);
    return m;
}

static struct txn_op all(void)
{
    return (struct txn_op){.type = OP_RANGE, .key = STR("a"), .range_end = str_n("\0", 1)};
}

static void expect_result(const struct op_result *r, const char *keys, int64_t count, bool more)
{
    char got[16] = "";
    for (uint32_t i = 0; i < r->kv_count; i++)
        got[i] = kv_key(r->kvs[i]).data[0];
    ck_assert_str_eq(got, keys);
    ck_assert_int_eq(r->count, count);
    ck_assert_int_eq(r->more, more);
}

/* The same from a view and within a transaction. */
static void expect(struct mvcc *m, struct txn_op op, const char *keys, int64_t count, bool more)
{
    struct op_result r;
    struct mvcc_view *v = mvcc_view(m);
    ck_assert_int_eq(mvcc_view_range(v, &op, &r), 0);
    expect_result(&r, keys, count, more);
    op_result_done(&r);
    mvcc_view_unref(v);
    struct command c = {.type = COMMAND_TXN, .txn = {.success = &op, .success_count = 1}};
    struct mvcc_result result = drive(m, &c, 0);
    ck_assert_int_eq(result.code, 0);
    expect_result(&result.txn->ops[0], keys, count, more);
    mvcc_result_done(&result);
}

START_TEST(order)
{
    struct mvcc *m = sample();
    struct txn_op op = all();
    expect(m, op, "abcd", 4, false);
    op.sort_order = SORT_DESCEND;
    expect(m, op, "dcba", 4, false);
    op.sort_target = SORT_VERSION; /* Equal ones by key, in both directions. */
    expect(m, op, "acbd", 4, false);
    op.sort_order = SORT_ASCEND;
    expect(m, op, "bdca", 4, false);
    op.sort_target = SORT_MOD;
    expect(m, op, "bcad", 4, false);
    op.sort_order = SORT_NONE; /* Rising, unless the target is the key. */
    expect(m, op, "bcad", 4, false);
    op.sort_target = SORT_CREATE;
    op.sort_order = SORT_DESCEND;
    expect(m, op, "dcba", 4, false);
    op.sort_target = SORT_VALUE;
    expect(m, op, "bcad", 4, false);
    mvcc_free(m);
}
END_TEST

START_TEST(limits)
{
    struct mvcc *m = sample();
    struct txn_op op = all();
    op.limit = 2;
    expect(m, op, "ab", 4, true);
    op.limit = 4;
    expect(m, op, "abcd", 4, false);
    op.limit = 2;
    op.sort_order = SORT_DESCEND;
    expect(m, op, "dc", 4, true);
    op.sort_target = SORT_MOD;
    expect(m, op, "da", 4, true);
    op.sort_order = SORT_NONE; /* As etcd: of the first three keys, two in order. */
    expect(m, op, "bc", 4, true);
    op = all();
    op.limit = -1;
    expect(m, op, "abcd", 4, false);
    op.count_only = true;
    op.limit = 1;
    expect(m, op, "", 4, false);
    mvcc_free(m);
}
END_TEST

/* The count is that of the range; the limit counts what is left. */
START_TEST(filters)
{
    struct mvcc *m = sample();
    struct txn_op op = all();
    op.min_mod_rev = 6;
    expect(m, op, "acd", 4, false);
    op.max_mod_rev = 7;
    expect(m, op, "ac", 4, false);
    op.limit = 1;
    expect(m, op, "a", 4, true);
    op.limit = 2;
    expect(m, op, "ac", 4, false);
    op = all();
    op.min_create_rev = 3;
    op.max_create_rev = 4;
    op.sort_order = SORT_DESCEND;
    expect(m, op, "cb", 4, false);
    op.max_create_rev = -1;
    expect(m, op, "", 4, false);
    op = (struct txn_op){.type = OP_RANGE, .key = STR("a"), .min_mod_rev = 8};
    expect(m, op, "", 1, false);
    op.min_mod_rev = 7;
    expect(m, op, "a", 1, false);
    op.key = STR("x");
    expect(m, op, "", 0, false);
    mvcc_free(m);
}
END_TEST

START_TEST(old_revisions)
{
    struct mvcc *m = sample();
    struct txn_op op = all();
    struct op_result r;
    op.rev = 4;
    op.sort_target = SORT_VALUE;
    expect(m, op, "cab", 3, false);
    struct mvcc_view *v = mvcc_view(m);
    op.rev = 9;
    ck_assert_int_eq(mvcc_view_range(v, &op, &r), E_FUTURE_REV);
    mvcc_view_unref(v);
    ck_assert_int_eq(drive_compact(m, 5), 0);
    v = mvcc_view(m);
    op.rev = 4;
    ck_assert_int_eq(mvcc_view_range(v, &op, &r), E_EXPIRED);
    op.rev = 5;
    ck_assert_int_eq(mvcc_view_range(v, &op, &r), 0);
    op_result_done(&r);
    mvcc_view_unref(v);
    mvcc_free(m);
}
END_TEST

/* --- refusals --- */

static void expect_refusal(struct mvcc *m, const struct txn *t, int code, enum txn_refusal refusal)
{
    struct mvcc_result r = drive(m, &(struct command){.type = COMMAND_TXN, .txn = *t}, 0);
    ck_assert_int_eq(r.code, code);
    ck_assert_ptr_nonnull(r.txn);
    ck_assert_int_eq(r.txn->code, code);
    ck_assert_int_eq(r.txn->refusal, refusal);
    mvcc_result_done(&r);
}

/* A refused transaction says what it lacks, and changes nothing. */
START_TEST(refusals)
{
    struct mvcc *m = sample();
    struct txn_op op = {.type = OP_PUT, .key = STR("x"), .lease = 77};
    struct txn t = {.success = &op, .success_count = 1};
    int64_t rev = mvcc_rev(m);
    expect_refusal(m, &t, E_NOT_FOUND, TXN_REFUSED_LEASE);
    op = (struct txn_op){.type = OP_PUT, .key = STR("x"), .ignore_value = true};
    expect_refusal(m, &t, E_NOT_FOUND, TXN_REFUSED_KEY);
    op.key = STR("a");
    t.auth_rev = 5;
    expect_refusal(m, &t, E_CONFLICT, TXN_REFUSED_AUTH);
    ck_assert_int_eq(mvcc_rev(m), rev);
    struct mvcc_view *v = mvcc_view(m);
    t.auth_rev = auth_rev(mvcc_view_auth(v));
    mvcc_view_unref(v);
    expect_refusal(m, &t, 0, TXN_REFUSED_NOT);
    ck_assert_int_eq(mvcc_rev(m), rev + 1);
    mvcc_free(m);
}
END_TEST

/* --- users --- */

static struct mvcc_result drive_auth(struct mvcc *m, const struct auth_change *change)
{
    AUTO_BUF b = BUF_INIT;
    auth_change_encode(change, &b);
    return drive(m, &(struct command){.type = COMMAND_AUTH, .config = buf_str(&b)}, 0);
}

/* Views hold the users as of their moment; a refusal says why. */
START_TEST(users)
{
    struct mvcc *m = mvcc_new(&(struct mvcc_config){0});
    struct auth_change add = {.type = AUTH_ROLE_ADD, .role = STR("reader")};
    struct mvcc_view *before = mvcc_view(m);
    struct mvcc_result r = drive_auth(m, &add);
    ck_assert_int_eq(r.code, 0);
    ck_assert_int_eq(r.auth, AUTH_REFUSED_NOT);
    r = drive_auth(m, &add);
    ck_assert_int_eq(r.code, E_INVALID);
    ck_assert_int_eq(r.auth, AUTH_REFUSED_ROLE_EXISTS);
    struct mvcc_view *after = mvcc_view(m);
    ck_assert_ptr_null(auth_role(mvcc_view_auth(before), STR("reader")));
    ck_assert_ptr_nonnull(auth_role(mvcc_view_auth(after), STR("reader")));
    ck_assert_uint_gt(auth_rev(mvcc_view_auth(after)), auth_rev(mvcc_view_auth(before)));
    ck_assert_int_eq(mvcc_rev(m), 1);
    mvcc_view_unref(before);
    mvcc_view_unref(after);
    r = drive(m, &(struct command){.type = COMMAND_AUTH, .config = STR("\xff noise")}, 0);
    ck_assert_int_eq(r.code, E_INVALID);
    mvcc_free(m);
}
END_TEST

/* --- alarms --- */

static void change_alarm(struct mvcc *m, uint64_t member, uint32_t alarms, bool set)
{
    struct command c = {
        .type = COMMAND_ALARM_CHANGE, .member = member, .alarms = alarms, .set = set};
    ck_assert_int_eq(drive_code(m, &c, 0), 0);
}

START_TEST(alarm_changes)
{
    struct mvcc *m = mvcc_new(&(struct mvcc_config){0});
    change_alarm(m, 3, STORE_ALARM_NO_SPACE, true);
    change_alarm(m, 3, STORE_ALARM_CORRUPT, true);
    change_alarm(m, 1, STORE_ALARM_NO_SPACE, true);
    ck_assert_uint_eq(mvcc_member_alarms(m, 3), 3);
    change_alarm(m, 3, STORE_ALARM_CORRUPT, false);
    ck_assert_uint_eq(mvcc_member_alarms(m, 3), STORE_ALARM_NO_SPACE);
    change_alarm(m, 0, STORE_ALARM_NO_SPACE, false); /* Everybody's. */
    ck_assert_uint_eq(mvcc_alarms(m), 0);
    struct command bad = {.type = COMMAND_ALARM_CHANGE, .alarms = 1, .set = true};
    ck_assert_int_eq(drive_code(m, &bad, 0), E_INVALID);
    mvcc_free(m);
}
END_TEST

/* What a client raised outlasts the member's own opinion, until a client clears it. */
START_TEST(held_alarms)
{
    struct mvcc *m = mvcc_new(&(struct mvcc_config){0});
    struct command own = {.type = COMMAND_ALARM, .member = 3, .alarms = STORE_ALARM_CORRUPT};
    change_alarm(m, 3, STORE_ALARM_NO_SPACE, true);
    ck_assert_int_eq(drive_code(m, &own, 0), 0);
    ck_assert_uint_eq(mvcc_member_alarms(m, 3), 3);
    ck_assert_uint_eq(mvcc_held_alarms(m, 3), STORE_ALARM_NO_SPACE);
    own.alarms = 0;
    ck_assert_int_eq(drive_code(m, &own, 0), 0);
    ck_assert_uint_eq(mvcc_alarms(m), STORE_ALARM_NO_SPACE);
    change_alarm(m, 3, STORE_ALARM_NO_SPACE | STORE_ALARM_CORRUPT, false);
    size_t count;
    mvcc_alarm_list(m, &count);
    ck_assert_uint_eq(count, 0);
    mvcc_free(m);
}
END_TEST

UNIT_MAIN("range", UNIT_TEST(order); UNIT_TEST(limits); UNIT_TEST(filters);
          UNIT_TEST(old_revisions); UNIT_TEST(refusals); UNIT_TEST(users); UNIT_TEST(alarm_changes);
          UNIT_TEST(held_alarms))
