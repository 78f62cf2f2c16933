/* http_server.h - HTTP/1.1 and HTTP/2 servers on a loop, over stream.h.
 *
 * Loop-confined: everything here runs on the thread of the loop given to
 * new(). For several threads make one server on each loop and let them listen
 * on the same port with reuse_port.
 *
 *   head -> on_headers -> [body buffered] -> on_request -> http_respond()
 *                      \-> stream_body: on_data*, on_end   http_response_start(), _write(), _end()
 *
 * A request is the handler's from http_request_stream_body() or on_request on
 * (or from on_headers, if it answers there), until the handler's last call on
 * it: http_respond() and its kin, http_response_end(), http_response_abort() or
 * http_response_upgrade(). That call is always owed, even when the client has
 * gone away (on_abort tells); until then the request and its arena stay valid,
 * and output for a client that has gone is dropped. The handler may make it
 * inside any callback or later. Afterwards it must not touch the request; its
 * arena is freed once the response is sent. While a body is being buffered the
 * request is this layer's: a client that goes away meanwhile, or a body too
 * large, ends it without the handler hearing (what it put into the arena goes). */
#ifndef NET_HTTP_SERVER_H
#define NET_HTTP_SERVER_H

#include "lib/net/http.h"
#include "lib/net/websocket.h"

struct arena;
struct buf;
struct http_server;
struct net_bytes;
struct net_listen_config;
struct net_stream;
struct net_stream_handler;
struct tls_context;
struct tls_peer;
struct uv_loop_s;

/* What is written in pieces of this size (or multiples), private and with headroom (see bytes.h),
 * goes out without a copy before it is encrypted: each is a DATA frame in a TLS record of its own,
 * and four such records fit the 64 KiB that the kernel takes at a time. */
#define HTTP_FRAME_BYTES ((size_t)16311)
#define HTTP_FRAME_HEADROOM ((size_t)9)

/* The fields are read-only for handlers, except user. Strings live in the
 * arena and end with NUL. */
struct http_request {
    struct str method;    /* "GET" */
    struct str target;    /* As sent: path and query. Of "http://host/p" only "/p". */
    struct str path;      /* Before '?', still escaped; begins with '/' (or is "*"). */
    struct str query;     /* Behind '?', still escaped. */
    struct str authority; /* :authority or Host. */
    enum http_version version;
    const struct http_header *headers; /* Names in lower case, in order of arrival. */
    size_t header_count;
    struct str body;        /* Valid in on_request. */
    int64_t content_length; /* -1: unknown. */
    bool has_body;          /* A body is announced. */
    bool is_tls;
    bool aborted;          /* The client is gone; see on_abort. */
    struct tls_peer *peer; /* Borrowed for the request's life; NULL if no certificate. */
    const char *remote;    /* "1.2.3.4:5678", "[::1]:5678" or "unix". */
    const char *local;
    struct arena *arena; /* Freed after the response. */
    struct http_server *server;
    void *user; /* The handler's own. */
};

/* Zero means the default in brackets. */
struct http_server_limits {
    size_t header_bytes_max;    /* [1 MiB, as Go] Request line and header fields: 431 beyond. */
    size_t header_count_max;    /* [256] Fields: 431 beyond. */
    size_t body_bytes_max;      /* [3 MiB] Buffered bodies; on_headers may change it per request. */
    uint32_t streams_max;       /* [250] Concurrent HTTP/2 streams per connection. */
    size_t connections_max;     /* [unlimited] Per listener; beyond, accepting rests. */
    uint64_t header_timeout_ms; /* [32 s] From the first byte of a request head to its end. */
    uint64_t idle_timeout_ms;   /* [150 s] Without a request in flight. */
    uint64_t body_timeout_ms;   /* [60 s] Without a byte of an announced body that is wanted. */
    uint64_t write_timeout_ms;  /* [120 s] Without the peer taking a byte of waiting output. */
    uint32_t stream_window;     /* [256 KiB] HTTP/2 receive window per stream, */
    uint32_t connection_window; /* [1 MiB] and per connection. */
};

struct http_server_config {
    const char *name; /* For log lines; borrowed for ever. */
    struct http_server_limits limits;
    /* The head is complete. May answer, set the body limit, or ask for the body
     * as a stream. NULL or returning without any of these: the body is
     * buffered and on_request follows. */
    void (*on_headers)(struct http_request *r, void *arg);
    /* The head and the buffered body are complete. Required. */
    void (*on_request)(struct http_request *r, void *arg);
    /* A body for errors found by this layer (400, 408, 413, 417, 431, 503);
     * sets *ret_content_type, writes to b. r is NULL when no head could be
     * read. NULL: short plain text. */
    void (*on_error_body)(struct http_request *r, int status, const char *text, struct buf *b,
                          const char **ret_content_type, void *arg);
    void *arg;
};

struct http_server_stats {
    uint64_t connections; /* Open now. */
    uint64_t connections_total;
    uint64_t requests; /* Begun and not yet ended by their handler. */
    uint64_t requests_total;
    uint64_t errors_total; /* Answered by this layer: malformed, too large, ... */
};

int http_server_new(struct uv_loop_s *loop, const struct http_server_config *config,
                    struct http_server **ret, struct error *err);
/* config->on_accept and arg are ignored; connections_max comes from the limits
 * unless set. Repeatable: a server may listen in many places. For HTTPS its
 * context must offer TLS_ALPN_H2 | TLS_ALPN_HTTP1. Without TLS both HTTP/1.1
 * and HTTP/2 with prior knowledge are understood. */
int http_server_listen(struct http_server *s, const struct net_listen_config *config,
                       struct error *err);
int http_server_port(const struct http_server *s); /* Of the first TCP listener; 0 if none. */
/* Of the listener that the i-th http_server_listen() made, counting from 0; 0: unix socket. */
int http_server_port_at(const struct http_server *s, size_t i);
void http_server_get_stats(const struct http_server *s, struct http_server_stats *ret);

/* Stops accepting, tells clients to go (GOAWAY, Connection: close), lets
 * requests in flight end, cuts what is left after deadline_ms, and calls
 * on_closed from the loop. Requests that are cut see on_abort; the server's
 * memory lives until the last of them has been ended by its handler, and
 * on_closed comes only then. May be called again with a shorter deadline;
 * on_closed of the first call counts. */
void http_server_shutdown(struct http_server *s, uint64_t deadline_ms,
                          void (*on_closed)(struct http_server *s, void *arg), void *arg);
/* Only from on_closed or after it. NULL is a no-op. */
void http_server_free(struct http_server *s);

/* --- the request --- */

struct str http_request_header(const struct http_request *r, const char *name); /* Lower case. */
/* In on_headers: 413 when the buffered body would be larger. */
void http_request_set_body_max(struct http_request *r, size_t body_bytes_max);

struct http_body_handler {
    /* data is borrowed for the call. */
    void (*on_data)(struct http_request *r, const uint8_t *data, size_t len, void *arg);
    /* The body is complete. Never comes after an abort. */
    void (*on_end)(struct http_request *r, void *arg);
    /* After http_request_resume(), before anything else: for handlers that hold
     * bytes back themselves. May be NULL. */
    void (*on_resume)(struct http_request *r, void *arg);
};
/* In on_headers: the body goes to handler (borrowed) as it arrives, without a
 * limit, instead of being buffered; on_request is not called. */
void http_request_stream_body(struct http_request *r, const struct http_body_handler *handler,
                              void *arg);
/* The body's sender may be silent for as long as it likes: for client streams. */
void http_request_body_patient(struct http_request *r);
/* Tells the client of an HTTP/2 connection to make another one for what comes next
 * (GOAWAY); what is under way on this one ends as ever. No-op for HTTP/1. */
void http_request_go_away(struct http_request *r);
/* Stop and restart a streamed body; the client is held back by flow control. */
void http_request_pause(struct http_request *r);
void http_request_resume(struct http_request *r);
/* The client went away or the connection failed: comes at most once, and never
 * after the handler's last call. It may make that call inside. */
void http_request_on_abort(struct http_request *r, void (*cb)(struct http_request *r, void *arg),
                           void *arg);
/* Answers in the handler's stead: the client gets this response and the connection goes on.
 * A response that has begun is cut off instead. The handler's last call is still owed; for it
 * the client has gone (on_abort comes, maybe within this call), and what it says is dropped.
 * Everything is copied. No-op when the client has gone. */
void http_request_give_up(struct http_request *r, int status, const struct http_header *headers,
                          size_t header_count, struct str body);
/* The token asked for in Upgrade (lower case, "websocket", "spdy/3.1"), or empty. */
struct str http_request_upgrade(const struct http_request *r);

/* --- the response --- */

/* Adds a field before the response starts; copied. Date and what
 * http_header_is_hop() names are ours and dropped, except that "Connection:
 * close" ends an HTTP/1 connection after the response. */
void http_response_header(struct http_request *r, const char *name, const char *value);
void http_response_header_str(struct http_request *r, struct str name, struct str value);

/* For what is known to be right: lower case names, no field of ours, and both texts
 * live for ever. Neither looked at nor copied. */
void http_response_header_fixed(struct http_request *r, struct str name, struct str value);
void http_response_trailer_fixed(struct http_request *r, struct str name, struct str value);

/* Complete answers. body stays valid with the arena or longer (static text). */
void http_respond(struct http_request *r, int status, struct str body);
void http_respond_bytes(struct http_request *r, int status, struct net_bytes *body); /* Refs it. */
/* Sets Content-Type and, when the client accepts it and the body is at least
 * 128 KiB (upstream's threshold), compresses. */
void http_respond_typed(struct http_request *r, int status, const char *content_type,
                        struct net_bytes *body);

/* Streaming. content_length -1 unless known. */
void http_response_start(struct http_request *r, int status, int64_t content_length);
/* Takes a reference of its own; nothing is copied. */
void http_response_write(struct http_request *r, struct net_bytes *b);
void http_response_write_part(struct http_request *r, struct net_bytes *b, size_t from, size_t len);
void http_response_write_copy(struct http_request *r, const void *data, size_t len);
/* Bytes written and not yet taken by the connection: what back-pressure acts on. */
size_t http_response_pending(const struct http_request *r);
/* The same of all requests on the connection: what one client makes us hold. */
size_t http_response_connection_pending(const struct http_request *r);
/* cb comes (later, each time) when pending falls to low_bytes or below after
 * having been above. One per request; NULL removes it. */
void http_response_on_drain(struct http_request *r, size_t low_bytes,
                            void (*cb)(struct http_request *r, void *arg), void *arg);
/* Sent behind the body (gRPC). Before end(); copied. */
void http_response_trailer(struct http_request *r, const char *name, const char *value);
/* Keeps back what is not yet with the connection, also behind the handler's last call, until
 * the hold is released (on the server's thread; it owns the hold). A client may go meanwhile. */
struct http_hold;
struct http_hold *http_response_hold(struct http_request *r);
void http_hold_release(struct http_hold *h);
void http_response_end(struct http_request *r); /* The handler's last call. */
/* Cuts the response off so that the client sees a failure. A last call too. */
void http_response_abort(struct http_request *r);
bool http_response_started(const struct http_request *r);

/* HTTP/1.1 only: a response in WebSocket messages (RFC 6455), for a request that asks for an
 * upgrade to "websocket". Answers 101 with the headers added so far and this subprotocol (NULL:
 * none). From then on http_response_write*() send one message of this opcode each, an empty one
 * too; http_response_end() a close frame behind them. What the client says is read and forgotten,
 * pings are answered; its close is seen as on_abort. Only after check(); E_INVALID, with what is
 * wrong with the request. */
bool http_request_wants_messages(const struct http_request *r);
int http_request_check_messages(const struct http_request *r, struct error *err);
void http_response_start_messages(struct http_request *r, enum ws_opcode opcode,
                                  const char *subprotocol);

/* HTTP/1.1 only: answers 101 with the headers added so far, Connection: Upgrade
 * and this protocol, and hands the stream over (bytes behind the head come
 * first). The caller owns the stream: handler sees its on_close. A last call.
 * E_INVALID if the request asked for no upgrade or the client is gone: then
 * the request is still to be answered. */
int http_response_upgrade(struct http_request *r, const char *protocol,
                          const struct net_stream_handler *handler, void *handler_arg,
                          struct net_stream **ret, struct error *err);

#endif
