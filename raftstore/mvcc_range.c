/* mvcc_range.c - what a range finds: for reads of views and within transactions.
 *
 * As etcd's: the count is that of all keys in the range, whatever the filters
 * drop; the limit counts what is left after filtering and sorting. */
#include "lib/base/error.h"
#include "raftstore/mvcc_internal.h"

/* --- order --- */

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare(const struct kv *a, const struct kv *b, enum sort_target target)
{
    switch (target) {
    case SORT_KEY:
        break;
    case SORT_VERSION:
        return compare_numbers(kv_version(a), kv_version(b));
    case SORT_CREATE:
        return compare_numbers(kv_create_rev(a), kv_create_rev(b));
    case SORT_MOD:
        return compare_numbers(a->mod_rev, b->mod_rev);
    case SORT_VALUE:
        return str_cmp(kv_value(a), kv_value(b));
    }
    return str_cmp(kv_key(a), kv_key(b));
}

struct sort_rule {
    enum sort_target target;
    bool descend;
};

/* Equal ones stand by rising key, in either direction. */
static int by_rule(const void *a, const void *b, void *arg)
{
    const struct kv *x = *(const struct kv *const *)a, *y = *(const struct kv *const *)b;
    const struct sort_rule *rule = arg;
    int order = compare(x, y, rule->target);
    if (order == 0)
        return str_cmp(kv_key(x), kv_key(y));
    return rule->descend ? -order : order;
}

static void sort_kvs(struct kv_list *l, const struct txn_op *op)
{
    struct sort_rule rule = {op->sort_target, op->sort_order == SORT_DESCEND};
    if (l->count > 1)
        qsort_r(l->items, l->count, sizeof(l->items[0]), by_rule, &rule);
}

/* --- the range --- */

/* How many of the first keys the walk needs; 0: all. An order by something else
 * than the key that was not asked for by name sorts only what the limit lets
 * through, and one more: so does etcd. */
static size_t walk_max(const struct txn_op *op)
{
    if (op->limit <= 0 || op->sort_order != SORT_NONE || txn_op_filters(op))
        return 0;
    return op->sort_target == SORT_KEY ? (size_t)op->limit : (size_t)op->limit + 1;
}

static void walk(struct tree_root root, const struct txn_op *op, int64_t rev, struct kv_list *ret)
{
    struct tree_iter it;
    const struct kv *kv;
    size_t max = walk_max(op);
    bool filter = txn_op_filters(op);
    tree_iter_init(&it, root, op->key, op->range_end, rev);
    while ((max == 0 || ret->count < max) && (kv = tree_iter_next(&it)) != NULL)
        if (!filter || txn_op_passes(op, kv))
            kv_list_push(ret, kv);
}

/* The list becomes the result's. */
static void give(struct kv_list *found, struct op_result *ret)
{
    for (size_t i = 0; i < found->count; i++)
        kv_ref(found->items[i]);
    ret->kv_count = (uint32_t)found->count;
    ret->kvs = found->count > 0 ? found->items : NULL;
    if (found->count == 0)
        kv_list_done(found);
}

static void range_one(struct tree_root root, const struct txn_op *op, int64_t rev,
                      struct op_result *ret)
{
    const struct kv *kv = tree_get(root, op->key, rev);
    ret->count = kv != NULL;
    if (kv == NULL || op->count_only || !txn_op_passes(op, kv))
        return;
    ret->kvs = xmalloc(sizeof(ret->kvs[0]));
    ret->kvs[0] = kv_ref(kv);
    ret->kv_count = 1;
}

void mvcc_range(struct tree_root root, const struct txn_op *op, struct op_result *ret)
{
    int64_t rev = MAX_OF(op->rev, 0);
    *ret = (struct op_result){.type = OP_RANGE};
    if (str_empty(op->range_end)) {
        range_one(root, op, rev, ret);
        return;
    }
    ret->count = tree_count(root, op->key, op->range_end, rev);
    if (op->count_only || ret->count == 0)
        return;
    struct kv_list found = {0};
    walk(root, op, rev, &found);
    if (op->sort_target != SORT_KEY || op->sort_order == SORT_DESCEND)
        sort_kvs(&found, op);
    bool walked_all = walk_max(op) == 0 || (size_t)ret->count <= walk_max(op);
    ret->more = !walked_all;
    if (op->limit > 0 && found.count > (uint64_t)op->limit) {
        found.count = (size_t)op->limit;
        ret->more = true;
    }
    give(&found, ret);
}
