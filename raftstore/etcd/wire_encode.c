/* wire_encode.c - etcd's frequent responses; see wire.h. */
#include "raftstore/etcd/wire.h"

#include "lib/net/bytes.h"

/* --- pieces --- */

uint8_t *bytes_put(uint8_t *p, unsigned field, struct str s)
{
    p = bytes_head_put(p, field, s.len);
    if (s.len > 0)
        memcpy(p, s.data, s.len);
    return p + s.len;
}

static bool is_tombstone(const struct kv *kv)
{
    return !kv_live(kv);
}

size_t etcd_kv_size(const struct kv *kv, bool keys_only)
{
    size_t n = bytes_size(kv_key(kv).len) + number_size(kv->mod_rev);
    if (is_tombstone(kv))
        return n;
    struct kv_numbers numbers = kv_numbers(kv);
    n +=
        number_size(numbers.create_rev) + number_size(numbers.version) + number_size(numbers.lease);
    if (!keys_only && kv_value(kv).len > 0)
        n += bytes_size(kv_value(kv).len);
    return n;
}

uint8_t *etcd_kv_put(uint8_t *p, const struct kv *kv, bool keys_only)
{
    bool live = !is_tombstone(kv);
    struct kv_numbers numbers = kv_numbers(kv);
    p = bytes_put(p, 1, kv_key(kv));
    if (live)
        p = number_put(p, 2, numbers.create_rev);
    p = number_put(p, 3, kv->mod_rev);
    if (!live)
        return p;
    p = number_put(p, 4, numbers.version);
    if (!keys_only && kv_value(kv).len > 0)
        p = bytes_put(p, 5, kv_value(kv));
    return number_put(p, 6, numbers.lease);
}

size_t etcd_kvs_size(const struct kv *const *kvs, size_t count, bool keys_only)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += bytes_size(etcd_kv_size(kvs[i], keys_only));
    return n;
}

uint8_t *etcd_kvs_put(uint8_t *p, unsigned field, const struct kv *const *kvs, size_t count,
                      bool keys_only)
{
    for (size_t i = 0; i < count; i++) {
        p = bytes_head_put(p, field, etcd_kv_size(kvs[i], keys_only));
        p = etcd_kv_put(p, kvs[i], keys_only);
    }
    return p;
}

static size_t header_inner(const struct etcd_header *h)
{
    return number_size((int64_t)h->cluster_id) + number_size((int64_t)h->member_id) +
           number_size(h->rev) + number_size((int64_t)h->term);
}

size_t etcd_header_size(const struct etcd_header *h)
{
    return bytes_size(header_inner(h));
}

uint8_t *etcd_header_put(uint8_t *p, const struct etcd_header *h)
{
    p = bytes_head_put(p, 1, header_inner(h));
    p = number_put(p, 1, (int64_t)h->cluster_id);
    p = number_put(p, 2, (int64_t)h->member_id);
    p = number_put(p, 3, h->rev);
    return number_put(p, 4, (int64_t)h->term);
}

/* --- events --- */

static size_t event_inner(const struct event *e, bool prev)
{
    size_t n = event_type(e) == EVENT_DELETE ? 2 : 0;
    n += bytes_size(etcd_kv_size(e->kv, false));
    if (prev && e->prev != NULL)
        n += bytes_size(etcd_kv_size(e->prev, false));
    return n;
}

size_t etcd_event_size(const struct event *e, bool prev)
{
    return bytes_size(event_inner(e, prev));
}

uint8_t *etcd_event_put(uint8_t *p, const struct event *e, bool prev)
{
    p = bytes_head_put(p, 11, event_inner(e, prev));
    if (event_type(e) == EVENT_DELETE)
        p = number_put(p, 1, 1);
    p = bytes_head_put(p, 2, etcd_kv_size(e->kv, false));
    p = etcd_kv_put(p, e->kv, false);
    if (prev && e->prev != NULL) {
        p = bytes_head_put(p, 3, etcd_kv_size(e->prev, false));
        p = etcd_kv_put(p, e->prev, false);
    }
    return p;
}

/* --- responses without their headers --- */

static size_t put_size(const struct op_result *r)
{
    return etcd_kvs_size(r->kvs, r->kv_count, false);
}

static uint8_t *put_put(uint8_t *p, const struct op_result *r)
{
    return etcd_kvs_put(p, 2, r->kvs, r->kv_count, false);
}

static size_t delete_size(const struct op_result *r)
{
    return number_size(r->count) + etcd_kvs_size(r->kvs, r->kv_count, false);
}

static uint8_t *delete_put(uint8_t *p, const struct op_result *r)
{
    p = number_put(p, 2, r->count);
    return etcd_kvs_put(p, 3, r->kvs, r->kv_count, false);
}

size_t etcd_range_tail_size(bool more, int64_t count)
{
    return number_size(more) + number_size(count);
}

uint8_t *etcd_range_tail_put(uint8_t *p, bool more, int64_t count)
{
    p = number_put(p, 3, more);
    return number_put(p, 4, count);
}

static size_t range_size(const struct op_result *r, bool keys_only)
{
    return etcd_kvs_size(r->kvs, r->kv_count, keys_only) + etcd_range_tail_size(r->more, r->count);
}

static uint8_t *range_put(uint8_t *p, const struct op_result *r, bool keys_only)
{
    p = etcd_kvs_put(p, 2, r->kvs, r->kv_count, keys_only);
    return etcd_range_tail_put(p, r->more, r->count);
}

struct net_bytes *etcd_encode_put(const struct etcd_header *h, const struct op_result *r)
{
    struct net_bytes *b = net_bytes_new(etcd_header_size(h) + put_size(r));
    put_put(etcd_header_put(net_bytes_edit(b), h), r);
    return b;
}

struct net_bytes *etcd_encode_delete(const struct etcd_header *h, const struct op_result *r)
{
    struct net_bytes *b = net_bytes_new(etcd_header_size(h) + delete_size(r));
    delete_put(etcd_header_put(net_bytes_edit(b), h), r);
    return b;
}

struct net_bytes *etcd_encode_range(const struct etcd_header *h, const struct op_result *r,
                                    bool keys_only)
{
    struct net_bytes *b = net_bytes_new(etcd_header_size(h) + range_size(r, keys_only));
    range_put(etcd_header_put(net_bytes_edit(b), h), r, keys_only);
    return b;
}

struct net_bytes *etcd_encode_numbers(const struct etcd_header *h, const int64_t *numbers,
                                      size_t count)
{
    size_t n = etcd_header_size(h);
    for (size_t i = 0; i < count; i++)
        n += number_size(numbers[i]);
    struct net_bytes *b = net_bytes_new(n);
    uint8_t *p = etcd_header_put(net_bytes_edit(b), h);
    for (size_t i = 0; i < count; i++)
        p = number_put(p, (unsigned)i + 2, numbers[i]);
    return b;
}

/* --- transactions --- */

/* The headers within a transaction's response tell only a revision: what the store had
 * come to when the operation had run. Those of nested transactions are empty. */
struct txn_walk {
    int64_t before_rev;
    bool changed;
};

static bool op_changes(const struct op_result *r)
{
    return r->type == OP_PUT || (r->type == OP_DELETE && r->count > 0);
}

static bool txn_changes(const struct txn_result *r)
{
    for (uint32_t i = 0; i < r->op_count; i++) {
        if (op_changes(&r->ops[i]) || (r->ops[i].type == OP_TXN && txn_changes(r->ops[i].txn)))
            return true;
    }
    return false;
}

static int64_t walk_rev(struct txn_walk *w, const struct op_result *r)
{
    w->changed |= op_changes(r);
    return w->before_rev + w->changed;
}

static size_t txn_size(struct txn_walk *w, const struct txn *t, const struct txn_result *r);

static const struct txn_op *taken_ops(const struct txn *t, const struct txn_result *r)
{
    return r->succeeded ? t->success : t->failure;
}

/* Of the response inside the ResponseOp. */
static size_t op_inner_size(struct txn_walk *w, const struct txn_op *op, const struct op_result *r)
{
    if (r->type == OP_TXN)
        return bytes_size(0) + txn_size(w, op->txn, r->txn);
    struct etcd_header h = {.rev = walk_rev(w, r)};
    size_t n = etcd_header_size(&h);
    if (r->type == OP_RANGE)
        return n + range_size(r, op->keys_only);
    return n + (r->type == OP_PUT ? put_size(r) : delete_size(r));
}

static size_t txn_size(struct txn_walk *w, const struct txn *t, const struct txn_result *r)
{
    const struct txn_op *ops = taken_ops(t, r);
    size_t n = number_size(r->succeeded);
    for (uint32_t i = 0; i < r->op_count; i++)
        n += bytes_size(bytes_size(op_inner_size(w, &ops[i], &r->ops[i])));
    return n;
}

static uint8_t *txn_put(uint8_t *p, struct txn_walk *w, const struct txn *t,
                        const struct txn_result *r);

static uint8_t *op_inner_put(uint8_t *p, struct txn_walk *w, const struct txn_op *op,
                             const struct op_result *r)
{
    if (r->type == OP_TXN)
        return txn_put(bytes_head_put(p, 1, 0), w, op->txn, r->txn);
    struct etcd_header h = {.rev = walk_rev(w, r)};
    p = etcd_header_put(p, &h);
    if (r->type == OP_RANGE)
        return range_put(p, r, op->keys_only);
    return r->type == OP_PUT ? put_put(p, r) : delete_put(p, r);
}

static uint8_t *txn_put(uint8_t *p, struct txn_walk *w, const struct txn *t,
                        const struct txn_result *r)
{
    static const unsigned FIELD[] = {[OP_RANGE] = 1, [OP_PUT] = 2, [OP_DELETE] = 3, [OP_TXN] = 4};
    const struct txn_op *ops = taken_ops(t, r);
    p = number_put(p, 2, r->succeeded);
    for (uint32_t i = 0; i < r->op_count; i++) {
        struct txn_walk ahead = *w;
        size_t inner = op_inner_size(&ahead, &ops[i], &r->ops[i]);
        p = bytes_head_put(p, 3, bytes_size(inner));
        p = bytes_head_put(p, FIELD[r->ops[i].type], inner);
        p = op_inner_put(p, w, &ops[i], &r->ops[i]);
    }
    return p;
}

struct net_bytes *etcd_encode_txn(const struct etcd_header *h, const struct txn *t,
                                  const struct txn_result *r)
{
    struct txn_walk w = {.before_rev = r->rev - txn_changes(r)};
    struct txn_walk again = w;
    size_t n = etcd_header_size(h) + txn_size(&w, t, r);
    if (n > INT32_MAX)
        return NULL;
    struct net_bytes *b = net_bytes_new(n);
    txn_put(etcd_header_put(net_bytes_edit(b), h), &again, t, r);
    return b;
}
