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

static struct op_record *new_record(struct world *w, struct pending_op *p)
{
    if (w->record_count == w->record_cap) {
        w->record_cap = w->record_cap == 0 ? 256 : 2 * w->record_cap;
        w->records = xrealloc(w->records, w->record_cap * sizeof(w->records[0]));
    }
    struct op_record *rec = &w->records[w->record_count];
    p->record = w->record_count++;
    *rec = (struct op_record){.end = UINT64_MAX};
    rec->op.key = pick_key(w);
    uint64_t kind = rng_below(&w->rng, 10);
    rec->op.kind = kind < 4 ? REG_WRITE : kind < 6 ? REG_CAS : REG_READ;
    rec->op.value = p->first_token = p->last_token = token_new(w);
    /* A recent value, so that some comparisons hold. */
    rec->op.expected = w->token_count - MIN_OF(w->token_count, rng_below(&w->rng, 6));
    rec->op.padding =
        (uint32_t)(rng_chance(&w->rng, w->big_per_mille) ? rng_below(&w->rng, 3000) : 0);
    rec->start = ++w->op_clock;
    return rec;
}

void client_close(struct pending_op *p)
{
    struct world *w = p->world;
    uint32_t client = p->client;
    list_remove(&p->node);
    request_free(p->request);
    free(p);
    if (client == CLIENTS_MAX)
        return;
    w->clients[client].op = NULL;
    if (w->load)
        schedule(w, client, rng_below(&w->rng, 30 * US_PER_MS));
}

/* It surely did not happen: a read without result restricts nothing. */
static void forget_record(struct world *w, struct pending_op *p)
{
    if (p->is_register)
        w->records[p->record].op.kind = REG_READ;
}

/* No command of this operation may ever be seen. */
static void bury(struct pending_op *p)
{
    struct world *w = p->world;
    for (uint64_t t = p->first_token; t != 0 && t <= p->last_token; t++) {
        if (w->tokens[t].position != 0)
            world_fail(w, "command %" PRIu64 " happened; its client was told that it would not",
                       w->tokens[t].position);
        w->tokens[t].dead = true;
    }
}

static int start_register(struct pending_op *p, struct node *n)
{
    const struct op_record *rec = new_record(p->world, p);
    p->is_register = true;
    if (rec->op.kind == REG_READ) {
        p->first_token = 0; /* Never written. */
        return replica_read(n->replica, node_now(n), p);
    }
    AUTO_BUF bytes = BUF_INIT;
    op_encode(&rec->op, &bytes);
    return replica_propose(n->replica, node_now(n), buf_str(&bytes), p);
}

static void next_op(struct world *w, void *arg, uint64_t client)
{
    struct node *asked = arg;
    if (!w->load || w->clients[client].op != NULL)
        return;
    struct node *n = asked != NULL && asked->up ? asked : pick_node(w);
    if (n == NULL) {
        schedule(w, (uint32_t)client, 100 * US_PER_MS);
        return;
    }
    if (w->now_us < n->paused_until_us) { /* The first thing it sees when it goes on. */
        world_at(w, n->paused_until_us - w->now_us, next_op, n, client);
        return;
    }
    struct pending_op *p = xzalloc(sizeof(*p));
    p->world = w;
    p->client = (uint32_t)client;
    p->target = n;
    p->life = n->life;
    p->floor = w->acked;
    list_push_back(&w->pending, &p->node);
    w->clients[client].op = p;
    int rc =
        rng_chance(&w->rng, w->register_per_mille) ? start_register(p, n) : request_start(p, n);
    w->result->ops++;
    if (rc != 0) {
        forget_record(w, p);
        bury(p);
        client_close(p);
        return;
    }
    node_settle(n);
}

/* What one client was told is a fact for everything that begins from now on. */
static void check_order(struct node *n, const struct pending_op *p)
{
    struct world *w = n->world;
    if (n->machine->commands < p->floor)
        world_fail(w,
                   "node %" PRIu64 " answers by command %" PRIu64 ", but %" PRIu64
                   " was acknowledged before the question",
                   n->id, n->machine->commands, p->floor);
    w->acked = MAX_OF(w->acked, n->machine->commands);
}

static void chore_done(struct node *n, const struct pending_op *p)
{
    if (n->life != p->life)
        return;
    if (p->chore == COMMAND_ALARM)
        n->chores.alarming = false;
    if (p->chore == COMMAND_COMPACT)
        n->chores.compacting = false;
}

void client_applied(struct node *n, void *cookie, const struct mvcc_result *r)
{
    struct pending_op *p = cookie;
    struct world *w = n->world;
    if (p->chore != 0) {
        chore_done(n, p);
    } else {
        check_order(n, p);
        if (p->is_register && r->code != 0) {
            forget_record(w, p); /* No space. */
        } else if (p->is_register) {
            struct op_record *rec = &w->records[p->record];
            rec->result = r->txn != NULL && r->txn->succeeded;
            rec->end = ++w->op_clock;
        } else {
            request_applied(n, p, r);
        }
    }
    client_close(p);
}

void client_failed(struct node *n, void *cookie, int code)
{
    struct pending_op *p = cookie;
    if (p->chore != 0)
        chore_done(n, p);
    else if (p->request != NULL && request_failed(p, code))
        return;
    if (code == E_UNAVAILABLE) {
        forget_record(n->world, p);
        bury(p);
    } else if (p->chore == 0) {
        n->world->result->unknown++;
    }
    client_close(p);
}

void client_read_done(struct node *n, void *cookie, int code)
{
    struct pending_op *p = cookie;
    struct world *w = n->world;
    if (code == 0) {
        check_order(n, p);
        w->result->reads++;
    }
    if (code == 0 && p->is_register) {
        struct op_record *rec = &w->records[p->record];
        rec->result = machine_read(n->machine, rec->op.key);
        rec->end = ++w->op_clock;
    } else if (code == 0) {
        request_read(n, p);
    }
    client_close(p);
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
        request_free(p->request);
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
