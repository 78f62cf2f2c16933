/* range.c - KV.Range: any size, out of a view, without holding the loop or a copy.
 *
 *   [read barrier] -> walk (slices) -> [sort (slices)] -> measure (slices) -> send
 *
 * The walk counts what matches and adds up its size; a small answer is complete then
 * and goes out at once. A large one is sent as one message of the length found, in
 * blocks that are filled as the client takes them: by walking the view again, or from
 * the sorted list. The view keeps everything in place meanwhile. */
#include "raftstore/etcd/range.h"

#include "lib/base/arena.h"
#include "lib/net/bytes.h"
#include "raftstore/etcd/pace.h"
#include "raftstore/etcd/sliced_sort.h"
#include "raftstore/etcd/wire.h"

#include <inttypes.h>
#include <stdio.h>

#define SMALL_KEYS 256
#define SMALL_BYTES ((size_t)64 << 10)
#define SLICE_KEYS 2048 /* Visited per slice. */
#define SLICE_COMPARES 8192
#define SLICE_BYTES ((size_t)128 << 10) /* What a slice's work is worth, for its pace. */
#define BLOCK_BYTES ((size_t)64 << 10)
/* A reader so slow that it takes longer keeps too much in memory: the view it reads. */
#define SEND_MS_MAX (10u * 60 * 1000)
#define PENDING_HIGH ((size_t)128 << 10) /* Written ahead of the client. */
#define PENDING_LOW ((size_t)64 << 10)

enum range_phase { RANGE_BARRIER, RANGE_WALK, RANGE_SORT, RANGE_MEASURE, RANGE_SEND };

struct range {
    struct etcd_call *call; /* Held. */
    enum range_phase phase;
    struct txn_op op; /* Strings in the call's arena. */
    bool serializable;
    struct store_view *view;
    struct store_iter it;
    struct deferred step;
    struct etcd_pace *pace; /* NULL: a short one, until now. */
    struct etcd_header header;
    /* Found. */
    bool listed;      /* All that matches is kept in `list`, to be sorted or reversed. */
    bool count_walks; /* The count comes from the walk, too. */
    size_t walk_max;  /* Of matches; then the walk ends. 0: none. */
    int64_t count;
    size_t found, bytes;
    bool more;
    const struct kv *first[SMALL_KEYS]; /* Those of a small answer. */
    struct kv_list list;
    struct sliced_sort sort;
    const struct kv **spare;
    size_t at;             /* In `list`: measured, or sent. */
    const struct kv *next; /* Taken from the iterator and not sent yet. */
    size_t left;           /* To send. */
};

/* raftstore/tree.h's list, here of what a walk of the view finds. */
static void range_push(struct range *r, const struct kv *kv)
{
    if (r->list.count == r->list.cap) {
        r->list.cap = r->list.cap == 0 ? 1024 : r->list.cap * 2;
        r->list.items = xrealloc(r->list.items, r->list.cap * sizeof(r->list.items[0]));
    }
    r->list.items[r->list.count++] = kv;
}

static void range_free(struct range *r)
{
    struct etcd_call *c = r->call;
    deferred_cancel(&r->step);
    etcd_pace_free(r->pace);
    store_view_unref(r->view);
    free(r->list.items);
    free(r->spare);
    free(r);
    c->user = NULL;
    etcd_call_release(c);
}

static void range_fail(struct range *r, const struct etcd_fault *fault)
{
    etcd_call_fail(r->call, fault);
    range_free(r);
}

/* Another slice later, when it is its turn. */
static void range_again(struct range *r, size_t bytes)
{
    if (r->pace == NULL)
        r->pace = etcd_pace_new(r->call->thread, &r->step);
    if (!etcd_pace_rests(r->pace, bytes))
        deferred_post(&r->call->thread->defer, &r->step);
}

/* --- sending --- */

static const struct kv *range_next(struct range *r)
{
    const struct kv *kv;
    if (r->listed)
        return r->at < r->list.count ? r->list.items[r->at++] : NULL;
    if (r->found == 0)
        return NULL;
    while ((kv = store_iter_next(&r->it)) != NULL) {
        if (!txn_op_passes(&r->op, kv))
            continue;
        r->found--;
        return kv;
    }
    return NULL;
}

/* Fills and sends one block; false when there is nothing left. */
static bool range_send_block(struct range *r)
{
    const struct kv *kv = r->next != NULL ? r->next : range_next(r);
    size_t size = kv != NULL ? bytes_size(etcd_kv_size(kv, r->op.keys_only)) : 0;
    size_t cap = MAX_OF(size, BLOCK_BYTES), used = 0;
    struct net_bytes *b = net_bytes_new(cap);
    uint8_t *p = net_bytes_edit(b);
    r->next = NULL;
    while (kv != NULL) {
        size_t inner = etcd_kv_size(kv, r->op.keys_only);
        size = bytes_size(inner);
        if (size > cap - used) {
            r->next = kv;
            break;
        }
        p = etcd_kv_put(bytes_head_put(p, 2, inner), kv, r->op.keys_only);
        used += size;
        kv = range_next(r);
    }
    if (kv == NULL && cap - used >= ETCD_HEADER_BYTES_MAX) {
        used += etcd_range_tail_size(r->more, r->count);
        etcd_range_tail_put(p, r->more, r->count);
    }
    ASSERT(used <= r->left);
    grpc_stream_part(r->call->stream, b, 0, used);
    r->left -= used;
    net_bytes_unref(b);
    return r->left > 0;
}

static void range_send(struct range *r)
{
    for (unsigned blocks = 0; grpc_stream_pending(r->call->stream) < PENDING_HIGH; blocks++) {
        if (!range_send_block(r)) {
            etcd_call_finish(r->call);
            range_free(r);
            return;
        }
        if (blocks == PENDING_HIGH / BLOCK_BYTES) {
            range_again(r, PENDING_HIGH);
            return;
        }
    }
}

static void range_on_drain(struct etcd_call *c)
{
    LOOP_CALLBACK("etcd range send");
    struct range *r = c->user;
    if (r != NULL && r->phase == RANGE_SEND)
        range_again(r, PENDING_HIGH - PENDING_LOW);
}

static void range_start_sending(struct range *r)
{
    uint8_t head[ETCD_HEADER_BYTES_MAX];
    size_t head_bytes = etcd_header_size(&r->header);
    if (!etcd_call_may_queue(r->call, r->bytes)) {
        range_fail(r, &etcd_err_too_many_requests);
        return;
    }
    r->left = r->bytes + etcd_range_tail_size(r->more, r->count);
    if (r->left + head_bytes > INT32_MAX) {
        struct str text = arena_printf(etcd_call_arena(r->call),
                                       "grpc: trying to send message larger than max (%zu vs. %d)",
                                       r->left + head_bytes, INT32_MAX);
        etcd_call_fail_text(r->call, GRPC_RESOURCE_EXHAUSTED, str_c(text));
        range_free(r);
        return;
    }
    if (!r->listed)
        store_iter_init(&r->it, r->view, r->op.key, r->op.range_end, r->op.rev);
    r->at = 0;
    r->phase = RANGE_SEND;
    etcd_call_end_within(r->call, SEND_MS_MAX);
    etcd_header_put(head, &r->header);
    etcd_call_count_sent(r->call, head_bytes + r->left);
    grpc_stream_begin(r->call->stream, head_bytes + r->left);
    grpc_stream_part_copy(r->call->stream, head, head_bytes);
    etcd_call_on_drain(r->call, PENDING_LOW, range_on_drain);
    range_send(r);
}

/* What was found fits one block: no second walk. */
static void range_reply(struct range *r, const struct kv *const *kvs, size_t count)
{
    const struct op_result result = {
        .type = OP_RANGE,
        .kvs = (const struct kv **)(uintptr_t)kvs,
        .kv_count = (uint32_t)count,
        .count = r->count,
        .more = r->more,
    };
    etcd_call_reply(r->call, etcd_encode_range(&r->header, &result, r->op.keys_only));
    range_free(r);
}

/* --- finding: one slice each; true when the phase is done --- */

static bool range_take(struct range *r, const struct kv *kv)
{
    if (r->walk_max > 0 && r->found == r->walk_max) {
        r->more = true;
        return !r->count_walks;
    }
    if (r->listed) {
        range_push(r, kv);
    } else {
        r->bytes += bytes_size(etcd_kv_size(kv, r->op.keys_only));
        if (r->found < SMALL_KEYS)
            r->first[r->found] = kv;
    }
    r->found++;
    return false;
}

static bool range_walk(struct range *r)
{
    for (size_t i = 0; i < SLICE_KEYS; i++) {
        const struct kv *kv = store_iter_next(&r->it);
        if (kv == NULL)
            return true;
        if (r->count_walks)
            r->count++;
        if (!r->op.count_only && txn_op_passes(&r->op, kv) && range_take(r, kv))
            return true;
    }
    return false;
}

static void range_sorted(struct range *r)
{
    if (r->op.limit > 0 && r->list.count > (size_t)r->op.limit) {
        r->list.count = (size_t)r->op.limit;
        r->more = true;
    }
    r->at = 0;
    r->phase = RANGE_MEASURE;
}

static void range_walked(struct range *r)
{
    if (!r->listed) {
        if (r->found <= SMALL_KEYS && r->bytes <= SMALL_BYTES)
            range_reply(r, r->first, r->found);
        else
            range_start_sending(r);
        return;
    }
    r->spare = xmalloc((r->list.count + 1) * sizeof(r->spare[0]));
    sliced_sort_init(&r->sort, r->list.items, r->spare, r->list.count, r->op.sort_target,
                     r->op.sort_order == SORT_DESCEND);
    r->phase = RANGE_SORT;
    range_again(r, SLICE_BYTES);
}

static bool range_measure(struct range *r)
{
    size_t end = MIN_OF(r->at + SLICE_KEYS, r->list.count);
    for (; r->at < end; r->at++)
        r->bytes += bytes_size(etcd_kv_size(r->list.items[r->at], r->op.keys_only));
    return r->at == r->list.count;
}

static void range_step(struct range *r)
{
    switch (r->phase) {
    case RANGE_WALK:
        if (range_walk(r)) {
            range_walked(r);
            return;
        }
        break;
    case RANGE_SORT: {
        bool more = sliced_sort_step(&r->sort, SLICE_COMPARES);
        r->list.items = r->sort.items;
        r->spare = r->sort.spare;
        if (!more)
            range_sorted(r);
        break;
    }
    case RANGE_MEASURE:
        if (!range_measure(r))
            break;
        if (r->list.count <= SMALL_KEYS && r->bytes <= SMALL_BYTES)
            range_reply(r, r->list.items, r->list.count);
        else
            range_start_sending(r);
        return;
    case RANGE_SEND:
        range_send(r);
        return;
    case RANGE_BARRIER:
        break;
    }
    range_again(r, SLICE_BYTES);
}

static void run_step(struct deferred *d)
{
    LOOP_CALLBACK("etcd range");
    range_step(CONTAINER_OF(d, struct range, step));
}

/* --- beginning --- */

/* Which walk the options need; see mvcc_range.c for the rules. */
static void range_plan(struct range *r)
{
    const struct txn_op *op = &r->op;
    bool old = op->rev > 0 && op->rev < store_view_rev(r->view);
    r->listed = op->sort_target != SORT_KEY || op->sort_order == SORT_DESCEND;
    r->count_walks = old;
    if (!old)
        r->count = store_view_count(r->view, op->key, op->range_end, op->rev);
    if (op->limit > 0 && !r->listed)
        r->walk_max = (size_t)op->limit;
    /* An order that was not asked for sorts only what the limit lets through, and one. */
    else if (op->limit > 0 && op->sort_order == SORT_NONE && !txn_op_filters(op))
        r->walk_max = (size_t)op->limit + 1;
}

static void range_one(struct range *r)
{
    const struct kv *kv = store_view_get(r->view, r->op.key, r->op.rev);
    r->count = kv != NULL;
    bool shown = kv != NULL && !r->op.count_only && txn_op_passes(&r->op, kv);
    range_reply(r, &kv, shown);
}

static const struct etcd_fault *range_allowed(struct range *r)
{
    struct etcd_call *c = r->call;
    const struct etcd_fault *fault = NULL;
    if (auth_rev(store_view_auth(r->view)) != etcd_caller_rev(&c->caller))
        fault = etcd_call_identify(c);
    return fault != NULL ? fault
                         : etcd_check_range(&c->caller, AUTH_READ, r->op.key, r->op.range_end);
}

static void range_run(struct range *r)
{
    r->view = store_view(etcd_thread_store(r->call->thread));
    const struct etcd_fault *fault = range_allowed(r);
    if (fault != NULL) {
        range_fail(r, fault);
        return;
    }
    int code = store_iter_init(&r->it, r->view, r->op.key, r->op.range_end, r->op.rev);
    if (code != 0) {
        range_fail(r, etcd_fault_of_code(code));
        return;
    }
    r->header = etcd_header(r->call->thread, store_view_rev(r->view));
    if (str_empty(r->op.range_end)) {
        range_one(r);
        return;
    }
    range_plan(r);
    r->phase = RANGE_WALK;
    if (r->op.count_only && !r->count_walks)
        range_reply(r, NULL, 0);
    else
        range_step(r);
}

static void range_on_barrier(struct etcd_call *c, int code)
{
    struct range *r = c->user;
    if (!etcd_call_is_open(c))
        range_free(r);
    else if (code != 0)
        range_fail(r, etcd_fault_of_code(code));
    else
        range_run(r);
}

void etcd_range(struct etcd_call *c, struct str message)
{
    struct txn_op op;
    bool serializable;
    const struct etcd_fault *fault = etcd_decode_range(message, &op, &serializable);
    if (fault == NULL)
        fault = etcd_check_op_shape(&op);
    if (fault == NULL && !serializable && etcd_thread_is_learner(c->thread))
        fault = &etcd_err_not_supported_for_learner;
    if (fault == NULL)
        fault = etcd_check_range(&c->caller, AUTH_READ, op.key, op.range_end);
    if (fault != NULL) {
        etcd_call_fail(c, fault);
        return;
    }
    struct range *r = xmalloc(sizeof(*r));
    memset(r, 0, offsetof(struct range, first));
    memset(&r->list, 0, sizeof(*r) - offsetof(struct range, list));
    r->call = etcd_call_hold(c);
    r->op = op;
    r->serializable = serializable;
    deferred_init(&r->step, run_step);
    c->user = r;
    if (serializable)
        range_run(r);
    else
        etcd_read_barrier(c, range_on_barrier);
}

void etcd_range_gone(struct etcd_call *c)
{
    struct range *r = c->user;
    if (r != NULL && r->phase != RANGE_BARRIER)
        range_free(r);
}
