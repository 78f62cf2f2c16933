/* server_tcp_uv.c - queries behind their lengths, many on a connection
 * (RFC 7766); answers leave as they come, in whatever order. */
#include "kubelet/dns/server_internal.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/loop.h"

#include <netinet/in.h>
#include <sys/socket.h>

#define CONNS_MAX 500u
#define IDLE_MS 10000u
#define SWEEP_MS 2000u
#define BACKLOG 128
#define READ_BYTES 4096u
#define QUEUE_BYTES_MAX (256u << 10) /* Written, not yet taken: it reads on later. */
#define PENDING_MAX 100u             /* Asked upstream. */

struct tcp_listener {
    struct dns_server *server;
    uv_tcp_t tcp;
    bool v6;
};

struct conn {
    struct list link;
    struct dns_server *server;
    uv_tcp_t tcp;
    struct list pending; /* struct tcp_request */
    size_t pending_count;
    struct buf in;
    uint64_t used_ms;
    bool reading, v6;
};

struct tcp_request {
    struct dns_request r; /* First. */
    struct list link;
    struct conn *conn;
};

struct tcp_write {
    uv_write_t write;
    uint8_t bytes[];
};

static void conn_read(struct conn *c);

/* --- life of a connection ------------------------------------------------------------------ */

static void on_conn_closed(uv_handle_t *h)
{
    struct conn *c = h->data;
    c->server->conn_count--;
    buf_done(&c->in);
    free(c);
}

static void conn_close(struct conn *c)
{
    if (uv_is_closing((uv_handle_t *)&c->tcp))
        return;
    for (struct list *l; (l = list_pop_front(&c->pending)) != NULL;) {
        struct tcp_request *t = LIST_ENTRY(l, struct tcp_request, link);
        dns_wait_cancel(&t->r.wait);
        free(t);
    }
    list_remove(&c->link);
    uv_close((uv_handle_t *)&c->tcp, on_conn_closed);
}

static void touch(struct conn *c)
{
    c->used_ms = uv_now(c->server->loop);
    list_remove(&c->link);
    list_push_back(&c->server->conns, &c->link);
}

static void on_sweep(uv_timer_t *t)
{
    struct dns_server *s = t->data;
    LIST_FOREACH_SAFE (l, &s->conns) {
        struct conn *c = LIST_ENTRY(l, struct conn, link);
        if (uv_now(s->loop) - c->used_ms < IDLE_MS)
            break;
        conn_close(c);
    }
    if (list_empty(&s->conns))
        uv_timer_stop(&s->idle_timer);
}

/* --- answers ------------------------------------------------------------------------------- */

static void on_written(uv_write_t *w, int status)
{
    struct conn *c = w->handle->data;
    free(CONTAINER_OF(w, struct tcp_write, write));
    if (status < 0)
        conn_close(c);
    else
        conn_read(c);
}

static void conn_answer(struct conn *c, const uint8_t *msg, size_t len)
{
    struct tcp_write *w = xmalloc(sizeof(*w) + len + 2);
    w->bytes[0] = (uint8_t)(len >> 8);
    w->bytes[1] = (uint8_t)len;
    memcpy(w->bytes + 2, msg, len);
    uv_buf_t b = uv_buf_init((char *)w->bytes, (unsigned)len + 2);
    touch(c);
    if (uv_write(&w->write, (uv_stream_t *)&c->tcp, &b, 1, on_written) != 0) {
        free(w);
        conn_close(c);
    }
}

static void tcp_reply(struct dns_request *r, const uint8_t *msg, size_t len)
{
    struct tcp_request *t = (struct tcp_request *)r;
    struct conn *c = t->conn;
    list_remove(&t->link);
    c->pending_count--;
    free(t);
    if (!uv_is_closing((uv_handle_t *)&c->tcp))
        conn_answer(c, msg, len);
}

static void conn_query(struct conn *c, const uint8_t *msg, size_t len)
{
    static uint8_t out[DNS_MESSAGE_MAX];
    struct dns_query q;
    ptrdiff_t n = dns_server_answer(c->server, DNS_TCP, c->v6, msg, len, out, &q);
    if (n > 0) {
        conn_answer(c, out, (size_t)n);
    } else if (n < 0) {
        struct tcp_request *t = xzalloc(sizeof(*t));
        t->conn = c;
        t->r.query = q;
        t->r.cap = DNS_MESSAGE_MAX;
        t->r.reply = tcp_reply;
        list_push_back(&c->pending, &t->link);
        c->pending_count++;
        dns_server_ask(c->server, &t->r);
    } else {
        conn_close(c); /* It does not speak DNS. */
    }
}

/* --- queries ------------------------------------------------------------------------------- */

static bool is_full(const struct conn *c)
{
    return c->pending_count >= PENDING_MAX ||
           uv_stream_get_write_queue_size((const uv_stream_t *)&c->tcp) >= QUEUE_BYTES_MAX;
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    struct conn *c = h->data;
    UNUSED(suggested);
    *ret = uv_buf_init((char *)buf_reserve(&c->in, READ_BYTES), READ_BYTES);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct conn *c = s->data;
    UNUSED(buf);
    if (n < 0) {
        conn_close(c);
    } else if (n > 0) {
        buf_commit(&c->in, (size_t)n);
        conn_read(c);
    }
}

/* Handles what was read, and reads on unless too much waits already. */
static void conn_read(struct conn *c)
{
    while (!uv_is_closing((uv_handle_t *)&c->tcp) && !is_full(c) && c->in.len >= 2) {
        size_t len = (size_t)(c->in.data[0] << 8 | c->in.data[1]);
        if (c->in.len < len + 2)
            break;
        touch(c);
        conn_query(c, c->in.data + 2, len);
        buf_consume(&c->in, len + 2);
    }
    if (uv_is_closing((uv_handle_t *)&c->tcp))
        return;
    if (is_full(c) && c->reading) {
        uv_read_stop((uv_stream_t *)&c->tcp);
        c->reading = false;
    } else if (!is_full(c) && !c->reading) {
        c->reading = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) == 0;
    }
}

static void on_connection(uv_stream_t *l, int status)
{
    struct tcp_listener *t = l->data;
    struct dns_server *s = t->server;
    if (status < 0)
        return;
    struct conn *c = xzalloc(sizeof(*c));
    c->server = s;
    c->v6 = t->v6;
    c->tcp.data = c;
    list_init(&c->link);
    list_init(&c->pending);
    s->conn_count++;
    uv_tcp_init(s->loop, &c->tcp);
    if (uv_accept(l, (uv_stream_t *)&c->tcp) != 0) {
        conn_close(c);
        return;
    }
    /* The one that was silent for longest makes room. */
    if (s->conn_count > CONNS_MAX && !list_empty(&s->conns))
        conn_close(LIST_ENTRY(s->conns.next, struct conn, link));
    uv_tcp_nodelay(&c->tcp, 1);
    touch(c);
    if (!uv_is_active((uv_handle_t *)&s->idle_timer))
        uv_timer_start(&s->idle_timer, on_sweep, SWEEP_MS, SWEEP_MS);
    conn_read(c);
}

static void on_listener_closed(uv_handle_t *h)
{
    free(h->data);
}

int dns_tcp_listen(struct dns_server *s, const struct sockaddr *address, struct error *err)
{
    struct tcp_listener *t = xzalloc(sizeof(*t));
    t->server = s;
    t->v6 = address->sa_family == AF_INET6;
    t->tcp.data = t;
    uv_tcp_init(s->loop, &t->tcp);
    int rc = uv_tcp_bind(&t->tcp, address, t->v6 ? UV_TCP_IPV6ONLY : 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&t->tcp, BACKLOG, on_connection);
    if (rc == 0)
        return 0;
    uv_close((uv_handle_t *)&t->tcp, on_listener_closed);
    return loop_error_set(err, rc, "TCP port 53");
}

void dns_tcp_init(struct dns_server *s)
{
    list_init(&s->conns);
    uv_timer_init(s->loop, &s->idle_timer);
    s->idle_timer.data = s;
}
