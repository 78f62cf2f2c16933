/* stream_internal.h - what stream.c, stream_tls.c, stream_connect.c and
 * listener.c share. */
#ifndef NET_STREAM_INTERNAL_H
#define NET_STREAM_INTERNAL_H

#include "lib/net/stream.h"

#include "lib/base/buf.h"
#include "lib/net/stream_out.h"

#include <uv.h>

#define STREAM_WINDOW_BYTES ((size_t)128 << 10)
#define STREAM_READ_BYTES ((size_t)64 << 10)
#define STREAM_RECORD_BYTES ((size_t)16 << 10) /* Plain text of one full TLS record. */
#define STREAM_LINGER_MS 5000

/*   CONNECTING --> HANDSHAKE --> OPEN --> DRAINING --> CLOSED
 *        |             |          |          ^ |
 *        +-------------+----------+----------+-+--> CLOSED (any failure)
 *
 * An accepted stream starts at HANDSHAKE, which plain streams pass at once (but
 * not before the loop's next round). DRAINING: close_soft() was called; what
 * was written leaves, input is thrown away. */
enum stream_state {
    STREAM_CONNECTING,
    STREAM_HANDSHAKE,
    STREAM_OPEN,
    STREAM_DRAINING,
    STREAM_CLOSED,
};

struct stream_connect; /* stream_connect.c: addresses still to be tried. */
struct stream_write;

struct net_stream {
    enum stream_state state;
    uv_loop_t *loop;
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } io;
    uv_timer_t timer;        /* Connecting, then the user's, then draining. */
    uv_idle_t idle;          /* Runs stream_round() once. */
    unsigned pending_closes; /* Handles and requests that still refer to us. */
    const struct net_stream_handler *handler;
    void *arg;
    struct net_listener *listener;  /* Counts us; NULL for outgoing streams. */
    struct stream_connect *connect; /* NULL once connected. */

    struct ssl_st *ssl;
    struct tls_writer *writer; /* NULL: OpenSSL writes the records, too. */
    bool writing;              /* writer has begun. */
    struct tls_peer *peer;
    const uint8_t *cipher_in; /* Bytes of the current read that TLS has not taken yet. */
    size_t cipher_in_len;
    struct buf stage; /* TLS: plain text not yet encrypted. */
    struct stream_out out;
    size_t in_flight;  /* Bytes that libuv holds. */
    uint64_t sent;     /* Bytes that the socket took, those in flight left out. */
    struct buf rest;   /* Input kept back while paused: cipher text with TLS. */
    struct buf unread; /* Plain text to deliver first. */

    bool io_open; /* The handle in io is initialised. */
    bool paused;
    bool reading; /* uv_read_start() is on. */
    bool got_eof; /* The socket has ended; told once all input is delivered. */
    bool told_eof;
    bool keeps_buffer; /* stream_tls_keep_buffer() was called last. */
    bool was_full;     /* on_writable is due once there is room. */
    bool want_shut;    /* Our direction ends after what is pending. */
    bool did_shut;
    bool open_due;    /* on_open is due in the next round. */
    struct error err; /* For on_close. */
    char remote[64];
    char local[64];
};

struct net_stream *stream_new(uv_loop_t *loop, const struct net_stream_handler *handler, void *arg);
/* The socket is connected: handshake, or on_open in the next round. */
void stream_start(struct net_stream *s);
/* Sees that stream_round() runs soon. */
void stream_kick(struct net_stream *s);
/* Ends the stream now: code and text for on_close. Idempotent. */
void stream_end(struct net_stream *s, int code, const char *text);
void stream_unpend(struct net_stream *s); /* One of pending_closes is gone. */
void stream_set_names(struct net_stream *s);
void stream_opened(struct net_stream *s);                                 /* Calls on_open. */
void stream_input(struct net_stream *s, const uint8_t *data, size_t len); /* Plain text. */
void stream_on_timer(uv_timer_t *timer);

/* stream_connect.c */
void stream_connect_abandon(struct net_stream *s);

/* stream_tls.c */
int stream_tls_start(struct net_stream *s, struct tls_context *tls, const char *server_name,
                     struct error *err);
/* Feeds cipher text (may be empty) and delivers what it gives; keeps back in
 * s->rest what a pause leaves. */
void stream_tls_input(struct net_stream *s, const uint8_t *data, size_t len);
/* Encrypts into s->out. */
void stream_tls_write(struct net_stream *s, const uint8_t *data, size_t len);
/* Between these two OpenSSL keeps its buffer from one record to the next. */
void stream_tls_keep_buffer(struct net_stream *s);
void stream_tls_rest(struct net_stream *s);
void stream_tls_shutdown(struct net_stream *s); /* Queues close_notify. */
void stream_tls_done(struct net_stream *s);
bool stream_tls_has_input(const struct net_stream *s); /* Decrypted and undelivered. */

/* listener.c */
void listener_stream_gone(struct net_listener *l);

#endif
