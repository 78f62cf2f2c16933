/* txn_read.c - transactions that change nothing, on a view. The rules are those of
 * raftstore/mvcc_txn.c: compares of all levels first, then the ranges. */
#include "raftstore/etcd/txn.h"

#include <string.h>

static int order_of(const struct txn_cmp *c, const struct kv *kv)
{
    int64_t n = 0;
    switch (c->target) {
    case CMP_VERSION:
        n = kv->version;
        break;
    case CMP_CREATE:
        n = kv->create_rev;
        break;
    case CMP_MOD:
        n = kv->mod_rev;
        break;
    case CMP_LEASE:
        n = kv->lease;
        break;
    case CMP_VALUE:
        return str_cmp(kv->value, c->value);
    }
    return (n > c->number) - (n < c->number);
}

static bool holds_for(const struct txn_cmp *c, const struct kv *kv)
{
    int order = order_of(c, kv);
    switch (c->result) {
    case CMP_EQUAL:
        return order == 0;
    case CMP_GREATER:
        return order > 0;
    case CMP_LESS:
        return order < 0;
    case CMP_NOT_EQUAL:
        return order != 0;
    }
    return false;
}

/* No key at all counts as one with all numbers 0; its value fits nothing. */
static bool holds(const struct store_view *v, const struct txn_cmp *c)
{
    static const struct kv absent;
    struct store_iter it;
    store_iter_init(&it, v, c->key, c->range_end, 0);
    const struct kv *kv = store_iter_next(&it);
    if (kv == NULL)
        return c->target != CMP_VALUE && holds_for(c, &absent);
    for (; kv != NULL; kv = store_iter_next(&it)) {
        if (!holds_for(c, kv))
            return false;
    }
    return true;
}

/* Depth is bounded by decoding. */
int etcd_txn_read(const struct store_view *v, const struct txn *t, struct txn_result **ret)
{
    bool yes = true;
    for (uint32_t i = 0; i < t->cmp_count && yes; i++)
        yes = holds(v, &t->cmps[i]);
    const struct txn_op *ops = yes ? t->success : t->failure;
    uint32_t count = yes ? t->success_count : t->failure_count;
    struct txn_result *r = txn_result_new(count);
    r->succeeded = yes;
    r->rev = store_view_rev(v);
    for (uint32_t i = 0; i < count; i++) {
        r->ops[i].type = ops[i].type;
        int code = ops[i].type == OP_TXN ? etcd_txn_read(v, ops[i].txn, &r->ops[i].txn)
                                         : store_view_range(v, &ops[i], &r->ops[i]);
        if (code != 0) {
            txn_result_free(r);
            return code;
        }
    }
    *ret = r;
    return 0;
}
