/* mvcc_txn.c - applying a transaction, with etcd's rules.
 *
 * First, on the state as it was: all compares, those of nested transactions in
 * the branches taken too, and whatever could refuse an operation. Only then the
 * operations run, in order, each seeing the ones before; nothing can fail then,
 * so that nothing has to be undone. */
#include "lib/base/error.h"
#include "raftstore/mvcc_internal.h"
#include "raftstore/store.h"

/* --- compares --- */

/* Of a range, every key must fit. */
static bool holds(const struct mvcc *m, const struct txn_cmp *c)
{
    struct tree_iter it;
    tree_iter_init(&it, tree_working(m->s.tree), c->key, c->range_end, 0);
    const struct kv *kv = tree_iter_next(&it);
    bool yes = txn_cmp_holds(c, kv);
    while (yes && kv != NULL && (kv = tree_iter_next(&it)) != NULL)
        yes = txn_cmp_holds(c, kv);
    return yes;
}

/* --- the plan --- */

/* Outcomes of the compares, in the order in which the transactions run. */
struct plan {
    bool taken[TXN_OPS_MAX + 1];
    uint32_t count, next;
    enum txn_refusal refusal; /* What a refused operation lacks. */
    int range_code; /* Why the first range that is refused is: told after the puts' faults. */
};

static int plan_txn(const struct mvcc *m, const struct txn *t, struct plan *p);

static int refuse(struct plan *p, enum txn_refusal refusal)
{
    p->refusal = refusal;
    return E_NOT_FOUND;
}

static int plan_op(const struct mvcc *m, const struct txn_op *op, struct plan *p)
{
    switch (op->type) {
    case OP_TXN:
        return plan_txn(m, op->txn, p);
    case OP_PUT:
        if ((op->ignore_value || op->ignore_lease) && mvcc_current_kv(m, op->key) == NULL)
            return refuse(p, TXN_REFUSED_KEY);
        if (op->lease != 0 && leases_get(&m->s.leases, op->lease) == NULL)
            return refuse(p, TXN_REFUSED_LEASE);
        return 0;
    case OP_RANGE:
        if (p->range_code == 0 && op->rev > m->s.rev)
            p->range_code = E_FUTURE_REV;
        else if (p->range_code == 0 && op->rev > 0 && op->rev < m->s.compacted)
            p->range_code = E_EXPIRED;
        return 0;
    case OP_DELETE:
        return 0;
    }
    return E_INVALID;
}

/* Depth is bounded by txn_check(). */
static int plan_txn(const struct mvcc *m, const struct txn *t, struct plan *p)
{
    bool yes = true;
    for (uint32_t i = 0; i < t->cmp_count && yes; i++)
        yes = holds(m, &t->cmps[i]);
    p->taken[p->count++] = yes;
    const struct txn_op *ops = yes ? t->success : t->failure;
    uint32_t count = yes ? t->success_count : t->failure_count;
    for (uint32_t i = 0; i < count; i++) {
        int rc = plan_op(m, &ops[i], p);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* --- the operations; ret NULL: the result is not wanted --- */

static void keep_kvs(struct op_result *ret, const struct kv *const *kvs, size_t count)
{
    if (count == 0)
        return;
    ret->kvs = xmalloc(count * sizeof(ret->kvs[0]));
    for (size_t i = 0; i < count; i++)
        ret->kvs[i] = kv_ref(kvs[i]);
    ret->kv_count = (uint32_t)count;
}

static void run_put(struct mvcc *m, const struct txn_op *op, struct op_result *ret)
{
    const struct kv *prev = mvcc_current_kv(m, op->key);
    struct str value = op->value;
    int64_t lease = op->lease;
    if (op->ignore_value && prev != NULL)
        value = kv_value(prev);
    if (op->ignore_lease && prev != NULL)
        lease = kv_lease(prev);
    if (ret != NULL && op->prev_kv && prev != NULL)
        keep_kvs(ret, &prev, 1);
    mvcc_put(m, op->key, value.data != NULL ? value : STR(""), lease);
}

static void collect(const struct mvcc *m, const struct txn_op *op, int64_t rev, size_t max,
                    struct kv_list *ret)
{
    struct tree_iter it;
    const struct kv *kv;
    tree_iter_init(&it, tree_working(m->s.tree), op->key, op->range_end, rev);
    while (ret->count < max && (kv = tree_iter_next(&it)) != NULL)
        kv_list_push(ret, kv);
}

static void run_delete(struct mvcc *m, const struct txn_op *op, struct op_result *ret)
{
    struct kv_list gone = {0};
    collect(m, op, 0, SIZE_MAX, &gone);
    for (size_t i = 0; i < gone.count; i++)
        mvcc_delete(m, gone.items[i]);
    if (ret != NULL) {
        ret->count = (int64_t)gone.count;
        if (op->prev_kv)
            keep_kvs(ret, gone.items, gone.count);
    }
    kv_list_done(&gone);
}

static void run_range(struct mvcc *m, const struct txn_op *op, struct op_result *ret)
{
    if (ret != NULL)
        mvcc_range(tree_working(m->s.tree), op, ret);
}

static struct txn_result *run_txn(struct mvcc *m, const struct txn *t, struct plan *p, bool wanted);

static void run_op(struct mvcc *m, const struct txn_op *op, struct plan *p, struct op_result *ret)
{
    if (ret != NULL)
        ret->type = op->type;
    switch (op->type) {
    case OP_PUT:
        run_put(m, op, ret);
        break;
    case OP_DELETE:
        run_delete(m, op, ret);
        break;
    case OP_RANGE:
        run_range(m, op, ret);
        break;
    case OP_TXN: {
        struct txn_result *nested = run_txn(m, op->txn, p, ret != NULL);
        if (ret != NULL)
            ret->txn = nested;
        break;
    }
    }
}

static struct txn_result *run_txn(struct mvcc *m, const struct txn *t, struct plan *p, bool wanted)
{
    bool yes = p->taken[p->next++];
    const struct txn_op *ops = yes ? t->success : t->failure;
    uint32_t count = yes ? t->success_count : t->failure_count;
    struct txn_result *r = wanted ? txn_result_new(count) : NULL;
    for (uint32_t i = 0; i < count; i++)
        run_op(m, &ops[i], p, r != NULL ? &r->ops[i] : NULL);
    if (r != NULL)
        r->succeeded = yes;
    return r;
}

/* --- the transaction --- */

static int refusal(const struct mvcc *m, const struct txn *t, struct plan *p)
{
    uint32_t alarms = mvcc_alarms(m);
    if (alarms & STORE_ALARM_CORRUPT)
        return E_CORRUPT;
    if ((alarms & STORE_ALARM_NO_SPACE) && txn_puts(t))
        return E_NO_SPACE;
    if (t->auth_rev != 0 && t->auth_rev != auth_rev(m->s.auth)) {
        p->refusal = TXN_REFUSED_AUTH;
        return E_CONFLICT;
    }
    return txn_check(t, NULL);
}

/* The revision after the whole transaction, in nested results too. */
static void set_rev(struct txn_result *r, int64_t rev)
{
    r->rev = rev;
    for (uint32_t i = 0; i < r->op_count; i++) {
        if (r->ops[i].txn != NULL)
            set_rev(r->ops[i].txn, rev);
    }
}

int mvcc_apply_txn(struct mvcc *m, const struct txn *t, struct txn_result **ret)
{
    struct plan plan;
    plan.count = plan.next = 0;
    plan.refusal = TXN_REFUSED_NOT;
    plan.range_code = 0;
    int rc = refusal(m, t, &plan);
    if (rc == 0)
        rc = plan_txn(m, t, &plan);
    if (rc == 0)
        rc = plan.range_code;
    struct txn_result *r = NULL;
    if (rc == 0) {
        r = run_txn(m, t, &plan, ret != NULL);
        mvcc_end_write(m);
    } else if (ret != NULL) {
        r = txn_result_new(0);
        r->code = rc;
        r->refusal = plan.refusal;
    }
    if (ret != NULL) {
        set_rev(r, m->s.rev);
        *ret = r;
    }
    return rc;
}
