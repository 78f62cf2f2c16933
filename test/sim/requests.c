/* requests.c - what clients ask for besides registers: puts, deletes, ranges,
 * transactions over several keys, leases, compaction. Their answers are compared
 * with the model by checks.c; here they are made up, sent, and sent again where
 * a client may do that. */
#include "sim.h"

#include "lib/base/arena.h"
#include "lib/base/error.h"

#include <inttypes.h>

#define KEY_BYTES 4
#define TRIES_MAX 4
#define DEPTH_MAX 2

struct request {
    struct buf bytes;    /* A command; empty: a range. */
    struct txn_op range; /* Its keys stand in the text. */
    char from[KEY_BYTES + 1], to[KEY_BYTES + 1];
    bool guarded; /* Happening once, it cannot happen again: may be sent again. */
    bool maybe;   /* May be under way from an earlier try. */
    uint32_t tries;
};

void request_free(struct request *r)
{
    if (r == NULL)
        return;
    buf_done(&r->bytes);
    free(r);
}

/* --- making them up --- */

static struct str some_key(struct world *w, struct arena *a)
{
    return arena_printf(a, "k%03u", (uint32_t)rng_below(&w->rng, w->request_keys));
}

static void some_range(struct world *w, struct arena *a, struct str *key, struct str *end)
{
    uint64_t dice = rng_below(&w->rng, 10);
    *key = some_key(w, a);
    if (dice < 4)
        *end = STR_NULL;
    else if (dice < 9)
        *end = arena_printf(a, "k%03u", (uint32_t)rng_below(&w->rng, w->request_keys + 1));
    else
        *end = str_n(arena_memdup(a, "", 1), 1); /* From the key on. */
    if (end->len > 1 && str_cmp(*key, *end) >= 0)
        *end = STR_NULL;
}

static struct str some_value(struct pending_op *p, struct arena *a)
{
    uint8_t bytes[VALUE_BYTES];
    p->last_token = token_new(p->world);
    if (p->first_token == 0)
        p->first_token = p->last_token;
    return arena_str(a, value_of(p->last_token, bytes));
}

/* The newest version in the eyes of the model; NULL: none. */
static const struct kv *look(struct world *w, struct str key, struct op_result *r)
{
    struct txn_op op = {.type = OP_RANGE, .key = key};
    model_range(w->model, &op, 0, r);
    return r->kv_count > 0 ? r->kvs[0] : NULL;
}

static struct txn_cmp some_cmp(struct pending_op *p, struct arena *a)
{
    struct world *w = p->world;
    struct txn_cmp c = {.target = (enum cmp_target)rng_below(&w->rng, 5)};
    struct op_result r;
    c.result = rng_chance(&w->rng, 600) ? CMP_EQUAL : (enum cmp_result)rng_below(&w->rng, 4);
    c.key = some_key(w, a);
    if (rng_chance(&w->rng, 150))
        some_range(w, a, &c.key, &c.range_end);
    const struct kv *kv = look(w, c.key, &r);
    if (kv != NULL) {
        c.number = c.target == CMP_VERSION  ? kv_version(kv)
                   : c.target == CMP_CREATE ? kv_create_rev(kv)
                   : c.target == CMP_MOD    ? kv->mod_rev
                                            : kv_lease(kv);
        c.value = arena_str(a, kv_value(kv));
    }
    if (c.target == CMP_VALUE)
        c.number = 0;
    else
        c.value = STR_NULL;
    op_result_done(&r);
    return c;
}

/* Limits, filters and orders. */
static void range_options(struct world *w, struct txn_op *op)
{
    struct rng *g = &w->rng;
    int64_t newest = model_rev(w->model);
    op->limit = rng_chance(g, 300) ? (int64_t)rng_between(g, 1, 5) : 0;
    op->count_only = rng_chance(g, 100);
    if (rng_chance(g, 200))
        op->rev = MAX_OF(1, newest + 2 - (int64_t)rng_below(g, 60));
    if (rng_chance(g, 150))
        op->min_mod_rev = MAX_OF(0, newest - (int64_t)rng_below(g, 100));
    if (rng_chance(g, 100))
        op->max_mod_rev = MAX_OF(0, newest - (int64_t)rng_below(g, 100));
    if (rng_chance(g, 100))
        op->min_create_rev = MAX_OF(0, newest - (int64_t)rng_below(g, 200));
    if (rng_chance(g, 50))
        op->max_create_rev = MAX_OF(0, newest - (int64_t)rng_below(g, 200));
    if (rng_chance(g, 300)) {
        op->sort_target = (enum sort_target)rng_below(g, 5);
        op->sort_order = rng_chance(g, 500) ? SORT_ASCEND : SORT_DESCEND;
    }
}

static struct txn *some_txn(struct pending_op *p, struct arena *a, unsigned depth);

static struct txn_op some_op(struct pending_op *p, struct arena *a, unsigned depth)
{
    struct world *w = p->world;
    uint64_t dice = rng_below(&w->rng, 100);
    struct txn_op op = {.type = OP_PUT};
    op.prev_kv = rng_chance(&w->rng, 300);
    if (dice < 50) {
        op.key = some_key(w, a);
        op.ignore_value = rng_chance(&w->rng, 60);
        op.ignore_lease = rng_chance(&w->rng, 60);
        if (!op.ignore_value)
            op.value = some_value(p, a);
        if (!op.ignore_lease && rng_chance(&w->rng, 200))
            op.lease = model_some_lease(w->model, rng_next(&w->rng));
    } else if (dice < 68) {
        op.type = OP_DELETE;
        some_range(w, a, &op.key, &op.range_end);
    } else if (dice < 90 || depth >= DEPTH_MAX) {
        op = (struct txn_op){.type = OP_RANGE};
        some_range(w, a, &op.key, &op.range_end);
        range_options(w, &op);
    } else {
        op = (struct txn_op){.type = OP_TXN, .txn = some_txn(p, a, depth + 1)};
    }
    return op;
}

static struct txn *some_txn(struct pending_op *p, struct arena *a, unsigned depth)
{
    struct rng *g = &p->world->rng;
    struct txn *t = ARENA_NEW(a, struct txn);
    uint32_t cmps = (uint32_t)rng_below(g, 4), yes = (uint32_t)rng_between(g, 1, 4);
    uint32_t no = (uint32_t)rng_below(g, 3);
    struct txn_cmp *c = ARENA_ARRAY(a, struct txn_cmp, 4);
    struct txn_op *ops = ARENA_ARRAY(a, struct txn_op, 8);
    for (uint32_t i = 0; i < cmps; i++)
        c[i] = some_cmp(p, a);
    for (uint32_t i = 0; i < yes + no; i++)
        ops[i] = some_op(p, a, depth);
    *t = (struct txn){
        .cmps = c,
        .cmp_count = cmps,
        .success = ops,
        .success_count = yes,
        .failure = ops + yes,
        .failure_count = no,
    };
    return t;
}

/* What a client does that wants to change a key it has seen. */
static struct txn *guarded_txn(struct pending_op *p, struct arena *a)
{
    struct world *w = p->world;
    struct txn *t = ARENA_NEW(a, struct txn);
    struct txn_cmp *c = ARENA_NEW(a, struct txn_cmp);
    struct txn_op *ops = ARENA_ARRAY(a, struct txn_op, 2);
    struct op_result r;
    struct str key = some_key(w, a);
    const struct kv *kv = look(w, key, &r);
    *c = (struct txn_cmp){.key = key, .target = CMP_MOD, .number = kv != NULL ? kv->mod_rev : 0};
    p->request->guarded = kv != NULL; /* "Is not there" may come true again. */
    op_result_done(&r);
    ops[0] = (struct txn_op){.type = OP_PUT, .key = key, .value = some_value(p, a)};
    ops[1] = (struct txn_op){.type = OP_RANGE, .key = key};
    *t = (struct txn){.cmps = c,
                      .cmp_count = 1,
                      .success = ops,
                      .success_count = 1,
                      .failure = ops + 1,
                      .failure_count = 1};
    return t;
}

static void some_command(struct pending_op *p, struct arena *a, struct command *c)
{
    struct world *w = p->world;
    uint64_t dice = rng_below(&w->rng, 100);
    struct txn_op *op = ARENA_NEW(a, struct txn_op);
    *c = (struct command){.type = COMMAND_TXN};
    if (dice < 40) {
        *op = some_op(p, a, DEPTH_MAX);
        c->txn = (struct txn){.success = op, .success_count = 1};
    } else if (dice < 65) {
        c->txn = *some_txn(p, a, 0);
        w->result->txns++;
    } else if (dice < 80) {
        c->txn = *guarded_txn(p, a);
        w->result->txns++;
    } else if (dice < 86) {
        c->type = COMMAND_LEASE_GRANT;
        c->id = rng_chance(&w->rng, 50) ? model_some_lease(w->model, rng_next(&w->rng))
                                        : ++w->next_lease;
        c->ttl_s = (int64_t)rng_between(&w->rng, 1, 5);
    } else if (dice < 93) {
        c->type = COMMAND_LEASE_KEEPALIVE;
        c->id = model_some_lease(w->model, rng_next(&w->rng));
    } else if (dice < 96) {
        c->type = COMMAND_LEASE_REVOKE;
        c->id = model_some_lease(w->model, rng_next(&w->rng));
    } else {
        c->type = COMMAND_COMPACT;
        c->rev = model_rev(w->model) + 1 - (int64_t)rng_below(&w->rng, 60);
    }
}

/* --- sending --- */

static int send_again(struct pending_op *p, struct node *n)
{
    struct request *r = p->request;
    p->target = n;
    p->life = n->life;
    r->tries++;
    if (r->bytes.len == 0)
        return replica_read(n->replica, node_now(n), p);
    return replica_propose(n->replica, node_now(n), buf_str(&r->bytes), p);
}

static void make_range(struct pending_op *p)
{
    struct request *r = p->request;
    struct world *w = p->world;
    AUTO_ARENA *a = arena_new(0);
    struct str key, end;
    some_range(w, a, &key, &end);
    memcpy(r->from, key.data, key.len);
    memcpy(r->to, end.data != NULL ? end.data : "", end.len);
    r->range = (struct txn_op){
        .type = OP_RANGE, .key = str_n(r->from, key.len), .range_end = str_n(r->to, end.len)};
    range_options(w, &r->range);
}

int request_start(struct pending_op *p, struct node *n)
{
    AUTO_ARENA *a = arena_new(0);
    struct command c;
    p->request = xzalloc(sizeof(*p->request));
    if (rng_chance(&p->world->rng, 250)) {
        make_range(p);
        return send_again(p, n);
    }
    some_command(p, a, &c);
    /* What a server refuses before it proposes is refused when applied, too. */
    command_encode(&c, &p->request->bytes);
    return send_again(p, n);
}

static void try_again(struct world *w, void *arg, uint64_t number)
{
    struct pending_op *p = arg;
    struct node *up[NODES_MAX];
    uint32_t count = 0;
    UNUSED(number);
    for (uint32_t i = 0; i < w->node_count; i++)
        if (w->nodes[i].up && w->now_us >= w->nodes[i].paused_until_us)
            up[count++] = &w->nodes[i];
    struct node *n = count > 0 ? up[rng_below(&w->rng, count)] : NULL;
    if (n != NULL && send_again(p, n) == 0) {
        node_settle(n);
        return;
    }
    client_close(p); /* It gives up; an earlier try may still come true. */
}

bool request_failed(struct pending_op *p, int code)
{
    struct request *r = p->request;
    struct world *w = p->world;
    bool safe = r->guarded || code == E_UNAVAILABLE;
    r->maybe |= code != E_UNAVAILABLE;
    if (!safe || r->tries >= TRIES_MAX || !w->load) {
        if (r->maybe)
            p->first_token = 0; /* Nobody knows. */
        return false;
    }
    world_at(w, rng_between(&w->rng, 1, 200) * US_PER_MS, try_again, p, 0);
    return true;
}

/* --- answers --- */

void request_applied(struct node *n, struct pending_op *p, const struct mvcc_result *r)
{
    struct world *w = n->world;
    /* Compared with the model already: what is left is whose answer it is. */
    for (uint64_t t = p->first_token; t != 0 && t <= p->last_token && !p->request->maybe; t++) {
        uint64_t at = w->tokens[t].position;
        if (at != 0 && at != n->machine->commands)
            world_fail(w, "command %" PRIu64 " is answered with what %" PRIu64 " did",
                       n->machine->commands, at);
    }
    UNUSED(r);
}

void request_read(struct node *n, struct pending_op *p)
{
    struct world *w = n->world;
    const struct txn_op *op = &p->request->range;
    const struct position *at = &w->positions[n->machine->commands];
    struct mvcc_view *v = mvcc_view(n->machine->mvcc);
    int64_t rev = mvcc_view_rev(v);
    int want = op->rev > at->rev                        ? E_FUTURE_REV
               : op->rev > 0 && op->rev < at->compacted ? E_EXPIRED
                                                        : 0;
    int rc = mvcc_view_check_rev(v, op->rev);
    if (rev != at->rev || mvcc_view_compacted(v) != at->compacted)
        world_fail(w,
                   "node %" PRIu64 ": view of revision %" PRId64 " after command %" PRIu64
                   ", which made %" PRId64,
                   n->id, rev, n->machine->commands, at->rev);
    else if (rc != want)
        world_fail(w, "node %" PRIu64 ": range at %" PRId64 " answers %d, not %d", n->id, op->rev,
                   rc, want);
    if (rc == 0 && !world_failed(w)) {
        struct op_result got = {0}, expected;
        AUTO_BUF why = BUF_INIT;
        ASSERT(mvcc_view_range(v, op, &got) == 0);
        model_range(w->model, op, op->rev > 0 ? op->rev : rev, &expected);
        if (op_results_differ(&expected, &got, &why) ||
            mvcc_view_count(v, op->key, op->range_end, op->rev) != expected.count)
            world_fail(w, "node %" PRIu64 ": range at revision %" PRId64 ": %.*s", n->id,
                       op->rev > 0 ? op->rev : rev, STR_ARG(buf_str(&why)));
        op_result_done(&got);
        op_result_done(&expected);
    }
    mvcc_view_unref(v);
}
