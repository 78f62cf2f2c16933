/* txn_check.c - what a transaction must satisfy before it is proposed.
 *
 * The rules about overlapping changes are those of etcd's checkIntervals(): level
 * by level, from the inside out, no key may be put twice, or put and deleted,
 * by operations that may both run. The two branches of a nested transaction
 * exclude each other. */
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/map.h"
#include "raftstore/command.h"

/* Changes made by a list of operations and what is nested in it. */
struct changes {
    struct map puts; /* Key to the check's `mark` of who put it. */
    struct buf dels; /* Of const struct txn_op *. */
};

static void changes_init(struct changes *c)
{
    map_init(&c->puts);
    buf_init(&c->dels);
}

static void changes_done(struct changes *c)
{
    map_done(&c->puts);
    buf_done(&c->dels);
}

static bool deletes(const struct changes *c, struct str key)
{
    const struct txn_op *const *dels = (const void *)c->dels.data;
    size_t n = c->dels.len / sizeof(dels[0]);
    for (size_t i = 0; i < n; i++) {
        if (range_has(dels[i]->key, dels[i]->range_end, key))
            return true;
    }
    return false;
}

static int duplicate(struct str key, struct error *err)
{
    return error_set(err, E_INVALID, "etcdserver: duplicate key given in txn request (%.*s)",
                     (int)MIN_OF(key.len, 256u), key.len > 0 ? key.data : "");
}

/* Moves the puts of a nested branch up. `other` holds the puts of the branch that
 * runs instead of it, which are no conflict; NULL for none. */
static int lift_puts(struct changes *to, const struct changes *branch, const struct changes *other,
                     struct error *err)
{
    size_t pos = 0;
    struct str key;
    void *mark;
    while (map_next(&branch->puts, &pos, &key, &mark)) {
        bool safe = other != NULL && map_has(&other->puts, key);
        if ((map_has(&to->puts, key) && !safe) || deletes(to, key))
            return duplicate(key, err);
        map_set(&to->puts, key, mark);
    }
    return 0;
}

static int check_ops(const struct txn_op *ops, uint32_t count, struct changes *ret,
                     struct error *err);

static int check_nested(const struct txn *t, struct changes *ret, struct error *err)
{
    struct changes yes, no;
    changes_init(&yes);
    changes_init(&no);
    int rc = check_ops(t->success, t->success_count, &yes, err);
    if (rc == 0)
        rc = check_ops(t->failure, t->failure_count, &no, err);
    if (rc == 0)
        rc = lift_puts(ret, &yes, NULL, err);
    if (rc == 0)
        rc = lift_puts(ret, &no, &yes, err);
    if (rc == 0) {
        buf_append(&ret->dels, yes.dels.data, yes.dels.len);
        buf_append(&ret->dels, no.dels.data, no.dels.len);
    }
    changes_done(&yes);
    changes_done(&no);
    return rc;
}

/* Depth is bounded by check_shape(). */
static int check_ops(const struct txn_op *ops, uint32_t count, struct changes *ret,
                     struct error *err)
{
    static char mark;
    for (uint32_t i = 0; i < count; i++) {
        const struct txn_op *op = &ops[i];
        if (op->type == OP_DELETE)
            buf_append(&ret->dels, &op, sizeof(op));
    }
    for (uint32_t i = 0; i < count; i++) {
        int rc = ops[i].type == OP_TXN ? check_nested(ops[i].txn, ret, err) : 0;
        if (rc != 0)
            return rc;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (ops[i].type != OP_PUT)
            continue;
        if (map_set(&ret->puts, ops[i].key, &mark) != NULL || deletes(ret, ops[i].key))
            return duplicate(ops[i].key, err);
    }
    return 0;
}

/* --- shape: sizes, depth, fields --- */

struct shape {
    uint32_t ops;
    uint32_t puts;
    uint32_t changes;
};

static int check_key(struct str key, struct str range_end, struct error *err)
{
    if (str_empty(key))
        return error_set(err, E_INVALID, "etcdserver: key is not provided");
    if (key.len > KV_KEY_MAX || range_end.len > KV_KEY_MAX)
        return error_set(err, E_INVALID, "key of %zu bytes: at most %u are allowed",
                         MAX_OF(key.len, range_end.len), KV_KEY_MAX);
    return 0;
}

static int check_put(const struct txn_op *op, struct error *err)
{
    if (op->ignore_value && !str_empty(op->value))
        return error_set(err, E_INVALID, "etcdserver: value is provided");
    if (op->ignore_lease && op->lease != 0)
        return error_set(err, E_INVALID, "etcdserver: lease is provided");
    return 0;
}

static int check_shape(const struct txn *t, unsigned depth, struct shape *s, struct error *err);

static int check_shape_ops(const struct txn_op *ops, uint32_t count, unsigned depth,
                           struct shape *s, struct error *err)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct txn_op *op = &ops[i];
        int rc = op->type == OP_TXN ? check_shape(op->txn, depth + 1, s, err)
                                    : check_key(op->key, op->range_end, err);
        if (rc == 0 && op->type == OP_PUT)
            rc = check_put(op, err);
        if (rc != 0)
            return rc;
        s->puts += op->type == OP_PUT;
        s->changes += op->type == OP_PUT || op->type == OP_DELETE;
    }
    return 0;
}

static int check_shape(const struct txn *t, unsigned depth, struct shape *s, struct error *err)
{
    uint64_t ops = (uint64_t)s->ops + t->cmp_count + t->success_count + t->failure_count;
    if (ops > TXN_OPS_MAX)
        return error_set(err, E_INVALID, "etcdserver: too many operations in txn request");
    if (depth > TXN_DEPTH_MAX)
        return error_set(err, E_INVALID, "transaction nested deeper than %d", TXN_DEPTH_MAX);
    s->ops = (uint32_t)ops;
    for (uint32_t i = 0; i < t->cmp_count; i++) {
        int rc = check_key(t->cmps[i].key, t->cmps[i].range_end, err);
        if (rc != 0)
            return rc;
    }
    int rc = check_shape_ops(t->success, t->success_count, depth, s, err);
    return rc != 0 ? rc : check_shape_ops(t->failure, t->failure_count, depth, s, err);
}

int txn_check(const struct txn *t, struct error *err)
{
    struct shape shape = {0};
    int rc = check_shape(t, 1, &shape, err);
    /* What nearly every transaction is: a put at most in either branch. */
    if (rc != 0 || shape.puts == 0 || shape.changes == 1)
        return rc;
    struct changes yes, no;
    changes_init(&yes);
    changes_init(&no);
    rc = check_ops(t->success, t->success_count, &yes, err);
    if (rc == 0)
        rc = check_ops(t->failure, t->failure_count, &no, err);
    changes_done(&yes);
    changes_done(&no);
    return rc;
}

static bool ops_put(const struct txn_op *ops, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ops[i].type == OP_PUT || (ops[i].type == OP_TXN && txn_puts(ops[i].txn)))
            return true;
    }
    return false;
}

bool txn_puts(const struct txn *t)
{
    return ops_put(t->success, t->success_count) || ops_put(t->failure, t->failure_count);
}
