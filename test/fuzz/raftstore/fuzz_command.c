/* fuzz_command.c - arbitrary bytes as commands, decoded and applied. */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/mvcc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

/* What decodes and passes the check must encode to something that decodes. */
static void round_trip(struct str bytes)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF again = BUF_INIT;
    struct command c, d;
    if (command_decode(a, bytes, &c, NULL) != 0)
        return;
    command_encode(&c, &again);
    int rc = command_decode(a, buf_str(&again), &d, NULL);
    ASSERT_CMP(rc, ==, 0);
    ASSERT_CMP(c.type, ==, d.type);
}

/* The input is a sequence of commands, each behind its length in one byte (0: the
 * rest). They meet a state that the ones before made. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mvcc *m = mvcc_new(&(struct mvcc_config){.history_bytes = 4096});
    uint64_t index = 1;
    while (size > 0) {
        size_t n = data[0] == 0 || data[0] > size - 1 ? size - 1 : data[0];
        struct str bytes = str_n((const char *)data + 1, n);
        struct mvcc_result r;
        round_trip(bytes);
        if (mvcc_apply(m, index, bytes, index, &r, NULL) == 0)
            mvcc_result_done(&r);
        mvcc_applied(m, index++);
        if (n % 2 == 0)
            mvcc_publish(m, index);
        mvcc_work(m, 10);
        data += n + 1;
        size -= n + 1;
    }
    mvcc_publish(m, index);
    mvcc_free(m);
    return 0;
}

static void add(struct buf *out, const struct command *c)
{
    AUTO_BUF one = BUF_INIT;
    command_encode(c, &one);
    buf_putc(out, (char)one.len);
    buf_append_str(out, buf_str(&one));
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const struct txn_op puts[] = {
        {.type = OP_PUT, .key = {"a", 1}, .value = {"1", 1}, .lease = 1, .prev_kv = true},
        {.type = OP_PUT, .key = {"b", 1}, .value = {"2", 1}},
    };
    static const struct txn_op reads[] = {
        {.type = OP_RANGE, .key = {"a", 1}, .range_end = {"z", 1}, .limit = 1, .rev = 2},
        {.type = OP_DELETE, .key = {"a", 1}, .range_end = {"\0", 1}, .prev_kv = true},
    };
    static const struct txn_op ordered[] = {
        {.type = OP_RANGE,
         .key = {"a", 1},
         .range_end = {"\0", 1},
         .sort_target = SORT_VALUE,
         .sort_order = SORT_DESCEND,
         .limit = 1,
         .min_mod_rev = 2},
    };
    /* What auth_change_encode() makes of adding a role. */
    AUTO_BUF role = BUF_INIT;
    auth_change_encode(&(struct auth_change){.type = AUTH_ROLE_ADD, .role = {"r", 1}}, &role);
    static const struct txn_cmp cmps[] = {
        {.key = {"a", 1}, .target = CMP_MOD, .result = CMP_GREATER, .number = 1},
        {.key = {"b", 1}, .target = CMP_VALUE, .result = CMP_EQUAL, .value = {"2", 1}},
    };
    static const struct txn inner = {.success = reads, .success_count = 2};
    static const struct txn_op nested[] = {{.type = OP_TXN, .txn = &inner}};
    const struct command all[] = {
        {.type = COMMAND_LEASE_GRANT, .id = 1, .ttl_s = 5},
        {.type = COMMAND_TXN, .txn = {.success = puts, .success_count = 2}},
        {.type = COMMAND_TXN,
         .txn = {.cmps = cmps,
                 .cmp_count = 2,
                 .success = nested,
                 .success_count = 1,
                 .failure = puts,
                 .failure_count = 1}},
        {.type = COMMAND_LEASE_KEEPALIVE, .id = 1},
        {.type = COMMAND_LEASE_EXPIRE, .id = 1, .renewals = 1},
        {.type = COMMAND_COMPACT, .rev = 3},
        {.type = COMMAND_CONFIG, .config = {"x", 1}},
        {.type = COMMAND_ALARM, .member = 1, .alarms = 1},
        {.type = COMMAND_TXN, .txn = {.success = ordered, .success_count = 1, .auth_rev = 2}},
        {.type = COMMAND_AUTH, .config = buf_str(&role)},
        {.type = COMMAND_VERIFY, .rev = 2, .hash = 77},
        {.type = COMMAND_ALARM_CHANGE, .alarms = 1},
        {.type = COMMAND_LEASE_REVOKE, .id = 1},
    };
    AUTO_BUF out = BUF_INIT;
    if (i > ARRAY_SIZE(all))
        return 0;
    for (size_t k = 0; k < ARRAY_SIZE(all); k++) {
        if (i == k || i == ARRAY_SIZE(all)) /* Each alone, then all together. */
            add(&out, &all[k]);
    }
    memcpy(p, out.data, MIN_OF(out.len, cap));
    return out.len;
}
