/* wire.c - decoding of etcd's frequent requests; see wire.h. */
#include "raftstore/etcd/wire.h"

#include "lib/base/arena.h"

const struct etcd_fault etcd_err_unmarshal = {GRPC_INTERNAL,
                                              "grpc: error unmarshalling request: unexpected EOF"};

#define WIRE_VARINT 0
#define WIRE_64 1
#define WIRE_BYTES 2
#define WIRE_GROUP 3
#define WIRE_GROUP_END 4
#define WIRE_32 5

/* --- fields --- */

struct fields {
    const uint8_t *p, *end;
    bool bad;
    /* The current one. */
    uint32_t number;
    unsigned type;
    uint64_t value;
    struct str bytes;
};

static struct fields fields_of(struct str message)
{
    const uint8_t *p = (const uint8_t *)message.data;
    return (struct fields){.p = p, .end = p != NULL ? p + message.len : p};
}

static uint64_t take_varint(struct fields *f)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && f->p < f->end; shift += 7) {
        uint8_t b = *f->p++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80)
            return v;
    }
    f->bad = true;
    return 0;
}

static void take_bytes(struct fields *f, uint64_t len)
{
    if (f->bad || len > (uint64_t)(f->end - f->p)) {
        f->bad = true;
        return;
    }
    f->bytes = str_n((const char *)f->p, (size_t)len);
    f->p += len;
}

static void take_value(struct fields *f)
{
    switch (f->type) {
    case WIRE_VARINT:
        f->value = take_varint(f);
        return;
    case WIRE_64:
        take_bytes(f, 8);
        return;
    case WIRE_BYTES:
        take_bytes(f, take_varint(f));
        return;
    case WIRE_32:
        take_bytes(f, 4);
        return;
    default:
        f->bad = true;
    }
}

static void take_tag(struct fields *f)
{
    uint64_t tag = take_varint(f);
    f->number = (uint32_t)(tag >> 3);
    f->type = (unsigned)tag & 7;
    if (tag >> 3 == 0 || tag >> 3 > UINT32_MAX >> 3)
        f->bad = true;
}

/* Skips what stands in a group, groups within it too. */
static void skip_group(struct fields *f)
{
    for (unsigned depth = 1; depth > 0 && !f->bad;) {
        take_tag(f);
        if (f->type == WIRE_GROUP)
            depth++;
        else if (f->type == WIRE_GROUP_END)
            depth--;
        else
            take_value(f);
    }
}

/* The next field that is no group; false at the end and when `bad`. */
static bool next_field(struct fields *f)
{
    while (f->p < f->end && !f->bad) {
        take_tag(f);
        if (f->bad)
            return false;
        if (f->type == WIRE_GROUP) {
            skip_group(f);
            continue;
        }
        take_value(f);
        return !f->bad;
    }
    return false;
}

static int64_t number_of(struct fields *f)
{
    if (f->type != WIRE_VARINT)
        f->bad = true;
    return (int64_t)f->value;
}

static bool flag_of(struct fields *f)
{
    return number_of(f) != 0;
}

static struct str bytes_of(struct fields *f)
{
    if (f->type != WIRE_BYTES)
        f->bad = true;
    return f->bytes;
}

static const struct etcd_fault *fields_end(const struct fields *f)
{
    return f->bad ? &etcd_err_unmarshal : NULL;
}

/* --- operations --- */

const struct etcd_fault *etcd_decode_range(struct str message, struct txn_op *ret,
                                           bool *ret_serializable)
{
    struct fields f = fields_of(message);
    int64_t order = 0, target = 0;
    *ret = (struct txn_op){.type = OP_RANGE};
    *ret_serializable = false;
    while (next_field(&f)) {
        switch (f.number) {
        case 1:
            ret->key = bytes_of(&f);
            break;
        case 2:
            ret->range_end = bytes_of(&f);
            break;
        case 3:
            ret->limit = number_of(&f);
            break;
        case 4:
            ret->rev = number_of(&f);
            break;
        case 5:
            order = number_of(&f);
            break;
        case 6:
            target = number_of(&f);
            break;
        case 7:
            *ret_serializable = flag_of(&f);
            break;
        case 8:
            ret->keys_only = flag_of(&f);
            break;
        case 9:
            ret->count_only = flag_of(&f);
            break;
        case 10:
            ret->min_mod_rev = number_of(&f);
            break;
        case 11:
            ret->max_mod_rev = number_of(&f);
            break;
        case 12:
            ret->min_create_rev = number_of(&f);
            break;
        case 13:
            ret->max_create_rev = number_of(&f);
            break;
        default:
            break;
        }
    }
    if (f.bad)
        return &etcd_err_unmarshal;
    if (order < SORT_NONE || order > SORT_DESCEND || target < SORT_KEY || target > SORT_VALUE)
        return &etcd_err_invalid_sort_option;
    ret->sort_order = (enum sort_order)order;
    ret->sort_target = (enum sort_target)target;
    ret->limit = MAX_OF(ret->limit, 0);
    ret->rev = MAX_OF(ret->rev, 0);
    return NULL;
}

const struct etcd_fault *etcd_decode_put(struct str message, struct txn_op *ret)
{
    struct fields f = fields_of(message);
    *ret = (struct txn_op){.type = OP_PUT};
    while (next_field(&f)) {
        switch (f.number) {
        case 1:
            ret->key = bytes_of(&f);
            break;
        case 2:
            ret->value = bytes_of(&f);
            break;
        case 3:
            ret->lease = number_of(&f);
            break;
        case 4:
            ret->prev_kv = flag_of(&f);
            break;
        case 5:
            ret->ignore_value = flag_of(&f);
            break;
        case 6:
            ret->ignore_lease = flag_of(&f);
            break;
        default:
            break;
        }
    }
    return fields_end(&f);
}

const struct etcd_fault *etcd_decode_delete(struct str message, struct txn_op *ret)
{
    struct fields f = fields_of(message);
    *ret = (struct txn_op){.type = OP_DELETE};
    while (next_field(&f)) {
        switch (f.number) {
        case 1:
            ret->key = bytes_of(&f);
            break;
        case 2:
            ret->range_end = bytes_of(&f);
            break;
        case 3:
            ret->prev_kv = flag_of(&f);
            break;
        default:
            break;
        }
    }
    return fields_end(&f);
}

const struct etcd_fault *etcd_decode_compact(struct str message, int64_t *ret_rev,
                                             bool *ret_physical)
{
    int64_t physical;
    const struct etcd_fault *fault = etcd_decode_pair(message, ret_rev, &physical);
    *ret_physical = physical != 0;
    return fault;
}

const struct etcd_fault *etcd_decode_pair(struct str message, int64_t *ret_1, int64_t *ret_2)
{
    struct fields f = fields_of(message);
    *ret_1 = *ret_2 = 0;
    while (next_field(&f)) {
        if (f.number == 1)
            *ret_1 = number_of(&f);
        else if (f.number == 2)
            *ret_2 = number_of(&f);
    }
    return fields_end(&f);
}

/* --- transactions --- */

struct txn_decoder {
    struct arena *arena;
    uint32_t ops; /* So far, of all levels. */
    bool serializable;
};

static const struct etcd_fault *decode_cmp(struct str message, struct txn_cmp *ret)
{
    /* Which of the union's fields belongs to which target. */
    static const unsigned FIELD[] = {
        [CMP_VERSION] = 4, [CMP_CREATE] = 5, [CMP_MOD] = 6, [CMP_VALUE] = 7, [CMP_LEASE] = 8};
    struct fields f = fields_of(message);
    int64_t result = 0, target = 0, number = 0;
    unsigned given = 0;
    struct str value = STR_NULL;
    *ret = (struct txn_cmp){0};
    while (next_field(&f)) {
        switch (f.number) {
        case 1:
            result = number_of(&f);
            break;
        case 2:
            target = number_of(&f);
            break;
        case 3:
            ret->key = bytes_of(&f);
            break;
        case 4:
        case 5:
        case 6:
        case 8:
            number = number_of(&f);
            given = f.number;
            break;
        case 7:
            value = bytes_of(&f);
            given = f.number;
            break;
        case 64:
            ret->range_end = bytes_of(&f);
            break;
        default:
            break;
        }
    }
    if (f.bad || result < CMP_EQUAL || result > CMP_NOT_EQUAL || target < CMP_VERSION ||
        target > CMP_LEASE)
        return &etcd_err_unmarshal;
    ret->result = (enum cmp_result)result;
    ret->target = (enum cmp_target)target;
    /* Another target's field counts for nothing: zero is compared with. */
    if (given != FIELD[target])
        return NULL;
    if (given == 7)
        ret->value = value;
    else
        ret->number = number;
    return NULL;
}

static const struct etcd_fault *decode_txn(struct txn_decoder *d, struct str message,
                                           unsigned depth, struct txn *ret);

static const struct etcd_fault *decode_op(struct txn_decoder *d, struct str message, unsigned depth,
                                          struct txn_op *ret)
{
    struct fields f = fields_of(message);
    unsigned which = 0;
    struct str inner = STR_NULL;
    while (next_field(&f)) {
        if (f.number < 1 || f.number > 4)
            continue;
        which = f.number;
        inner = bytes_of(&f);
    }
    if (f.bad)
        return &etcd_err_unmarshal;
    if (which == 1) {
        bool serializable;
        const struct etcd_fault *fault = etcd_decode_range(inner, ret, &serializable);
        d->serializable &= serializable;
        return fault;
    }
    if (which == 2)
        return etcd_decode_put(inner, ret);
    if (which == 3)
        return etcd_decode_delete(inner, ret);
    if (which == 0)
        return &etcd_err_key_not_found;
    struct txn *nested = ARENA_NEW(d->arena, struct txn);
    *ret = (struct txn_op){.type = OP_TXN, .txn = nested};
    return decode_txn(d, inner, depth + 1, nested);
}

/* depth is bounded by TXN_DEPTH_MAX. */
static const struct etcd_fault *decode_txn(struct txn_decoder *d, struct str message,
                                           unsigned depth, struct txn *ret)
{
    struct fields f = fields_of(message);
    uint32_t count[4] = {0};
    while (next_field(&f)) {
        if (f.number < 1 || f.number > 3)
            continue;
        bytes_of(&f);
        count[f.number]++;
        if (++d->ops > TXN_OPS_MAX || depth > TXN_DEPTH_MAX)
            return &etcd_err_too_many_ops;
    }
    if (f.bad)
        return &etcd_err_unmarshal;
    struct txn_cmp *cmps = ARENA_ARRAY(d->arena, struct txn_cmp, count[1]);
    struct txn_op *ops[4] = {NULL, NULL, ARENA_ARRAY(d->arena, struct txn_op, count[2]),
                             ARENA_ARRAY(d->arena, struct txn_op, count[3])};
    *ret = (struct txn){.cmps = cmps, .success = ops[2], .failure = ops[3]};
    ret->cmp_count = count[1];
    ret->success_count = count[2];
    ret->failure_count = count[3];
    uint32_t at[4] = {0};
    f = fields_of(message);
    while (next_field(&f)) {
        const struct etcd_fault *fault = NULL;
        if (f.number == 1)
            fault = decode_cmp(f.bytes, &cmps[at[1]++]);
        else if (f.number == 2 || f.number == 3)
            fault = decode_op(d, f.bytes, depth, &ops[f.number][at[f.number]++]);
        if (fault != NULL)
            return fault;
    }
    return NULL;
}

const struct etcd_fault *etcd_decode_txn(struct arena *a, struct str message, struct txn *ret,
                                         bool *ret_serializable)
{
    struct txn_decoder d = {.arena = a, .serializable = true};
    const struct etcd_fault *fault = decode_txn(&d, message, 1, ret);
    *ret_serializable = d.serializable;
    return fault;
}

/* --- watches --- */

/* A filter, or a packed list of them. */
static void take_filters(struct fields *f, struct etcd_watch_request *ret)
{
    if (f->type == WIRE_VARINT) {
        ret->no_put |= f->value == 0;
        ret->no_delete |= f->value == 1;
        return;
    }
    struct fields list = fields_of(bytes_of(f));
    while (!f->bad && list.p < list.end) {
        uint64_t v = take_varint(&list);
        f->bad |= list.bad;
        ret->no_put |= v == 0 && !list.bad;
        ret->no_delete |= v == 1;
    }
}

static const struct etcd_fault *decode_watch_create(struct str message,
                                                    struct etcd_watch_request *ret)
{
    struct fields f = fields_of(message);
    while (next_field(&f)) {
        switch (f.number) {
        case 1:
            ret->key = bytes_of(&f);
            break;
        case 2:
            ret->range_end = bytes_of(&f);
            break;
        case 3:
            ret->start_rev = number_of(&f);
            break;
        case 4:
            ret->progress_notify = flag_of(&f);
            break;
        case 5:
            take_filters(&f, ret);
            break;
        case 6:
            ret->prev_kv = flag_of(&f);
            break;
        case 7:
            ret->watch_id = number_of(&f);
            break;
        case 8:
            ret->fragment = flag_of(&f);
            break;
        default:
            break;
        }
    }
    return fields_end(&f);
}

const struct etcd_fault *etcd_decode_watch(struct str message, struct etcd_watch_request *ret)
{
    struct fields f = fields_of(message);
    struct str inner = STR_NULL;
    int64_t unused;
    *ret = (struct etcd_watch_request){.type = WATCH_NOTHING};
    while (next_field(&f)) {
        if (f.number < WATCH_CREATE || f.number > WATCH_PROGRESS)
            continue;
        ret->type = (enum etcd_watch_request_type)f.number;
        inner = bytes_of(&f);
    }
    if (f.bad)
        return &etcd_err_unmarshal;
    switch (ret->type) {
    case WATCH_CREATE:
        return decode_watch_create(inner, ret);
    case WATCH_CANCEL:
        return etcd_decode_pair(inner, &ret->watch_id, &unused);
    case WATCH_NOTHING:
    case WATCH_PROGRESS:
        break;
    }
    return NULL;
}

/* --- what is refused before anything else --- */

const struct etcd_fault *etcd_check_op_shape(const struct txn_op *op)
{
    if (str_empty(op->key))
        return &etcd_err_empty_key;
    if (op->type != OP_PUT)
        return NULL;
    if (op->ignore_value && !str_empty(op->value))
        return &etcd_err_value_provided;
    if (op->ignore_lease && op->lease != 0)
        return &etcd_err_lease_provided;
    return NULL;
}

static const struct etcd_fault *check_list(const struct txn_op *ops, uint32_t count,
                                           uint32_t ops_max)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct etcd_fault *fault = ops[i].type == OP_TXN
                                             ? etcd_check_txn_shape(ops[i].txn, ops_max)
                                             : etcd_check_op_shape(&ops[i]);
        if (fault != NULL)
            return fault;
    }
    return NULL;
}

/* Each level has what the longest list of the levels above has left. Depth is bounded by
 * decoding. */
const struct etcd_fault *etcd_check_txn_shape(const struct txn *t, uint32_t ops_max)
{
    uint32_t longest = MAX_OF(t->cmp_count, MAX_OF(t->success_count, t->failure_count));
    if (longest > ops_max)
        return &etcd_err_too_many_ops;
    for (uint32_t i = 0; i < t->cmp_count; i++) {
        if (str_empty(t->cmps[i].key))
            return &etcd_err_empty_key;
    }
    const struct etcd_fault *fault = check_list(t->success, t->success_count, ops_max - longest);
    return fault != NULL ? fault : check_list(t->failure, t->failure_count, ops_max - longest);
}
