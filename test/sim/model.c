/* model.c - the state machine once more, as plainly as possible: every version of
 * every key is kept, every lease is a row, every range a walk over all keys.
 *
 * It applies each command once, when the first member does, and says what the
 * answer must be; what it keeps of the past is what ranges, watches and lists
 * are compared with. */
#include "sim.h"

#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "raftstore/store.h"

#include <inttypes.h>

struct row {
    struct str key;
    const struct kv **versions; /* Rising; version 0 is a tombstone. */
    uint32_t count, cap;
};

struct lease_row {
    int64_t id, ttl_s;
    uint64_t renewals;
    uint64_t renewed_us;
    bool live;
};

struct alarm_row {
    uint64_t member;
    uint32_t alarms;
};

struct model {
    struct world *world;
    int64_t rev, compacted;
    struct row *rows; /* By key. */
    uint32_t row_count, row_cap;
    struct lease_row *leases; /* All there ever were. */
    uint32_t lease_count, lease_cap, live_leases;
    struct alarm_row alarms[NODES_MAX];
    uint32_t alarm_count;
    struct event_batch **batches; /* [rev] */
    int64_t batch_cap;
    uint64_t index;           /* Of the entry of the command at hand. */
    struct event events[512]; /* What it has changed so far. */
    uint32_t event_count;
};

struct model *model_new(struct world *w)
{
    struct model *m = xzalloc(sizeof(*m));
    m->world = w;
    m->rev = 1;
    return m;
}

static void drop_events(struct event *events, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        kv_unref(events[i].kv);
        kv_unref(events[i].prev);
    }
}

void model_free(struct model *m)
{
    for (uint32_t i = 0; i < m->row_count; i++) {
        for (uint32_t j = 0; j < m->rows[i].count; j++)
            kv_unref(m->rows[i].versions[j]);
        free((void *)m->rows[i].versions);
        free((char *)m->rows[i].key.data);
    }
    for (int64_t i = 2; i <= m->rev; i++)
        event_batch_free(m->batches[i]);
    drop_events(m->events, m->event_count);
    free(m->batches);
    free(m->rows);
    free(m->leases);
    free(m);
}

int64_t model_rev(const struct model *m)
{
    return m->rev;
}

int64_t model_compacted(const struct model *m)
{
    return m->compacted;
}

uint32_t model_lease_count(const struct model *m)
{
    return m->live_leases;
}

int64_t model_some_lease(const struct model *m, uint64_t dice)
{
    /* Rather a young one. */
    uint64_t back = m->lease_count > 0 ? dice % MIN_OF(m->lease_count, 12u) : 0;
    return m->lease_count > 0 ? m->leases[m->lease_count - 1 - back].id : 0;
}

const struct event_batch *model_events(const struct model *m, int64_t rev)
{
    return rev >= 2 && rev <= m->rev ? m->batches[rev] : NULL;
}

/* --- keys --- */

static struct row *row_of(struct model *m, struct str key, bool make)
{
    uint32_t at = 0;
    while (at < m->row_count && str_cmp(m->rows[at].key, key) < 0)
        at++;
    if (at < m->row_count && str_eq(m->rows[at].key, key))
        return &m->rows[at];
    if (!make)
        return NULL;
    if (m->row_count == m->row_cap) {
        m->row_cap = m->row_cap == 0 ? 64 : 2 * m->row_cap;
        m->rows = xrealloc(m->rows, m->row_cap * sizeof(m->rows[0]));
    }
    memmove(m->rows + at + 1, m->rows + at, (m->row_count++ - at) * sizeof(m->rows[0]));
    m->rows[at] = (struct row){.key = str_n(xmemdup(key.data, key.len), key.len)};
    return &m->rows[at];
}

/* The version at rev (0: newest); NULL when there was none. */
static const struct kv *at_rev(const struct row *r, int64_t rev)
{
    uint32_t i = r->count;
    while (i > 0 && rev > 0 && r->versions[i - 1]->mod_rev > rev)
        i--;
    return i > 0 && kv_version(r->versions[i - 1]) > 0 ? r->versions[i - 1] : NULL;
}

static const struct kv *current(struct model *m, struct str key)
{
    struct row *r = row_of(m, key, false);
    return r != NULL ? at_rev(r, 0) : NULL;
}

static struct lease_row *lease_of(struct model *m, int64_t id)
{
    for (uint32_t i = m->lease_count; i-- > 0;)
        if (m->leases[i].id == id && m->leases[i].live)
            return &m->leases[i];
    return NULL;
}

static void change(struct model *m, struct str key, struct str value, struct kv_numbers numbers,
                   const struct kv *prev)
{
    struct row *r = row_of(m, key, true);
    numbers.sub = m->event_count;
    numbers.mod_rev = m->rev + 1;
    struct kv *next = kv_new(NULL, key, value, &numbers);
    if (r->count == r->cap) {
        r->cap = r->cap == 0 ? 4 : 2 * r->cap;
        r->versions = xrealloc((void *)r->versions, r->cap * sizeof(r->versions[0]));
    }
    r->versions[r->count++] = next;
    ASSERT_CMP(m->event_count, <, ARRAY_SIZE(m->events));
    m->events[m->event_count++] = (struct event){kv_ref(next), prev != NULL ? kv_ref(prev) : NULL};
}

static void put(struct model *m, struct str key, struct str value, int64_t lease)
{
    const struct kv *prev = current(m, key);
    struct kv_numbers numbers = {.create_rev = prev != NULL ? kv_create_rev(prev) : m->rev + 1,
                                 .version = prev != NULL ? kv_version(prev) + 1 : 1,
                                 .lease = lease};
    change(m, key, value, numbers, prev);
}

static void end_write(struct model *m)
{
    if (m->event_count == 0)
        return;
    if (++m->rev >= m->batch_cap) {
        m->batch_cap = MAX_OF(1024, 2 * m->batch_cap);
        m->batches = xrealloc(m->batches, (size_t)m->batch_cap * sizeof(m->batches[0]));
    }
    struct event_batch *b = event_batch_new(m->rev, m->event_count);
    memcpy(b->events, m->events, m->event_count * sizeof(m->events[0]));
    m->batches[m->rev] = b;
    m->event_count = 0;
}

/* --- ranges --- */

static bool within(int64_t n, int64_t min, int64_t max)
{
    return (min == 0 || n >= min) && (max == 0 || n <= max);
}

static int64_t sort_number(const struct kv *kv, enum sort_target target)
{
    return target == SORT_VERSION  ? kv_version(kv)
           : target == SORT_CREATE ? kv_create_rev(kv)
           : target == SORT_MOD    ? kv->mod_rev
                                   : 0;
}

/* Whether b, which has the greater key, stands before a all the same. */
static bool comes_first(const struct kv *b, const struct kv *a, const struct txn_op *op)
{
    int64_t order = sort_number(a, op->sort_target) - sort_number(b, op->sort_target);
    if (op->sort_target == SORT_VALUE)
        order = str_cmp(kv_value(a), kv_value(b));
    if (op->sort_target == SORT_KEY)
        order = str_cmp(kv_key(a), kv_key(b));
    return op->sort_order == SORT_DESCEND ? order < 0 : order > 0;
}

/* By insertion: equal ones keep the order of their keys. */
static void sort_found(const struct kv **found, uint32_t n, const struct txn_op *op)
{
    for (uint32_t i = 1; i < n; i++)
        for (uint32_t j = i; j > 0 && comes_first(found[j], found[j - 1], op); j--) {
            const struct kv *kv = found[j];
            found[j] = found[j - 1];
            found[j - 1] = kv;
        }
}

void model_range(const struct model *m, const struct txn_op *op, int64_t rev, struct op_result *ret)
{
    const struct kv **found = xmalloc((m->row_count + 1) * sizeof(found[0]));
    uint32_t n = 0;
    *ret = (struct op_result){.type = OP_RANGE};
    for (uint32_t i = 0; i < m->row_count; i++) {
        const struct kv *kv = at_rev(&m->rows[i], rev);
        if (kv == NULL || !range_has(op->key, op->range_end, kv_key(kv)))
            continue;
        ret->count++;
        if (within(kv->mod_rev, op->min_mod_rev, op->max_mod_rev) &&
            within(kv_create_rev(kv), op->min_create_rev, op->max_create_rev))
            found[n++] = kv;
    }
    if (op->sort_order != SORT_NONE)
        sort_found(found, n, op);
    ret->kv_count = op->count_only ? 0 : n;
    if (op->limit > 0 && ret->kv_count > op->limit) {
        ret->kv_count = (uint32_t)op->limit;
        ret->more = true;
    }
    for (uint32_t i = 0; i < ret->kv_count; i++)
        kv_ref(found[i]);
    ret->kvs = found;
}

/* --- transactions --- */

static bool number_holds(const struct txn_cmp *c, int64_t n)
{
    switch (c->result) {
    case CMP_EQUAL:
        return n == c->number;
    case CMP_GREATER:
        return n > c->number;
    case CMP_LESS:
        return n < c->number;
    case CMP_NOT_EQUAL:
        return n != c->number;
    }
    return false;
}

static bool value_holds(const struct txn_cmp *c, struct str value)
{
    int order = str_cmp(value, c->value);
    return c->result == CMP_EQUAL     ? order == 0
           : c->result == CMP_GREATER ? order > 0
           : c->result == CMP_LESS    ? order < 0
                                      : order != 0;
}

static bool holds_for(const struct txn_cmp *c, const struct kv *kv)
{
    switch (c->target) {
    case CMP_VERSION:
        return number_holds(c, kv_version(kv));
    case CMP_CREATE:
        return number_holds(c, kv_create_rev(kv));
    case CMP_MOD:
        return number_holds(c, kv->mod_rev);
    case CMP_LEASE:
        return number_holds(c, kv_lease(kv));
    case CMP_VALUE:
        return value_holds(c, kv_value(kv));
    }
    return false;
}

static bool holds(const struct model *m, const struct txn_cmp *c)
{
    static const struct kv none;
    bool any = false;
    for (uint32_t i = 0; i < m->row_count; i++) {
        const struct kv *kv = at_rev(&m->rows[i], 0);
        if (kv == NULL || !range_has(c->key, c->range_end, kv_key(kv)))
            continue;
        any = true;
        if (!holds_for(c, kv))
            return false;
    }
    return any || (c->target != CMP_VALUE && holds_for(c, &none));
}

/* The branches taken, all decided by the state as it was before. */
struct branches {
    bool taken[TXN_OPS_MAX + 1];
    uint32_t count, next;
    int range_code; /* Of the first range refused: the puts' faults come first. */
};

static int decide(struct model *m, const struct txn *t, struct branches *b,
                  enum txn_refusal *refusal)
{
    bool yes = true;
    for (uint32_t i = 0; i < t->cmp_count; i++)
        yes = yes && holds(m, &t->cmps[i]);
    b->taken[b->count++] = yes;
    uint32_t count = yes ? t->success_count : t->failure_count;
    for (uint32_t i = 0; i < count; i++) {
        const struct txn_op *op = yes ? &t->success[i] : &t->failure[i];
        int rc = op->type == OP_TXN ? decide(m, op->txn, b, refusal) : 0;
        if (rc != 0)
            return rc;
        if (op->type == OP_PUT && (op->ignore_value || op->ignore_lease) &&
            current(m, op->key) == NULL) {
            *refusal = TXN_REFUSED_KEY;
            return E_NOT_FOUND;
        }
        if (op->type == OP_PUT && op->lease != 0 && lease_of(m, op->lease) == NULL) {
            *refusal = TXN_REFUSED_LEASE;
            return E_NOT_FOUND;
        }
        if (op->type == OP_RANGE && b->range_code == 0 && op->rev > m->rev)
            b->range_code = E_FUTURE_REV;
        if (op->type == OP_RANGE && b->range_code == 0 && op->rev > 0 && op->rev < m->compacted)
            b->range_code = E_EXPIRED;
    }
    return 0;
}

static void do_put(struct model *m, const struct txn_op *op, struct op_result *r)
{
    const struct kv *prev = current(m, op->key);
    struct str value = op->ignore_value ? kv_value(prev) : op->value;
    if (op->prev_kv && prev != NULL) {
        r->kvs = xmalloc(sizeof(r->kvs[0]));
        r->kvs[r->kv_count++] = kv_ref(prev);
    }
    if (!op->ignore_value)
        token_written(m->world, value_number(value));
    put(m, op->key, value.data != NULL ? value : STR(""),
        op->ignore_lease ? kv_lease(prev) : op->lease);
}

static void do_delete(struct model *m, const struct txn_op *op, struct op_result *r)
{
    struct op_result gone;
    struct txn_op all = {.type = OP_RANGE, .key = op->key, .range_end = op->range_end};
    model_range(m, &all, 0, &gone);
    for (uint32_t i = 0; i < gone.kv_count; i++)
        change(m, kv_key(gone.kvs[i]), STR_NULL, (struct kv_numbers){0}, gone.kvs[i]);
    r->count = gone.kv_count;
    if (op->prev_kv) {
        r->kvs = gone.kvs;
        r->kv_count = gone.kv_count;
        return;
    }
    op_result_done(&gone);
}

static struct txn_result *run(struct model *m, const struct txn *t, struct branches *b)
{
    bool yes = b->taken[b->next++];
    uint32_t count = yes ? t->success_count : t->failure_count;
    struct txn_result *r = txn_result_new(count);
    r->succeeded = yes;
    for (uint32_t i = 0; i < count; i++) {
        const struct txn_op *op = yes ? &t->success[i] : &t->failure[i];
        if (op->type == OP_PUT)
            do_put(m, op, &r->ops[i]);
        else if (op->type == OP_DELETE)
            do_delete(m, op, &r->ops[i]);
        else if (op->type == OP_RANGE)
            model_range(m, op, op->rev, &r->ops[i]);
        else
            r->ops[i].txn = run(m, op->txn, b);
        r->ops[i].type = op->type;
    }
    return r;
}

static void set_rev(struct txn_result *r, int64_t rev)
{
    r->rev = rev;
    for (uint32_t i = 0; i < r->op_count; i++)
        if (r->ops[i].txn != NULL)
            set_rev(r->ops[i].txn, rev);
}

static bool no_space(const struct model *m)
{
    for (uint32_t i = 0; i < m->alarm_count; i++)
        if (m->alarms[i].alarms & STORE_ALARM_NO_SPACE)
            return true;
    return false;
}

static int apply_txn(struct model *m, const struct txn *t, struct mvcc_result *ret)
{
    static struct branches b;
    enum txn_refusal refusal = TXN_REFUSED_NOT;
    b.count = b.next = 0;
    b.range_code = 0;
    int rc = no_space(m) && txn_puts(t) ? E_NO_SPACE : txn_check(t, NULL);
    if (rc == 0)
        rc = decide(m, t, &b, &refusal);
    if (rc == 0)
        rc = b.range_code;
    if (rc == 0) {
        ret->txn = run(m, t, &b);
        end_write(m);
    } else {
        ret->txn = txn_result_new(0);
        ret->txn->code = rc;
        ret->txn->refusal = refusal;
    }
    set_rev(ret->txn, m->rev);
    return rc;
}

/* --- the other commands --- */

static int grant(struct model *m, const struct command *c, struct mvcc_result *ret)
{
    if (no_space(m))
        return E_NO_SPACE;
    if (c->id == 0 || c->ttl_s > 9000000000)
        return E_INVALID;
    if (lease_of(m, c->id) != NULL)
        return E_EXISTS;
    if (m->lease_count == m->lease_cap) {
        m->lease_cap = m->lease_cap == 0 ? 64 : 2 * m->lease_cap;
        m->leases = xrealloc(m->leases, m->lease_cap * sizeof(m->leases[0]));
    }
    ret->ttl_s = c->ttl_s < 1 ? 1 : c->ttl_s;
    m->leases[m->lease_count++] =
        (struct lease_row){c->id, ret->ttl_s, m->index << 24, m->world->now_us, true};
    m->live_leases++;
    return 0;
}

static void end_lease(struct model *m, struct lease_row *l)
{
    for (uint32_t i = 0; i < m->row_count; i++) {
        const struct kv *kv = at_rev(&m->rows[i], 0);
        if (kv != NULL && kv_lease(kv) == l->id)
            change(m, kv_key(kv), STR_NULL, (struct kv_numbers){0}, kv);
    }
    end_write(m);
    l->live = false;
    m->live_leases--;
}

/* Not before its time by any clock that runs no faster than they all do. */
static void check_expiry(struct model *m, const struct lease_row *l)
{
    struct world *w = m->world;
    uint64_t least = (uint64_t)l->ttl_s * 1000000 * 1000 / (1000 + w->rate_spread);
    w->result->expired++;
    if (!w->jumps && w->now_us - l->renewed_us + 5000 < least)
        world_fail(w, "lease %" PRId64 " of %" PRId64 " s ends %" PRIu64 " ms after its renewal",
                   l->id, l->ttl_s, (w->now_us - l->renewed_us) / 1000);
}

static int apply_lease(struct model *m, const struct command *c, struct mvcc_result *ret)
{
    ret->id = c->id;
    if (c->type == COMMAND_LEASE_GRANT)
        return grant(m, c, ret);
    struct lease_row *l = lease_of(m, c->id);
    if (l == NULL)
        return E_NOT_FOUND;
    ret->ttl_s = l->ttl_s;
    if (c->type == COMMAND_LEASE_KEEPALIVE) {
        l->renewals++;
        l->renewed_us = m->world->now_us;
        return 0;
    }
    if (c->type == COMMAND_LEASE_EXPIRE && c->renewals != l->renewals)
        return E_CONFLICT;
    if (c->type == COMMAND_LEASE_EXPIRE)
        check_expiry(m, l);
    end_lease(m, l);
    return 0;
}

static int apply_alarm(struct model *m, uint64_t member, uint32_t alarms)
{
    uint32_t i = 0;
    if (member == 0)
        return E_INVALID;
    while (i < m->alarm_count && m->alarms[i].member != member)
        i++;
    if (i == m->alarm_count)
        m->alarms[m->alarm_count++].member = member;
    m->alarms[i].alarms = alarms;
    return 0;
}

static int apply(struct model *m, const struct command *c, struct mvcc_result *ret)
{
    switch (c->type) {
    case COMMAND_TXN:
        return apply_txn(m, &c->txn, ret);
    case COMMAND_COMPACT:
        if (c->rev > m->rev)
            return E_FUTURE_REV;
        if (c->rev <= m->compacted)
            return E_EXPIRED;
        m->compacted = c->rev;
        return 0;
    case COMMAND_LEASE_GRANT:
    case COMMAND_LEASE_REVOKE:
    case COMMAND_LEASE_KEEPALIVE:
    case COMMAND_LEASE_EXPIRE:
        return apply_lease(m, c, ret);
    case COMMAND_ALARM:
        return apply_alarm(m, c->member, c->alarms);
    default:
        return 0;
    }
}

void model_apply(struct model *m, uint64_t index, struct str bytes, struct mvcc_result *ret)
{
    AUTO_ARENA *a = arena_new(0);
    struct command c;
    m->index = index;
    *ret = (struct mvcc_result){0};
    int rc = command_decode(a, bytes, &c, NULL);
    ret->code = rc != 0 ? rc : apply(m, &c, ret);
    ret->rev = m->rev;
}

/* --- comparing --- */

bool kvs_equal(const struct kv *a, const struct kv *b)
{
    return str_eq(kv_key(a), kv_key(b)) && str_eq(kv_value(a), kv_value(b)) &&
           a->mod_rev == b->mod_rev && kv_create_rev(a) == kv_create_rev(b) &&
           kv_version(a) == kv_version(b) && kv_lease(a) == kv_lease(b);
}

bool op_results_differ(const struct op_result *a, const struct op_result *b, struct buf *why)
{
    if (a->type != b->type || a->count != b->count || a->more != b->more ||
        a->kv_count != b->kv_count || (a->txn == NULL) != (b->txn == NULL)) {
        buf_printf(why, "type %d/%d, count %" PRId64 "/%" PRId64 ", keys %u/%u", (int)a->type,
                   (int)b->type, a->count, b->count, a->kv_count, b->kv_count);
        return true;
    }
    for (uint32_t i = 0; i < a->kv_count; i++) {
        const struct kv *x = a->kvs[i], *y = b->kvs[i];
        if (kvs_equal(x, y))
            continue;
        buf_printf(why, "%.*s mod %" PRId64 ", %.*s mod %" PRId64, STR_ARG(kv_key(x)), x->mod_rev,
                   STR_ARG(kv_key(y)), y->mod_rev);
        return true;
    }
    return false;
}

static bool txns_differ(const struct txn_result *a, const struct txn_result *b, struct buf *why)
{
    if (a->code != b->code || a->refusal != b->refusal || a->succeeded != b->succeeded ||
        a->rev != b->rev || a->op_count != b->op_count) {
        buf_printf(why,
                   "transaction: code %d/%d, refusal %d/%d, succeeded %d/%d, rev %" PRId64
                   "/%" PRId64,
                   a->code, b->code, (int)a->refusal, (int)b->refusal, a->succeeded, b->succeeded,
                   a->rev, b->rev);
        return true;
    }
    for (uint32_t i = 0; i < a->op_count; i++)
        if (op_results_differ(&a->ops[i], &b->ops[i], why) ||
            (a->ops[i].txn != NULL && txns_differ(a->ops[i].txn, b->ops[i].txn, why)))
            return true;
    return false;
}

bool results_differ(const struct mvcc_result *a, const struct mvcc_result *b, struct buf *why)
{
    if (a->code != b->code || a->rev != b->rev || a->id != b->id || a->ttl_s != b->ttl_s ||
        (a->txn == NULL) != (b->txn == NULL)) {
        buf_printf(why, "code %d/%d, rev %" PRId64 "/%" PRId64 ", ttl %" PRId64 "/%" PRId64,
                   a->code, b->code, a->rev, b->rev, a->ttl_s, b->ttl_s);
        return true;
    }
    return a->txn != NULL && txns_differ(a->txn, b->txn, why);
}
