/* stream_connect.c - resolving and connecting; see stream.h.
 *
 * Addresses are tried one after another, each with its share of the time, so
 * that a black hole among them costs no more than its share. */
#include "lib/net/stream_internal.h"

#include "lib/base/loop.h"
#include "lib/net/tls.h"
#include "lib/net/url.h"

#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define CONNECT_TIMEOUT_DEFAULT_MS 30000
#define CONNECT_ADDRESSES_MAX 16
#define CONNECT_KEEPALIVE_S 15

struct stream_connect {
    struct net_stream *stream;
    uv_getaddrinfo_t resolve;
    uv_connect_t request;
    bool resolving, connecting; /* The request is with libuv, and refers to this struct. */
    bool abandoned;
    char *host;
    char *path; /* Unix socket. */
    uint16_t port;
    uint64_t deadline_ms; /* Of the loop's clock. */
    struct sockaddr_storage addresses[CONNECT_ADDRESSES_MAX];
    size_t count, next;
    struct error last; /* Why the address before failed. */
};

static void connect_next(struct net_stream *s);

static void connect_free_if_idle(struct stream_connect *c)
{
    if (c->resolving || c->connecting)
        return;
    free(c->host);
    free(c->path);
    free(c);
}

void stream_connect_abandon(struct net_stream *s)
{
    struct stream_connect *c = s->connect;
    if (c == NULL)
        return;
    s->connect = NULL;
    c->abandoned = true;
    c->stream = NULL;
    if (c->resolving)
        uv_cancel((uv_req_t *)&c->resolve);
    connect_free_if_idle(c);
}

/* "connect to HOST: text" */
static void connect_fail(struct net_stream *s, int code, const char *text)
{
    struct error err = {0};
    const struct stream_connect *c = s->connect;
    char where[NI_MAXHOST + 16];
    url_host_port_text(where, sizeof(where), c->host != NULL ? c->host : "", c->port);
    if (c->path != NULL)
        error_set(&err, code, "connect to unix:%s: %s", c->path, text);
    else
        error_set(&err, code, "connect to %s: %s", where, text);
    stream_end(s, code, err.message);
}

static void connect_done(struct net_stream *s)
{
    uint64_t now = uv_now(s->loop), deadline = s->connect->deadline_ms;
    uv_timer_start(&s->timer, stream_on_timer, deadline > now ? deadline - now : 1, 0);
    stream_connect_abandon(s);
    if (s->io.handle.type == UV_TCP) {
        uv_tcp_nodelay(&s->io.tcp, 1);
        uv_tcp_keepalive(&s->io.tcp, 1, CONNECT_KEEPALIVE_S);
    }
    stream_start(s);
}

static void connect_retry_after_close(uv_handle_t *handle)
{
    struct net_stream *s = CONTAINER_OF((void *)handle, struct net_stream, io);
    if (s->state == STREAM_CONNECTING)
        connect_next(s);
    stream_unpend(s);
}

/* The handle of a failed attempt cannot be used again: close it, then go on. */
static void connect_give_up_address(struct net_stream *s)
{
    s->io_open = false;
    s->pending_closes++;
    uv_close(&s->io.handle, connect_retry_after_close);
}

static void connect_on_result(uv_connect_t *request, int status)
{
    struct stream_connect *c = CONTAINER_OF(request, struct stream_connect, request);
    c->connecting = false;
    if (c->abandoned) {
        connect_free_if_idle(c);
        return;
    }
    struct net_stream *s = c->stream;
    if (!s->io_open)
        return; /* The attempt had been given up: its handle is closing. */
    if (status == 0) {
        connect_done(s);
        return;
    }
    loop_error_set(&c->last, status, "connect");
    if (c->path != NULL)
        connect_fail(s, E_UNAVAILABLE, uv_strerror(status));
    else
        connect_give_up_address(s);
}

static void connect_on_timer(uv_timer_t *timer)
{
    struct net_stream *s = CONTAINER_OF(timer, struct net_stream, timer);
    struct stream_connect *c = s->connect;
    if (c == NULL || s->state != STREAM_CONNECTING)
        return;
    error_set(&c->last, E_TIMEOUT, "timed out");
    if (c->next < c->count && s->io_open)
        connect_give_up_address(s);
    else
        connect_fail(s, E_TIMEOUT, "timed out");
}

/* The time one more address may take. */
static void connect_arm_timer(struct net_stream *s)
{
    struct stream_connect *c = s->connect;
    uint64_t now = uv_now(s->loop), left = c->deadline_ms > now ? c->deadline_ms - now : 1;
    size_t shares = c->count > c->next ? c->count - c->next + 1 : 1;
    uv_timer_start(&s->timer, connect_on_timer, MAX_OF(left / shares, (uint64_t)1), 0);
}

static void connect_next(struct net_stream *s)
{
    struct stream_connect *c = s->connect;
    if (c->next >= c->count) {
        connect_fail(s, c->last.code == E_TIMEOUT ? E_TIMEOUT : E_UNAVAILABLE,
                     error_message(&c->last));
        return;
    }
    const struct sockaddr_storage *address = &c->addresses[c->next++];
    connect_arm_timer(s);
    int rc = uv_tcp_init(s->loop, &s->io.tcp);
    if (rc == 0) {
        s->io_open = true;
        rc = uv_tcp_connect(&c->request, &s->io.tcp, (const struct sockaddr *)address,
                            connect_on_result);
    }
    if (rc == 0) {
        c->connecting = true;
        return;
    }
    loop_error_set(&c->last, rc, "connect");
    if (s->io_open)
        connect_give_up_address(s);
    else
        connect_fail(s, E_UNAVAILABLE, uv_strerror(rc));
}

static void connect_add_address(struct stream_connect *c, const struct sockaddr *address,
                                size_t len)
{
    if (c->count < CONNECT_ADDRESSES_MAX && len <= sizeof(c->addresses[0]))
        memcpy(&c->addresses[c->count++], address, len);
}

static void connect_on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct stream_connect *c = CONTAINER_OF(request, struct stream_connect, resolve);
    c->resolving = false;
    if (c->abandoned) {
        uv_freeaddrinfo(list);
        connect_free_if_idle(c);
        return;
    }
    if (status < 0) {
        connect_fail(c->stream, E_UNAVAILABLE, uv_strerror(status));
        return;
    }
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next)
        connect_add_address(c, a->ai_addr, a->ai_addrlen);
    uv_freeaddrinfo(list);
    connect_next(c->stream);
}

/* Runs in the first round, so that nothing fails inside net_stream_connect(). */
static void connect_begin(uv_idle_t *idle)
{
    struct net_stream *s = CONTAINER_OF(idle, struct net_stream, idle);
    struct stream_connect *c = s->connect;
    uv_idle_stop(idle);
    if (c->path != NULL) {
        uv_pipe_init(s->loop, &s->io.pipe, 0);
        s->io_open = true;
        connect_arm_timer(s);
        c->connecting = true;
        uv_pipe_connect(&c->request, &s->io.pipe, c->path, connect_on_result);
        return;
    }
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    if (uv_ip4_addr(c->host, c->port, &in) == 0) {
        connect_add_address(c, (const struct sockaddr *)&in, sizeof(in));
    } else if (uv_ip6_addr(c->host, c->port, &in6) == 0) {
        connect_add_address(c, (const struct sockaddr *)&in6, sizeof(in6));
    } else {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
        char port[8];
        snprintf(port, sizeof(port), "%u", c->port);
        connect_arm_timer(s);
        int rc = uv_getaddrinfo(s->loop, &c->resolve, connect_on_resolved, c->host, port, &hints);
        c->resolving = rc == 0;
        if (rc < 0)
            connect_fail(s, E_UNAVAILABLE, uv_strerror(rc));
        return;
    }
    connect_next(s);
}

/* "unix:/path", "unix:///path" or "/path". NULL: none of them. */
static const char *connect_unix_path(const char *endpoint)
{
    if (strncmp(endpoint, "unix:", 5) == 0) {
        endpoint += 5;
        if (strncmp(endpoint, "//", 2) == 0)
            endpoint += 2;
        return endpoint;
    }
    return endpoint[0] == '/' ? endpoint : NULL;
}

static int connect_parse(const char *endpoint, struct stream_connect *c, struct error *err)
{
    const char *path = connect_unix_path(endpoint);
    if (path != NULL) {
        if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
            return error_set(err, E_INVALID, "path of unix socket is too long: %s", path);
        c->path = xstrdup(path);
        return 0;
    }
    struct str host;
    int code = url_split_host_port(str_of(endpoint), 0, &host, &c->port, err);
    if (code < 0)
        return code;
    if (str_empty(host) || c->port == 0)
        return error_set(err, E_INVALID, "endpoint \"%s\" needs a host and a port", endpoint);
    c->host = xstrndup(host.data, host.len);
    return 0;
}

int net_stream_connect(struct uv_loop_s *loop, const struct net_connect_config *config,
                       const struct net_stream_handler *handler, void *arg, struct net_stream **ret,
                       struct error *err)
{
    struct stream_connect *c = xzalloc(sizeof(*c));
    int code = connect_parse(config->endpoint, c, err);
    if (code < 0) {
        connect_free_if_idle(c);
        return code;
    }
    struct net_stream *s = stream_new(loop, handler, arg);
    s->state = STREAM_CONNECTING;
    s->connect = c;
    c->stream = s;
    if (config->tls != NULL) {
        const char *name = config->server_name != NULL ? config->server_name : c->host;
        code = stream_tls_start(s, config->tls, name, err);
        if (code < 0) {
            /* No callback may run: the stream was never handed out. */
            s->handler = NULL;
            stream_end(s, code, "");
            return code;
        }
        if (config->alpn != 0)
            tls_session_set_alpn(s->ssl, config->alpn);
    }
    uint64_t timeout_ms = config->timeout_ms != 0 ? config->timeout_ms : CONNECT_TIMEOUT_DEFAULT_MS;
    uv_update_time(loop);
    c->deadline_ms = uv_now(loop) + timeout_ms;
    uv_idle_start(&s->idle, connect_begin);
    *ret = s;
    return 0;
}
