/* fuzz_txn.c - arbitrary bytes as a transaction. */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "raftstore/txn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

/* Encoding what was decoded reaches a fixed point; the check does not crash. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF one = BUF_INIT, two = BUF_INIT;
    struct txn t, again;
    if (txn_decode(a, str_n((const char *)data, size), &t, NULL) != 0)
        return 0;
    txn_check(&t, NULL);
    txn_puts(&t);
    txn_encode(&t, &one);
    int rc = txn_decode(a, buf_str(&one), &again, NULL);
    ASSERT_CMP(rc, ==, 0);
    txn_encode(&again, &two);
    ASSERT(str_eq(buf_str(&one), buf_str(&two)));
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const struct txn_cmp cmp = {.key = {"k", 1}, .target = CMP_VALUE, .value = {"v", 1}};
    static const struct txn_op ops[] = {
        {.type = OP_PUT, .key = {"key", 3}, .value = {"value", 5}, .lease = -1},
        {.type = OP_RANGE, .key = {"a", 1}, .range_end = {"b", 1}, .rev = 300, .limit = 5},
        {.type = OP_DELETE, .key = {"a", 1}, .range_end = {"b", 1}, .prev_kv = true},
        {.type = OP_RANGE, .key = {"a", 1}, .sort_target = SORT_MOD, .max_mod_rev = 9},
    };
    static const struct txn flat = {
        .cmps = &cmp, .cmp_count = 1, .success = ops, .success_count = 4};
    static const struct txn_op nest[] = {{.type = OP_TXN, .txn = &flat}};
    static const struct txn deep = {
        .success = ops, .success_count = 1, .failure = nest, .failure_count = 1};
    if (i > 1)
        return 0;
    AUTO_BUF out = BUF_INIT;
    txn_encode(i == 0 ? &flat : &deep, &out);
    memcpy(p, out.data, MIN_OF(out.len, cap));
    return out.len;
}
