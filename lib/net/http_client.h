/* http_client.h - an HTTP client for one service, over stream.h.
 *
 * Loop-confined. Keeps connections open, multiplexes calls over HTTP/2 where
 * the server speaks it, moves on to the next endpoint when one fails, and
 * backs off before trying them all again. Calls are never repeated once any
 * byte of them was sent on a connection that then failed, except where the
 * server did not act (HTTP/2's GOAWAY and REFUSED_STREAM) or acting twice does
 * no harm (GET and HEAD on a kept HTTP/1.1 connection that closed before any
 * answer).
 *
 *   http_call_start() -> on_headers -> on_data* -> on_end */
#ifndef NET_HTTP_CLIENT_H
#define NET_HTTP_CLIENT_H

#include "lib/net/http.h"

struct arena;
struct buf;
struct http_call;
struct http_client;
struct net_bytes;
struct net_stream;
struct net_stream_handler;
struct tls_context;
struct tls_peer;
struct uv_loop_s;

enum http_client_protocol {
    HTTP_CLIENT_AUTO, /* TLS: what ALPN settles. Plain: HTTP/1.1. */
    HTTP_CLIENT_H2,   /* Plain: prior knowledge. TLS: fails unless ALPN says h2. */
    HTTP_CLIENT_H1,
};

/* Zero means the default in brackets. Everything is copied. */
struct http_client_config {
    const char *const *endpoints; /* As net_connect_config.endpoint; tried in turn. */
    size_t endpoint_count;
    struct tls_context *tls; /* NULL: plain. A reference is taken. */
    const char *server_name; /* Expected in the certificate. NULL: the endpoint's host. */
    enum http_client_protocol protocol;
    uint32_t connections_max;    /* [16] HTTP/1.1 connections; HTTP/2 opens a second one only
                                  * when the first is full of streams. */
    uint64_t connect_timeout_ms; /* [10 s] */
    uint64_t idle_timeout_ms;    /* [90 s] An unused connection is closed. */
    uint64_t ping_interval_ms;   /* [30 s, as client-go] HTTP/2 PING after so long without input */
    uint64_t ping_timeout_ms;    /* [15 s] and the connection is dead without an answer. */
    uint64_t backoff_min_ms;     /* [50 ms] Between rounds over all endpoints, */
    uint64_t backoff_max_ms;     /* [5 s] doubling, with jitter. */
    uint32_t connect_rounds;     /* [1] Rounds over all endpoints before waiting calls fail. */
    size_t header_bytes_max;     /* [1 MiB] Of a response. */
    const char *user_agent;      /* [none] */
};

int http_client_new(struct uv_loop_s *loop, const struct http_client_config *config,
                    struct http_client **ret, struct error *err);
/* Cancels every call (their on_end comes, E_CANCELED), closes, frees itself
 * and then calls on_closed, from the loop. on_closed may be NULL. */
void http_client_close(struct http_client *c, void (*on_closed)(void *arg), void *arg);
/* New connections go to these; old ones end with their calls. */
int http_client_set_endpoints(struct http_client *c, const char *const *endpoints, size_t count,
                              struct error *err);
/* Calls go over new connections from now on: after rotating certificates. */
void http_client_reconnect(struct http_client *c);

struct http_call_config {
    const char *method;    /* NULL: "GET". */
    const char *target;    /* "/path?query", escaped. */
    const char *authority; /* NULL: from the endpoint ("localhost" for unix sockets). */
    /* Host stands in for authority; what http_header_is_hop() names is ours and
     * dropped, except for upgrades. */
    const struct http_header *headers;
    size_t header_count;
    struct net_bytes *body;     /* NULL: none. A reference is taken. */
    bool upload;                /* The body comes through http_call_write() and _end(). */
    uint64_t upload_bytes;      /* Upload: its size, which must then be written. 0: unknown. */
    uint64_t timeout_ms;        /* From start to end of the response. 0: none. */
    uint64_t header_timeout_ms; /* From start to on_headers. 0: none. */
    bool upgrade;               /* HTTP/1.1 on a connection of its own, for 101; see on_upgrade. */

    /* Any may be NULL but on_end. Final headers only (no 1xx). */
    void (*on_headers)(struct http_call *call, void *arg);
    /* data is borrowed for the call. */
    void (*on_data)(struct http_call *call, const uint8_t *data, size_t len, void *arg);
    /* After http_call_resume(), before anything else: for those who hold bytes
     * back themselves. */
    void (*on_resume)(struct http_call *call, void *arg);
    /* Upload: http_call_pending() fell to 64 KiB or below. */
    void (*on_drain)(struct http_call *call, void *arg);
    /* Once, and the last, never inside http_call_start(). err is NULL when the
     * response is complete, whatever its status. Codes: E_UNAVAILABLE (no
     * connection; nothing was sent), E_CLOSED or E_IO (lost on the way),
     * E_TLS, E_TIMEOUT, E_CANCELED, E_INVALID (malformed response). */
    void (*on_end)(struct http_call *call, const struct error *err, void *arg);
    /* 101: the stream now belongs to the callee, who sets its handler inside;
     * on_end follows. */
    void (*on_upgrade)(struct http_call *call, struct net_stream *stream, void *arg);
    void *arg;
};

/* *ret lives until on_end returns. ret may be NULL. On failure (E_INVALID:
 * malformed config) no callback runs. The config is copied. */
int http_call_start(struct http_client *c, const struct http_call_config *config,
                    struct http_call **ret, struct error *err);
/* on_end(E_CANCELED) comes later, nothing else before it. Idempotent. */
void http_call_cancel(struct http_call *call);
void http_call_pause(struct http_call *call); /* on_data stops; the server is held back. */
void http_call_resume(struct http_call *call);

/* Upload. Takes a reference of its own. */
void http_call_write(struct http_call *call, struct net_bytes *b);
void http_call_write_end(struct http_call *call);
size_t http_call_pending(const struct http_call *call);

/* From on_headers on. */
int http_call_status(const struct http_call *call);
enum http_version http_call_version(const struct http_call *call);
const struct http_header *http_call_headers(const struct http_call *call, size_t *ret_count);
struct str http_call_header(const struct http_call *call, const char *name); /* Lower case. */
/* In on_end. */
const struct http_header *http_call_trailers(const struct http_call *call, size_t *ret_count);
struct str http_call_trailer(const struct http_call *call, const char *name);
/* The server's certificate, borrowed for the callback; NULL for plain connections. */
struct tls_peer *http_call_peer(const struct http_call *call);
struct arena *http_call_arena(struct http_call *call); /* Freed after on_end. */
/* HTTP/2's error code when the server reset the stream, else 0. In on_end. */
uint32_t http_call_reset_code(const struct http_call *call);
/* True once any byte of the request may have reached the server. */
bool http_call_sent(const struct http_call *call);

/* --- blocking, for command lines and tests: a client on a private loop --- */

struct http_sync;
struct http_sync_response {
    int status;
    struct arena *arena; /* Owns the fields below. */
    const struct http_header *headers;
    size_t header_count;
    struct str body;
};
int http_sync_new(const struct http_client_config *config, struct http_sync **ret,
                  struct error *err);
void http_sync_free(struct http_sync *s); /* NULL is a no-op. */
/* The callbacks and arg in call are ignored. E_TOO_LARGE beyond body_max.
 * Reuses the connection of the call before. */
int http_sync_do(struct http_sync *s, const struct http_call_config *call, size_t body_max,
                 struct http_sync_response *ret, struct error *err);
void http_sync_response_done(struct http_sync_response *r);

#endif
