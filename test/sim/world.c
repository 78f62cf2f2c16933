/* world.c - clock, event queue, random numbers and network. */
#include "sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

uint64_t rng_next(struct rng *g)
{
    uint64_t z = (g->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *g, uint64_t below)
{
    return rng_next(g) % below;
}

uint64_t rng_between(struct rng *g, uint64_t low, uint64_t high)
{
    return low + rng_below(g, high - low + 1);
}

bool rng_chance(struct rng *g, uint32_t per_mille)
{
    return rng_below(g, 1000) < per_mille;
}

/* Stands in for the system's (linked with --wrap): whoever asks it below the store,
 * as the hash tables do for their seeds, must not make one run differ from another. */
static struct rng system_rng;

void __wrap_env_system_random(void *p, size_t n);
void __wrap_env_system_random(void *p, size_t n)
{
    uint8_t *at = p;
    while (n-- > 0)
        *at++ = (uint8_t)rng_next(&system_rng);
}

void world_seed_system(uint64_t seed)
{
    system_rng.state = seed;
}

uint64_t mix64(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

uint64_t mix_bytes(uint64_t h, const void *p, size_t n)
{
    const uint8_t *at = p;
    h = mix64(h, n);
    for (; n >= 8; n -= 8, at += 8) {
        uint64_t v;
        memcpy(&v, at, 8);
        h = mix64(h, v);
    }
    for (; n > 0; n--)
        h = mix64(h, *at++);
    return h;
}

/* --- events: a binary heap by time, then by order of creation --- */

static bool before(const struct world_event *a, const struct world_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void push(struct world *w, struct world_event e)
{
    if (w->heap_count == w->heap_cap) {
        w->heap_cap = w->heap_cap == 0 ? 256 : w->heap_cap * 2;
        w->heap = xrealloc(w->heap, w->heap_cap * sizeof(w->heap[0]));
    }
    size_t i = w->heap_count++;
    while (i > 0 && before(&e, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = e;
}

void world_at(struct world *w, uint64_t delay_us, event_fn *fn, void *arg, uint64_t number)
{
    push(w, (struct world_event){w->now_us + delay_us, ++w->order, fn, arg, number, false});
}

void world_at_owned(struct world *w, uint64_t delay_us, event_fn *fn, void *owned)
{
    push(w, (struct world_event){w->now_us + delay_us, ++w->order, fn, owned, 0, true});
}

/* Takes the next event out; false: none is left. */
static bool pop(struct world *w, struct world_event *ret)
{
    if (w->heap_count == 0)
        return false;
    *ret = w->heap[0];
    struct world_event last = w->heap[--w->heap_count];
    size_t i = 0;
    for (;;) {
        size_t c = 2 * i + 1;
        if (c >= w->heap_count)
            break;
        if (c + 1 < w->heap_count && before(&w->heap[c + 1], &w->heap[c]))
            c++;
        if (!before(&w->heap[c], &last))
            break;
        w->heap[i] = w->heap[c];
        i = c;
    }
    w->heap[i] = last;
    return true;
}

bool world_step(struct world *w)
{
    struct world_event e;
    if (!pop(w, &e))
        return false;
    w->now_us = e.at_us;
    w->result->events++;
    w->result->trace = mix64(mix64(w->result->trace, e.at_us), e.order);
    e.fn(w, e.arg, e.number);
    return true;
}

void world_free(struct world *w)
{
    for (size_t i = 0; i < w->heap_count; i++)
        if (w->heap[i].owned)
            free(w->heap[i].arg);
    free(w->heap);
    w->heap = NULL;
    w->heap_count = w->heap_cap = 0;
}

/* --- reports --- */

void world_fail(struct world *w, const char *fmt, ...)
{
    char *out = w->result->failure;
    size_t size = sizeof(w->result->failure);
    va_list ap;
    if (out[0] != 0)
        return;
    int n = snprintf(out, size, "at %" PRIu64 ".%03" PRIu64 " s: ", w->now_us / 1000000,
                     w->now_us / 1000 % 1000);
    va_start(ap, fmt);
    vsnprintf(out + n, size - (size_t)n, fmt, ap);
    va_end(ap);
    world_log(w, "FAILURE %s", out);
}

bool world_failed(const struct world *w)
{
    return w->result->failure[0] != 0;
}

void world_log(struct world *w, const char *fmt, ...)
{
    va_list ap;
    if (!w->options.verbose)
        return;
    printf("%4" PRIu64 ".%06" PRIu64 " ", w->now_us / 1000000, w->now_us % 1000000);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

struct node *world_node(struct world *w, uint64_t id)
{
    for (uint32_t i = 0; i < w->node_count; i++)
        if (w->nodes[i].id == id)
            return &w->nodes[i];
    return NULL;
}

/* --- the network --- */

struct packet {
    uint64_t from, to;
    size_t len;
    char bytes[];
};

static void deliver(struct world *w, void *arg, uint64_t unused)
{
    struct packet *p = arg;
    struct node *to = world_node(w, p->to), *from = world_node(w, p->from);
    UNUSED(unused);
    if (to->up && w->now_us < to->paused_until_us) {
        world_at_owned(w, to->paused_until_us - w->now_us, deliver, p);
        return;
    }
    if (to->up && !w->net.blocked[from - w->nodes][to - w->nodes])
        node_deliver(to, p->from, str_n(p->bytes, p->len));
    free(p);
}

static void send_one(struct world *w, struct node *from, struct node *to, struct str bytes)
{
    struct net *net = &w->net;
    struct packet *p = xmalloc(sizeof(*p) + bytes.len);
    uint64_t delay = rng_between(&w->rng, net->delay_min_us, net->delay_max_us);
    *p = (struct packet){from->id, to->id, bytes.len};
    memcpy(p->bytes, bytes.data, bytes.len);
    if (net->fifo) {
        uint64_t *last = &net->last_us[from - w->nodes][to - w->nodes];
        *last = MAX_OF(*last, w->now_us + delay);
        delay = *last - w->now_us;
    } else if (rng_chance(&w->rng, net->straggle)) {
        delay += rng_below(&w->rng, 3000 * US_PER_MS); /* A straggler. */
    }
    world_at_owned(w, delay, deliver, p);
}

void net_send(struct world *w, struct node *from, uint64_t to_id, struct str bytes)
{
    struct node *to = world_node(w, to_id);
    w->result->trace = mix_bytes(mix64(w->result->trace, to_id), bytes.data, bytes.len);
    nemesis_sent(w, from);
    if (to == NULL || to == from || w->net.blocked[from - w->nodes][to - w->nodes] ||
        rng_chance(&w->rng, w->net.loss))
        return;
    send_one(w, from, to, bytes);
    if (!w->net.fifo && rng_chance(&w->rng, w->net.dup))
        send_one(w, from, to, bytes);
}

void net_heal(struct world *w)
{
    memset(w->net.blocked, 0, sizeof(w->net.blocked));
}
