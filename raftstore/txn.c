/* txn.c - a transaction's encoding, the memory of its results, what its compares and
 * ranges fit.
 *
 *   txn     = list(cmp) list(op) list(op)       list(x) = varint count, x ...
 *   cmp     = u8 target, u8 result, key, end, (signed number | value)
 *   op      = u8 type, then
 *     range   u8 flags, key, end, signed rev, signed limit; with FLAG_ORDERED
 *             u8 sort target, u8 sort order, signed bounds: mod revision from, to,
 *             create revision from, to
 *     put     u8 flags, key, value, signed lease
 *     delete  u8 flags, key, end
 *     txn     txn
 *   key, end, value = varint length, bytes */
#include "raftstore/txn.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/command.h"
#include "raftstore/wire.h"

enum {
    FLAG_IGNORE_VALUE = 1,
    FLAG_IGNORE_LEASE = 2,
    FLAG_PREV_KV = 4,
    FLAG_KEYS_ONLY = 8,
    FLAG_COUNT_ONLY = 16,
    FLAG_ORDERED = 32, /* Since command format 2. */
};

/* --- encoding --- */

static void encode_cmp(const struct txn_cmp *c, struct buf *out)
{
    buf_putc(out, (char)c->target);
    buf_putc(out, (char)c->result);
    wire_put_str(out, c->key);
    wire_put_str(out, c->range_end);
    if (c->target == CMP_VALUE)
        wire_put_str(out, c->value);
    else
        wire_put_signed(out, c->number);
}

/* Says more than what the first format could. */
static bool is_ordered(const struct txn_op *op)
{
    return op->type == OP_RANGE &&
           (op->sort_target != SORT_KEY || op->sort_order != SORT_NONE || txn_op_filters(op));
}

static bool any_ordered(const struct txn_op *ops, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (is_ordered(&ops[i]) || (ops[i].type == OP_TXN && txn_is_extended(ops[i].txn)))
            return true;
    return false;
}

bool txn_is_extended(const struct txn *t)
{
    return t->auth_rev != 0 || any_ordered(t->success, t->success_count) ||
           any_ordered(t->failure, t->failure_count);
}

static int op_flags(const struct txn_op *op)
{
    switch (op->type) {
    case OP_RANGE:
        return (op->keys_only ? FLAG_KEYS_ONLY : 0) | (op->count_only ? FLAG_COUNT_ONLY : 0) |
               (is_ordered(op) ? FLAG_ORDERED : 0);
    case OP_PUT:
        return (op->ignore_value ? FLAG_IGNORE_VALUE : 0) |
               (op->ignore_lease ? FLAG_IGNORE_LEASE : 0) | (op->prev_kv ? FLAG_PREV_KV : 0);
    case OP_DELETE:
        return op->prev_kv ? FLAG_PREV_KV : 0;
    case OP_TXN:
        break;
    }
    return 0;
}

static void encode_order(const struct txn_op *op, struct buf *out)
{
    buf_putc(out, (char)op->sort_target);
    buf_putc(out, (char)op->sort_order);
    wire_put_signed(out, op->min_mod_rev);
    wire_put_signed(out, op->max_mod_rev);
    wire_put_signed(out, op->min_create_rev);
    wire_put_signed(out, op->max_create_rev);
}

static void encode_op(const struct txn_op *op, struct buf *out)
{
    buf_putc(out, (char)op->type);
    if (op->type == OP_TXN) {
        txn_encode(op->txn, out);
        return;
    }
    buf_putc(out, (char)op_flags(op));
    wire_put_str(out, op->key);
    if (op->type == OP_PUT) {
        wire_put_str(out, op->value);
        wire_put_signed(out, op->lease);
        return;
    }
    wire_put_str(out, op->range_end);
    if (op->type == OP_RANGE) {
        wire_put_signed(out, op->rev);
        wire_put_signed(out, op->limit);
        if (is_ordered(op))
            encode_order(op, out);
    }
}

static void encode_ops(const struct txn_op *ops, uint32_t count, struct buf *out)
{
    buf_put_varint(out, count);
    for (uint32_t i = 0; i < count; i++)
        encode_op(&ops[i], out);
}

void txn_encode(const struct txn *t, struct buf *out)
{
    buf_put_varint(out, t->cmp_count);
    for (uint32_t i = 0; i < t->cmp_count; i++)
        encode_cmp(&t->cmps[i], out);
    encode_ops(t->success, t->success_count, out);
    encode_ops(t->failure, t->failure_count, out);
}

/* --- decoding --- */

struct decoder {
    struct wire r;
    struct arena *arena;
    uint32_t left; /* Compares and operations that may still come. */
};

static uint32_t decode_count(struct decoder *d)
{
    uint32_t n = wire_count(&d->r, d->left);
    d->left -= n;
    return n;
}

static void decode_cmp(struct decoder *d, struct txn_cmp *c)
{
    uint8_t target = wire_u8(&d->r), result = wire_u8(&d->r);
    if (target > CMP_LEASE || result > CMP_NOT_EQUAL) {
        wire_fail(&d->r);
        return;
    }
    c->target = (enum cmp_target)target;
    c->result = (enum cmp_result)result;
    c->key = wire_str(&d->r, KV_KEY_MAX);
    c->range_end = wire_str(&d->r, KV_KEY_MAX);
    if (c->target == CMP_VALUE)
        c->value = wire_str(&d->r, COMMAND_BYTES_MAX);
    else
        c->number = wire_signed(&d->r);
}

static void decode_order(struct decoder *d, struct txn_op *op)
{
    uint8_t target = wire_u8(&d->r), order = wire_u8(&d->r);
    if (target > SORT_VALUE || order > SORT_DESCEND) {
        wire_fail(&d->r);
        return;
    }
    op->sort_target = (enum sort_target)target;
    op->sort_order = (enum sort_order)order;
    op->min_mod_rev = wire_signed(&d->r);
    op->max_mod_rev = wire_signed(&d->r);
    op->min_create_rev = wire_signed(&d->r);
    op->max_create_rev = wire_signed(&d->r);
    if (!is_ordered(op))
        wire_fail(&d->r); /* One encoding for one meaning. */
}

static void decode_fields(struct decoder *d, struct txn_op *op)
{
    uint8_t flags = wire_u8(&d->r);
    op->key = wire_str(&d->r, KV_KEY_MAX);
    op->ignore_value = flags & FLAG_IGNORE_VALUE;
    op->ignore_lease = flags & FLAG_IGNORE_LEASE;
    op->prev_kv = flags & FLAG_PREV_KV;
    op->keys_only = flags & FLAG_KEYS_ONLY;
    op->count_only = flags & FLAG_COUNT_ONLY;
    bool ordered = op->type == OP_RANGE && (flags & FLAG_ORDERED);
    if ((flags & ~(ordered ? FLAG_ORDERED : 0)) != op_flags(op))
        wire_fail(&d->r); /* A flag that the type does not have. */
    if (op->type == OP_PUT) {
        op->value = wire_str(&d->r, COMMAND_BYTES_MAX);
        op->lease = wire_signed(&d->r);
        return;
    }
    op->range_end = wire_str(&d->r, KV_KEY_MAX);
    if (op->type == OP_RANGE) {
        op->rev = wire_signed(&d->r);
        op->limit = wire_signed(&d->r);
        if (ordered)
            decode_order(d, op);
    }
}

static void decode_txn(struct decoder *d, unsigned depth, struct txn *ret);

static struct txn_op *decode_ops(struct decoder *d, unsigned depth, uint32_t *ret_count)
{
    uint32_t n = decode_count(d);
    struct txn_op *ops = n > 0 ? ARENA_ARRAY(d->arena, struct txn_op, n) : NULL;
    for (uint32_t i = 0; i < n && !d->r.bad; i++) {
        uint8_t type = wire_u8(&d->r);
        if (type > OP_TXN || (type == OP_TXN && depth >= TXN_DEPTH_MAX)) {
            wire_fail(&d->r);
            break;
        }
        ops[i].type = (enum op_type)type;
        if (type != OP_TXN) {
            decode_fields(d, &ops[i]);
            continue;
        }
        struct txn *nested = ARENA_NEW(d->arena, struct txn);
        decode_txn(d, depth + 1, nested);
        ops[i].txn = nested;
    }
    *ret_count = n;
    return ops;
}

static void decode_txn(struct decoder *d, unsigned depth, struct txn *ret)
{
    uint32_t n = decode_count(d);
    struct txn_cmp *cmps = n > 0 ? ARENA_ARRAY(d->arena, struct txn_cmp, n) : NULL;
    for (uint32_t i = 0; i < n && !d->r.bad; i++)
        decode_cmp(d, &cmps[i]);
    ret->cmps = cmps;
    ret->cmp_count = n;
    ret->success = decode_ops(d, depth, &ret->success_count);
    ret->failure = decode_ops(d, depth, &ret->failure_count);
}

int txn_decode(struct arena *a, struct str bytes, struct txn *ret, struct error *err)
{
    struct decoder d = {wire_of(bytes), a, TXN_OPS_MAX};
    struct txn t = {0};
    decode_txn(&d, 1, &t);
    if (!wire_end(&d.r))
        return error_set(err, E_INVALID, "transaction of %zu bytes does not decode", bytes.len);
    *ret = t;
    return 0;
}

/* --- results --- */

struct txn_result *txn_result_new(uint32_t op_count)
{
    struct txn_result *r = xzalloc(sizeof(*r) + op_count * sizeof(struct op_result));
    r->ops = op_count > 0 ? (struct op_result *)(r + 1) : NULL;
    r->op_count = op_count;
    return r;
}

void op_result_done(struct op_result *r)
{
    for (uint32_t i = 0; i < r->kv_count; i++)
        kv_unref(r->kvs[i]);
    free(r->kvs);
    txn_result_free(r->txn);
    r->kvs = NULL;
    r->kv_count = 0;
    r->txn = NULL;
}

void txn_result_free(struct txn_result *r)
{
    if (r == NULL)
        return;
    for (uint32_t i = 0; i < r->op_count; i++)
        op_result_done(&r->ops[i]);
    free(r);
}

/* --- what fits --- */

static int order_of(const struct txn_cmp *c, const struct kv *kv)
{
    int64_t n = 0;
    switch (c->target) {
    case CMP_VERSION:
        n = kv_version(kv);
        break;
    case CMP_CREATE:
        n = kv_create_rev(kv);
        break;
    case CMP_MOD:
        n = kv->mod_rev;
        break;
    case CMP_LEASE:
        n = kv_lease(kv);
        break;
    case CMP_VALUE:
        return str_cmp(kv_value(kv), c->value);
    }
    return (n > c->number) - (n < c->number);
}

bool txn_cmp_holds(const struct txn_cmp *c, const struct kv *kv)
{
    static const struct kv absent;
    if (kv == NULL && c->target == CMP_VALUE)
        return false;
    int order = order_of(c, kv != NULL ? kv : &absent);
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

bool txn_op_filters(const struct txn_op *op)
{
    return op->min_mod_rev != 0 || op->max_mod_rev != 0 || op->min_create_rev != 0 ||
           op->max_create_rev != 0;
}

bool txn_op_passes(const struct txn_op *op, const struct kv *kv)
{
    return (op->max_mod_rev == 0 || kv->mod_rev <= op->max_mod_rev) &&
           (op->min_mod_rev == 0 || kv->mod_rev >= op->min_mod_rev) &&
           (op->max_create_rev == 0 || kv_create_rev(kv) <= op->max_create_rev) &&
           (op->min_create_rev == 0 || kv_create_rev(kv) >= op->min_create_rev);
}

bool range_has(struct str start, struct str range_end, struct str key)
{
    if (str_empty(range_end))
        return str_eq(start, key);
    if (str_cmp(key, start) < 0)
        return false;
    return str_eq(range_end, str_n("\0", 1)) || str_cmp(key, range_end) < 0;
}
