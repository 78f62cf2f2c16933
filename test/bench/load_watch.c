/* load_watch.c - many watchers of everything that is written meanwhile. The
 * watchers have a thread of their own; each must get every event once and in
 * order, and the clock stops when the last has the last. */
#include "test/bench/load_store.h"

#include "lib/base/base.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define LOOK_EVERY 16            /* Values looked at, and timed. */
#define PATIENCE_NS 20000000000u /* Without any event. */

struct watcher {
    struct load_call call;
    struct fan *fan;
    bool created;
    uint64_t events;
    int64_t last_rev;
    uint64_t bad;
    size_t left;     /* Of the message that is arriving. */
    struct buf tail; /* A field, or a prefix, that has not come whole. */
};

struct fan {
    const struct load_config *config;
    struct load_loop *loop;
    struct watcher *watchers;
    unsigned ready;
    uint64_t expected; /* Atomic; UINT64_MAX until known. */
    uint64_t last_ns, total, ended;
    bool stop;
    struct load_times times;
};

static void watcher_event(struct watcher *w, const struct wire_kv *kv)
{
    w->events++;
    w->fan->total++;
    w->bad += kv->mod_rev <= w->last_rev;
    w->last_rev = kv->mod_rev;
    if (w->events % LOOK_EVERY != 0)
        return;
    if (!wire_value_ok(kv->value, kv->value_len))
        w->bad++;
    else
        load_times_add(&w->fan->times, load_now_ns() - wire_value_time(kv->value));
}

static void watcher_field(struct watcher *w, const uint8_t *p, size_t len)
{
    struct wire_event e;
    if (!wire_watch_field(p, len, &e) || e.field == 4) {
        w->bad++;
    } else if (e.field == 11) {
        watcher_event(w, &e.kv);
    } else if (e.field == 3 && !w->created) {
        w->created = true;
        __atomic_fetch_add(&w->fan->ready, 1, __ATOMIC_RELEASE);
    }
}

/* The size of what begins at p: a message's prefix, or a field of it. 0: not known yet. */
static size_t watcher_unit(const struct watcher *w, const uint8_t *p, size_t len)
{
    return w->left == 0 ? 5 : wire_field_size(p, len);
}

static void watcher_take(struct watcher *w, const uint8_t *p, size_t len)
{
    if (w->left == 0) {
        w->left = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
        return;
    }
    if (len > w->left) {
        w->bad++;
        len = w->left;
    }
    watcher_field(w, p, len);
    w->left -= len;
}

/* A response with many events is longer than a frame: events are taken out as they
 * come, so that only those cut by a frame's end are copied. */
static void watcher_piece(struct load_call *call, const uint8_t *p, size_t len)
{
    struct watcher *w = call->user;
    while (len > 0) {
        bool kept = w->tail.len > 0;
        const uint8_t *at = kept ? w->tail.data : p;
        size_t have = kept ? w->tail.len : len, unit = watcher_unit(w, at, have);
        if (unit != 0 && have >= unit) {
            watcher_take(w, at, unit);
            if (kept)
                buf_clear(&w->tail);
            p += kept ? 0 : unit;
            len -= kept ? 0 : unit;
            continue;
        }
        /* Enough to complete it, or one more byte of its beginning. */
        size_t n = !kept ? len : MIN_OF(len, unit > have ? unit - have : 1);
        buf_append(&w->tail, p, n);
        p += n;
        len -= n;
    }
    /* What was completed last. */
    size_t unit = w->tail.len > 0 ? watcher_unit(w, w->tail.data, w->tail.len) : 0;
    if (unit != 0 && w->tail.len >= unit) {
        watcher_take(w, w->tail.data, unit);
        buf_clear(&w->tail);
    }
    w->fan->last_ns = load_now_ns();
}

static void watcher_end(struct load_call *call, int status, const char *text)
{
    struct watcher *w = call->user;
    load_complain("watch", status, text);
    w->bad++;
    w->fan->ended++;
}

static uint64_t fan_turn(void *arg)
{
    struct fan *f = arg;
    uint64_t expected = __atomic_load_n(&f->expected, __ATOMIC_ACQUIRE);
    if (expected == UINT64_MAX)
        return 0;
    unsigned complete = 0;
    for (unsigned i = 0; i < f->config->watchers; i++)
        complete += f->watchers[i].events >= expected;
    if (complete == f->config->watchers || f->ended > 0 || load_now_ns() > f->last_ns + PATIENCE_NS)
        f->stop = true;
    return 0;
}

static void *fan_main(void *arg)
{
    struct fan *f = arg;
    load_loop_run(f->loop, &f->stop, fan_turn, f);
    return NULL;
}

static void fan_start(struct fan *f, const struct load_config *config)
{
    uint8_t message[MESSAGE_MAX];
    struct load_conn *conns[CONNS_MAX];
    size_t len = wire_watch(message);
    *f = (struct fan){.config = config, .expected = UINT64_MAX, .loop = load_loop_new()};
    f->watchers = xzalloc(config->watchers * sizeof(*f->watchers));
    for (unsigned i = 0; i < config->conns; i++)
        conns[i] = load_conn_new(f->loop, config->endpoints[i % config->endpoint_count]);
    for (unsigned i = 0; i < config->watchers; i++) {
        struct watcher *w = &f->watchers[i];
        w->fan = f;
        w->call.user = w;
        w->call.on_piece = watcher_piece;
        w->call.on_end = watcher_end;
        load_call_start(conns[i % config->conns], &w->call, PATH_WATCH, message, len, false);
    }
}

int watch_main(const struct load_config *config)
{
    struct fan f;
    struct pump_result writes;
    pthread_t thread;
    fan_start(&f, config);
    if (pthread_create(&thread, NULL, fan_main, &f) != 0)
        return 1;
    while (__atomic_load_n(&f.ready, __ATOMIC_ACQUIRE) < config->watchers)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    struct load_usage before = load_usage_of(config->pids);
    struct pump *p = pump_new(config, PUMP_PUT);
    uint64_t start = load_now_ns();
    pump_run(p, config->seconds, config->count, &writes);
    __atomic_store_n(&f.expected, writes.done, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    double seconds = (double)(f.last_ns - start) / 1e9;
    struct load_usage after = load_usage_of(config->pids);
    uint64_t missing = 0, bad = writes.failed;
    for (unsigned i = 0; i < config->watchers; i++) {
        uint64_t got = f.watchers[i].events;
        missing += got < writes.done ? writes.done - got : 0;
        bad += f.watchers[i].bad + (got > writes.done ? got - writes.done : 0);
    }
    printf("mode=watch watchers=%u writes=%lu write_rate=%.0f events=%lu seconds=%.2f rate=%.0f "
           "p50_ms=%.2f p99_ms=%.2f max_ms=%.2f missing=%lu errors=%lu cpu_us_per_op=%.2f\n",
           config->watchers, (unsigned long)writes.done, (double)writes.done / writes.seconds,
           (unsigned long)f.total, seconds, (double)f.total / seconds, load_times_ms(&f.times, 500),
           load_times_ms(&f.times, 990), f.times.max_us / 1e3, (unsigned long)missing,
           (unsigned long)bad,
           (after.cpu_s - before.cpu_s) * 1e6 / (double)MAX_OF(f.total, (uint64_t)1));
    pump_free(p);
    load_loop_free(f.loop);
    load_times_done(&f.times);
    load_times_done(&writes.times);
    for (unsigned i = 0; i < config->watchers; i++)
        buf_done(&f.watchers[i].tail);
    free(f.watchers);
    return missing + bad == 0 ? 0 : 1;
}
