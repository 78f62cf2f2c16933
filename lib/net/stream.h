/* stream.h - byte streams over TCP or unix sockets, with or without TLS.
 *
 * Loop-confined. Output is accepted at once and sent at the end of the loop
 * iteration; a writer that respects net_stream_room() never holds more than a
 * window of it. Input stops while paused. An idle stream holds no buffers.
 *
 *   connect/accept -> (TLS handshake) -> on_open -> on_read* -> [on_eof] -> on_close */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include "lib/base/base.h"
#include "lib/base/error.h"
#include "lib/base/str.h"

struct net_bytes;
struct net_listener;
struct net_stream;
struct sockaddr;
struct tls_context;
struct tls_peer;
struct uv_loop_s;

/* No callback runs inside a call made on the stream, except that closing from
 * within a callback is fine; on_close always comes later. Any may be NULL. */
struct net_stream_handler {
    /* Connected and, with TLS, verified. */
    void (*on_open)(struct net_stream *s, void *arg);
    /* data is borrowed for the call. */
    void (*on_read)(struct net_stream *s, const uint8_t *data, size_t len, void *arg);
    /* The other side sends no more. NULL: the stream closes with E_EOF. */
    void (*on_eof)(struct net_stream *s, void *arg);
    /* net_stream_room() has become positive again. */
    void (*on_writable)(struct net_stream *s, void *arg);
    /* The timer of net_stream_set_timeout(). NULL: the stream closes with E_TIMEOUT. */
    void (*on_timeout)(struct net_stream *s, void *arg);
    /* Once per stream, and the last. err->code: E_CLOSED (closed here, or reset),
     * E_EOF, E_TIMEOUT, E_TLS, E_IO, E_UNAVAILABLE (never connected). The stream is gone when it
     * returns. */
    void (*on_close)(struct net_stream *s, const struct error *err, void *arg);
};

struct net_connect_config {
    /* "host:port", "[v6]:port", "unix:/path" or "/path". Names are resolved
     * without blocking, and all their addresses tried in turn. */
    const char *endpoint;
    struct tls_context *tls; /* NULL: none. A reference is taken. */
    const char *server_name; /* For TLS. NULL: the endpoint's host. */
    unsigned alpn;           /* TLS_ALPN_* to offer instead of the context's. 0: those. */
    uint64_t timeout_ms;     /* Until on_open. 0: 30 s. */
};

/* On success *ret lives until on_close returns. On failure (a malformed
 * endpoint) no callback runs. */
int net_stream_connect(struct uv_loop_s *loop, const struct net_connect_config *config,
                       const struct net_stream_handler *handler, void *arg, struct net_stream **ret,
                       struct error *err);

/* Replaces the callbacks: how an upgraded connection changes hands. handler is
 * borrowed and usually static. */
void net_stream_set_handler(struct net_stream *s, const struct net_stream_handler *handler,
                            void *arg);
/* Delivers these bytes, copied, to on_read before any others, later. */
void net_stream_unread(struct net_stream *s, const void *data, size_t len);

void net_stream_pause(struct net_stream *s);  /* on_read stops at once. */
void net_stream_resume(struct net_stream *s); /* Reading starts enabled. */

/* Takes all bytes, always (copies or encrypts them). Ignored once closed. */
void net_stream_write(struct net_stream *s, const void *data, size_t len);
/* The same for bytes of a shared block: without TLS large pieces are not copied,
 * a reference is taken instead. */
void net_stream_write_bytes(struct net_stream *s, struct net_bytes *b, const uint8_t *data,
                            size_t len);
/* Bytes a well-behaved writer may still add; 0 until open and while the window
 * (128 KiB) is full. */
size_t net_stream_room(const struct net_stream *s);
size_t net_stream_pending(const struct net_stream *s); /* Accepted but not yet in the socket. */
uint64_t
net_stream_sent(const struct net_stream *s); /* Bytes the socket took: is there progress? */
void net_stream_flush(struct net_stream *s); /* Send now rather than later. */
/* Ends our direction once everything is sent; reading goes on. */
void net_stream_shutdown(struct net_stream *s);

/* Idempotent. close_soft sends what was written first (within 5 s). */
void net_stream_close(struct net_stream *s);
void net_stream_close_soft(struct net_stream *s);
/* As close, but with this code and text given to on_close. */
void net_stream_fail(struct net_stream *s, int code, const char *text);

/* One timer per stream for its user: fires once after ms; 0 stops it. */
void net_stream_set_timeout(struct net_stream *s, uint64_t ms);

bool net_stream_is_open(const struct net_stream *s); /* Between on_open and close. */
bool net_stream_is_tls(const struct net_stream *s);
struct str net_stream_alpn(const struct net_stream *s); /* "h2", "http/1.1" or empty. */
/* The other side's certificate, borrowed until on_close; NULL if none. */
struct tls_peer *net_stream_peer(struct net_stream *s);
/* "127.0.0.1:4711", "[::1]:4711" or "unix"; borrowed until on_close. */
const char *net_stream_remote(const struct net_stream *s);
const char *net_stream_local(const struct net_stream *s);
/* User and group of a unix socket's other side. E_NOT_IMPLEMENTED for TCP. */
int net_stream_peer_cred(const struct net_stream *s, uint32_t *ret_uid, uint32_t *ret_gid);
struct uv_loop_s *net_stream_loop(const struct net_stream *s);
/* The kernel's estimate of the round trip in microseconds; 0: unknown, or no TCP. */
uint32_t net_stream_rtt_us(const struct net_stream *s);

/* --- listening --- */

struct net_listen_config {
    /* "host:port" with a literal address, ":port" (all, both families),
     * "unix:/path" or "/path". Port 0 picks one. A stale socket file is
     * replaced; the directory must exist. */
    const char *address;
    struct tls_context *tls;       /* NULL: none. A reference is taken. */
    bool reuse_port;               /* Several listeners, on loops of their own, share the port. */
    int backlog;                   /* 0: 1024. */
    uint32_t unix_mode;            /* Permissions of a unix socket. 0: 0660. */
    uint64_t handshake_timeout_ms; /* TLS handshake. 0: 10 s. */
    size_t
        connections_max; /* Accepting rests at this many streams of this listener. 0: no limit. */
    /* Sets *ret_handler and *ret_arg for the new stream; on_open follows. */
    void (*on_accept)(struct net_listener *l, struct net_stream *s,
                      const struct net_stream_handler **ret_handler, void **ret_arg, void *arg);
    void *arg;
};

int net_listener_new(struct uv_loop_s *loop, const struct net_listen_config *config,
                     struct net_listener **ret, struct error *err);
/* Sharing a port among the threads of a process would also share it with another process of the
 * same user that does so. E_EXISTS: somebody listens there already, sharing or not. Asked before
 * the first of several listeners with reuse_port is made. */
int net_listen_check_alone(const char *address, struct error *err);
int net_listener_port(const struct net_listener *l);            /* 0 for a unix socket. */
const char *net_listener_address(const struct net_listener *l); /* With the real port. */
size_t net_listener_stream_count(const struct net_listener *l);
/* Stops accepting; streams live on. on_closed may be NULL. */
void net_listener_close(struct net_listener *l, void (*on_closed)(void *arg), void *arg);

#endif
