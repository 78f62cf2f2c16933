/* forward.c - see forward.h. */
#include "kubelet/dns/forward.h"

#include "kubelet/dns/answer.h"
#include "kubelet/dns/cache.h"

#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/base/map.h"
#include "lib/base/metrics.h"

#include <stdio.h>
#include <uv.h>

#define ATTEMPT_MS 2000u
#define EXCHANGE_MS 4500u /* Resolver libraries wait for five seconds. */
#define FAILED_MS 10000u  /* How long one that did not answer is asked last. */
#define EXCHANGES_MAX 1000u
#define WAITS_MAX 10000u
#define DNS_PORT 53
#define QUERY_BYTES 320u
#define UDP_BYTES 4096u

struct resolver {
    struct sockaddr_storage address;
    uint64_t failed_ms; /* 0: it answered last. */
};

struct dns_forward {
    uv_loop_t *loop;
    struct env *env;
    struct resolver resolvers[DNS_RESOLVERS_MAX];
    size_t resolver_count;
    struct dns_cache cache;
    struct map exchanges; /* By the question. */
    struct list attempts; /* Oldest first: all have the same time. */
    uv_timer_t timer;
    size_t wait_count;
    struct metric *hits, *misses, *entries;
    struct metric_family *results;
    uint8_t bytes[UDP_BYTES]; /* Of the datagram at hand. */
};

/* A question under way. */
struct exchange {
    struct dns_forward *f;
    struct dns_key key;
    struct dns_query query;
    struct list waits;
    struct attempt *attempt;
    uint64_t started_ms;
    size_t tried; /* Resolvers so far. */
    size_t first, resolver;
};

/* One socket to one resolver. Lives until its handle is closed. */
struct attempt {
    struct list link;
    struct exchange *x; /* NULL: over. */
    struct dns_forward *f;
    union {
        uv_handle_t handle;
        uv_udp_t udp;
        uv_tcp_t tcp;
    } u;
    uint64_t deadline_ms;
    uint16_t id;
    uv_connect_t connect;
    uv_write_t write;
    size_t out_len;
    uint8_t out[QUERY_BYTES + 2]; /* Behind the length that TCP wants. */
    struct buf in;
};

static void attempt_start(struct exchange *x, bool tcp);

static uint64_t now_ms(const struct dns_forward *f)
{
    return env_now_ms(f->env);
}

/* --- one attempt ----------------------------------------------------------------------- */

static void on_attempt_closed(uv_handle_t *h)
{
    struct attempt *t = h->data;
    buf_done(&t->in);
    free(t);
}

static void attempt_end(struct attempt *t)
{
    if (t == NULL)
        return;
    t->x = NULL;
    list_remove(&t->link);
    if (!uv_is_closing(&t->u.handle))
        uv_close(&t->u.handle, on_attempt_closed);
}

static void count_result(struct dns_forward *f, const char *result)
{
    metric_inc(METRIC_OF(f->results, str_of(result)));
}

/* msg NULL: nobody answered. */
static void exchange_end(struct exchange *x, const uint8_t *msg, size_t len)
{
    struct dns_forward *f = x->f;
    struct list waits;
    list_init(&waits);
    list_splice(&waits, &x->waits);
    attempt_end(x->attempt);
    map_remove(&f->exchanges, dns_key_str(&x->key));
    free(x);
    count_result(f, msg != NULL ? "answered" : "failed");
    for (struct list *l; (l = list_pop_front(&waits)) != NULL;) {
        struct dns_wait *w = LIST_ENTRY(l, struct dns_wait, link);
        f->wait_count--;
        w->done(w, msg, len);
    }
}

/* The next resolver, or the end. */
static void try_next(struct exchange *x)
{
    struct dns_forward *f = x->f;
    attempt_end(take(x->attempt));
    x->tried++;
    if (x->resolver < f->resolver_count)
        f->resolvers[x->resolver].failed_ms = now_ms(f);
    if (f->resolver_count == 0 || x->tried >= 2 * f->resolver_count ||
        now_ms(f) - x->started_ms >= EXCHANGE_MS)
        exchange_end(x, NULL, 0);
    else
        attempt_start(x, false);
}

/* Refused by one, another may know better. */
static bool is_refusal(const uint8_t *msg)
{
    int rcode = msg[3] & 15;
    return rcode == DNS_SERVFAIL || rcode == DNS_REFUSED || rcode == DNS_NOTIMP;
}

/* False: not what we wait for. */
static bool take_answer(struct attempt *t, const uint8_t *msg, size_t len, bool tcp)
{
    struct exchange *x = t->x;
    struct dns_forward *f = t->f;
    int64_t lifetime = dns_reply_lifetime(msg, len, &x->query);
    bool cut = len >= DNS_HEADER_BYTES && (msg[2] & DNS_TC >> 8) != 0;
    if (len < DNS_HEADER_BYTES || (msg[0] << 8 | msg[1]) != t->id)
        return false;
    if (cut && !tcp) {
        attempt_end(take(x->attempt));
        attempt_start(x, true);
        return true;
    }
    if (lifetime < 0)
        return false;
    if (is_refusal(msg) && x->tried + 1 < f->resolver_count) {
        try_next(x);
        return true;
    }
    if (x->resolver < f->resolver_count)
        f->resolvers[x->resolver].failed_ms = 0;
    dns_cache_put(&f->cache, dns_key_str(&x->key), msg, len, now_ms(f), cut ? 0 : lifetime);
    metric_set(f->entries, (double)f->cache.entries.count);
    exchange_end(x, msg, len);
    return true;
}

static void on_udp_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    struct attempt *t = h->data;
    UNUSED(suggested);
    *ret = uv_buf_init((char *)t->f->bytes, sizeof(t->f->bytes));
}

static void on_udp(uv_udp_t *u, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from,
                   unsigned flags)
{
    struct attempt *t = u->data;
    UNUSED(flags);
    if (t->x == NULL || (n == 0 && from == NULL))
        return;
    if (n < 0) /* Nobody listens there. */
        try_next(t->x);
    else
        take_answer(t, (const uint8_t *)buf->base, (size_t)n, false);
}

static void on_tcp_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    struct attempt *t = h->data;
    UNUSED(suggested);
    *ret = uv_buf_init((char *)buf_reserve(&t->in, UDP_BYTES), UDP_BYTES);
}

static void on_tcp(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct attempt *t = s->data;
    UNUSED(buf);
    if (t->x == NULL || n == 0)
        return;
    if (n > 0)
        buf_commit(&t->in, (size_t)n);
    size_t want = t->in.len < 2 ? 0 : (size_t)(t->in.data[0] << 8 | t->in.data[1]);
    if (t->in.len >= 2 && t->in.len >= want + 2) {
        if (!take_answer(t, t->in.data + 2, want, true))
            try_next(t->x);
    } else if (n < 0) {
        try_next(t->x);
    }
}

static void on_connected(uv_connect_t *c, int status)
{
    struct attempt *t = c->data;
    if (t->x == NULL)
        return;
    uv_buf_t b = uv_buf_init((char *)t->out, (unsigned)t->out_len + 2);
    if (status < 0 || uv_write(&t->write, (uv_stream_t *)&t->u.tcp, &b, 1, NULL) != 0 ||
        uv_read_start((uv_stream_t *)&t->u.tcp, on_tcp_alloc, on_tcp) != 0)
        try_next(t->x);
}

static bool attempt_send(struct attempt *t, const struct sockaddr *to, bool tcp)
{
    if (tcp) {
        t->connect.data = t;
        return uv_tcp_init(t->f->loop, &t->u.tcp) == 0 &&
               uv_tcp_connect(&t->connect, &t->u.tcp, to, on_connected) == 0;
    }
    uv_buf_t b = uv_buf_init((char *)t->out + 2, (unsigned)t->out_len);
    return uv_udp_init(t->f->loop, &t->u.udp) == 0 && uv_udp_connect(&t->u.udp, to) == 0 &&
           uv_udp_recv_start(&t->u.udp, on_udp_alloc, on_udp) == 0 &&
           uv_udp_try_send(&t->u.udp, &b, 1, NULL) >= 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct dns_forward *f = timer->data;
    while (!list_empty(&f->attempts)) {
        struct attempt *t = LIST_ENTRY(f->attempts.next, struct attempt, link);
        if (t->deadline_ms > now_ms(f)) {
            uv_timer_start(&f->timer, on_timer, t->deadline_ms - now_ms(f), 0);
            return;
        }
        try_next(t->x); /* NOLINT(clang-analyzer-unix.Malloc): as in list.h. */
    }
}

/* What cannot be sent at once is found by the timer, so that nothing ends inside a call. */
static void attempt_start(struct exchange *x, bool tcp)
{
    struct dns_forward *f = x->f;
    struct attempt *t = xzalloc(sizeof(*t));
    if (!tcp && f->resolver_count > 0)
        x->resolver = (x->first + x->tried) % f->resolver_count;
    f->env->random(f->env, &t->id, sizeof(t->id));
    t->x = x;
    t->f = f;
    t->out_len = dns_query_write(t->out + 2, QUERY_BYTES, t->id, &x->query);
    t->out[0] = (uint8_t)(t->out_len >> 8);
    t->out[1] = (uint8_t)t->out_len;
    x->attempt = t;
    bool sent = attempt_send(t, (const struct sockaddr *)&f->resolvers[x->resolver].address, tcp);
    t->u.handle.data = t;
    t->deadline_ms = now_ms(f) + (sent ? ATTEMPT_MS : 0);
    if (sent)
        list_push_back(&f->attempts, &t->link);
    else
        list_push_front(&f->attempts, &t->link);
    if (!sent || !uv_is_active((uv_handle_t *)&f->timer))
        uv_timer_start(&f->timer, on_timer, sent ? ATTEMPT_MS : 0, 0);
}

/* --- asking ---------------------------------------------------------------------------- */

const uint8_t *dns_forward_cached(struct dns_forward *f, const struct dns_query *q, size_t *ret_len,
                                  uint32_t *ret_age_s)
{
    struct dns_key key;
    dns_key_of(&key, q);
    struct str msg = dns_cache_get(&f->cache, dns_key_str(&key), now_ms(f), ret_age_s);
    metric_inc(str_empty(msg) ? f->misses : f->hits);
    *ret_len = msg.len;
    return (const uint8_t *)msg.data;
}

/* The first one that did not fail lately. */
static size_t first_resolver(const struct dns_forward *f)
{
    for (size_t i = 0; i < f->resolver_count; i++)
        if (f->resolvers[i].failed_ms == 0 || now_ms(f) - f->resolvers[i].failed_ms >= FAILED_MS)
            return i;
    return 0;
}

bool dns_forward_ask(struct dns_forward *f, const struct dns_query *q, struct dns_wait *w)
{
    struct dns_key key;
    dns_key_of(&key, q);
    struct exchange *x = map_get(&f->exchanges, dns_key_str(&key));
    if (f->wait_count >= WAITS_MAX || f->resolver_count == 0 ||
        (x == NULL && f->exchanges.count >= EXCHANGES_MAX))
        return false;
    if (x == NULL) {
        x = xzalloc(sizeof(*x));
        x->f = f;
        x->key = key;
        x->query = *q;
        x->started_ms = now_ms(f);
        x->first = first_resolver(f);
        list_init(&x->waits);
        map_set(&f->exchanges, dns_key_str(&key), x);
        attempt_start(x, false);
    }
    w->forward = f;
    list_push_back(&x->waits, &w->link);
    f->wait_count++;
    return true;
}

void dns_wait_cancel(struct dns_wait *w)
{
    if (!list_empty(&w->link))
        w->forward->wait_count--;
    list_remove(&w->link);
}

/* --- life ------------------------------------------------------------------------------- */

static bool parse_address(const char *text, struct sockaddr_storage *ret)
{
    memset(ret, 0, sizeof(*ret));
    return uv_ip4_addr(text, DNS_PORT, (struct sockaddr_in *)ret) == 0 ||
           uv_ip6_addr(text, DNS_PORT, (struct sockaddr_in6 *)ret) == 0;
}

static bool is_among(const char *address, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(address, list[i]) == 0)
            return true;
    return false;
}

void dns_forward_set_resolvers(struct dns_forward *f, const char *const *addresses, size_t count,
                               const char *const *without, size_t without_count)
{
    f->resolver_count = 0;
    for (size_t i = 0; i < count && f->resolver_count < DNS_RESOLVERS_MAX; i++) {
        struct resolver *r = &f->resolvers[f->resolver_count];
        r->failed_ms = 0;
        if (!is_among(addresses[i], without, without_count) &&
            parse_address(addresses[i], &r->address))
            f->resolver_count++;
    }
    if (f->resolver_count == 0)
        log_warning("dns: no resolver to forward to: names outside of the cluster fail");
}

struct dns_forward *dns_forward_new(struct uv_loop_s *loop, struct env *env)
{
    struct dns_forward *f = xzalloc(sizeof(*f));
    struct metrics *m = metrics_default();
    f->loop = loop;
    f->env = env;
    f->hits = metric_single(metric_counter(m, "coredns_cache_hits_total",
                                           "Forwarded names answered from the cache.", NULL));
    f->misses = metric_single(
        metric_counter(m, "coredns_cache_misses_total", "Forwarded names not in the cache.", NULL));
    f->entries = metric_single(metric_gauge(m, "coredns_cache_entries", "Answers kept.", NULL));
    f->results = metric_counter(m, "trireme_dns_forward_total",
                                "Questions to the node's resolvers.", METRIC_LABELS("result"));
    dns_cache_init(&f->cache);
    map_init(&f->exchanges);
    list_init(&f->attempts);
    uv_timer_init(loop, &f->timer);
    f->timer.data = f;
    return f;
}
