/* test_mvcc_model.c - the state machine against a naive model that keeps a copy of
 * everything per revision. TEST_SEED=n repeats a run. */
#include "lib/base/arena.h"
#include "test/unit/raftstore/mvcc_driver.h"
#include "test/unit/raftstore/random.h"
#include "test/unit/unit.h"

/* --- the model --- */

#define KEYS 24
#define LEASES 4
#define REVS_MAX 4000
#define EVENTS_MAX 64

struct mkv {
    int64_t create, mod, version, lease; /* version 0: not there. */
    int value;
};

struct mevent {
    int key;
    struct mkv kv, prev;
};

struct mrev {
    struct mkv kv[KEYS];
    struct mevent events[EVENTS_MAX];
    size_t event_count;
};

struct model {
    struct mrev *revs; /* [rev] */
    int64_t rev, compacted;
    bool leases[LEASES + 1];
    struct mrev now; /* The revision in the making. */
};

static const char *key_name(int i)
{
    static char names[KEYS + 1][8];
    snprintf(names[i], sizeof(names[i]), "key%02d", i);
    return names[i];
}

static int key_of(struct str s)
{
    return (s.data[3] - '0') * 10 + s.data[4] - '0';
}

static struct str value_str(struct arena *a, int value)
{
    return arena_printf(a, "%d", value);
}

static int value_of(struct str s)
{
    return s.len > 0 ? atoi(s.data) : 0;
}

/* [from, to) of a pair of key and range end. */
static void bounds(struct str key, struct str end, int *from, int *to)
{
    *from = key_of(key);
    *to = end.len == 0 ? *from + 1 : end.len == 1 ? KEYS : key_of(end);
}

static void model_change(struct model *m, int key, struct mkv next)
{
    struct mevent *e = &m->now.events[m->now.event_count++];
    ck_assert_uint_le(m->now.event_count, EVENTS_MAX);
    *e = (struct mevent){key, next, m->now.kv[key]};
    m->now.kv[key] = next;
}

static void model_put(struct model *m, const struct txn_op *op)
{
    struct mkv *old = &m->now.kv[key_of(op->key)], next = {.mod = m->rev + 1};
    next.create = old->version > 0 ? old->create : m->rev + 1;
    next.version = old->version + 1;
    next.value = op->ignore_value ? old->value : value_of(op->value);
    next.lease = op->ignore_lease ? old->lease : op->lease;
    model_change(m, key_of(op->key), next);
}

static int64_t model_delete(struct model *m, int from, int to)
{
    int64_t n = 0;
    for (int i = from; i < to; i++) {
        if (m->now.kv[i].version > 0) {
            model_change(m, i, (struct mkv){.mod = m->rev + 1});
            n++;
        }
    }
    return n;
}

static void model_begin(struct model *m)
{
    m->now = m->revs[m->rev];
    m->now.event_count = 0;
}

static void model_end(struct model *m)
{
    if (m->now.event_count > 0)
        m->revs[++m->rev] = m->now;
    ck_assert_int_lt(m->rev, REVS_MAX - 1);
}

static bool model_cmp_one(const struct txn_cmp *c, const struct mkv *kv)
{
    int64_t n = 0, want = c->number;
    switch (c->target) {
    case CMP_VERSION:
        n = kv->version;
        break;
    case CMP_CREATE:
        n = kv->create;
        break;
    case CMP_MOD:
        n = kv->mod;
        break;
    case CMP_LEASE:
        n = kv->lease;
        break;
    case CMP_VALUE:
        n = kv->value;
        want = value_of(c->value);
        break;
    }
    switch (c->result) {
    case CMP_EQUAL:
        return n == want;
    case CMP_GREATER:
        return n > want;
    case CMP_LESS:
        return n < want;
    case CMP_NOT_EQUAL:
        return n != want;
    }
    return false;
}

static bool model_cmp(const struct model *m, const struct txn_cmp *c)
{
    int from, to, found = 0;
    bounds(c->key, c->range_end, &from, &to);
    for (int i = from; i < to; i++) {
        const struct mkv *kv = &m->revs[m->rev].kv[i];
        if (kv->version == 0)
            continue;
        found++;
        if (!model_cmp_one(c, kv))
            return false;
    }
    return found > 0 || (c->target != CMP_VALUE && model_cmp_one(c, &(struct mkv){0}));
}

static bool model_succeeds(const struct model *m, const struct txn *t)
{
    for (uint32_t i = 0; i < t->cmp_count; i++) {
        if (!model_cmp(m, &t->cmps[i]))
            return false;
    }
    return true;
}

/* The first fault of a put, in the order of the operations; *range_code: of a range. */
static int model_faults(const struct model *m, const struct txn *t, int *range_code)
{
    bool yes = model_succeeds(m, t);
    const struct txn_op *ops = yes ? t->success : t->failure;
    uint32_t n = yes ? t->success_count : t->failure_count;
    for (uint32_t i = 0; i < n; i++) {
        const struct txn_op *op = &ops[i];
        int rc = 0;
        if (op->type == OP_TXN)
            rc = model_faults(m, op->txn, range_code);
        else if (op->type == OP_PUT && (op->ignore_value || op->ignore_lease) &&
                 m->revs[m->rev].kv[key_of(op->key)].version == 0)
            rc = E_NOT_FOUND;
        else if (op->type == OP_PUT && op->lease != 0 && !m->leases[op->lease])
            rc = E_NOT_FOUND;
        else if (op->type == OP_RANGE && *range_code == 0 && op->rev > m->rev)
            *range_code = E_FUTURE_REV;
        else if (op->type == OP_RANGE && *range_code == 0 && op->rev > 0 && op->rev < m->compacted)
            *range_code = E_EXPIRED;
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* As etcd: the puts' faults come before the ranges'. */
static int model_refuses(const struct model *m, const struct txn *t)
{
    int range_code = 0, rc = model_faults(m, t, &range_code);
    return rc != 0 ? rc : range_code;
}

/* --- comparing --- */

static void expect_kv(const struct kv *kv, int key, const struct mkv *want)
{
    ck_assert_ptr_nonnull(kv);
    ck_assert_str_eq(kv_key(kv).data, key_name(key));
    ck_assert_int_eq(kv->mod_rev, want->mod);
    ck_assert_int_eq(kv_create_rev(kv), want->create);
    ck_assert_int_eq(kv_version(kv), want->version);
    ck_assert_int_eq(kv_lease(kv), want->lease);
    ck_assert_int_eq(value_of(kv_value(kv)), want->value);
}

static int by_key(const void *a, const void *b)
{
    return str_cmp(kv_key(*(const struct kv *const *)a), kv_key(*(const struct kv *const *)b));
}

static void expect_range(const struct model *m, const struct txn_op *op, const struct op_result *r)
{
    const struct mkv *kvs = op->rev > 0 ? m->revs[op->rev].kv : m->now.kv;
    int from, to;
    int64_t total = 0;
    uint32_t n = 0;
    bounds(op->key, op->range_end, &from, &to);
    for (int i = from; i < to; i++) {
        if (kvs[i].version == 0)
            continue;
        total++;
        if (op->count_only || (op->limit > 0 && n == op->limit))
            continue;
        ck_assert_uint_lt(n, r->kv_count);
        expect_kv(r->kvs[n++], i, &kvs[i]);
    }
    ck_assert_uint_eq(r->kv_count, n);
    ck_assert_int_eq(r->count, total);
    ck_assert_int_eq(r->more, !op->count_only && n < total);
}

/* Runs the model along with the result, operation by operation. */
static void expect_txn(struct model *m, const struct txn *t, bool yes, const struct txn_result *r);

static void expect_op(struct model *m, const struct txn_op *op, const struct op_result *r)
{
    int from, to;
    ck_assert_int_eq(r->type, op->type);
    switch (op->type) {
    case OP_TXN:
        /* Compares were decided on the state before. */
        expect_txn(m, op->txn, model_succeeds(m, op->txn), r->txn);
        return;
    case OP_RANGE:
        expect_range(m, op, r);
        return;
    case OP_PUT: {
        struct mkv old = m->now.kv[key_of(op->key)];
        bool had = op->prev_kv && old.version > 0;
        ck_assert_uint_eq(r->kv_count, had);
        if (had)
            expect_kv(r->kvs[0], key_of(op->key), &old);
        model_put(m, op);
        return;
    }
    case OP_DELETE: {
        struct mrev before = m->now;
        bounds(op->key, op->range_end, &from, &to);
        int64_t n = model_delete(m, from, to);
        ck_assert_int_eq(r->count, n);
        ck_assert_int_eq(r->kv_count, op->prev_kv ? n : 0);
        for (int i = from, k = 0; i < to && op->prev_kv; i++) {
            if (before.kv[i].version > 0)
                expect_kv(r->kvs[k++], i, &before.kv[i]);
        }
        return;
    }
    }
}

static void expect_txn(struct model *m, const struct txn *t, bool yes, const struct txn_result *r)
{
    ck_assert_int_eq(r->succeeded, yes);
    const struct txn_op *ops = yes ? t->success : t->failure;
    uint32_t n = yes ? t->success_count : t->failure_count;
    ck_assert_uint_eq(r->op_count, n);
    for (uint32_t i = 0; i < n; i++)
        expect_op(m, &ops[i], &r->ops[i]);
}

static void expect_batch(const struct model *m, const struct event_batch *b, int64_t rev)
{
    const struct mrev *want = &m->revs[rev];
    ck_assert_ptr_nonnull(b);
    ck_assert_int_eq(b->rev, rev);
    ck_assert_uint_eq(b->count, want->event_count);
    for (uint32_t i = 0; i < b->count; i++) {
        const struct mevent *e = &want->events[i];
        ck_assert_int_eq(event_type(&b->events[i]), e->kv.version > 0 ? EVENT_PUT : EVENT_DELETE);
        expect_kv(b->events[i].kv, e->key, &e->kv);
        /* The version before the compacted revision may be gone. */
        if (b->events[i].prev == NULL && rev <= m->compacted)
            continue;
        ck_assert_int_eq(b->events[i].prev != NULL, e->prev.version > 0);
        if (b->events[i].prev != NULL)
            expect_kv(b->events[i].prev, e->key, &e->prev);
    }
}

/* --- random commands --- */

struct run {
    struct random r;
    struct mvcc *m, *twin; /* The twin gets no results and publishes at other times. */
    struct model model;
    struct mvcc_cursor *cursor;
    int64_t cursor_rev;
    uint64_t now_ms;
};

static void random_range(struct run *run, struct str *key, struct str *end)
{
    int from = (int)random_below(&run->r, KEYS), to = (int)random_below(&run->r, KEYS + 1);
    *key = str_of(key_name(from));
    *end = STR_NULL;
    if (random_below(&run->r, 3) == 0)
        *end = random_below(&run->r, 4) == 0 ? str_n("\0", 1) : str_of(key_name(to));
}

static void random_op(struct run *run, struct arena *a, struct txn_op *op)
{
    op->type = (enum op_type)random_below(&run->r, 3);
    random_range(run, &op->key, &op->range_end);
    op->prev_kv = random_below(&run->r, 2);
    switch (op->type) {
    case OP_PUT:
        op->range_end = STR_NULL;
        op->ignore_value = random_below(&run->r, 10) == 0;
        op->ignore_lease = random_below(&run->r, 10) == 0;
        if (!op->ignore_value)
            op->value = value_str(a, (int)random_below(&run->r, 5));
        if (!op->ignore_lease && random_below(&run->r, 3) == 0)
            op->lease = 1 + (int64_t)random_below(&run->r, LEASES);
        break;
    case OP_RANGE:
        op->prev_kv = false;
        op->limit = (int64_t)random_below(&run->r, 5);
        op->count_only = random_below(&run->r, 8) == 0;
        if (random_below(&run->r, 3) == 0)
            op->rev = run->model.rev + 2 - (int64_t)random_below(&run->r, 60);
        op->rev = MAX_OF(op->rev, 0);
        break;
    case OP_DELETE:
        if (random_below(&run->r, 2) == 0)
            op->range_end = STR_NULL;
        break;
    case OP_TXN:
        break;
    }
}

static void random_txn(struct run *run, struct arena *a, int depth, struct txn *t)
{
    struct txn_cmp *cmps = ARENA_ARRAY(a, struct txn_cmp, 2);
    struct txn_op *lists[2];
    t->cmp_count = random_below(&run->r, 3);
    for (uint32_t i = 0; i < t->cmp_count; i++) {
        random_range(run, &cmps[i].key, &cmps[i].range_end);
        cmps[i].target = (enum cmp_target)random_below(&run->r, 5);
        cmps[i].result = (enum cmp_result)random_below(&run->r, 4);
        int64_t number = random_below(&run->r, 5);
        if (cmps[i].target == CMP_CREATE || cmps[i].target == CMP_MOD)
            number *= run->model.rev / 3;
        if (cmps[i].target == CMP_VALUE)
            cmps[i].value = value_str(a, (int)number);
        else
            cmps[i].number = number;
    }
    t->cmps = cmps;
    for (int side = 0; side < 2; side++) {
        uint32_t n = random_below(&run->r, 4);
        lists[side] = ARENA_ARRAY(a, struct txn_op, n + 1);
        for (uint32_t i = 0; i < n; i++) {
            random_op(run, a, &lists[side][i]);
            if (depth < 3 && random_below(&run->r, 8) == 0) {
                struct txn *nested = ARENA_NEW(a, struct txn);
                random_txn(run, a, depth + 1, nested);
                lists[side][i] = (struct txn_op){.type = OP_TXN, .txn = nested};
            }
        }
        *(side == 0 ? &t->success_count : &t->failure_count) = n;
    }
    t->success = lists[0];
    t->failure = lists[1];
}

static void twin_apply(struct run *run, const struct command *c)
{
    AUTO_BUF b = BUF_INIT;
    uint64_t index = mvcc_applied_index(run->twin) + 1;
    command_encode(c, &b);
    ck_assert_int_eq(mvcc_apply(run->twin, index, buf_str(&b), 0, NULL, NULL), 0);
    mvcc_applied(run->twin, index);
    if (random_below(&run->r, 10) == 0)
        mvcc_publish(run->twin, 0);
    if (random_below(&run->r, 10) == 0)
        mvcc_work(run->twin, random_below(&run->r, 50));
}

static struct mvcc_result both(struct run *run, const struct command *c)
{
    twin_apply(run, c);
    return drive(run->m, c, run->now_ms);
}

static int both_code(struct run *run, const struct command *c)
{
    struct mvcc_result r = both(run, c);
    ck_assert_int_eq(r.rev, run->model.rev);
    int code = r.code;
    mvcc_result_done(&r);
    return code;
}

static void step_txn(struct run *run)
{
    AUTO_ARENA *a = arena_new(0);
    struct command c = {.type = COMMAND_TXN};
    struct model *m = &run->model;
    random_txn(run, a, 1, &c.txn);
    int code = txn_check(&c.txn, NULL);
    if (code == 0)
        code = model_refuses(m, &c.txn);
    struct mvcc_result r = both(run, &c);
    ck_assert_int_eq(r.code, code);
    ck_assert_int_eq(r.txn->code, code);
    if (code == 0) {
        model_begin(m);
        expect_txn(m, &c.txn, model_succeeds(m, &c.txn), r.txn);
        model_end(m);
    }
    ck_assert_int_eq(r.txn->rev, m->rev);
    ck_assert_int_eq(r.rev, m->rev);
    mvcc_result_done(&r);
}

static void step_compact(struct run *run)
{
    struct model *m = &run->model;
    int64_t rev = m->rev + 2 - (int64_t)random_below(&run->r, 40);
    int want = rev > m->rev ? E_FUTURE_REV : rev <= m->compacted ? E_EXPIRED : 0;
    if (want == 0)
        m->compacted = rev;
    ck_assert_int_eq(both_code(run, &(struct command){.type = COMMAND_COMPACT, .rev = rev}), want);
}

static void model_revoke(struct model *m, int64_t id)
{
    model_begin(m);
    for (int i = 0; i < KEYS; i++) {
        if (m->now.kv[i].lease == id)
            model_delete(m, i, i + 1);
    }
    model_end(m);
    m->leases[id] = false;
}

static void step_lease(struct run *run)
{
    struct model *m = &run->model;
    int64_t id = 1 + (int64_t)random_below(&run->r, LEASES);
    struct command grant = {.type = COMMAND_LEASE_GRANT, .id = id, .ttl_s = 10};
    struct command revoke = {.type = COMMAND_LEASE_REVOKE, .id = id};
    struct command keep = {.type = COMMAND_LEASE_KEEPALIVE, .id = id};
    switch (random_below(&run->r, 4)) {
    case 0:
    case 1:
        ck_assert_int_eq(both_code(run, &grant), m->leases[id] ? E_EXISTS : 0);
        m->leases[id] = true;
        break;
    case 2:
        ck_assert_int_eq(both_code(run, &keep), m->leases[id] ? 0 : E_NOT_FOUND);
        break;
    default:
        if (random_below(&run->r, 4) != 0)
            break;
        bool there = m->leases[id];
        if (there)
            model_revoke(m, id);
        ck_assert_int_eq(both_code(run, &revoke), there ? 0 : E_NOT_FOUND);
    }
}

static void check_lease(struct run *run)
{
    int64_t id = 1 + (int64_t)random_below(&run->r, LEASES);
    struct mvcc_lease info = {0};
    const struct kv **kvs;
    size_t n = mvcc_lease_keys(run->m, id, &kvs), at = 0;
    if (n > 1)
        qsort(kvs, n, sizeof(kvs[0]), by_key);
    ck_assert_int_eq(mvcc_lease_get(run->m, id, &info), run->model.leases[id]);
    ck_assert_uint_eq(info.keys, n);
    for (int i = 0; i < KEYS; i++) {
        const struct mkv *want = &run->model.revs[run->model.rev].kv[i];
        if (want->lease == id)
            expect_kv(kvs[at++], i, want);
    }
    ck_assert_uint_eq(at, n);
    for (size_t i = 0; i < n; i++)
        kv_unref(kvs[i]);
    free(kvs);
}

static void check_view(struct run *run)
{
    struct model *m = &run->model;
    struct mvcc_view *v = mvcc_view(run->m);
    int64_t rev = 1 + (int64_t)random_below(&run->r, (uint32_t)m->rev);
    struct tree_iter it;
    ck_assert_int_eq(mvcc_view_rev(v), m->rev);
    ck_assert_int_eq(mvcc_view_compacted(v), m->compacted);
    int rc = mvcc_view_iter(v, &it, STR("key"), str_n("\0", 1), rev);
    ck_assert_int_eq(rc, rev < m->compacted ? E_EXPIRED : 0);
    for (int i = 0; i < KEYS && rc == 0; i++) {
        const struct mkv *want = &m->revs[rev].kv[i];
        if (want->version > 0)
            expect_kv(tree_iter_next(&it), i, want);
        ck_assert_int_eq(mvcc_view_get(v, str_of(key_name(i)), rev) != NULL, want->version > 0);
    }
    if (rc == 0)
        ck_assert_ptr_null(tree_iter_next(&it));
    ck_assert_int_eq(mvcc_view_check_rev(v, m->rev + 1), E_FUTURE_REV);
    mvcc_view_unref(v);
}

/* The long-lived cursor sees everything, a fresh one all from where it begins. */
static void check_events(struct run *run)
{
    struct model *m = &run->model;
    bool lost = false;
    while (run->cursor_rev < m->rev) {
        expect_batch(m, mvcc_cursor_next(run->cursor, &lost), ++run->cursor_rev);
        ck_assert_int_eq(mvcc_cursor_rev(run->cursor), run->cursor_rev);
    }
    ck_assert_ptr_null(mvcc_cursor_next(run->cursor, &lost));
    ck_assert(!lost);

    struct mvcc_view *v = mvcc_view(run->m);
    int64_t after = 1 + (int64_t)random_below(&run->r, (uint32_t)m->rev);
    struct event_batch **batches;
    size_t n;
    int rc = mvcc_history(v, after, 1 << 20, &batches, &n);
    ck_assert_int_eq(rc, after + 1 < m->compacted ? E_EXPIRED : 0);
    if (rc == 0) {
        ck_assert_int_eq((int64_t)n, m->rev - after);
        for (size_t i = 0; i < n; i++)
            expect_batch(m, batches[i], after + 1 + (int64_t)i);
        history_free(batches, n);
    }
    mvcc_view_unref(v);
}

static void step(struct run *run)
{
    switch (random_below(&run->r, 16)) {
    case 0:
        if (random_below(&run->r, 4) == 0)
            step_compact(run);
        break;
    case 1:
    case 2:
        step_lease(run);
        break;
    case 3:
        mvcc_work(run->m, random_below(&run->r, 30));
        break;
    case 4:
        check_view(run);
        check_lease(run);
        break;
    case 5:
        check_events(run);
        break;
    default:
        step_txn(run);
    }
}

static void run_model(uint64_t seed)
{
    struct run run = {.r = random_seeded(seed)};
    run.m = mvcc_new(&(struct mvcc_config){0});
    run.twin = mvcc_new(&(struct mvcc_config){.history_bytes = 1 << 16});
    run.model.revs = xzalloc(REVS_MAX * sizeof(run.model.revs[0]));
    run.model.rev = run.cursor_rev = 1;
    ck_assert_int_eq(mvcc_cursor_new(run.m, 1, NULL, NULL, &run.cursor, NULL), 0);
    for (int i = 0; i < 2000; i++) {
        step(&run);
        if (i % 100 == 0) {
            drive_check(run.m);
            drive_check(run.twin);
        }
    }
    check_events(&run);
    drive_work(run.m);
    drive_work(run.twin);
    mvcc_publish(run.twin, 0);
    drive_check(run.m);
    for (int64_t rev = MAX_OF(run.model.compacted, 1); rev <= run.model.rev; rev += 7)
        ck_assert_uint_eq(drive_hash(run.m, rev), drive_hash(run.twin, rev));
    mvcc_cursor_free(run.cursor);
    mvcc_free(run.m);
    mvcc_free(run.twin);
    free(run.model.revs);
}

START_TEST(model)
{
    for (uint64_t i = 0; i < 20; i++)
        run_model(test_seed() + i);
}
END_TEST

UNIT_MAIN("mvcc_model", UNIT_TEST(model))
