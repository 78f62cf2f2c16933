/* load_pump.c - puts and gets in a closed loop, or at a steady rate. With a rate
 * the time of a request runs from when it was due, not from when a client was
 * free to send it: a server that stalls does not thereby hide its stall. */
#include "test/bench/load_store.h"

#include "lib/base/base.h"

#include <stdio.h>
#include <string.h>

struct client {
    struct load_call call;
    struct pump *pump;
    struct load_conn *conn;
    uint64_t start_ns, key;
    int64_t rev;
    bool good;
    struct client *next_idle;
};

struct pump {
    const struct load_config *config;
    enum pump_kind kind;
    struct load_loop *loop;
    struct load_conn *conns[CONNS_MAX];
    struct client *clients;
    struct client *idle;
    unsigned busy;
    uint64_t random, next_key;
    /* Of this run. */
    uint64_t end_ns, due_ns, interval_ns, left;
    bool stop;
    struct pump_result *result;
    struct slot {
        uint64_t at; /* In slots since the clock's zero. */
        uint64_t done, worst_ns;
    } slot;
    FILE *timeline;
    uint8_t message[MESSAGE_MAX];
};

/* A line per 10 ms: until when (ms of CLOCK_MONOTONIC), answers, the slowest of them in ms. */
#define SLOT_NS 10000000u

static void timeline_end_slot(struct pump *p)
{
    if (p->slot.done > 0)
        fprintf(p->timeline, "%lu %lu %.2f\n",
                (unsigned long)((p->slot.at + 1) * (SLOT_NS / 1000000)),
                (unsigned long)p->slot.done, (double)p->slot.worst_ns / 1e6);
    p->slot = (struct slot){0};
}

static void timeline_add(struct pump *p, uint64_t now, uint64_t ns)
{
    if (p->timeline == NULL)
        return;
    if (now / SLOT_NS != p->slot.at)
        timeline_end_slot(p);
    p->slot.at = now / SLOT_NS;
    p->slot.done++;
    p->slot.worst_ns = MAX_OF(p->slot.worst_ns, ns);
}

static uint64_t pump_random(struct pump *p)
{
    p->random ^= p->random << 13;
    p->random ^= p->random >> 7;
    p->random ^= p->random << 17;
    return p->random;
}

static void pump_next(struct pump *p, struct client *c, uint64_t due_ns)
{
    const struct load_config *config = p->config;
    size_t len;
    c->start_ns = due_ns;
    c->key = (config->sequential ? p->next_key++ : pump_random(p) >> 16) % config->keys;
    c->good = false;
    if (p->kind == PUMP_PUT)
        len = wire_put(p->message, c->key, config->value_bytes, (uint32_t)pump_random(p),
                       load_now_ns());
    else
        len = wire_range(
            p->message,
            &(struct wire_range){.key = c->key, .serializable = p->kind == PUMP_GET_SERIALIZABLE});
    p->left -= p->left > 0;
    load_call_start(c->conn, &c->call, p->kind == PUMP_PUT ? PATH_PUT : PATH_RANGE, p->message, len,
                    true);
}

static bool pump_over(struct pump *p, uint64_t now)
{
    return p->end_ns != 0 ? now >= p->end_ns : p->left == 0;
}

static void client_put_done(struct load_call *call, const uint8_t *data, size_t len)
{
    struct client *c = call->user;
    struct wire_answer a;
    /* Every put has a revision of its own, later than all that were answered before it began. */
    c->good = wire_answer(data, len, &a) && a.rev > c->rev;
    c->rev = a.rev;
}

static void client_got(struct load_call *call, const uint8_t *data, size_t len)
{
    struct client *c = call->user;
    struct wire_answer a;
    struct wire_kv kv;
    uint8_t key[KEY_BYTES];
    wire_key(key, c->key);
    c->good = wire_answer(data, len, &a) && a.count == 1 && a.rev >= c->rev &&
              wire_next_kv(&a.body, data + len, 2, &kv) && kv.key_len == KEY_BYTES &&
              memcmp(kv.key, key, KEY_BYTES) == 0 && wire_value_ok(kv.value, kv.value_len);
    /* Serializable reads of one connection go to one member, so they do not go back either. */
    c->rev = a.rev;
}

static void client_end(struct load_call *call, int status, const char *text)
{
    struct client *c = call->user;
    struct pump *p = c->pump;
    uint64_t now = load_now_ns();
    bool good = status == 0 && c->good;
    p->result->done += good;
    p->result->failed += !good;
    timeline_add(p, now, now - c->start_ns);
    if (good)
        load_times_add(&p->result->times, now - c->start_ns);
    else
        load_complain(p->kind == PUMP_PUT ? "put" : "get", status, text);
    if (p->interval_ns == 0 && !pump_over(p, now)) {
        pump_next(p, c, now);
        return;
    }
    c->next_idle = p->idle;
    p->idle = c;
    p->busy--;
    if (p->busy == 0 && pump_over(p, now))
        p->stop = true;
}

/* Starts what is due. */
static uint64_t pump_turn(void *arg)
{
    struct pump *p = arg;
    uint64_t now = load_now_ns();
    bool over = pump_over(p, now);
    while (p->idle != NULL && !over && (p->interval_ns == 0 || p->due_ns <= now)) {
        struct client *c = p->idle;
        p->idle = c->next_idle;
        p->busy++;
        pump_next(p, c, p->interval_ns == 0 ? now : p->due_ns);
        p->due_ns += p->interval_ns;
        over = pump_over(p, now);
    }
    if (over && p->busy == 0)
        p->stop = true;
    return p->interval_ns != 0 && p->idle != NULL && !over ? p->due_ns : 0;
}

struct pump *pump_new(const struct load_config *config, enum pump_kind kind)
{
    struct pump *p = xzalloc(sizeof(*p));
    p->config = config;
    p->kind = kind;
    p->random = load_now_ns() | 1;
    p->loop = load_loop_new();
    for (unsigned i = 0; i < config->conns; i++)
        p->conns[i] = load_conn_new(p->loop, config->endpoints[i % config->endpoint_count]);
    p->clients = xzalloc(config->clients * sizeof(*p->clients));
    for (unsigned i = 0; i < config->clients; i++) {
        struct client *c = &p->clients[i];
        c->pump = p;
        c->conn = p->conns[i % config->conns];
        c->call.user = c;
        c->call.on_message = kind == PUMP_PUT ? client_put_done : client_got;
        c->call.on_end = client_end;
        c->next_idle = p->idle;
        p->idle = c;
    }
    return p;
}

void pump_free(struct pump *p)
{
    load_loop_free(p->loop);
    free(p->clients);
    free(p);
}

void pump_run(struct pump *p, double seconds, uint64_t count, struct pump_result *ret)
{
    struct load_usage before = load_usage_of(p->config->pids);
    uint64_t start = load_now_ns();
    *ret = (struct pump_result){0};
    p->result = ret;
    p->stop = false;
    p->left = count;
    p->end_ns = count == 0 ? start + (uint64_t)(seconds * 1e9) : 0;
    p->interval_ns = p->config->rate != 0 ? 1000000000u / p->config->rate : 0;
    p->due_ns = start;
    p->timeline = p->config->timeline != NULL ? fopen(p->config->timeline, "we") : NULL;
    load_loop_run(p->loop, &p->stop, pump_turn, p);
    if (p->timeline != NULL) {
        timeline_end_slot(p);
        fclose(take(p->timeline));
    }
    ret->seconds = (double)(load_now_ns() - start) / 1e9;
    ret->usage = load_usage_of(p->config->pids);
    ret->usage.cpu_s -= before.cpu_s;
}

void pump_print(const char *prefix, struct pump_result *r)
{
    double done = (double)MAX_OF(r->done, (uint64_t)1);
    printf("%s ops=%lu seconds=%.2f rate=%.0f p50_ms=%.2f p99_ms=%.2f max_ms=%.2f errors=%lu "
           "cpu_us_per_op=%.1f rss_sum_mb=%.1f rss_max_mb=%.1f\n",
           prefix, (unsigned long)r->done, r->seconds, (double)r->done / r->seconds,
           load_times_ms(&r->times, 500), load_times_ms(&r->times, 990), r->times.max_us / 1e3,
           (unsigned long)r->failed, r->usage.cpu_s * 1e6 / done, (double)r->usage.rss_kib / 1024,
           (double)r->usage.rss_max_kib / 1024);
    fflush(stdout);
}
