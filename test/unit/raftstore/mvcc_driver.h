/* mvcc_driver.h - feeds a state machine with commands, for tests. */
#ifndef TEST_RAFTSTORE_MVCC_DRIVER_H
#define TEST_RAFTSTORE_MVCC_DRIVER_H

#include "lib/base/base.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/mvcc.h"
#include "raftstore/mvcc_internal.h"

#include <check.h>
#include <stdio.h>

/* Applies c as the next log entry of its own. */
static inline struct mvcc_result drive(struct mvcc *m, const struct command *c, uint64_t now_ms)
{
    AUTO_BUF b = BUF_INIT;
    struct mvcc_result r;
    uint64_t index = mvcc_applied_index(m) + 1;
    command_encode(c, &b);
    ck_assert_int_eq(mvcc_apply(m, index, buf_str(&b), now_ms, &r, NULL), 0);
    mvcc_applied(m, index);
    mvcc_publish(m, now_ms);
    return r;
}

/* The code alone. */
static inline int drive_code(struct mvcc *m, const struct command *c, uint64_t now_ms)
{
    struct mvcc_result r = drive(m, c, now_ms);
    int code = r.code;
    mvcc_result_done(&r);
    return code;
}

static inline int drive_op(struct mvcc *m, struct txn_op op)
{
    return drive_code(
        m, &(struct command){.type = COMMAND_TXN, .txn = {.success = &op, .success_count = 1}}, 0);
}

static inline int drive_put(struct mvcc *m, const char *key, const char *value)
{
    return drive_op(m, (struct txn_op){.type = OP_PUT, .key = str_of(key), .value = str_of(value)});
}

static inline int drive_put_lease(struct mvcc *m, const char *key, int64_t lease)
{
    return drive_op(
        m, (struct txn_op){.type = OP_PUT, .key = str_of(key), .value = STR("v"), .lease = lease});
}

static inline int drive_delete(struct mvcc *m, const char *key)
{
    return drive_op(m, (struct txn_op){.type = OP_DELETE, .key = str_of(key)});
}

static inline int drive_compact(struct mvcc *m, int64_t rev)
{
    return drive_code(m, &(struct command){.type = COMMAND_COMPACT, .rev = rev}, 0);
}

static inline void drive_work(struct mvcc *m)
{
    while (mvcc_work(m, 100))
        continue;
}

static inline void drive_check(const struct mvcc *m)
{
    struct error err = {0};
    if (tree_check(m->s.tree, &err) != 0)
        ck_abort_msg("%s", error_message(&err));
}

/* Of the newest view at rev; 0: its own. */
static inline uint64_t drive_hash(struct mvcc *m, int64_t rev)
{
    struct mvcc_view *v = mvcc_view(m);
    struct mvcc_hash h;
    ck_assert_int_eq(mvcc_hash_init(&h, v, rev), 0);
    while (mvcc_hash_step(&h, 7))
        continue;
    mvcc_view_unref(v);
    return h.value;
}

#endif
