/* reads.c - read barriers of a thread: all reads that arrive in one round of the loop
 * share one question to the store. */
#include "raftstore/etcd/server_private.h"

struct etcd_reads {
    struct etcd_thread *thread;
    struct list waiting; /* Calls, held. */
    struct deferred ask;
};

struct round {
    struct list calls;
};

static void on_barrier(int code, int64_t rev, void *arg)
{
    LOOP_CALLBACK("etcd reads");
    UNUSED(rev);
    struct round *round = arg;
    for (struct list *l; (l = list_pop_front(&round->calls)) != NULL;) {
        struct etcd_call *c = LIST_ENTRY(l, struct etcd_call, read_link);
        c->on_read(c, code);
        etcd_call_release(c);
    }
    free(round);
}

static void run_ask(struct deferred *d)
{
    struct etcd_reads *r = CONTAINER_OF(d, struct etcd_reads, ask);
    struct round *round = xmalloc(sizeof(*round));
    list_init(&round->calls);
    list_splice(&round->calls, &r->waiting);
    store_read_barrier(etcd_thread_store(r->thread), &r->thread->mailbox, on_barrier, round);
}

void etcd_read_barrier(struct etcd_call *c, void (*cb)(struct etcd_call *c, int code))
{
    struct etcd_reads *r = c->thread->reads;
    c->on_read = cb;
    list_push_back(&r->waiting, &etcd_call_hold(c)->read_link);
    deferred_post(&c->thread->defer, &r->ask);
}

struct etcd_reads *etcd_reads_new(struct etcd_thread *t)
{
    struct etcd_reads *r = xzalloc(sizeof(*r));
    r->thread = t;
    list_init(&r->waiting);
    deferred_init(&r->ask, run_ask);
    return r;
}

void etcd_reads_free(struct etcd_reads *r)
{
    if (r == NULL)
        return;
    ASSERT(list_empty(&r->waiting));
    deferred_cancel(&r->ask);
    free(r);
}
