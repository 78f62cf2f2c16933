/* txn_read.c - transactions that change nothing, on a view. The rules are those of
 * raftstore/mvcc_txn.c: compares of all levels first, then the ranges. */
#include "raftstore/etcd/txn.h"

static bool holds(const struct store_view *v, const struct txn_cmp *c)
{
    struct store_iter it;
    store_iter_init(&it, v, c->key, c->range_end, 0);
    const struct kv *kv = store_iter_next(&it);
    bool yes = txn_cmp_holds(c, kv);
    while (yes && kv != NULL && (kv = store_iter_next(&it)) != NULL)
        yes = txn_cmp_holds(c, kv);
    return yes;
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
