/* pace.c - see pace.h. */
#include "raftstore/etcd/pace.h"

#include "raftstore/etcd/server_internal.h"

/* Some 130 MB/s: what takes about an eighth of a processor. Twice that moved the p99 of 128
 * writers by 2.6 instead of 1.7 times, for lists 15 % faster. */
#define BYTES_PER_MS ((size_t)128 << 10)
#define BUSY_MS 20 /* After a write was seen. */

struct etcd_pace {
    struct etcd_thread *thread;
    struct deferred *step;
    uv_timer_t timer;
    bool resting;
    uint64_t tick_ms;
    size_t tick_bytes;
    int64_t rev;
    uint64_t busy_until_ms;
};

struct etcd_pace *etcd_pace_new(struct etcd_thread *t, struct deferred *step)
{
    struct etcd_pace *p = xzalloc(sizeof(*p));
    p->thread = t;
    p->step = step;
    uv_timer_init(&t->loop, &p->timer);
    return p;
}

static void on_closed(uv_handle_t *h)
{
    free(CONTAINER_OF((uv_timer_t *)h, struct etcd_pace, timer));
}

void etcd_pace_free(struct etcd_pace *p)
{
    if (p != NULL)
        uv_close((uv_handle_t *)&p->timer, on_closed);
}

static void on_rested(uv_timer_t *timer)
{
    struct etcd_pace *p = CONTAINER_OF(timer, struct etcd_pace, timer);
    p->resting = false;
    deferred_post(&p->thread->defer, p->step);
}

static bool member_is_busy(struct etcd_pace *p, uint64_t now)
{
    struct store_view *v = store_view(etcd_thread_store(p->thread));
    int64_t rev = store_view_rev(v);
    store_view_unref(v);
    if (p->rev != 0 && rev != p->rev)
        p->busy_until_ms = now + BUSY_MS;
    p->rev = rev;
    return now < p->busy_until_ms;
}

bool etcd_pace_rests(struct etcd_pace *p, size_t bytes)
{
    uint64_t now = etcd_thread_now(p->thread);
    if (p->resting)
        return true;
    if (now != p->tick_ms) {
        p->tick_ms = now;
        p->tick_bytes = 0;
    }
    p->tick_bytes += bytes;
    if (p->tick_bytes < BYTES_PER_MS || !member_is_busy(p, now))
        return false;
    p->resting = true;
    uv_timer_start(&p->timer, on_rested, 1, 0);
    return true;
}
