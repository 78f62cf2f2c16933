/* clients.c - clients that write, compare-and-set and read, one operation at a
 * time, and the history they leave behind. */
#include "sim.h"

#include "lib/base/error.h"

#include <inttypes.h>
#include <stdio.h>

static void next_op(struct world *w, void *arg, uint64_t client);

static void schedule(struct world *w, uint32_t client, uint64_t delay_us)
{
    world_at(w, delay_us, next_op, NULL, client);
}

static struct node *pick_node(struct world *w)
{
    struct node *up[NODES_MAX];
    uint32_t count = 0;
    bool leaders = rng_chance(&w->rng, 400);
    for (uint32_t i = 0; i < w->node_count; i++) {
        struct replica_status st;
        if (!w->nodes[i].up)
            continue;
        replica_status(w->nodes[i].replica, &st);
        if (leaders && st.state == REPLICA_LEADER && rng_chance(&w->rng, 500))
            return &w->nodes[i];
        up[count++] = &w->nodes[i];
    }
    return count > 0 ? up[rng_below(&w->rng, count)] : NULL;
}

static uint32_t pick_key(struct world *w)
{
    /* Each key gets a bounded number of operations: the checker is exponential. */
    if (w->key_ops++ >= HISTORY_MAX - CLIENTS_MAX) {
        w->key_base++;
        w->key_ops = 1;
    }
    return w->key_base;
}

static struct op_record *new_record(struct world *w, uint32_t *ret_index)
{
    if (w->record_count == w->record_cap) {
        w->record_cap = w->record_cap == 0 ? 256 : 2 * w->record_cap;
        w->records = xrealloc(w->records, w->record_cap * sizeof(w->records[0]));
    }
    struct op_record *rec = &w->records[w->record_count];
    *ret_index = w->record_count++;
    *rec = (struct op_record){.end = UINT64_MAX};
    rec->op.key = pick_key(w);
    uint64_t kind = rng_below(&w->rng, 10);
    rec->op.kind = kind < 4 ? REG_WRITE : kind < 6 ? REG_CAS : REG_READ;
    rec->op.value = ++w->next_value;
    /* A recent value, so that some comparisons hold. */
    rec->op.expected = w->next_value - MIN_OF(w->next_value, rng_below(&w->rng, 6));
    rec->op.padding =
        (uint32_t)(rng_chance(&w->rng, w->big_per_mille) ? rng_below(&w->rng, 3000) : 0);
    rec->start = ++w->op_clock;
    return rec;
}

/* The operation is over, and its client goes on. */
static void close_op(struct pending_op *p)
{
    struct world *w = p->world;
    uint32_t client = p->client;
    w->clients[client].op = NULL;
    list_remove(&p->node);
    free(p);
    if (w->load)
        schedule(w, client, rng_below(&w->rng, 30 * US_PER_MS));
}

static void forget_record(struct world *w, struct pending_op *p)
{
    /* It surely did not happen: a read without result restricts nothing. */
    w->records[p->record].op.kind = REG_READ;
}

static void next_op(struct world *w, void *arg, uint64_t client)
{
    UNUSED(arg);
    struct node *n = pick_node(w);
    if (!w->load || w->clients[client].op != NULL)
        return;
    if (n == NULL) {
        schedule(w, (uint32_t)client, 100 * US_PER_MS);
        return;
    }
    struct pending_op *p = xzalloc(sizeof(*p));
    struct op_record *rec = new_record(w, &p->record);
    p->world = w;
    p->client = (uint32_t)client;
    p->target = n;
    p->life = n->life;
    list_push_back(&w->pending, &p->node);
    w->clients[client].op = p;
    int rc;
    if (rec->op.kind == REG_READ) {
        rc = replica_read(n->replica, node_now(n), p);
    } else {
        AUTO_BUF bytes = BUF_INIT;
        op_encode(&rec->op, &bytes);
        rc = replica_propose(n->replica, node_now(n), buf_str(&bytes), p);
    }
    w->result->ops++;
    if (rc != 0) {
        forget_record(w, p);
        close_op(p);
        return;
    }
    node_settle(n);
}

void client_applied(struct node *n, void *cookie, bool ok)
{
    struct pending_op *p = cookie;
    struct op_record *rec = &n->world->records[p->record];
    rec->result = ok;
    rec->end = ++n->world->op_clock;
    close_op(p);
}

void client_failed(struct node *n, void *cookie, int code)
{
    struct pending_op *p = cookie;
    if (code == E_UNAVAILABLE)
        forget_record(n->world, p);
    else
        n->world->result->unknown++;
    close_op(p);
}

void client_read_done(struct node *n, void *cookie, int code)
{
    struct pending_op *p = cookie;
    struct op_record *rec = &n->world->records[p->record];
    if (code == 0) {
        rec->result = machine_read(n->machine, rec->op.key);
        rec->end = ++n->world->op_clock;
        n->world->result->reads++;
    }
    close_op(p);
}

void clients_start(struct world *w, uint32_t count)
{
    w->load = true;
    w->client_count = count;
    for (uint32_t i = 0; i < count; i++)
        schedule(w, i, rng_below(&w->rng, 300 * US_PER_MS));
}

void clients_done(struct world *w)
{
    while (!list_empty(&w->pending)) {
        struct pending_op *p = LIST_ENTRY(list_pop_front(&w->pending), struct pending_op, node);
        free(p);
    }
    free(w->records);
}

static void print_history(const struct op_record *ops, uint32_t count)
{
    static const char *const names[] = {"write", "cas", "read"};
    for (uint32_t i = 0; i < count; i++)
        printf("    %6" PRIu64 " .. %6" PRId64 " %-5s key %u value %" PRIu64 " expected %" PRIu64
               " result %" PRIu64 "\n",
               ops[i].start, (int64_t)ops[i].end, names[ops[i].op.kind], ops[i].op.key,
               ops[i].op.value, ops[i].op.expected, ops[i].result);
}

bool clients_check(struct world *w)
{
    struct op_record list[HISTORY_MAX];
    for (uint32_t key = 0; key <= w->key_base; key++) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < w->record_count; i++) {
            const struct op_record *rec = &w->records[i];
            bool empty = rec->op.kind == REG_READ && rec->end == UINT64_MAX;
            if (rec->op.key == key && !empty)
                list[count++] = *rec;
        }
        if (history_linearizable(list, count))
            continue;
        world_fail(w, "the history of key %u is not linearizable", key);
        if (w->options.verbose)
            print_history(list, count);
        return false;
    }
    return true;
}
