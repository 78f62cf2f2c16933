/* stream.c - reading, writing and closing; see stream.h. Everything that calls
 * back runs from libuv callbacks, never inside a call of the user. */
#include "lib/net/stream_internal.h"

#include "lib/base/loop.h"
#include "lib/net/bytes.h"
#include "lib/net/tls.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

struct stream_write {
    uv_write_t req;
    struct net_stream *stream;
    struct stream_out out;
};

#define STREAM_PIECES_MAX 64 /* Handed to the system at a time. */
#define STREAM_REF_MIN 4096
/* With TLS this much is sent at once, from memory that is still in the processor's cache: eight
 * records, which the kernel takes as two segments. More would leave the cache, and has pacing
 * (BBR) set more timers. */
#define STREAM_SEND_BYTES ((size_t)124 << 10)
#define STREAM_DIRECT_MIN (STREAM_RECORD_BYTES / 2) /* Encrypted where it stands. */

/* One read buffer per thread: libuv reads and delivers without a break. */
static _Thread_local uint8_t read_buffer[STREAM_READ_BYTES];

static void stream_round(uv_idle_t *idle);
static void stream_update_reading(struct net_stream *s);
static bool stream_wants_input(const struct net_stream *s);

struct net_stream *stream_new(uv_loop_t *loop, const struct net_stream_handler *handler, void *arg)
{
    struct net_stream *s = xzalloc(sizeof(*s));
    s->loop = loop;
    s->handler = handler;
    s->arg = arg;
    uv_timer_init(loop, &s->timer);
    uv_idle_init(loop, &s->idle);
    s->pending_closes = 2;
    return s;
}

void stream_kick(struct net_stream *s)
{
    if (s->state != STREAM_CLOSED)
        uv_idle_start(&s->idle, stream_round);
}

/* --- names --- */

static void stream_print_address(const struct sockaddr_storage *ss, char ret[64])
{
    char host[INET6_ADDRSTRLEN] = "";
    if (ss->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)ss;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        snprintf(ret, 64, "%s:%u", host, ntohs(in->sin_port));
    } else if (ss->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)ss;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof(host));
        /* A dual-stack listener shows IPv4 peers as "::ffff:1.2.3.4". */
        if (strncmp(host, "::ffff:", 7) == 0 && strchr(host, '.') != NULL)
            snprintf(ret, 64, "%s:%u", host + 7, ntohs(in->sin6_port));
        else
            snprintf(ret, 64, "[%s]:%u", host, ntohs(in->sin6_port));
    } else {
        snprintf(ret, 64, "unix");
    }
}

void stream_set_names(struct net_stream *s)
{
    struct sockaddr_storage ss = {.ss_family = AF_UNIX};
    int len = sizeof(ss);
    if (s->io.handle.type == UV_TCP)
        uv_tcp_getpeername(&s->io.tcp, (struct sockaddr *)&ss, &len);
    stream_print_address(&ss, s->remote);
    len = sizeof(ss);
    if (s->io.handle.type == UV_TCP)
        uv_tcp_getsockname(&s->io.tcp, (struct sockaddr *)&ss, &len);
    stream_print_address(&ss, s->local);
}

/* --- the end --- */

static void stream_free(struct net_stream *s)
{
    stream_tls_done(s);
    tls_peer_unref(s->peer);
    buf_done(&s->stage);
    stream_out_done(&s->out);
    buf_done(&s->rest);
    buf_done(&s->unread);
    if (s->listener != NULL)
        listener_stream_gone(s->listener);
    free(s);
}

void stream_unpend(struct net_stream *s)
{
    ASSERT(s->pending_closes > 0);
    if (--s->pending_closes > 0)
        return;
    if (s->handler != NULL && s->handler->on_close != NULL)
        s->handler->on_close(s, &s->err, s->arg);
    stream_free(s);
}

static void stream_io_closed(uv_handle_t *handle)
{
    stream_unpend(CONTAINER_OF((void *)handle, struct net_stream, io));
}

static void stream_timer_closed(uv_handle_t *handle)
{
    stream_unpend(CONTAINER_OF((uv_timer_t *)handle, struct net_stream, timer));
}

static void stream_idle_closed(uv_handle_t *handle)
{
    stream_unpend(CONTAINER_OF((uv_idle_t *)handle, struct net_stream, idle));
}

void stream_end(struct net_stream *s, int code, const char *text)
{
    if (s->state == STREAM_CLOSED)
        return;
    s->state = STREAM_CLOSED;
    error_set(&s->err, code, "%s", text);
    stream_connect_abandon(s);
    uv_close((uv_handle_t *)&s->timer, stream_timer_closed);
    uv_close((uv_handle_t *)&s->idle, stream_idle_closed);
    if (s->io_open) {
        s->pending_closes++;
        uv_close(&s->io.handle, stream_io_closed);
    }
}

static void stream_end_uv(struct net_stream *s, int uv_code, const char *what)
{
    struct error err = {0};
    loop_error_set(&err, uv_code, what);
    /* Whoever resets a connection has gone; E_IO leaves room for real trouble. */
    bool gone = uv_code == UV_ECONNRESET || uv_code == UV_EPIPE;
    stream_end(s, gone ? E_CLOSED : err.code, err.message);
}

void net_stream_close(struct net_stream *s)
{
    stream_end(s, E_CLOSED, "closed");
}

void net_stream_fail(struct net_stream *s, int code, const char *text)
{
    stream_end(s, code, text);
}

void net_stream_close_soft(struct net_stream *s)
{
    if (s->state == STREAM_CONNECTING || s->state == STREAM_HANDSHAKE) {
        net_stream_close(s);
        return;
    }
    if (s->state != STREAM_OPEN)
        return;
    s->state = STREAM_DRAINING;
    s->want_shut = true;
    buf_done(&s->rest);
    buf_done(&s->unread);
    uv_timer_start(&s->timer, stream_on_timer, STREAM_LINGER_MS, 0);
    stream_kick(s);
}

/* --- writing --- */

static void stream_write_free(struct stream_write *w)
{
    stream_out_done(&w->out);
    free(w);
}

static void stream_on_written(uv_write_t *req, int status)
{
    struct stream_write *w = CONTAINER_OF(req, struct stream_write, req);
    struct net_stream *s = w->stream;
    s->sent += s->in_flight;
    s->in_flight = 0;
    stream_write_free(w);
    if (s->state == STREAM_CLOSED)
        return;
    if (status < 0)
        stream_end_uv(s, status, "write");
    else
        stream_kick(s);
}

/* The socket takes no more now: libuv writes the rest when it does. */
static void stream_send_later(struct net_stream *s)
{
    struct stream_write *w = xmalloc(sizeof(*w));
    w->stream = s;
    stream_out_keep(&s->out);
    w->out = s->out;
    s->out = (struct stream_out){0};
    s->in_flight = w->out.len;
    unsigned max = stream_out_piece_count(&w->out);
    AUTO_FREE uv_buf_t *pieces = xmalloc(max * sizeof(*pieces));
    unsigned count = stream_out_pieces(&w->out, pieces, max);
    int rc = uv_write(&w->req, &s->io.stream, pieces, count, stream_on_written);
    if (rc < 0) {
        s->in_flight = 0;
        stream_write_free(w);
        stream_end_uv(s, rc, "write");
    }
}

/* Hands s->out to the socket: what fits at once, the rest through libuv. */
static void stream_send(struct net_stream *s)
{
    uv_buf_t pieces[STREAM_PIECES_MAX];
    while (s->out.len > 0 && s->in_flight == 0 && s->state != STREAM_CLOSED) {
        unsigned count = stream_out_pieces(&s->out, pieces, STREAM_PIECES_MAX);
        int n = uv_try_write(&s->io.stream, pieces, count);
        if (n > 0) {
            s->sent += (size_t)n;
            stream_out_consume(&s->out, (size_t)n);
        } else if (n < 0 && n != UV_EAGAIN) {
            stream_end_uv(s, n, "write");
            return;
        } else {
            stream_send_later(s);
            return;
        }
    }
    if (s->out.len == 0)
        stream_out_done(&s->out);
}

struct stream_shutdown {
    uv_shutdown_t req;
    struct net_stream *stream;
};

static void stream_on_shutdown(uv_shutdown_t *req, int status)
{
    UNUSED(status);
    free(CONTAINER_OF(req, struct stream_shutdown, req));
}

/* Everything written is in the socket: end our direction. */
static void stream_finish_output(struct net_stream *s)
{
    if (s->did_shut || !s->want_shut || s->state == STREAM_CLOSED)
        return;
    s->did_shut = true;
    struct stream_shutdown *sd = xmalloc(sizeof(*sd));
    sd->stream = s;
    if (uv_shutdown(&sd->req, &s->io.stream, stream_on_shutdown) < 0)
        free(sd);
    /* A peer that has ended as well leaves nothing to wait for. */
    if (s->state == STREAM_DRAINING && s->got_eof)
        stream_end(s, E_CLOSED, "closed");
}

void net_stream_flush(struct net_stream *s)
{
    if (s->state != STREAM_OPEN && s->state != STREAM_DRAINING && s->state != STREAM_HANDSHAKE)
        return;
    if (s->ssl != NULL && s->state != STREAM_HANDSHAKE) {
        if (s->stage.len > 0)
            stream_tls_write(s, s->stage.data, s->stage.len);
        buf_done(&s->stage);
        if (s->want_shut)
            stream_tls_shutdown(s);
        stream_tls_rest(s);
    }
    stream_send(s);
    if (net_stream_pending(s) == 0)
        stream_finish_output(s);
    /* If sending was all that the next round was for, it need not come. */
    bool input_due = s->unread.len > 0 || s->rest.len > 0 || (s->got_eof && !s->told_eof);
    if (s->state == STREAM_OPEN && !input_due && !s->was_full &&
        s->reading == stream_wants_input(s))
        uv_idle_stop(&s->idle);
}

static void stream_encrypt_stage(struct net_stream *s)
{
    if (s->stage.len > 0)
        stream_tls_write(s, s->stage.data, s->stage.len);
    buf_clear(&s->stage);
}

void net_stream_write(struct net_stream *s, const void *data, size_t len)
{
    if (s->state == STREAM_CLOSED || s->want_shut || len == 0)
        return;
    if (s->ssl == NULL) {
        stream_out_add(&s->out, data, len);
    } else if (s->state == STREAM_OPEN && len >= STREAM_DIRECT_MIN) {
        /* What was begun is a short record then: cheaper than to copy all of this. */
        const uint8_t *p = data;
        size_t rest = len % STREAM_RECORD_BYTES;
        if (rest >= STREAM_DIRECT_MIN)
            rest = 0;
        stream_encrypt_stage(s);
        stream_tls_keep_buffer(s);
        stream_tls_write(s, p, len - rest);
        buf_append(&s->stage, p + len - rest, rest);
        if (s->out.len >= STREAM_SEND_BYTES)
            stream_send(s);
    } else if (s->state == STREAM_OPEN && s->stage.len + len >= STREAM_RECORD_BYTES) {
        const uint8_t *p = data;
        size_t fill = STREAM_RECORD_BYTES - s->stage.len;
        buf_append(&s->stage, p, fill);
        stream_encrypt_stage(s);
        buf_append(&s->stage, p + fill, len - fill);
    } else {
        buf_append(&s->stage, data, len);
    }
    if (net_stream_pending(s) >= STREAM_WINDOW_BYTES)
        s->was_full = true;
    stream_kick(s);
}

void net_stream_write_bytes(struct net_stream *s, struct net_bytes *b, const uint8_t *data,
                            size_t len)
{
    /* Small ones are cheaper to copy than to keep account of. */
    if (s->ssl != NULL || len < STREAM_REF_MIN || b->release == NULL || s->state == STREAM_CLOSED ||
        s->want_shut) {
        net_stream_write(s, data, len);
        return;
    }
    stream_out_add_ref(&s->out, b, data, len);
    if (net_stream_pending(s) >= STREAM_WINDOW_BYTES)
        s->was_full = true;
    stream_kick(s);
}

size_t net_stream_pending(const struct net_stream *s)
{
    return s->stage.len + s->out.len + s->in_flight;
}

uint64_t net_stream_sent(const struct net_stream *s)
{
    size_t queued = s->in_flight > 0 ? uv_stream_get_write_queue_size(&s->io.stream) : 0;
    return s->sent + (s->in_flight - MIN_OF(queued, s->in_flight));
}

size_t net_stream_room(const struct net_stream *s)
{
    size_t pending = net_stream_pending(s);
    return s->state == STREAM_OPEN && pending < STREAM_WINDOW_BYTES ? STREAM_WINDOW_BYTES - pending
                                                                    : 0;
}

void net_stream_shutdown(struct net_stream *s)
{
    s->want_shut = true;
    stream_kick(s);
}

/* --- reading --- */

void stream_input(struct net_stream *s, const uint8_t *data, size_t len)
{
    if (s->state == STREAM_OPEN && len > 0 && s->handler->on_read != NULL)
        s->handler->on_read(s, data, len, s->arg);
}

static void stream_tell_eof(struct net_stream *s)
{
    if (s->told_eof || s->paused || s->state != STREAM_OPEN)
        return;
    s->told_eof = true;
    if (s->handler->on_eof != NULL)
        s->handler->on_eof(s, s->arg);
    else
        stream_end(s, E_EOF, "closed by the other side");
}

static void stream_got_eof(struct net_stream *s)
{
    s->got_eof = true;
    stream_update_reading(s);
    if (s->state == STREAM_HANDSHAKE)
        stream_end(s, s->ssl != NULL ? E_TLS : E_EOF,
                   "closed by the other side before the handshake");
    else if (s->state == STREAM_DRAINING && s->did_shut)
        stream_end(s, E_CLOSED, "closed");
    else
        stream_tell_eof(s);
}

static void stream_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    UNUSED(handle);
    UNUSED(suggested);
    *ret = uv_buf_init((char *)read_buffer, sizeof(read_buffer));
}

static void stream_on_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *b)
{
    struct net_stream *s = CONTAINER_OF((void *)handle, struct net_stream, io);
    if (n == 0 || s->state == STREAM_CLOSED)
        return;
    if (n == UV_EOF)
        stream_got_eof(s);
    else if (n < 0)
        stream_end_uv(s, (int)n, "read");
    else if (s->state == STREAM_DRAINING)
        return;
    else if (s->ssl != NULL)
        stream_tls_input(s, (const uint8_t *)b->base, (size_t)n);
    else if (s->state == STREAM_OPEN)
        stream_input(s, (const uint8_t *)b->base, (size_t)n);
    else
        buf_append(&s->rest, b->base, (size_t)n); /* Came before on_open. */
    stream_update_reading(s);
}

static bool stream_wants_input(const struct net_stream *s)
{
    return !s->got_eof && (!s->paused || s->state != STREAM_OPEN) && !s->open_due;
}

/* Reads exactly when there is somebody to take the bytes. */
static void stream_update_reading(struct net_stream *s)
{
    if (s->state == STREAM_CLOSED || s->state == STREAM_CONNECTING)
        return;
    bool want = stream_wants_input(s);
    if (want == s->reading)
        return;
    s->reading = want;
    if (!want) {
        uv_read_stop(&s->io.stream);
        return;
    }
    int rc = uv_read_start(&s->io.stream, stream_on_alloc, stream_on_read);
    if (rc < 0)
        stream_end_uv(s, rc, "read");
}

void net_stream_pause(struct net_stream *s)
{
    s->paused = true;
    stream_update_reading(s);
}

void net_stream_resume(struct net_stream *s)
{
    if (!s->paused)
        return;
    s->paused = false;
    stream_kick(s);
}

void net_stream_unread(struct net_stream *s, const void *data, size_t len)
{
    struct buf joined = BUF_INIT;
    buf_append(&joined, data, len);
    buf_append_str(&joined, buf_str(&s->unread));
    buf_done(&s->unread);
    s->unread = joined;
    stream_kick(s);
}

/* Delivers what was kept back: first what was unread, then what came since. */
static void stream_deliver_kept(struct net_stream *s)
{
    if (s->unread.len > 0 && !s->paused && s->state == STREAM_OPEN) {
        AUTO_BUF data = s->unread;
        s->unread = BUF_INIT;
        stream_input(s, data.data, data.len);
    }
    if (s->paused || s->state != STREAM_OPEN || s->unread.len > 0)
        return;
    if (s->rest.len > 0 || stream_tls_has_input(s)) {
        AUTO_BUF data = s->rest;
        s->rest = BUF_INIT;
        if (s->ssl != NULL)
            stream_tls_input(s, data.data, data.len);
        else
            stream_input(s, data.data, data.len);
    }
    if (s->got_eof && s->rest.len == 0 && s->unread.len == 0)
        stream_tell_eof(s);
}

/* --- one round of deferred work --- */

void stream_opened(struct net_stream *s)
{
    s->state = STREAM_OPEN;
    uv_timer_stop(&s->timer);
    if (s->handler->on_open != NULL)
        s->handler->on_open(s, s->arg);
    if (s->stage.len > 0)
        stream_kick(s);
}

static void stream_round(uv_idle_t *idle)
{
    struct net_stream *s = CONTAINER_OF(idle, struct net_stream, idle);
    uv_idle_stop(idle);
    if (s->open_due) {
        s->open_due = false;
        stream_opened(s);
    }
    stream_deliver_kept(s);
    net_stream_flush(s);
    if (s->was_full && s->state == STREAM_OPEN &&
        net_stream_pending(s) <= STREAM_WINDOW_BYTES / 2) {
        s->was_full = false;
        if (s->handler->on_writable != NULL)
            s->handler->on_writable(s, s->arg);
    }
    stream_update_reading(s);
}

void stream_start(struct net_stream *s)
{
    s->state = STREAM_HANDSHAKE;
    stream_set_names(s);
    if (s->ssl != NULL)
        stream_tls_input(s, NULL, 0);
    else
        s->open_due = true;
    stream_update_reading(s);
    stream_kick(s);
}

/* --- timer --- */

void stream_on_timer(uv_timer_t *timer)
{
    struct net_stream *s = CONTAINER_OF(timer, struct net_stream, timer);
    if (s->state == STREAM_DRAINING)
        stream_end(s, E_CLOSED, "closed");
    else if (s->state == STREAM_OPEN && s->handler->on_timeout != NULL)
        s->handler->on_timeout(s, s->arg);
    else
        stream_end(s, E_TIMEOUT,
                   s->state == STREAM_HANDSHAKE ? "TLS handshake timed out" : "timed out");
}

void net_stream_set_timeout(struct net_stream *s, uint64_t ms)
{
    if (s->state != STREAM_OPEN)
        return;
    if (ms == 0)
        uv_timer_stop(&s->timer);
    else
        uv_timer_start(&s->timer, stream_on_timer, ms, 0);
}

/* --- what it is --- */

void net_stream_set_handler(struct net_stream *s, const struct net_stream_handler *handler,
                            void *arg)
{
    s->handler = handler;
    s->arg = arg;
}

bool net_stream_is_open(const struct net_stream *s)
{
    return s->state == STREAM_OPEN;
}

bool net_stream_is_tls(const struct net_stream *s)
{
    return s->ssl != NULL;
}

const char *net_stream_remote(const struct net_stream *s)
{
    return s->remote;
}

const char *net_stream_local(const struct net_stream *s)
{
    return s->local;
}

int net_stream_peer_cred(const struct net_stream *s, uint32_t *ret_uid, uint32_t *ret_gid)
{
    uv_os_fd_t fd;
    struct ucred cred;
    socklen_t len = sizeof(cred);
    if (s->io.handle.type != UV_NAMED_PIPE)
        return E_NOT_IMPLEMENTED;
    if (uv_fileno(&s->io.handle, &fd) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return E_IO;
    *ret_uid = cred.uid;
    *ret_gid = cred.gid;
    return 0;
}

struct uv_loop_s *net_stream_loop(const struct net_stream *s)
{
    return s->loop;
}

uint32_t net_stream_rtt_us(const struct net_stream *s)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);
    uv_os_fd_t fd;
    if (s->state != STREAM_OPEN || s->io.handle.type != UV_TCP ||
        uv_fileno(&s->io.handle, &fd) != 0 ||
        getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return 0;
    return info.tcpi_rtt;
}
