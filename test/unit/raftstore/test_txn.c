/* test_txn.c - encoding, bounds and rules of transactions and commands. */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/command.h"
#include "test/unit/raftstore/random.h"
#include "test/unit/unit.h"

/* --- random transactions --- */

static struct str random_str(struct random *r, struct arena *a, uint32_t max)
{
    struct str s = {.len = random_below(r, max + 1)};
    char *p = arena_alloc(a, s.len + 1);
    for (size_t i = 0; i < s.len; i++)
        p[i] = (char)random_u64(r);
    s.data = p;
    return s;
}

static void random_txn(struct random *r, struct arena *a, unsigned depth, struct txn *t);

static struct txn_op *random_ops(struct random *r, struct arena *a, unsigned depth, uint32_t *n)
{
    *n = random_below(r, 5);
    struct txn_op *ops = ARENA_ARRAY(a, struct txn_op, *n + 1);
    for (uint32_t i = 0; i < *n; i++) {
        struct txn_op *op = &ops[i];
        op->type = (enum op_type)random_below(r, depth < 4 ? 4 : 3);
        if (op->type == OP_TXN) {
            struct txn *nested = ARENA_NEW(a, struct txn);
            random_txn(r, a, depth + 1, nested);
            op->txn = nested;
            continue;
        }
        op->key = random_str(r, a, 20);
        if (op->type == OP_PUT) {
            op->value = random_str(r, a, 300);
            op->lease = (int64_t)random_u64(r);
            op->ignore_value = random_below(r, 2);
            op->ignore_lease = random_below(r, 2);
        } else {
            op->range_end = random_str(r, a, 20);
        }
        if (op->type == OP_RANGE) {
            op->rev = (int64_t)random_u64(r);
            op->limit = (int64_t)random_below(r, 1000);
            op->keys_only = random_below(r, 2);
            op->count_only = random_below(r, 2);
            if (random_below(r, 2)) {
                op->sort_target = (enum sort_target)random_below(r, 5);
                op->sort_order = (enum sort_order)random_below(r, 3);
                op->min_mod_rev = (int64_t)random_below(r, 3);
                op->max_create_rev = (int64_t)random_u64(r);
            }
        } else {
            op->prev_kv = random_below(r, 2);
        }
    }
    return ops;
}

static void random_txn(struct random *r, struct arena *a, unsigned depth, struct txn *t)
{
    t->cmp_count = random_below(r, 4);
    struct txn_cmp *cmps = ARENA_ARRAY(a, struct txn_cmp, t->cmp_count + 1);
    for (uint32_t i = 0; i < t->cmp_count; i++) {
        cmps[i] = (struct txn_cmp){.key = random_str(r, a, 20),
                                   .range_end = random_str(r, a, 20),
                                   .target = (enum cmp_target)random_below(r, 5),
                                   .result = (enum cmp_result)random_below(r, 4)};
        if (cmps[i].target == CMP_VALUE)
            cmps[i].value = random_str(r, a, 100);
        else
            cmps[i].number = (int64_t)random_u64(r);
    }
    t->cmps = cmps;
    t->success = random_ops(r, a, depth, &t->success_count);
    t->failure = random_ops(r, a, depth, &t->failure_count);
}

/* Decoding gives what encodes to the same bytes; every prefix is refused. */
START_TEST(round_trip)
{
    struct random r = random_seeded(test_seed());
    for (int i = 0; i < 300; i++) {
        AUTO_ARENA *a = arena_new(0);
        AUTO_BUF one = BUF_INIT, two = BUF_INIT;
        struct txn t = {0};
        struct command c;
        random_txn(&r, a, 1, &t);
        t.auth_rev = random_below(&r, 2) ? random_u64(&r) : 0;
        command_encode_txn(&t, &one);
        ck_assert_int_eq(command_decode(a, buf_str(&one), &c, NULL), 0);
        ck_assert_int_eq(c.type, COMMAND_TXN);
        ck_assert_uint_eq(c.txn.auth_rev, t.auth_rev);
        command_encode(&c, &two);
        ck_assert(str_eq(buf_str(&one), buf_str(&two)));
        size_t cut = random_below(&r, (uint32_t)one.len);
        ck_assert_int_ne(command_decode(a, str_n((char *)one.data, cut), &c, NULL), 0);
        buf_putc(&one, 0);
        ck_assert_int_eq(command_decode(a, buf_str(&one), &c, NULL), E_INVALID);
    }
}
END_TEST

START_TEST(round_trip_commands)
{
    static const struct command all[] = {
        {.type = COMMAND_COMPACT, .rev = INT64_MAX},
        {.type = COMMAND_LEASE_GRANT, .id = -5, .ttl_s = 60},
        {.type = COMMAND_LEASE_REVOKE, .id = INT64_MIN},
        {.type = COMMAND_LEASE_KEEPALIVE, .id = 7},
        {.type = COMMAND_LEASE_EXPIRE, .id = 7, .renewals = UINT64_MAX},
        {.type = COMMAND_CONFIG, .config = {"abc", 3}},
        {.type = COMMAND_ALARM, .member = UINT64_MAX, .alarms = 3},
        {.type = COMMAND_AUTH, .config = {"xyz", 3}},
        {.type = COMMAND_VERIFY, .rev = 12, .hash = UINT64_MAX},
        {.type = COMMAND_ALARM_CHANGE, .member = 0, .alarms = 2, .set = true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
        AUTO_ARENA *a = arena_new(0);
        AUTO_BUF b = BUF_INIT;
        struct command c;
        command_encode(&all[i], &b);
        ck_assert_int_eq(command_decode(a, buf_str(&b), &c, NULL), 0);
        ck_assert_int_eq(c.type, all[i].type);
        ck_assert_int_eq(c.rev, all[i].rev);
        ck_assert_int_eq(c.id, all[i].id);
        ck_assert_int_eq(c.ttl_s, all[i].ttl_s);
        ck_assert_uint_eq(c.renewals, all[i].renewals);
        ck_assert_uint_eq(c.hash, all[i].hash);
        ck_assert_int_eq(c.set, all[i].set);
        ck_assert(str_eq(c.config, all[i].config));
        ck_assert_uint_eq(c.member, all[i].member);
        ck_assert_uint_eq(c.alarms, all[i].alarms);
    }
}
END_TEST

/* A newer member's command stops an older one instead of being skipped. */
START_TEST(newer_commands)
{
    AUTO_ARENA *a = arena_new(0);
    struct command c;
    ck_assert_int_eq(command_decode(a, STR("\x03\x01"), &c, NULL), E_NOT_IMPLEMENTED);
    ck_assert_int_eq(command_decode(a, STR("\x01\x09"), &c, NULL), E_NOT_IMPLEMENTED);
    ck_assert_int_eq(command_decode(a, STR("\x02\x01"), &c, NULL), E_INVALID);
    ck_assert_int_eq(command_decode(a, STR("\x01\x63"), &c, NULL), E_NOT_IMPLEMENTED);
    ck_assert_int_eq(command_decode(a, STR("\x01"), &c, NULL), E_INVALID);
    ck_assert_int_eq(command_decode(a, STR_NULL, &c, NULL), E_INVALID);
}
END_TEST

/* A command says no more than it must: what the first format can express is
 * written in it, byte for byte as ever, and read. */
START_TEST(lowest_format)
{
    static const char old[] = "\x01\x01\x00\x02\x01\x00\x01k\x01v\x00\x00\x10\x01"
                              "a\x01z\x04\x0a\x00";
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    struct command c;
    struct str bytes = str_n(old, sizeof(old) - 1);
    ck_assert_int_eq(command_decode(a, bytes, &c, NULL), 0);
    ck_assert_uint_eq(c.txn.success_count, 2);
    ck_assert_int_eq(c.txn.success[1].rev, 2);
    ck_assert_int_eq(c.txn.success[1].limit, 5);
    command_encode(&c, &b);
    ck_assert(str_eq(buf_str(&b), bytes));
    ck_assert_uint_eq(command_format(bytes), 1);
    c.txn.auth_rev = 7;
    buf_clear(&b);
    command_encode(&c, &b);
    ck_assert_uint_eq(command_format(buf_str(&b)), 2);
    struct txn_op ordered = {.type = OP_RANGE, .key = STR("a"), .sort_target = SORT_MOD};
    struct txn inner = {.failure = &ordered, .failure_count = 1};
    struct txn_op nested = {.type = OP_TXN, .txn = &inner};
    buf_clear(&b);
    command_encode_txn(&(struct txn){.success = &nested, .success_count = 1}, &b);
    ck_assert_uint_eq(command_format(buf_str(&b)), 2);
}
END_TEST

/* --- rules --- */

static struct txn_op put_op(const char *key)
{
    return (struct txn_op){.type = OP_PUT, .key = str_of(key), .value = STR("v")};
}

static struct txn_op delete_op(const char *key, const char *end)
{
    return (struct txn_op){.type = OP_DELETE, .key = str_of(key), .range_end = str_of(end)};
}

static struct txn_op nested_op(const struct txn *t)
{
    return (struct txn_op){.type = OP_TXN, .txn = t};
}

static int check2(struct txn_op a, struct txn_op b)
{
    struct txn_op ops[] = {a, b};
    return txn_check(&(struct txn){.success = ops, .success_count = 2}, NULL);
}

START_TEST(duplicate_keys)
{
    ck_assert_int_eq(check2(put_op("a"), put_op("b")), 0);
    ck_assert_int_eq(check2(put_op("a"), put_op("a")), E_INVALID);
    ck_assert_int_eq(check2(put_op("a"), delete_op("a", NULL)), E_INVALID);
    ck_assert_int_eq(check2(delete_op("a", "c"), put_op("b")), E_INVALID);
    ck_assert_int_eq(check2(delete_op("a", "c"), put_op("c")), 0);
    ck_assert_int_eq(check2(delete_op("a", "c"), delete_op("b", NULL)), 0);
    struct txn_op open = delete_op("m", NULL);
    open.range_end = str_n("\0", 1);
    ck_assert_int_eq(check2(open, put_op("z")), E_INVALID);
    ck_assert_int_eq(check2(open, put_op("a")), 0);
}
END_TEST

/* As etcd: the two branches of a nested transaction exclude each other; what
 * encloses it does not. */
START_TEST(duplicate_keys_nested)
{
    struct txn_op a = put_op("a"), del = delete_op("a", "b");
    struct txn both = {.success = &a, .success_count = 1, .failure = &a, .failure_count = 1};
    struct txn only = {.success = &a, .success_count = 1};
    struct txn deletes = {.success = &del, .success_count = 1};
    struct txn either = {.success = &del, .success_count = 1, .failure = &a, .failure_count = 1};
    ck_assert_int_eq(txn_check(&both, NULL), 0);
    ck_assert_int_eq(check2(nested_op(&both), put_op("b")), 0);
    ck_assert_int_eq(check2(nested_op(&both), put_op("a")), E_INVALID);
    ck_assert_int_eq(check2(nested_op(&only), nested_op(&only)), E_INVALID);
    ck_assert_int_eq(check2(nested_op(&either), put_op("c")), 0);
    ck_assert_int_eq(check2(nested_op(&only), delete_op("a", NULL)), E_INVALID);
    ck_assert_int_eq(check2(nested_op(&deletes), nested_op(&only)), E_INVALID);
    ck_assert_int_eq(check2(nested_op(&only), nested_op(&deletes)), 0);
}
END_TEST

START_TEST(bad_fields)
{
    struct error err;
    struct txn_op op = put_op("");
    struct txn t = {.success = &op, .success_count = 1};
    ck_assert_int_eq(txn_check(&t, &err), E_INVALID);
    ck_assert_str_eq(err.message, "etcdserver: key is not provided");
    op = put_op("a");
    op.ignore_value = true;
    ck_assert_int_eq(txn_check(&t, &err), E_INVALID);
    ck_assert_str_eq(err.message, "etcdserver: value is provided");
    op.value = STR_NULL;
    op.ignore_lease = true;
    op.lease = 4;
    ck_assert_int_eq(txn_check(&t, &err), E_INVALID);
    ck_assert_str_eq(err.message, "etcdserver: lease is provided");
    struct txn_cmp cmp = {.key = STR_NULL};
    ck_assert_int_eq(txn_check(&(struct txn){.cmps = &cmp, .cmp_count = 1}, &err), E_INVALID);
}
END_TEST

START_TEST(limits)
{
    struct txn_op many[TXN_OPS_MAX + 1];
    for (size_t i = 0; i < ARRAY_SIZE(many); i++)
        many[i] = delete_op("a", NULL);
    struct txn t = {.success = many, .success_count = TXN_OPS_MAX};
    ck_assert_int_eq(txn_check(&t, NULL), 0);
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    struct txn back;
    txn_encode(&t, &b);
    ck_assert_int_eq(txn_decode(a, buf_str(&b), &back, NULL), 0);
    t.success_count++;
    ck_assert_int_eq(txn_check(&t, NULL), E_INVALID);
    buf_clear(&b);
    txn_encode(&t, &b);
    ck_assert_int_eq(txn_decode(a, buf_str(&b), &back, NULL), E_INVALID);

    struct txn deep[TXN_DEPTH_MAX + 1] = {0};
    struct txn_op ops[TXN_DEPTH_MAX];
    for (size_t i = 0; i < TXN_DEPTH_MAX; i++) {
        ops[i] = nested_op(&deep[i + 1]);
        deep[i] = (struct txn){.success = &ops[i], .success_count = 1};
    }
    ck_assert_int_eq(txn_check(&deep[1], NULL), 0);
    ck_assert_int_eq(txn_check(&deep[0], NULL), E_INVALID);
    buf_clear(&b);
    txn_encode(&deep[0], &b);
    ck_assert_int_eq(txn_decode(a, buf_str(&b), &back, NULL), E_INVALID);
    buf_clear(&b);
    txn_encode(&deep[1], &b);
    ck_assert_int_eq(txn_decode(a, buf_str(&b), &back, NULL), 0);
}
END_TEST

START_TEST(ranges)
{
    ck_assert(range_has(STR("a"), STR_NULL, STR("a")));
    ck_assert(!range_has(STR("a"), STR_NULL, STR("aa")));
    ck_assert(range_has(STR("a"), STR("b"), STR("aa")));
    ck_assert(!range_has(STR("a"), STR("b"), STR("b")));
    ck_assert(range_has(STR("a"), str_n("\0", 1), STR("\xff")));
    ck_assert(!range_has(STR("b"), str_n("\0", 1), STR("a")));
    ck_assert(!range_has(STR("b"), STR("a"), STR("b")));
}
END_TEST

UNIT_MAIN("txn", UNIT_TEST(round_trip); UNIT_TEST(round_trip_commands); UNIT_TEST(newer_commands);
          UNIT_TEST(lowest_format); UNIT_TEST(duplicate_keys); UNIT_TEST(duplicate_keys_nested);
          UNIT_TEST(bad_fields); UNIT_TEST(limits); UNIT_TEST(ranges))
