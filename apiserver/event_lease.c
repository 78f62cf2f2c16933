/* event_lease.c - see event_lease.h. */
#include "apiserver/event_lease.h"

#include "apiserver/apiserver.h"
#include "lib/base/env.h"
#include "raftstore/store.h"

struct grant {
    struct server_thread *thread;
    void (*cb)(int code, int64_t id, void *arg);
    void *arg;
};

static void on_grant(int code, int64_t id, void *arg)
{
    struct grant *g = arg;
    if (code == 0) {
        g->thread->event_lease.id = id;
        g->thread->event_lease.made_ms = env_now_ms(g->thread->server->env);
    }
    g->cb(code, id, g->arg);
    free(g);
}

void event_lease_get(struct server_thread *t, void (*cb)(int code, int64_t id, void *arg),
                     void *arg)
{
    const struct event_lease *l = &t->event_lease;
    int64_t ttl_s = t->server->config.serving.event_ttl_ns / 1000000000;
    int64_t shared_s = MIN_OF(EVENT_LEASE_SHARED_S, ttl_s / EVENT_LEASE_SHARED_PARTS);
    if (l->id != 0 && env_now_ms(t->server->env) - l->made_ms < (uint64_t)shared_s * 1000) {
        cb(0, l->id, arg);
        return;
    }
    struct grant *g = xmalloc(sizeof(*g));
    *g = (struct grant){t, cb, arg};
    /* The last event put under it lives its full time. */
    store_lease_grant(t->server->store, 0, ttl_s + shared_s, &t->mailbox, on_grant, g);
}
